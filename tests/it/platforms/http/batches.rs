//! Many passes a request.

use serde_json::{Value, json};

use super::{described, rows};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Vendor, reply};

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
