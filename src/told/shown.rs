//! All that is known of a run.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::{names, needing_person};
use crate::config::meant::{Config, Platform};
use crate::ledger::keeping::Removed;
use crate::ledger::run::{ReportFile, Wish};
use crate::ledger::{Ledger, Run, State};
use crate::outcome::Tally;
use crate::pipeline::report::Report;
use crate::platform;

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
    /// How long its requests take, while they are still to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
}

/// How long requests take at the account's allowance, at least: others may use the account too.
#[derive(Serialize, JsonSchema)]
pub struct Pace {
    pub requests_per_second: f64,
    pub seconds: u64,
}

impl Pace {
    pub fn of(settings: &Platform, requests: u64) -> Pace {
        let requests_per_second = settings.allowance.unwrap_or_else(|| platform::open(settings).limits().per_second);
        Pace { requests_per_second, seconds: (requests as f64 / requests_per_second).ceil() as u64 }
    }

    pub fn words(&self) -> String {
        let time = humantime::format_duration(Duration::from_secs(self.seconds));
        format!("at {} requests a second: {time} or more", self.requests_per_second)
    }
}

impl Shown {
    /// Counts the rows of a run that is being applied.
    pub fn of(config: &Config, run: Run, ledger: &dyn Ledger) -> anyhow::Result<Shown> {
        let live = if is_live(&run) { Some(live_counts(&run, ledger)?) } else { None };
        Shown::with(config, run, live, ledger)
    }

    /// With counts of a run that is being applied, where they are known.
    pub fn with(config: &Config, mut run: Run, live: Option<Tally>, ledger: &dyn Ledger) -> anyhow::Result<Shown> {
        if let Some(live) = live {
            run.detail.tally = live;
        }
        let feed = config.feeds.get(&run.feed).filter(|_| run.detail.moves.requests > 0 && !run.state.is_over());
        Ok(Shown {
            pace: feed.map(|feed| Pace::of(&feed.platform, run.detail.moves.requests)),
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
