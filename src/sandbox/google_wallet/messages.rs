//! What a body may hold (contract sections 4 and 5). The API's front end judges it before any object is looked at.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::sandbox::answer::Failure;

/// One message: its fields by name.
type Fields = HashMap<&'static str, Kind>;

#[derive(Clone)]
enum Kind {
    Text,
    Flag,
    Int32,
    /// Printed as a string, taken as either.
    Int64,
    Double,
    Enum(Vec<Named>),
    List(Box<Kind>),
    Message(&'static str),
}

/// A value of an enumeration, and whether its old spelling is taken too.
#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    alias: bool,
}

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&'static str, Fields> = HashMap::new();
    let mut message = "";
    for line in include_str!("messages.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            message = words.next().unwrap_or_default();
        }
        let fields = words.filter_map(|word| word.split_once(':')).map(|(name, kind)| (name, Kind::read(kind)));
        messages.entry(message).or_default().extend(fields);
    }
    messages
});

impl Kind {
    fn read(text: &'static str) -> Kind {
        let between = |open, close| text.strip_prefix(open)?.strip_suffix(close);
        if let Some(inner) = between('[', ']') {
            return Kind::List(Box::new(Kind::read(inner)));
        }
        if let Some(names) = between('(', ')') {
            let named = |name: &'static str| Named { name: name.trim_end_matches('~'), alias: name.ends_with('~') };
            return Kind::Enum(names.split('|').map(named).collect());
        }
        match text {
            "string" | "bytes" => Kind::Text,
            "bool" => Kind::Flag,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "double" => Kind::Double,
            message => Kind::Message(message),
        }
    }
}

/// Whether a message has a field of this name.
pub(super) fn has_field(message: &str, name: &str) -> bool {
    MESSAGES.get(message).is_some_and(|fields| fields.contains_key(name))
}

/// Checks a body and writes it as it will be kept: canonical names, enumerations in capitals, 64-bit numbers as texts. Nulls stay.
pub(super) fn read(body: Option<&Value>, message: &'static str) -> Result<Map<String, Value>, Failure> {
    match body {
        Some(Value::Object(object)) => message_of(object, message, ""),
        Some(_) => Err(invalid("Invalid JSON payload received. Root element must be a message.")),
        None => Err(invalid("Invalid JSON payload received. Unexpected token.\n\n^")),
    }
}

/// Shape B of contract section 10.
pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, message).because("invalid")
}

fn message_of(object: &Map<String, Value>, message: &'static str, path: &str) -> Result<Map<String, Value>, Failure> {
    let mut kept = Map::new();
    for (name, value) in object {
        // Both spellings of a name are taken (contract section 4.6).
        let name = if has_field(message, name) { name.clone() } else { camel(name) };
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(kind) = MESSAGES.get(message).and_then(|fields| fields.get(name.as_str())) else {
            // A copy of the class comes with every GET; whether it may come back is a knob of the callers.
            if path.is_empty() && name == "classReference" {
                kept.insert(name, value.clone());
                continue;
            }
            let at = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
            return Err(invalid(format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.")));
        };
        let value = if value.is_null() { Value::Null } else { taken(value, kind, &place)? };
        kept.insert(name, value);
    }
    Ok(kept)
}

fn taken(value: &Value, kind: &Kind, place: &str) -> Result<Value, Failure> {
    let wrong = |type_: &str| Err(invalid(format!("Invalid value at '{place}' ({type_}), {value}")));
    match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Bool(_)) | (Kind::Double, Value::Number(_)) => Ok(value.clone()),
        (Kind::Text, _) => wrong("TYPE_STRING"),
        (Kind::Flag, _) => wrong("TYPE_BOOL"),
        (Kind::Int32, _) => match whole(value).and_then(|number| i32::try_from(number).ok()) {
            Some(number) => Ok(number.into()),
            None => wrong("TYPE_INT32"),
        },
        (Kind::Int64, _) => match whole(value) {
            Some(number) => Ok(number.to_string().into()),
            None => wrong("TYPE_INT64"),
        },
        (Kind::Double, _) => match value.as_str().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite()) {
            Some(number) => Ok(number.into()),
            None => wrong("TYPE_DOUBLE"),
        },
        (Kind::Enum(names), _) => {
            let known = |text: &str| names.iter().find(|one| one.name == text || (one.alias && camel_of_capitals(one.name) == text));
            match value.as_str().and_then(known) {
                Some(one) => Ok(one.name.into()),
                None => wrong("TYPE_ENUM"),
            }
        }
        (Kind::List(kind), Value::Array(items)) => {
            let taken = items.iter().enumerate().map(|(index, item)| taken(item, kind, &format!("{place}[{index}]")));
            taken.collect::<Result<_, _>>().map(Value::Array)
        }
        (Kind::Message(message), Value::Object(object)) => message_of(object, message, place).map(Value::Object),
        (Kind::List(_) | Kind::Message(_), _) => {
            Err(invalid(format!("Invalid JSON payload received. Unknown name \"\" at '{place}': Proto field cannot hold {value}.")))
        }
    }
}

/// A whole number, which proto-JSON takes as a text too.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64))
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn camel_of_capitals(name: &str) -> String {
    camel(&name.to_ascii_lowercase())
}

/// Writes an object as it is answered: enumerations in their old spelling unless `capitals` (contract section 5, recorded answers).
pub(super) fn rendered(object: &Map<String, Value>, message: &str, capitals: bool) -> Map<String, Value> {
    let Some(fields) = MESSAGES.get(message) else { return object.clone() };
    let render = |(name, value): (&String, &Value)| match fields.get(name.as_str()) {
        Some(kind) => (name.clone(), rendered_value(value, kind, capitals)),
        None => (name.clone(), value.clone()),
    };
    object.iter().map(render).collect()
}

fn rendered_value(value: &Value, kind: &Kind, capitals: bool) -> Value {
    match (kind, value) {
        (Kind::Enum(_), Value::String(name)) if !capitals => camel_of_capitals(name).into(),
        (Kind::List(kind), Value::Array(items)) => items.iter().map(|item| rendered_value(item, kind, capitals)).collect(),
        (Kind::Message(message), Value::Object(object)) => Value::Object(rendered(object, message, capitals)),
        _ => value.clone(),
    }
}
