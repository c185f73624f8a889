//! The parts of a platform that is described, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bound, OneOrMany, SecretPlace, Span, Statuses, Table};

/// Credentials; keys of one of: `bearer`; `user`, `password`; `header`, `key`; `token_url`, `client_id`, `client_secret`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// `Authorization: Bearer …` with this token.
    pub bearer: Option<Table<SecretPlace>>,
    /// `Authorization: Basic …` with this user.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<Table<SecretPlace>>,
    /// A header of the platform's own that carries `key`.
    pub header: Option<String>,
    /// What stands in `header`.
    pub key: Option<Table<SecretPlace>>,
    /// OAuth 2.0 client credentials: where the token is asked for. `http://` only on this machine.
    pub token_url: Option<String>,
    /// Identifier of the client.
    pub client_id: Option<String>,
    /// Secret of the client.
    pub client_secret: Option<Table<SecretPlace>>,
    /// What the token shall allow. Default: what the platform gives.
    pub scope: Option<String>,
    /// Where identifier and secret stand: a Basic `header`, or the `form`. Default `"header"`.
    pub credentials: Option<Credentials>,
    /// More members of the form, such as `audience`.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
}

/// Where identifier and secret of a client stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    Header,
    Form,
}

/// What a pass can hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpField {
    /// What it holds. Default `"text"`.
    pub kind: Option<HttpKind>,
    /// Where its value stands in a body, as a JSON pointer; `{name}` is what `*` of the field's name stands for. Default: the name, dots as steps.
    pub at: Option<String>,
    /// Most characters of a text. Default: any number.
    #[schemars(range(min = 1))]
    pub length_max: Option<u32>,
    /// Most items of a list, of kind `json`. Default: any number.
    #[schemars(range(min = 1))]
    pub items_max: Option<u32>,
    /// Smallest number the platform takes. Default: any.
    pub least: Option<Bound>,
    /// Largest number the platform takes. Default: any.
    pub most: Option<Bound>,
    /// Most digits behind the point. Default: any number.
    pub decimals: Option<u8>,
    /// How a date or instant is written: strftime conversions, or `"seconds"` or `"milliseconds"` since 1970. Default: ISO 8601, instants in UTC.
    pub format: Option<String>,
    /// JSON that is written to clear it, such as `null`. Without it the field cannot be cleared.
    pub cleared: Option<String>,
    /// It is a balance: earn and burn move it, and its fall to zero is watched. Default false.
    pub balance: Option<bool>,
    /// Its change is shown to the holder, so that notifications alone may use it. Default false.
    pub alert: Option<bool>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpKind {
    Text,
    Number,
    Integer,
    Boolean,
    /// A day.
    Date,
    /// A moment; a date alone means the end of that day in the feed's time zone.
    Instant,
    /// Any JSON, written as text in the cell.
    Json,
}

/// A request that changes something. Values stand in it as `{{ external_id }}`.
///
/// All but updates are sent one by one, adds too (`earn`, `burn`, `redeem`, `notify`): a `batch` carries updates alone.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCall {
    /// Method and address below `base_url`: `PATCH /passes/{{ external_id }}`.
    #[schemars(required)]
    pub request: Option<String>,
    /// Headers beside the platform's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What the body always says, as JSON; fields are put into it at their places. Default `{}`.
    pub body: Option<String>,
    /// Where fields stand in this body, when not at their own place.
    #[serde(default)]
    pub places: BTreeMap<String, String>,
    /// Where the answer names the pass by the platform's identifier: another one proves nothing. Default: not looked at.
    pub pass_id: Option<String>,
    /// Where the answer names the pass by yours. Default: not looked at.
    pub external_id: Option<String>,
    /// What an answer of the right status must be to count: `"json"`, or `"any"` where the platform answers nothing. Default `"json"`.
    pub answer: Option<HttpAnswer>,
    /// Of `update`: the platform takes the whole pass. Where the pass as found stands in the body, under what is changed (`""` for the
    /// body itself). Default: only what is changed is sent.
    pub whole: Option<String>,
    /// Of `update`: the platform issues the pass when there is none. Default false.
    pub creates: Option<bool>,
    /// Of `create`: fields that a new pass must have. Default: none.
    pub requires: Option<Vec<String>>,
    /// Of `earn` and `burn`: write amounts with a minus. Default false.
    pub negative: Option<bool>,
    /// Of `earn`, `burn`, `redeem` and `notify`: for how long the platform carries a request with the same key out once. Default: not at all.
    pub key_lifetime: Option<Span>,
    /// Of the same: how to see whether it was applied. Default: it cannot be seen.
    pub read_back: Option<Table<HttpLook>>,
}

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpAnswer {
    Json,
    Any,
}

/// A request that tells whether an add was applied.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpLook {
    /// As in `find`; `{{ key }}` too.
    #[schemars(required)]
    pub request: Option<String>,
    /// Where the list of events stands. Default: the answer is one event.
    pub list: Option<String>,
    /// Where the answer names the next page of the list. Default: the list comes whole.
    pub next: Option<Table<HttpNext>>,
    /// Where an event has our key.
    #[schemars(required)]
    pub key: Option<String>,
    /// What it means when there is no such event. Default `"unknown"`.
    pub absent: Option<HttpAbsence>,
}

/// What the absence of an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpAbsence {
    /// Nothing: the row is in doubt.
    Unknown,
    /// The add was not applied, and is sent again. Only where the list is complete and never late.
    NotApplied,
}

/// How the next page of a list is asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpNext {
    /// Where the answer names it; the last page has nothing there.
    #[schemars(required)]
    pub at: Option<String>,
    /// What stands there is a mark, and goes into this parameter of the address. Default: it is the address of the next page.
    pub parameter: Option<String>,
}

/// How a pass is found.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpFind {
    /// Method and address: `GET /passes?external_id={{ external_id }}`.
    #[schemars(required)]
    pub request: Option<String>,
    /// The same for feeds that name passes by the platform's identifier. Default: `request`.
    pub by_pass_id: Option<String>,
    /// Headers beside the platform's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON, where passes are searched by POST.
    pub body: Option<String>,
    /// Where the list of passes stands in the answer. Default: the answer is one pass.
    pub list: Option<String>,
    /// Where the answer names the next page of the list. Default: the list comes whole.
    pub next: Option<Table<HttpNext>>,
    /// Where the pass stands, in the answer or in an item of the list. Default: the whole.
    pub pass: Option<String>,
    /// Where the platform's identifier stands in the pass.
    #[schemars(required)]
    pub pass_id: Option<String>,
    /// Where yours stands: a pass with another one is not taken. Default: not looked at.
    pub external_id: Option<String>,
    /// A pass that says this counts as none.
    pub absent: Option<Table<Said>>,
}

/// Words at a place of JSON.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// JSON pointer.
    #[schemars(required)]
    pub at: Option<String>,
    /// What stands there; numbers and truth values as words.
    #[schemars(required)]
    pub is: Option<OneOrMany>,
}

/// A request for several passes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpBatch {
    /// Method and address.
    #[schemars(required)]
    pub request: Option<String>,
    /// Headers beside the platform's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What the body always says, as JSON. Default `{}`.
    pub body: Option<String>,
    /// Most passes of one request. Default 100.
    #[schemars(range(min = 2, max = 10000))]
    pub size: Option<u32>,
    /// Where the list of items stands in the body.
    #[schemars(required)]
    pub items: Option<String>,
    /// What an item always says, as JSON; fields are put into it at their places.
    #[schemars(required)]
    pub item: Option<String>,
    /// Where an item names its pass.
    #[schemars(required)]
    pub item_id: Option<String>,
    /// Where the list of results stands in the answer.
    #[schemars(required)]
    pub results: Option<String>,
    /// Where a result names its pass by the word of its item. Results are never matched by their order.
    #[schemars(required)]
    pub result_id: Option<String>,
    /// Where a result has its own status. Default: the answer's counts for all, and `answers` says the rest.
    pub status: Option<String>,
}

/// What answers mean. A status that is named here counts for nothing else.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Done. Default `"200..299"`.
    pub applied: Option<Statuses>,
    /// No, and nothing was changed. Any other status that is listed nowhere is a no too; but an add is then in doubt.
    pub refused: Option<Statuses>,
    /// Too much in one request. Default 413.
    pub too_large: Option<Statuses>,
    /// There is no such pass. Default 404.
    pub not_found: Option<Statuses>,
    /// The pass is there no more. Default 410.
    pub gone: Option<Statuses>,
    /// Somebody else was faster: the pass is read and changed again. Default `"409, 412, 428"`.
    pub conflict: Option<Statuses>,
    /// It may succeed later. Default `"408, 425, 499, 500, 502..504, 506..599"`.
    pub retry: Option<Statuses>,
    /// Too many requests: `Retry-After` is obeyed. Default 429.
    pub slow_down: Option<Statuses>,
    /// Where an accepted answer says that it was applied, and the words that say so; any other word is a no.
    pub success: Option<Table<Said>>,
    /// Codes of the platform's own, which count more than the status.
    pub code: Option<Table<Codes>>,
    /// Where the platform's words stand, for reports; the first place that has some. Default: `message` and `error`, as is usual.
    pub message: Option<OneOrMany>,
}

/// What codes of the platform mean.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Codes {
    /// Where the code stands.
    #[schemars(required)]
    pub at: Option<String>,
    /// As in `answers`.
    pub applied: Option<OneOrMany>,
    /// As in `answers`.
    pub refused: Option<OneOrMany>,
    /// As in `answers`.
    pub too_large: Option<OneOrMany>,
    /// As in `answers`.
    pub not_found: Option<OneOrMany>,
    /// As in `answers`.
    pub gone: Option<OneOrMany>,
    /// As in `answers`.
    pub conflict: Option<OneOrMany>,
    /// As in `answers`.
    pub retry: Option<OneOrMany>,
    /// As in `answers`.
    pub slow_down: Option<OneOrMany>,
}

/// A harmless request that proves the credentials.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// Method and address: `GET /account`.
    #[schemars(required)]
    pub request: Option<String>,
    /// Where the answer names the account, for people. Default: nowhere.
    pub name: Option<String>,
    /// The request is about a pass that nobody has, so that `not_found` proves the credentials as well. Default false.
    pub not_found: Option<bool>,
}
