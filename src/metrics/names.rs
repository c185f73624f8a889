//! Every family of numbers: its name, which says its unit, its labels, and what it means.
//!
//! Names follow Prometheus' rules (<https://prometheus.io/docs/practices/naming>): the application's name first, base units, `_total` for what is
//! counted.

/// How a family behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A family.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All families, in the order of the file.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),*];
    };
}

metrics! {
    BUILD = "passferry_build_info", Gauge, ["version"], "Always 1; the version is the label.";
    START = "passferry_start_timestamp_seconds", Gauge, [], "When this process began to count.";
    CONFIG_ACCEPTED = "passferry_config_last_reload_successful", Gauge, [], "1 while the running configuration is the last one it was asked to read; 0 after one was refused.";

    // Files and rows
    FILES = "passferry_files", Gauge, ["feed", "state"], "Files (runs) that are not over, by state; held ones wait for a person.";
    OLDEST = "passferry_oldest_waiting_file_age_seconds", Gauge, ["feed"], "How long ago the oldest file that is not over was seen; 0 when there is none.";
    OVERDUE = "passferry_expected_file_overdue", Gauge, ["feed"], "1 while a file that should have come has not; only of feeds that expect one.";
    RUNS = "passferry_runs_total", Counter, ["feed", "end"], "Runs that are over, by how they ended. A run that ends in another way once it was settled counts again.";
    FILE_FAULTS = "passferry_file_faults_total", Counter, ["feed", "code"], "Files that were bad as a whole, by code.";
    ROWS = "passferry_rows_total", Counter, ["feed", "outcome"], "Rows of runs that are over, by outcome, as their reports have them. A row that was settled counts again.";
    PROBLEMS = "passferry_problems_total", Counter, ["feed", "code"], "Problems of rows of runs that are over, by code, as their reports have them.";
    ROWS_IN_DOUBT = "passferry_rows_in_doubt", Gauge, ["feed"], "Rows with an add whose answer was lost, which wait for somebody to settle them.";
    ROWS_WAITING = "passferry_rows_waiting", Gauge, ["feed"], "Rows still to be sent of files that were let through.";
    PROGRESS = "passferry_running_progress_ratio", Gauge, ["feed", "station"], "How much of its station the running file has behind it, from 0 to 1.";
    RATE = "passferry_running_rows_per_second", Gauge, ["feed"], "Rows of the running file that end in a second, of late.";
    STATION_SECONDS = "passferry_station_duration_seconds", Histogram, ["feed", "station"], "Time that a station of the road took with a file, each time that it ended.";

    // Sources
    SOURCE_LISTED = "passferry_source_last_listing_timestamp_seconds", Gauge, ["source"], "When every inbox of the source was last listed, or its files were last read from it; 0 before the first time.";
    SOURCE_UP = "passferry_source_up", Gauge, ["source"], "1 when the last look at the source found nothing wrong.";

    // Platforms
    PLATFORM_UP = "passferry_platform_up", Gauge, ["platform"], "0 while the platform is out and something waits for it.";
    IN_FLIGHT = "passferry_requests_in_flight", Gauge, ["platform"], "Requests that wait for their answer.";
    REQUESTS = "passferry_requests_total", Counter, ["platform", "answer"], "Requests sent, repeats included, by the class of their answer: a status, or why there is none. Requests for tokens are not among them.";
    REQUEST_SECONDS = "passferry_request_duration_seconds", Histogram, ["platform"], "Time from a request to the end of its answer, or to its loss.";
    REPEATS = "passferry_request_repeats_total", Counter, ["platform"], "Requests that were sent again.";
    SLOWED = "passferry_request_slowdowns_total", Counter, ["platform"], "Times that the platform asked to slow down.";
    ALLOWANCE = "passferry_platform_allowance_requests_per_second", Gauge, ["platform"], "Requests that may leave in a second, by configuration or contract.";
    ALLOWANCE_USED = "passferry_platform_allowance_used_total", Counter, ["platform"], "Requests that the allowance was charged with; one may count for several.";
    TOKENS = "passferry_token_refreshes_total", Counter, ["platform", "result"], "Times that a token was asked for, by what came of it.";

    // This machine
    LEDGER_READABLE = "passferry_ledger_readable", Gauge, [], "1 when the ledger could be read for this answer.";
    LEDGER_BYTES = "passferry_ledger_size_bytes", Gauge, [], "Size of the ledger on the disk, its log included.";
    LEDGER_COMMIT = "passferry_ledger_last_commit_duration_seconds", Gauge, [], "How long the last commit of this process took.";
    SPOOL_BYTES = "passferry_spool_size_bytes", Gauge, [], "Size of all files in the spool.";
    STATE_FREE = "passferry_state_free_bytes", Gauge, [], "Room left on the disk of the state.";
    RESERVE_HELD = "passferry_reserve_held", Gauge, [], "0 while the room kept in reserve is given up and nothing new is begun.";

    // `once`
    ONCE_END = "passferry_once_last_end_timestamp_seconds", Gauge, [], "When the last sweep ended.";
    ONCE_EXIT = "passferry_once_last_exit_code", Gauge, [], "How the last sweep ended; the exit codes are those of the command line.";
}

/// The family of a series, by the series' name: a histogram's series have endings of their own.
pub fn family_of(series: &str) -> Option<&'static Metric> {
    let named = |name: &str| ALL.iter().find(|metric| metric.name == name);
    let histogram = || {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| series.strip_suffix(ending))?;
        named(base).filter(|metric| metric.kind == Kind::Histogram)
    };
    named(series).or_else(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_unit_and_are_told_apart() {
        let units = ["_seconds", "_bytes", "_total", "_ratio", "_info", "_per_second"];
        let plain = |name: &str| name.starts_with("passferry_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for metric in ALL {
            assert!(plain(metric.name), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            let counts_things = metric.kind == Kind::Gauge && !metric.name.contains("time") && !metric.name.contains("duration");
            assert!(counts_things || units.iter().any(|unit| metric.name.ends_with(unit)), "{} has no unit", metric.name);
            assert!(metric.help.ends_with('.') && metric.labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase())));
            assert_eq!(ALL.iter().filter(|other| other.name == metric.name).count(), 1);
        }
        assert_eq!(family_of("passferry_request_duration_seconds_bucket").unwrap().name, REQUEST_SECONDS);
        assert!(family_of("passferry_files_count").is_none() && family_of("passferry_file").is_none());
    }
}
