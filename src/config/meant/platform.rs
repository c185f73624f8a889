//! Platform accounts as meant.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
}

impl PlatformKind {
    /// What makes it the account it is: its kind, its address, and the part of it that its passes are in. A baseline and an order of
    /// changes are kept for it, and a feed that gets another one is a changed feed.
    pub fn identity(&self) -> [&str; 3] {
        match self {
            PlatformKind::Http(http) => [http.kind, &http.base_url, &http.account],
            PlatformKind::Passkit(passkit) => ["passkit", &passkit.base_url, &passkit.program],
        }
    }
}

/// `contracts/passkit.md`, sections 1 and 2. The built-in sandbox is reached by giving its address as `base_url`.
#[derive(Clone, Debug, PartialEq)]
pub struct Passkit {
    /// Address of the REST API: `https://api.pub1.passkit.io`, `https://api.pub2.passkit.io`, or `base_url`.
    pub base_url: String,
    pub key: Secret,
    pub secret: Secret,
    pub program: String,
    /// Tier given to passes that `upsert` issues when the feed maps no tier.
    pub tier: Option<String>,
    /// `Authorization: Bearer <jwt>` (default) or the bare token.
    pub bearer: bool,
    pub read_back: ReadBack,
    /// Nobody else writes to passes of this program.
    pub sole_writer: bool,
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
