//! Storage that fails, refuses, or is not what it seems.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use passferry::ledger::State;
use passferry::sandbox::{Faults as Slow, Latency};

use super::delivery::{padding, snapshot};
use crate::rig::disk::{Disk, Faults};
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

/// Passes whose updates take a while, so that there is a middle.
fn slow(passes: u32) -> Harbour {
    let slow = Slow { latency: Latency::Fixed { ms: 20 }, ..Slow::default() };
    let harbour = harbour().points_only().platform("in_flight", "4").members(passes).faults(slow).folder().start();
    harbour.once().exits(0);
    harbour
}

/// B5.
#[test]
fn a_disk_that_fails_ends_the_daemon_with_74_and_the_ledger_is_verified_before_it_is_used_again() {
    const PASSES: u32 = 400;
    for kinds in ["s", "w"] {
        let harbour = slow(PASSES);
        let faults = Faults::of(&harbour);
        harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
        let mut daemon = faults.start(&harbour, &["run"]);
        wait_until("some passes are changed", || harbour.writes().len() >= 40);
        faults.fail(kinds, EIO, "ledger", 0);
        assert_eq!(daemon.wait(), 74, "{}", harbour.said());
        let sent = harbour.writes().len();
        assert!(sent < PASSES as usize, "nothing more is sent: {sent}");
        assert!(harbour.said().contains("storage failed"), "{}", harbour.said());
        faults.clear();
        harbour.sandbox.faults().clear();
        harbour.once().exits(0).says("its ledger is verified");
        assert_eq!(harbour.points("C-1"), 1001.0);
        assert!(harbour.writes_by_pass().values().all(|count| *count <= 2), "only what was on its way is sent again");
        let ran = harbour.once().exits(0);
        assert!(!ran.err.contains("verified"), "an end in order needs none: {}", ran.err);
        check_promises(&harbour);
    }
}

/// B5. One flush fails, all later ones work: what the failed one lost would be taken for written.
#[test]
fn a_single_failed_flush_is_never_tried_again_in_the_hope_that_it_works() {
    for skip in [0, 2, 5] {
        let harbour = slow(60);
        let faults = Faults::of(&harbour);
        harbour.deliver("points.csv", snapshot(1..=60, 1000));
        faults.fail("s", EIO, "ledger", skip);
        let mut sweep = faults.start(&harbour, &["once"]);
        wait_until("a flush failed", || faults.struck() || !sweep.is_running());
        faults.clear();
        assert_eq!(sweep.wait(), 74, "after {skip}: {}", harbour.said());
        harbour.once().exits(0).says("its ledger is verified");
        check_promises(&harbour);
    }
}

/// B5. The spool and the place of reports are disks too.
#[test]
fn a_failed_flush_of_a_copy_sends_nothing() {
    let harbour = slow(9);
    let faults = Faults::of(&harbour);
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    faults.fail("s", EIO, "spool", 0);
    assert_eq!(faults.run(&harbour, &["once"]), 74, "{}", harbour.said());
    assert_eq!(harbour.writes().len(), 0);
    faults.clear();
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// B6. Of each a sweep in its middle, and of each the way back.
#[test]
fn a_state_that_cannot_be_written_to_is_waited_for_and_nothing_is_sent_meanwhile() {
    const PASSES: u32 = 200;
    for (errno, words) in [(EROFS, "cannot be written to"), (EDQUOT, "waits for space")] {
        let harbour = slow(PASSES);
        let faults = Faults::of(&harbour);
        harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
        let daemon = faults.start(&harbour, &["run"]);
        wait_until("some passes are changed", || harbour.writes().len() >= 20);
        // The reserve does not help against either.
        faults.fail("wo", errno, "/state", 0);
        wait_until("it waits", || harbour.said().contains(words));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let sent = harbour.writes().len();
        assert!(sent < PASSES as usize, "stopped too late");
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(harbour.writes().len(), sent, "nothing is sent meanwhile");
        faults.clear();
        harbour.sandbox.faults().clear();
        wait_until("it goes on by itself", || harbour.state_of("points.csv") == Some(State::Done));
        assert_eq!(daemon.terminate(), 0);
        check_promises(&harbour);
    }
}

/// A command with a limit of the shell's `ulimit`.
fn limited(harbour: &Harbour, limit: &str, args: &[&str]) -> Command {
    let program = harbour.command(args);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(program.get_program()).args(program.get_args());
    command.current_dir(harbour.home.path()).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).arg0("sh");
    command
}

/// B6.
#[test]
fn a_file_size_limit_does_not_kill_without_a_word() {
    let harbour = harbour().folder().start();
    harbour.once().exits(0);
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(40_000));
    // In blocks of 512 bytes: too small for the copy, then for the ledger.
    for blocks in ["-f 1000", "-f 4000"] {
        let mut process = harbour.start_command(limited(&harbour, blocks, &["once"]));
        let exit = process.wait();
        assert_eq!(exit, 75, "{blocks}: {}", harbour.said());
        assert!(harbour.said().contains("waits for space"), "{}", harbour.said());
        assert!(harbour.inbox().join("points.csv").exists());
    }
    harbour.once().exits(1);
    check_promises(&harbour);
}

/// B7.
#[test]
fn a_damaged_ledger_is_refused_and_the_way_back_is_named() {
    let harbour = harbour().folder().start();
    harbour.deliver("points.csv", snapshot(1..=9, 10) + &padding(3000));
    harbour.once().exits(1);
    let path = harbour.state().join("ledger.sqlite");
    let whole = fs::read(&path).unwrap();
    let sent = harbour.writes().len();
    harbour.deliver("more.csv", snapshot(1..=9, 20));
    let pages = whole.len() / 4096;
    for page in [0, 1, pages / 2, pages - 2] {
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(page as u64 * 4096)).unwrap();
        file.write_all(&[0x5A; 4096]).unwrap();
        drop(file);
        let ran = harbour.once().exits(74).says("ledger.sqlite").says("backup");
        assert!(ran.err.contains("damaged"), "page {page}: {}", ran.err);
        harbour.run(&["run"]).exits(74).says("damaged");
        fs::write(&path, &whole).unwrap();
    }
    fs::File::options().write(true).open(&path).unwrap().set_len(whole.len() as u64 / 2).unwrap();
    harbour.once().exits(74).says("damaged");
    assert_eq!(harbour.writes().len(), sent, "nothing is sent by a ledger that cannot be believed");
    fs::write(&path, &whole).unwrap();
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// B9. A real network file system: the harbour's own server, mounted by sshfs.
#[test]
fn a_state_on_a_network_disk_is_refused_unless_somebody_insists() {
    let harbour = harbour().start();
    let place = harbour.state();
    fs::create_dir(&place).unwrap();
    let far = harbour.home.path().join("far");
    fs::create_dir(&far).unwrap();
    let mounted = Command::new("sshfs")
        .arg(format!("{}@127.0.0.1:{}", harbour.sshd.user, far.display()))
        .arg(&place)
        .args(["-p", &harbour.sshd.port.to_string(), "-o", "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,LogLevel=ERROR"])
        .arg("-o")
        .arg(format!("IdentityFile={}", harbour.sshd.client_key("ed25519").display()))
        .status()
        .expect("this test needs sshfs and /dev/fuse: apt-get install sshfs");
    assert!(mounted.success(), "sshfs mounts the harbour's server; this test needs /dev/fuse");
    let _disk = Disk::mounted(&place);
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.run(&["once"]).exits(78).says("network file system (fuse.sshfs)").says("network_state = true");
    assert_eq!(harbour.writes().len(), 0);
    harbour.change_config(|text| format!("network_state = true\n{text}"));
    let ran = harbour.run(&["once"]);
    assert!(!ran.err.contains("network file system"), "somebody insisted: {}", ran.err);
}

/// B11.
#[test]
fn without_file_descriptors_the_intake_pauses_and_no_row_is_lost() {
    const PASSES: u32 = 60;
    let harbour = slow(PASSES);
    let faults = Faults::of(&harbour);
    harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
    let daemon = faults.start(&harbour, &["run"]);
    wait_until("some passes are changed", || harbour.writes().len() >= 10);
    faults.fail("o", EMFILE, "", 0);
    harbour.deliver("more.csv", snapshot(1..=PASSES, 2000));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    faults.clear();
    wait_until("all is done", || harbour.state_of("more.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B11. Whatever the number at which it runs out.
#[test]
fn with_few_file_descriptors_it_ends_with_a_documented_code_and_loses_nothing() {
    let harbour = slow(9);
    let mut ended = Vec::new();
    for (number, descriptors) in (1..).zip([8, 12, 16, 20, 24, 32]) {
        harbour.deliver(format!("{number}.csv"), snapshot(1..=9, number * 10));
        let mut process = harbour.start_command(limited(&harbour, &format!("-n {descriptors}"), &["once"]));
        let exit = process.wait();
        assert!(crate::rig::promises::is_documented(exit) && exit != 70, "{descriptors} descriptors: exit {exit}\n{}", harbour.said());
        ended.push(exit);
    }
    assert!(ended.iter().any(|exit| *exit != 0), "{ended:?}");
    harbour.once().exits(0);
    assert!(!harbour.said().contains("panicked"), "{}", harbour.said());
    check_promises(&harbour);
}
