//! How a feed's files are written, as far as it says.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dialect::{Charset, Footer, Form};
use crate::schema::DialectDescriptor;
use crate::secret::Secret;

/// Pinned or detected, property by property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectChoice {
    /// None: detected among `,` `;` tab `|`.
    pub delimiter: Option<String>,
    /// One ASCII character; none: nothing is quoted.
    pub quote: Option<u8>,
    pub escape: Escape,
    /// Spaces before a cell do not belong to it.
    pub skip_space: bool,
    /// Lines that begin with it are no records.
    pub comment: Option<String>,
    /// Lines before the header that are no records.
    pub preamble: u64,
    /// Records that make the header, and what joins their labels.
    pub header_rows: usize,
    pub header_join: String,
    /// Rows that are left out by their number, from 1, ascending: lines before the header, the header, comments and blank lines counted.
    pub comment_rows: Vec<u64>,
    /// The last line, which is no record and may say how many there are.
    pub footer: Option<Footer>,
    /// First record is the header; without it the schema's names are.
    pub header: bool,
    /// Blank lines between records: skipped and counted, or `blank-row`.
    pub blank_lines_strict: bool,
    /// The file may begin with a header section, and this is what it may say; none where it has no such thing.
    pub section: Option<SectionChoice>,
    /// None: UTF-8, or what a byte-order mark says.
    pub charset: Option<Charset>,
    /// Glob over names in a zip archive; none: it holds one file.
    pub member: Option<String>,
    /// Name or number of a workbook's sheet; none: the first.
    pub sheet: Option<String>,
    /// What opens and vouches for files in OpenPGP.
    pub pgp: Option<Arc<Pgp>>,
}

/// Keys for files in OpenPGP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pgp {
    pub keys: Vec<PgpKey>,
    /// Public keys whose signatures count.
    pub signed_by: Vec<PathBuf>,
    /// A file that none of them signed fails.
    pub required: bool,
    /// Public keys that reports are encrypted for; empty where they are plain text.
    pub encrypt_to: Vec<PathBuf>,
    /// What signs them.
    pub sign_with: Option<PgpKey>,
}

/// A secret key of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgpKey {
    /// As the configuration calls it.
    pub name: String,
    pub key: Secret,
    pub passphrase: Option<Secret>,
}

/// What takes its meaning from a quote inside a quoted cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// A second quote, unless the start of the file shows that it is a backslash.
    #[default]
    Detected,
    /// A second quote.
    Doubled,
    /// This sign before it.
    By(u8),
}

impl Default for DialectChoice {
    fn default() -> DialectChoice {
        DialectChoice {
            delimiter: None,
            quote: Some(b'"'),
            escape: Escape::Detected,
            skip_space: false,
            comment: None,
            preamble: 0,
            header_rows: 1,
            header_join: " ".to_owned(),
            comment_rows: Vec::new(),
            footer: None,
            header: true,
            blank_lines_strict: false,
            section: None,
            charset: None,
            member: None,
            sheet: None,
            pgp: None,
        }
    }
}

impl DialectChoice {
    /// The form as far as it is said, with the comma where the delimiter is not.
    pub fn form(&self) -> Form {
        Form {
            delimiter: self.delimiter.clone().unwrap_or_else(|| ",".to_owned()),
            quote: self.quote,
            escape: if let Escape::By(sign) = self.escape { Some(sign) } else { None },
            skip_space: self.skip_space,
            comment: self.comment.clone(),
        }
    }
}

impl DialectChoice {
    /// What a descriptor says; what it does not say is at its default, or detected.
    pub fn of(descriptor: &DialectDescriptor) -> DialectChoice {
        let none = DialectChoice::default();
        DialectChoice {
            delimiter: descriptor.delimiter.clone(),
            quote: descriptor.quote.unwrap_or(none.quote),
            escape: match (descriptor.escape, descriptor.double_quote) {
                (Some(sign), _) => Escape::By(sign),
                (None, Some(true)) => Escape::Doubled,
                _ => Escape::Detected,
            },
            skip_space: descriptor.skip_initial_space.unwrap_or(false),
            comment: descriptor.comment.clone(),
            preamble: descriptor.header_rows.map_or(0, |(first, _)| first - 1),
            header_rows: descriptor.header_rows.map_or(1, |(_, count)| count),
            header_join: descriptor.header_join.clone().unwrap_or(none.header_join),
            comment_rows: descriptor.comment_rows.clone(),
            header: descriptor.header.unwrap_or(true),
            blank_lines_strict: descriptor.skip_blank_rows == Some(false),
            sheet: descriptor.sheet.clone(),
            ..DialectChoice::default()
        }
    }
}

/// What a feed says of the header sections of its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionChoice {
    /// Campaigns whose files the feed takes; empty when it does not say.
    pub campaigns: Vec<String>,
}
