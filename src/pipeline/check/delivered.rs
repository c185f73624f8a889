//! A run's input as one file or as the parts of a set: opening it, and comparing it with what was declared of it.

use std::ops::Range;

use crate::config::meant::Feed;
use crate::ledger::Run;
use crate::ledger::run::{Fault, Verdict};
use crate::outcome::Code;
use crate::pipeline::decode::{Chunk, Chunks, DecodeError, Dialect, Facts, Header, PartFacts, Reader, Series};
use crate::pipeline::road::Road;

/// The guard that holds a set which is not what was declared.
pub const GUARD: &str = "set";

/// A run's input, open.
pub enum Opened<'p> {
    One(Box<Reader>),
    Set(Box<Series<'p>>),
}

impl<'p> Opened<'p> {
    /// `found` tells of the parts of a set, as far as they were read.
    pub fn open(road: &Road, run: &Run, feed: &Feed, found: &'p mut Vec<PartFacts>) -> Result<Opened<'p>, DecodeError> {
        let owner = road.spool_owner(run);
        let (data, text) = (road.spool.data(&owner), road.spool.text(&owner));
        if run.parts().is_empty() {
            return Ok(Opened::One(Box::new(Reader::open(&data, &text, &feed.dialect, &feed.limits)?)));
        }
        let in_each = feed.set.as_ref().is_none_or(|set| set.header_in_each);
        let series = Series::open(&data, ranges(run), in_each, &text, &feed.dialect, &feed.limits, found)?;
        Ok(Opened::Set(Box::new(series)))
    }

    pub fn dialect(&self) -> &Dialect {
        match self {
            Opened::One(reader) => reader.dialect(),
            Opened::Set(series) => series.dialect(),
        }
    }

    pub fn header(&self) -> Option<&Header> {
        match self {
            Opened::One(reader) => reader.header(),
            Opened::Set(series) => series.header(),
        }
    }

    pub fn notes(&self) -> &[String] {
        match self {
            Opened::One(reader) => reader.notes(),
            Opened::Set(series) => series.notes(),
        }
    }
}

impl Chunks for Opened<'_> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, DecodeError> {
        match self {
            Opened::One(reader) => reader.next_chunk(),
            Opened::Set(series) => series.next_chunk(),
        }
    }

    fn finish(self) -> Facts {
        match self {
            Opened::One(reader) => reader.finish(),
            Opened::Set(series) => series.finish(),
        }
    }
}

/// Where the parts of a set are in the spooled file.
fn ranges(run: &Run) -> Vec<Range<u64>> {
    let mut at = 0;
    let range = |part: &crate::ledger::delivered::Part| {
        at += part.size;
        at - part.size..at
    };
    run.parts().iter().map(range).collect()
}

/// Says of a fault in which part of a set it is.
pub fn in_part(mut fault: Fault, run: &Run, found: &[PartFacts]) -> Fault {
    if let Some(part) = found.len().checked_sub(1).and_then(|last| run.parts().get(last)) {
        fault.message = format!("In {}: {}", part.shown(), fault.message);
    }
    fault
}

/// Notes what was read of each part.
pub fn note_parts(run: &mut Run, found: &[PartFacts]) {
    let parts = run.detail.delivered.iter_mut().flat_map(|delivered| &mut delivered.parts);
    for (part, found) in parts.zip(found) {
        (part.lines_before, part.records) = (found.lines_before, found.records);
    }
}

/// Where the records that were read are not as many as were declared, in words.
fn miscounts(run: &Run, records: u64) -> Vec<String> {
    let Some(delivered) = &run.detail.delivered else { return Vec::new() };
    let mut words = Vec::new();
    for part in &delivered.parts {
        if let Some(declared) = part.declared.filter(|declared| *declared != part.records) {
            words.push(format!("{} holds {} records, and {declared} were declared", part.shown(), part.records));
        }
    }
    if let Some(declared) = delivered.records.filter(|declared| *declared != records && words.is_empty()) {
        let what = if delivered.parts.is_empty() { "the file" } else { "the set" };
        words.push(format!("{what} holds {records} records, and {declared} were declared"));
    }
    words
}

/// A file by itself is refused when it does not hold what was declared (failure model, C11).
pub fn refuse(run: &Run, records: u64) -> Option<Fault> {
    if !run.parts().is_empty() {
        return None;
    }
    let message = miscounts(run, records).into_iter().next()?;
    Some(Fault { code: Code::CountMismatch, line: None, column: None, offset: None, message, suggestion: None })
}

/// A set is held when it is not what was declared.
pub fn verdict(run: &Run, records: u64) -> Option<Verdict> {
    let delivered = run.detail.delivered.as_ref().filter(|delivered| !delivered.parts.is_empty())?;
    let all: Vec<String> = delivered.contradictions.iter().cloned().chain(miscounts(run, records)).collect();
    let more = all.len().saturating_sub(10);
    let shown =
        all.iter().take(10).cloned().collect::<Vec<_>>().join("; ") + &if more > 0 { format!("; and {more} more") } else { String::new() };
    (!all.is_empty()).then(|| Verdict { guard: GUARD.into(), held: true, evidence: shown })
}
