//! Validate: every cell of every record against the schema and the mapping, in parallel chunks.
//!
//! Nothing here depends on how the file was cut into chunks or on how many threads looked at them.

mod unique;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{bounded, unbounded};

use super::correction::Correction;
use super::decode::{Chunk, Chunks, DecodeError, Facts, Record};
use super::spill::Spill;
use crate::ledger::{Mark, Row, RowDetail};
use crate::mapping::{Mapping, Place};
use crate::outcome::{Code, Outcome, Problem};
use crate::row::{AddKey, AddKind, PassKey, RowKey, Verb, Withheld};
use crate::schema::value::Value;
use crate::schema::{Columns, Schema};
use crate::spool::Spool;
use crate::trace;
pub use unique::Duplicated;
use unique::{KeyUse, Watched, key_hash, reject_duplicates, watched_keys};

/// Chunks read ahead of the slowest worker; bounds memory.
const AHEAD: usize = 8;

/// What is checked against. One a run.
pub struct Rules<'a> {
    pub schema: &'a Schema,
    pub columns: &'a Columns,
    /// None for `validate` with a schema alone.
    pub mapping: Option<&'a Mapping>,
    /// Set when the file is a correction: takes our own columns out of a record.
    pub correction: Option<&'a Correction>,
    /// SHA-256 of the delivered file, in hex: part of the identity of rows that have none of their own.
    pub file: &'a str,
    /// Records that take part; all when none.
    pub picked: Option<&'a (dyn Fn(u64) -> bool + Sync)>,
}

/// A record that cannot be used, and why.
#[derive(Debug)]
pub struct Rejected {
    pub record: u64,
    pub line: u64,
    pub offset: u64,
    pub length: u32,
    pub pass: Option<PassKey>,
    pub problems: Vec<Problem>,
    /// It was handed over before; these problems come on top.
    pub again: bool,
}

impl Rejected {
    /// Rejected rows are numbered by their record, so that a problem found later finds them.
    pub fn into_row(self) -> Row {
        Row {
            number: self.record,
            record: self.record,
            line: self.line,
            offset: self.offset,
            length: self.length,
            pass: self.pass,
            verb: Verb::Update,
            mask: 0,
            adds: 0,
            deferred: false,
            taken: false,
            stamp: None,
            outcome: Some(Outcome::Rejected),
            detail: RowDetail { problems: self.problems, operations: Vec::new() },
        }
    }
}

/// A valid record in the spill: enough to compare it with its neighbours and the baseline, and to find its text again.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub pass: PassKey,
    pub record: u64,
    pub line: u64,
    pub offset: u64,
    pub length: u32,
    pub verb: Verb,
    /// Mapped field and what it is to hold, by field.
    pub wanted: Vec<(u8, Mark)>,
    /// Its adds, each with the digest of what it would do, in the order in which they are sent.
    pub adds: Vec<(AddKey, u64)>,
    pub withheld: Withheld,
    /// When its state was true.
    pub stamp: Option<i64>,
}

impl Entry {
    pub fn mask(&self) -> u64 {
        self.wanted.iter().fold(0, |mask, (field, _)| mask | 1 << field)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pass.0.to_le_bytes());
        out.extend_from_slice(&self.record.to_le_bytes());
        out.extend_from_slice(&self.line.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.push(Verb::ALL.iter().position(|verb| *verb == self.verb).unwrap_or(0) as u8);
        out.push(self.wanted.len() as u8);
        for (field, mark) in &self.wanted {
            out.push(*field);
            out.extend_from_slice(&mark.to_bytes());
        }
        out.push(self.adds.len() as u8);
        for (key, print) in &self.adds {
            out.extend_from_slice(&key.row.0.to_le_bytes());
            out.push(AddKind::ALL.iter().position(|kind| *kind == key.kind).unwrap_or(0) as u8);
            out.extend_from_slice(&print.to_le_bytes());
        }
        // Most feeds ask nobody's consent: one byte says so.
        out.push(u8::from(!self.withheld.is_nothing()) | u8::from(self.withheld.notification) << 1 | u8::from(self.stamp.is_some()) << 2);
        if !self.withheld.is_nothing() {
            out.extend_from_slice(&self.withheld.fields.to_le_bytes());
        }
        out.extend_from_slice(self.stamp.map(i64::to_le_bytes).as_ref().map_or(&[][..], |bytes| &bytes[..]));
    }

    fn read(bytes: &mut &[u8]) -> Option<Entry> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*head)
        }
        let pass = PassKey(u128::from_le_bytes(take(bytes)?));
        let record = u64::from_le_bytes(take(bytes)?);
        let line = u64::from_le_bytes(take(bytes)?);
        let offset = u64::from_le_bytes(take(bytes)?);
        let length = u32::from_le_bytes(take(bytes)?);
        let [verb, count] = take(bytes)?;
        let mut wanted = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let [field] = take(bytes)?;
            wanted.push((field, Mark::from_bytes(take(bytes)?)?));
        }
        let [count] = take(bytes)?;
        let mut adds = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let row = RowKey(u128::from_le_bytes(take(bytes)?));
            let [kind] = take(bytes)?;
            adds.push((AddKey { row, kind: *AddKind::ALL.get(kind as usize)? }, u64::from_le_bytes(take(bytes)?)));
        }
        let [flags] = take(bytes)?;
        let fields = if flags & 1 == 0 { 0 } else { u64::from_le_bytes(take(bytes)?) };
        let withheld = Withheld { fields, notification: flags & 2 != 0 };
        let stamp = if flags & 4 == 0 { None } else { Some(i64::from_le_bytes(take(bytes)?)) };
        Some(Entry { pass, record, line, offset, length, verb: *Verb::ALL.get(verb as usize)?, wanted, adds, withheld, stamp })
    }

    pub fn partition(pass: PassKey) -> usize {
        (pass.0 >> 120) as usize
    }

    /// All entries of a partition's bytes.
    pub fn read_all(mut bytes: &[u8]) -> Vec<Entry> {
        std::iter::from_fn(|| Entry::read(&mut bytes)).collect()
    }
}

/// What validation found.
pub struct Validated {
    pub facts: Facts,
    pub entries: Spill,
    /// Valid records.
    pub valid: u64,
    pub rejected: u64,
    /// Records with more or fewer cells than the header.
    pub ragged: u64,
    pub problems: BTreeMap<String, u64>,
    pub problems_by_column: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of a correction: records of the corrected run, in the order of its own.
    pub corrects: Vec<u64>,
}

/// One chunk, looked at.
#[derive(Default)]
struct Seen {
    valid: u64,
    rejected: Vec<Rejected>,
    corrects: Vec<u64>,
}

/// Reads and checks every record. Rejected ones go to `reject`, in file order; valid ones into the spill.
///
/// Uniqueness across records is looked at when all are known, so a record may turn out to be rejected only then: those come to
/// `reject` last, and are left out of the entries by [`Duplicated`].
pub fn validate<C: Chunks>(
    reader: C,
    rules: &Rules<'_>,
    spool: &Spool,
    pool: &rayon::ThreadPool,
    progress: &dyn Fn(u64),
    reject: &mut dyn FnMut(Rejected) -> anyhow::Result<()>,
) -> Result<(Validated, Duplicated), ValidateError> {
    let writers = pool.current_num_threads();
    let entries = Spill::new(spool.scratch()?, writers);
    let keys = watched_keys(rules);
    let key_spill = if keys.is_empty() { None } else { Some(Spill::new(spool.scratch()?, writers)) };
    let counts = Mutex::new(Counts::default());
    let mut reader = Some(reader);
    let mut total = Seen::default();
    let mut rejected = 0;
    let (results, seen) = unbounded::<(usize, io::Result<Seen>)>();
    let (tickets, redeem) = bounded::<()>(AHEAD);
    let mut take =
        |(next, waiting): &mut (usize, BTreeMap<usize, Seen>), (index, result): (usize, io::Result<Seen>)| -> Result<(), ValidateError> {
            waiting.insert(index, result?);
            while let Some(chunk) = waiting.remove(next) {
                *next += 1;
                total.valid += chunk.valid;
                total.corrects.extend(chunk.corrects);
                rejected += chunk.rejected.len() as u64;
                for bad in chunk.rejected {
                    reject(bad).map_err(ValidateError::Sink)?;
                }
            }
            Ok(())
        };
    let mut order = (0, BTreeMap::new());
    let here = trace::here();
    let facts = pool.in_place_scope(|scope| -> Result<Facts, ValidateError> {
        let source = reader.as_mut().expect("taken once");
        let mut index = 0;
        while let Some(chunk) = source.next_chunk()? {
            progress(chunk.end());
            // A full channel means that the workers are behind: wait for one to finish.
            while tickets.try_send(()).is_err() {
                take(&mut order, seen.recv().expect("workers hold a sender"))?;
            }
            while let Ok(result) = seen.try_recv() {
                take(&mut order, result)?;
            }
            let (results, redeem) = (results.clone(), redeem.clone());
            let (entries, key_spill, keys, counts) = (&entries, key_spill.as_ref(), &keys, &counts);
            let here = here.clone();
            scope.spawn(move |_| {
                let _trace = trace::chunk(&here, chunk.len() as u64).entered();
                let look = || check_chunk(&chunk, rules, keys, entries, key_spill, counts);
                // A worker that dies without a word would leave the reader waiting for ever.
                let result = catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
                let _ = redeem.try_recv();
                let _ = results.send((index, result));
            });
            index += 1;
        }
        Ok(reader.take().expect("taken once").finish())
    })?;
    drop(results);
    for result in &seen {
        take(&mut order, result)?;
    }
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut validated = Validated {
        facts,
        entries,
        valid: total.valid,
        rejected,
        ragged: counts.ragged,
        problems: counts.by_code,
        problems_by_column: counts.by_column,
        corrects: total.corrects,
    };
    let duplicated = match key_spill {
        Some(spill) => reject_duplicates(&spill, &keys, rules, pool, &mut validated, reject)?,
        None => Duplicated::default(),
    };
    Ok((validated, duplicated))
}

#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("scratch space: {0}")]
    Scratch(#[from] io::Error),
    #[error(transparent)]
    Sink(anyhow::Error),
}

#[derive(Default)]
struct Counts {
    ragged: u64,
    by_code: BTreeMap<String, u64>,
    by_column: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Counts {
    fn add(&mut self, problems: &[Problem], rules: &Rules<'_>) {
        let ragged = |problem: &Problem| matches!(problem.code, Code::ExtraCell | Code::MissingCell);
        self.ragged += u64::from(problems.iter().any(ragged));
        for problem in problems {
            *self.by_code.entry(problem.code.as_str().to_owned()).or_default() += 1;
            if let Some(name) = problem.column.and_then(|column| column_name(rules, column as usize)) {
                *self.by_column.entry(name).or_default().entry(problem.code.as_str().to_owned()).or_default() += 1;
            }
        }
    }

    fn add_to(self, by_code: &mut BTreeMap<String, u64>, by_column: &mut BTreeMap<String, BTreeMap<String, u64>>) {
        for (code, count) in self.by_code {
            *by_code.entry(code).or_default() += count;
        }
        for (column, codes) in self.by_column {
            let known = by_column.entry(column).or_default();
            for (code, count) in codes {
                *known.entry(code).or_default() += count;
            }
        }
    }
}

fn column_name(rules: &Rules<'_>, column: usize) -> Option<String> {
    let field = rules.columns.field_of_column.get(column).copied().flatten()?;
    Some(rules.schema.fields()[field].name.clone())
}

fn check_chunk(
    chunk: &Chunk,
    rules: &Rules<'_>,
    keys: &[Watched<'_>],
    entries: &Spill,
    key_spill: Option<&Spill>,
    counts: &Mutex<Counts>,
) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut local = Counts::default();
    let mut problems = Vec::new();
    let mut cells: Vec<Cow<'_, str>> = Vec::new();
    let mut splitter = chunk.splitter();
    let (mut entries, mut key_spill) = (entries.writer(), key_spill.map(Spill::writer));
    let mut spare: Vec<Option<Value<'static>>> = Vec::new();
    let (tells_apart, mut literal) = (rules.schema.tells_apart(), Vec::new());
    for record in chunk.records() {
        if rules.picked.is_some_and(|picked| !picked(record.number)) {
            continue;
        }
        record.cells_by(&mut splitter, &mut cells);
        if tells_apart {
            record.literal_cells(&mut literal);
        }
        let mut key = None;
        if let Some(correction) = rules.correction
            && record.faults.is_empty()
        {
            key = Some(correction.key(&cells));
            correction.take_indexes(&mut literal);
            let taken = correction.take(&mut cells);
            rules.schema.strip(rules.columns, &mut cells);
            match taken {
                Ok(original) => {
                    seen.corrects.extend(original);
                    problems.extend(lost_zeros(rules, correction, original, &cells));
                }
                Err(problem) => problems.push(problem),
            }
        } else {
            rules.schema.strip(rules.columns, &mut cells);
        }
        let mut values = emptied(spare);
        let place = Place { file: rules.file, record: record.number, key: key.as_deref() };
        let entry = check_record(&record, rules, &cells, &literal, &place, &mut values, &mut problems);
        if let Some(spill) = &mut key_spill {
            for (index, key) in keys.iter().enumerate() {
                if let Some(hash) = key_hash(index, key.fields, &values) {
                    let (length, valid) = (record.raw.len() as u32, problems.is_empty());
                    let key_use =
                        KeyUse { hash, record: record.number, line: record.line, offset: record.offset, length, key: index as u16, valid };
                    spill.push((hash >> 120) as usize, |out| out.extend_from_slice(&key_use.to_bytes()))?;
                }
            }
        }
        if problems.is_empty() {
            seen.valid += 1;
            if let Some(entry) = entry {
                entries.push(Entry::partition(entry.pass), |out| entry.write(out))?;
            }
        } else {
            local.add(&problems, rules);
            seen.rejected.push(Rejected {
                record: record.number,
                line: record.line,
                offset: record.offset,
                length: record.raw.len() as u32,
                pass: rules.mapping.and_then(|mapping| mapping.target(rules.columns, &cells)).map(|target| target.key()),
                problems: std::mem::take(&mut problems),
                again: false,
            });
        }
        spare = emptied(values);
    }
    let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
    all.ragged += local.ragged;
    let Counts { by_code, by_column, .. } = &mut *all;
    local.add_to(by_code, by_column);
    Ok(seen)
}

/// The problem of a corrected record whose identifier a spreadsheet shortened.
fn lost_zeros(rules: &Rules<'_>, correction: &Correction, original: Option<u64>, cells: &[Cow<'_, str>]) -> Option<Problem> {
    let mapping = rules.mapping?;
    let target = mapping.target(rules.columns, cells)?;
    correction.lost_zeros(original, target.text()).then(|| {
        let column = rules.columns.column_of_field[mapping.pass_field()];
        Problem::new(Code::SpreadsheetDamage, column, "the identifier lost the zeros it began with in the file that this corrects")
            .suggest("format the column as text before opening the report")
    })
}

/// The same memory for the values of another record: values borrow from their own record's cells.
fn emptied<'b>(mut values: Vec<Option<Value<'_>>>) -> Vec<Option<Value<'b>>> {
    values.clear();
    values.into_iter().map(|_| None).collect()
}

/// Checks one record. `values` and `problems` are filled; an entry comes back for a valid record under a mapping.
fn check_record<'c>(
    record: &Record<'_>,
    rules: &Rules<'_>,
    cells: &'c [Cow<'c, str>],
    literal: &[usize],
    place: &Place<'_>,
    values: &mut Vec<Option<Value<'c>>>,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    problems.extend(record.faults.iter().cloned());
    if !record.faults.is_empty() {
        // Cells of a damaged record are guesses; judging them would blame the wrong thing.
        return None;
    }
    rules.schema.read(rules.columns, cells, literal, values, problems);
    if !problems.is_empty() {
        return None;
    }
    let mapping = rules.mapping?;
    let update = mapping.update(rules.columns, cells, values, place, problems)?;
    let pass = update.target.key();
    Some(Entry {
        pass,
        record: record.number,
        line: record.line,
        offset: record.offset,
        length: record.raw.len() as u32,
        verb: update.verb,
        wanted: update
            .wanted
            .iter()
            .map(|wanted| (wanted.field, Mark::of(wanted.value.as_ref(), mapping.fields()[wanted.field as usize].personal)))
            .collect(),
        adds: update.adds.iter().map(|add| (add.key, add.print(pass, mapping.fields()))).collect(),
        withheld: update.withheld,
        stamp: update.stamp,
    })
}
