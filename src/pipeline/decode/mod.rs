//! Bytes into numbered records, strictly.
//!
//! [`Reader`] takes a spooled file out of its containers and its character set, finds its dialect and header, and hands out [`Chunk`]s of
//! whole records. A record has one form to the letter, RFC 4180's where nothing else is declared or evident: what other readers repair silently (an unclosed quote, text after a closing quote, NUL bytes)
//! puts a wrong value on somebody's pass, so here it is a fault of the record, or of the file when later records cannot be trusted.
//! Nothing depends on how the text was cut into blocks or chunks. Memory is bounded by the limits, not by the file.

mod cells;
mod chunk;
mod detect;
mod fault;
mod input;
mod opened;
mod reader;
mod scan;
mod section;
mod series;
#[cfg(test)]
mod tests;
mod unwrap;

use crate::dialect::{Charset, Form};
use crate::ledger::run::DialectFacts;
pub use cells::{Splitter, literal_cells, read_record, split_cells};
pub use chunk::{Chunk, Record};
pub use detect::{DELIMITERS, Guess, guess};
pub use fault::{DecodeError, FileFault};
pub use opened::Opened;
pub use reader::{Reader, Sizes};
pub use section::Section;
pub use series::{Chunks, Constant, PartFacts, Piece, Series};

/// What the file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub form: Form,
    /// The first record is the header.
    pub header: bool,
    /// How the form was chosen, for report and preview.
    pub evidence: String,
    /// The feed names the delimiter.
    pub pinned: bool,
    pub charset: Charset,
    /// How the character set was found.
    pub charset_evidence: String,
    /// What the text was packed in, from the outermost inwards.
    pub containers: Vec<String>,
}

impl Default for Dialect {
    /// UTF-8 as RFC 4180 has it, with a header.
    fn default() -> Dialect {
        Dialect {
            form: Form::default(),
            header: true,
            evidence: String::new(),
            pinned: false,
            charset: Charset::UTF_8,
            charset_evidence: String::new(),
            containers: Vec::new(),
        }
    }
}

impl Dialect {
    /// Is the text a workbook's?
    pub fn is_sheet(&self) -> bool {
        self.containers.last().is_some_and(|container| container.starts_with("xlsx"))
    }

    /// As the ledger and the report keep it.
    pub fn facts(&self) -> DialectFacts {
        let sign = |sign: Option<u8>| sign.map(|sign| char::from(sign).to_string()).unwrap_or_default();
        DialectFacts {
            delimiter: self.form.delimiter.clone(),
            quote: sign(self.form.quote),
            escape: sign(self.form.escape),
            skip_initial_space: self.form.skip_space,
            comment: self.form.comment.clone().unwrap_or_default(),
            header: self.header,
            pinned: self.pinned,
            evidence: self.evidence.clone(),
            encoding: self.charset.name().to_owned(),
            encoding_evidence: self.charset_evidence.clone(),
            containers: self.containers.clone(),
        }
    }

    /// The dialect again that was kept.
    pub fn of(facts: &DialectFacts) -> Dialect {
        let sign = |sign: &str| sign.bytes().next();
        Dialect {
            form: Form {
                delimiter: if facts.delimiter.is_empty() { ",".to_owned() } else { facts.delimiter.clone() },
                quote: sign(&facts.quote),
                escape: sign(&facts.escape),
                skip_space: facts.skip_initial_space,
                comment: Some(facts.comment.clone()).filter(|comment| !comment.is_empty()),
            },
            header: facts.header,
            evidence: facts.evidence.clone(),
            pinned: facts.pinned,
            charset: Charset::parse(&facts.encoding).unwrap_or(Charset::UTF_8),
            charset_evidence: facts.encoding_evidence.clone(),
            containers: facts.containers.clone(),
        }
    }
}

/// The first record, where the dialect has a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Unquoted, not trimmed.
    pub labels: Vec<String>,
    /// Physical line, from 1.
    pub line: u64,
    /// As written, without line end and byte-order mark.
    pub raw: String,
}

/// What was counted on the way, known once the last chunk was handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// Data records: the header, blank lines and repeated headers are not counted.
    pub records: u64,
    /// Physical lines. An unfinished last line counts.
    pub lines: u64,
    /// Skipped.
    pub blank_lines: u64,
    /// Records equal to the header line, as joined part files have them. Skipped.
    pub repeated_headers: u64,
    /// Lines that are no records: those before the header, comments, and rows left out by their number.
    pub passed_over: u64,
    /// The declared last line was there, and what it counts is so.
    pub footer: bool,
    /// Of the decoded text, byte-order mark included.
    pub bytes: u64,
    /// It came in a container.
    pub compressed: bool,
    /// A byte-order mark was removed.
    pub bom: bool,
    pub line_ends: LineEnds,
    /// Did the last line end? A file cut off in transfer seldom ends with a line end.
    pub last_line_ended: bool,
}

/// Physical line ends by kind, those inside quoted cells too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineEnds {
    pub lf: u64,
    pub crlf: u64,
    pub cr: u64,
}
