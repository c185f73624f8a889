//! Airship Mobile Wallet.

use passferry::sandbox::{AIRSHIP, Rule, Trouble};
use serde_json::json;

use super::{Adds, Entry, Excuse, Held, Shown, Wrong, held, of_another_kind, point, replace, text};
use crate::rig::harbour::write_private;

pub fn airship() -> Entry {
    Entry {
        name: "airship",
        plan: |plan| {
            of_another_kind(plan, "airship")
                .platform("template", "\"1001\"")
                .platform(
                    "auth",
                    "{ token_url = \"BASE/oauth2/token\", client_id = \"sandbox-client\", client_secret = { file = \"client\" } }",
                )
                .platform("fields.\"fields.Points\"", "{ kind = \"integer\", at = \"/fields/Points/value\", most = 100000 }")
                .platform("fields.\"headers.Tier\"", "{ at = \"/headers/Tier/value\", length_max = 60 }")
                .feed("fields.\"fields.Points\"", "\"points\"")
                .feed("fields.\"headers.Tier\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("client"), "sandbox:secret+/%");
            point(harbour, AIRSHIP);
        },
        seed: |harbour, names| {
            let pass = |name: &String| json!({ "externalId": name, "fields": { "Points": { "label": "P" }, "Kept": { "value": "1" } } });
            harbour.sandbox.seed(AIRSHIP, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let mut pass = harbour.sandbox.pass(AIRSHIP, name)?;
            let tier = text(&pass["headers"]["Tier"]["value"]);
            let Held { points, rest, .. } = held(pass["fields"].take(), "/Points/value", "/-");
            let kept = json!({ "Points": rest["Points"]["label"], "Kept": rest["Kept"] });
            Some(Held { points, tier, rest: kept })
        },
        writes: |rule, pass| pass.into_iter().fold(rule.method("PUT"), Rule::id),
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.airship.token.calls = Some(13)),
        unfit: &[("points", "100001", "value-too-large"), ("tier", "LONG", "value-too-large"), ("id", ".", "mapping-error")],
        misspelt: ("headers", "headers.*"),
        secrets: &["sandbox:secret", "sbx."],
        adds: Some(Adds {
            plan: |plan| {
                plan.feed("fields.\"fields.Points\"", "")
                    .feed("fields.\"headers.Tier\"", "")
                    .feed("notify.message", "\"message\"")
                    .feed("notify.field", "\"alerts.News\"")
                    .feed("notify.kind", "\"transactional\"")
            },
            writes: |rule| rule.method("PUT"),
            effects: |harbour, name| {
                let shown = |entry: &passferry::sandbox::Entry| entry.external_id.as_deref() == Some(name) && entry.method == "PUT";
                let dropped = harbour
                    .sandbox
                    .faults()
                    .get()
                    .rules
                    .iter()
                    .any(|rule| rule.trouble == Trouble::DropBefore && rule.id.as_deref() == Some(name));
                harbour.sandbox.requests().select(shown).len() - usize::from(dropped)
            },
        }),
        added: None,
        batches: None,
        excused: &[
            Excuse {
                case: "an_upsert_issues_what_is_not_there",
                reason: "passes are made by links; no call that issues one by your identifier is in the contract",
                shown: Shown::Refused { plan: |plan| plan.feed("operation", "\"upsert\""), says: "which platform \"cards\" cannot do" },
            },
            Excuse {
                case: "an_empty_cell_clears_where_the_schema_says_so",
                reason: "what is left out stays, and no way to take a value away is documented",
                shown: Shown::Refused {
                    plan: |plan| plan.schema(crate::platforms::contract::cases::CLEARING),
                    says: "the platform cannot clear this field",
                },
            },
        ],
        wrong: &[
            Wrong {
                what: "the client's secret is another, or the region",
                make: |harbour| write_private(&harbour.home.path().join("client"), "another"),
                exit: 77,
            },
            Wrong {
                what: "the client lacks a right",
                make: |harbour| {
                    let forbidden = Trouble::Status { code: 403, message: Some("the client lacks a right".to_owned()) };
                    harbour.sandbox.faults().add(Rule::new(forbidden).method("PUT"));
                },
                exit: 77,
            },
            Wrong { what: "there is no such template", make: |harbour| replace(harbour, "\"1001\"", "\"4711\""), exit: 0 },
        ],
    }
}
