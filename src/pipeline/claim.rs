//! Claim: takes an input for this machine alone, by renaming it into a folder of our own before it is read.
//!
//! A rename happens once: of several machines that serve one inbox, exactly one finds the file under its new name. The name is written
//! down before the rename, so that a restart finds what it began; and what lies in our folder without an entry in the ledger is taken
//! up again by [`super::discover`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};
use rand::RngExt;
use tracing::{info, warn};

use super::archive::with_id;
use crate::config::meant::Feed;
use crate::ledger::Run;
use crate::source::{Result, Source, SourceError, join};

/// How trying to take a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is in our folder, with this time there: some servers copy instead of renaming.
    Ours { mtime: i64 },
    /// Somebody else took it, or it was removed.
    Lost,
    /// Under its name there was another file by now. It was put back, or waits in our folder until it is quiet.
    Changed,
}

/// This machine's name among those that serve an inbox: made once, and kept in the state directory.
pub fn owner(state: &Path) -> io::Result<String> {
    let path = state.join("owner");
    match fs::read_to_string(&path) {
        Ok(text) if is_owner(text.trim()) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut random = rand::rng();
    let name: String = (0..8).map(|_| char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[random.random_range(0..32)])).collect();
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    file.write_all(name.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    File::open(state)?.sync_all()?;
    Ok(name)
}

fn is_owner(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Our folder for a feed's claims, when it claims.
pub fn folder(feed: &Feed, owner: &str) -> Option<BString> {
    Some(join(feed.claim.as_ref()?.as_bstr(), owner.into()))
}

/// Where a run's input is: where it was delivered, or where it was claimed to.
pub fn input(run: &Run) -> BString {
    run.detail.claimed.clone().unwrap_or_else(|| delivered(run))
}

/// Where a run's input was delivered.
pub fn delivered(run: &Run) -> BString {
    join(run.folder.as_bstr(), run.name.as_bstr())
}

/// A free name in our folder, to be written down before [`claim`] uses it.
pub fn destination(folder: &BStr, run: &Run, source: &mut dyn Source) -> Result<BString> {
    source.make_folder(folder)?;
    let plain = join(folder, run.name.as_bstr());
    Ok(match source.stat(plain.as_bstr())? {
        None => plain,
        Some(_) => join(folder, with_id(run.name.as_bstr(), &run.id).as_bstr()),
    })
}

/// Takes the file. May be called again after a crash at any point.
pub fn claim(run: &Run, to: &BStr, source: &mut dyn Source) -> Result<Claim> {
    let from = delivered(run);
    let mut there = source.stat(to)?;
    if there.is_none() {
        match source.rename(from.as_bstr(), to) {
            Ok(()) => there = source.stat(to)?,
            Err(SourceError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(there) = there else { return Ok(Claim::Lost) };
    if there.size == run.size {
        return Ok(Claim::Ours { mtime: there.mtime });
    }
    // The proof of completeness was another file's. Whoever still writes it finds it where it was.
    match source.rename(to, from.as_bstr()) {
        Ok(()) => info!("another file took the name before it was claimed: it was put back"),
        Err(error) if error.breaks_connection() => return Err(error),
        Err(error) => {
            warn!("another file took the name before it was claimed, and cannot be put back: {error}; it is taken once it is quiet");
        }
    }
    Ok(Claim::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_name() {
        let state = tempfile::tempdir().unwrap();
        let name = owner(state.path()).unwrap();
        assert!(is_owner(&name));
        assert_eq!(owner(state.path()).unwrap(), name);
        fs::write(state.path().join("owner"), "../../x").unwrap();
        assert!(is_owner(&owner(state.path()).unwrap()), "a name from a damaged file is not used");
    }
}
