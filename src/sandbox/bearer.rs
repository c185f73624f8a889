//! Tokens that a platform gave out itself, and whom it still lets in with them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::distr::{Alphanumeric, SampleString};

#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

struct Token {
    expires: SystemTime,
    /// How many calls more it is good for.
    calls: Option<u64>,
}

impl Tokens {
    /// Makes one that is good for so long and, where told, for so many calls.
    pub fn issue(&self, prefix: &str, now: SystemTime, lives: Duration, calls: Option<u64>) -> String {
        let token = format!("{prefix}{}", Alphanumeric.sample_string(&mut rand::rng(), 40));
        let mut known = self.lock();
        known.retain(|_, token| token.expires > now);
        known.insert(token.clone(), Token { expires: now + lives, calls });
        token
    }

    /// Whether a token is good now; a good one is used up by one call.
    pub fn take(&self, token: &str, now: SystemTime) -> bool {
        let mut known = self.lock();
        let Some(token) = known.get_mut(token) else { return false };
        if token.expires <= now || token.calls == Some(0) {
            return false;
        }
        if let Some(calls) = &mut token.calls {
            *calls -= 1;
        }
        true
    }

    /// Whether a token is not over; nothing is used up.
    pub fn knows(&self, token: &str, now: SystemTime) -> bool {
        self.lock().get(token).is_some_and(|token| token.expires > now)
    }

    pub fn revoke_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
