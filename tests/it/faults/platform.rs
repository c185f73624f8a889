//! The platform makes trouble: throttling, errors, outages, lost answers, keys that changed.

use std::time::{Duration, Instant};

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency, Outage, RetryAfter, Rule, Throttle, Trouble};

use super::delivery::snapshot;
use crate::rig::harbour::{KEY, harbour, wait_until, write_private};
use crate::rig::promises::check_promises;

fn throttled(retry_after: RetryAfter) -> Faults {
    Faults { throttle: Some(Throttle { per_second: 40.0, burst: 20.0, retry_after }), ..Faults::default() }
}

/// Throttling costs time and no row.
fn throttling_rejects_nothing(retry_after: RetryAfter) {
    let harbour = harbour().points_only().members(80).faults(throttled(retry_after)).start();
    harbour.deliver("points.csv", snapshot(1..=80, 10));
    harbour.once().exits(0);
    let statuses = harbour.sandbox.requests().stats().statuses;
    assert!(statuses.get(&429).copied().unwrap_or_default() > 0, "the sandbox throttled: {statuses:?}");
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 80 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn throttling_with_seconds_to_wait_rejects_nothing() {
    throttling_rejects_nothing(RetryAfter::Seconds);
}

#[test]
fn throttling_with_a_date_to_wait_for_rejects_nothing() {
    throttling_rejects_nothing(RetryAfter::Date);
}

#[test]
fn throttling_without_a_word_on_waiting_rejects_nothing() {
    throttling_rejects_nothing(RetryAfter::None);
}

#[test]
fn after_a_429_with_seconds_nobody_asks_before_they_are_over() {
    let harbour = harbour().points_only().members(200).platform("in_flight", "4").start();
    harbour.sandbox.faults().set(Faults {
        latency: Latency::Fixed { ms: 5 },
        throttle: Some(Throttle { per_second: 0.5, burst: 50.0, retry_after: RetryAfter::Seconds }),
        ..Faults::default()
    });
    harbour.deliver("points.csv", snapshot(1..=200, 10));
    let daemon = harbour.start(&["run"]);
    let refused = || harbour.sandbox.requests().select(|entry| entry.status == Some(429));
    wait_until("the sandbox throttles", || !refused().is_empty());
    // Two seconds were asked for; those in flight with the first refused one may still arrive.
    let first = refused()[0].clone();
    wait_until("somebody asks again", || harbour.sandbox.requests().all().last().is_some_and(|entry| entry.at_ms > first.at_ms + 1500));
    let between = harbour.sandbox.requests().select(|entry| entry.at_ms > first.at_ms + 200 && entry.at_ms < first.at_ms + 1900);
    assert!(between.is_empty(), "asked too early: {between:?}");
    harbour.sandbox.faults().clear();
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn a_burst_of_server_errors_pauses_the_run_and_rejects_no_row() {
    let harbour = harbour().points_only().members(60).start();
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", snapshot(1..=60, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    assert!(harbour.run_of("points.csv").detail.cause.is_some_and(|cause| !cause.is_empty()), "the cause is told");
    harbour.sandbox.faults().clear();
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 60 }));
    check_promises(&harbour);
}

#[test]
fn an_outage_in_the_middle_of_a_run_rejects_no_row() {
    let slow = Faults { latency: Latency::Fixed { ms: 20 }, ..Faults::default() };
    let harbour = harbour().points_only().members(150).faults(slow).start();
    harbour.deliver("points.csv", snapshot(1..=150, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes_by_pass().len() > 40);
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Close), ..Faults::default() });
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    harbour.sandbox.faults().clear();
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 150 }));
    check_promises(&harbour);
}

#[test]
fn a_sweep_gives_up_on_an_outage_and_the_next_one_finishes() {
    for outage in [Outage::Close, Outage::Unavailable] {
        let harbour = harbour().points_only().members(30).start();
        harbour.sandbox.faults().set(Faults { outage: Some(outage), ..Faults::default() });
        harbour.deliver("points.csv", snapshot(1..=30, 10));
        let begun = Instant::now();
        harbour.run(&["once", "--patience", "2s"]).exits(75);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        let run = harbour.run_of("points.csv");
        assert!(!run.state.is_over(), "{outage:?}: {}", run.state);
        assert_eq!(harbour.tree(), ["points.csv"]);
        harbour.sandbox.faults().clear();
        harbour.once().exits(0);
        assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 30 }));
        check_promises(&harbour);
    }
}

#[test]
fn server_errors_here_and_there_reject_no_row() {
    let harbour = harbour().members(100).start();
    harbour.sandbox.faults().set(Faults {
        seed: 3,
        rules: vec![
            Rule::new(Trouble::Unavailable).share(0.1),
            Rule::new(Trouble::BadGatewayHtml).share(0.05),
            Rule::new(Trouble::DropBefore).share(0.05),
        ],
        ..Faults::default()
    });
    harbour.deliver("points.csv", snapshot(1..=100, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 100 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn a_row_that_fails_alone_is_refused_and_holds_up_nobody() {
    let harbour = harbour().points_only().members(50).platform("tries", "3").start();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 500, message: None }).id("C-7"));
    harbour.deliver("points.csv", snapshot(1..=50, 10));
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 49, "refused": 1 }));
    let errors = harbour.errors("points");
    assert_eq!(
        (errors[0]["id"].as_str(), errors[0]["_codes"].as_str(), errors[0]["_retryable"].as_str()),
        ("C-7", "retries-exhausted", "yes")
    );
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn what_the_platform_refuses_is_said_in_its_words() {
    let harbour = harbour().points_only().start();
    harbour
        .sandbox
        .faults()
        .add(Rule::new(Trouble::Status { code: 400, message: Some("the harbour master says no".into()) }).method("PUT").id("C-3"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    let errors = harbour.errors("points");
    assert_eq!(errors.len(), 1);
    assert!(errors[0]["_problems"].contains("the harbour master says no"), "{errors:?}");
    assert_eq!(errors[0]["_outcome"], "refused");
    assert_eq!(harbour.writes_by_pass()["C-3"], 1, "a refusal is final");
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn answers_lost_after_applying_leave_every_pass_as_the_file_says() {
    let harbour = harbour().members(60).start();
    harbour.sandbox.faults().set(Faults {
        seed: 5,
        rules: vec![
            Rule::new(Trouble::DropAfter).method("PUT").share(0.15),
            Rule::new(Trouble::TruncatedBody).method("PUT").share(0.1),
            Rule::new(Trouble::WrongJson).method("PUT").share(0.05),
        ],
        ..Faults::default()
    });
    let rows: String = (1..=60).map(|n| format!("C-{n},{},tier {n},p{n}@example.com\n", 100 + n)).collect();
    harbour.deliver("points.csv", format!("id,points,tier,email\n{rows}"));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 60 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn a_lost_answer_to_an_enrolment_makes_no_second_pass() {
    let harbour = harbour().feed("operation", "\"upsert\"").feed("guard.created", "false").platform("tier", "\"base\"").start();
    for pass in 101..=105 {
        harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).method("POST").id(&format!("C-{pass}")).next(1));
    }
    let rows: String = (101..=120).map(|n| format!("C-{n},{n},new,p{n}@example.com\n")).collect();
    harbour.deliver("points.csv", format!("id,points,tier,email\n{rows}"));
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.members(), 9 + 20);
    check_promises(&harbour);
}

#[test]
fn a_key_that_is_refused_pauses_the_run_until_the_right_one_is_in_its_file() {
    let harbour = harbour().points_only().members(20).start();
    let secret = harbour.home.path().join("secret");
    write_private(&secret, "an old secret");
    harbour.deliver("points.csv", snapshot(1..=20, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    assert!(harbour.writes().iter().all(|entry| entry.status == Some(401)));
    write_private(&secret, crate::rig::harbour::SECRET);
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
    assert!(!harbour.said().contains("an old secret"));
    assert!(!harbour.said().contains(KEY));
    check_promises(&harbour);
}

#[test]
fn unauthorized_for_a_while_rejects_no_row() {
    let harbour = harbour().points_only().members(20).start();
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unauthorized), ..Faults::default() });
    harbour.deliver("points.csv", snapshot(1..=20, 10));
    harbour.run(&["once", "--patience", "1s"]).exits(75);
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
    check_promises(&harbour);
}

#[test]
fn a_bulk_lookup_that_fails_refuses_no_row() {
    let harbour = harbour().points_only().members(20).start();
    harbour.sandbox.faults().add(Rule::new(Trouble::DropBefore).method("POST").path("/member/list").next(5));
    harbour.deliver("points.csv", snapshot(1..=20, 10));
    // The single lookup stands in, or the run waits for the platform; no row is to blame.
    if harbour.once().exit == 75 {
        harbour.once().exits(0);
    }
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
    check_promises(&harbour);
}

#[test]
fn answers_slower_than_the_deadline_pause_the_run_and_reject_no_row() {
    let harbour = harbour().points_only().members(20).platform("timeout", "\"1s\"").start();
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 2500 }, ..Faults::default() });
    harbour.deliver("points.csv", snapshot(1..=20, 10));
    harbour.run(&["once", "--patience", "2s"]).exits(75);
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
    check_promises(&harbour);
}

#[test]
fn a_platform_that_is_not_there_rejects_no_row() {
    let harbour = harbour().points_only().members(20).start();
    let address = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&address, "http://127.0.0.1:1"));
    harbour.deliver("points.csv", snapshot(1..=20, 10));
    harbour.run(&["once", "--patience", "1s"]).exits(75);
    assert!(harbour.inbox().join("points.csv").exists());
    harbour.change_config(|text| text.replace("http://127.0.0.1:1\"", &format!("{address}\"")));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
    check_promises(&harbour);
}

#[test]
fn a_clock_that_is_wrong_rejects_no_row() {
    for skew in [-900, 900] {
        let harbour = harbour().points_only().members(20).start();
        harbour.sandbox.faults().set(Faults { clock_skew_seconds: skew, ..Faults::default() });
        harbour.deliver("points.csv", snapshot(1..=20, 10));
        let ran = harbour.run(&["once", "--patience", "1s"]);
        assert!(ran.exit == 0 || ran.exit == 75, "{ran:?}");
        harbour.sandbox.faults().clear();
        if ran.exit == 75 {
            harbour.once().exits(0);
        }
        assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 20 }));
        check_promises(&harbour);
    }
}

#[test]
fn what_others_wrote_to_a_pass_survives_an_update() {
    let harbour = harbour().start();
    let mut issue = passferry::sandbox::Issue { external_id: "C-50".into(), ..Default::default() };
    issue.meta_data.insert("store".into(), "12".into());
    harbour.sandbox.issue(std::iter::once(issue)).unwrap();
    harbour.sandbox.faults().add(Rule::new(Trouble::LostUpdate { key: "desk".into(), value: "4".into() }).method("GET").id("C-50").next(1));
    harbour.deliver("points.csv", "id,points,tier\nC-50,5,gold\n");
    harbour.once().exits(0);
    let member = harbour.sandbox.member("C-50").unwrap();
    assert_eq!((member["metaData"]["store"].as_str(), member["metaData"]["tier"].as_str()), (Some("12"), Some("gold")));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn a_pass_deleted_by_somebody_is_told_and_forgotten() {
    let harbour = harbour().points_only().start();
    harbour.deliver("monday.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    harbour.sandbox.faults().add(Rule::new(Trouble::DeleteMember).method("PUT").id("C-4").next(1));
    harbour.deliver("tuesday.csv", snapshot(1..=9, 20));
    harbour.once().exits(1);
    let errors = harbour.errors("tuesday");
    assert_eq!((errors.len(), errors[0]["id"].as_str()), (1, "C-4"), "{errors:?}");
    assert!(["unresolved", "refused"].contains(&errors[0]["_outcome"].as_str()), "{errors:?}");
    // It comes back, empty: the next file must not believe that it still holds Tuesday's points, nor Monday's.
    harbour.sandbox.issue(std::iter::once(passferry::sandbox::Issue { external_id: "C-4".into(), ..Default::default() })).unwrap();
    harbour.deliver("wednesday.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-4"), 14.0);
    check_promises(&harbour);
}
