//! The wall clock of the program under test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::harbour::{Harbour, Process};

/// The library of Debian's package `faketime`.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let found = places.chain([PathBuf::from("/usr/lib/faketime/libfaketime.so.1")]).find(|path| path.exists());
    found.expect("these tests need libfaketime: apt-get install faketime")
}

/// The wall clock of a program, which a test can set while it runs. Its monotonic clock is left alone.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    pub fn of(harbour: &Harbour) -> Clock {
        let clock = Clock { file: harbour.home.path().join("clock") };
        clock.set("+0");
        clock
    }

    /// `+3650d`, or `@2026-10-25 07:05:00` in UTC.
    pub fn set(&self, time: &str) {
        let temporary = self.file.with_extension("new");
        fs::write(&temporary, time).unwrap();
        fs::rename(temporary, &self.file).unwrap();
    }

    pub fn start(&self, harbour: &Harbour, args: &[&str]) -> Process {
        let mut command: Command = harbour.command(args);
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_RESET", "1");
        harbour.start_command(command)
    }
}
