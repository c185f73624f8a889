//! What monitoring is told, as meant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::secret::Secret;

/// Numbers, health and readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// On this machine alone, unless the file allows others by a key of its own.
    pub listen: SocketAddr,
    /// So long after it should have been listed a source counts as stale. Default 5 min.
    pub stale_after: Duration,
}

/// Traces of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Whole address that spans are posted to.
    pub endpoint: String,
    /// Share of runs that are traced, from 0 to 1. Default 1.
    pub sample: f64,
    /// Deadline of one delivery. Default 10 s.
    pub timeout: Duration,
    /// Requests to platforms carry a `traceparent` header.
    pub propagate: bool,
    pub attributes: BTreeMap<String, String>,
    /// Headers of each delivery.
    pub headers: Vec<(String, Secret)>,
}
