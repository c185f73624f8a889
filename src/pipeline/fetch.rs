//! Fetch: streams a file into the spool with its hash, and checks that it did not change meanwhile.

use std::io;

use bstr::{BStr, ByteSlice};

use crate::ledger::Run;
use crate::source::SourceError;
use crate::source::link::Link;
use crate::spool::Spool;
use crate::stop::Stop;

/// How fetching ended.
pub enum Fetch {
    /// In the spool, with this hash.
    Whole { sha256: String },
    /// It changed before or while it was read.
    Changed,
    /// It is larger than a file may be.
    TooLarge,
    /// Somebody took it away.
    Gone,
    /// The program is being stopped; the next start fetches it anew.
    Stopped,
}

pub fn fetch(run: &Run, link: &Link, spool: &Spool, bytes_max: u64, stop: &Stop, progress: &dyn Fn(u64)) -> Result<Fetch, SourceError> {
    let path = super::claim::input(run);
    let path: &BStr = path.as_bstr();
    let Some(now) = link.with(|source| source.stat(path))? else { return Ok(Fetch::Gone) };
    if (now.size, now.mtime) != (run.size, run.mtime) {
        return Ok(Fetch::Changed);
    }
    if now.size > bytes_max {
        return Ok(Fetch::TooLarge);
    }
    let mut writer = spool.begin(&run.id)?;
    let mut bytes = 0;
    let fetched = link.with(|source| {
        source.read(path, bytes_max, &mut |piece| {
            if stop.is_draining() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            bytes += piece.len() as u64;
            progress(bytes);
            writer.write(piece)
        })
    });
    let fetched = match fetched {
        Err(SourceError::NotFound(_)) => return Ok(Fetch::Gone),
        Err(error) if error.is_interruption() => return Ok(Fetch::Stopped),
        other => other?,
    };
    if !fetched.unchanged() {
        return Ok(Fetch::Changed);
    }
    let (_, sha256) = writer.finish()?;
    Ok(Fetch::Whole { sha256 })
}
