//! Table 4.4 of the failure model for rows that add: every fault at one call, a platform that helps to find out, and one that does not.

use std::collections::{BTreeMap, BTreeSet};

use passferry::ledger::State;
use passferry::sandbox::{BY_ANOTHER, Faults, Issue, Rule, Trouble};
use serde_json::json;

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "tx", "type": "string", "constraints": { "required": true } },
    { "name": "move", "type": "string" },
    { "name": "points", "type": "integer", "constraints": { "minimum": 0 } },
    { "name": "message", "type": "string" }
  ]
}
"#;

/// A feed of movements of points. Lost answers are looked for a second later.
fn movements(read_back: &str) -> Plan {
    let plan = harbour().points_only().schema(SCHEMA).feed("content", "\"delta\"").feed("add.transaction_id", "\"tx\"");
    plan.feed("operation", "{ column = \"move\", words = { earn = \"earn\", burn = \"burn\", tell = \"update\" } }")
        .platform("settling", "\"1s\"")
        .platform("read_back", &format!("{read_back:?}"))
}

/// One movement a pass: odd ones earn and even ones burn, by their number.
fn file(day: &str, passes: std::ops::RangeInclusive<u32>) -> String {
    let row = |n: u32| format!("C-{n},{day}-{n},{},{n}\n", if n % 2 == 1 { "earn" } else { "burn" });
    format!("id,tx,move,points\n{}", passes.map(row).collect::<String>())
}

/// Members `C-1` to `C-n` with a thousand points each.
fn rich(plan: Plan, members: u32) -> Harbour {
    let harbour = plan.members(0).start();
    let issue = |n| Issue { external_id: format!("C-{n}"), points: 1000.0, ..Issue::default() };
    harbour.sandbox.issue((1..=members).map(issue)).unwrap();
    harbour
}

/// Every way to lose an answer; the last are of those that came to nothing.
fn losses() -> Vec<Trouble> {
    let status = |code| Trouble::Status { code, message: None };
    vec![
        Trouble::DropAfter,
        Trouble::ApplyLater { ms: 400 },
        Trouble::AnswerLate { ms: 2500 },
        Trouble::TruncatedBody,
        Trouble::EmptyBody,
        Trouble::WrongJson,
        Trouble::DuplicateKeys,
        Trouble::DeepNesting { depth: 1000 },
        Trouble::HtmlAfter,
        Trouble::OtherId,
        Trouble::HugeBody { bytes: 1 << 30, gzip: true },
        Trouble::answer(207, "[]"),
        Trouble::answer(500, "{}"),
        Trouble::answer(504, "{}"),
        Trouble::DropBefore,
        Trouble::HtmlOk,
        Trouble::BadGatewayHtml,
        status(500),
        status(502),
        status(503),
        status(504),
        status(408),
        status(425),
        status(409),
    ]
}

/// How many of [`losses`] are applied all the same.
const APPLIED_LOSSES: u32 = 14;

/// The first passes meet one loss each.
fn lose(harbour: &Harbour) -> u32 {
    let losses = losses();
    for (n, trouble) in (1..).zip(&losses) {
        harbour.sandbox.faults().add(Rule::new(trouble.clone()).path("/points/").id(&format!("C-{n}")).next(1));
    }
    losses.len() as u32
}

/// Rows and effects agree: one for a row that is told as applied, none for one refused, one at most for one in doubt. Answers those in
/// doubt.
#[track_caller]
fn effects_agree(harbour: &Harbour, stem: &str, passes: u32) -> BTreeSet<String> {
    assert_eq!(harbour.sandbox.double_effects(), [], "{}", harbour.said());
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for effect in harbour.sandbox.effects().into_iter().filter(passferry::sandbox::Effect::is_add) {
        *times.entry(effect.external_id).or_default() += effect.times;
    }
    let clean = harbour.report(stem)["rows"] == json!({ "applied": passes });
    let lines = if clean { Vec::new() } else { harbour.errors(stem) };
    let told: BTreeMap<&str, &str> = lines.iter().map(|line| (line["id"].as_str(), line["_outcome"].as_str())).collect();
    for n in 1..=passes {
        let id = format!("C-{n}");
        let times = times.get(&id).copied().unwrap_or_default();
        match told.get(id.as_str()) {
            None => assert_eq!(times, 1, "{id} is told as applied\n{}", harbour.said()),
            Some(&"in-doubt") => assert!(times <= 1, "{id}"),
            Some(other) => assert_eq!(times, 0, "{id} is told as {other}"),
        }
    }
    told.into_iter().filter(|(_, outcome)| *outcome == "in-doubt").map(|(id, _)| id.to_owned()).collect()
}

/// D1. D5. D6. D16. D18. D19. Where the list of events proves both ways, nothing stays in doubt and nothing happens twice.
#[test]
fn every_lost_answer_of_an_add_is_found_out_where_events_prove_it() {
    let harbour = rich(movements("events").platform("timeout", "\"1s\""), 60);
    let lost = lose(&harbour);
    harbour.deliver("points.csv", file("monday", 1..=60));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 60 }), "{lost} answers were lost\n{}", harbour.said());
    assert!(effects_agree(&harbour, "points", 60).is_empty());
    assert_eq!((harbour.points("C-59"), harbour.points("C-60")), (1059.0, 940.0));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D1. D5. D18. D19. With what PassKit promises, an event proves and its absence does not: those that came to nothing wait for a person,
/// and none is sent again.
#[test]
fn a_lost_add_without_a_trace_waits_for_a_person_and_is_never_sent_again() {
    let harbour = rich(movements("presence").platform("timeout", "\"1s\""), 60);
    let lost = lose(&harbour);
    harbour.deliver("points.csv", file("monday", 1..=60));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("points.csv"), Some(State::DoneInDoubt));
    let doubtful = effects_agree(&harbour, "points", 60);
    assert_eq!(doubtful, (APPLIED_LOSSES + 1..=lost).map(|n| format!("C-{n}")).collect());
    assert!(harbour.writes_by_pass().values().all(|&times| times == 1), "{:?}", harbour.writes_by_pass());
    // Nor when the same transactions come again, in whatever file.
    harbour.sandbox.faults().clear();
    harbour.deliver("again.csv", format!("{}C-60,tuesday-60,burn,1\n", file("monday", 1..=60)));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.double_effects(), []);
    assert_eq!(harbour.writes_by_pass()["C-60"], 2, "the one that is new");
    assert_eq!(harbour.writes().len(), 61);
    check_promises(&harbour);
}

/// Section 6, negative control: a platform that lacks a help leaves rows in doubt, and still nothing happens twice.
fn unhelpful(read_back: &str, more: impl FnOnce(&mut Faults)) {
    let harbour = rich(movements(read_back).platform("timeout", "\"1s\""), 40);
    let mut faults = Faults::default();
    more(&mut faults);
    harbour.sandbox.faults().set(faults);
    let lost = lose(&harbour);
    harbour.deliver("points.csv", file("monday", 1..=40));
    harbour.once().exits(1);
    let doubtful = effects_agree(&harbour, "points", 40);
    assert_eq!(doubtful, (1..=lost).map(|n| format!("C-{n}")).collect(), "all that was lost is in doubt");
    assert!(harbour.writes_by_pass().values().all(|&times| times == 1));
    for line in harbour.errors("points") {
        assert!(!line["_key"].is_empty() && !line["_problems"].is_empty(), "{line:?}");
    }
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D1. D5.
#[test]
fn without_recorded_events_every_lost_add_is_in_doubt_and_none_happens_twice() {
    unhelpful("presence", |faults| faults.no_events = true);
}

/// D1. D5.
#[test]
fn without_our_identifiers_on_events_every_lost_add_is_in_doubt_and_none_happens_twice() {
    unhelpful("presence", |faults| faults.no_event_ids = true);
}

/// D1. D5.
#[test]
fn without_a_list_of_events_every_lost_add_is_in_doubt_and_none_happens_twice() {
    unhelpful("events", |faults| faults.event_lists = Some(404));
    unhelpful("events", |faults| faults.event_lists = Some(501));
}

/// D1. D5.
#[test]
fn where_nothing_may_be_asked_every_lost_add_is_in_doubt_and_none_happens_twice() {
    unhelpful("nothing", |faults| faults.no_balances = true);
}

/// D1. D5. Others move balances all the time, and say nothing of it.
#[test]
fn other_writers_make_no_add_happen_twice() {
    let harbour = rich(movements("presence").platform("timeout", "\"1s\""), 40);
    harbour.sandbox.faults().add(Rule::new(Trouble::OtherWriter { most: 50 }).path("/points/"));
    let lost = lose(&harbour);
    harbour.deliver("points.csv", file("monday", 1..=40));
    harbour.once().exits(1);
    assert_eq!(effects_agree(&harbour, "points", 40).len() as u32, lost - APPLIED_LOSSES);
    assert!(harbour.sandbox.effects().iter().any(|effect| effect.route == BY_ANOTHER));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D1. D5. Balances prove both ways where nobody else moves them, even if the platform records no event.
#[test]
fn balances_prove_every_lost_add_of_a_sole_writer() {
    let harbour = rich(movements("balance").platform("sole_writer", "true").platform("timeout", "\"1s\""), 40);
    harbour.sandbox.faults().set(Faults { no_events: true, ..Faults::default() });
    lose(&harbour);
    harbour.deliver("points.csv", file("monday", 1..=40));
    harbour.once().exits(0);
    assert!(effects_agree(&harbour, "points", 40).is_empty());
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D22. The first look finds nothing because reads lag behind writes; the second finds it, and nothing is sent again.
#[test]
fn an_add_that_shows_late_is_looked_for_twice_before_it_counts_as_not_applied() {
    for read_back in ["events", "balance"] {
        let harbour = rich(movements(read_back).platform("sole_writer", "true"), 6);
        harbour.sandbox.faults().set(Faults { events_lag_ms: 1120, members_lag_ms: 1120, ..Faults::default() });
        for n in [1, 2, 3] {
            harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).path("/points/").id(&format!("C-{n}")).next(1));
        }
        harbour.deliver("points.csv", file("monday", 1..=6));
        harbour.once().exits(0);
        assert!(effects_agree(&harbour, "points", 6).is_empty());
        assert_eq!(harbour.writes().len(), 6, "{read_back}: nothing was sent again");
        harbour.sandbox.faults().clear();
        check_promises(&harbour);
    }
}

/// D2. What never arrives is sent once more when that is proved, and then told as refused; nothing came of it.
#[test]
fn an_add_that_never_arrives_is_refused_after_its_second_time() {
    let harbour = rich(movements("events"), 9);
    harbour.sandbox.faults().add(Rule::new(Trouble::DropBefore).path("/points/").id("C-3"));
    harbour.deliver("points.csv", file("monday", 1..=9));
    harbour.once().exits(1);
    let errors = harbour.errors("points");
    assert_eq!((errors.len(), errors[0]["id"].as_str(), errors[0]["_codes"].as_str()), (1, "C-3", "retries-exhausted"));
    assert!(effects_agree(&harbour, "points", 9).is_empty());
    assert_eq!(harbour.writes_by_pass()["C-3"], 2);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D1. The list begins with the oldest, and its pages are as short as the platform likes: only all of it proves anything.
#[test]
fn an_event_behind_many_others_is_found_however_short_the_pages_are() {
    let harbour = rich(movements("events"), 2);
    let many: String = (0..60).map(|n| format!("C-1,old-{n},earn,1\nC-2,old2-{n},earn,1\n")).collect();
    harbour.deliver("old.csv", format!("id,tx,move,points\n{many}"));
    harbour.once().exits(0);
    harbour.sandbox.faults().set(Faults { page_max: Some(7), ..Faults::default() });
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).path("/points/").id("C-1").next(1));
    harbour.sandbox.faults().add(Rule::new(Trouble::DropBefore).path("/points/").id("C-2").next(1));
    harbour.deliver("new.csv", "id,tx,move,points\nC-1,new-1,earn,500\nC-2,new-2,earn,500\n");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1560.0, 1560.0));
    assert_eq!(harbour.sandbox.double_effects(), []);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D3. D9. What is refused before anything is done is sent again without any doubt.
#[test]
fn an_add_that_is_turned_away_at_the_door_is_sent_again_without_a_doubt() {
    let harbour = rich(movements("nothing"), 9);
    let troubles = [
        Trouble::TooMany { retry_after: None },
        Trouble::TooMany { retry_after: Some("1".into()) },
        Trouble::Status { code: 401, message: None },
    ];
    for (n, trouble) in (1..).zip(troubles) {
        harbour.sandbox.faults().add(Rule::new(trouble).path("/points/").id(&format!("C-{n}")).next(1));
    }
    harbour.deliver("points.csv", file("monday", 1..=9));
    harbour.once().exits(0);
    assert!(effects_agree(&harbour, "points", 9).is_empty());
    assert_eq!(harbour.writes().len(), 12);
    check_promises(&harbour);
}

/// D10. D11. D13. D15.
#[test]
fn an_add_that_the_platform_refuses_comes_back_with_its_reason_and_no_effect() {
    let harbour = rich(movements("nothing"), 9);
    for (n, code) in (1..).zip([400, 403, 404, 410, 413, 422]) {
        let trouble = Trouble::Status { code, message: Some(format!("no, says {code}")) };
        harbour.sandbox.faults().add(Rule::new(trouble).path("/points/").id(&format!("C-{n}")));
    }
    harbour.deliver("points.csv", file("monday", 1..=9));
    harbour.once().exits(1);
    assert!(effects_agree(&harbour, "points", 9).is_empty());
    let told: Vec<String> = harbour.errors("points").iter().map(|line| line["_outcome"].clone()).collect();
    assert_eq!(told, ["refused", "refused", "unresolved", "unresolved", "refused", "refused"]);
    assert_eq!(harbour.writes().len(), 9);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D10. A key that may not write leaves no add refused and none in doubt.
#[test]
fn adds_that_are_all_answered_with_403_wait_and_none_is_in_doubt() {
    let harbour = rich(movements("nothing"), 30);
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("no right to write".into()) }).path("/points/"));
    harbour.deliver("points.csv", file("monday", 1..=30));
    harbour.run(&["once", "--patience", "1500ms"]).exits(75).says("PassKit refuses every request");
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert!(effects_agree(&harbour, "points", 30).is_empty());
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 30 }));
    check_promises(&harbour);
}

/// D17. An add that is redirected is not followed; it waits until the platform is itself again, and is looked for before it is sent.
#[test]
fn a_redirected_add_is_sent_once_when_the_platform_is_itself_again() {
    let elsewhere = passferry::sandbox::Sandbox::start(passferry::sandbox::Settings::default()).unwrap();
    let harbour = rich(movements("events"), 9);
    harbour.sandbox.faults().add(Rule::new(Trouble::redirect(&elsewhere.base_url())));
    harbour.deliver("points.csv", file("monday", 1..=9));
    harbour.run(&["once", "--patience", "1500ms"]).exits(75).says("it redirects to");
    harbour.sandbox.faults().clear();
    harbour.once().exits(0);
    assert!(effects_agree(&harbour, "points", 9).is_empty());
    assert_eq!(elsewhere.requests().total(), 0);
    check_promises(&harbour);
}

/// D24. A notification is an add: what a holder's phone shows, it shows once.
#[test]
fn a_notification_whose_answer_is_lost_is_shown_once() {
    let plan = movements("presence").feed("notify.message", "\"message\"").feed("notify.field", "\"metaData.news\"");
    let harbour = rich(plan.feed("notify.kind", "\"transactional\"").platform("timeout", "\"1s\""), 9);
    let late = Trouble::AnswerLate { ms: 2500 };
    for (n, trouble) in (1..).zip([Trouble::DropAfter, Trouble::HtmlAfter, late, Trouble::ApplyLater { ms: 300 }, Trouble::DropBefore]) {
        harbour.sandbox.faults().add(Rule::new(trouble).method("PUT").id(&format!("C-{n}")).next(1));
    }
    let rows: String = (1..=9).map(|n| format!("C-{n},n-{n},tell,,Hello {n}\n")).collect();
    let told = format!("id,tx,move,points,message\n{rows}");
    harbour.deliver("news.csv", &told);
    harbour.once().exits(1);
    for n in [1, 2, 3, 4, 6, 7, 8, 9] {
        assert_eq!(harbour.sandbox.alerts(&format!("C-{n}"), "news"), [format!("Hello {n}")], "{}", harbour.said());
    }
    let errors = harbour.errors("news");
    assert_eq!((errors.len(), errors[0]["id"].as_str(), errors[0]["_outcome"].as_str()), (1, "C-5", "in-doubt"), "{errors:?}");
    assert_eq!(harbour.writes().len(), 9);
    // Another export with the same notifications tells nobody twice.
    harbour.deliver("news-again.csv", format!("{told}C-9,n-10,tell,,Bye\n"));
    harbour.once().exits(1);
    assert_eq!(harbour.sandbox.alerts("C-9", "news"), ["Hello 9", "Bye"]);
    assert_eq!(harbour.sandbox.alerts("C-1", "news").len(), 1);
    check_promises(&harbour);
}
