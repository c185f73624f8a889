//! PassKit's members (contracts/passkit.md).

mod alerts;
mod auth;
mod calls;
mod list;
mod member;
mod members;
mod points;
mod shape;
mod state;
mod switches;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::answer::{Failure, JSON, Reply};
use super::door::{Visit, hash};
use super::effects::Effect;
use super::faults::Faults;
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn};
use super::{Region, Settings};
use calls::Call;
use members::Asked;
use switches::Switches;

pub use alerts::Alert;
pub use member::Issue;
pub use switches::ErrorShape;

/// The largest body of a call (contract section 3.3: content of one update).
const BODY_MAX: usize = 10_000;
/// How often the same oversized body is answered 400 before it is answered 429: once and three repeats.
const OVERSIZED_ANSWERS: u32 = 4;

/// One account with one program.
pub(super) struct Account {
    program: String,
    tiers: Vec<String>,
    region: Region,
    store: state::Store,
    tokens: auth::Tokens,
    /// Oversized bodies seen, by their hash.
    oversized: Mutex<HashMap<u64, u32>>,
}

impl Account {
    pub fn open(settings: &Settings) -> anyhow::Result<Account> {
        anyhow::ensure!(!settings.tiers.is_empty(), "the sandbox needs at least one tier");
        Ok(Account {
            program: settings.program.clone(),
            tiers: settings.tiers.clone(),
            region: settings.region,
            store: state::Store::open(settings.database.as_deref())?,
            tokens: auth::Tokens::new(&settings.key, &settings.secret)?,
            oversized: Mutex::default(),
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
        self.store.lock().alerts.all()
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
        let (mut external_id, mut id) = match call {
            Call::ById(id) | Call::Events(id) => (None, Some(id.clone())),
            Call::ByExternalId { external_id, .. } => (Some(external_id.clone()), None),
            Call::Enrol | Call::Update | Call::Delete | Call::SetPoints | Call::Earn | Call::Burn | Call::Tier | Call::Expiry => {
                (field(["externalId", "externalMemberId"]), field(["id", "memberId"]))
            }
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
        let kind = match call {
            Call::ById(_) | Call::ByExternalId { .. } => Kind::Read,
            Call::List(_) | Call::Events(_) | Call::ProgramEvents(_) => Kind::List,
            _ => Kind::Other,
        };
        Called { route, pass: self.pass_of(&call, request.body.as_ref()), kind }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        let checked = self.tokens.check(visit.request.header("authorization"), visit.clock, visit.knobs.strict_expiry);
        checked.map_err(|message| Failure::new(401, message))?;
        if self.region == Region::Wrong && visit.called.route != calls::PROFILE {
            return Err(Failure::new(404, format!("object with id[{}] does not exist", visit.called.pass.named())));
        }
        self.judge_size(&visit.request.raw)
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let request = visit.request;
        let (call, _) = Call::of(&request.method, &request.path);
        let switches = Switches::from(&**visit.knobs);
        members::answer(self, &Asked { call: &call, raw: &request.raw, body: request.body.as_ref(), switches })
    }

    /// An error body. Those of the token check have a shape of their own (contract section 3.2).
    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        let shape = if failure.status == 401 { ErrorShape::Text } else { knobs.error_shape };
        Reply::of(failure.status, JSON, error(failure, shape))
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
        let state = self.store.lock();
        let members = places.iter().filter_map(|place| state.seen(*place));
        members.filter_map(|member| serde_json::to_string(member).ok()).collect()
    }

    fn stranger(&self, places: &[usize]) -> Option<usize> {
        let state = self.store.lock();
        (0..state.end()).find(|place| state.at(*place).is_some() && !places.contains(place))
    }

    fn save(&self) -> anyhow::Result<()> {
        self.store.save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.store.lock().effects.all()
    }

    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let members = passes.into_iter().map(serde_json::from_value).collect::<Result<Vec<Issue>, _>>()?;
        self.issue(members.into_iter())
    }

    /// A member as a read would answer it, by its external ID.
    fn pass(&self, name: &str) -> Option<Value> {
        let state = self.store.lock();
        let member = state.at(state.place_of_external_id(name)?)?;
        serde_json::from_str(&serde_json::to_string(member).ok()?).ok()
    }

    fn all(&self) -> Vec<Value> {
        let state = self.store.lock();
        // By way of a text, where 32-bit balances are as short as on the wire.
        (0..state.end()).filter_map(|place| serde_json::from_str(&serde_json::to_string(state.at(place)?).ok()?).ok()).collect()
    }

    fn count(&self) -> u64 {
        self.store.lock().count()
    }
}

/// The error bodies of contract section 3.2.
fn error(failure: &Failure, shape: ErrorShape) -> String {
    let (code, message) = (grpc_code(failure.status), &failure.message);
    let details: [Value; 0] = [];
    match shape {
        ErrorShape::Gateway => json!({"code": code, "message": message, "details": details}),
        ErrorShape::Text => json!({"error": message}),
        ErrorShape::Both => json!({"error": message, "code": code, "message": message, "details": details}),
        ErrorShape::Nested => json!({"error": {"code": code, "message": message, "details": details}}),
    }
    .to_string()
}

/// The table of contract section 3.1, read from the right.
fn grpc_code(status: u16) -> u8 {
    match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        499 => 1,
        501 => 12,
        500 => 13,
        503 => 14,
        504 => 4,
        _ => 2,
    }
}
