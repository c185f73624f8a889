//! Delivered bytes into records, against a reader that is slow and obviously right.
//!
//! Three characters say how the file is read, the file follows. Their low bits count, so that inputs stay readable:
//! delimiter (0 to 2) and no header (3); strict about blank lines (0), narrow limits (1), compress first (2), block size (3 to 5);
//! chunk size (0 to 5).

use std::borrow::Cow;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use passferry::config::meant::{DialectChoice, Escape, Limits};
use passferry::outcome::Code;
use passferry::pipeline::decode::{DecodeError, Dialect, Facts, FileFault, Header, Reader, Sizes, split_cells};

use super::csv::{self, Piece};
use super::with_scratch;

const BLOCKS: [usize; 8] = [1, 2, 3, 7, 16, 64, 256, 4096];
const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Of a record that is too long, so many bytes are shown.
const SHOWN: usize = 4096;
const NUL_HEAD: usize = 64 << 10;
/// What other containers than gzip begin with, and other files than text. Only that pieces change nothing is looked at in them.
const CONTAINERS: [&[u8]; 10] =
    [b"PK", b"BZh", b"(\xB5/\xFD", b"\x04\"M\x18", b"7z\xBC\xAF", b"Rar!", b"PAR1", b"Obj\x01", b"ORC", b"%PDF-"];

struct Setup {
    choice: DialectChoice,
    limits: Limits,
    sizes: Sizes,
    strict: bool,
}

/// What the reader says of a file.
#[derive(Debug, PartialEq)]
struct Told {
    dialect: Option<Dialect>,
    header: Option<Header>,
    rows: Vec<Row>,
    end: Result<Facts, FileFault>,
}

#[derive(Debug, PartialEq)]
struct Row {
    number: u64,
    line: u64,
    offset: u64,
    raw: String,
    cells: Vec<String>,
    quoted: Vec<bool>,
    faults: Vec<(Code, Option<u32>)>,
}

pub fn target(data: &[u8]) {
    let [form, extras, chunk, file @ ..] = data else { return };
    if file.len() > 64 << 10 {
        return;
    }
    let strict = extras & 1 != 0;
    let narrow = Limits { record: 24, cell: 9, cells: 4, ..Limits::default() };
    let setup = Setup {
        choice: DialectChoice {
            delimiter: [None, Some(","), Some(";"), Some("\t"), Some("|"), Some(" "), Some("'"), Some("a")][usize::from(form & 7)]
                .map(str::to_owned),
            header: form & 8 == 0,
            blank_lines_strict: strict,
            // The reader that this one is compared with knows the form of RFC 4180 alone.
            escape: Escape::Doubled,
            ..DialectChoice::default()
        },
        limits: if extras & 2 != 0 { narrow } else { Limits::default() },
        sizes: Sizes { block: BLOCKS[usize::from(extras >> 3 & 7)], chunk: usize::from(chunk & 63) * 8 },
        strict,
    };
    let packed;
    let delivered = if extras & 4 != 0 {
        packed = gzip(file);
        &packed
    } else {
        file
    };
    let told = with_scratch(|folder| setup.read(folder, delivered));
    setup.check(delivered, &told);
    let damaged = matches!(&told.end, Err(fault) if fault.code == Code::CompressionError);
    if told.end.is_err() && !damaged {
        // A fault may depend on what was read with it; it must not depend on how much of that came at a time.
        let whole = Setup { sizes: Sizes::default(), ..setup };
        let again = with_scratch(|folder| whole.read(folder, delivered));
        assert_eq!(told, again, "the size of pieces changed what is said");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

impl Setup {
    fn read(&self, folder: &Path, bytes: &[u8]) -> Told {
        let (spool, text): (PathBuf, PathBuf) = (folder.join("spool"), folder.join("text"));
        fs::write(&spool, bytes).expect("the scratch folder takes it");
        let mut told =
            Told { dialect: None, header: None, rows: Vec::new(), end: Err(fault_of(std::io::Error::other("never opened").into(), true)) };
        let mut reader = match Reader::open_with(&spool, &text, &self.choice, &self.limits, self.sizes) {
            Ok(reader) => reader,
            Err(error) => {
                told.end = Err(fault_of(error, false));
                return told;
            }
        };
        told.dialect = Some(reader.dialect().clone());
        told.header = reader.header().cloned();
        let end = loop {
            match reader.next_chunk() {
                Ok(Some(chunk)) => Setup::take(&chunk, reader.dialect(), &mut told.rows),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        told.end = end.map(|()| reader.finish()).map_err(|error| fault_of(error, false));
        told
    }

    fn take(chunk: &passferry::pipeline::decode::Chunk, dialect: &Dialect, rows: &mut Vec<Row>) {
        assert_ne!(chunk.len(), 0, "a chunk holds something");
        let (mut splitter, mut together, mut again) = (chunk.splitter(), Vec::new(), Vec::new());
        for record in chunk.records() {
            let mut cells: Vec<Cow<'_, str>> = Vec::new();
            record.cells(&mut cells);
            record.cells_by(&mut splitter, &mut together);
            split_cells(record.raw, dialect, &mut again);
            assert_eq!(together, cells, "two ways to split a record");
            assert_eq!(again, cells, "two ways to split a record");
            rows.push(Row {
                number: record.number,
                line: record.line,
                offset: record.offset,
                raw: record.raw.to_owned(),
                quoted: (0..cells.len()).map(|index| record.was_literal(index)).collect(),
                cells: cells.into_iter().map(Cow::into_owned).collect(),
                faults: record.faults.iter().map(|fault| (fault.code, fault.column)).collect(),
            });
        }
    }

    fn check(&self, delivered: &[u8], told: &Told) {
        let compressed = delivered.starts_with(b"\x1F\x8B");
        let mut decoded = Vec::new();
        let damaged = compressed && MultiGzDecoder::new(delivered).read_to_end(&mut decoded).is_err();
        if !compressed {
            decoded = delivered.to_vec();
        }
        if decoded.len() > 1 << 20 {
            return;
        }
        let code = told.end.as_ref().err().map(|fault| fault.code);
        if looks_packed(&decoded) {
            return;
        }
        let mut bad_unit = None;
        if let Some(big) = [b"\xFF\xFE", b"\xFE\xFF"].iter().position(|mark| decoded.starts_with(*mark))
            && !decoded.starts_with(b"\xFF\xFE\0\0")
        {
            (decoded, bad_unit) = from_utf_16(&decoded, big == 1);
        }
        if damaged {
            assert!(code.is_some(), "a damaged container is not read to a good end");
        } else if let Some(refused) = refusal(&decoded) {
            assert_eq!(code, Some(refused), "{told:?}");
            assert!(told.rows.is_empty());
            return;
        }
        let bom = decoded.starts_with(BOM);
        let skipped = if bom { BOM.len() } else { 0 };
        let text = &decoded[skipped..];
        if text.iter().all(|byte| b"\r\n".contains(byte)) && !damaged && bad_unit.is_none() {
            assert_eq!(code, Some(Code::SourceError), "nothing but blank lines is no file");
            return;
        }
        if names_its_delimiter(text) {
            return;
        }
        let bad_byte = bad_unit.or_else(|| std::str::from_utf8(text).err().map(|error| skipped + error.valid_up_to()));
        let Some(dialect) = &told.dialect else { return self.check_unopened(text, damaged, bad_byte.is_some(), told) };
        let pieces = csv::read(text, dialect.form.delimiter.as_bytes()[0], &self.limits);
        let mut expected = Expected {
            setup: self,
            text,
            skipped,
            header: None,
            delimiter: dialect.form.delimiter.as_bytes()[0],
            rows: Vec::new(),
            blank: 0,
            repeated: 0,
            fatal: None,
        };
        expected.take(&pieces);
        if let (Some(header), Some((raw, _))) = (&told.header, &expected.header) {
            assert_eq!(header.raw.as_bytes(), *raw);
        }
        assert!(told.rows.len() <= expected.rows.len() || damaged || bad_byte.is_some(), "rows out of nothing: {told:?}");
        for (row, (wanted, piece)) in told.rows.iter().zip(&expected.rows) {
            assert_eq!((row.number, row.line, row.offset), (wanted.number, wanted.line, wanted.offset), "{told:?}");
            assert_eq!(row.raw, wanted.raw, "{told:?}");
            same_faults(row, wanted, *piece);
        }
        match (&told.end, damaged, bad_byte, expected.fatal) {
            (Ok(facts), false, None, None) => {
                assert_eq!(told.rows.len(), expected.rows.len(), "every record is handed out");
                expected.check_facts(facts, &decoded, compressed, bom);
            }
            (Ok(_), ..) => panic!("a bad file came to a good end: {told:?}"),
            (Err(fault), true, _, _) => assert!(
                matches!(fault.code, Code::CompressionError | Code::EncodingError | Code::CellTooLong),
                "a damaged container is told: {fault}"
            ),
            (Err(fault), false, Some(at), fatal) => {
                assert!(
                    fault.code == Code::EncodingError || fatal.is_some_and(|code| code == fault.code && code == Code::CellTooLong),
                    "{fault}"
                );
                if fault.code == Code::EncodingError {
                    assert_eq!(fault.offset, Some(at as u64), "the first byte that is no letter is named");
                }
            }
            (Err(fault), false, None, fatal) => assert_eq!(Some(fault.code), fatal, "{fault}"),
        }
    }

    /// The file was refused before its first record: its delimiter is not known, or its header is bad.
    fn check_unopened(&self, text: &[u8], damaged: bool, bad: bool, told: &Told) {
        let Err(fault) = &told.end else { panic!("never opened and yet read") };
        assert!(told.rows.is_empty());
        match (fault.code, self.choice.delimiter.as_ref().map(|delimiter| delimiter.as_bytes()[0])) {
            (Code::CompressionError, _) => assert!(damaged, "{fault}"),
            (Code::EncodingError, _) => assert!(bad, "{fault}"),
            (Code::SourceError, None) => {}
            (code, Some(delimiter)) => {
                let pieces = csv::read(text, delimiter, &self.limits);
                let first = pieces.iter().find(|piece| !matches!(piece, Piece::Blank { .. }));
                let wanted = match first {
                    Some(Piece::Fatal(code)) => Some(*code),
                    Some(Piece::Record(record)) => self.form(text, record).1.first().map(|(code, _)| *code),
                    _ => None,
                };
                assert_eq!(Some(code), wanted, "the header is refused for what is wrong with it: {fault}");
            }
            (code, None) => assert!(
                matches!(
                    code,
                    Code::StrayQuote
                        | Code::NulByte
                        | Code::RecordTooLong
                        | Code::TooManyCells
                        | Code::CellTooLong
                        | Code::UnterminatedQuote
                ),
                "{fault}"
            ),
        }
    }

    /// What is shown of a record, and its faults of form.
    fn form<'t>(&self, text: &'t [u8], record: &csv::Record) -> (&'t [u8], Vec<(Code, Option<u32>)>) {
        let raw = &text[record.start..record.end];
        let column = |index: usize| Some(index as u32);
        if raw.len() > self.limits.record {
            let mut shown = SHOWN.min(self.limits.record);
            while shown > 0 && raw[shown] & 0xC0 == 0x80 {
                shown -= 1;
            }
            return (&raw[..shown], vec![(Code::RecordTooLong, None)]);
        }
        let mut faults = Vec::new();
        if let Some(cell) = record.stray {
            faults.push((Code::StrayQuote, column(cell)));
            return (raw, faults);
        }
        if let Some(at) = raw.iter().position(|byte| *byte == 0) {
            let cell = record.cells.iter().rposition(|cell| cell.start <= record.start + at);
            faults.push((Code::NulByte, cell.and_then(column)));
        }
        if record.cells.len() > self.limits.cells {
            faults.push((Code::TooManyCells, None));
        }
        if let Some(cell) = record.cells.iter().position(|cell| !cell.quoted && cell.bytes.len() > self.limits.cell) {
            faults.push((Code::CellTooLong, column(cell)));
        }
        (raw, faults)
    }
}

/// Such a line is passed over, which the slow reader knows nothing of.
fn names_its_delimiter(text: &[u8]) -> bool {
    let first = text.trim_ascii_start();
    let first = first.strip_prefix(b"\"").unwrap_or(first);
    first.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"sep="))
}

fn looks_packed(bytes: &[u8]) -> bool {
    let mark = [BOM, b"\xFF\xFE", b"\xFE\xFF"].iter().any(|mark| bytes.starts_with(mark));
    CONTAINERS.iter().any(|magic| bytes.starts_with(magic))
        || bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP")
        || matches!(bytes, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] | [0x1F, 0x8B, ..] | [0x78, 0x01 | 0x9C | 0xDA, ..])
        // Messages of OpenPGP, and others that begin with no letter.
        || (!mark && matches!(bytes, [0x80..=0xFF, ..]))
}

/// Why decoded bytes are no text at all.
fn refusal(decoded: &[u8]) -> Option<Code> {
    let head = &decoded[..decoded.len().min(NUL_HEAD)];
    let nuls = memchr::memchr_iter(0, head).count();
    if head.starts_with(b"\xFF\xFE\0\0") || head.starts_with(b"\0\0\xFE\xFF") {
        Some(Code::EncodingError)
    } else if nuls >= 16 && nuls * 100 > head.len() {
        Some(Code::NotText)
    } else {
        None
    }
}

/// The text as UTF-8, up to the first bytes that are no letter, and where these stand. The mark becomes the one of UTF-8.
fn from_utf_16(bytes: &[u8], big: bool) -> (Vec<u8>, Option<usize>) {
    let (units, rest) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| if big { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) });
    let (mut text, mut at) = (String::new(), 0);
    for letter in char::decode_utf16(units) {
        let Ok(letter) = letter else { return (text.into_bytes(), Some(at)) };
        text.push(letter);
        at += letter.len_utf16() * 2;
    }
    (text.into_bytes(), (!rest.is_empty()).then_some(at))
}

struct Wanted {
    number: u64,
    line: u64,
    offset: u64,
    raw: String,
    faults: Vec<(Code, Option<u32>)>,
}

struct Expected<'a> {
    setup: &'a Setup,
    text: &'a [u8],
    /// Bytes of the byte-order mark.
    skipped: usize,
    /// As written, and its labels.
    header: Option<(&'a [u8], &'a csv::Record)>,
    delimiter: u8,
    rows: Vec<(Wanted, Option<&'a csv::Record>)>,
    blank: u64,
    repeated: u64,
    fatal: Option<Code>,
}

impl<'a> Expected<'a> {
    fn take(&mut self, pieces: &'a [Piece]) {
        let mut begun = false;
        for piece in pieces {
            match piece {
                Piece::Fatal(code) => self.fatal = Some(*code),
                Piece::Blank { line, start } if begun && self.setup.strict => {
                    self.push(*line, *start, b"", vec![(Code::BlankRow, None)], None);
                }
                Piece::Blank { .. } => self.blank += 1,
                Piece::Record(record) => {
                    let (raw, faults) = self.setup.form(self.text, record);
                    let overlong = faults.first().is_some_and(|(code, _)| *code == Code::RecordTooLong);
                    if !begun && self.setup.choice.header {
                        self.header = Some((raw, record));
                    } else if !overlong && self.header.is_some_and(|header| repeats(header, raw, self.delimiter)) {
                        self.repeated += 1;
                    } else {
                        self.push(record.line, record.start, raw, faults, Some(record));
                    }
                }
            }
            begun |= !matches!(piece, Piece::Blank { .. });
        }
    }

    fn push(&mut self, line: u64, start: usize, raw: &[u8], faults: Vec<(Code, Option<u32>)>, record: Option<&'a csv::Record>) {
        let wanted = Wanted {
            number: self.rows.len() as u64 + 1,
            line,
            offset: (self.skipped + start) as u64,
            raw: String::from_utf8_lossy(raw).into_owned(),
            faults,
        };
        self.rows.push((wanted, record));
    }

    fn check_facts(&self, facts: &Facts, decoded: &[u8], compressed: bool, bom: bool) {
        let lines = csv::lines(self.text);
        let ended = self.text.last().is_some_and(|byte| b"\r\n".contains(byte));
        assert_eq!(facts.records, self.rows.len() as u64);
        assert_eq!((facts.blank_lines, facts.repeated_headers), (self.blank, self.repeated));
        assert_eq!((facts.bytes, facts.compressed, facts.bom), (decoded.len() as u64, compressed, bom));
        assert_eq!((facts.line_ends.lf, facts.line_ends.crlf, facts.line_ends.cr), (lines.lf, lines.crlf, lines.cr));
        assert_eq!(facts.last_line_ended, ended);
        assert_eq!(facts.lines, lines.lf + lines.crlf + lines.cr + u64::from(!ended));
    }
}

/// Is the record the header once more, as joined files have it: with a byte-order mark again, or quoted otherwise?
fn repeats((header, labels): (&[u8], &csv::Record), raw: &[u8], delimiter: u8) -> bool {
    let raw = raw.strip_prefix(BOM).unwrap_or(raw);
    let wide = Limits::default();
    let same = |record: &csv::Record| {
        let cells = |record: &csv::Record| record.cells.iter().map(|cell| cell.bytes.clone()).collect::<Vec<_>>();
        record.stray.is_none() && record.end == raw.len() && cells(record) == cells(labels)
    };
    raw == header || matches!(&csv::read(raw, delimiter, &wide)[..], [Piece::Record(record)] if same(record))
}

fn same_faults(row: &Row, wanted: &Wanted, record: Option<&csv::Record>) {
    match wanted.faults.first() {
        // Past the first fault such a record is only shown.
        Some((Code::RecordTooLong | Code::StrayQuote, _)) => assert_eq!(row.faults.first(), wanted.faults.first(), "{row:?}"),
        Some((Code::BlankRow, _)) => assert_eq!(row.faults, wanted.faults),
        _ => {
            assert_eq!(row.faults, wanted.faults, "{row:?}");
            let Some(record) = record else { return };
            let cells: Vec<Cow<'_, str>> = record.cells.iter().map(|cell| String::from_utf8_lossy(&cell.bytes)).collect();
            assert_eq!(row.cells, cells, "{row:?}");
            let quoted: Vec<bool> = record.cells.iter().map(|cell| cell.quoted).collect();
            assert_eq!(row.quoted, quoted, "{row:?}");
        }
    }
}

fn fault_of(error: DecodeError, placeholder: bool) -> FileFault {
    match error {
        DecodeError::Fault(fault) => fault,
        DecodeError::Io(error) => {
            assert!(placeholder, "the scratch disk failed: {error}");
            FileFault { code: Code::SourceError, line: None, column: None, offset: None, message: String::new(), suggestion: None }
        }
    }
}
