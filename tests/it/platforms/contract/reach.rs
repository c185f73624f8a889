//! What a person reads of an account: `check --reach`, put in order and put in disorder, one snapshot a platform.

use std::fmt::Write as _;
use std::process::Stdio;

use super::{Entry, start, table};
use crate::rig::harbour::Harbour;

pub fn told(entry: &Entry) {
    let mut all = String::new();
    let right = start(entry, 3, |plan| plan);
    tell(&mut all, "all is right", &right, 0);
    for wrong in entry.wrong.iter().chain(table::nowhere()) {
        let harbour = start(entry, 3, |plan| plan);
        (wrong.make)(&harbour);
        tell(&mut all, wrong.what, &harbour, wrong.exit);
        assert!(!harbour.ledger_is_there() || harbour.runs().is_empty());
    }
    insta::assert_snapshot!(format!("reach_{}", entry.name), all);
}

fn tell(all: &mut String, what: &str, harbour: &Harbour, exit: i32) {
    let output = harbour.command(&["check", "--reach"]).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("platform cards: ")).unwrap_or_else(|| panic!("{what}: {text}"));
    assert_eq!(output.status.code(), Some(exit), "{what}: {text}");
    let _ = writeln!(all, "{what} (exit code {exit})\n  {}\n", without_library(&without_chance(line)));
}

/// Ports that the system gave, and how long certificates of the test's own are valid.
fn without_chance(line: &str) -> String {
    let line = regex::Regex::new(r"(127\.0\.0\.1|localhost):\d{4,5}").unwrap().replace_all(line, "$1:PORT");
    let line = regex::Regex::new(r"\d{4}-\d{2}-\d{2}").unwrap().replace_all(&line, "DATE");
    regex::Regex::new(r"\d+ days").unwrap().replace_all(&line, "N days").into_owned()
}

/// What the TLS library says of itself differs from version to version.
fn without_library(line: &str) -> String {
    let Some(from) = line.find("error:0") else { return line.to_owned() };
    let rest = line[from..].find("; check").map_or("", |to| &line[from + to..]);
    format!("{}…{rest}", &line[..from])
}
