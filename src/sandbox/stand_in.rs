//! What a platform's stand-in has to say. The door does the rest for all of them: log, trouble, answer.

use std::time::SystemTime;

use axum::http::HeaderMap;
use bytes::Bytes;
use rand::RngExt;
use serde_json::Value;

use super::answer::{Failure, Reply};
use super::door::Visit;
use super::effects::Effect;
use super::faults::Faults;

/// One platform of the sandbox. Every call may come from several threads at once.
pub(super) trait StandIn: Send + Sync + 'static {
    /// Reads which call a request is and which pass it is about, whether or not it will be let in.
    fn recognise(&self, request: &Request) -> Called;

    /// What is checked before any call: credentials first.
    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure>;

    /// Does what the call says and answers it.
    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure>;

    /// An error in the platform's own shape.
    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply;

    /// A [`Trouble::Status`](super::Trouble::Status) in the platform's words; `message` goes before them.
    fn failure(&self, status: u16, message: Option<&str>, pass: &Pass) -> Failure {
        let named = pass.named();
        let said = if status == 404 { format!("{named} not found") } else { "internal error".to_owned() };
        Failure::new(status, message.map_or(said, str::to_owned))
    }

    /// What somebody else does to a pass. A pass that is not there stays so.
    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, knobs: &Faults);

    /// The rows of a streamed list, by place; what is gone by now is left out.
    fn rows(&self, _places: &[usize]) -> Vec<String> {
        Vec::new()
    }

    /// A row that is not among these.
    fn stranger(&self, _places: &[usize]) -> Option<usize> {
        None
    }

    /// Carries what changed into the database.
    fn save(&self) -> anyhow::Result<()>;

    /// How often each change took effect.
    fn effects(&self) -> Vec<Effect>;

    /// Puts passes there past the platform's calls and answers how many are new.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64>;

    /// A pass as it is kept, by the name its callers know it by.
    fn pass(&self, name: &str) -> Option<Value>;

    /// Every pass as it is kept.
    fn all(&self) -> Vec<Value>;

    /// How many passes there are.
    fn count(&self) -> u64;

    /// Forgets every token given out.
    fn revoke_tokens(&self) {}
}

/// A request as it came through the door.
pub(super) struct Request {
    pub method: String,
    /// As sent, with its query and without the platform's prefix.
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Bytes,
    /// The body, where it is JSON.
    pub body: Option<Value>,
}

impl Request {
    pub fn new(method: &str, path: &str, headers: HeaderMap, raw: Bytes) -> Request {
        let body = serde_json::from_slice(&raw).ok();
        Request { method: method.to_owned(), path: path.to_owned(), headers, raw, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of an `Authorization: Bearer` header (RFC 6750 section 2.1).
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Whether it carries something that is no business of a log.
    pub fn has_credentials(&self) -> bool {
        ["authorization", "proxy-authorization", "cookie", "x-api-key"].iter().any(|name| self.headers.contains_key(*name))
    }
}

/// What a request was recognised as.
pub(super) struct Called {
    /// The path with its ids replaced, e.g. `/members/member/id/{id}`.
    pub route: &'static str,
    pub pass: Pass,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shows one pass.
    Read,
    /// Shows many.
    List,
    /// Asks for a token; its body is not logged.
    Token,
    /// Carries calls of its own.
    Batch,
    Other,
}

/// The pass a request is about, as far as it can be told.
#[derive(Clone, Default)]
pub(super) struct Pass {
    pub external_id: Option<String>,
    pub id: Option<String>,
}

impl Pass {
    pub fn named(&self) -> &str {
        self.external_id.as_deref().or(self.id.as_deref()).unwrap_or("")
    }
}

/// What another writer does to a pass.
pub(super) enum Meddling<'a> {
    Delete,
    /// Changes one text of it.
    Write {
        key: &'a str,
        value: &'a str,
    },
    /// Gives it points.
    Give {
        points: u32,
    },
}

/// Seconds since 1970 on a clock.
pub(super) fn seconds(clock: SystemTime) -> i64 {
    clock.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

/// A random UUID in small letters (RFC 9562 section 5.4).
pub(super) fn uuid() -> String {
    let random: u128 = rand::rng().random();
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{bits:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Percent-decodes one segment; none when it is not UTF-8 or badly encoded.
pub(super) fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
