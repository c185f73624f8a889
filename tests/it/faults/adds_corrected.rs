//! Corrections of rows that add: the key stays, and no add becomes another.

use passferry::sandbox::{Rule, Trouble};
use serde_json::json;

use super::adds::{give, movements, only, points_calls, total};
use crate::rig::harbour::Harbour;
use crate::rig::promises::check_promises;

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
