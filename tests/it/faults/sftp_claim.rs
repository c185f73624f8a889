//! Claim by rename: several machines, crashes, and people who move files.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use passferry::demo::server::{Failure, Kind, StatusCode};
use passferry::ledger::{RunFilter, State};

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::hostile::{Hostile, impatient};
use crate::rig::promises::check_promises;

fn claiming() -> Plan {
    harbour().feed("claim", "{ folder = \".processing\" }")
}

/// The folder that this harbour's machine claims into.
fn own_folder(harbour: &Harbour) -> PathBuf {
    harbour.inbox().join(".processing").join(fs::read_to_string(harbour.state().join("owner")).unwrap())
}

/// The file is claimed and cannot be opened.
fn claimed_only(hostile: &Hostile) -> PathBuf {
    hostile.fail(Kind::Open, StatusCode::Failure);
    hostile.once().exits(75);
    let claimed = own_folder(hostile).join("points.csv");
    assert!(claimed.exists(), "{:?}\n{}", hostile.tree(), hostile.said());
    hostile.behave();
    claimed
}

#[test]
fn a_claimed_file_is_out_of_the_inbox_while_it_is_read_and_put_away_at_the_end() {
    let hostile = claiming().hostile();
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    claimed_only(&hostile);
    assert!(!hostile.inbox().join("points.csv").exists());
    hostile.once().exits(0);
    assert_eq!(hostile.tree()[0], ".processed/points.csv");
    assert_eq!(fs::read_dir(own_folder(&hostile)).unwrap().count(), 0);
    check_promises(&hostile);
}

/// A2.
#[test]
fn a_claimed_file_without_an_entry_in_the_ledger_is_adopted_at_the_next_start() {
    let hostile = claiming().hostile();
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    let claimed = claimed_only(&hostile);
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(hostile.state().join(name));
    }
    fs::remove_dir_all(hostile.state().join("spool")).unwrap();
    // What another machine claimed is that machine's.
    let others = hostile.inbox().join(".processing/another1");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("theirs.csv"), snapshot(1..=9, 900)).unwrap();
    hostile.once().exits(0);
    assert!(!claimed.exists());
    assert_eq!((hostile.state_of("points.csv"), hostile.points("C-1")), (Some(State::Done), 11.0));
    assert!(others.join("theirs.csv").exists());
    assert!(hostile.report("points")["file"]["complete"].as_str().unwrap().contains("claimed earlier"));
    check_promises(&hostile);
}

/// A2.
#[test]
fn killed_before_or_after_the_claim_it_goes_on_with_the_same_run() {
    // Killed while the rename is awaited, which the server has done or not.
    for done in [false, true] {
        let hostile = claiming().hostile();
        hostile.deliver("points.csv", snapshot(1..=9, 10));
        let stuck = if done { Kind::Open } else { Kind::Rename };
        hostile.server.faults().latency.insert(stuck, std::time::Duration::from_hours(1));
        let daemon = hostile.start(&["run"]);
        wait_until("it waits", || hostile.server.operations(stuck) > 0);
        let id = hostile.run_of("points.csv").id;
        daemon.kill();
        hostile.behave();
        hostile.once().exits(0);
        assert_eq!((hostile.runs().len(), hostile.run_of("points.csv").id), (1, id));
        check_promises(&hostile);
    }
}

/// F8.
#[test]
fn a_claimed_file_that_somebody_removes_is_told_and_the_rows_go_on_from_the_copy() {
    let harbour = claiming().feed("guard.first_file", "true").start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    fs::remove_file(own_folder(&harbour).join("points.csv")).unwrap();
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(0).says("input removed");
    assert_eq!((harbour.state_of("points.csv"), harbour.writes().len()), (Some(State::Done), 9));
    let status = harbour.told(&["status", "--json"]);
    let told = &status["input_removed"][0];
    assert_eq!(told["file"], "points.csv", "{status}");
    assert!(told["cause"].as_str().unwrap().starts_with("input removed"), "{status}");
    harbour.delivered.borrow_mut().clear();
    check_promises(&harbour);
}

/// F8.
#[test]
fn a_claimed_file_that_somebody_removes_before_it_is_read_is_told_and_forgotten() {
    let hostile = claiming().hostile();
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    fs::remove_file(claimed_only(&hostile)).unwrap();
    hostile.once().exits(0).says("taken away");
    assert_eq!(hostile.state_of("points.csv"), Some(State::Discarded));
    let status = hostile.told(&["status", "--json"]);
    assert!(status["input_removed"][0]["cause"].as_str().unwrap().starts_with("input removed"), "{status}");
    hostile.delivered.borrow_mut().clear();
    assert_eq!(hostile.sandbox.requests().total(), 0);
    check_promises(&hostile);
}

/// F8.
#[test]
fn a_claimed_file_that_somebody_moves_back_is_put_away_and_not_taken_twice() {
    let harbour = claiming().feed("guard.first_file", "true").start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    fs::rename(own_folder(&harbour).join("points.csv"), harbour.inbox().join("points.csv")).unwrap();
    harbour.once().exits(1);
    assert_eq!(harbour.runs().len(), 1);
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!((harbour.runs().len(), harbour.writes().len()), (1, 9));
    check_promises(&harbour);
}

/// C9. Between the proof and the claim, another file takes the name.
#[test]
fn another_file_under_the_name_is_not_claimed_on_the_first_ones_proof() {
    let hostile = claiming().hostile();
    hostile.change_config(|text| impatient(&text));
    fs::write(hostile.inbox().join("points.csv"), snapshot(1..=3, 10)).unwrap();
    // The first rename fails, so that the run waits; meanwhile the file is replaced by a longer one.
    hostile.server.faults().failures.push(Failure { kind: Kind::Rename, after: 0, times: 1, status: StatusCode::Failure });
    hostile.once().exits(75);
    assert_eq!(hostile.runs().len(), 1);
    fs::remove_file(hostile.inbox().join("points.csv")).unwrap();
    hostile.deliver("points.csv", snapshot(1..=5, 500));
    hostile.once().says("was put back");
    hostile.once().exits(0);
    assert_eq!((hostile.points("C-1"), hostile.writes().len()), (501.0, 5));
    check_promises(&hostile);
}

/// F5. A number of files for the quick suite, and one for the long.
fn files() -> u32 {
    if std::env::var_os("PASSFERRY_LONG").is_some() { 500 } else { 60 }
}

/// F5.
#[test]
fn two_machines_on_one_inbox_apply_every_row_once() {
    let harbour = claiming().members(files()).start();
    let other = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap().replace("state = \"state\"", "state = \"other\"");
    fs::write(harbour.home.path().join("other.toml"), other).unwrap();
    for n in 1..=files() {
        harbour.deliver(format!("points-{n:03}.csv"), snapshot(n..=n, 1000));
    }
    let machines = [harbour.start(&["run"]), harbour.start(&["run", "--config", "other.toml"])];
    let put_away = || fs::read_dir(harbour.inbox().join(".processed")).map_or(0, Iterator::count);
    // The long suite's files take longer than one patience.
    for share in 1..=files() / 50 {
        wait_until("more files are put away", || put_away() >= 50 * share as usize);
    }
    wait_until("all files are put away", || put_away() == files() as usize);
    for machine in machines {
        assert_eq!(machine.terminate(), 0);
    }
    let expected: BTreeMap<String, usize> = (1..=files()).map(|n| (format!("C-{n}"), 1)).collect();
    assert_eq!(harbour.writes_by_pass(), expected, "every row has one effect");
    let theirs = passferry::ledger::open(&harbour.home.path().join("other")).unwrap().runs(&RunFilter::default()).unwrap();
    assert_eq!(harbour.runs().len() + theirs.len(), files() as usize, "the loser of a claim keeps no run");
    assert!(!harbour.said().contains("ERROR"), "{}", harbour.said());
    check_promises(&harbour);
}
