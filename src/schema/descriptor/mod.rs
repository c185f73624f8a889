//! A schema from its descriptor. All faults are found in one reading.

mod constraints;
mod field;

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::dialect::DialectDescriptor;
use super::field::{Field, Missing};
use super::header::{FieldsMatch, comparable};
use super::{Key, KeyKind, Schema, SchemaFault};

type Object = Map<String, Json>;

/// What was found while a descriptor was read.
#[derive(Default)]
struct Findings {
    faults: Vec<SchemaFault>,
    warnings: Vec<String>,
}

impl Findings {
    fn schema(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(SchemaFault { code: "schema-error", path: path.into(), message: message.into() });
    }

    fn field(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(SchemaFault { code: "field-error", path: path.into(), message: message.into() });
    }

    fn warn(&mut self, path: &str, message: &str) {
        self.warnings.push(format!("{path}: {message}"));
    }

    fn text(&mut self, object: &Object, name: &str, path: &str) -> Option<String> {
        match object.get(name)? {
            Json::String(text) => Some(text.clone()),
            Json::Null => None,
            _ => {
                self.field(format!("{path}.{name}"), "must be a string");
                None
            }
        }
    }

    fn flag(&mut self, object: &Object, name: &str, path: &str) -> Option<bool> {
        match object.get(name)? {
            Json::Bool(flag) => Some(*flag),
            Json::Null => None,
            _ => {
                self.field(format!("{path}.{name}"), "must be true or false");
                None
            }
        }
    }
}

/// The edition of the standard that a descriptor follows, by its `$schema`; without one it is the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edition {
    V1,
    V2,
}

impl Edition {
    fn of(object: &Object) -> Option<Edition> {
        let url = object.get("$schema")?.as_str()?;
        Some(if url.contains("/2.") { Edition::V2 } else { Edition::V1 })
    }
}

pub(super) fn schema(descriptor: &Json) -> Result<Schema, Vec<SchemaFault>> {
    let mut findings = Findings::default();
    let Some(located) = locate(descriptor, &mut findings) else { return Err(findings.faults) };
    let read = located.read(&mut findings);
    if findings.faults.is_empty() { Ok(read) } else { Err(findings.faults) }
}

/// A schema's own object, wherever the descriptor keeps it.
struct Located<'a> {
    object: &'a Object,
    edition: Edition,
    dialect: Option<&'a Json>,
}

/// A schema stands alone, in a resource, or in a package of one resource.
fn locate<'a>(descriptor: &'a Json, findings: &mut Findings) -> Option<Located<'a>> {
    let Json::Object(object) = descriptor else {
        findings.schema("", "a schema is a JSON object");
        return None;
    };
    let edition = Edition::of(object);
    if object.contains_key("fields") {
        let dialect = object.get("x-passferry").and_then(|own| own.get("dialect"));
        return Some(Located { object, edition: edition.unwrap_or(Edition::V1), dialect });
    }
    if let Some(Json::Array(resources)) = object.get("resources") {
        let [resource] = resources.as_slice() else {
            findings.schema("resources", format!("has {} resources; name the schema of one", resources.len()));
            return None;
        };
        let mut located = locate(resource, findings)?;
        if Edition::of(located.object).is_none() && edition == Some(Edition::V2) {
            located.edition = Edition::V2;
        }
        return Some(located);
    }
    match object.get("schema") {
        Some(Json::Object(inner)) => {
            let edition = Edition::of(inner).or(edition).unwrap_or(Edition::V1);
            Some(Located { object: inner, edition, dialect: object.get("dialect") })
        }
        Some(Json::String(_)) => {
            findings.schema("schema", "names another file; give that file instead");
            None
        }
        _ => {
            findings.schema("fields", "is missing: a schema lists its fields");
            None
        }
    }
}

impl Located<'_> {
    fn read(&self, findings: &mut Findings) -> Schema {
        let dialect = self.dialect.filter(|dialect| !dialect.is_null()).and_then(|json| match DialectDescriptor::from_json(json) {
            Ok(dialect) => Some(dialect),
            Err(faults) => {
                findings.faults.extend(faults);
                None
            }
        });
        let missing = match self.object.get("missingValues") {
            Some(json) => missing_values(json, "missingValues", findings),
            None => Missing::default(),
        };
        let (fields, indexes) = self.fields(&missing, findings);
        let mut schema = Schema {
            title: self.object.get("title").or_else(|| self.object.get("name")).and_then(Json::as_str).map(str::to_owned),
            keys: Vec::new(),
            fields_match: fields_match(self.object.get("fieldsMatch"), findings),
            header_case: header_case(self.object.get("x-passferry"), findings),
            dialect: None,
            warnings: Vec::new(),
            by_label: HashMap::new(),
            fields,
        };
        self.keys(&mut schema, &indexes, findings);
        self.foreign_keys(&schema, findings);
        name_labels(&mut schema, self.edition, &indexes, findings);
        if let Some(dialect) = dialect {
            schema.set_dialect(dialect);
        }
        schema.warnings = std::mem::take(&mut findings.warnings);
        schema
    }

    /// The fields, and the place of each in the descriptor, which differs where a faulty field was left out.
    fn fields(&self, missing: &Missing, findings: &mut Findings) -> (Vec<Field>, Vec<usize>) {
        let Some(Json::Array(list)) = self.object.get("fields") else {
            findings.schema("fields", "must be an array of fields");
            return (Vec::new(), Vec::new());
        };
        if list.is_empty() {
            findings.schema("fields", "a schema has at least one field");
        }
        let read = |(index, json): (usize, &Json)| Some((field::read(json, index, self.edition, missing, findings)?, index));
        list.iter().enumerate().filter_map(read).unzip()
    }

    fn keys(&self, schema: &mut Schema, indexes: &[usize], findings: &mut Findings) {
        let complete = self.object.get("fields").and_then(Json::as_array).is_some_and(|list| list.len() == indexes.len());
        if let Some(json) = self.object.get("primaryKey").filter(|json| !json.is_null()) {
            let fields = self.names(json, "primaryKey", &schema.fields, complete, findings);
            for &index in &fields {
                schema.fields[index].in_primary_key = true;
            }
            if !fields.is_empty() {
                schema.keys.push(Key { fields, kind: KeyKind::Primary });
            }
        }
        let unique = schema.fields.iter().enumerate().filter(|(_, field)| field.unique);
        let unique: Vec<Key> = unique.map(|(index, _)| Key { fields: vec![index], kind: KeyKind::Unique }).collect();
        schema.keys.extend(unique);
        match self.object.get("uniqueKeys") {
            None | Some(Json::Null) => {}
            Some(Json::Array(keys)) if !keys.is_empty() => {
                for (place, json) in keys.iter().enumerate() {
                    let path = format!("uniqueKeys[{place}]");
                    if !json.is_array() {
                        findings.schema(path, "must be an array of field names");
                        continue;
                    }
                    let fields = self.names(json, &path, &schema.fields, complete, findings);
                    if !fields.is_empty() {
                        schema.keys.push(Key { fields, kind: KeyKind::UniqueKey });
                    }
                }
            }
            Some(_) => findings.schema("uniqueKeys", "must be an array, not empty, of arrays of field names"),
        }
    }

    /// The fields that a key names: an array, or one string as the first edition allows.
    fn names(&self, json: &Json, path: &str, fields: &[Field], complete: bool, findings: &mut Findings) -> Vec<usize> {
        let single = [json.clone()];
        let list = match json {
            Json::Array(list) if !list.is_empty() => list.as_slice(),
            Json::String(_) => &single,
            _ => {
                findings.schema(path, "must be an array of field names, not empty");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (place, name) in list.iter().enumerate() {
            let path = if json.is_array() { format!("{path}[{place}]") } else { path.to_owned() };
            let Some(name) = name.as_str() else {
                findings.schema(path, "must be the name of a field");
                continue;
            };
            match fields.iter().position(|field| field.name == name) {
                Some(index) if found.contains(&index) => findings.schema(path, format!("names `{name}` a second time")),
                Some(index) => found.push(index),
                // A field left out for its own fault would be reported a second time here.
                None if !complete && self.is_listed(name) => {}
                None => findings.schema(path, unknown_field(name, fields)),
            }
        }
        found
    }

    fn is_listed(&self, name: &str) -> bool {
        let fields = self.object.get("fields").and_then(Json::as_array);
        fields.is_some_and(|list| list.iter().any(|field| field["name"] == name))
    }

    fn foreign_keys(&self, schema: &Schema, findings: &mut Findings) {
        let keys = match self.object.get("foreignKeys") {
            None | Some(Json::Null) => return,
            Some(Json::Array(keys)) => keys,
            Some(_) => return findings.schema("foreignKeys", "must be an array"),
        };
        for (place, key) in keys.iter().enumerate() {
            let path = format!("foreignKeys[{place}]");
            let Some(reference) = key.get("reference").filter(|reference| reference.is_object()) else {
                findings.schema(format!("{path}.reference"), "is missing: an object with the fields referred to");
                continue;
            };
            let before = findings.faults.len();
            let own = self.names(&key["fields"], &format!("{path}.fields"), &schema.fields, true, findings).len();
            let resource = reference.get("resource").and_then(Json::as_str).unwrap_or_default();
            let theirs = if resource.is_empty() {
                self.names(&reference["fields"], &format!("{path}.reference.fields"), &schema.fields, true, findings).len()
            } else {
                match &reference["fields"] {
                    Json::Array(list) => list.len(),
                    Json::String(_) => 1,
                    _ => 0,
                }
            };
            if findings.faults.len() == before && own != theirs {
                findings.schema(&path, format!("refers from {own} fields to {theirs}"));
            }
            findings.warn(&path, "foreign keys are not checked");
        }
    }
}

fn unknown_field(name: &str, fields: &[Field]) -> String {
    let near = fields.iter().map(|field| (strsim::jaro_winkler(&field.name, name), &field.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((score, near)) if score > 0.8 => format!("there is no field `{name}`; did you mean `{near}`?"),
        _ => format!("there is no field `{name}`"),
    }
}

/// A string, or an array of one as the published profile of version 2 wants it.
fn fields_match(json: Option<&Json>, findings: &mut Findings) -> FieldsMatch {
    let text = match json {
        None | Some(Json::Null) => return FieldsMatch::default(),
        Some(Json::String(text)) => Some(text.as_str()),
        Some(Json::Array(list)) if list.len() == 1 => list[0].as_str(),
        Some(_) => None,
    };
    let found = text.and_then(|text| FieldsMatch::ALL.into_iter().find(|one| one.as_str() == text));
    found.unwrap_or_else(|| {
        findings.schema("fieldsMatch", "must be exact, equal, subset, superset or partial");
        FieldsMatch::default()
    })
}

fn header_case(json: Option<&Json>, findings: &mut Findings) -> bool {
    let Some(json) = json else { return true };
    let Json::Object(own) = json else {
        findings.schema("x-passferry", "must be an object");
        return true;
    };
    for name in own.keys().filter(|name| !matches!(name.as_str(), "headerCase" | "dialect")) {
        findings.schema(format!("x-passferry.{name}"), "is unknown; a schema has headerCase and dialect here");
    }
    match own.get("headerCase") {
        None => true,
        Some(Json::Bool(case)) => *case,
        Some(_) => {
            findings.schema("x-passferry.headerCase", "must be true or false");
            true
        }
    }
}

/// Texts, or objects with a text and perhaps a label; both unique.
fn missing_values(json: &Json, path: &str, findings: &mut Findings) -> Missing {
    let Json::Array(list) = json else {
        findings.schema(path, "must be an array");
        return Missing::default();
    };
    let (mut texts, mut labels): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for (place, entry) in list.iter().enumerate() {
        let path = format!("{path}[{place}]");
        let text = match entry {
            Json::String(text) => Some(text),
            Json::Object(object) => {
                if let Some(label) = object.get("label").and_then(Json::as_str) {
                    if labels.contains(&label) {
                        findings.schema(format!("{path}.label"), "occurs twice");
                    }
                    labels.push(label);
                }
                object.get("value").and_then(|value| if let Json::String(text) = value { Some(text) } else { None })
            }
            _ => None,
        };
        match text {
            Some(text) if texts.contains(text) => findings.schema(path, "occurs twice"),
            Some(text) => texts.push(text.clone()),
            None => findings.schema(path, "must be a string, or an object with a string under `value`"),
        }
    }
    if texts == [""] { Missing::Blank } else { Missing::These(texts) }
}

/// Fills the table of labels. Names must differ from version 2 on; an alias must lead to one field alone in any version.
fn name_labels(schema: &mut Schema, edition: Edition, indexes: &[usize], findings: &mut Findings) {
    for (index, field) in schema.fields.iter().enumerate() {
        let name = comparable(&field.name, schema.header_case);
        match schema.by_label.get(&name) {
            None => {
                schema.by_label.insert(name, index);
            }
            Some(_) if edition == Edition::V1 && schema.fields_match == FieldsMatch::Exact => {}
            Some(&earlier) => {
                let message = format!("is the name of fields[{}] already", indexes[earlier]);
                findings.field(format!("fields[{}].name", indexes[index]), message);
            }
        }
    }
    for (index, field) in schema.fields.iter().enumerate() {
        for (place, alias) in field.aliases.iter().enumerate() {
            let earlier = *schema.by_label.entry(comparable(alias, schema.header_case)).or_insert(index);
            if earlier != index {
                let path = format!("fields[{}].x-passferry.aliases[{place}]", indexes[index]);
                findings.field(path, format!("means fields[{}] already", indexes[earlier]));
            }
        }
    }
}
