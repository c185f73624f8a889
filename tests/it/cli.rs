//! The command line through the front door: the real binary on a folder, with the sandbox as platform.

#![expect(clippy::float_cmp, reason = "balances that were sent are read back exactly")]

use std::process::{Command, Stdio};

use crate::rig::ferry::{Rig, wait_until};

const FAULTY: &str = "id,points,tier,email\nC-1,10,gold,zoe@example.com\n,5,,\nC-2,-1,,not-an-address\nC-3,x\nC-4,7,silver,\n";

#[test]
fn a_file_goes_down_the_road_and_is_told() {
    let rig = Rig::start();
    rig.deliver("points.csv", "id,points,tier,email\nC-1,10,gold,zoe@example.com\nC-77,20,,pat@example.com\nC-2,bad,,\n");
    rig.once().exits(1);
    assert_eq!(rig.points("C-1"), 10.0);

    let runs = rig.runs();
    assert_eq!(runs.len(), 1);
    let id = runs[0]["run"].as_str().unwrap().to_owned();
    assert_eq!((&runs[0]["state"], &runs[0]["needs_person"]), (&"done".into(), &2.into()));
    let table = rig.run(&["runs"]).exits(0).out;
    assert!(table.contains(&id) && table.contains("points.csv") && !table.contains('\u{1b}'), "{table}");
    assert_eq!(rig.run(&["runs", "--state", "held", "--json"]).exits(0).out, "");
    rig.run(&["runs", "--state", "hold"]).exits(2);

    let by_name = rig.run(&["show", "points.csv", "--json", "--rows"]).exits(0).json_lines();
    let by_id = rig.run(&["show", &id, "--json", "--rows"]).exits(0).json_lines();
    assert_eq!(by_name, by_id);
    assert_eq!(by_id[0]["rows"]["applied"], 1);
    assert_eq!(by_id[1]["outcome"], "unresolved");
    assert_eq!(by_id[2]["problems"][0]["cell"], "bad");
    let page = rig.run(&["show", &id, "--rows"]).exits(0).out;
    for part in ["points.csv", "unresolved", "line 3 (record 2)", "pass-not-found", "type-error", "next", "points.report.json"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    rig.run(&["show", "nothing.csv"]).exits(66);

    let screen = rig.run(&["status"]).exits(0).out;
    for part in ["nobody works", "files", "points.csv", "rows need you"] {
        assert!(screen.contains(part), "{part} is not in\n{screen}");
    }
    let status = rig.run(&["status", "--json"]).exits(0).json();
    assert_eq!((&status["running"], &status["needs_person"][0]["run"]), (&false.into(), &id.clone().into()));

    let explained = rig.run(&["explain", "C-1", "--json"]).exits(0).json();
    assert_eq!((&explained["rows"][0]["run"], &explained["rows"][0]["line"]), (&id.into(), &2.into()));
    let fields: Vec<_> = explained["baseline"].as_array().unwrap().iter().map(|field| (&field["field"], &field["value"])).collect();
    assert!(fields.contains(&(&"points".into(), &"10".into())), "{fields:?}");
    let said = rig.run_with(&["explain", "-"], b"C-77\n").exits(0).out;
    assert!(said.contains("unresolved") && said.contains("points.csv"), "{said}");
    rig.run(&["explain", "C-8"]).exits(66);
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let rig = Rig::start();
    let ok = rig.run(&["check", "--reach"]).exits(0).out;
    assert!(ok.contains("connected") && ok.contains("accepts the key") && ok.contains("can be listed"), "{ok}");
    assert_eq!(rig.tree(), Vec::<String>::new(), "the probes are gone");
    rig.change_config(|text| text.replace("platform = \"cards\"", "platform = \"crads\"").replace("\"1s\"", "\"soon\""));
    let broken = rig.run(&["check"]).exits(78);
    assert!(broken.err.contains("crads") && broken.err.contains("soon") && broken.err.contains("3 faults"), "{}", broken.err);
    let json = rig.run(&["check", "--json"]).exits(78).json();
    assert_eq!((&json["ok"], json["faults"].as_array().unwrap().len()), (&false.into(), 3));
}

#[test]
fn a_mapping_that_the_platform_refuses_is_a_fault() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [ { "name": "id", "type": "string" }, { "name": "until", "type": "date",
        "x-passferry": { "empty": "clear" } } ] }"#;
    let plan = Rig::plan().schema(schema).feed("fields.points", "").feed("fields.\"metaData.tier\"", "");
    let rig = plan.feed("fields.\"person.emailAddress\"", "").feed("fields.expiryDate", "\"until\"").start();
    let told = rig.run(&["check"]).exits(78).err;
    assert!(told.contains("feed.points.fields.expiryDate") && told.contains("1 fault in"), "{told}");
    assert_eq!(rig.run(&["check", "--json"]).exits(78).json()["faults"][0]["key"], "feed.points.fields.expiryDate");
}

#[test]
fn what_cannot_be_reached_is_said_in_words() {
    let rig = Rig::start();
    let json = |rig: &Rig, exit| rig.run(&["check", "--reach", "--json"]).exits(exit).json();
    assert!(json(&rig, 0)["reach"].as_array().unwrap().iter().all(|one| one["ok"] == true));
    rig.change_config(|text| text.replace("inbox = \"in\"", "inbox = \"elsewhere\""));
    assert!(json(&rig, 66)["reach"][1]["message"].as_str().unwrap().contains("elsewhere"));
    rig.change_config(|text| text.replace("inbox = \"elsewhere\"", "inbox = \"in\"").replace("sandbox-program", "another"));
    let fails = json(&rig, 69);
    assert!(
        fails["reach"].as_array().unwrap().iter().any(|one| one["message"].as_str().unwrap().contains("no program another")),
        "{fails}"
    );
}

#[test]
fn every_problem_of_a_file_is_listed() {
    let rig = Rig::start();
    rig.file("faulty.csv", FAULTY);
    rig.file("clean.csv", "id,points,tier,email\nC-1,10,gold,zoe@example.com\n");
    let by_schema = rig.run(&["validate", "faulty.csv", "--schema", "schema.json"]).exits(65).out;
    insta::assert_snapshot!(by_schema, @r"
    faulty.csv:3 (record 2) id: constraint-error a value is required
    faulty.csv:4 (record 3) points: constraint-error must be at least 0 (minimum) [-1]
    faulty.csv:4 (record 3) email: type-error is not one e-mail address such as name@example.com [•••]
    faulty.csv:5 (record 4) points: type-error is not a number with the decimal sign `.` [x]
    faulty.csv:5 (record 4) tier: missing-cell the record has 2 cells, the header 4
    faulty.csv:5 (record 4) email: missing-cell the record has 2 cells, the header 4
    faulty.csv: not valid, 3 of 5 records rejected
               2  constraint-error
               2  missing-cell
               2  type-error
    ");
    assert_eq!(rig.run(&["validate", "faulty.csv", "--feed", "points"]).exits(65).out, by_schema);
    let lines = rig.run_with(&["validate", "-", "--schema", "schema.json", "--json"], FAULTY.as_bytes()).exits(65).json_lines();
    let last = lines.last().unwrap();
    assert_eq!((lines.len(), &last["type"], &last["rejected"]), (7, &"summary".into(), &3.into()));
    assert_eq!((&lines[2]["column"], &lines[2]["cell"], &lines[2]["position"]), (&"email".into(), &"•••".into(), &4.into()));
    let shown = rig.run(&["validate", "faulty.csv", "--feed", "points", "--show-personal"]).exits(65).out;
    assert!(shown.contains("[not-an-address]"));
    assert_eq!(rig.run(&["validate", "clean.csv", "--feed", "points"]).exits(0).out, "clean.csv: valid, 1 record\n");
    rig.file("quote.csv", "id,points\nC-1,\"10\n");
    let whole = rig.run(&["validate", "quote.csv", "--feed", "points"]).exits(65).out;
    assert!(whole.starts_with("quote.csv:2:5: unterminated-quote"), "{whole}");
    rig.file("other.csv", "a,b\n1,2\n");
    assert!(rig.run(&["validate", "other.csv", "--feed", "points"]).exits(65).out.contains("(header)"));
    rig.run(&["validate", "nothing.csv", "--feed", "points"]).exits(66);
    rig.run(&["validate", "clean.csv", "--feed", "pionts"]).exits(66);
    rig.run(&["validate", "clean.csv"]).exits(2);
}

#[test]
fn records_are_shown_as_they_are_read() {
    let rig = Rig::start();
    rig.file("some.csv", "id;email\nC-1;\"a;b\"\nC-2;x\nC-3;y\n");
    insta::assert_snapshot!(rig.run(&["preview", "some.csv", "-n", "2"]).exits(0).out, @r#"
    some.csv: delimiter `;` (`;` once in each of the first 4 records)
    header: ["id","email"]
    2: ["C-1","a;b"]
    3: ["C-2","x"]
    "#);
    let lines = rig.run(&["preview", "some.csv", "--delimiter", ";", "--no-header", "--json"]).exits(0).json_lines();
    assert_eq!((&lines[0]["pinned"], &lines[4]["line"], &lines[4]["cells"][0]), (&true.into(), &4.into(), &"C-3".into()));
    rig.change_config(|text| text.replace("dialect.delimiter = \",\"", "dialect.delimiter = \";\""));
    let masked = rig.run(&["preview", "some.csv", "--feed", "points"]).exits(0).out;
    assert!(masked.contains("[\"C-2\",\"•••\"]"), "{masked}");
}

#[test]
fn a_plan_tells_and_sends_nothing() {
    let rig = Rig::plan().feed("guard.first_file", "true").start();
    let path = rig.file("new.csv", FAULTY);
    let plan = rig.run(&["plan", &path, "--feed", "points", "--json", "--rows", "1"]).exits(0).json();
    assert_eq!((&plan["rows"]["to-send"], &plan["rows"]["rejected"], &plan["held"]), (&2.into(), &3.into(), &true.into()));
    let change = &plan["changes"][0];
    assert_eq!((&change["line"], &change["pass"]), (&2.into(), &"C-1".into()));
    assert_eq!((&change["fields"][2]["field"], &change["fields"][2]["to"]), (&"points".into(), &"10".into()), "{change}");
    assert!(change["fields"].as_array().unwrap().iter().any(|field| field["field"] == "person.emailAddress" && field["to"] == "•••"));
    assert!(!rig.home.path().join("state").exists(), "nothing is written");
    let page = rig.run(&["plan", &path, "--feed", "points", "--rows", "1"]).exits(0).out;
    for part in ["to-send", "first-file", "would hold it", "requests a second", "unknown → 10"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert_eq!(rig.sandbox.requests().total(), 0);
    rig.file("bad.csv", "id,points\n\"C-1,5\n");
    rig.run(&["plan", "bad.csv", "--feed", "points"]).exits(65);
}

#[test]
fn a_held_file_waits_for_a_word() {
    let rig = Rig::plan().feed("guard.first_file", "true").start();
    rig.deliver("first.csv", "id,points\nC-1,10\n");
    rig.once().exits(1);
    assert_eq!((rig.runs()[0]["state"].clone(), rig.writes()), ("held".into(), 0));
    let screen = rig.run(&["status"]).exits(0).out;
    assert!(screen.contains("first-file"), "{screen}");
    rig.run(&["retry", "first.csv"]).exits(75);
    let said = rig.run(&["approve", "first.csv", "--reason", "looked at it"]).exits(0).out;
    assert!(said.contains("next passferry once"), "{said}");
    rig.once().exits(0);
    assert_eq!((rig.runs()[0]["state"].clone(), rig.points("C-1")), ("done".into(), 10.0));
    let report = rig.report("first");
    assert_eq!((&report["approval"]["by"], &report["approval"]["reason"]), (&"pat".into(), &"looked at it".into()));
    rig.run(&["approve", "first.csv"]).exits(66);
    rig.run(&["stop", "first.csv"]).exits(66);
    rig.run(&["approve", "nothing.csv"]).exits(66);
}

#[test]
fn a_held_file_can_be_put_away() {
    let rig = Rig::plan().feed("guard.first_file", "true").start();
    rig.deliver("first.csv", "id,points\nC-1,10\n");
    rig.once().exits(1);
    rig.run(&["discard", "first.csv"]).exits(0);
    rig.once();
    assert_eq!((rig.runs()[0]["state"].clone(), rig.writes()), ("discarded".into(), 0));
    rig.run(&["retry", "first.csv"]).exits(66);
}

#[test]
fn the_daemon_carries_words_out() {
    let rig = Rig::plan().feed("guard.first_file", "true").start();
    let daemon = rig.daemon();
    wait_until("the daemon runs", || rig.run(&["status", "--json"]).json()["running"] == true);
    rig.once().exits(75);
    rig.run(&["run"]).exits(75);
    rig.run(&["baseline", "seed", "points"]).exits(75);
    rig.deliver("first.csv", "id,points\nC-1,10\n");
    wait_until("the file is held", || rig.runs().first().is_some_and(|run| run["state"] == "held"));
    let said = rig.run(&["approve", "first.csv", "--wait"]).exits(0).out;
    assert!(said.contains("done"), "{said}");
    assert_eq!(rig.points("C-1"), 10.0);
    assert_eq!(daemon.terminate(), 0);
}

#[test]
fn rows_are_tried_again() {
    let rig = Rig::start();
    rig.deliver("points.csv", "id,points\nC-1,10\nC-77,20\nC-78,30\nC-2,x\n");
    rig.once().exits(1);
    let id = rig.runs()[0]["run"].as_str().unwrap().to_owned();
    rig.run(&["retry", &id, "--line", "2"]).exits(66);
    rig.run(&["retry", &id, "--line", "99"]).exits(66);
    rig.run(&["retry", &id, "--code", "conflict"]).exits(66);
    rig.sandbox.issue([passferry::sandbox::Issue { external_id: "C-77".into(), ..Default::default() }].into_iter()).unwrap();
    let asked = rig.run(&["retry", "points.csv", "--line", "3", "--json"]).exits(0).json();
    assert_eq!((&asked["rows"], &asked["parent"]), (&1.into(), &id.clone().into()));
    rig.run(&["retry", &id]).exits(75);
    rig.once().exits(0);
    assert_eq!(rig.points("C-77"), 20.0);
    let retry = &rig.runs()[0];
    assert_eq!((&retry["kind"], &retry["state"], &retry["records"]), (&"retry".into(), &"done".into(), &1.into()), "{retry}");
    rig.run(&["retry", &id, "--code", "pass-not-found"]).exits(0);
    rig.once().exits(1);
    assert_eq!(rig.runs()[0]["rows"]["unresolved"], 1, "the other one still has no pass");
}

#[test]
fn rows_of_a_correction_are_tried_again() {
    let rig = Rig::start();
    rig.deliver("points.csv", "id,points,tier,email\nC-1,10,,\nC-77,20,,\n");
    rig.once().exits(1);
    rig.deliver("points.errors.csv", rig.read("reports/points.errors.csv").replace(",20,", ",21,"));
    rig.once().exits(1);
    assert_eq!(rig.runs()[0]["kind"], "correction");
    rig.sandbox.issue([passferry::sandbox::Issue { external_id: "C-77".into(), ..Default::default() }].into_iter()).unwrap();
    let id = rig.runs()[0]["run"].as_str().unwrap().to_owned();
    rig.run(&["retry", &id]).exits(0);
    rig.once().exits(0);
    assert_eq!(rig.points("C-77"), 21.0);
}

#[test]
fn a_paused_feed_rests_until_it_is_resumed() {
    let rig = Rig::start();
    rig.run(&["pause", "nothing"]).exits(66);
    rig.run(&["pause", "points"]).exits(0);
    rig.deliver("points.csv", "id,points\nC-1,10\n");
    rig.once();
    assert_eq!(rig.writes(), 0);
    assert!(rig.run(&["status"]).exits(0).out.contains("paused by pat"));
    rig.run(&["resume", "points"]).exits(0);
    rig.once().exits(0);
    assert_eq!(rig.points("C-1"), 10.0);
}

#[test]
fn a_seeded_baseline_saves_the_first_snapshot() {
    let rig = Rig::plan().members(0).start();
    let members = (1..=1500).map(|n| passferry::sandbox::Issue { external_id: format!("C-{n}"), points: n as f32, ..Default::default() });
    rig.sandbox.issue(members).unwrap();
    let counts = rig.run(&["baseline", "seed", "points", "--json"]).exits(0).json();
    assert_eq!((&counts["passes"], &counts["seeded"]), (&1500.into(), &1500.into()));
    let rows: Vec<String> = (1..=1500).map(|n| format!("C-{n},{}", if n == 7 { 8 } else { n })).collect();
    rig.sandbox.requests().clear();
    rig.deliver("all.csv", format!("id,points\n{}\n", rows.join("\n")));
    rig.once().exits(0);
    assert_eq!((rig.report("all")["rows"]["unchanged"].clone(), rig.writes()), (1499.into(), 1));
    assert_eq!(rig.points("C-7"), 8.0);
}

#[test]
fn codes_completions_and_pages_are_printed() {
    let rig = Rig::start();
    assert!(rig.run(&["codes", "pass-not-found"]).exits(0).out.starts_with("pass-not-found\n"));
    assert!(rig.run(&["codes", "--json"]).exits(0).json_lines().len() > 40);
    assert!(rig.run(&["codes", "pas-not-found"]).exits(66).err.contains("pass-not-found"));
    assert!(rig.run(&["completions", "bash"]).exits(0).out.contains("passferry"));
    assert!(rig.run(&["man"]).exits(0).out.contains(".TH passferry"));
    rig.run(&["man", "--to", "man1"]).exits(0);
    assert!(rig.home.path().join("man1/passferry-baseline-seed.1").exists());
    assert!(rig.run(&["config", "schema"]).exits(0).json()["properties"]["feed"].is_object());
    rig.file("sample.toml", rig.run(&["config", "sample"]).exits(0).out);
    rig.run(&[]).exits(2);
    rig.run(&["no-such-command"]).exits(2);
    let help = rig.run(&["--help"]).exits(0).out;
    for command in ["check", "plan", "status", "explain", "approve", "retry", "baseline"] {
        assert!(help.contains(command), "{command}");
        let long = rig.run(&[command, "--help"]).exits(0).out;
        assert!(command == "baseline" || long.contains("Example: passferry") || long.contains("| passferry"), "{command}\n{long}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rig = Rig::start();
    for args in [&["codes"][..], &["config", "sample"], &["man"]] {
        let mut child = rig.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let status = child.wait_with_output().unwrap();
        assert_eq!((status.status.code(), String::from_utf8_lossy(&status.stderr).as_ref()), (Some(0), ""), "{args:?}");
    }
    let program = env!("CARGO_BIN_EXE_passferry");
    let script = format!("set -o pipefail; '{program}' codes --json | head -1");
    let status = Command::new("bash").args(["-c", &script]).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn refused_credentials_are_told_from_a_platform_that_is_away() {
    use passferry::sandbox::{Faults, Outage};
    let rig = Rig::start();
    for (outage, exit) in [(Outage::Unauthorized, 77), (Outage::Unavailable, 69), (Outage::Close, 69)] {
        rig.sandbox.faults().set(Faults { outage: Some(outage), ..Faults::default() });
        rig.run(&["check", "--reach"]).exits(exit);
    }
    rig.sandbox.faults().clear();
    rig.run(&["check", "--reach"]).exits(0);
    rig.change_config(|text| text.replace("secret = ", "secret = { env = \"NOBODY_SET_THIS\" } # "));
    let told = rig.run(&["check", "--reach"]).exits(77);
    assert!(told.out.contains("NOBODY_SET_THIS"), "{}{}", told.out, told.err);
}

#[test]
fn what_is_not_there_ends_with_66() {
    let rig = Rig::start();
    let told = rig.run(&["runs", "--feed", "pionts"]).exits(66).err;
    assert!(told.contains("points"), "{told}");
    rig.run(&["runs", "--feed", "points"]).exits(0);
    rig.file("clean.csv", "id,points\nC-1,1\n");
    rig.run(&["validate", "clean.csv", "--schema", "nowhere.json"]).exits(66);
}
