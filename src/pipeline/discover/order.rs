//! Which complete files have to wait for others that come before them.

use std::time::Duration;

use super::{Delivery, Discovered, Matcher};
use crate::config::meant::{FileOrder, Gap};
use crate::ledger::run::show_name;
use crate::ledger::{Ledger, Waiting};
use crate::pipeline::sequence::Stamp;
use crate::source::{Result, SourceError};

/// Leaves complete files where they are that names put behind others: behind one that is still being uploaded, or behind a number that
/// has not come.
pub(super) fn keep_order(
    feeds: &[&Matcher],
    incomplete: &[(String, Stamp)],
    ledger: &dyn Ledger,
    known: &[Waiting],
    complete: &mut Vec<Delivery>,
    discovered: &mut Discovered,
) -> Result<()> {
    complete.retain(|delivery| {
        let before = |(feed, stamp): &(String, Stamp)| *feed == delivery.feed.name && Some(stamp) < delivery.stamp.as_ref();
        !incomplete.iter().any(before)
    });
    // Feed by feed, each in its own order.
    complete.sort_by(|a, b| {
        let by_name = || a.entry.name.cmp(&b.entry.name);
        a.feed.name.cmp(&b.feed.name).then_with(|| match &a.feed.order {
            FileOrder::Mtime => a.entry.mtime.cmp(&b.entry.mtime).then_with(by_name),
            FileOrder::Name => by_name(),
            FileOrder::Stamp(_) => a.stamp.cmp(&b.stamp).then_with(by_name),
        })
    });
    for matcher in feeds {
        let held = hold_behind_gaps(matcher, ledger, complete).map_err(|fault| SourceError::Local(std::io::Error::other(fault)))?;
        for (missing, name) in held {
            let words = format!("number {missing} has not come; what follows it waits in the inbox");
            discovered.waits(known, &matcher.feed.name, name, words, Duration::ZERO);
        }
    }
    Ok(())
}

/// Takes out the files of a feed that come behind a number that has not come yet. Answers that number for each, with its name.
fn hold_behind_gaps(matcher: &Matcher, ledger: &dyn Ledger, complete: &mut Vec<Delivery>) -> anyhow::Result<Vec<(u128, String)>> {
    let mut held = Vec::new();
    let Some(stamps) = matcher.stamps.as_ref().filter(|stamps| stamps.gap == Gap::Hold) else { return Ok(held) };
    let ours = |delivery: &Delivery| delivery.feed.name == matcher.feed.name;
    if !complete.iter().any(ours) {
        return Ok(held);
    }
    // The first file of a feed begins its numbers.
    let mut last = match stamps.last(&matcher.feed, ledger)? {
        Some(Stamp::Number(number)) => Some(number),
        _ => None,
    };
    complete.retain(|delivery| {
        let (true, Some(Stamp::Number(number))) = (ours(delivery), &delivery.stamp) else { return true };
        match last {
            Some(before) if *number > before + 1 => {
                held.push((before + 1, show_name(&delivery.entry.name)));
                false
            }
            _ => {
                last = last.max(Some(*number));
                true
            }
        }
    });
    Ok(held)
}
