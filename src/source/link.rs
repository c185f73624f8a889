//! One connection to a source, kept open and shared, opened again after a fault, and left alone while the server refuses us.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::refusals::{Record, Refusals, pause_after as pause_after_refusals};
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

pub struct Link {
    connect: Box<dyn Connect>,
    record: Option<Record>,
    state: Mutex<LinkState>,
    /// The pause after earlier faults is not to be waited out.
    again: AtomicBool,
}

#[derive(Default)]
struct LinkState {
    connection: Option<Box<dyn Source>>,
    failures: u32,
    not_before: Option<Instant>,
    trouble: Option<Trouble>,
    last_used: Option<Instant>,
    /// Refused logins in a row. What an earlier process wrote down is taken up at the first use.
    refusals: Option<Refusals>,
    /// They are written down.
    recorded: bool,
    began: bool,
}

impl Link {
    pub fn new(connect: Box<dyn Connect>) -> Link {
        Link { connect, record: None, state: Mutex::default(), again: AtomicBool::new(false) }
    }

    /// Writes refused logins down, so that restarts do not add tries.
    #[must_use]
    pub fn remembering(self, record: Record) -> Link {
        Link { record: Some(record), ..self }
    }

    /// Does a piece of work on the connection, opening it if need be. One piece at a time; others wait their turn.
    pub fn with<T>(&self, work: impl FnOnce(&mut dyn Source) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.began, true) {
            self.take_up(&mut state);
        }
        if self.again.swap(false, Ordering::AcqRel) {
            state.not_before = None;
            state.failures = 0;
        }
        if let Some(left) = state.not_before.map(|at| at.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()) {
            if state.refusals.as_ref().is_some_and(|refusals| self.is_worth_a_try(refusals, state.recorded)) {
                state.refusals = None;
            } else {
                return Err(state.told_again(left));
            }
        }
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => match self.connect.connect() {
                Ok(connection) => connection,
                Err(error) => {
                    self.note_failure(&mut state, &error);
                    return Err(error);
                }
            },
        };
        if state.refusals.take().is_some()
            && let Some(record) = &self.record
        {
            record.clear();
        }
        let result = work(connection.as_mut());
        match &result {
            Err(error) if error.is_interruption() => {}
            Err(error) if error.breaks_connection() => self.note_failure(&mut state, error),
            _ => {
                state.connection = Some(connection);
                state.failures = 0;
                state.not_before = None;
                state.trouble = None;
                state.last_used = Some(Instant::now());
            }
        }
        result
    }

    /// Somebody may have repaired what was wrong: the next piece of work need not wait out the pause after earlier faults. Refused logins
    /// stay counted: one more is followed by a long pause again.
    pub fn try_again(&self) {
        // Whoever holds the connection may be about to find that it has to wait: the one after it heeds this.
        self.again.store(true, Ordering::Release);
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

    /// Goes on with a pause that an earlier process began.
    fn take_up(&self, state: &mut LinkState) {
        let Some(refusals) = self.record.as_ref().and_then(Record::read) else { return };
        state.not_before = pause_after_refusals(refusals.count).map(|_| Instant::now() + refusals.left());
        state.trouble = Some(Trouble { kind: SourceError::Auth, words: refusals.words.clone() });
        state.refusals = Some(refusals);
        state.recorded = true;
    }

    /// Another credential than the one refused, or a record that `check --reach` has cleared since: both are worth a try at once.
    fn is_worth_a_try(&self, refusals: &Refusals, recorded: bool) -> bool {
        let cleared = recorded && self.record.as_ref().is_some_and(|record| record.read().is_none());
        cleared || self.connect.login_digest(&refusals.salt) != refusals.digest
    }

    fn note_failure(&self, state: &mut LinkState, error: &SourceError) {
        state.failures += 1;
        let mut pause = pause_after(state.failures);
        let mut spread = 0.8..1.2;
        if let SourceError::Auth(words) = error {
            let refusals = state.refusals.get_or_insert_with(Refusals::fresh);
            if let Some(long) = pause_after_refusals(refusals.count + 1) {
                // Vendors count whole minutes: never less than that.
                (pause, spread) = (long, 1.0..1.1);
            }
            refusals.add(words, self.connect.login_digest(&refusals.salt), pause);
            if let Some(record) = &self.record {
                let written = record.write(refusals);
                state.recorded = written.is_ok();
                if let Err(error) = written {
                    tracing::warn!(%error, "a refused login cannot be written down: a restart will try again at once");
                }
            }
        }
        let jitter = rand::rng().random_range(spread);
        state.not_before = Some(Instant::now() + pause.mul_f64(jitter));
        state.trouble = Some(Trouble::of(error));
    }
}

impl LinkState {
    /// The last fault, and when the next try is.
    fn told_again(&self, left: Duration) -> SourceError {
        let trouble = self.trouble.clone().unwrap_or(Trouble { kind: SourceError::Unreachable, words: "it failed before".into() });
        let next = humantime::format_duration(Duration::from_secs(left.as_secs() + 1));
        let words = match &self.refusals {
            Some(refusals) if pause_after_refusals(refusals.count).is_some() => format!(
                "{}. Refused {} times, so that the account is not locked the next attempt is in {next}; \
                 it is made at once when the credential changes, or when passferry check --reach succeeds",
                trouble.words, refusals.count
            ),
            _ => format!("{}; next attempt in {next}", trouble.words),
        };
        (trouble.kind)(words)
    }
}

fn pause_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << (failures - 1).min(8)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    /// A server that refuses every login.
    struct Refusing {
        tries: Arc<AtomicU32>,
        credential: Arc<AtomicU32>,
    }

    impl Connect for Refusing {
        fn connect(&self) -> Result<Box<dyn Source>> {
            self.tries.fetch_add(1, SeqCst);
            Err(SourceError::Auth("no".into()))
        }

        fn login_digest(&self, _salt: &[u8]) -> Option<String> {
            Some(self.credential.load(SeqCst).to_string())
        }
    }

    #[test]
    fn pauses_grow_with_failures() {
        assert_eq!(pause_after(1), Duration::from_secs(1));
        assert_eq!(pause_after(2), Duration::from_secs(2));
        assert_eq!(pause_after(10), RETRY_MAX);
    }

    #[test]
    fn a_pause_after_refused_logins_outlives_the_process_and_ends_with_the_credential() {
        let state = tempfile::tempdir().unwrap();
        let (tries, credential) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let record = Record::of(state.path(), "port");
        let link = || Link::new(Box::new(Refusing { tries: tries.clone(), credential: credential.clone() })).remembering(record.clone());
        let refusal = |link: &Link| link.with(|_| Ok(())).unwrap_err();
        // Three processes, one try each: the pauses between a few tries are short.
        for count in 1..=3 {
            refusal(&link());
            assert_eq!(tries.load(SeqCst), count);
        }
        let fourth = link();
        let told = refusal(&fourth).to_string();
        assert_eq!(tries.load(SeqCst), 3, "the account is left alone");
        assert!(told.starts_with("the server refused the login: no") && told.contains("Refused 3 times"), "{told}");
        credential.store(1, SeqCst);
        refusal(&fourth);
        assert_eq!(tries.load(SeqCst), 4, "another credential is tried at once");
        assert_eq!(record.read().unwrap().count, 1, "and its refusals are counted anew");
    }

    #[test]
    fn a_cleared_record_ends_the_pause() {
        let state = tempfile::tempdir().unwrap();
        let (tries, credential) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let record = Record::of(state.path(), "port");
        let mut refusals = Refusals::fresh();
        for _ in 0..5 {
            refusals.add("no", Some("0".into()), Duration::from_hours(1));
        }
        record.write(&refusals).unwrap();
        let link = Link::new(Box::new(Refusing { tries: tries.clone(), credential })).remembering(record.clone());
        assert!(link.with(|_| Ok(())).is_err());
        assert_eq!(tries.load(SeqCst), 0);
        record.clear();
        assert!(link.with(|_| Ok(())).is_err());
        assert_eq!(tries.load(SeqCst), 1);
    }
}
