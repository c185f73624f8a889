//! What the sandbox keeps of a ticket, and the shapes of the bodies about it (contract section 6).

use serde_json::{Map, Value, json};

use super::coupons;
use super::documents::pass_meta_data;
use super::member;
use super::shape::{self, Fields, Kind, text};
use super::state::{new_id, now};

const SEAT_TEXTS: [&str; 18] = [
    "seat",
    "row",
    "section",
    "gate",
    "identifier",
    "description",
    "type",
    "level",
    "aisle",
    "door",
    "sectionColor",
    "portalURL",
    "venueEntrance",
    "admissionLevel",
    "admissionLevelAbbreviation",
    "entranceDescription",
    "room",
    "additionalTicketAttributes",
];

const SEAT: Fields = &[
    ("seat", Kind::Text),
    ("row", Kind::Text),
    ("section", Kind::Text),
    ("gate", Kind::Text),
    ("identifier", Kind::Text),
    ("description", Kind::Text),
    ("type", Kind::Text),
    ("level", Kind::Text),
    ("aisle", Kind::Text),
    ("door", Kind::Text),
    ("sectionColor", Kind::Text),
    ("portalURL", Kind::Text),
    ("venueEntrance", Kind::Text),
    ("admissionLevel", Kind::Text),
    ("admissionLevelAbbreviation", Kind::Text),
    ("entranceDescription", Kind::Text),
    ("room", Kind::Text),
    ("additionalTicketAttributes", Kind::Text),
];

const NAMED: Fields = &[("id", Kind::Text), ("uid", Kind::Text)];

const EVENT: Fields = &[
    ("id", Kind::Text),
    ("productionId", Kind::Text),
    ("venueId", Kind::Text),
    ("production", Kind::Message(NAMED)),
    ("venue", Kind::Message(NAMED)),
    ("scheduledStartDate", Kind::Time),
];

pub(super) const TICKET: Fields = &[
    ("id", Kind::Text),
    ("ticketNumber", Kind::Text),
    ("eventId", Kind::Text),
    ("event", Kind::Message(EVENT)),
    ("ticketTypeId", Kind::Text),
    ("ticketType", Kind::Message(NAMED)),
    ("orderNumber", Kind::Text),
    ("groupingId", Kind::Text),
    ("barcodeContents", Kind::Text),
    ("seatInfo", Kind::Message(SEAT)),
    ("faceValue", Kind::Message(&[("amount", Kind::Double), ("currency", Kind::Text)])),
    ("person", Kind::Message(shape::PERSON)),
    ("metaData", Kind::Texts),
    ("optOut", Kind::Enum(&["ON", "OFF"])),
    ("status", Kind::Enum(&["ISSUED", "REDEEMED"])),
    ("expiryDate", Kind::Time),
    ("redemptionDetails", Kind::Object),
    ("validateDetails", Kind::Objects),
    ("passOverrides", Kind::Object),
    ("passMetaData", Kind::Object),
    ("created", Kind::Time),
    ("updated", Kind::Time),
];

const NUMBER: Fields = &[("productionId", Kind::Text), ("ticketNumber", Kind::Text)];

/// A `TicketId`.
pub(super) const KEY: Fields = &[("ticketId", Kind::Text), ("ticketNumber", Kind::Message(NUMBER))];

pub(super) const VALIDATION: Fields =
    &[("ticket", Kind::Message(KEY)), ("maxNumberOfValidations", Kind::Whole), ("validateDetails", Kind::Object)];

pub(super) const REDEMPTION: Fields = &[("ticket", Kind::Message(KEY)), ("redemptionDetails", Kind::Message(coupons::REDEMPTION))];

pub(super) const ORDER: Fields = &[
    ("productionId", Kind::Text),
    ("productionUid", Kind::Text),
    ("orderNumber", Kind::Text),
    ("redemptionDetails", Kind::Message(coupons::REDEMPTION)),
];

pub(super) const LIST: Fields = &[
    ("productionId", Kind::Text),
    ("productionUid", Kind::Text),
    ("eventId", Kind::Text),
    ("ticketTypeId", Kind::Text),
    ("filters", Kind::Message(shape::FILTERS)),
];

pub(super) const PERSON: Fields = &[
    ("ticketId", Kind::Message(&[("id", Kind::Text)])),
    ("ticketNumber", Kind::Message(NUMBER)),
    ("person", Kind::Message(shape::PERSON)),
];

/// What a list can be filtered by.
pub(super) const FILTERS: &[&str] = &["ticketNumber", "orderNumber", "status", "id", "created"];

/// What an issue and an update may set. The status is changed by validation and redemption alone.
pub(super) const WRITABLE: &[&str] =
    &["orderNumber", "barcodeContents", "seatInfo", "faceValue", "person", "metaData", "optOut", "expiryDate", "passOverrides"];

/// What a list shows of a ticket: the contract calls it short and names no field, so that only what identifies it can be relied on.
const SHORT: &[&str] = &["id", "ticketNumber", "orderNumber", "status", "expiryDate", "created", "updated"];

pub(super) fn no_seat() -> Value {
    Value::Object(SEAT_TEXTS.into_iter().map(|name| (name.to_owned(), "".into())).collect())
}

pub(super) fn blank(number: &str, event: &Value, ticket_type: &Value) -> Map<String, Value> {
    let now = now();
    let ticket = json!({
        "id": new_id(), "ticketNumber": number, "event": event, "ticketType": ticket_type, "orderNumber": "", "groupingId": "",
        "barcodeContents": "", "seatInfo": no_seat(), "faceValue": null, "person": member::nobody(), "metaData": {}, "optOut": "OFF",
        "status": "ISSUED", "expiryDate": null, "redemptionDetails": null, "validateDetails": [], "passOverrides": null,
        "passMetaData": pass_meta_data(), "created": now, "updated": now,
    });
    match ticket {
        Value::Object(ticket) => ticket,
        _ => Map::new(),
    }
}

/// A ticket put there past the platform's calls, from those fields of it that are given.
pub(super) fn seeded(given: &Map<String, Value>, event: &Value, ticket_type: &Value) -> anyhow::Result<Value> {
    let unknown = given.keys().find(|name| !TICKET.iter().any(|(known, _)| known == name));
    anyhow::ensure!(unknown.is_none(), "a ticket has no field {unknown:?}");
    anyhow::ensure!(!text(given, "ticketNumber").is_empty(), "a ticket to issue has no ticketNumber");
    let mut ticket = blank(text(given, "ticketNumber"), event, ticket_type);
    for (name, value) in given {
        match value {
            Value::Object(parts) if name == "person" || name == "seatInfo" => {
                parts.iter().for_each(|(part, value)| ticket[name][part] = value.clone());
            }
            _ => drop(ticket.insert(name.clone(), value.clone())),
        }
    }
    Ok(Value::Object(ticket))
}

/// A ticket as a list shows it.
pub(super) fn short(ticket: &Value) -> Value {
    let kept = SHORT.iter().map(|name| ((*name).to_owned(), ticket[*name].clone()));
    let ids = [("eventId", &ticket["event"]["id"]), ("ticketTypeId", &ticket["ticketType"]["id"])];
    Value::Object(kept.chain(ids.into_iter().map(|(name, id)| (name.to_owned(), id.clone()))).collect())
}
