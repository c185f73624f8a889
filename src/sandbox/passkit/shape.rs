//! The shapes of request bodies (contract sections 2 and 4.1): what the gateway's parser refuses before any call is made.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::sandbox::answer::Failure;

/// What a field may hold.
pub(super) enum Kind {
    Text,
    Flag,
    Float,
    Double,
    Unsigned,
    Whole,
    Time,
    Texts,
    Strings,
    Enum(&'static [&'static str]),
    Message(Fields),
    Messages(Fields),
    /// An object the contract does not describe further.
    Object,
    Objects,
}

pub(super) type Fields = &'static [(&'static str, Kind)];

pub(super) const STATUSES: &[&str] = &["ENROLLED", "ACTIVE", "CHECKED_IN", "EXPIRED", "CHECKED_OUT", "DELETED"];
const OPERATIONS: &[&str] = &["OPERATION_DO_NOT_USE", "OPERATION_PATCH", "OPERATION_PUT"];

const DATE: Fields = &[("year", Kind::Whole), ("month", Kind::Whole), ("day", Kind::Whole)];

pub(super) const PERSON: Fields = &[
    ("surname", Kind::Text),
    ("forename", Kind::Text),
    ("otherNames", Kind::Strings),
    ("salutation", Kind::Text),
    ("suffix", Kind::Text),
    ("displayName", Kind::Text),
    ("gender", Kind::Enum(&["NOT_KNOWN", "MALE", "FEMALE"])),
    ("dateOfBirth", Kind::Message(DATE)),
    ("emailAddress", Kind::Text),
    ("mobileNumber", Kind::Text),
    ("externalId", Kind::Text),
    ("externalIds", Kind::Strings),
];

pub(super) const MEMBER: Fields = &[
    ("id", Kind::Text),
    ("externalId", Kind::Text),
    ("groupingIdentifier", Kind::Text),
    ("tierId", Kind::Text),
    ("programId", Kind::Text),
    ("person", Kind::Message(PERSON)),
    ("metaData", Kind::Texts),
    ("optOut", Kind::Flag),
    ("points", Kind::Float),
    ("secondaryPoints", Kind::Float),
    ("tierPoints", Kind::Unsigned),
    ("expiryDate", Kind::Time),
    ("status", Kind::Enum(STATUSES)),
    ("passOverrides", Kind::Object),
    ("passMetaData", Kind::Object),
    ("notes", Kind::Objects),
    ("currentTierAwarded", Kind::Time),
    ("currentTierExpires", Kind::Time),
    ("profileImage", Kind::Text),
    ("operation", Kind::Enum(OPERATIONS)),
    ("created", Kind::Time),
    ("updated", Kind::Time),
];

const EVENT_DETAILS: Fields = &[
    ("address", Kind::Text),
    ("lat", Kind::Float),
    ("lon", Kind::Float),
    ("alt", Kind::Float),
    ("externalEventId", Kind::Text),
    ("externalDeviceId", Kind::Text),
    ("externalServiceId", Kind::Text),
    ("externalUserId", Kind::Text),
    ("metaData", Kind::Texts),
    ("notes", Kind::Text),
];

pub(super) const POINTS: Fields = &[
    ("id", Kind::Text),
    ("externalId", Kind::Text),
    ("programId", Kind::Text),
    ("tierId", Kind::Text),
    ("points", Kind::Float),
    ("secondaryPoints", Kind::Float),
    ("tierPoints", Kind::Unsigned),
    ("resetPoints", Kind::Flag),
    ("resetSecondaryPoints", Kind::Flag),
    ("resetTierPoints", Kind::Flag),
    ("eventDetails", Kind::Message(EVENT_DETAILS)),
];

pub(super) const TIER: Fields = &[
    ("memberId", Kind::Text),
    ("externalMemberId", Kind::Text),
    ("programId", Kind::Text),
    ("tierId", Kind::Text),
    ("eventDetails", Kind::Message(EVENT_DETAILS)),
];

pub(super) const EXPIRY: Fields = &[("id", Kind::Text), ("externalId", Kind::Text), ("programId", Kind::Text), ("expiryDate", Kind::Time)];

pub(super) const PERSON_ONLY: Fields =
    &[("id", Kind::Text), ("externalId", Kind::Text), ("classId", Kind::Text), ("person", Kind::Message(PERSON))];

pub(super) const SEGMENT: Fields = &[("filter", Kind::Message(FILTERS)), ("newValues", Kind::Message(MEMBER))];

const FIELD_FILTER: Fields =
    &[("filterField", Kind::Text), ("filterValue", Kind::Text), ("filterOperator", Kind::Enum(&["eq", "gt", "lt", "gte", "lte", "like"]))];

const FILTER_GROUP: Fields = &[("condition", Kind::Enum(&["AND", "OR"])), ("fieldFilters", Kind::Messages(FIELD_FILTER))];

pub(super) const FILTERS: Fields = &[
    ("limit", Kind::Whole),
    ("offset", Kind::Whole),
    ("orderBy", Kind::Text),
    ("orderAsc", Kind::Flag),
    ("filterGroups", Kind::Messages(FILTER_GROUP)),
];

pub(super) const LIST: Fields = &[("filters", Kind::Message(FILTERS)), ("emailAsCsv", Kind::Flag)];

/// Checks a body against a message and returns its fields; unknown ones stay in and are never looked at, or are refused when `strict`.
pub(super) fn check<'a>(raw: &[u8], body: Option<&'a Value>, fields: Fields, strict: bool) -> Result<&'a Map<String, Value>, Failure> {
    let raw = String::from_utf8_lossy(raw);
    let checker = Checker { raw: &raw, strict };
    match body {
        Some(Value::Object(object)) => checker.message(object, fields).map(|()| object),
        Some(other) => Err(checker.refuse("", other)),
        None => {
            let at = raw.chars().next().map_or("unexpected EOF".to_owned(), |first| format!("invalid value {first}"));
            Err(Failure::new(400, format!("proto: syntax error (line 1:1): {at}")))
        }
    }
}

struct Checker<'a> {
    raw: &'a str,
    strict: bool,
}

impl Checker<'_> {
    fn message(&self, object: &Map<String, Value>, fields: Fields) -> Result<(), Failure> {
        for (name, value) in object {
            match fields.iter().find(|(known, _)| known == name) {
                // A null is a missing field in proto3 JSON.
                Some(_) if value.is_null() => {}
                Some((_, kind)) => self.field(name, value, kind)?,
                None if self.strict => {
                    let (line, column) = self.place(name);
                    return Err(Failure::new(400, format!("proto: (line {line}:{column}): unknown field \"{name}\"")));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn field(&self, name: &str, value: &Value, kind: &Kind) -> Result<(), Failure> {
        let fits = match (kind, value) {
            (Kind::Text, Value::String(_))
            | (Kind::Flag, Value::Bool(_))
            | (Kind::Object, Value::Object(_))
            | (Kind::Double, Value::Number(_)) => true,
            (Kind::Float, Value::Number(number)) => number.as_f64().is_some_and(|number| (number as f32).is_finite()),
            (Kind::Unsigned, Value::Number(number)) => number.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
            (Kind::Whole, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            (Kind::Time, Value::String(text)) => time(text).is_some(),
            (Kind::Enum(names), Value::String(text)) => names.contains(&text.as_str()),
            (Kind::Texts, Value::Object(texts)) => {
                return texts.iter().try_for_each(|(key, value)| if value.is_string() { Ok(()) } else { Err(self.refuse(key, value)) });
            }
            (Kind::Strings, Value::Array(items)) => items.iter().all(Value::is_string),
            (Kind::Objects, Value::Array(items)) => items.iter().all(Value::is_object),
            (Kind::Message(fields), Value::Object(object)) => return self.message(object, fields),
            (Kind::Messages(fields), Value::Array(items)) => {
                return items.iter().try_for_each(|item| match item {
                    Value::Object(object) => self.message(object, fields),
                    other => Err(self.refuse(name, other)),
                });
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.refuse(name, value)) }
    }

    /// Points at the value and names no field, as the platform's parser does.
    fn refuse(&self, name: &str, value: &Value) -> Failure {
        let (line, column) = self.place(name);
        let shown: String = value.to_string().chars().take(60).collect();
        Failure::new(400, format!("proto: syntax error (line {line}:{column}): unexpected token {shown}"))
    }

    /// Line and column of a field's value, from 1; of the first field of that name, which is close enough for a message.
    fn place(&self, name: &str) -> (usize, usize) {
        let quoted = format!("\"{name}\"");
        let after = self.raw.find(&quoted).map_or(0, |at| at + quoted.len());
        let skipped = self.raw[after..].find(|c: char| c != ':' && !c.is_whitespace()).unwrap_or(0);
        let before = &self.raw[..after + skipped];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Reads a timestamp; a date alone is none (contract section 2).
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    // The crate also takes a space or small letters, which the platform's parser does not.
    if text.as_bytes().get(10) != Some(&b'T') || text.ends_with('z') {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// A timestamp as the platform prints it.
pub(super) fn canonical_time(text: &str) -> String {
    time(text).map_or_else(|| text.to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A text field, empty when missing.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or("")
}

/// A flag, false when missing.
pub(super) fn flag(object: &Map<String, Value>, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A balance as the platform keeps it, zero when missing.
pub(super) fn float(object: &Map<String, Value>, name: &str) -> f32 {
    object.get(name).and_then(Value::as_f64).unwrap_or(0.0) as f32
}

pub(super) fn unsigned(object: &Map<String, Value>, name: &str) -> u32 {
    object.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

/// What an update in the default mode does not see (contract section 2.1).
pub(super) fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        let value: Value = serde_json::from_str(body).expect("test bodies are JSON");
        check(body.as_bytes(), Some(&value), MEMBER, false).expect_err("refused").message
    }

    #[test]
    fn the_parser_points_at_the_value() {
        assert_eq!(refusal(r#"{"metaData":{"seat":12}}"#), "proto: syntax error (line 1:21): unexpected token 12");
        assert_eq!(refusal("{\n \"points\": \"12\"}"), "proto: syntax error (line 2:12): unexpected token \"12\"");
    }

    #[test]
    fn a_date_alone_is_no_timestamp() {
        assert!(time("2026-12-31").is_none());
        assert!(time("2026-12-31 10:00:00Z").is_none());
        assert_eq!(canonical_time("2026-12-31T10:00:00+02:00"), "2026-12-31T08:00:00Z");
    }

    #[test]
    fn every_wrong_shape_is_refused() {
        for body in [
            r#"{"expiryDate":"2026-12-31"}"#,
            r#"{"optOut":"true"}"#,
            r#"{"status":"NOBODY"}"#,
            r#"{"tierPoints":-1}"#,
            r#"{"tierPoints":4294967296}"#,
            r#"{"points":1e39}"#,
            r#"{"person":{"otherNames":"Ann"}}"#,
            r#"{"externalId":7}"#,
        ] {
            assert!(refusal(body).starts_with("proto: syntax error"), "{body}");
        }
    }
}
