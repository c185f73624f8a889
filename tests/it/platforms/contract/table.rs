//! The platforms, each with what is its own.

use passferry::sandbox::{AIRSHIP, GOOGLE_WALLET, Issue, Rule, THEWALLETCREW, TILLS, Trouble, tills};
use serde_json::{Value, json};

use super::{Adds, Batches, Entry, Excuse, Held, Wrong};
use crate::rig::harbour::{Harbour, Plan, write_private};

/// Takes the keys of PassKit's accounts away.
fn of_another_kind(plan: Plan, kind: &str) -> Plan {
    plan.platform("kind", &format!("{kind:?}")).platform("key", "").platform("secret", "").platform("program", "")
}

/// Points the account to its stand-in: `base_url`, and wherever `BASE` stands.
fn point(harbour: &Harbour, platform: &str) {
    let (from, to) = (harbour.sandbox.base_url(), harbour.sandbox.base_url_of(platform));
    harbour.change_config(|text| text.replace(&format!("base_url = {from:?}"), &format!("base_url = {to:?}")).replace("BASE", &to));
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map(|number| number.to_string()).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// What a pass holds at these places; they are taken out of the rest.
fn held(mut pass: Value, points: &str, tier: &str) -> Held {
    let mut take = |place: &str| {
        let (block, name) = place.rsplit_once('/').unwrap();
        pass.pointer_mut(block).and_then(Value::as_object_mut).and_then(|block| block.remove(name)).unwrap_or_default()
    };
    let (points, tier) = (text(&take(points)), text(&take(tier)));
    Held { points, tier, rest: pass }
}

fn replace(harbour: &Harbour, from: &str, to: &str) {
    harbour.change_config(|text| {
        assert!(text.contains(from), "{from} is not in\n{text}");
        text.replace(from, to)
    });
}

fn forbid(harbour: &Harbour) {
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("the key lacks a right".to_owned()) }));
}

fn refuse_some_signatures(harbour: &Harbour) {
    for pass in [3, 4, 17] {
        harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 401, message: None }).id(&format!("C-{pass}")).next(1));
    }
}

/// What nobody has to do with the platform itself.
const NOWHERE: [Wrong; 3] = [
    Wrong { what: "nobody listens", make: |harbour| point_to(harbour, "http://127.0.0.1:1"), exit: 69 },
    Wrong { what: "the host has no address", make: |harbour| point_to(harbour, "https://no-such-platform.invalid"), exit: 69 },
    Wrong {
        what: "the server speaks no TLS",
        make: |harbour| point_to(harbour, &harbour.sandbox.base_url().replace("http:", "https:")),
        exit: 69,
    },
];

fn point_to(harbour: &Harbour, to: &str) {
    replace(harbour, &format!("base_url = \"{}", harbour.sandbox.base_url()), &format!("base_url = \"{to}"));
}

pub fn passkit() -> Entry {
    Entry {
        name: "passkit",
        plan: |plan| {
            let plan = plan.feed("fields.points", "\"points\"").feed("fields.\"metaData.tier\"", "\"tier\"");
            plan.platform("tier", "\"base\"").feed("guard.created", "false")
        },
        open: |_| (),
        seed: |harbour, names| {
            let issue = |name: &String| Issue {
                external_id: name.clone(),
                meta_data: [("store".to_owned(), "12".to_owned())].into_iter().collect(),
                ..Issue::default()
            };
            harbour.sandbox.issue(names.iter().map(issue)).unwrap();
        },
        held: |harbour, name| {
            let member = harbour.sandbox.member(name)?;
            let shown = json!({ "points": member["points"], "metaData": member["metaData"], "person": member["person"] });
            Some(held(shown, "/points", "/metaData/tier"))
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PUT"), Rule::id),
        expire: refuse_some_signatures,
        unfit: &[("points", "16777217", "value-inexact"), ("tier", "LONG", "value-too-large")],
        misspelt: ("metadata.tier", "did you mean metaData.tier?"),
        secrets: &[],
        adds: Some(Adds {
            plan: |plan| plan.feed("operation", "\"earn\"").feed("fields.\"metaData.tier\"", ""),
            writes: |rule| rule.path("points/earn"),
            effects: |harbour, name| harbour.points(name) as usize / 5,
        }),
        batches: None,
        excused: &[],
        wrong: &[
            Wrong {
                what: "the secret is another",
                make: |harbour| write_private(&harbour.home.path().join("secret"), "another"),
                exit: 77,
            },
            Wrong { what: "the key lacks a right", make: forbid, exit: 77 },
            Wrong {
                what: "the program is another, or the region",
                make: |harbour| replace(harbour, "sandbox-program", "another-program"),
                exit: 69,
            },
        ],
    }
}

const ISSUER: &str = "3388000000012345678";

pub fn google_wallet() -> Entry {
    Entry {
        name: "google_wallet",
        plan: |plan| {
            of_another_kind(plan, "google_wallet")
                .platform("key", "{ file = \"key.json\" }")
                .platform("issuer", &format!("{ISSUER:?}"))
                .platform("class", "\"loyalty\"")
                .platform("class_id", "\"club\"")
                .platform("batch_size", "5")
                .platform("message_header", "\"News\"")
                .feed("guard.created", "false")
                .feed("fields.\"loyaltyPoints.balance.int\"", "\"points\"")
                .feed("fields.\"textModulesData.tier.body\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("key.json"), &harbour.sandbox.google_key().unwrap());
            point(harbour, GOOGLE_WALLET);
            harbour.sandbox.faults().change(|faults| faults.google_wallet.calls_per_second = None);
            harbour.sandbox.seed(GOOGLE_WALLET, [json!({ "resource": "loyaltyClass", "id": "club", "reviewStatus": "approved" })]).unwrap();
        },
        seed: |harbour, names| {
            let news = json!([{ "id": "news", "header": "News", "body": "none" }]);
            let pass =
                |name: &String| json!({ "id": name, "classId": "club", "loyaltyPoints": { "label": "Points" }, "textModulesData": news });
            harbour.sandbox.seed(GOOGLE_WALLET, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let mut pass = harbour.sandbox.pass(GOOGLE_WALLET, name)?;
            let points = text(&pass["loyaltyPoints"]["balance"]["int"]);
            let modules = pass["textModulesData"].as_array().cloned().unwrap_or_default();
            let (tiers, others): (Vec<Value>, Vec<Value>) = modules.into_iter().partition(|module| module["id"] == "tier");
            let tier = tiers.first().map(|tier| text(&tier["body"])).unwrap_or_default();
            let rest = json!({ "label": pass["loyaltyPoints"]["label"].take(), "modules": others, "state": pass["state"].take() });
            Some(Held { points, tier, rest })
        },
        writes: |rule, pass| match pass {
            Some(pass) => rule.method("PATCH").id(&format!("{ISSUER}.{pass}")),
            None => rule.method("PATCH"),
        },
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.google_wallet.token_calls = Some(13)),
        unfit: &[("points", "2147483648", "value-too-large"), ("id", "LONG", "value-too-large")],
        misspelt: ("loyaltyPoints.balance", "say as what: loyaltyPoints.balance.int"),
        secrets: &["PRIVATE KEY", "ya29."],
        adds: Some(Adds {
            plan: |plan| {
                plan.feed("fields.\"loyaltyPoints.balance.int\"", "")
                    .feed("fields.\"textModulesData.tier.body\"", "")
                    .feed("notify.message", "\"message\"")
                    .feed("notify.field", "\"messages\"")
                    .feed("notify.kind", "\"transactional\"")
            },
            writes: |rule| rule.path("addMessage"),
            effects: |harbour, name| {
                harbour.sandbox.pass(GOOGLE_WALLET, name).and_then(|pass| pass["messages"].as_array().map(Vec::len)).unwrap_or_default()
            },
        }),
        batches: Some(Batches::CountedByPart),
        excused: &[],
        wrong: &[
            Wrong {
                what: "the key file is refused",
                make: |harbour| {
                    harbour.sandbox.faults().change(|faults| faults.google_wallet.token_error = Some("invalid_grant".to_owned()));
                },
                exit: 77,
            },
            Wrong { what: "the key file is none", make: |harbour| write_private(&harbour.home.path().join("key.json"), "{}"), exit: 77 },
            Wrong {
                what: "the token endpoint is down",
                make: |harbour| {
                    let down = Some("temporarily_unavailable".to_owned());
                    harbour.sandbox.faults().change(|faults| faults.google_wallet.token_error = down);
                },
                exit: 69,
            },
            Wrong { what: "the issuer is another's", make: |harbour| replace(harbour, ISSUER, "3388000000099999999"), exit: 77 },
            Wrong { what: "there is no such class", make: |harbour| replace(harbour, "\"club\"", "\"clubb\""), exit: 69 },
        ],
    }
}

pub fn thewalletcrew() -> Entry {
    Entry {
        name: "thewalletcrew",
        plan: |plan| {
            of_another_kind(plan, "thewalletcrew")
                .platform("key", "{ file = \"secret\" }")
                .platform("tenant", "\"sandbox\"")
                .platform("identifier", "\"y2.customerId\"")
                .platform("pass_type", "\"loyalty\"")
                .feed("guard.created", "false")
                .feed("fields.\"additionalData.points\"", "\"points\"")
                .feed("fields.\"additionalData.tier\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("secret"), crate::rig::harbour::KEY);
            point(harbour, THEWALLETCREW);
            harbour.sandbox.faults().change(|faults| faults.thewalletcrew.delay_ms = 0);
        },
        seed: |harbour, names| {
            let pass = |name: &String| {
                json!({ "passType": "loyalty", "identifiers": { "y2.customerId": name }, "additionalData": { "name": "Ada" },
                    "metadata": { "storeId": "12" }, "secret": "planted-pass-secret-9Tz" })
            };
            harbour.sandbox.seed(THEWALLETCREW, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let pass = harbour.sandbox.pass(THEWALLETCREW, name)?;
            let shown = json!({ "data": pass["additionalData"], "metadata": pass["metadata"], "identifiers": pass["identifiers"] });
            Some(held(shown, "/data/points", "/data/tier"))
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PATCH"), Rule::id),
        expire: refuse_some_signatures,
        unfit: &[("points", "9007199254740993", "value-inexact")],
        misspelt: ("additionaldata.tier", "did you mean \"additionalData.tier\"?"),
        secrets: &["planted-pass-secret-9Tz"],
        adds: None,
        batches: None,
        excused: &[Excuse {
            case: "a_lost_answer_to_an_add_never_adds_twice",
            reason: "no call that adds is public",
            plan: |plan| plan.feed("operation", "\"earn\""),
            says: "which platform \"cards\" cannot do",
        }],
        wrong: &[
            Wrong { what: "the key is another", make: |harbour| write_private(&harbour.home.path().join("secret"), "another"), exit: 77 },
            Wrong {
                what: "the tenant is another's",
                make: |harbour| replace(harbour, "tenant = \"sandbox\"", "tenant = \"acme\""),
                exit: 77,
            },
            Wrong {
                what: "the key may read alone",
                make: |harbour| write_private(&harbour.home.path().join("secret"), "sandbox-read-key"),
                exit: 77,
            },
            Wrong {
                what: "no pass has such an identifier",
                make: |harbour| {
                    harbour.sandbox.seed(THEWALLETCREW, [json!({ "passType": "loyalty", "identifiers": { "crm.no": "1" } })]).unwrap();
                    replace(harbour, "y2.customerId", "y2.customer");
                },
                exit: 69,
            },
        ],
    }
}

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
        // A token ends between two batches: of what a platform says of the parts when it ends in one, nothing is agreed.
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.tills.token.calls = Some(12)),
        batches: Some(Batches::CountedOnce),
        wrong: &[],
        ..http()
    }
}

pub fn airship() -> Entry {
    Entry {
        name: "airship",
        plan: |plan| {
            of_another_kind(plan, "airship")
                .platform("template", "\"1001\"")
                .platform(
                    "auth",
                    "{ token_url = \"BASE/oauth2/token\", client_id = \"sandbox-client\", client_secret = { file = \"client\" } }",
                )
                .platform("fields.\"fields.Points\"", "{ kind = \"integer\", at = \"/fields/Points/value\", most = 100000 }")
                .platform("fields.\"headers.Tier\"", "{ at = \"/headers/Tier/value\", length_max = 60 }")
                .feed("fields.\"fields.Points\"", "\"points\"")
                .feed("fields.\"headers.Tier\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("client"), "sandbox:secret+/%");
            point(harbour, AIRSHIP);
        },
        seed: |harbour, names| {
            let pass = |name: &String| json!({ "externalId": name, "fields": { "Points": { "label": "P" }, "Kept": { "value": "1" } } });
            harbour.sandbox.seed(AIRSHIP, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let mut pass = harbour.sandbox.pass(AIRSHIP, name)?;
            let tier = text(&pass["headers"]["Tier"]["value"]);
            let Held { points, rest, .. } = held(pass["fields"].take(), "/Points/value", "/-");
            let kept = json!({ "Points": rest["Points"]["label"], "Kept": rest["Kept"] });
            Some(Held { points, tier, rest: kept })
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PUT"), Rule::id),
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.airship.token.calls = Some(13)),
        unfit: &[("points", "100001", "value-too-large"), ("tier", "LONG", "value-too-large"), ("id", ".", "mapping-error")],
        misspelt: ("headers", "headers.*"),
        secrets: &["sandbox:secret", "sbx."],
        adds: Some(Adds {
            plan: |plan| {
                plan.feed("fields.\"fields.Points\"", "")
                    .feed("fields.\"headers.Tier\"", "")
                    .feed("notify.message", "\"message\"")
                    .feed("notify.field", "\"alerts.News\"")
                    .feed("notify.kind", "\"transactional\"")
            },
            writes: |rule| rule.method("PUT"),
            effects: |harbour, name| {
                let shown = |entry: &passferry::sandbox::Entry| entry.external_id.as_deref() == Some(name) && entry.method == "PUT";
                let dropped = harbour
                    .sandbox
                    .faults()
                    .get()
                    .rules
                    .iter()
                    .any(|rule| rule.trouble == Trouble::DropBefore && rule.id.as_deref() == Some(name));
                harbour.sandbox.requests().select(shown).len() - usize::from(dropped)
            },
        }),
        batches: None,
        excused: &[
            Excuse {
                case: "an_upsert_issues_what_is_not_there",
                reason: "passes are made by links; no call that issues one by your identifier is in the contract",
                plan: |plan| plan.feed("operation", "\"upsert\""),
                says: "which platform \"cards\" cannot do",
            },
            Excuse {
                case: "an_empty_cell_clears_where_the_schema_says_so",
                reason: "what is left out stays, and no way to take a value away is documented",
                plan: |plan| plan.schema(super::cases::CLEARING),
                says: "the platform cannot clear this field",
            },
        ],
        wrong: &[
            Wrong {
                what: "the client's secret is another, or the region",
                make: |harbour| write_private(&harbour.home.path().join("client"), "another"),
                exit: 77,
            },
            Wrong {
                what: "the client lacks a right",
                make: |harbour| {
                    let forbidden = Trouble::Status { code: 403, message: Some("the client lacks a right".to_owned()) };
                    harbour.sandbox.faults().add(Rule::new(forbidden).method("PUT"));
                },
                exit: 77,
            },
            Wrong { what: "there is no such template", make: |harbour| replace(harbour, "\"1001\"", "\"4711\""), exit: 0 },
        ],
    }
}

/// What may be wrong with any of them.
pub fn nowhere() -> &'static [Wrong] {
    &NOWHERE
}
