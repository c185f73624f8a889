//! How everything stands at the end, without what differs from run to run by nature: ids and times. Two portraits are equal or a promise
//! is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::harbour::Harbour;

/// Outcomes row by row, passes, reports, and where files are.
#[derive(Clone, PartialEq, Eq)]
pub struct Portrait(pub BTreeMap<String, String>);

/// Keys of a report that differ by nature.
const BY_NATURE: [&str; 6] = ["requests", "timings_ms", "seen_at", "ended_at", "config", "fingerprint"];

impl Portrait {
    pub fn of(harbour: &Harbour) -> Portrait {
        let mut lines = BTreeMap::new();
        let runs = harbour.runs();
        let members: Vec<_> =
            (1..=9).map(|member| format!("C-{member}")).filter_map(|pass| Some((harbour.sandbox.member(&pass)?, pass))).collect();
        let neutral = |mut text: String| {
            for (index, run) in runs.iter().enumerate() {
                text = text.replace(&run.id, &format!("RUN{index}"));
            }
            for (held, pass) in &members {
                text = text.replace(held["id"].as_str().unwrap_or("\0"), pass);
            }
            text
        };
        let ledger = harbour.ledger();
        for run in &runs {
            let name = run.shown_name();
            lines.insert(format!("{name}: state"), run.state.to_string());
            ledger
                .rows(&run.id, &[], &mut |row| {
                    let outcome = row.outcome.map_or("none", |outcome| outcome.as_str());
                    let operations: Vec<String> =
                        row.detail.operations.iter().map(|note| format!("{} {}", note.operation, note.outcome.as_str())).collect();
                    lines.insert(format!("{name}: record {}", row.record), format!("{outcome} {:?} {operations:?}", row.detail.codes()));
                    Ok(())
                })
                .unwrap();
        }
        for (held, pass) in &members {
            let events: BTreeSet<String> = harbour.sandbox.events(pass).into_iter().collect();
            let events = events.len();
            lines.insert(
                pass.clone(),
                format!("{} {} {} {events} events", held["points"], held["metaData"]["tier"], held["person"]["emailAddress"]),
            );
        }
        for path in harbour.tree() {
            // Full of times, and checked against report.json by the promises.
            if path.ends_with(".report.html") {
                lines.insert(format!("file {}", neutral(path)), String::new());
                continue;
            }
            let content = harbour.read(&path);
            let content =
                if path.ends_with(".report.json") { without_times(&content) } else { String::from_utf8_lossy(&content).into_owned() };
            lines.insert(format!("file {}", neutral(path)), neutral(content));
        }
        Portrait(lines)
    }

    /// What is other here than there.
    pub fn differs_from(&self, other: &Portrait) -> String {
        let mut words = String::new();
        for key in self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key))) {
            let (here, there) = (self.0.get(key), other.0.get(key));
            if here != there {
                let only = |one: Option<&String>, other: Option<&String>| {
                    let other: Vec<&str> = other.map_or_else(Vec::new, |text| text.lines().collect());
                    one.map_or_else(Vec::new, |text| text.lines().filter(|line| !other.contains(line)).map(str::to_owned).collect())
                };
                let _ = writeln!(words, "{key}\n   is {:?}\n   not {:?}", only(here, there), only(there, here));
            }
        }
        words
    }
}

fn without_times(report: &[u8]) -> String {
    let mut report: serde_json::Value = serde_json::from_slice(report).unwrap();
    if let Some(keys) = report.as_object_mut() {
        keys.retain(|key, _| !BY_NATURE.contains(&key.as_str()));
    }
    // The file of a correction names its run.
    if report["kind"] == "correction"
        && let Some(file) = report["file"].as_object_mut()
    {
        file.remove("sha256");
    }
    serde_json::to_string_pretty(&report).unwrap()
}
