//! Runs under way, as the pipeline tells of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::dispatch::Health;
use crate::ledger::Run;
use crate::pipeline::{Progress, Station};

/// A rate is of the last so much time, at least.
const WINDOW: Duration = Duration::from_secs(10);

/// What a run was last told to have done.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    pub station: Station,
    pub done: u64,
    pub total: u64,
    /// When the last of it was done.
    pub moved: Instant,
    /// Two moments, the earlier one first, and what was done by then.
    marks: [(Instant, u64); 2],
}

impl Hand {
    fn new(station: Station, done: u64, total: u64) -> Hand {
        let mark = (Instant::now(), done);
        Hand { station, done, total, moved: mark.0, marks: [mark, mark] }
    }

    fn follow(&mut self, done: u64, total: u64) {
        if done > self.done {
            self.moved = Instant::now();
        }
        (self.done, self.total) = (done, total);
        if self.marks[1].0.elapsed() >= WINDOW {
            self.marks = [self.marks[1], (Instant::now(), done)];
        }
    }

    /// Things done in a second, of late.
    pub fn per_second(&self) -> f64 {
        let (at, done) = self.marks[0];
        let seconds = at.elapsed().as_secs_f64();
        if seconds > 0.0 { self.done.saturating_sub(done) as f64 / seconds } else { 0.0 }
    }

    /// From 0 to 1.
    pub fn progress(&self) -> f64 {
        if self.total == 0 { 0.0 } else { (self.done as f64 / self.total as f64).min(1.0) }
    }
}

/// Passes on what it is told, and remembers the last of each run.
pub struct Hands {
    inner: Arc<dyn Progress>,
    known: Mutex<BTreeMap<String, Hand>>,
}

impl Hands {
    pub fn new(inner: Arc<dyn Progress>) -> Hands {
        Hands { inner, known: Mutex::default() }
    }

    pub fn of(&self, run: &str) -> Option<Hand> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(run).copied()
    }
}

impl Progress for Hands {
    fn at(&self, run: &Run, station: Station, done: u64, total: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(&run.id) {
            // A station that is begun again begins at nothing.
            Some(hand) if hand.station == station && done >= hand.done => hand.follow(done, total),
            Some(hand) => *hand = Hand::new(station, done, total),
            None => drop(known.insert(run.id.clone(), Hand::new(station, done, total))),
        }
        drop(known);
        self.inner.at(run, station, done, total);
    }

    fn health(&self, run: &Run, health: &Health) {
        self.inner.health(run, health);
    }

    fn rested(&self, run: &Run) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&run.id);
        self.inner.rested(run);
    }
}
