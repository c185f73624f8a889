//! How a feed's deliveries arrive.

use std::time::Duration;

use crate::zone::Zone;

/// Several files that are one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub kind: SetKind,
    /// Each part begins with the same header, where files have one; otherwise the first alone.
    pub header_in_each: bool,
    /// Does the number of records in a manifest count header lines? None: where it is Redshift's.
    pub counts_header: Option<bool>,
    /// The file that says that a set is complete: inside of its folder, or in the inbox.
    pub marker: Option<String>,
    /// How long all parts must be unchanged. None: what proves the set must be no older than its parts.
    pub quiet: Option<Duration>,
    /// After this long an incomplete set is an alert.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// A folder, with a glob over the names of parts in it. With partitions, folders below it name columns that the parts do not have.
    Spark { parts: String, partitions: bool },
    /// Parts with something in common: a regular expression with a group `set`, and perhaps `number`.
    Shards { group: String },
    /// Parts that a manifest lists, with a glob over names that it should list.
    Manifest { parts: String },
}

/// The forms of names that Snowflake (`x_0_0_0`), BigQuery (`x000000000000`, `x_000000000000`) and Redshift (`x0000_part_00`) give to parts
/// (contracts/exports.md, sections 1 to 3). BigQuery alone numbers without gaps.
pub const SHARDS: &str = r"^(?P<set>.*?)[_-]?(?:[0-9]+_[0-9]+_[0-9]+|(?P<number>[0-9]{12})|[0-9]{4}_part_[0-9]{2,})(?:\.[A-Za-z0-9]+)*$";

/// A file that says how much there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub file: String,
    /// A regular expression with a group `records`, and perhaps `parts` and `bytes`.
    pub pattern: String,
}

/// `records=2`, `rows: 2`, `"record_count": 2`.
pub const RECORDS: &str =
    r#"(?im)^[^\w]*(?:records?|rows?|lines?|record_?count|row_?count|count)["']?\s*[=:]\s*["']?(?P<records>[0-9]+)\b"#;

/// When a file must have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// A five-field cron expression.
    pub by: String,
    pub timezone: Zone,
    /// None: since the time before.
    pub within: Option<Duration>,
    /// Days that the date in the name lies behind.
    pub behind: u32,
}
