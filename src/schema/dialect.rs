//! Table Dialect (version 2) and CSV Dialect (version 1): how a file of records is written (contracts/table-schema.md section 8).

use serde_json::{Map, Value as Json};

use super::SchemaFault;

/// How a file's records are written, as far as its descriptor says. A property that it does not have is left to detection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialectDescriptor {
    /// One byte.
    pub delimiter: Option<u8>,
    /// Does the file begin with labels?
    pub header: Option<bool>,
    /// One byte; none inside means that nothing is quoted.
    pub quote: Option<Option<u8>>,
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

    /// Unknown properties are legal and mean nothing here.
    fn property(&mut self, name: &str, value: &Json) -> Result<(), String> {
        match name {
            "delimiter" => self.read.delimiter = Some(delimiter(string(value)?)?),
            "quoteChar" => self.read.quote = Some(quote(string(value)?)?),
            "header" => self.read.header = Some(boolean(value)?),
            "headerCase" | "caseSensitiveHeader" => self.read.header_case = Some(boolean(value)?),
            "skipBlankRows" => self.read.skip_blank_rows = Some(boolean(value)?),
            "nullSequence" => self.read.null_sequence = Some(string(value)?.to_owned()),
            "headerRows" => return refuse(rows(value)? != [1], "only the first row can hold the labels: [1]"),
            "commentRows" => return refuse(!rows(value)?.is_empty(), "comment rows are not supported; remove them from the file"),
            "headerJoin" | "$schema" => {
                string(value)?;
            }
            "csvddfVersion" => return refuse(!value.is_number() && !value.is_string(), "must be a number"),
            "lineTerminator" => {
                return refuse(
                    !matches!(string(value)?, "\r\n" | "\n" | "\r"),
                    "lines end with CRLF, LF or CR; any of them is read, and no other",
                );
            }
            "doubleQuote" => {
                return refuse(!boolean(value)?, "a quote inside a quoted cell is written twice; other ways are not supported");
            }
            "skipInitialSpace" => {
                return refuse(boolean(value)?, "space after a delimiter belongs to the cell; removing it is not supported");
            }
            "escapeChar" if !value.is_null() => {
                return refuse(true, "escape characters are not supported; quote the cells that need it instead");
            }
            "commentChar" if !value.is_null() => return refuse(true, "comment lines are not supported; export without them"),
            "property" | "itemType" | "itemKeys" | "sheetNumber" | "sheetName" | "table" if !value.is_null() => {
                return refuse(true, "this program reads delimited text, not JSON, spreadsheets or databases");
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

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'"' | b'\r' | b'\n' | 0] => Err("a quote or a line end cannot part cells".to_owned()),
        [byte] => Ok(*byte),
        [] => Err("must not be empty".to_owned()),
        _ => Err("only a delimiter of one ASCII character is supported".to_owned()),
    }
}

fn quote(text: &str) -> Result<Option<u8>, String> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte @ b'"'] => Ok(Some(*byte)),
        [_] => Err("only the quote `\"`, or an empty string for none, is supported".to_owned()),
        _ => Err("must be one character".to_owned()),
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
        assert_eq!((read.delimiter, read.header, read.quote), (Some(b';'), Some(false), Some(Some(b'"'))));
        assert_eq!(read.null_sequence.as_deref(), Some("\\N"));
        let v1 = r#"{"csvddfVersion": 1.2, "caseSensitiveHeader": false, "csv": {"delimiter": "\t"}}"#;
        let read = DialectDescriptor::parse(v1).unwrap();
        assert_eq!((read.delimiter, read.header_case), (Some(b'\t'), Some(false)));
    }

    #[test]
    fn every_unsupported_property_is_named_at_once() {
        let text = r##"{"delimiter": "||", "quoteChar": "'", "doubleQuote": false, "escapeChar": "\\", "commentChar": "#", "commentRows": [3],
            "skipInitialSpace": true, "headerRows": [1, 2], "headerJoin": 1, "header": "yes", "lineTerminator": "|", "sheetName": "a",
            "property": "rows", "nullSequence": 1}"##;
        let faults = DialectDescriptor::parse(text).unwrap_err();
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 14, "{paths:?}");
        assert!(faults.iter().all(|fault| fault.code == "dialect-error"));
    }
}
