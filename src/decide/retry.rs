//! Rows of a run once more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Refusal, Why, find_feed};
use crate::config::meant::Config;
use crate::ledger::{Ledger, Requested, Row, Run, State};
use crate::outcome::{Code, Outcome};
use crate::page::words::counted;
use crate::pipeline::looking::spool_owner;
use crate::spool::Spool;

/// Which rows, of those that no later run took up. Without choice: rows that were refused, not attempted, or whose pass was not found.
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
    refuse(parent)?;
    find_feed(config, &parent.feed)?;
    let owner = spool_owner(ledger, parent);
    if !Spool::open(&config.state)?.data(&owner).exists() {
        let owner = ledger.run(&owner)?;
        let why = owner.and_then(|owner| owner.detail.removed).map(|removed| format!(" ({})", removed.told())).unwrap_or_default();
        let words = format!("the file of run {} is no longer kept here{why}: deliver {} again", parent.id, parent.shown_name());
        return Err(Refusal::new(Why::NothingThere, words).into());
    }
    let picked = pick(ledger, parent, choice)?;
    let proof = format!("{} of run {}, by {by}", counted(picked.len() as u64, "row"), parent.id);
    match ledger.request_retry(parent.again(picked.into_iter().collect(), proof))? {
        Requested::Made(run) => Ok(Retried { rows: run.detail.picked.len() as u64, run }),
        Requested::UnderWay(other) => {
            Err(Refusal::new(Why::NotNow, format!("run {other} tries rows of {} again already", parent.id)).into())
        }
        Requested::NothingLeft => Err(nothing_left(parent).into()),
    }
}

fn nothing_left(parent: &Run) -> Refusal {
    let words = format!("run {} has no such rows to try again; passferry show {} --rows lists those that need you", parent.id, parent.id);
    Refusal::new(Why::NothingThere, words)
}

fn refuse(parent: &Run) -> anyhow::Result<()> {
    if !parent.state.is_over() {
        let advice = if parent.state == State::Held { "; approve or discard it" } else { "; wait until it is over, or stop it" };
        return Err(Refusal::new(Why::NotNow, format!("run {} is {}{advice}", parent.id, parent.state)).into());
    }
    if parent.detail.fault.is_some() {
        let words = format!("the file of run {} failed as a whole and has no rows: deliver it again, corrected", parent.id);
        return Err(Refusal::new(Why::NothingThere, words).into());
    }
    Ok(())
}

/// The records to try again. Fails when there are none, and when a line named cannot be tried.
fn pick(ledger: &dyn Ledger, parent: &Run, choice: &Choice) -> anyhow::Result<BTreeSet<u64>> {
    let mut picked = BTreeSet::new();
    // By line: how the row ended.
    let mut seen: BTreeMap<u64, (Option<Outcome>, bool)> = BTreeMap::new();
    ledger.rows(&parent.id, &[], &mut |row: Row| {
        if choice.lines.contains(&row.line) {
            seen.insert(row.line, (row.outcome, row.taken));
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
            Some((_, true)) => {
                let later = parent.detail.continued_by.join(", ");
                return Err(Refusal::new(Why::NothingThere, format!("line {line} was taken up by a later run: see {later}")).into());
            }
            Some((Some(outcome), _)) if !outcome.needs_person() => {
                return Err(Refusal::new(Why::NothingThere, format!("line {line} is {outcome}: there is nothing to try again")).into());
            }
            Some(_) => {}
        }
    }
    if picked.is_empty() {
        return Err(nothing_left(parent).into());
    }
    Ok(picked)
}

fn wanted(row: &Row, choice: &Choice) -> bool {
    let Some(outcome) = row.outcome.filter(|outcome| outcome.needs_person() && !row.taken) else { return false };
    let codes = row.detail.codes();
    if choice.lines.is_empty() && choice.codes.is_empty() {
        let tried = matches!(outcome, Outcome::Refused | Outcome::NotAttempted | Outcome::Unresolved);
        return tried && !codes.contains(&Code::Discarded);
    }
    (choice.lines.is_empty() || choice.lines.contains(&row.line))
        && (choice.codes.is_empty() || codes.iter().any(|code| choice.codes.contains(code)))
}
