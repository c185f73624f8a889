//! `daylight_saving`.

use schemars::JsonSchema;
use serde::Deserialize;

/// What local times mean that clocks skip when they are put forward, or that come twice when they are put back.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DaylightSaving {
    /// A time that is skipped. Default `"error"`.
    pub gap: Option<SkippedTime>,
    /// A time that comes twice. Default `"error"`.
    pub overlap: Option<RepeatedTime>,
}

/// What a skipped time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SkippedTime {
    /// Nothing: the row is rejected.
    Error,
    /// As much before the gap: 02:30 is 01:30 where 02:00 to 03:00 are skipped.
    Before,
    /// As much behind the gap: 02:30 is 03:30.
    After,
}

/// Which of two a repeated time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RepeatedTime {
    /// Nothing: the row is rejected.
    Error,
    /// The first.
    Earlier,
    /// The second.
    Later,
}
