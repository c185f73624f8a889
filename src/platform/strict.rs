//! JSON read without mercy: one meaning or none (failure model D18).
//!
//! RFC 8259 section 4 leaves open what an object means whose names repeat, and readers differ: what one takes for the pass that was
//! changed, another takes for a different one. Such an answer proves nothing. Nesting beyond 128 levels is refused by `serde_json` itself.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a whole text. None when it is not JSON, or names something twice in one object.
pub(super) fn read(text: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Strict>(text).ok().map(|strict| strict.0)
}

/// The object that these bytes are, or none.
pub(super) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match read(text) {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// The array that these bytes are, or none.
pub(super) fn array(text: &[u8]) -> Option<Vec<Value>> {
    match read(text) {
        Some(Value::Array(array)) => Some(array),
        _ => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON whose objects name everything once")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_meaning_is_read_as_ever() {
        let text = br#" {"a":[1,-2,1.5,1e3,true,null,"\u00e9"],"b":{"a":{}}} "#;
        assert_eq!(read(text), serde_json::from_slice(text).ok());
    }

    /// D18.
    #[test]
    fn a_name_that_stands_twice_at_any_depth_is_no_answer() {
        for text in [r#"{"id":"a","id":"b"}"#, r#"{"id":"a","id":"a"}"#, r#"[{"x":{"\u0069d":1,"id":2}}]"#] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    /// D18.
    #[test]
    fn deep_nesting_and_what_follows_an_answer_are_refused() {
        assert_eq!(read("[".repeat(100_000).as_bytes()), None);
        assert_eq!(read(format!("{}{}", "[".repeat(1000), "]".repeat(1000)).as_bytes()), None);
        assert_eq!(read(b"{}{}"), None);
        assert_eq!(read(b"{} <html>"), None);
        assert_eq!(read(b""), None);
    }
}
