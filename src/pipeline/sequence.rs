//! The order that names of files declare: a stamp in each, which numbers are missing, which file comes too late.

use bstr::{BStr, ByteSlice};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use regex::Regex;

use crate::config::meant::{Feed, FileOrder, Gap, NameStamp};
use crate::ledger::run::Verdict;
use crate::ledger::{Ledger, Run, RunFilter, RunKind, State};
use crate::outcome::Outcome;

/// Runs looked back at. Files that come later than so many others are taken for new.
const LOOK_BACK: u64 = 200;

/// What a name says of a file's place among others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stamp {
    Number(u128),
    Time(NaiveDateTime),
    Text(String),
}

impl Stamp {
    fn number(&self) -> Option<u128> {
        match self {
            Stamp::Number(number) => Some(*number),
            Stamp::Time(_) | Stamp::Text(_) => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Stamp::Number(number) => number.to_string(),
            Stamp::Time(time) => time.to_string(),
            Stamp::Text(text) => text.escape_debug().to_string(),
        }
    }
}

/// Finds stamps in names.
pub struct Stamps {
    regex: Regex,
    format: Option<String>,
    pub gap: Gap,
}

impl Stamps {
    /// None where the feed's names say nothing. Fails on an expression that the configuration should have refused.
    pub fn of(feed: &Feed) -> anyhow::Result<Option<Stamps>> {
        let FileOrder::Stamp(NameStamp { pattern, format, gap }) = &feed.order else { return Ok(None) };
        Ok(Some(Stamps { regex: Regex::new(pattern)?, format: format.clone(), gap: *gap }))
    }

    /// The stamp in a name; none when it has none, or one that is no date.
    pub fn read(&self, name: &BStr) -> Option<Stamp> {
        let name = name.to_str().ok()?;
        let text = self.regex.captures(name)?.get(1)?.as_str();
        if let Some(format) = &self.format {
            let date = || NaiveDate::parse_from_str(text, format).map(|date| date.and_time(NaiveTime::MIN));
            return NaiveDateTime::parse_from_str(text, format).or_else(|_| date()).ok().map(Stamp::Time);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Some(text.parse().ok().filter(|_| digits).map_or_else(|| Stamp::Text(text.to_owned()), Stamp::Number))
    }

    /// The highest stamp among the feed's files that were taken before.
    pub fn last(&self, feed: &Feed, ledger: &dyn Ledger) -> anyhow::Result<Option<Stamp>> {
        Ok(files_before(feed, ledger)?.iter().filter_map(|run| self.read(run.name.as_bstr())).max())
    }
}

fn files_before(feed: &Feed, ledger: &dyn Ledger) -> anyhow::Result<Vec<Run>> {
    let filter = RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(LOOK_BACK) };
    Ok(ledger.runs(&filter)?.into_iter().filter(|run| run.kind == RunKind::File).collect())
}

/// What a file's place among the others says against it.
pub fn judge(feed: &Feed, run: &Run, ledger: &dyn Ledger) -> anyhow::Result<Vec<Verdict>> {
    let (Some(stamps), RunKind::File) = (Stamps::of(feed)?, run.kind) else { return Ok(Vec::new()) };
    let Some(stamp) = stamps.read(run.name.as_bstr()) else { return Ok(Vec::new()) };
    let others: Vec<(Run, Stamp)> = files_before(feed, ledger)?
        .into_iter()
        .filter(|other| other.id != run.id)
        .filter_map(|other| stamps.read(other.name.as_bstr()).map(|stamp| (other, stamp)))
        .collect();
    let mut verdicts = Vec::new();
    // A file that changed nothing was overtaken by nobody.
    let applied = |other: &Run| {
        let tally = &other.detail.tally;
        let used = tally.get(Outcome::Applied) + tally.get(Outcome::Created) + tally.get(Outcome::Unchanged) > 0;
        used || matches!(other.state, State::Applying | State::Paused | State::Reporting)
    };
    if let Some((later, theirs)) = others.iter().filter(|(other, theirs)| *theirs > stamp && applied(other)).max_by(|a, b| a.1.cmp(&b.1)) {
        verdicts.push(Verdict {
            guard: "late-file".into(),
            // Row by row, a column that says how new each is judges better.
            held: feed.updated_at.is_none(),
            evidence: format!("its stamp {} is before {} of run {}, which was applied", stamp.show(), theirs.show(), later.id),
        });
    }
    let before = others.iter().filter_map(|(_, theirs)| theirs.number()).filter(|theirs| Some(*theirs) < stamp.number()).max();
    if let (Some(number), Some(before), Gap::Warn | Gap::Hold) = (stamp.number(), before, stamps.gap)
        && number > before + 1
    {
        let missing = if number == before + 2 { (before + 1).to_string() } else { format!("{} to {}", before + 1, number - 1) };
        verdicts.push(Verdict { guard: "gap".into(), held: false, evidence: format!("number {missing} is missing before {number}") });
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(pattern: &str, format: Option<&str>) -> Stamps {
        Stamps { regex: Regex::new(pattern).unwrap(), format: format.map(str::to_owned), gap: Gap::Ignore }
    }

    #[test]
    fn digits_are_numbers_dates_are_days_and_the_rest_is_text() {
        let numbers = stamps(r"_(\d+)\.csv", None);
        let read = |stamps: &Stamps, name: &str| stamps.read(name.into());
        assert!(read(&numbers, "points_10.csv") > read(&numbers, "points_9.csv"));
        assert_eq!(read(&numbers, "points_010.csv"), read(&numbers, "points_10.csv"));
        assert_eq!(read(&numbers, "points.csv"), None);
        let days = stamps(r"_(\d{8})\.csv", Some("%d%m%Y"));
        assert!(read(&days, "points_01022026.csv") > read(&days, "points_31012026.csv"));
        assert_eq!(read(&days, "points_32012026.csv"), None);
        let weeks = stamps(r"_(w\d\d)\.csv", None);
        assert!(read(&weeks, "points_w10.csv") > read(&weeks, "points_w09.csv"));
    }
}
