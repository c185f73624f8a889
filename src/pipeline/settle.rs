//! Settle: a person's decision on adds in doubt becomes what the ledger and a new report say, and what waited for it goes on.

use std::collections::BTreeSet;

use anyhow::Context;
use tracing::{info, warn};

use super::road::Road;
use crate::ledger::key::Decision;
use crate::ledger::{Ended, KeyState, Ledger, OperationNote, Row, RowDetail, RowEnd, Run, RunFilter, RunKind, Settling, State};
use crate::outcome::{Code, Outcome};
use crate::row::PassKey;

/// Rows of a pass looked at for those that waited.
const WAITING_MAX: u64 = 1000;

/// Carries out the decisions that wait about this feed's runs.
pub fn settle(road: &Road, feed: &str) -> anyhow::Result<()> {
    for settling in road.ledger.to_settle()? {
        match road.ledger.run(&settling.run)? {
            Some(run) if run.feed == feed => settle_one(road, run, &settling)?,
            Some(run) if road.feed(&run.feed).is_ok() => {}
            _ => {
                warn!(run = settling.run, line = settling.line, "a decision about a run that nobody knows is dropped");
                road.ledger.answer_settling(road.fence, &settling)?;
            }
        }
    }
    Ok(())
}

fn settle_one(road: &Road, mut run: Run, settling: &Settling) -> anyhow::Result<()> {
    let mut keys = road.ledger.keys_of_line(&run.id, settling.line)?;
    keys.retain(|note| settling.key.is_none_or(|key| note.key == key));
    // A stop in the middle of this leaves keys that are settled already, by this very decision: what follows from it is still to be done.
    keys.retain(|note| note.state == KeyState::InDoubt || note.settled.as_ref() == Some(&settling.settlement));
    let Some(pass) = keys.first().map(|note| note.pass) else {
        warn!(run = run.id, line = settling.line, "this add is not in doubt any more: the decision is dropped");
        return Ok(road.ledger.answer_settling(road.fence, settling)?);
    };
    let row = match row_of(&*road.ledger, &run.id, settling.line)? {
        Some(row) if row.outcome.is_some() => row,
        // The decision waits until the row has ended, so that what follows from it is not lost.
        Some(_) => return Ok(()),
        None => {
            warn!(run = run.id, line = settling.line, "the row of this add is gone: the decision is dropped, and the add stays in doubt");
            return Ok(road.ledger.answer_settling(road.fence, settling)?);
        }
    };
    let decision = settling.settlement.decision;
    let state = if decision == Decision::Applied { KeyState::Applied } else { KeyState::NotApplied };
    let doubtful = keys.iter().filter(|note| note.state == KeyState::InDoubt);
    let states: Vec<_> = doubtful.map(|note| (note.key, state)).collect();
    let end = Some(decided(&row, settling)).filter(|_| row.outcome == Some(Outcome::InDoubt));
    if !states.is_empty() {
        road.ledger.settle(road.fence, settling, &run.account, &states, end.as_ref())?;
    }
    for note in &keys {
        info!(run = run.id, key = %note.key, decision = decision.as_str(), by = settling.settlement.by, "settled");
    }
    if run.state == State::DoneInDoubt || (run.state.is_over() && run.detail.tally.get(Outcome::InDoubt) > 0) {
        // A new report says what is decided; the earlier one stays beside it.
        let earlier = std::mem::take(&mut run.detail.reports);
        run.detail.earlier_reports.extend(earlier);
        run.state = State::Reporting;
        road.save(&run)?;
    }
    let mut again = Vec::new();
    // While another add of the pass is in doubt nothing would be sent.
    if road.ledger.doubtful(&run.account, pass)?.is_none() {
        road.dispatch(&run.account)?.settled(pass);
        take_up(road, &run.account, pass, &mut again)?;
    }
    for (parent, records) in again {
        let parent = road.ledger.run(&parent)?.context("a run of the ledger is gone")?;
        let records = not_yet_requested(road, &parent, records)?;
        if records.is_empty() {
            continue;
        }
        let proof = format!("taken up when line {} of run {} was settled", settling.line, run.id);
        let retry = road.ledger.request_run(parent.again(records.into_iter().collect(), proof))?;
        info!(run = retry.id, parent = parent.id, "rows that waited are taken up");
    }
    Ok(road.ledger.answer_settling(road.fence, settling)?)
}

/// Those of these records that no unfinished retry has picked.
fn not_yet_requested(road: &Road, parent: &Run, mut records: BTreeSet<u64>) -> anyhow::Result<BTreeSet<u64>> {
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    let runs = road.ledger.runs(&RunFilter { feed: Some(parent.feed.clone()), states: open, limit: None })?;
    for retry in runs.iter().filter(|run| run.kind == RunKind::Retry && run.parent.as_ref() == Some(&parent.id)) {
        for record in &retry.detail.picked {
            records.remove(record);
        }
    }
    Ok(records)
}

/// A run's row that begins in this line, whether it has ended or not. Those in doubt are few and are looked through first.
pub fn row_of(ledger: &dyn Ledger, run: &str, line: u64) -> anyhow::Result<Option<Row>> {
    let mut found = None;
    for outcomes in [&[Outcome::InDoubt][..], &[]] {
        ledger.rows(run, outcomes, &mut |row| {
            if row.line == line {
                found = Some(row);
            }
            Ok(())
        })?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

/// How a row ended by the decision.
fn decided(row: &Row, settling: &Settling) -> RowEnd {
    let settlement = &settling.settlement;
    let (outcome, code) = match settlement.decision {
        Decision::Applied => (Outcome::Applied, None),
        Decision::NotApplied => (Outcome::Refused, Some(Code::SettledNotApplied)),
        Decision::Resend => (Outcome::NotAttempted, Some(Code::SettledResend)),
    };
    let mut operations = row.detail.operations.clone();
    let is_meant = |note: &OperationNote| settling.key.is_none_or(|key| note.operation == key.kind.as_str());
    for note in operations.iter_mut().filter(|note| note.outcome == Outcome::InDoubt && is_meant(note)) {
        note.outcome = outcome;
        note.code = code;
        note.message = format!("settled by {}: {}; before: {}", settlement.by, settlement.reason, note.message);
    }
    let worst = operations.iter().map(|note| note.outcome).max_by_key(|outcome| outcome.severity()).unwrap_or(outcome);
    RowEnd {
        number: row.number,
        outcome: Ended::As(worst),
        detail: RowDetail { problems: row.detail.problems.clone(), operations },
        pass: None,
        known: Vec::new(),
        unknown: Vec::new(),
        forget: false,
    }
}

/// Rows of the pass, of any run, that are to be sent again or ended because they came after an add in doubt, and that nobody has taken up
/// yet. Runs in the order in which they came.
fn take_up(road: &Road, account: &str, pass: PassKey, again: &mut Vec<(String, BTreeSet<u64>)>) -> anyhow::Result<()> {
    let touches = road.ledger.touches(account, pass, WAITING_MAX)?;
    let mut taken: BTreeSet<(String, u64)> = BTreeSet::new();
    for touch in &touches {
        if let Some(Run { kind: RunKind::Retry, parent: Some(parent), .. }) = road.ledger.run(&touch.run)? {
            taken.insert((parent, touch.row.record));
        }
    }
    for touch in touches.into_iter().rev() {
        let codes = touch.row.detail.codes();
        let waited = codes.iter().any(|code| matches!(code, Code::PassInDoubt | Code::AddInDoubt));
        let waits = match touch.row.outcome {
            None | Some(Outcome::InDoubt) => false,
            Some(outcome) => codes.contains(&Code::SettledResend) || (waited && outcome == Outcome::NotAttempted),
        };
        if waits && !taken.contains(&(touch.run.clone(), touch.row.record)) {
            match again.iter_mut().find(|(run, _)| *run == touch.run) {
                Some((_, records)) => drop(records.insert(touch.row.record)),
                None => again.push((touch.run, BTreeSet::from([touch.row.record]))),
            }
        }
    }
    Ok(())
}
