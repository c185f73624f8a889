//! Files that were claimed and that no run knows.

use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};

use super::on_the_way::OnTheWay;
use super::{Delivery, Discovered, Matcher, Observations, is_errors_report, wanted};
use crate::config::meant::Complete;
use crate::ledger::{Ledger, Waiting};
use crate::pipeline::sets::{self, Look};
use crate::source::{Entry, EntryKind, Result, join};

/// Files in our folder of claims that no run knows: claimed before a crash, or before the ledger was restored from a backup.
///
/// Whoever uploaded such a file may still write it, so it has to be quiet as well. Sets go back to the inbox.
#[expect(clippy::too_many_arguments, reason = "one step of a look, taken out of it to be read alone")]
pub(super) fn adopt(
    feeds: &[&Matcher],
    look: &Look<'_>,
    ledger: &dyn Ledger,
    on_the_way: &OnTheWay,
    observations: &mut Observations,
    known: &[Waiting],
    discovered: &mut Discovered,
    complete: &mut Vec<Delivery>,
) -> Result<()> {
    let mut folders: Vec<&BString> = feeds.iter().filter_map(|matcher| matcher.claims.as_ref()).collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        let entries = look.link.with(|source| match source.list(folder.as_bstr()) {
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
        let claiming: Vec<&Matcher> = feeds.iter().copied().filter(|matcher| matcher.claims.as_ref() == Some(folder)).collect();
        for entry in entries {
            let path = join(folder.as_bstr(), entry.name.as_bstr());
            if on_the_way.claimed.contains(&path) {
                continue;
            }
            if entry.kind == EntryKind::Folder {
                if claiming.iter().any(|matcher| matcher.rules.takes_sets()) {
                    put_back(&claiming, look, ledger, path.as_bstr(), &entry, discovered)?;
                }
                continue;
            }
            let Some(matcher) = wanted(&entry, folder.as_bstr(), &claiming, observations) else { continue };
            let feed = &matcher.feed;
            let quiet = match feed.complete {
                Complete::Quiet(quiet) => quiet,
                Complete::Marker(_) => QUIET_OF_CLAIMED,
            };
            let quiet_for = observations.quiet_for(folder.as_bstr(), &entry, look.now);
            if quiet_for < quiet {
                discovered.wait(quiet.saturating_sub(quiet_for));
                continue;
            }
            let proof = format!("claimed earlier, and unchanged for {}", humantime::format_duration(quiet));
            let is_correction = is_errors_report(entry.name.as_bstr());
            let delivery = matcher.delivery(entry, proof, Some(path));
            // Nobody puts anything beside a correction.
            complete.extend(if is_correction {
                Some(delivery)
            } else {
                discovered.beside(matcher, delivery, look, observations, known)?
            });
        }
    }
    Ok(())
}

/// Puts a set that was claimed, or a half of one, back to the inbox, where it is looked at anew.
fn put_back(
    claiming: &[&Matcher],
    look: &Look<'_>,
    ledger: &dyn Ledger,
    folder: &BStr,
    entry: &Entry,
    discovered: &mut Discovered,
) -> Result<()> {
    let Some(source) = claiming.first().map(|matcher| &matcher.feed.source.name) else { return Ok(()) };
    // A run writes its folder down before it makes it, so that what was listed since is known by now.
    if OnTheWay::of(source, ledger)?.claimed.contains(&folder.to_owned()) {
        return Ok(());
    }
    tracing::info!(name = %entry.name.escape_ascii(), "what was claimed of a set goes back to the inbox: no run knows it");
    // What says that the set is complete comes last.
    let is_last = |name: &BStr| claiming.iter().any(|matcher| matcher.rules.is_sidecar(name) || matcher.rules.is_manifest(matcher, name));
    look.link.with(|source| sets::claim::put_back(folder, look.inbox, &is_last, source))?;
    discovered.wait(SOON);
    Ok(())
}

/// How soon to look at what was put back.
const SOON: Duration = Duration::from_millis(10);

/// How long a claimed file without a run must be quiet where a marker proved it complete before.
const QUIET_OF_CLAIMED: Duration = Duration::from_secs(30);
