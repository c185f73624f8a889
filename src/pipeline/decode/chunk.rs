//! Records in the hand: what one worker thread takes at a time.

use std::borrow::Cow;
use std::sync::Arc;

use super::cells::{Cells, Splitter, split_any, split_plain};
use crate::dialect::{Cell, Form, runs_on, write_record};
use crate::outcome::{Code, Problem};

/// Some consecutive records of a file, whole, with their text. Owned, so that any thread may take it.
#[derive(Debug)]
pub struct Chunk {
    pub(super) text: String,
    pub(super) form: Arc<Form>,
    /// Number of the first record.
    pub(super) first: u64,
    /// Physical line and byte at which the text starts.
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) spans: Vec<Span>,
    /// Faults of all records, in order.
    pub(super) faults: Vec<Problem>,
    /// Record index and its range in `faults`; sorted, and only of records that have any.
    pub(super) faulty: Vec<(u32, std::ops::Range<u32>)>,
}

/// Where a record is in its chunk. Kept small: there is one for each record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub start: u32,
    pub length: u32,
    /// Lines after the chunk's first.
    pub line: u32,
    /// Is there a quote or an escape in it?
    pub special: bool,
}

impl Chunk {
    /// Records in it; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The record at an index from 0.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn record(&self, index: usize) -> Record<'_> {
        let span = self.spans[index];
        let faults = match self.faulty.binary_search_by_key(&(index as u32), |(record, _)| *record) {
            Ok(found) => {
                let range = &self.faulty[found].1;
                &self.faults[range.start as usize..range.end as usize]
            }
            Err(_) => &[],
        };
        Record {
            number: self.first + index as u64,
            line: self.line + u64::from(span.line),
            offset: self.offset + u64::from(span.start),
            raw: &self.text[span.start as usize..][..span.length as usize],
            faults,
            form: &self.form,
            special: span.special,
            start: span.start,
        }
    }

    /// Counts its records, lines and places on from those of the files read before.
    pub(super) fn place_behind(&mut self, records: u64, lines: u64, bytes: u64) {
        self.first += records;
        self.line += lines;
        self.offset += bytes;
    }

    /// The same records with more cells behind their own, already written in their form. Its text is then only what its records have.
    pub(super) fn with_cells(mut self, written: &str, are_special: bool) -> Chunk {
        let mut text = String::with_capacity(self.text.len() + self.spans.len() * (written.len() + 1));
        let mut spans = Vec::with_capacity(self.spans.len());
        let mut unfit = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            let start = text.len();
            let raw = &self.text[span.start as usize..][..span.length as usize];
            let rewritten = runs_on(raw, &self.form);
            if rewritten {
                let cells: Vec<_> = Cells::new(raw, &self.form).collect();
                let cells = cells.iter().map(|cell| Cell { text: &cell.text, literal: cell.literal });
                if !write_record(cells, &self.form, "", &mut text) {
                    text.truncate(start);
                    text.push_str(raw);
                    unfit.push(index as u32);
                }
            } else {
                text.push_str(raw);
            }
            // A blank line has no cells at all.
            if span.length > 0 {
                text.push_str(written);
            }
            let length = (text.len() - start) as u32;
            text.push('\n');
            spans.push(Span { start: start as u32, length, special: span.special || are_special || rewritten, ..*span });
        }
        unfit.into_iter().for_each(|record| self.mark(record));
        Chunk { text, spans, offset: 0, ..self }
    }

    /// Notes of a record that it cannot have more cells. What is wrong with it besides was found before.
    fn mark(&mut self, record: u32) {
        let Err(place) = self.faulty.binary_search_by_key(&record, |(faulty, _)| *faulty) else { return };
        let start = self.faults.len() as u32;
        let message = "The last cell ends as the delimiter begins, so that the column that the folder names cannot stand behind it.";
        self.faults.push(Problem::new(Code::ExtraCell, None, message));
        self.faulty.insert(place, (record, start..start + 1));
    }

    /// Bytes of the decoded text up to the end of this chunk.
    pub fn end(&self) -> u64 {
        self.offset + self.text.len() as u64
    }

    /// Splits the records into cells, faster than each by itself; see [`Record::cells_by`].
    pub fn splitter(&self) -> Splitter<'_> {
        Splitter::new(&self.text, &self.form)
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|index| self.record(index))
    }
}

/// One record of the file: its place, its text, and what is wrong with its form.
#[derive(Clone, Copy, Debug)]
pub struct Record<'c> {
    /// Data record, from 1; header and empty lines are not counted.
    pub number: u64,
    /// Physical line on which it starts, from 1, header counted, as an editor shows it.
    pub line: u64,
    /// Byte in the decoded text at which it starts.
    pub offset: u64,
    /// As written, without line end. Of a record that is too long, a prefix.
    pub raw: &'c str,
    /// Faults of form. Such a record is rejected; its cells are only good for showing.
    pub faults: &'c [Problem],
    form: &'c Form,
    special: bool,
    /// Byte in its chunk's text.
    start: u32,
}

impl<'c> Record<'c> {
    /// Puts the unquoted text of each cell in `into`, which is cleared first. Allocates only for cells with a doubled quote or an escape.
    pub fn cells(&self, into: &mut Vec<Cow<'c, str>>) {
        if self.special {
            split_any(self.raw, self.form, into);
        } else {
            split_plain(self.raw, self.form, into);
        }
    }

    /// As [`Record::cells`], with the splitter of its chunk. Records must come in order.
    pub fn cells_by(&self, splitter: &mut Splitter<'c>, into: &mut Vec<Cow<'c, str>>) {
        let start = self.start as usize;
        splitter.split(start, start + self.raw.len(), self.special, into);
    }

    /// Was the cell at this index, from 0, written in quotes or with an escape, so that it is no word for "no value"? Walks the record.
    pub fn was_literal(&self, index: usize) -> bool {
        self.special && Cells::new(self.raw, self.form).nth(index).is_some_and(|cell| cell.literal)
    }

    /// As [`super::literal_cells`].
    pub fn literal_cells(&self, into: &mut Vec<usize>) {
        into.clear();
        if self.special {
            into.extend(Cells::new(self.raw, self.form).enumerate().filter(|(_, cell)| cell.literal).map(|(index, _)| index));
        }
    }
}
