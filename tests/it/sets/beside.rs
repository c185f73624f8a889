//! What stands beside a file that is a delivery by itself, and beside the parts of a set: checksums, control files, markers.

use std::time::Duration;

use passferry::ledger::State;
use passferry::spool::sha256;

use super::{csv, deliver_folder, evidence, spark};
use crate::rig::harbour::{Plan, harbour};
use crate::rig::promises::check_promises;

fn plan(key: &str, value: &str) -> Plan {
    harbour().folder().feed(key, value).feed("quiet", "\"10ms\"")
}

#[test]
fn a_file_waits_for_its_checksum_is_compared_with_it_and_takes_it_along() {
    for (pattern, of) in [("{}.sha256", 0), ("{stem}.md5", 1), ("{}.sha1", 2)] {
        let harbour = plan("checksum", &format!("{pattern:?}")).feed("pattern", "\"points*\"").start();
        let text = "id,points\nC-1,1\n";
        harbour.deliver("points.csv", text);
        harbour.once().exits(75).says("its checksum points");
        let (name, content) = match of {
            0 => ("points.csv.sha256", format!("{}  points.csv\n", sha256(text.as_bytes()))),
            1 => ("points.md5", "4ffc9d8e5ce4d67d4cb3e3d49a8fe51f".to_owned()),
            _ => ("points.csv.sha1", "SHA1 (points.csv) = 9ab5d1d35b8cdf4a7ab8a8b5b21fb45f7a2b6b37\n".to_owned()),
        };
        harbour.deliver(name, &content);
        if of == 0 {
            harbour.once().exits(0);
            assert_eq!(harbour.points("C-1"), 1.0);
            assert_eq!(harbour.tree()[..2], [".processed/points.csv", ".processed/points.csv.sha256"], "{:?}", harbour.tree());
        } else {
            harbour.once().exits(65);
            let fault = harbour.run_of("points.csv").detail.fault.unwrap();
            assert_eq!(fault.code.as_str(), "checksum-mismatch");
            assert!(fault.message.contains(if of == 1 { "the MD5 checksum" } else { "the SHA-1 checksum" }), "{}", fault.message);
            assert_eq!((harbour.writes().len(), harbour.state_of("points.csv")), (0, Some(State::Failed)));
            assert_eq!(harbour.tree()[..2], [".error/points.csv".to_owned(), format!(".error/{name}")], "{:?}", harbour.tree());
        }
        check_promises(&harbour);
    }
}

#[test]
fn a_list_of_checksums_is_for_all_files_and_stays() {
    let harbour = plan("checksum", "\"SHA256SUMS\"").start();
    let (a, b) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    harbour.deliver("a.csv", &a);
    harbour.deliver("b.csv", &b);
    harbour.deliver("SHA256SUMS", format!("{}  a.csv\nSHA256 (out/b.csv) = {}\n", sha256(a.as_bytes()), sha256(b.as_bytes())));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 2.0));
    assert!(harbour.inbox().join("SHA256SUMS").exists());
    check_promises(&harbour);
}

/// C11.
#[test]
fn a_file_that_does_not_hold_as_many_records_as_declared_is_refused() {
    let harbour = plan("control", "{ file = \"{stem}.ctl\", pattern = \"TRL.(?P<records>[0-9]+)\" }").start();
    harbour.deliver("points.csv", csv(&[("C-1", "1"), ("C-2", "2")]));
    harbour.deliver("points.ctl", "HDR|x\nTRL|3\n");
    harbour.once().exits(65);
    let fault = harbour.run_of("points.csv").detail.fault.unwrap();
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("count-mismatch", "the file holds 2 records, and 3 were declared"));
    assert_eq!(harbour.writes().len(), 0);
    harbour.deliver("points.csv", csv(&[("C-1", "1"), ("C-2", "2")]));
    harbour.deliver("points.ctl", "TRL|2\n");
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-2"), 2.0);
    check_promises(&harbour);
}

#[test]
fn a_correction_needs_nothing_beside_it() {
    let harbour = plan("control", "\"{}.ctl\"").start();
    harbour.deliver("points.csv", csv(&[("C-1", "many")]));
    harbour.deliver("points.csv.ctl", "records = 1");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    harbour.deliver("points.errors.csv", report.replace("many", "1"));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 1.0);
    check_promises(&harbour);
}

#[test]
fn a_marker_may_be_named_after_the_stem() {
    let harbour = harbour().folder().feed("quiet", "").feed("marker", "\"{stem}.fin\"").feed("pattern", "\"points*\"").start();
    harbour.deliver("points.csv", csv(&[("C-1", "1")]));
    harbour.once();
    assert!(harbour.runs().is_empty());
    std::fs::write(harbour.inbox().join("points.fin"), "").unwrap();
    harbour.once().exits(0);
    assert!(!harbour.inbox().join("points.fin").exists(), "it has said what it had to say");
    check_promises(&harbour);
}

#[test]
fn checksums_of_parts_are_verified_and_a_wrong_one_holds_the_set() {
    let harbour = spark().feed("checksum", "\"{}.sha256\"").start();
    let (a, b) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    deliver_folder(&harbour, "x", &[("part-0", &a), ("part-0.sha256", &sha256(a.as_bytes())), ("part-1", &b), ("_SUCCESS", "")]);
    harbour.once().exits(75).says("the checksum part-1.sha256 has not come");
    deliver_folder(&harbour, "x", &[("part-1.sha256", &sha256(b"other"))]);
    harbour.once().exits(1);
    let evidence = evidence(&harbour, "x", "set");
    assert!(evidence.starts_with("the SHA-256 checksum of x/part-1 is"), "{evidence}");
    assert_eq!(harbour.writes().len(), 0);
    harbour.run(&["discard", "x"]).exits(0);
    harbour.once().exits(0);
    assert!(harbour.inbox().join(".error/x/part-1.sha256").exists(), "{:?}", harbour.tree());
    check_promises(&harbour);
}

#[test]
fn a_list_in_the_folder_tells_of_parts_that_are_missing_or_too_many() {
    let harbour = spark().feed("set", "{ kind = \"spark\", patience = \"4s\" }").feed("checksum", "\"SHA256SUMS\"").start();
    let (a, b) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    let list = format!("{}  part-0\n{}  part-1\n", sha256(a.as_bytes()), sha256(b.as_bytes()));
    deliver_folder(&harbour, "x", &[("part-0", &a), ("SHA256SUMS", &list), ("_SUCCESS", "")]);
    harbour.once().exits(75).says("part-1, which SHA256SUMS lists, has not come");
    deliver_folder(&harbour, "x", &[("part-1", &b), ("part-2", &csv(&[("C-3", "3")])), ("_SUCCESS", "")]);
    harbour.delivered.borrow_mut().retain(|file| file.name != b"_SUCCESS");
    harbour.once().exits(75).says("x/part-2 is there, and SHA256SUMS does not list it");
    std::thread::sleep(Duration::from_millis(4100));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "x", "set").contains("part-2"));
    harbour.run(&["approve", "x"]).exits(0);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-3"), 3.0);
    check_promises(&harbour);
}
