//! `STEM.report.html`: a file in, a page out, read by a parser of HTML and looked at in a browser.

// Files are built of rows; their few allocations do not matter.
#![allow(clippy::format_collect)]

mod browser;
mod page;

use crate::rig::harbour::{Harbour, Plan, harbour};

/// Nine members, and a feed whose files bring points, tier and a personal address.
fn nine() -> Plan {
    harbour().folder().unmodelled()
}

/// A file with an end of every kind, after one that went through.
fn mixed(harbour: &Harbour) {
    let rows: String = (1..=9).map(|n| format!("C-{n},{},silver,c{n}@example.com\n", 10 * n)).collect();
    harbour.deliver("monday.csv", format!("id,points,tier,email\n{rows}"));
    harbour.once().exits(0);
    let tuesday = "id,points,tier,email\n\
        C-1,11,silver,c1@example.com\n\
        C-2,20,silver,c2@example.com\n\
        C-3,many,silver,not-an-address\n\
        C-4,-5,silver,c4@example.com\n\
        X-1,5,silver,x1@example.com\n\
        C-5,55,silver,c5@example.com\n\
        C-6,1\u{202f}000,silver,c6 at example.com\n";
    harbour.deliver("tuesday.csv", tuesday);
    harbour.once().exits(1);
}
