//! What makes a whole file bad, and where.

use std::{fmt, io};

use crate::dialect::{BadSequence, Charset};
use crate::outcome::Code;

/// The whole file is bad: a value for the report. Nothing of the file may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    pub code: Code,
    /// Physical line, from 1, as an editor shows it.
    pub line: Option<u64>,
    /// Character in the line, from 1.
    pub column: Option<u64>,
    /// Byte in the decoded text, from 0; of bytes that are not in the file's character set, in the unpacked file.
    pub offset: Option<u64>,
    pub message: String,
    pub suggestion: Option<String>,
}

/// What is said of files in which nothing stands.
pub(super) const EMPTY: &str = "The file is empty.";
pub(super) const BLANK: &str = "The file holds only blank lines.";

impl FileFault {
    /// Is there nothing in the file?
    pub(super) fn is_of_nothing(&self) -> bool {
        self.code == Code::SourceError && (self.message == EMPTY || self.message == BLANK)
    }

    pub(super) fn new(code: Code, message: impl Into<String>) -> FileFault {
        FileFault { code, line: None, column: None, offset: None, message: message.into(), suggestion: None }
    }

    /// Says where the first bytes are that are not in the file's character set.
    pub(super) fn bad_bytes(bad: &BadSequence, place: Place) -> FileFault {
        let (message, suggestion) = bad.words();
        FileFault::new(Code::EncodingError, message).at(place, bad.offset).suggest(suggestion)
    }

    /// As [`FileFault::bad_bytes`], of UTF-8.
    pub(super) fn bad_byte(byte: u8, place: Place, offset: u64) -> FileFault {
        FileFault::bad_bytes(&BadSequence { offset, bytes: vec![byte], charset: Charset::UTF_8 }, place)
    }

    #[must_use]
    pub(super) fn at(mut self, place: Place, offset: u64) -> FileFault {
        self.line = Some(place.line);
        self.column = Some(place.character);
        self.offset = Some(offset);
        self
    }

    #[must_use]
    pub(super) fn line(mut self, line: u64) -> FileFault {
        self.line = Some(line);
        self
    }

    #[must_use]
    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> FileFault {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.code)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(out, "line {line}, character {column}: ")?,
            (Some(line), None) => write!(out, "line {line}: ")?,
            _ => {}
        }
        out.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(out, " {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FileFault {}

/// Why decoding stopped before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is at fault: it ends in a report.
    #[error(transparent)]
    Fault(#[from] FileFault),
    /// This machine is: disk, permissions. The run may be tried again.
    #[error("cannot read the spooled file")]
    Io(#[from] io::Error),
}

/// A place in the text as an editor shows it. CRLF, LF and CR each end a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u64,
    pub character: u64,
    after_cr: bool,
}

impl Place {
    pub fn at_line(line: u64) -> Place {
        Place { line, character: 1, after_cr: false }
    }

    /// Moves over `text`. Slow; only faults need it.
    #[must_use]
    pub fn after(mut self, text: &[u8]) -> Place {
        for &byte in text {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self = Place::at_line(self.line + 1);
                    self.after_cr = byte == b'\r';
                }
                _ => {
                    self.after_cr = false;
                    // Continuation bytes belong to the character before them.
                    self.character += u64::from(byte & 0xC0 != 0x80);
                }
            }
        }
        self
    }
}
