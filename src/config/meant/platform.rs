//! Platform accounts as meant.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::apple::AppleWallet;
use super::http::Http;
use crate::secret::Secret;

#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    pub name: String,
    pub kind: PlatformKind,
    /// `production` or `test`; a feed must say the same.
    pub environment: Environment,
    /// Requests a second; none takes the platform's default.
    pub allowance: Option<f64>,
    /// Requests at once; none takes the platform's default.
    pub in_flight: Option<usize>,
    /// Deadline of one try; none takes the platform's default.
    pub timeout: Option<Duration>,
    /// Tries of one request; none takes the platform's default.
    pub tries: Option<u32>,
    /// How long after a lost answer the platform may still apply what it was asked; none takes the platform's default.
    pub settling: Option<Duration>,
    /// A CA certificate file (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Production,
    Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PlatformKind {
    Http(Arc<Http>),
    Passkit(Passkit),
    GoogleWallet(GoogleWallet),
    TheWalletCrew(TheWalletCrew),
    AppleWallet(Arc<AppleWallet>),
}

impl PlatformKind {
    /// What makes it the account it is: its kind, its address, and the part of it that its passes are in. A baseline and an order of
    /// changes are kept for it, and a feed that gets another one is a changed feed.
    pub fn identity(&self) -> [&str; 3] {
        match self {
            PlatformKind::Http(http) => [http.kind, &http.base_url, &http.account],
            PlatformKind::Passkit(passkit) => ["passkit", &passkit.base_url, passkit.passes.class()],
            PlatformKind::GoogleWallet(google) => ["google_wallet", &google.base_url, &google.account],
            PlatformKind::TheWalletCrew(crew) => ["thewalletcrew", &crew.base_url, &crew.tenant],
            PlatformKind::AppleWallet(apple) => ["apple_wallet", &apple.pass_type, &apple.team],
        }
    }
}

/// `contracts/passkit.md`, sections 1, 2, 4, 5 and 6. The built-in sandbox is reached by giving its address as `base_url`.
#[derive(Clone, Debug, PartialEq)]
pub struct Passkit {
    /// Address of the REST API: `https://api.pub1.passkit.io`, `https://api.pub2.passkit.io`, or `base_url`.
    pub base_url: String,
    pub credential: PasskitCredential,
    pub passes: PasskitPasses,
    pub read_back: ReadBack,
    /// Nobody else writes to these passes.
    pub sole_writer: bool,
    /// Passes to find from which on a run may read the account's whole list instead; none where it never does.
    pub index_from: Option<u64>,
}

/// What opens a PassKit account (section 1).
#[derive(Clone, Debug, PartialEq)]
pub enum PasskitCredential {
    /// Requests are signed.
    Pair {
        key: Secret,
        secret: Secret,
        /// `Authorization: Bearer <jwt>` (default) or the bare token.
        bearer: bool,
    },
    /// Section 1.2: opaque and permanent, so that its end is what its owner says.
    Token { token: Secret, ends: Option<chrono::NaiveDate> },
}

/// What the passes of a PassKit account are.
#[derive(Clone, Debug, PartialEq)]
pub enum PasskitPasses {
    /// Section 4.
    Members {
        program: String,
        /// Tier given to passes that `upsert` issues when the feed maps no tier.
        tier: Option<String>,
    },
    /// Section 5.
    Coupons {
        campaign: String,
        /// Offer of coupons that `upsert` issues when the feed maps none.
        offer: Option<String>,
    },
    /// Section 6.
    Tickets {
        production: String,
        /// Event and type of tickets that `upsert` issues when the feed maps none.
        event: Option<String>,
        ticket_type: Option<String>,
        /// A validation beyond the last of so many redeems the ticket.
        validations: Option<u32>,
    },
}

impl PasskitPasses {
    /// The program, campaign or production.
    pub fn class(&self) -> &str {
        match self {
            PasskitPasses::Members { program: class, .. }
            | PasskitPasses::Coupons { campaign: class, .. }
            | PasskitPasses::Tickets { production: class, .. } => class,
        }
    }
}

/// What may be believed of an add whose answer was lost. PassKit does not say whether it keeps our identifiers of events (contract 4.2, M7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBack {
    /// An event with our identifier proves that the add was applied; that there is none proves nothing.
    #[default]
    Presence,
    /// As said by the configuration, events carry our identifiers: that there is none proves that points were neither given nor taken.
    Events,
    /// Nobody else changes balances, so that they prove what was applied.
    Balance,
    /// Nothing is asked.
    Nothing,
}

/// `contracts/google-wallet.md`. What that page marks unverified is a setting here.
#[derive(Clone, Debug, PartialEq)]
pub struct GoogleWallet {
    pub base_url: String,
    /// Overrules the key file's `token_uri`.
    pub token_url: Option<String>,
    /// The service account's key file: JSON.
    pub key: Secret,
    /// Decimal digits.
    pub issuer: String,
    pub class: WalletClass,
    /// With the issuer in front.
    pub class_id: Option<String>,
    /// Issuer, kind and class in one: what tells this account from others at the same address.
    pub account: String,
    pub object_ids: ObjectIds,
    pub id_prefix: String,
    /// Characters of an object's identifier, issuer included.
    pub id_max: usize,
    pub language: String,
    pub currency: Option<String>,
    /// Changes in one request.
    pub batch: usize,
    /// May `null` be sent to take a value away?
    pub nulls: bool,
    /// Fields, or front parts of their names, whose change is to alert the holder.
    pub notify_on: Vec<String>,
    /// Alerts of a pass within 24 hours.
    pub notify_max: u32,
    pub over_quota: OverQuota,
    pub message_header: Option<String>,
    pub messages_full: MessagesFull,
    pub void_state: VoidState,
    pub slow_reasons: Vec<String>,
    pub read_back: ReadBack,
}

/// The kinds of objects (contract 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalletClass {
    Loyalty,
    GiftCard,
    Offer,
    EventTicket,
    Flight,
    Transit,
    Generic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectIds {
    #[default]
    Escaped,
    Plain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverQuota {
    #[default]
    Text,
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessagesFull {
    #[default]
    Send,
    Replace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VoidState {
    #[default]
    Inactive,
    Completed,
}

/// `contracts/thewalletcrew.md`, section 2. What the vendor's public text leaves open is a setting.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that the vendor does not publish")]
pub struct TheWalletCrew {
    /// `https://app.neostore.cloud`, `https://app-qa.neostore.cloud`, or `base_url`.
    pub base_url: String,
    pub tenant: String,
    pub key: Secret,
    /// Name of the external identifier by which feeds name passes.
    pub identifier: Option<String>,
    pub pass_type: Option<String>,
    /// Section 2.4: whether an update must name the type is not public.
    pub type_in_updates: bool,
    /// Section 2.3: two passes may carry one identifier; what an update does then is not public.
    pub look_first: bool,
    /// Section 2.4, "Merge or replace?": an update replaces the blocks that it names, so that they are written whole.
    pub replaces_blocks: bool,
    /// Section 2.4, "Removing a key": by an empty text instead of `null`.
    pub clears_by_text: bool,
    /// Section 1.7, "Value types": everything is sent as text.
    pub text_only: bool,
    /// Section 2.4: updates are queued; a change counts once it was read back.
    pub confirm: bool,
    /// Section 2.6, "Repeat safety": the same pass comes back, or a refusal.
    pub create_again: bool,
    /// Section 2.3: the largest page is not public.
    pub page_size: u16,
}
