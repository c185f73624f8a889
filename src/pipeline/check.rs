//! The whole file, before anything is sent: decode, validate, diff and guard put together for one run.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use chrono::Utc;

use super::decode::{DecodeError, LineEnds};
use super::diff::{Against, Meet, diff};
use super::guard::{self, Totals};
use super::hand::Known;
use super::pending::PendingPasses;
use super::road::{Prepared, Road, Station};
use super::sent::Sent;
use super::validate::{Duplicated, Rejected, Rules, ValidateError, Validated, validate};
use super::{apply::not_attempted, kept_back, sequence, sets};
use crate::config::meant::{Feed, Mode};
use crate::keeping::{ago, unknown};
use crate::ledger::run::{Fault, FileFacts, Verdict};
use crate::ledger::{Row, Run, RunKind, State};
use crate::outcome::{Outcome, Tally};
use crate::row::PassKey;

use corrected::{changed_since, corrected_after, is_forgotten, note_originals, recognise_correction};
use supersede::supersede_older;

mod corrected;
pub mod delivered;
mod supersede;

/// How a check ended. The run is in the ledger in the state that belongs to it, except for a bad file.
pub enum Checked {
    /// The file is bad as a whole.
    Bad(Fault),
    /// A guard stopped it.
    Held,
    /// May be applied.
    Ready,
    /// It comes behind a run whose rows are not known at this moment; which, in words.
    Behind(String),
}

impl Checked {
    /// Says of a bad set in which part of it the fault is.
    fn in_part(self, run: &Run, parts: &[super::decode::PartFacts]) -> Checked {
        match self {
            Checked::Bad(fault) => Checked::Bad(delivered::in_part(fault, run, parts)),
            other => other,
        }
    }
}

/// Rows written to the ledger together.
const ROWS: usize = 5000;

/// Rows that were sent before, under an earlier check, keep their end.
pub fn check(road: &Road, run: &mut Run, sent: &Sent) -> anyhow::Result<Checked> {
    let feed = road.feed(&run.feed)?;
    let owner = road.spool_owner(run);
    let _ = std::fs::remove_file(road.spool.text(&owner));
    let parts = RefCell::default();
    let reader = match delivered::open(road, run, &feed, &parts) {
        Ok(reader) => reader,
        Err(error) => return bad(error).map(|bad| bad.in_part(run, &parts.borrow())),
    };
    run.detail.dialect = Some(reader.dialect().facts());
    run.detail.labels = reader.header().map(|header| header.labels.clone()).unwrap_or_default();
    run.detail.header_line = reader.header().map(|header| header.line);
    let notes = reader.notes().to_vec();
    if run.parts().is_empty()
        && let Some(fault) = recognise_correction(road, run, &owner, &feed)?
    {
        return Ok(Checked::Bad(fault));
    }
    let meant = road.feed(&run.feed)?;
    if meant.name != feed.name && meant.dialect.pgp != feed.dialect.pgp {
        // Which keys open it and whose signature it needs, the feed of the run that it corrects says, not the first of the inbox.
        drop(reader);
        return check(road, run, sent);
    }
    run.account.clone_from(&road.feed(&run.feed)?.platform.name);
    let mut hand = match Known::of(road, run)? {
        Ok(known) => known,
        Err(fault) => return Ok(Checked::Bad(fault)),
    };
    let feed = Arc::clone(&hand.feed);
    run.detail.fingerprint.clone_from(&feed.fingerprint);
    run.detail.warnings = notes;
    run.detail.warnings.extend_from_slice(&hand.columns.warnings);
    if let Some(correction) = &mut hand.correction
        && run.kind == RunKind::Correction
        && let Err(error) = note_originals(road, correction)
    {
        let words = format!("identifiers that lost their zeros are not noticed: {error:#}");
        tracing::warn!("{words}");
        run.detail.warnings.push(words);
    }
    let picked: HashSet<u64> = run.detail.picked.iter().copied().collect();
    let pick = |record: u64| picked.contains(&record);
    let rules = Rules {
        schema: &hand.prepared.schema,
        columns: &hand.columns,
        mapping: Some(&hand.prepared.mapping),
        correction: hand.correction.as_ref(),
        file: &hand.file,
        picked: if picked.is_empty() { None } else { Some(&pick) },
    };
    let mut rejects = Rejects { road, run: &run.id, sent, rows: Vec::new() };
    let size = run.size;
    let progress = |bytes| road.tell(run, Station::Check, bytes, size);
    let result = validate(reader, &rules, &road.spool, &road.pool, &progress, &mut |rejected| rejects.take(rejected));
    rejects.flush()?;
    let (validated, duplicated) = match result {
        Ok(both) => both,
        Err(ValidateError::Decode(error)) => return bad(error).map(|bad| bad.in_part(run, &parts.borrow())),
        Err(error) => return Err(error.into()),
    };
    run.detail.facts = Some(facts(&validated.facts));
    if let Some(delivered) = &mut run.detail.delivered {
        delivered::note_parts(delivered, &parts.borrow());
    }
    if let Some(fault) = delivered::refuse(run, validated.facts.records) {
        return Ok(Checked::Bad(fault));
    }
    run.detail.warnings.extend(run.detail.delivered.iter().flat_map(|delivered| delivered.notes.clone()));
    if !validated.facts.last_line_ended && validated.facts.records > 0 {
        run.detail.warnings.push("the last line has no line end: the file may have been cut short".into());
    }
    run.detail.corrects = if run.kind == RunKind::Correction { validated.corrects.clone() } else { Vec::new() };
    run.detail.problems.clone_from(&validated.problems);
    run.detail.problems_by_column.clone_from(&validated.problems_by_column);
    compare(road, run, &feed, &hand.prepared, &validated, &duplicated, sent)
}

/// Diff and guard: what of the valid records is left to do, and may it be done?
fn compare(
    road: &Road,
    run: &mut Run,
    feed: &Feed,
    prepared: &Prepared,
    validated: &Validated,
    duplicated: &Duplicated,
    sent: &Sent,
) -> anyhow::Result<Checked> {
    // From the look at other runs' rows until this run's own are visible as checked, no other run of the account may do the same.
    let _order = road.account_order(&feed.platform.name)?;
    run.detail.behind = match road.runs_before(run, &feed.platform.name)? {
        Ok(before) => before,
        Err(other) => return Ok(Checked::Behind(words_behind(&other))),
    };
    let mut pending = PendingPasses::default();
    road.ledger.pending_passes(&run.detail.behind, &mut |row| road.note_pending(&mut pending, &row))?;
    let later = corrected_after(road, run)?;
    let stale = |pass: PassKey| later.as_ref().is_some_and(|later| changed_since(road, &feed.platform.name, pass, later, &run.id));
    let today = (Utc::now().timestamp() / 86_400) as u16;
    // Noted now and then: an export of all history would otherwise write every key every night.
    let meet = Meet { before: ago(road.config.key_retention / 10), note: &|keys| Ok(road.ledger.meet_keys(road.fence, keys)?) };
    let against = Against {
        ledger: &*road.ledger,
        run: &run.id,
        account: &feed.platform.name,
        mapping: &prepared.mapping,
        field_ids: &prepared.field_ids,
        clock: prepared.clock,
        duplicates: feed.duplicates,
        today,
        max_age_days: feed.unchanged_max_age.map(|age| (age.as_secs() / 86_400) as u16),
        force: road.force,
        pending: &pending,
        sent,
        declines: run.kind == RunKind::Retry,
        forgotten: is_forgotten(road, run)?,
        meet: Some(&meet),
        stale: later.is_some().then_some(&stale),
    };
    let mut canary = Canary::new(feed, prepared, run, sent);
    let diffed = diff(validated, duplicated, &against, &road.pool, &mut |mut rows| {
        for row in &mut rows {
            canary.judge(row);
        }
        Ok(road.ledger.add_rows(road.fence, &run.id, &rows)?)
    })?;
    let undone = road.doubt_undone(run, sent)?;
    run.detail.counted = Tally::default();
    run.detail.counted.add(Outcome::Unchanged, diffed.unchanged.saturating_sub(undone));
    run.detail.counted_operations = diffed.operations;
    run.detail.moves = diffed.moves;
    run.detail.tally = run.detail.counted.clone();
    run.detail.tally.merge(&road.ledger.tally(&run.id)?);

    let totals = Totals {
        records: validated.valid + validated.rejected,
        rejected: validated.rejected,
        ragged: validated.ragged,
        moves: &run.detail.moves,
        kind: run.kind,
    };
    run.detail.verdicts = guard::judge(feed, &totals, &*road.ledger)?;
    let of_order = sequence::judge(feed, run, &*road.ledger)?;
    for verdict in of_order.iter().filter(|verdict| !verdict.held) {
        tracing::warn!(guard = verdict.guard, "{}", verdict.evidence);
        run.detail.warnings.push(verdict.evidence.clone());
    }
    run.detail.verdicts.splice(0..0, of_order);
    run.detail.verdicts.splice(0..0, sets::late::judge(feed, run, &*road.ledger)?);
    if run.kind == RunKind::File {
        let of_delivery = run.detail.delivered.as_ref().and_then(|delivered| delivered::verdict(delivered, validated.facts.records));
        run.detail.verdicts.splice(0..0, of_delivery);
    }
    run.detail.verdicts.sort_by_key(|verdict| !verdict.held);
    let unknown = unknown::verdict(&road.unknown_reports(feed)?);
    let is_forgetful = unknown.is_some();
    let older = feed.may_add() && run.kind == RunKind::File && run.mtime < ago(road.config.key_retention).timestamp();
    let older = older.then(|| guard::older_than_keys(road.config.key_retention));
    run.detail.verdicts.splice(..0, unknown.into_iter().chain(older));
    // Nothing that `plan` mode lets through needs a guard's permission, and a person's word outweighs one.
    let guarded = run.detail.approval.is_none() && run.kind != RunKind::Retry;
    // A delivery that is odd in itself asks for a person even when it would change nothing.
    let holds = |verdict: &Verdict| verdict.held && (diffed.pending > 0 || guard::is_of_delivery(&verdict.guard));
    let holds = guarded && run.detail.verdicts.iter().any(holds);
    // An approval was of what its person was shown; these reports are accepted when they were.
    if feed.mode != Mode::Plan && (holds || (is_forgetful && diffed.pending > 0)) {
        return Ok(Checked::Held);
    }
    for verdict in &mut run.detail.verdicts {
        verdict.held &= run.detail.approval.is_some();
    }
    if prepared.clock.is_some() {
        road.ledger.keep_stamps_of_unchanged(road.fence, &run.id)?;
    }
    road.spool.keep_text(&road.spool_owner(run))?;
    run.state = State::Checked;
    run.detail.placed = true;
    road.save(run)?;
    supersede_older(road, run, feed, validated)?;
    Ok(Checked::Ready)
}

/// That a run waits for another one.
pub fn words_behind(other: &Run) -> String {
    format!("waits for run {} ({}), which is checked again", other.id, other.shown_name())
}

fn bad(error: DecodeError) -> anyhow::Result<Checked> {
    match error {
        DecodeError::Fault(fault) => Ok(Checked::Bad(Fault {
            code: fault.code,
            line: fault.line,
            column: fault.column,
            offset: fault.offset,
            message: fault.message,
            suggestion: fault.suggestion,
        })),
        DecodeError::Io(error) => Err(error.into()),
    }
}

pub fn facts(facts: &super::decode::Facts) -> FileFacts {
    FileFacts {
        records: facts.records,
        lines: facts.lines,
        blank_lines: facts.blank_lines,
        repeated_headers: facts.repeated_headers,
        passed_over: facts.passed_over,
        footer: facts.footer,
        bytes: facts.bytes,
        compressed: facts.compressed,
        byte_order_mark: facts.bom,
        line_ends: line_ends(&facts.line_ends).to_owned(),
        last_line_ended: facts.last_line_ended,
    }
}

fn line_ends(ends: &LineEnds) -> &'static str {
    match (ends.lf > 0, ends.crlf > 0, ends.cr > 0) {
        (true, false, false) => "lf",
        (false, true, false) => "crlf",
        (false, false, true) => "cr",
        (false, false, false) => "none",
        _ => "mixed",
    }
}

/// Rows that the feed's mode keeps back.
struct Canary {
    mode: Mode,
    left: u64,
    only: Option<HashSet<PassKey>>,
}

impl Canary {
    fn new(feed: &Feed, prepared: &Prepared, run: &Run, sent: &Sent) -> Canary {
        let only = &feed.canary.only;
        let only = (!only.is_empty()).then(|| only.iter().map(|id| prepared.mapping.pass_key(id)).collect());
        let mode = if run.kind == RunKind::File { feed.mode } else { Mode::Live };
        let mode = if feed.mode == Mode::Plan { Mode::Plan } else { mode };
        Canary { mode, left: feed.canary.limit.saturating_sub(sent.count), only }
    }

    fn judge(&mut self, row: &mut Row) {
        if row.outcome.is_some() {
            return;
        }
        let Some((code, words)) = kept_back(self.mode) else { return };
        let chosen = self.mode == Mode::Canary
            && self.left > 0
            && self.only.as_ref().is_none_or(|only| row.pass.is_some_and(|pass| only.contains(&pass)));
        if chosen {
            self.left -= 1;
        } else {
            row.outcome = Some(Outcome::NotAttempted);
            row.detail = not_attempted(code, words);
        }
    }
}

/// Rejected rows on their way to the ledger.
struct Rejects<'a> {
    road: &'a Road,
    run: &'a str,
    sent: &'a Sent,
    rows: Vec<Row>,
}

impl Rejects<'_> {
    fn take(&mut self, rejected: Rejected) -> anyhow::Result<()> {
        if self.sent.has(rejected.line) {
            return Ok(());
        }
        if rejected.again {
            self.flush()?;
            self.road.ledger.add_problems(self.road.fence, self.run, rejected.record, &rejected.problems)?;
            return Ok(());
        }
        self.rows.push(rejected.into_row());
        if self.rows.len() >= ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.rows.is_empty() {
            self.road.ledger.add_rows(self.road.fence, self.run, &self.rows)?;
            self.rows.clear();
        }
        Ok(())
    }
}
