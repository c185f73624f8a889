//! Reports of ours that the ledger knows nothing of (failure model, B7 and B8).
//!
//! A ledger that was lost, or is an older copy, has forgotten what was applied since. Repeating a set changes nothing; repeating an add
//! is wrong. Our own reports on the server outlive the ledger, so a feed that adds looks at them once a start, and its files are held
//! until a person has looked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bstr::ByteSlice;

use crate::config::meant::Feed;
use crate::ledger::run::{Verdict, show_name};
use crate::ledger::{Fence, Ledger, RunFilter, State};
use crate::outcome::Outcome;
use crate::source::link::Link;
use crate::source::{Entry, EntryKind, Result, Source, SourceError, join, name_fault};

/// A report that this ledger does not know: of a run it does not have, or had not yet ended, or has seen end otherwise since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownReport {
    pub name: String,
    pub run: String,
    /// What is known of the run here, in words.
    pub why: String,
}

/// What of a report is looked at. All versions of the format have it.
#[derive(serde::Deserialize)]
struct Told {
    run: String,
    feed: String,
    state: State,
    requests: u64,
    /// Rows by outcome.
    #[serde(default)]
    rows: BTreeMap<String, u64>,
    /// Operations by name and outcome.
    #[serde(default)]
    operations: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Told {
    /// Does it tell of anything that may have reached the platform? Requests of a start that was killed are not among those it counts.
    fn sent(&self) -> bool {
        let sent =
            |counts: &BTreeMap<String, u64>| Outcome::SENT.iter().any(|outcome| counts.get(outcome.as_str()).is_some_and(|n| *n > 0));
        self.requests > 0 || sent(&self.rows) || self.operations.values().any(sent)
    }
}

/// Reports read at most, newest first: those are what an older ledger lacks.
const READ_MAX: usize = 200;
/// Bytes of one; they hold counts, not rows.
const BYTES_MAX: u64 = 4 << 20;
/// Names shown as evidence.
const SHOWN: usize = 5;

/// Looks at the place of a feed's reports. Those the ledger lists by name and size are not read.
pub fn find(feed: &Feed, ledger: &dyn Ledger, source: &mut dyn Source) -> Result<Vec<UnknownReport>> {
    let folder = feed.reports.folder.as_bstr();
    let entries = match source.list(folder) {
        Err(SourceError::NotFound(_)) => return Ok(Vec::new()),
        other => other?,
    };
    let runs = ledger.runs(&RunFilter::default()).map_err(local)?;
    let known: std::collections::HashSet<(&str, u64)> = runs
        .iter()
        .flat_map(|run| run.detail.reports.iter().chain(&run.detail.earlier_reports))
        .map(|report| (report.name.as_str(), report.bytes))
        .collect();
    let mut candidates: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::File && entry.name.ends_with(b".report.json") && !entry.name.starts_with(b"."))
        .filter(|entry| name_fault(entry.name.as_bstr()).is_none())
        .filter(|entry| entry.size <= BYTES_MAX && !known.contains(&(show_name(&entry.name).as_str(), entry.size)))
        .collect();
    // Of held files come last: nothing was sent for them when they were written.
    candidates.sort_by_key(|entry| (entry.name.contains_str(".held"), std::cmp::Reverse(entry.mtime)));
    let accepted = ledger.accepted_reports().map_err(local)?;
    let mut unknown = Vec::new();
    for entry in candidates.into_iter().take(READ_MAX) {
        let mut text = Vec::new();
        source.read(join(folder, entry.name.as_bstr()).as_bstr(), BYTES_MAX, &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        // What is not a report of this feed, or tells of a run that sent nothing, says nothing.
        let Ok(report) = serde_json::from_slice::<Told>(&text) else { continue };
        // Whoever may write there may write anything: only what can be a run's id is told and kept.
        let is_id = (1..=16).contains(&report.run.len()) && report.run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id || report.feed != feed.name || report.state == State::Held || !report.sent() || accepted.contains(&report.run) {
            continue;
        }
        let why = match runs.iter().find(|run| run.id == report.run) {
            // Its reports are written down before they are published.
            Some(run) if run.state == State::Reporting => continue,
            // What a file sets may be set again, and nobody approves what is not held.
            Some(run) if run.state.is_over() && !feed.may_add() => continue,
            Some(run) => format!("says that run {} is {}, and here it is {}", run.id, report.state, run.state),
            None => format!("tells of run {}, which is not in the ledger", report.run),
        };
        unknown.push(UnknownReport { name: show_name(&entry.name), run: report.run, why });
    }
    Ok(unknown)
}

/// What was found at the report places since the start, by feed.
#[derive(Default)]
pub struct Looks(Mutex<BTreeMap<String, Vec<UnknownReport>>>);

impl Looks {
    /// Reports that a feed's files are to be held for. Looked for once: what comes later, this process writes.
    pub fn of(&self, feed: &Feed, ledger: &dyn Ledger, link: &Link) -> Result<Vec<UnknownReport>> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = looks.get(&feed.name) {
            return Ok(known.clone());
        }
        let found = link.with(|source| find(feed, ledger, source))?;
        looks.insert(feed.name.clone(), found.clone());
        Ok(found)
    }

    /// A person looked at them: they hold nothing any more, here and after a restart.
    pub fn accept(&self, feed: &Feed, ledger: &dyn Ledger, fence: Fence, link: &Link, by: &str) -> anyhow::Result<()> {
        let runs: Vec<String> = self.of(feed, ledger, link)?.into_iter().map(|report| report.run).collect();
        ledger.accept_reports(fence, &runs, by)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(feed.name.clone(), Vec::new());
        Ok(())
    }
}

/// Name of the verdict.
pub const GUARD: &str = "unknown-reports";

/// Why a file of a feed that adds is held.
pub fn verdict(unknown: &[UnknownReport]) -> Option<Verdict> {
    if unknown.is_empty() {
        return None;
    }
    let shown: Vec<String> = unknown.iter().take(SHOWN).map(|report| format!("{} {}", report.name, report.why)).collect();
    let more = unknown.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(Verdict {
        guard: GUARD.into(),
        held: true,
        evidence: format!(
            "the ledger was lost or is an older copy, and what adds may have been applied before: {}{more}. Compare this file with those \
             reports; approve it only when none of its rows is among what they applied",
            shown.join("; ")
        ),
    })
}

fn local(error: crate::ledger::LedgerError) -> SourceError {
    SourceError::Local(std::io::Error::other(error))
}
