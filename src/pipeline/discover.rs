//! Discover: lists inboxes and decides which files are complete. The listing is the truth; events and timers only wake it.

mod adopt;
mod observations;
mod on_the_way;
mod order;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use chrono::{DateTime, Utc};
use globset::{GlobBuilder, GlobMatcher};
use tracing::info;

use super::sequence::{Stamp, Stamps};
use super::sets::{self, Candidate, Judged, Look, beside};
use crate::config::meant::{After, Complete, Feed};
use crate::ledger::delivered::Delivered;
use crate::ledger::{Ledger, Waiting};
use crate::source::link::Link;
use crate::source::{Entry, EntryKind, Result, SourceError, join, name_fault};

use adopt::adopt;
pub use observations::Observations;
use on_the_way::OnTheWay;
use order::keep_order;

/// A file, or a set, that may be taken.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub feed: Arc<Feed>,
    /// Of a set: its name, the size of all its parts, the time of the newest.
    pub entry: Entry,
    /// How its completeness was proved, for the report.
    pub proof: String,
    /// What its name says of its place among others.
    pub stamp: Option<Stamp>,
    /// Where it lies when it was claimed before.
    pub claimed: Option<BString>,
    /// What it is made of, where that is not just this file.
    pub delivered: Option<Box<Delivered>>,
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
    /// Files that wait for others that must come before them, sets that are incomplete.
    pub waiting: Vec<Waiting>,
    /// Complete files were left for later, as enough are on their way.
    pub backlog: bool,
}

impl Discovered {
    /// Notes that something waits. It is an alert once it has waited for as long as that may take. Answers how long it has.
    fn waits(&mut self, known: &[Waiting], feed: &str, what: String, words: String, patience: Duration) -> Duration {
        let now = Utc::now();
        let before = known.iter().find(|waiting| waiting.feed == feed && waiting.what == what);
        let since: DateTime<Utc> = before.map_or(now, |waiting| waiting.since.min(now));
        let waited = (now - since).to_std().unwrap_or_default();
        self.waiting.push(Waiting { feed: feed.to_owned(), what, words, alert: waited >= patience, since });
        waited
    }

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
    /// How it knows what its deliveries are made of.
    pub(super) rules: sets::Rules,
}

impl Matcher {
    /// Fails on a pattern that the configuration should have refused.
    pub fn new(feed: Arc<Feed>) -> anyhow::Result<Matcher> {
        let glob = GlobBuilder::new(&feed.pattern).literal_separator(true).empty_alternates(true).build()?.compile_matcher();
        let stamps = Stamps::of(&feed)?;
        let rules = sets::Rules::of(&feed)?;
        Ok(Matcher { feed, glob, stamps, claims: None, rules })
    }

    /// Also looks for what we claimed before.
    #[must_use]
    pub fn claiming_in(self, folder: Option<BString>) -> Matcher {
        Matcher { claims: folder, ..self }
    }

    fn delivery(&self, entry: Entry, proof: String, claimed: Option<BString>) -> Delivery {
        Delivery { feed: Arc::clone(&self.feed), stamp: self.stamp(entry.name.as_bstr()), entry, proof, claimed, delivered: None }
    }

    /// Has a name no place among others, although the feed's names should say it?
    fn lacks_stamp(&self, name: &BStr) -> bool {
        self.stamps.as_ref().is_some_and(|stamps| stamps.read(name).is_none())
    }

    /// What a name says of its place among others.
    fn stamp(&self, name: &BStr) -> Option<Stamp> {
        self.stamps.as_ref()?.read(name)
    }

    pub fn matches(&self, name: &BStr) -> bool {
        self.glob.is_match(Path::new(OsStr::from_bytes(name)))
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

pub(super) fn is_other_report(name: &BStr) -> bool {
    [&b".problems.csv"[..], b".report.json", b".report.html"].iter().any(|ending| name.ends_with(ending))
}

/// Runs of a feed on their way beyond which no more files are registered: the rest wait in the inbox, so that a backlog of any length
/// costs neither memory nor time.
pub const QUEUE_MAX: u64 = 500;
/// An inbox with a backlog is listed again when there is room for this many.
const ROOM_MIN: u64 = QUEUE_MAX / 2;
/// How soon to see whether there is room.
const ROOM_LOOK: Duration = Duration::from_millis(500);

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
    let known = ledger.waiting(Some(&source)).map_err(unavailable)?;
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
                // Nobody puts anything beside a correction.
                Ok(proof) if is_errors_report(entry.name.as_bstr()) => complete.push(matcher.delivery(entry.clone(), proof, None)),
                Ok(proof) => {
                    let look = Look { link, inbox: inbox.as_bstr(), entries: &entries, now };
                    match beside::of_file(matcher, entry, &look, observations)? {
                        Ok(delivered) => {
                            let delivery = matcher.delivery(entry.clone(), proof, None);
                            complete.push(Delivery { delivered: delivered.map(Box::new), ..delivery });
                        }
                        Err(words) => {
                            discovered.waits(&known, &feed.name, crate::ledger::run::show_name(&entry.name), words, beside::PATIENCE);
                            incomplete.extend(matcher.stamp(entry.name.as_bstr()).map(|stamp| (feed.name.clone(), stamp)));
                        }
                    }
                }
                Err(wait) => {
                    if let Some(wait) = wait {
                        discovered.wait(wait);
                    }
                    incomplete.extend(matcher.stamp(entry.name.as_bstr()).map(|stamp| (feed.name.clone(), stamp)));
                }
            }
        }
        drop(times);
        let look = Look { link, inbox: inbox.as_bstr(), entries: &entries, now };
        for matcher in feeds.iter().filter(|matcher| matcher.rules.takes_sets()) {
            let taken = |candidate: &Candidate| on_the_way.has_any(inbox, candidate.parts());
            look_for_sets(matcher, &look, ledger, observations, &taken, &known, &mut discovered, &mut complete, &mut incomplete)?;
        }
        drop(entries);
        adopt(&feeds, link, &on_the_way, observations, now, &mut discovered, &mut complete)?;
        keep_order(&feeds, &incomplete, ledger, &known, &mut complete, &mut discovered)?;
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

/// Judges what may be sets of a feed in one inbox.
#[expect(clippy::too_many_arguments, reason = "one step of a look, taken out of it to be read alone")]
fn look_for_sets(
    matcher: &Matcher,
    look: &Look<'_>,
    ledger: &dyn Ledger,
    observations: &mut Observations,
    taken: &dyn Fn(&Candidate) -> bool,
    known: &[Waiting],
    discovered: &mut Discovered,
    complete: &mut Vec<Delivery>,
    incomplete: &mut Vec<(String, Stamp)>,
) -> Result<()> {
    let feed = &matcher.feed;
    let Some(set) = &feed.set else { return Ok(()) };
    for candidate in sets::candidates(matcher, look, observations)? {
        let entry = Entry { name: candidate.name.clone(), kind: EntryKind::File, size: candidate.size(), mtime: candidate.mtime() };
        if taken(&candidate) || (feed.after == After::Leave && observations.was_left(feed, &entry, ledger)?) {
            continue;
        }
        if matcher.lacks_stamp(entry.name.as_bstr()) {
            observations.warn_once(look.inbox, entry.name.as_bstr(), "its name has no stamp that order.stamp finds");
            continue;
        }
        let mut take = |delivered, proof| {
            let delivery = matcher.delivery(entry.clone(), proof, None);
            complete.push(Delivery { delivered: Some(delivered), ..delivery });
        };
        match sets::judge(matcher, set, candidate, look, observations)? {
            Judged::Complete { delivered, proof } => {
                take(delivered, proof);
                continue;
            }
            Judged::Quieting(left) => discovered.wait(left),
            Judged::Waits { words, contradicts } => {
                let shown = crate::ledger::run::show_name(&entry.name);
                let waited = discovered.waits(known, &feed.name, shown, words, set.patience);
                if let Some((delivered, proof)) = contradicts.filter(|_| waited >= set.patience) {
                    // It is not still arriving: a person decides.
                    discovered.waiting.pop();
                    take(delivered, proof);
                    continue;
                }
            }
        }
        incomplete.extend(matcher.stamp(entry.name.as_bstr()).map(|stamp| (feed.name.clone(), stamp)));
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
    // Of a feed that takes sets, corrections alone come by themselves.
    if !is_errors_report(name) && (matcher.rules.takes_sets() || matcher.rules.is_sidecar(name)) {
        return None;
    }
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
    if !is_errors_report(name) && matcher.lacks_stamp(name) {
        observations.warn_once(inbox, name, "its name has no stamp that order.stamp finds");
        return None;
    }
    (ours != Some(&(entry.size, entry.mtime))).then_some(*matcher)
}

/// Where feeds of this inbox put reports and inputs, or above that.
pub(super) fn is_our_folder(path: &BStr, feeds: &[&Matcher]) -> bool {
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
            let marker = beside::name_for(pattern, entry.name.as_bstr());
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
}
