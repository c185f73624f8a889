//! Carrying out a change: as few requests as it takes, and a result for each operation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::bodies::{self, Known, Part};
use super::fields::{self, EXPIRY, FIELDS, Field, POINTS, TIER};
use super::find::READS;
use super::wire::{BODY_BYTES_MAX, Member, is_segment};
use super::{Scope, bodies::all_say_something};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{WEB_PAGE, clean, message};
use crate::platform::strict;
use crate::platform::{Answer, ChangeResult, Conversation, OperationResult, Request, Step};
use crate::row::{Change, Target, Verb};

/// Times that a change is laid over a fresh reading when the platform reports a conflict.
const CONFLICTS: u32 = 3;

/// Pauses before a pass that was just issued is looked for again: reads may lag behind writes (failure model, D22).
const LOOKS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// One operation of the change and how it ended.
struct Operation {
    name: &'static str,
    parts: Vec<Part>,
    end: Option<End>,
}

type End = (Outcome, Option<Code>, String);

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
    scope: Arc<Scope>,
    target: Target,
    verb: Verb,
    reference: String,
    operations: Vec<Operation>,
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
    let mut operations: Vec<&str> =
        change.fields.iter().filter_map(|field| Field::parse(&field.name).ok()).map(|field| field.rule().operation).collect();
    operations.sort_unstable();
    operations.dedup();
    let zero = change
        .fields
        .iter()
        .any(|field| fields::is_zero(field.value.as_ref()) && Field::parse(&field.name).is_ok_and(|field| field.rule().balance));
    match change.verb {
        Verb::Expire | Verb::Void => 1,
        Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem => {
            let update = if operations.contains(&FIELDS) { 1 + u32::from(zero) } else { operations.len() as u32 };
            update + u32::from(change.verb == Verb::Upsert)
        }
    }
}

impl Apply {
    pub(super) fn new(scope: Arc<Scope>, change: Change) -> Apply {
        let Change { target, verb, fields, found, reference, .. } = change;
        let mut operations: Vec<Operation> = Vec::new();
        let mut add = |name: &'static str, parts: Vec<Part>| match operations.iter_mut().find(|operation| operation.name == name) {
            Some(operation) => operation.parts.extend(parts),
            None => operations.push(Operation { name, parts, end: None }),
        };
        match verb {
            Verb::Void => add("void", Vec::new()),
            Verb::Expire => add("expire", Vec::new()),
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem => {}
        }
        for change in fields {
            // Names were looked up when the configuration was read; one that is unknown now cannot be sent.
            let Ok(field) = Field::parse(&change.name) else { continue };
            let operation = field.rule().operation;
            match verb {
                Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem => add(operation, vec![Part { field, change }]),
                Verb::Expire if operation == EXPIRY && change.value.is_some() => add("expire", vec![Part { field, change }]),
                // A pass that ends or goes changes nothing else.
                Verb::Expire | Verb::Void => {}
            }
        }
        let known = found.as_ref().map(|found| Known::from_state(&found.state));
        let mut apply = Apply {
            scope,
            target,
            verb,
            reference,
            operations,
            pass_id: found.as_ref().map(|found| found.pass_id.clone()),
            known,
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
        };
        apply.begin();
        apply
    }

    fn begin(&mut self) {
        let needs_state = self.operations.iter().any(|operation| operation.name == FIELDS);
        match self.verb {
            Verb::Void => self.todo.push_back(Call::Delete),
            Verb::Expire => self.todo.push_back(Call::Expiry(0)),
            // Resolve looked, because the state was needed, and found nothing.
            Verb::Upsert if !self.was_found && (needs_state || self.operations.is_empty()) => self.absent(),
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem => self.plan(),
        }
    }

    /// Plans what has not ended: one M4 where one is needed anyway, a call of its own for each operation otherwise.
    fn plan(&mut self) {
        self.todo.clear();
        let open = |name: &str| self.operations.iter().position(|operation| operation.name == name && operation.end.is_none());
        let (points, tier, expiry) = (open(POINTS), open(TIER), open(EXPIRY));
        let mut alone: Vec<Call> = Vec::new();
        if let Some(update) = open(FIELDS) {
            let Some(known) = &self.known else {
                self.todo.push_back(Call::Read);
                return;
            };
            let whole = known.needs_whole(&self.parts(&[update]));
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
                    Some(points) if whole || all_say_something(&self.parts(&[points])) => together.push(points),
                    points => alone.extend(points.map(Call::Points)),
                }
            }
            self.todo.push_back(Call::Update { operations: together, whole });
        } else {
            alone.extend(points.map(Call::Points).into_iter().chain(tier.map(Call::Tier)).chain(expiry.map(Call::Expiry)));
        }
        self.todo.extend(alone);
    }

    fn parts(&self, operations: &[usize]) -> Vec<&Part> {
        operations.iter().flat_map(|&index| &self.operations[index].parts).collect()
    }

    /// The pass does not exist: issue it, or say so.
    fn absent(&mut self) {
        let untouched = self.operations.iter().all(|operation| operation.end.is_none());
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

    fn end(&mut self, index: usize, outcome: Outcome, code: Option<Code>, message: &str) {
        self.operations[index].end.get_or_insert_with(|| (outcome, code, clean(message)));
    }

    /// Ends every operation that has not ended; nothing more is sent.
    fn end_all(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        self.todo.clear();
        if self.operations.is_empty() {
            self.operations.push(Operation { name: "create", parts: Vec::new(), end: None });
        }
        for index in 0..self.operations.len() {
            self.end(index, outcome, code, message);
        }
    }

    /// Enrolment is one operation that carries every field.
    fn end_create(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        let parts = self.operations.drain(..).flat_map(|operation| operation.parts).collect();
        self.operations = vec![Operation { name: "create", parts, end: Some((outcome, code, clean(message))) }];
        self.todo.clear();
    }

    fn operations_of(&self, call: &Call) -> Vec<usize> {
        match call {
            Call::Update { operations, .. } => operations.clone(),
            Call::Points(index) | Call::Tier(index) | Call::Expiry(index) => vec![*index],
            Call::Read | Call::Enrol | Call::Delete => {
                (0..self.operations.len()).filter(|&index| self.operations[index].end.is_none()).collect()
            }
        }
    }

    fn request(&self, call: &Call) -> Option<Request> {
        let (scope, target, id) = (&*self.scope, &self.target, self.pass_id.as_deref());
        let parts = self.parts(&self.operations_of(call));
        let unknown = Known::default();
        let known = self.known.as_ref().unwrap_or(&unknown);
        Some(match call {
            Call::Read => match id {
                Some(id) if !matches!(target, Target::External(_)) => Scope::get_by_id(id),
                _ => scope.get_by(target),
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
        let (status, body) = match answer {
            Answer::Http { status, body } => (status, body),
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                let code = if message.contains(WEB_PAGE) { Code::AnswerUnreadable } else { Code::RetriesExhausted };
                return self.end_all(Outcome::Refused, Some(code), &message);
            }
            Answer::Stopped { sent } => {
                let words = if sent { "the run was stopped while the answer was awaited; sending it again is harmless" } else { "" };
                return self.end_all(Outcome::NotAttempted, Some(Code::RunStopped), words);
            }
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
            let member = Member::parse(body).ok_or("the answer is not a member")?;
            let asked = match &self.target {
                Target::External(external) => member.external_id() == external,
                Target::Pass(id) => member.id() == id,
            };
            if !asked {
                return Err("the answer is another member than the one asked for".to_owned());
            }
            if member.is_live_in(&self.scope.program) {
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
            self.end(index, Outcome::Applied, None, "");
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
                    self.end(index, Outcome::Refused, Some(code), message);
                }
            }
        }
    }

    fn result(&mut self) -> ChangeResult {
        if self.operations.is_empty() {
            // An upsert that asks for nothing but a pass that is there.
            self.operations.push(Operation { name: "create", parts: Vec::new(), end: Some((Outcome::Unchanged, None, String::new())) });
        }
        let operations = std::mem::take(&mut self.operations).into_iter().map(|operation| {
            let (outcome, code, message) = operation.end.unwrap_or((Outcome::NotAttempted, Some(Code::RunStopped), String::new()));
            let fields = operation.parts.iter().map(|part| part.change.field).collect();
            OperationResult { operation: operation.name, outcome, code, message, fields }
        });
        ChangeResult { operations: operations.collect(), pass_id: self.pass_id.take() }
    }
}

impl Conversation<ChangeResult> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        if let (Some(call), Some(answer)) = (self.current.take(), answer) {
            self.hear(&call, answer);
        }
        while let Some(call) = self.todo.pop_front() {
            if matches!(call, Call::Read) && !is_segment(self.target.text()) {
                self.refuse(&call, Code::MappingError, "PassKit cannot be asked about this identifier: it would change the address");
                continue;
            }
            match self.request(&call) {
                None => self.refuse(
                    &call,
                    Code::MappingError,
                    "the feed maps no tierId and the platform's settings name no tier, so no pass can be issued",
                ),
                Some(request) => {
                    let bytes = request.body.as_ref().map_or(0, Bytes::len);
                    if bytes <= BODY_BYTES_MAX {
                        self.current = Some(call);
                        return match self.pause.take() {
                            None => Step::Send(request),
                            Some(pause) => Step::Later(pause, request),
                        };
                    }
                    let words =
                        format!("the update has {bytes} bytes; PassKit takes {BODY_BYTES_MAX}, and what the pass holds already counts");
                    self.refuse(&call, Code::ValueTooLarge, &words);
                }
            }
        }
        Step::Done(self.result())
    }
}
