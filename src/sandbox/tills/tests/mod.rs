//! The platform of nobody's, call by call.

mod batches;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::Auth;
use super::Knobs;
use crate::sandbox::{Rule, Sandbox, Settings, TILLS, Trouble};

struct Rig {
    sandbox: Sandbox,
    client: Client,
}

impl Rig {
    /// With passes `A` and `B`.
    fn new() -> Rig {
        let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
        let pass = |reference: &str| json!({"reference": reference, "fields": {"tier": "silver"}, "balance": 10});
        assert_eq!(sandbox.seed(TILLS, [pass("A"), pass("B")]).expect("seeded"), 2);
        Rig { sandbox, client: Client::builder().no_proxy().build().expect("a client") }
    }

    fn knobs(&self, change: impl FnOnce(&mut Knobs)) {
        self.sandbox.faults().change(|faults| change(&mut faults.tills));
    }

    fn trouble(&self, rule: Rule) {
        self.sandbox.faults().change(|faults| faults.rules = vec![rule]);
    }

    fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.sandbox.base_url_of(TILLS)))
    }

    async fn ask(&self, method: &str, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.bare(method, path).header("x-api-key", "sandbox-key").json(&body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    fn pass(&self, reference: &str) -> Value {
        self.sandbox.pass(TILLS, reference).expect("the pass")
    }
}

#[tokio::test]
async fn four_keys_open_the_door_or_one_of_them() {
    let rig = Rig::new();
    let form = "grant_type=client_credentials&client_id=sandbox-key&client_secret=sandbox-secret";
    let token = async || {
        let answer = rig.bare("POST", "/oauth2/token").body(form).send().await.expect("an answer").json::<Value>().await.expect("JSON");
        answer["access_token"].as_str().unwrap_or_default().to_owned()
    };
    let given = token().await;
    let ways = || {
        let get = || rig.bare("GET", "/passes/ref:A");
        [
            get().bearer_auth("sandbox-token"),
            get().basic_auth("sandbox-key", Some("sandbox-secret")),
            get().header("x-api-key", "sandbox-key"),
            get().bearer_auth(&given),
        ]
    };
    for (auth, expected) in [
        (Auth::Any, [200; 4]),
        (Auth::Bearer, [200, 401, 401, 401]),
        (Auth::Basic, [401, 200, 401, 401]),
        (Auth::ApiKey, [401, 401, 200, 401]),
        (Auth::Oauth2, [401, 401, 401, 200]),
    ] {
        rig.knobs(|knobs| knobs.auth = auth);
        for (request, status) in ways().into_iter().zip(expected) {
            assert_eq!(request.send().await.expect("an answer").status(), status, "{auth:?}");
        }
    }
    assert_eq!(rig.bare("GET", "/passes/ref:A").send().await.expect("an answer").status(), 401);
    rig.knobs(|knobs| knobs.token.calls = Some(1));
    let short = token().await;
    for status in [200, 401] {
        assert_eq!(rig.bare("GET", "/passes/ref:A").bearer_auth(&short).send().await.expect("an answer").status(), status);
    }
    rig.knobs(|knobs| knobs.token.error = Some("invalid_client".to_owned()));
    assert_eq!(rig.bare("POST", "/oauth2/token").body(form).send().await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn passes_are_found_made_replaced_and_merged() {
    let rig = Rig::new();
    let (_, found) = rig.ask("GET", "/passes?reference=A", None, Value::Null).await;
    let id = found["items"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(rig.ask("GET", "/passes?reference=nobody", None, Value::Null).await.1["items"], json!([]));
    assert_eq!(rig.ask("GET", &format!("/passes/{id}"), None, Value::Null).await.1["reference"], "A");
    assert_eq!(rig.ask("GET", "/passes/ref:nobody", None, Value::Null).await.1["error"]["code"], "not_found");
    assert_eq!(rig.ask("POST", "/passes", None, json!({"reference": "C d/é"})).await.0, 201);
    assert_eq!(rig.ask("POST", "/passes", None, json!({"reference": "C d/é"})).await.0, 409);
    assert_eq!(rig.ask("PATCH", "/passes/ref:C%20d%2F%C3%A9", None, json!({"fields": {"a": 1}})).await.1["fields"], json!({"a": 1}));
    let put = |version: i64| json!({"version": version, "fields": {"points": 7}});
    assert_eq!(rig.ask("PUT", "/passes/ref:A", None, put(1)).await.1["error"]["code"], "stale_version");
    assert_eq!(rig.ask("PUT", "/passes/ref:A", None, put(2)).await.1["fields"], json!({"points": 7}));
    assert_eq!(rig.ask("PUT", "/passes/ref:A", None, json!({"fields": {}})).await.0, 400);
    assert_eq!(rig.ask("PATCH", "/passes/ref:B", None, json!({"fields": {"tier": null, "a": "b"}})).await.1["fields"], json!({"a": "b"}));
    assert_eq!(rig.ask("PUT", "/passes/ref:new", None, put(1)).await.0, 404);
    rig.knobs(|knobs| {
        knobs.put_creates = true;
        knobs.version_required = false;
        knobs.soft_errors = true;
    });
    assert_eq!(rig.ask("PUT", "/passes/ref:new", None, json!({"fields": {}})).await.0, 201);
    let (status, soft) = rig.ask("PATCH", "/passes/ref:nobody", None, json!({})).await;
    assert_eq!((status, &soft["ok"], &soft["status"]), (200, &json!(false), &json!(404)));
    assert_eq!(rig.ask("PATCH", "/passes/ref:B", None, json!({"fields": 1})).await.1["error"]["code"], "invalid");
}

/// The same key and body have the first answer; another body is 409; after seven days the key is free.
#[tokio::test]
async fn a_key_makes_a_write_safe_to_repeat() {
    let rig = Rig::new();
    let credit = json!({"amount": 5});
    let first = rig.ask("POST", "/passes/ref:A/credit", Some("k1"), credit.clone()).await;
    assert_eq!((first.0, &first.1["balance"]), (200, &json!(15.0)));
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", Some("k1"), credit.clone()).await, first);
    let (status, error) = rig.ask("POST", "/passes/ref:A/credit", Some("k1"), json!({"amount": 6})).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("idempotency_conflict")));
    rig.trouble(Rule::new(Trouble::DropAfter).next(1));
    let lost = rig.bare("POST", "/passes/ref:A/credit").header("x-api-key", "sandbox-key").header("idempotency-key", "k2");
    assert!(lost.json(&credit).send().await.is_err());
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", Some("k2"), credit.clone()).await.1["balance"], 20.0);
    assert_eq!((rig.pass("A")["balance"].as_f64(), rig.sandbox.double_effects().len()), (Some(20.0), 0));
    rig.trouble(Rule::new(Trouble::Status { code: 503, message: None }).next(1));
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", Some("k3"), credit.clone()).await.0, 503);
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", Some("k3"), credit.clone()).await.0, 200, "nothing was done, so the key is free");
    rig.sandbox.faults().change(|faults| faults.clock_skew_seconds = 8 * 24 * 3600);
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", Some("k1"), credit.clone()).await.1["balance"], 30.0);
    assert_eq!(rig.sandbox.double_effects().len(), 1);
    rig.sandbox.faults().clear();
    rig.knobs(|knobs| knobs.key_required = true);
    assert_eq!(rig.ask("POST", "/passes/ref:A/credit", None, credit.clone()).await.0, 400);
    rig.knobs(|knobs| {
        knobs.key_required = false;
        knobs.no_keys = true;
    });
    for _ in 0..2 {
        rig.ask("POST", "/passes/ref:B/credit", Some("k9"), credit.clone()).await;
    }
    assert_eq!(rig.pass("B")["balance"], 20.0);
    assert_eq!(rig.ask("POST", "/passes/ref:B/credit", None, json!({"amount": -100})).await.0, 422);
}

#[tokio::test]
async fn a_request_id_comes_back() {
    let rig = Rig::new();
    let request = rig.bare("GET", "/passes/ref:A").header("x-api-key", "sandbox-key").header("request-id", "r-7");
    assert_eq!(request.send().await.expect("an answer").headers()["request-id"], "r-7");
}
