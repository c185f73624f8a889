//! Google Wallet.

use passferry::sandbox::GOOGLE_WALLET;
use serde_json::{Value, json};

use super::{Adds, Batches, Entry, Held, Wrong, of_another_kind, point, replace, text};
use crate::rig::harbour::write_private;

const ISSUER: &str = "3388000000012345678";

pub fn google_wallet() -> Entry {
    Entry {
        name: "google_wallet",
        plan: |plan| {
            of_another_kind(plan, "google_wallet")
                .platform("key", "{ file = \"key.json\" }")
                .platform("issuer", &format!("{ISSUER:?}"))
                .platform("class", "\"loyalty\"")
                .platform("class_id", "\"club\"")
                .platform("batch_size", "5")
                .platform("message_header", "\"News\"")
                .feed("guard.created", "false")
                .feed("fields.\"loyaltyPoints.balance.int\"", "\"points\"")
                .feed("fields.\"textModulesData.tier.body\"", "\"tier\"")
        },
        open: |harbour| {
            write_private(&harbour.home.path().join("key.json"), &harbour.sandbox.google_key().unwrap());
            point(harbour, GOOGLE_WALLET);
            harbour.sandbox.faults().change(|faults| faults.google_wallet.calls_per_second = None);
            harbour.sandbox.seed(GOOGLE_WALLET, [json!({ "resource": "loyaltyClass", "id": "club", "reviewStatus": "approved" })]).unwrap();
        },
        seed: |harbour, names| {
            let news = json!([{ "id": "news", "header": "News", "body": "none" }]);
            let pass =
                |name: &String| json!({ "id": name, "classId": "club", "loyaltyPoints": { "label": "Points" }, "textModulesData": news });
            harbour.sandbox.seed(GOOGLE_WALLET, names.iter().map(pass)).unwrap();
        },
        held: |harbour, name| {
            let mut pass = harbour.sandbox.pass(GOOGLE_WALLET, name)?;
            let points = text(&pass["loyaltyPoints"]["balance"]["int"]);
            let modules = pass["textModulesData"].as_array().cloned().unwrap_or_default();
            let (tiers, others): (Vec<Value>, Vec<Value>) = modules.into_iter().partition(|module| module["id"] == "tier");
            let tier = tiers.first().map(|tier| text(&tier["body"])).unwrap_or_default();
            let rest = json!({ "label": pass["loyaltyPoints"]["label"].take(), "modules": others, "state": pass["state"].take() });
            Some(Held { points, tier, rest })
        },
        writes: |rule, pass| match pass {
            Some(pass) => rule.method("PATCH").id(&format!("{ISSUER}.{pass}")),
            None => rule.method("PATCH"),
        },
        expire: |harbour| harbour.sandbox.faults().change(|faults| faults.google_wallet.token_calls = Some(13)),
        unfit: &[("points", "2147483648", "value-too-large"), ("id", "LONG", "value-too-large")],
        misspelt: ("loyaltyPoints.balance", "say as what: loyaltyPoints.balance.int"),
        secrets: &["PRIVATE KEY", "ya29."],
        adds: Some(Adds {
            plan: |plan| {
                plan.feed("fields.\"loyaltyPoints.balance.int\"", "")
                    .feed("fields.\"textModulesData.tier.body\"", "")
                    .feed("notify.message", "\"message\"")
                    .feed("notify.field", "\"messages\"")
                    .feed("notify.kind", "\"transactional\"")
            },
            writes: |rule| rule.path("addMessage"),
            effects: |harbour, name| {
                harbour.sandbox.pass(GOOGLE_WALLET, name).and_then(|pass| pass["messages"].as_array().map(Vec::len)).unwrap_or_default()
            },
        }),
        added: None,
        batches: Some(Batches::CountedByPart),
        excused: &[],
        wrong: &[
            Wrong {
                what: "the key file is refused",
                make: |harbour| {
                    harbour.sandbox.faults().change(|faults| faults.google_wallet.token_error = Some("invalid_grant".to_owned()));
                },
                exit: 77,
            },
            Wrong { what: "the key file is none", make: |harbour| write_private(&harbour.home.path().join("key.json"), "{}"), exit: 77 },
            Wrong {
                what: "the token endpoint is down",
                make: |harbour| {
                    let down = Some("temporarily_unavailable".to_owned());
                    harbour.sandbox.faults().change(|faults| faults.google_wallet.token_error = down);
                },
                exit: 69,
            },
            Wrong { what: "the issuer is another's", make: |harbour| replace(harbour, ISSUER, "3388000000099999999"), exit: 77 },
            Wrong { what: "there is no such class", make: |harbour| replace(harbour, "\"club\"", "\"clubb\""), exit: 69 },
        ],
    }
}
