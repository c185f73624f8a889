//! Columns that stand in the names of folders, as Hive, Spark, Databricks and Redshift write them: `region=EU/date=2026-11-22/`
//! (contracts/exports.md, sections 3 and 4).

use bstr::{BStr, ByteSlice};

use crate::ledger::delivered::Partition;

/// What stands for no value, and for the empty text: the writers do not tell them apart.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The column and its value that the name of a folder gives. None when it is no such name.
pub fn read(folder: &BStr) -> Option<Partition> {
    let (column, value) = folder.to_str().ok()?.split_once('=')?;
    let (column, value) = (decoded(column)?, decoded(value)?);
    let is_text = |text: &str| !text.is_empty() && !text.contains(['\n', '\r', '\0']);
    (is_text(&column) && is_text(&value)).then(|| Partition { column, value: (value != NULL).then_some(value) })
}

/// Takes back what writers do to signs that paths cannot have: `%3A` for a colon. A percent sign without two digits behind it is itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, digit(0), digit(1)) {
            bytes.push((high * 16 + low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_give_a_column_and_a_value() {
        for (name, column, value) in [
            ("region=EU", "region", Some("EU")),
            ("date=2026-11-22", "date", Some("2026-11-22")),
            ("at=10%3A30%3A00", "at", Some("10:30:00")),
            ("a%2Fb=x=y", "a/b", Some("x=y")),
            ("share=5%", "share", Some("5%")),
            ("town=Zo%C3%AB", "town", Some("Zoë")),
            ("region=__HIVE_DEFAULT_PARTITION__", "region", None),
        ] {
            let is = Partition { column: column.into(), value: value.map(str::to_owned) };
            assert_eq!(read(name.into()), Some(is), "{name}");
        }
        for name in ["region", "=EU", "region=", "a=%FF", "a=x%0Ay"] {
            assert_eq!(read(name.into()), None, "{name}");
        }
    }
}
