//! Killed and disturbed in the middle: a set is never half taken, and each of its files is in one place.

use std::fs;

use passferry::demo::server::Kind;
use passferry::ledger::State;

use super::{csv, databricks, killed, sets, spark};
use crate::rig::crash::Mode;
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;

#[test]
fn killed_while_a_set_is_fetched_it_is_fetched_anew() {
    for (mode, pattern) in [(Mode::Half, "write *spool/*.part"), (Mode::After, "spool/*.part -> *.data")] {
        let harbour = spark().points_only().start();
        databricks(&harbour, "loyalty.csv", 10);
        killed(&harbour, mode, pattern, 1);
        harbour.once().exits(0);
        assert_eq!((harbour.runs().len(), harbour.writes().len(), harbour.points("C-2")), (1, 2, 11.0));
        check_promises(&harbour);
    }
}

#[test]
fn killed_while_a_set_is_put_away_each_file_ends_in_one_place_and_nothing_is_sent_again() {
    for nth in 1..=6 {
        let harbour = spark().points_only().start();
        databricks(&harbour, "loyalty.csv", 10);
        killed(&harbour, if nth % 2 == 0 { Mode::Before } else { Mode::After }, "-> *.processed/loyalty.csv/*", nth);
        assert!(harbour.inbox().join("loyalty.csv").exists(), "the set is not yet whole elsewhere");
        harbour.once().exits(0);
        assert_eq!((harbour.runs().len(), harbour.writes().len()), (1, 2));
        assert!(!harbour.inbox().join("loyalty.csv").exists(), "{:?}", harbour.tree());
        assert!(!harbour.run_of("loyalty.csv").detail.input_removed);
        check_promises(&harbour);
    }
}

#[test]
fn a_part_that_is_replaced_while_the_set_is_fetched_restarts_it() {
    let hostile = harbour().feed("set", "\"shards\"").feed("pattern", "\"data_*\"").hostile();
    hostile.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    hostile.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    hostile.server.faults().latency.insert(Kind::Open, std::time::Duration::from_millis(400));
    let opened = hostile.server.operations(Kind::Open);
    let daemon = hostile.start(&["run"]);
    // The first part is read, the second is being opened.
    wait_until("it fetches", || hostile.server.operations(Kind::Open) >= opened + 2);
    hostile.delivered.borrow_mut().retain(|file| file.name != b"data_0_0_0.csv");
    hostile.deliver("data_0_0_0.csv", csv(&[("C-1", "100")]));
    hostile.behave();
    wait_until("it is over", || hostile.state_of("data") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert!(hostile.said().contains("the file changed since it was complete"), "{}", hostile.said());
    assert_eq!((hostile.points("C-1"), hostile.points("C-2"), hostile.runs().len()), (100.0, 2.0, 1));
    check_promises(&hostile);
}

#[test]
fn a_part_that_somebody_takes_before_it_is_fetched_ends_nothing_half() {
    let harbour = sets("\"shards\"").points_only().start();
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    harbour.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    killed(&harbour, Mode::Half, "write *spool/*.part", 1);
    fs::remove_file(harbour.inbox().join("data_0_1_0.csv")).unwrap();
    harbour.delivered.borrow_mut().retain(|file| file.name != b"data_0_1_0.csv");
    harbour.once();
    assert_eq!((harbour.state_of("data"), harbour.writes().len()), (Some(State::Discarded), 0), "{}", harbour.said());
    assert!(harbour.inbox().join("data_0_0_0.csv").exists());
}
