//! `PassEntry`'s section of contracts/others.md.

use reqwest::Client;
use serde_json::{Value, json};

use crate::sandbox::{PASSENTRY, Sandbox, Settings};

async fn patch(sandbox: &Sandbox, key: &str, id: &str, body: Value) -> (u16, Value, Option<String>) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/api/v1/passes/{id}", sandbox.base_url_of(PASSENTRY));
    let answer = client.patch(url).bearer_auth(key).json(&body).send().await.expect("an answer");
    let notified = answer.headers().get("x-notification-status").map(|status| status.to_str().expect("a text").to_owned());
    (answer.status().as_u16(), answer.json().await.unwrap_or_default(), notified)
}

#[tokio::test]
async fn a_pass_is_updated_by_its_id_or_external_id() {
    let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
    let passes = [json!({"extId": "A"}), json!({"extId": "B", "installed": false})];
    assert_eq!(sandbox.seed(PASSENTRY, passes).expect("seeded"), 2);
    let key = "sandbox-key";
    let body = json!({"pass": {"points": {"value": "7"}}, "passAction": "deactivate", "expiresAt": "2027-01-01T00:00:00Z"});
    let (status, answer, notified) = patch(&sandbox, key, "A", body).await;
    let attributes = &answer["data"]["attributes"];
    assert_eq!((status, &attributes["extId"], &attributes["status"], notified), (200, &json!("A"), &json!("deactivated"), None));
    assert_eq!(attributes["passContent"]["points"]["value"], "7");
    let id = answer["data"]["id"].as_str().expect("an id").to_owned();
    let (status, answer, _) = patch(&sandbox, key, &id, json!({"pass": {"tier": {"value": "gold"}}, "passAction": "reactivate"})).await;
    let attributes = &answer["data"]["attributes"];
    assert_eq!((status, &attributes["passContent"]["points"]["value"], &attributes["status"]), (200, &json!("7"), &json!("issued")));
    assert_eq!(patch(&sandbox, key, "nobody", json!({})).await.0, 404);
    assert_eq!(patch(&sandbox, "wrong", "A", json!({})).await.0, 401);
    let many: Vec<Value> = (0..11).map(|number| json!({"latitude": number})).collect();
    for wrong in [json!({"locations": many}), json!({"passAction": "burn"}), json!({"pass": {"points": "7"}})] {
        assert_eq!(patch(&sandbox, key, "A", wrong).await.0, 422);
    }
}

/// With `message` the answer says what became of it; each call sends it again.
#[tokio::test]
async fn a_message_is_sent_with_every_call() {
    let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
    sandbox.seed(PASSENTRY, [json!({"extId": "A"}), json!({"extId": "B", "installed": false})]).expect("seeded");
    for _ in 0..2 {
        let (_, answer, notified) = patch(&sandbox, "sandbox-key", "A", json!({"message": "Hello"})).await;
        assert_eq!((notified.as_deref(), &answer["meta"]["notifications"]["status"]), (Some("delivered"), &json!("delivered")));
    }
    assert_eq!(patch(&sandbox, "sandbox-key", "B", json!({"message": "Hello"})).await.2.as_deref(), Some("notDelivered"));
    let doubled = sandbox.double_effects();
    assert_eq!((doubled.len(), doubled[0].external_id.as_str()), (1, "A"));
    sandbox.faults().change(|faults| {
        faults.passentry.refuse_unknown = true;
        faults.passentry.empty_errors = true;
    });
    assert_eq!(patch(&sandbox, "sandbox-key", "A", json!({"colour": "red"})).await, (422, Value::Null, None));
}
