//! Workbooks, composed from the XML that spreadsheets write.

use super::{plan, python, tier};
use crate::rig::promises::check_promises;

/// A workbook of two sheets. `A1` and on of the second: an id as a number with a format of zeros, a date, shared and inline strings.
const BOOK: &str = r#"
import sys, io, zipfile
rows = sys.stdin.read()
main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
rel = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
parts = {
 '[Content_Types].xml': '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
 '_rels/.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
 'xl/workbook.xml': f'<workbook {main} {rel}><sheets><sheet name="Cover" sheetId="1" r:id="rId1"/><sheet name="Points" sheetId="2" r:id="rId2"/></sheets></workbook>',
 'xl/_rels/workbook.xml.rels': '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet2.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/><Relationship Id="rId4" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
 'xl/styles.xml': f'<styleSheet {main}><numFmts count="1"><numFmt numFmtId="164" formatCode="000000"/></numFmts><fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1"><border/></borders><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="14"/></cellXfs></styleSheet>',
 'xl/sharedStrings.xml': f'<sst {main} count="4" uniqueCount="4"><si><t>id</t></si><si><t>points</t></si><si><t>tier</t></si><si><t>gold, "x"</t></si></sst>',
 'xl/worksheets/sheet1.xml': f'<worksheet {main}><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>about</t></is></c></row></sheetData></worksheet>',
 'xl/worksheets/sheet2.xml': f'<worksheet {main}><sheetData>{rows}</sheetData><mergeCells count="1"><mergeCell ref="C2:C3"/></mergeCells></worksheet>',
}
out = io.BytesIO()
z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED)
for name, text in parts.items():
    z.writestr(name, '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + text)
z.close()
sys.stdout.buffer.write(out.getvalue())
"#;

/// Replaces text in every part of a workbook.
const EDIT: &str = r"
import sys, io, zipfile
book = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
out = io.BytesIO()
z = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED)
for name in book.namelist():
    z.writestr(name, book.read(name).replace(b'>#N/A<', b'>12<'))
z.close()
sys.stdout.buffer.write(out.getvalue())
";

const ROWS: &str = r#"<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>
<row r="2"><c r="A2" s="1"><v>123</v></c><c r="B2"><v>10</v></c><c r="C2" t="s"><v>3</v></c></row>
<row r="4"><c r="A4" s="1"><v>124</v></c><c r="B4" t="e"><v>#N/A</v></c><c r="C4" s="2"><v>46346</v></c></row>
<row r="5"><c r="A5" s="1"><v>125</v></c><c r="B5"><v>11</v></c></row>"#;

#[test]
fn a_workbook_is_read_reported_as_one_and_corrected() {
    let harbour = plan().feed("dialect", r#"{ sheet = "Points" }"#).start();
    let ids = ["000123", "000124", "000125"];
    harbour.sandbox.issue(ids.into_iter().map(|id| passferry::sandbox::Issue { external_id: id.into(), ..Default::default() })).unwrap();
    let book = python(BOOK, ROWS.as_bytes());
    harbour.deliver("points.xlsx", &book);
    harbour.once().exits(1);
    assert_eq!((harbour.points("000123"), tier(&harbour, "000123").as_str()), (10.0, "gold, \"x\""));
    assert_eq!((harbour.points("000125"), tier(&harbour, "000125").as_str()), (11.0, ""));
    let report = harbour.report("points");
    assert_eq!(report["problems"], serde_json::json!({ "formula-error": 1 }), "{report:#}");
    assert_eq!(report["file"]["dialect"]["containers"].to_string(), r#"["xlsx (Points)"]"#);
    assert!(report["warnings"].to_string().contains("merged cells hold their value in the first one alone: C2:C3"), "{report:#}");
    let error = &harbour.errors("points")[0];
    assert_eq!((&*error["id"], &*error["points"], &*error["tier"], &*error["_line"]), ("000124", "#N/A", "2026-11-20", "4"));
    let errors = harbour.read("reports/points.errors.xlsx");
    let cells = python(
        "import sys, io, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).read('xl/worksheets/sheet1.xml'))",
        &errors,
    );
    let cells = String::from_utf8(cells).unwrap();
    assert!(cells.contains("000124") && !cells.contains("<v>000124"), "each cell is text: {cells}");
    harbour.deliver("points.errors.xlsx", python(EDIT, &errors));
    harbour.once().exits(0);
    assert_eq!((harbour.points("000124"), tier(&harbour, "000124").as_str()), (12.0, "2026-11-20"));
    check_promises(&harbour);
}

/// Rows are a sheet's, whatever lines their cells have; and what shows an error is no comment.
#[test]
fn rows_before_the_header_are_counted_as_the_sheet_does_and_an_error_is_no_comment() {
    const ROWS: &str = r#"<row r="2"><c r="A2" t="inlineStr"><is><t>Export&#10;of today</t></is></c></row>
<row r="3"><c r="A3" t="s"><v>0</v></c><c r="B3" t="s"><v>1</v></c></row>
<row r="4"><c r="A4" t="e"><v>#N/A</v></c><c r="B4"><v>5</v></c></row>
<row r="5"><c r="A5" t="inlineStr"><is><t># a remark</t></is></c></row>
<row r="6"><c r="A6" t="inlineStr"><is><t>C-1</t></is></c><c r="B6"><v>10</v></c></row>"#;
    let harbour = plan().feed("dialect", "{ sheet = \"Points\", preamble = 2, comment = \"#\" }").start();
    harbour.deliver("points.xlsx", python(BOOK, ROWS.as_bytes()));
    harbour.once().exits(1);
    let report = harbour.report("points");
    assert_eq!(report["rows"], serde_json::json!({ "applied": 1, "rejected": 1 }), "{report:#}");
    assert_eq!((&report["problems"], harbour.points("C-1")), (&serde_json::json!({ "formula-error": 1 }), 10.0));
    check_promises(&harbour);
}

/// A spreadsheet eats the zeros of identifiers in a CSV file: the errors of one may come as a workbook too, and go back as one.
#[test]
fn errors_of_a_csv_file_come_as_a_workbook_where_that_is_asked_for() {
    let harbour = plan().feed("reports", "{ xlsx = true }").feed("dialect", "{ comment = \"#\" }").start();
    let ids = ["000123", "#7"];
    harbour.sandbox.issue(ids.into_iter().map(|id| passferry::sandbox::Issue { external_id: id.into(), ..Default::default() })).unwrap();
    harbour.deliver("points.csv", "id;points;tier\r\n000123;#N/A;\"gold; or so\"\r\n\"#7\";#N/A;\\N\r\n");
    harbour.once().exits(1);
    let names: Vec<String> = harbour.tree().into_iter().filter(|path| path.starts_with("reports/")).collect();
    let endings = ["errors.csv", "errors.xlsx", "problems.csv", "report.html", "report.json"];
    assert_eq!(names, endings.map(|ending| format!("reports/points.{ending}")));
    let book = harbour.read("reports/points.errors.xlsx");
    harbour.deliver("points.errors.xlsx", &book);
    harbour.once().exits(0);
    assert_eq!(harbour.runs().len(), 1, "untouched, it is no correction");
    harbour.deliver("points-fixed.errors.xlsx", python(EDIT, &book));
    harbour.once().exits(0);
    assert_eq!(ids.map(|id| harbour.points(id)), [12.0, 12.0]);
    assert_eq!((tier(&harbour, "000123").as_str(), tier(&harbour, "#7").as_str()), ("gold; or so", ""));
    harbour.deliver("points2.csv", "id;points;tier\r\n000123;x;\"NULL\"\r\n");
    harbour.once().exits(1);
    assert!(harbour.report("points2")["warnings"].to_string().contains("there is no errors.xlsx"), "{:#}", harbour.report("points2"));
    assert!(!harbour.tree().contains(&"reports/points2.errors.xlsx".to_owned()));
    check_promises(&harbour);
}

#[test]
fn a_sheet_that_is_not_there_and_a_workbook_too_large_fail_the_file() {
    for (option, value, code, words) in [
        ("dialect", r#"{ sheet = "Sheet9" }"#, "source-error", "`Cover`, `Points`"),
        ("limits", r#"{ sheet = "1KiB" }"#, "file-too-large", "1024 bytes"),
    ] {
        let harbour = plan().feed(option, value).start();
        harbour.deliver("points.xlsx", python(BOOK, ROWS.as_bytes()));
        harbour.once().exits(65);
        let fault = harbour.report("points")["fault"].clone();
        assert_eq!(fault["code"], code, "{fault}");
        assert!(fault["message"].as_str().unwrap().contains(words), "{fault}");
        check_promises(&harbour);
    }
}

/// A workbook as openpyxl writes it: what is shown against what is held.
const LOOKS: &str = r"
import sys, io, datetime
from openpyxl import Workbook
book = Workbook()
sheet = book.active
sheet.append(['id', 'points', 'share', 'tier'])
rows = [
    (1, 1250, '#,##0', 0.5, '0%', datetime.date(2026, 11, 20), 'DD.MM.YYYY'),
    (2, 7, '0.00', 0.125, '0.0%', datetime.datetime(2026, 11, 20, 18, 30), 'mmm-yy'),
    (3, 1250000, '#,##0,', 0.25, 'General', 'gold', 'General'),
    (4, 5, ';;;', 0.1 + 0.2, '0.0', 'gold', '@'),
    (5, 6, 'General', 12.345, '0.0', 'gold', '@'),
]
for number, points, f1, share, f2, tier, f3 in rows:
    sheet.append([number, points, share, tier])
    for column, form in ((2, f1), (3, f2), (4, f3)):
        sheet.cell(number + 1, column).number_format = form
    sheet.cell(number + 1, 1).value = 'C-%d' % number
    sheet.cell(number + 1, 1).number_format = '@'
out = io.BytesIO()
book.save(out)
sys.stdout.buffer.write(out.getvalue())
";

/// Debian's package is for Debian's own Python, whatever else stands before it on the path.
fn openpyxl(script: &str) -> Vec<u8> {
    super::piped("/usr/bin/python3", &["-c", script], b"")
}

const SHARES: &str = r#"{
  "fieldsMatch": "superset",
  "fields": [
    { "name": "id", "type": "string", "constraints": { "required": true } },
    { "name": "points", "type": "integer", "constraints": { "minimum": 0 } },
    { "name": "share", "type": "number", "bareNumber": false },
    { "name": "tier", "type": "string", "constraints": { "maxLength": 30 } }
  ]
}
"#;

/// The value is read, not the look; where the two say different things a person is told.
#[test]
fn a_cell_is_read_by_its_value_and_one_that_shows_something_else_is_a_problem_of_its_row() {
    let plan = plan().unmodelled().schema(SHARES).feed("fields.\"metaData.share\"", "\"share\"");
    let harbour = plan.start();
    harbour.deliver("points.xlsx", openpyxl(LOOKS));
    harbour.once().exits(1);
    let share = |id: &str| harbour.sandbox.member(id).unwrap()["metaData"]["share"].as_str().unwrap_or_default().to_owned();
    assert_eq!((harbour.points("C-1"), share("C-1"), tier(&harbour, "C-1")), (1250.0, "50".into(), "2026-11-20".into()));
    assert_eq!((harbour.points("C-2"), share("C-2"), tier(&harbour, "C-2")), (7.0, "12.5".into(), "2026-11-20T18:30:00".into()));
    assert_eq!((harbour.points("C-5"), share("C-5")), (6.0, "12.345".into()));
    let report = harbour.report("points");
    assert_eq!(report["problems_by_column"], serde_json::json!({ "points": { "shown-otherwise": 2 } }), "{report:#}");
    let lines: Vec<String> = harbour.errors("points").iter().map(|line| format!("{} {}", line["_line"], line["points"])).collect();
    assert_eq!(lines, ["4 #LOOK! 1250000", "5 #LOOK! 5"]);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("show fewer digits than they hold: all digits are read (first C6, 1 in all)"), "{warnings}");
    check_promises(&harbour);
}

/// A cell in the last place that a sheet has costs a row, not the memory; one beyond fails the file.
#[test]
fn a_cell_far_away_takes_no_memory() {
    let far = |cell: &str, row: &str| {
        let rows = ROWS.lines().next().unwrap().to_owned();
        let rows = format!("{rows}<row r=\"2\"><c r=\"A2\" t=\"inlineStr\"><is><t>C-1</t></is></c><c r=\"B2\"><v>10</v></c></row>");
        format!("{rows}<row r=\"{row}\"><c r=\"{cell}\"><v>1</v></c></row>")
    };
    let harbour = plan().unmodelled().feed("dialect", r#"{ sheet = "Points" }"#).start();
    harbour.deliver("points.xlsx", python(BOOK, far("XFD1048576", "1048576").as_bytes()));
    let mut process = harbour.start(&["once"]);
    let mut peak = 0;
    while process.is_running() {
        peak = peak.max(process.peak_kib());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(process.wait(), 1, "{}", harbour.said());
    assert!((1..400 << 10).contains(&peak), "{peak} KiB");
    assert_eq!(harbour.points("C-1"), 10.0);
    let report = harbour.report("points");
    assert_eq!((&report["rows"]["rejected"], &report["file"]["facts"]["lines"]), (&1.into(), &1_048_576.into()), "{report:#}");
    assert_eq!(harbour.errors("points")[0]["_line"], "1048576");
    check_promises(&harbour);
    for (cell, row) in [("A4294967295", "4294967295"), ("A1048577", "1048577"), ("XFE2", "3")] {
        let harbour = plan().unmodelled().feed("dialect", r#"{ sheet = "Points" }"#).start();
        harbour.deliver("points.xlsx", python(BOOK, far(cell, row).as_bytes()));
        harbour.once().exits(65);
        let fault = harbour.report("points")["fault"].clone();
        assert!(["file-too-large", "compression-error"].contains(&fault["code"].as_str().unwrap()), "{cell}: {fault}");
        check_promises(&harbour);
    }
}
