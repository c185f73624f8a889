//! Files that should have come, and files that are older than the feed takes.

use chrono::{Days, Utc};

use super::{csv, evidence};
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;

#[test]
fn a_file_that_did_not_come_is_told_in_status_log_and_exit_code() {
    // Each minute: so that the time has always come, and its window is a day.
    let harbour = harbour().folder().feed("expected", "{ by = \"* * * * *\", timezone = \"Europe/Paris\", within = \"1d\" }").start();
    harbour.once().exits(66).says("has not come; none has ever come");
    let status = harbour.told(&["status", "--json"]);
    assert_eq!(status["overdue"][0]["feed"], "points", "{status}");
    harbour.run(&["status"]).exits(66);
    let daemon = harbour.start(&["run"]);
    let told = || harbour.said().matches("a file was expected by").count();
    let before = told();
    wait_until("the daemon tells it", || told() > before);
    harbour.deliver("points.csv", csv(&[("C-1", "1")]));
    wait_until("it is told that it came", || harbour.said().contains("the expected file has come"));
    assert_eq!((told(), daemon.terminate()), (before + 1, 0), "{}", harbour.said());
    harbour.run(&["status"]).exits(0);
    check_promises(&harbour);
}

#[test]
fn a_date_in_names_says_which_file_is_missing_and_which_is_too_old() {
    let harbour = harbour()
        .folder()
        .feed("date", "\"%Y-%m-%d\"")
        .feed("never_older_than", "\"2d\"")
        .feed("expected", "{ by = \"* * * * *\" }")
        .start();
    let day = |ago: u64| Utc::now().date_naive().checked_sub_days(Days::new(ago)).unwrap();
    harbour.deliver(format!("loyalty-{}.csv", day(9)), csv(&[("C-1", "9")]));
    harbour.once().exits(66).says("and has not come");
    assert!(evidence(&harbour, &format!("loyalty-{}.csv", day(9)), "too-old").contains("its name says"));
    assert_eq!(harbour.writes().len(), 0);
    harbour.run(&["discard", &format!("loyalty-{}.csv", day(9))]).exits(0);
    harbour.deliver(format!("loyalty-{}.csv", day(0)), csv(&[("C-1", "1")]));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}
