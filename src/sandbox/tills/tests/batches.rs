//! A batch answers every item by its reference.

use std::collections::BTreeMap;

use super::*;

fn items(references: &[&str]) -> Value {
    json!({"items": references.iter().map(|reference| json!({"ref": reference, "fields": {"tier": "gold"}})).collect::<Vec<_>>()})
}

fn results(answer: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    answer["results"].as_array().expect("results").iter().map(|result| (text(&result["ref"]), text(&result["status"]))).collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(reference, status)| ((*reference).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test]
async fn items_fail_one_by_one() {
    let rig = Rig::new();
    rig.sandbox.seed(TILLS, [json!({"reference": "C"}), json!({"reference": "D e"})]).expect("seeded");
    let rules = vec![
        Rule::new(Trouble::Status { code: 503, message: None }).id("B"),
        Rule::new(Trouble::Status { code: 422, message: Some("no".to_owned()) }).id("C"),
    ];
    rig.sandbox.faults().change(|faults| faults.rules = rules);
    let (status, answer) = rig.ask("POST", "/batch", None, items(&["A", "B", "C", "D e", "nobody"])).await;
    let wanted = expected(&[("A", "applied"), ("B", "retry"), ("C", "refused"), ("D e", "applied"), ("nobody", "not_found")]);
    assert_eq!((status, results(&answer)), (200, wanted));
    assert_eq!((&rig.pass("A")["fields"]["tier"], &rig.pass("B")["fields"]["tier"]), (&json!("gold"), &json!("silver")));
    rig.knobs(|knobs| {
        knobs.batch_status = 207;
        knobs.batch_failures_only = true;
        knobs.soft_errors = true;
    });
    let (status, answer) = rig.ask("POST", "/batch", None, items(&["A", "nobody"])).await;
    assert_eq!((status, results(&answer)), (207, expected(&[("nobody", "not_found")])));
}

#[tokio::test]
async fn a_batch_is_refused_whole_or_lost_in_the_middle() {
    let rig = Rig::new();
    rig.knobs(|knobs| knobs.batch_max = 2);
    assert_eq!(rig.ask("POST", "/batch", None, items(&["A", "A", "A"])).await.0, 413);
    assert_eq!(rig.ask("POST", "/batch", None, json!({"items": [{"fields": {}}]})).await.0, 400);
    rig.trouble(Rule::new(Trouble::DropBefore).id("B"));
    let request = rig.bare("POST", "/batch").header("x-api-key", "sandbox-key").header("idempotency-key", "k");
    assert!(request.json(&items(&["A", "B"])).send().await.is_err());
    assert_eq!((&rig.pass("A")["fields"]["tier"], &rig.pass("B")["fields"]["tier"]), (&json!("gold"), &json!("silver")));
    rig.sandbox.faults().change(|faults| faults.rules.clear());
    assert_eq!(rig.ask("POST", "/batch", Some("k"), items(&["A", "B"])).await.0, 200);
    assert_eq!(rig.pass("B")["fields"]["tier"], "gold");
}
