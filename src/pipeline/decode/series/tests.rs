//! Files that are read as one.

use super::*;
use crate::pipeline::decode::read_record;

/// Number, line and text.
type Read = (u64, u64, String);

fn read(parts: &[&[u8]], header_in_each: bool) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
    read_as(parts, header_in_each, &DialectChoice::default())
}

fn read_as(parts: &[&[u8]], header_in_each: bool, choice: &DialectChoice) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
    let folder = tempfile::tempdir().unwrap();
    let (data, text) = (folder.path().join("data"), folder.path().join("text"));
    std::fs::write(&data, parts.concat()).unwrap();
    let mut at = 0;
    let pieces = parts.iter().map(|part| {
        at += part.len() as u64;
        Piece { path: data.clone(), range: at - part.len() as u64..at, columns: Vec::new() }
    });
    read_pieces(pieces.collect(), header_in_each, &text, choice)
}

fn read_pieces(
    pieces: Vec<Piece>,
    header_in_each: bool,
    text: &Path,
    choice: &DialectChoice,
) -> Result<(Vec<Read>, Vec<PartFacts>, Facts), DecodeError> {
    let limits = Limits::default();
    let found = RefCell::default();
    let mut series = Series::open(pieces, header_in_each, text, choice, &limits, &found)?;
    let mut records = Vec::new();
    while let Some(chunk) = series.next_chunk()? {
        let kept = std::fs::File::open(text).unwrap();
        for record in chunk.records() {
            let raw = read_record(&kept, record.offset, record.raw.len() as u32).unwrap();
            assert_eq!(raw, record.raw, "the text is kept where the record says");
            records.push((record.number, record.line, raw));
        }
    }
    let facts = series.finish();
    Ok((records, found.into_inner(), facts))
}

#[test]
fn columns_that_stand_beside_the_parts_are_behind_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let piece = |name: &str, content: &str, region: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let constant = |label: &str, cell: &str| Constant { label: label.into(), cell: cell.into(), literal: cell == "NULL" };
        Piece { path, range: 0..content.len() as u64, columns: vec![constant("region", region), constant("n", "9")] }
    };
    let pieces = vec![piece("a", "id,n\na,1\n\n\"b\nb\",2", "E,U"), piece("b", "id,n\nc,3\n", ""), piece("c", "id,n\nd,4\n", "NULL")];
    let (records, _, facts) = read_pieces(pieces, true, &folder.path().join("text"), &DialectChoice::default()).unwrap();
    let shown: Vec<_> = records.iter().map(|(number, line, raw)| (*number, *line, raw.as_str())).collect();
    assert_eq!(shown, [(1, 2, "a,1,\"E,U\""), (2, 4, "\"b\nb\",2,\"E,U\""), (3, 7, "c,3,"), (4, 9, "d,4,\"NULL\"")]);
    assert_eq!(facts.records, 4);
}

/// Whatever a record ends in, the column behind it is a cell of its own.
#[test]
fn a_column_behind_a_record_is_written_in_its_form() {
    let read = |choice: &DialectChoice, content: &str, cell: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = (folder.path().join("a"), folder.path().join("text"));
        std::fs::write(&path, content).unwrap();
        let columns = vec![Constant { label: "region".into(), cell: cell.into(), literal: false }];
        let pieces = vec![Piece { path, range: 0..content.len() as u64, columns }];
        let (limits, found) = (Limits::default(), RefCell::default());
        let mut series = Series::open(pieces, true, &text, choice, &limits, &found)?;
        let chunk = series.next_chunk()?.unwrap();
        let mut told = Vec::new();
        for record in chunk.records() {
            let mut cells = Vec::new();
            record.cells(&mut cells);
            told.push((cells.join(";"), record.faults.len()));
        }
        Ok::<_, DecodeError>(told)
    };
    let form =
        |delimiter: &str, quote, escape| DialectChoice { delimiter: Some(delimiter.to_owned()), quote, escape, ..DialectChoice::default() };
    let shown = |cells: &str| (cells.to_owned(), 0);
    let long = form("||", Some(b'"'), Escape::Doubled);
    assert_eq!(read(&long, "id||n\na||b|\nc||d\n", "x").unwrap(), [shown("a;b|;x"), shown("c;d;x")]);
    let behind = form(",", None, Escape::By(b'\\'));
    assert_eq!(read(&behind, "id,n\na,\\N\nb,b\\", "x,y").unwrap(), [shown("a;\\N;x,y"), shown("b;b\\;x,y")]);
    let bare = form("||", None, Escape::Doubled);
    let told = read(&bare, "id||n\na||b|\nc||d\n", "x").unwrap();
    assert_eq!((told[0].1, &told[1]), (1, &shown("c;d;x")), "what cannot be written is a fault of its record");
    assert!(read(&bare, "id||n\nc||d\n", "x||y").is_err());
}

#[test]
fn records_and_lines_are_counted_through_and_each_part_ends_by_itself() {
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let packed = gzip(b"id,n\nc,3\n");
    let empty = gzip(b"");
    let (records, found, facts) = read(&[b"", b"id,n\na,1\n\nb,2", b"\xef\xbb\xbfid,n\n", &packed, &empty, b"id,n\nd,4\n"], true).unwrap();
    let shown: Vec<_> = records.iter().map(|(number, line, raw)| (*number, *line, raw.as_str())).collect();
    assert_eq!(shown, [(1, 2, "a,1"), (2, 4, "b,2"), (3, 7, "c,3"), (4, 9, "d,4")]);
    let places: Vec<_> = found.iter().map(|part| (part.lines_before, part.records)).collect();
    assert_eq!(places, [(0, 0), (0, 2), (4, 0), (5, 1), (7, 0), (7, 1)]);
    assert_eq!((facts.records, facts.lines, facts.repeated_headers, facts.compressed), (4, 9, 0, true));
    assert!(!facts.last_line_ended, "one part may have been cut short");
}

#[test]
fn a_quote_that_one_part_leaves_open_is_not_closed_by_the_next() {
    let fault = read(&[b"id,n\na,\"1\n", b"id,n\nb\",2\n"], true).unwrap_err();
    assert!(matches!(fault, DecodeError::Fault(fault) if fault.code == Code::UnterminatedQuote && fault.line == Some(2)));
}

#[test]
fn another_header_is_a_fault_and_a_part_without_one_is_by_choice() {
    let fault = read(&[b"id,n\na,1\n", b"n,id\n2,b\n"], true).unwrap_err();
    assert!(matches!(fault, DecodeError::Fault(fault) if fault.code == Code::IncorrectLabel && fault.line == Some(1)));
    let (records, ..) = read(&[b"id,n\na,1\n", b"b,2\n"], false).unwrap();
    assert_eq!(records[1], (2, 3, "b,2".to_owned()));
    assert!(read(&[b"", b""], true).is_err());
}

#[test]
fn what_stands_before_the_header_is_passed_over_in_the_parts_that_have_a_header_alone() {
    let choice = DialectChoice { preamble: 2, ..DialectChoice::default() };
    let shown = |parts: &[&[u8]], in_each| {
        let (records, found, facts) = read_as(parts, in_each, &choice).unwrap();
        let records: Vec<_> = records.into_iter().map(|(number, line, raw)| format!("{number}:{line}:{raw}")).collect();
        (records.join(" "), found.iter().map(|part| part.records).collect::<Vec<_>>(), facts.passed_over)
    };
    let first: [&[u8]; 3] = [b"made\ntoday\nid,n\na,1\n", b"b,2\nc,3\n", b"d,4\n"];
    assert_eq!(shown(&first, false), ("1:4:a,1 2:5:b,2 3:6:c,3 4:7:d,4".to_owned(), vec![1, 2, 1], 2));
    let each: [&[u8]; 2] = [b"made\ntoday\nid,n\na,1\n", b"made\ntoday\nid,n\nb,2\n"];
    assert_eq!(shown(&each, true), ("1:4:a,1 2:8:b,2".to_owned(), vec![1, 1], 4));
}
