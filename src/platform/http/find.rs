//! Finding a pass.

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
    fn find_request(&self, find: &Find, target: &Target) -> Result<Request, String> {
        let line = match (target, &find.by_pass_id) {
            (Target::Pass(_), Some(line)) => line,
            _ => &find.line,
        };
        let words = of_pass(target, None);
        let body = find.body.as_ref().map(|body| body.fill(&words)).transpose()?;
        self.request(line, &find.headers, body.as_ref(), &words)
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

/// Looks for one pass, page by page where the answer is a list.
pub(super) struct Looking {
    http: Arc<Http>,
    target: Target,
    /// What is asked next.
    request: Request,
    /// Those of the pages so far that are meant.
    passes: Vec<Found>,
    /// Pages that were read.
    asked: Vec<String>,
    /// Answers to the present request that proved nothing.
    unread: u32,
}

/// What one answer proves.
enum Heard {
    End(Finding),
    More(Request),
    Nothing,
}

impl Looking {
    /// The error says why the pass cannot be asked for.
    pub(super) fn new(http: &Arc<Http>, target: &Target) -> Result<Looking, String> {
        let find = http.find.as_ref().ok_or("the platform's settings do not say how to find a pass")?;
        let request = http.find_request(find, target)?;
        Ok(Looking { http: http.clone(), target: target.clone(), request, passes: Vec::new(), asked: Vec::new(), unread: 0 })
    }

    pub(super) fn request(&self) -> Request {
        self.request.clone()
    }

    /// Takes the answer to [`Looking::request`]. None when there is something to be asked still, or once more.
    pub(super) fn hear(&mut self, status: u16, body: &[u8]) -> Option<Finding> {
        match self.heard(status, body) {
            Heard::End(Finding::Found(found)) => Some(Finding::Found(self.http.kept(found))),
            Heard::End(finding) => Some(finding),
            Heard::More(request) => {
                (self.request, self.unread) = (request, 0);
                None
            }
            Heard::Nothing => {
                self.unread += 1;
                let message = "the answer is not the pass asked for".to_owned();
                (self.unread >= READS).then_some(Finding::Failed { code: Code::AnswerUnreadable, message })
            }
        }
    }

    fn heard(&mut self, status: u16, body: &[u8]) -> Heard {
        let Some(find) = &self.http.find else { return Heard::Nothing };
        let json = strict::read(body);
        let judged = self.http.answers.judge(status, json.as_ref());
        match judged.class {
            Class::Applied if judged.silent => return Heard::Nothing,
            Class::Applied => {}
            Class::NotFound | Class::Gone if self.asked.is_empty() => return Heard::End(Finding::Absent),
            _ => {
                let message = format!("the pass cannot be read ({status}): {}", self.http.answers.quoted(body));
                return Heard::End(Finding::Failed { code: Code::UpdateRejected, message: clean(&message) });
            }
        }
        let Some(json) = json else { return Heard::Nothing };
        let Some(list) = &find.list else {
            // One pass was asked for and answered: it must be that one.
            return match read(find, &json).filter(|found| is_meant(find, &self.target, found)) {
                None => Heard::Nothing,
                Some(found) if is_absent(find, &found.state[PASS]) => Heard::End(Finding::Absent),
                Some(found) => Heard::End(Finding::Found(found)),
            };
        };
        let Some(Json::Array(items)) = list.get(&json) else { return Heard::Nothing };
        for item in items {
            // An item that is no pass is a listing that proves nothing: the pass may be in it.
            let Some(found) = read(find, item) else { return Heard::Nothing };
            let known = self.passes.iter().any(|other| other.pass_id == found.pass_id);
            if is_meant(find, &self.target, &found) && !known && !is_absent(find, &found.state[PASS]) {
                self.passes.push(found);
            }
        }
        match self.http.page_after(find.next.as_ref(), &self.request, &mut self.asked, &json) {
            Ok(Some(request)) => return Heard::More(request),
            Ok(None) => {}
            Err(message) => return Heard::End(Finding::Failed { code: Code::AnswerUnreadable, message }),
        }
        Heard::End(match self.passes.len() {
            0 => Finding::Absent,
            1 => Finding::Found(self.passes.remove(0)),
            _ => Finding::Several(self.passes.drain(..).map(|found| found.pass_id).collect()),
        })
    }
}

/// Finds passes one after another.
pub(super) struct Finder {
    http: Arc<Http>,
    todo: VecDeque<Target>,
    findings: Vec<Finding>,
    current: Option<Looking>,
}

impl Finder {
    pub(super) fn new(http: Arc<Http>, targets: &[Target]) -> Finder {
        Finder { http, todo: targets.iter().cloned().collect(), findings: Vec::with_capacity(targets.len()), current: None }
    }

    fn hear(&mut self, answer: Answer) -> Option<Finding> {
        match answer {
            Answer::Http { status, body } => self.current.as_mut()?.hear(status, &body),
            Answer::Exhausted { message, .. } | Answer::Lost { message } => {
                Some(Finding::Failed { code: Code::RetriesExhausted, message: clean(&message) })
            }
            Answer::Stopped { .. } => Some(Finding::NotAttempted),
        }
    }

    fn settle(&mut self, finding: Finding) {
        self.todo.pop_front();
        self.current = None;
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
        if let Some(looking) = &self.current {
            return Step::Send(looking.request());
        }
        while let Some(target) = self.todo.front() {
            match Looking::new(&self.http, target) {
                Ok(looking) => return Step::Send(self.current.insert(looking).request()),
                Err(message) => self.settle(Finding::Failed { code: Code::MappingError, message }),
            }
        }
        Step::Done(std::mem::take(&mut self.findings))
    }
}
