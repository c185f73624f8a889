//! Stopping well: no new work first, then nothing at all.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

const DRAIN: u8 = 1;
const NOW: u8 = 2;

/// A flag shared by everything that must end together. It only ever rises: running, draining, stopped now.
///
/// *Drain*: nothing new is begun, work in hand goes on to a safe point. *Now*: work in hand is abandoned where it stands.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    level: AtomicU8,
    sleepers: Mutex<()>,
    woken: Condvar,
    notify: Notify,
}

impl Stop {
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Begins to drain. Does nothing when already draining or stopped.
    pub fn drain(&self) {
        self.raise(DRAIN);
    }

    /// Abandons work in hand.
    pub fn now(&self) {
        self.raise(NOW);
    }

    /// Are the two the same flag?
    pub fn is_same(&self, other: &Stop) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Is anything asked to end, by draining or at once?
    pub fn is_draining(&self) -> bool {
        self.0.level.load(Ordering::Acquire) >= DRAIN
    }

    pub fn is_now(&self) -> bool {
        self.0.level.load(Ordering::Acquire) >= NOW
    }

    /// Sleeps for `time`, or until draining begins. True when it is time to end.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut guard = self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_draining() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = self.0.woken.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Resolves when draining begins.
    pub(crate) async fn draining(&self) {
        self.reached(DRAIN).await;
    }

    /// Resolves when work in hand is to be abandoned.
    pub(crate) async fn stopped_now(&self) {
        self.reached(NOW).await;
    }

    async fn reached(&self, level: u8) {
        while self.0.level.load(Ordering::Acquire) < level {
            let notified = self.0.notify.notified();
            tokio::pin!(notified);
            // Registered before the second look, so that a rise between the two is not missed.
            notified.as_mut().enable();
            if self.0.level.load(Ordering::Acquire) >= level {
                return;
            }
            notified.await;
        }
    }

    fn raise(&self, level: u8) {
        self.0.level.fetch_max(level, Ordering::AcqRel);
        drop(self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.woken.notify_all();
        self.0.notify.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_draining_begins() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::from_millis(1)));
        let other = stop.clone();
        let sleeper = std::thread::spawn(move || other.wait(Duration::from_hours(1)));
        stop.drain();
        assert!(sleeper.join().unwrap());
        assert!(stop.is_draining() && !stop.is_now());
    }

    #[test]
    fn now_implies_draining_and_never_falls_back() {
        let stop = Stop::new();
        stop.now();
        stop.drain();
        assert!(stop.is_draining() && stop.is_now());
    }
}
