//! Corrections: our error report, edited and dropped back.
//!
//! Reserved columns stand behind the data's own. Cells of a report that a spreadsheet would take for a formula carry an apostrophe;
//! here it is taken off again, so that a cell comes back as it was written (failure model, E14).

use std::borrow::Cow;
use std::collections::HashMap;

use crate::outcome::{Code, Problem};

/// The columns we append to the input's own, in this order.
pub const RESERVED: [&str; 8] = ["_run", "_line", "_record", "_outcome", "_codes", "_problems", "_retryable", "_key"];

/// The column before them in the report of a set: the part that a row stands in, and its line there.
pub const PART: &str = "_part";

/// Is it one of ours?
pub fn is_reserved(label: &str) -> bool {
    RESERVED.contains(&label.trim()) || label.trim() == PART
}

/// A file recognised as a correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The run whose report it is.
    pub parent: String,
    run_column: usize,
    record_column: Option<usize>,
    key_column: Option<usize>,
    line_column: Option<usize>,
    /// By record of the corrected run: digest of an identifier that began with zeros, without them.
    padded: HashMap<u64, u64>,
    /// Positions of all columns in the file that are not data, ascending.
    reserved: Vec<usize>,
}

/// Where the reserved columns stand, if these labels hold the first three of them.
pub fn reserved_columns(labels: &[String]) -> Option<Vec<usize>> {
    let has = |name: &str| labels.iter().any(|label| label.trim() == name);
    RESERVED[..3]
        .iter()
        .all(|name| has(name))
        .then(|| labels.iter().enumerate().filter(|(_, label)| is_reserved(label)).map(|(index, _)| index).collect())
}

impl Correction {
    /// `labels` are the file's; `parent` is the run named in its first record.
    pub fn new(labels: &[String], parent: String) -> Option<Correction> {
        let reserved = reserved_columns(labels)?;
        let run_column = labels.iter().position(|label| label.trim() == "_run")?;
        let record_column = labels.iter().position(|label| label.trim() == "_record");
        let key_column = labels.iter().position(|label| label.trim() == "_key");
        let line_column = labels.iter().position(|label| label.trim() == "_line");
        Some(Correction { parent, run_column, record_column, key_column, line_column, padded: HashMap::new(), reserved })
    }

    /// Leaves out columns that somebody added while correcting, and names them in a line. `before` are the labels of the corrected file.
    /// While one of its columns is not there, nothing is left out: an added one may be that one under another name.
    pub fn leave_out_added(&mut self, labels: &[String], before: &[String]) -> Option<String> {
        let is_in = |labels: &[String], label: &str| labels.iter().any(|known| known.trim() == label.trim());
        if before.is_empty() || !before.iter().all(|label| is_reserved(label) || is_in(labels, label)) {
            return None;
        }
        let is_added = |index: &usize| !self.reserved.contains(index) && !is_in(before, &labels[*index]);
        let added: Vec<usize> = (0..labels.len()).filter(is_added).collect();
        let names: Vec<String> = added.iter().map(|&index| format!("`{}`", labels[index].trim())).collect();
        self.reserved.extend(added);
        self.reserved.sort_unstable();
        (!names.is_empty()).then(|| format!("columns that the corrected file has not are ignored: {}", names.join(", ")))
    }

    /// The labels that belong to the data, the protection off.
    pub fn data_labels(&self, labels: &[String]) -> Vec<String> {
        let own = labels.iter().enumerate().filter(|(index, _)| !self.reserved.contains(index));
        own.map(|(_, label)| unprotect(label).unwrap_or(label).to_owned()).collect()
    }

    /// Notes the identifier that a record of the corrected run had.
    pub fn note_original(&mut self, record: u64, identifier: &str) {
        let bare = identifier.trim_start_matches('0');
        if bare.len() < identifier.len() {
            self.padded.insert(record, digest(bare));
        }
    }

    /// Did a spreadsheet eat the zeros that the identifier of this record began with? It would name another pass.
    pub fn lost_zeros(&self, record: Option<u64>, identifier: &str) -> bool {
        record.and_then(|record| self.padded.get(&record)).is_some_and(|bare| *bare == digest(identifier))
    }

    /// `_key` of a record as written, empty where it has none. To be read before [`Correction::take`].
    pub fn key(&self, cells: &[Cow<'_, str>]) -> String {
        self.key_column.and_then(|column| cells.get(column)).map_or_else(String::new, |cell| cell.trim().to_owned())
    }

    /// Physical line of a record in the corrected file, where it still says so. To be read before [`Correction::take`].
    pub fn line(&self, cells: &[Cow<'_, str>]) -> Option<u64> {
        self.line_column.and_then(|column| cells.get(column)?.trim().parse().ok())
    }

    /// The same for indexes of cells: those of reserved cells go, the others move up.
    pub fn take_indexes(&self, indexes: &mut Vec<usize>) {
        indexes.retain(|index| !self.reserved.contains(index));
        for index in indexes {
            *index -= self.reserved.iter().filter(|reserved| **reserved < *index).count();
        }
    }

    /// Takes the reserved cells out and the protection off the others. Gives the record's number in the corrected run.
    pub fn take(&self, cells: &mut Vec<Cow<'_, str>>) -> Result<Option<u64>, Problem> {
        let record = self.record_column.and_then(|column| cells.get(column)?.trim().parse().ok());
        let run = cells.get(self.run_column).map(|cell| cell.trim() == self.parent);
        let mut index = 0;
        cells.retain(|_| {
            index += 1;
            !self.reserved.contains(&(index - 1))
        });
        for cell in cells.iter_mut() {
            if let Some(plain) = unprotect(cell) {
                *cell = Cow::Owned(plain.to_owned());
            }
        }
        match run {
            Some(true) => Ok(record),
            Some(false) => Err(Problem::new(
                Code::CorrectionUnknown,
                None,
                format!("_run is not {}, the run of this file's first record", self.parent),
            )),
            None => Err(Problem::new(Code::CorrectionUnknown, None, "the record has no _run")),
        }
    }
}

fn digest(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// What a spreadsheet would start a formula with, after spaces.
fn starts_formula(cell: &str) -> bool {
    cell.trim_start_matches(' ').starts_with(['=', '+', '-', '@', '\t', '\r', '\0'])
}

fn is_plain_number(cell: &str) -> bool {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',')
        && digits.bytes().any(|byte| byte.is_ascii_digit())
}

/// A cell as a report shows it. [`unprotect`] gives the original back.
pub fn protect(cell: &str) -> Cow<'_, str> {
    if cell.starts_with('\'') || (starts_formula(cell) && !is_plain_number(cell)) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// The original of a protected cell; none when it was not protected.
pub fn unprotect(cell: &str) -> Option<&str> {
    let rest = cell.strip_prefix('\'')?;
    (rest.starts_with('\'') || starts_formula(rest)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_are_protected_and_numbers_are_not() {
        for cell in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "  =1", "\tx", "'quoted"] {
            assert!(protect(cell).starts_with('\''), "{cell:?}");
        }
        for cell in ["-5", "+33612345678", "-1,234.50", "plain", "", "a=b"] {
            assert_eq!(protect(cell), cell);
        }
    }

    proptest! {
        #[test]
        fn protection_is_reversible(cell in "[ '=+@\\-\ta-z0-9]{0,8}") {
            let shown = protect(&cell);
            prop_assert_eq!(unprotect(&shown).unwrap_or(&shown), cell.as_str());
        }
    }

    #[test]
    fn reserved_cells_are_taken_out() {
        let labels: Vec<String> = ["id", "points", "_run", "_line", "_record", "_outcome", "_codes", "_problems", "_retryable", "_key"]
            .map(String::from)
            .to_vec();
        let correction = Correction::new(&labels, "k7f2m9".into()).unwrap();
        assert_eq!(correction.data_labels(&labels), ["id", "points"]);
        let mut cells: Vec<Cow<'_, str>> = ["C-1", "'=5", "k7f2m9", "4", "3", "rejected", "", "", "", ""].map(Cow::from).to_vec();
        assert_eq!(correction.take(&mut cells).unwrap(), Some(3));
        assert_eq!(cells, ["C-1", "=5"]);
        let mut foreign: Vec<Cow<'_, str>> = ["C-1", "5", "other", "4", "3", "", "", "", "", ""].map(Cow::from).to_vec();
        assert_eq!(correction.take(&mut foreign).unwrap_err().code, Code::CorrectionUnknown);
        assert!(reserved_columns(&["id".into(), "_line".into()]).is_none());
    }

    #[test]
    fn an_identifier_that_lost_its_zeros_is_noticed() {
        let labels: Vec<String> = ["id", "_run", "_line", "_record"].map(String::from).to_vec();
        let mut correction = Correction::new(&labels, "k7f2m9".into()).unwrap();
        correction.note_original(3, "0012345");
        correction.note_original(4, "12345");
        assert!(correction.lost_zeros(Some(3), "12345"));
        assert!(!correction.lost_zeros(Some(3), "0012345"));
        assert!(!correction.lost_zeros(Some(3), "99"), "corrected on purpose");
        assert!(!correction.lost_zeros(Some(4), "12345"));
        assert!(!correction.lost_zeros(None, "12345"));
    }
}
