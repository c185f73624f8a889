//! The reader: feeds the scanner, and makes chunks of what it finds.

mod begin;
mod form;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr;

use super::chunk::{Chunk, Span};
use super::fault::{DecodeError, FileFault, Place};
use super::input::{Input, Origin, Piece};
use super::scan::{Cut, Scanner, Step};
use super::section::Section;
use super::{Dialect, Facts, Header};
use crate::config::meant::{DialectChoice, Limits};
use crate::dialect::{BadSequence, Footer, FooterFound, Form};
use crate::outcome::{Code, Problem};
use begin::repeats;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// How much is handled at a time. Changes no record, number, line or fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes read at once.
    pub block: usize,
    /// Bytes of text in a chunk, about.
    pub chunk: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { block: 256 << 10, chunk: 1 << 20 }
    }
}

/// Reads one file from its start to its end.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Reader {
    input: Input,
    scanner: Scanner,
    sizes: Sizes,
    blank_lines_strict: bool,
    text_path: PathBuf,
    dialect: Dialect,
    /// The dialect's, for every chunk.
    form: Arc<Form>,
    header: Option<Header>,
    section: Option<Section>,
    notes: Vec<String>,
    /// The text is a sheet's.
    sheet: bool,
    /// Seen a NUL anywhere yet? Without, no record is searched for one.
    nul: bool,
    /// Why no more text comes; told when the text at hand is used up.
    broken: Option<Broken>,
    state: State,
    bytes: u64,
    bom: bool,
    records: u64,
    blank_lines: u64,
    repeated_headers: u64,
    passed_over: u64,
    /// Rows so far, whatever became of them.
    rows: u64,
    comment_rows: Vec<u64>,
    footer: Option<Footer>,
    /// Where the footer stood and what it said.
    footer_found: Option<(u64, FooterFound)>,
}

/// Why no more text comes.
enum Broken {
    Error(DecodeError),
    Bytes(BadSequence),
}

enum State {
    Reading,
    /// The records before the failure were handed out; it comes next.
    Failing(DecodeError),
    Failed,
    Done,
}

/// What the next chunk will be made of.
#[derive(Default)]
struct Hand {
    /// Number of the first record.
    first: u64,
    spans: Vec<Span>,
    faults: Vec<Problem>,
    faulty: Vec<(u32, Range<u32>)>,
}

impl Reader {
    /// Opens the file at `spool` and reads enough to know the dialect and the header.
    ///
    /// `text` is where the decoded text is kept when it differs from the delivered bytes (gzip). It is written while reading: the text of
    /// every chunk handed out is in it. Faults of the file as a whole, and of its header, come as [`DecodeError::Fault`].
    pub fn open(spool: &Path, text: &Path, choice: &DialectChoice, limits: &Limits) -> Result<Reader, DecodeError> {
        Reader::open_with(spool, text, choice, limits, Sizes::default())
    }

    /// As [`Reader::open`], with other sizes.
    pub fn open_with(spool: &Path, text: &Path, choice: &DialectChoice, limits: &Limits, sizes: Sizes) -> Result<Reader, DecodeError> {
        Reader::open_origin(&Origin { spool, part: None, keeps_nothing: false }, text, choice, limits, sizes)
    }

    /// Opens what stands at a place of the spooled file as a file by itself. Its text is appended to `text`, whatever it was delivered as;
    /// places of records are counted from where it begins there. None is kept with `keeps_nothing`.
    pub(super) fn open_part(
        spool: &Path,
        part: Range<u64>,
        text: &Path,
        keeps_nothing: bool,
        choice: &DialectChoice,
        limits: &Limits,
    ) -> Result<Reader, DecodeError> {
        Reader::open_origin(&Origin { spool, part: Some(part), keeps_nothing }, text, choice, limits, Sizes::default())
    }

    fn open_origin(origin: &Origin<'_>, text: &Path, choice: &DialectChoice, limits: &Limits, sizes: Sizes) -> Result<Reader, DecodeError> {
        if let Some(fault) = choice.form().fault() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, fault).into());
        }
        let input = Input::open(origin, text, sizes.block.max(1), choice, limits)?;
        let opened = input.opened.clone();
        let text_path = if opened.keeps_text { text } else { origin.spool }.to_owned();
        let mut reader = Reader {
            input,
            scanner: Scanner::new(limits),
            sizes,
            blank_lines_strict: choice.blank_lines_strict,
            text_path,
            dialect: Dialect {
                form: choice.form(),
                header: choice.header,
                evidence: String::new(),
                pinned: choice.delimiter.is_some(),
                charset: opened.charset,
                charset_evidence: opened.evidence,
                containers: opened.containers,
            },
            form: Arc::default(),
            header: None,
            section: None,
            notes: opened.notes,
            sheet: opened.sheet,
            nul: false,
            broken: None,
            state: State::Reading,
            bytes: 0,
            bom: false,
            records: 0,
            blank_lines: 0,
            repeated_headers: 0,
            passed_over: 0,
            rows: 0,
            comment_rows: choice.comment_rows.clone(),
            footer: choice.footer.clone(),
            footer_found: None,
        };
        reader.begin(choice)?;
        reader.form = Arc::new(reader.dialect.form.clone());
        Ok(reader)
    }

    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// What the file says of itself before its first record, where such files may.
    pub fn section(&self) -> Option<&Section> {
        self.section.as_ref()
    }

    /// What a person should know of how the file was read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file that [`super::Record::offset`] is a place of: the delivered one, or the decoded text beside it.
    pub fn text_path(&self) -> &Path {
        &self.text_path
    }

    /// The next records; none at the end of the file. Records before a fault of the file are handed out first.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError> {
        loop {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Reading => {}
                State::Failing(error) => return Err(error),
                State::Failed => return Err(io::Error::other("the file already proved to be unreadable").into()),
                State::Done => {
                    self.state = State::Done;
                    return Ok(None);
                }
            }
            let mut hand = Hand { first: self.records + 1, ..Hand::default() };
            let gathered = self.gather(&mut hand);
            let (chunk, bad_byte) = self.chunk(hand);
            // A byte that is not UTF-8 in the chunk stands before whatever stopped the scanner.
            self.state = match (bad_byte, gathered) {
                (Some(fault), _) => State::Failing(fault.into()),
                (None, Err(error)) => State::Failing(error),
                (None, Ok(state)) => state,
            };
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }

    /// What was counted. Complete only after [`Reader::next_chunk`] gave none.
    pub fn finish(self) -> Facts {
        let line_ends = self.scanner.line_ends;
        let compressed = !self.dialect.containers.is_empty();
        self.input.close();
        Facts {
            records: self.records,
            lines: line_ends.lf + line_ends.crlf + line_ends.cr + u64::from(!self.scanner.last_line_ended),
            blank_lines: self.blank_lines,
            repeated_headers: self.repeated_headers,
            passed_over: self.passed_over,
            footer: self.footer_found.is_some(),
            bytes: self.bytes,
            compressed,
            bom: self.bom,
            line_ends,
            last_line_ended: self.scanner.last_line_ended,
        }
    }

    /// Bytes of memory that the text in hand takes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.scanner.text.capacity()
    }

    /// Takes the next block of text into hand.
    fn fill(&mut self) {
        match self.input.next() {
            Piece::Block(block) => {
                self.bytes += block.len() as u64;
                self.nul |= memchr(0, &block).is_some();
                self.scanner.text.extend_from_slice(&block);
            }
            Piece::End => self.scanner.ended = true,
            Piece::Failed(error) => self.broken = Some(Broken::Error(error)),
            Piece::Bad(bad) => self.broken = Some(Broken::Bytes(bad)),
        }
    }

    fn told(&self, broken: Broken) -> DecodeError {
        match broken {
            Broken::Error(error) => error,
            Broken::Bytes(bad) => FileFault::bad_bytes(&bad, self.scanner.place_behind()).into(),
        }
    }

    /// Fills until there are so many bytes, or all. Fails when the file is broken before.
    fn fill_to(&mut self, bytes: usize) -> Result<(), DecodeError> {
        while self.scanner.text.len() < bytes && !self.scanner.ended {
            self.fill();
            if let Some(broken) = self.broken.take() {
                return Err(self.told(broken));
            }
        }
        Ok(())
    }

    /// Scans until there is enough for a chunk, or nothing more.
    fn gather(&mut self, hand: &mut Hand) -> Result<State, DecodeError> {
        loop {
            match self.scanner.step()? {
                Step::Record(cut) => self.accept(&cut, hand)?,
                Step::Blank { start, line } => self.accept_blank(start, line, hand),
                Step::Comment => self.pass_over(),
                Step::Done => return self.check_footer().map(|()| State::Done),
                Step::More => {
                    if self.broken.is_none() {
                        self.fill();
                    }
                    if let Some(broken) = self.broken.take() {
                        self.scanner.check_text(self.scanner.text.len())?;
                        return Err(self.told(broken));
                    }
                    continue;
                }
            }
            // After shedding, places in the text in hand no longer follow from its first byte's.
            if self.scanner.start >= self.sizes.chunk || self.scanner.has_lost() {
                return Ok(State::Reading);
            }
        }
    }

    fn accept(&mut self, cut: &Cut, hand: &mut Hand) -> Result<(), FileFault> {
        let raw = &self.scanner.text[cut.start..][..cut.length];
        if !self.comment_rows.is_empty() {
            self.rows += 1;
            if self.comment_rows.binary_search(&self.rows).is_ok() {
                self.passed_over += 1;
                return Ok(());
            }
        }
        if let Some(footer) = &self.footer {
            if let Some((line, _)) = self.footer_found {
                let message = format!("The footer `{}` stands on line {line}, and records follow it.", footer.source().escape_debug());
                return Err(FileFault::new(Code::RowCount, message)
                    .line(cut.line)
                    .suggest("The file may be joined from several; deliver each by itself."));
            }
            let found =
                if cut.overlong { None } else { std::str::from_utf8(raw).ok().and_then(|raw| footer.find(raw, &self.form.delimiter)) };
            if let Some(found) = found {
                self.footer_found = Some((cut.line, found));
                return Ok(());
            }
        }
        if !cut.overlong && self.header.as_ref().is_some_and(|header| repeats(header, raw, &self.form)) {
            self.repeated_headers += 1;
            return Ok(());
        }
        let formula = self.sheet && memchr(b'#', raw).is_some();
        if cut.overlong
            || cut.stray.is_some()
            || self.nul
            || formula
            || cut.length >= self.scanner.limits().cells.min(self.scanner.limits().cell)
        {
            let faults = self.form_faults(cut);
            hand.fault(faults);
        }
        hand.spans.push(Span {
            start: cut.start as u32,
            length: cut.length as u32,
            line: (cut.line - self.scanner.base_line) as u32,
            special: cut.special,
        });
        self.records += 1;
        Ok(())
    }

    fn accept_blank(&mut self, start: usize, line: u64, hand: &mut Hand) {
        self.rows += 1;
        if !self.blank_lines_strict || self.footer_found.is_some() {
            self.blank_lines += 1;
            return;
        }
        hand.fault(vec![Problem::new(Code::BlankRow, None, "The line is blank.")]);
        hand.spans.push(Span { start: start as u32, length: 0, line: (line - self.scanner.base_line) as u32, special: false });
        self.records += 1;
    }

    fn pass_over(&mut self) {
        self.rows += 1;
        self.passed_over += 1;
    }

    /// At the end: is the declared footer there, and is what it counts so?
    fn check_footer(&self) -> Result<(), DecodeError> {
        let Some(footer) = &self.footer else { return Ok(()) };
        let Some((line, found)) = self.footer_found else {
            let message =
                format!("The last line is not the footer `{}`: the file is cut short, or has none.", footer.source().escape_debug());
            return Err(FileFault::new(Code::RowCount, message)
                .suggest("Deliver it again; where files have no footer, remove dialect.footer.")
                .into());
        };
        let Some((stated, counts)) = found.count else { return Ok(()) };
        let counted = counts.of(self.records, self.dialect.header);
        if stated == counted {
            return Ok(());
        }
        let what = match (counts.header, counts.footer) {
            (false, false) => "records",
            (true, false) => "records with the header",
            (false, true) => "records with the footer",
            (true, true) => "records with header and footer",
        };
        Err(FileFault::new(Code::RowCount, format!("The footer says {stated} {what}; the file has {counted}."))
            .line(line)
            .suggest("Deliver it again: rows are missing or too many. If the exporter counts other lines too, write {count+header} in dialect.footer.")
            .into())
    }

    /// Makes the chunk. Its text is proved to be UTF-8 here, once for all its records.
    fn chunk(&mut self, mut hand: Hand) -> (Option<Chunk>, Option<FileFault>) {
        let (line, offset) = (self.scanner.base_line, self.scanner.base);
        let room = self.sizes.chunk + 2 * self.sizes.block;
        let mut bad_byte = None;
        let text = String::from_utf8(self.scanner.take_scanned(room)).unwrap_or_else(|wrong| {
            let valid = wrong.utf8_error().valid_up_to();
            let mut bytes = wrong.into_bytes();
            let place = Place::at_line(line).after(&bytes[..valid]);
            bad_byte = Some(FileFault::bad_byte(bytes[valid], place, offset + valid as u64));
            bytes.truncate(valid);
            hand.keep_before(valid);
            String::from_utf8(bytes).unwrap_or_default()
        });
        let chunk = (!hand.spans.is_empty()).then_some(Chunk {
            text,
            form: Arc::clone(&self.form),
            first: hand.first,
            line,
            offset,
            spans: hand.spans,
            faults: hand.faults,
            faulty: hand.faulty,
        });
        (chunk, bad_byte)
    }
}

impl Hand {
    /// Keeps the faults of the record that is about to be added.
    fn fault(&mut self, faults: Vec<Problem>) {
        if faults.is_empty() {
            return;
        }
        let start = self.faults.len() as u32;
        self.faults.extend(faults);
        self.faulty.push((self.spans.len() as u32, start..self.faults.len() as u32));
    }

    /// Forgets records that do not end before this byte.
    fn keep_before(&mut self, byte: usize) {
        self.spans.retain(|span| ((span.start + span.length) as usize) < byte);
        self.faulty.retain(|(record, _)| (*record as usize) < self.spans.len());
    }
}
