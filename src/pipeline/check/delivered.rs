//! A run's input as one file or as the parts of a set: opening it, and comparing it with what was declared of it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::PathBuf;

use crate::config::meant::Feed;
use crate::ledger::Run;
use crate::ledger::delivered::{Delivered, Part, Partition};
use crate::ledger::run::{Fault, Verdict};
use crate::outcome::Code;
use crate::pipeline::decode::{Constant, DecodeError, Opened, PartFacts, Piece, Reader, Series};
use crate::pipeline::road::Road;
use crate::schema::Schema;

/// The guard that holds a set which is not what was declared.
pub const GUARD: &str = "set";
/// The guard that holds a file for what stands beside it.
pub const GUARD_OF_FILE: &str = "beside";

/// Opens a run's input. `found` tells of the parts of a set, as far as they were read.
pub fn open<'p>(road: &Road, run: &Run, feed: &Feed, found: &'p RefCell<Vec<PartFacts>>) -> Result<Opened<'p>, DecodeError> {
    let owner = road.spool_owner(run);
    let (data, text) = (road.spool.data(&owner), road.spool.text(&owner));
    if run.parts().is_empty() {
        return Ok(Opened::One(Box::new(Reader::open(&data, &text, &feed.dialect, &feed.limits)?)));
    }
    let mut at = 0;
    let place = |part: &Part| {
        at += part.size;
        (data.clone(), at - part.size..at)
    };
    let pieces = pieces(run.parts(), Schema::parse(&feed.schema_text).ok().as_ref(), place);
    let in_each = feed.set.as_ref().is_none_or(|set| set.header_in_each);
    Ok(Opened::Set(Box::new(Series::open(pieces, in_each, &text, &feed.dialect, &feed.limits, found)?)))
}

/// The parts of a set, as they are read. `place` says where each is.
pub fn pieces(parts: &[Part], schema: Option<&Schema>, mut place: impl FnMut(&Part) -> (PathBuf, Range<u64>)) -> Vec<Piece> {
    let constant = |partition: &Partition| {
        let field = schema.and_then(|schema| schema.fields().iter().find(|field| field.name == partition.column));
        let (cell, literal) = match &partition.value {
            Some(value) => (value.clone(), field.is_some_and(|field| field.is_missing(value))),
            None => (field.map_or("", crate::schema::Field::missing_word).to_owned(), false),
        };
        Constant { label: partition.column.clone(), cell, literal }
    };
    let piece = |part: &Part| {
        let (path, range) = place(part);
        Piece { path, range, columns: part.partitions.iter().map(constant).collect() }
    };
    parts.iter().map(piece).collect()
}

/// Says of a fault in which part of a set it is.
pub fn in_part(mut fault: Fault, run: &Run, found: &[PartFacts]) -> Fault {
    if let Some(part) = found.len().checked_sub(1).and_then(|last| run.parts().get(last)) {
        fault.message = format!("In {}: {}", part.shown(), fault.message);
    }
    fault
}

/// Notes what was read of each part.
pub fn note_parts(delivered: &mut Delivered, found: &[PartFacts]) {
    for (part, found) in delivered.parts.iter_mut().zip(found) {
        (part.lines_before, part.records) = (found.lines_before, found.records);
    }
}

/// Where the records that were read are not as many as were declared, in words.
fn miscounts(delivered: &Delivered, records: u64) -> Vec<String> {
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
    let message = miscounts(run.detail.delivered.as_ref()?, records).into_iter().next()?;
    Some(Fault { code: Code::CountMismatch, line: None, column: None, offset: None, message, suggestion: None })
}

/// What contradicts what was declared of an input, in words.
pub fn contradictions(delivered: &Delivered, records: u64) -> Vec<String> {
    delivered.contradictions.iter().cloned().chain(miscounts(delivered, records)).collect()
}

/// A set is held when it is not what was declared; a file by itself, when what stands beside it cannot be relied on.
pub fn verdict(delivered: &Delivered, records: u64) -> Option<Verdict> {
    let guard = if delivered.parts.is_empty() { GUARD_OF_FILE } else { GUARD };
    let all = contradictions(delivered, records);
    let more = all.len().saturating_sub(10);
    let shown =
        all.iter().take(10).cloned().collect::<Vec<_>>().join("; ") + &if more > 0 { format!("; and {more} more") } else { String::new() };
    (!all.is_empty()).then(|| Verdict { guard: guard.into(), held: true, evidence: shown })
}
