//! Files that are as they should be, in all the forms that takes.

use super::*;

#[test]
fn header_and_records_come_apart() {
    let read = read("id,name\n1,Ann\n2,\"Bo, \"\"B\"\"\"\n");
    assert_eq!(read.header.as_ref().unwrap(), &Header { labels: vec!["id".into(), "name".into()], line: 1, raw: "id,name".into() });
    assert_eq!(read.cells(), [["1", "Ann"], ["2", "Bo, \"B\""]]);
    assert_eq!((read.rows[1].number, read.rows[1].line, read.rows[1].offset), (2, 3, 14));
    let facts = read.facts();
    assert_eq!((facts.records, facts.lines, facts.bytes), (2, 3, 28));
    assert!(facts.last_line_ended && !facts.bom && !facts.compressed);
}

#[test]
fn byte_order_mark_is_removed_once_and_offsets_still_count_it() {
    let read = read("\u{feff}id,n\n\u{feff}1,x\n");
    assert_eq!(read.header.as_ref().unwrap().labels, ["id", "n"]);
    assert_eq!(read.cells(), [["\u{feff}1", "x"]]);
    assert_eq!(read.rows[0].offset, 8);
    assert!(read.facts().bom);
}

#[test]
fn quoted_header_after_a_byte_order_mark() {
    assert_eq!(read("\u{feff}\"id\",\"n\"\n1,2\n").header.unwrap().labels, ["id", "n"]);
}

#[test]
fn any_line_end_ends_a_line() {
    for (text, ends) in [
        ("a,b\n1,2\n3,4\n", LineEnds { lf: 3, crlf: 0, cr: 0 }),
        ("a,b\r\n1,2\r\n3,4\r\n", LineEnds { lf: 0, crlf: 3, cr: 0 }),
        ("a,b\r1,2\r3,4\r", LineEnds { lf: 0, crlf: 0, cr: 3 }),
        ("a,b\r\n1,2\n3,4\r", LineEnds { lf: 1, crlf: 1, cr: 1 }),
    ] {
        let read = read(text);
        assert_eq!(read.cells(), [["1", "2"], ["3", "4"]], "{text:?}");
        assert_eq!(read.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3], "{text:?}");
        assert_eq!(read.facts().line_ends, ends, "{text:?}");
    }
}

#[test]
fn line_ends_inside_quotes_count_as_lines_but_not_as_records() {
    let read = read("id,t\n1,\"a\nb\r\nc\rd\"\nx,y\n");
    assert_eq!(read.outline(), "1 line 2\n2 line 6\n");
    assert_eq!(read.rows[0].cells[1], "a\nb\r\nc\rd");
    assert_eq!(read.facts().line_ends, LineEnds { lf: 4, crlf: 1, cr: 1 });
}

#[test]
fn blank_lines_are_skipped_and_counted() {
    let read = read("\n\na,b\n\n1,2\r\n\r\n\r\n3,4\n\n");
    assert_eq!(read.header.as_ref().unwrap().line, 3);
    assert_eq!(read.outline(), "1 line 5\n2 line 8\n");
    assert_eq!((read.facts().blank_lines, read.facts().lines), (6, 9));
}

#[test]
fn blank_lines_are_records_when_strict() {
    let mut setup = Setup::default();
    setup.choice.blank_lines_strict = true;
    let read = setup.read(b"\na,b\n1,2\n\n3,4\n");
    insta::assert_snapshot!(read.outline(), @"
    1 line 3
    2 line 4 blank-row: The line is blank.
    3 line 5
    ");
    assert_eq!((read.facts().blank_lines, read.facts().records), (1, 3));
}

#[test]
fn header_alone_is_no_fault() {
    for text in ["id,n", "id,n\n", "id,n\r\n\r\n"] {
        let read = read(text);
        assert_eq!((read.facts().records, read.header.as_ref().unwrap().labels.len()), (0, 2), "{text:?}");
    }
}

#[test]
fn repeated_header_is_skipped_and_counted() {
    let read = read("id,n\n1,a\nid,n\n2,b\n");
    assert_eq!(read.outline(), "1 line 2\n2 line 4\n");
    assert_eq!(read.facts().repeated_headers, 1);
}

#[test]
fn without_a_header_the_first_record_is_data() {
    let read = Setup::headless().read(b"1,a\n1,a\n");
    assert_eq!((read.header.is_none(), read.facts().records, read.facts().repeated_headers), (true, 2, 0));
}

#[test]
fn unfinished_last_line_is_a_record_and_a_hint() {
    let read = read("id,n\n1,a");
    assert_eq!(read.cells(), [["1", "a"]]);
    assert!(!read.facts().last_line_ended);
    assert_eq!(read.facts().lines, 2);
    assert!(self::read("id,n\n1,\"a\"\r").facts().last_line_ended);
}

#[test]
fn quoted_cells_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::write(&spool, "a,b,c\n\"\",,\"x,y\"\n").unwrap();
    let mut reader = Reader::open(&spool, &folder.path().join("text"), &DialectChoice::default(), &Limits::default()).unwrap();
    let chunk = reader.next_chunk().unwrap().unwrap();
    let record = chunk.record(0);
    assert_eq!([0, 1, 2, 3].map(|index| record.was_literal(index)), [true, false, true, false]);
}

#[test]
fn cells_borrow_unless_a_quote_is_doubled() {
    let dialect = Dialect { header: false, ..Dialect::default() };
    let mut cells = vec![Cow::Borrowed("left over")];
    split_cells("a,\"b\",\"c\"\"\",", &dialect, &mut cells);
    assert_eq!(cells, ["a", "b", "c\"", ""]);
    assert_eq!(cells.iter().map(|cell| matches!(cell, Cow::Owned(_))).collect::<Vec<_>>(), [false, false, true, false]);
}

#[test]
fn gzip_is_known_by_its_magic_and_its_text_is_kept() {
    let mut bytes = gzip(b"id,n\n1,a\n");
    bytes.extend(gzip(b"2,b\n"));
    let read = read(bytes);
    assert_eq!(read.cells(), [["1", "a"], ["2", "b"]], "every member counts");
    assert!(read.facts().compressed);
    assert_eq!(read.facts().bytes, 13);
}

#[test]
fn detected_delimiters_say_why() {
    let evidence = |text: &str| {
        let dialect = read(text).dialect.unwrap();
        (dialect.form.delimiter, dialect.evidence)
    };
    insta::assert_debug_snapshot!(
        [
            evidence("id;points\n1;2,5\n2;3,5\n"),
            evidence("id\tname\tx\n1\ta,b\tc\n"),
            evidence("id|name\n1|a\n2|b|c\n"),
            evidence("id,tags|more\n1,a\n2,b\n3,c\n"),
            evidence("id,\"a;b\"\n1,\"x\ny;\"\n"),
            evidence("id\n1;2\n"),
            evidence("id;n"),
        ],
        @r#"
    [
        (
            ";",
            "`;` once in each of the first 3 records",
        ),
        (
            "\t",
            "tab twice in each of the first 2 records",
        ),
        (
            "|",
            "`|` once in 2 of the first 3 records",
        ),
        (
            ",",
            "`,` once in each of the first 4 records; `|` once in 1 of the first 4 records",
        ),
        (
            ",",
            "`,` once in each of the first 2 records",
        ),
        (
            ",",
            "no `,`, `;`, tab or `|` in the first record: one column",
        ),
        (
            ";",
            "`;` once in the only record",
        ),
    ]
    "#
    );
}

#[test]
fn only_the_first_hundred_records_are_looked_at() {
    let text = format!("id;n\n{}", "1;2\n".repeat(500));
    assert_eq!(read(text).dialect.unwrap().evidence, "`;` once in each of the first 100 records");
}

#[test]
fn pinned_delimiter_is_taken() {
    let dialect = Setup::pinned(b'|').read(b"a,b|c\n1,2|3\n").dialect.unwrap();
    assert_eq!((dialect.form.delimiter.as_str(), dialect.evidence.as_str(), dialect.pinned), ("|", "named by the feed", true));
}
