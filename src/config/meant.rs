//! The configuration as meant: checked, defaults filled in, nothing left to look up. What the rest of the program reads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use chrono_tz::Tz;

use crate::row::Verb;
use crate::secret::Secret;

/// Everything. Cheap to share; a run keeps the one it started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the ledger and the spool.
    pub state: PathBuf,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub platforms: BTreeMap<String, Arc<Platform>>,
    pub feeds: BTreeMap<String, Arc<Feed>>,
    /// How long a stop may take before requests in flight are abandoned. Default 30 s.
    pub drain: Duration,
    /// Rayon threads for validation; 0 means one per core.
    pub workers: usize,
    /// SHA-256 of the file's bytes, in hex, kept with each run.
    pub hash: String,
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
        timezone: Tz,
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

#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    pub name: String,
    pub kind: PlatformKind,
    /// `production` or `test`; a feed must say the same.
    pub environment: Environment,
    /// Requests a second; none takes the platform's default.
    pub allowance: Option<f64>,
    /// Requests at once; none takes the platform's default.
    pub in_flight: Option<usize>,
    /// Deadline of one try; none takes the platform's default.
    pub timeout: Option<Duration>,
    /// Tries of one request; none takes the platform's default.
    pub tries: Option<u32>,
    /// A CA certificate file (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Production,
    Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PlatformKind {
    Passkit(Passkit),
}

/// `contracts/passkit.md`, sections 1 and 2. The built-in sandbox is reached by giving its address as `base_url`.
#[derive(Clone, Debug, PartialEq)]
pub struct Passkit {
    /// Address of the REST API: `https://api.pub1.passkit.io`, `https://api.pub2.passkit.io`, or `base_url`.
    pub base_url: String,
    pub key: Secret,
    pub secret: Secret,
    pub program: String,
    /// Tier given to passes that `upsert` issues when the feed maps no tier.
    pub tier: Option<String>,
    /// `Authorization: Bearer <jwt>` (default) or the bare token.
    pub bearer: bool,
}

#[derive(Clone, Debug)]
pub struct Feed {
    pub name: String,
    pub source: Arc<Source>,
    pub inbox: BString,
    /// Glob over names.
    pub pattern: String,
    pub content: Content,
    /// Path of the schema, and its text as read with the configuration.
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
    pub after: After,
    pub reports: ReportPlace,
    /// Octal mode of report files; default 0640.
    pub report_mode: u32,
    pub order: FileOrder,
    pub duplicates: Duplicates,
    /// Send an unchanged value again when it was last sent longer ago than this; none means never.
    pub unchanged_max_age: Option<Duration>,
    /// Pass field to its mapping, in the order of the file. At most 64.
    pub fields: Vec<(String, FieldMapping)>,
    /// Zone of dates and local times in cells.
    pub timezone: Tz,
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

impl PassColumn {
    pub fn column(&self) -> &str {
        match self {
            PassColumn::ExternalId(column) | PassColumn::PassId(column) => column,
        }
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is sent; every file ends with its plan.
    Plan,
    /// Only the canary's rows are sent.
    Canary,
    Live,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canary {
    /// At most this many rows of a file; default 10.
    pub limit: u64,
    /// Only these identifiers, when given.
    pub only: Vec<String>,
}

/// Pinned or detected, property by property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectChoice {
    /// None: detected among `,` `;` tab `|`.
    pub delimiter: Option<u8>,
    /// First record is the header; without it the schema's names are.
    pub header: bool,
    /// Blank lines between records: skipped and counted, or `blank-row`.
    pub blank_lines_strict: bool,
}

impl Default for DialectChoice {
    fn default() -> DialectChoice {
        DialectChoice { delimiter: None, header: true, blank_lines_strict: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Two equal observations of size and mtime this far apart on our clock. Default 30 s.
    Quiet(Duration),
    /// A file beside it says so: its name with `{}` for the data file's (`{}.done`), or a fixed one (`_SUCCESS`).
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
}

/// In which order complete files of one feed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// By mtime at the server, then by name.
    Mtime,
    Name,
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
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { file: 16 << 30, record: 1 << 20, cell: 256 << 10, cells: 4096, expansion: 100 }
    }
}
