//! Corrections: which run a file corrects, what its rows were, and what changed since.

use crate::config::meant::Feed;
use crate::keeping::ago;
use crate::ledger::run::Fault;
use crate::ledger::{Run, RunKind};
use crate::outcome::{Code, Outcome};
use crate::pipeline::correction::{Correction, reserved_columns};
use crate::pipeline::decode::{Reader, read_record, split_cells};
use crate::pipeline::hand::FileInHand;
use crate::pipeline::road::Road;
use crate::pipeline::told_lost;
use crate::row::PassKey;

/// A file with our reserved columns is a correction of the run that its first record names. Returns a fault when that cannot be.
pub(super) fn recognise_correction(road: &Road, run: &mut Run, owner: &str, feed: &Feed) -> anyhow::Result<Option<Fault>> {
    if reserved_columns(&run.detail.labels).is_none() || run.kind == RunKind::Retry {
        return Ok(None);
    }
    let fault = |message: String| Fault {
        code: Code::CorrectionUnknown,
        line: Some(2),
        column: None,
        offset: None,
        message,
        suggestion: Some(Code::CorrectionUnknown.explain().cure.to_owned()),
    };
    let Some(named) = first_run_cell(road, run, owner, feed) else { return Ok(None) };
    let Some(parent) = road.ledger.run(&named)? else {
        return Ok(Some(fault(format!("_run names {named:?}, and no such run is known here"))));
    };
    if parent.source != run.source || road.feed(&parent.feed).is_err() {
        return Ok(Some(fault(format!("run {named} belongs to feed {}, which does not take files from here", parent.feed))));
    }
    run.kind = RunKind::Correction;
    run.feed = parent.feed;
    run.account = parent.account;
    run.parent = Some(named);
    road.save(run)?;
    Ok(None)
}

/// Tells the correction which identifiers its rows had, as far as a spreadsheet could have damaged them.
pub(super) fn note_originals(road: &Road, correction: &mut Correction) -> anyhow::Result<()> {
    let Some(parent) = road.ledger.run(&correction.parent)? else { return Ok(()) };
    if parent.detail.removed.is_some() {
        // Its labels may be gone as well, without which nothing of it can be read.
        anyhow::bail!("{}", told_lost(&parent.id, Some(&parent)));
    }
    let Ok(hand) = FileInHand::open(road, &parent)? else { return Ok(()) };
    let wanted: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| outcome.needs_person()).collect();
    let mapping = &hand.prepared().mapping;
    road.ledger.rows(&parent.id, &wanted, &mut |row| {
        let raw = read_record(&hand.text, row.offset, row.length)?;
        let mut cells = Vec::new();
        split_cells(&raw, &hand.dialect, &mut cells);
        if let Some(earlier) = hand.known.correction.as_ref() {
            let _ = earlier.take(&mut cells);
        }
        hand.prepared().schema.strip(&hand.known.columns, &mut cells);
        if let Some(target) = mapping.target(&hand.known.columns, &cells) {
            correction.note_original(row.record, target.text());
        }
        Ok(())
    })
}

/// `_run` of the first record.
fn first_run_cell(road: &Road, run: &Run, owner: &str, feed: &Feed) -> Option<String> {
    let column = run.detail.labels.iter().position(|label| label.trim() == "_run")?;
    // What is wrong with the file, the real reading says.
    // Another reader writes the decoded text meanwhile, so this one has a place of its own.
    let scratch = tempfile::tempdir_in(road.spool.folder()).ok()?;
    let mut reader = Reader::open(&road.spool.data(owner), &scratch.path().join("text"), &feed.dialect, &feed.limits).ok()?;
    let chunk = reader.next_chunk().ok()??;
    let mut cells = Vec::new();
    let record = chunk.records().next()?;
    record.cells(&mut cells);
    cells.get(column).map(|cell| cell.trim().to_owned())
}

/// For a correction or a retry: the run that it continues.
pub(super) fn corrected_after(road: &Road, run: &Run) -> anyhow::Result<Option<Run>> {
    match (&run.parent, run.kind) {
        (Some(parent), RunKind::Correction | RunKind::Retry) => Ok(road.ledger.run(parent)?),
        _ => Ok(None),
    }
}

/// Was the pass changed by a run that began after this one, or is it about to be? What cannot be looked up counts as changed.
pub(super) fn changed_since(road: &Road, account: &str, pass: PassKey, since: &Run, own: &str) -> bool {
    let Ok(touches) = road.ledger.touches(account, pass, 20) else { return true };
    touches.iter().any(|touch| {
        // A row takes the worst of its operations' outcomes: one whose add was refused may have set something all the same.
        let changed = |outcome: Outcome| matches!(outcome, Outcome::Applied | Outcome::Created);
        let counts = touch.row.outcome.is_none_or(changed) || touch.row.detail.operations.iter().any(|note| changed(note.outcome));
        let later =
            || road.ledger.run(&touch.run).map_or(true, |run| run.is_some_and(|run| is_later(&run, since, touch.row.outcome.is_none())));
        counts && touch.run != since.id && touch.run != own && later()
    })
}

/// Rows without an outcome speak only where they are on their way.
fn is_later(run: &Run, since: &Run, pending: bool) -> bool {
    run.detail.order > since.detail.order && (!pending || run.is_placed())
}

/// Were the rows of a correction or a retry first delivered so long ago that their keys may have been removed?
pub(super) fn is_forgotten(road: &Road, run: &Run) -> anyhow::Result<bool> {
    if run.kind == RunKind::File {
        return Ok(false);
    }
    let mut first = run.clone();
    while let Some(parent) = first.parent.as_deref().filter(|_| first.kind != RunKind::File) {
        let Some(parent) = road.ledger.run(parent)? else { break };
        first = parent;
    }
    Ok(first.detail.seen_at < ago(road.config.key_retention))
}
