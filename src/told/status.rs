//! One screen: sources, feeds, what runs, what waits, what needs a person.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::alerts::{WayStatus, ways};
use super::{RunLine, needing_person};
use crate::config::meant::Config;
use crate::ledger::{Ledger, Pausing, Run, RunFilter, SourceNote, State, Waiting};
use crate::space::Room;
use crate::watcher::expected::{Overdue, overdue};
use crate::watcher::{InUse, in_use, somebody_leads};

#[derive(Serialize, JsonSchema)]
pub struct Status {
    /// Does a daemon or a sweep work with the state directory?
    pub running: bool,
    /// What keeps everything from going on, in words.
    pub alerts: Vec<String>,
    /// The configuration that the daemon works with, where one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    pub sources: Vec<SourceNote>,
    /// Files that should have come and have not.
    pub overdue: Vec<Overdue>,
    pub feeds: Vec<FeedStatus>,
    pub applying: Vec<RunLine>,
    pub paused: Vec<RunLine>,
    pub held: Vec<RunLine>,
    pub waiting: Vec<RunLine>,
    /// Among the last runs of each feed, with rows that need a person.
    pub needs_person: Vec<RunLine>,
    /// All of them, however old.
    pub in_doubt: Vec<RunLine>,
    /// Among the last runs of each feed.
    pub failed: Vec<RunLine>,
    /// Ways out for alerts, and what waits for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<WayStatus>,
    /// Among the last runs of each feed, those whose input was moved or removed by somebody.
    pub input_removed: Vec<RunLine>,
}

#[derive(Serialize, JsonSchema)]
pub struct Configuration {
    #[serde(flatten)]
    pub in_use: InUse,
    /// Is the file still as the daemon read it?
    pub current: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct FeedStatus {
    pub feed: String,
    pub source: String,
    pub platform: String,
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// Who last let it go on, and why, where it was ever paused and goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Pausing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RunLine>,
    /// Files on their way, in order.
    pub next: Vec<String>,
    /// Files and sets in the inbox that wait for others, as the last look found them.
    pub missing: Vec<Waiting>,
}

/// On the way, and not yet or no longer being sent.
pub const WAITING: [State; 4] = [State::Complete, State::Fetched, State::Checked, State::Reporting];
/// Runs of each feed looked back at for what needs a person.
const LOOK_BACK: u64 = 50;

impl Status {
    /// Does nothing at all need anybody?
    pub fn is_quiet(&self) -> bool {
        let runs = [&self.applying, &self.paused, &self.held, &self.waiting, &self.needs_person, &self.in_doubt, &self.failed];
        runs.into_iter().chain([&self.input_removed]).all(Vec::is_empty)
            && self.alerts.is_empty()
            && self.overdue.is_empty()
            && self.sources.iter().all(|source| source.trouble.is_none())
            && self.feeds.iter().all(|feed| feed.paused_by.is_none() && feed.missing.iter().all(|waiting| !waiting.alert))
            && !self.told.iter().any(WayStatus::is_troubled)
            && self.configuration.as_ref().is_none_or(|configuration| configuration.current && configuration.in_use.refused.is_none())
    }
}

/// Looks at everything. Reads the ledger and the configuration alone; sends nothing.
pub fn gather(config: &Config, ledger: &dyn Ledger) -> anyhow::Result<Status> {
    let in_states = |states: &[State]| -> anyhow::Result<Vec<RunLine>> {
        let filter = RunFilter { states: states.to_vec(), ..RunFilter::default() };
        ledger.runs(&filter)?.iter().map(|run| RunLine::of(run, ledger)).collect()
    };
    let recent = recent(config, ledger)?;
    let of_recent = |wanted: &dyn Fn(&Run) -> bool| -> anyhow::Result<Vec<RunLine>> {
        recent.values().rev().filter(|run| wanted(run)).map(|run| RunLine::of(run, ledger)).collect()
    };
    let notes = ledger.source_notes()?;
    let sources = config.sources.keys().map(|name| {
        let known = notes.iter().find(|note| note.source == *name).cloned();
        known.unwrap_or_else(|| SourceNote { source: name.clone(), listed_at: None, trouble: None, trouble_since: None })
    });
    let (paused, pausings) = (ledger.paused()?, ledger.pausings()?);
    let waiting = ledger.waiting(None)?;
    let mut feeds = Vec::new();
    for (name, feed) in &config.feeds {
        let of_feed = |states: Vec<State>, limit| RunFilter { feed: Some(name.clone()), states, limit };
        let over: Vec<State> = State::ALL.into_iter().filter(|state| state.is_over()).collect();
        let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let last = ledger.runs(&of_feed(over, Some(1)))?.first().map(|run| RunLine::of(run, ledger)).transpose()?;
        let mut next: Vec<String> = ledger.runs(&of_feed(open, None))?.iter().map(Run::shown_name).collect();
        next.reverse();
        let by = paused.iter().find(|(feed, ..)| feed == name);
        let last_change = pausings.iter().find(|last| last.feed == *name);
        feeds.push(FeedStatus {
            feed: name.clone(),
            source: feed.source.name.clone(),
            platform: feed.platform.name.clone(),
            mode: feed.mode.as_str(),
            paused_by: by.map(|(_, by, _)| by.clone()),
            paused_at: by.map(|(.., at)| *at),
            paused_reason: last_change.filter(|last| last.paused).and_then(|last| last.reason.clone()),
            resumed: last_change.filter(|last| !last.paused && by.is_none()).cloned(),
            last,
            next,
            missing: waiting.iter().filter(|waiting| waiting.feed == *name).cloned().collect(),
        });
    }
    let running = somebody_leads(&config.state);
    let in_use = in_use(&config.state).filter(|_| running);
    Ok(Status {
        running,
        configuration: in_use.map(|in_use| Configuration { current: in_use.hash == config.hash, in_use }),
        alerts: alerts(config),
        sources: sources.collect(),
        overdue: overdue(config, ledger, Utc::now())?,
        feeds,
        applying: in_states(&[State::Applying])?,
        paused: in_states(&[State::Paused])?,
        held: in_states(&[State::Held])?,
        waiting: in_states(&WAITING)?,
        needs_person: of_recent(&|run| run.state.is_over() && needing_person(run) > 0 && run.detail.fault.is_none())?,
        in_doubt: in_doubt(ledger)?,
        told: ways(config, ledger)?,
        failed: of_recent(&|run| run.state == State::Failed)?,
        input_removed: of_recent(&|run| run.detail.gone || run.detail.input_removed)?,
    })
}

/// The last runs of each feed, by their order. Whatever one feed brings, it hides nothing of another.
fn recent(config: &Config, ledger: &dyn Ledger) -> anyhow::Result<BTreeMap<u64, Run>> {
    let feeds = config.feeds.keys().map(|feed| Some(feed.clone()));
    let mut recent = BTreeMap::new();
    // The last of all as well: a feed may have left the configuration.
    for feed in feeds.chain([None]) {
        let filter = RunFilter { feed, limit: Some(LOOK_BACK), ..RunFilter::default() };
        recent.extend(ledger.runs(&filter)?.into_iter().map(|run| (run.detail.order, run)));
    }
    Ok(recent)
}

/// Runs that ended with rows in doubt, and all with an add that is.
fn in_doubt(ledger: &dyn Ledger) -> anyhow::Result<Vec<RunLine>> {
    let ended = RunFilter { states: vec![State::DoneInDoubt], ..RunFilter::default() };
    let mut runs: BTreeMap<u64, Run> = ledger.runs(&ended)?.into_iter().map(|run| (run.detail.order, run)).collect();
    let known: BTreeSet<String> = runs.values().map(|run| run.id.clone()).collect();
    for (id, _) in ledger.in_doubt_by_run()?.into_iter().filter(|(id, _)| !known.contains(id)) {
        runs.extend(ledger.run(&id)?.map(|run| (run.detail.order, run)));
    }
    runs.values().rev().map(|run| RunLine::of(run, ledger)).collect()
}

fn alerts(config: &Config) -> Vec<String> {
    // Before the first start there is no reserve, and nobody misses it.
    let led_before = config.state.join("lock").exists();
    let room = Room::new(&config.state, config.reserve, config.space_factor).alert().filter(|_| led_before);
    room.into_iter()
        .chain(crate::clock::fault(std::time::SystemTime::now()))
        .chain(crate::apple::host::alerts(config).into_iter().map(|trouble| trouble.words))
        .collect()
}
