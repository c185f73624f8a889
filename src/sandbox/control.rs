//! The sandbox's own calls under `/sandbox/`: knobs, log, members. They need no token; the server listens on loopback only.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::log::Stats;
use super::{Faults, Issue, Shared};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/faults", get(faults).put(set_faults))
        .route("/requests", get(requests).delete(forget_requests))
        .route("/members", post(issue))
        .route("/members/{external_id}", get(member))
        .route("/passes/{platform}", get(passes).post(seed))
        .route("/passes/{platform}/{name}", get(pass))
        .route("/effects", get(effects))
        .route("/alerts", get(alerts))
        .route("/google-key", get(google_key))
        .route("/notices", get(notices))
        .route("/tokens", delete(revoke_tokens))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::disable())
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Faults> {
    Json(shared.faults.get())
}

async fn set_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(faults) => {
            shared.faults.set(faults);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => (StatusCode::BAD_REQUEST, format!("these are not faults: {problem}\n")).into_response(),
    }
}

/// Which requests to show; all conditions given must hold.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    method: Option<String>,
    route: Option<String>,
    /// A part of the path.
    path: Option<String>,
    external_id: Option<String>,
    status: Option<u16>,
    /// The first sequence number.
    since: u64,
    /// The newest so many.
    limit: Option<usize>,
}

async fn requests(State(shared): State<Arc<Shared>>, Query(wanted): Query<Wanted>) -> Response {
    let mut entries = shared.log.select(|entry| {
        entry.sequence >= wanted.since
            && wanted.method.as_ref().is_none_or(|method| *method == entry.method)
            && wanted.route.as_ref().is_none_or(|route| route == entry.route)
            && wanted.path.as_ref().is_none_or(|part| entry.path.contains(part))
            && wanted.external_id.as_ref().is_none_or(|id| entry.external_id.as_ref() == Some(id))
            && wanted.status.is_none_or(|status| entry.status == Some(status))
    });
    if let Some(limit) = wanted.limit {
        entries.drain(..entries.len().saturating_sub(limit));
    }
    Json(entries).into_response()
}

async fn forget_requests(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.log.clear();
    StatusCode::NO_CONTENT
}

async fn issue(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let lines = serde_json::Deserializer::from_slice(&body).into_iter::<Issue>().collect::<Result<Vec<_>, _>>();
    let issued = match lines {
        Ok(members) => shared.passkit.issue(members.into_iter()),
        Err(problem) => Err(problem.into()),
    };
    match issued {
        Ok(issued) => Json(serde_json::json!({ "issued": issued })).into_response(),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("cannot issue: {problem:#}\n")).into_response(),
    }
}

async fn member(State(shared): State<Arc<Shared>>, Path(external_id): Path<String>) -> Response {
    match shared.passkit.member(&external_id) {
        Some(member) => Json(member).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no member has the external ID {external_id:?}\n")).into_response(),
    }
}

async fn seed(State(shared): State<Arc<Shared>>, Path(platform): Path<String>, body: Bytes) -> Response {
    let Some(stand_in) = shared.named(&platform) else { return nobody(&platform) };
    let lines = serde_json::Deserializer::from_slice(&body).into_iter().collect::<Result<Vec<_>, _>>();
    match lines.map_err(anyhow::Error::from).and_then(|passes| stand_in.seed(passes)) {
        Ok(issued) => Json(serde_json::json!({ "issued": issued })).into_response(),
        Err(problem) => (StatusCode::BAD_REQUEST, format!("cannot issue: {problem:#}\n")).into_response(),
    }
}

async fn passes(State(shared): State<Arc<Shared>>, Path(platform): Path<String>) -> Response {
    let Some(stand_in) = shared.named(&platform) else { return nobody(&platform) };
    Json(stand_in.all()).into_response()
}

async fn pass(State(shared): State<Arc<Shared>>, Path((platform, name)): Path<(String, String)>) -> Response {
    let Some(stand_in) = shared.named(&platform) else { return nobody(&platform) };
    match stand_in.pass(&name) {
        Some(pass) => Json(pass).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no pass is named {name:?}\n")).into_response(),
    }
}

fn nobody(platform: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("the sandbox has no platform {platform:?}\n")).into_response()
}

/// Whose effects or alerts to show; all members' without one.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Whose {
    external_id: Option<String>,
    /// Only effects that were applied more often than this.
    more_than: u64,
}

impl Whose {
    fn is(&self, external_id: &str) -> bool {
        self.external_id.as_deref().is_none_or(|wanted| wanted == external_id)
    }
}

async fn effects(State(shared): State<Arc<Shared>>, Query(whose): Query<Whose>) -> Response {
    let mut effects = shared.effects();
    effects.retain(|effect| whose.is(&effect.external_id) && effect.times > whose.more_than);
    Json(effects).into_response()
}

async fn alerts(State(shared): State<Arc<Shared>>, Query(whose): Query<Whose>) -> Response {
    let mut alerts = shared.passkit.alerts();
    alerts.retain(|alert| whose.is(&alert.external_id));
    Json(alerts).into_response()
}

async fn google_key(State(shared): State<Arc<Shared>>) -> Response {
    match shared.google_wallet.key_file() {
        Ok(key) => ([(header::CONTENT_TYPE, "application/json")], key).into_response(),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{problem:#}\n")).into_response(),
    }
}

async fn notices(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.google_wallet.notices()).into_response()
}

async fn revoke_tokens(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.all().for_each(|stand_in| stand_in.revoke_tokens());
    StatusCode::NO_CONTENT
}

#[derive(Serialize)]
struct Summary {
    members: u64,
    #[serde(flatten)]
    requests: Stats,
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Summary> {
    let members = shared.passkit.members();
    Json(Summary { members, requests: shared.log.stats() })
}
