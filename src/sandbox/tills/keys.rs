//! `Idempotency-Key` (contracts/others.md, "A platform with real idempotency keys"): the same key and body have the first answer, the same
//! key with another body is 409.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::sandbox::answer::{Content, Failure, Reply};
use crate::sandbox::door::hash;
use crate::sandbox::stand_in::Request;

#[derive(Default)]
pub(super) struct Keys(HashMap<String, First>);

struct First {
    fingerprint: u64,
    at: SystemTime,
    status: u16,
    body: String,
}

impl Keys {
    /// The answer given before, if any.
    pub fn look(&mut self, key: &str, request: &Request, now: SystemTime, days: u64) -> Result<Option<Reply>, Failure> {
        let lives = Duration::from_hours(24 * days);
        let Some(first) = self.0.get(key) else { return Ok(None) };
        if now.duration_since(first.at).is_ok_and(|age| age > lives) {
            self.0.remove(key);
            return Ok(None);
        }
        if first.fingerprint != fingerprint(request) {
            return Err(Failure::new(409, "the Idempotency-Key was used for another request").because("idempotency_conflict"));
        }
        Ok(Some(Reply::of(first.status, super::JSON, first.body.clone())))
    }

    pub fn note(&mut self, key: &str, request: &Request, now: SystemTime, reply: &Reply) {
        if let Content::Text(body) = &reply.content {
            let first = First { fingerprint: fingerprint(request), at: now, status: reply.status, body: body.clone() };
            self.0.insert(key.to_owned(), first);
        }
    }
}

fn fingerprint(request: &Request) -> u64 {
    hash(&(&request.method, &request.path, &request.raw))
}
