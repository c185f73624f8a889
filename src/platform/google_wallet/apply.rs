//! Carrying out a change: one PATCH where that is enough (contract 4.2, 4.4 and 9).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::Scope;
use super::bodies::{self, Part};
use super::fields::{END, FIELDS, Field};
use super::wire;
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, message};
use crate::platform::talk::changed;
use crate::platform::{Answer, ChangeResult, Conversation, OperationResult, Request, Step};
use crate::row::{Change, Target, Verb};

/// Times that an answer which cannot be read is asked for.
pub(super) const READS: u32 = 3;
/// Times that a change is laid over a fresh reading when the platform reports a conflict.
const CONFLICTS: u32 = 3;
/// Pauses before an object that is said to exist is written to again: reads may lag behind writes (failure model, D22).
const LOOKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// What the change is laid over; or, for an upsert without fields, whether the object is there.
    Read,
    Patch,
    Insert,
}

pub(super) struct Apply {
    scope: Arc<Scope>,
    target: Target,
    verb: Verb,
    parts: Vec<Part>,
    /// The operation's name in reports.
    name: &'static str,
    object_id: String,
    /// What was read of it.
    object: Map<String, Json>,
    /// Alert the holder, if the change is one that does.
    alert: bool,
    /// Something that the row's person is to know of a success.
    note: &'static str,
    /// An insert said that the object exists.
    exists: bool,
    looks: usize,
    unread: u32,
    conflicts: u32,
    next: Option<Call>,
    pause: Option<Duration>,
    current: Option<Call>,
    end: Option<(Outcome, Option<Code>, String)>,
}

/// The requests of a change, at most, when nothing goes wrong.
pub(super) fn requests(scope: &Scope, change: &Change) -> u32 {
    let parts = parts_of(scope, change);
    1 + u32::from(!bodies::members_to_read(&parts).is_empty()) + u32::from(change.verb == Verb::Upsert)
}

fn parts_of(scope: &Scope, change: &Change) -> Vec<Part> {
    // Names were looked up when the configuration was read; one that is unknown now cannot be sent.
    let parse =
        |change: &crate::row::FieldChange| Field::parse(scope.class, &change.name).ok().map(|field| Part { field, change: change.clone() });
    let parts = change.fields.iter().filter_map(parse);
    match change.verb {
        Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => parts.collect(),
        // A pass that ends or goes changes nothing else.
        Verb::Expire => parts.filter(|part| part.field.name() == END && part.change.value.is_some()).collect(),
        Verb::Void => Vec::new(),
    }
}

impl Apply {
    pub(super) fn new(scope: Arc<Scope>, change: &Change) -> Apply {
        let parts = parts_of(&scope, change);
        let object_id = scope.ids.object(&change.target);
        let end = object_id.as_ref().err().map(|fault| (Outcome::Refused, Some(fault.code), fault.message.clone()));
        let asks = change.verb == Verb::Upsert && parts.is_empty();
        let reads = asks || !bodies::members_to_read(&parts).is_empty();
        Apply {
            alert: bodies::alerts(&scope, &parts),
            scope,
            target: change.target.clone(),
            verb: change.verb,
            parts,
            name: match change.verb {
                Verb::Expire => "expire",
                Verb::Void => "void",
                _ => FIELDS,
            },
            object_id: object_id.unwrap_or_default(),
            object: Map::new(),
            note: "",
            exists: false,
            looks: 0,
            unread: 0,
            conflicts: 0,
            next: Some(if reads { Call::Read } else { Call::Patch }),
            pause: None,
            current: None,
            end,
        }
    }

    /// An upsert that asks for nothing but a pass that is there.
    fn asks_only(&self) -> bool {
        self.verb == Verb::Upsert && self.parts.is_empty()
    }

    /// The request of a call; none when the change ended without it.
    fn request(&mut self, call: Call) -> Option<Request> {
        let scope = self.scope.clone();
        match call {
            Call::Read => Some(scope.get(&self.object_id, &bodies::members_to_read(&self.parts))),
            Call::Insert => match bodies::insert(&scope, &self.object_id, &self.parts) {
                Ok(body) => Some(scope.insert(body)),
                Err(words) => {
                    self.finish(Outcome::Refused, Some(Code::MappingError), &words);
                    None
                }
            },
            Call::Patch => {
                let mut body = match self.verb {
                    Verb::Void => state(scope.void_state),
                    Verb::Expire if self.parts.is_empty() => state("EXPIRED"),
                    _ => bodies::patch(&scope, &self.parts, &self.object),
                };
                if body.is_empty() {
                    // Only arrays were wanted, and they were read a moment ago.
                    self.finish(Outcome::Applied, None, "the pass shows it already");
                    return None;
                }
                if self.alert {
                    body.insert("notifyPreference".to_owned(), "NOTIFY_ON_UPDATE".into());
                    // A repetition might alert twice (contract 11): it goes without.
                    return Some(scope.patch(&self.object_id, body).once());
                }
                Some(scope.patch(&self.object_id, body))
            }
        }
    }

    fn hear(&mut self, call: Call, answer: Answer) {
        if self.alert && matches!(answer, Answer::Lost { .. }) {
            self.alert = false;
            self.note = "an answer was lost, so that the holder was alerted of this change once or not at all";
            self.next = Some(call);
            return;
        }
        let (status, body) = match changed(answer) {
            Ok(answer) => answer,
            Err((outcome, code, words)) => return self.finish(outcome, code, &words),
        };
        match status {
            200..=299 => self.read(call, &body),
            404 => self.not_found(call, &body),
            409 if call == Call::Insert && !self.exists => {
                self.exists = true;
                self.next =
                    Some(if self.asks_only() || !bodies::members_to_read(&self.parts).is_empty() { Call::Read } else { Call::Patch });
            }
            409 | 412 | 428 => {
                self.conflicts += 1;
                if self.conflicts < CONFLICTS {
                    self.next = Some(if bodies::members_to_read(&self.parts).is_empty() { call } else { Call::Read });
                } else {
                    self.finish(Outcome::Refused, Some(Code::Conflict), &message(&body));
                }
            }
            // Beyond the alerts of the day: what it says is still wanted on the pass (contract 7).
            403 if self.alert && wire::reason(&body).as_deref() == Some(super::QUOTA) && self.scope.text_over_quota => {
                self.alert = false;
                self.note = "the pass had its alerts of the day: it was changed without one";
                self.next = Some(call);
            }
            413 => self.finish(Outcome::Refused, Some(Code::ValueTooLarge), &message(&body)),
            _ => self.finish(Outcome::Refused, Some(Code::UpdateRejected), &message(&body)),
        }
    }

    fn read(&mut self, call: Call, body: &Bytes) {
        match (wire::object(body, &self.object_id), call) {
            (Err(reason), _) => {
                self.unread += 1;
                if self.unread < READS {
                    if call == Call::Patch && std::mem::take(&mut self.alert) {
                        self.note = "an answer could not be read, so that the change was sent again without an alert";
                    }
                    self.next = Some(call);
                } else {
                    self.finish(Outcome::Refused, Some(Code::AnswerUnreadable), &reason);
                }
            }
            (Ok(_), Call::Read) if self.asks_only() => {
                self.name = "create";
                self.finish(Outcome::Unchanged, None, "");
            }
            (Ok(object), Call::Read) => {
                self.object = object;
                self.next = Some(Call::Patch);
            }
            (Ok(_), Call::Patch) => self.finish(Outcome::Applied, None, self.note),
            (Ok(_), Call::Insert) => {
                self.name = "create";
                self.finish(Outcome::Created, None, "");
            }
        }
    }

    fn not_found(&mut self, call: Call, body: &Bytes) {
        match call {
            // The class: the object is what we were about to make.
            Call::Insert => self.finish(Outcome::Refused, Some(Code::UpdateRejected), &message(body)),
            Call::Read | Call::Patch if self.exists => {
                if let Some(pause) = LOOKS.get(self.looks) {
                    self.looks += 1;
                    self.pause = Some(*pause);
                    self.next = Some(call);
                } else {
                    let words = "Google says that the pass exists when it is issued, and that it does not when it is changed";
                    self.finish(Outcome::Refused, Some(Code::Conflict), words);
                }
            }
            Call::Read | Call::Patch if self.verb == Verb::Upsert && matches!(self.target, Target::External(_)) => {
                self.next = Some(Call::Insert);
            }
            Call::Read | Call::Patch => self.finish(Outcome::Unresolved, Some(Code::PassNotFound), ""),
        }
    }

    fn finish(&mut self, outcome: Outcome, code: Option<Code>, words: &str) {
        self.next = None;
        self.end.get_or_insert_with(|| (outcome, code, clean(words)));
    }

    fn result(&mut self) -> ChangeResult {
        let (outcome, code, message) = self.end.take().unwrap_or((Outcome::NotAttempted, Some(Code::RunStopped), String::new()));
        let known = matches!(outcome, Outcome::Applied | Outcome::Created | Outcome::Unchanged);
        let fields = self.parts.iter().map(|part| part.change.field).collect();
        let operation = if self.asks_only() { "create" } else { self.name };
        ChangeResult {
            operations: vec![OperationResult { operation, outcome, code, message, fields }],
            pass_id: known.then(|| self.object_id.clone()),
        }
    }
}

fn state(state: &str) -> Map<String, Json> {
    let mut body = Map::new();
    body.insert(String::from("state"), state.into());
    body
}

impl Conversation<ChangeResult> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        if let (Some(call), Some(answer)) = (self.current.take(), answer) {
            self.hear(call, answer);
        }
        while self.end.is_none()
            && let Some(call) = self.next.take()
        {
            if let Some(request) = self.request(call) {
                self.current = Some(call);
                return match self.pause.take() {
                    None => Step::Send(request),
                    Some(pause) => Step::Later(pause, request),
                };
            }
        }
        Step::Done(self.result())
    }
}
