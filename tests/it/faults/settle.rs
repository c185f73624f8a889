//! What a person decides about adds in doubt: each alone, none without effect, and what waited behind it goes on.

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Rule, Trouble};
use serde_json::json;

use super::adds::{keys, lost_once, movements, only};
use super::keep_verify::sql;
use crate::rig::harbour::{Harbour, Plan, wait_until};
use crate::rig::promises::check_promises;

/// Rows that earn and tell the holder of it; a platform that helps nobody.
fn earning_and_telling() -> Plan {
    movements()
        .platform("read_back", "\"nothing\"")
        .platform("timeout", "\"20s\"")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"transactional\"")
}

const FILE: &str = "txn,id,move,points,news\nT-1,C-1,earn,50,50 for you\n";

fn on_points(trouble: Trouble) -> Faults {
    Faults { rules: vec![Rule::new(trouble).path("/points/")], ..Faults::default() }
}

fn told(harbour: &Harbour) -> Vec<String> {
    harbour.sandbox.alerts("C-1", "news")
}

/// A kill leaves one add of a row unknown, never two: the decision about the earn does not touch the notification, which goes on.
#[test]
fn a_kill_leaves_one_add_of_a_row_in_doubt_and_settling_it_takes_up_the_other() {
    let harbour = earning_and_telling().faults(on_points(Trouble::AnswerLate { ms: 15_000 })).start();
    harbour.deliver("a.csv", FILE);
    let daemon = harbour.start(&["run"]);
    wait_until("the earn is applied", || harbour.points("C-1") > 0.0);
    daemon.kill();
    harbour.sandbox.faults().clear();
    harbour.once().exits(1);
    assert_eq!(keys(&harbour, KeyState::InDoubt), 1, "{}", harbour.said());
    assert_eq!((harbour.points("C-1"), told(&harbour).len()), (50.0, 0));
    let key = harbour.errors("a")[0]["_key"].clone();
    harbour.run(&["settle", &key, "applied", "--reason", "the portal shows 50"]).exits(0);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), told(&harbour)), (50.0, vec!["50 for you".to_owned()]), "{}", harbour.said());
    assert_eq!(harbour.state_of("a.csv"), Some(State::Done));
    check_promises(&harbour);
}

/// Two adds of a row in doubt, as an earlier version left them: a line does not say which is meant, and each key is decided alone.
#[test]
fn of_two_adds_in_doubt_each_is_settled_by_its_key() {
    let harbour = earning_and_telling().faults(on_points(Trouble::DropBefore)).start();
    harbour.deliver("a.csv", FILE);
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    let run = harbour.run_of("a.csv").id;
    let row = harbour.errors("a")[0]["_key"].clone();
    sql(
        &harbour,
        "INSERT INTO add_key SELECT row_key, 'notify', account, pass_high, pass_low, run, line, '', print + 1, state, at, evidence, before, settled, met FROM add_key",
    );
    let doubtful = |operation: &str| json!({ "operation": operation, "outcome": "in-doubt", "code": "add-in-doubt" });
    let both = json!({ "operations": [doubtful("earn"), doubtful("notify")] });
    sql(&harbour, &format!("UPDATE row SET detail = '{both}'"));
    for wanted in [format!("{run}:2"), "a.csv:2".to_owned(), row.clone()] {
        let ran = harbour.run(&["settle", &wanted, "resend", "--reason", "neither is there"]).exits(2);
        assert!(ran.err.contains(&format!("{row}-earn")) && ran.err.contains(&format!("{row}-notify")), "{}", ran.err);
    }
    harbour.run(&["settle", &format!("{row}-earn"), "resend", "--reason", "the portal shows nothing"]).exits(0);
    harbour.once();
    assert_eq!((harbour.points("C-1"), keys(&harbour, KeyState::InDoubt)), (0.0, 1), "nothing goes before the other is decided");
    harbour.run(&["settle", &format!("{row}-notify"), "not-applied", "--reason", "too late to tell"]).exits(0);
    harbour.run(&["settle", &format!("{row}-burn"), "applied", "--reason", "x"]).exits(66).says("is not in doubt");
    harbour.once();
    assert_eq!((harbour.points("C-1"), told(&harbour)), (50.0, vec![]), "{}", harbour.said());
    assert_eq!((keys(&harbour, KeyState::InDoubt), harbour.state_of("a.csv")), (0, Some(State::Done)));
    check_promises(&harbour);
}

/// While its notification waits for the window a row with an add in doubt is in doubt for all to see; what is decided about it is done,
/// and the notification goes out in its own time.
#[test]
fn a_row_in_doubt_does_not_hide_behind_a_notification_that_waits_for_its_window() {
    let now = chrono::Utc::now().time();
    let hour = |offset: i64| (now + chrono::TimeDelta::hours(offset)).format("%H:%M").to_string();
    let (shut, open) = (format!("\"{}..{} UTC\"", hour(2), hour(3)), format!("\"{}..{} UTC\"", hour(-1), hour(1)));
    let harbour = earning_and_telling().feed("notify.window", &shut).faults(on_points(Trouble::DropBefore)).start();
    harbour.deliver("a.csv", FILE);
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    assert_eq!(harbour.state_of("a.csv"), Some(State::DoneInDoubt), "{}", harbour.said());
    assert_eq!(harbour.report("a")["operations"], json!({ "earn": { "in-doubt": 1 }, "notify": { "not-attempted": 1 } }));
    let run = harbour.run_of("a.csv").id;
    harbour.run(&["settle", "a.csv:2", "resend", "--reason", "the portal shows nothing"]).exits(0);
    harbour.once().exits(75);
    assert_eq!((harbour.points("C-1"), told(&harbour)), (50.0, vec![]), "{}", harbour.said());
    assert_eq!(harbour.ledger().run(&run).unwrap().unwrap().state, State::Done, "nothing of it is in doubt any more");
    harbour.change_config(|text| text.replace(&shut, &open));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), told(&harbour)), (50.0, vec!["50 for you".to_owned()]), "{}", harbour.said());
    check_promises(&harbour);
}

/// A decision is accepted only where there is a row that takes it in.
#[test]
fn no_decision_is_taken_for_a_row_that_has_not_ended_or_is_gone() {
    let harbour = earning_and_telling().faults(on_points(Trouble::DropBefore)).start();
    harbour.deliver("a.csv", FILE);
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    let key = harbour.errors("a")[0]["_key"].clone();
    let settle = |exit: i32, words: &str| drop(harbour.run(&["settle", &key, "resend", "--reason", "not there"]).exits(exit).says(words));
    sql(&harbour, "UPDATE row SET outcome = NULL");
    settle(75, "still to be done");
    sql(&harbour, "UPDATE row SET outcome = 'in-doubt', line = 77");
    settle(66, "not in this ledger any more");
    sql(&harbour, "UPDATE row SET line = 2");
    assert_eq!(harbour.ledger().to_settle().unwrap(), []);
    settle(0, "");
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 50.0);
    check_promises(&harbour);
}

/// A newer snapshot supersedes what a held one sets, not what it adds: a notification that was never sent comes back in the report.
#[test]
fn a_newer_snapshot_drops_no_notification_in_silence() {
    let harbour = movements()
        .feed("content", "\"snapshot\"")
        .feed("operation", "\"update\"")
        .feed("notify.message", "\"news\"")
        .feed("notify.field", "\"metaData.news\"")
        .feed("notify.kind", "\"transactional\"")
        .feed("guard.rejects", "\"5%\"")
        .feed("guard.floor", "1")
        .start();
    harbour.deliver("monday.csv", "txn,id,points,news\nT-1,C-1,5,your voucher 4711\nT-2,C-2,x,\nT-3,C-3,5,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("monday.csv"), Some(State::Held));
    harbour.deliver("tuesday.csv", "txn,id,points,news\nT-4,C-1,6,\nT-5,C-2,7,\nT-6,C-3,8,\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("monday.csv"), Some(State::Superseded));
    assert_eq!(harbour.report("monday")["rows"], json!({ "not-attempted": 1, "rejected": 1, "superseded": 1 }));
    let lines = harbour.errors("monday");
    assert!(lines.iter().any(|line| line["news"] == "your voucher 4711" && line["_outcome"] == "not-attempted"), "{lines:?}");
    assert_eq!(harbour.points("C-1"), 6.0);
    check_promises(&harbour);
}

/// The holder is told of what happened, not of what was to happen; a correction tells it when it has.
#[test]
fn a_notification_tells_of_no_add_that_was_refused() {
    let harbour = earning_and_telling().start();
    harbour.deliver("a.csv", "txn,id,move,points,news\nT-1,C-1,burn,50,You paid with 50 points\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("a")["operations"], json!({ "burn": { "refused": 1 }, "notify": { "not-attempted": 1 } }));
    assert_eq!(told(&harbour), Vec::<String>::new());
    harbour.deliver("b.csv", "txn,id,move,points,news\nT-2,C-1,earn,20,20 for you\n");
    harbour.once().exits(0);
    let report = String::from_utf8(harbour.read("reports/a.errors.csv")).unwrap();
    harbour.deliver("a.errors.csv", report.replace(",50,You paid with 50 points,", ",20,You paid with 20 points,"));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), told(&harbour)), (0.0, vec!["20 for you".to_owned(), "You paid with 20 points".to_owned()]));
    check_promises(&harbour);
}

/// What a person decided shall not be sent is sent by no copy of it either: not by one that waited, not by one that comes later.
#[test]
fn what_shall_not_be_sent_is_sent_by_no_copy_of_it() {
    let harbour = movements().platform("read_back", "\"nothing\"").faults(on_points(Trouble::DropBefore)).start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,10\n");
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    harbour.deliver("b.csv", "txn,id,move,points\nT-1,C-1,earn,10\n");
    harbour.once().exits(1);
    harbour.run(&["settle", "a.csv:2", "not-applied", "--reason", "the goods came back"]).exits(0);
    harbour.once();
    harbour.deliver("c.csv", "txn,id,move,points\nT-1,C-1,earn,10\nT-2,C-1,earn,1\n");
    harbour.once().exits(0);
    // It is decided: nobody is asked about it again.
    assert_eq!(harbour.report("c")["rows"], json!({ "applied": 1, "refused": 1 }));
    assert_eq!(harbour.report("c")["problems"], json!({ "settled-not-applied": 1 }));
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}

/// Whoever says "send it again" may be wrong: it is looked for once more, under its own key.
#[test]
fn what_is_to_be_sent_again_is_looked_for_first() {
    let lost = |pass: &str, trouble| Rule::new(trouble).path("/points/").id(pass).next(1);
    let rules = vec![lost("C-1", Trouble::DropAfter), lost("C-2", Trouble::DropBefore)];
    let harbour = movements().faults(Faults { rules, ..Faults::default() }).platform("read_back", "\"nothing\"").start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,10\nT-2,C-2,earn,10\n");
    harbour.once().exits(1);
    assert_eq!(keys(&harbour, KeyState::InDoubt), 2);
    harbour.change_config(|text| text.replace("read_back = \"nothing\"", "read_back = \"presence\""));
    for line in [2, 3] {
        harbour.run(&["settle", &format!("a.csv:{line}"), "resend", "--reason", "I see nothing"]).exits(0);
    }
    harbour.once();
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (10.0, 10.0), "{}", harbour.said());
    assert_eq!((keys(&harbour, KeyState::InDoubt), keys(&harbour, KeyState::Applied)), (0, 2));
    check_promises(&harbour);
}

/// What a person approves is what was fetched and shown.
#[test]
fn a_held_file_whose_copy_was_altered_is_fetched_again_before_it_is_applied() {
    let harbour = movements().feed("guard.first_file", "true").start();
    harbour.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,5\n");
    harbour.once().exits(1);
    let copy = harbour.state().join("spool").join(format!("{}.data", harbour.run_of("a.csv").id));
    let altered = std::fs::read_to_string(&copy).unwrap().replace("earn,5", "earn,9");
    std::fs::write(&copy, altered).unwrap();
    harbour.run(&["approve", "a.csv", "--reason", "as agreed"]).exits(0);
    harbour.once().exits(0).says("not what was fetched");
    assert_eq!(harbour.points("C-1"), 5.0);
    check_promises(&harbour);
}

/// G5. Later adds of a pass in doubt wait, and are taken up when a person settled it; each decision is kept with its reason.
#[test]
fn what_is_in_doubt_is_settled_by_a_person_and_what_waited_goes_on() {
    let harbour = movements()
        .platform("read_back", "\"nothing\"")
        .faults(only(vec![lost_once("C-1", false), lost_once("C-2", false), lost_once("C-3", false)]))
        .start();
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

/// G2. Each decision is told in a report of its own, however many a run has; the earlier ones stay as they are.
#[test]
fn every_decision_about_a_run_is_told_in_a_report_of_its_own() {
    let faults = only(vec![lost_once("C-1", false), lost_once("C-2", false), lost_once("C-3", false)]);
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
        let harbour = movements().platform("read_back", "\"nothing\"").faults(only(vec![lost_once("C-1", false)])).start();
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
        if crashed.calls.iter().any(|call| call.line.contains("PUT ")) {
            // Threads take turns: this time the request came a few calls earlier, and what was sent may be in doubt again.
            assert_eq!(harbour.sandbox.double_effects().len(), 0, "{nth}: {at:?}");
            check_promises(&harbour);
            continue;
        }
        assert_eq!(harbour.points("C-1"), 11.0, "killed before call {nth}: {at:?}\n{}", harbour.said());
        assert_eq!((harbour.sandbox.effects().len(), harbour.sandbox.double_effects().len()), (2, 0), "{nth}: {at:?}");
        assert_eq!((keys(&harbour, KeyState::InDoubt), harbour.ledger().to_settle().unwrap().len()), (0, 0));
        check_promises(&harbour);
    }
}
