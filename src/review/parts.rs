//! What pages are made of.

use super::assets::VERSION;
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::ledger::{RunKind, State};
use crate::page::words::{self, Instant, Tone, count, visible};
use crate::told::RunLine;
use crate::zone::Zone;

/// Letters of strangers' words that a page shows at once.
pub const LETTERS_MAX: usize = 400;

/// Where a page stands in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    Overview,
    Runs,
    Pass,
    Elsewhere,
}

/// What stands around a page.
pub struct Frame<'a> {
    pub title: String,
    pub visitor: Option<&'a Visitor>,
    pub here: Here,
    /// Of style sheet and script.
    pub version: &'static str,
}

impl<'a> Frame<'a> {
    pub fn new(title: impl Into<String>, visitor: &'a Visitor, here: Here) -> Frame<'a> {
        Frame { title: title.into(), visitor: Some(visitor), here, version: &VERSION }
    }

    /// For those who are not in.
    pub fn bare(title: &str) -> Frame<'a> {
        Frame { title: title.to_owned(), visitor: None, here: Here::Elsewhere, version: &VERSION }
    }

    pub fn is(&self, here: &str) -> bool {
        matches!((self.here, here), (Here::Overview, "overview") | (Here::Runs, "runs") | (Here::Pass, "pass"))
    }
}

/// A run in a list.
pub struct RunRow {
    pub id: String,
    pub feed: String,
    pub file: String,
    pub kind: &'static str,
    pub state: &'static str,
    pub tone: Tone,
    pub seen: Instant,
    pub records: String,
    /// Empty where nobody is needed.
    pub need: String,
    pub note: String,
}

impl RunRow {
    pub fn of(line: &RunLine, config: &Config) -> RunRow {
        RunRow {
            id: line.run.clone(),
            feed: line.feed.clone(),
            file: visible(&line.file, LETTERS_MAX),
            kind: kind(line.kind),
            state: words::state_words(line.state),
            tone: words::state_tone(line.state),
            seen: Instant::new(line.seen_at, zone(config, &line.feed)),
            records: count(line.records),
            need: if line.needs_person == 0 || line.state == State::Held { String::new() } else { count(line.needs_person) },
            note: visible(&line.note(), LETTERS_MAX),
        }
    }
}

/// What a run is where it is no file; nothing where it is one.
pub const fn kind(kind: RunKind) -> &'static str {
    match kind {
        RunKind::File => "",
        RunKind::Correction | RunKind::Retry => kind.as_str(),
    }
}

/// The zone in which a feed's people live.
pub fn zone(config: &Config, feed: &str) -> Zone {
    config.feeds.get(feed).map_or(Zone::UTC, |feed| feed.times.zone)
}

/// A choice of a form.
pub struct Choice {
    pub value: String,
    pub words: String,
    pub chosen: bool,
}

impl Choice {
    pub fn new(value: &str, words: impl Into<String>, chosen: &str) -> Choice {
        Choice { value: value.to_owned(), words: words.into(), chosen: value == chosen }
    }
}
