//! Parts with a name in common: Snowflake's and BigQuery's.

use std::fs;

use passferry::ledger::State;

use super::{csv, evidence, gzip, sets, waits};
use crate::rig::harbour::{Plan, harbour};
use crate::rig::promises::check_promises;

fn shards() -> Plan {
    sets("{ kind = \"shards\", patience = \"1s\" }")
}

#[test]
fn parts_of_snowflake_are_one_run_in_the_order_of_their_numbers() {
    let harbour = shards().start();
    // No order across parts is promised there; here the later number wins, whatever the letters say.
    harbour.deliver("data_0_10_0.csv.gz", gzip(csv(&[("C-1", "10"), ("C-3", "3")])));
    harbour.deliver("data_0_2_0.csv.gz", gzip(csv(&[("C-1", "2"), ("C-2", "2")])));
    harbour.deliver("data_1_0_0.csv.gz", gzip(csv(&[])));
    harbour.once().exits(0);
    assert_eq!((harbour.runs().len(), harbour.points("C-1"), harbour.points("C-3")), (1, 10.0, 3.0));
    let report = harbour.report("data");
    assert_eq!((&report["records"], &report["file"]["name"]), (&4.into(), &"data".into()), "{report}");
    let names: Vec<&str> = report["file"]["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["data_0_2_0.csv.gz", "data_0_10_0.csv.gz", "data_1_0_0.csv.gz"]);
    assert!(harbour.inbox().join(".processed/data/data_1_0_0.csv.gz").exists(), "{:?}", harbour.tree());
    check_promises(&harbour);
}

#[test]
fn shards_of_bigquery_over_sftp_are_one_run_once_no_number_is_missing() {
    let harbour = harbour().feed("set", "{ kind = \"shards\", patience = \"1s\" }").feed("pattern", "\"members_*.csv\"").start();
    harbour.deliver("members_000000000000.csv", csv(&[("C-1", "1")]));
    harbour.deliver("members_000000000002.csv", csv(&[]));
    harbour.once().exits(75).says("part number 1 has not come");
    assert!(harbour.runs().is_empty());
    harbour.deliver("members_000000000001.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2"), harbour.runs().len()), (1.0, 2.0, 1));
    check_promises(&harbour);
}

#[test]
fn sets_of_several_days_are_told_apart() {
    let harbour = shards().feed("order", "\"name\"").start();
    for (day, points) in [("20261121", "21"), ("20261120", "20")] {
        harbour.deliver(format!("loyalty_{day}_0_0_0.csv"), csv(&[("C-1", points)]));
        harbour.deliver(format!("loyalty_{day}_0_1_0.csv"), csv(&[("C-2", points)]));
    }
    harbour.once().exits(0);
    let names: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!((names, harbour.points("C-2")), (vec!["loyalty_20261120".to_owned(), "loyalty_20261121".to_owned()], 21.0));
    check_promises(&harbour);
}

#[test]
fn a_part_that_is_still_uploaded_keeps_its_set_waiting() {
    let harbour = shards().start();
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    fs::write(harbour.inbox().join("data_0_1_0.csv.filepart"), "id,poi").unwrap();
    harbour.once().exits(75).says("data_0_1_0.csv.filepart is still being uploaded");
    fs::remove_file(harbour.inbox().join("data_0_1_0.csv.filepart")).unwrap();
    harbour.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(0);
    assert_eq!(harbour.report("data")["records"], 2);
    check_promises(&harbour);
}

/// BigQuery counts from nothing: a set that begins with one lacks its first part.
#[test]
fn a_set_without_its_first_part_waits() {
    let harbour = shards().start();
    harbour.deliver("members_000000000001.csv", csv(&[("C-1", "1")]));
    harbour.deliver("members_000000000002.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(75).says("part number 0 has not come");
    harbour.deliver("members_000000000000.csv", csv(&[]));
    harbour.once().exits(0);
    assert_eq!(harbour.report("members")["records"], 2);
    check_promises(&harbour);
}

#[test]
fn a_part_that_comes_too_late_for_its_set_is_held() {
    let harbour = shards().start();
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    harbour.once().exits(0);
    harbour.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "data", "late-part").contains("data_0_1_0.csv"));
    harbour.run(&["approve", &harbour.run_of("data").id]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-2"), 2.0);
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "5")]));
    harbour.deliver("data_0_1_0.csv", csv(&[("C-2", "6")]));
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("data"), Some(State::Done), "the next set has the same names");
    check_promises(&harbour);
}

#[test]
fn a_marker_and_a_control_file_of_the_whole_set_count() {
    let harbour = shards().feed("marker", "\"{}.done\"").feed("control", "\"{}.ctl\"").start();
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    harbour.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    harbour.once().exits(75).says("its marker data.done has not come");
    harbour.deliver("data.done", "");
    harbour.deliver("data.ctl", "records=3\n");
    harbour.once().exits(1);
    assert!(evidence(&harbour, "data", "set").contains("the set holds 2 records, and 3 were declared"));
    assert_eq!(harbour.writes().len(), 0);
    harbour.run(&["discard", "data"]).exits(0);
    harbour.once().exits(0);
    for name in ["data_0_0_0.csv", "data_0_1_0.csv", "data.done", "data.ctl"] {
        assert!(harbour.inbox().join(".error/data").join(name).exists(), "{:?}", harbour.tree());
    }
    harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    harbour.deliver("data.done", "");
    harbour.deliver("data.ctl", "records=1\n");
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}

#[test]
fn a_form_of_the_customers_own_groups_by_its_expression() {
    let group = "{ kind = \"shards\", group = \"^(?P<set>.+)[.](?P<number>[0-9]+)of[0-9]+$\" }";
    let harbour = sets(group).feed("pattern", "\"*of*\"").start();
    harbour.deliver("night.1of2", csv(&[("C-1", "1")]));
    harbour.deliver("notes of mine", "x");
    harbour.deliver("night.2of2", csv(&[("C-2", "2")]));
    harbour.once().exits(0).says("no form that set.group knows");
    assert_eq!((harbour.report("night")["records"].as_u64(), waits(&harbour).len()), (Some(2), 0));
    check_promises(&harbour);
}

/// Sets in the order of a number in their names, and rows that know when they were true.
#[test]
fn sets_run_by_the_number_in_their_names_a_gap_holds_them_and_older_rows_are_stale() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [
        { "name": "id", "type": "string" }, { "name": "points", "type": "integer" }, { "name": "updated_at", "type": "datetime" } ] }"#;
    let group = "{ kind = \"shards\", group = \"^(?P<set>day[0-9]+)_(?P<number>[0-9]+)[.]csv$\" }";
    let plan = harbour().schema(schema).feed("set", group).feed("pattern", "\"day*.csv\"").feed("updated_at", "\"updated_at\"");
    let plan = plan.feed("fields.\"metaData.tier\"", "").feed("fields.\"person.emailAddress\"", "");
    let harbour = plan.feed("order", "{ stamp = \"^day([0-9]+)\", gap = \"hold\" }").start();
    let row = |id: &str, points: u32, hour: u32| format!("id,points,updated_at\n{id},{points},2026-11-20T{hour:02}:00:00Z\n");
    harbour.deliver("day1_0.csv", row("C-1", 1, 10));
    harbour.deliver("day1_1.csv", row("C-2", 1, 10));
    harbour.once().exits(0);
    harbour.deliver("day3_0.csv", row("C-1", 3, 12));
    harbour.once().exits(75).says("number 2 has not come");
    assert_eq!(harbour.runs().len(), 1);
    harbour.deliver("day2_1.csv", row("C-1", 2, 9));
    harbour.deliver("day2_0.csv", row("C-2", 2, 11));
    harbour.once().exits(0);
    let names: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(names, ["day1", "day2", "day3"]);
    assert_eq!(harbour.report("day2")["rows"]["stale"], 1);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (3.0, 2.0));
    check_promises(&harbour);
}

/// contracts/exports.md section 14: banners above the header. Only the first part has them, and the header.
#[test]
fn a_banner_above_the_header_of_the_first_part_costs_no_part_a_record() {
    let plan = sets("{ kind = \"shards\", header = \"first\", patience = \"1s\" }").feed("dialect", "{ preamble = 2 }");
    let harbour = plan.unmodelled().start();
    harbour.deliver("data_0_0_0.csv", "Loyalty report\nfor us\nid,points\nC-1,1\n");
    harbour.deliver("data_0_1_0.csv", "C-2,2\nC-3,3\n");
    harbour.deliver("data_0_2_0.csv", "C-4,4\n");
    harbour.once().exits(0);
    assert_eq!([1, 2, 3, 4].map(|n| harbour.points(&format!("C-{n}"))), [1.0, 2.0, 3.0, 4.0]);
    let report = harbour.report("data");
    assert_eq!((&report["records"], &report["file"]["facts"]["passed_over"]), (&4.into(), &2.into()), "{report:#}");
    check_promises(&harbour);
}
