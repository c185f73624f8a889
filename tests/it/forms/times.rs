//! Local times in cells.

use super::plan;
use crate::rig::harbour::Plan;
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{ "fieldsMatch": "superset", "fields": [
  { "name": "id", "type": "string", "constraints": { "required": true } }, { "name": "until", "type": "datetime" } ] }"#;

fn until(zone: &str) -> Plan {
    let plan = plan().unmodelled().schema(SCHEMA).feed("fields.points", "").feed("fields.\"metaData.tier\"", "");
    plan.feed("fields.expiryDate", "\"until\"").feed("timezone", &format!("{zone:?}"))
}

/// The night when clocks are put forward, and the one when they are put back.
const NIGHTS: &str = "id,until\nC-1,2030-03-31T02:30:00\nC-2,2030-10-27T02:30:00\nC-3,2030-07-01T12:00:00\n";

#[test]
fn times_that_daylight_saving_skips_or_repeats_are_rejected_unless_a_rule_says_what_they_mean() {
    let harbour = until("Europe/Paris").start();
    harbour.deliver("points.csv", NIGHTS);
    harbour.once().exits(1);
    let errors = harbour.errors("points");
    let told: Vec<&str> = errors.iter().map(|line| line["_problems"].as_str()).collect();
    assert!(told.len() == 2 && told[0].contains("does not occur in Europe/Paris") && told[1].contains("occurs twice"), "{told:?}");
    assert!(told[0].contains("daylight_saving.gap") && told[1].contains("daylight_saving.overlap"), "{told:?}");
    check_promises(&harbour);

    let expiry = |harbour: &crate::rig::harbour::Harbour, id: &str| {
        harbour.sandbox.member(id).unwrap()["expiryDate"].as_str().unwrap_or_default().to_owned()
    };
    for (rule, found) in [
        ("{ gap = \"after\", overlap = \"later\" }", ["2030-03-31T01:30:00Z", "2030-10-27T01:30:00Z"]),
        ("{ gap = \"before\", overlap = \"earlier\" }", ["2030-03-31T00:30:00Z", "2030-10-27T00:30:00Z"]),
    ] {
        let harbour = until("Europe/Paris").feed("daylight_saving", rule).start();
        harbour.deliver("points.csv", NIGHTS);
        harbour.once().exits(0);
        assert_eq!(["C-1", "C-2"].map(|id| expiry(&harbour, id)), found, "{rule}");
        assert_eq!(expiry(&harbour, "C-3"), "2030-07-01T10:00:00Z");
        check_promises(&harbour);
    }
}

#[test]
fn a_zone_may_be_so_far_from_utc_by_quarters_of_an_hour() {
    for (zone, found) in [("+05:30", "2030-07-01T06:30:00Z"), ("+0545", "2030-07-01T06:15:00Z"), ("UTC-3:30", "2030-07-01T15:30:00Z")] {
        let harbour = until(zone).start();
        harbour.deliver("points.csv", "id,until\nC-3,2030-07-01T12:00:00\n");
        harbour.once().exits(0);
        assert_eq!(harbour.sandbox.member("C-3").unwrap()["expiryDate"], found, "{zone}");
        check_promises(&harbour);
    }
    until("+15:00").start().run(&["check"]).exits(78).says("\"+15:00\" is not a time zone");
}
