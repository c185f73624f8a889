//! `pass.json` as JSON: where its parts are, and what the template says of them (contract, section 4).
//!
//! A pass stays JSON from the template to the package: keys that nobody here knows keep their place and their value.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// Exactly one of these is a pass's layout (contract 4.1).
pub const STYLES: [&str; 5] = ["storeCard", "coupon", "eventTicket", "generic", "boardingPass"];

/// Lists of fields in a layout (contract 4.2).
pub const BLOCKS: [&str; 5] = ["headerFields", "primaryFields", "secondaryFields", "auxiliaryFields", "backFields"];

/// What the value of a field is, by the way it is shown (contract 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// With a number style or a currency, or a number in the template: its value must be a JSON number.
    Number,
    /// With a date or time style: ISO 8601 with an offset.
    Date,
}

/// A template's `pass.json`, and what it says of the passes made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    pub pass: Json,
    /// By the field's key.
    pub fields: BTreeMap<String, Shape>,
    /// The layout that the pass has.
    pub style: &'static str,
}

impl Design {
    /// Reads a template. Fails, in words that follow its name, when it is no pass that others could be made from.
    pub fn read(text: &str) -> Result<Design, String> {
        let pass: Json = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let style = layout(&pass)?;
        for name in ["organizationName", "description"] {
            if pass.get(name).and_then(Json::as_str).is_none_or(str::is_empty) {
                return Err(format!("has no {name}, without which no pass opens"));
            }
        }
        let mut shapes = BTreeMap::new();
        for field in fields(&pass) {
            let key = field.get("key").and_then(Json::as_str).unwrap_or_default();
            if key.is_empty() {
                return Err("has a field without key".to_owned());
            }
            if shapes.insert(key.to_owned(), shape(field)).is_some() {
                return Err(format!("has two fields with the key {key:?}; keys are unique in the whole pass"));
            }
        }
        Ok(Design { pass, fields: shapes, style })
    }
}

/// The one layout that a pass has.
pub fn layout(pass: &Json) -> Result<&'static str, String> {
    let found: Vec<&'static str> = STYLES.into_iter().filter(|style| pass.get(*style).is_some_and(Json::is_object)).collect();
    match found[..] {
        [style] => Ok(style),
        [] => Err(format!("has none of the layouts {}", STYLES.join(", "))),
        _ => Err(format!("has several layouts: {}", found.join(", "))),
    }
}

/// All fields, in the order in which they stand.
pub fn fields(pass: &Json) -> impl Iterator<Item = &Map<String, Json>> {
    let layout = STYLES.into_iter().find_map(|style| pass.get(style)).unwrap_or(&Json::Null);
    BLOCKS.into_iter().filter_map(|block| layout.get(block).and_then(Json::as_array)).flatten().filter_map(Json::as_object)
}

/// The field with this key, wherever it sits.
pub fn field<'p>(pass: &'p Json, key: &str) -> Option<&'p Map<String, Json>> {
    fields(pass).find(|field| has_key(field, key))
}

pub(super) fn field_mut<'p>(pass: &'p mut Json, key: &str) -> Option<&'p mut Map<String, Json>> {
    let style = STYLES.into_iter().find(|style| pass.get(*style).is_some())?;
    let layout = pass.get_mut(style)?.as_object_mut()?;
    let lists = layout.iter_mut().filter(|(name, _)| BLOCKS.contains(&name.as_str())).filter_map(|(_, list)| list.as_array_mut());
    lists.flatten().filter_map(Json::as_object_mut).find(|field| has_key(field, key))
}

fn has_key(field: &Map<String, Json>, key: &str) -> bool {
    field.get("key").and_then(Json::as_str) == Some(key)
}

/// What a field's own settings say of its value.
pub fn shape(field: &Map<String, Json>) -> Shape {
    let has = |name: &str| field.get(name).is_some();
    if has("numberStyle") || has("currencyCode") || field.get("value").is_some_and(Json::is_number) {
        Shape::Number
    } else if has("dateStyle") || has("timeStyle") {
        Shape::Date
    } else {
        Shape::Text
    }
}

/// Can the text stand in a barcode of this encoding? None where the encoding is not known here: the phone decides.
pub fn fits_encoding(text: &str, encoding: &str) -> Option<bool> {
    let lower = encoding.to_ascii_lowercase();
    match lower.as_str() {
        "utf-8" | "utf8" => Some(true),
        "iso-8859-1" | "latin1" => Some(text.chars().all(|c| u32::from(c) <= 0xff)),
        "us-ascii" | "ascii" => Some(text.is_ascii()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card() -> Json {
        json!({ "organizationName": "Example Coffee", "description": "Card", "storeCard": {
            "headerFields": [{ "key": "tier", "value": "Gold" }],
            "primaryFields": [{ "key": "points", "value": 12 }, { "key": "balance", "value": 0, "currencyCode": "EUR" }],
            "backFields": [{ "key": "until", "value": "2027-01-01T00:00Z", "dateStyle": "PKDateStyleShort", "timeStyle": "PKDateStyleNone" }] } })
    }

    #[test]
    fn a_template_says_what_its_fields_hold() {
        let design = Design::read(&card().to_string()).unwrap();
        let shapes: Vec<(&str, Shape)> = design.fields.iter().map(|(key, shape)| (key.as_str(), *shape)).collect();
        assert_eq!(shapes, [("balance", Shape::Number), ("points", Shape::Number), ("tier", Shape::Text), ("until", Shape::Date)]);
        assert_eq!(design.style, "storeCard");
    }

    #[test]
    fn what_no_phone_would_open_is_no_template() {
        let with = |change: fn(&mut Json)| {
            let mut card = card();
            change(&mut card);
            Design::read(&card.to_string()).unwrap_err()
        };
        assert!(with(|card| drop(card.as_object_mut().unwrap().remove("storeCard"))).contains("none of the layouts"));
        assert!(with(|card| card["coupon"] = json!({})).contains("several layouts"));
        assert!(with(|card| card["storeCard"]["backFields"][0]["key"] = json!("tier")).contains("two fields with the key \"tier\""));
        assert!(with(|card| card["storeCard"]["backFields"][0]["key"] = json!("")).contains("without key"));
        assert!(with(|card| card["description"] = json!("")).contains("no description"));
        assert!(Design::read("{").unwrap_err().contains("no JSON"));
    }

    #[test]
    fn a_barcode_takes_what_its_encoding_has_signs_for() {
        assert_eq!(fits_encoding("é", "iso-8859-1"), Some(true));
        assert_eq!(fits_encoding("€", "ISO-8859-1"), Some(false));
        assert_eq!(fits_encoding("é", "us-ascii"), Some(false));
        assert_eq!((fits_encoding("€", "utf-8"), fits_encoding("€", "shift_jis")), (Some(true), None));
    }
}
