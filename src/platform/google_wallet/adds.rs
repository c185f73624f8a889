//! Messages and redemptions: sent once, and looked for afterwards when their answer was lost (contract 4.6, 7 and 11).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};

use super::apply::READS;
use super::fields::{MESSAGES, SILENT_MESSAGES};
use super::values::is_word;
use super::{QUOTA, Scope, wire};
use crate::config::meant::{MessagesFull, ReadBack};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, message, quoted};
use crate::platform::{AddEnd, Answer, Conversation, Proof, Request, Step, strict};
use crate::row::{AddKind, Addition};

/// Messages that an object holds (contract 4.6).
const MESSAGES_MAX: usize = 10;
/// What a pass that was used up is.
const USED: &str = "COMPLETED";

/// Why a field cannot take messages, or none.
pub(super) fn fault_of_field(field: &str) -> Result<(), String> {
    if matches!(field, MESSAGES | SILENT_MESSAGES) {
        Ok(())
    } else {
        Err("Google Wallet tells holders by a message; write field = \"messages\", or \"messages.TEXT\" for one without an alert"
            .to_owned())
    }
}

/// Header and body of a message: its first line and the others, or the configured header and all of it.
pub(super) fn split<'t>(scope: &'t Scope, text: &'t str) -> Option<(&'t str, &'t str)> {
    let text = text.trim();
    match (text.split_once('\n'), &scope.message_header) {
        (Some((header, body)), _) if !body.trim().is_empty() => Some((header.trim(), body.trim())),
        (_, Some(header)) => Some((header, text)),
        (_, None) => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// The messages, or the state, that the object has.
    Read,
    /// Room for one more message.
    MakeRoom,
    /// What changes something and is sent once.
    Give,
}

/// Sends an add once.
pub(super) struct Give {
    scope: Arc<Scope>,
    add: Addition,
    id: String,
    /// An alert goes with the message.
    alert: bool,
    note: &'static str,
    current: Call,
    unread: u32,
}

impl Give {
    pub(super) fn new(scope: Arc<Scope>, add: Addition) -> Give {
        let alert = add.notification.as_ref().is_some_and(|(field, _)| &**field == MESSAGES);
        Give { scope, add, id: String::new(), alert, note: "", current: Call::Read, unread: 0 }
    }

    fn begin(&mut self) -> Step<AddEnd> {
        match self.scope.ids.object(&self.add.target) {
            Ok(id) => self.id = id,
            Err(fault) => return refused(Outcome::Refused, fault.code, &fault.message),
        }
        match self.add.key.kind {
            AddKind::Notify if self.scope.messages_full == MessagesFull::Send => self.give(),
            AddKind::Notify => self.ask(Call::Read, self.scope.get(&self.id, &["messages"])),
            AddKind::Redeem => self.ask(Call::Read, self.scope.get(&self.id, &["state"])),
            AddKind::Validate => refused(Outcome::Refused, Code::UpdateRejected, "Google Wallet keeps no note of a pass being shown"),
            AddKind::Earn | AddKind::Burn => {
                refused(Outcome::Refused, Code::UpdateRejected, "Google Wallet keeps balances as they are set; nothing is added to them")
            }
        }
    }

    fn ask(&mut self, call: Call, request: Request) -> Step<AddEnd> {
        self.current = call;
        Step::Send(request)
    }

    fn give(&mut self) -> Step<AddEnd> {
        let request = if self.add.key.kind == AddKind::Redeem {
            let mut body = Map::new();
            body.insert("state".to_owned(), USED.into());
            self.scope.patch(&self.id, body).once()
        } else {
            let Some((_, text)) = &self.add.notification else {
                return refused(Outcome::Refused, Code::MappingError, "the notification has no text");
            };
            let Some((header, body)) = split(&self.scope, text) else {
                return refused(Outcome::Refused, Code::MappingError, "the message has no header: set the platform's message_header");
            };
            let kind = if self.alert { "TEXT_AND_NOTIFY" } else { "TEXT" };
            let message = json!({ "id": self.add.key.to_string(), "header": header, "body": body, "messageType": kind });
            self.scope.add_message(&self.id, &message)
        };
        self.ask(Call::Give, request)
    }

    fn hear(&mut self, answer: Answer) -> Step<AddEnd> {
        let giving = self.current == Call::Give;
        let (status, body) = match answer {
            Answer::Http { status, body } => (status, body),
            Answer::Lost { message } | Answer::Exhausted { message, .. } if giving => return lost(&message),
            Answer::Stopped { sent: true } if giving => return lost("the run was stopped while the answer was awaited"),
            Answer::Stopped { .. } => return Step::Done(AddEnd::NotSent),
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                return refused(Outcome::Refused, Code::RetriesExhausted, &message);
            }
        };
        match status {
            200..=299 => match (self.current, self.echoed(&body)) {
                (Call::Give, Ok(_)) if self.note.is_empty() => Step::Done(AddEnd::Applied { pass_id: Some(self.id.clone()) }),
                (Call::Give, Ok(_)) => Step::Done(AddEnd::AppliedBut { message: self.note.to_owned() }),
                (Call::Give, Err(reason)) => lost(&reason),
                (Call::MakeRoom, Ok(_)) => self.give(),
                (Call::Read, Ok(object)) => self.look(&object),
                (Call::Read, Err(_)) if self.unread + 1 < READS => {
                    self.unread += 1;
                    self.begin()
                }
                (Call::Read | Call::MakeRoom, Err(reason)) => refused(Outcome::Refused, Code::AnswerUnreadable, &reason),
            },
            404 => refused(Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier"),
            403 if self.alert && giving && wire::reason(&body).as_deref() == Some(QUOTA) && self.scope.text_over_quota => {
                // The alert was refused, and the message with it (contract 7).
                self.alert = false;
                self.note = "the pass had its alerts of the day: the message is on it without one";
                self.give()
            }
            // What the contract says of these (section 10): the input is wrong, and nothing was changed.
            400 | 403 | 405 | 409 | 413 | 415 | 422 => refused(Outcome::Refused, Code::UpdateRejected, &message(&body)),
            _ if giving => {
                lost(&format!("status {status}, of which the contract does not say whether anything changed: {}", quoted(&body)))
            }
            _ => refused(Outcome::Refused, Code::UpdateRejected, &message(&body)),
        }
    }

    /// The object that an answer is about: `addMessage` wraps it.
    fn echoed(&self, body: &Bytes) -> Result<Map<String, Json>, String> {
        if self.current != Call::Give || self.add.key.kind == AddKind::Redeem {
            return wire::object(body, &self.id);
        }
        let answer = strict::object(body).ok_or("the answer is not a JSON object")?;
        let resource = answer.get("resource").and_then(Json::as_object).ok_or("the answer names no object")?;
        match resource.get("id").and_then(Json::as_str) {
            Some(id) if id == self.id => Ok(resource.clone()),
            Some(_) => Err("the answer is about another object".to_owned()),
            None => Err("the answer names no object".to_owned()),
        }
    }

    fn look(&mut self, object: &Map<String, Json>) -> Step<AddEnd> {
        if self.add.key.kind == AddKind::Redeem {
            return if is_used(object) { already("the pass was used up already") } else { self.give() };
        }
        if has_message(object, &self.add) {
            return already("the pass has this message already");
        }
        let mut messages = messages(object).to_vec();
        if messages.len() < MESSAGES_MAX {
            return self.give();
        }
        messages.drain(..=messages.len() - MESSAGES_MAX);
        for message in messages.iter_mut().filter_map(Json::as_object_mut) {
            message.remove("kind");
        }
        let mut body = Map::new();
        body.insert("messages".to_owned(), Json::Array(messages));
        self.ask(Call::MakeRoom, self.scope.patch(&self.id, body))
    }
}

impl Conversation<AddEnd> for Give {
    fn next(&mut self, answer: Option<Answer>) -> Step<AddEnd> {
        match answer {
            None => self.begin(),
            Some(answer) => self.hear(answer),
        }
    }
}

/// Looks whether an add was applied.
pub(super) struct Look {
    scope: Arc<Scope>,
    add: Addition,
    id: String,
    unread: u32,
}

impl Look {
    pub(super) fn new(scope: Arc<Scope>, add: Addition) -> Look {
        Look { scope, add, id: String::new(), unread: 0 }
    }

    fn ask(&self) -> Step<Proof> {
        let member = if self.add.key.kind == AddKind::Redeem { "state" } else { "messages" };
        Step::Send(self.scope.get(&self.id, &[member]))
    }

    fn hear(&mut self, answer: Answer) -> Step<Proof> {
        let (status, body) = match answer {
            Answer::Http { status, body } => (status, body),
            Answer::Stopped { .. } => return Step::Done(Proof::Stopped),
            Answer::Exhausted { message, .. } | Answer::Lost { message } => return unknown(&format!("it cannot be looked up: {message}")),
        };
        match status {
            200..=299 => match wire::object(&body, &self.id) {
                Ok(object) => self.judge(&object),
                Err(_) if self.unread + 1 < READS => {
                    self.unread += 1;
                    self.ask()
                }
                Err(reason) => unknown(&reason),
            },
            404 => self.absent("no pass has this identifier"),
            _ => unknown(&format!("the look is refused ({status}): {}", quoted(&body))),
        }
    }

    fn judge(&self, object: &Map<String, Json>) -> Step<Proof> {
        if self.add.key.kind == AddKind::Redeem {
            // A state is set, not added: what shows it has it, whoever brought it about.
            return Step::Done(if is_used(object) {
                Proof::Applied("the pass is used up".to_owned())
            } else {
                Proof::NotApplied("the pass is not used up".to_owned())
            });
        }
        if has_message(object, &self.add) {
            return Step::Done(Proof::Applied("the pass has the message with this key".to_owned()));
        }
        self.absent(&format!("none of the pass's {} messages has this key", messages(object).len()))
    }

    /// That nothing is there proves something only where the configuration says so.
    fn absent(&self, words: &str) -> Step<Proof> {
        if self.scope.read_back == ReadBack::Events {
            Step::Done(Proof::NotApplied(words.to_owned()))
        } else {
            unknown(&format!("{words}, which proves nothing while read_back is \"presence\""))
        }
    }
}

impl Conversation<Proof> for Look {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        match answer {
            None => match self.scope.ids.object(&self.add.target) {
                Ok(id) => {
                    self.id = id;
                    self.ask()
                }
                Err(fault) => unknown(&fault.message),
            },
            Some(answer) => self.hear(answer),
        }
    }
}

fn messages(object: &Map<String, Json>) -> &[Json] {
    object.get("messages").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn has_message(object: &Map<String, Json>, add: &Addition) -> bool {
    let key = add.key.to_string();
    messages(object).iter().any(|message| message.get("id").and_then(Json::as_str) == Some(&key))
}

fn is_used(object: &Map<String, Json>) -> bool {
    object.get("state").and_then(Json::as_str).is_some_and(|state| is_word(state, USED))
}

fn lost(message: &str) -> Step<AddEnd> {
    Step::Done(AddEnd::Lost { message: clean(message) })
}

fn already(message: &str) -> Step<AddEnd> {
    Step::Done(AddEnd::Already { message: message.to_owned() })
}

fn refused(outcome: Outcome, code: Code, message: &str) -> Step<AddEnd> {
    Step::Done(AddEnd::Refused { outcome, code, message: clean(message) })
}

fn unknown(reason: &str) -> Step<Proof> {
    Step::Done(Proof::Unknown(clean(reason)))
}
