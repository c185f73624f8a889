//! A row on its way to the platform: what is still out, what came back, and what that says of the row.

use super::Work;
use crate::dispatch::AddFate;
use crate::ledger::{Ended, FieldState, KeyEnd, KeyState, Mark, OperationNote, RowDetail, RowEnd};
use crate::outcome::{Code, Outcome};
use crate::platform::OperationResult;
use crate::row::{AddKey, AddKind, PassKey};

/// What is remembered of a row on its way.
pub(super) struct OnItsWay {
    pub pass: Option<PassKey>,
    /// Changes and adds of this row that have not come back: several changes where several passes share the identifier.
    pub missing: usize,
    pub marks: Vec<(u8, Mark)>,
    /// Operations that were known before the row set out.
    pub notes: Vec<OperationNote>,
    pub results: Vec<OperationResult>,
    /// Adds that wait for their time.
    pub left: u8,
    /// Something of it stays to be done: the run is being stopped, or another row has the same add under way.
    pub unfinished: bool,
    /// Balances that an add has moved: the account's numbers of their fields.
    pub moved: Vec<u16>,
}

impl OnItsWay {
    pub(super) fn new(pass: Option<PassKey>, marks: Vec<(u8, Mark)>, notes: Vec<OperationNote>, left: u8) -> OnItsWay {
        OnItsWay { pass, missing: 0, marks, notes, results: Vec::new(), left, unfinished: false, moved: Vec::new() }
    }

    /// Takes in what became of an add, and says what that makes of its key. None where the key stays as it is written.
    pub(super) fn take(&mut self, key: AddKey, fate: AddFate) -> Option<KeyEnd> {
        let end = |state, evidence: &str| Some(KeyEnd { key, state, evidence: evidence.to_owned() });
        match fate {
            AddFate::Applied { evidence } => {
                self.note(key, Outcome::Applied, None, &evidence);
                end(KeyState::Applied, &evidence)
            }
            AddFate::Already { message } => {
                self.note(key, Outcome::Unchanged, None, &message);
                end(KeyState::Applied, &message)
            }
            AddFate::Refused { outcome, code, message } => {
                self.note(key, outcome, Some(code), &message);
                end(KeyState::NotApplied, &message)
            }
            AddFate::InDoubt { message } => {
                self.note(key, Outcome::InDoubt, Some(Code::AddInDoubt), &message);
                end(KeyState::InDoubt, &message)
            }
            AddFate::After => {
                self.note(key, Outcome::NotAttempted, Some(Code::PassInDoubt), "an earlier add of this pass is in doubt");
                end(KeyState::NotApplied, "never sent")
            }
            AddFate::NotSent => {
                self.unfinished = true;
                end(KeyState::NotApplied, "never sent")
            }
            AddFate::Unsettled => {
                self.unfinished = true;
                None
            }
        }
    }

    /// Notes how an add ended.
    pub(super) fn note(&mut self, key: AddKey, outcome: Outcome, code: Option<Code>, message: &str) {
        let operation = key.kind.as_str();
        self.results.push(OperationResult { operation, outcome, code, message: message.to_owned(), fields: Vec::new() });
    }

    /// What the row's operations say together. None when it stays to be done.
    pub(super) fn end(&self, row: u64, work: &Work<'_>) -> Option<RowEnd> {
        let stopped = |result: &OperationResult| result.outcome == Outcome::NotAttempted && result.code == Some(Code::RunStopped);
        if self.unfinished || self.results.iter().any(stopped) {
            return None;
        }
        let before = self.notes.iter().map(|note| note.outcome);
        let outcomes = before.chain(self.results.iter().map(|result| result.outcome)).filter(|outcome| *outcome != Outcome::Withheld);
        let worst = outcomes.max_by_key(|outcome| outcome.severity()).unwrap_or(Outcome::Unchanged);
        let (known, mut unknown) = self.baseline(work);
        unknown.extend(&self.moved);
        let plain = self.notes.is_empty() && self.results.len() == 1 && matches!(worst, Outcome::Applied | Outcome::Created);
        let mut operations: Vec<OperationNote> =
            if plain && self.left == 0 { Vec::new() } else { self.notes.iter().cloned().chain(self.results.iter().map(note)).collect() };
        // A row with an add in doubt, or behind one, ends at once: a person must see it now, and takes up what is left of it by settling.
        let waits = operations.iter().any(|note| matches!(note.code, Some(Code::AddInDoubt | Code::PassInDoubt)));
        // What did not happen is told to nobody.
        let refused = operations.iter().any(|note| note.outcome == Outcome::Refused && AddKind::parse(&note.operation).is_some());
        if self.left & AddKind::Notify.bit() != 0 && (waits || refused) {
            operations.push(if waits { after_doubt(AddKind::Notify) } else { after_refusal(AddKind::Notify) });
        }
        let gone = worst == Outcome::Unresolved
            || self.results.iter().any(|result| matches!(result.operation, "void" | "expire") && result.outcome == Outcome::Applied);
        Some(RowEnd {
            number: row,
            outcome: if self.left == 0 || waits || refused || worst == Outcome::Unresolved {
                Ended::As(worst)
            } else {
                Ended::AddsLeft(self.left)
            },
            detail: RowDetail { problems: Vec::new(), operations },
            pass: self.pass,
            known,
            unknown,
            forget: gone,
        })
    }

    /// Fields whose value is known now, and those whose value is not.
    fn baseline(&self, work: &Work<'_>) -> (Vec<FieldState>, Vec<u16>) {
        let id = |field: u8| work.field_ids[field as usize];
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for result in &self.results {
            match (result.outcome, result.code) {
                (Outcome::Applied | Outcome::Created, _) => {
                    let known_now = self.marks.iter().filter(|(field, _)| result.fields.contains(field));
                    known.extend(known_now.map(|&(field, mark)| FieldState { field: id(field), mark, day: work.today }));
                }
                // A definite no: the pass is as it was.
                (Outcome::Refused, Some(Code::UpdateRejected | Code::ValueTooLarge)) => {}
                _ => unknown.extend(result.fields.iter().map(|&field| id(field))),
            }
        }
        // Of several passes that share an identifier, one that failed outweighs those that took the value.
        let failed = |state: &FieldState| {
            let field = |result: &OperationResult| result.fields.iter().any(|&field| id(field) == state.field);
            self.results.iter().any(|result| !matches!(result.outcome, Outcome::Applied | Outcome::Created) && field(result))
        };
        unknown.extend(known.iter().filter(|state| failed(state)).map(|state| state.field));
        known.retain(|state| !failed(state));
        (known, unknown)
    }
}

/// An add that is left behind one in doubt.
fn after_doubt(kind: AddKind) -> OperationNote {
    OperationNote {
        operation: kind.as_str().to_owned(),
        outcome: Outcome::NotAttempted,
        code: Some(Code::PassInDoubt),
        message: "an earlier add of this pass is in doubt".to_owned(),
    }
}

/// An add that would tell of one that was refused.
fn after_refusal(kind: AddKind) -> OperationNote {
    OperationNote {
        operation: kind.as_str().to_owned(),
        outcome: Outcome::NotAttempted,
        code: Some(Code::AddRefused),
        message: "what it tells of was refused".to_owned(),
    }
}

fn note(result: &OperationResult) -> OperationNote {
    OperationNote { operation: result.operation.to_owned(), outcome: result.outcome, code: result.code, message: result.message.clone() }
}
