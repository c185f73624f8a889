//! What monitoring is told, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SecretPlace, Span, Table};

/// Numbers in Prometheus' text format, health and readiness, from a listener of `passferry run`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of `/metrics`, `/healthz` and `/readyz`. Nobody is asked who they are.
    #[schemars(required)]
    pub listen: Option<String>,
    /// Allows an address that other machines reach. Default false.
    pub allow_remote: Option<bool>,
    /// A source that was not listed for this long after it should have been makes `/readyz` say no. Default `"5m"`.
    pub stale_after: Option<Span>,
}

/// Traces of runs (file, station, chunk, request), sent by OTLP over HTTP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// Address of the collector; `/v1/traces` is added where it has no path.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// Share of runs that are traced, from 0 to 1. Default 1.
    pub sample: Option<f64>,
    /// Deadline of one delivery to the collector. Default `"10s"`.
    pub timeout: Option<Span>,
    /// Tells platforms which trace a request is part of (`traceparent`, W3C Trace Context). Default false.
    pub propagate: Option<bool>,
    /// Attributes of this process in every trace, besides its name and version.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Headers of each delivery, such as a key; values are secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, Table<SecretPlace>>,
}
