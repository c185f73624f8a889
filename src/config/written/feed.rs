//! A feed as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::arrival::{Control, Expected, Set};
use super::{DaylightSaving, Environment, FileMode, Pgp, Rows, Share, Size, Span, Table, TextOr};

/// A stream of like files: where they arrive, what they mean, and what may happen to them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Name of a `[source.NAME]`.
    #[schemars(required)]
    pub source: Option<String>,
    /// Folder at the source, from the login folder or from `/`. Default `"."`, the login folder.
    pub inbox: Option<String>,
    /// Glob over names: `*`, `?`, `[…]`, `{a,b}`. No folders.
    #[schemars(required)]
    pub pattern: Option<String>,
    /// A snapshot says how every pass it names stands; a delta holds events or changes since the last file.
    #[schemars(required)]
    pub content: Option<Content>,
    /// A vendor's own form of file, `"thewalletcrew"` or `"vibes"`: what it says of columns need not be written here.
    pub format: Option<TextOr<Format>>,
    /// Path of a Frictionless Table Schema (JSON). Needed, unless `format` brings one.
    pub schema: Option<String>,
    /// Name of a `[platform.NAME]`.
    #[schemars(required)]
    pub platform: Option<String>,
    /// Must equal the platform's. Default `"production"`.
    pub environment: Option<Environment>,
    /// The column that names the pass. Needed, unless `format` names it.
    pub pass: Option<Table<Pass>>,
    /// What to do when one external ID has several passes. Default `"refuse"`.
    pub several: Option<Several>,
    /// `"update"`, `"upsert"`, `"expire"`, `"void"`, `"earn"`, `"burn"`, `"redeem"` or `"validate"`, or the column that says so for each row. Default `"update"`.
    pub operation: Option<TextOr<OperationColumn>>,
    /// What is sent: nothing, the canary's rows, everything. Default `"live"`.
    pub mode: Option<Mode>,
    /// Which rows `mode = "canary"` sends.
    pub canary: Option<Table<Canary>>,
    /// How the file is written; what is not said is detected.
    pub dialect: Option<Table<Dialect>>,
    /// Files that arrive encrypted or signed with OpenPGP.
    pub pgp: Option<Table<Pgp>>,
    /// A file is complete when its size and time stayed equal for this long. Default `"30s"`.
    pub quiet: Option<Span>,
    /// A file is complete when this file stands beside it; `{}` is the data file's name, `{stem}` that without its endings. Instead of
    /// `quiet`; for a set beside it too: then the marker may be older than the parts.
    pub marker: Option<String>,
    /// One delivery is several files: `"spark"`, `"shards"` or `"manifest"`, or a table. Default: each file is a delivery.
    pub set: Option<TextOr<Set>>,
    /// A file of checksums beside the data, which must be there and right: `"{}.sha256"`; a fixed name lists the checksums of all files.
    pub checksum: Option<String>,
    /// A file beside the data that says how many records there are: its name, or a table.
    pub control: Option<TextOr<Control>>,
    /// A file waits for so long for what must stand beside it: then that is an alert, and what stands there and is older than the file is
    /// compared with it all the same. Default `"1h"`.
    pub patience: Option<Span>,
    /// How names carry their date: `"%Y-%m-%d"`. For `never_older_than` and `expected`.
    pub date: Option<String>,
    /// Hold a file whose name has an older date than this.
    pub never_older_than: Option<Span>,
    /// When a file must have come: where it has not, that is an alert. Default: none is expected.
    pub expected: Option<Table<Expected>>,
    /// What becomes of an input at the end: `"move"`, `"leave"` or `"delete"`, or the folders it is moved to. Default `"move"`.
    pub after: Option<TextOr<AfterFolders>>,
    /// Take each input for this machine by renaming it, before it is read, for inboxes that several machines serve. Default: no renaming.
    pub claim: Option<Table<Claim>>,
    /// Where reports are written.
    pub reports: Option<Table<Reports>>,
    /// Mode of report files. Default `"0640"`.
    pub report_mode: Option<FileMode>,
    /// Order of files: `"mtime"`, `"name"`, or by a stamp in their names. Default `"mtime"`.
    pub order: Option<TextOr<NameStamp>>,
    /// The column that says when a row's state was true: a row older than what was applied to its pass ends `stale`.
    pub updated_at: Option<String>,
    /// What several rows of one file about one pass mean. Default `"last"`.
    pub duplicates: Option<Duplicates>,
    /// Rows that change nothing.
    pub unchanged: Option<Table<Unchanged>>,
    /// Time zone of dates and local times in cells: an IANA name, or a fixed offset such as `"UTC-6"` or `"+05:30"`. Default `"UTC"`.
    pub timezone: Option<String>,
    /// What local times mean that daylight saving skips or repeats.
    pub daylight_saving: Option<Table<DaylightSaving>>,
    /// Pass field = column, or a template over columns (a text with `{{ … }}`). At most 64.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// What makes a row that adds (earn, burn, redeem, validate, notify) the same row wherever it turns up again. Needed where rows can add.
    pub add: Option<Table<Adds>>,
    /// Fields that need the holder's consent.
    pub consent: Option<Table<Consent>>,
    /// A notification to the holder with each row.
    pub notify: Option<Table<Notify>>,
    /// Limits beyond which a file is held before anything is sent.
    pub guard: Option<Table<Guard>>,
    /// Limits beyond which a file is rejected.
    pub limits: Option<Table<Limits>>,
}

/// A vendor's own form of file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// `"thewalletcrew"`: columns `id`, `id.NAME`, `additionalData.KEY`, `metadata.KEY`. `"vibes"`: a `.wallet_update` file.
    #[schemars(required)]
    pub kind: Option<FormatKind>,
    /// `thewalletcrew`: what an empty cell does. Default `"keep"`.
    pub empty: Option<EmptyCell>,
    /// `thewalletcrew`: what other columns do. Default `"refuse"`.
    pub other_columns: Option<OtherColumns>,
    /// `vibes`: campaign tokens whose passes are in the feed's platform account. Files and rows of others are refused.
    #[serde(default)]
    pub campaigns: Vec<String>,
    /// Columns whose cells are never shown in logs.
    #[serde(default)]
    pub personal: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatKind {
    TheWalletCrew,
    Vibes,
}

/// What an empty cell does to the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmptyCell {
    /// Leaves its value alone.
    Keep,
    /// Clears it.
    Clear,
    /// Rejects the row.
    Reject,
}

/// What columns do that the form does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherColumns {
    /// Fail the file.
    Refuse,
    /// Nothing; the report names them.
    Ignore,
}

/// How an input is taken so that no other machine takes it too.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Folder under the inbox; each machine makes one of its own in it.
    #[schemars(required)]
    pub folder: Option<String>,
}

/// What a feed's files contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    Snapshot,
    Delta,
}

/// The column that names the pass; exactly one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Column with the identifier your own systems know the pass by.
    pub external_id: Option<String>,
    /// Column with the platform's identifier of the pass.
    pub pass_id: Option<String>,
}

/// What to do when one external ID has several passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Several {
    Refuse,
    All,
}

/// The column that says what a row means.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationColumn {
    #[schemars(required)]
    /// Name of the column.
    pub column: Option<String>,
    /// Word in the column = operation. Default: the operations' own names.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Plan,
    Canary,
    Live,
}

/// Which rows a canary sends.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// At most this many rows of a file. Default 10.
    pub limit: Option<u32>,
    /// Only these identifiers, when given.
    #[serde(default)]
    pub only: Vec<String>,
}

/// How the file is written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Path of a Table Dialect (JSON), for what is not said here.
    pub descriptor: Option<String>,
    /// `","`, `";"`, `"tab"`, `"|"` or another sign, or several; `"auto"` detects. Default `"auto"`.
    pub delimiter: Option<String>,
    /// The sign that encloses cells, or `"none"`. Default `"\""`.
    pub quote: Option<String>,
    /// What takes its meaning from a quote inside a quoted cell: `"doubled"`, a second one; or a sign before it, such as `"\\"`, which then
    /// does so before delimiters and line ends too. `"auto"` tells the two apart. Default `"auto"`.
    pub escape: Option<String>,
    /// The first record names the columns. Default true.
    pub header: Option<bool>,
    /// Lines before the header, or before the first record, that are no records; blank ones count. Of a workbook, rows. Default 0.
    pub preamble: Option<u32>,
    /// Lines that begin with this are no records.
    pub comment: Option<String>,
    /// Spaces before a cell do not belong to it. Default false.
    pub skip_initial_space: Option<bool>,
    /// The last line: fixed text, `{count}` for the number of records (`{count+header}`, `{count+footer}`, `{count+header+footer}`
    /// for numbers that count those lines too), `{}` for anything. A file without it, or with another count, fails.
    pub footer: Option<String>,
    /// Character set: `"utf-8"`, `"utf-16le"`, `"windows-1252"`, `"iso-8859-1"`, `"shift_jis"` and so on; `"auto"` is UTF-8, or what a
    /// byte-order mark says. Default `"auto"`.
    pub encoding: Option<String>,
    /// Glob over names in a zip archive, where it holds several files.
    pub member: Option<String>,
    /// Name of the sheet of a workbook (.xlsx), or its number from 1. Default: the first.
    pub sheet: Option<String>,
    /// Empty lines between records. Default `"skip"`.
    pub blank_lines: Option<BlankLines>,
}

/// Empty lines between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BlankLines {
    /// Counted and skipped.
    Skip,
    /// Each is a rejected record, `blank-row`.
    Reject,
}

/// Folders an input is moved to, under the inbox.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterFolders {
    /// Of files that were processed. Default `".processed"`.
    pub processed: Option<String>,
    /// Of files that failed as a whole. Default `".error"`.
    pub error: Option<String>,
}

/// Where reports are written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Another source, for a server that may only be read.
    pub source: Option<String>,
    /// Folder under the inbox; with `source`, from that source's login folder. Default `"reports"`.
    pub folder: Option<String>,
    /// Write `STEM.report.html` too, a page for people. Default true.
    pub html: Option<bool>,
    /// Write `STEM.errors.xlsx` beside `STEM.errors.csv`, with each cell as text: spreadsheets eat the zeros of identifiers in CSV files.
    /// Default false; of a workbook the errors come as a workbook whatever stands here.
    pub xlsx: Option<bool>,
}

/// A date or a number in the names of a feed's files, by which they are ordered.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameStamp {
    /// Regular expression over the name, with one group: the stamp. Digits are compared as a number, all else as text.
    #[schemars(required)]
    pub stamp: Option<String>,
    /// How a date is written that does not begin with its year: `"%d%m%Y"`.
    pub format: Option<String>,
    /// Numbers that are left out. Default `"ignore"`.
    pub gap: Option<Gap>,
}

/// What becomes of a file whose number does not follow the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gap {
    Ignore,
    /// It is processed, and its report says what is missing before it.
    Warn,
    /// It waits in the inbox until the missing ones have come.
    Hold,
}

/// What several rows of one file about one pass mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// A later row that sets every field an earlier one sets supersedes it.
    Last,
    /// The first row counts.
    First,
    /// All rows of that pass are rejected.
    Reject,
    /// All are applied, in order.
    InOrder,
}

/// Rows that change nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unchanged {
    /// Send an equal value again when it was last sent longer ago than this. Default: never.
    pub max_age: Option<Span>,
}

/// The identity of rows that add; exactly one of `transaction_id` and `dedupe`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adds {
    /// Column with the transaction's own identifier. The same one in another file, or twice in one, is applied once.
    pub transaction_id: Option<String>,
    /// `"file"`: the file's content and the record's number. Weaker: the same transaction in another file is applied again.
    pub dedupe: Option<Dedupe>,
    /// Tells keys of different feeds apart. Default: the feed's name. Give feeds that carry the same transactions the same one, and a
    /// feed that is renamed its old name.
    pub scope: Option<String>,
}

/// Where an identity comes from when rows have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dedupe {
    File,
}

/// Fields that need the holder's consent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// A column of type `boolean`. Where it is not true, the fields are kept back and the rest of the row is applied.
    #[schemars(required)]
    pub column: Option<String>,
    /// Pass fields, as mapped in `fields`. A marketing notification needs no mention.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Clear the fields that are kept back. Default false: they stay as they are.
    pub clear: Option<bool>,
}

/// A notification to the holder.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// A column, or a template over columns. An empty text notifies nobody.
    #[schemars(required)]
    pub message: Option<String>,
    /// The pass field whose change shows the message to the holder, such as `metaData.news` with a change message in PassKit's design.
    #[schemars(required)]
    pub field: Option<String>,
    /// `"marketing"` needs consent, `"transactional"` does not.
    #[schemars(required)]
    pub kind: Option<NotifyKind>,
    /// Time of day and zone in which notifications are sent, such as `"08:00..21:00 Europe/Paris"`. Outside of it they wait. Default: always.
    pub window: Option<String>,
    /// Notifications still waiting this long after the file was seen are dropped. Default: never.
    pub expires: Option<Span>,
    /// Identifiers of passes that are notified before all others; when one of them fails, the others are not notified.
    #[serde(default)]
    pub seeds: Vec<String>,
}

/// Why a holder is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifyKind {
    Marketing,
    Transactional,
}

/// Limits beyond which a file is held. `false` switches one off.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Rejected records. Default `"5%"`.
    pub rejects: Option<Share>,
    /// Least and most records against the median of the last 10 clean files; off until 3 are known. Default `"50%..200%"`.
    pub rows: Option<Rows>,
    /// Balances that go from something to nothing. Default `"20%"`.
    pub zeroed: Option<Share>,
    /// Fields that go from something to empty. Default `"20%"`.
    pub cleared: Option<Share>,
    /// Passes that upsert would issue. Default `"10%"`.
    pub created: Option<Share>,
    /// Rows without a pass. Default `"30%"`.
    pub unresolved: Option<Share>,
    /// Records with too few or too many cells. Default `"10%"`.
    pub ragged: Option<Share>,
    /// A share counts only from this many rows on. Default 50.
    pub floor: Option<u32>,
    /// Hold the first file of a new or changed feed. Default true.
    pub first_file: Option<bool>,
}

/// Limits beyond which a file, or a record of it, is rejected; nothing is ever cut.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a file as delivered. Default `"16GiB"`.
    pub file: Option<Size>,
    /// Bytes of a record. Default `"1MiB"`.
    pub record: Option<Size>,
    /// Bytes of a cell. Default `"256KiB"`.
    pub cell: Option<Size>,
    /// Cells of a record. Default 4096.
    #[schemars(range(min = 1))]
    pub cells: Option<u32>,
    /// Decompressed bytes for each compressed one. Default 100.
    #[schemars(range(min = 1))]
    pub expansion: Option<u32>,
    /// Unpacked bytes of a workbook (.xlsx), which is held in memory. Default `"64MiB"`.
    pub sheet: Option<Size>,
}
