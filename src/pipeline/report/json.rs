//! `STEM.report.json`: the whole run in one document. Its JSON Schema is `schemas/report.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

use crate::ledger::delivered::Part;
use crate::ledger::run::{DialectFacts, FileFacts, Moves, ReportFile, Verdict, show_name};
use crate::ledger::{Run, RunKind, State};
use crate::outcome::{Code, Outcome};

/// What happened to one delivered file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    pub run: String,
    pub feed: String,
    /// `file`, `correction` or `retry`.
    pub kind: RunKind,
    /// The run that a correction or retry continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How the run stands: `done`, `held`, `failed`, …
    pub state: State,
    pub file: FileReport,
    /// Records read. The outcomes in `rows` sum to it.
    pub records: u64,
    /// Rows by outcome. Rows of a held file that are still to be sent are `to-send`.
    pub rows: BTreeMap<String, u64>,
    /// Operations by name and outcome, where a row had more than one or one failed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, BTreeMap<String, u64>>,
    /// Problems by code.
    pub problems: BTreeMap<String, u64>,
    /// Problems by column and code.
    pub problems_by_column: BTreeMap<String, BTreeMap<String, u64>>,
    /// Cause and cure of every code above.
    pub codes: BTreeMap<String, CodeHelp>,
    /// Why the file failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultReport>,
    /// What the guards said, those that hold the file first.
    pub guards: Vec<Verdict>,
    /// How the file would move, or moved, what passes hold.
    pub moves: Moves,
    /// Why it ended early, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Who released a held file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    pub warnings: Vec<String>,
    /// The files that were written beside this one.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub files: Vec<ReportNote>,
    /// What to do next, most important first.
    pub next: Vec<String>,
    /// Requests sent for this run.
    pub requests: u64,
    /// Milliseconds by station of the road.
    pub timings_ms: BTreeMap<String, u64>,
    pub seen_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Hash of the configuration, and the feed's fingerprint, that the run was checked under.
    pub config: String,
    pub fingerprint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FileReport {
    /// The delivered name; bytes that are not text are escaped.
    pub name: String,
    pub source: String,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How it was proved complete.
    pub complete: String,
    /// Of a set: the files that it is made of, in the order in which they were read.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<PartReport>,
    /// Files that belong to it and hold no rows: marker, manifest, checksums, control file.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub beside: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<DialectFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<FileFacts>,
}

/// A file beside the report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportNote {
    pub name: String,
    /// IDs of the OpenPGP keys that it is encrypted for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub encrypted_for: Vec<String>,
}

/// One of the files of a set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PartReport {
    /// From the inbox; bytes that are not text are escaped.
    pub name: String,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Data records in it.
    pub records: u64,
    /// Lines of the parts before it: a line of the set less this is a line of the part.
    pub lines_before: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CodeHelp {
    pub cause: String,
    pub cure: String,
    /// May the same row succeed later without being changed?
    pub retryable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Character in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Byte in the decoded text, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    pub by: String,
    pub at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ReportNote {
    pub fn of(file: &ReportFile) -> ReportNote {
        ReportNote { name: file.name.clone(), encrypted_for: file.encrypted_for.clone() }
    }
}

impl PartReport {
    fn of(part: &Part) -> PartReport {
        let Part { size, sha256, records, lines_before, .. } = part.clone();
        PartReport { name: part.shown(), bytes: size, sha256, records, lines_before }
    }
}

impl Report {
    pub fn of(run: &Run, names: &super::Names) -> Report {
        let detail = &run.detail;
        let codes = detail
            .problems
            .keys()
            .filter_map(|name| Code::parse(name))
            .chain(detail.fault.iter().map(|fault| fault.code))
            .map(|code| {
                let help = code.explain();
                (help.name.to_owned(), CodeHelp { cause: help.cause.into(), cure: help.cure.into(), retryable: help.retryable })
            })
            .collect();
        let mut rows: BTreeMap<String, u64> = detail.tally.0.iter().map(|(outcome, &count)| (outcome.as_str().to_owned(), count)).collect();
        let records = detail.facts.as_ref().map_or(detail.tally.total(), |facts| facts.records);
        let open = if detail.picked.is_empty() { records.saturating_sub(detail.tally.total()) } else { 0 };
        if open > 0 && detail.fault.is_none() {
            rows.insert("to-send".into(), open);
        }
        Report {
            format: 1,
            run: run.id.clone(),
            feed: run.feed.clone(),
            kind: run.kind,
            parent: run.parent.clone(),
            state: run.state,
            file: FileReport {
                name: run.shown_name(),
                source: run.source.clone(),
                bytes: run.size,
                sha256: run.sha256.clone(),
                complete: detail.proof.clone(),
                parts: run.parts().iter().map(PartReport::of).collect(),
                beside: detail.delivered.iter().flat_map(|made_of| &made_of.beside).map(|file| show_name(&file.path)).collect(),
                dialect: detail.dialect.clone(),
                facts: detail.facts.clone(),
            },
            records: if detail.picked.is_empty() { records } else { detail.picked.len() as u64 },
            rows,
            operations: detail
                .operations
                .iter()
                .map(|(name, tally)| (name.clone(), tally.0.iter().map(|(o, &n)| (o.as_str().to_owned(), n)).collect()))
                .collect(),
            problems: detail.problems.clone(),
            problems_by_column: detail.problems_by_column.clone(),
            codes,
            fault: detail.fault.as_ref().map(|fault| FaultReport {
                code: fault.code.as_str().into(),
                line: fault.line,
                column: fault.column,
                offset: fault.offset,
                message: fault.message.clone(),
                suggestion: fault.suggestion.clone(),
            }),
            guards: detail.verdicts.clone(),
            moves: detail.moves.clone(),
            cause: detail.cause.clone(),
            approval: detail.approval.as_ref().map(|wish| Approval { by: wish.by.clone(), at: wish.at, reason: wish.reason.clone() }),
            warnings: detail.warnings.clone(),
            files: detail.reports.iter().filter(|file| file.name != names.report).map(ReportNote::of).collect(),
            next: next_steps(run, names),
            requests: detail.requests,
            timings_ms: detail.timings.clone(),
            seen_at: detail.seen_at,
            ended_at: detail.ended_at,
            config: detail.config_hash.clone(),
            fingerprint: detail.fingerprint.clone(),
        }
    }
}

/// What the reader should do, most important first.
pub fn next_steps(run: &Run, names: &super::Names) -> Vec<String> {
    let detail = &run.detail;
    let mut steps = Vec::new();
    if run.state == State::Held {
        let guards: Vec<&str> = detail.verdicts.iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard.as_str()).collect();
        let sent = match detail.tally.sent() {
            _ if !detail.may_have_sent() => "Nothing was sent".to_owned(),
            0 => "It was held while it was being sent, and no row reached its pass".to_owned(),
            sent => format!("It was held while it was being sent, and {sent} of its rows reached their passes before"),
        };
        steps.push(format!(
            "{sent} ({}). Look at what the guards say and at what would change, then: passferry approve {id}, or passferry discard {id}.",
            guards.join(", "),
            id = run.id
        ));
    }
    if let Some(fault) = &detail.fault {
        let used =
            if detail.tally.total() > 0 { "Rows that were sent before stay as they are; no other was used." } else { "No row was used." };
        steps.push(format!("{used} {}", fault.suggestion.clone().unwrap_or_else(|| fault.code.explain().cure.to_owned())));
    }
    if detail.nothing_new {
        steps.push("Nothing to do: the file equals the last one that was applied.".into());
    }
    let in_doubt = detail.tally.get(Outcome::InDoubt);
    if in_doubt > 0 {
        steps.push(format!(
            "{in_doubt} rows are in doubt: the platform may or may not have applied them. Look at each pass (passferry show {id} --outcome in-doubt \
             names it), then: passferry settle {id}:LINE applied, not-applied or resend.",
            id = run.id
        ));
    }
    let unattempted = detail.tally.get(Outcome::NotAttempted).saturating_sub(kept_back(run));
    let needing = needing_person(run).saturating_sub(unattempted + in_doubt);
    if needing > 0 && run.state != State::Held {
        steps.push(format!(
            "{needing} rows need a person: {}correct the cells in {}, then drop that file back into the inbox. Only those rows are applied.",
            if names.sealed { "decrypt and " } else { "" },
            names.errors
        ));
    }
    let retryable = detail.tally.get(Outcome::Refused) + unattempted;
    if retryable > 0 && run.state.is_over() && detail.continued_by.is_empty() {
        steps.push(format!("Rows that may succeed unchanged can be sent again: passferry retry {}.", run.id));
    }
    let by_mode = [Code::PlanOnly, Code::NotInCanary].iter().any(|code| detail.problems.contains_key(code.as_str()));
    if by_mode && run.state != State::Discarded {
        steps.push("The feed's mode kept rows back. Set mode = \"live\" when you are content with what you see.".into());
    }
    steps
}

/// Codes of rows that wait for a setting, or that somebody decided about. No person is to correct them.
pub const KEPT_BACK: [Code; 5] = [Code::PlanOnly, Code::NotInCanary, Code::Discarded, Code::SettledNotApplied, Code::SettledResend];

/// Rows that still wait for a person: those kept back on purpose and those that a correction or retry took up aside.
pub fn needing_person(run: &Run) -> u64 {
    run.detail.tally.needing_person().saturating_sub(kept_back(run) + run.detail.taken_up)
}

/// Rows kept back on purpose.
pub fn kept_back(run: &Run) -> u64 {
    KEPT_BACK.iter().filter_map(|code| run.detail.problems.get(code.as_str())).sum()
}

/// The JSON Schema of a report, as shipped in `schemas/report.json`: of what is written, where some of it may be absent.
pub fn json_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Report>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/report.json");
        let fresh = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == fresh, "schemas/report.json is old; run the tests once with UPDATE_SCHEMAS=1");
    }
}
