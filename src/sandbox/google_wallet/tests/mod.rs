//! The stand-in through its front door, against contracts/google-wallet.md.

mod batch;
mod limits;
mod objects;
mod token;

use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::platform::base64url;
use crate::sandbox::google_wallet::Knobs;
use crate::sandbox::{GOOGLE_WALLET, Rule, Sandbox, Settings, Trouble};

const ISSUER: &str = "3388000000012345678";

struct Rig {
    sandbox: Sandbox,
    client: Client,
    token: String,
}

impl Rig {
    /// With loyalty objects `A` and `B`, and a token.
    async fn new() -> Rig {
        Rig::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Knobs)) -> Rig {
        let sandbox = Sandbox::start(Settings::default()).expect("the sandbox starts");
        sandbox.faults().change(|faults| change(&mut faults.google_wallet));
        sandbox.seed(GOOGLE_WALLET, [json!({"id": "A"}), json!({"id": "B", "accountName": "Ana"})]).expect("seeded");
        let client = Client::builder().no_proxy().build().expect("a client");
        let mut rig = Rig { sandbox, client, token: String::new() };
        rig.token = rig.exchange(&rig.assertion(&json!({}))).await.1["access_token"].as_str().unwrap_or_default().to_owned();
        rig
    }

    fn knobs(&self, change: impl FnOnce(&mut Knobs)) {
        self.sandbox.faults().change(|faults| change(&mut faults.google_wallet));
    }

    fn trouble(&self, rule: Rule) {
        self.sandbox.faults().change(|faults| faults.rules = vec![rule]);
    }

    /// A signed assertion with the usual claims but for these.
    fn assertion(&self, claims: &Value) -> String {
        self.assertion_of(&json!({"alg": "RS256", "typ": "JWT"}), claims)
    }

    fn assertion_of(&self, head: &Value, changed: &Value) -> String {
        let file: Value = serde_json::from_str(&self.sandbox.google_key().expect("a key file")).expect("JSON");
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({
            "iss": file["client_email"], "scope": "https://www.googleapis.com/auth/wallet_object.issuer",
            "aud": file["token_uri"], "iat": now, "exp": now + 3600,
        });
        claims.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
        let signed = format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let key = PKey::private_key_from_pem(file["private_key"].as_str().expect("a key").as_bytes()).expect("a key");
        let mut pen = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
        format!("{signed}.{}", base64url(&pen.sign_oneshot_to_vec(signed.as_bytes()).expect("a signature")))
    }

    async fn exchange(&self, assertion: &str) -> (u16, Value) {
        let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = self.client.post(self.url("/token")).header("content-type", "application/x-www-form-urlencoded").body(body);
        answered(request.send().await.expect("an answer")).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url_of(GOOGLE_WALLET))
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, self.url(&format!("/walletobjects/v1/{path}"))).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answered(self.request("GET", path).send().await.expect("an answer")).await
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        answered(self.request(method, path).json(&body).send().await.expect("an answer")).await
    }

    async fn patch(&self, id: &str, body: Value) -> (u16, Value) {
        self.ask("PATCH", &format!("loyaltyObject/{ISSUER}.{id}"), body).await
    }

    async fn batch(&self, body: String) -> Response {
        let request = self.client.post(self.url("/batch")).bearer_auth(&self.token);
        request.header("content-type", "multipart/mixed; boundary=B").body(body).send().await.expect("an answer")
    }
}

async fn answered(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers().get("etag"), None, "no ETag is offered (section 9)");
    (status, response.json().await.expect("JSON"))
}

fn id(identifier: &str) -> String {
    format!("{ISSUER}.{identifier}")
}

fn reason(error: &Value) -> &str {
    error["error"]["errors"][0]["reason"].as_str().unwrap_or_default()
}
