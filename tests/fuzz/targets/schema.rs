//! A Table Schema descriptor, and cells read by it.
//!
//! The descriptor stands before the first line of three hyphens; behind it a line of labels, then records, cells parted by tabs.

use std::borrow::Cow;

use passferry::outcome::{Code, Problem};
use passferry::schema::value::Value;
use passferry::schema::{Columns, Field, FieldType, Schema};
use serde_json::Value as Json;

use super::parts;

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = parts(text);
    let descriptor = parts.next().unwrap_or_default();
    let schema = match Schema::parse(descriptor) {
        Ok(schema) => schema,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            for fault in &faults {
                assert!(matches!(fault.code, "schema-error" | "field-error" | "dialect-error"), "{fault:?}");
                assert!(!fault.message.is_empty(), "{fault:?}");
            }
            same_in_any_form(descriptor, &Err(faults));
            return;
        }
    };
    check_schema(&schema);
    let schema = Ok(schema);
    same_in_any_form(descriptor, &schema);
    let Ok(schema) = schema else { return };
    let mut lines = parts.next().unwrap_or_default().split('\n');
    let labels: Vec<String> = lines.next().unwrap_or_default().split('\t').map(str::to_owned).collect();
    let by_labels = schema.columns(Some(&labels));
    if let Ok(columns) = &by_labels {
        check_columns(&schema, columns, labels.len());
    }
    let by_place = schema.columns(None).expect("without labels the columns are the fields");
    check_columns(&schema, &by_place, schema.fields().len());
    let columns = by_labels.unwrap_or(by_place);
    let records: Vec<Vec<Cow<'_, str>>> = lines.map(|line| line.split('\t').map(Cow::Borrowed).collect()).collect();
    read(&schema, &columns, &records, descriptor);
}

/// What can be compared of a schema or its faults.
fn told(read: &Result<Schema, Vec<passferry::schema::SchemaFault>>) -> String {
    match read {
        Ok(schema) => {
            format!(
                "{:?} {:?} {:?} {:?} {:?} {}",
                schema.title(),
                schema.fields(),
                schema.keys(),
                schema.fields_match(),
                schema.dialect(),
                schema.warnings().len()
            )
        }
        Err(faults) => format!("{faults:?}"),
    }
}

/// Spaces, line breaks and the order of keys mean nothing.
fn same_in_any_form(text: &str, first: &Result<Schema, Vec<passferry::schema::SchemaFault>>) {
    let Ok(mut json) = serde_json::from_str::<Json>(text) else { return };
    let pretty = serde_json::to_string_pretty(&json).expect("what was read can be written");
    assert_eq!(told(first), told(&Schema::parse(&pretty)), "written again");
    reverse(&mut json);
    let reversed = Schema::from_json(&json);
    assert_eq!(first.is_ok(), reversed.is_ok(), "the order of keys decides");
    if first.is_ok() {
        assert_eq!(told(first), told(&reversed), "the order of keys decides");
    }
}

fn reverse(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(reverse),
        // What a JSON Schema or a category means does not depend on order either, but what is shown of it does.
        Json::Object(object) => {
            let entries: Vec<(String, Json)> = std::mem::take(object).into_iter().collect();
            object.extend(entries.into_iter().rev().map(|(name, mut value)| {
                if !matches!(name.as_str(), "jsonSchema" | "enum") {
                    reverse(&mut value);
                }
                (name, value)
            }));
        }
        _ => {}
    }
}

fn check_schema(schema: &Schema) {
    let fields = schema.fields();
    assert!(!fields.is_empty(), "a schema has a field");
    for key in schema.keys() {
        assert!(!key.fields.is_empty() && key.fields.iter().all(|&index| index < fields.len()), "{key:?}");
    }
    for (index, field) in fields.iter().enumerate() {
        for name in field.aliases.iter().chain([&field.name]) {
            let found = schema.field_index(name).expect("every name leads to a field");
            assert!(found <= index, "a name leads to its field, or to an earlier one of the same name");
        }
    }
}

fn check_columns(schema: &Schema, columns: &Columns, width: usize) {
    assert_eq!((columns.column_of_field.len(), columns.field_of_column.len()), (schema.fields().len(), width));
    for (field, column) in columns.column_of_field.iter().enumerate() {
        assert!(column.is_none_or(|column| columns.field_of_column[column] == Some(field)), "the two tables disagree");
    }
    for (column, field) in columns.field_of_column.iter().enumerate() {
        assert!(field.is_none_or(|field| columns.column_of_field[field] == Some(column)), "the two tables disagree");
    }
}

fn read(schema: &Schema, columns: &Columns, records: &[Vec<Cow<'_, str>>], descriptor: &str) {
    let mut before: Vec<(String, Vec<Problem>)> = Vec::new();
    for cells in records {
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        schema.read(columns, cells, &[], &mut values, &mut problems);
        assert_eq!(values.len(), schema.fields().len(), "a value for each field");
        let widest = cells.len().max(columns.field_of_column.len());
        assert!(problems.iter().all(|problem| problem.column.is_none_or(|column| (column as usize) < widest)), "{problems:?}");
        let blank = problems.iter().any(|problem| problem.code == Code::BlankRow);
        assert!(!blank || problems.len() == 1, "a blank record has one problem: {problems:?}");
        for (index, field) in schema.fields().iter().enumerate() {
            let Some(column) = columns.column_of_field[index] else {
                assert_eq!(values[index], None, "nothing comes from a column that is not there");
                continue;
            };
            let Some(cell) = cells.get(column) else {
                assert_eq!(values[index], None);
                continue;
            };
            if !blank {
                check_cell(field, cell, values[index].as_ref(), &problems, column, descriptor);
            }
        }
        before.push((format!("{values:?}"), problems));
    }
    // The other way round, into used memory: a record knows nothing of its neighbours.
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    for (cells, (shown, found)) in records.iter().zip(&before).rev() {
        problems.clear();
        schema.read(columns, cells, &[], &mut values, &mut problems);
        assert_eq!((&format!("{values:?}"), &problems), (shown, found), "a neighbour changed what a record means");
    }
}

fn check_cell(field: &Field, cell: &str, value: Option<&Value<'_>>, problems: &[Problem], column: usize, descriptor: &str) {
    let own: Vec<&Problem> = problems.iter().filter(|problem| problem.column == Some(column as u32)).collect();
    match field.read(cell) {
        Ok(alone) => assert_eq!(alone.as_ref(), value, "a cell alone and in its record"),
        Err(alone) => {
            assert_eq!(value, None, "a faulty cell has a value");
            assert!(alone.iter().all(|problem| own.iter().any(|other| other.message == problem.message)), "{alone:?} {own:?}");
        }
    }
    if field.is_missing(cell) {
        assert_eq!(value, None, "a missing cell has a value");
    }
    for problem in own {
        let shown = [Some(&problem.message), problem.suggestion.as_ref()].into_iter().flatten();
        for text in shown {
            assert!(!reveals(text, cell, descriptor), "`{text}` repeats the cell `{cell}`, which may be personal");
        }
    }
    let Some(value) = value else { return };
    check_value(field, value);
}

/// Does the text hold what a cell alone can have told it? Short cells occur by chance, and what the descriptor holds is no secret.
fn reveals(text: &str, cell: &str, descriptor: &str) -> bool {
    let cell = cell.trim();
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    let of_ours = "P1Y2M3DT10H30M".contains(cell);
    cell.len() >= 9 && digits >= 4 && text.contains(cell) && !descriptor.contains(cell) && !of_ours
}

/// A value's own text, read again, is the value: what was sent can be compared with what comes next.
fn check_value(field: &Field, value: &Value<'_>) {
    let canonical = value.canonical();
    assert!(right_kind(field.kind, value), "{} holds {value:?}", field.kind);
    let plain = matches!(field.kind, FieldType::Integer | FieldType::Date | FieldType::Time | FieldType::Year | FieldType::YearMonth);
    if plain && field.format == "default" && !field.is_missing(&canonical) {
        match field.read(&canonical) {
            Ok(again) => assert_eq!(again.as_ref(), Some(value), "`{canonical}` is read as something else"),
            // The text has changed, and some constraints are of the text.
            Err(problems) => assert!(
                problems.iter().all(|problem| matches!(problem.code, Code::ConstraintError | Code::SpreadsheetDamage)),
                "`{canonical}` is refused: {problems:?}"
            ),
        }
    }
    let owned = value.clone().into_owned();
    assert_eq!(owned.canonical(), canonical);
}

fn right_kind(kind: FieldType, value: &Value<'_>) -> bool {
    matches!(
        (kind, value),
        (FieldType::String | FieldType::Any, Value::Text(_))
            | (FieldType::Integer, Value::Integer(_) | Value::Big(_))
            | (FieldType::Number, Value::Number(_) | Value::Integer(_) | Value::Big(_))
            | (FieldType::Boolean, Value::Boolean(_))
            | (FieldType::Object | FieldType::Array | FieldType::GeoJson, Value::Json(_))
            | (FieldType::List, Value::List(_))
            | (FieldType::DateTime, Value::DateTime(..))
            | (FieldType::Date, Value::Date(_))
            | (FieldType::Time, Value::Time(_))
            | (FieldType::Year, Value::Year(_))
            | (FieldType::YearMonth, Value::YearMonth(..))
            | (FieldType::Duration, Value::Duration(_))
            | (FieldType::GeoPoint, Value::Point(_))
    )
}
