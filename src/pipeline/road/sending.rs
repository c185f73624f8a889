//! Applying a run, and telling how it goes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tracing::warn;

use super::{Road, Station};
use crate::config::meant::Feed;
use crate::dispatch::{ForRun, Health};
use crate::ledger::{Run, RunKind, State};
use crate::pipeline::apply::{self, Applied, Watch, Work};
use crate::pipeline::hand::FileInHand;
use crate::stop::Stop;

struct ApplyWatch<'a> {
    road: &'a Road,
    run: Mutex<Run>,
    done: std::sync::atomic::AtomicU64,
    total: u64,
    stop: &'a Stop,
    dispatch: &'a ForRun<'a>,
}

/// An outage shorter than this is not worth a state of its own.
const OUTAGE_SHOWN_AFTER: Duration = Duration::from_secs(1);

impl Watch for ApplyWatch<'_> {
    fn rows_done(&self, rows: u64) {
        let done = self.done.fetch_add(rows, std::sync::atomic::Ordering::Relaxed) + rows;
        self.road.tell(&self.run.lock().unwrap_or_else(PoisonError::into_inner), Station::Apply, done, self.total);
    }

    fn health(&self, health: &Health) {
        // What is on its way goes into the reserve; nothing new is sent.
        if self.road.room.is_short() {
            self.stop.drain();
        }
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, cause) = match health {
            Health::Out { reason, since } if *since >= OUTAGE_SHOWN_AFTER => (State::Paused, Some(reason.clone())),
            Health::Out { .. } => return,
            // The outage that an earlier process saw may last.
            Health::Up if run.state == State::Paused && !self.dispatch.was_answered() => return,
            Health::Up => (State::Applying, None),
        };
        // The reason may be another than the one that stands there from before the program was started again.
        if run.state != state || (state == State::Paused && run.detail.cause != cause) {
            run.state = state;
            run.detail.cause = cause;
            self.road.progress.health(&run, health);
            if let Err(error) = self.road.save(&run) {
                warn!(run = run.id, "cannot note the outage: {error:#}");
            }
        }
    }
}

impl Road {
    pub fn apply(&self, run: &mut Run, feed: &Feed, hand: &FileInHand, dispatch: &ForRun<'_>, stop: &Stop) -> anyhow::Result<Applied> {
        let rules = hand.rules();
        let prepared = hand.prepared();
        let done = std::sync::atomic::AtomicU64::new(0);
        let total = self.ledger.count_pending(&run.id)?;
        self.tell(run, Station::Apply, 0, total);
        let behind = run.detail.behind.clone();
        let work = Work {
            run: &run.id.clone(),
            feed,
            ledger: &*self.ledger,
            fence: self.fence,
            rules: &rules,
            mapping: &prepared.mapping,
            field_ids: &prepared.field_ids,
            account: &prepared.account,
            dispatch,
            text: &hand.text,
            dialect: &hand.dialect,
            pool: &self.pool,
            spool: &self.spool,
            today: (Utc::now().timestamp() / 86_400) as u16,
            seen_at: run.detail.seen_at,
            stop,
            behind: &behind,
            heed_seeds: run.detail.approval.is_none(),
            clock: prepared.clock,
            retried: &self.retried(run)?,
            watch_unresolved: run.kind == RunKind::File && run.detail.approval.is_none(),
        };
        let watcher = ApplyWatch { road: self, run: Mutex::new(run.clone()), done, total, stop, dispatch };
        let applied = apply::apply(&work, &watcher);
        let told = watcher.run.into_inner().unwrap_or_else(PoisonError::into_inner);
        (run.state, run.detail.cause) = (told.state, told.detail.cause);
        // Stopped before an outage was worth a state: it is what the rest waits for.
        if let (Ok(Applied::Stopped), Health::Out { reason, .. }) = (&applied, dispatch.health()) {
            (run.state, run.detail.cause) = (State::Paused, Some(reason));
        }
        if run.state == State::Paused && !matches!(applied, Ok(Applied::Stopped)) {
            run.state = State::Applying;
            run.detail.cause = None;
        }
        applied
    }

    /// Runs that this one tries rows of again, and those that these tried again: a row has the same line in all of them.
    fn retried(&self, run: &Run) -> anyhow::Result<Vec<String>> {
        let mut retried = Vec::new();
        let mut run = Some(run.clone());
        while let Some(Run { kind: RunKind::Retry, parent: Some(parent), .. }) = run {
            run = self.ledger.run(&parent)?;
            retried.push(parent);
        }
        Ok(retried)
    }
}
