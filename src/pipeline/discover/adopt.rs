//! Files that were claimed and that no run knows.

use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice};

use super::on_the_way::OnTheWay;
use super::{Delivery, Discovered, Matcher, Observations, wanted};
use crate::config::meant::Complete;
use crate::source::link::Link;
use crate::source::{Result, join};

/// Files in our folder of claims that no run knows: claimed before a crash, or before the ledger was restored from a backup.
///
/// Whoever uploaded such a file may still write it, so it has to be quiet as well.
pub(super) fn adopt(
    feeds: &[&Matcher],
    link: &Link,
    on_the_way: &OnTheWay,
    observations: &mut Observations,
    now: Instant,
    discovered: &mut Discovered,
    complete: &mut Vec<Delivery>,
) -> Result<()> {
    let mut folders: Vec<&BString> = feeds.iter().filter_map(|matcher| matcher.claims.as_ref()).collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        let entries = link.with(|source| match source.list(folder.as_bstr()) {
            // Nothing was ever claimed. Not every server has a word for that.
            Err(fault) if !fault.breaks_connection() && source.stat(folder.as_bstr())?.is_none() => Ok(Vec::new()),
            result => result,
        });
        let entries = match entries {
            Err(fault) if !fault.breaks_connection() => {
                discovered.faults.push(fault);
                continue;
            }
            result => result?,
        };
        observations.keep_only(folder, &entries);
        for entry in entries {
            let path = join(folder.as_bstr(), entry.name.as_bstr());
            if on_the_way.claimed.contains(&path) {
                continue;
            }
            let claiming: Vec<&Matcher> = feeds.iter().copied().filter(|matcher| matcher.claims.as_ref() == Some(folder)).collect();
            let Some(matcher) = wanted(&entry, folder.as_bstr(), &claiming, observations) else { continue };
            let feed = &matcher.feed;
            let quiet = match feed.complete {
                Complete::Quiet(quiet) => quiet,
                Complete::Marker(_) => QUIET_OF_CLAIMED,
            };
            let quiet_for = observations.quiet_for(folder.as_bstr(), &entry, now);
            if quiet_for < quiet {
                discovered.wait(quiet.saturating_sub(quiet_for));
                continue;
            }
            let proof = format!("claimed earlier, and unchanged for {}", humantime::format_duration(quiet));
            complete.push(matcher.delivery(entry, proof, Some(path)));
        }
    }
    Ok(())
}

/// How long a claimed file without a run must be quiet where a marker proved it complete before.
const QUIET_OF_CLAIMED: Duration = Duration::from_secs(30);
