//! Google Wallet: files in, objects changed, reports out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use passferry::ledger::KeyState;
use passferry::sandbox::{GOOGLE_WALLET, Rule, Trouble, google_wallet};
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer" },
    { "name": "tier", "type": "string" },
    { "name": "end", "type": "date" },
    { "name": "text", "type": "string" },
    { "name": "transaction", "type": "string" }
  ]
}
"#;

/// A feed of loyalty cards. Time is not what these tests are about, unless they say so.
fn wallet() -> Plan {
    let taken_away = ["secret", "program"];
    let plan = harbour().folder().members(0).schema(SCHEMA);
    let plan = taken_away.iter().fold(plan, |plan, key| plan.platform(key, ""));
    plan.platform("kind", "\"google_wallet\"")
        .platform("key", "{ file = \"key.json\" }")
        .platform("issuer", "\"3388000000012345678\"")
        .platform("class", "\"loyalty\"")
        .platform("class_id", "\"club\"")
        .platform("settling", "\"200ms\"")
        .feed("fields.points", "")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.\"loyaltyPoints.balance.int\"", "\"points\"")
        .feed("fields.\"textModulesData.tier.body\"", "\"tier\"")
        .feed("fields.\"validTimeInterval.end.date\"", "\"end\"")
}

/// Starts it beside the stand-in, with as many passes `C-1`, `C-2` … there.
fn start(plan: Plan, passes: usize) -> Harbour {
    let harbour = plan.start();
    let key = harbour.home.path().join("key.json");
    fs::write(&key, harbour.sandbox.google_key().unwrap()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (passkit, google) = (harbour.sandbox.base_url(), harbour.sandbox.base_url_of(GOOGLE_WALLET));
    harbour.change_config(|text| text.replace(&format!("base_url = {passkit:?}"), &format!("base_url = {google:?}")));
    harbour.sandbox.faults().change(|faults| faults.google_wallet.calls_per_second = None);
    harbour.sandbox.seed(GOOGLE_WALLET, [json!({ "resource": "loyaltyClass", "id": "club", "reviewStatus": "approved" })]).unwrap();
    let pass =
        |n| json!({ "id": format!("C-{n}"), "classId": "club", "loyaltyPoints": { "label": "Points", "balance": { "string": "few" } } });
    harbour.sandbox.seed(GOOGLE_WALLET, (1..=passes).map(pass)).unwrap();
    harbour
}

#[track_caller]
fn pass(harbour: &Harbour, id: &str) -> Value {
    harbour.sandbox.pass(GOOGLE_WALLET, id).unwrap_or_else(|| panic!("no object {id}\n{}", harbour.said()))
}

#[track_caller]
fn points(harbour: &Harbour, id: &str) -> i64 {
    pass(harbour, id)["loyaltyPoints"]["balance"]["int"].as_i64().unwrap_or_else(|| panic!("{}", pass(harbour, id)))
}

fn file(rows: std::ops::RangeInclusive<usize>) -> String {
    rows.fold("id,points\n".to_owned(), |file, n| file + &format!("C-{n},{}\n", 100 + n))
}

/// Parts of batches that the stand-in was given.
fn parts(harbour: &Harbour) -> usize {
    harbour.sandbox.requests().select(|entry| entry.part_of.is_some()).len()
}

#[test]
fn a_file_changes_objects_and_leaves_the_rest_of_them_alone() {
    let harbour = start(wallet(), 3);
    let modules = json!([{ "id": "news", "header": "News", "body": "none" }, { "id": "tier", "header": "Tier", "body": "Silver" }]);
    harbour.sandbox.seed(GOOGLE_WALLET, [json!({ "id": "C-9", "classId": "club", "textModulesData": modules })]).unwrap();
    harbour.deliver("a.csv", "id,points,tier,end\nC-1,1240,,2027-12-31\nC-9,5,Gold,\nC-404,1,,\nC-2,2147483648,,\nC-3,7,,\n");
    harbour.once().exits(1);
    let first = pass(&harbour, "C-1");
    assert_eq!(first["loyaltyPoints"], json!({ "label": "Points", "balance": { "int": 1240 } }), "the other kind of balance is gone");
    assert_eq!(first["validTimeInterval"]["end"]["date"], "2027-12-31T23:59:59Z");
    let modules = &pass(&harbour, "C-9")["textModulesData"];
    assert_eq!(modules[0], json!({ "id": "news", "header": "News", "body": "none" }));
    assert_eq!(modules[1], json!({ "id": "tier", "header": "Tier", "body": "Gold" }));
    let errors = harbour.errors("a");
    let codes: Vec<(&str, &str)> = errors.iter().map(|line| (&*line["id"], &*line["_codes"])).collect();
    assert_eq!(codes, [("C-404", "pass-not-found"), ("C-2", "value-too-large")]);
    assert!(parts(&harbour) >= 3, "changes travel together");
    let log = harbour.said();
    assert!(!log.contains("PRIVATE KEY") && !log.contains("ya29"), "{log}");
    check_promises(&harbour);
}

#[test]
fn an_upsert_issues_passes_under_identifiers_that_can_be_turned_back() {
    let harbour = start(wallet().feed("operation", "\"upsert\""), 1);
    harbour.deliver("a.csv", "id,points\nC-1,1\nnew_one,2\nnéw,3\n");
    harbour.once().exits(0);
    assert_eq!(points(&harbour, "C-1"), 1);
    assert_eq!(points(&harbour, "new_5fone"), 2);
    assert_eq!(pass(&harbour, "n_c3_a9w")["classId"], "3388000000012345678.club");
    assert_eq!(harbour.report("a")["rows"]["created"], 2);
    check_promises(&harbour);
}

#[test]
fn every_kind_of_object_is_issued_changed_and_ended() {
    let needs = |kind: &str| match kind {
        "gift_card" => vec![("cardNumber", "\"id\"")],
        "flight" => vec![("passengerName", "\"id\""), ("\"reservationInfo.confirmationCode\"", "\"id\"")],
        "transit" => vec![("tripType", "\"{{ 'ONE_WAY' if id else '' }}\"")],
        "generic" => vec![("cardTitle", "\"id\""), ("header", "\"id\"")],
        _ => vec![],
    };
    for (kind, class) in [
        ("gift_card", "giftCardClass"),
        ("offer", "offerClass"),
        ("event_ticket", "eventTicketClass"),
        ("flight", "flightClass"),
        ("transit", "transitClass"),
        ("generic", "genericClass"),
    ] {
        let plan = wallet()
            .platform("class", &format!("{kind:?}"))
            .feed("operation", "{ column = \"tier\" }")
            .feed("fields.\"loyaltyPoints.balance.int\"", "")
            .feed("fields.\"textModulesData.tier.body\"", "");
        let plan = needs(kind).into_iter().fold(plan, |plan, (field, from)| plan.feed(&format!("fields.{field}"), from));
        let harbour = start(plan, 0);
        harbour.sandbox.seed(GOOGLE_WALLET, [json!({ "resource": class, "id": "club", "reviewStatus": "approved" })]).unwrap();
        harbour.deliver("a.csv", "id,tier,end\nK-1,upsert,2027-12-31\nK-2,upsert,\n");
        harbour.once().exits(0);
        assert_eq!(pass(&harbour, "K-1")["validTimeInterval"]["end"]["date"], "2027-12-31T23:59:59Z", "{kind}");
        harbour.deliver("b.csv", "id,tier,end\nK-1,update,2028-01-01\nK-2,void,\n");
        harbour.once().exits(0);
        assert_eq!(pass(&harbour, "K-1")["validTimeInterval"]["end"]["date"], "2028-01-01T23:59:59Z", "{kind}");
        assert_eq!(pass(&harbour, "K-2")["state"], "INACTIVE", "{kind}");
        check_promises(&harbour);
    }
}

/// D5, D17.
#[test]
fn a_lost_batch_is_sent_again_and_a_cut_answer_is_not_half_believed() {
    for trouble in [Trouble::DropAfter, Trouble::TruncatedBody, Trouble::Unavailable] {
        let harbour = start(wallet(), 10);
        harbour.sandbox.faults().add(Rule::new(trouble).path("/batch").next(1));
        harbour.deliver("a.csv", file(1..=10));
        harbour.once().exits(0);
        assert!((1..=10).all(|n| points(&harbour, &format!("C-{n}")) == 100 + n));
        check_promises(&harbour);
    }
}

#[test]
fn a_platform_that_takes_smaller_batches_gets_smaller_ones() {
    let harbour = start(wallet(), 20);
    harbour.sandbox.faults().change(|faults| faults.google_wallet.batch_max = 6);
    harbour.deliver("a.csv", file(1..=20));
    harbour.once().exits(0);
    assert!((1..=20).all(|n| points(&harbour, &format!("C-{n}")) == 100 + n));
    check_promises(&harbour);
}

/// D2.
#[test]
fn a_403_for_its_rate_slows_down_and_refuses_no_row() {
    let harbour = start(wallet().platform("allowance", "\"60/s\"").platform("batch_size", "10"), 40);
    harbour.sandbox.faults().change(|faults| {
        faults.google_wallet.calls_per_second = Some(20);
        faults.google_wallet.over_rate = google_wallet::OverRate::Forbidden;
    });
    harbour.deliver("a.csv", file(1..=40));
    harbour.once().exits(0);
    assert!((1..=40).all(|n| points(&harbour, &format!("C-{n}")) == 100 + n));
    check_promises(&harbour);
}

fn messages() -> Plan {
    wallet()
        .feed("content", "\"delta\"")
        .feed("fields.\"loyaltyPoints.balance.int\"", "")
        .feed("fields.\"textModulesData.tier.body\"", "")
        .feed("add.transaction_id", "\"transaction\"")
        .feed("notify.message", "\"text\"")
        .feed("notify.field", "\"messages\"")
        .feed("notify.kind", "\"transactional\"")
        .platform("message_header", "\"News\"")
}

fn texts(harbour: &Harbour, id: &str) -> Vec<String> {
    let pass = pass(harbour, id);
    let messages = pass["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().filter_map(|message| message["body"].as_str().map(str::to_owned)).collect()
}

/// D6.
#[test]
fn a_message_whose_answer_is_lost_is_looked_for_and_is_on_the_pass_once() {
    for trouble in [Trouble::DropAfter, Trouble::DropBefore, Trouble::WrongJson] {
        let harbour = start(messages(), 2);
        harbour.sandbox.faults().add(Rule::new(trouble).path("addMessage").next(1));
        harbour.deliver("a.csv", "id,text,transaction\nC-1,Hello,T-1\nC-2,Hello,T-2\n");
        harbour.once().exits(0);
        for id in ["C-1", "C-2"] {
            assert_eq!(texts(&harbour, id), ["Hello"], "{}", harbour.said());
        }
        assert_eq!(harbour.sandbox.notices().len(), 2);
        harbour.deliver("b.csv", "id,text,transaction\nC-1,Hello,T-1\n");
        harbour.once();
        assert_eq!(texts(&harbour, "C-1").len(), 1, "the same transaction again");
        check_promises(&harbour);
    }
}

#[test]
fn alerts_beyond_the_quota_are_planned_for_and_become_silent_messages() {
    let harbour = start(messages(), 1);
    let rows = (1..=4).fold("id,text,transaction\n".to_owned(), |file, n| file + &format!("C-1,Hello {n},T-{n}\n"));
    fs::write(harbour.home.path().join("plan.csv"), &rows).unwrap();
    let plan = harbour.told(&["plan", "plan.csv", "--feed", "points", "--json"]);
    assert_eq!(plan["moves"]["over_alerts"], 1, "{plan}");
    harbour.deliver("a.csv", rows);
    harbour.once().exits(0);
    assert_eq!(texts(&harbour, "C-1").len(), 4);
    assert_eq!(harbour.sandbox.notices().len(), 3);
    check_promises(&harbour);
}

#[test]
fn a_named_field_alerts_the_holder_once_whatever_is_lost() {
    let harbour = start(wallet().platform("notify_on", "[\"loyaltyPoints.balance\"]"), 8);
    harbour.deliver("a.csv", file(1..=4));
    harbour.once().exits(0);
    let notices = harbour.sandbox.notices();
    assert_eq!(notices.len(), 4, "{notices:?}\n{}", pass(&harbour, "C-1"));
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).path("/batch").next(1));
    harbour.deliver("b.csv", file(5..=8));
    harbour.once().exits(0);
    assert!((5..=8).all(|n| points(&harbour, &format!("C-{n}")) == 100 + n));
    let mut alerted: Vec<String> = harbour.sandbox.notices().into_iter().map(|notice| notice.object).collect();
    let all = alerted.len();
    alerted.sort();
    alerted.dedup();
    assert_eq!(alerted.len(), all, "nobody is alerted twice");
    check_promises(&harbour);
}

#[test]
fn plan_says_how_long_it_takes() {
    let harbour = start(wallet().platform("allowance", ""), 1);
    fs::write(harbour.home.path().join("plan.csv"), file(1..=1000)).unwrap();
    let plan = harbour.told(&["plan", "plan.csv", "--feed", "points", "--json"]);
    assert_eq!((&plan["moves"]["requests"], &plan["requests_per_second"], &plan["seconds"]), (&json!(1000), &json!(20.0), &json!(50)));
}

fn ends() -> Plan {
    let plan = wallet().feed("operation", "{ column = \"tier\" }").feed("fields.\"textModulesData.tier.body\"", "");
    plan.feed("content", "\"delta\"").feed("add.transaction_id", "\"transaction\"").feed("fields.\"loyaltyPoints.balance.int\"", "")
}

/// Contract 12: a pass ends by its state or by the end of its validity, and is used up once.
#[test]
fn passes_are_expired_voided_and_redeemed() {
    let harbour = start(ends(), 4);
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).id("3388000000012345678.C-4").next(1));
    harbour.deliver(
        "a.csv",
        "id,tier,end,transaction\nC-1,expire,,\nC-2,expire,2027-12-31,\nC-3,void,,\nC-4,redeem,,T-1\nC-9,expire,,\nC-8,redeem,,T-2\n",
    );
    harbour.once().exits(1);
    let state = |id: &str| pass(&harbour, id)["state"].clone();
    assert_eq!(["C-1", "C-3", "C-4"].map(state), ["EXPIRED", "INACTIVE", "COMPLETED"]);
    assert_eq!(pass(&harbour, "C-2")["validTimeInterval"]["end"]["date"], "2027-12-31T23:59:59Z");
    let errors = harbour.errors("a");
    let codes: Vec<(&str, &str)> = errors.iter().map(|line| (&*line["id"], &*line["_codes"])).collect();
    assert_eq!(codes, [("C-9", "pass-not-found"), ("C-8", "pass-not-found")], "{errors:?}");
    let sent = harbour.writes().len();
    harbour.deliver("b.csv", "id,tier,end,transaction\n\nC-4,redeem,,T-1\n");
    harbour.once();
    assert_eq!(harbour.writes().len(), sent, "the same transaction is not used up again");
    // That a pass is used up is a state, which the stand-in has no count of.
    let used = harbour.ledger().keys_of(&harbour.run_of("a.csv").id, KeyState::Applied).unwrap();
    harbour.elsewhere.replace(used.iter().map(|note| (note.key.to_string(), 1)).collect());
    assert_eq!(used.len(), 1);
    check_promises(&harbour);
}

/// Contract 4.4: an insert whose answer was lost is answered with 409 when it is repeated, and so is one that another program was faster
/// with. Either way the pass holds what the file says, and is there once.
#[test]
fn an_insert_of_what_is_there_by_now_becomes_a_change() {
    let harbour = start(wallet().feed("operation", "\"upsert\"").feed("guard.created", "false").platform("batch_size", "1"), 1);
    harbour.sandbox.faults().add(Rule::new(Trouble::DropAfter).method("POST").path("loyaltyObject").next(1));
    harbour.deliver("a.csv", "id,points\nC-1,1\nN-1,2\nN-2,3\n");
    harbour.once().exits(0);
    assert_eq!([points(&harbour, "C-1"), points(&harbour, "N-1"), points(&harbour, "N-2")], [1, 2, 3]);
    let conflicts = harbour.sandbox.requests().select(|entry| entry.status == Some(409));
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    check_promises(&harbour);
}

/// A class that is not there is no fault of the row's identifier: nobody is told that the pass is unknown.
#[test]
fn a_pass_of_a_missing_class_is_refused_in_googles_words() {
    let harbour = start(wallet().feed("operation", "\"upsert\"").feed("guard.created", "false"), 1);
    harbour.change_config(|text| text.replace("\"club\"", "\"gone\""));
    harbour.deliver("a.csv", "id,points\nC-1,1\nN-1,2\n");
    harbour.once().exits(1);
    let errors = harbour.errors("a");
    assert_eq!((errors.len(), &*errors[0]["id"], &*errors[0]["_outcome"]), (1, "N-1", "refused"), "{errors:?}");
    assert!(errors[0]["_problems"].contains("3388000000012345678.gone"), "{errors:?}");
    check_promises(&harbour);
}

#[test]
fn a_seeded_baseline_makes_the_first_file_write_nothing_that_is_there() {
    let harbour = start(wallet(), 250);
    harbour.sandbox.faults().change(|faults| faults.google_wallet.calls_per_second = None);
    let passes =
        (251..=260).map(|n| json!({ "id": format!("C-{n}"), "classId": "club", "loyaltyPoints": { "balance": { "int": 100 + n } } }));
    harbour.sandbox.seed(GOOGLE_WALLET, passes).unwrap();
    harbour.run(&["baseline", "seed", "points"]).exits(0);
    harbour.deliver("a.csv", file(251..=260));
    harbour.once().exits(0);
    assert_eq!(harbour.report("a")["rows"]["unchanged"], 10);
    assert_eq!(parts(&harbour), 0);
    check_promises(&harbour);
}
