//! The date that names of files carry.

use bstr::{BStr, ByteSlice};
use chrono::{NaiveDate, NaiveDateTime};
use regex::Regex;

/// Finds a date in names.
pub struct NameDate {
    regex: Regex,
    format: String,
}

impl NameDate {
    /// None where the form gives no date, or has conversions that names do not have.
    pub fn new(format: &str) -> Option<NameDate> {
        let mut pattern = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                pattern.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
                continue;
            }
            pattern.push_str(match letters.next()? {
                'Y' => "[0-9]{4}",
                'y' | 'm' | 'd' | 'H' | 'M' | 'S' => "[0-9]{2}",
                'j' => "[0-9]{3}",
                'b' => "[A-Za-z]{3}",
                '%' => "%",
                _ => return None,
            });
        }
        // Digits that stand before or behind would belong to another number.
        let regex = Regex::new(&format!("(?:^|[^0-9])({pattern})(?:[^0-9]|$)")).ok()?;
        let date = NameDate { regex, format: format.to_owned() };
        let sample: NaiveDateTime = NaiveDate::from_ymd_opt(2026, 11, 20)?.and_hms_opt(6, 30, 0)?;
        let name = sample.format(format).to_string();
        (date.read(name.as_str().into()) == Some(sample.date())).then_some(date)
    }

    /// The date in a name; none when it has none.
    pub fn read(&self, name: &BStr) -> Option<NaiveDate> {
        let name = name.to_str().ok()?;
        let text = self.regex.captures(name)?.get(1)?.as_str();
        NaiveDate::parse_from_str(text, &self.format).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_found_in_a_name() {
        let read = |format: &str, name: &str| NameDate::new(format).unwrap().read(name.into()).map(|date| date.to_string());
        assert_eq!(read("%Y-%m-%d", "loyalty-2026-11-20.csv").as_deref(), Some("2026-11-20"));
        assert_eq!(read("%Y%m%d", "loyalty_20261120_0_1_0.csv.gz").as_deref(), Some("2026-11-20"));
        assert_eq!(read("%d%b%y", "loyalty_20Nov26.csv").as_deref(), Some("2026-11-20"));
        assert_eq!(read("%Y%m%d%H%M%S", "x20261120063000.csv").as_deref(), Some("2026-11-20"));
        assert_eq!(read("%Y%m%d", "loyalty_20261320.csv"), None);
        assert_eq!(read("%Y%m%d", "loyalty_120261120.csv"), None);
        for wrong in ["%Y%m", "x", "", "%Q", "%"] {
            assert!(NameDate::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
