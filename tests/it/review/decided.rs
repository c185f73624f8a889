//! What people decided is neither lost nor counted twice, and what is left for them is told.

use std::sync::Barrier;

use passferry::ledger::{KeyState, State};
use passferry::sandbox::{Faults, Rule, Trouble};

use super::fix::{changed, corrections, fields, send};
use super::folder;
use crate::faults::adds::{lost_once, movements, only};
use crate::rig::crash::{Mode, Moment, crash};
use crate::rig::promises::check_promises;
use crate::rig::visitor::{APPROVER, Reviewed, Visitor, form, reviewed};

/// Rows of a run that need somebody, as commands and the page tell it.
#[track_caller]
fn need(rig: &Reviewed, run: &str) -> u64 {
    rig.told(&["show", run, "--json"])["needs_person"].as_u64().unwrap()
}

/// Killed between the moment when a word is taken and that when what follows from it is written down, the word is still there.
fn killed_anywhere(word: &str, ends: State) {
    let decided = || {
        let rig = reviewed(folder().points_only().feed("guard.first_file", "true"), "");
        rig.deliver("a.csv", "id,points\nC-1,10\n");
        rig.once().exits(1);
        rig.run(&[word, "a.csv", "--reason", "looked at"]).exits(0);
        rig
    };
    let whole = crash(&decided(), &["once"], &Moment { mode: Mode::Count, nth: 0, matching: "sync".into() }).calls;
    let until = whole.iter().position(|call| call.line.contains("reports")).unwrap_or(whole.len()).min(12) as u64;
    assert!(until > 3, "{whole:?}");
    for nth in 2..=until {
        let rig = decided();
        crash(&rig, &["once"], &Moment { mode: Mode::Before, nth, matching: "sync".into() });
        rig.once();
        assert_eq!(rig.state_of("a.csv"), Some(ends), "killed before flush {nth}\n{}", rig.said());
        assert_eq!(rig.ledger().peek_wish(&rig.run_of("a.csv").id).unwrap(), None);
        check_promises(&rig);
    }
}

#[test]
fn an_approval_outlives_a_kill_at_any_moment() {
    killed_anywhere("approve", State::Done);
}

#[test]
fn a_discard_outlives_a_kill_at_any_moment() {
    killed_anywhere("discard", State::Discarded);
}

#[test]
fn rows_that_a_later_run_took_up_are_left_to_it() {
    let refused = |id: &str| Rule::new(Trouble::Status { code: 400, message: None }).id(id);
    let faults = Faults { rules: vec![refused("C-1"), refused("C-2")], ..Faults::default() };
    let rig = reviewed(folder().points_only().faults(faults), "");
    rig.deliver("a.csv", "id,points\nC-1,10\nC-2,20\nC-3,x\nC-4,y\nC-5,5\n");
    rig.once().exits(1);
    rig.sandbox.faults().clear();
    let run = rig.run_of("a.csv").id;
    assert_eq!(need(&rig, &run), 4);
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let retry = format!("/runs/{run}/retry");
    // Two at the same moment are one.
    let (csrf, cookie, own) = (anna.csrf.borrow().clone(), anna.cookie.borrow().clone().unwrap(), format!("http://{}", anna.host()));
    let (both, port) = (Barrier::new(2), rig.port);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let one = || {
            let body = form(&[("reason", "the platform is back"), ("csrf", &csrf)]);
            let visitor = Visitor::at(port);
            let headers =
                [("Host", &own[7..]), ("Cookie", &cookie), ("Origin", &own), ("Content-Type", "application/x-www-form-urlencoded")];
            both.wait();
            visitor.ask("POST", &retry, &headers, &body).status
        };
        let started = [scope.spawn(one), scope.spawn(one)];
        started.map(|thread| thread.join().unwrap()).into()
    });
    assert!(statuses.contains(&303) && statuses.contains(&409), "{statuses:?}");
    assert_eq!(rig.runs().len(), 2);
    rig.once();
    assert_eq!((need(&rig, &run), rig.points("C-2")), (2, 20.0));
    // Once more, nothing is left of them; by another choice they are not tried again either.
    for choice in ["", "platform-refused"] {
        anna.post(&retry, &[("reason", "again"), ("choice", choice)]).is(409);
    }
    rig.run(&["retry", &run, "--line", "2"]).exits(66).says("taken up");
    assert_eq!(need(&rig, &run), 2);
    anna.get("/").is(200).says("Rows that need somebody");
    let rows = anna.get(&format!("/runs/{run}/rows")).is(200).body;
    assert_eq!(rows.matches("<th scope=\"row\" class=\"num\">").count(), 2, "{rows}");
    // A correction of one leaves the other, however often it is sent.
    let all = fields(&anna.get(&format!("/runs/{run}/fix")).is(200).says("rejected (2)").says("refused (0)").body);
    for _ in 0..2 {
        send(&anna, &run, &[changed(&all, "C-3", 1, "30")]).is(200);
    }
    assert_eq!(corrections(&rig).len(), 2);
    rig.once();
    assert_eq!((need(&rig, &run), rig.points("C-3")), (1, 30.0));
    let body = anna.get(&format!("/runs/{run}/fix")).is(200).says("rejected (1)").body;
    assert!(!body.contains("value=\"C-3\"") && body.contains("value=\"C-4\""), "{body}");
    send(&anna, &run, &[changed(&all, "C-3", 1, "40")]).is(409);
    check_promises(&rig);
}

#[test]
fn a_decision_that_waits_is_shown_and_no_other_is_taken() {
    let rig = reviewed(movements().platform("read_back", "\"nothing\"").faults(only(vec![lost_once("C-1", false)])), "");
    rig.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\n");
    rig.once().exits(1);
    let run = rig.run_of("a.csv").id;
    let key = rig.ledger().keys_of(&run, KeyState::InDoubt).unwrap()[0].key.to_string();
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let settle = format!("/settle/{key}");
    // Nothing is chosen before somebody chooses.
    let asked = anna.get(&settle).is(200).says("pass C-1").says("required><option value=\"\" selected>").body;
    assert_eq!(asked.matches(" selected>").count(), 1, "{asked}");
    anna.post(&settle, &[("reason", "x"), ("choice", "")]).is(400).says("Say what is so");
    anna.post(&settle, &[("reason", "the portal shows nothing"), ("choice", "resend")]).is(303);
    anna.post(&settle, &[("reason", "it does after all"), ("choice", "applied")]).is(409).says("the portal shows nothing");
    anna.get(&settle).is(409).says("not yet carried out");
    rig.run(&["settle", &key, "applied", "--reason", "x"]).says("settled resend by anna");
    assert_eq!(rig.ledger().to_settle().unwrap().len(), 1);
    let rows = anna.get(&format!("/runs/{run}/rows")).is(200).says("not yet carried out").body;
    let row = rows.split(&format!("/runs/{run}/rows/")).nth(1).unwrap().split('"').next().unwrap();
    let story = anna.get(&format!("/runs/{run}/rows/{row}")).is(200).says("the portal shows nothing").body;
    assert!(!story.contains("href=\"/settle/"), "{story}");
    rig.once().exits(0);
    assert_eq!(rig.points("C-1"), 50.0, "{}", rig.said());
    check_promises(&rig);
}

#[test]
fn what_is_in_doubt_is_told_however_much_came_since() {
    let rig = reviewed(movements().platform("read_back", "\"nothing\"").faults(only(vec![lost_once("C-1", false)])), "");
    rig.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\n");
    rig.once().exits(1);
    for n in 0..52 {
        rig.deliver(format!("b{n:02}.csv"), format!("txn,id,move,points\nU-{n},C-2,earn,1\n"));
    }
    rig.once();
    assert_eq!(rig.runs().len(), 53, "{}", rig.said());
    let _page = rig.page();
    rig.logged_in(APPROVER).get("/").is(200).says("Rows in doubt").says("a.csv");
    check_promises(&rig);
}

#[test]
fn nothing_waits_for_anybody_only_where_nothing_does() {
    const QUIET: &str = "Nothing waits for anybody";
    let rig = reviewed(folder().points_only(), "");
    rig.deliver("a.csv", "id,points\nC-1,1\n");
    rig.once().exits(0);
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    anna.get("/").is(200).says(QUIET);
    anna.post("/feeds/points/pause", &[("reason", "maintenance until noon")]).is(303);
    let overview = anna.get("/").is(200).says("maintenance until noon").body;
    assert!(!overview.contains(QUIET), "a feed is paused: {overview}");
    let status = rig.told(&["status", "--json"]);
    assert_eq!(status["feeds"][0]["paused_reason"], "maintenance until noon");
    rig.run(&["resume", "points", "--reason", "it is noon"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    anna.get("/").is(200).says(QUIET).says("it is noon");
    let status = rig.told(&["status", "--json"]);
    assert_eq!((status["feeds"][0]["resumed"]["reason"].as_str(), status["feeds"][0].get("paused_by")), (Some("it is noon"), None));
    rig.ledger().note_source("port", Some("the server is away")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert!(!anna.get("/").is(200).says("the server is away").body.contains(QUIET));
    rig.ledger().note_source("port", None).unwrap();
    check_promises(&rig);
}

#[test]
fn who_decides_about_a_held_file_sees_what_it_would_do() {
    let rig = reviewed(movements().platform("allowance", "\"2/s\"").feed("guard.first_file", "true"), "");
    rig.deliver("a.csv", "txn,id,move,points\nT-1,C-1,earn,50\nT-2,C-2,earn,5\nT-3,C-3,burn,1\n");
    rig.once().exits(1);
    let run = rig.run_of("a.csv").id;
    let _page = rig.page();
    let anna = rig.logged_in(APPROVER);
    let page =
        anna.get(&format!("/runs/{run}")).is(200).says("rows earn").says("rows burn").says("at 2 requests a second").says("Reports").body;
    for kind in ["errors.csv", "problems.csv", "report.html", "report.json"] {
        assert!(page.contains(&format!("/runs/{run}/reports/{kind}")), "{kind}: {page}");
        anna.get(&format!("/runs/{run}/reports/{kind}")).is(200);
    }
    assert!(!page.contains("errors.xlsx"));
    anna.get(&format!("/runs/{run}/approve")).is(200).says("2 rows earn").says("at 2 requests a second");
    assert_eq!(rig.told(&["show", &run, "--json"])["pace"]["requests_per_second"], 2.0);
    check_promises(&rig);
}
