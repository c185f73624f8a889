//! `settle`: a person's decision on an add in doubt.

use std::io::Write;

use super::{Exit, Global, context, out};
use crate::decide::{self, Settled};
use crate::ledger::key::Decision;

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

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let ledger = context::ledger(&config)?;
    let by = context::who();
    let note = decide::settle(&*ledger, &args.wanted, args.decision, &by, &args.reason)?;
    let running = context::somebody_leads(&config.state);
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &Settled::of(&note, args.decision, by, running))?;
    } else {
        writeln!(out, "{}: {}", decide::add_words(&note), args.decision.as_str())?;
        let who = if running { "the running passferry carries it out" } else { "the next passferry once or run carries it out" };
        writeln!(out, "noted; {who}")?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
