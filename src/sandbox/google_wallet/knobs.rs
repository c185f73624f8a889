//! What the contract leaves open (section 14) and what a test wants otherwise. The defaults are the contract's.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each with a name of its own in the JSON
pub struct Knobs {
    /// Calls in any second and token, parts of batches counted one by one; no limit when null.
    pub calls_per_second: Option<usize>,
    /// What a call above it is answered.
    pub over_rate: OverRate,
    /// The `Retry-After` of such an answer.
    pub rate_retry_after: Option<String>,
    /// `expires_in` of a token, and how long it is good for.
    pub token_seconds: u64,
    /// `expires_in` comes as a text.
    pub token_seconds_as_text: bool,
    /// A token is good for so many calls only.
    pub token_calls: Option<u64>,
    /// The token endpoint answers this error (RFC 6749), e.g. `invalid_grant` or `temporarily_unavailable`.
    pub token_error: Option<String>,
    /// Parts a batch may have.
    pub batch_max: usize,
    /// Notifications per pass and kind within 24 hours.
    pub notices_per_day: usize,
    /// What becomes of an update whose notification is above that.
    pub over_notices: OverNotices,
    /// Fields whose change notifies: names joined by dots.
    pub notifying_fields: Vec<String>,
    /// An update that changes no such field notifies all the same.
    pub notify_unchanged: bool,
    pub eleventh_message: EleventhMessage,
    /// A null in a PATCH changes nothing instead of deleting the field.
    pub null_keeps: bool,
    /// Two subtypes of a balance are kept side by side instead of refused.
    pub two_balances: bool,
    /// A PATCH or PUT may move an object to another class.
    pub class_may_change: bool,
    /// An object is found on any kind's path.
    pub any_vertical: bool,
    /// A body that carries `classReference` is refused instead of read without it.
    pub refuse_class_reference: bool,
    /// The issuer is on the list of those who may set `merchantLocations`.
    pub merchant_locations: bool,
    /// Enumerations are answered in capitals instead of their old spelling.
    pub capitals: bool,
    /// Errors hold a code and a message alone.
    pub bare_errors: bool,
    /// The longest id, in characters.
    pub id_max: Option<usize>,
    /// How long an insert takes that makes the platform fetch an image.
    pub image_ms: u64,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            calls_per_second: Some(20),
            over_rate: OverRate::TooMany,
            rate_retry_after: None,
            token_seconds: 3599,
            token_seconds_as_text: false,
            token_calls: None,
            token_error: None,
            batch_max: 1000,
            notices_per_day: 3,
            over_notices: OverNotices::Silent,
            notifying_fields: [
                "loyaltyPoints.balance",
                "secondaryLoyaltyPoints.balance",
                "balance",
                "validTimeInterval",
                "seatInfo",
                "boardingAndSeatingInfo",
                "state",
            ]
            .map(str::to_owned)
            .to_vec(),
            notify_unchanged: false,
            eleventh_message: EleventhMessage::Refused,
            null_keeps: false,
            two_balances: false,
            class_may_change: false,
            any_vertical: false,
            refuse_class_reference: false,
            merchant_locations: false,
            capitals: false,
            bare_errors: false,
            id_max: None,
            image_ms: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverRate {
    /// 429 `RESOURCE_EXHAUSTED`.
    TooMany,
    /// 403 `rateLimitExceeded`.
    Forbidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverNotices {
    /// The update is kept and nobody is notified.
    Silent,
    /// 403 `quotaExceeded`, and nothing is kept.
    Refused,
}

/// What an eleventh message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EleventhMessage {
    Refused,
    DropsOldest,
    Kept,
}
