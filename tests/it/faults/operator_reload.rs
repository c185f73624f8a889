//! A configuration or a credential that changes while the program works.

use std::fs;
use std::process::Command;

use passferry::ledger::{Run, State};
use passferry::sandbox::{Faults, Issue, Latency};
use passferry::watcher::in_use;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, Process, SECRET, harbour, wait_until, write_private};
use crate::rig::promises::check_promises;
use crate::rig::proxy::Direction;

/// Slow enough that a run is still under way when something changes.
fn slow() -> Faults {
    Faults { latency: Latency::Fixed { ms: 40 }, ..Faults::default() }
}

fn hang_up(daemon: &Process) {
    assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
}

fn with_tier(passes: u32, points: u32, tier: &str) -> String {
    let rows: String = (1..=passes).map(|n| format!("C-{n},{},{tier}\n", points + n)).collect();
    format!("id,points,tier\n{rows}")
}

fn tier_of(harbour: &Harbour, pass: &str) -> Option<String> {
    harbour.sandbox.member(pass).unwrap()["metaData"]["tier"].as_str().map(str::to_owned)
}

const ANOTHER_FIELD: &str = "fields.points = \"points\"\nfields.\"metaData.tier\" = \"tier\"";

fn config_hash(run: &Run) -> String {
    run.detail.config_hash.clone()
}

/// F6.
#[test]
fn a_run_ends_under_the_configuration_it_began_with_and_the_next_file_has_the_new_one() {
    const PASSES: u32 = 150;
    let harbour = harbour().points_only().members(PASSES).faults(slow()).platform("in_flight", "4").start();
    harbour.deliver("first.csv", with_tier(PASSES, 10, "old"));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes().len() >= 10);
    let before = in_use(&harbour.state()).unwrap().hash;
    harbour.change_config(|text| text.replace("fields.points = \"points\"", ANOTHER_FIELD));
    hang_up(&daemon);
    wait_until("the configuration is read again", || in_use(&harbour.state()).unwrap().hash != before);
    assert_eq!(harbour.state_of("first.csv"), Some(State::Applying), "the run goes on");
    harbour.sandbox.faults().clear();
    wait_until("the first file is done", || harbour.state_of("first.csv") == Some(State::Done));
    assert_eq!(tier_of(&harbour, "C-1"), None, "a field that was not mapped when the run began");
    assert_eq!(tier_of(&harbour, &format!("C-{PASSES}")), None);
    harbour.deliver("second.csv", with_tier(PASSES, 20, "new"));
    wait_until("the second file is done", || harbour.state_of("second.csv") == Some(State::Done));
    assert_eq!(tier_of(&harbour, "C-1").as_deref(), Some("new"));
    let (first, second) = (harbour.run_of("first.csv"), harbour.run_of("second.csv"));
    assert_eq!(config_hash(&first), before);
    assert_eq!(config_hash(&second), in_use(&harbour.state()).unwrap().hash);
    assert_eq!(first.detail.tally.total(), u64::from(PASSES));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F6.
#[test]
fn a_configuration_with_faults_changes_nothing_and_is_told() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    wait_until("it works", || in_use(&harbour.state()).is_some());
    let good = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    let faulty = [
        // No TOML at all.
        ("[feed.points]", "[feed.points", "expected"),
        // Read well, but one feed cannot be put to use: a template of a column that is not there.
        ("fields.points = \"points\"", "fields.points = \"{{ pionts }}\"", "pionts"),
        // Well in itself, and not to be changed in a program that works with the other one.
        ("state = \"state\"", "state = \"elsewhere\"", "restart"),
    ];
    for (index, (from, to, why)) in faulty.into_iter().enumerate() {
        harbour.change_config(|text| text.replace(from, to));
        hang_up(&daemon);
        let told = || in_use(&harbour.state()).unwrap().refused;
        wait_until("the refusal is told", || told().is_some_and(|refused| refused.why.contains(why)));
        wait_until("the log says so", || harbour.said().contains("the configuration is refused and the earlier one kept"));
        let name = format!("{index}.csv");
        harbour.deliver(&name, snapshot(1..=9, 10 * (index as u32 + 1)));
        wait_until("a file goes its road", || harbour.state_of(&name) == Some(State::Done));
        harbour.change_config(|_| good.clone());
        let status = harbour.command(&["status", "--json"]).stdout(std::process::Stdio::piped()).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert!(status["configuration"]["refused"]["why"].as_str().unwrap().contains(why), "{status:#}");
    }
    assert!(!harbour.home.path().join("elsewhere").exists(), "nothing was begun there");
    hang_up(&daemon);
    wait_until("a good one is taken", || in_use(&harbour.state()).unwrap().refused.is_none());
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F6.
#[test]
fn while_a_faulty_configuration_lies_there_status_says_what_goes_on() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    wait_until("it works", || in_use(&harbour.state()).is_some());
    harbour.change_config(|text| text.replace("[feed.points]", "[feed.points"));
    harbour.run(&["status"]).exits(78).says("goes on with the configuration that it read");
    assert_eq!(daemon.terminate(), 0);
    harbour.change_config(|text| text.replace("[feed.points", "[feed.points]"));
    check_promises(&harbour);
}

/// F6.
#[test]
fn feeds_come_and_go_without_a_restart() {
    const PASSES: u32 = 100;
    let other = "[feed.other]\nsource = \"port\"\ninbox = \"other\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\n\
                environment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\nquiet = \"150ms\"\nguard.first_file = false\n\
                [feed.other.fields]\npoints = \"points\"\n";
    let harbour = harbour().points_only().members(PASSES).faults(slow()).platform("in_flight", "4").start();
    fs::create_dir_all(harbour.root.join("other")).unwrap();
    harbour.deliver("first.csv", snapshot(1..=PASSES, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes().len() >= 5);
    let good = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    // The feed at work goes, another comes.
    harbour.change_config(|text| format!("{}\n{other}", &text[..text.find("[feed.points]").unwrap()]));
    hang_up(&daemon);
    harbour.deliver_to("other", "other.csv", snapshot(1..=3, 900));
    wait_until("the new feed's file is done", || harbour.state_of("other.csv") == Some(State::Done));
    harbour.sandbox.faults().clear();
    wait_until("the file in hand is done", || harbour.state_of("first.csv") == Some(State::Done));
    assert_eq!(harbour.points("C-1"), 901.0, "arrived later");
    assert_eq!(harbour.points("C-100"), 110.0);
    harbour.deliver("left.csv", snapshot(1..=PASSES, 20));
    harbour.change_config(|_| format!("{good}\n{other}"));
    hang_up(&daemon);
    wait_until("the feed is back", || harbour.state_of("left.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F6, D20.
#[test]
fn a_run_that_waits_for_its_platform_goes_over_to_the_repaired_configuration() {
    let harbour = harbour().start();
    let address = harbour.sandbox.base_url();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    harbour.change_config(|text| text.replace(&address, &format!("http://{nobody}")));
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    harbour.change_config(|text| text.replace(&format!("http://{nobody}"), &address));
    hang_up(&daemon);
    wait_until("the run is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 9 }));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F9, D9.
#[test]
fn a_rotated_platform_secret_is_taken_up_in_the_middle_of_a_run() {
    const PASSES: u32 = 150;
    const NEXT: &str = "planted-platform-secret-rotated-3Lc9";
    let harbour = harbour().points_only().members(PASSES).faults(slow()).platform("in_flight", "4").start();
    harbour.deliver("points.csv", snapshot(1..=PASSES, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes_by_pass().len() >= 10);
    harbour.sandbox.rotate_secret(NEXT).unwrap();
    // Until the new one lies there: a pause, and no row is rejected.
    wait_until("the run is paused", || harbour.state_of("points.csv") == Some(State::Paused));
    assert!(harbour.run_of("points.csv").detail.cause.unwrap().contains("401"));
    write_private(&harbour.home.path().join("secret"), NEXT);
    harbour.sandbox.faults().clear();
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": PASSES }));
    // The other way round nobody notices: the file first, the platform soon after.
    harbour.deliver("next.csv", snapshot(1..=PASSES, 20));
    write_private(&harbour.home.path().join("secret"), SECRET);
    harbour.sandbox.rotate_secret(SECRET).unwrap();
    wait_until("the next file is done", || harbour.state_of("next.csv") == Some(State::Done));
    assert_eq!(harbour.report("next")["rows"], serde_json::json!({ "applied": PASSES }));
    assert_eq!(daemon.terminate(), 0);
    assert!(!harbour.said().contains(NEXT));
    check_promises(&harbour);
}

/// F9, C5.
#[test]
fn a_rotated_login_key_is_taken_up_without_a_restart() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    harbour.deliver("1.csv", snapshot(1..=9, 10));
    wait_until("the first file is done", || harbour.state_of("1.csv") == Some(State::Done));
    let rotated = harbour.sshd.rotate_client_key();
    // The session that is open goes on.
    harbour.deliver("2.csv", snapshot(1..=9, 20));
    wait_until("the second file is done", || harbour.state_of("2.csv") == Some(State::Done));
    harbour.proxy.cut_after(Direction::ToClient, 0);
    harbour.deliver("3.csv", snapshot(1..=9, 30));
    let trouble = || harbour.ledger().source_notes().unwrap().into_iter().find_map(|note| note.trouble);
    wait_until("the old key is refused", || trouble().is_some_and(|trouble| trouble.contains("the server takes")));
    assert!(harbour.state_of("3.csv").is_none_or(|state| !state.is_over()), "nothing is rejected");
    write_private(&harbour.sshd.client_key("ed25519"), &fs::read_to_string(rotated).unwrap());
    wait_until("the third file is done", || harbour.state_of("3.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F9, C5.
#[test]
fn a_reload_tries_a_refused_login_at_once_again() {
    let harbour = harbour().start();
    harbour.sshd.rotate_client_key();
    let daemon = harbour.start(&["run"]);
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    wait_until("it works", || in_use(&harbour.state()).is_some());
    // From the third refusal on, minutes lie between two logins: vendors lock accounts.
    let trouble = || harbour.ledger().source_notes().unwrap().into_iter().find_map(|note| note.trouble).unwrap_or_default();
    wait_until("it tries rarely", || trouble().contains("Refused 3 times"));
    // Repaired at the server: the credential here is the same, so only a word can tell.
    harbour.sshd.let_in("ed25519");
    hang_up(&daemon);
    wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// F6.
#[test]
fn many_reloads_in_a_busy_hour_lose_no_row_and_repeat_none() {
    const PASSES: u32 = 120;
    let harbour = harbour().points_only().members(PASSES).faults(slow()).platform("in_flight", "4").start();
    let daemon = harbour.start(&["run"]);
    wait_until("it works", || in_use(&harbour.state()).is_some());
    for file in 0..3 {
        harbour.deliver(format!("{file}.csv"), snapshot(1..=PASSES, 100 * (file + 1)));
        for reload in 0..3 {
            let workers = 1 + (file + reload) % 3;
            harbour.change_config(|text| {
                let rest = text.split_once("workers = ").unwrap().1;
                text.replace(&format!("workers = {}", &rest[..1]), &format!("workers = {workers}"))
            });
            hang_up(&daemon);
            let hash = || in_use(&harbour.state()).unwrap().hash;
            let wanted = passferry::config::load(&harbour.home.path().join("passferry.toml")).unwrap().hash;
            wait_until("it is taken", || hash() == wanted);
        }
    }
    wait_until("all are done", || (0..3).all(|file| harbour.state_of(&format!("{file}.csv")) == Some(State::Done)));
    assert_eq!(harbour.writes().len() as u32, 3 * PASSES, "each row once");
    harbour.sandbox.faults().clear();
    harbour.sandbox.issue(std::iter::once(Issue { external_id: "C-900".into(), ..Issue::default() })).unwrap();
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}
