//! The reader: feeds the scanner, and makes chunks of what it finds.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr_iter};

use super::cells::{Cell, Cells, split_quoted};
use super::chunk::{Chunk, Span};
use super::fault::{BLANK, DecodeError, EMPTY, FileFault, Place};
use super::input::{Input, Origin, Piece};
use super::scan::{Cut, Scanner, Step, Stray};
use super::section::{Section, is_in_section};
use super::{Dialect, Facts, Header, detect};
use crate::config::meant::{DialectChoice, Limits, SectionChoice};
use crate::outcome::{Code, Problem};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Decoded bytes in which NULs are counted.
const NUL_HEAD: usize = 64 << 10;

/// Decoded bytes in which the delimiter is looked for.
const DIALECT_HEAD: usize = 256 << 10;

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
pub struct Reader {
    input: Input,
    scanner: Scanner,
    sizes: Sizes,
    blank_lines_strict: bool,
    text_path: PathBuf,
    dialect: Dialect,
    header: Option<Header>,
    section: Option<Section>,
    notes: Vec<String>,
    /// Seen a NUL anywhere yet? Without, no record is searched for one.
    nul: bool,
    /// Why no more text comes; told when the text at hand is used up.
    broken: Option<DecodeError>,
    state: State,
    bytes: u64,
    bom: bool,
    records: u64,
    blank_lines: u64,
    repeated_headers: u64,
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
        Reader::open_origin(&Origin { spool, part: None }, text, choice, limits, sizes)
    }

    /// Opens what stands at a place of the spooled file as a file by itself. Its text is appended to `text`, whatever it was delivered as;
    /// places of records are counted from where it begins there.
    pub fn open_part(
        spool: &Path,
        part: Range<u64>,
        text: &Path,
        choice: &DialectChoice,
        limits: &Limits,
    ) -> Result<Reader, DecodeError> {
        Reader::open_origin(&Origin { spool, part: Some(part) }, text, choice, limits, Sizes::default())
    }

    fn open_origin(
        origin: &Origin<'_>,
        text: &Path,
        choice: &DialectChoice,
        limits: &Limits,
        sizes: Sizes,
    ) -> Result<Reader, DecodeError> {
        if let Some(delimiter) = choice.delimiter
            && (!delimiter.is_ascii() || matches!(delimiter, b'"' | b'\n' | b'\r' | 0))
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("byte {delimiter} cannot be a delimiter")).into());
        }
        let input = Input::open(origin, text, sizes.block.max(1), limits)?;
        let text_path = if input.keeps_text { text } else { origin.spool }.to_owned();
        let mut reader = Reader {
            input,
            scanner: Scanner::new(limits),
            sizes,
            blank_lines_strict: choice.blank_lines_strict,
            text_path,
            dialect: Dialect { delimiter: b',', header: choice.header, evidence: String::new(), pinned: false },
            header: None,
            section: None,
            notes: Vec::new(),
            nul: false,
            broken: None,
            state: State::Reading,
            bytes: 0,
            bom: false,
            records: 0,
            blank_lines: 0,
            repeated_headers: 0,
        };
        reader.begin(choice)?;
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
        let compressed = self.input.compressed;
        self.input.close();
        Facts {
            records: self.records,
            lines: line_ends.lf + line_ends.crlf + line_ends.cr + u64::from(!self.scanner.last_line_ended),
            blank_lines: self.blank_lines,
            repeated_headers: self.repeated_headers,
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
            Piece::Failed(error) => self.broken = Some(error),
        }
    }

    /// Fills until there are so many bytes, or all. Fails when the file is broken before.
    fn fill_to(&mut self, bytes: usize) -> Result<(), DecodeError> {
        while self.scanner.text.len() < bytes && !self.scanner.ended {
            self.fill();
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn begin(&mut self, choice: &DialectChoice) -> Result<(), DecodeError> {
        self.fill_to(NUL_HEAD)?;
        let head = &self.scanner.text[..self.scanner.text.len().min(NUL_HEAD)];
        detect::check_text(head, self.input.compressed)?;
        self.bom = head.starts_with(BOM);
        if self.bom {
            self.scanner.skip(BOM.len());
        }
        self.skip_blank_lines()?;
        if let Some(expected) = &choice.section {
            self.read_section(expected)?;
        }
        self.fill_to(DIALECT_HEAD)?;
        self.find_delimiter(choice)?;
        self.scanner.delimiter = self.dialect.delimiter;
        match self.section.as_ref().and_then(|section| section.fields.clone()) {
            Some((labels, line)) => {
                let raw = labels.join(char::from(self.dialect.delimiter).encode_utf8(&mut [0; 4]));
                self.header = Some(Header { labels, line, raw });
                Ok(())
            }
            None if choice.header => self.read_header(),
            None => Ok(()),
        }
    }

    fn find_delimiter(&mut self, choice: &DialectChoice) -> Result<(), DecodeError> {
        let stated = self.section.as_ref().and_then(|section| section.delimiter);
        let head = &self.scanner.text[..self.scanner.text.len().min(DIALECT_HEAD)];
        let (delimiter, evidence) = match (choice.delimiter, stated) {
            (Some(of_feed), Some(of_file)) if of_feed != of_file => {
                let message = "The header section names another delimiter than the feed does.";
                return Err(FileFault::new(Code::SourceError, message).suggest("Remove dialect.delimiter from the feed.").into());
            }
            (Some(delimiter), _) => (delimiter, Some("named by the feed")),
            (None, Some(delimiter)) => (delimiter, Some("named by the file's header section")),
            // The comma is this form's own default: what else stands in the records says nothing against it.
            (None, None) if self.section.is_some() || (choice.section.is_some() && first_line(head).contains(&b',')) => {
                (b',', Some("the default of such files"))
            }
            (None, None) => (b',', None),
        };
        if let Some(evidence) = evidence {
            self.dialect.delimiter = delimiter;
            self.dialect.pinned = true;
            self.dialect.evidence.push_str(evidence);
        } else {
            let whole = self.scanner.ended && head.len() == self.scanner.text.len();
            let guess = detect::guess(head, whole)?;
            self.dialect.delimiter = guess.delimiter;
            self.dialect.evidence = guess.evidence;
        }
        Ok(())
    }

    /// Reads the header section, if the file begins with one, up to the blank line that ends it.
    fn read_section(&mut self, expected: &SectionChoice) -> Result<(), DecodeError> {
        self.fill_to(DIALECT_HEAD)?;
        if !is_in_section(first_line(&self.scanner.text)) {
            return Ok(());
        }
        let mut section = Section::default();
        // Nothing in these lines separates cells, so that no quote opens one.
        self.scanner.delimiter = b'\n';
        loop {
            match self.scanner.step()? {
                Step::Record(cut) if cut.overlong => {
                    let message = format!("A line of the header section is longer than {} bytes.", self.scanner.limits().record);
                    return Err(FileFault::new(Code::RecordTooLong, message).line(cut.line).into());
                }
                Step::Record(cut) => {
                    let line = &self.scanner.text[cut.start..][..cut.length];
                    let line = std::str::from_utf8(line).map_err(|wrong| self.scanner.bad_byte(cut.start + wrong.valid_up_to()))?;
                    section.take(line, cut.line)?;
                }
                Step::More => self.fill_to(self.scanner.text.len() + 1)?,
                Step::Blank { .. } | Step::Done => break,
            }
        }
        self.scanner.drop_scanned();
        self.notes.extend(whose(&section.campaigns, &expected.campaigns)?);
        let names_columns = section.fields.is_some();
        self.section = Some(section);
        if names_columns { Ok(()) } else { self.skip_blank_lines() }
    }

    /// Blank lines before the first record are never records: whatever wrote them did not mean a row.
    fn skip_blank_lines(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.scanner.text.get(self.scanner.start) {
                Some(b'\n' | b'\r') => match self.scanner.step()? {
                    Step::Blank { .. } => self.blank_lines += 1,
                    _ => self.fill_to(self.scanner.text.len() + 1)?,
                },
                Some(_) => break,
                None if self.scanner.ended => {
                    let what = if self.bytes == 0 { EMPTY } else { BLANK };
                    return Err(FileFault::new(Code::SourceError, what)
                        .suggest("Deliver it again; an export with no rows still needs its header line.")
                        .into());
                }
                None => self.fill_to(self.scanner.text.len() + 1)?,
            }
            if self.scanner.start >= self.sizes.chunk.max(1 << 10) {
                self.scanner.drop_scanned();
            }
        }
        self.scanner.drop_scanned();
        Ok(())
    }

    fn read_header(&mut self) -> Result<(), DecodeError> {
        let cut = loop {
            match self.scanner.step()? {
                Step::Record(cut) => break cut,
                _ => self.fill_to(self.scanner.text.len() + 1)?,
            }
        };
        self.scanner.check_text(self.scanner.start)?;
        let raw = String::from_utf8_lossy(&self.scanner.text[cut.start..][..cut.length]).into_owned();
        if let Some(problem) = self.form_faults(&cut).into_iter().next() {
            let place = problem.column.map_or(String::new(), |column| format!(", label {}", column + 1));
            let mut fault = FileFault::new(problem.code, format!("In the header{place}: {}", problem.message)).line(cut.line);
            fault.suggestion = problem.suggestion;
            return Err(fault.into());
        }
        let mut labels = Vec::new();
        split_quoted(&raw, self.dialect.delimiter, &mut labels);
        let labels = labels.into_iter().map(Cow::into_owned).collect();
        self.header = Some(Header { labels, line: cut.line, raw });
        self.scanner.drop_scanned();
        Ok(())
    }

    /// Scans until there is enough for a chunk, or nothing more.
    fn gather(&mut self, hand: &mut Hand) -> Result<State, DecodeError> {
        loop {
            match self.scanner.step()? {
                Step::Record(cut) => self.accept(&cut, hand),
                Step::Blank { start, line } if self.blank_lines_strict => self.accept_blank(start, line, hand),
                Step::Blank { .. } => self.blank_lines += 1,
                Step::Done => return Ok(State::Done),
                Step::More => {
                    if self.broken.is_none() {
                        self.fill();
                    }
                    if let Some(error) = self.broken.take() {
                        self.scanner.check_text(self.scanner.text.len())?;
                        return Err(error);
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

    fn accept(&mut self, cut: &Cut, hand: &mut Hand) {
        let raw = &self.scanner.text[cut.start..][..cut.length];
        if !cut.overlong && self.header.as_ref().is_some_and(|header| repeats(header, raw, self.dialect.delimiter)) {
            self.repeated_headers += 1;
            return;
        }
        if cut.overlong || cut.stray.is_some() || self.nul || cut.length >= self.scanner.limits().cells.min(self.scanner.limits().cell) {
            let faults = self.form_faults(cut);
            hand.fault(faults);
        }
        hand.spans.push(Span {
            start: cut.start as u32,
            length: cut.length as u32,
            line: (cut.line - self.scanner.base_line) as u32,
            quoted: cut.quoted,
        });
        self.records += 1;
    }

    fn accept_blank(&mut self, start: usize, line: u64, hand: &mut Hand) {
        hand.fault(vec![Problem::new(Code::BlankRow, None, "The line is blank.")]);
        hand.spans.push(Span { start: start as u32, length: 0, line: (line - self.scanner.base_line) as u32, quoted: false });
        self.records += 1;
    }

    /// What is wrong with a record's form, always in the same order.
    fn form_faults(&self, cut: &Cut) -> Vec<Problem> {
        let limits = self.scanner.limits();
        let raw = &self.scanner.text[cut.start..][..cut.length];
        let mut problems = Vec::new();
        if cut.overlong {
            let message = format!("The record is {} bytes long; the limit is {}.", cut.bytes, limits.record);
            problems.push(Problem::new(Code::RecordTooLong, None, message));
        }
        // What is not UTF-8 fails the file before anybody sees these.
        let Ok(text) = std::str::from_utf8(raw) else { return problems };
        let cells = || Cells::new(text, self.dialect.delimiter);
        if let Some(stray) = cut.stray {
            problems.push(stray_problem(stray, cut, cells()));
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
        if raw.len() >= limits.cells && memchr_iter(self.dialect.delimiter, raw).count() >= limits.cells {
            let count = cells().count();
            if count > limits.cells {
                let message = format!("The record has {count} cells; the limit is {}.", limits.cells);
                problems.push(Problem::new(Code::TooManyCells, None, message));
            }
        }
        if raw.len() > limits.cell
            && let Some(column) = cells().position(|cell| !cell.quoted && cell.text.len() > limits.cell)
        {
            let message = format!("The cell is longer than {} bytes.", limits.cell);
            problems.push(Problem::new(Code::CellTooLong, Some(column), message));
        }
        problems
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
            delimiter: self.dialect.delimiter,
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

/// Are a file's passes this feed's? A note where nobody can tell.
fn whose(named: &[String], taken: &[String]) -> Result<Option<String>, FileFault> {
    let list = named.join(", ");
    match (named, taken) {
        ([], _) => Ok(None),
        ([_], []) => Ok(Some(format!("the file is for campaign {list}; the feed does not say which are its (format.campaigns)"))),
        (_, []) => Err(FileFault::new(Code::SourceError, format!("The file is for several campaigns: {list}."))
            .suggest("If all their passes are in this feed's platform account, name them in the feed's format.campaigns.")),
        _ if named.iter().all(|name| taken.contains(name)) => Ok(None),
        _ => Err(FileFault::new(Code::SourceError, format!("The file is for campaign {list}; this feed takes {}.", taken.join(", ")))
            .suggest("Deliver it to the feed of that campaign.")),
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default()
}

/// Is the record the header once more? Exports that were joined may begin with a byte-order mark again, or be quoted otherwise.
fn repeats(header: &Header, raw: &[u8], delimiter: u8) -> bool {
    let raw = raw.strip_prefix(BOM).unwrap_or(raw);
    if raw == header.raw.as_bytes() {
        return true;
    }
    // Nearly every record differs in its first bytes already.
    let begins = header.labels.first().is_some_and(|label| raw.strip_prefix(b"\"").unwrap_or(raw).starts_with(label.as_bytes()));
    begins
        && std::str::from_utf8(raw).is_ok_and(|raw| {
            // A stray quote is a fault, whatever it stands beside.
            let well = |cell: Cell<'_>| cell.quoted || !cell.text.contains('"');
            let mut labels = header.labels.iter();
            Cells::new(raw, delimiter).all(|cell| labels.next().is_some_and(|label| *label == *cell.text) && well(cell))
                && labels.next().is_none()
        })
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

fn stray_problem(stray: Stray, cut: &Cut, cells: Cells<'_>) -> Problem {
    let column = (!cut.overlong).then(|| cells.index_at(stray.at as usize));
    let place = if stray.line == cut.line { String::new() } else { format!(" on line {}", stray.line) };
    let what = if stray.after_closing { "Text follows the closing quote of the cell" } else { "A quote stands inside an unquoted cell" };
    let message = format!("{what}{place}.");
    Problem::new(Code::StrayQuote, column, message).suggest("Quote the whole cell and double the quotes in it.")
}
