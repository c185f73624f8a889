//! What is wrong with a file, or with rows of it.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use passferry::ledger::State;

use super::delivery::snapshot;
use crate::rig::harbour::{Harbour, PATIENCE, harbour, wait_at_most};
use crate::rig::promises::check_promises;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A file that fails as a whole: one code, nothing sent, the file among the failed.
#[track_caller]
fn fails(name: &str, content: &[u8], code: &str) -> Harbour {
    let harbour = harbour().start();
    harbour.deliver(name, content);
    harbour.once().exits(65);
    let stem = name.split('.').next().unwrap();
    let report = harbour.report(stem);
    assert_eq!(report["fault"]["code"], code, "{report:#}");
    assert_eq!(report["state"], "failed");
    assert_eq!(harbour.sandbox.requests().total(), 0, "nothing is asked of the platform");
    assert!(harbour.inbox().join(".error").join(name).exists(), "{:?}", harbour.tree());
    check_promises(&harbour);
    harbour
}

#[test]
fn an_unclosed_quote_fails_the_file_with_its_line() {
    let harbour = fails("points.csv", b"id,points,tier\nC-1,1,gold\nC-2,2,\"silver\nC-3,3,gold\n", "unterminated-quote");
    assert_eq!(harbour.report("points")["fault"]["line"], 3);
}

#[test]
fn another_header_fails_the_file() {
    fails("points.csv", b"customer,balance\nC-1,1\n", "extra-label");
}

#[test]
fn a_header_without_a_needed_column_fails_the_file() {
    fails("points.csv", b"points,tier\n1,gold\n", "missing-label");
}

#[test]
fn an_empty_file_fails() {
    fails("points.csv", b"", "source-error");
}

#[test]
fn bytes_that_are_not_utf_8_fail_the_file_with_their_offset() {
    let content = b"id,points,tier\nC-1,1,gold\nC-2,2,s\xe9lect\n";
    let harbour = fails("points.csv", content, "encoding-error");
    let offset = content.iter().position(|&byte| byte == 0xe9).unwrap();
    assert_eq!(harbour.report("points")["fault"]["offset"], offset);
}

#[test]
fn a_gzip_file_that_is_cut_short_fails() {
    let whole = gzip(snapshot(1..=9, 10).as_bytes());
    fails("points.csv.gz", &whole[..whole.len() - 6], "compression-error");
}

/// UTF-16 that does not say so: nothing is guessed, and what to write is told.
#[test]
fn utf_16_without_a_mark_fails_the_file_and_says_what_to_set() {
    let text: Vec<u8> = snapshot(1..=9, 10).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let harbour = fails("points.csv", &text, "not-text");
    let suggestion = harbour.report("points")["fault"]["suggestion"].to_string();
    assert!(suggestion.contains("Marketing Cloud") && suggestion.contains("utf-16le"), "{suggestion}");
}

#[test]
fn a_file_with_a_header_alone_is_done_and_sends_nothing() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points\n");
    harbour.once().exits(0);
    assert_eq!(harbour.state_of("points.csv"), Some(State::Done));
    assert_eq!(harbour.report("points")["records"], 0);
    assert_eq!(harbour.sandbox.requests().total(), 0);
    check_promises(&harbour);
}

#[test]
fn ragged_rows_and_stray_quotes_are_rejected_alone() {
    let harbour = harbour().start();
    harbour.deliver(
        "points.csv",
        "id,points,tier\nC-1,1,gold\nC-2,2\nC-3,3,gold,extra\nC-4,4,\"go\"ld\n,,\n\nC-5,5,silver\nC-6,6,go\0ld\nC-7,7,gold\n",
    );
    harbour.once().exits(1);
    let report = harbour.report("points");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 3, "rejected": 5 }));
    assert_eq!(
        report["problems"],
        serde_json::json!({ "blank-row": 1, "extra-cell": 1, "missing-cell": 1, "nul-byte": 1, "stray-quote": 1 })
    );
    let lines: Vec<String> = harbour.errors("points").iter().map(|line| line["_line"].clone()).collect();
    assert_eq!(lines, ["3", "4", "5", "6", "9"]);
    assert_eq!(harbour.errors("points")[2]["tier"], "\"go\"ld", "shown as it came");
    assert_eq!((harbour.points("C-1"), harbour.points("C-5"), harbour.points("C-7")), (1.0, 5.0, 7.0));
    assert_eq!((harbour.points("C-2"), harbour.points("C-3"), harbour.points("C-4"), harbour.points("C-6")), (0.0, 0.0, 0.0, 0.0));
    check_promises(&harbour);
}

#[test]
fn rows_that_break_the_schema_come_back_with_their_own_cells() {
    let harbour = harbour().start();
    harbour.deliver(
        "points.csv",
        "id;points;tier;email\nC-1;1;gold;a@example.com\nC-2;many;\"a;b\nc\";b@example.com\n007;8;=1+1;not-an-address\nC-3;-5;'x;c@example.com\n",
    );
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 1, "rejected": 3 }));
    let problems = String::from_utf8(harbour.read("reports/points.problems.csv")).unwrap();
    assert!(!problems.contains("not-an-address"), "a personal cell is masked: {problems}");
    let errors = String::from_utf8(harbour.read("reports/points.errors.csv")).unwrap();
    assert!(errors.contains(";'=1+1;"), "protected against formulas: {errors}");
    assert!(errors.contains("007;"), "leading zeros are kept: {errors}");
    check_promises(&harbour);
}

#[test]
fn line_ends_of_every_kind_and_a_mark_in_front_are_read() {
    for (end, name) in [("\r\n", "crlf"), ("\r", "cr"), ("\n", "lf")] {
        let harbour = harbour().start();
        let content = format!("\u{feff}{}", snapshot(1..=9, 20).replace('\n', end) + "C-9,x" + end);
        harbour.deliver("points.csv", &content);
        harbour.once().exits(1);
        let report = harbour.report("points");
        assert_eq!(report["file"]["facts"]["line_ends"], name);
        assert_eq!(report["rows"]["rejected"], 1);
        assert_eq!(harbour.errors("points")[0]["_line"], "11");
        let errors = harbour.read("reports/points.errors.csv");
        assert!(errors.starts_with(b"\xef\xbb\xbf") && errors.ends_with(end.as_bytes()), "as the input: {errors:?}");
        check_promises(&harbour);
    }
}

#[test]
fn a_compressed_file_is_applied_and_put_away_as_it_came() {
    let harbour = harbour().start();
    let content = gzip(snapshot(1..=9, 10).as_bytes());
    harbour.deliver("points.csv.gz", &content);
    harbour.once().exits(0);
    assert_eq!(harbour.read(".processed/points.csv.gz"), content);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 9 }));
    check_promises(&harbour);
}

#[test]
fn a_later_row_supersedes_an_earlier_one_whose_fields_it_all_sets() {
    let harbour = harbour().start();
    harbour.deliver("points.csv", "id,points,tier,email\nC-1,1,gold,\nC-2,5,gold,\nC-1,2,,\nC-2,6,silver,\n");
    harbour.once().exits(0);
    // The second row of C-1 says nothing about the tier, so the first still counts for that.
    let member = harbour.sandbox.member("C-1").unwrap();
    assert_eq!((member["points"].as_f64(), member["metaData"]["tier"].as_str()), (Some(2.0), Some("gold")));
    let rows = harbour.report("points")["rows"].clone();
    assert_eq!(rows, serde_json::json!({ "applied": 3, "superseded": 1 }));
    check_promises(&harbour);
}

#[test]
fn of_rows_of_one_pass_the_first_counts_where_the_feed_says_so() {
    let harbour = harbour().feed("duplicates", "\"first\"").unmodelled().start();
    harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,5\nC-1,2\n");
    harbour.once();
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (1.0, 5.0));
    check_promises(&harbour);
}

#[test]
fn of_rows_of_one_pass_none_counts_where_the_feed_refuses_them() {
    let harbour = harbour().feed("duplicates", "\"reject\"").start();
    harbour.deliver("points.csv", "id,points\nC-1,1\nC-2,5\nC-1,2\n");
    harbour.once().exits(1);
    assert_eq!(harbour.points("C-1"), 0.0);
    assert_eq!(harbour.report("points")["rows"], serde_json::json!({ "applied": 1, "rejected": 2 }));
    assert_eq!(harbour.report("points")["problems"], serde_json::json!({ "duplicate-key": 2 }));
    check_promises(&harbour);
}

#[test]
fn rows_of_one_pass_arrive_at_the_platform_in_their_order() {
    let harbour = harbour().points_only().feed("duplicates", "\"in-order\"").members(20).start();
    harbour.sandbox.faults().set(passferry::sandbox::Faults {
        seed: 9,
        latency: passferry::sandbox::Latency::Spread { p50_ms: 3, p95_ms: 20, p99_ms: 40 },
        rules: vec![passferry::sandbox::Rule::new(passferry::sandbox::Trouble::DropBefore).share(0.05)],
        ..Default::default()
    });
    let rows: String = (1..=10).flat_map(|round| (1..=20).map(move |pass| format!("C-{pass},{}\n", round * 100 + pass))).collect();
    harbour.deliver("points.csv", format!("id,points\n{rows}"));
    harbour.once().exits(0);
    harbour.sandbox.faults().clear();
    for pass in 1..=20 {
        let answered = harbour.sandbox.requests().of(&format!("C-{pass}"));
        let sent: Vec<f64> = answered
            .iter()
            .filter(|entry| entry.status == Some(200) && entry.method == "PUT")
            .map(|entry| serde_json::from_str::<serde_json::Value>(entry.body.as_deref().unwrap()).unwrap()["points"].as_f64().unwrap())
            .collect();
        let expected: Vec<f64> = (1..=10).map(|round| f64::from(round * 100 + pass)).collect();
        assert_eq!(sent, expected, "C-{pass}");
    }
    check_promises(&harbour);
}

#[test]
fn a_file_of_one_endless_line_does_not_fill_the_memory() {
    let harbour = harbour().start();
    let path = harbour.inbox().join("points.csv");
    {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        file.write_all(b"id,points\n").unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..150 {
            file.write_all(&piece).unwrap();
        }
        file.flush().unwrap();
    }
    let mut daemon = harbour.start(&["run"]);
    let mut peak = 0;
    wait_at_most(PATIENCE * 4, "the file is put away", || {
        peak = peak.max(daemon.peak_kib());
        // Looking is work too.
        std::thread::sleep(Duration::from_millis(200));
        !daemon.is_running() || harbour.state_of("points.csv").is_some_and(State::is_over)
    });
    peak = peak.max(daemon.peak_kib());
    assert_eq!(daemon.terminate(), 0);
    assert!(peak > 0 && peak < 128 << 10, "peak of {peak} KiB");
    let put_away = std::fs::metadata(harbour.inbox().join(".processed/points.csv")).unwrap();
    assert_eq!(put_away.len(), 10 + (150 << 20));
    let report = harbour.report("points");
    assert_eq!(
        (&report["rows"], &report["problems"]),
        (&serde_json::json!({ "rejected": 1 }), &serde_json::json!({ "record-too-long": 1 }))
    );
    assert!(harbour.read("reports/points.errors.csv").len() < 1 << 20, "the line is not repeated whole");
    assert_eq!(harbour.sandbox.requests().total(), 0);
}

#[test]
fn a_compressed_bomb_fails_the_file() {
    let mut bomb = b"id,points\n".to_vec();
    bomb.resize(40 << 20, b'\n');
    fails("points.csv.gz", &gzip(&bomb), "compression-error");
}

#[test]
fn a_number_that_the_platform_would_change_is_rejected_and_not_rounded() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "number" }] }"#;
    let harbour = harbour().schema(schema).points_only().start();
    harbour.deliver("points.csv", "id,points\nC-1,16777217\nC-2,16777216\nC-3,0.1\n");
    harbour.once().exits(1);
    let errors = harbour.errors("points");
    assert!(errors.iter().any(|line| line["id"] == "C-1" && line["_codes"] == "value-inexact"), "{errors:?}");
    assert_eq!((harbour.points("C-1"), harbour.points("C-2")), (0.0, 16_777_216.0));
    check_promises(&harbour);
}
