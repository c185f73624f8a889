//! The `[platform.NAME]` sections as written. All kinds share one table; which keys belong to which kind is checked apart.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Allowance, SecretPlace, Span, Table};

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
    /// Region of the account. This or `base_url` is needed.
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

    // thewalletcrew
    /// Identifier of the tenant, a part of every address. Needed.
    pub tenant: Option<String>,
    /// Name of the external identifier that a feed's `pass = { external_id = … }` holds, such as `"y2.customerId"`. Without it passes are
    /// named by The Wallet Crew's own id.
    pub identifier: Option<String>,
    /// The type of this account's passes: given to those that `upsert` issues, and asked for when a pass is looked for.
    pub pass_type: Option<String>,
    /// Name the pass type in updates too. Default false.
    pub type_in_updates: Option<bool>,
    /// Look for the pass before it is changed, so that an identifier of several passes is noticed. Default true.
    pub look_first: Option<bool>,
    /// What an update does to keys that it does not name. Default `"keys"`: they stay.
    pub merge: Option<Merge>,
    /// How a key is cleared. Default `"remove"`.
    pub clear: Option<Clear>,
    /// What numbers and booleans of a schema become. Default `"typed"`.
    pub values: Option<Values>,
    /// When a change counts as applied. Default `"accepted"`.
    pub confirm: Option<Confirm>,
    /// Issuing the same identifier twice makes no second pass. Default false.
    pub create_again: Option<bool>,
    /// Passes asked for at once when all are listed. Default 20.
    #[schemars(range(min = 1))]
    pub page_size: Option<u16>,
}

/// What an update does to the keys of a block that it does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// They stay.
    Keys,
    /// They are gone, so the whole block is read, changed and written back. Needs `confirm = "read"`.
    Block,
}

/// How a key is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clear {
    /// By a null, which asks for the key to be removed.
    Remove,
    /// By an empty text.
    Empty,
}

/// What numbers and booleans of a schema become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// JSON numbers and booleans; all else is text.
    Typed,
    /// Everything is text, as in the vendor's own files.
    Text,
}

/// When a change counts as applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// When the platform took it.
    Accepted,
    /// When the pass, read back, holds it: one more request a change, or several.
    Read,
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
    Passkit,
    #[serde(rename = "thewalletcrew")]
    TheWalletCrew,
}

/// PassKit's regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Europe.
    Pub1,
    /// USA.
    Pub2,
}

/// Real passes or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Production,
    Test,
}
