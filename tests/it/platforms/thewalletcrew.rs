//! The Wallet Crew, against the stand-in that was written from the contract alone.

use std::collections::BTreeMap;

use passferry::ledger::State;
use passferry::sandbox::thewalletcrew::{Ambiguous, DuplicateCreate, ErrorBody, Knobs, Merge, Nulls, Numbers};
use passferry::sandbox::{Latency, Rule, THEWALLETCREW, Trouble};
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, KEY, Plan, harbour, wait_until, write_private};
use crate::rig::promises::check_promises;

const OWN_SECRET: &str = "planted-pass-secret-9Tz";

/// A feed of the vendor's own files. Passes `C-1` to `C-9` hold a balance, a store and a name.
fn plan() -> Plan {
    let plan = harbour().folder().unmodelled();
    let without = ["schema", "pass", "operation", "fields.points", "fields.\"metaData.tier\"", "fields.\"person.emailAddress\""];
    let plan = without.into_iter().fold(plan, |plan, key| plan.feed(key, ""));
    let plan = plan.feed("format", "\"thewalletcrew\"").platform("secret", "").platform("program", "");
    plan.platform("kind", "\"thewalletcrew\"").platform("tenant", "\"sandbox\"").platform("identifier", "\"y2.customerId\"")
}

/// A feed of one's own files, with a schema and a mapping.
fn own(plan: Plan) -> Plan {
    let plan = plan.feed("format", "").feed("schema", "\"schema.json\"").feed("pass", "{ external_id = \"id\" }");
    plan.feed("fields.\"additionalData.points\"", "\"points\"").feed("fields.\"additionalData.tier\"", "\"tier\"")
}

fn start(plan: Plan, knobs: impl FnOnce(&mut Knobs)) -> Harbour {
    let harbour = plan.start();
    harbour.change_config(|text| {
        text.replace(&format!("{:?}", harbour.sandbox.base_url()), &format!("{:?}", harbour.sandbox.base_url_of(THEWALLETCREW)))
    });
    let passes = (1..=9).map(|n| {
        json!({ "id": format!("Pass{n:07}"), "secret": OWN_SECRET, "identifiers": { "y2.customerId": format!("C-{n}"), "crm.no": format!("{n}") },
            "additionalData": { "balance": "41.50", "name": "Ada" }, "metadata": { "storeId": "12" } })
    });
    harbour.sandbox.seed(THEWALLETCREW, passes).unwrap();
    harbour.sandbox.faults().change(|faults| {
        faults.thewalletcrew.delay_ms = 0;
        knobs(&mut faults.thewalletcrew);
    });
    harbour
}

fn data(harbour: &Harbour, name: &str) -> Value {
    harbour.sandbox.pass(THEWALLETCREW, name).unwrap_or_else(|| panic!("no pass {name}"))["additionalData"].clone()
}

fn rows(harbour: &Harbour, stem: &str) -> Value {
    harbour.report(stem)["rows"].clone()
}

#[track_caller]
fn check(harbour: &Harbour) {
    assert!(!harbour.said().contains(OWN_SECRET), "the secret of a pass is in the log");
    for entry in std::fs::read_dir(harbour.state()).into_iter().flatten().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(OWN_SECRET.len()).any(|window| window == OWN_SECRET.as_bytes()), "the secret of a pass is in the ledger");
    }
    check_promises(harbour);
}

#[test]
fn the_file_that_is_uploaded_there_today_works_as_it_is_and_every_row_has_an_answer() {
    let harbour = start(plan(), |_| ());
    let file = "id.y2.customerId;additionalData.balance;metadata.storeId\nC-1;58.20;14\nC-404;1;1\n;5;5\nC-2;\"0; 50\";\n";
    harbour.deliver("crm-passes-20250801-083000.csv", file);
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "crm-passes-20250801-083000"), json!({ "applied": 2, "rejected": 1, "unresolved": 1 }));
    assert_eq!(data(&harbour, "C-1"), json!({ "balance": "58.20", "name": "Ada" }));
    assert_eq!(data(&harbour, "C-2")["balance"], "0; 50");
    assert_eq!(harbour.sandbox.pass(THEWALLETCREW, "C-2").unwrap()["metadata"]["storeId"], "12", "an empty cell changes nothing");
    let codes: BTreeMap<String, String> =
        harbour.errors("crm-passes-20250801-083000").into_iter().map(|line| (line["_line"].clone(), line["_codes"].clone())).collect();
    assert_eq!(codes, BTreeMap::from([("3".into(), "pass-not-found".into()), ("4".into(), "constraint-error".into())]));

    // The report, corrected, comes back; columns that somebody added in the spreadsheet are nobody's fields.
    let sheet = String::from_utf8(harbour.read("reports/crm-passes-20250801-083000.errors.csv")).unwrap();
    let added = |line: &str| line.replace("C-404;", "C-3;").replacen(";5;5;", "C-4;5;5;", 1);
    let with = |(index, line): (usize, &str)| format!("{}{}", added(line), if index == 0 { ";additionalData.note" } else { ";seen" });
    let fixed = sheet.lines().enumerate().map(with).collect::<Vec<_>>().join("\n");
    harbour.deliver("crm-passes-20250801-083000.errors.csv", fixed.replace("\n;5", "\nC-4;5"));
    harbour.once().exits(0);
    assert_eq!((&data(&harbour, "C-3")["balance"], &data(&harbour, "C-4")["balance"]), (&json!("1"), &json!("5")));
    assert!(data(&harbour, "C-3").get("note").is_none());
    check(&harbour);
}

#[test]
fn other_columns_than_before_hold_the_file_and_another_order_of_them_does_not() {
    let harbour = start(plan().feed("guard.first_file", "true"), |_| ());
    harbour.deliver("1.csv", "id.y2.customerId,additionalData.balance,metadata.storeId\nC-1,1,2\n");
    harbour.once().exits(1);
    assert_eq!((harbour.state_of("1.csv"), harbour.writes().len()), (Some(State::Held), 0));
    assert!(harbour.report("1.held").to_string().contains("first-file"));
    harbour.run(&["approve", "1.csv"]).exits(0);
    harbour.once().exits(0);
    harbour.deliver("2.csv", "metadata.storeId;id.y2.customerId;additionalData.balance\n3;C-1;4\n");
    harbour.once().exits(0);
    assert_eq!(data(&harbour, "C-1")["balance"], "4");
    harbour.deliver("3.csv", "id.y2.customerId,additionalData.balance,additionalData.name\nC-1,5,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("3.csv"), Some(State::Held));
    assert!(harbour.report("3.held").to_string().contains("changed-feed"));
    assert_eq!(data(&harbour, "C-1")["balance"], "4");
    harbour.run(&["discard", "3.csv"]).exits(0);
    harbour.once();
    check(&harbour);
}

#[test]
fn a_misspelt_column_fails_the_file_with_the_right_spelling() {
    let harbour = start(plan(), |_| ());
    harbour.deliver("wrong.csv", "id.y2.customerId,additionaldata.balance\nC-1,1\n");
    harbour.once().exits(65);
    let report = harbour.report("wrong").to_string();
    assert!(report.contains("did you mean \\\"additionalData.balance\\\"") && report.contains("extra-label"), "{report}");
    assert!(harbour.tree().contains(&".error/wrong.csv".to_owned()), "{:?}", harbour.tree());
    assert_eq!(harbour.sandbox.requests().all().len(), 0);
    check(&harbour);
}

#[test]
fn further_identifiers_of_a_row_must_all_be_the_passes_own() {
    for look in ["true", "false"] {
        let harbour = start(plan().platform("look_first", look), |_| ());
        harbour.deliver("ids.csv", "id.y2.customerId,id.crm.no,additionalData.balance\nC-1,1,7\nC-2,3,7\nC-3,,7\n");
        harbour.once().exits(1);
        assert_eq!(rows(&harbour, "ids"), json!({ "applied": 2, "unresolved": 1 }), "look_first = {look}");
        assert_eq!((&data(&harbour, "C-2")["balance"], &data(&harbour, "C-3")["balance"]), (&json!("41.50"), &json!("7")));
        check(&harbour);
    }
}

#[test]
fn passes_can_be_named_by_the_platforms_own_id() {
    let harbour = start(plan().platform("identifier", ""), |_| ());
    harbour.deliver("ids.csv", "id,additionalData.balance\nPass0000001,7\nNobody00001,7\nno,7\n");
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "ids"), json!({ "applied": 1, "rejected": 1, "unresolved": 1 }));
    assert_eq!(data(&harbour, "C-1")["balance"], "7");
    check(&harbour);
}

/// Contract 1.7: one identifier with several passes is reported, whatever the platform would do.
#[test]
fn an_identifier_of_several_passes_changes_none_of_them() {
    for ambiguous in [Ambiguous::All, Ambiguous::First, Ambiguous::Refused] {
        let harbour = start(plan(), |knobs| knobs.ambiguous = ambiguous);
        let twin = json!({ "id": "Twin00000001", "identifiers": { "y2.customerId": "C-1" }, "additionalData": { "balance": "9" } });
        harbour.sandbox.seed(THEWALLETCREW, [twin]).unwrap();
        harbour.deliver("two.csv", "id.y2.customerId,additionalData.balance\nC-1,1\nC-2,1\n");
        harbour.once().exits(1);
        assert_eq!(rows(&harbour, "two"), json!({ "applied": 1, "unresolved": 1 }));
        assert_eq!(harbour.errors("two")[0]["_codes"], "pass-ambiguous");
        assert_eq!((&data(&harbour, "Twin00000001")["balance"], &data(&harbour, "Pass0000001")["balance"]), (&json!("9"), &json!("41.50")));
        check(&harbour);
    }
}

/// Contract 5: every switch that the adapter has no setting for is no matter to it.
#[test]
fn what_the_contract_leaves_open_between_equals_makes_no_difference() {
    let switches: [fn(&mut Knobs); 4] = [
        |knobs| (knobs.success, knobs.nested_identifiers) = (200, true),
        |knobs| (knobs.success, knobs.error_body) = (204, ErrorBody::Empty),
        |knobs| (knobs.error_body, knobs.numbers) = (ErrorBody::Text, Numbers::AsText),
        |knobs| (knobs.error_body, knobs.nulls) = (ErrorBody::Html, Nulls::Store),
    ];
    for switch in switches {
        let harbour = start(plan(), switch);
        harbour
            .sandbox
            .faults()
            .change(|faults| faults.rules = vec![Rule::new(Trouble::Status { code: 400, message: None }).method("PATCH").id("C-2")]);
        harbour.deliver("open.csv", "id.y2.customerId,additionalData.balance\nC-1,7\nC-2,7\nC-404,7\n");
        harbour.once().exits(1);
        assert_eq!(rows(&harbour, "open"), json!({ "applied": 1, "refused": 1, "unresolved": 1 }));
        harbour.sandbox.faults().change(|faults| faults.rules.clear());
        check(&harbour);
    }
}

#[test]
fn a_type_that_updates_must_name_is_named_where_the_account_says_so() {
    let typed = plan().platform("pass_type", "\"loyalty\"").platform("type_in_updates", "true");
    let harbour = start(typed, |knobs| knobs.pass_type_required = true);
    harbour.deliver("typed.csv", "id.y2.customerId,additionalData.balance\nC-1,7\n");
    harbour.once().exits(0);
    assert_eq!(data(&harbour, "C-1")["balance"], "7");
    check(&harbour);
}

#[test]
fn upsert_issues_what_is_not_there_and_never_twice_when_the_answer_is_lost() {
    for duplicate in [DuplicateCreate::NewId, DuplicateCreate::Conflict, DuplicateCreate::SameId] {
        let upsert = plan().feed("operation", "\"upsert\"").feed("guard.created", "false").platform("pass_type", "\"loyalty\"");
        let harbour = start(upsert, |knobs| knobs.duplicate_create = duplicate);
        harbour.sandbox.faults().change(|faults| faults.rules = vec![Rule::new(Trouble::DropAfter).method("POST").id("N-2").next(1)]);
        harbour.deliver("new.csv", "id.y2.customerId,additionalData.balance\nN-1,1\nN-2,2\nC-1,3\n");
        harbour.once().exits(0);
        assert_eq!(rows(&harbour, "new"), json!({ "applied": 1, "created": 2 }));
        assert_eq!(harbour.sandbox.count(THEWALLETCREW), 11);
        for (name, balance) in [("N-1", "1"), ("N-2", "2"), ("C-1", "3")] {
            assert_eq!(data(&harbour, name)["balance"], balance);
        }
        check(&harbour);
    }
}

const SCHEMA: &str = r#"{ "fieldsMatch": "superset", "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "number" },
    { "name": "tier", "type": "string", "x-passferry": { "empty": "clear" } } ] }"#;

#[test]
fn a_feed_of_ones_own_sends_numbers_as_its_schema_has_them_and_clears() {
    for (values, held) in [("typed", json!(12.5)), ("text", json!("12.5"))] {
        let harbour = start(own(plan()).schema(SCHEMA).platform("values", &format!("{values:?}")), |_| ());
        harbour.deliver("a.csv", "id,points,tier\nC-1,12.50,gold\nC-2,0.12345678901234567891,x\n");
        harbour.once();
        harbour.deliver("b.csv", "id,tier\nC-1,\n");
        harbour.once().exits(0);
        assert_eq!(data(&harbour, "C-1"), json!({ "balance": "41.50", "name": "Ada", "points": held }));
        let refused = if values == "typed" { "value-inexact" } else { "" };
        assert_eq!(harbour.errors("a").first().map_or("", |line| line["_codes"].as_str()), refused, "found before anything was sent");
        check(&harbour);
    }
}

#[test]
fn where_an_update_replaces_blocks_nothing_else_in_them_is_lost() {
    let block =
        own(plan()).schema(SCHEMA).platform("merge", "\"block\"").platform("confirm", "\"read\"").feed("duplicates", "\"in-order\"");
    let harbour = start(block, |knobs| (knobs.merge, knobs.delay_ms) = (Merge::ReplaceBlock, 100));
    harbour.deliver("a.csv", "id,points,tier\nC-1,1,\nC-1,,gold\n");
    harbour.once().exits(0);
    assert_eq!(data(&harbour, "C-1"), json!({ "balance": "41.50", "name": "Ada", "points": 1, "tier": "gold" }));
    check(&harbour);
}

/// Contract 2.4: updates wait in a queue, and two of one pass may change places there.
#[test]
fn rows_of_one_pass_end_with_the_last_where_each_is_read_back() {
    let ordered = plan().platform("confirm", "\"read\"").feed("duplicates", "\"in-order\"").feed("content", "\"delta\"");
    let harbour = start(ordered, |knobs| (knobs.disordered, knobs.delay_ms) = (true, 150));
    harbour.deliver("a.csv", "id.y2.customerId,additionalData.balance\nC-1,1\nC-1,2\nC-1,3\n");
    harbour.once().exits(0);
    assert_eq!((data(&harbour, "C-1")["balance"].clone(), rows(&harbour, "a")), (json!("3"), json!({ "applied": 3 })));
    check(&harbour);
}

/// A row that a firewall before the platform dislikes is refused alone.
#[test]
fn a_403_of_one_row_is_that_rows() {
    let harbour = start(plan().platform("tries", "2"), |_| ());
    harbour.sandbox.faults().change(|faults| faults.rules = vec![Rule::new(Trouble::Blocked { code: 403 }).method("PATCH").id("C-9")]);
    let lines = (1..=9).map(|n| format!("C-{n},{n}\n")).collect::<Vec<_>>().concat();
    harbour.deliver("odd.csv", format!("id.y2.customerId,additionalData.balance\n{lines}"));
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "odd"), json!({ "applied": 8, "refused": 1 }));
    check(&harbour);
}

/// Contract 2.1: keys are rotated by overlap, and one that ended is nobody's row's fault. The new one is taken up from its file.
#[test]
fn a_key_that_is_rotated_in_mid_run_pauses_it_until_the_new_one_is_there() {
    let harbour = start(plan().platform("key", "{ file = \"key\" }").platform("in_flight", "1"), |_| ());
    let key = harbour.home.path().join("key");
    write_private(&key, KEY);
    harbour.sandbox.faults().change(|faults| faults.latency = Latency::Fixed { ms: 30 });
    let lines = (1..=9).map(|n| format!("C-{n},{n}\n")).collect::<Vec<_>>().concat();
    harbour.deliver("many.csv", format!("id.y2.customerId,additionalData.balance\n{lines}"));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes().len() > 1);
    write_private(&key, "the one that ended");
    wait_until("the run is paused", || harbour.state_of("many.csv") == Some(State::Paused));
    assert!(harbour.run_of("many.csv").detail.cause.is_some_and(|cause| cause.contains("401")));
    write_private(&key, KEY);
    wait_until("the file is done", || harbour.state_of("many.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(rows(&harbour, "many"), json!({ "applied": 9 }));
    check(&harbour);
}

/// Contract 2.11, 3: whether null takes a value away is not public; where it does not, an empty text may.
#[test]
fn a_value_is_cleared_by_an_empty_text_where_the_account_says_so() {
    let harbour = start(own(plan()).schema(SCHEMA).platform("clear", "\"empty\""), |knobs| knobs.nulls = Nulls::Ignore);
    harbour.deliver("a.csv", "id,points,tier\nC-1,1,gold\n");
    harbour.once().exits(0);
    harbour.deliver("b.csv", "id,points,tier\nC-1,1,\n");
    harbour.once().exits(0);
    assert_eq!(data(&harbour, "C-1"), json!({ "balance": "41.50", "name": "Ada", "points": 1, "tier": "" }));
    check(&harbour);
}

#[test]
fn the_baseline_is_read_from_the_platform_so_that_the_first_file_sends_what_differs() {
    let harbour = start(plan().feed("guard.first_file", "true").platform("page_size", "4"), |_| ());
    harbour.run(&["baseline", "seed", "points"]).exits(66).says("say what its fields are");
    harbour.deliver("first.csv", "id.y2.customerId,additionalData.balance,id.crm.no\nC-1,41.50,1\nC-2,50,2\nC-3,41.50,3\n");
    harbour.once().exits(1);
    harbour.run(&["baseline", "seed", "points"]).exits(0);
    harbour.run(&["approve", "first.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "first"), json!({ "applied": 1, "unchanged": 2 }));
    assert_eq!(harbour.writes().len(), 1);
    check(&harbour);
}

#[test]
fn validate_and_plan_read_such_a_file_as_the_road_does() {
    let harbour = start(plan(), |_| ());
    let path = harbour.home.path().join("file.csv");
    std::fs::write(&path, "id.y2.customerId;additionalData.balance\nC-1;7\n;8\n").unwrap();
    let file = path.display().to_string();
    harbour.run(&["validate", &file, "--feed", "points"]).exits(65);
    let plan = harbour.told(&["plan", &file, "--feed", "points", "--rows", "5", "--json"]);
    assert_eq!(
        (&plan["rows"], &plan["changes"][0]["fields"][0]["field"]),
        (&json!({ "rejected": 1, "to-send": 1 }), &json!("additionalData.balance"))
    );
    std::fs::write(&path, "id;additionalData.balance\nC-1;7\n").unwrap();
    harbour.run(&["validate", &file, "--feed", "points"]).exits(65);
    harbour.once().exits(0);
    check(&harbour);
}
