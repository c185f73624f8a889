//! A feed as it is for one file: its schema and mapping, looked up.

use std::sync::Arc;

use anyhow::anyhow;

use super::Road;
use crate::config::meant::Feed;
use crate::format;
use crate::ledger::Run;
use crate::mapping::Mapping;
use crate::outcome::Code;
use crate::pipeline::looking::columns_of;
use crate::platform::Account;
use crate::schema::{HeaderFault, Schema};

/// A feed with everything looked up.
pub struct Prepared {
    pub schema: Schema,
    pub mapping: Mapping,
    pub field_ids: Vec<u16>,
    /// The ledger's number of the feed's clock, where a column says how new a row is.
    pub clock: Option<u16>,
    pub account: Account,
}

/// A feed as it is for one file, and what was looked up of it.
pub type OfFile = (Arc<Feed>, Arc<Prepared>);

/// A fault of a feed that took its shape from a file is the file's.
fn of_header(message: String) -> HeaderFault {
    HeaderFault { code: Code::UnmatchedHeader, column: None, label: String::new(), message }
}

/// What makes a feed unusable although its configuration reads well: a template, a clearing, an operation its platform cannot do.
#[derive(Debug, thiserror::Error)]
#[error("feed {feed}: {}", .faults.join("; "))]
pub struct FeedFaults {
    pub feed: String,
    /// Each as `key: what`, the key below the feed's.
    pub faults: Vec<String>,
}

/// A feed's schema and mapping. `field_id` gives the ledger's number of a pass field.
pub fn prepare(feed: &Feed, account: &Account, field_id: impl Fn(&str) -> anyhow::Result<u16>) -> anyhow::Result<Prepared> {
    let faulty = |faults| FeedFaults { feed: feed.name.clone(), faults };
    let schema = Schema::parse(&feed.schema_text)
        .map_err(|faults| faulty(faults.iter().map(|fault| format!("schema: {}: {}", fault.path, fault.message)).collect()))?;
    let mapping = Mapping::new(feed, &schema, Arc::clone(account)).map_err(faulty)?;
    let field_ids = mapping.fields().iter().map(|field| field_id(&field.name)).collect::<anyhow::Result<_>>()?;
    let clock = mapping.clock_name(&feed.name, &schema).map(|name| field_id(&name)).transpose()?;
    Ok(Prepared { schema, mapping, field_ids, clock, account: Arc::clone(account) })
}

impl Road {
    /// A feed as it is for one run, and what was looked up of it. The inner error is the file's: its header makes no feed.
    pub fn prepared(&self, run: &Run) -> anyhow::Result<Result<OfFile, Vec<HeaderFault>>> {
        let feed = self.feed(&run.feed)?;
        if let Some(prepared) = self.prepared.get(&feed.name) {
            return Ok(Ok((feed, Arc::clone(prepared))));
        }
        let shaped = match format::shape(&feed, &columns_of(&*self.ledger, run)?) {
            Ok(shaped) => shaped,
            Err(faults) => return Ok(Err(faults)),
        };
        let (account, _) = self
            .accounts
            .get(&feed.platform.name)
            .ok_or_else(|| anyhow!("platform {} is no longer in the configuration", feed.platform.name))?;
        match prepare(&shaped, account, |field| Ok(self.ledger.field_id(&feed.platform.name, field)?)).map_err(anyhow::Error::downcast) {
            Ok(prepared) => Ok(Ok((shaped, Arc::new(prepared)))),
            Err(Ok(FeedFaults { faults, .. })) => Ok(Err(faults.into_iter().map(of_header).collect())),
            Err(Err(error)) => Err(error),
        }
    }

    /// The fingerprint that a run's feed has today; none where the run's file makes no feed of it.
    pub fn fingerprint(&self, run: &Run) -> anyhow::Result<Option<String>> {
        let feed = self.feed(&run.feed)?;
        if !feed.takes_shape() {
            return Ok(Some(feed.fingerprint.clone()));
        }
        Ok(format::shape(&feed, &columns_of(&*self.ledger, run)?).ok().map(|shaped| shaped.fingerprint.clone()))
    }
}
