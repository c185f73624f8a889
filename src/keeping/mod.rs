//! Keeping: what stays here, for how long, and whether it fits together. None of it is on the road of a file.
//!
//! [`verify`] looks at ledger, spool and reports and says what does not fit. [`retention`] deletes personal data whose time is over, and
//! what a killed process left. [`forget`] deletes what is known of a person. [`unknown`] finds reports of ours that the ledger knows
//! nothing of: it was lost, or is an old copy, and rows that add may have been applied before. [`hosted`] does all this for the stores of passes
//! that are hosted here.

pub mod forget;
pub mod hosted;
pub mod retention;
pub mod unknown;
pub mod verify;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ledger::{Ledger, Run, RunFilter, RunKind, State};

/// Runs whose copy in the spool an unfinished run reads: a retry works on its parent's, a correction looks its identifiers up there.
fn in_use(ledger: &dyn Ledger) -> crate::ledger::Result<BTreeSet<String>> {
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    let mut used = BTreeSet::new();
    for run in ledger.runs(&RunFilter { states: open, ..RunFilter::default() })? {
        let mut next = run.parent.clone();
        while let Some(id) = next {
            if !used.insert(id.clone()) {
                break;
            }
            next = ledger.run(&id)?.and_then(|parent| parent.parent);
        }
        used.insert(run.id);
    }
    Ok(used)
}

/// An instant that long before now; what is longer than time began then.
pub fn ago(span: std::time::Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span).ok().and_then(|span| Utc::now().checked_sub_signed(span)).unwrap_or_default()
}

/// Must the copy of this run's file be there? Until it is over, and after that while rows of it may be tried again or corrected.
pub fn needs_copy(run: &Run) -> bool {
    let open = !run.state.is_over() && run.state != State::Complete;
    let later = run.detail.tally.needing_person() > 0 && run.detail.removed.is_none() && !run.detail.gone;
    let wanted = open || (run.state.is_over() && later);
    run.kind != RunKind::Retry && run.sha256.is_some() && wanted
}
