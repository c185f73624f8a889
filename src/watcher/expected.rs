//! Files that should have come by a time and have not.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bstr::ByteSlice;
use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use tracing::{error, info, warn};

use crate::config::meant::{Config, Expected, Feed};
use crate::ledger::run::show_name;
use crate::ledger::{Ledger, Run, RunFilter, RunKind};
use crate::pipeline::date::NameDate;

/// Runs looked back at.
const LOOK_BACK: u64 = 200;
/// How often the daemon looks.
const LOOK: Duration = Duration::from_secs(5);

/// A file that has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Overdue {
    pub feed: String,
    /// When it should have been here.
    pub by: DateTime<Utc>,
    /// In words: what was expected, and what came last.
    pub words: String,
}

/// All feeds whose file should have come and has not. A file has come once it was complete.
pub fn overdue(config: &Config, ledger: &dyn Ledger, now: DateTime<Utc>) -> anyhow::Result<Vec<Overdue>> {
    let mut all = Vec::new();
    for feed in config.feeds.values() {
        if let Some(expected) = &feed.expected {
            let filter = RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(LOOK_BACK) };
            let mut files = ledger.runs(&filter)?;
            files.retain(|run| run.kind == RunKind::File);
            all.extend(of_feed(feed, expected, &files, now));
        }
    }
    Ok(all)
}

/// `files` are the feed's, newest first.
fn of_feed(feed: &Feed, expected: &Expected, files: &[Run], now: DateTime<Utc>) -> Option<Overdue> {
    let cron: croner::Cron = expected.by.parse().ok()?;
    let local = now.with_timezone(&expected.timezone);
    let by = cron.find_previous_occurrence(&local, true).ok()?;
    let shown = by.format("%Y-%m-%d %H:%M %Z");
    let last = files.first().map_or_else(
        || "none has ever come".to_owned(),
        |last| {
            format!(
                "the last one, {}, came {}",
                show_name(&last.name),
                last.detail.seen_at.with_timezone(&expected.timezone).format("%Y-%m-%d %H:%M")
            )
        },
    );
    let date = feed.date.as_ref().and_then(|format| NameDate::new(format));
    let words = if let Some(date) = date {
        let wanted = by.date_naive().checked_sub_days(Days::new(u64::from(expected.behind)))?;
        let has_come = files.iter().any(|run| date.read(run.name.as_bstr()) == Some(wanted));
        (!has_come).then(|| format!("the file dated {wanted} was expected by {shown} and has not come; {last}"))
    } else {
        let from = match expected.within {
            Some(within) => by.to_utc() - within,
            None => cron.find_previous_occurrence(&by, false).ok()?.to_utc(),
        };
        let has_come = files.iter().any(|run| run.detail.seen_at > from);
        (!has_come).then(|| format!("a file was expected by {shown} and has not come; {last}"))
    };
    words.map(|words| Overdue { feed: feed.name.clone(), by: by.to_utc(), words })
}

/// Tells of each file that has not come, once.
#[derive(Default)]
pub(super) struct Alarm {
    told: HashMap<String, DateTime<Utc>>,
    looked: Option<Instant>,
}

impl Alarm {
    pub fn look(&mut self, config: &Config, ledger: &dyn Ledger) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let overdue = match overdue(config, ledger, Utc::now()) {
            Ok(overdue) => overdue,
            Err(fault) => return error!("cannot tell whether expected files have come: {fault:#}"),
        };
        for one in &overdue {
            if self.told.insert(one.feed.clone(), one.by) != Some(one.by) {
                warn!(feed = one.feed, "{}", one.words);
            }
        }
        self.told.retain(|feed, _| {
            let still = overdue.iter().any(|one| one.feed == *feed);
            if !still {
                info!(feed, "the expected file has come");
            }
            still
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::State;
    use crate::ledger::run::Detail;

    fn feed(more: &str) -> Feed {
        let text = include_str!("../../samples/passferry.toml")
            .replace("pattern = \"visits_*.csv\"", &format!("pattern = \"visits_*.csv\"\n{more}"));
        let config = crate::config::load_text(&text, &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples"));
        Feed::clone(&config.unwrap_or_else(|faults| panic!("{faults}")).feeds["visits"])
    }

    fn file(name: &str, at: &str) -> Run {
        Run {
            id: "r".into(),
            feed: "visits".into(),
            account: String::new(),
            source: String::new(),
            folder: "in".into(),
            name: name.into(),
            size: 0,
            mtime: 0,
            state: State::Done,
            kind: RunKind::File,
            parent: None,
            sha256: None,
            detail: Detail { seen_at: at.parse().unwrap(), ..Detail::default() },
        }
    }

    fn told(feed: &Feed, files: &[Run], now: &str) -> Option<String> {
        of_feed(feed, feed.expected.as_ref().unwrap(), files, now.parse().unwrap()).map(|overdue| overdue.words)
    }

    #[test]
    fn a_file_counts_for_the_time_that_it_came_for() {
        let feed = feed("expected = { by = \"30 6 * * *\", timezone = \"Europe/Paris\", within = \"6h\" }");
        let night = [file("visits_1.csv", "2026-11-20T04:00:00Z")];
        assert_eq!(told(&feed, &night, "2026-11-20T06:00:00Z"), None);
        let words = told(&feed, &night, "2026-11-21T06:00:00Z").unwrap();
        assert!(words.starts_with("a file was expected by 2026-11-21 06:30 CET") && words.contains("visits_1.csv"), "{words}");
        assert_eq!(told(&feed, &night, "2026-11-21T05:29:00Z"), None, "not yet");
        let late = [file("visits_2.csv", "2026-11-21T09:00:00Z")];
        assert_eq!(told(&feed, &late, "2026-11-21T10:00:00Z"), None, "it came, late");
        assert!(told(&feed, &late, "2026-11-22T06:00:00Z").is_some(), "and does not count for the next day");
        assert!(told(&feed, &[], "2026-11-22T06:00:00Z").unwrap().contains("none has ever come"));
    }

    #[test]
    fn a_date_in_the_name_says_which_file_is_meant() {
        let feed = feed("date = \"%Y-%m-%d\"\nexpected = { by = \"30 6 * * 1-5\", timezone = \"Asia/Tokyo\", behind = 1 }");
        let files = [file("visits_2026-11-18.csv", "2026-11-19T20:00:00Z")];
        // 06:30 on Friday the 20th in Tokyo.
        assert!(told(&feed, &files, "2026-11-19T22:00:00Z").unwrap().contains("dated 2026-11-19"));
        let files = [file("visits_2026-11-19.csv", "2026-11-19T20:00:00Z")];
        assert_eq!(told(&feed, &files, "2026-11-19T22:00:00Z"), None);
        assert_eq!(told(&feed, &files, "2026-11-22T00:00:00Z"), None, "nothing is expected at the weekend");
    }
}
