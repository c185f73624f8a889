//! Accounts of passes that are hosted here, as meant.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::apple::pass::Design;
use crate::secret::Secret;

/// `contracts/apple-wallet.md`. What that page marks unverified is a setting here.
#[derive(Clone, Debug, PartialEq)]
pub struct AppleWallet {
    /// The account's name in the configuration.
    pub name: String,
    /// The store of passes, in the state directory.
    pub store: PathBuf,
    /// `passTypeIdentifier`, and the topic of pushes.
    pub pass_type: String,
    /// `teamIdentifier`.
    pub team: String,
    /// The folder of `pass.json`, images and translations.
    pub template: PathBuf,
    pub design: Arc<Design>,
    pub signing: Signing,
    /// Section 6: `webServiceURL`, without a slash at the end.
    pub public_url: String,
    pub listen: Option<SocketAddr>,
    pub serials: Serials,
    /// Label of a message's field that is added to a pass.
    pub message_label: Option<String>,
    pub push: Push,
}

/// What packages are signed with (section 5).
#[derive(Clone, Debug, PartialEq)]
pub struct Signing {
    pub certificate: PathBuf,
    /// The key, where it is not with the certificate.
    pub key: Option<Secret>,
    pub passphrase: Option<Secret>,
    pub intermediate: PathBuf,
    /// Section 2: that a certificate names type and team was not seen on a real one.
    pub check_subject: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serials {
    ExternalId,
    Random,
}

/// How phones are told that something changed (section 7).
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Scheme, host and port.
    pub url: String,
    /// A CA certificate file (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    pub proof: PushProof,
    /// Section 10: whether passes may have every type is not verified.
    pub kind: String,
    pub priority: u8,
    /// Section 10: `{}` or `{"aps":{}}`.
    pub body: String,
    /// Between two pushes to one token, at least.
    pub every: Duration,
    /// After an answer that Apple was not able to.
    pub retry: Duration,
}

/// Who pushes.
#[derive(Clone, Debug, PartialEq)]
pub enum PushProof {
    /// The signing certificate, as the client's.
    Certificate,
    /// A signed token.
    Token { key: Secret, key_id: String },
}
