//! What must not be told, at any level of logging and in any trouble.

use passferry::sandbox::{Faults, Rule, Trouble};

use crate::rig::harbour::{KEY, SECRET, harbour, wait_until};
use crate::rig::promises::check_promises;

const PEOPLE: &str = "id,points,tier,email\nC-1,1,gold,ann@private.example\nC-2,2,gold,bob@private.example\nC-3,3,gold,not-an-address-of-cyd\nC-4,4,gold,dan@private.example\nC-99,4,gold,eve@private.example\n";

#[test]
fn logs_tell_no_secret_and_no_personal_value_even_when_everything_is_logged() {
    let harbour = harbour().platform("tries", "2").start();
    harbour.sandbox.faults().set(Faults {
        rules: vec![
            // A platform that repeats what it was sent in its error.
            Rule::new(Trouble::Status { code: 400, message: Some("cannot take bob@private.example".into()) }).method("PUT").id("C-2"),
            Rule::new(Trouble::Status { code: 500, message: Some("lost dan@private.example".into()) }).method("PUT").id("C-4"),
        ],
        ..Faults::default()
    });
    harbour.deliver("points.csv", PEOPLE);
    harbour.run(&["once", "--log-level", "trace"]).exits(1);
    harbour.sandbox.faults().clear();
    let said = harbour.said();
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "everything is logged");
    for private in [KEY, SECRET, "@private.example", "not-an-address-of-cyd", "Bearer ", "eyJ"] {
        let line = said.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "{private:?} is in the log");
    }
    let problems = String::from_utf8(harbour.read("reports/points.problems.csv")).unwrap();
    assert!(!problems.contains("not-an-address-of-cyd"), "masked: {problems}");
    check_promises(&harbour);
}

#[test]
fn process_arguments_and_the_state_directory_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let harbour = harbour().start();
    harbour.deliver("points.csv", PEOPLE);
    let daemon = harbour.start(&["run"]);
    wait_until("the file is over", || harbour.state_of("points.csv").is_some_and(passferry::ledger::State::is_over));
    let arguments = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(!arguments.contains(KEY) && !arguments.contains(SECRET), "{arguments}");
    assert_eq!(daemon.terminate(), 0);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&harbour.state()), 0o700);
    assert_eq!(mode(&harbour.state().join("spool")), 0o700);
    for entry in std::fs::read_dir(harbour.state().join("spool")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    assert_eq!(mode(&harbour.inbox().join("reports/points.errors.csv")), 0o640);
    // The ledger keeps digests of personal values, never the values.
    for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let content = std::fs::read(harbour.state().join(name)).unwrap_or_default();
        assert!(!bstr::ByteSlice::contains_str(&content[..], "@private.example"), "{name} holds a personal value");
    }
    check_promises(&harbour);
}

/// I7. What a platform repeats of an add in its error is in the report and not in the log, whatever becomes of the add and the account.
#[test]
fn words_of_the_platform_about_an_add_stay_out_of_the_log() {
    let echo = |code| Trouble::Status { code, message: Some("member jane.doe: deadlock".into()) };
    let harbour = super::adds::movements().platform("read_back", "\"presence\"").platform("tries", "2").start();
    harbour.sandbox.faults().set(Faults { rules: vec![Rule::new(echo(500)).path("/points/").id("C-1")], ..Faults::default() });
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\n");
    harbour.run(&["once", "--log-level", "trace"]).exits(1);
    let key = harbour.errors("a")[0]["_key"].clone();
    assert!(harbour.errors("a")[0]["_problems"].contains("jane.doe"), "the report has the platform's words");
    // An outage of the whole account.
    harbour.sandbox.faults().set(Faults { rules: vec![Rule::new(echo(403))], ..Faults::default() });
    let rows: String = (2..=60).map(|n| format!("T-{n},C-{},earn,1\n", n % 7 + 2)).collect();
    harbour.deliver("b.csv", "txn,id,move,points\n".to_owned() + &rows);
    harbour.run(&["once", "--patience", "2s"]);
    harbour.sandbox.faults().clear();
    harbour.once();
    let said = harbour.said();
    assert!(said.contains("an add is in doubt") && said.contains(&key) && said.contains("status 500"), "{said}");
    assert!(said.contains("the platform is out"), "{said}");
    assert!(!said.contains("jane.doe") && !said.contains("deadlock"), "{said}");
    check_promises(&harbour);
}
