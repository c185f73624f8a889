//! One connection to a source, kept open and shared, opened again after a fault, and left alone while the server refuses us.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::{Connect, Result, Source, SourceError};

/// A fault that is remembered while nothing is tried: still of its kind, since callers branch on that.
#[derive(Clone)]
struct Trouble {
    kind: fn(String) -> SourceError,
    words: String,
}

impl Trouble {
    fn of(error: &SourceError) -> Trouble {
        let (kind, words): (fn(String) -> SourceError, String) = match error {
            SourceError::HostKey(words) => (SourceError::HostKey, words.clone()),
            SourceError::Auth(words) => (SourceError::Auth, words.clone()),
            SourceError::Unreachable(words) => (SourceError::Unreachable, words.clone()),
            other => (SourceError::Unreachable, other.to_string()),
        };
        Trouble { kind, words }
    }
}

/// After a lost connection: soon, then less often.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Refused logins before the long pauses begin. Vendors lock accounts that keep trying.
const AUTH_TRIES: u32 = 3;
const AUTH_PAUSE_MIN: Duration = Duration::from_mins(5);
const AUTH_PAUSE_MAX: Duration = Duration::from_hours(1);

pub struct Link {
    connect: Box<dyn Connect>,
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    connection: Option<Box<dyn Source>>,
    failures: u32,
    refused_logins: u32,
    not_before: Option<Instant>,
    trouble: Option<Trouble>,
    last_used: Option<Instant>,
}

impl Link {
    pub fn new(connect: Box<dyn Connect>) -> Link {
        Link { connect, state: Mutex::default() }
    }

    /// Does a piece of work on the connection, opening it if need be. One piece at a time; others wait their turn.
    pub fn with<T>(&self, work: impl FnOnce(&mut dyn Source) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = state.not_before.map(|at| at.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()) {
            let trouble = state.trouble.clone().unwrap_or(Trouble { kind: SourceError::Unreachable, words: "it failed before".into() });
            return Err((trouble.kind)(format!("{}; next attempt in {} s", trouble.words, left.as_secs() + 1)));
        }
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => match self.connect.connect() {
                Ok(connection) => connection,
                Err(error) => {
                    state.note_failure(&error);
                    return Err(error);
                }
            },
        };
        let result = work(connection.as_mut());
        match &result {
            Err(error) if error.is_interruption() => {}
            Err(error) if error.breaks_connection() => state.note_failure(error),
            _ => {
                state.connection = Some(connection);
                state.failures = 0;
                state.refused_logins = 0;
                state.not_before = None;
                state.trouble = None;
                state.last_used = Some(Instant::now());
            }
        }
        result
    }

    /// Somebody may have repaired what was wrong: the next piece of work need not wait out the pause after earlier faults.
    pub fn try_again(&self) {
        // Who holds the connection works on it, so nothing waits.
        let Ok(mut state) = self.state.try_lock() else { return };
        state.not_before = None;
        state.failures = 0;
        state.refused_logins = 0;
    }

    /// Sends something over an idle connection so that it stays open.
    pub fn keep_alive(&self, idle: Duration) {
        let due = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.connection.is_some() && state.last_used.is_none_or(|at| at.elapsed() >= idle)
        };
        if due {
            let _ = self.with(|source| source.keep_alive());
        }
    }
}

impl LinkState {
    fn note_failure(&mut self, error: &SourceError) {
        self.failures += 1;
        if matches!(error, SourceError::Auth(_)) {
            self.refused_logins += 1;
        }
        let pause = pause_after(self.failures, self.refused_logins);
        let jitter = rand::rng().random_range(0.8..1.2);
        self.not_before = Some(Instant::now() + pause.mul_f64(jitter));
        self.trouble = Some(Trouble::of(error));
    }
}

fn pause_after(failures: u32, refused_logins: u32) -> Duration {
    if refused_logins >= AUTH_TRIES {
        AUTH_PAUSE_MIN.saturating_mul(1 << (refused_logins - AUTH_TRIES).min(8)).min(AUTH_PAUSE_MAX)
    } else {
        RETRY_MIN.saturating_mul(1 << (failures - 1).min(8)).min(RETRY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_logins_lead_to_long_pauses() {
        assert_eq!(pause_after(1, 0), Duration::from_secs(1));
        assert_eq!(pause_after(10, 0), RETRY_MAX);
        assert_eq!(pause_after(2, 2), Duration::from_secs(2));
        assert_eq!(pause_after(3, 3), AUTH_PAUSE_MIN);
        assert_eq!(pause_after(30, 30), AUTH_PAUSE_MAX);
    }
}
