//! A reader of CSV that is slow and obviously right: one byte after another, the whole text in memory.

use passferry::config::meant::Limits;
use passferry::outcome::Code;

/// A record, as the file's form and limits make it.
#[derive(Debug)]
pub struct Record {
    pub line: u64,
    /// Byte in the text.
    pub start: usize,
    pub end: usize,
    pub cells: Vec<Cell>,
    /// Index of the cell with a quote where none may be; what follows it on its line is not understood.
    pub stray: Option<usize>,
}

#[derive(Debug)]
pub struct Cell {
    pub start: usize,
    pub bytes: Vec<u8>,
    pub quoted: bool,
}

/// What a text holds, in order.
#[derive(Debug)]
pub enum Piece {
    Record(Record),
    Blank {
        line: u64,
        start: usize,
    },
    /// A quote that is never closed, or a quoted cell beyond the limit: nothing after it can be trusted.
    Fatal(Code),
}

#[derive(Debug, Default)]
pub struct Lines {
    pub lf: u64,
    pub crlf: u64,
    pub cr: u64,
}

pub struct Scan<'t> {
    all: &'t [u8],
    delimiter: u8,
    limits: &'t Limits,
    at: usize,
    line: u64,
}

pub fn read(text: &[u8], delimiter: u8, limits: &Limits) -> Vec<Piece> {
    let mut scan = Scan { all: text, delimiter, limits, at: 0, line: 1 };
    let mut pieces = Vec::new();
    while scan.at < scan.all.len() {
        let (start, line) = (scan.at, scan.line);
        if scan.line_end() {
            pieces.push(Piece::Blank { line, start });
            continue;
        }
        match scan.record() {
            Ok(record) => pieces.push(Piece::Record(record)),
            Err(code) => {
                pieces.push(Piece::Fatal(code));
                break;
            }
        }
        scan.line_end();
    }
    pieces
}

/// CRLF is one, as is each CR or LF by itself.
pub fn lines(text: &[u8]) -> Lines {
    let mut lines = Lines::default();
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && text[at - 1] == b'\r' => lines.crlf += 1,
            b'\n' => lines.lf += 1,
            b'\r' if text.get(at + 1) != Some(&b'\n') => lines.cr += 1,
            _ => {}
        }
    }
    lines
}

impl Scan<'_> {
    fn byte(&self) -> Option<u8> {
        self.all.get(self.at).copied()
    }

    fn at_line_end(&self) -> bool {
        matches!(self.byte(), None | Some(b'\n' | b'\r'))
    }

    /// Passes over a line end, if one is here.
    fn line_end(&mut self) -> bool {
        let length = match (self.byte(), self.all.get(self.at + 1)) {
            (Some(b'\r'), Some(b'\n')) => 2,
            (Some(b'\r' | b'\n'), _) => 1,
            _ => return false,
        };
        self.at += length;
        self.line += 1;
        true
    }

    fn record(&mut self) -> Result<Record, Code> {
        let mut record = Record { line: self.line, start: self.at, end: 0, cells: Vec::new(), stray: None };
        loop {
            let well = if self.byte() == Some(b'"') { self.quoted(&mut record.cells)? } else { self.plain(&mut record.cells) };
            if !well {
                record.stray = Some(record.cells.len() - 1);
                while !self.at_line_end() {
                    self.at += 1;
                }
            }
            if self.at_line_end() {
                record.end = self.at;
                return Ok(record);
            }
            self.at += 1;
        }
    }

    /// False where a quote stands in it.
    fn plain(&mut self, cells: &mut Vec<Cell>) -> bool {
        let start = self.at;
        while !self.at_line_end() && self.byte() != Some(self.delimiter) {
            if self.byte() == Some(b'"') {
                cells.push(Cell { start, bytes: Vec::new(), quoted: false });
                return false;
            }
            self.at += 1;
        }
        cells.push(Cell { start, bytes: self.all[start..self.at].to_vec(), quoted: false });
        true
    }

    /// False where something other than a delimiter or the end of the line follows the closing quote.
    fn quoted(&mut self, cells: &mut Vec<Cell>) -> Result<bool, Code> {
        let start = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            // Doubled quotes count twice: the limit is of what is written.
            if self.at - start - 1 > self.limits.cell {
                return Err(Code::CellTooLong);
            }
            let Some(byte) = self.byte() else { return Err(Code::UnterminatedQuote) };
            let from = self.at;
            if byte == b'"' {
                self.at += 1;
                if self.byte() != Some(b'"') {
                    break;
                }
                bytes.push(b'"');
                self.at += 1;
            } else if self.line_end() {
                bytes.extend_from_slice(&self.all[from..self.at]);
            } else {
                bytes.push(byte);
                self.at += 1;
            }
        }
        cells.push(Cell { start, bytes, quoted: true });
        Ok(self.at_line_end() || self.byte() == Some(self.delimiter))
    }
}
