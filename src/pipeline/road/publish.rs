//! Reports at their place: writing them, and knowing them again.

use std::collections::HashMap;
use std::sync::PoisonError;

use bstr::{BStr, BString, ByteSlice};
use tracing::warn;

use super::Road;
use crate::config::meant::Feed;
use crate::keeping::unknown::UnknownReport;
use crate::ledger::run::ReportFile;
use crate::ledger::{Run, RunFilter, State};
use crate::outcome::{Outcome, Tally};
use crate::pipeline::hand::FileInHand;
use crate::pipeline::report::{self, Names, RowSource};
use crate::source::link::Link;
use crate::source::{EntryKind, SourceError, join};

/// Size and mtime by folder and name.
pub(super) type OwnReports = HashMap<(BString, BString), (u64, i64)>;

impl Road {
    /// Reports of ours that this ledger does not know, as far as a feed has to mind them: those of feeds that add.
    pub fn unknown_reports(&self, feed: &Feed) -> anyhow::Result<Vec<UnknownReport>> {
        if !feed.may_add() {
            return Ok(Vec::new());
        }
        Ok(self.unknown.of(feed, &*self.ledger, self.link(&feed.reports.source.name)?)?)
    }

    /// Somebody approved a file that was held for such reports.
    pub fn accept_reports(&self, feed: &Feed, by: &str) -> anyhow::Result<()> {
        self.unknown.accept(feed, &*self.ledger, self.fence, self.link(&feed.reports.source.name)?, by)
    }

    /// Is the fetched file a report of ours that nobody changed?
    pub fn is_own_report(&self, run: &Run) -> anyhow::Result<bool> {
        if !crate::pipeline::discover::is_errors_report(run.name.as_bstr()) {
            return Ok(false);
        }
        let runs = self.ledger.runs(&RunFilter { limit: Some(1000), ..RunFilter::default() })?;
        Ok(runs.iter().flat_map(|past| &past.detail.reports).any(|report| Some(&report.sha256) == run.sha256.as_ref()))
    }

    /// Takes back the run that was opened for an untouched report.
    pub fn forget_own_report(&self, run: &Run) -> anyhow::Result<()> {
        self.spool.remove(&run.id)?;
        self.own_reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((run.folder.clone(), run.name.clone()), (run.size, run.mtime));
        Ok(self.ledger.drop_run(self.fence, &run.id)?)
    }

    pub fn own_reports(&self) -> Vec<((BString, BString), (u64, i64))> {
        self.own_reports.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(key, value)| (key.clone(), *value)).collect()
    }

    /// Builds and publishes the reports of a run that ended or is held, with its rows or without. The names are written down before anything is published.
    pub fn publish(&self, run: &mut Run, feed: &Feed, with_rows: bool) -> anyhow::Result<()> {
        let link = self.link(&feed.reports.source.name)?;
        let known = run.detail.reports.first().map(|known| known.name.clone());
        let known = known.and_then(|name| Names::candidates(run).find(|names| names.errors == name || names.report == name));
        let names = match known {
            Some(names) => names,
            None => link.with(|source| report::choose_names(feed, run, source))?,
        };
        let readable =
            with_rows && run.detail.fault.is_none() && run.detail.facts.is_some() && !run.detail.nothing_new && run.sha256.is_some();
        let mut hand = None;
        if readable {
            match FileInHand::open(self, run) {
                Ok(opened) => hand = opened.ok(),
                Err(error) => {
                    warn!("the report has no rows: {error:#}");
                    run.detail.warnings.push(format!("the rows could not be read again: {error:#}"));
                }
            }
        }
        let rows = hand.as_ref().map(FileInHand::rows);
        match self.publish_as(run, feed, link, &names, rows.as_ref()) {
            // Somebody took or changed a name after it was chosen.
            Err(error) if matches!(error.downcast_ref(), Some(SourceError::Exists(_))) => {
                let others = link.with(|source| report::choose_names(feed, run, source))?;
                self.publish_as(run, feed, link, &others, rows.as_ref())
            }
            result => result,
        }
    }

    fn publish_as(&self, run: &mut Run, feed: &Feed, link: &Link, names: &Names, rows: Option<&RowSource<'_>>) -> anyhow::Result<()> {
        let files: Vec<ReportFile> = report::build(run, feed, names, &*self.ledger, rows, &self.spool)?;
        let replaced = std::mem::replace(&mut run.detail.reports, files);
        let fresh = replaced.into_iter().filter(|report| !run.detail.reports.contains(report)).collect::<Vec<_>>();
        run.detail.earlier_reports.extend(fresh);
        let state = if run.state == State::Held { State::Held } else { State::Reporting };
        self.save_as(run, state)?;
        link.with(|source| report::publish(feed, run, names, &self.spool, source))?;
        Ok(())
    }

    /// Counts problems and operations over all rows that the run kept.
    pub fn count_delivery_problems(&self, run: &mut Run) -> anyhow::Result<()> {
        let labels = run.detail.labels.clone();
        let (problems, by_column, operations) = (&mut run.detail.problems, &mut run.detail.problems_by_column, &mut run.detail.operations);
        problems.clear();
        by_column.clear();
        operations.clone_from(&run.detail.counted_operations);
        let outcomes: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Superseded).collect();
        self.ledger.rows(&run.id, &outcomes, &mut |row| {
            for problem in &row.detail.problems {
                *problems.entry(problem.code.as_str().to_owned()).or_default() += 1;
                if let Some(label) = problem.column.and_then(|column| labels.get(column as usize)) {
                    *by_column.entry(label.clone()).or_default().entry(problem.code.as_str().to_owned()).or_default() += 1;
                }
            }
            // A plain success keeps no notes.
            if let Some(add) = row.verb.add().filter(|_| row.detail.operations.is_empty() && row.outcome == Some(Outcome::Applied)) {
                operations.entry(add.to_string()).or_default().add(Outcome::Applied, 1);
            }
            for note in &row.detail.operations {
                operations.entry(note.operation.clone()).or_insert_with(Tally::default).add(note.outcome, 1);
                if let Some(code) = note.code {
                    *problems.entry(code.as_str().to_owned()).or_default() += 1;
                }
            }
            Ok(())
        })
    }

    fn is_our_temporary(&self, feed: &Feed, name: &BStr) -> bool {
        let run = report::run_of_temporary(name).map(|id| self.ledger.run(id));
        matches!(run, Some(Ok(Some(run))) if run.feed == feed.name)
    }

    /// Removes temporary names that a stop left in a feed's report folder. Others may write there too: what is not of a run of this feed stays.
    ///
    /// False when the place cannot be reached.
    pub fn sweep_leftovers(&self, feed: &Feed) -> bool {
        let Ok(link) = self.link(&feed.reports.source.name) else { return true };
        let folder = feed.reports.folder.as_bstr();
        let result = link.with(|source| {
            let Ok(entries) = source.list(folder) else { return Ok(()) };
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File && self.is_our_temporary(feed, entry.name.as_bstr())) {
                source.remove(join(folder, entry.name.as_bstr()).as_bstr())?;
            }
            Ok(())
        });
        if let Err(error) = &result {
            tracing::debug!(feed = feed.name, "left-over temporary reports cannot be removed yet: {error}");
        }
        result.is_ok()
    }
}
