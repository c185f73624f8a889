//! Header sections of `.wallet_update` files.

use super::*;
use crate::config::meant::SectionChoice;

fn setup(campaigns: &[&str]) -> Setup {
    let section = SectionChoice { campaigns: campaigns.iter().map(|name| (*name).to_owned()).collect() };
    Setup { choice: DialectChoice { section: Some(section), ..DialectChoice::default() }, ..Setup::default() }
}

fn fault(file: &str, campaigns: &[&str]) -> String {
    setup(campaigns).read(file.as_bytes()).end.unwrap_err().to_string()
}

fn cells(read: &Read) -> Vec<(u64, Vec<String>)> {
    read.rows.iter().map(|row| (row.line, row.cells.clone())).collect()
}

#[test]
fn the_section_names_columns_and_delimiter_and_lines_are_counted_as_an_editor_does() {
    for end in ["\n", "\r\n", "\r"] {
        let text = "Fields: uuid,points,tier\nDelimiter: |\nCampaign-Token: abc123\n\n6f1c|250|\"go|ld\"\n7a2d|1,5|\n";
        let read = setup(&["abc123"]).read(text.replace('\n', end).as_bytes());
        assert_eq!(read.header.as_ref().unwrap().labels, ["uuid", "points", "tier"]);
        assert_eq!(
            cells(&read),
            [(5, vec!["6f1c".into(), "250".into(), "go|ld".into()]), (6, vec!["7a2d".into(), "1,5".into(), String::new()])]
        );
        let dialect = read.dialect.as_ref().unwrap();
        assert_eq!((dialect.form.delimiter.as_str(), dialect.pinned, dialect.header), ("|", true, true));
        assert_eq!((read.facts().records, read.facts().lines), (2, 6));
    }
}

#[test]
fn without_fields_the_first_record_of_the_body_names_the_columns() {
    let read = setup(&[]).read(b"\xEF\xBB\xBFdelimiter: ;\n\nuuid;points\n6f1c;2\n");
    assert_eq!((read.header.as_ref().unwrap().labels.join(" "), read.header.as_ref().unwrap().line), ("uuid points".to_owned(), 3));
    assert_eq!(cells(&read), [(4, vec!["6f1c".to_owned(), "2".to_owned()])]);
}

#[test]
fn a_file_without_a_section_is_read_as_ever_and_the_comma_wins() {
    let read = setup(&[]).read(b"uuid,note\n6f1c,a;b|c\n");
    assert_eq!(cells(&read), [(2, vec!["6f1c".to_owned(), "a;b|c".to_owned()])]);
    // Our own error report of such a file has its delimiter and no section.
    let read = setup(&[]).read(b"uuid|note\n6f1c|a\n");
    assert_eq!(cells(&read), [(2, vec!["6f1c".to_owned(), "a".to_owned()])]);
    let plain = Setup::default().read(b"Fields: a,b\n\nx,y\n");
    assert_eq!(plain.header.unwrap().labels, ["Fields: a", "b"], "other feeds have no sections");
}

#[test]
fn a_section_and_nothing_behind_it_is_a_file_of_no_rows_where_it_names_the_columns() {
    for text in ["Fields: uuid\n", "Fields: uuid", "Fields: uuid\n\n", "Fields: uuid\n\n\n"] {
        let read = setup(&[]).read(text.as_bytes());
        assert_eq!((read.rows.len(), read.facts().records), (0, 0), "{text:?}");
    }
    assert!(fault("Delimiter: |\n\n", &[]).contains("only blank lines"));
}

#[test]
fn what_is_not_understood_in_a_section_fails_the_file_with_its_line() {
    for (text, words) in [
        ("Fields: uuid\nuuid,points\n", "line 2: In the header section: this line is not one of its lines"),
        ("Fields: uuid\nColour: red\n\n", "line 2: In the header section: this line is not one of its lines"),
        ("Fields: uuid,,x\n\n", "`Fields` has an empty entry"),
        ("Fields:\n\n", "`Fields` has an empty entry"),
        ("Delimiter: ||\n\n", "not a single sign"),
        ("Delimiter: |\nDelimiter: ;\n\n", "line 2: In the header section: `Delimiter` stands there twice"),
        ("Campaign-Token: a\nFields: uuid\ncampaign-token: b\n\n", "line 3"),
    ] {
        assert!(fault(text, &[]).contains(words), "{text:?}: {}", fault(text, &[]));
    }
}

#[test]
fn a_file_for_another_campaign_is_refused_and_one_that_nobody_can_judge_is_noted() {
    assert!(fault("Campaign-Token: abc\n\nuuid\n", &["xyz"]).contains("for campaign abc; this feed takes xyz"));
    assert!(fault("Campaign-Token: abc, xyz\n\nuuid\n", &["xyz"]).contains("for campaign abc, xyz"));
    assert!(fault("Campaign-Token: abc, xyz\n\nuuid\n", &[]).contains("several campaigns"));
    assert!(setup(&["xyz", "abc"]).read(b"Campaign-Token: abc, xyz\n\nuuid\n1\n").end.is_ok());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "Campaign-Token: abc\n\nuuid\n1\n").unwrap();
    let reader = Reader::open(&path, &folder.path().join("text"), &setup(&[]).choice, &Limits::default()).unwrap();
    assert!(reader.notes()[0].contains("campaign abc"), "{:?}", reader.notes());
}

#[test]
fn a_feed_and_a_file_that_name_different_delimiters_are_not_guessed_between() {
    let mut setup = setup(&[]);
    setup.choice.delimiter = Some(";".to_owned());
    assert!(setup.read(b"Delimiter: |\n\nuuid|a\n").end.unwrap_err().message.contains("another delimiter"));
    assert!(setup.read(b"Fields: uuid,a\n\n1;2\n").end.is_ok());
}
