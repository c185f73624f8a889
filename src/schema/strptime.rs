//! C and Python `strptime` patterns, with Python's meaning (contracts/table-schema.md section 3). Chrono's own reader has the same letters
//! and other meanings for several of them, so it only resolves what is read here.

use chrono::format::Parsed;
use chrono::{FixedOffset, NaiveDate, NaiveTime, Weekday};

use super::temporal::offset;

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    source: String,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A letter that stands for itself.
    Letter(char),
    /// White space of any length.
    Space,
    Directive(char),
    /// All that is left; only [`Pattern::start`] ends with it.
    Rest,
}

/// What a text said, as far as its pattern asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub date: Option<NaiveDate>,
    pub time: Option<NaiveTime>,
    pub offset: Option<FixedOffset>,
}

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Mon),
    ("tuesday", Weekday::Tue),
    ("wednesday", Weekday::Wed),
    ("thursday", Weekday::Thu),
    ("friday", Weekday::Fri),
    ("saturday", Weekday::Sat),
    ("sunday", Weekday::Sun),
];

impl Pattern {
    /// Refuses directives without a meaning here, and hours of twelve that lack their half of the day.
    pub fn parse(source: &str) -> Result<Pattern, String> {
        let mut items = Vec::new();
        let mut letters = source.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                push_letter(&mut items, letter);
                continue;
            }
            match letters.next() {
                Some('%') => items.push(Item::Letter('%')),
                Some(known @ ('Y' | 'm' | 'd' | 'H' | 'I' | 'M' | 'S' | 'f' | 'p' | 'y' | 'b' | 'B' | 'a' | 'A' | 'j' | 'z' | 'Z')) => {
                    items.push(Item::Directive(known));
                }
                Some(known @ ('U' | 'W' | 'w' | 'G' | 'u' | 'V')) => items.push(Item::Directive(known)),
                Some('c') => items.extend(Pattern::parse("%a %b %d %H:%M:%S %Y")?.items),
                Some('x') => items.extend(Pattern::parse("%m/%d/%y")?.items),
                Some('X') => items.extend(Pattern::parse("%H:%M:%S")?.items),
                Some(other) => return Err(format!("the directive `%{other}` is not supported")),
                None => return Err("the pattern ends with a lone `%`".to_owned()),
            }
        }
        let pattern = Pattern { source: source.to_owned(), items };
        if pattern.has('I') && !pattern.has('p') {
            return Err("`%I` needs `%p`: without it morning and evening cannot be told apart".to_owned());
        }
        Ok(pattern)
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Does the pattern tell a whole date?
    pub fn has_date(&self) -> bool {
        let year = self.has('Y') || self.has('y');
        let month = self.has('m') || self.has('b') || self.has('B');
        let weekday = ['a', 'A', 'w', 'u'].into_iter().any(|letter| self.has(letter));
        (year && month && self.has('d'))
            || (year && self.has('j'))
            || (year && (self.has('U') || self.has('W')) && weekday)
            || (self.has('G') && self.has('V') && weekday)
    }

    /// Does the pattern tell at least the hour?
    pub fn has_time(&self) -> bool {
        self.has('H') || self.has('I')
    }

    fn has(&self, directive: char) -> bool {
        self.items.contains(&Item::Directive(directive))
    }

    /// The same pattern, for texts that go on after it.
    pub fn start(mut self) -> Pattern {
        self.items.push(Item::Rest);
        self
    }

    /// The whole text must be consumed, and all that it says must agree.
    pub fn read(&self, text: &str) -> Option<Moment> {
        self.read_start(text).map(|(moment, _)| moment)
    }

    /// As [`Pattern::read`], with what a [`Pattern::start`] left over.
    pub fn read_start<'t>(&self, text: &'t str) -> Option<(Moment, &'t str)> {
        let mut found = Found { parsed: Parsed::new(), nanoseconds: 0, offset: None, left: 0 };
        if !matches(&self.items, text, &mut found) {
            return None;
        }
        let date = if self.has_date() { Some(found.parsed.to_naive_date().ok()?) } else { None };
        let time = if self.has_time() { Some(found.time()?) } else { None };
        Some((Moment { date, time, offset: found.offset }, &text[text.len() - found.left..]))
    }
}

fn push_letter(items: &mut Vec<Item>, letter: char) {
    if !letter.is_whitespace() {
        items.push(Item::Letter(letter));
    } else if items.last() != Some(&Item::Space) {
        items.push(Item::Space);
    }
}

#[derive(Clone)]
struct Found {
    parsed: Parsed,
    nanoseconds: u32,
    offset: Option<FixedOffset>,
    /// Bytes at the end that no item took.
    left: usize,
}

impl Found {
    /// A minute or second that the pattern does not ask for is zero, as in Python.
    fn time(&self) -> Option<NaiveTime> {
        let hour = self.parsed.hour_div_12()? * 12 + self.parsed.hour_mod_12()?;
        NaiveTime::from_hms_nano_opt(hour, self.parsed.minute().unwrap_or(0), self.parsed.second().unwrap_or(0), self.nanoseconds)
    }
}

/// Matches item by item; where a number may have one digit or two, the longer is tried first.
fn matches(items: &[Item], text: &str, found: &mut Found) -> bool {
    let Some((item, items)) = items.split_first() else { return text.is_empty() };
    match *item {
        Item::Letter(letter) => {
            let mut letters = text.chars();
            letters.next().is_some_and(|next| next == letter || next.to_lowercase().eq(letter.to_lowercase()))
                && matches(items, letters.as_str(), found)
        }
        Item::Rest => {
            found.left = text.len();
            true
        }
        Item::Space => {
            let rest = text.trim_start();
            rest.len() < text.len() && matches(items, rest, found)
        }
        Item::Directive(directive) => match digits(directive) {
            Some((least, most)) => {
                let available = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
                if available == least {
                    return set_number(directive, &text[..least], found) && matches(items, &text[least..], found);
                }
                (least..=available).rev().any(|length| {
                    let mut attempt = found.clone();
                    let fits = set_number(directive, &text[..length], &mut attempt) && matches(items, &text[length..], &mut attempt);
                    if fits {
                        *found = attempt;
                    }
                    fits
                })
            }
            None => set_word(directive, text, found).is_some_and(|length| matches(items, &text[length..], found)),
        },
    }
}

/// Fewest and most digits of a numeric directive.
const fn digits(directive: char) -> Option<(usize, usize)> {
    Some(match directive {
        'Y' | 'G' => (4, 4),
        'y' => (2, 2),
        'm' | 'd' | 'H' | 'I' | 'M' | 'S' | 'U' | 'W' | 'V' => (1, 2),
        'j' => (1, 3),
        'w' | 'u' => (1, 1),
        'f' => (1, 6),
        _ => return None,
    })
}

fn set_number(directive: char, digits: &str, found: &mut Found) -> bool {
    let Ok(value) = digits.parse::<i64>() else { return false };
    let parsed = &mut found.parsed;
    match directive {
        'Y' => parsed.set_year(value),
        'y' => parsed.set_year(if value < 69 { 2000 + value } else { 1900 + value }),
        'G' => parsed.set_isoyear(value),
        'm' => parsed.set_month(value),
        'd' => parsed.set_day(value),
        'j' => parsed.set_ordinal(value),
        'H' => parsed.set_hour(value),
        'I' => parsed.set_hour12(value),
        'M' => parsed.set_minute(value),
        'S' if value > 59 => return false,
        'S' => parsed.set_second(value),
        'U' => parsed.set_week_from_sun(value),
        'W' => parsed.set_week_from_mon(value),
        'V' => parsed.set_isoweek(value),
        'w' if value > 6 => return false,
        'u' if !(1..=7).contains(&value) => return false,
        'w' | 'u' => parsed.set_weekday(WEEKDAYS[(value.unsigned_abs() as usize + 6) % 7].1),
        _ => {
            found.nanoseconds = value.unsigned_abs() as u32 * 10_u32.pow(9 - digits.len() as u32);
            return true;
        }
    }
    .is_ok()
}

/// The number of bytes taken, or none when the word is not there or contradicts what was read before.
fn set_word(directive: char, text: &str, found: &mut Found) -> Option<usize> {
    let starts = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    match directive {
        'b' | 'B' => {
            let (month, length) = (1..).zip(MONTHS).find_map(|(month, name)| {
                let name = if directive == 'b' { &name[..3] } else { name };
                starts(name).then_some((month, name.len()))
            })?;
            found.parsed.set_month(month).ok()?;
            Some(length)
        }
        'a' | 'A' => {
            let (day, length) = WEEKDAYS.iter().find_map(|(name, day)| {
                let name = if directive == 'a' { &name[..3] } else { name };
                starts(name).then_some((*day, name.len()))
            })?;
            found.parsed.set_weekday(day).ok()?;
            Some(length)
        }
        'p' => {
            let evening = if starts("pm") {
                true
            } else if starts("am") {
                false
            } else {
                return None;
            };
            found.parsed.set_ampm(evening).ok()?;
            Some(2)
        }
        'Z' => {
            let length = ["UTC", "GMT"].into_iter().find(|zone| starts(zone)).map(str::len)?;
            found.offset = FixedOffset::east_opt(0);
            Some(length)
        }
        _ => {
            let (zone, length) = numeric_zone(text.as_bytes())?;
            found.offset = Some(zone);
            Some(length)
        }
    }
}

/// `+hhmm`, `+hh:mm` or `Z`.
fn numeric_zone(bytes: &[u8]) -> Option<(FixedOffset, usize)> {
    let two =
        |tens: u8, ones: u8| (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'));
    match *bytes {
        [b'Z' | b'z', ..] => Some((FixedOffset::east_opt(0)?, 1)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => Some((offset(sign, two(h1, h2)?, two(m1, m2)?)?, 6)),
        [sign @ (b'+' | b'-'), h1, h2, m1, m2, ..] => Some((offset(sign, two(h1, h2)?, two(m1, m2)?)?, 5)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, text: &str) -> Option<String> {
        let moment = Pattern::parse(pattern).unwrap().read(text)?;
        let shown = [
            moment.date.map(|date| date.to_string()),
            moment.time.map(|time| time.to_string()),
            moment.offset.map(|offset| offset.to_string()),
        ];
        Some(shown.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        for (pattern, text, expected) in [
            ("%d/%m/%Y", "2/1/2026", "2026-01-02"),
            ("%d/%m/%Y", "02/01/2026", "2026-01-02"),
            ("%d%m%Y", "1112026", "2026-01-11"),
            ("%d/%m/%y", "01/02/68", "2068-02-01"),
            ("%d/%m/%y", "01/02/69", "1969-02-01"),
            ("%Y-%j", "2026-032", "2026-02-01"),
            ("%G-W%V-%u", "2026-W01-1", "2025-12-29"),
            ("%Y %W %a", "2026 1 Mon", "2026-01-05"),
            ("%Y %U %w", "2026 1 0", "2026-01-04"),
            ("%d %b %Y", "20   NOV  2026", "2026-11-20"),
            ("%A, %d. %B %Y", "friday, 20. november 2026", "2026-11-20"),
            ("%m/%d/%Y %I:%M:%S %p", "11/20/2026 11:15:04 PM", "2026-11-20 23:15:04"),
            ("%I:%M %p", "12:05 am", "00:05:00"),
            ("%H:%M:%S.%f", "01:02:03.5", "01:02:03.500"),
            ("%Y-%m-%d %H:%M:%S.%f %z", "2026-11-20 23:15:04.120 -0800", "2026-11-20 23:15:04.120 -08:00"),
            ("%Y-%m-%d %H:%M:%S %Z", "2026-11-20 23:15:04 UTC", "2026-11-20 23:15:04 +00:00"),
            ("%Y-%m-%dT%H:%M%z", "2026-11-20T23:15Z", "2026-11-20 23:15:00 +00:00"),
            ("%H%%", "07%", "07:00:00"),
            ("%c", "Fri Nov 20 23:15:04 2026", "2026-11-20 23:15:04"),
        ] {
            assert_eq!(read(pattern, text).as_deref(), Some(expected), "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (pattern, text) in [
            ("%Y-%m-%d", "26-01-02"),
            ("%Y-%m-%d", " 2026-01-02"),
            ("%Y-%m-%d", "2026-01-02 "),
            ("%Y-%m-%d", "2026-02-30"),
            ("%Y-%m-%d", "2026-01-002"),
            ("%H:%M:%S", "01:02:60"),
            ("%H:%M:%S", "24:00:00"),
            ("%I:%M %p", "13:00 PM"),
            ("%I:%M %p", "0:30 AM"),
            ("%H:%M:%S.%f", "01:02:03.1234567"),
            ("%H:%M:%S%z", "01:02:03+2500"),
            ("%a %Y-%m-%d", "Mon 2026-11-20"),
            ("%d %b %Y", "20 November 2026"),
        ] {
            assert_eq!(read(pattern, text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_without_a_meaning_are_refused_at_once() {
        for pattern in ["%Q", "%Y-%", "%-d/%m/%Y", "%I:%M", "%s", "%D"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
