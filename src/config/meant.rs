//! The configuration as meant: checked, defaults filled in, nothing left to look up. What the rest of the program reads.

pub mod alert;
pub mod apple;
mod arrival;
mod dialect;
pub mod http;
mod monitoring;
mod platform;
pub mod review;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use chrono::{DateTime, NaiveTime, Utc};

pub use arrival::*;
pub use dialect::*;
pub use monitoring::*;
pub use platform::*;

use crate::row::Verb;
use crate::schema::Empty;
use crate::secret::Secret;
use crate::zone::{LocalTimes, Zone};

/// Everything. Cheap to share; a run keeps the one it started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the ledger and the spool.
    pub state: PathBuf,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub platforms: BTreeMap<String, Arc<Platform>>,
    pub feeds: BTreeMap<String, Arc<Feed>>,
    /// Ways out for alerts.
    pub alerts: BTreeMap<String, Arc<alert::Way>>,
    /// Room that a file takes on its road, as a multiple of its size. Default 4.
    pub space_factor: f64,
    /// Bytes kept in reserve on the disk of `state`. Default 8 MiB; 0 keeps none.
    pub reserve: u64,
    /// The state may be on a network file system.
    pub network_state: bool,
    /// How long a stop may take before requests in flight are abandoned. Default 30 s.
    pub drain: Duration,
    /// The review page, where it is served.
    pub review: Option<Arc<review::Review>>,
    /// Rayon threads for validation; 0 means one per core.
    pub workers: usize,
    /// How long personal data of runs that are over is kept here. Default 90 days.
    pub retention: Duration,
    /// How long keys of adds are kept: a file that is older is held where it may add. Default 400 days.
    pub key_retention: Duration,
    /// The listener for monitoring.
    pub metrics: Option<Metrics>,
    pub traces: Option<Traces>,
    /// SHA-256 of the file's bytes, in hex, kept with each run.
    pub hash: String,
}

impl Config {
    /// Do files come from this source, or reports go there?
    pub fn uses(&self, source: &str) -> bool {
        self.sources.contains_key(source)
            && self.feeds.values().any(|feed| feed.source.name == source || feed.reports.source.name == source)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub wake: Wake,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    Sftp(Box<Sftp>),
    Folder { path: PathBuf },
}

/// When a source is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    Every(Duration),
    /// A five-field cron expression in a time zone.
    Schedule {
        cron: String,
        timezone: Zone,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sftp {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub login: Login,
    /// Pins (`SHA256:…`) or a `known_hosts` file; at least one of them.
    pub host_keys: Vec<String>,
    pub known_hosts: Option<PathBuf>,
    /// Default 10 s.
    pub connect_timeout: Duration,
    /// Key exchange and login together; default 20 s.
    pub login_timeout: Duration,
    /// Any one call without progress; default 30 s.
    pub idle_timeout: Duration,
    /// Bytes a second below which a transfer is given up; default 1 KiB.
    pub speed_min: u64,
    /// How long it must have been slower than that, counting only time spent waiting for the server; default 1 min.
    pub speed_span: Duration,
    /// Keepalive while idle; default 30 s.
    pub keepalive: Duration,
    /// Least time between two connections; default 0. Some vendors block clients that connect more often.
    pub reconnect_min: Duration,
    /// Bytes of the read and write buffers; default 4 MiB.
    pub buffer: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    Key { key: Secret, passphrase: Option<Secret> },
    Password(Secret),
    Agent,
}

#[derive(Clone, Debug)]
pub struct Feed {
    pub name: String,
    pub source: Arc<Source>,
    pub inbox: BString,
    /// Glob over names.
    pub pattern: String,
    pub content: Content,
    /// The vendor's own form that its files have.
    pub format: Option<Format>,
    /// Path of the schema, and its text as read with the configuration. Empty where files bring it: see [`Feed::takes_shape`].
    pub schema_path: PathBuf,
    pub schema_text: String,
    pub platform: Arc<Platform>,
    pub environment: Environment,
    pub pass: PassColumn,
    pub several: Several,
    pub operation: OperationChoice,
    pub mode: Mode,
    pub canary: Canary,
    pub dialect: DialectChoice,
    /// How completeness is proved.
    pub complete: Complete,
    /// Its deliveries are sets.
    pub set: Option<Set>,
    /// Name of the checksums beside a file.
    pub checksum: Option<String>,
    pub control: Option<Control>,
    /// After this long what a file waits for beside it is an alert, and what is there and older than the file is taken at its word.
    pub patience: Duration,
    /// How names carry their date.
    pub date: Option<String>,
    /// A file whose name has an older date is held.
    pub never_older_than: Option<Duration>,
    pub expected: Option<Expected>,
    pub after: After,
    /// Folder at the source under which an input is taken for ourselves by renaming it, before it is read; none takes it by the ledger alone.
    pub claim: Option<BString>,
    pub reports: ReportPlace,
    /// Octal mode of report files; default 0640.
    pub report_mode: u32,
    pub order: FileOrder,
    /// The column that says when a row's state was true.
    pub updated_at: Option<String>,
    pub duplicates: Duplicates,
    /// Send an unchanged value again when it was last sent longer ago than this; none means never.
    pub unchanged_max_age: Option<Duration>,
    /// Pass field to its mapping, in the order of the file. At most 64.
    pub fields: Vec<(String, FieldMapping)>,
    /// What makes an add itself; always there when the feed can add.
    pub adds: Option<Adds>,
    pub consent: Option<Consent>,
    pub notify: Option<Notify>,
    /// What dates and local times in cells mean.
    pub times: LocalTimes,
    pub guard: Guard,
    pub limits: Limits,
    /// Digest of all that makes this feed's meaning (schema, mapping, platform, operation): a change holds the next file.
    pub fingerprint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Snapshot,
    Delta,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassColumn {
    ExternalId(String),
    PassId(String),
}

impl Feed {
    /// Can a file of this feed do something that must not be done twice?
    pub fn may_add(&self) -> bool {
        self.adds.is_some()
    }

    /// Are its reports written in OpenPGP?
    pub fn seals_reports(&self) -> bool {
        self.dialect.pgp.as_ref().is_some_and(|pgp| !pgp.encrypt_to.is_empty())
    }

    /// Do its schema, and perhaps its mapping, come from the header of each file? Then [`crate::format::shape`] makes them.
    pub fn takes_shape(&self) -> bool {
        self.format.is_some() && self.schema_path.as_os_str().is_empty()
    }
}

impl PassColumn {
    pub fn column(&self) -> &str {
        match self {
            PassColumn::ExternalId(column) | PassColumn::PassId(column) => column,
        }
    }
}

/// A vendor's own form of file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    TheWalletCrew(CrewFile),
    Vibes(VibesFile),
}

/// `contracts/thewalletcrew.md`, section 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewFile {
    /// Section 1.7: what an empty cell does at the vendor's is not public.
    pub empty: Empty,
    /// Section 1.6: whether other columns are an error at the vendor's is not public.
    pub ignores_others: bool,
    pub personal: Vec<String>,
}

/// `contracts/others.md`, Vibes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VibesFile {
    /// Campaigns whose passes are in the feed's platform account; empty when the feed does not say.
    pub campaigns: Vec<String>,
    pub personal: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    Refuse,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationChoice {
    Always(Verb),
    /// The column's text, after the words are looked up; without `words`, the verbs' own names.
    Column {
        column: String,
        words: BTreeMap<String, Verb>,
    },
}

impl OperationChoice {
    /// Does it name an add? A column without `words` may say one only where the feed says what makes adds themselves.
    pub fn names_add(&self) -> bool {
        self.names(|verb| verb.add().is_some())
    }

    /// Does it name an add that takes an amount?
    pub fn names_amount(&self) -> bool {
        self.names(|verb| matches!(verb, Verb::Earn | Verb::Burn))
    }

    fn names(&self, wanted: impl Fn(Verb) -> bool) -> bool {
        match self {
            OperationChoice::Always(verb) => wanted(*verb),
            OperationChoice::Column { words, .. } => words.values().any(|verb| wanted(*verb)),
        }
    }
}

/// What makes an add the same add wherever it turns up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adds {
    /// Keys are told apart by it; the feed's name unless several feeds carry the same transactions.
    pub scope: String,
    pub identity: Identity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The column with the transaction's own identifier.
    Transaction(String),
    /// The file's content and the record's number: the same transaction in another file is another one.
    File,
}

/// Fields that need a holder's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// A boolean column; anything but true keeps the fields back.
    pub column: String,
    pub fields: Vec<String>,
    /// Clear what is kept back instead of leaving it alone.
    pub clear: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    pub message: FieldMapping,
    /// The pass field whose change tells the holder.
    pub field: String,
    pub kind: NotifyKind,
    /// When notifications may be sent; always when none.
    pub window: Option<Window>,
    /// After this long since the file was seen they are dropped.
    pub expires: Option<Duration>,
    /// Identifiers of passes that are notified first.
    pub seeds: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyKind {
    /// Needs consent.
    Marketing,
    Transactional,
}

/// A time of day in a zone; over midnight when it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: NaiveTime,
    pub to: NaiveTime,
    pub zone: Zone,
}

impl Window {
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        let time = now.with_timezone(&self.zone).time();
        if self.from < self.to { self.from <= time && time < self.to } else { time >= self.from || time < self.to }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is sent; every file ends with its plan.
    Plan,
    /// Only the canary's rows are sent.
    Canary,
    Live,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Plan => "plan",
            Mode::Canary => "canary",
            Mode::Live => "live",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    /// At most this many rows of a file; default 10.
    pub limit: u64,
    /// Only these identifiers, when given.
    pub only: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Two equal observations of size and mtime this far apart on our clock. Default 30 s.
    Quiet(Duration),
    /// A file beside it says so: its name with `{}` for the data file's (`{}.done`) or `{stem}`, or a fixed one (`_SUCCESS`).
    Marker(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// To these folders under the inbox; `.processed` and `.error` by default.
    Move {
        processed: BString,
        error: BString,
    },
    Leave,
    Delete,
}

#[derive(Clone, Debug)]
pub struct ReportPlace {
    /// Where reports are written; the feed's own source unless the configuration names another.
    pub source: Arc<Source>,
    /// Full path of the folder at that source.
    pub folder: BString,
    /// Is a page for people among them?
    pub html: bool,
    /// Is a workbook of the errors among them, whatever the file came as?
    pub xlsx: bool,
}

/// In which order complete files of one feed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// By mtime at the server, then by name.
    Mtime,
    Name,
    Stamp(NameStamp),
}

/// A date or a number in a file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameStamp {
    /// A regular expression with one group.
    pub pattern: String,
    /// How a date is written; without it digits are a number, all else is text.
    pub format: Option<String>,
    pub gap: Gap,
}

/// What becomes of a file whose number does not follow the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    Ignore,
    /// Said in the file's report.
    Warn,
    /// The file waits for those before it.
    Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// A later record that sets every field an earlier one sets supersedes it; otherwise both run, in order.
    Last,
    /// The first record counts, later ones are superseded.
    First,
    /// All records of that pass are rejected.
    Reject,
    /// All run, in order.
    InOrder,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldMapping {
    Column(String),
    /// A minijinja template over columns.
    Template(String),
}

/// Limits that hold a file. A share is a fraction of 1; a guard is off when it is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    pub rejects: Option<f64>,
    /// Least and most rows against the median of the last 10 clean files; off until 3 are known.
    pub rows: Option<(f64, f64)>,
    pub zeroed: Option<f64>,
    pub cleared: Option<f64>,
    pub created: Option<f64>,
    pub unresolved: Option<f64>,
    pub ragged: Option<f64>,
    /// A share counts only from this many rows on. Default 50.
    pub floor: u64,
    /// Hold the first file of a new or changed feed. Default true.
    pub first_file: bool,
}

/// What one file may be. Beyond these it is rejected, never cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as delivered; default 16 GiB.
    pub file: u64,
    /// Bytes of a record; default 1 MiB.
    pub record: usize,
    /// Bytes of a cell; default 256 KiB.
    pub cell: usize,
    /// Cells of a record; default 4096.
    pub cells: usize,
    /// Decompressed bytes for each compressed one; default 100.
    pub expansion: u64,
    /// Unpacked bytes of a workbook, which is held in memory; default 64 MiB.
    pub sheet: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { file: 16 << 30, record: 1 << 20, cell: 256 << 10, cells: 4096, expansion: 100, sheet: 64 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_go_over_midnight_and_keeps_its_zone() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let time = |text: &str| text.parse().unwrap();
        let day = Window { from: time("08:00:00"), to: time("21:00:00"), zone: Zone::Named(chrono_tz::Europe::Paris) };
        assert!(day.is_open(at("2026-07-01T06:00:00Z")), "08:00 in summer");
        assert!(!day.is_open(at("2026-12-01T06:30:00Z")), "07:30 in winter");
        assert!(!day.is_open(at("2026-07-01T19:00:00Z")), "21:00 is the end");
        let night = Window { from: time("22:00:00"), to: time("06:00:00"), zone: Zone::UTC };
        assert!(night.is_open(at("2026-07-01T23:00:00Z")) && night.is_open(at("2026-07-01T05:59:59Z")));
        assert!(!night.is_open(at("2026-07-01T12:00:00Z")));
    }
}
