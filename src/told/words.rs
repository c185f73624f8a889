//! Times as commands tell them.

use chrono::{DateTime, Utc};

use crate::page::words::span;

/// An instant in the zone of this machine.
pub fn time(at: DateTime<Utc>) -> String {
    at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in one or two units.
pub fn ago(at: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - at).num_seconds().max(0) as u64;
    format!("{} ago", span(seconds))
}
