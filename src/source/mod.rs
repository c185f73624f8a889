//! Sources: where files arrive. A source knows names, bytes and times; it does not know what a row is.
//!
//! Names from a server are opaque bytes. They are joined to folders with [`join`], compared and shown escaped, and never become a path on this machine.

pub mod folder;
pub mod link;
pub mod refusals;
pub mod sftp;

use std::io::Read;
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice};

/// What kind of thing a name stands for. Only regular files are ever opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Folder,
    /// A symbolic link, device, socket or FIFO: listed, never followed.
    Other,
}

/// One name in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name alone, without its folder.
    pub name: BString,
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970 by the server's clock; compared with other values of the same server only.
    pub mtime: i64,
}

/// What was seen of a file before and after it was read. Equal halves mean that it did not change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Size and mtime by the open handle before the first read.
    pub before: (u64, i64),
    /// Size and mtime by name after the last read.
    pub after: (u64, i64),
}

impl Fetched {
    pub fn unchanged(&self) -> bool {
        self.before == self.after && self.bytes == self.before.0
    }
}

/// Which folder it really is, however it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server by its host key, as several names may lead to one; or this machine.
    pub server: String,
    /// Whose login it is: each may see another folder under the same path.
    pub user: String,
    /// Links followed.
    pub path: BString,
}

/// Why a source could not do what it was asked. The variants are what somebody branches on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The host key is unknown or differs. Nothing was revealed. The message shows the fingerprint seen and the line to add.
    #[error("{0}")]
    HostKey(String),
    #[error("the server refused the login: {0}")]
    Auth(String),
    /// Cannot connect, or the connection broke; trying again later may help.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// A phase did not end within its deadline.
    #[error("{phase} did not end within {limit:?}")]
    Timeout { phase: &'static str, limit: Duration },
    /// A transfer went on, but slower than the source's `speed_min`.
    #[error("the transfer was given up: {bytes_per_second} bytes a second over {span:?}, less than speed_min")]
    TooSlow { bytes_per_second: u64, span: Duration },
    #[error("not allowed: {0}")]
    Permission(String),
    #[error("not found: {0}")]
    NotFound(String),
    /// The name is taken; nothing was overwritten.
    #[error("already exists: {0}")]
    Exists(String),
    #[error("{0}")]
    Other(String),
    /// The sink on this side failed (disk full, …).
    #[error("local storage: {0}")]
    Local(#[from] std::io::Error),
}

impl SourceError {
    /// Is the connection of no further use?
    pub fn breaks_connection(&self) -> bool {
        self.is_interruption()
            || matches!(
                self,
                SourceError::HostKey(_)
                    | SourceError::Auth(_)
                    | SourceError::Unreachable(_)
                    | SourceError::Timeout { .. }
                    | SourceError::TooSlow { .. }
            )
    }

    /// Did the sink end the transfer because the program stops? Ending it politely would wait for all that is on its way.
    pub fn is_interruption(&self) -> bool {
        matches!(self, SourceError::Local(error) if error.kind() == std::io::ErrorKind::Interrupted)
    }
}

pub type Result<T> = std::result::Result<T, SourceError>;

/// One connection to a place where files arrive. Used by one thread at a time; dropped and reopened after an error that
/// [`SourceError::breaks_connection`]. Every call ends within the source's deadlines.
///
/// Paths are bytes as the server knows them. `rename` and `create` never overwrite.
pub trait Source: Send {
    /// Names in a folder, without `.` and `..`. A listing error is an error, never an empty listing.
    fn list(&mut self, folder: &BStr) -> Result<Vec<Entry>>;

    /// One name, links not followed; none when there is no such name.
    fn stat(&mut self, path: &BStr) -> Result<Option<Entry>>;

    /// Reads a regular file from its start into the sink, in large pieces. Stops with an error when the file gives more than `bytes_max`.
    fn read(&mut self, path: &BStr, bytes_max: u64, sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Result<Fetched>;

    /// Creates a file that must not exist, writes, flushes, sets `mode`, and verifies its size. A failed attempt is removed.
    fn create(&mut self, path: &BStr, content: &mut dyn Read, mode: u32) -> Result<u64>;

    /// Gives a file another name; fails with `Exists` when that name is taken.
    fn rename(&mut self, from: &BStr, to: &BStr) -> Result<()>;

    /// Removes a file. May be called twice: a missing file is not an error.
    fn remove(&mut self, path: &BStr) -> Result<()>;

    /// Makes a folder, and its parents, unless it is there.
    fn make_folder(&mut self, path: &BStr) -> Result<()>;

    /// Removes a folder that is empty. May be called twice: a missing one is not an error.
    fn remove_folder(&mut self, path: &BStr) -> Result<()>;

    /// Which folder it really is.
    fn place(&mut self, folder: &BStr) -> Result<Place>;

    /// Does something cheap so that an idle connection stays open; an error means it is gone.
    fn keep_alive(&mut self) -> Result<()>;
}

/// Opens connections to one source. Cheap to keep; holds no connection itself.
pub trait Connect: Send + Sync {
    fn connect(&self) -> Result<Box<dyn Source>>;

    /// A digest of what it logs in with, as it is now, that does not give the secret away: another one is worth another try. None where
    /// there is no login, or nothing to read.
    fn login_digest(&self, _salt: &[u8]) -> Option<String> {
        None
    }
}

/// Joins a name from a listing to its folder. The name must have passed [`name_fault`].
pub fn join(folder: &BStr, name: &BStr) -> BString {
    let mut path = BString::from(folder.to_vec());
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Names of one folder, and bytes of those names, beyond which a listing is refused rather than held in memory.
const ENTRIES_MAX: usize = 500_000;
const NAME_BYTES_MAX: usize = 32 << 20;

fn too_many_entries(folder: &BStr) -> SourceError {
    SourceError::Other(format!(
        "{folder:?} holds more than {ENTRIES_MAX} names, or {} MiB of them; move old files away",
        NAME_BYTES_MAX >> 20
    ))
}

fn too_large(path: &BStr, bytes: u64, bytes_max: u64) -> SourceError {
    SourceError::Other(format!("{path:?} has {bytes} bytes or more; the limit is {bytes_max}"))
}

/// The last component of a path.
fn base_name(path: &BStr) -> &[u8] {
    path.rsplit_str("/").find(|part| !part.is_empty()).unwrap_or_default()
}

/// Why a name from a server is refused, or none. Such names are listed once, escaped, and never used.
pub fn name_fault(name: &BStr) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name == "." || name == ".." {
        Some("it names a folder relative to this one")
    } else if name.contains(&b'/') || name.contains(&b'\\') {
        Some("it contains a path separator")
    } else if name.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
        Some("it contains a control character")
    } else if name.len() > 255 {
        Some("it is longer than 255 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused_and_odd_ones_are_not() {
        for bad in ["", ".", "..", "../x", "/etc/passwd", "..\\x", "a\nb", "a\u{1b}[2J", "a\0b"] {
            assert!(name_fault(bad.into()).is_some(), "{bad:?}");
        }
        for good in ["a.csv", "-rf.csv", " x ", "caf\u{e9}.csv", "...csv"] {
            assert_eq!(name_fault(good.into()), None, "{good:?}");
        }
        assert_eq!(name_fault(b"caf\xe9.csv".as_bstr()), None);
    }
}
