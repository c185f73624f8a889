//! The program is killed at every station, as a power failure would, and started again.

use std::collections::BTreeMap;
use std::fs;

use passferry::ledger::State;
use passferry::outcome::Outcome;
use passferry::sandbox::{Faults, Latency};

use super::delivery::{downloaded, padding, snapshot};
use crate::rig::harbour::{Harbour, Process, harbour, wait_until};
use crate::rig::promises::check_promises;

#[test]
fn killed_while_it_fetches_it_fetches_again() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(3000));
    let daemon = harbour.start(&["run"]);
    wait_until("the connection is there", || harbour.proxy.accepted() > 0);
    harbour.proxy.rate(50_000);
    wait_until("part of the file is here", || downloaded(&harbour) > 0);
    daemon.kill();
    assert_eq!(harbour.sandbox.requests().total(), 0);
    harbour.proxy.rate(0);
    harbour.once().exits(1);
    assert_eq!(harbour.writes().len(), 9);
    check_promises(&harbour);
}

#[test]
fn killed_while_it_checks_it_checks_again() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(12_000));
    let daemon = harbour.start(&["run"]);
    wait_until("the check began", || harbour.state_of("points.csv") == Some(State::Fetched));
    daemon.kill();
    assert_eq!(harbour.state_of("points.csv"), Some(State::Fetched), "killed before its end");
    assert_eq!(harbour.sandbox.requests().total(), 0);
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 9, "rejected": 12_000 }));
    assert_eq!(harbour.writes().len(), 9);
    check_promises(&harbour);
}

/// Rows of the newest run whose end the ledger knows.
fn recorded(harbour: &Harbour, name: &str) -> BTreeMap<u64, Outcome> {
    let mut ended = BTreeMap::new();
    let run = harbour.run_of(name);
    let keep = &mut |row: passferry::ledger::Row| {
        ended.extend(row.outcome.map(|outcome| (row.record, outcome)));
        Ok(())
    };
    harbour.ledger().rows(&run.id, &[], keep).unwrap();
    ended
}

#[test]
fn killed_while_it_applies_it_sends_no_recorded_row_again() {
    const PASSES: u32 = 600;
    let slow = Faults { latency: Latency::Fixed { ms: 25 }, ..Faults::default() };
    let harbour = harbour().points_only().platform("in_flight", "8").members(PASSES).faults(slow).start();
    harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
    let mut recorded_at_kills = Vec::new();
    for progress in [60, 200, 400] {
        let daemon = harbour.start(&["run"]);
        wait_until("more passes are changed", || harbour.writes_by_pass().len() >= progress);
        daemon.kill();
        let ended = recorded(&harbour, "points.csv");
        assert!(ended.len() < PASSES as usize, "killed too late");
        let writes = harbour.writes_by_pass();
        recorded_at_kills.push((ended, writes));
    }
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    let at_the_end = harbour.writes_by_pass();
    for (ended, writes) in &recorded_at_kills {
        for record in ended.keys() {
            let pass = format!("C-{record}");
            assert_eq!(at_the_end[&pass], writes[&pass], "{pass} was recorded before the kill and sent again");
        }
    }
    let again = at_the_end.values().filter(|count| **count > 1).count();
    assert!(at_the_end.values().all(|count| *count <= 1 + recorded_at_kills.len()), "{at_the_end:?}");
    // What was in flight, and what was answered but not yet written down: a tenth of a second's work at each kill.
    assert!(again <= 3 * 64, "{again} passes were sent more than once");
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": PASSES }));
    check_promises(&harbour);
}

/// A run that is over but for its report, which goes up slowly.
fn reporting(harbour: &Harbour) -> Process {
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(4000));
    let daemon = harbour.start(&["run"]);
    wait_until("every pass is changed", || harbour.writes_by_pass().len() == 9);
    harbour.proxy.rate(60_000);
    daemon
}

#[test]
fn killed_while_a_report_goes_up_it_shows_none_before_it_is_complete() {
    let harbour = harbour().points_only().start();
    let daemon = reporting(&harbour);
    let folder = harbour.inbox().join("reports");
    let going_up = || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "part"))
            .any(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 0))
    };
    wait_until("a report goes up", going_up);
    daemon.kill();
    assert_eq!(harbour.state_of("points.csv"), Some(State::Reporting));
    let finals = harbour.tree().into_iter().filter(|path| path.starts_with("reports/points")).collect::<Vec<_>>();
    assert_eq!(finals, Vec::<String>::new(), "nothing under a final name");
    assert!(harbour.inbox().join("points.csv").exists(), "the input waits for its report");
    harbour.proxy.rate(0);
    harbour.once().exits(1);
    assert_eq!(harbour.writes().len(), 9);
    check_promises(&harbour);
}

#[test]
fn killed_before_it_puts_the_file_away_it_does_so_at_the_next_start() {
    let harbour = harbour().points_only().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + "C-1,none\n");
    let daemon = harbour.start(&["run"]);
    wait_until("every pass is changed", || harbour.writes_by_pass().len() == 9);
    harbour.proxy.delay(std::time::Duration::from_millis(150));
    wait_until("the last report is up", || harbour.inbox().join("reports/points.report.json").exists());
    daemon.kill();
    harbour.proxy.delay(std::time::Duration::ZERO);
    assert!(harbour.inbox().join("points.csv").exists(), "killed too late");
    harbour.once().exits(1);
    assert!(harbour.inbox().join(".processed/points.csv").exists());
    assert_eq!(harbour.writes().len(), 9);
    assert_eq!(harbour.tree().len(), 5, "one file and four reports: {:?}", harbour.tree());
    check_promises(&harbour);
}

#[test]
fn a_termination_drains_and_the_next_start_goes_on() {
    const PASSES: u32 = 300;
    let slow = Faults { latency: Latency::Fixed { ms: 30 }, ..Faults::default() };
    let harbour = harbour().points_only().members(PASSES).faults(slow).start();
    harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes_by_pass().len() >= 50);
    let asked = std::time::Instant::now();
    assert_eq!(daemon.terminate(), 0);
    assert!(asked.elapsed() < std::time::Duration::from_secs(15), "drained in {:?}", asked.elapsed());
    let sent = harbour.writes().len();
    assert!(sent < PASSES as usize, "stopped too late");
    assert_eq!(recorded(&harbour, "points.csv").len(), sent, "what was sent was answered and recorded");
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.writes().len(), PASSES as usize, "each pass exactly once");
    check_promises(&harbour);
}

/// F5.
#[test]
fn two_programs_do_not_work_on_one_state_directory() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    wait_until("the daemon leads", || harbour.proxy.accepted() > 0);
    harbour.once().exits(75).says("another passferry");
    harbour.run(&["run"]).exits(75).says("another passferry");
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    wait_until("the daemon goes on", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn killed_again_and_again_at_any_moment_it_still_keeps_every_promise() {
    const PASSES: u32 = 150;
    let harbour = harbour().members(PASSES).feed("order", "\"name\"").start();
    harbour.sandbox.faults().set(Faults {
        seed: 11,
        latency: Latency::Spread { p50_ms: 5, p95_ms: 40, p99_ms: 120 },
        rules: vec![
            passferry::sandbox::Rule::new(passferry::sandbox::Trouble::DropAfter).method("PUT").share(0.03),
            passferry::sandbox::Rule::new(passferry::sandbox::Trouble::Unavailable).share(0.03),
        ],
        ..Faults::default()
    });
    for file in 1..=4 {
        harbour.deliver(format!("{file}.csv"), snapshot(file * 5..=PASSES, file * 1000) + "C-1,none\nC-9999,5\n");
    }
    let mut pause = 97;
    let all_over = || {
        let runs = harbour.runs();
        runs.len() == 4 && runs.iter().all(|run| run.state.is_over())
    };
    for _ in 0..20 {
        if all_over() {
            break;
        }
        let daemon = harbour.start(&["run"]);
        // Moments from a fixed sequence; where they fall on the road differs from run to run.
        pause = (pause * 31 + 17) % 900;
        std::thread::sleep(std::time::Duration::from_millis(250 + pause));
        daemon.kill();
    }
    harbour.sandbox.faults().clear();
    harbour.once();
    assert!(all_over(), "{}", harbour.said());
    for run in harbour.runs() {
        // Three kills on end in one file's check, or before a row of it ended, look like a file that kills, which is put away and said so.
        let words = run.detail.fault.map(|fault| fault.message).or(run.detail.cause).unwrap_or_default();
        let taken_for_a_killer = matches!(run.state, State::Failed | State::Stopped) && words.contains("stopped unexpectedly");
        assert!(run.state == State::Done || taken_for_a_killer, "{} is {}", run.name, run.state);
    }
    check_promises(&harbour);
}
