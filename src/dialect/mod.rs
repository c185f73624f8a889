//! How a file is written: what parts its cells, what encloses them, which bytes its letters are, and what stands around its records
//! (contracts/exports.md, contracts/table-schema.md section 8).

mod charset;
mod footer;
mod write;

use std::borrow::Cow;

pub use charset::{BadSequence, Charset, Decoder};
pub use footer::{Footer, Found as FooterFound};
pub use write::{Cell, runs_on, write_record};

/// The sheet of a report of ours, by which it is known whatever the sheet is called that it is about.
pub const REPORT_SHEET: &str = "passferry errors";

/// What no sign of a form may be: it ends lines, or no text holds it.
pub const fn is_forbidden(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// The form of records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// One character, or several.
    pub delimiter: String,
    /// Encloses cells. None: it is a letter like any other.
    pub quote: Option<u8>,
    /// Takes from the sign behind it (a quote, the delimiter, a line end, itself) what it means; before anything else it stands for
    /// itself. None: a quote inside a quoted cell is written twice. A file has one of the two ways, never both.
    pub escape: Option<u8>,
    /// Spaces before a cell do not belong to it.
    pub skip_space: bool,
    /// Lines that begin with it are no records.
    pub comment: Option<String>,
}

impl Default for Form {
    /// RFC 4180.
    fn default() -> Form {
        Form { delimiter: ",".to_owned(), quote: Some(b'"'), escape: None, skip_space: false, comment: None }
    }
}

impl Form {
    /// As RFC 4180 has it but for the signs: the form that is read fastest.
    pub fn is_plain(&self) -> bool {
        self.delimiter.len() == 1 && self.escape.is_none() && !self.skip_space && self.comment.is_none()
    }

    /// The quote, or what no record holds outside of quotes.
    pub(crate) fn quote_byte(&self) -> u8 {
        self.quote.unwrap_or(b'\n')
    }

    /// The delimiter's first byte; the whole of most.
    pub(crate) fn first(&self) -> u8 {
        self.delimiter.as_bytes().first().copied().unwrap_or(b',')
    }

    /// Does an escape before this byte take its meaning away?
    pub(crate) fn is_escapable(&self, byte: u8) -> bool {
        Some(byte) == self.escape || Some(byte) == self.quote || byte == self.first() || matches!(byte, b'\n' | b'\r')
    }

    /// What speaks against the form, in words.
    pub fn fault(&self) -> Option<String> {
        let bytes = self.delimiter.as_bytes();
        if bytes.is_empty() || bytes.iter().any(|&byte| is_forbidden(byte)) {
            return Some("a delimiter is a character or several, without line ends and NUL".to_owned());
        }
        for (sign, what) in [(self.quote, "quote"), (self.escape, "escape")] {
            let Some(sign) = sign else { continue };
            if !sign.is_ascii() || is_forbidden(sign) {
                return Some(format!("the {what} is one ASCII character, and no line end"));
            }
            if bytes.contains(&sign) {
                return Some(format!("the {what} is in the delimiter too"));
            }
        }
        if self.quote.is_some() && self.quote == self.escape {
            return Some("the escape is the quote: leave it out, quotes are doubled then".to_owned());
        }
        None
    }

    /// How a delimiter is called in a sentence, where nobody has to write it.
    pub fn named(delimiter: &str) -> Cow<'_, str> {
        match delimiter {
            "," => Cow::Borrowed("comma"),
            ";" => Cow::Borrowed("semicolon"),
            "|" => Cow::Borrowed("pipe"),
            " " => Cow::Borrowed("space"),
            sign => Form::shown(sign),
        }
    }

    /// How a sign is called in what people read.
    pub fn shown(sign: &str) -> Cow<'_, str> {
        match sign {
            "\t" => Cow::Borrowed("tab"),
            "" => Cow::Borrowed("none"),
            sign if sign.chars().any(char::is_control) => Cow::Owned(format!("`{}`", sign.escape_debug())),
            sign => Cow::Owned(format!("`{sign}`")),
        }
    }
}

/// A delimiter as people write it: `tab` and `\t`, or the sign itself; `auto` is none.
pub fn delimiter(text: &str) -> Result<Option<String>, String> {
    match text {
        "auto" => Ok(None),
        "tab" | "\t" | "\\t" => Ok(Some("\t".to_owned())),
        _ if text.is_empty() || text.bytes().any(is_forbidden) || text.contains('"') => {
            Err("is not a delimiter; write auto, `,`, `;`, tab, `|` or another sign or several".to_owned())
        }
        _ if text.chars().all(char::is_alphanumeric) => Err("is a word, and cells hold words; write a sign, or several".to_owned()),
        _ => Ok(Some(text.to_owned())),
    }
}
