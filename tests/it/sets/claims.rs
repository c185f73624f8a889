//! Sets that are claimed by renaming: whole, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use passferry::demo::server::Kind;
use passferry::ledger::{RunFilter, State};

use super::{csv, databricks, deliver_folder, killed, sets, spark, waits};
use crate::rig::crash::Mode;
use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

fn claiming(plan: Plan) -> Plan {
    plan.feed("claim", "{ folder = \".processing\" }")
}

fn shards() -> Plan {
    claiming(sets("\"shards\"")).feed("pattern", "\"data*\"").points_only()
}

fn deliver_shards(harbour: &Harbour, points: u32) {
    for n in 1..=3 {
        harbour.deliver(format!("data_0_{n}_0.csv"), csv(&[(&format!("C-{n}"), &points.to_string())]));
    }
}

/// What lies in the folder that this harbour's machine claims into.
fn claimed(harbour: &Harbour) -> Vec<PathBuf> {
    let owner = fs::read_to_string(harbour.state().join("owner")).unwrap();
    let own = harbour.inbox().join(".processing").join(owner);
    fs::read_dir(own).map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

#[test]
fn sets_of_all_kinds_are_out_of_the_inbox_while_they_are_read_and_put_away_at_the_end() {
    for kind in ["shards", "spark", "manifest"] {
        let plan = claiming(harbour().feed("set", &format!("{kind:?}")));
        let hostile = match kind {
            "spark" => plan.feed("pattern", "\"*\"").feed("quiet", ""),
            "manifest" => plan.feed("pattern", "\"data_manifest\"").feed("quiet", ""),
            _ => plan.feed("pattern", "\"data_*\"").feed("control", "\"{}.ctl\""),
        };
        let hostile = hostile.points_only().hostile();
        let name = match kind {
            "spark" => "loyalty.csv",
            "manifest" => "data_manifest",
            _ => "data",
        };
        if kind == "spark" {
            deliver_folder(&hostile, name, &[("part-0", &csv(&[("C-1", "10")])), ("part-1", &csv(&[("C-2", "10")])), ("_SUCCESS", "")]);
        } else {
            deliver_shards(&hostile, 10);
            hostile.deliver("data_manifest", r#"{"files":["data_0_1_0.csv","data_0_2_0.csv","data_0_3_0.csv"]}"#);
            hostile.deliver("data.ctl", "records=3");
            let other = if kind == "manifest" { "data.ctl" } else { "data_manifest" };
            fs::remove_file(hostile.inbox().join(other)).unwrap();
            hostile.delivered.borrow_mut().retain(|file| file.name != other.as_bytes());
        }
        // Claimed, and it cannot be opened.
        let opened = hostile.server.operations(Kind::Open);
        hostile.server.faults().latency.insert(Kind::Open, std::time::Duration::from_hours(1));
        let daemon = (kind == "spark").then(|| hostile.start(&["run"]));
        if let Some(daemon) = daemon {
            wait_until("it is being fetched", || hostile.server.operations(Kind::Open) > opened && !claimed_by_now(&hostile).is_empty());
            assert!(!hostile.inbox().join(name).exists(), "{:?}", hostile.tree());
            daemon.kill();
        }
        hostile.behave();
        hostile.once().exits(0);
        assert_eq!((hostile.runs().len(), hostile.state_of(name)), (1, Some(State::Done)), "{}", hostile.said());
        assert!(claimed(&hostile).is_empty(), "{:?}", hostile.tree());
        assert!(hostile.tree().iter().all(|path| path.starts_with(".processed/") || path.starts_with("reports/")), "{:?}", hostile.tree());
        check_promises(&hostile);
    }
}

fn claimed_by_now(harbour: &Harbour) -> Vec<PathBuf> {
    if harbour.state().join("owner").exists() { claimed(harbour) } else { Vec::new() }
}

#[test]
fn killed_at_any_file_of_a_claim_the_same_run_completes_it() {
    for nth in 1..=3 {
        for mode in [Mode::Before, Mode::After] {
            let harbour = shards().start();
            deliver_shards(&harbour, 10);
            killed(&harbour, mode, "-> *.processing/*/data*/data_0_*", nth);
            let id = harbour.run_of("data").id;
            assert!(nth == 1 || !claimed(&harbour).is_empty(), "a half was claimed: {:?}", harbour.tree());
            harbour.once().exits(0);
            assert_eq!((harbour.runs().len(), harbour.run_of("data").id, harbour.writes().len()), (1, id, 3), "{}", harbour.said());
            assert!(claimed(&harbour).is_empty(), "{:?}", harbour.tree());
            check_promises(&harbour);
        }
    }
}

/// As [`a_claimed_file_without_an_entry_in_the_ledger_is_adopted_at_the_next_start`] of files by themselves.
#[test]
fn a_half_that_no_run_knows_goes_back_to_the_inbox_and_the_whole_is_taken() {
    for folder in [false, true] {
        let harbour = if folder { claiming(spark().points_only()).start() } else { shards().start() };
        if folder {
            databricks(&harbour, "loyalty.csv", 10);
            killed(&harbour, Mode::After, "-> *.processing/*/loyalty.csv*/loyalty.csv*", 1);
        } else {
            deliver_shards(&harbour, 10);
            killed(&harbour, Mode::After, "-> *.processing/*/data*/data_0_*", 2);
        }
        assert_eq!(claimed(&harbour).len(), 1, "{:?}", harbour.tree());
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let _ = fs::remove_file(harbour.state().join(name));
        }
        harbour.once().exits(0).says("goes back to the inbox");
        assert_eq!((harbour.runs().len(), harbour.writes().len()), (1, if folder { 2 } else { 3 }), "{}", harbour.said());
        assert!(claimed(&harbour).is_empty(), "{:?}", harbour.tree());
        check_promises(&harbour);
    }
}

#[test]
fn a_part_that_changed_before_the_claim_puts_the_set_back_and_it_is_looked_at_anew() {
    let harbour = shards().start();
    deliver_shards(&harbour, 10);
    killed(&harbour, Mode::Before, "-> *.processing/*/data*/data_0_*", 2);
    harbour.delivered.borrow_mut().retain(|file| file.name != b"data_0_3_0.csv");
    harbour.deliver("data_0_3_0.csv", csv(&[("C-3", "1000")]));
    harbour.once().says("all of it is put back");
    harbour.once().exits(0);
    assert_eq!((harbour.runs().len(), harbour.points("C-1"), harbour.points("C-3")), (1, 10.0, 1000.0));
    check_promises(&harbour);
}

#[test]
fn what_comes_into_a_folder_after_it_was_claimed_goes_back_to_the_inbox() {
    let harbour = claiming(spark().points_only()).start();
    databricks(&harbour, "loyalty.csv", 10);
    killed(&harbour, Mode::After, "-> *.processing/*/loyalty.csv*/loyalty.csv*", 1);
    let folder = claimed(&harbour)[0].join("loyalty.csv");
    fs::write(folder.join("part-00002-tid-7731-c000.csv"), csv(&[("C-3", "3")])).unwrap();
    harbour.note_delivery(b"part-00002-tid-7731-c000.csv", csv(&[("C-3", "3")]).as_bytes());
    harbour.once().says("came into the folder after the set was taken");
    assert_eq!(harbour.state_of("loyalty.csv"), Some(State::Done));
    assert!(harbour.inbox().join("loyalty.csv/part-00002-tid-7731-c000.csv").exists(), "{:?}", harbour.tree());
    assert!(claimed(&harbour).is_empty());
}

#[test]
fn while_another_machine_has_a_set_of_the_name_what_is_left_of_it_is_no_set() {
    let harbour = shards().start();
    let other = harbour.inbox().join(".processing/another1/data.abc123");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("data_0_1_0.csv"), csv(&[("C-1", "1")])).unwrap();
    harbour.deliver("data_0_2_0.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(75).says("another machine has a set of this name in hand, in in/.processing/another1/data.abc123");
    assert!(harbour.runs().is_empty() && waits(&harbour).len() == 1);
    fs::rename(other.join("data_0_1_0.csv"), harbour.inbox().join("data_0_1_0.csv")).unwrap();
    harbour.note_delivery(b"data_0_1_0.csv", csv(&[("C-1", "1")]).as_bytes());
    fs::remove_dir(other).unwrap();
    harbour.once().exits(0);
    assert_eq!((harbour.runs().len(), harbour.report("data")["records"].as_u64()), (1, Some(2)));
    check_promises(&harbour);
}

/// A number of sets for the quick suite, and one for the long.
fn count() -> u32 {
    if std::env::var_os("PASSFERRY_LONG").is_some() { 200 } else { 12 }
}

/// F5, of sets.
#[test]
fn two_machines_on_one_inbox_take_each_set_whole_and_once() {
    let harbour = claiming(harbour().feed("set", "\"shards\"").feed("pattern", "\"day*\"")).members(3 * count()).start();
    let other = fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap().replace("state = \"state\"", "state = \"other\"");
    fs::write(harbour.home.path().join("other.toml"), other).unwrap();
    for set in 0..count() {
        for part in 1..=3 {
            harbour.deliver(format!("day{set:03}_0_{part}_0.csv"), csv(&[(&format!("C-{}", 3 * set + part), "10")]));
        }
    }
    let machines = [harbour.start(&["run"]), harbour.start(&["run", "--config", "other.toml"])];
    let put_away = || fs::read_dir(harbour.inbox().join(".processed")).map_or(0, Iterator::count);
    wait_until("all sets are put away", || put_away() == count() as usize);
    let others = || passferry::ledger::open(&harbour.home.path().join("other")).unwrap().runs(&RunFilter::default()).unwrap();
    // A set that both saw is a run of both until the loser has looked for it.
    wait_until("the loser has let go", || harbour.runs().iter().chain(&others()).all(|run| run.state.is_over()));
    for machine in machines {
        assert_eq!(machine.terminate(), 0);
    }
    let expected: BTreeMap<String, usize> = (1..=3 * count()).map(|n| (format!("C-{n}"), 1)).collect();
    assert_eq!(harbour.writes_by_pass(), expected, "every row has one effect");
    let theirs = others();
    for run in harbour.runs().iter().chain(&theirs) {
        assert_eq!((run.parts().len(), run.state), (3, State::Done), "{}", run.shown_name());
    }
    assert_eq!(harbour.runs().len() + theirs.len(), count() as usize, "the loser of a claim keeps no run");
    assert!(!harbour.said().contains("ERROR"), "{}", harbour.said());
    check_promises(&harbour);
}
