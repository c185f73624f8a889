//! How the file is written, where the plain reading does not do: other character sets, escapes, lines before and after the records.

use super::{Guess, look};
use crate::config::meant::{DialectChoice, Escape};
use crate::dialect::{Charset, Footer};
use crate::outcome::Code;
use crate::pipeline::decode::{DecodeError, FileFault, Opened};

/// Lines before the header that are looked behind.
const PREAMBLE_MAX: u64 = 8;

/// What was found, and as what the file was read for it.
pub struct Found {
    pub guess: Guess,
    pub choice: DialectChoice,
}

/// Reads the file as it is; then, where records are broken, in the other ways in which exporters write, and takes the one that breaks the
/// fewest. `open` gives a reader; `most` is the number of records looked at. The inner error is the file's.
pub fn find<'r>(
    first: &DialectChoice,
    most: u64,
    open: &dyn Fn(&DialectChoice) -> Result<Opened<'r>, DecodeError>,
) -> Result<Result<Found, FileFault>, DecodeError> {
    let read = |choice: &DialectChoice| -> Result<Result<Guess, FileFault>, DecodeError> {
        match open(choice).and_then(|reader| look(reader, most)) {
            Ok(guess) => Ok(Ok(guess)),
            Err(DecodeError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(error),
        }
    };
    let mut choice = first.clone();
    let mut result = read(&choice)?;
    let mut notes: Vec<String> = Vec::new();
    if let Err(fault) = &result
        && first.charset.is_none()
        && matches!(fault.code, Code::EncodingError | Code::NotText)
    {
        // Sets in which nearly any bytes are letters prove nothing by being readable, so one of them is tried alone.
        for charset in [Charset::UTF_16LE, Charset::UTF_16BE, Charset::WINDOWS_1252] {
            let other = DialectChoice { charset: Some(charset), ..first.clone() };
            if let Ok(guess) = read(&other)?
                && guess.columns.len() > 1
            {
                notes.push(format!(
                    "the file is not UTF-8 and was read as {}: look whether names with accents come out right, or name another set",
                    charset.name()
                ));
                (choice, result) = (other, Ok(guess));
                break;
            }
        }
    }
    let mut way = None;
    // Escapes and quotes may both be wrong, and one of them put right mends a part: the way that breaks fewest records is taken.
    for (other, note) in others(&choice) {
        if broken(&result) == 0 {
            break;
        }
        let guess = read(&other)?;
        if broken(&guess) < broken(&result) && guess.as_ref().is_ok_and(|guess| guess.columns.len() > 1) {
            (choice, result, way) = (other, guess, Some(note));
        }
    }
    notes.extend(way.map(ToOwned::to_owned));
    if choice.preamble == 0
        && let Some((other, guess)) = behind_preamble(&choice, &result, &read)?
    {
        notes.push(format!("{} before the header: they are passed over (dialect.preamble)", lines(other.preamble)));
        (choice, result) = (other, Ok(guess));
    }
    if let Ok(guess) = &result
        && let Some(footer) = footer(guess)
    {
        let other = DialectChoice { footer: Some(footer.clone()), ..choice.clone() };
        let with = read(&other)?;
        if broken(&with) < broken(&result) {
            notes.push("the last line is no record: it is checked and left out (dialect.footer)".to_owned());
            (choice, result) = (other, with);
        }
    }
    if choice.header
        && let Some(why) = result.as_ref().ok().and_then(Guess::header_is_data)
    {
        let other = DialectChoice { header: false, ..choice.clone() };
        let without = read(&other)?;
        if broken(&without) <= broken(&result) {
            notes.push(why);
            (choice, result) = (other, without);
        }
    }
    Ok(result.map(|mut guess| {
        guess.notes.extend(notes);
        Found { guess, choice }
    }))
}

fn broken(result: &Result<Guess, FileFault>) -> u64 {
    result.as_ref().map_or(u64::MAX, |guess| guess.broken)
}

/// The ways to write that the start of a file does not show by itself.
fn others(choice: &DialectChoice) -> Vec<(DialectChoice, &'static str)> {
    let by_backslash = "a backslash takes its meaning from the sign after it (dialect.escape)";
    vec![
        (DialectChoice { escape: Escape::By(b'\\'), ..choice.clone() }, by_backslash),
        (DialectChoice { quote: None, escape: Escape::By(b'\\'), ..choice.clone() }, by_backslash),
        (DialectChoice { quote: None, ..choice.clone() }, "nothing is quoted: quotes are part of the cells (dialect.quote = \"none\")"),
    ]
}

type Read<'r> = dyn Fn(&DialectChoice) -> Result<Result<Guess, FileFault>, DecodeError> + 'r;

/// A title and an empty line stand before many tables that people made.
fn behind_preamble(
    choice: &DialectChoice,
    plain: &Result<Guess, FileFault>,
    read: &Read<'_>,
) -> Result<Option<(DialectChoice, Guess)>, DecodeError> {
    let odd = |guess: &Guess| guess.columns.len() < 2 || guess.broken * 2 > guess.records;
    if !plain.as_ref().map_or(true, odd) {
        return Ok(None);
    }
    for preamble in 1..=PREAMBLE_MAX {
        let other = DialectChoice { preamble, ..choice.clone() };
        if let Ok(guess) = read(&other)?
            && !odd(&guess)
            && guess.records > guess.broken
        {
            return Ok(Some((other, guess)));
        }
    }
    Ok(None)
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line stands".to_owned() } else { format!("{count} lines stand") }
}

/// The last line as a footer, when it is broken as a record: what of it is the number of records, and what is text.
fn footer(guess: &Guess) -> Option<Footer> {
    let last = guess.last_broken.as_deref()?;
    let records = guess.records - 1;
    let mut source = String::new();
    let mut digits = String::new();
    let mut counted = false;
    let mut flush = |digits: &mut String, source: &mut String| {
        if digits.is_empty() {
            return;
        }
        let number: Option<u64> = digits.parse().ok();
        let word = [(records, "{count}"), (records + 1, "{count+header}"), (records + 2, "{count+header+footer}")]
            .into_iter()
            .find(|(count, _)| number == Some(*count) && !counted)
            .map(|(_, word)| word);
        counted |= word.is_some();
        source.push_str(word.unwrap_or("{}"));
        digits.clear();
    };
    for letter in last.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
        } else {
            flush(&mut digits, &mut source);
            source.push(letter);
        }
    }
    flush(&mut digits, &mut source);
    Footer::parse(&source).ok()
}
