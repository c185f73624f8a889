//! What a pass can hold, as the configuration declares it.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::config::meant::http::{Field, Format, Http, Kind};
use crate::mapping::did_you_mean;
use crate::outcome::Code;
use crate::platform::{FieldKind, FieldRule, ValueFault, strict};
use crate::schema::value::Value;

/// The operation that carries fields.
pub(super) const FIELDS: &str = "fields";

impl Http {
    /// The declaration of a field and what its `*` stands for. A name that is declared itself counts before one with a `*`.
    pub(super) fn field_named<'n>(&self, name: &'n str) -> Option<(&Field, &'n str)> {
        let found = |star: bool| {
            let mut declared = self.fields.iter().filter(move |field| field.name.text.contains('*') == star);
            declared.find_map(|field| Some((field, field.name.matches(name)?)))
        };
        found(false).or_else(|| found(true))
    }

    /// Looks a name up. The error says what to write instead.
    pub(super) fn rule(&self, name: &str) -> Result<FieldRule, String> {
        let Some((field, _)) = self.field_named(name) else {
            let names = self.fields.iter().map(|field| field.name.text.as_str());
            let known: Vec<&str> = names.clone().collect();
            let hint = did_you_mean(name, names);
            let hint = if hint.is_empty() { format!("; declared are: {}", known.join(", ")) } else { hint };
            return Err(format!("the platform's fields do not declare \"{name}\"{hint}"));
        };
        let kind = match field.kind {
            Kind::Text | Kind::Json => FieldKind::Text,
            Kind::Number => FieldKind::Number,
            Kind::Integer => FieldKind::Integer,
            Kind::Boolean => FieldKind::Boolean,
            Kind::Date => FieldKind::Date,
            Kind::Instant => FieldKind::Instant,
        };
        Ok(FieldRule { kind, operation: FIELDS, clearable: field.cleared.is_some(), balance: field.balance })
    }
}

impl Field {
    /// Would the platform refuse the value, or store another?
    pub(super) fn check(&self, value: &Value<'_>) -> Result<(), ValueFault> {
        let fault = |code, message: String| Err(ValueFault { code, message });
        match (self.kind, value) {
            (Kind::Text, _) => {
                let text = value.canonical();
                if text.contains('\0') {
                    return fault(Code::MappingError, "the text contains a NUL character".to_owned());
                }
                let length = text.chars().count();
                match self.length_max {
                    Some(most) if length > most => {
                        fault(Code::ValueTooLarge, format!("the text has {length} characters; the platform takes {most}"))
                    }
                    _ => Ok(()),
                }
            }
            (Kind::Json, _) => {
                let text = value.canonical();
                let Some(json) = strict::read(text.as_bytes()) else {
                    return fault(Code::MappingError, "this field takes JSON".to_owned());
                };
                let items = json.as_array().map_or(0, Vec::len);
                match (self.length_max, self.items_max) {
                    (Some(most), _) if text.chars().count() > most => {
                        fault(Code::ValueTooLarge, format!("the JSON has more than the {most} characters that the platform takes"))
                    }
                    (_, Some(most)) if items > most => {
                        fault(Code::ValueTooLarge, format!("the list has {items} items; the platform takes {most}"))
                    }
                    _ => Ok(()),
                }
            }
            (Kind::Number | Kind::Integer, Value::Integer(number)) => self.check_number(Decimal::from(*number)),
            (Kind::Number | Kind::Integer, Value::Number(number)) => self.check_number(*number),
            (Kind::Number | Kind::Integer, Value::Big(_)) => fault(Code::ValueTooLarge, "the number has more than 28 digits".to_owned()),
            (Kind::Boolean, Value::Boolean(_)) | (Kind::Date, Value::Date(_)) | (Kind::Instant, Value::DateTime(..) | Value::Date(_)) => {
                Ok(())
            }
            (Kind::Number | Kind::Integer, _) => fault(Code::MappingError, "this field takes a number".to_owned()),
            (Kind::Boolean, _) => fault(Code::MappingError, "this field takes true or false".to_owned()),
            (Kind::Date, _) => fault(Code::MappingError, "this field takes a date".to_owned()),
            (Kind::Instant, _) => fault(Code::MappingError, "this field takes a date and time".to_owned()),
        }
    }

    fn check_number(&self, number: Decimal) -> Result<(), ValueFault> {
        let number = number.normalize();
        let fault = |code, message: String| Err(ValueFault { code, message });
        match (self.least, self.most) {
            (Some(least), _) if number < least => fault(Code::ValueTooLarge, format!("the platform takes no number below {least}")),
            (_, Some(most)) if number > most => fault(Code::ValueTooLarge, format!("the platform takes no number above {most}")),
            _ => match self.decimals {
                Some(most) if number.scale() > most => {
                    fault(Code::MappingError, format!("the number has {} decimals; the platform takes {most}", number.scale()))
                }
                _ if exact(number).is_none() => {
                    fault(Code::ValueInexact, "JSON readers keep about 15 significant digits and would change the number".to_owned())
                }
                _ => Ok(()),
            },
        }
    }

    /// The value as it stands in a body; what is written to clear the field where there is none.
    pub(super) fn json(&self, value: Option<&Value<'_>>) -> Json {
        let Some(value) = value else { return self.cleared.clone().unwrap_or(Json::Null) };
        match (self.kind, value) {
            (Kind::Json, _) => strict::read(value.canonical().as_bytes()).unwrap_or(Json::Null),
            (Kind::Number | Kind::Integer, Value::Integer(whole)) => Json::from(*whole),
            (Kind::Number | Kind::Integer, Value::Number(decimal)) => number(*decimal),
            (Kind::Boolean, Value::Boolean(on)) => Json::Bool(*on),
            (Kind::Date | Kind::Instant, Value::Date(date)) => self.time(date.and_time(NaiveTime::MIN), Some(*date)),
            (Kind::Date | Kind::Instant, Value::DateTime(time, offset)) => self.time(offset.map_or(*time, |offset| *time - offset), None),
            _ => Json::String(value.canonical().into_owned()),
        }
    }

    fn time(&self, time: NaiveDateTime, date: Option<NaiveDate>) -> Json {
        let utc: DateTime<Utc> = time.and_utc();
        match (&self.format, date) {
            (Some(Format::Seconds), _) => Json::from(utc.timestamp()),
            (Some(Format::Milliseconds), _) => Json::from(utc.timestamp_millis()),
            (Some(Format::Text(format)), _) => Json::String(utc.format(format).to_string()),
            (None, Some(date)) => Json::String(date.format("%Y-%m-%d").to_string()),
            (None, None) => Json::String(utc.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()),
        }
    }
}

/// A number as JSON: whole ones without a point.
pub(super) fn number(decimal: Decimal) -> Json {
    exact(decimal.normalize()).unwrap_or_else(|| Json::String(decimal.normalize().to_string()))
}

/// The JSON number that reads back as this one, if there is one.
pub(crate) fn exact(number: Decimal) -> Option<Json> {
    if number.is_integer() {
        return i64::try_from(number).ok().map(Json::from);
    }
    let double: f64 = number.to_string().parse().ok()?;
    let json = serde_json::Number::from_f64(double)?;
    let text = json.to_string();
    let read = text.parse::<Decimal>().ok().or_else(|| Decimal::from_scientific(&text).ok())?;
    (read == number).then_some(Json::Number(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meant::http::NamePattern;
    use crate::platform::http::pointer::Pointer;
    use serde_json::json;

    fn field(kind: Kind) -> Field {
        Field {
            name: NamePattern { text: "f".to_owned() },
            kind,
            at: Pointer::of_name("f"),
            length_max: None,
            items_max: None,
            least: None,
            most: None,
            decimals: None,
            format: None,
            cleared: None,
            balance: false,
            alert: false,
        }
    }

    fn decimal(text: &str) -> Value<'static> {
        Value::Number(text.parse().unwrap())
    }

    #[test]
    fn limits_are_kept_before_anything_is_sent() {
        let code = |field: &Field, value: Value<'_>| field.check(&value).err().map(|fault| fault.code);
        let text = Field { length_max: Some(3), ..field(Kind::Text) };
        assert_eq!(code(&text, Value::Text("äöü".into())), None, "characters, not bytes");
        assert_eq!(code(&text, Value::Text("äöüß".into())), Some(Code::ValueTooLarge));
        assert_eq!(code(&text, Value::Text("a\0".into())), Some(Code::MappingError));
        let number = Field { least: Some(0.into()), most: Some(100.into()), decimals: Some(2), ..field(Kind::Number) };
        for good in ["0", "100", "99.99", "1.500"] {
            assert_eq!(code(&number, decimal(good)), None, "{good}");
        }
        assert_eq!(code(&number, decimal("-0.01")), Some(Code::ValueTooLarge));
        assert_eq!(code(&number, Value::Integer(101)), Some(Code::ValueTooLarge));
        assert_eq!(code(&number, decimal("1.234")), Some(Code::MappingError));
        assert_eq!(code(&field(Kind::Number), decimal("0.12345678901234567891")), Some(Code::ValueInexact));
        assert_eq!(code(&field(Kind::Number), Value::Big("1".repeat(40).into())), Some(Code::ValueTooLarge));
        assert_eq!(code(&field(Kind::Json), Value::Text("[{\"a\":1}]".into())), None);
        assert_eq!(code(&field(Kind::Json), Value::Text("[{\"a\":1,\"a\":2}]".into())), Some(Code::MappingError));
        let list = Field { items_max: Some(2), ..field(Kind::Json) };
        assert_eq!(code(&list, Value::Text("[1,2]".into())), None);
        assert_eq!(code(&list, Value::Text("[1,2,3]".into())), Some(Code::ValueTooLarge));
        for whole in [i64::MIN, i64::MAX] {
            assert_eq!(code(&field(Kind::Integer), Value::Integer(whole)), None, "{whole}");
        }
        assert_eq!(code(&field(Kind::Boolean), Value::Text("yes".into())), Some(Code::MappingError));
    }

    #[test]
    fn values_take_the_form_that_the_configuration_says() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        let noon = day.and_hms_opt(12, 0, 0).unwrap();
        let paris = chrono::FixedOffset::east_opt(3600);
        let json = |field: &Field, value: Value<'_>| field.json(Some(&value));
        assert_eq!(json(&field(Kind::Number), decimal("120.10")), json!(120.1));
        assert_eq!(json(&field(Kind::Number), decimal("120.00")).to_string(), "120");
        assert_eq!(json(&field(Kind::Text), Value::Integer(7)), json!("7"));
        assert_eq!(json(&field(Kind::Date), Value::Date(day)), json!("2026-03-01"));
        assert_eq!(json(&field(Kind::Instant), Value::DateTime(noon, paris)), json!("2026-03-01T11:00:00Z"));
        let seconds = Field { format: Some(Format::Seconds), ..field(Kind::Instant) };
        assert_eq!(json(&seconds, Value::DateTime(noon, paris)), json!(1_772_362_800));
        let french = Field { format: Some(Format::Text("%d/%m/%Y".to_owned())), ..field(Kind::Date) };
        assert_eq!(json(&french, Value::Date(day)), json!("01/03/2026"));
        assert_eq!(json(&field(Kind::Json), Value::Text("{\"a\":[1]}".into())), json!({ "a": [1] }));
        assert_eq!(Field { cleared: Some(json!("")), ..field(Kind::Text) }.json(None), json!(""));
    }

    #[test]
    fn a_star_stands_for_one_part_of_a_name() {
        let pattern = NamePattern { text: "fields.*.label".to_owned() };
        assert_eq!(pattern.matches("fields.Seat No.label"), Some("Seat No"));
        assert_eq!(pattern.matches("fields.a.b.label"), None);
        assert_eq!(pattern.matches("fields..label"), None);
        assert_eq!(NamePattern { text: "points".to_owned() }.matches("points"), Some(""));
    }
}
