//! A platform that answers what an input says: shared by the targets that hold conversations.
//!
//! The first part of an input says what is asked, in words; each further part is one answer: a line with the status and headers parted by
//! `|`, then the body. `exhausted`, `stopped` and `lost` stand for answers that never came.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use passferry::platform::{Account, Answer, Conversation, RawAnswer, Request, Step, Verdict};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// Requests of one conversation beyond which it is taken for endless.
const REQUESTS_MAX: usize = 300;
/// Characters of a message to people.
pub const MESSAGE_MAX: usize = 300;

/// What was heard to a request, once judged.
#[derive(Clone, Debug)]
pub enum Heard {
    Final(u16, Bytes),
    /// No answer that may be taken for one.
    Nothing,
    /// It was stopped before it left.
    Unsent,
}

impl Heard {
    pub fn is_success(&self) -> bool {
        matches!(self, Heard::Final(200..=299, _))
    }

    /// The object that a success proved something by.
    pub fn object(&self) -> Option<Map<String, Json>> {
        let Heard::Final(200..=299, body) = self else { return None };
        object(body)
    }
}

/// A JSON object whose names occur once each, all the way down.
pub fn object(body: &[u8]) -> Option<Map<String, Json>> {
    match json(body) {
        Some(Json::Object(object)) => Some(object),
        _ => None,
    }
}

/// JSON in which no object names anything twice.
pub fn json(body: &[u8]) -> Option<Json> {
    serde_json::from_slice::<Strict>(body).ok().map(|Strict(json)| json)
}

struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Strict;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Json::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
                let mut items = Vec::new();
                while let Some(Strict(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Strict(items.into()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut object = Map::new();
                while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if object.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name twice"));
                    }
                }
                Ok(Strict(object.into()))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// Conversations with a platform that answers what the input says.
pub struct Talk<'a> {
    pub account: &'a Account,
    answers: Vec<&'a str>,
    /// The answers come again and again.
    endless: bool,
    next: usize,
    pub said: Vec<(Request, Heard)>,
    pub stopped: bool,
    /// What must hold of every request, and of every verdict by the status and body it is about.
    check_request: fn(&Request),
    check_verdict: fn(u16, &[u8], &Verdict),
}

impl<'a> Talk<'a> {
    pub fn new(
        account: &'a Account,
        answers: Vec<&'a str>,
        endless: bool,
        check_request: fn(&Request),
        check_verdict: fn(u16, &[u8], &Verdict),
    ) -> Talk<'a> {
        Talk { account, answers, endless, next: 0, said: Vec::new(), stopped: false, check_request, check_verdict }
    }

    pub fn hold<T>(&mut self, mut conversation: Box<dyn Conversation<T>>) -> T {
        let mut answer = None;
        loop {
            match conversation.next(answer.take()) {
                Step::Done(result) => return result,
                Step::Send(request) | Step::Later(_, request) => {
                    assert!(!self.stopped, "sends {request:?} though the run was stopped");
                    assert!(self.said.len() < REQUESTS_MAX, "never ends");
                    (self.check_request)(&request);
                    let (given, heard) = self.answer(&request);
                    self.said.push((request, heard));
                    answer = Some(given);
                }
            }
        }
    }

    fn answer(&mut self, request: &Request) -> (Answer, Heard) {
        if self.endless && !self.answers.is_empty() {
            self.next %= self.answers.len();
        }
        let text = self.answers.get(self.next).copied().unwrap_or("stopped");
        self.next += 1;
        let (head, body) = text.split_once('\n').unwrap_or((text, ""));
        let mut head = head.split('|');
        let status = match head.next().unwrap_or_default().trim() {
            "exhausted" => return (Answer::Exhausted { tries: 5, message: body.to_owned(), denied: false }, Heard::Nothing),
            "lost" if !request.repeatable => return (Answer::Lost { message: body.to_owned() }, Heard::Nothing),
            "lost" => return self.stop(true),
            text => match text.parse::<u16>() {
                Ok(status) if (100..=999).contains(&status) => status,
                _ => return self.stop(false),
            },
        };
        let mut headers = HeaderMap::new();
        for header in head {
            let Some((name, value)) = header.split_once(':') else { continue };
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.trim().as_bytes()), HeaderValue::from_bytes(value.trim().as_bytes()))
            {
                headers.insert(name, value);
            }
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let verdict = self.account.judge(request, &RawAnswer { status, headers: &headers, body: &body });
        (self.check_verdict)(status, &body, &verdict);
        match verdict {
            // What stays undecided is the request's own in the end.
            Verdict::Final | Verdict::Undecided { .. } => (Answer::Http { status, body: body.clone() }, Heard::Final(status, body)),
            // What may not be repeated is given up as lost.
            Verdict::Again { reason } if !request.repeatable => (Answer::Lost { message: reason }, Heard::Nothing),
            Verdict::Again { reason } => (Answer::Exhausted { tries: 5, message: reason, denied: false }, Heard::Nothing),
            Verdict::SlowDown { .. } | Verdict::Reauthorize { .. } | Verdict::Outage { .. } | Verdict::Barred { .. } => self.stop(true),
        }
    }

    fn stop(&mut self, sent: bool) -> (Answer, Heard) {
        self.stopped = true;
        (Answer::Stopped { sent }, if sent { Heard::Nothing } else { Heard::Unsent })
    }
}

/// A reason is for people, and a pause has an end.
pub fn clean(verdict: &Verdict) {
    match verdict {
        Verdict::Again { reason }
        | Verdict::Reauthorize { reason }
        | Verdict::Outage { reason }
        | Verdict::Undecided { reason }
        | Verdict::Barred { reason } => {
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
            assert!(reason.chars().count() <= MESSAGE_MAX + 200, "{reason:?}");
        }
        Verdict::SlowDown { after } => {
            assert!(after.is_none_or(|after| SystemTime::now().checked_add(after).is_some() && after < Duration::MAX));
        }
        Verdict::Final => {}
    }
}
