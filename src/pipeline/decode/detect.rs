//! Which delimiter a file uses.

use memchr::memchr_iter;

use super::fault::{FileFault, Place};
use super::input::GZIP_MAGIC;
use crate::outcome::Code;

/// Those looked for, in this order of preference for evidence.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// With fewer NULs than this, however short the file, each is a fault of its record (or of the header).
const NULS_LEAST: usize = 16;

/// Records looked at.
const RECORDS: usize = 100;

/// A candidate whose count agrees in at least this share of the records may win over others …
const SURE: f64 = 0.9;
/// … that agree in at most this share.
const UNLIKELY: f64 = 0.5;

/// Refuses what is not text, by the start of the decoded bytes.
pub(super) fn check_text(head: &[u8], compressed: bool) -> Result<(), FileFault> {
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return Err(FileFault::new(Code::EncodingError, "The file is UTF-16: it starts with that byte-order mark.")
            .at(Place::at_line(1), 0)
            .suggest("Export the file as UTF-8."));
    }
    if compressed && head.starts_with(&GZIP_MAGIC) {
        return Err(FileFault::new(Code::CompressionError, "The file is compressed twice: there is another gzip file in it.")
            .suggest("Compress it once."));
    }
    if head.starts_with(b"PK\x03\x04") {
        return Err(FileFault::new(Code::NotText, "The file is a ZIP archive or a spreadsheet, not text.")
            .suggest("Export it as CSV, plain or compressed with gzip."));
    }
    let nuls = memchr_iter(0, head).count();
    if nuls >= NULS_LEAST && nuls * 100 > head.len() {
        return Err(FileFault::new(Code::NotText, format!("{nuls} of the first {} bytes are NUL: this is not UTF-8 text.", head.len()))
            .suggest("It may be UTF-16, or a spreadsheet. Export it as UTF-8 text."));
    }
    Ok(())
}

/// A delimiter and why it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    pub delimiter: u8,
    pub evidence: String,
}

struct Candidate {
    delimiter: u8,
    /// Delimiters in the first record.
    count: usize,
    /// Records with the same count.
    agree: usize,
    records: usize,
}

impl Candidate {
    fn share(&self) -> f64 {
        self.agree as f64 / self.records as f64
    }

    fn evidence(&self) -> String {
        let (name, times) = (name(self.delimiter), times(self.count));
        match (self.agree, self.records) {
            (_, 1) => format!("{name} {times} in the only record"),
            (agree, records) if agree == records => format!("{name} {times} in each of the first {records} records"),
            (agree, records) => format!("{name} {times} in {agree} of the first {records} records"),
        }
    }
}

/// Guesses the delimiter from the start of a text. `whole` says that nothing follows.
///
/// A candidate stands in the first record; the one whose count is the same in the following records wins. Two equally good candidates
/// are a fault of the file: a wrong guess would shift values between columns.
pub fn guess(head: &[u8], whole: bool) -> Result<Guess, FileFault> {
    let mut candidates: Vec<Candidate> = DELIMITERS.into_iter().filter_map(|delimiter| candidate(head, whole, delimiter)).collect();
    candidates.sort_by(|one, other| other.share().total_cmp(&one.share()));
    match &candidates[..] {
        [] => Ok(Guess { delimiter: b',', evidence: "no `,`, `;`, tab or `|` in the first record: one column".to_owned() }),
        [only] => Ok(Guess { delimiter: only.delimiter, evidence: only.evidence() }),
        [best, next, ..] if best.share() >= SURE && next.share() <= UNLIKELY => {
            Ok(Guess { delimiter: best.delimiter, evidence: format!("{}; {}", best.evidence(), next.evidence()) })
        }
        [best, next, ..] => {
            let message = format!("The delimiter is ambiguous: {}, but {}.", best.evidence(), next.evidence());
            Err(FileFault::new(Code::SourceError, message).suggest("Name it in the feed's dialect.delimiter."))
        }
    }
}

fn candidate(head: &[u8], whole: bool, delimiter: u8) -> Option<Candidate> {
    let counts = counts(head, whole, delimiter);
    let count = (*counts.first()?)?;
    let agree = counts.iter().filter(|&&other| other == Some(count)).count();
    (count > 0).then_some(Candidate { delimiter, count, agree, records: counts.len() })
}

/// Delimiters outside quotes in each of the first records; none for a record whose quotes do not fit this delimiter. An unfinished last
/// record counts only when it is the first or the end of the file.
fn counts(head: &[u8], whole: bool, delimiter: u8) -> Vec<Option<usize>> {
    let mut counts = Vec::new();
    let (mut count, mut stray, mut quoted) = (0, false, false);
    let mut start = 0;
    let mut at = 0;
    let mut cell_start = true;
    while at < head.len() && counts.len() < RECORDS {
        let byte = head[at];
        at += 1;
        match byte {
            _ if quoted => match (byte, head.get(at)) {
                (b'"', Some(b'"')) => at += 1,
                (b'"', next) => {
                    quoted = false;
                    stray |= next.is_some_and(|&next| next != delimiter && next != b'\n' && next != b'\r');
                }
                _ => {}
            },
            b'\n' | b'\r' => {
                if at - 1 > start {
                    counts.push((!stray).then_some(count));
                }
                (count, stray, start, cell_start) = (0, false, at, true);
            }
            b'"' if cell_start => (quoted, cell_start) = (true, false),
            b'"' => stray = true,
            _ if byte == delimiter => {
                count += 1;
                cell_start = true;
            }
            _ => cell_start = false,
        }
    }
    if at == head.len() && start < at && (counts.is_empty() || whole) {
        counts.push((!(stray || quoted && whole)).then_some(count));
    }
    counts
}

fn name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        other => format!("`{}`", char::from(other)),
    }
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}
