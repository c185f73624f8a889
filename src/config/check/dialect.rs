//! How a feed's files are written: what the feed says, then its descriptor, then the schema's own dialect.

use serde_json::Value as Json;

use super::{Check, Key};
use crate::config::meant::{DialectChoice, Escape};
use crate::config::value::{choices, quoted};
use crate::config::written;
use crate::dialect::{self, Charset, Footer};
use crate::schema::{DialectDescriptor, Schema, read_descriptor};

impl Check<'_> {
    /// `schema` is the text of the feed's schema, which takes on what a descriptor says of cells and labels.
    pub(super) fn dialect(&mut self, key: &Key, feed: &written::Feed, schema: Option<&mut String>) -> DialectChoice {
        let here = key.child("dialect");
        let none = written::Dialect::default();
        let written = feed.dialect.as_ref().map_or(&none, |dialect| &dialect.0);
        let base = match (&written.descriptor, schema) {
            (Some(path), schema) => self.descriptor(&here.child("descriptor"), path, schema),
            (None, Some(schema)) => Schema::parse(schema).ok().and_then(|schema| schema.dialect().map(DialectChoice::of)),
            (None, None) => None,
        };
        let mut choice = base.unwrap_or_default();
        if let Some(text) = &written.delimiter {
            let delimiter = dialect::delimiter(text).map_err(|fault| format!("{} {fault}", quoted(text)));
            choice.delimiter = self.good(&here.child("delimiter"), delimiter).flatten();
        }
        if let Some(text) = &written.quote {
            choice.quote = match text.as_str() {
                "none" | "" => None,
                text => self.good(&here.child("quote"), sign(text, "none")),
            };
        }
        if let Some(text) = &written.escape {
            choice.escape = match text.as_str() {
                "auto" => Escape::Detected,
                "doubled" => Escape::Doubled,
                text => self.good(&here.child("escape"), sign(text, "doubled")).map_or(Escape::Detected, Escape::By),
            };
        }
        choice.header = written.header.unwrap_or(choice.header);
        choice.skip_space = written.skip_initial_space.unwrap_or(choice.skip_space);
        choice.preamble = written.preamble.map_or(choice.preamble, u64::from);
        if let Some(comment) = &written.comment {
            if comment.is_empty() || comment.bytes().any(dialect::is_forbidden) {
                self.fault(&here.child("comment"), "is empty or a line end; write such as \"#\", or remove it".into());
            } else {
                choice.comment = Some(comment.clone());
            }
        }
        if let Some(footer) = &written.footer {
            let footer = Footer::parse(footer).map_err(|fault| format!("{} {fault}", quoted(footer)));
            choice.footer = self.good(&here.child("footer"), footer);
        }
        if let Some(label) = written.encoding.as_ref().filter(|label| *label != "auto") {
            let charset = Charset::parse(label).map_err(|fault| format!("{} {fault}", quoted(label)));
            choice.charset = self.good(&here.child("encoding"), charset);
        }
        if let Some(member) = &written.member {
            match globset::Glob::new(member) {
                Ok(_) if !member.is_empty() => choice.member = Some(member.clone()),
                _ => self.fault(&here.child("member"), format!("{} is not a pattern; write such as \"loyalty_*.csv\"", quoted(member))),
            }
        }
        if let Some(sheet) = &written.sheet {
            if sheet.is_empty() {
                self.fault(&here.child("sheet"), "is empty; write a sheet's name, or its number such as \"1\"".into());
            } else {
                choice.sheet = Some(sheet.clone());
            }
        }
        if let Some(lines) = written.blank_lines {
            choice.blank_lines_strict = lines == written::BlankLines::Reject;
        }
        if let Some(fault) = choice.form().fault() {
            self.fault(&here, format!("cannot be: {fault}"));
        }
        choice
    }

    fn descriptor(&mut self, key: &Key, written: &str, schema: Option<&mut String>) -> Option<DialectChoice> {
        let path = self.path(key, written);
        let text = read_descriptor(&path).map_err(|error| format!("{} cannot be read: {error}", quoted(&path.display().to_string())));
        let text = self.good(key, text)?;
        let descriptor = match DialectDescriptor::parse(&text) {
            Ok(descriptor) => descriptor,
            Err(faults) => {
                for fault in faults {
                    self.fault(key, format!("{} {fault}", quoted(written)));
                }
                return None;
            }
        };
        if let Some(schema) = schema {
            *schema = with_dialect(schema, &text).unwrap_or_else(|| schema.clone());
        }
        Some(DialectChoice::of(&descriptor))
    }
}

/// The schema's text with this dialect in it. None where it has one, or is not understood, which is told elsewhere.
fn with_dialect(schema: &str, dialect: &str) -> Option<String> {
    let (mut schema, dialect): (Json, Json) = (serde_json::from_str(schema).ok()?, serde_json::from_str(dialect).ok()?);
    let mut object = &mut schema;
    if object.get("resources").is_some() {
        object = object.get_mut("resources")?.get_mut(0)?;
    }
    let object = object.as_object_mut()?;
    let place = if object.contains_key("fields") {
        object.entry("x-passferry").or_insert_with(|| Json::Object(serde_json::Map::new())).as_object_mut()?
    } else {
        object
    };
    if place.contains_key("dialect") {
        return None;
    }
    place.insert("dialect".to_owned(), dialect);
    Some(schema.to_string())
}

/// One ASCII sign.
fn sign(text: &str, otherwise: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !dialect::is_forbidden(*byte) && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err(format!("{} is not one ASCII sign; write such as \"'\", or {}", quoted(text), choices(&[otherwise]))),
    }
}
