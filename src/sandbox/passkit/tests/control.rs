//! The sandbox's own calls, and its request log.

use super::*;

#[tokio::test]
async fn faults_are_put_and_read_as_json() {
    let rig = Rig::issued();
    let faults = json!({
        "seed": 3, "latency": {"spread": {"p50_ms": 1, "p95_ms": 2, "p99_ms": 3}}, "throttle": {"retry_after": "date"},
        "rules": [{"trouble": "drop_after", "share": 0.5}, {"trouble": {"status": {"code": 500}}, "next": 1, "id": "A"}],
    });
    let put = rig.client.put(format!("{}/sandbox/faults", rig.sandbox.base_url())).json(&faults).send().await.expect("an answer");
    assert_eq!(put.status(), 204);
    let (_, read) = rig.get("/sandbox/faults").await;
    assert_eq!((&read["rules"][1]["next"], &read["throttle"]["burst"], &read["seed"]), (&json!(1), &json!(100.0), &json!(3)));
    assert_eq!(serde_json::from_value::<Faults>(read).expect("faults"), rig.sandbox.faults().get());
    for wrong in [json!({"sed": 3}), json!({"rules": [{"trouble": "earthquake"}]}), json!({"rules": [{"trouble": {"status": {"cod": 1}}}]})]
    {
        assert_eq!(rig.send("PUT", "/sandbox/faults", wrong).await.status(), 400);
    }
}

#[tokio::test]
async fn the_log_keeps_order_and_bodies_and_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("requests.jsonl");
    let rig = Rig::with(Settings { log: Some(file.clone()), ..Settings::default() });
    rig.sandbox.issue(["A", "B"].into_iter().map(member)).expect("issued");
    for (external_id, event) in [("A", "1"), ("B", "2"), ("A", "3")] {
        rig.earn(external_id, 1.0, event).await.expect("an answer");
    }
    let log = rig.sandbox.requests();
    assert_eq!((log.total(), log.count("PUT", "/members/member/points/earn")), (3, 3));
    let bodies: Vec<Value> = log.of("A").iter().map(|e| serde_json::from_str(e.body.as_deref().expect("a body")).expect("JSON")).collect();
    assert_eq!((bodies.len(), &bodies[1]["eventDetails"]["externalEventId"]), (2, &json!("3")));
    let (_, shown) = rig.get("/sandbox/requests?externalId=B&status=200").await;
    assert_eq!((shown.as_array().map(Vec::len), &shown[0]["sequence"]), (Some(1), &json!(1)));
    assert_eq!(rig.get("/sandbox/requests?limit=1&since=1").await.1[0]["sequence"], 2);
    let (_, stats) = rig.get("/sandbox/stats").await;
    assert_eq!((&stats["members"], &stats["statuses"]["200"], &stats["max_in_flight"]), (&json!(2), &json!(3), &json!(1)));
    assert_eq!(stats["per_second"].as_array().expect("seconds").iter().filter_map(Value::as_u64).sum::<u64>(), 3);
    drop(rig);
    let written = std::fs::read_to_string(file).expect("the log");
    assert_eq!(written.lines().count(), 3);
    assert!(!written.contains("ey"), "a token begins with ey");
}

#[tokio::test]
async fn members_are_issued_in_bulk_and_shown() {
    let rig = Rig::new();
    let lines = "{\"externalId\":\"A\",\"points\":5}\n{\"externalId\":\"B\",\"tierId\":\"gold\",\"metaData\":{\"k\":\"v\"}}\n";
    let post = |body: &'static str| rig.request("POST", "/sandbox/members").body(body).send();
    assert_eq!(post(lines).await.expect("an answer").json::<Value>().await.expect("JSON"), json!({"issued": 2}));
    assert_eq!(post(lines).await.expect("an answer").json::<Value>().await.expect("JSON"), json!({"issued": 0}));
    assert_eq!(rig.get("/sandbox/members/B").await.1["metaData"], json!({"k": "v"}));
    assert_eq!(rig.request("GET", "/sandbox/members/C").send().await.expect("an answer").status(), 404);
    assert_eq!(post("{\"externalId\":\"C\",\"tierId\":\"lead\"}").await.expect("an answer").status(), 400);
    assert_eq!(post("{\"external\":\"C\"}").await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn bodies_are_left_out_on_request() {
    let rig = Rig::with(Settings { log_bodies: false, ..Settings::default() });
    rig.earn("A", 1.0, "e").await.expect("an answer");
    assert_eq!(rig.sandbox.requests().all()[0].body, None);
}

#[test]
fn it_listens_on_loopback_only() {
    let listen = "0.0.0.0:0".parse().expect("an address");
    assert!(Sandbox::start(Settings { listen, ..Settings::default() }).is_err());
}
