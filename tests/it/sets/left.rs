//! Sets that are left where they are, or deleted, and parts that turn up in two.

use std::fs;
use std::time::Duration;

use passferry::ledger::State;

use super::{age, csv, deliver_folder, evidence, sets, spark, waits};
use crate::faults::adds::{MOVEMENTS, earnings, total};
use crate::rig::harbour::Plan;
use crate::rig::promises::check_promises;

#[test]
fn sets_of_all_kinds_that_are_deleted_leave_nothing_behind() {
    for (kind, pattern) in [("spark", "x"), ("shards", "data_*"), ("manifest", "manifest.json")] {
        let plan = sets(&format!("{kind:?}")).feed("pattern", &format!("{pattern:?}")).feed("after", "\"delete\"");
        let harbour = if kind == "shards" { plan } else { plan.feed("quiet", "") }.start();
        match kind {
            "spark" => deliver_folder(&harbour, "x", &[("part-0", &csv(&[("C-1", "1")])), ("readme", "x"), ("_SUCCESS", "")]),
            "shards" => harbour.deliver("data_0_0_0.csv", csv(&[("C-1", "1")])),
            _ => {
                harbour.deliver("a.csv", csv(&[("C-1", "1")]));
                harbour.deliver("manifest.json", r#"["a.csv"]"#);
            }
        }
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-1"), 1.0);
        let left = fs::read_dir(harbour.inbox()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["reports"], "{kind}: {:?}", harbour.tree());
        harbour.delivered.borrow_mut().clear();
        harbour.once().exits(0);
        assert_eq!(harbour.runs().len(), 1);
    }
}

#[test]
fn sets_of_all_kinds_that_are_left_are_taken_once_and_again_when_they_are_replaced() {
    for (kind, pattern) in [("spark", "x"), ("shards", "data_*"), ("manifest", "manifest.json")] {
        let plan = sets(&format!("{kind:?}")).feed("pattern", &format!("{pattern:?}")).feed("after", "\"leave\"");
        let harbour = if kind == "shards" { plan } else { plan.feed("quiet", "") }.start();
        for (points, runs) in [("1", 1), ("22", 2)] {
            harbour.delivered.borrow_mut().clear();
            let text = csv(&[("C-1", points)]);
            match kind {
                "spark" => deliver_folder(&harbour, "x", &[("part-0", &text), ("_SUCCESS", "")]),
                "shards" => harbour.deliver("data_0_0_0.csv", &text),
                _ => {
                    harbour.deliver("a.csv", &text);
                    harbour.deliver("manifest.json", r#"["a.csv"]"#);
                }
            }
            harbour.once().exits(0);
            let writes = harbour.writes().len();
            harbour.once().exits(0);
            assert_eq!((harbour.runs().len(), harbour.writes().len()), (runs, writes), "{kind}: {}", harbour.said());
        }
        assert_eq!(harbour.points("C-1"), 22.0);
        check_promises(&harbour);
    }
}

/// Rows that are known by the file that they are in.
fn adding(plan: Plan) -> Plan {
    plan.schema(MOVEMENTS)
        .feed("content", "\"delta\"")
        .feed("operation", "{ column = \"move\" }")
        .feed("add", "{ dedupe = \"file\" }")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("after", "\"leave\"")
        .platform("settling", "\"300ms\"")
        .platform("read_back", "\"events\"")
}

#[test]
fn a_part_that_comes_late_into_a_folder_that_is_left_adds_nothing_twice() {
    let harbour = adding(spark()).start();
    deliver_folder(&harbour, "x", &[("part-0", &earnings(1, 5)), ("part-1", &earnings(6, 5)), ("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 100.0);
    harbour.delivered.borrow_mut().retain(|file| file.name != b"_SUCCESS");
    deliver_folder(&harbour, "x", &[("part-2", &earnings(11, 5)), ("_SUCCESS", "")]);
    harbour.once().exits(1);
    let evidence = evidence(&harbour, "x", "late-part");
    assert!(evidence.starts_with("2 of its 3 parts were in the set that run"), "{evidence}");
    assert_eq!((total(&harbour), harbour.state_of("x")), (100.0, Some(State::Held)));
    harbour.run(&["discard", &harbour.run_of("x").id]).exits(0);
    harbour.once().exits(0);
    assert_eq!(total(&harbour), 100.0);
    check_promises(&harbour);
}

#[test]
fn a_part_that_two_manifests_list_is_applied_once() {
    let plan = sets("{ kind = \"manifest\", patience = \"1s\" }").feed("pattern", "\"*manifest\"").feed("quiet", "");
    let harbour = adding(plan).start();
    for (name, first) in [("a", 1), ("b", 6), ("c", 11)] {
        harbour.deliver(name, earnings(first, 5));
    }
    harbour.deliver("1manifest", r#"["a","b"]"#);
    harbour.deliver("2manifest", r#"["b","c"]"#);
    for name in ["a", "b", "c", "1manifest", "2manifest"] {
        age(&harbour, name, 60);
    }
    age(&harbour, "2manifest", 30);
    harbour.once().exits(75).says("b is listed by 1manifest too");
    assert_eq!((total(&harbour), harbour.runs().len()), (100.0, 1), "the first is taken: {}", harbour.said());
    std::thread::sleep(Duration::from_millis(1100));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "2manifest", "set").contains("b is listed by 1manifest too"), "{:?}", waits(&harbour));
    assert_eq!(total(&harbour), 100.0);
    check_promises(&harbour);
}

/// The first manifest is gone by the time that the second comes.
#[test]
fn a_part_that_an_earlier_manifest_listed_is_applied_once() {
    let plan = sets("{ kind = \"manifest\", patience = \"1s\" }").feed("pattern", "\"*manifest\"").feed("quiet", "");
    let harbour = plan.feed("after", "\"leave\"").start();
    harbour.deliver("a", csv(&[("C-1", "1")]));
    harbour.deliver("1manifest", r#"["a"]"#);
    harbour.once().exits(0);
    fs::remove_file(harbour.inbox().join("1manifest")).unwrap();
    harbour.delivered.borrow_mut().retain(|file| file.name != b"1manifest");
    harbour.deliver("b", csv(&[("C-2", "2")]));
    harbour.deliver("2manifest", r#"["a","b"]"#);
    harbour.once().exits(1);
    let words = evidence(&harbour, "2manifest", "late-part");
    assert!(words.starts_with("1 of its 2 parts were in the set that run") && words.contains("(1manifest)"), "{words}");
    assert_eq!(harbour.points("C-2"), 0.0);
    check_promises(&harbour);
}
