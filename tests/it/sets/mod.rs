//! Sets: several files that are one delivery, from the front door. What stands beside files, and files that do not come.

// Balances are whole numbers here.
#![allow(clippy::float_cmp)]

mod beside;
mod claims;
mod commands;
mod expected;
mod folders;
mod left;
mod manifests;
mod old;
mod part_files;
mod partitions;
mod stops;

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::harbour::{Harbour, Plan, harbour};

/// A harbour on a folder whose feed takes sets.
fn sets(set: &str) -> Plan {
    harbour().folder().feed("set", set).feed("pattern", "\"*\"")
}

/// Folders of Spark's, proved by their marker alone.
fn spark() -> Plan {
    sets("{ kind = \"spark\", patience = \"1s\" }").feed("quiet", "")
}

fn csv(rows: &[(&str, &str)]) -> String {
    rows.iter().fold("id,points\n".to_owned(), |text, (id, points)| text + id + "," + points + "\n")
}

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Puts files into a folder of the inbox.
fn deliver_folder(harbour: &Harbour, name: &str, files: &[(&str, &str)]) {
    fs::create_dir_all(harbour.inbox().join(name)).unwrap();
    for (file, content) in files {
        harbour.deliver_to(&format!("in/{name}"), file, content);
    }
}

/// A folder as Databricks leaves it, with one row in each of two parts.
fn databricks(harbour: &Harbour, name: &str, points: u32) {
    let (one, two) = (csv(&[("C-1", &points.to_string())]), csv(&[("C-2", &(points + 1).to_string())]));
    let committed = r#"{"added":["part-00000-tid-7731-c000.csv","part-00001-tid-7731-c000.csv"],"removed":[]}"#;
    deliver_folder(
        harbour,
        name,
        &[
            ("_started_7731", ""),
            ("part-00000-tid-7731-c000.csv", &one),
            ("part-00001-tid-7731-c000.csv", &two),
            (".part-00000-tid-7731-c000.csv.crc", "crc"),
            ("_committed_7731", committed),
            ("_SUCCESS", ""),
        ],
    );
}

/// Gives a file of the inbox a time so many seconds ago.
fn age(harbour: &Harbour, path: &str, seconds: u64) {
    let file = fs::File::options().append(true).open(harbour.inbox().join(path)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

/// What `status` says that a feed's files wait for.
fn waits(harbour: &Harbour) -> Vec<String> {
    let status = harbour.told(&["status", "--json"]);
    let missing = status["feeds"][0]["missing"].as_array().unwrap();
    missing.iter().map(|waiting| format!("{}: {}", waiting["what"].as_str().unwrap(), waiting["words"].as_str().unwrap())).collect()
}

/// Has a set waited for longer than its patience?
fn is_alert(harbour: &Harbour) -> bool {
    harbour.ledger().waiting(None).unwrap().iter().any(|waiting| waiting.alert)
}

fn evidence(harbour: &Harbour, name: &str, guard: &str) -> String {
    let run = harbour.run_of(name);
    let found = run.detail.verdicts.iter().find(|verdict| verdict.guard == guard && verdict.held);
    found.unwrap_or_else(|| panic!("{guard} does not hold {name}: {:?}\n{}", run.detail.verdicts, harbour.said())).evidence.clone()
}

/// One sweep that is killed at the `nth` call that fits.
#[track_caller]
fn killed(harbour: &Harbour, mode: Mode, pattern: &str, nth: u64) {
    let crashed = crash(harbour, &["once"], &Moment { mode, nth, matching: pattern.to_owned() });
    let calls = || crashed.calls.iter().map(|call| call.line.clone() + "\n").collect::<String>();
    assert!(crashed.reached, "no call fits {pattern:?}\n{}\n{}", calls(), crashed.ran.err);
}
