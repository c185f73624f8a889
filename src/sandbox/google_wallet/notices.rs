//! What holders were notified of, and how often in a day (contract section 7).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

const WINDOW: Duration = Duration::from_hours(24);

/// One notification that reached the holder of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The object's id.
    pub object: String,
    /// `message` or `field`.
    pub kind: &'static str,
    /// The message's id, or the first field that changed.
    pub about: String,
    /// RFC 3339, on the server's clock.
    pub at: String,
}

pub(super) const MESSAGE: &str = "message";
pub(super) const FIELD: &str = "field";

#[derive(Default)]
pub(super) struct Notices {
    all: Vec<Notice>,
    times: HashMap<(String, &'static str), Vec<SystemTime>>,
}

impl Notices {
    /// Notes a notification, unless the pass had its share of the kind within the last day.
    pub fn give(&mut self, object: &str, kind: &'static str, about: &str, now: SystemTime, per_day: usize) -> bool {
        let times = self.times.entry((object.to_owned(), kind)).or_default();
        times.retain(|time| now.duration_since(*time).is_ok_and(|age| age < WINDOW));
        if times.len() >= per_day {
            return false;
        }
        times.push(now);
        self.all.push(Notice { object: object.to_owned(), kind, about: about.to_owned(), at: rfc3339(now) });
        true
    }

    pub fn all(&self) -> Vec<Notice> {
        self.all.clone()
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The first field of the allow-list that a change touched; `paths` are names joined by dots.
pub(super) fn changed<'a>(before: &Map<String, Value>, after: &Map<String, Value>, paths: &'a [String]) -> Option<&'a str> {
    let at = |object: &Map<String, Value>, path: &str| {
        let mut names = path.split('.');
        let mut value = object.get(names.next()?)?;
        for name in names {
            value = value.get(name)?;
        }
        Some(value.clone())
    };
    paths.iter().map(String::as_str).find(|path| at(before, path) != at(after, path))
}
