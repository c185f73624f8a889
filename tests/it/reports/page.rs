//! What the page says, and that nothing in it does anything.

use std::fmt::Write as _;

use passferry::sandbox::{Rule, Trouble};
use serde_json::Value;

use super::{mixed, nine};
use crate::rig::harbour::{Harbour, harbour};
use crate::rig::page::{BYTES_MAX, Page, check_report, text};
use crate::rig::promises::check_promises;

/// The page beside `STEM.report.json`, after it was compared with it.
#[track_caller]
fn page(harbour: &Harbour, stem: &str) -> (Page, Value) {
    let content = harbour.read(&format!("reports/{stem}.report.html"));
    let report = harbour.report(stem);
    check_report(&content, &report);
    (Page::parse(&content), report)
}

#[test]
fn a_file_with_problems_is_told_on_one_page() {
    let harbour = nine().start();
    mixed(&harbour);
    let (page, report) = page(&harbour, "tuesday");
    assert_eq!(report["rows"]["rejected"], 3);
    insta::assert_snapshot!("a_file_with_problems", page.reading());
    let content = String::from_utf8(harbour.read("reports/tuesday.report.html")).unwrap();
    assert!(
        !["not-an-address", "c6 at", "c1@example.com"].iter().any(|cell| content.contains(cell)),
        "cells of a personal column are masked"
    );
    check_promises(&harbour);
}

/// Promise 7, for a platform that repeats what it was sent.
#[test]
fn what_a_platform_repeats_of_a_personal_cell_is_masked() {
    let harbour = nine().start();
    let message = "C-2: no mail to Ann.Lee@example.org (Ann.Lee@example.org)".to_owned();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 422, message: Some(message) }).method("PUT").id("C-2"));
    harbour.deliver("monday.csv", "id,points,email\nC-1,5,a@example.com\nC-2,6,Ann.Lee@example.org\n");
    harbour.once().exits(1);
    let said = page(&harbour, "monday").0.text("[aria-labelledby=problems]");
    assert!(said.contains("C-2: no mail to ••• (•••)") && !said.contains("Ann.Lee"), "{said}");
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

#[test]
fn a_file_that_went_through_asks_for_nothing() {
    let harbour = nine().start();
    harbour.deliver("monday.csv", "id,points\nC-1,5\nC-2,6\n");
    harbour.once().exits(0);
    let (page, _) = page(&harbour, "monday");
    assert_eq!(page.text("h1"), "All 2 rows went through");
    insta::assert_snapshot!("a_file_that_went_through", page.reading());
    harbour.deliver("again.csv", "id,points\nC-1,5\nC-2,6\n");
    harbour.once().exits(0);
    assert_eq!(self::page(&harbour, "again").0.text("h1"), "Nothing new in this file");
    check_promises(&harbour);
}

#[test]
fn a_held_file_says_why_and_what_it_would_change() {
    let harbour = nine().feed("guard.floor", "1").feed("guard.zeroed", "\"20%\"").start();
    mixed(&harbour);
    harbour.deliver("wipe.csv", "id,points\nC-1,0\nC-2,0\nC-3,0\nC-5,7\n");
    harbour.once().exits(1);
    let (page, report) = page(&harbour, "wipe.held");
    assert_eq!(report["rows"]["to-send"], 4);
    assert_eq!(page.text("h1"), "This file waits for your decision");
    insta::assert_snapshot!("a_held_file", page.reading());
    harbour.run(&["approve", "wipe.csv", "--reason", "the <b>shop</b> closed"]).exits(0);
    harbour.once().exits(0);
    assert!(self::page(&harbour, "wipe").0.text("[aria-labelledby=guards]").contains("the <b>shop</b> closed"));
    check_promises(&harbour);
}

/// Labels are the file's, in the report of a held file as in the last one.
#[test]
fn a_held_file_has_examples_in_the_columns_as_it_calls_them() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [ { "name": "id", "type": "string" },
        { "name": "points", "type": "integer", "x-passferry": { "aliases": ["Balance"] } } ] }"#;
    let harbour = nine().schema(schema).points_only().feed("guard.floor", "1").feed("guard.rejects", "\"10%\"").start();
    harbour.deliver("points.csv", "id,Balance\nC-1,many\nC-2,5\n");
    harbour.once().exits(1);
    let (page, report) = page(&harbour, "points.held");
    assert_eq!(report["problems_by_column"], serde_json::json!({ "Balance": { "type-error": 1 } }));
    let said = page.text("[aria-labelledby=problems]");
    assert!(said.contains("Column Balance") && said.contains("many"), "{said}");
    check_promises(&harbour);
}

/// Who put a file away, and why, is told whether it has rows or not; and the middle of two is between them.
#[test]
fn a_discarded_file_without_rows_says_who_and_why() {
    let harbour = nine().points_only().feed("guard.floor", "1").start();
    for (day, rows) in ["C-1,1\n", "C-1,2\nC-2,2\n", "C-1,3\nC-2,3\n", "C-1,4\n"].iter().enumerate() {
        harbour.deliver(format!("{day}.csv"), format!("id,points\n{rows}"));
        harbour.once().exits(0);
    }
    harbour.deliver("empty.csv", "id,points\n");
    harbour.once().exits(1);
    let (held, report) = page(&harbour, "empty.held");
    let evidence = report["guards"][0]["evidence"].as_str().unwrap();
    assert!(evidence.contains("a median of 1.5 in the last 4 clean files"), "{evidence}");
    let said = held.reading();
    assert!(said.contains("Rows: this file 0; the 4 before it from 1 to 2, median 1.5"), "{said}");
    assert!(said.contains("usually 1.5 (median of 4)"), "{said}");
    harbour.run(&["discard", "empty.csv", "--reason", "the shop was shut"]).exits(0);
    harbour.once().exits(0);
    let said = page(&harbour, "empty").0.text("header");
    assert!(said.contains("Why it ended early:") && said.contains("the shop was shut"), "{said}");
    check_promises(&harbour);
}

#[test]
fn a_file_that_failed_says_where() {
    let harbour = nine().start();
    harbour.deliver("broken.csv", "id,points\nC-1,\"5\nC-2,6\n");
    harbour.once().exits(65);
    let (page, _) = page(&harbour, "broken");
    assert_eq!(page.text("h1"), "This file could not be used");
    insta::assert_snapshot!("a_file_that_failed", page.reading());
    check_promises(&harbour);
}

#[test]
fn a_set_of_parts_is_told_as_one_and_its_lines_as_those_of_its_parts() {
    let harbour = nine().feed("set", "{ kind = \"shards\", patience = \"1s\" }").start();
    harbour.deliver("data_0_0_0.csv", "id,points\nC-1,1\n");
    harbour.deliver("data_0_1_0.csv", "id,points\nC-2,2\nC-3,three\n");
    harbour.once().exits(1);
    let (page, _) = page(&harbour, "data");
    assert!(page.text("[aria-labelledby=problems]").contains("data_0_1_0.csv:3"), "{}", page.reading());
    insta::assert_snapshot!("a_set_of_parts", page.reading());
    check_promises(&harbour);
}

#[test]
fn rows_in_doubt_come_before_everything_else() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [ { "name": "txn", "type": "string" }, { "name": "id", "type": "string" },
        { "name": "points", "type": "integer" } ] }"#;
    let plan = nine().schema(schema).points_only().feed("content", "\"delta\"").feed("operation", "\"earn\"");
    let plan = plan.feed("add.transaction_id", "\"txn\"").platform("read_back", "\"nothing\"").platform("timeout", "\"1s\"");
    let harbour = plan.start();
    harbour.sandbox.faults().add(Rule::new(Trouble::DropBefore).path("/points/").id("C-1"));
    harbour.deliver("earned.csv", "txn,id,points\nT-1,C-1,5\nT-2,C-2,6\nT-3,C-3,many\n");
    harbour.once().exits(1);
    let (page, _) = page(&harbour, "earned");
    assert_eq!(page.text("h1"), "1 of 3 rows is in doubt");
    assert!(text(page.all("[aria-labelledby=next] li")[0]).starts_with("1 rows are in doubt"), "{}", page.reading());
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// Failure model, section 7: strings that are something else in HTML.
const NAUGHTY: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "</style></title></textarea><iframe src=javascript:alert(1)>",
    "<!--<script>",
    "]]><![CDATA[<b>",
    "&lt;script&gt;&#60;b&#62;&amp;",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "javascript:alert(1)//\u{202e}fdp\u{0}",
];

#[test]
fn strings_that_are_something_else_in_html_come_out_as_they_are() {
    let name = "<img src=x onerror=alert(1)>&quot;'{{7}} javascript:x#?%2e.csv";
    let columns: String = NAUGHTY.iter().map(|label| format!(",\"{}\"", label.replace('"', "\"\"").replace('\u{0}', ""))).collect();
    let field = |label: &&str| serde_json::json!({ "name": label.replace('\u{0}', ""), "type": "integer" });
    let fields: Vec<Value> = NAUGHTY
        .iter()
        .map(field)
        .chain([serde_json::json!({ "name": "id", "type": "string" }), serde_json::json!({ "name": "points", "type": "integer" })])
        .collect();
    let schema = serde_json::json!({ "fieldsMatch": "superset", "fields": fields }).to_string();
    let harbour = nine().schema(&schema).points_only().start();
    let message = NAUGHTY.concat();
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 422, message: Some(message) }).method("PUT").id("C-2"));
    let mut file = format!("id,points{columns}\nC-1,1{}\nC-2,2{}\n", ",".repeat(NAUGHTY.len()), ",".repeat(NAUGHTY.len()));
    for word in NAUGHTY {
        let cell = word.replace('"', "\"\"").replace('\u{0}', "\u{1}");
        let _ = writeln!(file, "C-3,3{}", format!(",\"{cell}\"").repeat(NAUGHTY.len()));
    }
    harbour.deliver(name, file);
    harbour.once().exits(1);
    let stem = name.strip_suffix(".csv").unwrap();
    let (page, _) = page(&harbour, stem);
    let all = page.text("body");
    for word in &NAUGHTY[..8] {
        assert!(all.contains(word), "{word} is shown\n{}", page.reading());
    }
    assert!(all.contains("⟨U+202E⟩fdp␁") && all.contains(name), "{}", page.reading());
    for link in page.all("a[href]") {
        let target = link.value().attr("href").unwrap().strip_prefix("./").unwrap();
        let decoded = percent_decode(target);
        assert!(harbour.inbox().join("reports").join(&decoded).exists(), "{decoded}");
    }
    check_promises(&harbour);
}

fn percent_decode(text: &str) -> String {
    url::form_urlencoded::parse(format!("a={}", text.replace('+', "%2B")).as_bytes()).next().unwrap().1.into_owned()
}

#[test]
fn the_page_stays_small_whatever_the_run() {
    const COLUMNS: usize = 150;
    let named = |index: usize| format!("{}-{index}", "<".repeat(200));
    let fields: Vec<Value> = (0..COLUMNS)
        .map(|index| serde_json::json!({ "name": named(index), "type": "integer", "constraints": { "maximum": 10 } }))
        .collect();
    let id = serde_json::json!([{ "name": "id", "type": "string" }, { "name": "points", "type": "integer" }]);
    let fields: Vec<Value> = id.as_array().unwrap().iter().cloned().chain(fields).collect();
    let harbour = nine().schema(&serde_json::json!({ "fieldsMatch": "superset", "fields": fields }).to_string()).points_only().start();
    let header: String = (0..COLUMNS).map(|index| format!(",{}", named(index))).collect();
    let mut file = format!("id,points{header}\n");
    for row in 0..20 {
        let cell = if row % 2 == 0 { "&".repeat(300) } else { "11".to_owned() };
        let _ = writeln!(file, "C-1,1{}", format!(",{cell}").repeat(COLUMNS));
    }
    let _ = writeln!(file, "C-2,{}{}", "\"<".repeat(500_000).replace('"', "'"), ",1".repeat(COLUMNS));
    harbour.deliver("wide.csv", &file);
    harbour.once().exits(1);
    let content = harbour.read("reports/wide.report.html");
    let (page, _) = page(&harbour, "wide");
    let said = page.text("[aria-labelledby=problems]");
    assert!(said.contains("more, see wide.problems.csv"), "{said}");
    assert!(content.len() < BYTES_MAX, "{}", content.len());
    println!("{} bytes", content.len());
    check_promises(&harbour);
}

#[test]
fn a_feed_may_do_without_the_page() {
    let harbour = harbour().folder().feed("reports", "{ html = false }").start();
    harbour.deliver("monday.csv", "id,points\nC-1,5\n");
    harbour.once().exits(0);
    assert_eq!(
        harbour.tree(),
        [".processed/monday.csv", "reports/monday.errors.csv", "reports/monday.problems.csv", "reports/monday.report.json"]
    );
    check_promises(&harbour);
}
