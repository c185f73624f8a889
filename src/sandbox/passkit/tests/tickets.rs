//! Event tickets (contract section 6).

use super::*;

const PRODUCTION: &str = "sandbox-production";
const TICKET: &str = "/eventTickets/ticket";

/// With tickets `T-1` and `T-2` of one order.
fn rig() -> Rig {
    let rig = Rig::new();
    let tickets =
        ["T-1", "T-2"].map(|number| json!({"ticketNumber": number, "orderNumber": "O-1", "metaData": {"doors": "18:00", "code": "A"}}));
    assert_eq!(rig.sandbox.seed("passkit", tickets).expect("seeded"), 2);
    rig
}

fn numbered(number: &str) -> Value {
    json!({"ticketNumber": {"productionId": PRODUCTION, "ticketNumber": number}})
}

fn update(number: &str, more: Value) -> Value {
    let mut body = json!({"ticketNumber": number, "event": {"production": {"id": PRODUCTION}}});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

#[tokio::test]
async fn a_ticket_is_issued_by_the_platforms_ids() {
    let rig = Rig::new();
    let body = json!({"eventId": "sandbox-event", "ticketTypeId": "sandbox-ticket-type", "ticketNumber": "T 1+", "seatInfo": {"seat": "7"},
        "faceValue": {"amount": 12.5, "currency": "EUR"}, "optOut": "ON"});
    let (status, answer) = rig.ask("POST", TICKET, body.clone()).await;
    let id = answer["id"].as_str().expect("an id").to_owned();
    assert_eq!((status, id.len()), (200, 22));
    let ticket = rig.get(&format!("{TICKET}/id/{id}")).await.1;
    let by_number = rig.get(&format!("{TICKET}/ticketNumber?productionUid=PRODUCTION-1&ticketNumber=T%201%2B")).await;
    assert_eq!((200, &ticket), (by_number.0, &by_number.1));
    assert_eq!((&ticket["seatInfo"]["seat"], &ticket["seatInfo"]["row"], &ticket["optOut"]), (&json!("7"), &json!(""), &json!("ON")));
    assert_eq!((&ticket["event"]["id"], &ticket["status"]), (&json!("sandbox-event"), &json!("ISSUED")));
    assert_eq!(rig.ask("POST", TICKET, body).await.0, 409);
    let path = format!("{TICKET}/ticketNumber?productionId={PRODUCTION}&ticketNumber=T 1+");
    assert_eq!(rig.get(&path).await.0, 404, "a plus in a query is a blank");
    let (status, error) = rig.get(&format!("{TICKET}/id/nobody")).await;
    assert_eq!((status, &error["message"]), (404, &json!("ticket with id[nobody] does not exist")));
}

#[tokio::test]
async fn an_issue_names_an_event_that_is_there_or_says_all_of_it() {
    let rig = Rig::new();
    let event =
        |production: &str, venue: &str, start: &str| json!({"productionId": production, "venueId": venue, "scheduledStartDate": start});
    let when = "2027-06-02T19:00:00Z";
    for (body, expected) in [
        (json!({"eventId": "sandbox-event"}), 400),
        (json!({"eventId": "sandbox-event", "ticketTypeId": "x"}), 404),
        (json!({"eventId": "x", "ticketTypeId": "sandbox-ticket-type"}), 404),
        (json!({"ticketTypeId": "sandbox-ticket-type"}), 400),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": event("x", "sandbox-venue", when)}), 404),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": event(PRODUCTION, "x", when)}), 404),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": {"productionId": PRODUCTION, "venueId": "sandbox-venue"}}), 400),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": event(PRODUCTION, "sandbox-venue", "2027-06-02")}), 400),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": event(PRODUCTION, "sandbox-venue", when), "ticketNumber": "1"}), 200),
        (json!({"ticketTypeId": "sandbox-ticket-type", "event": event(PRODUCTION, "sandbox-venue", when), "ticketNumber": "2"}), 200),
        (json!({"ticketTypeId": "sandbox-ticket-type", "eventId": "sandbox-event", "optOut": true}), 400),
    ] {
        assert_eq!(rig.ask("POST", TICKET, body.clone()).await.0, expected, "{body}");
    }
    let event = |number| rig.sandbox.ticket(number).expect("there")["event"].clone();
    assert_eq!(event("1"), event("2"), "one event is created");
}

#[tokio::test]
async fn an_issue_by_own_ids_needs_both_ids_of_everything() {
    let rig = Rig::new();
    let path = format!("{TICKET}/id");
    let body = json!({"ticketNumber": "T-7", "ticketType": {"id": "sandbox-ticket-type", "uid": "SEATED"}, "event": {
        "production": {"id": PRODUCTION, "uid": "PRODUCTION-1"}, "venue": {"id": "sandbox-venue", "uid": "HALL"},
        "scheduledStartDate": "2027-06-01T21:00:00+02:00"}});
    let (status, answer) = rig.ask("POST", &path, body.clone()).await;
    assert_eq!((status, &answer["eventId"], &answer["venueId"]), (200, &json!("sandbox-event"), &json!("sandbox-venue")));
    assert_eq!(answer["ticketId"].as_str().map(str::len), Some(22));
    for pointer in ["/ticketType/uid", "/event/production/uid", "/event/venue/id"] {
        let mut lacking = body.clone();
        *lacking.pointer_mut(pointer).expect("there") = json!("");
        assert_eq!(rig.ask("POST", &path, lacking).await.0, 400, "{pointer}");
    }
}

#[tokio::test]
async fn an_update_changes_neither_event_nor_type_and_merges_a_seat() {
    let rig = rig();
    let before = rig.sandbox.ticket("T-1").expect("there");
    let more = json!({"seatInfo": {"gate": "B"}, "metaData": {"doors": "19:00"}, "ticketType": {"id": "sandbox-ticket-type-2"}, "status": "REDEEMED"});
    assert_eq!(rig.ask("PUT", TICKET, update("T-1", more)).await, (200, json!({"id": before["id"]})));
    rig.ask("PUT", TICKET, json!({"id": before["id"], "seatInfo": {"row": "14"}, "optOut": "ON"})).await;
    let after = rig.sandbox.ticket("T-1").expect("there");
    assert_eq!((&after["seatInfo"]["gate"], &after["seatInfo"]["row"]), (&json!("B"), &json!("14")));
    assert_eq!((&after["event"], &after["ticketType"], &after["status"]), (&before["event"], &before["ticketType"], &before["status"]));
    assert_eq!((&after["metaData"], &after["optOut"]), (&json!({"doors": "19:00"}), &json!("ON")));
    assert_eq!(rig.sandbox.alerts("T-1", "doors"), ["19:00"]);
    rig.faults(|faults| faults.replace_person = true);
    rig.ask("PUT", TICKET, json!({"id": before["id"], "seatInfo": {"row": "15"}})).await;
    assert_eq!(rig.sandbox.ticket("T-1").expect("there")["seatInfo"]["gate"], "");
    assert_eq!(rig.ask("PUT", TICKET, json!({"ticketNumber": "T-1", "seatInfo": {"row": "1"}})).await.0, 400);
    assert_eq!(rig.ask("PUT", TICKET, update("T-9", json!({}))).await.0, 404);
    assert_eq!(rig.ask("PUT", TICKET, update("T-1", json!({"seatInfo": {"row": 14}}))).await.0, 400);
}

#[tokio::test]
async fn validations_add_up_and_redeem_at_the_maximum() {
    let rig = rig();
    let path = format!("{TICKET}/validate");
    let body = |details: &str| json!({"ticket": numbered("T-1"), "maxNumberOfValidations": 2, "validateDetails": {"gate": details}});
    let (status, answer) = rig.ask("PUT", &path, body("a")).await;
    assert_eq!((status, &answer["valid"], &answer["ticket"]["status"]), (200, &json!(true), &json!("ISSUED")));
    assert!(rig.sandbox.double_effects().is_empty());
    let (_, answer) = rig.ask("PUT", &path, body("a")).await;
    assert_eq!((&answer["valid"], &answer["ticket"]["status"]), (&json!(true), &json!("REDEEMED")));
    assert_eq!(answer["ticket"]["validateDetails"].as_array().map(Vec::len), Some(2));
    assert_eq!(rig.sandbox.double_effects().len(), 1, "the same validation twice");
    let (status, answer) = rig.ask("PUT", &path, body("b")).await;
    assert_eq!((status, &answer["valid"]), (200, &json!(false)));
    assert_eq!(rig.ask("PUT", &path, numbered("T-1")).await.0, 400, "the key stands under ticket");
}

#[tokio::test]
async fn tickets_are_redeemed_once_singly_and_by_order() {
    let rig = rig();
    let (one, order) = (format!("{TICKET}/redeem"), "/eventTickets/tickets/orderNumber/redeem");
    let id = rig.sandbox.ticket("T-1").expect("there")["id"].clone();
    let body = json!({"ticket": {"ticketId": id}, "redemptionDetails": {"redemptionReference": "R-1"}});
    assert_eq!(rig.ask("PUT", &one, body.clone()).await, (200, json!({"id": id})));
    assert_eq!(rig.ask("PUT", &one, body).await.0, 400);
    assert_eq!(rig.sandbox.ticket("T-1").expect("there")["redemptionDetails"]["redemptionReference"], "R-1");
    assert_eq!(rig.ask("PUT", order, json!({"productionUid": "PRODUCTION-1", "orderNumber": "O-9"})).await.0, 404);
    rig.faults(|faults| faults.second_redeem = Some(200));
    let (status, answer) = rig.ask("PUT", order, json!({"productionUid": "PRODUCTION-1", "orderNumber": "O-1"})).await;
    assert_eq!((status, answer["id"].as_array().map(Vec::len)), (200, Some(2)));
    let (_, found) = rig.get(&format!("/eventTickets/tickets/orderNumber?productionId={PRODUCTION}&orderNumber=O-1")).await;
    assert!(found["tickets"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|ticket| ticket["status"] == "REDEEMED")));
    assert_eq!(rig.ask("DELETE", "/eventTickets/orderNumber", json!({"productionId": PRODUCTION, "orderNumber": "O-1"})).await.0, 200);
    assert_eq!(rig.sandbox.count("passkit"), 0);
}

#[tokio::test]
async fn a_delete_wants_ticket_id_and_is_final() {
    let rig = rig();
    let id = rig.sandbox.ticket("T-1").expect("there")["id"].clone();
    assert_eq!(rig.ask("DELETE", TICKET, json!({"id": id})).await.0, 400);
    assert_eq!(rig.ask("DELETE", TICKET, json!({"ticketId": id})).await, (200, json!({})));
    assert_eq!(rig.ask("DELETE", TICKET, json!({"ticketId": id})).await.0, 404);
    assert_eq!(rig.ask("DELETE", TICKET, numbered("T-2")).await.0, 200);
    assert_eq!(rig.get(&format!("{TICKET}/id/{}", id.as_str().expect("an id"))).await.0, 404);
    assert_eq!(rig.ask("POST", &format!("{TICKET}/person"), json!({})).await.0, 501);
}

#[tokio::test]
async fn the_person_alone_goes_by_another_form_of_key() {
    let rig = rig();
    let path = format!("{TICKET}/person");
    let id = rig.sandbox.ticket("T-1").expect("there")["id"].clone();
    assert_eq!(rig.ask("PATCH", &path, json!({"ticketId": {"id": id}, "person": {"forename": "Ada"}})).await.0, 200);
    let by_number = json!({"ticketNumber": {"productionId": PRODUCTION, "ticketNumber": "T-1"}, "person": {"surname": "Byron"}});
    assert_eq!(rig.ask("PATCH", &path, by_number).await.0, 200);
    let person = &rig.sandbox.ticket("T-1").expect("there")["person"];
    assert_eq!((&person["forename"], &person["surname"]), (&json!("Ada"), &json!("Byron")));
    assert_eq!(rig.ask("PATCH", &path, json!({"ticketId": id, "person": {}})).await.0, 400);
}

#[tokio::test]
async fn a_list_shows_tickets_in_short() {
    let rig = rig();
    let ask = |body: Value| async { rig.send("POST", "/eventTickets/tickets/list", body).await.text().await.expect("a body") };
    let rows = lines(&ask(json!({"productionId": PRODUCTION, "filters": {"limit": -1}})).await);
    assert_eq!((rows.len(), &rows[1]["result"]["ticketNumber"]), (2, &json!("T-2")));
    assert_eq!((&rows[0]["result"]["metaData"], &rows[0]["result"]["eventId"]), (&Value::Null, &json!("sandbox-event")));
    assert_eq!(ask(json!({"productionUid": "PRODUCTION-1", "ticketTypeId": "other"})).await, "");
    let filters = json!({"limit": -1, "filterGroups": [{"condition": "OR", "fieldFilters": [
        {"filterField": "ticketNumber", "filterValue": "T-2", "filterOperator": "eq"}]}]});
    let (_, count) = rig.ask("POST", "/eventTickets/tickets/count", json!({"productionId": PRODUCTION, "filters": filters})).await;
    assert_eq!(count, json!({"total": 1}));
    assert_eq!(rig.ask("POST", "/eventTickets/tickets/count", json!({"productionId": "x"})).await.0, 404);
    assert_eq!(rig.ask("POST", "/eventTickets/tickets/count", json!({})).await.0, 400);
    rig.trouble(Rule::new(Trouble::ListError { rows: 1 }));
    assert!(
        ask(json!({"productionId": PRODUCTION}))
            .await
            .ends_with("{\"error\":{\"code\":13,\"message\":\"the list broke\",\"details\":[]}}\n")
    );
}

#[tokio::test]
async fn coupons_and_tickets_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { database: Some(folder.path().join("sandbox.db")), ..Settings::default() };
    let rig = Rig::with(settings.clone());
    let passes = [json!({"ticketNumber": "T-1"}), json!({"offerId": "sandbox-offer", "externalId": "S-1"}), json!({"externalId": "C-1"})];
    assert_eq!(rig.sandbox.seed("passkit", passes.clone()).expect("seeded"), 3);
    rig.ask("PUT", TICKET, update("T-1", json!({"barcodeContents": "b"}))).await;
    let before = rig.sandbox.ticket("T-1");
    drop(rig);
    let rig = Rig::with(settings);
    assert_eq!(rig.sandbox.ticket("T-1"), before);
    assert_eq!((rig.sandbox.count("passkit"), rig.sandbox.members()), (3, 1));
    assert!(rig.sandbox.coupon("S-1").is_some());
    assert_eq!(rig.sandbox.seed("passkit", passes).expect("seeded"), 0);
}
