//! The header section that a `.wallet_update` file may begin with (contracts/others.md, Vibes): `Name: value` lines, then a blank line.

use super::fault::FileFault;
use crate::outcome::Code;

const NAMES: [&str; 3] = ["Fields", "Delimiter", "Campaign-Token"];

/// What a file says of itself before its first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The columns, and the line that names them; without it the first record does.
    pub fields: Option<(Vec<String>, u64)>,
    pub delimiter: Option<u8>,
    /// Whose passes the file is about; empty when it does not say.
    pub campaigns: Vec<String>,
}

/// Is this line of a header section? A first record is not taken for one: no column is called so.
pub(super) fn is_in_section(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| name_of(line).is_some())
}

/// The name that a line gives a value to, and the value.
fn name_of(line: &str) -> Option<(&'static str, &str)> {
    let (name, value) = line.split_once(':')?;
    let known = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()))?;
    Some((known, value))
}

impl Section {
    /// Takes one line. Whatever is not understood there fails the file: it may say which passes are meant.
    pub(super) fn take(&mut self, line: &str, number: u64) -> Result<(), FileFault> {
        let fault = |what: &str| FileFault::new(Code::SourceError, format!("In the header section: {what}")).line(number);
        let Some((name, value)) = name_of(line) else {
            return Err(fault("this line is not one of its lines.").suggest(
                "It has lines of the form `Fields: uuid,points`, `Delimiter: |` and `Campaign-Token: TOKEN`, and ends with a blank line.",
            ));
        };
        let (again, list) = match name {
            "Fields" => (self.fields.is_some(), listed(value)),
            "Delimiter" => (self.delimiter.is_some(), Vec::new()),
            _ => (!self.campaigns.is_empty(), listed(value)),
        };
        if again {
            return Err(fault(&format!("`{name}` stands there twice.")));
        }
        match name {
            "Delimiter" => match delimiter(value) {
                Some(delimiter) => self.delimiter = Some(delimiter),
                None => return Err(fault("the delimiter is not a single sign.")),
            },
            _ if list.iter().any(String::is_empty) => return Err(fault(&format!("`{name}` has an empty entry."))),
            "Fields" => self.fields = Some((list, number)),
            _ => self.campaigns = list,
        }
        Ok(())
    }
}

fn listed(value: &str) -> Vec<String> {
    value.split(',').map(|entry| entry.trim().to_owned()).collect()
}

fn delimiter(value: &str) -> Option<u8> {
    if matches!(value.trim(), "tab" | "\\t") || (value.trim().is_empty() && value.contains('\t')) {
        return Some(b'\t');
    }
    match value.trim().as_bytes() {
        [byte] if byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Some(*byte),
        _ => None,
    }
}
