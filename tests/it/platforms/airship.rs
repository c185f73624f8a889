//! Airship Wallet, by the description that comes with the program, against the sandbox's stand-in (contract, Airship).

use passferry::sandbox::{AIRSHIP, Rule, Trouble};
use serde_json::json;

use crate::rig::harbour::{Harbour, harbour, write_private};
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "tx", "type": "string" },
    { "name": "points", "type": "integer" },
    { "name": "seat", "type": "string" },
    { "name": "until", "type": "date" },
    { "name": "places", "type": "string" },
    { "name": "message", "type": "string" }
  ]
}
"#;

/// Passes of one template; `auth` names where the stand-in's secret is.
fn account(template: &str, auth: &str, secret: &str, more: &[(&str, &str)]) -> Harbour {
    let mut plan = harbour()
        .folder()
        .schema(SCHEMA)
        .platform("kind", "\"airship\"")
        .platform("base_url", "\"http://127.0.0.1:1/v1\"")
        .platform("template", &format!("{template:?}"))
        .platform("key", "")
        .platform("secret", "")
        .platform("program", "")
        .platform("auth", auth)
        .platform("settling", "\"5s\"")
        .platform("fields.\"fields.Points\"", "{ kind = \"integer\", at = \"/fields/Points/value\" }")
        .platform("fields.\"fields.expirationDate\"", "{ kind = \"date\", at = \"/fields/expirationDate/value\" }")
        .feed("fields.points", "")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.\"fields.Points\"", "\"points\"")
        .feed("fields.\"fields.expirationDate\"", "\"until\"")
        .feed("fields.\"headers.Seat No\"", "\"seat\"")
        .feed("fields.locations", "\"places\"");
    for (key, value) in more {
        plan = plan.feed(key, value);
    }
    let harbour = plan.start();
    write_private(&harbour.home.path().join("airship"), secret);
    let base = harbour.sandbox.base_url_of(AIRSHIP);
    harbour.change_config(|text| {
        text.replace("http://127.0.0.1:1/v1", &format!("{base}/v1")).replace("TOKENS", &format!("{base}/oauth2/token"))
    });
    harbour
}

const TOKEN: &str = "{ token_url = \"TOKENS\", client_id = \"sandbox-client\", client_secret = { file = \"airship\" } }";
const BASIC: &str = "{ user = \"sandbox-key\", password = { file = \"airship\" } }";

/// The secret has letters that must be URL-encoded before they go into the Basic header of the token request.
#[test]
fn a_pass_is_updated_by_template_and_external_id_with_a_token() {
    let harbour = account("1002", TOKEN, "sandbox:secret+/%", &[]);
    let kept = json!({ "Points": { "value": 1, "label": "P" } });
    let passes = [json!({ "externalId": "C-1", "template": "1002", "fields": kept }), json!({ "externalId": "C/3 é", "template": "1002" })];
    harbour.sandbox.seed(AIRSHIP, passes).unwrap();
    harbour.sandbox.seed(AIRSHIP, [json!({ "externalId": "C-4", "template": "1002", "installed": false })]).unwrap();
    harbour.sandbox.faults().change(|faults| faults.airship.token.calls = Some(2));
    let places = "\"[{\"\"latitude\"\":48.1,\"\"longitude\"\":2.2}]\"";
    harbour.deliver("one.csv", format!("id,points,seat,until,places\nC-1,120,12 A,2026-12-31,{places}\nC/3 é,7,,,\nC-2,1,,,\nC-4,1,,,\n"));
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    assert_eq!(ends, [("C-2", "unresolved"), ("C-4", "unresolved")], "{errors:?}");
    let pass = harbour.sandbox.pass(AIRSHIP, "1002/C-1").or_else(|| harbour.sandbox.pass(AIRSHIP, "C-1")).unwrap();
    let fields = json!({ "Points": { "value": 120, "label": "P" }, "expirationDate": { "value": "2026-12-31" } });
    assert_eq!(pass["fields"], fields, "what an update leaves out stays");
    assert_eq!(pass["headers"], json!({ "Seat No": { "value": "12 A" } }));
    assert_eq!(pass["locations"], json!([{ "latitude": 48.1, "longitude": 2.2 }]));
    check_promises(&harbour);
}

/// Contract, lock-screen text: it travels as a field's value, with the words in which the change is shown. Nothing tells afterwards
/// whether it was shown, so that a lost answer is in doubt.
#[test]
fn a_notification_is_a_changed_field_with_its_change_message_and_is_sent_once() {
    let notify = [
        ("add.transaction_id", "\"tx\""),
        ("notify.message", "\"message\""),
        ("notify.field", "\"alerts.News\""),
        ("notify.kind", "\"transactional\""),
        ("fields.locations", ""),
    ];
    let harbour = account("1001", BASIC, "sandbox-secret", &notify);
    harbour.sandbox.seed(AIRSHIP, ["C-1", "C-2"].map(|id| json!({ "externalId": id }))).unwrap();
    harbour.deliver("one.csv", "id,tx,message\nC-1,a,Sale today\n");
    harbour.once().exits(0);
    let news = |id: &str| {
        harbour.sandbox.pass(AIRSHIP, &format!("1001/{id}")).or_else(|| harbour.sandbox.pass(AIRSHIP, id)).unwrap()["fields"]["News"]
            .clone()
    };
    assert_eq!(news("C-1"), json!({ "changeMessage": "%@", "value": "Sale today" }));
    harbour.sandbox.faults().change(|faults| faults.rules.push(Rule::new(Trouble::DropAfter).id("C-2").next(1)));
    harbour.deliver("two.csv", "id,tx,message\nC-2,b,Sale today\n");
    harbour.once().exits(1);
    assert_eq!(harbour.errors("two")[0]["_outcome"], "in-doubt");
    assert_eq!(news("C-2")["value"], "Sale today");
    let sent = harbour.sandbox.requests().select(|entry| entry.path.contains("C-2")).len();
    assert_eq!(sent, 1, "it was sent once");
    check_promises(&harbour);
}
