//! Sessions: kept in memory, by the digest of what the browser holds. A restart ends them all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::people::random_hex;

/// Sessions at the same time; then the one that was used longest ago ends.
const SESSIONS_MAX: usize = 5_000;

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Password,
    /// A proxy said who it is, and says so with each request.
    Proxy,
}

/// Digest of a session's identifier.
pub type Key = [u8; 32];

struct Session {
    name: String,
    way: Way,
    proof: String,
    csrf: String,
    began: Instant,
    used: Instant,
}

/// A session as a request finds it.
#[derive(Clone, Debug)]
pub struct Found {
    pub key: Key,
    pub name: String,
    pub way: Way,
    /// Of the password that it began with.
    pub proof: String,
    /// What each form of this session must send back.
    pub csrf: String,
}

pub struct Sessions {
    all: Mutex<HashMap<Key, Session>>,
}

/// When a session ends by itself.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub idle: Duration,
    pub session: Duration,
}

impl Ends {
    fn is_over(self, session: &Session, now: Instant) -> bool {
        now.saturating_duration_since(session.used) >= self.idle || now.saturating_duration_since(session.began) >= self.session
    }
}

impl Sessions {
    pub fn new() -> Sessions {
        Sessions { all: Mutex::default() }
    }

    /// Begins a session. Gives what the browser is to hold: 256 random bits.
    pub fn begin(&self, name: &str, way: Way, proof: &str, ends: Ends, now: Instant) -> anyhow::Result<(String, Found)> {
        let (id, csrf) = (random_hex()?, random_hex()?);
        let key = openssl::sha::sha256(id.as_bytes());
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SESSIONS_MAX {
            all.retain(|_, session| !ends.is_over(session, now));
        }
        if all.len() >= SESSIONS_MAX
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(key, Session { name: name.to_owned(), way, proof: proof.to_owned(), csrf: csrf.clone(), began: now, used: now });
        Ok((id, Found { key, name: name.to_owned(), way, proof: proof.to_owned(), csrf }))
    }

    /// The session that a browser's cookie stands for, as long as it lasts. `used` begins its idle time anew.
    pub fn find(&self, id: &str, ends: Ends, now: Instant, used: bool) -> Option<Found> {
        let key = openssl::sha::sha256(id.as_bytes());
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&key).is_some_and(|session| ends.is_over(session, now)) {
            all.remove(&key);
        }
        let session = all.get_mut(&key)?;
        if used {
            session.used = now;
        }
        Some(Found { key, name: session.name.clone(), way: session.way, proof: session.proof.clone(), csrf: session.csrf.clone() })
    }

    pub fn end(&self, key: &Key) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_idle_when_old_and_when_told() {
        let ends = Ends { idle: Duration::from_secs(10), session: Duration::from_secs(25) };
        let sessions = Sessions::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (id, found) = sessions.begin("anna", Way::Password, "", ends, start).unwrap();
        assert_eq!(id.len(), 64);
        assert!(!sessions.all.lock().unwrap().keys().any(|key| crate::spool::hex(key) == id), "only its digest is kept");
        assert_eq!(sessions.find(&id, ends, at(9), true).unwrap().csrf, found.csrf);
        assert!(sessions.find(&id, ends, at(18), true).is_some());
        assert!(sessions.find(&id, ends, at(26), true).is_none(), "old");
        let (id, _) = sessions.begin("anna", Way::Password, "", ends, start).unwrap();
        assert!(sessions.find(&id, ends, at(9), false).is_some());
        assert!(sessions.find(&id, ends, at(11), true).is_none(), "a look by itself keeps no session alive");
        let (id, found) = sessions.begin("anna", Way::Password, "", ends, start).unwrap();
        sessions.end(&found.key);
        assert!(sessions.find(&id, ends, start, true).is_none());
        assert!(sessions.find("", ends, start, true).is_none());
    }
}
