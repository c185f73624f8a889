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
use crate::ledger::{Ledger, RunFilter, RunKind, State};
use crate::source::link::Link;
use crate::source::{Entry, EntryKind, Result, SourceError, join, name_fault};

/// A file that may be taken.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub feed: Arc<Feed>,
    pub entry: Entry,
    /// How its completeness was proved, for the report.
    pub proof: String,
    /// What its name says of its place among others.
    pub stamp: Option<Stamp>,
    /// Where it lies when it was claimed before.
    pub claimed: Option<BString>,
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
    /// Complete files were left for later, as enough are on their way.
    pub backlog: bool,
}

impl Discovered {
    fn wait(&mut self, wait: Duration) {
        self.look_again = Some(self.look_again.map_or(wait, |known| known.min(wait)));
    }

    /// Takes complete files of one inbox, feed by feed and each in its own order, as far as there is room. True when some are left.
    fn take_first(&mut self, complete: Vec<Delivery>, feeds: &[&Matcher], on_the_way: &OnTheWay) -> bool {
        let mut room: HashMap<String, u64> =
            feeds.iter().map(|matcher| (matcher.feed.name.clone(), on_the_way.room(&matcher.feed.name))).collect();
        let mut left = false;
        for delivery in complete {
            match room.get_mut(&delivery.feed.name) {
                Some(room) if *room > 0 => {
                    *room -= 1;
                    let Delivery { feed, entry, proof, .. } = &delivery;
                    info!(feed = feed.name, name = %entry.name.escape_ascii(), bytes = entry.size, "file is complete: {proof}");
                    self.complete.push(delivery);
                }
                _ => left = true,
            }
        }
        left
    }
}

/// A feed and its name pattern, ready to match.
pub struct Matcher {
    pub feed: Arc<Feed>,
    glob: GlobMatcher,
    /// Where names say the order.
    stamps: Option<Stamps>,
    /// Our folder of claims.
    claims: Option<BString>,
}

impl Matcher {
    /// Fails on a pattern that the configuration should have refused.
    pub fn new(feed: Arc<Feed>) -> anyhow::Result<Matcher> {
        let glob = GlobBuilder::new(&feed.pattern).literal_separator(true).empty_alternates(true).build()?.compile_matcher();
        let stamps = Stamps::of(&feed)?;
        Ok(Matcher { feed, glob, stamps, claims: None })
    }

    /// Also looks for what we claimed before.
    #[must_use]
    pub fn claiming_in(self, folder: Option<BString>) -> Matcher {
        Matcher { claims: folder, ..self }
    }

    fn delivery(&self, entry: Entry, proof: String, claimed: Option<BString>) -> Delivery {
        Delivery { feed: Arc::clone(&self.feed), stamp: self.stamp(entry.name.as_bstr()), entry, proof, claimed }
    }

    /// What a name says of its place among others.
    fn stamp(&self, name: &BStr) -> Option<Stamp> {
        self.stamps.as_ref()?.read(name)
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
    /// Files that are known to be done and were left where they are.
    left: HashMap<(BString, BString), (u64, i64)>,
    /// Inboxes with more complete files than could be taken.
    backlog: HashSet<BString>,
    /// Inboxes that are not listed, and why.
    refused: HashMap<BString, String>,
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

    /// An inbox is not to be listed.
    pub fn refuse(&mut self, inbox: &BString, why: String) {
        self.refused.insert(inbox.clone(), why);
    }

    pub fn is_refused(&self, inbox: &BString) -> bool {
        self.refused.contains_key(inbox)
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

    /// Forgets what is no longer there.
    fn keep_only(&mut self, folder: &BString, entries: &[Entry]) {
        let here: HashSet<&BStr> = entries.iter().map(|entry| entry.name.as_bstr()).collect();
        self.seen.retain(|(known, name), _| known != folder || here.contains(name.as_bstr()));
        self.left.retain(|(known, name), _| known != folder || here.contains(name.as_bstr()));
    }

    /// Is it a file that was fetched before and left? The ledger is asked once for each.
    fn was_left(&mut self, feed: &Feed, entry: &Entry, ledger: &dyn Ledger) -> Result<bool> {
        let key = (feed.inbox.clone(), entry.name.clone());
        if self.left.get(&key) == Some(&(entry.size, entry.mtime)) {
            return Ok(true);
        }
        let (source, folder) = (&feed.source.name, feed.inbox.as_bstr());
        let run = ledger.run_of_delivery(source, folder, entry.name.as_bstr(), entry.size, entry.mtime).map_err(unavailable)?;
        let left = run.is_some_and(|run| run.sha256.is_some());
        if left {
            self.left.insert(key, (entry.size, entry.mtime));
        }
        Ok(left)
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
    [&b".errors.csv"[..], b".errors.csv.gz", b".errors.xlsx"].iter().any(|ending| name.ends_with(ending))
}

fn is_other_report(name: &BStr) -> bool {
    name.ends_with(b".problems.csv") || name.ends_with(b".report.json")
}

/// Runs of a feed on their way beyond which no more files are registered: the rest wait in the inbox, so that a backlog of any length
/// costs neither memory nor time.
pub const QUEUE_MAX: u64 = 500;
/// An inbox with a backlog is listed again when there is room for this many.
const ROOM_MIN: u64 = QUEUE_MAX / 2;
/// How soon to see whether there is room.
const ROOM_LOOK: Duration = Duration::from_millis(500);

/// What the ledger knows of files on their way.
struct OnTheWay {
    /// By folder, name, size and mtime.
    deliveries: HashSet<(BString, BString, u64, i64)>,
    /// Of runs that have sent rows, by folder, name and size: should such a file only have been touched, its run knows that by its hash.
    begun: HashSet<(BString, BString, u64)>,
    claimed: HashSet<BString>,
    by_feed: HashMap<String, u64>,
}

impl OnTheWay {
    fn of(source: &str, ledger: &dyn Ledger) -> Result<OnTheWay> {
        let states = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let runs = ledger.runs(&RunFilter { states, ..RunFilter::default() }).map_err(unavailable)?;
        let mut on_the_way =
            OnTheWay { deliveries: HashSet::new(), begun: HashSet::new(), claimed: HashSet::new(), by_feed: HashMap::new() };
        for run in runs.into_iter().filter(|run| run.source == source) {
            *on_the_way.by_feed.entry(run.feed).or_default() += 1;
            if run.detail.may_have_sent() && run.kind != RunKind::Retry && !matches!(run.state, State::Reporting | State::Held) {
                on_the_way.begun.insert((run.folder.clone(), run.name.clone(), run.size));
            }
            on_the_way.claimed.extend(run.detail.claimed);
            on_the_way.deliveries.insert((run.folder, run.name, run.size, run.mtime));
        }
        Ok(on_the_way)
    }

    fn has(&self, inbox: &BString, entry: &Entry) -> bool {
        self.deliveries.contains(&(inbox.clone(), entry.name.clone(), entry.size, entry.mtime))
            || self.begun.contains(&(inbox.clone(), entry.name.clone(), entry.size))
    }

    fn room(&self, feed: &str) -> u64 {
        QUEUE_MAX.saturating_sub(self.by_feed.get(feed).copied().unwrap_or(0))
    }
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
    let Some(source) = matchers.first().map(|matcher| matcher.feed.source.name.clone()) else { return Ok(discovered) };
    let on_the_way = OnTheWay::of(&source, ledger)?;
    let mut inboxes: Vec<&BString> = matchers.iter().map(|matcher| &matcher.feed.inbox).collect();
    inboxes.sort();
    inboxes.dedup();
    for inbox in inboxes {
        if let Some(why) = observations.refused.get(inbox) {
            discovered.faults.push(SourceError::Other(why.clone()));
            continue;
        }
        let feeds: Vec<&Matcher> = matchers.iter().filter(|matcher| matcher.feed.inbox == *inbox).collect();
        if observations.backlog.contains(inbox) && feeds.iter().all(|matcher| on_the_way.room(&matcher.feed.name) < ROOM_MIN) {
            discovered.wait(ROOM_LOOK);
            continue;
        }
        let entries = match link.with(|source| source.list(inbox.as_bstr())) {
            Ok(entries) => entries,
            Err(fault) if fault.breaks_connection() => return Err(fault),
            // What is wrong with one inbox says nothing about the others.
            Err(fault) => {
                discovered.faults.push(fault);
                continue;
            }
        };
        observations.keep_only(inbox, &entries);
        let mut complete = Vec::new();
        let mut incomplete: Vec<(String, Stamp)> = Vec::new();
        let times: HashMap<&BStr, i64> =
            entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| (entry.name.as_bstr(), entry.mtime)).collect();
        for entry in &entries {
            let Some(matcher) = wanted(entry, inbox.as_bstr(), &feeds, observations) else { continue };
            let feed = &matcher.feed;
            // A run that is over put its file away, so this is another delivery, unless the feed leaves files where they are.
            if on_the_way.has(inbox, entry) || (feed.after == After::Leave && observations.was_left(feed, entry, ledger)?) {
                continue;
            }
            match proof(feed, entry, inbox.as_bstr(), &times, observations, now) {
                Ok(proof) => complete.push(matcher.delivery(entry.clone(), proof, None)),
                Err(wait) => {
                    if let Some(wait) = wait {
                        discovered.wait(wait);
                    }
                    incomplete.extend(matcher.stamp(entry.name.as_bstr()).map(|stamp| (feed.name.clone(), stamp)));
                }
            }
        }
        drop(times);
        drop(entries);
        adopt(&feeds, link, &on_the_way, observations, now, &mut discovered, &mut complete)?;
        keep_order(&feeds, &incomplete, ledger, &mut complete, &mut discovered)?;
        if discovered.take_first(complete, &feeds, &on_the_way) {
            observations.backlog.insert(inbox.clone());
            discovered.backlog = true;
            discovered.wait(ROOM_LOOK);
        } else {
            observations.backlog.remove(inbox);
        }
    }
    Ok(discovered)
}

/// Leaves complete files where they are that names put behind others: behind one that is still being uploaded, or behind a number that
/// has not come.
fn keep_order(
    feeds: &[&Matcher],
    incomplete: &[(String, Stamp)],
    ledger: &dyn Ledger,
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
        let missing = hold_behind_gaps(matcher, ledger, complete).map_err(|fault| SourceError::Local(std::io::Error::other(fault)))?;
        let words = |missing| format!("feed {}: number {missing} has not come; what follows it waits in the inbox", matcher.feed.name);
        discovered.waiting.extend(missing.map(words));
    }
    Ok(())
}

/// Takes out the files of a feed that come behind a number that has not come yet. Answers that number.
fn hold_behind_gaps(matcher: &Matcher, ledger: &dyn Ledger, complete: &mut Vec<Delivery>) -> anyhow::Result<Option<u128>> {
    let Some(stamps) = matcher.stamps.as_ref().filter(|stamps| stamps.gap == Gap::Hold) else { return Ok(None) };
    let ours = |delivery: &Delivery| delivery.feed.name == matcher.feed.name;
    if !complete.iter().any(ours) {
        return Ok(None);
    }
    // The first file of a feed begins its numbers.
    let mut last = match stamps.last(&matcher.feed, ledger)? {
        Some(Stamp::Number(number)) => Some(number),
        _ => None,
    };
    let mut missing = None;
    complete.retain(|delivery| {
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
    Ok(missing)
}

/// Files in our folder of claims that no run knows: claimed before a crash, or before the ledger was restored from a backup.
///
/// Whoever uploaded such a file may still write it, so it has to be quiet as well.
fn adopt(
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
        EntryKind::Folder if is_our_folder(join(inbox, name).as_bstr(), feeds) => return None,
        EntryKind::Folder => {
            observations.warn_once(inbox, name, "it is a folder");
            return None;
        }
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

/// Where feeds of this inbox put reports and inputs, or above that.
fn is_our_folder(path: &BStr, feeds: &[&Matcher]) -> bool {
    feeds.iter().any(|matcher| {
        let feed = &matcher.feed;
        let mut folders = vec![feed.reports.folder.clone()];
        folders.extend(feed.claim.clone());
        if let After::Move { processed, error } = &feed.after {
            folders.extend([processed, error].map(|folder| join(feed.inbox.as_bstr(), folder.as_bstr())));
        }
        folders.iter().any(|folder| folder.starts_with(path))
    })
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
                Ok(format!(
                    "not proven: size and mtime unchanged for {}",
                    humantime::format_duration(Duration::from_millis(needed.as_millis() as u64))
                ))
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
