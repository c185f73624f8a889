//! Whoever must act is told: once, in time, and nothing that is nobody's business.

mod digest;
mod mail;
mod news;
mod passage;
mod stuck;

use std::path::Path;

use crate::rig::harbour::{Harbour, KEY, Plan, SECRET, harbour, write_private};
use crate::rig::receiver::Receiver;

/// Planted; must never be seen again. 24 bytes in Base64.
pub const SIGNING: &str = "whsec_UGxhbnRlZFNpZ25pbmdTZWNyZXQ5WHc0";

/// A section of the configuration.
pub fn webhook(url: &str, more: &str) -> String {
    format!("[alert.desk]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = {{ file = \"signing\" }}\ntimeout = \"1s\"\n{more}\n")
}

/// A harbour on a folder, with a file of the signing secret.
pub fn telling(section: &str) -> Plan {
    harbour().folder().points_only().more(section)
}

pub fn start(plan: Plan) -> Harbour {
    let harbour = plan.start();
    write_private(&harbour.home.path().join("signing"), SIGNING);
    harbour
}

/// A file that is bad as a whole.
pub const BAD: &str = "id,points\nC-1,\"5\n";

/// What nobody may read in a message, a log or a report of commands.
#[track_caller]
pub fn nothing_is_given_away(harbour: &Harbour, receiver: &Receiver, cells: &[&str]) {
    let told: Vec<String> = receiver.calls().iter().map(|call| format!("{:?}{}", call.headers, call.body)).collect();
    let told = told.concat();
    let status = harbour.told(&["status", "--json"]).to_string() + &harbour.told(&["alert", "--json"]).to_string();
    let ledger = String::from_utf8_lossy(&strings_of(&harbour.state())).into_owned();
    for secret in [SIGNING, &SIGNING[6..], KEY, SECRET] {
        for (place, text) in [("a message", &told), ("a command's answer", &status), ("the log", &harbour.said()), ("the ledger", &ledger)]
        {
            assert!(!text.contains(secret), "a secret is in {place}");
        }
    }
    for cell in cells {
        assert!(!told.contains(cell), "{cell:?} is in a message:\n{told}");
    }
}

fn strings_of(state: &Path) -> Vec<u8> {
    ["ledger.sqlite", "ledger.sqlite-wal"].iter().flat_map(|name| std::fs::read(state.join(name)).unwrap_or_default()).collect()
}
