//! All that is known of a run.

use schemars::JsonSchema;
use serde::Serialize;

use super::{names, needing_person};
use crate::ledger::keeping::Removed;
use crate::ledger::run::{ReportFile, Wish};
use crate::ledger::{Ledger, Run, State};
use crate::outcome::Tally;
use crate::pipeline::report::Report;

#[derive(Serialize, JsonSchema)]
pub struct Shown {
    /// The run itself, with counts as they are now.
    #[serde(skip)]
    pub of: Run,
    #[serde(flatten)]
    pub report: Report,
    /// Rows that wait for somebody: to be corrected, or for a decision.
    pub needs_person: u64,
    /// Why it is paused or ended early, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub reports: Vec<ReportFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<String>,
    /// The copy of its file was deleted: rows are shown without cells, and after retention without what was wrong with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
    /// Asked for and not yet carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wish>,
}

impl Shown {
    /// Counts the rows of a run that is being applied.
    pub fn of(run: Run, ledger: &dyn Ledger) -> anyhow::Result<Shown> {
        let live = if is_live(&run) { Some(live_counts(&run, ledger)?) } else { None };
        Shown::with(run, live, ledger)
    }

    /// With counts of a run that is being applied, where they are known.
    pub fn with(mut run: Run, live: Option<Tally>, ledger: &dyn Ledger) -> anyhow::Result<Shown> {
        if let Some(live) = live {
            run.detail.tally = live;
        }
        Ok(Shown {
            report: Report::of(&run, &names(&run)),
            needs_person: needing_person(&run),
            cause: run.detail.cause.clone(),
            reports: run.detail.reports.clone(),
            archived: run.detail.archived.as_ref().map(crate::ledger::run::show_name),
            removed: run.detail.removed.clone(),
            wish: ledger.peek_wish(&run.id)?,
            of: run,
        })
    }
}

/// While a run is applied its own line lags behind its rows.
pub fn is_live(run: &Run) -> bool {
    matches!(run.state, State::Applying | State::Paused)
}

/// Counts by outcome of a run that is being applied. Reads all its rows.
pub fn live_counts(run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Tally> {
    let mut tally = run.detail.counted.clone();
    tally.merge(&ledger.tally(&run.id)?);
    Ok(tally)
}
