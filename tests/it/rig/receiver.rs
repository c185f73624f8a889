//! A receiver of webhooks that can misbehave, and a judge of signatures that shares no code with whoever signs.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// What is done with the next call. Without a word, it is taken.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    Answer(u16),
    /// Nothing is answered.
    Hang,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// It was answered with 200.
    pub taken: bool,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// `held raised`, `source back`.
    pub fn about(&self) -> String {
        let body = self.json();
        format!("{} {}", body["data"]["topic"].as_str().unwrap(), body["data"]["event"].as_str().unwrap())
    }

    pub fn title(&self) -> String {
        self.json()["data"]["title"].as_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    next: Mutex<VecDeque<Next>>,
}

pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// A port at which nobody listens yet.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::at(0)
    }

    pub fn at(port: u16) -> Receiver {
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::clone(&shared);
        let take = move |headers: HeaderMap, body: String| {
            let state = Arc::clone(&state);
            async move {
                let next = state.next.lock().unwrap().pop_front().unwrap_or(Next::Answer(200));
                let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
                state.calls.lock().unwrap().push(Call { headers, body, taken: matches!(next, Next::Answer(200)) });
                match next {
                    Next::Answer(status) => StatusCode::from_u16(status).unwrap(),
                    Next::Hang => {
                        tokio::time::sleep(Duration::from_mins(10)).await;
                        StatusCode::OK
                    }
                }
            }
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(take));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Receiver { port, shared, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn then(&self, next: &[Next]) {
        self.shared.next.lock().unwrap().extend(next);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    pub fn taken(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.taken).collect()
    }

    /// What was taken, as [`Call::about`] tells it.
    pub fn about(&self) -> Vec<String> {
        self.taken().iter().map(Call::about).collect()
    }

    /// Asserts that every call is signed with this secret, as Python's library has it, and is fresh.
    #[track_caller]
    pub fn check_signatures(&self, secret: &str) {
        const JUDGE: &str = r#"
import base64, hashlib, hmac, json, sys, time
given = json.load(sys.stdin)
key = base64.b64decode(given["secret"].removeprefix("whsec_"))
for call in given["calls"]:
    h = call["headers"]
    signed = f'{h["webhook-id"]}.{h["webhook-timestamp"]}.{call["body"]}'.encode()
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(wanted, h["webhook-signature"]), call
    assert abs(time.time() - int(h["webhook-timestamp"])) < 300, call
"#;
        let calls: Vec<Value> = self.calls().iter().map(|call| json!({ "headers": call.headers, "body": call.body })).collect();
        assert!(!calls.is_empty());
        let mut judge = Command::new("python3").args(["-c", JUDGE]).stdin(Stdio::piped()).spawn().unwrap();
        judge.stdin.take().unwrap().write_all(json!({ "secret": secret, "calls": calls }).to_string().as_bytes()).unwrap();
        assert!(judge.wait().unwrap().success(), "a signature is wrong");
    }
}
