//! Table 4.4 of the failure model: answers that are errors, and answers that only look like success.

use passferry::ledger::State;
use passferry::sandbox::{Faults, Issue, Rule, Trouble};
use serde_json::json;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, harbour};
use crate::rig::promises::check_promises;

fn status(code: u16) -> Trouble {
    Trouble::Status { code, message: None }
}

/// Nine rows of which C-3 meets this trouble for ever. Answers the line of the error report about it.
fn refused_alone(harbour: &Harbour, stem: &str, points: u32, trouble: &Trouble) -> std::collections::BTreeMap<String, String> {
    harbour.sandbox.faults().clear();
    harbour.sandbox.faults().add(Rule::new(trouble.clone()).method("PUT").id("C-3"));
    harbour.deliver(format!("{stem}.csv"), snapshot(1..=9, points));
    harbour.once().exits(1);
    let errors = harbour.errors(stem);
    assert_eq!(errors.len(), 1, "{trouble:?}: {errors:?}");
    assert_eq!(errors[0]["id"], "C-3");
    assert_eq!(harbour.report(stem)["rows"]["applied"], 8, "{trouble:?}");
    errors[0].clone()
}

/// D15. D13.
#[test]
fn a_row_that_the_platform_refuses_comes_back_with_its_reason_after_one_try() {
    let harbour = harbour().points_only().start();
    for (index, (code, outcome, codes)) in [
        (400, "refused", "update-rejected"),
        (413, "refused", "value-too-large"),
        (415, "refused", "update-rejected"),
        (422, "refused", "update-rejected"),
        (403, "refused", "update-rejected"),
        (404, "unresolved", "pass-not-found"),
        (410, "unresolved", "pass-gone"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = harbour.writes_by_pass().get("C-3").copied().unwrap_or_default();
        let line = refused_alone(&harbour, &format!("f{code}"), 100 * (index as u32 + 1), &status(code));
        assert_eq!((line["_outcome"].as_str(), line["_codes"].as_str()), (outcome, codes), "{code}: {line:?}");
        assert_eq!(harbour.writes_by_pass()["C-3"] - before, 1, "{code} is final");
    }
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D15. The platform's words are cut and cleaned before anybody reads them in a spreadsheet or a terminal.
#[test]
fn the_platforms_words_are_cut_and_cleaned() {
    let harbour = harbour().points_only().start();
    let words = format!("=cmd|'/c calc'!A1\u{1b}[31m\r\n\u{0}{}THE-END", "x".repeat(400));
    let line = refused_alone(&harbour, "words", 10, &Trouble::Status { code: 422, message: Some(words) });
    let told = &line["_problems"];
    assert!(told.contains("cmd|'/c calc'!A1") && !told.contains("THE-END"), "{told}");
    assert!(!told.chars().any(char::is_control) && !told.starts_with('='), "{told:?}");
    assert!(told.chars().filter(|&c| c == 'x').count() < 300);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D12. D14. D23. Somebody changes the pass between our reading and our writing, and the platform notices: both changes stand.
#[test]
fn a_clash_of_versions_is_read_again_and_written_over_what_the_other_wrote() {
    let harbour = harbour().feed("fields.points", "").feed("fields.\"person.emailAddress\"", "").start();
    for (index, code) in [409, 412, 428].into_iter().enumerate() {
        let clash = Trouble::VersionClash { code, key: "desk".into(), value: format!("desk-{code}") };
        harbour.sandbox.faults().add(Rule::new(clash).method("PUT").id("C-1").next(2));
        harbour.deliver(format!("f{code}.csv"), format!("id,tier\nC-1,gold-{index}\nC-2,silver-{index}\n"));
        harbour.once().exits(0);
        let meta = harbour.sandbox.member("C-1").unwrap()["metaData"].clone();
        assert_eq!(meta, json!({ "desk": format!("desk-{code}"), "tier": format!("gold-{index}") }));
    }
    check_promises(&harbour);
}

/// D12. D14.
#[test]
fn a_clash_that_never_ends_is_a_conflict_after_three_tries() {
    let harbour = harbour().points_only().start();
    for (index, code) in [409, 412, 428].into_iter().enumerate() {
        let before = harbour.writes_by_pass().get("C-3").copied().unwrap_or_default();
        let line = refused_alone(&harbour, &format!("f{code}"), 100 * (index as u32 + 1), &status(code));
        assert_eq!((line["_outcome"].as_str(), line["_codes"].as_str()), ("refused", "conflict"), "{line:?}");
        assert_eq!(harbour.writes_by_pass()["C-3"] - before, 3);
    }
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D16. D2.
#[test]
fn a_request_that_came_to_nothing_is_sent_again() {
    let harbour = harbour().points_only().start();
    for (n, trouble) in [status(408), status(425), status(500), status(502), status(504), Trouble::DropBefore].into_iter().enumerate() {
        harbour.sandbox.faults().add(Rule::new(trouble).method("PUT").id(&format!("C-{}", n + 1)).next(2));
    }
    harbour.deliver("points.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 9 }));
    assert_eq!(harbour.writes_by_pass()["C-6"], 3);
    check_promises(&harbour);
}

/// D2. Tries end, and the row is told of: it is neither lost nor in the way of others.
#[test]
fn a_row_whose_requests_all_come_to_nothing_is_refused_as_retries_exhausted() {
    let harbour = harbour().points_only().platform("tries", "3").platform("timeout", "\"1s\"").start();
    for (stem, trouble) in [("dropped", Trouble::DropBefore), ("late", Trouble::AnswerLate { ms: 3000 })] {
        let before = harbour.writes_by_pass().get("C-3").copied().unwrap_or_default();
        let line = refused_alone(&harbour, stem, before as u32 * 10 + 10, &trouble);
        assert_eq!((line["_codes"].as_str(), line["_retryable"].as_str()), ("retries-exhausted", "yes"), "{line:?}");
        assert_eq!(harbour.writes_by_pass()["C-3"] - before, 3);
    }
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D18. D1. An answer that proves nothing is never counted: it is asked for again, and a row that gets no other is refused and known as
/// unknown, so that the next file sends it whatever it says.
fn never_counted(trouble: &Trouble, code: &str) {
    let harbour = harbour().points_only().platform("tries", "2").start();
    for pass in ["C-1", "C-2"] {
        harbour.sandbox.faults().add(Rule::new(trouble.clone()).method("PUT").id(pass).next(1));
    }
    harbour.sandbox.faults().add(Rule::new(trouble.clone()).method("PUT").id("C-7"));
    harbour.deliver("monday.csv", snapshot(1..=9, 10));
    harbour.once().exits(1);
    assert_eq!(harbour.report("monday")["rows"], json!({ "applied": 8, "refused": 1 }), "{trouble:?}");
    let errors = harbour.errors("monday");
    assert_eq!((errors[0]["id"].as_str(), errors[0]["_codes"].as_str()), ("C-7", code), "{trouble:?}: {errors:?}");
    harbour.sandbox.faults().clear();
    let before = harbour.writes_by_pass();
    harbour.deliver("tuesday.csv", snapshot(1..=9, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("tuesday")["rows"], json!({ "applied": 1, "unchanged": 8 }), "{trouble:?}");
    assert_eq!(harbour.writes_by_pass()["C-7"] - before["C-7"], 1);
    check_promises(&harbour);
}

/// D18.
#[test]
fn a_web_page_with_status_200_counts_for_nothing() {
    never_counted(&Trouble::HtmlAfter, "answer-unreadable");
}

/// D18.
#[test]
fn an_empty_answer_with_status_200_counts_for_nothing() {
    never_counted(&Trouble::EmptyBody, "answer-unreadable");
}

/// D18.
#[test]
fn half_an_answer_with_status_200_counts_for_nothing() {
    never_counted(&Trouble::TruncatedBody, "retries-exhausted");
}

/// D18.
#[test]
fn json_of_another_shape_counts_for_nothing() {
    never_counted(&Trouble::WrongJson, "answer-unreadable");
    never_counted(&Trouble::answer(200, "{\"id\":{\"id\":\"{id}\"}}"), "answer-unreadable");
}

/// D18.
#[test]
fn an_answer_that_names_two_passes_counts_for_nothing() {
    never_counted(&Trouble::DuplicateKeys, "answer-unreadable");
}

/// D18.
#[test]
fn an_answer_nested_without_end_counts_for_nothing() {
    never_counted(&Trouble::DeepNesting { depth: 100_000 }, "answer-unreadable");
}

/// D18.
#[test]
fn an_answer_that_goes_on_after_its_end_counts_for_nothing() {
    never_counted(&Trouble::answer(200, "{\"id\":\"{id}\"}{\"id\":\"{id}\"}"), "answer-unreadable");
}

/// D19.
#[test]
fn an_answer_about_another_pass_counts_for_nothing() {
    never_counted(&Trouble::OtherId, "answer-unreadable");
}

/// D7. 207 is no success of a call that is about one pass; its parts may say anything.
#[test]
fn an_answer_that_is_a_list_of_parts_counts_for_nothing() {
    never_counted(&Trouble::answer(207, "[{\"id\":\"{id}\",\"status\":200},{\"id\":\"x\",\"status\":500}]"), "answer-unreadable");
}

/// D1. The second answer on the wire is not taken for that of the next request.
#[test]
fn an_answer_that_comes_twice_is_taken_once() {
    let harbour = harbour().points_only().members(60).platform("in_flight", "2").start();
    harbour.sandbox.faults().add(Rule::new(Trouble::AnswerTwice).method("PUT").share(0.3));
    harbour.deliver("points.csv", snapshot(1..=60, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 60 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D1. What was dropped is applied a while later, when its repeat was applied already.
#[test]
fn changes_that_are_applied_late_and_twice_leave_what_the_file_says() {
    let harbour = harbour().points_only().members(60).start();
    harbour.sandbox.faults().add(Rule::new(Trouble::ApplyLater { ms: 150 }).method("PUT").share(0.2));
    harbour.deliver("points.csv", snapshot(1..=60, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 60 }));
    harbour.sandbox.faults().clear();
    std::thread::sleep(std::time::Duration::from_millis(300));
    check_promises(&harbour);
}

/// D1.
#[test]
fn a_platform_that_drops_one_answer_in_twenty_after_applying_ends_as_the_file_says() {
    let harbour = harbour().points_only().members(200).start();
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).share(0.05));
    harbour.deliver("points.csv", snapshot(1..=200, 10));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 200 }));
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D7. Passes are matched to rows by what they are, never by where they stand in a list.
#[test]
fn a_list_that_leaves_out_repeats_and_adds_gives_every_row_its_own_pass() {
    let mixed = |without_every, twice, reversed, extra| Trouble::MixedList { without_every, twice, reversed, extra };
    let harbour = harbour().members(30).start();
    for (n, trouble) in [mixed(3, false, false, false), mixed(0, true, true, false), mixed(2, true, true, true)].into_iter().enumerate() {
        harbour.sandbox.faults().clear();
        harbour.sandbox.faults().add(Rule::new(trouble).path("/member/list"));
        let rows: String = (1..=29).map(|pass| format!("C-{pass},{},tier {pass}-{n}\n", pass * 10 + n)).collect();
        harbour.deliver(format!("f{n}.csv"), format!("id,points,tier\n{rows}"));
        harbour.once().exits(0);
        assert_eq!(harbour.report(&format!("f{n}"))["rows"], json!({ "applied": 29 }));
        assert_eq!(harbour.sandbox.member("C-17").unwrap()["metaData"]["tier"], format!("tier 17-{n}"));
    }
    assert_eq!(harbour.points("C-30"), 0.0, "the pass that nobody asked for");
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D8. PassKit writes one pass a request, so what can be refused as a whole is a lookup: each of its rows is then looked up by itself.
#[test]
fn a_lookup_that_is_refused_as_a_whole_refuses_no_row() {
    for code in [400, 403, 404, 413, 501] {
        let harbour = harbour().members(20).start();
        harbour.sandbox.faults().add(Rule::new(status(code)).path("/member/list"));
        let rows: String = (1..=20).map(|pass| format!("C-{pass},{pass},gold\n")).collect();
        harbour.deliver("points.csv", format!("id,points,tier\n{rows}C-21,1,gold\n"));
        harbour.once().exits(1);
        assert_eq!(harbour.report("points")["rows"], json!({ "applied": 20, "unresolved": 1 }), "{code}");
        harbour.sandbox.faults().clear();
        check_promises(&harbour);
    }
}

/// D7. A listing that breaks off, by an error line or in mid-line, is no listing.
#[test]
fn a_list_that_breaks_off_refuses_no_row() {
    let harbour = harbour().members(20).start();
    for trouble in [Trouble::ListError { rows: 7 }, Trouble::ListCut { rows: 7 }] {
        harbour.sandbox.faults().add(Rule::new(trouble).path("/member/list").next(2));
    }
    let rows: String = (1..=20).map(|pass| format!("C-{pass},{pass},gold\n")).collect();
    harbour.deliver("points.csv", format!("id,points,tier\n{rows}"));
    harbour.once().exits(0);
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 20 }));
    check_promises(&harbour);
}

/// D11. Nobody is issued who was not asked for.
#[test]
fn a_pass_that_is_not_there_is_told_and_never_made() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points,tier\nC-1,5,gold\nC-404,5,gold\n");
    harbour.once().exits(1);
    let errors = harbour.errors("points");
    assert_eq!((errors[0]["id"].as_str(), errors[0]["_codes"].as_str()), ("C-404", "pass-not-found"));
    assert_eq!(harbour.sandbox.members(), 9);
    assert!(harbour.sandbox.requests().select(|entry| entry.method == "POST" && entry.path == "/members/member").is_empty());
    check_promises(&harbour);
}

/// D11.
#[test]
fn many_missing_passes_among_the_first_rows_stop_the_run_for_somebody_to_look() {
    let harbour = harbour().points_only().members(100).unmodelled().platform("allowance", "\"500/s\"").start();
    harbour.deliver("points.csv", snapshot(1..=1000, 10));
    harbour.once().exits(1);
    let run = harbour.run_of("points.csv");
    assert_eq!(run.state, State::Held);
    assert!(run.detail.verdicts[0].evidence.contains("right programme"), "{:?}", run.detail.verdicts);
    assert!(harbour.writes().len() < 500, "{}", harbour.writes().len());
    check_promises(&harbour);
}

/// D22. A pass that was just issued and does not show yet is looked for again before anybody calls it a conflict.
#[test]
fn a_new_pass_that_shows_late_is_waited_for() {
    let plan = harbour().feed("operation", "\"upsert\"").feed("guard.created", "false").platform("tier", "\"base\"");
    let harbour = plan.faults(Faults { members_lag_ms: 900, ..Faults::default() }).start();
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).method("POST").id("C-101").next(1));
    harbour.deliver("points.csv", "id,points,tier\nC-101,5,gold\nC-102,6,gold\n");
    harbour.once().exits(0);
    assert_eq!(harbour.sandbox.members(), 11);
    assert_eq!(harbour.points("C-101"), 5.0);
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}

/// D23. Other writers are at work all the time; what is not ours keeps the value that they gave it.
#[test]
fn fields_that_are_not_ours_keep_what_a_concurrent_writer_gives_them() {
    let harbour = harbour().feed("fields.points", "").start();
    let issue = |n| {
        let mut issue = Issue { external_id: format!("P-{n}"), points: 100.0, ..Issue::default() };
        issue.meta_data.insert("store".into(), "12".into());
        issue.person.insert("forename".into(), "Ada".into());
        issue
    };
    harbour.sandbox.issue((1..=20).map(issue)).unwrap();
    // Whether a person is merged or replaced is not known of the platform; the worse is assumed.
    harbour.sandbox.faults().set(Faults { replace_person: true, ..Faults::default() });
    harbour.sandbox.faults().add(Rule::new(Trouble::OtherWriter { most: 9 }));
    for day in ["monday", "tuesday"] {
        let rows: String = (1..=20).map(|n| format!("P-{n},{day},p{n}@{day}.example.com\n")).collect();
        harbour.deliver(format!("{day}.csv"), format!("id,tier,email\n{rows}"));
        harbour.once().exits(0);
    }
    for n in 1..=20 {
        let id = format!("P-{n}");
        let member = harbour.sandbox.member(&id).unwrap();
        assert_eq!(member["metaData"], json!({ "store": "12", "tier": "tuesday" }));
        assert_eq!(
            (&member["person"]["forename"], &member["person"]["emailAddress"]),
            (&json!("Ada"), &json!(format!("p{n}@tuesday.example.com")))
        );
        let given: f64 = harbour.sandbox.effects().iter().filter(|effect| effect.external_id == id).map(|effect| effect.points).sum();
        assert!(given >= 2.0);
        assert_eq!(harbour.points(&id), 100.0 + given);
    }
    harbour.sandbox.faults().clear();
    check_promises(&harbour);
}
