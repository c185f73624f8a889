//! Table Dialect (version 2) and CSV Dialect (version 1): how a file of records is written (contracts/table-schema.md section 8).

use serde_json::{Map, Value as Json};

use super::SchemaFault;
use crate::dialect::{Form, is_forbidden};

/// How a file's records are written, as far as its descriptor says. A property that it does not have is left to detection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialectDescriptor {
    pub delimiter: Option<String>,
    /// Does the file begin with labels?
    pub header: Option<bool>,
    /// The first row of the header, and how many follow each other; from 1.
    pub header_rows: Option<(u64, usize)>,
    /// Between the labels of several header rows.
    pub header_join: Option<String>,
    /// Rows left out by their number, ascending.
    pub comment_rows: Vec<u64>,
    /// Rows that begin with it are left out.
    pub comment: Option<String>,
    /// One byte; none inside means that nothing is quoted.
    pub quote: Option<Option<u8>>,
    /// Is a quote inside a quoted cell written twice?
    pub double_quote: Option<bool>,
    /// One byte that takes the meaning from the next.
    pub escape: Option<u8>,
    pub skip_initial_space: Option<bool>,
    /// Name or number of a workbook's sheet.
    pub sheet: Option<String>,
    /// Cells of this text mean "no value".
    pub null_sequence: Option<String>,
    /// `headerCase` and version 1's `caseSensitiveHeader`.
    pub header_case: Option<bool>,
    /// `skipBlankRows`.
    pub skip_blank_rows: Option<bool>,
}

impl DialectDescriptor {
    /// Reads a descriptor and finds all its faults at once. What the standard knows and this program does not do is a fault too: a file
    /// read in another dialect than its own is read wrongly.
    pub fn parse(text: &str) -> Result<DialectDescriptor, Vec<SchemaFault>> {
        match serde_json::from_str::<Json>(text) {
            Ok(descriptor) => DialectDescriptor::from_json(&descriptor),
            Err(error) => Err(vec![fault("", format!("line {}, column {}: this is not JSON: {error}", error.line(), error.column()))]),
        }
    }

    /// As [`DialectDescriptor::parse`], from a descriptor that was written in another notation.
    pub fn from_json(descriptor: &Json) -> Result<DialectDescriptor, Vec<SchemaFault>> {
        let Json::Object(properties) = descriptor else { return Err(vec![fault("", "a dialect is a JSON object")]) };
        let mut reader = Reader { read: DialectDescriptor::default(), faults: Vec::new() };
        reader.object(properties, "");
        if let Some(Json::Object(nested)) = properties.get("csv") {
            reader.object(nested, "csv.");
        }
        reader.together();
        if reader.faults.is_empty() { Ok(reader.read) } else { Err(reader.faults) }
    }
}

fn fault(path: impl Into<String>, message: impl Into<String>) -> SchemaFault {
    SchemaFault { code: "dialect-error", path: path.into(), message: message.into() }
}

struct Reader {
    read: DialectDescriptor,
    faults: Vec<SchemaFault>,
}

impl Reader {
    fn object(&mut self, properties: &Map<String, Json>, under: &str) {
        for (name, value) in properties {
            let path = format!("{under}{name}");
            if let Err(message) = self.property(name, value) {
                self.faults.push(fault(path, message));
            }
        }
    }

    /// What properties say only together.
    fn together(&mut self) {
        let read = &self.read;
        let quoted = read.quote != Some(None);
        if read.escape.is_some() && read.double_quote == Some(true) && quoted {
            let message = "stands beside doubleQuote: a quote inside a quoted cell is written in one of the two ways; keep that one";
            self.faults.push(fault("escapeChar", message));
        } else if read.escape.is_none() && read.double_quote == Some(false) && quoted {
            self.faults.push(fault("doubleQuote", "is false, and no escapeChar says how a quote inside a quoted cell is written"));
        }
        let form = Form {
            delimiter: read.delimiter.clone().unwrap_or_else(|| ",".to_owned()),
            quote: read.quote.unwrap_or(Some(b'"')),
            escape: read.escape,
            skip_space: false,
            comment: None,
        };
        if let Some(message) = form.fault().filter(|_| self.faults.is_empty()) {
            self.faults.push(fault("", message));
        }
    }

    /// Unknown properties are legal and mean nothing here.
    fn property(&mut self, name: &str, value: &Json) -> Result<(), String> {
        match name {
            "delimiter" => self.read.delimiter = Some(delimiter(string(value)?)?),
            "quoteChar" => self.read.quote = Some(quote(string(value)?)?),
            "header" => self.read.header = Some(boolean(value)?),
            "headerCase" | "caseSensitiveHeader" => self.read.header_case = Some(boolean(value)?),
            "skipBlankRows" => self.read.skip_blank_rows = Some(boolean(value)?),
            "nullSequence" => self.read.null_sequence = Some(string(value)?.to_owned()),
            "headerRows" => self.read.header_rows = header_rows(&rows(value)?)?,
            "commentRows" => {
                self.read.comment_rows = rows(value)?;
                self.read.comment_rows.sort_unstable();
            }
            "headerJoin" => self.read.header_join = Some(string(value)?.to_owned()),
            "$schema" => {
                string(value)?;
            }
            "csvddfVersion" => return refuse(!value.is_number() && !value.is_string(), "must be a number"),
            "lineTerminator" => {
                return refuse(
                    !matches!(string(value)?, "\r\n" | "\n" | "\r"),
                    "lines end with CRLF, LF or CR; any of them is read, and no other",
                );
            }
            "doubleQuote" => self.read.double_quote = Some(boolean(value)?),
            "skipInitialSpace" => self.read.skip_initial_space = Some(boolean(value)?),
            "escapeChar" if !value.is_null() => match string(value)?.as_bytes() {
                [byte] if byte.is_ascii() && !is_forbidden(*byte) => self.read.escape = Some(*byte),
                _ => return refuse(true, "must be one ASCII character"),
            },
            "commentChar" if !value.is_null() => match string(value)? {
                "" => {}
                text if text.bytes().any(is_forbidden) => return refuse(true, "must not hold a line end"),
                text => self.read.comment = Some(text.to_owned()),
            },
            "sheetName" if !value.is_null() => self.read.sheet = Some(string(value)?.to_owned()),
            "sheetNumber" if !value.is_null() => {
                let number = value.as_u64().filter(|number| *number > 0).ok_or("must be a number from 1")?;
                self.read.sheet.get_or_insert(number.to_string());
            }
            "property" | "itemType" | "itemKeys" | "table" if !value.is_null() => {
                return refuse(true, "this program reads delimited text and spreadsheets, not JSON or databases");
            }
            _ => {}
        }
        Ok(())
    }
}

fn refuse(when: bool, message: &str) -> Result<(), String> {
    if when { Err(message.to_owned()) } else { Ok(()) }
}

fn string(value: &Json) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a string".to_owned())
}

fn boolean(value: &Json) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

fn rows(value: &Json) -> Result<Vec<u64>, String> {
    let numbers = value.as_array().and_then(|items| items.iter().map(Json::as_u64).collect::<Option<Vec<_>>>());
    numbers.filter(|rows| !rows.contains(&0)).ok_or_else(|| "must be an array of row numbers from 1".to_owned())
}

/// Rows of a header follow each other.
fn header_rows(rows: &[u64]) -> Result<Option<(u64, usize)>, String> {
    let Some(&first) = rows.first() else { return Ok(None) };
    if rows.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        return Err("the rows of a header must follow each other".to_owned());
    }
    Ok(Some((first, rows.len())))
}

fn delimiter(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.bytes().any(is_forbidden) {
        return Err("a line end cannot part cells".to_owned());
    }
    Ok(text.to_owned())
}

fn quote(text: &str) -> Result<Option<u8>, String> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte] if byte.is_ascii() && !is_forbidden(*byte) => Ok(Some(*byte)),
        _ => Err("must be one ASCII character, or an empty string for none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_of_either_version_is_read() {
        let v2 = r#"{"$schema": "https://datapackage.org/profiles/2.0/tabledialect.json", "delimiter": ";", "header": false, "quoteChar": "\"",
            "doubleQuote": true, "headerRows": [1], "nullSequence": "\\N", "lineTerminator": "\n", "custom": 1}"#;
        let read = DialectDescriptor::parse(v2).unwrap();
        assert_eq!((read.delimiter.as_deref(), read.header, read.quote), (Some(";"), Some(false), Some(Some(b'"'))));
        assert_eq!(read.null_sequence.as_deref(), Some("\\N"));
        let v1 = r#"{"csvddfVersion": 1.2, "caseSensitiveHeader": false, "csv": {"delimiter": "\t"}}"#;
        let read = DialectDescriptor::parse(v1).unwrap();
        assert_eq!((read.delimiter.as_deref(), read.header_case), (Some("\t"), Some(false)));
    }

    #[test]
    fn every_property_of_a_form_is_read() {
        let text = r##"{"delimiter": "||", "quoteChar": "'", "doubleQuote": false, "escapeChar": "\\", "commentChar": "#", "commentRows": [9, 3],
            "skipInitialSpace": true, "headerRows": [3, 4], "headerJoin": "."}"##;
        let read = DialectDescriptor::parse(text).unwrap();
        assert_eq!((read.delimiter.as_deref(), read.quote, read.escape), (Some("||"), Some(Some(b'\'')), Some(b'\\')));
        assert_eq!((read.comment.as_deref(), read.skip_initial_space), (Some("#"), Some(true)));
        assert_eq!((read.comment_rows, read.header_rows, read.header_join.as_deref()), (vec![3, 9], Some((3, 2)), Some(".")));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let text = r#"{"delimiter": "", "quoteChar": "''", "escapeChar": "ab", "commentRows": [0], "headerRows": [1, 3], "headerJoin": 1,
            "header": "yes", "lineTerminator": "|", "sheetNumber": 0, "property": "rows", "nullSequence": 1}"#;
        let faults = DialectDescriptor::parse(text).unwrap_err();
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 11, "{paths:?}");
        assert!(faults.iter().all(|fault| fault.code == "dialect-error"));
        for (text, path) in [
            (r#"{"escapeChar": "\\", "doubleQuote": true}"#, "escapeChar"),
            (r#"{"doubleQuote": false}"#, "doubleQuote"),
            (r#"{"delimiter": "\"|"}"#, ""),
        ] {
            let faults = DialectDescriptor::parse(text).unwrap_err();
            assert_eq!(faults[0].path, path, "{text}");
        }
    }
}
