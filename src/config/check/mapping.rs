//! What a feed says of its columns: the schema, the pass, the operation, the mapped fields.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Check, Key, field_fault, needed_to_create, schema_fields};
use crate::config::meant::{FieldMapping, OperationChoice, PassColumn, Platform, PlatformKind};
use crate::config::value::{choices, instead, quoted};
use crate::config::written::{self, TextOr};
use crate::mapping::template_columns;
use crate::row::Verb;
use crate::schema::read_descriptor;

/// Fields a feed may map: the ledger counts them in a byte and keeps a bit of each.
const FIELDS_MAX: usize = 64;

/// A feed's columns; none when its schema could not be read, and then no column is called unknown.
pub(super) type Columns = Option<Vec<String>>;

impl Check<'_> {
    /// The schema's path and text, and its columns when it is one.
    pub(super) fn schema(&mut self, key: &Key, feed: &written::Feed) -> Option<(PathBuf, String, Columns)> {
        let here = key.child("schema");
        let written =
            self.required(&here, feed.schema.as_ref(), "schema = \"PATH\", a Table Schema (passferry guess FILE proposes one)")?;
        let path = self.path(&here, &written);
        let text = read_descriptor(&path).map_err(|error| format!("{} cannot be read: {error}", quoted(&path.display().to_string())));
        let text = self.good(&here, text)?;
        let columns = schema_fields(&text).map_err(|faults| {
            for fault in faults {
                self.fault(&here, format!("{} {fault}", quoted(&written)));
            }
        });
        Some((path, text, columns.ok()))
    }

    pub(super) fn column(&mut self, key: &Key, name: &str, columns: &Columns) {
        let Some(columns) = columns else { return };
        if !columns.iter().any(|column| column == name) {
            let known: Vec<&str> = columns.iter().map(String::as_str).collect();
            self.fault(key, format!("the schema has no column {}; {}", quoted(name), instead(name, &known)));
        }
    }

    pub(super) fn pass(&mut self, key: &Key, feed: &written::Feed, columns: &Columns) -> Option<PassColumn> {
        let here = key.child("pass");
        let pass = self.required(&here, feed.pass.as_ref(), "pass = { external_id = \"COLUMN\" }")?;
        let pass = match (&pass.external_id, &pass.pass_id) {
            (Some(column), None) => PassColumn::ExternalId(column.clone()),
            (None, Some(column)) => PassColumn::PassId(column.clone()),
            _ if self.document.pruned_within(&here) => return None,
            _ => {
                self.fault(&here, "needs exactly one column; write { external_id = \"COLUMN\" } or { pass_id = \"COLUMN\" }".into());
                return None;
            }
        };
        let name = if matches!(pass, PassColumn::ExternalId(_)) { "external_id" } else { "pass_id" };
        self.column(&here.child(name), pass.column(), columns);
        Some(pass)
    }

    pub(super) fn operation(&mut self, key: &Key, feed: &written::Feed, columns: &Columns) -> Option<OperationChoice> {
        let here = key.child("operation");
        let table = match &feed.operation {
            None => return Some(OperationChoice::Always(Verb::Update)),
            Some(TextOr::Text(word)) => return self.good(&here, verb(word)).map(OperationChoice::Always),
            Some(TextOr::Table(table)) => table,
        };
        let column = self.required(&here.child("column"), table.column.as_ref(), "operation = { column = \"COLUMN\" }");
        if let Some(column) = &column {
            self.column(&here.child("column"), column, columns);
        }
        let mut words = BTreeMap::new();
        for (word, operation) in &table.words {
            let operation = self.good(&here.child("words").child(word), verb(operation));
            words.extend(operation.map(|verb| (word.clone(), verb)));
        }
        Some(OperationChoice::Column { column: column?, words })
    }

    pub(super) fn fields(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        columns: &Columns,
        platform: Option<&Platform>,
    ) -> Vec<(String, FieldMapping)> {
        let here = key.child("fields");
        let mut entries: Vec<(&String, &String)> = feed.fields.iter().collect();
        entries.sort_by_key(|(name, _)| self.document.offset(&here.child(name)));
        if entries.len() > FIELDS_MAX {
            self.fault(&here, format!("maps {} pass fields; write at most {FIELDS_MAX}", entries.len()));
        }
        let ends = |word: &str| matches!(word, "expire" | "void" | "redeem" | "validate");
        let does_something = matches!(&feed.operation, Some(TextOr::Text(word)) if ends(word)) || feed.notify.is_some();
        if entries.is_empty() && !does_something && !self.document.pruned_within(&here) {
            self.fault(&here, "maps nothing, so no file would change a pass; write \"PASS FIELD\" = \"COLUMN\"".into());
        }
        let mut fields = Vec::new();
        for (name, text) in entries {
            let here = here.child(name);
            if let Some(message) = platform.and_then(|platform| field_fault(&platform.kind, name)) {
                self.fault(&here, message);
            }
            fields.push((name.clone(), self.source_of(&here, text, columns)));
        }
        fields
    }

    /// A column, or a template over columns.
    pub(super) fn source_of(&mut self, key: &Key, text: &str, columns: &Columns) -> FieldMapping {
        if text.contains("{{") || text.contains("{%") {
            self.template(key, text, columns);
            FieldMapping::Template(text.to_owned())
        } else {
            self.column(key, text, columns);
            FieldMapping::Column(text.to_owned())
        }
    }

    /// A feed that may issue passes must give what the platform asks of a new one.
    pub(super) fn creates(&mut self, key: &Key, choice: &OperationChoice, fields: &[(String, FieldMapping)], platform: &Platform) {
        let upserts = match choice {
            OperationChoice::Always(verb) => *verb == Verb::Upsert,
            OperationChoice::Column { words, .. } => words.values().any(|verb| *verb == Verb::Upsert),
        };
        if !upserts {
            return;
        }
        for needed in needed_to_create(&platform.kind) {
            if !fields.iter().any(|(name, _)| *name == needed) {
                // What PassKit needs may be the account's instead of the row's.
                let setting = match (&platform.kind, needed.as_str()) {
                    (PlatformKind::Passkit(_), "tierId") => Some("tier"),
                    (PlatformKind::Passkit(_), "offerId") => Some("offer"),
                    (PlatformKind::Passkit(_), "eventId") => Some("event"),
                    (PlatformKind::Passkit(_), "ticketTypeId") => Some("ticket_type"),
                    _ => None,
                };
                let or =
                    setting.map(|setting| format!(", or write {setting} = \"ID\" in [platform.{}]", platform.name)).unwrap_or_default();
                let message = format!("issues passes, which need a {needed}; map it in fields{or}");
                self.fault(&key.child("operation"), message);
            }
        }
    }

    /// A template may name columns alone.
    fn template(&mut self, key: &Key, text: &str, columns: &Columns) {
        let names = template_columns(text);
        let Some(names) = self.good(key, names) else { return };
        for name in names {
            self.column(key, &name, columns);
        }
    }
}

fn verb(word: &str) -> Result<Verb, String> {
    let known = Verb::ALL.map(Verb::as_str);
    Verb::parse(word).ok_or_else(|| format!("{} is not an operation; write {}", quoted(word), choices(&known)))
}
