//! A platform that the configuration describes, a pass and many a request.

use passferry::sandbox::{Rule, TILLS, Trouble, tills};
use serde_json::json;

use super::{Adds, Batches, Entry, Wrong, held, of_another_kind, point, replace};
use crate::rig::harbour::write_private;

/// A platform of nobody's that the configuration describes.
const TILL: &str = r#"
[platform.cards.fields]
points = { kind = "integer", at = "/fields/points", least = 0, most = 100000 }
tier = { at = "/fields/tier", length_max = 60, cleared = "null" }
balance = { kind = "integer", balance = true }

[platform.cards.update]
request = "PATCH /passes/ref:{{ external_id }}"
external_id = "/reference"

[platform.cards.create]
request = "POST /passes"
body = '{ "reference": "{{ external_id }}" }'
external_id = "/reference"

[platform.cards.earn]
request = "POST /passes/ref:{{ external_id }}/credit"
headers = { "Idempotency-Key" = "{{ key }}" }
body = '{ "amount": "{{ amount }}" }'
external_id = "/reference"
key_lifetime = "7d"

[platform.cards.probe]
request = "GET /passes/ref:nobody"
not_found = true
"#;

const BATCH: &str = r#"
[platform.cards.batch]
request = "POST /batch"
size = 5
items = "/items"
item = '{ "ref": "{{ external_id }}" }'
item_id = "/ref"
results = "/results"
result_id = "/ref"

[platform.cards.answers.code]
at = "/status"
applied = "applied"
not_found = "not_found"
retry = "retry"
refused = "refused"
"#;

pub fn http() -> Entry {
    Entry {
        name: "http",
        plan: |plan| {
            of_another_kind(plan, "http")
                .platform(
                    "auth",
                    "{ token_url = \"BASE/oauth2/token\", client_id = \"sandbox-key\", client_secret = { file = \"client\" } }",
                )
                .platform("id_max", "100")
                .feed("guard.created", "false")
                .feed("fields.points", "\"points\"")
                .feed("fields.tier", "\"tier\"")
                .more(TILL)
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("client"), "sandbox-secret");
            point(harbour, TILLS);
            harbour.sandbox.faults().change(|faults| faults.tills.auth = tills::Auth::Oauth2);
        },
        seed: |harbour, names| {
            harbour.sandbox.seed(TILLS, names.iter().map(|name| json!({ "reference": name, "fields": { "design": "blue" } }))).unwrap();
        },
        held: |harbour, name| Some(held(harbour.sandbox.pass(TILLS, name)?["fields"].take(), "/points", "/tier")),
        writes: |rule, pass| pass.into_iter().fold(rule.method("PATCH"), Rule::id),
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.tills.token.calls = Some(13)),
        unfit: &[
            ("points", "100001", "value-too-large"),
            ("points", "-1", "value-too-large"),
            ("tier", "LONG", "value-too-large"),
            ("id", "LONG", "value-too-large"),
        ],
        misspelt: ("teir", "did you mean \"tier\"?"),
        secrets: &["sandbox-secret", "sbx."],
        adds: Some(Adds {
            plan: |plan| {
                plan.feed("operation", "\"earn\"").feed("fields.tier", "").feed("fields.points", "").feed("fields.balance", "\"points\"")
            },
            writes: |rule| rule.path("credit"),
            effects: |harbour, name| harbour.sandbox.pass(TILLS, name).unwrap()["balance"].as_f64().unwrap_or_default() as usize / 5,
        }),
        added: None,
        batches: None,
        excused: &[],
        wrong: &[
            Wrong {
                what: "the client's secret is another",
                make: |harbour| write_private(&harbour.home.path().join("client"), "another"),
                exit: 77,
            },
            Wrong {
                what: "the token endpoint is down",
                make: |harbour| {
                    harbour.sandbox.faults().change(|faults| faults.tills.token.error = Some("temporarily_unavailable".to_owned()));
                },
                exit: 69,
            },
            Wrong {
                what: "the client lacks a right",
                make: |harbour| {
                    let forbidden = Trouble::Status { code: 403, message: Some("the client lacks a right".to_owned()) };
                    harbour.sandbox.faults().add(Rule::new(forbidden).path("/passes"));
                },
                exit: 77,
            },
            Wrong {
                what: "the probe has no such address",
                make: |harbour| replace(harbour, "GET /passes/ref:nobody\"\nnot_found = true", "GET /account\""),
                exit: 69,
            },
        ],
    }
}

/// The same, many passes a request.
pub fn http_batch() -> Entry {
    Entry {
        name: "http_batch",
        plan: |plan| (http().plan)(plan).more(BATCH),
        // Good for so many requests, whatever stands in them; there are six.
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.tills.token.calls = Some(4)),
        batches: Some(Batches::CountedOnce),
        wrong: &[],
        ..http()
    }
}
