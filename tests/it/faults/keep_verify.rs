//! `verify`: nothing is found where all is well, and everything is found that is not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency};
use rusqlite::Connection;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

/// Runs a command with its standard output. Answers exit code and output.
#[track_caller]
pub fn ask(harbour: &Harbour, args: &[&str], input: &[u8]) -> (i32, String) {
    use std::io::Write;
    let mut child = harbour.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

/// Names of the findings.
#[track_caller]
fn findings(harbour: &Harbour, more: &[&str]) -> (i32, Vec<String>) {
    let (exit, said) = ask(harbour, &[&["verify", "--json"], more].concat(), b"");
    let lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{said}")));
    (exit, lines.filter_map(|line| line["finding"].as_str().map(str::to_owned)).collect())
}

pub fn sql(harbour: &Harbour, text: &str) {
    let ledger = Connection::open(harbour.state().join("ledger.sqlite")).unwrap();
    ledger.execute_batch(&format!("PRAGMA foreign_keys = OFF; {text}")).unwrap();
}

/// A clean file, one with rows for a person, one that is bad as a whole, one that came twice, a correction, and one that is held.
fn eventful() -> Harbour {
    let harbour = harbour().feed("guard.zeroed", "\"1%\"").feed("guard.floor", "1").start();
    harbour.deliver("clean.csv", snapshot(1..=5, 10));
    harbour.once().exits(0);
    harbour.deliver("again.csv", snapshot(1..=5, 10));
    harbour.deliver("faulty.csv", "id,points,tier,email\nC-6,1,gold,\nC-7,none,,\nC-99,5,,\n");
    harbour.deliver("bad.csv", "id,points,tier,email\nC-1,\"1\n");
    harbour.once().exits(65);
    let report = String::from_utf8(harbour.read("reports/faulty.errors.csv")).unwrap();
    harbour.deliver("faulty.errors.csv", report.replace("none", "7"));
    harbour.once().exits(1);
    harbour.deliver("held.csv", "id,points,tier,email\nC-1,0,gold,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("held.csv"), Some(State::Held), "{}", harbour.said());
    harbour
}

#[test]
fn verify_finds_nothing_where_nothing_is_wrong() {
    let harbour = eventful();
    assert_eq!(findings(&harbour, &["--reach"]), (0, vec![]));
    let (exit, said) = ask(&harbour, &["verify"], b"");
    assert_eq!((exit, said.contains("everything fits")), (0, true), "{said}");
    harbour.proxy.refuse(true);
    let (exit, said) = ask(&harbour, &["verify", "--reach"], b"");
    assert_eq!((exit, said.contains("not looked at: feed points")), (69, true), "{said}");
    harbour.proxy.refuse(false);
    check_promises(&harbour);
}

/// What a test breaks, and what must be found.
type Break<'a> = (&'a str, &'a dyn Fn(&Harbour));

#[test]
fn verify_finds_what_does_not_fit() {
    let harbour = eventful();
    let spool = |name: String| harbour.state().join("spool").join(name);
    let id = |name: &str| harbour.run_of(name).id;
    let run = |set: &str, name: &str| sql(&harbour, &format!("UPDATE run SET {set} WHERE id = '{}'", id(name)));
    let row = |set: &str, name: &str| {
        sql(&harbour, &format!("UPDATE row SET {set} WHERE run = (SELECT seq FROM run WHERE id = '{}') AND record = 2", id(name)));
    };
    let breaks: &[Break<'_>] = &[
        ("spool-changed", &|_| fs::write(spool(id("faulty.csv") + ".data"), "id\n").unwrap()),
        ("spool-missing", &|_| fs::remove_file(spool(id("held.csv") + ".data")).unwrap()),
        ("spool-unknown-run", &|_| fs::write(spool("zzzzzz.data".into()), "id\n").unwrap()),
        ("spool-half-copy", &|_| fs::write(spool(id("held.csv") + ".part"), "id\n").unwrap()),
        ("spool-left-over", &|_| fs::write(spool(id("clean.csv") + ".data"), "id\n").unwrap()),
        ("spool-scratch", &|_| fs::create_dir(spool(".tmpAbC".into())).unwrap()),
        ("tally", &|_| sql(&harbour, "DELETE FROM row WHERE outcome = 'rejected'")),
        ("tally", &|_| row("outcome = 'stale'", "faulty.csv")),
        ("records", &|_| run("detail = json_set(detail, '$.facts.records', 9)", "clean.csv")),
        ("over-with-rows-to-do", &|_| row("outcome = NULL", "clean.csv")),
        ("state-and-fault", &|_| run("state = 'failed'", "clean.csv")),
        ("state-and-doubt", &|_| row("outcome = 'in-doubt'", "clean.csv")),
        ("rows-twice", &|_| row("record = 1", "clean.csv")),
        ("record-beyond-file", &|_| row("record = 100", "clean.csv")),
        ("row-unreadable", &|_| row("outcome = 'splendid'", "clean.csv")),
        ("row-unreadable", &|_| row("verb = 'dance'", "clean.csv")),
        ("row-unreadable", &|_| row("detail = '{'", "clean.csv")),
        ("run-unreadable", &|_| run("detail = '{'", "clean.csv")),
        ("hash-missing", &|_| run("sha256 = NULL", "clean.csv")),
        ("parent-unknown", &|_| run("parent = 'zzzzzz'", "faulty.errors.csv")),
        ("delivery-twice", &|_| sql(&harbour, TWICE)),
        ("ledger-orphans", &|_| sql(&harbour, "DELETE FROM run WHERE name = CAST('clean.csv' AS BLOB)")),
        ("ledger-lead", &|_| sql(&harbour, "INSERT INTO lead VALUES (9)")),
        ("baseline-unreadable", &|_| sql(&harbour, "UPDATE baseline SET fields = x'0102'")),
        ("feed-gone", &|harbour| harbour.change_config(|text| text.replace("[feed.points]", "[feed.others]"))),
        ("report-missing", &|_| fs::remove_file(harbour.inbox().join("reports/clean.report.json")).unwrap()),
        ("report-changed", &|_| append(&harbour.inbox().join("reports/faulty.errors.csv"))),
        ("input-missing", &|_| fs::remove_file(harbour.inbox().join(".processed/clean.csv")).unwrap()),
        ("input-changed", &|_| append(&harbour.inbox().join(".processed/clean.csv"))),
        ("report-unknown", &|_| sql(&harbour, "PRAGMA foreign_keys = ON; DELETE FROM run WHERE name = CAST('clean.csv' AS BLOB)")),
    ];
    let aside = tempfile::tempdir().unwrap();
    copy(&harbour, harbour.home.path(), aside.path());
    for (wanted, spoil) in breaks {
        spoil(&harbour);
        let reach = ["report", "input"].iter().any(|part| wanted.starts_with(part));
        let (exit, found) = findings(&harbour, if reach { &["--reach"] } else { &[] });
        assert!(exit == 1 && found.iter().any(|found| found == wanted), "{wanted} is not among {found:?}, exit {exit}");
        let (_, said) = ask(&harbour, if reach { &["verify", "--reach"] } else { &["verify"] }, b"");
        assert!(said.lines().any(|line| line.starts_with(wanted)), "{said}");
        copy(&harbour, aside.path(), harbour.home.path());
    }
    assert_eq!(findings(&harbour, &["--reach"]), (0, vec![]));
    check_promises(&harbour);
}

const TWICE: &str = "INSERT INTO run(id, feed, account, source, folder, name, size, mtime, state, kind, sha256, detail)
    SELECT 'yyyyyy', feed, account, source, folder, name, size, mtime, 'complete', kind, NULL, detail FROM run WHERE state = 'held'";

fn append(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content.extend_from_slice(b"C-8,8\n");
    fs::write(path, content).unwrap();
}

/// Makes one home of another: state, configuration and the server's files, with their times.
fn copy(harbour: &Harbour, from: &Path, to: &Path) {
    let inbox = harbour.root.strip_prefix(harbour.home.path()).unwrap();
    for part in [Path::new("state"), &inbox.join("in"), Path::new("passferry.toml")] {
        let target = to.join(part);
        let _ = fs::remove_dir_all(&target);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg("-a").arg(from.join(part)).arg(&target).status().unwrap().success());
    }
}

#[test]
fn verify_beside_a_busy_daemon_finds_nothing() {
    let slow = Faults { latency: Latency::Fixed { ms: 3 }, ..Faults::default() };
    let harbour = harbour().members(60).faults(slow).start();
    let daemon = harbour.start(&["run"]);
    let mut looks = 0;
    for file in 1..=4 {
        harbour.deliver(format!("{file}.csv"), snapshot(1..=60, file * 100) + "C-1,none\n");
        let name = format!("{file}.csv");
        while !harbour.state_of(&name).is_some_and(State::is_over) {
            let found = findings(&harbour, &[]);
            assert_eq!(found, (0, vec![]), "look {looks}");
            looks += 1;
        }
    }
    assert!(looks > 10, "{looks} looks");
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// B7.
#[test]
fn a_damaged_ledger_is_told_and_nothing_starts_on_it() {
    let harbour = eventful();
    let path = harbour.state().join("ledger.sqlite");
    sql(&harbour, "PRAGMA wal_checkpoint(TRUNCATE)");
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    // The pages behind the first, of which there are some of every table.
    damaged[4096 * 3..4096 * 9].fill(0x5a);
    fs::write(&path, &damaged).unwrap();
    let (exit, said) = ask(&harbour, &["verify"], b"");
    assert!(exit == 1 && said.contains("ledger-damaged") && said.contains("Backup and restore") || exit == 74, "{exit} {said}");
    let writes = harbour.writes().len();
    harbour.once().exits(74).says("passferry backup").says("as ledger.sqlite");
    assert_eq!(harbour.writes().len(), writes);
    fs::write(&path, b"this was a ledger once, and it is long enough for the program to look at what it might be").unwrap();
    for command in [&["once"][..], &["run"], &["status"], &["verify"]] {
        harbour.run(command).exits(74).says("passferry backup").says("as ledger.sqlite");
    }
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(harbour.state().join(format!("ledger.sqlite{ending}")));
    }
    fs::write(&path, sound).unwrap();
    wait_until("the ledger is back", || findings(&harbour, &[]) == (0, vec![]));
    check_promises(&harbour);
}
