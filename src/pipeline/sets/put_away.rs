//! Putting sets away: all of a set goes to one folder, or nowhere.
//!
//! The ledger says where before anything is moved, and each file is moved if it is still the one that was read. So a stop at any point
//! leaves each file in one place, and the next start goes on. What says that a set is complete goes first: whoever sees what is left,
//! without our ledger, does not take it for a set.

use bstr::{BStr, BString, ByteSlice};

use super::claim;
use crate::config::meant::{After, Feed};
use crate::ledger::Run;
use crate::pipeline::archive::{Archived, with_id};
use crate::source::{Result, Source, SourceError, join};

/// Where a file of a run's input was delivered.
pub fn delivered(run: &Run, path: &BStr) -> BString {
    join(run.folder.as_bstr(), path)
}

/// Where a file of a set goes, below the folder that the set went to: to the same place that it had in its own.
pub fn destination(archived: &BStr, run: &Run, path: &BStr) -> BString {
    let below = path.strip_prefix(run.name.as_slice()).and_then(|below| below.strip_prefix(b"/"));
    join(archived, below.unwrap_or(path).as_bstr())
}

/// Puts a set away, or what is left of it. May be called again after a stop at any point.
pub fn set(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<Archived> {
    let Some(made_of) = &run.detail.delivered else { return Ok(Archived::Away) };
    if feed.after == After::Leave {
        return Ok(Archived::Away);
    }
    let mut made: Vec<BString> = Vec::new();
    let beside = made_of.beside.iter().map(|file| (&file.path, file.size, file.mtime));
    let parts = made_of.parts.iter().map(|part| (&part.path, part.size, part.mtime));
    let mut removed = false;
    for (is_part, (path, size, mtime)) in beside.map(|file| (false, file)).chain(parts.map(|part| (true, part))) {
        if let Some(archived) = &run.detail.archived {
            let folder = parent(destination(archived.as_bstr(), run, path.as_bstr()).as_bstr()).to_owned();
            if !made.contains(&folder) {
                source.make_folder(folder.as_bstr())?;
                made.push(folder);
            }
        }
        removed |= one(feed, run, path, (size, mtime), source)? == Archived::Removed && is_part;
    }
    if made_of.in_folder {
        for folder in folders(run) {
            remove_emptied(claim::place(run, folder.as_bstr()).as_bstr(), source)?;
        }
    }
    claim::let_go(run, source)?;
    Ok(if removed { Archived::Removed } else { Archived::Away })
}

fn parent(path: &BStr) -> &BStr {
    path.rsplit_once_str("/").map_or(BStr::new(b""), |(folder, _)| folder.as_bstr())
}

/// The folders that a set came in, from the inbox, those below others first.
fn folders(run: &Run) -> Vec<BString> {
    let mut all: Vec<BString> = Vec::new();
    for part in run.parts() {
        let mut folder = parent(part.path.as_bstr());
        while !folder.is_empty() && !all.iter().any(|known| *known == folder) {
            all.push(folder.to_owned());
            folder = parent(folder);
        }
    }
    all.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
    all
}

fn remove_emptied(folder: &BStr, source: &mut dyn Source) -> Result<()> {
    match source.list(folder) {
        Ok(left) if left.is_empty() => source.remove_folder(folder),
        Ok(left) => {
            let names: Vec<String> = left.iter().take(3).map(|entry| entry.name.escape_ascii().to_string()).collect();
            tracing::warn!("{} things came into the folder after the set was taken, and stay there: {}", left.len(), names.join(", "));
            Ok(())
        }
        Err(fault) if fault.breaks_connection() => Err(fault),
        // It is gone.
        Err(_) => Ok(()),
    }
}

/// Moves or removes one file, if it is still the one that was there.
fn one(feed: &Feed, run: &Run, path: &BString, was: (u64, i64), source: &mut dyn Source) -> Result<Archived> {
    let mut from = claim::place(run, path.as_bstr());
    let mut there = source.stat(from.as_bstr())?;
    if there.is_none() && run.detail.claimed.is_some() {
        // Not yet claimed when it ended, or put back by somebody.
        from = delivered(run, path.as_bstr());
        there = source.stat(from.as_bstr())?;
    }
    let ours = there.is_some_and(|entry| (entry.size, entry.mtime) == was);
    match (&feed.after, &run.detail.archived) {
        (After::Delete, _) if ours => source.remove(from.as_bstr())?,
        (After::Move { .. }, Some(archived)) => {
            let to = destination(archived.as_bstr(), run, path.as_bstr());
            if ours {
                match source.rename(from.as_bstr(), to.as_bstr()) {
                    // Refused or unsure: what is there now decides.
                    Err(error) if source.stat(from.as_bstr())?.is_some() || source.stat(to.as_bstr())?.is_none() => return Err(error),
                    _ => {}
                }
            } else if source.stat(to.as_bstr())?.is_none() {
                return Ok(Archived::Removed);
            }
        }
        _ => {}
    }
    Ok(Archived::Away)
}

/// Puts away what stood beside a file that is a delivery by itself.
pub fn beside(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<()> {
    for file in run.detail.delivered.iter().flat_map(|delivered| &delivered.beside) {
        let from = delivered(run, file.path.as_bstr());
        let ours = source.stat(from.as_bstr())?.is_some_and(|entry| (entry.size, entry.mtime) == (file.size, file.mtime));
        if !ours {
            continue;
        }
        match (&feed.after, &run.detail.archived) {
            (After::Delete, _) => source.remove(from.as_bstr())?,
            (After::Move { .. }, Some(archived)) => {
                let folder = parent(archived.as_bstr());
                let plain = join(folder, file.path.as_bstr());
                let to = match source.stat(plain.as_bstr())? {
                    None => plain,
                    Some(_) => join(folder, with_id(file.path.as_bstr(), &run.id).as_bstr()),
                };
                match source.rename(from.as_bstr(), to.as_bstr()) {
                    Err(error @ SourceError::Exists(_)) => tracing::warn!("{} stays where it is: {error}", file.path.escape_ascii()),
                    other => other?,
                }
            }
            _ => {}
        }
    }
    Ok(())
}
