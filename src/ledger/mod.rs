//! What is already done: runs, their rows, and the baseline of every pass.
//!
//! One interface with stated contracts. SQLite implements it here for one worker; PostgreSQL can implement the same for several, so
//! nothing of a database leaks out: no row ids, no paths, no connections, and every write of a worker names its [`Fence`].

pub mod delivered;
pub mod keeping;
pub mod key;
pub mod mark;
pub mod paged;
pub mod run;
mod sqlite;
pub mod telling;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bstr::BStr;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Code, Outcome, Problem, Tally};
use crate::row::{AddKey, PassKey, Verb};
use crate::space::Trouble;

pub use delivered::Waiting;
pub use keeping::Keeping;
pub use key::{Intended, Intent, KeyEnd, KeyNote, KeyState, Settlement, Settling};
pub use mark::{FieldState, Mark};
pub use paged::Paged;
pub use run::{Run, RunKind, State, Wish};
pub(crate) use sqlite::{copy_database, empty_log};
pub use telling::Telling;

/// Proof that the holder leads: a write with an older one is refused. One worker leads a state directory at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence(pub u64);

/// What a row that is still to be done will do to its pass.
#[derive(Clone, Copy, Debug)]
pub struct PendingPass<'a> {
    pub feed: &'a str,
    /// Of the feed, when the row's run was checked: what the mask means.
    pub fingerprint: &'a str,
    pub pass: PassKey,
    pub verb: Verb,
    pub mask: u64,
}

/// A row as the ledger keeps it. Unchanged rows are counted in their run and not kept one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number within the run, from 0, in the order of writing. Not the record number.
    pub number: u64,
    /// Data record, 1-based.
    pub record: u64,
    /// Physical line, 1-based.
    pub line: u64,
    /// Where its bytes are in the decoded text.
    pub offset: u64,
    pub length: u32,
    /// None where the row does not say which pass it is about.
    pub pass: Option<PassKey>,
    pub verb: Verb,
    /// Which mapped fields are still to be sent, one bit each.
    pub mask: u64,
    /// Which adds are still to be sent, by [`crate::row::AddKind::bit`].
    pub adds: u8,
    /// It touches a pass that an earlier run of the account has not finished with: applied after that run.
    pub deferred: bool,
    /// When its state was true. Written, and kept with the pass once the row was applied; not read back.
    pub stamp: Option<Stamp>,
    /// None while it is to be done.
    pub outcome: Option<Outcome>,
    pub detail: RowDetail,
    /// A later run took it up, corrected or tried again: what is left to do of it stands there.
    pub taken: bool,
}

/// Why a row ended as it did. Empty for a plain success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowDetail {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Kept when there was more than one operation, or one that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationNote>,
}

/// How one operation of a row ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OperationNote {
    pub operation: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Code>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
}

impl RowDetail {
    pub fn problem(problem: Problem) -> RowDetail {
        RowDetail { problems: vec![problem], operations: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty() && self.operations.is_empty()
    }

    /// Codes of problems and failed operations, each once, in order.
    pub fn codes(&self) -> Vec<Code> {
        let all = self.problems.iter().map(|problem| problem.code).chain(self.operations.iter().filter_map(|note| note.code));
        let mut codes = Vec::new();
        for code in all {
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    }
}

/// How far a row came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is over.
    As(Outcome),
    /// Its fields are done; these adds are left.
    AddsLeft(u8),
}

/// When the state that a row brings was true, on the clock of one column of one feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The account's number of that clock, by [`Ledger::field_id`].
    pub clock: u16,
    pub at: i64,
}

/// How a row ended, and what is known of its pass since.
#[derive(Clone, Debug)]
pub struct RowEnd {
    pub number: u64,
    pub outcome: Ended,
    pub detail: RowDetail,
    /// The pass, when its baseline changes.
    pub pass: Option<PassKey>,
    /// Fields whose value is now known.
    pub known: Vec<FieldState>,
    /// Fields whose value is no longer known.
    pub unknown: Vec<u16>,
    /// The pass is gone or doubtful: forget all its fields.
    pub forget: bool,
}

/// The baseline of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub pass: PassKey,
    pub fields: Vec<FieldState>,
}

/// What became of a retry that somebody asked for.
#[derive(Clone, Debug)]
pub enum Requested {
    Made(Run),
    /// This run tries rows of the same run again already.
    UnderWay(String),
    /// A later run has taken all of its records up.
    NothingLeft,
}

/// Somebody paused a feed, or let it go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Pausing {
    pub feed: String,
    pub paused: bool,
    pub by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

/// Which runs a listing wants.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub feed: Option<String>,
    pub states: Vec<State>,
    /// Newest first, at most this many; none for all.
    pub limit: Option<u64>,
}

/// How the last look at a source went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SourceNote {
    pub source: String,
    /// Last successful listing.
    pub listed_at: Option<DateTime<Utc>>,
    pub trouble: Option<String>,
    pub trouble_since: Option<DateTime<Utc>>,
}

/// A past run that touched a pass, for `explain`.
#[derive(Clone, Debug)]
pub struct Touch {
    pub run: String,
    pub row: Row,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the ledger was written by a newer passferry (format {found}, this program knows {known}); run that version, or restore a backup"
    )]
    TooNew { found: u32, known: u32 },
    #[error(
        "{path} is damaged: {what}; stop passferry, move ledger.sqlite, ledger.sqlite-wal and ledger.sqlite-shm out of the state directory, \
         copy a backup (passferry backup makes them) to its place as ledger.sqlite, and start; README, \"Backup and restore\", tells the rest"
    )]
    Damaged { path: String, what: String },
    #[error("another passferry has taken over this state directory")]
    Fenced,
    #[error("no run {0}")]
    NoRun(String),
    #[error("run {0} has sent something: it cannot be taken back")]
    Sent(String),
    /// The disk under it is full, read-only, or fails.
    #[error("ledger: {what}")]
    Disk { trouble: Trouble, what: String },
    #[error("ledger: {0}")]
    Storage(String),
}

pub type Result<T> = std::result::Result<T, LedgerError>;

/// The ledger. Every method is one transaction: it happened durably when it returned, or not at all.
pub trait Ledger: Keeping + Paged + Telling + Send + Sync {
    /// Takes the lead. All earlier fences are refused from now on, and what earlier writers left unfinished on the disk is brought in.
    fn lead(&self) -> Result<Fence>;

    /// Registers a run under a new id. `run.id` is ignored and given back filled in.
    fn open_run(&self, fence: Fence, run: Run) -> Result<Run>;

    /// Registers a run that follows from what somebody decided, for whoever leads to carry out.
    fn request_run(&self, run: Run) -> Result<Run>;

    /// Registers a retry that somebody asked for, unless another of the same run is on its way. Records that a later run has taken up
    /// meanwhile are left out. Written by commands, without a fence.
    fn request_retry(&self, run: Run) -> Result<Requested>;

    /// Notes that a later run took these records of a run up: its rows are marked, and counted with it unless they were kept back on
    /// purpose, by one of these codes. Said again of the same later run, it changes nothing.
    fn take_up(&self, fence: Fence, run: &str, by: &str, records: &[u64], kept_back: &[Code]) -> Result<()>;

    /// Takes a run back that turned out to be none, with its rows. Refused where something of it was sent.
    fn drop_run(&self, fence: Fence, id: &str) -> Result<()>;

    /// Replaces what is known of a run. The wish is left as it is.
    fn save_run(&self, fence: Fence, run: &Run) -> Result<()>;

    /// Replaces what is known of a run and takes the request that this follows from. False, and nothing is done, where that is not the
    /// request any more.
    fn save_answered(&self, fence: Fence, run: &Run, wish: &Wish) -> Result<bool>;

    fn run(&self, id: &str) -> Result<Option<Run>>;

    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>>;

    /// Runs of a file name, newest first.
    fn runs_named(&self, name: &BStr) -> Result<Vec<Run>>;

    /// The newest run of exactly this delivery (place, name, size and mtime).
    fn run_of_delivery(&self, source: &str, folder: &BStr, name: &BStr, size: u64, mtime: i64) -> Result<Option<Run>>;

    /// Leaves a request for whoever leads: approve, discard, stop. Written by commands, without a fence.
    fn wish(&self, run: &str, wish: Option<Wish>) -> Result<()>;

    /// Looks at the request, if any, and leaves it.
    fn peek_wish(&self, run: &str) -> Result<Option<Wish>>;

    /// Takes the request, if any, where nothing follows from it.
    fn take_wish(&self, fence: Fence, run: &str) -> Result<Option<Wish>>;

    /// Pauses a feed or lets it go on, and notes who wanted that and why. Written by commands.
    fn set_paused(&self, feed: &str, paused: bool, by: &str, reason: Option<&str>) -> Result<()>;

    /// Paused feeds, who paused them and when.
    fn paused(&self) -> Result<Vec<(String, String, DateTime<Utc>)>>;

    /// Of each feed that was ever paused, the last time that somebody paused it or let it go on.
    fn pausings(&self) -> Result<Vec<Pausing>>;

    /// Notes a look at a source: when it was last listed, or what is wrong with it.
    fn note_source(&self, source: &str, trouble: Option<&str>) -> Result<()>;

    fn source_notes(&self) -> Result<Vec<SourceNote>>;

    /// Notes all that waits at a source at this look. What waited before keeps its time; what is not named waits no longer.
    fn note_waiting(&self, source: &str, waiting: &[Waiting]) -> Result<()>;

    /// What waits, at one source or all, oldest first.
    fn waiting(&self, source: Option<&str>) -> Result<Vec<Waiting>>;

    /// Appends rows. May be called again for the same numbers: the later wins.
    fn add_rows(&self, fence: Fence, run: &str, rows: &[Row]) -> Result<()>;

    /// Adds problems to a rejected row.
    fn add_problems(&self, fence: Fence, run: &str, number: u64, problems: &[Problem]) -> Result<()>;

    /// Removes what an earlier check said of a run's rows. What was sent stays: rows that ended by it, and rows to do with an add that is
    /// written down. Gives a number above all that stay.
    fn clear_rows(&self, fence: Fence, run: &str) -> Result<u64>;

    /// Removes rows still to be done with numbers below this one whose lines a new check found again.
    fn clear_pending_below(&self, fence: Fence, run: &str, number: u64) -> Result<()>;

    /// Rows still to be done, by number, from `from` on.
    fn pending_rows(&self, run: &str, from: u64, limit: u64) -> Result<Vec<Row>>;

    fn count_pending(&self, run: &str) -> Result<u64>;

    /// Rows still to be done in these runs that are about a pass.
    fn pending_passes(&self, runs: &[String], each: &mut dyn FnMut(PendingPass<'_>)) -> Result<()>;

    /// Outcomes, what they say of the baseline, and what became of adds, together.
    fn end_rows(&self, fence: Fence, run: &str, account: &str, ends: &[RowEnd], keys: &[KeyEnd]) -> Result<()>;

    /// Writes adds down before they are sent. What comes back says which may be.
    fn intend(&self, fence: Fence, account: &str, run: &str, intents: &[Intent]) -> Result<Vec<Intended>>;

    /// Notes that rows of a later file have these keys, so that they are kept from now on.
    fn meet_keys(&self, fence: Fence, keys: &[AddKey]) -> Result<()>;

    /// What is known of these keys, in the same order.
    fn keys(&self, keys: &[AddKey]) -> Result<Vec<Option<KeyNote>>>;

    /// Keys of a run in this state, by line.
    fn keys_of(&self, run: &str, state: KeyState) -> Result<Vec<KeyNote>>;

    /// Keys of the adds of one row of a run.
    fn keys_of_line(&self, run: &str, line: u64) -> Result<Vec<KeyNote>>;

    /// The first add of a pass that is in doubt.
    fn doubtful(&self, account: &str, pass: PassKey) -> Result<Option<KeyNote>>;

    /// Rows with an add in doubt, by feed.
    fn rows_in_doubt(&self) -> Result<Vec<(String, u64)>>;

    /// Runs with rows that have an add in doubt, whatever became of the run, and how many rows; oldest run first.
    fn in_doubt_by_run(&self) -> Result<Vec<(String, u64)>>;

    /// Leaves a decision about an add in doubt for whoever leads, unless one waits already: that one is given. Written by commands, without
    /// a fence.
    fn ask_to_settle(&self, run: &str, line: u64, key: AddKey, settlement: &Settlement) -> Result<Option<Settling>>;

    /// Decisions that wait, oldest first.
    fn to_settle(&self) -> Result<Vec<Settling>>;

    /// Writes a decision down: what the keys are now, and how the row ended. It waits until it is answered, so that what follows from it
    /// survives a stop.
    fn settle(&self, fence: Fence, settling: &Settling, account: &str, keys: &[(AddKey, KeyState)], end: Option<&RowEnd>) -> Result<()>;

    /// The decision is carried out, or about nothing: it waits no longer.
    fn answer_settling(&self, fence: Fence, settling: &Settling) -> Result<()>;

    /// The newest state that was applied to each of these passes, on one clock; passes without one are left out.
    fn stamps(&self, account: &str, clock: u16, passes: &[PassKey]) -> Result<HashMap<PassKey, i64>>;

    /// The run was let through: its rows that found their pass as they wanted it confirm its state.
    fn keep_stamps_of_unchanged(&self, fence: Fence, run: &str) -> Result<()>;

    /// Forgets the baseline of every pass with a row still to be done: after a stop it is not known which of them were sent.
    fn distrust_pending(&self, fence: Fence, run: &str, account: &str) -> Result<u64>;

    /// Ends all rows still to be done with one outcome.
    fn end_pending(&self, fence: Fence, run: &str, outcome: Outcome, detail: &RowDetail) -> Result<u64>;

    /// Counts by outcome of the rows kept one by one.
    fn tally(&self, run: &str) -> Result<Tally>;

    /// Rows with one of these outcomes (all, when empty), by record.
    fn rows(&self, run: &str, outcomes: &[Outcome], each: &mut dyn FnMut(Row) -> anyhow::Result<()>) -> anyhow::Result<()>;

    /// Newest rows about a pass, over all runs of an account.
    fn touches(&self, account: &str, pass: PassKey, limit: u64) -> Result<Vec<Touch>>;

    /// Small stable number of a pass field's name.
    fn field_id(&self, account: &str, name: &str) -> Result<u16>;

    fn field_names(&self, account: &str) -> Result<Vec<(u16, String)>>;

    /// How many passes of the account have a baseline.
    fn baseline_count(&self, account: &str) -> Result<u64>;

    /// Baselines from `from` to `to`, both included, in order.
    fn baseline_range(&self, account: &str, from: PassKey, to: PassKey, each: &mut dyn FnMut(Known)) -> Result<()>;

    /// Baselines of these passes; absent ones are left out.
    fn baseline_of(&self, account: &str, passes: &[PassKey]) -> Result<Vec<Known>>;

    /// Sets baselines as read from the platform.
    fn seed(&self, fence: Fence, account: &str, passes: &[Known]) -> Result<()>;

    /// Reads everything once and says what does not fit together.
    fn check(&self) -> Result<Vec<String>>;
}

/// Opens the ledger in a state directory, creating or migrating it.
pub fn open(state: &Path) -> Result<Arc<dyn Ledger>> {
    Ok(Arc::new(sqlite::Sqlite::open(&state.join("ledger.sqlite"))?))
}
