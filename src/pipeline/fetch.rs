//! Fetch: streams a file, or the parts of a set one behind another, into the spool with its hash, and checks that it did not change meanwhile.

use std::io;

use bstr::{BStr, BString, ByteSlice};

use super::checksum::Digesting;
use super::sets::claim::place;
use crate::ledger::Run;
use crate::ledger::delivered::Checksum;
use crate::source::SourceError;
use crate::source::link::Link;
use crate::spool::{Spool, SpoolWriter};
use crate::stop::Stop;

/// How fetching ended.
pub enum Fetch {
    /// In the spool.
    Whole(Box<Copied>),
    /// It changed before or while it was read.
    Changed,
    /// It is larger than a file may be.
    TooLarge,
    /// Somebody took it away.
    Gone,
    /// The program is being stopped; the next start fetches it anew.
    Stopped,
}

/// What was fetched.
#[derive(Default)]
pub struct Copied {
    pub sha256: String,
    /// Of each part of a set.
    pub parts: Vec<String>,
    /// Checksums that something beside it declared and that its bytes do not have, in words.
    pub mismatches: Vec<String>,
}

/// A file that is to be fetched, as it was when it was complete.
struct Wanted<'a> {
    path: BString,
    shown: String,
    was: (u64, i64),
    checksum: Option<&'a Checksum>,
}

/// What belongs to a run's input and holds its rows.
fn wanted(run: &Run) -> Vec<Wanted<'_>> {
    if run.parts().is_empty() {
        let checksum = run.detail.delivered.as_ref().and_then(|delivered| delivered.checksum.as_ref());
        return vec![Wanted { path: super::claim::input(run), shown: run.shown_name(), was: (run.size, run.mtime), checksum }];
    }
    let part = |part: &'_ crate::ledger::delivered::Part| (place(run, part.path.as_bstr()), part.shown(), (part.size, part.mtime));
    let parts = run.parts().iter().map(|one| {
        let (path, shown, was) = part(one);
        Wanted { path, shown, was, checksum: one.checksum.as_ref() }
    });
    parts.collect()
}

pub fn fetch(run: &Run, link: &Link, spool: &Spool, bytes_max: u64, stop: &Stop, progress: &dyn Fn(u64)) -> Result<Fetch, SourceError> {
    let wanted = wanted(run);
    for one in &wanted {
        if let Some(other) = look(one, link)? {
            return Ok(other);
        }
    }
    if run.size > bytes_max {
        return Ok(Fetch::TooLarge);
    }
    let mut writer = spool.begin(&run.id)?;
    let mut copied = Copied::default();
    let mut bytes = 0;
    for one in &wanted {
        match copy(one, link, &mut writer, bytes_max, stop, &|more| progress(bytes + more))? {
            Ok((sha256, mismatch)) => {
                copied.parts.push(sha256);
                copied.mismatches.extend(mismatch);
            }
            Err(other) => return Ok(other),
        }
        bytes += one.was.0;
    }
    if wanted.len() > 1 {
        // One that was read may have been replaced while others were.
        for one in &wanted {
            if let Some(other) = look(one, link)? {
                return Ok(other);
            }
        }
    }
    (_, copied.sha256) = writer.finish()?;
    Ok(Fetch::Whole(Box::new(copied)))
}

/// What keeps a file from being fetched, if anything does.
fn look(one: &Wanted<'_>, link: &Link) -> Result<Option<Fetch>, SourceError> {
    let Some(now) = link.with(|source| source.stat(one.path.as_bstr()))? else { return Ok(Some(Fetch::Gone)) };
    Ok(((now.size, now.mtime) != one.was).then_some(Fetch::Changed))
}

type Digests = (String, Option<String>);

fn copy(
    one: &Wanted<'_>,
    link: &Link,
    writer: &mut SpoolWriter,
    bytes_max: u64,
    stop: &Stop,
    progress: &dyn Fn(u64),
) -> Result<Result<Digests, Fetch>, SourceError> {
    let path: &BStr = one.path.as_bstr();
    let mut bytes = 0;
    let mut digest = Digesting::new(crate::ledger::delivered::Algorithm::Sha256);
    let mut declared = one.checksum.map(|checksum| Digesting::new(checksum.algorithm));
    let fetched = link.with(|source| {
        source.read(path, bytes_max, &mut |piece| {
            if stop.is_draining() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            bytes += piece.len() as u64;
            progress(bytes);
            digest.update(piece);
            if let Some(declared) = &mut declared {
                declared.update(piece);
            }
            writer.write(piece)
        })
    });
    let fetched = match fetched {
        Err(SourceError::NotFound(_)) => return Ok(Err(Fetch::Gone)),
        Err(error) if error.is_interruption() => return Ok(Err(Fetch::Stopped)),
        other => other?,
    };
    if !fetched.unchanged() || fetched.before != one.was {
        return Ok(Err(Fetch::Changed));
    }
    let mismatch = one.checksum.zip(declared).and_then(|(checksum, found)| checksum.mismatch(&found.finish(), &one.shown));
    Ok(Ok((digest.finish(), mismatch)))
}

/// How the input of a run that is to be fetched again is now.
pub enum There {
    /// It is gone, or a part of it is.
    Gone,
    /// Another has taken its place.
    Other,
    /// It has the size that it had; its hash tells the rest. The times of its parts as they are now.
    Perhaps(Vec<i64>),
}

pub fn there(run: &Run, link: &Link) -> Result<There, SourceError> {
    let mut times = Vec::new();
    for one in wanted(run) {
        match link.with(|source| source.stat(one.path.as_bstr()))? {
            None => return Ok(There::Gone),
            Some(entry) if entry.size != one.was.0 => return Ok(There::Other),
            Some(entry) => times.push(entry.mtime),
        }
    }
    Ok(There::Perhaps(times))
}
