//! Finding a pass, one request each.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value as Json;

use super::words::of_pass;
use crate::config::meant::http::{Class, Find, Http};
use crate::outcome::Code;
use crate::platform::judge::clean;
use crate::platform::{Answer, Conversation, Finding, Request, Step, strict};
use crate::row::{Found, Target};

/// Times that an answer which cannot be read is asked for.
pub(super) const READS: u32 = 3;

/// What the state of a found pass is kept under.
pub(super) const PASS: &str = "pass";

impl Http {
    /// The request that asks for a pass. The error says why it cannot be asked for.
    pub(super) fn find_request(&self, find: &Find, target: &Target) -> Result<Request, String> {
        let line = match (target, &find.by_pass_id) {
            (Target::Pass(_), Some(line)) => line,
            _ => &find.line,
        };
        let words = of_pass(target, None);
        let body = find.body.as_ref().map(|body| body.fill(&words)).transpose()?;
        self.request(line, &find.headers, body.as_ref(), &words)
    }

    /// What an answer to it proves. None when it proves nothing.
    pub(super) fn finding(&self, find: &Find, target: &Target, status: u16, body: &[u8]) -> Option<Finding> {
        let json = strict::read(body);
        let judged = self.answers.judge(status, json.as_ref());
        match judged.class {
            Class::Applied if judged.silent => return None,
            Class::Applied => {}
            Class::NotFound | Class::Gone => return Some(Finding::Absent),
            _ => {
                let message = format!("the pass cannot be read ({status}): {}", self.answers.quoted(body));
                return Some(Finding::Failed { code: Code::UpdateRejected, message: clean(&message) });
            }
        }
        let json = json?;
        let Some(list) = &find.list else {
            // One pass was asked for and answered: it must be that one.
            let found = read(find, &json)?;
            return if is_meant(find, target, &found) { Some(finding(find, found)) } else { None };
        };
        let Some(Json::Array(items)) = list.get(&json) else { return None };
        let mut passes: Vec<Found> = Vec::new();
        for item in items {
            // An item that is no pass is a listing that proves nothing: the pass may be in it.
            let found = read(find, item)?;
            let known = passes.iter().any(|other| other.pass_id == found.pass_id);
            if is_meant(find, target, &found) && !known && !is_absent(find, &found.state[PASS]) {
                passes.push(found);
            }
        }
        Some(match passes.len() {
            0 => Finding::Absent,
            1 => Finding::Found(self.kept(passes.remove(0))),
            _ => Finding::Several(passes.into_iter().map(|found| found.pass_id).collect()),
        })
    }

    /// What is kept of a pass: all of it only where a request needs it.
    fn kept(&self, mut found: Found) -> Found {
        if !self.needs_state() {
            found.state[PASS] = Json::Null;
        }
        found
    }
}

fn read(find: &Find, json: &Json) -> Option<Found> {
    let pass = find.pass.get(json).filter(|pass| pass.is_object())?;
    let pass_id = find.pass_id.text(pass).filter(|id| !id.is_empty())?;
    let state = serde_json::json!({ "pass_id": &pass_id, PASS: pass });
    Some(Found { pass_id, state })
}

fn finding(find: &Find, found: Found) -> Finding {
    if is_absent(find, &found.state[PASS]) { Finding::Absent } else { Finding::Found(found) }
}

fn is_meant(find: &Find, target: &Target, found: &Found) -> bool {
    match (target, &find.external_id) {
        (Target::Pass(id), _) => found.pass_id == *id,
        (Target::External(meant), Some(place)) => place.text(&found.state[PASS]).is_some_and(|external| external == *meant),
        (Target::External(_), None) => true,
    }
}

fn is_absent(find: &Find, pass: &Json) -> bool {
    find.absent.as_ref().is_some_and(|(place, words)| place.text(pass).is_some_and(|word| words.contains(&word)))
}

/// Finds passes one after another.
pub(super) struct Finder {
    http: Arc<Http>,
    todo: VecDeque<Target>,
    findings: Vec<Finding>,
    unread: u32,
}

impl Finder {
    pub(super) fn new(http: Arc<Http>, targets: &[Target]) -> Finder {
        Finder { http, todo: targets.iter().cloned().collect(), findings: Vec::with_capacity(targets.len()), unread: 0 }
    }

    fn hear(&mut self, answer: Answer) -> Option<Finding> {
        let target = self.todo.front()?;
        match answer {
            Answer::Http { status, body } => {
                let find = self.http.find.as_ref()?;
                let found = match self.http.finding(find, target, status, &body) {
                    Some(Finding::Found(found)) => Some(Finding::Found(self.http.kept(found))),
                    other => other,
                };
                self.unread += 1;
                let unreadable =
                    Finding::Failed { code: Code::AnswerUnreadable, message: "the answer is not the pass asked for".to_owned() };
                found.or_else(|| (self.unread >= READS).then_some(unreadable))
            }
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                Some(Finding::Failed { code: Code::RetriesExhausted, message: clean(&message) })
            }
            Answer::Stopped { .. } => Some(Finding::NotAttempted),
        }
    }

    fn settle(&mut self, finding: Finding) {
        self.todo.pop_front();
        self.unread = 0;
        self.findings.push(finding);
    }
}

impl Conversation<Vec<Finding>> for Finder {
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<Finding>> {
        if let Some(answer) = answer
            && let Some(finding) = self.hear(answer)
        {
            let stopped = finding == Finding::NotAttempted;
            self.settle(finding);
            while stopped && !self.todo.is_empty() {
                self.settle(Finding::NotAttempted);
            }
        }
        while let Some(target) = self.todo.front() {
            let asked = match &self.http.find {
                None => Err("the platform's settings do not say how to find a pass".to_owned()),
                Some(find) => self.http.find_request(find, target),
            };
            match asked {
                Ok(request) => return Step::Send(request),
                Err(message) => self.settle(Finding::Failed { code: Code::MappingError, message }),
            }
        }
        Step::Done(std::mem::take(&mut self.findings))
    }
}
