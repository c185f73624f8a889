//! Proving that an account can be used, and reading all its members.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use super::Scope;
use super::fields::Field;
use super::find::READS;
use super::wire::{BrokenList, Member, parse_list};
use crate::platform::judge;
use crate::platform::judge::message;
use crate::platform::{Answer, Conversation, FieldKind, Page, PassState, Reach, Step};
use crate::schema::value::Value;

/// Asks for the profile, which proves the key, and for the program, which proves the region (contract 1).
pub(super) struct Probe {
    scope: Arc<Scope>,
    asked: usize,
}

impl Probe {
    pub(super) fn new(scope: Arc<Scope>) -> Probe {
        Probe { scope, asked: 0 }
    }

    fn end(&self, status: u16, body: &[u8]) -> Reach {
        let Scope { base_url, program, .. } = &*self.scope;
        let no = |message: String| Reach { ok: false, denied: status == 403, message };
        match (self.asked, status) {
            (2, 200..=299) => match serde_json::from_slice::<Json>(body) {
                Ok(Json::Object(found)) => {
                    let name = found.get("name").and_then(Json::as_str).map(judge::clean).filter(|name| !name.is_empty());
                    let name = name.unwrap_or_else(|| program.clone());
                    Reach { ok: true, denied: false, message: format!("{base_url} accepts the key and knows the program {name}") }
                }
                _ => no(format!("{base_url} answers, but not as PassKit does; check base_url and what stands between")),
            },
            (2, 404) => no(format!(
                "{base_url} accepts the key but has no program {program}; check the program, and the region: the wrong one answers so"
            )),
            (1, 404) => no(format!("{base_url} does not know /user/profile (404); check base_url")),
            _ => no(format!("{base_url} answers {status}: {}", message(body))),
        }
    }
}

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        match answer {
            Some(Answer::Http { status: 200..=299, .. }) if self.asked == 1 => {}
            None => {}
            Some(Answer::Http { status, body }) => return Step::Done(self.end(status, &body)),
            Some(Answer::Exhausted { message, denied, .. }) => {
                return Step::Done(Reach { ok: false, denied, message: format!("{}: {message}", self.scope.base_url) });
            }
            Some(Answer::Lost { message }) => {
                return Step::Done(Reach { ok: false, denied: false, message: format!("{}: {message}", self.scope.base_url) });
            }
            Some(Answer::Stopped { .. }) => {
                return Step::Done(Reach { ok: false, denied: false, message: "stopped before an answer came".to_owned() });
            }
        }
        self.asked += 1;
        Step::Send(if self.asked == 1 { Scope::profile() } else { self.scope.program() })
    }
}

/// Members a page (contract 3.3: works, no maximum is documented).
const PAGE: u64 = 1000;

/// One page of the listing of all members.
pub(super) struct Listing {
    scope: Arc<Scope>,
    offset: u64,
    unread: u32,
}

impl Listing {
    pub(super) fn new(scope: Arc<Scope>, offset: u64) -> Listing {
        Listing { scope, offset, unread: 0 }
    }
}

impl Conversation<Page> for Listing {
    fn next(&mut self, answer: Option<Answer>) -> Step<Page> {
        let fault = |fault: String| Step::Done(Page { fault: Some(fault), ..Page::default() });
        match answer {
            None => {}
            Some(Answer::Http { status: 200..=299, body }) => match parse_list(&body) {
                Ok(members) => {
                    // A page may hold fewer than were asked for: only one without any is behind the last.
                    let next = (!members.is_empty()).then(|| self.offset + members.len() as u64);
                    let live = members.iter().filter(|member| !member.id().is_empty() && member.is_live_in(&self.scope.program));
                    return Step::Done(Page { passes: live.map(pass_state).collect(), next, fault: None });
                }
                Err(broken) => {
                    self.unread += 1;
                    if self.unread == READS {
                        return fault(match broken {
                            BrokenList::Told(words) => format!("the listing broke off: {words}"),
                            BrokenList::Cut => "the listing was cut short".to_owned(),
                        });
                    }
                }
            },
            Some(Answer::Http { status, body }) => return fault(format!("the listing is refused ({status}): {}", message(&body))),
            Some(Answer::Exhausted { message, .. } | Answer::Lost { message }) => return fault(message),
            Some(Answer::Stopped { .. }) => return fault("stopped before an answer came".to_owned()),
        }
        Step::Send(self.scope.list(&json!({ "limit": PAGE, "offset": self.offset, "orderBy": "created", "orderAsc": true })))
    }
}

fn pass_state(member: &Member) -> PassState {
    let mut fields = Vec::new();
    for (name, value) in &member.0 {
        match (name.as_str(), value) {
            ("metaData", Json::Object(meta)) => {
                for (key, value) in meta {
                    push(&mut fields, format!("metaData.{key}"), value);
                }
            }
            ("person", Json::Object(person)) => {
                for (key, value) in person {
                    push(&mut fields, format!("person.{key}"), value);
                }
            }
            _ => push(&mut fields, name.clone(), value),
        }
    }
    let external_id = Some(member.external_id()).filter(|external| !external.is_empty()).map(str::to_owned);
    PassState { pass_id: member.id().to_owned(), external_id, fields }
}

/// Adds a field that a mapping could write and that holds something. Zero is a balance; an empty text is nothing.
fn push(fields: &mut Vec<(String, Value<'static>)>, name: String, value: &Json) {
    let Ok(field) = Field::parse(&name) else { return };
    let value = match (field.rule().kind, value) {
        (FieldKind::Number, Json::Number(number)) => decimal(number).map(Value::Number),
        (FieldKind::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
        (FieldKind::Boolean, Json::Bool(on)) => Some(Value::Boolean(*on)),
        (FieldKind::Instant, Json::String(text)) => {
            DateTime::parse_from_rfc3339(text).ok().map(|time| Value::DateTime(time.naive_utc(), FixedOffset::east_opt(0)))
        }
        (FieldKind::Date, Json::Object(date)) => {
            let part = |name| date.get(name).and_then(Json::as_i64).and_then(|part| u32::try_from(part).ok());
            let date = part("year").and_then(|year| NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, part("month")?, part("day")?));
            date.map(Value::Date)
        }
        (FieldKind::Text, Json::String(text)) if !text.is_empty() => Some(Value::Text(text.clone().into())),
        _ => None,
    };
    fields.extend(value.map(|value| (name, value)));
}

/// The number as PassKit printed it: the shortest text of its 32-bit float.
fn decimal(number: &serde_json::Number) -> Option<Decimal> {
    let text = number.to_string();
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}
