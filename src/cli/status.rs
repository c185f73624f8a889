//! `status`: one screen.

use std::io::Write;
use std::time::Duration;

use owo_colors::OwoColorize;

use super::alert;
use super::runs::write_runs;
use super::{Exit, Global, context, out};
use crate::config::meant::{Config, Wake};
use crate::ledger::Waiting;
use crate::told::status::{Status, gather};
use crate::watcher::in_use;

/// Show one screen: sources, feeds, what runs, what waits, what needs you
///
/// Example: passferry status
#[derive(clap::Args, Debug)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global).map_err(|fault| goes_on(global, fault))?;
    let ledger = context::Reading::open(&config)?;
    let status = gather(&config, &*ledger)?;
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &status)?;
    } else {
        write_status(&mut out, &config, &status)?;
    }
    out.flush()?;
    Ok(if status.overdue.is_empty() { Exit::Ok } else { Exit::NoInput })
}

/// A file that cannot be read stops this command, and not a daemon that read it while it was right.
fn goes_on(global: &Global, fault: anyhow::Error) -> anyhow::Error {
    let state = context::config_path(global).ok().and_then(|path| crate::config::state_of(&path));
    let in_use = state.filter(|state| context::somebody_leads(state)).and_then(|state| in_use(&state));
    match in_use {
        Some(in_use) => {
            fault.context(format!("the running passferry goes on with the configuration that it read {}", out::ago(in_use.since)))
        }
        None => fault,
    }
}

fn write_status(out: &mut impl Write, config: &Config, status: &Status) -> anyhow::Result<()> {
    let state = config.state.display();
    if status.running {
        writeln!(out, "{} with {state}", "running".green())?;
    } else {
        writeln!(out, "{} with {state}; start it with: passferry run, or sweep with: passferry once", "nobody works".yellow())?;
    }
    for alert in &status.alerts {
        writeln!(out, "{} {alert}", "alert:".red())?;
    }
    for overdue in &status.overdue {
        writeln!(out, "{} feed {}: {}", "alert:".red(), overdue.feed, overdue.words)?;
    }
    if let Some(configuration) = &status.configuration {
        let since = out::ago(configuration.in_use.since);
        match &configuration.in_use.refused {
            Some(refused) => {
                let at = out::ago(refused.at);
                writeln!(out, "{}: the one read {since} is kept; {}", format!("configuration refused {at}").red(), refused.why)?;
            }
            None if !configuration.current => {
                let advice = "systemctl reload passferry, or kill -HUP, takes it up";
                writeln!(out, "{} since it was read {since}: {advice}", "the configuration file changed".yellow())?;
            }
            None => {}
        }
    }
    out::heading(out, "sources")?;
    let mut sources = out::table(&[]);
    for note in &status.sources {
        let wake = config.sources.get(&note.source).map(|source| wake(&source.wake)).unwrap_or_default();
        let listed = note.listed_at.map_or_else(|| "never listed".to_owned(), |at| format!("listed {}", out::ago(at)));
        let trouble = note.trouble.as_ref().map_or_else(
            || comfy_table::Cell::new("ok").fg(comfy_table::Color::Green),
            |trouble| {
                let since = note.trouble_since.map(out::ago).unwrap_or_default();
                comfy_table::Cell::new(format!("trouble since {since}: {trouble}")).fg(comfy_table::Color::Red)
            },
        );
        let plain = comfy_table::Cell::new;
        sources.add_row([plain(note.source.clone()), plain(wake), plain(listed), trouble]);
    }
    out::write_table(out, sources)?;
    out::heading(out, "feeds")?;
    let mut feeds = out::table(&["feed", "from", "to", "mode", "last file", "", "next"]);
    for feed in &status.feeds {
        let mode = match (&feed.paused_by, feed.paused_at) {
            (Some(by), Some(at)) => {
                let reason = feed.paused_reason.as_deref().map(|reason| format!(": {}", reason.escape_debug())).unwrap_or_default();
                format!("{}, paused by {by} {}{reason}", feed.mode, out::ago(at))
            }
            _ => feed.mode.to_owned(),
        };
        let (last, how) = feed.last.as_ref().map_or_else(
            || ("none yet".to_owned(), comfy_table::Cell::new("")),
            |last| (format!("{} {}", last.file, out::ago(last.seen_at)), out::state(last.state)),
        );
        let next = match &feed.next[..] {
            [] => String::new(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let plain = comfy_table::Cell::new;
        feeds.add_row([
            plain(feed.feed.clone()),
            plain(feed.source.clone()),
            plain(feed.platform.clone()),
            plain(mode),
            plain(last),
            how,
            plain(next),
        ]);
    }
    out::write_table(out, feeds)?;
    write_missing(out, status)?;
    if status.told.iter().any(|way| way.is_troubled() || way.waiting > 0) {
        out::heading(out, "alerts")?;
        alert::write_ways(out, &status.told)?;
    }
    let groups = [
        ("applying", &status.applying),
        ("paused", &status.paused),
        ("held: passferry show RUN, then approve or discard", &status.held),
        ("on the way", &status.waiting),
        ("in doubt", &status.in_doubt),
        ("failed", &status.failed),
        ("input removed by somebody", &status.input_removed),
        ("rows need you: passferry show RUN --rows", &status.needs_person),
    ];
    for (title, runs) in groups {
        if !runs.is_empty() {
            out::heading(out, title)?;
            write_runs(out, runs)?;
        }
    }
    Ok(())
}

fn write_missing(out: &mut impl Write, status: &Status) -> anyhow::Result<()> {
    let missing: Vec<&Waiting> = status.feeds.iter().flat_map(|feed| &feed.missing).collect();
    if !missing.is_empty() {
        out::heading(out, "waits in the inbox")?;
        let mut table = out::table(&["feed", "file", "for", "since"]);
        for waiting in missing {
            let words = comfy_table::Cell::new(&waiting.words);
            let words = if waiting.alert { words.fg(comfy_table::Color::Red) } else { words };
            let plain = comfy_table::Cell::new;
            table.add_row([plain(waiting.feed.clone()), plain(waiting.what.clone()), words, plain(out::ago(waiting.since))]);
        }
        out::write_table(out, table)?;
    }
    Ok(())
}

fn wake(wake: &Wake) -> String {
    match wake {
        Wake::Every(interval) => format!("every {}", out::span(interval.max(&Duration::from_secs(1)).as_secs())),
        Wake::Schedule { cron, timezone } => format!("{cron} {timezone}"),
    }
}
