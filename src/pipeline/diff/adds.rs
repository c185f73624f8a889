//! What the ledger's keys say of a row's adds.

use std::collections::HashMap;

use super::Against;
use crate::ledger::{KeyNote, KeyState, OperationNote};
use crate::outcome::{Code, Outcome, Problem};
use crate::pipeline::validate::Entry;
use crate::row::AddKey;

/// What the ledger's keys say of a row's adds.
#[derive(Default)]
pub(super) struct Adds {
    /// Those to be sent, by [`crate::row::AddKind::bit`].
    pub(super) left: u8,
    /// What is known already of the others.
    pub(super) notes: Vec<OperationNote>,
    /// Keys to be kept from now on.
    pub(super) met: Vec<AddKey>,
}

impl Adds {
    /// `seen` holds the keys of this pass's earlier records, each with its digest and line.
    pub(super) fn of(
        entry: &Entry,
        noted: &HashMap<AddKey, KeyNote>,
        seen: &mut HashMap<AddKey, (u64, u64)>,
        against: &Against<'_>,
    ) -> Result<Adds, Problem> {
        let mut adds = Adds::default();
        let conflict = |place: String| {
            Problem::new(Code::KeyConflict, None, format!("{place} has the same transaction with another amount, pass or text"))
        };
        for &(key, print) in &entry.adds {
            let mut end = |outcome, code, message: String| {
                adds.notes.push(OperationNote { operation: key.kind.to_string(), outcome, code, message });
            };
            if let Some(&(first, line)) = seen.get(&key) {
                if first != print {
                    return Err(conflict(format!("line {line}")));
                }
                end(Outcome::Duplicate, None, format!("the same transaction is in line {line}"));
                continue;
            }
            seen.insert(key, (print, entry.line));
            match noted.get(&key) {
                // What this run did itself is found again when the row's turn comes.
                Some(note) if note.run == against.run && note.line == entry.line => adds.left |= key.kind.bit(),
                Some(note) if note.state != KeyState::NotApplied && note.print != print => {
                    return Err(conflict(format!("run {} line {}", note.run, note.line)));
                }
                Some(note) if against.declines && note.is_declined() => {
                    end(Outcome::Withheld, None, format!("settled as not applied: run {} line {}", note.run, note.line));
                }
                Some(note) if note.state == KeyState::Applied => {
                    end(Outcome::Duplicate, None, format!("applied by run {} line {}", note.run, note.line));
                    if against.meet.is_some_and(|meet| note.met.unwrap_or(note.at) < meet.before) {
                        adds.met.push(key);
                    }
                }
                Some(note) if note.state == KeyState::InDoubt => {
                    end(Outcome::NotAttempted, Some(Code::AddInDoubt), waits_for(note));
                }
                None if against.forgotten => {
                    let message = "the row was first delivered longer ago than keys of adds are kept (key_retention)".to_owned();
                    end(Outcome::Refused, Some(Code::KeyForgotten), message);
                }
                _ => adds.left |= key.kind.bit(),
            }
        }
        Ok(adds)
    }

    /// How a row ends whose adds are all known; none when it has none that say anything.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let outcomes = self.notes.iter().map(|note| note.outcome).filter(|outcome| *outcome != Outcome::Withheld);
        outcomes.max_by_key(|outcome| outcome.severity())
    }
}

/// Words for a row that comes after an add in doubt.
pub fn waits_for(note: &KeyNote) -> String {
    format!("run {} line {} is in doubt: passferry settle {} decides", note.run, note.line, note.key)
}
