//! Killed while rows went out, and then: restored, stopped, discarded, checked again beside other runs. What may have been sent is never
//! taken for something that was not, and a run keeps its place among those of its account.

use std::fs;

use passferry::ledger::State;
use passferry::outcome::Outcome;
use passferry::sandbox::{Faults, Latency};

use super::adds::{earnings, keys, movements, total};
use super::keep_verify::ask;
use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::disk::Disk;
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// Answers come so slowly that each is written down before the next request leaves.
fn slow() -> Faults {
    Faults { latency: Latency::Fixed { ms: 160 }, ..Faults::default() }
}

fn kill_at(harbour: &Harbour, request: &str, nth: u64) {
    harbour.sandbox.faults().set(slow());
    let crashed = crash(harbour, &["once"], &Moment { mode: Mode::After, nth, matching: request.to_owned() });
    assert!(crashed.reached, "exit {}\n{}", crashed.ran.exit, crashed.ran.err);
    harbour.sandbox.faults().clear();
}

fn restore(harbour: &Harbour, backup: &str) {
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(harbour.state().join(name));
    }
    fs::copy(harbour.home.path().join(backup), harbour.state().join("ledger.sqlite")).unwrap();
}

fn is_held_for_unknown_reports(harbour: &Harbour, name: &str) {
    let run = harbour.run_of(name);
    assert_eq!(run.state, State::Held, "{}", harbour.said());
    assert!(run.detail.verdicts.iter().any(|verdict| verdict.held && verdict.guard == "unknown-reports"), "{:?}", run.detail.verdicts);
}

/// B8. Requests of a start that was killed are counted by nobody: what its report says of rows counts.
#[test]
fn a_restored_ledger_adds_nothing_that_a_killed_start_applied() {
    let harbour = movements().unmodelled().platform("in_flight", "1").start();
    harbour.deliver("a.csv", earnings(1, 3));
    harbour.once().exits(0);
    harbour.run(&["backup", "ledger.backup"]).exits(0);
    harbour.deliver("b.csv", earnings(100, 6));
    kill_at(&harbour, "PUT ", 4);
    harbour.run(&["stop", "b.csv"]).exits(0);
    harbour.once();
    assert_eq!(harbour.report("b")["state"], "stopped");
    let before = total(&harbour);
    assert!(before >= 30.0 + 20.0, "{before}");
    restore(&harbour, "ledger.backup");
    harbour.deliver("b2.csv", earnings(100, 6));
    harbour.once().exits(1);
    is_held_for_unknown_reports(&harbour, "b2.csv");
    assert_eq!(total(&harbour), before);
    assert!(harbour.sandbox.double_effects().is_empty());
}

/// B8. The backup knows the run, as one that was not over; what is done with it here does not make its report known.
#[test]
fn a_file_that_a_restored_ledger_ended_otherwise_is_held_when_it_comes_again() {
    let harbour = movements().unmodelled().platform("in_flight", "1").faults(slow()).start();
    harbour.deliver("b.csv", earnings(1, 6));
    let daemon = harbour.start(&["run"]);
    wait_until("it is being applied", || harbour.state_of("b.csv") == Some(State::Applying));
    harbour.run(&["backup", "ledger.backup"]).exits(0);
    wait_until("it is over", || harbour.state_of("b.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    restore(&harbour, "ledger.backup");
    // Its copy is gone, and its input was put away.
    harbour.once();
    if harbour.state_of("b.csv") == Some(State::Held) {
        harbour.run(&["discard", "b.csv"]).exits(0);
        harbour.once();
    }
    assert!(harbour.run_of("b.csv").state.is_over(), "{}", harbour.said());
    harbour.deliver("again.csv", earnings(1, 6));
    harbour.once().exits(1);
    is_held_for_unknown_reports(&harbour, "again.csv");
    assert_eq!(total(&harbour), 60.0);
    assert!(harbour.sandbox.double_effects().is_empty());
}

/// Promise 2: A, B, A ends as A, whatever became of B.
#[test]
fn a_file_after_one_that_was_killed_and_stopped_is_not_called_nothing_new() {
    let rows = |points: u32| (1..=6).fold("id,points\n".to_owned(), |text, n| format!("{text}C-{n},{}\n", points + n));
    let harbour = harbour().folder().points_only().platform("in_flight", "1").start();
    harbour.deliver("a.csv", rows(100));
    harbour.once().exits(0);
    harbour.deliver("b.csv", rows(200));
    kill_at(&harbour, "PUT ", 4);
    harbour.run(&["stop", "b.csv"]).exits(0);
    harbour.once();
    harbour.deliver("a2.csv", rows(100));
    harbour.once().exits(0);
    for n in 1..=6 {
        assert_eq!(harbour.points(&format!("C-{n}")), f64::from(100 + n), "C-{n}\n{}", harbour.said());
    }
    check_promises(&harbour);
}

/// Promises 1 and 3.
#[test]
fn discarding_a_run_that_was_half_sent_and_is_to_be_fetched_again_ends_every_row() {
    let harbour = movements().platform("in_flight", "1").platform("read_back", "\"nothing\"").start();
    let _disk = Disk::memory(&harbour.state(), 32 << 20);
    harbour.change_config(|text| format!("reserve = \"256KiB\"\nspace_factor = 1.0\n{text}"));
    // Large enough that it can be said not to fit.
    harbour
        .deliver("b.csv", earnings(1, 6).replace("points\n", "points,store\n").replace(",10\n", &format!(",10,{}\n", "x".repeat(10_000))));
    kill_at(&harbour, "PUT ", 3);
    let run = harbour.run_of("b.csv");
    for copy in fs::read_dir(harbour.state().join("spool")).unwrap().flatten() {
        let _ = fs::remove_file(copy.path());
    }
    harbour.change_config(|text| text.replace("space_factor = 1.0", "space_factor = 1000.0"));
    harbour.once();
    assert_eq!(harbour.run_of("b.csv").state, State::Complete, "{}", harbour.said());
    harbour.run(&["discard", "b.csv"]).exits(0);
    harbour.change_config(|text| text.replace("space_factor = 1000.0", "space_factor = 1.0"));
    harbour.once();
    let run = harbour.ledger().run(&run.id).unwrap().unwrap();
    assert!(run.state.is_over(), "{}", harbour.said());
    assert_eq!(harbour.ledger().count_pending(&run.id).unwrap(), 0);
    assert_eq!(run.detail.tally.total(), 6, "{:?}", run.detail.tally);
    assert!(run.detail.tally.get(Outcome::Applied) + run.detail.tally.get(Outcome::InDoubt) >= 2, "{:?}", run.detail.tally);
    assert_eq!(keys(&harbour, passferry::ledger::KeyState::Intended), 0);
    let (_, said) = ask(&harbour, &["verify"], b"");
    assert!(said.lines().all(|line| line.contains("spool-missing") || line.ends_with("1 finding")), "{said}");
}

/// Another feed of the same source and account.
fn with_another_feed(plan: Plan, name: &str, inbox: &str, pattern: &str) -> Plan {
    plan.more(&format!(
        "[feed.{name}]\nsource = \"port\"\ninbox = \"{inbox}\"\npattern = \"{pattern}\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\n\
         platform = \"cards\"\nenvironment = \"test\"\npass = {{ external_id = \"id\" }}\noperation = \"update\"\nquiet = \"10ms\"\n\
         guard.first_file = false\nfields.points = \"points\"\n"
    ))
}

/// Promise 10. The first file is half applied and must be checked again under a changed feed; the second waits behind it all the same.
#[test]
fn a_run_that_is_checked_again_keeps_its_place_before_those_of_other_feeds() {
    for paused in [false, true] {
        let plan = harbour().folder().points_only().platform("in_flight", "1").faults(slow());
        let harbour = with_another_feed(plan, "second", "second", "*.csv").start();
        let second = harbour.root.join("second");
        fs::create_dir_all(&second).unwrap();
        let rows = |points: u32| (1..=6).fold("id,points\n".to_owned(), |text, n| format!("{text}C-{n},{}\n", points + n));
        harbour.deliver("first.csv", rows(100));
        let daemon = harbour.start(&["run"]);
        wait_until("the first is being applied", || harbour.writes().len() >= 2);
        harbour.deliver_to("second", "second.csv", rows(200));
        wait_until("the second waits behind it", || {
            harbour.runs().iter().any(|run| run.feed == "second" && matches!(run.state, State::Checked | State::Applying))
        });
        daemon.kill();
        harbour.sandbox.faults().clear();
        harbour.change_config(|text| text.replace("[feed.points]", "[feed.points]\ntimezone = \"Europe/Paris\""));
        if paused {
            // The later one cannot go on at first, and is then behind one that was checked after it.
            harbour.run(&["pause", "second"]).exits(0);
            harbour.once();
            harbour.run(&["resume", "second"]).exits(0);
        }
        for _ in 0..3 {
            harbour.once();
        }
        assert_eq!(harbour.state_of("first.csv"), Some(State::Done), "{}", harbour.said());
        assert_eq!(harbour.state_of("second.csv"), Some(State::Done), "{}", harbour.said());
        for n in 1..=6 {
            assert_eq!(harbour.points(&format!("C-{n}")), f64::from(200 + n), "the later file is last\n{}", harbour.said());
        }
    }
}

/// A correction under a name of no feed is found by whichever feed comes first; it is worked on by one hand all the same.
#[test]
fn a_correction_that_another_feeds_hand_takes_is_applied_by_one_hand() {
    let plan = movements().platform("in_flight", "1").platform("read_back", "\"nothing\"").platform("timeout", "\"5s\"");
    // Before "points" in the alphabet.
    let plan = plan.feed("pattern", "\"points_*.csv\"");
    let harbour = with_another_feed(plan, "before", "in", "first_*.csv").start();
    harbour.deliver("points_1.csv", earnings(1, 9).replace(",10", ",none"));
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points_1.errors.csv")).unwrap();
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 700 }, ..Faults::default() });
    let daemon = harbour.start(&["run"]);
    harbour.deliver("fixed.errors.csv", report.replace(",none,", ",10,"));
    wait_until("the correction is over", || harbour.state_of("fixed.errors.csv").is_some_and(State::is_over));
    assert_eq!(daemon.terminate(), 0);
    let run = harbour.run_of("fixed.errors.csv");
    assert_eq!((run.state, run.detail.tally.get(Outcome::Applied)), (State::Done, 9), "{}", harbour.said());
    assert_eq!(total(&harbour), 90.0);
    assert_eq!(harbour.writes().len(), 9);
}
