//! Time zones: those of the IANA database, which know daylight saving, and fixed offsets from UTC.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{Tz, TzOffset};

/// A time zone as a configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Named(Tz),
    Fixed(FixedOffset),
}

impl Zone {
    pub const UTC: Zone = Zone::Named(Tz::UTC);
}

impl From<Tz> for Zone {
    fn from(zone: Tz) -> Zone {
        Zone::Named(zone)
    }
}

impl FromStr for Zone {
    type Err = ();

    /// `Europe/Paris`; or `UTC-6`, `UTC+05:30`, `+05:30`, `+0545`, as exporters with a clock of their own say (contracts/exports.md section
    /// 5). East of Greenwich is positive, as in ISO 8601. From twelve hours west to fourteen east, as far as clocks go.
    fn from_str(text: &str) -> Result<Zone, ()> {
        let offset = text.strip_prefix("UTC").unwrap_or(text);
        let (west, digits) = match (offset.strip_prefix('-'), offset.strip_prefix('+')) {
            (Some(digits), _) => (true, digits),
            (_, Some(digits)) => (false, digits),
            _ => return text.parse().map(Zone::Named).map_err(|_| ()),
        };
        let (hours, minutes) = match digits.split_once(':') {
            Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
            None if digits.len() == 4 => digits.split_at_checked(2).ok_or(())?,
            None => (digits, "0"),
            Some(_) => return Err(()),
        };
        let number =
            |text: &str| if (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        let (hours, minutes): (i32, i32) = (number(hours).ok_or(())?, number(minutes).ok_or(())?);
        let most = if west { 12 } else { 14 } * 60;
        let all = hours * 60 + minutes;
        if minutes > 59 || all > most {
            return Err(());
        }
        FixedOffset::east_opt(if west { -all } else { all } * 60).map(Zone::Fixed).ok_or(())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Named(zone) => write!(out, "{zone}"),
            Zone::Fixed(offset) => write!(out, "UTC{offset}"),
        }
    }
}

/// How far a [`Zone`] is from UTC at some moment.
#[derive(Clone, Copy, Debug)]
pub enum ZoneOffset {
    Named(TzOffset),
    Fixed(FixedOffset),
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        match self {
            ZoneOffset::Named(offset) => offset.fix(),
            ZoneOffset::Fixed(offset) => *offset,
        }
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ZoneOffset::Named(offset) => write!(out, "{offset}"),
            ZoneOffset::Fixed(offset) => write!(out, "{offset}"),
        }
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Zone {
        match offset {
            ZoneOffset::Named(offset) => Zone::Named(Tz::from_offset(offset)),
            ZoneOffset::Fixed(offset) => Zone::Fixed(*offset),
        }
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<ZoneOffset> {
        match self {
            Zone::Named(zone) => zone.offset_from_local_date(local).map(ZoneOffset::Named),
            Zone::Fixed(offset) => LocalResult::Single(ZoneOffset::Fixed(*offset)),
        }
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<ZoneOffset> {
        match self {
            Zone::Named(zone) => zone.offset_from_local_datetime(local).map(ZoneOffset::Named),
            Zone::Fixed(offset) => LocalResult::Single(ZoneOffset::Fixed(*offset)),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        match self {
            Zone::Named(zone) => ZoneOffset::Named(zone.offset_from_utc_date(utc)),
            Zone::Fixed(offset) => ZoneOffset::Fixed(*offset),
        }
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        match self {
            Zone::Named(zone) => ZoneOffset::Named(zone.offset_from_utc_datetime(utc)),
            Zone::Fixed(offset) => ZoneOffset::Fixed(*offset),
        }
    }
}

/// What a local time means that clocks skip when they are put forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gap {
    /// Nothing: the row is rejected.
    #[default]
    Error,
    /// By a clock that was put forward too early: as much before the gap.
    Before,
    /// By a clock that nobody put forward: as much behind the gap.
    After,
}

/// What a local time means that comes twice when clocks are put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing: the row is rejected.
    #[default]
    Error,
    Earlier,
    Later,
}

/// How local times in cells are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTimes {
    pub zone: Zone,
    pub gap: Gap,
    pub overlap: Overlap,
}

impl LocalTimes {
    /// Times of a zone, where those that daylight saving skips or repeats are errors.
    pub fn strict(zone: Zone) -> LocalTimes {
        LocalTimes { zone, gap: Gap::Error, overlap: Overlap::Error }
    }

    /// The last second of a day: a day has one end, whatever clocks do.
    pub fn end_of_day(&self, date: NaiveDate) -> Option<DateTime<Utc>> {
        let local = date.and_hms_opt(23, 59, 59)?;
        LocalTimes { gap: Gap::After, overlap: Overlap::Later, ..*self }.instant(local).ok()
    }

    /// The moment that a local time means. The error says why there is none, and does not repeat the time.
    pub fn instant(&self, local: NaiveDateTime) -> Result<DateTime<Utc>, String> {
        let zone = self.zone;
        let utc = |time: DateTime<Zone>| time.with_timezone(&Utc);
        match (zone.from_local_datetime(&local), self.overlap, self.gap) {
            (LocalResult::Single(time), _, _)
            | (LocalResult::Ambiguous(time, _), Overlap::Earlier, _)
            | (LocalResult::Ambiguous(_, time), Overlap::Later, _) => Ok(utc(time)),
            (LocalResult::Ambiguous(..), Overlap::Error, _) => {
                Err(format!("this local time occurs twice in {zone}; write it with an offset, or say which by daylight_saving.overlap"))
            }
            (LocalResult::None, _, Gap::Error) => Err(format!(
                "this local time does not occur in {zone}; write it with an offset, or say what it means by daylight_saving.gap"
            )),
            // The offset of the day before carries on behind the gap; that of the day after reaches back before it.
            (LocalResult::None, _, gap) => {
                let near = if gap == Gap::After { local.checked_sub_days(Days::new(1)) } else { local.checked_add_days(Days::new(1)) };
                let offset = near.map(|near| zone.offset_from_utc_datetime(&near).fix());
                let time = offset.and_then(|offset| local.checked_sub_offset(offset));
                time.map(|time| time.and_utc()).ok_or_else(|| "this time lies outside the calendar".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_or_so_far_from_utc() {
        let minutes = |text: &str| match text.parse() {
            Ok(Zone::Fixed(offset)) => Some(offset.local_minus_utc() / 60),
            _ => None,
        };
        for (text, found) in [
            ("UTC-6", -360),
            ("UTC+14", 840),
            ("UTC+0", 0),
            ("UTC-12", -720),
            ("+05:30", 330),
            ("+0545", 345),
            ("-09:30", -570),
            ("UTC+12:45", 765),
            ("+1", 60),
        ] {
            assert_eq!(minutes(text), Some(found), "{text}");
        }
        for text in ["UTC+15", "UTC-13", "+14:15", "+5:3", "+05:60", "+", "UTC", "+053", "+05:300", "++5", "+1a", "Paris", "", "-é1"] {
            assert_eq!(minutes(text), None, "{text}");
        }
        assert_eq!("Europe/Paris".parse(), Ok(Zone::Named(Tz::Europe__Paris)));
        assert_eq!("UTC".parse(), Ok(Zone::UTC));
        assert_eq!(["+0545", "UTC-6"].map(|text| text.parse::<Zone>().unwrap().to_string()), ["UTC+05:45", "UTC-06:00"]);
    }

    #[test]
    fn times_that_daylight_saving_skips_or_repeats_follow_the_rule() {
        use Gap::{After, Before};
        use Overlap::{Earlier, Later};
        let at = |zone: Tz, gap, overlap, local: &str| {
            let times = LocalTimes { zone: Zone::Named(zone), gap, overlap };
            times.instant(local.parse().unwrap()).map(|time| time.format("%FT%TZ").to_string())
        };
        for (zone, gap, overlap, local, found) in [
            // Skipped: 02:00 to 03:00.
            (Tz::Europe__Paris, After, Earlier, "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            (Tz::Europe__Paris, Before, Earlier, "2026-03-29T02:30:00", "2026-03-29T00:30:00Z"),
            (Tz::Europe__Paris, After, Earlier, "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
            (Tz::Europe__Paris, Before, Earlier, "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
            // Repeated: 02:00 to 03:00.
            (Tz::Europe__Paris, After, Earlier, "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            (Tz::Europe__Paris, After, Later, "2026-10-25T02:30:00", "2026-10-25T01:30:00Z"),
            // By half an hour: skipped 02:00 to 02:30, repeated 01:30 to 02:00.
            (Tz::Australia__Lord_Howe, After, Earlier, "2026-10-04T02:15:00", "2026-10-03T15:45:00Z"),
            (Tz::Australia__Lord_Howe, Before, Earlier, "2026-10-04T02:15:00", "2026-10-03T15:15:00Z"),
            (Tz::Australia__Lord_Howe, After, Earlier, "2026-04-05T01:45:00", "2026-04-04T14:45:00Z"),
            (Tz::Australia__Lord_Howe, After, Later, "2026-04-05T01:45:00", "2026-04-04T15:15:00Z"),
        ] {
            assert_eq!(at(zone, gap, overlap, local).as_deref(), Ok(found), "{zone} {local} {gap:?} {overlap:?}");
        }
        let strict = |local| at(Tz::Europe__Paris, Gap::Error, Overlap::Error, local).unwrap_err();
        assert!(strict("2026-03-29T02:30:00").contains("does not occur") && strict("2026-10-25T02:30:00").contains("twice"));
        assert!(at(Tz::Europe__Paris, Gap::Error, Later, "2026-03-29T02:30:00").is_err());
        assert!(at(Tz::Europe__Paris, After, Overlap::Error, "2026-10-25T02:30:00").is_err());
    }

    /// In Asunción the last hour of a day came twice; in Apia a whole day was left out.
    #[test]
    fn a_day_has_one_end() {
        let end = |zone: Tz, date: &str| {
            let times = LocalTimes::strict(Zone::Named(zone));
            times.end_of_day(date.parse().unwrap()).unwrap().format("%FT%TZ").to_string()
        };
        assert_eq!(end(Tz::America__Asuncion, "2024-03-23"), "2024-03-24T03:59:59Z");
        assert_eq!(end(Tz::Pacific__Apia, "2011-12-30"), "2011-12-31T09:59:59Z");
        assert_eq!(end(Tz::Europe__Paris, "2026-10-25"), "2026-10-25T22:59:59Z");
    }
}
