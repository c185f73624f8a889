//! Which form a file has, as far as the feed does not say.

use std::fmt::Write as _;

use memchr::memchr_iter;

use super::fault::FileFault;
use crate::dialect::Form;
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
pub(super) fn check_text(head: &[u8]) -> Result<(), FileFault> {
    let nuls = memchr_iter(0, head).count();
    if nuls < NULS_LEAST || nuls * 100 <= head.len() {
        return Ok(());
    }
    // The letters of Western texts are one byte of their two, in either order.
    let at_odd = head.iter().skip(1).step_by(2).filter(|&&byte| byte == 0).count();
    let order = match (at_odd, nuls - at_odd) {
        (odd, even) if odd >= 9 * even => Some(("little", "utf-16le")),
        (odd, even) if even >= 9 * odd => Some(("big", "utf-16be")),
        _ => None,
    };
    let fault = FileFault::new(Code::NotText, format!("{nuls} of the first {} bytes are NUL: this is not UTF-8 text.", head.len()));
    Err(match order {
        Some((order, name)) => fault.suggest(format!(
            "It looks like UTF-16 ({order}-endian) without a byte-order mark, as tracking extracts of Marketing Cloud are: set \
             dialect.encoding = \"{name}\", or export as UTF-8."
        )),
        None => fault.suggest("Export it as text; this may be a spreadsheet or another binary file."),
    })
}

/// A form and why it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    pub form: Form,
    pub evidence: String,
}

struct Candidate {
    delimiter: u8,
    /// Quotes inside quoted cells stand behind a backslash; the line of the first one.
    escaped: Option<usize>,
    /// Delimiters in the first record.
    count: usize,
    /// Records with the same count.
    agree: usize,
    /// Records whose quotes do not fit.
    broken: usize,
    records: usize,
}

impl Candidate {
    fn share(&self) -> f64 {
        self.agree as f64 / self.records as f64
    }

    fn evidence(&self) -> String {
        let (name, times) = (name(self.delimiter), times(self.count));
        let mut evidence = match (self.agree, self.records) {
            (_, 1) => format!("{name} {times} in the only record"),
            (agree, records) if agree == records => format!("{name} {times} in each of the first {records} records"),
            (agree, records) => format!("{name} {times} in {agree} of the first {records} records"),
        };
        if let Some(line) = self.escaped {
            let _ = write!(evidence, ", with a backslash before quotes inside quoted cells, first on line {line}");
        }
        evidence
    }
}

/// Guesses what is not known of a form from the start of a text: the delimiter where there is none in `known`, and with `detects` whether
/// quotes inside quoted cells stand behind a backslash. `whole` says that nothing follows; `line` is the text's first.
///
/// A candidate stands in the first record; the one whose count is the same in the following records wins. Two equally good candidates
/// are a fault of the file: a wrong guess would shift values between columns.
pub fn guess(head: &[u8], whole: bool, known: &Form, delimiter: Option<&str>, detects: bool, line: usize) -> Result<Guess, FileFault> {
    let best = |delimiter: u8| {
        let doubled = candidate(head, whole, delimiter, known, None);
        let looks = detects && known.quote.is_some() && doubled.as_ref().is_none_or(|doubled| doubled.broken > 0);
        let first = if looks { memchr::memmem::find(head, &[b'\\', known.quote_byte()]) } else { None };
        let Some(first) = first else { return doubled };
        let line = line + lines(&head[..first]);
        let behind = candidate(head, whole, delimiter, known, Some(line)).filter(|behind| behind.broken == 0);
        behind.or(doubled)
    };
    let made = |delimiter: &str, escaped: bool| Form {
        delimiter: delimiter.to_owned(),
        escape: if escaped { Some(b'\\') } else { known.escape },
        ..known.clone()
    };
    if let Some(delimiter) = delimiter {
        let escaped = match delimiter.as_bytes() {
            [byte] => best(*byte).filter(|candidate| candidate.escaped.is_some()),
            _ => None,
        };
        let evidence = escaped.as_ref().map(Candidate::evidence).unwrap_or_default();
        return Ok(Guess { form: made(delimiter, escaped.is_some()), evidence });
    }
    let mut candidates: Vec<Candidate> = DELIMITERS.into_iter().filter_map(best).filter(|candidate| candidate.count > 0).collect();
    candidates.sort_by(|one, other| other.share().total_cmp(&one.share()));
    let taken = |best: &Candidate, evidence: String| {
        let delimiter = char::from(best.delimiter);
        Ok(Guess { form: made(delimiter.encode_utf8(&mut [0; 4]), best.escaped.is_some()), evidence })
    };
    match &candidates[..] {
        [] => Ok(Guess { form: made(",", false), evidence: "no `,`, `;`, tab or `|` in the first record: one column".to_owned() }),
        [only] => taken(only, only.evidence()),
        [best, next, ..] if best.share() >= SURE && next.share() <= UNLIKELY => {
            taken(best, format!("{}; {}", best.evidence(), next.evidence()))
        }
        [best, next, ..] => {
            let message = format!("The delimiter is ambiguous: {}, but {}.", best.evidence(), next.evidence());
            Err(FileFault::new(Code::SourceError, message).suggest("Name it in the feed's dialect.delimiter."))
        }
    }
}

fn candidate(head: &[u8], whole: bool, delimiter: u8, known: &Form, escaped: Option<usize>) -> Option<Candidate> {
    let escape = if escaped.is_some() { Some(b'\\') } else { known.escape };
    let counts = counts(head, whole, delimiter, known, escape);
    let count = (*counts.first()?)?;
    let agree = counts.iter().filter(|&&other| other == Some(count)).count();
    let broken = counts.iter().filter(|other| other.is_none()).count();
    Some(Candidate { delimiter, escaped, count, agree, broken, records: counts.len() })
}

/// Delimiters outside quotes in each of the first records; none for a record whose quotes do not fit this delimiter. An unfinished last
/// record counts only when it is the first or the end of the file.
fn counts(head: &[u8], whole: bool, delimiter: u8, known: &Form, escape: Option<u8>) -> Vec<Option<usize>> {
    let mut counts = Vec::new();
    let quote = known.quote_byte();
    let comment = known.comment.as_deref().unwrap_or_default().as_bytes();
    let (mut count, mut stray, mut quoted) = (0, false, false);
    let mut start = 0;
    let mut at = 0;
    let mut cell_start = true;
    while at < head.len() && counts.len() < RECORDS {
        if at == start && !comment.is_empty() && head[at..].starts_with(comment) {
            at += head[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(head.len() - at, |end| end + 1);
            start = at;
            continue;
        }
        let byte = head[at];
        at += 1;
        if Some(byte) == escape {
            let takes = |next: u8| next == delimiter || next == quote || Some(next) == escape || matches!(next, b'\n' | b'\r');
            at += usize::from(head.get(at).is_some_and(|&next| takes(next)));
            cell_start = false;
            continue;
        }
        match byte {
            _ if quoted => match (byte, head.get(at)) {
                (byte, Some(&next)) if byte == quote && next == quote && escape.is_none() => at += 1,
                (byte, next) if byte == quote => {
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
            byte if byte == quote && cell_start => (quoted, cell_start) = (true, false),
            byte if byte == quote => stray = true,
            _ if byte == delimiter => {
                count += 1;
                cell_start = true;
            }
            b' ' if cell_start && known.skip_space => {}
            _ => cell_start = false,
        }
    }
    if at >= head.len() && start < head.len() && (counts.is_empty() || whole) {
        counts.push((!(stray || quoted && whole)).then_some(count));
    }
    counts
}

/// Line ends in a text.
fn lines(text: &[u8]) -> usize {
    memchr_iter(b'\n', text).count()
}

fn name(delimiter: u8) -> String {
    Form::shown(char::from(delimiter).encode_utf8(&mut [0; 4])).into_owned()
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}
