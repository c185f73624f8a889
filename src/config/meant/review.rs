//! The review page, as meant.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// A loopback address, unless a proxy is in front.
    pub listen: SocketAddr,
    /// File of people and tokens. None where all come by the proxy.
    pub users: Option<PathBuf>,
    /// Names in `Host` beside the address itself, in lower case, without a port.
    pub hosts: Vec<String>,
    /// TLS ends in front.
    pub behind_proxy: bool,
    /// A session without a request ends after this. Default 30 min.
    pub idle: Duration,
    /// Any session ends after this. Default 12 h.
    pub session: Duration,
    pub proxy: Option<ReviewProxy>,
}

/// Whom to believe when a header says who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewProxy {
    pub from: Vec<IpAddr>,
    /// Lower case.
    pub header: String,
    /// Lower case. With it, the names below are those of groups.
    pub groups: Option<String>,
    pub approvers: Vec<String>,
    /// None: everybody whom the proxy names.
    pub viewers: Option<Vec<String>>,
}
