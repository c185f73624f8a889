//! `[feed.NAME.pgp]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SecretPlace, Table};

/// Files that arrive encrypted or signed with OpenPGP, and reports that go back so; files in binary or ASCII armor, whatever their name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pgp {
    /// Our secret keys, each under a name of your choice: a file may be encrypted to any of them, so that keys can be rotated.
    #[serde(default)]
    pub keys: BTreeMap<String, Table<PgpKey>>,
    /// Paths of public keys, binary or armored. A signature counts when it was made by one of them.
    #[serde(default)]
    pub signed_by: Vec<String>,
    /// Whether an unsigned file is taken. Default `"required"` where `signed_by` names keys, else `"optional"`.
    pub signature: Option<Signature>,
    /// Paths of public keys, binary or armored. What holds cells of a report is encrypted for all of them, and its names end in `.pgp`.
    #[serde(default)]
    pub encrypt_to: Vec<String>,
    /// Name of the key under `keys` that signs what is encrypted. Without it nothing is signed.
    pub sign_with: Option<String>,
}

/// One secret key of ours.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgpKey {
    /// The secret key in ASCII armor, as `gpg --armor --export-secret-keys` writes it.
    #[schemars(required)]
    pub key: Option<Table<SecretPlace>>,
    /// Its passphrase, if it has one.
    pub passphrase: Option<Table<SecretPlace>>,
}

/// Whether an unsigned file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// Every file, corrections too, is signed by one of `signed_by`, or fails.
    Required,
    /// A file may come unsigned; where `signed_by` names keys, a signature that is there must be of one of them.
    Optional,
}
