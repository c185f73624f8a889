//! Discover: lists inboxes and decides which files are complete. The listing is the truth; events and timers only wake it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use globset::{GlobBuilder, GlobMatcher};
use tracing::{info, warn};

use super::sequence::{Stamp, Stamps};
use crate::config::meant::{After, Complete, Feed, FileOrder, Gap};
use crate::ledger::Ledger;
use crate::source::link::Link;
use crate::source::{Entry, EntryKind, Result, SourceError, name_fault};

/// A file that may be taken.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub feed: Arc<Feed>,
    pub entry: Entry,
    /// How its completeness was proved, for the report.
    pub proof: String,
    /// What its name says of its place among others.
    pub stamp: Option<Stamp>,
}

/// What one look at a source's inboxes gave.
#[derive(Default)]
pub struct Discovered {
    /// In the feeds' declared order.
    pub complete: Vec<Delivery>,
    /// When the next file may turn out to be complete, if one waits.
    pub look_again: Option<Duration>,
    /// Inboxes that could not be listed, while others could.
    pub faults: Vec<SourceError>,
    /// Feeds whose files wait for others that must come before them, in words.
    pub waiting: Vec<String>,
}

/// A feed and its name pattern, ready to match.
pub struct Matcher {
    pub feed: Arc<Feed>,
    glob: GlobMatcher,
    /// Where names say the order.
    stamps: Option<Stamps>,
}

impl Matcher {
    /// Fails on a pattern that the configuration should have refused.
    pub fn new(feed: Arc<Feed>) -> anyhow::Result<Matcher> {
        let glob = GlobBuilder::new(&feed.pattern).literal_separator(true).empty_alternates(true).build()?.compile_matcher();
        let stamps = Stamps::of(&feed)?;
        Ok(Matcher { feed, glob, stamps })
    }

    pub fn matches(&self, name: &BStr) -> bool {
        self.glob.is_match(Path::new(OsStr::from_bytes(name)))
    }
}

/// What is remembered between looks: sizes and times on our own monotonic clock.
#[derive(Default)]
pub struct Observations {
    seen: HashMap<(BString, BString), Observation>,
    /// Names already complained about.
    warned: HashSet<(BString, BString)>,
    /// Our own untouched reports.
    ours: HashMap<(BString, BString), (u64, i64)>,
}

struct Observation {
    size: u64,
    mtime: i64,
    since: Instant,
}

impl Observations {
    /// Notes that a file is a report of ours that nobody changed, so that it is not fetched again.
    pub fn note_ours(&mut self, folder: &BStr, name: &BStr, size: u64, mtime: i64) {
        self.ours.insert((folder.to_owned(), name.to_owned()), (size, mtime));
    }

    /// Time since the file was first seen as it is now.
    fn quiet_for(&mut self, folder: &BStr, entry: &Entry, now: Instant) -> Duration {
        let key = (folder.to_owned(), entry.name.clone());
        let fresh = Observation { size: entry.size, mtime: entry.mtime, since: now };
        let seen = self.seen.entry(key).or_insert(Observation { size: entry.size, mtime: entry.mtime, since: now });
        if (seen.size, seen.mtime) != (entry.size, entry.mtime) {
            *seen = fresh;
        }
        now - seen.since
    }

    fn warn_once(&mut self, folder: &BStr, name: &BStr, why: &str) {
        if self.warned.insert((folder.to_owned(), name.to_owned())) {
            warn!(folder = %folder.escape_ascii(), name = %name.escape_ascii(), "ignored: {why}");
        }
    }
}

/// Names that uploads in progress have.
pub fn is_temporary(name: &BStr) -> bool {
    const SUFFIXES: [&[u8]; 8] = [b".part", b".tmp", b".filepart", b".writing", b".partial", b".crdownload", b".swp", b"~"];
    let lower = name.to_ascii_lowercase();
    lower.starts_with(b".") || SUFFIXES.iter().any(|suffix| lower.ends_with(suffix))
}

/// Could it be a report of ours, or a correction made from one?
pub fn is_errors_report(name: &BStr) -> bool {
    name.ends_with(b".errors.csv") || name.ends_with(b".errors.csv.gz")
}

fn is_other_report(name: &BStr) -> bool {
    name.ends_with(b".problems.csv") || name.ends_with(b".report.json")
}

/// Looks at the inboxes of feeds that share a source.
pub fn discover(
    matchers: &[Matcher],
    link: &Link,
    ledger: &dyn Ledger,
    observations: &mut Observations,
    now: Instant,
) -> Result<Discovered> {
    let mut discovered = Discovered::default();
    let mut incomplete: Vec<(String, Stamp)> = Vec::new();
    let mut inboxes: Vec<&BString> = matchers.iter().map(|matcher| &matcher.feed.inbox).collect();
    inboxes.sort();
    inboxes.dedup();
    for inbox in inboxes {
        let entries = match link.with(|source| source.list(inbox.as_bstr())) {
            Ok(entries) => entries,
            Err(fault) if fault.breaks_connection() => return Err(fault),
            // What is wrong with one inbox says nothing about the others.
            Err(fault) => {
                discovered.faults.push(fault);
                continue;
            }
        };
        let times: HashMap<&BStr, i64> =
            entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| (entry.name.as_bstr(), entry.mtime)).collect();
        let here: HashSet<BString> = entries.iter().map(|entry| entry.name.clone()).collect();
        observations.seen.retain(|(folder, name), _| folder != inbox || here.contains(name));
        let feeds: Vec<&Matcher> = matchers.iter().filter(|matcher| matcher.feed.inbox == *inbox).collect();
        for entry in &entries {
            let Some(matcher) = wanted(entry, inbox.as_bstr(), &feeds, observations) else { continue };
            let feed = &matcher.feed;
            let delivered = ledger
                .run_of_delivery(&feed.source.name, inbox.as_bstr(), entry.name.as_bstr(), entry.size, entry.mtime)
                .map_err(unavailable)?;
            // A run that is over put its file away, so this is another delivery, unless the feed leaves files where they are.
            if delivered.is_some_and(|run| !run.state.is_over() || (feed.after == After::Leave && run.sha256.is_some())) {
                continue;
            }
            match proof(feed, entry, inbox.as_bstr(), &times, observations, now) {
                Ok(proof) => {
                    info!(feed = feed.name, name = %entry.name.escape_ascii(), bytes = entry.size, "file is complete: {proof}");
                    discovered.complete.push(Delivery {
                        feed: Arc::clone(feed),
                        entry: entry.clone(),
                        proof,
                        stamp: matcher.stamps.as_ref().and_then(|stamps| stamps.read(entry.name.as_bstr())),
                    });
                }
                Err(wait) => {
                    if let Some(wait) = wait {
                        discovered.look_again = Some(discovered.look_again.map_or(wait, |known| known.min(wait)));
                    }
                    let stamp = matcher.stamps.as_ref().and_then(|stamps| stamps.read(entry.name.as_bstr()));
                    incomplete.extend(stamp.map(|stamp| (feed.name.clone(), stamp)));
                }
            }
        }
    }
    // Names that say the order say so of files that are still on their way, too.
    discovered.complete.retain(|delivery| {
        let before = |(feed, stamp): &(String, Stamp)| *feed == delivery.feed.name && Some(stamp) < delivery.stamp.as_ref();
        !incomplete.iter().any(before)
    });
    // Feed by feed, each in its own order.
    discovered.complete.sort_by(|a, b| {
        let by_name = || a.entry.name.cmp(&b.entry.name);
        a.feed.name.cmp(&b.feed.name).then_with(|| match &a.feed.order {
            FileOrder::Mtime => a.entry.mtime.cmp(&b.entry.mtime).then_with(by_name),
            FileOrder::Name => by_name(),
            FileOrder::Stamp(_) => a.stamp.cmp(&b.stamp).then_with(by_name),
        })
    });
    for matcher in matchers {
        hold_behind_gaps(matcher, ledger, &mut discovered).map_err(|fault| SourceError::Local(std::io::Error::other(fault)))?;
    }
    Ok(discovered)
}

/// Leaves files of a feed in the inbox that come behind a number that has not come yet.
fn hold_behind_gaps(matcher: &Matcher, ledger: &dyn Ledger, discovered: &mut Discovered) -> anyhow::Result<()> {
    let Some(stamps) = matcher.stamps.as_ref().filter(|stamps| stamps.gap == Gap::Hold) else { return Ok(()) };
    let ours = |delivery: &Delivery| delivery.feed.name == matcher.feed.name;
    if !discovered.complete.iter().any(ours) {
        return Ok(());
    }
    // The first file of a feed begins its numbers.
    let mut last = match stamps.last(&matcher.feed, ledger)? {
        Some(Stamp::Number(number)) => Some(number),
        _ => None,
    };
    let mut missing = None;
    discovered.complete.retain(|delivery| {
        let (true, Some(Stamp::Number(number))) = (ours(delivery), &delivery.stamp) else { return true };
        match last {
            Some(before) if *number > before + 1 => {
                missing.get_or_insert(before + 1);
                false
            }
            _ => {
                last = last.max(Some(*number));
                true
            }
        }
    });
    if let Some(missing) = missing {
        discovered.waiting.push(format!("feed {}: number {missing} has not come; what follows it waits in the inbox", matcher.feed.name));
    }
    Ok(())
}

/// The feed that a listed name belongs to, or none.
fn wanted<'m>(entry: &Entry, inbox: &BStr, feeds: &[&'m Matcher], observations: &mut Observations) -> Option<&'m Matcher> {
    let name = entry.name.as_bstr();
    if let Some(why) = name_fault(name) {
        observations.warn_once(inbox, name, why);
        return None;
    }
    if is_temporary(name) || is_other_report(name) {
        return None;
    }
    let by_pattern = feeds.iter().find(|matcher| matcher.matches(name));
    let matcher = by_pattern.or_else(|| feeds.first().filter(|_| is_errors_report(name)))?;
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Folder => return None,
        EntryKind::Other => {
            observations.warn_once(inbox, name, "it is not a regular file");
            return None;
        }
    }
    let ours = observations.ours.get(&(inbox.to_owned(), entry.name.clone()));
    // A correction has its place by the run that it corrects.
    if let Some(stamps) = &matcher.stamps
        && !is_errors_report(name)
        && stamps.read(name).is_none()
    {
        observations.warn_once(inbox, name, "its name has no stamp that order.stamp finds");
        return None;
    }
    (ours != Some(&(entry.size, entry.mtime))).then_some(*matcher)
}

/// The proof that a file is complete, or how long to wait before another look may give one.
fn proof(
    feed: &Feed,
    entry: &Entry,
    inbox: &BStr,
    times: &HashMap<&BStr, i64>,
    observations: &mut Observations,
    now: Instant,
) -> std::result::Result<String, Option<Duration>> {
    match &feed.complete {
        Complete::Marker(pattern) => {
            let marker = marker_name(pattern, entry.name.as_bstr());
            // An older marker speaks of an older file. Both times are the server's.
            let fresh = times.get(marker.as_bstr()).is_some_and(|written| *written >= entry.mtime);
            if fresh { Ok(format!("marker {}", marker.escape_ascii())) } else { Err(None) }
        }
        Complete::Quiet(quiet) => {
            // An empty file is more often an upload that has not begun than an export without a header.
            let needed = if entry.size == 0 { *quiet * 3 } else { *quiet };
            let quiet_for = observations.quiet_for(inbox, entry, now);
            if quiet_for >= needed {
                Ok(format!("size and mtime unchanged for {}", humantime::format_duration(Duration::from_millis(needed.as_millis() as u64))))
            } else {
                Err(Some(needed.saturating_sub(quiet_for)))
            }
        }
    }
}

/// The marker's name for a file: `{}` stands for the file's own name.
pub fn marker_name(pattern: &str, name: &BStr) -> BString {
    BString::from(pattern.as_bytes().replace("{}", name))
}

fn unavailable(error: crate::ledger::LedgerError) -> SourceError {
    SourceError::Local(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_in_progress_are_left_alone() {
        for name in [".hidden.csv", "a.csv.part", "a.csv.FILEPART", "a.tmp", "a.csv~"] {
            assert!(is_temporary(name.into()), "{name}");
        }
        assert!(!is_temporary("partial_refunds.csv".into()));
    }

    #[test]
    fn a_changed_file_starts_its_quiet_period_anew() {
        let mut observations = Observations::default();
        let start = Instant::now();
        let mut entry = Entry { name: "a.csv".into(), kind: EntryKind::File, size: 1, mtime: 5 };
        let second = Duration::from_secs(1);
        assert_eq!(observations.quiet_for("in".into(), &entry, start), Duration::ZERO);
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 2 * second), 2 * second);
        entry.size = 2;
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 3 * second), Duration::ZERO);
        entry.mtime = 4;
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 4 * second), Duration::ZERO);
    }

    #[test]
    fn a_marker_is_named_after_its_file_or_fixed() {
        assert_eq!(marker_name("{}.done", "a.csv".into()), "a.csv.done");
        assert_eq!(marker_name("_SUCCESS", "a.csv".into()), "_SUCCESS");
    }
}
