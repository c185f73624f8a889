//! Sections 7 and 10, and items 6 and 8 of section 16.

use super::*;
use crate::sandbox::google_wallet::{OverNotices, OverRate};

#[tokio::test]
async fn twenty_calls_fit_into_a_second() {
    let rig = Rig::new().await;
    let path = format!("loyaltyObject/{ISSUER}.A");
    let mut statuses = Vec::new();
    let before = std::time::Instant::now();
    for _ in 0..22 {
        statuses.push(rig.get(&path).await.0);
    }
    // On a machine so slow that the calls took a second, none was too many.
    if before.elapsed().as_millis() < 900 {
        assert_eq!((&statuses[..20], &statuses[20..]), (&[200; 20][..], &[429; 2][..]));
    }
    rig.knobs(|knobs| knobs.calls_per_second = Some(0));
    let (status, error) = rig.get(&path).await;
    assert_eq!((status, &error["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    rig.knobs(|knobs| {
        knobs.over_rate = OverRate::Forbidden;
        knobs.rate_retry_after = Some("3".to_owned());
    });
    let answer = rig.request("GET", &path).send().await.expect("an answer");
    assert_eq!(answer.headers()["retry-after"], "3");
    let (status, error) = answered(answer).await;
    assert_eq!((status, reason(&error)), (403, "rateLimitExceeded"));
}

#[tokio::test]
async fn only_the_parts_above_the_rate_fail() {
    let rig = Rig::with(|knobs| knobs.calls_per_second = Some(3)).await;
    let part = format!(
        "--B\r\nContent-Type: application/http\r\n\r\nGET /walletobjects/v1/loyaltyObject/{ISSUER}.A?fields=id HTTP/1.1\r\n\r\n\r\n"
    );
    let text = rig.batch(format!("{}--B--\r\n", part.repeat(5))).await.text().await.expect("a body");
    assert_eq!((text.matches("HTTP/1.1 200 OK").count(), text.matches("HTTP/1.1 429 ").count()), (3, 2));
}

#[tokio::test]
async fn three_messages_notify_in_a_day_and_a_fourth_is_refused() {
    let rig = Rig::new().await;
    let send = async |kind: &str| {
        let path = format!("loyaltyObject/{ISSUER}.A/addMessage");
        rig.ask("POST", &path, json!({"message": {"id": "m", "body": "x", "messageType": kind}})).await
    };
    for _ in 0..3 {
        assert_eq!(send("TEXT_AND_NOTIFY").await.0, 200);
    }
    let (status, error) = send("TEXT_AND_NOTIFY").await;
    assert_eq!((status, reason(&error)), (403, "quotaExceeded"));
    assert!(error["error"]["message"].as_str().expect("a text").starts_with("Quota exceeded for issuer"));
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "A").expect("the object")["messages"].as_array().map(Vec::len), Some(3));
    assert_eq!(send("TEXT").await.0, 200);
    assert_eq!(rig.sandbox.notices().len(), 3);
    rig.sandbox.faults().change(|faults| {
        faults.clock_skew_seconds = 24 * 3600 + 60;
        faults.google_wallet.token_seconds = 7 * 24 * 3600;
    });
    let rig =
        Rig { token: rig.exchange(&rig.assertion_at(24 * 3600 + 60)).await.1["access_token"].as_str().expect("a token").to_owned(), ..rig };
    let path = format!("loyaltyObject/{ISSUER}.A/addMessage");
    assert_eq!(rig.ask("POST", &path, json!({"message": {"id": "m", "messageType": "TEXT_AND_NOTIFY"}})).await.0, 200);
}

impl Rig {
    fn assertion_at(&self, ahead: i64) -> String {
        let now = chrono::Utc::now().timestamp() + ahead;
        self.assertion(&json!({"iat": now, "exp": now + 3600}))
    }
}

#[tokio::test]
async fn changes_of_listed_fields_notify_three_times_a_day() {
    let rig = Rig::new().await;
    let patch = async |points: u32| {
        rig.patch("A", json!({"notifyPreference": "NOTIFY_ON_UPDATE", "loyaltyPoints": {"balance": {"int": points}}})).await.0
    };
    for points in [1, 1, 2, 2, 3, 4] {
        assert_eq!(patch(points).await, 200);
    }
    let about: Vec<_> = rig.sandbox.notices().into_iter().map(|notice| (notice.kind, notice.about)).collect();
    assert_eq!(about, vec![("field", "loyaltyPoints.balance".to_owned()); 3]);
    assert_eq!(rig.patch("A", json!({"loyaltyPoints": {"balance": {"int": 5}}})).await.0, 200, "silent without the preference");
    assert_eq!(rig.patch("A", json!({"notifyPreference": "NOTIFY_ON_UPDATE", "accountId": "5"})).await.0, 200);
    assert_eq!(rig.sandbox.notices().len(), 3);
    rig.knobs(|knobs| knobs.over_notices = OverNotices::Refused);
    assert_eq!(patch(6).await, 403);
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "A").expect("the object")["loyaltyPoints"]["balance"]["int"], 5);
}

/// Item 9 of section 16.
#[tokio::test]
async fn an_answer_is_lost_or_html_or_late() {
    let rig = Rig::new().await;
    let path = format!("loyaltyObject/{ISSUER}.A");
    rig.trouble(Rule::new(Trouble::DropAfter).method("PATCH").next(1));
    let lost = rig.request("PATCH", &path).json(&json!({"accountId": "7"})).send().await;
    assert!(lost.is_err());
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "A").expect("the object")["accountId"], "7");
    rig.trouble(Rule::new(Trouble::BadGatewayHtml).next(1));
    assert!(rig.request("GET", &path).send().await.expect("an answer").text().await.expect("a body").starts_with("<html>"));
    rig.trouble(Rule::new(Trouble::Status { code: 500, message: None }).id("A").next(1));
    let (status, error) = rig.get(&path).await;
    assert_eq!((status, reason(&error)), (500, "backendError"));
    rig.trouble(Rule::new(Trouble::LostUpdate { key: "accountId".to_owned(), value: "8".to_owned() }).method("GET").next(1));
    assert_eq!(rig.get(&path).await.1["accountId"], "7");
    assert_eq!(rig.get(&path).await.1["accountId"], "8");
    rig.trouble(Rule::new(Trouble::OtherId).next(1));
    assert_ne!(rig.get(&path).await.1["id"], json!(id("A")));
}

#[tokio::test]
async fn objects_and_the_key_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let start =
        || Sandbox::start(Settings { database: Some(folder.path().join("passes.sqlite")), ..Settings::default() }).expect("it starts");
    let first = start();
    first.seed(GOOGLE_WALLET, [json!({"id": "A", "accountId": "7"})]).expect("seeded");
    let key: Value = serde_json::from_str(&first.google_key().expect("a key")).expect("JSON");
    drop(first);
    let second = start();
    assert_eq!(second.pass(GOOGLE_WALLET, "A").expect("kept")["accountId"], "7");
    let again: Value = serde_json::from_str(&second.google_key().expect("a key")).expect("JSON");
    assert_eq!(again["private_key"], key["private_key"]);
}
