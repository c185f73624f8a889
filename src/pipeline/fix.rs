//! Fix: rows of a run that need a person, with cells that somebody changes; each is judged by the very schema and mapping that judge files,
//! and what is right becomes a correction, in the form of the error report.

use std::borrow::Cow;
use std::fs::File;

use super::decode::{literal_cells, read_record, split_cells};
use super::hand::FileInHand;
use super::report::rows::write_corrected;
use super::road::Prepared;
use crate::ledger::{Known, Ledger, Mark, Row, Run};
use crate::mapping::Place;
use crate::outcome::{Outcome, Problem};
use crate::row::{Add, AddKind, Load, Verb, Wanted};

/// Outcomes that other cells may mend. What is in doubt is settled, and what was not attempted needs no other cells.
pub const FIXABLE: [Outcome; 3] = [Outcome::Rejected, Outcome::Unresolved, Outcome::Refused];

/// A row as it came, to be changed.
pub struct Open {
    pub row: Row,
    /// One for each column of the header.
    pub cells: Vec<String>,
    /// Cells that were written in quotes.
    literal: Vec<usize>,
}

/// What schema and mapping say of cells.
pub struct Judged {
    pub problems: Vec<Problem>,
    /// What it would do, where nothing is wrong with it.
    pub change: Option<Change>,
}

/// What a row would do to its pass.
pub struct Change {
    /// The identifier in the row.
    pub pass: String,
    /// It is personal.
    pub pass_personal: bool,
    pub verb: Verb,
    pub fields: Vec<FieldChange>,
    pub adds: Vec<AddChange>,
}

/// An add of a row: its kind, and what it adds to which balances.
pub struct AddChange {
    pub kind: AddKind,
    /// Balance, amount, and whether it is personal.
    pub amounts: Vec<(String, String, bool)>,
}

impl AddChange {
    fn of(add: &Add, prepared: &Prepared) -> AddChange {
        let amounts = match &add.load {
            Load::Amounts(amounts) => amounts
                .iter()
                .filter_map(|(field, amount)| {
                    let mapped = prepared.mapping.fields().get(*field as usize)?;
                    Some((mapped.name.to_string(), amount.normalize().to_string(), mapped.personal))
                })
                .collect(),
            Load::Text(_) => Vec::new(),
        };
        AddChange { kind: add.key.kind, amounts }
    }
}

/// How one field of a pass would change.
pub struct FieldChange {
    pub field: String,
    pub personal: bool,
    /// What was last applied: of texts only that it was another. None where nothing is known.
    pub before: Option<String>,
    /// None clears the field.
    pub after: Option<String>,
    /// Is it what was last applied?
    pub same: bool,
}

impl FieldChange {
    /// Of one field that a row wants, against what is known of its pass.
    pub fn of(wanted: &Wanted<'_>, prepared: &Prepared, known: Option<&Known>) -> FieldChange {
        let mapped = &prepared.mapping.fields()[wanted.field as usize];
        let id = prepared.field_ids[wanted.field as usize];
        let before = known.and_then(|known| known.fields.iter().find(|state| state.field == id)).map(|state| state.mark);
        FieldChange {
            field: mapped.name.to_string(),
            personal: mapped.personal,
            before: before.map(Mark::show),
            after: wanted.value.as_ref().map(|value| value.canonical().into_owned()),
            same: before == Some(Mark::of(wanted.value.as_ref(), mapped.personal)),
        }
    }
}

impl FileInHand {
    /// Labels of the columns of the data.
    pub fn labels(&self) -> &[String] {
        &self.known.labels
    }

    /// A row's cells as they came, without our own columns and without protection.
    pub fn as_came(&self, row: &Row) -> anyhow::Result<Vec<String>> {
        let raw = read_record(&self.text, row.offset, row.length)?;
        let mut cells: Vec<Cow<'_, str>> = Vec::new();
        split_cells(&raw, &self.dialect, &mut cells);
        if let Some(correction) = self.known.correction.as_ref() {
            let _ = correction.take(&mut cells);
        }
        Ok(cells.into_iter().map(Cow::into_owned).collect())
    }

    /// The same to be changed: one cell for each column of the header.
    pub fn open_row(&self, row: Row) -> anyhow::Result<Open> {
        let raw = read_record(&self.text, row.offset, row.length)?;
        let mut literal = Vec::new();
        literal_cells(&raw, &self.dialect, &mut literal);
        if let Some(correction) = self.known.correction.as_ref() {
            correction.take_indexes(&mut literal);
        }
        let mut cells = self.as_came(&row)?;
        cells.resize(self.known.labels.len(), String::new());
        literal.retain(|&column| column < cells.len());
        Ok(Open { row, cells, literal })
    }

    /// Judges cells as the road would; that a value stands in no other row, only the road can tell.
    pub fn judge(&self, ledger: &dyn Ledger, account: &str, open: &Open, cells: &[String]) -> anyhow::Result<Judged> {
        let prepared = self.prepared();
        let columns = &self.known.columns;
        let literal: Vec<usize> = open.literal.iter().copied().filter(|&column| open.cells.get(column) == cells.get(column)).collect();
        let mut texts: Vec<Cow<'_, str>> = cells.iter().map(|cell| Cow::Borrowed(cell.as_str())).collect();
        prepared.schema.strip(columns, &mut texts);
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        prepared.schema.read(columns, &texts, &literal, &mut values, &mut problems);
        if !problems.is_empty() {
            return Ok(Judged { problems, change: None });
        }
        let place = Place { file: &self.known.file, record: open.row.record, key: None };
        let Some(update) = prepared.mapping.update(columns, &texts, &values, &place, &mut problems) else {
            return Ok(Judged { problems, change: None });
        };
        let known = ledger.baseline_of(account, &[update.target.key()])?.pop();
        let fields = update.wanted.iter().map(|wanted| FieldChange::of(wanted, prepared, known.as_ref()));
        let change = Change {
            pass: update.target.text().to_owned(),
            pass_personal: prepared.schema.fields()[prepared.mapping.pass_field()].personal,
            verb: update.verb,
            fields: fields.collect(),
            adds: update.adds.iter().map(|add| AddChange::of(add, prepared)).collect(),
        };
        Ok(Judged { problems, change: Some(change) })
    }

    /// Writes a correction of these rows with these cells. The rows keep what makes their adds themselves.
    pub fn write_correction(&self, run: &Run, rows: &[(Open, Vec<String>)], into: &File) -> anyhow::Result<()> {
        let rows: Vec<(&Row, &[String])> = rows.iter().map(|(open, cells)| (&open.row, cells.as_slice())).collect();
        write_corrected(run, &self.rows(), &rows, into)
    }
}
