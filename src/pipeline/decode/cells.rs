//! A record's text split into cells.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::{memchr, memchr_iter};

/// The cells of one record. Well-formed cells are unquoted; a cell with a stray quote comes out as written, so that a report can show it.
pub(super) struct Cells<'r> {
    raw: &'r str,
    /// Where the next cell starts.
    from: Option<usize>,
    delimiter: u8,
}

pub(super) struct Cell<'r> {
    pub text: Cow<'r, str>,
    pub quoted: bool,
}

impl<'r> Cells<'r> {
    pub fn new(raw: &'r str, delimiter: u8) -> Cells<'r> {
        debug_assert!(delimiter.is_ascii());
        Cells { raw, from: Some(0), delimiter }
    }

    /// Index of the cell that holds this byte of the record.
    pub fn index_at(mut self, at: usize) -> usize {
        let mut index = 0;
        while self.next().is_some() && self.from.is_some_and(|from| from <= at) {
            index += 1;
        }
        index
    }

    /// The unquoted cell that starts at `from`, looking for its delimiter at `search`.
    fn plain(&mut self, from: usize, search: usize) -> Cell<'r> {
        let end = memchr(self.delimiter, &self.raw.as_bytes()[search..]).map(|found| search + found);
        self.from = end.map(|end| end + 1);
        Cell { text: Cow::Borrowed(&self.raw[from..end.unwrap_or(self.raw.len())]), quoted: false }
    }
}

impl<'r> Iterator for Cells<'r> {
    type Item = Cell<'r>;

    fn next(&mut self) -> Option<Cell<'r>> {
        let from = self.from?;
        let bytes = self.raw.as_bytes();
        if bytes.get(from) != Some(&b'"') {
            return Some(self.plain(from, from));
        }
        let mut doubled = false;
        let mut search = from + 1;
        loop {
            let Some(found) = memchr(b'"', &bytes[search..]) else {
                return Some(self.plain(from, bytes.len()));
            };
            let quote = search + found;
            match bytes.get(quote + 1) {
                Some(b'"') => {
                    doubled = true;
                    search = quote + 2;
                    continue;
                }
                Some(&next) if next == self.delimiter => self.from = Some(quote + 2),
                None => self.from = None,
                Some(_) => return Some(self.plain(from, quote)),
            }
            let inside = &self.raw[from + 1..quote];
            let text = if doubled { Cow::Owned(inside.replace("\"\"", "\"")) } else { Cow::Borrowed(inside) };
            return Some(Cell { text, quoted: true });
        }
    }
}

/// As [`split_cells`], for a record known to hold no quote.
pub(super) fn split_plain<'r>(raw: &'r str, delimiter: u8, into: &mut Vec<Cow<'r, str>>) {
    into.clear();
    let mut from = 0;
    for end in memchr_iter(delimiter, raw.as_bytes()) {
        into.push(Cow::Borrowed(&raw[from..end]));
        from = end + 1;
    }
    into.push(Cow::Borrowed(&raw[from..]));
}

pub(super) fn split_quoted<'r>(raw: &'r str, delimiter: u8, into: &mut Vec<Cow<'r, str>>) {
    into.clear();
    into.extend(Cells::new(raw, delimiter).map(|cell| cell.text));
}

/// The unquoted cells of one record, by its raw text without line end. A cell with a stray quote comes out as written.
pub fn split_cells<'r>(raw: &'r str, dialect: &super::Dialect, into: &mut Vec<Cow<'r, str>>) {
    split_quoted(raw, dialect.delimiter, into);
}

/// The raw text of a record again, by [`super::Record::offset`] and the length of its raw text in bytes.
///
/// Fails when the range is not in the file or is not UTF-8, that is, when the file is not the one the place was taken from.
pub fn read_record(text: &File, offset: u64, length: u32) -> io::Result<String> {
    let mut raw = vec![0; length as usize];
    text.read_exact_at(&mut raw, offset)?;
    String::from_utf8(raw).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong.utf8_error()))
}
