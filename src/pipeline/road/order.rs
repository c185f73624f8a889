//! Which run comes before which, and whose hand a run is in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;

use super::Road;
use crate::config::meant::Feed;
use crate::ledger::{PendingPass, Run, RunFilter, RunKind, State};
use crate::pipeline::pending::PendingPasses;
use crate::row::Verb;

/// A run that nobody else takes further until this is dropped.
pub struct InHand {
    all: Arc<Mutex<HashSet<String>>>,
    run: String,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

impl Road {
    /// Held while a run's rows are compared with those of others of its account.
    pub fn account_order(&self, platform: &str) -> anyhow::Result<MutexGuard<'_, ()>> {
        let order = self.orders.get(platform).ok_or_else(|| anyhow!("platform {platform} is no longer in the configuration"))?;
        Ok(order.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs of the account, other than this one, that have their place before it: those it comes behind where both touch a pass. A run
    /// that is checked again keeps the place that it has, so that no two runs ever wait for each other.
    ///
    /// The error is a run that is being checked again at this moment: its rows are not to be seen until it was.
    pub fn runs_before(&self, run: &Run, account: &str) -> anyhow::Result<Result<Vec<String>, Box<Run>>> {
        let states = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let mut runs = self.ledger.runs(&RunFilter { states, ..RunFilter::default() })?;
        runs.retain(|other| other.id != run.id && other.account == account && other.is_placed());
        if run.detail.placed {
            runs.retain(|other| run.detail.behind.contains(&other.id));
        }
        match runs.iter().position(|other| other.state == State::Fetched && other.detail.attempts > 0) {
            Some(index) => Ok(Err(Box::new(runs.swap_remove(index)))),
            None => Ok(Ok(runs.into_iter().map(|other| other.id).collect())),
        }
    }

    /// Notes what a row of another feed is still to do. A feed that is gone from the configuration, or had another mapping when the run
    /// began, may do anything.
    pub fn note_pending(&self, pending: &mut PendingPasses, row: &PendingPass<'_>) {
        let PendingPass { feed, fingerprint, pass, verb, mask } = *row;
        let as_today = self.config.feeds.get(feed).is_some_and(|feed| feed.fingerprint == fingerprint);
        match self.prepared.get(feed).filter(|_| as_today && !self.is_handed_over(feed)) {
            Some(prepared) => {
                let sent = prepared.field_ids.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, id)| *id);
                pending.insert(pass, verb, sent);
            }
            None => pending.insert(pass, Verb::Void, std::iter::empty()),
        }
    }

    /// The feed's latest cleanly finished run, if this file equals it.
    pub fn nothing_new(&self, run: &Run, feed: &Feed) -> anyhow::Result<Option<Run>> {
        if self.force || run.kind != RunKind::File {
            return Ok(None);
        }
        let past = self.ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(50) })?;
        let earlier = |past: &Run| past.id != run.id && past.kind == RunKind::File && past.detail.order < run.detail.order;
        for past in past.into_iter().filter(earlier) {
            let sent_nothing = !past.detail.may_have_sent();
            match past.state {
                State::Done => {
                    // The same bytes cut into other parts may be other records.
                    let parts = |run: &Run| run.parts().iter().map(|part| part.sha256.clone()).collect::<Vec<_>>();
                    let equal = past.sha256 == run.sha256
                        && parts(&past) == parts(run)
                        // The same bytes have the same header, from which a feed may take its shape.
                        && self.fingerprint(&past)?.as_ref() == Some(&past.detail.fingerprint);
                    return Ok((equal && past.detail.tally.needing_person() == 0).then_some(past));
                }
                // Over, and no pass is other than before it came.
                State::Failed | State::Discarded | State::Superseded | State::Stopped if sent_nothing => {}
                // Whatever it did or may still do, this file does not stand for the present state.
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Is somebody taking this run further at the moment?
    pub fn is_in_hand(&self, run: &str) -> bool {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).contains(run)
    }

    /// Takes a run for oneself. None while somebody else has it: a correction that came under a name of no feed is taken by another feed's
    /// hand than its own.
    pub fn take_in_hand(&self, run: &str) -> Option<InHand> {
        let fresh = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(run.to_owned());
        fresh.then(|| InHand { all: Arc::clone(&self.in_hand), run: run.to_owned() })
    }
}
