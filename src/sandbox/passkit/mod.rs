//! PassKit: members, single-use coupons and event tickets of one account (contracts/passkit.md).

mod alerts;
mod auth;
mod calls;
mod coupons;
mod documents;
mod errors;
mod events;
mod list;
mod member;
mod members;
mod points;
mod region;
mod shape;
mod state;
mod switches;
#[cfg(test)]
mod tests;
mod ticket;
mod ticket_calls;
mod tickets;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::Region;
use super::answer::{Failure, JSON, Reply};
use super::door::{Visit, hash};
use super::effects::Effect;
use super::faults::Faults;
use super::shelf::Cellar;
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn};
use calls::Call;
use documents::{COUPONS, Drawer, TICKETS};
use members::Asked;
use switches::Switches;

pub use alerts::Alert;
pub use coupons::Offer;
pub use events::Named;
pub use member::Issue;
pub(super) use region::Elsewhere;
pub use switches::{ErrorShape, LongLived};

/// The largest body of a call (contract section 3.3: content of one update).
const BODY_MAX: usize = 10_000;
/// How often the same oversized body is answered 400 before it is answered 429: once and three repeats.
const OVERSIZED_ANSWERS: u32 = 4;

/// What the account holds beside its program.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A token that needs no signing; empty for none.
    pub long_lived_token: String,
    /// Who gets more of them by `POST /login`.
    pub username: String,
    pub password: String,
    /// The one campaign of coupons.
    pub campaign: String,
    /// The first is that of coupons seeded without one.
    pub offers: Vec<Offer>,
    /// The one production tickets are for.
    pub production: Named,
    pub venue: Named,
    /// The first is that of tickets seeded without one.
    pub ticket_types: Vec<Named>,
    /// Id of the event that is there from the start.
    pub event: String,
}

impl Default for Settings {
    fn default() -> Settings {
        let offer = |id: &str, own_expiry| Offer { id: id.to_owned(), own_expiry };
        Settings {
            long_lived_token: "sandbox-long-lived-token".to_owned(),
            username: "sandbox".to_owned(),
            password: "sandbox-password".to_owned(),
            campaign: "sandbox-campaign".to_owned(),
            offers: vec![offer("sandbox-offer", true), offer("sandbox-offer-fixed", false)],
            production: Named::new("sandbox-production", "PRODUCTION-1"),
            venue: Named::new("sandbox-venue", "HALL"),
            ticket_types: vec![Named::new("sandbox-ticket-type", "SEATED"), Named::new("sandbox-ticket-type-2", "STANDING")],
            event: "sandbox-event".to_owned(),
        }
    }
}

/// One account with one program, one campaign and one production.
pub(super) struct Account {
    settings: Settings,
    program: String,
    tiers: Vec<String>,
    region: Region,
    store: state::Store,
    tokens: auth::Tokens,
    /// Oversized bodies seen, by their hash.
    oversized: Mutex<HashMap<u64, u32>>,
    coupons: Mutex<Drawer>,
    tickets: Mutex<Drawer>,
    stage: Mutex<events::Stage>,
}

impl Account {
    pub fn open(settings: &super::Settings, cellar: &Cellar) -> anyhow::Result<Account> {
        anyhow::ensure!(!settings.tiers.is_empty(), "the sandbox needs at least one tier");
        let tickets = Drawer::open("passkit/tickets", "ticketNumber", TICKETS, cellar)?;
        Ok(Account {
            coupons: Mutex::new(Drawer::open("passkit/coupons", "externalId", COUPONS, cellar)?),
            stage: Mutex::new(events::Stage::new(&settings.passkit, &tickets)),
            tickets: Mutex::new(tickets),
            program: settings.program.clone(),
            tiers: settings.tiers.clone(),
            region: settings.region,
            store: state::Store::open(settings.database.as_deref())?,
            tokens: auth::Tokens::new(&settings.key, &settings.secret, &settings.passkit.long_lived_token)?,
            oversized: Mutex::default(),
            settings: settings.passkit.clone(),
        })
    }

    pub fn issue(&self, members: impl Iterator<Item = Issue>) -> anyhow::Result<u64> {
        self.store.issue(members, &self.program, &self.tiers)
    }

    pub fn rotate_secret(&self, secret: &str) -> anyhow::Result<()> {
        self.tokens.rotate(secret)
    }

    pub fn events(&self, external_id: &str) -> Vec<String> {
        let state = self.store.lock();
        let place = state.place_of_external_id(external_id);
        place.map(|place| state.events_of(place).map(|event| event.external_id.clone()).collect()).unwrap_or_default()
    }

    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts = self.store.lock().alerts.all();
        alerts.extend(lock(&self.coupons).alerts.all());
        alerts.extend(lock(&self.tickets).alerts.all());
        alerts
    }

    /// How many members there are, without deleted ones.
    pub fn members(&self) -> u64 {
        self.store.lock().count()
    }

    /// A member as a read would answer it, by its external ID.
    pub fn member(&self, external_id: &str) -> Option<Value> {
        let state = self.store.lock();
        let member = state.at(state.place_of_external_id(external_id)?)?;
        serde_json::from_str(&serde_json::to_string(member).ok()?).ok()
    }

    /// A coupon as a read would answer it, by its external ID.
    pub fn coupon(&self, external_id: &str) -> Option<Value> {
        let coupons = lock(&self.coupons);
        coupons.at(coupons.place_of_name(external_id)?).cloned()
    }

    /// A ticket as a read would answer it, by its number.
    pub fn ticket(&self, number: &str) -> Option<Value> {
        let tickets = lock(&self.tickets);
        tickets.at(tickets.place_of_name(number)?).cloned()
    }

    /// Another long-lived token.
    pub fn long_lived_token(&self) -> String {
        self.tokens.long_lived()
    }

    /// `POST /login` (contract section 1.2).
    fn login(&self, request: &Request) -> Result<Reply, Failure> {
        if request.header("x-passkit-longlived-token") != Some("true") {
            return Err(Failure::invalid("only long-lived tokens are given here: x-passkit-longlived-token must be true"));
        }
        let is = |name: &str, wanted: &str| request.body.as_ref().and_then(|body| body.get(name)?.as_str()) == Some(wanted);
        if is("username", &self.settings.username) && is("password", &self.settings.password) {
            Reply::json(&json!({"token": self.tokens.long_lived()}))
        } else {
            Err(Failure::new(401, "wrong username or password"))
        }
    }

    /// Token, region and size, in this order.
    fn let_in(&self, visit: &Visit<'_>, region: Region) -> Result<(), Failure> {
        let route = visit.called.route;
        if route == calls::LOGIN {
            return Ok(());
        }
        let checked = self.tokens.check(visit.request.header("authorization"), visit.clock, visit.knobs);
        checked.map_err(|message| Failure::new(401, message))?;
        if region == Region::Wrong && route != calls::PROFILE {
            return Err(Failure::new(404, format!("object with id[{}] does not exist", visit.called.pass.named())));
        }
        self.judge_size(&visit.request.raw)
    }

    /// The drawer a place belongs to; none for members.
    fn drawer(&self, place: usize) -> Option<MutexGuard<'_, Drawer>> {
        match place {
            TICKETS.. => Some(lock(&self.tickets)),
            COUPONS.. => Some(lock(&self.coupons)),
            _ => None,
        }
    }

    fn judge_size(&self, body: &[u8]) -> Result<(), Failure> {
        if body.len() <= BODY_MAX {
            return Ok(());
        }
        let mut seen = self.oversized.lock().unwrap_or_else(PoisonError::into_inner);
        let times = seen.entry(hash(&body)).or_default();
        *times += 1;
        Err(if *times > OVERSIZED_ANSWERS {
            Failure::new(429, "too many requests: the same oversized content was sent again")
        } else {
            Failure::invalid(format_args!("content of {} bytes is above the limit of {BODY_MAX} bytes", body.len()))
        })
    }

    fn pass_of(&self, call: &Call, body: Option<&Value>) -> Pass {
        let field = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| body?.get(name)?.as_str());
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let in_drawer = |drawer: &Mutex<Drawer>, (id, name): (String, String), field: &str| {
            let drawer = lock(drawer);
            // An id decides, as it does for the call itself.
            let place = if id.is_empty() { drawer.place_of_name(&name) } else { drawer.place_of_id(&id) };
            let found = place.and_then(|place| drawer.at(place));
            let [id, name] = match found {
                Some(document) => ["id", field].map(|field| documents::field(document, field).to_owned()),
                None => [id, name],
            };
            Pass { external_id: Some(name).filter(|name| !name.is_empty()), id: Some(id).filter(|id| !id.is_empty()) }
        };
        let (mut external_id, mut id) = match call {
            Call::Coupon(call) => return in_drawer(&self.coupons, call.names(body), "externalId"),
            Call::Ticket(call) => return in_drawer(&self.tickets, call.names(body), "ticketNumber"),
            Call::ById(id) | Call::Events(id) => (None, Some(id.clone())),
            Call::ByExternalId { external_id, .. } => (Some(external_id.clone()), None),
            Call::Enrol
            | Call::Update
            | Call::Delete
            | Call::SetPoints
            | Call::Earn
            | Call::Burn
            | Call::Tier
            | Call::Expiry
            | Call::Person => (field(["externalId", "externalMemberId"]), field(["id", "memberId"])),
            _ => (None, None),
        };
        let state = self.store.lock();
        // An id decides, as it does for the call itself.
        let place = id.as_ref().map_or_else(|| state.place_of_external_id(external_id.as_deref()?), |id| state.place_of_id(id));
        if let Some(member) = place.and_then(|place| state.at(place)) {
            external_id = Some(member.external_id.clone());
            id = Some(member.id.clone());
        }
        Pass { external_id, id }
    }
}

impl StandIn for Account {
    fn recognise(&self, request: &Request) -> Called {
        let (call, route) = Call::of(&request.method, &request.path);
        let kind = match &call {
            Call::Login => Kind::Token,
            Call::ById(_) | Call::ByExternalId { .. } => Kind::Read,
            Call::List(_)
            | Call::Events(_)
            | Call::ProgramEvents(_)
            | Call::Coupon(coupons::Call::List(_))
            | Call::Ticket(ticket_calls::Call::List) => Kind::List,
            Call::Coupon(call) if call.shows_one() => Kind::Read,
            Call::Ticket(call) if call.shows_one() => Kind::Read,
            _ => Kind::Other,
        };
        Called { route, pass: self.pass_of(&call, request.body.as_ref()), kind }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        self.let_in(visit, self.region)
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let request = visit.request;
        let (call, _) = Call::of(&request.method, &request.path);
        let switches = Switches::from(&**visit.knobs);
        let (raw, body) = (&request.raw, request.body.as_ref());
        match &call {
            Call::Login => self.login(request),
            Call::Coupon(call) => {
                let mut coupons = lock(&self.coupons);
                coupons.set_lag(switches.lag.members);
                let desk = coupons::Desk { campaign: &self.settings.campaign, offers: &self.settings.offers, switches };
                desk.answer(&mut coupons, call, raw, body)
            }
            Call::Ticket(call) => {
                let mut tickets = lock(&self.tickets);
                tickets.set_lag(switches.lag.members);
                let mut stage = lock(&self.stage);
                tickets::Desk { stage: &mut stage, switches }.answer(&mut tickets, call, raw, body)
            }
            call => members::answer(self, &Asked { call, raw, body, switches }),
        }
    }

    /// An error body. Those of the token check have a shape of their own (contract section 3.2).
    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        let shape = if failure.status == 401 { ErrorShape::Text } else { knobs.error_shape };
        Reply::of(failure.status, JSON, errors::body(failure, shape))
    }

    fn failure(&self, status: u16, message: Option<&str>, pass: &Pass) -> Failure {
        let named = pass.named();
        match (message, status) {
            (Some(message), _) => Failure::new(status, message),
            (None, 400) => Failure::invalid(format_args!("member with id[{named}] cannot be changed")),
            (None, 404) => Failure::missing("member", "id", named),
            (None, 504) => Failure::new(status, "deadline exceeded"),
            (None, _) => Failure::new(status, "internal error"),
        }
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, knobs: &Faults) {
        for drawer in [&self.coupons, &self.tickets] {
            let mut drawer = lock(drawer);
            let Some(place) = pass.id.as_deref().and_then(|id| drawer.place_of_id(id)) else { continue };
            match *meddling {
                Meddling::Delete => drawer.remove(place),
                Meddling::Write { key, value } => drop(drawer.change(place, |document| document["metaData"][key] = value.into())),
                // They have no points.
                Meddling::Give { .. } => {}
            }
        }
        let mut state = self.store.lock();
        let Some(place) = pass.id.as_deref().and_then(|id| state.place_of_id(id)) else { return };
        match *meddling {
            Meddling::Delete => drop(state.remove(place)),
            Meddling::Write { key, value } => {
                state.change(place, |member| member.meta_data.insert(key.to_owned(), value.into()));
            }
            Meddling::Give { points } => points::given_by_another(&mut state, place, points, Switches::from(knobs)),
        }
    }

    fn rows(&self, places: &[usize]) -> Vec<String> {
        if let Some(drawer) = places.first().and_then(|place| self.drawer(*place)) {
            let shown = places.iter().filter_map(|place| Some((*place, drawer.seen(*place)?)));
            return shown.map(|(place, row)| if place >= TICKETS { ticket::short(row).to_string() } else { row.to_string() }).collect();
        }
        let state = self.store.lock();
        let members = places.iter().filter_map(|place| state.seen(*place));
        members.filter_map(|member| serde_json::to_string(member).ok()).collect()
    }

    fn stranger(&self, places: &[usize]) -> Option<usize> {
        if let Some(drawer) = places.first().and_then(|place| self.drawer(*place)) {
            return drawer.places().find(|place| drawer.at(*place).is_some() && !places.contains(place));
        }
        let state = self.store.lock();
        (0..state.end()).find(|place| state.at(*place).is_some() && !places.contains(place))
    }

    fn save(&self) -> anyhow::Result<()> {
        lock(&self.coupons).save()?;
        lock(&self.tickets).save()?;
        self.store.save()
    }

    fn effects(&self) -> Vec<Effect> {
        let mut effects = self.store.lock().effects.all();
        effects.extend(lock(&self.coupons).effects.all());
        effects.extend(lock(&self.tickets).effects.all());
        effects
    }

    /// A pass with a `campaignId` or an `offerId` is a coupon, one with a `ticketNumber` a ticket, and any other a member.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let mut members = Vec::new();
        let mut issued = 0;
        for pass in passes {
            match pass.as_object() {
                Some(given) if given.contains_key("ticketNumber") => {
                    let (event, ticket_type) = lock(&self.stage).first();
                    let ticket = ticket::seeded(given, &event, &ticket_type)?;
                    issued += seeded(&self.tickets, ticket, "ticketNumber");
                }
                Some(given) if given.contains_key("campaignId") || given.contains_key("offerId") => {
                    let coupon = coupons::seeded(given, &self.settings.campaign, &self.settings.offers)?;
                    issued += seeded(&self.coupons, coupon, "externalId");
                }
                _ => members.push(serde_json::from_value::<Issue>(pass)?),
            }
        }
        Ok(issued + self.issue(members.into_iter())?)
    }

    /// A member or a coupon by its external ID, a ticket by its number, as a read would answer it; the first that there is.
    fn pass(&self, name: &str) -> Option<Value> {
        self.member(name).or_else(|| self.coupon(name)).or_else(|| self.ticket(name))
    }

    fn all(&self) -> Vec<Value> {
        let state = self.store.lock();
        // By way of a text, where 32-bit balances are as short as on the wire.
        let member = |place| serde_json::from_str(&serde_json::to_string(state.at(place)?).ok()?).ok();
        let mut all: Vec<Value> = (0..state.end()).filter_map(member).collect();
        all.extend(lock(&self.coupons).all());
        all.extend(lock(&self.tickets).all());
        all
    }

    fn count(&self) -> u64 {
        self.members() + (lock(&self.coupons).len() + lock(&self.tickets).len()) as u64
    }

    /// Signed tokens are the callers' own; only long-lived ones were given out.
    fn revoke_tokens(&self) {
        self.tokens.revoke();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 1 when its name was free.
fn seeded(drawer: &Mutex<Drawer>, document: Value, name: &str) -> u64 {
    let mut drawer = lock(drawer);
    let free = drawer.place_of_name(documents::field(&document, name)).is_none();
    if free {
        drawer.add(document);
    }
    u64::from(free)
}
