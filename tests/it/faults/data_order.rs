//! Files and rows that come in another order than they were written.

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency, Rule, Trouble};
use serde_json::json;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// Points with the time at which they were true.
fn timed(kind: &str) -> Plan {
    let schema = format!(
        r#"{{ "fieldsMatch": "superset", "fields": [{{ "name": "id", "type": "string" }}, {{ "name": "points", "type": "integer" }},
             {{ "name": "tier", "type": "string" }}, {{ "name": "changed", {kind} }}] }}"#
    );
    harbour().schema(&schema).feed("fields.\"person.emailAddress\"", "").feed("updated_at", "\"changed\"")
}

#[track_caller]
fn takes(harbour: &Harbour, name: &str, content: &str, rows: &serde_json::Value) {
    harbour.deliver(format!("{name}.csv"), content);
    let ran = harbour.once();
    assert_eq!(&harbour.report(name)["rows"], rows, "{name}\n{}", ran.err);
}

/// E2. Older rows are stale, equal ones are not, whichever file comes when; and a stop in between changes nothing of it.
#[test]
fn a_row_older_than_what_was_applied_to_its_pass_is_stale() {
    let harbour = timed(r#""type": "datetime""#).start();
    let header = "id,points,changed\n";
    takes(&harbour, "tuesday", &format!("{header}C-1,20,2026-03-10T10:00:00Z\nC-2,20,2026-03-10T10:00:00Z\n"), &json!({ "applied": 2 }));
    let writes = harbour.writes().len();
    let monday = format!("{header}C-1,10,2026-03-09T10:00:00Z\nC-2,11,2026-03-10T10:00:00Z\nC-3,12,2026-03-09T10:00:00Z\n");
    takes(&harbour, "monday", &monday, &json!({ "applied": 2, "stale": 1 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2"), harbour.points("C-3")), (20.0, 11.0, 12.0));
    assert_eq!(harbour.writes().len(), writes + 2);
    // The same instant in another zone, and one microsecond before it.
    let zones = format!("{header}C-1,21,2026-03-10T11:00:00+01:00\nC-2,22,2026-03-10T09:59:59.999999Z\n");
    takes(&harbour, "zones", &zones, &json!({ "applied": 1, "stale": 1 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (21.0, 11.0));
    check_promises(&harbour);
}

/// E2. What confirmed the present state counts as well: the state at noon is not undone by that of the morning.
#[test]
fn a_row_that_changed_nothing_still_says_how_new_its_pass_is() {
    let harbour = timed(r#""type": "datetime""#).start();
    let header = "id,points,changed\n";
    takes(&harbour, "1", &format!("{header}C-1,20,2026-03-10T08:00:00Z\n"), &json!({ "applied": 1 }));
    takes(&harbour, "2", &format!("{header}C-1,20,2026-03-10T12:00:00Z\n"), &json!({ "unchanged": 1 }));
    takes(&harbour, "3", &format!("{header}C-1,15,2026-03-10T10:00:00Z\n"), &json!({ "stale": 1 }));
    assert_eq!(harbour.points("C-1"), 20.0);
    check_promises(&harbour);
}

/// E2. Only what was applied counts.
#[test]
fn a_row_that_failed_makes_no_later_one_stale() {
    let harbour = timed(r#""type": "datetime""#).start();
    let rules = vec![Rule::new(Trouble::Status { code: 400, message: Some("no".into()) }).method("PUT").id("C-2")];
    harbour.sandbox.faults().set(Faults { rules, ..Faults::default() });
    let header = "id,points,changed\n";
    let new = "2026-03-10T12:00:00Z";
    takes(
        &harbour,
        "1",
        &format!("{header}C-1,bad,{new}\nC-2,20,{new}\nC-77,20,{new}\n"),
        &json!({ "refused": 1, "rejected": 1, "unresolved": 1 }),
    );
    harbour.sandbox.faults().clear();
    let old = "2026-03-09T12:00:00Z";
    takes(&harbour, "2", &format!("{header}C-1,10,{old}\nC-2,11,{old}\n"), &json!({ "applied": 2 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (10.0, 11.0));
    check_promises(&harbour);
}

/// E2. Within a file as between files, and before the policy for several rows of a pass.
#[test]
fn of_rows_of_one_pass_the_newest_wins_whatever_their_order_in_the_file() {
    let harbour = timed(r#""type": "integer""#).start();
    let rows = "id,points,changed\nC-1,1,7\nC-1,2,9\nC-1,3,8\nC-2,4,1\nC-2,5,1\n";
    takes(&harbour, "1", rows, &json!({ "applied": 2, "stale": 1, "superseded": 2 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (2.0, 5.0));
    takes(&harbour, "2", "id,points,changed\nC-1,6,8\nC-1,7,10\n", &json!({ "applied": 1, "stale": 1 }));
    assert_eq!(harbour.points("C-1"), 7.0);
    check_promises(&harbour);
}

/// E2. A date counts as its beginning, and a row that does not say when is rejected: nobody could tell whether it is stale.
#[test]
fn a_row_that_does_not_say_when_it_was_true_is_rejected() {
    let harbour = timed(r#""type": "date""#).start();
    takes(&harbour, "1", "id,points,changed\nC-1,1,2026-03-10\nC-2,2,\n", &json!({ "applied": 1, "rejected": 1 }));
    takes(&harbour, "2", "id,points,changed\nC-1,3,2026-03-09\nC-2,4,2026-03-01\n", &json!({ "applied": 1, "stale": 1 }));
    takes(&harbour, "3", "id,points\nC-1,9\n", &json!({ "rejected": 1 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 4.0));
    check_promises(&harbour);
}

/// E2. Killed between the answer and the next start: what is written down of a pass's age is what was applied to it.
#[test]
fn a_kill_in_the_middle_forgets_no_age_and_invents_none() {
    const PASSES: u32 = 120;
    let slow = Faults { latency: Latency::Fixed { ms: 20 }, ..Faults::default() };
    let harbour = timed(r#""type": "integer""#).members(PASSES).faults(slow).platform("in_flight", "4").start();
    let rows = |points: u32, age: u32| -> String {
        let rows: String = (1..=PASSES).map(|n| format!("C-{n},{},{age}\n", points + n)).collect();
        format!("id,points,changed\n{rows}")
    };
    harbour.deliver("new.csv", rows(1000, 20));
    let daemon = harbour.start(&["run"]);
    wait_until("some rows are recorded", || {
        harbour.ledger_is_there() && harbour.runs().first().is_some_and(|run| harbour.ledger().tally(&run.id).unwrap().total() >= 10)
    });
    daemon.kill();
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.report("new")["rows"], json!({ "applied": PASSES }));
    takes(&harbour, "old", &rows(10, 10), &json!({ "stale": PASSES }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-120")), (1001.0, 1120.0));
    check_promises(&harbour);
}

/// E2. The column must be one that can be compared, and there.
#[test]
fn a_column_that_says_no_time_is_refused_with_the_configuration() {
    for (kind, column, told) in [(r#""type": "string""#, "changed", "datetime"), (r#""type": "date""#, "chnaged", "changed")] {
        let harbour = timed(kind).feed("updated_at", &format!("{column:?}")).start();
        harbour.once().exits(78).says(told);
    }
}

fn numbered(gap: &str) -> Plan {
    harbour().points_only().feed("order", &format!("{{ stamp = '_(\\d+)\\.csv', gap = {gap:?} }}"))
}

/// E2. By the number in the name, not by letters and not by the server's clock.
#[test]
fn files_run_by_the_number_in_their_names() {
    let harbour = numbered("ignore").start();
    for (name, points) in [("p_10.csv", 1000), ("p_9.csv", 900), ("p_2.csv", 200)] {
        harbour.deliver(name, snapshot(1..=9, points));
    }
    harbour.once().exits(0);
    let order: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(order, ["p_2.csv", "p_9.csv", "p_10.csv"]);
    assert_eq!(harbour.points("C-1"), 1001.0);
    check_promises(&harbour);
}

/// E2.
#[test]
fn files_run_by_the_date_in_their_names_in_the_declared_form() {
    let harbour = harbour().points_only().feed("order", "{ stamp = '_(\\d{8})\\.csv', format = \"%d%m%Y\" }").start();
    for (name, points) in [("p_01022026.csv", 200), ("p_31012026.csv", 100), ("p_99992026.csv", 666), ("other.csv", 777)] {
        harbour.deliver(name, snapshot(1..=9, points));
    }
    harbour.once().exits(0);
    let order: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(order, ["p_31012026.csv", "p_01022026.csv"]);
    assert_eq!(harbour.points("C-1"), 201.0);
    assert_eq!(
        harbour.said().matches("its name has no stamp").count(),
        2,
        "a file that cannot be placed is told and left: {}",
        harbour.said()
    );
    check_promises(&harbour);
}

/// E2. An older file that arrives after a newer one was applied undoes nothing before somebody says so.
#[test]
fn a_file_that_comes_too_late_is_held() {
    let harbour = numbered("ignore").start();
    harbour.deliver("p_2.csv", snapshot(1..=9, 200));
    harbour.once().exits(0);
    harbour.deliver("p_1.csv", snapshot(1..=9, 100));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("p_1.csv"), Some(State::Held));
    let report = harbour.report("p_1.held");
    assert_eq!(report["guards"][0]["guard"], "late-file");
    assert!(report["guards"][0]["evidence"].as_str().unwrap().contains("before 2"), "{report:#}");
    assert_eq!(harbour.points("C-1"), 201.0);
    harbour.run(&["discard", "p_1.csv"]).exits(0);
    harbour.once();
    harbour.deliver("p_3.csv", snapshot(1..=9, 300));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 301.0);
    check_promises(&harbour);
}

/// E2. Where rows say how new they are, a late file needs nobody.
#[test]
fn a_late_file_whose_rows_say_how_new_they_are_is_applied_row_by_row() {
    let harbour = timed(r#""type": "integer""#).feed("order", "{ stamp = '_(\\d+)\\.csv' }").start();
    takes(&harbour, "p_2", "id,points,changed\nC-1,20,20\n", &json!({ "applied": 1 }));
    takes(&harbour, "p_1", "id,points,changed\nC-1,10,10\nC-2,11,10\n", &json!({ "applied": 1, "stale": 1 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (20.0, 11.0));
    check_promises(&harbour);
}

/// E2.
#[test]
fn a_gap_in_the_numbers_is_told_where_the_feed_wants_it() {
    for (gap, told) in [("warn", true), ("ignore", false)] {
        let harbour = numbered(gap).start();
        harbour.deliver("p_7.csv", snapshot(1..=9, 100));
        harbour.once().exits(0);
        assert_eq!(harbour.report("p_7")["guards"].as_array().map(Vec::len), Some(0), "the first file begins the numbers");
        harbour.deliver("p_10.csv", snapshot(1..=9, 200));
        harbour.once().exits(0);
        let report = harbour.report("p_10");
        assert_eq!(report["rows"], json!({ "applied": 9 }));
        let words = report["warnings"].to_string();
        assert_eq!(words.contains("number 8 to 9 is missing before 10"), told, "{words}");
        check_promises(&harbour);
    }
}

/// E2.
#[test]
fn a_file_behind_a_gap_waits_until_the_missing_one_has_come() {
    let harbour = numbered("hold").start();
    harbour.deliver("p_1.csv", snapshot(1..=9, 100));
    harbour.once().exits(0);
    harbour.deliver("p_3.csv", snapshot(1..=9, 300));
    harbour.deliver("p_4.csv", snapshot(1..=9, 400));
    harbour.once().exits(75).says("number 2 has not come");
    assert_eq!((harbour.state_of("p_3.csv"), harbour.points("C-1")), (None, 101.0));
    let waiting = harbour.ledger().waiting(None).unwrap();
    assert!(waiting[0].words.contains("number 2 has not come"), "{waiting:?}");
    assert!(harbour.ledger().source_notes().unwrap().iter().all(|note| note.trouble.is_none()), "its source is well");
    harbour.deliver("p_2.csv", snapshot(1..=9, 200));
    harbour.once().exits(0);
    let order: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(order, ["p_1.csv", "p_2.csv", "p_3.csv", "p_4.csv"]);
    assert_eq!(harbour.points("C-1"), 401.0);
    check_promises(&harbour);
}

/// E2, C10. A file that is complete does not overtake an earlier one that is still being uploaded.
#[test]
fn a_complete_file_waits_for_an_earlier_one_that_is_still_coming() {
    let harbour = numbered("ignore").feed("quiet", "").feed("marker", "\"{}.done\"").start();
    harbour.deliver("p_1.csv", snapshot(1..=9, 100));
    harbour.deliver("p_2.csv", snapshot(1..=9, 200));
    std::fs::write(harbour.inbox().join("p_2.csv.done"), "").unwrap();
    harbour.once();
    assert_eq!(harbour.runs().len(), 0, "{}", harbour.said());
    std::fs::write(harbour.inbox().join("p_1.csv.done"), "").unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 201.0);
    harbour.quiet_after.set(false);
    check_promises(&harbour);
}

/// E2. A correction that waits behind the rows of the file that it corrects is compared with what those rows brought.
#[test]
fn a_correction_that_waited_for_another_file_undoes_nothing_newer() {
    let more = "[feed.other]\nsource = \"port\"\ninbox = \"other\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                environment = \"test\"\npass = { external_id = \"id\" }\nquiet = \"10ms\"\nguard.first_file = false\nfields.points = \"points\"\n";
    let plan = timed(r#""type": "integer""#).folder().feed("guard.rejects", "\"20%\"").feed("guard.floor", "1");
    let plan = plan.feed("fields.\"metaData.tier\"", "").feed("quiet", "\"10ms\"").platform("in_flight", "1").members(12).more(more);
    let harbour = plan.start();
    std::fs::create_dir_all(harbour.root.join("other")).unwrap();
    let rows = |cell: &dyn Fn(u32) -> String, changed: u32| (1..=12).map(|n| format!("C-{n},{},{changed}\n", cell(n))).collect::<String>();
    let (old, new) = (rows(&|_| "bad".to_owned(), 10), rows(&|n| (3000 + n).to_string(), 30));
    harbour.deliver("points.csv", format!("id,points,changed\n{old}{new}"));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Held));
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 160 }, ..Faults::default() });
    harbour.run(&["approve", "points.csv"]).exits(0);
    let daemon = harbour.start(&["run"]);
    wait_until("the file applies", || harbour.writes().len() >= 2);
    let errors = String::from_utf8(harbour.read("reports/points.held.errors.csv")).unwrap();
    harbour.deliver_to("other", "back.errors.csv", errors.replace(",bad,", ",7,"));
    wait_until("the correction is over", || harbour.state_of("back.errors.csv").is_some_and(State::is_over));
    wait_until("the file is over", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    assert!(harbour.run_of("back.errors.csv").parent.is_some(), "{}", harbour.said());
    for n in 1..=12 {
        assert_eq!(harbour.points(&format!("C-{n}")), f64::from(3000 + n), "what is newer stays\n{}", harbour.said());
    }
    assert_eq!(harbour.run_of("back.errors.csv").detail.tally.get(passferry::outcome::Outcome::Stale), 12);
    assert_eq!(harbour.writes().len(), 12);
}
