//! Faults of records, and faults of files.

use super::*;

#[test]
fn stray_quotes_reject_their_record_alone() {
    let text = "id,t\n1,\"1\"0\n2,\"a\"b\"\n3,x\"y\"\n4,\"a\" \n5, \"a\"\n6,\"m\nn\"o,p\n7,ok\n";
    let read = read(text);
    insta::assert_snapshot!(read.outline(), @"
    1 line 2 stray-quote[1]: Text follows the closing quote of the cell.
    2 line 3 stray-quote[1]: Text follows the closing quote of the cell.
    3 line 4 stray-quote[1]: A quote stands inside an unquoted cell.
    4 line 5 stray-quote[1]: Text follows the closing quote of the cell.
    5 line 6 stray-quote[1]: A quote stands inside an unquoted cell.
    6 line 7 stray-quote[1]: Text follows the closing quote of the cell on line 8.
    7 line 9
    ");
    assert_eq!(read.rows[0].cells, ["1", "\"1\"0"], "shown as written");
    assert_eq!(read.rows[5].raw, "6,\"m\nn\"o,p");
}

#[test]
fn reading_resumes_at_the_line_end_after_a_stray_quote() {
    assert_eq!(read("id,t\n1,\"a\"b,\"c\n2,d\n").outline().lines().count(), 2, "the quote after the stray one opens nothing");
}

#[test]
fn nul_bytes_reject_their_record() {
    let read = read("id,t\n1,a\n2,\0\n3,b\n");
    insta::assert_snapshot!(read.outline(), @"
    1 line 2
    2 line 3 nul-byte[1]: The cell holds a NUL byte.
    3 line 4
    ");
}

#[test]
fn unclosed_quote_rejects_the_file_after_the_records_before_it() {
    let read = read("id,t\n1,a\n2,\"open\n3,b\n4,c\n");
    assert_eq!(read.rows.len(), 1);
    insta::assert_snapshot!(read.fault(), @"unterminated-quote: line 3, character 3: The quote that opens on line 3 is never closed. Close it, or double the quotes that belong to the text.");
    assert_eq!(read.end.unwrap_err().offset, Some(11));
}

#[test]
fn a_file_that_ends_in_a_doubled_quote_is_unclosed() {
    assert_eq!(read("id,t\n1,\"a\"\"").code(), Code::UnterminatedQuote);
}

fn small() -> Setup {
    let mut setup = Setup::pinned(b',');
    setup.limits = Limits { record: 20, cell: 10, cells: 4, ..Limits::default() };
    setup
}

#[test]
fn over_long_quoted_cell_rejects_the_file() {
    let read = small().read(b"id,t\n1,\"0123456789\"\n2,\"0123456789x\"\n3,a\n");
    assert_eq!(read.rows.len(), 1);
    insta::assert_snapshot!(read.fault(), @"cell-too-long: line 3, character 3: The quoted cell that opens on line 3 is longer than 10 bytes. Look for a missing closing quote there; raise limits.cell if the cell is meant.");
}

#[test]
fn over_long_records_and_cells_reject_their_record() {
    let read = small().read(b"id,t\n1,abcdefghij\n2,abcdefghijk\n3,4,5,6,7\n4,aaaaaaa,bbbbbbb,ccccc\n5,a,b,ccccccccc,d,eee\n6,a\n");
    insta::assert_snapshot!(read.outline(), @"
    1 line 2
    2 line 3 cell-too-long[1]: The cell is longer than 10 bytes.
    3 line 4 too-many-cells: The record has 5 cells; the limit is 4.
    4 line 5 record-too-long: The record is 23 bytes long; the limit is 20.
    5 line 6 record-too-long: The record is 21 bytes long; the limit is 20.
    6 line 7
    ");
    assert_eq!(read.rows[3].raw, "4,aaaaaaa,bbbbbbb,cc");
}

#[test]
fn a_line_of_any_length_fits_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let long = 8 << 20;
    let text = ["id,t\n1,a\n", &"é".repeat(long / 2), ",\"\n\"\n2,b\n"].concat();
    fs::write(&spool, &text).unwrap();
    let mut reader = Reader::open(&spool, &folder.path().join("text"), &DialectChoice::default(), &Limits::default()).unwrap();
    let mut seen = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        assert!(reader.held() < 4 << 20, "{} bytes held", reader.held());
        seen.extend(
            chunk.records().map(|record| (record.line, record.offset, record.raw.len(), record.faults.first().map(|fault| fault.code))),
        );
    }
    let after = text.len() as u64 - 4;
    assert_eq!(seen, [(2, 5, 3, None), (3, 9, 4096, Some(Code::RecordTooLong)), (5, after, 3, None)]);
}

#[test]
fn bad_bytes_are_found_with_their_place() {
    let read = read(b"id,t\n1,\"a\r\nb\"\n2,\xC3\xA9\xE9t\xC3\xA9\n");
    assert_eq!(read.rows.len(), 1, "records before it are whole");
    insta::assert_snapshot!(read.fault(), @r#"encoding-error: line 4, character 4: Byte 0xE9 at offset 18 is not UTF-8. Export the file as UTF-8. 0xE9 is `é` in windows-1252, which Excel's "CSV" and older tools write: if all letters come out right with it, set dialect.encoding = "windows-1252"."#);
    assert_eq!(self::read(b"id,t\n1,a\xC3").end.unwrap_err().offset, Some(8), "cut off in a character");
}

#[test]
fn bad_byte_after_a_shed_line_has_its_place_too() {
    let mut text = b"id,t\n".to_vec();
    text.extend("é".repeat(1 << 20).bytes());
    text.extend(b"\xFF\n");
    insta::assert_snapshot!(read(text).fault(), @r#"encoding-error: line 2, character 1048577: Byte 0xFF at offset 2097157 is not UTF-8. Export the file as UTF-8. 0xFF is `ÿ` in windows-1252, which Excel's "CSV" and older tools write: if all letters come out right with it, set dialect.encoding = "windows-1252"."#);
}

#[test]
fn what_is_not_text_is_refused() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let faults = [
        read(wide("id,name\n1,Ann and Bob\n")).fault(),
        read(b"PK\x03\x04rest").fault(),
        read(b"").fault(),
        read(b"\n\r\n\r").fault(),
        read("\u{feff}").fault(),
        read("id,\0\n1,2\n").fault(),
        read("id,\"x\"y\n1,2\n").fault(),
        read("\"id,n\n1,2\n").fault(),
    ];
    insta::assert_snapshot!(faults.join("\n"), @r#"
    not-text: 22 of the first 44 bytes are NUL: this is not UTF-8 text. It looks like UTF-16 (little-endian) without a byte-order mark, as tracking extracts of Marketing Cloud are: set dialect.encoding = "utf-16le", or export as UTF-8.
    compression-error: The zip file is cut short or damaged: invalid Zip archive: Could not find EOCD. Deliver the file again; a zip whose upload was not finished has no directory at its end.
    source-error: The file is empty. Deliver it again; an export with no rows still needs its header line.
    source-error: The file holds only blank lines. Deliver it again; an export with no rows still needs its header line.
    source-error: The file holds only blank lines. Deliver it again; an export with no rows still needs its header line.
    nul-byte: line 1: In the header, label 2: The cell holds a NUL byte.
    stray-quote: line 1: In the header, label 2: Text follows the closing quote of the cell. Quote the whole cell and double the quotes in it.
    unterminated-quote: line 1, character 1: The quote that opens on line 1 is never closed. Close it, or double the quotes that belong to the text.
    "#);
}

#[test]
fn ambiguous_delimiter_asks_to_be_named() {
    insta::assert_snapshot!(read("a;b,c\n1;2,3\n").fault(), @"source-error: The delimiter is ambiguous: `,` once in each of the first 2 records, but `;` once in each of the first 2 records. Name it in the feed's dialect.delimiter.");
}

#[test]
fn damaged_gzip_rejects_the_file() {
    let text = (0..5000).map(|row| format!("{row},{}\n", row * 7919 % 10_007)).collect::<Vec<_>>().concat();
    let whole = gzip(format!("id,n\n{text}").as_bytes());
    let mut flipped = whole.clone();
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    let faults = [
        read(&whole[..whole.len() - 9]).fault(),
        read(&flipped).fault(),
        read(gzip(b"")).fault(),
        read([&whole[..], b"junk"].concat()).fault(),
    ];
    insta::assert_snapshot!(faults.join("\n"), @"
    compression-error: The gzip file is cut short after about 48345 bytes of text. Deliver the file again.
    compression-error: The gzip file is damaged after about 48345 bytes of text (corrupt gzip stream does not have a matching checksum). Deliver the file again.
    source-error: The file is empty. Deliver it again; an export with no rows still needs its header line.
    compression-error: The gzip file is cut short after about 48345 bytes of text. Deliver the file again.
    ");
}

#[test]
fn bombs_stop_at_the_limit() {
    let bomb = gzip("1,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(1 << 19).as_bytes());
    assert!(read(&bomb).fault().contains("expands to more than 100 bytes"), "29 MB from {} bytes", bomb.len());
    let mild = gzip("1,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(1 << 17).as_bytes());
    assert!(read(&mild).end.is_ok(), "7 MB are free");
    let mut setup = Setup::default();
    setup.limits.file = 1 << 20;
    assert!(setup.read(&mild).fault().contains("more than 1048576 bytes"));
}

#[test]
fn after_a_fault_nothing_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::write(&spool, "id,n\n1,a\n2,\"").unwrap();
    let mut reader = Reader::open(&spool, &folder.path().join("text"), &DialectChoice::default(), &Limits::default()).unwrap();
    assert_eq!(reader.next_chunk().unwrap().unwrap().len(), 1);
    assert!(matches!(reader.next_chunk(), Err(DecodeError::Fault(_))));
    assert!(matches!(reader.next_chunk(), Err(DecodeError::Io(_))), "never mistaken for the end");
}

#[test]
fn missing_file_and_impossible_delimiter_are_not_faults_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let open = |choice: &DialectChoice| Reader::open(&spool, &folder.path().join("text"), choice, &Limits::default());
    assert!(matches!(open(&DialectChoice::default()), Err(DecodeError::Io(_))));
    fs::write(&spool, "a").unwrap();
    assert!(matches!(open(&DialectChoice { delimiter: Some("\"".to_owned()), ..DialectChoice::default() }), Err(DecodeError::Io(_))));
    assert!(matches!(open(&DialectChoice { delimiter: Some("\n".to_owned()), ..DialectChoice::default() }), Err(DecodeError::Io(_))));
}
