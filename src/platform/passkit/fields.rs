//! What passes can hold, by the names a mapping uses. Each kind of passes has a catalogue of its own; what they share is here.

use chrono::{Datelike, NaiveDateTime};
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value as Json, json};

use super::wire::BODY_BYTES_MAX;
use crate::outcome::Code;
use crate::platform::numbers::check_float;
use crate::platform::{FieldKind, FieldRule, ValueFault};
use crate::schema::value::Value;

/// The operation of all that travels in an update of the whole pass.
pub(super) const FIELDS: &str = "fields";
/// Balances (contract 4.2, M6).
pub(super) const POINTS: &str = "points";

/// How a field's value travels, and what of it PassKit would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// A 32-bit float (contract 2).
    Single,
    /// A whole number of 32 bits.
    Count,
    Flag,
    /// `ON` or `OFF` (contract 6).
    Toggle,
    Instant,
    Day,
    Gender,
    Names,
    Email,
    Mobile,
    /// `rgb(R,G,B)`.
    Color,
    Link,
    Currency,
}

/// A field that PassKit knows by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: &'static str,
    pub form: Form,
    pub operation: &'static str,
}

impl Entry {
    pub(super) const fn new(name: &'static str, form: Form) -> Entry {
        Entry { name, form, operation: FIELDS }
    }

    pub(super) const fn of(name: &'static str, form: Form, operation: &'static str) -> Entry {
        Entry { name, form, operation }
    }
}

/// All that one kind of passes can hold.
pub(super) struct Catalogue {
    /// Names without a prefix.
    pub own: &'static [Entry],
    /// Objects inside the pass, each with what it holds.
    pub blocks: &'static [(&'static str, &'static [Entry])],
    /// What nobody writes, or what a feed says in another way.
    pub read_only: &'static [(&'static str, &'static str)],
}

/// The holder, the same for all kinds (contract 4.1).
pub(super) const PERSON: (&str, &[Entry]) = (
    "person",
    &[
        Entry::new("surname", Form::Text),
        Entry::new("forename", Form::Text),
        Entry::new("otherNames", Form::Names),
        Entry::new("salutation", Form::Text),
        Entry::new("suffix", Form::Text),
        Entry::new("displayName", Form::Text),
        Entry::new("gender", Form::Gender),
        Entry::new("dateOfBirth", Form::Day),
        Entry::new("emailAddress", Form::Email),
        Entry::new("mobileNumber", Form::Mobile),
    ],
);

const GENDERS: [&str; 3] = ["NOT_KNOWN", "MALE", "FEMALE"];

/// What no kind of passes lets anybody write.
const READ_ONLY: [(&str, &str); 6] = [
    ("id", "name the pass with pass = { pass_id = \"…\" }"),
    ("passMetaData", "PassKit keeps it"),
    ("created", "PassKit keeps it"),
    ("updated", "PassKit keeps it"),
    ("person.externalIds", "PassKit keeps it"),
    ("metaData", "name one key of it: metaData.KEY"),
];

/// A field of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Own(&'static Entry),
    Block(&'static str, &'static Entry),
    Meta(String),
}

impl Catalogue {
    /// Looks a name up. The error says what to write instead.
    pub(super) fn parse(&self, name: &str) -> Result<Field, String> {
        if let Some(entry) = self.own.iter().find(|entry| entry.name == name) {
            return Ok(Field::Own(entry));
        }
        for (block, entries) in self.blocks {
            let part = name.strip_prefix(block).and_then(|rest| rest.strip_prefix('.'));
            if let Some(entry) = part.and_then(|part| entries.iter().find(|entry| entry.name == part)) {
                return Ok(Field::Block(block, entry));
            }
        }
        if let Some(key) = name.strip_prefix("metaData.") {
            let fit = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            return if !key.is_empty() && key.len() <= 100 && key.chars().all(fit) {
                Ok(Field::Meta(key.to_owned()))
            } else {
                Err(format!("PassKit field \"{name}\": a key of metaData is 1 to 100 letters, digits, `_`, `-` or `.`"))
            };
        }
        if let Some((_, instead)) = self.read_only.iter().chain(&READ_ONLY).find(|(known, _)| *known == name) {
            return Err(format!("PassKit field \"{name}\" cannot be written: {instead}"));
        }
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> String {
        let inner = || self.blocks.iter().flat_map(|(block, entries)| entries.iter().map(move |entry| (block, entry.name)));
        let names = self.own.iter().map(|entry| entry.name.to_owned()).chain(inner().map(|(block, entry)| format!("{block}.{entry}")));
        let likeness = names.map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()), known));
        // The card designer writes `meta.x` where the API writes `metaData.x`; people also leave `person.` out.
        let lower = name.to_ascii_lowercase();
        let hint = if let Some((_, key)) = name.split_once('.').filter(|_| lower.starts_with("meta")) {
            format!("did you mean metaData.{key}?")
        } else if let Some((block, known)) = inner().find(|(_, known)| known.eq_ignore_ascii_case(name)) {
            format!("did you mean {block}.{known}?")
        } else {
            match likeness.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((likeness, known)) if likeness > 0.8 => format!("did you mean {known}?"),
                _ => "a field of your own is metaData.KEY".to_owned(),
            }
        };
        format!("PassKit has no field \"{name}\"; {hint}")
    }

    /// Would PassKit refuse the value, drop it, or store another?
    pub(super) fn check(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        match self.parse(name) {
            Ok(field) => field.check(value),
            Err(_) => fault(Code::MappingError, "PassKit has no such field"),
        }
    }
}

impl Field {
    fn form(&self) -> Form {
        match self {
            Field::Own(entry) | Field::Block(_, entry) => entry.form,
            Field::Meta(_) => Form::Text,
        }
    }

    pub(super) fn rule(&self) -> FieldRule {
        let kind = match self.form() {
            Form::Single => FieldKind::Number,
            Form::Count => FieldKind::Integer,
            Form::Flag | Form::Toggle => FieldKind::Boolean,
            Form::Instant => FieldKind::Instant,
            Form::Day => FieldKind::Date,
            Form::Text | Form::Gender | Form::Names | Form::Email | Form::Mobile | Form::Color | Form::Link | Form::Currency => {
                FieldKind::Text
            }
        };
        // A partial update ignores empty values, so only a balance, by its flag, and a key of `metaData`, by leaving it out, can be cleared.
        match self {
            Field::Own(entry) => {
                let balance = entry.operation == POINTS;
                FieldRule { kind, operation: entry.operation, clearable: balance, balance }
            }
            Field::Block(_, entry) => FieldRule { kind, operation: entry.operation, clearable: false, balance: false },
            Field::Meta(_) => FieldRule { kind, operation: FIELDS, clearable: true, balance: false },
        }
    }

    /// Its name inside the pass, the block or the `metaData`.
    pub(super) fn key(&self) -> &str {
        match self {
            Field::Own(entry) | Field::Block(_, entry) => entry.name,
            Field::Meta(key) => key,
        }
    }

    /// The value as PassKit takes it.
    pub(super) fn json(&self, value: &Value<'_>) -> Json {
        let text = || value.canonical().into_owned();
        match self.form() {
            Form::Single | Form::Count => number(&text()),
            Form::Flag => Json::Bool(is_true(value)),
            Form::Toggle => Json::from(if is_true(value) { "ON" } else { "OFF" }),
            Form::Instant => Json::String(instant(value)),
            Form::Day => match value {
                Value::Date(date) => json!({ "year": date.year(), "month": date.month(), "day": date.day() }),
                _ => Json::String(text()),
            },
            Form::Gender | Form::Currency => Json::String(text().to_ascii_uppercase()),
            Form::Names => match value {
                Value::List(names) => names.iter().map(|name| Json::String(name.canonical().into_owned())).collect(),
                _ => json!([text()]),
            },
            Form::Text | Form::Email | Form::Mobile | Form::Color | Form::Link => Json::String(text()),
        }
    }

    fn check(&self, value: &Value<'_>) -> Result<(), ValueFault> {
        match self.form() {
            Form::Single => check_float::<f32>("PassKit", &value.canonical()),
            Form::Count => match value {
                Value::Integer(n) if u32::try_from(*n).is_ok() => Ok(()),
                Value::Number(n) if n.is_integer() && u32::try_from(*n).is_ok() => Ok(()),
                _ => fault(Code::ValueTooLarge, format!("{} is a whole number from 0 to 4294967295", self.key())),
            },
            Form::Instant => match value {
                Value::DateTime(time, _) if fits(time) => Ok(()),
                Value::Date(date) if (1..=9999).contains(&date.year()) => Ok(()),
                Value::DateTime(..) | Value::Date(_) => fault(Code::ValueTooLarge, "a time lies between the years 1 and 9999"),
                _ => fault(Code::MappingError, "this field takes a date and time"),
            },
            Form::Day => match value {
                Value::Date(date) if (1..=9999).contains(&date.year()) => Ok(()),
                Value::Date(_) => fault(Code::ValueTooLarge, "a date lies between the years 1 and 9999"),
                _ => fault(Code::MappingError, "this field takes a date"),
            },
            Form::Flag | Form::Toggle => match value {
                Value::Boolean(_) => Ok(()),
                _ => fault(Code::MappingError, "this field takes true or false"),
            },
            Form::Text | Form::Gender | Form::Names | Form::Email | Form::Mobile | Form::Color | Form::Link | Form::Currency => {
                self.check_text(&value.canonical())
            }
        }
    }

    fn check_text(&self, text: &str) -> Result<(), ValueFault> {
        if text.len() > BODY_BYTES_MAX {
            let words = format!("the text has {} bytes; an update of a pass holds {BODY_BYTES_MAX} in all", text.len());
            return fault(Code::ValueTooLarge, words);
        }
        if text.contains('\0') {
            return fault(Code::MappingError, "the text contains a NUL character");
        }
        if matches!(self, Field::Meta(_)) {
            return Ok(());
        }
        if text.is_empty() {
            return fault(Code::MappingError, "PassKit ignores an empty text here");
        }
        let (good, words) = match self.form() {
            Form::Gender => (GENDERS.iter().any(|known| known.eq_ignore_ascii_case(text)), "a gender is NOT_KNOWN, MALE or FEMALE"),
            Form::Email => (is_email(text), "this is not an e-mail address"),
            Form::Mobile => (is_mobile(text), "a mobile number is `+`, the country code and the number, without spaces"),
            Form::Color => (is_color(text), "a color is written rgb(R,G,B), each from 0 to 255"),
            Form::Link => (is_link(text), "a link begins with http:// or https:// and names a host"),
            Form::Currency => {
                let letters = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
                (letters, "a currency is three letters (ISO 4217)")
            }
            _ => (true, ""),
        };
        if good { Ok(()) } else { fault(Code::MappingError, words) }
    }
}

fn fault(code: Code, message: impl Into<String>) -> Result<(), ValueFault> {
    Err(ValueFault { code, message: message.into() })
}

fn is_true(value: &Value<'_>) -> bool {
    matches!(value, Value::Boolean(true))
}

fn is_email(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@') && !text.contains(char::is_whitespace))
}

fn is_mobile(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| (6..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_color(text: &str) -> bool {
    let parts = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    parts.is_some_and(|parts| parts.split(',').count() == 3 && parts.split(',').all(|part| part.trim().parse::<u8>().is_ok()))
}

fn is_link(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

pub(super) fn instant(value: &Value<'_>) -> String {
    match value {
        Value::DateTime(local, None) => format!("{}Z", local.format("%Y-%m-%dT%H:%M:%S%.f")),
        Value::Date(date) => format!("{}T23:59:59Z", date.format("%Y-%m-%d")),
        other => other.canonical().into_owned(),
    }
}

fn number(text: &str) -> Json {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

pub(super) fn is_zero(value: Option<&Value<'_>>) -> bool {
    value.is_none_or(|value| match value {
        Value::Integer(n) => *n == 0,
        Value::Number(n) => n.is_zero(),
        _ => false,
    })
}

/// Instants of protocol buffers end with the year 9999, wherever the offset moves them.
fn fits(time: &NaiveDateTime) -> bool {
    (2..=9998).contains(&time.year())
}

/// Reading a pass as the fields that a mapping could write.
impl Catalogue {
    /// Every field of a pass that a mapping could write and that holds something. Zero is a balance; an empty text is nothing.
    pub(super) fn held(&self, pass: &Map<String, Json>) -> Vec<(String, Value<'static>)> {
        let mut fields = Vec::new();
        let mut push = |name: String, value: &Json| {
            let field = self.parse(&name).ok();
            fields.extend(field.and_then(|field| field.read(value)).map(|value| (name, value)));
        };
        for (name, value) in pass {
            match value {
                Json::Object(inner) if name == "metaData" || self.blocks.iter().any(|(block, _)| block == name) => {
                    inner.iter().for_each(|(key, value)| push(format!("{name}.{key}"), value));
                }
                _ => push(name.clone(), value),
            }
        }
        fields
    }
}

impl Field {
    /// The value as a mapping has it; none where there is nothing, or something else than the field holds.
    fn read(&self, value: &Json) -> Option<Value<'static>> {
        match (self.rule().kind, value) {
            (FieldKind::Number, Json::Number(number)) => decimal(number).map(Value::Number),
            (FieldKind::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
            (FieldKind::Boolean, Json::Bool(on)) => Some(Value::Boolean(*on)),
            (FieldKind::Boolean, Json::String(word)) if matches!(word.as_str(), "ON" | "OFF") => Some(Value::Boolean(word == "ON")),
            (FieldKind::Instant, Json::String(text)) => {
                let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
                Some(Value::DateTime(time.naive_utc(), chrono::FixedOffset::east_opt(0)))
            }
            (FieldKind::Date, Json::Object(date)) => {
                let part = |name| date.get(name).and_then(Json::as_i64).and_then(|part| u32::try_from(part).ok());
                let year = i32::try_from(part("year")?).ok()?;
                chrono::NaiveDate::from_ymd_opt(year, part("month")?, part("day")?).map(Value::Date)
            }
            (FieldKind::Text, Json::String(text)) if !text.is_empty() => Some(Value::Text(text.clone().into())),
            _ => None,
        }
    }
}

/// The number as PassKit printed it: the shortest text of its 32-bit float.
fn decimal(number: &Number) -> Option<Decimal> {
    let text = number.to_string();
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    use crate::platform::passkit::members::MEMBER;
    use crate::platform::passkit::tickets::TICKET;

    #[test]
    fn unknown_names_are_told_what_was_meant() {
        for (name, hint) in [
            ("point", "did you mean points?"),
            ("meta.store", "did you mean metaData.store?"),
            ("metadata.store", "did you mean metaData.store?"),
            ("emailAddress", "did you mean person.emailAddress?"),
            ("person.surnam", "did you mean person.surname?"),
            ("zzz", "metaData.KEY"),
            ("externalId", "cannot be written"),
            ("metaData.", "1 to 100 letters"),
        ] {
            let error = MEMBER.parse(name).unwrap_err();
            assert!(error.contains(hint), "{name}: {error}");
        }
    }

    #[test]
    fn balances_must_survive_a_32_bit_float() {
        let code = |text: &str| MEMBER.check("points", &Value::Number(text.parse().unwrap())).err().map(|fault| fault.code);
        for good in ["0", "120", "120.10", "16777216", "0.01", "-5.5", "19999.99"] {
            assert_eq!(code(good), None, "{good}");
        }
        for bad in ["16777217", "1999999.99", "0.123456789", "1234567.89"] {
            assert_eq!(code(bad), Some(Code::ValueInexact), "{bad}");
        }
        let big = format!("1{}", "0".repeat(60));
        assert_eq!(MEMBER.check("points", &Value::Big(big.into())).unwrap_err().code, Code::ValueTooLarge);
        assert_eq!(MEMBER.check("tierPoints", &Value::Integer(4_294_967_296)).unwrap_err().code, Code::ValueTooLarge);
        assert_eq!(MEMBER.check("tierPoints", &Value::Integer(-1)).unwrap_err().code, Code::ValueTooLarge);
        assert!(MEMBER.check("tierPoints", &Value::Integer(4_294_967_295)).is_ok());
    }

    #[test]
    fn texts_are_checked_by_their_field() {
        let fault = |name: &str, text: &str| MEMBER.check(name, &Value::Text(text.to_owned().into())).err().map(|fault| fault.code);
        assert_eq!(fault("person.emailAddress", "ada@example.org"), None);
        assert_eq!(fault("person.emailAddress", "ada@"), Some(Code::MappingError));
        assert_eq!(fault("person.mobileNumber", "+33612345678"), None);
        assert_eq!(fault("person.mobileNumber", "06 12 34"), Some(Code::MappingError));
        assert_eq!(fault("person.gender", "female"), None);
        assert_eq!(fault("person.gender", "f"), Some(Code::MappingError));
        assert_eq!(fault("metaData.note", ""), None);
        assert_eq!(fault("groupingIdentifier", ""), Some(Code::MappingError));
        assert_eq!(fault("metaData.note", &"x".repeat(10_001)), Some(Code::ValueTooLarge));
    }

    #[test]
    fn values_take_the_form_passkit_reads() {
        let json = |name: &str, value: Value<'_>| MEMBER.parse(name).unwrap().json(&value).to_string();
        assert_eq!(json("points", Value::Number("120.10".parse().unwrap())), "120.1");
        assert_eq!(json("metaData.seat", Value::Integer(12)), "\"12\"");
        let day = NaiveDate::from_ymd_opt(1990, 2, 28).unwrap();
        assert_eq!(json("person.dateOfBirth", Value::Date(day)), r#"{"year":1990,"month":2,"day":28}"#);
        let paris = chrono::FixedOffset::east_opt(3600).unwrap();
        let noon = day.and_hms_opt(12, 0, 0).unwrap();
        assert_eq!(json("expiryDate", Value::DateTime(noon, Some(paris))), "\"1990-02-28T11:00:00Z\"");
        assert_eq!(json("person.gender", Value::Text("female".into())), "\"FEMALE\"");
    }

    #[test]
    fn texts_of_a_seat_are_checked_as_passkit_checks_them() {
        let fault = |name: &str, text: &str| TICKET.check(name, &Value::Text(text.to_owned().into())).err().map(|fault| fault.code);
        assert_eq!(fault("seatInfo.sectionColor", "rgb(100,10, 110)"), None);
        assert_eq!(fault("seatInfo.sectionColor", "#fff"), Some(Code::MappingError));
        assert_eq!(fault("seatInfo.sectionColor", "rgb(300,10,110)"), Some(Code::MappingError));
        assert_eq!(fault("seatInfo.portalURL", "https://venue.example/a"), None);
        assert_eq!(fault("seatInfo.portalURL", "venue.example"), Some(Code::MappingError));
        assert_eq!(fault("faceValue.currency", "eur"), None);
        assert_eq!(fault("faceValue.currency", "€"), Some(Code::MappingError));
        assert_eq!(TICKET.check("faceValue.amount", &Value::Integer(16_777_217)).unwrap_err().code, Code::ValueInexact);
        assert!(TICKET.parse("gate").unwrap_err().contains("did you mean seatInfo.gate?"));
        assert_eq!(TICKET.parse("optOut").unwrap().json(&Value::Boolean(false)), "OFF");
    }

    #[test]
    fn what_a_pass_holds_is_read_in_the_kinds_of_its_fields() {
        let ticket = json!({ "id": "x", "optOut": "ON", "seatInfo": { "gate": "B", "row": "" }, "metaData": { "doors": "19:00" }, "status": "ISSUED",
            "faceValue": { "amount": 1250.5 }, "person": { "dateOfBirth": { "year": 1990, "month": 2, "day": 28 } } });
        let held = TICKET.held(ticket.as_object().unwrap());
        let mut told: Vec<String> = held.iter().map(|(name, value)| format!("{name}={}", value.canonical())).collect();
        told.sort();
        assert_eq!(
            told,
            ["faceValue.amount=1250.5", "metaData.doors=19:00", "optOut=true", "person.dateOfBirth=1990-02-28", "seatInfo.gate=B"]
        );
    }
}
