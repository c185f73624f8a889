//! Rows of a run once more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Refusal, Why, find_feed};
use crate::config::meant::Config;
use crate::ledger::{Ledger, Row, Run, RunFilter, RunKind, State};
use crate::outcome::{Code, Outcome};
use crate::page::words::counted;
use crate::spool::Spool;
use crate::told::spool_owner;

/// Which rows. Without choice: rows that were refused, not attempted, or whose pass was not found.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub lines: Vec<u64>,
    pub codes: Vec<Code>,
}

/// Rows that are tried again.
pub struct Retried {
    /// The new run.
    pub run: Run,
    pub rows: u64,
}

/// Asks for rows of a run to be tried again, as a run of their own.
pub fn retry(config: &Config, ledger: &dyn Ledger, parent: &Run, choice: &Choice, by: &str) -> anyhow::Result<Retried> {
    refuse(ledger, parent)?;
    find_feed(config, &parent.feed)?;
    let owner = spool_owner(ledger, parent)?;
    if !Spool::open(&config.state)?.data(&owner.id).exists() {
        let why = owner.detail.removed.as_ref().map(|removed| format!(" ({})", removed.told())).unwrap_or_default();
        let words = format!("the file of run {} is no longer kept here{why}: deliver {} again", parent.id, parent.shown_name());
        return Err(Refusal::new(Why::NothingThere, words).into());
    }
    let picked = pick(ledger, parent, choice)?;
    let rows = picked.len() as u64;
    let proof = format!("{} of run {}, by {by}", counted(rows, "row"), parent.id);
    let run = ledger.request_run(parent.again(picked.into_iter().collect(), proof))?;
    Ok(Retried { run, rows })
}

fn refuse(ledger: &dyn Ledger, parent: &Run) -> anyhow::Result<()> {
    if !parent.state.is_over() {
        let advice = if parent.state == State::Held { "; approve or discard it" } else { "; wait until it is over, or stop it" };
        return Err(Refusal::new(Why::NotNow, format!("run {} is {}{advice}", parent.id, parent.state)).into());
    }
    if parent.detail.fault.is_some() {
        let words = format!("the file of run {} failed as a whole and has no rows: deliver it again, corrected", parent.id);
        return Err(Refusal::new(Why::NothingThere, words).into());
    }
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    let unfinished = ledger.runs(&RunFilter { feed: Some(parent.feed.clone()), states: open, limit: None })?;
    match unfinished.iter().find(|run| run.kind == RunKind::Retry && run.parent.as_ref() == Some(&parent.id)) {
        Some(run) => Err(Refusal::new(Why::NotNow, format!("run {} tries rows of {} again already", run.id, parent.id)).into()),
        None => Ok(()),
    }
}

/// The records to try again. Fails when there are none, and when a line named cannot be tried.
fn pick(ledger: &dyn Ledger, parent: &Run, choice: &Choice) -> anyhow::Result<BTreeSet<u64>> {
    let mut picked = BTreeSet::new();
    // By line: how the row ended.
    let mut seen: BTreeMap<u64, Option<Outcome>> = BTreeMap::new();
    ledger.rows(&parent.id, &[], &mut |row: Row| {
        if choice.lines.contains(&row.line) {
            seen.insert(row.line, row.outcome);
        }
        if wanted(&row, choice) {
            picked.insert(row.record);
        }
        Ok(())
    })?;
    for line in &choice.lines {
        match seen.get(line) {
            None => {
                let words = format!("run {} kept no row of line {line}: it was unchanged, or no record begins there", parent.id);
                return Err(Refusal::new(Why::NothingThere, words).into());
            }
            Some(Some(outcome)) if !outcome.needs_person() => {
                return Err(Refusal::new(Why::NothingThere, format!("line {line} is {outcome}: there is nothing to try again")).into());
            }
            Some(_) => {}
        }
    }
    if picked.is_empty() {
        let words =
            format!("run {} has no such rows to try again; passferry show {} --rows lists those that need you", parent.id, parent.id);
        return Err(Refusal::new(Why::NothingThere, words).into());
    }
    Ok(picked)
}

fn wanted(row: &Row, choice: &Choice) -> bool {
    let Some(outcome) = row.outcome.filter(|outcome| outcome.needs_person()) else { return false };
    let codes = row.detail.codes();
    if choice.lines.is_empty() && choice.codes.is_empty() {
        let tried = matches!(outcome, Outcome::Refused | Outcome::NotAttempted | Outcome::Unresolved);
        return tried && !codes.contains(&Code::Discarded);
    }
    (choice.lines.is_empty() || choice.lines.contains(&row.line))
        && (choice.codes.is_empty() || codes.iter().any(|code| choice.codes.contains(code)))
}
