//! A run's file in hand: what is known of it once its header was read, and its rows.

use std::fs::File;
use std::sync::Arc;

use super::correction::Correction;
use super::decode::Dialect;
use super::looking::Kept;
use super::open_text;
use super::report::RowSource;
use super::road::Prepared;
use super::validate::Rules;
use crate::config::meant::Feed;
use crate::ledger::run::Fault;
use crate::ledger::{Run, RunKind};
use crate::outcome::Code;
use crate::schema::{Columns, HeaderFault};

/// What is known of a run's file once its header was read.
pub(super) struct Known {
    /// As it is for this file.
    pub(super) feed: Arc<Feed>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) columns: Columns,
    pub(super) correction: Option<Correction>,
    pub(super) labels: Vec<String>,
    /// SHA-256 of the file as delivered, in hex.
    pub(super) file: String,
}

impl Known {
    pub(super) fn of(kept: &dyn Kept, run: &Run) -> anyhow::Result<Result<Known, Fault>> {
        let (feed, prepared) = match kept.prepared(run)? {
            Ok(both) => both,
            Err(faults) => return Ok(Err(header_fault(run, &faults))),
        };
        let all = &run.detail.labels;
        let mut correction = match run.kind {
            RunKind::Correction => Correction::new(all, run.parent.clone().unwrap_or_default()),
            // The rows of a retry stand in its parent's file, which may be a correction.
            RunKind::Retry => match kept.ledger().run(&kept.spool_owner(run))? {
                Some(owner) if owner.kind == RunKind::Correction => Correction::new(all, owner.parent.unwrap_or_default()),
                _ => None,
            },
            RunKind::File => None,
        };
        let added = match &mut correction {
            Some(correction) => kept.ledger().run(&correction.parent)?.map(|parent| correction.leave_out_added(all, &parent.detail.labels)),
            None => None,
        };
        let labels = correction.as_ref().map_or_else(|| all.clone(), |correction| correction.data_labels(all));
        let header = run.detail.dialect.as_ref().is_none_or(|dialect| dialect.header);
        let columns = match prepared.schema.columns(header.then_some(&labels)) {
            Ok(mut columns) => {
                columns.warnings.extend(added.flatten());
                columns
            }
            Err(faults) => return Ok(Err(header_fault(run, &faults))),
        };
        let labels = if header { labels } else { prepared.schema.fields().iter().map(|field| field.name.clone()).collect() };
        let owner = kept.spool_owner(run);
        let file = if owner == run.id { run.sha256.clone() } else { kept.ledger().run(&owner)?.and_then(|owner| owner.sha256) };
        Ok(Ok(Known { feed, prepared, columns, correction, labels, file: file.unwrap_or_default() }))
    }
}

fn header_fault(run: &Run, faults: &[HeaderFault]) -> Fault {
    let first = faults.first();
    Fault {
        code: first.map_or(Code::UnmatchedHeader, |fault| fault.code),
        line: run.detail.header_line,
        column: None,
        offset: None,
        message: faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join("; "),
        suggestion: first.map(|fault| fault.code.explain().cure.to_owned()),
    }
}

/// A checked run's file, ready to read rows of again.
pub struct FileInHand {
    pub(super) known: Known,
    pub dialect: Dialect,
    pub text: File,
    personal: Vec<bool>,
    line_end: &'static str,
    byte_order_mark: bool,
}

impl FileInHand {
    pub fn open(kept: &dyn Kept, run: &Run) -> anyhow::Result<Result<FileInHand, Fault>> {
        let known = match Known::of(kept, run)? {
            Ok(known) => known,
            Err(fault) => return Ok(Err(fault)),
        };
        let dialect = run.detail.dialect.clone().unwrap_or_default();
        let facts = run.detail.facts.clone().unwrap_or_default();
        let fields = known.prepared.schema.fields();
        let personal = known.columns.field_of_column.iter().map(|field| field.is_none_or(|field| fields[field].personal)).collect();
        Ok(Ok(FileInHand {
            dialect: Dialect::of(&dialect),
            text: open_text(kept, run)?,
            personal,
            line_end: match facts.line_ends.as_str() {
                "crlf" => "\r\n",
                "cr" => "\r",
                _ => "\n",
            },
            byte_order_mark: facts.byte_order_mark,
            known,
        }))
    }

    pub fn prepared(&self) -> &Prepared {
        &self.known.prepared
    }

    /// By column: is it personal?
    pub fn personal(&self) -> &[bool] {
        &self.personal
    }

    pub fn rules(&self) -> Rules<'_> {
        Rules {
            schema: &self.known.prepared.schema,
            columns: &self.known.columns,
            mapping: Some(&self.known.prepared.mapping),
            correction: self.known.correction.as_ref(),
            file: &self.known.file,
            picked: None,
        }
    }

    pub fn rows(&self) -> RowSource<'_> {
        RowSource {
            text: &self.text,
            dialect: &self.dialect,
            labels: &self.known.labels,
            personal: &self.personal,
            correction: self.known.correction.as_ref(),
            mapping: &self.known.prepared.mapping,
            columns: &self.known.columns,
            schema: &self.known.prepared.schema,
            file: &self.known.file,
            byte_order_mark: self.byte_order_mark,
            line_end: self.line_end,
        }
    }
}
