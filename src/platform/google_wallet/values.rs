//! Values as Google takes them, what it would refuse or alter, and values read back (contract 5, encodings).

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use super::fields::{Field, Leaf};
use super::ids::is_identifier;
use crate::outcome::Code;
use crate::platform::ValueFault;
use crate::platform::numbers::check_float;
use crate::schema::value::Value;
use crate::schema::{strict_date, strict_datetime};

/// Millionths in a unit of money.
const MICROS: i64 = 1_000_000;
/// Places that an object may have (contract 5).
const PLACES_MAX: usize = 10;

/// Would Google refuse the value, or store another?
pub(super) fn check(field: &Field, value: &Value<'_>) -> Result<(), ValueFault> {
    let fault = |code, message: &str| Err(ValueFault { code, message: message.to_owned() });
    match field.entry.leaf {
        Leaf::Integer => match whole(value) {
            Some(n) if i32::try_from(n).is_ok() => Ok(()),
            Some(_) => fault(Code::ValueTooLarge, "a whole number lies between -2147483648 and 2147483647"),
            None if matches!(value, Value::Big(_)) => fault(Code::ValueTooLarge, "a whole number lies between -2147483648 and 2147483647"),
            None => fault(Code::MappingError, "this field takes a whole number; nothing is rounded"),
        },
        Leaf::Float => check_float::<f64>("Google", &value.canonical()),
        Leaf::Money => micros(value).map(drop),
        Leaf::Flag => match value {
            Value::Boolean(_) => Ok(()),
            _ => fault(Code::MappingError, "this field takes true or false"),
        },
        Leaf::Instant => match value {
            Value::DateTime(time, _) if (2..=9998).contains(&time.year()) => Ok(()),
            Value::Date(date) if (2..=9998).contains(&date.year()) => Ok(()),
            Value::DateTime(..) | Value::Date(_) => fault(Code::ValueTooLarge, "a time lies between the years 1 and 9999"),
            _ => fault(Code::MappingError, "this field takes a date and time"),
        },
        _ => check_text(field.entry.leaf, &value.canonical()),
    }
}

fn check_text(leaf: Leaf, text: &str) -> Result<(), ValueFault> {
    let fault = |message: String| Err(ValueFault { code: Code::MappingError, message });
    if text.contains('\0') {
        return fault("the text contains a NUL character".to_owned());
    }
    if text.trim().is_empty() {
        return fault("Google ignores an empty text".to_owned());
    }
    match leaf {
        Leaf::Uri if !has_scheme(text) => fault("an address begins with its scheme, such as https: or tel:".to_owned()),
        Leaf::Image if !is_web_address(text) => fault("an image is an https:// address, which Google fetches".to_owned()),
        Leaf::Currency if !is_currency(text) => fault("a currency is three capital letters, such as EUR".to_owned()),
        Leaf::Color if !is_color(text) => fault("a colour is # and six hexadecimal digits, such as #1a2b3c".to_owned()),
        Leaf::When if strict_datetime(text).is_none() && strict_date(text).is_none() => {
            fault("this field takes a date and time, as in 2026-01-31T18:00:00+01:00".to_owned())
        }
        Leaf::Word(words) if word(words, text).is_none() => fault(format!("this field takes one of: {}", words.join(", "))),
        Leaf::Ids if !ids(text).iter().all(|id| id.contains('.') && is_identifier(id)) => {
            fault("identifiers of objects are ISSUER.NAME, with commas or blanks between them".to_owned())
        }
        Leaf::Places => match places(text) {
            Some(places) if places.len() > PLACES_MAX => Err(ValueFault {
                code: Code::ValueTooLarge,
                message: format!("{} places; Google takes at most {PLACES_MAX}", places.len()),
            }),
            Some(_) => Ok(()),
            None => fault("places are LATITUDE,LONGITUDE in degrees, with semicolons between them".to_owned()),
        },
        _ => Ok(()),
    }
}

pub(crate) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// RFC 3986, 3.1.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            && !rest.is_empty()
            && !text.contains(char::is_whitespace)
    })
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) && !text.contains(char::is_whitespace)
}

/// The word of a list that is meant, whatever its case: Google answers in camelCase what it takes in capitals (contract 5).
fn word(words: &[&'static str], text: &str) -> Option<&'static str> {
    let bare = |text: &str| text.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase();
    let wanted = bare(text.trim());
    words.iter().copied().find(|word| bare(word) == wanted)
}

/// Is a word of an answer this one?
pub(super) fn is_word(text: &str, known: &'static str) -> bool {
    word(&[known], text).is_some()
}

fn ids(text: &str) -> Vec<&str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|id| !id.is_empty()).collect()
}

fn places(text: &str) -> Option<Vec<(f64, f64)>> {
    let degrees = |text: &str, most: f64| text.trim().parse::<f64>().ok().filter(|degrees| degrees.abs() <= most);
    let each = text.split(';').map(str::trim).filter(|place| !place.is_empty());
    each.map(|place| place.split_once(',').and_then(|(lat, long)| Some((degrees(lat, 90.0)?, degrees(long, 180.0)?)))).collect()
}

fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(n) => Some(*n),
        Value::Number(n) if n.is_integer() => i64::try_from(*n).ok(),
        _ => None,
    }
}

fn decimal(value: &Value<'_>) -> Option<Decimal> {
    match value {
        Value::Integer(n) => Some(Decimal::from(*n)),
        Value::Number(n) => Some(*n),
        _ => None,
    }
}

/// An amount in units as millionths, exactly.
fn micros(value: &Value<'_>) -> Result<i64, ValueFault> {
    let too_large =
        || ValueFault { code: Code::ValueTooLarge, message: "an amount lies between -9223372036854 and 9223372036854".to_owned() };
    let amount = match decimal(value) {
        Some(amount) => amount,
        None if matches!(value, Value::Big(_)) => return Err(too_large()),
        None => return Err(ValueFault { code: Code::MappingError, message: "this field takes an amount".to_owned() }),
    };
    let micros = amount.checked_mul(Decimal::from(MICROS)).ok_or_else(too_large)?;
    if !micros.is_integer() {
        let message = "an amount has at most six decimals; nothing is rounded".to_owned();
        return Err(ValueFault { code: Code::ValueInexact, message });
    }
    i64::try_from(micros).map_err(|_| too_large())
}

/// The value as Google takes it, at the field's place. It was checked.
pub(super) fn json(field: &Field, value: &Value<'_>, language: &str, currency: Option<&str>) -> Json {
    let text = value.canonical();
    match field.entry.leaf {
        Leaf::Integer => whole(value).map_or(Json::Null, Json::from),
        Leaf::Float => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map_or(Json::Null, Json::Number),
        Leaf::Flag => Json::Bool(matches!(value, Value::Boolean(true))),
        Leaf::Instant => instant(value).into(),
        Leaf::Money => {
            let mut money = Map::new();
            // A number of 64 bits is a text in JSON (contract 5).
            money.insert("micros".to_owned(), micros(value).unwrap_or_default().to_string().into());
            money.extend(currency.map(|currency| ("currencyCode".to_owned(), currency.into())));
            Json::Object(money)
        }
        Leaf::Word(words) => word(words, &text).map_or(Json::Null, Json::from),
        Leaf::Localized => json!({ "defaultValue": { "language": language, "value": text } }),
        Leaf::Ids => ids(&text).into_iter().map(Json::from).collect(),
        Leaf::Places => {
            let places = places(&text).unwrap_or_default();
            places.into_iter().map(|(latitude, longitude)| json!({ "latitude": latitude, "longitude": longitude })).collect()
        }
        Leaf::Text | Leaf::Uri | Leaf::Image | Leaf::When | Leaf::Currency | Leaf::Color => text.into(),
    }
}

fn instant(value: &Value<'_>) -> String {
    let form = |time: &NaiveDateTime| format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.f"));
    match value {
        Value::DateTime(local, None) => form(local),
        Value::DateTime(local, Some(offset)) => form(&(*local - *offset)),
        Value::Date(date) => format!("{}T23:59:59Z", date.format("%Y-%m-%d")),
        other => other.canonical().into_owned(),
    }
}

/// The value that an object's JSON holds at the field's place, as a mapping would give it; none where it holds nothing.
pub(super) fn read(field: &Field, json: &Json) -> Option<Value<'static>> {
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned().into()));
    match (field.entry.leaf, json) {
        (Leaf::Integer, json) => int64(json).map(Value::Integer),
        (Leaf::Float, Json::Number(number)) => number_of(&number.to_string()).map(Value::Number),
        (Leaf::Flag, Json::Bool(on)) => Some(Value::Boolean(*on)),
        (Leaf::Instant, Json::String(time)) => {
            DateTime::parse_from_rfc3339(time).ok().map(|time| Value::DateTime(time.naive_utc(), FixedOffset::east_opt(0)))
        }
        (Leaf::Money, Json::Object(money)) => {
            let micros = money.get("micros").and_then(int64)?;
            Some(Value::Number((Decimal::from(micros) / Decimal::from(MICROS)).normalize()))
        }
        (Leaf::Word(words), Json::String(said)) => word(words, said).and_then(text),
        (Leaf::Localized, json) => json.pointer("/defaultValue/value").and_then(Json::as_str).and_then(text),
        (Leaf::Ids, Json::Array(ids)) => text(&ids.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(",")),
        (Leaf::Text | Leaf::Uri | Leaf::Image | Leaf::When | Leaf::Currency | Leaf::Color, Json::String(said)) => text(said),
        _ => None,
    }
}

/// Numbers of 64 bits are texts in Google's answers; a number is understood as well.
fn int64(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

fn number_of(text: &str) -> Option<Decimal> {
    text.parse().ok().or_else(|| Decimal::from_scientific(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::meant::WalletClass;

    fn field(name: &str) -> Field {
        use WalletClass::{EventTicket, Generic, GiftCard, Loyalty, Transit};
        [Loyalty, GiftCard, EventTicket, Transit, Generic].into_iter().find_map(|class| Field::parse(class, name).ok()).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls read better")]
    fn fault(name: &str, value: Value<'_>) -> Option<Code> {
        check(&field(name), &value).err().map(|fault| fault.code)
    }

    fn number(text: &str) -> Value<'static> {
        Value::Number(text.parse().unwrap())
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls read better")]
    fn sent(name: &str, value: Value<'_>) -> String {
        json(&field(name), &value, "fr", Some("EUR")).to_string()
    }

    #[test]
    fn whole_points_have_32_bits_and_are_never_rounded() {
        let points = "loyaltyPoints.balance.int";
        assert_eq!(fault(points, Value::Integer(2_147_483_647)), None);
        assert_eq!(fault(points, Value::Integer(2_147_483_648)), Some(Code::ValueTooLarge));
        assert_eq!(fault(points, Value::Big("99999999999999999999".into())), Some(Code::ValueTooLarge));
        assert_eq!(fault(points, number("12.5")), Some(Code::MappingError));
        assert_eq!(sent(points, number("12.0")), "12");
    }

    #[test]
    fn floats_must_survive_64_bits() {
        let points = "loyaltyPoints.balance.double";
        for good in ["0", "12.5", "-0.1", "1234567.89"] {
            assert_eq!(fault(points, number(good)), None, "{good}");
        }
        assert_eq!(fault(points, number("0.12345678901234567891")), Some(Code::ValueInexact));
        assert_eq!(sent(points, number("12.50")), "12.5");
    }

    #[test]
    fn money_is_exact_micros_in_a_text() {
        assert_eq!(sent("balance", number("25.00")), r#"{"micros":"25000000","currencyCode":"EUR"}"#);
        assert_eq!(sent("balance", number("0.000001")), r#"{"micros":"1","currencyCode":"EUR"}"#);
        assert_eq!(fault("balance", number("0.0000001")), Some(Code::ValueInexact));
        assert_eq!(fault("balance", number("9223372036854.775807")), None);
        assert_eq!(fault("balance", number("9223372036854.775808")), Some(Code::ValueTooLarge));
        assert_eq!(fault("balance.currencyCode", text("eur")), Some(Code::MappingError));
    }

    #[test]
    fn texts_are_checked_by_their_field() {
        for (name, good, bad) in [
            ("linksModuleData.uris.a.uri", "tel:+33612345678", "www.example.com"),
            ("heroImage.sourceUri.uri", "https://example.com/a.png", "a.png"),
            ("hexBackgroundColor", "#1a2B3c", "blue"),
            ("state", "active", "gone"),
            ("barcode.type", "qrCode", "qr"),
            ("ticketLeg.departureDateTime", "2026-11-21T10:00:00", "tomorrow"),
            ("linkedOfferIds", "1.a, 1.b", "a b"),
            ("merchantLocations", "48.85,2.35; -33.8,151.2", "91,0"),
            ("accountName", "Ana", "  "),
        ] {
            assert_eq!(fault(name, text(good)), None, "{name}");
            assert_eq!(fault(name, text(bad)), Some(Code::MappingError), "{name}");
        }
        let eleven = ["1,1"; 11].join(";");
        assert_eq!(fault("merchantLocations", text(&eleven)), Some(Code::ValueTooLarge));
    }

    #[test]
    fn values_take_the_form_google_reads() {
        assert_eq!(sent("state", text("active")), "\"ACTIVE\"");
        assert_eq!(sent("seatInfo.seat", text("12")), r#"{"defaultValue":{"language":"fr","value":"12"}}"#);
        let noon = chrono::NaiveDate::from_ymd_opt(2027, 12, 31).unwrap().and_hms_opt(12, 0, 0).unwrap();
        assert_eq!(sent("validTimeInterval.end.date", Value::DateTime(noon, FixedOffset::east_opt(3600))), "\"2027-12-31T11:00:00Z\"");
        assert_eq!(sent("linkedOfferIds", text("1.a 1.b")), r#"["1.a","1.b"]"#);
        assert_eq!(sent("merchantLocations", text("48.85,2.35")), r#"[{"latitude":48.85,"longitude":2.35}]"#);
    }

    #[test]
    fn what_is_read_equals_what_a_mapping_gives() {
        let read = |name: &str, json: Json| read(&field(name), &json).map(|value| value.canonical().into_owned());
        assert_eq!(read("state", json!("completed")).as_deref(), Some("COMPLETED"));
        assert_eq!(read("balance", json!({ "micros": "25000000", "currencyCode": "EUR" })).as_deref(), Some("25"));
        assert_eq!(read("balance", json!({ "micros": 1 })).as_deref(), Some("0.000001"));
        assert_eq!(read("loyaltyPoints.balance.int", json!(7)).as_deref(), Some("7"));
        assert_eq!(read("seatInfo.seat", json!({ "defaultValue": { "value": "12" } })).as_deref(), Some("12"));
        assert_eq!(read("validTimeInterval.end.date", json!("2027-12-31T12:00:00+01:00")).as_deref(), Some("2027-12-31T11:00:00Z"));
        assert_eq!(read("accountName", json!("")), None);
    }
}
