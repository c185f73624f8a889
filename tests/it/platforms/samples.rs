//! The worked examples of `samples/platforms/`, as they stand but for the address: each connects a platform without code.

use std::path::Path;

use serde_json::json;

use crate::rig::harbour::{Harbour, SECRET, harbour};
use crate::rig::promises::check_promises;
use crate::rig::vendor::{Vendor, reply};

/// A harbour that runs an example with these texts of it replaced.
fn example(name: &str, changes: &[(&str, &str)]) -> Harbour {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/platforms");
    let harbour = harbour().folder().unmodelled().start();
    std::fs::copy(folder.join("passes.json"), harbour.home.path().join("passes.json")).unwrap();
    let mut text = std::fs::read_to_string(folder.join(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} does not hold {from}");
        text = text.replace(from, to);
    }
    let quick = "quiet = \"150ms\"\nguard = { first_file = false }\npattern = ";
    let text = text.replace("path = \"files\"", "path = \"server/in\"\npoll = \"1s\"").replace("pattern = ", quick);
    harbour.change_config(|_| text);
    harbour
}

#[test]
fn the_example_of_one_patch_for_everything_runs() {
    let vendor = Vendor::start(|world, asked| {
        let Some(id) = asked.behind("/api/v1/passes/") else { return reply(200, &json!({})) };
        if asked.header("authorization") != format!("Bearer {SECRET}") {
            return reply(401, &json!({ "error": "no" }));
        }
        let Some(pass) = world.pass(&id) else { return reply(404, &json!({ "message": "no such pass" })) };
        for (name, field) in asked.body["pass"].as_object().into_iter().flatten() {
            pass[name] = field["value"].clone();
        }
        if !asked.body["message"].is_null() {
            pass["told"] = asked.body["message"].clone();
        }
        reply(200, &json!({ "data": { "id": "u-1", "type": "pass", "attributes": { "extId": id } } }))
    });
    vendor.world().passes.insert("C-1".to_owned(), json!({}));
    let url = format!("{}/api/v1", vendor.url());
    let harbour = example("passentry.toml", &[("https://api.passentry.com/api/v1", &url), ("{ env = \"PASSENTRY_TOKEN\" }", "{ file = \"secret\" }")]);
    harbour.deliver("passes_1.csv", "id,transaction_id,points,tier,message\nC-1,a,120,gold,Welcome\nC-2,b,1,gold,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.errors("passes_1")[0]["_outcome"], "unresolved");
    assert_eq!(vendor.world().passes["C-1"], json!({ "points": 120, "tier": "gold", "told": "Welcome" }));
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

/// Every first answer of an earn is lost, and none is in doubt.
#[test]
fn the_example_of_keys_runs() {
    let vendor = Vendor::start(|world, asked| {
        if asked.header("x-partner") != "acme" || asked.header("x-api-key") != SECRET {
            return reply(401, &json!({ "message": "no" }));
        }
        let path = asked.behind("/partner/passes/").unwrap_or_default();
        let key = asked.header("idempotency-key").to_owned();
        if let Some((body, first)) = world.answered.get(&key) {
            return if *body == asked.raw { first.clone() } else { reply(409, &json!({ "message": "another body" })) };
        }
        let answer = match (&*asked.method, path.strip_prefix("ref:")) {
            ("GET", Some(id)) => return world.pass(id).map_or_else(|| reply(404, &json!({})), |pass| reply(200, pass)),
            ("PUT", None) => {
                let Some(pass) = world.passes.values_mut().find(|pass| pass["id"] == path.as_str()) else { return reply(404, &json!({})) };
                if asked.body["version"].as_i64() <= pass["version"].as_i64() {
                    return reply(409, &json!({ "message": "version" }));
                }
                *pass = asked.body.clone();
                reply(200, pass)
            }
            ("POST", Some(rest)) => {
                let id = rest.strip_suffix("/points").unwrap();
                let Some(pass) = world.pass(id) else { return reply(404, &json!({})) };
                pass["points"] = json!(pass["points"].as_i64().unwrap_or(0) + asked.body["delta"].as_i64().unwrap());
                *world.effects.entry(asked.body["reference"].as_str().unwrap().to_owned()).or_default() += 1;
                reply(200, &json!({}))
            }
            _ => return reply(200, &json!({ "name": "Acme" })),
        };
        world.answered.insert(key, (asked.raw.clone(), answer.clone()));
        if asked.method == "POST" { answer.cut() } else { answer }
    });
    vendor.world().passes.insert("C-1".to_owned(), json!({ "id": "p1", "reference": "C-1", "version": 4, "design": "blue" }));
    let url = format!("{}/partner", vendor.url());
    let harbour = example("keys.toml", &[("https://wallet.example.com/partner", &url), ("{ env = \"WALLET_KEY\" }", "{ file = \"secret\" }")]);
    harbour.deliver("passes_1.csv", "id,points,tier\nC-1,100,gold\n");
    harbour.once().exits(0);
    let expected = json!({ "id": "p1", "reference": "C-1", "version": 5, "design": "blue", "points": 100, "tier": "gold" });
    assert_eq!(vendor.world().passes["C-1"], expected);
    harbour.deliver("points_1.csv", "id,transaction_id,points\nC-1,a,5\nC-1,b,7\nC-2,c,1\n");
    harbour.once().exits(1);
    assert_eq!(harbour.errors("points_1").len(), 1, "only the pass that is not there");
    assert_eq!(vendor.world().passes["C-1"]["points"], 112);
    harbour.elsewhere.replace(vendor.effects());
    check_promises(&harbour);
}

#[test]
fn the_example_of_a_batch_runs() {
    let vendor = Vendor::start(|world, asked| {
        if asked.path == "/token" {
            return reply(200, &json!({ "access_token": "t", "token_type": "bearer", "expires_in": 600 }));
        }
        if asked.header("authorization") != "Bearer t" {
            return reply(401, &json!({}));
        }
        if asked.path != "/passes/batch" {
            return reply(200, &json!({}));
        }
        world.count += 1;
        let mut results = Vec::new();
        for item in asked.body["items"].as_array().unwrap() {
            let id = item["ref"].as_str().unwrap().to_owned();
            if id == "C-9" {
                results.push(json!({ "ref": id, "status": 200, "error": { "code": "NO_SUCH_PASS", "text": "unknown" } }));
            } else if id == "C-2" && world.count == 1 {
                results.push(json!({ "ref": id, "status": 200, "error": { "code": "LOCKED" } }));
            } else {
                world.passes.insert(id.clone(), item["values"].clone());
                results.push(json!({ "ref": id, "status": 200 }));
            }
        }
        results.reverse();
        reply(200, &json!({ "results": results }))
    });
    let changes = [
        ("https://api.bulk.example.com", vendor.url()),
        ("https://login.bulk.example.com/token", format!("{}/token", vendor.url())),
        ("{ env = \"BULK_SECRET\" }", "{ file = \"secret\" }".to_owned()),
    ];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let harbour = example("batch.toml", &changes);
    harbour.deliver("passes_1.csv", "id,points,tier\nC-1,1,a\nC-2,2,b\nC-9,3,c\nC-3,4,d\n");
    harbour.once().exits(1);
    let errors = harbour.errors("passes_1");
    assert_eq!((errors.len(), errors[0]["id"].as_str(), errors[0]["_outcome"].as_str()), (1, "C-9", "unresolved"), "{errors:?}");
    for (n, tier) in [(1, "a"), (2, "b")] {
        assert_eq!(vendor.world().passes[&format!("C-{n}")], json!({ "points": n, "tier": tier }));
    }
    check_promises(&harbour);
}

/// What stands in the repository is right as it is.
#[test]
fn every_example_is_a_configuration_without_faults() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/platforms");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "toml") {
            passferry::config::load(&entry.path()).unwrap_or_else(|faults| panic!("{faults}"));
            count += 1;
        }
    }
    assert_eq!(count, 3);
}
