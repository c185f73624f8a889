//! A row at each point of its journey after it was read: what it asks for (`Update`), and what is left to do (`Change`).
//!
//! The record itself, its cells and its place, is [`crate::pipeline::decode::Record`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::schema::value::Value;

/// Which pass a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The identifier the customer's systems know the pass by.
    External(String),
    /// The platform's own identifier.
    Pass(String),
}

impl Target {
    pub fn text(&self) -> &str {
        match self {
            Target::External(text) | Target::Pass(text) => text,
        }
    }

    pub fn key(&self) -> PassKey {
        let tag: &[u8] = match self {
            Target::External(_) => b"e",
            Target::Pass(_) => b"p",
        };
        PassKey::of(&[tag, self.text().as_bytes()])
    }
}

/// A digest that stands for a pass of a platform account. Order by it is the order in which runs are diffed and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PassKey(pub u128);

impl PassKey {
    pub fn of(parts: &[&[u8]]) -> PassKey {
        PassKey(digest128(parts))
    }

    /// The two signed halves a database keeps; their order as a pair is not the key's.
    pub const fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub const fn low(self) -> u64 {
        self.0 as u64
    }
}

/// XXH3 of the parts joined. Short ones are joined first: a streaming hasher is set up at many times the cost of hashing an identifier.
pub fn digest128(parts: &[&[u8]]) -> u128 {
    const SHORT: usize = 128;
    let mut joined = [0_u8; SHORT];
    let mut length = 0;
    for part in parts {
        match joined.get_mut(length..length + part.len()) {
            Some(room) => room.copy_from_slice(part),
            None => return digest128_of_long(parts),
        }
        length += part.len();
    }
    xxhash_rust::xxh3::xxh3_128(&joined[..length])
}

#[cold]
fn digest128_of_long(parts: &[&[u8]]) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.digest128()
}

/// What a row means, said by the feed or by a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Change the fields given; the pass must exist.
    Update,
    /// As update; the pass is issued when there is none.
    Upsert,
    /// End the pass's validity now; it stays visible.
    Expire,
    /// Take the pass away for good.
    Void,
}

impl Verb {
    pub const ALL: [Verb; 4] = [Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void];

    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Update => "update",
            Verb::Upsert => "upsert",
            Verb::Expire => "expire",
            Verb::Void => "void",
        }
    }

    pub fn parse(text: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What a row wants of one pass field. Fields it leaves alone are not listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<'a> {
    /// Index into the feed's mapped fields.
    pub field: u8,
    /// The value, or none to clear the field.
    pub value: Option<Value<'a>>,
}

/// A valid row, mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Update<'a> {
    pub target: Target,
    pub verb: Verb,
    pub wanted: Vec<Wanted<'a>>,
}

/// One field of a change, in the platform's words.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Index into the feed's mapped fields.
    pub field: u8,
    /// The pass field's name as the platform knows it (`points`, `metaData.tier_label`).
    pub name: Arc<str>,
    /// The value in the kind that the platform declared for the field, or none to clear it.
    pub value: Option<Value<'static>>,
}

/// What is left to do to one pass for one row. Applying it twice changes nothing more than applying it once.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row's number in its run's ledger rows; comes back with the result.
    pub row: u64,
    pub target: Target,
    pub verb: Verb,
    pub fields: Vec<FieldChange>,
    /// The pass as resolve found it; none where the platform can address it without.
    pub found: Option<Found>,
    /// `RUN:LINE`, for platforms that keep a note with a change.
    pub reference: String,
}

/// A pass that resolve found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The platform's own identifier.
    pub pass_id: String,
    /// What the platform's writer needs to know of the present state (PassKit: tier and whole `metaData`).
    pub state: serde_json::Value,
}
