//! PassKit: members, single-use coupons, event tickets.

use passferry::sandbox::{Effect, Issue, PASSKIT, Rule};
use serde_json::json;

use super::{Adds, Entry, Wrong, forbid, held, refuse_some_signatures, replace};
use crate::rig::harbour::{Harbour, Plan, write_private};

pub fn passkit() -> Entry {
    Entry {
        name: "passkit",
        plan: |plan| {
            let plan = plan.feed("fields.points", "\"points\"").feed("fields.\"metaData.tier\"", "\"tier\"");
            plan.platform("tier", "\"base\"").feed("guard.created", "false")
        },
        open: |_| (),
        seed: |harbour, names| {
            let issue = |name: &String| Issue {
                external_id: name.clone(),
                meta_data: [("store".to_owned(), "12".to_owned())].into_iter().collect(),
                ..Issue::default()
            };
            harbour.sandbox.issue(names.iter().map(issue)).unwrap();
        },
        held: |harbour, name| {
            let member = harbour.sandbox.member(name)?;
            let shown = json!({ "points": member["points"], "metaData": member["metaData"], "person": member["person"] });
            Some(held(shown, "/points", "/metaData/tier"))
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PUT"), Rule::id),
        expire: refuse_some_signatures,
        unfit: &[("points", "16777217", "value-inexact"), ("tier", "LONG", "value-too-large")],
        misspelt: ("metadata.tier", "did you mean metaData.tier?"),
        secrets: &[],
        adds: Some(Adds {
            plan: |plan| plan.feed("operation", "\"earn\"").feed("fields.\"metaData.tier\"", ""),
            writes: |rule| rule.path("points/earn"),
            effects: |harbour, name| harbour.points(name) as usize / 5,
        }),
        added: None,
        batches: None,
        excused: &[],
        wrong: &[
            Wrong {
                what: "the secret is another",
                make: |harbour| write_private(&harbour.home.path().join("secret"), "another"),
                exit: 77,
            },
            Wrong { what: "the key lacks a right", make: forbid, exit: 77 },
            Wrong {
                what: "the program is another, or the region",
                make: |harbour| replace(harbour, "sandbox-program", "another-program"),
                exit: 69,
            },
        ],
    }
}

/// Numbers and tiers where every kind of pass has room for them.
fn beside(plan: Plan, kind: &str) -> Plan {
    let plan = plan.platform("program", "").platform(kind, &format!("\"sandbox-{kind}\"")).feed("fields.points", "");
    plan.feed("fields.\"metaData.tier\"", "\"tier\"").feed("guard.created", "false")
}

/// How often a pass was used.
fn uses(harbour: &Harbour, name: &str) -> usize {
    let of = |effect: &Effect| effect.is_add() && effect.external_id == name;
    harbour.sandbox.effects().into_iter().filter(of).map(|effect| effect.times as usize).sum()
}

/// Single-use coupons.
pub fn coupons() -> Entry {
    Entry {
        name: "coupons",
        plan: |plan| beside(plan, "campaign").platform("offer", "\"sandbox-offer\"").feed("fields.\"metaData.points\"", "\"points\""),
        seed: |harbour, names| {
            let coupon = |name: &String| {
                json!({ "externalId": name, "campaignId": "sandbox-campaign", "sku": "old", "metaData": { "store": "12" },
                    "person": { "surname": "Byron" } })
            };
            harbour.sandbox.seed(PASSKIT, names.iter().map(coupon)).unwrap();
        },
        held: |harbour, name| {
            let coupon = harbour.sandbox.coupon(name)?;
            let shown = json!({ "sku": coupon["sku"], "metaData": coupon["metaData"], "person": coupon["person"] });
            Some(held(shown, "/metaData/points", "/metaData/tier"))
        },
        unfit: &[("tier", "LONG", "value-too-large")],
        adds: Some(Adds {
            plan: |plan| plan.feed("operation", "\"redeem\"").feed("fields.\"metaData.points\"", "").feed("fields.\"metaData.tier\"", ""),
            writes: |rule| rule.path("redeem"),
            effects: uses,
        }),
        wrong: &[
            Wrong { what: "the key lacks a right", make: forbid, exit: 77 },
            Wrong {
                what: "the campaign is another, or the region",
                make: |harbour| replace(harbour, "sandbox-campaign", "another-campaign"),
                exit: 69,
            },
        ],
        ..passkit()
    }
}

/// Event tickets.
pub fn tickets() -> Entry {
    Entry {
        name: "tickets",
        plan: |plan| {
            let plan = beside(plan, "production").platform("event", "\"sandbox-event\"").platform("ticket_type", "\"sandbox-ticket-type\"");
            plan.feed("fields.\"faceValue.amount\"", "\"points\"")
        },
        seed: |harbour, names| {
            let ticket = |name: &String| {
                json!({ "ticketNumber": name, "seatInfo": { "gate": "A", "row": "3" }, "faceValue": { "currency": "EUR" },
                    "metaData": { "kept": "yes" } })
            };
            harbour.sandbox.seed(PASSKIT, names.iter().map(ticket)).unwrap();
        },
        held: |harbour, name| {
            let ticket = harbour.sandbox.ticket(name)?;
            let shown = json!({ "faceValue": ticket["faceValue"], "metaData": ticket["metaData"], "seatInfo": ticket["seatInfo"] });
            Some(held(shown, "/faceValue/amount", "/metaData/tier"))
        },
        adds: Some(Adds {
            plan: |plan| plan.feed("operation", "\"redeem\"").feed("fields.\"faceValue.amount\"", "").feed("fields.\"metaData.tier\"", ""),
            writes: |rule| rule.path("redeem"),
            effects: uses,
        }),
        wrong: &[
            Wrong { what: "the key lacks a right", make: forbid, exit: 77 },
            Wrong {
                what: "the production is another, or the region",
                make: |harbour| replace(harbour, "sandbox-production", "another-production"),
                exit: 69,
            },
        ],
        ..passkit()
    }
}
