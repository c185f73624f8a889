//! What a phone keeps, and what it shows of a change (contracts/apple-wallet.md section 8).

use serde_json::Value;

use super::package::Package;
use super::pass;

/// What tells a pass from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub pass_type: String,
    pub serial: String,
}

impl Key {
    pub fn new(pass_type: &str, serial: &str) -> Key {
        Key { pass_type: pass_type.to_owned(), serial: serial.to_owned() }
    }

    pub fn of(pass: &Value) -> Key {
        Key::new(pass["passTypeIdentifier"].as_str().unwrap_or(""), pass["serialNumber"].as_str().unwrap_or(""))
    }
}

pub struct Installed {
    pub package: Package,
    /// As the server wrote it; none until a pass was fetched.
    pub last_modified: Option<String>,
}

/// The text on the lock screen when one pass takes the place of another: that of the field that changed, a general one when there are
/// several or when it does not say where the value goes, and none when nothing that changed has one.
pub fn notice(before: &Package, after: &Package) -> Option<String> {
    let old = pass::fields(&before.pass);
    let was = |key: &Value| old.iter().find(|(_, field)| field["key"] == *key).map(|(_, field)| &field["value"]);
    let changed = pass::fields(&after.pass).into_iter().filter_map(|(_, field)| {
        let message = field["changeMessage"].as_str()?;
        (was(&field["key"])? != &field["value"]).then_some((message, field))
    });
    let changed: Vec<(&str, &Value)> = changed.collect();
    let general = || format!("{} changed", general_name(after));
    match changed[..] {
        [] => None,
        [(message, field)] if message.contains("%@") => Some(message.replace("%@", &shown(field))),
        _ => Some(general()),
    }
}

fn general_name(package: &Package) -> &'static str {
    match pass::style(&package.pass) {
        Some("storeCard") => "Store card",
        Some("coupon") => "Coupon",
        Some("eventTicket") => "Event ticket",
        Some("boardingPass") => "Boarding pass",
        _ => "Pass",
    }
}

/// A value as a person reads it, in no country's way.
fn shown(field: &Value) -> String {
    let value = match &field["value"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match field["currencyCode"].as_str() {
        Some(currency) => format!("{value} {currency}"),
        None => value,
    }
}
