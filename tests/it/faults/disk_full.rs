//! A disk without room, at every station: nothing half-made is left, nothing is sent that cannot be written down, and all goes on by
//! itself when there is room again.

use std::fs;
use std::path::PathBuf;

use passferry::ledger::State;
use passferry::sandbox::{Faults as Slow, Latency};

use super::delivery::{padding, snapshot};
use crate::rig::disk::Disk;
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// The state on a disk of its own, with a reserve that fits it. Further lines go to the top of the configuration.
fn on_small_disk(plan: Plan, bytes: u64, lines: &str) -> (Harbour, Disk) {
    let harbour = plan.folder().start();
    let disk = Disk::memory(&harbour.state(), bytes);
    harbour.change_config(|text| format!("reserve = \"256KiB\"\n{lines}\n{text}"));
    (harbour, disk)
}

/// Copies that are not whole.
fn half_copies(harbour: &Harbour) -> Vec<PathBuf> {
    let entries = fs::read_dir(harbour.state().join("spool")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "part")).collect()
}

fn status(harbour: &Harbour) -> String {
    let output = harbour.command(&["status"]).stdout(std::process::Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// B2.
#[test]
fn a_file_that_would_not_fit_stays_in_the_inbox_while_smaller_work_goes_on() {
    let small = "[feed.small]\nsource = \"port\"\ninbox = \"small\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\n\
                 platform = \"cards\"\nenvironment = \"test\"\npass = { external_id = \"id\" }\noperation = \"update\"\nquiet = \"150ms\"\n\
                 guard.first_file = false\nfields.points = \"points\"\n";
    let (harbour, disk) = on_small_disk(harbour().more(small), 16 << 20, "");
    fs::create_dir(harbour.root.join("small")).unwrap();
    harbour.once().exits(0);
    let large = snapshot(1..=3, 10) + &padding(12_000);
    disk.leave(large.len() as u64 * 3);
    harbour.deliver("large.csv", &large);
    harbour.deliver_to("small", "little.csv", snapshot(4..=6, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("the small file is done", || harbour.state_of("little.csv") == Some(State::Done));
    wait_until("the large one waits", || harbour.runs().iter().any(|run| run.name == "large.csv" && run.detail.waits.is_some()));
    let waits = harbour.run_of("large.csv").detail.waits.unwrap_or_default();
    assert!(waits.contains("waits for space") && waits.contains("space_factor"), "{waits}");
    assert!(status(&harbour).contains("waits for space"), "{}", status(&harbour));
    assert!(harbour.inbox().join("large.csv").exists());
    assert!(!harbour.state().join(format!("spool/{}.data", harbour.run_of("large.csv").id)).exists());
    disk.make_room();
    wait_until("it goes on by itself", || harbour.state_of("large.csv").is_some_and(State::is_over));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-4")), (11.0, 14.0));
    check_promises(&harbour);
}

/// B2, B3, B4. Whatever the station at which the last byte is taken.
fn full_after(rooms: impl Iterator<Item = u64>) {
    const PASSES: u32 = 120;
    let (harbour, disk) = on_small_disk(harbour().points_only().members(PASSES), 64 << 20, "space_factor = 0.0");
    harbour.once().exits(0);
    let (mut waited, mut went_on) = (0, 0);
    for (number, room) in (1..).zip(rooms) {
        let name = format!("{number}.csv");
        disk.leave(room);
        let sent = harbour.writes().len();
        harbour.deliver(&name, snapshot(1..=PASSES, number * 1000) + &padding(2500));
        let ran = harbour.once();
        let told = format!("{room} bytes were free\n{}", ran.err);
        assert_eq!(half_copies(&harbour), Vec::<PathBuf>::new(), "{told}");
        match ran.exit {
            1 => went_on += 1,
            75 => {
                waited += 1;
                assert!(ran.err.contains("waits for space"), "{told}");
                assert!(harbour.inbox().join(&name).exists(), "{told}");
                assert!(status(&harbour).contains("no room on the disk"), "{told}\n{}", status(&harbour));
                // It waits; it does not try again and again with what is left.
                let before = harbour.writes().len();
                harbour.once().exits(75);
                assert_eq!(harbour.writes().len(), before, "{told}");
            }
            other => panic!("exit {other}: {told}"),
        }
        disk.make_room();
        if ran.exit == 75 {
            harbour.once().exits(1);
        }
        assert_eq!(harbour.writes().len() - sent, PASSES as usize, "each pass is written exactly once: {told}");
        assert_eq!(harbour.report(&number.to_string())["rows"], serde_json::json!({ "applied": PASSES, "rejected": 2500 }), "{told}");
    }
    assert!(waited > 0 && went_on > 0, "{waited} waited, {went_on} went on");
    check_promises(&harbour);
}

/// B2, B3, B4.
#[test]
fn a_full_disk_at_any_station_is_waited_for_and_no_row_is_sent_twice() {
    full_after([0, 60, 200, 500, 6000].into_iter().map(|kibibytes| kibibytes << 10));
}

/// B2, B3, B4: at every page of room. Long: `PASSFERRY_LONG=1`.
#[test]
fn a_full_disk_at_every_page_is_waited_for_and_no_row_is_sent_twice() {
    if std::env::var_os("PASSFERRY_LONG").is_some() {
        for first in (0..480).step_by(40) {
            full_after((first..first + 40).map(|pages| pages * 8192).chain([6 << 20]));
        }
    }
}

/// B3.
#[test]
fn a_disk_that_fills_while_rows_are_sent_loses_no_answer_and_sends_nothing_more() {
    const PASSES: u32 = 400;
    let slow = Slow { latency: Latency::Fixed { ms: 20 }, ..Slow::default() };
    let plan = harbour().points_only().platform("in_flight", "4").members(PASSES).faults(slow);
    let (harbour, disk) = on_small_disk(plan, 12 << 20, "");
    harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
    let daemon = harbour.start(&["run"]);
    wait_until("some passes are changed", || harbour.writes().len() >= 40);
    disk.leave(0);
    wait_until("it waits for space", || status(&harbour).contains("no room on the disk"));
    wait_until("what was on its way has ended", || {
        let before = harbour.writes().len();
        std::thread::sleep(std::time::Duration::from_millis(300));
        harbour.writes().len() == before
    });
    let sent = harbour.writes().len();
    assert!(sent < PASSES as usize, "stopped too late");
    let run = harbour.run_of("points.csv");
    assert!(run.detail.waits.is_some_and(|waits| waits.contains("waits for space")), "{}", harbour.said());
    assert_eq!(harbour.ledger().count_pending(&run.id).unwrap(), u64::from(PASSES) - sent as u64, "every answer was written down");
    harbour.sandbox.faults().clear();
    disk.make_room();
    wait_until("it goes on by itself", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.writes().len(), PASSES as usize, "each pass exactly once");
    check_promises(&harbour);
}

/// B4.
#[test]
fn a_full_report_place_shows_no_truncated_report_and_gets_it_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let harbour = harbour().folder().start();
    fs::remove_dir_all(harbour.inbox()).unwrap();
    let disk = Disk::image(&harbour.inbox(), &home.path().join("image"), 8);
    for (number, room) in (1..).zip([0, 8 << 10, 100 << 10]) {
        let name = format!("{number}.csv");
        harbour.deliver(&name, snapshot(1..=9, number * 10) + &padding(2000));
        disk.leave(room);
        harbour.once().exits(75).says("No space left");
        let sent = harbour.writes().len();
        let reports: Vec<String> =
            harbour.tree().into_iter().filter(|path| path.starts_with("reports/.") || path.contains(&format!("/{number}."))).collect();
        for report in reports {
            // Of the three the smaller may be up already, and then whole.
            assert!(report.contains("errors.csv") || report.contains("problems.csv"), "{room} bytes of room: {report}");
            assert!(!report.contains(".part"), "{room} bytes of room: {report}");
        }
        assert!(harbour.inbox().join(&name).exists(), "the input waits for its report");
        disk.make_room();
        harbour.once().exits(1);
        assert_eq!(harbour.writes().len(), sent, "no row is sent again");
        assert_eq!(harbour.report(&number.to_string())["rows"], serde_json::json!({ "applied": 9, "rejected": 2000 }));
    }
    let _ = fs::remove_dir(harbour.inbox().join("lost+found"));
    check_promises(&harbour);
}

/// B4.
#[test]
fn a_full_inbox_disk_keeps_the_input_until_it_can_be_put_away() {
    let home = tempfile::tempdir().unwrap();
    let harbour = harbour().feed("reports", "{ source = \"port\", folder = \"reports\" }").folder().start();
    fs::remove_dir_all(harbour.inbox()).unwrap();
    fs::create_dir(harbour.root.join("reports")).unwrap();
    let disk = Disk::image(&harbour.inbox(), &home.path().join("image"), 8);
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    disk.leave(0);
    let ran = harbour.once();
    let moved = harbour.inbox().join(".processed/points.csv").exists();
    assert!(ran.exit == 75 || moved, "{}", ran.err);
    assert_eq!(harbour.inbox().join("points.csv").exists(), !moved, "it is in one place");
    let sent = harbour.writes().len();
    disk.make_room();
    harbour.once().exits(0);
    assert!(harbour.inbox().join(".processed/points.csv").exists());
    assert_eq!(harbour.writes().len(), sent);
}
