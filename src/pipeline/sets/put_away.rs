//! Putting sets away: all of a set goes to one folder, or nowhere.
//!
//! The ledger says where before anything is moved, and each file is moved if it is still the one that was read. So a stop at any point
//! leaves each file in one place, and the next start goes on. What says that a set is complete goes first: whoever sees what is left,
//! without our ledger, does not take it for a set.

use bstr::{BStr, BString, ByteSlice};

use super::base_name;
use crate::config::meant::{After, Feed};
use crate::ledger::Run;
use crate::pipeline::archive::{Archived, with_id};
use crate::source::{Result, Source, SourceError, join};

/// Where a file of a run's input was delivered.
pub fn delivered(run: &Run, path: &BStr) -> BString {
    join(run.folder.as_bstr(), path)
}

/// Where a file of a set goes, below the folder that the set went to.
pub fn destination(archived: &BStr, path: &BStr) -> BString {
    join(archived, base_name(path))
}

/// Puts a set away, or what is left of it. May be called again after a stop at any point.
pub fn set(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<Archived> {
    let Some(made_of) = &run.detail.delivered else { return Ok(Archived::Away) };
    if feed.after == After::Leave {
        return Ok(Archived::Away);
    }
    if let Some(to) = &run.detail.archived {
        source.make_folder(to.as_bstr())?;
    }
    let beside = made_of.beside.iter().map(|file| (&file.path, file.size, file.mtime));
    for (path, size, mtime) in beside {
        one(feed, run, path, (size, mtime), source)?;
    }
    let mut removed = false;
    for part in &made_of.parts {
        removed |= one(feed, run, &part.path, (part.size, part.mtime), source)? == Archived::Removed;
    }
    if made_of.in_folder {
        let folder = delivered(run, run.name.as_bstr());
        match source.list(folder.as_bstr()) {
            Ok(left) if left.is_empty() => source.remove_folder(folder.as_bstr())?,
            Ok(left) => {
                let names: Vec<String> = left.iter().take(3).map(|entry| entry.name.escape_ascii().to_string()).collect();
                tracing::warn!("{} things came into the folder after the set was taken, and stay there: {}", left.len(), names.join(", "));
            }
            Err(fault) if fault.breaks_connection() => return Err(fault),
            // It is gone.
            Err(_) => {}
        }
    }
    Ok(if removed { Archived::Removed } else { Archived::Away })
}

/// Moves or removes one file, if it is still the one that was there.
fn one(feed: &Feed, run: &Run, path: &BString, was: (u64, i64), source: &mut dyn Source) -> Result<Archived> {
    let from = delivered(run, path.as_bstr());
    let there = source.stat(from.as_bstr())?;
    let ours = there.is_some_and(|entry| (entry.size, entry.mtime) == was);
    match (&feed.after, &run.detail.archived) {
        (After::Delete, _) if ours => source.remove(from.as_bstr())?,
        (After::Move { .. }, Some(archived)) => {
            let to = destination(archived.as_bstr(), path.as_bstr());
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
                let folder = archived.rsplit_once_str("/").map_or(BStr::new(b""), |(folder, _)| folder.as_bstr());
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
