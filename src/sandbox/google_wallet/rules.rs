//! Rules on an object as a whole (contract section 5), and how a PATCH changes one (section 6).

use serde_json::{Map, Value, json};

use super::Knobs;
use super::calls::Vertical;
use crate::sandbox::answer::Failure;

const BALANCES: [&str; 4] = ["string", "int", "double", "money"];
/// What the platform sets, whatever is sent.
pub(super) const OUTPUT: [&str; 5] = ["hasUsers", "hasLinkedDevice", "classReference", "kind", "version"];
const MESSAGES_MAX: usize = 10;

/// An id within the issuer: `issuerId.identifier` (contract section 3).
pub(super) fn check_id(id: &str, issuer: &str, knobs: &Knobs) -> Result<(), Failure> {
    let malformed = || Failure::new(400, format!("Invalid resource ID: {id}")).because("invalidResource");
    let (prefix, identifier) = id.split_once('.').ok_or_else(malformed)?;
    let letters = identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    if identifier.is_empty() || !letters || !digits || knobs.id_max.is_some_and(|most| id.len() > most) {
        return Err(malformed());
    }
    if prefix != issuer {
        return Err(Failure::new(403, "Permission Denied: the service account may not act for this issuer.").because("permissionDenied"));
    }
    Ok(())
}

/// Only the sent fields change, nested objects merge, arrays are replaced whole, null deletes.
pub(super) fn merge(kept: &mut Map<String, Value>, sent: &Map<String, Value>, null_deletes: bool) {
    for (name, value) in sent {
        match (kept.get_mut(name), value) {
            (_, Value::Null) => {
                if null_deletes {
                    kept.shift_remove(name);
                }
            }
            (Some(Value::Object(kept)), Value::Object(sent)) => merge(kept, sent, null_deletes),
            _ => {
                kept.insert(name.clone(), without_nulls(value));
            }
        }
    }
}

pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(400, message).because("invalidResource")
}

/// What must hold of an object before it is kept. `exists` tells whether an object of this id is there.
pub(super) fn check(
    object: &Map<String, Value>,
    vertical: &Vertical,
    before: Option<&Map<String, Value>>,
    exists: impl Fn(&str) -> bool,
    knobs: &Knobs,
) -> Result<(), Failure> {
    for name in vertical.required {
        if object.get(*name).is_none_or(|value| value.as_str() == Some("")) {
            return Err(refused(format!("Missing required field: {name}.")));
        }
    }
    for slot in ["loyaltyPoints", "secondaryLoyaltyPoints"] {
        let balance = object.get(slot).and_then(|points| points.get("balance"));
        let subtypes = BALANCES.iter().filter(|name| balance.is_some_and(|balance| balance.get(**name).is_some())).count();
        if subtypes > 1 && !knobs.two_balances {
            return Err(refused(format!("{slot}.balance holds more than one of string, int, double and money.")));
        }
    }
    let date = |end: &str| object.get("validTimeInterval")?.get(end)?.get("date")?.as_str().map(has_offset);
    if let (Some(start), Some(end)) = (date("start"), date("end"))
        && start != end
    {
        return Err(refused("validTimeInterval: both ends need an offset, or neither."));
    }
    let updated = object.get("balanceUpdateTime").and_then(|time| time.get("date")).and_then(Value::as_str);
    if updated.is_some_and(|date| !has_offset(date)) {
        return Err(refused("balanceUpdateTime needs an offset."));
    }
    check_lists(object, exists, knobs)?;
    let linked = |object: &Map<String, Value>| strings(object, "linkedObjectIds");
    if before.is_some_and(|before| linked(before).iter().any(|id| !linked(object).contains(id))) {
        return Err(refused("linkedObjectIds cannot be unlinked."));
    }
    if object.contains_key("ticketLeg") && object.contains_key("ticketLegs") {
        return Err(refused("Only one of ticketLeg and ticketLegs may be set."));
    }
    Ok(())
}

fn check_lists(object: &Map<String, Value>, exists: impl Fn(&str) -> bool, knobs: &Knobs) -> Result<(), Failure> {
    let list = |name: &str| object.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for module in list("textModulesData") {
        let id = module.get("id").and_then(Value::as_str).unwrap_or_default();
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return Err(refused(format!("Invalid text module ID: {id}")));
        }
    }
    let uris = object.get("linksModuleData").and_then(|links| links.get("uris")).and_then(Value::as_array);
    for uri in uris.into_iter().flatten().filter_map(|uri| uri.get("uri")?.as_str()) {
        if url::Url::parse(uri).is_err() {
            return Err(refused(format!("Invalid URI, a scheme is needed: {uri}")));
        }
    }
    for (name, most) in [("messages", MESSAGES_MAX), ("valueAddedModuleData", 15), ("merchantLocations", 10)] {
        if list(name).len() > most && !(name == "messages" && knobs.eleventh_message != super::EleventhMessage::Refused) {
            return Err(refused(format!("{name} holds more than {most} elements.")));
        }
    }
    if !list("merchantLocations").is_empty() && !knobs.merchant_locations {
        return Err(refused("Issuer is not allowed to set merchantLocations."));
    }
    match strings(object, "linkedObjectIds").iter().find(|id| !exists(id)) {
        Some(id) => Err(refused(format!("Linked object {id} not found."))),
        None => Ok(()),
    }
}

pub(super) fn strings(object: &Map<String, Value>, name: &str) -> Vec<String> {
    let items = object.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has_offset(date: &str) -> bool {
    let time = date.split_once('T').map_or("", |(_, time)| time);
    time.contains(['Z', '+', '-'])
}

/// A gift card's balance that moves without a time of its own is dated now (contract section 5).
pub(super) fn date_balance(object: &mut Map<String, Value>, before: Option<&Map<String, Value>>, sent: &Map<String, Value>, now: &str) {
    let moved = object.get("balance").is_some_and(|balance| before.and_then(|before| before.get("balance")) != Some(balance));
    if moved && !sent.contains_key("balanceUpdateTime") {
        object.insert("balanceUpdateTime".to_owned(), json!({"date": now}));
    }
}

/// Adds a message, as far as there is room.
pub(super) fn add_message(object: &mut Map<String, Value>, message: Value, knobs: &Knobs) -> Result<(), Failure> {
    let messages = object.entry("messages").or_insert_with(|| json!([]));
    let Some(messages) = messages.as_array_mut() else { return Err(Failure::new(500, "messages is no array")) };
    if messages.len() >= MESSAGES_MAX {
        match knobs.eleventh_message {
            super::EleventhMessage::Refused => return Err(refused(format!("messages holds more than {MESSAGES_MAX} elements."))),
            super::EleventhMessage::DropsOldest => drop(messages.remove(0)),
            super::EleventhMessage::Kept => {}
        }
    }
    messages.push(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    /// Section 6.
    #[test]
    fn objects_merge_arrays_are_replaced_and_null_deletes() {
        let mut kept = object(json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": 1, "left": 1}));
        merge(&mut kept, &object(json!({"a": {"c": 3, "d": {"e": null, "f": 1}}, "list": [3], "gone": null})), true);
        assert_eq!(Value::Object(kept), json!({"a": {"b": 1, "c": 3, "d": {"f": 1}}, "list": [3], "left": 1}));
    }

    /// Section 3.
    #[test]
    fn an_id_is_the_issuers_and_of_few_characters() {
        let knobs = Knobs::default();
        assert!(check_id("33.m-1001_a.B", "33", &knobs).is_ok());
        for wrong in ["33", "33.", ".a", "acme.member1", "33.a b", "33.é", "33.a/b"] {
            assert_eq!(check_id(wrong, "33", &knobs).expect_err("refused").status, 400, "{wrong}");
        }
        assert_eq!(check_id("34.a", "33", &knobs).expect_err("refused").status, 403);
    }
}
