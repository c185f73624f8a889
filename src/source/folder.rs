//! A folder on this machine. Files arrive by rename or by copy; the same rules of completeness apply as on a server.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use crossbeam_channel::{Receiver, Sender, bounded};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::{Connect, ENTRIES_MAX, Entry, Fetched, Place, Result, Source, SourceError};

/// Bytes of one read or write. Larger pieces gain nothing on a local disk.
const BUFFER: usize = 1 << 20;

/// Opens a folder of this machine as a source. Paths given to it are relative to that folder.
#[derive(Clone, Debug)]
pub struct FolderConnect {
    root: PathBuf,
}

impl FolderConnect {
    pub fn new(path: impl Into<PathBuf>) -> FolderConnect {
        FolderConnect { root: path.into() }
    }
}

impl Connect for FolderConnect {
    /// Fails with `Unreachable` when the folder is missing, as a mount may be that comes back.
    fn connect(&self) -> Result<Box<dyn Source>> {
        let mut source = FolderSource { root: self.root.clone() };
        source.keep_alive()?;
        Ok(Box::new(source))
    }
}

struct FolderSource {
    root: PathBuf,
}

impl FolderSource {
    /// A path under the root. A leading `/` means the root; `..` is refused.
    fn local(&self, path: &BStr) -> Result<PathBuf> {
        let mut local = self.root.clone();
        for part in path.split_str("/") {
            match part {
                b"" | b"." => {}
                b".." => return Err(SourceError::Other(format!("{path:?} leaves the folder {}", self.root.display()))),
                part if part.contains(&0) => return Err(SourceError::Other(format!("{path:?} contains a NUL byte"))),
                part => local.push(OsStr::from_bytes(part)),
            }
        }
        Ok(local)
    }

    /// Opens a regular file. A FIFO is opened without waiting for its writer, and then refused like a device.
    fn open(&self, path: &BStr) -> Result<(File, Metadata)> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(self.local(path)?).map_err(|e| {
            // O_NOFOLLOW on a link.
            if rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::LOOP) {
                return not_regular(path);
            }
            fault("open", path, e)
        })?;
        let metadata = file.metadata().map_err(|e| fault("examine", path, e))?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(not_regular(path)) }
    }

    /// Makes a name's appearance or disappearance last through a power loss. A file system without this is no error.
    fn sync_parent(path: &Path) {
        if let Some(parent) = path.parent()
            && let Err(error) = File::open(parent).and_then(|folder| folder.sync_all())
        {
            tracing::debug!(folder = %parent.display(), %error, "cannot flush the folder");
        }
    }

    fn write(local: &Path, path: &BStr, file: &mut File, content: &mut dyn Read, mode: u32) -> Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut written = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(SourceError::Local(e)),
            };
            file.write_all(&buffer[..count]).map_err(|e| fault("write", path, e))?;
            written += count as u64;
        }
        file.set_permissions(Permissions::from_mode(mode)).map_err(|e| fault("set the mode of", path, e))?;
        file.sync_all().map_err(|e| fault("flush", path, e))?;
        let there = fs::symlink_metadata(local).map_err(|e| fault("examine", path, e))?;
        if there.len() != written {
            return Err(SourceError::Other(format!("{path:?} has {} bytes after {written} were written", there.len())));
        }
        if there.mode() & 0o7777 != mode & 0o7777 {
            tracing::warn!(file = ?path, wanted = format!("{mode:o}"), is = format!("{:o}", there.mode() & 0o7777), "the file system keeps another mode");
        }
        Ok(written)
    }
}

impl Source for FolderSource {
    fn list(&mut self, folder: &BStr) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for item in fs::read_dir(self.local(folder)?).map_err(|e| fault("list", folder, e))? {
            let item = item.map_err(|e| fault("list", folder, e))?;
            if entries.len() >= ENTRIES_MAX {
                return Err(super::too_many_entries(folder));
            }
            match item.metadata() {
                Ok(metadata) => entries.push(entry(item.file_name().as_bytes(), &metadata)),
                // Taken away while we list.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(fault("list", folder, e)),
            }
        }
        Ok(entries)
    }

    fn stat(&mut self, path: &BStr) -> Result<Option<Entry>> {
        match fs::symlink_metadata(self.local(path)?) {
            Ok(metadata) => Ok(Some(entry(super::base_name(path), &metadata))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(fault("examine", path, e)),
        }
    }

    fn read(&mut self, path: &BStr, bytes_max: u64, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Fetched> {
        let (mut file, before) = self.open(path)?;
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0;
        if before.len() > bytes_max {
            return Err(super::too_large(path, before.len(), bytes_max));
        }
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(fault("read", path, e)),
            };
            bytes += count as u64;
            if bytes > before.len() {
                // It grew; how far does not matter.
                break;
            }
            sink(&buffer[..count])?;
        }
        let after = fs::symlink_metadata(self.local(path)?).map_err(|e| fault("examine", path, e))?;
        if (after.dev(), after.ino()) != (before.dev(), before.ino()) {
            return Err(SourceError::NotFound(format!("{path:?} was replaced while it was read")));
        }
        Ok(Fetched { bytes, before: (before.len(), before.mtime()), after: (after.len(), after.mtime()) })
    }

    fn create(&mut self, path: &BStr, content: &mut dyn Read, mode: u32) -> Result<u64> {
        let local = self.local(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&local).map_err(|e| fault("create", path, e))?;
        let result = FolderSource::write(&local, path, &mut file, content, mode);
        if result.is_err()
            && let Err(error) = fs::remove_file(&local)
        {
            tracing::warn!(file = ?path, %error, "a half-written file stays");
        }
        FolderSource::sync_parent(&local);
        result
    }

    fn rename(&mut self, from: &BStr, to: &BStr) -> Result<()> {
        let (local_from, local_to) = (self.local(from)?, self.local(to)?);
        rename_new(&local_from, &local_to).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => SourceError::Exists(format!("{to:?}")),
            _ => fault(&format!("rename to {to:?}"), from, e),
        })?;
        FolderSource::sync_parent(&local_to);
        if local_from.parent() != local_to.parent() {
            FolderSource::sync_parent(&local_from);
        }
        Ok(())
    }

    fn remove(&mut self, path: &BStr) -> Result<()> {
        let local = self.local(path)?;
        match fs::remove_file(&local) {
            Ok(()) => FolderSource::sync_parent(&local),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(fault("remove", path, e)),
        }
        Ok(())
    }

    fn remove_folder(&mut self, path: &BStr) -> Result<()> {
        let local = self.local(path)?;
        match fs::remove_dir(&local) {
            Ok(()) => FolderSource::sync_parent(&local),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(fault("remove the folder", path, e)),
        }
        Ok(())
    }

    fn make_folder(&mut self, path: &BStr) -> Result<()> {
        let local = self.local(path)?;
        DirBuilder::new().recursive(true).mode(0o750).create(&local).map_err(|e| fault("make the folder", path, e))?;
        FolderSource::sync_parent(&local);
        Ok(())
    }

    fn place(&mut self, folder: &BStr) -> Result<Place> {
        let real = fs::canonicalize(self.local(folder)?).map_err(|e| fault("find", folder, e))?;
        Ok(Place { server: "this machine".to_owned(), user: String::new(), path: BString::from(real.into_os_string().into_vec()) })
    }

    fn keep_alive(&mut self) -> Result<()> {
        match fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(SourceError::Unreachable(format!("{} is not a folder", self.root.display()))),
            Err(e) => Err(SourceError::Unreachable(format!("{}: {e}", self.root.display()))),
        }
    }
}

fn entry(name: &[u8], metadata: &Metadata) -> Entry {
    let kind = if metadata.is_file() {
        super::EntryKind::File
    } else if metadata.is_dir() {
        super::EntryKind::Folder
    } else {
        super::EntryKind::Other
    };
    Entry { name: BString::from(name), kind, size: metadata.len(), mtime: metadata.mtime() }
}

fn not_regular(path: &BStr) -> SourceError {
    SourceError::Other(format!("{path:?} is not a regular file; links, devices and FIFOs are not followed"))
}

fn fault(what: &str, path: &BStr, error: io::Error) -> SourceError {
    match error.kind() {
        ErrorKind::NotFound => SourceError::NotFound(format!("{path:?}")),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => SourceError::Permission(format!("{what} {path:?}: {error}")),
        ErrorKind::AlreadyExists => SourceError::Exists(format!("{path:?}")),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SourceError::Local(error),
        ErrorKind::StaleNetworkFileHandle | ErrorKind::TimedOut => SourceError::Unreachable(format!("{what} {path:?}: {error}")),
        _ => SourceError::Other(format!("cannot {what} {path:?}: {error}")),
    }
}

/// Renames unless the new name is taken. File systems without `RENAME_NOREPLACE` (some network mounts) get a link and an unlink.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_and_unlink(from, to),
        result => result.map_err(io::Error::from),
    }
}

fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Keeps a watch alive.
pub struct WatchGuard {
    _watcher: Option<RecommendedWatcher>,
    /// Without it the receiver would end when there is no watcher.
    _sender: Sender<()>,
}

/// Wakes the receiver after something arrived in a folder. Events are hints: many become one, some file systems send none, the queue of
/// the kernel may overflow. Where no watch can be set there are no hints at all, and a log line says so; the caller's own clock remains.
pub fn watch(path: &Path) -> (Receiver<()>, WatchGuard) {
    let (sender, receiver) = bounded(1);
    let hints = sender.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error of the watch may have swallowed an arrival, so it is a hint too.
        if event.is_ok_and(|event| !event.need_rescan() && !is_arrival(event.kind)) {
            return;
        }
        // A full channel already holds the hint.
        let _ = hints.try_send(());
    })
    .and_then(|mut watcher| watcher.watch(path, RecursiveMode::NonRecursive).map(|()| watcher));
    let watcher = watcher
        .inspect_err(|error| tracing::warn!(folder = %path.display(), %error, "cannot watch the folder; it is listed by the clock alone"))
        .ok();
    (receiver, WatchGuard { _watcher: watcher, _sender: sender })
}

fn is_arrival(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) | EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn source(root: &Path) -> Box<dyn Source> {
        FolderConnect::new(root).connect().unwrap()
    }

    #[test]
    fn a_link_and_unlink_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        assert_eq!(link_and_unlink(&a, &b).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&b).unwrap(), b"b");
        fs::remove_file(&b).unwrap();
        link_and_unlink(&a, &b).unwrap();
        assert!(!a.exists() && b.exists());
    }

    #[test]
    fn paths_stay_under_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path());
        for path in ["../x", "a/../../x", "a/..", "a\0b"] {
            assert!(matches!(source.stat(path.into()), Err(SourceError::Other(_))), "{path:?}");
        }
        fs::write(folder.path().join("x"), "1").unwrap();
        assert_eq!(source.stat("/x".into()).unwrap().unwrap().name, "x");
    }

    #[test]
    fn an_arrival_wakes_and_many_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let (hints, _guard) = watch(folder.path());
        for index in 0..50 {
            fs::write(folder.path().join(format!("{index}.csv")), "x").unwrap();
        }
        hints.recv_timeout(Duration::from_secs(10)).expect("a hint");
        assert!(hints.len() <= 1);
    }

    #[test]
    fn a_folder_that_cannot_be_watched_gives_no_hints_and_no_end() {
        let (hints, _guard) = watch(Path::new("/nonexistent/folder"));
        assert_eq!(hints.try_recv(), Err(crossbeam_channel::TryRecvError::Empty));
    }

    #[test]
    fn a_missing_root_is_unreachable() {
        assert!(matches!(FolderConnect::new("/nonexistent/folder").connect(), Err(SourceError::Unreachable(_))));
    }
}
