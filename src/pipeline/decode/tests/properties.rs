//! What holds for every file.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::meant::SectionChoice;

/// Texts in which every rule of the form has its chance.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => Just(&b"a"[..]),
        4 => Just(&b","[..]),
        4 => Just(&b"\n"[..]),
        2 => Just(&b"\r\n"[..]),
        2 => Just(&b"\r"[..]),
        5 => Just(&b"\""[..]),
        3 => Just(&b"\n1,\"x\"\n"[..]),
        1 => Just(&b"a,a\n"[..]),
        1 => Just("é€😀".as_bytes()),
        1 => Just(&b"\0"[..]),
        1 => Just("\u{feff}".as_bytes()),
    ];
    let bad = prop_oneof![9 => Just(&b""[..]), 1 => Just(&b"\xE9"[..]), 1 => Just(&b"\xF0\x9F"[..])];
    (vec(piece.clone(), 0..60), bad, vec(piece, 0..40))
        .prop_map(|(before, bad, after)| [before.concat(), bad.to_vec(), after.concat()].concat())
}

fn setups() -> impl Strategy<Value = Setup> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(pinned, header, strict, small, section)| {
        let section = section.then(SectionChoice::default);
        let delimiter = pinned.then(|| ",".to_owned());
        let choice = DialectChoice { delimiter, header, blank_lines_strict: strict, section, ..DialectChoice::default() };
        let mut setup = Setup { choice, ..Setup::default() };
        if small {
            setup.limits = Limits { record: 24, cell: 9, cells: 4, ..Limits::default() };
        }
        setup
    })
}

/// Bytes of the first record, which is well formed.
fn record_end(text: &[u8]) -> usize {
    let mut quoted = false;
    let end = text.iter().position(|&byte| {
        quoted ^= byte == b'"';
        !quoted && (byte == b'\n' || byte == b'\r')
    });
    end.unwrap_or(text.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_and_chunks_change_nothing(text in texts(), setup in setups(), block in 1usize..20, chunk in 0usize..40, pack in any::<bool>()) {
        let bytes = if pack { gzip(&text) } else { text };
        let whole = setup.read(&bytes);
        let pieces = Setup { sizes: Sizes { block, chunk }, ..setup }.read(&bytes);
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn records_and_line_ends_are_the_text(text in texts(), header in any::<bool>()) {
        let mut setup = Setup::pinned(b',');
        setup.choice.header = header;
        let read = setup.read(&text);
        let Ok(facts) = &read.end else { return Ok(()) };
        let mut left = &text[if facts.bom { 3 } else { 0 }..];
        let mut lines = 1;
        let header_raw = read.header.as_ref().map(|header| header.raw.as_bytes());
        let mut headers = 0;
        let mut blank = 0;
        let mut rows = read.rows.iter().peekable();
        while !left.is_empty() {
            let at = (text.len() - left.len()) as u64;
            let raw = match rows.next_if(|row| row.offset == at) {
                Some(row) => {
                    prop_assert_eq!(row.line, lines);
                    row.raw.as_bytes()
                }
                None if left[0] == b'\n' || left[0] == b'\r' => {
                    blank += 1;
                    b""
                }
                None => {
                    headers += 1;
                    let raw = header_raw.expect("what is no record is a header");
                    // The same labels, quoted otherwise or behind a mark.
                    let alone = left.strip_prefix(raw).is_some_and(|rest| rest.first().is_none_or(|byte| b"\r\n".contains(byte)));
                    if alone { raw } else { &left[..record_end(left)] }
                }
            };
            prop_assert!(left.starts_with(raw));
            left = &left[raw.len()..];
            lines += lines_in(raw);
            let end = if left.starts_with(b"\r\n") { 2 } else { left.len().min(1) };
            prop_assert!(left[..end].iter().all(|byte| b"\r\n".contains(byte)));
            lines += u64::from(end > 0);
            left = &left[end..];
        }
        prop_assert!(rows.next().is_none());
        prop_assert_eq!(blank, facts.blank_lines);
        prop_assert_eq!(headers, facts.repeated_headers + u64::from(header));
        prop_assert_eq!(facts.lines, lines - u64::from(facts.last_line_ended));
        prop_assert_eq!(facts.records, read.rows.len() as u64);
        prop_assert!(read.rows.iter().zip(1..).all(|(row, number)| row.number == number));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), setup in setups()) {
        setup.read(&bytes);
        setup.read(&[&[0x1F, 0x8B, 8, 0][..], &bytes].concat());
    }

    #[test]
    fn well_formed_files_read_as_the_csv_crate_reads_them(
        rows in vec(vec("[a-c\",;\r\n é😀]{0,6}", 3), 1..12),
        always in any::<bool>(),
        crlf in any::<bool>(),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|')],
    ) {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .quote_style(if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let mut setup = Setup::headless();
        setup.choice.delimiter = Some(char::from(delimiter).to_string());
        let read = setup.read(&text);
        prop_assert!(read.rows.iter().all(|row| row.faults.is_empty()));
        let mut peer = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(&text[..]);
        let theirs: Vec<Vec<String>> = peer.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        prop_assert_eq!(read.cells(), theirs.iter().map(|row| row.iter().map(String::as_str).collect()).collect::<Vec<Vec<_>>>());
        prop_assert_eq!(theirs, rows);
    }
}

/// Line ends in a text, as an editor counts them.
fn lines_in(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    text.matches(['\n', '\r']).count() as u64
}
