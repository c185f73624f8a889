//! From the server to us: logins, files that grow, lines that break.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use passferry::ledger::State;

use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;
use crate::rig::proxy::Direction;

/// A snapshot of `C-1` to `C-n` in which each has `points` and its number.
pub fn snapshot(passes: std::ops::RangeInclusive<u32>, points: u32) -> String {
    let rows: String = passes.map(|n| format!("C-{n},{}\n", points + n)).collect();
    format!("id,points\n{rows}")
}

/// Rows that no platform is asked about, to make a file long.
pub fn padding(rows: u32) -> String {
    (0..rows).map(|n| format!("C-1,none-{n:050}\n")).collect()
}

#[test]
fn a_file_on_a_real_server_is_applied_reported_and_put_away() {
    let harbour = harbour().start();
    harbour
        .deliver("points.csv", "id,points,tier,email\nC-1,10,gold,a@example.com\nC-2,-1,silver,b@example.com\nC-77,5,gold,c@example.com\n");
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-1"), 10.0);
    let report = harbour.report("points");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 1, "rejected": 1, "unresolved": 1 }));
    assert_eq!(
        harbour.tree(),
        [
            ".processed/points.csv",
            "reports/points.errors.csv",
            "reports/points.problems.csv",
            "reports/points.report.html",
            "reports/points.report.json"
        ]
    );
    check_promises(&harbour);
}

/// C4.
#[test]
fn a_server_with_another_host_key_is_refused_and_both_fingerprints_are_shown() {
    let mut harbour = harbour().start();
    let pinned = harbour.sshd.fingerprint("ed25519");
    harbour.deliver("points.csv", snapshot(1..=2, 10));
    harbour.sshd.renew_host_keys();
    let seen = harbour.sshd.fingerprint("ed25519");
    harbour.once().exits(77).says(&pinned).says(&seen);
    assert_eq!(harbour.sandbox.requests().total(), 0, "nothing is asked of the platform");
    assert_eq!(harbour.tree(), ["points.csv"]);

    harbour.change_config(|text| text.replace(&pinned, &seen));
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// C5.
#[test]
fn a_refused_login_is_told_and_asks_nothing_of_the_platform() {
    let harbour = harbour().start();
    let stranger = harbour.sshd.client_key("stranger");
    let ours = harbour.sshd.client_key("ed25519");
    harbour.deliver("points.csv", snapshot(1..=2, 10));
    harbour.change_config(|text| text.replace(ours.to_str().unwrap(), stranger.to_str().unwrap()));
    harbour.once().exits(77);
    assert_eq!(harbour.sandbox.requests().total(), 0);
    assert_eq!(harbour.tree(), ["points.csv"]);

    harbour.change_config(|text| text.replace(stranger.to_str().unwrap(), ours.to_str().unwrap()));
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// C2.
#[test]
fn a_server_that_is_away_does_not_keep_another_from_being_served() {
    let more = "[source.gone]\nkind = \"sftp\"\nhost = \"127.0.0.1\"\nport = 1\nuser = \"acme\"\nagent = true\nhost_key = \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n\
                [feed.other]\nsource = \"gone\"\ninbox = \"in\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\n[feed.other.fields]\npoints = \"points\"\n";
    let harbour = harbour().more(more).start();
    harbour.deliver("points.csv", snapshot(1..=2, 10));
    harbour.once().exits(69);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Done));
    harbour.change_config(|text| text.replace(more, ""));
    check_promises(&harbour);
}

/// C6.
#[test]
fn an_inbox_that_is_missing_keeps_no_other_from_being_served() {
    let more = "[feed.aaa]\nsource = \"port\"\ninbox = \"absent\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\n[feed.aaa.fields]\npoints = \"points\"\n";
    let harbour = harbour().more(more).start();
    harbour.deliver("points.csv", snapshot(1..=2, 10));
    let ran = harbour.once();
    assert_ne!(ran.exit, 0, "the missing inbox is told");
    assert!(ran.err.contains("absent"), "{}", ran.err);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Done));
    harbour.change_config(|text| text.replace(more, ""));
    check_promises(&harbour);
}

/// C10.
#[test]
fn a_growing_file_is_taken_only_when_it_is_quiet_and_then_whole() {
    let harbour = harbour().feed("quiet", "\"1500ms\"").start();
    let path = harbour.inbox().join("points.csv");
    let daemon = harbour.start(&["run"]);
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut whole = String::from("id,points\n");
    file.write_all(whole.as_bytes()).unwrap();
    let begun = Instant::now();
    for n in 1..=8 {
        // Each line comes well within the quiet period.
        let line = format!("C-{n},{n}\n");
        whole.push_str(&line);
        file.write_all(line.as_bytes()).unwrap();
        let next = begun + Duration::from_millis(500) * n;
        while Instant::now() < next {
            std::thread::sleep(Duration::from_millis(10));
        }
        if begun.elapsed() < Duration::from_millis(500) * (n + 1) {
            assert_eq!(harbour.state_of("points.csv"), None, "taken while it grows");
        }
    }
    harbour.note_delivery(b"points.csv", whole.as_bytes());
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(harbour.report("points")["records"], 8);
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// C1.
#[test]
fn a_download_that_is_cut_begins_again_and_ends_once() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(5000));
    harbour.proxy.cut_after(Direction::ToClient, 150_000);
    harbour.run(&["once"]);
    harbour.once();
    let runs = harbour.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].state, State::Done);
    assert_eq!(harbour.report("points")["records"], 5009);
    assert!(harbour.proxy.accepted() >= 2);
    assert_eq!(harbour.writes().len(), 9, "each pass once");
    check_promises(&harbour);
}

#[test]
fn a_daemon_comes_back_by_itself_when_its_server_was_away() {
    let harbour = harbour().start();
    harbour.proxy.refuse(true);
    let daemon = harbour.start(&["run"]);
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    wait_until("the outage is told", || harbour.said().contains("cannot list"));
    harbour.proxy.refuse(false);
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn a_stop_in_a_slow_download_is_obeyed_in_time() {
    let harbour = harbour().start();
    let content = snapshot(1..=9, 10) + &padding(20_000);
    harbour.deliver("points.csv", &content);
    let daemon = harbour.start(&["run"]);
    wait_until("the connection is there", || harbour.proxy.accepted() > 0);
    harbour.proxy.rate(20_000);
    wait_until("the download began", || downloaded(&harbour) > 0);
    let asked = Instant::now();
    assert_eq!(daemon.terminate(), 0);
    assert!(asked.elapsed() < Duration::from_secs(15), "the stop took {:?}", asked.elapsed());
    harbour.proxy.rate(0);
    harbour.once().exits(1);
    check_promises(&harbour);
}

/// Bytes of files that are on their way into the spool.
pub fn downloaded(harbour: &Harbour) -> u64 {
    let entries = fs::read_dir(harbour.state().join("spool")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "part"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}
