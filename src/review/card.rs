//! A pass as a card: what a row would do to it, field by field.

use schemars::JsonSchema;
use serde::Serialize;

use super::parts::LETTERS_MAX;
use crate::page::words::{MASK, visible};
use crate::pipeline::fix::{AddChange, Change, FieldChange};
use crate::row::AddKind;

/// A preview of a pass. Of texts, the ledger keeps digests alone: that there was another one is all that is known.
#[derive(Serialize, JsonSchema)]
pub struct Card {
    pub pass: String,
    pub operation: &'static str,
    pub fields: Vec<CardField>,
    /// Its adds with their amounts, such as `earn +50 points`.
    pub adds: Vec<String>,
    /// Operation and adds for people, each said once.
    pub does: String,
}

#[derive(Serialize, JsonSchema)]
pub struct CardField {
    pub field: String,
    /// What was last applied. Absent where nothing is known, or nothing changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Absent where the field is cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// It is what was last applied.
    pub same: bool,
}

impl Card {
    pub fn of(change: &Change, show_personal: bool) -> Card {
        let masked = |personal: bool, text: &str| if personal && !show_personal { MASK.to_owned() } else { visible(text, LETTERS_MAX) };
        let field = |field: &FieldChange| CardField {
            field: visible(&field.field, 80),
            before: field.before.as_deref().filter(|_| !field.same).map(|before| masked(field.personal, before)),
            after: field.after.as_deref().map(|after| masked(field.personal, after)),
            same: field.same,
        };
        let amount = |(balance, amount, personal): &(String, String, bool), sign: &str| {
            format!(" {sign}{} {}", masked(*personal, amount), visible(balance, 80))
        };
        let add = |add: &AddChange| {
            let sign = if add.kind == AddKind::Burn { "−" } else { "+" };
            let amounts: Vec<String> = add.amounts.iter().map(|one| amount(one, sign)).collect();
            format!("{}{}", add.kind, amounts.join(","))
        };
        let adds: Vec<String> = change.adds.iter().map(add).collect();
        // An operation that is an add is told by it.
        let is_told = change.verb.add().is_some_and(|kind| change.adds.iter().any(|add| add.kind == kind));
        let operation = (!is_told).then(|| change.verb.as_str().to_owned());
        Card {
            does: operation.into_iter().chain(adds.iter().cloned()).collect::<Vec<_>>().join(", "),
            pass: masked(change.pass_personal, &change.pass),
            operation: change.verb.as_str(),
            fields: change.fields.iter().map(field).collect(),
            adds,
        }
    }
}
