//! Killed while rows went out, and checked again under another feed: what was sent stays said.

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency};

use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

/// Answers come so slowly that each is written down before the next request leaves.
fn slow() -> Plan {
    let faults = Faults { latency: Latency::Fixed { ms: 160 }, ..Faults::default() };
    harbour().folder().points_only().feed("quiet", "\"10ms\"").platform("in_flight", "1").faults(faults)
}

/// Kills the sweep when this many requests of the kind have left. Answers how many rows are known to be applied by then.
fn killed_at(harbour: &Harbour, request: &str, nth: u64) -> u64 {
    let moment = Moment { mode: Mode::After, nth, matching: request.to_owned() };
    let crashed = crash(harbour, &["once"], &moment);
    assert!(crashed.reached, "exit {}\n{}", crashed.ran.exit, crashed.ran.err);
    harbour.sandbox.faults().clear();
    let run = harbour.run_of("points.csv");
    harbour.ledger().tally(&run.id).unwrap().get(passferry::outcome::Outcome::Applied)
}

/// Each pass twice: the later record counts.
fn twice(passes: u32) -> String {
    let rows = |points: u32| (1..=passes).map(move |n| format!("C-{n},{}\n", points + n)).collect::<String>();
    format!("id,points\n{}{}", rows(100), rows(200))
}

#[test]
fn rows_that_were_sent_keep_their_end_when_the_feed_changes_in_the_middle() {
    let harbour = slow().start();
    harbour.deliver("points.csv", twice(6));
    let applied = killed_at(&harbour, "PUT ", 4);
    assert!((1..=4).contains(&applied), "{applied} are known to be applied");
    harbour.change_config(|text| text.replace("[feed.points]", "[feed.points]\nunchanged = { max_age = \"400d\" }"));
    harbour
        .change_config(|text| text.replace("fields.points = \"points\"", "fields.points = \"points\"\nfields.\"metaData.tier\" = \"id\""));
    harbour.once().exits(0).says("checked again");
    // Not "unchanged": this file changed them.
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 6, "superseded": 6 }));
    for n in 1..=6 {
        assert_eq!(harbour.points(&format!("C-{n}")), f64::from(200 + n), "the later record");
    }
    // The fourth request may have been lost with its connection.
    let expected = 3 + 6 - applied..=4 + 6 - applied;
    let again = harbour.writes_by_pass();
    assert!(expected.contains(&(harbour.writes().len() as u64)), "only what was not written down is sent again: {again:?}");
    check_promises(&harbour);
}

#[test]
fn a_file_that_fails_in_the_middle_says_what_was_sent() {
    let harbour = slow().start();
    harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,2\nC-3,3\nC-4,4\nC-5,5\nC-6,6\n");
    let applied = killed_at(&harbour, "PUT ", 4);
    assert!((1..=4).contains(&applied), "{applied} are known to be applied");
    let schema = harbour.home.path().join("schema.json");
    let text = std::fs::read_to_string(&schema).unwrap();
    std::fs::write(&schema, text.replace("\"superset\"", "\"exact\"")).unwrap();
    harbour.once().exits(65);
    let report = harbour.report("points");
    assert_eq!(report["state"], "failed");
    assert_eq!(report["rows"], serde_json::json!({ "applied": applied, "not-attempted": 6 - applied }));
    assert!(report["next"][0].as_str().unwrap().contains("sent before"), "{}", report["next"]);
    check_promises(&harbour);
}

#[test]
fn an_add_whose_answer_was_lost_is_in_doubt_when_the_feed_changed_and_its_row_is_not_wanted_any_more() {
    let schema = |maximum: u32| {
        format!(
            r#"{{ "fieldsMatch": "superset", "fields": [ {{ "name": "txn", "type": "string" }}, {{ "name": "id", "type": "string" }},
               {{ "name": "points", "type": "integer", "constraints": {{ "maximum": {maximum} }} }} ] }}"#
        )
    };
    let plan = slow().schema(&schema(1000)).feed("content", "\"delta\"").feed("operation", "\"earn\"");
    let harbour = plan.feed("add.transaction_id", "\"txn\"").platform("read_back", "\"nothing\"").start();
    harbour.deliver("points.csv", "txn,id,points\nT-1,C-1,500\nT-2,C-2,5\nT-3,C-3,500\n");
    killed_at(&harbour, "PUT ", 2);
    std::fs::write(harbour.home.path().join("schema.json"), schema(100)).unwrap();
    harbour.once().exits(1);
    let report = harbour.report("points");
    assert_eq!(report["state"], State::DoneInDoubt.as_str());
    assert_eq!(report["records"], 3);
    // Whatever of the two that are too large now had left before is told as what it is, and not as rejected.
    let rows = &report["rows"];
    let count = |outcome: &str| rows[outcome].as_u64().unwrap_or_default();
    assert!(count("in-doubt") >= 1, "{rows}");
    assert_eq!(count("applied") + count("in-doubt") + count("rejected"), 3, "{rows}");
    check_promises(&harbour);
}

#[test]
fn a_file_that_fails_in_the_middle_leaves_no_add_undecided() {
    let harbour = slow()
        .schema(r#"{ "fieldsMatch": "superset", "fields": [ { "name": "txn" }, { "name": "id" }, { "name": "points", "type": "integer" }, { "name": "more" } ] }"#)
        .feed("content", "\"delta\"")
        .feed("operation", "\"earn\"")
        .feed("add.transaction_id", "\"txn\"")
        .platform("read_back", "\"nothing\"")
        .start();
    harbour.deliver("points.csv", "txn,id,points\nT-1,C-1,500\nT-2,C-2,5\nT-3,C-3,500\n");
    killed_at(&harbour, "PUT ", 2);
    let schema = harbour.home.path().join("schema.json");
    let text = std::fs::read_to_string(&schema).unwrap();
    std::fs::write(&schema, text.replace("\"superset\"", "\"exact\"")).unwrap();
    harbour.once().exits(65);
    let rows = &harbour.report("points")["rows"];
    assert!(rows["in-doubt"].as_u64().unwrap_or_default() >= 1, "{rows}");
    assert_eq!(rows.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 3, "{rows}");
    check_promises(&harbour);
}

/// Loses the copies that the spool holds.
fn lose_copies(harbour: &Harbour) {
    for entry in std::fs::read_dir(harbour.state().join("spool")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::remove_file(entry.path()).unwrap();
    }
}

#[test]
fn a_file_that_changed_after_its_copy_was_lost_in_the_middle_ends_with_what_was_sent() {
    for same_size in [false, true] {
        let harbour = slow().start();
        harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,2\nC-3,3\nC-4,4\nC-5,5\nC-6,6\n");
        let applied = killed_at(&harbour, "PUT ", 4);
        assert!((1..=4).contains(&applied), "{applied} are known to be applied");
        let first = harbour.run_of("points.csv").id;
        lose_copies(&harbour);
        let path = harbour.inbox().join("points.csv");
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let other = "id,points\nC-6,9\nC-5,9\nC-4,9\nC-3,9\nC-2,9\nC-1,9\n";
        std::fs::write(&path, if same_size { other.to_owned() } else { other.to_owned() + "C-7,9\n" }).unwrap();
        if same_size {
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        harbour.once().exits(65).says("changed");
        let ledger = harbour.ledger();
        let run = ledger.run(&first).unwrap().unwrap_or_else(|| panic!("the run is forgotten\n{}", harbour.said()));
        assert_eq!(run.state, State::Failed);
        let count = |outcome| run.detail.tally.get(outcome);
        assert_eq!(count(passferry::outcome::Outcome::Applied), applied);
        assert_eq!(run.detail.tally.total(), 6);
        // What is there now is another delivery.
        harbour.once();
        let newest = harbour.run_of("points.csv");
        assert!(newest.id != first && newest.state == State::Done, "{}", harbour.said());
        assert_eq!(harbour.points("C-1"), 9.0);
    }
}

#[test]
fn a_file_that_was_touched_after_its_copy_was_lost_goes_on() {
    let harbour = slow().start();
    harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,2\nC-3,3\nC-4,4\nC-5,5\nC-6,6\n");
    killed_at(&harbour, "PUT ", 4);
    let first = harbour.run_of("points.csv").id;
    lose_copies(&harbour);
    let file = std::fs::File::options().append(true).open(harbour.inbox().join("points.csv")).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_hours(1)).unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1);
    assert_eq!((harbour.run_of("points.csv").id, harbour.state_of("points.csv")), (first, Some(State::Done)));
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 6 }));
    check_promises(&harbour);
}
