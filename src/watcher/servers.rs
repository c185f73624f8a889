//! What answers others while files are ferried, and how it goes over to another configuration: all of it has what it needs before any of it
//! changes.

use std::sync::Arc;

use anyhow::Context;
use tracing::error;

use crate::apple::host::{Host, hosted};
use crate::config::meant::Config;
use crate::listening::listen_at;
use crate::metrics::Board;
use crate::metrics::service::Service;

pub(super) struct Servers {
    metrics: Service,
    /// For phones.
    host: Host,
}

/// What follows, where it differs.
pub(super) struct Prepared {
    metrics: Option<Service>,
    host: Option<Host>,
}

impl Servers {
    /// Whoever asks for numbers is answered before `meanwhile` is done, and phones after it.
    pub fn start(board: &Arc<Board>, config: &Config, meanwhile: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Servers> {
        let metrics = Service::start(board, config.metrics.as_ref())?;
        meanwhile()?;
        Ok(Servers { metrics, host: Host::start(hosted(config))? })
    }

    /// Fails, and changes nothing, where an address cannot be listened at or a store cannot be opened.
    pub fn prepare(&self, earlier: &Config, config: &Config) -> anyhow::Result<Prepared> {
        let listens = |config: &Config| config.review.as_ref().map(|review| review.listen);
        if let Some(address) = listens(config).filter(|_| listens(config) != listens(earlier)) {
            // The page is a server of its own, which opens it again in a moment.
            listen_at(address, None).with_context(|| format!("[review]: cannot listen at {address}"))?;
        }
        Ok(Prepared { metrics: self.metrics.prepare(config.metrics.as_ref())?, host: self.host.prepare(hosted(config))? })
    }

    pub fn take_up(&mut self, prepared: Prepared) {
        if let Some(Err(fault)) = prepared.metrics.map(|next| self.metrics.take_up(next)) {
            error!("metrics are told no more: {fault:#}");
        }
        if let Some(Err(fault)) = prepared.host.map(|next| self.host.take_up(next)) {
            error!("phones are not served and not told of changes: {fault:#}");
        }
    }
}
