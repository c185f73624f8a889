//! What a member can hold, by the names a mapping uses (contract 4.1).

use chrono::{Datelike, NaiveDateTime};
use rust_decimal::Decimal;
use serde_json::{Number, Value as Json, json};

use super::wire::BODY_BYTES_MAX;
use crate::outcome::Code;
use crate::platform::{FieldKind, FieldRule, ValueFault};
use crate::schema::value::Value;

pub(super) const POINTS: &str = "points";
pub(super) const TIER: &str = "tier";
pub(super) const EXPIRY: &str = "expiry";
pub(super) const FIELDS: &str = "fields";

/// Names without a prefix, their kind and operation.
const MEMBER: [(&str, FieldKind, &str); 10] = [
    ("points", FieldKind::Number, POINTS),
    ("secondaryPoints", FieldKind::Number, POINTS),
    ("tierPoints", FieldKind::Integer, POINTS),
    ("tierId", FieldKind::Text, TIER),
    ("expiryDate", FieldKind::Instant, EXPIRY),
    ("optOut", FieldKind::Boolean, FIELDS),
    ("groupingIdentifier", FieldKind::Text, FIELDS),
    ("profileImage", FieldKind::Text, FIELDS),
    ("currentTierAwarded", FieldKind::Instant, FIELDS),
    ("currentTierExpires", FieldKind::Instant, FIELDS),
];

const PERSON: [(&str, FieldKind); 10] = [
    ("surname", FieldKind::Text),
    ("forename", FieldKind::Text),
    ("otherNames", FieldKind::Text),
    ("salutation", FieldKind::Text),
    ("suffix", FieldKind::Text),
    ("displayName", FieldKind::Text),
    ("gender", FieldKind::Text),
    ("dateOfBirth", FieldKind::Date),
    ("emailAddress", FieldKind::Text),
    ("mobileNumber", FieldKind::Text),
];

const GENDERS: [&str; 3] = ["NOT_KNOWN", "MALE", "FEMALE"];

/// Members that nobody writes, or that a feed says in another way.
const READ_ONLY: [(&str, &str); 10] = [
    ("id", "name the pass with pass = { pass_id = \"…\" }"),
    ("externalId", "name the pass with pass = { external_id = \"…\" }; PassKit never changes it later"),
    ("programId", "the platform's `program` setting says it"),
    ("status", "use operation = \"expire\" or \"void\""),
    ("passMetaData", "PassKit keeps it"),
    ("created", "PassKit keeps it"),
    ("updated", "PassKit keeps it"),
    ("person.externalId", "PassKit keeps it"),
    ("person.externalIds", "PassKit keeps it"),
    ("metaData", "name one key of it: metaData.KEY"),
];

/// A field of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Member(usize),
    Person(usize),
    Meta(String),
}

impl Field {
    /// Looks a name up. The error says what to write instead.
    pub(super) fn parse(name: &str) -> Result<Field, String> {
        if let Some(index) = MEMBER.iter().position(|(known, ..)| *known == name) {
            return Ok(Field::Member(index));
        }
        if let Some(part) = name.strip_prefix("person.")
            && let Some(index) = PERSON.iter().position(|(known, _)| *known == part)
        {
            return Ok(Field::Person(index));
        }
        if let Some(key) = name.strip_prefix("metaData.") {
            let fit = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            return if !key.is_empty() && key.len() <= 100 && key.chars().all(fit) {
                Ok(Field::Meta(key.to_owned()))
            } else {
                Err(format!("PassKit field \"{name}\": a key of metaData is 1 to 100 letters, digits, `_`, `-` or `.`"))
            };
        }
        if let Some((_, instead)) = READ_ONLY.iter().find(|(known, _)| *known == name) {
            return Err(format!("PassKit field \"{name}\" cannot be written: {instead}"));
        }
        Err(unknown(name))
    }

    pub(super) fn rule(&self) -> FieldRule {
        match self {
            Field::Member(index) => {
                let (_, kind, operation) = MEMBER[*index];
                let balance = operation == POINTS;
                FieldRule { kind, operation, clearable: balance, balance }
            }
            // A partial update ignores empty values, so only a key of `metaData` can be taken away: by leaving it out.
            Field::Person(index) => FieldRule { kind: PERSON[*index].1, operation: FIELDS, clearable: false, balance: false },
            Field::Meta(_) => FieldRule { kind: FieldKind::Text, operation: FIELDS, clearable: true, balance: false },
        }
    }

    /// Its name inside the member, the person or the `metaData`.
    pub(super) fn key(&self) -> &str {
        match self {
            Field::Member(index) => MEMBER[*index].0,
            Field::Person(index) => PERSON[*index].0,
            Field::Meta(key) => key,
        }
    }

    /// The value as PassKit takes it.
    pub(super) fn json(&self, value: &Value<'_>) -> Json {
        match self {
            Field::Person(_) if self.key() == "dateOfBirth" => match value {
                Value::Date(date) => json!({ "year": date.year(), "month": date.month(), "day": date.day() }),
                other => Json::String(other.canonical().into_owned()),
            },
            Field::Person(_) if self.key() == "gender" => Json::String(value.canonical().to_ascii_uppercase()),
            Field::Person(_) if self.key() == "otherNames" => match value {
                Value::List(names) => names.iter().map(|name| Json::String(name.canonical().into_owned())).collect(),
                one => json!([one.canonical()]),
            },
            Field::Meta(_) | Field::Person(_) => Json::String(value.canonical().into_owned()),
            Field::Member(_) => match self.rule().kind {
                FieldKind::Number | FieldKind::Integer => number(&value.canonical()),
                FieldKind::Boolean => Json::Bool(matches!(value, Value::Boolean(true))),
                FieldKind::Instant => Json::String(instant(value)),
                FieldKind::Text | FieldKind::Date | FieldKind::Any => Json::String(value.canonical().into_owned()),
            },
        }
    }
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

fn unknown(name: &str) -> String {
    let names = MEMBER.iter().map(|(name, ..)| (*name).to_owned()).chain(PERSON.iter().map(|(name, _)| format!("person.{name}")));
    let likeness = names.map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()), known));
    // The card designer writes `meta.x` where the API writes `metaData.x`; people also leave `person.` out.
    let lower = name.to_ascii_lowercase();
    let hint = if let Some((_, key)) = name.split_once('.').filter(|_| lower.starts_with("meta")) {
        format!("did you mean metaData.{key}?")
    } else if let Some((known, _)) = PERSON.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        format!("did you mean person.{known}?")
    } else {
        match likeness.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((likeness, known)) if likeness > 0.8 => format!("did you mean {known}?"),
            _ => "a field of your own is metaData.KEY".to_owned(),
        }
    };
    format!("PassKit has no field \"{name}\"; {hint}")
}

/// Would PassKit refuse the value, drop it, or store another?
pub(super) fn check(name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
    let fault = |code, message: &str| Err(ValueFault { code, message: message.to_owned() });
    let Ok(field) = Field::parse(name) else { return fault(Code::MappingError, "PassKit has no such field") };
    if field.key() == "tierPoints" && !matches!(field, Field::Meta(_)) {
        return match value {
            Value::Integer(n) if u32::try_from(*n).is_ok() => Ok(()),
            Value::Number(n) if n.is_integer() && u32::try_from(*n).is_ok() => Ok(()),
            _ => fault(Code::ValueTooLarge, "tierPoints is a whole number from 0 to 4294967295"),
        };
    }
    match field.rule().kind {
        FieldKind::Number | FieldKind::Integer => check_float(&value.canonical()),
        FieldKind::Instant => match value {
            Value::DateTime(time, _) if fits(time) => Ok(()),
            Value::Date(date) if (1..=9999).contains(&date.year()) => Ok(()),
            Value::DateTime(..) | Value::Date(_) => fault(Code::ValueTooLarge, "a time lies between the years 1 and 9999"),
            _ => fault(Code::MappingError, "this field takes a date and time"),
        },
        FieldKind::Date => match value {
            Value::Date(date) if (1..=9999).contains(&date.year()) => Ok(()),
            Value::Date(_) => fault(Code::ValueTooLarge, "a date lies between the years 1 and 9999"),
            _ => fault(Code::MappingError, "this field takes a date"),
        },
        FieldKind::Boolean => match value {
            Value::Boolean(_) => Ok(()),
            _ => fault(Code::MappingError, "this field takes true or false"),
        },
        FieldKind::Text | FieldKind::Any => check_text(&field, &value.canonical()),
    }
}

/// Instants of protocol buffers end with the year 9999, wherever the offset moves them.
fn fits(time: &NaiveDateTime) -> bool {
    (2..=9998).contains(&time.year())
}

fn check_text(field: &Field, text: &str) -> Result<(), ValueFault> {
    let fault = |code, message: String| Err(ValueFault { code, message });
    if text.len() > BODY_BYTES_MAX {
        return fault(Code::ValueTooLarge, format!("the text has {} bytes; an update of a pass holds {BODY_BYTES_MAX} in all", text.len()));
    }
    if text.contains('\0') {
        return fault(Code::MappingError, "the text contains a NUL character".to_owned());
    }
    if matches!(field, Field::Meta(_)) {
        return Ok(());
    }
    if text.is_empty() {
        return fault(Code::MappingError, "PassKit ignores an empty text here".to_owned());
    }
    match field.key() {
        "gender" if !GENDERS.iter().any(|known| known.eq_ignore_ascii_case(text)) => {
            fault(Code::MappingError, "a gender is NOT_KNOWN, MALE or FEMALE".to_owned())
        }
        "emailAddress" => match text.split_once('@') {
            Some((user, host)) if !user.is_empty() && host.contains('.') && !host.contains('@') && !text.contains(char::is_whitespace) => {
                Ok(())
            }
            _ => fault(Code::MappingError, "this is not an e-mail address".to_owned()),
        },
        "mobileNumber" => match text.strip_prefix('+') {
            Some(digits) if (6..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
            _ => fault(Code::MappingError, "a mobile number is `+`, the country code and the number, without spaces".to_owned()),
        },
        _ => Ok(()),
    }
}

/// Balances are 32-bit floats (contract 2): a value must be the shortest text of the float that is stored.
fn check_float(text: &str) -> Result<(), ValueFault> {
    let Ok(stored) = text.parse::<f32>() else {
        return Err(ValueFault { code: Code::MappingError, message: "this field takes a number".to_owned() });
    };
    if !stored.is_finite() {
        return Err(ValueFault { code: Code::ValueTooLarge, message: "the number is too large for PassKit".to_owned() });
    }
    let shown = stored.to_string();
    let same = match (text.parse::<Decimal>(), shown.parse::<Decimal>()) {
        (Ok(wanted), Ok(kept)) => wanted == kept,
        _ => text == shown,
    };
    if same {
        return Ok(());
    }
    Err(ValueFault { code: Code::ValueInexact, message: format!("PassKit would store {shown}: it keeps about seven significant digits") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

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
            let error = Field::parse(name).unwrap_err();
            assert!(error.contains(hint), "{name}: {error}");
        }
    }

    #[test]
    fn balances_must_survive_a_32_bit_float() {
        let code = |text: &str| check("points", &Value::Number(text.parse().unwrap())).err().map(|fault| fault.code);
        for good in ["0", "120", "120.10", "16777216", "0.01", "-5.5", "19999.99"] {
            assert_eq!(code(good), None, "{good}");
        }
        for bad in ["16777217", "1999999.99", "0.123456789", "1234567.89"] {
            assert_eq!(code(bad), Some(Code::ValueInexact), "{bad}");
        }
        let big = format!("1{}", "0".repeat(60));
        assert_eq!(check("points", &Value::Big(big.into())).unwrap_err().code, Code::ValueTooLarge);
        assert_eq!(check("tierPoints", &Value::Integer(4_294_967_296)).unwrap_err().code, Code::ValueTooLarge);
        assert_eq!(check("tierPoints", &Value::Integer(-1)).unwrap_err().code, Code::ValueTooLarge);
        assert!(check("tierPoints", &Value::Integer(4_294_967_295)).is_ok());
    }

    #[test]
    fn texts_are_checked_by_their_field() {
        let fault = |name: &str, text: &str| check(name, &Value::Text(text.to_owned().into())).err().map(|fault| fault.code);
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
        let json = |name: &str, value: Value<'_>| Field::parse(name).unwrap().json(&value).to_string();
        assert_eq!(json("points", Value::Number("120.10".parse().unwrap())), "120.1");
        assert_eq!(json("metaData.seat", Value::Integer(12)), "\"12\"");
        let day = NaiveDate::from_ymd_opt(1990, 2, 28).unwrap();
        assert_eq!(json("person.dateOfBirth", Value::Date(day)), r#"{"year":1990,"month":2,"day":28}"#);
        let paris = chrono::FixedOffset::east_opt(3600).unwrap();
        let noon = day.and_hms_opt(12, 0, 0).unwrap();
        assert_eq!(json("expiryDate", Value::DateTime(noon, Some(paris))), "\"1990-02-28T11:00:00Z\"");
        assert_eq!(json("person.gender", Value::Text("female".into())), "\"FEMALE\"");
    }
}
