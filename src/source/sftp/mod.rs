//! An SFTP server, through ssh2.
//!
//! Every call ends: libssh2's own limit bounds a call without progress, [`Pace`] one that only drips. After an error that breaks the
//! connection the socket is shut, as each handle that is dropped would otherwise wait for an answer of the dead peer.

mod connect;
mod error;
mod host_key;
mod known_hosts;
mod login;
mod offers;
mod version;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use libssh2_sys as raw;
use ssh2::{ErrorCode, FileStat, OpenFlags, OpenType, RenameFlags, Session, Sftp};

pub use connect::SftpConnect;
pub use host_key::fingerprint;
pub use version::libssh2_version;

use super::{ENTRIES_MAX, Entry, EntryKind, Fetched, NAME_BYTES_MAX, Place, Result, Source, SourceError};
use crate::config::meant;
use error::{Phase, from_io, from_ssh2};

/// Permission bits of a mode; the rest is the kind of file.
const MODE_BITS: u32 = 0o7777;

/// A session and a second handle of its socket.
struct Line {
    session: Session,
    wire: TcpStream,
}

impl Line {
    fn open(stream: TcpStream) -> Result<Line> {
        let fault = |e: io::Error| SourceError::Local(e);
        let wire = stream.try_clone().map_err(fault)?;
        let mut session = Session::new().map_err(|e| SourceError::Other(format!("libssh2 does not start: {e}")))?;
        session.set_tcp_stream(stream);
        Ok(Line { session, wire })
    }

    /// Ends the connection at once; calls and drops after this do not wait.
    fn cut(&self) {
        let _ = self.wire.shutdown(Shutdown::Both);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A least speed, so that a peer that sends a byte now and then does not hold a transfer for ever. Only time spent waiting for the server
/// counts, as the sink may be slow for reasons of its own.
#[derive(Clone, Copy)]
struct Pace {
    window: Duration,
    bytes_min: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration, bytes_per_second: u64) -> Pace {
        Pace { window, bytes_min: bytes_per_second.saturating_mul(window.as_secs().max(1)), waited: Duration::ZERO, bytes: 0 }
    }

    fn count(&mut self, bytes: usize, since: Instant) -> Result<()> {
        self.waited += since.elapsed();
        self.bytes += bytes as u64;
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < self.bytes_min {
            return Err(SourceError::TooSlow { bytes_per_second: self.bytes / self.window.as_secs().max(1), span: self.window });
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// One logged-in connection. Fields drop in this order: the SFTP channel before its session, as libssh2 wants.
struct SftpSource {
    sftp: Sftp,
    line: Line,
    user: String,
    idle: Duration,
    buffer: usize,
    pace: Pace,
    broken: bool,
}

impl Drop for SftpSource {
    /// Every request was answered or given up by now, so nothing is lost by leaving without a farewell that a dead peer would not answer.
    fn drop(&mut self) {
        self.line.cut();
    }
}

impl SftpSource {
    fn new(line: Line, sftp: Sftp, settings: &meant::Sftp, pace: Pace) -> SftpSource {
        SftpSource {
            sftp,
            line,
            user: settings.user.clone(),
            idle: settings.idle_timeout,
            buffer: settings.buffer.max(1 << 16),
            pace,
            broken: false,
        }
    }

    fn phase(&self, name: &'static str) -> Phase {
        Phase { name, limit: self.idle }
    }

    /// Runs one operation. An error that breaks the connection cuts it before any handle is dropped.
    fn run<T>(&mut self, operation: impl FnOnce(&SftpSource) -> Result<T>) -> Result<T> {
        if self.broken {
            return Err(SourceError::Unreachable("the connection broke earlier".to_owned()));
        }
        let result = operation(self);
        if result.as_ref().is_err_and(SourceError::breaks_connection) {
            self.broken = true;
            self.line.cut();
        }
        result
    }

    /// Passes an error on, cutting first if handles still open would wait.
    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if error.breaks_connection() {
                self.line.cut();
            }
        })
    }

    fn fault(&self, error: &ssh2::Error, phase: &'static str, path: &BStr) -> SourceError {
        from_ssh2(error, self.phase(phase), &format!("{path:?}"))
    }

    fn lstat(&self, path: &BStr) -> Result<Option<FileStat>> {
        match self.sftp.lstat(as_path(path)).map_err(|e| self.fault(&e, "examine", path)) {
            Ok(stat) => Ok(Some(stat)),
            Err(SourceError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_folder(&self, path: &BStr) -> Result<bool> {
        match self.sftp.stat(as_path(path)).map_err(|e| self.fault(&e, "examine", path)) {
            Ok(stat) => Ok(kind(&stat) == EntryKind::Folder),
            Err(SourceError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list_open(&self, folder: &BStr, handle: &mut ssh2::File) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut name_bytes = 0;
        let mut pace = self.pace;
        let mut ended = false;
        loop {
            let since = Instant::now();
            let (name, stat) = match handle.readdir() {
                Ok(item) => item,
                Err(error) if is_end_of_listing(&error) && ended => return Ok(entries),
                Err(error) if is_end_of_listing(&error) => {
                    ended = true;
                    continue;
                }
                Err(error) => return Err(self.fault(&error, "list", folder)),
            };
            if std::mem::take(&mut ended) {
                // To libssh2 an empty name and the end look alike, but after the end comes nothing more.
                entries.push(Entry { name: BString::default(), kind: EntryKind::Other, size: 0, mtime: 0 });
            }
            let name = name.as_os_str().as_bytes();
            // Attributes of an entry take a good 40 bytes beside the name.
            pace.count(name.len() + 40, since)?;
            if name == b"." || name == b".." {
                continue;
            }
            name_bytes += name.len();
            if entries.len() >= ENTRIES_MAX || name_bytes > NAME_BYTES_MAX {
                return Err(super::too_many_entries(folder));
            }
            entries.push(entry(name, &stat));
        }
    }

    fn read_open(&self, path: &BStr, file: &mut ssh2::File, bytes_max: u64, sink: Sink<'_>) -> Result<Fetched> {
        let before = file.stat().map_err(|e| self.fault(&e, "examine", path))?;
        if kind(&before) != EntryKind::File {
            return Err(not_regular(path));
        }
        let size = before.size.unwrap_or(0);
        if size > bytes_max {
            return Err(super::too_large(path, size, bytes_max));
        }
        let mut buffer = vec![0; self.buffer];
        let mut pace = self.pace;
        let mut bytes = 0;
        loop {
            let since = Instant::now();
            let count = file.read(&mut buffer).map_err(|e| from_io(&e, &self.line.session, self.phase("read"), &format!("{path:?}")))?;
            if count == 0 {
                break;
            }
            pace.count(count, since)?;
            bytes += count as u64;
            if bytes > size {
                // It grew, or its size was a lie; how far it goes on does not matter.
                break;
            }
            sink(&buffer[..count])?;
        }
        let after = self.lstat(path)?.ok_or_else(|| SourceError::NotFound(format!("{path:?} went away while it was read")))?;
        if kind(&after) != EntryKind::File {
            return Err(not_regular(path));
        }
        Ok(Fetched { bytes, before: seen(&before), after: seen(&after) })
    }

    fn write_open(&self, path: &BStr, file: &mut ssh2::File, content: &mut dyn Read, mode: u32) -> Result<u64> {
        let mut buffer = vec![0; self.buffer];
        let mut pace = self.pace;
        let mut written = 0;
        loop {
            let filled = fill(content, &mut buffer)?;
            if filled == 0 {
                break;
            }
            let mut rest = &buffer[..filled];
            // libssh2 keeps several packets of a large buffer in flight, and wants the unsent rest of the same one next.
            while !rest.is_empty() {
                let since = Instant::now();
                let count = file.write(rest).map_err(|e| from_io(&e, &self.line.session, self.phase("write"), &format!("{path:?}")))?;
                if count == 0 {
                    return Err(SourceError::Other(format!("the server takes no more bytes of {path:?}")));
                }
                pace.count(count, since)?;
                rest = rest.get(count..).unwrap_or_default();
            }
            written += filled as u64;
        }
        self.flush(path, file)?;
        self.set_mode(path, file, mode)?;
        Ok(written)
    }

    /// Not every server can flush, and some answer a question they do not know with a plain failure. The size is verified either way.
    fn flush(&self, path: &BStr, file: &mut ssh2::File) -> Result<()> {
        match file.fsync().map_err(|e| self.fault(&e, "flush", path)) {
            Err(error) if error.breaks_connection() => Err(error),
            Err(error) => {
                tracing::debug!(%error, "the server does not flush");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A server's umask must not decide who reads a file (failure model C16). Another mode than asked for is worth a warning, not a failure.
    fn set_mode(&self, path: &BStr, file: &mut ssh2::File, mode: u32) -> Result<()> {
        let wanted = FileStat { size: None, uid: None, gid: None, perm: Some(mode & MODE_BITS), atime: None, mtime: None };
        let is = file.setstat(wanted).and_then(|()| file.stat()).map_err(|e| self.fault(&e, "set the mode of", path));
        match is {
            Ok(stat) if stat.perm.is_some_and(|perm| perm & MODE_BITS == mode & MODE_BITS) => {}
            Ok(stat) => tracing::warn!(
                file = ?path,
                wanted = format!("{mode:o}"),
                is = stat.perm.map(|perm| format!("{:o}", perm & MODE_BITS)),
                "the server keeps another mode"
            ),
            Err(error) if error.breaks_connection() => return Err(error),
            Err(error) => tracing::warn!(file = ?path, %error, "the server does not set the mode"),
        }
        Ok(())
    }

    fn create_open(&self, path: &BStr, mut file: ssh2::File, content: &mut dyn Read, mode: u32) -> Result<u64> {
        let written = self.checked(self.write_open(path, &mut file, content, mode))?;
        self.checked(file.close().map_err(|e| self.fault(&e, "close", path)))?;
        match self.lstat(path)?.map(|stat| stat.size) {
            Some(Some(size)) if size == written => Ok(written),
            Some(size) => Err(SourceError::Other(format!("{path:?} has {size:?} bytes on the server after {written} were written"))),
            None => Err(SourceError::NotFound(format!("{path:?} went away after it was written"))),
        }
    }

    fn make_one_folder(&self, path: &BStr) -> Result<()> {
        match self.sftp.mkdir(as_path(path), 0o750) {
            Ok(()) => Ok(()),
            // Status codes do not tell that it is there already.
            Err(_) if self.is_folder(path)? => Ok(()),
            Err(error) => match self.fault(&error, "make the folder", path) {
                SourceError::Other(_) if self.lstat(path)?.is_some() => Err(SourceError::Exists(format!("{path:?}, and is no folder"))),
                error => Err(error),
            },
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

impl Source for SftpSource {
    fn list(&mut self, folder: &BStr) -> Result<Vec<Entry>> {
        let place = if folder.is_empty() { ".".into() } else { folder };
        self.run(|this| {
            let mut handle = this.sftp.opendir(as_path(place)).map_err(|e| this.fault(&e, "list", folder))?;
            this.checked(this.list_open(folder, &mut handle))
        })
    }

    fn stat(&mut self, path: &BStr) -> Result<Option<Entry>> {
        self.run(|this| Ok(this.lstat(path)?.map(|stat| entry(super::base_name(path), &stat))))
    }

    fn read(&mut self, path: &BStr, bytes_max: u64, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Fetched> {
        self.run(|this| {
            // The protocol opens what a link points to, and an open FIFO waits for its writer; so the name is looked at first.
            match this.lstat(path)? {
                None => return Err(SourceError::NotFound(format!("{path:?}"))),
                Some(stat) if kind(&stat) != EntryKind::File => return Err(not_regular(path)),
                Some(_) => {}
            }
            let mut file = this.sftp.open(as_path(path)).map_err(|e| this.fault(&e, "open", path))?;
            this.checked(this.read_open(path, &mut file, bytes_max, sink))
        })
    }

    fn create(&mut self, path: &BStr, content: &mut dyn Read, mode: u32) -> Result<u64> {
        self.run(|this| {
            let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
            let file = match this.sftp.open_mode(as_path(path), flags, 0o600, OpenType::File) {
                Ok(file) => file,
                Err(error) => {
                    return match this.fault(&error, "create", path) {
                        SourceError::Other(_) if this.lstat(path)?.is_some() => Err(SourceError::Exists(format!("{path:?}"))),
                        error => Err(error),
                    };
                }
            };
            let result = this.create_open(path, file, content, mode);
            if result.as_ref().is_err_and(|error| !error.breaks_connection())
                && let Err(error) = this.sftp.unlink(as_path(path))
            {
                tracing::warn!(file = ?path, %error, "a half-written file stays on the server");
            }
            result
        })
    }

    fn rename(&mut self, from: &BStr, to: &BStr) -> Result<()> {
        self.run(|this| {
            // Protocol 3 leaves it to the server whether a rename overwrites. OpenSSH refuses; others are asked first.
            if this.lstat(to)?.is_some() {
                return Err(SourceError::Exists(format!("{to:?}")));
            }
            let Err(error) = this.sftp.rename(as_path(from), as_path(to), Some(RenameFlags::empty())) else {
                return Ok(());
            };
            let error = match this.fault(&error, "rename", from) {
                error if error.breaks_connection() => return Err(error),
                SourceError::Other(text) => SourceError::Other(format!("{text}; the new name is {to:?}")),
                error => error,
            };
            match (this.lstat(from)?.is_some(), this.lstat(to)?.is_some()) {
                (false, true) => Ok(()),
                (true, true) => Err(SourceError::Exists(format!("{to:?}"))),
                (false, false) => Err(SourceError::NotFound(format!("{from:?}"))),
                (true, false) => Err(error),
            }
        })
    }

    fn remove(&mut self, path: &BStr) -> Result<()> {
        self.run(|this| match this.sftp.unlink(as_path(path)).map_err(|e| this.fault(&e, "remove", path)) {
            Err(SourceError::NotFound(_)) => Ok(()),
            result => result,
        })
    }

    fn remove_folder(&mut self, path: &BStr) -> Result<()> {
        self.run(|this| match this.sftp.rmdir(as_path(path)).map_err(|e| this.fault(&e, "remove the folder", path)) {
            Err(SourceError::NotFound(_)) => Ok(()),
            result => result,
        })
    }

    fn make_folder(&mut self, path: &BStr) -> Result<()> {
        self.run(|this| {
            if path.is_empty() || this.is_folder(path)? {
                return Ok(());
            }
            let mut made = BString::default();
            if path.starts_with(b"/") {
                made.push(b'/');
            }
            for part in path.split_str("/").filter(|part| !part.is_empty()) {
                made = super::join(made.as_bstr(), part.as_bstr());
                match this.is_folder(made.as_bstr()) {
                    Ok(true) => {}
                    // Some servers hide the folders above the one a user may enter.
                    Err(SourceError::Permission(_)) if made.len() < path.len() => {}
                    Ok(false) => this.make_one_folder(made.as_bstr())?,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn place(&mut self, folder: &BStr) -> Result<Place> {
        let folder = if folder.is_empty() { ".".into() } else { folder };
        self.run(|this| {
            let real = this.sftp.realpath(as_path(folder)).map_err(|e| this.fault(&e, "find", folder))?;
            let server = this.line.session.host_key().map(|(blob, _)| fingerprint(blob)).unwrap_or_default();
            Ok(Place { server, user: this.user.clone(), path: BString::from(real.into_os_string().into_vec()) })
        })
    }

    fn keep_alive(&mut self) -> Result<()> {
        // A question that needs an answer: libssh2's own keepalive succeeds against a dead peer.
        self.run(|this| this.sftp.realpath(Path::new(".")).map(drop).map_err(|e| from_ssh2(&e, this.phase("keep alive"), "the connection")))
    }
}

fn as_path(path: &BStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}

/// Reads until the buffer is full or the content ends, so that libssh2 gets large pieces.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(SourceError::Local(e)),
        }
    }
    Ok(filled)
}

/// ssh2 makes up an error of its own for the end of a listing; a listing that failed must not pass for it.
fn is_end_of_listing(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(raw::LIBSSH2_ERROR_FILE) && error.message() == "no more files"
}

fn not_regular(path: &BStr) -> SourceError {
    SourceError::Other(format!("{path:?} is not a regular file; links, devices and FIFOs are not followed"))
}

/// Without permission bits the kind is unknown, and what is unknown is not opened.
fn kind(stat: &FileStat) -> EntryKind {
    match stat.perm.map(|_| stat.file_type()) {
        Some(ssh2::FileType::RegularFile) => EntryKind::File,
        Some(ssh2::FileType::Directory) => EntryKind::Folder,
        _ => EntryKind::Other,
    }
}

/// Size and mtime, 0 where the server gives none.
fn seen(stat: &FileStat) -> (u64, i64) {
    (stat.size.unwrap_or(0), stat.mtime.map_or(0, |mtime| i64::try_from(mtime).unwrap_or(i64::MAX)))
}

fn entry(name: &[u8], stat: &FileStat) -> Entry {
    let (size, mtime) = seen(stat);
    Entry { name: BString::from(name), kind: kind(stat), size, mtime }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_and_missing_attributes_are_taken() {
        let stat = FileStat { size: Some(u64::MAX), uid: None, gid: None, perm: Some(u32::MAX), atime: None, mtime: Some(u64::MAX) };
        assert_eq!(entry(b"x", &stat), Entry { name: "x".into(), kind: EntryKind::Other, size: u64::MAX, mtime: i64::MAX });
        let none = FileStat { size: None, uid: None, gid: None, perm: None, atime: None, mtime: None };
        assert_eq!(entry(b"x", &none), Entry { name: "x".into(), kind: EntryKind::Other, size: 0, mtime: 0 });
    }

    #[test]
    fn a_drip_is_ended_and_a_slow_line_is_not() {
        let window = Duration::from_mins(1);
        let mut drip = Pace::new(window, 1024);
        let Some(long_ago) = Instant::now().checked_sub(window) else { return };
        assert!(matches!(drip.count(60, long_ago), Err(SourceError::TooSlow { bytes_per_second: 1, .. })));
        let mut slow = Pace::new(window, 1024);
        for _ in 0..3 {
            slow.count(62 * 1024, long_ago).unwrap();
        }
    }
}
