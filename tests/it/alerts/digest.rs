//! The digest, under a clock that can be set.

use super::{BAD, start, telling, webhook};
use crate::rig::clock::Clock;
use crate::rig::receiver::Receiver;

/// Clocks in Paris go back on 25 October 2026: eight o'clock is 06:00 UTC the day before, and 07:00 from then on.
#[test]
fn a_digest_comes_at_its_hour_over_daylight_saving_and_says_what_came_and_what_waits() {
    let receiver = Receiver::start();
    let section = webhook(&receiver.url(), "tell = [\"disk\"]\ndigest = { at = \"0 8 * * *\", timezone = \"Europe/Paris\" }");
    let plan = telling(&section).feed("guard.first_file", "true").feed("expected", "{ by = \"0 4 * * *\", within = \"1m\" }");
    let harbour = start(plan);
    let clock = Clock::of(&harbour);
    let sweep = |at: &str| {
        clock.set(&format!("@{at}"));
        clock.start(&harbour, &["once"]).wait();
        receiver.taken().len()
    };
    assert_eq!(sweep("2026-10-24 09:00:00"), 0, "what was before the first look is nobody's news");
    harbour.deliver("held.csv", "id,points\nC-1,5\n");
    harbour.deliver("bad.csv", BAD);
    assert_eq!(sweep("2026-10-24 21:00:00"), 0);
    assert_eq!(sweep("2026-10-25 06:30:00"), 0, "half past seven in Paris");
    assert_eq!(sweep("2026-10-25 07:01:00"), 1);
    assert_eq!(sweep("2026-10-25 07:30:00"), 1, "once");
    let body = receiver.taken()[0].json();
    assert_eq!(body["type"], "passferry.digest");
    let lines = |heading: &str| {
        let sections = body["data"]["sections"].as_array().unwrap();
        let section = sections.iter().find(|section| section["heading"] == heading).unwrap_or_else(|| panic!("{heading}: {body:#}"));
        section["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(lines(""), "From 2026-10-24 08:00 CEST to 2026-10-25 08:00 CET.");
    assert!(lines("What came").contains("points bad.csv failed"), "{body:#}");
    assert!(lines("What did not come").contains("a file was expected by 2026-10-25 04:00 UTC"), "{body:#}");
    let held = harbour.run_of("held.csv").id;
    assert!(
        lines("What waits for a person").contains(&format!("points held.csv: held by first-file: passferry approve {held}")),
        "{body:#}"
    );
    assert_eq!(lines("What waits for a server, or for room"), "nothing");
    assert_eq!(sweep("2026-10-26 07:01:00"), 2, "and the next day again");
}
