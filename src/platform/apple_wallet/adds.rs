//! Adds: carried out once by their key, which the desk keeps with the change, so that a look proves what became of one.

use super::{Heard, ask, hear, name};
use crate::apple::talk::{AddWish, Added, Ask, End, WasAdded};
use crate::outcome::{Code, Outcome};
use crate::platform::{AddEnd, Answer, Conversation, Proof, Step};
use crate::row::{AddKind, Addition};

fn wish(add: &Addition) -> AddWish {
    let signed = |amount: rust_decimal::Decimal| if add.key.kind == AddKind::Burn { -amount } else { amount };
    AddWish {
        key: add.key.to_string(),
        print: add.print,
        name: name(&add.target),
        amounts: add.amounts.iter().map(|(name, amount)| (name.to_string(), signed(*amount).to_string())).collect(),
        message: add.notification.as_ref().map(|(field, words)| (field.to_string(), words.clone())),
        redeem: add.key.kind == AddKind::Redeem,
    }
}

pub(super) struct Give(pub Addition);

impl Conversation<AddEnd> for Give {
    fn next(&mut self, answer: Option<Answer>) -> Step<AddEnd> {
        let Some(answer) = answer else { return Step::Send(ask(&Ask::Add(wish(&self.0))).once()) };
        let refused = |outcome, code, message| Step::Done(AddEnd::Refused { outcome, code, message });
        match hear::<Added>(answer) {
            Heard::Said(ended) => match ended.end {
                End::Done | End::Created if ended.message.is_empty() => Step::Done(AddEnd::Applied { pass_id: ended.serial }),
                End::Done | End::Created => Step::Done(AddEnd::AppliedBut { message: ended.message }),
                End::Already => Step::Done(AddEnd::Already { message: "the store has it under this key".to_owned() }),
                End::Absent => refused(Outcome::Unresolved, Code::PassNotFound, ended.message),
                End::Several => refused(Outcome::Unresolved, Code::PassAmbiguous, ended.message),
                End::OtherAdd => refused(Outcome::Refused, Code::KeyConflict, ended.message),
                End::Refused => refused(Outcome::Refused, Code::UpdateRejected, ended.message),
            },
            Heard::Unreadable(message) | Heard::Failed(message) => Step::Done(AddEnd::Lost { message }),
            Heard::Stopped { sent: true } => {
                Step::Done(AddEnd::Lost { message: "the run was stopped while the answer was awaited".to_owned() })
            }
            Heard::Stopped { sent: false } => Step::Done(AddEnd::NotSent),
        }
    }
}

/// The key is written in one transaction with what it stands for.
pub(super) struct Look(pub Addition);

impl Conversation<Proof> for Look {
    fn next(&mut self, answer: Option<Answer>) -> Step<Proof> {
        let Some(answer) = answer else { return Step::Send(ask(&Ask::Added(self.0.key.to_string()))) };
        Step::Done(match hear::<WasAdded>(answer) {
            Heard::Said(WasAdded { added: true }) => Proof::Applied("the store has it under this key".to_owned()),
            Heard::Said(WasAdded { added: false }) => Proof::NotApplied("the store does not have it under this key".to_owned()),
            Heard::Unreadable(message) | Heard::Failed(message) => Proof::Unknown(message),
            Heard::Stopped { .. } => Proof::Stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{AddKey, RowKey, Target};
    use serde_json::Value as Json;

    #[test]
    fn what_is_taken_off_is_below_zero() {
        let add = |kind| Addition {
            row: 1,
            target: Target::External("C-1".to_owned()),
            key: AddKey { row: RowKey(7), kind },
            print: 3,
            amounts: vec![("points".into(), "2.5".parse().unwrap())],
            notification: None,
            reference: String::new(),
            before: None,
            perhaps_sent: false,
            since: None,
            decided: false,
        };
        let amount = |kind| wish(&add(kind)).amounts[0].1.clone();
        assert_eq!((amount(AddKind::Earn), amount(AddKind::Burn)), ("2.5".to_owned(), "-2.5".to_owned()));
        let Step::Send(request) = Give(add(AddKind::Earn)).next(None) else { panic!() };
        assert!(!request.repeatable);
        let body: Json = serde_json::from_slice(&request.body.unwrap()).unwrap();
        assert_eq!(body["add"]["key"], add(AddKind::Earn).key.to_string());
    }
}
