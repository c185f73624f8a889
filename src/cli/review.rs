//! `review`: the review page alone, and what its file of people needs.

use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{Exit, Failure, Global, context, out};
use crate::review::Server;
use crate::review::people::{Role, token_entry, user_entry};
use crate::watcher::in_use;

/// Serve the review page: what came, what happened to it, what waits for whom
///
/// Needs a section [review]. Works beside a running daemon, which serves the page itself where that section is there, and without one.
/// SIGHUP reads the configuration again; what a daemon beside it took up is read again as well.
/// With --add-user or --add-token it serves nothing and prints what to put into the file that `users` names.
///
/// Example: passferry review --add-user anna --role approver >> users.toml
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print an entry for a person; the password is asked for, or read from standard input
    #[arg(long, value_name = "NAME", requires = "role", conflicts_with = "add_token")]
    add_user: Option<String>,
    /// Print an entry for a program; its token is shown once, on standard error
    #[arg(long, value_name = "NAME", requires = "role")]
    add_token: Option<String>,
    /// What they may do
    #[arg(long, value_enum)]
    role: Option<Role>,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let role = args.role.unwrap_or(Role::Viewer);
    let usage = |error: anyhow::Error| Failure::new(Exit::Usage, format!("{error:#}"));
    if let Some(name) = &args.add_user {
        let entry = user_entry(name, role, &password()?).map_err(usage)?;
        return tell(&entry);
    }
    if let Some(name) = &args.add_token {
        let (token, entry) = token_entry(name, role).map_err(usage)?;
        out::progress(&format!("the token, which is shown this once: {token}"));
        return tell(&entry);
    }
    let (path, asked) = (context::config_path(global)?, context::reload_on_hangup()?);
    let mut config = context::config(global)?;
    let stop = context::stop_on_signals()?;
    let mut server = Server::start(&config)?;
    let Some(page) = &server else {
        let words = "there is no section [review] in the configuration; passferry config sample shows one";
        return Err(Failure::new(Exit::Config, words).into());
    };
    out::progress(&format!("the review page is at http://{}/", page.address));
    // Of the daemon beside: what it took up is taken up here, once.
    let mut seen = in_use(&config.state).map(|in_use| in_use.hash);
    while !stop.wait(LOOK) {
        let taken = in_use(&config.state).map(|in_use| in_use.hash);
        let changed = taken != seen && taken.as_ref().is_some_and(|hash| *hash != config.hash);
        seen = taken;
        if asked.swap(false, Ordering::AcqRel) || changed {
            let followed = crate::config::load(&path).map_err(anyhow::Error::from).map(Arc::new).and_then(|newest| {
                Server::follow(&mut server, &newest)?;
                Ok(newest)
            });
            match followed {
                Ok(newest) => {
                    config = newest;
                    tracing::info!(config = path.display().to_string(), "configuration read again");
                }
                Err(fault) => tracing::error!(config = path.display().to_string(), "the changed configuration is not served: {fault:#}"),
            }
            if server.is_none() {
                return Err(Failure::new(Exit::Config, "the review page cannot be served under the changed configuration").into());
            }
        }
    }
    drop(server);
    Ok(Exit::Ok)
}

/// How often it is looked whether the configuration is to be read again.
const LOOK: Duration = Duration::from_secs(1);

fn tell(entry: &str) -> anyhow::Result<Exit> {
    let mut out = out::stdout();
    out.write_all(entry.as_bytes())?;
    out.flush()?;
    Ok(Exit::Ok)
}

/// From a terminal without showing it, else all of standard input without its last line end.
fn password() -> anyhow::Result<String> {
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        let mut text = String::new();
        input.by_ref().take(1 << 16).read_to_string(&mut text)?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let shown = tcgetattr(&input)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    out::progress("Password (it is not shown):");
    let mut line = String::new();
    let read = std::io::BufRead::read_line(&mut input, &mut line);
    tcsetattr(&input, OptionalActions::Flush, &shown)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
