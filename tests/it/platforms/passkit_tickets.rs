//! PassKit's event tickets, against the stand-in that was written from the contract alone (section 6).

use std::collections::BTreeMap;

use passferry::ledger::State;
use passferry::sandbox::{Effect, PASSKIT, Rule, Trouble};
use serde_json::{Value, json};

use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{ "fieldsMatch": "superset", "fields": [
    { "name": "number", "type": "string", "constraints": { "required": true } },
    { "name": "gate", "type": "string" }, { "name": "doors", "type": "string" }, { "name": "order", "type": "string" },
    { "name": "opt_out", "type": "boolean" }, { "name": "price", "type": "number" }, { "name": "type", "type": "string" },
    { "name": "txn", "type": "string" } ] }"#;

/// Tickets `T-1` to `T-9` of one production; their event and type are the account's.
fn plan() -> Plan {
    let plan = harbour().folder().schema(SCHEMA).platform("program", "").platform("production", "\"sandbox-production\"");
    let plan = plan.platform("event", "\"sandbox-event\"").platform("ticket_type", "\"sandbox-ticket-type\"");
    let plan = plan.points_only().feed("fields.points", "").feed("pass", "{ external_id = \"number\" }").feed("operation", "\"upsert\"");
    let plan = plan.feed("fields.\"seatInfo.gate\"", "\"gate\"").feed("fields.\"metaData.doors\"", "\"doors\"");
    let plan =
        plan.feed("fields.orderNumber", "\"order\"").feed("fields.optOut", "\"opt_out\"").feed("fields.\"faceValue.amount\"", "\"price\"");
    plan.feed("guard.created", "false")
}

/// Rows that use tickets, each by its transaction.
fn using(plan: Plan, verb: &str) -> Plan {
    let fields = ["\"seatInfo.gate\"", "\"metaData.doors\"", "orderNumber", "optOut", "\"faceValue.amount\""];
    let plan = fields.iter().fold(plan, |plan, field| plan.feed(&format!("fields.{field}"), ""));
    let plan = plan.feed("operation", &format!("{verb:?}")).feed("content", "\"delta\"").feed("add", "{ transaction_id = \"txn\" }");
    plan.platform("settling", "\"20ms\"").platform("timeout", "\"1s\"")
}

fn start(plan: Plan) -> Harbour {
    let harbour = plan.members(0).start();
    let ticket = |n| json!({ "ticketNumber": format!("T-{n}"), "seatInfo": { "gate": "A", "row": "3" }, "metaData": { "kept": "yes" } });
    harbour.sandbox.seed(PASSKIT, (1..=9).map(ticket)).unwrap();
    harbour
}

fn ticket(harbour: &Harbour, number: &str) -> Value {
    harbour.sandbox.ticket(number).unwrap_or_else(|| panic!("no ticket {number}\n{}", harbour.said()))
}

fn codes(harbour: &Harbour, stem: &str) -> BTreeMap<String, String> {
    harbour.errors(stem).into_iter().map(|line| (line["number"].clone(), line["_codes"].clone())).collect()
}

#[test]
fn tickets_are_issued_changed_and_keep_their_seat() {
    let harbour = start(plan());
    harbour.deliver("a.csv", "number,gate,doors,order,opt_out,price\nT-1,B,19:00,O-1,,12.5\nN 1/é?&=,C,20:00,O-2,true,7\n");
    harbour.once().exits(0);
    let (old, new) = (ticket(&harbour, "T-1"), ticket(&harbour, "N 1/é?&="));
    assert_eq!((&old["seatInfo"]["gate"], &old["seatInfo"]["row"]), (&json!("B"), &json!("3")), "the row stays");
    assert_eq!(
        (&old["metaData"], &old["orderNumber"], &old["faceValue"]["amount"]),
        (&json!({ "doors": "19:00", "kept": "yes" }), &json!("O-1"), &json!(12.5))
    );
    assert_eq!((&new["seatInfo"]["gate"], &new["optOut"], &new["event"]["id"]), (&json!("C"), &json!("ON"), &json!("sandbox-event")));
    assert_eq!(harbour.report("a")["rows"], json!({ "applied": 1, "created": 1 }));

    harbour.deliver("off.csv", "number,opt_out\nN 1/é?&=,false\n");
    harbour.once().exits(0);
    assert_eq!(ticket(&harbour, "N 1/é?&=")["optOut"], "OFF");

    harbour.change_config(|text| text.replace("operation = \"upsert\"", "operation = \"update\""));
    harbour.deliver("b.csv", "number,gate,price\nT-2,C,\nNOBODY,C,\nT-3,C,16777217\n");
    harbour.once().exits(1);
    assert_eq!(codes(&harbour, "b"), BTreeMap::from([("NOBODY".into(), "pass-not-found".into()), ("T-3".into(), "value-inexact".into())]));
    check_promises(&harbour);
}

#[test]
fn a_ticket_keeps_the_type_that_it_was_issued_with() {
    let harbour = start(plan().feed("fields.ticketTypeId", "\"type\"").platform("ticket_type", ""));
    harbour
        .deliver("a.csv", "number,order,type\nT-1,O-1,sandbox-ticket-type\nT-2,O-2,sandbox-ticket-type-2\nNEW,O-3,sandbox-ticket-type-2\n");
    harbour.once().exits(1);
    let errors = harbour.errors("a");
    assert_eq!((errors.len(), errors[0]["number"].as_str(), errors[0]["_codes"].as_str()), (1, "T-2", "update-rejected"));
    assert!(errors[0]["_problems"].contains("keeps what it was issued with"), "{errors:?}");
    assert_eq!(ticket(&harbour, "NEW")["ticketType"]["id"], "sandbox-ticket-type-2");
    assert_eq!(
        (&ticket(&harbour, "T-1")["orderNumber"], &ticket(&harbour, "T-2")["orderNumber"]),
        (&json!("O-1"), &json!("O-2")),
        "the rest applies"
    );
    check_promises(&harbour);
}

#[test]
fn a_ticket_is_deleted_and_gone() {
    let harbour = start(plan().feed("operation", "\"void\"").feed("content", "\"delta\""));
    harbour.sandbox.faults().change(|faults| faults.rules.push(Rule::new(Trouble::DropAfter).id("T-1").method("DELETE").next(1)));
    harbour.deliver("v.csv", "number\nT-1\nT-2\n");
    harbour.once().exits(0);
    assert!(harbour.sandbox.ticket("T-1").is_none() && harbour.sandbox.ticket("T-2").is_none() && harbour.sandbox.ticket("T-3").is_some());
    check_promises(&harbour);
}

/// D1, D9.
#[test]
fn a_ticket_is_redeemed_once_whatever_becomes_of_the_answer() {
    let harbour = start(using(plan(), "redeem"));
    harbour.sandbox.faults().change(|faults| {
        faults.rules.push(Rule::new(Trouble::DropBefore).id("T-1").path("redeem").next(1));
        faults.rules.push(Rule::new(Trouble::DropAfter).id("T-2").path("redeem").next(1));
        faults.rules.push(Rule::new(Trouble::TruncatedBody).id("T-3").path("redeem").next(1));
    });
    harbour.deliver("r.csv", "number,txn\nT-1,t1\nT-2,t2\nT-3,t3\nT-4,t4\nNOBODY,t5\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("r")["rows"], json!({ "applied": 4, "unresolved": 1 }), "{}", harbour.said());
    assert!((1..=4).all(|n| ticket(&harbour, &format!("T-{n}"))["status"] == "REDEEMED"));
    harbour.deliver("again.csv", "number,txn\nT-4,t9\n");
    harbour.once().exits(1);
    assert!(harbour.errors("again")[0]["_problems"].contains("is redeemed already"));
    check_promises(&harbour);
}

/// A validation adds a record each time it arrives. Its answer is lost: a record with our reference proves it, and without one nothing does,
/// unless the account is known to keep references.
#[test]
fn a_ticket_is_validated_once_whatever_becomes_of_the_answer() {
    for (read_back, doubtful) in [("\"events\"", 0_u64), ("\"presence\"", 1)] {
        let harbour = start(using(plan(), "validate").platform("read_back", read_back));
        harbour.sandbox.faults().change(|faults| {
            faults.rules.push(Rule::new(Trouble::DropBefore).id("T-1").path("validate").next(1));
            faults.rules.push(Rule::new(Trouble::DropAfter).id("T-2").path("validate").next(1));
            faults.rules.push(Rule::new(Trouble::TruncatedBody).id("T-3").path("validate").next(1));
        });
        harbour.deliver("v.csv", "number,txn\nT-1,t1\nT-2,t2\nT-3,t3\nT-4,t4\nT-4,t5\n");
        harbour.once().exits(i32::from(doubtful > 0));
        let rows = harbour.report("v")["rows"].clone();
        assert_eq!((rows["applied"].as_u64(), rows["in-doubt"].as_u64().unwrap_or(0)), (Some(5 - doubtful), doubtful), "{rows}");
        let times = |number: &str| ticket(&harbour, number)["validateDetails"].as_array().unwrap().len() as u64;
        assert_eq!([times("T-1"), times("T-2"), times("T-3"), times("T-4")], [1 - doubtful, 1, 1, 2]);
        if doubtful > 0 {
            harbour.run(&["settle", "v.csv:2", "resend", "--reason", "the gate saw nobody"]).exits(0);
            harbour.once().exits(0);
            assert_eq!((times("T-1"), harbour.state_of("v.csv")), (1, Some(State::Done)));
        }
        let validations = harbour.sandbox.effects().into_iter().filter(Effect::is_add).map(|effect| effect.times).sum::<u64>();
        assert_eq!(validations, 5);
        check_promises(&harbour);
    }
}

#[test]
fn the_last_validation_redeems_and_another_is_refused() {
    let harbour = start(using(plan(), "validate").platform("validations", "2"));
    harbour.deliver("v.csv", "number,txn\nT-1,t1\nT-1,t2\nT-1,t3\nT-2,t4\n");
    harbour.once().exits(1);
    let errors = harbour.errors("v");
    assert_eq!((errors.len(), errors[0]["txn"].as_str(), errors[0]["_outcome"].as_str()), (1, "t3", "refused"));
    assert!(errors[0]["_problems"].contains("not valid"), "{errors:?}");
    assert_eq!((&ticket(&harbour, "T-1")["status"], &ticket(&harbour, "T-2")["status"]), (&json!("REDEEMED"), &json!("ISSUED")));
    check_promises(&harbour);
}

#[test]
fn the_other_region_has_nothing_and_says_so() {
    let harbour = start(plan());
    let here = harbour.sandbox.base_url();
    harbour.change_config(|text| text.replace(&format!("{here:?}"), &format!("{:?}", harbour.sandbox.other_region_url())));
    let ran = harbour.run(&["check", "--reach"]);
    assert_eq!(ran.exit, 69, "{}", ran.err);
    assert_eq!(harbour.writes().len(), 0);
}
