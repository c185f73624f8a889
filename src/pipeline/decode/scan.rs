//! Where records end: a state machine over quotes and line ends that may be fed in pieces of any size.
//!
//! It looks at nothing but quotes and line ends, so most of the text is passed over at the speed of memchr. A byte whose meaning depends
//! on the next one (a CR, a quote inside a quoted cell) is left until that one has come; this makes the result independent of the pieces.

mod rich;

use memchr::{memchr2, memchr3};

use super::LineEnds;
use super::fault::{FileFault, Place};
use crate::config::meant::Limits;
use crate::dialect::Form;
use crate::outcome::Code;
use rich::Rich;

/// Bytes that are kept of a record that is too long.
pub(super) const PREFIX: usize = 4096;

/// No limit of a record or cell goes beyond this, whatever is configured: places inside a chunk are 32 bits wide.
const LIMIT_MAX: usize = 1 << 30;

pub(super) struct Scanner {
    delimiter: u8,
    /// A line feed where nothing is quoted: it ends a record before it can open a cell.
    quote: u8,
    /// What a form other than the plain one needs.
    rich: Option<Box<Rich>>,
    limits: Limits,
    /// The text in hand. What is before `start` was scanned.
    pub text: Vec<u8>,
    /// Place in the file of the text's first byte, which starts a line.
    pub base: u64,
    pub base_line: u64,
    /// Where the record in hand starts.
    pub start: usize,
    start_line: u64,
    pos: usize,
    /// Line at `pos`.
    pub line: u64,
    state: State,
    special: bool,
    stray: Option<Stray>,
    shed: Option<Shed>,
    /// Bytes of the scanned text that were shed.
    lost: u64,
    /// No more text will come.
    pub ended: bool,
    pub line_ends: LineEnds,
    pub last_line_ended: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// Outside quotes.
    Open,
    /// Inside the quoted cell whose quote is at this byte of the record, on this line.
    Quoted { opened: u64, line: u64 },
    /// After a stray quote: the rest of the line is not understood.
    Stray,
    /// In a line that is no record.
    Comment,
}

/// A quote where none may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    /// Byte of the record.
    pub at: u64,
    pub line: u64,
    /// Text after a closing quote, rather than a quote in an unquoted cell.
    pub after_closing: bool,
}

/// The part of an over-long record that is no longer in the text: it was between `keep` and what follows.
struct Shed {
    keep: usize,
    bytes: u64,
    place: Place,
    last: u8,
}

/// A record as the scanner sees it.
pub(super) struct Cut {
    /// Where it is in the text; of an over-long one, a prefix.
    pub start: usize,
    pub length: usize,
    pub line: u64,
    /// Is there a quote or an escape in it?
    pub special: bool,
    pub stray: Option<Stray>,
    pub overlong: bool,
    /// Its whole length.
    pub bytes: u64,
}

pub(super) enum Step {
    Record(Cut),
    Blank { start: usize, line: u64 },
    Comment,
    More,
    Done,
}

impl Scanner {
    pub fn new(limits: &Limits) -> Scanner {
        let mut limits = limits.clone();
        limits.record = limits.record.min(LIMIT_MAX);
        limits.cell = limits.cell.min(LIMIT_MAX);
        Scanner {
            delimiter: b',',
            quote: b'"',
            rich: None,
            limits,
            text: Vec::new(),
            base: 0,
            base_line: 1,
            start: 0,
            start_line: 1,
            pos: 0,
            line: 1,
            state: State::Open,
            special: false,
            stray: None,
            shed: None,
            lost: 0,
            ended: false,
            line_ends: LineEnds::default(),
            last_line_ended: true,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes what follows as written in this form. Only between records.
    pub fn set_form(&mut self, form: &Form) {
        self.delimiter = form.first();
        self.quote = form.quote_byte();
        self.rich = (!form.is_plain()).then(|| Box::new(Rich::new(form)));
    }

    /// Takes what follows as lines in which nothing means anything. Only between records.
    pub fn set_lines(&mut self) {
        (self.delimiter, self.quote, self.rich) = (b'\n', b'\n', None);
    }

    /// Goes on to the end of the next record or blank line.
    pub fn step(&mut self) -> Result<Step, FileFault> {
        if self.rich.is_some() { self.step_rich() } else { self.step_plain() }
    }

    fn step_plain(&mut self) -> Result<Step, FileFault> {
        let quote = self.quote;
        loop {
            match self.state {
                State::Open => {
                    let Some(found) = memchr3(quote, b'\n', b'\r', &self.text[self.pos..]) else { return self.starve() };
                    self.pos += found;
                    if matches!(self.text[self.pos], b'\n' | b'\r') {
                        return self.end_record();
                    }
                    self.special = true;
                    if self.at_cell_start() {
                        self.state = State::Quoted { opened: self.reached(), line: self.line };
                    } else {
                        self.go_astray(false);
                    }
                    self.pos += 1;
                }
                State::Quoted { opened, line } => {
                    let found = memchr3(quote, b'\n', b'\r', &self.text[self.pos..]);
                    self.pos = found.map_or(self.text.len(), |found| self.pos + found);
                    if self.reached() - opened - 1 > self.limits.cell as u64 {
                        return Err(self.cell_too_long(opened, line));
                    }
                    if found.is_none() {
                        return self.starve();
                    }
                    if self.text[self.pos] != quote {
                        let Some(length) = self.line_end() else { return self.starve() };
                        self.line += 1;
                        self.pos += length;
                        continue;
                    }
                    match self.text.get(self.pos + 1) {
                        Some(&next) if next == quote => {
                            self.pos += 2;
                            continue;
                        }
                        Some(&next) if next == self.delimiter || next == b'\n' || next == b'\r' => self.state = State::Open,
                        Some(_) => self.go_astray(true),
                        None if self.ended => self.state = State::Open,
                        None => return self.starve(),
                    }
                    self.pos += 1;
                }
                State::Stray | State::Comment => {
                    let Some(found) = memchr2(b'\n', b'\r', &self.text[self.pos..]) else { return self.starve() };
                    self.pos += found;
                    return self.end_record();
                }
            }
        }
    }

    /// Bytes of the record before `pos`.
    fn reached(&self) -> u64 {
        (self.pos - self.start) as u64 + self.shed.as_ref().map_or(0, |shed| shed.bytes)
    }

    fn at_cell_start(&self) -> bool {
        let before = match &self.shed {
            Some(shed) if self.pos == shed.keep => shed.last,
            _ if self.pos == self.start => return true,
            _ => self.text[self.pos - 1],
        };
        before == self.delimiter
    }

    fn go_astray(&mut self, after_closing: bool) {
        self.stray = Some(Stray { at: self.reached(), line: self.line, after_closing });
        self.state = State::Stray;
    }

    /// Length of the line end at `pos`, counted; none when its second byte may still come.
    fn line_end(&mut self) -> Option<usize> {
        if self.text[self.pos] == b'\n' {
            self.line_ends.lf += 1;
            return Some(1);
        }
        match self.text.get(self.pos + 1) {
            Some(b'\n') => {
                self.line_ends.crlf += 1;
                Some(2)
            }
            None if !self.ended => None,
            _ => {
                self.line_ends.cr += 1;
                Some(1)
            }
        }
    }

    fn end_record(&mut self) -> Result<Step, FileFault> {
        let Some(line_end) = self.line_end() else { return self.starve() };
        let step = if self.reached() == 0 { Step::Blank { start: self.start, line: self.line } } else { Step::Record(self.cut()?) };
        self.line += 1;
        self.next_record(self.pos + line_end);
        Ok(step)
    }

    fn next_record(&mut self, start: usize) {
        self.pos = start;
        self.start = start;
        self.start_line = self.line;
        self.state = State::Open;
        self.special = false;
        self.stray = None;
        self.lost += self.shed.take().map_or(0, |shed| shed.bytes);
    }

    fn cut(&self) -> Result<Cut, FileFault> {
        let overlong = self.reached() > self.limits.record as u64;
        let mut length = self.pos - self.start;
        if overlong {
            self.check_text(self.pos)?;
            length = self.prefix();
        }
        Ok(Cut {
            start: self.start,
            length,
            line: self.start_line,
            special: self.special,
            stray: self.stray,
            overlong,
            bytes: self.reached(),
        })
    }

    /// Length of what is kept of an over-long record: whole characters.
    fn prefix(&self) -> usize {
        if let Some(shed) = &self.shed {
            return shed.keep - self.start;
        }
        let most = PREFIX.min(self.limits.record);
        (0..=most).rev().find(|length| self.text.get(self.start + length).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(0)
    }

    /// The text in hand is used up.
    fn starve(&mut self) -> Result<Step, FileFault> {
        if !self.ended {
            if self.state_reaches_end() {
                self.pos = self.text.len();
            }
            if self.reached() > self.limits.record as u64 {
                self.shed()?;
            }
            return Ok(Step::More);
        }
        self.pos = self.text.len();
        if let State::Quoted { opened, line } = self.state {
            self.check_text(self.text.len())?;
            return Err(self.unterminated(opened, line));
        }
        if self.reached() == 0 {
            return Ok(Step::Done);
        }
        let cut = self.cut()?;
        self.last_line_ended = false;
        self.next_record(self.pos);
        Ok(Step::Record(cut))
    }

    /// False when `pos` waits on a byte whose meaning depends on the next.
    fn state_reaches_end(&self) -> bool {
        match self.text.get(self.pos) {
            Some(b'\r') => false,
            Some(&byte) => !(byte == self.quote && matches!(self.state, State::Quoted { .. })),
            None => true,
        }
    }

    /// Drops what is not kept of an over-long record, so that a line of any length fits in memory.
    fn shed(&mut self) -> Result<(), FileFault> {
        if self.shed.is_none() {
            let keep = self.start + self.prefix();
            let place = Place::at_line(self.base_line).after(&self.text[..keep]);
            self.check_text(keep)?;
            self.shed = Some(Shed { keep, bytes: 0, place, last: 0 });
        }
        let Some(shed) = &self.shed else { return Ok(()) };
        let keep = shed.keep;
        // A character that has only half arrived stays.
        let valid = match std::str::from_utf8(&self.text[keep..self.pos]) {
            Ok(text) => text.len(),
            Err(wrong) if wrong.error_len().is_none() => wrong.valid_up_to(),
            Err(wrong) => return Err(self.bad_byte(keep + wrong.valid_up_to())),
        };
        if let (Some(shed), Some(&last)) = (&mut self.shed, self.text[keep..keep + valid].last()) {
            shed.place = shed.place.after(&self.text[keep..keep + valid]);
            shed.bytes += valid as u64;
            shed.last = last;
            self.text.drain(keep..keep + valid);
            self.pos -= valid;
        }
        Ok(())
    }

    /// Is the text in hand UTF-8 up to `end`? A character cut off there is left for later, unless the file ends.
    pub fn check_text(&self, end: usize) -> Result<(), FileFault> {
        match std::str::from_utf8(&self.text[..end]) {
            Err(wrong) if wrong.error_len().is_some() || (self.ended && end == self.text.len()) => Err(self.bad_byte(wrong.valid_up_to())),
            _ => Ok(()),
        }
    }

    /// The file is not UTF-8 at this byte of the text in hand.
    pub fn bad_byte(&self, at: usize) -> FileFault {
        let (place, shed) = self.place(at);
        let offset = self.base + at as u64 + shed;
        FileFault::bad_byte(self.text.get(at).copied().unwrap_or_default(), place, offset)
    }

    /// Place of what follows the text in hand.
    pub fn place_behind(&self) -> Place {
        self.place(self.text.len()).0
    }

    /// Place of a byte of the text in hand, and how many bytes were shed before it.
    fn place(&self, at: usize) -> (Place, u64) {
        match &self.shed {
            Some(shed) if at >= shed.keep => (shed.place.after(&self.text[shed.keep..at]), shed.bytes),
            _ => (Place::at_line(self.base_line).after(&self.text[..at]), 0),
        }
    }

    fn cell_too_long(&self, opened: u64, line: u64) -> FileFault {
        // Only the text before the cell's first byte too many has a say, or the size of the pieces would.
        let excess = self.reached() - (opened + 1 + self.limits.cell as u64);
        if let Err(fault) = self.check_text(self.pos.saturating_sub(excess as usize)) {
            return fault;
        }
        let message = format!("The quoted cell that opens on line {line} is longer than {} bytes.", self.limits.cell);
        self.at_quote(FileFault::new(Code::CellTooLong, message), opened, line)
            .suggest("Look for a missing closing quote there; raise limits.cell if the cell is meant.")
    }

    fn unterminated(&self, opened: u64, line: u64) -> FileFault {
        let message = format!("The quote that opens on line {line} is never closed.");
        self.at_quote(FileFault::new(Code::UnterminatedQuote, message), opened, line)
            .suggest("Close it, or double the quotes that belong to the text.")
    }

    /// The character is only given where the text is certain to be still in hand.
    fn at_quote(&self, fault: FileFault, opened: u64, line: u64) -> FileFault {
        let kept = self.prefix() as u64;
        let mut fault = if opened < kept { fault.at(self.place(self.start + opened as usize).0, 0) } else { fault.line(line) };
        fault.offset = Some(self.base + self.start as u64 + opened);
        fault
    }

    /// Takes the scanned text out of hand. Its records are placed from `base` and `base_line`, as they were before.
    pub fn take_scanned(&mut self, room: usize) -> Vec<u8> {
        let mut rest = Vec::with_capacity(room.max(self.text.len() - self.start));
        rest.extend_from_slice(&self.text[self.start..]);
        let mut scanned = std::mem::replace(&mut self.text, rest);
        scanned.truncate(self.start);
        self.rebase();
        scanned
    }

    /// Was any of the scanned text shed?
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Skips bytes at the very start.
    pub fn skip(&mut self, bytes: usize) {
        self.text.drain(..bytes);
        self.base += bytes as u64;
    }

    /// Drops the scanned text.
    pub fn drop_scanned(&mut self) {
        self.text.drain(..self.start);
        self.rebase();
    }

    fn rebase(&mut self) {
        if let Some(shed) = &mut self.shed {
            shed.keep -= self.start;
        }
        self.base += self.start as u64 + std::mem::take(&mut self.lost);
        self.base_line = self.start_line;
        self.pos -= self.start;
        self.start = 0;
    }
}
