//! A platform nobody has heard of, connected by its description in the configuration.

mod adds;
mod batches;
mod operations;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rig::harbour::{Plan, harbour};
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
