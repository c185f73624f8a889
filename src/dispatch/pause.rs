//! A pause that a platform asked for, remembered over restarts: a process that crashes again and again, or that a schedule starts, keeps
//! it as well (failure model, D3).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::gate::SLOW_MAX;

/// Shorter ones are over before another process has started.
pub(super) const KEPT_MIN: Duration = Duration::from_secs(1);

/// What is kept of a pause, in a file of the state directory that only its owner may read.
#[derive(Serialize, Deserialize)]
struct Pause {
    /// Nothing is sent before this, in milliseconds since 1970 by our clock.
    until: u64,
}

/// Where an account's pause is written down.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// Names of platforms are letters, digits, `-` and `_`.
    pub fn of(state: &Path, platform: &str) -> Record {
        Record { path: state.join(format!("paused-platform-{platform}.json")) }
    }

    /// What is left of the pause. What cannot be read is none, and a clock that jumped makes it no longer than the longest.
    pub(super) fn left(&self) -> Option<Duration> {
        let pause: Pause = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        let left = Duration::from_millis(pause.until.saturating_sub(since_1970().as_millis() as u64));
        (!left.is_zero()).then(|| left.min(SLOW_MAX))
    }

    /// Writes a pause down that begins now. One that ends later stays.
    pub(super) fn keep(&self, pause: Duration) {
        if self.left().is_some_and(|left| left >= pause) {
            return;
        }
        let until = (since_1970() + pause).as_millis() as u64;
        if let Err(error) = self.write(&Pause { until }) {
            tracing::warn!(file = %self.path.display(), %error, "the next start will not know of the pause that the platform asked for");
        }
    }

    fn write(&self, pause: &Pause) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(serde_json::to_string(pause)?.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Forgets it: the platform was asked, and answered.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "a record of a pause stays");
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D3. B10.
    #[test]
    fn a_pause_is_read_again_is_never_shortened_and_never_longer_than_the_longest() {
        let state = tempfile::tempdir().unwrap();
        let record = Record::of(state.path(), "cards");
        assert_eq!(record.left(), None);
        record.keep(Duration::from_mins(5));
        record.keep(Duration::from_secs(5));
        assert!(record.left().unwrap() > Duration::from_mins(4));
        record.write(&Pause { until: u64::MAX }).unwrap();
        assert_eq!(record.left(), Some(SLOW_MAX));
        fs::write(&record.path, "{").unwrap();
        assert_eq!(record.left(), None);
        record.clear();
        record.clear();
    }
}
