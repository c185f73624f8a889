//! Several files that are read as one: each by a reader of its own, so that each has its own containers, header and end.
//!
//! A quote that is left open in one file is never closed by the next. Records, lines and places in the text are counted through.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::fault::{DecodeError, FileFault};
use super::{Chunk, Dialect, Facts, Header, Reader};
use crate::config::meant::{DialectChoice, Escape, Limits};
use crate::dialect::{Cell, Form, write_record};
use crate::outcome::Code;

/// One of the files that are read as one.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The file that it is a place of: the spooled copy of a set, or a file by itself.
    pub path: PathBuf,
    pub range: Range<u64>,
    /// Columns that stand behind its own, with the same cell in all of its records. All pieces have the same columns.
    pub columns: Vec<Constant>,
}

/// A column that is the same for all records of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    pub label: String,
    pub cell: String,
    /// It must not be taken for a word that means "no value".
    pub literal: bool,
}

/// What hands out records chunk by chunk.
pub trait Chunks {
    /// The next records; none at the end.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError>;

    /// What was counted, once there were no more.
    fn finish(self) -> Facts;
}

impl Chunks for Reader {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError> {
        Reader::next_chunk(self)
    }

    fn finish(self) -> Facts {
        Reader::finish(self)
    }
}

/// What was found of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartFacts {
    /// Lines of the parts before it.
    pub lines_before: u64,
    pub records: u64,
}

/// Reads parts of a file, one after another, as one.
pub struct Series<'p> {
    text: PathBuf,
    choice: DialectChoice,
    limits: Limits,
    header_in_each: bool,
    /// All of them, and the first of those that are not opened yet.
    parts: Vec<Piece>,
    next: usize,
    found: &'p RefCell<Vec<PartFacts>>,
    reader: Option<Reader>,
    dialect: Dialect,
    header: Option<Header>,
    /// The header's labels as the parts have them.
    labels: Vec<String>,
    more: Option<More>,
    notes: Vec<String>,
    total: Option<Facts>,
    /// Of the parts before the one in hand.
    records: u64,
    lines: u64,
    offset: u64,
    /// Nothing more comes: the end was reached, or a fault.
    over: bool,
}

/// Columns that are written behind those of the parts.
struct More {
    /// Which of each piece's: the parts may have some of them already.
    picked: Vec<usize>,
    /// Those of the part in hand, as they are written.
    written: String,
    /// Quotes or escapes are in that.
    special: bool,
    /// The text of all parts with these columns.
    text: File,
    bytes: u64,
}

impl<'p> Series<'p> {
    /// Opens the first part that holds anything. `found` tells of each part that was opened, the one in hand included.
    ///
    /// The text of all parts is kept at `text`.
    pub fn open(
        parts: Vec<Piece>,
        header_in_each: bool,
        text: &Path,
        choice: &DialectChoice,
        limits: &Limits,
        found: &'p RefCell<Vec<PartFacts>>,
    ) -> Result<Series<'p>, DecodeError> {
        found.borrow_mut().clear();
        let mut series = Series {
            text: text.to_owned(),
            choice: choice.clone(),
            limits: limits.clone(),
            header_in_each,
            parts,
            next: 0,
            found,
            reader: None,
            dialect: Dialect::default(),
            header: None,
            labels: Vec::new(),
            more: None,
            notes: Vec::new(),
            total: None,
            records: 0,
            lines: 0,
            offset: 0,
            over: false,
        };
        crate::spool::private_file(text)?;
        if !series.open_next()? {
            return Err(FileFault::new(Code::SourceError, "All parts of the set are empty.")
                .suggest("Deliver it again; an export with no rows still needs its header line.")
                .into());
        }
        Ok(series)
    }

    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// What a person should know of how the parts were read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file that places of records are in.
    pub fn text_path(&self) -> &Path {
        &self.text
    }

    /// Opens the next part that holds anything. False when there is none.
    fn open_next(&mut self) -> Result<bool, DecodeError> {
        while let Some(piece) = self.parts.get(self.next).cloned() {
            self.next += 1;
            self.found.borrow_mut().push(PartFacts { lines_before: self.lines, records: 0 });
            if piece.range.is_empty() {
                continue;
            }
            self.offset = std::fs::metadata(&self.text)?.len();
            let keeps_nothing = !piece.columns.is_empty();
            match Reader::open_part(&piece.path, piece.range, &self.text, keeps_nothing, &self.choice, &self.limits) {
                Ok(reader) => {
                    self.take(reader)?;
                    return Ok(true);
                }
                // Warehouses write a part for each of their workers, whether it had rows or not.
                Err(DecodeError::Fault(fault)) if fault.is_of_nothing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn take(&mut self, reader: Reader) -> Result<(), DecodeError> {
        if self.total.is_none() && self.header.is_none() {
            self.dialect = reader.dialect().clone();
            self.header = reader.header().cloned();
            self.labels = self.header.as_ref().map(|header| header.labels.clone()).unwrap_or_default();
            self.begin_more()?;
            // One form for all: a part may look otherwise by chance.
            self.choice.delimiter = Some(self.dialect.form.delimiter.clone());
            if let Some(sign) = self.dialect.form.escape {
                self.choice.escape = Escape::By(sign);
            }
            self.choice.header &= self.header_in_each;
            if !self.header_in_each {
                // What stands before the header, and rows left out by their number, are the first part's too.
                self.choice.preamble = 0;
                self.choice.comment_rows.clear();
            }
        } else if reader.dialect().form != self.dialect.form {
            let message = "It is written otherwise than the first part: quotes in its cells stand behind a backslash.";
            return Err(FileFault::new(Code::SourceError, message)
                .suggest("Write dialect.escape = \"\\\\\" in the feed, so that all parts are read so.")
                .into());
        } else if self.header_in_each
            && let (Some(_), Some(header)) = (&self.header, reader.header())
            && self.labels != header.labels
        {
            let message = format!(
                "The header is not that of the first part: it says {}, the first part says {}.",
                shown(&header.labels),
                shown(&self.labels)
            );
            return Err(FileFault::new(Code::IncorrectLabel, message)
                .line(header.line)
                .suggest("Export all parts with the same columns; where only the first part has a header, write set.header = \"first\".")
                .into());
        }
        let new = reader.notes().iter().filter(|note| !self.notes.contains(note)).cloned().collect::<Vec<_>>();
        self.notes.extend(new);
        self.write_more()?;
        self.reader = Some(reader);
        Ok(())
    }

    /// Puts the columns that stand beside the parts behind those of the first part, which has its say in what they are.
    fn begin_more(&mut self) -> Result<(), DecodeError> {
        let columns = &self.parts[self.next - 1].columns;
        if columns.is_empty() {
            return Ok(());
        }
        let is_new = |column: &Constant| !self.labels.iter().any(|label| label.trim() == column.label);
        let picked: Vec<usize> = (0..columns.len()).filter(|&index| is_new(&columns[index])).collect();
        if let Some(header) = &mut self.header {
            header.labels.extend(picked.iter().map(|&index| columns[index].label.clone()));
            let labels = picked.iter().map(|&index| Cell { text: &columns[index].label, literal: false });
            behind(labels, &self.dialect.form, &mut header.raw);
        }
        let text = OpenOptions::new().append(true).open(&self.text)?;
        self.more = Some(More { picked, written: String::new(), special: false, text, bytes: 0 });
        Ok(())
    }

    /// Writes the columns as they are in the records of the part in hand.
    fn write_more(&mut self) -> Result<(), DecodeError> {
        let Some(more) = &mut self.more else { return Ok(()) };
        let columns = &self.parts[self.next - 1].columns;
        let cells = more.picked.iter().map(|&index| &columns[index]).map(|column| Cell { text: &column.cell, literal: column.literal });
        let form = &self.dialect.form;
        more.written.clear();
        if !behind(cells, form, &mut more.written) {
            let message =
                "What the part's folder names holds the delimiter, and this file has neither quotes nor escapes to write it with.";
            return Err(FileFault::new(Code::SourceError, message).suggest("Export it with quotes, or without partitions.").into());
        }
        more.special = [form.quote, form.escape].into_iter().flatten().any(|sign| more.written.as_bytes().contains(&sign));
        Ok(())
    }

    /// Counts the part in hand, which is read to its end.
    fn count(&mut self, facts: Facts) {
        if let Some(found) = self.found.borrow_mut().last_mut() {
            found.records = facts.records;
        }
        self.records += facts.records;
        self.lines += facts.lines;
        match &mut self.total {
            None => self.total = Some(facts),
            Some(total) => total.add(&facts),
        }
    }

    fn next_piece(&mut self) -> Result<Option<Chunk>, DecodeError> {
        loop {
            let Some(reader) = &mut self.reader else { return Ok(None) };
            if let Some(mut chunk) = reader.next_chunk()? {
                let mut offset = self.offset;
                if let Some(more) = &mut self.more {
                    chunk = chunk.with_cells(&more.written, more.special);
                    offset = more.bytes;
                    more.text.write_all(chunk.text.as_bytes())?;
                    more.bytes += chunk.text.len() as u64;
                }
                chunk.place_behind(self.records, self.lines, offset);
                return Ok(Some(chunk));
            }
            if let Some(reader) = self.reader.take() {
                self.count(reader.finish());
            }
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }
}

impl Chunks for Series<'_> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError> {
        if self.over {
            return Ok(None);
        }
        let next = self.next_piece();
        self.over = !matches!(next, Ok(Some(_)));
        if self.total.as_ref().is_some_and(|total| total.bytes > self.limits.file) {
            self.over = true;
            let message = format!("The parts together decompress to more than {} bytes.", self.limits.file);
            return Err(FileFault::new(Code::CompressionError, message)
                .suggest("Deliver it in several sets, or raise limits.file.")
                .into());
        }
        next
    }

    fn finish(mut self) -> Facts {
        if let Some(reader) = self.reader.take() {
            self.count(reader.finish());
        }
        self.total.take().unwrap_or_default()
    }
}

impl Facts {
    /// Adds those of a part that is read behind.
    fn add(&mut self, more: &Facts) {
        self.records += more.records;
        self.lines += more.lines;
        self.blank_lines += more.blank_lines;
        self.passed_over += more.passed_over;
        self.footer |= more.footer;
        self.repeated_headers += more.repeated_headers;
        self.bytes += more.bytes;
        self.compressed |= more.compressed;
        self.line_ends.lf += more.line_ends.lf;
        self.line_ends.crlf += more.line_ends.crlf;
        self.line_ends.cr += more.line_ends.cr;
        self.last_line_ended &= more.last_line_ended;
    }
}

/// Appends cells to a record, each behind a delimiter. False when the form cannot hold them.
fn behind<'c>(cells: impl Iterator<Item = Cell<'c>>, form: &Form, into: &mut String) -> bool {
    let mut cells = cells.peekable();
    let nothing = Cell { text: "", literal: false };
    cells.peek().is_none() || write_record(std::iter::once(nothing).chain(cells), form, "", into)
}

fn shown(labels: &[String]) -> String {
    let shown: Vec<String> = labels.iter().take(20).map(|label| format!("`{}`", label.trim().escape_debug())).collect();
    shown.join(", ") + if labels.len() > 20 { ", …" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::decode::read_record;

    /// Number, line and text.
    type Read = (u64, u64, String);

    fn read(parts: &[&[u8]], header_in_each: bool) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
        read_as(parts, header_in_each, &DialectChoice::default())
    }

    fn read_as(parts: &[&[u8]], header_in_each: bool, choice: &DialectChoice) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
        let folder = tempfile::tempdir().unwrap();
        let (data, text) = (folder.path().join("data"), folder.path().join("text"));
        std::fs::write(&data, parts.concat()).unwrap();
        let mut at = 0;
        let pieces = parts.iter().map(|part| {
            at += part.len() as u64;
            Piece { path: data.clone(), range: at - part.len() as u64..at, columns: Vec::new() }
        });
        read_pieces(pieces.collect(), header_in_each, &text, choice)
    }

    fn read_pieces(
        pieces: Vec<Piece>,
        header_in_each: bool,
        text: &Path,
        choice: &DialectChoice,
    ) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
        let limits = Limits::default();
        let found = RefCell::default();
        let mut series = Series::open(pieces, header_in_each, text, choice, &limits, &found)?;
        let mut records = Vec::new();
        while let Some(chunk) = series.next_chunk()? {
            let kept = std::fs::File::open(text).unwrap();
            for record in chunk.records() {
                let raw = read_record(&kept, record.offset, record.raw.len() as u32).unwrap();
                assert_eq!(raw, record.raw, "the text is kept where the record says");
                records.push((record.number, record.line, raw));
            }
        }
        let facts = series.finish();
        Ok((records, found.into_inner(), facts))
    }

    #[test]
    fn columns_that_stand_beside_the_parts_are_behind_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let piece = |name: &str, content: &str, region: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let constant = |label: &str, cell: &str| Constant { label: label.into(), cell: cell.into(), literal: cell == "NULL" };
            Piece { path, range: 0..content.len() as u64, columns: vec![constant("region", region), constant("n", "9")] }
        };
        let pieces = vec![piece("a", "id,n\na,1\n\n\"b\nb\",2", "E,U"), piece("b", "id,n\nc,3\n", ""), piece("c", "id,n\nd,4\n", "NULL")];
        let (records, _, facts) = read_pieces(pieces, true, &folder.path().join("text"), &DialectChoice::default()).unwrap();
        let shown: Vec<_> = records.iter().map(|(number, line, raw)| (*number, *line, raw.as_str())).collect();
        assert_eq!(shown, [(1, 2, "a,1,\"E,U\""), (2, 4, "\"b\nb\",2,\"E,U\""), (3, 7, "c,3,"), (4, 9, "d,4,\"NULL\"")]);
        assert_eq!(facts.records, 4);
    }

    /// Whatever a record ends in, the column behind it is a cell of its own.
    #[test]
    fn a_column_behind_a_record_is_written_in_its_form() {
        let read = |choice: &DialectChoice, content: &str, cell: &str| {
            let folder = tempfile::tempdir().unwrap();
            let (path, text) = (folder.path().join("a"), folder.path().join("text"));
            std::fs::write(&path, content).unwrap();
            let columns = vec![Constant { label: "region".into(), cell: cell.into(), literal: false }];
            let pieces = vec![Piece { path, range: 0..content.len() as u64, columns }];
            let (limits, found) = (Limits::default(), RefCell::default());
            let mut series = Series::open(pieces, true, &text, choice, &limits, &found)?;
            let chunk = series.next_chunk()?.unwrap();
            let mut told = Vec::new();
            for record in chunk.records() {
                let mut cells = Vec::new();
                record.cells(&mut cells);
                told.push((cells.join(";"), record.faults.len()));
            }
            Ok::<_, DecodeError>(told)
        };
        let form = |delimiter: &str, quote, escape| DialectChoice {
            delimiter: Some(delimiter.to_owned()),
            quote,
            escape,
            ..DialectChoice::default()
        };
        let shown = |cells: &str| (cells.to_owned(), 0);
        let long = form("||", Some(b'"'), Escape::Doubled);
        assert_eq!(read(&long, "id||n\na||b|\nc||d\n", "x").unwrap(), [shown("a;b|;x"), shown("c;d;x")]);
        let behind = form(",", None, Escape::By(b'\\'));
        assert_eq!(read(&behind, "id,n\na,\\N\nb,b\\", "x,y").unwrap(), [shown("a;\\N;x,y"), shown("b;b\\;x,y")]);
        let bare = form("||", None, Escape::Doubled);
        let told = read(&bare, "id||n\na||b|\nc||d\n", "x").unwrap();
        assert_eq!((told[0].1, &told[1]), (1, &shown("c;d;x")), "what cannot be written is a fault of its record");
        assert!(read(&bare, "id||n\nc||d\n", "x||y").is_err());
    }

    #[test]
    fn records_and_lines_are_counted_through_and_each_part_ends_by_itself() {
        let gzip = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, text).unwrap();
            encoder.finish().unwrap()
        };
        let packed = gzip(b"id,n\nc,3\n");
        let empty = gzip(b"");
        let (records, found, facts) =
            read(&[b"", b"id,n\na,1\n\nb,2", b"\xef\xbb\xbfid,n\n", &packed, &empty, b"id,n\nd,4\n"], true).unwrap();
        let shown: Vec<_> = records.iter().map(|(number, line, raw)| (*number, *line, raw.as_str())).collect();
        assert_eq!(shown, [(1, 2, "a,1"), (2, 4, "b,2"), (3, 7, "c,3"), (4, 9, "d,4")]);
        let places: Vec<_> = found.iter().map(|part| (part.lines_before, part.records)).collect();
        assert_eq!(places, [(0, 0), (0, 2), (4, 0), (5, 1), (7, 0), (7, 1)]);
        assert_eq!((facts.records, facts.lines, facts.repeated_headers, facts.compressed), (4, 9, 0, true));
        assert!(!facts.last_line_ended, "one part may have been cut short");
    }

    #[test]
    fn a_quote_that_one_part_leaves_open_is_not_closed_by_the_next() {
        let fault = read(&[b"id,n\na,\"1\n", b"id,n\nb\",2\n"], true).unwrap_err();
        assert!(matches!(fault, DecodeError::Fault(fault) if fault.code == Code::UnterminatedQuote && fault.line == Some(2)));
    }

    #[test]
    fn another_header_is_a_fault_and_a_part_without_one_is_by_choice() {
        let fault = read(&[b"id,n\na,1\n", b"n,id\n2,b\n"], true).unwrap_err();
        assert!(matches!(fault, DecodeError::Fault(fault) if fault.code == Code::IncorrectLabel && fault.line == Some(1)));
        let (records, ..) = read(&[b"id,n\na,1\n", b"b,2\n"], false).unwrap();
        assert_eq!(records[1], (2, 3, "b,2".to_owned()));
        assert!(read(&[b"", b""], true).is_err());
    }

    #[test]
    fn what_stands_before_the_header_is_passed_over_in_the_parts_that_have_a_header_alone() {
        let choice = DialectChoice { preamble: 2, ..DialectChoice::default() };
        let shown = |parts: &[&[u8]], in_each| {
            let (records, found, facts) = read_as(parts, in_each, &choice).unwrap();
            let records: Vec<_> = records.into_iter().map(|(number, line, raw)| format!("{number}:{line}:{raw}")).collect();
            (records.join(" "), found.iter().map(|part| part.records).collect::<Vec<_>>(), facts.passed_over)
        };
        let first: [&[u8]; 3] = [b"made\ntoday\nid,n\na,1\n", b"b,2\nc,3\n", b"d,4\n"];
        assert_eq!(shown(&first, false), ("1:4:a,1 2:5:b,2 3:6:c,3 4:7:d,4".to_owned(), vec![1, 2, 1], 2));
        let each: [&[u8]; 2] = [b"made\ntoday\nid,n\na,1\n", b"made\ntoday\nid,n\nb,2\n"];
        assert_eq!(shown(&each, true), ("1:4:a,1 2:8:b,2".to_owned(), vec![1, 1], 4));
    }
}
