//! Platforms that the configuration describes, as meant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::platform::http::pointer::Pointer;
use crate::platform::http::template::{Body, Line, Template};
use crate::secret::Secret;

/// A platform that is spoken to as the configuration says. Kind `airship` is such a description that comes with the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// `http` or `airship`.
    pub kind: &'static str,
    pub base_url: String,
    /// Which of several accounts at one address; empty where there is one.
    pub account: String,
    /// Characters of an identifier, at most.
    pub id_max: Option<usize>,
    /// All that says how a change reaches the platform, as written: a change of it is a change of each feed's meaning.
    pub meaning: String,
    pub auth: Auth,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub fields: Vec<Field>,
    pub find: Option<Find>,
    pub update: Option<Update>,
    pub create: Option<Create>,
    pub expire: Option<Call>,
    pub void: Option<Call>,
    pub earn: Option<Add>,
    pub burn: Option<Add>,
    pub redeem: Option<Add>,
    pub notify: Option<Add>,
    pub batch: Option<Batch>,
    pub answers: Answers,
    pub probe: Option<Probe>,
}

/// What a request proves itself by.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    Nothing,
    Bearer(Secret),
    Basic { user: String, password: Secret },
    Header { name: HeaderName, key: Secret },
    Token(Box<Token>),
}

/// The client credentials grant of OAuth 2.0 (RFC 6749, 4.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Whole address of the token endpoint.
    pub address: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub scope: Option<String>,
    /// Identifier and secret stand in the form instead of a Basic header.
    pub in_form: bool,
    /// More members of the form, such as `audience`.
    pub form: Vec<(String, String)>,
}

/// What a pass can hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: NamePattern,
    pub kind: Kind,
    /// Where its value stands in a body; `{name}` is what `*` stands for.
    pub at: Pointer,
    /// Characters of a text, at most.
    pub length_max: Option<usize>,
    /// Items of a list of JSON, at most.
    pub items_max: Option<usize>,
    pub least: Option<Decimal>,
    pub most: Option<Decimal>,
    /// Digits behind the point, at most.
    pub decimals: Option<u32>,
    /// How a date or an instant is written.
    pub format: Option<Format>,
    /// What is written to clear it; none where it cannot be cleared.
    pub cleared: Option<Json>,
    pub balance: bool,
    /// Its change is shown to the holder: notifications alone may use it.
    pub alert: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Integer,
    Boolean,
    Date,
    Instant,
    /// Any JSON, written as text in the cell.
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// chrono's conversions.
    Text(String),
    /// Since 1970.
    Seconds,
    Milliseconds,
}

/// A field's name, or several by one `*`, which stands for anything but nothing and dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    pub text: String,
}

impl NamePattern {
    /// What `*` stands for in this name; empty where there is no `*`. None where it is another name.
    pub fn matches<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self.text.split_once('*') {
            None => (self.text == name).then_some(""),
            Some((before, after)) => {
                let middle = name.strip_prefix(before)?.strip_suffix(after)?;
                (!middle.is_empty() && !middle.contains('.')).then_some(middle)
            }
        }
    }
}

/// A request that changes something, and what its answer tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub line: Line,
    pub headers: Vec<(HeaderName, Template)>,
    /// None for requests without one.
    pub body: Option<Body>,
    /// Where fields stand in this body, when not at their own place.
    pub places: Vec<(String, Pointer)>,
    pub told: Told,
}

/// Where an answer names the pass it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub pass_id: Option<Pointer>,
    pub external_id: Option<Pointer>,
    /// An answer of the right status counts whatever it holds.
    pub anything: bool,
}

impl Call {
    /// The words that its templates need.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = self.line.names();
        names.extend(self.headers.iter().flat_map(|(_, value)| value.names()));
        names.extend(self.body.iter().flat_map(Body::names));
        names
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub call: Call,
    /// Where the pass as found stands in the body, under all that is changed.
    pub whole: Option<Pointer>,
    /// The platform issues the pass when there is none.
    pub creates: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    pub call: Call,
    pub requires: Vec<String>,
}

/// A request that must not be repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    pub call: Call,
    /// Amounts are written with a minus.
    pub negative: bool,
    /// The request carries a key under which the platform carries it out once for so long.
    pub key_lifetime: Option<Duration>,
    pub read_back: Option<LookUp>,
}

impl Add {
    /// The words that its templates need, those of the look at it among them.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = self.call.names();
        names.extend(self.read_back.iter().flat_map(|look| look.line.names()));
        names
    }
}

/// A request that tells whether an add was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct LookUp {
    pub line: Line,
    /// Where the list of events stands; none where the answer is one event.
    pub list: Option<Pointer>,
    pub next: Option<Next>,
    /// Where our key stands in an event.
    pub key: Pointer,
    /// That there is no such event proves that the add was not applied.
    pub absence_proves: bool,
}

/// Where an answer names the next page of its list.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    pub at: Pointer,
    /// The parameter that takes what stands there; none where it is an address.
    pub parameter: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    pub line: Line,
    /// The request where a pass is named by the platform's own identifier.
    pub by_pass_id: Option<Line>,
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Option<Body>,
    /// Where the list of passes stands; none where the answer holds one pass.
    pub list: Option<Pointer>,
    pub next: Option<Next>,
    /// Where the pass stands, in the answer or in an item of the list.
    pub pass: Pointer,
    /// In the pass.
    pub pass_id: Pointer,
    pub external_id: Option<Pointer>,
    /// A pass that holds one of these words there counts as none.
    pub absent: Option<(Pointer, Vec<String>)>,
}

impl Find {
    pub fn names(&self) -> BTreeSet<String> {
        let lines = self.line.names().into_iter().chain(self.by_pass_id.iter().flat_map(Line::names));
        lines.chain(self.headers.iter().flat_map(|(_, value)| value.names())).chain(self.body.iter().flat_map(Body::names)).collect()
    }
}

/// A request that changes several passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub line: Line,
    pub headers: Vec<(HeaderName, Template)>,
    pub body: Body,
    /// Passes of one request, at most.
    pub size: usize,
    /// Where the list of items stands in the body.
    pub items: Pointer,
    pub item: Body,
    /// Where an item names its pass.
    pub item_id: Pointer,
    /// Where the list of results stands in the answer.
    pub results: Pointer,
    /// Where a result names its pass, by the word that its item had.
    pub result_id: Pointer,
    /// Where a result has its status; without it the answer's counts for all.
    pub status: Option<Pointer>,
}

impl Batch {
    pub fn names(&self) -> BTreeSet<String> {
        let shared = self.line.names().into_iter().chain(self.headers.iter().flat_map(|(_, value)| value.names()));
        shared.chain(self.body.names()).chain(self.item.names()).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub line: Line,
    /// Where the answer names the account, for people.
    pub name: Option<Pointer>,
    /// It is about a pass that nobody has: that there is none proves the credentials.
    pub not_found: bool,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Applied,
    /// The platform says no, and nothing was changed.
    Refused,
    TooLarge,
    NotFound,
    Gone,
    Conflict,
    /// It may succeed later.
    Retry,
    SlowDown,
    /// Of this status nobody has said what it means: a no, of which it is not known whether anything changed.
    Unlisted,
}

/// Codes by what they mean.
pub type Codes = Vec<(Class, Vec<String>)>;

#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    pub statuses: Vec<(Class, Vec<RangeInclusive<u16>>)>,
    /// Where an answer that was accepted says whether it was applied, and the words that say so.
    pub success: Option<(Pointer, Vec<String>)>,
    /// Where an answer has a code of the platform's own, and what codes mean; they count more than the status.
    pub codes: Option<(Pointer, Codes)>,
    /// Where the platform's words stand; the first that is there counts.
    pub messages: Vec<Pointer>,
}
