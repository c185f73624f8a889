//! What a cell means once its type is known.

use std::borrow::Cow;

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

/// A logical value. Missing values are `None` around it, never a variant.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    /// An exact decimal of at most 28 digits.
    Number(Decimal),
    /// An integer or number beyond the two above, in canonical text: no sign `+`, no leading zeros, no exponent.
    Big(Cow<'a, str>),
    Boolean(bool),
    Date(NaiveDate),
    Time(NaiveTime),
    /// A local date-time, or an instant when the text carried an offset.
    DateTime(NaiveDateTime, Option<FixedOffset>),
    Year(i32),
    YearMonth(i32, u32),
    /// ISO 8601 text as written.
    Duration(Cow<'a, str>),
    /// Longitude and latitude, in degrees.
    Point(Box<[Decimal; 2]>),
    /// An object, array or GeoJSON value. Boxed, as a point is, because every value is moved as often as the largest kind allows.
    Json(Box<serde_json::Value>),
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    /// Cuts the tie to the record's bytes.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Big(text) => Value::Big(Cow::Owned(text.into_owned())),
            Value::Duration(text) => Value::Duration(Cow::Owned(text.into_owned())),
            Value::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Value::Integer(n) => Value::Integer(n),
            Value::Number(n) => Value::Number(n),
            Value::Boolean(b) => Value::Boolean(b),
            Value::Date(d) => Value::Date(d),
            Value::Time(t) => Value::Time(t),
            Value::DateTime(t, offset) => Value::DateTime(t, offset),
            Value::Year(y) => Value::Year(y),
            Value::YearMonth(y, m) => Value::YearMonth(y, m),
            Value::Point(point) => Value::Point(point),
            Value::Json(json) => Value::Json(json),
        }
    }

    /// The one text that equal values share: what a pass shows, what a template sees, what a digest is taken of.
    pub fn canonical(&self) -> Cow<'_, str> {
        Cow::Owned(match self {
            Value::Text(text) | Value::Big(text) | Value::Duration(text) => return Cow::Borrowed(text),
            Value::Integer(n) => n.to_string(),
            Value::Number(n) => n.normalize().to_string(),
            Value::Boolean(b) => return Cow::Borrowed(if *b { "true" } else { "false" }),
            Value::Date(d) => d.format("%Y-%m-%d").to_string(),
            Value::Time(t) => t.format("%H:%M:%S%.f").to_string(),
            Value::DateTime(t, None) => t.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            Value::DateTime(t, Some(offset)) => (*t - *offset).format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
            Value::Year(y) => format!("{y:04}"),
            Value::YearMonth(y, m) => format!("{y:04}-{m:02}"),
            Value::Point(point) => format!("{}, {}", point[0].normalize(), point[1].normalize()),
            Value::Json(json) => json.to_string(),
            Value::List(items) => items.iter().map(|item| item.canonical().into_owned()).collect::<Vec<_>>().join(","),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_small() {
        assert!(size_of::<Option<Value<'_>>>() <= 32, "{}", size_of::<Option<Value<'_>>>());
    }

    #[test]
    fn equal_values_share_their_text() {
        assert_eq!(Value::Number("250.10".parse().unwrap()).canonical(), "250.1");
        let noon = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap().and_hms_opt(14, 0, 0).unwrap();
        let paris = FixedOffset::east_opt(7200).unwrap();
        assert_eq!(Value::DateTime(noon, Some(paris)).canonical(), "2026-01-02T12:00:00Z");
    }
}
