//! Coupons and tickets, driven by hand.

use serde_json::{Value as Json, json};

use crate::outcome::{Code, Outcome};
use crate::platform::passkit::Passkit;
use crate::platform::passkit::tests::*;
use crate::platform::{AddEnd, Finding, IndexPage, Platform, Proof, Reach};
use crate::row::{AddKey, AddKind, Addition, RowKey, Target, Verb};
use crate::schema::value::Value;

fn coupons() -> Passkit {
    open(PasskitPasses::Coupons { campaign: "camp".to_owned(), offer: Some("basic".to_owned()) }, ReadBack::Presence)
}

fn tickets(read_back: ReadBack) -> Passkit {
    let (event, ticket_type) = (Some("night".to_owned()), Some("seated".to_owned()));
    open(PasskitPasses::Tickets { production: "prod".to_owned(), event, ticket_type, validations: Some(3) }, read_back)
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn coupon(status: &str, more: Json) -> Json {
    let mut coupon = json!({ "id": ID, "externalId": "C-1", "campaignId": "camp", "offerId": "basic", "status": status, "optOut": false,
        "metaData": { "shop": "12" }, "person": { "surname": "Byron", "forename": "" }, "created": "2026-01-01T00:00:00Z" });
    coupon.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    coupon
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn ticket(more: Json) -> Json {
    let mut ticket = json!({ "id": ID, "ticketNumber": "C-1", "status": "ISSUED", "event": { "id": "night", "production": { "id": "prod" } },
        "ticketType": { "id": "seated" }, "seatInfo": { "gate": "A", "row": "3", "room": "" }, "metaData": {}, "validateDetails": [] });
    ticket.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    ticket
}

fn add(kind: AddKind) -> Addition {
    Addition {
        row: 7,
        target: Target::External("C-1".to_owned()),
        key: AddKey { row: RowKey(5), kind },
        print: 1,
        amounts: Vec::new(),
        notification: None,
        reference: "run:7".to_owned(),
        before: None,
        perhaps_sent: false,
        since: None,
        decided: false,
    }
}

fn body(sent: &str) -> Json {
    serde_json::from_str(sent.splitn(3, ' ').nth(2).unwrap_or("null")).unwrap()
}

#[test]
fn a_coupon_is_changed_in_one_request_and_its_metadata_written_whole() {
    let plain = change(Verb::Update, &[("sku", text("A-1")), ("expiryDate", text("2027-01-31T00:00:00Z"))]);
    assert!(!coupons().needs_find(&plain));
    let (sent, result) = play(coupons().apply(plain), &[(200, json!({ "id": ID }))]);
    assert_eq!(
        sent,
        [r#"PUT /coupon/singleUse/coupon {"externalId":"C-1","campaignId":"camp","sku":"A-1","expiryDate":"2027-01-31T00:00:00Z"}"#]
    );
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None)]);

    let deep = change(Verb::Update, &[("metaData.till", text("3")), ("person.forename", text("Ada"))]);
    assert!(coupons().needs_find(&deep));
    let (_, findings) = play(coupons().find(std::slice::from_ref(&deep.target)), &[(200, coupon("UNREDEEMED", json!({})))]);
    let Finding::Found(state) = findings[0].clone() else { panic!("{findings:?}") };
    let (sent, _) = play(coupons().apply(crate::row::Change { found: Some(state), ..deep }), &[(200, json!({ "id": ID }))]);
    let told = json!({ "id": ID, "metaData": { "shop": "12", "till": "3" }, "person": { "surname": "Byron", "forename": "Ada" } });
    assert_eq!(body(&sent[0]), told);
}

#[test]
fn what_a_coupon_cannot_be_told_is_refused_and_the_rest_applied() {
    let fields = [("optOut", Some(Value::Boolean(false))), ("sku", text("A-1"))];
    let state = json!({ "optOut": true });
    let (sent, result) = play(coupons().apply(found(change(Verb::Update, &fields), state)), &[(200, json!({ "id": ID }))]);
    assert_eq!(body(&sent[0]), json!({ "id": ID, "sku": "A-1" }));
    assert_eq!(ends(&result), [("opt-out", Outcome::Refused, Some(Code::UpdateRejected)), ("fields", Outcome::Applied, None)]);
    let same = found(change(Verb::Update, &fields[..1]), json!({ "optOut": false }));
    let (sent, result) = play(coupons().apply(same), &[]);
    assert!(sent.is_empty() && ends(&result).iter().all(|end| end.1 == Outcome::Unchanged), "{result:?}");
    let event = || change(Verb::Update, &[("eventId", text("matinee")), ("orderNumber", text("O-1"))]);
    assert!(tickets(ReadBack::Presence).needs_find(&event()));
    let other = tickets(ReadBack::Presence).apply(found(event(), json!({ "eventId": "night" })));
    let (sent, result) = play(other, &[(200, json!({ "id": ID }))]);
    assert_eq!(body(&sent[0]), json!({ "id": ID, "orderNumber": "O-1" }));
    assert_eq!(ends(&result), [("issue", Outcome::Refused, Some(Code::UpdateRejected)), ("fields", Outcome::Applied, None)]);
    let (_, result) =
        play(tickets(ReadBack::Presence).apply(found(event(), json!({ "eventId": "matinee" }))), &[(200, json!({ "id": ID }))]);
    assert_eq!(ends(&result), [("issue", Outcome::Unchanged, None), ("fields", Outcome::Applied, None)]);
    let last = found(change(Verb::Update, &[("metaData.a", None)]), json!({ "metaData": { "a": "1" } }));
    let (_, result) = play(coupons().apply(last), &[]);
    assert!(result.operations[0].message.contains("the last key of a coupon"), "{result:?}");
}

#[test]
fn a_coupon_that_is_not_there_is_issued_once_whatever_the_answers_say() {
    let upsert = || change(Verb::Upsert, &[("sku", text("A-1")), ("optOut", Some(Value::Boolean(false)))]);
    let (sent, result) = play(coupons().apply(upsert()), &[(200, json!({ "id": ID }))]);
    assert_eq!(sent, [r#"POST /coupon/singleUse/coupon {"externalId":"C-1","campaignId":"camp","offerId":"basic","sku":"A-1"}"#]);
    assert_eq!(ends(&result), [("create", Outcome::Created, None)]);
    let answers = [(409, json!({})), (404, json!({})), (200, coupon("UNREDEEMED", json!({}))), (200, json!({ "id": ID }))];
    let (sent, result) = play(coupons().apply(upsert()), &answers);
    assert_eq!(sent.iter().filter(|sent| sent.starts_with("POST")).count(), 1);
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None), ("opt-out", Outcome::Unchanged, None)]);
    let (_, result) = play(coupons().apply(upsert()), &[(404, json!({ "message": "no such offer" }))]);
    assert_eq!(ends(&result), [("create", Outcome::Refused, Some(Code::UpdateRejected))]);
    let direct = change(Verb::Upsert, &[("sku", text("A-1"))]);
    assert!(!coupons().needs_find(&direct));
    let (sent, _) = play(coupons().apply(direct), &[(404, json!({})), (200, json!({ "id": ID }))]);
    assert!(sent[0].starts_with("PUT ") && sent[1].starts_with("POST "), "{sent:#?}");
}

#[test]
fn voiding_is_done_when_the_pass_is_gone() {
    for answer in [(200, json!({})), (404, json!({ "message": "gone" }))] {
        let (sent, result) = play(coupons().apply(change(Verb::Void, &[("sku", text("x"))])), std::slice::from_ref(&answer));
        assert_eq!(sent, [r#"DELETE /coupon/singleUse/coupon {"externalId":"C-1","campaignId":"camp"}"#]);
        assert_eq!(ends(&result), [("void", Outcome::Applied, None)]);
        let (sent, _) = play(tickets(ReadBack::Presence).apply(change(Verb::Void, &[])), &[answer]);
        assert_eq!(sent, [r#"DELETE /eventTickets/ticket {"ticketNumber":{"productionId":"prod","ticketNumber":"C-1"}}"#]);
    }
}

#[test]
fn a_ticket_is_addressed_by_its_number_and_its_seat_written_whole() {
    let deep = || {
        change(Verb::Update, &[("seatInfo.gate", text("B")), ("optOut", Some(Value::Boolean(false))), ("faceValue.currency", text("eur"))])
    };
    let passkit = tickets(ReadBack::Presence);
    assert!(passkit.needs_find(&deep()));
    let (sent, findings) = play(passkit.find(&[deep().target]), &[(200, ticket(json!({})))]);
    assert_eq!(sent, ["GET /eventTickets/ticket/ticketNumber?productionId=prod&ticketNumber=C-1"]);
    let Finding::Found(state) = findings[0].clone() else { panic!("{findings:?}") };
    assert_eq!((&state.state["eventId"], &state.state["ticketTypeId"]), (&json!("night"), &json!("seated")));
    let (sent, result) = play(passkit.apply(crate::row::Change { found: Some(state), ..deep() }), &[(200, json!({ "id": ID }))]);
    let told = json!({ "id": ID, "seatInfo": { "gate": "B", "row": "3" }, "optOut": "OFF", "faceValue": { "currency": "EUR" } });
    assert_eq!((sent[0].starts_with("PUT /eventTickets/ticket "), body(&sent[0])), (true, told));
    assert_eq!(ends(&result), [("fields", Outcome::Applied, None)]);
    let (sent, _) = play(passkit.apply(change(Verb::Update, &[("orderNumber", text("O-1"))])), &[(200, json!({ "id": ID }))]);
    assert_eq!(body(&sent[0]), json!({ "ticketNumber": "C-1", "event": { "production": { "id": "prod" } }, "orderNumber": "O-1" }));
}

#[test]
fn a_ticket_is_issued_for_the_event_of_the_row_or_of_the_account() {
    let fields = [("eventId", text("matinee")), ("optOut", Some(Value::Boolean(true)))];
    let issued = (200, json!({ "id": ID }));
    let (sent, result) = play(tickets(ReadBack::Presence).apply(change(Verb::Upsert, &fields)), &[issued.clone(), issued.clone()]);
    let told = json!({ "ticketNumber": "C-1", "eventId": "matinee", "ticketTypeId": "seated" });
    assert_eq!((sent[0].starts_with("POST /eventTickets/ticket "), body(&sent[0])), (true, told));
    assert_eq!((sent[1].starts_with("PUT /eventTickets/ticket "), body(&sent[1])), (true, json!({ "id": ID, "optOut": "ON" })));
    assert_eq!(ends(&result), [("create", Outcome::Created, None)]);
    let (_, result) = play(tickets(ReadBack::Presence).apply(change(Verb::Upsert, &fields)), &[issued, (400, json!({ "message": "no" }))]);
    assert!(result.operations[0].message.contains("is issued, and optOut could not be set: no"), "{result:?}");
    let bare =
        open(PasskitPasses::Tickets { production: "p".into(), event: None, ticket_type: None, validations: None }, ReadBack::Presence);
    assert_eq!(bare.required_to_create(), ["eventId", "ticketTypeId"]);
}

#[test]
fn a_coupon_is_redeemed_once_and_one_that_is_redeemed_is_not_sent_again() {
    let key = add(AddKind::Redeem).key.to_string();
    let (sent, end) = play(coupons().add(&add(AddKind::Redeem)), &[(200, coupon("UNREDEEMED", json!({}))), (200, json!({ "id": ID }))]);
    let details = json!({ "redemptionSource": "passferry run:7", "redemptionReference": key });
    assert_eq!(
        (sent[1].starts_with("PUT /coupon/singleUse/coupon/redeem "), body(&sent[1])),
        (true, json!({ "id": ID, "redemptionDetails": details }))
    );
    assert_eq!(end, AddEnd::Applied { pass_id: Some(ID.to_owned()) });
    let redeemed = |reference: &str| (200, coupon("REDEEMED", json!({ "redemptionDetails": { "redemptionReference": reference } })));
    let (sent, end) = play(coupons().add(&add(AddKind::Redeem)), &[redeemed(&key)]);
    assert!(sent.len() == 1 && matches!(end, AddEnd::Already { .. }), "{end:?}");
    let (sent, end) = play(coupons().add(&add(AddKind::Redeem)), &[redeemed("till 4")]);
    assert!(sent.len() == 1 && matches!(&end, AddEnd::Refused { message, .. } if message.contains("till 4")), "{end:?}");
}

/// What each state of a coupon proves of a redemption whose answer was lost.
#[test]
fn the_status_of_a_coupon_proves_its_redemption_either_way() {
    let key = add(AddKind::Redeem).key.to_string();
    let look = |answer: Json| play(coupons().read_back(&add(AddKind::Redeem)).unwrap(), &[(200, answer)]).1;
    let redeemed = |reference: &str| coupon("REDEEMED", json!({ "redemptionDetails": { "redemptionReference": reference } }));
    assert!(matches!(look(redeemed(&key)), Proof::Applied(_)));
    assert!(matches!(look(redeemed("till 4")), Proof::NotApplied(_)));
    assert!(matches!(look(coupon("UNREDEEMED", json!({}))), Proof::NotApplied(_)));
    assert!(matches!(look(redeemed("")), Proof::Unknown(_)));
    let gone = play(coupons().read_back(&add(AddKind::Redeem)).unwrap(), &[(404, json!({}))]).1;
    assert!(matches!(gone, Proof::Unknown(_)));
    assert!(coupons().read_back(&add(AddKind::Earn)).is_none());
}

#[test]
fn a_validation_is_sent_once_and_looked_for_by_its_reference() {
    let key = add(AddKind::Validate).key.to_string();
    let send = |answer: (u16, Json)| play(tickets(ReadBack::Presence).add(&add(AddKind::Validate)), &[answer]);
    let (requests, end) = send((200, json!({ "valid": true, "ticket": ticket(json!({})) })));
    let told = json!({ "ticket": { "ticketNumber": { "productionId": "prod", "ticketNumber": "C-1" } }, "maxNumberOfValidations": 3,
        "validateDetails": { "validateSource": "passferry run:7", "validateReference": key } });
    assert_eq!((requests.len(), body(&requests[0])), (1, told));
    assert_eq!(end, AddEnd::Applied { pass_id: Some(ID.to_owned()) });
    let (_, end) = send((200, json!({ "valid": false, "ticket": ticket(json!({})) })));
    assert!(matches!(end, AddEnd::Refused { .. }), "{end:?}");
    for unclear in [json!({ "ticket": ticket(json!({})) }), json!({ "valid": true }), json!("<html>")] {
        assert!(matches!(send((200, unclear)).1, AddEnd::Lost { .. }));
    }
    let look = |read_back, records: Json| {
        let answer = (200, ticket(json!({ "validateDetails": records })));
        play(tickets(read_back).read_back(&add(AddKind::Validate)).unwrap(), &[answer]).1
    };
    assert!(matches!(look(ReadBack::Presence, json!([{ "validateReference": "x" }, { "validateReference": key }])), Proof::Applied(_)));
    assert!(matches!(look(ReadBack::Presence, json!([])), Proof::Unknown(_)));
    assert!(matches!(look(ReadBack::Events, json!([{ "validateReference": "x" }])), Proof::NotApplied(_)));
    assert!(tickets(ReadBack::Nothing).read_back(&add(AddKind::Validate)).is_none());
}

#[test]
fn a_list_can_stand_for_finding_and_tells_how_long_it_is() {
    let passkit = tickets(ReadBack::Presence);
    let index = passkit.index().unwrap();
    // The shorter tickets of a list have their production beside the event.
    let short = json!({ "id": ID, "ticketNumber": "C-1", "production": { "id": "prod" }, "event": { "id": "night" }, "metaData": { "a": "1" },
        "person": {}, "seatInfo": {}, "faceValue": null });
    let silent = json!({ "id": "silent", "ticketNumber": "C-3", "production": { "id": "prod" } });
    let other = json!({ "id": "other", "ticketNumber": "C-2", "production": { "id": "elsewhere" } });
    let (sent, page): (_, IndexPage) = play(index.read(2000), &[(200, lines(&[short.clone(), other, silent.clone()]))]);
    assert!(sent[0].starts_with("POST /eventTickets/tickets/list ") && sent[0].contains(r#""offset":2000"#), "{sent:#?}");
    assert_eq!((page.next, page.passes.len()), (Some(2003), 1), "neither of another production nor without what it holds");
    assert!(play(passkit.pages(0), &[(200, lines(&[short, silent]))]).1.fault.unwrap().contains("does not tell all"));
    assert_eq!((page.passes[0].0.as_deref(), &page.passes[0].1.state["metaData"]), (Some("C-1"), &json!({ "a": "1" })));
    assert_eq!(play(index.size(), &[(200, json!({ "total": 17 }))]).1, Some(17));
    assert_eq!(play(index.size(), &[(200, json!({ "total": "17" }))]).1, Some(17));
    assert_eq!(play(index.size(), &[(404, json!({}))]).1, None);
}

#[test]
fn the_probe_names_what_is_missing() {
    let probe = |passkit: &Passkit, answer: (u16, Json)| -> Reach { play(passkit.probe(), &[(200, json!({})), answer]).1 };
    assert!(probe(&coupons(), (200, json!({ "total": 17 }))).message.ends_with("accepts the key and knows the campaign camp (17 passes)"));
    let wrong = probe(&tickets(ReadBack::Presence), (404, json!({})));
    assert!(!wrong.ok && wrong.message.contains("no production prod") && wrong.message.contains("the region"), "{wrong:?}");
    let barred = probe(&coupons(), (403, json!({ "message": "not yours" })));
    assert!(barred.denied && barred.message.contains("may not read the campaign camp"), "{barred:?}");
}
