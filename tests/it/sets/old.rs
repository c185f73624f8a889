//! What stands beside a file and is older than it: of yesterday's delivery, perhaps.

use std::fs;
use std::time::{Duration, SystemTime};

use passferry::ledger::State;
use passferry::spool::sha256;

use super::{age, csv, evidence, is_alert, waits};
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

fn plan(key: &str, value: &str) -> Plan {
    harbour().feed(key, value).feed("quiet", "\"10ms\"")
}

/// Yesterday's file and what stood beside it, overwritten by today's file.
fn overwritten(harbour: &Harbour, beside: &str, content: &str) -> String {
    let today = csv(&[("C-1", "2")]);
    harbour.deliver(beside, content);
    age(harbour, beside, 86_400);
    harbour.deliver("points.csv", &today);
    today
}

#[test]
fn a_checksum_of_yesterday_is_not_held_against_todays_file() {
    let harbour = plan("checksum", "\"{}.sha256\"").start();
    let today = overwritten(&harbour, "points.csv.sha256", &sha256(csv(&[("C-1", "1")]).as_bytes()));
    harbour.once().exits(75).says("its checksum points.csv.sha256 is older than it, and may be of an earlier delivery");
    assert!(harbour.runs().is_empty() && !is_alert(&harbour));
    assert!(waits(&harbour)[0].starts_with("points.csv: its checksum"), "{:?}", waits(&harbour));
    harbour.delivered.borrow_mut().retain(|file| file.name != b"points.csv.sha256");
    harbour.deliver("points.csv.sha256", sha256(today.as_bytes()));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), waits(&harbour).len()), (2.0, 0));
    check_promises(&harbour);
}

/// The server's clock counts whole seconds.
#[test]
fn what_was_written_in_the_same_second_is_not_older() {
    let harbour = plan("checksum", "\"{}.sha256\"").start();
    let content = csv(&[("C-1", "2")]);
    harbour.deliver("points.csv", &content);
    harbour.deliver("points.csv.sha256", sha256(content.as_bytes()));
    let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    for (name, time) in [("points.csv", second + Duration::from_millis(900)), ("points.csv.sha256", second + Duration::from_millis(100))] {
        fs::File::options().append(true).open(harbour.inbox().join(name)).unwrap().set_modified(time).unwrap();
    }
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 2.0);
    check_promises(&harbour);
}

#[test]
fn when_nothing_newer_comes_the_file_is_compared_with_what_is_there() {
    for is_its_own in [false, true] {
        let harbour = plan("checksum", "\"{}.sha256\"").feed("patience", "\"1s\"").start();
        let of = csv(&[("C-1", if is_its_own { "2" } else { "1" })]);
        overwritten(&harbour, "points.csv.sha256", &sha256(of.as_bytes()));
        harbour.once().exits(75);
        std::thread::sleep(Duration::from_millis(1100));
        if is_its_own {
            // The sender wrote it first: a checksum that is right proves the file whatever its age.
            harbour.once().exits(0);
            assert_eq!(harbour.points("C-1"), 2.0);
            assert!(harbour.report("points")["warnings"].to_string().contains("is older than it"), "{}", harbour.report("points"));
        } else {
            harbour.once().exits(65);
            let fault = harbour.run_of("points.csv").detail.fault.unwrap();
            assert_eq!(fault.code.as_str(), "checksum-mismatch");
            assert!(
                fault.message.ends_with("; its checksum points.csv.sha256 is older than it, and may be of an earlier delivery"),
                "{fault:?}"
            );
            assert_eq!((harbour.state_of("points.csv"), harbour.writes().len()), (Some(State::Failed), 0));
            assert!(harbour.inbox().join(".error/points.csv").exists(), "{:?}", harbour.tree());
        }
        check_promises(&harbour);
    }
}

#[test]
fn a_count_of_yesterday_is_waited_out_and_then_a_person_decides() {
    let harbour = plan("control", "\"{stem}.ctl\"").feed("patience", "\"1s\"").start();
    // As many records as yesterday, which proves nothing.
    overwritten(&harbour, "points.ctl", "records=1");
    harbour.once().exits(75).says("its control file points.ctl is older than it");
    std::thread::sleep(Duration::from_millis(1100));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "points.csv", "beside").contains("points.ctl is older than it"));
    assert_eq!(harbour.writes().len(), 0);
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 2.0);
    check_promises(&harbour);
}
