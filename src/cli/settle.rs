//! `settle`: a person's decision on an add in doubt.

use std::io::Write;

use chrono::Utc;
use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::ledger::key::{Decision, Settlement};
use crate::ledger::{KeyNote, KeyState};

/// Decide about an add in doubt
///
/// An add (earn, burn, redeem, a notification) whose answer was lost and that cannot be looked up is never sent again by itself. Look
/// at the pass, then say what you saw. The decision and its reason are kept in the ledger and in a new report; later adds of the pass,
/// which waited, are taken up.
///
/// Example: passferry settle k7f2m9:42 applied --reason "PassKit's portal shows 50 points at 09:14"
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run's id, or a file name, and the line of the row
    #[arg(value_name = "RUN:LINE")]
    row: String,
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
    keys: Vec<String>,
    decision: Decision,
    by: String,
    /// Is somebody there to carry it out now?
    running: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let usage = || Failure::new(Exit::Usage, format!("{:?} is no row; write RUN:LINE, such as k7f2m9:42", args.row));
    let (wanted, line) = args.row.rsplit_once(':').ok_or_else(usage)?;
    let line: u64 = line.parse().map_err(|_| usage())?;
    if args.reason.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "--reason is empty; say what you saw").into());
    }
    let run = context::find_run(&*ledger, wanted)?;
    let keys = ledger.keys_of_line(&run.id, line)?;
    let doubtful: Vec<&KeyNote> = keys.iter().filter(|note| note.state == KeyState::InDoubt).collect();
    if doubtful.is_empty() {
        let now = match keys.first() {
            None => "it has no add that was sent".to_owned(),
            Some(note) => format!("its {} is {}", note.key.kind, note.state.as_str()),
        };
        let advice = format!("passferry show {} --outcome in-doubt lists those that are", run.id);
        return Err(Failure::new(Exit::NoInput, format!("line {line} of run {} is not in doubt: {now}; {advice}", run.id)).into());
    }
    let by = context::who();
    let settlement = Settlement { decision: args.decision, by: by.clone(), reason: args.reason.trim().to_owned(), at: Utc::now() };
    ledger.ask_to_settle(&run.id, line, &settlement)?;
    let running = context::somebody_leads(&config.state);
    let mut out = out::stdout();
    if args.json {
        let keys = doubtful.iter().map(|note| note.key.to_string()).collect();
        out::json(&mut out, &Answer { run: run.id, line, keys, decision: args.decision, by, running })?;
    } else {
        for note in &doubtful {
            writeln!(out, "{} {} ({}): {}", note.key.kind, note.amount, note.key, args.decision.as_str())?;
        }
        let who = if running { "the running passferry carries it out" } else { "the next passferry once or run carries it out" };
        writeln!(out, "noted; {who}")?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
