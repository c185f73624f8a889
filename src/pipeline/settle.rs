//! Settle: a person's decision on adds in doubt becomes what the ledger and a new report say, and what waited for it goes on.

use std::collections::BTreeSet;

use anyhow::Context;
use tracing::{info, warn};

use super::road::Road;
use crate::ledger::key::Decision;
use crate::ledger::{Ended, KeyState, Ledger, Row, RowDetail, RowEnd, Run, RunFilter, RunKind, Settling, State};
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
    let keys = road.ledger.keys_of_line(&run.id, settling.line)?;
    // A stop in the middle of this leaves keys that are settled already, by this very decision: what follows from it is still to be done.
    let mut decided_keys =
        keys.iter().filter(|note| note.state == KeyState::InDoubt || note.settled.as_ref() == Some(&settling.settlement));
    let Some(pass) = decided_keys.next().map(|note| note.pass) else {
        warn!(run = run.id, line = settling.line, "nothing of this row is in doubt any more: the decision is dropped");
        return Ok(road.ledger.answer_settling(road.fence, settling)?);
    };
    let doubtful: Vec<_> = keys.iter().filter(|note| note.state == KeyState::InDoubt).collect();
    let decision = settling.settlement.decision;
    let state = if decision == Decision::Applied { KeyState::Applied } else { KeyState::NotApplied };
    let states: Vec<_> = doubtful.iter().map(|note| (note.key, state)).collect();
    let row = row_of(&*road.ledger, &run.id, settling.line)?;
    let end = row.as_ref().filter(|row| row.outcome == Some(Outcome::InDoubt)).map(|row| decided(row, settling));
    if !states.is_empty() {
        road.ledger.settle(road.fence, settling, &run.account, &states, end.as_ref())?;
    }
    info!(run = run.id, line = settling.line, decision = decision.as_str(), by = settling.settlement.by, "settled");
    if run.state == State::DoneInDoubt || (run.state.is_over() && run.detail.tally.get(Outcome::InDoubt) > 0) {
        // A new report says what is decided; the earlier one stays beside it.
        let earlier = std::mem::take(&mut run.detail.reports);
        run.detail.earlier_reports.extend(earlier);
        run.state = State::Reporting;
        road.save(&run)?;
    }
    let mut again = Vec::new();
    if decision == Decision::Resend
        && let Some(row) = &row
    {
        again.push((run.id.clone(), BTreeSet::from([row.record])));
    }
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

/// The row with an add in doubt, or the one that this decision has ended already.
fn row_of(ledger: &dyn Ledger, run: &str, line: u64) -> anyhow::Result<Option<Row>> {
    let mut found = None;
    ledger.rows(run, &[Outcome::InDoubt, Outcome::NotAttempted], &mut |row| {
        let decided = row.outcome == Some(Outcome::InDoubt) || row.detail.codes().contains(&Code::SettledResend);
        if row.line == line && decided {
            found = Some(row);
        }
        Ok(())
    })?;
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
    for note in operations.iter_mut().filter(|note| note.outcome == Outcome::InDoubt) {
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

/// Rows of the pass, of any run that is over, that ended because they came after an add in doubt, and that nobody has taken up yet.
/// Runs in the order in which they came.
fn take_up(road: &Road, account: &str, pass: PassKey, again: &mut Vec<(String, BTreeSet<u64>)>) -> anyhow::Result<()> {
    let touches = road.ledger.touches(account, pass, WAITING_MAX)?;
    let mut taken: BTreeSet<(String, u64)> = BTreeSet::new();
    for touch in &touches {
        if let Some(Run { kind: RunKind::Retry, parent: Some(parent), .. }) = road.ledger.run(&touch.run)? {
            taken.insert((parent, touch.row.record));
        }
    }
    for touch in touches.into_iter().rev() {
        let waits = touch.row.outcome == Some(Outcome::NotAttempted)
            && touch.row.detail.codes().iter().any(|code| matches!(code, Code::PassInDoubt | Code::AddInDoubt));
        if waits && !taken.contains(&(touch.run.clone(), touch.row.record)) {
            match again.iter_mut().find(|(run, _)| *run == touch.run) {
                Some((_, records)) => drop(records.insert(touch.row.record)),
                None => again.push((touch.run, BTreeSet::from([touch.row.record]))),
            }
        }
    }
    Ok(())
}
