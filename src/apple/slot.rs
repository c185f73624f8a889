//! The parts of a pass that a mapping can name, and how each is set.

use chrono::{DateTime, FixedOffset};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use super::pass::{Shape, field, field_mut, fits_encoding, shape};

/// Places that a pass may be relevant at (contract 4.1).
pub const LOCATIONS_MAX: usize = 10;

/// A part of a pass, by its name in a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The value of a field, by the field's key.
    Value(String),
    /// `KEY.label`.
    Label(String),
    /// `KEY.changeMessage`.
    ChangeMessage(String),
    BarcodeMessage,
    BarcodeAltText,
    Voided,
    /// A key of the pass itself.
    Top(Top),
}

/// Keys of the pass itself that a mapping can name (contract 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    ExpirationDate,
    RelevantDate,
    BackgroundColor,
    ForegroundColor,
    LabelColor,
    LogoText,
    Description,
    OrganizationName,
    GroupingIdentifier,
    Locations,
    MaxDistance,
}

impl Top {
    pub const ALL: [Top; 11] = [
        Top::ExpirationDate,
        Top::RelevantDate,
        Top::BackgroundColor,
        Top::ForegroundColor,
        Top::LabelColor,
        Top::LogoText,
        Top::Description,
        Top::OrganizationName,
        Top::GroupingIdentifier,
        Top::Locations,
        Top::MaxDistance,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Top::ExpirationDate => "expirationDate",
            Top::RelevantDate => "relevantDate",
            Top::BackgroundColor => "backgroundColor",
            Top::ForegroundColor => "foregroundColor",
            Top::LabelColor => "labelColor",
            Top::LogoText => "logoText",
            Top::Description => "description",
            Top::OrganizationName => "organizationName",
            Top::GroupingIdentifier => "groupingIdentifier",
            Top::Locations => "locations",
            Top::MaxDistance => "maxDistance",
        }
    }

    pub const fn is_date(self) -> bool {
        matches!(self, Top::ExpirationDate | Top::RelevantDate)
    }

    pub const fn is_colour(self) -> bool {
        matches!(self, Top::BackgroundColor | Top::ForegroundColor | Top::LabelColor)
    }
}

impl Slot {
    /// A name, where these are the keys of fields. A field whose key looks like another name comes first.
    pub fn named(name: &str, is_key: impl Fn(&str) -> bool) -> Option<Slot> {
        if is_key(name) {
            return Some(Slot::Value(name.to_owned()));
        }
        let of_field = |ending: &str| name.strip_suffix(ending).filter(|key| is_key(key)).map(str::to_owned);
        match name {
            "voided" => Some(Slot::Voided),
            "barcode.message" => Some(Slot::BarcodeMessage),
            "barcode.altText" => Some(Slot::BarcodeAltText),
            _ => Top::ALL
                .into_iter()
                .find(|top| top.name() == name)
                .map(Slot::Top)
                .or_else(|| of_field(".label").map(Slot::Label))
                .or_else(|| of_field(".changeMessage").map(Slot::ChangeMessage)),
        }
    }

    /// What the pass has there; nothing where it has an empty text.
    pub fn get<'p>(&self, pass: &'p Json) -> Option<&'p Json> {
        let value = match self {
            Slot::Value(key) => field(pass, key)?.get("value"),
            Slot::Label(key) => field(pass, key)?.get("label"),
            Slot::ChangeMessage(key) => field(pass, key)?.get("changeMessage"),
            Slot::BarcodeMessage => barcode(pass)?.get("message"),
            Slot::BarcodeAltText => barcode(pass)?.get("altText"),
            Slot::Voided => pass.get("voided"),
            Slot::Top(top) => pass.get(top.name()),
        }?;
        (value.as_str() != Some("")).then_some(value)
    }

    /// Puts a value there, or takes it away. The error says in words why the pass cannot hold it; then nothing was changed.
    pub fn set(&self, pass: &mut Json, value: Option<Json>) -> Result<(), String> {
        match self {
            Slot::Value(key) => {
                let field = field_mut(pass, key).ok_or_else(|| no_field(key))?;
                match (shape(field), &value) {
                    (Shape::Number, Some(Json::Number(_))) | (Shape::Text | Shape::Date, Some(Json::String(_) | Json::Number(_))) => {}
                    (Shape::Number, _) => return Err(format!("the field {key:?} of this pass shows a number, and the value is none")),
                    (_, None) => {}
                    _ => return Err(format!("the field {key:?} takes a text or a number")),
                }
                // A field without value is none; what overrules the value would hide it.
                place(field, "value", Some(value.unwrap_or_else(|| json!(""))));
                field.shift_remove("attributedValue");
            }
            Slot::Label(key) => place(field_mut(pass, key).ok_or_else(|| no_field(key))?, "label", value),
            Slot::ChangeMessage(key) => place(field_mut(pass, key).ok_or_else(|| no_field(key))?, "changeMessage", value),
            Slot::BarcodeMessage => set_message(pass, value.as_ref())?,
            Slot::BarcodeAltText => {
                let mut any = false;
                for code in barcodes_mut(pass) {
                    place(code, "altText", value.clone());
                    any = true;
                }
                if !any {
                    return Err(NO_BARCODE.to_owned());
                }
            }
            // Absent means false; a pass that never was voided stays as it is.
            Slot::Voided => match (value, pass.get("voided")) {
                (None | Some(Json::Bool(false)), None) => {}
                (value, _) => place(top(pass)?, "voided", Some(value.unwrap_or(Json::Bool(false)))),
            },
            Slot::Top(key) => place(top(pass)?, key.name(), value),
        }
        Ok(())
    }
}

const NO_BARCODE: &str = "this pass has no barcode";

fn no_field(key: &str) -> String {
    format!("this pass has no field {key:?}")
}

fn top(pass: &mut Json) -> Result<&mut Map<String, Json>, String> {
    pass.as_object_mut().ok_or_else(|| "the pass is no object".to_owned())
}

/// In its place where it is there already. What says the same in another form (`1240` and `1240.0`) is left as it is.
fn place(object: &mut Map<String, Json>, name: &str, value: Option<Json>) {
    match value {
        None => drop(object.shift_remove(name)),
        Some(value) if object.get(name).is_some_and(|old| same(old, &value)) => {}
        Some(value) => drop(object.insert(name.to_owned(), value)),
    }
}

fn same(one: &Json, other: &Json) -> bool {
    match (decimal(one), decimal(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// A JSON number, exactly.
pub fn decimal(json: &Json) -> Option<Decimal> {
    let text = json.as_number()?.to_string();
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}

/// An instant as passes write it: ISO 8601 with hours, minutes and an offset, seconds where somebody wants them (contract 4.1).
pub fn instant_of(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%#z")).ok()
}

/// The barcode that counts: the first of the list, or the single one of older passes.
fn barcode(pass: &Json) -> Option<&Json> {
    pass.get("barcodes").and_then(Json::as_array).and_then(|all| all.first()).or_else(|| pass.get("barcode"))
}

fn barcodes_mut(pass: &mut Json) -> impl Iterator<Item = &mut Map<String, Json>> {
    let keys = pass.as_object_mut().into_iter().flat_map(Map::iter_mut);
    keys.filter(|(name, _)| matches!(name.as_str(), "barcodes" | "barcode"))
        .flat_map(|(_, value)| match value {
            Json::Array(all) => all.iter_mut().collect::<Vec<_>>(),
            one => vec![one],
        })
        .filter_map(Json::as_object_mut)
}

/// Barcodes stand in several forms for phones and scanners of several ages; those that say the same go on saying the same.
fn set_message(pass: &mut Json, value: Option<&Json>) -> Result<(), String> {
    let text = value.and_then(Json::as_str).filter(|text| !text.is_empty()).ok_or("a barcode's message is a text")?.to_owned();
    let old = barcode(pass).ok_or(NO_BARCODE)?.get("message").cloned();
    let meant = |code: &Map<String, Json>| code.get("message") == old.as_ref();
    for code in barcodes_mut(pass).filter(|code| meant(code)) {
        let encoding = code.get("messageEncoding").and_then(Json::as_str).unwrap_or("iso-8859-1");
        if fits_encoding(&text, encoding) == Some(false) {
            return Err(format!("the barcode's message has signs that {encoding} does not have"));
        }
    }
    for code in barcodes_mut(pass).filter(|code| meant(code)) {
        place(code, "message", Some(Json::String(text.clone())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass() -> Json {
        json!({ "x-unknown": { "b": 1, "a": 2 }, "barcodes": [
                { "format": "PKBarcodeFormatQR", "message": "m-1", "messageEncoding": "iso-8859-1" },
                { "format": "PKBarcodeFormatCode128", "message": "m-1", "messageEncoding": "iso-8859-1" },
                { "format": "PKBarcodeFormatAztec", "message": "else", "messageEncoding": "utf-8" }],
            "storeCard": { "primaryFields": [{ "key": "points", "value": 1240.0, "label": "POINTS" }], "backFields": [
                { "key": "terms", "value": "-", "attributedValue": "<a href='x'>x</a>" }] } })
    }

    fn slot(name: &str) -> Slot {
        Slot::named(name, |key| matches!(key, "points" | "terms" | "gone")).unwrap()
    }

    fn set(pass: &mut Json, name: &str, value: Json) -> Result<(), String> {
        slot(name).set(pass, (!value.is_null()).then_some(value))
    }

    #[test]
    fn what_is_set_stands_where_it_stood_and_nothing_else_moves() {
        let mut card = pass();
        for (name, value) in [("points", json!(7)), ("points.label", json!("P")), ("expirationDate", json!("2027-01-01T00:00:00Z"))] {
            set(&mut card, name, value.clone()).unwrap();
            assert_eq!(slot(name).get(&card), Some(&value), "{name}");
        }
        let keys: Vec<&String> = card.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["x-unknown", "barcodes", "storeCard", "expirationDate"]);
        assert_eq!(card["x-unknown"].to_string(), r#"{"b":1,"a":2}"#);
        set(&mut card, "expirationDate", Json::Null).unwrap();
        assert_eq!(slot("expirationDate").get(&card), None);
    }

    #[test]
    fn what_says_the_same_changes_nothing() {
        let mut card = pass();
        for (name, value) in
            [("points", json!(1240)), ("voided", json!(false)), ("logoText", Json::Null), ("points.label", json!("POINTS"))]
        {
            set(&mut card, name, value).unwrap();
        }
        assert_eq!(card.to_string(), pass().to_string());
        set(&mut card, "voided", json!(true)).unwrap();
        set(&mut card, "voided", json!(false)).unwrap();
        assert_eq!(card["voided"], json!(false), "what was voided says that it is not any more");
    }

    #[test]
    fn instants_may_lack_seconds() {
        let same = ["2027-12-31T23:59:00+01:00", "2027-12-31T23:59+01:00", "2027-12-31T22:59Z", "2027-12-31T22:59:00Z"];
        assert!(same.iter().all(|text| instant_of(text) == instant_of(same[0])) && instant_of(same[0]).is_some());
        assert_eq!(instant_of("2027-12-31"), None);
    }

    #[test]
    fn barcodes_that_say_the_same_stay_together() {
        let mut card = pass();
        set(&mut card, "barcode.message", json!("m-2")).unwrap();
        let messages: Vec<&str> = card["barcodes"].as_array().unwrap().iter().filter_map(|code| code["message"].as_str()).collect();
        assert_eq!(messages, ["m-2", "m-2", "else"]);
        assert!(set(&mut card, "barcode.message", json!("5 €")).unwrap_err().contains("iso-8859-1"));
        assert_eq!(slot("barcode.message").get(&card), Some(&json!("m-2")));
    }

    #[test]
    fn a_pass_that_cannot_hold_it_says_why() {
        let mut card = pass();
        assert!(set(&mut card, "points", json!("many")).unwrap_err().contains("shows a number"));
        assert!(set(&mut card, "points", Json::Null).unwrap_err().contains("shows a number"));
        assert!(set(&mut card, "gone", json!("x")).unwrap_err().contains("no field \"gone\""));
        set(&mut card, "terms", json!("new")).unwrap();
        assert!(card["storeCard"]["backFields"][0].get("attributedValue").is_none(), "it would hide the value");
        assert_eq!(Slot::named("colour", |_| false), None);
    }
}
