//! What is kept, for how long, and whether it fits together.
//!
//! Apart from [`super::Ledger`] because none of it is on the road of a file. "Bytes leave the file" is meant literally here: what is
//! removed is overwritten, and [`Keeping::compact`] writes the ledger anew without it.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Fence, Result, Run};
use crate::row::PassKey;

/// Names of copies that are made before the ledger's format changes begin so; the old format's number and `.sqlite` follow.
pub const OLD_FORMAT: &str = "ledger-format-";

/// Something that does not fit, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name in kebab-case.
    pub finding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where: a run with its file, a path, a table.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: String,
}

/// The ledger as of one moment: its runs, and what in it does not fit together.
#[derive(Debug, Default)]
pub struct Audit {
    /// Oldest first. A run that cannot be read is a finding and not here.
    pub runs: Vec<Run>,
    /// Ids of all runs, readable or not.
    pub ids: Vec<String>,
    pub findings: Vec<Finding>,
}

/// What of a run's personal data is gone, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Removed {
    pub at: DateTime<Utc>,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its time was up: the file's copy and what its rows quoted.
    Retention,
    /// Somebody named in it was forgotten: the file's copy.
    Forgotten,
}

impl Removed {
    /// For people: why the copy of the file is not here.
    pub fn told(&self) -> String {
        let day = self.at.format("%Y-%m-%d");
        match self.why {
            Why::Retention => format!("its copy was deleted on {day}, when the retention time was over"),
            Why::Forgotten => format!("its copy was deleted on {day}, because a person named in it was forgotten"),
        }
    }
}

/// A run in which a pass is named.
#[derive(Clone, Debug)]
pub struct Mention {
    pub run: Run,
    /// Rows about the pass, as far as rows are kept one by one.
    pub rows: u64,
    /// One of those rows, or an add of one, waits for a decision whether it was applied.
    pub in_doubt: bool,
}

/// What was removed of passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Rows that no longer say which pass they were about, nor what was wrong with them.
    pub rows: u64,
    /// Baselines.
    pub baselines: u64,
    /// Runs whose own words named one of the passes.
    pub runs: u64,
    /// Keys of adds that no longer say which pass they were about. The keys stay.
    pub keys: u64,
}

pub trait Keeping {
    /// Reads everything as of one moment and says what does not fit together.
    ///
    /// Keys of adds are looked for from `keys_since` on: older ones may have been removed.
    fn audit(&self, keys_since: DateTime<Utc>) -> Result<Audit>;

    /// Copies the ledger as of one moment to a path that nothing has, verified and durable. Writers go on meanwhile. Returns its bytes.
    fn backup(&self, to: &Path) -> Result<u64>;

    /// Removes what rows of a run quote, at most `limit` rows at a time. Outcomes stay, and so does all of a row in doubt. Returns how
    /// many rows were changed; none means that nothing is left.
    fn remove_details(&self, fence: Fence, run: &str, limit: u64) -> Result<u64>;

    /// Removes what a run's own words and its keys may quote, and notes that the run's data is gone. Counts and hashes stay, keys too.
    fn remove_words(&self, fence: Fence, run: &str, removed: &Removed) -> Result<()>;

    /// Removes keys of adds whose last change is older, at most `limit` at a time. Those that are not decided stay.
    fn remove_keys(&self, fence: Fence, before: DateTime<Utc>, limit: u64) -> Result<u64>;

    /// Notes that the copy of a run's file is gone.
    fn note_removed(&self, fence: Fence, run: &str, removed: &Removed) -> Result<()>;

    /// Runs with rows about these passes, or whose words or rows quote one of these texts.
    fn mentions(&self, passes: &[PassKey], texts: &Texts) -> Result<Vec<Mention>>;

    /// Removes all that is known of these passes, and what quotes one of these texts, in one transaction.
    fn forget(&self, fence: Fence, passes: &[PassKey], texts: &Texts) -> Result<Forgotten>;

    /// Runs of reports that were found at a report place and are unknown here, and that a person accepted.
    fn accepted_reports(&self) -> Result<Vec<String>>;

    /// A person looked at reports of these unknown runs: they hold nothing any more.
    fn accept_reports(&self, fence: Fence, runs: &[String], by: &str) -> Result<()>;

    /// Writes the ledger anew without the bytes of what was removed. Writers wait meanwhile; it needs the ledger's size in free space.
    fn compact(&self) -> Result<()>;
}

/// Identifiers to look for in text. A hit counts where neither neighbour is a letter or a digit: `C-1` is not in `C-10`.
pub struct Texts {
    any: Option<regex::bytes::Regex>,
    /// Bytes of the longest of them.
    longest: usize,
}

impl Texts {
    /// Empty texts are left out.
    ///
    /// Fails when they are too many to look for at once.
    pub fn new(identifiers: &[String]) -> std::result::Result<Texts, regex::Error> {
        let mut forms: Vec<String> = Vec::new();
        for identifier in identifiers.iter().filter(|identifier| !identifier.is_empty()) {
            forms.push(identifier.clone());
            // As a quoted cell writes it, and as a JSON text does.
            forms.push(identifier.replace('"', "\"\""));
            let json = serde_json::Value::String(identifier.clone()).to_string();
            forms.push(json[1..json.len() - 1].to_owned());
        }
        // The longest first: of `C-1` and `C-1-2` the text `C-1-2` is the second.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        let longest = forms.iter().map(String::len).max().unwrap_or(0);
        let pattern = forms.iter().map(|form| regex::escape(form)).collect::<Vec<_>>().join("|");
        let any = (!forms.is_empty()).then(|| regex::bytes::RegexBuilder::new(&pattern).unicode(false).size_limit(1 << 30).build());
        Ok(Texts { any: any.transpose()?, longest })
    }

    /// Bytes that pieces of a long text must overlap by, so that a hit at a seam is seen with its neighbours.
    pub fn overlap(&self) -> usize {
        self.longest + 2
    }

    pub fn are_in(&self, text: &[u8]) -> bool {
        let Some(any) = &self.any else { return false };
        let mut from = 0;
        while let Some(hit) = any.find_at(text, from) {
            let before = hit.start().checked_sub(1).map(|index| text[index]);
            let behind = text.get(hit.end()).copied();
            if ![before, behind].into_iter().flatten().any(|byte| byte.is_ascii_alphanumeric()) {
                return true;
            }
            from = hit.start() + 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_found_where_it_stands_alone() {
        let texts = Texts::new(&["C-1".into(), "C-1-2".into(), "né \"x\"".into(), String::new()]).unwrap();
        for text in ["C-1", "id\nC-1,5\n", "\"C-1\"", "…C-1…", "C-1-2", "C-10,C-1;"] {
            assert!(texts.are_in(text.as_bytes()), "{text}");
        }
        assert!(texts.are_in("a,\"né \"\"x\"\"\",b".as_bytes()), "as a quoted cell");
        assert!(texts.are_in(serde_json::json!({ "cell": "né \"x\"" }).to_string().as_bytes()), "as JSON");
        for text in ["", "C-10", "XC-1", "C-", "C-100,1"] {
            assert!(!texts.are_in(text.as_bytes()), "{text}");
        }
        assert!(!Texts::new(&[]).unwrap().are_in(b"anything"));
    }
}
