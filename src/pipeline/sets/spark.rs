//! Folders of Spark and Databricks (contracts/exports.md, section 4).

use std::collections::{BTreeMap, BTreeSet};

use bstr::{BStr, BString, ByteSlice};
use globset::GlobMatcher;
use serde::Deserialize;

use super::{Candidate, Look, beside_of, matches, part_of};
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

/// Folders of the inbox whose name the feed's pattern has.
pub(super) fn candidates(
    matcher: &Matcher,
    parts: &GlobMatcher,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for entry in look.entries {
        let name = entry.name.as_bstr();
        if name.starts_with(b".") || name_fault(name).is_some() || !matcher.matches(name) {
            continue;
        }
        let path = join(look.inbox, name);
        match entry.kind {
            EntryKind::Folder if is_our_folder(path.as_bstr(), &[matcher]) => {}
            EntryKind::Folder => {
                let inside = match look.link.with(|source| source.list(path.as_bstr())) {
                    // Somebody took it away meanwhile, or may see it and not look into it.
                    Err(fault) if !fault.breaks_connection() => {
                        observations.warn_once(look.inbox, name, &format!("it cannot be listed: {fault}"));
                        continue;
                    }
                    inside => inside?,
                };
                observations.keep_only(&path, &inside);
                found.push(folder(matcher, name, inside, parts, look, observations)?);
            }
            EntryKind::File if super::is_data(matcher, entry) => {
                observations.warn_once(look.inbox, name, "the feed takes folders with parts in them, and it is a file");
            }
            _ => {}
        }
    }
    Ok(found)
}

fn folder(
    matcher: &Matcher,
    name: &BStr,
    inside: Vec<Entry>,
    parts: &GlobMatcher,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<Candidate> {
    let mut candidate = Candidate { name: name.to_owned(), in_folder: true, ..Candidate::default() };
    let mut data: Vec<&Entry> = Vec::new();
    for entry in &inside {
        let own = entry.name.as_bstr();
        let path = join(name, own);
        let shown = show_name(&entry.name);
        match entry.kind {
            _ if name_fault(own).is_some() => {
                candidate.notes.push(format!("{shown} was left alone: {}", name_fault(own).unwrap_or_default()));
            }
            EntryKind::Folder if own == "_temporary" => candidate.missing.push("it is still being written: _temporary is there".into()),
            EntryKind::Folder if own.starts_with(b".") || own.starts_with(b"_") => {}
            EntryKind::Folder => {
                candidate.contradictions.push(format!("it holds the folder {shown}: partitioned exports are not read, write one folder"));
            }
            EntryKind::Other => candidate.notes.push(format!("{shown} was left alone: it is not a regular file")),
            EntryKind::File if own.starts_with(b".") || own.starts_with(b"_") || own.ends_with(b".crc") => {
                candidate.beside.push(beside_of(path, entry));
            }
            EntryKind::File if is_temporary(own) => candidate.missing.push(format!("{shown} is still being uploaded")),
            EntryKind::File if matches(parts, own) && !matcher.rules.is_sidecar(own) => data.push(entry),
            EntryKind::File => {
                if !matcher.rules.is_sidecar(own) {
                    candidate.notes.push(format!("{shown} is no part by its name and was not read"));
                }
                candidate.beside.push(beside_of(path, entry));
            }
        }
    }
    let counts = committed(name, &inside, &mut candidate, look, observations)?;
    for entry in data {
        let path = join(name, entry.name.as_bstr());
        if counts.as_ref().is_none_or(|counts| counts.contains_key(&entry.name)) {
            candidate.parts.push(part_of(path, entry));
        } else {
            candidate.notes.push(format!("{} is not committed and was not read: it is of another write", show_name(&entry.name)));
            candidate.beside.push(beside_of(path, entry));
        }
    }
    for (listed, by) in counts.iter().flatten() {
        if !inside.iter().any(|entry| entry.name == *listed && entry.kind == EntryKind::File) {
            candidate.missing.push(format!("the part {}, which {by} lists, has not come", show_name(listed)));
        }
    }
    if counts.is_none() {
        candidate.contradictions.extend(two_jobs(&candidate));
    }
    candidate.inside = inside;
    Ok(candidate)
}

/// The parts that count, each with who lists it; none where nothing says so.
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
    let jobs: BTreeMap<&[u8], &super::Part> =
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
