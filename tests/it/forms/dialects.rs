//! Forms of records.

use super::{correct, plan, tier};
use crate::rig::promises::check_promises;

/// contracts/exports.md section 3: `UNLOAD … ESCAPE NULL AS '\N'`, without header; section 1 writes alike.
#[test]
fn redshift_text_is_read_reported_and_corrected_in_its_own_form() {
    let harbour = plan()
        .feed("pattern", "\"points*_part_*\"")
        .feed("dialect", r#"{ delimiter = "|", quote = "none", escape = "\\", header = false }"#)
        .start();
    harbour.deliver("points_0000_part_00", "C-1|10|Pat \\| \"Sons\"\nC-2|-5|note with \\\nline feed\nC-3|7|\\N\nC-4|8|C:\\\\temp\n");
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), tier(&harbour, "C-1").as_str()), (10.0, "Pat | \"Sons\""));
    assert_eq!((harbour.points("C-3"), tier(&harbour, "C-3").as_str()), (7.0, ""));
    assert_eq!(tier(&harbour, "C-4"), "C:\\temp");
    let report = harbour.report("points_0000_part_00");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 3, "rejected": 1 }), "{report:#}");
    let dialect = &report["file"]["dialect"];
    assert_eq!((&dialect["delimiter"], &dialect["quote"], &dialect["escape"]), (&"|".into(), &"".into(), &"\\".into()));
    let run = harbour.run_of("points_0000_part_00").id;
    let errors = String::from_utf8(harbour.read("reports/points_0000_part_00.errors.csv")).unwrap();
    assert_eq!(
        errors,
        format!(
            "id|points|tier|_run|_line|_record|_outcome|_codes|_problems|_retryable|_key\n\
             C-2|-5|note with \\\nline feed|{run}|2|2|rejected|constraint-error|points: must be at least 0 (minimum)|no|\n"
        )
    );
    correct(&harbour, "points_0000_part_00", b"|-5|", b"|5|");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-2").as_str()), (5.0, "note with \nline feed"));
    check_promises(&harbour);
}

/// contracts/exports.md section 4. Nothing is said of the escape: the start of the file shows it.
#[test]
fn spark_quotes_behind_backslashes_are_detected_and_told() {
    let harbour = plan().start();
    harbour.deliver("points.csv", "id,points,tier\nC-1,10,\"Pat \\\"P\\\" O'Brien, x\"\nC-2,-1,\"a \\\"b\\\"\"\n");
    harbour.once().exits(1);
    assert_eq!(tier(&harbour, "C-1"), "Pat \"P\" O'Brien, x");
    let evidence = harbour.report("points")["file"]["dialect"]["evidence"].as_str().unwrap().to_owned();
    assert!(evidence.contains("backslash before quotes inside quoted cells, first on line 2"), "{evidence}");
    correct(&harbour, "points", b"-1,\"a \\\"b\\\"\"", b"1,\"a \\\"b\\\"\"");
    harbour.once().exits(0);
    assert_eq!(tier(&harbour, "C-2"), "a \"b\"");
    check_promises(&harbour);
}

/// contracts/exports.md section 5: commas in the data, no quotes. Ragged rows are told, not guessed.
#[test]
fn several_signs_a_banner_comments_and_a_footer_come_off() {
    let dialect = r##"{ delimiter = "||", preamble = 2, comment = "#", footer = "TRL||{}||{count}" }"##;
    let harbour = plan().feed("dialect", dialect).start();
    let content = "Loyalty report, \"2026\nfor us\nid||points||tier\n#C-9||1||x\nC-1||10||go|ld\nC-2||x||\"sil||ver\"\nTRL||20261120||2\n";
    harbour.deliver("points.csv", content);
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), tier(&harbour, "C-1").as_str()), (10.0, "go|ld"));
    let facts = harbour.report("points")["file"]["facts"].clone();
    assert_eq!((&facts["passed_over"], &facts["footer"], &facts["records"]), (&3.into(), &true.into(), &2.into()));
    let errors = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    assert!(errors.contains("C-2||x||\"sil||ver\"||") && errors.contains("||6||2||rejected||"), "{errors}");
    correct(&harbour, "points", b"||x||", b"||11||");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-2").as_str()), (11.0, "sil||ver"));
    check_promises(&harbour);
}

/// C11: a count that is not so means rows that are not there.
#[test]
fn a_footer_with_another_count_or_none_fails_the_file() {
    for (content, words) in [
        ("id,points\nC-1,10\nTotal rows: 2\n", "says 2 records; the file has 1"),
        ("id,points\nC-1,10\n", "cut short"),
        ("id,points\nTotal rows: 0\nC-1,10\n", "records follow it"),
    ] {
        let harbour = plan().feed("dialect", r#"{ footer = "Total rows: {count}" }"#).start();
        harbour.deliver("points.csv", content);
        harbour.once().exits(65);
        let fault = harbour.report("points")["fault"].clone();
        assert_eq!(fault["code"], "row-count");
        assert!(fault["message"].as_str().unwrap().contains(words), "{fault}");
        assert_eq!(harbour.sandbox.requests().total(), 0, "nothing is asked of the platform");
        assert!(harbour.inbox().join(".error/points.csv").exists());
        check_promises(&harbour);
    }
}

/// The words that mean "no value" count without quotes alone, and a correction keeps the difference.
#[test]
fn quoted_words_for_nothing_stay_text_on_the_way_through_a_correction() {
    let schema = super::SCHEMA.replace(r#""maxLength": 30 }"#, r#""maxLength": 30 }, "x-passferry": { "quotedEmpty": "text" }"#);
    let harbour = plan().schema(&schema).start();
    harbour.deliver("points.csv", "id,points,tier\nC-1,1,gold\nC-2,2,gold\nC-3,3,gold\nC-4,4,gold\n");
    harbour.once().exits(0);
    harbour.deliver("points2.csv", "id,points,tier\nC-1,-1,\"NULL\"\nC-2,-1,NULL\nC-3,-1,\"\"\nC-4,-1,\n");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points2.errors.csv")).unwrap();
    harbour.deliver("points2-fixed.errors.csv", report.replace(",-1,", ",5,"));
    harbour.once().exits(0);
    let tiers = ["C-1", "C-2", "C-3", "C-4"].map(|id| tier(&harbour, id));
    assert_eq!(tiers, ["NULL", "gold", "", "gold"]);
    check_promises(&harbour);
}

/// A Table Dialect from a file, for the feed and for the commands.
#[test]
fn a_table_dialect_is_read_from_a_file() {
    let harbour = plan().feed("dialect", r#"{ descriptor = "dialect.json" }"#).start();
    let descriptor =
        r#"{ "delimiter": ";", "quoteChar": "'", "skipInitialSpace": true, "nullSequence": "-", "headerRows": [2, 3], "headerJoin": "" }"#;
    std::fs::write(harbour.home.path().join("dialect.json"), descriptor).unwrap();
    let content = "made today\nid;po;ti\n;ints;er\nC-1; 10;'a;b'\nC-2;11; -\n";
    let file = harbour.home.path().join("points.csv");
    std::fs::write(&file, content).unwrap();
    let descriptor = harbour.home.path().join("dialect.json");
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_passferry"))
        .args(["preview", file.to_str().unwrap(), "--dialect", descriptor.to_str().unwrap()])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("quote: `'`") && shown.contains(r#"["id","points","tier"]"#) && shown.contains(r#"4: ["C-1","10","a;b"]"#),
        "{shown}"
    );
    harbour.deliver("points.csv", content);
    harbour.once().exits(0);
    assert_eq!((tier(&harbour, "C-1").as_str(), harbour.points("C-2"), tier(&harbour, "C-2").as_str()), ("a;b", 11.0, ""));
    check_promises(&harbour);
}

/// A blank line is one of those that are counted, and the first record is not.
#[test]
fn blank_lines_before_the_header_are_lines_like_others() {
    let harbour = plan().feed("dialect", "{ preamble = 2, header = false }").start();
    harbour.deliver("points.csv", "\nExport of 20 Nov\nC-1,10,gold\nC-2,20,gold\n");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (10.0, 20.0));
    check_promises(&harbour);
}

/// What is wrong with a header is told where the header stands.
#[test]
fn a_fault_of_the_header_has_its_line() {
    let harbour = plan().feed("dialect", "{ preamble = 2 }").start();
    harbour.deliver("points.csv", "Export\nof 20 Nov\nnumber,points\nC-1,10\n");
    harbour.once().exits(65);
    let fault = harbour.report("points")["fault"].clone();
    assert_eq!((&fault["line"], &fault["code"]), (&3.into(), &"extra-label".into()), "{fault}");
    check_promises(&harbour);
}
