//! Disks of a test's own: small ones that fill up, images that a power cut leaves behind, and a library that makes storage calls fail.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::harbour::{Harbour, Process};

/// Runs a command that must succeed.
#[track_caller]
fn must(command: &mut Command, need: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; these tests need {need}"));
    assert!(output.status.success(), "{command:?}: {}; these tests need {need}", String::from_utf8_lossy(&output.stderr).trim());
}

/// A disk mounted at a place. Unmounted when dropped.
pub struct Disk {
    place: PathBuf,
    /// Of one that outlives its mount.
    image: Option<PathBuf>,
}

impl Disk {
    /// A disk in memory, of so many bytes.
    #[track_caller]
    pub fn memory(place: &Path, bytes: u64) -> Disk {
        fs::create_dir_all(place).unwrap();
        let size = format!("size={bytes}");
        must(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place), "root and mount(8), to mount a tmpfs");
        Disk { place: place.to_owned(), image: None }
    }

    /// A new ext4 file system in an image file. Nothing reaches the image but what is flushed: the kernel's own timers are put off.
    #[track_caller]
    pub fn image(place: &Path, image: &Path, mebibytes: u64) -> Disk {
        fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
        must(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(image), "e2fsprogs");
        Disk::attach(place, image)
    }

    /// Mounts an image, as it is after a power cut.
    #[track_caller]
    pub fn attach(place: &Path, image: &Path) -> Disk {
        fs::create_dir_all(place).unwrap();
        must(Command::new("mount").args(["-o", "loop,commit=300"]).arg(image).arg(place), "root and loop devices, to mount an image");
        Disk { place: place.to_owned(), image: Some(image.to_owned()) }
    }

    /// What somebody else mounted.
    pub fn mounted(place: &Path) -> Disk {
        Disk { place: place.to_owned(), image: None }
    }

    /// What is on the block device at this moment, in a file of its own: what a power cut would leave.
    pub fn pull_the_plug(&self, to: &Path) {
        fs::copy(self.image.as_ref().expect("a disk with an image"), to).unwrap();
    }

    /// Fills the disk until only so many bytes are free.
    #[track_caller]
    pub fn leave(&self, bytes: u64) {
        let _ = fs::remove_file(self.ballast());
        let free = passferry::space::free(&self.place).unwrap();
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        let mut left = free.saturating_sub(bytes);
        let piece = vec![b'x'; 4096];
        while left > 0 {
            let count = left.min(4096) as usize;
            if ballast.write_all(&piece[..count]).is_err() {
                break;
            }
            left -= count as u64;
        }
        // Delayed allocation would give the room out twice.
        ballast.sync_all().unwrap_or_default();
    }

    /// Makes room again.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

/// The library, compiled once for all tests of this process.
static LIBRARY: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("storage.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/rig/storage.c");
    must(Command::new("cc").args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source), "a C compiler");
    (folder, library)
});

/// Which storage calls fail, in a file that the library reads at each of them.
pub struct Faults {
    control: PathBuf,
}

impl Faults {
    pub fn of(harbour: &Harbour) -> Faults {
        Faults { control: harbour.home.path().join("storage-faults") }
    }

    /// From now on calls of these kinds (`s` flush, `w` write, `o` create, `i` watch for events) on paths that contain `matching` fail, but for the first `skip`.
    pub fn fail(&self, kinds: &str, errno: i32, matching: &str, skip: u32) {
        let temporary = self.control.with_extension("new");
        fs::write(&temporary, format!("{kinds} {errno} {skip} {matching}")).unwrap();
        fs::rename(temporary, &self.control).unwrap();
    }

    pub fn clear(&self) {
        let _ = fs::remove_file(&self.control);
    }

    /// Did a call fail?
    pub fn struck(&self) -> bool {
        self.control.with_extension("struck").exists()
    }

    /// A command of the program, with the library in it.
    pub fn command(&self, harbour: &Harbour, args: &[&str]) -> Command {
        let mut command = harbour.command(args);
        command.env("LD_PRELOAD", &LIBRARY.1).env("STORAGE_FAULTS", &self.control);
        command
    }

    pub fn start(&self, harbour: &Harbour, args: &[&str]) -> Process {
        harbour.start_command(self.command(harbour, args))
    }

    /// Runs a command to its end, and gives its exit code.
    #[track_caller]
    pub fn run(&self, harbour: &Harbour, args: &[&str]) -> i32 {
        self.start(harbour, args).wait()
    }
}

/// A command whose flushes do nothing.
pub fn without_flushes(mut command: Command) -> Command {
    command.env("LD_PRELOAD", &LIBRARY.1).env("STORAGE_NO_FLUSH", "1");
    command
}
