//! The contract part: what the platform does when nothing is wrong.

use super::*;
use crate::sandbox::{ErrorShape, Region};

async fn status_with(rig: &Rig, authorization: &str) -> (u16, Value) {
    let request = rig.client.get(format!("{}/user/profile", rig.sandbox.base_url())).header("authorization", authorization);
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_token_is_taken_with_and_without_bearer() {
    let rig = Rig::new();
    assert_eq!(status_with(&rig, &token(-10, 45)).await.0, 200);
    assert_eq!(status_with(&rig, &format!("Bearer {}", token(-10, 45))).await.0, 200);
    assert_eq!(status_with(&rig, &token(-10, 3600)).await.0, 200);
}

#[tokio::test]
async fn a_token_is_refused_for_its_age_key_secret_or_expiry() {
    let rig = Rig::new();
    assert_eq!(status_with(&rig, &token(-60, 45)).await, (401, json!({"error": "jwt was issued too long ago"})));
    assert_eq!(status_with(&rig, &token(30, 90)).await, (401, json!({"error": "Token used before issued"})));
    assert_eq!(status_with(&rig, &token(-10, -1)).await.0, 401);
    assert_eq!(status_with(&rig, &token_of("other", "sandbox-secret", -10, 45)).await.0, 401);
    assert_eq!(status_with(&rig, &token_of("sandbox-key", "other", -10, 45)).await.0, 401);
    assert_eq!(status_with(&rig, "no token").await.0, 401);
    rig.faults(|faults| faults.strict_expiry = true);
    assert_eq!(status_with(&rig, &token(-10, 300)).await.0, 401);
    assert_eq!(status_with(&rig, &token(-10, 45)).await.0, 200);
}

#[tokio::test]
async fn the_wrong_region_takes_the_token_and_misses_everything() {
    let rig = Rig::with(Settings { region: Region::Wrong, ..Settings::default() });
    assert_eq!(rig.get("/user/profile").await.0, 200);
    assert_eq!(rig.get(&format!("/members/program/{PROGRAM}")).await.0, 404);
    assert_eq!(rig.get(&by_external_id("A")).await.0, 404);
}

#[tokio::test]
async fn a_program_is_found_or_named_as_missing() {
    let rig = Rig::new();
    assert_eq!(rig.get(&format!("/members/program/{PROGRAM}")).await.1["id"], PROGRAM);
    let (status, error) = rig.get("/members/program/elsewhere").await;
    assert_eq!((status, &error["message"]), (404, &json!("program with id[elsewhere] does not exist")));
}

#[tokio::test]
async fn a_member_is_enrolled_once_and_read_both_ways() {
    let rig = Rig::new();
    let enrol = json!({
        "programId": PROGRAM, "tierId": "gold", "externalId": "C 1", "points": 120, "metaData": {"store": "12"},
        "person": {"forename": "Ada", "emailAddress": "ada@example.org"}, "expiryDate": "2027-01-31T23:59:59Z",
    });
    let (status, answer) = rig.ask("POST", "/members/member", enrol.clone()).await;
    assert_eq!(status, 200);
    let id = answer["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 22);
    let member = rig.get(&format!("/members/member/id/{id}")).await.1;
    assert_eq!(member, rig.read("C%201").await);
    assert_eq!(member["points"], 120.0);
    assert_eq!(member["person"]["forename"], "Ada");
    assert_eq!(member["expiryDate"], "2027-01-31T23:59:59Z");
    for (field, empty) in [("groupingIdentifier", json!("")), ("optOut", json!(false)), ("notes", json!([])), ("tierPoints", json!(0))] {
        assert_eq!(member[field], empty, "{field} is printed empty");
    }
    let (status, error) = rig.ask("POST", "/members/member", enrol).await;
    assert_eq!((status, error["code"].as_u64()), (409, Some(6)));
    assert_eq!(rig.sandbox.members(), 1);
}

#[tokio::test]
async fn enrolment_needs_a_known_program_and_tier() {
    let rig = Rig::new();
    for (body, expected) in [
        (json!({"programId": "x", "tierId": "gold"}), 404),
        (json!({"programId": PROGRAM, "tierId": "x"}), 404),
        (json!({"programId": PROGRAM}), 400),
        (json!({"tierId": "gold"}), 400),
        (json!({"programId": PROGRAM, "tierId": "gold", "created": "2026-01-01T00:00:00Z"}), 400),
        (json!({"programId": PROGRAM, "tierId": "gold", "person": {"emailAddress": "ada"}}), 400),
        (json!({"programId": PROGRAM, "tierId": "gold", "person": {"mobileNumber": "+33 6 12"}}), 400),
    ] {
        assert_eq!(rig.ask("POST", "/members/member", body.clone()).await.0, expected, "{body}");
    }
    assert_eq!(rig.sandbox.members(), 0);
}

#[tokio::test]
async fn meta_data_is_replaced_as_a_whole() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].clone();
    assert_eq!(rig.ask("PUT", "/members/member", json!({"id": id, "metaData": {"store": "14"}})).await, (200, json!({"id": id})));
    assert_eq!(rig.read("A").await["metaData"], json!({"store": "14"}));
    rig.ask("PUT", "/members/member", json!({"id": id, "metaData": {}})).await;
    assert_eq!(rig.read("A").await["metaData"], json!({"store": "14"}));
}

#[tokio::test]
async fn falsy_values_are_ignored_unless_put() {
    let rig = Rig::issued();
    let key = |more: Value| {
        let mut body = json!({"externalId": "A", "programId": PROGRAM});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let set = json!({"points": 7, "optOut": true, "groupingIdentifier": "pair", "person": {"forename": "Ada", "surname": "Byron"}});
    rig.ask("PUT", "/members/member", key(set)).await;
    let falsy = json!({"points": 0, "optOut": false, "groupingIdentifier": "", "person": {"forename": ""}});
    rig.ask("PUT", "/members/member", key(falsy.clone())).await;
    let member = rig.read("A").await;
    assert_eq!((&member["points"], &member["optOut"], &member["groupingIdentifier"]), (&json!(7.0), &json!(true), &json!("pair")));
    assert_eq!((&member["person"]["forename"], &member["person"]["surname"]), (&json!("Ada"), &json!("Byron")));
    let mut put = key(falsy);
    put["operation"] = json!("OPERATION_PUT");
    rig.ask("PUT", "/members/member", put).await;
    let member = rig.read("A").await;
    assert_eq!((&member["points"], &member["optOut"], &member["groupingIdentifier"]), (&json!(0.0), &json!(false), &json!("")));
    assert_eq!((&member["person"]["forename"], &member["person"]["surname"]), (&json!(""), &json!("Byron")));
}

#[tokio::test]
async fn an_external_id_never_changes() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].clone();
    assert_eq!(rig.ask("PUT", "/members/member", json!({"id": id, "externalId": "Z", "points": 5})).await.0, 200);
    assert_eq!(rig.read("A").await["points"], 5.0);
    assert_eq!(rig.get(&by_external_id("Z")).await.0, 404);
}

#[tokio::test]
async fn an_update_of_nobody_names_the_id() {
    let rig = Rig::new();
    let (status, error) = rig.ask("PUT", "/members/member", json!({"id": "nobody", "points": 1})).await;
    assert_eq!((status, &error["message"]), (404, &json!("member with id[nobody] does not exist")));
    assert_eq!(rig.ask("PUT", "/members/member", json!({"points": 1})).await.0, 400);
    assert_eq!(rig.ask("PUT", "/members/member", json!({"externalId": "A", "points": 1})).await.0, 400);
}

#[tokio::test]
async fn points_are_set_earned_and_burnt_as_32_bit_floats() {
    let rig = Rig::issued();
    let body = |points: Value| json!({"externalId": "A", "programId": PROGRAM, "points": points});
    let (status, answer) = rig.ask("PUT", "/members/member/points/set", body(json!(1_999_999.99))).await;
    assert_eq!((status, &answer["points"]), (200, &json!(2_000_000.0)));
    let first: Vec<&String> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(first, ["id", "externalId", "programId", "points", "secondaryPoints", "tierPoints"]);
    rig.ask("PUT", "/members/member/points/set", body(json!(16_777_217))).await;
    assert_eq!(rig.points("A"), 16_777_216.0);
    rig.ask("PUT", "/members/member/points/set", body(json!(0.1))).await;
    assert!(rig.request("GET", &by_external_id("A")).send().await.expect("a").text().await.expect("b").contains("\"points\":0.1,"));
    rig.ask("PUT", "/members/member/points/set", body(json!(10))).await;
    assert_eq!(rig.ask("PUT", "/members/member/points/earn", body(json!(5))).await.1["points"], 15.0);
    assert_eq!(rig.ask("PUT", "/members/member/points/burn", body(json!(12))).await.1["points"], 3.0);
    assert_eq!(rig.ask("PUT", "/members/member/points/burn", body(json!(4))).await.0, 400);
    assert_eq!(rig.ask("PUT", "/members/member/points/earn", body(json!(-1))).await.0, 400);
    assert_eq!(rig.points("A"), 3.0);
    rig.faults(|faults| faults.overdraw = true);
    assert_eq!(rig.ask("PUT", "/members/member/points/burn", body(json!(4))).await.1["points"], -1.0);
}

#[tokio::test]
async fn zero_points_need_a_reset_flag() {
    let rig = Rig::issued();
    let key = json!({"externalId": "A", "programId": PROGRAM});
    rig.ask("PUT", "/members/member", json!({"externalId": "A", "programId": PROGRAM, "points": 9, "tierPoints": 4})).await;
    assert_eq!(rig.ask("PUT", "/members/member/points/set", key.clone()).await.0, 400);
    let mut zero = key.clone();
    zero["points"] = json!(0);
    assert_eq!(rig.ask("PUT", "/members/member/points/set", zero.clone()).await.0, 400);
    zero["resetPoints"] = json!(true);
    let (_, answer) = rig.ask("PUT", "/members/member/points/set", zero).await;
    assert_eq!((&answer["points"], &answer["tierPoints"]), (&json!(0.0), &json!(4)));
}

#[tokio::test]
async fn events_carry_the_callers_id_oldest_first_and_25_at_most() {
    let rig = Rig::issued();
    for number in 0..30 {
        assert!(rig.earn("A", 1.0, &format!("file#{number}")).await.expect("an answer").status().is_success());
    }
    let id = rig.read("A").await["id"].as_str().expect("an id").to_owned();
    let response = rig.send("POST", &format!("/members/member/list/events/{id}"), json!({})).await;
    let events = lines(&response.text().await.expect("a body"));
    assert_eq!(events.len(), 25);
    assert_eq!(events[0]["result"]["externalId"], "file#0");
    assert_eq!(events[24]["result"]["externalId"], "file#24");
    let filters = json!({"filters": {"limit": 100, "offset": 25, "filterGroups": [{"condition": "AND", "fieldFilters": [
        {"filterField": "member.id", "filterValue": id, "filterOperator": "eq"}]}]}});
    let response = rig.send("POST", &format!("/members/program/list/events/{PROGRAM}"), filters).await;
    let rest = lines(&response.text().await.expect("a body"));
    assert_eq!(rest.len(), 5);
    assert_eq!(rest[4]["result"]["externalId"], "file#29");
    assert_eq!(rig.sandbox.events("A").len(), 30);
}

#[tokio::test]
async fn tier_and_expiry_change() {
    let rig = Rig::issued();
    let body = json!({"externalMemberId": "A", "programId": PROGRAM, "tierId": "gold", "eventDetails": {"externalEventId": "e1"}});
    let (status, event) = rig.ask("PUT", "/members/member/tier", body.clone()).await;
    assert_eq!((status, &event["externalId"]), (200, &json!("e1")));
    let mut unknown = body;
    unknown["tierId"] = json!("lead");
    assert_eq!(rig.ask("PUT", "/members/member/tier", unknown).await.0, 404);
    let expiry = json!({"externalId": "A", "programId": PROGRAM, "expiryDate": "2030-01-01T00:00:00Z"});
    assert_eq!(rig.ask("PUT", "/members/member/updateExpiry", expiry).await.0, 200);
    let member = rig.read("A").await;
    assert_eq!((&member["tierId"], &member["expiryDate"]), (&json!("gold"), &json!("2030-01-01T00:00:00Z")));
}

#[tokio::test]
async fn a_delete_carries_a_body_and_is_final() {
    let rig = Rig::issued();
    let key = json!({"externalId": "A", "programId": PROGRAM});
    assert_eq!(rig.ask("DELETE", "/members/member", key.clone()).await, (200, json!({})));
    assert_eq!(rig.ask("DELETE", "/members/member", key).await.0, 404);
    assert_eq!(rig.get(&by_external_id("A")).await.0, 404);
    rig.faults(|faults| faults.keep_deleted = true);
    rig.ask("DELETE", "/members/member", json!({"externalId": "B", "programId": PROGRAM})).await;
    assert_eq!(rig.read("B").await["status"], "DELETED");
    assert_eq!(rig.ask("DELETE", "/members/member", json!({"externalId": "B", "programId": PROGRAM})).await.0, 404);
    assert_eq!(rig.sandbox.members(), 0);
}

#[tokio::test]
async fn unknown_fields_are_dropped_or_refused_by_switch() {
    let rig = Rig::issued();
    let body = json!({"externalId": "A", "programId": PROGRAM, "poins": 5});
    assert_eq!(rig.ask("PUT", "/members/member", body.clone()).await.0, 200);
    rig.faults(|faults| faults.reject_unknown_fields = true);
    let (status, error) = rig.ask("PUT", "/members/member", body).await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().expect("a text").contains("unknown field \"poins\""));
}

#[tokio::test]
async fn wrong_shapes_are_parse_errors() {
    let rig = Rig::issued();
    for wrong in [json!({"metaData": {"seat": 12}}), json!({"points": "12"}), json!({"expiryDate": "2027-01-31"}), json!([1])] {
        let (status, error) = rig.ask("PUT", "/members/member", wrong.clone()).await;
        assert!(status == 400 && error["message"].as_str().expect("a text").starts_with("proto: syntax error"), "{wrong}: {error}");
    }
    let response = rig.request("PUT", "/members/member").body("{\"id\":").send().await.expect("an answer");
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn an_oversized_body_is_refused_and_its_repeats_throttled() {
    let rig = Rig::issued();
    let body = json!({"externalId": "A", "programId": PROGRAM, "metaData": {"text": "x".repeat(10_000)}});
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(rig.ask("PUT", "/members/member", body.clone()).await.0);
    }
    assert_eq!(statuses, [400, 400, 400, 400, 429, 429]);
    let other = json!({"externalId": "A", "programId": PROGRAM, "metaData": {"text": "y".repeat(10_000)}});
    assert_eq!(rig.ask("PUT", "/members/member", other).await.0, 400);
    let fits = json!({"externalId": "A", "programId": PROGRAM, "metaData": {"text": "x".repeat(9_900)}});
    assert_eq!(rig.ask("PUT", "/members/member", fits).await.0, 200);
}

#[tokio::test]
async fn errors_come_in_four_shapes() {
    let rig = Rig::new();
    let text = "member with externalId[A] does not exist";
    for (shape, expected) in [
        (ErrorShape::Gateway, json!({"code": 5, "message": text, "details": []})),
        (ErrorShape::Text, json!({"error": text})),
        (ErrorShape::Both, json!({"error": text, "code": 5, "message": text, "details": []})),
        (ErrorShape::Nested, json!({"error": {"code": 5, "message": text, "details": []}})),
    ] {
        rig.faults(|faults| faults.error_shape = shape);
        assert_eq!(rig.get(&by_external_id("A")).await, (404, expected));
    }
}

#[tokio::test]
async fn other_paths_and_methods_answer_as_the_gateway_does() {
    let rig = Rig::new();
    assert_eq!(rig.get("/members/nothing").await, (404, json!({"code": 5, "message": "Not Found", "details": []})));
    assert_eq!(rig.ask("PATCH", "/members/member", json!({})).await.0, 501);
}

#[tokio::test]
async fn members_and_events_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { database: Some(folder.path().join("sandbox.db")), ..Settings::default() };
    let rig = Rig::with(settings.clone());
    assert_eq!(rig.sandbox.issue(["A", "B", "C"].into_iter().map(member)).expect("issued"), 3);
    rig.earn("A", 5.0, "once").await.expect("an answer");
    let person = json!({"forename": "Ada", "gender": "FEMALE", "dateOfBirth": {"year": 1815, "month": 12, "day": 10}});
    rig.ask("PUT", "/members/member", json!({"externalId": "A", "programId": PROGRAM, "person": person})).await;
    assert_eq!(rig.read("A").await["person"]["dateOfBirth"], person["dateOfBirth"]);
    rig.ask("DELETE", "/members/member", json!({"externalId": "B", "programId": PROGRAM})).await;
    let before = rig.sandbox.member("A");
    drop(rig);
    let rig = Rig::with(settings);
    assert_eq!(rig.sandbox.member("A"), before);
    assert_eq!(rig.sandbox.events("A"), ["once"]);
    assert_eq!((rig.sandbox.members(), rig.sandbox.member("B")), (2, None));
    assert_eq!(rig.sandbox.issue(["A", "D"].into_iter().map(member)).expect("issued"), 1);
    assert_eq!(rig.points("A"), 5.0);
}

#[tokio::test]
async fn events_are_selected_by_member_alone_and_paged_25_by_default() {
    let rig = Rig::issued();
    let id = rig.read("B").await["id"].as_str().expect("an id").to_owned();
    for number in 0..27 {
        rig.earn("A", 1.0, &format!("a{number}")).await.expect("an answer");
        rig.earn("B", 1.0, &format!("b{number}")).await.expect("an answer");
    }
    let by = |field: &str, value: &str, limit: i64| {
        json!({"filters": {"limit": limit, "filterGroups": [{"condition": "AND", "fieldFilters": [
            {"filterField": field, "filterValue": value, "filterOperator": "eq"}]}]}})
    };
    let path = format!("/members/program/list/events/{PROGRAM}");
    for (limit, expected) in [(0, 25), (10, 10), (-1, 27)] {
        let answer = rig.send("POST", &path, by("member.id", &id, limit)).await;
        let rows = lines(&answer.text().await.expect("a body"));
        assert_eq!((rows.len(), &rows[1]["result"]["externalId"]), (expected, &json!("b1")), "limit {limit}");
    }
    assert_eq!(rig.send("POST", &path, json!({"filters": {"limit": -1}})).await.text().await.expect("a body").lines().count(), 54);
    assert_eq!(rig.send("POST", &path, by("externalId", "b1", 0)).await.status(), 400, "nothing is known of such a filter");
    assert_eq!(rig.send("POST", "/members/member/list/events/nobody", json!({})).await.status(), 404);
}
