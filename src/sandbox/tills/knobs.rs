//! What a platform that nobody has heard of may be like.

use serde::{Deserialize, Serialize};

use crate::sandbox::oauth::TokenKnobs;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each with a name of its own in the JSON
pub struct Knobs {
    pub auth: Auth,
    pub token: TokenKnobs,
    /// Answers of writes carry an `Idempotency-Key` for so many days.
    pub keys_days: u64,
    /// A write without an `Idempotency-Key` is refused.
    pub key_required: bool,
    /// `Idempotency-Key` means nothing.
    pub no_keys: bool,
    /// A PUT without a rising `version` is refused.
    pub version_required: bool,
    /// A PUT of a pass that is not there makes it.
    pub put_creates: bool,
    /// Items a batch may have.
    pub batch_max: usize,
    /// What a batch is answered of which some failed.
    pub batch_status: u16,
    /// The results of a batch come in another order than its items.
    pub batch_shuffled: bool,
    /// A batch answers its failures alone.
    pub batch_failures_only: bool,
    /// Errors are answered with 200 and `"ok": false`.
    pub soft_errors: bool,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            auth: Auth::Any,
            token: TokenKnobs::default(),
            keys_days: 7,
            key_required: false,
            no_keys: false,
            version_required: true,
            put_creates: false,
            batch_max: 100,
            batch_status: 200,
            batch_shuffled: true,
            batch_failures_only: false,
            soft_errors: false,
        }
    }
}

/// What opens the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Any of the others.
    Any,
    /// `Authorization: Bearer` with the settings' token.
    Bearer,
    /// `Authorization: Basic` with the settings' key and secret.
    Basic,
    /// The settings' key in the header `X-Api-Key`.
    ApiKey,
    /// `Authorization: Bearer` with a token of `POST /oauth2/token`.
    Oauth2,
}
