//! The web service that phones ask (contract, section 6). TLS ends at a proxy in front.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MODIFIED_SINCE, LAST_MODIFIED};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::package::{MIME, build};
use super::sign::Current;
use super::store::{Pass, Registered, Store, StoreError, Unregistered, now_ms};
use crate::config::meant::apple::AppleWallet;

/// Bytes of a body that is read: a push token, or messages.
const BODY_MAX: usize = 64 << 10;
/// Characters of identifiers and tokens that phones choose. Apple names no limit (contract 10).
const WORD_MAX: usize = 256;
/// Messages of one call of the log that are looked at, and lines of the log a minute that come of all of them.
const MESSAGES_MAX: usize = 20;
const LINES_MAX: u32 = 30;
const MINUTE: Duration = Duration::from_mins(1);

/// What a message of a phone says, without whose pass it is about (contract 6.5): texts and what they mean.
const COMPLAINTS: [(&str, &str); 6] = [
    ("but the pass was unchanged", "a pass was listed and had not changed"),
    ("ignored the 'if-modified-since' header", "a pass was sent again that had not changed"),
    ("unregistered serial number", "an update was asked for of a pass that is not registered"),
    ("Register task", "a registration failed"),
    ("Unregister task", "the end of a registration failed"),
    ("Get pass task", "a download failed"),
];

/// One account as it is served.
pub struct Hosted {
    pub account: Arc<AppleWallet>,
    pub store: Store,
    pub signer: Arc<Current>,
}

/// What all calls of one address share.
pub struct Shared {
    /// By pass type.
    hosted: BTreeMap<String, Hosted>,
    lines: Mutex<Lines>,
}

/// Lines of the log in this minute.
struct Lines {
    since: Instant,
    count: u32,
}

impl Shared {
    pub fn new(hosted: Vec<Hosted>) -> Arc<Shared> {
        let hosted = hosted.into_iter().map(|hosted| (hosted.account.pass_type.clone(), hosted)).collect();
        Arc::new(Shared { hosted, lines: Mutex::new(Lines { since: Instant::now(), count: 0 }) })
    }

    /// May another line be logged?
    fn has_room(&self) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.since.elapsed() >= MINUTE {
            *lines = Lines { since: Instant::now(), count: 0 };
        }
        lines.count += 1;
        lines.count <= LINES_MAX
    }
}

/// The five calls, at the root and behind the path of each public address: a proxy may leave it or take it off.
pub fn router(shared: Arc<Shared>) -> Router {
    let calls = || {
        Router::new()
            .route("/v1/devices/{device}/registrations/{pass_type}/{serial}", post(register).delete(unregister))
            .route("/v1/devices/{device}/registrations/{pass_type}", get(list))
            .route("/v1/passes/{pass_type}/{serial}", get(download))
            .route("/v1/log", post(log))
    };
    let mut router = calls();
    let mut prefixes: Vec<String> = shared.hosted.values().filter_map(|hosted| prefix(&hosted.account.public_url)).collect();
    prefixes.sort();
    prefixes.dedup();
    for prefix in prefixes {
        router = router.nest(&prefix, calls());
    }
    router.layer(DefaultBodyLimit::max(BODY_MAX)).with_state(shared)
}

/// The path of an address; none where it is the root, or one that routes would misread.
fn prefix(url: &str) -> Option<String> {
    let path = url::Url::parse(url).ok()?.path().trim_end_matches('/').to_owned();
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~'));
    (!path.is_empty() && plain && !path.contains("//")).then_some(path)
}

async fn register(
    State(shared): State<Arc<Shared>>,
    Path((device, pass_type, serial)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let push_token = serde_json::from_slice::<Json>(&body).ok();
    let push_token = push_token.as_ref().and_then(|body| body.get("pushToken")).and_then(Json::as_str).unwrap_or_default().to_owned();
    let Some(given) = given(&headers) else { return denied() };
    // A token stands in the address of a push.
    let plain = push_token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !(plain && is_word(&push_token) && is_word(&device)) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let done = at_store(shared, &pass_type, move |hosted| {
        hosted.store.write(|work| work.register(&device, &serial, &push_token, |token| is_same(token, &given), now_ms()))
    });
    match done.await {
        Some(Ok(Registered::New)) => StatusCode::CREATED.into_response(),
        Some(Ok(Registered::Known)) => StatusCode::OK.into_response(),
        Some(Ok(Registered::Denied)) | None => denied(),
        Some(Err(error)) => broken(&error.to_string()),
    }
}

async fn unregister(
    State(shared): State<Arc<Shared>>,
    Path((device, pass_type, serial)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(given) = given(&headers) else { return denied() };
    let done = at_store(shared, &pass_type, move |hosted| {
        hosted.store.write(|work| work.unregister(&device, &serial, |token| is_same(token, &given)))
    });
    match done.await {
        Some(Ok(Unregistered::Done)) => StatusCode::OK.into_response(),
        Some(Ok(Unregistered::Denied)) | None => denied(),
        Some(Err(error)) => broken(&error.to_string()),
    }
}

/// Asked without a token: the device's identifier is the secret. What nobody knows is answered as what has not changed.
async fn list(
    State(shared): State<Arc<Shared>>,
    Path((device, pass_type)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    // One that is not ours is none: then all passes are told.
    let since = query.get("passesUpdatedSince").and_then(|tag| tag.parse().ok());
    let changed = at_store(shared, &pass_type, move |hosted| hosted.store.read(|work| work.changed(&device, since)));
    match changed.await {
        Some(Ok(Some(changed))) => {
            axum::Json(json!({ "serialNumbers": changed.serials, "lastUpdated": changed.tag.to_string() })).into_response()
        }
        Some(Ok(None)) | None => StatusCode::NO_CONTENT.into_response(),
        Some(Err(error)) => broken(&error.to_string()),
    }
}

/// A pass, and its package where the phone does not have that yet.
type Found = (Pass, Option<Result<Vec<u8>, String>>);

/// The package of a pass, freshly built.
async fn download(State(shared): State<Arc<Shared>>, Path((pass_type, serial)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(given) = given(&headers) else { return denied() };
    let since =
        headers.get(IF_MODIFIED_SINCE).and_then(|since| since.to_str().ok()).and_then(|since| httpdate::parse_http_date(since).ok());
    let made = at_store(shared, &pass_type, move |hosted| -> Result<Option<Found>, StoreError> {
        let pass = hosted.store.read(|work| work.pass(&serial))?;
        // Compared with something where there is no pass, so that the time tells nothing.
        let same = is_same(pass.as_ref().map_or("there is no pass with this number", |pass| pass.token.as_str()), &given);
        let Some(pass) = pass.filter(|_| same) else { return Ok(None) };
        if since.is_some_and(|since| since >= modified(&pass)) {
            return Ok(Some((pass, None)));
        }
        let package = hosted.signer.get().and_then(|signer| build(&hosted.account, &signer, &pass));
        Ok(Some((pass, Some(package))))
    });
    match made.await {
        None | Some(Ok(None)) => denied(),
        Some(Ok(Some((pass, made)))) => {
            let last_modified = (LAST_MODIFIED, httpdate::fmt_http_date(modified(&pass)));
            match made {
                None => (StatusCode::NOT_MODIFIED, [last_modified]).into_response(),
                Some(Ok(package)) => ([(CONTENT_TYPE, MIME.to_owned()), last_modified], package).into_response(),
                Some(Err(fault)) => broken(&fault),
            }
        }
        Some(Err(error)) => broken(&error.to_string()),
    }
}

/// What phones complain of. Anybody can write here: little is kept, and nothing of it as it came.
async fn log(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Response {
    // One that is too long is answered as well: a phone would only send it again.
    let body = body.ok().and_then(|body| serde_json::from_slice::<Json>(&body).ok()).unwrap_or_default();
    let messages = body.get("logs").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    for message in messages.take(MESSAGES_MAX) {
        let said = COMPLAINTS.iter().find(|(text, _)| message.contains(text)).map_or("something else", |(_, said)| said);
        if !shared.has_room() {
            break;
        }
        tracing::warn!(said, "a phone complains");
    }
    StatusCode::OK.into_response()
}

/// Looks into an account's store where that may take its time. None where nobody hosts this type of passes.
async fn at_store<T: Send + 'static>(shared: Arc<Shared>, pass_type: &str, work: impl FnOnce(&Hosted) -> T + Send + 'static) -> Option<T> {
    let pass_type = pass_type.to_owned();
    tokio::task::spawn_blocking(move || shared.hosted.get(&pass_type).map(work)).await.ok().flatten()
}

/// The token of a request.
fn given(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("ApplePass").then(|| token.trim().to_owned())
}

/// Takes as long for a wrong token as for the right one: digests have one length.
fn is_same(token: &str, given: &str) -> bool {
    let digest = |text: &str| openssl::sha::sha256(text.as_bytes());
    openssl::memcmp::eq(&digest(token), &digest(given))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= WORD_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

fn modified(pass: &Pass) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(pass.modified.max(0) as u64)
}

fn denied() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

/// Phones try again by themselves.
fn broken(fault: &str) -> Response {
    tracing::error!("a phone could not be answered: {fault}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_the_same() {
        assert!(is_same("abc", "abc"));
        assert!(!is_same("abc", "abd") && !is_same("abc", "") && !is_same("abc", "abcd"));
        let headers = |text: &str| HeaderMap::from_iter([(AUTHORIZATION, text.parse().unwrap())]);
        assert_eq!(given(&headers("ApplePass abc")).as_deref(), Some("abc"));
        assert_eq!((given(&headers("Bearer abc")), given(&headers("abc")), given(&HeaderMap::new())), (None, None, None));
    }

    #[test]
    fn the_path_of_the_public_address_is_a_prefix() {
        assert_eq!(prefix("https://passes.example.com/apple").as_deref(), Some("/apple"));
        assert_eq!(prefix("https://passes.example.com/a/b/").as_deref(), Some("/a/b"));
        assert_eq!((prefix("https://passes.example.com"), prefix("https://passes.example.com/{x}")), (None, None));
    }
}
