//! Numbers, dates, zones, empty cells and identifiers: what a cell may mean, and that nothing else reaches a pass.

use serde_json::{Value, json};

use crate::rig::ferry::Rig;
use crate::rig::harbour::{Harbour, harbour};
use crate::rig::promises::check_promises;

/// What `validate` says of each cell of a column with these properties: the codes of its problems, or `ok`.
fn judged(properties: &str, cells: &[&str]) -> Vec<String> {
    let rig = Rig::start();
    let schema = format!(r#"{{ "fields": [{{ "name": "x", {properties} }}, {{ "name": "n", "type": "integer" }}] }}"#);
    rig.file("s.json", schema);
    rig.file("d.json", r#"{ "delimiter": ";" }"#);
    let rows: String = cells.iter().enumerate().map(|(index, cell)| format!("{cell};{index}\n")).collect();
    rig.file("x.csv", format!("x;n\n{rows}"));
    let ran = rig.run(&["validate", "x.csv", "--schema", "s.json", "--dialect", "d.json", "--json"]);
    assert!(ran.exit == 0 || ran.exit == 65, "{}", ran.err);
    let mut said = vec![String::new(); cells.len()];
    for problem in ran.json_lines().iter().filter(|line| line["type"] == "problem") {
        let words = &mut said[problem["record"].as_u64().unwrap() as usize - 1];
        let code = problem["code"].as_str().unwrap();
        let word = problem["constraint"].as_str().unwrap_or(code);
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    said.iter().map(|words| if words.is_empty() { "ok".to_owned() } else { words.clone() }).collect()
}

#[track_caller]
fn table(properties: &str, cases: &[(&str, &str)]) {
    let (cells, expected): (Vec<&str>, Vec<&str>) = cases.iter().copied().unzip();
    let said = judged(properties, &cells);
    for ((cell, expected), said) in cells.iter().zip(expected).zip(said) {
        assert_eq!(said, expected, "{properties} reads {cell:?}");
    }
}

/// E15.
#[test]
fn numbers_are_read_exactly_or_refused() {
    let odd = [("NaN", "type-error"), ("nan", "type-error"), ("inf", "type-error"), ("-INF", "type-error"), ("Infinity", "type-error")];
    let foreign =
        [("١٢٣", "type-error"), ("１２", "type-error"), ("−5", "type-error"), ("1 234", "type-error"), ("1\u{a0}234", "type-error")];
    table(r#""type": "number""#, &odd);
    table(r#""type": "number""#, &foreign);
    table(r#""type": "integer""#, &foreign);
    table(
        r#""type": "number""#,
        &[
            ("1,234", "type-error"),
            ("1.234.567", "type-error"),
            ("0x1F", "type-error"),
            ("1e9999999999", "type-error"),
            ("1e1001", "type-error"),
            ("1e400", "ok"),
            ("9223372036854775808", "ok"),
            ("-0", "ok"),
            ("5.", "ok"),
        ],
    );
    let points = r#""type": "integer", "constraints": { "minimum": 0, "maximum": 16777216 }"#;
    table(
        points,
        &[
            ("16777216", "ok"),
            ("16777217", "maximum"),
            ("9223372036854775807", "maximum"),
            ("9223372036854775808", "maximum"),
            ("99999999999999999999999999999999999999999", "maximum"),
            ("-1", "minimum"),
            ("-0", "ok"),
            ("1e2", "type-error"),
            ("1.0", "type-error"),
        ],
    );
    table(r#""type": "number", "groupChar": ",""#, &[("1,234", "ok"), ("1,23", "bad-grouping"), ("12,34", "bad-grouping")]);
}

/// E15.
#[test]
fn a_number_that_a_pass_cannot_hold_is_rejected_before_it_is_sent() {
    let schema = r#"{ "fieldsMatch": "superset", "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "number" }] }"#;
    let harbour = harbour().schema(schema).points_only().start();
    let cells = ["1e400", "9223372036854775808", "1e-60", "16777217", "0.1", "-0", "16777216", "1.10", "0.30000000000000004"];
    let rows: String = cells.iter().enumerate().map(|(index, cell)| format!("C-{},{cell}\n", index + 1)).collect();
    harbour.deliver("points.csv", format!("id,points\n{rows}"));
    harbour.once().exits(1);
    let refused: Vec<String> = harbour.errors("points").iter().map(|line| line["points"].clone()).collect();
    // 9223372036854775808 is a power of two, which a float holds; but others would read it back as 9223372000000000000.
    assert_eq!(refused, ["1e400", "9223372036854775808", "1e-60", "16777217", "0.30000000000000004"]);
    let held: Vec<f64> = [5, 6, 7, 8].iter().map(|n| harbour.points(&format!("C-{n}"))).collect();
    assert_eq!(held, [0.1, 0.0, 16_777_216.0, 1.1]);
    let sent = harbour.writes();
    assert!(sent.iter().all(|entry| !entry.body.as_deref().unwrap_or_default().contains("-0")), "no negative zero is sent: {sent:?}");
    check_promises(&harbour);
}

/// E16.
#[test]
fn dates_are_read_in_the_declared_form_alone() {
    let iso = r#""type": "date""#;
    table(
        iso,
        &[
            ("2024-02-29", "ok"),
            ("2023-02-29", "type-error"),
            ("2026-13-01", "type-error"),
            ("2026-00-10", "type-error"),
            ("24-1-5", "type-error"),
            ("2026-1-5", "type-error"),
            ("02026-01-05", "type-error"),
            ("+2026-01-05", "type-error"),
            ("2026/01/05", "type-error"),
            ("2026-01-05T00:00:00", "type-error"),
            ("２０２６-01-05", "type-error"),
        ],
    );
    let year = r#""type": "date", "format": "%Y-%m-%d""#;
    table(year, &[("24-1-5", "type-error"), ("024-1-5", "type-error"), ("2024-1-5", "ok"), ("12024-01-05", "type-error")]);
    let short = r#""type": "date", "format": "%d/%m/%y", "constraints": { "minimum": "01/01/00", "maximum": "31/12/68" }"#;
    table(short, &[("05/01/24", "ok"), ("05/01/70", "minimum"), ("05/01/2024", "type-error"), ("29/02/23", "type-error")]);
    let ranged = r#""type": "date", "constraints": { "minimum": "2020-01-01", "maximum": "2040-12-31" }"#;
    table(ranged, &[("0024-01-05", "minimum"), ("2019-12-31", "minimum"), ("2041-01-01", "maximum"), ("2020-01-01", "ok")]);
    table(r#""type": "year""#, &[("24", "type-error"), ("2024", "ok")]);
}

/// E17.
#[test]
fn a_leap_second_is_refused_wherever_it_is_written() {
    table(
        r#""type": "datetime""#,
        &[
            ("2016-12-31T23:59:60Z", "type-error"),
            ("2016-12-31T23:59:60", "type-error"),
            ("2016-12-31T23:59:59Z", "ok"),
            ("2016-12-31T24:00:00Z", "type-error"),
            ("2016-12-31T23:59:59+25:00", "type-error"),
        ],
    );
    table(r#""type": "time""#, &[("23:59:60", "type-error"), ("23:59:59", "ok")]);
    table(r#""type": "datetime", "format": "%Y-%m-%d %H:%M:%S""#, &[("2016-12-31 23:59:60", "type-error"), ("2016-12-31 23:59:59", "ok")]);
}

/// A feed that sets the date on which a pass ends, from a column of this type.
fn expiring(kind: &str, zone: &str) -> Harbour {
    let schema =
        format!(r#"{{ "fieldsMatch": "superset", "fields": [{{ "name": "id", "type": "string" }}, {{ "name": "until", {kind} }}] }}"#);
    harbour()
        .schema(&schema)
        .feed("fields.points", "")
        .feed("fields.\"metaData.tier\"", "")
        .feed("fields.\"person.emailAddress\"", "")
        .feed("fields.expiryDate", "\"until\"")
        .feed("timezone", &format!("{zone:?}"))
        .start()
}

/// Delivers the cells, one a pass, and gives what each pass then holds: an instant, or the codes of its row.
#[track_caller]
fn ends(harbour: &Harbour, cells: &[&str]) -> Vec<String> {
    let rows: String = cells.iter().enumerate().map(|(index, cell)| format!("C-{},{cell}\n", index + 1)).collect();
    harbour.deliver("until.csv", format!("id,until\n{rows}"));
    harbour.once();
    let errors = if harbour.tree().contains(&"reports/until.errors.csv".to_owned()) { harbour.errors("until") } else { Vec::new() };
    let held = |pass: &str| harbour.sandbox.member(pass).unwrap()["expiryDate"].as_str().unwrap_or_default().to_owned();
    let said = |pass: &str| errors.iter().find(|line| line["id"] == pass).map(|line| line["_codes"].clone());
    (1..=cells.len()).map(|n| format!("C-{n}")).map(|pass| said(&pass).unwrap_or_else(|| held(&pass))).collect()
}

/// E17.
#[test]
fn a_pass_that_ends_on_a_date_ends_with_that_day_in_its_zone_on_both_days_of_daylight_saving() {
    let harbour = expiring(r#""type": "date""#, "Europe/Paris");
    let said = ends(&harbour, &["2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25", "2026-12-31"]);
    assert_eq!(
        said,
        ["2026-03-28T22:59:59Z", "2026-03-29T21:59:59Z", "2026-10-24T21:59:59Z", "2026-10-25T22:59:59Z", "2026-12-31T22:59:59Z"]
    );
    check_promises(&harbour);
}

/// E17.
#[test]
fn a_local_time_that_does_not_exist_or_exists_twice_is_a_row_error() {
    let harbour = expiring(r#""type": "datetime""#, "Europe/Paris");
    let said = ends(
        &harbour,
        &[
            "2026-03-29T02:30:00",
            "2026-10-25T02:30:00",
            "2026-03-29T03:30:00",
            "2026-10-25T03:30:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T02:30:00+02:00",
        ],
    );
    assert_eq!(
        said,
        ["mapping-error", "mapping-error", "2026-03-29T01:30:00Z", "2026-10-25T02:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z"]
    );
    check_promises(&harbour);
}

/// E16, E17.
#[test]
fn a_date_in_a_text_column_is_read_as_strictly_as_in_a_date_column() {
    let harbour = expiring(r#""type": "string""#, "Europe/Paris");
    let said = ends(
        &harbour,
        &[
            "2026-12-31",
            "2026-12-31T10:00:00Z",
            "24-1-5",
            "2026-1-5",
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60",
            "2026-12-31 10:00:00",
            "+12026-01-05",
            "0001-01-01",
        ],
    );
    let bad = "mapping-error";
    assert_eq!(said, ["2026-12-31T22:59:59Z", "2026-12-31T10:00:00Z", bad, bad, bad, bad, bad, bad, bad]);
    check_promises(&harbour);
}

/// E16.
#[test]
fn the_empty_dates_of_other_programs_end_no_pass() {
    // What .NET, SQL and spreadsheets write for "none".
    let harbour = expiring(r#""type": "date""#, "Europe/Paris");
    let said = ends(&harbour, &["0001-01-01", "0024-01-05", "1899-12-30", "1900-01-01", "2026-12-31"]);
    assert_eq!(said, ["mapping-error", "mapping-error", "mapping-error", "1900-01-01T23:50:38Z", "2026-12-31T22:59:59Z"]);
    check_promises(&harbour);
}

fn tier(harbour: &Harbour, pass: &str) -> Value {
    harbour.sandbox.member(pass).unwrap()["metaData"]["tier"].clone()
}

fn with_tier(properties: &str) -> Harbour {
    let schema = format!(
        r#"{{ "fieldsMatch": "superset", "fields": [{{ "name": "id", "type": "string" }}, {{ "name": "points", "type": "integer" }},
             {{ "name": "tier", "type": "string", {properties} }}] }}"#
    );
    harbour().schema(&schema).feed("fields.\"person.emailAddress\"", "").start()
}

/// E18.
#[test]
fn an_empty_cell_leaves_the_field_and_an_absent_column_clears_nothing() {
    for properties in [r#""description": "plain""#, r#""x-passferry": { "empty": "clear" }"#] {
        let harbour = with_tier(properties);
        harbour.deliver("1.csv", "id,points,tier\nC-1,1,gold\nC-2,2,gold\n");
        harbour.once().exits(0);
        harbour.deliver("2.csv", "id,points\nC-1,10\nC-2,20\n");
        harbour.once().exits(0);
        assert_eq!((tier(&harbour, "C-1"), tier(&harbour, "C-2")), (json!("gold"), json!("gold")), "the column is absent");
        harbour.deliver("3.csv", "id,points,tier\nC-1,100,\nC-2,200,silver\n");
        harbour.once().exits(0);
        let expected = if properties.contains("clear") { Value::Null } else { json!("gold") };
        assert_eq!((tier(&harbour, "C-1"), tier(&harbour, "C-2")), (expected, json!("silver")), "{properties}");
        assert_eq!(harbour.points("C-1"), 100.0);
        check_promises(&harbour);
    }
}

/// E18.
#[test]
fn only_the_declared_marker_clears() {
    let harbour = with_tier(r#""missingValues": ["-"], "x-passferry": { "empty": "clear" }"#);
    harbour.deliver("1.csv", "id,points,tier\nC-1,1,gold\nC-2,2,gold\nC-3,3,gold\nC-4,4,gold\n");
    harbour.once().exits(0);
    harbour.deliver("2.csv", "id,points,tier\nC-1,10,-\nC-2,20,\nC-3,30,NULL\nC-4,40,\"\"\n");
    harbour.once().exits(0);
    assert_eq!(tier(&harbour, "C-1"), Value::Null, "the marker");
    assert_eq!(tier(&harbour, "C-2"), json!("gold"), "an empty cell leaves it alone");
    assert_eq!(tier(&harbour, "C-3"), json!("NULL"), "not declared, so a text");
    assert_eq!(tier(&harbour, "C-4"), json!("gold"), "a quoted empty cell is an empty cell");
    check_promises(&harbour);
}

/// E18.
#[test]
fn null_words_are_empty_where_they_are_declared() {
    let harbour = with_tier(r#""missingValues": ["", "NULL", "n/a"]"#);
    harbour.deliver("1.csv", "id,points,tier\nC-1,1,gold\nC-2,2,gold\n");
    harbour.once().exits(0);
    harbour.deliver("2.csv", "id,points,tier\nC-1,10,NULL\nC-2,20,n/a\n");
    harbour.once().exits(0);
    assert_eq!((tier(&harbour, "C-1"), tier(&harbour, "C-2")), (json!("gold"), json!("gold")));
    check_promises(&harbour);
}

/// E19.
#[test]
fn identifiers_are_texts_and_never_changed() {
    let schema =
        r#"{ "fieldsMatch": "superset", "fields": [{ "name": "id", "type": "string" }, { "name": "points", "type": "integer" }] }"#;
    let harbour = harbour().schema(schema).points_only().start();
    // One composed and one decomposed é, a Cyrillic а, upper and lower case, zeros, spaces.
    let ids =
        ["0042", "42", "00042", "caf\u{e9}", "cafe\u{301}", "\u{430}bc", "abc", "ABC", "abc ", " abc", "1E5", "12e3", "9007199254740993"];
    harbour.sandbox.issue(ids.iter().map(|id| passferry::sandbox::Issue { external_id: (*id).to_owned(), ..Default::default() })).unwrap();
    let rows: String = ids.iter().enumerate().map(|(index, id)| format!("{id},{}\n", index + 1)).collect();
    harbour.deliver("points.csv", format!("id,points\n{rows}"));
    harbour.once().exits(0);
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(harbour.points(id), index as f64 + 1.0, "{id:?}");
    }
    check_promises(&harbour);
}

/// E19.
#[test]
fn an_identifier_in_exponent_form_is_refused_as_spreadsheet_damage() {
    let harbour = harbour().points_only().start();
    harbour.deliver("points.csv", "id,points\n1.00E+12,1\n7.21045E+12,2\n\"7,21045E+12\",3\nC-4,4\n");
    harbour.once().exits(1);
    assert_eq!(harbour.report("points")["problems"], json!({ "spreadsheet-damage": 3 }));
    assert_eq!(harbour.points("C-4"), 4.0);
    assert!(harbour.writes_by_pass().keys().all(|pass| pass == "C-4"), "{:?}", harbour.writes_by_pass());
    check_promises(&harbour);
}
