//! Folders below a set's that name columns.

use std::fs;

use passferry::ledger::State;

use super::{csv, deliver_folder, spark, waits};
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

const SCHEMA: &str = r#"{
  "fieldsMatch": "superset",
  "missingValues": ["", "NULL"],
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer" },
    { "name": "region", "type": "string", "x-passferry": { "empty": "keep" } },
    { "name": "on", "type": "date" }
  ]
}
"#;

fn partitioned(plan: Plan) -> Plan {
    plan.schema(SCHEMA)
        .feed("set", "{ kind = \"spark\", patience = \"1s\", partitions = true }")
        .feed("pattern", "\"*\"")
        .feed("quiet", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.\"metaData.tier\"", "\"{{ region }} of {{ on }}\"")
}

fn deliver(harbour: &Harbour) {
    deliver_folder(harbour, "loyalty/region=EU%2Fnorth/on=2026-11-22", &[("part-00000.csv", &csv(&[("C-1", "1"), ("C-2", "many")]))]);
    deliver_folder(harbour, "loyalty/region=EU%2Fnorth/on=2026-11-23", &[("part-00000.csv", &csv(&[("C-3", "3")]))]);
    deliver_folder(harbour, "loyalty/region=US, \"west\"/on=2026-13-01", &[("part-00000.csv", &csv(&[("C-4", "4")]))]);
    deliver_folder(harbour, "loyalty", &[("_SUCCESS", "")]);
}

fn tier(harbour: &Harbour, id: &str) -> String {
    harbour.sandbox.member(id).unwrap()["metaData"]["tier"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn columns_of_the_path_are_columns_typed_by_the_schema_reported_and_corrected() {
    let harbour = partitioned(harbour()).start();
    deliver(&harbour);
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), tier(&harbour, "C-1").as_str()), (1.0, "EU/north of 2026-11-22"));
    assert_eq!(tier(&harbour, "C-3"), "EU/north of 2026-11-23");
    let errors = harbour.errors("loyalty");
    assert_eq!((errors.len(), errors[1]["on"].as_str(), errors[1]["region"].as_str()), (2, "2026-13-01", "US, \"west\""));
    assert_eq!(errors[1]["_part"], "loyalty/region=US, \"west\"/on=2026-13-01/part-00000.csv:2");
    for path in ["region=EU%2Fnorth/on=2026-11-22", "region=EU%2Fnorth/on=2026-11-23"] {
        assert!(harbour.inbox().join(".processed/loyalty").join(path).join("part-00000.csv").exists(), "{:?}", harbour.tree());
    }
    assert!(!harbour.inbox().join("loyalty").exists(), "{:?}", harbour.tree());
    let report = String::from_utf8(harbour.read("reports/loyalty.errors.csv")).unwrap();
    harbour.deliver("loyalty.errors.csv", report.replace("many", "2").replace("2026-13-01", "2026-12-01"));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-4").as_str()), (2.0, "US, \"west\" of 2026-12-01"));
    check_promises(&harbour);
}

#[test]
fn no_value_is_none_and_a_column_that_the_parts_have_stays_theirs() {
    let harbour = partitioned(harbour().folder()).feed("fields.\"metaData.tier\"", "\"region\"").start();
    deliver_folder(&harbour, "a/region=__HIVE_DEFAULT_PARTITION__", &[("part-0.csv", &csv(&[("C-1", "1")]))]);
    // As a text it would be a word that means no value.
    deliver_folder(&harbour, "a/region=NULL", &[("part-0.csv", &csv(&[("C-2", "2")]))]);
    deliver_folder(&harbour, "a", &[("_SUCCESS", "")]);
    deliver_folder(&harbour, "b/region=EU", &[("part-0.csv", "id,region,points\nC-3,eu,3\n")]);
    deliver_folder(&harbour, "b", &[("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert_eq!((tier(&harbour, "C-1").as_str(), tier(&harbour, "C-2").as_str(), tier(&harbour, "C-3").as_str()), ("", "NULL", "eu"));
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}

/// Spark's own default.
#[test]
fn without_headers_the_columns_stand_behind_those_of_the_parts() {
    let harbour = partitioned(harbour().folder()).feed("dialect.header", "false").start();
    deliver_folder(&harbour, "a/region=EU/on=2026-11-22", &[("part-0.csv", "C-1,1\n")]);
    deliver_folder(&harbour, "a", &[("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert_eq!(tier(&harbour, "C-1"), "EU of 2026-11-22");
}

#[test]
fn a_feed_that_does_not_ask_for_them_says_what_to_write() {
    let plain = spark().start();
    deliver(&plain);
    plain.once().exits(75).says("Spark's partitionBy").says("write set.partitions = true to read `region` as a column");
    assert!(plain.runs().is_empty() && waits(&plain).len() == 1);
    let harbour = partitioned(harbour()).start();
    deliver_folder(&harbour, "a/region=EU", &[("part-0.csv", &csv(&[("C-1", "1")]))]);
    deliver_folder(&harbour, "a", &[("part-1.csv", &csv(&[("C-2", "2")])), ("_SUCCESS", "")]);
    harbour.once().exits(75).says("name no column").says("name region");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    harbour.once().exits(1);
    assert_eq!((harbour.state_of("a"), harbour.writes().len()), (Some(State::Held), 0));
}

#[test]
fn parts_of_the_same_name_in_several_folders_have_checksums_of_their_own() {
    let sum = |text: &str| passferry::spool::sha256(text.as_bytes());
    let harbour = partitioned(harbour().folder()).feed("checksum", "\"{}.sha256\"").feed("claim", "{ folder = \".processing\" }").start();
    let (a, b) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    deliver_folder(&harbour, "x/region=EU/on=2026-11-22", &[("part-0", &a), ("part-0.sha256", &sum(&a))]);
    deliver_folder(&harbour, "x/region=US/on=2026-11-22", &[("part-0", &b), ("part-0.sha256", &sum(&b))]);
    deliver_folder(&harbour, "x", &[("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), tier(&harbour, "C-2").as_str()), (1.0, "US of 2026-11-22"));
    assert_eq!(fs::read_dir(harbour.inbox().join(".processed/x")).unwrap().count(), 3, "{:?}", harbour.tree());
    check_promises(&harbour);
}
