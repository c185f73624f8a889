//! Sends what platforms describe: the one place with requests in flight.
//!
//! One [`Dispatch`] serves one platform account for every run of the process. It keeps the account's allowance, obeys `Retry-After` for all,
//! keeps the changes of one pass in order, repeats what may be repeated, and stands still while the platform is out.

use std::time::Duration;

/// How the account is doing, for status lines and run states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Nothing is sent but single probes; `since` says how long, `reason` in words.
    Out {
        reason: String,
        since: Duration,
    },
}

/// Counters since the start, for reports and the bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub repeats: u64,
    pub slowed: u64,
}
