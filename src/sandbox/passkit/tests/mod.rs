//! The sandbox through its front door: real HTTP, with tokens made here.

mod contract;
mod control;
mod coupons;
mod lies;
mod lists;
mod tickets;
mod tokens;
mod trouble;

use std::time::{SystemTime, UNIX_EPOCH};

use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::platform::base64url;
use crate::sandbox::{Faults, Issue, Rule, Sandbox, Settings, Trouble};

const PROGRAM: &str = "sandbox-program";

/// A sandbox and a client that knows its key.
struct Rig {
    sandbox: Sandbox,
    client: Client,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Settings::default())
    }

    fn with(settings: Settings) -> Rig {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Rig { sandbox: Sandbox::start(settings).expect("the sandbox starts"), client }
    }

    /// With members `A` and `B` issued.
    fn issued() -> Rig {
        let rig = Rig::new();
        rig.sandbox.issue(["A", "B"].into_iter().map(member)).expect("issued");
        rig
    }

    fn trouble(&self, rule: Rule) {
        self.sandbox.faults().change(|faults| faults.rules = vec![rule]);
    }

    fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.sandbox.faults().change(change);
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.sandbox.base_url())).header("authorization", token(-10, 45))
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Response {
        self.request(method, path).json(&body).send().await.expect("an answer")
    }

    /// Status and JSON body.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request("GET", path).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// Reads a member by external id.
    async fn read(&self, external_id: &str) -> Value {
        let (status, member) = self.get(&by_external_id(external_id)).await;
        assert_eq!(status, 200);
        member
    }

    async fn list(&self, filters: Value) -> Vec<Value> {
        let response = self.send("POST", &format!("/members/member/list/{PROGRAM}"), json!({ "filters": filters })).await;
        assert_eq!(response.status(), StatusCode::OK);
        lines(&response.text().await.expect("a body"))
    }

    async fn earn(&self, external_id: &str, points: f64, event: &str) -> Result<Response, reqwest::Error> {
        let body = json!({
            "externalId": external_id, "programId": PROGRAM, "points": points, "eventDetails": {"externalEventId": event},
        });
        self.request("PUT", "/members/member/points/earn").json(&body).send().await
    }

    fn points(&self, external_id: &str) -> Value {
        self.sandbox.member(external_id).expect("the member")["points"].clone()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn by_external_id(external_id: &str) -> String {
    format!("/members/member/externalId/{PROGRAM}/{external_id}")
}

fn member(external_id: &str) -> Issue {
    Issue {
        external_id: external_id.to_owned(),
        meta_data: [("store", "12"), ("code", "A1")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Issue::default()
    }
}

/// A token of the default key, with times relative to now.
fn token(iat: i64, exp: i64) -> String {
    token_of("sandbox-key", "sandbox-secret", iat, exp)
}

fn token_of(key: &str, secret: &str, iat: i64, exp: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let head = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = base64url(json!({"uid": key, "iat": now + iat, "exp": now + exp}).to_string().as_bytes());
    let signed = format!("{head}.{claims}");
    let secret = PKey::hmac(secret.as_bytes()).expect("a key");
    let signature = Signer::new(MessageDigest::sha256(), &secret).and_then(|mut s| s.sign_oneshot_to_vec(signed.as_bytes()));
    format!("{signed}.{}", base64url(&signature.expect("a signature")))
}
