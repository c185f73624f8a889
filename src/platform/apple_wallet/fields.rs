//! What a mapping can name of a pass, and values as passes hold them (contract, section 4).

use chrono::{DateTime, FixedOffset, Utc};
use rust_decimal::Decimal;
use serde_json::{Value as Json, json};

use crate::apple::pass::{Design, Shape, fits_encoding};
use crate::apple::slot::{LOCATIONS_MAX, Slot, Top, decimal, instant_of};
use crate::outcome::Code;
use crate::platform::http::exact;
use crate::platform::{FieldKind, FieldRule, ValueFault};
use crate::schema::value::Value;

/// All fields of a change are carried out together.
pub(super) const FIELDS: &str = "fields";

/// Names beside the template's fields, for those who misspell one.
const NAMES: [&str; 3] = ["voided", "barcode.message", "barcode.altText"];

pub(super) fn slot(name: &str, design: &Design) -> Result<Slot, String> {
    let slot = Slot::named(name, |key| design.fields.contains_key(key));
    match slot {
        None => Err(unknown(name, design)),
        Some(Slot::BarcodeMessage | Slot::BarcodeAltText) if encodings(design).is_empty() => {
            Err("the template's pass.json has no barcode; add one to its barcodes first".to_owned())
        }
        Some(Slot::Top(Top::GroupingIdentifier)) if !matches!(design.style, "eventTicket" | "boardingPass") => {
            Err(format!("groupingIdentifier is for event tickets and boarding passes alone, and the template is a {}", design.style))
        }
        Some(slot) => Ok(slot),
    }
}

fn unknown(name: &str, design: &Design) -> String {
    let known: Vec<&str> = design.fields.keys().map(String::as_str).chain(NAMES).chain(Top::ALL.map(Top::name)).collect();
    let near = crate::mapping::did_you_mean(name, known.iter().copied());
    format!(
        "the template's pass.json has no field {name:?}{near}; its fields are {}; beside them there are {} and {}",
        listed(&design.fields.keys().map(String::as_str).collect::<Vec<_>>()),
        listed(&NAMES),
        listed(&Top::ALL.map(Top::name))
    )
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// How the barcodes of the template write their messages.
fn encodings(design: &Design) -> Vec<&str> {
    let single = design.pass.get("barcode").into_iter();
    let all = design.pass.get("barcodes").and_then(Json::as_array).into_iter().flatten().chain(single);
    all.map(|code| code.get("messageEncoding").and_then(Json::as_str).unwrap_or("iso-8859-1")).collect()
}

pub(super) fn rule(slot: &Slot, design: &Design) -> FieldRule {
    let (kind, clearable) = match slot {
        Slot::Value(key) => match design.fields.get(key) {
            Some(Shape::Number) => (FieldKind::Number, false),
            Some(Shape::Date) => (FieldKind::Instant, true),
            _ => (FieldKind::Text, true),
        },
        Slot::Label(_) | Slot::ChangeMessage(_) | Slot::BarcodeAltText => (FieldKind::Text, true),
        Slot::BarcodeMessage => (FieldKind::Text, false),
        Slot::Voided => (FieldKind::Boolean, false),
        Slot::Top(top) => match top {
            top if top.is_date() => (FieldKind::Instant, true),
            Top::Description | Top::OrganizationName => (FieldKind::Text, false),
            Top::MaxDistance => (FieldKind::Number, true),
            Top::Locations => (FieldKind::Any, true),
            _ => (FieldKind::Text, true),
        },
    };
    let balance = matches!(slot, Slot::Value(_)) && kind == FieldKind::Number;
    FieldRule { kind, operation: FIELDS, clearable, balance }
}

/// The value as a pass holds it, or why it cannot.
pub(super) fn json_of(slot: &Slot, value: &Value<'_>, design: &Design) -> Result<Json, ValueFault> {
    let fault = |code, message: &str| Err(ValueFault { code, message: message.to_owned() });
    let rule = rule(slot, design);
    match (rule.kind, value) {
        (FieldKind::Number, Value::Integer(n)) => number(Decimal::from(*n)),
        (FieldKind::Number, Value::Number(n)) => number(*n),
        (FieldKind::Number, Value::Big(_)) => fault(Code::ValueTooLarge, "the number has more than 28 digits"),
        (FieldKind::Number, _) => fault(Code::MappingError, "this field shows a number"),
        (FieldKind::Boolean, Value::Boolean(on)) => Ok(Json::Bool(*on)),
        (FieldKind::Boolean, _) => fault(Code::MappingError, "this field takes true or false"),
        // Seconds may be left out and are understood (contract 4.1).
        (FieldKind::Instant, Value::DateTime(time, _)) => Ok(Json::String(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())),
        (FieldKind::Instant, _) => fault(Code::MappingError, "this field takes a date and time, as in 2026-01-31T18:00:00+01:00"),
        (FieldKind::Any, _) => locations(value),
        _ => text(slot, &value.canonical(), design),
    }
}

fn number(number: Decimal) -> Result<Json, ValueFault> {
    let message = || "JSON readers keep about 15 significant digits and would change the number".to_owned();
    exact(number.normalize()).ok_or_else(|| ValueFault { code: Code::ValueInexact, message: message() })
}

fn text(slot: &Slot, text: &str, design: &Design) -> Result<Json, ValueFault> {
    let fault = |message: String| Err(ValueFault { code: Code::MappingError, message });
    if text.contains('\0') {
        return fault("the text contains a NUL character".to_owned());
    }
    match slot {
        Slot::BarcodeMessage => {
            if text.is_empty() {
                return fault("a barcode says something".to_owned());
            }
            if let Some(encoding) = encodings(design).into_iter().find(|encoding| fits_encoding(text, encoding) == Some(false)) {
                return fault(format!("the text has signs that the barcode's encoding, {encoding}, does not have"));
            }
        }
        Slot::Top(top) if top.is_colour() && !is_colour(text) => {
            return fault("a colour is written rgb(60, 30, 20), each part from 0 to 255".to_owned());
        }
        // Apple asks for it, and without it phones show a text of their own (contract 8).
        Slot::ChangeMessage(_) if !text.is_empty() && !text.contains("%@") => {
            return fault("a change message contains %@, in whose place phones show the new value".to_owned());
        }
        _ => {}
    }
    Ok(Json::String(text.to_owned()))
}

fn is_colour(text: &str) -> bool {
    let parts = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    parts.is_some_and(|parts| {
        let parts: Vec<&str> = parts.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok() && part.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// A list of places, each with latitude and longitude in degrees.
fn locations(value: &Value<'_>) -> Result<Json, ValueFault> {
    let fault = |message: &str| Err(ValueFault { code: Code::MappingError, message: message.to_owned() });
    let places = match value {
        Value::Json(json) => (**json).clone(),
        // Longitude first, as Table Schema has it.
        Value::Point(point) => {
            let degree = |n: Decimal| exact(n.normalize()).unwrap_or(Json::Null);
            json!([{ "latitude": degree(point[1]), "longitude": degree(point[0]) }])
        }
        Value::Text(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        _ => Json::Null,
    };
    let Some(all) = places.as_array() else {
        return fault("locations are a JSON list, such as [{\"latitude\": 48.85, \"longitude\": 2.35}]");
    };
    if all.len() > LOCATIONS_MAX {
        return fault("a pass has at most 10 locations");
    }
    let degrees = |place: &Json, name: &str, most: f64| place.get(name).and_then(Json::as_f64).is_some_and(|degrees| degrees.abs() <= most);
    if !all.iter().all(|place| degrees(place, "latitude", 90.0) && degrees(place, "longitude", 180.0)) {
        return fault("a location has a latitude from -90 to 90 and a longitude from -180 to 180");
    }
    Ok(places)
}

/// A value as it is read from a pass, in the kind of its rule; none where it is of another.
pub(super) fn value_of(slot: &Slot, json: &Json, design: &Design) -> Option<Value<'static>> {
    match (rule(slot, design).kind, json) {
        (FieldKind::Number, Json::Number(_)) => decimal(json).map(Value::Number),
        (FieldKind::Boolean, Json::Bool(on)) => Some(Value::Boolean(*on)),
        (FieldKind::Instant, Json::String(text)) => instant_of(text).map(utc),
        (FieldKind::Any, json) => Some(Value::Json(Box::new(json.clone()))),
        (FieldKind::Text, Json::String(text)) => Some(Value::Text(text.clone().into())),
        _ => None,
    }
}

fn utc(time: DateTime<FixedOffset>) -> Value<'static> {
    Value::DateTime(time.with_timezone(&Utc).naive_utc(), FixedOffset::east_opt(0))
}

/// Every part that a pass made from this template can have.
pub(super) fn slots(design: &Design) -> impl Iterator<Item = (String, Slot)> + '_ {
    let keys = design.fields.keys().flat_map(|key| {
        let of = |ending: &str, slot: fn(String) -> Slot| (format!("{key}{ending}"), slot(key.clone()));
        [of("", Slot::Value), of(".label", Slot::Label), of(".changeMessage", Slot::ChangeMessage)]
    });
    let others = NAMES.into_iter().chain(Top::ALL.map(Top::name));
    keys.chain(others.filter_map(|name| Some((name.to_owned(), Slot::named(name, |_| false)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design() -> Design {
        let pass = json!({ "organizationName": "o", "description": "d", "barcodes": [{ "message": "m", "messageEncoding": "iso-8859-1" }],
            "storeCard": { "primaryFields": [{ "key": "points", "value": 0 }, { "key": "until", "value": "", "dateStyle": "PKDateStyleShort" }],
            "headerFields": [{ "key": "tier", "value": "" }] } });
        Design::read(&pass.to_string()).unwrap()
    }

    fn checked(name: &str, value: &Value<'_>) -> Result<Json, Code> {
        let design = design();
        json_of(&slot(name, &design).unwrap(), value, &design).map_err(|fault| fault.code)
    }

    #[test]
    fn values_travel_in_the_form_of_their_field() {
        let text = |text: &str| Value::Text(text.to_owned().into());
        assert_eq!(checked("points", &Value::Number("12.50".parse().unwrap())), Ok(json!(12.5)));
        assert_eq!(checked("tier", &text("Gold")), Ok(json!("Gold")));
        assert_eq!(checked("voided", &Value::Boolean(true)), Ok(json!(true)));
        let time = chrono::NaiveDate::from_ymd_opt(2027, 12, 31).unwrap().and_hms_opt(22, 59, 0).unwrap();
        for name in ["expirationDate", "until"] {
            assert_eq!(checked(name, &Value::DateTime(time, FixedOffset::east_opt(0))), Ok(json!("2027-12-31T22:59:00Z")));
        }
        assert_eq!(checked("backgroundColor", &text("rgb(1, 20,255)")), Ok(json!("rgb(1, 20,255)")));
        assert_eq!(checked("locations", &text("[{\"latitude\":1,\"longitude\":2}]")), Ok(json!([{ "latitude": 1, "longitude": 2 }])));
        assert_eq!(checked("barcode.message", &text("é")), Ok(json!("é")));
    }

    #[test]
    fn what_a_phone_would_refuse_is_refused_before_it_is_sent() {
        let text = |text: &str| Value::Text(text.to_owned().into());
        for (name, value, code) in [
            ("points", text("many"), Code::MappingError),
            ("points", Value::Number("0.12345678901234567891".parse().unwrap()), Code::ValueInexact),
            ("barcode.message", text("5 €"), Code::MappingError),
            ("barcode.message", text(""), Code::MappingError),
            ("backgroundColor", text("#3c1e14"), Code::MappingError),
            ("backgroundColor", text("rgb(1,2,256)"), Code::MappingError),
            ("tier.changeMessage", text("You are now Gold"), Code::MappingError),
            ("locations", text("[{\"latitude\":91,\"longitude\":2}]"), Code::MappingError),
            ("expirationDate", text("tomorrow"), Code::MappingError),
        ] {
            assert_eq!(checked(name, &value), Err(code), "{name} {value:?}");
        }
    }

    #[test]
    fn a_field_that_the_template_lacks_is_told_with_those_it_has() {
        let fault = slot("point", &design()).unwrap_err();
        assert!(fault.contains("did you mean \"points\"") && fault.contains("tier") && fault.contains("expirationDate"), "{fault}");
        assert!(slot("groupingIdentifier", &design()).unwrap_err().contains("storeCard"));
    }
}
