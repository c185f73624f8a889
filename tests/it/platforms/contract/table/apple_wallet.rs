//! Apple Wallet: passes that are hosted here. The platform is the program's own store; the one request that leaves is a push.

use passferry::apple::store::{Pass, Store, now_ms};
use serde_json::Value;

use super::{Adds, Entry, Excuse, Held, Shown, Wrong, held, point_to, replace, text};
use crate::platforms::apple::{added, hosted, store, template};
use crate::platforms::contract::hosted as instead;
use crate::rig::apple::{AUTHORITY, TEAM};
use crate::rig::harbour::Harbour;

/// A pass, by its identifier.
fn kept(harbour: &Harbour, name: &str) -> Option<Pass> {
    let find = |store: Store| {
        store.read(|work| {
            let serials = work.serials_of(name)?;
            assert!(serials.len() <= 1, "{name} was issued {} times", serials.len());
            serials.first().map_or(Ok(None), |serial| work.pass(serial))
        })
    };
    find(store(harbour)).unwrap()
}

pub fn apple_wallet() -> Entry {
    Entry {
        name: "apple_wallet",
        plan: |plan| {
            let plan = hosted(plan, instead::APNS.base_url().as_str()).feed("guard.created", "false");
            plan.feed("fields.points", "\"points\"").feed("fields.tier", "\"tier\"")
        },
        open: |_| (),
        seed: |harbour, names| {
            let mut design: Value = serde_json::from_slice(&std::fs::read(template().join("pass.json")).unwrap()).unwrap();
            design["x-of-another-host"] = "12".into();
            let insert = |store: Store| {
                store.write(|work| {
                    names.iter().try_for_each(|name| work.insert(name, Some(name), "a-token-of-the-test", &design, now_ms()).map(drop))
                })
            };
            insert(store(harbour)).unwrap();
        },
        held: |harbour, name| Some(held(kept(harbour, name)?.data, "/storeCard/primaryFields/0/value", "/storeCard/headerFields/0/value")),
        writes: |rule, _| rule,
        expire: |_| (),
        unfit: &[("id", "C/1", "mapping-error"), ("id", "C\\1", "mapping-error"), ("id", "LONG", "mapping-error")],
        misspelt: ("teir", "did you mean \"tier\"?"),
        secrets: &["PRIVATE KEY", "a-token-of-the-test"],
        adds: Some(Adds {
            plan: |plan| plan.feed("operation", "\"earn\"").feed("fields.tier", ""),
            writes: |rule| rule,
            effects: |harbour, name| {
                let Held { points, .. } = held(kept(harbour, name).unwrap().data, "/storeCard/primaryFields/0/value", "/-");
                text(&Value::String(points)).parse::<usize>().unwrap() / 5
            },
        }),
        added: Some(added),
        batches: None,
        excused: &[
            Excuse {
                case: "a_platform_that_asks_to_slow_down_is_obeyed",
                reason: "nobody asks the store to be slower; the push service may, and it costs no row anything",
                shown: Shown::InItsPlace(instead::pushes_that_are_slowed_down_touch_no_row),
            },
            Excuse {
                case: "an_outage_rejects_nothing_and_the_run_resumes",
                reason: "no network is between the program and its store; a disk is, and Apple's push service is behind one",
                shown: Shown::InItsPlace(instead::a_store_that_cannot_be_written_pauses_the_run),
            },
            Excuse {
                case: "credentials_that_end_in_mid_run_are_renewed",
                reason: "the store has none; those for pushes may end, and passes are changed all the same",
                shown: Shown::InItsPlace(instead::credentials_of_pushes_that_end_touch_no_row),
            },
            Excuse {
                case: "one_bad_row_harms_no_other",
                reason: "the store fails for all or for nobody; a pass may lack the field",
                shown: Shown::InItsPlace(instead::a_pass_without_the_field_harms_no_other),
            },
            Excuse {
                case: "a_lost_answer_to_a_change_costs_nothing",
                reason: "an answer of this process is lost with the process alone",
                shown: Shown::InItsPlace(instead::killed_behind_a_change_it_costs_nothing),
            },
            Excuse {
                case: "a_lost_answer_to_an_add_never_adds_twice",
                reason: "an answer of this process is lost with the process alone",
                shown: Shown::InItsPlace(instead::killed_behind_an_add_it_never_adds_twice),
            },
        ],
        wrong: &[
            Wrong {
                what: "the certificate is another pass type's",
                make: |harbour| {
                    for (name, ending) in [("pass", "pem"), ("pass", "key")] {
                        replace(harbour, &AUTHORITY.path(&format!("{name}.{ending}")), &AUTHORITY.path(&format!("other.{ending}")));
                    }
                },
                exit: 77,
            },
            Wrong {
                what: "the certificate has ended",
                make: |harbour| {
                    for ending in ["pem", "key"] {
                        replace(harbour, &AUTHORITY.path(&format!("pass.{ending}")), &AUTHORITY.path(&format!("over.{ending}")));
                    }
                },
                exit: 77,
            },
            Wrong { what: "the team is another", make: |harbour| replace(harbour, TEAM, "ZZZZZ12345"), exit: 77 },
            Wrong { what: "the push service refuses it", make: |harbour| point_to(harbour, &instead::REFUSING.base_url()), exit: 77 },
        ],
    }
}
