//! Lists, counts, filters.

use super::*;

fn rig_of(count: u32) -> Rig {
    let rig = Rig::new();
    let members = (0..count).map(|number| Issue {
        points: number as f32,
        tier_id: (number % 2 == 1).then(|| "gold".to_owned()),
        ..member(&format!("C{number:04}"))
    });
    assert_eq!(rig.sandbox.issue(members).expect("issued"), u64::from(count));
    rig
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["result"]["externalId"].as_str().expect("an id")).collect()
}

fn groups(condition: &str, tests: &[(&str, &str, &str)]) -> Value {
    let filters: Vec<Value> = tests
        .iter()
        .map(|(field, operator, value)| json!({"filterField": field, "filterOperator": operator, "filterValue": value}))
        .collect();
    json!({"limit": -1, "filterGroups": [{"condition": condition, "fieldFilters": filters}]})
}

#[tokio::test]
async fn a_page_has_25_rows_unless_told_otherwise() {
    let rig = rig_of(600);
    assert_eq!(rig.list(json!({})).await.len(), 25);
    assert_eq!(rig.list(json!({"limit": -1})).await.len(), 600);
    let page = rig.list(json!({"limit": 3, "offset": 10})).await;
    assert_eq!(ids(&page), ["C0010", "C0011", "C0012"]);
    let (_, count) = rig.ask("POST", &format!("/members/count/{PROGRAM}"), json!({})).await;
    assert_eq!(count, json!({"total": 600}));
}

#[tokio::test]
async fn no_rows_are_an_empty_body() {
    let rig = rig_of(1);
    let response = rig.send("POST", &format!("/members/member/list/{PROGRAM}"), json!({"filters": {"offset": 5}})).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("content-length").is_none(), "a list is chunked");
    assert_eq!(response.text().await.expect("a body"), "");
    assert_eq!(rig.send("POST", "/members/member/list/elsewhere", json!({})).await.status(), 404);
}

#[tokio::test]
async fn rows_come_in_the_order_asked_for() {
    let rig = rig_of(4);
    let page = rig.list(json!({"orderBy": "points", "orderAsc": false, "limit": 2})).await;
    assert_eq!(ids(&page), ["C0003", "C0002"]);
    let page = rig.list(json!({"orderBy": "created", "orderAsc": true, "limit": 2})).await;
    assert_eq!(ids(&page), ["C0000", "C0001"]);
    let page = rig.list(json!({"orderBy": "created", "limit": 2})).await;
    assert_eq!(ids(&page), ["C0003", "C0002"]);
}

#[tokio::test]
async fn filters_join_by_and_or_or() {
    let rig = rig_of(20);
    for (filters, expected) in [
        (groups("AND", &[("externalId", "eq", "C0007")]), vec!["C0007"]),
        (
            groups("OR", &[("externalId", "eq", "C0007"), ("externalId", "eq", "C0003"), ("externalId", "eq", "none")]),
            vec!["C0003", "C0007"],
        ),
        (groups("AND", &[("tierId", "eq", "gold"), ("points", "lt", "4")]), vec!["C0001", "C0003"]),
        (groups("OR", &[("points", "gte", "19"), ("points", "lte", "0")]), vec!["C0000", "C0019"]),
        (groups("AND", &[("externalId", "like", "C001%"), ("points", "gt", "17")]), vec!["C0018", "C0019"]),
        (groups("AND", &[("externalId", "eq", "C0007"), ("tierId", "eq", "base")]), vec![]),
        (groups("AND", &[("created", "lt", "2020-01-01T00:00:00Z")]), vec![]),
        (groups("AND", &[("created", "gt", "1577836800"), ("points", "eq", "2")]), vec!["C0002"]),
        (groups("AND", &[("status", "eq", "ACTIVE")]), vec![]),
    ] {
        assert_eq!(ids(&rig.list(filters.clone()).await), expected, "{filters}");
        let (_, count) = rig.ask("POST", &format!("/members/count/{PROGRAM}"), json!({"filters": filters})).await;
        assert_eq!(count["total"], expected.len());
    }
}

#[tokio::test]
async fn what_cannot_be_filtered_is_refused() {
    let rig = rig_of(1);
    for filters in [groups("AND", &[("passStatus", "eq", "x")]), groups("AND", &[("points", "eq", "many")]), json!({"limit": -2})] {
        let answer = rig.ask("POST", &format!("/members/member/list/{PROGRAM}"), json!({"filters": filters})).await;
        assert_eq!(answer.0, 400, "{filters}");
    }
    let top_level = json!({"limit": 1});
    let (status, _) = rig.ask("POST", &format!("/members/count/{PROGRAM}"), top_level).await;
    assert_eq!(status, 200, "the wrong place for a limit is an unknown field");
}
