//! Every sample against its ready schema, down the whole road.

use std::fs;
use std::path::Path;

use passferry::ledger::State;

use crate::rig::harbour::{Harbour, harbour};
use crate::rig::promises::check_promises;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A harbour for one kind of card. Passes are issued by the file itself.
fn harbour_of(card: &str, fields: &[(&str, &str)]) -> Harbour {
    let mut plan = harbour()
        .schema(&read(&format!("schemas/{card}.json")))
        .tiers(&["base", "bronze", "silver", "gold", "platinum"])
        .platform("tier", "\"base\"")
        .feed("pass", "{ external_id = \"external_id\" }")
        .feed("operation", "\"upsert\"")
        .feed("fields.points", "")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("guard.created", "false")
        .members(0);
    for (field, column) in fields {
        plan = plan.feed(&format!("fields.{field:?}"), &format!("{column:?}"));
    }
    plan.start()
}

/// The clean sample is applied whole; of the faulty one the good rows are applied and the others come back.
#[track_caller]
fn goes_its_road(card: &str, fields: &[(&str, &str)]) -> Harbour {
    let harbour = harbour_of(card, fields);
    let clean = read(&format!("samples/cards/{card}.csv"));
    harbour.deliver(format!("{card}.csv"), &clean);
    harbour.once().exits(0);
    let rows = harbour.report(card)["rows"].clone();
    let records = harbour.report(card)["records"].as_u64().unwrap();
    assert!(records >= 10, "{records}");
    assert_eq!(harbour.sandbox.members(), records, "{rows}");

    harbour.deliver(format!("{card}.faulty.csv"), read(&format!("samples/cards/{card}.faulty.csv")));
    harbour.once().exits(1);
    let name = format!("{card}.faulty.csv");
    assert_eq!(harbour.state_of(&name), Some(State::Done), "{}", harbour.said());
    let report = harbour.report(&format!("{card}.faulty"));
    let rejected = report["rows"]["rejected"].as_u64().unwrap();
    assert!(rejected >= 10, "{report:#}");
    assert_eq!(harbour.errors(&format!("{card}.faulty")).len() as u64, rejected);
    check_promises(&harbour);
    harbour
}

#[test]
fn loyalty_cards() {
    let harbour = goes_its_road(
        "loyalty-card",
        &[
            ("points", "points"),
            ("person.emailAddress", "email"),
            ("expiryDate", "expiry_date"),
            ("metaData.message", "message"),
            ("metaData.tier", "tier"),
        ],
    );
    let member = harbour.sandbox.member("C-000100").unwrap();
    assert_eq!((member["points"].as_f64(), member["metaData"]["tier"].as_str()), (Some(1250.0), Some("bronze")));
    assert_eq!(member["person"]["emailAddress"], "zoe@example.com");
    assert!(member["expiryDate"].as_str().unwrap().starts_with("2027-12-31"), "{member}");
}

#[test]
fn club_cards() {
    goes_its_road("club-card", &[("person.surname", "last_name"), ("metaData.level", "level"), ("expiryDate", "valid_until")]);
}

#[test]
fn coupons() {
    goes_its_road("coupon", &[("metaData.offer", "offer_id"), ("metaData.discount", "discount_percent"), ("expiryDate", "expires_at")]);
}

#[test]
fn gift_cards() {
    let harbour =
        goes_its_road("gift-card", &[("points", "balance"), ("metaData.number", "card_number"), ("metaData.greeting", "greeting")]);
    assert_eq!(harbour.sandbox.member("GC-88100").unwrap()["metaData"]["number"], "0006035710000010", "leading zeros stay");
}

#[test]
fn event_tickets() {
    goes_its_road("event-ticket", &[("metaData.seat", "seat"), ("metaData.gate", "gate"), ("metaData.start", "start_time")]);
}

#[test]
fn multi_use_rewards() {
    let harbour = goes_its_road("multi-use-reward", &[("points", "uses_left"), ("metaData.reward", "reward_name")]);
    assert_eq!(harbour.sandbox.member("PP-700000").unwrap()["points"].as_f64(), Some(7.0));
}
