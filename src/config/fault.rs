//! What is wrong with a configuration file, and where.

use std::fmt;

use serde::Serialize;

/// One problem of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The dotted key: `feed.points.guard.rejects`. Empty for the file as a whole.
    pub key: String,
    /// From 1; 0 when the fault has no place in the file.
    pub line: u32,
    /// In characters, from 1; 0 when the fault has no place in the file.
    pub column: u32,
    /// What is wrong and what to write instead. Never contains a secret.
    pub message: String,
    /// The line of the file; none where it may hold a secret.
    #[serde(skip)]
    pub(super) excerpt: Option<String>,
    /// Characters under the caret.
    #[serde(skip)]
    pub(super) width: usize,
}

impl Fault {
    pub(super) fn of_file(message: String) -> Fault {
        Fault { key: String::new(), line: 0, column: 0, message, excerpt: None, width: 0 }
    }
}

/// Every problem of the file, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub file: String,
    pub faults: Vec<Fault>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            write!(out, "{}", self.file)?;
            if fault.line > 0 {
                write!(out, ":{}:{}", fault.line, fault.column)?;
            }
            if !fault.key.is_empty() {
                write!(out, "  {}", fault.key)?;
            }
            writeln!(out, "  {}", fault.message)?;
            if let Some(text) = &fault.excerpt {
                // Tabs are kept in the margin so that the caret stands under its word whatever their width.
                let before = text.chars().take(fault.column.saturating_sub(1) as usize);
                let margin: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                writeln!(out, "{:>5} | {text}\n      | {margin}{}", fault.line, "^".repeat(fault.width.max(1)))?;
            }
        }
        let count = self.faults.len();
        write!(out, "{count} {} in {}", if count == 1 { "fault" } else { "faults" }, self.file)
    }
}
