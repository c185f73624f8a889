//! Conversations driven by hand: which requests, in which order, and how each change ends.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use crate::platform::Answer;
use crate::row::{FieldChange, Found};
use crate::secret::{Secret, SecretPlace};

const ID: &str = "Ed34kg3oA47";
const LOOK: &str = "GET /api/acme/passes?pageIndex=0&pageSize=2&filter%5B0%5D.field=identifiers.y2.customerId&filter%5B0%5D.operator=equals&filter%5B0%5D.value=1233332";

fn settings() -> meant::TheWalletCrew {
    meant::TheWalletCrew {
        base_url: "https://app.example".to_owned(),
        tenant: "acme".to_owned(),
        key: Secret::new(SecretPlace::File(PathBuf::from("/nonexistent"))),
        identifier: Some("y2.customerId".to_owned()),
        pass_type: None,
        type_in_updates: false,
        look_first: true,
        replaces_blocks: false,
        clears_by_text: false,
        text_only: false,
        confirm: false,
        create_again: false,
        page_size: 20,
    }
}

fn crew(change: impl FnOnce(&mut meant::TheWalletCrew)) -> TheWalletCrew {
    let mut settings = settings();
    change(&mut settings);
    TheWalletCrew::new(&settings)
}

#[expect(clippy::unnecessary_wraps, reason = "a change holds an option")]
fn text(text: &str) -> Option<Value<'static>> {
    Some(Value::Text(text.to_owned().into()))
}

fn change(verb: Verb, fields: &[(&str, Option<Value<'static>>)]) -> Change {
    let fields = fields.iter().enumerate();
    Change {
        row: 7,
        target: Target::External("1233332".to_owned()),
        verb,
        fields: fields
            .map(|(index, (name, value))| FieldChange { field: index as u8, name: (*name).into(), value: value.clone() })
            .collect(),
        found: None,
        reference: "run:7".to_owned(),
    }
}

fn found(mut change: Change) -> Change {
    change.found = Some(Found { pass_id: ID.to_owned(), state: Json::Null });
    change
}

fn pass(additional: &Json) -> Json {
    json!({ "id": ID, "secret": "s3cr3t", "passType": "loyalty", "identifiers": { "y2.customerId": "1233332", "crm": "9" },
        "metadata": { "storeId": "12" }, "additionalData": additional })
}

/// Plays the answers and notes the requests as `METHOD path body`; `+` stands before one that was sent after a pause, `!` before one that
/// may not be repeated.
fn play<T>(mut talk: Box<dyn Conversation<T>>, answers: Vec<Answer>) -> (Vec<String>, T) {
    let mut answers = answers.into_iter();
    let mut sent: Vec<String> = Vec::new();
    let mut answer = None;
    loop {
        let (pause, request) = match talk.next(answer.take()) {
            Step::Done(end) => {
                assert!(answers.next().is_none(), "answers are left over after {sent:#?}");
                return (sent, end);
            }
            Step::Send(request) => ("", request),
            Step::Later(_, request) => ("+", request),
        };
        let body = request.body.map(|body| String::from_utf8(body.to_vec()).unwrap()).unwrap_or_default();
        let once = if request.repeatable { "" } else { "!" };
        sent.push(format!("{pause}{once}{} {} {body}", request.method, request.path).trim().to_owned());
        answer = Some(answers.next().unwrap_or_else(|| panic!("no answer left for {sent:#?}")));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn http(status: u16, body: Json) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Answer::Http { status, body: Bytes::from(body) }
}

fn end(result: &ChangeResult) -> (&'static str, Outcome, Option<Code>) {
    let [operation] = &result.operations[..] else { panic!("{result:?}") };
    (operation.operation, operation.outcome, operation.code)
}

/// The example of section 2.4.
#[test]
fn an_update_goes_by_the_identifier_and_every_success_code_counts() {
    for code in [200, 202, 204] {
        let change = change(Verb::Update, &[("additionalData.balance", text("58.20")), ("metadata.storeId", text("12"))]);
        let crew = crew(|settings| settings.look_first = false);
        assert!(!crew.needs_find(&change));
        let (sent, result) = play(crew.apply(change), vec![http(code, Json::Null)]);
        let body = r#"{"additionalData":{"balance":"58.20"},"metadata":{"storeId":"12"}}"#;
        assert_eq!(sent, [format!("PATCH /api/acme/passes?id.y2.customerId=1233332 {body}")]);
        assert_eq!(end(&result), ("fields", Outcome::Applied, None));
        assert_eq!(result.operations[0].fields, [0, 1]);
    }
}

#[test]
fn a_pass_that_was_found_is_named_by_both_its_identifiers() {
    let change = change(Verb::Update, &[("additionalData.balance", text("1"))]);
    assert!(crew(|_| ()).needs_find(&change));
    let (sent, result) = play(crew(|_| ()).apply(found(change)), vec![http(202, Json::Null)]);
    assert_eq!(sent, [format!("PATCH /api/acme/passes?id.y2.customerId=1233332&id={ID} {{\"additionalData\":{{\"balance\":\"1\"}}}}")]);
    assert_eq!(result.pass_id.as_deref(), Some(ID));
}

/// The example of section 2.3; the secret is nowhere.
#[test]
fn a_pass_is_found_by_its_identifier_or_is_absent_or_one_of_several() {
    let targets = [Target::External("1233332".to_owned())];
    let other = json!({ "id": "AnotherPass1", "identifiers": { "y2.customerId": "1233332" } });
    let cases = [
        (json!([pass(&json!({}))]), 1),
        (json!([]), 0),
        (json!([pass(&json!({})), other]), 2),
        (json!([pass(&json!({})), pass(&json!({}))]), 1),
    ];
    for (body, count) in cases {
        let (sent, findings) = play(crew(|_| ()).find(&targets), vec![http(200, body)]);
        assert_eq!(sent, [LOOK]);
        assert!(!format!("{findings:?}").contains("s3cr3t"));
        match (&findings[0], count) {
            (Finding::Absent, 0) => {}
            (Finding::Found(found), 1) => assert_eq!(found.pass_id, ID),
            (Finding::Several(ids), 2) => assert_eq!(*ids, [ID, "AnotherPass1"]),
            other => panic!("{other:?}"),
        }
    }
}

/// D18. A filter that the platform does not understand must not make somebody else's pass ours.
#[test]
fn an_answer_with_other_passes_proves_nothing() {
    let stranger = json!([{ "id": "AnotherPass1", "identifiers": { "y2.customerId": "12333321" } }]);
    let answers = vec![http(200, stranger.clone()), http(200, json!({ "items": [] })), http(200, stranger)];
    let (_, findings) = play(crew(|_| ()).find(&[Target::External("1233332".to_owned())]), answers);
    assert!(matches!(&findings[0], Finding::Failed { code: Code::AnswerUnreadable, .. }), "{findings:?}");
}

#[test]
fn passes_of_another_type_are_not_seen() {
    let crew = crew(|settings| settings.pass_type = Some("giftcard".to_owned()));
    let (sent, _) = play(crew.find(&[Target::External("1233332".to_owned())]), vec![http(200, json!([]))]);
    assert!(sent[0].ends_with("filter%5B1%5D.field=passType&filter%5B1%5D.operator=equals&filter%5B1%5D.value=giftcard"), "{sent:?}");
}

#[test]
fn what_is_not_there_is_issued_once_and_its_fields_with_it() {
    let change = change(Verb::Upsert, &[("additionalData.balance", text("1")), ("id.crm", text("9")), ("metadata.x", None)]);
    let crew = crew(|settings| settings.pass_type = Some("loyalty".to_owned()));
    let (sent, result) = play(crew.apply(change), vec![http(200, json!([])), http(201, json!({ "passId": "NewPass0001" }))]);
    let body = r#"{"identifiers":{"y2.customerId":"1233332","crm":"9"},"additionalData":{"balance":"1"}}"#;
    assert_eq!(sent[1], format!("!POST /api/acme/passes?passType=loyalty {body}"));
    assert_eq!((end(&result), result.pass_id.as_deref()), (("create", Outcome::Created, None), Some("NewPass0001")));
    assert_eq!(result.operations[0].fields, [0, 1, 2]);
}

/// Section 2.6: issuing again may make a second pass.
#[test]
fn a_creation_whose_answer_was_lost_is_looked_for_and_never_sent_again() {
    let upsert = || change(Verb::Upsert, &[("additionalData.balance", text("1"))]);
    let lost = || Answer::Lost { message: "closed".to_owned() };
    let there = vec![http(200, json!([])), lost(), http(200, json!([])), http(200, json!([pass(&json!({}))])), http(204, Json::Null)];
    let (sent, result) = play(crew(|_| ()).apply(upsert()), there);
    assert!(sent[2].starts_with("+GET") && sent[3].starts_with("+GET") && sent[4].starts_with("PATCH"), "{sent:#?}");
    assert_eq!(end(&result), ("create", Outcome::Created, None));
    let mut nowhere = vec![http(200, json!([])), lost()];
    nowhere.extend((0..4).map(|_| http(200, json!([]))));
    let (sent, result) = play(crew(|_| ()).apply(upsert()), nowhere);
    assert_eq!(sent.iter().filter(|sent| sent.contains("POST")).count(), 1);
    assert_eq!(end(&result), ("create", Outcome::Refused, Some(Code::RetriesExhausted)));
}

#[test]
fn a_pass_that_somebody_else_issued_meanwhile_is_updated() {
    let upsert = change(Verb::Upsert, &[("additionalData.balance", text("1"))]);
    let answers = vec![http(200, json!([])), http(409, Json::Null), http(200, json!([pass(&json!({}))])), http(204, Json::Null)];
    let (sent, result) = play(crew(|_| ()).apply(upsert), answers);
    assert!(sent[3].starts_with("PATCH"), "{sent:#?}");
    assert_eq!(end(&result), ("fields", Outcome::Applied, None));
}

#[test]
fn a_further_identifier_must_be_the_passes_own() {
    let row = |id: &str| change(Verb::Update, &[("id.crm", text(id)), ("additionalData.balance", text("1"))]);
    let (sent, result) = play(crew(|_| ()).apply(found(row("9"))), vec![http(404, Json::Null)]);
    assert!(sent[0].contains("?id.y2.customerId=1233332&id=Ed34kg3oA47&id.crm=9 "), "{sent:?}");
    assert_eq!(end(&result), ("fields", Outcome::Unresolved, Some(Code::PassNotFound)));
    assert!(result.operations[0].message.contains("all the identifiers"));
    // Nothing to set: the look alone tells.
    for (id, outcome) in [("9", Outcome::Applied), ("8", Outcome::Unresolved)] {
        let only = change(Verb::Update, &[("id.crm", text(id)), ("id", text(ID))]);
        let (sent, result) = play(crew(|_| ()).apply(found(only)), vec![http(200, json!([pass(&json!({}))]))]);
        assert_eq!((sent, end(&result).1), (vec![LOOK.to_owned()], outcome));
    }
}

#[test]
fn clearing_is_null_or_an_empty_text_as_the_account_says() {
    for (by_text, value) in [(false, "null"), (true, "\"\"")] {
        let crew = crew(|settings| settings.clears_by_text = by_text);
        let (sent, _) = play(crew.apply(found(change(Verb::Update, &[("additionalData.x", None)]))), vec![http(204, Json::Null)]);
        assert!(sent[0].ends_with(&format!("{{\"additionalData\":{{\"x\":{value}}}}}")), "{sent:?}");
    }
}

#[test]
fn where_blocks_are_replaced_they_are_written_whole_and_read_back() {
    let crew = crew(|settings| (settings.replaces_blocks, settings.confirm) = (true, true));
    let row = change(Verb::Update, &[("additionalData.balance", text("5")), ("additionalData.old", None)]);
    assert_eq!(crew.requests(&row), 3);
    let before = json!([pass(&json!({ "balance": "1", "name": "Ada", "old": "x" }))]);
    let after = json!([pass(&json!({ "balance": 5, "name": "Ada" }))]);
    let answers = vec![http(200, before.clone()), http(202, Json::Null), http(200, before), http(200, after)];
    let (sent, result) = play(crew.apply(found(row)), answers);
    assert!(sent[1].ends_with(r#"{"additionalData":{"balance":"5","name":"Ada"}}"#), "{sent:#?}");
    assert!(sent[2].starts_with("+GET") && sent[3].starts_with("+GET"), "{sent:#?}");
    assert_eq!(end(&result), ("fields", Outcome::Applied, None));
}

#[test]
fn an_update_that_never_shows_is_not_called_applied() {
    let crew = crew(|settings| settings.confirm = true);
    let mut answers = vec![http(202, Json::Null)];
    answers.extend((0..7).map(|_| http(200, json!([pass(&json!({ "balance": "1" }))]))));
    let (_, result) = play(crew.apply(found(change(Verb::Update, &[("additionalData.balance", text("5"))]))), answers);
    assert_eq!(end(&result), ("fields", Outcome::Refused, Some(Code::RetriesExhausted)));
}

#[test]
fn refusals_are_told_in_the_platforms_words_whatever_their_shape() {
    let problem = json!({ "title": "Bad", "status": 400, "detail": "no such key", "errors": { "balance": ["must be text"] } });
    let cases = [
        (http(400, problem), Outcome::Refused, Code::UpdateRejected, "Bad; no such key; balance: must be text"),
        (http(400, Json::Null), Outcome::Refused, Code::UpdateRejected, "status 400, without a word"),
        (Answer::Http { status: 422, body: Bytes::from("too\nlong") }, Outcome::Refused, Code::UpdateRejected, "too long"),
        (http(413, Json::Null), Outcome::Refused, Code::ValueTooLarge, "status 413"),
        (http(409, Json::Null), Outcome::Refused, Code::Conflict, "status 409"),
        (http(404, Json::Null), Outcome::Unresolved, Code::PassNotFound, ""),
        (http(410, Json::Null), Outcome::Unresolved, Code::PassGone, ""),
    ];
    for (answer, outcome, code, words) in cases {
        let row = change(Verb::Update, &[("additionalData.balance", text("5"))]);
        let (_, result) = play(crew(|settings| settings.look_first = false).apply(row), vec![answer]);
        assert_eq!(end(&result), ("fields", outcome, Some(code)));
        assert!(result.operations[0].message.contains(words), "{result:?}");
    }
}

#[test]
fn passes_by_their_own_id_need_no_look_and_must_look_like_one() {
    let by_id = |id: &str| Change { target: Target::Pass(id.to_owned()), ..change(Verb::Update, &[("additionalData.b", text("5"))]) };
    let (sent, _) = play(crew(|_| ()).apply(by_id(ID)), vec![http(204, Json::Null)]);
    assert!(sent[0].starts_with(&format!("PATCH /api/acme/passes?id={ID} ")), "{sent:?}");
    assert!(!crew(|_| ()).needs_find(&by_id(ID)));
    let (sent, result) = play(crew(|_| ()).apply(by_id("a/b")), vec![]);
    assert_eq!((sent.len(), end(&result).1), (0, Outcome::Unresolved));
    let (sent, findings) = play(crew(|_| ()).find(&[Target::Pass(ID.to_owned())]), vec![]);
    assert!(sent.is_empty() && matches!(&findings[0], Finding::Found(found) if found.pass_id == ID));
}

/// Item 6 of the platforms' issue: what the platform would alter is found before anything is sent.
#[test]
fn numbers_that_binary_floats_do_not_keep_are_refused_and_text_is_kept() {
    let crew = crew(|_| ());
    let check = |value: Value<'_>| crew.check_value("additionalData.n", &value).map_err(|fault| fault.code);
    for good in ["12.5", "0.1", "-3", "9007199254740992", "58.20"] {
        assert_eq!(check(Value::Number(good.parse().unwrap())), Ok(()), "{good}");
    }
    assert_eq!(check(Value::Number("0.12345678901234567891".parse().unwrap())), Err(Code::ValueInexact));
    assert_eq!(check(Value::Integer((1 << 53) + 1)), Err(Code::ValueInexact));
    assert_eq!(check(Value::Big("123456789012345678901234567890".into())), Err(Code::ValueInexact));
    assert_eq!(check(Value::Text("123456789012345678901234567890".into())), Ok(()));
    let plain = TheWalletCrew::new(&meant::TheWalletCrew { text_only: true, ..settings() });
    assert_eq!(plain.check_value("additionalData.n", &Value::Integer(i64::MAX)), Ok(()));
    assert_eq!(plain.field("additionalData.n").unwrap().kind, super::super::FieldKind::Text);
    let (sent, _) = play(
        crew.apply(found(change(
            Verb::Update,
            &[("metadata.n", Some(Value::Number("58.20".parse().unwrap()))), ("metadata.on", Some(Value::Boolean(true)))],
        ))),
        vec![http(204, Json::Null)],
    );
    assert!(sent[0].ends_with(r#"{"metadata":{"n":58.2,"on":true}}"#), "{sent:?}");
}

#[test]
fn wrong_names_of_fields_are_answered_with_right_ones() {
    let fault = |name: &str| crew(|_| ()).field(name).unwrap_err();
    assert!(fault("additionaldata.Balance").contains("\"additionalData.Balance\""));
    assert!(fault("metaData.tier").contains("\"metadata.tier\""));
    assert!(fault("balance").contains("additionalData.NAME"));
    assert!(fault("identifiers.y2.customerId").contains("found by"));
    assert!(fault("additionalData.").contains("a name is"));
    for good in ["additionalData.a b", "metadata.é", "identifiers.crm", "id", "id.crm"] {
        assert!(crew(|_| ()).field(good).is_ok(), "{good}");
    }
    assert!(crew(|_| ()).notifies("additionalData.news").unwrap_err().contains("additionalData.news"));
}

#[test]
fn a_403_is_the_accounts_until_something_was_allowed() {
    let crew = crew(|_| ());
    let headers = HeaderMap::new();
    let judged = |method: Method, status: u16, body: &str| {
        crew.judge(&Request::new(method, "/".to_owned()), &RawAnswer { status, headers: &headers, body: body.as_bytes() })
    };
    assert!(matches!(judged(Method::PATCH, 403, ""), Verdict::Barred { reason } if reason.contains("Pass.Write")));
    assert!(matches!(judged(Method::GET, 403, ""), Verdict::Barred { reason } if reason.contains("Pass.Read")));
    assert!(matches!(judged(Method::GET, 403, "<html>blocked"), Verdict::Undecided { .. }));
    assert_eq!(judged(Method::GET, 200, "[]"), Verdict::Final);
    assert!(matches!(judged(Method::PATCH, 403, ""), Verdict::Barred { .. }), "a key may read and not write");
    assert_eq!(judged(Method::PATCH, 404, ""), Verdict::Final);
    assert!(matches!(judged(Method::PATCH, 403, ""), Verdict::Undecided { .. }), "one row that a firewall dislikes");
    assert!(matches!(judged(Method::PATCH, 429, "<html>slow down"), Verdict::SlowDown { after: None }));
    assert!(matches!(judged(Method::GET, 401, ""), Verdict::Reauthorize { reason } if reason.contains("tenant")));
}

#[test]
fn the_probe_proves_address_tenant_key_and_both_rights() {
    let some = || http(200, json!([pass(&json!({}))]));
    let (sent, reach) = play(crew(|_| ()).probe(), vec![some(), http(404, Json::Null)]);
    assert!(sent[1].starts_with("PATCH /api/acme/passes?id=passferry-reach-no-such-pass {}"), "{sent:?}");
    assert!(reach.ok && reach.message.contains("may read and change"), "{reach:?}");
    let (_, reach) = play(crew(|settings| settings.identifier = Some("y2.custommerId".to_owned())).probe(), vec![some()]);
    assert!(!reach.ok && reach.message.contains("crm, y2.customerId"), "{reach:?}");
    let (_, reach) = play(crew(|_| ()).probe(), vec![http(404, Json::Null)]);
    assert!(!reach.ok && reach.message.contains("no tenant acme"), "{reach:?}");
}

#[test]
fn all_passes_are_read_page_by_page_as_a_mapping_names_their_fields() {
    let (sent, page) = play(crew(|_| ()).pages(3), vec![http(200, json!([pass(&json!({ "balance": 58.2, "gone": null, "none": "" }))]))]);
    assert_eq!(sent, ["GET /api/acme/passes?pageIndex=3&pageSize=20&sortBy%5B0%5D.field=id&sortBy%5B0%5D.direction=ASC"]);
    assert_eq!((page.next, page.passes[0].external_id.as_deref()), (Some(4), Some("1233332")));
    let names: Vec<&str> = page.passes[0].fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["id.y2.customerId", "identifiers.y2.customerId", "id.crm", "identifiers.crm", "additionalData.balance", "metadata.storeId"]
    );
    let (_, last) = play(crew(|_| ()).pages(4), vec![http(200, json!([]))]);
    assert_eq!((last.next, last.passes.len(), last.fault), (None, 0, None));
}
