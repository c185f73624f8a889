//! What waits, and for what: whoever must act is told, and nothing that is well is called out.

use std::fs;
use std::time::{Duration, Instant};

use chrono::Utc;
use passferry::alert::digest;
use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Latency, Outage, Rule, Trouble};

use super::{BAD, start, telling, webhook};
use crate::faults::adds::{earnings, keys, movements};
use crate::rig::apple::AUTHORITY;
use crate::rig::harbour::{Harbour, wait_until};
use crate::rig::promises::check_promises;
use crate::rig::receiver::Receiver;

/// The lines of a digest under a heading, as one would be told now.
fn digest_of(harbour: &Harbour, heading: &str) -> String {
    let config = passferry::config::load(&harbour.home.path().join("passferry.toml")).unwrap();
    let now = Utc::now();
    let message =
        digest::message(&config, &*harbour.ledger(), &config.alerts["desk"], now - chrono::TimeDelta::hours(1), now, now).unwrap();
    message.sections.iter().find(|section| section.heading == heading).unwrap().lines.join("\n")
}

#[test]
fn a_file_whose_report_cannot_be_written_is_told_and_that_it_goes_on() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "unreachable_after = \"1s\"")));
    let reports = harbour.inbox().join("reports");
    fs::write(&reports, "in the way").unwrap();
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    harbour.once().exits(75);
    assert_eq!((harbour.state_of("points.csv"), receiver.about()), (Some(State::Reporting), vec![]));
    assert!(digest_of(&harbour, "What waits for a server, or for room").contains("points.csv: its report cannot be written"));
    std::thread::sleep(Duration::from_secs(1));
    harbour.once().exits(75);
    assert_eq!(receiver.about(), ["stuck raised"], "{}", harbour.said());
    assert_eq!(receiver.taken()[0].title(), "feed points: 1 file cannot go on");
    fs::remove_file(&reports).unwrap();
    harbour.run(&["pause", "points"]).exits(0);
    let waits = digest_of(&harbour, "What waits for a person");
    assert!(waits.contains("feed points was paused by") && waits.contains("passferry resume points"), "{waits}");
    harbour.run(&["resume", "points"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(receiver.about(), ["stuck raised", "stuck back"]);
    check_promises(&harbour);
}

/// A stopped run is reported again for each row that is settled. That is no news but to who settled it.
#[test]
fn rows_in_doubt_of_a_stopped_run_are_told_and_settling_tells_nothing_again() {
    let receiver = Receiver::start();
    let plan = movements().platform("read_back", "\"nothing\"").platform("in_flight", "1").more(&webhook(&receiver.url(), ""));
    let lost = |pass: &str| Rule::new(Trouble::DropBefore).path("/points/").id(pass).next(1);
    let faults = Faults { rules: vec![lost("C-2"), lost("C-3")], latency: Latency::Fixed { ms: 30 }, ..Faults::default() };
    let harbour = start(plan.faults(faults));
    harbour.deliver("a.csv", earnings(1, 400));
    let daemon = harbour.start(&["run"]);
    wait_until("two rows are in doubt", || harbour.ledger_is_there() && keys(&harbour, KeyState::InDoubt) == 2);
    harbour.run(&["stop", "a.csv"]).exits(0);
    wait_until("it is stopped", || harbour.state_of("a.csv") == Some(State::Stopped));
    wait_until("both are told", || receiver.taken().len() == 2);
    assert_eq!(daemon.terminate(), 0);
    harbour.sandbox.faults().clear();
    let mut about = receiver.about();
    about.sort();
    assert_eq!(about, ["failed raised", "in-doubt raised"]);
    let doubt = receiver.taken().into_iter().find(|call| call.about() == "in-doubt raised").unwrap();
    assert_eq!(doubt.title(), "a.csv: 2 rows in doubt");
    let run = harbour.run_of("a.csv").id;
    assert!(digest_of(&harbour, "What waits for a person").contains(&format!("a.csv: 2 rows in doubt: passferry settle {run}:LINE")));
    for line in [2, 3] {
        harbour.run(&["settle", &format!("{run}:{line}"), "not-applied", "--reason", "the portal shows nothing"]).exits(0);
        harbour.once();
        harbour.once();
    }
    assert!(harbour.ledger().in_doubt_by_run().unwrap().is_empty());
    let first = |about: &[String]| about.iter().filter(|about| *about == "failed raised" || *about == "in-doubt raised").count();
    assert_eq!(first(&receiver.about()), 2, "{:?}", receiver.about());
    check_promises(&harbour);
}

#[test]
fn a_run_with_too_many_rejected_rows_is_told_once_though_its_rows_are_settled_one_by_one() {
    let receiver = Receiver::start();
    let section = webhook(&receiver.url(), "rejected_above = \"10%\"");
    let plan = movements().platform("read_back", "\"nothing\"").more(&section);
    let lost = Rule::new(Trouble::DropBefore).path("/points/");
    let harbour = start(plan.faults(Faults { rules: vec![lost], ..Faults::default() }));
    harbour.deliver("a.csv", earnings(1, 2) + "T-9,C-9,give,10\n");
    harbour.once().exits(1);
    assert_eq!(receiver.about(), ["in-doubt raised", "rejected raised"], "{}", harbour.said());
    harbour.sandbox.faults().clear();
    let run = harbour.run_of("a.csv").id;
    for (line, end) in [(2, State::DoneInDoubt), (3, State::Done)] {
        harbour.run(&["settle", &format!("{run}:{line}"), "not-applied", "--reason", "the portal shows nothing"]).exits(0);
        harbour.once();
        assert_eq!(harbour.state_of("a.csv"), Some(end));
    }
    assert_eq!(receiver.about().len(), 2, "{:?}", receiver.about());
    check_promises(&harbour);
}

/// The approval was of what the file would have done before: whoever gave it must hear that it does not go on.
#[test]
fn a_file_that_is_held_again_is_told_again() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "")).feed("guard.first_file", "true"));
    harbour.deliver("points.csv", "id,points\nC-2,5\n");
    harbour.once().exits(1);
    let held_at = harbour.run_of("points.csv").detail.held_at.unwrap();
    assert_eq!(receiver.taken()[0].json()["data"]["since"].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap(), held_at);
    harbour
        .change_config(|text| text.replace("fields.points = \"points\"", "fields.points = \"points\"\nfields.\"metaData.tier\" = \"id\""));
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(1).says("the approval does not count");
    assert_eq!(receiver.about(), ["held raised", "held raised"], "{}", harbour.said());
    harbour.run(&["discard", "points.csv"]).exits(0);
    harbour.once();
    assert_eq!(receiver.about().len(), 2);
    check_promises(&harbour);
}

#[test]
fn a_new_way_out_is_not_told_what_was_before_it() {
    let receiver = Receiver::start();
    let harbour = start(telling(""));
    harbour.deliver("bad.csv", BAD);
    harbour.once().exits(65);
    let section = webhook(&receiver.url(), "");
    harbour.change_config(|text| text + &section);
    harbour.once().exits(0);
    assert!(receiver.calls().is_empty(), "{:?}", receiver.about());
    harbour.deliver("worse.csv", BAD.to_owned() + "again");
    harbour.once().exits(65);
    assert_eq!(receiver.about(), ["failed raised"]);
    assert!(receiver.taken()[0].title().starts_with("worse.csv failed: "));
    check_promises(&harbour);
}

/// An authority that is not there yet, or no longer: the message waits, and the sweep does not.
#[test]
fn a_way_out_that_cannot_be_opened_is_tried_again_and_status_says_why() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "ca_file = \"company.pem\"")));
    let authority = harbour.home.path().join("company.pem");
    fs::write(&authority, "no certificate").unwrap();
    harbour.deliver("bad.csv", BAD);
    let began = Instant::now();
    harbour.once().exits(65).says("a message is not delivered yet: it cannot be used");
    assert!(began.elapsed().as_secs() < 15, "a sweep waits 20 s for what may still go out");
    let told = harbour.told(&["status", "--json"])["told"][0].clone();
    assert!(told["waiting"] == 1 && told["fault"].as_str().unwrap().contains("company.pem"), "{told}");
    fs::copy(AUTHORITY.path("root.pem"), &authority).unwrap();
    harbour.once().exits(0);
    assert_eq!(receiver.about(), ["failed raised"], "{}", harbour.said());
    check_promises(&harbour);
}

/// What is known of an outage stays until the platform has answered: a start knows nothing of it.
#[test]
fn a_run_waits_for_its_platform_over_a_restart_until_that_has_answered() {
    let receiver = Receiver::start();
    let plan = telling(&webhook(&receiver.url(), "unreachable_after = \"1s\"")).platform("timeout", "\"4s\"");
    let harbour = start(plan);
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    // Given up before an outage is shown while one works.
    harbour.run(&["once", "--patience", "300ms"]).exits(75);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Paused), "{}", harbour.said());
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 60_000 }, ..Faults::default() });
    let daemon = harbour.start(&["run"]);
    wait_until("the outage is told", || !receiver.taken().is_empty());
    // Longer than a run under way takes to see how its platform is, and shorter than a request may take.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(harbour.state_of("points.csv"), Some(State::Paused), "nothing has answered yet");
    harbour.sandbox.faults().clear();
    wait_until("it is told that nothing waits", || receiver.taken().len() == 2);
    assert_eq!(receiver.about(), ["platform raised", "platform back"]);
    wait_until("it is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// Whoever pauses a feed knows that its files wait.
#[test]
fn the_platform_of_a_paused_feed_is_not_called_out() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "unreachable_after = \"100ms\"")));
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    for _ in 0..2 {
        harbour.run(&["once", "--patience", "300ms"]).exits(75);
    }
    assert_eq!(receiver.about(), ["platform raised"]);
    harbour.run(&["pause", "points"]).exits(0);
    harbour.run(&["once", "--patience", "0s"]);
    assert_eq!(receiver.about(), ["platform raised", "platform back"]);
    harbour.sandbox.faults().clear();
    harbour.run(&["resume", "points"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(receiver.about().len(), 2);
    check_promises(&harbour);
}
