//! Values in the kind that a pass field holds.

use std::borrow::Cow;

use chrono::{Datelike, FixedOffset, NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;

use crate::platform::FieldKind;
use crate::schema::value::Value;
use crate::schema::{strict_date, strict_datetime};
use crate::zone::LocalTimes;

/// Turns a value into the kind that the platform's field holds. The message never repeats the value.
pub fn coerce<'v>(value: Value<'v>, kind: FieldKind, times: &LocalTimes) -> Result<Value<'v>, String> {
    match kind {
        FieldKind::Any => Ok(value),
        FieldKind::Text => Ok(match value {
            Value::Text(_) => value,
            other => Value::Text(Cow::Owned(other.canonical().into_owned())),
        }),
        FieldKind::Number => match value {
            Value::Integer(_) | Value::Number(_) | Value::Big(_) => Ok(value),
            Value::Text(text) => Decimal::from_str_exact(text.trim()).map(Value::Number).map_err(|_| "the field wants a number".into()),
            _ => Err("the field wants a number".into()),
        },
        FieldKind::Integer => match value {
            Value::Integer(_) => Ok(value),
            Value::Number(number) if number.is_integer() => {
                i64::try_from(number).map(Value::Integer).map_err(|_| "the number is too large for the field".into())
            }
            Value::Text(text) => text.trim().parse().map(Value::Integer).map_err(|_| "the field wants a whole number".into()),
            _ => Err("the field wants a whole number".into()),
        },
        FieldKind::Boolean => match value {
            Value::Boolean(_) => Ok(value),
            Value::Text(text) if text == "true" => Ok(Value::Boolean(true)),
            Value::Text(text) if text == "false" => Ok(Value::Boolean(false)),
            _ => Err("the field wants true or false".into()),
        },
        FieldKind::Date => match value {
            Value::Date(_) => Ok(value),
            Value::DateTime(time, _) => Ok(Value::Date(time.date())),
            Value::Text(text) => strict_date(text.trim()).map(Value::Date).ok_or_else(|| "the field wants a date, YYYY-MM-DD".to_owned()),
            _ => Err("the field wants a date".into()),
        }
        .and_then(|value| match &value {
            Value::Date(date) => likely(*date).map(|()| value),
            _ => Ok(value),
        }),
        FieldKind::Instant => instant(value, times).map(|time| Value::DateTime(time, FixedOffset::east_opt(0))),
    }
}

/// UTC. A date alone means the end of that day in the zone; what a local time means that the zone skips or repeats, the feed says.
fn instant(value: Value<'_>, times: &LocalTimes) -> Result<NaiveDateTime, String> {
    let end_of_day = |date: NaiveDate| {
        likely(date)?;
        times.end_of_day(date).map(|time| time.naive_utc()).ok_or_else(|| "this day lies outside the calendar".to_owned())
    };
    let local = match value {
        Value::DateTime(time, Some(offset)) => {
            let time = time - offset;
            return likely(time.date()).map(|()| time);
        }
        Value::DateTime(time, None) => time,
        Value::Date(date) => return end_of_day(date),
        Value::Text(text) => {
            let text = text.trim();
            match (strict_datetime(text), strict_date(text)) {
                (Some((time, Some(offset))), _) => {
                    let time = time - offset;
                    return likely(time.date()).map(|()| time);
                }
                (Some((time, None)), _) => time,
                (None, Some(date)) => return end_of_day(date),
                (None, None) => return Err("the field wants a date, or a date and time, as in 2026-01-31T18:00:00Z".to_owned()),
            }
        }
        _ => return Err("the field wants a date or a date and time".into()),
    };
    likely(local.date())?;
    times.instant(local).map(|time| time.naive_utc())
}

/// Programs write dates long ago for "none" (0001-01-01, 1899-12-30), and a year of two digits is one of the first century. No pass ends or
/// begins there, and nobody who has one was born then.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

fn likely(date: NaiveDate) -> Result<(), String> {
    if YEARS.contains(&date.year()) { Ok(()) } else { Err(format!("the year is not between {} and {}", YEARS.start(), YEARS.end())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Zone;

    fn paris() -> LocalTimes {
        LocalTimes::strict(Zone::Named(chrono_tz::Europe::Paris))
    }

    fn date(text: &str) -> Value<'static> {
        Value::Date(text.parse().unwrap())
    }

    #[test]
    fn a_date_means_the_end_of_its_day_on_both_sides_of_daylight_saving() {
        let utc = |text| coerce(date(text), FieldKind::Instant, &paris()).unwrap().canonical().into_owned();
        assert_eq!(utc("2026-03-28"), "2026-03-28T22:59:59Z");
        assert_eq!(utc("2026-03-29"), "2026-03-29T21:59:59Z");
        assert_eq!(utc("2026-10-25"), "2026-10-25T22:59:59Z");
    }

    #[test]
    fn times_that_do_not_exist_or_exist_twice_are_refused() {
        let local = |text: &str| coerce(Value::DateTime(text.parse().unwrap(), None), FieldKind::Instant, &paris());
        assert!(local("2026-03-29T02:30:00").unwrap_err().contains("does not occur"));
        assert!(local("2026-10-25T02:30:00").unwrap_err().contains("twice"));
    }

    #[test]
    fn values_become_what_the_field_holds_or_are_refused() {
        let to = |value, kind| coerce(value, kind, &LocalTimes::strict(Zone::UTC)).map(|value| value.canonical().into_owned());
        assert_eq!(to(Value::Integer(7), FieldKind::Text).unwrap(), "7");
        assert_eq!(to(Value::Text("12.50".into()), FieldKind::Number).unwrap(), "12.5");
        assert_eq!(to(Value::Number("3.0".parse().unwrap()), FieldKind::Integer).unwrap(), "3");
        assert!(to(Value::Number("3.5".parse().unwrap()), FieldKind::Integer).is_err());
        assert!(to(Value::Text("yes".into()), FieldKind::Boolean).is_err());
    }
}
