//! One file out of a zip archive. Names in it choose a member and are shown; nothing is ever written under them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use globset::GlobBuilder;
use zip::{CompressionMethod, ZipArchive};

use super::Counted;
use crate::outcome::Code;
use crate::pipeline::decode::fault::{DecodeError, FileFault};

/// Names shown of an archive with several files.
const SHOWN: usize = 5;

/// Entries looked at: an export has one or a handful.
const ENTRIES_MAX: usize = 10_000;

struct Entry {
    index: usize,
    name: String,
}

/// Opens the one file of the archive, or the one whose name fits `wanted`, a glob. Gives its name too.
pub(super) fn open(
    archive: File,
    wanted: Option<&str>,
    counted: impl FnOnce(File) -> Counted,
) -> Result<(String, Box<dyn Read + Send>), DecodeError> {
    let mut bytes = archive.try_clone()?;
    let mut zip = ZipArchive::new(archive).map_err(|error| unreadable(&error))?;
    let entries = files(&mut zip)?;
    let chosen = choose(&entries, wanted)?;
    let found = zip.by_index_raw(chosen.index).map_err(|error| unreadable(&error))?;
    let fault = |message: String| FileFault::new(Code::CompressionError, message);
    if found.encrypted() {
        let message = format!("`{}` in the archive has a password.", chosen.name.escape_debug());
        return Err(fault(message).suggest("Pack it without one; OpenPGP is the way to send it encrypted.").into());
    }
    let (method, length, size, crc) = (found.compression(), found.compressed_size(), found.size(), found.crc32());
    let start = found.data_start().ok_or_else(|| fault("The archive does not say where its file begins.".to_owned()))?;
    drop(found);
    bytes.seek(SeekFrom::Start(start))?;
    let raw = counted(bytes).take(length);
    let content: Box<dyn Read + Send> = match method {
        CompressionMethod::Stored => Box::new(raw),
        CompressionMethod::Deflated => Box::new(DeflateDecoder::new(raw)),
        other => {
            let message = format!("`{}` is packed by the method {other:?}.", chosen.name.escape_debug());
            return Err(fault(message).suggest("Pack it with the usual method, deflate.").into());
        }
    };
    Ok((chosen.name.clone(), Box::new(Member { content, crc: Crc::new(), given: 0, stated_crc: crc, stated_size: size })))
}

fn unreadable(error: &zip::result::ZipError) -> DecodeError {
    FileFault::new(Code::CompressionError, format!("The zip file is cut short or damaged: {error}."))
        .suggest("Deliver the file again; a zip whose upload was not finished has no directory at its end.")
        .into()
}

/// All files but those that macOS adds for itself.
fn files(zip: &mut ZipArchive<File>) -> Result<Vec<Entry>, DecodeError> {
    if zip.len() > ENTRIES_MAX {
        let message = format!("The archive has {} entries; an export has one, or a few.", zip.len());
        return Err(FileFault::new(Code::CompressionError, message).into());
    }
    let mut entries = Vec::new();
    for index in 0..zip.len() {
        let found = zip.by_index_raw(index).map_err(|error| unreadable(&error))?;
        let name = String::from_utf8_lossy(found.name_raw()).into_owned();
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        if !found.is_dir() && !name.starts_with("__MACOSX/") && last != ".DS_Store" {
            entries.push(Entry { index, name });
        }
    }
    Ok(entries)
}

fn choose<'e>(entries: &'e [Entry], wanted: Option<&str>) -> Result<&'e Entry, DecodeError> {
    let fault = |message: String| FileFault::new(Code::CompressionError, message);
    let fitting: Vec<&Entry> = match wanted {
        None => entries.iter().collect(),
        Some(wanted) => {
            let glob = GlobBuilder::new(wanted).build().map_err(io::Error::other)?.compile_matcher();
            let last = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
            entries.iter().filter(|entry| glob.is_match(&entry.name) || glob.is_match(last(&entry.name))).collect()
        }
    };
    match (&fitting[..], wanted) {
        ([one], _) => Ok(one),
        ([], None) => Err(fault("The archive holds no file.".to_owned()).suggest("Deliver it again.").into()),
        ([], Some(wanted)) => Err(fault(format!("The archive holds no file `{wanted}`, but {}.", list(entries.iter())))
            .suggest("Correct dialect.member; it is a glob over names in the archive.")
            .into()),
        (several, _) => Err(fault(format!("The archive holds {} files: {}.", several.len(), list(several.iter().copied())))
            .suggest("Say which is meant by dialect.member = \"NAME\", a glob over names in the archive.")
            .into()),
    }
}

fn list<'e>(entries: impl Iterator<Item = &'e Entry>) -> String {
    let mut names: Vec<String> = entries.map(|entry| format!("`{}`", entry.name.escape_debug())).collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") + &more }
}

/// The file's bytes, compared at their end with what the directory says of them.
struct Member {
    content: Box<dyn Read + Send>,
    crc: Crc,
    given: u64,
    stated_crc: u32,
    stated_size: u64,
}

impl Read for Member {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(into)?;
        self.crc.update(&into[..count]);
        self.given += count as u64;
        if count == 0 && !into.is_empty() {
            if self.given < self.stated_size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.given != self.stated_size || self.crc.sum() != self.stated_crc {
                return Err(io::Error::other("its checksum is wrong"));
            }
        }
        Ok(count)
    }
}
