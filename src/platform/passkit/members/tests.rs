//! Conversations driven by hand: which requests, in which order, and how each operation ends.

use serde_json::{Value as Json, json};

use crate::outcome::{Code, Outcome};
use crate::platform::passkit::Passkit;
use crate::platform::passkit::tests::*;
use crate::platform::{Finding, Platform, Reach, Step};
use crate::row::{Change, Found, Target, Verb};
use crate::schema::value::Value;
use chrono::NaiveDate;

fn passkit() -> Passkit {
    open(PasskitPasses::Members { program: "prog".to_owned(), tier: Some("base".to_owned()) }, ReadBack::Events)
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn member(meta: Json) -> Json {
    json!({ "id": ID, "externalId": "C-1", "programId": "prog", "tierId": "gold", "status": "ACTIVE", "metaData": meta,
        "person": { "surname": "Byron", "forename": "", "externalId": "x" }, "points": 12.5, "optOut": true, "created": "2026-01-01T00:00:00Z" })
}

#[test]
fn balances_go_by_external_id_in_one_call_and_zero_by_its_flag() {
    let change = change(
        Verb::Update,
        &[("points", integer(0)), ("secondaryPoints", Some(Value::Number("2.50".parse().unwrap()))), ("tierPoints", None)],
    );
    let passkit = passkit();
    assert!(!passkit.needs_find(&change));
    let (sent, result) = play(passkit.apply(change), &[(200, json!({ "id": ID, "externalId": "C-1" }))]);
    let body = r#"{"externalId":"C-1","programId":"prog","resetPoints":true,"secondaryPoints":2.5,"resetTierPoints":true,"eventDetails":{"externalEventId":"run:7"}}"#;
    assert_eq!(sent, [format!("PUT /members/member/points/set {body}")]);
    assert_eq!(ends(&result), [("points", Outcome::Applied, None)]);
    assert_eq!((result.operations[0].fields.as_slice(), result.pass_id.as_deref()), ([0, 1, 2].as_slice(), Some(ID)));
}

#[test]
fn metadata_is_written_whole_and_what_fits_travels_along() {
    let change = change(
        Verb::Update,
        &[("metaData.store", text("14")), ("points", integer(5)), ("tierId", text("gold2")), ("person.forename", text("Ada"))],
    );
    assert!(passkit().needs_find(&change));
    let change = found(
        change,
        json!({ "tierId": "gold", "metaData": { "store": "12", "code": "A1" }, "person": { "surname": "Byron", "forename": "", "externalId": "x" } }),
    );
    let (sent, result) = play(passkit().apply(change), &[(200, json!({ "id": ID }))]);
    let body = json!({ "id": ID, "programId": "prog", "tierId": "gold2", "operation": "OPERATION_PATCH", "points": 5,
        "metaData": { "store": "14", "code": "A1" }, "person": { "surname": "Byron", "forename": "Ada" } });
    let told: Json = serde_json::from_str(sent[0].strip_prefix("PUT /members/member ").unwrap()).unwrap();
    assert_eq!((sent.len(), told), (1, body));
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None), ("points", Outcome::Applied, None), ("tier", Outcome::Applied, None)]);
}

#[test]
fn a_refused_bundle_is_taken_apart_to_find_the_wrong_operation() {
    let change = found(change(Verb::Update, &[("metaData.a", text("1")), ("tierId", text("nope"))]), json!({ "tierId": "gold" }));
    let no = json!({ "code": 3, "message": "validation err:\nbad tier" });
    let (sent, result) = play(passkit().apply(change), &[(400, no.clone()), (200, json!({ "id": ID })), (400, no)]);
    assert!(sent[1].contains(r#""tierId":"gold""#) && sent[2].starts_with("PUT /members/member/tier"), "{sent:#?}");
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None), ("tier", Outcome::Refused, Some(Code::UpdateRejected))]);
    assert_eq!(result.operations[1].message, "validation err: bad tier");
}

#[test]
fn false_and_the_last_key_replace_the_whole_member() {
    for (fields, old) in [([("optOut", Some(Value::Boolean(false)))], json!({ "k": "v" })), ([("metaData.k", None)], json!({ "k": "v" }))] {
        let change = found(change(Verb::Update, &fields), json!({ "tierId": "gold", "metaData": old.clone() }));
        let (sent, result) = play(passkit().apply(change), &[(200, member(old)), (200, json!({ "id": ID }))]);
        assert_eq!(sent[0], "GET /members/member/externalId/prog/C-1");
        let body: Json = serde_json::from_str(sent[1].strip_prefix("PUT /members/member ").unwrap()).unwrap();
        assert_eq!(
            (&body["operation"], &body["points"], &body["person"]),
            (&json!("OPERATION_PUT"), &json!(12.5), &json!({ "surname": "Byron" }))
        );
        assert!(body.get("created").is_none() && body.get("status").is_none());
        let expected = if fields[0].0 == "optOut" { (json!(false), json!({ "k": "v" })) } else { (json!(true), json!({})) };
        assert_eq!((body["optOut"].clone(), body["metaData"].clone()), expected);
        assert_eq!(ends(&result), [("fields", Outcome::Applied, None)]);
    }
}

#[test]
fn a_missing_pass_ends_all_operations_unresolved_after_one_request() {
    let change = change(Verb::Update, &[("points", integer(5)), ("tierId", text("gold")), ("metaData.x", None)]);
    let direct = Change { fields: change.fields[..2].to_vec(), ..change.clone() };
    let missing = (404, json!({ "code": 5, "message": "no such member" }));
    let (sent, result) = play(passkit().apply(direct), std::slice::from_ref(&missing));
    assert_eq!(sent.len(), 1);
    assert_eq!(
        ends(&result),
        [("points", Outcome::Unresolved, Some(Code::PassNotFound)), ("tier", Outcome::Unresolved, Some(Code::PassNotFound))]
    );
    let (sent, result) = play(passkit().apply(found(change, json!({}))), &[missing.clone(), missing]);
    assert!(sent[1].starts_with("GET /members/member/externalId/"));
    assert!(ends(&result).iter().all(|end| (end.1, end.2) == (Outcome::Unresolved, Some(Code::PassGone))));
}

#[test]
fn an_unknown_tier_is_refused_and_not_taken_for_a_missing_pass() {
    let missing = (404, json!({ "message": "tier does not exist" }));
    let answers = [missing.clone(), (200, member(json!({}))), missing];
    let (_, result) = play(passkit().apply(change(Verb::Update, &[("tierId", text("nope"))])), &answers);
    assert_eq!(ends(&result), [("tier", Outcome::Refused, Some(Code::UpdateRejected))]);
}

#[test]
fn upsert_issues_a_pass_that_is_not_there() {
    let enrol = r#"POST /members/member {"programId":"prog","externalId":"C-1","tierId":"base","points":5}"#;
    let fields = [("points", integer(5)), ("secondaryPoints", integer(0))];
    let (sent, result) = play(passkit().apply(change(Verb::Upsert, &fields)), &[(404, json!({})), (200, json!({ "id": ID }))]);
    assert_eq!(sent[1], enrol);
    assert_eq!(ends(&result), [("create", Outcome::Created, None)]);
    assert_eq!((result.operations[0].fields.as_slice(), result.pass_id.as_deref()), ([0, 1].as_slice(), Some(ID)));
    let with_meta = change(Verb::Upsert, &[("metaData.a", text("1"))]);
    let (sent, result) = play(passkit().apply(with_meta), &[(200, json!({ "id": ID }))]);
    assert!(sent[0].starts_with("POST /members/member "), "known to be absent: enrolled at once");
    assert_eq!(ends(&result), [("create", Outcome::Created, None)]);
}

#[test]
fn a_conflict_at_enrolment_means_that_the_pass_exists() {
    let change = change(Verb::Upsert, &[("metaData.a", text("1"))]);
    let answers = [(409, json!({ "message": "exists" })), (200, member(json!({ "b": "2" }))), (200, json!({ "id": ID }))];
    let (sent, result) = play(passkit().apply(change), &answers);
    assert!(sent[2].contains(r#""metaData":{"b":"2","a":"1"}"#), "{sent:#?}");
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None)]);
}

#[test]
fn an_answer_that_proves_nothing_is_asked_for_again_and_never_believed() {
    for wrong in [json!("<html>"), json!(""), json!({ "id": "another22characterspass" }), json!("{\"id\":\"4RkT9mQz1X")] {
        let change = found(change(Verb::Update, &[("points", integer(5))]), json!({}));
        let again = play(passkit().apply(change.clone()), &[(200, wrong.clone()), (200, json!({ "id": ID }))]);
        assert_eq!(ends(&again.1), [("points", Outcome::Applied, None)]);
        let (sent, result) = play(passkit().apply(change), &vec![(200, wrong); 3]);
        assert_eq!((sent.len(), ends(&result)), (3, vec![("points", Outcome::Refused, Some(Code::AnswerUnreadable))]));
    }
}

#[test]
fn an_update_over_ten_thousand_bytes_is_not_sent_and_holds_up_nothing_else() {
    let change = found(
        change(Verb::Update, &[("metaData.a", text("x")), ("points", integer(5))]),
        json!({ "metaData": { "b": "y".repeat(9_990) } }),
    );
    let (sent, result) = play(passkit().apply(change), &[(200, json!({ "id": ID }))]);
    assert!(sent[0].starts_with("PUT /members/member/points/set"));
    assert_eq!(ends(&result), [("fields", Outcome::Refused, Some(Code::ValueTooLarge)), ("points", Outcome::Applied, None)]);
}

#[test]
fn void_and_expire() {
    for answer in [(200, json!({})), (404, json!({ "message": "gone" }))] {
        let (sent, result) = play(passkit().apply(change(Verb::Void, &[("points", integer(1))])), &[answer]);
        assert_eq!(sent, [r#"DELETE /members/member {"externalId":"C-1","programId":"prog"}"#]);
        assert_eq!(ends(&result), [("void", Outcome::Applied, None)]);
    }
    let until = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
    let fields = [("expiryDate", Some(Value::DateTime(until, chrono::FixedOffset::east_opt(0))))];
    let (sent, result) = play(passkit().apply(change(Verb::Expire, &fields)), &[(200, json!({ "id": ID }))]);
    assert_eq!(sent, [r#"PUT /members/member/updateExpiry {"externalId":"C-1","programId":"prog","expiryDate":"2026-03-01T00:00:00Z"}"#]);
    assert_eq!(ends(&result), [("expire", Outcome::Applied, None)]);
    let (sent, _) = play(passkit().apply(change(Verb::Expire, &[])), &[(200, json!({ "id": ID }))]);
    assert!(sent[0].contains(&chrono::Utc::now().format("%Y-").to_string()), "{sent:?}");
}

#[test]
fn conflicts_are_laid_over_a_fresh_reading_and_end() {
    let change = found(change(Verb::Update, &[("metaData.a", text("1"))]), json!({ "metaData": { "old": "1" } }));
    let aborted = (409, json!({ "message": "aborted" }));
    let answers = [aborted.clone(), (200, member(json!({ "new": "2" }))), (200, json!({ "id": ID }))];
    let (sent, _) = play(passkit().apply(change.clone()), &answers);
    assert!(sent[2].contains(r#"{"new":"2","a":"1"}"#), "{sent:#?}");
    let read = (200, member(json!({})));
    let (_, result) = play(passkit().apply(change), &[aborted.clone(), read.clone(), aborted.clone(), read, aborted]);
    assert_eq!(ends(&result), [("fields", Outcome::Refused, Some(Code::Conflict))]);
}

#[test]
fn members_are_matched_by_external_id_and_missing_ones_asked_for_by_name() {
    let one = |id: &str, external: &str| json!({ "id": id, "externalId": external, "tierId": "gold", "metaData": { "k": external } });
    let list = lines(&[one("3", "C"), one("2", "B"), one("4", "B"), json!({ "id": "9", "externalId": "D", "status": "DELETED" })]);
    let targets = externals(&["A", "B", "C", "D", "C"]);
    let missing = (404, json!({}));
    let (sent, findings) = play(passkit().find(&targets), &[(200, list), (200, one("1", "A")), missing]);
    assert!(
        sent[0].starts_with("POST /members/member/list/prog ")
            && sent[0].contains(r#""condition":"OR""#)
            && sent[0].contains(r#""limit":-1"#)
    );
    let state = json!({ "tierId": "gold", "metaData": { "k": "C" }, "person": {}, "read": 0 });
    let c = Finding::Found(Found { pass_id: "3".to_owned(), state });
    assert!(matches!(&findings[0], Finding::Found(found) if found.pass_id == "1"));
    assert_eq!(findings[1], Finding::Several(vec!["2".to_owned(), "4".to_owned()]));
    assert_eq!((&findings[2], &findings[3], &findings[4]), (&c, &Finding::Absent, &c));
}

#[test]
fn a_broken_listing_is_asked_for_again_and_then_fails_as_a_whole() {
    let cut = (200, json!("{\"result\":{\"id\":\"1\",\"externalId\":\"A\"}}\n{\"result\":{\"id\""));
    let told = (200, json!("{\"result\":{\"id\":\"1\",\"externalId\":\"A\"}}\n{\"error\":{\"message\":\"lost\"}}\n"));
    let (sent, findings) = play(passkit().find(&externals(&["A", "B"])), &[cut, told.clone(), told]);
    assert_eq!(sent.len(), 3);
    assert!(
        findings
            .iter()
            .all(|finding| matches!(finding, Finding::Failed { code: Code::AnswerUnreadable, message } if message.contains("lost")))
    );
}

#[test]
fn one_target_is_asked_for_by_name_and_a_refusal_is_not_an_absence() {
    let (sent, findings) = play(passkit().find(&externals(&["C/1"])), &[(403, json!({ "message": "not yours" }))]);
    assert_eq!(sent, ["GET /members/member/externalId/prog/C%2F1"]);
    assert!(matches!(&findings[0], Finding::Failed { message, .. } if message.contains("not yours")));
    let (sent, findings) = play(passkit().find(&[Target::Pass(ID.to_owned())]), &[(200, member(json!({})))]);
    assert_eq!((sent[0].as_str(), matches!(findings[0], Finding::Found(_))), (format!("GET /members/member/id/{ID}").as_str(), true));
}

#[test]
fn long_lists_stay_within_the_limit_of_a_body() {
    let targets: Vec<_> = (0..100).map(|n| Target::External(format!("{n:0>120}"))).collect();
    let mut talk = passkit().find(&targets);
    let Step::Send(request) = talk.next(None) else { panic!() };
    assert!(request.body.unwrap().len() <= 10_000);
}

#[test]
fn the_probe_tells_a_wrong_region_from_a_wrong_key() {
    let ok = play(passkit().probe(), &[(200, json!({})), (200, json!({ "name": "Club" }))]).1;
    assert_eq!(ok, Reach { ok: true, denied: false, message: "https://api.example accepts the key and knows the program Club".to_owned() });
    let region = play(passkit().probe(), &[(200, json!({})), (404, json!({}))]).1;
    assert!(!region.ok && region.message.contains("the region"));
}

#[test]
fn a_page_gives_values_in_the_kinds_of_their_fields() {
    let (_, page) = play(passkit().pages(0), &[(200, lines(&[member(json!({ "store": "12", "empty": "" }))]))]);
    // A platform may give fewer rows than were asked for: only an empty page is behind the last.
    assert_eq!((page.next, page.fault.as_deref(), page.passes.len()), (Some(1), None, 1));
    let (_, end) = play(passkit().pages(1), &[(200, lines(&[]))]);
    assert_eq!((end.next, end.passes.len()), (None, 0));
    let fields = &page.passes[0].fields;
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.canonical().into_owned());
    assert_eq!(value("points").as_deref(), Some("12.5"));
    assert_eq!(value("metaData.store").as_deref(), Some("12"));
    assert_eq!(value("optOut").as_deref(), Some("true"));
    assert_eq!((value("metaData.empty"), value("status"), value("person.externalId")), (None, None, None));
    let full: Vec<_> = (0..1000).map(|n| json!({ "id": n.to_string(), "tierId": "", "metaData": {}, "person": null })).collect();
    assert_eq!(play(passkit().pages(2000), &[(200, lines(&full))]).1.next, Some(3000));
}

/// Another change of the same pass came between.
#[test]
fn what_was_read_before_the_passes_last_write_is_read_again() {
    let passkit = passkit();
    let state = json!({ "tierId": "gold", "metaData": { "a": "1" }, "read": 0 });
    let change = |key: &str| found(change(Verb::Update, &[(key, text("2"))]), state.clone());
    let (sent, _) = play(passkit.apply(change("metaData.b")), &[(200, json!({ "id": ID }))]);
    assert!(sent[0].contains(r#""metaData":{"a":"1","b":"2"}"#), "{sent:#?}");
    let answers = [(200, member(json!({ "a": "1", "b": "2" }))), (200, json!({ "id": ID }))];
    let (sent, _) = play(passkit.apply(change("metaData.c")), &answers);
    assert!(sent[0].starts_with("GET ") && sent[1].contains(r#""metaData":{"a":"1","b":"2","c":"2"}"#), "{sent:#?}");
}
