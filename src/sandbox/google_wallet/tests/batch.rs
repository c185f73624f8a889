//! Section 8, and item 7 of section 16.

use super::*;

fn strict(parts: &[(&str, &str, &str)]) -> String {
    let part = |(number, (method, path, content)): (usize, &(&str, &str, &str))| {
        let outer = format!("--B\r\nContent-Type: application/http\r\nContent-ID: <row-{number}>\r\n\r\n");
        let inner = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}\r\n", content.len());
        format!("{outer}{method} /walletobjects/v1/{path} HTTP/1.1\r\n{inner}")
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().concat() + "--B--\r\n"
}

/// The parts of an answer: content id, status, JSON.
async fn parts(response: Response) -> Vec<(String, u16, Value)> {
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("a text").to_owned();
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").expect("multipart").to_owned();
    let text = response.text().await.expect("a body");
    let separator = format!("--{boundary}");
    let inner = text.split(&separator).map(str::trim).filter(|part| !part.is_empty() && *part != "--");
    let part = |part: &str| {
        let (head, rest) = part.split_once("\r\n\r\n").expect("headers");
        let (line, body) = rest.split_once("\r\n\r\n").expect("inner headers");
        let id = head.lines().find_map(|line| line.strip_prefix("Content-ID: ")).unwrap_or_default().to_owned();
        let status = line.split(' ').nth(1).expect("a status").parse().expect("a number");
        (id, status, serde_json::from_str(body).expect("JSON"))
    };
    inner.map(part).collect()
}

fn points(identifier: &str, points: u32) -> (String, String) {
    (format!("loyaltyObject/{ISSUER}.{identifier}?fields=id"), json!({"loyaltyPoints": {"balance": {"int": points}}}).to_string())
}

#[tokio::test]
async fn parts_are_answered_in_their_order_with_their_ids() {
    let rig = Rig::new().await;
    rig.sandbox.seed(GOOGLE_WALLET, [json!({"id": "G", "resource": "giftCardObject"})]).expect("seeded");
    let (a, nobody, b) = (points("A", 5), points("nobody", 6), points("B", 7));
    let gift = format!("giftCardObject/{ISSUER}.G");
    let body =
        strict(&[("PATCH", &a.0, &a.1), ("PATCH", &nobody.0, &nobody.1), ("GET", &gift, ""), ("PATCH", &b.0, &b.1), ("PUT", "x", "{")]);
    let answers = parts(rig.batch(body).await).await;
    let shown: Vec<_> = answers.iter().map(|(id, status, _)| (id.as_str(), *status)).collect();
    assert_eq!(
        shown,
        [
            ("<response-row-0>", 200),
            ("<response-row-1>", 404),
            ("<response-row-2>", 200),
            ("<response-row-3>", 200),
            ("<response-row-4>", 404)
        ]
    );
    assert_eq!(answers[0].2, json!({"id": id("A")}));
    assert_eq!(answers[1].2["error"]["message"], json!(format!("Wallet Object {ISSUER}.nobody not found.")));
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "B").expect("the object")["loyaltyPoints"]["balance"]["int"], 7);
    let log = rig.sandbox.requests();
    let within: Vec<_> = log.select(|entry| entry.part_of.is_some());
    assert_eq!((within.len(), log.count("PATCH", "/walletobjects/v1/{resource}/{id}"), log.stats().parts), (5, 3, 5));
}

/// Bare line feeds, JSON as the part's type, no version, no inner headers, no ids.
#[tokio::test]
async fn the_loose_form_of_the_official_samples_is_taken() {
    let rig = Rig::new().await;
    let patch = points("A", 5).1;
    let body = format!(
        "--B\nContent-Type: application/json\n\nPATCH /walletobjects/v1/loyaltyObject/{ISSUER}.A\n\n{patch}\n--B\nContent-Type: application/json\n\nGET /google_wallet/walletobjects/v1/loyaltyObject/{ISSUER}.B/\n\n--B--"
    );
    let answers = parts(rig.batch(body).await).await;
    assert_eq!(answers.iter().map(|(id, status, _)| (id.as_str(), *status)).collect::<Vec<_>>(), [("", 200), ("", 200)]);
    assert_eq!(rig.sandbox.pass(GOOGLE_WALLET, "A").expect("the object")["loyaltyPoints"]["balance"]["int"], 5);
}

#[tokio::test]
async fn a_batch_as_a_whole_is_refused() {
    let rig = Rig::with(|knobs| knobs.batch_max = 2).await;
    let a = points("A", 5);
    let three = strict(&[("PATCH", &a.0, &a.1), ("PATCH", &a.0, &a.1), ("PATCH", &a.0, &a.1)]);
    assert_eq!(rig.batch(three).await.status(), 400);
    for wrong in ["", "--B--\r\n", "--B\r\n\r\nGET /x HTTP/1.1\r\n"] {
        assert_eq!(rig.batch(wrong.to_owned()).await.status(), 400, "{wrong}");
    }
    assert_eq!(rig.client.post(rig.url("/batch")).body(strict(&[])).send().await.expect("an answer").status(), 401);
    assert!(rig.sandbox.effects().is_empty());
}

/// Rules befall single parts, and a part that drops the connection leaves those after it undone.
#[tokio::test]
async fn some_parts_fail_or_take_the_connection_with_them() {
    let rig = Rig::with(|knobs| knobs.calls_per_second = None).await;
    let objects: Vec<Value> = (0..20).map(|number| json!({"id": format!("P{number}")})).collect();
    rig.sandbox.seed(GOOGLE_WALLET, objects).expect("seeded");
    let patches: Vec<(String, String)> = (0..20).map(|number| points(&format!("P{number}"), 1)).collect();
    let body = strict(&patches.iter().map(|(path, body)| ("PATCH", path.as_str(), body.as_str())).collect::<Vec<_>>());
    rig.trouble(Rule::new(Trouble::Status { code: 503, message: None }).id("P3"));
    let answers = parts(rig.batch(body.clone()).await).await;
    assert_eq!(
        answers.iter().filter(|(_, status, _)| *status == 503).map(|(id, ..)| id.as_str()).collect::<Vec<_>>(),
        ["<response-row-3>"]
    );
    assert_eq!(rig.sandbox.effects().len(), 19);
    rig.trouble(Rule::new(Trouble::DropAfter).id("P10"));
    let request = rig.client.post(rig.url("/batch")).bearer_auth(&rig.token).header("content-type", "multipart/mixed; boundary=B");
    assert!(request.body(body).send().await.is_err());
    let twice = rig.sandbox.effects().iter().filter(|effect| effect.times == 2).count();
    let tenth = rig.sandbox.effects().iter().find(|effect| effect.external_id.ends_with("P10")).map(|effect| effect.times);
    assert!(twice < 20, "{twice} of 20 were done before the connection went");
    assert_eq!(tenth, Some(2));
}

/// A token that dies in mid-batch is 401 for the rest.
#[tokio::test]
async fn a_token_may_end_within_a_batch() {
    let rig = Rig::with(|knobs| knobs.token_calls = Some(3)).await;
    let a = points("A", 5);
    let part = ("PATCH", a.0.as_str(), a.1.as_str());
    let statuses: Vec<u16> = parts(rig.batch(strict(&[part; 4])).await).await.iter().map(|part| part.1).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 2);
}
