//! How it ended: the outcome of a row and of each of its operations, the problems found on the way, and their counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a row, or one operation of it, ended. A row has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The platform confirmed the change.
    Applied,
    /// The pass did not exist and was issued (upsert).
    Created,
    /// Every mapped value equals the baseline; no request was sent.
    Unchanged,
    /// A later record of the file, or a newer snapshot, won.
    Superseded,
    /// Its add operation was applied earlier.
    Duplicate,
    /// Older than what was applied.
    Stale,
    /// Fails the schema or the mapping; nothing was sent.
    Rejected,
    /// No such pass, or several.
    Unresolved,
    /// The platform said no, or this row alone kept failing.
    Refused,
    /// An add whose answer was lost, without proof either way.
    InDoubt,
    /// The run stopped before it.
    NotAttempted,
    /// A notification or field kept back for lack of consent. Only operations end so, never rows.
    Withheld,
}

impl Outcome {
    /// Those that only sending brings about: they stay when a run is checked again.
    pub const SENT: [Outcome; 3] = [Outcome::Applied, Outcome::Created, Outcome::InDoubt];

    /// In the order reports list them.
    pub const ALL: [Outcome; 12] = [
        Outcome::Applied,
        Outcome::Created,
        Outcome::Unchanged,
        Outcome::Superseded,
        Outcome::Duplicate,
        Outcome::Stale,
        Outcome::Rejected,
        Outcome::Unresolved,
        Outcome::Refused,
        Outcome::InDoubt,
        Outcome::NotAttempted,
        Outcome::Withheld,
    ];

    /// The kebab-case name used in the ledger, in reports and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Created => "created",
            Outcome::Unchanged => "unchanged",
            Outcome::Superseded => "superseded",
            Outcome::Duplicate => "duplicate",
            Outcome::Stale => "stale",
            Outcome::Rejected => "rejected",
            Outcome::Unresolved => "unresolved",
            Outcome::Refused => "refused",
            Outcome::InDoubt => "in-doubt",
            Outcome::NotAttempted => "not-attempted",
            Outcome::Withheld => "withheld",
        }
    }

    pub fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// Does a row that ended so get a line in `STEM.errors.csv`?
    pub const fn needs_person(self) -> bool {
        matches!(self, Outcome::Rejected | Outcome::Unresolved | Outcome::Refused | Outcome::InDoubt | Outcome::NotAttempted)
    }

    /// Rank by which a row takes the worst of its operations' outcomes; larger is worse.
    pub const fn severity(self) -> u8 {
        match self {
            Outcome::InDoubt => 10,
            Outcome::Refused => 9,
            Outcome::NotAttempted => 8,
            Outcome::Unresolved => 7,
            Outcome::Rejected => 6,
            Outcome::Created => 5,
            Outcome::Applied => 4,
            Outcome::Stale | Outcome::Superseded => 3,
            Outcome::Duplicate => 2,
            Outcome::Unchanged => 1,
            Outcome::Withheld => 0,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Something wrong with a row or one of its cells. A value, never an `Err`: bad rows are data.
///
/// The message never repeats the cell: reports show the cell beside it, masked when it is personal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub code: Code,
    /// Index of the column in the file, from 0; none when the whole row is meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
    /// The failed constraint's name (`required`, `pattern`, …), for `constraint-error` only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub constraint: Option<String>,
    pub message: String,
    /// What to write instead, when we know.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suggestion: Option<String>,
}

impl Problem {
    pub fn new(code: Code, column: Option<usize>, message: impl Into<String>) -> Problem {
        Problem { code, column: column.map(|index| index as u32), constraint: None, message: message.into(), suggestion: None }
    }

    #[must_use]
    pub fn constraint(mut self, name: &str) -> Problem {
        self.constraint = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Problem {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// Counts by outcome. Their sum is the number of records read: promise 1 of the design.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(pub BTreeMap<Outcome, u64>);

impl Tally {
    pub fn add(&mut self, outcome: Outcome, count: u64) {
        if count > 0 {
            *self.0.entry(outcome).or_default() += count;
        }
    }

    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0.get(&outcome).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Rows that reached their passes.
    pub fn sent(&self) -> u64 {
        self.get(Outcome::Applied) + self.get(Outcome::Created)
    }

    /// Rows that need a person.
    pub fn needing_person(&self) -> u64 {
        self.0.iter().filter(|(outcome, _)| outcome.needs_person()).map(|(_, count)| count).sum()
    }

    pub fn merge(&mut self, other: &Tally) {
        for (&outcome, &count) in &other.0 {
            self.add(outcome, count);
        }
    }
}

/// What a code says to the person who meets it.
pub struct Explanation {
    pub name: &'static str,
    pub cause: &'static str,
    pub cure: &'static str,
    /// May the same row succeed later without being changed?
    pub retryable: bool,
}

macro_rules! codes {
    ($($variant:ident = $name:literal, $retryable:literal, $cause:literal, $cure:literal;)*) => {
        /// A stable kebab-case name for what went wrong; Frictionless's own where one exists.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(
            #[doc = $cause]
            $variant,
        )* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            pub const fn explain(self) -> Explanation {
                match self { $(
                    Code::$variant => Explanation { name: $name, cause: $cause, cure: $cure, retryable: $retryable },
                )* }
            }
        }
    };
}

codes! {
    // The file as a whole
    SourceError = "source-error", false, "The file is empty or its content cannot be read as a table.", "Deliver the file again; an export with no rows still needs its header line.";
    EncodingError = "encoding-error", false, "A byte does not belong to the file's character set: UTF-8, unless the feed or a byte-order mark says otherwise.", "Export as UTF-8, or name the set in dialect.encoding.";
    CompressionError = "compression-error", false, "The compressed file is damaged, cut short, or expands beyond the limit.", "Deliver the file again; raise limits.expansion only if the file is known to be this repetitive.";
    DecryptionError = "decryption-error", false, "The file is in OpenPGP and cannot be opened, is cut short, or was altered.", "Deliver the file again, encrypted to a key that [feed.NAME.pgp.keys] names.";
    SignatureError = "signature-error", false, "The file is not signed by a key that the feed trusts.", "Sign the file with a key that pgp.signed_by names.";
    UnterminatedQuote = "unterminated-quote", false, "A quoted cell is opened and never closed.", "Close the quote on the line named, or double quotes inside the cell.";
    CellTooLong = "cell-too-long", false, "A cell is longer than the limit.", "Look for a missing closing quote before the line named; raise limits.cell if the cell is meant.";
    RecordTooLong = "record-too-long", false, "A record is longer than the limit.", "Look for missing line ends; raise limits.record if the record is meant.";
    TooManyCells = "too-many-cells", false, "A record has more cells than the limit.", "Check the delimiter; raise limits.cells if the record is meant.";
    FileTooLarge = "file-too-large", false, "The file is larger than the limit.", "Deliver it in parts, or raise limits.file.";
    ChecksumMismatch = "checksum-mismatch", false, "The file's bytes do not have the checksum that stands beside it.", "Deliver the file again, with its checksum; it was changed on its way, or the checksum is of another file.";
    CountMismatch = "count-mismatch", false, "The file does not hold as many records as the control file beside it says.", "Deliver the file again, whole.";
    RowCount = "row-count", false, "The last line does not say how many records the file has, or another number than it has.", "Deliver the file again; correct dialect.footer if its last line is meant to be otherwise.";
    NotText = "not-text", false, "The file is not text, or is UTF-16 that does not say so.", "Export as text; name the character set of UTF-16 without byte-order mark in dialect.encoding.";
    // The header
    BlankHeader = "blank-header", false, "The header line holds no label.", "Put the column names on the first line, or set header = false.";
    UnmatchedHeader = "unmatched-header", false, "None of the schema's fields is in the header.", "Check that the file belongs to this feed.";
    ExtraLabel = "extra-label", false, "The header has a label the schema does not know.", "Remove the column, add it to the schema, or set fieldsMatch to subset.";
    MissingLabel = "missing-label", false, "The header lacks a field of the schema.", "Export the column, or take it out of the schema.";
    BlankLabel = "blank-label", false, "A label of the header is empty.", "Name every column.";
    DuplicateLabel = "duplicate-label", false, "A label occurs twice in the header.", "Name every column once.";
    IncorrectLabel = "incorrect-label", false, "A label differs from the schema's field at its position.", "Export the columns in the schema's order, or set fieldsMatch to subset.";
    // A record
    BlankRow = "blank-row", false, "Every cell of the record is empty.", "Remove the record, or fill it.";
    ExtraCell = "extra-cell", false, "The record has more cells than the header.", "Quote cells that contain the delimiter.";
    MissingCell = "missing-cell", false, "The record has fewer cells than the header.", "Write every cell, empty ones too.";
    StrayQuote = "stray-quote", false, "A quote stands inside an unquoted cell, or text follows a closing quote.", "Quote the whole cell and double the quotes in it.";
    NulByte = "nul-byte", false, "The record contains a NUL byte.", "Remove it at the source.";
    PrimaryKey = "primary-key", false, "The primary key is empty or occurs more than once.", "Give each record its own key.";
    UniqueKey = "unique-key", false, "A combination declared unique occurs more than once.", "Give each record its own combination.";
    // A cell
    FormulaError = "formula-error", false, "A cell of the workbook shows an error in place of a value.", "Correct the formula, and save the workbook again.";
    ShownOtherwise = "shown-otherwise", false, "A cell of the workbook shows something else than the value it holds.", "Give the cell a number format that shows its value, and save the workbook again.";
    TypeError = "type-error", false, "The cell cannot be read as the field's type and format.", "Write the value in the form the schema asks for.";
    BadGrouping = "bad-grouping", false, "Thousands separators stand where no thousands end.", "Write the number without separators, or group by three digits.";
    ConstraintError = "constraint-error", false, "The value breaks a constraint of the schema.", "Correct the value, or the constraint.";
    UniqueError = "unique-error", false, "The value occurs more than once in a column declared unique.", "Give each record its own value.";
    CategoryError = "category-error", false, "The value is not among the field's categories.", "Use one of the categories.";
    SpreadsheetDamage = "spreadsheet-damage", false, "An identifier looks like a number in exponent form, as spreadsheets leave it.", "Format the column as text before saving, or export again.";
    // Mapping
    MappingError = "mapping-error", false, "The mapping cannot turn the row into an update.", "Correct the cells the message names.";
    EmptyRejected = "empty-rejected", false, "The cell is empty and its field says that an empty cell is an error.", "Fill the cell.";
    ValueTooLarge = "value-too-large", false, "The platform cannot hold the value.", "Shorten the value or use a smaller number.";
    ValueInexact = "value-inexact", false, "The platform would keep another number than this one, because it holds fewer digits.", "Use fewer significant digits: seven on PassKit, which keeps 32-bit floats, fifteen elsewhere.";
    DuplicateKey = "duplicate-key", false, "Several records name the same pass and the feed refuses that.", "Send one record per pass, or choose another policy in feed.duplicates.";
    // Adds
    KeyConflict = "key-conflict", false, "The same transaction was applied or is on its way with another amount, pass or text.", "Find out which of the two is right; a correction of what was applied is a transaction of its own.";
    AddInDoubt = "add-in-doubt", false, "An add was sent and nothing proves whether the platform applied it.", "Look at the pass, then decide by passferry settle KEY (or RUN:LINE) applied, not-applied or resend.";
    AddRefused = "add-refused", false, "The row's add was refused, and its notification would tell of it all the same.", "Fix the row and drop it back: its notification goes out with it.";
    PassInDoubt = "pass-in-doubt", false, "An earlier add of the same pass is in doubt, and this one comes after it.", "Settle the earlier one; this row is then taken up by itself.";
    SettledNotApplied = "settled-not-applied", false, "It was in doubt, and a person decided that it was not applied and shall not be.", "Nothing.";
    SettledResend = "settled-resend", true, "It was in doubt, and a person decided that it be sent again: a run of its own does that.", "Nothing; the newer run tells how it ended.";
    KeyForgotten = "key-forgotten", false, "The row was first delivered longer ago than keys of adds are kept, so that nothing tells whether it was applied then.", "Look at the pass; what is missing goes in a new file, as a transaction of its own.";
    NotificationExpired = "notification-expired", false, "The notification waited longer than the feed allows.", "Nothing, or deliver it again with a new transaction.";
    SeedFailed = "seed-failed", true, "A seed of the notification failed, so that nobody else was notified.", "Look at the seed's row, then retry the run.";
    // Corrections
    CorrectionStale = "correction-stale", false, "A later run changed this pass after the report was written.", "Check that the correction is still wanted and deliver it as a new file.";
    CorrectionUnknown = "correction-unknown", false, "The line does not belong to a report of ours, or it was edited in a reserved column.", "Keep the reserved columns as they are.";
    // Delivery
    PassNotFound = "pass-not-found", false, "The platform has no pass with this identifier.", "Issue the pass first, correct the identifier, or use operation = upsert.";
    PassAmbiguous = "pass-ambiguous", false, "Several passes carry this identifier.", "Name the pass by its pass ID, or set several = \"all\".";
    UpdateRejected = "update-rejected", false, "The platform refused the change; its words are in the message.", "Correct the row as the message says.";
    PassGone = "pass-gone", false, "The pass was deleted at the platform.", "Leave the row out.";
    Conflict = "conflict", true, "Another writer kept changing the pass while we tried.", "Retry the row.";
    RetriesExhausted = "retries-exhausted", true, "This row kept failing while others succeeded.", "Retry the row later; ask the platform if it fails again.";
    AnswerUnreadable = "answer-unreadable", true, "The platform's answer could not be understood, so nothing proves the change.", "Retry the row; check what stands between here and the platform.";
    InternalError = "internal-error", true, "passferry itself failed at this row; the others went on.", "Report it with the log; the row can be retried once it is repaired.";
    RunStopped = "run-stopped", true, "The run was stopped before this row.", "Use passferry retry, or drop the error report back.";
    NotInCanary = "not-in-canary", true, "The feed is in canary mode and this row is outside the canary.", "Set mode = live, then retry the run.";
    PlanOnly = "plan-only", true, "The feed is in plan mode: nothing is sent.", "Set mode = live, then retry the run.";
    Discarded = "discarded", false, "The held run was discarded.", "Deliver a corrected file.";
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        self.explain().name
    }

    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl schemars::JsonSchema for Code {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Code::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown code {text:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_kebab_case_and_found_again() {
        for &code in Code::ALL {
            let name = code.as_str();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert_eq!(Code::parse(name), Some(code));
        }
    }

    #[test]
    fn outcomes_partition_the_rows() {
        let mut tally = Tally::default();
        tally.add(Outcome::Applied, 3);
        tally.add(Outcome::Rejected, 2);
        assert_eq!((tally.total(), tally.needing_person()), (5, 2));
    }
}
