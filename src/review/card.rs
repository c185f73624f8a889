//! A pass as a card: what a row would do to it, field by field.

use schemars::JsonSchema;
use serde::Serialize;

use super::parts::LETTERS_MAX;
use crate::page::words::{MASK, visible};
use crate::pipeline::fix::{Change, FieldChange};

/// A preview of a pass. Of texts, the ledger keeps digests alone: that there was another one is all that is known.
#[derive(Serialize, JsonSchema)]
pub struct Card {
    pub pass: String,
    pub operation: &'static str,
    pub fields: Vec<CardField>,
    /// Adds beside the fields.
    pub adds: Vec<String>,
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
        Card {
            pass: masked(change.pass_personal, &change.pass),
            operation: change.verb.as_str(),
            fields: change.fields.iter().map(field).collect(),
            adds: change.adds.clone(),
        }
    }
}
