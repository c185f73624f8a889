//! What a push must be, in the order in which the service looks (contract section 13, rule 1).

use axum::http::{HeaderMap, Method};
use serde_json::Value;

use super::apns::{By, Shared};
use super::provider;

/// The largest body, in bytes.
const BODY_MAX: usize = 4096;
const COLLAPSE_MAX: usize = 64;
const PUSH_TYPES: [&str; 11] =
    ["alert", "background", "complication", "controls", "fileprovider", "liveactivity", "location", "mdm", "pushtotalk", "voip", "widgets"];

/// An answer that is not 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub reason: String,
    /// With 410, in milliseconds since 1970.
    pub timestamp: Option<i64>,
}

impl Refusal {
    pub fn of(status: u16, reason: &str) -> Refusal {
        Refusal { status, reason: reason.to_owned(), timestamp: None }
    }
}

/// What a connection's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// Of a pass type, and of the right issuer.
    PassType(String),
    Untrusted,
}

/// A request, as far as it is judged.
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pub shown: &'a Shown,
}

/// A good push.
#[derive(Debug)]
pub(super) struct Good<'a> {
    pub token: &'a str,
    pub topic: &'a str,
    pub by: By,
}

impl<'a> Asked<'a> {
    pub fn judge(&self, shared: &Shared) -> Result<Good<'a>, Refusal> {
        if self.method != Method::POST {
            return Err(Refusal::of(405, "MethodNotAllowed"));
        }
        let token = self.path.strip_prefix("/3/device/").ok_or_else(|| Refusal::of(404, "BadPath"))?;
        if token.is_empty() {
            return Err(Refusal::of(400, "MissingDeviceToken"));
        }
        if token.contains(['/', '?']) {
            return Err(Refusal::of(404, "BadPath"));
        }
        if self.body.is_empty() {
            return Err(Refusal::of(400, "PayloadEmpty"));
        }
        if self.body.len() > BODY_MAX {
            return Err(Refusal::of(413, "PayloadTooLarge"));
        }
        // No reason is known for a body that is not JSON; to its reader it is as good as empty.
        if !serde_json::from_slice::<Value>(self.body).is_ok_and(|body| body.is_object()) {
            return Err(Refusal::of(400, "PayloadEmpty"));
        }
        let topic = self.topic(shared)?;
        self.headers()?;
        let by = self.credentials(topic, shared)?;
        if !token.bytes().all(|byte| byte.is_ascii_hexdigit()) || token.len() < 64 {
            return Err(Refusal::of(400, "BadDeviceToken"));
        }
        Ok(Good { token, topic, by })
    }

    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// It may be left out where the certificate implies it.
    fn topic(&self, shared: &Shared) -> Result<&'a str, Refusal> {
        let topic = match (self.header("apns-topic"), self.shown) {
            (Some(topic), _) => topic,
            (None, Shown::PassType(pass_type)) => pass_type,
            (None, _) => return Err(Refusal::of(400, "MissingTopic")),
        };
        let plausible = topic.starts_with("pass.") && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !plausible {
            return Err(Refusal::of(400, "BadTopic"));
        }
        let known = shared.settings.topics.iter().any(|known| known == topic);
        if known { Ok(topic) } else { Err(Refusal::of(400, "TopicDisallowed")) }
    }

    fn headers(&self) -> Result<(), Refusal> {
        let names = ["apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-id", "apns-collapse-id", "authorization"];
        if names.iter().any(|name| self.headers.get_all(*name).iter().count() > 1) {
            return Err(Refusal::of(400, "DuplicateHeaders"));
        }
        let is = |name: &str, good: &dyn Fn(&str) -> bool| self.header(name).is_none_or(good);
        let checks = [
            (is("apns-push-type", &|text| PUSH_TYPES.contains(&text)), "InvalidPushType"),
            (is("apns-priority", &|text| ["1", "5", "10"].contains(&text)), "BadPriority"),
            (is("apns-expiration", &|text| text.parse::<u32>().is_ok()), "BadExpirationDate"),
            (is("apns-id", &is_uuid), "BadMessageId"),
            (is("apns-collapse-id", &|text| text.len() <= COLLAPSE_MAX), "BadCollapseId"),
        ];
        match checks.iter().find(|(good, _)| !good) {
            Some((_, reason)) => Err(Refusal::of(400, reason)),
            None => Ok(()),
        }
    }

    /// A certificate whose UID is the topic, or a provider token.
    fn credentials(&self, topic: &str, shared: &Shared) -> Result<By, Refusal> {
        if let Some(header) = self.header("authorization") {
            let scheme = header.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "));
            let token = scheme.map(|_| header[7..].trim()).ok_or_else(|| Refusal::of(403, "InvalidProviderToken"))?;
            let now = shared.now();
            let iat = provider::judge(token, &shared.settings, &shared.token_key, now)?;
            shared.lock().provider.take(iat, now, shared.settings.token_renewal.as_secs().cast_signed())?;
            return Ok(By::Token);
        }
        match self.shown {
            Shown::PassType(pass_type) if pass_type == topic => Ok(By::Certificate),
            Shown::PassType(_) | Shown::Untrusted => Err(Refusal::of(403, "BadCertificate")),
            Shown::Nothing => Err(Refusal::of(403, "MissingProviderToken")),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
