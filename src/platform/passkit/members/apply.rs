//! Carrying out a change: as few requests as it takes, and a result for each operation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::bodies::{self, Known, all_say_something};
use super::{EXPIRY, MEMBER, Members, TIER};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::message;
use crate::platform::passkit::adds::{CANNOT_ASK, too_large};
use crate::platform::passkit::fields::{self, FIELDS, POINTS};
use crate::platform::passkit::find::READS;
use crate::platform::passkit::operations::{Operations, Part, parts_of};
use crate::platform::passkit::protocol::Protocol;
use crate::platform::passkit::wire::{Pass, is_write};
use crate::platform::talk::changed;
use crate::platform::{Answer, ChangeResult, Conversation, Request, Step, strict};
use crate::row::{Change, Target, Verb};

/// Times that a change is laid over a fresh reading when the platform reports a conflict.
const CONFLICTS: u32 = 3;

/// Pauses before a pass that was just issued is looked for again: reads may lag behind writes (failure model, D22).
const LOOKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

#[derive(Clone, Debug)]
enum Call {
    /// M2 or M3, then what is left is planned again.
    Read,
    Enrol,
    /// Operations that travel in one M4.
    Update {
        operations: Vec<usize>,
        whole: bool,
    },
    Points(usize),
    Tier(usize),
    Expiry(usize),
    Delete,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact learnt on the way, and they combine freely")]
pub(super) struct Apply {
    scope: Arc<Members>,
    target: Target,
    verb: Verb,
    reference: String,
    operations: Operations,
    pass_id: Option<String>,
    known: Option<Known>,
    /// Resolve had found the pass.
    was_found: bool,
    /// The pass was read in this conversation, or took one of its operations: a 404 is not about the pass.
    proven: bool,
    /// A conflict at enrolment says that the pass exists.
    enrolled: bool,
    /// Looks at a pass that is said to exist and is not shown, so far.
    looks: usize,
    /// What to wait before the next request.
    pause: Option<Duration>,
    /// One M4 for several operations was refused: each goes by itself, to learn which one is wrong.
    separate: bool,
    /// Answers to the present call that proved nothing.
    unread: u32,
    conflicts: u32,
    todo: VecDeque<Call>,
    current: Option<Call>,
}

/// The requests of a change, at most, when nothing goes wrong.
pub(super) fn requests(change: &Change) -> u32 {
    let parts: Vec<Part> = parts_of(&MEMBER, change).collect();
    let mut operations: Vec<&str> = parts.iter().map(|part| part.field.rule().operation).collect();
    operations.sort_unstable();
    operations.dedup();
    let zero = parts.iter().any(|part| part.is_zero() && part.field.rule().balance);
    match change.verb {
        Verb::Expire | Verb::Void => 1,
        Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => {
            let update = if operations.contains(&FIELDS) { 1 + u32::from(zero) } else { operations.len() as u32 };
            update + u32::from(change.verb == Verb::Upsert)
        }
    }
}

impl Apply {
    pub(super) fn new(scope: Arc<Members>, change: &Change) -> Apply {
        let mut operations = Operations::default();
        match change.verb {
            Verb::Void => operations.add("void", None),
            Verb::Expire => operations.add("expire", None),
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => {}
        }
        for part in parts_of(&MEMBER, change) {
            let operation = part.field.rule().operation;
            match change.verb {
                Verb::Expire if operation == EXPIRY && part.change.value.is_some() => operations.add("expire", Some(part)),
                // A pass that ends or goes changes nothing else.
                Verb::Expire | Verb::Void => {}
                _ => operations.add(operation, Some(part)),
            }
        }
        let found = change.found.as_ref();
        let protocol: &dyn Protocol = &*scope;
        let current = found.filter(|found| !protocol.is_outdated(&change.target, found));
        let mut apply = Apply {
            known: current.map(|found| Known::from_state(&found.state)),
            target: change.target.clone(),
            verb: change.verb,
            reference: change.reference.clone(),
            operations,
            pass_id: found.map(|found| found.pass_id.clone()),
            was_found: found.is_some(),
            proven: false,
            enrolled: false,
            looks: 0,
            pause: None,
            separate: false,
            unread: 0,
            conflicts: 0,
            todo: VecDeque::new(),
            current: None,
            scope,
        };
        apply.begin();
        apply
    }

    fn begin(&mut self) {
        let needs_state = self.operations.has(FIELDS);
        match self.verb {
            Verb::Void => self.todo.push_back(Call::Delete),
            Verb::Expire => self.todo.push_back(Call::Expiry(0)),
            // Resolve looked, because the state was needed, and found nothing.
            Verb::Upsert if !self.was_found && (needs_state || self.operations.is_empty()) => self.absent(),
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => self.plan(),
        }
    }

    /// Plans what has not ended: one M4 where one is needed anyway, a call of its own for each operation otherwise.
    fn plan(&mut self) {
        self.todo.clear();
        let open = |name: &str| self.operations.open(name);
        let (points, tier, expiry) = (open(POINTS), open(TIER), open(EXPIRY));
        let mut alone: Vec<Call> = Vec::new();
        if let Some(update) = open(FIELDS) {
            let Some(known) = &self.known else {
                self.todo.push_back(Call::Read);
                return;
            };
            let whole = known.needs_whole(&self.operations.parts(&[update]));
            if whole && known.whole.is_none() {
                self.todo.push_back(Call::Read);
                return;
            }
            let mut together = vec![update];
            if self.separate {
                alone.extend(points.map(Call::Points).into_iter().chain(tier.map(Call::Tier)).chain(expiry.map(Call::Expiry)));
            } else {
                together.extend(tier.into_iter().chain(expiry));
                match points {
                    Some(points) if whole || all_say_something(&self.operations.parts(&[points])) => together.push(points),
                    points => alone.extend(points.map(Call::Points)),
                }
            }
            self.todo.push_back(Call::Update { operations: together, whole });
        } else {
            alone.extend(points.map(Call::Points).into_iter().chain(tier.map(Call::Tier)).chain(expiry.map(Call::Expiry)));
        }
        self.todo.extend(alone);
    }

    /// The pass does not exist: issue it, or say so.
    fn absent(&mut self) {
        let untouched = self.operations.are_untouched();
        if self.verb == Verb::Upsert && matches!(self.target, Target::External(_)) && untouched && !self.enrolled {
            self.todo = VecDeque::from([Call::Enrol]);
        } else if let (true, Some(pause)) = (self.enrolled, LOOKS.get(self.looks)) {
            self.looks += 1;
            self.pause = Some(*pause);
            self.todo = VecDeque::from([Call::Read]);
        } else if self.enrolled {
            self.end_all(
                Outcome::Refused,
                Some(Code::Conflict),
                "PassKit says that the pass exists when it is issued, and that it does not when it is read",
            );
        } else if self.was_found {
            self.end_all(Outcome::Unresolved, Some(Code::PassGone), "the pass was there a moment ago and is not any more");
        } else {
            self.end_all(Outcome::Unresolved, Some(Code::PassNotFound), "");
        }
    }

    /// Ends every operation that has not ended; nothing more is sent.
    fn end_all(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        self.todo.clear();
        self.operations.end_all(outcome, code, message);
    }

    fn end_create(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        self.todo.clear();
        self.operations.end_create(outcome, code, message);
    }

    fn operations_of(&self, call: &Call) -> Vec<usize> {
        match call {
            Call::Update { operations, .. } => operations.clone(),
            Call::Points(index) | Call::Tier(index) | Call::Expiry(index) => vec![*index],
            Call::Read | Call::Enrol | Call::Delete => self.operations.all_open(),
        }
    }

    fn request(&self, call: &Call) -> Option<Request> {
        let (scope, target, id) = (&*self.scope, &self.target, self.pass_id.as_deref());
        let parts = self.operations.parts(&self.operations_of(call));
        let unknown = Known::default();
        let known = self.known.as_ref().unwrap_or(&unknown);
        Some(match call {
            Call::Read => match (target, id) {
                (Target::Pass(_), Some(id)) => scope.get(&Target::Pass(id.to_owned())),
                _ => scope.get(target),
            },
            Call::Enrol => return bodies::enrol(scope, target.text(), &parts),
            Call::Update { whole: true, .. } => bodies::replace(scope, target, id, known, &parts),
            Call::Update { whole: false, .. } => bodies::patch(scope, target, id, known, &parts),
            Call::Points(_) => bodies::points(scope, target, id, &parts, &self.reference),
            Call::Tier(_) => bodies::tier(scope, target, id, &parts, &self.reference),
            Call::Expiry(_) => {
                let at = parts.iter().rev().find_map(|part| part.change.value.as_ref()).map(fields::instant);
                bodies::expiry(scope, target, id, &at.unwrap_or_else(|| chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()))
            }
            Call::Delete => bodies::delete(scope, target, id),
        })
    }

    fn hear(&mut self, call: &Call, answer: Answer) {
        let (status, body) = match changed(answer) {
            Ok(answer) => answer,
            Err((outcome, code, words)) => return self.end_all(outcome, code, &words),
        };
        match status {
            200..=299 => match self.read(call, &body) {
                Ok(()) => self.unread = 0,
                Err(reason) => {
                    self.unread += 1;
                    if self.unread < READS {
                        self.todo.push_front(call.clone());
                    } else {
                        self.unread = 0;
                        self.refuse(call, Code::AnswerUnreadable, &reason);
                    }
                }
            },
            404 => self.not_found(call, &body),
            410 if !matches!(call, Call::Enrol | Call::Delete) => self.end_all(Outcome::Unresolved, Some(Code::PassGone), &message(&body)),
            410 if matches!(call, Call::Delete) => self.end_all(Outcome::Applied, None, ""),
            409 if matches!(call, Call::Enrol) => {
                self.enrolled = true;
                self.known = None;
                self.todo = VecDeque::from([Call::Read]);
            }
            409 | 412 | 428 => {
                self.conflicts += 1;
                if self.conflicts < CONFLICTS && !matches!(call, Call::Read) {
                    self.known = None;
                    self.todo.push_front(call.clone());
                    if matches!(call, Call::Update { .. }) {
                        self.todo = VecDeque::from([Call::Read]);
                    }
                } else {
                    self.refuse(call, Code::Conflict, &message(&body));
                }
            }
            413 => self.refuse(call, Code::ValueTooLarge, &message(&body)),
            _ => self.refuse(call, Code::UpdateRejected, &message(&body)),
        }
    }

    /// Takes a success apart. The error says why it proves nothing.
    fn read(&mut self, call: &Call, body: &Bytes) -> Result<(), String> {
        if matches!(call, Call::Read) {
            let member = Pass::parse(body).ok_or("the answer is not a member")?;
            let protocol: &dyn Protocol = &*self.scope;
            if !protocol.is_meant(&self.target, &member) {
                return Err("the answer is another member than the one asked for".to_owned());
            }
            if self.scope.is_live(&member) {
                self.pass_id = Some(member.id().to_owned());
                self.known = Some(Known::from_member(&member));
                self.proven = true;
                self.plan();
            } else {
                self.absent();
            }
            return Ok(());
        }
        let Some(answer) = strict::object(body) else {
            return Err("the answer is not a JSON object".to_owned());
        };
        if !matches!(call, Call::Delete) {
            let id = self.echoed(call, &answer)?;
            self.pass_id = self.pass_id.take().or(id);
        }
        if matches!(call, Call::Enrol) {
            self.end_create(Outcome::Created, None, "");
            return Ok(());
        }
        self.proven = true;
        for index in self.operations_of(call) {
            self.operations.end(index, Outcome::Applied, None, "");
        }
        Ok(())
    }

    /// The pass that an answer names, checked against the one that was meant.
    fn echoed(&self, call: &Call, answer: &Map<String, Json>) -> Result<Option<String>, String> {
        let text = |value: Option<&Json>| value.and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        let id = match call {
            // The `id` of an event is the event's own.
            Call::Tier(_) => text(answer.get("memberId")).or_else(|| text(answer.get("member").and_then(|member| member.get("id")))),
            _ => Some(text(answer.get("id")).ok_or("the answer names no pass")?),
        };
        let meant = self.pass_id.as_deref().or(match &self.target {
            Target::Pass(id) => Some(id),
            Target::External(_) => None,
        });
        if let (Some(id), Some(meant)) = (&id, meant)
            && id != meant
        {
            return Err(format!("the answer is about another pass ({id})"));
        }
        if let (Call::Points(_), Target::External(external), Some(echoed)) = (call, &self.target, text(answer.get("externalId")))
            && echoed != *external
        {
            return Err("the answer is about another pass".to_owned());
        }
        Ok(id)
    }

    fn not_found(&mut self, call: &Call, body: &Bytes) {
        match call {
            Call::Delete => self.end_all(Outcome::Applied, None, ""),
            // The program or the tier: the pass is what we were about to make.
            Call::Enrol => self.refuse(call, Code::UpdateRejected, &message(body)),
            Call::Read => self.absent(),
            // The pass is there, so what the platform misses is the tier, or something else that the change names.
            _ if self.proven => self.refuse(call, Code::UpdateRejected, &message(body)),
            // It may be the pass or the tier; a look tells.
            Call::Tier(_) => self.todo = VecDeque::from([Call::Read]),
            // What resolve found may be stale, under another ID by now.
            _ if self.was_found && matches!(self.verb, Verb::Update | Verb::Upsert) => {
                self.known = None;
                if matches!(self.target, Target::External(_)) {
                    self.pass_id = None;
                }
                self.todo = VecDeque::from([Call::Read]);
            }
            _ => self.absent(),
        }
    }

    /// The platform, or we, will not have this call; the operations that travel otherwise are still tried.
    fn refuse(&mut self, call: &Call, code: Code, message: &str) {
        match call {
            Call::Enrol => self.end_create(Outcome::Refused, Some(code), message),
            Call::Read | Call::Delete => self.end_all(Outcome::Refused, Some(code), message),
            Call::Update { operations, .. }
                if operations.len() > 1 && !self.separate && !matches!(code, Code::AnswerUnreadable | Code::Conflict) =>
            {
                self.separate = true;
                self.plan();
            }
            _ => {
                for index in self.operations_of(call) {
                    self.operations.end(index, Outcome::Refused, Some(code), message);
                }
            }
        }
    }

    /// What was read of the pass before this moment must not be written back.
    fn note_write(&self) {
        let id = self.pass_id.as_deref().unwrap_or_default();
        self.scope.writes.note(&[self.target.text(), id]);
    }
}

impl Conversation<ChangeResult> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        if let (Some(call), Some(answer)) = (self.current.take(), answer) {
            if !matches!(call, Call::Read) {
                self.note_write();
            }
            self.hear(&call, answer);
        }
        while let Some(call) = self.todo.pop_front() {
            if matches!(call, Call::Read) && !self.scope.can_get(&self.target) {
                self.refuse(&call, Code::MappingError, CANNOT_ASK);
                continue;
            }
            match self.request(&call) {
                None => self.refuse(
                    &call,
                    Code::MappingError,
                    "the feed maps no tierId and the platform's settings name no tier, so no pass can be issued",
                ),
                Some(request) => {
                    if let Some(words) = too_large(&request) {
                        self.refuse(&call, Code::ValueTooLarge, &words);
                        continue;
                    }
                    if is_write(&request) {
                        self.note_write();
                    }
                    self.current = Some(call);
                    return match self.pause.take() {
                        None => Step::Send(request),
                        Some(pause) => Step::Later(pause, request),
                    };
                }
            }
        }
        Step::Done(self.operations.result(self.pass_id.take()))
    }
}
