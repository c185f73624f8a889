//! Google Wallet (contracts/google-wallet.md): token endpoint, objects and classes of all seven kinds, batches.

mod batch;
mod calls;
mod desk;
mod key;
mod knobs;
mod messages;
mod notices;
mod query;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::door::Visit;
use super::effects::Effect;
use super::faults::Faults;
use super::oauth;
use super::shelf::{Cellar, Shelf};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn};
pub(super) use calls::ADD_MESSAGE;
use calls::{Act, Call, Vertical};
use desk::{Desk, State};
use query::Query;

pub use knobs::{EleventhMessage, Knobs, OverNotices, OverRate};
pub use notices::Notice;

/// Who the stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer's id; all ids begin with it.
    pub issuer: String,
    /// The service account's key file: used when it is there, written when it is not.
    pub key_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { issuer: "3388000000012345678".to_owned(), key_file: None }
    }
}

const JSON_UTF8: &str = "application/json; charset=UTF-8";

pub(super) struct Issuer {
    settings: Settings,
    token_uri: String,
    /// Made when first asked for: it takes a while.
    account: OnceLock<key::Account>,
    keys: Mutex<Shelf>,
    state: Mutex<State>,
    /// Calls of the last second, by token.
    recent: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl Issuer {
    pub fn open(settings: &Settings, cellar: &Cellar, base_url: &str) -> anyhow::Result<Issuer> {
        let issuer = Issuer {
            settings: settings.clone(),
            token_uri: format!("{base_url}/token"),
            account: OnceLock::new(),
            keys: Mutex::new(Shelf::open("google_wallet.keys", cellar)?),
            state: Mutex::new(State {
                objects: Shelf::open("google_wallet.objects", cellar)?,
                classes: Shelf::open("google_wallet.classes", cellar)?,
                notices: notices::Notices::default(),
                effects: super::effects::Effects::default(),
            }),
            recent: Mutex::default(),
        };
        if issuer.settings.key_file.is_some() {
            issuer.account()?;
        }
        Ok(issuer)
    }

    fn account(&self) -> anyhow::Result<&key::Account> {
        // Held while a key is made, so that only one is.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = self.account.get() {
            return Ok(account);
        }
        let account = key::Account::open(self.settings.key_file.as_deref(), keys.get("key"), &self.token_uri)?;
        if self.settings.key_file.is_none() && keys.get("key").is_none() {
            keys.put("key", account.file()?);
        }
        Ok(self.account.get_or_init(|| account))
    }

    /// The service account's key file.
    pub fn key_file(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.account()?.file()?)?)
    }

    pub fn notices(&self) -> Vec<Notice> {
        self.lock().notices.all()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sliding second of contract section 16.6.
    fn charge(&self, token: &str, knobs: &Knobs) -> Result<(), Failure> {
        let Some(most) = knobs.calls_per_second else { return Ok(()) };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = recent.entry(token.to_owned()).or_default();
        while calls.front().is_some_and(|call| call.elapsed() >= Duration::from_secs(1)) {
            calls.pop_front();
        }
        if calls.len() < most {
            calls.push_back(Instant::now());
            return Ok(());
        }
        let status = match knobs.over_rate {
            OverRate::TooMany => 429,
            OverRate::Forbidden => 403,
        };
        Err(Failure::new(status, "Rate Limit Exceeded").because("rateLimitExceeded"))
    }

    /// An id with the issuer's before it.
    fn full(&self, id: &str) -> String {
        if id.starts_with(&format!("{}.", self.settings.issuer)) { id.to_owned() } else { format!("{}.{id}", self.settings.issuer) }
    }
}

impl StandIn for Issuer {
    fn recognise(&self, request: &Request) -> Called {
        let (call, route) = Call::of(request);
        let named =
            |id: &str| Pass { external_id: id.split_once('.').map(|(_, identifier)| identifier.to_owned()), id: Some(id.to_owned()) };
        let (pass, kind) = match &call {
            Call::Token => (Pass::default(), Kind::Token),
            Call::Batch => (Pass::default(), Kind::Batch),
            Call::On(_, _, Act::Get(id)) => (named(id), Kind::Read),
            Call::On(_, _, Act::List) => (Pass::default(), Kind::List),
            Call::On(_, _, Act::Insert) => {
                let id = request.body.as_ref().and_then(|body| body.get("id")).and_then(Value::as_str);
                (id.map(named).unwrap_or_default(), Kind::Other)
            }
            Call::On(_, _, act) => (act.id().map(named).unwrap_or_default(), Kind::Other),
            Call::Unknown => (Pass::default(), Kind::Other),
        };
        Called { route, pass, kind }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        if visit.called.kind == Kind::Token {
            return Ok(());
        }
        let Some(header) = visit.request.header("authorization") else {
            return Err(Failure::new(401, "Login Required.").because("required"));
        };
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        if !self.account.get().is_some_and(|account| account.tokens.take(token, visit.clock)) {
            let said = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
            return Err(Failure::new(401, said).because("authError"));
        }
        if visit.called.kind == Kind::Batch { Ok(()) } else { self.charge(token, &visit.knobs.google_wallet) }
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let knobs = &visit.knobs.google_wallet;
        let (vertical, class, act) = match Call::of(visit.request).0 {
            Call::Token => {
                let account = self.account().map_err(|problem| Failure::new(500, format!("{problem:#}")))?;
                return account.exchange(visit.request, visit.clock, knobs);
            }
            Call::Batch => return batch::answer(visit, knobs.batch_max),
            Call::Unknown => return Err(Failure::new(404, "Not Found").because("notFound")),
            Call::On(vertical, class, act) => (vertical, class, act),
        };
        let query = Query::read(&visit.request.path);
        let listing = if class { ["issuerId", "maxResults", "token"] } else { ["classId", "maxResults", "token"] };
        query.check(if act == Act::List { &listing } else { &[] })?;
        let message = match act {
            Act::List | Act::AddMessage(_) => None,
            _ if class => Some(vertical.class_message),
            _ => Some(vertical.object_message),
        };
        // Refused before anything is done.
        query.reduced(json!({}), message)?;
        if knobs.image_ms > 0 && visit.request.raw.windows(11).any(|window| window == b"\"sourceUri\"") {
            visit.delay(knobs.image_ms);
        }
        let mut state = self.lock();
        let body = visit.request.body.as_ref();
        let issuer = &self.settings.issuer;
        let mut desk = Desk { state: &mut state, issuer, knobs, clock: visit.clock, vertical, class, body, query: &query };
        let answer = query.reduced(desk.answer(&act)?, message)?;
        let text = if query.is_pretty() { serde_json::to_string_pretty(&answer) } else { serde_json::to_string(&answer) };
        text.map(|text| Reply::of(200, JSON_UTF8, text)).map_err(|problem| Failure::new(500, problem.to_string()))
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        refused(failure, &knobs.google_wallet)
    }

    fn failure(&self, status: u16, message: Option<&str>, pass: &Pass) -> Failure {
        let said = match status {
            404 => format!("Wallet Object {} not found.", pass.id.as_deref().unwrap_or_default()),
            _ => "Internal error encountered.".to_owned(),
        };
        Failure::new(status, message.map_or(said, str::to_owned))
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, _knobs: &Faults) {
        let mut state = self.lock();
        let Some(id) = pass.id.as_deref() else { return };
        let Some(mut kept) = state.objects.get(id).cloned() else { return };
        let object = &mut kept["object"];
        match *meddling {
            Meddling::Delete => {
                state.objects.remove(id);
                return;
            }
            Meddling::Write { key, value } if messages::has_field("LoyaltyObject", key) => object[key] = value.into(),
            Meddling::Write { key, value } => match object["textModulesData"].as_array_mut() {
                Some(modules) => {
                    modules.retain(|module| module["id"] != key);
                    modules.push(json!({"id": key, "body": value}));
                }
                None => object["textModulesData"] = json!([{"id": key, "body": value}]),
            },
            Meddling::Give { points } => {
                let had = object["loyaltyPoints"]["balance"]["int"].as_i64().unwrap_or(0);
                object["loyaltyPoints"]["balance"]["int"] = (had + i64::from(points)).into();
                state.effects.count(super::BY_ANOTHER, id, "", f64::from(points));
            }
        }
        state.objects.put(id, kept);
    }

    fn save(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        state.objects.save()?;
        state.classes.save()?;
        drop(state);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.lock().effects.all()
    }

    /// Objects and classes in the form that the calls show, with the kind as `resource` (`loyaltyObject` when absent). What is left out is
    /// filled in: the issuer before an id, a class, the state, users.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let mut state = self.lock();
        let mut new = 0;
        for pass in passes {
            let Value::Object(mut object) = pass else { anyhow::bail!("a pass to seed is an object, not {pass}") };
            let resource = object.shift_remove("resource");
            let resource = resource.as_ref().and_then(Value::as_str).unwrap_or("loyaltyObject");
            let (vertical, class) = Vertical::of(resource).with_context(|| format!("{resource:?} is no kind of pass"))?;
            let id = self.full(object.get("id").and_then(Value::as_str).context("a pass to seed has no id")?);
            object.insert("id".to_owned(), id.clone().into());
            if class {
                state.classes.put(&id, json!({"resource": resource, "object": object}));
                continue;
            }
            let class_id = self.full(object.get("classId").and_then(Value::as_str).unwrap_or(vertical.class));
            object.insert("classId".to_owned(), class_id.clone().into());
            if state.classes.get(&class_id).is_none() {
                let class = json!({"id": class_id, "issuerName": "Sandbox", "reviewStatus": "APPROVED"});
                state.classes.put(&class_id, json!({"resource": vertical.class, "object": class}));
            }
            for name in vertical.required {
                object.entry(*name).or_insert_with(|| filling(name));
            }
            object.entry("state").or_insert_with(|| "ACTIVE".into());
            object.entry("hasUsers").or_insert_with(|| true.into());
            if state.objects.get(&id).is_none() {
                state.objects.put(&id, json!({"resource": resource, "object": object}));
                new += 1;
            }
        }
        Ok(new)
    }

    /// An object as it is kept, by its id with or without the issuer's.
    fn pass(&self, name: &str) -> Option<Value> {
        self.lock().objects.get(&self.full(name)).map(|kept| kept["object"].clone())
    }

    fn all(&self) -> Vec<Value> {
        self.lock().objects.iter().map(|(_, kept)| kept["object"].clone()).collect()
    }

    fn count(&self) -> u64 {
        self.lock().objects.len() as u64
    }

    fn revoke_tokens(&self) {
        if let Some(account) = self.account.get() {
            account.tokens.revoke_all();
        }
    }
}

/// A value for a required field of a seeded object.
fn filling(name: &str) -> Value {
    match name {
        "state" => "ACTIVE".into(),
        "cardTitle" | "header" => json!({"defaultValue": {"language": "en", "value": name}}),
        "tripType" => "ONE_WAY".into(),
        "reservationInfo" => json!({"confirmationCode": "SANDBOX"}),
        _ => name.into(),
    }
}

/// The three shapes of contract section 10, and that of the token endpoint.
fn refused(failure: &Failure, knobs: &Knobs) -> Reply {
    if failure.reason == oauth::TOKEN {
        return oauth::refused(failure);
    }
    let Failure { status, message, reason } = failure;
    let reason = match (*reason, status) {
        ("", 400) => "invalidResource",
        ("", 401) => "authError",
        ("", 403) => "permissionDenied",
        ("", 404) => "resourceNotFound",
        ("", 409) => "existingResource",
        ("", 429) => "rateLimitExceeded",
        ("", _) => "backendError",
        (reason, _) => reason,
    };
    let mut error = Map::new();
    error.insert("code".to_owned(), (*status).into());
    error.insert("message".to_owned(), message.as_str().into());
    if !knobs.bare_errors {
        let more = match reason {
            "required" => json!({"errors": [{
                "message": message, "domain": "global", "reason": reason, "location": "Authorization", "locationType": "header",
            }]}),
            "invalid" => json!({
                "status": "INVALID_ARGUMENT",
                "errors": [{"message": message, "reason": reason}],
                "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"description": message}]}],
            }),
            "authError" => json!({"status": "UNAUTHENTICATED", "errors": [{"message": message, "domain": "global", "reason": reason}]}),
            "rateLimitExceeded" if *status == 429 => {
                json!({"status": "RESOURCE_EXHAUSTED", "errors": [{"message": message, "domain": "global", "reason": reason}]})
            }
            _ => json!({"errors": [{"message": message, "domain": "walletobjects", "reason": reason}]}),
        };
        error.extend(more.as_object().cloned().unwrap_or_default());
    }
    let reply = Reply::of(*status, JSON_UTF8, json!({"error": error}).to_string());
    match &knobs.rate_retry_after {
        Some(value) if reason == "rateLimitExceeded" => reply.header("retry-after", value.as_str()),
        _ => reply,
    }
}
