//! Bytes into numbered records, strictly.
//!
//! [`Reader`] takes a spooled file, decompresses it where needed, finds its dialect and header, and hands out [`Chunk`]s of whole records.
//! A record's form is RFC 4180 to the letter: what other readers repair silently (an unclosed quote, text after a closing quote, NUL bytes)
//! puts a wrong value on somebody's pass, so here it is a fault of the record, or of the file when later records cannot be trusted.
//! Nothing depends on how the text was cut into blocks or chunks. Memory is bounded by the limits, not by the file.

mod cells;
mod chunk;
mod detect;
mod fault;
mod input;
mod reader;
mod scan;
mod section;
mod series;
#[cfg(test)]
mod tests;

pub use cells::{Splitter, read_record, split_cells};
pub use chunk::{Chunk, Record};
pub use detect::{DELIMITERS, Guess, guess};
pub use fault::{DecodeError, FileFault};
pub use reader::{Reader, Sizes};
pub use section::Section;
pub use series::{Chunks, PartFacts, Series};

/// What the file turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// The first record is the header.
    pub header: bool,
    /// How the delimiter was chosen, for report and preview.
    pub evidence: String,
    /// The feed names the delimiter.
    pub pinned: bool,
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
pub struct Facts {
    /// Data records: the header, blank lines and repeated headers are not counted.
    pub records: u64,
    /// Physical lines. An unfinished last line counts.
    pub lines: u64,
    /// Skipped.
    pub blank_lines: u64,
    /// Records equal to the header line, as joined part files have them. Skipped.
    pub repeated_headers: u64,
    /// Of the decoded text, byte-order mark included.
    pub bytes: u64,
    /// Gzip.
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
