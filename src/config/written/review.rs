//! The review page, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Span, Table};

/// The review page and its API: served by `run` where this section is there, and by `review` alone.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Address and port. Default `"127.0.0.1:7979"`. Another than a loopback address needs `behind_proxy = true`.
    pub listen: Option<String>,
    /// File of people and tokens that may come in, made by `passferry review --add-user` and `--add-token`. This or `proxy` is needed.
    pub users: Option<String>,
    /// Names under which the page is reached, beside the address itself. Requests for any other are refused.
    pub hosts: Option<Vec<String>>,
    /// A proxy in front ends TLS, so that cookies travel encrypted only. Default false.
    pub behind_proxy: Option<bool>,
    /// A session ends when nothing was done in it for this long. Default `"30m"`.
    pub idle: Option<Span>,
    /// A session ends after this long, whatever was done in it. Default `"12h"`.
    pub session: Option<Span>,
    /// A proxy that has made sure who somebody is (single sign-on), and says so in a header.
    pub proxy: Option<Table<ReviewProxy>>,
}

/// A proxy that says who somebody is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewProxy {
    /// Addresses of the proxy. From any other address the header says nothing.
    #[schemars(required)]
    pub from: Option<Vec<String>>,
    /// The header with the name. The proxy must remove it from what its clients send.
    #[schemars(required)]
    pub header: Option<String>,
    /// A header with the groups of the person, separated by commas. With it, `approvers` and `viewers` name groups.
    pub groups: Option<String>,
    /// Names (or groups) that may decide.
    pub approvers: Option<Vec<String>>,
    /// Names (or groups) that may look. Default: everybody whom the proxy names.
    pub viewers: Option<Vec<String>>,
}
