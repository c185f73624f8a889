//! What we tell systemd about ourselves. Outside it, every call does nothing.
//!
//! Readiness is told once the state is open and everything works: a source that is away or slow must not make a start look failed (`/readyz`
//! tells of sources). The watchdog is fed by the loop that makes progress, never by a thread of its own: a process that hangs must be seen to
//! hang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The loop is taken for hanging after this long, where no unit says otherwise. As in the unit that ships.
const SILENCE_MAX: Duration = Duration::from_mins(2);

/// The service is up: its state is open, and it begins to look at its sources.
pub fn ready() {
    tell(&NotifyState::Ready);
}

/// One line for `systemctl status`. Line ends in it would start another message and are turned into blanks.
pub fn status(text: &str) {
    tell(&NotifyState::Status(&one_line(text)));
}

/// We are still making progress.
pub fn alive() {
    tell(&NotifyState::Watchdog);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_all(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no monotonic clock: {error}"),
    }
}

/// A stop was asked for; work in hand is being brought to a safe point.
pub fn stopping() {
    tell(&NotifyState::Stopping);
}

/// The heart of the loop that makes progress: what systemd's watchdog goes by, and whoever asks whether we are alive.
#[derive(Debug)]
pub struct Heart {
    beat: Mutex<Instant>,
    told: Mutex<Instant>,
    /// What the unit allows (`sd_watchdog_enabled(3)`). None when nobody watches.
    watchdog: Option<Duration>,
    rests: AtomicBool,
}

impl Default for Heart {
    fn default() -> Heart {
        let now = Mutex::new(Instant::now());
        Heart { beat: now, told: Mutex::new(Instant::now()), watchdog: sd_notify::watchdog_enabled(), rests: AtomicBool::new(false) }
    }
}

impl Heart {
    /// The loop came round. Tells systemd when half of what it allows has passed.
    pub fn beat(&self) {
        let now = Instant::now();
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.watchdog.is_some_and(|limit| now.duration_since(*told) >= limit / 2) {
            alive();
            *told = now;
        }
    }

    /// The loop has ended in order, and what is in hand is brought to a safe point: from now on silence means nothing.
    pub fn rest(&self) {
        self.rests.store(true, Ordering::Release);
    }

    pub fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    /// For how long the loop has not come round, when that is longer than it may take.
    pub fn silent(&self) -> Option<Duration> {
        let silent = self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        (!self.rests() && silent > self.watchdog.unwrap_or(SILENCE_MAX)).then_some(silent)
    }
}

fn tell(state: &NotifyState<'_>) {
    tell_all(std::slice::from_ref(state));
}

fn tell_all(states: &[NotifyState<'_>]) {
    // The manager may be gone or deaf; the work does not depend on it.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told {}: {error}", states.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_one_message() {
        assert_eq!(one_line("points.csv\nREADY=1"), "points.csv READY=1");
    }

    #[test]
    fn a_loop_that_hangs_is_seen_to_hang() {
        let long_ago = Instant::now().checked_sub(SILENCE_MAX * 2).unwrap();
        let heart = Heart { beat: Mutex::new(long_ago), watchdog: None, ..Heart::default() };
        assert!(heart.silent().is_some_and(|silent| silent >= SILENCE_MAX * 2));
        heart.beat();
        assert_eq!(heart.silent(), None);
        let heart = Heart { beat: Mutex::new(long_ago), watchdog: Some(SILENCE_MAX * 4), ..Heart::default() };
        assert_eq!(heart.silent(), None, "the unit allows more");
        let heart = Heart { beat: Mutex::new(long_ago), watchdog: None, ..Heart::default() };
        heart.rest();
        assert_eq!(heart.silent(), None, "it drains");
    }

    #[test]
    fn outside_systemd_nothing_happens() {
        ready();
        status("idle");
        alive();
        stopping();
    }
}
