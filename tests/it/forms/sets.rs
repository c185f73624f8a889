//! Character sets.

use super::{correct, plan, tier};
use crate::rig::promises::check_promises;

/// contracts/exports.md section 14: what Excel saves in many countries.
#[test]
fn an_excel_file_is_read_by_its_sep_line_and_reported_in_its_own_set() {
    let harbour = plan()
        .schema(&super::SCHEMA.replace(r#""type": "integer","#, r#""type": "integer", "groupChar": ".","#))
        .feed("dialect", r#"{ encoding = "windows-1252" }"#)
        .start();
    harbour.deliver("points.csv", b"sep=;\r\nid;points;tier\r\nC-1;1.250;Zo\xEB \x80\r\nC-2;1.2;J\xF6rg\r\n");
    harbour.once().exits(1);
    assert_eq!((harbour.points("C-1"), tier(&harbour, "C-1").as_str()), (1250.0, "Zoë €"));
    let report = harbour.report("points");
    let dialect = &report["file"]["dialect"];
    assert_eq!((&dialect["encoding"], &dialect["encoding_evidence"]), (&"windows-1252".into(), &"declared".into()));
    assert_eq!(dialect["evidence"], "named by the file's line sep=");
    let errors = harbour.read("reports/points.errors.csv");
    assert!(
        errors.starts_with(b"id;points;tier;_run;") && memchr::memmem::find(&errors, b"\r\nC-2;1.2;J\xF6rg;").is_some(),
        "{}",
        errors.escape_ascii()
    );
    correct(&harbour, "points", b";1.2;J\xF6rg;", b";12;J\xFCrg;");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-2").as_str()), (12.0, "Jürg"));
    check_promises(&harbour);
}

/// "Unicode text" of spreadsheets: known by its mark, tabs found by themselves, and the report is the same.
#[test]
fn utf_16_with_a_mark_goes_both_ways() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let harbour = plan().start();
    let content = wide("\u{feff}id\tpoints\ttier\r\nC-1\t10\tZoë 😀\r\nC-2\tx\tポイント\r\n");
    harbour.deliver("points.csv", &content);
    harbour.once().exits(1);
    assert_eq!(tier(&harbour, "C-1"), "Zoë 😀");
    let errors = harbour.read("reports/points.errors.csv");
    assert!(errors.starts_with(&wide("\u{feff}id\tpoints\ttier\t_run")), "{}", errors.escape_ascii());
    correct(&harbour, "points", &wide("\tx\t"), &wide("\t11\t"));
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-2").as_str()), (11.0, "ポイント"));
    check_promises(&harbour);
}

#[test]
fn other_sets_are_read_strictly() {
    for (name, written, read) in [
        ("shift_jis", &b"\x83\x7C\x83\x43"[..], "ポイ"),
        ("iso-8859-15", b"5 \xA4", "5 €"),
        ("iso-8859-1", b"5 \xA4", "5 ¤"),
        ("utf-16be", b"", "é"),
    ] {
        let harbour = plan().feed("dialect", &format!("{{ encoding = \"{name}\" }}")).start();
        let content = match name {
            "utf-16be" => "id,points,tier\nC-1,1,é\n".encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => [b"id,points,tier\nC-1,1,", written, b"\n"].concat(),
        };
        harbour.deliver("points.csv", content);
        harbour.once().exits(0);
        assert_eq!(tier(&harbour, "C-1"), read, "{name}");
        check_promises(&harbour);
    }
}

/// E5.
#[test]
fn a_byte_outside_the_declared_set_fails_the_file_with_its_place_and_the_habit_behind_it() {
    for (set, bytes, column, offset, words) in [
        ("auto", &b"id,points,tier\nC-1,1,gold\nC-2,2,s\xe9lect\n"[..], 8, 33, "Excel"),
        ("iso-8859-1", b"id,points,tier\nC-1,1,gold\nC-2,2,5 \x80\n", 9, 34, "windows-1252"),
        ("windows-1252", b"id,points,tier\nC-1,1,gold\nC-2,2,\xe9\x81\n", 8, 33, "another character set"),
    ] {
        let harbour = plan().feed("dialect", &format!("{{ encoding = \"{set}\" }}")).start();
        harbour.deliver("points.csv", bytes);
        harbour.once().exits(65);
        let fault = harbour.report("points")["fault"].clone();
        assert_eq!(
            (&fault["code"], &fault["line"], &fault["column"], &fault["offset"]),
            (&"encoding-error".into(), &3.into(), &column.into(), &offset.into()),
            "{fault}"
        );
        assert!(fault["suggestion"].as_str().unwrap().contains(words), "{fault}");
        assert_eq!(harbour.sandbox.requests().total(), 0);
        check_promises(&harbour);
    }
}

/// The names of a schema need not be letters of the file's set: then the report is UTF-8, says so, and is read again.
#[test]
fn a_report_that_the_set_cannot_hold_is_utf_8_and_told() {
    let harbour = plan()
        .schema(&super::SCHEMA.replace("\"tier\"", "\"ランク\""))
        .feed("fields.\"metaData.tier\"", "\"ランク\"")
        .feed("dialect", r#"{ encoding = "windows-1252", header = false, delimiter = "," }"#)
        .start();
    harbour.deliver("points.csv", b"C-1,10,Zo\xEB\nC-2,x,J\xF6rg\n");
    harbour.once().exits(1);
    let errors = harbour.read("reports/points.errors.csv");
    assert!(errors.starts_with("\u{feff}id,points,ランク,_run".as_bytes()), "{}", errors.escape_ascii());
    assert!(harbour.report("points")["warnings"].to_string().contains("the error report is UTF-8: windows-1252 has no `ラ`"));
    correct(&harbour, "points", b",x,", b",11,");
    harbour.once().exits(0);
    assert_eq!((harbour.points("C-2"), tier(&harbour, "C-2").as_str()), (11.0, "Jörg"));
    check_promises(&harbour);
}
