//! Frictionless Table Schema: what each column of a file means, and which rows break it.
//!
//! A [`Schema`] is read once from its descriptor; whatever is wrong with the descriptor is found then, all of it at once. It matches a
//! file's labels to its fields ([`Schema::columns`]) and turns each record into values and problems ([`Schema::read`]).
//! Versions 1 and 2 of the standard are read, as contracts/table-schema.md restates them; where the standard's own validator forgives
//! what would put a wrong value on a pass (section 12 there), this module does not.

mod constraint;
mod damage;
mod descriptor;
mod dialect;
mod duration;
mod field;
mod geo;
mod habit;
mod header;
mod kind;
mod number;
mod order;
mod pattern;
mod read;
mod strptime;
mod temporal;
mod text;
pub mod value;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod vectors;

use std::collections::HashMap;

pub use damage::looks_like_spreadsheet_damage;
pub use dialect::DialectDescriptor;
pub(crate) use field::Missing;
pub use field::{Empty, Field, FieldType};
pub use header::{Columns, FieldsMatch, HeaderFault};
pub use temporal::{date_formats, datetime_formats, strict_date, strict_datetime, time_formats};

/// A descriptor is written by people: more than this is another file under its name.
const DESCRIPTOR_BYTES_MAX: u64 = 8 << 20;

/// Reads a descriptor's text. Neither a device nor a pipe is waited for, and no file is read beyond what a descriptor can be.
pub fn read_descriptor(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    if metadata.len() <= DESCRIPTOR_BYTES_MAX {
        file.take(DESCRIPTOR_BYTES_MAX + 1).read_to_string(&mut text)?;
    }
    if metadata.len().max(text.len() as u64) > DESCRIPTOR_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB, which no schema is", DESCRIPTOR_BYTES_MAX >> 20),
        ));
    }
    Ok(text)
}

/// Something wrong with a descriptor. Nothing is read by a faulty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFault {
    /// `schema-error`, `field-error` or `dialect-error`, as Frictionless names them.
    pub code: &'static str,
    /// The place in the descriptor, such as `fields[2].constraints.minimum`; empty for the whole.
    pub path: String,
    pub message: String,
}

impl std::fmt::Display for SchemaFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { write!(out, "{}", self.message) } else { write!(out, "{}: {}", self.path, self.message) }
    }
}

/// Fields whose values, taken together, may occur only once in a file. Whether they do is for whoever sees all records to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Indexes of the fields, in the order the descriptor names them.
    pub fields: Vec<usize>,
    pub kind: KeyKind,
}

/// Where a key comes from, which decides what a missing part means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// `primaryKey`: a missing part is a problem of its row, found by [`Schema::read`].
    Primary,
    /// A field's `unique` constraint: missing values are exempt.
    Unique,
    /// An entry of `uniqueKeys`: a tuple with a missing part is exempt.
    UniqueKey,
}

/// What a file's columns mean.
#[derive(Debug)]
pub struct Schema {
    pub(crate) title: Option<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) keys: Vec<Key>,
    pub(crate) fields_match: FieldsMatch,
    /// Are labels compared letter for letter? `x-passferry.headerCase`, true unless said otherwise.
    pub(crate) header_case: bool,
    pub(crate) dialect: Option<DialectDescriptor>,
    pub(crate) warnings: Vec<String>,
    /// Names and aliases, as [`header::comparable`] leaves them, with the field each means.
    pub(crate) by_label: HashMap<String, usize>,
}

impl Schema {
    /// Reads a descriptor: a Table Schema, or a resource or package of one resource that holds one. Finds all faults at once.
    pub fn parse(text: &str) -> Result<Schema, Vec<SchemaFault>> {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(descriptor) => Schema::from_json(&descriptor),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let message = format!("line {line}, column {column}: this is not JSON: {error}");
                Err(vec![SchemaFault { code: "schema-error", path: String::new(), message }])
            }
        }
    }

    /// As [`Schema::parse`], from a descriptor that was written in another notation.
    pub fn from_json(descriptor: &serde_json::Value) -> Result<Schema, Vec<SchemaFault>> {
        descriptor::schema(descriptor)
    }

    /// The descriptor's own name for what it describes.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field that a name or an `x-passferry` alias means.
    pub fn field_index(&self, name: &str) -> Option<usize> {
        self.by_label.get(&header::comparable(name, self.header_case)).copied()
    }

    /// The primary key, fields declared unique, and the unique keys, in this order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn fields_match(&self) -> FieldsMatch {
        self.fields_match
    }

    /// The dialect that came with the schema: in the resource that holds both, or under the schema's own `x-passferry.dialect`.
    pub fn dialect(&self) -> Option<&DialectDescriptor> {
        self.dialect.as_ref()
    }

    /// Gives the schema the dialect that its files are written in: the dialect's null sequence becomes a missing value of every field, and
    /// its rule for the case of labels takes the place of the schema's.
    pub fn set_dialect(&mut self, dialect: DialectDescriptor) {
        if let Some(null) = &dialect.null_sequence {
            for field in &mut self.fields {
                field.missing.add(null);
            }
        }
        if let Some(case) = dialect.header_case {
            self.header_case = case;
            self.by_label.clear();
            for (index, field) in self.fields.iter().enumerate() {
                for label in std::iter::once(&field.name).chain(&field.aliases) {
                    self.by_label.entry(header::comparable(label, case)).or_insert(index);
                }
            }
        }
        self.dialect = Some(dialect);
    }

    /// What is legal in the descriptor and yet likely not meant, or not checked by this program.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
