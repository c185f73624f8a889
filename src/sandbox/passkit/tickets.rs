//! The calls on event tickets (contract section 6).

use serde_json::{Map, Value, json};

use super::coupons::{changed, made_by_platform, redeemed_before, redemption};
use super::documents::{Drawer, field, name_of, overlay};
use super::events::Stage;
use super::members::check_person;
use super::shape::{self, text};
use super::switches::Switches;
use super::ticket::{self, FILTERS, WRITABLE};
use super::{list, ticket_calls};
use crate::sandbox::answer::{Failure, Reply};
use crate::sandbox::effects::{REDEEM_TICKET, VALIDATE_TICKET};
use ticket_calls::Call;

/// Tickets of one production, for the time of one call.
pub(super) struct Desk<'a> {
    pub stage: &'a mut Stage,
    pub switches: Switches,
}

impl Desk<'_> {
    pub fn answer(&mut self, tickets: &mut Drawer, call: &Call, raw: &[u8], body: Option<&Value>) -> Result<Reply, Failure> {
        let strict = self.switches.reject_unknown_fields;
        let fields = |fields| shape::check(raw, body, fields, strict);
        match call {
            Call::Issue => self.issue(tickets, fields(ticket::TICKET)?, false),
            Call::IssueByOwnIds => self.issue(tickets, fields(ticket::TICKET)?, true),
            Call::Update => self.update(tickets, fields(ticket::TICKET)?),
            Call::Validate => self.validate(tickets, fields(ticket::VALIDATION)?),
            Call::Redeem => {
                let body = fields(ticket::REDEMPTION)?;
                let place = self.find(tickets, part(body, "ticket")?)?;
                self.redeem(tickets, place, body.get("redemptionDetails")).and_then(|id| changed(Some(id)))
            }
            Call::RedeemOrder => {
                let body = fields(ticket::ORDER)?;
                let places = self.order(tickets, body)?;
                let redeemed: Result<Vec<String>, Failure> =
                    places.iter().map(|place| self.redeem(tickets, *place, body.get("redemptionDetails"))).collect();
                Reply::json(&json!({"id": redeemed?}))
            }
            Call::ById(id) => shown(tickets, tickets.place_of_id(id), || Failure::missing("ticket", "id", id)),
            Call::ByNumber { production, number } => {
                self.stage.production(production)?;
                shown(tickets, tickets.place_of_name(number), || Failure::missing("ticket", "ticketNumber", number))
            }
            Call::ByOrder { production, order } => {
                self.stage.production(production)?;
                let places = tickets.places().filter_map(|place| tickets.seen(place));
                let found: Vec<&Value> = places.filter(|ticket| field(ticket, "orderNumber") == order).collect();
                Reply::json(&json!({"tickets": found}))
            }
            Call::Delete => {
                let place = self.find(tickets, fields(ticket::KEY)?)?;
                tickets.remove(place);
                Reply::json(&json!({}))
            }
            Call::DeleteOrder => {
                for place in self.order(tickets, fields(ticket::ORDER)?)? {
                    tickets.remove(place);
                }
                Reply::json(&json!({}))
            }
            Call::List => {
                let (query, body) = self.query(fields(ticket::LIST)?)?;
                Ok(Reply::places(query.page(query.documents(tickets, |ticket| is_wanted(ticket, body)))))
            }
            Call::Count => {
                let (query, body) = self.query(fields(ticket::LIST)?)?;
                Reply::json(&json!({"total": query.documents(tickets, |ticket| is_wanted(ticket, body)).count()}))
            }
            Call::Person => {
                let body = fields(ticket::PERSON)?;
                let key = match body.get("ticketId").and_then(|key| key.get("id")) {
                    Some(id) => json!({"ticketId": id}),
                    None => json!({"ticketNumber": body.get("ticketNumber")}),
                };
                let place = self.find(tickets, key.as_object().unwrap_or(body))?;
                check_person(body)?;
                changed(tickets.change(place, |ticket| overlay(ticket, body, &["person"], self.switches)))
            }
        }
    }

    /// Finds the ticket that a `TicketId` names, in either of its forms.
    fn find(&self, tickets: &Drawer, key: &Map<String, Value>) -> Result<usize, Failure> {
        let id = text(key, "ticketId");
        if !id.is_empty() {
            return tickets.place_of_id(id).ok_or_else(|| Failure::missing("ticket", "id", id));
        }
        let by_number = key.get("ticketNumber").map(|key| (field(key, "productionId"), field(key, "ticketNumber")));
        match by_number {
            Some((production, number)) if !production.is_empty() && !number.is_empty() => self.numbered(tickets, production, number),
            _ => Err(Failure::invalid("ticketId, or ticketNumber with productionId and ticketNumber, is required")),
        }
    }

    fn numbered(&self, tickets: &Drawer, production: &str, number: &str) -> Result<usize, Failure> {
        self.stage.production(production)?;
        tickets.place_of_name(number).ok_or_else(|| Failure::missing("ticket", "ticketNumber", number))
    }

    /// The tickets of an order; one without any is missing.
    fn order(&self, tickets: &Drawer, body: &Map<String, Value>) -> Result<Vec<usize>, Failure> {
        self.stage.production(production_of(body))?;
        let order = text(body, "orderNumber");
        let holds = |place: &usize| tickets.at(*place).is_some_and(|ticket| !order.is_empty() && field(ticket, "orderNumber") == order);
        let places: Vec<usize> = tickets.places().filter(holds).collect();
        if places.is_empty() { Err(Failure::missing("order", "orderNumber", order)) } else { Ok(places) }
    }

    fn query<'a>(&self, body: &'a Map<String, Value>) -> Result<(list::Query, &'a Map<String, Value>), Failure> {
        self.stage.production(production_of(body))?;
        Ok((list::Query::read(body, FILTERS, self.switches.page_max)?, body))
    }

    fn issue(&mut self, tickets: &mut Drawer, body: &Map<String, Value>, by_own_ids: bool) -> Result<Reply, Failure> {
        made_by_platform(body, &["id", "created", "updated"])?;
        let number = text(body, "ticketNumber");
        check_person(body)?;
        let (event, ticket_type) = if by_own_ids { self.stage.nested(body)? } else { self.stage.by_ids(body)? };
        if !number.is_empty() && tickets.place_of_name(number).is_some() {
            return Err(Failure::new(409, format!("ticket with ticketNumber[{number}] already exists")));
        }
        let mut ticket = ticket::blank(number, &event, &ticket_type);
        overlay(&mut ticket, body, WRITABLE, self.switches);
        let answer = if by_own_ids {
            Reply::json(&json!({
                "ticketId": ticket["id"], "productionId": ticket["event"]["production"]["id"], "venueId": ticket["event"]["venue"]["id"],
                "ticketTypeId": ticket["ticketType"]["id"], "eventId": ticket["event"]["id"],
            }))
        } else {
            Reply::json(&json!({"id": ticket["id"]}))
        };
        tickets.add(Value::Object(ticket));
        answer
    }

    /// Event and ticket type stay what they are, whatever the request says.
    fn update(&self, tickets: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        made_by_platform(body, &["created", "updated"])?;
        let (id, number) = (text(body, "id"), text(body, "ticketNumber"));
        let place = if id.is_empty() {
            let production = body.get("event").and_then(|event| event.get("production")).map_or("", |production| field(production, "id"));
            if production.is_empty() || number.is_empty() {
                return Err(Failure::invalid("id, or ticketNumber and event.production.id, is required"));
            }
            self.numbered(tickets, production, number)?
        } else {
            tickets.place_of_id(id).ok_or_else(|| Failure::missing("ticket", "id", id))?
        };
        check_person(body)?;
        changed(tickets.change(place, |ticket| overlay(ticket, body, WRITABLE, self.switches)))
    }

    /// Each call adds a record; at the maximum the ticket is redeemed.
    fn validate(&self, tickets: &mut Drawer, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let place = self.find(tickets, part(body, "ticket")?)?;
        let Some(ticket) = tickets.at(place) else { return Err(Failure::new(404, "the ticket is gone")) };
        let number = field(ticket, "ticketNumber").to_owned();
        let valid = field(ticket, "status") != "REDEEMED" && !is_over(ticket);
        if valid {
            let given = body.get("validateDetails").cloned().unwrap_or_else(|| json!({}));
            let most = body.get("maxNumberOfValidations").and_then(Value::as_u64).unwrap_or(0);
            tickets.effects.count(VALIDATE_TICKET, &number, &name_of(Some(&given)), 0.0);
            tickets.change(place, |ticket| {
                let mut records = ticket.get("validateDetails").and_then(Value::as_array).cloned().unwrap_or_default();
                records.push(given);
                if most > 0 && records.len() as u64 >= most {
                    ticket.insert("status".to_owned(), "REDEEMED".into());
                    ticket.insert("redemptionDetails".to_owned(), redemption(None));
                }
                ticket.insert("validateDetails".to_owned(), records.into());
            });
        }
        Reply::json(&json!({"valid": valid, "ticket": tickets.at(place)}))
    }

    fn redeem(&self, tickets: &mut Drawer, place: usize, given: Option<&Value>) -> Result<String, Failure> {
        let gone = || Failure::new(404, "the ticket is gone");
        let ticket = tickets.at(place).ok_or_else(gone)?;
        if field(ticket, "status") == "REDEEMED" {
            redeemed_before("ticket", field(ticket, "id"), self.switches)?;
        }
        let number = field(ticket, "ticketNumber").to_owned();
        tickets.effects.count(REDEEM_TICKET, &number, &name_of(given), 0.0);
        let redeemed = tickets.change(place, |ticket| {
            ticket.insert("status".to_owned(), "REDEEMED".into());
            ticket.insert("redemptionDetails".to_owned(), redemption(given));
        });
        redeemed.ok_or_else(gone)
    }
}

fn shown(tickets: &Drawer, place: Option<usize>, missing: impl FnOnce() -> Failure) -> Result<Reply, Failure> {
    Reply::json(place.and_then(|place| tickets.seen(place)).ok_or_else(missing)?)
}

/// A message that a body must have.
fn part<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>, Failure> {
    body.get(name).and_then(Value::as_object).ok_or_else(|| Failure::invalid(format_args!("{name} is required")))
}

/// The production a body names, by the platform's id or by its own.
fn production_of(body: &Map<String, Value>) -> &str {
    ["productionId", "productionUid"].into_iter().map(|name| text(body, name)).find(|name| !name.is_empty()).unwrap_or("")
}

fn is_over(ticket: &Value) -> bool {
    shape::time(field(ticket, "expiryDate")).is_some_and(|expiry| expiry < chrono::Utc::now())
}

/// What a list asks for beside its filters.
fn is_wanted(ticket: &Value, body: &Map<String, Value>) -> bool {
    let is = |name: &str, held: &Value| text(body, name).is_empty() || held == text(body, name);
    is("eventId", &ticket["event"]["id"]) && is("ticketTypeId", &ticket["ticketType"]["id"])
}
