//! The SFTP side: operations on files, done or made to fail.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use russh_sftp::extensions::{FsyncExtension, HardlinkExtension};
use russh_sftp::protocol::{
    Attrs, Data, File as Name, FileAttributes, Handle, Name as Names, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::{Handler, StatusReply};

use super::Connections;
use super::faults::{Change, Kind, Shared};
use super::jail::{Jail, shown, status};
use super::session::Server;

const FSYNC: &str = "fsync@openssh.com";
const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// Names in one reply, as many as OpenSSH's server sends.
const NAMES_PER_REPLY: usize = 100;
/// Bytes in one reply, a little below the packet size every client must take (draft section 3).
const READ_MAX: usize = 255 * 1024;

type Reply<T> = Result<T, StatusReply>;

/// The open files and folders of one SFTP channel.
pub(super) struct Files {
    jail: Jail,
    shared: Shared,
    connections: Arc<Connections>,
    connection: u64,
    next: u64,
    open: HashMap<String, Open>,
    /// Bytes of file content sent.
    sent: u64,
}

enum Open {
    File { file: File, path: String, append: bool },
    Folder { names: std::vec::IntoIter<Name>, invented: u64 },
}

impl Files {
    pub fn new(server: &Server, connection: u64) -> Files {
        Files {
            jail: server.jail.clone(),
            shared: server.shared.clone(),
            connections: server.connections.clone(),
            connection,
            next: 0,
            open: HashMap::new(),
            sent: 0,
        }
    }

    async fn begin(&self, kind: Kind) -> Reply<()> {
        let (wait, status) = self.shared.begin(kind);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        status.map_or(Ok(()), |status| Err(status.with_message("As the demonstration was told")))
    }

    fn keep(&mut self, id: u32, open: Open) -> Handle {
        self.next += 1;
        let handle = self.next.to_string();
        self.open.insert(handle.clone(), open);
        Handle { id, handle }
    }

    fn file(&self, handle: &str) -> Reply<(&File, &str, bool)> {
        match self.open.get(handle) {
            Some(Open::File { file, path, append }) => Ok((file, path, *append)),
            _ => Err(StatusCode::Failure.with_message("No such handle")),
        }
    }

    /// Lets the growing file grow if it is the path meant, or lies in it.
    fn grow(&self, looked_at: &str) -> Reply<()> {
        let Some(growing) = self.shared.lock().faults.growing.clone() else { return Ok(()) };
        let path = Jail::virtual_path(&growing.path);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let seen = Jail::virtual_path(looked_at);
        if seen == path || seen.trim_end_matches('/') == folder {
            let place = self.jail.target(&path)?;
            OpenOptions::new()
                .append(true)
                .open(place)
                .and_then(|mut file| io::Write::write_all(&mut file, &growing.more))
                .map_err(status)?;
        }
        Ok(())
    }

    /// Changes a file under its reader if it is time.
    fn disturb(&self, read: &str) -> Reply<()> {
        let change = {
            let mut state = self.shared.lock();
            let Some(disturbance) = state.faults.disturbance.as_mut().filter(|disturbance| disturbance.path == read) else {
                return Ok(());
            };
            if disturbance.after_reads > 0 {
                disturbance.after_reads -= 1;
                return Ok(());
            }
            state.faults.disturbance.take().map(|disturbance| disturbance.change)
        };
        let place = self.jail.file(read)?;
        match change {
            Some(Change::Append(more)) => {
                OpenOptions::new().append(true).open(place).and_then(|mut file| io::Write::write_all(&mut file, &more)).map_err(status)
            }
            Some(Change::Replace(content)) => {
                let beside = place.with_extension("replacement");
                fs::write(&beside, content).and_then(|()| fs::rename(&beside, &place)).map_err(status)
            }
            None => Ok(()),
        }
    }

    /// What a request to set attributes comes to.
    fn heeded(&self, attributes: FileAttributes) -> FileAttributes {
        let ignored = self.shared.lock().faults.modes_ignored;
        FileAttributes { permissions: attributes.permissions.filter(|_| !ignored), ..attributes }
    }

    /// Attributes as they are shown: true, but for the faults.
    fn attributes(&self, name: &str, metadata: &Metadata) -> FileAttributes {
        let state = self.shared.lock();
        let seconds = |time: i64| u32::try_from(time.clamp(0, i64::from(u32::MAX))).unwrap_or(0);
        FileAttributes {
            size: Some(state.faults.sizes.get(name).copied().unwrap_or(metadata.len())),
            uid: Some(metadata.uid()),
            gid: Some(metadata.gid()),
            permissions: Some(metadata.mode()),
            atime: Some(seconds(metadata.atime())),
            mtime: Some(match state.faults.mtimes.get(name) {
                Some(told) => *told,
                None => seconds(metadata.mtime().saturating_add(state.faults.mtime_skew)),
            }),
            ..FileAttributes::default()
        }
    }

    async fn stat_path(&self, id: u32, path: &str, follow: bool) -> Reply<Attrs> {
        self.begin(Kind::Stat).await?;
        self.grow(path)?;
        let place = if follow { self.jail.target(path)? } else { self.jail.name(path)? };
        let metadata = place.symlink_metadata().map_err(status)?;
        Ok(Attrs { id, attrs: self.attributes(last_name(path), &metadata) })
    }

    async fn rename(&self, id: u32, from: &str, to: &str, overwrite: bool) -> Reply<Status> {
        self.begin(Kind::Rename).await?;
        if self.shared.lock().faults.rename_refused {
            return Err(StatusCode::PermissionDenied.into());
        }
        let (from, to) = (self.jail.name(from)?, self.jail.name(to)?);
        if self.jail.is_root(&from) || self.jail.is_root(&to) {
            return Err(StatusCode::PermissionDenied.into());
        }
        let kind = from.symlink_metadata().map_err(status)?;
        if overwrite {
            fs::rename(&from, &to).map_err(status)?;
        } else if kind.is_file() {
            // A hard link fails when the name is taken, which a check before a rename would not.
            fs::hard_link(&from, &to).map_err(status)?;
            fs::remove_file(&from).map_err(status)?;
        } else if to.symlink_metadata().is_ok() {
            return Err(status(io::ErrorKind::AlreadyExists.into()));
        } else {
            fs::rename(&from, &to).map_err(status)?;
        }
        if self.shared.lock().faults.rename_denied_when_done {
            return Err(StatusCode::Failure.into());
        }
        Ok(ok(id))
    }

    fn list(&self, path: &str) -> Reply<Vec<Name>> {
        let place = self.jail.target(path)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&place).map_err(status)? {
            let entry = entry.map_err(status)?;
            let name = shown(&entry.file_name());
            // Removed since the folder was read.
            let Ok(metadata) = entry.metadata() else { continue };
            let attributes = self.attributes(&name, &metadata);
            names.push(Name::new(name, attributes));
        }
        names.sort_by(|a, b| a.filename.cmp(&b.filename));
        let dots = place.symlink_metadata().map_err(status)?;
        names.splice(0..0, [".", ".."].map(|dot| Name::new(dot, self.attributes(dot, &dots))));
        let faults = &self.shared.lock().faults;
        names.extend(faults.extra_names.iter().map(|name| Name::new(name, invented_attributes())));
        names.extend(faults.invented.iter().map(|invented| {
            let attributes = FileAttributes {
                size: Some(invented.size),
                permissions: Some(invented.mode),
                atime: Some(invented.mtime),
                mtime: Some(invented.mtime),
                ..FileAttributes::default()
            };
            Name::new(&invented.name, attributes)
        }));
        Ok(names)
    }
}

impl Handler for Files {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Reply<Version> {
        let mut version = Version::new();
        version.extensions.insert(POSIX_RENAME.to_owned(), "1".to_owned());
        if !self.shared.lock().faults.fsync_absent {
            version.extensions.insert(FSYNC.to_owned(), "1".to_owned());
        }
        Ok(version)
    }

    async fn open(&mut self, id: u32, path: String, flags: OpenFlags, attributes: FileAttributes) -> Reply<Handle> {
        self.begin(Kind::Open).await?;
        let create = flags.contains(OpenFlags::CREATE);
        let exclusive = create && flags.contains(OpenFlags::EXCLUDE);
        // An exclusive create must see a link as a name that is taken, not look through it.
        let place = if exclusive { self.jail.name(&path)? } else { self.jail.file(&path)? };
        let write = flags.contains(OpenFlags::WRITE) || flags.contains(OpenFlags::APPEND);
        let mut options = OpenOptions::new();
        options.read(flags.contains(OpenFlags::READ) || !write).write(write).truncate(write && flags.contains(OpenFlags::TRUNCATE));
        options.create(create && write).create_new(exclusive && write);
        let forced = self.shared.lock().faults.mode_forced;
        options.mode(attributes.permissions.unwrap_or(0o666) & 0o777);
        // Opening a FIFO would wait for its other end and hold up the runtime.
        if place.symlink_metadata().is_ok_and(|metadata| !metadata.is_file() && !exclusive) {
            return Err(StatusCode::Failure.with_message("Not a regular file"));
        }
        let file = options.open(place).map_err(status)?;
        if let Some(mode) = forced.filter(|_| create) {
            file.set_permissions(Permissions::from_mode(mode)).map_err(status)?;
        }
        Ok(self.keep(id, Open::File { file, path, append: flags.contains(OpenFlags::APPEND) }))
    }

    async fn close(&mut self, id: u32, handle: String) -> Reply<Status> {
        let closed = self.open.remove(&handle);
        self.begin(Kind::Close).await?;
        closed.map(|_| ok(id)).ok_or_else(|| StatusCode::Failure.with_message("No such handle"))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Reply<Data> {
        self.begin(Kind::Read).await?;
        let (file, path, _) = self.file(&handle)?;
        self.disturb(path)?;
        let mut data = vec![0; (length as usize).min(READ_MAX)];
        let count = file.read_at(&mut data, offset).map_err(status)?;
        let endless = || self.shared.lock().faults.endless_content.iter().any(|endless| endless == path);
        let count = if count < data.len() && endless() { data.len() } else { count };
        if count == 0 && length > 0 {
            return Err(StatusCode::Eof.into());
        }
        data.truncate(count);
        self.sent += count as u64;
        let mut state = self.shared.lock();
        if state.faults.disconnect_after.is_some_and(|limit| self.sent >= limit) {
            state.faults.disconnect_after = None;
            drop(state);
            self.connections.cut(self.connection);
        }
        Ok(Data { id, data })
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Reply<Status> {
        self.begin(Kind::Write).await?;
        let (file, _, append) = self.file(&handle)?;
        if let Some(space) = &mut self.shared.lock().faults.space {
            let Some(left) = space.checked_sub(data.len() as u64) else {
                return Err(StatusCode::Failure.with_message(io::ErrorKind::StorageFull.to_string()));
            };
            *space = left;
        }
        let offset = if append { file.metadata().map_err(status)?.len() } else { offset };
        file.write_all_at(&data, offset).map_err(status)?;
        Ok(ok(id))
    }

    async fn stat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.stat_path(id, &path, true).await
    }

    async fn lstat(&mut self, id: u32, path: String) -> Reply<Attrs> {
        self.stat_path(id, &path, false).await
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Reply<Attrs> {
        self.begin(Kind::Stat).await?;
        let (file, path, _) = self.file(&handle)?;
        self.grow(path)?;
        let metadata = file.metadata().map_err(status)?;
        Ok(Attrs { id, attrs: self.attributes(last_name(path), &metadata) })
    }

    async fn setstat(&mut self, id: u32, path: String, attributes: FileAttributes) -> Reply<Status> {
        self.begin(Kind::SetStat).await?;
        let place = self.jail.target(&path)?;
        let attributes = self.heeded(attributes);
        set_attributes_by_path(&place, &attributes).map_err(status)?;
        Ok(ok(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attributes: FileAttributes) -> Reply<Status> {
        self.begin(Kind::SetStat).await?;
        let (file, ..) = self.file(&handle)?;
        let attributes = self.heeded(attributes);
        set_attributes(file, &attributes).map_err(status)?;
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Reply<Handle> {
        self.begin(Kind::OpenFolder).await?;
        self.grow(&path)?;
        let names = self.list(&path)?.into_iter();
        Ok(self.keep(id, Open::Folder { names, invented: 0 }))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Reply<Names> {
        self.begin(Kind::ReadFolder).await?;
        let (endless, length) = {
            let faults = &self.shared.lock().faults;
            (faults.endless_listing, faults.endless_name_length)
        };
        let Some(Open::Folder { names, invented }) = self.open.get_mut(&handle) else {
            return Err(StatusCode::Failure.with_message("No such handle"));
        };
        let mut files: Vec<Name> = names.take(NAMES_PER_REPLY).collect();
        if files.is_empty() && endless {
            let from = *invented;
            *invented += NAMES_PER_REPLY as u64;
            files = (from..*invented)
                .map(|number| {
                    Name::new(format!("endless_{number:012}{}.csv", "x".repeat(length.saturating_sub(24))), invented_attributes())
                })
                .collect();
        }
        if files.is_empty() { Err(StatusCode::Eof.into()) } else { Ok(Names { id, files }) }
    }

    async fn mkdir(&mut self, id: u32, path: String, attributes: FileAttributes) -> Reply<Status> {
        self.begin(Kind::MakeFolder).await?;
        let place = self.jail.name(&path)?;
        let mut folder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, attributes.permissions.unwrap_or(0o777) & 0o777);
        folder.create(place).map_err(status)?;
        Ok(ok(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Reply<Status> {
        self.begin(Kind::RemoveFolder).await?;
        let place = self.jail.name(&path)?;
        if self.jail.is_root(&place) {
            return Err(StatusCode::PermissionDenied.into());
        }
        fs::remove_dir(place).map_err(status)?;
        Ok(ok(id))
    }

    async fn remove(&mut self, id: u32, path: String) -> Reply<Status> {
        self.begin(Kind::Remove).await?;
        fs::remove_file(self.jail.name(&path)?).map_err(status)?;
        Ok(ok(id))
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Reply<Status> {
        Files::rename(self, id, &from, &to, false).await
    }

    async fn realpath(&mut self, id: u32, path: String) -> Reply<Names> {
        self.begin(Kind::RealPath).await?;
        Ok(Names { id, files: vec![Name::dummy(Jail::virtual_path(&path))] })
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Reply<Packet> {
        let mut data = Bytes::from(data);
        match request.as_str() {
            // Its two names are laid out as in the extension for hard links (OpenSSH's PROTOCOL, section 4.3).
            POSIX_RENAME => {
                let names: HardlinkExtension = russh_sftp::de::from_bytes(&mut data).map_err(|_| StatusCode::BadMessage)?;
                Ok(Files::rename(self, id, &names.oldpath, &names.newpath, true).await?.into())
            }
            FSYNC if !self.shared.lock().faults.fsync_absent => {
                self.begin(Kind::Sync).await?;
                let asked: FsyncExtension = russh_sftp::de::from_bytes(&mut data).map_err(|_| StatusCode::BadMessage)?;
                self.file(&asked.handle)?.0.sync_all().map_err(status)?;
                Ok(ok(id).into())
            }
            _ => Err(StatusCode::OpUnsupported.into()),
        }
    }
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Ok".to_owned(), language_tag: "en-US".to_owned() }
}

fn last_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// An empty regular file, long untouched.
fn invented_attributes() -> FileAttributes {
    FileAttributes { size: Some(0), permissions: Some(0o100_644), atime: Some(1), mtime: Some(1), ..FileAttributes::default() }
}

fn set_attributes_by_path(place: &Path, attributes: &FileAttributes) -> io::Result<()> {
    if place.is_file() && attributes.size.is_some() {
        return set_attributes(&OpenOptions::new().write(true).open(place)?, attributes);
    }
    set_attributes(&File::open(place)?, attributes)
}

/// Owner and group are left as they are: only root could change them.
fn set_attributes(file: &File, attributes: &FileAttributes) -> io::Result<()> {
    if let Some(size) = attributes.size {
        file.set_len(size)?;
    }
    if let Some(mode) = attributes.permissions {
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    }
    let at = |seconds: u32| -> SystemTime { UNIX_EPOCH + Duration::from_secs(u64::from(seconds)) };
    if let (Some(accessed), Some(modified)) = (attributes.atime, attributes.mtime) {
        file.set_times(FileTimes::new().set_accessed(at(accessed)).set_modified(at(modified)))?;
    }
    Ok(())
}
