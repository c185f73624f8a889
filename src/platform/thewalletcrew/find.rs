//! Finding passes by their external identifier (contract 2.3).

use std::collections::VecDeque;
use std::sync::Arc;

use super::Scope;
use super::wire::{Pass, parse_list};
use crate::outcome::Code;
use crate::platform::{Answer, Conversation, Finding, Step, judge};
use crate::row::{Found, Target};

/// Times that an answer which cannot be read is asked for.
pub(super) const READS: u32 = 3;

/// What the answer to a look says.
pub(super) enum Look {
    /// The passes that carry the identifier; those of other identifiers are left out.
    Passes(Vec<Pass>),
    /// The platform will not say, in its words.
    Refused(String),
    /// Not an answer to what was asked.
    Unreadable(String),
}

/// Reads the answer to [`Scope::look`].
pub(super) fn look(scope: &Scope, target: &Target, status: u16, body: &[u8]) -> Look {
    if !(200..300).contains(&status) {
        return Look::Refused(format!("the pass cannot be looked for ({status}): {}", judge::message(body)));
    }
    let Some(mut passes) = parse_list(body) else { return Look::Unreadable("the answer is not a list of passes".to_owned()) };
    let any = !passes.is_empty();
    passes.retain(|pass| pass.is(scope, target));
    passes.dedup_by(|one, other| one.id() == other.id());
    if any && passes.is_empty() {
        return Look::Unreadable("the answer holds other passes than the one asked for".to_owned());
    }
    Look::Passes(passes)
}

pub(super) struct Find {
    scope: Arc<Scope>,
    targets: VecDeque<Target>,
    current: Option<Target>,
    findings: Vec<Finding>,
    unread: u32,
    stopped: bool,
}

impl Find {
    pub(super) fn new(scope: Arc<Scope>, targets: &[Target]) -> Find {
        Find { scope, targets: targets.iter().cloned().collect(), current: None, findings: Vec::new(), unread: 0, stopped: false }
    }

    /// None when the question must be asked again.
    fn hear(&mut self, target: &Target, answer: Answer) -> Option<Finding> {
        Some(match answer {
            Answer::Http { status, body } => match look(&self.scope, target, status, &body) {
                Look::Passes(mut passes) => match passes.len() {
                    0 => Finding::Absent,
                    1 => {
                        let pass = passes.remove(0);
                        Finding::Found(Found { pass_id: pass.id().to_owned(), state: pass.into_state() })
                    }
                    _ => Finding::Several(passes.iter().map(|pass| pass.id().to_owned()).collect()),
                },
                Look::Refused(message) => Finding::Failed { code: Code::UpdateRejected, message },
                Look::Unreadable(message) => {
                    self.unread += 1;
                    if self.unread < READS {
                        return None;
                    }
                    Finding::Failed { code: Code::AnswerUnreadable, message }
                }
            },
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                Finding::Failed { code: Code::RetriesExhausted, message: judge::clean(&message) }
            }
            Answer::Stopped { .. } => {
                self.stopped = true;
                Finding::NotAttempted
            }
        })
    }
}

impl Conversation<Vec<Finding>> for Find {
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<Finding>> {
        if let (Some(target), Some(answer)) = (self.current.take(), answer) {
            match self.hear(&target, answer) {
                Some(finding) => {
                    self.unread = 0;
                    self.findings.push(finding);
                }
                None => self.current = Some(target),
            }
        }
        while self.current.is_none() {
            match self.targets.pop_front() {
                None => return Step::Done(std::mem::take(&mut self.findings)),
                Some(_) if self.stopped => self.findings.push(Finding::NotAttempted),
                // By its own id a pass is changed directly; to look for one no call is public (section 2.3).
                Some(Target::Pass(id)) => {
                    self.findings.push(Finding::Found(Found { pass_id: id, state: serde_json::Value::Null }));
                }
                Some(target) => self.current = Some(target),
            }
        }
        match &self.current {
            Some(target) => Step::Send(self.scope.look(target)),
            None => Step::Done(std::mem::take(&mut self.findings)),
        }
    }
}
