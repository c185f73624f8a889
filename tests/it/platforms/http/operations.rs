//! Words to the holder, and what ends a pass.

use serde_json::json;

use super::{PATCH, by_path, described, stock};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Vendor, reply};

/// D24: a word to the holder is sent once, at the place where the platform takes it.
#[test]
fn a_notification_is_an_add_of_its_own() {
    let vendor = Vendor::start(|world, asked| {
        let id = asked.behind("/passes/").unwrap_or_default();
        if !asked.body["push"].is_null() {
            world.count += 1;
            return reply(200, &json!({ "ref": id }));
        }
        by_path(world, asked)
    });
    stock(&vendor, 2);
    let how = format!(
        "news = {{ at = \"/push/text\", alert = true }}\n{PATCH}[platform.cards.notify]\nrequest = \"POST /passes/{{{{ external_id }}}}\"\nbody = '{{ \"push\": {{ \"kind\": \"{{{{ field }}}}\" }} }}'\n"
    );
    let plan = described(&vendor, &how).feed("add.transaction_id", "\"tx\"").feed("notify.message", "\"message\"");
    let harbour = plan.feed("notify.field", "\"news\"").feed("notify.kind", "\"transactional\"").start();
    harbour.deliver(
        "one.csv",
        "id,tx,points,tier,message\nC-1,a,1,t,Hello \"you\"\nC-2,b,2,t,\n".replace("Hello \"you\"", "\"Hello \"\"you\"\"\""),
    );
    harbour.once().exits(0);
    let world = vendor.world();
    assert_eq!(world.count, 1);
    let told = world.writes().into_iter().find(|asked| asked.method == "POST").unwrap();
    assert_eq!(told.body, json!({ "push": { "kind": "news", "text": "Hello \"you\"" } }));
    drop(world);
    check_promises(&harbour);
}

const ENDS: &str = r#"[platform.cards.update]
request = "PATCH /passes/{{ external_id }}"
[platform.cards.expire]
request = "POST /passes/{{ external_id }}/end"
body = '{ "at": "{{ now }}" }'
external_id = "/ref"
[platform.cards.void]
request = "DELETE /passes/{{ external_id }}"
[platform.cards.redeem]
request = "POST /passes/{{ external_id }}/redeem"
body = '{ "receipt": "{{ key }}" }'
external_id = "/ref"
"#;

/// What ends a pass: by a date, for good, and once. Each is lost on the way the first time, but for what is sent once.
#[test]
fn passes_are_expired_voided_and_redeemed() {
    let vendor = Vendor::start(|world, asked| {
        let Some(rest) = asked.behind("/passes/") else { return reply(200, &json!({})) };
        let (id, act) = rest.split_once('/').map_or((rest.clone(), asked.method.clone()), |(id, act)| (id.to_owned(), act.to_owned()));
        world.count += 1;
        let lost = act != "redeem" && world.count % 2 == 1;
        if let Some(receipt) = asked.body["receipt"].as_str() {
            *world.effects.entry(receipt.to_owned()).or_default() += 1;
        }
        let Some(pass) = world.pass(&id) else { return reply(404, &json!({ "error": "no such pass" })) };
        pass["state"] = json!(act);
        let answer = reply(200, &pass.clone());
        if act == "DELETE" {
            world.passes.remove(&id);
        }
        if lost { answer.cut() } else { answer }
    });
    stock(&vendor, 4);
    let harbour = described(&vendor, ENDS)
        .feed("operation", "{ column = \"tier\" }")
        .feed("fields.tier", "")
        .feed("content", "\"delta\"")
        .feed("add.transaction_id", "\"tx\"")
        .start();
    harbour.deliver("one.csv", "id,tier,tx\nC-1,expire,\nC-2,void,\nC-3,redeem,a\nC-9,expire,\nC-8,void,\nC-7,redeem,b\n");
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    // What is to be gone and is not there is gone.
    assert_eq!(ends, [("C-9", "unresolved"), ("C-7", "unresolved")], "{errors:?}");
    let world = vendor.world();
    assert_eq!((&world.passes["C-1"]["state"], &world.passes["C-3"]["state"]), (&json!("end"), &json!("redeem")));
    assert!(!world.passes.contains_key("C-2"));
    let ended = world.writes().into_iter().find(|asked| asked.path == "/passes/C-1/end").unwrap();
    assert!(ended.body["at"].as_str().unwrap().ends_with('Z') && ended.body.get("tier").is_none(), "{}", ended.raw);
    drop(world);
    harbour.elsewhere.replace(vendor.effects().into_iter().filter(|(_, times)| *times > 0).collect());
    harbour.deliver("two.csv", "id,tier,tx\n\nC-3,redeem,a\n");
    harbour.once();
    assert!(vendor.effects().iter().all(|(_, times)| *times == 1), "{:?}", vendor.effects());
}
