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
    /// Address of the API, where it is not the platform's usual one: the sandbox, a proxy. `http://` only on this machine. Of
    /// `apple_wallet`: the address that pushes go to.
    pub base_url: Option<String>,

    // passkit
    /// Region of the account (kinds `passkit`, `airship`). This or `base_url` is needed.
    pub region: Option<Region>,
    /// API key; of `apple_wallet` the certificate's private key (PEM).
    pub key: Option<Table<SecretPlace>>,
    /// API secret.
    pub secret: Option<Table<SecretPlace>>,
    /// A long-lived token, instead of key and secret.
    pub token: Option<Table<SecretPlace>>,
    /// The last day on which you mean to use the token; `check --reach` tells of it from 30 days before. PassKit names none.
    pub token_ends: Option<String>,
    /// Identifier of the program whose members the passes are.
    pub program: Option<String>,
    /// Identifier of the campaign whose single-use coupons the passes are.
    pub campaign: Option<String>,
    /// Identifier of the production whose event tickets the passes are.
    pub production: Option<String>,
    /// Offer of coupons that `upsert` issues when the feed maps none.
    pub offer: Option<String>,
    /// Event of tickets that `upsert` issues when the feed maps none.
    pub event: Option<String>,
    /// Type of tickets that `upsert` issues when the feed maps none.
    pub ticket_type: Option<String>,
    /// How often a ticket can be validated: PassKit redeems it with the last time. Default: it is never redeemed by that.
    #[schemars(range(min = 1))]
    pub validations: Option<u32>,
    /// Tier of passes that `upsert` issues when the feed maps none.
    pub tier: Option<String>,
    /// Send `Authorization: Bearer TOKEN` (true) or the bare token (false). Default true.
    pub bearer: Option<bool>,
    /// What proves that an add whose answer was lost was applied or not. Default `"presence"`.
    pub read_back: Option<ReadBack>,
    /// Nobody but passferry changes balances and fields of this program's passes. Needed for `read_back = "balance"`. Default false.
    pub sole_writer: Option<bool>,
    /// Passes to find from which on the whole list of passes is read once, if that takes fewer requests than asking. 0: never. Default 2000.
    pub index_from: Option<u64>,

    // google_wallet
    /// Identifier of the issuer, from the Google Pay & Wallet Console.
    pub issuer: Option<String>,
    /// What kind of passes the account's objects are.
    pub class: Option<WalletClass>,
    /// The class that `upsert` issues passes of, and that `check --reach` and `baseline seed` ask for; without the issuer in front.
    pub class_id: Option<String>,
    /// Where tokens are asked for. Default: the key file's `token_uri`, or Google's own.
    pub token_url: Option<String>,
    /// How an external ID becomes the identifier of an object. Default `"escaped"`.
    pub object_ids: Option<ObjectIds>,
    /// What stands in front of each external ID in the identifier of its object. Default: nothing.
    pub id_prefix: Option<String>,
    /// Characters that an identifier may have; Google's with the issuer. Default: 255 at Google, any number elsewhere.
    #[schemars(range(min = 1))]
    pub id_max: Option<u16>,
    /// Language (BCP 47) of texts that a pass keeps by language. Default `"en-US"`.
    pub language: Option<String>,
    /// Currency (ISO 4217) of amounts of money for which no column says it. Default: the one that the pass has.
    pub currency: Option<String>,
    /// Changes that travel in one request; 1 switches batches off. Default 20.
    #[schemars(range(min = 1, max = 1000))]
    pub batch_size: Option<u16>,
    /// Send `null` to take a value away. Default true.
    pub nulls: Option<bool>,
    /// Fields whose change is to alert the holder: a field's name, or the front part of one up to a dot. Default: none.
    pub notify_on: Option<Vec<String>>,
    /// Alerts that a pass may have within 24 hours. Default 3.
    #[schemars(range(min = 1))]
    pub notify_max: Option<u16>,
    /// What becomes of an alert beyond that. Default `"text"`.
    pub over_quota: Option<OverQuota>,
    /// Header of messages that have none: those of one line. Of `apple_wallet` the label of a message's field that a pass does not have yet.
    pub message_header: Option<String>,
    /// What becomes of a message for a pass that holds 10 already. Default `"send"`.
    pub messages_full: Option<MessagesFull>,
    /// What `void` makes of a pass. Default `"INACTIVE"`.
    pub void_state: Option<VoidState>,
    /// Reasons of a 403 that ask to slow down. Default `["rateLimitExceeded", "userRateLimitExceeded"]`.
    pub slow_reasons: Option<Vec<String>>,

    // thewalletcrew
    /// Identifier of the tenant, a part of every address. Needed.
    pub tenant: Option<String>,
    /// Name of the external identifier that a feed's `pass = { external_id = … }` holds, such as `"y2.customerId"`. Without it passes are
    /// named by The Wallet Crew's own id.
    pub identifier: Option<String>,
    /// The type of this account's passes: given to those that `upsert` issues, and asked for when a pass is looked for. Of `apple_wallet`
    /// the pass type identifier, which is needed.
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
    /// Identifier of the template whose passes these are. Of `apple_wallet` the folder that passes are made from, which is needed.
    pub template: Option<String>,

    // apple_wallet
    /// Team identifier of the Apple developer account. Needed.
    pub team: Option<String>,
    /// Certificate of the pass type: PEM, or `.p12` with its key. Needed.
    pub certificate: Option<String>,
    /// What the private key, or the `.p12`, is locked with. Default: nothing.
    pub passphrase: Option<Table<SecretPlace>>,
    /// Apple's intermediate certificate (WWDR), PEM or DER. Needed.
    pub intermediate: Option<String>,
    /// The certificate must name the pass type and the team. Default true.
    pub check_subject: Option<bool>,
    /// Where phones reach the service, as passes tell them; `/v1/…` is added to it. Needed.
    pub public_url: Option<String>,
    /// Address and port that `run` serves phones at; a proxy in front does TLS. Default: no service.
    pub listen: Option<String>,
    /// What serial number a pass that is issued gets. Default `"external_id"`.
    pub serials: Option<Serials>,
    /// Key (`.p8`) that proves who pushes. Default: the certificate does.
    pub push_key: Option<Table<SecretPlace>>,
    /// Identifier of that key, 10 characters.
    pub push_key_id: Option<String>,
    /// `apns-push-type` of pushes. Default `"background"`.
    pub push_type: Option<String>,
    /// `apns-priority` of pushes. Default 5.
    #[schemars(range(min = 1, max = 10))]
    pub push_priority: Option<u8>,
    /// Body of pushes. Default `"{}"`.
    pub push_body: Option<String>,
    /// Least time between two pushes to one phone. Default `"2s"`.
    pub push_every: Option<Span>,
    /// Time before a push that Apple could not take is tried again. Default `"15m"`.
    pub push_retry: Option<Span>,
}

/// What serial number a pass that is issued gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Serials {
    /// The customer's identifier, which then stands in addresses.
    ExternalId,
    /// One that says nothing.
    Random,
}

/// What kind of passes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WalletClass {
    Loyalty,
    GiftCard,
    Offer,
    EventTicket,
    Flight,
    Transit,
    Generic,
}

/// How an external ID becomes the identifier of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectIds {
    /// Letters, digits, `.` and `-` as they are; every other byte as `_` and two hexadecimal digits.
    Escaped,
    /// As it is; one with other characters than letters, digits, `.`, `_` and `-` is refused.
    Plain,
}

/// What becomes of an alert beyond the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OverQuota {
    /// What it says is put on the pass without an alert.
    Text,
    /// Its row is refused.
    Refuse,
}

/// What becomes of a message for a pass that is full of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessagesFull {
    /// It is sent all the same, and Google decides.
    Send,
    /// The oldest message is taken off the pass first.
    Replace,
}

/// A state that a pass taken away has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum VoidState {
    Inactive,
    Completed,
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
    Airship,
    /// Any other platform: the section describes how it is spoken to.
    Http,
    Passkit,
    GoogleWallet,
    #[serde(rename = "thewalletcrew")]
    TheWalletCrew,
    /// Passes that passferry hosts itself.
    AppleWallet,
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
