//! Carrying out changes: the desk takes them as they come, all of a batch in one transaction.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Heard, Scope, ask, hear, name};
use crate::apple::slot::Top;
use crate::apple::talk::{Ask, Changed, End, Ended, What, Wish};
use crate::outcome::{Code, Outcome};
use crate::platform::{Answer, ChangeResult, Conversation, OperationResult, Step};
use crate::row::{Change, Verb};

pub(super) struct Apply {
    scope: Arc<Scope>,
    changes: Vec<Change>,
}

impl Apply {
    pub(super) fn new(scope: Arc<Scope>, changes: Vec<Change>) -> Apply {
        Apply { scope, changes }
    }

    fn wish(&self, change: &Change) -> Wish {
        let design = &self.scope.account.design;
        let what = match change.verb {
            Verb::Upsert => What::Upsert,
            Verb::Void => What::Void,
            Verb::Expire => What::Expire,
            // An add's own fields come as an update; adds themselves do not come here.
            Verb::Update | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => What::Update,
        };
        let set = change.fields.iter().filter_map(|field| {
            let slot = super::fields::slot(&field.name, design).ok()?;
            // A value that validation let through is one.
            let value = field.value.as_ref().map_or(Some(Json::Null), |value| super::fields::json_of(&slot, value, design).ok())?;
            Some((field.name.to_string(), value))
        });
        Wish {
            name: name(&change.target),
            serial: change.found.as_ref().map(|found| found.pass_id.clone()),
            what,
            set: match what {
                What::Update | What::Upsert => set.collect(),
                What::Expire => set.filter(|(name, value)| name == Top::ExpirationDate.name() && !value.is_null()).collect(),
                What::Void => Vec::new(),
            },
        }
    }
}

impl Conversation<Vec<ChangeResult>> for Apply {
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<ChangeResult>> {
        let Some(answer) = answer else {
            let wishes = self.changes.iter().map(|change| self.wish(change)).collect();
            return Step::Send(ask(&Ask::Change(wishes)));
        };
        let all = |outcome, code, message: &str| {
            let ends = self.changes.iter().map(|change| result(change, outcome, Some(code), message, None));
            Step::Done(ends.collect())
        };
        match hear::<Changed>(answer) {
            Heard::Said(Changed { ends }) if ends.len() == self.changes.len() => {
                Step::Done(std::iter::zip(&self.changes, ends).map(|(change, end)| ended(change, end)).collect())
            }
            Heard::Said(_) => all(Outcome::Refused, Code::AnswerUnreadable, "the desk answered for other changes"),
            Heard::Unreadable(message) => all(Outcome::Refused, Code::AnswerUnreadable, &message),
            Heard::Failed(message) => all(Outcome::Refused, Code::RetriesExhausted, &message),
            Heard::Stopped { .. } => all(Outcome::NotAttempted, Code::RunStopped, ""),
        }
    }
}

fn ended(change: &Change, ended: Ended) -> ChangeResult {
    let (outcome, code) = match ended.end {
        End::Done | End::Already => (Outcome::Applied, None),
        End::Created => (Outcome::Created, None),
        End::Absent if change.found.is_some() => (Outcome::Unresolved, Some(Code::PassGone)),
        End::Absent => (Outcome::Unresolved, Some(Code::PassNotFound)),
        End::Several => (Outcome::Unresolved, Some(Code::PassAmbiguous)),
        End::Refused | End::OtherAdd => (Outcome::Refused, Some(Code::UpdateRejected)),
    };
    result(change, outcome, code, &ended.message, ended.serial)
}

fn result(change: &Change, outcome: Outcome, code: Option<Code>, message: &str, pass_id: Option<String>) -> ChangeResult {
    let operation = match change.verb {
        Verb::Void => "void",
        Verb::Expire => "expire",
        _ if outcome == Outcome::Created => "create",
        _ => super::fields::FIELDS,
    };
    let carries = !matches!(change.verb, Verb::Void | Verb::Expire);
    let fields = if carries { change.fields.iter().map(|field| field.field).collect() } else { Vec::new() };
    ChangeResult { operations: vec![OperationResult { operation, outcome, code, message: message.to_owned(), fields }], pass_id }
}

/// A change by itself.
pub(super) struct One(pub Apply);

impl Conversation<ChangeResult> for One {
    fn next(&mut self, answer: Option<Answer>) -> Step<ChangeResult> {
        match self.0.next(answer) {
            Step::Send(request) => Step::Send(request),
            Step::Later(pause, request) => Step::Later(pause, request),
            Step::Done(results) => Step::Done(results.into_iter().next().unwrap_or_default()),
        }
    }
}
