//! Names that a server gives its files, and the names made from them.
//!
//! The name stands before the first line of three hyphens, a folder may follow it.

use std::collections::BTreeSet;

use bstr::{BStr, BString, ByteSlice};
use passferry::ledger::run::{Detail, show_name};
use passferry::ledger::{Run, RunKind, State};
use passferry::pipeline::archive::with_id;
use passferry::pipeline::report::Names;
use passferry::pipeline::sets::beside::name_for;
use passferry::source::{join, name_fault};

/// What file systems take (`NAME_MAX`).
const NAME_MAX: usize = 255;

pub fn target(data: &[u8]) {
    let at = data.find(b"\n---\n");
    let (name, folder) = at.map_or((data, &b"in/box"[..]), |at| (&data[..at], &data[at + 5..]));
    let (name, folder) = (name.as_bstr(), folder.as_bstr());
    let shown = show_name(&name.to_owned());
    assert!(!shown.chars().any(char::is_control), "control characters reach a terminal: {shown:?}");
    if name_fault(name).is_some() {
        return;
    }
    stays_inside(name, folder);
    let mut run = run(name);
    if folder.len() % 2 == 1 {
        run.state = State::Held;
    }
    let candidates: Vec<Names> = Names::candidates(&run, folder.len() % 3 == 0).take(12).collect();
    for names in &candidates {
        for shown in [&names.errors, &names.problems, &names.report] {
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        for ending in passferry::pipeline::report::ENDINGS {
            let made = [names.stem.as_slice(), b".", ending.as_bytes()].concat();
            check_made(made.as_bstr(), name, folder);
            // Reports travel under a temporary name first.
            check_made([b".", made.as_slice(), b".", run.id.as_bytes(), b".part"].concat().as_bstr(), name, folder);
        }
    }
    let stems: BTreeSet<&BString> = candidates.iter().map(|names| &names.stem).collect();
    assert!(stems.len() == candidates.len() && stems.len() > 1, "names to choose from");
    let archived = with_id(name, &run.id);
    check_made(archived.as_bstr(), name, folder);
    assert_ne!(archived, name, "a name that is free");
    assert!(archived.contains_str(&run.id));
    for pattern in ["{}.done", "{stem}.ctl"] {
        check_separate(name_for(pattern, name).as_bstr(), folder);
    }
}

fn run(name: &BStr) -> Run {
    Run {
        id: "k7f2m9".to_owned(),
        feed: "points".to_owned(),
        account: "loyalty".to_owned(),
        source: "in".to_owned(),
        folder: "in/box".into(),
        name: name.to_owned(),
        size: 0,
        mtime: 0,
        state: State::Reporting,
        kind: RunKind::File,
        parent: None,
        sha256: None,
        detail: Detail::default(),
    }
}

/// A name made from one that was accepted would be accepted, and fits where the first did.
fn check_made(made: &BStr, name: &BStr, folder: &BStr) {
    assert_eq!(name_fault(made), None, "{made:?} was made from {name:?}");
    assert!(made.len() <= NAME_MAX, "{} bytes, made from {}", made.len(), name.len());
    stays_inside(made, folder);
}

fn check_separate(made: &BStr, folder: &BStr) {
    assert!(!made.contains(&b'/'));
    stays_inside(made, folder);
}

/// Joined to its folder, a name is one more part of the path and nothing else.
fn stays_inside(name: &BStr, folder: &BStr) {
    let path: BString = join(folder, name);
    assert!(path.starts_with(folder));
    let (before, after): (Vec<&[u8]>, Vec<&[u8]>) = (parts(folder), parts(path.as_bstr()));
    assert_eq!(after.len(), before.len() + 1, "{path:?}");
    assert_eq!(after.last().copied(), Some(name.as_bytes()), "{path:?}");
    assert!(after[after.len() - 1] != b".." && after[after.len() - 1] != b".", "{path:?}");
}

fn parts(path: &BStr) -> Vec<&[u8]> {
    path.split_str("/").filter(|part| !part.is_empty()).collect()
}
