//! Airship Wallet (contracts/others.md): updates by template and external id.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Failure, JSON, Reply};
use super::bearer::Tokens;
use super::door::Visit;
use super::effects::{Effect, Effects};
use super::faults::Faults;
use super::oauth::{self, Client, TokenKnobs};
use super::shelf::{Cellar, Shelf, lay_over};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn, percent_decoded};

/// Who the stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub client_id: String,
    /// With letters that show whether a client encodes it, as the contract asks.
    pub client_secret: String,
    /// For Basic authentication.
    pub app_key: String,
    pub master_secret: String,
    /// Ids of the templates; the first is that of seeded passes.
    pub templates: Vec<String>,
    /// Those of the templates that are Google's, whose dates are `YYYY-MM-DD`.
    pub google_templates: Vec<String>,
    /// Fields that hold a date.
    pub date_fields: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            client_id: "sandbox-client".to_owned(),
            client_secret: "sandbox:secret+/%".to_owned(),
            app_key: "sandbox-key".to_owned(),
            master_secret: "sandbox-secret".to_owned(),
            templates: vec!["1001".to_owned(), "1002".to_owned()],
            google_templates: vec!["1002".to_owned()],
            date_fields: vec!["expirationDate".to_owned()],
        }
    }
}

/// What the contract leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    pub token: TokenKnobs,
    /// What an update is answered, and with which body.
    pub success: u16,
    pub answer: String,
    /// What an update of a pass is answered that nobody has installed yet.
    pub not_installed: u16,
    /// Errors have no body.
    pub empty_errors: bool,
    /// A body with something else than fields, headers, locations and beacons is refused instead of read without it.
    pub refuse_unknown: bool,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            token: TokenKnobs::default(),
            success: 200,
            answer: "{}".to_owned(),
            not_installed: 404,
            empty_errors: false,
            refuse_unknown: false,
        }
    }
}

const TOKEN: &str = "/oauth2/token";
pub(super) const UPDATE: &str = "/pass/template/{templateId}/id/{passExternalId}";
/// Each call adds locations.
pub(super) const LOCATIONS: &str = "/pass/template/{templateId}/id/{passExternalId}/locations";
/// What a field or header is made of.
const PARTS: [&str; 3] = ["value", "label", "changeMessage"];

pub(super) struct Project {
    settings: Settings,
    tokens: Tokens,
    state: Mutex<State>,
}

struct State {
    /// By `template/external id`.
    passes: Shelf,
    effects: Effects,
    next_location: u64,
}

/// Template and external id of a path, and whether it is about locations.
fn place(request: &Request) -> Option<(String, String, bool)> {
    let path = request.path.split('?').next().unwrap_or_default();
    let parts = path.trim_start_matches('/').split('/').map(percent_decoded).collect::<Option<Vec<String>>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let parts = parts.strip_prefix(&["v1"]).unwrap_or(&parts);
    match *parts {
        ["pass", "template", template, "id", id] => Some((template.to_owned(), id.to_owned(), false)),
        ["pass", "template", template, "id", id, "locations"] => Some((template.to_owned(), id.to_owned(), true)),
        _ => None,
    }
}

fn is_token(request: &Request) -> bool {
    matches!(request.path.split('?').next(), Some("/oauth2/token" | "/token")) && request.method == "POST"
}

impl Project {
    pub fn open(settings: &Settings, cellar: &Cellar) -> anyhow::Result<Project> {
        let state = State { passes: Shelf::open("airship.passes", cellar)?, effects: Effects::default(), next_location: 1 };
        Ok(Project { settings: settings.clone(), tokens: Tokens::default(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, template: &str, id: &str, body: &Map<String, Value>, knobs: &Knobs) -> Result<Reply, Failure> {
        let key = format!("{template}/{id}");
        let mut state = self.lock();
        let mut pass = state.passes.get(&key).cloned().ok_or_else(|| missing(id))?;
        if pass["installed"] == false {
            return Err(Failure::new(knobs.not_installed, format!("pass {id} is not installed")));
        }
        for (name, sent) in body {
            match name.as_str() {
                "fields" | "headers" => self.take_fields(&mut pass, template, name, sent)?,
                "locations" | "beacons" if sent.is_array() => pass[name] = sent.clone(),
                "locations" | "beacons" => return Err(Failure::new(400, format!("{name} must be an array"))),
                _ if knobs.refuse_unknown => return Err(Failure::new(400, format!("unknown field {name}"))),
                _ => {}
            }
        }
        state.passes.put(&key, pass);
        state.effects.count(UPDATE, id, "", 0.0);
        Ok(Reply::of(knobs.success, JSON, knobs.answer.clone()))
    }

    /// What is left out stays.
    fn take_fields(&self, pass: &mut Value, template: &str, block: &str, sent: &Value) -> Result<(), Failure> {
        let fields = sent.as_object().ok_or_else(|| Failure::new(400, format!("{block} must be an object")))?;
        for (name, parts) in fields {
            let parts = parts.as_object().ok_or_else(|| Failure::new(400, format!("{block}.{name} must be an object")))?;
            for (part, value) in parts {
                if !PARTS.contains(&part.as_str()) || !(value.is_string() || value.is_number()) {
                    return Err(Failure::new(400, format!("{block}.{name}.{part} is not understood")));
                }
                let dated = part == "value" && self.settings.date_fields.contains(name);
                let is_date = |text: &str| text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
                let google = self.settings.google_templates.iter().any(|known| known == template);
                if dated && google && !value.as_str().is_some_and(is_date) {
                    return Err(Failure::new(400, format!("{block}.{name}.value must be a date as YYYY-MM-DD")));
                }
                pass[block][name][part] = value.clone();
            }
        }
        Ok(())
    }

    fn add_locations(&self, template: &str, id: &str, body: &Value) -> Result<Reply, Failure> {
        let key = format!("{template}/{id}");
        let mut state = self.lock();
        let mut pass = state.passes.get(&key).cloned().ok_or_else(|| missing(id))?;
        let sent = body.get("locations").unwrap_or(body).as_array().ok_or_else(|| Failure::new(400, "an array is needed"))?;
        let mut answer = Vec::new();
        for location in sent {
            answer.push(json!({"passLocationId": state.next_location, "value": location}));
            state.next_location += 1;
            match pass["locations"].as_array_mut() {
                Some(locations) => locations.push(location.clone()),
                None => pass["locations"] = json!([location]),
            }
        }
        let event = super::door::hash(&body.to_string()).to_string();
        state.passes.put(&key, pass);
        state.effects.count(LOCATIONS, id, &event, 0.0);
        Reply::json(&answer)
    }
}

fn missing(id: &str) -> Failure {
    Failure::new(404, format!("pass with external id {id} not found"))
}

impl StandIn for Project {
    fn recognise(&self, request: &Request) -> Called {
        if is_token(request) {
            return Called { route: TOKEN, pass: Pass::default(), kind: Kind::Token };
        }
        let Some((template, id, locations)) = place(request) else {
            return Called { route: "other", pass: Pass::default(), kind: Kind::Other };
        };
        let pass = Pass { external_id: Some(id.clone()), id: Some(format!("{template}/{id}")) };
        Called { route: if locations { LOCATIONS } else { UPDATE }, pass, kind: Kind::Other }
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        let request = visit.request;
        if visit.called.kind == Kind::Token {
            return Ok(());
        }
        let header = request.header("authorization").unwrap_or_default();
        let user =
            || oauth::basic(header).is_some_and(|(key, secret)| key == self.settings.app_key && secret == self.settings.master_secret);
        let good = request.bearer().map_or_else(user, |token| self.tokens.take(token, visit.clock));
        if !good {
            return Err(Failure::new(401, "the credentials are not valid"));
        }
        if request.header("api-revision") != Some("1.2") {
            return Err(Failure::new(400, "Api-Revision: 1.2 is needed"));
        }
        Ok(())
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        let (request, knobs) = (visit.request, &visit.knobs.airship);
        if visit.called.kind == Kind::Token {
            let client = Client { id: &self.settings.client_id, secret: &self.settings.client_secret, scope: Some("wpas") };
            return oauth::client_credentials(request, &client, &self.tokens, visit.clock, &knobs.token);
        }
        let (template, id, locations) = place(request).ok_or_else(|| Failure::new(404, "not found"))?;
        if !self.settings.templates.contains(&template) {
            return Err(Failure::new(404, format!("template {template} not found")));
        }
        let body = request.body.as_ref().ok_or_else(|| Failure::new(400, "the body is no JSON"))?;
        match (request.method.as_str(), locations, body) {
            ("PUT", false, Value::Object(body)) => self.update(&template, &id, body, knobs),
            ("PUT", false, _) => Err(Failure::new(400, "an object is needed")),
            ("POST", true, body) => self.add_locations(&template, &id, body),
            _ => Err(Failure::new(405, "method not allowed")),
        }
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        if failure.reason == oauth::TOKEN {
            oauth::refused(failure)
        } else if knobs.airship.empty_errors {
            Reply::empty(failure.status)
        } else {
            Reply::of(failure.status, JSON, json!({"code": failure.status, "description": failure.message}).to_string())
        }
    }

    fn meddle(&self, pass: &Pass, meddling: &Meddling<'_>, _knobs: &Faults) {
        let mut state = self.lock();
        let Some(key) = pass.id.as_deref() else { return };
        let Some(mut kept) = state.passes.meddle(key, meddling) else { return };
        match *meddling {
            // Done.
            Meddling::Delete => return,
            Meddling::Write { key, value } => kept["fields"][key]["value"] = value.into(),
            Meddling::Give { points } => {
                let had = kept["fields"]["points"]["value"].as_i64().unwrap_or(0);
                kept["fields"]["points"]["value"] = (had + i64::from(points)).into();
            }
        }
        state.passes.put(key, kept);
    }

    fn save(&self) -> anyhow::Result<()> {
        self.lock().passes.save()
    }

    fn effects(&self) -> Vec<Effect> {
        self.lock().effects.all()
    }

    /// `{"externalId", "template", "fields", "headers", "installed"}`; only the first is needed.
    fn seed(&self, passes: Vec<Value>) -> anyhow::Result<u64> {
        let mut state = self.lock();
        let mut new = 0;
        for pass in passes {
            let external_id = pass["externalId"].as_str().filter(|id| !id.is_empty());
            let Some(external_id) = external_id else { anyhow::bail!("a pass to seed has no externalId: {pass}") };
            let first = self.settings.templates.first().map_or("", String::as_str);
            let template = pass["template"].as_str().unwrap_or(first);
            let key = format!("{template}/{external_id}");
            if state.passes.get(&key).is_none() {
                let mut kept = json!({"externalId": external_id, "template": template, "installed": true, "fields": {}, "headers": {}});
                lay_over(&mut kept, &pass);
                state.passes.put(&key, kept);
                new += 1;
            }
        }
        Ok(new)
    }

    /// By external id, of the first template that has it.
    fn pass(&self, name: &str) -> Option<Value> {
        let state = self.lock();
        self.settings.templates.iter().find_map(|template| state.passes.get(&format!("{template}/{name}")).cloned())
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

#[cfg(test)]
mod tests;
