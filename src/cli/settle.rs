//! `settle`: a person's decision on an add in doubt.

use std::io::Write;

use chrono::Utc;
use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::ledger::key::{Decision, Settlement};
use crate::ledger::{KeyNote, KeyState, Ledger};
use crate::pipeline::settle;
use crate::row::{AddKey, AddKind, RowKey};

/// Decide about an add in doubt
///
/// An add (earn, burn, redeem, a notification) whose answer was lost and that cannot be looked up is never sent again by itself. Look
/// at the pass, then say what you saw. The decision and its reason are kept in the ledger and in a new report; later adds of the pass,
/// which waited, are taken up.
///
/// Example: passferry settle k7f2m9:42 applied --reason "PassKit's portal shows 50 points at 09:14"
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The add's key, as show, the report (_key) and the log print it, or a run's id or a file name with the line of the row
    #[arg(value_name = "KEY|RUN:LINE")]
    wanted: String,
    /// What is so
    #[arg(value_enum)]
    decision: Decision,
    /// What you saw, for the record of decisions
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    run: String,
    line: u64,
    key: String,
    decision: Decision,
    by: String,
    /// Is somebody there to carry it out now?
    running: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    if args.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "--reason is empty; say what you saw").into());
    }
    let note = the_one_in_doubt(&*ledger, &args.wanted)?;
    has_ended(&*ledger, &note)?;
    let by = context::who();
    let settlement = Settlement { decision: args.decision, by: by.clone(), reason: args.reason.trim().to_owned(), at: Utc::now() };
    ledger.ask_to_settle(&note.run, note.line, note.key, &settlement)?;
    let running = context::somebody_leads(&config.state);
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &Answer { run: note.run, line: note.line, key: note.key.to_string(), decision: args.decision, by, running })?;
    } else {
        writeln!(out, "{}: {}", words(&note), args.decision.as_str())?;
        let who = if running { "the running passferry carries it out" } else { "the next passferry once or run carries it out" };
        writeln!(out, "noted; {who}")?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// The add meant. Each is decided alone: of two adds of a row one may have arrived and the other not.
fn the_one_in_doubt(ledger: &dyn Ledger, wanted: &str) -> anyhow::Result<KeyNote> {
    let (what, notes, advice) = if let Some(key) = AddKey::parse(wanted) {
        (format!("add {key}"), ledger.keys(&[key])?.into_iter().flatten().collect(), String::new())
    } else if let Some(row) = RowKey::parse(wanted) {
        let keys = AddKind::ALL.map(|kind| AddKey { row, kind });
        (format!("row {row}"), ledger.keys(&keys)?.into_iter().flatten().collect::<Vec<_>>(), String::new())
    } else {
        let usage = || {
            let words = format!("{wanted:?} is no add; write its key, such as passferry show prints it, or RUN:LINE, such as k7f2m9:42");
            Failure::new(Exit::Usage, words)
        };
        let (run, line) = wanted.rsplit_once(':').ok_or_else(usage)?;
        let line: u64 = line.parse().map_err(|_| usage())?;
        let run = context::find_run(ledger, run)?;
        let advice = format!("; passferry show {} --outcome in-doubt lists those that are", run.id);
        (format!("line {line} of run {}", run.id), ledger.keys_of_line(&run.id, line)?, advice)
    };
    let now = match notes.first() {
        None => "it has no add that was sent".to_owned(),
        Some(note) => format!("its {} is {}", note.key.kind, note.state.as_str()),
    };
    let mut doubtful: Vec<KeyNote> = notes.into_iter().filter(|note| note.state == KeyState::InDoubt).collect();
    match (doubtful.pop(), doubtful.is_empty()) {
        (None, _) => Err(Failure::new(Exit::NoInput, format!("{what} is not in doubt: {now}{advice}")).into()),
        (Some(note), true) => Ok(note),
        (Some(note), false) => {
            doubtful.push(note);
            let keys: Vec<String> = doubtful.iter().map(words).collect();
            let message = format!("{what} has several adds in doubt; decide about each by its key: {}", keys.join(", "));
            Err(Failure::new(Exit::Usage, message).into())
        }
    }
}

/// What follows from a decision follows for a row that has ended: one that is still on its way cannot take it in.
fn has_ended(ledger: &dyn Ledger, note: &KeyNote) -> anyhow::Result<()> {
    let what = format!("the row of {}, line {} of run {},", note.key, note.line, note.run);
    match ledger.run(&note.run)?.map(|run| settle::row_of(ledger, &run.id, note.line)).transpose()?.flatten() {
        Some(row) if row.outcome.is_some() => Ok(()),
        Some(_) => Err(Failure::new(Exit::Later, format!("{what} is still to be done; settle it when the run has reported it")).into()),
        None => Err(Failure::new(Exit::NoInput, format!("{what} is not in this ledger any more; passferry verify tells more")).into()),
    }
}

fn words(note: &KeyNote) -> String {
    let amount = if note.amount.is_empty() { String::new() } else { format!(" {}", note.amount) };
    format!("{}{amount} ({})", note.key.kind, note.key)
}
