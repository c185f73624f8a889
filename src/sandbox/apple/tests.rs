//! The push service, rule by rule (contracts/apple-wallet.md sections 7 and 13).

use std::sync::LazyLock;
use std::time::Duration;

use openssl::ecdsa::EcdsaSig;
use openssl::sha::sha256;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use super::*;

const TOPIC: &str = "pass.com.example.loyalty";
const OTHER: &str = "pass.com.example.gifts";
const TEAM: &str = "ABCDE12345";

/// One set for all tests: making keys takes time.
static CERTIFICATES: LazyLock<(Certificates, Pair)> = LazyLock::new(|| {
    let certificates = Certificates::new().expect("certificates");
    let pass = certificates.pass(TOPIC, TEAM).expect("a certificate");
    (certificates, pass)
});

struct Rig {
    apns: Apns,
    client: Client,
    device: String,
}

fn client(pair: Option<&Pair>) -> Client {
    let root = reqwest::Certificate::from_pem(&CERTIFICATES.0.root.certificate.to_pem().expect("PEM")).expect("a root");
    let mut builder = Client::builder().no_proxy().tls_certs_only([root]).timeout(Duration::from_secs(30));
    if let Some(pair) = pair {
        let (certificate, key) = pair.pem().expect("PEM");
        builder = builder.identity(reqwest::Identity::from_pkcs8_pem(certificate.as_bytes(), key.as_bytes()).expect("an identity"));
    }
    builder.build().expect("a client")
}

impl Rig {
    fn with(pair: Option<&Pair>) -> Rig {
        let settings = Settings { topics: vec![TOPIC.to_owned(), OTHER.to_owned()], ..Settings::default() };
        let apns = Apns::start(settings, &CERTIFICATES.0).expect("it starts");
        let device = apns.device(&[TOPIC]);
        Rig { apns, client: client(pair), device }
    }

    /// With a certificate of the topic.
    fn new() -> Rig {
        Rig::with(Some(&CERTIFICATES.1))
    }

    fn request(&self, token: &str) -> RequestBuilder {
        self.client.post(format!("{}/3/device/{token}", self.apns.base_url())).header("apns-topic", TOPIC).body("{}")
    }

    async fn push(&self) -> (u16, Value) {
        said(self.request(&self.device).send().await.expect("an answer")).await
    }

    async fn push_with(&self, name: &str, value: &str) -> (u16, Value) {
        said(self.request(&self.device).header(name, value).send().await.expect("an answer")).await
    }
}

/// Status, and the body: null when there is none. Every answer has an `apns-id`.
async fn said(response: Response) -> (u16, Value) {
    let id = response.headers()["apns-id"].to_str().expect("a text").to_owned();
    assert_eq!(id.len(), 36, "{id}");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
}

fn reason(status: u16, reason: &str) -> (u16, Value) {
    (status, json!({ "reason": reason }))
}

/// A provider token, its time relative to now.
fn token(key_id: &str, team: &str, iat: i64) -> String {
    let base64 = |bytes: &[u8]| openssl::base64::encode_block(bytes).replace('+', "-").replace('/', "_").replace('=', "");
    let head = base64(json!({"alg": "ES256", "kid": key_id}).to_string().as_bytes());
    let claims = base64(json!({"iss": team, "iat": chrono::Utc::now().timestamp() + iat}).to_string().as_bytes());
    let signed = format!("{head}.{claims}");
    let key = CERTIFICATES.0.token_key.ec_key().expect("a key");
    let signature = EcdsaSig::sign(&sha256(signed.as_bytes()), &key).expect("a signature");
    let numbers = [signature.r(), signature.s()].map(|number| number.to_vec_padded(32).expect("32 bytes"));
    format!("bearer {signed}.{}", base64(&numbers.concat()))
}

#[tokio::test]
async fn a_push_with_the_certificate_is_taken_and_answered_empty() {
    let rig = Rig::new();
    let id = "123e4567-e89b-12d3-a456-426614174000";
    let answer = rig.request(&rig.device).header("apns-id", id).header("apns-push-type", "background").send().await.expect("an answer");
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(answer.headers()["apns-id"], id);
    assert_eq!(answer.text().await.expect("a body"), "");
    let pushes = rig.apns.pushes();
    assert_eq!((pushes.len(), pushes[0].by, pushes[0].accepted, pushes[0].status), (1, By::Certificate, true, Some(200)));
    assert_eq!(rig.apns.heard(&rig.device), [TOPIC]);
}

#[tokio::test]
async fn http_1_is_refused() {
    let rig = Rig::new();
    let root = reqwest::Certificate::from_pem(&CERTIFICATES.0.root.certificate.to_pem().expect("PEM")).expect("a root");
    let old = Client::builder().no_proxy().tls_certs_only([root]).http1_only().build().expect("a client");
    let url = format!("{}/3/device/{}", rig.apns.base_url(), rig.device);
    assert!(old.post(&url).header("apns-topic", TOPIC).body("{}").send().await.is_err());
    assert!(old.post(url.replace("https:", "http:")).body("{}").send().await.is_err());
    assert_eq!(rig.apns.pushes().len(), 0);
}

#[tokio::test]
async fn checks_come_in_order_method_path_body_size_topic() {
    let rig = Rig::new();
    let url = |path: &str| format!("{}{path}", rig.apns.base_url());
    let get = rig.client.get(url("/nowhere")).send().await.expect("an answer");
    assert_eq!(said(get).await, reason(405, "MethodNotAllowed"));
    let nowhere = rig.client.post(url("/3/devices/x")).send().await.expect("an answer");
    assert_eq!(said(nowhere).await, reason(404, "BadPath"));
    let nobody = rig.client.post(url("/3/device/")).send().await.expect("an answer");
    assert_eq!(said(nobody).await, reason(400, "MissingDeviceToken"));
    let post = |body: String| rig.client.post(url(&format!("/3/device/{}", rig.device))).body(body).send();
    assert_eq!(said(post(String::new()).await.expect("an answer")).await, reason(400, "PayloadEmpty"));
    assert_eq!(said(post("no JSON".to_owned()).await.expect("an answer")).await, reason(400, "PayloadEmpty"));
    let body = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    let bad = |length: usize| rig.request(&rig.device).header("apns-priority", "7").body(body(length)).send();
    assert_eq!(said(bad(4097).await.expect("an answer")).await, reason(413, "PayloadTooLarge"));
    assert_eq!(said(bad(4096).await.expect("an answer")).await, reason(400, "BadPriority"));
}

#[tokio::test]
async fn a_topic_is_there_well_formed_and_known() {
    let rig = Rig::with(None);
    let push = |topic: Option<&str>| {
        let request = rig.client.post(format!("{}/3/device/{}", rig.apns.base_url(), rig.device)).body("{}");
        match topic {
            Some(topic) => request.header("apns-topic", topic).send(),
            None => request.send(),
        }
    };
    assert_eq!(said(push(None).await.expect("an answer")).await, reason(400, "MissingTopic"));
    assert_eq!(said(push(Some("com.example")).await.expect("an answer")).await, reason(400, "BadTopic"));
    assert_eq!(said(push(Some("pass.com.example.other")).await.expect("an answer")).await, reason(400, "TopicDisallowed"));
    assert_eq!(said(push(Some(TOPIC)).await.expect("an answer")).await, reason(403, "MissingProviderToken"));
}

#[tokio::test]
async fn headers_are_judged() {
    let rig = Rig::new();
    for (name, value, expected) in [
        ("apns-push-type", "loud", "InvalidPushType"),
        ("apns-priority", "6", "BadPriority"),
        ("apns-expiration", "soon", "BadExpirationDate"),
        ("apns-id", "7", "BadMessageId"),
        ("apns-topic", TOPIC, "DuplicateHeaders"),
    ] {
        let answer = rig.request(&rig.device).header(name, value).send().await.expect("an answer");
        let text: Value = answer.json().await.expect("JSON");
        assert_eq!(text, json!({"reason": expected}), "{name}");
    }
    assert_eq!(rig.push_with("apns-collapse-id", &"x".repeat(65)).await, reason(400, "BadCollapseId"));
    assert_eq!(rig.push_with("apns-collapse-id", &"x".repeat(64)).await.0, 200);
    assert_eq!(rig.push_with("apns-expiration", "0").await.0, 200);
    assert_eq!(rig.push_with("apns-priority", "5").await.0, 200);
}

#[tokio::test]
async fn a_certificate_is_good_for_its_pass_type_alone() {
    let (certificates, _) = &*CERTIFICATES;
    let other = certificates.pass(OTHER, TEAM).expect("a certificate");
    assert_eq!(Rig::with(Some(&other)).push().await, reason(403, "BadCertificate"));
    let expired = certificates.pass_valid(TOPIC, TEAM, (-20, -1)).expect("a certificate");
    assert_eq!(Rig::with(Some(&expired)).push().await, reason(403, "BadCertificate"));
    let strangers = Certificates::new().and_then(|strangers| strangers.pass(TOPIC, TEAM)).expect("a certificate");
    assert_eq!(Rig::with(Some(&strangers)).push().await, reason(403, "BadCertificate"));
}

#[tokio::test]
async fn a_provider_token_is_es256_of_the_teams_key_and_an_hour_old_at_most() {
    let rig = Rig::with(None);
    let good = token("SANDBOXKEY", TEAM, -10);
    for (bad, expected) in [
        (token("ANOTHERKEY", TEAM, -10), "InvalidProviderToken"),
        (token("SANDBOXKEY", "ZZZZZ12345", -10), "InvalidProviderToken"),
        (token("SANDBOXKEY", TEAM, 60), "InvalidProviderToken"),
        (token("SANDBOXKEY", TEAM, -3700), "ExpiredProviderToken"),
        (format!("{}A", &good[..good.len() - 1]).replace("bearer", "Basic"), "InvalidProviderToken"),
        (format!("{}.{}", good.rsplit_once('.').expect("three parts").0, "A".repeat(86)), "InvalidProviderToken"),
    ] {
        assert_eq!(rig.push_with("authorization", &bad).await, reason(403, expected), "{bad}");
    }
    assert_eq!(rig.push_with("authorization", &good).await.0, 200);
    assert_eq!(rig.apns.pushes().last().expect("a push").by, By::Token);
}

#[tokio::test]
async fn a_provider_token_is_not_renewed_before_20_minutes() {
    let rig = Rig::with(None);
    let [first, second] = [-300, -10].map(|iat| token("SANDBOXKEY", TEAM, iat));
    assert_eq!(rig.push_with("authorization", &first).await.0, 200);
    assert_eq!(rig.push_with("authorization", &first).await.0, 200);
    assert_eq!(rig.push_with("authorization", &second).await, reason(429, "TooManyProviderTokenUpdates"));
    rig.apns.set_skew(20 * 60);
    assert_eq!(rig.push_with("authorization", &second).await.0, 200);
    rig.apns.set_skew(2 * 3600);
    assert_eq!(rig.push_with("authorization", &second).await, reason(403, "ExpiredProviderToken"));
}

#[tokio::test]
async fn a_device_is_known_for_the_topic() {
    let rig = Rig::new();
    let to = |token: String| rig.request(&token).send();
    assert_eq!(said(to("ab".repeat(32)).await.expect("an answer")).await, reason(400, "BadDeviceToken"));
    assert_eq!(said(to("not-hex".to_owned()).await.expect("an answer")).await, reason(400, "BadDeviceToken"));
    let elsewhere = rig.apns.device(&[OTHER]);
    assert_eq!(said(to(elsewhere.clone()).await.expect("an answer")).await, reason(400, "DeviceTokenNotForTopic"));
    rig.apns.know(&elsewhere, &[TOPIC]);
    assert_eq!(said(to(elsewhere).await.expect("an answer")).await.0, 200);
}

#[tokio::test]
async fn refusals_are_scripted_by_device() {
    let rig = Rig::new();
    let gone = |reason: &str| (410, json!({"reason": reason, "timestamp": 1_795_298_585_123_i64}));
    for (fate, expected) in [
        (Fate::BadDeviceToken, reason(400, "BadDeviceToken")),
        (Fate::DeviceTokenNotForTopic, reason(400, "DeviceTokenNotForTopic")),
        (Fate::Unregistered { timestamp: 1_795_298_585_123 }, gone("Unregistered")),
        (Fate::ExpiredToken { timestamp: 1_795_298_585_123 }, gone("ExpiredToken")),
        (Fate::InternalServerError, reason(500, "InternalServerError")),
        (Fate::Refuse { status: 403, reason: "Forbidden".to_owned() }, reason(403, "Forbidden")),
    ] {
        rig.apns.script(&rig.device, fate);
        assert_eq!(rig.push().await, expected);
    }
    rig.apns.script(&rig.device, Fate::Healthy);
    rig.apns.script_next(&rig.device, 2, Fate::InternalServerError);
    let statuses = [rig.push().await.0, rig.push().await.0, rig.push().await.0];
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(rig.apns.heard(&rig.device).len(), 1);
}

#[tokio::test]
async fn a_device_takes_so_many_pushes_in_a_window() {
    let rig = Rig::new();
    rig.apns.script(&rig.device, Fate::TooMany { nth: 3, window_ms: 600 });
    assert_eq!([rig.push().await.0, rig.push().await.0], [200, 200]);
    assert_eq!(rig.push().await, reason(429, "TooManyRequests"));
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert_eq!(rig.push().await.0, 200);
}

#[tokio::test]
async fn a_shutdown_takes_its_answer_and_then_nothing_more_on_the_connection() {
    let rig = Rig::new();
    rig.apns.script_next(&rig.device, 1, Fate::Shutdown);
    assert_eq!(rig.push().await, reason(503, "Shutdown"));
    // The frame is on its way; the client acts on it when it has read it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.push().await.0, 200);
    let connections: Vec<u64> = rig.apns.pushes().iter().map(|push| push.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_stalled_stream_keeps_nobody_else_waiting() {
    let rig = Rig::new();
    rig.apns.script_next(&rig.device, 1, Fate::Stalled);
    let stalled = rig.request(&rig.device).timeout(Duration::from_millis(300)).send().await;
    assert!(stalled.is_err_and(|problem| problem.is_timeout()));
    assert_eq!(rig.push().await.0, 200);
    let pushes = rig.apns.pushes();
    assert_eq!((pushes[0].status, pushes[0].accepted, pushes[1].connection), (None, false, pushes[0].connection));
}

#[tokio::test]
async fn a_dropped_connection_leaves_open_what_came_of_it() {
    let rig = Rig::new();
    for (fate, accepted) in [(Fate::DropBefore, false), (Fate::DropAfter, true)] {
        rig.apns.script_next(&rig.device, 1, fate);
        assert!(rig.request(&rig.device).send().await.is_err());
        assert_eq!(rig.apns.pushes().last().expect("a push").accepted, accepted);
    }
    assert_eq!(rig.push().await.0, 200);
    assert_eq!(rig.apns.heard(&rig.device).len(), 2);
}

#[tokio::test]
async fn an_outage_closes_every_new_connection() {
    let rig = Rig::new();
    rig.apns.set_down(true);
    assert!(rig.request(&rig.device).send().await.is_err());
    rig.apns.set_down(false);
    assert_eq!(rig.push().await.0, 200);
}

#[test]
fn kept_certificates_stay_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Certificates::kept(folder.path(), TOPIC, TEAM).expect("made");
    let again = Certificates::kept(folder.path(), TOPIC, TEAM).expect("read");
    assert_eq!(made.root.certificate, again.root.certificate);
    for name in ["root.pem", "wwdr.pem", "pass.pem", "pass.key", "AuthKey.p8"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}
