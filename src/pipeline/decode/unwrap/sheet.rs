//! One sheet of a workbook (XLSX) as the text that all other files are: a line for each row, commas and quotes.
//!
//! Cells come out by their value, not by their look: numbers in full (to the fifteen digits that a spreadsheet is sure of), with the zeros
//! before them that their format adds and the percent sign that it shows; dates as `YYYY-MM-DD`, with `Thh:mm:ss` where they have a time,
//! whatever form they are shown in. See [`look`]. A workbook's strings are held in memory, so its size is limited.

mod look;

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, Write as _};
use std::path::Path;

use calamine::{DataRef, ExcelDateTime, Reader as _, Style, Xlsx, XlsxError};
use zip::ZipArchive;

pub(in crate::pipeline::decode) use look::{FORMULA_ERRORS, OTHERWISE};

use crate::config::meant::Limits;
use crate::dialect::{Cell, Form, REPORT_SHEET, write_record};
use crate::outcome::Code;
use crate::pipeline::decode::fault::{DecodeError, FileFault};

/// Places of merged cells that are named.
const SHOWN: usize = 5;

/// Rows and columns of a sheet (Excel's specifications). A cell beyond them is no sheet's, and would have memory filled up to it.
const ROWS_MOST: u32 = 1 << 20;
const COLUMNS_MOST: usize = 1 << 14;

/// Text of a sheet against the limit of its workbook.
const TEXT_MOST: u64 = 4;

/// From here on a spreadsheet's numbers have lost digits (IEEE 754 has fifteen that are certain).
const CERTAIN: f64 = 1e15;

pub(super) struct Sheet {
    pub name: String,
    pub text: File,
    pub notes: Vec<String>,
}

/// Is this zip archive a workbook?
pub(super) fn is_workbook(archive: &File) -> bool {
    let Ok(mut bytes) = archive.try_clone() else { return false };
    let Ok(zip) = ZipArchive::new(&mut bytes) else { return false };
    let found = zip.index_for_name("[Content_Types].xml").is_some() && zip.index_for_name("xl/workbook.xml").is_some();
    drop(zip);
    bytes.rewind().is_ok() && found
}

/// Reads the first sheet, or the one named (`wanted` may also be its number). `passed` rows stand before its header.
pub(super) fn open(archive: File, wanted: Option<&str>, passed: u64, scratch: &Path, limits: &Limits) -> Result<Sheet, DecodeError> {
    check_size(&archive, limits.sheet)?;
    let mut book = Xlsx::new(io::BufReader::new(archive)).map_err(|error| unreadable(&error))?;
    let names = book.sheet_names();
    let list = || names.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ");
    let by_number = |wanted: &str| wanted.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?).cloned());
    let report = names.iter().find(|name| *name == REPORT_SHEET).cloned();
    let name = match wanted {
        _ if report.is_some() => report,
        None => names.first().cloned(),
        Some(wanted) => names.iter().find(|name| *name == wanted).cloned().or_else(|| by_number(wanted)),
    };
    let Some(name) = name else {
        let message = format!("The workbook has no sheet {}; it has {}.", wanted.unwrap_or("at all"), list());
        return Err(FileFault::new(Code::SourceError, message).suggest("Correct dialect.sheet.").into());
    };
    let mut notes = Vec::new();
    if wanted.is_none() && names.len() > 1 {
        notes.push(format!("the workbook has the sheets {}; the first is read (dialect.sheet names another)", list()));
    }
    notes.extend(merged(&mut book, &name)?);
    let text = tempfile::tempfile_in(scratch)?;
    let mut looks = look::Notes::default();
    let text = write(&mut book, &name, passed, text, limits.sheet, &mut looks)?;
    notes.extend(looks.told());
    Ok(Sheet { name, text, notes })
}

fn unreadable(error: &XlsxError) -> DecodeError {
    FileFault::new(Code::CompressionError, format!("The workbook cannot be read: {error}."))
        .suggest("Save it again as .xlsx, or as CSV.")
        .into()
}

/// All parts of a workbook are unpacked once, to see how large they are: what its directory says may be a lie.
fn check_size(archive: &File, most: u64) -> Result<(), DecodeError> {
    let damaged = |error: &dyn std::fmt::Display| {
        FileFault::new(Code::CompressionError, format!("The workbook is cut short or damaged: {error}.")).suggest("Deliver the file again.")
    };
    let mut zip = ZipArchive::new(archive.try_clone()?).map_err(|error| damaged(&error))?;
    let mut left = most;
    for index in 0..zip.len() {
        let mut part = zip.by_index(index).map_err(|error| damaged(&error))?;
        left -= io::copy(&mut (&mut part).take(left), &mut io::sink()).map_err(|error| damaged(&error))?;
        if left == 0 {
            return Err(FileFault::new(
                Code::FileTooLarge,
                format!("The workbook has more than {most} bytes of text; it is held in memory."),
            )
            .suggest("Save it as CSV, which is read piece by piece, or raise limits.sheet.")
            .into());
        }
    }
    drop(zip);
    archive.try_clone()?.rewind()?;
    Ok(())
}

fn merged(book: &mut Xlsx<io::BufReader<File>>, name: &str) -> Result<Option<String>, DecodeError> {
    let regions = book.merge_cells_by_sheet_name(name).map_err(|error| unreadable(&error))?;
    if regions.is_empty() {
        return Ok(None);
    }
    let place = |(row, column): (u32, u32)| format!("{}{}", letters(column), row + 1);
    let shown: Vec<String> = regions.iter().take(SHOWN).map(|region| format!("{}:{}", place(region.start), place(region.end))).collect();
    let more = if regions.len() > SHOWN { ", …" } else { "" };
    Ok(Some(format!("merged cells hold their value in the first one alone: {}{more}", shown.join(", "))))
}

/// A column as spreadsheets name it.
fn letters(column: u32) -> String {
    let mut name = String::new();
    let mut rest = column + 1;
    while rest > 0 {
        name.insert(0, char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    name
}

/// Rows of the sheet, each as wide as the header at least; empty ones are blank lines.
fn write(
    book: &mut Xlsx<io::BufReader<File>>,
    name: &str,
    passed: u64,
    text: File,
    most: u64,
    looks: &mut look::Notes,
) -> Result<File, DecodeError> {
    let form = Form::default();
    let mut out = BufWriter::with_capacity(256 << 10, text);
    let mut cells = book.worksheet_cells_reader(name).map_err(|error| unreadable(&error))?;
    let mut row: Vec<String> = Vec::new();
    let (mut number, mut width) = (0_u32, 0_usize);
    let mut line = String::new();
    let mut written = 0;
    loop {
        let next = cells.next_cell_with_style_id().map_err(|error| unreadable(&error))?;
        let at = next.as_ref().map(|(cell, _)| cell.get_position());
        // Before the rows up to it are made.
        if at.is_some_and(|(row, column)| row >= ROWS_MOST || column as usize >= COLUMNS_MOST) {
            let message = format!("A cell stands outside of what a sheet has: {ROWS_MOST} rows and {COLUMNS_MOST} columns.");
            return Err(FileFault::new(Code::FileTooLarge, message).suggest("Save it with Excel or LibreOffice again, or as CSV.").into());
        }
        // Rows come in order; one that comes again is no workbook's.
        if at.is_some_and(|(at, _)| at < number) {
            let fault = FileFault::new(Code::CompressionError, "The rows of the sheet are not in order.");
            return Err(fault.suggest("Save it again as .xlsx, or as CSV.").into());
        }
        while at.is_none_or(|(at, _)| number < at) {
            let filled = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
            if width == 0 && u64::from(number) >= passed {
                width = filled;
            }
            row.resize(if filled == 0 { 0 } else { filled.max(width) }, String::new());
            line.clear();
            // In quotes, these are no comment, whatever sign the feed has for one.
            let shows_fault = |cell: &str| FORMULA_ERRORS.contains(&cell) || cell.starts_with(OTHERWISE);
            write_record(row.iter().map(|cell| Cell { text: cell, literal: shows_fault(cell) }), &form, "\n", &mut line);
            out.write_all(line.as_bytes())?;
            written += line.len() as u64;
            // A few bytes of the sheet may name a long string, again and again.
            if written > most.saturating_mul(TEXT_MOST) {
                let message = format!("The sheet's text is more than {TEXT_MOST} times as large as a workbook may be.");
                return Err(FileFault::new(Code::FileTooLarge, message).suggest("Save it as CSV, or raise limits.sheet.").into());
            }
            row.clear();
            if at.is_none() {
                return finish(out);
            }
            number += 1;
        }
        let Some((cell, style)) = next else { return finish(out) };
        let column = cell.get_position().1 as usize;
        if row.len() <= column {
            row.resize(column + 1, String::new());
        }
        let (text, note) = shown(cell.get_value(), cells.styles().get(style));
        if let Some(note) = note {
            looks.add(note, || format!("{}{}", letters(cell.get_position().1), cell.get_position().0 + 1));
        }
        row[column] = text;
    }
}

fn finish(out: BufWriter<File>) -> Result<File, DecodeError> {
    let mut text = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    text.rewind()?;
    Ok(text)
}

/// What a cell says, and what to note of it.
fn shown(value: &DataRef<'_>, style: Option<&Style>) -> (String, Option<look::Note>) {
    let format = style.and_then(|style| style.number_format.as_ref()).map_or("", |format| format.format_code.as_str());
    let text = match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) => look::text(text, format),
        DataRef::SharedString(text) => look::text(text, format),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::Bool(yes) => if *yes { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::Error(error) => error.to_string(),
        DataRef::Int(number) => return look::number(number.to_string(), format),
        DataRef::Float(number) => return look::number(decimal(*number), format),
        DataRef::DateTime(time) => moment(time),
    };
    (text, None)
}

/// In full, as long as the number is certain; beyond, in the form that says that digits were lost.
fn decimal(number: f64) -> String {
    if number.abs() < CERTAIN {
        // As a spreadsheet does: 0.1 + 0.2 is 0.3 there.
        return format!("{number:.14e}").parse().unwrap_or(number).to_string();
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) => format!("{digits}E+{exponent:0>2}"),
        None => text,
    }
}

fn moment(time: &ExcelDateTime) -> String {
    let (year, month, day, hours, minutes, seconds, milliseconds) = time.to_ymd_hms_milli();
    let fraction = if milliseconds > 0 { format!(".{milliseconds:03}") } else { String::new() };
    let clock = format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}");
    if time.is_duration() || time.as_f64() < 1.0 {
        clock
    } else if clock == "00:00:00" {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02}T{clock}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_full_while_they_are_certain() {
        for (number, text) in [
            (1250.0, "1250"),
            (12.5, "12.5"),
            (7_210_448_301_122.0, "7210448301122"),
            (0.1, "0.1"),
            (1e-7, "0.0000001"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "-0"),
        ] {
            assert_eq!(decimal(number), text);
        }
        assert_eq!(decimal(1.234_567_890_123_456_7e16), "1.2345678901234568E+16");
        assert!(crate::schema::looks_like_spreadsheet_damage(&decimal(1.2e20)));
    }

    #[test]
    fn columns_have_the_names_that_spreadsheets_give_them() {
        assert_eq!([0, 25, 26, 701, 702].map(letters), ["A", "Z", "AA", "ZZ", "AAA"]);
    }
}
