//! How a feed's deliveries arrive: sets, what stands beside them, when they are expected.

use std::str::FromStr;
use std::time::Duration;

use super::{Check, Key};
use crate::config::meant::{Control, Expected, RECORDS, SHARDS, Set, SetKind};
use crate::config::value::{self, choices, quoted};
use crate::config::written::arrival as written;
use crate::config::written::{Feed, TextOr};

/// What of a feed says how its deliveries arrive.
#[derive(Default)]
pub(super) struct Arrival {
    pub set: Option<Set>,
    pub checksum: Option<String>,
    pub control: Option<Control>,
    pub patience: Duration,
    pub never_older_than: Option<Duration>,
    pub expected: Option<Expected>,
}

impl Check<'_> {
    pub(super) fn arrival(&mut self, key: &Key, feed: &Feed) -> Arrival {
        let patience = self.span(&key.child("patience"), feed.patience.as_ref(), Duration::from_hours(1), Duration::from_secs(1));
        let set = feed.set.as_ref().and_then(|set| self.set(key, feed, set, patience));
        let checksum = feed.checksum.as_ref().and_then(|name| {
            self.beside(&key.child("checksum"), name, "{}.sha256", "SHA256SUMS")?;
            Some(name.clone())
        });
        let control = feed.control.as_ref().and_then(|control| self.control(&key.child("control"), control));
        self.date(&key.child("date"), feed);
        let older = key.child("never_older_than");
        let never_older_than =
            feed.never_older_than.as_ref().and_then(|age| self.good(&older, value::duration(&age.0, Duration::from_hours(24))));
        if feed.never_older_than.is_some() && feed.date.is_none() && !self.document.pruned(&key.child("date")) {
            self.fault(&older, "needs the date in names; write date = \"%Y-%m-%d\", as they carry it".into());
        }
        let expected = feed.expected.as_ref().and_then(|expected| self.expected(key, feed, expected));
        Arrival { set, checksum, control, patience, never_older_than, expected }
    }

    /// The name of a file beside the data. None when it is not one.
    pub(super) fn beside(&mut self, key: &Key, name: &str, own: &str, fixed: &str) -> Option<()> {
        let places = name.matches("{}").count() + name.matches("{stem}").count();
        if name == "{}" || name == "{stem}" || crate::source::name_fault(name.into()).is_some() || places > 1 {
            let message = format!(
                "{} is not a name; write {} ({{}} is the data file's name, {{stem}} that without its endings) or a fixed one such as {}",
                quoted(name),
                quoted(own),
                quoted(fixed)
            );
            self.fault(key, message);
            return None;
        }
        Some(())
    }

    fn set(&mut self, key: &Key, feed: &Feed, set: &TextOr<written::Set>, patience: Duration) -> Option<Set> {
        let here = key.child("set");
        let none = written::Set::default();
        let (kind, table) = match set {
            TextOr::Text(word) => {
                let kind = match word.as_str() {
                    "spark" => written::SetKind::Spark,
                    "shards" => written::SetKind::Shards,
                    "manifest" => written::SetKind::Manifest,
                    _ => {
                        let known = choices(&["spark", "shards", "manifest"]);
                        self.fault(&here, format!("{} is not known here; write {known}, or a table with kind", quoted(word)));
                        return None;
                    }
                };
                (kind, &none)
            }
            TextOr::Table(table) => (self.required(&here.child("kind"), table.kind.as_ref(), "kind = \"spark\"")?, table),
        };
        for (name, there, fits) in [
            ("parts", table.parts.is_some(), kind != written::SetKind::Shards),
            ("partitions", table.partitions.is_some(), kind == written::SetKind::Spark),
            ("group", table.group.is_some(), kind == written::SetKind::Shards),
            ("counts_header", table.counts_header.is_some(), kind == written::SetKind::Manifest),
        ] {
            if there && !fits {
                self.fault(&here.child(name), "says nothing of a set of this kind; remove it".into());
            }
        }
        if let Some(parts) = &table.parts {
            let glob = globset::GlobBuilder::new(parts).literal_separator(true).empty_alternates(true).build();
            if parts.is_empty() || parts.contains('/') || glob.is_err() {
                self.fault(&here.child("parts"), format!("{} is not a pattern of names; write such as \"part-*\"", quoted(parts)));
            }
        }
        if let Some(group) = &table.group {
            let example = "\"^(?P<set>.*)_[0-9]+[.]csv$\", with a group called set around what the parts of one set share";
            match regex::Regex::new(group) {
                Err(error) => {
                    self.fault(&here.child("group"), format!("{} is not a regular expression: {error}", quoted(group)));
                }
                Ok(regex) if !regex.capture_names().flatten().any(|name| name == "set") => {
                    self.fault(&here.child("group"), format!("{} has no group called set; write such as {example}", quoted(group)));
                }
                Ok(_) => {}
            }
        }
        if feed.format.is_some() {
            self.fault(&here, "stands beside format; those files come one by one".into());
        }
        let patience = self.span(&here.child("patience"), table.patience.as_ref(), patience, Duration::from_secs(1));
        let quiet = feed.quiet.as_ref().and_then(|quiet| value::duration(&quiet.0, Duration::from_millis(10)).ok());
        // A folder of Spark's says itself when it is complete, unless the feed says how to know.
        let spark = || (kind == written::SetKind::Spark && feed.quiet.is_none()).then(|| "_SUCCESS".to_owned());
        let marker = feed.marker.clone().or_else(spark);
        let shows_itself = marker.is_some() || kind == written::SetKind::Manifest;
        Some(Set {
            kind: match kind {
                written::SetKind::Spark => SetKind::Spark {
                    parts: table.parts.clone().unwrap_or_else(|| "part-*".into()),
                    partitions: table.partitions.unwrap_or_default(),
                },
                written::SetKind::Shards => SetKind::Shards { group: table.group.clone().unwrap_or_else(|| SHARDS.into()) },
                written::SetKind::Manifest => SetKind::Manifest { parts: table.parts.clone().unwrap_or_else(|| "*".into()) },
            },
            header_in_each: table.header != Some(written::SetHeader::First),
            counts_header: table.counts_header,
            marker,
            quiet: quiet.or((!shows_itself).then_some(Duration::from_secs(30))),
            patience,
        })
    }

    fn control(&mut self, key: &Key, control: &TextOr<written::Control>) -> Option<Control> {
        let (file, pattern) = match control {
            TextOr::Text(file) => (file.clone(), None),
            TextOr::Table(table) => (self.required(&key.child("file"), table.file.as_ref(), "file = \"{}.ctl\"")?, table.pattern.clone()),
        };
        let at = if matches!(control, TextOr::Text(_)) { key.clone() } else { key.child("file") };
        self.beside(&at, &file, "{}.ctl", "control.txt")?;
        if let Some(pattern) = &pattern {
            let here = key.child("pattern");
            match regex::Regex::new(pattern) {
                Err(error) => self.fault(&here, format!("{} is not a regular expression: {error}", quoted(pattern))),
                Ok(regex) => {
                    let known = |name: &str| matches!(name, "records" | "parts" | "bytes");
                    let names: Vec<&str> = regex.capture_names().flatten().collect();
                    if names.is_empty() || !names.iter().all(|name| known(name)) {
                        let example = "\"rows: (?P<records>[0-9]+)\"; groups may be called records, parts and bytes";
                        self.fault(&here, format!("{} has no group that is known here; write such as {example}", quoted(pattern)));
                    }
                }
            }
        }
        Some(Control { file, pattern: pattern.unwrap_or_else(|| RECORDS.into()) })
    }

    fn date(&mut self, key: &Key, feed: &Feed) {
        let Some(format) = &feed.date else { return };
        if crate::pipeline::date::NameDate::new(format).is_none() {
            let message = format!("{} is not a form of a date in names; write such as \"%Y-%m-%d\" or \"%Y%m%d\"", quoted(format));
            self.fault(key, message);
        }
    }

    fn expected(&mut self, key: &Key, feed: &Feed, expected: &written::Expected) -> Option<Expected> {
        let here = key.child("expected");
        let by = self.required(&here.child("by"), expected.by.as_ref(), "by = \"30 6 * * *\"")?;
        if by.split_whitespace().count() != 5 || croner::Cron::from_str(&by).is_err() {
            let message =
                format!("{} is not a time of five fields (minute hour day month weekday); write such as \"30 6 * * 1-5\"", quoted(&by));
            self.fault(&here.child("by"), message);
        }
        let zone = expected.timezone.as_ref().or(feed.timezone.as_ref());
        let timezone = self.timezone(&here.child("timezone"), zone);
        let within = expected.within.as_ref();
        let within = within.and_then(|within| self.good(&here.child("within"), value::duration(&within.0, Duration::from_mins(1))));
        if expected.behind.is_some() && feed.date.is_none() && !self.document.pruned(&key.child("date")) {
            self.fault(&here.child("behind"), "needs the date in names; write date = \"%Y-%m-%d\", as they carry it".into());
        }
        Some(Expected { by, timezone, within, behind: expected.behind.unwrap_or(0) })
    }
}
