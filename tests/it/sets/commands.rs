//! Commands that look at files, given a set.

use std::fs;

use passferry::spool::sha256;

use super::csv;
use crate::rig::ferry::{Plan, Rig};

fn plan(set: &str) -> Plan {
    Rig::plan().feed("set", set).feed("pattern", "\"*\"").feed("quiet", "\"1s\"")
}

/// Puts files into a folder beside the configuration.
fn folder(rig: &Rig, name: &str, files: &[(&str, &str)]) {
    fs::create_dir_all(rig.home.path().join(name)).unwrap();
    for (file, content) in files {
        rig.file(&format!("{name}/{file}"), content);
    }
}

#[test]
fn problems_of_a_folder_name_the_part_and_its_line() {
    let rig = plan("\"spark\"").start();
    let (one, two) = (csv(&[("C-1", "1"), ("C-2", "2")]), csv(&[("C-3", "many"), ("C-4", "4")]));
    folder(&rig, "out/loyalty.csv", &[("part-0.csv", &one), ("part-1.csv", &two), ("_SUCCESS", "")]);
    let told = rig.run(&["validate", "out/loyalty.csv/", "--feed", "points"]).exits(65).out;
    assert!(told.starts_with("out/loyalty.csv/part-1.csv:2 (record 3) points: type-error"), "{told}");
    assert!(told.contains("out/loyalty.csv/: not valid, 1 of 4 records rejected"), "{told}");
    let lines = rig.run(&["validate", "out/loyalty.csv", "--feed", "points", "--json"]).exits(65).json_lines();
    assert_eq!(lines[0]["part"], "out/loyalty.csv/part-1.csv:2", "{}", lines[0]);
    assert_eq!((&lines[0]["line"], &lines[0]["record"], &lines[1]["records"]), (&5.into(), &3.into(), &4.into()));
    // The same parts one by one, and against a schema alone.
    for args in [
        &["validate", "out/loyalty.csv/part-1.csv", "out/loyalty.csv/part-0.csv", "--schema", "schema.json", "--json"][..],
        &["validate", "out/loyalty.csv", "--schema", "schema.json", "--json"],
    ] {
        let lines = rig.run(args).exits(65).json_lines();
        assert_eq!((&lines[0]["part"], &lines[0]["record"]), (&"out/loyalty.csv/part-1.csv:2".into(), &3.into()), "{args:?}");
    }
    folder(&rig, "out/loyalty.csv", &[("part-1.csv", "points,id\n1,C-3\n")]);
    let told = rig.run(&["validate", "out/loyalty.csv", "--feed", "points"]).exits(65).out;
    assert!(told.starts_with("out/loyalty.csv/part-1.csv:1: incorrect-label The header is not that of the first part"), "{told}");
}

#[test]
fn what_a_set_lacks_and_what_contradicts_it_is_a_problem_of_it() {
    let rig = plan("\"spark\"").feed("checksum", "\"{}.sha256\"").start();
    let (one, two) = (csv(&[("C-1", "1")]), csv(&[("C-2", "2")]));
    let committed = r#"{"added":["part-0","part-1","part-2"]}"#;
    let sums = [sha256(one.as_bytes()), sha256(b"other")];
    let files = [
        ("part-0", one.as_str()),
        ("part-0.sha256", &sums[0]),
        ("part-1", &two),
        ("part-1.sha256", &sums[1]),
        ("part-9", "x"),
        ("_committed_1", committed),
    ];
    folder(&rig, "x", &files);
    let lines = rig.run(&["validate", "x", "--feed", "points", "--json"]).exits(65).json_lines();
    let problems = lines[0]["set_problems"].to_string();
    assert!(problems.contains("the part part-2, which _committed_1 lists, has not come"), "{problems}");
    assert!(problems.contains("the SHA-256 checksum of x/part-1 is"), "{problems}");
    assert_eq!((&lines[0]["records"], &lines[0]["valid"]), (&2.into(), &false.into()));
    assert!(lines[0]["warnings"].to_string().contains("x/part-9 is not committed"), "{}", lines[0]);
    let told = rig.run(&["validate", "x", "--feed", "points"]).exits(65).out;
    assert!(told.contains("x: set: the part part-2, which"), "{told}");
    let plan = rig.run(&["plan", "x", "--feed", "points", "--json"]).exits(0).json();
    assert_eq!((&plan["guards"][0]["guard"], &plan["held"], &plan["records"]), (&"set".into(), &true.into(), &2.into()));
    let shown = rig.run(&["preview", "x", "--feed", "points"]).exits(0).out;
    assert!(shown.contains("note: the part part-2, which"), "{shown}");
}

#[test]
fn a_manifest_stands_for_what_it_lists_and_its_counts_are_checked() {
    let rig = plan("\"manifest\"").feed("pattern", "\"*manifest\"").start();
    folder(&rig, "unload", &[("l_0000_part_00", &csv(&[("C-1", "1")])), ("l_0001_part_00", &csv(&[("C-2", "2"), ("C-3", "3")]))]);
    let entry = |name: &str, count: u32| format!(r#"{{"url":"s3://b/{name}","meta":{{"record_count":{count}}}}}"#);
    let entries = [entry("l_0000_part_00", 2), entry("l_0001_part_00", 2)].join(",");
    rig.file("unload/l_manifest", format!(r#"{{"entries":[{entries}],"author":{{"name":"Amazon Redshift"}}}}"#));
    for against in [["--feed", "points"], ["--schema", "schema.json"]] {
        let told = rig.run(&["validate", "unload/l_manifest", against[0], against[1]]).exits(65).out;
        assert!(told.contains("set: l_0001_part_00 holds 2 records, and 1 were declared"), "{told}");
    }
    let shown = rig.run(&["preview", "unload/l_manifest", "--json"]).exits(0).json_lines();
    assert_eq!((shown.len(), &shown[2]["part"]), (4, &"unload/l_0001_part_00:2".into()), "{shown:?}");
    fs::remove_file(rig.home.path().join("unload/l_0000_part_00")).unwrap();
    let told = rig.run(&["validate", "unload/l_manifest", "--feed", "points"]).exits(65).out;
    assert!(told.contains("the part l_0000_part_00, which the manifest lists, has not come"), "{told}");
}

#[test]
fn parts_of_two_sets_are_no_set_and_a_number_that_is_left_out_is_missing() {
    let rig = plan("\"shards\"").start();
    for name in ["a_000000000000.csv", "a_000000000002.csv", "b_000000000000.csv"] {
        rig.file(name, csv(&[("C-1", "1")]));
    }
    let two = rig.run(&["validate", "a_000000000000.csv", "b_000000000000.csv", "--feed", "points"]).exits(66);
    assert!(two.err.contains("parts of several sets, a and b"), "{}", two.err);
    let told = rig.run(&["validate", "a_000000000000.csv", "a_000000000002.csv", "--feed", "points"]).exits(65).out;
    assert!(told.contains("set: part number 1 has not come"), "{told}");
    rig.run(&["validate", "a_000000000000.csv", "--feed", "points"]).exits(0);
    rig.run(&["validate", "a_000000000000.csv", "nothing.csv", "--feed", "points"]).exits(66);
    folder(&rig, "empty", &[]);
    rig.run(&["validate", "empty", "--schema", "schema.json"]).exits(66);
}

#[test]
fn a_plan_of_a_set_is_that_of_its_run() {
    let rig = plan("\"shards\"").start();
    rig.deliver("data_0_0_0.csv", csv(&[("C-1", "1")]));
    rig.deliver("data_0_1_0.csv", csv(&[("C-2", "2")]));
    rig.once().exits(0);
    for (name, points) in [("data_0_0_0.csv", "1"), ("data_0_1_0.csv", "5")] {
        rig.file(name, csv(&[(if points == "1" { "C-1" } else { "C-2" }, points)]));
    }
    let plan = rig.run(&["plan", "data_0_0_0.csv", "data_0_1_0.csv", "--feed", "points", "--rows", "3", "--json"]).exits(0).json();
    assert_eq!((&plan["rows"]["unchanged"], &plan["rows"]["to-send"]), (&1.into(), &1.into()), "{plan}");
    assert_eq!((&plan["changes"][0]["part"], &plan["changes"][0]["record"]), (&"data_0_1_0.csv:2".into(), &2.into()), "{plan}");
}

#[test]
fn a_guess_from_a_partitioned_folder_has_its_columns_and_its_set() {
    let rig = plan("\"spark\"").start();
    folder(&rig, "loyalty_20261122/region=EU", &[("part-00000.csv", "id,points\nC-1,1\nC-2,2\n")]);
    folder(&rig, "loyalty_20261122/region=US", &[("part-00000.csv", "id,points\nC-3,3\n")]);
    let guess = rig.run(&["guess", "loyalty_20261122", "--json"]).exits(0).json();
    let columns: Vec<&str> = guess["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!((columns, &guess["records"]), (vec!["id", "points", "region"], &3.into()));
    let feed = guess["feed"].as_str().unwrap();
    assert!(feed.contains("pattern = \"loyalty_*\"\nset = { kind = \"spark\", partitions = true }\n"), "{feed}");
    rig.file("data_0_0_0.csv", csv(&[("C-1", "1")]));
    rig.file("data_0_1_0.csv", csv(&[("C-2", "2")]));
    let feed = rig.run(&["guess", "data_0_0_0.csv", "data_0_1_0.csv", "--json"]).exits(0).json()["feed"].as_str().unwrap().to_owned();
    assert!(feed.contains("pattern = \"data_*.csv\"\nset = \"shards\"\n"), "{feed}");
}
