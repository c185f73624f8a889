//! What a phone wants of a pass.json (contracts/apple-wallet.md section 4).

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

use super::package::{Check, Refusal};

pub const STYLES: [&str; 5] = ["storeCard", "coupon", "eventTicket", "generic", "boardingPass"];
pub const GROUPS: [&str; 5] = ["headerFields", "primaryFields", "secondaryFields", "auxiliaryFields", "backFields"];
const BARCODES: [&str; 4] = ["PKBarcodeFormatQR", "PKBarcodeFormatPDF417", "PKBarcodeFormatAztec", "PKBarcodeFormatCode128"];
const TRANSIT: [&str; 5] = ["PKTransitTypeAir", "PKTransitTypeBoat", "PKTransitTypeBus", "PKTransitTypeTrain", "PKTransitTypeGeneric"];
const DATE_STYLES: [&str; 5] = ["PKDateStyleNone", "PKDateStyleShort", "PKDateStyleMedium", "PKDateStyleLong", "PKDateStyleFull"];
const NUMBER_STYLES: [&str; 4] = ["PKNumberStyleDecimal", "PKNumberStylePercent", "PKNumberStyleScientific", "PKNumberStyleSpellOut"];
const ALIGNMENTS: [&str; 4] = ["PKTextAlignmentLeft", "PKTextAlignmentCenter", "PKTextAlignmentRight", "PKTextAlignmentNatural"];

/// The style key of a pass.
pub fn style(pass: &Value) -> Option<&'static str> {
    STYLES.into_iter().find(|style| pass.get(style).is_some())
}

/// Every field, with the group it stands in.
pub fn fields(pass: &Value) -> Vec<(&'static str, &Value)> {
    let Some(block) = style(pass).and_then(|style| pass.get(style)) else { return Vec::new() };
    let group = |group: &'static str| block[group].as_array().into_iter().flatten().map(move |field| (group, field));
    GROUPS.into_iter().flat_map(group).collect()
}

pub fn check(pass: &Value) -> Result<(), Refusal> {
    let object = pass.as_object().ok_or_else(|| refused("pass.json is no object"))?;
    if object.get("formatVersion").and_then(Value::as_i64) != Some(1) {
        return Err(refused("formatVersion is not 1"));
    }
    for name in ["passTypeIdentifier", "teamIdentifier", "serialNumber", "organizationName", "description"] {
        if text(object, name)?.is_none_or(str::is_empty) {
            return Err(refused(format!("there is no {name}")));
        }
    }
    if text(object, "teamIdentifier")?.is_some_and(|team| team.len() != 10) {
        return Err(refused("teamIdentifier has not 10 characters"));
    }
    let styles = STYLES.iter().filter(|style| object.contains_key(**style)).count();
    if styles != 1 {
        return Err(Refusal::new(Check::Style, format!("there are {styles} styles")));
    }
    let style = style(pass).unwrap_or_default();
    if style == "boardingPass" && !pass[style]["transitType"].as_str().is_some_and(|transit| TRANSIT.contains(&transit)) {
        return Err(Refusal::new(Check::Style, "a boarding pass has no transitType"));
    }
    if object.contains_key("groupingIdentifier") && !["eventTicket", "boardingPass"].contains(&style) {
        return Err(refused(format!("a {style} has a groupingIdentifier")));
    }
    web_service(object)?;
    barcodes(object)?;
    relevance(object)?;
    let mut keys = BTreeSet::new();
    let block = pass[style].as_object().ok_or_else(|| Refusal::new(Check::Style, "the style is no object"))?;
    for group in GROUPS {
        let Some(fields) = block.get(group) else { continue };
        for value in fields.as_array().ok_or_else(|| Refusal::new(Check::Field, format!("{group} is no list")))? {
            let key = field(group, value).map_err(|what| Refusal::new(Check::Field, format!("{what}: {value}")))?;
            if !keys.insert(key) {
                return Err(Refusal::new(Check::Field, format!("key {key} is there twice")));
            }
        }
    }
    Ok(())
}

fn refused(what: impl Into<String>) -> Refusal {
    Refusal::new(Check::Pass, what)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refused(format!("{name} is no text"))),
    }
}

/// A passes that can be updated has both an address and a token.
fn web_service(object: &Map<String, Value>) -> Result<(), Refusal> {
    match (text(object, "webServiceURL")?, text(object, "authenticationToken")?) {
        (None, None) => Ok(()),
        (Some(url), Some(token)) => {
            if token.chars().count() < 16 {
                return Err(Refusal::new(Check::Token, "the authenticationToken has less than 16 characters"));
            }
            let absolute = url::Url::parse(url).is_ok_and(|url| ["https", "http"].contains(&url.scheme()) && url.query().is_none());
            if absolute { Ok(()) } else { Err(refused(format!("webServiceURL {url} is none"))) }
        }
        (url, _) => Err(Refusal::new(Check::Token, format!("of webServiceURL and authenticationToken one is missing ({url:?})"))),
    }
}

fn barcodes(object: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(barcodes) = object.get("barcodes") else { return Ok(()) };
    for barcode in barcodes.as_array().ok_or_else(|| refused("barcodes are no list"))? {
        if !barcode["format"].as_str().is_some_and(|format| BARCODES.contains(&format)) {
            return Err(refused(format!("{} is no format of a barcode", barcode["format"])));
        }
        let (Some(message), Some(encoding)) = (barcode["message"].as_str(), barcode["messageEncoding"].as_str()) else {
            return Err(refused("a barcode has no message or no messageEncoding"));
        };
        if encoding == "iso-8859-1" && message.chars().any(|letter| u32::from(letter) > 0xff) {
            return Err(refused(format!("{message:?} cannot be written in {encoding}")));
        }
    }
    Ok(())
}

fn relevance(object: &Map<String, Value>) -> Result<(), Refusal> {
    for name in ["expirationDate", "relevantDate"] {
        if text(object, name)?.is_some_and(|date| !is_date(date)) {
            return Err(refused(format!("{name} is no date with hours and minutes")));
        }
    }
    if object.get("voided").is_some_and(|voided| !voided.is_boolean()) {
        return Err(refused("voided is neither true nor false"));
    }
    for name in ["locations", "beacons"] {
        if object.get(name).is_some_and(|list| list.as_array().is_none_or(|list| list.len() > 10)) {
            return Err(refused(format!("{name} are not a list of at most 10")));
        }
    }
    for name in ["backgroundColor", "foregroundColor", "labelColor"] {
        if text(object, name)?.is_some_and(|color| !is_color(color)) {
            return Err(refused(format!("{name} is no colour")));
        }
    }
    Ok(())
}

/// Checks one field and answers its key.
fn field<'a>(group: &str, field: &'a Value) -> Result<&'a str, &'static str> {
    let is = |name: &str, good: &dyn Fn(&Value) -> bool| field.get(name).is_none_or(good);
    let among = |name: &str, names: &[&str]| is(name, &|value| value.as_str().is_some_and(|value| names.contains(&value)));
    let key = field["key"].as_str().filter(|key| !key.is_empty()).ok_or("a field has no key")?;
    let value = &field["value"];
    if !value.is_string() && !value.is_number() {
        return Err("a field's value is neither text nor number");
    }
    let dated = field.get("dateStyle").is_some();
    let counted = field.get("currencyCode").is_some() || field.get("numberStyle").is_some();
    let side = ["primaryFields", "backFields"].contains(&group);
    let rules = [
        (is("label", &Value::is_string), "a label is no text"),
        (is("changeMessage", &Value::is_string), "a changeMessage is no text"),
        (is("attributedValue", &|value| value.as_str().is_some_and(is_marked_up)), "an attributedValue has more markup than links"),
        (among("textAlignment", &ALIGNMENTS), "a textAlignment is none"),
        (!side || field.get("textAlignment").is_none(), "a primary or a back field has a textAlignment"),
        (dated == field.get("timeStyle").is_some(), "of dateStyle and timeStyle one is missing"),
        (among("dateStyle", &DATE_STYLES) && among("timeStyle", &DATE_STYLES), "a dateStyle or timeStyle is none"),
        (!dated || value.as_str().is_some_and(is_date), "a field with a dateStyle has no date"),
        (among("numberStyle", &NUMBER_STYLES), "a numberStyle is none"),
        (!counted || value.is_number(), "a field with a numberStyle or a currencyCode has no number"),
        (is("currencyCode", &|code| code.as_str().is_some_and(is_currency)), "a currencyCode is none"),
        (group == "backFields" || field.get("dataDetectorTypes").is_none(), "dataDetectorTypes are for back fields"),
        (group == "auxiliaryFields" || field.get("row").is_none(), "rows are for auxiliary fields"),
        (is("row", &|row| matches!(row.as_u64(), Some(0 | 1))), "a row is neither 0 nor 1"),
    ];
    match rules.iter().find(|(good, _)| !good) {
        Some((_, what)) => Err(what),
        None => Ok(key),
    }
}

/// ISO 8601 with hours and minutes, seconds where wanted.
fn is_date(text: &str) -> bool {
    let form = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$").expect("an expression");
    form.is_match(text)
}

fn is_color(text: &str) -> bool {
    let form = Regex::new(r"^rgb\((\d{1,3}), ?(\d{1,3}), ?(\d{1,3})\)$").expect("an expression");
    form.captures(text).is_some_and(|parts| parts.iter().skip(1).flatten().all(|part| part.as_str().parse::<u8>().is_ok()))
}

fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_marked_up(text: &str) -> bool {
    let link = Regex::new(r#"^(a href=("[^"]*"|'[^']*')|/a)>"#).expect("an expression");
    text.split('<').skip(1).all(|tag| link.is_match(tag))
}
