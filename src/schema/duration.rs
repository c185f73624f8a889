//! ISO 8601 durations, and when one is longer than another.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::kind::{Reading, Unreadable};
use super::value::Value;

/// Months and seconds, which have no fixed relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    months: i64,
    /// Of everything from weeks down, in nanoseconds.
    nanoseconds: i128,
}

pub(crate) fn read(text: &str) -> Reading<'_> {
    match length(text) {
        Some(_) => Ok(Value::Duration(Cow::Borrowed(text))),
        None => Err(Unreadable::new("is not an ISO 8601 duration such as P1Y2M3DT10H30M")),
    }
}

/// The first days from which durations are counted to be compared (XSD 1.0 Part 2, section 3.2.6.2): chosen for their neighbours' lengths.
const STARTS: [(i64, i64); 4] = [(1696, 8), (1697, 1), (1903, 2), (1903, 6)];

/// Does the relation hold, counted from each of the four dates? `P1M` is at least `P28D` and at most `P31D`, but neither more nor less
/// than `P30D`.
pub(crate) fn holds(left: &str, right: &str, relation: impl Fn(Ordering) -> bool) -> bool {
    let (Some(left), Some(right)) = (length(left), length(right)) else { return false };
    STARTS.iter().all(|start| relation(end(*start, left).cmp(&end(*start, right))))
}

/// The order on which all four dates agree, if they do.
pub(crate) fn compare(left: &str, right: &str) -> Option<Ordering> {
    [Ordering::Less, Ordering::Equal, Ordering::Greater].into_iter().find(|order| holds(left, right, |found| found == *order))
}

/// Nanoseconds from an arbitrary origin to the end of a duration that starts on the first of a month, counted from 0.
fn end((year, month): (i64, i64), length: Length) -> i128 {
    let months = year * 12 + month + length.months;
    let day = days_before(months.div_euclid(12), months.rem_euclid(12).unsigned_abs() as usize);
    i128::from(day) * 86_400_000_000_000 + length.nanoseconds
}

/// Days of the proleptic Gregorian calendar before the first of a month.
fn days_before(year: i64, month: usize) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let years = year - 1;
    let days = years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    days + BEFORE[month] + i64::from(leap && month > 1)
}

/// Numbers of up to nine digits; decimals in the seconds alone.
fn length(text: &str) -> Option<Length> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let rest = rest.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let (mut months, mut nanoseconds) = (0_i64, 0_i128);
    if let Some(weeks) = date.strip_suffix('W') {
        if !time.is_empty() {
            return None;
        }
        nanoseconds = i128::from(count(weeks)?) * 7 * 86_400_000_000_000;
    } else {
        let [years, whole_months, days] = parts(date, ['Y', 'M', 'D'])?;
        months = years.map_or(Some(0), count)? * 12 + whole_months.map_or(Some(0), count)?;
        nanoseconds += i128::from(days.map_or(Some(0), count)?) * 86_400_000_000_000;
    }
    let [hours, minutes, seconds] = parts(time, ['H', 'M', 'S'])?;
    nanoseconds += i128::from(hours.map_or(Some(0), count)?) * 3_600_000_000_000;
    nanoseconds += i128::from(minutes.map_or(Some(0), count)?) * 60_000_000_000;
    nanoseconds += seconds.map_or(Some(0), fraction)?;
    let sign = if negative { -1 } else { 1 };
    Some(Length { months: months * sign, nanoseconds: nanoseconds * i128::from(sign) })
}

/// The numbers before each unit, in the units' order.
fn parts(mut text: &str, units: [char; 3]) -> Option<[Option<&str>; 3]> {
    let mut found = [None; 3];
    for (slot, unit) in found.iter_mut().zip(units) {
        if let Some((number, rest)) = text.split_once(unit) {
            *slot = Some(number);
            text = rest;
        }
    }
    text.is_empty().then_some(found)
}

fn count(digits: &str) -> Option<i64> {
    let fits = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

fn fraction(text: &str) -> Option<i128> {
    let (whole, decimals) = text.split_once('.').map_or((text, "0"), |parts| parts);
    let scaled = count(decimals)? * 10_i64.pow(9 - decimals.len() as u32);
    Some(i128::from(count(whole)?) * 1_000_000_000 + i128::from(scaled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for text in ["P1Y2M3DT10H30M", "PT1.5S", "P2W", "-P1D", "P0D", "PT36H", "P1Y"] {
            assert!(length(text).is_some(), "{text}");
        }
        for text in ["1D", "P", "PT", "P1DT", "P1H", "PT1D", "P1M1Y", "P1.5D", "P-1D", "P1W2D", "p1d", "PT1.S", "PT.5S", " P1D"] {
            assert!(length(text).is_none(), "{text}");
        }
    }

    #[test]
    fn months_compare_with_days_only_where_every_month_agrees() {
        assert_eq!(compare("P1M", "P30D"), None);
        assert!(holds("P1M", "P28D", Ordering::is_ge) && !holds("P1M", "P28D", Ordering::is_gt) && !holds("P1M", "P30D", Ordering::is_ge));
        assert_eq!(compare("P1M", "P27D"), Some(Ordering::Greater));
        assert_eq!(compare("P1M", "P32D"), Some(Ordering::Less));
        assert_eq!(compare("P1Y", "P12M"), Some(Ordering::Equal));
        assert_eq!(compare("PT24H", "P1D"), Some(Ordering::Equal));
        assert_eq!(compare("P1Y", "P365D"), None);
        assert_eq!(compare("-P1D", "PT0S"), Some(Ordering::Less));
    }
}
