//! `STEM.errors.csv`, one line a row that needs a person, and `STEM.problems.csv`, one line a problem.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Seek as _, Write};

use super::html::Examples;
use super::json::KEPT_BACK;
use crate::dialect::{Cell, Charset, write_record};
use crate::ledger::{Ledger, Row, Run};
use crate::mapping::{Mapping, Place};
use crate::outcome::{Code, Outcome};
use crate::page::words::{MASK, without};
use crate::pipeline::correction::{Correction, PART, RESERVED, protect};
use crate::pipeline::decode::{Dialect, literal_cells, read_record, split_cells};
use crate::schema::{Columns, Schema};

/// What is needed to show rows again as they came.
pub struct RowSource<'a> {
    pub text: &'a File,
    pub dialect: &'a Dialect,
    /// Labels of the data's own columns.
    pub labels: &'a [String],
    /// By column: is it personal?
    pub personal: &'a [bool],
    pub correction: Option<&'a Correction>,
    pub mapping: &'a Mapping,
    pub columns: &'a Columns,
    pub schema: &'a Schema,
    /// SHA-256 of the delivered file, in hex.
    pub file: &'a str,
    pub byte_order_mark: bool,
    /// `\n`, `\r\n` or `\r`, as most lines of the input end.
    pub line_end: &'a str,
}

const PROBLEM_COLUMNS: [&str; 9] = ["line", "record", "outcome", "column", "code", "constraint", "message", "cell", "suggestion"];

/// Where rows are written.
pub struct Files<'f> {
    pub errors: &'f File,
    pub problems: &'f File,
    /// The rows of `errors` once more, in the plain form and UTF-8.
    pub plain: Option<&'f File>,
}

impl Files<'_> {
    fn restart(&self) -> std::io::Result<()> {
        for mut file in [Some(self.errors), Some(self.problems), self.plain].into_iter().flatten() {
            file.set_len(0)?;
            file.rewind()?;
        }
        Ok(())
    }
}

pub struct Written {
    /// What a person should know of the files.
    pub notes: Vec<String>,
    /// No cell differs from another by its quotes alone.
    pub fits_sheet: bool,
}

/// Writes the files, and lets `examples` see the rows. Rows kept back on purpose are in none: no person is to correct them.
///
/// The rows are written in the input's own dialect and character set, so that whatever wrote the one reads the other. A letter that this
/// set has not (it can only come from the schema's names) makes the whole file UTF-8 with a byte-order mark, by which it is known again.
pub fn write(
    run: &Run,
    ledger: &dyn Ledger,
    source: &RowSource<'_>,
    files: &Files<'_>,
    examples: &mut Examples,
) -> anyhow::Result<Written> {
    let charset = source.dialect.charset;
    match write_in(run, ledger, source, charset, files, examples) {
        Err(Stopped::Letter(letter)) => {
            examples.restart();
            files.restart()?;
            let notes = vec![format!("the error report is UTF-8: {} has no `{letter}`", charset.name())];
            match write_in(run, ledger, source, Charset::UTF_8, files, examples) {
                Ok(fits_sheet) => Ok(Written { notes, fits_sheet }),
                Err(Stopped::Letter(_)) => anyhow::bail!("UTF-8 has every letter"),
                Err(Stopped::Other(error)) => Err(error),
            }
        }
        Err(Stopped::Other(error)) => Err(error),
        Ok(fits_sheet) => Ok(Written { notes: Vec::new(), fits_sheet }),
    }
}

fn csv_into(file: &File) -> std::io::Result<csv::Writer<BufWriter<File>>> {
    Ok(csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::with_capacity(1 << 20, file.try_clone()?)))
}

/// Why a report was not written to its end.
enum Stopped {
    /// The character set has no such letter.
    Letter(char),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped::Other(error.into())
    }
}

/// Gives whether the rows fit into a sheet.
fn write_in(
    run: &Run,
    ledger: &dyn Ledger,
    source: &RowSource<'_>,
    charset: Charset,
    files: &Files<'_>,
    examples: &mut Examples,
) -> Result<bool, Stopped> {
    let mut problems = csv_into(files.problems)?;
    let mut errors = Lines::into(files.errors, source, charset)?;
    errors.plain = files.plain.map(csv_into).transpose()?;
    if source.byte_order_mark || charset != source.dialect.charset {
        errors.mark()?;
    }
    let is_set = !run.parts().is_empty();
    errors.write(&header(run, source), &[])?;
    problems.write_record(PROBLEM_COLUMNS.into_iter().chain(is_set.then_some("part")))?;
    let wanted: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| outcome.needs_person() || *outcome == Outcome::Stale).collect();
    let mut stopped = None;
    let looked = ledger.rows(&run.id, &wanted, &mut |row| match one_row(run, &row, source, &mut errors, &mut problems, examples) {
        Ok(()) => Ok(()),
        Err(Stopped::Other(error)) => Err(error),
        Err(letter) => {
            stopped = Some(letter);
            anyhow::bail!("a letter that the character set has not")
        }
    });
    match stopped {
        Some(letter) => return Err(letter),
        None => looked?,
    }
    finish(problems)?;
    Ok(errors.finish()?)
}

fn one_row(
    run: &Run,
    row: &Row,
    source: &RowSource<'_>,
    errors: &mut Lines<'_>,
    problems: &mut csv::Writer<BufWriter<File>>,
    examples: &mut Examples,
) -> Result<(), Stopped> {
    let codes = row.detail.codes();
    if codes.iter().any(|code| KEPT_BACK.contains(code)) {
        return Ok(());
    }
    let raw = read_record(source.text, row.offset, row.length)?;
    let AsCame { cells, literal, key } = as_came(&raw, row, source);
    if row.outcome.is_some_and(Outcome::needs_person) {
        let line = error_line(run, row, &cells, source.labels, &codes, key, errors.charset);
        errors.write(&line, &literal)?;
    }
    let place = run.place_of_line(row.line);
    examples.row(row, &cells, source, place.as_deref());
    let place = place.as_deref().map(protect);
    Ok(problem_lines(row, &cells, source, &mut |line| {
        let cells = line.iter().map(String::as_str).chain(place.as_deref());
        Ok(problems.write_record(cells)?)
    })?)
}

/// A row as it came.
struct AsCame<'r> {
    cells: Vec<Cow<'r, str>>,
    /// Cells that must not be taken for words that mean "no value".
    literal: Vec<usize>,
    /// What makes its adds themselves. Empty where it has none.
    key: String,
}

fn as_came<'r>(raw: &'r str, row: &Row, source: &RowSource<'_>) -> AsCame<'r> {
    let mut cells: Vec<Cow<'r, str>> = Vec::new();
    split_cells(raw, source.dialect, &mut cells);
    let mut literal = Vec::new();
    literal_cells(raw, source.dialect, &mut literal);
    let given = source.correction.map(|correction| correction.key(&cells));
    if let Some(correction) = source.correction {
        let _ = correction.take(&mut cells);
        correction.take_indexes(&mut literal);
    }
    literal.retain(|&column| cells.get(column).is_some_and(|cell| source.is_word_for_nothing(column, cell)));
    let place = Place { file: source.file, record: row.record, key: given.as_deref() };
    // What was given stays as it is, whatever else is wrong with the row.
    let key = given.clone().filter(|key| !key.is_empty()).or_else(|| {
        let mut cells = cells.clone();
        source.schema.strip(source.columns, &mut cells);
        let key = source.mapping.row_key(source.columns, &cells, &place).ok().flatten();
        key.map(|key| key.to_string())
    });
    AsCame { cells, literal, key: key.unwrap_or_default() }
}

/// Writes a correction in the form of the error report: these rows of the run, with these cells instead of their own.
pub fn write_corrected(run: &Run, source: &RowSource<'_>, rows: &[(&Row, &[String])], into: &File) -> anyhow::Result<()> {
    match write_corrected_in(run, source, rows, source.dialect.charset, into) {
        Err(Stopped::Letter(_)) => {
            let mut again = into;
            again.set_len(0)?;
            again.rewind()?;
            match write_corrected_in(run, source, rows, Charset::UTF_8, into) {
                Ok(()) => Ok(()),
                Err(Stopped::Letter(_)) => anyhow::bail!("UTF-8 has every letter"),
                Err(Stopped::Other(error)) => Err(error),
            }
        }
        Err(Stopped::Other(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

fn write_corrected_in(run: &Run, source: &RowSource<'_>, rows: &[(&Row, &[String])], charset: Charset, into: &File) -> Result<(), Stopped> {
    let mut lines = Lines::into(into, source, charset)?;
    if source.byte_order_mark || charset != source.dialect.charset {
        lines.mark()?;
    }
    lines.write(&header(run, source), &[])?;
    for (row, changed) in rows {
        let raw = read_record(source.text, row.offset, row.length)?;
        let AsCame { cells, mut literal, key } = as_came(&raw, row, source);
        // Words that somebody typed mean what they say.
        literal.retain(|&column| changed.get(column).map(String::as_str) == cells.get(column).map(|cell| &**cell));
        let cells: Vec<Cow<'_, str>> = changed.iter().map(|cell| Cow::Borrowed(cell.as_str())).collect();
        lines.write(&error_line(run, row, &cells, source.labels, &row.detail.codes(), key, charset), &literal)?;
    }
    lines.finish()?;
    Ok(())
}

/// The data's own labels, then ours. Of a set, a line of the whole is nothing that an editor shows: there the part has a column.
fn header<'s>(run: &Run, source: &'s RowSource<'_>) -> Vec<Cow<'s, str>> {
    let part = (!run.parts().is_empty()).then_some(Cow::Borrowed(PART));
    let ours = part.into_iter().chain(RESERVED.map(Cow::Borrowed));
    source.labels.iter().map(|label| protect(label)).chain(ours).collect()
}

impl RowSource<'_> {
    /// Words in which personal cells are masked: a platform's may repeat what it was sent.
    pub(super) fn without_personal(&self, words: &str, cells: &[Cow<'_, str>]) -> String {
        let personal = cells.iter().enumerate().filter(|(index, _)| self.personal.get(*index).copied().unwrap_or(true));
        without(words, personal.map(|(_, cell)| &**cell))
    }

    /// Would this cell, written without quotes, mean that there is no value?
    fn is_word_for_nothing(&self, column: usize, cell: &str) -> bool {
        let field = self.columns.field_of_column.get(column).copied().flatten();
        field.is_some_and(|field| self.schema.fields()[field].tells_apart(cell))
    }
}

/// The error report, in the input's own form.
struct Lines<'a> {
    out: BufWriter<File>,
    source: &'a RowSource<'a>,
    charset: Charset,
    line: String,
    bytes: Vec<u8>,
    plain: Option<csv::Writer<BufWriter<File>>>,
    fits_sheet: bool,
}

impl<'a> Lines<'a> {
    fn into(file: &File, source: &'a RowSource<'a>, charset: Charset) -> std::io::Result<Lines<'a>> {
        let out = BufWriter::with_capacity(1 << 18, file.try_clone()?);
        Ok(Lines { out, source, charset, line: String::new(), bytes: Vec::new(), plain: None, fits_sheet: true })
    }

    fn mark(&mut self) -> Result<(), Stopped> {
        self.line.push('\u{feff}');
        self.flush()
    }

    /// `literal` are the cells that must not be taken for words that mean "no value".
    fn write(&mut self, cells: &[Cow<'_, str>], literal: &[usize]) -> Result<(), Stopped> {
        self.fits_sheet &= literal.is_empty();
        if let Some(plain) = &mut self.plain {
            plain.write_record(cells.iter().map(|cell| cell.as_bytes()))?;
        }
        let cells = cells.iter().enumerate().map(|(index, cell)| Cell { text: cell, literal: literal.contains(&index) });
        write_record(cells, &self.source.dialect.form, self.source.line_end, &mut self.line);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        self.bytes.clear();
        self.charset.encode(&self.line, &mut self.bytes).map_err(Stopped::Letter)?;
        self.line.clear();
        self.out.write_all(&self.bytes)?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<bool> {
        self.plain.map_or(Ok(()), finish)?;
        self.out.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?.sync_all()?;
        Ok(self.fits_sheet)
    }
}

fn finish(writer: csv::Writer<BufWriter<File>>) -> anyhow::Result<()> {
    let buffered = writer.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?;
    buffered.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?.sync_all()?;
    Ok(())
}

/// The row's own cells, then the reserved ones; cells beyond the header's come last, where they are still too many when dropped back.
fn error_line<'c>(
    run: &Run,
    row: &Row,
    cells: &'c [Cow<'c, str>],
    labels: &[String],
    codes: &[Code],
    key: String,
    charset: Charset,
) -> Vec<Cow<'c, str>> {
    let width = labels.len();
    let own = cells.iter().take(width).map(|cell| protect(cell));
    let missing = std::iter::repeat_n(Cow::Borrowed(""), width.saturating_sub(cells.len()));
    let names = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" ");
    let retryable = !codes.is_empty() && codes.iter().all(|code| code.explain().retryable);
    let reserved = [
        run.id.clone(),
        row.line.to_string(),
        row.record.to_string(),
        row.outcome.map(Outcome::as_str).unwrap_or_default().to_owned(),
        names,
        told(&protect(&messages(row, labels)), charset),
        if retryable { "yes" } else { "no" }.to_owned(),
        key,
    ];
    let extra = cells.iter().skip(width).map(|cell| protect(cell));
    let part = run.place_of_line(row.line).map(|place| Cow::Owned(told(&protect(&place), charset)));
    own.chain(missing).chain(part).chain(reserved.into_iter().map(Cow::Owned)).chain(extra).collect()
}

/// Our own words, as far as the character set has their letters.
fn told(words: &str, charset: Charset) -> String {
    words.chars().map(|letter| if letter.is_ascii() || charset.has(letter) { letter } else { '?' }).collect()
}

/// Each problem once, behind the name of its column, with what to write instead.
fn messages(row: &Row, labels: &[String]) -> String {
    let mut all: Vec<String> = Vec::new();
    for problem in &row.detail.problems {
        let label = problem.column.and_then(|column| labels.get(column as usize)).filter(|_| is_about_a_cell(problem.code));
        let label = label.map(|label| format!("{}: ", label.trim())).unwrap_or_default();
        let suggestion = problem.suggestion.as_ref().map(|text| format!(" (suggestion: {text})")).unwrap_or_default();
        all.push(format!("{label}{}{suggestion}", problem.message));
    }
    let failed = row.detail.operations.iter().filter(|note| note.code.is_some());
    all.extend(failed.map(|note| format!("{}: {}", note.operation, note.message)));
    let mut seen = HashSet::new();
    all.retain(|message| seen.insert(message.clone()));
    all.join("; ")
}

/// Messages about a record as a whole are the same for each of its columns.
pub(super) fn is_about_a_cell(code: Code) -> bool {
    !matches!(code, Code::MissingCell | Code::ExtraCell | Code::StrayQuote | Code::NulByte | Code::BlankRow)
}

fn problem_lines(
    row: &Row,
    cells: &[Cow<'_, str>],
    source: &RowSource<'_>,
    write: &mut dyn FnMut([String; 9]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let outcome = row.outcome.map(Outcome::as_str).unwrap_or_default();
    let start = || (row.line.to_string(), row.record.to_string(), outcome.to_owned());
    let told = |words: &str| protect(&source.without_personal(words, cells)).into_owned();
    for problem in &row.detail.problems {
        let (line, record, outcome) = start();
        let column = problem.column.map(|column| column as usize);
        let label = column.and_then(|column| source.labels.get(column)).cloned().unwrap_or_default();
        let cell = column.and_then(|column| cells.get(column)).map_or("", |cell| cell);
        let personal = column.and_then(|column| source.personal.get(column)).copied().unwrap_or(true);
        // This report is passed around more freely than the file itself.
        let cell = if personal && !cell.is_empty() { MASK.to_owned() } else { protect(cell).into_owned() };
        write([
            line,
            record,
            outcome,
            protect(&label).into_owned(),
            problem.code.as_str().to_owned(),
            problem.constraint.clone().unwrap_or_default(),
            told(&problem.message),
            cell,
            problem.suggestion.as_deref().map(told).unwrap_or_default(),
        ])?;
    }
    for note in row.detail.operations.iter().filter(|note| note.code.is_some()) {
        let (line, record, _) = start();
        let code = note.code.map(|code| code.as_str().to_owned()).unwrap_or_default();
        let message = format!("{}: {}", note.operation, note.message);
        write([
            line,
            record,
            note.outcome.as_str().to_owned(),
            String::new(),
            code,
            String::new(),
            told(&message),
            String::new(),
            note.code.map(|code| code.explain().cure.to_owned()).unwrap_or_default(),
        ])?;
    }
    Ok(())
}
