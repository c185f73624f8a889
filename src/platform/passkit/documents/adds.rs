//! Redeeming and validating: sent once under a reference of ours, and looked for by it when the answer was lost (contract 5, C3, and 6, T4
//! and T5).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::{Document, Documents, Mark};
use crate::config::meant::ReadBack;
use crate::outcome::{Code, Outcome};
use crate::platform::judge::{clean, quote};
use crate::platform::passkit::adds::{CANNOT_ASK, heard, looked, lost, once, refused, unknown};
use crate::platform::passkit::find::READS;
use crate::platform::passkit::protocol::Protocol;
use crate::platform::passkit::wire::{Pass, text};
use crate::platform::{AddEnd, Answer, Conversation, Proof, Step, strict};
use crate::row::{AddKind, Addition, Target};

/// Sends an add once.
pub(super) struct Give<D> {
    scope: Arc<Documents<D>>,
    add: Addition,
    /// The request under way is the one that changes something.
    giving: bool,
    /// Known once the pass was read.
    pass_id: Option<String>,
    unread: u32,
}

impl<D: Document> Give<D> {
    pub(super) fn new(scope: Arc<Documents<D>>, add: Addition) -> Give<D> {
        Give { scope, add, giving: false, pass_id: None, unread: 0 }
    }

    /// What a second redemption does is not known, so that the first is looked for.
    fn begin(&mut self) -> Step<AddEnd> {
        match self.add.key.kind {
            // An identifier of PassKit's own may be of another production, which only the pass says.
            AddKind::Validate if matches!(self.add.target, Target::Pass(_)) => Step::Send(self.scope.kind.get(&self.add.target)),
            AddKind::Validate => self.give(),
            AddKind::Redeem if self.scope.kind.can_get(&self.add.target) => Step::Send(self.scope.kind.get(&self.add.target)),
            AddKind::Redeem => refused(Outcome::Refused, Code::MappingError, CANNOT_ASK),
            kind => refused(Outcome::Refused, Code::UpdateRejected, &format!("PassKit cannot {kind} with a {}", D::NOUN)),
        }
    }

    fn give(&mut self) -> Step<AddEnd> {
        let (reference, source) = (self.add.key.to_string(), format!("passferry {}", self.add.reference));
        let mark = Mark { reference: &reference, source: &source };
        match once(self.scope.kind.give(self.add.key.kind, &self.add.target, self.pass_id.as_deref(), &mark)) {
            Ok(request) => {
                self.giving = true;
                Step::Send(request)
            }
            Err(end) => Step::Done(end),
        }
    }

    fn hear(&mut self, answer: Answer) -> Step<AddEnd> {
        match heard(answer, self.giving) {
            Err(end) => Step::Done(end),
            Ok(body) if self.giving => self.given(&body),
            Ok(body) => self.read(&body),
        }
    }

    /// The pass was read: redeems it, unless that is done.
    fn read(&mut self, body: &Bytes) -> Step<AddEnd> {
        let Some(pass) = meant(&self.scope, &self.add.target, body) else {
            self.unread += 1;
            if self.unread < READS {
                return Step::Send(self.scope.kind.get(&self.add.target));
            }
            return refused(Outcome::Refused, Code::AnswerUnreadable, "the answer is not the pass asked for");
        };
        if !self.scope.kind.is_live(&pass) {
            return refused(Outcome::Unresolved, Code::PassNotFound, "no pass has this identifier");
        }
        if self.add.key.kind == AddKind::Validate {
            self.pass_id = Some(pass.id().to_owned());
            return self.give();
        }
        match D::redeemed(&pass) {
            Some(details) if text(&details, "redemptionReference") == self.add.key.to_string() => {
                Step::Done(AddEnd::Already { message: format!("the {} was redeemed by this row{}", D::NOUN, on(&details)) })
            }
            Some(details) => {
                let words = format!("the {} is redeemed already{}{}", D::NOUN, on(&details), by(&details));
                refused(Outcome::Refused, Code::UpdateRejected, &words)
            }
            None => {
                self.pass_id = Some(pass.id().to_owned());
                self.give()
            }
        }
    }

    fn given(&self, body: &Bytes) -> Step<AddEnd> {
        let Some(answer) = strict::object(body) else { return lost("the answer is not a JSON object") };
        if self.add.key.kind == AddKind::Validate {
            let protocol: &dyn Protocol = &*self.scope;
            let ticket = answer.get("ticket").and_then(Json::as_object).cloned().map(Pass);
            return match (answer.get("valid").and_then(Json::as_bool), ticket) {
                (Some(true), Some(ticket)) if protocol.is_meant(&self.add.target, &ticket) => {
                    Step::Done(AddEnd::Applied { pass_id: Some(ticket.id().to_owned()) })
                }
                (Some(true), _) => lost("the answer is about another ticket, or about none"),
                (Some(false), _) => refused(Outcome::Refused, Code::UpdateRejected, "PassKit says that the ticket is not valid"),
                (None, _) => lost("the answer does not say whether the ticket is valid"),
            };
        }
        let id = text(&answer, "id");
        if self.pass_id.as_deref() == Some(id) {
            Step::Done(AddEnd::Applied { pass_id: Some(id.to_owned()) })
        } else {
            lost(&format!("the answer is about another pass ({})", clean(id)))
        }
    }
}

impl<D: Document> Conversation<AddEnd> for Give<D> {
    fn next(&mut self, answer: Option<Answer>) -> Step<AddEnd> {
        match answer {
            None => self.begin(),
            Some(answer) => self.hear(answer),
        }
    }
}

/// Looks whether an add was applied.
pub(super) struct Look<D> {
    scope: Arc<Documents<D>>,
    add: Addition,
    unread: u32,
}

impl<D: Document> Look<D> {
    pub(super) fn new(scope: Arc<Documents<D>>, add: Addition) -> Look<D> {
        Look { scope, add, unread: 0 }
    }

    fn hear(&mut self, answer: Answer) -> Step<Proof> {
        let body = match looked(answer) {
            Ok(body) => body,
            Err((Some(404 | 410), _)) => return unknown("the pass is not there any more"),
            Err((_, proof)) => return Step::Done(proof),
        };
        let Some(pass) = meant(&self.scope, &self.add.target, &body) else {
            self.unread += 1;
            if self.unread < READS {
                return Step::Send(self.scope.kind.get(&self.add.target));
            }
            return unknown("the answer is not the pass asked for");
        };
        if self.add.key.kind == AddKind::Validate { self.validated(&pass) } else { self.redeemed(&pass) }
    }

    /// A redemption is for ever: a pass that is not redeemed never was.
    fn redeemed(&self, pass: &Pass) -> Step<Proof> {
        let Some(details) = D::redeemed(pass) else {
            return Step::Done(Proof::NotApplied(format!("the {} is not redeemed", D::NOUN)));
        };
        let reference = text(&details, "redemptionReference");
        if reference == self.add.key.to_string() {
            return Step::Done(Proof::Applied(format!("the {} is redeemed with this key{}", D::NOUN, on(&details))));
        }
        let words = format!("the {} is redeemed{}{}", D::NOUN, on(&details), by(&details));
        match (reference.is_empty(), self.scope.evidence.sole_writer) {
            (true, true) => Step::Done(Proof::Applied(words)),
            (true, false) => unknown(&format!("{words} without a reference, which proves something only where sole_writer is true")),
            (false, _) => Step::Done(Proof::NotApplied(words)),
        }
    }

    /// Each validation leaves a record.
    fn validated(&self, pass: &Pass) -> Step<Proof> {
        let records = pass.0.get("validateDetails").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let key = self.add.key.to_string();
        let ours = records.iter().filter_map(Json::as_object).find(|record| text(record, "validateReference") == key);
        if let Some(record) = ours {
            return Step::Done(Proof::Applied(format!("the ticket has a validation with this key{}", at(record, "validateDate"))));
        }
        let words = format!("none of the ticket's {} validations has this key", records.len());
        match self.scope.evidence.read_back {
            ReadBack::Events => Step::Done(Proof::NotApplied(words)),
            _ => unknown(&format!("{words}, which proves nothing while read_back is \"presence\"")),
        }
    }
}

impl<D: Document> Conversation<Proof> for Look<D> {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        match answer {
            None if !self.scope.kind.can_get(&self.add.target) => unknown(CANNOT_ASK),
            None => Step::Send(self.scope.kind.get(&self.add.target)),
            Some(answer) => self.hear(answer),
        }
    }
}

/// The pass that an answer holds, when it is the one that is meant.
fn meant<D: Document>(scope: &Documents<D>, target: &Target, body: &Bytes) -> Option<Pass> {
    let protocol: &dyn Protocol = scope;
    Pass::parse(body).filter(|pass| protocol.is_meant(target, pass))
}

fn on(details: &Map<String, Json>) -> String {
    at(details, "redemptionDate")
}

fn at(details: &Map<String, Json>, date: &str) -> String {
    match text(details, date) {
        "" => String::new(),
        date => format!(" on {}", clean(date)),
    }
}

/// Who redeemed it, in their own words.
fn by(details: &Map<String, Json>) -> String {
    match text(details, "redemptionReference") {
        "" => String::new(),
        reference => format!(", with the reference {}", quote(&clean(reference))),
    }
}
