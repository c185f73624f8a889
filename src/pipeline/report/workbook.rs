//! `STEM.errors.xlsx`: the error report once more, each cell as text, since spreadsheets eat the zeros of numbers in a CSV file.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, XlsxError};

use crate::dialect::REPORT_SHEET;

/// Rows that a sheet holds, and letters that a cell does.
const ROWS_MAX: u32 = 1_048_576;
const LETTERS_MAX: usize = 32_767;

/// What a file tells by quotes is lost in a sheet.
pub const WORDS: &str =
    "there is no errors.xlsx: a sheet cannot tell a cell that means \"no value\" from one that says the word for it; use errors.csv";

/// Writes the rows of `errors`, in the plain form and UTF-8, as a workbook of that time into the file that `create` makes. Row by row: memory
/// does not grow with them. Where it cannot hold all rows there is none, and what a person should know of that is given.
pub fn write(
    errors: &File,
    made_at: DateTime<Utc>,
    scratch: &Path,
    create: impl FnOnce() -> io::Result<File>,
) -> anyhow::Result<Result<File, String>> {
    let mut errors = errors.try_clone()?;
    errors.rewind()?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(errors);
    let mut book = Workbook::new();
    // Written again after a restart it is the same, byte by byte.
    book.set_properties(&DocProperties::new().set_creation_datetime(&ExcelDateTime::from_timestamp(made_at.timestamp())?));
    book.set_tempdir(scratch)?;
    let sheet = book.add_worksheet_with_constant_memory()?.set_name(REPORT_SHEET)?;
    let text = Format::new().set_num_format("@");
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    while reader.read_record(&mut record)? {
        let too_long = record.iter().any(|cell| cell.chars().map(char::len_utf16).sum::<usize>() > LETTERS_MAX);
        if row == ROWS_MAX || too_long {
            return Ok(Err("there is no errors.xlsx: a sheet cannot hold all rows, or a cell of them; use errors.csv".to_owned()));
        }
        for (column, cell) in record.iter().enumerate() {
            let cell = if row == 0 { cell.strip_prefix('\u{feff}').unwrap_or(cell) } else { cell };
            match u16::try_from(column).map(|column| sheet.write_string_with_format(row, column, cell, &text)) {
                Ok(Ok(_)) => {}
                Ok(Err(XlsxError::RowColumnLimitError)) | Err(_) => {
                    return Ok(Err("there is no errors.xlsx: a sheet has fewer columns than the file; use errors.csv".to_owned()));
                }
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        row += 1;
    }
    let file = create()?;
    book.save_to_writer(&file)?;
    Ok(Ok(file))
}
