//! What only looks like trouble: nobody is woken for it.

use std::fs;

use passferry::ledger::State;
use passferry::sandbox::{Faults, Outage};

use super::{LISTEN, get, listener, scrape};
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;
use crate::rig::receiver::Receiver;

/// Every listing succeeds; one file lacks what stands beside it.
#[test]
fn a_file_that_waits_too_long_for_its_checksum_is_no_trouble_of_its_source() {
    let receiver = Receiver::start();
    let more = format!("{LISTEN}{}", crate::alerts::webhook(&receiver.url(), "unreachable_after = \"1s\""));
    let plan = harbour().folder().points_only().feed("checksum", "\"{}.sha256\"").feed("patience", "\"1s\"").more(&more);
    let harbour = crate::alerts::start(plan);
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    wait_until("it has waited for too long", || harbour.ledger().waiting(None).unwrap().iter().any(|waiting| waiting.alert));
    wait_until("it is told", || receiver.about() == ["missing raised"]);
    // As long as the source would now count as out.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(get(&address, "/readyz"), (200, get(&address, "/readyz").1, "ready\n".to_owned()));
    assert_eq!(scrape(&address).0.count("passferry_source_up", &[]), 1);
    assert_eq!(receiver.about(), ["missing raised"]);
    assert_eq!(daemon.terminate(), 0);
    fs::remove_file(harbour.inbox().join("points.csv")).unwrap();
    harbour.delivered.borrow_mut().clear();
    check_promises(&harbour);
}

/// Reports are all that goes there: it is looked at all the same, and one that nobody uses is not shown.
#[test]
fn a_source_for_reports_alone_is_up_while_it_can_be_reached() {
    let (root, desk) = (tempfile::tempdir().unwrap(), "desk");
    let path = root.path().join("share");
    fs::create_dir(&path).unwrap();
    let sources = format!(
        "[source.{desk}]\nkind = \"folder\"\npath = {path:?}\npoll = \"1s\"\n\n[source.idle]\nkind = \"folder\"\npath = {path:?}\n\n{LISTEN}"
    );
    let plan = harbour().folder().points_only().feed("reports", "{ source = \"desk\", folder = \"out\" }").unmodelled().more(&sources);
    let harbour = plan.start();
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    wait_until("it is ready", || get(&address, "/readyz").0 == 200);
    let up = |name: &str| scrape(&address).0.0.get(&format!("passferry_source_up{{source=\"{name}\"}}")).copied();
    assert_eq!((up("port"), up("desk"), up("idle")), (Some(1.0), Some(1.0), None));
    fs::rename(&path, root.path().join("away")).unwrap();
    wait_until("it is seen to be away", || up("desk") == Some(0.0));
    wait_until("that is no readiness", || get(&address, "/readyz").2.contains("source desk"));
    assert_eq!(daemon.terminate(), 0);
}

/// A connection lists nothing while a file is read from it.
#[test]
fn a_source_that_a_long_file_is_read_from_is_as_good_as_listed() {
    let harbour = harbour().points_only().feed("quiet", "\"10ms\"").more(LISTEN).start();
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    wait_until("it is ready", || get(&address, "/readyz").0 == 200);
    let text = "id,points\n".to_owned() + &"C-1,5,a long remark that makes the file a slow one\n".repeat(20_000);
    harbour.proxy.rate(250_000);
    harbour.deliver("points.csv", &text);
    wait_until("it is fetched", || harbour.state_of("points.csv") == Some(State::Complete));
    let fetching = || harbour.state_of("points.csv") == Some(State::Complete);
    let mut looks = 0;
    while fetching() {
        let (status, _, body) = get(&address, "/readyz");
        assert!(status == 200 || !fetching(), "{body}");
        looks += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(looks > 20, "it was read too quickly to show anything: {looks}");
    harbour.proxy.rate(0);
    wait_until("it is over", || harbour.state_of("points.csv").is_some_and(State::is_over));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn a_platform_that_nothing_waits_for_is_not_called_out() {
    let harbour = harbour().folder().points_only().more(LISTEN).start();
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    let up = || scrape(&address).0.count("passferry_platform_up", &[]);
    wait_until("it is out", || up() == 0);
    harbour.run(&["stop", "points.csv"]).exits(0);
    wait_until("it is stopped", || harbour.state_of("points.csv") == Some(State::Stopped));
    wait_until("nothing waits for it", || up() == 1);
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}
