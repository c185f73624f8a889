//! Event tickets (contract 6).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::documents::{Document, ISSUE, Mark};
use super::fields::{Catalogue, Entry, Form, PERSON};
use super::protocol::Class;
use super::wire::{Pass, as_map, escape, get, is_segment, key, object, send, text};
use crate::platform::Request;
use crate::row::{AddKind, Target, Verb};

pub(super) const TICKET: Catalogue = Catalogue {
    own: &[
        Entry::of("eventId", Form::Text, ISSUE),
        Entry::of("ticketTypeId", Form::Text, ISSUE),
        Entry::new("orderNumber", Form::Text),
        Entry::new("barcodeContents", Form::Text),
        Entry::new("optOut", Form::Toggle),
        Entry::new("expiryDate", Form::Instant),
    ],
    blocks: &[PERSON, SEAT, FACE_VALUE],
    read_only: &[
        ("ticketNumber", "name the pass with pass = { external_id = \"…\" }"),
        ("event", "an event's time and place belong to the event; write \"eventId\" for the event of issued tickets"),
        ("ticketType", "write \"ticketTypeId\", for issued tickets"),
        ("groupingId", "PassKit makes it of the order number"),
        ("status", "use operation = \"redeem\" or \"void\""),
        ("redemptionDetails", "use operation = \"redeem\""),
        ("validateDetails", "use operation = \"validate\""),
        ("person.externalId", "PassKit keeps it"),
    ],
};

const SEAT: (&str, &[Entry]) = (
    "seatInfo",
    &[
        Entry::new("seat", Form::Text),
        Entry::new("row", Form::Text),
        Entry::new("section", Form::Text),
        Entry::new("gate", Form::Text),
        Entry::new("identifier", Form::Text),
        Entry::new("description", Form::Text),
        Entry::new("type", Form::Text),
        Entry::new("level", Form::Text),
        Entry::new("aisle", Form::Text),
        Entry::new("door", Form::Text),
        Entry::new("sectionColor", Form::Color),
        Entry::new("portalURL", Form::Link),
        Entry::new("venueEntrance", Form::Text),
        Entry::new("admissionLevel", Form::Text),
        Entry::new("admissionLevelAbbreviation", Form::Text),
        Entry::new("entranceDescription", Form::Text),
        Entry::new("room", Form::Text),
        Entry::new("additionalTicketAttributes", Form::Text),
    ],
);

const FACE_VALUE: (&str, &[Entry]) = ("faceValue", &[Entry::new("amount", Form::Single), Entry::new("currency", Form::Currency)]);

const TICKETS: &str = "/eventTickets/ticket";

/// The tickets of one production.
pub(super) struct Tickets {
    pub production: String,
    /// Event and type of issued tickets whose feed maps none.
    pub event: Option<String>,
    pub ticket_type: Option<String>,
    /// The last of so many validations redeems a ticket.
    pub validations: Option<u32>,
}

impl Tickets {
    fn number(&self, number: &str) -> Json {
        json!({ "productionId": self.production, "ticketNumber": number })
    }

    /// What the contract calls a `TicketId`.
    fn key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        key("ticketId", target, pass_id, |number| json!({ "ticketNumber": self.number(number) }))
    }

    fn settings(&self) -> [(&'static str, &Option<String>); 2] {
        [("eventId", &self.event), ("ticketTypeId", &self.ticket_type)]
    }
}

/// The production of a whole ticket, or of the shorter ones of a list.
fn production_of(pass: &Pass) -> Map<String, Json> {
    let of_event = object(&pass.object("event"), "production");
    if of_event.is_empty() { pass.object("production") } else { of_event }
}

impl Document for Tickets {
    const NOUN: &'static str = "ticket";
    const CATALOGUE: &'static Catalogue = &TICKET;
    const VERBS: &'static [Verb] = &[Verb::Update, Verb::Upsert, Verb::Void, Verb::Redeem, Verb::Validate];
    const KEPT: &'static [&'static str] = &["metaData", "person", "seatInfo", "faceValue"];
    /// The switch is a word in an update; what it is at the issue the contract does not say.
    const AFTER_ISSUE: &'static [&'static str] = &["optOut"];

    fn required(&self) -> Vec<String> {
        self.settings().iter().filter(|(_, setting)| setting.is_none()).map(|(name, _)| (*name).to_owned()).collect()
    }

    fn class(&self) -> Class<'_> {
        Class { noun: "production", id: &self.production }
    }

    fn get(&self, target: &Target) -> Request {
        get(match target {
            Target::External(number) => {
                format!("{TICKETS}/ticketNumber?productionId={}&ticketNumber={}", escape(&self.production), escape(number))
            }
            Target::Pass(id) => format!("{TICKETS}/id/{}", escape(id)),
        })
    }

    /// A number travels in the query, where nothing would change the address.
    fn can_get(&self, target: &Target) -> bool {
        matches!(target, Target::External(_)) || is_segment(target.text())
    }

    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str {
        pass.text("ticketNumber")
    }

    /// The setting may be the production's own identifier, PassKit's or the customer's.
    fn is_live(&self, pass: &Pass) -> bool {
        let production = production_of(pass);
        let (id, uid) = (text(&production, "id"), text(&production, "uid"));
        id.is_empty() || id == self.production || uid == self.production
    }

    fn issued_with(pass: &Pass, field: &str) -> Option<String> {
        let holder = if field == "eventId" { "event" } else { "ticketType" };
        Some(text(&pass.object(holder), "id")).filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// No list is known to select by the number (contract 6, T12).
    fn filter_field(&self) -> Option<&'static str> {
        None
    }

    fn list(&self, filters: &Json) -> Request {
        send(Method::POST, "/eventTickets/tickets/list", &json!({ "productionId": self.production, "filters": filters }))
    }

    fn count(&self) -> Request {
        send(Method::POST, "/eventTickets/tickets/count", &json!({ "productionId": self.production, "filters": {} }))
    }

    /// T1.
    fn create(&self, external: &str, fields: Map<String, Json>) -> Request {
        let mut body = as_map(json!({ "ticketNumber": external }));
        body.extend(self.settings().into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.as_deref()?.into()))));
        body.extend(fields);
        send(Method::POST, TICKETS, &Json::Object(body))
    }

    /// T3, where the key is shaped otherwise.
    fn update(&self, target: &Target, pass_id: Option<&str>, fields: Map<String, Json>) -> Request {
        let named = |number: &str| json!({ "ticketNumber": number, "event": { "production": { "id": self.production } } });
        let mut body = key("id", target, pass_id, named);
        body.extend(fields);
        send(Method::PUT, TICKETS, &Json::Object(body))
    }

    /// T10. DELETE carries a body.
    fn delete(&self, target: &Target, pass_id: Option<&str>) -> Request {
        send(Method::DELETE, TICKETS, &Json::Object(self.key(target, pass_id)))
    }

    /// T4 and T5.
    fn give(&self, kind: AddKind, target: &Target, pass_id: Option<&str>, mark: &Mark<'_>) -> Request {
        let mut body = as_map(json!({ "ticket": self.key(target, pass_id) }));
        if kind == AddKind::Validate {
            body.extend(self.validations.map(|most| ("maxNumberOfValidations".to_owned(), most.into())));
            let details = json!({ "validateSource": mark.source, "validateReference": mark.reference });
            body.insert("validateDetails".to_owned(), details);
            return send(Method::PUT, &format!("{TICKETS}/validate"), &Json::Object(body));
        }
        let details = json!({ "redemptionSource": mark.source, "redemptionReference": mark.reference });
        body.insert("redemptionDetails".to_owned(), details);
        send(Method::PUT, &format!("{TICKETS}/redeem"), &Json::Object(body))
    }

    fn redeemed(pass: &Pass) -> Option<Map<String, Json>> {
        (pass.text("status") == "REDEEMED").then(|| pass.object("redemptionDetails"))
    }
}
