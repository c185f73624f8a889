//! Folders of Spark and Databricks (contracts/exports.md, section 4).

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BStr, BString, ByteSlice};
use globset::GlobMatcher;
use serde::Deserialize;

use super::{Candidate, Look, Rules, beside_of, matches, part_of, partition};
use crate::ledger::delivered::{Part, Partition};
use crate::ledger::run::show_name;
use crate::pipeline::discover::{Matcher, Observations, is_our_folder, is_temporary};
use crate::source::{Entry, EntryKind, Result, join, name_fault};

/// What a transaction of Databricks' says once it is through.
#[derive(Deserialize)]
struct Committed {
    #[serde(default)]
    added: Vec<String>,
    #[serde(default)]
    removed: Vec<String>,
}

/// Folders below a set's that are looked into: each is a listing. And how deep they may lie.
const FOLDERS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;

/// What of a folder is a part.
pub(super) struct Form {
    pub parts: GlobMatcher,
    /// Folders below name columns.
    pub partitions: bool,
}

/// Folders of the inbox whose name the feed's pattern has.
pub(super) fn candidates(matcher: &Matcher, form: &Form, look: &Look<'_>, observations: &mut Observations) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for entry in look.entries {
        let name = entry.name.as_bstr();
        if name.starts_with(b".") || name_fault(name).is_some() || !matcher.matches(name) {
            continue;
        }
        match entry.kind {
            EntryKind::Folder if is_our_folder(join(look.inbox, name).as_bstr(), &[matcher]) => {}
            EntryKind::Folder => match candidate(&matcher.rules, name, form, look, observations) {
                // Somebody took it away meanwhile, or may see it and not look into it.
                Err(fault) if !fault.breaks_connection() => {
                    observations.warn_once(look.inbox, name, &format!("it cannot be listed: {fault}"));
                }
                candidate => found.push(candidate?),
            },
            EntryKind::File if super::is_data(&matcher.rules, entry) => {
                observations.warn_once(look.inbox, name, "the feed takes folders with parts in them, and it is a file");
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The set of one folder.
pub(super) fn candidate(rules: &Rules, name: &BStr, form: &Form, look: &Look<'_>, observations: &mut Observations) -> Result<Candidate> {
    let candidate = Candidate { name: name.to_owned(), in_folder: true, ..Candidate::default() };
    let mut walk = Walk { rules, form, look, observations, candidate, commits: false, folders: 0 };
    walk.folder(name, &mut Vec::new())?;
    let mut candidate = walk.candidate;
    if !walk.commits {
        candidate.contradictions.extend(two_jobs(&candidate));
    }
    candidate.contradictions.extend(two_partitionings(&candidate));
    Ok(candidate)
}

struct Walk<'w> {
    rules: &'w Rules,
    form: &'w Form,
    look: &'w Look<'w>,
    observations: &'w mut Observations,
    candidate: Candidate,
    /// Something says which parts count.
    commits: bool,
    folders: usize,
}

impl Walk<'_> {
    /// Takes in what is in a folder, and in those below it.
    fn folder(&mut self, folder: &BStr, partitions: &mut Vec<Partition>) -> Result<()> {
        let path = join(self.look.inbox, folder);
        let inside = self.look.link.with(|source| source.list(path.as_bstr()))?;
        self.observations.keep_only(&path, &inside);
        let mut data: Vec<&Entry> = Vec::new();
        for entry in &inside {
            let own = entry.name.as_bstr();
            let path = join(folder, own);
            let shown = show_name(&path);
            let candidate = &mut self.candidate;
            match entry.kind {
                _ if name_fault(own).is_some() => {
                    candidate.notes.push(format!("{shown} was left alone: {}", name_fault(own).unwrap_or_default()));
                }
                EntryKind::Folder if own == "_temporary" => {
                    candidate.missing.push(format!("it is still being written: {shown} is there"));
                }
                EntryKind::Folder if own.starts_with(b".") || own.starts_with(b"_") && !own.contains(&b'=') => {}
                EntryKind::Folder => self.below(path.as_bstr(), own, partitions)?,
                EntryKind::Other => candidate.notes.push(format!("{shown} was left alone: it is not a regular file")),
                EntryKind::File if own.starts_with(b".") || own.starts_with(b"_") || own.ends_with(b".crc") => {
                    candidate.beside.push(beside_of(path, entry));
                }
                EntryKind::File if is_temporary(own) => candidate.missing.push(format!("{shown} is still being uploaded")),
                EntryKind::File if matches(&self.form.parts, own) && !self.rules.is_sidecar(own) => data.push(entry),
                EntryKind::File => {
                    if !self.rules.is_sidecar(own) {
                        candidate.notes.push(format!("{shown} is no part by its name and was not read"));
                    }
                    candidate.beside.push(beside_of(path, entry));
                }
            }
        }
        let counts = committed(folder, &inside, &mut self.candidate, self.look, self.observations)?;
        self.commits |= counts.is_some();
        let candidate = &mut self.candidate;
        for entry in data {
            let path = join(folder, entry.name.as_bstr());
            if counts.as_ref().is_none_or(|counts| counts.contains_key(&entry.name)) {
                candidate.parts.push(Part { partitions: partitions.clone(), ..part_of(path, entry) });
            } else {
                candidate.notes.push(format!("{} is not committed and was not read: it is of another write", show_name(&path)));
                candidate.beside.push(beside_of(path, entry));
            }
        }
        for (listed, by) in counts.iter().flatten() {
            if !inside.iter().any(|entry| entry.name == *listed && entry.kind == EntryKind::File) {
                candidate.missing.push(format!("the part {}, which {by} lists, has not come", show_name(listed)));
            }
        }
        let files = inside.iter().filter(|entry| entry.kind == EntryKind::File && name_fault(entry.name.as_bstr()).is_none());
        candidate.inside.extend(files.map(|entry| beside_of(join(folder, entry.name.as_bstr()), entry)));
        Ok(())
    }

    /// A folder below: a partition, where the feed takes them.
    fn below(&mut self, path: &BStr, own: &BStr, partitions: &mut Vec<Partition>) -> Result<()> {
        let shown = show_name(&path.to_owned());
        let partition = partition::read(own);
        let against = match &partition {
            None => Some(format!("it holds the folder {shown}, which is no partition (COLUMN=VALUE): export one folder")),
            Some(Partition { column, .. }) if !self.form.partitions => Some(format!(
                "it holds the folder {shown}, as Spark's partitionBy and PARTITION BY of warehouses write them: write set.partitions = true to \
                 read `{column}` as a column, or export without partitions"
            )),
            Some(Partition { column, .. }) if partitions.iter().any(|known| known.column == *column) => {
                Some(format!("the folder {shown} names `{column}`, and so does one above it"))
            }
            Some(_) if self.folders >= FOLDERS_MAX || partitions.len() >= DEPTH_MAX => {
                Some(format!("it holds more than {FOLDERS_MAX} folders, or folders below {DEPTH_MAX} others: {shown} was not looked into"))
            }
            Some(_) => None,
        };
        if let Some(words) = against {
            self.candidate.contradictions.push(words);
            return Ok(());
        }
        self.folders += 1;
        partitions.extend(partition);
        self.folder(path, partitions)?;
        partitions.pop();
        Ok(())
    }
}

/// Parts that do not all lie below folders of the same columns: nothing says what the others' rows have there.
fn two_partitionings(candidate: &Candidate) -> Option<String> {
    let columns = |part: &Part| part.partitions.iter().map(|partition| partition.column.clone()).collect::<Vec<_>>();
    let first = candidate.parts.first()?;
    let other = candidate.parts.iter().find(|part| columns(part) != columns(first))?;
    let shown = |part: &Part| {
        let columns = columns(part);
        if columns.is_empty() { "no column".to_owned() } else { columns.join(", ") }
    };
    Some(format!("the folders of {} name {}, and those of {} name {}", first.shown(), shown(first), other.shown(), shown(other)))
}

/// The parts of a folder that count, each with who lists it; none where nothing says so.
fn committed(
    folder: &BStr,
    inside: &[Entry],
    candidate: &mut Candidate,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<Option<BTreeMap<BString, String>>> {
    let of = |prefix: &'static [u8]| inside.iter().filter(move |entry| entry.kind == EntryKind::File && entry.name.starts_with(prefix));
    let (mut added, mut removed) = (BTreeMap::new(), BTreeSet::new());
    let mut newest = i64::MIN;
    let mut any = false;
    for entry in of(b"_committed_") {
        let path = join(join(look.inbox, folder).as_bstr(), entry.name.as_bstr());
        let shown = show_name(&entry.name);
        let text = observations.text(look.link, &path, entry)?;
        let Some(said) = text.as_deref().and_then(|text| serde_json::from_slice::<Committed>(text).ok()) else {
            candidate.missing.push(format!("{shown} cannot be read: it is not, or not yet, what Databricks writes"));
            continue;
        };
        any = true;
        newest = newest.max(entry.mtime);
        added.extend(said.added.into_iter().map(|name| (BString::from(name), shown.clone())));
        removed.extend(said.removed.into_iter().map(BString::from));
    }
    // A transaction that never ended is of no account once a later one is through.
    for entry in of(b"_started_").filter(|entry| entry.mtime >= newest) {
        let id = &entry.name[b"_started_".len()..];
        let through = BString::from([b"_committed_", id].concat());
        if !inside.iter().any(|other| other.name == through) {
            candidate.missing.push(format!("the transaction of {} is not committed", show_name(&entry.name)));
        }
    }
    added.retain(|name, _| !removed.contains(name));
    Ok(any.then_some(added))
}

/// Parts whose names tell of several jobs: stale ones of an overwrite that failed, or rows that were appended.
fn two_jobs(candidate: &Candidate) -> Option<String> {
    let jobs: BTreeMap<&[u8], &Part> =
        candidate.parts.iter().filter_map(|part| Some((job(super::base_name(part.path.as_bstr()))?, part))).collect();
    if jobs.len() < 2 {
        return None;
    }
    let names: Vec<String> = jobs.values().take(3).map(|part| part.shown()).collect();
    Some(format!("its parts are of {} jobs, and nothing says which of them count: {}", jobs.len(), names.join(", ")))
}

/// `part-00000-JOB-c000.csv`, where JOB is a UUID.
fn job(name: &BStr) -> Option<&[u8]> {
    let job = name.strip_prefix(b"part-")?.get(6..42)?;
    let dashes = [8, 13, 18, 23];
    job.iter().enumerate().all(|(at, byte)| if dashes.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }).then_some(job)
}
