//! A platform nobody has heard of, connected by its description in the configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use passferry::ledger::State;
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Asked, Reply, Vendor, World, reply};

const MOVEMENTS: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "tx", "type": "string" },
    { "name": "points", "type": "integer" },
    { "name": "tier", "type": "string" },
    { "name": "message", "type": "string" }
  ]
}
"#;

/// A feed of points and tiers to this platform; `how` describes its requests.
fn described(vendor: &Vendor, how: &str) -> Plan {
    harbour()
        .folder()
        .schema(MOVEMENTS)
        .platform("kind", "\"http\"")
        .platform("base_url", &format!("{:?}", vendor.url()))
        .platform("key", "")
        .platform("secret", "")
        .platform("program", "")
        .platform("auth", "{ header = \"X-Api-Key\", key = { file = \"secret\" } }")
        .platform("timeout", "\"2s\"")
        .platform("settling", "\"100ms\"")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.tier", "\"tier\"")
        .more(
            "[platform.cards.fields]\npoints = { kind = \"integer\", least = 0, most = 1000, balance = true }\ntier = { length_max = 8 }\n",
        )
        .more(how)
}

/// A row for each of `C-1` to `C-n`: its number as points, and a tier.
fn rows(passes: u32) -> String {
    let rows: Vec<String> = (1..=passes).map(|n| format!("C-{n},{n},t{n}\n")).collect();
    format!("id,points,tier\n{}", rows.concat())
}

/// A pass for each of `C-1` to `C-n`.
fn stock(vendor: &Vendor, passes: u32) {
    let mut world = vendor.world();
    for n in 1..=passes {
        world.passes.insert(format!("C-{n}"), json!({ "id": format!("p{n}"), "ref": format!("C-{n}"), "points": 0, "version": 1 }));
    }
}

const PATCH: &str = "[platform.cards.update]\nrequest = \"PATCH /passes/{{ external_id }}\"\nexternal_id = \"/ref\"\n";

/// Lays a body over a pass: the platform's own way of writing.
fn patch(world: &mut World, id: &str, body: &Value) -> Reply {
    match world.pass(id) {
        None => reply(404, &json!({ "error": "no such pass" })),
        Some(pass) => {
            for (name, value) in body.as_object().unwrap() {
                pass[name] = value.clone();
            }
            reply(200, pass)
        }
    }
}

fn by_path(world: &mut World, asked: &Asked) -> Reply {
    if asked.path == "/" {
        return reply(200, &json!({}));
    }
    let id = asked.behind("/passes/").unwrap_or_default();
    patch(world, &id, &asked.body)
}

#[test]
fn a_platform_nobody_has_heard_of_takes_a_file_and_answers_every_row() {
    let vendor = Vendor::start(|world, asked| {
        if asked.body["tier"] == "cursed" {
            return reply(422, &json!({ "problem": { "title": "tier is not for sale" } }));
        }
        by_path(world, asked)
    });
    stock(&vendor, 2);
    vendor.world().passes.insert("C/3 é?".to_owned(), json!({ "ref": "C/3 é?" }));
    let harbour = described(&vendor, PATCH)
        .platform("headers", "{ \"Api-Version\" = \"7\" }")
        .more("[platform.cards.answers]\nmessage = \"/problem/title\"\n")
        .start();
    harbour.deliver("one.csv", "id,points,tier\nC-1,5,gold\nC/3 é?,7,\nC-2,1,cursed\nC-9,1,a\nC-8,1001,a\nC-7,1,longer than it takes\n");
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    assert_eq!(ends, [("C-2", "refused"), ("C-9", "unresolved"), ("C-8", "rejected"), ("C-7", "rejected")], "{errors:?}");
    assert!(errors[0]["_problems"].contains("tier is not for sale"), "{errors:?}");
    {
        let world = vendor.world();
        assert_eq!(world.passes["C-1"]["points"], 5);
        assert_eq!(world.passes["C/3 é?"]["points"], 7, "an identifier is one segment of the path, whatever it holds");
        assert_eq!(world.writes().len(), 4, "what its limits forbid was never sent");
        assert!(world.seen.iter().all(|asked| asked.header("api-version") == "7"));
        assert!(world.seen.iter().all(|asked| asked.header("x-api-key") == crate::rig::harbour::SECRET));
        let third = world.seen.iter().find(|asked| asked.path == "/passes/C%2F3%20%C3%A9%3F").unwrap();
        assert_eq!(third.body, json!({ "points": 7 }), "an empty cell leaves its field alone");
    }
    // Only what changed is sent.
    harbour.deliver("two.csv", "id,points,tier\nC-1,5,silver\nC/3 é?,7,\n");
    harbour.once().exits(0);
    let world = vendor.world();
    assert_eq!(world.writes().len(), 5);
    assert_eq!(world.writes()[4].body, json!({ "tier": "silver" }));
    drop(world);
    check_promises(&harbour);
}

#[test]
fn a_whole_pass_is_read_changed_and_written_back_and_a_conflict_begins_anew() {
    let vendor = Vendor::start(|world, asked| match (&*asked.method, asked.behind("/passes/")) {
        ("GET", Some(id)) => world.pass(&id).map_or_else(|| reply(404, &json!({})), |pass| reply(200, &json!({ "data": pass }))),
        ("PUT", Some(id)) => {
            world.count += 1;
            let others = world.count == 1;
            let pass = world.passes.values_mut().find(|pass| pass["id"] == id.as_str()).unwrap();
            if others {
                // Another program was faster.
                pass["note"] = json!("by another");
                pass["version"] = json!(pass["version"].as_i64().unwrap() + 1);
            }
            if asked.body["version"].as_i64() <= pass["version"].as_i64() {
                return reply(409, &json!({ "error": "version must rise" }));
            }
            *pass = asked.body.clone();
            reply(200, pass)
        }
        _ => reply(200, &json!({})),
    });
    stock(&vendor, 1);
    let how = "[platform.cards.find]\nrequest = \"GET /passes/{{ external_id }}\"\npass = \"/data\"\npass_id = \"/id\"\nexternal_id = \"/ref\"\n\
               [platform.cards.update]\nrequest = \"PUT /passes/{{ pass_id }}\"\nwhole = \"\"\nbody = '{ \"version\": \"{{ found.version + 1 }}\" }'\n\
               headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }\npass_id = \"/id\"\n";
    let harbour = described(&vendor, how).start();
    harbour.deliver("one.csv", "id,points,tier\nC-1,5,gold\nC-2,5,gold\n");
    harbour.once().exits(1);
    assert_eq!(harbour.errors("one")[0]["_outcome"], "unresolved");
    let world = vendor.world();
    let expected = json!({ "id": "p1", "ref": "C-1", "points": 5, "version": 3, "note": "by another", "tier": "gold" });
    assert_eq!(world.passes["C-1"], expected, "what another program wrote meanwhile is kept");
    let keys: BTreeSet<&str> = world.writes().iter().map(|asked| asked.header("idempotency-key")).collect();
    assert_eq!(keys.len(), 2, "another body has another key");
    drop(world);
    check_promises(&harbour);
}

/// D18.
#[test]
fn an_answer_of_200_that_says_no_is_a_no_and_one_that_says_nothing_proves_nothing() {
    let vendor = Vendor::start(|world, asked| {
        let Some(id) = asked.behind("/passes/") else { return reply(200, &json!({ "ok": true })) };
        world.count += 1;
        match &*id {
            "C-1" => reply(200, &json!({ "ok": false, "why": "blocked" })),
            "C-2" => reply(200, &json!({ "ok": false, "why": "who?", "code": 17 })),
            "C-3" => reply(200, &json!({ "ref": "C-3" })),
            "C-4" => reply(200, &json!({ "ok": true, "ref": "C-5" })),
            "C-5" if world.count % 2 == 0 => reply(200, &json!({ "ok": false, "code": "BUSY" })),
            _ => reply(200, &json!({ "ok": true, "ref": id })),
        }
    });
    let answers = "[platform.cards.answers]\nsuccess = { at = \"/ok\", is = \"true\" }\nmessage = \"/why\"\n\
                   code = { at = \"/code\", not_found = \"17\", retry = \"BUSY\" }\n";
    let harbour = described(&vendor, &format!("{PATCH}{answers}")).start();
    harbour.deliver("one.csv", "id,points,tier\nC-1,5,a\nC-2,5,a\nC-3,5,a\nC-4,5,a\nC-5,5,a\nC-6,5,a\n");
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["_outcome"].as_str(), line["_codes"].as_str())).collect();
    let unread = ("refused", "answer-unreadable");
    assert_eq!(ends, [("refused", "update-rejected"), ("unresolved", "pass-not-found"), unread, unread], "{errors:?}");
    assert!(errors[0]["_problems"].contains("blocked"));
    check_promises(&harbour);
}

/// Passes are issued where there are none, and one that another program issued meanwhile is changed.
#[test]
fn upsert_issues_what_is_not_there_and_never_twice() {
    let vendor = Vendor::start(|world, asked| match (&*asked.method, asked.behind("/passes/")) {
        ("POST", None) if asked.path == "/passes" => {
            let id = asked.body["ref"].as_str().unwrap().to_owned();
            world.count += 1;
            if id == "C-3" && world.passes.insert(id.clone(), json!({ "id": "p3", "ref": "C-3" })).is_none() {
                return reply(409, &json!({ "error": "taken" }));
            }
            let mut pass = asked.body.clone();
            pass["id"] = json!(format!("p{}", world.count));
            world.passes.insert(id, pass.clone());
            reply(201, &pass)
        }
        ("PATCH", Some(id)) => patch(world, &id, &asked.body),
        _ => reply(200, &json!({})),
    });
    stock(&vendor, 1);
    let create = "[platform.cards.create]\nrequest = \"POST /passes\"\nbody = '{ \"ref\": \"{{ external_id }}\" }'\npass_id = \"/id\"\nrequires = [\"tier\"]\n";
    let harbour = described(&vendor, &format!("{PATCH}{create}")).feed("operation", "\"upsert\"").start();
    harbour.deliver("one.csv", "id,points,tier\nC-1,5,a\nC-2,6,b\nC-3,7,c\n");
    harbour.once().exits(0);
    let report = harbour.report("one");
    assert_eq!(report["rows"]["created"], 1, "{report}");
    assert_eq!(report["rows"]["applied"], 2, "{report}");
    let world = vendor.world();
    for (id, points) in [("C-1", 5), ("C-2", 6), ("C-3", 7)] {
        assert_eq!(world.passes[id]["points"], points, "{id}");
    }
    drop(world);
    check_promises(&harbour);
}

/// What takes adds and, where `keeps`, knows a key again.
fn till(keeps: bool) -> impl Fn(&mut World, &Asked) -> Reply {
    move |world, asked| {
        if let Some(reference) = asked.behind("/events?reference=") {
            let there = world.effects.contains_key(&reference);
            let events = if there { json!([{ "reference": "other" }, { "reference": reference }]) } else { json!([]) };
            return reply(200, &json!({ "events": events }));
        }
        let Some(id) = asked.behind("/earn/") else { return reply(200, &json!({})) };
        let key = asked.header("idempotency-key").to_owned();
        if let (true, Some((body, first))) = (keeps, world.answered.get(&key)) {
            return if *body == asked.raw { first.clone() } else { reply(409, &json!({ "error": "another body" })) };
        }
        if id == "C-2" {
            return reply(422, &json!({ "error": "closed" }));
        }
        *world.effects.entry(asked.body["key"].as_str().unwrap().to_owned()).or_default() += 1;
        let answer = reply(200, &json!({ "ref": id }));
        world.answered.insert(key, (asked.raw.clone(), answer.clone()));
        world.count += 1;
        // Every first answer is lost: the effect is there, and nobody is told.
        match world.count % 3 {
            0 => answer.cut(),
            1 => reply(500, &json!({})),
            _ => answer.text("{ \"ref\": "),
        }
    }
}

const EARN: &str = "[platform.cards.update]\nrequest = \"PATCH /passes/{{ id }}\"\n\
    [platform.cards.earn]\nrequest = \"POST /earn/{{ external_id }}\"\nbody = '{ \"delta\": \"{{ amount }}\", \"key\": \"{{ key }}\" }'\nexternal_id = \"/ref\"\n";

fn earning(vendor: &Vendor, more: &str) -> Harbour {
    let plan = described(vendor, &format!("{EARN}{more}")).feed("content", "\"delta\"").feed("operation", "\"earn\"");
    plan.feed("fields.tier", "").feed("add.transaction_id", "\"tx\"").start()
}

const EARNED: &str = "id,tx,points\nC-1,a,5\nC-2,b,6\nC-3,c,7\nC-4,d,8\n";

/// D1, D5: a key makes an add repeatable, so that nothing is left in doubt.
#[test]
fn an_add_whose_answer_was_lost_is_repeated_under_its_key_and_has_one_effect() {
    let vendor = Vendor::start(till(true));
    let harbour = earning(&vendor, "headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }\nkey_lifetime = \"24h\"\n");
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0]["id"].as_str(), errors[0]["_outcome"].as_str()), ("C-2", "refused"));
    harbour.elsewhere.replace(vendor.effects());
    let world = vendor.world();
    assert!(world.effects.len() == 3 && world.effects.values().all(|times| *times == 1), "{:?}", world.effects);
    let bodies: BTreeSet<(&str, &str)> = world.writes().iter().map(|asked| (asked.header("idempotency-key"), asked.raw.as_str())).collect();
    assert_eq!(bodies.len(), 4, "a key never comes with another body: {bodies:?}");
    drop(world);
    check_promises(&harbour);
}

/// A7: killed while the answer was awaited. The key still stands for the same add after the restart.
#[test]
fn an_add_that_was_on_its_way_when_the_program_was_killed_is_repeated_under_its_key() {
    let slow = till(true);
    let vendor = Vendor::start(move |world, asked| {
        let mut answer = slow(world, asked);
        let first = world.writes().len() == 1;
        answer.delay = Duration::from_secs(u64::from(first));
        answer
    });
    let harbour = earning(&vendor, "headers = { \"Idempotency-Key\" = \"{{ uuid }}\" }\nkey_lifetime = \"24h\"\n");
    harbour.deliver("one.csv", "id,tx,points\nC-1,a,5\n");
    let running = harbour.start(&["once"]);
    wait_until("the add is on its way", || !vendor.world().writes().is_empty());
    running.kill();
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("one.csv"), Some(State::Done));
    let world = vendor.world();
    assert!(world.effects.len() == 1 && world.effects.values().all(|times| *times == 1), "{:?}", world.effects);
    assert!(world.writes().len() >= 2);
    drop(world);
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

/// Section 6, negative control: without a key and without events every lost answer is in doubt, and nothing is sent twice.
#[test]
fn without_a_key_and_without_events_a_lost_add_is_in_doubt() {
    let vendor = Vendor::start(till(false));
    let harbour = earning(&vendor, "");
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let doubts = harbour.errors("one").iter().filter(|line| line["_outcome"] == "in-doubt").count();
    assert_eq!(doubts, 3);
    assert_eq!(vendor.world().writes().len(), 4, "each was sent once");
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

/// Section 6 b: a list of events tells what became of it.
#[test]
fn an_event_with_our_key_proves_that_a_lost_add_was_applied() {
    let vendor = Vendor::start(till(false));
    let look = "read_back = { request = \"GET /events?reference={{ key }}\", list = \"/events\", key = \"/reference\", absent = \"not-applied\" }\n";
    let harbour = earning(&vendor, look);
    harbour.deliver("one.csv", EARNED);
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(vendor.world().writes().len(), 4, "each was sent once");
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

const BATCH: &str = "[platform.cards.batch]\nrequest = \"POST /batch\"\nsize = 8\nitems = \"/items\"\nitem = '{ \"ref\": \"{{ external_id }}\" }'\nitem_id = \"/ref\"\n\
    results = \"/results\"\nresult_id = \"/ref\"\nstatus = \"/status\"\n";

/// D7: results are known by their identifier, never by their place.
#[test]
fn each_item_of_a_batch_has_its_own_outcome() {
    let vendor = Vendor::start(|world, asked| {
        if asked.path != "/batch" {
            return reply(200, &json!({}));
        }
        world.count += 1;
        let mut results = Vec::new();
        for item in asked.body["items"].as_array().unwrap() {
            let id = item["ref"].as_str().unwrap().to_owned();
            let (status, again) = match (&*id, world.count) {
                ("C-2", _) => (422, false),
                ("C-3", _) => (404, false),
                ("C-4", 1) => (503, false),
                ("C-5", 1) => continue,
                ("C-6", 1) => (200, true),
                _ => (200, false),
            };
            if status == 200 {
                world.passes.insert(id.clone(), item.clone());
            }
            let result = json!({ "ref": id, "status": status, "error": "so it is" });
            results.extend(std::iter::repeat_n(result, 1 + usize::from(again)));
        }
        results.push(json!({ "ref": "somebody else", "status": 200 }));
        results.reverse();
        reply(207, &json!({ "results": results }))
    });
    let harbour = described(&vendor, BATCH).start();
    harbour.deliver("one.csv", rows(8));
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    assert_eq!(ends, [("C-2", "refused"), ("C-3", "unresolved")], "{errors:?}");
    let world = vendor.world();
    for n in [1, 4, 5, 6, 7, 8] {
        assert_eq!(world.passes[&format!("C-{n}")], json!({ "ref": format!("C-{n}"), "points": n, "tier": format!("t{n}") }));
    }
    assert_eq!(world.writes().len(), 2, "only what was not decided was sent again");
    assert_eq!(world.writes()[1].body["items"].as_array().unwrap().len(), 3);
    drop(world);
    check_promises(&harbour);
}

/// D4: what a batch says of every item alike is no matter of the items, however the whole is answered.
#[test]
fn a_batch_that_says_later_of_every_item_pauses_the_run() {
    for (status, reason) in [(503, "status 207"), (401, "401")] {
        let vendor = Vendor::start(move |world, asked| {
            if asked.path != "/batch" {
                return if world.count > 0 { reply(200, &json!({})) } else { reply(503, &json!({})) };
            }
            let status = if world.count > 0 { 200 } else { status };
            let items = asked.body["items"].as_array().unwrap();
            let results: Vec<Value> = items.iter().map(|item| json!({ "ref": item["ref"], "status": status })).collect();
            if status == 200 {
                world.passes.extend(items.iter().map(|item| (item["ref"].as_str().unwrap().to_owned(), item.clone())));
            }
            reply(207, &json!({ "results": results }))
        });
        let harbour = described(&vendor, BATCH).platform("tries", "2").start();
        harbour.deliver("one.csv", rows(8));
        let ran = harbour.run(&["once", "--patience", "1500ms"]).exits(75);
        assert!(ran.err.contains(reason), "{status}: {}", ran.err);
        vendor.world().count = 1;
        harbour.once().exits(0);
        assert_eq!(vendor.world().passes.len(), 8);
        check_promises(&harbour);
    }
}

/// D8: halving finds the row for which the whole is refused.
#[test]
fn a_batch_that_is_refused_as_a_whole_is_halved_until_the_bad_row_stands_alone() {
    let vendor = Vendor::start(|world, asked| {
        if asked.path != "/batch" {
            return reply(200, &json!({}));
        }
        let items = asked.body["items"].as_array().unwrap();
        if items.iter().any(|item| item["ref"] == "C-5") {
            return reply(400, &json!({ "message": "items[4] is malformed" }));
        }
        world.count += items.len() as u64;
        let results: Vec<Value> = items.iter().map(|item| json!({ "ref": item["ref"], "status": 200 })).collect();
        reply(200, &json!({ "results": results }))
    });
    let harbour = described(&vendor, BATCH).start();
    harbour.deliver("one.csv", rows(8));
    harbour.once().exits(1);
    let errors = harbour.errors("one");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0]["id"].as_str(), errors[0]["_outcome"].as_str()), ("C-5", "refused"));
    assert!(errors[0]["_problems"].contains("malformed"));
    assert_eq!(vendor.world().count, 7, "the others were applied once");
    check_promises(&harbour);
}

/// D9: a token that is refused in the middle of a run is asked for once more, for all.
#[test]
fn a_token_is_asked_for_kept_and_renewed_when_it_is_refused() {
    let vendor = Vendor::start(|world, asked| {
        if asked.path == "/token" {
            world.count += 1;
            let form: BTreeSet<&str> = asked.raw.split('&').collect();
            assert_eq!(form, BTreeSet::from(["grant_type=client_credentials", "scope=a+b"]));
            assert!(asked.header("authorization").starts_with("Basic "), "{asked:?}");
            return reply(200, &json!({ "access_token": format!("t{}", world.count), "token_type": "Bearer", "expires_in": 3600 }));
        }
        let ended = world.writes().len() > 5 && asked.header("authorization") == "Bearer t1";
        if ended || !asked.header("authorization").starts_with("Bearer t") {
            return reply(401, &json!({ "error": "token ended" }));
        }
        by_path(world, asked)
    });
    stock(&vendor, 20);
    let auth = format!(
        "{{ token_url = \"{}/token\", client_id = \"acme\", client_secret = {{ file = \"secret\" }}, scope = \"a b\" }}",
        vendor.url()
    );
    let harbour = described(&vendor, PATCH).platform("auth", &auth).start();
    harbour.deliver("one.csv", rows(20));
    harbour.once().exits(0);
    let world = vendor.world();
    assert_eq!(world.count, 2, "one token, and one more");
    assert!((1..=20).all(|n| world.passes[&format!("C-{n}")]["points"] == n));
    drop(world);
    check_promises(&harbour);
}

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

/// A list is read to its end, whether its next page is an address or a mark; an address elsewhere is never asked.
#[test]
fn lists_are_read_page_by_page() {
    for (next, parameter) in [("/page?page=", ""), ("", "page")] {
        let vendor = Vendor::start(move |world, asked| {
            if let Some(id) = asked.behind("/passes/") {
                return patch(world, &format!("C-{}", id.trim_start_matches('p')), &asked.body);
            }
            let Some(page) = asked.path.strip_prefix("/page") else { return reply(200, &json!({})) };
            let page: usize = page.split_once("page=").map_or(1, |(_, page)| page.parse().unwrap());
            let items: Vec<Value> = world.passes.values().skip((page - 1) * 2).take(2).cloned().collect();
            let more = page * 2 < world.passes.len();
            reply(200, &json!({ "items": items, "next": if more { json!(format!("{next}{}", page + 1)) } else { Value::Null } }))
        });
        stock(&vendor, 7);
        let parameter = if parameter.is_empty() { String::new() } else { format!(", parameter = \"{parameter}\"") };
        let how = format!(
            "[platform.cards.find]\nrequest = \"GET /page?of={{{{ external_id }}}}\"\nlist = \"/items\"\nnext = {{ at = \"/next\"{parameter} }}\n\
             pass_id = \"/id\"\nexternal_id = \"/ref\"\n[platform.cards.update]\nrequest = \"PATCH /passes/{{{{ pass_id }}}}\"\n"
        );
        let harbour = described(&vendor, &how).start();
        harbour.deliver("one.csv", "id,points,tier\nC-7,7,a\nC-1,1,b\nC-9,9,c\n");
        harbour.once().exits(1);
        assert_eq!(harbour.report("one")["rows"], json!({ "applied": 2, "unresolved": 1 }));
        let world = vendor.world();
        assert_eq!((&world.passes["C-7"]["points"], &world.passes["C-1"]["points"]), (&json!(7), &json!(1)));
        drop(world);
        check_promises(&harbour);
    }
    let vendor = Vendor::start(|_, _| reply(200, &json!({ "items": [], "next": "https://elsewhere.example/page?2" })));
    let how = "[platform.cards.find]\nrequest = \"GET /page?of={{ external_id }}\"\nlist = \"/items\"\nnext = { at = \"/next\" }\npass_id = \"/id\"\n\
               [platform.cards.update]\nrequest = \"PATCH /passes/{{ pass_id }}\"\n";
    let harbour = described(&vendor, how).start();
    harbour.deliver("one.csv", rows(1));
    harbour.once().exits(1);
    assert_eq!(harbour.errors("one")[0]["_codes"], "answer-unreadable");
    check_promises(&harbour);
}
