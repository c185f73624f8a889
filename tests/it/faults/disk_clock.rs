//! Clocks that jump, and events that never come.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use passferry::ledger::State;

use super::delivery::snapshot;
use crate::rig::clock::Clock;
use crate::rig::disk::{Disk, Faults};
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;

const ENOSPC: i32 = 28;

fn append(path: &Path, text: &str) {
    fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// B10. By the wall clock the file would be quiet for ten years, and then for less than nothing.
#[test]
fn a_clock_that_jumps_neither_takes_a_growing_file_nor_stalls_the_rest() {
    let harbour = harbour().folder().points_only().feed("quiet", "\"2s\"").start();
    let clock = Clock::of(&harbour);
    let daemon = clock.start(&harbour, &["run"]);
    wait_until("the daemon is up", || harbour.state().join("spool").exists());
    let path = harbour.inbox().join("points.csv");
    let content = snapshot(1..=9, 10);
    let (head, tail) = content.split_at(content.len() / 2);
    fs::write(&path, head).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    clock.set("+3650d");
    std::thread::sleep(Duration::from_millis(600));
    append(&path, tail);
    std::thread::sleep(Duration::from_millis(1200));
    assert!(harbour.runs().is_empty(), "it was not quiet for two seconds");
    clock.set("-300d");
    std::thread::sleep(Duration::from_millis(300));
    clock.set("+0");
    harbour.note_delivery(b"points.csv", content.as_bytes());
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B10. A platform that is out is asked again after a pause, whatever the clock does meanwhile; and a drain ends in its time.
#[test]
fn a_clock_that_jumps_back_holds_up_no_retry_and_no_drain() {
    let harbour = harbour().folder().points_only().start();
    let clock = Clock::of(&harbour);
    harbour.sandbox.faults().set(passferry::sandbox::Faults {
        rules: vec![passferry::sandbox::Rule::new(passferry::sandbox::Trouble::Unavailable)],
        ..passferry::sandbox::Faults::default()
    });
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    let daemon = clock.start(&harbour, &["run"]);
    wait_until("it was refused", || harbour.sandbox.requests().total() > 2);
    clock.set("-100d");
    harbour.sandbox.faults().clear();
    std::thread::sleep(Duration::from_millis(300));
    clock.set("+0");
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    clock.set("-100d");
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B10. What was seen after what is the ledger's to say.
#[test]
fn files_keep_their_order_when_the_clock_is_set_back_between_them() {
    let harbour = harbour().folder().points_only().feed("guard.first_file", "true").start();
    let clock = Clock::of(&harbour);
    harbour.deliver("old.csv", snapshot(1..=9, 10));
    assert_eq!(clock.start(&harbour, &["once"]).wait(), 1, "the first file is held");
    clock.set("-200d");
    harbour.deliver("new.csv", snapshot(1..=9, 2000));
    clock.start(&harbour, &["once"]).wait();
    let newest = harbour.run_of("new.csv");
    assert_eq!(newest.state, State::Held);
    clock.set("+0");
    harbour.run(&["approve", "new.csv"]).exits(0);
    harbour.once();
    assert_eq!(harbour.state_of("old.csv"), Some(State::Superseded), "the newer snapshot takes its place\n{}", harbour.said());
    assert_eq!(harbour.points("C-1"), 2001.0);
}

/// B10.
#[test]
fn a_clock_before_the_program_was_made_signs_nothing_and_says_so() {
    let harbour = harbour().folder().points_only().start();
    let clock = Clock::of(&harbour);
    clock.set("@1970-01-02 00:00:00");
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    let exit = clock.start(&harbour, &["once", "--patience", "1s"]).wait();
    assert_eq!(exit, 75, "{}", harbour.said());
    assert!(harbour.said().contains("this machine's clock says 1970-01-0"), "{}", harbour.said());
    assert_eq!(harbour.sandbox.requests().total(), 0, "no token leaves");
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// B10. A machine that starts at 1970 sets its clock right later: the time that was jumped over has come.
#[test]
fn a_schedule_whose_time_is_jumped_over_is_kept() {
    let harbour = harbour().folder().points_only().start();
    harbour.change_config(|text| text.replace("poll = \"1s\"", "schedule = \"0 3 1 1 *\""));
    let clock = Clock::of(&harbour);
    let daemon = clock.start(&harbour, &["run"]);
    wait_until("it looked once", || harbour.state().join("ledger.sqlite").exists() && !harbour.ledger().source_notes().unwrap().is_empty());
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(harbour.runs().is_empty(), "it is not yet time");
    clock.set("+400d");
    wait_until("it looks again", || !harbour.runs().is_empty());
    clock.set("+0");
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B12. The watch is refused, as at the limit of watches.
#[test]
fn without_events_every_file_is_found_by_the_clock() {
    let harbour = harbour().folder().points_only().start();
    let faults = Faults::of(&harbour);
    faults.fail("i", ENOSPC, "", 0);
    let daemon = faults.start(&harbour, &["run"]);
    wait_until("it says so", || harbour.said().contains("it is listed by the clock alone"));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B12. A file that appears without an event, as on a network mount: the folder it is in is mounted over the inbox.
#[test]
fn a_file_that_appears_without_an_event_is_found_within_the_poll_interval() {
    let harbour = harbour().folder().points_only().start();
    let daemon = harbour.start(&["run"]);
    wait_until("the daemon is up", || harbour.state().join("spool").exists());
    let elsewhere = harbour.home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("points.csv"), snapshot(1..=9, 10)).unwrap();
    let status = Command::new("mount").arg("--bind").arg(&elsewhere).arg(harbour.inbox()).status().unwrap();
    assert!(status.success(), "this test needs root, to mount a folder");
    let mount = Disk::mounted(&harbour.inbox());
    harbour.note_delivery(b"points.csv", snapshot(1..=9, 10).as_bytes());
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
    drop(mount);
}
