//! A run: the processing of one delivered file, or of one correction, or of rows tried again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bstr::BString;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::delivered::Delivered;
use super::keeping::Removed;
use crate::metrics::count::Told;
use crate::outcome::{Code, Tally};

/// Where a run is on its road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In the ledger, its bytes not yet here.
    Complete,
    /// In the spool.
    Fetched,
    /// Validated and compared; nothing sent.
    Checked,
    /// Waits for `approve` or `discard`.
    Held,
    Applying,
    /// The platform or source is unavailable, or somebody paused the feed.
    Paused,
    Reporting,
    Done,
    DoneInDoubt,
    /// The file is bad as a whole.
    Failed,
    Discarded,
    /// A newer snapshot took its place.
    Superseded,
    Stopped,
}

impl State {
    pub const ALL: [State; 13] = [
        State::Complete,
        State::Fetched,
        State::Checked,
        State::Held,
        State::Applying,
        State::Paused,
        State::Reporting,
        State::Done,
        State::DoneInDoubt,
        State::Failed,
        State::Discarded,
        State::Superseded,
        State::Stopped,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Complete => "complete",
            State::Fetched => "fetched",
            State::Checked => "checked",
            State::Held => "held",
            State::Applying => "applying",
            State::Paused => "paused",
            State::Reporting => "reporting",
            State::Done => "done",
            State::DoneInDoubt => "done-in-doubt",
            State::Failed => "failed",
            State::Discarded => "discarded",
            State::Superseded => "superseded",
            State::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing more happens by itself and the file is out of the inbox.
    pub const fn is_over(self) -> bool {
        matches!(self, State::Done | State::DoneInDoubt | State::Failed | State::Discarded | State::Superseded | State::Stopped)
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    #[default]
    File,
    /// Made from our error report.
    Correction,
    /// Rows of an earlier run, tried again.
    Retry,
}

impl RunKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            RunKind::File => "file",
            RunKind::Correction => "correction",
            RunKind::Retry => "retry",
        }
    }
}

/// What a person asked of a run while somebody else leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wish {
    pub what: WishKind,
    /// Who asked: the login name of the command.
    pub by: String,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WishKind {
    Approve,
    Discard,
    Stop,
}

impl WishKind {
    /// What was done, for the log.
    pub const fn done(self) -> &'static str {
        match self {
            WishKind::Approve => "approved",
            WishKind::Discard => "discarded",
            WishKind::Stop => "stopped",
        }
    }
}

/// A run as the ledger keeps it. The first half is searched by, the second is told in reports.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    pub feed: String,
    pub account: String,
    pub source: String,
    pub folder: BString,
    /// The name as delivered.
    pub name: BString,
    pub size: u64,
    pub mtime: i64,
    pub state: State,
    pub kind: RunKind,
    pub parent: Option<String>,
    pub sha256: Option<String>,
    pub detail: Detail,
}

/// What a run learnt on its way. Everything has a default, so that older ledgers stay readable.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each was learnt at another station")]
pub struct Detail {
    /// Its place among all runs, in the order in which they were registered: what was seen before what, whatever the clock said.
    #[serde(skip)]
    pub order: u64,
    pub seen_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// How the file was proved complete.
    pub proof: String,
    /// The files it is made of, where it is more than one, and what stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
    pub config_hash: String,
    /// The feed's fingerprint it was checked under.
    pub fingerprint: String,
    /// Checking or sending was last begun this often without an end: a file that kills the process is put away after three.
    pub attempts: u32,
    /// Rows that were left when sending was last begun: a start that ended some of them does not count against the file.
    pub left_at_start: u64,
    /// Sending of its rows was begun, at whatever start: written down before the first request leaves.
    pub begun: bool,
    /// It was let through once, and has its place among the runs of its account: those checked since come behind it.
    pub placed: bool,
    /// Starts that came to putting the input away and did not come back from it.
    pub archive_attempts: u32,
    pub dialect: Option<DialectFacts>,
    /// The header's labels, without our reserved columns.
    pub labels: Vec<String>,
    /// The line on which they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_line: Option<u64>,
    pub facts: Option<FileFacts>,
    pub fault: Option<Fault>,
    /// Rows that are not kept one by one (unchanged).
    pub counted: Tally,
    /// Operations of those rows.
    pub counted_operations: BTreeMap<String, Tally>,
    /// All rows, once the run is checked or has ended.
    pub tally: Tally,
    pub operations: BTreeMap<String, Tally>,
    /// Problems by code, and by code and column.
    pub problems: BTreeMap<String, u64>,
    pub problems_by_column: BTreeMap<String, BTreeMap<String, u64>>,
    pub moves: Moves,
    pub verdicts: Vec<Verdict>,
    /// When it was held, the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_at: Option<DateTime<Utc>>,
    pub approval: Option<Wish>,
    /// Why it is paused or ended early, in words.
    pub cause: Option<String>,
    /// What is left are notifications that wait for their window.
    pub window_shut: bool,
    /// What it waits for at the moment, in words.
    pub waits: Option<String>,
    /// That is another run, which goes its own way or is told of itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
    /// How it will have ended once reported, when that was decided before its last row: discarded, stopped, superseded.
    pub end: Option<State>,
    pub warnings: Vec<String>,
    pub reports: Vec<ReportFile>,
    /// Reports that later ones took the place of: whoever finds them at their place still knows whose they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_reports: Vec<ReportFile>,
    /// The input was taken away before it was ever here.
    pub gone: bool,
    /// Where the input is taken to before it is read, where the feed claims its files; written down before it is moved.
    pub claimed: Option<BString>,
    /// It was seen there.
    pub taken: bool,
    /// The input was no longer there when it was to be put away.
    pub input_removed: bool,
    /// Where the input was moved to.
    pub archived: Option<BString>,
    /// Milliseconds by station.
    pub timings: BTreeMap<String, u64>,
    /// Requests sent for this run.
    pub requests: u64,
    /// Corrections and retries that took rows of this run up, and how many rows they took.
    pub continued_by: Vec<String>,
    pub taken_up: u64,
    /// The same by how those rows had ended, kept back or not.
    pub taken_rows: Tally,
    /// Runs of the account with rows left when this one was checked: where the two meet, this one comes after.
    pub behind: Vec<String>,
    /// Rows that `retry` picked, by record; all when empty.
    pub picked: Vec<u64>,
    /// Of a correction: records of the corrected run whose rows it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corrects: Vec<u64>,
    /// Equal to the latest cleanly finished run: answered at once.
    pub nothing_new: bool,
    /// What of it the counters were told when it was last over.
    #[serde(skip_serializing_if = "Told::is_nothing")]
    pub told: Told,
    /// The copy of its file was deleted, and perhaps what its rows quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
}

impl Detail {
    /// May any of its rows have reached the platform? A start that was killed has counted none of its requests.
    pub const fn may_have_sent(&self) -> bool {
        self.begun || self.requests > 0 || self.left_at_start > 0
    }

    /// It waits for something that is no other run.
    pub fn wait_for(&mut self, what: String) {
        (self.waits, self.queued) = (Some(what), false);
    }

    /// Takes out every text that may quote a file's cells. Names of columns are among them: a file without a header has cells for labels.
    pub fn remove_words(&mut self) {
        self.labels.clear();
        self.problems_by_column.clear();
        self.moves.samples.clear();
        self.warnings.clear();
        self.waits = None;
        self.cause = None;
        if let Some(fault) = &mut self.fault {
            fault.message = "what was said here was removed".into();
            fault.suggestion = None;
        }
        if let Some(approval) = &mut self.approval {
            approval.reason = None;
        }
        for verdict in &mut self.verdicts {
            verdict.evidence.clear();
        }
    }
}

/// How a file is written, and how that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct DialectFacts {
    pub delimiter: String,
    /// Empty where nothing is quoted.
    pub quote: String,
    /// Empty where quotes inside quoted cells are doubled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub escape: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_initial_space: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    pub header: bool,
    /// The delimiter is named by the feed or the file.
    pub pinned: bool,
    /// Why the delimiter and the escape were taken.
    pub evidence: String,
    /// Character set.
    pub encoding: String,
    /// Why the character set was taken.
    pub encoding_evidence: String,
    /// What the text was packed in, from the outermost inwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
}

impl Default for DialectFacts {
    /// What runs had before more was noted of them.
    fn default() -> DialectFacts {
        DialectFacts {
            delimiter: String::new(),
            quote: "\"".to_owned(),
            escape: String::new(),
            skip_initial_space: false,
            comment: String::new(),
            header: false,
            pinned: false,
            evidence: String::new(),
            encoding: "UTF-8".to_owned(),
            encoding_evidence: String::new(),
            containers: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct FileFacts {
    pub records: u64,
    pub lines: u64,
    pub blank_lines: u64,
    pub repeated_headers: u64,
    /// Lines that are no records: before the header, comments, rows left out by number.
    pub passed_over: u64,
    /// The declared last line was there, and its count is right.
    pub footer: bool,
    /// Bytes of text, out of containers and as UTF-8.
    pub bytes: u64,
    pub compressed: bool,
    pub byte_order_mark: bool,
    /// `lf`, `crlf`, `cr`, or `mixed`.
    pub line_ends: String,
    pub last_line_ended: bool,
}

/// A file that fails as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub code: Code,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suggestion: Option<String>,
}

/// How the file would move what passes hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Moves {
    /// Passes with something to do.
    pub passes: u64,
    /// Balances that go from something, or from a value we do not know, to nothing.
    pub zeroed: u64,
    /// Balances that go up or down, and those that were not known before.
    pub balances: u64,
    /// Other fields that go from something to empty.
    pub cleared: u64,
    /// Passes that end: expired or taken away.
    pub ended: u64,
    /// Passes never seen before, which upsert may issue.
    pub perhaps_created: u64,
    /// Passes that would get more alerts than the platform shows their holders in a day.
    pub over_alerts: u64,
    /// Adds by kind: how many rows earn, burn, redeem or notify.
    pub adds: BTreeMap<String, u64>,
    /// Requests that would be sent, at most.
    pub requests: u64,
    /// Rows whose pass must be found first.
    pub finds: u64,
    /// Samples for the person who decides: at most 20.
    pub samples: Vec<MoveSample>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct MoveSample {
    pub line: u64,
    pub field: String,
    pub from: String,
    pub to: String,
}

/// A guard's finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Verdict {
    /// `rejects`, `rows`, `zeroed`, …, `first-file`, `changed-feed`.
    pub guard: String,
    /// Did it hold the file?
    pub held: bool,
    /// What was counted and what the limit is, in words.
    pub evidence: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct ReportFile {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
    /// IDs of the OpenPGP keys that it is encrypted for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encrypted_for: Vec<String>,
    /// Of an encrypted one: SHA-256 of what is in it, by which a report that is written again, or comes back, is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_sha256: Option<String>,
}

#[cfg(test)]
impl Run {
    /// A run of a file, with nothing known of it.
    pub fn example(name: &str) -> Run {
        Run {
            id: "r".into(),
            feed: String::new(),
            account: String::new(),
            source: String::new(),
            folder: "in".into(),
            name: name.into(),
            size: 0,
            mtime: 0,
            state: State::Done,
            kind: RunKind::File,
            parent: None,
            sha256: None,
            detail: Detail::default(),
        }
    }
}

impl Moves {
    /// What moves, as far as anything does: how many, and what.
    pub fn told(&self) -> Vec<(u64, Cow<'static, str>)> {
        let all = [
            (self.balances, "balances move"),
            (self.zeroed, "balances go to nothing"),
            (self.cleared, "passes have a field cleared"),
            (self.ended, "passes expire or are taken away"),
            (self.perhaps_created, "passes may be created"),
            (self.over_alerts, "passes get more alerts than the platform shows in a day"),
            (self.requests, "requests, at most"),
        ];
        let adds = self.adds.iter().map(|(kind, count)| (*count, Cow::Owned(format!("rows {kind}"))));
        adds.chain(all.map(|(count, what)| (count, Cow::Borrowed(what)))).filter(|(count, _)| *count > 0).collect()
    }
}

impl Run {
    /// A run that tries these records of this one again.
    #[must_use]
    pub fn again(&self, records: Vec<u64>, proof: String) -> Run {
        Run {
            id: String::new(),
            state: State::Complete,
            kind: RunKind::Retry,
            parent: Some(self.id.clone()),
            detail: Detail { seen_at: Utc::now(), proof, picked: records, delivered: self.detail.delivered.clone(), ..Detail::default() },
            ..self.clone()
        }
    }

    /// Does it stand before those that are checked from now on? One that was let through keeps its place while it is fetched or checked
    /// again, or held in the middle.
    pub const fn is_placed(&self) -> bool {
        match self.state {
            State::Checked | State::Applying | State::Paused => true,
            State::Complete | State::Fetched | State::Held => self.detail.placed,
            _ => false,
        }
    }

    /// A name for people, whatever the bytes are.
    pub fn shown_name(&self) -> String {
        show_name(&self.name)
    }
}

/// A delivered name for people: what is not printable text is escaped.
pub fn show_name(name: &BString) -> String {
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect(),
        Err(_) => name.escape_ascii().to_string(),
    }
}
