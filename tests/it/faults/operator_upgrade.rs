//! Another version of the program on the state that an earlier one left in the middle of a file.

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency};
use rusqlite::Connection;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

const PASSES: u32 = 120;

/// Tables of the first format, and the columns of those that grew since.
const FIRST: [&str; 8] = ["lead", "run", "row", "field", "account", "baseline", "paused", "source"];
const ROW: [&str; 13] =
    ["run", "number", "record", "line", "offset", "length", "pass_high", "pass_low", "verb", "mask", "deferred", "outcome", "detail"];
const RUN: [&str; 15] =
    ["seq", "id", "feed", "account", "source", "folder", "name", "size", "mtime", "state", "kind", "parent", "sha256", "detail", "wish"];

fn texts(ledger: &Connection, query: &str) -> Vec<String> {
    let mut statement = ledger.prepare(query).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Makes the ledger one of the first format, as the first version would have left it.
fn downgrade(harbour: &Harbour) {
    let ledger = Connection::open(harbour.state().join("ledger.sqlite")).unwrap();
    let run = |sql: String| ledger.execute_batch(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    run("PRAGMA foreign_keys = OFF".into());
    for trigger in texts(&ledger, "SELECT name FROM sqlite_master WHERE type = 'trigger'") {
        run(format!("DROP TRIGGER {trigger}"));
    }
    for table in texts(&ledger, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
        if !FIRST.contains(&table.as_str()) {
            run(format!("DROP TABLE {table}"));
        }
    }
    for (table, known) in [("row", &ROW[..]), ("run", &RUN[..])] {
        for column in texts(&ledger, &format!("SELECT name FROM pragma_table_info('{table}')")) {
            if !known.contains(&column.as_str()) {
                run(format!("ALTER TABLE {table} DROP COLUMN {column}"));
            }
        }
    }
    run("PRAGMA user_version = 1".into());
}

/// A daemon killed while it applies a file.
fn interrupted() -> Harbour {
    let slow = Faults { latency: Latency::Fixed { ms: 20 }, ..Faults::default() };
    let harbour = harbour().points_only().members(PASSES).faults(slow).platform("in_flight", "4").start();
    harbour.deliver("points.csv", snapshot(1..=PASSES, 10));
    let daemon = harbour.start(&["run"]);
    wait_until("some rows are recorded", || {
        harbour.ledger_is_there() && harbour.runs().first().is_some_and(|run| harbour.ledger().tally(&run.id).unwrap().total() >= 10)
    });
    daemon.kill();
    harbour.sandbox.faults().clear();
    harbour
}

/// F10.
#[test]
fn a_newer_program_goes_on_in_the_middle_of_a_file_of_an_older_one() {
    let harbour = interrupted();
    let recorded = harbour.ledger().tally(&harbour.run_of("points.csv").id).unwrap().total();
    downgrade(&harbour);
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Done));
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": PASSES }));
    let once = harbour.writes_by_pass().values().filter(|count| **count == 1).count() as u64;
    assert!(once >= recorded, "no recorded row is sent again: {recorded} were, and {once} passes were written to once");
    check_promises(&harbour);
}

/// F10.
#[test]
fn an_older_program_refuses_the_ledger_of_a_newer_one_and_touches_nothing() {
    let harbour = interrupted();
    let path = harbour.state().join("ledger.sqlite");
    {
        let ledger = Connection::open(&path).unwrap();
        ledger.execute_batch("PRAGMA user_version = 4711").unwrap();
        ledger.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap_or_default();
    }
    let (files, requests) = (harbour.files(), harbour.sandbox.requests().total());
    for command in ["once", "run", "status"] {
        let ran = harbour.run(&[command]);
        assert_ne!(ran.exit, 0, "{command}");
        assert!(ran.err.contains("4711"), "{command} says why: {}", ran.err);
    }
    assert_eq!((harbour.files(), harbour.sandbox.requests().total()), (files, requests));
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {}", format_of_today())).unwrap();
    harbour.once().exits(0);
    check_promises(&harbour);
}

/// The format that a new ledger has.
fn format_of_today() -> i64 {
    let folder = tempfile::tempdir().unwrap();
    drop(passferry::ledger::open(folder.path()).unwrap());
    let ledger = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
    ledger.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}
