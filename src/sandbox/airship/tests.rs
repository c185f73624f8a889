//! Airship's section of contracts/others.md.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::sandbox::{AIRSHIP, Rule, Sandbox, Settings, Trouble};

struct Rig {
    sandbox: Sandbox,
    client: Client,
}

impl Rig {
    fn new() -> Rig {
        let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
        let passes = [
            json!({"externalId": "A", "fields": {"tier": {"value": "silver", "label": "Tier"}}}),
            json!({"externalId": "G", "template": "1002"}),
            json!({"externalId": "new", "installed": false}),
        ];
        assert_eq!(sandbox.seed(AIRSHIP, passes).expect("seeded"), 3);
        Rig { sandbox, client: Client::builder().no_proxy().build().expect("a client") }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url_of(AIRSHIP))
    }

    async fn put(&self, path: &str, body: Value) -> Response {
        let request = self.client.put(self.url(path)).basic_auth("sandbox-key", Some("sandbox-secret")).header("api-revision", "1.2");
        request.json(&body).send().await.expect("an answer")
    }

    async fn status(&self, path: &str, body: Value) -> u16 {
        self.put(path, body).await.status().as_u16()
    }

    async fn token(&self, id: &str, secret: &str, form: &'static str) -> (u16, Value) {
        let request = self.client.post(self.url("/oauth2/token")).basic_auth(id, Some(secret));
        let response = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }
}

const A: &str = "/v1/pass/template/1001/id/A";

#[tokio::test]
async fn an_update_is_partial() {
    let rig = Rig::new();
    let body = json!({"fields": {"points": {"value": "7", "changeMessage": "Now %@"}}, "headers": {"h": {"value": 1}}});
    assert_eq!(rig.status(A, body.clone()).await, 200);
    let pass = rig.sandbox.pass(AIRSHIP, "A").expect("the pass");
    assert_eq!((&pass["fields"]["points"]["value"], &pass["fields"]["tier"]["value"]), (&json!("7"), &json!("silver")));
    for (path, expected) in [
        ("/pass/template/1001/id/A", 200),
        ("/v1/pass/template/1001/id/nobody", 404),
        ("/v1/pass/template/9/id/A", 404),
        ("/v1/pass/template/1001/id/new", 404),
        ("/v1/pass/template/1001", 404),
    ] {
        assert_eq!(rig.status(path, body.clone()).await, expected, "{path}");
    }
    for wrong in [json!({"fields": {"points": 7}}), json!({"fields": {"points": {"colour": "red"}}}), json!([]), json!({"locations": 1})] {
        assert_eq!(rig.status(A, wrong).await, 400);
    }
}

#[tokio::test]
async fn google_templates_take_dates_alone() {
    let rig = Rig::new();
    let date = |text: &str| json!({"fields": {"expirationDate": {"value": text}}});
    assert_eq!(rig.status("/pass/template/1002/id/G", date("2027-01-31")).await, 200);
    assert_eq!(rig.status("/pass/template/1002/id/G", date("2027-01-31T00:00:00Z")).await, 400);
    assert_eq!(rig.status(A, date("2027-01-31T00:00:00Z")).await, 200);
}

/// Id and secret are URL-encoded before they become Basic; the scope is `wpas`.
#[tokio::test]
async fn a_token_is_given_to_a_client_that_encodes_its_secret() {
    let rig = Rig::new();
    let form = "grant_type=client_credentials&scope=wpas";
    let (status, answer) = rig.token("sandbox-client", "sandbox%3Asecret%2B%2F%25", form).await;
    assert_eq!((status, &answer["token_type"], &answer["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    assert_eq!(rig.token("sandbox-client", "sandbox:secret+/%", form).await.1["error"], "invalid_client");
    assert_eq!(rig.token("sandbox-client", "sandbox%3Asecret%2B%2F%25", "grant_type=client_credentials").await.1["error"], "invalid_scope");
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    let with = async |revision: &'static str| {
        let request = rig.client.put(rig.url(A)).bearer_auth(&token).header("api-revision", revision);
        request.json(&json!({})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((with("1.2").await, with("1.1").await), (200, 400));
    rig.sandbox.revoke_tokens();
    assert_eq!(with("1.2").await, 401);
    let log = format!("{:?}", rig.sandbox.requests().all());
    assert!(!log.contains(&token) && !log.contains("grant_type"), "{log}");
}

#[tokio::test]
async fn locations_are_added_and_numbered() {
    let rig = Rig::new();
    let post = async |path: &str| {
        let request = rig.client.post(rig.url(path)).basic_auth("sandbox-key", Some("sandbox-secret")).header("api-revision", "1.2");
        request.json(&json!({"locations": [{"latitude": 1, "longitude": 2}]})).send().await.expect("an answer")
    };
    let answer = post("/pass/template/1001/id/A/locations").await.json::<Value>().await.expect("JSON");
    assert_eq!(answer, json!([{"passLocationId": 1, "value": {"latitude": 1, "longitude": 2}}]));
    assert_eq!(post("/pass/template/1001/id/nobody/locations").await.status(), 404);
    post("/pass/template/1001/id/A/locations").await;
    assert_eq!(rig.sandbox.double_effects().len(), 1);
}

#[tokio::test]
async fn answers_and_trouble_are_as_told() {
    let rig = Rig::new();
    rig.sandbox.faults().change(|faults| {
        faults.airship.success = 202;
        faults.airship.answer = "{\"ticketId\":7}".to_owned();
        faults.airship.empty_errors = true;
        faults.airship.refuse_unknown = true;
        faults.rules = vec![Rule::new(Trouble::DropAfter).id("A").next(1)];
    });
    let request = rig.client.put(rig.url(A)).basic_auth("sandbox-key", Some("sandbox-secret")).header("api-revision", "1.2");
    assert!(request.json(&json!({"fields": {"tier": {"value": "gold"}}})).send().await.is_err());
    assert_eq!(rig.sandbox.pass(AIRSHIP, "A").expect("the pass")["fields"]["tier"], json!({"value": "gold", "label": "Tier"}));
    let answer = rig.put(A, json!({})).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("a body").as_str()), (202, "{\"ticketId\":7}"));
    let refused = rig.put(A, json!({"colour": 1})).await;
    assert_eq!((refused.status().as_u16(), refused.text().await.expect("a body").as_str()), (400, ""));
    let nobody = rig.client.put(rig.url(A)).basic_auth("sandbox-key", Some("wrong")).header("api-revision", "1.2");
    assert_eq!(nobody.json(&json!({})).send().await.expect("an answer").status(), 401);
}
