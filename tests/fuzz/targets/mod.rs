//! What is fuzzed: one function for each place where bytes come in that somebody else wrote. A target panics when a promise is broken.

mod answers;
mod config;
mod corrections;
mod csv;
mod names;
mod platforms;
mod scanner;
mod schema;
mod talk;
mod templates;

use std::cell::OnceCell;
use std::path::Path;

pub struct Target {
    /// Also the name of its folder in `corpus` and of its file in `words`.
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const ALL: [Target; 8] = [
    Target { name: "scanner", run: scanner::target },
    Target { name: "schema", run: schema::target },
    Target { name: "config", run: config::target },
    Target { name: "names", run: names::target },
    Target { name: "answers", run: answers::target },
    Target { name: "platforms", run: platforms::target },
    Target { name: "corrections", run: corrections::target },
    Target { name: "templates", run: templates::target },
];

pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

thread_local! {
    static SCRATCH: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A folder for the files of one execution after another, in memory where that is to be had.
fn with_scratch<T>(work: impl FnOnce(&Path) -> T) -> T {
    let make = || {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.expect("a folder for scratch files")
    };
    SCRATCH.with(|folder| work(folder.get_or_init(make).path()))
}

/// The parts of a text between lines of three hyphens: inputs that say several things stay readable.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n---\n")
}
