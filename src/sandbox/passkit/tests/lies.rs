//! Answers that lie about what was done, and helps that are taken away.

use std::time::Duration;

use super::*;

async fn events(rig: &Rig, member_id: &Value) -> (u16, Vec<Value>) {
    let filters = json!({"filters": {"limit": 100, "filterGroups": [{"condition": "AND", "fieldFilters": [
        {"filterField": "member.id", "filterValue": member_id, "filterOperator": "eq"}]}]}});
    let response = rig.send("POST", &format!("/members/program/list/events/{PROGRAM}"), filters).await;
    let status = response.status().as_u16();
    (status, lines(&response.text().await.expect("a body")))
}

async fn body_of(rig: &Rig, trouble: Trouble) -> String {
    rig.trouble(Rule::new(trouble));
    let answer = rig.earn("A", 1.0, "e").await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("a body")
}

#[tokio::test]
async fn what_was_dropped_is_applied_later() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::ApplyLater { ms: 40 }).next(1));
    assert!(rig.earn("A", 5.0, "e").await.is_err());
    assert_eq!(rig.points("A"), 0.0);
    while rig.points("A") == 0.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((rig.points("A"), rig.sandbox.events("A")), (json!(5.0), vec!["e".to_owned()]));
}

#[tokio::test]
async fn an_answer_is_held_back_after_applying() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::AnswerLate { ms: 200 }));
    let impatient = rig.request("PUT", "/members/member/points/earn").timeout(Duration::from_millis(50));
    let body = json!({"externalId": "A", "programId": PROGRAM, "points": 3});
    assert!(impatient.json(&body).send().await.is_err_and(|error| error.is_timeout()));
    assert_eq!(rig.points("A"), 3.0);
}

#[tokio::test]
async fn an_answer_stands_twice_on_the_wire() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::AnswerTwice).next(1));
    let mut wire = tokio::net::TcpStream::connect(rig.sandbox.address()).await.expect("connected");
    let head = |more: &str| format!("GET /user/profile HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n{more}\r\n", token(-10, 45));
    wire.write_all(head("").as_bytes()).await.expect("sent");
    wire.write_all(head("connection: close\r\n").as_bytes()).await.expect("sent");
    let mut answers = String::new();
    wire.read_to_string(&mut answers).await.expect("read");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(rig.sandbox.requests().total(), 2);
}

#[tokio::test]
async fn bodies_are_applied_and_then_of_no_use() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].as_str().expect("an id").to_owned();
    assert_eq!(body_of(&rig, Trouble::EmptyBody).await, "");
    assert!(body_of(&rig, Trouble::HtmlAfter).await.starts_with("<!DOCTYPE"));
    let twice = body_of(&rig, Trouble::DuplicateKeys).await;
    assert_eq!((twice.matches("\"id\"").count(), twice.contains(&id)), (2, true));
    assert!(body_of(&rig, Trouble::DeepNesting { depth: 5000 }).await.contains(&format!("{{\"id\":\"{id}\",\"deep\":[[[[")));
    assert_eq!(body_of(&rig, Trouble::answer(200, "{\"id\":\"{id}\",\"odd\":1}")).await, format!("{{\"id\":\"{id}\",\"odd\":1}}"));
    assert_eq!(rig.points("A"), 5.0);
}

#[tokio::test]
async fn a_huge_body_unpacks_to_what_was_asked_for() {
    let rig = Rig::issued();
    assert_eq!(body_of(&rig, Trouble::HugeBody { bytes: 1 << 20, gzip: false }).await.len(), 1 << 20);
    rig.trouble(Rule::new(Trouble::HugeBody { bytes: 3 << 20, gzip: true }));
    let answer = rig.earn("A", 1.0, "e").await.expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.bytes().await.expect("a body");
    assert!(packed.len() < 100_000);
    let mut unpacked = flate2::read::MultiGzDecoder::new(&packed[..]);
    assert_eq!(std::io::copy(&mut unpacked, &mut std::io::sink()).expect("gzip"), 3 << 20);
}

#[tokio::test]
async fn lists_leave_out_repeat_turn_round_and_add() {
    let rig = Rig::new();
    rig.sandbox.issue((0..6).map(|number| member(&format!("C{number}")))).expect("issued");
    let ids = |rows: Vec<Value>| rows.iter().map(|row| row["result"]["externalId"].as_str().expect("an id").to_owned()).collect::<Vec<_>>();
    let mixed = |without_every, twice, reversed, extra| Trouble::MixedList { without_every, twice, reversed, extra };
    for (trouble, expected) in [
        (mixed(2, false, false, false), vec!["C1", "C3"]),
        (mixed(0, true, true, false), vec!["C4", "C4", "C3", "C3", "C2", "C2", "C1", "C1"]),
        (mixed(4, false, false, true), vec!["C1", "C2", "C3", "C0"]),
    ] {
        rig.trouble(Rule::new(trouble));
        assert_eq!(ids(rig.list(json!({"offset": 1, "limit": 4})).await), expected);
    }
}

#[tokio::test]
async fn a_write_is_refused_because_somebody_else_wrote() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].clone();
    let clash = Trouble::VersionClash { code: 412, key: "desk".to_owned(), value: "4".to_owned() };
    rig.trouble(Rule::new(clash).method("PUT").next(1));
    let update = json!({"id": id, "metaData": {"store": "14"}});
    assert_eq!(rig.ask("PUT", "/members/member", update.clone()).await.0, 412);
    assert_eq!(rig.read("A").await["metaData"], json!({"store": "12", "code": "A1", "desk": "4"}));
    assert_eq!(rig.ask("PUT", "/members/member", update).await.0, 200);
}

#[tokio::test]
async fn a_429_says_what_it_is_told_to() {
    let rig = Rig::issued();
    for text in ["0", "315360000", "soon"] {
        rig.trouble(Rule::new(Trouble::TooMany { retry_after: Some(text.to_owned()) }));
        let answer = rig.earn("A", 1.0, "e").await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().expect("a text")), (429, text));
    }
}

#[tokio::test]
async fn reads_and_lists_of_events_see_writes_later() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].clone();
    rig.faults(|faults| {
        faults.members_lag_ms = 300;
        faults.events_lag_ms = 300;
    });
    let answer = rig.earn("A", 5.0, "e").await.expect("an answer").json::<Value>().await.expect("JSON");
    assert_eq!(answer["points"], 5.0, "the write's own answer knows");
    assert_eq!(rig.read("A").await["points"], 0.0);
    assert_eq!(rig.list(json!({})).await[0]["result"]["points"], 0.0);
    assert_eq!(events(&rig, &id).await, (200, vec![]));
    let ended = rig.earn("A", 2.0, "f").await.expect("an answer").json::<Value>().await.expect("JSON");
    assert_eq!(ended["points"], 7.0, "writes build on writes");
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!(rig.read("A").await["points"], 7.0);
    assert_eq!(events(&rig, &id).await.1.len(), 2);
}

#[tokio::test]
async fn every_help_can_be_lacking() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].clone();
    rig.faults(|faults| faults.no_event_ids = true);
    rig.earn("A", 1.0, "one").await.expect("an answer");
    assert_eq!(events(&rig, &id).await.1[0]["result"]["externalId"], "");
    rig.faults(|faults| faults.no_events = true);
    rig.earn("A", 1.0, "two").await.expect("an answer");
    assert_eq!(events(&rig, &id).await.1.len(), 1);
    for status in [404, 501] {
        rig.faults(|faults| faults.event_lists = Some(status));
        assert_eq!(events(&rig, &id).await.0, status);
        assert_eq!(
            rig.send("POST", &format!("/members/member/list/events/{}", id.as_str().expect("an id")), json!({})).await.status(),
            status
        );
    }
    rig.faults(|faults| *faults = Faults { no_balances: true, ..Faults::default() });
    let answer = rig.earn("A", 1.0, "three").await.expect("an answer").json::<Value>().await.expect("JSON");
    assert_eq!((&answer["id"], answer.get("points")), (&id, None));
    assert_eq!(rig.points("A"), 3.0);
}

#[tokio::test]
async fn pages_hold_no_more_than_the_platform_likes() {
    let rig = Rig::new();
    rig.sandbox.issue((0..9).map(|number| member(&format!("C{number}")))).expect("issued");
    rig.faults(|faults| faults.page_max = Some(4));
    for (filters, expected) in [(json!({"limit": -1}), 4), (json!({"limit": 1000, "offset": 8}), 1), (json!({"limit": 2}), 2)] {
        assert_eq!(rig.list(filters).await.len(), expected);
    }
}

#[tokio::test]
async fn another_writer_moves_balances_and_is_counted_apart() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::OtherWriter { most: 9 }).path("earn"));
    rig.earn("A", 100.0, "e").await.expect("an answer");
    let others: f64 = rig.sandbox.effects().iter().filter(|effect| effect.route == crate::sandbox::BY_ANOTHER).map(|e| e.points).sum();
    assert!((1.0..=9.0).contains(&others));
    assert_eq!(rig.points("A"), 100.0 + others);
    assert_eq!(rig.sandbox.double_effects(), []);
}

#[tokio::test]
async fn every_effect_of_a_change_is_counted() {
    let rig = Rig::issued();
    for event in ["e1", "e1", "e2"] {
        rig.earn("A", 2.0, event).await.expect("an answer");
    }
    rig.trouble(Rule::new(Trouble::DropBefore).next(1));
    assert!(rig.earn("A", 2.0, "e3").await.is_err());
    rig.faults(|faults| faults.no_events = true);
    rig.trouble(Rule::new(Trouble::DropAfter).next(1));
    assert!(rig.earn("B", 2.0, "e4").await.is_err());
    let counted: Vec<_> = rig.sandbox.effects().into_iter().map(|e| (e.external_id, e.event, e.times, e.points)).collect();
    let expected = [("A", "e1", 2, 4.0), ("A", "e2", 1, 2.0), ("B", "e4", 1, 2.0)];
    assert_eq!(counted, expected.map(|(id, event, times, points)| (id.to_owned(), event.to_owned(), times, points)));
    assert_eq!(rig.sandbox.double_effects().len(), 1);
    let (_, shown) = rig.get("/sandbox/effects?externalId=A&moreThan=1").await;
    let route = crate::sandbox::EARN;
    assert_eq!(shown, json!([{"route": route, "externalId": "A", "event": "e1", "times": 2, "points": 4.0}]));
}

#[tokio::test]
async fn texts_that_really_changed_are_alerts() {
    let rig = Rig::issued();
    let update = |store: &'static str| json!({"externalId": "A", "programId": PROGRAM, "metaData": {"store": store, "code": "A1"}});
    for store in ["14", "14", "15"] {
        rig.ask("PUT", "/members/member", update(store)).await;
    }
    assert_eq!(rig.sandbox.alerts("A", "store"), ["14", "15"]);
    assert_eq!(rig.get("/sandbox/alerts").await.1[0], json!({"externalId": "A", "key": "store", "value": "14"}));
}

#[tokio::test]
async fn credentials_are_noted_and_not_kept() {
    let rig = Rig::issued();
    rig.get("/user/profile").await;
    rig.client.get(format!("{}/user/profile", rig.sandbox.base_url())).send().await.expect("an answer");
    let noted: Vec<bool> = rig.sandbox.requests().all().iter().map(|entry| entry.credentials).collect();
    assert_eq!(noted, [true, false]);
}
