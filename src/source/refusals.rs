//! Refused logins of a source, remembered over restarts, since vendors lock accounts that keep trying (failure model, C5).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Refused logins before the long pauses begin.
pub const TRIES: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_mins(5);
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// What is kept of refused logins, in a file of the state directory that only its owner may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    pub count: u32,
    /// No login before this, in seconds since 1970 by our clock.
    pub until: u64,
    pub salt: [u8; 16],
    /// Of the credential that was refused: another one is tried at once.
    pub digest: Option<String>,
    /// What the server said last.
    pub words: String,
}

/// How long to wait after so many refused logins; none while the usual pauses do.
pub fn pause_after(count: u32) -> Option<Duration> {
    let beyond = count.checked_sub(TRIES)?;
    Some(PAUSE_MIN.saturating_mul(1 << beyond.min(8)).min(PAUSE_MAX))
}

/// Where refused logins of a source are written down.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// Names of sources are letters, digits, `-` and `_`.
    pub fn of(state: &Path, source: &str) -> Record {
        Record { path: state.join(format!("refused-logins-{source}.json")) }
    }

    /// What was written down, unless it cannot be read: then nothing is known.
    pub fn read(&self) -> Option<Refusals> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    pub fn write(&self, refusals: &Refusals) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(serde_json::to_string(refusals)?.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Forgets them after a login that succeeded.
    pub fn clear(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "a record of refused logins stays");
        }
    }
}

impl Refusals {
    pub fn fresh() -> Refusals {
        Refusals { count: 0, until: 0, salt: rand::random(), digest: None, words: String::new() }
    }

    /// What is left of the pause. A clock that jumped does not make it longer than the longest.
    pub fn left(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Duration::from_secs(self.until.saturating_sub(now)).min(PAUSE_MAX)
    }

    /// Notes one more, refused with this credential.
    pub fn add(&mut self, words: &str, digest: Option<String>, pause: Duration) {
        self.count += 1;
        words.clone_into(&mut self.words);
        self.digest = digest;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.until = (now + pause).as_secs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_minutes_to_an_hour() {
        assert_eq!(pause_after(2), None);
        assert_eq!(pause_after(3), Some(PAUSE_MIN));
        assert_eq!(pause_after(4), Some(2 * PAUSE_MIN));
        assert_eq!(pause_after(30), Some(PAUSE_MAX));
    }

    #[test]
    fn what_is_written_down_is_read_again_and_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let record = Record::of(state.path(), "port");
        assert_eq!(record.read(), None);
        let mut refusals = Refusals::fresh();
        refusals.add("no", Some("x".into()), Duration::from_mins(5));
        record.write(&refusals).unwrap();
        assert_eq!(record.read(), Some(refusals.clone()));
        assert!(refusals.left() > Duration::from_mins(4));
        refusals.until = u64::MAX;
        assert_eq!(refusals.left(), PAUSE_MAX);
        record.clear();
        record.clear();
        assert_eq!(record.read(), None);
    }
}
