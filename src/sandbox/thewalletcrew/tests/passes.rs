//! Section 2, and the contract part of section 5.

use super::*;

/// Section 5, item 1.
#[tokio::test]
async fn a_key_opens_its_tenant_within_its_scopes() {
    let rig = Rig::new();
    let status = async |path: &str, method: &str, key: &str| {
        let request = rig.bare(method, path).header("x-api-key", key).json(&json!({}));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(status("sandbox/passes", "GET", "sandbox-key").await, 200);
    assert_eq!(status("sandbox/passes", "GET", "sandbox-read-key").await, 200);
    assert_eq!(status("sandbox/passes?id.y2.customerId=A", "PATCH", "sandbox-read-key").await, 403);
    assert_eq!(status("sandbox/passes", "GET", "revoked").await, 401);
    assert_eq!(status("other/passes", "GET", "sandbox-key").await, 401);
    assert_eq!(rig.bare("GET", "sandbox/passes").send().await.expect("an answer").status(), 401);
    let old = rig.bare("GET", "sandbox/passes").header("authorization", "sandbox-key");
    assert_eq!(old.send().await.expect("an answer").status(), 401, "section 2.1: the older help article is not followed");
    assert_eq!(status("sandbox/passes", "DELETE", "sandbox-key").await, 405);
}

/// Section 2.3.
#[tokio::test]
async fn passes_are_found_by_external_identifier() {
    let rig = Rig::new();
    let found = rig.list(&of("A")).await;
    let pass = &found[0];
    assert_eq!((found.len(), &pass["identifiers"]["y2.customerId"], &pass["passType"]), (1, &json!("A"), &json!("loyalty")));
    for name in ["id", "secret", "creationDate", "lastUpdateDate"] {
        assert!(pass[name].is_string(), "{name}");
    }
    assert_eq!(rig.list(&of("nobody")).await, Vec::<Value>::new());
    let encoded = "?filter%5B0%5D.field=metadata.storeId&filter%5B0%5D.operator=equals&filter%5B0%5D.value=12";
    assert_eq!(rig.list(encoded).await.len(), 2);
    assert_eq!(rig.list("?filter[0].field=identifiers.y2.customerId&filter[0].operator=contains&filter[0].value=B").await.len(), 1);
    assert_eq!(rig.list("?filter[0].field=installationStatus&filter[0].operator=equals&filter[0].value=installed").await.len(), 0);
    for wrong in [
        "?filter[0].field=secret&filter[0].operator=equals",
        "?filter[0].field=passType&filter[0].operator=is",
        "?pageSize=many",
        "?pageSize=0",
    ] {
        assert_eq!(rig.status("GET", wrong, Value::Null).await, 400, "{wrong}");
    }
}

#[tokio::test]
async fn pages_are_counted_from_zero_and_hold_twenty() {
    let rig = Rig::new();
    let more = (0..23).map(|number| json!({"identifiers": {"n": format!("{number:02}")}}));
    rig.sandbox.seed(THEWALLETCREW, more).expect("seeded");
    let first = rig.send("GET", "", Value::Null).await;
    assert_eq!(first.headers()["x-pagination-total"], "25");
    assert_eq!(first.json::<Vec<Value>>().await.expect("JSON").len(), 20);
    assert_eq!(rig.list("?pageIndex=1").await.len(), 5);
    let sorted = rig.list("?sortBy[0].field=n&sortBy[0].direction=DESC&pageSize=1").await;
    assert_eq!(sorted[0]["identifiers"]["n"], "22");
    rig.knobs(|knobs| knobs.page_max = Some(10));
    assert_eq!(rig.list("?pageSize=100").await.len(), 10);
}

/// Section 2.4.
#[tokio::test]
async fn an_update_finds_its_pass_by_all_the_identifiers_given() {
    let rig = Rig::new();
    let change = json!({"additionalData": {"balance": "58.20"}, "metadata": {"storeId": "14"}, "identifiers": {"crm": "77"}});
    let answer = rig.send("PATCH", "?id.y2.customerId=A", change).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.text().await.expect("a body"), "");
    let pass = rig.sandbox.pass(THEWALLETCREW, "A").expect("the pass");
    assert_eq!((&pass["additionalData"]["balance"], &pass["metadata"]["storeId"]), (&json!("58.20"), &json!("14")));
    assert_ne!(pass["lastUpdateDate"], pass["creationDate"]);
    let id = pass["id"].as_str().expect("an id").to_owned();
    let none = json!({});
    for (query, status) in [
        (format!("?id={id}"), 202),
        ("?id.crm=77".to_owned(), 202),
        ("?id.crm=77&id.y2.customerId=A".to_owned(), 202),
        (format!("?id.crm=77&id={id}&passType=loyalty"), 202),
        (format!("/{id}"), 202),
        (format!("/{id}?passType=giftcard"), 404),
        ("?id.crm=77&id.y2.customerId=B".to_owned(), 404),
        ("?id.y2.customerId=nobody".to_owned(), 404),
        ("?id.crm=77&passType=giftcard".to_owned(), 404),
        ("/no".to_owned(), 400),
        (String::new(), 400),
        ("?passType=loyalty".to_owned(), 400),
    ] {
        let answer = rig.send("PATCH", &query, none.clone()).await;
        assert_eq!(answer.status(), status, "{query}");
        assert!(status != 404 || answer.text().await.expect("a body").is_empty(), "404 has no body");
    }
    for wrong in [json!([1]), json!({"additionalData": "x"}), json!({"identifiers": {"crm": 7}})] {
        assert_eq!(rig.status("PATCH", "?id.y2.customerId=A", wrong).await, 400);
    }
}

/// Section 5, item 4.
#[tokio::test]
async fn an_update_is_seen_only_after_a_while() {
    let rig = Rig::new();
    rig.knobs(|knobs| knobs.delay_ms = 150);
    assert_eq!(rig.status("PATCH", "?id.y2.customerId=A", json!({"additionalData": {"balance": "1"}})).await, 202);
    let before = rig.list(&of("A")).await.remove(0);
    assert_eq!((&before["additionalData"]["balance"], &before["lastUpdateDate"]), (&json!("41.50"), &before["creationDate"]));
    tokio::time::sleep(Duration::from_millis(160)).await;
    assert_eq!(rig.list(&of("A")).await[0]["additionalData"]["balance"], "1");
}

/// Section 2.6.
#[tokio::test]
async fn a_pass_is_created_of_a_known_type() {
    let rig = Rig::new();
    let body = json!({"identifiers": {"y2.customerId": "C"}, "additionalData": {"balance": "5"}});
    let answer = rig.send("POST", "?passType=giftcard", body.clone()).await;
    assert_eq!(answer.status(), 201);
    let id = answer.json::<Value>().await.expect("JSON")["passId"].as_str().expect("an id").to_owned();
    assert_eq!(rig.sandbox.pass(THEWALLETCREW, &id).expect("the pass")["passType"], "giftcard");
    assert_eq!(rig.status("POST", "?passType=lead", body.clone()).await, 400);
    assert_eq!(rig.status("POST", "", body).await, 400);
}

/// Section 2.8; the endpoint is a socket of this test.
#[tokio::test]
async fn a_webhook_is_told_of_an_update_once_it_is_applied() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let endpoint = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let hook = rig.bare("POST", "sandbox/webhooks").header("x-api-key", "sandbox-key");
    let hook = hook
        .json(&json!({"endpoint": endpoint, "events": ["Pass:*"]}))
        .send()
        .await
        .expect("an answer")
        .json::<Value>()
        .await
        .expect("JSON");
    rig.knobs(|knobs| knobs.delay_ms = 20);
    rig.send("PATCH", "?id.y2.customerId=A", json!({"additionalData": {"balance": "1"}})).await;
    let (mut wire, _) = listener.accept().await.expect("called");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("Pass:Updated") {
        let mut piece = [0; 4096];
        let count = wire.read(&mut piece).await.expect("read");
        heard.extend_from_slice(&piece[..count]);
    }
    wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
    let heard = String::from_utf8(heard).expect("UTF-8");
    let (headers, body) = heard.split_once("\r\n\r\n").expect("a head");
    let expected = super::super::webhooks::signature(hook["signatureSecret"].as_str().expect("a secret"), body.as_bytes()).expect("signed");
    assert!(headers.contains(&format!("x-neostore-signature: {expected}")), "{headers}");
    assert_eq!(rig.sandbox.pass(THEWALLETCREW, "A").expect("the pass")["additionalData"]["balance"], "1");
}

#[tokio::test]
async fn passes_survive_a_restart_and_no_key_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = || Sandbox::start(Settings { database: Some(folder.path().join("p.sqlite")), ..Settings::default() }).expect("it starts");
    let first = start();
    first.seed(THEWALLETCREW, [json!({"id": "Ed34kg3oA47", "identifiers": {"crm": "7"}})]).expect("seeded");
    drop(first);
    let second = start();
    assert_eq!(second.pass(THEWALLETCREW, "7").expect("kept")["id"], "Ed34kg3oA47");
    let rig = Rig::new();
    rig.list(&of("A")).await;
    let entries = rig.sandbox.requests().of("A");
    assert!(entries[0].credentials && !format!("{entries:?}").contains("sandbox-key"));
}
