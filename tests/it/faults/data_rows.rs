//! Several rows about one pass, and files that come in another order than they were written.

use passferry::outcome::Outcome;
use serde_json::json;

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

/// Rows of a file by outcome: record, and what is said of it.
fn rows(harbour: &Harbour, file: &str, outcome: Outcome) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let take = &mut |row: passferry::ledger::Row| {
        let words: Vec<String> = row.detail.operations.iter().map(|note| note.message.clone()).collect();
        found.push((row.record, words.join("; ")));
        Ok(())
    };
    harbour.ledger().rows(&harbour.run_of(file).id, &[outcome], take).unwrap();
    found.sort();
    found
}

fn held(harbour: &Harbour, pass: &str) -> (Option<f64>, Option<String>) {
    let member = harbour.sandbox.member(pass).unwrap();
    (member["points"].as_f64(), member["metaData"]["tier"].as_str().map(str::to_owned))
}

/// Five rows of C-1 between rows of others.
const SEVERAL: &str =
    "id,points,tier,email\nC-1,1,bronze,\nC-2,20,gold,\nC-1,2,silver,\nC-1,3,gold,\nC-3,30,gold,\nC-1,4,platinum,\nC-1,5,iron,\n";

fn policy(name: &str) -> Plan {
    harbour().feed("duplicates", &format!("{name:?}"))
}

/// E1.
#[test]
fn the_last_row_of_a_pass_wins_and_the_others_name_it() {
    let harbour = policy("last").start();
    harbour.deliver("points.csv", SEVERAL);
    harbour.once().exits(0);
    assert_eq!(held(&harbour, "C-1"), (Some(5.0), Some("iron".into())));
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 3, "superseded": 4 }));
    let losers = rows(&harbour, "points.csv", Outcome::Superseded);
    let by = "by line 8".to_owned();
    assert_eq!(losers, [(1, by.clone()), (3, by.clone()), (4, by.clone()), (6, by)]);
    assert!(harbour.writes_by_pass()["C-1"] <= 2, "what is superseded is not sent");
    check_promises(&harbour);
}

/// E1.
#[test]
fn the_first_row_of_a_pass_wins_where_the_feed_says_so() {
    let harbour = policy("first").unmodelled().start();
    harbour.deliver("points.csv", SEVERAL);
    harbour.once().exits(0);
    assert_eq!(held(&harbour, "C-1"), (Some(1.0), Some("bronze".into())));
    let by = "by line 2".to_owned();
    assert_eq!(rows(&harbour, "points.csv", Outcome::Superseded), [(3, by.clone()), (4, by.clone()), (6, by.clone()), (7, by)]);
    check_promises(&harbour);
}

/// E1.
#[test]
fn no_row_of_a_pass_counts_where_the_feed_rejects_several() {
    let harbour = policy("reject").start();
    harbour.deliver("points.csv", SEVERAL);
    harbour.once().exits(1);
    assert_eq!(held(&harbour, "C-1"), (Some(0.0), None));
    assert_eq!((held(&harbour, "C-2").0, held(&harbour, "C-3").0), (Some(20.0), Some(30.0)));
    let lines: Vec<String> = harbour.errors("points").iter().map(|line| line["_line"].clone()).collect();
    assert_eq!(lines, ["2", "4", "5", "7", "8"]);
    check_promises(&harbour);
}

/// E1.
#[test]
fn all_rows_of_a_pass_are_applied_in_order_where_the_feed_says_so() {
    let harbour = policy("in-order").platform("in_flight", "8").start();
    harbour.deliver("points.csv", SEVERAL);
    harbour.once().exits(0);
    assert_eq!(held(&harbour, "C-1"), (Some(5.0), Some("iron".into())));
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 7 }));
    let sent: Vec<f64> = harbour
        .writes()
        .iter()
        .filter(|entry| entry.external_id.as_deref() == Some("C-1"))
        .filter_map(|entry| serde_json::from_str::<serde_json::Value>(entry.body.as_deref()?).ok()?["points"].as_f64())
        .collect();
    assert_eq!(sent, [1.0, 2.0, 3.0, 4.0, 5.0]);
    check_promises(&harbour);
}

/// E1.
#[test]
fn a_rejected_row_supersedes_nothing() {
    for (name, expected) in [("last", (Some(2.0), Some("silver".to_owned()))), ("first", (Some(2.0), Some("silver".to_owned())))] {
        let harbour = policy(name).unmodelled().start();
        harbour.deliver("points.csv", "id,points,tier\nC-1,bad,bronze\nC-1,2,silver\nC-1,worse,gold\n");
        harbour.once().exits(1);
        assert_eq!(held(&harbour, "C-1"), expected, "{name}");
        assert_eq!(harbour.report("points")["rows"], json!({ "applied": 1, "rejected": 2 }));
        check_promises(&harbour);
    }
}
