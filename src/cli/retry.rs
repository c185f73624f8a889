//! `retry`: rows of a run once more.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;

use super::told::spool_owner;
use super::{Exit, Failure, Global, context, out};
use crate::ledger::{Ledger, Row, Run, RunFilter, RunKind, State};
use crate::outcome::{Code, Outcome};
use crate::spool::Spool;

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
    refuse(&*ledger, &parent)?;
    context::feed(&config, &parent.feed)?;
    let owner = spool_owner(&*ledger, &parent)?;
    if !Spool::open(&config.state)?.data(&owner.id).exists() {
        let why = owner.detail.removed.as_ref().map(|removed| format!(" ({})", removed.told())).unwrap_or_default();
        let words = format!("the file of run {} is no longer kept here{why}: deliver {} again", parent.id, parent.shown_name());
        return Err(Failure::new(Exit::NoInput, words).into());
    }
    let picked = pick(&*ledger, &parent, args)?;
    let rows = picked.len() as u64;
    let proof = format!("{} of run {}, by {}", out::counted(rows, "row"), parent.id, context::who());
    let run = ledger.request_run(parent.again(picked.into_iter().collect(), proof))?;
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

fn refuse(ledger: &dyn Ledger, parent: &Run) -> anyhow::Result<()> {
    if !parent.state.is_over() {
        let advice = if parent.state == State::Held { "; approve or discard it" } else { "; wait until it is over, or stop it" };
        return Err(Failure::new(Exit::Later, format!("run {} is {}{advice}", parent.id, parent.state)).into());
    }
    if parent.detail.fault.is_some() {
        let words = format!("the file of run {} failed as a whole and has no rows: deliver it again, corrected", parent.id);
        return Err(Failure::new(Exit::NoInput, words).into());
    }
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    let unfinished = ledger.runs(&RunFilter { feed: Some(parent.feed.clone()), states: open, limit: None })?;
    match unfinished.iter().find(|run| run.kind == RunKind::Retry && run.parent.as_ref() == Some(&parent.id)) {
        Some(run) => Err(Failure::new(Exit::Later, format!("run {} tries rows of {} again already", run.id, parent.id)).into()),
        None => Ok(()),
    }
}

/// The records to try again. Fails when there are none, and when a line named cannot be tried.
fn pick(ledger: &dyn Ledger, parent: &Run, args: &Args) -> anyhow::Result<BTreeSet<u64>> {
    let mut picked = BTreeSet::new();
    // By line: how the row ended.
    let mut seen: BTreeMap<u64, Option<Outcome>> = BTreeMap::new();
    ledger.rows(&parent.id, &[], &mut |row: Row| {
        if args.line.contains(&row.line) {
            seen.insert(row.line, row.outcome);
        }
        if wanted(&row, args) {
            picked.insert(row.record);
        }
        Ok(())
    })?;
    for line in &args.line {
        match seen.get(line) {
            None => {
                let words = format!("run {} kept no row of line {line}: it was unchanged, or no record begins there", parent.id);
                return Err(Failure::new(Exit::NoInput, words).into());
            }
            Some(Some(outcome)) if !outcome.needs_person() => {
                return Err(Failure::new(Exit::NoInput, format!("line {line} is {outcome}: there is nothing to try again")).into());
            }
            Some(_) => {}
        }
    }
    if picked.is_empty() {
        let words =
            format!("run {} has no such rows to try again; passferry show {} --rows lists those that need you", parent.id, parent.id);
        return Err(Failure::new(Exit::NoInput, words).into());
    }
    Ok(picked)
}

fn wanted(row: &Row, args: &Args) -> bool {
    let Some(outcome) = row.outcome.filter(|outcome| outcome.needs_person()) else { return false };
    let codes = row.detail.codes();
    if args.line.is_empty() && args.code.is_empty() {
        let tried = matches!(outcome, Outcome::Refused | Outcome::NotAttempted | Outcome::Unresolved);
        return tried && !codes.contains(&Code::Discarded);
    }
    (args.line.is_empty() || args.line.contains(&row.line)) && (args.code.is_empty() || codes.iter().any(|code| args.code.contains(code)))
}
