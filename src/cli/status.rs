//! `status`: one screen.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::alert::{self, WayStatus};
use super::runs::write_runs;
use super::told::{RunLine, needing_person};
use super::{Exit, Global, context, out};
use crate::config::meant::{Config, Wake};
use crate::ledger::{Ledger, RunFilter, SourceNote, State, Waiting};
use crate::space::Room;
use crate::watcher::expected::{Overdue, overdue};
use crate::watcher::{InUse, in_use};

/// Show one screen: sources, feeds, what runs, what waits, what needs you
///
/// Example: passferry status
#[derive(clap::Args, Debug)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    /// Does a daemon or a sweep work with the state directory?
    running: bool,
    /// What keeps everything from going on, in words.
    alerts: Vec<String>,
    /// The configuration that the daemon works with, where one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Configuration>,
    sources: Vec<SourceNote>,
    /// Files that should have come and have not.
    overdue: Vec<Overdue>,
    feeds: Vec<FeedStatus>,
    applying: Vec<RunLine>,
    paused: Vec<RunLine>,
    held: Vec<RunLine>,
    waiting: Vec<RunLine>,
    /// Ended within the last runs, with rows that need a person.
    needs_person: Vec<RunLine>,
    in_doubt: Vec<RunLine>,
    failed: Vec<RunLine>,
    /// Ways out for alerts, and what waits for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    told: Vec<WayStatus>,
    /// Their input was moved or removed by somebody.
    input_removed: Vec<RunLine>,
}

#[derive(Serialize)]
struct Configuration {
    #[serde(flatten)]
    in_use: InUse,
    /// Is the file still as the daemon read it?
    current: bool,
}

#[derive(Serialize)]
struct FeedStatus {
    feed: String,
    source: String,
    platform: String,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<RunLine>,
    /// Files on their way, in order.
    next: Vec<String>,
    /// Files and sets in the inbox that wait for others, as the last look found them.
    missing: Vec<Waiting>,
}

/// Runs looked back at for what needs a person.
const LOOK_BACK: u64 = 50;

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

fn gather(config: &Config, ledger: &dyn Ledger) -> anyhow::Result<Status> {
    let in_states = |states: &[State]| -> anyhow::Result<Vec<RunLine>> {
        let filter = RunFilter { states: states.to_vec(), ..RunFilter::default() };
        ledger.runs(&filter)?.iter().map(|run| RunLine::of(run, ledger)).collect()
    };
    let recent = ledger.runs(&RunFilter { limit: Some(LOOK_BACK), ..RunFilter::default() })?;
    let of_recent = |wanted: &dyn Fn(&crate::ledger::Run) -> bool| -> anyhow::Result<Vec<RunLine>> {
        recent.iter().filter(|run| wanted(run)).map(|run| RunLine::of(run, ledger)).collect()
    };
    let notes = ledger.source_notes()?;
    let sources = config.sources.keys().map(|name| {
        let known = notes.iter().find(|note| note.source == *name).cloned();
        known.unwrap_or_else(|| SourceNote { source: name.clone(), listed_at: None, trouble: None, trouble_since: None })
    });
    let paused = ledger.paused()?;
    let waiting = ledger.waiting(None)?;
    let mut feeds = Vec::new();
    for (name, feed) in &config.feeds {
        let of_feed = |states: Vec<State>, limit| RunFilter { feed: Some(name.clone()), states, limit };
        let over: Vec<State> = State::ALL.into_iter().filter(|state| state.is_over()).collect();
        let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let last = ledger.runs(&of_feed(over, Some(1)))?.first().map(|run| RunLine::of(run, ledger)).transpose()?;
        let mut next: Vec<String> = ledger.runs(&of_feed(open, None))?.iter().map(crate::ledger::Run::shown_name).collect();
        next.reverse();
        let by = paused.iter().find(|(feed, ..)| feed == name);
        feeds.push(FeedStatus {
            feed: name.clone(),
            source: feed.source.name.clone(),
            platform: feed.platform.name.clone(),
            mode: feed.mode.as_str(),
            paused_by: by.map(|(_, by, _)| by.clone()),
            paused_at: by.map(|(.., at)| *at),
            last,
            next,
            missing: waiting.iter().filter(|waiting| waiting.feed == *name).cloned().collect(),
        });
    }
    let running = context::somebody_leads(&config.state);
    let in_use = in_use(&config.state).filter(|_| running);
    Ok(Status {
        running,
        configuration: in_use.map(|in_use| Configuration { current: in_use.hash == config.hash, in_use }),
        alerts: alerts(config),
        sources: sources.collect(),
        overdue: overdue(config, ledger, Utc::now())?,
        feeds,
        applying: in_states(&[State::Applying])?,
        paused: in_states(&[State::Paused])?,
        held: in_states(&[State::Held])?,
        waiting: in_states(&[State::Complete, State::Fetched, State::Checked, State::Reporting])?,
        needs_person: of_recent(&|run| run.state.is_over() && needing_person(run) > 0 && run.detail.fault.is_none())?,
        in_doubt: of_recent(&|run| run.state == State::DoneInDoubt)?,
        told: alert::ways(config, ledger)?,
        failed: of_recent(&|run| run.state == State::Failed)?,
        input_removed: of_recent(&|run| run.detail.gone || run.detail.input_removed)?,
    })
}

fn alerts(config: &Config) -> Vec<String> {
    // Before the first start there is no reserve, and nobody misses it.
    let led_before = config.state.join("lock").exists();
    let room = Room::new(&config.state, config.reserve, config.space_factor).alert().filter(|_| led_before);
    room.into_iter()
        .chain(crate::clock::fault(std::time::SystemTime::now()))
        .chain(crate::apple::host::alerts(config).into_iter().map(|trouble| trouble.words))
        .collect()
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
            (Some(by), Some(at)) => format!("{}, paused by {by} {}", feed.mode, out::ago(at)),
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
