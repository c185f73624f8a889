//! Carrying out one change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::fields::FIELDS;
use super::find::{Looking, PASS, READS};
use super::template::Words;
use super::words::{Placed, hex, of_pass, set_key};
use crate::config::meant::http::{Call, Class, Http};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::clean;
use crate::platform::talk::{End, changed};
use crate::platform::{Answer, ChangeResult, Conversation, Finding, OperationResult, Request, Step, strict};
use crate::row::{Change, Target, Verb};

/// Times that a change is tried anew when the platform reports a conflict (failure model, D12).
const CONFLICTS: usize = 3;

/// Pauses before that: what is in the way may be a request of the same pass that is still being carried out.
const PAUSES: [Duration; CONFLICTS] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// What is asked of the platform next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// The pass as it stands, before it is written.
    Read,
    Update,
    Create,
    Expire,
    Void,
}

/// Everything that belongs to one change, and how it ends.
pub(super) struct Work {
    pub http: Arc<Http>,
    pub change: Change,
    /// The pass as it was found, where a request needs it.
    pub found: Option<Json>,
    pub pass_id: Option<String>,
}

impl Work {
    pub(super) fn new(http: Arc<Http>, mut change: Change) -> Work {
        let (mut found, mut pass_id) = (None, None);
        if let Some(was) = &mut change.found {
            pass_id = Some(was.pass_id.clone());
            found = Some(was.state[PASS].take()).filter(|pass| !pass.is_null());
        }
        Work { http, change, found, pass_id }
    }

    /// The words of a request of this change. Its key stands for all that it says, so that it is the same only for the same.
    pub(super) fn words(&self) -> Words {
        let mut words = of_pass(&self.change.target, self.pass_id.as_deref());
        words.set("reference", &self.change.reference);
        words.set("now", &chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string());
        if let Some(found) = &self.found {
            words.set_json("found", found);
        }
        let mut hasher = Sha256::new();
        for part in [&*self.change.reference, self.change.verb.as_str(), self.change.target.text()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        for Placed { name, json } in self.values() {
            hasher.update(format!("{name}={json}\n"));
        }
        hasher.update(self.found.as_ref().map(ToString::to_string).unwrap_or_default());
        set_key(&mut words, &format!("s{}", hex(&hasher.finalize()[..16])));
        words
    }

    /// The changed fields as they stand in a body.
    pub(super) fn values(&self) -> Vec<Placed<'_>> {
        let json = |name: &str, value: Option<&_>| self.http.field_named(name).map_or(Json::Null, |(field, _)| field.json(value));
        self.change.fields.iter().map(|field| Placed { name: &field.name, json: json(&field.name, field.value.as_ref()) }).collect()
    }

    fn request(&self, call: &Call, under: Option<Json>, values: &[Placed<'_>]) -> Result<Request, String> {
        let words = self.words();
        let body = self.http.body(call, &words, under, values)?;
        self.http.request(&call.line, &call.headers, body.as_ref(), &words)
    }

    /// The result of a change that was one operation.
    pub(super) fn result(self, operation: &'static str, (outcome, code, message): End) -> ChangeResult {
        let fields = self.change.fields.iter().map(|field| field.field).collect();
        let operations = vec![OperationResult { operation, outcome, code, message: clean(&message), fields }];
        ChangeResult { operations, pass_id: self.pass_id }
    }

    /// The operation that a change of this verb is.
    pub(super) fn operation(&self) -> &'static str {
        match self.change.verb {
            Verb::Void => "void",
            Verb::Expire => "expire",
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => FIELDS,
        }
    }
}

/// How a no of the platform ends an operation.
pub(super) fn refusal(class: Class, message: String) -> End {
    let code = match class {
        Class::TooLarge => Code::ValueTooLarge,
        Class::Conflict => Code::Conflict,
        Class::NotFound => return (Outcome::Unresolved, Some(Code::PassNotFound), message),
        Class::Gone => return (Outcome::Unresolved, Some(Code::PassGone), message),
        Class::Retry | Class::SlowDown => Code::RetriesExhausted,
        Class::Applied | Class::Refused | Class::Unlisted => Code::UpdateRejected,
    };
    (Outcome::Refused, Some(code), message)
}

pub(super) struct Apply {
    work: Option<Work>,
    todo: VecDeque<Ask>,
    current: Option<Ask>,
    pause: Option<Duration>,
    conflicts: usize,
    /// Answers to the present request that proved nothing.
    unread: u32,
    /// The platform said that the pass it was to issue is there.
    exists: bool,
    /// The pass was read again in this conversation.
    read: bool,
    /// How far that has come.
    looking: Option<Looking>,
}

impl Apply {
    pub(super) fn new(http: Arc<Http>, change: Change) -> Apply {
        let looked = http.needs_find(&change);
        let work = Work::new(http, change);
        let first = match work.change.verb {
            Verb::Void => Ask::Void,
            Verb::Expire => Ask::Expire,
            // Resolve looked and found nothing, or there is nothing but the pass to see to.
            Verb::Upsert if work.pass_id.is_none() && work.http.create.is_some() && (looked || work.change.fields.is_empty()) => {
                Ask::Create
            }
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => Ask::Update,
        };
        let todo = VecDeque::from([first]);
        Apply { work: Some(work), todo, current: None, pause: None, conflicts: 0, unread: 0, exists: false, read: false, looking: None }
    }

    fn done(&mut self, operation: Option<&'static str>, end: End) -> Step<ChangeResult> {
        match self.work.take() {
            Some(work) => {
                let operation = operation.unwrap_or_else(|| work.operation());
                Step::Done(work.result(operation, end))
            }
            None => Step::Done(ChangeResult::default()),
        }
    }

    fn request(work: &Work, ask: Ask, looking: &mut Option<Looking>) -> Result<Request, String> {
        let http = &work.http;
        let missing = |what: &str| format!("the platform's settings do not say how to {what} a pass");
        match ask {
            Ask::Read => {
                let known = looking.take().map_or_else(|| Looking::new(http, &work.change.target), Ok)?;
                Ok(looking.insert(known).request())
            }
            Ask::Update => {
                let update = http.update.as_ref().ok_or_else(|| missing("change"))?;
                let under = match (&update.whole, &work.found) {
                    (None, _) => None,
                    (Some(place), Some(found)) => {
                        let mut body = Json::Null;
                        place.set(&mut body, found.clone());
                        Some(body)
                    }
                    (Some(_), None) => {
                        return Err("the pass as it stands is not known, and this platform takes it only as a whole".to_owned());
                    }
                };
                work.request(&update.call, under, &work.values())
            }
            Ask::Create => {
                let create = http.create.as_ref().ok_or_else(|| missing("issue"))?;
                work.request(&create.call, None, &work.values())
            }
            Ask::Expire => {
                let call = http.expire.as_ref().ok_or_else(|| missing("expire"))?;
                // A pass that ends changes nothing else, but for what the call itself has a place for.
                let mut values = work.values();
                values.retain(|value| call.places.iter().any(|(name, _)| name == value.name));
                work.request(call, None, &values)
            }
            Ask::Void => work.request(http.void.as_ref().ok_or_else(|| missing("void"))?, None, &[]),
        }
    }

    fn hear(&mut self, ask: Ask, answer: Answer) -> Option<Step<ChangeResult>> {
        let (status, body) = match changed(answer) {
            Ok(answer) => answer,
            Err(end) => return Some(self.done(None, end)),
        };
        let work = self.work.as_mut()?;
        if ask == Ask::Read {
            let Some(found) = self.looking.as_mut()?.hear(status, &body) else {
                self.todo.push_front(Ask::Read);
                return None;
            };
            self.looking = None;
            return self.hear_found(found);
        }
        let json = if work.http.answers.read_bodies() { strict::read(&body) } else { None };
        let judged = work.http.answers.judge(status, json.as_ref());
        let words = || work.http.answers.message(&body);
        match (judged.class, ask) {
            (Class::Applied, _) => {
                let told = match ask {
                    Ask::Update => work.http.update.as_ref().map(|update| &update.call),
                    Ask::Create => work.http.create.as_ref().map(|create| &create.call),
                    Ask::Expire => work.http.expire.as_ref(),
                    Ask::Void => work.http.void.as_ref(),
                    Ask::Read => None,
                };
                let known = if ask == Ask::Create { None } else { work.pass_id.as_deref() };
                let pass = match told {
                    _ if judged.silent => Err("the answer does not say whether it was applied".to_owned()),
                    None => Ok(None),
                    Some(call) => call.told.pass(status, &body, &work.change.target, known),
                };
                match pass {
                    Ok(id) => {
                        work.pass_id = id.or(work.pass_id.take());
                        let created = ask == Ask::Create || (status == 201 && work.change.verb == Verb::Upsert);
                        let outcome = if created { Outcome::Created } else { Outcome::Applied };
                        Some(self.done((ask == Ask::Create).then_some("create"), (outcome, None, String::new())))
                    }
                    Err(reason) => {
                        self.unread += 1;
                        if self.unread < READS {
                            self.todo.push_front(ask);
                            return None;
                        }
                        Some(self.done(None, (Outcome::Refused, Some(Code::AnswerUnreadable), reason)))
                    }
                }
            }
            // What was to go is not there.
            (Class::NotFound | Class::Gone, Ask::Void) => Some(self.done(None, (Outcome::Applied, None, String::new()))),
            (Class::NotFound, Ask::Update) => {
                let was_found = work.change.found.is_some();
                let may_create = work.change.verb == Verb::Upsert && work.http.create.is_some() && !self.exists;
                let create = may_create && matches!(work.change.target, Target::External(_));
                if was_found && !self.read && work.http.find.is_some() {
                    // What resolve found may be stale, under another identifier by now.
                    self.todo.push_front(Ask::Read);
                    return None;
                }
                if create {
                    self.todo.push_front(Ask::Create);
                    return None;
                }
                let end = if was_found {
                    (Outcome::Unresolved, Some(Code::PassGone), "the pass was there a moment ago and is not any more".to_owned())
                } else {
                    (Outcome::Unresolved, Some(Code::PassNotFound), words())
                };
                Some(self.done(None, end))
            }
            // What is missing is not the pass, which is about to be made.
            (Class::NotFound | Class::Gone, Ask::Create) => {
                let end = (Outcome::Refused, Some(Code::UpdateRejected), words());
                Some(self.done(Some("create"), end))
            }
            (Class::Conflict, _) => {
                let message = words();
                self.conflict(ask, message)
            }
            (class, _) => {
                let end = refusal(class, words());
                Some(self.done((ask == Ask::Create).then_some("create"), end))
            }
        }
    }

    /// Somebody else changed or issued the pass, or a request about it is still under way.
    fn conflict(&mut self, ask: Ask, message: String) -> Option<Step<ChangeResult>> {
        let (updates, finds) = {
            let work = self.work.as_ref()?;
            (!work.change.fields.is_empty(), work.http.find.is_some())
        };
        if ask == Ask::Create && self.work.as_ref()?.change.verb == Verb::Upsert && !self.exists {
            self.exists = true;
            if !updates {
                return Some(self.done(Some("create"), (Outcome::Unchanged, None, "the pass is there already".to_owned())));
            }
            let again = if finds { Ask::Read } else { Ask::Update };
            self.todo.push_front(again);
            return None;
        }
        let Some(pause) = PAUSES.get(self.conflicts) else {
            return Some(self.done(None, (Outcome::Refused, Some(Code::Conflict), message)));
        };
        self.conflicts += 1;
        self.pause = Some(*pause);
        self.todo.push_front(if ask == Ask::Update && finds { Ask::Read } else { ask });
        None
    }

    fn hear_found(&mut self, found: Finding) -> Option<Step<ChangeResult>> {
        let work = self.work.as_mut()?;
        let end = match found {
            Finding::Found(mut found) => {
                self.read = true;
                work.pass_id = Some(found.pass_id);
                work.found = Some(found.state[PASS].take()).filter(|_| work.http.needs_state());
                self.unread = 0;
                self.todo.push_front(Ask::Update);
                return None;
            }
            Finding::Absent if work.change.verb == Verb::Upsert && work.http.create.is_some() && !self.exists => {
                self.todo.push_front(Ask::Create);
                return None;
            }
            Finding::Absent if self.exists => {
                // What was written may not be visible yet (failure model, D22).
                if let Some(pause) = PAUSES.get(self.conflicts) {
                    self.conflicts += 1;
                    self.pause = Some(*pause);
                    self.todo.push_front(Ask::Read);
                    return None;
                }
                let message = "the platform says that the pass exists when it is issued, and that it does not when it is read";
                (Outcome::Refused, Some(Code::Conflict), message.to_owned())
            }
            Finding::Absent if work.change.found.is_some() => {
                (Outcome::Unresolved, Some(Code::PassGone), "the pass was there a moment ago and is not any more".to_owned())
            }
            Finding::Absent => (Outcome::Unresolved, Some(Code::PassNotFound), String::new()),
            Finding::Several(passes) => {
                let message = format!("{} passes carry this identifier: {}", passes.len(), passes.join(", "));
                (Outcome::Unresolved, Some(Code::PassAmbiguous), message)
            }
            Finding::Failed { code, message } => (Outcome::Refused, Some(code), message),
            Finding::NotAttempted => (Outcome::NotAttempted, Some(Code::RunStopped), String::new()),
        };
        Some(self.done(None, end))
    }
}

impl Conversation<ChangeResult> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        if let (Some(ask), Some(answer)) = (self.current.take(), answer)
            && let Some(step) = self.hear(ask, answer)
        {
            return step;
        }
        let (Some(ask), Some(work)) = (self.todo.pop_front(), &self.work) else { return Step::Done(ChangeResult::default()) };
        // An upsert of nothing but the pass itself, which is there.
        if ask == Ask::Update && work.change.fields.is_empty() && work.change.verb == Verb::Upsert && work.pass_id.is_some() {
            return self.done(Some("create"), (Outcome::Unchanged, None, String::new()));
        }
        match Apply::request(work, ask, &mut self.looking) {
            Ok(request) => {
                self.current = Some(ask);
                match self.pause.take() {
                    None => Step::Send(request),
                    Some(pause) => Step::Later(pause, request),
                }
            }
            Err(message) => self.done(None, (Outcome::Refused, Some(Code::MappingError), message)),
        }
    }
}
