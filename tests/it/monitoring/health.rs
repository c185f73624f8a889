//! `/healthz` and `/readyz`.

use std::fs;
use std::net::TcpListener;

use super::{LISTEN, get, listener};
use crate::rig::harbour::{harbour, wait_until};
use crate::rig::promises::check_promises;

#[test]
fn readiness_goes_with_the_source_and_comes_back_with_it() {
    let harbour = harbour().folder().more(LISTEN).start();
    let daemon = harbour.start(&["run"]);
    let address = listener(&harbour);
    wait_until("it is ready", || get(&address, "/readyz").0 == 200);
    assert_eq!(get(&address, "/healthz").2, "alive\n");
    let (inbox, away) = (harbour.inbox(), harbour.root.join("away"));
    fs::rename(&inbox, &away).unwrap();
    let mut words = String::new();
    wait_until("it is not ready", || {
        let (status, _, body) = get(&address, "/readyz");
        words = body;
        // Whoever looks late is not ready either, for a moment; the reason comes with the next listing.
        status == 503 && words.contains(": ")
    });
    assert!(words.starts_with("source port was last listed "), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    assert_eq!(get(&address, "/healthz").0, 200, "that a source is away is no reason to kill the process");
    fs::rename(&away, &inbox).unwrap();
    wait_until("it is ready again", || get(&address, "/readyz").0 == 200);
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_is_done() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let harbour = harbour().folder().more(&format!("[metrics]\nlisten = \"{address}\"\n")).start();
    harbour.run(&["run"]).exits(74).says("metrics.listen: cannot listen at").says("write another address");
}
