//! Sets: several files that are one delivery, and what stands beside files to say how much there is.
//!
//! A look at an inbox gives candidates: a folder of [`spark`]'s, [`shards`] with a name in common, a [`manifest`] and what it lists. Each
//! is judged the same way: is all there, has what proves it come, is it quiet, and does what was declared hold? What is not there yet is
//! waited for. What contradicts is waited out, since it may still be arriving, and then becomes a run that is held with the evidence.

pub mod beside;
pub mod claim;
pub mod late;
pub mod local;
mod manifest;
mod partition;
pub mod put_away;
mod shards;
mod spark;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

use super::discover::{Matcher, Observations, is_errors_report, is_other_report, is_temporary};
use crate::config::meant::{Complete, Feed, Set, SetKind};
use crate::ledger::delivered::{Beside, Delivered, Part};
use crate::ledger::run::show_name;
use crate::source::link::Link;
use crate::source::{Entry, EntryKind, Result, join, name_fault};

/// How a feed knows the files of its deliveries, ready to use.
pub struct Rules {
    kind: Option<Kind>,
    /// Names of files that stand beside data.
    sidecars: Vec<GlobMatcher>,
    /// The name of what says the checksum of a file, or of all.
    checksum: Option<String>,
    /// The name of a control file, and what is looked for in it: it may be in any character set, what is looked for is not.
    control: Option<(String, regex::bytes::Regex)>,
    /// Files have a header; and whether a manifest counts it, where the feed says.
    header: bool,
    counts_header: Option<bool>,
}

enum Kind {
    Spark(spark::Form),
    Shards(Regex),
    Manifest(GlobMatcher),
}

impl Rules {
    /// Of files of which nothing is declared.
    fn plain(kind: Kind, header: bool) -> Rules {
        Rules { kind: Some(kind), sidecars: Vec::new(), checksum: None, control: None, header, counts_header: None }
    }

    /// Fails on an expression that the configuration should have refused.
    pub fn of(feed: &Feed) -> anyhow::Result<Rules> {
        let kind = match feed.set.as_ref().map(|set| &set.kind) {
            None => None,
            Some(SetKind::Spark { parts, partitions }) => Some(Kind::Spark(spark::Form { parts: glob(parts)?, partitions: *partitions })),
            Some(SetKind::Shards { group }) => Some(Kind::Shards(Regex::new(group)?)),
            Some(SetKind::Manifest { parts }) => Some(Kind::Manifest(glob(parts)?)),
        };
        let marker = match (&feed.set, &feed.complete) {
            (Some(set), _) => set.marker.as_ref(),
            (None, Complete::Marker(marker)) => Some(marker),
            (None, Complete::Quiet(_)) => None,
        };
        let control = feed.control.as_ref();
        let patterns = marker.into_iter().chain(&feed.checksum).chain(control.map(|control| &control.file));
        let sidecar = |pattern: &String| glob(&escape_glob(pattern).replace("\\{\\}", "*").replace("\\{stem\\}", "*"));
        Ok(Rules {
            kind,
            sidecars: patterns.map(sidecar).collect::<anyhow::Result<_>>()?,
            checksum: feed.checksum.clone(),
            control: control.map(|control| anyhow::Ok((control.file.clone(), regex::bytes::Regex::new(&control.pattern)?))).transpose()?,
            header: feed.dialect.header,
            counts_header: feed.set.as_ref().and_then(|set| set.counts_header),
        })
    }

    /// Do its deliveries come as sets?
    pub fn takes_sets(&self) -> bool {
        self.kind.is_some()
    }

    /// Is this the name of a manifest, where sets have one?
    pub fn is_manifest(&self, matcher: &Matcher, name: &BStr) -> bool {
        matches!(self.kind, Some(Kind::Manifest(_))) && matcher.matches(name)
    }

    /// Does a file of this name stand beside data, rather than being some?
    pub fn is_sidecar(&self, name: &BStr) -> bool {
        self.sidecars.iter().any(|sidecar| matches(sidecar, name))
    }
}

fn glob(pattern: &str) -> anyhow::Result<GlobMatcher> {
    Ok(GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).backslash_escape(true).build()?.compile_matcher())
}

fn escape_glob(name: &str) -> String {
    name.chars().flat_map(|c| if "*?[]{}!\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn matches(glob: &GlobMatcher, name: &BStr) -> bool {
    glob.is_match(Path::new(OsStr::from_bytes(name)))
}

/// What is looked at.
pub struct Look<'a> {
    pub link: &'a Link,
    pub inbox: &'a BStr,
    pub entries: &'a [Entry],
    pub now: Instant,
}

/// Files that may be a set.
#[derive(Default)]
pub struct Candidate {
    pub name: BString,
    parts: Vec<Part>,
    /// Files of its folder that hold no rows, or its manifest.
    beside: Vec<Beside>,
    in_folder: bool,
    /// It is one file, and no set.
    alone: bool,
    /// What stands beside it and is older than it, in words.
    old: Vec<String>,
    /// What has not come, in words.
    missing: Vec<String>,
    contradictions: Vec<String>,
    notes: Vec<String>,
    /// What proves that it is complete, and its time: the manifest.
    shown_by: Option<(String, i64)>,
    /// Records that the whole should have.
    records: Option<u64>,
    /// Files in its folder and below.
    inside: Vec<Beside>,
}

impl Candidate {
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn is_in_folder(&self) -> bool {
        self.in_folder
    }

    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// The newest of its parts.
    pub fn mtime(&self) -> i64 {
        self.parts.iter().map(|part| part.mtime).max().unwrap_or_default()
    }
}

/// What became of a candidate.
pub enum Judged {
    Complete {
        delivered: Box<Delivered>,
        proof: String,
    },
    /// It is all there, and must be quiet for so long.
    Quieting(Duration),
    /// It waits for what the words say. With a delivery: it is there and contradicts what was declared of it.
    Waits {
        words: String,
        contradicts: Option<(Box<Delivered>, String)>,
    },
}

/// Files of a feed's inbox that may be sets.
pub fn candidates(matcher: &Matcher, look: &Look<'_>, observations: &mut Observations) -> Result<Vec<Candidate>> {
    let mut found = match &matcher.rules.kind {
        None => Vec::new(),
        Some(Kind::Spark(form)) => spark::candidates(matcher, form, look, observations)?,
        Some(Kind::Shards(group)) => shards::candidates(matcher, group, look, observations),
        Some(Kind::Manifest(parts)) => manifest::candidates(matcher, parts, look, observations)?,
    };
    found.iter_mut().for_each(Candidate::sort);
    Ok(found)
}

/// Is this listed file data of a feed's sets, by its name alone?
fn is_data(rules: &Rules, entry: &Entry) -> bool {
    let name = entry.name.as_bstr();
    entry.kind == EntryKind::File
        && name_fault(name).is_none()
        && !is_temporary(name)
        && !is_errors_report(name)
        && !is_other_report(name)
        && !rules.is_sidecar(name)
}

fn part_of(path: BString, entry: &Entry) -> Part {
    Part { path, size: entry.size, mtime: entry.mtime, ..Part::default() }
}

fn beside_of(path: BString, entry: &Entry) -> Beside {
    Beside { path, size: entry.size, mtime: entry.mtime }
}

/// Where something of a candidate is looked for by its name: in its folder first, then in the inbox.
struct Around<'a> {
    /// By path from the inbox.
    inside: HashMap<&'a BStr, &'a Beside>,
    inbox: HashMap<&'a BStr, &'a Entry>,
    /// Its folder.
    prefix: BString,
}

impl<'a> Around<'a> {
    fn new(prefix: BString, inside: &'a [Beside], entries: &'a [Entry]) -> Around<'a> {
        let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
        Around {
            inside: inside.iter().map(|file| (file.path.as_bstr(), file)).collect(),
            inbox: files.map(|entry| (entry.name.as_bstr(), entry)).collect(),
            prefix,
        }
    }

    fn find(&self, name: &BStr) -> Option<Beside> {
        self.find_near(&self.prefix, name)
    }

    /// As [`Around::find`], beside a part of it first.
    fn find_near(&self, folder: &BString, name: &BStr) -> Option<Beside> {
        let paths = [join(folder.as_bstr(), name), join(self.prefix.as_bstr(), name)];
        let inside = paths.iter().find_map(|path| self.inside.get(path.as_bstr())).map(|found| Beside::clone(found));
        inside.or_else(|| self.inbox.get(name).map(|entry| beside_of(name.to_owned(), entry)))
    }
}

/// Is the candidate complete, and what was declared of it true as far as that shows before it is read?
pub fn judge(matcher: &Matcher, set: &Set, mut candidate: Candidate, look: &Look<'_>, observations: &mut Observations) -> Result<Judged> {
    let feed = &matcher.feed;
    // The clock of each part begins with the first look at it, whatever else is missing.
    let quiet_left = set.quiet.map(|quiet| {
        let left = candidate.parts.iter().map(|part| {
            let (folder, name) = split(look.inbox, &part.path);
            let entry = Entry { name, kind: EntryKind::File, size: part.size, mtime: part.mtime };
            quiet.saturating_sub(observations.quiet_for(folder.as_bstr(), &entry, look.now))
        });
        left.max().unwrap_or_default()
    });
    let mut proofs: Vec<String> = Vec::new();
    let inside = std::mem::take(&mut candidate.inside);
    let prefix = if candidate.in_folder { candidate.name.clone() } else { BString::default() };
    let around = Around::new(prefix, &inside, look.entries);
    candidate.note_emptiness();
    let mut shown_by = candidate.shown_by.take().into_iter().collect::<Vec<_>>();
    if let Some(marker) = &set.marker {
        let name = beside::name_for(marker, candidate.name.as_bstr());
        match around.find(name.as_bstr()) {
            Some(found) => {
                shown_by.push((format!("marker {}", show_name(&name)), found.mtime));
                if beside::is_own(marker) || (candidate.in_folder && found.path != name) {
                    candidate.note_beside(found);
                }
            }
            None => candidate.missing.push(format!("its marker {} has not come", show_name(&name))),
        }
    }
    for (what, written) in &shown_by {
        let newer = candidate.parts.iter().find(|part| part.mtime > *written);
        if let (Some(newer), None) = (newer, set.quiet) {
            candidate.missing.push(format!(
                "{what} is older than {}, and may be of an earlier delivery; where copies bring it before the parts, write quiet = \"30s\" in the feed",
                newer.shown()
            ));
        }
        proofs.push(what.clone());
    }
    if candidate.missing.is_empty() {
        if let Some(left) = quiet_left.filter(|left| !left.is_zero()) {
            return Ok(Judged::Quieting(left));
        }
        candidate.take_declared(&matcher.rules, &around, look, observations)?;
    }
    if !candidate.missing.is_empty() {
        let mut words = candidate.missing;
        words.truncate(3);
        return Ok(Judged::Waits { words: words.join("; "), contradicts: None });
    }
    match set.quiet {
        Some(quiet) if proofs.is_empty() => proofs.push(format!("not proven: unchanged for {}", humantime::format_duration(quiet))),
        Some(quiet) => proofs.push(format!("unchanged for {}", humantime::format_duration(quiet))),
        None => {}
    }
    proofs.extend(feed.checksum.as_ref().map(|_| "checksums".to_owned()));
    proofs.extend(feed.control.as_ref().map(|_| "control file".to_owned()));
    let count = candidate.parts.len();
    let proof = format!("{}; {count} {}", proofs.join(", "), if count == 1 { "part" } else { "parts" });
    let delivered = Box::new(candidate.into_delivered());
    Ok(if delivered.contradictions.is_empty() {
        Judged::Complete { delivered, proof }
    } else {
        Judged::Waits { words: delivered.contradictions.join("; "), contradicts: Some((delivered, proof)) }
    })
}

impl Candidate {
    fn sort(&mut self) {
        self.parts.sort_by(|a, b| natural(&a.path, &b.path));
    }

    /// Without a part there is nothing that a person could decide about.
    fn note_emptiness(&mut self) {
        if self.parts.is_empty() && self.missing.is_empty() {
            self.missing = std::mem::take(&mut self.contradictions);
            self.missing.push("no part of it is there".into());
        }
    }

    /// What stands beside its parts says what they should be.
    fn take_declared(&mut self, rules: &Rules, around: &Around<'_>, look: &Look<'_>, observations: &mut Observations) -> Result<()> {
        beside::take_checksums(rules, self, around, look, observations)?;
        beside::take_control(rules, self, around, look, observations)
    }

    fn into_delivered(self) -> Delivered {
        Delivered {
            parts: self.parts,
            beside: self.beside,
            in_folder: self.in_folder,
            records: self.records,
            checksum: None,
            contradictions: self.contradictions,
            notes: self.notes,
        }
    }

    fn note_beside(&mut self, found: Beside) {
        if !self.beside.iter().any(|known| known.path == found.path) {
            self.beside.push(found);
        }
    }
}

/// Folder and name of a path from the inbox.
fn split(inbox: &BStr, path: &BString) -> (BString, BString) {
    match path.rsplit_once_str("/") {
        Some((folder, name)) => (join(inbox, folder.as_bstr()), name.into()),
        None => (inbox.to_owned(), path.clone()),
    }
}

/// The last component of a path.
pub fn base_name(path: &BStr) -> &BStr {
    path.rsplit_once_str("/").map_or(path, |(_, name)| name.as_bstr())
}

/// Names in the order in which people count: `x_2` before `x_10`.
pub fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (of_a, of_b) = (digits(a), digits(b));
        if of_a > 0 && of_b > 0 {
            let bare = |text: &'_ [u8]| text.iter().position(|byte| *byte != b'0').unwrap_or(text.len());
            let (x, y) = (&a[bare(&a[..of_a])..of_a], &b[bare(&b[..of_b])..of_b]);
            match x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| of_a.cmp(&of_b)) {
                Ordering::Equal => (a, b) = (&a[of_a..], &b[of_b..]),
                order => return order,
            }
            continue;
        }
        match (a.split_first(), b.split_first()) {
            (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
            _ => return a.cmp(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let mut names = ["d_0_10_0", "d_0_2_0", "d_0_2_0.x", "d_0_02_0", "c", "d_1_0_0", "d"];
        names.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()));
        assert_eq!(names, ["c", "d", "d_0_2_0", "d_0_2_0.x", "d_0_02_0", "d_0_10_0", "d_1_0_0"]);
    }
}
