//! The inbox itself: half uploads, backlogs, two names of one folder, folders of this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime};

use passferry::demo::server::{ServerFaults, ServerSettings, SftpServer, generate_client_key};
use passferry::ledger::State;

use super::delivery::snapshot;
use super::sftp_network::{put_on_desk, with_desk};
use crate::rig::ferry::Rig;
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;

/// C10.
#[test]
fn an_upload_that_dies_half_way_is_not_taken_without_its_marker() {
    let harbour = harbour().feed("quiet", "").feed("marker", "\"{}.done\"").start();
    let whole = snapshot(1..=9, 10);
    fs::write(harbour.inbox().join("points.csv"), &whole[..whole.len() - 7]).unwrap();
    for _ in 0..2 {
        harbour.once().exits(0);
    }
    assert_eq!((harbour.runs().len(), harbour.sandbox.requests().total()), (0, 0));
    // The uploader comes back.
    harbour.deliver("points.csv", &whole);
    fs::write(harbour.inbox().join("points.csv.done"), "").unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-9"), 19.0);
    check_promises(&harbour);
}

/// C10, C11.
#[test]
fn an_upload_that_dies_half_way_is_told_as_not_proven_complete() {
    let harbour = harbour().start();
    let whole = snapshot(1..=9, 1000);
    // Cut behind the first digit of the last row: a smaller number, and no line end.
    harbour.deliver("points.csv", &whole[..whole.len() - 4]);
    harbour.once().exits(0);
    let report = harbour.report("points");
    assert!(report["file"]["complete"].as_str().unwrap().starts_with("not proven: size and mtime unchanged for"), "{report}");
    assert!(report["warnings"][0].as_str().unwrap().contains("may have been cut short"), "{report}");
    harbour.deliver("points.csv", &whole);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-9"), 1009.0, "the whole file, when it comes, sets it right");
    check_promises(&harbour);
}

/// C10.
#[test]
fn an_empty_file_waits_longer_than_one_that_has_content() {
    let harbour = harbour().feed("quiet", "\"1s\"").start();
    let daemon = harbour.start(&["run"]);
    fs::write(harbour.inbox().join("points.csv"), "").unwrap();
    let begun = std::time::Instant::now();
    // An upload that began with an empty file gets two quiet periods more to bring its first bytes.
    while begun.elapsed() < Duration::from_millis(1800) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken = harbour.state_of("points.csv");
    assert!(taken.is_none() || begun.elapsed() > Duration::from_secs(3), "{taken:?}");
    if taken.is_none() {
        fs::write(harbour.inbox().join("points.csv"), snapshot(1..=9, 10)).unwrap();
        harbour.note_delivery(b"points.csv", snapshot(1..=9, 10).as_bytes());
        wait_until("the file is done", || harbour.state_of("points.csv") == Some(State::Done));
        assert_eq!(daemon.terminate(), 0);
        check_promises(&harbour);
    }
}

/// C20. A number of files for the quick suite, and one for the long.
fn backlog() -> u32 {
    if std::env::var_os("PASSFERRY_LONG").is_some() { 100_000 } else { 20_000 }
}

/// C20.
#[test]
fn a_huge_backlog_is_worked_off_oldest_first_with_little_memory_and_other_sources_go_on() {
    let harbour = with_desk(harbour()).start();
    // Younger by name, older by time: the numbers run backwards.
    let now = SystemTime::now() - Duration::from_hours(24);
    for n in 0..backlog() {
        let path = harbour.inbox().join(format!("points-{n:06}.csv"));
        fs::write(&path, format!("id,points\nC-{},{n}\n", n % 9 + 1)).unwrap();
        if n >= backlog() - 5 {
            fs::File::options().write(true).open(&path).unwrap().set_modified(now - Duration::from_secs(u64::from(n))).unwrap();
        }
    }
    let daemon = harbour.start(&["run"]);
    let done = || harbour.runs().iter().filter(|run| run.state == State::Done && run.feed == "points").count();
    wait_until("some are done", || done() >= 8);
    put_on_desk(&harbour, "desk.csv", &snapshot(1..=1, 7));
    wait_until("the desk is served", || harbour.state_of("desk.csv").is_some_and(State::is_over));
    let peak = daemon.peak_kib();
    assert!(peak < 256 << 10, "{peak} KiB");
    daemon.kill();
    let runs = harbour.runs();
    let oldest: Vec<String> = runs.iter().filter(|run| run.feed == "points").take(5).map(passferry::ledger::Run::shown_name).collect();
    let expected: Vec<String> = (1..=5).map(|back| format!("points-{:06}.csv", backlog() - back)).collect();
    assert_eq!(oldest, expected, "oldest first");
    let waiting = runs.iter().filter(|run| !run.state.is_over()).count() as u64;
    assert!(waiting <= passferry::pipeline::discover::QUEUE_MAX, "{waiting} runs wait");
}

/// C20.
#[test]
fn one_sweep_works_off_more_than_it_takes_at_once() {
    if std::env::var_os("PASSFERRY_LONG").is_none() {
        // Each of the files costs a fiftieth of a second and more; the daemon's way through a backlog is in the test above.
        return;
    }
    let harbour = harbour().start();
    let files = passferry::pipeline::discover::QUEUE_MAX + 20;
    for n in 0..files {
        harbour.deliver(format!("points-{n:06}.csv"), format!("id,points\nC-{},{n}\n", n % 9 + 1));
    }
    harbour.once().exits(0);
    assert_eq!(harbour.runs().iter().filter(|run| run.state == State::Done).count() as u64, files);
}

/// A feed of another source or inbox.
fn second_feed(source: &str, inbox: &str) -> String {
    format!(
        "[feed.other]\nsource = \"{source}\"\ninbox = \"{inbox}\"\npattern = \"other-*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\n\
         platform = \"cards\"\nenvironment = \"test\"\npass = {{ external_id = \"id\" }}\noperation = \"update\"\nquiet = \"150ms\"\n\
         guard.first_file = false\nfields.points = \"points\"\n"
    )
}

/// C25.
#[test]
fn two_inboxes_that_are_one_folder_are_refused_at_the_start_and_by_the_check() {
    for linked in [true, false] {
        let harbour = harbour().start();
        symlink(harbour.inbox(), harbour.root.join("alias")).unwrap();
        // By a link on the server, or by another name of the server.
        harbour.change_config(|text| {
            if linked {
                return text + &second_feed("port", "alias");
            }
            let section = text[text.find("[source.port]").unwrap()..text.find("[platform").unwrap()].to_owned();
            let again = section.replace("[source.port]", "[source.again]").replace("\"127.0.0.1\"", "\"localhost\"");
            text + &again + &second_feed("again", "in")
        });
        let told = harbour.told(&["check", "--reach", "--json"]);
        let said = told["reach"].as_array().unwrap().iter().any(|one| one["message"].as_str().unwrap().contains("are the same folder"));
        assert!(said, "{told}");
        harbour.run(&["check", "--reach"]).exits(78);
        harbour.run(&["run"]).exits(78).says("are the same folder");
        harbour.once().exits(78).says("are the same folder");
    }
}

/// C25.
#[test]
fn two_feeds_of_one_inbox_and_two_inboxes_below_each_other_are_no_conflict() {
    let harbour = harbour().more(&second_feed("port", "in/below")).feed("pattern", "\"points*.csv\"").start();
    fs::create_dir(harbour.inbox().join("below")).unwrap();
    let third = second_feed("port", "in").replace("[feed.other]", "[feed.third]");
    harbour.change_config(|text| text + &third);
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.deliver("other-1.csv", snapshot(4..=6, 10));
    harbour.deliver_to("in/below", "other-2.csv", snapshot(7..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().iter().filter(|run| run.state == State::Done).count(), 3);
    check_promises(&harbour);
}

/// C25. Two logins of one server, each locked into a folder of its own, see the same path and not the same folder.
#[test]
fn the_same_path_seen_by_two_logins_is_told_apart_by_trying() {
    let harbour = harbour().start();
    let home = harbour.home.path();
    let host_key = home.join("host-key");
    let serve = |user: &str, root: &std::path::Path| {
        let key = home.join(format!("key-{user}"));
        let settings = ServerSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            user: user.to_owned(),
            password: None,
            authorized_keys: vec![generate_client_key(&key).unwrap()],
            faults: ServerFaults::default(),
        };
        let server = SftpServer::start_with_host_key(root, settings, &host_key).unwrap();
        let section = format!(
            "[source.{user}]\nkind = \"sftp\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"{user}\"\nkey = {{ file = {key:?} }}\nhost_key = {:?}\n",
            server.address().port(),
            server.fingerprint()
        );
        (server, section)
    };
    let theirs = home.join("theirs");
    fs::create_dir_all(theirs.join("in")).unwrap();
    let (_a, first) = serve("first", &harbour.root);
    let (_b, second) = serve("second", &theirs);
    let (_c, third) = serve("third", &harbour.root);
    let before = fs::read_to_string(home.join("passferry.toml")).unwrap();
    let configure = |source: &str, section: &str| {
        let text = before.replace("source = \"port\"", "source = \"first\"") + &first + section + &second_feed(source, "in");
        fs::write(home.join("passferry.toml"), text).unwrap();
    };
    configure("second", &second);
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    fs::write(theirs.join("in/other-1.csv"), snapshot(4..=6, 10)).unwrap();
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-4")), (11.0, 14.0), "both are served");
    configure("third", &third);
    harbour.once().exits(78).says("are the same folder");
    assert!(!harbour.tree().iter().any(|path| path.contains("probe")), "{:?}", harbour.tree());
}

/// C26.
#[test]
fn in_a_folder_of_this_machine_only_regular_files_are_opened_and_nothing_is_waited_for() {
    let rig = Rig::start();
    let outside = rig.home.path().join("outside.csv");
    fs::write(&outside, snapshot(1..=9, 666)).unwrap();
    symlink(&outside, rig.inbox.join("link.csv")).unwrap();
    symlink("/dev/zero", rig.inbox.join("zero.csv")).unwrap();
    fs::create_dir(rig.inbox.join("folder.csv")).unwrap();
    // Without O_NONBLOCK its open would wait for a writer that never comes.
    assert!(Command::new("mkfifo").arg(rig.inbox.join("fifo.csv")).status().unwrap().success());
    rig.deliver("points.csv", snapshot(1..=3, 10));
    let ran = rig.once().exits(0);
    assert_eq!(rig.runs().len(), 1);
    for name in ["link.csv", "zero.csv", "folder.csv", "fifo.csv"] {
        let told = ran.err.lines().filter(|line| line.contains("ignored") && line.contains(name)).count();
        assert_eq!(told, 1, "{name}\n{}", ran.err);
    }
    assert_eq!((rig.points("C-1"), rig.points("C-4")), (11.0, 0.0));
}

/// C26. Between the listing and the reading, a link takes the place of the file.
#[test]
fn a_link_put_in_the_place_of_a_listed_file_is_not_followed() {
    let rig = Rig::plan().feed("quiet", "\"1500ms\"").start();
    let outside = rig.home.path().join("outside.csv");
    fs::write(&outside, snapshot(1..=9, 666)).unwrap();
    rig.deliver("points.csv", snapshot(1..=9, 10));
    let swap = {
        let (place, outside) = (rig.inbox.join("points.csv"), outside.clone());
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            fs::remove_file(&place).unwrap();
            symlink(outside, place).unwrap();
        })
    };
    rig.once();
    swap.join().unwrap();
    rig.once();
    assert_eq!((rig.writes(), rig.points("C-1")), (0, 0.0), "nothing of what the link leads to is read");
}
