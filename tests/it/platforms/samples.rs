//! The worked examples of `samples/platforms/`, as they stand but for address and credentials, against the sandbox's stand-ins.

use std::path::Path;

use passferry::sandbox::{PASSENTRY, Rule, TILLS, Trouble, tills};
use serde_json::json;

use crate::rig::harbour::{Harbour, harbour, write_private};
use crate::rig::promises::check_promises;

/// A harbour that runs an example at a stand-in: these addresses of it become the stand-in's, and its secret is this one.
fn example(name: &str, platform: &str, addresses: &[(&str, &str)], secret: &str) -> Harbour {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/platforms");
    let harbour = harbour().folder().unmodelled().start();
    std::fs::copy(folder.join("passes.json"), harbour.home.path().join("passes.json")).unwrap();
    write_private(&harbour.home.path().join("example-secret"), secret);
    let mut text = std::fs::read_to_string(folder.join(name)).unwrap();
    for (from, behind) in addresses {
        assert!(text.contains(from), "{name} does not hold {from}");
        text = text.replace(from, &format!("{}{behind}", harbour.sandbox.base_url_of(platform)));
    }
    let (before, rest) = text.split_once("{ env = ").unwrap();
    let (_, rest) = rest.split_once('}').unwrap();
    let text = format!("{before}{{ file = \"example-secret\" }}{rest}");
    let quick = "inbox = \"in\"\nquiet = \"150ms\"\nguard = { first_file = false }\n";
    let text = text.replace("path = \"files\"", "path = \"server\"\npoll = \"1s\"").replace("inbox = \"passes\"\n", quick);
    harbour.change_config(|_| text);
    harbour
}

#[test]
fn the_example_of_one_patch_for_everything_runs() {
    let harbour = example("passentry.toml", PASSENTRY, &[("https://api.passentry.com/api/v1", "/api/v1")], "sandbox-key");
    harbour.sandbox.seed(PASSENTRY, [json!({ "extId": "C-1" }), json!({ "extId": "C 2 é" })]).unwrap();
    harbour.deliver("passes_1.csv", "id,transaction_id,points,tier,message\nC-1,a,120,gold,\nC 2 é,b,7,,\nC-9,c,1,gold,\n");
    harbour.once().exits(1);
    let errors = harbour.errors("passes_1");
    assert_eq!((errors.len(), errors[0]["_outcome"].as_str()), (1, "unresolved"), "{errors:?}");
    let content = |id: &str| harbour.sandbox.pass(PASSENTRY, id).unwrap()["attributes"]["passContent"].clone();
    assert_eq!(content("C-1"), json!({ "points": { "value": 120 }, "tier": { "value": "gold" } }));
    assert_eq!(content("C 2 é"), json!({ "points": { "value": 7 } }));
    check_promises(&harbour);
}

/// D1, D5, D12: lost answers of earns, lost answers of writes, and another program that was faster.
#[test]
fn the_example_of_keys_runs() {
    let harbour = example("keys.toml", TILLS, &[("https://wallet.example.com/partner", "")], "sandbox-key");
    harbour.sandbox.seed(TILLS, (1..=4).map(|n| json!({ "reference": format!("C-{n}"), "fields": { "design": "blue" } }))).unwrap();
    harbour.sandbox.faults().change(|faults| {
        faults.tills.auth = tills::Auth::ApiKey;
        faults.rules.push(Rule::new(Trouble::DropAfter).id("C-1").method("PUT").next(1));
        faults.rules.push(Rule::new(Trouble::DropAfter).id("C-1").path("credit").next(1));
        faults.rules.push(Rule::new(Trouble::answer(504, "{}")).id("C-2").path("credit").next(1));
        faults.rules.push(Rule::new(Trouble::TruncatedBody).id("C-3").path("credit").next(1));
    });
    harbour.deliver("passes_1.csv", "id,tier\nC-1,gold\nC-2,silver\n");
    harbour.once().exits(0);
    let pass = |id: &str| harbour.sandbox.pass(TILLS, id).unwrap();
    assert_eq!(pass("C-1")["fields"], json!({ "design": "blue", "tier": "gold" }), "what is not mapped is kept");
    assert_eq!(pass("C-1")["version"], 2, "a write whose answer was lost is not carried out twice");
    harbour.deliver("points_1.csv", "id,transaction_id,points\nC-1,a,5\nC-1,b,7\nC-2,c,1\nC-3,d,2\nC-9,e,3\n");
    harbour.once().exits(1);
    let errors = harbour.errors("points_1");
    assert_eq!((errors.len(), errors[0]["_outcome"].as_str()), (1, "unresolved"), "{errors:?}");
    let balances: Vec<f64> = ["C-1", "C-2", "C-3"].iter().map(|id| pass(id)["balance"].as_f64().unwrap()).collect();
    assert_eq!(balances, [12.0, 1.0, 2.0]);
    check_promises(&harbour);
}

/// D7: results in another order, some refused, some to be tried again.
#[test]
fn the_example_of_a_batch_runs() {
    let harbour = example("batch.toml", TILLS, &[("https://api.bulk.example.com", "")], "sandbox-secret");
    harbour.sandbox.seed(TILLS, (1..=250).map(|n| json!({ "reference": format!("C-{n}") }))).unwrap();
    harbour.sandbox.faults().change(|faults| {
        faults.tills.auth = tills::Auth::Oauth2;
        faults.tills.batch_status = 207;
        faults.rules.push(Rule::new(Trouble::Status { code: 503, message: None }).id("C-7").next(1));
        faults.rules.push(Rule::new(Trouble::Status { code: 422, message: Some("no such tier".to_owned()) }).id("C-8"));
    });
    let rows: Vec<String> = (1..=251).map(|n| format!("C-{n},{n},t{n}\n")).collect();
    harbour.deliver("passes_1.csv", format!("id,points,tier\n{}", rows.concat()));
    harbour.once().exits(1);
    let errors = harbour.errors("passes_1");
    let ends: Vec<(&str, &str)> = errors.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    assert_eq!(ends, [("C-8", "refused"), ("C-251", "unresolved")], "{errors:?}");
    assert!(errors[0]["_problems"].contains("no such tier"), "{errors:?}");
    for n in (1..=250).filter(|n| *n != 8) {
        let fields = harbour.sandbox.pass(TILLS, &format!("C-{n}")).unwrap()["fields"].clone();
        assert_eq!(fields, json!({ "points": n, "tier": format!("t{n}") }), "C-{n}");
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
    assert_eq!(count, 4);
}
