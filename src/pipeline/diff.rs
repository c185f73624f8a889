//! Diff: a file against itself and against the ledger. What is superseded, what is unchanged, what is left to send, and how values move.
//!
//! Works partition by partition in pass-key order, so that memory stays flat and the baseline is read and later written in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::pending::PendingPasses;
use super::sent::Sent;
use super::spill::PARTITIONS;
use super::validate::{Duplicated, Entry, Validated};
use crate::config::meant::Duplicates;
use crate::ledger::run::Moves;
use crate::ledger::{FieldState, KeyNote, Known, Ledger, OperationNote, Row, RowDetail, Stamp};
use crate::mapping::Mapping;
use crate::outcome::{Code, Outcome, Problem, Tally};
use crate::row::{AddKey, AddKind, PassKey, Verb, Withheld};

use adds::Adds;
use moves::{Requests, SAMPLES, note_moves};

mod adds;
mod moves;

pub use adds::waits_for;

/// Rows that leave the diff are numbered from here on; rejected ones, numbered by record, stay below.
pub const FIRST_NUMBER: u64 = 1 << 40;

/// What a file is compared with.
pub struct Against<'a> {
    pub ledger: &'a dyn Ledger,
    pub run: &'a str,
    pub account: &'a str,
    pub mapping: &'a Mapping,
    /// The ledger's number of each mapped field.
    pub field_ids: &'a [u16],
    pub duplicates: Duplicates,
    /// The ledger's number of the clock by which rows are newer or older, where the feed has one.
    pub clock: Option<u16>,
    /// Days since 1970.
    pub today: u16,
    /// Send what is unchanged when it was last sent this many days ago or more.
    pub max_age_days: Option<u16>,
    /// Send everything, whatever the baseline says.
    pub force: bool,
    pub pending: &'a PendingPasses,
    /// Rows of this very run that were sent before it is checked again, and the number from which its other rows count.
    pub sent: &'a Sent,
    /// Leave out adds of which a person decided that they shall not be sent: nobody asked for them again.
    pub declines: bool,
    /// Rows whose keys may have been removed since they were first delivered: what the ledger does not know of them may have been added.
    pub forgotten: bool,
    /// Keys of what was applied are met again when they were not since then.
    pub meet: Option<&'a Meet<'a>>,
    /// For corrections: was the pass changed by a later run than the one corrected?
    pub stale: Option<&'a (dyn Fn(PassKey) -> bool + Sync)>,
}

/// Keeps keys that files repeat.
pub struct Meet<'a> {
    pub before: DateTime<Utc>,
    pub note: &'a (dyn Fn(&[AddKey]) -> anyhow::Result<()> + Sync),
}

/// What the diff found, beside the rows it handed over.
#[derive(Default)]
pub struct Diffed {
    /// Rows that are not kept one by one.
    pub unchanged: u64,
    /// Rows handed over with an outcome.
    pub ended: Tally,
    /// Rows handed over that are to be sent.
    pub pending: u64,
    pub moves: Moves,
    /// Operations of rows that are not kept one by one, by name.
    pub operations: BTreeMap<String, Tally>,
}

/// Compares all valid records. Rows go to `rows` in pass-key order, unchanged ones excepted.
pub fn diff(
    validated: &Validated,
    duplicated: &Duplicated,
    against: &Against<'_>,
    pool: &rayon::ThreadPool,
    rows: &mut dyn FnMut(Vec<Row>) -> anyhow::Result<()>,
) -> anyhow::Result<Diffed> {
    let known_passes = against.ledger.baseline_count(against.account)?;
    // Reading a whole range of the baseline beats asking pass by pass unless the file is much smaller than the baseline.
    let by_range = validated.valid * 8 >= known_passes;
    let mut requests = Requests::default();
    let mut diffed = Diffed::default();
    let mut number = FIRST_NUMBER.max(against.sent.next_number);
    let wave = pool.current_num_threads() * 2;
    for start in (0..PARTITIONS).step_by(wave) {
        let parts: Vec<anyhow::Result<Part>> = pool.install(|| {
            (start..PARTITIONS.min(start + wave))
                .into_par_iter()
                .map(|partition| compare_partition(partition, validated, duplicated, against, by_range, known_passes > 0))
                .collect()
        });
        for part in parts {
            let mut part = part?;
            for row in &mut part.rows {
                row.number = number;
                number += 1;
                if row.outcome.is_none() {
                    requests.count(against.mapping, row);
                }
            }
            diffed.take(&part);
            if let Some(meet) = against.meet.filter(|_| !part.met.is_empty()) {
                (meet.note)(&part.met)?;
            }
            if !part.rows.is_empty() {
                rows(part.rows)?;
            }
        }
    }
    diffed.moves.requests = requests.total(against.mapping);
    diffed.moves.finds = requests.finds();
    Ok(diffed)
}

impl Diffed {
    fn take(&mut self, part: &Part) {
        self.unchanged += part.unchanged;
        for row in &part.rows {
            match row.outcome {
                Some(outcome) => self.ended.add(outcome, 1),
                None => self.pending += 1,
            }
        }
        let (moves, more) = (&mut self.moves, &part.moves);
        moves.passes += more.passes;
        moves.zeroed += more.zeroed;
        moves.balances += more.balances;
        moves.cleared += more.cleared;
        moves.ended += more.ended;
        moves.perhaps_created += more.perhaps_created;
        moves.over_alerts += more.over_alerts;
        for (name, count) in &more.adds {
            *moves.adds.entry(name.clone()).or_default() += count;
        }
        for (name, tally) in &part.operations {
            self.operations.entry(name.clone()).or_default().merge(tally);
        }
        let room = SAMPLES.saturating_sub(moves.samples.len());
        moves.samples.extend(more.samples.iter().take(room).cloned());
    }
}

#[derive(Default)]
struct Part {
    rows: Vec<Row>,
    unchanged: u64,
    moves: Moves,
    operations: BTreeMap<String, Tally>,
    /// Keys that were applied long ago and are repeated here.
    met: Vec<AddKey>,
}

fn compare_partition(
    partition: usize,
    validated: &Validated,
    duplicated: &Duplicated,
    against: &Against<'_>,
    by_range: bool,
    has_baseline: bool,
) -> anyhow::Result<Part> {
    let mut part = Part::default();
    let bytes = validated.entries.load(partition)?;
    let mut entries = Entry::read_all(&bytes);
    drop(bytes);
    entries.retain(|entry| !duplicated.contains(entry.record));
    entries.sort_unstable_by_key(|entry| (entry.pass, entry.record));
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(part) };
    let mut known: Vec<Known> = Vec::new();
    if has_baseline {
        if by_range {
            against.ledger.baseline_range(against.account, first.pass, last.pass, &mut |one| known.push(one))?;
        } else {
            let mut passes: Vec<PassKey> = entries.iter().map(|entry| entry.pass).collect();
            passes.dedup();
            known = against.ledger.baseline_of(against.account, &passes)?;
        }
    }
    let keys: Vec<AddKey> = entries.iter().flat_map(|entry| entry.adds.iter().map(|(key, _)| *key)).collect();
    let noted: HashMap<AddKey, KeyNote> = against.ledger.keys(&keys)?.into_iter().flatten().map(|note| (note.key, note)).collect();
    let stamps = match against.clock {
        None => HashMap::new(),
        Some(clock) => {
            let mut passes: Vec<PassKey> = entries.iter().map(|entry| entry.pass).collect();
            passes.dedup();
            against.ledger.stamps(against.account, clock, &passes)?
        }
    };
    let mut known = known.into_iter().peekable();
    for group in entries.chunk_by(|a, b| a.pass == b.pass) {
        let pass = group[0].pass;
        while known.next_if(|one| one.pass < pass).is_some() {}
        let baseline = known.next_if(|one| one.pass == pass);
        let applied = stamps.get(&pass).copied();
        if against.clock.is_some() && !(against.duplicates == Duplicates::Reject && group.len() > 1) {
            let current = current(group, applied, &mut part.rows);
            if !current.is_empty() {
                compare_pass(&current, baseline.as_ref(), applied, &noted, against, &mut part);
            }
        } else {
            compare_pass(group, baseline.as_ref(), applied, &noted, against, &mut part);
        }
    }
    Ok(part)
}

/// The records of a pass that are not older than what was applied to it, nor than a record before them. The others end here.
fn current(group: &[Entry], applied: Option<i64>, rows: &mut Vec<Row>) -> Vec<Entry> {
    let mut newest = applied.map(|at| (at, None));
    let mut current = Vec::with_capacity(group.len());
    for entry in group {
        match (entry.stamp, newest) {
            (Some(at), Some((newer, line))) if at < newer => {
                let message = line.map_or("a newer state was applied before".to_owned(), |line| format!("line {line} has a newer state"));
                let mut row = ended_row(entry, Outcome::Stale, Vec::new());
                row.detail.operations.push(OperationNote {
                    operation: entry.verb.as_str().to_owned(),
                    outcome: Outcome::Stale,
                    code: None,
                    message,
                });
                rows.push(row);
                continue;
            }
            (Some(at), _) => newest = Some((at, Some(entry.line))),
            (None, _) => {}
        }
        current.push(entry.clone());
    }
    current
}

/// All records of one pass, in file order. `applied` says how new the state is that was applied to it.
fn compare_pass(
    group: &[Entry],
    baseline: Option<&Known>,
    applied: Option<i64>,
    noted: &HashMap<AddKey, KeyNote>,
    against: &Against<'_>,
    part: &mut Part,
) {
    if against.duplicates == Duplicates::Reject && group.len() > 1 {
        for entry in group {
            let others: Vec<String> =
                group.iter().filter(|other| other.record != entry.record).take(3).map(|other| other.line.to_string()).collect();
            if against.sent.has(entry.line) {
                continue;
            }
            let problem = Problem::new(Code::DuplicateKey, None, format!("the same pass is named in line {}", others.join(", ")));
            part.rows.push(ended_row(entry, Outcome::Rejected, vec![problem]));
        }
        return;
    }
    // What was set is stale once a later run set it; what was to be added was not added by anybody else.
    let stale = against.stale.is_some_and(|stale| stale(group[0].pass));
    if stale && group.iter().all(|entry| entry.adds.is_empty()) {
        for entry in group.iter().filter(|entry| !against.sent.has(entry.line)) {
            let problem = Problem::new(Code::CorrectionStale, None, "a later run changed this pass after the report was written");
            part.rows.push(ended_row(entry, Outcome::Stale, vec![problem]));
        }
        return;
    }
    let keep = survivors(group, against.duplicates);
    let alone = keep.iter().filter(|&&kept| kept).count() == 1;
    // Records of one pass stay in their order, so they wait together.
    let pending = group.iter().any(|entry| {
        let fields = entry.wanted.iter().map(|&(field, _)| against.field_ids[field as usize]);
        against.pending.conflicts(entry.pass, entry.verb, fields)
    });
    let mut seen: HashMap<AddKey, (u64, u64)> = HashMap::new();
    // Of changes and of notifications.
    let mut alerts = [0_u32; 2];
    for (entry, kept) in group.iter().zip(keep) {
        // It took part in what came before only so that nothing older goes out after it.
        if against.sent.has(entry.line) {
            continue;
        }
        if !kept {
            let mut row = ended_row(entry, Outcome::Superseded, Vec::new());
            row.detail.operations.push(superseded_by(entry, group, against.duplicates));
            part.rows.push(row);
            continue;
        }
        let mut adds = match Adds::of(entry, noted, &mut seen, against) {
            Ok(adds) => adds,
            Err(problem) => {
                part.rows.push(ended_row(entry, Outcome::Rejected, vec![problem]));
                continue;
            }
        };
        // What an earlier run is about to write, or another record of this file, makes the baseline say nothing about this record.
        let trusted = baseline.filter(|_| alone && !pending && !against.force);
        let mask = if stale { 0 } else { changed(entry, trusted, against) };
        if stale {
            adds.notes.extend(stale_notes(entry, against.mapping));
        }
        let fields_done = match entry.verb {
            Verb::Update | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => mask == 0,
            Verb::Upsert => mask == 0 && trusted.is_some(),
            Verb::Expire | Verb::Void => false,
        };
        part.met.append(&mut adds.met);
        adds.notes.extend(withheld_notes(entry.withheld, against.mapping));
        if !fields_done || adds.left != 0 {
            note_moves(entry, baseline, mask, adds.left, against, &mut part.moves);
            if let Some(alerting) = against.mapping.alerting() {
                alerts[0] += u32::from(mask & alerting.fields != 0);
                alerts[1] += u32::from(adds.left & AddKind::Notify.bit() != 0 && alerting.notification);
            }
            let mut row = ended_row(entry, Outcome::Applied, Vec::new());
            row.detail.operations = adds.notes;
            let stamp = stamp_of(entry, against);
            part.rows.push(Row { mask, adds: adds.left, deferred: pending, stamp, outcome: None, ..row });
        } else if let Some(outcome) = adds.outcome() {
            let mut row = ended_row(entry, outcome, Vec::new());
            row.detail.operations = adds.notes;
            part.rows.push(row);
        } else if let Some(stamp) = stamp_of(entry, against).filter(|stamp| Some(stamp.at) != applied) {
            // Kept one by one, since it says of its pass how new its state is.
            let mut row = ended_row(entry, Outcome::Unchanged, Vec::new());
            row.detail.operations = adds.notes;
            part.rows.push(Row { stamp: Some(stamp), ..row });
        } else {
            part.unchanged += 1;
            for note in adds.notes {
                part.operations.entry(note.operation).or_default().add(note.outcome, 1);
            }
        }
    }
    let over = against.mapping.alerting().is_some_and(|alerting| alerts.iter().any(|&count| count > alerting.max));
    part.moves.over_alerts += u64::from(over);
}

fn stamp_of(entry: &Entry, against: &Against<'_>) -> Option<Stamp> {
    Some(Stamp { clock: against.clock?, at: entry.stamp? })
}

/// What a row that adds does not set any more, because a later run changed the pass.
fn stale_notes(entry: &Entry, mapping: &Mapping) -> Vec<OperationNote> {
    let operations: BTreeSet<&str> = entry.wanted.iter().map(|&(field, _)| mapping.fields()[field as usize].rule.operation).collect();
    let note = |operation: &str| OperationNote {
        operation: operation.to_owned(),
        outcome: Outcome::Stale,
        code: Some(Code::CorrectionStale),
        message: "a later run changed this pass".to_owned(),
    };
    operations.into_iter().map(note).collect()
}

/// What lack of consent keeps back, for the counts; the message names fields, never values.
fn withheld_notes(withheld: Withheld, mapping: &Mapping) -> Vec<OperationNote> {
    let note = |operation: &str, message: String| OperationNote {
        operation: operation.to_owned(),
        outcome: Outcome::Withheld,
        code: None,
        message,
    };
    let fields = mapping.fields().iter().enumerate().filter(|(index, _)| withheld.fields & (1 << index) != 0);
    let mut notes: Vec<OperationNote> =
        fields.map(|(_, field)| note(field.rule.operation, format!("no consent for {}", field.name))).collect();
    if withheld.notification {
        notes.push(note("notify", "no consent".to_owned()));
    }
    notes
}

/// Which records of a pass are to be carried out.
fn survivors(group: &[Entry], policy: Duplicates) -> Vec<bool> {
    let mut keep = vec![true; group.len()];
    match policy {
        Duplicates::First => keep[1..].fill(false),
        Duplicates::Last => {
            let mut later = Later::default();
            for (index, entry) in group.iter().enumerate().rev() {
                keep[index] = !later.covers(entry);
                later.add(entry);
            }
        }
        Duplicates::InOrder | Duplicates::Reject => {}
    }
    keep
}

/// Says which record won. Of several that do so between them, the last.
fn superseded_by(entry: &Entry, group: &[Entry], policy: Duplicates) -> OperationNote {
    let winner = if policy == Duplicates::First { &group[0] } else { &group[group.len() - 1] };
    let message = format!("by line {}", winner.line);
    OperationNote { operation: entry.verb.as_str().to_owned(), outcome: Outcome::Superseded, code: None, message }
}

/// What the records after one do between them.
#[derive(Default)]
struct Later {
    fields: u64,
    verbs: Vec<Verb>,
}

impl Later {
    /// Leaving the record out loses nothing. A later record that leaves a field alone does not cover it, and nothing covers an add.
    fn covers(&self, entry: &Entry) -> bool {
        if !entry.adds.is_empty() {
            return false;
        }
        let fields = entry.mask() & !self.fields == 0;
        self.verbs.contains(&Verb::Void)
            || match entry.verb {
                Verb::Update | Verb::Earn | Verb::Burn | Verb::Redeem | Verb::Validate => fields && !self.verbs.is_empty(),
                Verb::Upsert | Verb::Expire => fields && self.verbs.contains(&entry.verb),
                Verb::Void => false,
            }
    }

    fn add(&mut self, entry: &Entry) {
        self.fields |= entry.mask();
        self.verbs.push(entry.verb);
    }
}

/// Fields that differ from the baseline, are not known, or were sent too long ago.
fn changed(entry: &Entry, baseline: Option<&Known>, against: &Against<'_>) -> u64 {
    entry.wanted.iter().fold(0, |mask, &(field, mark)| {
        let same = state_of(baseline, field, against).is_some_and(|state| {
            state.mark == mark && against.max_age_days.is_none_or(|days| against.today.saturating_sub(state.day) < days)
        });
        if same { mask } else { mask | 1 << field }
    })
}

fn state_of<'k>(baseline: Option<&'k Known>, field: u8, against: &Against<'_>) -> Option<&'k FieldState> {
    let id = against.field_ids[field as usize];
    baseline?.fields.iter().find(|state| state.field == id)
}

fn ended_row(entry: &Entry, outcome: Outcome, problems: Vec<Problem>) -> Row {
    Row {
        number: 0,
        record: entry.record,
        line: entry.line,
        offset: entry.offset,
        length: entry.length,
        pass: Some(entry.pass),
        verb: entry.verb,
        mask: 0,
        adds: 0,
        deferred: false,
        taken: false,
        stamp: None,
        outcome: Some(outcome),
        detail: RowDetail { problems, operations: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Mark;
    use crate::schema::value::Value;

    fn entry(record: u64, verb: Verb, fields: &[u8]) -> Entry {
        let mark = Mark::of(Some(&Value::Integer(1)), false);
        let wanted = fields.iter().map(|&field| (field, mark)).collect();
        Entry {
            pass: PassKey(1),
            record,
            line: record + 1,
            offset: 0,
            length: 0,
            verb,
            wanted,
            adds: Vec::new(),
            withheld: Withheld::default(),
            stamp: None,
        }
    }

    #[test]
    fn a_record_is_superseded_only_when_nothing_of_it_is_lost() {
        let last = |group: &[Entry]| survivors(group, Duplicates::Last);
        let update = |record, fields: &[u8]| entry(record, Verb::Update, fields);
        assert_eq!(last(&[update(1, &[0, 1]), update(2, &[0, 1])]), [false, true]);
        assert_eq!(last(&[update(1, &[0, 1]), update(2, &[0])]), [true, true], "field 1 would be lost");
        assert_eq!(last(&[update(1, &[0, 1]), update(2, &[0]), update(3, &[1])]), [false, true, true]);
        assert_eq!(last(&[update(1, &[0]), entry(2, Verb::Void, &[])]), [false, true]);
        assert_eq!(last(&[entry(1, Verb::Void, &[]), update(2, &[0])]), [true, true]);
        assert_eq!(last(&[entry(1, Verb::Upsert, &[0]), update(2, &[0])]), [true, true], "the update would find no pass");
    }

    #[test]
    fn the_first_record_counts_when_the_feed_says_so() {
        assert_eq!(survivors(&[entry(1, Verb::Update, &[0]), entry(2, Verb::Update, &[0])], Duplicates::First), [true, false]);
    }
}
