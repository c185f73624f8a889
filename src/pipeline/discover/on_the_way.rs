//! Which files are on their way already.

use std::collections::{HashMap, HashSet};

use bstr::BString;

use super::{QUEUE_MAX, unavailable};
use crate::ledger::delivered::Part;
use crate::ledger::{Ledger, RunFilter, RunKind, State};
use crate::source::{Entry, Result};

/// What the ledger knows of files on their way.
#[derive(Default)]
pub(super) struct OnTheWay {
    /// By folder, name, size and mtime.
    deliveries: HashSet<(BString, BString, u64, i64)>,
    /// Of runs that have sent rows, by folder, name and size: should such a file only have been touched, its run knows that by its hash.
    begun: HashSet<(BString, BString, u64)>,
    pub(super) claimed: HashSet<BString>,
    by_feed: HashMap<String, u64>,
    /// Parts of sets, by folder, path from there, size and mtime.
    parts: HashSet<(BString, BString, u64, i64)>,
}

impl OnTheWay {
    pub(super) fn of(source: &str, ledger: &dyn Ledger) -> Result<OnTheWay> {
        let states = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let runs = ledger.runs(&RunFilter { states, ..RunFilter::default() }).map_err(unavailable)?;
        let mut on_the_way = OnTheWay::default();
        for run in runs.into_iter().filter(|run| run.source == source) {
            *on_the_way.by_feed.entry(run.feed.clone()).or_default() += 1;
            if run.detail.may_have_sent() && run.kind != RunKind::Retry && !matches!(run.state, State::Reporting | State::Held) {
                on_the_way.begun.insert((run.folder.clone(), run.name.clone(), run.size));
            }
            if run.kind != RunKind::Retry {
                let parts = run.parts().iter().map(|part| (run.folder.clone(), part.path.clone(), part.size, part.mtime));
                on_the_way.parts.extend(parts);
            }
            on_the_way.claimed.extend(run.detail.claimed);
            on_the_way.deliveries.insert((run.folder, run.name, run.size, run.mtime));
        }
        Ok(on_the_way)
    }

    pub(super) fn has(&self, inbox: &BString, entry: &Entry) -> bool {
        self.deliveries.contains(&(inbox.clone(), entry.name.clone(), entry.size, entry.mtime))
            || self.begun.contains(&(inbox.clone(), entry.name.clone(), entry.size))
    }

    pub(super) fn room(&self, feed: &str) -> u64 {
        QUEUE_MAX.saturating_sub(self.by_feed.get(feed).copied().unwrap_or(0))
    }

    /// Is any of these a part of a set that is on its way? What is there besides waits until that one is over.
    pub(super) fn has_any(&self, inbox: &BString, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.parts.contains(&(inbox.clone(), part.path.clone(), part.size, part.mtime)))
    }
}
