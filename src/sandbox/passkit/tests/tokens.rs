//! Long-lived tokens, the other region, and calls over many members.

use super::*;
use crate::sandbox::LongLived;

const TOKEN: &str = "sandbox-long-lived-token";

async fn status(rig: &Rig, base: &str, authorization: &str) -> u16 {
    let path = format!("{base}{}", by_external_id("A"));
    rig.client.get(path).header("authorization", authorization).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_long_lived_token_goes_with_bearer_until_it_expires_or_is_revoked() {
    let rig = Rig::issued();
    let base = rig.sandbox.base_url();
    assert_eq!(status(&rig, &base, &format!("Bearer {TOKEN}")).await, 200);
    assert_eq!(status(&rig, &base, TOKEN).await, 401);
    assert_eq!(status(&rig, &base, "Bearer ").await, 401);
    for state in [LongLived::Expired, LongLived::Revoked] {
        rig.faults(|faults| faults.long_lived_token = state);
        assert_eq!(status(&rig, &base, &format!("Bearer {TOKEN}")).await, 401);
        assert_eq!(status(&rig, &base, &token(-10, 45)).await, 200);
    }
    rig.faults(|faults| faults.long_lived_token = LongLived::Good);
    rig.sandbox.revoke_tokens();
    assert_eq!(status(&rig, &base, &format!("Bearer {TOKEN}")).await, 401);
    assert_eq!(status(&rig, &base, &format!("Bearer {}", rig.sandbox.long_lived_token())).await, 200);
}

#[tokio::test]
async fn a_login_gives_one_and_is_not_logged() {
    let rig = Rig::issued();
    let login = |password: &str, header: &str| {
        let body = json!({"username": "sandbox", "password": password});
        let request = rig.client.post(format!("{}/login", rig.sandbox.base_url()));
        request.header("x-passkit-longlived-token", header).json(&body).send()
    };
    assert_eq!(login("wrong", "true").await.expect("an answer").status(), 401);
    assert_eq!(login("sandbox-password", "false").await.expect("an answer").status(), 400);
    let answer: Value = login("sandbox-password", "true").await.expect("an answer").json().await.expect("JSON");
    let token = answer["token"].as_str().expect("a token");
    assert_eq!(status(&rig, &rig.sandbox.base_url(), &format!("Bearer {token}")).await, 200);
    assert_eq!(status(&rig, &rig.sandbox.base_url(), &format!("Bearer {TOKEN}")).await, 200);
    assert!(rig.sandbox.requests().all().iter().all(|entry| entry.body.as_deref().is_none_or(str::is_empty)));
}

#[tokio::test]
async fn the_other_region_takes_the_token_and_has_nothing() {
    let rig = Rig::issued();
    let other = rig.sandbox.other_region_url();
    assert_eq!(status(&rig, &rig.sandbox.base_url(), &token(-10, 45)).await, 200);
    assert_eq!(status(&rig, &other, &token(-10, 45)).await, 404);
    assert_eq!(status(&rig, &other, &format!("Bearer {TOKEN}")).await, 404);
    assert_eq!(status(&rig, &other, &token(-60, 45)).await, 401);
    let profile = rig.client.get(format!("{other}/user/profile")).header("authorization", token(-10, 45)).send();
    assert_eq!(profile.await.expect("an answer").status(), 200);
    for path in ["members/member", "coupon/singleUse/coupon", "eventTickets/ticket"] {
        let call = rig.client.post(format!("{other}/{path}")).header("authorization", token(-10, 45)).json(&json!({})).send();
        assert_eq!(call.await.expect("an answer").status(), 404, "{path}");
    }
    assert_eq!(rig.sandbox.members(), 2);
}

#[tokio::test]
async fn a_segment_changes_every_member_its_filter_meets() {
    let rig = Rig::new();
    rig.sandbox.issue((0..40).map(|number| member(&format!("C{number:02}")))).expect("issued");
    let filter = json!({"filterGroups": [{"condition": "AND", "fieldFilters": [
        {"filterField": "externalId", "filterOperator": "like", "filterValue": "C0%"}]}]});
    let body = json!({"filter": filter, "newValues": {"tierId": "gold", "externalId": "Z", "metaData": {"store": "9"}}});
    assert_eq!(rig.ask("PUT", "/members/member/segment", body).await, (200, json!({})));
    let tier = |id: &str| rig.sandbox.member(id).expect("there")["tierId"].clone();
    assert_eq!((tier("C09"), tier("C10")), (json!("gold"), json!("base")));
    assert_eq!(rig.ask("PUT", "/members/member/segment", json!({"newValues": {"tierId": "silver"}})).await.0, 200);
    assert_eq!(tier("C39"), "silver", "no filter meets all, beyond any page");
    assert_eq!(rig.ask("PUT", "/members/member/segment", json!({"filter": {}})).await.0, 400);
    let unknown = json!({"newValues": {"tierId": "lead"}});
    assert_eq!(rig.ask("PUT", "/members/member/segment", unknown).await.0, 404);
}

#[tokio::test]
async fn a_members_person_is_changed_alone() {
    let rig = Rig::issued();
    let body = json!({"externalId": "A", "classId": PROGRAM, "person": {"forename": "Ada"}, "points": 5});
    assert_eq!(rig.ask("PATCH", "/members/member/person", body).await.0, 200);
    let member = rig.read("A").await;
    assert_eq!((&member["person"]["forename"], &member["points"]), (&json!("Ada"), &json!(0.0)));
    let wrong = json!({"externalId": "A", "programId": PROGRAM, "person": {"forename": "Ada"}});
    assert_eq!(rig.ask("PATCH", "/members/member/person", wrong).await.0, 400);
}
