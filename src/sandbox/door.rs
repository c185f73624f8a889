//! Every request to a platform's paths comes in here: it is logged, meets the trouble meant for it, is let in or refused by the platform's
//! stand-in, and answered.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request as Arriving, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::Shared;
use super::answer::{Content, Failure, Reply};
use super::faults::{Faults, Outage};
use super::listener::Wire;
use super::log::{Arrival, RequestLog};
use super::stand_in::{Called, Kind, Meddling, Pass, Request, StandIn};
use super::stream::{self, Ending};
use super::trouble::{About, Trouble};

/// The largest body read at all.
const READ_MAX: usize = 16 * 1024 * 1024;

/// Notes the end of a request even when its client went away.
struct Leaving<'a> {
    log: &'a RequestLog,
    sequence: u64,
    status: Option<u16>,
    part: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.log.leave(self.sequence, self.status, self.part);
    }
}

pub(super) async fn open(State(shared): State<Arc<Shared>>, ConnectInfo(wire): ConnectInfo<Wire>, arriving: Arriving) -> Response {
    let (head, body) = arriving.into_parts();
    let Ok(raw) = axum::body::to_bytes(body, READ_MAX).await else {
        return plain(StatusCode::BAD_REQUEST, "text/plain", "the body could not be read");
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let (stand_in, inner) = shared.stand_in(path);
    let request = Arc::new(Request::new(head.method.as_str(), inner, head.headers, raw));
    let called = stand_in.recognise(&request);
    let mut leaving = Leaving { log: &shared.log, sequence: note(&shared, &request, path, &called, None), status: None, part: false };
    let decision = shared.faults.decide(&about(&request, path, &called.pass));
    if !decision.wait.is_zero() {
        tokio::time::sleep(decision.wait).await;
    }
    let after = After::default();
    let answered = {
        let visit = Visit {
            shared: &shared,
            stand_in,
            request: &request,
            called: &called,
            knobs: &decision.knobs,
            clock: decision.clock,
            is_part: false,
            sequence: leaving.sequence,
            after: &after,
            troubles: &decision.troubles,
        };
        match refused_at_once(&visit, decision.outage, decision.throttled.as_ref()) {
            Some(end) => end,
            None => visit.end(),
        }
    };
    let End::Answer(answer) = answered else {
        wire.cut();
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "");
    };
    let mut response = answer.respond(stand_in);
    for trouble in &decision.troubles {
        match trouble {
            Trouble::AnswerLate { ms } => after.delay(*ms),
            Trouble::AnswerTwice => wire.twice(),
            _ => {}
        }
    }
    let late = after.late_ms.load(Ordering::Relaxed);
    if late > 0 {
        tokio::time::sleep(Duration::from_millis(late)).await;
    }
    if decision.knobs.clock_skew_seconds != 0
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(decision.clock))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    leaving.status = Some(response.status().as_u16());
    response
}

fn note(shared: &Shared, request: &Request, path: &str, called: &Called, part_of: Option<u64>) -> u64 {
    shared.log.arrive(&Arrival {
        method: &request.method,
        path,
        route: called.route,
        external_id: called.pass.external_id.as_deref(),
        credentials: request.has_credentials(),
        body: if called.kind == Kind::Token { b"" } else { &request.raw },
        part_of,
    })
}

fn about<'a>(request: &'a Request, path: &'a str, pass: &'a Pass) -> About<'a> {
    About {
        method: &request.method,
        path,
        ids: [pass.external_id.as_deref(), pass.id.as_deref()],
        fingerprint: hash(&(&request.method, path, &request.raw)),
    }
}

/// Tells things apart, in this process alone.
pub(super) fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn refused_at_once(visit: &Visit<'_>, outage: Option<Outage>, throttled: Option<&super::faults::Throttled>) -> Option<End> {
    match outage {
        Some(Outage::Close) => return Some(End::Cut),
        Some(Outage::Unavailable) => return Some(visit.refuse(&Failure::new(503, "service unavailable"))),
        Some(Outage::Unauthorized) => return Some(visit.refuse(&Failure::new(401, "unauthorized"))),
        None => {}
    }
    throttled.map(|throttled| visit.too_many(throttled.retry_after.as_deref()))
}

/// How a request ends.
enum End {
    /// The connection is cut.
    Cut,
    Answer(Answer),
}

struct Answer {
    reply: Reply,
    ending: Ending,
    drip: Option<(usize, Duration)>,
    /// So many blanks instead of the reply's content, packed or not.
    huge: Option<(u64, bool)>,
}

impl Answer {
    fn whole(reply: Reply) -> End {
        End::Answer(Answer { reply, ending: Ending::Whole, drip: None, huge: None })
    }

    fn respond(self, stand_in: &Arc<dyn StandIn>) -> Response {
        let Reply { status: code, content_type, headers, content } = self.reply;
        let mut response = match self.huge {
            Some((bytes, gzip)) => stream::huge(bytes, gzip),
            None => stream::respond(Arc::clone(stand_in), content, self.ending, self.drip),
        };
        *response.status_mut() = status(code);
        if !content_type.is_empty()
            && let Ok(kind) = HeaderValue::from_str(&content_type)
        {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(&value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// What is done once the answer is known.
#[derive(Default)]
struct After {
    /// How long the answer is held back.
    late_ms: AtomicU64,
    /// A part of a batch cost the whole connection.
    cut: AtomicBool,
}

impl After {
    fn delay(&self, ms: u64) {
        self.late_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// One request, or one part of a batch, on its way through the house.
pub(super) struct Visit<'a> {
    shared: &'a Arc<Shared>,
    stand_in: &'a Arc<dyn StandIn>,
    pub request: &'a Arc<Request>,
    pub called: &'a Called,
    pub knobs: &'a Arc<Faults>,
    /// The server's.
    pub clock: SystemTime,
    /// It came in a batch, which was let in already.
    pub is_part: bool,
    sequence: u64,
    after: &'a After,
    troubles: &'a [Trouble],
}

impl Visit<'_> {
    /// Sends a part of a batch through the door as a request of its own: it is logged, and rules befall it. None when it cost the whole
    /// connection. An answer that breaks off, drips or is written twice is for whole answers alone.
    pub fn part(&self, request: Request, path: &str) -> Option<Reply> {
        let request = Arc::new(request);
        let called = self.stand_in.recognise(&request);
        let sequence = note(self.shared, &request, path, &called, Some(self.sequence));
        let mut leaving = Leaving { log: &self.shared.log, sequence, status: None, part: true };
        let troubles = self.shared.faults.befall(&about(&request, path, &called.pass));
        for trouble in &troubles {
            if let Trouble::AnswerLate { ms } = trouble {
                self.after.delay(*ms);
            }
        }
        let visit = Visit { request: &request, called: &called, is_part: true, sequence, troubles: &troubles, ..*self };
        let End::Answer(answer) = visit.end() else {
            self.after.cut.store(true, Ordering::Relaxed);
            return None;
        };
        leaving.status = Some(answer.reply.status);
        Some(answer.reply)
    }

    /// Holds the answer back, after all is done.
    pub fn delay(&self, ms: u64) {
        self.after.delay(ms);
    }

    /// Tells this request from all others.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn end(&self) -> End {
        for trouble in self.troubles {
            match trouble {
                Trouble::DropBefore => return End::Cut,
                Trouble::Status { code, message } => {
                    return self.refuse(&self.stand_in.failure(*code, message.as_deref(), &self.called.pass));
                }
                Trouble::Unavailable => return self.refuse(&Failure::new(503, "service unavailable, repeat after 250ms")),
                Trouble::BadGatewayHtml => {
                    let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
                    return Answer::whole(Reply::of(502, "text/html", page));
                }
                Trouble::Blocked { code } => {
                    let page = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body><h1>Sorry, you have been blocked</h1></body></html>";
                    return Answer::whole(Reply::of(*code, "text/html; charset=UTF-8", page));
                }
                Trouble::HtmlOk => {
                    let page = "<!DOCTYPE html><html><body><form>Please log in</form></body></html>";
                    return Answer::whole(Reply::of(200, "text/html", page));
                }
                Trouble::TooMany { retry_after } => return self.too_many(retry_after.as_deref()),
                Trouble::Redirect { to, code } => {
                    return Answer::whole(Reply::of(*code, "text/plain", "").header("location", to.as_str()));
                }
                Trouble::DeleteMember => self.meddle(&Meddling::Delete),
                Trouble::ApplyLater { ms } => {
                    self.apply_later(Duration::from_millis(*ms));
                    return End::Cut;
                }
                Trouble::OtherWriter { most } => self.meddle(&Meddling::Give { points: *most }),
                _ => {}
            }
        }
        let reading = self.called.kind == Kind::Read;
        if !reading {
            self.lose_updates();
            if let Some(code) = self.troubles.iter().find_map(clash) {
                return self.refuse(&Failure::new(code, "the pass was changed by somebody else"));
            }
        }
        let reply = self.stand_in.admit(self).and_then(|()| self.stand_in.answer(self));
        if self.after.cut.load(Ordering::Relaxed) {
            return End::Cut;
        }
        if reading {
            self.lose_updates();
        }
        match reply {
            Ok(reply) => self.send(reply),
            Err(failure) if self.troubles.contains(&Trouble::DropAfter) => {
                tracing::trace!(%failure.message, "dropped");
                End::Cut
            }
            Err(failure) => self.refuse(&failure),
        }
    }

    /// Nobody learns what comes of it.
    fn apply_later(&self, wait: Duration) {
        if self.stand_in.admit(self).is_err() {
            return;
        }
        let (shared, stand_in, request) = (Arc::clone(self.shared), Arc::clone(self.stand_in), Arc::clone(self.request));
        let (knobs, clock, sequence) = (Arc::clone(self.knobs), self.clock, self.sequence);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let called = stand_in.recognise(&request);
            let after = After::default();
            let visit = Visit {
                shared: &shared,
                stand_in: &stand_in,
                request: &request,
                called: &called,
                knobs: &knobs,
                clock: clock + wait,
                is_part: false,
                sequence,
                after: &after,
                troubles: &[],
            };
            if let Err(failure) = stand_in.answer(&visit) {
                tracing::debug!(%failure.message, "refused later");
            }
        });
    }

    /// Sends an answer with the trouble meant for it.
    fn send(&self, mut reply: Reply) -> End {
        let (mut ending, mut drip) = (Ending::Whole, None);
        let list = self.called.kind == Kind::List;
        let json = |text: String| Reply::of(200, super::answer::JSON, text);
        for trouble in self.troubles {
            match trouble {
                Trouble::DropAfter => return End::Cut,
                Trouble::WrongJson => reply = json(r#"[{"unexpected":true}]"#.to_owned()),
                Trouble::EmptyBody => reply.content = Content::Text(String::new()),
                Trouble::DuplicateKeys => reply = json(self.fill(r#"{"id":"somebody-elses-pass-id","id":"{id}"}"#)),
                Trouble::DeepNesting { depth } => {
                    let (open, close) = ("[".repeat(*depth), "]".repeat(*depth));
                    reply = json(self.fill(&format!(r#"{{"id":"{{id}}","deep":{open}{close}}}"#)));
                }
                Trouble::HtmlAfter => {
                    return Answer::whole(Reply::of(200, "text/html", "<!DOCTYPE html><html><body>Welcome</body></html>"));
                }
                Trouble::Answer { code, body, content_type } => {
                    return Answer::whole(Reply::of(*code, content_type.clone(), self.fill(body)));
                }
                Trouble::HugeBody { bytes, gzip } => {
                    return End::Answer(Answer { reply, ending, drip, huge: Some((*bytes, *gzip)) });
                }
                Trouble::MixedList { without_every, twice, reversed, extra } => {
                    if let Content::Places(places) = &mut reply.content {
                        self.mix(places, *without_every, *twice, *reversed, *extra);
                    }
                }
                Trouble::OtherId => reply = stream::with_other_id(reply),
                Trouble::TruncatedBody => ending = Ending::Cut(0),
                Trouble::ListError { rows } if list => ending = Ending::Error(*rows),
                Trouble::ListCut { rows } if list => ending = Ending::Cut(*rows),
                Trouble::SlowDrip { bytes, pause_ms } => drip = Some((*bytes, Duration::from_millis(*pause_ms))),
                _ => {}
            }
        }
        End::Answer(Answer { reply, ending, drip, huge: None })
    }

    /// Puts the pass's id where a body names it.
    fn fill(&self, body: &str) -> String {
        body.replace("{id}", self.called.pass.id.as_deref().unwrap_or_default())
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
            places.extend(self.stand_in.stranger(places));
        }
    }

    /// Another writer changes the pass.
    fn lose_updates(&self) {
        for trouble in self.troubles {
            if let Trouble::LostUpdate { key, value } | Trouble::VersionClash { key, value, .. } = trouble {
                self.meddle(&Meddling::Write { key, value });
            }
        }
    }

    fn meddle(&self, meddling: &Meddling<'_>) {
        self.stand_in.meddle(&self.called.pass, meddling, self.knobs);
    }

    fn refuse(&self, failure: &Failure) -> End {
        Answer::whole(self.stand_in.refuse(failure, self.knobs))
    }

    fn too_many(&self, retry_after: Option<&str>) -> End {
        let reply = self.stand_in.refuse(&Failure::new(429, "rate limit exceeded"), self.knobs);
        Answer::whole(match retry_after {
            Some(value) => reply.header("retry-after", value),
            None => reply,
        })
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

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
