//! Each trouble, once.

use std::time::Duration;

use super::*;
use crate::sandbox::{Latency, Outage, RetryAfter, Throttle, UNAVAILABLE_FOR};

#[tokio::test]
async fn unavailable_clears_after_a_quarter_of_a_second() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::Unavailable).path("points"));
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 503);
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 503);
    assert_eq!(rig.points("A"), 0.0);
    tokio::time::sleep(UNAVAILABLE_FOR).await;
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_share_of_requests_is_the_same_in_every_run_of_a_seed() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let rig = Rig::issued();
        let rule = Rule::new(Trouble::Status { code: 500, message: None }).share(0.3);
        rig.faults(|faults| {
            faults.seed = seed;
            faults.rules = vec![rule];
        });
        let mut statuses = Vec::new();
        for _ in 0..60 {
            statuses.push(rig.get("/user/profile").await.0);
        }
        assert!((5..35).contains(&statuses.iter().filter(|status| **status == 500).count()));
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn the_bucket_empties_with_and_without_retry_after() {
    let rig = Rig::issued();
    for (retry_after, expected) in [(RetryAfter::None, None), (RetryAfter::Seconds, Some("100")), (RetryAfter::TenYears, Some("315360000"))]
    {
        rig.faults(|faults| faults.throttle = Some(Throttle { per_second: 0.01, burst: 2.0, retry_after }));
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(rig.request("GET", "/user/profile").send().await.expect("an answer"));
        }
        assert_eq!(answers.iter().map(|answer| answer.status().as_u16()).collect::<Vec<_>>(), [200, 200, 429]);
        let header = answers[2].headers().get("retry-after").map(|value| value.to_str().expect("a text"));
        assert_eq!(header, expected);
    }
    rig.faults(|faults| faults.throttle = Some(Throttle { per_second: 0.01, burst: 0.0, retry_after: RetryAfter::Date }));
    let answer = rig.request("GET", "/user/profile").send().await.expect("an answer");
    let date = answer.headers().get("retry-after").expect("a header").to_str().expect("a text");
    assert!(httpdate::parse_http_date(date).expect("a date") > SystemTime::now());
}

#[tokio::test]
async fn statuses_are_answered_without_applying() {
    let rig = Rig::issued();
    for code in [400, 404, 500, 504] {
        rig.trouble(Rule::new(Trouble::Status { code, message: None }).id("A"));
        assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), code);
        assert_eq!(rig.earn("B", 1.0, "e").await.expect("an answer").status(), 200);
    }
    assert_eq!(rig.points("A"), 0.0);
    rig.trouble(Rule::new(Trouble::BadGatewayHtml));
    let answer = rig.earn("A", 1.0, "e").await.expect("an answer");
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.expect("a body").starts_with("<html>"));
}

#[tokio::test]
async fn a_member_found_by_id_meets_the_trouble_of_its_external_id() {
    let rig = Rig::issued();
    let id = rig.read("A").await["id"].as_str().expect("an id").to_owned();
    rig.trouble(Rule::new(Trouble::Status { code: 404, message: None }).id("A"));
    let (status, error) = rig.get(&format!("/members/member/id/{id}")).await;
    assert_eq!((status, &error["message"]), (404, &json!("member with id[A] does not exist")));
}

#[tokio::test]
async fn it_fails_twice_and_then_succeeds() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::Status { code: 500, message: None }).id("A").next(2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(rig.earn("A", 1.0, "e").await.expect("an answer").status().as_u16());
    }
    assert_eq!(statuses, [500, 500, 200]);
}

#[tokio::test]
async fn a_connection_drops_before_or_after_applying() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::DropBefore).next(1));
    assert!(rig.earn("A", 5.0, "e1").await.is_err());
    assert_eq!(rig.points("A"), 0.0);
    rig.trouble(Rule::new(Trouble::DropAfter).path("earn").next(1));
    let dropped = rig.earn("A", 5.0, "e2").await.expect_err("no answer");
    assert!(dropped.is_request(), "{dropped:?}");
    assert_eq!(rig.points("A"), 5.0);
    assert_eq!(rig.sandbox.events("A"), ["e2"]);
    assert_eq!(rig.earn("A", 5.0, "e3").await.expect("an answer").status(), 200);
    let statuses: Vec<_> = rig.sandbox.requests().of("A").iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [None, None, Some(200)]);
}

#[tokio::test]
async fn a_dropped_connection_carries_not_one_byte() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::DropAfter));
    let mut wire = tokio::net::TcpStream::connect(rig.sandbox.address()).await.expect("connected");
    let request = format!("GET /user/profile HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n", token(-10, 45));
    wire.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    assert!(wire.read_to_end(&mut answer).await.is_ok_and(|count| count == 0));
}

#[tokio::test]
async fn bodies_are_cut_short_or_of_another_kind() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::TruncatedBody));
    let answer = rig.earn("A", 5.0, "e").await.expect("a head");
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    assert_eq!(rig.points("A"), 5.0);
    rig.trouble(Rule::new(Trouble::WrongJson));
    assert_eq!(rig.get("/user/profile").await, (200, json!([{"unexpected": true}])));
    rig.trouble(Rule::new(Trouble::HtmlOk));
    let answer = rig.earn("A", 5.0, "e").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"text/html".parse().expect("a value")));
    assert_eq!(rig.points("A"), 5.0);
    rig.trouble(Rule::new(Trouble::OtherId));
    let other = rig.earn("A", 1.0, "e").await.expect("an answer").json::<Value>().await.expect("JSON")["id"].clone();
    assert_ne!(other, rig.sandbox.member("A").expect("the member")["id"]);
}

#[tokio::test]
async fn a_list_breaks_by_an_error_line_or_in_mid_line() {
    let rig = Rig::new();
    rig.sandbox.issue((0..10).map(|number| member(&format!("C{number}")))).expect("issued");
    let path = format!("/members/member/list/{PROGRAM}");
    for (rows, expected) in [(3, 3), (50, 10)] {
        rig.trouble(Rule::new(Trouble::ListError { rows }));
        let answer = rig.send("POST", &path, json!({})).await;
        assert_eq!(answer.status(), 200);
        let lines = lines(&answer.text().await.expect("a body"));
        assert_eq!(lines.len(), expected + 1);
        assert_eq!(lines[expected]["error"]["code"], 13);
    }
    rig.trouble(Rule::new(Trouble::ListCut { rows: 3 }));
    let mut answer = rig.send("POST", &path, json!({})).await;
    let mut text = Vec::new();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => text.extend(bytes),
            end => break end,
        }
    };
    assert!(end.is_err());
    let text = String::from_utf8(text).expect("UTF-8");
    assert_eq!(text.lines().count(), 4);
    assert!(serde_json::from_str::<Value>(text.lines().last().expect("a line")).is_err());
}

#[tokio::test]
async fn a_clock_ahead_or_behind_judges_tokens_and_dates_answers() {
    let rig = Rig::new();
    for (skew, status, message) in [(90, 401, "jwt was issued too long ago"), (-90, 401, "Token used before issued"), (5, 200, "")] {
        rig.faults(|faults| faults.clock_skew_seconds = skew);
        let answer = rig.request("GET", "/user/profile").send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        let date = httpdate::parse_http_date(answer.headers()["date"].to_str().expect("a text")).expect("a date");
        let shown = date.duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
        assert!((shown - now - skew).abs() <= 2);
        if status == 401 {
            assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({"error": message}));
        }
    }
}

#[tokio::test]
async fn another_writer_comes_between_read_and_write() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::LostUpdate { key: "store".to_owned(), value: "99".to_owned() }).method("GET").next(1));
    let seen = rig.read("A").await;
    assert_eq!(seen["metaData"]["store"], "12");
    assert_eq!(rig.sandbox.member("A").expect("the member")["metaData"]["store"], "99");
    rig.ask("PUT", "/members/member", json!({"id": seen["id"], "metaData": seen["metaData"]})).await;
    assert_eq!(rig.read("A").await["metaData"]["store"], "12");
}

#[tokio::test]
async fn a_member_is_deleted_during_the_run() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::DeleteMember).id("A").method("PUT"));
    assert_eq!(rig.get(&by_external_id("A")).await.0, 200);
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 404);
    assert_eq!(rig.sandbox.members(), 1);
}

#[tokio::test]
async fn an_outage_takes_everything_but_the_controls() {
    let rig = Rig::issued();
    rig.faults(|faults| faults.outage = Some(Outage::Close));
    assert!(rig.earn("A", 1.0, "e").await.is_err());
    rig.faults(|faults| faults.outage = Some(Outage::Unavailable));
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 503);
    rig.faults(|faults| faults.outage = Some(Outage::Unauthorized));
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 401);
    assert_eq!(rig.get("/sandbox/stats").await.0, 200);
    rig.sandbox.faults().clear();
    assert_eq!(rig.earn("A", 1.0, "e").await.expect("an answer").status(), 200);
    assert_eq!(rig.points("A"), 1.0);
}

#[tokio::test]
async fn a_redirect_points_elsewhere() {
    let rig = Rig::issued();
    rig.trouble(Rule::new(Trouble::redirect("http://localhost:9/")));
    let answer = rig.earn("A", 1.0, "e").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().expect("a text")), (307, "http://localhost:9/"));
}

#[tokio::test]
async fn answers_wait_and_drip() {
    let rig = Rig::issued();
    rig.faults(|faults| faults.latency = Latency::Fixed { ms: 30 });
    let before = std::time::Instant::now();
    rig.get("/user/profile").await;
    assert!(before.elapsed() >= Duration::from_millis(30));
    rig.faults(|faults| {
        faults.latency = Latency::None;
        faults.rules = vec![Rule::new(Trouble::SlowDrip { bytes: 20, pause_ms: 5 })];
    });
    let mut answer = rig.earn("A", 1.0, "e").await.expect("an answer");
    let mut pieces = 0;
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        assert!(piece.len() <= 20);
        pieces += 1;
    }
    assert!(pieces > 3);
}
