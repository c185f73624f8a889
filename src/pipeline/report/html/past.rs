//! How a run compares with the last files of its feed.

use crate::zone::Zone;

use crate::ledger::{Ledger, Run, RunFilter, RunKind, State};
use crate::outcome::Outcome;
use crate::page::chart::{Columns, Point};
use crate::page::words::{self, Instant, Tone};
use crate::pipeline::guard::median;

/// Files looked back at, and runs that are looked through for them.
const FILES: usize = 10;
const LOOKED_AT: u64 = 50;
const NAME_MAX: usize = 60;

/// One number of this file beside those of the files before it.
pub struct Figure {
    pub name: &'static str,
    pub value: String,
    pub chart: Columns,
    pub note: String,
}

/// A file in the table behind the charts.
pub struct PastFile {
    pub name: String,
    pub current: bool,
    pub seen: Instant,
    pub records: String,
    pub rejected: String,
    pub duration: String,
    pub state: &'static str,
    pub tone: Tone,
}

pub struct Past {
    pub figures: Vec<Figure>,
    /// Newest first.
    pub files: Vec<PastFile>,
}

struct Numbers {
    records: u64,
    rejected: u64,
    /// Milliseconds at work on it, whatever it waited for between. The report itself is not counted: it is not written yet.
    duration: u64,
}

impl Numbers {
    fn of(run: &Run) -> Numbers {
        let stations = ["fetch", "check", "apply"];
        Numbers {
            records: run.detail.facts.as_ref().map_or(0, |facts| facts.records),
            rejected: run.detail.tally.get(Outcome::Rejected),
            duration: stations.iter().filter_map(|station| run.detail.timings.get(*station)).sum(),
        }
    }
}

impl Past {
    /// None where this is no file, or the first one. Files that were answered at once, or were never read as rows, say nothing.
    pub fn of(run: &Run, ledger: &dyn Ledger, zone: Zone) -> anyhow::Result<Option<Past>> {
        let is_one = |run: &Run| run.kind == RunKind::File && !run.detail.nothing_new && run.detail.facts.is_some();
        if !is_one(run) {
            return Ok(None);
        }
        let states = State::ALL.into_iter().filter(|state| state.is_over()).collect();
        let mut before = ledger.runs(&RunFilter { feed: Some(run.feed.clone()), states, limit: Some(LOOKED_AT) })?;
        before.retain(|other| other.detail.order < run.detail.order && is_one(other));
        before.truncate(FILES);
        if before.is_empty() {
            return Ok(None);
        }
        let files: Vec<(&Run, Numbers)> = std::iter::once(run).chain(&before).map(|run| (run, Numbers::of(run))).collect();
        let figure = |name, value: &dyn Fn(&Numbers) -> f64, shown: &dyn Fn(f64) -> String| figure(run, &files, name, value, shown);
        let share = |numbers: &Numbers| numbers.rejected as f64 / numbers.records.max(1) as f64;
        let mut figures = vec![
            figure("Rows", &|numbers| numbers.records as f64, &halves),
            figure("Rejected", &share, &|share| {
                if share > 0.0 && share < 1.0 { words::share(share) } else { words::percent(share as u64, 1) }
            }),
        ];
        if run.state != State::Held {
            figures
                .push(figure("Time at work", &|numbers| numbers.duration as f64, &|duration| words::milliseconds(duration.round() as u64)));
        }
        let told = files.iter().map(|(file, numbers)| PastFile {
            name: words::visible(&file.shown_name(), NAME_MAX),
            current: file.id == run.id,
            seen: Instant::new(file.detail.seen_at, zone),
            records: words::count(numbers.records),
            rejected: words::percent(numbers.rejected, numbers.records),
            duration: words::milliseconds(numbers.duration),
            state: words::state_words(file.state),
            tone: words::state_tone(file.state),
        });
        Ok(Some(Past { files: told.collect(), figures }))
    }
}

fn figure(
    run: &Run,
    files: &[(&Run, Numbers)],
    name: &'static str,
    value: &dyn Fn(&Numbers) -> f64,
    shown: &dyn Fn(f64) -> String,
) -> Figure {
    let points: Vec<Point> = files
        .iter()
        .rev()
        .map(|(file, numbers)| Point {
            label: words::visible(&file.shown_name(), NAME_MAX),
            value: value(numbers),
            shown: shown(value(numbers)),
            current: file.id == run.id,
        })
        .collect();
    let others: Vec<&Point> = points.iter().filter(|point| !point.current).collect();
    let median = median(others.iter().map(|point| point.value)).map(|median| (median, shown(median)));
    let note = match (&others[..], &median) {
        ([], _) | (_, None) => String::new(),
        ([one], _) => format!("the file before: {}", one.shown),
        ([one, other], _) => format!("the two files before: {} and {}", one.shown, other.shown),
        (several, Some((_, median))) => format!("usually {median} (median of {})", several.len()),
    };
    let value = points.iter().find(|point| point.current).map(|point| point.shown.clone()).unwrap_or_default();
    let chart = Columns::of(name, &points, median.as_ref().map(|(value, words)| (*value, words.as_str())));
    Figure { name, value, chart, note }
}

/// Whole numbers, or what is between two.
fn halves(number: f64) -> String {
    format!("{}{}", words::count(number as u64), if number.fract() > 0.0 { ".5" } else { "" })
}
