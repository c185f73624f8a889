//! Telling of what waits in inboxes.

use tracing::{info, warn};

use crate::config::meant::Source;
use crate::ledger::Waiting;

/// What waits and for what.
pub fn words_of(waiting: &Waiting) -> String {
    format!("feed {}: {} waits: {}", waiting.feed, waiting.what, waiting.words)
}

/// Logs what waits once, and once more when it has waited for too long.
pub(super) fn tell_waiting(source: &Source, waiting: &[Waiting], told: &mut Vec<Waiting>) {
    for one in waiting {
        let before = told.iter().find(|known| (&known.feed, &known.what) == (&one.feed, &one.what));
        match (one.alert, before) {
            (true, Some(before)) if before.alert && before.words == one.words => {}
            (true, _) => warn!(source = source.name, "{}", words_of(one)),
            (false, None) => info!(source = source.name, "{}", words_of(one)),
            (false, Some(_)) => {}
        }
    }
    *told = waiting.to_vec();
}
