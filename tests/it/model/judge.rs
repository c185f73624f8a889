//! The model: what files, rows and passes must have come to, told from what was delivered and from how each row is said to have ended.
//! Where a fault or a person makes several ends right, any of them is, and what is said must then be true of the platform.

use std::collections::{BTreeMap, BTreeSet};

use passferry::ledger::{RunKind, State};
use passferry::outcome::{Code, Outcome};

use super::ops::{BEGIN, Feed, TOO_MANY};

pub type Cells = BTreeMap<String, String>;

/// How a row is said to have ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// None while it is to be done.
    pub outcome: Option<Outcome>,
    pub codes: Vec<Code>,
    pub operations: Vec<(String, Outcome)>,
}

/// A run, and the file it reads.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    pub name: String,
    pub feed: Feed,
    pub kind: RunKind,
    pub parent: Option<String>,
    pub state: State,
    pub nothing_new: bool,
    /// Faults, kills or a stop may have befallen it.
    pub troubled: bool,
    /// By record.
    pub cells: Vec<Cells>,
    pub ended: BTreeMap<u64, Ended>,
    /// Of the errors' report: how each line of it says that its row ended.
    pub lines: Option<BTreeMap<u64, String>>,
}

impl Told {
    fn row(&self, record: u64) -> String {
        format!(
            "record {record} of {} ({}, run {}): {:?}: {:?}",
            self.name,
            self.feed.name(),
            self.id,
            self.cells[record as usize - 1],
            self.ended.get(&record)
        )
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::DoneInDoubt)
    }
}

/// What the platform really has, and what may be expected of it.
pub struct Truth {
    /// Points earned or burned, how often, by pass, direction and amount.
    pub effects: BTreeMap<Content, u64>,
    /// By pass: `points`, `store`, `till`.
    pub passes: BTreeMap<String, Cells>,
    /// It keeps events, and the configuration says so.
    pub helps: bool,
}

/// What a transaction's row says: pass, direction, amount. No two transactions have one in common.
pub type Content = (String, String, u64);

/// A row that names a transaction.
struct Mention<'a> {
    run: &'a Told,
    record: u64,
    /// None where the row says nothing that could be applied.
    content: Option<Content>,
    end: Option<(Outcome, &'a [Code])>,
}

fn cell<'c>(cells: &'c Cells, label: &str) -> &'c str {
    cells.get(label).map_or("", |text| text.trim())
}

fn is_add(operation: &str) -> bool {
    matches!(operation, "earn" | "burn")
}

/// Judges everything.
pub fn judge(runs: &[Told], truth: &Truth) {
    for run in runs {
        files_end_as_they_must(run);
    }
    adds_agree(runs, truth);
    sets_agree(runs, truth);
}

fn files_end_as_they_must(run: &Told) {
    let known = run.cells.first().is_none_or(|cells| cells.contains_key("id"));
    assert!(!run.state.is_over() || (run.state == State::Failed) != known, "{} is {}", run.name, run.state);
    assert!(
        run.state.is_over() || run.state == State::Held || matches!(run.state, State::Complete | State::Fetched),
        "{} came to rest as {}",
        run.name,
        run.state
    );
    if !run.state.is_over() || !known || run.nothing_new {
        return;
    }
    // Unchanged rows alone are not kept one by one; movements are never unchanged, as none is of nothing.
    if run.feed != Feed::Points && run.kind != RunKind::Retry {
        let all: BTreeSet<u64> = (1..=run.cells.len() as u64).collect();
        assert_eq!(run.ended.keys().copied().collect::<BTreeSet<_>>(), all, "rows of {}", run.name);
    }
    if let Some(lines) = &run.lines {
        for (record, line) in lines {
            let ended = run.ended.get(record).and_then(|ended| ended.outcome).map(Outcome::as_str);
            assert_eq!(ended, Some(line.as_str()), "the report and the ledger, of {}", run.row(*record));
        }
    }
}

/// At most one effect for each transaction, and exactly one where a row is said to be applied.
fn adds_agree(runs: &[Told], truth: &Truth) {
    let mut mentions: BTreeMap<String, Vec<Mention<'_>>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.feed != Feed::Points && run.state != State::Failed && !run.nothing_new) {
        for (index, cells) in run.cells.iter().enumerate() {
            let record = index as u64 + 1;
            let ended = run.ended.get(&record);
            if ended.is_none() && run.kind == RunKind::Retry {
                continue;
            }
            let content =
                cell(cells, "points").parse().ok().map(|amount| (cell(cells, "id").to_owned(), cell(cells, "move").to_owned(), amount));
            let end = ended.and_then(|ended| {
                let note = ended.operations.iter().rev().find(|(operation, _)| is_add(operation)).map(|(_, outcome)| *outcome);
                note.or(ended.outcome).map(|outcome| (outcome, &ended.codes[..]))
            });
            let transaction = cell(cells, "txn").to_owned();
            if transaction.is_empty() {
                let rejected = end.is_none_or(|(outcome, _)| outcome == Outcome::Rejected);
                assert!(rejected, "a movement without a transaction cannot be known again: {}", run.row(record));
                continue;
            }
            // Section 6 of the failure model: the operation is part of an add's identity.
            let transaction = format!("{} {transaction}", cell(cells, "move"));
            mentions.entry(transaction).or_default().push(Mention { run, record, content, end });
        }
    }
    let mut left = truth.effects.clone();
    for (transaction, rows) in &mentions {
        let contents: BTreeSet<&Content> = rows.iter().filter_map(|row| row.content.as_ref()).collect();
        let effects: BTreeMap<&Content, u64> = contents.iter().filter_map(|content| Some((*content, left.remove(*content)?))).collect();
        let story = || rows.iter().map(|row| row.run.row(row.record)).collect::<Vec<_>>().join("\n");
        let times: u64 = effects.values().sum();
        assert!(times <= 1, "{transaction} has {times} effects: {effects:?}\n{}", story());
        let applied: Vec<&Mention<'_>> = rows.iter().filter(|row| is(row, Outcome::Applied)).collect();
        assert!(applied.len() <= 1, "{transaction} is said to be applied {} times\n{}", applied.len(), story());
        let open = rows.iter().any(|row| is(row, Outcome::InDoubt) || row.end.is_none());
        match applied.first() {
            Some(row) => {
                let content = row.content.as_ref().unwrap_or_else(|| panic!("nothing that could be applied: {}", story()));
                assert_eq!(effects.get(content), Some(&1), "{transaction} is said to be applied, and was not\n{}", story());
            }
            None => assert!(times == 0 || open, "{transaction} was applied, and no row is said to be\n{}", story()),
        }
        for row in rows {
            is_right(row, rows, &contents, truth);
        }
    }
    assert!(left.is_empty(), "effects that no row asks for: {left:?}");
    for (pass, cells) in truth.passes.iter().filter(|(pass, _)| pass.starts_with('M')) {
        let sum: i64 = truth
            .effects
            .iter()
            .filter(|((of, ..), _)| of == pass)
            .map(|((_, way, amount), times)| {
                let points = (*amount * *times) as i64;
                if way == "burn" { -points } else { points }
            })
            .sum();
        assert_eq!(cells["points"], (i64::from(BEGIN) + sum).to_string(), "points of {pass}");
    }
}

fn is(row: &Mention<'_>, wanted: Outcome) -> bool {
    row.end.is_some_and(|(outcome, _)| outcome == wanted)
}

/// May this row have ended so? What nothing stands in the way of must have been applied.
fn is_right(row: &Mention<'_>, rows: &[Mention<'_>], contents: &BTreeSet<&Content>, truth: &Truth) {
    let Some((outcome, codes)) = row.end else {
        assert!(!row.run.is_done(), "nothing is said of {}", row.run.row(row.record));
        return;
    };
    let has = |code: Code| codes.contains(&code);
    let known = row.content.as_ref().is_some_and(|(pass, ..)| pass != "M-99");
    let affordable = row.content.as_ref().is_some_and(|(.., amount)| *amount < u64::from(TOO_MANY));
    let conflicting = contents.len() > 1;
    let right = match outcome {
        Outcome::Applied => known && affordable,
        Outcome::Duplicate => rows.iter().any(|other| {
            let earlier = other.run.id == row.run.id && other.record < row.record;
            other.content == row.content && (earlier || is(other, Outcome::Applied))
        }),
        Outcome::Rejected => {
            row.content.is_none()
                || (has(Code::KeyConflict) && conflicting)
                || (has(Code::CorrectionUnknown) && row.run.kind != RunKind::File)
        }
        Outcome::Refused => {
            (known && !affordable && has(Code::UpdateRejected))
                || (has(Code::KeyConflict) && conflicting)
                || (has(Code::RetriesExhausted) && row.run.troubled)
                || has(Code::SettledNotApplied)
        }
        Outcome::Unresolved => row.content.is_some() && !known,
        Outcome::InDoubt => !truth.helps && row.run.troubled,
        Outcome::NotAttempted => {
            (!truth.helps && (has(Code::PassInDoubt) || has(Code::AddInDoubt) || has(Code::SettledResend)))
                || (has(Code::Discarded) && row.run.state == State::Discarded)
        }
        _ => false,
    };
    assert!(right, "a row cannot have ended so: {}", row.run.row(row.record));
}

/// What a field of a pass may hold.
#[derive(Clone, Debug)]
struct Held {
    values: BTreeSet<String>,
    /// Place, among all runs, of the file that set it last.
    by: usize,
}

/// Each field holds what the last row that set it says.
fn sets_agree(runs: &[Told], truth: &Truth) {
    let mut held: BTreeMap<(String, &str), Held> = BTreeMap::new();
    for pass in truth.passes.keys() {
        for field in ["points", "store", "till"].into_iter().filter(|field| *field != "points" || pass.starts_with('C')) {
            let nothing = if field == "points" { "0" } else { "" };
            held.insert((pass.clone(), field), Held { values: BTreeSet::from([nothing.to_owned()]), by: 0 });
        }
    }
    let place = |id: &str| runs.iter().position(|run| run.id == id);
    let mut names: BTreeMap<Feed, &str> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        if run.kind == RunKind::File {
            let before = names.insert(run.feed, &run.name).unwrap_or_default();
            assert!(before < run.name.as_str(), "files of {} are taken in their order: {before}, {}", run.feed.name(), run.name);
        }
        // A correction and a retry stand where the file stands that they continue.
        let mut origin = run;
        while let (RunKind::Correction | RunKind::Retry, Some(parent)) = (origin.kind, &origin.parent) {
            origin = &runs[place(parent).unwrap_or_else(|| panic!("the parent of {} is gone", origin.id))];
        }
        let stands = if run.kind == RunKind::File { index } else { place(&origin.id).unwrap_or_default() };
        if run.state == State::Failed || run.nothing_new {
            continue;
        }
        for (record, cells) in (1..).zip(&run.cells) {
            let ended = run.ended.get(&record);
            let outcome = ended.and_then(|ended| ended.outcome);
            let skipped = match (outcome, ended) {
                (None, Some(_)) => true,
                (None, None) => !run.is_done() || run.kind == RunKind::Retry,
                (Some(outcome), _) => matches!(outcome, Outcome::Rejected | Outcome::Unresolved | Outcome::Superseded | Outcome::Stale),
            };
            if skipped {
                continue;
            }
            let pass = cell(cells, "id");
            let fields: &[&str] = match run.feed {
                Feed::Points => &["points", "store"],
                Feed::Tills => &["till"],
                Feed::Web => &[],
            };
            for field in fields {
                let value = cell(cells, field);
                let Some(now) = held.get_mut(&(pass.to_owned(), *field)).filter(|_| !value.is_empty()) else { continue };
                let notes = ended.into_iter().flat_map(|ended| &ended.operations).filter(|(operation, _)| !is_add(operation));
                let worst = notes.map(|(_, outcome)| *outcome).max_by_key(|outcome| outcome.severity());
                let said = match (worst, outcome) {
                    (Some(outcome), _) => Some(outcome),
                    // A movement's own end says nothing of what it sets.
                    (None, Some(_)) if run.feed != Feed::Points => None,
                    (None, outcome) => outcome,
                };
                let continues = run.kind != RunKind::File;
                match said {
                    // Another file came after the one that this continues.
                    _ if continues && now.by > stands => {}
                    // Nothing was sent: it was equal already, or a later run had changed the pass.
                    None if continues => {}
                    Some(Outcome::Applied) => *now = Held { values: BTreeSet::from([value.to_owned()]), by: stands },
                    // It found the pass as it wants it, and changed nothing: a correction of an earlier file is not stale by that.
                    None | Some(Outcome::Unchanged) => now.values = BTreeSet::from([value.to_owned()]),
                    Some(Outcome::Stale) => {}
                    Some(Outcome::NotAttempted) if ended.is_some_and(|ended| ended.codes.contains(&Code::Discarded)) => {}
                    Some(_) => {
                        now.values.insert(value.to_owned());
                    }
                }
            }
        }
    }
    for ((pass, field), held) in &held {
        let really = cell(&truth.passes[pass], field);
        if !held.values.contains(really) {
            let rows = runs.iter().flat_map(|run| (1..).zip(&run.cells).map(move |(record, cells)| (run, record, cells)));
            let about = rows.filter(|(.., cells)| cell(cells, "id") == pass && !cell(cells, field).is_empty());
            let story: Vec<String> = about.map(|(run, record, _)| format!("{:?} {}: {}", run.kind, run.state, run.row(record))).collect();
            panic!("{field} of {pass} is {really:?} and must be {:?}\n{}", held.values, story.join("\n"));
        }
    }
}
