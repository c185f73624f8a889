//! What tickets are for: one production in one venue, its ticket types and its events (contract section 6, T1 and T2).

use serde_json::{Map, Value, json};

use super::documents::{Drawer, field};
use super::shape::{canonical_time, text};
use super::state::new_id;
use crate::sandbox::answer::Failure;

/// Something with an id of the platform's and one of the caller's.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: String,
    pub uid: String,
}

impl Named {
    pub(super) fn new(id: &str, uid: &str) -> Named {
        Named { id: id.to_owned(), uid: uid.to_owned() }
    }

    fn shown(&self) -> Value {
        json!({"id": self.id, "uid": self.uid})
    }
}

pub(super) struct Stage {
    production: Named,
    venue: Named,
    ticket_types: Vec<Named>,
    /// As tickets show them.
    events: Vec<Value>,
}

impl Stage {
    /// With one event, and those that tickets are there for.
    pub fn new(settings: &super::Settings, tickets: &Drawer) -> Stage {
        let (production, venue) = (settings.production.clone(), settings.venue.clone());
        let first = event(&settings.event, &production, &venue, "2027-06-01T19:00:00Z");
        let mut stage = Stage { production, venue, ticket_types: settings.ticket_types.clone(), events: vec![first] };
        for ticket in tickets.all() {
            if !stage.events.iter().any(|event| event["id"] == ticket["event"]["id"]) {
                stage.events.push(ticket["event"].clone());
            }
        }
        stage
    }

    /// By the platform's id or by its own.
    pub fn production(&self, name: &str) -> Result<(), Failure> {
        if name.is_empty() {
            return Err(Failure::invalid("productionId or productionUid is required"));
        }
        let known = name == self.production.id || name == self.production.uid;
        if known { Ok(()) } else { Err(Failure::missing("production", "id", name)) }
    }

    /// Event and ticket type of a ticket put there past the platform's calls.
    pub fn first(&self) -> (Value, Value) {
        (self.events[0].clone(), self.ticket_types.first().map_or(Value::Null, Named::shown))
    }

    /// Event and ticket type that an issue by the platform's ids names.
    pub fn by_ids(&mut self, body: &Map<String, Value>) -> Result<(Value, Value), Failure> {
        let ticket_type = text(body, "ticketTypeId");
        if ticket_type.is_empty() {
            return Err(Failure::invalid("ticketTypeId is required"));
        }
        let found = self.ticket_types.iter().find(|known| known.id == ticket_type);
        let ticket_type = found.ok_or_else(|| Failure::missing("ticketType", "id", ticket_type))?.shown();
        let id = text(body, "eventId");
        if !id.is_empty() {
            let event = self.events.iter().find(|event| event["id"] == id);
            return Ok((event.ok_or_else(|| Failure::missing("event", "id", id))?.clone(), ticket_type));
        }
        let Some(event) = body.get("event") else { return Err(Failure::invalid("eventId or event is required")) };
        self.production(field(event, "productionId"))?;
        self.venue(field(event, "venueId"))?;
        Ok((self.at(field(event, "scheduledStartDate"))?, ticket_type))
    }

    /// Event and ticket type that an issue by the caller's ids names: production, venue and ticket type need both `id` and `uid`.
    pub fn nested(&mut self, body: &Map<String, Value>) -> Result<(Value, Value), Failure> {
        let nothing = Value::Null;
        let event = body.get("event").unwrap_or(&nothing);
        let ticket_type = body.get("ticketType").unwrap_or(&nothing);
        for (name, named) in [("event.production", &event["production"]), ("event.venue", &event["venue"]), ("ticketType", ticket_type)] {
            if field(named, "id").is_empty() || field(named, "uid").is_empty() {
                return Err(Failure::invalid(format_args!("{name} needs id and uid")));
            }
        }
        self.production(field(&event["production"], "id"))?;
        self.venue(field(&event["venue"], "id"))?;
        let (id, uid) = (field(ticket_type, "id"), field(ticket_type, "uid"));
        let found = self.ticket_types.iter().find(|known| known.id == id && known.uid == uid);
        let ticket_type = found.ok_or_else(|| Failure::missing("ticketType", "id", id))?.shown();
        Ok((self.at(field(event, "scheduledStartDate"))?, ticket_type))
    }

    fn venue(&self, id: &str) -> Result<(), Failure> {
        if id == self.venue.id { Ok(()) } else { Err(Failure::missing("venue", "id", id)) }
    }

    /// The event that begins then; a missing one is created.
    fn at(&mut self, start: &str) -> Result<Value, Failure> {
        if start.is_empty() {
            return Err(Failure::invalid("event.scheduledStartDate is required"));
        }
        let start = canonical_time(start);
        if let Some(known) = self.events.iter().find(|event| event["scheduledStartDate"] == start.as_str()) {
            return Ok(known.clone());
        }
        let new = event(&new_id(), &self.production, &self.venue, &start);
        self.events.push(new.clone());
        Ok(new)
    }
}

fn event(id: &str, production: &Named, venue: &Named, start: &str) -> Value {
    json!({"id": id, "production": production.shown(), "venue": venue.shown(), "scheduledStartDate": start})
}
