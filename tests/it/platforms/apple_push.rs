//! Pushes: durable, few, and never a row's fault (contract, section 7).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::apple::{check, holds, plan, store};
use crate::rig::apple::{AUTHORITY, Apns, PASS_TYPE, TEAM};
use crate::rig::harbour::{Harbour, wait_until};

fn rows(points: u32, ids: &[&str]) -> String {
    let rows: Vec<String> = ids.iter().map(|id| format!("{id},{points},Gold\n")).collect();
    format!("id,points,tier\n{}", rows.concat())
}

/// Passes `C-1` to `C-3`, of which nobody was told yet.
fn start(apns: &Apns) -> Harbour {
    let harbour = plan(&apns.url).start();
    harbour.deliver("0.csv", rows(0, &["C-1", "C-2", "C-3"]));
    harbour.once().exits(0);
    harbour
}

fn owed(harbour: &Harbour) -> u64 {
    store(harbour).read(|work| work.pushes_owed()).unwrap()
}

#[test]
fn each_phone_with_a_changed_pass_is_pushed_once() {
    let apns = Apns::start();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1", "C-2", "C-3"]);
    holds(&harbour, "two", "bb22", ["C-1"]);
    holds(&harbour, "three", "cc33", ["C-3"]);
    harbour.deliver("1.csv", rows(1, &["C-1", "C-2"]));
    harbour.once().exits(0);
    let mut tokens = apns.tokens();
    tokens.sort();
    assert_eq!(tokens, ["aa11", "bb22"]);
    for push in apns.pushes() {
        assert_eq!((&push["method"], &push["topic"], &push["type"], &push["priority"]), (&json!("POST"), &json!(PASS_TYPE), &json!("background"), &json!("5")));
        assert_eq!((&push["uid"], &push["body"]), (&json!(PASS_TYPE), &json!("{}")));
    }
    // Nothing changed: nobody is told.
    harbour.deliver("2.csv", rows(1, &["C-1", "C-2"]) + "\n");
    harbour.run(&["once", "--force"]).exits(0);
    assert_eq!(apns.pushes().len(), 2);
    // Another token: the old one is told nothing any more.
    holds(&harbour, "two", "bb99", ["C-1"]);
    harbour.deliver("3.csv", rows(3, &["C-1"]));
    harbour.once().exits(0);
    let mut tokens = apns.tokens().split_off(2);
    tokens.sort();
    assert_eq!(tokens, ["aa11", "bb99"]);
    for token in ["aa11", "bb22", "bb99"] {
        assert!(!harbour.said().contains(token), "a token of a phone is in the log");
    }
    check(&harbour);
}

#[test]
fn ten_thousand_rows_are_one_push_a_phone_and_interval() {
    let apns = Apns::start();
    let harbour = plan(&apns.url).platform("push_every", "\"30s\"").feed("guard.created", "false").start();
    let ids: Vec<String> = (0..10_000).map(|n| format!("C-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    harbour.deliver("0.csv", rows(0, &ids));
    harbour.once().exits(0);
    holds(&harbour, "one", "aa11", &ids);
    holds(&harbour, "two", "bb22", &ids[..5_000]);
    let daemon = harbour.start(&["run"]);
    harbour.deliver("1.csv", rows(1, &ids));
    wait_until("the file is done with", || harbour.runs().iter().any(|run| run.name == "1.csv" && run.state.is_over()));
    assert_eq!(harbour.report("1")["rows"], json!({ "applied": 10_000 }));
    assert_eq!(daemon.terminate(), 0);
    let count = apns.tokens().len();
    assert!(count <= 2, "{count} pushes");
    harbour.once().exits(0);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for token in apns.tokens() {
        *counts.entry(token).or_default() += 1;
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["aa11", "bb22"]);
    assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
    let raw = rusqlite::Connection::open(harbour.state().join("apple/cards.sqlite")).unwrap();
    let tags: i64 = raw.query_row("SELECT count(DISTINCT tag) FROM pass", [], |row| row.get(0)).unwrap();
    assert_eq!(tags, 10_000, "every change has a tag of its own");
    check(&harbour);
}

/// Killed between the change and the push: the change holds, and the push goes out after the next start.
#[test]
fn what_is_owed_survives_a_kill() {
    let apns = Apns::start();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    apns.rules(json!({ "*": { "stall": true } }));
    harbour.deliver("1.csv", rows(7, &["C-1"]));
    let process = harbour.start(&["run"]);
    wait_until("a push is under way", || !apns.tokens().is_empty());
    process.kill();
    assert_eq!(owed(&harbour), 1);
    apns.rules(json!({}));
    let daemon = harbour.start(&["run"]);
    wait_until("the phone is told", || owed(&harbour) == 0);
    wait_until("the file is done with", || harbour.runs().iter().any(|run| run.name == "1.csv" && run.state.is_over()));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(apns.tokens(), ["aa11", "aa11"]);
    check(&harbour);
}

#[test]
fn a_token_that_is_gone_takes_its_older_registrations_with_it() {
    let apns = Apns::start();
    let harbour = start(&apns);
    for (device, token) in [("old", "aa11"), ("young", "bb22"), ("bad", "cc33"), ("wrong", "dd44"), ("well", "ee55")] {
        holds(&harbour, device, token, ["C-1"]);
    }
    let far = 4_000_000_000_000_u64;
    apns.rules(json!({
        "aa11": { "status": 410, "reason": "Unregistered", "timestamp": far },
        "bb22": { "status": 410, "reason": "Unregistered", "timestamp": 1_000 },
        "cc33": { "status": 400, "reason": "BadDeviceToken" },
        "dd44": { "status": 400, "reason": "DeviceTokenNotForTopic" },
    }));
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    harbour.once().exits(0);
    assert_eq!((apns.pushes().len(), owed(&harbour)), (5, 0));
    apns.rules(json!({}));
    harbour.deliver("2.csv", rows(2, &["C-1"]));
    harbour.once().exits(0);
    let mut tokens = apns.tokens().split_off(5);
    tokens.sort();
    assert_eq!(tokens, ["bb22", "ee55"], "who registered later is told; who is gone is not");
    check(&harbour);
}

#[test]
fn without_apple_rows_are_applied_and_phones_are_told_later() {
    let apns = Apns::start();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    let port = |text: String, to: &str| text.replace(&apns.url, to);
    harbour.change_config(|text| port(text, "https://127.0.0.1:9"));
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    harbour.once().exits(75).says("1 phones are not told yet").says("rows are applied all the same");
    assert_eq!(harbour.report("1")["rows"], json!({ "applied": 1 }));
    harbour.change_config(|text| text.replace("https://127.0.0.1:9", &apns.url));
    // 500 and 429: this one later, the others now.
    holds(&harbour, "two", "bb22", ["C-2"]);
    apns.rules(json!({ "aa11": { "status": 500, "reason": "InternalServerError", "times": 1 } }));
    harbour.deliver("2.csv", rows(2, &["C-2"]));
    harbour.once().exits(75).says("try again later");
    assert_eq!(owed(&harbour), 1);
    wait_until("its time comes", || {
        harbour.once();
        owed(&harbour) == 0
    });
    let mut tokens = apns.tokens();
    tokens.sort();
    assert_eq!(tokens, ["aa11", "aa11", "bb22"]);
    check(&harbour);
}

#[test]
fn a_refusal_of_the_account_stops_pushes_with_one_loud_word() {
    let apns = Apns::start();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    holds(&harbour, "two", "bb22", ["C-2"]);
    apns.rules(json!({ "*": { "status": 403, "reason": "BadCertificateEnvironment" } }));
    let daemon = harbour.start(&["run"]);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    wait_until("it is refused", || store(&harbour).read(|work| work.halted()).unwrap().is_some());
    harbour.deliver("2.csv", rows(2, &["C-2"]));
    wait_until("the file is done with", || harbour.runs().iter().any(|run| run.name == "2.csv" && run.state.is_over()));
    let told = harbour.told(&["status", "--json"])["alerts"].to_string();
    assert!(told.contains("BadCertificateEnvironment") && told.contains("2 phones wait"), "{told}");
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.said().matches("Apple refuses our pushes").count(), 1);
    assert_eq!(apns.pushes().len(), 1);
    apns.rules(json!({}));
    harbour.once().exits(0);
    assert_eq!(apns.pushes().len(), 3);
    assert_eq!(harbour.told(&["status", "--json"])["alerts"], json!([]));
    check(&harbour);
}

#[test]
fn a_signed_token_is_kept_over_starts_and_renewed_once_when_it_is_too_old() {
    let apns = Apns::start();
    let key = format!("{{ file = {:?} }}", AUTHORITY.path("push.p8"));
    let harbour = plan(&apns.url).platform("push_key", &key).platform("push_key_id", "\"KEYID12345\"").start();
    harbour.deliver("0.csv", rows(0, &["C-1"]));
    harbour.once().exits(0);
    holds(&harbour, "one", "aa11", ["C-1"]);
    for points in 1..3 {
        harbour.deliver(format!("{points}.csv"), rows(points, &["C-1"]));
        harbour.once().exits(0);
    }
    let bearers: Vec<Value> = apns.pushes().iter().map(|push| push["authorization"].clone()).collect();
    assert!(bearers.len() == 2 && bearers[0] == bearers[1], "a new token more often than every 20 minutes is refused");
    assert_eq!(apns.pushes()[0]["uid"], Value::Null, "no certificate is presented beside it");
    let token = bearers[0].as_str().unwrap().strip_prefix("bearer ").unwrap();
    let decoded = |part: &str| {
        let text = part.replace('-', "+").replace('_', "/");
        let bytes = openssl::base64::decode_block(&format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(decoded(parts[0]), json!({ "alg": "ES256", "kid": "KEYID12345" }));
    assert_eq!(decoded(parts[1])["iss"], TEAM);
    apns.rules(json!({ "*": { "status": 403, "reason": "ExpiredProviderToken", "times": 1 } }));
    harbour.deliver("3.csv", rows(3, &["C-1"]));
    harbour.once().exits(0);
    let last: Vec<Value> = apns.pushes().split_off(2).iter().map(|push| push["authorization"].clone()).collect();
    assert!(last.len() == 2 && last[0] == bearers[0] && last[1] != bearers[0], "{} pushes", last.len());
    assert!(!harbour.said().contains(token), "the token is in the log");
    check(&harbour);
}
