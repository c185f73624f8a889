//! A record's cells become values or problems. The hot path of the program: no allocation per cell that has no problem.

use std::borrow::Cow;

use super::value::Value;
use super::{Columns, KeyKind, Schema};
use crate::outcome::{Code, Problem};

impl Schema {
    /// Reads every cell of a record. `values` is emptied and left with one entry for each field: its value, or none when it is missing,
    /// absent from the file, or faulty.
    ///
    /// Every problem is appended to `problems`, none left out: those of cells from left to right, then extra and missing cells, then the
    /// primary key's (contracts/table-schema.md section 10). A blank record has the one problem `blank-row`.
    ///
    /// `literal` are the indexes of cells that were written in quotes or with an escape, ascending; see [`Schema::tells_apart`].
    pub fn read<'c>(
        &self,
        columns: &Columns,
        cells: &'c [Cow<'c, str>],
        literal: &[usize],
        values: &mut Vec<Option<Value<'c>>>,
        problems: &mut Vec<Problem>,
    ) {
        values.clear();
        if self.is_blank(columns, cells) {
            values.resize(self.fields.len(), None);
            problems.push(Problem::new(Code::BlankRow, None, "every cell is empty"));
            return;
        }
        let width = columns.field_of_column.len();
        for (column, field) in columns.field_of_column.iter().enumerate() {
            let Some(index) = *field else { continue };
            let field = &self.fields[index];
            // Nearly all files have their columns in the order of the fields.
            let in_order = index == values.len();
            if !in_order {
                values.resize(self.fields.len(), None);
            }
            if let Some(cell) = cells.get(column) {
                field.read_onto(cell, !literal.is_empty() && literal.contains(&column), Some(column), values, problems);
            } else {
                field.report_missing(Some(column), problems);
                values.push(None);
            }
            if !in_order {
                values[index] = values.pop().flatten();
            }
        }
        values.resize(self.fields.len(), None);
        if cells.len() != width {
            report_ragged(cells.len(), width, problems);
        }
        for key in self.keys.iter().filter(|key| key.kind == KeyKind::Primary) {
            for &index in &key.fields {
                if values[index].is_none() {
                    self.report_null_key(index, columns, cells, problems);
                }
            }
        }
    }

    /// Does it matter to any field whether a cell was written in quotes? Where not, nobody needs to look.
    pub fn tells_apart(&self) -> bool {
        self.fields.iter().any(super::Field::tells_any_apart)
    }

    /// Takes off what named rules say is no part of the value. Reports show cells as they came.
    pub fn strip(&self, columns: &Columns, cells: &mut [Cow<'_, str>]) {
        for (field, column) in self.fields.iter().zip(&columns.column_of_field) {
            if field.strip_apostrophe
                && let Some(cell) = column.and_then(|column| cells.get_mut(column))
            {
                match cell {
                    Cow::Borrowed(text) => *text = text.strip_prefix('\'').unwrap_or(text),
                    Cow::Owned(text) if text.starts_with('\'') => {
                        text.remove(0);
                    }
                    Cow::Owned(_) => {}
                }
            }
        }
    }

    fn is_blank(&self, columns: &Columns, cells: &[Cow<'_, str>]) -> bool {
        cells.iter().enumerate().all(|(column, cell)| match columns.field_of_column.get(column) {
            Some(Some(field)) => self.fields[*field].is_missing(cell),
            _ => cell.is_empty(),
        })
    }

    /// A part of the key that is missing; one that is faulty, or whose field says `required` itself, has been reported already.
    fn report_null_key(&self, index: usize, columns: &Columns, cells: &[Cow<'_, str>], problems: &mut Vec<Problem>) {
        let field = &self.fields[index];
        let column = columns.column_of_field[index];
        let cell = column.and_then(|column| cells.get(column));
        if !field.required && cell.is_none_or(|cell| field.is_missing(cell)) {
            problems.push(Problem::new(Code::PrimaryKey, column, format!("`{}` is part of the primary key and has no value", field.name)));
        }
    }
}

fn report_ragged(cells: usize, width: usize, problems: &mut Vec<Problem>) {
    let message = || format!("the record has {cells} {}, the header {width}", if cells == 1 { "cell" } else { "cells" });
    for column in width..cells {
        let problem = Problem::new(Code::ExtraCell, Some(column), message());
        problems.push(if column == width { problem.suggest(EXTRA) } else { problem });
    }
    for column in cells..width {
        let problem = Problem::new(Code::MissingCell, Some(column), message());
        problems.push(if cells == 1 && column == cells { problem.suggest(LONE) } else { problem });
    }
}

/// Marketing Cloud's data extracts are "text qualified" only where somebody asked for it (contracts/exports.md section 5).
const EXTRA: &str = "quote cells that hold the delimiter: an extract of Marketing Cloud has to be \"text qualified\"";
const LONE: &str = "if this line is a trailer, describe it in dialect.footer; if it is a title, count it in dialect.preamble";
