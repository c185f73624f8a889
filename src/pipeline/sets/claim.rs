//! Claim of a set: all of it is renamed into a folder of its own among our claims, so that one of several machines has the whole.
//!
//! A set that came in a folder is one rename. Of others each file is one, in an order that all machines keep: what says that the set is
//! complete, then the parts by name. Whoever does not get a file that the set needs puts back what it has; since all take them in the same
//! order, of two at least one gets all. A machine that looks while another is at it would see what is left of the set and may take it for
//! one: so it looks at the others' claims after it listed the inbox, and waits while one of them has a set of that name.
//!
//! The ledger says where before anything is moved. What lies there without a run in the ledger (a claim that was cut short, by a crash
//! before a restore from a backup) goes back to the inbox and is looked at anew.

use std::collections::HashMap;

use bstr::{BStr, BString, ByteSlice};
use tracing::{info, warn};

use super::natural;
use super::put_away::delivered;
use crate::ledger::Run;
use crate::ledger::run::show_name;
use crate::pipeline::archive::{NAME_BYTES_MAX, cut};
use crate::pipeline::claim::Claim;
use crate::source::{Entry, EntryKind, Result, Source, SourceError, join};

/// Where a file of a set is: where it was delivered, or where the set was claimed to.
pub fn place(run: &Run, path: &BStr) -> BString {
    match &run.detail.claimed {
        Some(folder) if !run.parts().is_empty() => join(folder.as_bstr(), path),
        _ => delivered(run, path),
    }
}

/// The folder that a set is claimed into. No two runs share one.
pub fn folder(claims: &BStr, run: &Run) -> BString {
    let mut name = BString::from(cut(&run.name, NAME_BYTES_MAX - run.id.len() - 1));
    name.push(b'.');
    name.extend_from_slice(run.id.as_bytes());
    join(claims, name.as_bstr())
}

/// Is this the name of a folder that a set of that name is claimed into?
fn is_of(folder: &BStr, set: &BStr) -> bool {
    let Some((name, id)) = folder.rsplit_once_str(".") else { return false };
    name == cut(set, NAME_BYTES_MAX - id.len() - 1)
}

/// What is renamed, from the inbox, in the order that all machines keep.
fn pieces(run: &Run) -> Vec<BString> {
    let Some(made_of) = &run.detail.delivered else { return Vec::new() };
    let is_inside = |path: &BString| made_of.in_folder && path.starts_with(run.name.as_slice()) && path.get(run.name.len()) == Some(&b'/');
    let mut beside: Vec<BString> = made_of.beside.iter().map(|file| file.path.clone()).filter(|path| !is_inside(path)).collect();
    beside.sort_by(|a, b| natural(a, b));
    let parts = made_of.parts.iter().map(|part| part.path.clone()).filter(|path| !is_inside(path));
    let whole = made_of.in_folder.then(|| run.name.clone());
    beside.into_iter().chain(parts).chain(whole).collect()
}

/// Takes the set. May be called again after a crash at any point. On success its parts have the times that they have there.
pub fn claim(run: &mut Run, source: &mut dyn Source) -> Result<Claim> {
    let Some(folder) = run.detail.claimed.clone() else { return Ok(Claim::Lost) };
    source.make_folder(folder.as_bstr())?;
    let there: Vec<BString> = source.list(folder.as_bstr())?.into_iter().map(|entry| entry.name).collect();
    for path in pieces(run).into_iter().filter(|path| !there.contains(path)) {
        match source.rename(delivered(run, path.as_bstr()).as_bstr(), join(folder.as_bstr(), path.as_bstr()).as_bstr()) {
            Ok(()) => {}
            Err(SourceError::NotFound(_)) => {
                give_back(run, source)?;
                return Ok(Claim::Lost);
            }
            Err(error) => return Err(error),
        }
    }
    let Some(times) = times(run, source)? else {
        info!("a part changed before its set was claimed: all of it is put back");
        give_back(run, source)?;
        return Ok(Claim::Changed);
    };
    if let Some(made_of) = &mut run.detail.delivered {
        let parts = made_of.parts.iter_mut().map(|part| (&part.path, &mut part.mtime));
        for (path, mtime) in parts.chain(made_of.beside.iter_mut().map(|file| (&file.path, &mut file.mtime))) {
            *mtime = times.get(path).copied().unwrap_or(*mtime);
        }
    }
    let mtime = run.parts().iter().map(|part| part.mtime).max().unwrap_or(run.mtime);
    Ok(Claim::Ours { mtime })
}

/// The times of all files of the set as they lie in our folder: some servers copy instead of renaming. None when a part is not as it was.
fn times(run: &Run, source: &mut dyn Source) -> Result<Option<HashMap<BString, i64>>> {
    let mut listed: HashMap<BString, HashMap<BString, Entry>> = HashMap::new();
    let mut times = HashMap::new();
    let parts = run.parts().iter().map(|part| (&part.path, part.size, true));
    let beside = run.detail.delivered.iter().flat_map(|made_of| &made_of.beside).map(|file| (&file.path, file.size, false));
    for (path, size, is_part) in parts.chain(beside) {
        let (folder, name) =
            path.rsplit_once_str("/").map_or((BString::default(), path.as_bstr()), |(folder, name)| (folder.into(), name.into()));
        if !listed.contains_key(&folder) {
            let inside = source.list(place(run, folder.as_bstr()).as_bstr())?;
            listed.insert(folder.clone(), inside.into_iter().map(|entry| (entry.name.clone(), entry)).collect());
        }
        match listed[&folder].get(name) {
            Some(entry) if entry.size == size => drop(times.insert(path.clone(), entry.mtime)),
            _ if is_part => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(times))
}

/// Puts back what was claimed of a set, what says that it is complete last.
fn give_back(run: &Run, source: &mut dyn Source) -> Result<()> {
    let beside: Vec<&BString> = run.detail.delivered.iter().flat_map(|made_of| &made_of.beside).map(|file| &file.path).collect();
    let Some(folder) = &run.detail.claimed else { return Ok(()) };
    put_back(folder.as_bstr(), run.folder.as_bstr(), &|name| beside.iter().any(|path| *path == name), source)
}

/// Puts back to the inbox what lies in a folder that a set was claimed into, and removes the folder. What has another in its place there
/// stays.
pub fn put_back(folder: &BStr, inbox: &BStr, is_last: &dyn Fn(&BStr) -> bool, source: &mut dyn Source) -> Result<()> {
    let mut left = match source.list(folder) {
        Err(fault) if !fault.breaks_connection() && source.stat(folder)?.is_none() => return Ok(()),
        left => left?,
    };
    left.sort_by_key(|entry| is_last(entry.name.as_bstr()));
    for entry in left {
        match source.rename(join(folder, entry.name.as_bstr()).as_bstr(), join(inbox, entry.name.as_bstr()).as_bstr()) {
            Err(fault) if fault.breaks_connection() => return Err(fault),
            Err(fault) => warn!("{} stays in {}: {fault}", show_name(&entry.name), show_name(&folder.to_owned())),
            Ok(()) => {}
        }
    }
    if source.list(folder)?.is_empty() { source.remove_folder(folder) } else { Ok(()) }
}

/// Lets go of the folder that a set was claimed into, once the set is put away. What came into it meanwhile goes back to the inbox.
pub fn let_go(run: &Run, source: &mut dyn Source) -> Result<()> {
    match &run.detail.claimed {
        Some(folder) => put_back(folder.as_bstr(), run.folder.as_bstr(), &|_| false, source),
        None => Ok(()),
    }
}

/// The folder in which another machine has a set of this name in hand, if one has.
pub fn others(claims: &BStr, set: &BStr, source: &mut dyn Source) -> Result<Option<BString>> {
    let (all, own) = claims.rsplit_once_str("/").unwrap_or((b"", claims));
    let machines = match source.list(all.as_bstr()) {
        // Nothing was ever claimed.
        Err(fault) if !fault.breaks_connection() && source.stat(all.as_bstr())?.is_none() => return Ok(None),
        machines => machines?,
    };
    for machine in machines.iter().filter(|entry| entry.kind == EntryKind::Folder && entry.name != own) {
        let path = join(all.as_bstr(), machine.name.as_bstr());
        let inside = match source.list(path.as_bstr()) {
            Err(fault) if !fault.breaks_connection() => continue,
            inside => inside?,
        };
        let found = inside.iter().find(|entry| entry.kind == EntryKind::Folder && is_of(entry.name.as_bstr(), set));
        if let Some(found) = found {
            return Ok(Some(join(path.as_bstr(), found.name.as_bstr())));
        }
    }
    Ok(None)
}
