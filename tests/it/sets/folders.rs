//! Folders of Spark and Databricks.

use std::fs;

use passferry::ledger::State;

use super::{age, csv, databricks, deliver_folder, evidence, is_alert, sets, spark, waits};
use crate::rig::harbour::harbour;
use crate::rig::promises::check_promises;

#[test]
fn a_folder_of_databricks_is_one_run_with_one_report_and_is_put_away_whole() {
    let harbour = spark().start();
    databricks(&harbour, "loyalty.csv", 10);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (10.0, 11.0));
    let runs = harbour.runs();
    assert_eq!((runs.len(), runs[0].state, runs[0].shown_name().as_str()), (1, State::Done, "loyalty.csv"));
    assert!(!harbour.inbox().join("loyalty.csv").exists(), "{:?}", harbour.tree());
    let put_away = harbour.tree().into_iter().filter(|path| path.starts_with(".processed/loyalty.csv/")).count();
    assert_eq!(put_away, 6, "{:?}", harbour.tree());
    let report = harbour.report("loyalty");
    assert_eq!((&report["records"], report["file"]["parts"].as_array().unwrap().len()), (&2.into(), 2));
    assert_eq!(report["file"]["parts"][1]["lines_before"], 2);
    assert!(report["file"]["complete"].as_str().unwrap().starts_with("marker _SUCCESS"), "{report}");
    check_promises(&harbour);
}

#[test]
fn a_folder_over_sftp_is_read_and_put_away() {
    let harbour = harbour().feed("set", "\"spark\"").feed("pattern", "\"*\"").feed("quiet", "").start();
    databricks(&harbour, "loyalty.csv", 10);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (10.0, 11.0));
    assert!(!harbour.inbox().join("loyalty.csv").exists(), "{:?}", harbour.tree());
    databricks(&harbour, "loyalty.csv", 20);
    harbour.once().exits(0);
    let id = harbour.run_of("loyalty.csv").id;
    assert!(harbour.inbox().join(format!(".processed/loyalty-{id}.csv/_SUCCESS")).exists(), "{:?}", harbour.tree());
    assert_eq!(harbour.points("C-1"), 20.0);
    check_promises(&harbour);
}

#[test]
fn parts_that_were_not_committed_are_left_out_and_named() {
    let harbour = spark().start();
    deliver_folder(&harbour, "loyalty.csv", &[("part-00000-tid-1-c000.csv", &csv(&[("C-3", "999")]))]);
    databricks(&harbour, "loyalty.csv", 10);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-3")), (10.0, 0.0));
    let warnings = harbour.report("loyalty")["warnings"].to_string();
    assert!(warnings.contains("part-00000-tid-1-c000.csv is not committed"), "{warnings}");
    assert!(harbour.inbox().join(".processed/loyalty.csv/part-00000-tid-1-c000.csv").exists());
    check_promises(&harbour);
}

#[test]
fn a_committed_part_that_is_missing_is_waited_for_told_and_then_taken() {
    let harbour = spark().start();
    databricks(&harbour, "loyalty.csv", 10);
    let late = harbour.inbox().join("loyalty.csv/part-00001-tid-7731-c000.csv");
    fs::rename(&late, harbour.root.join("late")).unwrap();
    harbour.once().exits(75).says("part-00001-tid-7731-c000.csv, which _committed_7731 lists, has not come");
    assert!(harbour.runs().is_empty() && !is_alert(&harbour));
    assert!(waits(&harbour)[0].starts_with("loyalty.csv: the part part-00001"), "{:?}", waits(&harbour));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    harbour.once().exits(75);
    assert!(is_alert(&harbour), "beyond its patience it is an alert");
    fs::rename(harbour.root.join("late"), late).unwrap();
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), waits(&harbour).len()), (11.0, 0));
    check_promises(&harbour);
}

#[test]
fn a_marker_of_yesterday_proves_nothing_unless_the_feed_says_quiet() {
    let harbour = spark().start();
    databricks(&harbour, "loyalty.csv", 10);
    age(&harbour, "loyalty.csv/_SUCCESS", 86_400);
    harbour.once().exits(75).says("marker _SUCCESS is older than loyalty.csv/part-00000");
    assert!(harbour.runs().is_empty());
    harbour.change_config(|text| text.replace("[feed.points]\n", "[feed.points]\nquiet = \"100ms\"\nmarker = \"_SUCCESS\"\n"));
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 10.0);
    check_promises(&harbour);
}

#[test]
fn a_folder_that_is_still_written_is_left_alone() {
    let harbour = spark().start();
    databricks(&harbour, "a.csv", 10);
    fs::create_dir(harbour.inbox().join("a.csv/_temporary")).unwrap();
    deliver_folder(&harbour, "b.csv", &[("part-00000.csv", &csv(&[("C-3", "3")]))]);
    databricks(&harbour, "c.csv", 10);
    harbour.deliver_to("in/c.csv", "_started_7732", "");
    harbour.once().exits(75);
    let waits = waits(&harbour);
    assert!(waits[0].contains("_temporary") && waits[1].contains("its marker _SUCCESS has not come"), "{waits:?}");
    assert!(waits[2].contains("_started_7732 is not committed"), "{waits:?}");
    assert!(harbour.runs().is_empty());
}

#[test]
fn parts_of_two_jobs_are_held_and_may_be_approved() {
    let harbour = spark().start();
    let part = |job: &str| format!("part-00000-{job}-c000.csv");
    let (one, two) = (part("0f0e1c11-aaaa-4bbb-8ccc-0123456789ab"), part("1f0e1c11-aaaa-4bbb-8ccc-0123456789ab"));
    let files = [(one.as_str(), csv(&[("C-1", "1")])), (two.as_str(), csv(&[("C-2", "2")]))];
    deliver_folder(&harbour, "loyalty.csv", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    deliver_folder(&harbour, "loyalty.csv", &[("_SUCCESS", "")]);
    harbour.once().exits(75);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    harbour.once().exits(1);
    assert!(evidence(&harbour, "loyalty.csv", "set").contains("2 jobs"));
    assert_eq!(harbour.report("loyalty.held")["guards"][0]["guard"], "set");
    assert!(harbour.inbox().join("loyalty.csv").join(&one).exists(), "a held set stays where it is");
    harbour.run(&["approve", "loyalty.csv"]).exits(0);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 2.0));
    check_promises(&harbour);
}

#[test]
fn errors_name_the_part_and_its_line_and_can_be_corrected() {
    let harbour = spark().start();
    let files = [("part-00000.csv", csv(&[("C-1", "1"), ("C-2", "many")])), ("part-00001.csv", csv(&[("C-3", "3"), ("C-4", "few")]))];
    deliver_folder(&harbour, "loyalty.csv", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    deliver_folder(&harbour, "loyalty.csv", &[("_SUCCESS", "")]);
    harbour.once().exits(1);
    let errors = harbour.errors("loyalty");
    let places: Vec<(&str, &str, &str)> =
        errors.iter().map(|line| (line["_part"].as_str(), line["_line"].as_str(), line["_record"].as_str())).collect();
    assert_eq!(places, [("loyalty.csv/part-00000.csv:3", "3", "2"), ("loyalty.csv/part-00001.csv:3", "6", "4")]);
    let problems = String::from_utf8(harbour.read("reports/loyalty.problems.csv")).unwrap();
    assert!(problems.contains("loyalty.csv/part-00001.csv:3"), "{problems}");
    let id = harbour.run_of("loyalty.csv").id;
    let shown = harbour.command(&["show", &id, "--line", "6"]).stdout(std::process::Stdio::piped()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("line 6 (record 4, loyalty.csv/part-00001.csv:3)"), "{shown}");
    let report = String::from_utf8(harbour.read("reports/loyalty.errors.csv")).unwrap();
    harbour.deliver("loyalty.errors.csv", report.replace("many", "2").replace("few", "4"));
    harbour.once().exits(0);
    assert_eq!(harbour.run_of("loyalty.errors.csv").parent, Some(id));
    for n in 1..=4_u32 {
        assert_eq!(harbour.points(&format!("C-{n}")), f64::from(n));
    }
    check_promises(&harbour);
}

#[test]
fn a_part_that_cannot_be_read_fails_the_set_and_is_named() {
    let harbour = spark().start();
    for (name, second, says) in [
        ("open.csv", "id,points\nC-2,\"2\n", "In open.csv/part-1.csv: The quote that opens on line 2"),
        ("other.csv", "points,id\n2,C-2\n", "In other.csv/part-1.csv: The header is not that of the first part"),
    ] {
        deliver_folder(&harbour, name, &[("part-0.csv", &csv(&[("C-1", "1")])), ("part-1.csv", second), ("_SUCCESS", "")]);
        harbour.once().exits(65);
        let run = harbour.run_of(name);
        let fault = run.detail.fault.unwrap();
        assert!(run.state == State::Failed && fault.message.starts_with(says), "{}", fault.message);
        assert!(harbour.inbox().join(".error").join(name).join("part-0.csv").exists(), "{:?}", harbour.tree());
    }
    assert_eq!(harbour.writes().len(), 0);
    check_promises(&harbour);
}

#[test]
fn the_same_set_again_is_nothing_new_and_the_same_rows_cut_otherwise_cost_no_write() {
    let harbour = spark().start();
    databricks(&harbour, "a.csv", 10);
    harbour.once().exits(0);
    let writes = harbour.writes().len();
    databricks(&harbour, "b.csv", 10);
    harbour.once().exits(0);
    assert!(harbour.run_of("b.csv").detail.nothing_new);
    deliver_folder(&harbour, "c.csv", &[("part-0", &csv(&[("C-1", "10"), ("C-2", "11")])), ("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert!(!harbour.run_of("c.csv").detail.nothing_new);
    assert_eq!(harbour.writes().len(), writes);
    check_promises(&harbour);
}

#[test]
fn a_part_that_comes_after_the_set_was_taken_stays_and_is_not_lost() {
    let harbour = spark().feed("guard.first_file", "true").start();
    databricks(&harbour, "loyalty.csv", 10);
    harbour.once().exits(1);
    deliver_folder(&harbour, "loyalty.csv", &[("part-00002-tid-9-c000.csv", &csv(&[("C-3", "30")]))]);
    harbour.run(&["approve", "loyalty.csv"]).exits(0);
    harbour.once().exits(0).says("came into the folder after the set was taken");
    assert_eq!((harbour.points("C-1"), harbour.points("C-3")), (10.0, 0.0));
    assert!(harbour.inbox().join("loyalty.csv/part-00002-tid-9-c000.csv").exists());
    harbour.once().exits(75).says("its marker _SUCCESS has not come");
    harbour.quiet_after.set(false);
    check_promises(&harbour);
}

#[test]
fn sets_wait_for_the_one_before_them_by_the_stamp_in_their_names() {
    let harbour = spark().feed("order", "{ stamp = \"_([0-9]+)\", gap = \"hold\" }").start();
    databricks(&harbour, "loyalty_1", 10);
    harbour.once().exits(0);
    databricks(&harbour, "loyalty_3", 30);
    harbour.once().exits(75).says("number 2 has not come");
    assert!(waits(&harbour)[0].starts_with("loyalty_3: number 2 has not come"), "{:?}", waits(&harbour));
    databricks(&harbour, "loyalty_2", 20);
    harbour.once().exits(0);
    let names: Vec<String> = harbour.runs().iter().map(passferry::ledger::Run::shown_name).collect();
    assert_eq!(names, ["loyalty_1", "loyalty_2", "loyalty_3"]);
    assert_eq!(harbour.points("C-1"), 30.0);
    check_promises(&harbour);
}

#[test]
fn without_a_header_the_schema_names_the_columns_of_every_part() {
    let harbour =
        sets("\"spark\"").feed("quiet", "").feed("dialect.header", "false").feed("dialect.delimiter", "\",\"").unmodelled().start();
    deliver_folder(&harbour, "x", &[("part-0", "C-1,1,gold,\n"), ("part-1", ""), ("part-2", "C-2,2,gold,\n"), ("_SUCCESS", "")]);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 2.0));
}
