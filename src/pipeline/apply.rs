//! Apply: sends what is left of a run, group by group, and writes down how each row ended.
//!
//! One thread reads rows, maps and resolves them and feeds the changes to `dispatch`; this one takes the results and commits them in
//! groups. Rows without an outcome are the only state: a run that was killed goes on with exactly those.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::decode::{Dialect, read_record, split_cells};
use super::resolve::{Resolved, resolve};
use super::validate::Rules;
use crate::config::meant::Feed;
use crate::dispatch::{ChangeSender, Dispatch, Health};
use crate::ledger::{Fence, FieldState, Ledger, Mark, OperationNote, Row, RowDetail, RowEnd};
use crate::mapping::Mapping;
use crate::outcome::{Code, Outcome, Problem};
use crate::platform::{Account, ChangeResult, OperationResult};
use crate::row::{Change, PassKey};
use crate::stop::Stop;

/// Rows read, mapped and resolved together.
const GROUP: u64 = 1000;
/// Outcomes are committed when this many wait, or the oldest has waited this long.
const COMMIT_ROWS: usize = 1000;
const COMMIT_AFTER: Duration = Duration::from_millis(100);
/// How often health, wishes and deferred rows are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long rows wait at a time for an earlier run of the account.
const EARLIER_WAIT: Duration = Duration::from_secs(10);
/// Rows after which a high share of missing passes stops the run: more likely the wrong programme than wrong rows.
const UNRESOLVED_SAMPLE: u64 = 200;

/// All that applying a run needs.
pub struct Work<'a> {
    pub run: &'a str,
    pub feed: &'a Feed,
    pub ledger: &'a dyn Ledger,
    pub fence: Fence,
    pub rules: &'a Rules<'a>,
    pub mapping: &'a Mapping,
    pub field_ids: &'a [u16],
    pub account: &'a Account,
    pub dispatch: &'a Dispatch,
    pub text: &'a File,
    pub dialect: &'a Dialect,
    pub pool: &'a rayon::ThreadPool,
    pub today: u16,
    pub stop: &'a Stop,
    /// Runs of the account that had rows left when this one was checked: its deferred rows come after theirs.
    pub behind: &'a [String],
    /// Stop when too many of the first rows have no pass; off for corrections and approved runs.
    pub watch_unresolved: bool,
}

/// Why applying came to an end.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// Every row has an outcome.
    All,
    /// Stopped; rows are left.
    Stopped,
    /// Too many of the first rows have no pass. What the person sees.
    TooManyUnresolved(String),
}

/// What applying tells while it goes on.
pub trait Watch {
    fn rows_done(&self, rows: u64);
    fn health(&self, health: &Health);
}

/// What is remembered of a change on its way.
struct OnItsWay {
    pass: Option<PassKey>,
    /// Changes of this row that have not come back: more than one where several passes share the identifier.
    missing: usize,
    marks: Vec<(u8, Mark)>,
    results: Vec<OperationResult>,
}

/// Shared by the thread that feeds and the one that collects.
struct Shared {
    on_their_way: Mutex<HashMap<u64, OnItsWay>>,
    /// Rows that ended without a change.
    ended: Mutex<Vec<RowEnd>>,
    seen: Mutex<(u64, u64)>,
    feed_stop: Stop,
}

pub fn apply(work: &Work<'_>, watch: &dyn Watch) -> anyhow::Result<Applied> {
    let shared = Shared { on_their_way: Mutex::default(), ended: Mutex::default(), seen: Mutex::default(), feed_stop: Stop::new() };
    let (sender, receiver) = work.dispatch.changes(work.stop).split();
    let sender = sender.ok_or_else(|| anyhow::anyhow!("the stream of changes is closed"))?;
    std::thread::scope(|scope| {
        let feeder = std::thread::Builder::new().name("apply".into()).spawn_scoped(scope, || feed(work, &shared, sender))?;
        let mut waiting: Vec<RowEnd> = Vec::new();
        let mut oldest = Instant::now();
        let mut looked = Instant::now();
        loop {
            let came = receiver.receive_timeout(TICK);
            if waiting.is_empty() {
                oldest = Instant::now();
            }
            waiting.append(&mut lock(&shared.ended));
            let over = matches!(came, Err(crossbeam_channel::RecvTimeoutError::Disconnected));
            if let Ok((row, result)) = came {
                waiting.extend(finish(work, &shared, row, result));
            }
            if waiting.len() >= COMMIT_ROWS || oldest.elapsed() >= COMMIT_AFTER || over {
                // What cannot be written down must not be sent (failure model, B3).
                commit(work, watch, &mut waiting).inspect_err(|_| work.stop.drain())?;
            }
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                watch.health(&work.dispatch.health());
                if too_many_unresolved(work, &shared).is_some() {
                    shared.feed_stop.drain();
                }
            }
            if over {
                break;
            }
        }
        let fed = feeder.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that reads rows panicked")));
        waiting.append(&mut lock(&shared.ended));
        commit(work, watch, &mut waiting)?;
        fed?;
        if let Some(words) = too_many_unresolved(work, &shared) {
            return Ok(Applied::TooManyUnresolved(words));
        }
        let left = !work.ledger.pending_rows(work.run, 0, 1)?.is_empty();
        Ok(if left { Applied::Stopped } else { Applied::All })
    })
}

/// Reads rows in order and feeds their changes, and ends the stream by letting go of the sender. Rows that must wait for an earlier run come last.
#[expect(clippy::needless_pass_by_value, reason = "dropping the sender ends the stream")]
fn feed(work: &Work<'_>, shared: &Shared, sender: ChangeSender) -> anyhow::Result<()> {
    for deferred in [false, true] {
        let mut from = 0;
        loop {
            if work.stop.is_draining() || shared.feed_stop.is_draining() {
                return Ok(());
            }
            let rows = work.ledger.pending_rows(work.run, from, GROUP)?;
            let Some(last) = rows.last() else { break };
            from = last.number + 1;
            let rows: Vec<Row> = rows.into_iter().filter(|row| row.deferred == deferred).collect();
            if rows.is_empty() {
                continue;
            }
            if deferred && !wait_for_earlier_runs(work)? {
                return Ok(());
            }
            feed_group(work, shared, &sender, &rows)?;
        }
    }
    Ok(())
}

/// True when the runs that this one was checked behind have no rows left. False when it is time to stop, or after a while: whoever
/// waits longer comes back later, so that a run that nobody advances is seen and not waited for in silence.
fn wait_for_earlier_runs(work: &Work<'_>) -> anyhow::Result<bool> {
    let end = Instant::now() + EARLIER_WAIT;
    loop {
        if work.ledger.pending_of(work.behind)? == 0 {
            return Ok(true);
        }
        if Instant::now() >= end || work.stop.wait(TICK * 4) {
            return Ok(false);
        }
    }
}

fn feed_group(work: &Work<'_>, shared: &Shared, sender: &ChangeSender, rows: &[Row]) -> anyhow::Result<()> {
    let changes: Vec<(Change, Vec<(u8, Mark)>)> =
        work.pool.install(|| rows.par_iter().map(|row| change_of(work, row)).collect::<anyhow::Result<_>>())?;
    let (changes, marks): (Vec<Change>, Vec<_>) = changes.into_iter().unzip();
    let passes: HashMap<u64, Option<PassKey>> = rows.iter().map(|row| (row.number, row.pass)).collect();
    let mut marks: HashMap<u64, Vec<(u8, Mark)>> = rows.iter().map(|row| row.number).zip(marks).collect();
    let column = work.rules.columns.column_of_field[work.mapping.pass_field()];
    for resolved in resolve(changes, work.account, work.dispatch, work.feed.several, column, work.stop) {
        match resolved {
            Resolved::NotAttempted => {}
            Resolved::Ended { row, outcome, problem } => {
                note_seen(shared, outcome == Outcome::Unresolved);
                let pass = passes.get(&row).copied().flatten();
                lock(&shared.ended).push(RowEnd {
                    number: row,
                    outcome,
                    detail: RowDetail::problem(problem),
                    pass,
                    known: Vec::new(),
                    unknown: Vec::new(),
                    forget: outcome == Outcome::Unresolved,
                });
            }
            Resolved::Ready(changes) => {
                let Some(row) = changes.first().map(|change| change.row) else { continue };
                let pass = passes.get(&row).copied().flatten();
                let way = OnItsWay { pass, missing: changes.len(), marks: marks.remove(&row).unwrap_or_default(), results: Vec::new() };
                lock(&shared.on_their_way).insert(row, way);
                for change in changes {
                    let key = pass.unwrap_or_else(|| change.target.key());
                    sender.send(change, key);
                }
            }
        }
        if shared.feed_stop.is_draining() || work.stop.is_draining() {
            break;
        }
    }
    Ok(())
}

/// Reads a row's text again and maps it. It was valid when the run was checked, under the same schema and mapping.
fn change_of(work: &Work<'_>, row: &Row) -> anyhow::Result<(Change, Vec<(u8, Mark)>)> {
    let raw = read_record(work.text, row.offset, row.length)?;
    let mut cells = Vec::new();
    split_cells(&raw, work.dialect, &mut cells);
    let mut problems = Vec::new();
    if let Some(correction) = work.rules.correction {
        problems.extend(correction.take(&mut cells).err());
    }
    let mut values = Vec::new();
    work.rules.schema.read(work.rules.columns, &cells, &mut values, &mut problems);
    let update = work.mapping.update(work.rules.columns, &cells, &values, &mut problems);
    let Some(update) = update else {
        anyhow::bail!("line {} was valid when the run was checked and is not now: the spool or the program changed", row.line);
    };
    let marks = update
        .wanted
        .iter()
        .map(|wanted| (wanted.field, Mark::of(wanted.value.as_ref(), work.mapping.fields()[wanted.field as usize].personal)))
        .collect();
    Ok((work.mapping.change(row.number, format!("{}:{}", work.run, row.line), update, row.mask), marks))
}

/// Takes a result in. The row has ended when all its changes came back, unless one was not attempted.
fn finish(work: &Work<'_>, shared: &Shared, row: u64, result: ChangeResult) -> Option<RowEnd> {
    let mut on_their_way = lock(&shared.on_their_way);
    let way = on_their_way.get_mut(&row)?;
    way.missing -= 1;
    way.results.extend(result.operations);
    if way.missing > 0 {
        return None;
    }
    let way = on_their_way.remove(&row)?;
    drop(on_their_way);
    let end = row_end(row, &way, work)?;
    note_seen(shared, end.outcome == Outcome::Unresolved);
    Some(end)
}

/// What a row's operations say together. None when it stays to be done.
fn row_end(row: u64, way: &OnItsWay, work: &Work<'_>) -> Option<RowEnd> {
    let worst = way.results.iter().map(|result| result.outcome).max_by_key(|outcome| outcome.severity()).unwrap_or(Outcome::Applied);
    if worst == Outcome::NotAttempted {
        return None;
    }
    let id = |field: u8| work.field_ids[field as usize];
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for result in &way.results {
        match (result.outcome, result.code) {
            (Outcome::Applied | Outcome::Created, _) => {
                let known_now = way.marks.iter().filter(|(field, _)| result.fields.contains(field));
                known.extend(known_now.map(|&(field, mark)| FieldState { field: id(field), mark, day: work.today }));
            }
            // A definite no: the pass is as it was.
            (Outcome::Refused, Some(Code::UpdateRejected | Code::ValueTooLarge)) => {}
            _ => unknown.extend(result.fields.iter().map(|&field| id(field))),
        }
    }
    // Of several passes that share an identifier, one that failed outweighs those that took the value.
    let failed = |state: &FieldState| {
        let field = |result: &OperationResult| result.fields.iter().any(|&field| id(field) == state.field);
        way.results.iter().any(|result| !matches!(result.outcome, Outcome::Applied | Outcome::Created) && field(result))
    };
    unknown.extend(known.iter().filter(|state| failed(state)).map(|state| state.field));
    known.retain(|state| !failed(state));
    let plain = way.results.len() == 1 && matches!(worst, Outcome::Applied | Outcome::Created);
    let operations = if plain { Vec::new() } else { way.results.iter().map(note).collect() };
    let gone = worst == Outcome::Unresolved
        || way.results.iter().any(|result| matches!(result.operation, "void" | "expire") && result.outcome == Outcome::Applied);
    Some(RowEnd {
        number: row,
        outcome: worst,
        detail: RowDetail { problems: Vec::new(), operations },
        pass: way.pass,
        known,
        unknown,
        forget: gone,
    })
}

fn note(result: &OperationResult) -> OperationNote {
    OperationNote { operation: result.operation.to_owned(), outcome: result.outcome, code: result.code, message: result.message.clone() }
}

fn commit(work: &Work<'_>, watch: &dyn Watch, waiting: &mut Vec<RowEnd>) -> anyhow::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    work.ledger.end_rows(work.fence, work.run, &work.feed.platform.name, waiting)?;
    watch.rows_done(waiting.len() as u64);
    waiting.clear();
    Ok(())
}

fn note_seen(shared: &Shared, unresolved: bool) {
    let mut seen = lock(&shared.seen);
    if seen.0 < UNRESOLVED_SAMPLE {
        seen.0 += 1;
        seen.1 += u64::from(unresolved);
    }
}

fn too_many_unresolved(work: &Work<'_>, shared: &Shared) -> Option<String> {
    let limit = work.feed.guard.unresolved.filter(|_| work.watch_unresolved)?;
    let (rows, unresolved) = *lock(&shared.seen);
    (rows >= UNRESOLVED_SAMPLE && unresolved as f64 > limit * rows as f64).then(|| {
        format!(
            "{unresolved} of the first {rows} rows have no pass at the platform (limit {}): is it the right programme and environment?",
            super::guard::percent(limit)
        )
    })
}

/// A problem that ends rows which never got their turn.
pub fn not_attempted(code: Code, message: &str) -> RowDetail {
    RowDetail::problem(Problem::new(code, None, message))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
