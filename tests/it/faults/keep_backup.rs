//! Backups of the ledger, and what comes of putting one back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use passferry::ledger::{RunFilter, State};
use passferry::outcome::Outcome;
use passferry::sandbox::{Faults, Latency};

use super::delivery::snapshot;
use super::keep_verify::ask;
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

const PASSES: u32 = 250;

/// Backs up while rows are applied, and lets the daemon finish.
fn backed_up_in_the_middle(harbour: &Harbour) -> std::path::PathBuf {
    harbour.deliver("points.csv", snapshot(1..=PASSES, 1000));
    let daemon = harbour.start(&["run"]);
    wait_until("some rows are written down", || {
        harbour.state_of("points.csv") == Some(State::Applying) && {
            let run = harbour.run_of("points.csv");
            harbour.ledger().tally(&run.id).unwrap().get(Outcome::Applied) >= 30
        }
    });
    let backup = harbour.home.path().join("ledger.backup");
    harbour.run(&["backup", backup.to_str().unwrap()]).exits(0);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Applying), "backed up too late");
    wait_until("the file is over", || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    backup
}

/// B7.
#[test]
fn a_backup_beside_a_busy_daemon_is_whole_and_restores() {
    let slow = Faults { latency: Latency::Fixed { ms: 10 }, ..Faults::default() };
    let harbour = harbour().points_only().platform("in_flight", "8").members(PASSES).faults(slow).start();
    let backup = backed_up_in_the_middle(&harbour);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let beside: Vec<_> = fs::read_dir(harbour.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(beside.iter().all(|name| !name.to_string_lossy().contains("ledger.backup") || name == "ledger.backup"), "{beside:?}");
    let content = fs::read(&backup).unwrap();
    harbour.run(&["backup", backup.to_str().unwrap()]).exits(2).says("overwrite nothing");
    assert_eq!(fs::read(&backup).unwrap(), content, "never overwritten");
    let writes = harbour.writes().len();

    // As README.md says.
    let state = harbour.state();
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::rename(state.join(name), harbour.home.path().join(name));
    }
    fs::copy(&backup, state.join("ledger.sqlite")).unwrap();
    let ledger = harbour.ledger();
    let run = ledger.runs(&RunFilter::default()).unwrap().remove(0);
    let applied = ledger.tally(&run.id).unwrap().get(Outcome::Applied);
    assert!(run.state == State::Applying && (30..u64::from(PASSES)).contains(&applied), "{} with {applied} applied", run.state);
    drop(ledger);
    let (exit, said) = ask(&harbour, &["verify"], b"");
    assert!(exit == 1 && said.contains("spool-missing"), "its copy is gone, since it was over: {said}");

    // The input was put away, so the run comes to its end as far as it is known: nothing is sent twice, nothing is called done.
    harbour.once().exits(1);
    let run = harbour.run_of("points.csv");
    assert_eq!(run.state, State::Discarded);
    assert_eq!((run.detail.tally.get(Outcome::Applied), run.detail.tally.total()), (applied, u64::from(PASSES)));
    assert_eq!(harbour.writes().len(), writes);
    let (exit, said) = ask(&harbour, &["verify", "--reach"], b"");
    assert_eq!(exit, 0, "{said}");

    // What sets may be delivered again: passes that the ledger does not know to hold it are sent once more.
    fs::rename(harbour.inbox().join(".processed/points.csv"), harbour.inbox().join("points.csv")).unwrap();
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Done));
    assert_eq!(harbour.points("C-7"), 1007.0);
    check_promises(&harbour);
}

#[test]
fn a_backup_says_what_is_missing() {
    let harbour = harbour().start();
    harbour.run(&["backup", "ledger.backup"]).exits(66).says("no ledger");
    harbour.deliver("points.csv", snapshot(1..=2, 10));
    harbour.once().exits(0);
    harbour.run(&["backup", "nowhere/ledger.backup"]).exits(74).says("nowhere/");
    let (exit, said) = ask(&harbour, &["backup", "ledger.backup", "--json"], b"");
    let told: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let bytes = fs::metadata(harbour.home.path().join("ledger.backup")).unwrap().len();
    assert_eq!((exit, told["bytes"].as_u64()), (0, Some(bytes)), "{said}");
    check_promises(&harbour);
}
