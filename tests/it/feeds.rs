//! The ready feeds of `samples/feeds/`, each with a file in its exporter's own form, and what `guess` makes of these files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use passferry::sandbox::Issue;
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, harbour, write_private};
use crate::rig::promises::check_promises;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/feeds").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(fs::copy(entry.path(), to).is_ok()) }
    }
}

/// Runs a ready feed as it stands, but for address, credentials and patience, with these passes at the platform.
fn ferried(name: &str, passes: &[&str]) -> Harbour {
    let harbour = harbour().folder().unmodelled().start();
    harbour.sandbox.issue(passes.iter().map(|id| Issue { external_id: (*id).to_owned(), ..Issue::default() })).unwrap();
    fs::copy(folder(name).join("schema.json"), harbour.home.path().join("schema.json")).unwrap();
    write_private(&harbour.home.path().join("key"), crate::rig::harbour::KEY);
    let text = fs::read_to_string(folder(name).join("feed.toml")).unwrap();
    let change = [
        ("\"http://127.0.0.1:8910\"", format!("{:?}", harbour.sandbox.base_url())),
        ("{ env = \"PASSKIT_KEY\" }", "{ file = \"key\" }".to_owned()),
        ("{ env = \"PASSKIT_SECRET\" }", "{ file = \"secret\" }".to_owned()),
        ("path = \".\"", "path = \"server\"\npoll = \"1s\"".to_owned()),
        ("inbox = \"inbox\"", "inbox = \"in\"\nquiet = \"150ms\"\nguard = { first_file = false }".to_owned()),
    ];
    let text = change.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} does not hold {from}");
        text.replace(from, to)
    });
    harbour.change_config(|_| text);
    copy(&folder(name).join("inbox"), &harbour.inbox());
    harbour.once().exits(0);
    harbour
}

/// How the rows of the one run ended.
fn rows(harbour: &Harbour) -> Value {
    let runs = harbour.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let told = harbour.told(&["show", &runs[0].id, "--json"]);
    told["rows"].clone()
}

fn points(harbour: &Harbour, ids: &[&str]) -> Vec<f64> {
    ids.iter().map(|id| harbour.points(id)).collect()
}

fn meta(harbour: &Harbour, id: &str, key: &str) -> Value {
    harbour.sandbox.member(id).unwrap()["metaData"][key].clone()
}

const MEMBERS: [&str; 3] = ["000123", "000124", "000125"];

/// Of an export in two parts.
const ALL: [&str; 5] = ["000123", "000124", "000125", "000126", "000127"];

#[test]
fn snowflake_quoted_with_a_header() {
    let harbour = ferried("snowflake", &ALL);
    assert_eq!(points(&harbour, &ALL), [1250.0, 0.0, 310.0, 75.0, 1020.0]);
    assert_eq!(rows(&harbour), json!({ "applied": 5 }));
    assert_eq!(meta(&harbour, "000123", "tier_label"), json!("gold member"));
    check_promises(&harbour);
}

#[test]
fn snowflake_with_its_defaults() {
    let harbour = ferried("snowflake-defaults", &ALL);
    assert_eq!(points(&harbour, &ALL), [1250.0, 0.0, 310.0, 75.0, 1020.0]);
    assert_eq!(rows(&harbour), json!({ "applied": 5 }));
    assert_eq!(harbour.sandbox.member("000124").unwrap()["person"]["displayName"], json!("O'Brien, Pat"));
    check_promises(&harbour);
}

#[test]
fn marketing_cloud_without_header_and_quotes() {
    let harbour = ferried("marketing-cloud", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.0, 0.0, 310.0]);
    assert!(meta(&harbour, "000125", "last_purchase").as_str().unwrap().contains("2026-11-19"));
    check_promises(&harbour);
}

#[test]
fn marketing_cloud_in_utf_16_with_consent() {
    let harbour = ferried("marketing-cloud-utf16", &MEMBERS);
    assert_eq!(meta(&harbour, "000123", "campaign_text"), json!("Double points until Sunday"));
    assert_ne!(meta(&harbour, "000124", "campaign_text"), json!("Ein Gruß aus Köln"), "without consent nothing is said");
    check_promises(&harbour);
}

#[test]
fn klaviyo_with_thousands_and_apostrophes() {
    let ids = ["01H8XYZ0ABCDEF", "01H8XYZ0ABCDEG", "01H8XYZ0ABCDEH"];
    let harbour = ferried("klaviyo", &ids);
    assert_eq!(points(&harbour, &ids), [1250.0, 0.0, 310.0]);
    check_promises(&harbour);
}

#[test]
fn adobe_campaign_with_decimal_commas() {
    let ids = ["124365", "123545", "123546"];
    let harbour = ferried("adobe-campaign", &ids);
    assert_eq!(points(&harbour, &ids), [1250.5, 0.0, 310.25]);
    assert_eq!(meta(&harbour, "124365", "campaign_text"), json!("Your double points end on Sunday"));
    check_promises(&harbour);
}

#[test]
fn actito_in_its_archive() {
    let harbour = ferried("actito", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.5, 0.0, 310.25]);
    assert_eq!(meta(&harbour, "000123", "segments"), json!("vip,summer"));
    check_promises(&harbour);
}

/// One point for each currency unit or part of it: 19.00 and 0.50 of one customer are 19 and 1, 19.01 of the other are 20.
#[test]
fn ecwid_orders_earn_points_once() {
    let ids = ["208541983", "208541984"];
    let harbour = ferried("ecwid-orders", &ids);
    assert_eq!(points(&harbour, &ids), [20.0, 20.0]);
    let (name, content) = ("orders_again.csv", fs::read_to_string(folder("ecwid-orders").join("inbox/orders_2026-11-20.csv")).unwrap());
    harbour.deliver(
        name,
        content + "ORD-1004,1004,208541984,pat@example.com,2026-11-21 08:00:00 +0000,AWAITING_PAYMENT,50.00,\"1 x Grinder\"\n",
    );
    harbour.once().exits(0);
    assert_eq!(points(&harbour, &ids), [20.0, 20.0], "what was exported before adds nothing, and what is not paid neither");
    check_promises(&harbour);
}

#[test]
fn ecwid_customers_get_club_cards() {
    let harbour = ferried("ecwid-customers", &["208541983"]);
    assert_eq!(rows(&harbour), json!({ "applied": 1, "created": 1 }));
    assert_eq!(harbour.sandbox.member("208541984").unwrap()["person"]["displayName"], json!("O'Brien, Pat"));
    check_promises(&harbour);
}

#[test]
fn shopify_without_its_apostrophes() {
    let harbour = ferried("shopify", &["7210448301122", "7210448301123"]);
    assert_eq!(meta(&harbour, "7210448301122", "total_spent"), json!("7790.44"));
    check_promises(&harbour);
}

#[test]
fn tills_with_a_count_at_the_end() {
    let harbour = ferried("tills", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [20.0, 1008.0, 0.0]);
    check_promises(&harbour);
}

#[test]
fn excel_in_western_europe() {
    let harbour = ferried("excel-windows-1252", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.5, 0.0, 310.25]);
    check_promises(&harbour);
}

#[test]
fn excel_as_unicode_text() {
    let harbour = ferried("excel-unicode-text", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.0, 0.0, 0.0]);
    check_promises(&harbour);
}

fn passferry(args: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_passferry")).args(args).current_dir(folder).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Files of the ready feeds, without markers and manifests.
fn samples() -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if name == "members_000000000001.csv" {
                // A header and nothing else: there is nothing to guess from.
            } else if !matches!(&*name, "feed.toml" | "schema.json") && !name.starts_with('_') && !name.ends_with("manifest") {
                found.insert(entry.path());
            }
        }
    }
    found.into_iter().collect()
}

/// What `guess` writes reads the file it was made from without a change, as many records as the ready feed finds, and no value is refused.
#[test]
fn a_guess_reads_its_sample_without_an_edit() {
    let mut seen = 0;
    for sample in samples() {
        let home = tempfile::tempdir().unwrap();
        let (exit, told) = passferry(&["guess", &sample.display().to_string(), "--name", "made", "--out", "."], home.path());
        assert_eq!(exit, Some(0), "{}: {told}", sample.display());
        let feed = fs::read_to_string(home.path().join("made.feed.toml")).unwrap();
        // What only the person knows: where files come from and where passes are.
        let config = format!(
            "state = \"state\"\n[source.here]\nkind = \"folder\"\npath = \".\"\n[platform.cards]\nkind = \"passkit\"\nregion = \"pub1\"\n\
             key = {{ env = \"K\" }}\nsecret = {{ env = \"S\" }}\nprogram = \"p\"\n{}",
            feed.replace("\"SOURCE\"", "\"here\"").replace("\"PLATFORM\"", "\"cards\"").replace("\"COLUMN\"", "\"points\"")
        );
        fs::write(home.path().join("passferry.toml"), &config).unwrap();
        let args = ["validate", &sample.display().to_string(), "--feed", "made", "--json", "--config", "passferry.toml"];
        let (exit, told) = passferry(&args, home.path());
        assert_eq!(exit, Some(0), "{}: {told}\n{config}", sample.display());
        let summary: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        let ready = sample.ancestors().find(|folder| folder.join("feed.toml").exists()).unwrap();
        let wanted = passferry(&["validate", &sample.display().to_string(), "--feed", "loyalty", "--json", "--config", "feed.toml"], ready);
        let wanted: Value = serde_json::from_str(wanted.1.lines().last().unwrap()).unwrap();
        assert_eq!(summary["records"], wanted["records"], "{}", sample.display());
        seen += 1;
    }
    assert!(seen >= 18, "{seen}");
}

/// Files that exist stay as they are.
#[test]
fn a_guess_overwrites_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("loyalty.json"), "mine").unwrap();
    fs::write(home.path().join("loyalty_1.csv"), "id,points\nC-1,5\n").unwrap();
    let (exit, told) = passferry(&["guess", "loyalty_1.csv", "--out", "."], home.path());
    assert_eq!(exit, Some(2), "{told}");
    assert_eq!(fs::read_to_string(home.path().join("loyalty.json")).unwrap(), "mine");
    assert!(!home.path().join("loyalty.feed.toml").exists());
}

/// Redshift unloads with ESCAPE: backslashes have a meaning, and quotes have none. Either alone would read a part of the records.
#[test]
fn a_guess_finds_escapes_beside_quotes_that_mean_nothing() {
    let home = tempfile::tempdir().unwrap();
    let records = ["C-1|say \\|hi\\||5", "C-2|the \"best\" 5\" screen|6", "C-3|5\" and a \\| more|7", "C-4|plain|8"];
    fs::write(home.path().join("unloaded.txt"), format!("id|name|points\n{}\n", records.join("\n"))).unwrap();
    let (exit, told) = passferry(&["guess", "unloaded.txt", "--out", "new/folder"], home.path());
    assert_eq!(exit, Some(0), "{told}");
    let feed = fs::read_to_string(home.path().join("new/folder/unloaded.feed.toml")).unwrap();
    assert!(feed.contains("quote = \"none\"") && feed.contains("escape = '\\'"), "{feed}");
    assert!(!told.contains("broken"), "{told}");
}

/// A day and a month that could be either are not guessed.
#[test]
fn what_the_cells_leave_open_is_asked_and_not_decided() {
    let home = tempfile::tempdir().unwrap();
    let file = "member_id,birthday,bonus\nC-1,05/06/1990,\"1,250\"\nC-2,07/08/1991,\"2,500\"\n";
    fs::write(home.path().join("loyalty.csv"), file).unwrap();
    let (exit, told) = passferry(&["guess", "loyalty.csv", "--json"], home.path());
    assert_eq!(exit, Some(0), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let column = |index: usize| &told["columns"][index];
    assert_eq!((&column(1)["type"], &column(1)["certainty"]), (&json!("string"), &json!("open")));
    assert_eq!((&column(2)["groupChar"], &column(2)["certainty"]), (&json!(","), &json!("open")));
    fs::write(home.path().join("clear.csv"), file.replace("07/08/1991", "27/08/1991")).unwrap();
    let told: Value = serde_json::from_str(&passferry(&["guess", "clear.csv", "--json"], home.path()).1).unwrap();
    assert_eq!(told["columns"][1]["format"], json!("%d/%m/%Y"));
}

/// What a person reads.
#[test]
fn a_guess_says_how_sure_it_is_and_why() {
    let told = ["Kunden.csv", "points_20261120.csv", "data_0_0_0.csv.gz"].map(|name| {
        let sample = samples().into_iter().find(|path| path.ends_with(name)).unwrap();
        passferry(&["guess", name], sample.parent().unwrap()).1
    });
    insta::assert_snapshot!(told.join("\n----\n"));
}

/// What exporters and spreadsheets do to files is named where it shows.
#[test]
fn the_habit_behind_a_problem_is_named() {
    let home = tempfile::tempdir().unwrap();
    let schema = r#"{"fields": [{"name": "id"}, {"name": "points", "type": "integer"}, {"name": "tier"}]}"#;
    fs::write(home.path().join("schema.json"), schema).unwrap();
    let file = "id,points,tier\nC-1,\\N,gold\nC-2,NULL,gold\n=\"000124\",5,gold\nC-3,5,Pat, Sons\nTotal: 4\n";
    fs::write(home.path().join("export.csv"), file).unwrap();
    let (exit, told) = passferry(&["validate", "export.csv", "--schema", "schema.json"], home.path());
    assert_eq!(exit, Some(65), "{told}");
    insta::assert_snapshot!(told, @r#"
    export.csv:2 (record 1) points: type-error is not an integer [\N] (suggestion: Snowflake, Redshift and MySQL write `\N` for "no value": add "\\N" to the missingValues of the field or the schema)
    export.csv:3 (record 2) points: type-error is not an integer [NULL] (suggestion: database tools write `NULL` for "no value": add "NULL" to the missingValues of the field or the schema)
    export.csv:4 (record 3) id: stray-quote A quote stands inside an unquoted cell. [="000124"] (suggestion: Export the value itself: tools for spreadsheets write ="…" so that leading zeros stay.)
    export.csv:5 (record 4): extra-cell the record has 4 cells, the header 3 [•••] (suggestion: quote cells that hold the delimiter: an extract of Marketing Cloud has to be "text qualified")
    export.csv:6 (record 5) points: missing-cell the record has 1 cell, the header 3 (suggestion: if this line is a trailer, describe it in dialect.footer; if it is a title, count it in dialect.preamble)
    export.csv:6 (record 5) tier: missing-cell the record has 1 cell, the header 3
    export.csv: not valid, 5 of 5 records rejected
               1  extra-cell
               2  missing-cell
               1  stray-quote
               2  type-error
    "#);
}

/// Sets: several files are one run.
#[test]
fn bigquery_in_shards_one_of_them_empty() {
    let harbour = ferried("bigquery", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.0, -5.0, 310.0]);
    assert_eq!(rows(&harbour), json!({ "applied": 3 }));
    check_promises(&harbour);
}

#[test]
fn redshift_with_its_manifest() {
    let harbour = ferried("redshift", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.0, 0.0, 310.0]);
    assert_eq!(harbour.sandbox.member("000124").unwrap()["person"]["displayName"], json!("Pat | Sons"));
    assert_eq!(rows(&harbour), json!({ "applied": 3 }));
    check_promises(&harbour);
}

#[test]
fn databricks_as_a_folder_of_parts() {
    let harbour = ferried("databricks", &MEMBERS);
    assert_eq!(points(&harbour, &MEMBERS), [1250.0, 1000.0, 310.0]);
    assert_eq!(rows(&harbour), json!({ "applied": 3 }));
    check_promises(&harbour);
}
