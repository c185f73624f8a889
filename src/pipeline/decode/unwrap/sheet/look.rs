//! What a workbook's cell shows against what it holds (ECMA-376 part 1, section 18.8.31: number formats).
//!
//! The value is read, in full. Where a format shows the same number otherwise (thousands, fixed decimals, a currency) that loses nothing.
//! Three kinds of format say something of their own: zeros before a number belong to it, a percent sign stays with its number, and where a
//! person sees another number than is there, or none, the cell is a problem of its row.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use rust_decimal::Decimal;

/// What cells show whose formula has no value.
pub(in crate::pipeline::decode) const FORMULA_ERRORS: [&str; 8] =
    ["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#DATA!"];

/// What stands before the value of a cell that shows something else.
pub(in crate::pipeline::decode) const OTHERWISE: &str = "#LOOK!";

/// What a person should know of numbers that are read in full and were shown otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Note {
    /// Fewer digits than there are.
    Rounded,
    /// Nothing in place of a zero.
    ZeroHidden,
    /// Letters beside the number.
    Lettered,
}

/// How many cells of each kind there were, and where the first one stands.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<Note, (String, u64)>);

impl Notes {
    pub fn add(&mut self, note: Note, place: impl FnOnce() -> String) {
        self.0.entry(note).or_insert_with(|| (place(), 0)).1 += 1;
    }

    pub fn told(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(note, (place, count))| {
            let what = match note {
                Note::Rounded => "show fewer digits than they hold: all digits are read",
                Note::ZeroHidden => "hold a zero and show nothing: 0 is read",
                Note::Lettered => "show letters beside their number: the number alone is read",
            };
            format!("cells of the workbook {what} (first {place}, {count} in all)")
        })
    }
}

/// One of the parts of a format, between its semicolons.
struct Section {
    /// Without what stands in quotes or brackets, or only makes room.
    plain: String,
    /// Something in quotes has letters.
    letters: bool,
}

impl Section {
    fn digits(&self) -> usize {
        self.plain.bytes().filter(|byte| is_digit(*byte)).count()
    }

    fn is_general(&self) -> bool {
        self.plain.trim().is_empty() && !self.letters || self.plain.to_ascii_lowercase().contains("general")
    }

    fn is_number(&self) -> bool {
        self.digits() > 0
    }

    /// Commas behind the last digit of the whole part, or of all, divide by a thousand each.
    fn is_scaled(&self) -> bool {
        let whole = self.plain.split('.').next().unwrap_or_default();
        [whole, &self.plain].iter().any(|part| {
            let last = part.bytes().rposition(is_digit);
            last.is_some_and(|last| part.as_bytes().get(last + 1) == Some(&b','))
        })
    }

    fn percents(&self) -> u32 {
        self.plain.matches('%').count() as u32
    }

    /// Digits behind the point; none where the form is not a plain one.
    fn decimals(&self) -> Option<usize> {
        if self.is_general() || self.plain.contains(['E', 'e', '/']) {
            return None;
        }
        Some(self.plain.split_once('.').map_or(0, |(_, decimals)| decimals.bytes().filter(|byte| is_digit(*byte)).count()))
    }
}

/// Places of digits in a format.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0' | b'#' | b'?')
}

fn sections(format: &str) -> Vec<Section> {
    let mut all = vec![Section { plain: String::new(), letters: false }];
    let mut signs = format.chars();
    while let Some(sign) = signs.next() {
        let Some(here) = all.last_mut() else { break };
        match sign {
            ';' => all.push(Section { plain: String::new(), letters: false }),
            '"' => {
                let quoted = signs.by_ref().take_while(|sign| *sign != '"');
                // Counted, so that all of it is taken.
                here.letters |= quoted.filter(|sign| sign.is_alphabetic()).count() > 0;
            }
            '\\' => here.letters |= signs.next().is_some_and(char::is_alphabetic),
            // Room as wide as the next sign, or filled with it.
            '_' | '*' => drop(signs.next()),
            '[' => drop(signs.by_ref().take_while(|sign| *sign != ']').count()),
            sign => here.plain.push(sign),
        }
    }
    all
}

/// The part of the format that a number is shown by.
fn section_for(sections: &[Section], is_negative: bool, is_zero: bool) -> Option<&Section> {
    match sections {
        [_, negative, ..] if is_negative => Some(negative),
        [_, _, zero, ..] if is_zero => Some(zero),
        sections => sections.first(),
    }
}

/// The text of a cell that holds a number, by its digits in full, and what to note of it.
pub(super) fn number(digits: String, format: &str) -> (String, Option<Note>) {
    if format.is_empty() || format == "General" || format == "@" {
        return (digits, None);
    }
    if format.bytes().all(|byte| byte == b'0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return (format!("{digits:0>width$}", width = format.len()), None);
    }
    let otherwise = |digits: &str| (format!("{OTHERWISE} {digits}"), None);
    let sections = sections(format);
    let is_zero = !digits.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let Some(section) = section_for(&sections, digits.starts_with('-') && !is_zero, is_zero) else { return (digits, None) };
    // Text in place of every number is shown for that number too.
    let shows_it = section.is_number() || section.plain.contains('@') || (section.is_general() && sections.len() == 1);
    if !shows_it {
        let names_general = section.plain.to_ascii_lowercase().contains("general");
        return match (names_general, is_zero && !section.letters) {
            (true, _) => (digits, section.letters.then_some(Note::Lettered)),
            (_, true) => (digits, Some(Note::ZeroHidden)),
            _ => otherwise(&digits),
        };
    }
    if section.is_scaled() {
        return otherwise(&digits);
    }
    if section.percents() > 0 {
        let times = Decimal::from(100_u64.saturating_pow(section.percents()));
        // One in the exponent form has lost digits already.
        let exact = Decimal::from_str(&digits).ok().filter(|_| !digits.contains('E'));
        let shown = exact.and_then(|number| number.checked_mul(times));
        let signs = "%".repeat(section.percents() as usize);
        return shown.map_or_else(|| otherwise(&digits), |number| (format!("{}{signs}", number.normalize()), None));
    }
    let held = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let note =
        if section.decimals().is_some_and(|shown| shown < held) { Some(Note::Rounded) } else { section.letters.then_some(Note::Lettered) };
    (digits, note)
}

/// The text of a cell that holds text.
pub(super) fn text(held: &str, format: &str) -> String {
    // The fourth part is for text; without a part of its own text is shown as it is.
    let hides = format.contains(';') && sections(format).get(3).is_some_and(|section| !section.plain.contains('@'));
    if hides && !held.trim().is_empty() { format!("{OTHERWISE} {held}") } else { held.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_full_and_told_where_it_is_shown_otherwise() {
        for (digits, format, text, note) in [
            ("1250", "General", "1250", None),
            ("1250", "", "1250", None),
            ("123", "000000", "000123", None),
            ("1250.5", "#,##0.00", "1250.5", None),
            ("1250.5", "#,##0", "1250.5", Some(Note::Rounded)),
            ("-1250.5", "_-* #,##0.00\\ \"€\"_-;\\-* #,##0.00\\ \"€\"_-;_-* \"-\"??\\ \"€\"_-;_-@_-", "-1250.5", None),
            ("0", "_-* #,##0.00_-;\\-* #,##0.00_-;_-* \"-\"??_-;_-@_-", "0", None),
            ("12.5", "[$€-407]\\ #,##0.00", "12.5", None),
            ("0.5", "0%", "50%", None),
            ("0.07", "0.00%", "7%", None),
            ("-0.125", "0%;[Red]-0%", "-12.5%", None),
            ("7210448301122", "0.00E+00", "7210448301122", None),
            ("0.5", "# ?/?", "0.5", None),
            ("5", "0\" pts\"", "5", Some(Note::Lettered)),
            ("5", "General\" pts\"", "5", Some(Note::Lettered)),
            ("1250000", "#,##0,", "#LOOK! 1250000", None),
            ("1250000", "0.0,,\"M\"", "#LOOK! 1250000", None),
            ("5", ";;;", "#LOOK! 5", None),
            ("5", "\"VIP\"", "#LOOK! 5", None),
            ("-5", "0;;0", "#LOOK! -5", None),
            ("0", "0;-0;;@", "0", Some(Note::ZeroHidden)),
            ("0", "0;-0;\"none\";@", "#LOOK! 0", None),
            ("1E+16", "0%", "#LOOK! 1E+16", None),
            ("5", "@", "5", None),
            ("5", "0;-0;0;@", "5", None),
        ] {
            assert_eq!(number(digits.to_owned(), format), (text.to_owned(), note), "{digits} as {format}");
        }
        assert_eq!((text("x", ";;;"), text("x", "General"), text("", ";;;")), ("#LOOK! x".into(), "x".into(), String::new()));
        assert_eq!(text("x", "0;-0;;@"), "x");
    }
}
