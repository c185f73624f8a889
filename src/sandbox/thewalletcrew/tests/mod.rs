//! The stand-in through its front door, against contracts/thewalletcrew.md.

mod passes;
mod switches;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::sandbox::thewalletcrew::Knobs;
use crate::sandbox::{Rule, Sandbox, Settings, THEWALLETCREW, Trouble};

struct Rig {
    sandbox: Sandbox,
    client: Client,
}

impl Rig {
    /// With passes `A` and `B` of `y2.customerId`; updates are seen at once.
    fn new() -> Rig {
        let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
        let pass =
            |id: &str| json!({"identifiers": {"y2.customerId": id}, "additionalData": {"balance": "41.50"}, "metadata": {"storeId": "12"}});
        assert_eq!(sandbox.seed(THEWALLETCREW, [pass("A"), pass("B")]).expect("seeded"), 2);
        let rig = Rig { sandbox, client: Client::builder().no_proxy().build().expect("a client") };
        rig.knobs(|knobs| knobs.delay_ms = 0);
        rig
    }

    fn knobs(&self, change: impl FnOnce(&mut Knobs)) {
        self.sandbox.faults().change(|faults| change(&mut faults.thewalletcrew));
    }

    fn trouble(&self, rules: Vec<Rule>) {
        self.sandbox.faults().change(|faults| faults.rules = rules);
    }

    fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}/api/{path}", self.sandbox.base_url_of(THEWALLETCREW)))
    }

    async fn send(&self, method: &str, query: &str, body: Value) -> Response {
        let request = self.bare(method, &format!("sandbox/passes{query}")).header("x-api-key", "sandbox-key");
        if method == "GET" { request } else { request.json(&body) }.send().await.expect("an answer")
    }

    async fn status(&self, method: &str, query: &str, body: Value) -> u16 {
        self.send(method, query, body).await.status().as_u16()
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let response = self.send("GET", query, Value::Null).await;
        assert_eq!(response.status(), 200);
        response.json().await.expect("JSON")
    }

    fn data(&self, name: &str) -> Value {
        self.sandbox.pass(THEWALLETCREW, name).expect("the pass")["additionalData"].clone()
    }
}

fn of(customer: &str) -> String {
    format!("?filter[0].field=identifiers.y2.customerId&filter[0].operator=equals&filter[0].value={customer}&pageIndex=0&pageSize=2")
}
