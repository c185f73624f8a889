//! What is wrong with the form of a record: faults that no schema is needed to see.

use memchr::{memchr, memchr_iter};

use super::Reader;
use crate::dialect::Form;
use crate::outcome::{Code, Problem};
use crate::pipeline::decode::cells::Cells;
use crate::pipeline::decode::scan::{Cut, Stray};
use crate::pipeline::decode::unwrap::{FORMULA_ERRORS, OTHERWISE};

impl Reader {
    /// What is wrong with a record's form, always in the same order.
    pub(super) fn form_faults(&self, cut: &Cut) -> Vec<Problem> {
        let limits = self.scanner.limits();
        let raw = &self.scanner.text[cut.start..][..cut.length];
        let mut problems = Vec::new();
        if cut.overlong {
            let message = format!("The record is {} bytes long; the limit is {}.", cut.bytes, limits.record);
            problems.push(Problem::new(Code::RecordTooLong, None, message));
        }
        // What is not UTF-8 fails the file before anybody sees these.
        let Ok(text) = std::str::from_utf8(raw) else { return problems };
        let cells = || Cells::new(text, &self.dialect.form);
        if let Some(stray) = cut.stray {
            problems.push(stray_problem(stray, cut, cells(), &self.dialect.form));
        }
        if self.nul
            && let Some(at) = memchr(0, raw)
        {
            let column = cells().index_at(at);
            problems.push(Problem::new(Code::NulByte, Some(column), "The cell holds a NUL byte."));
        }
        if cut.overlong {
            return problems;
        }
        if self.sheet {
            problems.extend(cells().enumerate().filter_map(|(column, cell)| sheet_problem(column, &cell.text)));
        }
        if raw.len() >= limits.cells && memchr_iter(self.dialect.form.first(), raw).count() >= limits.cells {
            let count = cells().count();
            if count > limits.cells {
                let message = format!("The record has {count} cells; the limit is {}.", limits.cells);
                problems.push(Problem::new(Code::TooManyCells, None, message));
            }
        }
        if raw.len() > limits.cell
            && let Some(column) = cells().position(|cell| !cell.literal && cell.text.len() > limits.cell)
        {
            let message = format!("The cell is longer than {} bytes.", limits.cell);
            problems.push(Problem::new(Code::CellTooLong, Some(column), message));
        }
        problems
    }
}

/// What a workbook's cell shows in place of its value.
fn sheet_problem(column: usize, text: &str) -> Option<Problem> {
    if FORMULA_ERRORS.contains(&text) {
        let message = format!("The cell shows the spreadsheet's error `{text}`.");
        return Some(Problem::new(Code::FormulaError, Some(column), message).suggest("Correct the formula, and save the workbook again."));
    }
    text.starts_with(OTHERWISE).then(|| {
        let message = "The cell's number format shows something else than the value that the cell holds.";
        let instead = "Give the cell a number format that shows its value, or write what it shows into it.";
        Problem::new(Code::ShownOtherwise, Some(column), message).suggest(instead)
    })
}

fn stray_problem(stray: Stray, cut: &Cut, cells: Cells<'_, '_>, form: &Form) -> Problem {
    let is_formula = !stray.after_closing && cells.is_formula_at(stray.at as usize);
    let column = (!cut.overlong).then(|| cells.index_at(stray.at as usize));
    let place = if stray.line == cut.line { String::new() } else { format!(" on line {}", stray.line) };
    let what = if stray.after_closing { "Text follows the closing quote of the cell" } else { "A quote stands inside an unquoted cell" };
    let message = format!("{what}{place}.");
    Problem::new(Code::StrayQuote, column, message).suggest(match form.escape {
        _ if is_formula => "Export the value itself: tools for spreadsheets write =\"…\" so that leading zeros stay.".to_owned(),
        None => "Quote the whole cell and double the quotes in it.".to_owned(),
        Some(escape) => {
            format!("Quote the whole cell and write {} before the quotes in it: this file does not double them.", char::from(escape))
        }
    })
}
