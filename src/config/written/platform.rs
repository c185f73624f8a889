//! The `[platform.NAME]` sections as written. All kinds share one table; which keys belong to which kind is checked apart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Allowance, Answers, Auth, HttpBatch, HttpCall, HttpField, HttpFind, HttpProbe, SecretPlace, Span, Table};

/// A platform account: one set of credentials, one allowance.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Whose platform it is.
    #[schemars(required)]
    pub kind: Option<PlatformKind>,
    /// A feed of the other environment may not use this account. Default `"production"`.
    pub environment: Option<Environment>,
    /// Most requests per time, over all feeds and runs. Default: the platform's own limit.
    pub allowance: Option<Allowance>,
    /// Most requests at once. Default: the platform's own limit.
    #[schemars(range(min = 1))]
    pub in_flight: Option<u16>,
    /// Deadline of one try of a request. Default: the platform's own.
    pub timeout: Option<Span>,
    /// Tries of one request before its row is refused while others succeed. Default: the platform's own.
    #[schemars(range(min = 1))]
    pub tries: Option<u16>,
    /// PEM file of a CA to trust beside the system's.
    pub ca_file: Option<String>,
    /// How long the platform may still apply a request after its answer was lost: only then an add that was lost is looked for.
    /// At least the platform's own request limit. Default: the platform's own.
    pub settling: Option<Span>,
    /// Address of the API, where it is not the platform's usual one: the sandbox, a proxy. `http://` only on this machine.
    pub base_url: Option<String>,

    // passkit
    /// Region of the account (kinds `passkit`, `airship`). This or `base_url` is needed.
    pub region: Option<Region>,
    /// API key.
    pub key: Option<Table<SecretPlace>>,
    /// API secret.
    pub secret: Option<Table<SecretPlace>>,
    /// Identifier of the program whose members the passes are.
    pub program: Option<String>,
    /// Tier of passes that `upsert` issues when the feed maps none.
    pub tier: Option<String>,
    /// Send `Authorization: Bearer TOKEN` (true) or the bare token (false). Default true.
    pub bearer: Option<bool>,
    /// What proves that an add whose answer was lost was applied or not. Default `"presence"`.
    pub read_back: Option<ReadBack>,
    /// Nobody but passferry changes balances and fields of this program's passes. Needed for `read_back = "balance"`. Default false.
    pub sole_writer: Option<bool>,

    // http
    /// Which of several accounts at one address this is: any word. Default: there is one.
    pub account: Option<String>,
    /// What requests prove themselves by. Default: nothing.
    pub auth: Option<Table<Auth>>,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What passes can hold, by the names that feeds map. `*` in a name stands for anything without dots.
    #[serde(default)]
    pub fields: BTreeMap<String, Table<HttpField>>,
    /// How a pass is found, where requests need what only the platform knows of it.
    pub find: Option<Table<HttpFind>>,
    /// How fields are changed.
    pub update: Option<Table<HttpCall>>,
    /// How a pass is issued.
    pub create: Option<Table<HttpCall>>,
    /// How a pass's validity is ended.
    pub expire: Option<Table<HttpCall>>,
    /// How a pass is taken away for good.
    pub void: Option<Table<HttpCall>>,
    /// How amounts are added.
    pub earn: Option<Table<HttpCall>>,
    /// How amounts are taken off.
    pub burn: Option<Table<HttpCall>>,
    /// How a pass is used up once.
    pub redeem: Option<Table<HttpCall>>,
    /// How a holder is notified.
    pub notify: Option<Table<HttpCall>>,
    /// How fields of several passes are changed by one request. `update` is then used for what cannot travel together.
    pub batch: Option<Table<HttpBatch>>,
    /// What answers mean.
    pub answers: Option<Table<Answers>>,
    /// A harmless request that proves the credentials, for `check --reach`.
    pub probe: Option<Table<HttpProbe>>,

    // airship
    /// Identifier of the template whose passes these are.
    pub template: Option<String>,
}

/// What proves an add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadBack {
    /// An event that carries our key proves that the add was applied; that there is none proves nothing.
    Presence,
    /// As `presence`; and your account is known to keep our keys, so that no event proves that the add was not applied.
    Events,
    /// The balance before and after.
    Balance,
    /// Nothing: every lost answer waits for a person.
    Nothing,
}

/// Whose platform it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlatformKind {
    Airship,
    /// Any other platform: the section describes how it is spoken to.
    Http,
    Passkit,
}

/// Regions of PassKit (`pub1`, `pub2`) and Airship (`eu`, `us`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Europe.
    Pub1,
    /// USA.
    Pub2,
    /// Europe.
    Eu,
    /// USA.
    Us,
}

/// Real passes or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Production,
    Test,
}
