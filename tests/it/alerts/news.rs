//! What is news: once when it comes to be so, once when it is over.

use std::fs;
use std::process::Command;
use std::time::Duration;

use passferry::ledger::State;
use passferry::sandbox::apple::Fate;
use passferry::sandbox::{Faults, Outage, Rule, Trouble};
use passferry::watcher::in_use;

use super::{nothing_is_given_away, start, telling, webhook};
use crate::faults::adds::{earnings, movements};
use crate::platforms::apple;
use crate::rig::apple::{PASS_TYPE, apns, token};
use crate::rig::harbour::wait_until;
use crate::rig::promises::check_promises;
use crate::rig::receiver::Receiver;

#[test]
fn a_source_is_told_when_it_was_out_for_long_and_once_when_it_is_back() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "unreachable_after = \"3s\"\nremind = \"0s\"")));
    let daemon = harbour.start(&["run"]);
    let note = || harbour.ledger().source_notes().unwrap().pop();
    wait_until("it was listed", || harbour.ledger_is_there() && note().is_some_and(|note| note.listed_at.is_some()));
    let away = harbour.home.path().join("away");
    let out = |out: bool| {
        let (from, to) = if out { (&harbour.root, &away) } else { (&away, &harbour.root) };
        fs::rename(from, to).unwrap();
        wait_until("it is noticed", || note().is_some_and(|note| note.trouble.is_some() == out));
    };
    out(true);
    out(false);
    assert!(receiver.calls().is_empty(), "too short to be told");
    out(true);
    wait_until("it is told", || !receiver.taken().is_empty());
    std::thread::sleep(Duration::from_millis(1500));
    out(false);
    wait_until("it is told that it is back", || receiver.taken().len() > 1);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(receiver.about(), ["source raised", "source back"]);
    assert_eq!(receiver.taken()[0].title(), "source port cannot be listed");
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn a_platform_is_told_once_over_several_sweeps_and_once_when_it_is_back() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "unreachable_after = \"1s\"")));
    harbour.sandbox.faults().set(Faults { outage: Some(Outage::Unavailable), ..Faults::default() });
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    for _ in 0..2 {
        harbour.run(&["once", "--patience", "2s"]);
        assert_eq!(harbour.state_of("points.csv"), Some(State::Paused), "{}", harbour.said());
    }
    assert_eq!(receiver.about(), ["platform raised"]);
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(receiver.about(), ["platform raised", "platform back"]);
    nothing_is_given_away(&harbour, &receiver, &["C-1"]);
    check_promises(&harbour);
    assert_eq!(receiver.about().len(), 2);
}

#[test]
fn rows_in_doubt_are_told_once_and_settling_them_is_known_to_whoever_did() {
    let receiver = Receiver::start();
    let plan = movements().platform("read_back", "\"nothing\"").more(&webhook(&receiver.url(), "remind = \"3s\""));
    let lost = Rule::new(Trouble::DropBefore).path("/points/");
    let harbour = start(plan.faults(Faults { rules: vec![lost], ..Faults::default() }));
    harbour.deliver("a.csv", earnings(1, 1));
    harbour.once().exits(1);
    assert_eq!(receiver.about(), ["in-doubt raised"], "{}", harbour.said());
    let told = receiver.taken()[0].json();
    assert_eq!((&told["data"]["title"], &told["data"]["counts"]["in-doubt"]), (&"a.csv: 1 row in doubt".into(), &1.into()));
    let run = harbour.run_of("a.csv").id;
    assert_eq!(told["data"]["commands"][1], format!("passferry settle {run}:LINE applied, not-applied or resend"));
    harbour.sandbox.faults().clear();
    std::thread::sleep(Duration::from_secs(3));
    harbour.once();
    assert_eq!(receiver.about(), ["in-doubt raised", "in-doubt reminder"]);
    harbour.change_config(|text| text.replace("remind = \"3s\"", "remind = \"1h\""));
    harbour.run(&["settle", &format!("{run}:2"), "not-applied", "--reason", "the portal shows nothing"]).exits(0);
    harbour.once();
    assert_eq!((harbour.state_of("a.csv"), receiver.about().len()), (Some(State::Done), 2));
    nothing_is_given_away(&harbour, &receiver, &["T-1", "C-2"]);
    check_promises(&harbour);
}

#[test]
fn a_missing_file_is_told_once_and_so_is_its_coming() {
    let receiver = Receiver::start();
    let section = webhook(&receiver.url(), "tell = [\"missing\"]");
    // Every day at midnight, in a window of a day: the time has always come.
    let plan = telling(&section).feed("expected", "{ by = \"0 0 * * *\", within = \"1d\" }");
    let harbour = start(plan);
    harbour.once().exits(66);
    harbour.once().exits(66);
    assert_eq!(receiver.about(), ["missing raised"]);
    assert_eq!(receiver.taken()[0].title(), "feed points: an expected file has not come");
    harbour.deliver("points.csv", "id,points\nC-1,5\n");
    harbour.once().exits(0);
    assert_eq!(receiver.about(), ["missing raised", "missing back"]);
    check_promises(&harbour);
}

#[test]
fn a_refused_configuration_and_a_full_disk_are_told_and_that_they_are_repaired() {
    let receiver = Receiver::start();
    let harbour = start(telling(&webhook(&receiver.url(), "")));
    let daemon = harbour.start(&["run"]);
    let hang_up = || assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
    wait_until("it works", || in_use(&harbour.state()).is_some());
    let good = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    harbour.change_config(|text| text.replace("[feed.points]", "[feed.points"));
    hang_up();
    wait_until("the refusal is told", || receiver.about().contains(&"configuration raised".to_owned()));
    // More than any disk has.
    harbour.change_config(|_| format!("reserve = \"900TiB\"\n{good}"));
    hang_up();
    wait_until("the repair is told", || receiver.about().contains(&"configuration back".to_owned()));
    wait_until("the disk is told", || receiver.about().contains(&"disk raised".to_owned()));
    harbour.change_config(|_| good);
    hang_up();
    wait_until("room is told", || receiver.about().contains(&"disk back".to_owned()));
    let mut about = receiver.about();
    about.sort();
    assert_eq!(about, ["configuration back", "configuration raised", "disk back", "disk raised"]);
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// Apple refuses pushes, and a certificate is about to end.
#[test]
fn a_certificate_that_ends_soon_is_told_and_so_are_pushes_that_are_refused() {
    let (receiver, apns) = (Receiver::start(), apns());
    let plan = apple::plan(&apns.base_url()).more(&webhook(&receiver.url(), "tell = [\"push\"]"));
    let harbour = start(plan);
    harbour.deliver("0.csv", "id,points,tier\nC-1,0,Gold\n");
    harbour.once().exits(0);
    assert!(receiver.calls().is_empty());
    apple::holds(&harbour, "one", "aa11", ["C-1"]);
    apns.know(&token("aa11"), &[PASS_TYPE]);
    apns.script(&token("aa11"), Fate::Refuse { status: 403, reason: "BadCertificate".into() });
    harbour.deliver("1.csv", "id,points,tier\nC-1,1,Gold\n");
    harbour.once().exits(75);
    assert_eq!(receiver.about(), ["push raised"], "{}", harbour.said());
    assert!(receiver.taken()[0].body.contains("Apple refuses our pushes (403 BadCertificate)"), "{}", receiver.taken()[0].body);
    apns.script(&token("aa11"), Fate::Healthy);
    harbour.change_config(|text| text.replace("pass.pem", "soon.pem").replace("pass.key", "soon.key"));
    harbour.once().exits(0);
    assert_eq!(receiver.about(), ["push raised", "push raised", "push back"], "{}", harbour.said());
    assert!(receiver.taken()[1].body.contains("renew it"), "{}", receiver.taken()[1].body);
    apple::check(&harbour);
}
