//! Webhooks (contract section 2.8): who wants to be told, and the telling. Only endpoints on this machine are called.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Value, json};

use crate::sandbox::answer::{Failure, Reply};

/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(super) struct Webhooks(Arc<Mutex<Vec<Value>>>);

impl Webhooks {
    /// The calls on `/api/{tenantId}/webhooks` and, where one is named, on that webhook.
    pub fn answer(&self, method: &str, id: Option<&str>, body: Option<&Value>) -> Result<Reply, Failure> {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = hooks.iter().position(|hook| id.is_some_and(|id| hook["id"] == id));
        match (method, id, place) {
            ("GET", None, _) => Reply::json(&*hooks),
            ("GET", Some(_), Some(place)) => Reply::json(&hooks[place]),
            ("POST", None, _) => {
                let mut hook = json!({
                    "id": Alphanumeric.sample_string(&mut rand::rng(), 12),
                    "signatureSecret": Alphanumeric.sample_string(&mut rand::rng(), 32),
                    "enabled": true,
                });
                overlay(&mut hook, body)?;
                if hook["endpoint"].as_str().is_none_or(|endpoint| url::Url::parse(endpoint).is_err()) || !hook["events"].is_array() {
                    return Err(Failure::new(400, "endpoint and events are required."));
                }
                hooks.push(hook.clone());
                Reply::json(&hook)
            }
            ("PATCH", Some(_), Some(place)) => {
                overlay(&mut hooks[place], body)?;
                Reply::json(&hooks[place])
            }
            ("DELETE", Some(_), Some(place)) => {
                hooks.remove(place);
                Ok(Reply::empty(204))
            }
            (_, Some(_), None) => Err(Failure::new(404, "")),
            _ => Err(Failure::new(405, "Method Not Allowed")),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Tells those who want to know; signed with HMAC-SHA-256 in hex, as the contract leaves the way open.
    pub async fn tell(&self, event: &str, told: Value) {
        let hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for hook in hooks.iter().filter(|hook| hook["enabled"] == true && wants(hook, event)) {
            let (Some(endpoint), Some(secret)) = (hook["endpoint"].as_str(), hook["signatureSecret"].as_str()) else { continue };
            let local = url::Url::parse(endpoint).is_ok_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")));
            let body = json!({"event": event, "data": told}).to_string();
            let (true, Some(signature)) = (local, signature(secret, body.as_bytes())) else { continue };
            let Ok(client) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else { continue };
            let request = client.post(endpoint).header("x-neostore-signature", signature).header("content-type", "application/json");
            if let Err(problem) = request.body(body).send().await {
                tracing::debug!(%problem, "a webhook was not told");
            }
        }
    }
}

fn overlay(hook: &mut Value, body: Option<&Value>) -> Result<(), Failure> {
    let body = body.and_then(Value::as_object).ok_or_else(|| Failure::new(400, "A JSON object is required."))?;
    for name in ["endpoint", "events", "enabled", "description"] {
        if let Some(value) = body.get(name) {
            hook[name] = value.clone();
        }
    }
    Ok(())
}

/// `*` in place of a category's event stands for all of them.
fn wants(hook: &Value, event: &str) -> bool {
    let category = event.split(':').next().unwrap_or_default();
    let wanted = |name: &str| name == event || name == format!("{category}:*") || name == "*";
    hook["events"].as_array().is_some_and(|events| events.iter().filter_map(Value::as_str).any(wanted))
}

pub(super) fn signature(secret: &str, body: &[u8]) -> Option<String> {
    let key = PKey::hmac(secret.as_bytes()).ok()?;
    let bytes = Signer::new(MessageDigest::sha256(), &key).ok()?.sign_oneshot_to_vec(body).ok()?;
    Some(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
