//! Archive: moves the input to where done files go, last of all. Nothing is ever overwritten.

use bstr::{BStr, BString, ByteSlice};

use super::claim;
use super::sets::{beside, put_away};
use crate::config::meant::{After, Complete, Feed};
use crate::ledger::{Run, State};
use crate::source::{Result, Source, SourceError, join};

/// Where the input is to go; decided and written down before it is moved, so that a restart finds the same answer.
pub fn destination(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<Option<BString>> {
    let After::Move { processed, error } = &feed.after else { return Ok(None) };
    let folder = if matches!(run.state, State::Failed | State::Discarded | State::Stopped) || run.detail.fault.is_some() {
        error
    } else {
        processed
    };
    let folder = if folder.starts_with(b"/") { folder.clone() } else { join(run.folder.as_bstr(), folder.as_bstr()) };
    source.make_folder(folder.as_bstr())?;
    let plain = join(folder.as_bstr(), run.name.as_bstr());
    Ok(Some(match source.stat(plain.as_bstr())? {
        None => plain,
        Some(_) => join(folder.as_bstr(), with_id(run.name.as_bstr(), &run.id).as_bstr()),
    }))
}

/// What became of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archived {
    /// It is where it belongs.
    Away,
    /// Somebody moved or removed it before we could.
    Removed,
}

/// Moves, deletes or leaves the input. May be called again after a crash at any point.
pub fn archive(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<Archived> {
    if !run.parts().is_empty() {
        return put_away::set(feed, run, source);
    }
    let delivered = claim::delivered(run);
    let mut input = claim::input(run);
    let mut there = source.stat(input.as_bstr())?;
    if there.is_none() && input != delivered {
        // Not yet claimed when it ended, or put back by somebody.
        input = delivered;
        there = source.stat(input.as_bstr())?;
    }
    // Somebody may have delivered another file under the name meanwhile: that one stays.
    let ours = there.as_ref().is_some_and(|entry| (entry.size, entry.mtime) == (run.size, run.mtime));
    match (&feed.after, &run.detail.archived) {
        (After::Leave, _) => return Ok(Archived::Away),
        (After::Delete, _) if ours => source.remove(input.as_bstr())?,
        (After::Move { .. }, Some(to)) if ours => match source.rename(input.as_bstr(), to.as_bstr()) {
            // Refused or unsure: what is there now decides.
            Err(error) if source.stat(input.as_bstr())?.is_some() || source.stat(to.as_bstr())?.is_none() => return Err(error),
            _ => {}
        },
        _ => {}
    }
    // A marker beside another file is that file's.
    if ours || there.is_none() {
        remove_marker(feed, run, source)?;
        put_away::beside(feed, run, source)?;
    }
    match &run.detail.archived {
        Some(to) if !ours && source.stat(to.as_bstr())?.is_none() => Ok(Archived::Removed),
        _ => Ok(Archived::Away),
    }
}

/// A marker named after the file has said what it had to say.
fn remove_marker(feed: &Feed, run: &Run, source: &mut dyn Source) -> Result<()> {
    match &feed.complete {
        Complete::Marker(pattern) if beside::is_own(pattern) => {
            let marker = join(run.folder.as_bstr(), beside::name_for(pattern, run.name.as_bstr()).as_bstr());
            if run.detail.claimed.is_some() && source.stat(claim::delivered(run).as_bstr())?.is_some() {
                // The next file of this name is there already, and the marker may be its own.
                return Ok(());
            }
            match source.remove(marker.as_bstr()) {
                Err(SourceError::Permission(_)) | Ok(()) => Ok(()),
                Err(error) => Err(error),
            }
        }
        _ => Ok(()),
    }
}

/// Bytes of a name that servers and file systems take (`NAME_MAX` of Linux).
pub const NAME_BYTES_MAX: usize = 255;

/// The start of a name, whole characters where it is text.
pub fn cut(name: &[u8], bytes: usize) -> &[u8] {
    let mut end = bytes.min(name.len());
    while end > 0 && name.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) && std::str::from_utf8(name).is_ok() {
        end -= 1;
    }
    &name[..end]
}

/// `loyalty.csv.gz` and `k7f2m9` make `loyalty-k7f2m9.csv.gz`.
pub fn with_id(name: &BStr, id: &str) -> BString {
    let stem = stem_length(name);
    let room = NAME_BYTES_MAX.saturating_sub(name.len() - stem + id.len() + 1);
    let mut with_id = BString::from(cut(&name[..stem], room));
    with_id.extend_from_slice(b"-");
    with_id.extend_from_slice(id.as_bytes());
    with_id.extend_from_slice(&name[stem..]);
    with_id
}

/// Length of a name without the endings that say what is in it.
pub fn stem_length(name: &BStr) -> usize {
    const ENDINGS: [&[u8]; 14] = [
        b".gz",
        b".zip",
        b".zst",
        b".bz2",
        b".sz",
        b".pgp",
        b".gpg",
        b".asc",
        b".csv",
        b".tsv",
        b".txt",
        b".xlsx",
        b".wallet_update",
        b".errors",
    ];
    let mut length = name.len();
    while let Some(ending) = ENDINGS.iter().find(|ending| name[..length].to_ascii_lowercase().ends_with(ending) && length > ending.len()) {
        length -= ending.len();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_before_the_endings() {
        assert_eq!(with_id("loyalty.csv.gz".into(), "k7f2m9"), "loyalty-k7f2m9.csv.gz");
        assert_eq!(with_id("LOYALTY.CSV".into(), "k7f2m9"), "LOYALTY-k7f2m9.CSV");
        assert_eq!(with_id("part_00".into(), "k7f2m9"), "part_00-k7f2m9");
        assert_eq!(with_id(".csv".into(), "k7f2m9"), ".csv-k7f2m9");
    }

    #[test]
    fn a_name_that_fills_its_room_is_cut_before_the_id() {
        let name = format!("{}.csv", "é".repeat(125));
        assert_eq!(with_id(name.as_str().into(), "k7f2m9"), format!("{}-k7f2m9.csv", "é".repeat(122)));
    }
}
