//! The bodies that carry a change (contract 4.2, 4.4 and 6).

use serde_json::{Map, Value as Json};

use super::Scope;
use super::fields::{ARRAYS, Field, Leaf, Place};
use super::values;
use crate::config::meant::WalletClass;
use crate::row::FieldChange;

/// The parts of a balance, of which an object has one (contract 5).
const SUBTYPES: [&str; 4] = ["int", "string", "double", "money"];

/// A field of a change, looked up.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub field: Field,
    pub change: FieldChange,
}

/// The arrays that the parts are in, by the object's own members: what must be read before they can be written.
pub(super) fn members_to_read(parts: &[Part]) -> Vec<&'static str> {
    let mut members: Vec<&'static str> = parts
        .iter()
        .filter_map(|part| match part.field.place() {
            Place::Element { array, .. } => array.split('.').next(),
            Place::Plain(_) => None,
        })
        .collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// What to send so that the object holds the parts. `object` is what was read of it; nothing is left of arrays that are as wanted already.
pub(super) fn patch(scope: &Scope, parts: &[Part], object: &Map<String, Json>) -> Map<String, Json> {
    lay_over(scope, parts, object, scope.nulls)
}

fn lay_over(scope: &Scope, parts: &[Part], object: &Map<String, Json>, nulls: bool) -> Map<String, Json> {
    let mut body = Map::new();
    for part in in_order(parts) {
        if let Place::Plain(path) = part.field.place() {
            match &part.change.value {
                Some(value) => {
                    set(&mut body, path, values::json(&part.field, value, &scope.language, scope.currency.as_deref()));
                    if nulls {
                        clear_other_subtypes(&mut body, path);
                    }
                }
                None => set(&mut body, cleared(path, part.field.entry.leaf), Json::Null),
            }
        }
    }
    for array in ARRAYS {
        if let Some(merged) = merge(scope, array, parts, object) {
            set(&mut body, array, Json::Array(merged));
        }
    }
    body
}

/// Is the holder to be alerted of this change? Google alerts nobody of generic passes so (contract 5).
pub(super) fn alerts(scope: &Scope, parts: &[Part]) -> bool {
    scope.class != WalletClass::Generic && parts.iter().any(|part| part.field.is_under(&scope.notify_on))
}

/// A whole new object. The error says what of it is missing.
pub(super) fn insert(scope: &Scope, id: &str, parts: &[Part]) -> Result<Map<String, Json>, String> {
    let Some(class_id) = &scope.class_id else {
        return Err("no pass can be issued: the platform's settings name no class_id".to_owned());
    };
    // A new pass has nothing to clear.
    let saying: Vec<Part> = parts.iter().filter(|part| part.change.value.is_some()).cloned().collect();
    let mut body = lay_over(scope, &saying, &Map::new(), false);
    body.insert("id".to_owned(), id.into());
    body.insert("classId".to_owned(), class_id.as_str().into());
    body.entry("state").or_insert_with(|| "ACTIVE".into());
    let object = scope.names.object;
    if let Some(missing) = scope.names.required.iter().find(|name| !saying.iter().any(|part| part.field.name() == **name)) {
        return Err(format!("Google issues no {object} without {missing}, which the row does not give"));
    }
    for part in &saying {
        if let (Leaf::Money, Place::Plain(path)) = (part.field.entry.leaf, part.field.place())
            && get(&body, path).and_then(|money| money.get("currencyCode")).is_none()
        {
            return Err(format!("{path} has no currency: map {path}.currencyCode, or set the platform's `currency`"));
        }
    }
    Ok(body)
}

/// A currency goes into the amount it belongs to.
fn in_order(parts: &[Part]) -> impl Iterator<Item = &Part> {
    let is_currency = |part: &&Part| part.field.entry.leaf == Leaf::Currency;
    parts.iter().filter(move |part| !is_currency(part)).chain(parts.iter().filter(is_currency))
}

/// What is taken away with a value: a time or an address is nothing without its object.
fn cleared(path: &'static str, leaf: Leaf) -> &'static str {
    let without = |suffix| path.strip_suffix(suffix).unwrap_or(path);
    match leaf {
        Leaf::Instant => without(".date"),
        Leaf::Image => without(".sourceUri.uri"),
        _ => path,
    }
}

/// An object's balance is of one kind, and nested objects merge: the others are taken away with it (contract 6).
fn clear_other_subtypes(body: &mut Map<String, Json>, path: &str) {
    let Some((balance, subtype)) =
        path.rsplit_once('.').filter(|(front, last)| front.ends_with("oints.balance") && SUBTYPES.contains(last))
    else {
        return;
    };
    for other in SUBTYPES.iter().filter(|other| **other != subtype) {
        let place = format!("{balance}.{other}");
        if get(body, &place).is_none() {
            set(body, &place, Json::Null);
        }
    }
}

/// The array as it is to be: its own elements in their order, changed, and new ones behind them. None when it is so already.
fn merge(scope: &Scope, array: &'static str, parts: &[Part], object: &Map<String, Json>) -> Option<Vec<Json>> {
    let present = get(object, array).and_then(Json::as_array).cloned().unwrap_or_default();
    let mut merged = present.clone();
    for part in parts {
        let Place::Element { array: at, id, rest } = part.field.place() else { continue };
        if at != array {
            continue;
        }
        let is_it = |element: &Json| element.get("id").and_then(Json::as_str) == Some(id);
        let index = merged.iter().position(is_it);
        match (&part.change.value, index) {
            (Some(value), index) => {
                let index = index.unwrap_or_else(|| {
                    let mut element = Map::new();
                    element.insert("id".to_owned(), id.into());
                    merged.push(Json::Object(element));
                    merged.len() - 1
                });
                if let Some(element) = merged[index].as_object_mut() {
                    set(element, rest, values::json(&part.field, value, &scope.language, None));
                }
            }
            (None, Some(index)) => {
                if let Some(element) = merged[index].as_object_mut() {
                    element.remove(rest.split('.').next().unwrap_or(rest));
                    if element.keys().all(|key| matches!(key.as_str(), "id" | "kind")) {
                        merged.remove(index);
                    }
                }
            }
            (None, None) => {}
        }
    }
    (merged != present).then(|| {
        for element in merged.iter_mut().filter_map(Json::as_object_mut) {
            // Deprecated, and never sent (contract 5).
            element.remove("kind");
        }
        merged
    })
}

/// What stands at a path.
pub(super) fn get<'j>(object: &'j Map<String, Json>, path: &str) -> Option<&'j Json> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let found = object.get(first)?;
    if rest.is_empty() { Some(found) } else { get(found.as_object()?, rest) }
}

/// Puts a value at a path; two objects at one place become one.
fn set(object: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => match (object.get_mut(path), value) {
            (Some(Json::Object(there)), Json::Object(more)) => there.extend(more),
            (_, value) => drop(object.insert(path.to_owned(), value)),
        },
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Json::Object(Map::new()));
            if !inner.is_object() {
                *inner = Json::Object(Map::new());
            }
            if let Some(inner) = inner.as_object_mut() {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{part, scope};
    use super::*;

    fn object(json: Json) -> Map<String, Json> {
        let Json::Object(object) = json else { panic!("an object") };
        object
    }

    fn patched(class: WalletClass, parts: &[(&str, Option<&str>)], present: Json) -> Json {
        let parts: Vec<Part> = parts.iter().map(|(name, value)| part(class, name, *value)).collect();
        Json::Object(patch(&scope(class), &parts, &object(present)))
    }

    #[test]
    fn a_change_is_the_objects_own_shape() {
        let sent = patched(
            WalletClass::Loyalty,
            &[("loyaltyPoints.label", Some("Points")), ("accountName", Some("Ana Duarte")), ("validTimeInterval.end.date", None)],
            json!({}),
        );
        let wanted = json!({ "loyaltyPoints": { "label": "Points" }, "accountName": "Ana Duarte", "validTimeInterval": { "end": null } });
        assert_eq!(sent, wanted);
    }

    #[test]
    fn a_balance_takes_the_other_kinds_away() {
        let sent = patched(WalletClass::Loyalty, &[("loyaltyPoints.balance.int", Some("1240"))], json!({}));
        assert_eq!(sent, json!({ "loyaltyPoints": { "balance": { "int": 1240, "string": null, "double": null, "money": null } } }));
        let parts = [part(WalletClass::Loyalty, "loyaltyPoints.balance.int", Some("1240"))];
        let without = Scope { nulls: false, ..scope(WalletClass::Loyalty) };
        assert_eq!(Json::Object(patch(&without, &parts, &Map::new())), json!({ "loyaltyPoints": { "balance": { "int": 1240 } } }));
    }

    #[test]
    fn an_amount_and_its_currency_are_one_object() {
        let sent = patched(WalletClass::GiftCard, &[("balance.currencyCode", Some("EUR")), ("balance", Some("25.00"))], json!({}));
        assert_eq!(sent, json!({ "balance": { "micros": "25000000", "currencyCode": "EUR" } }));
    }

    #[test]
    fn an_array_keeps_what_the_change_does_not_name() {
        let present = json!({ "textModulesData": [
            { "id": "news", "header": "News", "body": "none" },
            { "header": "nameless" },
            { "id": "tier", "header": "Tier", "body": "Silver", "localizedBody": { "defaultValue": { "language": "fr", "value": "x" } } },
        ]});
        let sent = patched(
            WalletClass::Loyalty,
            &[("textModulesData.tier.body", Some("Gold")), ("textModulesData.new.body", Some("Hi")), ("textModulesData.news.body", None)],
            present,
        );
        let wanted = json!({ "textModulesData": [
            { "id": "news", "header": "News" },
            { "header": "nameless" },
            { "id": "tier", "header": "Tier", "body": "Gold", "localizedBody": { "defaultValue": { "language": "fr", "value": "x" } } },
            { "id": "new", "body": "Hi" },
        ]});
        assert_eq!(sent, wanted);
    }

    #[test]
    fn an_element_without_anything_left_goes_and_an_array_that_is_right_is_not_sent() {
        let present = json!({ "linksModuleData": { "uris": [{ "id": "shop", "uri": "https://a.example", "kind": "walletobjects#uri" }] } });
        let gone = patched(WalletClass::Offer, &[("linksModuleData.uris.shop.uri", None)], present.clone());
        assert_eq!(gone, json!({ "linksModuleData": { "uris": [] } }));
        let same = patched(WalletClass::Offer, &[("linksModuleData.uris.shop.uri", Some("https://a.example"))], present.clone());
        assert_eq!(same, json!({}));
        let other = patched(WalletClass::Offer, &[("linksModuleData.uris.shop.uri", Some("https://b.example"))], present);
        assert_eq!(other, json!({ "linksModuleData": { "uris": [{ "id": "shop", "uri": "https://b.example" }] } }));
        let image = patched(
            WalletClass::Offer,
            &[("imageModulesData.map.mainImage.sourceUri.uri", None)],
            json!({ "imageModulesData": [{ "id": "map", "mainImage": { "sourceUri": { "uri": "https://a.example/m.png" } } }] }),
        );
        assert_eq!(image, json!({ "imageModulesData": [] }));
    }

    #[test]
    fn a_new_object_has_what_its_kind_needs_or_is_not_sent() {
        let issue = |class, parts: &[(&str, Option<&str>)]| {
            let parts: Vec<Part> = parts.iter().map(|(name, value)| part(class, name, *value)).collect();
            insert(&scope(class), "1.x", &parts).map(Json::Object)
        };
        let card = issue(WalletClass::GiftCard, &[("cardNumber", Some("6006")), ("pin", None)]).unwrap();
        assert_eq!(card, json!({ "id": "1.x", "classId": "1.c", "state": "ACTIVE", "cardNumber": "6006" }));
        assert!(issue(WalletClass::GiftCard, &[("pin", Some("1"))]).unwrap_err().contains("without cardNumber"));
        let amount = issue(WalletClass::GiftCard, &[("cardNumber", Some("6006")), ("balance", Some("1"))]);
        assert!(amount.unwrap_err().contains("balance.currencyCode"));
        let points = issue(WalletClass::Loyalty, &[("loyaltyPoints.balance.int", Some("0")), ("state", Some("inactive"))]).unwrap();
        let wanted = json!({ "id": "1.x", "classId": "1.c", "state": "INACTIVE", "loyaltyPoints": { "balance": { "int": 0 } } });
        assert_eq!(points, wanted);
        let classless = Scope { class_id: None, ..scope(WalletClass::Offer) };
        assert!(insert(&classless, "1.x", &[]).unwrap_err().contains("class_id"));
    }

    #[test]
    fn only_named_fields_alert_and_never_of_generic_passes() {
        let class = WalletClass::Loyalty;
        let named = Scope { notify_on: vec!["loyaltyPoints.balance".to_owned()], ..scope(class) };
        assert!(alerts(&named, &[part(class, "loyaltyPoints.balance.int", Some("1"))]));
        assert!(!alerts(&named, &[part(class, "accountName", Some("A"))]));
        assert!(!alerts(&scope(class), &[part(class, "loyaltyPoints.balance.int", Some("1"))]));
    }
}
