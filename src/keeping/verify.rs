//! Verify: ledger, spool, reports and inputs against each other.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bstr::{BString, ByteSlice};
use chrono::{DateTime, Utc};

use super::needs_copy;
use crate::config::meant::{Config, Feed};
use crate::ledger::delivered::Part;
use crate::ledger::keeping::{Audit, Finding};
use crate::ledger::run::{ReportFile, show_name};
use crate::ledger::{Ledger, Run, RunKind, State};
use crate::pipeline::road::connector;
use crate::pipeline::sets::put_away;
use crate::source::{Entry, EntryKind, Source, SourceError, join, name_fault};
use crate::spool::{Spool, SpoolEntry, sha256_of};

/// Between two looks at what a running passferry may just be moving.
const SECOND_LOOK: Duration = Duration::from_millis(400);
/// Largest report that is read to be compared.
const REPORT_MAX: u64 = 4 << 30;

/// What this machine holds. `leads` tells whether a daemon or a sweep is at work: then a finding counts when two looks have it.
pub fn here(config: &Config, ledger: &dyn Ledger, leads: &dyn Fn() -> bool) -> anyhow::Result<(Audit, Vec<Finding>)> {
    let (audit, first) = look(config, ledger, leads())?;
    if first.is_empty() || !leads() {
        return Ok((audit, first));
    }
    std::thread::sleep(SECOND_LOOK);
    let (audit, second) = look(config, ledger, leads())?;
    Ok((audit, second.into_iter().filter(|finding| first.iter().any(|earlier| is_same(earlier, finding))).collect()))
}

/// Numbers in a finding may move while it stays the same.
fn is_same(a: &Finding, b: &Finding) -> bool {
    (a.finding, &a.run, &a.place) == (b.finding, &b.run, &b.place)
}

fn look(config: &Config, ledger: &dyn Ledger, leads: bool) -> anyhow::Result<(Audit, Vec<Finding>)> {
    let mut audit = ledger.audit(super::ago(config.key_retention))?;
    let mut findings = std::mem::take(&mut audit.findings);
    for run in audit.runs.iter().filter(|run| !run.state.is_over() && !config.feeds.contains_key(&run.feed)) {
        let what = format!("is {} and its feed {} is not in the configuration: nothing happens to it", run.state, run.feed);
        findings.push(of_run("feed-gone", run, what, "put the feed back, or restart passferry, which ends the run"));
    }
    findings.extend(super::hosted::verify(config));
    let folder = config.state.join("spool");
    if folder.exists() {
        in_spool(&audit, &Spool::open(&config.state)?, leads, &mut findings)?;
    } else {
        missing_copies(&audit, &|_| false, &mut findings);
    }
    Ok((audit, findings))
}

fn of_run(name: &'static str, run: &Run, what: impl Into<String>, cure: impl Into<String>) -> Finding {
    let place = format!("run {} ({})", run.id, run.shown_name());
    Finding { finding: name, run: Some(run.id.clone()), place, what: what.into(), cure: cure.into() }
}

fn in_spool(audit: &Audit, spool: &Spool, leads: bool, findings: &mut Vec<Finding>) -> io::Result<()> {
    const NEXT_START: &str = "the next start of passferry deletes it";
    let runs: BTreeMap<&str, &Run> = audit.runs.iter().map(|run| (run.id.as_str(), run)).collect();
    for SpoolEntry { path, run: owner, kind } in spool.entries()? {
        let mut found = |name, run: Option<&Run>, what: String, cure: &str| {
            let place = path.display().to_string();
            findings.push(Finding { finding: name, run: run.map(|run| run.id.clone()), place, what, cure: cure.to_owned() });
        };
        let Some(owner) = owner else {
            if !leads {
                found("spool-scratch", None, "was left by a process that was killed".into(), NEXT_START);
            }
            continue;
        };
        let Some(run) = runs.get(owner.as_str()) else {
            if !audit.ids.contains(&owner) {
                let cure = "if the ledger was lost or restored, this is what it does not know; it is deleted when retention is over";
                found("spool-unknown-run", None, format!("belongs to run {owner}, which is not in the ledger"), cure);
            }
            continue;
        };
        if kind == "part" {
            if run.state != State::Complete {
                found("spool-half-copy", Some(run), format!("is half a copy, and run {owner} is {}", run.state), NEXT_START);
            }
        } else if run.state.is_over() && !needs_copy(run) {
            found("spool-left-over", Some(run), format!("is of no more use: run {owner} is {}", run.state), NEXT_START);
        } else if kind == "data"
            && let Some(hash) = &run.sha256
        {
            match sha256_of(&path) {
                Ok(found_hash) if found_hash == *hash => {}
                Ok(_) => {
                    let cure = "something changed the file, or the disk fails: deliver it again under another name, and look at the disk";
                    found("spool-changed", Some(run), format!("has another content than run {owner} fetched"), cure);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found("spool-unreadable", Some(run), format!("cannot be read: {error}"), "look at the disk"),
            }
        }
    }
    missing_copies(audit, &|run| spool.data(run).exists(), findings);
    Ok(())
}

fn missing_copies(audit: &Audit, is_there: &dyn Fn(&str) -> bool, findings: &mut Vec<Finding>) {
    let runs: BTreeMap<&str, &Run> = audit.runs.iter().map(|run| (run.id.as_str(), run)).collect();
    for run in &audit.runs {
        if needs_copy(run) && !is_there(&run.id) {
            let cure = match run.state {
                State::Reporting => "its report cannot show rows; deliver the file again",
                state if state.is_over() => "rows of it cannot be tried again; deliver the file again",
                _ => "it is fetched again as long as its input is in the inbox; else deliver it again",
            };
            findings.push(of_run("spool-missing", run, format!("is {} and the copy of its file is gone", run.state), cure));
        }
        if run.kind == RunKind::Retry && !run.state.is_over() {
            let mut owner = run;
            while let (RunKind::Retry, Some(parent)) = (owner.kind, owner.parent.as_deref().and_then(|parent| runs.get(parent))) {
                owner = parent;
            }
            if !is_there(&owner.id) {
                let what = format!("is {} and the copy of the file of run {} is gone", run.state, owner.id);
                findings.push(of_run("spool-missing", run, what, format!("stop run {} and deliver the file again", run.id)));
            }
        }
    }
}

/// What servers hold, as far as they can be reached.
#[derive(Default)]
pub struct Elsewhere {
    pub findings: Vec<Finding>,
    /// Places that could not be looked at, with the reason.
    pub unreachable: Vec<String>,
}

/// Reports, and inputs that were put away, of runs that ended since then: people tidy older ones away.
pub fn elsewhere(config: &Config, ledger: &dyn Ledger, runs: &[Run], since: DateTime<Utc>) -> Elsewhere {
    let mut all = Elsewhere::default();
    for feed in config.feeds.values() {
        let ended = |run: &&Run| run.feed == feed.name && run.state.is_over() && run.detail.ended_at.is_some_and(|at| at >= since);
        let of_feed: Vec<&Run> = runs.iter().filter(ended).collect();
        for (place, result) in [
            (&feed.reports.source.name, reports(feed, ledger, &of_feed, &mut all.findings)),
            (&feed.source.name, inputs(feed, &of_feed, &mut all.findings)),
        ] {
            if let Err(error) = result {
                all.unreachable.push(format!("feed {}, source {place}: {error}", feed.name));
            }
        }
    }
    all
}

fn reports(feed: &Feed, ledger: &dyn Ledger, runs: &[&Run], findings: &mut Vec<Finding>) -> Result<(), SourceError> {
    let folder = feed.reports.folder.as_bstr();
    let mut source = connector(&feed.reports.source.kind).connect()?;
    let entries = match source.list(folder) {
        Err(SourceError::NotFound(_)) => Vec::new(),
        other => other?,
    };
    let there: BTreeMap<String, &Entry> =
        entries.iter().filter(|entry| is_file(entry)).map(|entry| (show_name(&entry.name), entry)).collect();
    for run in runs {
        for report in &run.detail.reports {
            let place = format!("{} at source {}", join(folder, report.name.as_bytes().as_bstr()), feed.reports.source.name);
            let mut found = |name, what: &str, cure: &str| {
                let run = Some(run.id.clone());
                findings.push(Finding { finding: name, run, place: place.clone(), what: what.into(), cure: cure.into() });
            };
            match there.get(&report.name) {
                None => {
                    found("report-missing", "is not there", "fine if somebody tidied it away; passferry show RUN --rows shows the same");
                }
                Some(entry) if !is_as_written(&mut *source, feed, entry, report)? => found(
                    "report-changed",
                    "is not what was written",
                    "fine if somebody edited it; dropped into the inbox it is taken as a correction",
                ),
                Some(_) => {}
            }
        }
    }
    for unknown in super::unknown::find(feed, ledger, &mut *source)? {
        let place = format!("{} at source {}", join(folder, unknown.name.as_bytes().as_bstr()), feed.reports.source.name);
        let cure = "the ledger was lost or is an older copy: rows that add may have been applied; look before you approve";
        findings.push(Finding { finding: "report-unknown", run: Some(unknown.run), place, what: unknown.why, cure: cure.into() });
    }
    Ok(())
}

fn is_file(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && name_fault(entry.name.as_bstr()).is_none()
}

fn is_as_written(source: &mut dyn Source, feed: &Feed, entry: &Entry, report: &ReportFile) -> Result<bool, SourceError> {
    use sha2::{Digest, Sha256};
    if entry.size != report.bytes {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    source.read(join(feed.reports.folder.as_bstr(), entry.name.as_bstr()).as_bstr(), REPORT_MAX, &mut |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok(crate::spool::hex(&hash.finalize()) == report.sha256)
}

fn inputs(feed: &Feed, runs: &[&Run], findings: &mut Vec<Finding>) -> Result<(), SourceError> {
    let put_away: Vec<(&Run, &BString)> =
        runs.iter().filter(|run| run.source == feed.source.name).filter_map(|run| Some((*run, run.detail.archived.as_ref()?))).collect();
    if put_away.is_empty() {
        return Ok(());
    }
    let mut source = connector(&feed.source.kind).connect()?;
    let files: Vec<(&Run, BString, BString, u64, i64)> = put_away.into_iter().flat_map(|(run, to)| files_of(run, to)).collect();
    for (run, inbox, to, size, mtime) in &files {
        let mut found = |name, place: &BString, what: &str, cure: &str| {
            let place = format!("{} at source {}", show_name(place), feed.source.name);
            findings.push(Finding { finding: name, run: Some(run.id.clone()), place, what: what.into(), cure: cure.into() });
        };
        let still = source.stat(inbox.as_bstr())?.is_some_and(|entry| (entry.size, entry.mtime) == (*size, *mtime));
        match source.stat(to.as_bstr())? {
            None if still => {
                found("input-not-moved", inbox, "is still in the inbox, and its run is over", "it would be taken again; move it away");
            }
            None => {
                found("input-missing", to, "is not where the input was put", "fine if somebody tidied it away");
            }
            Some(entry) if entry.size != *size => {
                found("input-changed", to, "has another size than the input had", "somebody changed or replaced it; nothing here is wrong");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where the files of an input were, and where they went, with the size and time that they had.
fn files_of<'r>(run: &'r Run, to: &BString) -> Vec<(&'r Run, BString, BString, u64, i64)> {
    if run.parts().is_empty() {
        return vec![(run, join(run.folder.as_bstr(), run.name.as_bstr()), to.clone(), run.size, run.mtime)];
    }
    let file = |part: &Part| {
        let (from, to) = (put_away::delivered(run, part.path.as_bstr()), put_away::destination(to.as_bstr(), run, part.path.as_bstr()));
        (run, from, to, part.size, part.mtime)
    };
    run.parts().iter().map(file).collect()
}
