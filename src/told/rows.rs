//! Rows as they are told: what they hold, what is wrong with them, what was done.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::words;
use crate::config::meant::Config;
use crate::ledger::{KeyNote, KeyState, Ledger, OperationNote, Row, Run, Settlement, Settling};
use crate::outcome::Outcome;
use crate::page::words::{MASK, without};
use crate::pipeline::hand::FileInHand;
use crate::pipeline::looking::Looking;

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
    /// A decision that waits for whoever carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Settlement>,
}

impl AddLine {
    fn of(note: KeyNote, asked: &[Settling]) -> AddLine {
        let asked = asked.iter().find(|settling| settling.is_about(&note.run, note.line, note.key));
        AddLine {
            key: note.key.to_string(),
            amount: note.amount,
            state: note.state,
            at: note.at,
            evidence: note.evidence,
            settled: note.settled,
            asked: asked.map(|settling| settling.settlement.clone()),
        }
    }

    fn words(&self) -> String {
        let amount = if self.amount.is_empty() { String::new() } else { format!(" {}", self.amount) };
        let told = |settled: &Settlement, waits: &str| {
            format!(
                "; {waits}settled {} by {} {}: {}",
                settled.decision.as_str(),
                settled.by,
                words::time(settled.at),
                settled.reason.escape_debug()
            )
        };
        let settled = self.settled.as_ref().map(|settled| told(settled, "")).unwrap_or_default();
        let asked = self.asked.as_ref().map(|asked| told(asked, "not yet carried out: ")).unwrap_or_default();
        format!("{}{amount} {} {}{settled}{asked}", self.key, self.state.as_str(), words::time(self.at))
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

/// The rows of a run, and as much of its file as is still here.
pub struct Rows<'r> {
    run: &'r Run,
    ledger: Arc<dyn Ledger>,
    /// None when the copy is gone, or the feed with its schema.
    hand: Option<FileInHand>,
    show_personal: bool,
    /// Decisions about adds that wait.
    asked: Vec<Settling>,
}

impl<'r> Rows<'r> {
    pub fn of(config: &Arc<Config>, ledger: &Arc<dyn Ledger>, run: &'r Run, show_personal: bool) -> anyhow::Result<Rows<'r>> {
        let looking = Looking::new(Arc::clone(config), Arc::clone(ledger)).ok();
        let hand = looking.and_then(|looking| FileInHand::open(&looking, run).ok()?.ok());
        Ok(Rows { run, ledger: Arc::clone(ledger), hand, show_personal, asked: ledger.to_settle()? })
    }

    /// The file, for those who do more with it than tell.
    pub fn hand(&self) -> Option<&FileInHand> {
        self.hand.as_ref()
    }

    /// Label of one of the data's own columns.
    pub fn label(&self, column: usize) -> Option<&str> {
        self.hand.as_ref()?.labels().get(column).map(String::as_str)
    }

    /// A row's cells as they came, personal ones masked.
    pub fn cells(&self, row: &Row) -> Option<Vec<String>> {
        let masked = self.as_came(row)?.into_iter().enumerate().map(|(index, cell)| {
            let hide = self.is_hidden(index) && !cell.is_empty();
            if hide { MASK.to_owned() } else { cell }
        });
        Some(masked.collect())
    }

    fn as_came(&self, row: &Row) -> Option<Vec<String>> {
        self.hand.as_ref()?.as_came(row).ok()
    }

    fn is_hidden(&self, column: usize) -> bool {
        !self.show_personal && self.hand.as_ref().and_then(|hand| hand.personal().get(column).copied()).unwrap_or(true)
    }

    pub fn line(&self, mut row: Row) -> anyhow::Result<RowLine> {
        let mut keys = self.ledger.keys_of_line(&self.run.id, row.line)?;
        let cells = self.cells(&row);
        self.mask(&mut row, &mut keys);
        let outcome = outcome(&row);
        let problems = row.detail.problems.into_iter().map(|problem| {
            let column = problem.column.map(|column| column as usize);
            ProblemLine {
                code: problem.code.as_str(),
                column: column.and_then(|column| self.label(column)).map(str::to_owned),
                constraint: problem.constraint,
                message: problem.message,
                cell: column.and_then(|column| cells.as_ref()?.get(column).cloned()),
                suggestion: problem.suggestion,
            }
        });
        Ok(RowLine {
            run: self.run.id.clone(),
            line: row.line,
            part: self.run.place_of_line(row.line),
            record: row.record,
            operation: row.verb.as_str(),
            outcome,
            problems: problems.collect(),
            operations: row.detail.operations,
            adds: keys.into_iter().map(|note| AddLine::of(note, &self.asked)).collect(),
        })
    }

    /// Masks in words about a row what its hidden cells hold: a platform may repeat what it was sent. Where it is not known any more
    /// what they held, all of the words.
    fn mask(&self, row: &mut Row, keys: &mut [KeyNote]) {
        if self.show_personal {
            return;
        }
        let cells = self.as_came(row);
        let hidden: Option<Vec<&str>> = cells.as_ref().map(|cells| {
            let hidden = cells.iter().enumerate().filter(|(index, _)| self.is_hidden(*index));
            hidden.map(|(_, cell)| cell.as_str()).collect()
        });
        let mask = |words: &mut String| match &hidden {
            Some(hidden) => *words = without(words, hidden.iter().copied()),
            None if words.is_empty() => {}
            None => MASK.clone_into(words),
        };
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
