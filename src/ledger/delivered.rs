//! What a run's input is made of, where it is more than one file, or where something beside it speaks of it.

use bstr::BString;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Run;
use super::run::show_name;

/// The files of a delivery that is not just one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivered {
    /// Files with rows, in the order in which they are read as one. Empty where the input is one file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Files that belong to it and hold no rows of it: marker, manifest, checksums, control file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// They came in a folder of their own, which has the run's name.
    pub in_folder: bool,
    /// Data records that something beside it declares for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Of an input that is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// What contradicts what was declared, in words: such a set is held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<String>,
    /// What a person should know of how it was put together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A file with rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// From the inbox.
    pub path: BString,
    pub size: u64,
    pub mtime: i64,
    /// What was declared of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Known once it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Lines of the parts before it: known once it was read.
    pub lines_before: u64,
    /// Data records in it.
    pub records: u64,
}

/// A file that belongs to an input and holds no rows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// From the inbox.
    pub path: BString,
    pub size: u64,
    pub mtime: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512 => "SHA-512",
        }
    }
}

/// What something beside a file says its bytes digest to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// Lower-case hexadecimal digits.
    pub hex: String,
}

impl Part {
    /// Its name for people, from the inbox.
    pub fn shown(&self) -> String {
        show_name(&self.path)
    }
}

impl Run {
    /// The parts of a set; none where the input is one file.
    pub fn parts(&self) -> &[Part] {
        self.detail.delivered.as_ref().map_or(&[], |delivered| &delivered.parts)
    }

    /// The part of a set that a line of the whole stands in, and its line there, as an editor shows it.
    pub fn part_of_line(&self, line: u64) -> Option<(&Part, u64)> {
        let parts = self.parts();
        let after = parts.partition_point(|part| part.lines_before < line);
        // Parts without a line begin where the next one does.
        let part = parts[..after].last()?;
        Some((part, line - part.lines_before))
    }

    /// The same for people: `part-00001.csv:12`.
    pub fn place_of_line(&self, line: u64) -> Option<String> {
        self.part_of_line(line).map(|(part, line)| format!("{}:{line}", part.shown()))
    }
}

/// Something that has not come, or waits for what has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Waiting {
    pub feed: String,
    /// What waits: the name of a file or set.
    pub what: String,
    /// For what, in words.
    pub words: String,
    /// It has waited for so long that somebody should look.
    pub alert: bool,
    pub since: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::run::Detail;
    use crate::ledger::{RunKind, State};

    #[test]
    fn a_line_of_the_whole_is_a_line_of_a_part() {
        let part = |path: &str, lines_before| Part { path: path.into(), lines_before, ..Part::default() };
        let delivered = Delivered { parts: vec![part("a", 0), part("empty", 3), part("b", 3), part("c", 5)], ..Delivered::default() };
        let run = Run {
            id: "r".into(),
            feed: String::new(),
            account: String::new(),
            source: String::new(),
            folder: "in".into(),
            name: "set".into(),
            size: 0,
            mtime: 0,
            state: State::Done,
            kind: RunKind::File,
            parent: None,
            sha256: None,
            detail: Detail { delivered: Some(delivered), ..Detail::default() },
        };
        let places: Vec<_> = [1, 3, 4, 5, 6].map(|line| run.place_of_line(line).unwrap()).into();
        assert_eq!(places, ["a:1", "a:3", "b:1", "b:2", "c:1"]);
    }
}
