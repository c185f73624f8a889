//! Rows between being handed over and being written down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Shared, TICK, Watch, Work, lock};
use crate::dispatch::{AddFate, Came};
use crate::ledger::{Ended, KeyEnd, RowEnd};
use crate::outcome::Outcome;
use crate::pipeline::guard;
use crate::row::{AddKey, AddKind, PassKey};
use crate::stop::Stop;

/// Rows after which a high share of missing passes stops the run: more likely the wrong programme than wrong rows.
pub(super) const UNRESOLVED_SAMPLE: u64 = 200;

/// Counts rows between being handed over and being written down. Whoever waits for none is told of the last at once.
#[derive(Default)]
pub(super) struct Open {
    rows: Mutex<usize>,
    none: Condvar,
    pub(super) awaited: AtomicBool,
}

impl Open {
    pub(super) fn more(&self, rows: usize) {
        *lock(&self.rows) += rows;
    }

    pub(super) fn fewer(&self, rows: usize) {
        let mut open = lock(&self.rows);
        *open = open.saturating_sub(rows);
        if *open == 0 {
            self.none.notify_all();
        }
    }

    /// False when it is time to stop.
    pub(super) fn wait_for_none(&self, stop: &Stop) -> bool {
        self.awaited.store(true, Ordering::Relaxed);
        let mut open = lock(&self.rows);
        while *open > 0 && !stop.is_draining() {
            open = self.none.wait_timeout(open, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.awaited.store(false, Ordering::Relaxed);
        !stop.is_draining()
    }
}

/// What waits to be committed.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) ends: Vec<RowEnd>,
    pub(super) keys: Vec<KeyEnd>,
    /// Rows that came back, whether they ended or not.
    rows: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.keys.is_empty() && self.rows == 0
    }

    /// Takes in rows that ended without a request.
    pub(super) fn take(&mut self, ended: &mut Vec<RowEnd>) {
        self.rows += ended.len();
        self.ends.append(ended);
    }
}

/// Takes in what came back. The row has ended when all of it came back, unless something stays to be done.
pub(super) fn finish(work: &Work<'_>, shared: &Shared, came: Came, waiting: &mut Waiting) {
    let mut on_their_way = lock(&shared.on_their_way);
    let row = match &came {
        Came::Change(row, _) | Came::Add(row, ..) => *row,
    };
    let Some(way) = on_their_way.get_mut(&row) else { return };
    way.missing -= 1;
    match came {
        Came::Change(_, result) => way.results.extend(result.operations),
        Came::Add(_, key, fate) => {
            note_seed(work, shared, way.pass, key, &fate);
            // Written down at once: what is known of an add must not wait for the rest of its row.
            waiting.keys.extend(way.take(key, fate));
        }
    }
    if way.missing > 0 {
        return;
    }
    let Some(way) = on_their_way.remove(&row) else { return };
    drop(on_their_way);
    waiting.rows += 1;
    if let Some(end) = way.end(row, work) {
        note_seen(shared, end.outcome == Ended::As(Outcome::Unresolved));
        waiting.ends.push(end);
    }
}

/// Whoever notifies many tries it on a few first.
pub(super) fn note_seed(work: &Work<'_>, shared: &Shared, pass: Option<PassKey>, key: AddKey, fate: &AddFate) {
    let heeded = work.heed_seeds && key.kind == AddKind::Notify;
    let Some(notify) = work.feed.notify.as_ref().filter(|notify| heeded && !notify.seeds.is_empty()) else { return };
    let (AddFate::Refused { message: failed, .. } | AddFate::InDoubt { message: failed }) = fate else { return };
    if pass.is_some_and(|pass| notify.seeds.iter().any(|seed| work.mapping.pass_key(seed) == pass)) {
        *lock(&shared.seed_failed) = Some(format!("the notification of a seed failed: {failed}"));
    }
}

pub(super) fn commit(work: &Work<'_>, watch: &dyn Watch, shared: &Shared, waiting: &mut Waiting) -> anyhow::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    if !(waiting.ends.is_empty() && waiting.keys.is_empty()) {
        work.ledger.end_rows(work.fence, work.run, &work.feed.platform.name, &waiting.ends, &waiting.keys)?;
    }
    shared.open.fewer(std::mem::take(&mut waiting.rows));
    watch.rows_done(waiting.ends.iter().filter(|end| matches!(end.outcome, Ended::As(_))).count() as u64);
    waiting.ends.clear();
    waiting.keys.clear();
    Ok(())
}

pub(super) fn note_seen(shared: &Shared, unresolved: bool) {
    let mut seen = lock(&shared.seen);
    if seen.0 < UNRESOLVED_SAMPLE {
        seen.0 += 1;
        seen.1 += u64::from(unresolved);
    }
}

pub(super) fn too_many_unresolved(work: &Work<'_>, shared: &Shared) -> Option<String> {
    let limit = work.feed.guard.unresolved.filter(|_| work.watch_unresolved)?;
    let (rows, unresolved) = *lock(&shared.seen);
    (rows >= UNRESOLVED_SAMPLE && unresolved as f64 > limit * rows as f64).then(|| {
        format!(
            "{unresolved} of the first {rows} rows have no pass at the platform (limit {}): is it the right programme and environment?",
            guard::percent(limit)
        )
    })
}
