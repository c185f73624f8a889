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

fn points_calls(trouble: Trouble) -> Rule {
    Rule::new(trouble).path("/points/")
}

/// One answer about a pass is lost, after it was applied or before.
fn lost_once(pass: &str, applied: bool) -> Rule {
    points_calls(if applied { Trouble::DropAfter } else { Trouble::DropBefore }).id(pass).next(1)
}

fn only(rules: Vec<Rule>) -> Faults {
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

/// A definite no changes nothing and is no doubt: the row comes back, and its correction keeps the key.
#[test]
fn a_refused_add_comes_back_and_its_correction_is_applied_once() {
    let harbour = movements().start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,burn,50\nT-2,C-2,earn,5\nT-3,C-99,earn,5\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 1, "refused": 1, "unresolved": 1 }));
    let lines = harbour.errors("a");
    let key = lines[0]["_key"].clone();
    assert!(key.starts_with('k') && key.len() == 33, "{key:?}");
    // 50 were meant to be earned, and the customer was C-3.
    let name = harbour.run_of("a.csv").detail.reports.iter().find(|report| report.name.ends_with("errors.csv")).unwrap().name.clone();
    let errors = String::from_utf8(harbour.read(&format!("reports/{name}"))).unwrap();
    let fixed = errors.replace("T-1,C-1,burn", "T-1,C-1,earn").replace("C-99", "C-3");
    harbour.deliver("fixed.errors.csv", &fixed);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-3")), (50.0, 5.0));
    // Dropped once more, changed a little: nothing is applied again.
    harbour.deliver("again.errors.csv", fixed + "\n");
    harbour.once();
    // And the transactions in an ordinary file add nothing either.
    harbour.deliver("b.csv", "txn,id,move,points\nT-1,C-1,earn,50\nT-3,C-3,earn,5\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("b")["rows"], json!({ "duplicate": 2 }));
    assert_eq!(total(&harbour), 60.0);
    check_promises(&harbour);
}

/// Corrections never give an add another key: another transaction in a corrected row is refused.
#[test]
fn a_correction_cannot_become_another_transaction() {
    let harbour = movements().start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,burn,50\n");
    harbour.once().exits(1);
    let name = harbour.run_of("a.csv").detail.reports.iter().find(|report| report.name.ends_with("errors.csv")).unwrap().name.clone();
    let errors = String::from_utf8(harbour.read(&format!("reports/{name}"))).unwrap();
    harbour.deliver("fixed.errors.csv", errors.replace("T-1,C-1,burn", "T-9,C-1,earn"));
    harbour.once().exits(1);
    assert_eq!(harbour.run_of("fixed.errors.csv").detail.problems["correction-unknown"], 1);
    assert_eq!(total(&harbour), 0.0);
    check_promises(&harbour);
}

/// The error report of a file, as its text.
fn errors_text(harbour: &Harbour, name: &str) -> String {
    let name = harbour.run_of(name).detail.reports.iter().find(|report| report.name.ends_with("errors.csv")).unwrap().name.clone();
    String::from_utf8(harbour.read(&format!("reports/{name}"))).unwrap()
}

/// Section 6, 1. An add that may have an effect stays what it was: its correction cannot make another operation of it, not even after
/// somebody settled that it was applied.
#[test]
fn a_correction_makes_no_other_add_of_one_that_may_have_been_applied() {
    let harbour = movements()
        .platform("read_back", "\"nothing\"")
        .feed("fields.\"metaData.store\"", "\"store\"")
        .faults(only(vec![
            points_calls(Trouble::DropAfter).id("C-1").next(1),
            Rule::new(Trouble::Status { code: 422, message: None }).path("/members/member").id("C-2").method("PUT").next(1),
        ]))
        .start();
    // In doubt, and applied with a field that was refused.
    harbour.deliver("a.csv", "txn,id,move,points,store\nT-1,C-1,earn,50,\nT-2,C-2,earn,50,Lyon\nT-3,C-3,earn,50,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 1, "in-doubt": 1, "refused": 1 }), "{}", harbour.said());
    let held = || (1..=3).map(|n| harbour.points(&format!("C-{n}"))).collect::<Vec<_>>();
    assert_eq!(held(), [50.0, 50.0, 50.0]);
    let errors = errors_text(&harbour, "a.csv");
    let turned = errors.replace("T-1,C-1,earn,50", "T-1,C-1,burn,20").replace("T-2,C-2,earn,50", "T-2,C-2,burn,20");
    harbour.deliver("turned.errors.csv", &turned);
    harbour.once().exits(1);
    let run = harbour.run_of("turned.errors.csv");
    assert_eq!(run.detail.problems.get("key-conflict"), Some(&2), "{:?}", run.detail.problems);
    assert!(errors_text(&harbour, "turned.errors.csv").contains("it cannot become a burn"));
    harbour.run(&["settle", "a.csv:2", "applied", "--reason", "seen in the portal"]).exits(0);
    harbour.once();
    harbour.deliver("turned-again.errors.csv", turned + "\n");
    harbour.once();
    assert_eq!(held(), [50.0, 50.0, 50.0]);
    assert_eq!(harbour.sandbox.effects().len(), 3);
    check_promises(&harbour);
}

/// Section 6, 1. What a correction made of a refused add is what the row is from then on: the first report, dropped back once more,
/// does not carry the refused one out as well. Another row of the same transaction has nothing to do with that.
#[test]
fn a_row_that_was_corrected_into_another_add_is_not_carried_out_as_both() {
    let harbour = movements().start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,burn,50\nT-2,C-2,earn,5\nT-2,C-2,burn,50\n");
    harbour.once().exits(1);
    let errors = errors_text(&harbour, "a.csv");
    let corrected = errors.replace("T-1,C-1,burn", "T-1,C-1,earn").replace("T-2,C-2,burn,50", "T-2,C-2,burn,4");
    harbour.deliver("fixed.errors.csv", &corrected);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (50.0, 1.0), "{}", harbour.said());
    harbour.deliver("back.errors.csv", errors.replace("burn,50", "burn,5"));
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (50.0, 1.0), "{}", harbour.said());
    check_promises(&harbour);
}

/// The weaker identity: the file's content and the record's number. A correction keeps the key of the row it corrects.
#[test]
fn without_transactions_the_file_is_the_identity() {
    let harbour =
        movements().feed("add", "{ dedupe = \"file\" }").feed("operation", "\"burn\"").feed("fields.points", "\"{{ 1 }}\"").start();
    for n in 1..=3 {
        harbour.sandbox.issue(std::iter::empty()).unwrap();
        give(&harbour, &format!("C-{n}"), 5);
    }
    harbour.deliver("a.csv", "id\nC-1\nC-1\nC-2\nC-77\n");
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (3.0, 4.0));
    harbour.deliver("again.csv", "id\nC-1\nC-1\nC-2\nC-77\n");
    harbour.once();
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (3.0, 4.0), "the same content is the same uses");
    let name = harbour.run_of("a.csv").detail.reports.iter().find(|report| report.name.ends_with("errors.csv")).unwrap().name.clone();
    let errors = String::from_utf8(harbour.read(&format!("reports/{name}"))).unwrap();
    let fixed = errors.replace("C-77", "C-3");
    harbour.deliver("fixed.errors.csv", &fixed);
    harbour.once();
    harbour.deliver("twice.errors.csv", fixed + "\n");
    harbour.once();
    assert_eq!(harbour.points("C-3"), 4.0, "a corrected row is the same use, however often it is dropped back");
    // Without its key it would be a new use: it is refused.
    let bare: String = errors.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + ",\n").collect();
    harbour.deliver("bare.errors.csv", bare.replace("C-77", "C-2").replace("_retryable,\n", "_retryable,_key\n"));
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-2"), 4.0);
}

/// Points that a pass has before the test begins; given through the platform's own door, so that no event of ours is there.
fn give(harbour: &Harbour, external_id: &str, points: u32) {
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

/// G5. Later adds of a pass in doubt wait, and are taken up when a person settled it; each decision is kept with its reason.
#[test]
fn what_is_in_doubt_is_settled_by_a_person_and_what_waited_goes_on() {
    let lost = |pass: &str| points_calls(Trouble::DropBefore).id(pass).next(1);
    let harbour = movements().platform("read_back", "\"nothing\"").faults(only(vec![lost("C-1"), lost("C-2"), lost("C-3")])).start();
    let file = "txn,id,move,points\nT-1,C-1,earn,10\nT-2,C-2,earn,10\nT-3,C-3,earn,10\nT-4,C-1,earn,1\nT-5,C-2,earn,1\nT-6,C-3,earn,1\nT-7,C-4,earn,1\n";
    harbour.deliver("a.csv", file);
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 1, "in-doubt": 3, "not-attempted": 3 }));
    assert_eq!(harbour.report("a")["problems"]["pass-in-doubt"], 3);
    // A repeat of what is in doubt is not sent, and neither is a later file's add of the pass.
    harbour.deliver("b.csv", "txn,id,move,points\nT-1,C-1,earn,10\nT-8,C-1,earn,5\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("b")["rows"], json!({ "not-attempted": 2 }));
    assert_eq!(harbour.points("C-1"), 0.0);
    let run = harbour.run_of("a.csv").id;
    harbour.run(&["settle", &format!("{run}:2"), "applied", "--reason", "seen in the portal"]).exits(0);
    harbour.run(&["settle", "a.csv:3", "not-applied", "--reason", "the till was cancelled"]).exits(0);
    harbour.run(&["settle", "a.csv:4", "resend", "--reason", "not in the portal"]).exits(0);
    harbour.run(&["settle", "a.csv:8", "applied", "--reason", "x"]).exits(66).says("is not in doubt");
    harbour.run(&["settle", "a.csv", "applied", "--reason", "x"]).exits(2);
    harbour.once();
    // C-1: a person says that 10 are there, so only 1 and 5 are sent. C-2: 10 shall not be. C-3: 10 again, then 1.
    let points: Vec<f64> = (1..=4).map(|n| harbour.points(&format!("C-{n}"))).collect();
    assert_eq!(points, [6.0, 1.0, 11.0, 1.0], "{}", harbour.said());
    assert_eq!(keys(&harbour, KeyState::InDoubt), 0);
    assert_eq!(harbour.state_of("a.csv"), Some(State::Done), "no longer in doubt");
    let ledger = harbour.ledger();
    let note = &ledger.keys_of_line(&run, 3).unwrap()[0];
    let settled = note.settled.as_ref().unwrap();
    assert_eq!((note.state, settled.reason.as_str(), settled.by.as_str()), (KeyState::NotApplied, "the till was cancelled", "pat"));
    let reports = harbour.run_of("a.csv").detail.reports;
    let json = reports.iter().find(|report| report.name.ends_with(".report.json")).unwrap();
    let newest: serde_json::Value = serde_json::from_slice(&harbour.read(&format!("reports/{}", json.name))).unwrap();
    assert_eq!(newest["rows"].get("in-doubt"), None, "{newest}");
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

/// A feed that tells holders, with `opt_in` as consent.
fn telling() -> Plan {
    movements()
        .feed("operation", "\"update\"")
        .feed("fields.points", "")
        .feed("fields.\"metaData.store\"", "\"store\"")
        .feed("consent", "{ column = \"opt_in\", fields = [\"metaData.store\"] }")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"marketing\"")
}

/// A feed that tells holders and does nothing else.
fn only_telling() -> Plan {
    telling().feed("fields.\"metaData.store\"", "").feed("consent", "").feed("notify.kind", "\"transactional\"")
}

fn shown(harbour: &Harbour, pass: &str, key: &str) -> String {
    harbour.sandbox.member(pass).unwrap()["metaData"][key].as_str().unwrap_or_default().to_owned()
}

/// D24. Without consent the field and the notification are withheld, and the rest of the row is applied; nobody is told twice.
#[test]
fn without_consent_nothing_is_told_and_the_rest_is_applied() {
    let harbour = telling().feed("fields.\"metaData.tier\"", "\"move\"").start();
    let file = "txn,id,move,store,news,opt_in\nN-1,C-1,earn,Lyon,Hello,true\nN-2,C-2,earn,Paris,Hello,false\nN-3,C-3,earn,Nice,,\n";
    harbour.deliver("a.csv", file);
    harbour.once().exits(0);
    let report = harbour.report("a");
    assert_eq!(report["rows"], json!({ "applied": 3 }), "{report}");
    assert_eq!(report["operations"]["notify"], json!({ "applied": 1, "withheld": 1 }), "{report}");
    assert_eq!(report["operations"]["fields"]["withheld"], 2, "{report}");
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-1", "store")), ("Hello".into(), "Lyon".into()));
    assert_eq!((shown(&harbour, "C-2", "news"), shown(&harbour, "C-2", "store")), (String::new(), String::new()));
    assert_eq!(shown(&harbour, "C-2", "tier"), "earn", "the rest of the row is applied");
    // The same campaign in another file: nobody is told again, though the pass shows something else meanwhile.
    harbour.deliver("b.csv", "txn,id,move,store,news,opt_in\nN-4,C-1,earn,Lyon,Bye,true\n");
    harbour.once().exits(0);
    harbour.deliver("c.csv", file.replace("N-3", "N-9"));
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.alerts("C-1", "news"), ["Hello", "Bye"]);
    check_promises(&harbour);
}

/// D24. A notification whose answer was lost is looked for on the pass and not told twice.
#[test]
fn a_notification_whose_answer_was_lost_is_not_told_twice() {
    let update = |trouble, pass: &str| Rule::new(trouble).method("PUT").path("/members/member").id(pass).next(1);
    let faults = only(vec![update(Trouble::DropAfter, "C-1"), update(Trouble::DropBefore, "C-2")]);
    let harbour = only_telling().platform("sole_writer", "true").faults(faults).start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,One\nN-2,C-2,Two\n");
    harbour.once().exits(0);
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 2 }));
    assert_eq!(
        (harbour.sandbox.alerts("C-1", "news"), harbour.sandbox.alerts("C-2", "news")),
        (vec!["One".to_owned()], vec!["Two".to_owned()])
    );
    check_promises(&harbour);
}

/// D24. A notification leaves no event: that the pass shows another text proves nothing where others write, and nobody is told twice.
#[test]
fn a_text_that_somebody_wrote_over_is_no_proof_that_nobody_was_told() {
    let lost = Rule::new(Trouble::DropAfter).method("PUT").path("/members/member").id("C-1").next(1);
    let harbour = only_telling().platform("settling", "\"60s\"").faults(only(vec![lost])).start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,hello\n");
    let daemon = harbour.start(&["run"]);
    wait_until("the holder is told", || !harbour.sandbox.alerts("C-1", "news").is_empty());
    daemon.kill();
    // The till writes its receipt into the same field.
    let config = std::fs::read_to_string(harbour.home.path().join("passferry.toml")).unwrap();
    let (head, _) = config.split_once("[feed.points]").unwrap();
    let feed = "[feed.till]\nsource = \"port\"\ninbox = \"till\"\npattern = \"*.csv\"\ncontent = \"delta\"\nschema = \"schema.json\"\nplatform = \"cards\"\nenvironment = \"test\"\npass = { external_id = \"id\" }\nquiet = \"20ms\"\nguard = { first_file = false }\nfields = { \"metaData.news\" = \"news\" }\n";
    std::fs::write(harbour.home.path().join("till.toml"), head.replace("state = \"state\"", "state = \"till\"") + feed).unwrap();
    std::fs::create_dir_all(harbour.root.join("till")).unwrap();
    std::fs::write(harbour.root.join("till/o.csv"), "txn,id,news\nX,C-1,your receipt\n").unwrap();
    harbour.run(&["once", "-c", "till.toml"]).exits(0);
    std::fs::remove_dir_all(harbour.root.join("till")).unwrap();
    harbour.change_config(|text| text.replace("settling = \"60s\"", "settling = \"200ms\""));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.alerts("C-1", "news"), ["hello", "your receipt"], "{}", harbour.said());
    assert_eq!(harbour.report("a")["rows"], json!({ "in-doubt": 1 }));
    check_promises(&harbour);
}

/// Outside its window a notification waits, while the rest of its row does not; too old, it is dropped.
#[test]
fn notifications_wait_for_their_window_and_are_dropped_when_too_old() {
    let now = chrono::Utc::now().time();
    let hour = |offset: i64| (now + chrono::TimeDelta::hours(offset)).format("%H:%M").to_string();
    let shut = format!("\"{}..{} UTC\"", hour(2), hour(3));
    let harbour = telling().feed("notify.window", &shut).start();
    harbour.deliver("a.csv", "txn,id,store,news,opt_in\nN-1,C-1,Lyon,Hello,true\nN-2,C-2,Nice,,true\n");
    harbour.once().exits(75);
    assert_eq!(harbour.state_of("a.csv"), Some(State::Paused));
    assert_eq!((shown(&harbour, "C-1", "store"), shown(&harbour, "C-1", "news")), ("Lyon".into(), String::new()));
    let writes = harbour.writes().len();
    harbour.once().exits(75);
    assert_eq!(harbour.writes().len(), writes, "what was set is not set again while the rest waits");
    let open = format!("\"{}..{} UTC\"", hour(-1), hour(1));
    harbour.change_config(|text| text.replace(&shut, &open));
    harbour.once().exits(0);
    assert_eq!(shown(&harbour, "C-1", "news"), "Hello");
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 2 }));
    check_promises(&harbour);

    let harbour = telling().feed("notify.window", &shut).feed("notify.expires", "\"1s\"").start();
    harbour.deliver("a.csv", "txn,id,store,news,opt_in\nN-1,C-1,Lyon,Hello,true\n");
    harbour.once().exits(75);
    std::thread::sleep(std::time::Duration::from_secs(1));
    harbour.change_config(|text| text.replace(&shut, &open));
    harbour.once().exits(0);
    assert_eq!((shown(&harbour, "C-1", "store"), shown(&harbour, "C-1", "news")), ("Lyon".into(), String::new()));
    assert_eq!(harbour.report("a")["problems"]["notification-expired"], 1);
    check_promises(&harbour);
}

/// Seeds are told first; when one of them cannot be told, the run is held and nobody else is.
#[test]
fn when_a_seed_cannot_be_told_nobody_else_is() {
    let refuse =
        Rule::new(Trouble::Status { code: 400, message: Some("no such field".into()) }).method("PUT").path("/members/member").id("C-2");
    let harbour = telling()
        .feed("fields.\"metaData.store\"", "")
        .feed("consent", "")
        .feed("notify.kind", "\"transactional\"")
        .feed("notify.seeds", "[\"C-2\", \"C-3\"]")
        .faults(only(vec![refuse]))
        .start();
    harbour.deliver("a.csv", "txn,id,news\nN-1,C-1,One\nN-2,C-2,Two\nN-3,C-3,Three\nN-4,C-4,Four\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("a.csv"), Some(State::Held));
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-3", "news")), (String::new(), "Three".into()));
    harbour.run(&["approve", "a.csv", "--reason", "C-2 has left"]).exits(0);
    harbour.once().exits(1);
    assert_eq!((shown(&harbour, "C-1", "news"), shown(&harbour, "C-4", "news")), ("One".into(), "Four".into()));
    assert_eq!(harbour.sandbox.alerts("C-3", "news"), ["Three"]);
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

fn lost(pass: &str) -> Rule {
    points_calls(Trouble::DropBefore).id(pass).next(1)
}

/// G2. Each decision is told in a report of its own, however many a run has; the earlier ones stay as they are.
#[test]
fn every_decision_about_a_run_is_told_in_a_report_of_its_own() {
    let faults = only(vec![lost("C-1"), lost("C-2"), lost("C-3")]);
    let harbour = movements().platform("read_back", "\"nothing\"").faults(faults).start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,10\nT-2,C-2,earn,10\nT-3,C-3,earn,10\n");
    harbour.once().exits(1);
    let is_report = |name: &String| name.starts_with("reports/") && name.ends_with(".report.json");
    let reports = || -> std::collections::BTreeMap<String, Vec<u8>> {
        harbour.tree().into_iter().filter(is_report).map(|name| (name.clone(), harbour.read(&name))).collect()
    };
    for (line, left) in [(2, 2), (3, 1), (4, 0)] {
        let before = reports();
        harbour.run(&["settle", &format!("a.csv:{line}"), "applied", "--reason", "seen in the portal"]).exits(0);
        harbour.once();
        let after = reports();
        assert_eq!(after.len(), before.len() + 1, "{:?}", after.keys());
        assert!(before.iter().all(|(name, text)| after.get(name) == Some(text)), "an earlier report was changed");
        let newest = after.iter().find(|(name, _)| !before.contains_key(*name)).unwrap().1;
        let newest: serde_json::Value = serde_json::from_slice(newest).unwrap();
        assert_eq!(newest["rows"]["in-doubt"].as_u64().unwrap_or_default(), left, "{newest}");
    }
    assert_eq!(harbour.state_of("a.csv"), Some(State::Done));
    check_promises(&harbour);
}

/// G1, G3. Killed anywhere while a decision is carried out: it is carried out once, and what it asks to be sent is sent once.
#[test]
fn killed_while_a_decision_is_carried_out_it_is_carried_out_once() {
    use crate::rig::crash::{Mode, Moment, crash};
    let decided = || {
        let harbour = movements().platform("read_back", "\"nothing\"").faults(only(vec![lost("C-1")])).start();
        harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,10\nT-2,C-1,earn,1\n");
        harbour.once().exits(1);
        harbour.run(&["settle", "a.csv:2", "resend", "--reason", "not in the portal"]).exits(0);
        harbour
    };
    let whole = crash(&decided(), &["once"], &Moment::any(Mode::Count, 0)).calls;
    // Up to the first request: what comes later is the road of any retry.
    let calls = whole.iter().position(|call| call.line.contains("PUT ")).unwrap_or(whole.len()) as u64;
    assert!(calls > 5, "{calls} calls");
    let step = if std::env::var_os("PASSFERRY_LONG").is_some() { 1 } else { (calls as usize / 8).max(1) };
    for nth in (1..=calls).step_by(step) {
        let harbour = decided();
        let crashed = crash(&harbour, &["once"], &Moment::any(Mode::Before, nth));
        harbour.once();
        let at = crashed.calls.last().map(|call| call.line.clone());
        assert_eq!(harbour.points("C-1"), 11.0, "killed before call {nth}: {at:?}\n{}", harbour.said());
        assert_eq!((harbour.sandbox.effects().len(), harbour.sandbox.double_effects().len()), (2, 0), "{nth}: {at:?}");
        assert_eq!((keys(&harbour, KeyState::InDoubt), harbour.ledger().to_settle().unwrap().len()), (0, 0));
        check_promises(&harbour);
    }
}

/// What a correction would set is stale once a later file set it; what it adds was added by nobody else.
#[test]
fn a_late_correction_of_a_row_that_adds_still_adds_and_sets_nothing() {
    let harbour = movements().feed("fields.\"metaData.store\"", "\"store\"").start();
    harbour.deliver("a.csv", "txn,id,move,points,store\nT-1,C-1,burn,50,Paris\n");
    harbour.once().exits(1);
    harbour.deliver("b.csv", "txn,id,move,points,store\nT-2,C-1,earn,60,Nice\n");
    harbour.once().exits(0);
    harbour.deliver("fixed.errors.csv", errors_text(&harbour, "a.csv") + "\n");
    harbour.once();
    let run = harbour.run_of("fixed.errors.csv");
    assert_eq!(harbour.points("C-1"), 10.0, "{}", harbour.said());
    assert_eq!(harbour.sandbox.member("C-1").unwrap()["metaData"]["store"], "Nice", "what came later stays");
    let told = |operation: &str, outcome| run.detail.operations.get(operation).map(|tally| tally.get(outcome));
    assert_eq!(told("burn", passferry::outcome::Outcome::Applied), Some(1), "{:?}", run.detail.operations);
    assert_eq!(told("fields", passferry::outcome::Outcome::Stale), Some(1), "{:?}", run.detail.operations);
    check_promises(&harbour);
}
