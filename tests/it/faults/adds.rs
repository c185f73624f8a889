//! Rows that add: applied once each, whatever is lost, repeated or restarted (failure model, section 6).

use std::fmt::Write as _;

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Latency, Rule, Trouble};
use serde_json::json;

use crate::rig::harbour::{Harbour, Plan, harbour, wait_until};
use crate::rig::promises::check_promises;

/// `txn` is the transaction, `move` is earn or burn.
pub const MOVEMENTS: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "txn", "type": "string" },
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "move", "type": "string", "constraints": { "enum": ["earn", "burn"] } },
    { "name": "points", "type": "integer" },
    { "name": "store", "type": "string" },
    { "name": "news", "type": "string" },
    { "name": "opt_in", "type": "boolean" }
  ]
}
"#;

/// A feed of movements with transaction identifiers, and a platform that settles at once and keeps event identifiers.
pub fn movements() -> Plan {
    harbour()
        .folder()
        .schema(MOVEMENTS)
        .feed("content", "\"delta\"")
        .feed("operation", "{ column = \"move\" }")
        .feed("add", "{ transaction_id = \"txn\" }")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .platform("settling", "\"300ms\"")
        .platform("read_back", "\"events\"")
        .platform("timeout", "\"1s\"")
}

/// `count` rows of 10 points each, spread over nine passes.
pub fn earnings(first: u32, count: u32) -> String {
    let mut text = "txn,id,move,points\n".to_owned();
    for n in first..first + count {
        let _ = writeln!(text, "T-{n},C-{},earn,10", n % 9 + 1);
    }
    text
}

pub fn total(harbour: &Harbour) -> f64 {
    (1..=9).map(|n| harbour.points(&format!("C-{n}"))).sum()
}

/// How many keys of all runs are in this state.
pub fn keys(harbour: &Harbour, state: KeyState) -> usize {
    let ledger = harbour.ledger();
    harbour.runs().iter().map(|run| ledger.keys_of(&run.id, state).unwrap().len()).sum()
}

pub fn points_calls(trouble: Trouble) -> Rule {
    Rule::new(trouble).path("/points/")
}

/// One answer about a pass is lost, after it was applied or before.
pub fn lost_once(pass: &str, applied: bool) -> Rule {
    points_calls(if applied { Trouble::DropAfter } else { Trouble::DropBefore }).id(pass).next(1)
}

pub fn only(rules: Vec<Rule>) -> Faults {
    Faults { rules, ..Faults::default() }
}

/// G1, G5. Earned and burned in file order, once each; what is delivered again, or overlaps, adds nothing.
#[test]
fn movements_are_applied_once_in_order_however_often_they_are_delivered() {
    let harbour = movements().start();
    let first = "txn,id,move,points\nT-1,C-1,earn,50\nT-2,C-1,burn,20\nT-3,C-2,earn,7\n";
    harbour.deliver("a.csv", first);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (30.0, 7.0));
    assert_eq!(harbour.report("a")["operations"], json!({ "burn": { "applied": 1 }, "earn": { "applied": 2 } }));
    // The same rows in another file, and one that is new.
    harbour.deliver("b.csv", "txn,id,move,points\nT-2,C-1,burn,20\nT-4,C-2,earn,1\nT-1,C-1,earn,50\nT-3,C-2,earn,7\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("b")["rows"], json!({ "applied": 1, "duplicate": 3 }));
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (30.0, 8.0));
    harbour.deliver("a2.csv", first);
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 38.0);
    check_promises(&harbour);
}

/// Section 6, 1: the same transaction twice in a file is one; with another amount or another pass it is a conflict.
#[test]
fn a_transaction_is_one_within_a_file_too_and_never_two_amounts() {
    let harbour = movements().start();
    harbour.deliver(
        "a.csv",
        "txn,id,move,points\nT-1,C-1,earn,50\nT-1,C-1,earn,50\nT-2,C-2,earn,5\nT-2,C-2,earn,6\nT-3,C-3,earn,1\nT-3,C-4,earn,1\nT-4,C-5,earn,0\n",
    );
    harbour.once().exits(1);
    let report = harbour.report("a");
    assert_eq!(report["problems"]["key-conflict"], 2, "{report}");
    assert_eq!((report["rows"]["applied"].clone(), report["rows"]["duplicate"].clone()), (json!(3), json!(1)), "{report}");
    assert_eq!(report["rows"]["unchanged"], 1, "an earn of nothing is nothing");
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (50.0, 5.0));
    assert_eq!(harbour.points("C-3") + harbour.points("C-4"), 1.0);
    check_promises(&harbour);
}

/// D1, A7. Answers lost after the platform applied: each add is found by its event and never sent again.
#[test]
fn answers_lost_after_applying_credit_nobody_twice() {
    let harbour = movements().faults(only(vec![points_calls(Trouble::DropAfter).share(0.3)])).start();
    harbour.deliver("a.csv", earnings(1, 60));
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 600.0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 60 }));
    assert_eq!((keys(&harbour, KeyState::Applied), harbour.sandbox.double_effects().len()), (60, 0));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D2, D5, D16. Lost before the platform applied, and server errors: looked for after the settling time, then sent once more.
#[test]
fn adds_that_were_not_applied_are_sent_once_more_and_only_then() {
    let troubles = [
        Trouble::DropBefore,
        Trouble::Status { code: 500, message: None },
        Trouble::Status { code: 504, message: None },
        Trouble::Status { code: 408, message: None },
        Trouble::HtmlOk,
    ];
    let rules = troubles.into_iter().map(|trouble| points_calls(trouble).next(2)).collect();
    let harbour = movements().faults(only(rules)).start();
    harbour.deliver("a.csv", earnings(1, 30));
    harbour.once().exits(0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 30 }));
    assert_eq!(total(&harbour), 300.0);
    check_promises(&harbour);
}

/// D18, D19. Answers that prove nothing are looked up; the add has one effect all the same.
#[test]
fn answers_that_prove_nothing_are_looked_up() {
    let troubles =
        [Trouble::WrongJson, Trouble::EmptyBody, Trouble::TruncatedBody, Trouble::OtherId, Trouble::HtmlAfter, Trouble::DuplicateKeys];
    let rules = troubles.into_iter().map(|trouble| points_calls(trouble).next(2)).collect();
    let harbour = movements().faults(only(rules)).start();
    harbour.deliver("a.csv", earnings(1, 30));
    harbour.once().exits(0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 30 }));
    assert_eq!(total(&harbour), 300.0);
    check_promises(&harbour);
}

/// Section 6, 5: what is applied later than its answer was lost is still found, because nobody looks before the settling time.
#[test]
fn an_add_that_is_applied_late_is_found_and_not_sent_again() {
    let harbour = movements().faults(only(vec![points_calls(Trouble::ApplyLater { ms: 150 }).next(5)])).start();
    harbour.deliver("a.csv", earnings(1, 20));
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 200.0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 20 }));
    check_promises(&harbour);
}

/// Points that a pass has before the test begins; given through the platform's own door, so that no event of ours is there.
pub fn give(harbour: &Harbour, external_id: &str, points: u32) {
    let feed = "id,points\n".to_owned() + &format!("{external_id},{points}\n");
    let path = harbour.home.path().join("seed.toml");
    let config = std::fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    let (head, _) = config.split_once("[feed.points]").unwrap();
    let inbox = harbour.root.join("seed");
    std::fs::create_dir_all(&inbox).unwrap();
    std::fs::write(inbox.join(format!("{external_id}.csv")), feed).unwrap();
    let feed = "[feed.seed]\nsource = \"port\"\ninbox = \"seed\"\npattern = \"*.csv\"\ncontent = \"snapshot\"\nschema = \"schema.json\"\nplatform = \"cards\"\nenvironment = \"test\"\npass = { external_id = \"id\" }\nquiet = \"20ms\"\nguard = { first_file = false }\nfields = { points = \"points\" }\n";
    std::fs::write(&path, head.replace("state = \"state\"", "state = \"seeding\"") + feed).unwrap();
    harbour.run(&["once", "-c", "seed.toml"]).exits(0);
    std::fs::remove_dir_all(inbox).unwrap();
}

/// A8, A9. Killed again and again in the middle: with a platform that helps, everything is applied once and nothing is in doubt.
#[test]
fn killed_again_and_again_every_add_has_one_effect() {
    let slow = Faults { latency: Latency::Fixed { ms: 20 }, ..Faults::default() };
    let harbour = movements().faults(slow).start();
    harbour.deliver("a.csv", earnings(1, 120));
    for progress in [20, 50, 80] {
        let daemon = harbour.start(&["run"]);
        wait_until("more adds are applied", || harbour.sandbox.effects().len() >= progress);
        daemon.kill();
    }
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 1200.0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 120 }));
    assert_eq!((keys(&harbour, KeyState::InDoubt), harbour.sandbox.double_effects().len()), (0, 0));
    check_promises(&harbour);
}

/// The negative control of section 6: a platform that helps nobody. Rows are in doubt, never guessed, and never applied twice.
#[test]
fn a_platform_that_helps_nobody_leaves_rows_in_doubt_and_applies_none_twice() {
    let slow = Faults { latency: Latency::Fixed { ms: 20 }, no_events: true, event_lists: Some(501), ..Faults::default() };
    let harbour = movements().platform("read_back", "\"nothing\"").faults(slow).start();
    harbour.deliver("a.csv", earnings(1, 90));
    let daemon = harbour.start(&["run"]);
    wait_until("adds are applied", || harbour.sandbox.effects().len() >= 30);
    daemon.kill();
    harbour.sandbox.faults().set(Faults {
        rules: vec![points_calls(Trouble::DropAfter).next(2), points_calls(Trouble::DropBefore).next(2)],
        ..Faults::default()
    });
    harbour.once().exits(1);
    let doubtful = keys(&harbour, KeyState::InDoubt);
    assert!(doubtful > 0, "nothing is in doubt");
    assert_eq!(harbour.state_of("a.csv"), Some(State::DoneInDoubt));
    assert_eq!(harbour.sandbox.double_effects().len(), 0);
    let report = harbour.report("a");
    assert_eq!(report["rows"]["in-doubt"], doubtful);
    assert!(harbour.errors("a").iter().any(|line| line["_outcome"] == "in-doubt" && line["_codes"] == "add-in-doubt"));
    check_promises(&harbour);
}

/// What is configured as unproven is never taken for proof: that no event is there says nothing unless the account is known to keep them.
#[test]
fn absence_proves_nothing_unless_the_configuration_says_so() {
    let harbour = movements()
        .platform("read_back", "")
        .faults(only(vec![points_calls(Trouble::DropBefore).id("C-2").next(1), points_calls(Trouble::DropAfter).id("C-3").next(1)]))
        .start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,1\nT-2,C-2,earn,2\nT-3,C-3,earn,3\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 2, "in-doubt": 1 }));
    assert_eq!((harbour.points("C-2"), harbour.points("C-3")), (0.0, 3.0), "an event that is there proves; none sent again");
    check_promises(&harbour);
}

/// Section 6, 5c: with nobody else writing, the balance before and after is proof.
#[test]
fn a_sole_writer_has_the_balance_for_proof() {
    let harbour = movements()
        .platform("read_back", "\"balance\"")
        .platform("sole_writer", "true")
        .faults(Faults { no_events: true, ..only((1..=6).map(|n| lost_once(&format!("C-{n}"), n % 2 == 0)).collect()) })
        .start();
    harbour.deliver("a.csv", earnings(1, 20));
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 200.0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 20 }));
    check_promises(&harbour);
}

/// M18: the list gives the oldest first, a page at a time. An event behind a thousand others is found.
#[test]
fn an_event_behind_a_thousand_others_is_found() {
    let harbour = movements().platform("in_flight", "4").start();
    let rows: String = (1..=1003).map(|n| format!("T-{n},C-1,earn,1\n")).collect();
    harbour.deliver("a.csv", "txn,id,move,points\n".to_owned() + &rows);
    harbour.once().exits(0);
    harbour.sandbox.faults().set(only(vec![points_calls(Trouble::DropAfter).next(1), points_calls(Trouble::DropBefore).next(1)]));
    harbour.deliver("b.csv", "txn,id,move,points\nT-2001,C-1,earn,1\nT-2002,C-1,earn,1\n");
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 1005.0);
    let looks = harbour.sandbox.requests().select(|entry| entry.path.contains("/list/events/")).len();
    assert!(looks >= 4, "two pages at each of two looks, and there were {looks}");
    check_promises(&harbour);
}

/// G7. A row that sets and adds is two operations: each has its own outcome, and repeating the row repeats only what is set.
#[test]
fn a_row_that_sets_and_adds_is_two_operations() {
    let harbour = movements().feed("fields.\"metaData.store\"", "\"store\"").start();
    harbour.deliver("a.csv", "txn,id,move,points,store\nT-1,C-1,earn,10,Lyon\nT-2,C-2,burn,10,Paris\n");
    harbour.once().exits(1);
    let report = harbour.report("a");
    assert_eq!(report["rows"], json!({ "applied": 1, "refused": 1 }));
    assert_eq!(report["operations"], json!({ "burn": { "refused": 1 }, "earn": { "applied": 1 }, "fields": { "applied": 2 } }));
    assert_eq!(harbour.sandbox.member("C-2").unwrap()["metaData"]["store"], "Paris");
    harbour.deliver("b.csv", "txn,id,move,points,store\nT-1,C-1,earn,10,Nice\n");
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 10.0);
    assert_eq!(harbour.sandbox.member("C-1").unwrap()["metaData"]["store"], "Nice");
    check_promises(&harbour);
}

/// A stop in the middle leaves what may have been sent in doubt, never as not attempted.
#[test]
fn a_stopped_run_says_what_may_have_been_sent() {
    let slow = Faults { latency: Latency::Fixed { ms: 3000 }, ..Faults::default() };
    let harbour = movements().platform("timeout", "\"20s\"").platform("read_back", "\"nothing\"").faults(slow).start();
    harbour.deliver("a.csv", earnings(1, 90));
    let daemon = harbour.start(&["run"]);
    wait_until("adds are on their way", || harbour.sandbox.requests().total() > 0 && keys(&harbour, KeyState::Intended) > 0);
    daemon.kill();
    harbour.run(&["stop", "a.csv", "--reason", "wrong file"]).exits(0);
    harbour.sandbox.faults().clear();
    harbour.once();
    let rows = harbour.report("a")["rows"].clone();
    assert!(rows["in-doubt"].as_u64().unwrap() > 0 && rows["not-attempted"].as_u64().unwrap() > 0, "{rows}");
    assert_eq!(keys(&harbour, KeyState::Intended), 0);
    check_promises(&harbour);
}

/// `status`, `runs`, `show`, `explain` name what is in doubt.
#[test]
fn what_is_in_doubt_is_seen_everywhere() {
    let harbour = movements().platform("read_back", "\"nothing\"").faults(only(vec![lost_once("C-1", true)])).start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,10\n");
    harbour.once().exits(1);
    let said = |args: &[&str]| {
        let output = harbour.command(args).stdout(std::process::Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["runs"]).contains("done-in-doubt"));
    assert!(said(&["status"]).contains("in doubt"), "{}", said(&["status"]));
    assert!(said(&["show", "a.csv"]).contains("passferry settle"));
    let row = said(&["show", "a.csv", "--outcome", "in-doubt"]);
    let key = harbour.errors("a")[0]["_key"].clone();
    assert!(row.contains(&key) && row.contains("points 10") && row.contains("in-doubt"), "{row}");
    assert!(said(&["explain", "C-1"]).contains(&key));
    check_promises(&harbour);
}
