//! What reading a run's file again takes: by whoever leads, and by those who only look.

use std::sync::Arc;

use anyhow::anyhow;

use super::correction::Correction;
use super::road::{OfFile, Road, prepare};
use crate::config::meant::{Config, Feed};
use crate::format;
use crate::ledger::{Ledger, Run, RunKind};
use crate::platform;
use crate::schema::HeaderFault;
use crate::spool::Spool;

/// What is kept of runs, and each run's feed as it is for its file.
pub trait Kept {
    fn ledger(&self) -> &dyn Ledger;

    fn spool(&self) -> &Spool;

    /// A feed as it is for one run, and what was looked up of it. The inner error is the file's: its header makes no feed.
    fn prepared(&self, run: &Run) -> anyhow::Result<Result<OfFile, Vec<HeaderFault>>>;

    /// Whose copy in the spool a run reads: a retry has its parent's.
    fn spool_owner(&self, run: &Run) -> String {
        spool_owner(self.ledger(), run)
    }
}

impl Kept for Road {
    fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    fn spool(&self) -> &Spool {
        &self.spool
    }

    fn prepared(&self, run: &Run) -> anyhow::Result<Result<OfFile, Vec<HeaderFault>>> {
        Road::prepared(self, run)
    }
}

/// The same without leading: nothing is written.
pub struct Looking {
    config: Arc<Config>,
    ledger: Arc<dyn Ledger>,
    spool: Spool,
}

impl Looking {
    pub fn new(config: Arc<Config>, ledger: Arc<dyn Ledger>) -> anyhow::Result<Looking> {
        let spool = Spool::open(&config.state)?;
        Ok(Looking { config, ledger, spool })
    }
}

/// Number of a field of which the ledger knows nothing.
pub const FIELD_UNKNOWN: u16 = u16::MAX;

impl Kept for Looking {
    fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    fn spool(&self) -> &Spool {
        &self.spool
    }

    fn prepared(&self, run: &Run) -> anyhow::Result<Result<OfFile, Vec<HeaderFault>>> {
        let feed = self.config.feeds.get(&run.feed).ok_or_else(|| anyhow!("feed {} is no longer in the configuration", run.feed))?;
        let shaped: Arc<Feed> = if feed.takes_shape() {
            match format::shape(feed, &columns_of(&*self.ledger, run)?) {
                Ok(shaped) => shaped,
                Err(faults) => return Ok(Err(faults)),
            }
        } else {
            Arc::clone(feed)
        };
        let known = self.ledger.field_names(&feed.platform.name)?;
        let number = |name: &str| known.iter().find(|(_, field)| field == name).map_or(FIELD_UNKNOWN, |(number, _)| *number);
        let prepared = prepare(&shaped, &platform::open(&shaped.platform), |name| Ok(number(name)))?;
        Ok(Ok((shaped, Arc::new(prepared))))
    }
}

/// Whose copy in the spool a run reads: a retry has its parent's.
pub fn spool_owner(ledger: &dyn Ledger, run: &Run) -> String {
    match (run.kind, &run.parent) {
        (RunKind::Retry, Some(parent)) => {
            ledger.run(parent).ok().flatten().map_or_else(|| parent.clone(), |parent| spool_owner(ledger, &parent))
        }
        _ => run.id.clone(),
    }
}

/// Corrections of corrections that are followed to the file they began with.
const CORRECTIONS_MAX: u32 = 100;

/// The data's own labels in a run's file. A correction has those of the file that it corrects: what somebody added is none of it.
pub(super) fn columns_of(ledger: &dyn Ledger, run: &Run) -> anyhow::Result<Vec<String>> {
    let mut run = run.clone();
    for _ in 0..CORRECTIONS_MAX {
        let owner = spool_owner(ledger, &run);
        if owner != run.id
            && let Some(owner) = ledger.run(&owner)?
        {
            run = owner;
        }
        let parent = run.parent.as_ref().filter(|_| run.kind == RunKind::Correction);
        let Some(parent) = parent.map(|parent| ledger.run(parent)).transpose()?.flatten() else { break };
        if parent.detail.labels.is_empty() {
            break;
        }
        run = parent;
    }
    let all = &run.detail.labels;
    let correction = Correction::new(all, String::new()).filter(|_| run.kind == RunKind::Correction);
    Ok(correction.map_or_else(|| all.clone(), |correction| correction.data_labels(all)))
}
