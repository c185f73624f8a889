//! What must not be done twice, over a ledger that was lost, restored, cleaned or made to forget.

use std::fs;

use passferry::ledger::State;
use passferry::outcome::Outcome;
use passferry::sandbox::{Faults, Latency, Rule, Trouble};

use super::keep_verify::{ask, sql};
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// A feed of points earned, told apart by a transaction's own identifier.
fn earning() -> Plan {
    harbour()
        .folder()
        .unmodelled()
        .feed("content", "\"delta\"")
        .feed("operation", "\"earn\"")
        .feed("add.transaction_id", "\"tier\"")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
}

fn earned(passes: std::ops::RangeInclusive<u32>, points: u32) -> String {
    let rows: String = passes.map(|n| format!("C-{n},{points},t-{points}-{n}\n")).collect();
    format!("id,points,tier\n{rows}")
}

fn lose(harbour: &Harbour) {
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(harbour.state().join(name));
    }
}

/// What the promises ask of adds, where the ledger itself has forgotten some.
fn nothing_was_added_twice(harbour: &Harbour) {
    for effect in harbour.sandbox.effects() {
        assert!(!effect.is_add() || effect.times == 1, "{effect:?}");
    }
}

fn held_by(harbour: &Harbour, name: &str) -> Vec<String> {
    let run = harbour.run_of(name);
    assert_eq!(run.state, State::Held, "{}", harbour.said());
    run.detail.verdicts.iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard.clone()).collect()
}

/// B7.
#[test]
fn a_ledger_that_was_lost_adds_nothing_before_somebody_has_looked() {
    let harbour = earning().start();
    harbour.deliver("monday.csv", earned(1..=5, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 10.0);
    lose(&harbour);

    // The same file once more, as an operator would who sees an empty status.
    fs::copy(harbour.inbox().join(".processed/monday.csv"), harbour.inbox().join("again.csv")).unwrap();
    fs::remove_file(harbour.inbox().join(".processed/monday.csv")).unwrap();
    harbour.once().exits(1);
    assert_eq!(held_by(&harbour, "again.csv"), ["unknown-reports"]);
    let evidence = harbour.run_of("again.csv").detail.verdicts[0].evidence.clone();
    assert!(evidence.contains("monday.report.json"), "{evidence}");
    assert_eq!(harbour.points("C-1"), 10.0, "nothing was added");
    let (exit, said) = ask(&harbour, &["verify", "--reach"], b"");
    assert!(exit == 1 && said.contains("report-unknown") && said.contains("monday.report.json"), "{said}");
    // Still so after a restart.
    harbour.once().exits(1);
    harbour.run(&["discard", "again.csv"]).exits(0);
    harbour.once().exits(0);

    // Another file waits as well; approved once, the feed goes on, and over a restart too.
    harbour.deliver("tuesday.csv", earned(1..=5, 7));
    harbour.once().exits(1);
    assert_eq!(held_by(&harbour, "tuesday.csv"), ["unknown-reports"]);
    harbour.run(&["approve", "tuesday.csv", "--reason", "compared with monday.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 17.0);
    harbour.deliver("wednesday.csv", earned(1..=5, 2));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 19.0);
    assert_eq!(ask(&harbour, &["verify", "--reach"], b"").0, 0);
    nothing_was_added_twice(&harbour);
}

/// B7.
#[test]
fn a_feed_that_sets_goes_on_with_a_new_ledger() {
    let harbour = harbour().points_only().start();
    harbour.deliver("monday.csv", super::delivery::snapshot(1..=5, 10));
    harbour.once().exits(0);
    lose(&harbour);
    harbour.deliver("tuesday.csv", super::delivery::snapshot(1..=5, 20));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 21.0);
    check_promises(&harbour);
}

/// B8.
#[test]
fn a_restored_ledger_adds_nothing_that_its_own_reports_tell_of() {
    const PASSES: u32 = 120;
    let slow = Faults { latency: Latency::Fixed { ms: 10 }, ..Faults::default() };
    let harbour = earning().platform("in_flight", "4").members(PASSES).faults(slow).start();
    // One row fails, so that the copy of the file stays for retry: the restored run could go on with it.
    harbour.deliver("monday.csv", earned(1..=PASSES, 10) + "C-9999,10,t-none\n");
    let daemon = harbour.start(&["run"]);
    wait_until("some rows are written down", || {
        harbour.state_of("monday.csv") == Some(State::Applying) && {
            let run = harbour.run_of("monday.csv");
            harbour.ledger().tally(&run.id).unwrap().get(Outcome::Applied) >= 20
        }
    });
    harbour.run(&["backup", "ledger.backup"]).exits(0);
    assert_eq!(harbour.state_of("monday.csv"), Some(State::Applying), "backed up too late");
    wait_until("the file is over", || harbour.state_of("monday.csv") == Some(State::Done));
    harbour.sandbox.faults().clear();
    harbour.deliver("tuesday.csv", earned(1..=PASSES, 5));
    wait_until("the next is over", || harbour.state_of("tuesday.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.points("C-100"), 15.0);

    lose(&harbour);
    fs::copy(harbour.home.path().join("ledger.backup"), harbour.state().join("ledger.sqlite")).unwrap();
    harbour.once().exits(1);
    assert_eq!(held_by(&harbour, "monday.csv"), ["unknown-reports"]);
    let evidence = harbour.run_of("monday.csv").detail.verdicts[0].evidence.clone();
    assert!(evidence.contains("tuesday.report.json") && evidence.contains("monday.report.json"), "{evidence}");
    for pass in 1..=PASSES {
        assert_eq!(harbour.points(&format!("C-{pass}")), 15.0, "C-{pass}");
    }
    // Adds that were on their way when the backup was made stay for a person, whatever becomes of the rest.
    harbour.run(&["discard", "monday.csv"]).exits(0);
    harbour.once();
    assert_eq!(harbour.points("C-100"), 15.0);
    let run = harbour.run_of("monday.csv");
    assert_eq!((run.state, run.detail.tally.total()), (State::Discarded, u64::from(PASSES) + 1));
    assert!(run.detail.tally.get(Outcome::Applied) >= 20, "what is known to have ended stays so: {:?}", run.detail.tally);
    let (exit, said) = ask(&harbour, &["verify"], b"");
    assert_eq!(exit, 0, "{said}");
    nothing_was_added_twice(&harbour);
}

/// A key outlives what is forgotten and what retention takes: the same transaction never adds twice.
#[test]
fn keys_outlive_retention_and_forgetting() {
    let harbour = earning().start();
    harbour.deliver("monday.csv", earned(1..=5, 10));
    harbour.once().exits(0);
    let (exit, said) = ask(&harbour, &["forget", "--json"], b"C-2\n");
    let answer: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((exit, &answer["keys"]), (0, &serde_json::json!(1)), "{said}");
    let id = harbour.run_of("monday.csv").id;
    sql(&harbour, &format!("UPDATE run SET detail = json_set(detail, '$.ended_at', '2020-02-02T00:00:00Z') WHERE id = '{id}'"));
    harbour.change_config(|text| format!("retention = \"30d\"\n{text}"));
    harbour.once().exits(0);
    assert!(harbour.run_of("monday.csv").detail.removed.is_some());
    assert_eq!(ask(&harbour, &["verify", "--reach"], b"").0, 0, "{:?}", ask(&harbour, &["verify", "--reach"], b""));
    harbour.deliver("overlap.csv", earned(1..=6, 10));
    harbour.once();
    assert_eq!(harbour.report("overlap")["rows"], serde_json::json!({ "applied": 1, "duplicate": 5 }));
    for pass in 1..=6 {
        assert_eq!(harbour.points(&format!("C-{pass}")), 10.0, "C-{pass}");
    }

    check_promises(&harbour);

    // A key whose time is over goes; a file as old as that is held, since nothing would tell what it added.
    sql(&harbour, "UPDATE add_key SET at = '2020-02-02T00:00:00Z' WHERE line = 2");
    harbour.change_config(|text| text.replace("retention = \"30d\"", "retention = \"31d\""));
    harbour.once();
    let count = |harbour: &Harbour| -> i64 {
        let ledger = rusqlite::Connection::open(harbour.state().join("ledger.sqlite")).unwrap();
        ledger.query_row("SELECT count(*) FROM add_key", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&harbour), 5);
    harbour.deliver("old.csv", earned(1..=3, 10));
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(401 * 24);
    fs::File::options().write(true).open(harbour.inbox().join("old.csv")).unwrap().set_modified(old).unwrap();
    harbour.once().exits(1);
    assert_eq!(held_by(&harbour, "old.csv"), ["older-than-keys"]);
    assert_eq!(harbour.points("C-1"), 10.0);
    nothing_was_added_twice(&harbour);
}

/// A row in doubt keeps all that somebody needs to settle it, whatever its age, and is not forgotten before.
#[test]
fn what_is_in_doubt_is_kept_until_it_is_settled() {
    let unhelpful = Faults {
        rules: vec![Rule::new(Trouble::DropAfter).method("PUT").id("C-2")],
        no_events: true,
        event_lists: Some(404),
        no_balances: true,
        ..Faults::default()
    };
    let harbour =
        earning().platform("tries", "2").platform("settling", "\"100ms\"").platform("read_back", "\"nothing\"").faults(unhelpful).start();
    harbour.deliver("monday.csv", earned(1..=3, 10));
    harbour.once();
    assert_eq!(harbour.state_of("monday.csv"), Some(State::DoneInDoubt), "{}", harbour.said());
    let (exit, said) = ask(&harbour, &["verify", "--reach"], b"");
    assert_eq!(exit, 0, "{said}");
    let (exit, said) = ask(&harbour, &["forget"], b"C-2\n");
    assert!(exit == 75 && said.contains("settle"), "{exit} {said}");
    let id = harbour.run_of("monday.csv").id;
    sql(&harbour, &format!("UPDATE run SET detail = json_set(detail, '$.ended_at', '2020-02-02T00:00:00Z') WHERE id = '{id}'"));
    harbour.change_config(|text| format!("retention = \"30d\"\n{text}"));
    harbour.once();
    assert!(harbour.run_of("monday.csv").detail.removed.is_none());
    assert!(harbour.state().join("spool").join(format!("{id}.data")).exists());

    // Keys and rows that contradict each other are found.
    for (wanted, spoil, mend) in [
        (
            "doubt-without-key",
            "UPDATE add_key SET state = 'applied' WHERE line = 3",
            "UPDATE add_key SET state = 'in-doubt' WHERE line = 3",
        ),
        ("key-without-doubt", "UPDATE row SET outcome = 'applied' WHERE line = 3", "UPDATE row SET outcome = 'in-doubt' WHERE line = 3"),
        ("key-undecided", "UPDATE add_key SET state = 'intended' WHERE line = 2", "UPDATE add_key SET state = 'applied' WHERE line = 2"),
        ("add-without-key", "UPDATE add_key SET line = 99 WHERE line = 2", "UPDATE add_key SET line = 2 WHERE line = 99"),
        ("key-unknown-run", "UPDATE add_key SET run = 'zzzzzz'", "UPDATE add_key SET run = (SELECT id FROM run LIMIT 1)"),
        ("key-unreadable", "UPDATE add_key SET state = 'perhaps' WHERE line = 2", "UPDATE add_key SET state = 'applied' WHERE line = 2"),
    ] {
        sql(&harbour, "UPDATE run SET detail = json_set(detail, '$.ended_at', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))");
        sql(&harbour, spoil);
        let (exit, said) = ask(&harbour, &["verify"], b"");
        assert!(exit == 1 && said.lines().any(|line| line.starts_with(wanted)), "{wanted} is not in {said}");
        sql(&harbour, mend);
    }
    let (exit, said) = ask(&harbour, &["verify"], b"");
    assert_eq!(exit, 0, "{said}");
    check_promises(&harbour);
}

/// Section 6, 1. A correction of a row whose key is kept no longer adds nothing: nothing would tell what it added before.
#[test]
fn a_correction_older_than_the_keys_adds_nothing_and_sets_what_it_sets() {
    let harbour = super::adds::movements()
        .feed("fields.\"metaData.store\"", "\"store\"")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"transactional\"")
        .start();
    let refuse = Rule::new(Trouble::Status { code: 400, message: Some("no".into()) }).method("GET").id("C-2");
    harbour.sandbox.faults().set(Faults { rules: vec![refuse], ..Faults::default() });
    harbour.deliver("a.csv", "txn,id,move,points,store,news\nT-1,C-1,earn,5,,hello\nT-2,C-2,earn,7,,hello\n");
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    assert_eq!(harbour.points("C-2"), 7.0);
    let name = harbour.run_of("a.csv").detail.reports.iter().find(|report| report.name.ends_with("errors.csv")).unwrap().name.clone();
    let errors = String::from_utf8(harbour.read(&format!("reports/{name}"))).unwrap();
    // A year and a half goes by.
    let long_ago = "2020-02-02T00:00:00Z";
    sql(&harbour, &format!("UPDATE add_key SET at = '{long_ago}'; UPDATE run SET detail = json_set(detail, '$.seen_at', '{long_ago}')"));
    harbour.change_config(|text| format!("retention = \"31d\"\n{text}"));
    harbour.once();
    assert_eq!(keys(&harbour), 0);
    harbour.deliver("fixed.errors.csv", errors.replace("earn,7,,hello", "earn,7,Lyon,hello again"));
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-2"), 7.0, "{}", harbour.said());
    let run = harbour.run_of("fixed.errors.csv");
    assert_eq!(run.detail.operations["earn"].get(Outcome::Refused), 1, "{:?}", run.detail.operations);
    assert_eq!(harbour.sandbox.member("C-2").unwrap()["metaData"]["store"], "Lyon");
    nothing_was_added_twice(&harbour);
}

fn keys(harbour: &Harbour) -> i64 {
    let ledger = rusqlite::Connection::open(harbour.state().join("ledger.sqlite")).unwrap();
    ledger.query_row("SELECT count(*) FROM add_key", [], |row| row.get(0)).unwrap()
}

/// An export that repeats all of its history every night keeps the keys of that history.
#[test]
fn a_key_that_files_repeat_is_kept() {
    let harbour = earning().start();
    harbour.deliver("monday.csv", earned(1..=3, 10));
    harbour.once().exits(0);
    sql(&harbour, "UPDATE add_key SET at = '2020-02-02T00:00:00Z' WHERE line < 4");
    harbour.deliver("tuesday.csv", earned(1..=4, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("tuesday")["rows"], serde_json::json!({ "applied": 1, "duplicate": 3 }));
    harbour.change_config(|text| format!("retention = \"31d\"\n{text}"));
    harbour.once();
    assert_eq!(keys(&harbour), 4, "{}", harbour.said());
    harbour.deliver("wednesday.csv", earned(1..=5, 10));
    harbour.once().exits(0);
    for pass in 1..=5 {
        assert_eq!(harbour.points(&format!("C-{pass}")), 10.0, "C-{pass}");
    }
    check_promises(&harbour);
}
