//! Earn, burn and notify: sent once, and looked for afterwards when their answer was lost (contract 4.2, M7, M8, M18, and section 7).

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use super::bodies::{self, Known};
use super::{MEMBER, Members};
use crate::config::meant::ReadBack;
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, quote};
use crate::platform::passkit::adds::{CANNOT_ASK, heard, looked, lost, once, refused, unknown};
use crate::platform::passkit::find::READS;
use crate::platform::passkit::operations::Part;
use crate::platform::passkit::protocol::Protocol;
use crate::platform::passkit::wire::{BrokenList, Pass, parse_lines, send};
use crate::platform::{AddEnd, Answer, Conversation, Proof, Request, Step, strict};
use crate::row::{AddKind, Addition, FieldChange, Target};
use crate::schema::value::Value;

/// Events asked for at once.
const EVENTS_PAGE: usize = 1000;

/// Sends an add once.
pub(super) struct Give {
    scope: Arc<Members>,
    add: Addition,
    /// The request under way is the one that changes something.
    giving: bool,
    /// Known once the pass was read.
    pass_id: Option<String>,
    unread: u32,
}

impl Give {
    pub(super) fn new(scope: Arc<Members>, add: Addition) -> Give {
        Give { scope, add, giving: false, pass_id: None, unread: 0 }
    }

    fn hear(&mut self, answer: Answer) -> Step<AddEnd> {
        match heard(answer, self.giving) {
            Err(end) => Step::Done(end),
            Ok(body) if self.giving => match self.echoed(&body) {
                Ok(id) => Step::Done(AddEnd::Applied { pass_id: Some(id) }),
                Err(reason) => lost(&reason),
            },
            Ok(body) => self.tell(&body),
        }
    }

    /// The pass that the answer names, when it is the one that was meant.
    fn echoed(&self, body: &Bytes) -> Result<String, String> {
        let Some(answer) = strict::object(body) else {
            return Err("the answer is not a JSON object".to_owned());
        };
        let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
        let (id, external) = (text("id"), text("externalId"));
        if id.is_empty() {
            return Err("the answer names no pass".to_owned());
        }
        let other = match &self.add.target {
            Target::Pass(meant) => id != meant,
            Target::External(meant) => !external.is_empty() && external != meant,
        };
        if other { Err(format!("the answer is about another pass ({})", clean(id))) } else { Ok(id.to_owned()) }
    }

    /// The pass was read: lays the message over what it holds.
    fn tell(&mut self, body: &Bytes) -> Step<AddEnd> {
        let Some((field, text)) = self.add.notification.clone() else {
            return refused(Outcome::Refused, Code::MappingError, "the notification has no text");
        };
        let Some(member) = read(&self.scope, &self.add.target, body) else {
            self.unread += 1;
            if self.unread < READS {
                return Step::Send(self.scope.get(&self.add.target));
            }
            return refused(Outcome::Refused, Code::AnswerUnreadable, "the answer is not the pass asked for");
        };
        if !self.scope.is_live(&member) {
            return refused(Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier");
        }
        let known = Known::from_member(&member);
        if shown(&known, &field) == Some(text.as_str()) {
            // An equal text alerts nobody (contract 7).
            return Step::Done(AddEnd::Already { message: "the pass shows this text already, so that nobody would be alerted".to_owned() });
        }
        let Ok(parsed) = MEMBER.parse(&field) else {
            return refused(Outcome::Refused, Code::MappingError, "the notification's field is not one of the platform's");
        };
        let change = FieldChange { field: 0, name: Arc::clone(&field), value: Some(Value::Text(text.into())) };
        let part = Part { field: parsed, change };
        let request = bodies::patch(&self.scope, &self.add.target, Some(member.id()), &known, &[&part]);
        self.pass_id = Some(member.id().to_owned());
        self.give(request)
    }

    fn give(&mut self, request: Request) -> Step<AddEnd> {
        match once(request) {
            Ok(request) => {
                self.giving = true;
                self.note_write();
                Step::Send(request)
            }
            Err(end) => Step::Done(end),
        }
    }

    /// A message is written with all that the pass holds: what was read of it before must not be written back.
    fn note_write(&self) {
        self.scope.writes.note(&[self.add.target.text(), self.pass_id.as_deref().unwrap_or_default()]);
    }

    /// M7 and M8.
    fn points(&self, path: &str) -> Request {
        let mut body = self.scope.key(&self.add.target, None);
        for (name, amount) in &self.add.amounts {
            body.insert(name.to_string(), number(*amount));
        }
        let details = json!({ "externalEventId": self.add.key.to_string(), "notes": self.add.reference });
        body.insert("eventDetails".to_owned(), details);
        send(Method::PUT, path, &Json::Object(body))
    }
}

impl Conversation<AddEnd> for Give {
    fn next(&mut self, answer: Option<Answer>) -> Step<AddEnd> {
        match (answer, self.add.key.kind) {
            (Some(answer), _) => {
                if self.giving {
                    self.note_write();
                }
                self.hear(answer)
            }
            (None, AddKind::Earn) => self.give(self.points("/members/member/points/earn")),
            (None, AddKind::Burn) => self.give(self.points("/members/member/points/burn")),
            (None, AddKind::Notify) if !self.scope.can_get(&self.add.target) => refused(Outcome::Refused, Code::MappingError, CANNOT_ASK),
            (None, AddKind::Notify) => Step::Send(self.scope.get(&self.add.target)),
            (None, kind @ (AddKind::Redeem | AddKind::Validate)) => {
                refused(Outcome::Refused, Code::UpdateRejected, &format!("PassKit cannot {kind} a member"))
            }
        }
    }
}

/// Looks whether an add was applied.
pub(super) struct Look {
    scope: Arc<Members>,
    add: Addition,
    /// The pass's identifier, once read; the list of events is asked by it.
    pass_id: Option<String>,
    offset: usize,
    /// The first event of the page before.
    first: Option<Json>,
    unread: u32,
}

impl Look {
    pub(super) fn new(scope: Arc<Members>, add: Addition) -> Look {
        Look { scope, add, pass_id: None, offset: 0, first: None, unread: 0 }
    }

    fn ask(&self) -> Request {
        match &self.pass_id {
            None => self.scope.get(&self.add.target),
            Some(id) => self.scope.events(id, self.offset, EVENTS_PAGE),
        }
    }

    fn hear(&mut self, answer: Answer) -> Step<Proof> {
        match looked(answer) {
            Ok(body) if self.pass_id.is_none() => self.read(&body),
            Ok(body) => self.search(&body),
            // A pass that is not there has no event of ours either; sent again, the add is refused.
            Err((Some(404 | 410), _)) if self.pass_id.is_none() && self.scope.evidence.read_back == ReadBack::Events => {
                Step::Done(Proof::NotApplied("no pass has this identifier".to_owned()))
            }
            Err((Some(404 | 410), _)) if self.pass_id.is_none() => unknown("the pass is not there any more"),
            Err((_, proof)) => Step::Done(proof),
        }
    }

    fn read(&mut self, body: &Bytes) -> Step<Proof> {
        let Some(member) = read(&self.scope, &self.add.target, body) else {
            return self.again("the answer is not the pass asked for");
        };
        self.unread = 0;
        if let Some((field, text)) = &self.add.notification {
            let words = "the pass does not show the text";
            return if shown(&Known::from_member(&member), field) == Some(text.as_str()) {
                Step::Done(Proof::Applied("the pass shows the text".to_owned()))
            } else if self.scope.evidence.sole_writer {
                Step::Done(Proof::NotApplied(words.to_owned()))
            } else {
                // A notification has no event, and whoever writes the field after us takes its only trace away.
                unknown(&format!("{words}, which proves nothing unless sole_writer is true"))
            };
        }
        if self.scope.evidence.read_back == ReadBack::Balance {
            return self.compare(&member);
        }
        self.pass_id = Some(member.id().to_owned());
        Step::Send(self.ask())
    }

    /// The list gives the oldest events first, a page at a time: only all of it says that there is none (M18).
    fn search(&mut self, body: &Bytes) -> Step<Proof> {
        let events = match parse_lines(body) {
            Ok(events) => events,
            Err(BrokenList::Told(words)) => return self.again(&format!("the list of events broke off: {}", quote(&words))),
            Err(BrokenList::Cut) => return self.again("the list of events was cut short"),
        };
        self.unread = 0;
        let key = self.add.key.to_string();
        let ours = |event: &&Map<String, Json>| event.get("externalId").and_then(Json::as_str) == Some(&key);
        if let Some(event) = events.iter().find(ours) {
            let id = event.get("id").and_then(Json::as_str).unwrap_or_default();
            return Step::Done(Proof::Applied(format!("the pass has event {} with this key", clean(id))));
        }
        // A page may hold fewer than were asked for: only one without any is behind the last.
        if !events.is_empty() {
            let first = events[0].get("id").cloned();
            if self.offset > 0 && first == self.first {
                return unknown("the list of events gives the same page again and again");
            }
            self.first = first;
            self.offset += events.len();
            return Step::Send(self.ask());
        }
        self.absent(&format!("none of the pass's {} events has this key", self.offset))
    }

    /// That nothing is there proves something only where the configuration says so.
    fn absent(&self, words: &str) -> Step<Proof> {
        match self.scope.evidence.read_back {
            ReadBack::Events | ReadBack::Balance => Step::Done(Proof::NotApplied(words.to_owned())),
            ReadBack::Presence | ReadBack::Nothing => unknown(&format!("{words}, which proves nothing while read_back is \"presence\"")),
        }
    }

    /// Before and after, in the 32-bit floats that balances are kept in.
    fn compare(&self, member: &Pass) -> Step<Proof> {
        let Some(before) = &self.add.before else { return unknown("the balance before is not known") };
        let sign = if self.add.key.kind == AddKind::Burn { -1.0 } else { 1.0 };
        let (mut moved, mut stayed) = (true, true);
        let mut shown = Vec::new();
        for (name, amount) in &self.add.amounts {
            let balance = |state: &Json| state.get(&**name).and_then(Json::as_f64).unwrap_or(0.0) as f32;
            let (before, now) = (balance(before), balance(&Json::Object(member.0.clone())));
            let delta = sign * amount.to_string().parse::<f32>().unwrap_or(f32::NAN);
            moved &= (now - (before + delta)).abs() <= f32::EPSILON * now.abs().max(1.0);
            stayed &= (now - before).abs() <= f32::EPSILON * now.abs().max(1.0);
            shown.push(format!("{name} was {before} and is {now}"));
        }
        let words = shown.join(", ");
        match (moved, stayed) {
            (true, false) => Step::Done(Proof::Applied(words)),
            (false, true) => Step::Done(Proof::NotApplied(words)),
            _ => unknown(&format!("{words}: neither as before nor as after")),
        }
    }

    fn again(&mut self, reason: &str) -> Step<Proof> {
        self.unread += 1;
        if self.unread < READS { Step::Send(self.ask()) } else { unknown(reason) }
    }
}

impl Conversation<Proof> for Look {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        match answer {
            None if !self.scope.can_get(&self.add.target) => unknown(CANNOT_ASK),
            None => Step::Send(self.ask()),
            Some(answer) => self.hear(answer),
        }
    }
}

/// The pass that an answer holds, when it is the one that is meant.
fn read(scope: &Members, target: &Target, body: &Bytes) -> Option<Pass> {
    let protocol: &dyn Protocol = scope;
    Pass::parse(body).filter(|pass| protocol.is_meant(target, pass))
}

/// What a `metaData` field of the pass shows.
fn shown<'k>(known: &'k Known, field: &str) -> Option<&'k str> {
    known.meta.get(field.strip_prefix("metaData.")?).and_then(Json::as_str)
}

/// Whole numbers stay whole: `tierPoints` takes no others.
fn number(amount: Decimal) -> Json {
    let amount = amount.normalize();
    match u64::try_from(amount) {
        Ok(whole) if amount.is_integer() => whole.into(),
        _ => amount.to_string().parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Json::Null, Json::Number),
    }
}
