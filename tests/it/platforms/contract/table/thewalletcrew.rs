//! The Wallet Crew.

use passferry::sandbox::{Rule, THEWALLETCREW};
use serde_json::json;

use super::{Entry, Excuse, Shown, Wrong, held, of_another_kind, point, refuse_some_signatures, replace};
use crate::rig::harbour::write_private;

pub fn thewalletcrew() -> Entry {
    Entry {
        name: "thewalletcrew",
        plan: |plan| {
            of_another_kind(plan, "thewalletcrew")
                .platform("key", "{ file = \"secret\" }")
                .platform("tenant", "\"sandbox\"")
                .platform("identifier", "\"y2.customerId\"")
                .platform("pass_type", "\"loyalty\"")
                .feed("guard.created", "false")
                .feed("fields.\"additionalData.points\"", "\"points\"")
                .feed("fields.\"additionalData.tier\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("secret"), crate::rig::harbour::KEY);
            point(harbour, THEWALLETCREW);
            harbour.sandbox.faults().change(|faults| faults.thewalletcrew.delay_ms = 0);
        },
        seed: |harbour, names| {
            let pass = |name: &String| {
                json!({ "passType": "loyalty", "identifiers": { "y2.customerId": name }, "additionalData": { "name": "Ada" },
                    "metadata": { "storeId": "12" }, "secret": "planted-pass-secret-9Tz" })
            };
            harbour.sandbox.seed(THEWALLETCREW, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let pass = harbour.sandbox.pass(THEWALLETCREW, name)?;
            let shown = json!({ "data": pass["additionalData"], "metadata": pass["metadata"], "identifiers": pass["identifiers"] });
            Some(held(shown, "/data/points", "/data/tier"))
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PATCH"), Rule::id),
        expire: refuse_some_signatures,
        unfit: &[("points", "9007199254740993", "value-inexact")],
        misspelt: ("additionaldata.tier", "did you mean \"additionalData.tier\"?"),
        secrets: &["planted-pass-secret-9Tz"],
        adds: None,
        added: None,
        batches: None,
        excused: &[Excuse {
            case: "a_lost_answer_to_an_add_never_adds_twice",
            reason: "no call that adds is public",
            shown: Shown::Refused { plan: |plan| plan.feed("operation", "\"earn\""), says: "which platform \"cards\" cannot do" },
        }],
        wrong: &[
            Wrong { what: "the key is another", make: |harbour| write_private(&harbour.home.path().join("secret"), "another"), exit: 77 },
            Wrong {
                what: "the tenant is another's",
                make: |harbour| replace(harbour, "tenant = \"sandbox\"", "tenant = \"acme\""),
                exit: 77,
            },
            Wrong {
                what: "the key may read alone",
                make: |harbour| write_private(&harbour.home.path().join("secret"), "sandbox-read-key"),
                exit: 77,
            },
            Wrong {
                what: "no pass has such an identifier",
                make: |harbour| {
                    harbour.sandbox.seed(THEWALLETCREW, [json!({ "passType": "loyalty", "identifiers": { "crm.no": "1" } })]).unwrap();
                    replace(harbour, "y2.customerId", "y2.customer");
                },
                exit: 69,
            },
        ],
    }
}
