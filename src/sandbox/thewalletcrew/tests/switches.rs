//! Section 5: the switches, and the trouble it must be able to make.

use super::*;
use crate::sandbox::thewalletcrew::{Ambiguous, DuplicateCreate, ErrorBody, Merge, Nulls, Numbers};
use crate::sandbox::{RetryAfter, Throttle};

async fn patched(rig: &Rig, data: Value) -> Value {
    assert_eq!(rig.status("PATCH", "?id.y2.customerId=A", json!({"additionalData": data})).await, 202);
    rig.data("A")
}

#[tokio::test]
async fn blocks_merge_or_are_replaced_and_nulls_delete_stay_or_are_ignored() {
    let rig = Rig::new();
    assert_eq!(patched(&rig, json!({"a": "1"})).await, json!({"balance": "41.50", "a": "1"}));
    assert_eq!(patched(&rig, json!({"a": null})).await, json!({"balance": "41.50"}));
    rig.knobs(|knobs| knobs.nulls = Nulls::Ignore);
    assert_eq!(patched(&rig, json!({"balance": null})).await, json!({"balance": "41.50"}));
    rig.knobs(|knobs| knobs.nulls = Nulls::Store);
    assert_eq!(patched(&rig, json!({"balance": null})).await, json!({"balance": null}));
    rig.knobs(|knobs| knobs.merge = Merge::ReplaceBlock);
    assert_eq!(patched(&rig, json!({"b": 2.5})).await, json!({"b": 2.5}));
    rig.knobs(|knobs| knobs.numbers = Numbers::AsText);
    assert_eq!(patched(&rig, json!({"b": 2.5})).await, json!({"b": "2.5"}));
    rig.knobs(|knobs| knobs.numbers = Numbers::Refused);
    assert_eq!(rig.status("PATCH", "?id.y2.customerId=A", json!({"metadata": {"b": 1}})).await, 400);
}

#[tokio::test]
async fn codes_and_shapes_are_switches() {
    let rig = Rig::new();
    for code in [200, 202, 204] {
        rig.knobs(|knobs| knobs.success = code);
        assert_eq!(rig.status("PATCH", "?id.y2.customerId=A", json!({})).await, code);
    }
    rig.knobs(|knobs| knobs.nested_identifiers = true);
    assert_eq!(rig.list(&of("A")).await[0]["identifiers"], json!({"y2": {"customerId": "A"}}));
    for (body, kind, start) in [
        (ErrorBody::Empty, "", ""),
        (ErrorBody::Problem, "application/problem+json", "{\"type\""),
        (ErrorBody::Text, "text/plain; charset=utf-8", "At least"),
        (ErrorBody::Html, "text/html", "<!DOCTYPE"),
    ] {
        rig.knobs(|knobs| knobs.error_body = body);
        let answer = rig.send("PATCH", "", json!({})).await;
        let shown = answer.headers().get("content-type").map_or("", |kind| kind.to_str().expect("a text")).to_owned();
        assert_eq!((answer.status().as_u16(), shown.as_str()), (400, kind));
        assert!(answer.text().await.expect("a body").starts_with(start));
    }
    rig.knobs(|knobs| {
        knobs.pass_type_required = true;
        knobs.refuse_unknown_blocks = true;
        knobs.fixed_identifiers = true;
    });
    for (query, body) in [
        ("?id.y2.customerId=A", json!({})),
        ("?id.y2.customerId=A&passType=loyalty", json!({"data": {}})),
        ("?id.y2.customerId=A&passType=loyalty", json!({"identifiers": {"crm": "1"}})),
    ] {
        assert_eq!(rig.status("PATCH", query, body).await, 400, "{query}");
    }
}

#[tokio::test]
async fn a_second_creation_answers_the_same_pass_another_or_none() {
    let rig = Rig::new();
    let create = async || {
        let answer = rig.send("POST", "?passType=loyalty", json!({"identifiers": {"crm": "9"}})).await;
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON")["passId"].clone())
    };
    let first = create().await;
    assert_eq!((create().await, rig.sandbox.double_effects()), (first.clone(), vec![]));
    rig.knobs(|knobs| knobs.duplicate_create = DuplicateCreate::Conflict);
    assert_eq!(create().await.0, 409);
    rig.knobs(|knobs| knobs.duplicate_create = DuplicateCreate::NewId);
    assert_ne!(create().await.1, first.1);
    assert_eq!(rig.sandbox.double_effects().len(), 1, "one pass too many");
    assert_eq!(rig.status("PATCH", "?id.crm=9", json!({})).await, 409);
    for (ambiguous, updates) in [(Ambiguous::First, 1), (Ambiguous::All, 3)] {
        rig.knobs(|knobs| knobs.ambiguous = ambiguous);
        assert_eq!(rig.status("PATCH", "?id.crm=9", json!({})).await, 202);
        let times: u64 = rig.sandbox.effects().iter().filter(|effect| effect.route.starts_with("PATCH")).map(|effect| effect.times).sum();
        assert_eq!(times, updates);
    }
}

#[tokio::test]
async fn updates_that_wait_together_may_change_places() {
    let rig = Rig::new();
    rig.knobs(|knobs| {
        knobs.delay_ms = 60;
        knobs.disordered = true;
    });
    for balance in ["1", "2"] {
        rig.status("PATCH", "?id.y2.customerId=A", json!({"additionalData": {"balance": balance}})).await;
    }
    tokio::time::sleep(Duration::from_millis(130)).await;
    assert_eq!(rig.data("A")["balance"], "1");
}

#[tokio::test]
async fn chosen_passes_fail_in_their_own_ways() {
    let rig = Rig::new();
    let always = |code, id: &str| Rule::new(Trouble::Status { code, message: None }).id(id);
    rig.trouble(vec![always(404, "A"), always(500, "B").next(2)]);
    let patch = async |id: &str| rig.status("PATCH", &format!("?id.y2.customerId={id}"), json!({})).await;
    assert_eq!((patch("A").await, rig.status("GET", &of("A"), Value::Null).await), (404, 404));
    assert_eq!([patch("B").await, patch("B").await, patch("B").await], [500, 500, 202]);
    for code in [403, 503] {
        rig.trouble(vec![Rule::new(Trouble::Blocked { code }).next(1)]);
        let answer = rig.send("PATCH", "?id.y2.customerId=A", json!({})).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().expect("a text")),
            (code, "text/html; charset=UTF-8")
        );
    }
    rig.trouble(vec![Rule::new(Trouble::DropAfter).next(1)]);
    let request = rig.bare("PATCH", "sandbox/passes?id.y2.customerId=A").header("x-api-key", "sandbox-key");
    assert!(request.json(&json!({"additionalData": {"balance": "7"}})).send().await.is_err());
    assert_eq!(rig.data("A")["balance"], "7", "applied, and the answer lost");
    rig.sandbox
        .faults()
        .change(|faults| faults.throttle = Some(Throttle { per_second: 0.01, burst: 1.0, retry_after: RetryAfter::Seconds }));
    assert_eq!(patch("A").await, 202);
    let answer = rig.send("PATCH", "?id.y2.customerId=A", json!({})).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (429, true));
    rig.sandbox.faults().clear();
    rig.trouble(vec![Rule::new(Trouble::DeleteMember).id("B")]);
    assert_eq!(patch("B").await, 404);
}
