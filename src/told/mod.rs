//! What is told of runs and rows: the same in commands, on the review page and in its API.

pub mod alerts;
pub mod explained;
pub mod shown;
pub mod status;
pub mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::meant::Config;
use crate::ledger::{KeyNote, KeyState, Ledger, OperationNote, Row, Run, RunKind, Settlement, State};
use crate::outcome::{Outcome, Tally};
use crate::page::words::{MASK, count, without};
use crate::pipeline::correction::Correction;
use crate::pipeline::decode::{Dialect, read_record, split_cells};
use crate::pipeline::report::Names;
pub use crate::pipeline::report::json::needing_person;
use crate::schema::{Columns, Schema};
use crate::spool::Spool;

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
            to_send: if waiting { Some(ledger.count_pending(&run.id)?) } else { None },
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

/// The run whose copy in the spool a run reads: a retry has its parent's.
pub fn spool_owner(ledger: &dyn Ledger, run: &Run) -> anyhow::Result<Run> {
    let mut owner = run.clone();
    while let (RunKind::Retry, Some(parent)) = (owner.kind, &owner.parent) {
        match ledger.run(parent)? {
            Some(parent) => owner = parent,
            None => break,
        }
    }
    Ok(owner)
}

/// A row in a line.
#[derive(Serialize, JsonSchema)]
pub struct RowLine {
    pub run: String,
    pub line: u64,
    /// Of a set: the part that it stands in, and its line there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    pub record: u64,
    pub operation: &'static str,
    /// `to-send` while it is to be done.
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationNote>,
    /// Its adds, as far as they were written down to be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<AddLine>,
}

/// An add, and what is known of its effect.
#[derive(Serialize, JsonSchema)]
pub struct AddLine {
    /// What the platform was given as the event's own identifier.
    pub key: String,
    pub amount: String,
    pub state: KeyState,
    pub at: DateTime<Utc>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settlement>,
}

impl AddLine {
    fn of(note: KeyNote) -> AddLine {
        AddLine {
            key: note.key.to_string(),
            amount: note.amount,
            state: note.state,
            at: note.at,
            evidence: note.evidence,
            settled: note.settled,
        }
    }

    fn words(&self) -> String {
        let amount = if self.amount.is_empty() { String::new() } else { format!(" {}", self.amount) };
        let settled = self.settled.as_ref().map(|settled| {
            format!(
                "; settled {} by {} {}: {}",
                settled.decision.as_str(),
                settled.by,
                words::time(settled.at),
                settled.reason.escape_debug()
            )
        });
        format!("{}{amount} {} {}{}", self.key, self.state.as_str(), words::time(self.at), settled.unwrap_or_default())
    }
}

#[derive(Serialize, JsonSchema)]
pub struct ProblemLine {
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    pub message: String,
    /// Masked where the column is personal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

pub fn outcome(row: &Row) -> &'static str {
    row.outcome.map_or("to-send", Outcome::as_str)
}

impl RowLine {
    pub fn of(run: &str, mut row: Row, cells: Option<&Cells>, mut keys: Vec<KeyNote>) -> RowLine {
        let outcome = outcome(&row);
        let read = cells.and_then(|cells| cells.read(&row));
        if let Some(cells) = cells {
            cells.mask(&mut row, &mut keys);
        }
        let problems = row.detail.problems.into_iter().map(|problem| {
            let column = problem.column.map(|column| column as usize);
            ProblemLine {
                code: problem.code.as_str(),
                column: column.and_then(|column| cells.and_then(|cells| cells.labels.get(column)).cloned()),
                constraint: problem.constraint,
                message: problem.message,
                cell: column.and_then(|column| read.as_ref()?.get(column).cloned()),
                suggestion: problem.suggestion,
            }
        });
        RowLine {
            run: run.to_owned(),
            line: row.line,
            part: None,
            record: row.record,
            operation: row.verb.as_str(),
            outcome,
            problems: problems.collect(),
            operations: row.detail.operations,
            adds: keys.into_iter().map(AddLine::of).collect(),
        }
    }

    /// Says in which part of a set it stands.
    #[must_use]
    pub fn of_set(mut self, run: &Run) -> RowLine {
        self.part = run.place_of_line(self.line);
        self
    }

    /// Every problem and failed operation, for people.
    pub fn words(&self) -> Vec<String> {
        let problems = self.problems.iter().map(|problem| {
            let column = problem.column.as_deref().map(|column| format!("{}: ", column.escape_debug())).unwrap_or_default();
            let cell = problem.cell.as_deref().filter(|cell| !cell.is_empty());
            let cell = cell.map(|cell| format!(" [{}]", cell.escape_debug())).unwrap_or_default();
            format!("{column}{} {}{cell}", problem.code, problem.message)
        });
        let operations = self.operations.iter().map(|note| {
            let code = note.code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {}{code} {}", note.operation, note.outcome, note.message).trim_end().to_owned()
        });
        problems.chain(operations).chain(self.adds.iter().map(AddLine::words)).collect()
    }
}

/// The cells of a run's rows, as far as its file is still in the spool.
pub struct Cells {
    text: File,
    dialect: Dialect,
    /// Labels of the data's own columns.
    pub labels: Vec<String>,
    correction: Option<Correction>,
    hidden: Vec<bool>,
}

impl Cells {
    /// None when the file is gone, or the feed with its schema.
    pub fn of(config: &Config, ledger: &dyn Ledger, run: &Run, show_personal: bool) -> Option<Cells> {
        let owner = spool_owner(ledger, run).ok()?;
        let spool = Spool::open(&config.state).ok()?;
        let text = File::open(spool.text(&owner.id)).or_else(|_| File::open(spool.data(&owner.id))).ok()?;
        let dialect = run.detail.dialect.clone().or_else(|| owner.detail.dialect.clone())?;
        let all = if run.detail.labels.is_empty() { owner.detail.labels.clone() } else { run.detail.labels.clone() };
        let correction = match owner.kind {
            RunKind::Correction => Correction::new(&all, owner.parent.clone().unwrap_or_default()),
            _ => None,
        };
        let labels = correction.as_ref().map_or_else(|| all.clone(), |correction| correction.data_labels(&all));
        let feed = crate::format::shape(config.feeds.get(&run.feed)?, &labels).ok()?;
        let schema = Schema::parse(&feed.schema_text).ok()?;
        let columns: Option<Columns> = schema.columns(dialect.header.then_some(&*labels)).ok();
        let labels = if dialect.header { labels } else { schema.fields().iter().map(|field| field.name.clone()).collect::<Vec<_>>() };
        let hide = |column| !show_personal && columns.as_ref().is_none_or(|columns| is_personal(&schema, columns, column));
        Some(Cells { text, hidden: (0..labels.len()).map(hide).collect(), dialect: Dialect::of(&dialect), labels, correction })
    }

    /// The row's cells, personal ones masked.
    pub fn read(&self, row: &Row) -> Option<Vec<String>> {
        let masked = self.as_came(row)?.into_iter().enumerate().map(|(index, cell)| {
            let hide = self.is_hidden(index) && !cell.is_empty();
            if hide { MASK.to_owned() } else { cell }
        });
        Some(masked.collect())
    }

    fn as_came(&self, row: &Row) -> Option<Vec<String>> {
        let raw = read_record(&self.text, row.offset, row.length).ok()?;
        let mut cells: Vec<Cow<'_, str>> = Vec::new();
        split_cells(&raw, &self.dialect, &mut cells);
        if let Some(correction) = &self.correction {
            let _ = correction.take(&mut cells);
        }
        Some(cells.into_iter().map(Cow::into_owned).collect())
    }

    fn is_hidden(&self, column: usize) -> bool {
        self.hidden.get(column).copied().unwrap_or(true)
    }

    /// Masks in words about a row what its hidden cells hold: a platform may repeat what it was sent.
    fn mask(&self, row: &mut Row, keys: &mut [KeyNote]) {
        let Some(cells) = self.as_came(row) else { return };
        let hidden: Vec<&str> = cells.iter().enumerate().filter(|(index, _)| self.is_hidden(*index)).map(|(_, cell)| cell.trim()).collect();
        let mask = |words: &mut String| *words = without(words, hidden.iter().copied());
        for problem in &mut row.detail.problems {
            mask(&mut problem.message);
            problem.suggestion.iter_mut().for_each(mask);
        }
        for note in &mut row.detail.operations {
            mask(&mut note.message);
        }
        for note in keys {
            mask(&mut note.evidence);
        }
    }
}

/// Is a column personal? What the schema does not know counts as that.
pub fn is_personal(schema: &Schema, columns: &Columns, column: usize) -> bool {
    columns.field_of_column.get(column).copied().flatten().is_none_or(|field| schema.fields()[field].personal)
}
