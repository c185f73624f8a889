//! A set that somebody has on this machine, put together as a delivery of it would be: for commands that look at files.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bstr::{BStr, BString, ByteSlice};
use regex::Regex;

use super::{Around, Candidate, Kind, Look, Rules, glob, is_data, manifest, matches, natural, part_of, shards, spark};
use crate::config::meant::{Feed, SHARDS, SetKind};
use crate::ledger::delivered::Delivered;
use crate::ledger::run::show_name;
use crate::pipeline::discover::{Matcher, Observations};
use crate::source::Entry;
use crate::source::folder::FolderConnect;
use crate::source::link::Link;

/// What of a manifest is read to see that it is one.
const MANIFEST_MAX: u64 = 16 << 20;

/// A set on this machine.
#[derive(Debug)]
pub struct Local {
    /// What its run would be called.
    pub name: BString,
    /// The folder that paths of its parts are taken from.
    pub root: PathBuf,
    pub delivered: Delivered,
    /// What a delivery would wait for, in words.
    pub missing: Vec<String>,
    /// Which kind of set it is, as `set` is written in a feed; none where its names do not show it.
    pub kind: Option<&'static str>,
}

/// The set that these files are, for a feed or as their names show it. None: it is one file, and no set.
///
/// The error says what of the arguments is no set.
pub fn of(paths: &[PathBuf], feed: Option<&Arc<Feed>>) -> anyhow::Result<Option<Local>> {
    let [path] = paths else { return of_parts(paths, feed).map(Some) };
    let kind = feed.and_then(|feed| feed.set.as_ref()).map(|set| &set.kind);
    if path.is_dir() {
        if matches!(kind, Some(SetKind::Shards { .. } | SetKind::Manifest { .. })) {
            return Hand::of(path.clone(), feed, Kind::Manifest(glob("*")?))?.only_one().map(Some);
        }
        let (root, name) = place(path)?;
        let form = plain_form(path)?;
        return Hand::of(root, feed, Kind::Spark(form))?.folder(name.as_bstr()).map(Some);
    }
    if matches!(kind, None | Some(SetKind::Manifest { .. })) && is_manifest(path) {
        let (root, name) = place(path)?;
        return Hand::of(root, feed, Kind::Manifest(glob("*")?))?.manifest(name.as_bstr()).map(Some);
    }
    Ok(None)
}

fn is_manifest(path: &Path) -> bool {
    let is_small = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MANIFEST_MAX);
    let begins = || {
        let mut head = [0; 64];
        let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
        head[..read]
            .trim_start_with(|sign| sign.is_whitespace() || sign == '\u{feff}')
            .first()
            .is_some_and(|byte| matches!(byte, b'{' | b'['))
    };
    is_small && begins() && std::fs::read(path).is_ok_and(|text| manifest::is_one(&text))
}

/// The folder that a path stands in, and its name there.
fn place(path: &Path) -> anyhow::Result<(PathBuf, BString)> {
    let plain = path.file_name().is_some() && !path.is_symlink();
    let whole = if plain { path.to_owned() } else { std::fs::canonicalize(path)? };
    let name = whole.file_name().map(|name| BString::from(name.as_bytes()));
    let root = whole.parent().map(|root| if root.as_os_str().is_empty() { PathBuf::from(".") } else { root.to_owned() });
    root.zip(name).with_context(|| format!("{} has no name", path.display()))
}

/// What is a part in a folder of which no feed says it: what is called as Spark calls them, or where nothing is, all that is no hidden file.
fn plain_form(folder: &Path) -> anyhow::Result<spark::Form> {
    let parts = glob("part-*")?;
    let mut others = false;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = BString::from(entry.file_name().as_bytes());
        // A partitioned folder has folders alone at its top; their parts are called as Spark calls them.
        if entry.file_type()?.is_file() && !is_hidden(&name) {
            if matches(&parts, name.as_bstr()) {
                return Ok(spark::Form { parts, partitions: true });
            }
            others = true;
        }
    }
    Ok(spark::Form { parts: if others { glob("*")? } else { parts }, partitions: true })
}

fn is_hidden(name: &BString) -> bool {
    name.starts_with(b".") || name.starts_with(b"_")
}

fn of_parts(paths: &[PathBuf], feed: Option<&Arc<Feed>>) -> anyhow::Result<Local> {
    let mut names = Vec::new();
    let mut root = None;
    for path in paths {
        ensure!(path.is_file(), "{} is not a file; name the parts of one set, or its folder", path.display());
        let (folder, name) = place(path)?;
        let root = root.get_or_insert_with(|| folder.clone());
        ensure!(*root == folder, "the parts of a set lie in one folder, and {} lies in another", path.display());
        names.push(name);
    }
    Hand::of(root.context("no file is named")?, feed, Kind::Shards(Regex::new(SHARDS)?))?.parts(&names, feed.is_some())
}

/// A folder of this machine, looked at as an inbox is.
struct Hand {
    root: PathBuf,
    link: Link,
    entries: Vec<Entry>,
    matcher: Option<Matcher>,
    rules: Rules,
    observations: Observations,
}

impl Hand {
    /// `plain` is what its sets are where the feed does not say.
    fn of(root: PathBuf, feed: Option<&Arc<Feed>>, plain: Kind) -> anyhow::Result<Hand> {
        let link = Link::new(Box::new(FolderConnect::new(&root)));
        let entries = link.with(|source| source.list(BStr::new(b"")))?;
        let rules = match feed.filter(|feed| feed.set.is_some()) {
            Some(feed) => Rules::of(feed)?,
            None => Rules::plain(plain, feed.is_none_or(|feed| feed.dialect.header)),
        };
        let matcher = feed.map(|feed| Matcher::new(Arc::clone(feed))).transpose()?;
        Ok(Hand { root, link, entries, matcher, rules, observations: Observations::default() })
    }

    fn folder(mut self, name: &BStr) -> anyhow::Result<Local> {
        let Some(Kind::Spark(form)) = &self.rules.kind else { bail!("{name} is a folder, and the feed's sets are not") };
        let look = look(&self.link, &self.entries);
        let candidate = spark::candidate(&self.rules, name, form, &look, &mut self.observations)?;
        self.conclude(candidate, "spark")
    }

    fn manifest(mut self, name: &BStr) -> anyhow::Result<Local> {
        let Some(Kind::Manifest(parts)) = &self.rules.kind else { bail!("{name} is a manifest, and the feed's sets have none") };
        let own = self.entries.iter().find(|entry| entry.name == name).with_context(|| format!("{name} is gone"))?;
        let is_manifest = |other: &BStr| other == name || self.matcher.as_ref().is_some_and(|matcher| matcher.matches(other));
        let look = look(&self.link, &self.entries);
        let candidate = manifest::candidate(&self.rules, own, parts, &is_manifest, &look, &mut self.observations)?;
        self.conclude(candidate, "manifest")
    }

    /// The set of parts that are named one by one. Where no feed groups them, their names may show that they are one.
    fn parts(mut self, names: &[BString], is_of_feed: bool) -> anyhow::Result<Local> {
        let own = |matcher: &&Matcher| names.iter().find(|name| matcher.rules.is_manifest(matcher, name.as_bstr())).cloned();
        if let Some(manifest) = self.matcher.as_ref().and_then(|matcher| own(&matcher)) {
            self.entries.retain(|entry| names.contains(&entry.name));
            return self.manifest(manifest.as_bstr());
        }
        let is_part = |entry: &&Entry| names.contains(&entry.name) && is_data(&self.rules, entry) && !is_hidden(&entry.name);
        let mut parts: Vec<&Entry> = self.entries.iter().filter(is_part).collect();
        parts.sort_by(|a, b| natural(&a.name, &b.name));
        let has_form = |group: &Regex, entry: &Entry| shards::part(group, "set", entry.name.as_bstr());
        let group = match &self.rules.kind {
            Some(Kind::Shards(group)) if is_of_feed || parts.iter().all(|entry| has_form(group, entry).is_some()) => Some(group),
            _ => None,
        };
        let mut candidate = Candidate { name: names.first().cloned().unwrap_or_default(), ..Candidate::default() };
        let mut numbers = Vec::new();
        for (index, entry) in parts.into_iter().enumerate() {
            if let Some(group) = group {
                let form = has_form(group, entry);
                let (set, number) = form.with_context(|| format!("{} has no form that set.group knows", show_name(&entry.name)))?;
                let (one, other) = (show_name(&candidate.name), show_name(&set));
                ensure!(index == 0 || candidate.name == set, "these are parts of several sets, {one} and {other}: name the parts of one");
                candidate.name = set;
                numbers.push(number);
            }
            candidate.parts.push(part_of(entry.name.clone(), entry));
        }
        candidate.missing.extend(group.and_then(|group| shards::gap(group, numbers)));
        let kind = if group.is_some() { "shards" } else { "" };
        self.conclude(candidate, kind)
    }

    /// The one set of the feed that lies in this folder.
    fn only_one(mut self) -> anyhow::Result<Local> {
        let root = self.root.display().to_string();
        let matcher = self.matcher.as_ref().context("no feed says what its sets are")?;
        let mut found = super::candidates(matcher, &look(&self.link, &self.entries), &mut self.observations)?;
        let names: Vec<String> = found.iter().take(5).map(|candidate| show_name(&candidate.name)).collect();
        ensure!(found.len() < 2, "{root} holds several sets: {}; name the parts of one", names.join(", "));
        let candidate = found.pop().with_context(|| format!("{root} holds no set of the feed"))?;
        let kind = if matches!(self.rules.kind, Some(Kind::Shards(_))) { "shards" } else { "manifest" };
        self.conclude(candidate, kind)
    }

    fn conclude(mut self, mut candidate: Candidate, kind: &'static str) -> anyhow::Result<Local> {
        candidate.sort();
        candidate.note_emptiness();
        let inside = std::mem::take(&mut candidate.inside);
        let prefix = if candidate.in_folder { candidate.name.clone() } else { BString::default() };
        let around = Around::new(prefix, &inside, &self.entries);
        candidate.take_declared(&self.rules, &around, &look(&self.link, &self.entries), &mut self.observations)?;
        let missing = std::mem::take(&mut candidate.missing);
        let kind = Some(kind).filter(|kind| !kind.is_empty());
        Ok(Local { name: candidate.name.clone(), root: self.root, delivered: candidate.into_delivered(), missing, kind })
    }
}

fn look<'l>(link: &'l Link, entries: &'l [Entry]) -> Look<'l> {
    Look { link, inbox: BStr::new(b""), entries, now: Instant::now() }
}
