//! Files after files: delivered again, newer and older, corrections, several feeds on one account, guards and what people decide.

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency};

use super::delivery::snapshot;
use crate::rig::harbour::{Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// C13.
#[test]
fn a_file_delivered_again_is_answered_at_once_and_asks_nothing() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    let requests = harbour.sandbox.requests().total();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.requests().total(), requests);
    let runs = harbour.runs();
    assert_eq!(runs.len(), 2);
    assert!(runs[1].detail.nothing_new);
    let reports: Vec<String> = harbour.tree().into_iter().filter(|path| path.ends_with(".report.json")).collect();
    assert_eq!(reports.len(), 2, "each delivery is answered: {reports:?}");
    check_promises(&harbour);
}

/// C13.
#[test]
fn the_same_rows_in_another_file_cost_no_write() {
    let harbour = harbour().start();
    harbour.deliver("monday.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    let writes = harbour.writes().len();
    harbour.deliver("tuesday.csv", snapshot(1..=9, 10).replace('\n', "\r\n"));
    harbour.once().exits(0);
    assert_eq!(harbour.writes().len(), writes);
    assert_eq!(harbour.report("tuesday")["rows"], serde_json::json!({ "unchanged": 9 }));
    check_promises(&harbour);
}

#[test]
fn a_then_b_then_a_ends_as_a() {
    let harbour = harbour().start();
    for (name, points) in [("1.csv", 100), ("2.csv", 200), ("3.csv", 100)] {
        harbour.deliver(name, snapshot(1..=9, points));
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-1"), f64::from(points + 1));
    }
    assert_eq!(harbour.report("3")["rows"], serde_json::json!({ "applied": 9 }));
    check_promises(&harbour);
}

#[test]
fn files_that_are_there_together_run_in_their_declared_order() {
    for (order, last) in [("name", 300), ("mtime", 100)] {
        let harbour = harbour().feed("order", &format!("{order:?}")).start();
        for (name, points, age) in [("c.csv", 300, 3000), ("a.csv", 100, 1000), ("b.csv", 200, 2000)] {
            harbour.deliver(name, snapshot(1..=9, points));
            let file = std::fs::File::options().append(true).open(harbour.inbox().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-1"), f64::from(last + 1), "by {order}");
        check_promises(&harbour);
    }
}

/// C12, C14.
#[test]
fn a_taken_name_in_the_archive_is_never_overwritten() {
    let harbour = harbour().start();
    std::fs::create_dir_all(harbour.inbox().join(".processed")).unwrap();
    std::fs::write(harbour.inbox().join(".processed/points.csv"), "somebody else's").unwrap();
    std::fs::create_dir_all(harbour.inbox().join("reports")).unwrap();
    std::fs::write(harbour.inbox().join("reports/points.report.json"), "somebody else's").unwrap();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.read(".processed/points.csv"), b"somebody else's");
    assert_eq!(harbour.read("reports/points.report.json"), b"somebody else's");
    let id = harbour.run_of("points.csv").id;
    assert!(harbour.inbox().join(format!(".processed/points-{id}.csv")).exists());
    assert!(harbour.inbox().join(format!("reports/points-{id}.report.json")).exists());
    check_promises(&harbour);
}

#[test]
fn corrected_rows_alone_are_applied_when_the_report_is_dropped_back() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points,tier,email\nC-1,1,=gold,a@example.com\nC-2,many,=SUM(A1),b@example.com\n0042,7,+x,c@example.com\nC-3,-3,'plain,d@example.com\nC-4,4,gold,e@example.com\n");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    assert_eq!(harbour.errors("points").len(), 3);
    assert!(report.contains("'=SUM(A1)"), "{report}");
    harbour.sandbox.issue(std::iter::once(passferry::sandbox::Issue { external_id: "0042".into(), ..Default::default() })).unwrap();
    let before = harbour.writes_by_pass();
    harbour.deliver("points.errors.csv", report.replace("many", "2").replace(",-3,", ",3,"));
    harbour.once().exits(0);
    let correction = harbour.run_of("points.errors.csv");
    assert_eq!(correction.parent.as_deref(), Some(harbour.run_of("points.csv").id.as_str()));
    for (pass, points, tier) in [("C-2", 2.0, "=SUM(A1)"), ("0042", 7.0, "+x"), ("C-3", 3.0, "'plain")] {
        let member = harbour.sandbox.member(pass).unwrap();
        assert_eq!((member["points"].as_f64(), member["metaData"]["tier"].as_str()), (Some(points), Some(tier)), "{pass}");
    }
    let after = harbour.writes_by_pass();
    assert_eq!((after.get("C-1"), after.get("C-4")), (before.get("C-1"), before.get("C-4")), "the other rows were not sent again");
    check_promises(&harbour);
}

#[test]
fn an_identifier_that_a_spreadsheet_shortened_is_not_taken_for_another() {
    let harbour = harbour().feed("operation", "\"upsert\"").platform("tier", "\"base\"").start();
    harbour.deliver("points.csv", "id,points\n0012345,many\nC-2,bad\n");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    harbour.deliver("points.errors.csv", report.replace("0012345,many", "12345,5").replace("bad", "2"));
    harbour.once().exits(1);
    assert!(harbour.sandbox.member("12345").is_none(), "no pass was issued for half an identifier");
    let again = harbour.errors(&format!("points-{}", harbour.run_of("points.errors.csv").id));
    let shown = format!("{again:?}");
    assert!(shown.contains("spreadsheet-damage"), "{shown}");
    assert_eq!(harbour.sandbox.member("C-2").unwrap()["points"].as_f64(), Some(2.0), "the other row was taken");
}

#[test]
fn an_untouched_error_report_is_ignored() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points\nC-1,many\nC-2,2\n");
    harbour.once().exits(1);
    let requests = harbour.sandbox.requests().total();
    let report = harbour.read("reports/points.errors.csv");
    harbour.deliver("points.errors.csv", &report);
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.requests().total(), requests);
    assert_eq!(harbour.runs().len(), 1, "no run of it");
    assert!(harbour.inbox().join("points.errors.csv").exists(), "it stays where it was put");
    check_promises(&harbour);
}

#[test]
fn a_correction_of_a_pass_that_moved_on_is_stale() {
    let harbour = harbour().start();
    harbour.deliver("monday.csv", "id,points\nC-1,many\nC-2,bad\n");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/monday.errors.csv")).unwrap();
    harbour.deliver("tuesday.csv", "id,points\nC-1,500\n");
    harbour.once().exits(0);
    harbour.deliver("monday.errors.csv", report.replace("many", "1").replace("bad", "2"));
    harbour.once();
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (500.0, 2.0));
    let stem = harbour
        .run_of("monday.errors.csv")
        .detail
        .reports
        .iter()
        .find(|report| report.name.ends_with(".report.json"))
        .unwrap()
        .name
        .clone();
    let report: serde_json::Value = serde_json::from_slice(&harbour.read(&format!("reports/{stem}"))).unwrap();
    assert_eq!(report["rows"], serde_json::json!({ "applied": 1, "stale": 1 }));
    check_promises(&harbour);
}

fn guarded() -> Plan {
    harbour()
        .points_only()
        .members(100)
        .feed("guard.floor", "10")
        .feed("guard.rejects", "\"5%\"")
        .feed("guard.zeroed", "\"20%\"")
        .feed("guard.rows", "\"50%..200%\"")
}

fn zeroes() -> String {
    let rows: String = (1..=100).map(|n| format!("C-{n},{}\n", if n <= 40 { 0 } else { 10 + n })).collect();
    format!("id,points\n{rows}")
}

#[test]
fn a_file_that_would_wipe_balances_is_held_and_applied_when_approved() {
    let harbour = guarded().start();
    harbour.deliver("monday.csv", snapshot(1..=100, 10));
    harbour.once().exits(0);
    let requests = harbour.sandbox.requests().total();
    harbour.deliver("tuesday.csv", zeroes());
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("tuesday.csv"), Some(State::Held));
    assert_eq!(harbour.sandbox.requests().total(), requests, "nothing is asked of the platform");
    assert!(harbour.inbox().join("tuesday.csv").exists());
    let report = harbour.report("tuesday.held");
    assert_eq!((report["state"].as_str(), report["guards"][0]["guard"].as_str()), (Some("held"), Some("zeroed")));
    harbour.once().exits(1);
    harbour.run(&["approve", "tuesday.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-100")), (0.0, 110.0));
    assert_eq!(harbour.report("tuesday")["rows"], serde_json::json!({ "applied": 40, "unchanged": 60 }));
    check_promises(&harbour);
}

#[test]
fn a_discarded_file_is_put_among_the_failed_and_sends_nothing() {
    let harbour = guarded().start();
    harbour.deliver("monday.csv", snapshot(1..=100, 10));
    harbour.once().exits(0);
    let requests = harbour.sandbox.requests().total();
    harbour.deliver("tuesday.csv", zeroes());
    harbour.once().exits(1);
    harbour.run(&["discard", "tuesday.csv"]).exits(0);
    harbour.once();
    assert_eq!(harbour.state_of("tuesday.csv"), Some(State::Discarded));
    assert_eq!(harbour.sandbox.requests().total(), requests);
    assert!(harbour.inbox().join(".error/tuesday.csv").exists(), "{:?}", harbour.tree());
    assert_eq!(harbour.points("C-1"), 11.0);
    check_promises(&harbour);
}

#[test]
fn too_many_bad_rows_hold_the_file() {
    let harbour = guarded().start();
    let bad: String = (1..=20).map(|n| format!("C-{n},many\n")).collect();
    harbour.deliver("points.csv", snapshot(21..=100, 10) + &bad);
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Held));
    assert_eq!(harbour.report("points.held")["guards"][0]["guard"], "rejects");
    assert_eq!(harbour.sandbox.requests().total(), 0);
    check_promises(&harbour);
}

#[test]
fn half_an_export_is_held_once_three_files_are_known() {
    let harbour = guarded().start();
    for day in 1..=3 {
        harbour.deliver(format!("{day}.csv"), snapshot(1..=100, day * 10));
        harbour.once().exits(0);
    }
    harbour.deliver("4.csv", snapshot(1..=40, 70));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("4.csv"), Some(State::Held));
    assert_eq!(harbour.report("4.held")["guards"][0]["guard"], "rows");
    check_promises(&harbour);
}

#[test]
fn the_first_file_of_a_feed_is_held() {
    let harbour = harbour().feed("guard.first_file", "true").start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.requests().total(), 0);
    assert_eq!(harbour.report("points.held")["guards"][0]["guard"], "first-file");
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(0);
    harbour.deliver("next.csv", snapshot(1..=9, 20));
    harbour.once().exits(0);
    check_promises(&harbour);
}

#[test]
fn a_newer_snapshot_takes_the_place_of_a_held_one() {
    let harbour = guarded().start();
    harbour.deliver("monday.csv", snapshot(1..=100, 10));
    harbour.once().exits(0);
    harbour.deliver("tuesday.csv", zeroes());
    harbour.once().exits(1);
    harbour.deliver("wednesday.csv", snapshot(1..=100, 30));
    harbour.once();
    assert_eq!(harbour.state_of("wednesday.csv"), Some(State::Done));
    assert_eq!(harbour.state_of("tuesday.csv"), Some(State::Superseded));
    assert_eq!(harbour.points("C-1"), 31.0);
    check_promises(&harbour);
}

#[test]
fn a_held_file_of_changes_blocks_those_behind_it() {
    let harbour = guarded().feed("content", "\"delta\"").start();
    harbour.deliver("1.csv", snapshot(1..=100, 10));
    harbour.once().exits(0);
    harbour.deliver("2.csv", zeroes());
    harbour.once().exits(1);
    let requests = harbour.sandbox.requests().total();
    harbour.deliver("3.csv", snapshot(1..=100, 30));
    harbour.once();
    assert_eq!(harbour.sandbox.requests().total(), requests, "3 waits behind 2");
    assert!(!harbour.state_of("3.csv").unwrap().is_over());
    harbour.run(&["approve", "2.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!((harbour.state_of("2.csv"), harbour.state_of("3.csv")), (Some(State::Done), Some(State::Done)));
    assert_eq!(harbour.points("C-1"), 31.0);
    check_promises(&harbour);
}

#[test]
fn a_stopped_run_leaves_its_rest_unattempted() {
    const PASSES: u32 = 300;
    let slow = Faults { latency: Latency::Fixed { ms: 30 }, ..Faults::default() };
    let harbour = harbour().points_only().members(PASSES).faults(slow).start();
    harbour.deliver("points.csv", snapshot(1..=PASSES, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes_by_pass().len() >= 50);
    harbour.run(&["stop", "points.csv"]).exits(0);
    wait_until("the run is stopped", || harbour.state_of("points.csv") == Some(State::Stopped));
    wait_until("the file is put away", || harbour.inbox().join(".error/points.csv").exists());
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    let rows = harbour.report("points")["rows"].clone();
    assert_eq!(rows["applied"].as_u64().unwrap() + rows["not-attempted"].as_u64().unwrap(), u64::from(PASSES));
    assert_eq!(harbour.writes().len() as u64, rows["applied"].as_u64().unwrap());
    check_promises(&harbour);
}

/// A second feed on the same account, from an inbox of its own.
const OTHER: &str = "[feed.other]\nsource = \"port\"\ninbox = \"other\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                     environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\nquiet = \"150ms\"\nguard.first_file = false\n\
                     [feed.other.fields]\npoints = \"points\"\n";

#[test]
fn two_feeds_that_touch_the_same_passes_keep_the_order_of_arrival() {
    const PASSES: u32 = 400;
    let slow = Faults { latency: Latency::Fixed { ms: 150 }, ..Faults::default() };
    let harbour = harbour().points_only().members(PASSES).faults(slow).more(OTHER).start();
    std::fs::create_dir_all(harbour.root.join("other")).unwrap();
    harbour.deliver("first.csv", snapshot(1..=PASSES, 1000));
    let daemon = harbour.start(&["run"]);
    wait_until("the first feed applies", || harbour.writes_by_pass().len() >= 10);
    // One pass in common, and one that the first file does not name.
    harbour.sandbox.issue(std::iter::once(passferry::sandbox::Issue { external_id: "C-900".into(), ..Default::default() })).unwrap();
    harbour.deliver_to("other", "second.csv", format!("id,points\nC-{PASSES},1\nC-900,2\n"));
    wait_until("the row without conflict is applied", || harbour.points("C-900") > 1.0);
    assert_ne!(harbour.state_of("first.csv"), Some(State::Done), "it did not wait for the first file");
    harbour.sandbox.faults().clear();
    wait_until("both are done", || ["first.csv", "second.csv"].iter().all(|name| harbour.state_of(name) == Some(State::Done)));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.points(&format!("C-{PASSES}")), 1.0, "what came last counts");
    check_promises(&harbour);
}

#[test]
fn a_paused_feed_begins_nothing_until_it_is_resumed() {
    let harbour = harbour().start();
    harbour.run(&["pause", "points"]).exits(0);
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once();
    assert_eq!(harbour.sandbox.requests().total(), 0);
    assert!(harbour.inbox().join("points.csv").exists());
    harbour.run(&["resume", "points"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-9"), 19.0);
    check_promises(&harbour);
}

#[test]
fn rows_tried_again_are_those_that_failed_and_no_others() {
    let harbour = harbour().points_only().platform("tries", "2").members(30).start();
    harbour.sandbox.faults().add(passferry::sandbox::Rule::new(passferry::sandbox::Trouble::Status { code: 500, message: None }).id("C-7"));
    harbour.deliver("points.csv", snapshot(1..=30, 10));
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    let before = harbour.writes().len();
    harbour.run(&["retry", "points.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-7"), 17.0);
    assert_eq!(harbour.writes().len(), before + 1);
    // A person's word: what the pass holds no longer follows from the file's own run alone.
    check_promises(&harbour);
}

#[test]
fn a_run_counts_the_requests_that_it_sent_itself() {
    let slow = Faults { latency: Latency::Fixed { ms: 100 }, ..Faults::default() };
    let harbour = harbour().folder().points_only().members(330).faults(slow).more(OTHER).start();
    std::fs::create_dir_all(harbour.root.join("other")).unwrap();
    harbour.deliver("first.csv", snapshot(1..=300, 1000));
    let daemon = harbour.start(&["run"]);
    wait_until("the first feed applies", || harbour.writes().len() >= 10);
    harbour.deliver_to("other", "second.csv", snapshot(301..=330, 1000));
    wait_until("both are done", || ["first.csv", "second.csv"].iter().all(|name| harbour.state_of(name) == Some(State::Done)));
    assert_eq!(daemon.terminate(), 0);
    let counted = |name: &str| harbour.run_of(name).detail.requests;
    assert_eq!((counted("first.csv"), counted("second.csv")), (300, 30), "one request a row");
    check_promises(&harbour);
}

#[test]
fn a_then_a_part_of_b_then_a_ends_as_a() {
    let harbour = harbour().folder().points_only().platform("in_flight", "1").start();
    harbour.deliver("1.csv", snapshot(1..=9, 100));
    harbour.once().exits(0);
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 150 }, ..Faults::default() });
    harbour.deliver("2.csv", snapshot(1..=9, 200));
    let daemon = harbour.start(&["run"]);
    let applied = || (1..=9).filter(|n| harbour.points(&format!("C-{n}")) > 200.0).count();
    wait_until("some of it is applied", || applied() >= 3);
    daemon.kill();
    harbour.sandbox.faults().clear();
    harbour.run(&["stop", "2.csv"]).exits(0);
    harbour.once();
    assert_eq!(harbour.state_of("2.csv"), Some(State::Stopped));
    harbour.deliver("3.csv", snapshot(1..=9, 100));
    harbour.once().exits(0);
    for n in 1..=9 {
        assert_eq!(harbour.points(&format!("C-{n}")), f64::from(100 + n), "{}", harbour.report("3")["rows"]);
    }
    check_promises(&harbour);
}
