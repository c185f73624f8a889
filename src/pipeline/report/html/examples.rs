//! The first examples of each problem, and the rows with most of them: noted while `rows` passes all rows by, so that nothing is read twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::super::rows::is_about_a_cell;
use super::super::{Report, RowSource};
use crate::ledger::{OperationNote, Row};
use crate::outcome::{Code, Problem};
use crate::page::words::{MASK, count, visible};

/// Examples of a code in one column.
pub const EXAMPLES_MAX: usize = 3;
/// Columns of a code that have examples: those with most problems.
pub const COLUMNS_MAX: usize = 4;
/// Rows with most problems.
pub const WORST_MAX: usize = 10;
/// Problems told of each of those.
const TOLD_MAX: usize = 4;
/// Problems of such a row that are looked through for different ones.
const LOOKED_AT: usize = 50;
/// Characters of a cell, of what is said of it, and of a column's name.
const CELL_MAX: usize = 100;
const WORDS_MAX: usize = 240;
pub const LABEL_MAX: usize = 80;

/// A cell as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Beside `cell`, a class of the style sheet.
    pub class: &'static str,
    pub text: String,
}

/// One problem of one row.
#[derive(Clone, Debug)]
pub struct Example {
    line: u64,
    /// Of a set: the part and the line in it.
    pub place: Option<String>,
    /// Empty where the row as a whole is meant.
    pub label: String,
    pub cell: Option<Cell>,
    pub message: String,
    pub suggestion: Option<String>,
}

/// Problems of one code in one column.
#[derive(Debug)]
pub struct Place {
    column: Option<u32>,
    pub label: String,
    pub examples: Vec<Example>,
}

/// A row with many problems.
#[derive(Debug)]
pub struct Worst {
    line: u64,
    pub place: Option<String>,
    pub problems: usize,
    /// What is said of it, each thing once.
    pub told: Vec<Example>,
    /// Things that are not told here.
    pub untold: usize,
}

impl Example {
    pub fn line_shown(&self) -> String {
        count(self.line)
    }
}

impl Worst {
    pub fn line_shown(&self) -> String {
        count(self.line)
    }
}

#[derive(Debug, Default)]
pub struct Examples {
    /// By code, the columns with most problems, where columns have names.
    columns: HashMap<Code, Vec<String>>,
    places: BTreeMap<Code, Vec<Place>>,
    worst: Vec<Worst>,
}

impl Examples {
    /// `report` knows already where the problems are.
    pub fn wanted(report: &Report) -> Examples {
        let mut by_code: HashMap<Code, Vec<(u64, &String)>> = HashMap::new();
        for (label, codes) in &report.problems_by_column {
            for (name, &count) in codes {
                if let Some(code) = Code::parse(name) {
                    by_code.entry(code).or_default().push((count, label));
                }
            }
        }
        let columns = by_code.into_iter().map(|(code, mut labels)| {
            labels.sort_by_key(|&(count, label)| (std::cmp::Reverse(count), label));
            (code, labels.into_iter().take(COLUMNS_MAX).map(|(_, label)| label.clone()).collect())
        });
        Examples { columns: columns.collect(), ..Examples::default() }
    }

    /// The rows come once more from the first.
    pub fn restart(&mut self) {
        self.places.clear();
        self.worst.clear();
    }

    pub fn of(&self, code: Code) -> &[Place] {
        self.places.get(&code).map_or(&[], Vec::as_slice)
    }

    /// Those with most problems first, then by line.
    pub fn worst(&self) -> &[Worst] {
        &self.worst
    }

    /// `cells` are the data's own; `place` is where the row stands in a set.
    pub fn row(&mut self, row: &Row, cells: &[Cow<'_, str>], source: &RowSource<'_>, place: Option<&str>) {
        let one =
            |column: Option<u32>, message: &str, suggestion: Option<&str>| example(row, place, cells, source, column, message, suggestion);
        let mut before = None;
        for problem in &row.detail.problems {
            let column = column_of(problem);
            let again = column.is_none() && before == Some(problem.code);
            before = Some(problem.code);
            if !again && self.has_room(problem.code, column, source) {
                self.keep(problem.code, column, one(column, &problem.message, problem.suggestion.as_deref()));
            }
        }
        let failed = || row.detail.operations.iter().filter_map(|note| Some((note.code?, note)));
        let said_of = |note: &OperationNote| one(None, &format!("{}: {}", note.operation, note.message), None);
        for (code, note) in failed() {
            if self.has_room(code, None, source) {
                self.keep(code, None, said_of(note));
            }
        }
        let problems = row.detail.problems.len() + failed().count();
        let least = self.worst.last().map_or(0, |least| least.problems);
        if problems > least || (problems > 0 && self.worst.len() < WORST_MAX) {
            let said = row.detail.problems.iter().map(|problem| one(column_of(problem), &problem.message, problem.suggestion.as_deref()));
            let mut told: Vec<Example> = Vec::new();
            for example in said.chain(failed().map(|(_, note)| said_of(note))).take(LOOKED_AT) {
                if !told.iter().any(|other| (&other.label, &other.message) == (&example.label, &example.message)) {
                    told.push(example);
                }
            }
            let untold = told.len().saturating_sub(TOLD_MAX) + problems.saturating_sub(LOOKED_AT);
            told.truncate(TOLD_MAX);
            let at = self.worst.partition_point(|other| other.problems >= problems);
            self.worst.insert(at, Worst { line: row.line, place: place.map(str::to_owned), problems, told, untold });
            self.worst.truncate(WORST_MAX);
        }
    }

    fn has_room(&self, code: Code, column: Option<u32>, source: &RowSource<'_>) -> bool {
        let places = self.of(code);
        if let Some(place) = places.iter().find(|place| place.column == column) {
            return place.examples.len() < EXAMPLES_MAX;
        }
        let label = column.and_then(|column| source.labels.get(column as usize));
        let is_among_most = match (label, self.columns.get(&code)) {
            (Some(label), Some(most)) => most.contains(label),
            _ => true,
        };
        is_among_most && places.len() < COLUMNS_MAX
    }

    fn keep(&mut self, code: Code, column: Option<u32>, example: Example) {
        let places = self.places.entry(code).or_default();
        match places.iter_mut().find(|place| place.column == column) {
            Some(place) => place.examples.push(example),
            None => places.push(Place { column, label: example.label.clone(), examples: vec![example] }),
        }
    }
}

/// What is wrong with a record as a whole is noted in each of its columns, and told once.
fn column_of(problem: &Problem) -> Option<u32> {
    problem.column.filter(|_| is_about_a_cell(problem.code))
}

fn example(
    row: &Row,
    place: Option<&str>,
    cells: &[Cow<'_, str>],
    source: &RowSource<'_>,
    column: Option<u32>,
    message: &str,
    suggestion: Option<&str>,
) -> Example {
    let index = column.map(|column| column as usize);
    let personal = index.and_then(|index| source.personal.get(index)).copied().unwrap_or(true);
    Example {
        line: row.line,
        place: place.map(str::to_owned),
        label: index.and_then(|index| source.labels.get(index)).cloned().unwrap_or_default(),
        cell: index.and_then(|index| cells.get(index)).map(|cell| shown(cell, personal)),
        message: visible(&source.without_personal(message, cells), WORDS_MAX),
        suggestion: suggestion.map(|text| visible(&source.without_personal(text, cells), WORDS_MAX)),
    }
}

/// A page is passed around more freely than the file itself.
fn shown(cell: &str, personal: bool) -> Cell {
    match (cell, personal) {
        ("", _) => Cell { class: "empty", text: "empty".to_owned() },
        (_, true) => Cell { class: "masked", text: format!("{MASK} (personal)") },
        (text, false) => Cell { class: "", text: visible(text, CELL_MAX) },
    }
}
