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

/// What `validate` is told beside the file, and its exit code.
fn how(path: &str) -> (Vec<String>, i32) {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let file = path.rsplit('/').next().unwrap();
    if let Some(stem) = path.strip_prefix("cards/") {
        let faulty = stem.ends_with(".faulty.csv");
        let schema = format!("../schemas/{}.json", stem.trim_end_matches(".csv").trim_end_matches(".faulty"));
        return (words(&["--schema", &schema]), if faulty { 65 } else { 0 });
    }
    let (told, exit): (&[&str], i32) = match file {
        "campaign_double-points.csv" => (&["--schema", "../schemas/campaign-text.json"], 0),
        "loyalty_clean.csv" => (&["--schema", "../schemas/loyalty-card.json"], 0),
        "loyalty_every-row-fault.csv" | "loyalty_unclosed-quote.csv" => (&["--schema", "../schemas/loyalty-card.json"], 65),
        "crew-passes-20250801-083000.csv" => (&["--feed", "gift-cards", "--config", "passferry.toml"], 0),
        "evening.wallet_update" => (&["--feed", "vibes", "--config", "passferry.toml"], 0),
        other => panic!("nobody says what {other} is for"),
    };
    (words(told), exit)
}

/// What stands in the repository is right as it is, and there is nothing in it that nobody reads.
#[test]
fn every_sample_is_what_it_is_said_to_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let run = |args: &[String]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_passferry")).args(args).current_dir(&root).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let mut folders = vec![root.clone()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("toml") => {
                    let (exit, told) = run(&["check".to_owned(), "--config".to_owned(), name.clone()]);
                    assert_eq!(exit, Some(0), "{name}: {told}");
                }
                // The template of Apple passes, dialects and keys, which check reads with their configurations; the ready feeds' files and
                // what monitoring reads, which have tests of their own.
                _ if name.starts_with("apple/")
                    || name.starts_with("grafana/")
                    || name.starts_with("prometheus/")
                    || name.starts_with("dialects/")
                    || name.starts_with("keys/")
                    || name.contains("/inbox/") => {}
                Some("json") => drop(passferry::schema::Schema::parse(&std::fs::read_to_string(&path).unwrap()).unwrap()),
                _ => {
                    let (mut args, wanted) = how(&name);
                    args.splice(0..0, ["validate".to_owned(), name.clone()]);
                    let (exit, told) = run(&args);
                    assert_eq!(exit, Some(wanted), "{name}: {told}");
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
    // The file that the sample of Google Wallet says it fits.
    let google = ["validate", "cards/gift-card.csv", "--feed", "cards", "--config", "google-wallet.toml"].map(str::to_owned);
    let (exit, told) = run(&google);
    assert_eq!(exit, Some(0), "{told}");
}
