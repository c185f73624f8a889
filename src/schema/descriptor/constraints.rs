//! A field's constraints and categories from its descriptor (contracts/table-schema.md section 4).

use serde_json::Value as Json;

use super::{Findings, Object};
use crate::schema::constraint::{Bound, Check, Choice};
use crate::schema::field::{Field, FieldType};
use crate::schema::kind::Reader;
use crate::schema::order;
use crate::schema::pattern::Pattern;
use crate::schema::value::Value;

/// All constraints of the standard, in the order in which broken ones are reported.
const NAMES: [&str; 11] = [
    "required",
    "unique",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "pattern",
    "enum",
    "jsonSchema",
];

fn supports(kind: FieldType, name: &str) -> bool {
    use FieldType::{Array, Boolean, Date, DateTime, Duration, GeoJson, Integer, List, Number, Object, String, Time, Year, YearMonth};
    match name {
        "unique" => kind != Boolean,
        "minLength" | "maxLength" => matches!(kind, String | Array | Object | GeoJson | List),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            matches!(kind, Integer | Number | Date | Time | DateTime | Year | YearMonth | Duration)
        }
        "pattern" => kind == String,
        "jsonSchema" => matches!(kind, Object | Array),
        _ => true,
    }
}

/// Reads `constraints` and `categories` into the field.
pub(super) fn read(object: &Object, field: &mut Field, path: &str, findings: &mut Findings) {
    let under = format!("{path}.constraints");
    let empty = Object::new();
    let constraints = match object.get("constraints") {
        None | Some(Json::Null) => &empty,
        Some(Json::Object(constraints)) => constraints,
        Some(_) => {
            findings.field(under, "must be an object");
            return;
        }
    };
    for name in constraints.keys().filter(|name| !NAMES.contains(&name.as_str())) {
        let near = NAMES.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint =
            near.filter(|near| strsim::jaro_winkler(near, name) > 0.8).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        findings.warn(&format!("{under}.{name}"), &format!("is no constraint of the standard and is not checked{hint}"));
    }
    for name in NAMES {
        let Some(json) = constraints.get(name).filter(|json| !json.is_null()) else { continue };
        let path = format!("{under}.{name}");
        if !supports(field.kind, name) {
            findings.field(path, format!("`{}` fields have no `{name}` constraint", field.kind));
        } else if let Err(message) = constraint(name, json, field) {
            findings.field(path, message);
        }
    }
    let faultless = contradictions(constraints, field, &under, findings);
    categories(object, constraints, field, path, faultless, findings);
}

fn constraint(name: &'static str, json: &Json, field: &mut Field) -> Result<(), String> {
    match name {
        "required" => field.required = flag(json)?,
        "unique" => field.unique = flag(json)?,
        "minLength" | "maxLength" => {
            let bound = json.as_u64().or_else(|| json.as_str().and_then(|text| text.parse().ok()));
            let bound = bound.ok_or("must be a whole number, zero or more")?;
            field.checks.push(Check::Length { name, least: name == "minLength", bound });
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            let value = value(json, field)?;
            let lower = name.to_ascii_lowercase().ends_with("minimum");
            let exclusive = name.starts_with("exclusive");
            field.checks.push(Check::Bound(Bound { name, value, written: written(json), lower, exclusive }));
        }
        "pattern" => {
            let text = json.as_str().ok_or("must be a string")?;
            field.checks.push(Check::Pattern(Pattern::parse(text)?));
        }
        "enum" => {
            let choice = choice(json, field)?;
            field.checks.push(Check::Enum(choice));
        }
        _ => json_schema(json, field)?,
    }
    Ok(())
}

#[cfg(feature = "json-schema")]
fn json_schema(json: &Json, field: &mut Field) -> Result<(), String> {
    if !json.is_object() {
        return Err("must be a JSON Schema object".to_owned());
    }
    let validator = jsonschema::validator_for(json).map_err(|error| format!("is no valid JSON Schema: {error}"))?;
    field.checks.push(Check::JsonSchema(Box::new(validator)));
    Ok(())
}

#[cfg(not(feature = "json-schema"))]
fn json_schema(_: &Json, _: &mut Field) -> Result<(), String> {
    Err("this build cannot check JSON Schemas: build it with the feature `json-schema`".to_owned())
}

fn flag(json: &Json) -> Result<bool, String> {
    json.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

fn written(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

/// A value of the field, written as a JSON primitive or as a cell would be.
fn value(json: &Json, field: &Field) -> Result<Value<'static>, String> {
    let refusal = |message: &str| format!("{} is no value of the field: it {message}", written(json));
    match (json, &field.reader) {
        (Json::Bool(flag), Reader::Boolean { .. }) => Ok(Value::Boolean(*flag)),
        (Json::Object(_), Reader::Object) | (Json::Array(_), Reader::Array) => Ok(Value::Json(Box::new(json.clone()))),
        (Json::Array(items), Reader::List { item, .. }) => {
            let items = items.iter().map(|one| item.read(&written(one)).map(Value::into_owned).map_err(|error| refusal(error.message())));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        (Json::Null, _) => Err("must not be null".to_owned()),
        // A JSON number has its own decimal point whatever the field's cells have.
        (Json::Number(number), Reader::Number(_)) => {
            let text = number.to_string();
            let read = Reader::Number(crate::schema::number::NumberForm::default()).read(&text).map(Value::into_owned);
            read.map_err(|error| refusal(error.message()))
        }
        _ => field.reader.read(&written(json)).map(Value::into_owned).map_err(|error| refusal(error.message())),
    }
}

fn choice(json: &Json, field: &Field) -> Result<Choice, String> {
    let list = json.as_array().filter(|list| !list.is_empty()).ok_or("must be an array of values, not empty")?;
    values(list.iter(), field).map(|(values, written)| Choice::new(values, written))
}

fn values<'a>(list: impl Iterator<Item = &'a Json>, field: &Field) -> Result<(Vec<Value<'static>>, Vec<String>), String> {
    let (mut values, mut texts) = (Vec::new(), Vec::new());
    for json in list {
        let one = value(json, field)?;
        if values.iter().any(|earlier| order::equal(earlier, &one)) {
            return Err(format!("{} occurs twice", written(json)));
        }
        values.push(one);
        texts.push(written(json));
    }
    Ok((values, texts))
}

/// Bounds that no value satisfies. True when the constraints had no fault.
fn contradictions(constraints: &Object, field: &Field, under: &str, findings: &mut Findings) -> bool {
    if findings.faults.iter().any(|fault| fault.path.starts_with(under)) {
        return false;
    }
    for (least, most) in [("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")] {
        let (Some(low), Some(high)) = (constraints.get(least), constraints.get(most)) else { continue };
        if let (Ok(low), Ok(high)) = (value(low, field), value(high, field))
            && order::compare(&low, &high).is_some_and(std::cmp::Ordering::is_gt)
        {
            findings.field(format!("{under}.{least}"), format!("is more than {most}: no value satisfies both"));
        }
    }
    if let (Some(low), Some(high)) =
        (constraints.get("minLength").and_then(Json::as_u64), constraints.get("maxLength").and_then(Json::as_u64))
        && low > high
    {
        findings.field(format!("{under}.minLength"), "is more than maxLength: no value satisfies both");
    }
    true
}

fn categories(object: &Object, constraints: &Object, field: &mut Field, path: &str, faultless: bool, findings: &mut Findings) {
    let Some(json) = object.get("categories").filter(|json| !json.is_null()) else { return };
    let under = format!("{path}.categories");
    if !matches!(field.kind, FieldType::String | FieldType::Integer) {
        findings.field(under, format!("`{}` fields have no categories", field.kind));
        return;
    }
    findings.flag(object, "categoriesOrdered", path);
    let Some(list) = json.as_array().filter(|list| !list.is_empty()) else {
        findings.field(under, "must be an array, not empty");
        return;
    };
    let mut labels: Vec<&Json> = Vec::new();
    for (place, label) in list.iter().enumerate().filter_map(|(place, entry)| entry.get("label").map(|label| (place, label))) {
        if !label.is_string() || labels.contains(&label) {
            findings.field(format!("{under}[{place}].label"), "must be a string that no other category has");
        }
        labels.push(label);
    }
    let entries = list.iter().map(|entry| if entry.is_object() { &entry["value"] } else { entry });
    let (categories, texts) = match values(entries, field) {
        Ok(read) => read,
        Err(message) => {
            findings.field(under, message);
            return;
        }
    };
    let choice = Choice::new(categories, texts);
    if faultless && let Some(Json::Array(list)) = constraints.get("enum") {
        for json in list {
            if value(json, field).is_ok_and(|value| !choice.has(&value)) {
                findings.field(format!("{path}.constraints.enum"), format!("{} is not among the categories", written(json)));
            }
        }
    }
    field.checks.push(Check::Categories(choice));
}
