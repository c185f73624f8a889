//! Carrying out a change: one request where nothing stands in its way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::{Document, Documents, ISSUE, OPT_OUT, needs_state};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::message;
use crate::platform::passkit::adds::{CANNOT_ASK, too_large};
use crate::platform::passkit::fields::{FIELDS, Field};
use crate::platform::passkit::find::READS;
use crate::platform::passkit::operations::{Operations, Part, parts_of};
use crate::platform::passkit::overlay;
use crate::platform::passkit::protocol::Protocol;
use crate::platform::passkit::wire::{Pass, object, text};
use crate::platform::talk::changed;
use crate::platform::{Answer, ChangeResult, Conversation, Request, Step, strict};
use crate::row::{Change, Target, Verb};

/// Times that a change is laid over a fresh reading when the platform reports a conflict.
const CONFLICTS: u32 = 3;

/// Pauses before a pass that was just issued is looked for again: reads may lag behind writes (failure model, D22).
const LOOKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Create,
    /// What could not travel with the issue.
    Finish,
    Update,
    Delete,
}

pub(super) struct Apply<D> {
    scope: Arc<Documents<D>>,
    target: Target,
    verb: Verb,
    operations: Operations,
    pass_id: Option<String>,
    /// What is known of the pass; none while that is nothing, or no longer true.
    known: Option<Map<String, Json>>,
    /// Resolve had found the pass.
    was_found: bool,
    /// The pass was read in this conversation: a 404 is not about the pass.
    proven: bool,
    /// A conflict at issuing says that the pass exists.
    exists: bool,
    /// What follows once the pass is issued.
    rest: Map<String, Json>,
    /// Looks at a pass that is said to exist and is not shown, so far.
    looks: usize,
    /// What to wait before the next request.
    pause: Option<Duration>,
    /// Answers to the present call that proved nothing.
    unread: u32,
    conflicts: u32,
    next: Option<Call>,
    current: Option<Call>,
}

impl<D: Document> Apply<D> {
    pub(super) fn new(scope: Arc<Documents<D>>, change: &Change) -> Apply<D> {
        let mut operations = Operations::default();
        if change.verb == Verb::Void {
            operations.add("void", None);
        } else {
            parts_of(D::CATALOGUE, change).for_each(|part| operations.add(part.field.rule().operation, Some(part)));
        }
        let found = change.found.as_ref();
        let protocol: &dyn Protocol = &*scope;
        let current = found.filter(|found| !protocol.is_outdated(&change.target, found));
        let mut apply = Apply {
            known: current.map(|found| found.state.as_object().cloned().unwrap_or_default()),
            target: change.target.clone(),
            verb: change.verb,
            operations,
            pass_id: found.map(|found| found.pass_id.clone()),
            was_found: found.is_some(),
            proven: false,
            exists: false,
            rest: Map::new(),
            looks: 0,
            pause: None,
            unread: 0,
            conflicts: 0,
            next: None,
            current: None,
            scope,
        };
        match apply.verb {
            Verb::Void => apply.next = Some(Call::Delete),
            // Resolve looked, because the state was needed, and found nothing.
            Verb::Upsert if !apply.was_found && (apply.operations.is_empty() || apply.needs_state()) => apply.absent(),
            _ => apply.plan(),
        }
        apply
    }

    fn open_parts(&self) -> Vec<&Part> {
        self.operations.parts(&self.operations.all_open())
    }

    fn needs_state(&self) -> bool {
        self.open_parts().iter().any(|part| needs_state(part))
    }

    /// Plans what has not ended.
    fn plan(&mut self) {
        if self.known.is_none() && self.needs_state() {
            self.next = Some(Call::Read);
            return;
        }
        self.settle_known();
        self.next = (!self.operations.all_open().is_empty()).then_some(Call::Update);
    }

    /// Ends what no update can say, once it is known how the pass stands.
    fn settle_known(&mut self) {
        let Some(known) = &self.known else { return };
        if let Some(issue) = self.operations.open(ISSUE) {
            let other = self.operations.parts(&[issue]).into_iter().find_map(|part| {
                let (wanted, there) = (part.json()?, text(known, part.field.key()));
                (wanted != there).then(|| format!("{} is \"{there}\", and a {} keeps what it was issued with", part.field.key(), D::NOUN))
            });
            match other {
                None => self.operations.end(issue, Outcome::Unchanged, None, ""),
                Some(words) => self.operations.end(issue, Outcome::Refused, Some(Code::UpdateRejected), &words),
            }
        }
        if let Some(switch) = self.operations.open(OPT_OUT)
            && self.operations.parts(&[switch]).iter().all(|part| part.json() == Some(Json::Bool(false)))
        {
            let on = known.get("optOut") == Some(&Json::Bool(true));
            let words = format!("PassKit ignores false in an update of a {}, so that optOut stays true", D::NOUN);
            if on {
                self.operations.end(switch, Outcome::Refused, Some(Code::UpdateRejected), &words);
            } else {
                self.operations.end(switch, Outcome::Unchanged, None, "");
            }
        }
        if let Some(fields) = self.operations.open(FIELDS) {
            let meta = object(known, "metaData");
            let parts = self.operations.parts(&[fields]);
            if !meta.is_empty() && overlay::meta(&meta, &parts).is_some_and(|left| left.is_empty()) {
                let words =
                    format!("PassKit takes an empty metaData for a missing one: the last key of a {} cannot be taken away", D::NOUN);
                self.operations.end(fields, Outcome::Refused, Some(Code::UpdateRejected), &words);
            }
        }
    }

    /// What the parts make of a pass, in one body.
    fn body(&self, known: &Map<String, Json>) -> Map<String, Json> {
        let parts = self.open_parts();
        let mut body = Map::new();
        for part in &parts {
            if let (Field::Own(entry), Some(value)) = (&part.field, part.json()) {
                body.insert(entry.name.to_owned(), value);
            }
        }
        body.extend(overlay::meta(&object(known, "metaData"), &parts).map(|meta| ("metaData".to_owned(), Json::Object(meta))));
        for (block, _) in D::CATALOGUE.blocks {
            let laid = overlay::block(block, &object(known, block), &parts);
            body.extend(laid.map(|laid| ((*block).to_owned(), Json::Object(laid))));
        }
        body
    }

    fn request(&mut self, call: Call) -> Request {
        if call == Call::Create {
            return self.creation();
        }
        let (kind, target, id) = (&self.scope.kind, &self.target, self.pass_id.as_deref());
        let nothing = Map::new();
        match call {
            Call::Read => match (target, id) {
                (Target::Pass(_), Some(id)) => kind.get(&Target::Pass(id.to_owned())),
                _ => kind.get(target),
            },
            Call::Create | Call::Finish => kind.update(target, id, self.rest.clone()),
            Call::Update => kind.update(target, id, self.body(self.known.as_ref().unwrap_or(&nothing))),
            Call::Delete => kind.delete(target, id),
        }
    }

    /// A new pass has nothing to switch off.
    fn creation(&mut self) -> Request {
        let mut fields = self.body(&Map::new());
        fields.retain(|_, value| *value != Json::Bool(false) && *value != "OFF");
        let (rest, fields) = fields.into_iter().partition(|(name, _)| D::AFTER_ISSUE.contains(&name.as_str()));
        self.rest = rest;
        self.scope.kind.create(self.target.text(), fields)
    }

    /// The pass does not exist: issue it, or say so.
    fn absent(&mut self) {
        let may_issue = self.verb == Verb::Upsert && matches!(self.target, Target::External(_)) && self.operations.are_untouched();
        if may_issue && !self.exists {
            self.next = Some(Call::Create);
        } else if let (true, Some(pause)) = (self.exists, LOOKS.get(self.looks)) {
            self.looks += 1;
            self.pause = Some(*pause);
            self.next = Some(Call::Read);
        } else if self.exists {
            let words = format!("PassKit says that the {} exists when it is issued, and that it does not when it is read", D::NOUN);
            self.end_all(Outcome::Refused, Some(Code::Conflict), &words);
        } else if self.was_found {
            self.end_all(Outcome::Unresolved, Some(Code::PassGone), "the pass was there a moment ago and is not any more");
        } else {
            self.end_all(Outcome::Unresolved, Some(Code::PassNotFound), "");
        }
    }

    fn end_all(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        self.next = None;
        self.operations.end_all(outcome, code, message);
    }

    fn refuse(&mut self, call: Call, code: Code, message: &str) {
        self.next = None;
        match call {
            Call::Create => self.operations.end_create(Outcome::Refused, Some(code), message),
            Call::Finish => {
                let names = D::AFTER_ISSUE.join(", ");
                let words = format!("the {} is issued, and {names} could not be set: {message}", D::NOUN);
                self.operations.end_create(Outcome::Refused, Some(code), &words);
            }
            Call::Read | Call::Update | Call::Delete => self.operations.end_all(Outcome::Refused, Some(code), message),
        }
    }

    fn hear(&mut self, call: Call, answer: Answer) {
        let (status, body) = match changed(answer) {
            Ok(answer) => answer,
            Err((outcome, code, words)) => return self.end_all(outcome, code, &words),
        };
        match (call, status) {
            (_, 200..=299) => match self.read(call, &body) {
                Ok(()) => self.unread = 0,
                Err(reason) => {
                    self.unread += 1;
                    if self.unread < READS {
                        self.next = Some(call);
                    } else {
                        self.refuse(call, Code::AnswerUnreadable, &reason);
                    }
                }
            },
            (Call::Delete, 404 | 410) => self.end_all(Outcome::Applied, None, ""),
            // What resolve found may be stale, under another ID by now.
            (Call::Update, 404) if self.was_found && !self.proven => {
                self.known = None;
                if matches!(self.target, Target::External(_)) {
                    self.pass_id = None;
                }
                self.next = Some(Call::Read);
            }
            (Call::Update | Call::Read, 404) if call == Call::Read || !self.proven => self.absent(),
            (Call::Read | Call::Update, 410) => self.end_all(Outcome::Unresolved, Some(Code::PassGone), &message(&body)),
            (Call::Create, 409) => {
                self.exists = true;
                self.known = None;
                self.next = Some(Call::Read);
            }
            (Call::Update | Call::Delete, 409 | 412 | 428) => {
                self.conflicts += 1;
                if self.conflicts == CONFLICTS {
                    self.refuse(call, Code::Conflict, &message(&body));
                } else {
                    self.known = None;
                    self.next = Some(if call == Call::Update { Call::Read } else { call });
                }
            }
            // A 404 that is about no pass comes here too: it is there, or is what we were about to make, and something else is missing.
            (_, 413) => self.refuse(call, Code::ValueTooLarge, &message(&body)),
            _ => self.refuse(call, Code::UpdateRejected, &message(&body)),
        }
    }

    /// Takes a success apart. The error says why it proves nothing.
    fn read(&mut self, call: Call, body: &Bytes) -> Result<(), String> {
        if call == Call::Read {
            let protocol: &dyn Protocol = &*self.scope;
            let pass = Pass::parse(body).filter(|pass| protocol.is_meant(&self.target, pass));
            let pass = pass.ok_or_else(|| format!("the answer is not the {} asked for", D::NOUN))?;
            if self.scope.kind.is_live(&pass) {
                self.pass_id = Some(pass.id().to_owned());
                self.known = self.scope.state(&pass).as_object().cloned();
                self.proven = true;
                self.plan();
            } else {
                self.absent();
            }
            return Ok(());
        }
        let answer = strict::object(body).ok_or("the answer is not a JSON object")?;
        if call == Call::Delete {
            self.end_all(Outcome::Applied, None, "");
            return Ok(());
        }
        let id = text(&answer, "id");
        if id.is_empty() {
            return Err("the answer names no pass".to_owned());
        }
        let meant = match (&self.pass_id, &self.target) {
            (Some(meant), _) | (None, Target::Pass(meant)) => Some(meant.as_str()),
            (None, Target::External(_)) => None,
        };
        if meant.is_some_and(|meant| meant != id) {
            return Err(format!("the answer is about another pass ({id})"));
        }
        self.pass_id = Some(id.to_owned());
        self.next = None;
        match call {
            Call::Create if !self.rest.is_empty() => self.next = Some(Call::Finish),
            Call::Create | Call::Finish => self.operations.end_create(Outcome::Created, None, ""),
            _ => self.operations.end_all(Outcome::Applied, None, ""),
        }
        Ok(())
    }

    /// What was read of the pass before this moment must not be written back.
    fn note_write(&self) {
        self.scope.writes.note(&[self.target.text(), self.pass_id.as_deref().unwrap_or_default()]);
    }
}

impl<D: Document> Conversation<ChangeResult> for Apply<D> {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        if let (Some(call), Some(answer)) = (self.current.take(), answer) {
            if call != Call::Read {
                self.note_write();
            }
            self.hear(call, answer);
        }
        while let Some(call) = self.next.take() {
            if call == Call::Read && !self.scope.kind.can_get(&self.target) {
                self.refuse(call, Code::MappingError, CANNOT_ASK);
                continue;
            }
            let request = self.request(call);
            if let Some(words) = too_large(&request) {
                self.refuse(call, Code::ValueTooLarge, &words);
                continue;
            }
            if call != Call::Read {
                self.note_write();
            }
            self.current = Some(call);
            return match self.pause.take() {
                None => Step::Send(request),
                Some(pause) => Step::Later(pause, request),
            };
        }
        Step::Done(self.operations.result(self.pass_id.take()))
    }
}
