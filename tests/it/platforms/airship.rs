//! Airship Wallet, by the description that comes with the program (contract, Airship).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rig::harbour::{Plan, SECRET, harbour};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Asked, Reply, Vendor, World, reply};

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "tx", "type": "string" },
    { "name": "points", "type": "integer" },
    { "name": "seat", "type": "string" },
    { "name": "places", "type": "string" },
    { "name": "message", "type": "string" }
  ]
}
"#;

/// What the contract says of the service: version header, credentials, one PUT that lays fields over a pass.
fn wallet(world: &mut World, asked: &Asked) -> Reply {
    if asked.path == "/token" {
        let form: BTreeSet<&str> = asked.raw.split('&').collect();
        let basic = openssl_basic("acme%3A1", SECRET);
        if asked.header("authorization") != basic || asked.header("accept") != "application/json" || !form.contains("scope=wpas") {
            return reply(401, &json!({ "error": "invalid_client" }));
        }
        return reply(200, &json!({ "access_token": "wallet-token", "token_type": "Bearer", "expires_in": 3600 }));
    }
    if asked.header("api-revision") != "1.2" {
        return reply(406, &json!({ "error": "Api-Revision" }));
    }
    let basic = openssl_basic("app-key", SECRET);
    if asked.header("authorization") != "Bearer wallet-token" && asked.header("authorization") != basic {
        return reply(401, &json!({ "error": "unauthorized" }));
    }
    let Some(id) = asked.behind("/v1/pass/template/4711/id/") else { return reply(404, &json!({})) };
    let Some(pass) = world.pass(&id) else { return reply(404, &json!({ "error": "no such pass" })) };
    for part in ["fields", "headers"] {
        for (name, values) in asked.body[part].as_object().into_iter().flatten() {
            for (of, value) in values.as_object().unwrap() {
                pass[part][name][of] = value.clone();
            }
        }
    }
    if !asked.body["locations"].is_null() {
        pass["locations"] = asked.body["locations"].clone();
    }
    reply(200, &Value::Null).text("")
}

fn openssl_basic(user: &str, password: &str) -> String {
    format!("Basic {}", openssl::base64::encode_block(format!("{user}:{password}").as_bytes()))
}

fn plan(vendor: &Vendor, auth: &str) -> Plan {
    vendor.world().passes.insert("C-1".to_owned(), json!({ "fields": { "Points": { "value": 1, "label": "P" } } }));
    harbour()
        .folder()
        .schema(SCHEMA)
        .platform("kind", "\"airship\"")
        .platform("base_url", &format!("\"{}/v1\"", vendor.url()))
        .platform("template", "\"4711\"")
        .platform("key", "")
        .platform("secret", "")
        .platform("program", "")
        .platform("auth", auth)
        .platform("fields.\"fields.Points\"", "{ kind = \"integer\", at = \"/fields/Points/value\" }")
        .feed("fields.points", "")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.\"fields.Points\"", "\"points\"")
        .feed("fields.\"headers.Seat No\"", "\"seat\"")
        .feed("fields.locations", "\"places\"")
}

#[test]
fn a_pass_is_updated_by_template_and_external_id_with_a_token() {
    let vendor = Vendor::start(wallet);
    let auth = format!("{{ token_url = \"{}/token\", client_id = \"acme:1\", client_secret = {{ file = \"secret\" }} }}", vendor.url());
    let harbour = plan(&vendor, &auth).start();
    harbour.deliver("one.csv", "id,points,seat,places\nC-1,120,12 A,\"[{\"\"latitude\"\":48.1,\"\"longitude\"\":2.2}]\"\nC-2,1,,\n");
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!((errors.len(), errors[0]["_outcome"].as_str()), (1, "unresolved"), "{errors:?}");
    let world = vendor.world();
    let expected = json!({
        "fields": { "Points": { "value": 120, "label": "P" } },
        "headers": { "Seat No": { "value": "12 A" } },
        "locations": [{ "latitude": 48.1, "longitude": 2.2 }],
    });
    assert_eq!(world.passes["C-1"], expected, "what an update leaves out stays");
    drop(world);
    check_promises(&harbour);
}

/// Contract, lock-screen text: it travels as a field's value, with the words in which the change is shown.
#[test]
fn a_notification_is_a_changed_field_with_its_change_message_and_is_sent_once() {
    let vendor = Vendor::start(|world, asked| {
        let answer = wallet(world, asked);
        if asked.raw.contains("changeMessage") { answer.cut() } else { answer }
    });
    let plan = plan(&vendor, "{ user = \"app-key\", password = { file = \"secret\" } }").feed("add.transaction_id", "\"tx\"");
    let plan = plan.feed("notify.message", "\"message\"").feed("notify.field", "\"alerts.News\"").feed("notify.kind", "\"transactional\"");
    let harbour = plan.platform("settling", "\"50ms\"").start();
    harbour.deliver("one.csv", "id,tx,points,message\nC-1,a,5,Sale today\n");
    harbour.once().exits(1);
    assert_eq!(harbour.errors("one")[0]["_outcome"], "in-doubt", "nothing tells whether it was shown");
    let world = vendor.world();
    assert_eq!(world.passes["C-1"]["fields"]["News"], json!({ "changeMessage": "%@", "value": "Sale today" }));
    assert_eq!(world.writes().iter().filter(|asked| asked.raw.contains("changeMessage")).count(), 1);
    drop(world);
    check_promises(&harbour);
}
