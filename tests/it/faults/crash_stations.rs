//! Killed at each station of the road, by name: what is there then, and what the next start does. (`crash_points` does it by number.)

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use passferry::ledger::State;
use passferry::sandbox::{Faults, Latency};

use super::delivery::snapshot;
use crate::rig::crash::{Crashed, Mode, Moment, crash};
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

fn plan() -> Plan {
    harbour().folder().points_only().feed("quiet", "\"10ms\"")
}

/// Kills a sweep at the first call that the pattern fits.
#[track_caller]
fn killed(harbour: &Harbour, mode: Mode, pattern: &str) -> Crashed {
    let crashed = crash(harbour, &["once"], &Moment::first(mode, pattern));
    let calls = || crashed.calls.iter().map(|call| call.line.clone() + "\n").collect::<String>();
    assert!(crashed.reached, "no call fits {pattern:?}\n{}", calls());
    crashed
}

/// A1.
#[test]
fn killed_while_a_file_is_still_quiet_it_starts_as_if_it_had_never_been_started() {
    let harbour = plan().feed("quiet", "\"30s\"").start();
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    let daemon = harbour.start(&["run"]);
    let is_listed = || harbour.ledger().source_notes().unwrap().iter().any(|note| note.listed_at.is_some());
    wait_until("the inbox was listed", || harbour.state().join("lock").exists() && is_listed());
    daemon.kill();
    assert!(harbour.runs().is_empty());
    assert_eq!(harbour.tree(), ["points.csv"]);
    harbour.change_config(|text| text.replace("\"30s\"", "\"10ms\""));
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1);
    check_promises(&harbour);
}

/// A3, A4.
#[test]
fn a_copy_that_was_cut_short_is_thrown_away_and_fetched_again() {
    let harbour = plan().start();
    for (number, (mode, pattern)) in [
        (Mode::Half, "write *spool/*.part"),
        (Mode::Before, "fsync *spool/*.part"),
        (Mode::Before, "spool/*.part -> *.data"),
        (Mode::After, "spool/*.part -> *.data"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.csv");
        harbour.deliver(&name, snapshot(1..=3, number as u32 * 100));
        let asked = harbour.sandbox.requests().total();
        killed(&harbour, mode, pattern);
        assert_eq!(harbour.state_of(&name), Some(State::Complete), "{pattern}");
        assert_eq!(harbour.sandbox.requests().total(), asked, "no row was sent");
        harbour.once().exits(0);
        assert_eq!(harbour.writes().len(), (number + 1) * 3);
    }
    check_promises(&harbour);
}

/// A5.
#[test]
fn killed_while_it_checks_it_has_asked_nothing_and_checks_from_the_first_record() {
    let harbour = plan().start();
    harbour.deliver("points.csv", snapshot(1..=3, 10) + "C-1,none\n");
    // Where a check begins. That it may be killed anywhere, `crash_points` shows.
    killed(&harbour, Mode::Before, "unlink *.text");
    assert_eq!(harbour.state_of("points.csv"), Some(State::Fetched));
    assert_eq!(harbour.sandbox.requests().total(), 0);
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 3, "rejected": 1 }));
    check_promises(&harbour);
}

/// Content of the files in a folder by name, as far as they begin or end like this.
fn contents(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<u8>> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| is_wanted(name)).map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// A10.
#[test]
fn a_report_is_byte_for_byte_the_same_after_a_kill_and_there_is_one() {
    let harbour = plan().start();
    for (number, (mode, pattern)) in [
        (Mode::Half, "write *reports/.*.errors.csv.*.part"),
        (Mode::After, "renameat2 *reports/*.errors.csv"),
        (Mode::Before, "renameat2 *reports/*.problems.csv"),
        (Mode::Half, "write *reports/.*.report.html.*.part"),
        (Mode::After, "renameat2 *reports/*.report.html"),
        (Mode::Half, "write *reports/.*.report.json.*.part"),
        (Mode::Before, "renameat2 *reports/*.report.json"),
        (Mode::After, "renameat2 *reports/*.report.json"),
    ]
    .into_iter()
    .enumerate()
    {
        let stem = format!("points{number}");
        harbour.deliver(format!("{stem}.csv"), snapshot(1..=2, number as u32 * 100) + "C-1,none\nC-99,1\n");
        killed(&harbour, mode, pattern);
        let run = harbour.run_of(&format!("{stem}.csv")).id;
        let built: BTreeMap<String, Vec<u8>> = contents(&harbour.state().join("spool"), |name| name.rsplit('.').next() != Some("data"))
            .into_iter()
            .filter_map(|(name, content)| Some((name.strip_prefix(&run)?.to_owned(), content)))
            .collect();
        assert_eq!(built.len(), 4, "four reports were built before one went up: {:?}", built.keys());
        let ours = |name: &str| name.starts_with(&stem);
        let place = harbour.inbox().join("reports");
        for (name, content) in contents(&place, ours) {
            assert_eq!(built[&name[stem.len()..]], content, "{name} was visible and not whole");
        }
        harbour.once().exits(1);
        let published = contents(&place, ours);
        let published: BTreeMap<String, Vec<u8>> =
            published.into_iter().map(|(name, text)| (name[stem.len()..].to_owned(), text)).collect();
        assert_eq!(published.keys().collect::<Vec<_>>(), built.keys().collect::<Vec<_>>());
        assert!(published == built, "{pattern}: the report is another one after the kill");
    }
    check_promises(&harbour);
}

/// A11, A12.
#[test]
fn killed_around_the_move_it_moves_once_and_closes_without_sending_a_row_again() {
    let harbour = plan().start();
    for (number, mode) in [Mode::Before, Mode::After].into_iter().enumerate() {
        let name = format!("{number}.csv");
        harbour.deliver(&name, snapshot(1..=3, number as u32 * 100));
        killed(&harbour, mode, &format!("in/{name} -> */.processed/{name}"));
        assert_eq!(harbour.inbox().join(&name).exists(), mode == Mode::Before);
        assert_eq!(harbour.state_of(&name), Some(State::Reporting));
        let asked = harbour.sandbox.requests().total();
        harbour.once().exits(0);
        assert_eq!(harbour.sandbox.requests().total(), asked);
        assert!(harbour.inbox().join(".processed").join(&name).exists());
        assert_eq!(harbour.state_of(&name), Some(State::Done));
    }
    check_promises(&harbour);
}

fn sqlite(harbour: &Harbour, sql: &str) -> String {
    let ledger = harbour.state().join("ledger.sqlite");
    let output = std::process::Command::new("sqlite3").arg(ledger).arg(sql).output().expect("these tests need sqlite3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A13.
#[test]
fn killed_while_it_migrates_the_ledger_opens_in_its_old_form_or_its_new_one() {
    let harbour = plan().start();
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    let meta = fs::metadata(harbour.inbox().join("points.csv")).unwrap();
    let delivered = format!(
        "INSERT INTO run(id, feed, account, source, folder, name, size, mtime, state, kind, detail) VALUES \
         ('aaaaaa', 'points', 'cards', 'port', CAST('in' AS BLOB), CAST('points.csv' AS BLOB), {}, {}, 'complete', 'file', \
         '{{\"seen_at\": \"2026-01-02T03:04:05Z\"}}');",
        meta.len(),
        std::os::unix::fs::MetadataExt::mtime(&meta)
    );
    let old_ledger = || {
        let _ = fs::remove_dir_all(harbour.state());
        fs::create_dir(harbour.state()).unwrap();
        sqlite(&harbour, include_str!("ledger-1.sql"));
        sqlite(&harbour, &delivered);
    };
    old_ledger();
    let calls = crash(&harbour, &["runs", "--json"], &Moment::any(Mode::Count, 0)).calls.len() as u64;
    let new: u32 = sqlite(&harbour, "PRAGMA user_version").parse().unwrap();
    assert!(new > 1 && calls > 10, "format {new}, {calls} calls");
    let step = if std::env::var_os("PASSFERRY_LONG").is_some() { 1 } else { calls as usize / 10 };
    for nth in (1..=calls).step_by(step) {
        for mode in [Mode::Before, Mode::Half] {
            old_ledger();
            crash(&harbour, &["runs", "--json"], &Moment::any(mode, nth));
            let format: u32 = sqlite(&harbour, "PRAGMA user_version").parse().unwrap();
            assert!(format == 1 || format == new, "neither old nor new: {format}");
            assert_eq!(sqlite(&harbour, "PRAGMA integrity_check"), "ok");
            assert_eq!(harbour.runs().len(), 1, "killed at call {nth}");
        }
    }
    harbour.once().exits(0);
    assert_eq!(harbour.writes().len(), 3);
    check_promises(&harbour);
}

/// A13.
#[test]
fn a_ledger_of_a_newer_program_is_refused_before_anything_is_touched() {
    let harbour = plan().start();
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.once().exits(0);
    let format = sqlite(&harbour, "PRAGMA user_version");
    sqlite(&harbour, "PRAGMA user_version = 99");
    harbour.deliver("more.csv", snapshot(1..=3, 100));
    let asked = harbour.sandbox.requests().total();
    for command in ["once", "run", "status"] {
        let ran = harbour.run(&[command]).says("newer passferry").says("format 99");
        assert!(ran.exit > 1, "{command} ends with {}", ran.exit);
    }
    assert_eq!(harbour.sandbox.requests().total(), asked);
    sqlite(&harbour, &format!("PRAGMA user_version = {format}"));
    harbour.once().exits(0);
    check_promises(&harbour);
}

fn earning() -> Plan {
    let schema = r#"{ "fields": [ { "name": "txn" }, { "name": "id" }, { "name": "points", "type": "integer" } ] }"#;
    let plan = plan().schema(schema).feed("content", "\"delta\"").feed("operation", "\"earn\"").feed("add.transaction_id", "\"txn\"");
    plan.platform("read_back", "\"events\"").platform("settling", "\"10ms\"").platform("timeout", "\"60s\"")
}

/// An add whose answer does not come, and the program that waits for it.
fn unanswered(harbour: &Harbour) -> crate::rig::harbour::Process {
    harbour.sandbox.faults().set(Faults { latency: Latency::Fixed { ms: 90_000 }, ..Faults::default() });
    harbour.deliver("points.csv", "txn,id,points\nT-1,C-1,50\nT-2,C-2,7\n");
    let daemon = harbour.start(&["run"]);
    wait_until("an add is on its way", || !harbour.writes().is_empty());
    daemon
}

/// A14.
#[test]
fn a_termination_waits_for_answers_no_longer_than_the_drain_time_and_no_add_is_lost_or_doubled() {
    let harbour = earning().start();
    harbour.change_config(|text| text.replace("drain = \"5s\"", "drain = \"1s\""));
    let daemon = unanswered(&harbour);
    let asked = Instant::now();
    assert_eq!(daemon.terminate(), 0);
    assert!(asked.elapsed() < Duration::from_secs(30), "it waits for answers that do not come");
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (50.0, 7.0));
    check_promises(&harbour);
}

/// A14.
#[test]
fn a_second_signal_ends_it_at_once_and_the_next_start_goes_on() {
    let harbour = earning().start();
    harbour.change_config(|text| text.replace("drain = \"5s\"", "drain = \"1h\""));
    let mut daemon = unanswered(&harbour);
    daemon.ask_to_stop();
    wait_until("it drains", || harbour.said().contains("a second signal ends at once"));
    assert!(daemon.is_running(), "it drains for an hour");
    daemon.ask_to_stop();
    assert_eq!(daemon.wait(), 128 + 15);
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (50.0, 7.0));
    check_promises(&harbour);
}

/// Two files in turn, the first of which kills three starts, each time in the same place and in the same state.
fn killed_three_times(plan: Plan, first: String, mode: Mode, place: &str, state: State) -> Harbour {
    let harbour = plan.feed("order", "\"name\"").start();
    harbour.deliver("a.csv", first);
    harbour.deliver("b.csv", snapshot(1..=3, 100));
    for _ in 0..3 {
        killed(&harbour, mode, place);
        assert_eq!(harbour.state_of("a.csv"), Some(state));
    }
    harbour
}

/// The first file failed as a whole and is out of the way of the second.
fn put_away(harbour: &Harbour) {
    assert!(harbour.inbox().join(".error/a.csv").exists());
    assert_eq!(harbour.state_of("b.csv"), Some(State::Done));
}

/// It killed whoever read it, before anything of it was known.
fn put_away_unread(harbour: &Harbour) {
    harbour.once().exits(65);
    let report = harbour.report("a");
    assert_eq!((report["state"].as_str(), report["fault"]["code"].as_str()), (Some("failed"), Some("source-error")));
    put_away(harbour);
    assert_eq!(harbour.points("C-1"), 101.0);
    check_promises(harbour);
}

/// A15.
#[test]
fn a_file_that_kills_its_reader_three_times_is_put_away_and_others_go_on() {
    let harbour = killed_three_times(plan(), snapshot(1..=3, 10), Mode::Before, "unlink *.text", State::Fetched);
    put_away_unread(&harbour);
}

/// A15.
#[test]
fn a_file_that_kills_its_sender_three_times_is_put_away_with_its_rows_in_the_report_and_others_go_on() {
    let harbour = killed_three_times(plan().feed("content", "\"delta\""), snapshot(1..=3, 10), Mode::Before, "PUT /", State::Applying);
    harbour.once().exits(1).says("stopped unexpectedly");
    assert_eq!(harbour.state_of("a.csv"), Some(State::Stopped));
    assert_eq!(harbour.report("a")["rows"], serde_json::json!({ "not-attempted": 3 }));
    assert_eq!(harbour.errors("a").len(), 3);
    put_away(&harbour);
    assert_eq!(harbour.points("C-1"), 101.0);
    check_promises(&harbour);
}

/// A15.
#[test]
fn a_file_that_kills_its_fetcher_three_times_is_put_away_and_others_go_on() {
    let harbour = killed_three_times(plan(), snapshot(1..=3, 10), Mode::Half, "write *spool/*.part", State::Complete);
    put_away_unread(&harbour);
}

/// A15. Rows that cannot be written are left out of the report; what became of them is in the ledger.
#[test]
fn a_file_whose_report_kills_its_writer_three_times_is_reported_without_rows_and_others_go_on() {
    let harbour =
        killed_three_times(plan(), snapshot(1..=3, 10) + "C-1,none\n", Mode::Before, "write *spool/*.errors.csv", State::Reporting);
    harbour.once().exits(1).says("stopped unexpectedly");
    let report = harbour.report("a");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 3, "rejected": 1 }));
    assert!(report["warnings"].to_string().contains("stopped unexpectedly"), "{report}");
    assert!(!harbour.tree().iter().any(|name| name.contains("a.errors.csv")), "{:?}", harbour.tree());
    put_away(&harbour);
    assert_eq!(harbour.writes().len(), 6);
}

/// A15. A move that kills is not tried for ever: the file waits for a person, and is not taken again.
#[test]
fn a_file_whose_move_kills_three_times_stays_where_it_is_and_others_go_on() {
    let harbour = killed_three_times(plan(), snapshot(1..=3, 10), Mode::Before, "in/a.csv -> */.processed/a.csv", State::Reporting);
    harbour.once().exits(75).says("stopped unexpectedly");
    assert_eq!(harbour.state_of("b.csv"), Some(State::Done));
    assert_eq!(harbour.report("a")["rows"], serde_json::json!({ "applied": 3 }));
    assert_eq!(harbour.writes().len(), 6, "nothing is sent twice");
    // Whoever takes it away ends it.
    fs::remove_file(harbour.inbox().join("a.csv")).unwrap();
    harbour.once();
    assert_eq!((harbour.state_of("a.csv"), harbour.writes().len()), (Some(State::Done), 6));
}
