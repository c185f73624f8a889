//! A row at each point of its journey after it was read: what it asks for (`Update`), and what is left to do (`Change`, `Addition`).
//!
//! The record itself, its cells and its place, is [`crate::pipeline::decode::Record`].

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Instant;

use rust_decimal::Decimal;
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
    /// Add the mapped amounts to the pass's balances; other mapped fields are set.
    Earn,
    /// Take the mapped amounts off the pass's balances; other mapped fields are set.
    Burn,
    /// Use the pass up once.
    Redeem,
    /// Note that the pass was shown, as a ticket at a gate.
    Validate,
}

impl Verb {
    pub const ALL: [Verb; 8] = [Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void, Verb::Earn, Verb::Burn, Verb::Redeem, Verb::Validate];

    /// The add that a row of this verb asks for; none for those that repeating does not harm.
    pub const fn add(self) -> Option<AddKind> {
        match self {
            Verb::Earn => Some(AddKind::Earn),
            Verb::Burn => Some(AddKind::Burn),
            Verb::Redeem => Some(AddKind::Redeem),
            Verb::Validate => Some(AddKind::Validate),
            Verb::Update | Verb::Upsert | Verb::Expire | Verb::Void => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Update => "update",
            Verb::Upsert => "upsert",
            Verb::Expire => "expire",
            Verb::Void => "void",
            Verb::Earn => "earn",
            Verb::Burn => "burn",
            Verb::Redeem => "redeem",
            Verb::Validate => "validate",
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

/// An operation that must not be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddKind {
    Earn,
    Burn,
    Redeem,
    Notify,
    Validate,
}

impl AddKind {
    pub const ALL: [AddKind; 5] = [AddKind::Earn, AddKind::Burn, AddKind::Redeem, AddKind::Notify, AddKind::Validate];

    /// The operation's name in reports and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            AddKind::Earn => "earn",
            AddKind::Burn => "burn",
            AddKind::Redeem => "redeem",
            AddKind::Notify => "notify",
            AddKind::Validate => "validate",
        }
    }

    pub fn parse(text: &str) -> Option<AddKind> {
        AddKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Its bit among the adds that a row has left.
    pub const fn bit(self) -> u8 {
        match self {
            AddKind::Earn | AddKind::Burn | AddKind::Redeem | AddKind::Validate => 1,
            AddKind::Notify => 2,
        }
    }
}

impl fmt::Display for AddKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What makes the adds of a row the same adds for ever, wherever the row turns up again (failure model, section 6). Written `k` and
/// 32 hexadecimal digits, so that no spreadsheet takes it for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey(pub u128);

impl RowKey {
    /// The first half of SHA-256 over the parts, each behind its length: a file's author must not be able to make two rows one.
    pub fn of(parts: &[&[u8]]) -> RowKey {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        RowKey(digest[..16].iter().fold(0, |all, byte| all << 8 | u128::from(*byte)))
    }

    pub fn parse(text: &str) -> Option<RowKey> {
        let digits = text.strip_prefix('k').filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u128::from_str_radix(digits, 16).ok().map(RowKey)
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "k{:032x}", self.0)
    }
}

/// The identity of one add: its row's, and which of the row's adds it is. What a platform is given as the event's own identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddKey {
    pub row: RowKey,
    pub kind: AddKind,
}

impl AddKey {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<AddKey> {
        let (row, kind) = text.split_once('-')?;
        Some(AddKey { row: RowKey::parse(row)?, kind: AddKind::parse(kind)? })
    }
}

impl fmt::Display for AddKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.row, self.kind)
    }
}

/// What an add carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Balances by mapped field, each with its amount, above zero. Empty for a redemption and a validation.
    Amounts(Vec<(u8, Decimal)>),
    /// The words of a notification.
    Text(String),
}

/// An add that a row asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    pub key: AddKey,
    pub load: Load,
}

impl Add {
    /// Digest of all that the add would do, beside its pass: the same key with another one is a conflict.
    pub fn print(&self, pass: PassKey, fields: &[crate::mapping::MappedField]) -> u64 {
        let mut text = format!("{:032x} {}", pass.0, self.key.kind);
        match &self.load {
            Load::Amounts(amounts) => {
                for (field, amount) in amounts {
                    let name = fields.get(*field as usize).map_or("", |field| &*field.name);
                    let _ = write!(text, " {name}={}", amount.normalize());
                }
            }
            Load::Text(words) => text.push_str(words),
        }
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
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
    /// Adds, in the order in which they are sent, after the fields.
    pub adds: Vec<Add>,
    /// What lack of consent keeps back.
    pub withheld: Withheld,
    /// When its state was true, where the feed has a column that says so.
    pub stamp: Option<i64>,
}

/// What lack of consent keeps back of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Mapped fields, one bit each.
    pub fields: u64,
    pub notification: bool,
}

impl Withheld {
    pub fn is_nothing(self) -> bool {
        self == Withheld::default()
    }
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

/// An add on its way to the platform. It is sent once; what became of it is told by [`crate::platform::AddEnd`].
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// As in [`Change`].
    pub row: u64,
    pub target: Target,
    pub key: AddKey,
    /// Digest of all it does: [`Add::print`].
    pub print: u64,
    /// Balances by the platform's name for them.
    pub amounts: Vec<(Arc<str>, Decimal)>,
    /// A notification: the pass field whose change tells the holder, and the words.
    pub notification: Option<(Arc<str>, String)>,
    /// `RUN:LINE`, for platforms that keep a note with a change.
    pub reference: String,
    /// The pass's balances before, where the proof needs them: the platform's own state of [`Found`].
    pub before: Option<serde_json::Value>,
    /// It may have been sent by an earlier start: prove that it was not before sending it.
    pub perhaps_sent: bool,
    /// Since when the platform may have it, on this machine's monotonic clock; none while that is not known. A key that the platform
    /// keeps for a time is as old at most.
    pub since: Option<Instant>,
    /// A person wants it sent if it is not found there, although that proves nothing.
    pub decided: bool,
}

/// A pass that resolve found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The platform's own identifier.
    pub pass_id: String,
    /// What the platform's writer needs to know of the present state (PassKit: tier and whole `metaData`).
    pub state: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_is_written() {
        let key = RowKey::of(&[b"pos", b"T-1"]);
        assert_eq!(RowKey::parse(&key.to_string()), Some(key));
        assert_eq!(RowKey::parse("k1.23E+31"), None);
        assert_eq!(RowKey::parse(""), None);
        assert_ne!(RowKey::of(&[b"ab", b"c"]), RowKey::of(&[b"a", b"bc"]), "the parts are told apart");
    }
}
