//! A record's text split into cells.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::{memchr, memchr_iter, memmem};

use crate::dialect::Form;

/// The cells of one record. Well-formed cells are unquoted; a cell with a stray quote comes out as written, so that a report can show it.
pub(super) struct Cells<'r, 'f> {
    raw: &'r str,
    /// Where the next cell starts.
    from: Option<usize>,
    form: &'f Form,
}

pub(super) struct Cell<'r> {
    pub text: Cow<'r, str>,
    /// Written in quotes or with an escape, so that it is no word for "no value".
    pub literal: bool,
}

impl<'r, 'f> Cells<'r, 'f> {
    pub fn new(raw: &'r str, form: &'f Form) -> Cells<'r, 'f> {
        Cells { raw, from: Some(0), form }
    }

    /// Index of the cell that holds this byte of the record.
    pub fn index_at(mut self, at: usize) -> usize {
        let mut index = 0;
        while self.next().is_some() && self.from.is_some_and(|from| from <= at) {
            index += 1;
        }
        index
    }

    /// Does the quote at this byte open the text of a formula, as in `="000123"`?
    pub fn is_formula_at(&self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| self.raw.as_bytes().get(before) == Some(&b'='))
    }

    /// The unquoted cell that starts at `from`, looking for its delimiter at `search`.
    fn plain(&mut self, from: usize, search: usize) -> Cell<'r> {
        let rest = &self.raw.as_bytes()[search..];
        let found = match self.form.delimiter.as_bytes() {
            [delimiter] => memchr(*delimiter, rest),
            delimiter => memmem::find(rest, delimiter),
        };
        let end = found.map(|found| search + found);
        self.from = end.map(|end| end + self.form.delimiter.len());
        Cell { text: Cow::Borrowed(&self.raw[from..end.unwrap_or(self.raw.len())]), literal: false }
    }

    /// The cell ends at this byte, where the record does or a delimiter stands; none when neither is so.
    fn ends_at(&mut self, end: usize) -> Option<()> {
        let rest = &self.raw.as_bytes()[end..];
        self.from = match rest {
            [] => None,
            rest if rest.starts_with(self.form.delimiter.as_bytes()) => Some(end + self.form.delimiter.len()),
            _ => return None,
        };
        Some(())
    }

    fn doubled(&mut self, from: usize, quote: u8) -> Cell<'r> {
        let bytes = self.raw.as_bytes();
        let mut doubled = false;
        let mut search = from + 1;
        loop {
            let Some(found) = memchr(quote, &bytes[search..]) else {
                return self.plain(from, bytes.len());
            };
            let close = search + found;
            if bytes.get(close + 1) == Some(&quote) {
                doubled = true;
                search = close + 2;
                continue;
            }
            if self.ends_at(close + 1).is_none() {
                return self.plain(from, close);
            }
            let inside = &self.raw[from + 1..close];
            let text = if doubled { Cow::Owned(undouble(inside, quote)) } else { Cow::Borrowed(inside) };
            return Cell { text, literal: true };
        }
    }

    fn escaped(&mut self, from: usize, escape: u8) -> Cell<'r> {
        let bytes = self.raw.as_bytes();
        let form = self.form;
        let quote = form.quote.filter(|quote| bytes.get(from) == Some(quote));
        let delimiter = form.delimiter.as_bytes();
        let start = from + usize::from(quote.is_some());
        let (mut at, mut piece) = (start, start);
        let mut text = String::new();
        loop {
            match bytes.get(at) {
                // Never closed: only a record with a fault is so.
                None if quote.is_some() => return self.plain(from, bytes.len()),
                None => {
                    self.from = None;
                    break;
                }
                Some(&byte) if byte == escape => {
                    if bytes.get(at + 1).is_some_and(|&next| form.is_escapable(next)) {
                        text.push_str(&self.raw[piece..at]);
                        piece = at + 1;
                        at += 1;
                    }
                    at += 1;
                }
                Some(&byte) if Some(byte) == quote => {
                    if self.ends_at(at + 1).is_none() {
                        return self.plain(from, at);
                    }
                    break;
                }
                Some(&byte) if quote.is_none() && byte == delimiter[0] && bytes[at..].starts_with(delimiter) => {
                    self.from = Some(at + delimiter.len());
                    break;
                }
                Some(_) => at += 1,
            }
        }
        let rest = &self.raw[piece..at];
        let is_escaped = piece > start;
        let text = if is_escaped { Cow::Owned(text + rest) } else { Cow::Borrowed(rest) };
        Cell { text, literal: quote.is_some() || is_escaped }
    }
}

/// Doubled quotes once.
fn undouble(inside: &str, quote: u8) -> String {
    let once = char::from(quote);
    let mut text = String::with_capacity(inside.len());
    let mut skip = false;
    for letter in inside.chars() {
        if skip {
            skip = false;
        } else {
            skip = letter == once;
            text.push(letter);
        }
    }
    text
}

impl<'r> Iterator for Cells<'r, '_> {
    type Item = Cell<'r>;

    fn next(&mut self) -> Option<Cell<'r>> {
        let mut from = self.from?;
        let bytes = self.raw.as_bytes();
        if self.form.skip_space {
            from += bytes[from..].iter().take_while(|&&byte| byte == b' ').count();
        }
        Some(match (self.form.escape, self.form.quote) {
            (Some(escape), _) => self.escaped(from, escape),
            (None, Some(quote)) if bytes.get(from) == Some(&quote) => self.doubled(from, quote),
            _ => self.plain(from, from),
        })
    }
}

/// As [`split_cells`], for a record known to hold neither quote nor escape.
pub(super) fn split_plain<'r>(raw: &'r str, form: &Form, into: &mut Vec<Cow<'r, str>>) {
    let &[delimiter] = form.delimiter.as_bytes() else { return split_any(raw, form, into) };
    if form.skip_space {
        return split_any(raw, form, into);
    }
    into.clear();
    let mut from = 0;
    for end in memchr_iter(delimiter, raw.as_bytes()) {
        into.push(Cow::Borrowed(&raw[from..end]));
        from = end + 1;
    }
    into.push(Cow::Borrowed(&raw[from..]));
}

pub(super) fn split_any<'r>(raw: &'r str, form: &Form, into: &mut Vec<Cow<'r, str>>) {
    into.clear();
    into.extend(Cells::new(raw, form).map(|cell| cell.text));
}

/// Splits the records of a chunk, one after another, into cells.
///
/// All delimiters of the chunk are looked up at once: cells are so short that a search from one to the next mostly starts and stops.
pub struct Splitter<'c> {
    text: &'c str,
    form: &'c Form,
    /// Length of the delimiter.
    width: usize,
    delimiters: Vec<u32>,
    /// The first delimiter that may be in the record in hand.
    next: usize,
}

impl<'c> Splitter<'c> {
    pub(super) fn new(text: &'c str, form: &'c Form) -> Splitter<'c> {
        let mut delimiters = Vec::with_capacity(text.len() / 8);
        match form.delimiter.as_bytes() {
            _ if form.skip_space => {}
            [delimiter] => places(text.as_bytes(), *delimiter, &mut delimiters),
            delimiter => delimiters.extend(memmem::find_iter(text.as_bytes(), delimiter).map(|place| place as u32)),
        }
        Splitter { text, form, width: form.delimiter.len(), delimiters, next: 0 }
    }

    /// As [`super::Record::cells`], for the record at these bytes, which stands behind those that were split before.
    pub(super) fn split(&mut self, start: usize, end: usize, special: bool, into: &mut Vec<Cow<'c, str>>) {
        if self.form.skip_space || (special && self.form.escape.is_some()) {
            return split_any(&self.text[start..end], self.form, into);
        }
        into.clear();
        let mut from = start;
        if !special {
            while let Some(stop) = self.delimiter_from(from, end) {
                into.push(Cow::Borrowed(&self.text[from..stop]));
                from = stop + self.width;
                self.next += 1;
            }
            into.push(Cow::Borrowed(&self.text[from..end]));
            return;
        }
        let quote = self.form.quote_byte();
        loop {
            let stop = if self.text.as_bytes()[from..end].first() == Some(&quote) {
                let Some((cell, stop)) = self.quoted(from, end, quote) else {
                    return split_any(&self.text[start..end], self.form, into);
                };
                into.push(cell);
                stop
            } else {
                let stop = self.delimiter_from(from, end).unwrap_or(end);
                into.push(Cow::Borrowed(&self.text[from..stop]));
                stop
            };
            if stop == end {
                return;
            }
            from = stop + self.width;
        }
    }

    /// The first delimiter that stands whole between these bytes: the prefix that is kept of a record too long may end within one.
    fn delimiter_from(&mut self, from: usize, end: usize) -> Option<usize> {
        while let Some(place) = self.delimiters.get(self.next).map(|&place| place as usize) {
            if place >= from {
                return (place + self.width <= end).then_some(place);
            }
            self.next += 1;
        }
        None
    }

    /// The quoted cell that opens at `from`, and where it ends; none when it is not well formed.
    fn quoted(&self, from: usize, end: usize, quote: u8) -> Option<(Cow<'c, str>, usize)> {
        let bytes = &self.text.as_bytes()[..end];
        let (mut search, mut doubled) = (from + 1, false);
        loop {
            let close = search + memchr(quote, &bytes[search..])?;
            match &bytes[close + 1..] {
                [next, ..] if *next == quote => {
                    doubled = true;
                    search = close + 2;
                }
                rest if !rest.is_empty() && !rest.starts_with(self.form.delimiter.as_bytes()) => return None,
                _ => {
                    let inside = &self.text[from + 1..close];
                    let cell = if doubled { Cow::Owned(undouble(inside, quote)) } else { Cow::Borrowed(inside) };
                    return Some((cell, close + 1));
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
    split_any(raw, &dialect.form, into);
}

/// Indexes of the cells that were written in quotes or with an escape: they say what they say, and are no word for "no value".
pub fn literal_cells(raw: &str, dialect: &super::Dialect, into: &mut Vec<usize>) {
    into.clear();
    into.extend(Cells::new(raw, &dialect.form).enumerate().filter(|(_, cell)| cell.literal).map(|(index, _)| index));
}

/// The raw text of a record again, by [`super::Record::offset`] and the length of its raw text in bytes.
///
/// Fails when the range is not in the file or is not UTF-8, that is, when the file is not the one the place was taken from.
pub fn read_record(text: &File, offset: u64, length: u32) -> io::Result<String> {
    let mut raw = vec![0; length as usize];
    text.read_exact_at(&mut raw, offset)?;
    String::from_utf8(raw).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong.utf8_error()))
}
