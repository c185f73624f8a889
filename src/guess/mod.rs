//! What a file's columns are, read from the file itself: a schema and a feed to begin with, and how sure each part of them is.
//!
//! Nothing is decided that the cells do not show. Where they allow two readings, such as a day and a month that could be either, the
//! column stays text and the question is put to the person.

mod column;
mod dialect;
mod forms;
mod names;
mod times;
mod write;

use serde::Serialize;

use crate::outcome::Problem;
use crate::pipeline::decode::{Chunks as _, DecodeError, Dialect, Opened};
use column::Cells;
use names::Role;

pub use dialect::{Found, find};
pub use write::{Feed, feed, pattern, schema};

/// Records from whose cells the possible forms are taken; all records are then held against them.
const FIRST: usize = 1000;

/// How much a conclusion can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The cells allow more than one reading: a person must say.
    Open,
    /// Other readings are possible and less likely.
    Likely,
    /// The cells allow nothing else.
    Sure,
}

/// What was concluded of one column.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// As the file writes it; empty where the file has no header.
    pub label: String,
    /// The field's name in the schema.
    pub name: String,
    /// The field's descriptor, beside its name.
    #[serde(flatten)]
    pub form: serde_json::Map<String, serde_json::Value>,
    pub certainty: Certainty,
    /// What speaks for it, and what to look at.
    pub why: Vec<String>,
    /// Cells with a value.
    pub filled: u64,
    /// No value stands twice.
    pub unique: bool,
    #[serde(skip)]
    role: Option<Role>,
}

impl Column {
    /// The type with what belongs to it, in few words.
    pub fn shown_form(&self) -> String {
        let text = |name: &str| self.form.get(name).and_then(serde_json::Value::as_str);
        let mut shown = text("type").unwrap_or_default().to_owned();
        if let Some(format) = text("format") {
            shown = format!("{shown} {format}");
        }
        let more = self.form.get("x-passferry").and_then(|own| own.get("formats")).and_then(serde_json::Value::as_array);
        for format in more.into_iter().flatten().filter_map(serde_json::Value::as_str) {
            shown = format!("{shown} or {format}");
        }
        for (name, words) in [("decimalChar", "decimals after"), ("groupChar", "thousands by")] {
            if let Some(sign) = text(name) {
                shown = format!("{shown}, {words} `{sign}`");
            }
        }
        shown
    }
}

/// What was concluded of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Guess {
    #[serde(skip)]
    pub dialect: Dialect,
    pub records: u64,
    /// Records whose form is broken, which nothing was concluded from.
    pub broken: u64,
    pub columns: Vec<Column>,
    /// The column that may name the pass, and why; none where no column can.
    pub key: Option<Key>,
    /// The last record as written, where it is broken.
    #[serde(skip)]
    last_broken: Option<String>,
    /// What of the file as a whole deserves a look.
    pub notes: Vec<String>,
}

/// A column that may name the pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Index of the column.
    pub column: usize,
    pub certainty: Certainty,
    pub why: String,
    /// Indexes of columns that could do as well.
    pub others: Vec<usize>,
}

impl Guess {
    /// Why the first record is rather data than a header, if so: it looks like the cells below it, where those are no text.
    pub fn header_is_data(&self) -> Option<String> {
        let told: Vec<&Column> = self.columns.iter().filter(|column| !column.label.is_empty()).collect();
        let like = told.iter().find(|column| {
            let is_text = column.form.get("type").and_then(serde_json::Value::as_str) == Some("string");
            let form = serde_json::Value::Object(column.form.clone());
            !is_text && forms::Form::new(form).is_some_and(|form| form.fits(&column.label))
        });
        let digits = || told.iter().find(|column| column.label.bytes().all(|byte| byte.is_ascii_digit()));
        let column = like.or_else(digits)?;
        Some(format!(
            "the first record holds {:?} where a name should stand, so it was taken for data: the file has no header",
            column.label
        ))
    }
}

/// Reads the whole file, or as many records of it as are wanted.
fn look(mut reader: Opened<'_>, most: u64) -> Result<Guess, DecodeError> {
    let dialect = reader.dialect().clone();
    let labels = reader.header().map(|header| header.labels.clone());
    let mut notes = reader.notes().to_vec();
    let mut first: Vec<Vec<String>> = Vec::new();
    let mut columns: Vec<Cells> = Vec::new();
    let (mut records, mut broken) = (0, 0);
    let mut examples: Vec<Problem> = Vec::new();
    let mut last_broken = None;
    while records < most
        && let Some(chunk) = reader.next_chunk()?
    {
        for record in chunk.records() {
            records += 1;
            let mut cells = Vec::new();
            record.cells(&mut cells);
            let width = labels.as_ref().map_or_else(|| first.first().map_or(cells.len(), Vec::len), Vec::len);
            if !record.faults.is_empty() || cells.len() != width {
                broken += 1;
                examples.extend(record.faults.first().cloned());
                last_broken = Some(record.raw.to_owned());
                continue;
            }
            last_broken = None;
            if columns.is_empty() {
                first.push(cells.iter().map(|cell| cell.clone().into_owned()).collect());
                if first.len() == FIRST {
                    columns = begin(labels.as_deref(), &mut first);
                }
            } else {
                for (column, cell) in columns.iter_mut().zip(&cells) {
                    column.take(cell);
                }
            }
            if records == most {
                notes.push(format!("only the first {most} records were read"));
                break;
            }
        }
    }
    if columns.is_empty() {
        columns = begin(labels.as_deref(), &mut first);
    }
    if broken > 0 {
        let example = examples.first().map(|problem| format!(", such as: {}", problem.message)).unwrap_or_default();
        notes.push(format!("{broken} of {records} records are broken or have another number of cells than the header{example}"));
    }
    let columns = column::conclude(columns, &dialect.form.delimiter);
    let key = key(&columns, records - broken);
    if key.is_none() && records > broken {
        notes.push("no column has a value in every record: name the one that identifies the pass under `pass`".into());
    }
    Ok(Guess { dialect, records, broken, columns, key, last_broken, notes })
}

/// The columns, with the forms that the first records allow, and these records taken in.
fn begin(labels: Option<&[String]>, first: &mut Vec<Vec<String>>) -> Vec<Cells> {
    let width = labels.map_or_else(|| first.first().map_or(0, Vec::len), <[String]>::len);
    let rows = std::mem::take(first);
    let mut columns: Vec<Cells> = Vec::with_capacity(width);
    for index in 0..width {
        let label = labels.and_then(|labels| labels.get(index)).map_or("", String::as_str);
        let taken: Vec<&str> = columns.iter().map(Cells::name).collect();
        let name = names::field_name(label, index, &taken);
        let mut column = Cells::new(label, name, rows.iter().filter_map(|row| row.get(index)).map(String::as_str));
        for row in &rows {
            column.take(&row[index]);
        }
        columns.push(column);
    }
    columns
}

/// The column that names the pass: full, best unique, and called like an identifier.
fn key(columns: &[Column], records: u64) -> Option<Key> {
    let full: Vec<usize> = (0..columns.len()).filter(|&index| columns[index].filled == records && records > 0).collect();
    let rank = |index: usize| {
        let column = &columns[index];
        let named = match column.role {
            Some(Role::Identifier(rank)) => rank,
            Some(Role::Email) => 1,
            _ => 0,
        };
        (named, column.unique && named > 0, column.unique)
    };
    let usable = |&index: &usize| {
        let column = &columns[index];
        let kind = column.form.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
        matches!(kind, "string" | "integer") && (rank(index).0 > 0 || column.unique)
    };
    let mut candidates: Vec<usize> = full.into_iter().filter(usable).collect();
    candidates.sort_by_key(|&index| std::cmp::Reverse(rank(index)));
    let (&best, others) = candidates.split_first()?;
    let column = &columns[best];
    let by_name = rank(best).0;
    let others = others.iter().copied().filter(|&index| by_name == 0 || rank(index).0 > 0).collect();
    let (certainty, why) = match (by_name, column.unique) {
        (2.., true) => (Certainty::Likely, "it is called like an identifier, always filled, and no value stands twice"),
        (2.., false) => (Certainty::Likely, "it is called like an identifier and always filled; values repeat, so rows are events"),
        (1, true) => (Certainty::Open, "an address is always there and never twice, and people change it: is there an identifier?"),
        (_, true) => (Certainty::Open, "it is always filled and no value stands twice, but its name says nothing"),
        _ => (Certainty::Open, "nothing else is always filled"),
    };
    Some(Key { column: best, certainty, why: why.to_owned(), others })
}
