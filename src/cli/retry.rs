//! `retry`: rows of a run once more.

use std::io::Write;

use serde::Serialize;

use super::{Exit, Global, context, out};
use crate::decide::{self, Choice, Retried};
use crate::outcome::Code;

/// Try rows of a run again, unchanged
///
/// Without choice: rows that were refused, not attempted, or whose pass was not found. Rejected rows and those of a discarded run only
/// when --line or --code names them: unchanged they fail again unless the schema, the mapping or the decision changed. The rows become a
/// run of their own, which the running passferry or the next `once` carries out.
///
/// Example: passferry retry loyalty_0611.csv --code pass-not-found
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run's id, or a file name
    #[arg(value_name = "RUN")]
    wanted: String,
    /// The row that begins on this line of the file; may be given several times
    #[arg(long, value_name = "N")]
    line: Vec<u64>,
    /// Rows with this code; may be given several times
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Vec<Code>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        let near = crate::mapping::did_you_mean(text, Code::ALL.iter().map(|code| code.as_str()));
        format!("no such code{near}; passferry codes lists them")
    })
}

#[derive(Serialize)]
struct Answer {
    run: String,
    parent: String,
    rows: u64,
    /// Is somebody there to carry it out now?
    running: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let parent = context::find_run(&*ledger, &args.wanted)?;
    let choice = Choice { lines: args.line.clone(), codes: args.code.clone() };
    let Retried { run, rows } = decide::retry(&config, &*ledger, &parent, &choice, &context::who())?;
    let running = context::somebody_leads(&config.state);
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &Answer { run: run.id, parent: parent.id, rows, running })?;
    } else {
        let who = if running { "the running passferry carries it out" } else { "the next passferry once or run carries it out" };
        writeln!(out, "run {}: {} of run {} ({}) again; {who}", run.id, out::counted(rows, "row"), parent.id, parent.shown_name())?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
