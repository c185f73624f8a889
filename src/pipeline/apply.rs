//! Apply: sends what is left of a run, group by group, and writes down how each row ended.
//!
//! One thread reads rows, maps and resolves them and feeds the changes to `dispatch`; this one takes the results and commits them in
//! groups. Rows without an outcome are the only state: a run that was killed goes on with exactly those.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::decode::Dialect;
use super::index::Index;
use super::resolve::{Resolved, resolve};
use super::validate::Rules;
use crate::config::meant::Feed;
use crate::dispatch::{ChangeSender, ForRun, Health};
use crate::ledger::{Ended, Fence, Ledger, Row, RowDetail, RowEnd, Run, State};
use crate::mapping::Mapping;
use crate::outcome::{Code, Outcome, Problem};
use crate::platform::Account;
use crate::row::{AddKind, Addition, Change, PassKey, Verb};
use crate::spool::Spool;
use crate::stop::Stop;
use crate::trace;

use adds::{Line, Notifications};
use todo::{Todo, todo_of};
use waiting::{Open, Waiting, commit, finish, note_seen, too_many_unresolved};
use way::OnItsWay;

mod adds;
mod stale;
mod todo;
mod waiting;
mod way;

/// Rows read, mapped and resolved together.
const GROUP: u64 = 1000;
/// Outcomes are committed when this many wait, or the oldest has waited this long.
const COMMIT_ROWS: usize = 1000;
const COMMIT_AFTER: Duration = Duration::from_millis(100);
/// How often health, wishes and deferred rows are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Rounds for adds that wait for another of the same run; each ends at least one of them.
const AGAIN_MAX: u32 = 100;
/// How long rows wait at a time for an earlier run of the account.
const EARLIER_WAIT: Duration = Duration::from_secs(10);

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
    pub dispatch: &'a ForRun<'a>,
    pub text: &'a File,
    pub dialect: &'a Dialect,
    pub pool: &'a rayon::ThreadPool,
    pub spool: &'a Spool,
    pub today: u16,
    /// When the file was seen: notifications grow old from then on.
    pub seen_at: chrono::DateTime<chrono::Utc>,
    pub stop: &'a Stop,
    /// Runs of the account that had rows left when this one was checked: its deferred rows come after theirs.
    pub behind: &'a [String],
    /// The ledger's number of the clock by which rows are newer or older, where the feed has one.
    pub clock: Option<u16>,
    /// Runs that had these rows before, in the same lines.
    pub retried: &'a [String],
    /// Stop notifying when a seed's notification fails; off for approved runs.
    pub heed_seeds: bool,
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
    /// What is left comes behind a run that has not finished; which, in words.
    Behind(String),
    /// What is left are notifications, whose window is shut.
    WindowShut,
    /// Too many of the first rows have no pass. What the person sees.
    TooManyUnresolved(String),
    /// A seed's notification failed. What the person sees.
    SeedFailed(String),
}

/// What applying tells while it goes on.
pub trait Watch {
    fn rows_done(&self, rows: u64);
    fn health(&self, health: &Health);
}

/// Shared by the thread that feeds and the one that collects.
struct Shared {
    on_their_way: Mutex<HashMap<u64, OnItsWay>>,
    /// Rows that ended without a request.
    ended: Mutex<Vec<RowEnd>>,
    /// Rows that were handed over and of which not all is written down.
    open: Open,
    seen: Mutex<(u64, u64)>,
    feed_stop: Stop,
    /// An add waits for another of this run: of its own row, or the same in another.
    again: AtomicBool,
    /// Notifications wait for their window.
    window_shut: AtomicBool,
    /// Why no more notifications are sent: what became of a seed's.
    seed_failed: Mutex<Option<String>>,
    /// An earlier run that was waited for in vain.
    behind: Mutex<Option<String>>,
    /// The account's list of passes, where the run has so many to find that reading it costs less.
    index: OnceLock<Option<Index>>,
}

pub fn apply(work: &Work<'_>, watch: &dyn Watch) -> anyhow::Result<Applied> {
    let shared = Shared {
        on_their_way: Mutex::default(),
        ended: Mutex::default(),
        open: Open::default(),
        seen: Mutex::default(),
        feed_stop: Stop::new(),
        again: AtomicBool::new(false),
        window_shut: AtomicBool::new(false),
        seed_failed: Mutex::default(),
        behind: Mutex::default(),
        index: OnceLock::new(),
    };
    let (sender, receiver) = work.dispatch.changes();
    let here = trace::here();
    std::thread::scope(|scope| {
        let feeder =
            std::thread::Builder::new().name("apply".into()).spawn_scoped(scope, || here.in_scope(|| feed(work, &shared, sender)))?;
        let mut waiting = Waiting::default();
        let mut oldest = Instant::now();
        let mut looked = Instant::now();
        loop {
            let came = receiver.receive_timeout(TICK);
            if waiting.is_empty() {
                oldest = Instant::now();
            }
            waiting.take(&mut lock(&shared.ended));
            let over = matches!(came, Err(crossbeam_channel::RecvTimeoutError::Disconnected));
            if let Ok(came) = came {
                finish(work, &shared, came, &mut waiting);
            }
            let awaited = shared.open.awaited.load(Ordering::Relaxed) && lock(&shared.on_their_way).is_empty();
            if waiting.ends.len() >= COMMIT_ROWS || oldest.elapsed() >= COMMIT_AFTER || awaited || over {
                // What cannot be written down must not be sent (failure model, B3).
                commit(work, watch, &shared, &mut waiting).inspect_err(|_| work.stop.drain())?;
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
        waiting.take(&mut lock(&shared.ended));
        commit(work, watch, &shared, &mut waiting)?;
        fed?;
        if let Some(words) = too_many_unresolved(work, &shared) {
            return Ok(Applied::TooManyUnresolved(words));
        }
        if let Some(words) = lock(&shared.seed_failed).take() {
            return Ok(Applied::SeedFailed(words));
        }
        let left = !work.ledger.pending_rows(work.run, 0, 1)?.is_empty();
        Ok(match left {
            false => Applied::All,
            true if shared.window_shut.load(Ordering::Relaxed) && !work.stop.is_draining() => Applied::WindowShut,
            true if let Some(words) = lock(&shared.behind).take() => Applied::Behind(words),
            true => Applied::Stopped,
        })
    })
}

/// Reads rows in order and feeds what is left of them, and ends the stream by letting go of the sender. Rows that must wait for an
/// earlier run come last, and notifications after their seeds.
#[expect(clippy::needless_pass_by_value, reason = "dropping the sender ends the stream")]
fn feed(work: &Work<'_>, shared: &Shared, sender: ChangeSender) -> anyhow::Result<()> {
    let seeds: HashSet<PassKey> =
        work.feed.notify.iter().flat_map(|notify| &notify.seeds).map(|seed| work.mapping.pass_key(seed)).collect();
    let first = if seeds.is_empty() { Notifications::All } else { Notifications::Seeds(seeds) };
    let seeded = matches!(first, Notifications::Seeds(_));
    let _ = shared.index.set(Index::read(work)?);
    rounds(work, shared, &sender, &first)?;
    if seeded && all_back(work, shared) && lock(&shared.seed_failed).is_none() {
        rounds(work, shared, &sender, &Notifications::All)?;
    }
    Ok(())
}

/// Rounds over the rows, until no add waits for another any more.
fn rounds(work: &Work<'_>, shared: &Shared, sender: &ChangeSender, notifications: &Notifications) -> anyhow::Result<()> {
    round(work, shared, sender, notifications)?;
    let mut rounds = 0;
    while shared.again.swap(false, Ordering::Relaxed) && rounds < AGAIN_MAX && all_back(work, shared) {
        rounds += 1;
        round(work, shared, sender, notifications)?;
    }
    Ok(())
}

fn round(work: &Work<'_>, shared: &Shared, sender: &ChangeSender, notifications: &Notifications) -> anyhow::Result<()> {
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
            if deferred && !wait_for_earlier_runs(work, shared)? {
                return Ok(());
            }
            let chunk = trace::chunk(&trace::here(), rows.len() as u64);
            chunk.in_scope(|| feed_group(work, shared, sender, &rows, notifications))?;
        }
    }
    Ok(())
}

/// Waits until nothing is on its way and all that came back is written down. False when it is time to stop.
fn all_back(work: &Work<'_>, shared: &Shared) -> bool {
    shared.open.wait_for_none(work.stop)
}

/// True when the runs that this one comes behind have no rows left. False when it is time to stop, or after a while: whoever waits
/// longer comes back later, so that a run that nobody advances is seen and not waited for in silence.
fn wait_for_earlier_runs(work: &Work<'_>, shared: &Shared) -> anyhow::Result<bool> {
    let end = Instant::now() + EARLIER_WAIT;
    loop {
        let Some(words) = earlier_with_rows(work)? else { return Ok(true) };
        if Instant::now() >= end {
            *lock(&shared.behind) = Some(words);
            return Ok(false);
        }
        if work.stop.wait(TICK * 4) {
            return Ok(false);
        }
    }
}

/// A run that this one comes behind and that has not finished with its rows, in words.
fn earlier_with_rows(work: &Work<'_>) -> anyhow::Result<Option<String>> {
    for id in work.behind {
        let Some(run) = work.ledger.run(id)?.filter(Run::is_placed) else { continue };
        // While it is checked again its rows are not to be seen.
        let unseen = run.state == State::Fetched && run.detail.attempts > 0;
        if unseen || work.ledger.count_pending(id)? > 0 {
            return Ok(Some(format!("waits for run {id} ({}), which is {}", run.shown_name(), run.state)));
        }
    }
    Ok(None)
}

fn feed_group(work: &Work<'_>, shared: &Shared, sender: &ChangeSender, rows: &[Row], notifications: &Notifications) -> anyhow::Result<()> {
    let notifications = match work.feed.notify.as_ref().and_then(|notify| notify.window.as_ref()) {
        Some(window) if !window.is_open(chrono::Utc::now()) => &Notifications::None,
        _ => notifications,
    };
    let wanted: Vec<&Row> = rows.iter().filter(|row| has_its_turn(row, shared, notifications)).collect();
    let todos: Vec<Todo> =
        work.pool.install(|| wanted.par_iter().map(|row| todo_of(work, row, notifications)).collect::<anyhow::Result<_>>())?;
    let (todos, older) = stale::part(work, todos)?;
    shared.open.more(older.len());
    lock(&shared.ended).extend(older);
    shared.again.fetch_or(todos.iter().any(|todo| todo.follows), Ordering::Relaxed);
    let adding = todos.iter().any(|todo| !todo.adds.is_empty());
    let before = adding && work.account.adds_need_state();
    let groups = if adding { adds::split(todos, before) } else { vec![todos] };
    for mut group in groups {
        if before {
            // The state before an add is known only once all that came earlier has come back.
            if !all_back(work, shared) {
                return Ok(());
            }
            adds::read_before(work, &mut group);
        }
        send_group(work, shared, sender, group)?;
        if shared.feed_stop.is_draining() || work.stop.is_draining() {
            break;
        }
    }
    Ok(())
}

/// Is there anything of the row that may be done now? Notes when it waits for the window.
fn has_its_turn(row: &Row, shared: &Shared, notifications: &Notifications) -> bool {
    let bit = AddKind::Notify.bit();
    let waits = row.adds & bit != 0 && !notifications.allow(row.pass);
    if waits && matches!(notifications, Notifications::None) {
        shared.window_shut.store(true, Ordering::Relaxed);
    }
    let only_notifies = row.mask == 0 && row.adds == bit && (row.verb == Verb::Update || row.verb.add().is_some());
    let on_its_way = lock(&shared.on_their_way).contains_key(&row.number);
    !(on_its_way || waits && only_notifies)
}

/// Finds the passes, writes the adds down, and hands everything over.
fn send_group(work: &Work<'_>, shared: &Shared, sender: &ChangeSender, mut todos: Vec<Todo>) -> anyhow::Result<()> {
    let column = work.rules.columns.column_of_field[work.mapping.pass_field()];
    let changes = todos.iter_mut().filter(|todo| todo.unread.is_none()).filter_map(|todo| todo.change.take()).collect();
    let mut ready: HashMap<u64, Vec<Change>> = HashMap::new();
    let mut ended: HashMap<u64, Option<(Outcome, Problem)>> = HashMap::new();
    let index = shared.index.get().and_then(Option::as_ref);
    for resolved in resolve(changes, work.account, work.dispatch, index, work.feed.several, column)? {
        match resolved {
            Resolved::NotAttempted { row } => drop(ended.insert(row, None)),
            Resolved::Ended { row, outcome, problem } => drop(ended.insert(row, Some((outcome, problem)))),
            Resolved::Ready(changes) => {
                if let Some(row) = changes.first().map(|change| change.row) {
                    ready.insert(row, changes);
                }
            }
        }
    }
    for todo in &mut todos {
        if let Some((outcome, code, message)) = todo.unread.take() {
            let end = (outcome != Outcome::NotAttempted).then(|| (outcome, Problem::new(code, column, message)));
            ended.insert(todo.row, end);
        }
    }
    let lines: HashMap<u64, Line> = todos.iter().map(|todo| (todo.row, Line { here: todo.line, corrected: todo.corrected })).collect();
    let order: Vec<u64> = todos.iter().map(|todo| todo.row).collect();
    let (mut ways, mut adds) = (HashMap::new(), Vec::new());
    for todo in todos {
        match ended.remove(&todo.row) {
            Some(None) => {}
            Some(Some((outcome, problem))) => {
                note_seen(shared, outcome == Outcome::Unresolved);
                shared.open.more(1);
                lock(&shared.ended).push(RowEnd {
                    number: todo.row,
                    outcome: Ended::As(outcome),
                    detail: RowDetail { problems: vec![problem], operations: todo.notes },
                    pass: todo.pass,
                    known: Vec::new(),
                    unknown: Vec::new(),
                    forget: outcome == Outcome::Unresolved,
                });
            }
            None => {
                ways.insert(todo.row, OnItsWay::new(todo.pass, todo.marks, todo.notes, todo.left));
                adds.extend(todo.adds);
            }
        }
    }
    let (sendable, again) = adds::intend(work, &mut ways, adds, &lines)?;
    shared.again.fetch_or(again, Ordering::Relaxed);
    let mut adds: HashMap<u64, Vec<Addition>> = HashMap::new();
    for add in sendable {
        adds.entry(add.row).or_default().push(add);
    }
    for row in order {
        let Some(mut way) = ways.remove(&row) else { continue };
        let (changes, adds) = (ready.remove(&row).unwrap_or_default(), adds.remove(&row).unwrap_or_default());
        if adds.is_empty() && shared.feed_stop.is_draining() {
            // The row stays to be done. One with an add goes: that it is sent is written down already.
            continue;
        }
        way.missing = changes.len() + adds.len();
        let moved =
            adds.iter().flat_map(|add| &add.amounts).filter_map(|(name, _)| work.mapping.fields().iter().position(|f| f.name == *name));
        way.moved = moved.map(|field| work.field_ids[field]).collect();
        if way.missing == 0 {
            if let Some(end) = way.end(row, work) {
                shared.open.more(1);
                lock(&shared.ended).push(end);
            }
            continue;
        }
        let pass = way.pass;
        shared.open.more(1);
        lock(&shared.on_their_way).insert(row, way);
        for change in changes {
            let key = pass.unwrap_or_else(|| change.target.key());
            sender.send(change, key);
        }
        for add in adds {
            let key = pass.unwrap_or_else(|| add.target.key());
            sender.add(add, key);
        }
    }
    Ok(())
}

/// A problem that ends rows which never got their turn.
pub fn not_attempted(code: Code, message: &str) -> RowDetail {
    RowDetail::problem(Problem::new(code, None, message))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
