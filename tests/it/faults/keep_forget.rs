//! `forget` and retention: personal data goes, counts stay, and what is refused is refused as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use passferry::ledger::State;
use passferry::sandbox::{Faults, Issue, Rule, Trouble};
use serde_json::json;

use super::keep_verify::{ask, sql};
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

/// Files under the state directory that hold these bytes, the ledger's log included.
fn holding(harbour: &Harbour, bytes: &str) -> Vec<PathBuf> {
    fn look(folder: &Path, bytes: &str, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                look(&entry.path(), bytes, into);
            } else if bstr::ByteSlice::contains_str(&fs::read(entry.path()).unwrap()[..], bytes) {
                into.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    look(&harbour.state(), bytes, &mut found);
    found
}

/// One pass that is forgotten in these tests, named in what the ledger quotes too: a stale tier of it breaks the schema.
const ZOE: &str = "zoe-0815";

fn schema() -> String {
    crate::rig::harbour::SCHEMA.replace(r#"{ "name": "tier", "type": "string" }"#, r#"{ "name": "tier", "type": "integer" }"#)
}

fn of_zoe() -> Harbour {
    let harbour = harbour().schema(&schema()).feed("fields.\"metaData.tier\"", "").start();
    harbour.sandbox.issue(std::iter::once(Issue { external_id: ZOE.into(), ..Default::default() })).unwrap();
    harbour.deliver("clean.csv", format!("id,points,tier,email\nC-1,1,,\n{ZOE},2,,zoe@private.example\nC-2,3,,\n"));
    harbour.once().exits(0);
    // Her row is wrong, and the platform names her in what it says of another.
    let merged = Trouble::Status { code: 400, message: Some(format!("C-3 was merged with {ZOE}")) };
    harbour.sandbox.faults().set(Faults { rules: vec![Rule::new(merged).method("PUT").id("C-3")], ..Faults::default() });
    harbour.deliver(
        "faulty.csv",
        format!("id,points,tier,email\n{ZOE},3,gold-of-{ZOE},zoe@private.example\nC-3,4,,\nC-4,5,,not-an-address\n"),
    );
    harbour.deliver("others.csv", "id,points,tier,email\nC-5,6,silver-of-others,\n");
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    harbour
}

#[test]
fn forget_leaves_no_byte_of_an_identifier_and_every_count() {
    let harbour = of_zoe();
    assert!(holding(&harbour, ZOE).len() >= 2, "spool and ledger hold it before: {:?}", holding(&harbour, ZOE));
    let before = harbour.runs();
    let (exit, said) = ask(&harbour, &["forget", "--json"], format!("{ZOE}\r\nnobody-knows-me\n\n").as_bytes());
    assert_eq!(exit, 0, "{said}");
    let answer: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&answer["identifiers"], &answer["baselines"], &answer["copies"]), (&json!(2), &json!(1), &json!(1)), "{said}");
    let left: Vec<&str> = answer["elsewhere"].as_array().unwrap().iter().map(|left| left["path"].as_str().unwrap()).collect();
    for path in ["in/.processed/clean.csv", "in/.processed/faulty.csv", "in/reports/faulty.errors.csv"] {
        assert!(left.contains(&path), "{path} is not in {left:?}");
    }
    assert!(answer["rows"] == 3, "two rows about her, and one that names her: {said}");
    assert!(!left.iter().any(|path| path.contains("others")), "{left:?}");
    assert_eq!(holding(&harbour, ZOE), Vec::<PathBuf>::new());
    assert!(!harbour.said().contains(ZOE) && !said.contains(ZOE), "{said}");

    let (exit, told) = ask(&harbour, &["explain", "-"], ZOE.as_bytes());
    assert_eq!(exit, 66, "{told}");
    let (exit, told) = ask(&harbour, &["explain", "-"], b"C-1");
    assert_eq!((exit, told.contains("clean.csv")), (0, true), "others are not forgotten: {told}");
    for (run, before) in harbour.runs().iter().zip(&before) {
        assert_eq!((run.state, &run.detail.tally, &run.sha256), (before.state, &before.detail.tally, &before.sha256));
    }
    let (exit, told) = ask(&harbour, &["show", "faulty.csv", "--rows"], b"");
    assert!(exit == 0 && told.contains("a person named in it was forgotten"), "{told}");
    harbour
        .run(&["retry", "faulty.csv", "--line", "4"])
        .exits(66)
        .says("a person named in it was forgotten")
        .says("deliver faulty.csv again");
    let (exit, told) = ask(&harbour, &["show", "others.csv", "--rows"], b"");
    assert!(exit == 0 && told.contains("silver-of-others"), "what names nobody forgotten stays: {told}");
    let (exit, told) = ask(&harbour, &["verify", "--reach"], b"");
    assert_eq!(exit, 0, "{told}");

    // The platform may have her still, and a later file may name her again: she is new then.
    harbour.deliver("later.csv", format!("id,points,tier,email\n{ZOE},2,,\n"));
    harbour.once().exits(0);
    assert_eq!(harbour.report("later")["rows"], json!({ "applied": 1 }), "nothing is known of her");
    check_promises(&harbour);
}

#[test]
fn forget_is_refused_as_a_whole_while_somebody_works_or_a_run_needs_the_pass() {
    let harbour = harbour().feed("guard.first_file", "true").start();
    harbour.deliver("held.csv", "id,points,tier,email\nC-1,1,,\nC-2,2,,\nC-3,3,,\n");
    harbour.once().exits(1);
    let (exit, said) = ask(&harbour, &["forget"], b"C-2\n");
    assert!(exit == 75 && said.contains("nothing was deleted") && said.contains("passferry approve"), "{exit} {said}");
    assert!(!said.contains("C-2"), "{said}");
    let daemon = harbour.start(&["run"]);
    wait_until("the daemon leads", || ask(&harbour, &["status", "--json"], b"").1.contains("\"running\":true"));
    let (exit, said) = ask(&harbour, &["forget"], b"C-9\n");
    assert!(exit == 75 && said.contains("another passferry"), "{exit} {said}");
    harbour.run(&["approve", "held.csv", "--wait"]).exits(0);
    assert_eq!(daemon.terminate(), 0);
    let known = |id: &[u8]| ask(&harbour, &["explain", "-", "--json"], id).0;
    assert_eq!((known(b"C-2"), known(b"C-3")), (0, 0));
    assert_eq!(ask(&harbour, &["forget"], b"C-2\n").0, 0);
    assert_eq!((known(b"C-2"), known(b"C-3")), (66, 0));
    assert_eq!(ask(&harbour, &["forget"], b"\n").0, 2, "no identifier");
    assert_eq!(ask(&harbour, &["forget", "C-3"], b"").0, 2, "an argument is seen by others");
    assert_eq!(known(b"C-3"), 0);
    check_promises(&harbour);
}

/// As if these runs had ended long ago.
fn long_ago(harbour: &Harbour, names: &[&str]) {
    for name in names {
        let id = harbour.run_of(name).id;
        sql(harbour, &format!("UPDATE run SET detail = json_set(detail, '$.ended_at', '2020-02-02T00:00:00Z') WHERE id = '{id}'"));
    }
}

fn retention(harbour: &Harbour, time: &str) {
    harbour.change_config(|text| format!("retention = \"{time}\"\n{text}"));
}

#[test]
fn personal_data_goes_when_its_time_is_over_and_counts_stay() {
    let harbour = of_zoe();
    long_ago(&harbour, &["clean.csv", "faulty.csv"]);
    let report = String::from_utf8(harbour.read("reports/faulty.errors.csv")).unwrap();
    let before = harbour.runs();
    retention(&harbour, "30d");
    harbour.once().exits(0).says("retention time is over");
    for gone in [ZOE, "zoe@private.example", "not-an-address"] {
        assert_eq!(holding(&harbour, gone), Vec::<PathBuf>::new(), "{gone}");
    }
    assert!(!holding(&harbour, "silver-of-others").is_empty(), "its time is not over");
    for (run, before) in harbour.runs().iter().zip(&before) {
        assert_eq!((run.state, &run.detail.tally, &run.sha256), (before.state, &before.detail.tally, &before.sha256));
    }
    let (exit, told) = ask(&harbour, &["show", "faulty.csv", "--rows"], b"");
    assert!(exit == 0 && told.contains("when the retention time was over") && told.contains("rejected"), "{told}");
    harbour.run(&["retry", "faulty.csv"]).exits(66).says("when the retention time was over").says("deliver faulty.csv again");
    let (exit, told) = ask(&harbour, &["verify", "--reach"], b"");
    assert_eq!(exit, 0, "{told}");

    // A correction made from the old report still counts; that its identifiers cannot be compared is said.
    harbour.deliver("faulty.errors.csv", report.replace("not-an-address", "dan@private.example"));
    harbour.once().exits(1);
    let run = harbour.run_of("faulty.errors.csv");
    assert!(run.detail.warnings.iter().any(|words| words.contains("when the retention time was over")), "{:?}", run.detail.warnings);
    assert_eq!(run.detail.tally.get(passferry::outcome::Outcome::Applied), 2);
    check_promises(&harbour);
}

#[test]
fn a_daemon_deletes_what_is_over_by_itself() {
    let harbour = of_zoe();
    long_ago(&harbour, &["faulty.csv"]);
    retention(&harbour, "45d");
    let copy = harbour.state().join("spool").join(harbour.run_of("faulty.csv").id + ".data");
    assert!(copy.exists());
    let daemon = harbour.start(&["run"]);
    wait_until("its time is over", || harbour.run_of("faulty.csv").detail.removed.is_some() && !copy.exists());
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(holding(&harbour, "not-an-address"), Vec::<PathBuf>::new());
    check_promises(&harbour);
}

/// A3.
#[test]
fn what_a_killed_process_left_is_deleted_at_the_next_start() {
    let harbour = of_zoe();
    let spool = harbour.state().join("spool");
    let id = |name: &str| harbour.run_of(name).id;
    fs::create_dir(spool.join(".tmpAbCdEf")).unwrap();
    fs::write(spool.join(".tmpAbCdEf/text"), "id\nC-1\n").unwrap();
    let left = [spool.join(id("clean.csv") + ".data"), spool.join(id("faulty.csv") + ".part"), spool.join(".tmpAbCdEf")];
    fs::write(&left[0], "id\nC-1\n").unwrap();
    fs::write(&left[1], "id\nC-1\n").unwrap();
    // Perhaps the ledger is the wrong one: what it does not know is not thrown away at once.
    let unknown = spool.join("zzzzzz.data");
    fs::write(&unknown, "id\nC-1\n").unwrap();
    harbour.once().exits(0);
    for path in left {
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(unknown.exists() && spool.join(id("faulty.csv") + ".data").exists());
    fs::remove_file(unknown).unwrap();
    let (exit, told) = ask(&harbour, &["verify"], b"");
    assert_eq!(exit, 0, "{told}");
    assert_eq!(harbour.state_of("faulty.csv"), Some(State::Done));
    check_promises(&harbour);
}
