//! Runs and rows a page at a time. However large a run is, a page costs a bounded number of rows read.

use chrono::{DateTime, Utc};

use super::{Result, Row, Run, State};
use crate::outcome::{Code, Outcome};

/// Which runs are looked for. Newest first.
#[derive(Clone, Debug, Default)]
pub struct RunSearch {
    pub feed: Option<String>,
    pub states: Vec<State>,
    /// In the name of the file, whatever the case of its ASCII letters; or the run's id.
    pub text: Option<String>,
    /// Seen at or after, and before.
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Only runs registered before this one, by [`super::run::Detail::order`].
    pub before: Option<u64>,
    pub limit: u64,
}

/// Which rows of a run are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that need a person and that no later run took up, by outcome and then record.
    NeedPerson,
    /// All that are kept one by one, in the order of writing.
    All,
    /// Those that are still to be done.
    ToSend,
    Ended(Outcome),
    /// The same of those that no later run took up.
    Open(Outcome),
}

/// Where a page of rows begins: behind this row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Of rows that need a person.
    pub outcome: Option<Outcome>,
    /// The record where an outcome is told, else the row's number.
    pub at: u64,
}

#[derive(Clone, Debug)]
pub struct RowSearch {
    pub which: Which,
    pub code: Option<Code>,
    pub behind: Option<Behind>,
    pub limit: usize,
}

/// A page of rows.
#[derive(Clone, Debug, Default)]
pub struct RowPage {
    pub rows: Vec<Row>,
    /// Where the next page begins. There may be one although this one is not full: it read as many rows as a page may.
    pub next: Option<Behind>,
    /// Rows that were read for it.
    pub looked: usize,
}

/// Rows that a page may read, whatever it finds.
pub const LOOKED_MAX: usize = 20_000;

/// The ledger as it is leafed through.
pub trait Paged {
    fn search_runs(&self, search: &RunSearch) -> Result<Vec<Run>>;

    fn search_rows(&self, run: &str, search: &RowSearch) -> Result<RowPage>;

    /// One row by its number.
    fn row(&self, run: &str, number: u64) -> Result<Option<Row>>;

    /// One row by the line that it begins on. Reads through the rows of the run.
    fn row_of_line(&self, run: &str, line: u64) -> Result<Option<Row>>;
}
