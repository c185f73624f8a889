//! A server that lies: names, sizes, times, content, renames, modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use passferry::demo::server::{Change, Disturbance, Invented, Kind, StatusCode};
use passferry::ledger::State;

use super::delivery::{padding, snapshot};
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::hostile::Hostile;
use crate::rig::promises::check_promises;

fn regular(name: &str, size: u64) -> Invented {
    Invented { name: name.to_owned(), mode: 0o100_644, size, mtime: 1_700_000_000 }
}

/// The honest file beside the attack is done, and nothing was written where it should not be.
#[track_caller]
fn only_the_honest_file_counts(hostile: &Hostile) {
    assert_eq!(hostile.state_of("points.csv"), Some(State::Done), "{}", hostile.said());
    let names: Vec<String> = hostile.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(names, ["points.csv"]);
    assert_eq!(hostile.points("C-1"), 11.0);
}

/// C18.
#[test]
fn names_that_climb_are_refused_and_nothing_is_written_outside_the_spool() {
    let hostile = harbour().feed("pattern", "\"*\"").hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    let long = "n".repeat(4000) + ".csv";
    let names = [
        "../x.csv",
        "../../../../tmp/owned.csv",
        "/etc/x.csv",
        "..\\x.csv",
        "",
        "..",
        "in/x.csv",
        "a\0b.csv",
        "a\nb.csv",
        "\u{1b}[2J.csv",
        &long,
    ];
    hostile.server.faults().invented = names.iter().map(|name| regular(name, 10)).collect();
    let before = fs::read_dir(hostile.home.path()).unwrap().count();
    hostile.once().exits(0);
    only_the_honest_file_counts(&hostile);
    // `.` and `..` are in every honest listing too.
    for name in names.iter().filter(|name| **name != "..") {
        let told = format!("name={}\n", bstr::BStr::new(name).escape_ascii());
        let count = hostile.said().lines().filter(|line| line.contains("ignored: it ") && format!("{line}\n").contains(&told)).count();
        assert_eq!(count, 1, "{name:?} is told once as {told:?}\n{}", hostile.said());
    }
    // The state directory is the one thing that came.
    assert_eq!(fs::read_dir(hostile.home.path()).unwrap().count(), before + 1);
    let spooled: Vec<_> = fs::read_dir(hostile.state().join("spool")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(spooled, Vec::<std::ffi::OsString>::new());
    check_promises(&hostile);
}

/// C18. libssh2 takes no name of 4096 bytes or more: then the listing as a whole is refused.
#[test]
fn a_listing_with_a_name_of_5000_bytes_is_refused_and_told() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    hostile.server.faults().invented = vec![regular(&"n".repeat(5000), 10)];
    hostile.once().exits(69).says("protocol error");
    assert_eq!(hostile.runs().len(), 0);
    hostile.behave();
    hostile.once().exits(0);
    check_promises(&hostile);
}

/// C18.
#[test]
fn a_name_like_an_option_or_an_escape_is_processed_as_a_name() {
    let hostile = harbour().feed("pattern", "\"*.csv\"").hostile();
    for (index, name) in (1u32..).zip(["-rf.csv", "--help.csv", "%2e%2e%2fx.csv", "~root.csv", "$HOME.csv"]) {
        hostile.deliver(name, snapshot(index..=index, 10));
    }
    hostile.once().exits(0);
    assert_eq!(hostile.runs().iter().filter(|run| run.state == State::Done).count(), 5);
    check_promises(&hostile);
}

/// C17.
#[test]
fn what_is_listed_as_a_link_a_device_or_a_folder_is_never_opened_and_told_once() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    // Type bits of a link, a device of blocks, one of characters, a FIFO, a socket, a folder, and none.
    let kinds = [0o120_777, 0o060_644, 0o020_644, 0o010_644, 0o140_644, 0o040_755, 0o644];
    hostile.server.faults().invented = kinds.iter().map(|&mode| Invented { mode, ..regular(&format!("kind-{mode:o}.csv"), 100) }).collect();
    let daemon = hostile.start(&["run"]);
    wait_until("the file is done", || hostile.state_of("points.csv") == Some(State::Done));
    let listed = hostile.server.operations(Kind::OpenFolder);
    wait_until("it was listed again", || hostile.server.operations(Kind::OpenFolder) > listed + 2);
    assert_eq!(daemon.terminate(), 0);
    only_the_honest_file_counts(&hostile);
    for mode in kinds {
        let name = format!("kind-{mode:o}.csv");
        assert_eq!(
            hostile.said().lines().filter(|line| line.contains("ignored") && line.contains(&name)).count(),
            1,
            "{name}\n{}",
            hostile.said()
        );
    }
    hostile.behave();
    check_promises(&hostile);
}

/// C21.
#[test]
fn absurd_sizes_and_times_break_nothing() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    hostile.server.faults().invented = [(u64::MAX, u32::MAX), (i64::MAX as u64, 0), (i64::MAX as u64 + 1, 1), (1, u32::MAX)]
        .iter()
        .enumerate()
        .map(|(index, &(size, mtime))| Invented { mtime, ..regular(&format!("absurd-{index}.csv"), size) })
        .collect();
    hostile.once();
    assert_eq!(hostile.state_of("points.csv"), Some(State::Done), "{}", hostile.said());
    assert!(!hostile.said().contains("panicked"), "{}", hostile.said());
    // Listed, and not there: each ended as a file that somebody took away.
    for run in hostile.runs().iter().filter(|run| run.name != "points.csv") {
        assert_eq!(run.state, State::Discarded, "{}", run.shown_name());
    }
}

/// C21.
#[test]
fn a_file_announced_with_an_absurd_size_fails_and_is_put_away() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    hostile.deliver("huge.csv", snapshot(2..=2, 10));
    hostile.server.faults().sizes.insert("huge.csv".into(), u64::MAX);
    hostile.once().exits(65);
    assert_eq!(hostile.state_of("huge.csv"), Some(State::Failed));
    assert_eq!(hostile.report("huge")["fault"]["code"], "file-too-large", "{}", hostile.report("huge"));
    assert_eq!(hostile.points("C-2"), 0.0);
    hostile.behave();
    hostile.quiet_after.set(true);
    check_promises(&hostile);
}

/// C21.
#[test]
fn content_without_end_is_cut_off_at_the_announced_size() {
    let hostile = harbour().hostile();
    let content = snapshot(1..=9, 10);
    hostile.deliver("points.csv", &content);
    hostile.server.faults().endless_content.push("in/points.csv".into());
    let daemon = hostile.start(&["run"]);
    wait_until("it is noticed", || hostile.said().contains("the file changed since it was complete"));
    let reads = hostile.server.operations(Kind::Read);
    assert!(reads < 500, "{reads} reads of a file of {} bytes", content.len());
    assert_eq!(hostile.sandbox.requests().total(), 0, "no row of it is used");
    hostile.behave();
    wait_until("the honest file is done", || hostile.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&hostile);
}

/// C21.
#[test]
fn fewer_bytes_than_announced_are_no_file() {
    let hostile = harbour().hostile();
    let content = snapshot(1..=9, 10);
    hostile.deliver("points.csv", &content);
    hostile.server.faults().sizes.insert("points.csv".into(), content.len() as u64 + 1000);
    hostile.once().exits(75);
    assert_eq!(hostile.sandbox.requests().total(), 0, "no row of it is used");
    hostile.behave();
    hostile.once().exits(0);
    check_promises(&hostile);
}

/// C21.
#[test]
fn a_listing_without_end_is_given_up_with_little_memory() {
    let hostile = harbour().hostile();
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    {
        let mut faults = hostile.server.faults();
        faults.endless_listing = true;
        // Long names reach the limit sooner; short ones take half a million.
        faults.endless_name_length = if std::env::var_os("PASSFERRY_LONG").is_some() { 0 } else { 2000 };
    }
    let daemon = hostile.start(&["run"]);
    wait_until("it is given up", || hostile.said().contains("names"));
    assert!(hostile.said().contains("holds more than"), "{}", hostile.said());
    let peak = daemon.peak_kib();
    assert!(peak < 256 << 10, "{peak} KiB");
    hostile.behave();
    wait_until("the file is done", || hostile.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&hostile);
}

/// C8.
#[test]
fn a_file_that_grows_under_the_reader_is_read_again_whole() {
    let hostile = harbour().hostile();
    let (begun, more) = (snapshot(1..=3, 10) + &padding(2000), "C-4,14\nC-5,15\n");
    fs::write(hostile.inbox().join("points.csv"), &begun).unwrap();
    hostile.server.faults().disturbance =
        Some(Disturbance { path: "in/points.csv".into(), after_reads: 1, change: Change::Append(more.into()) });
    hostile.note_delivery(b"points.csv", (begun + more).as_bytes());
    let daemon = hostile.start(&["run"]);
    wait_until("the file is done", || hostile.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert!(hostile.said().contains("the file changed since it was complete"), "{}", hostile.said());
    assert_eq!((hostile.runs().len(), hostile.report("points")["records"].as_u64()), (1, Some(2005)));
    check_promises(&hostile);
}

/// C9.
#[test]
fn a_file_replaced_under_the_reader_is_read_again_as_the_new_one() {
    let hostile = harbour().hostile();
    fs::write(hostile.inbox().join("points.csv"), snapshot(1..=3, 10) + &padding(2000)).unwrap();
    let new = snapshot(1..=3, 500);
    hostile.server.faults().disturbance =
        Some(Disturbance { path: "in/points.csv".into(), after_reads: 1, change: Change::Replace(new.clone().into()) });
    hostile.note_delivery(b"points.csv", new.as_bytes());
    let daemon = hostile.start(&["run"]);
    wait_until("the file is done", || hostile.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((hostile.points("C-1"), hostile.writes().len()), (501.0, 3), "the old content was never used");
    check_promises(&hostile);
}

/// C14.
#[test]
fn a_rename_that_succeeds_and_says_no_counts_as_done() {
    let hostile = harbour().feed("claim", "{ folder = \".processing\" }").hostile();
    hostile.server.faults().rename_denied_when_done = true;
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    hostile.once().exits(0);
    assert_eq!(hostile.tree()[0], ".processed/points.csv");
    assert_eq!(hostile.writes().len(), 9);
    check_promises(&hostile);
}

/// C14.
#[test]
fn refused_renames_lose_nothing_and_are_done_when_they_are_allowed() {
    let hostile = harbour().hostile();
    hostile.fail(Kind::Rename, StatusCode::Failure);
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    hostile.once().exits(75);
    assert!(hostile.inbox().join("points.csv").exists());
    assert!(!hostile.tree().iter().any(|path| path.starts_with("reports/points")), "{:?}", hostile.tree());
    let writes = hostile.writes().len();
    hostile.behave();
    hostile.once().exits(0);
    assert_eq!((hostile.writes().len(), writes), (9, 9), "no row is sent again");
    check_promises(&hostile);
}

/// C14. Names that are taken in the archive and among the reports, and a server that would overwrite.
#[test]
fn a_name_that_is_taken_is_never_overwritten() {
    let hostile = harbour().hostile();
    for (folder, name) in [(".processed", "points.csv"), ("reports", "points.report.json")] {
        fs::create_dir_all(hostile.inbox().join(folder)).unwrap();
        fs::write(hostile.inbox().join(folder).join(name), "somebody else's").unwrap();
    }
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    hostile.once().exits(0);
    assert_eq!(hostile.read(".processed/points.csv"), b"somebody else's");
    assert_eq!(hostile.read("reports/points.report.json"), b"somebody else's");
    let id = hostile.run_of("points.csv").id;
    assert!(hostile.inbox().join(format!(".processed/points-{id}.csv")).exists());
    assert!(hostile.inbox().join(format!("reports/points-{id}.report.json")).exists());
    fs::remove_file(hostile.inbox().join("reports/points.report.json")).unwrap();
    check_promises(&hostile);
}

/// C15.
#[test]
fn a_clock_ten_years_off_changes_nothing() {
    for skew in [-10 * 365 * 86_400, 10 * 365 * 86_400] {
        let hostile = harbour().feed("order", "\"mtime\"").hostile();
        hostile.server.faults().mtime_skew = skew;
        hostile.deliver("b.csv", snapshot(1..=9, 10));
        let earlier = fs::File::options().write(true).open(hostile.inbox().join("b.csv")).unwrap();
        earlier.set_modified(std::time::SystemTime::now() - Duration::from_hours(1)).unwrap();
        hostile.deliver("a.csv", snapshot(1..=9, 500));
        hostile.once().exits(0);
        let order: Vec<String> = hostile.runs().iter().map(passferry::ledger::Run::shown_name).collect();
        assert_eq!(order, ["b.csv", "a.csv"], "by the server's own times");
        assert_eq!(hostile.points("C-1"), 501.0);
        check_promises(&hostile);
    }
}

/// C15.
#[test]
fn a_marker_counts_by_the_servers_own_clock() {
    let hostile = harbour().feed("quiet", "").feed("marker", "\"{}.done\"").hostile();
    hostile.server.faults().mtime_skew = -10 * 365 * 86_400;
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    hostile.deliver("points.csv.done", "");
    hostile.delivered.borrow_mut().pop();
    hostile.once().exits(0);
    assert_eq!(hostile.state_of("points.csv"), Some(State::Done));
    check_promises(&hostile);
}

fn report_mode(hostile: &Hostile) -> u32 {
    fs::metadata(hostile.inbox().join("reports/points.report.json")).unwrap().permissions().mode() & 0o7777
}

/// C16.
#[test]
fn reports_have_the_mode_of_the_configuration_whatever_the_servers_umask() {
    for (written, mode) in [("", 0o640), ("\"0664\"", 0o664)] {
        let hostile = harbour().feed("report_mode", written).hostile();
        hostile.server.faults().mode_forced = Some(0o777);
        hostile.deliver("points.csv", snapshot(1..=9, 10));
        hostile.once().exits(0);
        assert_eq!(report_mode(&hostile), mode);
        assert!(!hostile.said().contains("another mode"), "{}", hostile.said());
        check_promises(&hostile);
    }
}

/// C16.
#[test]
fn a_server_that_keeps_another_mode_is_told() {
    let hostile = harbour().hostile();
    {
        let mut faults = hostile.server.faults();
        faults.mode_forced = Some(0o600);
        faults.modes_ignored = true;
    }
    hostile.deliver("points.csv", snapshot(1..=9, 10));
    let ran = hostile.once().exits(0);
    assert!(ran.err.contains("keeps another mode") && ran.err.contains("640") && ran.err.contains("600"), "{}", ran.err);
    assert_eq!(report_mode(&hostile), 0o600);
    check_promises(&hostile);
}

/// C23.
#[test]
fn a_file_that_is_listed_and_cannot_be_opened_holds_up_nobody() {
    let hostile = harbour().hostile();
    hostile.server.faults().invented = vec![regular("a-ghost.csv", 100)];
    hostile.deliver("points.csv", snapshot(1..=1, 10));
    hostile.once().exits(0);
    assert_eq!(hostile.state_of("points.csv"), Some(State::Done));
    assert_eq!(hostile.state_of("a-ghost.csv"), Some(State::Discarded));
    let status = hostile.told(&["status", "--json"]);
    assert_eq!(status["input_removed"][0]["file"], "a-ghost.csv", "{status}");
}

/// C24.
#[test]
fn a_full_disk_at_the_server_keeps_the_report_here_and_the_input_there() {
    let hostile = harbour().hostile();
    hostile.server.faults().space = Some(10);
    hostile.deliver("points.csv", snapshot(1..=9, 10) + "C-1,none\n");
    hostile.once().exits(75).says("the server says");
    assert!(hostile.inbox().join("points.csv").exists(), "the input waits for its report");
    assert!(!hostile.tree().iter().any(|path| path.starts_with("reports/")), "{:?}", hostile.tree());
    let status = hostile.told(&["status", "--json"]);
    let waits = status["waiting"][0]["cause"].as_str().unwrap_or_default().to_owned();
    assert!(waits.contains("report cannot be written") && waits.contains("the server says"), "{status}");
    let writes = hostile.writes().len();
    hostile.behave();
    hostile.once().exits(1);
    assert_eq!(hostile.writes().len(), writes, "no row is sent again");
    check_promises(&hostile);
}
