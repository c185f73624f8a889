//! How values move, and what the rows that are left cost in requests: the evidence for guards and for people.

use std::collections::HashMap;

use super::{Against, state_of};
use crate::ledger::run::{MoveSample, Moves};
use crate::ledger::{Known, Mark, Row};
use crate::mapping::Mapping;
use crate::pipeline::validate::Entry;
use crate::row::{Change, FieldChange, Target, Verb};
use crate::schema::value::Value;

/// Evidence for the person who decides about a held file.
pub(super) const SAMPLES: usize = 20;

pub(super) fn note_moves(entry: &Entry, baseline: Option<&Known>, mask: u64, adds: u8, against: &Against<'_>, moves: &mut Moves) {
    moves.passes += 1;
    for (key, _) in entry.adds.iter().filter(|(key, _)| adds & key.kind.bit() != 0) {
        *moves.adds.entry(key.kind.to_string()).or_default() += 1;
    }
    match entry.verb {
        Verb::Expire | Verb::Void => moves.ended += 1,
        Verb::Upsert if baseline.is_none() => moves.perhaps_created += 1,
        Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => {}
    }
    let (mut zeroed, mut cleared, mut balance) = (false, false, false);
    for &(field, mark) in entry.wanted.iter().filter(|(field, _)| mask & (1 << field) != 0) {
        let mapped = &against.mapping.fields()[field as usize];
        let before = state_of(baseline, field, against).map(|state| state.mark);
        if mapped.rule.balance {
            balance = true;
            // An existing pass whose balance we do not know may hold something.
            let held_something = before.map_or(entry.verb == Verb::Update, |mark| !mark.is_nothing());
            zeroed |= mark.is_nothing() && held_something;
        } else {
            cleared |= mark.is_empty() && before.is_some_and(|mark| !mark.is_empty());
        }
        if moves.samples.len() < SAMPLES && !mapped.personal {
            moves.samples.push(MoveSample {
                line: entry.line,
                field: mapped.name.to_string(),
                from: before.map_or_else(|| "unknown".to_owned(), Mark::show),
                to: if mark.is_empty() { "nothing".to_owned() } else { mark.show() },
            });
        }
    }
    moves.zeroed += u64::from(zeroed);
    moves.cleared += u64::from(cleared);
    moves.balances += u64::from(balance);
}

/// What rows cost in requests, asked of the platform once for each combination of verb and fields.
#[derive(Default)]
pub(super) struct Requests {
    known: HashMap<(Verb, u64), (u32, bool)>,
    writes: u64,
    finds: u64,
}

impl Requests {
    pub(super) fn count(&mut self, mapping: &Mapping, row: &Row) {
        // An add is one request, and a notification reads the pass before.
        self.writes += u64::from(row.adds & 1) + u64::from(row.adds & 2);
        let verb = if row.verb.add().is_some() { Verb::Update } else { row.verb };
        if verb == Verb::Update && row.mask == 0 {
            return;
        }
        let (writes, finds) = *self.known.entry((verb, row.mask)).or_insert_with(|| {
            let some = Some(Value::Integer(1));
            let fields = (0..mapping.fields().len())
                .filter(|field| row.mask & (1 << field) != 0)
                .map(|field| FieldChange { field: field as u8, name: mapping.fields()[field].name.clone(), value: some.clone() })
                .collect();
            mapping.requests(&Change {
                row: 0,
                target: Target::External(String::new()),
                verb,
                fields,
                found: None,
                reference: String::new(),
            })
        });
        self.writes += u64::from(writes);
        self.finds += u64::from(finds);
    }

    /// Rows whose pass must be found.
    pub(super) fn finds(&self) -> u64 {
        self.finds
    }

    /// Finds go in lists.
    pub(super) fn total(&self, mapping: &Mapping) -> u64 {
        self.writes + self.finds.div_ceil(mapping.find_batch())
    }
}
