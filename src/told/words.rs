//! Numbers, times and what is hidden, in the words of commands and pages.

use chrono::{DateTime, Utc};

/// What stands in place of a personal value.
pub const MASK: &str = "•••";

/// An instant in the zone of this machine.
pub fn time(at: DateTime<Utc>) -> String {
    at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in one or two units.
pub fn ago(at: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - at).num_seconds().max(0) as u64;
    format!("{} ago", span(seconds))
}

/// A time in its two largest units.
pub fn span(seconds: u64) -> String {
    let coarse = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    humantime::format_duration(std::time::Duration::from_secs(coarse)).to_string()
}

/// A number with its thousands set apart.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// "1 row", "2 rows".
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}
