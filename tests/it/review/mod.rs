//! The review page through real HTTP: who may come in and what they find.

mod api;
mod browser;
mod decided;
mod door;
mod fix;
mod pages;

use crate::rig::harbour::{Plan, harbour};

/// From a folder; points alone, so that each row is one write. Four of nine rows need somebody.
fn folder() -> Plan {
    harbour().folder()
}

/// Two good rows and three that no schema takes.
const MIXED: &str = "id,points,tier,email\nC-1,10,gold,c1@example.com\nC-2,x,gold,c2@example.com\nC-3,-5,silver,private@example.com\nC-4,7,gold,not-an-address\nC-5,9,gold,c5@example.com\n";
