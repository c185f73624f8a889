//! A person's decision on an add in doubt.

use chrono::Utc;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Refusal, Why, find_run};
use crate::ledger::key::{Decision, Settlement};
use crate::ledger::{KeyNote, KeyState, Ledger};
use crate::pipeline::settle::row_of;
use crate::row::{AddKey, AddKind, RowKey};

/// Notes a decision on one add in doubt: by its key, or by `RUN:LINE`. Every decision needs a reason.
///
/// Refused while an earlier decision about it waits: what it was would be lost without a word.
pub fn settle(ledger: &dyn Ledger, wanted: &str, decision: Decision, by: &str, reason: &str) -> anyhow::Result<KeyNote> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Refusal::new(Why::Unclear, "the reason is empty; say what you saw").into());
    }
    let note = the_one_in_doubt(ledger, wanted)?;
    has_ended(ledger, &note)?;
    let settlement = Settlement { decision, by: by.to_owned(), reason: reason.to_owned(), at: Utc::now() };
    match ledger.ask_to_settle(&note.run, note.line, note.key, &settlement)? {
        None => Ok(note),
        Some(waiting) => {
            let Settlement { decision, by, .. } = waiting.settlement;
            let words = format!(
                "{} was settled {} by {by} already: that waits for a passferry that works with this ledger, and is carried out first",
                add_words(&note),
                decision.as_str()
            );
            Err(Refusal::new(Why::NotNow, words).into())
        }
    }
}

/// A decision that was noted, for programs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Settled {
    pub run: String,
    pub line: u64,
    pub key: String,
    pub decision: Decision,
    pub by: String,
    /// Is somebody there to carry it out now?
    pub running: bool,
}

impl Settled {
    pub fn of(note: &KeyNote, decision: Decision, by: String, running: bool) -> Settled {
        Settled { run: note.run.clone(), line: note.line, key: note.key.to_string(), decision, by, running }
    }
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
            Refusal::new(Why::Unclear, words)
        };
        let (run, line) = wanted.rsplit_once(':').ok_or_else(usage)?;
        let line: u64 = line.parse().map_err(|_| usage())?;
        let run = find_run(ledger, run)?;
        let advice = format!("; passferry show {} --outcome in-doubt lists those that are", run.id);
        (format!("line {line} of run {}", run.id), ledger.keys_of_line(&run.id, line)?, advice)
    };
    let now = match notes.first() {
        None => "it has no add that was sent".to_owned(),
        Some(note) => format!("its {} is {}", note.key.kind, note.state.as_str()),
    };
    let mut doubtful: Vec<KeyNote> = notes.into_iter().filter(|note| note.state == KeyState::InDoubt).collect();
    match (doubtful.pop(), doubtful.is_empty()) {
        (None, _) => Err(Refusal::new(Why::NothingThere, format!("{what} is not in doubt: {now}{advice}")).into()),
        (Some(note), true) => Ok(note),
        (Some(note), false) => {
            doubtful.push(note);
            let keys: Vec<String> = doubtful.iter().map(add_words).collect();
            let message = format!("{what} has several adds in doubt; decide about each by its key: {}", keys.join(", "));
            Err(Refusal::new(Why::Unclear, message).into())
        }
    }
}

/// What follows from a decision follows for a row that has ended: one that is still on its way cannot take it in.
fn has_ended(ledger: &dyn Ledger, note: &KeyNote) -> anyhow::Result<()> {
    let what = format!("the row of {}, line {} of run {},", note.key, note.line, note.run);
    match ledger.run(&note.run)?.map(|run| row_of(ledger, &run.id, note.line)).transpose()?.flatten() {
        Some(row) if row.outcome.is_some() => Ok(()),
        Some(_) => Err(Refusal::new(Why::NotNow, format!("{what} is still to be done; settle it when the run has reported it")).into()),
        None => Err(Refusal::new(Why::NothingThere, format!("{what} is not in this ledger any more; passferry verify tells more")).into()),
    }
}

/// An add for people: its kind, what it adds, its key.
pub fn add_words(note: &KeyNote) -> String {
    let amount = if note.amount.is_empty() { String::new() } else { format!(" {}", note.amount) };
    format!("{}{amount} ({})", note.key.kind, note.key)
}
