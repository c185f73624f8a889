//! What is told of runs and rows: the same in commands, on the review page and in its API.

pub mod alerts;
pub mod explained;
pub mod rows;
pub mod shown;
pub mod status;
pub mod words;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ledger::{Ledger, Run, RunKind, State};
use crate::outcome::Tally;
use crate::page::words::count;
use crate::pipeline::report::Names;
pub use crate::pipeline::report::json::needing_person;
use crate::schema::{Columns, Schema};
pub use rows::{AddLine, ProblemLine, RowLine, Rows, outcome};

/// One run in a line.
#[derive(Serialize, JsonSchema)]
pub struct RunLine {
    pub run: String,
    pub feed: String,
    pub file: String,
    pub kind: RunKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    pub state: State,
    pub seen_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    pub records: u64,
    pub rows: BTreeMap<&'static str, u64>,
    pub needs_person: u64,
    pub requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Guards that hold it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<String>,
    /// Rows still to be sent, while it is applying or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_send: Option<u64>,
}

impl RunLine {
    pub fn of(run: &Run, ledger: &dyn Ledger) -> anyhow::Result<RunLine> {
        let detail = &run.detail;
        let waiting = matches!(run.state, State::Held | State::Applying | State::Paused);
        // Of a run that is being applied the counts in the ledger are ahead of those in its own line.
        let mut tally = detail.tally.clone();
        if waiting && run.state != State::Held {
            tally = detail.counted.clone();
            tally.merge(&ledger.tally(&run.id)?);
        }
        Ok(RunLine {
            run: run.id.clone(),
            feed: run.feed.clone(),
            file: run.shown_name(),
            kind: run.kind,
            parent: run.parent.clone(),
            state: run.state,
            seen_at: detail.seen_at,
            ended_at: detail.ended_at,
            records: records(run),
            rows: by_outcome(&tally),
            needs_person: needing_person(run),
            requests: detail.requests,
            cause: cause(run),
            held_by: held_by(run),
            to_send: waiting.then(|| records(run).saturating_sub(tally.total())),
        })
    }

    /// What there is to say beside the numbers.
    pub fn note(&self) -> String {
        match self.state {
            State::Held => format!("held by {}", self.held_by.join(", ")),
            State::Applying | State::Paused => {
                let done: u64 = self.rows.values().sum();
                let progress = format!("{} of {} rows done", count(done), count(self.records));
                self.cause.as_ref().map_or(progress.clone(), |cause| format!("{progress}; {cause}"))
            }
            _ => self.cause.clone().unwrap_or_default(),
        }
    }
}

pub fn records(run: &Run) -> u64 {
    if !run.detail.picked.is_empty() {
        return run.detail.picked.len() as u64;
    }
    run.detail.facts.as_ref().map_or(run.detail.tally.total(), |facts| facts.records)
}

pub fn by_outcome(tally: &Tally) -> BTreeMap<&'static str, u64> {
    tally.0.iter().map(|(outcome, &count)| (outcome.as_str(), count)).collect()
}

fn cause(run: &Run) -> Option<String> {
    let fault = run.detail.fault.as_ref().map(|fault| format!("{}: {}", fault.code, fault.message));
    let nothing_new = run.detail.nothing_new.then(|| "nothing new".to_owned());
    fault.or_else(|| run.detail.waits.clone()).or_else(|| run.detail.cause.clone()).or(nothing_new)
}

pub fn held_by(run: &Run) -> Vec<String> {
    if run.state != State::Held {
        return Vec::new();
    }
    run.detail.verdicts.iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard.clone()).collect()
}

/// The names under which its reports were written, or would be.
pub fn names(run: &Run) -> Names {
    let written = |names: &Names| run.detail.reports.iter().any(|report| report.name == names.report);
    let mut all = Names::candidates(run, run.detail.reports.iter().any(|report| !report.encrypted_for.is_empty()));
    let plain = all.next().expect("the plain name is always one");
    if run.detail.reports.is_empty() || written(&plain) { plain } else { all.find(written).unwrap_or(plain) }
}

/// Is a column personal? What the schema does not know counts as that.
pub fn is_personal(schema: &Schema, columns: &Columns, column: usize) -> bool {
    columns.field_of_column.get(column).copied().flatten().is_none_or(|field| schema.fields()[field].personal)
}
