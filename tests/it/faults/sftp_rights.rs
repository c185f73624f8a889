//! Logins and rights that the server refuses.

use std::fs;
use std::time::Duration;

use passferry::demo::server::{Kind, StatusCode};
use passferry::ledger::State;

use super::delivery::snapshot;
use super::sftp_network::{put_on_desk, with_desk};
use crate::rig::harbour::{Harbour, harbour, wait_until, write_private};
use crate::rig::promises::check_promises;
use crate::rig::sshd::Options;

/// What `status` says is wrong with the server.
fn trouble(harbour: &Harbour) -> String {
    let status = harbour.told(&["status", "--json"]);
    let source = status["sources"].as_array().unwrap().iter().find(|source| source["source"] == "port").unwrap();
    source["trouble"].as_str().unwrap_or_default().to_owned()
}

/// C5.
#[test]
fn refused_logins_pause_one_source_for_minutes_until_the_credential_changes() {
    let harbour = with_desk(harbour()).start();
    let (ours, stranger) = (harbour.sshd.client_key("ed25519"), harbour.sshd.client_key("stranger"));
    let key = harbour.home.path().join("key");
    write_private(&key, &fs::read_to_string(&stranger).unwrap());
    harbour.change_config(|text| text.replace(ours.to_str().unwrap(), key.to_str().unwrap()));
    harbour.deliver("points.csv", snapshot(1..=3, 10));

    let daemon = harbour.start(&["run"]);
    wait_until("three logins were refused", || trouble(&harbour).contains("Refused 3 times"));
    let told = trouble(&harbour);
    assert!(told.starts_with("the server refused the login"), "{told}");
    assert!(told.contains("next attempt is in 4m") || told.contains("next attempt is in 5m"), "{told}");
    let tries = harbour.proxy.accepted();
    put_on_desk(&harbour, "desk.csv", &snapshot(4..=9, 10));
    wait_until("the desk is served", || harbour.state_of("desk.csv") == Some(State::Done));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(harbour.proxy.accepted(), tries, "the account is left alone");
    assert_eq!(daemon.terminate(), 0);

    // A timer that sweeps every minute must not add tries either.
    harbour.once().exits(77).says("Refused 3 times");
    assert_eq!(harbour.proxy.accepted(), tries, "the pause outlives the process");

    let daemon = harbour.start(&["run"]);
    write_private(&key, &fs::read_to_string(&ours).unwrap());
    wait_until("the rotated key is used at once", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((trouble(&harbour), harbour.points("C-3")), (String::new(), 13.0));
}

/// C5.
#[test]
fn a_check_that_gets_in_ends_the_pause() {
    let harbour = harbour().start();
    let (ours, stranger) = (harbour.sshd.client_key("ed25519"), harbour.sshd.client_key("stranger"));
    harbour.change_config(|text| text.replace(ours.to_str().unwrap(), stranger.to_str().unwrap()));
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    for _ in 0..3 {
        harbour.once().exits(77);
    }
    let tries = harbour.proxy.accepted();
    harbour.once().exits(77).says("check --reach");
    assert_eq!(harbour.proxy.accepted(), tries);
    // The operator of the server lets the key in.
    harbour.sshd.let_in("stranger");
    harbour.run(&["check", "--reach"]).exits(0);
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// C5.
#[test]
fn a_server_that_is_away_is_not_told_as_a_refusal() {
    let harbour = harbour().start();
    harbour.proxy.refuse(true);
    for _ in 0..4 {
        harbour.once().exits(69);
    }
    assert!(trouble(&harbour).starts_with("cannot reach the server"), "{}", trouble(&harbour));
    harbour.proxy.refuse(false);
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// What `check --reach` says of a server that denies these requests.
fn reach(denied: &[&'static str], feed: &[(&str, &str)]) -> String {
    let mut plan = harbour().server(Options { denied: denied.to_vec(), ..Options::default() });
    for (key, value) in feed {
        plan = plan.feed(key, value);
    }
    let harbour = plan.start();
    let told = harbour.told(&["check", "--reach", "--json"]);
    harbour.run(&["check", "--reach"]).exits(77);
    let failed = told["reach"].as_array().unwrap().iter().filter(|one| one["ok"] == false);
    failed.map(|one| one["message"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// C6.
#[test]
fn the_check_names_each_right_that_is_missing() {
    for (denied, right) in [
        ("opendir", "the right to list in in is missing"),
        ("write", "the right to create files in in is missing"),
        ("read", "the right to read files in in is missing"),
        ("rename", "the right to rename files in in is missing"),
        ("remove", "the right to remove files in in is missing"),
        ("mkdir", "the right to make the folder in in/.processed is missing"),
    ] {
        let told = reach(&[denied], &[]);
        assert!(told.contains(right), "{denied}: {told}");
    }
    let told = reach(&["read", "remove"], &[]);
    assert!(told.contains("to read files") && told.contains("to remove files"), "all of them at once: {told}");
    let told = reach(&["mkdir"], &[("claim", "{ folder = \".processing\" }")]);
    assert!(told.contains("the right to make the folder in in/.processing is missing"), "{told}");
}

/// C6.
#[test]
fn an_inbox_that_may_not_be_listed_or_read_sends_nothing_and_says_so() {
    for (denied, exit) in [("opendir", 77), ("read", 75)] {
        let harbour = harbour().server(Options { denied: vec![denied], ..Options::default() }).start();
        harbour.deliver("points.csv", snapshot(1..=9, 10));
        harbour.once().exits(exit).says("not allowed");
        assert_eq!(harbour.sandbox.requests().total(), 0);
        assert_eq!(harbour.tree(), ["points.csv"]);
    }
}

/// C6.
#[test]
fn a_claim_that_is_denied_reads_nothing_and_says_so() {
    let plan = harbour().feed("claim", "{ folder = \".processing\" }");
    let harbour = plan.server(Options { denied: vec!["rename", "posix-rename", "hardlink"], ..Options::default() }).start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(75).says("not allowed");
    assert_eq!(harbour.sandbox.requests().total(), 0);
    assert!(harbour.inbox().join("points.csv").exists());
}

/// C6, C7.
#[test]
fn a_move_that_is_denied_applies_once_and_is_flagged() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    // Reports are renamed too: they go where nobody hinders them, and the input stays.
    let elsewhere = "reports = { source = \"desk\", folder = \"reports\" }\n";
    let desk = hostile.home.path().join("desk");
    fs::create_dir(&desk).unwrap();
    hostile.change_config(|text| {
        text.replace("[feed.points]\n", &format!("[source.desk]\nkind = \"folder\"\npath = {desk:?}\n\n[feed.points]\n{elsewhere}"))
    });
    hostile.server.faults().rename_refused = true;
    for _ in 0..2 {
        hostile.once().exits(75);
    }
    assert_eq!(hostile.writes().len(), 9, "at most once");
    let status = hostile.told(&["status", "--json"]);
    let cause = status["waiting"][0]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("cannot be put away") && cause.contains("not allowed"), "{status}");
    hostile.behave();
    hostile.once().exits(0);
    assert_eq!((hostile.writes().len(), hostile.tree()), (9, vec![".processed/points.csv".to_owned()]));
}

/// C7.
#[test]
fn a_report_that_may_not_be_written_stays_here_and_goes_up_later() {
    let hostile = harbour().hostile();
    hostile.fail(Kind::Write, StatusCode::PermissionDenied);
    hostile.deliver("points.csv", snapshot(1..=9, 10) + "C-1,none\n");
    hostile.once().exits(75);
    let kept: Vec<String> =
        fs::read_dir(hostile.state().join("spool")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.iter().any(|name| name.contains("errors.csv")) && kept.iter().any(|name| name.contains("report.json")), "{kept:?}");
    let status = hostile.told(&["status", "--json"]);
    assert!(status["waiting"][0]["cause"].as_str().unwrap_or_default().contains("report cannot be written"), "{status}");
    assert!(hostile.inbox().join("points.csv").exists(), "the input waits for its report");
    let writes = hostile.writes().len();
    hostile.behave();
    hostile.once().exits(1);
    assert_eq!(hostile.writes().len(), writes, "no row is sent again");
    check_promises(&hostile);
}
