//! Forms that other exporters write: other signs, escapes, what stands around the records.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dialect::{Cell, Charset, Footer, Form, write_record};

fn setup(change: impl FnOnce(&mut DialectChoice)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.choice);
    setup
}

/// Redshift's `ESCAPE` and Snowflake's defaults (contracts/exports.md sections 1 and 3).
fn unquoted(delimiter: &str) -> Setup {
    setup(|choice| {
        choice.delimiter = Some(delimiter.to_owned());
        choice.quote = None;
        choice.escape = Escape::By(b'\\');
        choice.header = false;
    })
}

#[test]
fn redshift_text_with_escapes_and_a_real_line_feed_behind_a_backslash() {
    let read = unquoted("|")
        .read("000123|Zoë|1250|t|\\N\n000124|Pat \\| \"Sons\"|0|f|note with \\\nline feed\n000125|C:\\\\temp|1|t|a\\\r\nb\n".as_bytes());
    assert_eq!(
        read.cells(),
        [
            ["000123", "Zoë", "1250", "t", "\\N"],
            ["000124", "Pat | \"Sons\"", "0", "f", "note with \nline feed"],
            ["000125", "C:\\temp", "1", "t", "a\r\nb"],
        ]
    );
    assert_eq!(read.outline(), "1 line 1\n2 line 2\n3 line 4\n");
    assert_eq!(read.facts().lines, 5);
}

#[test]
fn snowflake_defaults_keep_backslashes_that_escape_nothing() {
    let read = unquoted(",").read(b"000124,O'Brien\\, Pat,0,,\\N,C:\\\\temp,D:\\new\n1,a\\\\,b\n");
    assert_eq!(read.cells(), [&["000124", "O'Brien, Pat", "0", "", "\\N", "C:\\temp", "D:\\new"][..], &["1", "a\\", "b"]]);
}

#[test]
fn spark_escapes_in_quoted_cells_are_detected_and_told() {
    let text = "member_id,name,note\n000123,\"Pat \\\"P\\\" O'Brien\",\"\"\n000124,\"a\\\\\",x\n";
    let read = read(text);
    assert_eq!(read.cells(), [["000123", "Pat \"P\" O'Brien", ""], ["000124", "a\\", "x"]]);
    let dialect = read.dialect.unwrap();
    assert_eq!(dialect.form.escape, Some(b'\\'));
    insta::assert_snapshot!(dialect.evidence, @"`,` twice in each of the first 3 records, with a backslash before quotes inside quoted cells, first on line 2");
}

#[test]
fn a_cell_that_ends_in_a_backslash_needs_doubled_quotes_and_keeps_them() {
    let read = read("id,path\n1,\"C:\\\"\n2,\"say \"\"hi\"\"\"\n");
    assert_eq!(read.cells(), [["1", "C:\\"], ["2", "say \"hi\""]]);
    assert_eq!(read.dialect.unwrap().form.escape, None);
}

#[test]
fn the_two_ways_to_write_a_quote_are_never_mixed() {
    let escaped = setup(|choice| choice.escape = Escape::By(b'\\'));
    let read = escaped.read(b"id,t\n1,\"a \\\"b\\\"\"\n2,\"a \"\"b\"\"\"\n");
    insta::assert_snapshot!(read.outline(), @r#"
    1 line 2
    2 line 3 stray-quote[1]: Text follows the closing quote of the cell.
    "#);
    let doubled = setup(|choice| choice.escape = Escape::Doubled);
    assert!(doubled.read(b"id,t\n1,\"a \\\"b\\\"\"\n").outline().contains("stray-quote"));
}

#[test]
fn delimiters_of_several_characters_and_other_quotes() {
    let several = setup(|choice| choice.delimiter = Some("||".to_owned()));
    assert_eq!(several.read(b"id||t||u\n1|||a|\"||x\n2||\"a||b\"\"c\"||\n").cells(), [["1", "|a|\"", "x"], ["2", "a||b\"c", ""]]);
    let single = setup(|choice| {
        choice.delimiter = Some(";".to_owned());
        choice.quote = Some(b'\'');
    });
    assert_eq!(single.read(b"id;t\n1;'a;''b'''\n2;say \"hi\"\n").cells(), [["1", "a;'b'"], ["2", "say \"hi\""]]);
    let none = setup(|choice| {
        choice.delimiter = Some("\t".to_owned());
        choice.quote = None;
    });
    assert_eq!(none.read(b"id\tt\n1\t\"open\n2\tb\"c\n").cells(), [["1", "\"open"], ["2", "b\"c"]]);
    let control = setup(|choice| choice.delimiter = Some("\u{1}".to_owned()));
    assert_eq!(control.read(b"id\x01t\n1\x01a,b\n").cells(), [["1", "a,b"]]);
}

#[test]
fn spaces_before_cells_go_where_that_is_said() {
    let skip = setup(|choice| choice.skip_space = true);
    assert_eq!(skip.read(b"id, t, u\n1, \"a, b\",  c \n").cells(), [["1", "a, b", "c "]]);
}

#[test]
fn comments_and_rows_by_number_are_passed_over() {
    let comments = setup(|choice| choice.comment = Some("#".to_owned()));
    let read = comments.read(b"# made \"today\nid,t\n1,a\n#,\"x\n2,#b\n# end");
    assert_eq!(read.cells(), [["1", "a"], ["2", "#b"]]);
    assert_eq!(read.outline(), "1 line 3\n2 line 5\n");
    assert_eq!((read.facts().passed_over, read.facts().records), (3, 2));
    let rows = setup(|choice| choice.comment_rows = vec![1, 3]);
    assert_eq!(rows.read(b"about this\nid,t\nunits,text\n1,a\n").cells(), [["1", "a"]]);
}

#[test]
fn preamble_and_header_of_several_rows() {
    let banner = setup(|choice| {
        choice.preamble = 2;
        choice.header_rows = 2;
    });
    let read = banner.read(b"Loyalty \"report\n\nid,balance,\n,points,tier\n1,5,gold\n");
    let header = read.header.as_ref().unwrap();
    assert_eq!((header.labels.as_slice(), header.line), (&["id".to_owned(), "balance points".to_owned(), "tier".to_owned()][..], 3));
    assert_eq!(read.outline(), "1 line 5\n");
}

#[test]
fn a_sep_line_names_the_delimiter() {
    for first in ["sep=;", "\"sep=;\"", "SEP=;"] {
        let read = read(format!("{first}\r\nKundennr;Punkte\r\n000123;1.250,50\r\n"));
        assert_eq!(read.cells(), [["000123", "1.250,50"]]);
        assert_eq!((read.header.as_ref().unwrap().line, read.facts().lines), (2, 3));
        assert_eq!(read.dialect.unwrap().evidence, "named by the file's line sep=");
    }
    insta::assert_snapshot!(Setup::pinned(b',').read(b"sep=;\nid;n\n").fault(), @"source-error: line 1: The file's first line says that `;` parts its cells, and the feed names another delimiter. Remove dialect.delimiter from the feed.");
}

#[test]
fn footers_are_checked() {
    let footer = |text: &str| setup(|choice| choice.footer = Some(Footer::parse(text).unwrap()));
    let counted = footer("TRL|{count}");
    let read = counted.read(b"id|t\n1|a\n2|b\nTRL|2\n");
    assert_eq!((read.facts().records, read.facts().footer), (2, true));
    assert_eq!(footer("Total rows: {count+header}").read(b"id,t\n1,a\n\"Total rows: 2\",\n\n").facts().records, 1);
    assert_eq!(footer("EOF").read(b"id\n1\nEOF").facts().records, 1);
    let faults = [b"id|t\n1|a\nTRL|2\n".as_slice(), b"id|t\n1|a\n", b"id|t\n1|a\nTRL|1\n2|b\n"].map(|text| counted.read(text).fault());
    insta::assert_snapshot!(faults.join("\n"), @r"
    row-count: line 3: The footer says 2 records; the file has 1. Deliver it again: rows are missing or too many. If the exporter counts other lines too, write {count+header} in dialect.footer.
    row-count: The last line is not the footer `TRL|{count}`: the file is cut short, or has none. Deliver it again; where files have no footer, remove dialect.footer.
    row-count: line 4: The footer `TRL|{count}` stands on line 3, and records follow it. The file may be joined from several; deliver each by itself.
    ");
}

#[test]
fn the_prefix_of_a_record_too_long_may_end_within_a_delimiter() {
    let mut bars = setup(|choice| {
        choice.delimiter = Some("||".to_owned());
        choice.header = false;
    });
    bars.limits = Limits { record: 6, ..Limits::default() };
    let read = bars.read(b"1||ab||cd\n2||x\"|\n3||b\n");
    assert_eq!(read.cells()[0], ["1", "ab|"]);
    assert_eq!(read.cells().last().unwrap(), &["3", "b"]);
}

#[test]
fn a_report_of_ours_is_read_with_its_header_whatever_the_feed_says() {
    let bare = setup(|choice| {
        choice.header = false;
        choice.preamble = 3;
        choice.footer = Some(Footer::parse("TRL|{count}").unwrap());
    });
    let read = bare.read(b"id,points,_run,_line,_record,_outcome\n1,5,k7,2,1,rejected\n");
    assert_eq!(read.header.as_ref().unwrap().labels[0], "id");
    assert_eq!(read.cells(), [["1", "5", "k7", "2", "1", "rejected"]]);
}

#[test]
fn other_character_sets_are_read_and_offsets_are_those_of_the_text() {
    let latin = setup(|choice| choice.charset = Some(Charset::WINDOWS_1252));
    let read = latin.read(b"Kundennr;G\xFCltig\r\n000123;Zo\xEB \x80\r\n");
    assert_eq!(read.header.as_ref().unwrap().labels, ["Kundennr", "Gültig"]);
    assert_eq!(read.cells(), [["000123", "Zoë €"]]);
    let utf_16: Vec<u8> = "\u{feff}id\tn\r\n1\té\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let read = self::read(utf_16);
    assert_eq!(read.cells(), [["1", "é"]]);
    let dialect = read.dialect.as_ref().unwrap();
    assert_eq!((dialect.charset, dialect.charset_evidence.as_str()), (Charset::UTF_16LE, "its byte-order mark"));
    assert!(read.facts().bom);
}

#[test]
fn a_byte_outside_the_character_set_has_a_place() {
    let faults = [
        setup(|choice| choice.charset = Some(Charset::WINDOWS_1252)).read(b"id,n\n1,a\n2,\xEB\x81\n").fault(),
        setup(|choice| choice.charset = Charset::parse("iso-8859-1").ok()).read(b"id,n\n1,5 \x80\n").fault(),
        read(b"id,n\n1,Zo\xEB\n").fault(),
        setup(|choice| choice.charset = Charset::parse("shift_jis").ok()).read(b"id,n\n1,\x83\x7C\x83\n").fault(),
        read([&b"\xFF\xFEi\0d\0\n\0"[..], b"\x3D\xD8a\0"].concat()).fault(),
        read(b"\xFF\xFE\0\0i\0\0\0").fault(),
        read("id,points\n".repeat(20).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).fault(),
    ];
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn a_byte_order_mark_outweighs_what_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::write(&spool, "\u{feff}id,n\n1,é\n").unwrap();
    let choice = DialectChoice { charset: Some(Charset::WINDOWS_1252), ..DialectChoice::default() };
    let mut reader = Reader::open(&spool, &folder.path().join("text"), &choice, &Limits::default()).unwrap();
    assert_eq!(reader.next_chunk().unwrap().unwrap().record(0).raw, "1,é");
    assert_eq!(reader.notes(), ["the file is UTF-8, as its byte-order mark says, though dialect.encoding says windows-1252"]);
}

/// Any form that the reader takes, by signs that do not collide.
fn forms() -> impl Strategy<Value = Form> {
    let delimiter = prop_oneof![Just(","), Just(";"), Just("||"), Just("|;|"), Just("\u{a7}")];
    let quote = prop_oneof![3 => Just(Some(b'"')), 1 => Just(Some(b'\'')), 2 => Just(None)];
    let escape = prop_oneof![Just(None), Just(Some(b'\\'))];
    (delimiter, quote, escape, any::<bool>(), any::<bool>()).prop_map(|(delimiter, quote, escape, skip_space, comment)| Form {
        delimiter: delimiter.to_owned(),
        quote,
        escape,
        skip_space,
        comment: comment.then(|| "#".to_owned()),
    })
}

fn chosen(form: &Form) -> DialectChoice {
    DialectChoice {
        delimiter: Some(form.delimiter.clone()),
        quote: form.quote,
        escape: form.escape.map_or(Escape::Doubled, Escape::By),
        skip_space: form.skip_space,
        comment: form.comment.clone(),
        header: false,
        ..DialectChoice::default()
    }
}

/// Texts in which every sign of every form has its chance.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("a"), 3 => Just(","), 3 => Just("|"), 2 => Just(";"), 3 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r"),
        4 => Just("\""), 1 => Just("'"), 3 => Just("\\"), 1 => Just("#"), 1 => Just(" "), 1 => Just("§é"), 1 => Just("\n#x\"\n"),
    ];
    vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_change_nothing_in_any_form(text in texts(), form in forms(), small in any::<bool>(), block in 1usize..20, chunk in 0usize..40) {
        let mut setup = Setup { choice: chosen(&form), ..Setup::default() };
        if small {
            setup.limits = Limits { record: 24, cell: 9, cells: 4, ..Limits::default() };
        }
        let whole = setup.read(text.as_bytes());
        let pieces = Setup { sizes: Sizes { block, chunk }, ..setup }.read(text.as_bytes());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn what_is_written_in_a_form_is_read_again(
        rows in vec(vec("[a-c,;|\"'\\\\#§\r\n é]{0,6}", 2..4), 1..8), form in forms(), block in 1usize..30,
        charset in prop_oneof![Just(Charset::UTF_8), Just(Charset::UTF_16LE), Just(Charset::UTF_16BE), Just(Charset::WINDOWS_1252)],
        crlf in any::<bool>(),
    ) {
        let mut text = String::new();
        let mut whole = true;
        for row in &rows {
            let cells = row.iter().map(|cell| Cell { text: cell, literal: false });
            whole &= write_record(cells, &form, if crlf { "\r\n" } else { "\n" }, &mut text);
        }
        // A form that has neither quotes nor escapes holds only some cells; without quotes, spaces and comments cannot be kept either.
        let starts = |sign: char| rows.iter().any(|row| row.iter().any(|cell| cell.starts_with(sign)));
        prop_assume!(whole && (form.quote.is_some() || !(form.skip_space && starts(' ') || form.comment.is_some() && starts('#'))));
        prop_assume!(form.quote.is_some() || !rows.iter().any(|row| row.iter().all(String::is_empty)));
        // An escaped CR before a line feed is one line end with it, as files are that were carried as text.
        prop_assume!(form.escape.is_none() || !rows.iter().any(|row| row.last().is_some_and(|cell| cell.ends_with('\r'))));
        let mut bytes = Vec::new();
        charset.encode(&text, &mut bytes).unwrap();
        let mut setup = Setup { choice: DialectChoice { charset: Some(charset), ..chosen(&form) }, ..Setup::default() };
        setup.sizes.block = block;
        let read = setup.read(&bytes);
        prop_assert!(read.end.is_ok(), "{:?} {text:?}", read.end);
        prop_assert_eq!(read.cells(), rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect::<Vec<Vec<_>>>(), "{:?}", text);
    }
}
