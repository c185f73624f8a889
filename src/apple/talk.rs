//! What the adapter asks the desk, and what the desk answers: JSON, in place of another platform's protocol.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// How a pass is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// By the customer's identifier.
    External(String),
    /// By its serial number.
    Serial(String),
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Which passes carry each of these names? Answered by [`Found`].
    Find(Vec<Name>),
    /// Carry out these changes, all in one transaction. Answered by [`Changed`].
    Change(Vec<Wish>),
    /// Carry this add out, unless it was. Answered by [`Added`].
    Add(AddWish),
    /// Was the add with this key carried out? Answered by [`WasAdded`].
    Added(String),
    /// Passes from this number on. Answered by [`Listed`].
    List(u64),
    /// Is everything as it must be? Answered by [`Proved`].
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Set parts of a pass that is there.
    Update,
    /// The same, or issue a new one.
    Upsert,
    Void,
    /// Let it be over from now on, if it is not already; or from the time that is set.
    Expire,
}

/// A change of one pass. Carrying it out again changes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wish {
    pub name: Name,
    /// The pass as it was found; the name is not looked up again.
    pub serial: Option<String>,
    pub what: What,
    /// Parts by their name in a mapping; null takes a part away.
    pub set: Vec<(String, Json)>,
}

/// An add to one pass.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddWish {
    pub key: String,
    /// Digest of all it does.
    pub print: u64,
    pub name: Name,
    /// Fields and what is added to each; below zero takes off. As text, exactly.
    pub amounts: Vec<(String, String)>,
    /// A field and the words that it is to show.
    pub message: Option<(String, String)>,
    /// Use the pass up.
    pub redeem: bool,
}

/// How one part of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The pass is as it was asked to be, whether it was before or not.
    Done,
    Created,
    Absent,
    /// Several passes carry the name.
    Several,
    Refused,
    /// The add was carried out before.
    Already,
    /// Another add was carried out under the key.
    OtherAdd,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Known {
    pub serial: String,
    pub external_id: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// One list a name, in the same order.
    pub passes: Vec<Vec<Known>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub end: End,
    pub serial: Option<String>,
    /// Why, in words, for what did not end well.
    pub message: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    /// One a change, in the same order.
    pub ends: Vec<Ended>,
}

pub type Added = Ended;

#[derive(Debug, Serialize, Deserialize)]
pub struct WasAdded {
    pub added: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    pub passes: Vec<(Known, Json)>,
    /// Where the next page begins; none after the last.
    pub next: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Proved {
    pub ok: bool,
    /// It is the certificate or a key that is refused.
    pub denied: bool,
    pub message: String,
}
