//! Files as exporters write them, from the front door: composed here byte by byte, or by other programs.

// Balances are whole numbers here, and files are small.
#![allow(clippy::float_cmp, clippy::format_collect)]

mod containers;
mod dialects;
mod openpgp;
mod sets;
mod times;
mod values;
mod workbooks;

use std::io::Write;
use std::process::{Command, Stdio};

use crate::rig::harbour::{Harbour, Plan, harbour};

/// Points and a tier of a pass, in the order in which files without a header have them.
const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "missingValues": ["", "\\N", "NULL"],
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer", "constraints": { "minimum": 0 } },
    { "name": "tier", "type": "string", "constraints": { "maxLength": 30 } }
  ]
}
"#;

/// A harbour on a folder, whose feed takes any name.
fn plan() -> Plan {
    harbour().folder().schema(SCHEMA).feed("pattern", "\"points*\"").feed("fields.\"person.emailAddress\"", "")
}

fn tier(harbour: &Harbour, external_id: &str) -> String {
    harbour.sandbox.member(external_id).unwrap()["metaData"]["tier"].as_str().unwrap_or_default().to_owned()
}

/// Replaces the one place where a report has this text, and drops the report back.
#[track_caller]
fn correct(harbour: &Harbour, stem: &str, from: &[u8], to: &[u8]) {
    let report = harbour.read(&format!("reports/{stem}.errors.csv"));
    let at = memchr::memmem::find(&report, from).unwrap_or_else(|| panic!("{} is not in {}", from.escape_ascii(), report.escape_ascii()));
    let corrected = [&report[..at], to, &report[at + from.len()..]].concat();
    harbour.deliver(format!("{stem}-fixed.errors.csv"), corrected);
}

/// What another program makes of these bytes.
fn piped(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
        panic!("{program} is needed ({error}); tests/run installs it");
    });
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} failed");
    output.stdout
}

fn python(script: &str, input: &[u8]) -> Vec<u8> {
    piped("python3", &["-c", script], input)
}
