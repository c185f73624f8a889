//! Every request to the platform's paths comes in here: it is logged, meets the trouble meant for it, is let in or refused, and answered.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::answer::{Failure, Reply};
use super::calls::Call;
use super::faults::{Decision, Outage};
use super::listener::Wire;
use super::log::{Arrival, RequestLog};
use super::members::{self, Asked};
use super::stream::{self, Ending};
use super::trouble::{About, Trouble};
use super::{Region, Shared, points};

/// The largest body of a call (contract section 3.3: content of one update).
const BODY_MAX: usize = 10_000;
/// How often the same oversized body is answered 400 before it is answered 429: once and three repeats.
const OVERSIZED_ANSWERS: u32 = 4;
/// The largest body read at all.
const READ_MAX: usize = 16 * 1024 * 1024;

/// Oversized bodies seen, by their hash.
#[derive(Default)]
pub(super) struct Oversized(Mutex<HashMap<u64, u32>>);

impl Oversized {
    fn judge(&self, body: &[u8]) -> Result<(), Failure> {
        if body.len() <= BODY_MAX {
            return Ok(());
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = seen.entry(hash(&body)).or_default();
        *times += 1;
        Err(if *times > OVERSIZED_ANSWERS {
            Failure::new(429, "too many requests: the same oversized content was sent again")
        } else {
            Failure::invalid(format_args!("content of {} bytes is above the limit of {BODY_MAX} bytes", body.len()))
        })
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Notes the end of a request even when its client went away.
struct Leaving<'a> {
    log: &'a RequestLog,
    sequence: u64,
    status: Option<u16>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.log.leave(self.sequence, self.status);
    }
}

pub(super) async fn open(State(shared): State<Arc<Shared>>, ConnectInfo(wire): ConnectInfo<Wire>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(raw) = axum::body::to_bytes(body, READ_MAX).await else {
        return plain(StatusCode::BAD_REQUEST, "text/plain", "the body could not be read");
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let (call, route) = Call::of(head.method.as_str(), path);
    let body: Option<Value> = serde_json::from_slice(&raw).ok();
    let subject = Subject::of(&shared, &call, body.as_ref());
    let credentials =
        [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].iter().any(|name| head.headers.contains_key(name));
    let external_id = subject.external_id.as_deref();
    let arrival = Arrival { method: head.method.as_str(), path, route, external_id, credentials, body: &raw };
    let mut leaving = Leaving { log: &shared.log, sequence: shared.log.arrive(&arrival), status: None };
    let decision = shared.faults.decide(&About {
        method: head.method.as_str(),
        path,
        ids: [subject.external_id.as_deref(), subject.id.as_deref()],
        fingerprint: hash(&(head.method.as_str(), path, &raw)),
    });
    if !decision.wait.is_zero() {
        tokio::time::sleep(decision.wait).await;
    }
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let visit =
        Visit { shared: &shared, call: &call, raw: &raw, body: body.as_ref(), subject: &subject, authorization, decision: &decision };
    let Some(mut response) = visit.answer() else {
        wire.cut();
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "");
    };
    for trouble in &decision.troubles {
        match trouble {
            Trouble::AnswerLate { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Trouble::AnswerTwice => wire.twice(),
            _ => {}
        }
    }
    if decision.switches.skewed
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(decision.clock))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    leaving.status = Some(response.status().as_u16());
    response
}

/// The member a request is about, as far as it can be told.
struct Subject {
    external_id: Option<String>,
    id: Option<String>,
}

impl Subject {
    fn of(shared: &Shared, call: &Call, body: Option<&Value>) -> Subject {
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
        let state = shared.store.lock();
        // An id decides, as it does for the call itself.
        let place = id.as_ref().map_or_else(|| state.place_of_external_id(external_id.as_deref()?), |id| state.place_of_id(id));
        if let Some(member) = place.and_then(|place| state.at(place)) {
            external_id = Some(member.external_id.clone());
            id = Some(member.id.clone());
        }
        Subject { external_id, id }
    }

    fn named(&self) -> &str {
        self.external_id.as_deref().or(self.id.as_deref()).unwrap_or("")
    }
}

struct Visit<'a> {
    shared: &'a Arc<Shared>,
    call: &'a Call,
    raw: &'a Bytes,
    body: Option<&'a Value>,
    subject: &'a Subject,
    authorization: Option<&'a str>,
    decision: &'a Decision,
}

impl Visit<'_> {
    /// The answer, or none when the connection is to be cut.
    fn answer(&self) -> Option<Response> {
        match self.decision.outage {
            Some(Outage::Close) => return None,
            Some(Outage::Unavailable) => return Some(self.refuse(&Failure::new(503, "service unavailable"))),
            Some(Outage::Unauthorized) => return Some(self.refuse(&Failure::new(401, "unauthorized"))),
            None => {}
        }
        if let Some(throttled) = &self.decision.throttled {
            let mut response = self.refuse(&Failure::new(429, "rate limit exceeded"));
            if let Some(value) = throttled.retry_after.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            return Some(response);
        }
        for trouble in &self.decision.troubles {
            match trouble {
                Trouble::DropBefore => return None,
                Trouble::Status { code, message } => return Some(self.refuse(&self.failure(*code, message.as_deref()))),
                Trouble::Unavailable => return Some(self.refuse(&Failure::new(503, "service unavailable, repeat after 250ms"))),
                Trouble::BadGatewayHtml => {
                    let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
                    return Some(plain(StatusCode::BAD_GATEWAY, "text/html", page));
                }
                Trouble::HtmlOk => {
                    let page = "<!DOCTYPE html><html><body><form>Please log in</form></body></html>";
                    return Some(plain(StatusCode::OK, "text/html", page));
                }
                Trouble::TooMany { retry_after } => {
                    let mut response = self.refuse(&Failure::new(429, "rate limit exceeded"));
                    if let Some(value) = retry_after.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                        response.headers_mut().insert(header::RETRY_AFTER, value);
                    }
                    return Some(response);
                }
                Trouble::Redirect { to, code } => return Some(redirect(to, *code)),
                Trouble::DeleteMember => self.with_member(|state, place| drop(state.remove(place))),
                Trouble::ApplyLater { ms } => {
                    self.apply_later(Duration::from_millis(*ms));
                    return None;
                }
                Trouble::OtherWriter { most } => {
                    self.with_member(|state, place| points::given_by_another(state, place, *most, self.decision.switches));
                }
                _ => {}
            }
        }
        let reading = matches!(self.call, Call::ById(_) | Call::ByExternalId { .. });
        if !reading {
            self.lose_updates();
            if let Some(code) = self.decision.troubles.iter().find_map(clash) {
                return Some(self.refuse(&Failure::new(code, "the member was changed by somebody else")));
            }
        }
        let reply = self.enter();
        if reading {
            self.lose_updates();
        }
        match reply {
            Ok(reply) => self.send(reply),
            Err(failure) if self.decision.troubles.contains(&Trouble::DropAfter) => {
                tracing::trace!(%failure.message, "dropped");
                None
            }
            Err(failure) => Some(self.refuse(&failure)),
        }
    }

    /// The checks before a call, then the call.
    fn enter(&self) -> Result<Reply, Failure> {
        self.let_in()?;
        members::answer(self.shared, &Asked { call: self.call, raw: self.raw, body: self.body, switches: self.decision.switches })
    }

    /// Nobody learns what comes of it.
    fn apply_later(&self, wait: Duration) {
        if self.let_in().is_err() {
            return;
        }
        let (shared, call, raw, body) = (Arc::clone(self.shared), self.call.clone(), self.raw.clone(), self.body.cloned());
        let switches = self.decision.switches;
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let ended = members::answer(&shared, &Asked { call: &call, raw: &raw, body: body.as_ref(), switches });
            if let Err(failure) = ended {
                tracing::debug!(%failure.message, "refused later");
            }
        });
    }

    fn let_in(&self) -> Result<(), Failure> {
        let checked = self.shared.tokens.check(self.authorization, self.decision.clock, self.decision.switches.strict_expiry);
        checked.map_err(|message| Failure::new(401, message))?;
        if self.shared.settings.region == Region::Wrong && *self.call != Call::Profile {
            return Err(Failure::new(404, format!("object with id[{}] does not exist", self.subject.named())));
        }
        self.shared.oversized.judge(self.raw)
    }

    /// Sends an answer with the trouble meant for it.
    fn send(&self, reply: Reply) -> Option<Response> {
        let mut ending = Ending::Whole;
        let mut drip = None;
        let mut reply = reply;
        for trouble in &self.decision.troubles {
            match trouble {
                Trouble::DropAfter => return None,
                Trouble::WrongJson => reply = Reply::Json(r#"[{"unexpected":true}]"#.to_owned()),
                Trouble::EmptyBody => reply = Reply::Json(String::new()),
                Trouble::DuplicateKeys => reply = Reply::Json(self.fill(r#"{"id":"somebody-elses-pass-id","id":"{id}"}"#)),
                Trouble::DeepNesting { depth } => {
                    let (open, close) = ("[".repeat(*depth), "]".repeat(*depth));
                    reply = Reply::Json(self.fill(&format!(r#"{{"id":"{{id}}","deep":{open}{close}}}"#)));
                }
                Trouble::HtmlAfter => return Some(plain(StatusCode::OK, "text/html", "<!DOCTYPE html><html><body>Welcome</body></html>")),
                Trouble::Answer { code, body, content_type } => {
                    let mut response = plain(status(*code), "", self.fill(body));
                    if let Ok(kind) = HeaderValue::from_str(content_type) {
                        response.headers_mut().insert(header::CONTENT_TYPE, kind);
                    }
                    return Some(response);
                }
                Trouble::HugeBody { bytes, gzip } => return Some(stream::huge(*bytes, *gzip)),
                Trouble::MixedList { without_every, twice, reversed, extra } => {
                    if let Reply::Members(places) = &mut reply {
                        self.mix(places, *without_every, *twice, *reversed, *extra);
                    }
                }
                Trouble::OtherId => reply = stream::with_other_id(reply),
                Trouble::TruncatedBody => ending = Ending::Cut(0),
                Trouble::ListError { rows } if self.call.is_list() => ending = Ending::Error(*rows),
                Trouble::ListCut { rows } if self.call.is_list() => ending = Ending::Cut(*rows),
                Trouble::SlowDrip { bytes, pause_ms } => drip = Some((*bytes, Duration::from_millis(*pause_ms))),
                _ => {}
            }
        }
        Some(stream::respond(self.shared.store.clone(), reply, ending, drip))
    }

    /// Puts the member's id where a body names it.
    fn fill(&self, body: &str) -> String {
        body.replace("{id}", self.subject.id.as_deref().unwrap_or_default())
    }

    fn mix(&self, places: &mut Vec<usize>, without_every: usize, twice: bool, reversed: bool, extra: bool) {
        if without_every > 0 {
            *places = places.iter().enumerate().filter(|(index, _)| (index + 1) % without_every != 0).map(|(_, place)| *place).collect();
        }
        if twice {
            *places = places.iter().flat_map(|place| [*place, *place]).collect();
        }
        if reversed {
            places.reverse();
        }
        if extra {
            let state = self.shared.store.lock();
            places.extend((0..state.end()).find(|place| state.at(*place).is_some() && !places.contains(place)));
        }
    }

    /// Another writer changes the member's metaData.
    fn lose_updates(&self) {
        for trouble in &self.decision.troubles {
            if let Trouble::LostUpdate { key, value } | Trouble::VersionClash { key, value, .. } = trouble {
                self.with_member(|state, place| {
                    state.change(place, |member| member.meta_data.insert(key.clone(), value.as_str().into()));
                });
            }
        }
    }

    fn with_member(&self, act: impl FnOnce(&mut super::state::State, usize)) {
        let mut state = self.shared.store.lock();
        if let Some(place) = self.subject.id.as_deref().and_then(|id| state.place_of_id(id)) {
            act(&mut state, place);
        }
    }

    fn failure(&self, status: u16, message: Option<&str>) -> Failure {
        let named = self.subject.named();
        match (message, status) {
            (Some(message), _) => Failure::new(status, message),
            (None, 400) => Failure::invalid(format_args!("member with id[{named}] cannot be changed")),
            (None, 404) => Failure::missing("member", "id", named),
            (None, 504) => Failure::new(status, "deadline exceeded"),
            (None, _) => Failure::new(status, "internal error"),
        }
    }

    /// An error body. Those of the token check have a shape of their own (contract section 3.2).
    fn refuse(&self, failure: &Failure) -> Response {
        let shape = if failure.status == 401 { super::ErrorShape::Text } else { self.decision.switches.error_shape };
        plain(status(failure.status), "application/json", failure.body(shape))
    }
}

fn clash(trouble: &Trouble) -> Option<u16> {
    match trouble {
        Trouble::VersionClash { code, .. } => Some(*code),
        _ => None,
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn redirect(to: &str, code: u16) -> Response {
    let mut response = plain(status(code), "text/plain", "");
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let name: HeaderName = header::CONTENT_TYPE;
    response.headers_mut().insert(name, HeaderValue::from_static(content_type));
    response
}
