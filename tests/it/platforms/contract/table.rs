//! The platforms, each with what is its own.

mod airship;
mod apple_wallet;
mod google_wallet;
mod http;
mod passkit;
mod thewalletcrew;

pub use airship::airship;
pub use apple_wallet::apple_wallet;
pub use google_wallet::google_wallet;
pub use http::{http, http_batch};
use passferry::sandbox::{Rule, Trouble};
pub use passkit::{coupons, passkit, tickets};
use serde_json::Value;
pub use thewalletcrew::thewalletcrew;

use super::{Adds, Batches, Entry, Excuse, Held, Shown, Wrong};
use crate::rig::harbour::{Harbour, Plan};

/// Takes the keys of PassKit's accounts away.
fn of_another_kind(plan: Plan, kind: &str) -> Plan {
    plan.platform("kind", &format!("{kind:?}")).platform("key", "").platform("secret", "").platform("program", "")
}

/// Points the account to its stand-in: `base_url`, and wherever `BASE` stands.
fn point(harbour: &Harbour, platform: &str) {
    let (from, to) = (harbour.sandbox.base_url(), harbour.sandbox.base_url_of(platform));
    harbour.change_config(|text| text.replace(&format!("base_url = {from:?}"), &format!("base_url = {to:?}")).replace("BASE", &to));
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map(|number| number.to_string()).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// What a pass holds at these places; they are taken out of the rest.
fn held(mut pass: Value, points: &str, tier: &str) -> Held {
    let mut take = |place: &str| {
        let (block, name) = place.rsplit_once('/').unwrap();
        pass.pointer_mut(block).and_then(Value::as_object_mut).and_then(|block| block.remove(name)).unwrap_or_default()
    };
    let (points, tier) = (text(&take(points)), text(&take(tier)));
    Held { points, tier, rest: pass }
}

fn replace(harbour: &Harbour, from: &str, to: &str) {
    harbour.change_config(|text| {
        assert!(text.contains(from), "{from} is not in\n{text}");
        text.replace(from, to)
    });
}

fn forbid(harbour: &Harbour) {
    harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 403, message: Some("the key lacks a right".to_owned()) }));
}

fn refuse_some_signatures(harbour: &Harbour) {
    for pass in [3, 4, 17] {
        harbour.sandbox.faults().add(Rule::new(Trouble::Status { code: 401, message: None }).id(&format!("C-{pass}")).next(1));
    }
}

/// What nobody has to do with the platform itself.
const NOWHERE: [Wrong; 3] = [
    Wrong { what: "nobody listens", make: |harbour| point_to(harbour, "127.0.0.1:1"), exit: 69 },
    Wrong { what: "the host has no address", make: |harbour| point_to(harbour, "https://no-such-platform.invalid"), exit: 69 },
    Wrong {
        what: "the server speaks no TLS",
        make: |harbour| point_to(harbour, &harbour.sandbox.base_url().replace("http:", "https:")),
        exit: 69,
    },
];

/// Another host for the account, by another scheme where one stands there.
fn point_to(harbour: &Harbour, to: &str) {
    harbour.change_config(|text| {
        let from = text.split("\nbase_url = \"").nth(1).unwrap();
        let host = from.find("://").unwrap() + 3;
        let end = host + from[host..].find(['/', '"']).unwrap();
        let kept = if to.contains("://") { "" } else { &from[..host] };
        text.replacen(&format!("\nbase_url = \"{}", &from[..end]), &format!("\nbase_url = \"{kept}{to}"), 1)
    });
}

/// What may be wrong with any of them.
pub fn nowhere() -> &'static [Wrong] {
    &NOWHERE
}
