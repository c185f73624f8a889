//! The wall clock, as far as it can be believed. Deadlines, pauses and quiet periods never ask it: they use the monotonic one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// Seconds since 1970 before which no clock is right, because this program was not yet written. Packagers set the day of the build.
const EARLIEST: &str = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => seconds,
    None => "1767225600",
};

/// What is wrong with a time that the clock shows, in words, or none. A token signed with it would be refused, or valid for too long.
pub fn fault(now: SystemTime) -> Option<String> {
    let earliest = UNIX_EPOCH + Duration::from_secs(EARLIEST.parse().unwrap_or_default());
    (now < earliest).then(|| {
        let (now, earliest): (DateTime<Utc>, DateTime<Utc>) = (now.into(), earliest.into());
        format!(
            "this machine's clock says {}, before passferry was made ({}): nothing is signed until it is set right",
            now.format("%Y-%m-%d %H:%M"),
            earliest.format("%Y-%m-%d")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B10.
    #[test]
    fn a_clock_that_starts_at_1970_is_not_believed() {
        assert!(fault(UNIX_EPOCH + Duration::from_hours(9)).unwrap().contains("1970-01-01 09:00"));
        assert_eq!(fault(UNIX_EPOCH + Duration::from_secs(2_000_000_000)), None);
    }
}
