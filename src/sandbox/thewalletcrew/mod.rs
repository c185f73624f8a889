//! The Wallet Crew (contracts/thewalletcrew.md): passes found by external identifiers and updated by a queue; webhooks.

mod find;
mod knobs;
mod passes;
#[cfg(test)]
mod tests;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::door::Visit;
use super::effects::Effect;
use super::faults::Faults;
use super::shelf::{Cellar, Shelf};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn, percent_decoded};
use find::Query;
use passes::{BLOCKS, Passes, name_of};
use webhooks::Webhooks;

pub use knobs::{Ambiguous, DuplicateCreate, ErrorBody, Knobs, Merge, Nulls, Numbers};

/// Who the stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub tenant: String,
    /// The API key with the scopes `Pass.Read` and `Pass.Write`.
    pub key: String,
    /// One with `Pass.Read` alone.
    pub read_key: String,
    /// The templates of the tenant's configuration; the first is that of seeded passes.
    pub pass_types: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tenant: "sandbox".to_owned(),
            key: "sandbox-key".to_owned(),
            read_key: "sandbox-read-key".to_owned(),
            pass_types: vec!["loyalty".to_owned(), "giftcard".to_owned()],
        }
    }
}

const PASSES: &str = "/api/{tenantId}/passes";
const ONE_PASS: &str = "/api/{tenantId}/passes/{passId}";
const WEBHOOKS: &str = "/api/{tenantId}/webhooks";
pub(super) const UPDATE: &str = "PATCH /api/{tenantId}/passes";
/// An effect's event is the pass type; twice for one identifier is one pass too many.
pub(super) const CREATE: &str = "POST /api/{tenantId}/passes";

pub(super) struct Tenant {
    settings: Settings,
    passes: Arc<Mutex<Passes>>,
    webhooks: Webhooks,
}

/// A request as its path and query say.
struct Read {
    tenant: String,
    route: &'static str,
    /// The pass or webhook of the path.
    id: Option<String>,
    query: Vec<(String, String)>,
}

impl Read {
    fn of(request: &Request) -> Option<Read> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Option<Vec<String>> = path.trim_start_matches('/').split('/').map(percent_decoded).collect();
        let parts = parts?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (tenant, route, id) = match parts[..] {
            ["api", tenant, "passes"] => (tenant, PASSES, None),
            ["api", tenant, "passes", id] => (tenant, ONE_PASS, Some(id)),
            ["api", tenant, "webhooks"] => (tenant, WEBHOOKS, None),
            ["api", tenant, "webhooks", id] => (tenant, WEBHOOKS, Some(id)),
            _ => return None,
        };
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Read { tenant: tenant.to_owned(), route, id: id.map(str::to_owned), query })
    }

    /// What the query says a pass is known by: the name without `id.`, empty for its own id.
    fn identifiers(&self) -> Vec<(&str, &str)> {
        let named = |name: &'_ str| if name == "id" { Some(0) } else { name.starts_with("id.").then_some(3) };
        let pairs = self.query.iter().filter_map(|(name, value)| Some((&name[named(name)?..], value.as_str())));
        pairs.map(|(name, value)| (if name == "id" { "" } else { name }, value)).collect()
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Tenant {
    pub fn open(settings: &Settings, cellar: &Cellar) -> anyhow::Result<Tenant> {
        let passes = Passes::new(Shelf::open("thewalletcrew.passes", cellar)?);
        Ok(Tenant { settings: settings.clone(), passes: Arc::new(Mutex::new(passes)), webhooks: Webhooks::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Passes> {
        lock(&self.passes)
    }

    fn find(&self, read: &Read, knobs: &Knobs) -> Result<Reply, Failure> {
        let query = Query::read(&read.query, knobs.page_max)?;
        let (mut page, total) = query.page(&self.lock());
        if knobs.nested_identifiers {
            for pass in &mut page {
                pass["identifiers"] = nested(&pass["identifiers"]);
            }
        }
        Ok(Reply::json(&page)?.header("x-pagination-total", total.to_string()))
    }

    fn update(&self, read: &Read, body: Option<&Value>, knobs: &Knobs) -> Result<Reply, Failure> {
        let given = match &read.id {
            Some(id) if !is_pass_id(id) => return Err(Failure::new(400, format!("The value '{id}' is not valid for passId."))),
            Some(id) => vec![("", id.as_str())],
            None => read.identifiers(),
        };
        if given.is_empty() {
            return Err(Failure::new(400, "At least one identifier is required."));
        }
        let pass_type = read.first("passType");
        if knobs.pass_type_required && read.id.is_none() && pass_type.is_none() {
            return Err(Failure::new(400, "The passType field is required."));
        }
        let blocks = Self::blocks(body, knobs)?;
        let mut passes = self.lock();
        let mut found: Option<std::collections::BTreeSet<String>> = None;
        for (name, value) in given {
            let ids = if name.is_empty() { [value.to_owned()].into() } else { passes.with(name, value) };
            found = Some(found.map_or(ids.clone(), |found| found.intersection(&ids).cloned().collect()));
        }
        let mut found = found.unwrap_or_default();
        found.retain(|id| passes.get(id).is_some_and(|pass| pass_type.is_none_or(|wanted| pass["passType"] == wanted)));
        match (found.len(), knobs.ambiguous) {
            (0, _) => return Err(Failure::new(404, "")),
            (1, _) | (_, Ambiguous::All) => {}
            (_, Ambiguous::First) => drop(found.split_off(&found.iter().nth(1).cloned().unwrap_or_default())),
            (_, Ambiguous::Refused) => return Err(Failure::new(409, "Several passes match the identifiers.")),
        }
        for id in &found {
            passes.queue(id, blocks.clone(), knobs);
        }
        drop(passes);
        self.tell_later(knobs.delay_ms);
        Ok(Reply::empty(knobs.success))
    }

    fn create(&self, read: &Read, body: Option<&Value>, knobs: &Knobs) -> Result<Reply, Failure> {
        let pass_type = read.first("passType").ok_or_else(|| Failure::new(400, "The passType field is required."))?;
        if !self.settings.pass_types.iter().any(|known| known == pass_type) {
            return Err(Failure::new(400, format!("Unknown passType '{pass_type}'.")));
        }
        let blocks = Self::blocks(body, knobs)?;
        let mut passes = self.lock();
        let identifiers = blocks.get("identifiers").and_then(Value::as_object).cloned().unwrap_or_default();
        let known = identifiers.iter().find_map(|(name, value)| passes.with(name, value.as_str()?).first().cloned());
        let id = match (known, knobs.duplicate_create) {
            (Some(id), DuplicateCreate::SameId) => id,
            (Some(_), DuplicateCreate::Conflict) => return Err(Failure::new(409, "A pass with these identifiers exists.")),
            _ => {
                let id = passes.create(None, pass_type, &blocks);
                let name = passes.get(&id).map(name_of).unwrap_or_default();
                passes.effects.count(CREATE, &name, pass_type, 0.0);
                id
            }
        };
        drop(passes);
        let webhooks = self.webhooks.clone();
        let told = json!({"passId": id});
        if !webhooks.is_empty() {
            tokio::spawn(async move { webhooks.tell("Pass:Created", told).await });
        }
        Ok(Reply { status: knobs.created, ..Reply::json(&json!({"passId": id}))? })
    }

    /// The blocks of a body, as they will be kept.
    fn blocks(body: Option<&Value>, knobs: &Knobs) -> Result<Map<String, Value>, Failure> {
        let body = body.and_then(Value::as_object).ok_or_else(|| Failure::new(400, "The body is not a JSON object."))?;
        let mut blocks = Map::new();
        for (name, block) in body {
            let name = name.as_str();
            if !BLOCKS.contains(&name) {
                if knobs.refuse_unknown_blocks {
                    return Err(Failure::new(400, format!("Unknown field '{name}'.")));
                }
                continue;
            }
            let Some(block) = block.as_object() else { return Err(Failure::new(400, format!("{name} must be an object."))) };
            if name == "identifiers" {
                if knobs.fixed_identifiers {
                    return Err(Failure::new(400, "Identifiers cannot be changed."));
                }
                if let Some((name, _)) = block.iter().find(|(_, value)| !value.is_string() && !value.is_null()) {
                    return Err(Failure::new(400, format!("identifiers.{name} must be a text.")));
                }
            }
            let mut kept = block.clone();
            for (key, value) in kept.iter_mut().filter(|(_, value)| value.is_number()) {
                match knobs.numbers {
                    Numbers::Kept => {}
                    Numbers::AsText => *value = value.to_string().into(),
                    Numbers::Refused => return Err(Failure::new(400, format!("{name}.{key} must be a text."))),
                }
            }
            blocks.insert(name.to_owned(), kept.into());
        }
        Ok(blocks)
    }

    /// Applies what waits when its time has come, and tells the webhooks.
    fn tell_later(&self, delay_ms: u64) {
        let (passes, webhooks) = (Arc::clone(&self.passes), self.webhooks.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            let updated = std::mem::take(&mut lock(&passes).updated);
            for (id, moment) in updated {
                webhooks.tell("Pass:Updated", json!({"passId": id, "lastUpdateDate": moment})).await;
            }
        });
    }
}

/// Every look at the passes sees what has been applied by then.
fn lock(passes: &Mutex<Passes>) -> MutexGuard<'_, Passes> {
    let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
    passes.catch_up();
    passes
}

/// `^[\w-]{5,50}$` (contract section 2.2).
fn is_pass_id(id: &str) -> bool {
    (5..=50).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// `a.b` as `b` within `a`.
fn nested(identifiers: &Value) -> Value {
    let mut nested = json!({});
    for (name, value) in identifiers.as_object().into_iter().flatten() {
        let place = name.split('.').fold(&mut nested, |object, part| {
            if !object.is_object() {
                *object = json!({});
            }
            &mut object[part]
        });
        *place = value.clone();
    }
    nested
}

impl StandIn for Tenant {
    fn recognise(&self, request: &Request) -> Called {
        let Some(read) = Read::of(request) else { return Called { route: "other", pass: Pass::default(), kind: Kind::Other } };
        let passes = self.lock();
        let of_id = |id: &str| match passes.get(id) {
            Some(pass) => Pass { external_id: Some(name_of(pass)), id: Some(id.to_owned()) },
            None => Pass { external_id: None, id: Some(id.to_owned()) },
        };
        let of_identifier = |name: &str, value: &str| {
            let id = passes.with(name, value).first().cloned();
            Pass { external_id: Some(value.to_owned()), id }
        };
        let (pass, kind) = match (request.method.as_str(), read.route) {
            ("GET", PASSES) => {
                let filters = find::filters(&read.query).unwrap_or_default();
                let exact = filters.iter().find_map(|f| f.field.strip_prefix("identifiers.").filter(|_| !f.contains).map(|name| (name, f)));
                match exact {
                    Some((name, filter)) => (of_identifier(name, &filter.value), Kind::Read),
                    None => (Pass::default(), Kind::List),
                }
            }
            (_, ONE_PASS) => (read.id.as_deref().map(of_id).unwrap_or_default(), Kind::Other),
            ("PATCH", PASSES) => {
                let identifiers = read.identifiers();
                let external = identifiers.iter().find(|(name, _)| !name.is_empty());
                let pass = external.map(|(name, value)| of_identifier(name, value));
                (pass.or_else(|| identifiers.first().map(|(_, id)| of_id(id))).unwrap_or_default(), Kind::Other)
            }
            ("POST", PASSES) => {
                let identifiers = request.body.as_ref().and_then(|body| body.get("identifiers")).and_then(Value::as_object);
                let first = identifiers.and_then(|identifiers| identifiers.iter().next());
                (first.and_then(|(name, value)| Some(of_identifier(name, value.as_str()?))).unwrap_or_default(), Kind::Other)
            }
            _ => (Pass::default(), Kind::Other),
        };
        Called { route: read.route, pass, kind }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        let read = Read::of(visit.request).ok_or_else(|| Failure::new(404, ""))?;
        let key = visit.request.header("x-api-key").unwrap_or_default();
        let known = key == self.settings.key || key == self.settings.read_key;
        if read.tenant != self.settings.tenant || !known {
            return Err(Failure::new(401, "Unauthorized"));
        }
        if visit.request.method != "GET" && key != self.settings.key {
            return Err(Failure::new(403, "The scope Pass.Write is required."));
        }
        Ok(())
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let (request, knobs) = (visit.request, &visit.knobs.thewalletcrew);
        let read = Read::of(request).ok_or_else(|| Failure::new(404, ""))?;
        let body = request.body.as_ref();
        match (request.method.as_str(), read.route) {
            ("GET", PASSES) => self.find(&read, knobs),
            ("PATCH", PASSES | ONE_PASS) => self.update(&read, body, knobs),
            ("POST", PASSES) => self.create(&read, body, knobs),
            (method, WEBHOOKS) => self.webhooks.answer(method, read.id.as_deref(), body),
            _ => Err(Failure::new(405, "Method Not Allowed")),
        }
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        let Failure { status, message, .. } = failure;
        let title = axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        match knobs.thewalletcrew.error_body {
            _ if *status == 404 => Reply::empty(404),
            ErrorBody::Empty => Reply::empty(*status),
            ErrorBody::Problem => {
                let problem = json!({
                    "type": "https://tools.ietf.org/html/rfc9110", "title": title, "status": status, "detail": message,
                    "traceId": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                });
                Reply::of(*status, "application/problem+json", problem.to_string())
            }
            ErrorBody::Text => Reply::of(*status, "text/plain; charset=utf-8", message.clone()),
            ErrorBody::Html => {
                let page = format!("<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>");
                Reply::of(*status, "text/html", page)
            }
        }
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, knobs: &Faults) {
        let mut passes = self.lock();
        let Some(id) = pass.id.as_deref().filter(|id| passes.get(id).is_some()) else { return };
        let at_once = Knobs { delay_ms: 0, merge: Merge::PerKey, ..knobs.thewalletcrew.clone() };
        let blocks = match *meddling {
            Meddling::Delete => return passes.remove(id),
            Meddling::Write { key, value } => json!({"additionalData": {key: value}}),
            Meddling::Give { points } => {
                let had = passes.get(id).and_then(|pass| pass["additionalData"]["points"].as_i64()).unwrap_or(0);
                json!({"additionalData": {"points": had + i64::from(points)}})
            }
        };
        if let Value::Object(blocks) = blocks {
            passes.queue(id, blocks, &at_once);
        }
    }

    fn save(&self) -> anyhow::Result<()> {
        self.lock().save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.lock().effects.all()
    }

    /// Passes in the form that a GET shows; what is left out is filled in.
    fn seed(&self, given: Vec<Value>) -> anyhow::Result<u64> {
        let mut passes = self.lock();
        let mut new = 0;
        for pass in given {
            let Value::Object(pass) = pass else { anyhow::bail!("a pass to seed is an object, not {pass}") };
            let first = self.settings.pass_types.first().map_or("", String::as_str);
            let pass_type = pass.get("passType").and_then(Value::as_str).unwrap_or(first);
            let id = pass.get("id").and_then(Value::as_str);
            if id.is_none_or(|id| passes.get(id).is_none()) {
                passes.create(id, pass_type, &pass);
                new += 1;
            }
        }
        Ok(new)
    }

    /// By id or by the value of any external identifier.
    fn pass(&self, name: &str) -> Option<Value> {
        let passes = self.lock();
        passes.get(name).or_else(|| passes.with_value(name)).cloned()
    }

    fn all(&self) -> Vec<Value> {
        self.lock().all().into_iter().cloned().collect()
    }

    fn count(&self) -> u64 {
        self.lock().count()
    }
}
