//! Retention: personal data goes when its time is over, and so does what a killed process left.
//!
//! What goes: copies of files of runs that are over, and what rows and runs quote of them. What stays: runs with their counts, codes and
//! hashes, rows with their outcome and place, and digests (baseline, passes). Runs with a row in doubt keep all until it is settled. Keys of
//! adds have a time of their own, the longest: without them an old file would add again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::{in_use, needs_copy};
use crate::config::meant::Config;
use crate::ledger::keeping::{OLD_FORMAT, Removed, Why};
use crate::ledger::{Fence, Ledger, Run, RunFilter, State};
use crate::outcome::Outcome;
use crate::spool::{Spool, SpoolEntry, private_file};
use crate::stop::Stop;

/// Time between two sweeps, over restarts too.
const EVERY: Duration = Duration::from_hours(24);
/// A daemon waits this long for a moment in which nothing is applied, since the ledger is written anew afterwards.
const PATIENCE: Duration = Duration::from_hours(12);
/// How often it looks for such a moment.
const LOOK: Duration = Duration::from_mins(1);
/// Holds the retention of the last sweep; its time is the sweep's.
const MARK: &str = "retention";
/// Rows changed in one transaction.
const ROWS: u64 = 2000;

/// What a sweep deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Runs whose time was over.
    pub runs: u64,
    /// Files in the state directory.
    pub files: u64,
}

/// Deletes what a killed process left in the spool. Only before any run is taken up: scratch of a living process looks the same.
pub fn tidy(config: &Config, ledger: &dyn Ledger, spool: &Spool) -> anyhow::Result<Swept> {
    let mut swept = Swept::default();
    spool.sweep().context("the spool")?;
    let used = in_use(ledger)?;
    for SpoolEntry { path, run, .. } in spool.entries().context("the spool")? {
        let Some(id) = run else { continue };
        let left = match ledger.run(&id)? {
            Some(run) => run.state.is_over() && !needs_copy(&run) && !used.contains(&id),
            // Perhaps the ledger is the wrong one. What it may be good for, it may be good for as long as anything.
            None => is_older(&path, config.retention),
        };
        if left {
            swept.files += u64::from(delete(&path)?);
        }
    }
    Ok(swept)
}

/// Deletes personal data whose time is over.
pub fn sweep(config: &Config, ledger: &dyn Ledger, fence: Fence, spool: &Spool, stop: &Stop) -> anyhow::Result<Swept> {
    let (now, since) = (Utc::now(), super::ago(config.retention));
    let mut swept = old_formats(config)?;
    let used = in_use(ledger)?;
    let over: Vec<State> = State::ALL.into_iter().filter(|state| state.is_over()).collect();
    for run in ledger.runs(&RunFilter { states: over, ..RunFilter::default() })?.iter().rev() {
        if stop.is_draining() {
            return Ok(swept);
        }
        if is_due(run, since, &used) {
            while ledger.remove_details(fence, &run.id, ROWS)? == ROWS {}
            spool.remove(&run.id).context("the spool")?;
            // Last: until this is written, the next sweep does it all again.
            ledger.remove_words(fence, &run.id, &Removed { at: now, why: Why::Retention })?;
            swept.runs += 1;
        }
    }
    while ledger.remove_keys(fence, super::ago(config.key_retention), ROWS)? == ROWS {}
    super::hosted::remove_keys(config)?;
    if swept.runs > 0 {
        info!(runs = swept.runs, "personal data was deleted: its retention time is over");
    }
    Ok(swept)
}

/// A run with a row in doubt is kept until somebody settled it: the file and the row are what there is to go by.
fn is_due(run: &Run, since: DateTime<Utc>, used: &BTreeSet<String>) -> bool {
    let done = run.detail.removed.as_ref().is_some_and(|removed| removed.why == Why::Retention);
    let in_doubt = run.detail.tally.get(Outcome::InDoubt) > 0 || run.state == State::DoneInDoubt;
    !done && !in_doubt && !used.contains(&run.id) && run.detail.ended_at.unwrap_or(run.detail.seen_at) < since
}

/// Copies of the ledger in its older formats hold what it held then.
fn old_formats(config: &Config) -> anyhow::Result<Swept> {
    let mut swept = Swept::default();
    for path in old_format_copies(&config.state)? {
        if is_older(&path, config.retention) {
            swept.files += u64::from(delete(&path)?);
        }
    }
    Ok(swept)
}

/// Copies that were made before the ledger's format changed.
pub fn old_format_copies(state: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(state).with_context(|| state.display().to_string())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OLD_FORMAT)) {
            copies.push(path);
        }
    }
    Ok(copies)
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = path.symlink_metadata().and_then(|meta| meta.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|passed| passed > age))
}

/// Deletes a file, or a folder of scratch files. False when it was gone already.
pub fn delete(path: &Path) -> anyhow::Result<bool> {
    let result = if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot delete {}", path.display())),
    }
}

/// Sweeps once a day for as long as the daemon runs.
pub fn keep(config: &Config, ledger: &dyn Ledger, fence: Fence, spool: &Spool, stop: &Stop) {
    loop {
        let since = since_last(config);
        let is_busy = || {
            let states = vec![State::Checked, State::Applying];
            ledger.runs(&RunFilter { states, limit: Some(1), ..RunFilter::default() }).is_ok_and(|runs| !runs.is_empty())
        };
        if since.is_none_or(|since| since >= EVERY) && (since.is_some_and(|since| since >= EVERY + PATIENCE) || !is_busy()) {
            today(config, ledger, fence, spool, stop);
        }
        if stop.wait(LOOK) {
            return;
        }
    }
}

/// Sweeps unless that was done within a day.
pub fn daily(config: &Config, ledger: &dyn Ledger, fence: Fence, spool: &Spool, stop: &Stop) {
    if since_last(config).is_none_or(|since| since >= EVERY) {
        today(config, ledger, fence, spool, stop);
    }
}

/// Sweeps, and writes the ledger anew when something was deleted. Trouble is told in the log: the work of the day goes on.
fn today(config: &Config, ledger: &dyn Ledger, fence: Fence, spool: &Spool, stop: &Stop) {
    let swept = match sweep(config, ledger, fence, spool, stop) {
        Ok(swept) => swept,
        Err(error) => return warn!("personal data whose retention time is over cannot be deleted: {error:#}"),
    };
    // Pages that were moved about may still hold old bytes.
    if swept.runs > 0
        && let Err(error) = ledger.compact()
    {
        warn!(
            "what was deleted is out of every table, but its bytes may still be in the ledger's file, which cannot be compacted: {error}"
        );
    }
    if !stop.is_draining()
        && let Err(error) = private_file(&config.state.join(MARK)).and_then(|mut mark| mark.write_all(told(config).as_ref()))
    {
        warn!("that retention was looked after cannot be noted: {error}");
    }
}

/// Time since the last sweep under this retention; none when there was none.
fn since_last(config: &Config) -> Option<Duration> {
    let mark = config.state.join(MARK);
    let same = fs::read_to_string(&mark).is_ok_and(|text| text == told(config));
    // A mark of the future says nothing.
    same.then(|| SystemTime::now().duration_since(mark.metadata().ok()?.modified().ok()?).ok()).flatten()
}

fn told(config: &Config) -> String {
    format!("{}\n", humantime::format_duration(config.retention))
}
