//! A field from its descriptor (contracts/table-schema.md section 2).

use serde_json::Value as Json;

use super::constraints;
use super::{Edition, Findings, Object, missing_values};
use crate::schema::constraint::Checks;
use crate::schema::field::{Empty, Field, FieldType, Missing};
use crate::schema::geo::PointForm;
use crate::schema::kind::Reader;
use crate::schema::number::NumberForm;
use crate::schema::strptime::Pattern;
use crate::schema::temporal::Form;
use crate::schema::text::TextForm;

/// The field, unless it lacks what makes it one.
pub(super) fn read(json: &Json, index: usize, edition: Edition, missing: &Missing, findings: &mut Findings) -> Option<Field> {
    let path = format!("fields[{index}]");
    let Json::Object(object) = json else {
        findings.field(path, "a field is a JSON object");
        return None;
    };
    let name = match object.get("name") {
        Some(Json::String(name)) if !name.trim().is_empty() => name.clone(),
        _ => {
            findings.field(format!("{path}.name"), "is missing: every field has a name");
            return None;
        }
    };
    let kind = kind(object, edition, &path, findings)?;
    let format = findings.text(object, "format", &path).unwrap_or_default();
    let format = match format.strip_prefix("fmt:").unwrap_or(&format) {
        "" => "default",
        format => format,
    };
    let reader = reader(object, kind, format, &path, findings)?;
    let missing = match object.get("missingValues").filter(|json| !json.is_null()) {
        Some(json) => missing_values(json, &format!("{path}.missingValues"), findings),
        None => missing.clone(),
    };
    let own = own(object, &path, findings);
    let mut field = Field {
        name,
        title: findings.text(object, "title", &path),
        description: findings.text(object, "description", &path),
        example: None,
        kind,
        format: format.to_owned(),
        personal: own.personal,
        empty: own.empty,
        identifier: own.identifier,
        aliases: own.aliases,
        required: false,
        unique: false,
        in_primary_key: false,
        strip_apostrophe: own.strip_apostrophe,
        quoted_empty: own.quoted_empty,
        missing,
        reader,
        checks: Checks::default(),
    };
    for misplaced in ["required", "unique"].into_iter().filter(|name| object.contains_key(*name)) {
        findings.field(format!("{path}.{misplaced}"), "belongs under constraints");
    }
    let before = findings.faults.len();
    constraints::read(object, &mut field, &path, findings);
    if findings.faults.len() == before {
        example(object, &mut field, &path, findings);
    }
    Some(field)
}

fn kind(object: &Object, edition: Edition, path: &str, findings: &mut Findings) -> Option<FieldType> {
    let text = match object.get("type") {
        None | Some(Json::Null) => return Some(if edition == Edition::V2 { FieldType::Any } else { FieldType::String }),
        Some(Json::String(text)) => text,
        Some(_) => {
            findings.field(format!("{path}.type"), "must be a string");
            return None;
        }
    };
    let kind = FieldType::parse(text);
    if kind.is_none() {
        let names: Vec<&str> = FieldType::ALL.iter().map(|kind| kind.as_str()).collect();
        findings.field(format!("{path}.type"), format!("there is no type `{text}`; the types are {}", names.join(", ")));
    }
    kind
}

fn reader(object: &Object, kind: FieldType, format: &str, path: &str, findings: &mut Findings) -> Option<Reader> {
    let reader = match kind {
        FieldType::String => TextForm::parse(format).map(Reader::Text),
        FieldType::GeoPoint => PointForm::parse(format).map(Reader::Point),
        FieldType::GeoJson if format == "topojson" => Some(Reader::TopoJson),
        FieldType::Date | FieldType::Time | FieldType::DateTime => return temporal(object, kind, format, path, findings),
        FieldType::Any => Some(Reader::Text(TextForm::Plain)),
        _ if format != "default" => None,
        FieldType::Number => Some(Reader::Number(numbers(object, true, path, findings))),
        FieldType::Integer => Some(Reader::Integer(numbers(object, false, path, findings))),
        FieldType::Boolean => Some(boolean(object, path, findings)),
        FieldType::List => list(object, path, findings),
        FieldType::Object => Some(Reader::Object),
        FieldType::Array => Some(Reader::Array),
        FieldType::Year => Some(Reader::Year),
        FieldType::YearMonth => Some(Reader::YearMonth),
        FieldType::Duration => Some(Reader::Duration),
        FieldType::GeoJson => Some(Reader::GeoJson),
    };
    if reader.is_none() && findings.faults.last().is_none_or(|fault| !fault.path.starts_with(path)) {
        let formats = match kind {
            FieldType::String => "default, email, uri, binary, uuid",
            FieldType::GeoPoint => "default, array, object",
            FieldType::GeoJson => "default, topojson",
            _ => "default only",
        };
        findings.field(format!("{path}.format"), format!("`{kind}` has no format `{format}`; it has {formats}"));
    }
    reader
}

/// The `format`, then those of `x-passferry.formats` in their order.
fn temporal(object: &Object, kind: FieldType, format: &str, path: &str, findings: &mut Findings) -> Option<Reader> {
    let mut forms = vec![form(kind, format, &format!("{path}.format"), findings)?];
    let more = format!("{path}.x-passferry.formats");
    match object.get("x-passferry").and_then(|own| own.get("formats")) {
        None => {}
        Some(Json::Array(formats)) => {
            for (index, json) in formats.iter().enumerate() {
                let here = format!("{more}[{index}]");
                match json.as_str() {
                    Some(format) => forms.push(form(kind, format, &here, findings)?),
                    None => findings.field(here, "must be a string"),
                }
            }
        }
        Some(_) => findings.field(more.clone(), "must be an array of formats"),
    }
    if let Some((one, other, text)) = clash(&forms) {
        findings.field(more, format!("`{one}` and `{other}` read `{text}` as different times; nothing could tell which is meant"));
        return None;
    }
    let form = match forms.len() {
        1 => forms.pop()?,
        _ => Form::Several(forms),
    };
    Some(match kind {
        FieldType::Date => Reader::Date(form),
        FieldType::Time => Reader::Time(form),
        _ => Reader::DateTime(form),
    })
}

fn form(kind: FieldType, format: &str, path: &str, findings: &mut Findings) -> Option<Form> {
    let form = match format {
        "default" => Form::Default,
        "epoch" | "epoch-ms" if kind == FieldType::DateTime => Form::Epoch { milliseconds: format == "epoch-ms" },
        "any" => {
            let pattern = match kind {
                FieldType::Date => "%d/%m/%Y",
                FieldType::Time => "%H:%M",
                _ => "%Y-%m-%d %H:%M:%S",
            };
            let message = format!("`any` accepts only what cannot be read two ways; write the exporter's own pattern, such as `{pattern}`");
            findings.warn(path, &message);
            Form::Any
        }
        pattern => match Pattern::parse(pattern) {
            Ok(pattern) => Form::Pattern(pattern),
            Err(message) => {
                findings.field(path, message);
                return None;
            }
        },
    };
    if let Form::Pattern(pattern) = &form {
        if kind != FieldType::Time && !pattern.has_date() {
            findings.field(path, format!("`{format}` does not tell a whole date: year, month and day"));
            return None;
        }
        if kind == FieldType::Time && !pattern.has_time() {
            findings.field(path, format!("`{format}` does not tell a time of day"));
            return None;
        }
    }
    Some(form)
}

/// Two formats that read one text differently, day and month in either order above all. A text they share is looked for among those that
/// each of them writes.
fn clash(forms: &[Form]) -> Option<(String, String, String)> {
    for (index, one) in forms.iter().enumerate() {
        for other in &forms[index + 1..] {
            for text in one.samples().into_iter().chain(other.samples()) {
                if let (Some(first), Some(second)) = (one.moment(&text), other.moment(&text))
                    && first != second
                {
                    return Some((one.shown(), other.shown(), text));
                }
            }
        }
    }
    None
}

fn numbers(object: &Object, decimals: bool, path: &str, findings: &mut Findings) -> NumberForm {
    let mut form = NumberForm { bare: findings.flag(object, "bareNumber", path).unwrap_or(true), ..NumberForm::default() };
    let usable =
        |text: &str| !text.is_empty() && text.chars().all(|letter| !letter.is_ascii_digit() && !matches!(letter, '+' | '-' | 'e' | 'E'));
    if let Some(decimal) = findings.text(object, "decimalChar", path).filter(|_| decimals) {
        if usable(&decimal) {
            form.decimal = decimal;
        } else {
            findings.field(format!("{path}.decimalChar"), "must be a character that no number holds otherwise");
        }
    }
    if let Some(group) = findings.text(object, "groupChar", path) {
        if !usable(&group) {
            findings.field(format!("{path}.groupChar"), "must be a character that no number holds otherwise");
        } else if decimals && group == form.decimal {
            findings.field(format!("{path}.groupChar"), "is the decimal sign too; set decimalChar to another");
        } else {
            form.group = Some(group);
        }
    }
    form
}

fn boolean(object: &Object, path: &str, findings: &mut Findings) -> Reader {
    let Reader::Boolean { yes, no } = Reader::default_boolean() else { return Reader::default_boolean() };
    let mut words = |name: &str, default: Vec<String>| match object.get(name) {
        None | Some(Json::Null) => default,
        Some(json) => {
            let list = json.as_array().filter(|list| !list.is_empty());
            let words: Option<Vec<String>> = list.and_then(|list| list.iter().map(|word| word.as_str().map(str::to_owned)).collect());
            words.unwrap_or_else(|| {
                findings.field(format!("{path}.{name}"), "must be an array of strings, not empty");
                default
            })
        }
    };
    let (yes, no) = (words("trueValues", yes), words("falseValues", no));
    if let Some(both) = yes.iter().find(|word| no.contains(word)) {
        findings.field(format!("{path}.trueValues"), format!("`{both}` stands under falseValues too"));
    }
    Reader::Boolean { yes, no }
}

/// Items are read in their type's default form alone.
fn list(object: &Object, path: &str, findings: &mut Findings) -> Option<Reader> {
    let delimiter = findings.text(object, "delimiter", path).unwrap_or_else(|| ",".to_owned());
    if delimiter.is_empty() {
        findings.field(format!("{path}.delimiter"), "must not be empty");
        return None;
    }
    let item = match findings.text(object, "itemType", path).as_deref() {
        None | Some("string") => Reader::Text(TextForm::Plain),
        Some("integer") => Reader::Integer(NumberForm::default()),
        Some("number") => Reader::Number(NumberForm::default()),
        Some("boolean") => Reader::default_boolean(),
        Some("datetime") => Reader::DateTime(Form::Default),
        Some("date") => Reader::Date(Form::Default),
        Some("time") => Reader::Time(Form::Default),
        Some(_) => {
            findings.field(format!("{path}.itemType"), "must be string, integer, boolean, number, datetime, date or time");
            return None;
        }
    };
    Some(Reader::List { delimiter, item: Box::new(item) })
}

/// Names of the field's properties under `x-passferry`.
const OWN: [&str; 7] = ["personal", "empty", "identifier", "quotedEmpty", "strip", "formats", "aliases"];

/// The field's properties under `x-passferry`.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own in the descriptor")]
struct Own {
    personal: bool,
    empty: Empty,
    identifier: bool,
    quoted_empty: bool,
    strip_apostrophe: bool,
    aliases: Vec<String>,
}

/// The name space is ours, so what is unknown in it is a slip.
fn own(object: &Object, path: &str, findings: &mut Findings) -> Own {
    let path = format!("{path}.x-passferry");
    let properties = match object.get("x-passferry") {
        None => return Own::default(),
        Some(Json::Object(properties)) => properties,
        Some(_) => {
            findings.field(path, "must be an object");
            return Own::default();
        }
    };
    for name in properties.keys().filter(|name| !OWN.contains(&name.as_str())) {
        findings.field(format!("{path}.{name}"), format!("is unknown; a field has {} here", OWN.join(", ")));
    }
    let empty = match properties.get("empty").map(|json| json.as_str().unwrap_or_default()) {
        None | Some("keep") => Empty::Keep,
        Some("clear") => Empty::Clear,
        Some("reject") => Empty::Reject,
        Some(_) => {
            findings.field(format!("{path}.empty"), "must be keep, clear or reject");
            Empty::Keep
        }
    };
    let quoted_empty = match properties.get("quotedEmpty").map(|json| json.as_str().unwrap_or_default()) {
        None | Some("missing") => false,
        Some("text") => true,
        Some(_) => {
            findings.field(format!("{path}.quotedEmpty"), "must be missing or text");
            false
        }
    };
    let strip_apostrophe = match properties.get("strip").map(|json| json.as_str().unwrap_or_default()) {
        None => false,
        Some("apostrophe") => true,
        Some(_) => {
            findings.field(format!("{path}.strip"), "must be apostrophe");
            false
        }
    };
    let aliases = properties.get("aliases").map_or(Some(Vec::new()), |json| {
        json.as_array()?.iter().map(|alias| alias.as_str().filter(|alias| !alias.trim().is_empty()).map(str::to_owned)).collect()
    });
    if aliases.is_none() {
        findings.field(format!("{path}.aliases"), "must be an array of labels");
    }
    Own {
        personal: findings.flag(properties, "personal", &path).unwrap_or(false),
        empty,
        identifier: findings.flag(properties, "identifier", &path).unwrap_or(false),
        quoted_empty,
        strip_apostrophe,
        aliases: aliases.unwrap_or_default(),
    }
}

fn example(object: &Object, field: &mut Field, path: &str, findings: &mut Findings) {
    let Some(json) = object.get("example").filter(|json| !json.is_null()) else { return };
    let text = match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    if let Err(problems) = field.read(&text) {
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        findings.field(format!("{path}.example"), format!("is no value of its own field: it {}", messages.join("; it ")));
    }
    field.example = Some(text);
}
