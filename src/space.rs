//! Room on the state's disk, and what a fault of storage means.
//!
//! A full disk is a pause, like an outage: nothing is begun that needs room, what is on its way is written down in the room kept in
//! reserve, and all goes on by itself once there is room. A disk that fails is no pause: what was written may not be there, so
//! everything stops, and the ledger is verified before it is used again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statfs, statvfs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::ledger::LedgerError;

/// What a fault of this machine's storage means for those who decide whether to wait or to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk is full, the quota used up, or the file-size limit reached. Passes when there is room again.
    Full,
    /// Mounted read-only, or a right was taken away. Passes when somebody gives it back.
    Closed,
    /// Too many open files. Passes by itself.
    Busy,
    /// The device failed: what was written may not be there.
    Broken,
    /// The database library does not say which; [`trouble`] finds out.
    Unsure,
}

impl Trouble {
    /// Why a run waits, for `status` and for the log.
    pub fn words(self, state: &Path) -> String {
        let state = state.display();
        match self {
            Trouble::Full => format!("no room on the disk of {state}: waits for space"),
            Trouble::Closed => format!("{state} cannot be written to (read-only, or a right is missing): waits until it can"),
            Trouble::Busy => "too many open files: waits until some are closed (ulimit -n, LimitNOFILE=)".to_owned(),
            Trouble::Broken | Trouble::Unsure => format!("the disk of {state} fails"),
        }
    }

    fn of_io(error: &io::Error) -> Option<Trouble> {
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<LedgerError>()) {
            return Trouble::of_ledger(inner);
        }
        match Errno::from_io_error(error)? {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Some(Trouble::Full),
            Errno::ROFS | Errno::ACCESS | Errno::PERM => Some(Trouble::Closed),
            Errno::MFILE | Errno::NFILE => Some(Trouble::Busy),
            Errno::IO | Errno::NODEV | Errno::NXIO | Errno::UCLEAN | Errno::BADMSG => Some(Trouble::Broken),
            _ => None,
        }
    }

    fn of_ledger(error: &LedgerError) -> Option<Trouble> {
        match error {
            LedgerError::Disk { trouble, .. } => Some(*trouble),
            LedgerError::Damaged { .. } => Some(Trouble::Broken),
            _ => None,
        }
    }

    /// Of an error of the ledger's library.
    pub fn of_sqlite(error: &rusqlite::Error) -> Option<Trouble> {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code()? {
            ErrorCode::DiskFull => Some(Trouble::Full),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some(Trouble::Closed),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Some(Trouble::Broken),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Some(Trouble::Unsure),
            _ => None,
        }
    }
}

/// What a fault says of the storage under `state`, or none when it is about something else.
pub fn trouble(fault: &anyhow::Error, state: &Path) -> Option<Trouble> {
    let found = fault.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<LedgerError>() {
            Trouble::of_ledger(error)
        } else if let Some(error) = cause.downcast_ref::<io::Error>() {
            Trouble::of_io(error)
        } else if let Some(error) = cause.downcast_ref::<rusqlite::Error>() {
            Trouble::of_sqlite(error)
        } else if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
            error.io_error_kind().filter(|kind| *kind == io::ErrorKind::StorageFull).map(|_| Trouble::Full)
        } else if let Some(error) = cause.downcast_ref::<csv::Error>() {
            if let csv::ErrorKind::Io(error) = error.kind() { Trouble::of_io(error) } else { None }
        } else {
            None
        }
    });
    if found == Some(Trouble::Unsure) { Some(examine(state)) } else { found }
}

/// Writes something to learn what is wrong. A folder that takes it, next to a database that failed, means that the disk cannot be trusted.
pub(crate) fn examine(state: &Path) -> Trouble {
    let written = tempfile::tempfile_in(state).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    match written {
        Err(error) => Trouble::of_io(&error).unwrap_or(Trouble::Broken),
        Ok(()) if size_limit_reached(state) => Trouble::Full,
        Ok(()) => Trouble::Broken,
    }
}

/// Does a file of the state stand at this process's file-size limit (`ulimit -f`)?
fn size_limit_reached(state: &Path) -> bool {
    const CLOSE: u64 = 1 << 20;
    let Some(limit) = getrlimit(Resource::Fsize).current else { return false };
    let largest = fs::read_dir(state).into_iter().flatten().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).max();
    largest.is_some_and(|bytes| bytes + CLOSE > limit)
}

/// Bytes that this user may still write to the disk of `folder`.
pub fn free(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes for people: `1.5 MiB`.
pub fn shown(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A file that takes up room until the room is needed to write down what is already on its way.
#[derive(Clone, Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub fn of(state: &Path) -> Reserve {
        Reserve { path: state.join("reserve") }
    }

    /// Lets go of the room. False when there was none.
    pub fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn is_held(&self, bytes: u64) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= bytes)
    }

    fn hold(&self, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let held = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::NOTSUP | Errno::NOSYS) => write_zeros(file, bytes),
            result => result.map_err(io::Error::from),
        };
        if held.is_err() {
            self.release();
        }
        held
    }
}

fn write_zeros(mut file: fs::File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.sync_all()
}

/// The room that a state directory has, and how much of it is asked for.
#[derive(Clone, Debug)]
pub struct Room {
    state: PathBuf,
    reserve: Reserve,
    reserve_bytes: u64,
    factor: f64,
}

/// A compressed export of text is about this much larger when it is read.
const EXPANSION: u64 = 8;

impl Room {
    /// `reserve` in bytes; `factor` is how much room a file takes on its road, as a multiple of its size.
    pub fn new(state: &Path, reserve: u64, factor: f64) -> Room {
        Room { state: state.to_owned(), reserve: Reserve::of(state), reserve_bytes: reserve, factor }
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Was the reserve given up? Then nothing new is begun.
    pub fn is_short(&self) -> bool {
        self.reserve_bytes > 0 && !self.reserve.is_held(self.reserve_bytes)
    }

    /// Takes the reserve again. True when it is held; false while there is no room for it and a little more.
    pub fn regain(&self) -> bool {
        if !self.is_short() {
            return true;
        }
        let enough = free(&self.state).is_ok_and(|free| free >= self.reserve_bytes.saturating_add(self.reserve_bytes / 4));
        enough && self.reserve.hold(self.reserve_bytes).is_ok()
    }

    /// Why a file of this size is not fetched now, or none when there is room for it.
    pub fn lacks(&self, bytes: u64, compressed: bool) -> Option<String> {
        let decoded = if compressed { bytes.saturating_mul(EXPANSION) } else { bytes };
        let wanted = (decoded as f64 * self.factor) as u64;
        // A disk that cannot be asked says so when it is written to.
        let free = free(&self.state).ok()?;
        (free < wanted).then(|| {
            format!(
                "needs about {} on the disk of {}, which has {}: waits for space (space_factor = {})",
                shown(wanted),
                self.state.display(),
                shown(free),
                self.factor
            )
        })
    }

    /// What somebody should hear of before it stops the work, or none.
    pub fn alert(&self) -> Option<String> {
        let free = free(&self.state).ok()?;
        let state = self.state.display();
        let short = self.is_short() && free < self.reserve_bytes.saturating_add(self.reserve_bytes / 4);
        short.then(|| format!("no room on the disk of {state} ({} free): no file is taken and nothing is sent until there is", shown(free)))
    }
}

/// The network file system that a folder, or the nearest of its parents that is there, is on; none for a local disk.
///
/// `SQLite`'s locks and shared memory do not hold across machines (<https://www.sqlite.org/wal.html>, section 1).
pub fn network_file_system(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|path| path.exists())?.canonicalize().ok()?;
    let kind = statfs(&there).ok()?.f_type;
    // The sign of the field differs between architectures.
    let name = named(kind as u32)?;
    if name != "FUSE" {
        return Some(name.to_owned());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = mount_kind(&mounts, &there).unwrap_or("fuse");
    (!FUSE_LOCAL.contains(&kind)).then(|| kind.to_owned())
}

/// File systems of this machine's own disks that happen to be written for FUSE.
const FUSE_LOCAL: [&str; 4] = ["fuseblk", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.bindfs"];

/// `statfs(2)`, and `linux/magic.h`.
fn named(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517B | 0xFE53_4D42 => "SMB",
        0xFF53_4D42 => "CIFS",
        0x0102_1997 => "9P",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x00C3_6400 => "Ceph",
        0x0BD0_0BD0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636F => "OCFS2",
        0x4750_4653 => "GPFS",
        0x786F_4256 => "a shared folder of VirtualBox",
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

/// The type of the mount that a path is on. `proc_pid_mountinfo(5)`: the fifth field is the place, and the type comes behind ` - `.
fn mount_kind<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let of_line = |line: &'m str| {
        let (before, after) = line.split_once(" - ")?;
        let place = before.split(' ').nth(4)?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        path.starts_with(&place).then_some((place.len(), after.split(' ').next()?))
    };
    // Of mounts over one another the last counts.
    mounts
        .lines()
        .filter_map(of_line)
        .fold(None, |best: Option<(usize, &str)>, (length, kind)| match best {
            Some((longest, _)) if longest > length => best,
            _ => Some((length, kind)),
        })
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B9.
    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_local_ones_are_not() {
        for (magic, name) in [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB"), (0x6573_5546, "FUSE"), (0x0102_1997, "9P")] {
            assert_eq!(named(magic), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs, overlay, zfs
        for magic in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(named(magic), None, "{magic:x}");
        }
        assert_eq!(network_file_system(&std::env::temp_dir().join("not/there/yet")), None);
    }

    /// B9.
    #[test]
    fn the_innermost_and_last_mount_of_a_path_says_what_it_is_on() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:40 / /mnt/a\\040b rw shared:5 - fuse.sshfs host:/x rw\n\
                      31 22 0:41 / /mnt/c rw - ext4 /dev/vdb rw\n\
                      32 31 0:42 / /mnt/c rw - fuse.rclone cloud rw\n";
        let kind = |path: &str| mount_kind(mounts, Path::new(path));
        assert_eq!(kind("/var/lib"), Some("ext4"));
        assert_eq!(kind("/mnt/a b/state"), Some("fuse.sshfs"));
        assert_eq!(kind("/mnt/c/state"), Some("fuse.rclone"));
        assert_eq!(kind("/mnt/cc"), Some("ext4"));
    }

    /// B2.
    #[test]
    fn a_file_is_not_fetched_where_it_would_not_fit() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::new(state.path(), 0, 4.0);
        assert_eq!(room.lacks(1000, false), None);
        let free = free(state.path()).unwrap();
        assert!(room.lacks(free / 2, false).unwrap().contains("waits for space"));
        assert!(room.lacks(free / 16, true).is_some(), "compressed it counts for more");
        assert_eq!(room.lacks(free / 16, false), None);
    }

    /// B3.
    #[test]
    fn the_reserve_is_held_released_and_regained() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::new(state.path(), 100_000, 4.0);
        assert!(room.is_short());
        assert!(room.regain() && !room.is_short());
        assert!(room.reserve.release() && room.is_short());
        assert!(!room.reserve.release());
        assert!(room.regain());
    }

    /// B3, B5, B6.
    #[test]
    fn what_a_fault_means_is_found_under_what_wraps_it() {
        let state = tempfile::tempdir().unwrap();
        let of = |fault: anyhow::Error| trouble(&fault.context("while it did something"), state.path());
        let os = |errno: Errno| io::Error::from(errno);
        assert_eq!(of(os(Errno::NOSPC).into()), Some(Trouble::Full));
        assert_eq!(of(os(Errno::DQUOT).into()), Some(Trouble::Full));
        assert_eq!(of(crate::source::SourceError::Local(os(Errno::FBIG)).into()), Some(Trouble::Full));
        assert_eq!(of(csv::Error::from(os(Errno::NOSPC)).into()), Some(Trouble::Full));
        assert_eq!(of(serde_json::Error::io(os(Errno::NOSPC)).into()), Some(Trouble::Full));
        let full = LedgerError::Disk { trouble: Trouble::Full, what: String::new() };
        assert_eq!(of(crate::source::SourceError::Local(io::Error::other(full)).into()), Some(Trouble::Full));
        assert_eq!(of(os(Errno::ROFS).into()), Some(Trouble::Closed));
        assert_eq!(of(os(Errno::MFILE).into()), Some(Trouble::Busy));
        assert_eq!(of(os(Errno::IO).into()), Some(Trouble::Broken));
        let unsure = LedgerError::Disk { trouble: Trouble::Unsure, what: String::new() };
        assert_eq!(of(unsure.into()), Some(Trouble::Broken), "the folder takes what is written, so the disk is not to be trusted");
        assert_eq!(of(anyhow::anyhow!("no room")), None);
    }
}
