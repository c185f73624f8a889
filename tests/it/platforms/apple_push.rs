//! Pushes: durable, few, and never a row's fault (contract, section 7).

use std::collections::BTreeMap;
use std::time::Duration;

use passferry::sandbox::apple::{Apns, By, Fate, Settings};
use serde_json::{Value, json};

use super::apple::{check, holds, plan, store, template};
use crate::rig::apple::{AUTHORITY, PASS_TYPE, apns, token};
use crate::rig::harbour::{Harbour, wait_until};

fn rows(points: u32, ids: &[&str]) -> String {
    let rows: Vec<String> = ids.iter().map(|id| format!("{id},{points},Gold\n")).collect();
    format!("id,points,tier\n{}", rows.concat())
}

/// Passes `C-1` to `C-3`, of which nobody was told yet.
fn start(apns: &Apns) -> Harbour {
    let harbour = plan(&apns.base_url()).start();
    harbour.deliver("0.csv", rows(0, &["C-1", "C-2", "C-3"]));
    harbour.once().exits(0);
    harbour
}

fn owed(harbour: &Harbour) -> u64 {
    store(harbour).read(|work| work.pushes_owed()).unwrap()
}

/// What the tokens pushed begin with, in order, behind so many.
fn tokens(apns: &Apns, behind: usize) -> Vec<String> {
    apns.pushes().into_iter().skip(behind).map(|push| push.token[..4].to_owned()).collect()
}

/// How often a phone heard something.
fn heard(apns: &Apns, front: &str) -> usize {
    apns.heard(&token(front)).len()
}

/// What becomes of the next push to a phone, after those already told of.
fn next_fate(apns: &Apns, front: &str, fate: Fate) {
    apns.know(&token(front), &[PASS_TYPE]);
    apns.script_next(&token(front), 1, fate);
}

fn sorted(mut tokens: Vec<String>) -> Vec<String> {
    tokens.sort();
    tokens
}

fn is_over(harbour: &Harbour, name: &str) -> bool {
    harbour.runs().iter().any(|run| run.name == name && run.state.is_over())
}

fn fate(apns: &Apns, front: &str, fate: Fate) {
    apns.know(&token(front), &[PASS_TYPE]);
    apns.script(&token(front), fate);
}

fn refuse(status: u16, reason: &str) -> Fate {
    Fate::Refuse { status, reason: reason.to_owned() }
}

#[test]
fn each_phone_with_a_changed_pass_is_pushed_once() {
    let apns = apns();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1", "C-2", "C-3"]);
    holds(&harbour, "two", "bb22", ["C-1"]);
    holds(&harbour, "three", "cc33", ["C-3"]);
    harbour.deliver("1.csv", rows(1, &["C-1", "C-2"]));
    harbour.once().exits(0);
    assert_eq!(sorted(tokens(&apns, 0)), ["aa11", "bb22"]);
    for push in apns.pushes() {
        assert_eq!((&*push.method, &*push.topic, &*push.push_type, &*push.priority), ("POST", PASS_TYPE, "background", "5"));
        assert_eq!((push.by, &*push.body, push.status), (By::Certificate, "{}", Some(200)));
    }
    // Nothing changed: nobody is told.
    harbour.deliver("2.csv", rows(1, &["C-1", "C-2"]) + "\n");
    harbour.run(&["once", "--force"]).exits(0);
    assert_eq!(apns.pushes().len(), 2);
    // Another token: the old one is told nothing any more.
    holds(&harbour, "two", "bb99", ["C-1"]);
    harbour.deliver("3.csv", rows(3, &["C-1"]));
    harbour.once().exits(0);
    assert_eq!(sorted(tokens(&apns, 2)), ["aa11", "bb99"]);
    for token in ["aa11", "bb22", "bb99"] {
        assert!(!harbour.said().contains(token), "a token of a phone is in the log");
    }
    check(&harbour);
}

#[test]
fn ten_thousand_rows_are_one_push_a_phone_and_interval() {
    let apns = apns();
    let plan = plan(&apns.base_url()).platform("push_every", "\"30s\"").feed("operation", "\"update\"");
    let harbour = plan.feed("fields.\"barcode.message\"", "").feed("fields.tier", "").start();
    let ids: Vec<String> = (0..10_000).map(|n| format!("C-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let design: Value = serde_json::from_str(&std::fs::read_to_string(template().join("pass.json")).unwrap()).unwrap();
    store(&harbour)
        .write(|work| ids.iter().try_for_each(|id| work.insert(id, Some(id), "a-token-of-the-test", &design, 1).map(drop)))
        .unwrap();
    holds(&harbour, "one", "aa11", &ids);
    holds(&harbour, "two", "bb22", &ids[..100]);
    let daemon = harbour.start(&["run"]);
    harbour.deliver("1.csv", rows(1, &ids));
    wait_until("the file is done with", || is_over(&harbour, "1.csv"));
    assert_eq!(harbour.report("1")["rows"], json!({ "applied": 10_000 }));
    assert_eq!(daemon.terminate(), 0);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for push in apns.pushes() {
        // A slow machine may need more than one interval.
        assert!(counts.get(&push.token).is_none_or(|count| push.at_ms >= 30_000 * *count as u64), "two pushes in one interval");
        *counts.entry(push.token).or_default() += 1;
    }
    harbour.once().exits(0);
    let mut pushed = sorted(tokens(&apns, 0));
    pushed.dedup();
    assert_eq!((pushed, apns.pushes().iter().all(|push| push.accepted)), (vec!["aa11".to_owned(), "bb22".to_owned()], true));
    let raw = rusqlite::Connection::open(harbour.state().join("apple/cards.sqlite")).unwrap();
    let tags: i64 = raw.query_row("SELECT count(DISTINCT tag) FROM pass", [], |row| row.get(0)).unwrap();
    assert_eq!(tags, 10_000, "every change has a tag of its own");
    check(&harbour);
}

/// Killed between the change and the push: the change holds, and the push goes out after the next start.
#[test]
fn what_is_owed_survives_a_kill() {
    let apns = apns();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    fate(&apns, "aa11", Fate::Stalled);
    harbour.deliver("1.csv", rows(7, &["C-1"]));
    let process = harbour.start(&["run"]);
    wait_until("a push is under way", || !apns.pushes().is_empty());
    process.kill();
    assert_eq!(owed(&harbour), 1);
    fate(&apns, "aa11", Fate::Healthy);
    let daemon = harbour.start(&["run"]);
    wait_until("the phone is told", || owed(&harbour) == 0);
    wait_until("the file is done with", || is_over(&harbour, "1.csv"));
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((tokens(&apns, 0), heard(&apns, "aa11")), (vec!["aa11".to_owned(); 2], 1));
    check(&harbour);
}

#[test]
fn a_token_that_is_gone_takes_its_older_registrations_with_it() {
    let apns = apns();
    let harbour = start(&apns);
    for (device, token) in [("old", "aa11"), ("young", "bb22"), ("bad", "cc33"), ("wrong", "dd44"), ("well", "ee55")] {
        holds(&harbour, device, token, ["C-1"]);
    }
    fate(&apns, "aa11", Fate::Unregistered { timestamp: 4_000_000_000_000 });
    fate(&apns, "bb22", Fate::Unregistered { timestamp: 1_000 });
    fate(&apns, "cc33", Fate::BadDeviceToken);
    fate(&apns, "dd44", Fate::DeviceTokenNotForTopic);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    harbour.once().exits(0);
    assert_eq!((apns.pushes().len(), owed(&harbour)), (5, 0));
    for token in ["aa11", "bb22", "cc33", "dd44"] {
        fate(&apns, token, Fate::Healthy);
    }
    harbour.deliver("2.csv", rows(2, &["C-1"]));
    harbour.once().exits(0);
    assert_eq!(sorted(tokens(&apns, 5)), ["bb22", "ee55"], "who registered later is told; who is gone is not");
    check(&harbour);
}

#[test]
fn without_apple_rows_are_applied_and_phones_are_told_later() {
    let apns = apns();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    apns.set_down(true);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    harbour.once().exits(75).says("1 phones are not told yet").says("rows are applied all the same");
    assert_eq!(harbour.report("1")["rows"], json!({ "applied": 1 }));
    apns.set_down(false);
    // This one later, the others now; and a connection that is closed under a push is another one's trouble.
    holds(&harbour, "two", "bb22", ["C-2"]);
    next_fate(&apns, "aa11", Fate::InternalServerError);
    next_fate(&apns, "aa11", Fate::TooMany { nth: 1, window_ms: 1 });
    next_fate(&apns, "aa11", Fate::Shutdown);
    next_fate(&apns, "aa11", Fate::DropBefore);
    harbour.deliver("2.csv", rows(2, &["C-2"]));
    harbour.once().exits(75).says("try again later");
    assert_eq!((owed(&harbour), heard(&apns, "bb22")), (1, 1));
    wait_until("its time comes", || {
        harbour.once();
        owed(&harbour) == 0
    });
    assert_eq!((heard(&apns, "aa11"), heard(&apns, "bb22")), (1, 1));
    check(&harbour);
}

#[test]
fn a_refusal_of_the_account_stops_pushes_with_one_loud_word() {
    let apns = apns();
    let harbour = start(&apns);
    holds(&harbour, "one", "aa11", ["C-1"]);
    holds(&harbour, "two", "bb22", ["C-2"]);
    fate(&apns, "aa11", refuse(403, "BadCertificateEnvironment"));
    let daemon = harbour.start(&["run"]);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    wait_until("it is refused", || store(&harbour).read(|work| work.halted()).unwrap().is_some());
    harbour.deliver("2.csv", rows(2, &["C-2"]));
    wait_until("the file is done with", || is_over(&harbour, "2.csv"));
    let told = harbour.told(&["status", "--json"])["alerts"].to_string();
    assert!(told.contains("BadCertificateEnvironment") && told.contains("2 phones wait"), "{told}");
    assert_eq!(daemon.terminate(), 0);
    assert_eq!(harbour.said().matches("Apple refuses our pushes").count(), 1);
    assert_eq!(apns.pushes().len(), 1);
    fate(&apns, "aa11", Fate::Healthy);
    harbour.once().exits(0);
    assert_eq!(apns.pushes().len(), 3);
    assert_eq!(harbour.told(&["status", "--json"])["alerts"], json!([]));
    check(&harbour);
}

/// The stand-in refuses a new token within 20 minutes of the last.
#[test]
fn a_signed_token_is_kept_over_starts_and_renewed_once_when_it_is_too_old() {
    for renewal in [Duration::from_mins(20), Duration::ZERO] {
        let settings = Settings { any_device: true, token_renewal: renewal, ..Settings::default() };
        let apns = Apns::start(settings, &AUTHORITY.certificates).unwrap();
        let key = format!("{{ file = {:?} }}", AUTHORITY.path("push.p8"));
        let harbour = plan(&apns.base_url()).platform("push_key", &key).platform("push_key_id", "\"SANDBOXKEY\"").start();
        harbour.deliver("0.csv", rows(0, &["C-1"]));
        harbour.once().exits(0);
        holds(&harbour, "one", "aa11", ["C-1"]);
        for points in 1..3 {
            harbour.deliver(format!("{points}.csv"), rows(points, &["C-1"]));
            harbour.once().exits(0);
        }
        assert!(apns.pushes().len() == 2 && apns.pushes().iter().all(|push| push.by == By::Token && push.accepted));
        if renewal.is_zero() {
            next_fate(&apns, "aa11", refuse(403, "ExpiredProviderToken"));
            // Another second, or it would be the same token.
            std::thread::sleep(Duration::from_millis(1100));
            harbour.deliver("3.csv", rows(3, &["C-1"]));
            harbour.once().exits(0);
            let last: Vec<bool> = apns.pushes().iter().skip(2).map(|push| push.accepted).collect();
            assert_eq!(last, [false, true]);
        }
        check(&harbour);
    }
}

/// A key that cannot be read just now is no refusal of Apple's: pushes go on by themselves once it can.
#[test]
fn a_push_key_that_is_missing_for_a_while_stops_nothing() {
    let apns = apns();
    let key = AUTHORITY.path("push.p8");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("push.p8");
    let plan = plan(&apns.base_url()).platform("push_key", &format!("{{ file = {:?} }}", place.display().to_string()));
    let harbour = plan.platform("push_key_id", "\"SANDBOXKEY\"").start();
    harbour.deliver("0.csv", rows(0, &["C-1"]));
    harbour.once().exits(0);
    holds(&harbour, "one", "aa11", ["C-1"]);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    harbour.once().exits(75).says("1 phones are not told yet").says("the push key: cannot read");
    assert!(store(&harbour).read(|work| work.halted()).unwrap().is_none());
    let daemon = harbour.start(&["run"]);
    std::fs::copy(key, place).unwrap();
    wait_until("the phone is told", || owed(&harbour) == 0);
    assert_eq!(daemon.terminate(), 0);
    assert_eq!((heard(&apns, "aa11"), apns.pushes().iter().all(|push| push.by == By::Token && push.accepted)), (1, true));
    check(&harbour);
}

/// One stream that is never answered is that phone's trouble, not the round's; what Apple has is noted before the time is over.
#[test]
fn a_push_without_an_answer_holds_up_no_other() {
    let apns = apns();
    let harbour = start(&apns);
    for (device, token) in [("one", "aa11"), ("two", "bb22"), ("three", "cc33")] {
        holds(&harbour, device, token, ["C-1"]);
    }
    next_fate(&apns, "aa11", Fate::Stalled);
    harbour.deliver("1.csv", rows(1, &["C-1"]));
    let mut once = harbour.start(&["once"]);
    wait_until("the others are noted", || owed(&harbour) == 1);
    assert_eq!((heard(&apns, "bb22"), heard(&apns, "cc33"), apns.pushes().len()), (1, 1, 3));
    assert_eq!((once.wait(), harbour.said().contains("pushes wait")), (75, false), "{}", harbour.said());
    wait_until("its time comes", || {
        harbour.once();
        owed(&harbour) == 0
    });
    check(&harbour);
}
