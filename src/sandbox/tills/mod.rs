//! Tills: a platform of nobody's, for those that are connected by configuration alone. Passes have a reference of the caller's; writes may
//! carry an `Idempotency-Key`; a batch answers each item by its reference; four ways of authentication.
//!
//! | call | what it does |
//! |---|---|
//! | `POST /oauth2/token` | client credentials |
//! | `GET /passes?reference=R` | `{"items": […]}`, empty when there is none |
//! | `POST /passes` | makes a pass of `{"reference", "fields"}`; 409 when it is there |
//! | `GET /passes/P` | the pass; P is its id or `ref:` and its reference |
//! | `PUT /passes/P` | replaces `fields`; `version` must rise |
//! | `PATCH /passes/P` | merges `fields`, null deletes |
//! | `POST /passes/P/credit` | adds `amount` to the balance; never safe to repeat without a key |
//! | `POST /batch` | `{"items": [{"ref", "fields"}]}` as so many PATCHes |

mod keys;
mod knobs;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use bytes::Bytes;
use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};

use super::answer::{Content, Failure, JSON, Reply};
use super::bearer::Tokens;
use super::door::Visit;
use super::effects::{Effect, Effects};
use super::faults::Faults;
use super::oauth::{self, Client};
use super::shelf::{Cellar, Shelf, lay_over};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn, percent_decoded};
use keys::Keys;

pub use knobs::{Auth, Knobs};

/// Who the stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// User of Basic, key of the API key, client of OAuth 2.
    pub key: String,
    /// Password of Basic, secret of OAuth 2.
    pub secret: String,
    /// The bearer token.
    pub token: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { key: "sandbox-key".to_owned(), secret: "sandbox-secret".to_owned(), token: "sandbox-token".to_owned() }
    }
}

const PASSES: &str = "/passes";
const PASS: &str = "/passes/{pass}";
/// An effect's event is the `Idempotency-Key`.
pub(super) const CREDIT: &str = "/passes/{pass}/credit";
/// An effect's event is the reference; twice is one pass too many.
pub(super) const CREATE: &str = "POST /passes";
const BATCH: &str = "/batch";
const TOKEN: &str = "/oauth2/token";

pub(super) struct Shop {
    settings: Settings,
    tokens: Tokens,
    state: Mutex<State>,
}

struct State {
    /// By reference: `{"id", "reference", "version", "balance", "fields"}`.
    passes: Shelf,
    keys: Keys,
    effects: Effects,
}

impl State {
    /// The reference of the pass that a path names.
    fn reference(&self, named: &str) -> Option<String> {
        match named.strip_prefix("ref:") {
            Some(reference) => self.passes.get(reference).map(|_| reference.to_owned()),
            None => self.passes.iter().find(|(_, pass)| pass["id"] == named).map(|(reference, _)| reference.clone()),
        }
    }
}

/// Route, and the pass the path names.
fn read(request: &Request) -> (&'static str, Option<String>) {
    let path = request.path.split('?').next().unwrap_or_default();
    let parts: Option<Vec<String>> = path.trim_start_matches('/').split('/').map(percent_decoded).collect();
    let parts = parts.unwrap_or_default();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts[..] {
        ["passes"] => (PASSES, None),
        ["passes", named] => (PASS, Some(named.to_owned())),
        ["passes", named, "credit"] => (CREDIT, Some(named.to_owned())),
        ["batch"] => (BATCH, None),
        ["oauth2", "token"] => (TOKEN, None),
        _ => ("other", None),
    }
}

fn reference_asked(request: &Request) -> Option<String> {
    let (_, query) = request.path.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "reference").map(|(_, value)| value.into_owned())
}

fn no_pass(named: &str) -> Failure {
    Failure::new(404, format!("no pass {named}")).because("not_found")
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(400, message).because("invalid")
}

impl Shop {
    pub fn open(settings: &Settings, cellar: &Cellar) -> anyhow::Result<Shop> {
        let state = State { passes: Shelf::open("tills.passes", cellar)?, keys: Keys::default(), effects: Effects::default() };
        Ok(Shop { settings: settings.clone(), tokens: Tokens::default(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(state: &mut State, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let reference = body.get("reference").and_then(Value::as_str).filter(|text| !text.is_empty());
        let reference = reference.ok_or_else(|| invalid("reference is needed"))?;
        let fields = fields(body)?;
        if state.passes.get(reference).is_some() {
            return Err(Failure::new(409, format!("{reference} exists")).because("exists"));
        }
        let pass = json!({
            "id": Alphanumeric.sample_string(&mut rand::rng(), 16), "reference": reference, "version": 1, "balance": 0, "fields": fields,
        });
        state.passes.put(reference, pass.clone());
        state.effects.count(CREATE, reference, reference, 0.0);
        Ok(Reply { status: 201, ..ok(pass)? })
    }

    fn change(&self, request: &Request, named: &str, body: &Map<String, Value>, knobs: &Knobs) -> Result<Reply, Failure> {
        let mut state = self.lock();
        let found = state.reference(named);
        let reference = match (found, named.strip_prefix("ref:")) {
            (Some(reference), _) => reference,
            (None, Some(new)) if request.method == "PUT" && knobs.put_creates => {
                let mut body = body.clone();
                body.insert("reference".to_owned(), new.into());
                return Self::create(&mut state, &body);
            }
            _ => return Err(no_pass(named)),
        };
        let mut pass = state.passes.get(&reference).cloned().ok_or_else(|| no_pass(named))?;
        let sent = fields(body)?;
        let had = pass["version"].as_i64().unwrap_or(0);
        let version = body.get("version").and_then(Value::as_i64);
        if request.method == "PUT" {
            match version {
                Some(version) if version > had => pass["version"] = version.into(),
                Some(version) => return Err(Failure::new(409, format!("version {version} is not above {had}")).because("stale_version")),
                None if knobs.version_required => return Err(invalid("version is needed")),
                None => pass["version"] = (had + 1).into(),
            }
            pass["fields"] = Value::Object(sent.into_iter().filter(|(_, value)| !value.is_null()).collect());
        } else {
            pass["version"] = (had + 1).into();
            for (name, value) in sent {
                match (value, pass["fields"].as_object_mut()) {
                    (Value::Null, Some(fields)) => drop(fields.shift_remove(&name)),
                    (value, Some(fields)) => drop(fields.insert(name, value)),
                    (_, None) => {}
                }
            }
        }
        state.passes.put(&reference, pass.clone());
        state.effects.count(PASS, &reference, "", 0.0);
        ok(pass)
    }

    fn credit(&self, request: &Request, named: &str, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let amount = body.get("amount").and_then(Value::as_f64).ok_or_else(|| invalid("amount is needed"))?;
        let mut state = self.lock();
        let reference = state.reference(named).ok_or_else(|| no_pass(named))?;
        let mut pass = state.passes.get(&reference).cloned().ok_or_else(|| no_pass(named))?;
        let balance = pass["balance"].as_f64().unwrap_or(0.0) + amount;
        if balance < 0.0 {
            return Err(Failure::new(422, format!("{reference} has not enough")).because("not_enough"));
        }
        pass["balance"] = balance.into();
        state.passes.put(&reference, pass.clone());
        let key = request.header("idempotency-key").unwrap_or_default();
        state.effects.count(CREDIT, &reference, key, amount);
        ok(pass)
    }

    /// Each item goes through the door as a PATCH of its own.
    fn batch(visit: &Visit<'_>, body: &Map<String, Value>) -> Result<Reply, Failure> {
        let knobs = &visit.knobs.tills;
        let items = body.get("items").and_then(Value::as_array).ok_or_else(|| invalid("items is needed"))?;
        if items.len() > knobs.batch_max {
            return Err(Failure::new(413, format!("a batch holds {} items at most", knobs.batch_max)).because("too_large"));
        }
        let mut results = Vec::new();
        for item in items {
            let Some(reference) = item["ref"].as_str() else { return Err(invalid("every item needs a ref")) };
            let encoded: String = url::form_urlencoded::byte_serialize(reference.as_bytes()).collect();
            let path = format!("/passes/ref:{}", encoded.replace('+', "%20"));
            let mut headers = HeaderMap::new();
            for name in ["authorization", "x-api-key"] {
                if let Some(value) = visit.request.headers.get(name) {
                    headers.insert(name, value.clone());
                }
            }
            let inner = Request::new("PATCH", &path, headers, Bytes::from(json!({"fields": item["fields"]}).to_string()));
            // None: the connection is gone, and what was not done by now stays undone.
            let Some(reply) = visit.part(inner, &format!("/tills{path}")) else { return Ok(Reply::empty(500)) };
            let said: Value = match &reply.content {
                Content::Text(text) => serde_json::from_str(text).unwrap_or_default(),
                Content::Places(_) | Content::Lines(_) => Value::Null,
            };
            let code = if said["ok"] == false { said["status"].as_u64().unwrap_or(500) } else { u64::from(reply.status) };
            let status = match code {
                200..=299 => "applied",
                404 => "not_found",
                429 | 500.. => "retry",
                _ => "refused",
            };
            let mut result = json!({"ref": reference, "status": status});
            if status != "applied" {
                result["error"] = said["error"].clone();
            }
            results.push(result);
        }
        let failed = results.iter().any(|result| result["status"] != "applied");
        if knobs.batch_failures_only {
            results.retain(|result| result["status"] != "applied");
        }
        if knobs.batch_shuffled {
            results.shuffle(&mut StdRng::seed_from_u64(visit.knobs.seed ^ visit.sequence()));
        }
        let reply = ok(json!({"results": results}))?;
        Ok(if failed { Reply { status: knobs.batch_status, ..reply } } else { reply })
    }

    fn write(&self, visit: &Visit<'_>, route: &str, named: Option<&str>) -> Result<Reply, Failure> {
        let (request, knobs) = (visit.request, &visit.knobs.tills);
        let body = request.body.as_ref().and_then(Value::as_object).ok_or_else(|| invalid("a JSON object is needed"))?;
        match (request.method.as_str(), route, named) {
            ("POST", PASSES, _) => Self::create(&mut self.lock(), body),
            ("PUT" | "PATCH", PASS, Some(named)) => self.change(request, named, body, knobs),
            ("POST", CREDIT, Some(named)) => self.credit(request, named, body),
            ("POST", BATCH, _) => Self::batch(visit, body),
            _ => Err(Failure::new(405, "method not allowed").because("method")),
        }
    }
}

fn fields(body: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    match body.get("fields") {
        Some(Value::Object(fields)) => Ok(fields.clone()),
        None => Ok(Map::new()),
        Some(_) => Err(invalid("fields must be an object")),
    }
}

fn ok(mut answer: Value) -> Result<Reply, Failure> {
    answer["ok"] = true.into();
    Reply::json(&answer)
}

impl StandIn for Shop {
    fn recognise(&self, request: &Request) -> Called {
        let (route, named) = read(request);
        let asked = named.clone().or_else(|| match (route, request.method.as_str()) {
            (PASSES, "GET") => reference_asked(request).map(|reference| format!("ref:{reference}")),
            (PASSES, "POST") => Some(format!("ref:{}", request.body.as_ref()?.get("reference")?.as_str()?)),
            _ => None,
        });
        let state = self.lock();
        let reference = asked.as_deref().and_then(|asked| state.reference(asked));
        let id = reference.as_deref().and_then(|reference| state.passes.get(reference)?["id"].as_str().map(str::to_owned));
        let external_id = reference.or_else(|| asked.as_deref().map(|asked| asked.trim_start_matches("ref:").to_owned()));
        let kind = match (route, request.method.as_str()) {
            (TOKEN, _) => Kind::Token,
            (BATCH, _) => Kind::Batch,
            (_, "GET") => Kind::Read,
            _ => Kind::Other,
        };
        Called { route, pass: Pass { external_id, id }, kind }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        if visit.called.kind == Kind::Token {
            return Ok(());
        }
        let (request, auth) = (visit.request, visit.knobs.tills.auth);
        let Settings { key, secret, token } = &self.settings;
        let is = |way: Auth| auth == Auth::Any || auth == way;
        let header = request.header("authorization").unwrap_or_default();
        let bearer = request.bearer();
        // A batch is one call of its token.
        let lets_in =
            |token: &str| if visit.is_part { self.tokens.knows(token, visit.clock) } else { self.tokens.take(token, visit.clock) };
        let good = (is(Auth::Bearer) && bearer == Some(token))
            || (is(Auth::Basic) && oauth::basic(header).is_some_and(|(user, password)| user == *key && password == *secret))
            || (is(Auth::ApiKey) && request.header("x-api-key") == Some(key))
            || (is(Auth::Oauth2) && bearer.is_some_and(lets_in));
        if good { Ok(()) } else { Err(Failure::new(401, "who are you?").because("unauthorized")) }
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let (request, knobs) = (visit.request, &visit.knobs.tills);
        let (route, named) = read(request);
        let reply = match (request.method.as_str(), route, named.as_deref()) {
            (_, TOKEN, _) => {
                let client = Client { id: &self.settings.key, secret: &self.settings.secret, scope: None };
                return oauth::client_credentials(request, &client, &self.tokens, visit.clock, &knobs.token);
            }
            (_, "other", _) => Err(Failure::new(404, "no such call").because("no_route")),
            ("GET", PASSES, _) => {
                let reference = reference_asked(request).ok_or_else(|| invalid("reference is needed"))?;
                let found: Vec<Value> = self.lock().passes.get(&reference).cloned().into_iter().collect();
                ok(json!({"items": found}))
            }
            ("GET", PASS, Some(named)) => {
                let state = self.lock();
                let pass = state.reference(named).and_then(|reference| state.passes.get(&reference).cloned());
                ok(pass.ok_or_else(|| no_pass(named))?)
            }
            _ => {
                let key = request.header("idempotency-key").filter(|_| !knobs.no_keys);
                if key.is_none() && knobs.key_required {
                    return Err(invalid("Idempotency-Key is needed"));
                }
                if let Some(key) = key
                    && let Some(first) = self.lock().keys.look(key, request, visit.clock, knobs.keys_days)?
                {
                    return Ok(echoed(first, request));
                }
                let done = self.write(visit, route, named.as_deref());
                if let Some(key) = key {
                    let first = match &done {
                        Ok(reply) => Reply::of(reply.status, JSON, text(reply)),
                        Err(failure) => self.refuse(failure, visit.knobs),
                    };
                    // What failed on this side may be tried again under its key.
                    if first.status < 500 {
                        self.lock().keys.note(key, request, visit.clock, &first);
                    }
                }
                done
            }
        }?;
        Ok(echoed(reply, request))
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        if failure.reason == oauth::TOKEN {
            return oauth::refused(failure);
        }
        let Failure { status, message, reason } = failure;
        let code = if reason.is_empty() { "failed" } else { reason };
        let body = json!({"ok": false, "status": status, "error": {"code": code, "message": message}});
        Reply::of(if knobs.tills.soft_errors { 200 } else { *status }, JSON, body.to_string())
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, _knobs: &Faults) {
        let mut state = self.lock();
        let Some(reference) = pass.external_id.as_deref() else { return };
        let Some(mut kept) = state.passes.meddle(reference, meddling) else { return };
        match *meddling {
            // Done.
            Meddling::Delete => return,
            Meddling::Write { key, value } => kept["fields"][key] = value.into(),
            Meddling::Give { points } => {
                kept["balance"] = (kept["balance"].as_f64().unwrap_or(0.0) + f64::from(points)).into();
                state.effects.count(super::BY_ANOTHER, reference, "", f64::from(points));
            }
        }
        kept["version"] = (kept["version"].as_i64().unwrap_or(0) + 1).into();
        state.passes.put(reference, kept);
    }

    fn save(&self) -> anyhow::Result<()> {
        self.lock().passes.save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.lock().effects.all()
    }

    /// `{"reference", "fields", "balance", "version"}`; only the first is needed.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let mut state = self.lock();
        let mut new = 0;
        for pass in passes {
            let Some(reference) = pass["reference"].as_str() else { anyhow::bail!("a pass to seed has no reference: {pass}") };
            if state.passes.get(reference).is_none() {
                let id = Alphanumeric.sample_string(&mut rand::rng(), 16);
                let mut kept = json!({"id": id, "reference": reference, "version": 1, "balance": 0, "fields": {}});
                lay_over(&mut kept, &pass);
                state.passes.put(reference, kept);
                new += 1;
            }
        }
        Ok(new)
    }

    /// By reference.
    fn pass(&self, name: &str) -> Option<Value> {
        self.lock().passes.get(name).cloned()
    }

    fn all(&self) -> Vec<Value> {
        self.lock().passes.all()
    }

    fn count(&self) -> u64 {
        self.lock().passes.len() as u64
    }

    fn revoke_tokens(&self) {
        self.tokens.revoke_all();
    }
}

fn text(reply: &Reply) -> String {
    match &reply.content {
        Content::Text(text) => text.clone(),
        Content::Places(_) | Content::Lines(_) => String::new(),
    }
}

/// `Request-Id` comes back.
fn echoed(reply: Reply, request: &Request) -> Reply {
    match request.header("request-id") {
        Some(id) => reply.header("request-id", id),
        None => reply,
    }
}
