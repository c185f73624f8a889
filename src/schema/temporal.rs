//! Dates, times and the instants they make. The default formats are read byte by byte and as strictly as XML Schema writes them.

use std::sync::LazyLock;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};

use super::kind::{Reading, Unreadable};
use super::strptime::{Moment, Pattern};
use super::value::Value;

/// The `format` of a `date`, `time` or `datetime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Default,
    /// Any of the forms that cannot be read two ways.
    Any,
    Pattern(Pattern),
    /// Seconds or milliseconds since 1970, in UTC.
    Epoch {
        milliseconds: bool,
    },
    /// These, in this order. No two of them read a text differently.
    Several(Vec<Form>),
}

/// The instant that a text is read as, for comparisons.
type Instant = (Option<NaiveDate>, Option<NaiveTime>, Option<FixedOffset>);

impl Form {
    fn date(&self, text: &str) -> Option<NaiveDate> {
        match self {
            Form::Default => iso_date(text.as_bytes()),
            Form::Any => any(text, &ANY_DATES).and_then(|moment| moment.date),
            Form::Pattern(pattern) => pattern.read(text).and_then(|moment| moment.date),
            Form::Epoch { .. } => None,
            Form::Several(forms) => forms.iter().find_map(|form| form.date(text)),
        }
    }

    fn time(&self, text: &str) -> Option<NaiveTime> {
        match self {
            Form::Default => iso_time(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time),
            Form::Any => any(text, &TIMES).and_then(|moment| moment.time),
            Form::Pattern(pattern) => pattern.read(text).and_then(|moment| moment.time),
            Form::Epoch { .. } => None,
            Form::Several(forms) => forms.iter().find_map(|form| form.time(text)),
        }
    }

    fn datetime(&self, text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
        match self {
            Form::Default => iso_datetime(text.as_bytes()),
            Form::Any => iso_datetime(text.as_bytes()).or_else(|| any_datetime(text)),
            Form::Pattern(pattern) => pattern.read(text).and_then(joined),
            Form::Epoch { milliseconds } => epoch(text, *milliseconds),
            Form::Several(forms) => forms.iter().find_map(|form| form.datetime(text)),
        }
    }

    /// As the descriptor writes it.
    pub fn shown(&self) -> String {
        match self {
            Form::Default => "default".to_owned(),
            Form::Any => "any".to_owned(),
            Form::Pattern(pattern) => pattern.source().to_owned(),
            Form::Epoch { milliseconds } => if *milliseconds { "epoch-ms" } else { "epoch" }.to_owned(),
            Form::Several(forms) => forms.iter().map(Form::shown).collect::<Vec<_>>().join("` or `"),
        }
    }

    /// What a text means, whichever type of field it stands in.
    pub fn moment(&self, text: &str) -> Option<Instant> {
        match self {
            Form::Pattern(pattern) => pattern.read(text).map(|moment| (moment.date, moment.time, moment.offset)),
            form => {
                let whole = form.datetime(text).map(|(local, offset)| (Some(local.date()), Some(local.time()), offset));
                whole
                    .or_else(|| form.date(text).map(|date| (Some(date), None, None)))
                    .or_else(|| form.time(text).map(|time| (None, Some(time), None)))
            }
        }
    }

    /// Texts in this form: times whose parts could be taken for each other.
    pub fn samples(&self) -> Vec<String> {
        let times = ["2003-02-01T04:05:06", "2011-10-09T08:07:06", "2012-11-10T09:08:07"];
        let times = times.into_iter().filter_map(|text| iso_datetime(text.as_bytes()).map(|(local, _)| local.and_utc()));
        match self {
            Form::Pattern(pattern) => {
                // Python's letters and chrono's differ in the fraction and in names of zones, which part no two formats here.
                let source = pattern.source().replace("%f", "000000").replace("%Z", "UTC");
                times.map(|time| time.format(&source).to_string()).collect()
            }
            Form::Epoch { milliseconds } => {
                times.map(|time| if *milliseconds { time.timestamp_millis() } else { time.timestamp() }.to_string()).collect()
            }
            Form::Default | Form::Any | Form::Several(_) => Vec::new(),
        }
    }
}

/// Digits since 1970. So few of them that seconds and milliseconds are not mistaken for each other: twelve digits of seconds are the year
/// 5138 and later, twelve of milliseconds 1973 and later.
fn epoch(text: &str, milliseconds: bool) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let most = if milliseconds { 12..=14 } else { 1..=11 };
    if !most.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    let time = if milliseconds { DateTime::from_timestamp_millis(number)? } else { DateTime::from_timestamp(number, 0)? };
    Some((time.naive_utc(), FixedOffset::east_opt(0)))
}

#[inline]
pub(crate) fn date<'c>(text: &'c str, form: &Form) -> Reading<'c> {
    form.date(text).map(Value::Date).ok_or_else(|| refusal(text, form, "is not a date in the form YYYY-MM-DD", date_formats))
}

#[inline]
pub(crate) fn time<'c>(text: &'c str, form: &Form) -> Reading<'c> {
    let value = form.time(text);
    value.map(Value::Time).ok_or_else(|| refusal(text, form, "is not a time of day in the form hh:mm:ss, without an offset", time_formats))
}

#[inline]
pub(crate) fn datetime<'c>(text: &'c str, form: &Form) -> Reading<'c> {
    form.datetime(text)
        .map(|(local, offset)| Value::DateTime(local, offset))
        .ok_or_else(|| refusal(text, form, "is not a date and time in the form YYYY-MM-DDThh:mm:ss", datetime_formats))
}

pub(crate) fn year(text: &str) -> Reading<'_> {
    match *text.as_bytes() {
        [a, b, c, d] => number::<4>([a, b, c, d]).map(|year| Value::Year(year.cast_signed())),
        _ => None,
    }
    .ok_or_else(|| Unreadable::new("is not a year of four digits"))
}

pub(crate) fn year_month(text: &str) -> Reading<'_> {
    match *text.as_bytes() {
        [y1, y2, y3, y4, b'-', m1, m2] => number::<4>([y1, y2, y3, y4])
            .zip(number::<2>([m1, m2]).filter(|month| (1..=12).contains(month)))
            .map(|(year, month)| Value::YearMonth(year.cast_signed(), month)),
        _ => None,
    }
    .ok_or_else(|| Unreadable::new("is not a month in the form YYYY-MM"))
}

#[inline]
fn number<const N: usize>(digits: [u8; N]) -> Option<u32> {
    let mut value = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    Some(value)
}

/// A date as a `date` column of the default format has it: YYYY-MM-DD.
pub fn strict_date(text: &str) -> Option<NaiveDate> {
    iso_date(text.as_bytes())
}

/// A date and time as a `datetime` column of the default format has it, with its offset where it is written. No leap second.
pub fn strict_datetime(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    iso_datetime(text.as_bytes())
}

#[inline]
pub(super) fn iso_date(bytes: &[u8]) -> Option<NaiveDate> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else { return None };
    let year = number::<4>([y1, y2, y3, y4])?.cast_signed();
    NaiveDate::from_ymd_opt(year, number::<2>([m1, m2])?, number::<2>([d1, d2])?)
}

/// A time with an optional fraction of up to nine digits, and what follows it.
#[inline]
fn iso_time(bytes: &[u8]) -> Option<(NaiveTime, &[u8])> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = bytes else { return None };
    let (mut nanoseconds, mut rest) = (0, rest);
    if let [b'.', fraction @ ..] = rest {
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&length) {
            return None;
        }
        let digits = fraction[..length].iter().fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
        nanoseconds = digits * 10_u32.pow(9 - length as u32);
        rest = &fraction[length..];
    }
    let time = NaiveTime::from_hms_nano_opt(number::<2>([h1, h2])?, number::<2>([m1, m2])?, number::<2>([s1, s2])?, nanoseconds)?;
    Some((time, rest))
}

#[inline]
pub(super) fn iso_datetime(bytes: &[u8]) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let (date, rest) = bytes.split_at_checked(10)?;
    let [b'T', rest @ ..] = rest else { return None };
    let date = iso_date(date)?;
    let (time, rest) = iso_time(rest)?;
    let offset = match *rest {
        [] => None,
        [b'Z'] => FixedOffset::east_opt(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => Some(offset(sign, number::<2>([h1, h2])?, number::<2>([m1, m2])?)?),
        _ => return None,
    };
    checked(date.and_time(time), offset)
}

/// An offset of at most fourteen hours, as XML Schema has it.
pub(super) fn offset(sign: u8, hours: u32, minutes: u32) -> Option<FixedOffset> {
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60).cast_signed();
    FixedOffset::east_opt(if sign == b'-' { -seconds } else { seconds })
}

/// Refuses an instant that lies outside the calendar when it is counted in UTC.
fn checked(local: NaiveDateTime, offset: Option<FixedOffset>) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    match offset {
        Some(offset) => local.checked_sub_offset(offset).map(|_| (local, Some(offset))),
        None => Some((local, None)),
    }
}

fn joined(moment: Moment) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    checked(moment.date?.and_time(moment.time.unwrap_or_default()), moment.offset)
}

fn any(text: &str, patterns: &[(String, Pattern)]) -> Option<Moment> {
    patterns.iter().find_map(|(_, pattern)| pattern.read(text))
}

/// Dates with the year first or the month in letters. Day and month in digits, or two digits of a year, can be read two ways.
const CLEAR_DATES: [&str; 8] = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"];
/// Dates that people write and that only the schema can make clear.
const UNCLEAR_DATES: [&str; 8] = ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d/%m/%y", "%m/%d/%y"];
const CLOCKS: [&str; 5] = ["%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%I:%M %p"];
const ZONES: [&str; 4] = ["", "%z", " %z", " %Z"];

fn compiled(patterns: impl Iterator<Item = String>) -> Vec<(String, Pattern)> {
    patterns.filter_map(|pattern| Pattern::parse(&pattern).ok().map(|read| (pattern, read))).collect()
}

/// What may follow a date to make it an instant: a clock after `T` or a space, perhaps with a zone.
fn clocks_after_date() -> Vec<(String, Pattern)> {
    let joined = ["T", " "].into_iter().flat_map(|join| CLOCKS.into_iter().map(move |clock| format!("{join}{clock}")));
    compiled(joined.flat_map(|start| ZONES.into_iter().map(move |zone| format!("{start}{zone}"))))
}

fn dates(sources: &[&str]) -> Vec<(String, Pattern)> {
    compiled(sources.iter().map(|source| (*source).to_owned()))
}

fn starts(sources: &[&str]) -> Vec<(String, Pattern)> {
    dates(sources).into_iter().map(|(source, pattern)| (source, pattern.start())).collect()
}

static TIMES: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(|| compiled(CLOCKS.into_iter().map(str::to_owned)));
static AFTER_DATE: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(clocks_after_date);
static ANY_DATES: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(|| dates(&CLEAR_DATES));
static ALL_DATES: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(|| dates(&[CLEAR_DATES, UNCLEAR_DATES].concat()));
static ANY_STARTS: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(|| starts(&CLEAR_DATES));
static ALL_STARTS: LazyLock<Vec<(String, Pattern)>> = LazyLock::new(|| starts(&[CLEAR_DATES, UNCLEAR_DATES].concat()));

fn any_datetime(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    ANY_STARTS.iter().find_map(|(_, start)| {
        let (moment, rest) = start.read_start(text)?;
        let clock = any(rest, &AFTER_DATE)?;
        joined(Moment { date: moment.date, ..clock })
    })
}

fn fitting(text: &str, known: &[(String, Pattern)]) -> Vec<String> {
    known.iter().filter(|(_, pattern)| pattern.read(text).is_some()).map(|(source, _)| source.clone()).collect()
}

/// Formats of dates that this text fits, as a schema names them; none of ISO 8601 alone.
pub fn date_formats(text: &str) -> Vec<String> {
    fitting(text, &ALL_DATES)
}

/// Formats of times of day that this text fits.
pub fn time_formats(text: &str) -> Vec<String> {
    fitting(text, &TIMES)
}

/// Formats of moments that this text fits.
pub fn datetime_formats(text: &str) -> Vec<String> {
    let read = |(source, start): &(String, Pattern)| {
        let (_, rest) = start.read_start(text)?;
        let (clock, _) = AFTER_DATE.iter().find(|(_, clock)| clock.read(rest).is_some())?;
        Some(format!("{source}{clock}"))
    };
    ALL_STARTS.iter().filter_map(read).collect()
}

/// Says what was expected, and which formats the text would fit.
#[cold]
fn refusal(text: &str, form: &Form, default: &'static str, fitting: fn(&str) -> Vec<String>) -> Unreadable {
    let problem = match form {
        Form::Default => Unreadable::new(default),
        Form::Any => Unreadable::new("can be read in several ways or in none"),
        Form::Pattern(_) | Form::Epoch { .. } => return Unreadable::new(format!("does not fit the format `{}`", form.shown())),
        Form::Several(_) => return Unreadable::new(format!("does not fit any of the formats `{}`", form.shown())),
    };
    if text.trim() != text {
        return problem.suggest("remove the spaces around it");
    }
    let formats: Vec<String> = fitting(text).iter().take(2).map(|source| format!("`{source}`")).collect();
    if formats.is_empty() { problem } else { problem.suggest(format!("set the field's format to {}", formats.join(" or "))) }
}
