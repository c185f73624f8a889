//! The simulated phone and the push service together, with an issuer that is good or makes one mistake (contracts/apple-wallet.md section
//! 13, rules 1, 4 and 5).

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use passferry::sandbox::apple::{Apns, By, Fate, Settings};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::phone::{CERTIFICATES, TOKEN, TYPE, good, pass, root};
use crate::rig::phone::{Notice, Phone};

const LIMIT: Duration = Duration::from_secs(20);

/// The mistakes an issuer can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mistake {
    #[default]
    None,
    /// Lists passes that did not change.
    ListsAll,
    /// Answers 200 where 304 is right.
    NeverUnchanged,
    ForgetsTokens,
    ListsStrangers,
    ContentType,
    NoLastModified,
    AnotherToken,
    BrokenPackage,
    StandingTag,
    /// Fails once, then works.
    Hiccup,
}

/// One pass, and who registered it.
#[derive(Default)]
struct Desk {
    pass: Value,
    version: u64,
    registered: Vec<(String, String)>,
    logs: Vec<String>,
    mistake: Mistake,
    hiccups: u32,
}

#[derive(Clone)]
struct Issuer(Arc<Mutex<Desk>>);

impl Issuer {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut desk = self.desk();
        change(&mut desk.pass);
        desk.version += 1;
    }
}

impl Desk {
    fn modified(&self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + self.version))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        self.mistake != Mistake::ForgetsTokens
            && headers.get(header::AUTHORIZATION).is_some_and(|value| *value == format!("ApplePass {TOKEN}"))
    }
}

type Registration = Path<(String, String, String)>;

async fn register(State(issuer): State<Issuer>, Path((library, _, _)): Registration, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut desk = issuer.desk();
    if !desk.admits(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let token = body["pushToken"].as_str().unwrap().to_owned();
    let before = desk.registered.len();
    desk.registered.retain(|(known, _)| *known != library);
    let new = desk.registered.len() == before;
    desk.registered.push((library, token));
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

async fn unregister(State(issuer): State<Issuer>, Path((library, _, _)): Registration, headers: HeaderMap) -> StatusCode {
    let mut desk = issuer.desk();
    if !desk.admits(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    desk.registered.retain(|(known, _)| *known != library);
    StatusCode::OK
}

#[derive(serde::Deserialize)]
struct Since {
    #[serde(rename = "passesUpdatedSince")]
    tag: Option<String>,
}

async fn list(State(issuer): State<Issuer>, Query(since): Query<Since>) -> Response {
    let mut desk = issuer.desk();
    if desk.mistake == Mistake::Hiccup && desk.hiccups == 0 {
        desk.hiccups += 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let tag = since.tag.and_then(|tag| tag.parse::<u64>().ok());
    if tag.is_some_and(|tag| desk.version <= tag) && desk.mistake != Mistake::ListsAll {
        return StatusCode::NO_CONTENT.into_response();
    }
    let serial = if desk.mistake == Mistake::ListsStrangers { json!("m-9") } else { desk.pass["serialNumber"].clone() };
    let tag = if desk.mistake == Mistake::StandingTag { 0 } else { desk.version };
    axum::Json(json!({"serialNumbers": [serial], "lastUpdated": tag.to_string()})).into_response()
}

async fn fetch(State(issuer): State<Issuer>, headers: HeaderMap) -> Response {
    let desk = issuer.desk();
    if !desk.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let known = headers.get(header::IF_MODIFIED_SINCE).is_some_and(|since| *since == desk.modified());
    if known && desk.mistake != Mistake::NeverUnchanged {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut pass = desk.pass.clone();
    if desk.mistake == Mistake::AnotherToken {
        pass["authenticationToken"] = json!("another-token-than-before");
    }
    let mut package = good(&pass);
    if desk.mistake == Mistake::BrokenPackage {
        package.truncate(package.len() / 2);
    }
    let kind = if desk.mistake == Mistake::ContentType { "application/zip" } else { "application/vnd.apple.pkpass" };
    let mut response = ([(header::CONTENT_TYPE, kind)], package).into_response();
    if desk.mistake != Mistake::NoLastModified {
        response.headers_mut().insert(header::LAST_MODIFIED, desk.modified().parse().unwrap());
    }
    response
}

async fn log(State(issuer): State<Issuer>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let lines = body["logs"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
    issuer.desk().logs.extend(lines);
    StatusCode::OK
}

/// A push service, an issuer of one pass and a phone that has it.
struct Stage {
    apns: Apns,
    issuer: Issuer,
    phone: Phone,
    _runtime: Runtime,
}

impl Stage {
    fn new() -> Stage {
        let apns = Apns::start(Settings::default(), &CERTIFICATES.0).unwrap();
        let issuer = Issuer(Arc::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registrations = "/apple/v1/devices/{library}/registrations/{type}";
        let router = Router::new()
            .route(&format!("{registrations}/{{serial}}"), post(register).delete(unregister))
            .route(registrations, get(list))
            .route("/apple/v1/passes/{type}/{serial}", get(fetch))
            .route("/apple/v1/log", post(log))
            .with_state(issuer.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let mut pass = pass("m 1/é");
        pass["webServiceURL"] = json!(format!("http://{}/apple", listener.local_addr().unwrap()));
        pass["authenticationToken"] = json!(TOKEN);
        runtime.spawn(async move { axum::serve(listener, router).await });
        issuer.desk().pass = pass.clone();
        let mut phone = Phone::new("d1b4a7c0", root(), &apns, &[TYPE]);
        phone.install(&good(&pass)).unwrap();
        phone.update(TYPE);
        Stage { apns, issuer, phone, _runtime: runtime }
    }

    /// Pushes by curl, and answers what it says: version, status and body.
    fn push(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = CERTIFICATES.1.pem().unwrap();
        for (name, content) in [("pass.pem", certificate), ("pass.key", key), ("root.pem", CERTIFICATES.0.root.pem().unwrap().0)] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut curl = Command::new("curl");
        curl.current_dir(folder.path()).args("-s -S --http2 --cacert root.pem --cert pass.pem --key pass.key -d {}".split(' '));
        curl.args(["-H", &format!("apns-topic: {TYPE}"), "-w", "HTTP/%{http_version} %{http_code}"]);
        let said = curl.arg(format!("{}/3/device/{}", self.apns.base_url(), self.phone.token)).output().expect("curl");
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
    }

    /// Changes the pass's points, pushes, and lets the phone follow.
    fn update(&mut self, points: u32) {
        self.issuer.change(|pass| pass["storeCard"]["primaryFields"][0]["value"] = points.into());
        assert_eq!(self.push(), "HTTP/2 200");
        assert!(self.phone.await_push(&self.apns, LIMIT));
    }

    /// What the phone complains of when the issuer makes this mistake while a pass changes.
    fn complaint(mistake: Mistake) -> Vec<String> {
        let mut stage = Stage::new();
        stage.issuer.desk().mistake = mistake;
        stage.issuer.change(|pass| pass["storeCard"]["primaryFields"][0]["value"] = 7.into());
        stage.phone.update(TYPE);
        let logs = stage.issuer.desk().logs.clone();
        assert_eq!(logs.len(), stage.phone.complaints().len(), "{logs:?}");
        for (log, complaint) in logs.iter().zip(stage.phone.complaints()) {
            assert!(log.starts_with('[') && log.contains(TYPE) && log.ends_with(complaint), "{log}");
        }
        stage.phone.complaints().to_vec()
    }
}

#[test]
fn a_push_reaches_the_lock_screen() {
    let mut stage = Stage::new();
    assert_eq!(stage.phone.asked()[0].status, 201);
    assert_eq!(stage.phone.register(TYPE, "m 1/é"), 200);
    stage.update(1300);
    assert_eq!(stage.phone.value(TYPE, "m 1/é", "points"), Some(json!(1300)));
    assert_eq!(stage.phone.notices(), [Notice { serial: "m 1/é".to_owned(), text: "Your balance is now 1300 points.".to_owned() }]);
    stage.issuer.change(|pass| pass["storeCard"]["auxiliaryFields"][0]["value"] = json!("Paris"));
    stage.phone.update(TYPE);
    assert_eq!(stage.phone.notices().len(), 1, "a field without a changeMessage changes silently");
    stage.issuer.change(|pass| {
        pass["storeCard"]["headerFields"][0]["value"] = json!("Silver");
        pass["storeCard"]["backFields"][0]["value"] = json!(9.5);
    });
    stage.phone.restart();
    assert_eq!(stage.phone.notices()[1].text, "Store card changed", "several changes become one");
    stage.issuer.change(|pass| pass["storeCard"]["backFields"][0]["value"] = json!(8));
    stage.phone.restart();
    assert_eq!(stage.phone.notices()[2].text, "8 EUR left");
    stage.phone.fetch(TYPE, "m 1/é", false);
    assert_eq!(stage.phone.asked().last().unwrap().status, 304);
    assert_eq!(stage.phone.remove(TYPE, "m 1/é"), 200);
    assert_eq!((stage.phone.complaints(), stage.issuer.desk().registered.len()), (&[] as &[String], 0));
    assert!(stage.phone.asked()[0].path.ends_with("/m%201%2F%C3%A9"), "{:?}", stage.phone.asked()[0]);
    let pushes = stage.apns.pushes();
    assert_eq!((pushes.len(), pushes[0].by), (1, By::Certificate));
}

#[test]
fn a_push_that_is_not_accepted_reaches_nobody() {
    let mut stage = Stage::new();
    let old = stage.phone.token.clone();
    stage.apns.script(&old, Fate::Unregistered { timestamp: 1_795_298_585_123 });
    assert_eq!(stage.push(), "{\"reason\":\"Unregistered\",\"timestamp\":1795298585123}HTTP/2 410");
    assert_eq!(stage.phone.follow(&stage.apns), 0);
    stage.phone.renew_token(&stage.apns, &[TYPE]);
    assert_eq!(stage.issuer.desk().registered, [("d1b4a7c0".to_owned(), stage.phone.token.clone())]);
    stage.update(5);
    assert_eq!((stage.apns.heard(&old).len(), stage.phone.notices().len()), (0, 1));
}

#[test]
fn each_mistake_has_its_complaint() {
    let serial = "m 1/é";
    let unchanged = format!("Server requested update to serial number '{serial}', but the pass was unchanged.");
    let ignored = "Server ignored the 'if-modified-since' header and returned the full unchanged pass data";
    let get = |what: &str| format!("Get pass task (serial number {serial}) encountered error: {what}");
    let task = format!("Get pass task (for pass type {TYPE}, serial number {serial}) encountered error: Authentication failure");
    for (mistake, expected) in [
        (Mistake::None, vec![]),
        (Mistake::Hiccup, vec![]),
        (Mistake::ForgetsTokens, vec![task]),
        (Mistake::ListsStrangers, vec!["Update requested for unregistered serial number m-9".to_owned()]),
        (Mistake::ContentType, vec![get("Unexpected content type Some(\"application/zip\")")]),
        (Mistake::NoLastModified, vec![get("Missing Last-Modified")]),
        (Mistake::AnotherToken, vec![get("authenticationToken is not what it was")]),
        (Mistake::StandingTag, vec!["Server sent the same lastUpdated for another change".to_owned()]),
    ] {
        assert_eq!(Stage::complaint(mistake), expected, "{mistake:?}");
    }
    let broken = Stage::complaint(Mistake::BrokenPackage);
    assert!(broken.len() == 1 && broken[0].contains("Invalid data: Zip"), "{broken:?}");

    let mut stage = Stage::new();
    stage.issuer.desk().mistake = Mistake::ListsAll;
    stage.phone.update(TYPE);
    assert!(stage.phone.complaints().contains(&unchanged), "{:?}", stage.phone.complaints());
    let mut stage = Stage::new();
    stage.issuer.desk().mistake = Mistake::NeverUnchanged;
    stage.phone.fetch(TYPE, serial, false);
    assert_eq!(stage.phone.complaints(), [ignored.to_owned()]);
}
