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

/// Splits the records of a chunk, one after another, into cells.
///
/// All delimiters of the chunk are looked up at once: cells are so short that a search from one to the next mostly starts and stops.
pub struct Splitter<'c> {
    text: &'c str,
    delimiter: u8,
    delimiters: Vec<u32>,
    /// The first delimiter that may be in the record in hand.
    next: usize,
}

impl<'c> Splitter<'c> {
    pub(super) fn new(text: &'c str, delimiter: u8) -> Splitter<'c> {
        let mut delimiters = Vec::with_capacity(text.len() / 8);
        places(text.as_bytes(), delimiter, &mut delimiters);
        Splitter { text, delimiter, delimiters, next: 0 }
    }

    /// As [`super::Record::cells`], for the record at these bytes, which stands behind those that were split before.
    pub(super) fn split(&mut self, start: usize, end: usize, quoted: bool, into: &mut Vec<Cow<'c, str>>) {
        into.clear();
        let mut from = start;
        if !quoted {
            let mut stop = self.delimiter_from(from);
            while stop < end {
                into.push(Cow::Borrowed(&self.text[from..stop]));
                from = stop + 1;
                self.next += 1;
                stop = self.delimiters.get(self.next).map_or(usize::MAX, |&place| place as usize);
            }
            into.push(Cow::Borrowed(&self.text[from..end]));
            return;
        }
        loop {
            let stop = if self.text.as_bytes()[from..end].first() == Some(&b'"') {
                let Some((cell, stop)) = self.quoted(from, end) else { return split_quoted(&self.text[start..end], self.delimiter, into) };
                into.push(cell);
                stop
            } else {
                let stop = self.delimiter_from(from).min(end);
                into.push(Cow::Borrowed(&self.text[from..stop]));
                stop
            };
            if stop == end {
                return;
            }
            from = stop + 1;
        }
    }

    fn delimiter_from(&mut self, from: usize) -> usize {
        while let Some(&place) = self.delimiters.get(self.next) {
            if place as usize >= from {
                return place as usize;
            }
            self.next += 1;
        }
        usize::MAX
    }

    /// The quoted cell that opens at `from`, and where it ends; none when it is not well formed.
    fn quoted(&self, from: usize, end: usize) -> Option<(Cow<'c, str>, usize)> {
        let bytes = &self.text.as_bytes()[..end];
        let (mut search, mut doubled) = (from + 1, false);
        loop {
            let quote = search + memchr(b'"', &bytes[search..])?;
            match bytes.get(quote + 1) {
                Some(b'"') => {
                    doubled = true;
                    search = quote + 2;
                }
                Some(&next) if next != self.delimiter => return None,
                _ => {
                    let inside = &self.text[from + 1..quote];
                    let cell = if doubled { Cow::Owned(inside.replace("\"\"", "\"")) } else { Cow::Borrowed(inside) };
                    return Some((cell, quote + 1));
                }
            }
        }
    }
}

/// Where a byte stands in a text, in order.
fn places(text: &[u8], byte: u8, into: &mut Vec<u32>) {
    let (blocks, rest) = text.as_chunks::<64>();
    let mut base = 0;
    for block in blocks {
        let mut hits = hits(block, byte);
        while hits != 0 {
            into.push(base + hits.trailing_zeros());
            hits &= hits - 1;
        }
        base += 64;
    }
    into.extend((base..).zip(rest).filter(|(_, found)| **found == byte).map(|(place, _)| place));
}

/// One bit for each of 64 bytes: is it this one? Written so that the compiler compares many at once.
#[inline]
fn hits(block: &[u8; 64], byte: u8) -> u64 {
    let equal = block.map(|one| u8::from(one == byte));
    let (eights, _) = equal.as_chunks::<8>();
    // The product's highest byte gathers the lowest bit of each of the eight bytes.
    eights.iter().rev().fold(0, |bits, eight| bits << 8 | u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56)
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
