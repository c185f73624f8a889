//! Parts that a manifest lists: Redshift's.

use std::time::Duration;

use super::{age, csv, evidence, gzip, sets, waits};
use crate::rig::harbour::{Harbour, Plan, harbour};
use crate::rig::promises::check_promises;

fn manifests() -> Plan {
    sets("{ kind = \"manifest\", patience = \"1s\" }").feed("pattern", "\"*_manifest\"").feed("quiet", "")
}

fn parts() -> [(&'static str, Vec<u8>, u64); 2] {
    [("loyalty_0000_part_00.gz", gzip(csv(&[("C-1", "1"), ("C-2", "2")])), 2), ("loyalty_0001_part_00.gz", gzip(csv(&[("C-3", "3")])), 1)]
}

/// A manifest as UNLOAD writes it, with so much more in its counts.
fn manifest(more_bytes: u64, more_records: u64) -> String {
    let parts = parts();
    let entry = |(name, content, records): &(&str, Vec<u8>, u64)| {
        let (bytes, records) = (content.len() as u64 + more_bytes, records + more_records);
        format!(r#"{{"url":"s3://bkt/out/{name}","meta":{{"content_length":{bytes},"record_count":{records}}}}}"#)
    };
    let entries: Vec<String> = parts.iter().map(entry).collect();
    let records: u64 = parts.iter().map(|(_, _, records)| records + more_records).sum();
    format!(
        r#"{{"entries":[{}],"meta":{{"record_count":{records}}},"author":{{"name":"Amazon Redshift","version":"1.0.0"}}}}"#,
        entries.join(",")
    )
}

fn deliver_parts(harbour: &Harbour) {
    for (name, content, _) in parts() {
        harbour.deliver(name, content);
    }
}

#[test]
fn an_unload_is_one_run_with_its_counts_verified_header_lines_and_all() {
    let harbour = harbour().feed("set", "\"manifest\"").feed("pattern", "\"*_manifest\"").feed("quiet", "").start();
    deliver_parts(&harbour);
    harbour.deliver("loyalty_manifest", manifest(0, 1));
    harbour.once().exits(0);
    let report = harbour.report("loyalty_manifest");
    assert_eq!((&report["records"], harbour.points("C-3")), (&3.into(), 3.0), "{report}");
    assert_eq!(report["file"]["beside"], serde_json::json!(["loyalty_manifest"]));
    for name in ["loyalty_manifest", "loyalty_0000_part_00.gz", "loyalty_0001_part_00.gz"] {
        assert!(harbour.inbox().join(".processed/loyalty_manifest").join(name).exists(), "{:?}", harbour.tree());
    }
    check_promises(&harbour);
}

#[test]
fn a_wrong_count_holds_the_set_with_the_part_that_has_it() {
    let harbour = manifests().start();
    deliver_parts(&harbour);
    // Without the header lines that Redshift counts.
    harbour.deliver("loyalty_manifest", manifest(0, 0));
    harbour.once().exits(1);
    let evidence = evidence(&harbour, "loyalty_manifest", "set");
    assert!(evidence.starts_with("loyalty_0000_part_00.gz holds 2 records, and 1 were declared"), "{evidence}");
    assert_eq!(harbour.writes().len(), 0);
    harbour.change_config(|text| text.replace("kind = \"manifest\",", "kind = \"manifest\", counts_header = false,"));
    harbour.run(&["approve", "loyalty_manifest"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}

#[test]
fn a_missing_part_is_waited_for_and_a_manifest_older_than_its_parts_proves_nothing() {
    let harbour = manifests().start();
    harbour.deliver("loyalty_manifest", manifest(0, 1));
    harbour.once().exits(75).says("the part loyalty_0000_part_00.gz, which the manifest lists, has not come");
    deliver_parts(&harbour);
    age(&harbour, "loyalty_manifest", 60);
    harbour.once().exits(75).says("manifest loyalty_manifest is older than loyalty_0000_part_00.gz");
    age(&harbour, "loyalty_manifest", 0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-3"), 3.0);
    check_promises(&harbour);
}

#[test]
fn a_wrong_size_and_a_part_too_many_are_waited_out_and_then_held() {
    for more_bytes in [1, 0] {
        let harbour = manifests().start();
        deliver_parts(&harbour);
        if more_bytes == 0 {
            harbour.deliver("loyalty_0002_part_00.gz", gzip(csv(&[("C-4", "4")])));
        }
        harbour.deliver("loyalty_manifest", manifest(more_bytes, 1));
        harbour.once().exits(75);
        assert_eq!(waits(&harbour).len(), 1);
        std::thread::sleep(Duration::from_millis(1100));
        harbour.once().exits(1);
        let evidence = evidence(&harbour, "loyalty_manifest", "set");
        let said = if more_bytes == 0 {
            "loyalty_0002_part_00.gz is there, and the manifest does not list it"
        } else {
            "bytes, and the manifest says"
        };
        assert!(evidence.contains(said), "{evidence}");
        harbour.run(&["discard", "loyalty_manifest"]).exits(0);
        harbour.once().exits(0);
        assert_eq!(harbour.writes().len(), 0);
        check_promises(&harbour);
    }
}

#[test]
fn a_manifest_with_checksums_is_verified() {
    let harbour = manifests().feed("pattern", "\"manifest.json\"").start();
    let (a, b) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    let sum = |text: &str| passferry::spool::sha256(text.as_bytes());
    let files =
        |b: &str| format!(r#"{{"files":[{{"name":"a.csv","rows":1,"sha256":"{}"}},{{"name":"b.csv","rows":1,"sha256":"{b}"}}]}}"#, sum(&a));
    harbour.deliver("a.csv", &a);
    harbour.deliver("b.csv", &b);
    harbour.deliver("manifest.json", files(&sum("other")));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "manifest.json", "set").starts_with("the SHA-256 checksum of b.csv is"));
    harbour.run(&["discard", "manifest.json"]).exits(0);
    harbour.once().exits(0);
    harbour.deliver("a.csv", &a);
    harbour.deliver("b.csv", &b);
    harbour.deliver("manifest.json", files(&sum(&b)));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-2"), 2.0);
    check_promises(&harbour);
}
