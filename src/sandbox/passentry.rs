//! `PassEntry` (contracts/others.md): updates by the pass's id or its external id.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Failure, JSON, Reply};
use super::door::Visit;
use super::effects::{Effect, Effects};
use super::faults::Faults;
use super::shelf::{Cellar, Shelf, lay_over};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn, percent_decoded, uuid};

/// Who the stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bearer token.
    pub key: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { key: "sandbox-key".to_owned() }
    }
}

/// What the contract leaves open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Errors have no body.
    pub empty_errors: bool,
    /// A body with a name that the contract does not have is refused instead of read without it.
    pub refuse_unknown: bool,
}

const UPDATE: &str = "/api/v1/passes/{id}";
/// Each call with a message sends it; an effect's event is its text.
pub(super) const MESSAGE: &str = "/api/v1/passes/{id} with a message";
const NAMES: [&str; 9] = ["pass", "message", "passAction", "locations", "beacons", "groupTag", "groupTags", "nfc", "expiresAt"];

pub(super) struct Account {
    settings: Settings,
    state: Mutex<State>,
}

struct State {
    /// By external id, each as the `data` of an answer.
    passes: Shelf,
    effects: Effects,
}

impl State {
    /// The external id of the pass that is known by this one or by this id.
    fn key_of(&self, name: &str) -> Option<String> {
        if self.passes.get(name).is_some() {
            return Some(name.to_owned());
        }
        self.passes.iter().find(|(_, pass)| pass["id"] == name).map(|(key, _)| key.clone())
    }
}

impl Account {
    pub fn open(settings: &Settings, cellar: &Cellar) -> anyhow::Result<Account> {
        let state = State { passes: Shelf::open("passentry.passes", cellar)?, effects: Effects::default() };
        Ok(Account { settings: settings.clone(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(request: &Request) -> Option<String> {
    percent_decoded(request.path.split('?').next()?.strip_prefix("/api/v1/passes/")?).filter(|id| !id.is_empty() && !id.contains('/'))
}

impl StandIn for Account {
    fn recognise(&self, request: &Request) -> Called {
        let Some(name) = named(request) else { return Called { route: "other", pass: Pass::default(), kind: Kind::Other } };
        let state = self.lock();
        let key = state.key_of(&name);
        let id = key.as_deref().and_then(|key| state.passes.get(key)?["id"].as_str().map(str::to_owned));
        Called { route: UPDATE, pass: Pass { external_id: key.or(Some(name)), id }, kind: Kind::Other }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        if visit.request.bearer() == Some(&self.settings.key) { Ok(()) } else { Err(Failure::new(401, "Unauthorized")) }
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let request = visit.request;
        let name = named(request).ok_or_else(|| Failure::new(404, "Not Found"))?;
        if request.method != "PATCH" {
            return Err(Failure::new(405, "Method Not Allowed"));
        }
        let body = request.body.as_ref().and_then(Value::as_object).ok_or_else(|| Failure::new(400, "an object is needed"))?;
        let mut state = self.lock();
        let id = state.key_of(&name).ok_or_else(|| Failure::new(404, format!("pass {name} not found")))?;
        let Some(mut pass) = state.passes.get(&id).cloned() else { return Err(Failure::new(404, "Not Found")) };
        let attributes = &mut pass["attributes"];
        for (name, value) in body {
            match (name.as_str(), value) {
                ("pass", Value::Object(fields)) => {
                    for (field, parts) in fields {
                        let Some(value) = parts.get("value") else {
                            return Err(Failure::new(422, format!("pass.{field}.value is needed")));
                        };
                        attributes["passContent"][field]["value"] = value.clone();
                    }
                }
                ("passAction", Value::String(action)) if matches!(action.as_str(), "deactivate" | "reactivate") => {
                    attributes["status"] = if action == "deactivate" { "deactivated" } else { "issued" }.into();
                }
                ("locations" | "beacons", Value::Array(items)) if items.len() <= 10 => attributes[name] = value.clone(),
                ("message", Value::String(_)) => {}
                ("groupTag" | "groupTags" | "nfc" | "expiresAt", _) => attributes[name] = value.clone(),
                (name, _) if NAMES.contains(&name) => return Err(Failure::new(422, format!("{name} is not valid"))),
                (name, _) if visit.knobs.passentry.refuse_unknown => return Err(Failure::new(422, format!("{name} is not known"))),
                _ => {}
            }
        }
        let mut answer = json!({"data": pass});
        let message = body.get("message").and_then(Value::as_str);
        let installed = pass["attributes"]["installed"] != false;
        if let Some(message) = message {
            let (status, said) = if installed { ("delivered", "") } else { ("notDelivered", "the pass is in no wallet") };
            answer["meta"] = json!({"notifications": {"status": status, "message": said}});
            state.effects.count(MESSAGE, &id, message, 0.0);
        }
        state.effects.count(UPDATE, &id, "", 0.0);
        state.passes.put(&id, pass);
        let reply = Reply::json(&answer)?;
        Ok(match answer["meta"]["notifications"]["status"].as_str() {
            Some(status) => reply.header("x-notification-status", status),
            None => reply,
        })
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        if knobs.passentry.empty_errors {
            return Reply::empty(failure.status);
        }
        let errors = json!({"errors": [{"status": failure.status.to_string(), "detail": failure.message}]});
        Reply::of(failure.status, JSON, errors.to_string())
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, _knobs: &Faults) {
        let mut state = self.lock();
        let Some(id) = pass.external_id.as_deref() else { return };
        let Some(mut kept) = state.passes.meddle(id, meddling) else { return };
        match *meddling {
            // Done.
            Meddling::Delete => return,
            Meddling::Write { key, value } => kept["attributes"]["passContent"][key]["value"] = value.into(),
            Meddling::Give { points } => {
                let content = &mut kept["attributes"]["passContent"]["points"]["value"];
                *content = (content.as_i64().unwrap_or(0) + i64::from(points)).into();
            }
        }
        state.passes.put(id, kept);
    }

    fn save(&self) -> anyhow::Result<()> {
        self.lock().passes.save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.lock().effects.all()
    }

    /// `{"extId", "passContent", "installed"}`; only the first is needed.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let mut state = self.lock();
        let mut new = 0;
        for pass in passes {
            let Some(external_id) = pass["extId"].as_str() else { anyhow::bail!("a pass to seed has no extId: {pass}") };
            if state.passes.get(external_id).is_none() {
                let mut attributes = json!({"status": "issued", "extId": external_id, "passContent": {}});
                lay_over(&mut attributes, &pass);
                state.passes.put(external_id, json!({"id": uuid(), "type": "pass", "attributes": attributes}));
                new += 1;
            }
        }
        Ok(new)
    }

    /// By id or external id.
    fn pass(&self, name: &str) -> Option<Value> {
        let state = self.lock();
        state.passes.get(&state.key_of(name)?).cloned()
    }

    fn all(&self) -> Vec<Value> {
        self.lock().passes.all()
    }

    fn count(&self) -> u64 {
        self.lock().passes.len() as u64
    }
}

#[cfg(test)]
mod tests;
