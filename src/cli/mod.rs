//! The command line: one file per command. The only place that prints.

// Comments on arguments are the help text, printed as they stand.
#![allow(clippy::doc_markdown)]

mod alert;
mod backup;
mod baseline;
mod check;
mod codes;
mod completions;
mod config;
mod context;
mod decide;
#[cfg(feature = "demo")]
mod demo;
pub mod exit;
mod explain;
mod file;
mod forget;
mod guess;
mod man;
mod once;
mod out;
mod package;
mod pause;
mod plan;
mod preview;
mod progress;
mod retry;
mod review;
mod run;
mod runs;
mod sandbox;
mod settle;
mod show;
mod status;
mod validate;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::ledger::run::WishKind;
use crate::logging;
pub use exit::{Exit, Failure};

/// Ferries flat files onto wallet passes, row by row, and answers every file with a report.
#[derive(Parser, Debug)]
#[command(name = "passferry", version, about, max_term_width = 110, after_long_help = exit_codes())]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args, Debug, Clone)]
pub struct Global {
    /// Configuration file; else $PASSFERRY_CONFIG, ./passferry.toml, $XDG_CONFIG_HOME/passferry/passferry.toml, /etc/passferry/passferry.toml
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on standard error
    #[arg(long, global = true, value_enum, default_value_t = logging::Format::Text)]
    log: logging::Format,
    /// What to log: error, warn, info, debug, or filters such as passferry::dispatch=debug; $PASSFERRY_LOG wins
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// See it work: an SFTP server, a platform and a day's files, all on this machine
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Watch the sources and process what arrives, until stopped
    Run(run::Args),
    /// Sweep once: process what is there, then end (for cron and systemd timers)
    Once(once::Args),
    Check(check::Args),
    Validate(validate::Args),
    Preview(preview::Args),
    Guess(guess::Args),
    Plan(plan::Args),
    Status(status::Args),
    Runs(runs::Args),
    Show(show::Args),
    Explain(explain::Args),
    /// Let a held file be applied
    ///
    /// It is checked again under today's configuration, then sent. The decision, who made it and why stand in the report.
    ///
    /// Example: passferry approve loyalty_0611.csv --reason "new tier, checked with finance"
    Approve(decide::Args),
    /// Put a held file away unsent
    ///
    /// Example: passferry discard k7f2m9 --reason "half an export"
    Discard(decide::Args),
    /// End a run that is being applied
    ///
    /// Requests in flight are answered; the rest of its rows end not-attempted, and passferry retry takes them up.
    ///
    /// Example: passferry stop loyalty_0611.csv
    Stop(decide::Args),
    Retry(retry::Args),
    Settle(settle::Args),
    Review(review::Args),
    /// Begin no file of a feed until it is resumed
    ///
    /// Files are still noticed, in their order.
    ///
    /// Example: passferry pause points
    Pause(pause::Args),
    /// Go on with a paused feed
    ///
    /// Example: passferry resume points
    Resume(pause::Args),
    Alert(alert::Args),
    Baseline(baseline::Args),
    Verify(verify::Args),
    Backup(backup::Args),
    Forget(forget::Args),
    Package(package::Args),
    Codes(codes::Args),
    Config(config::Args),
    /// Stand-in pass platform on this machine
    Sandbox(sandbox::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// At the file-size limit (`ulimit -f`) the system kills without a word, unless somebody listens; then the write fails and is told.
fn refuse_to_die_of_a_large_file() {
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, heard) {
        tracing::debug!("no handler for SIGXFSZ: {error}");
    }
}

fn exit_codes() -> String {
    let lines: Vec<String> = Exit::ALL.iter().map(|(exit, meaning)| format!("  {:>3}  {meaning}", *exit as u8)).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// Parses, runs, and turns the result into an exit code.
pub fn main() -> ExitCode {
    crate::secret::forbid_dumps();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if error.kind() == clap::error::ErrorKind::DisplayVersion {
                // Not part of the short text that clap knows before it runs: the library is asked.
                let _ = writeln!(out::stdout(), "libssh2 {}", crate::source::sftp::libssh2_version());
            }
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let default_level = match cli.command {
        Command::Run(_) | Command::Once(_) | Command::Review(_) => "info",
        // The story shows its bad files itself.
        #[cfg(feature = "demo")]
        Command::Demo(_) => "error",
        _ => "warn",
    };
    if let Err(error) = logging::start(cli.global.log, Some(cli.global.log_level.as_deref().unwrap_or(default_level))) {
        out::error(&format!("--log-level: {error:#}"));
        return Exit::Usage.into();
    }
    refuse_to_die_of_a_large_file();
    let global = cli.global;
    let result = match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&global, &args),
        Command::Once(args) => once::run(&global, &args),
        Command::Check(args) => check::run(&global, &args),
        Command::Validate(args) => validate::run(&global, &args),
        Command::Preview(args) => preview::run(&global, &args),
        Command::Guess(args) => guess::run(&args),
        Command::Plan(args) => plan::run(&global, &args),
        Command::Status(args) => status::run(&global, &args),
        Command::Runs(args) => runs::run(&global, &args),
        Command::Show(args) => show::run(&global, &args),
        Command::Explain(args) => explain::run(&global, &args),
        Command::Approve(args) => decide::run(&global, &args, WishKind::Approve),
        Command::Discard(args) => decide::run(&global, &args, WishKind::Discard),
        Command::Stop(args) => decide::run(&global, &args, WishKind::Stop),
        Command::Retry(args) => retry::run(&global, &args),
        Command::Settle(args) => settle::run(&global, &args),
        Command::Review(args) => review::run(&global, &args),
        Command::Pause(args) => pause::run(&global, &args, true),
        Command::Resume(args) => pause::run(&global, &args, false),
        Command::Alert(args) => alert::run(&global, &args),
        Command::Baseline(args) => baseline::run(&global, &args),
        Command::Verify(args) => verify::run(&global, &args),
        Command::Backup(args) => backup::run(&global, &args),
        Command::Forget(args) => forget::run(&global, &args),
        Command::Package(args) => package::run(&global, &args),
        Command::Codes(args) => codes::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        // The reader of a pipe went away: nobody is left to tell.
        Err(error) if out::is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            out::error(&format!("{error:#}"));
            exit::exit_of(&error).into()
        }
    }
}
