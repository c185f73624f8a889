//! What is asked of every platform.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use passferry::ledger::State;
use passferry::sandbox::{Latency, Outage, Rule, Trouble};
use serde_json::{Value, json};

use super::{Batches, Entry, Held, SCHEMA, check_promises, start};
use crate::rig::harbour::{Harbour, wait_until};

/// The schema under which an empty cell of `tier` takes the text away.
pub const CLEARING: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer" },
    { "name": "tier", "type": "string", "x-passferry": { "empty": "clear" } }
  ]
}
"#;

/// A file of `C-1` to `C-n`: their numbers and `more` as points, and a tier.
pub fn file(passes: usize, more: usize) -> String {
    (1..=passes).fold("id,points,tier\n".to_owned(), |mut file, n| {
        let _ = writeln!(file, "C-{n},{},tier {}", n + more, n + more);
        file
    })
}

#[track_caller]
pub fn held(entry: &Entry, harbour: &Harbour, name: &str) -> Held {
    (entry.held)(harbour, name).unwrap_or_else(|| panic!("{}: there is no pass {name}\n{}", entry.name, harbour.said()))
}

#[track_caller]
pub fn holds(entry: &Entry, harbour: &Harbour, name: &str, points: &str, tier: &str) {
    let Held { points: had, tier: was, .. } = held(entry, harbour, name);
    assert_eq!((had.as_str(), was.as_str()), (points, tier), "{}: {name}\n{}", entry.name, harbour.said());
}

/// Every pass of [`file`] holds what stands in it.
#[track_caller]
pub fn all_hold(entry: &Entry, harbour: &Harbour, passes: usize, more: usize) {
    for n in 1..=passes {
        holds(entry, harbour, &format!("C-{n}"), &(n + more).to_string(), &format!("tier {}", n + more));
    }
}

pub fn rows(harbour: &Harbour, stem: &str) -> Value {
    harbour.report(stem)["rows"].clone()
}

/// Codes of the error report by identifier.
pub fn codes(harbour: &Harbour, stem: &str) -> BTreeMap<String, String> {
    harbour.errors(stem).into_iter().map(|line| (line["id"].clone(), line["_codes"].clone())).collect()
}

fn code(code: u16, words: Option<&str>) -> Trouble {
    Trouble::Status { code, message: words.map(str::to_owned) }
}

pub fn present_passes_are_changed_and_absent_ones_told(entry: &Entry) {
    let harbour = start(entry, 3, |plan| plan);
    let untouched = held(entry, &harbour, "C-3");
    harbour.deliver("a.csv", "id,points,tier\nC-1,7,gold\nC-404,7,gold\nC-2,8,silver\n");
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 2, "unresolved": 1 }));
    assert_eq!(codes(&harbour, "a"), BTreeMap::from([("C-404".to_owned(), "pass-not-found".to_owned())]));
    holds(entry, &harbour, "C-1", "7", "gold");
    holds(entry, &harbour, "C-2", "8", "silver");
    assert_eq!(held(entry, &harbour, "C-3"), untouched);
    assert_eq!((entry.held)(&harbour, "C-404"), None, "nobody is issued who was not asked for");
    check_promises(entry, &harbour);
}

pub fn an_update_changes_what_is_mapped_and_only_when_it_changed(entry: &Entry) {
    let harbour = start(entry, 4, |plan| plan);
    let before = held(entry, &harbour, "C-1").rest;
    harbour.deliver("a.csv", file(4, 10));
    harbour.once().exits(0);
    all_hold(entry, &harbour, 4, 10);
    assert_eq!(held(entry, &harbour, "C-1").rest, before, "what nobody mapped stays");
    let sent = harbour.sandbox.requests().total();
    // One cell differs, and an empty one says nothing.
    harbour.deliver("b.csv", "id,points,tier\nC-1,11,tier 11\nC-2,90,tier 12\nC-3,13,\nC-4,14,tier 14\n");
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "b"), json!({ "applied": 1, "unchanged": 3 }));
    holds(entry, &harbour, "C-2", "90", "tier 12");
    holds(entry, &harbour, "C-3", "13", "tier 13");
    assert!(harbour.sandbox.requests().total() - sent <= 4, "{}: rows that say nothing new cost nothing", entry.name);
    check_promises(entry, &harbour);
}

pub fn an_upsert_issues_what_is_not_there(entry: &Entry) {
    let harbour = start(entry, 1, |plan| plan.feed("operation", "\"upsert\""));
    harbour.deliver("a.csv", "id,points,tier\nC-1,7,gold\nN-1,8,silver\nN-2,9,bronze\n");
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 1, "created": 2 }));
    holds(entry, &harbour, "C-1", "7", "gold");
    holds(entry, &harbour, "N-1", "8", "silver");
    holds(entry, &harbour, "N-2", "9", "bronze");
    check_promises(entry, &harbour);
}

pub fn an_empty_cell_clears_where_the_schema_says_so(entry: &Entry) {
    let harbour = start(entry, 2, |plan| plan.schema(CLEARING).feed("guard.cleared", "false"));
    harbour.deliver("a.csv", "id,points,tier\nC-1,7,gold\nC-2,8,silver\n");
    harbour.once().exits(0);
    let before = held(entry, &harbour, "C-1").rest;
    harbour.deliver("b.csv", "id,points,tier\nC-1,7,\nC-2,8,silver\n");
    harbour.once().exits(0);
    holds(entry, &harbour, "C-1", "7", "");
    holds(entry, &harbour, "C-2", "8", "silver");
    assert_eq!(held(entry, &harbour, "C-1").rest, before);
    check_promises(entry, &harbour);
}

/// Two files at once, several rows of each pass, and answers that take their time.
pub fn changes_of_a_pass_keep_their_order(entry: &Entry) {
    let harbour = start(entry, 3, |plan| plan.feed("content", "\"delta\"").feed("duplicates", "\"in-order\""));
    harbour.sandbox.faults().change(|faults| faults.latency = Latency::Spread { p50_ms: 5, p95_ms: 30, p99_ms: 60 });
    for (name, values) in [("a.csv", 1..=4), ("b.csv", 5..=8)] {
        let mut rows = "id,points,tier\n".to_owned();
        for value in values {
            for pass in 1..=3 {
                let _ = writeln!(rows, "C-{pass},{value}{pass},tier {value}{pass}");
            }
        }
        harbour.deliver(name, rows);
    }
    harbour.once().exits(0);
    for pass in 1..=3 {
        holds(entry, &harbour, &format!("C-{pass}"), &format!("8{pass}"), &format!("tier 8{pass}"));
    }
    assert_eq!((rows(&harbour, "a"), rows(&harbour, "b")), (json!({ "applied": 12 }), json!({ "applied": 12 })));
    check_promises(entry, &harbour);
}

/// Requests a second, and what a start and a batch may have on top.
const ALLOWANCE: usize = 20;
const ON_TOP: usize = 8;

/// D2, D3. The pause is everybody's, no row pays for it, and the allowance is kept before and after.
pub fn a_platform_that_asks_to_slow_down_is_obeyed(entry: &Entry) {
    let passes = ALLOWANCE + ON_TOP + 2;
    let harbour = start(entry, passes, |plan| plan.platform("allowance", &format!("\"{ALLOWANCE}/s\"")).platform("in_flight", "1"));
    let slow = Rule::new(Trouble::TooMany { retry_after: Some("1".to_owned()) });
    // Of a batch one part is refused so, and then that part alone.
    harbour.sandbox.faults().add((entry.writes)(slow, None).next(if entry.batches.is_some() { 2 } else { 1 }));
    harbour.deliver("a.csv", file(passes, 10));
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": passes }));
    all_hold(entry, &harbour, passes, 10);
    let asked = harbour.sandbox.requests().all();
    let refused = asked.iter().rev().find(|asked| asked.status == Some(429) && asked.part_of.is_none());
    if let Some(refused) = refused {
        let early = asked.iter().find(|asked| (refused.at_ms + 1..refused.at_ms + 950).contains(&asked.at_ms));
        assert!(early.is_none(), "{}: asked too early: {early:?}", entry.name);
    }
    assert!(asked.iter().any(|asked| asked.status == Some(429)), "{}: the stand-in asked nobody to slow down", entry.name);
    let carries = |sequence: u64| asked.iter().any(|part| part.part_of == Some(sequence));
    let counts = |one: &passferry::sandbox::Entry| match entry.batches {
        Some(Batches::CountedByPart) => !carries(one.sequence),
        Some(Batches::CountedOnce) | None => one.part_of.is_none(),
    };
    let times: Vec<u64> = asked.iter().filter(|one| !one.route.contains("token") && counts(one)).map(|one| one.at_ms).collect();
    for (index, from) in times.iter().enumerate() {
        let within = times[index..].iter().take_while(|at| **at < from + 1000).count();
        assert!(within < ALLOWANCE + ON_TOP, "{}: {within} requests within a second: {times:?}", entry.name);
    }
    check_promises(entry, &harbour);
}

/// D4. Nothing is rejected, the run says why it waits, and it goes on by itself; also where it was half done.
pub fn an_outage_rejects_nothing_and_the_run_resumes(entry: &Entry) {
    let harbour = start(entry, 20, |plan| plan.platform("in_flight", "1").platform("tries", "2"));
    harbour.sandbox.faults().change(|faults| faults.outage = Some(Outage::Unavailable));
    harbour.deliver("a.csv", file(20, 10));
    harbour.run(&["once", "--patience", "300ms"]).exits(75);
    let run = harbour.run_of("a.csv");
    assert!(!run.state.is_over() && run.detail.tally.total() == 0, "{}: {run:?}", entry.name);
    harbour.sandbox.faults().change(|faults| {
        faults.outage = None;
        faults.latency = Latency::Fixed { ms: 20 };
    });
    let daemon = harbour.start(&["run"]);
    let changed = || (1..=20).filter(|n| held(entry, &harbour, &format!("C-{n}")).points == (n + 10).to_string()).count();
    wait_until("some passes are changed", || changed() >= 2);
    harbour.sandbox.faults().change(|faults| faults.outage = Some(Outage::Close));
    wait_until("the run is paused", || harbour.state_of("a.csv") == Some(State::Paused));
    assert!(harbour.run_of("a.csv").detail.cause.is_some_and(|cause| !cause.is_empty()), "{}: the reason is told", entry.name);
    assert!(changed() < 20, "{}: it is half done", entry.name);
    harbour.sandbox.faults().clear();
    (entry.open)(&harbour);
    wait_until("the file is done", || harbour.state_of("a.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 20 }));
    all_hold(entry, &harbour, 20, 10);
    check_promises(entry, &harbour);
}

/// D9.
pub fn credentials_that_end_in_mid_run_are_renewed(entry: &Entry) {
    let harbour = start(entry, 30, |plan| plan.platform("in_flight", "2"));
    (entry.expire)(&harbour);
    harbour.deliver("a.csv", file(30, 10));
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 30 }));
    all_hold(entry, &harbour, 30, 10);
    let statuses = harbour.sandbox.requests().stats().statuses;
    assert!(statuses.get(&401).is_some_and(|refused| *refused > 0), "{}: nothing ended: {statuses:?}", entry.name);
    check_promises(entry, &harbour);
}

/// D4, D7, D8, D15. One that the platform refuses and one that keeps failing, with and without a batch around them.
pub fn one_bad_row_harms_no_other(entry: &Entry) {
    let harbour = start(entry, 10, |plan| plan.platform("tries", "2"));
    harbour.sandbox.faults().add((entry.writes)(Rule::new(code(400, Some("the harbour master says no"))), Some("C-3")));
    harbour.sandbox.faults().add((entry.writes)(Rule::new(code(500, None)), Some("C-7")));
    harbour.deliver("a.csv", file(10, 10));
    harbour.once().exits(1);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 8, "refused": 2 }));
    let wanted = [("C-3", "update-rejected"), ("C-7", "retries-exhausted")].map(|(id, code)| (id.to_owned(), code.to_owned()));
    assert_eq!(codes(&harbour, "a"), BTreeMap::from(wanted));
    assert!(harbour.errors("a")[0]["_problems"].contains("the harbour master says no"), "{:?}", harbour.errors("a"));
    harbour.sandbox.faults().change(|faults| faults.rules.clear());
    harbour.deliver("b.csv", file(10, 10).replace("C-1,", "C-1,1"));
    harbour.once().exits(0);
    assert_eq!(
        rows(&harbour, "b"),
        json!({ "applied": 3, "unchanged": 7 }),
        "{}: what was refused is not believed to be there",
        entry.name
    );
    holds(entry, &harbour, "C-7", "17", "tier 17");
    check_promises(entry, &harbour);
}

/// D1, D5, D17.
pub fn a_lost_answer_to_a_change_costs_nothing(entry: &Entry) {
    let harbour = start(entry, 12, |plan| plan);
    for (pass, trouble) in
        [("C-2", Trouble::DropAfter), ("C-5", Trouble::TruncatedBody), ("C-8", Trouble::DropBefore), ("C-11", Trouble::BadGatewayHtml)]
    {
        harbour.sandbox.faults().add((entry.writes)(Rule::new(trouble), Some(pass)).next(1));
    }
    harbour.deliver("a.csv", file(12, 10));
    harbour.once().exits(0);
    assert_eq!(rows(&harbour, "a"), json!({ "applied": 12 }));
    all_hold(entry, &harbour, 12, 10);
    let left: Vec<_> = harbour.sandbox.faults().get().rules.into_iter().filter(|rule| rule.next != Some(0)).collect();
    assert!(left.is_empty(), "{}: trouble that nobody met: {left:?}", entry.name);
    let writes = harbour.writes().len();
    harbour.deliver("b.csv", file(12, 10) + "\n");
    harbour.once().exits(0);
    assert_eq!((rows(&harbour, "b"), harbour.writes().len()), (json!({ "unchanged": 12 }), writes), "{}", entry.name);
    check_promises(entry, &harbour);
}

/// D1, D5, D6. Applied exactly once or left in doubt; and no repeat of the file changes that.
pub fn a_lost_answer_to_an_add_never_adds_twice(entry: &Entry) {
    let Some(adds) = &entry.adds else { panic!("{} has adds, or an excuse", entry.name) };
    let harbour = start(entry, 4, |plan| {
        let plan = (adds.plan)(plan).feed("content", "\"delta\"").feed("add.transaction_id", "\"tx\"");
        plan.platform("settling", "\"100ms\"")
    });
    for (pass, trouble) in [("C-1", Trouble::DropAfter), ("C-2", Trouble::DropBefore), ("C-3", code(500, None))] {
        let rule = (adds.writes)(Rule::new(trouble));
        let named = (entry.writes)(Rule::new(Trouble::DropAfter), Some(pass)).id;
        harbour.sandbox.faults().add(Rule { id: named, ..rule }.next(1));
    }
    let rows = "C-1,5,a,Hello\nC-2,5,b,Hello\nC-3,5,c,Hello\nC-4,5,d,Hello\n";
    harbour.deliver("a.csv", format!("id,points,tx,message\n{rows}"));
    let exit = harbour.once().exit;
    let doubts: Vec<String> = codes_of_doubt(&harbour);
    assert_eq!(exit, i32::from(!doubts.is_empty()), "{}\n{}", entry.name, harbour.said());
    let effects = |harbour: &Harbour| (1..=4).map(|n| (adds.effects)(harbour, &format!("C-{n}"))).collect::<Vec<usize>>();
    let first = effects(&harbour);
    for (index, times) in first.iter().enumerate() {
        let pass = format!("C-{}", index + 1);
        let fits = if doubts.contains(&pass) { *times <= 1 } else { *times == 1 };
        assert!(fits, "{}: {pass} was applied {times} times, in doubt are {doubts:?}\n{}", entry.name, harbour.said());
    }
    harbour.deliver("b.csv", format!("id,points,tx,message\n\n{rows}"));
    harbour.once();
    assert_eq!(effects(&harbour), first, "{}: the same transactions again", entry.name);
    check_promises(entry, &harbour);
}

/// Passes in doubt after file `a.csv`, which may have none.
fn codes_of_doubt(harbour: &Harbour) -> Vec<String> {
    if !harbour.tree().iter().any(|path| path.ends_with("a.errors.csv")) {
        return Vec::new();
    }
    harbour.errors("a").into_iter().filter(|line| line["_outcome"] == "in-doubt").map(|line| line["id"].clone()).collect()
}

/// Contract limits: what the platform would refuse or alter is found on this machine.
pub fn what_the_platform_cannot_hold_is_never_sent(entry: &Entry) {
    let harbour = start(entry, 9, |plan| plan);
    let long = "x".repeat(12_000);
    let mut rows = "id,points,tier\n".to_owned();
    for (index, (column, cell, _)) in entry.unfit.iter().enumerate() {
        let cell = cell.replace("LONG", &long);
        let of = |name: &str, usual: String| if *column == name { cell.clone() } else { usual };
        let _ =
            writeln!(rows, "{},{},{}", of("id", format!("C-{}", index + 1)), of("points", "1".to_owned()), of("tier", "gold".to_owned()));
    }
    harbour.deliver("a.csv", rows);
    harbour.once().exits(1);
    let told: Vec<String> = harbour.errors("a").into_iter().map(|line| line["_codes"].clone()).collect();
    let wanted: Vec<&str> = entry.unfit.iter().map(|(.., code)| *code).collect();
    assert_eq!(told, wanted, "{}: {:?}", entry.name, harbour.errors("a"));
    assert!(harbour.errors("a").iter().all(|line| line["_outcome"] == "rejected"), "{:?}", harbour.errors("a"));
    assert_eq!(harbour.sandbox.requests().total(), 0, "{}: {:?}", entry.name, harbour.sandbox.requests().all());
    check_promises(entry, &harbour);
}

pub fn an_unknown_field_is_told_before_any_file_comes(entry: &Entry) {
    let (name, words) = entry.misspelt;
    let harbour = start(entry, 1, |plan| plan.feed(&format!("fields.{name:?}"), "\"points\""));
    harbour.deliver("a.csv", file(1, 10));
    let told = harbour.run(&["check"]).exits(78);
    assert!(told.err.contains(words) && told.err.contains(name) && told.err.contains("feed.points.fields"), "{}: {}", entry.name, told.err);
    harbour.once().exits(78);
    assert_eq!(harbour.sandbox.requests().total(), 0, "{}", entry.name);
    assert_eq!(harbour.tree(), ["a.csv"], "the file waits for the configuration");
}

/// Promise 7, with the log at its loudest and a platform that repeats what it was sent.
pub fn nothing_secret_or_personal_is_told(entry: &Entry) {
    let personal = r#"{ "name": "tier", "type": "string", "x-passferry": { "personal": true } }"#;
    let schema = SCHEMA.replace(r#"{ "name": "tier", "type": "string" }"#, personal);
    let harbour = start(entry, 3, |plan| plan.schema(&schema).platform("tries", "2"));
    let echo = Trouble::Status { code: 400, message: Some("no such tier: ann-2@private.example".to_owned()) };
    harbour.sandbox.faults().add((entry.writes)(Rule::new(echo), Some("C-2")));
    let echo = Trouble::Status { code: 500, message: Some("crashed over ann-3@private.example".to_owned()) };
    harbour.sandbox.faults().add((entry.writes)(Rule::new(echo), Some("C-3")));
    harbour.deliver("a.csv", "id,points,tier\nC-1,7,ann-1@private.example\nC-2,8,ann-2@private.example\nC-3,9,ann-3@private.example\n");
    let daemon = harbour.start(&["--log-level", "trace", "run"]);
    wait_until("the file is done", || harbour.state_of("a.csv") == Some(State::Done));
    let line = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
    assert_eq!(daemon.terminate(), 0);
    holds(entry, &harbour, "C-1", "7", "ann-1@private.example");
    let mut told = vec![("the log".to_owned(), harbour.said()), ("the arguments".to_owned(), String::from_utf8_lossy(&line).into_owned())];
    for path in harbour.tree().into_iter().filter(|path| path.starts_with("reports/")) {
        let mut text = String::from_utf8(harbour.read(&path)).unwrap();
        // The lines that go back to who sent them have their cells, and the platform's words about them.
        if std::path::Path::new(&path).extension().is_some_and(|ending| ending == "csv") {
            text = text.replace("private.example", "");
        }
        told.push((path, text));
    }
    let planted = [crate::rig::harbour::KEY, crate::rig::harbour::SECRET, "private.example"];
    for (place, text) in told {
        for secret in planted.iter().chain(entry.secrets) {
            assert!(!text.contains(secret), "{}: {secret:?} is in {place}:\n{text}", entry.name);
        }
    }
    harbour.sandbox.faults().change(|faults| faults.rules.clear());
    check_promises(entry, &harbour);
}
