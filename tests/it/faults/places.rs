//! Names that attack, folders that refuse, archives that cannot be written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use passferry::ledger::State;

use super::delivery::snapshot;
use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;
use crate::rig::sshd::Options;

/// C18, C19.
#[test]
fn odd_names_are_carried_byte_for_byte() {
    let names: [&[u8]; 8] = [
        b"-rf.csv",
        b" spaced out .csv",
        b"caf\xc3\xa9.csv",
        b"caf\xe9.csv",
        b"$(touch pwned);`id`.csv",
        b"'quoted' \"twice\" %s%n.csv",
        "\u{202e}vsc.points.csv".as_bytes(),
        b"...csv.csv",
    ];
    let harbour = harbour().feed("pattern", "\"*\"").start();
    for (index, name) in (1u32..).zip(names) {
        harbour.deliver(name, snapshot(index..=index, 10));
    }
    harbour.once();
    let archived: Vec<Vec<u8>> =
        fs::read_dir(harbour.inbox().join(".processed")).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
    for name in names {
        let hidden = name.starts_with(b".");
        let put_away = archived.iter().any(|archived| archived == name);
        assert!(put_away != hidden, "{:?} among {archived:?}\n{}", bstr::BStr::new(name), harbour.said());
    }
    assert_eq!(harbour.points("C-4"), 14.0);
    harbour.delivered.borrow_mut().retain(|file| !file.name.starts_with(b"."));
    check_promises(&harbour);
}

/// C18.
#[test]
fn names_with_control_characters_are_left_alone_and_told_once() {
    let harbour = harbour().feed("pattern", "\"*\"").start();
    let names: [&[u8]; 4] = [b"a\nb.csv", b"\x1b[2J\x1b]0;owned\x07.csv", b"tab\there.csv", b"del\x7f.csv"];
    for name in names {
        fs::write(harbour.inbox().join(OsStr::from_bytes(name)), snapshot(1..=2, 10)).unwrap();
    }
    harbour.deliver("points.csv", snapshot(3..=4, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1);
    let told = harbour.said().lines().filter(|line| line.contains("ignored: it contains a control character")).count();
    assert_eq!(told, names.len(), "one warning each\n{}", harbour.said());
    assert_eq!((harbour.points("C-1"), harbour.points("C-3")), (0.0, 13.0));
    for name in names {
        assert!(harbour.inbox().join(OsStr::from_bytes(name)).exists(), "it stays where it was put");
    }
    check_promises(&harbour);
}

/// C10, C17.
#[test]
fn links_folders_and_temporary_names_are_not_files_to_take() {
    let harbour = harbour().start();
    let secret = harbour.home.path().join("outside.csv");
    fs::write(&secret, snapshot(1..=9, 666)).unwrap();
    symlink(&secret, harbour.inbox().join("link.csv")).unwrap();
    fs::create_dir(harbour.inbox().join("folder.csv")).unwrap();
    for name in ["upload.csv.part", "upload.csv.filepart", ".hidden.csv", "upload.csv.tmp"] {
        fs::write(harbour.inbox().join(name), snapshot(1..=9, 777)).unwrap();
    }
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 0, "{}", harbour.said());
    assert_eq!(harbour.sandbox.requests().total(), 0);
    check_promises(&harbour);
}

/// C7.
#[test]
fn a_report_folder_that_refuses_keeps_the_input_and_sends_no_row_again() {
    let harbour = harbour().start();
    fs::write(harbour.inbox().join("reports"), "a file where the folder should be").unwrap();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + "C-1,none\n");
    harbour.once().exits(75);
    assert!(harbour.inbox().join("points.csv").exists(), "the input waits for its report");
    let writes = harbour.writes().len();
    harbour.once().exits(75);
    assert_eq!(harbour.writes().len(), writes, "no row is sent again");
    assert!(!harbour.state_of("points.csv").unwrap().is_over());
    fs::remove_file(harbour.inbox().join("reports")).unwrap();
    harbour.once().exits(1);
    assert_eq!(harbour.writes().len(), writes, "no row is sent again");
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 9, "rejected": 1 }));
    check_promises(&harbour);
}

/// C7.
#[test]
fn a_server_that_forbids_to_create_files_keeps_the_input() {
    let harbour = harbour().server(Options { denied: vec!["mkdir"], ..Options::default() }).start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(75);
    assert_eq!(harbour.tree(), ["points.csv"]);
    let writes = harbour.writes().len();
    fs::create_dir(harbour.inbox().join("reports")).unwrap();
    fs::create_dir(harbour.inbox().join(".processed")).unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.writes().len(), writes);
    check_promises(&harbour);
}

/// C6.
#[test]
fn a_server_that_forbids_to_rename_loses_no_file_and_repeats_no_row() {
    let harbour = harbour().server(Options { denied: vec!["rename", "posix-rename", "hardlink"], ..Options::default() }).start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(75);
    let writes = harbour.writes().len();
    harbour.once().exits(75);
    assert_eq!(harbour.writes().len(), writes, "no row is sent again");
    assert!(harbour.inbox().join("points.csv").exists());
    let finals: Vec<String> = harbour.tree().into_iter().filter(|path| path.starts_with("reports/points")).collect();
    assert_eq!(finals, Vec::<String>::new(), "no report under a final name");
}

/// C9, C12.
#[test]
fn another_file_under_the_same_name_is_not_put_away_unread() {
    let harbour = harbour().start();
    fs::write(harbour.inbox().join("reports"), "a file where the folder should be").unwrap();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(75);
    // While the first waits for its report, the warehouse delivers the next under the same name.
    let first = harbour.delivered.borrow_mut().pop();
    drop(first);
    harbour.deliver("points.csv", snapshot(1..=9, 2000));
    fs::remove_file(harbour.inbox().join("reports")).unwrap();
    harbour.once();
    harbour.once();
    assert_eq!(harbour.points("C-1"), 2001.0, "the second file counts");
    assert_eq!(harbour.runs().len(), 2);
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// C23.
#[test]
fn a_file_taken_away_before_it_is_fetched_is_told_and_forgotten() {
    let harbour = harbour().start();
    let daemon = harbour.start(&["run"]);
    crate::rig::harbour::wait_until("the connection is there", || harbour.proxy.accepted() > 0);
    fs::write(harbour.inbox().join("points.csv"), snapshot(1..=9, 10)).unwrap();
    crate::rig::harbour::wait_until("it is seen", || !harbour.runs().is_empty() || harbour.inbox().join(".processed/points.csv").exists());
    let _ = fs::remove_file(harbour.inbox().join("points.csv"));
    crate::rig::harbour::wait_until("its run is over", || harbour.state_of("points.csv").is_some_and(State::is_over));
    assert_eq!(daemon.terminate(), 0);
}

#[test]
fn a_file_left_where_it_is_is_taken_once() {
    let harbour = harbour().feed("after", "\"leave\"").start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1);
    assert!(harbour.inbox().join("points.csv").exists());
    check_promises(&harbour);
}

/// C10.
#[test]
fn a_marker_older_than_its_file_vouches_for_nothing() {
    let harbour = harbour().feed("quiet", "").feed("marker", "\"_SUCCESS\"").start();
    let marker = harbour.inbox().join("_SUCCESS");
    fs::write(&marker, "").unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    fs::File::options().write(true).open(&marker).unwrap().set_modified(hour_ago).unwrap();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 0, "the marker speaks of an earlier export");
    fs::write(&marker, "").unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["file"]["complete"], "marker _SUCCESS");
}

/// C10.
#[test]
fn a_file_with_a_marker_is_taken_when_the_marker_is_there() {
    let harbour = harbour().feed("quiet", "").feed("marker", "\"{}.done\"").start();
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 0);
    fs::write(harbour.inbox().join("points.csv.done"), "").unwrap();
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["file"]["complete"], "marker points.csv.done");
    assert!(!harbour.inbox().join("points.csv.done").exists());
    check_promises(&harbour);
}
