//! `STEM.errors.xlsx`: the error report once more, each cell as text, since spreadsheets eat the zeros of numbers in a CSV file.

use std::path::Path;

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use crate::dialect::REPORT_SHEET;
use crate::spool::create_private;

/// Rows that a sheet holds, and letters that a cell does.
const ROWS_MAX: u32 = 1_048_576;
const LETTERS_MAX: usize = 32_767;

/// Writes the rows of `errors`, in the plain form and UTF-8, as a workbook. Row by row: memory does not grow with them. Gives what a person
/// should know of it; where it cannot hold all rows there is none.
pub fn write(errors: &Path, to: &Path, scratch: &Path) -> anyhow::Result<Option<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(errors)?;
    let mut book = Workbook::new();
    book.set_tempdir(scratch)?;
    let sheet = book.add_worksheet_with_constant_memory()?.set_name(REPORT_SHEET)?;
    let text = Format::new().set_num_format("@");
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    while reader.read_record(&mut record)? {
        let too_long = record.iter().any(|cell| cell.chars().map(char::len_utf16).sum::<usize>() > LETTERS_MAX);
        if row == ROWS_MAX || too_long {
            return Ok(Some("there is no errors.xlsx: a sheet cannot hold all rows, or a cell of them; use errors.csv".to_owned()));
        }
        for (column, cell) in record.iter().enumerate() {
            let cell = if row == 0 { cell.strip_prefix('\u{feff}').unwrap_or(cell) } else { cell };
            match u16::try_from(column).map(|column| sheet.write_string_with_format(row, column, cell, &text)) {
                Ok(Ok(_)) => {}
                Ok(Err(XlsxError::RowColumnLimitError)) | Err(_) => {
                    return Ok(Some("there is no errors.xlsx: a sheet has fewer columns than the file; use errors.csv".to_owned()));
                }
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        row += 1;
    }
    let file = create_private(to)?;
    book.save_to_writer(&file)?;
    file.sync_all()?;
    Ok(None)
}
