//! The whole file, before anything is sent: decode, validate, diff and guard put together for one run.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use chrono::Utc;

use super::correction::{Correction, reserved_columns};
use super::decode::{DecodeError, Dialect, LineEnds, Reader, read_record, split_cells};
use super::diff::{Against, Meet, diff};
use super::guard::{self, Totals};
use super::pending::PendingPasses;
use super::report::RowSource;
use super::road::{Prepared, Road, Station};
use super::sent::Sent;
use super::spill::PARTITIONS;
use super::validate::{Duplicated, Entry, Rejected, Rules, ValidateError, Validated, validate};
use super::{apply::not_attempted, kept_back, open_text, sequence};
use crate::config::meant::{Content, Feed, Mode};
use crate::keeping::{ago, unknown};
use crate::ledger::run::{Fault, FileFacts, Verdict};
use crate::ledger::{Ended, Row, RowDetail, RowEnd, Run, RunFilter, RunKind, State};
use crate::outcome::{Code, Outcome, Tally};
use crate::row::{PassKey, Verb};
use crate::schema::{Columns, HeaderFault};

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

/// Rows written to the ledger together.
const ROWS: usize = 5000;

/// Rows that were sent before, under an earlier check, keep their end.
pub fn check(road: &Road, run: &mut Run, sent: &Sent) -> anyhow::Result<Checked> {
    let feed = road.feed(&run.feed)?;
    let owner = road.spool_owner(run);
    let _ = std::fs::remove_file(road.spool.text(&owner));
    let reader = match Reader::open(&road.spool.data(&owner), &road.spool.text(&owner), &feed.dialect, &feed.limits) {
        Ok(reader) => reader,
        Err(error) => return bad(error),
    };
    run.detail.dialect = Some(reader.dialect().facts());
    run.detail.labels = reader.header().map(|header| header.labels.clone()).unwrap_or_default();
    let notes = reader.notes().to_vec();
    if let Some(fault) = recognise_correction(road, run, &owner, &feed)? {
        return Ok(Checked::Bad(fault));
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
        Err(ValidateError::Decode(error)) => return bad(error),
        Err(error) => return Err(error.into()),
    };
    run.detail.facts = Some(facts(&validated.facts));
    if !validated.facts.last_line_ended && validated.facts.records > 0 {
        run.detail.warnings.push("the last line has no line end: the file may have been cut short".into());
    }
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

/// Were the rows of a correction or a retry first delivered so long ago that their keys may have been removed?
fn is_forgotten(road: &Road, run: &Run) -> anyhow::Result<bool> {
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

/// What is known of a run's file once its header was read.
struct Known {
    /// As it is for this file.
    feed: Arc<Feed>,
    prepared: Arc<Prepared>,
    columns: Columns,
    correction: Option<Correction>,
    labels: Vec<String>,
    /// SHA-256 of the file as delivered, in hex.
    file: String,
}

impl Known {
    fn of(road: &Road, run: &Run) -> anyhow::Result<Result<Known, Fault>> {
        let (feed, prepared) = match road.prepared(run)? {
            Ok(both) => both,
            Err(faults) => return Ok(Err(header_fault(&faults))),
        };
        let all = &run.detail.labels;
        let correction = match run.kind {
            RunKind::Correction => Correction::new(all, run.parent.clone().unwrap_or_default()),
            // The rows of a retry stand in its parent's file, which may be a correction.
            RunKind::Retry => match road.ledger.run(&road.spool_owner(run))? {
                Some(owner) if owner.kind == RunKind::Correction => Correction::new(all, owner.parent.unwrap_or_default()),
                _ => None,
            },
            RunKind::File => None,
        };
        let mut correction = correction;
        let added = match &mut correction {
            Some(correction) => road.ledger.run(&correction.parent)?.map(|parent| correction.leave_out_added(all, &parent.detail.labels)),
            None => None,
        };
        let labels = correction.as_ref().map_or_else(|| all.clone(), |correction| correction.data_labels(all));
        let header = run.detail.dialect.as_ref().is_none_or(|dialect| dialect.header);
        let columns = match prepared.schema.columns(header.then_some(&labels)) {
            Ok(mut columns) => {
                columns.warnings.extend(added.flatten());
                columns
            }
            Err(faults) => return Ok(Err(header_fault(&faults))),
        };
        let labels = if header { labels } else { prepared.schema.fields().iter().map(|field| field.name.clone()).collect() };
        let owner = road.spool_owner(run);
        let file = if owner == run.id { run.sha256.clone() } else { road.ledger.run(&owner)?.and_then(|owner| owner.sha256) };
        Ok(Ok(Known { feed, prepared, columns, correction, labels, file: file.unwrap_or_default() }))
    }
}

fn header_fault(faults: &[HeaderFault]) -> Fault {
    let first = faults.first();
    Fault {
        code: first.map_or(Code::UnmatchedHeader, |fault| fault.code),
        line: Some(1),
        column: None,
        offset: None,
        message: faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; "),
        suggestion: first.map(|fault| fault.code.explain().cure.to_owned()),
    }
}

/// A checked run's file, ready to read rows of again.
pub struct FileInHand {
    known: Known,
    pub dialect: Dialect,
    pub text: File,
    personal: Vec<bool>,
    line_end: &'static str,
    byte_order_mark: bool,
}

impl FileInHand {
    pub fn open(road: &Road, run: &Run) -> anyhow::Result<Result<FileInHand, Fault>> {
        let known = match Known::of(road, run)? {
            Ok(known) => known,
            Err(fault) => return Ok(Err(fault)),
        };
        let dialect = run.detail.dialect.clone().unwrap_or_default();
        let facts = run.detail.facts.clone().unwrap_or_default();
        let fields = known.prepared.schema.fields();
        let personal = known.columns.field_of_column.iter().map(|field| field.is_none_or(|field| fields[field].personal)).collect();
        Ok(Ok(FileInHand {
            dialect: Dialect::of(&dialect),
            text: open_text(road, run)?,
            personal,
            line_end: match facts.line_ends.as_str() {
                "crlf" => "\r\n",
                "cr" => "\r",
                _ => "\n",
            },
            byte_order_mark: facts.byte_order_mark,
            known,
        }))
    }

    pub fn prepared(&self) -> &Prepared {
        &self.known.prepared
    }

    pub fn rules(&self) -> Rules<'_> {
        Rules {
            schema: &self.known.prepared.schema,
            columns: &self.known.columns,
            mapping: Some(&self.known.prepared.mapping),
            correction: self.known.correction.as_ref(),
            file: &self.known.file,
            picked: None,
        }
    }

    pub fn rows(&self) -> RowSource<'_> {
        RowSource {
            text: &self.text,
            dialect: &self.dialect,
            labels: &self.known.labels,
            personal: &self.personal,
            correction: self.known.correction.as_ref(),
            mapping: &self.known.prepared.mapping,
            columns: &self.known.columns,
            schema: &self.known.prepared.schema,
            file: &self.known.file,
            byte_order_mark: self.byte_order_mark,
            line_end: self.line_end,
        }
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

/// A file with our reserved columns is a correction of the run that its first record names. Returns a fault when that cannot be.
fn recognise_correction(road: &Road, run: &mut Run, owner: &str, feed: &Feed) -> anyhow::Result<Option<Fault>> {
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
fn note_originals(road: &Road, correction: &mut Correction) -> anyhow::Result<()> {
    let Some(parent) = road.ledger.run(&correction.parent)? else { return Ok(()) };
    if parent.detail.removed.is_some() {
        // Its labels may be gone as well, without which nothing of it can be read.
        anyhow::bail!("{}", super::told_lost(&parent.id, Some(&parent)));
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
        hand.known.prepared.schema.strip(&hand.known.columns, &mut cells);
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
fn corrected_after(road: &Road, run: &Run) -> anyhow::Result<Option<Run>> {
    match (&run.parent, run.kind) {
        (Some(parent), RunKind::Correction | RunKind::Retry) => Ok(road.ledger.run(parent)?),
        _ => Ok(None),
    }
}

/// Was the pass changed by a run that began after this one, or is it about to be? What cannot be looked up counts as changed.
fn changed_since(road: &Road, account: &str, pass: PassKey, since: &Run, own: &str) -> bool {
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

/// A newer snapshot takes the place of older ones that still wait for a decision, row by row: what it names is superseded, what it does
/// not name was not attempted and comes back in the older file's report.
fn supersede_older(road: &Road, run: &Run, feed: &Feed, validated: &Validated) -> anyhow::Result<()> {
    if feed.content != Content::Snapshot || run.kind != RunKind::File {
        return Ok(());
    }
    let held = road.ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: vec![State::Held], limit: None })?;
    let older: Vec<Run> = held
        .into_iter()
        .filter(|older| older.id != run.id && older.detail.order < run.detail.order && older.kind == RunKind::File)
        .collect();
    if older.is_empty() {
        return Ok(());
    }
    let mut named = PendingPasses::default();
    for partition in 0..PARTITIONS {
        for entry in Entry::read_all(&validated.entries.load(partition)?) {
            named.insert(entry.pass, Verb::Void, std::iter::empty());
        }
    }
    for mut older in older {
        let left_out = Replaced {
            unnamed: not_attempted(Code::RunStopped, "a newer file took this one's place and does not name this pass"),
            adding: not_attempted(Code::RunStopped, &format!("run {} took this one's place, and does not do what this row adds", run.id)),
        };
        let mut from = 0;
        loop {
            let rows = road.ledger.pending_rows(&older.id, from, ROWS as u64)?;
            let Some(last) = rows.last() else { break };
            from = last.number + 1;
            let ends: Vec<RowEnd> = rows.iter().map(|row| replaced(row, &named, &left_out)).collect();
            road.ledger.end_rows(road.fence, &older.id, &older.account, &ends, &[])?;
        }
        older.detail.cause = Some(format!("superseded by run {}", run.id));
        older.detail.end = Some(State::Superseded);
        older.state = State::Reporting;
        road.save(&older)?;
    }
    Ok(())
}

/// Why rows of a file that a newer one replaced come back in its report.
struct Replaced {
    unnamed: RowDetail,
    adding: RowDetail,
}

/// What a row sets is superseded by what a newer one says of its pass; nothing supersedes what it adds.
fn replaced(row: &Row, named: &PendingPasses, left_out: &Replaced) -> RowEnd {
    let is_named = row.pass.is_some_and(|pass| named.conflicts(pass, Verb::Void, std::iter::empty()));
    let (outcome, detail) = match (is_named, row.adds) {
        (false, _) => (Outcome::NotAttempted, left_out.unnamed.clone()),
        (true, 0) => (Outcome::Superseded, RowDetail::default()),
        (true, _) => (Outcome::NotAttempted, left_out.adding.clone()),
    };
    RowEnd { number: row.number, outcome: Ended::As(outcome), detail, pass: None, known: Vec::new(), unknown: Vec::new(), forget: false }
}
