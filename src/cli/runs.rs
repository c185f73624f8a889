//! `runs`: what was done.

use std::io::Write;

use super::{Exit, Global, context, out};
use crate::ledger::{RunFilter, State};
use crate::told::RunLine;

/// List runs, newest first
///
/// A run is the processing of one delivered file, of one correction, or of rows tried again.
///
/// Example: passferry runs --feed points --state held
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only runs of this feed
    #[arg(long, value_name = "FEED")]
    feed: Option<String>,
    /// Only runs in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<State>,
    /// At most this many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u64,
    /// One JSON object a run
    #[arg(long)]
    json: bool,
}

fn state(text: &str) -> Result<State, String> {
    let known = State::ALL.map(State::as_str).join(", ");
    State::parse(text).ok_or_else(|| format!("write one of {known}"))
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::Reading::open(&config)?;
    if let Some(feed) = args.feed.as_deref().filter(|feed| !config.feeds.contains_key(*feed)) {
        // One that was taken out of the configuration still has its runs.
        let past = ledger.runs(&RunFilter { feed: Some(feed.to_owned()), limit: Some(1), ..RunFilter::default() })?;
        if past.is_empty() {
            context::feed(&config, feed)?;
        }
    }
    let filter = RunFilter { feed: args.feed.clone(), states: args.state.clone(), limit: Some(args.limit) };
    let lines = ledger.runs(&filter)?.iter().map(|run| RunLine::of(run, &*ledger)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut out = out::stdout();
    if args.json {
        for line in &lines {
            out::json(&mut out, line)?;
        }
    } else if lines.is_empty() {
        writeln!(out, "no runs")?;
    } else {
        write_runs(&mut out, &lines)?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

pub fn write_runs(out: &mut impl Write, lines: &[RunLine]) -> anyhow::Result<()> {
    let mut table = out::table(&["run", "feed", "file", "state", "seen", "records", "need you", ""]);
    for line in lines {
        table.add_row([
            comfy_table::Cell::new(&line.run),
            comfy_table::Cell::new(&line.feed),
            comfy_table::Cell::new(&line.file),
            out::state(line.state),
            comfy_table::Cell::new(out::time(line.seen_at)),
            comfy_table::Cell::new(out::count(line.records)),
            comfy_table::Cell::new(if line.needs_person == 0 { String::new() } else { out::count(line.needs_person) }),
            comfy_table::Cell::new(line.note()),
        ]);
    }
    out::write_table(out, table)
}
