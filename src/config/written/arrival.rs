//! How a feed's deliveries arrive, as written: sets, what stands beside them, when they are expected.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Span;

/// Several files that are one delivery, with one report.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// What `pattern` is of: `"spark"` the names of folders with parts in them, `"shards"` the names of the parts, `"manifest"` the names of
    /// manifests that list the parts.
    #[schemars(required)]
    pub kind: Option<SetKind>,
    /// Glob over the names of parts: of `spark`, default `"part-*"`; of `manifest`, which files are parts that a manifest should list,
    /// default `"*"` behind the manifest's own prefix.
    pub parts: Option<String>,
    /// `spark`: parts lie in folders such as `region=EU/date=2026-11-22` below, which name columns that are not in the parts. They are columns
    /// like others, behind those of the parts. Default false: such folders hold the set.
    pub partitions: Option<bool>,
    /// `shards`: regular expression over the names of parts, with a group `set`: what all parts of one set share. Where there is a group
    /// `number`, parts must be numbered without gaps. Default: the forms of Snowflake, BigQuery and Redshift.
    pub group: Option<String>,
    /// Which parts begin with the header. Default `"each"`.
    pub header: Option<SetHeader>,
    /// Does the number of records in a manifest count header lines? Default: in Redshift's manifests, yes.
    pub counts_header: Option<bool>,
    /// A set that is incomplete for this long is an alert; one that contradicts what was declared of it is held then. Default: the
    /// feed's `patience`.
    pub patience: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetKind {
    Spark,
    Shards,
    Manifest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetHeader {
    /// Each part, the same.
    Each,
    /// Only the first.
    First,
}

/// A file that says how much there is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its name: `{}` is the data file's or set's, `{stem}` that without its endings.
    #[schemars(required)]
    pub file: Option<String>,
    /// Regular expression over its text, with a group `records`, and perhaps `parts` and `bytes`. Default: `records=2`, `rows: 2` and the
    /// like.
    pub pattern: Option<String>,
}

/// When a file must have come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Minute, hour, day, month, weekday: by each of these times a file must have come.
    #[schemars(required)]
    pub by: Option<String>,
    /// IANA time zone of `by`. Default: the feed's.
    pub timezone: Option<String>,
    /// A file counts that came within this time before, or after. Default: since the time before it.
    pub within: Option<Span>,
    /// With `date`: days that the date in the name lies behind the day of `by`. Then that file alone counts. Default 0.
    pub behind: Option<u32>,
}
