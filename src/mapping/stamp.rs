//! When a row's state was true: the number by which older rows are told from newer ones.

use chrono::{NaiveTime, TimeZone};

use super::Mapping;
use crate::row::Verb;
use crate::schema::value::Value;
use crate::schema::{FieldType, Schema};

/// Types of a column that can be compared without a doubt.
pub(super) const KINDS: [FieldType; 3] = [FieldType::DateTime, FieldType::Date, FieldType::Integer];

impl Mapping {
    /// The ledger's name for the feed's clock. Stamps of another column, or of another type, are not compared with these.
    pub fn clock_name(&self, feed: &str, schema: &Schema) -> Option<String> {
        let field = &schema.fields()[self.updated_at?];
        // No pass field begins so.
        Some(format!("@updated_at {feed} {} {}", field.name, field.kind))
    }

    /// Microseconds since 1970, or the integer itself. None for rows that add: an event is never out of date. Fails where the row does
    /// not say when; the message never repeats the value.
    pub(super) fn stamp(&self, verb: Option<Verb>, values: &[Option<Value<'_>>]) -> Result<Option<i64>, String> {
        let Some(field) = self.updated_at else { return Ok(None) };
        if verb.is_some_and(|verb| verb.add().is_some()) {
            return Ok(None);
        }
        let local = match &values[field] {
            None => return Err("the cell is empty that says when the row was updated".into()),
            Some(Value::Integer(number)) => return Ok(Some(*number)),
            Some(Value::DateTime(time, Some(offset))) => return Ok(Some((*time - *offset).and_utc().timestamp_micros())),
            Some(Value::DateTime(time, None)) => *time,
            Some(Value::Date(date)) => date.and_time(NaiveTime::MIN),
            Some(_) => return Err("the number is too large to be compared".into()),
        };
        if !matches!(values[field], Some(Value::Date(_))) {
            return self.times.instant(local).map(|moment| Some(moment.timestamp_micros()));
        }
        // Midnight may be skipped or come twice; an order is all that is wanted of a date.
        let moment = self.times.zone.from_local_datetime(&local).earliest();
        Ok(Some(moment.map_or_else(|| local.and_utc().timestamp_micros(), |moment| moment.timestamp_micros())))
    }
}
