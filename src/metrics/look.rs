//! What the ledger and the disk say when somebody asks. Few and cheap looks: none reads rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

use super::hands::Hands;
use super::names;
use super::text::Families;
use crate::dispatch::Health;
use crate::ledger::{RunFilter, SourceNote, State};
use crate::pipeline::{Road, Station, waits_for_platform};
use crate::space;
use crate::watcher::{expected, in_use};

/// Seconds since 1970, as Prometheus has times.
pub fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Of one feed.
#[derive(Clone, Debug, Default)]
struct FeedFigures {
    /// Files that are not over.
    files: BTreeMap<State, u64>,
    oldest_seconds: f64,
    rows_waiting: u64,
    rows_in_doubt: u64,
    rate: f64,
    /// Of the running file, by station.
    progress: BTreeMap<&'static str, f64>,
    /// None where no file is expected.
    overdue: Option<bool>,
}

/// One look at everything.
#[derive(Clone, Debug)]
pub struct Figures {
    /// When it was looked.
    pub at: DateTime<Utc>,
    feeds: BTreeMap<String, FeedFigures>,
    /// Of every source of the configuration that something is done with. One that is being read from is as good as listed.
    pub sources: Vec<SourceNote>,
    /// Platforms that runs send to, and those that are known to be out by runs that wait for them.
    sending: BTreeSet<String>,
    missed: BTreeSet<String>,
    ledger_bytes: u64,
    spool_bytes: u64,
    state_free: Option<u64>,
    reserve_held: bool,
    config_accepted: bool,
}

impl Figures {
    pub fn read(road: &Road, hands: &Hands) -> anyhow::Result<Figures> {
        let config = &road.config;
        let mut feeds: BTreeMap<String, FeedFigures> = config.feeds.keys().map(|name| (name.clone(), FeedFigures::default())).collect();
        let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let now = Utc::now();
        let paused = road.ledger.paused()?;
        let mut transfers: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
        let (mut sending, mut missed) = (BTreeSet::new(), BTreeSet::new());
        for run in road.ledger.runs(&RunFilter { states: open, ..RunFilter::default() })? {
            let feed = feeds.entry(run.feed.clone()).or_default();
            *feed.files.entry(run.state).or_default() += 1;
            let age = (now - run.detail.seen_at).as_seconds_f64();
            feed.oldest_seconds = feed.oldest_seconds.max(age);
            let hand = hands.of(&run.id).filter(|_| road.is_in_hand(&run.id));
            if run.state == State::Applying {
                sending.insert(run.account.clone());
            }
            if waits_for_platform(&run).is_some() && !paused.iter().any(|(feed, ..)| *feed == run.feed) {
                missed.insert(run.account.clone());
            }
            // Its connection is taken: nothing can be listed meanwhile.
            if let Some(hand) = hand.filter(|hand| hand.station == Station::Fetch) {
                let moved = now - TimeDelta::from_std(hand.moved.elapsed()).unwrap_or_default();
                let last = transfers.entry(run.source.clone()).or_insert(moved);
                *last = moved.max(*last);
            }
            if matches!(run.state, State::Checked | State::Applying | State::Paused) {
                let sending = hand.filter(|hand| hand.station == Station::Apply);
                feed.rows_waiting += sending.map_or(run.detail.left_at_start, |hand| hand.total.saturating_sub(hand.done));
                feed.rate += sending.map_or(0.0, |hand| hand.per_second());
            }
            if let Some(hand) = hand {
                feed.progress.insert(station(hand.station), hand.progress());
            }
        }
        for (feed, rows) in road.ledger.rows_in_doubt()? {
            feeds.entry(feed).or_default().rows_in_doubt = rows;
        }
        let overdue = expected::overdue(config, &*road.ledger, now)?;
        for feed in config.feeds.values().filter(|feed| feed.expected.is_some()) {
            feeds.entry(feed.name.clone()).or_default().overdue = Some(overdue.iter().any(|one| one.feed == feed.name));
        }
        let notes = road.ledger.source_notes()?;
        let note_of = |name: &String| {
            let known = notes.iter().find(|note| note.source == *name).cloned();
            let mut note =
                known.unwrap_or_else(|| SourceNote { source: name.clone(), listed_at: None, trouble: None, trouble_since: None });
            if note.trouble.is_none() {
                note.listed_at = note.listed_at.map(|at| transfers.get(name).map_or(at, |moved| at.max(*moved)));
            }
            note
        };
        let ledger = config.state.join("ledger.sqlite");
        let in_use = in_use(&config.state);
        Ok(Figures {
            at: now,
            feeds,
            sources: config.sources.keys().filter(|name| config.uses(name)).map(note_of).collect(),
            sending,
            missed,
            ledger_bytes: size(&ledger) + size(&ledger.with_extension("sqlite-wal")),
            spool_bytes: road.spool.entries()?.iter().map(|entry| size(&entry.path)).sum(),
            state_free: space::free(&config.state).ok(),
            reserve_held: !road.room.is_short(),
            config_accepted: in_use.is_none_or(|in_use| in_use.refused.is_none()),
        })
    }

    pub fn write(&self, families: &mut Families) {
        for (feed, figures) in &self.feeds {
            let of = [("feed", feed.as_str())];
            for state in State::ALL.into_iter().filter(|state| !state.is_over()) {
                let files = figures.files.get(&state).copied().unwrap_or_default();
                families.set(names::FILES, &[of[0], ("state", state.as_str())], files as f64);
            }
            families.set(names::OLDEST, &of, figures.oldest_seconds);
            families.set(names::ROWS_WAITING, &of, figures.rows_waiting as f64);
            families.set(names::ROWS_IN_DOUBT, &of, figures.rows_in_doubt as f64);
            families.set(names::RATE, &of, figures.rate);
            for (station, progress) in &figures.progress {
                families.set(names::PROGRESS, &[of[0], ("station", station)], *progress);
            }
            if let Some(overdue) = figures.overdue {
                families.set(names::OVERDUE, &of, flag(overdue));
            }
        }
        for note in &self.sources {
            let of = [("source", note.source.as_str())];
            let listed = note.listed_at.map_or(0.0, |at| at.timestamp_millis() as f64 / 1000.0);
            families.set(names::SOURCE_LISTED, &of, listed);
            families.set(names::SOURCE_UP, &of, flag(note.listed_at.is_some() && note.trouble.is_none()));
        }
        families.set(names::LEDGER_BYTES, &[], self.ledger_bytes as f64);
        families.set(names::SPOOL_BYTES, &[], self.spool_bytes as f64);
        if let Some(free) = self.state_free {
            families.set(names::STATE_FREE, &[], free as f64);
        }
        families.set(names::RESERVE_HELD, &[], flag(self.reserve_held));
        families.set(names::CONFIG_ACCEPTED, &[], flag(self.config_accepted));
    }
}

/// What the platform accounts of a road are doing at this moment. One that failed and that nobody needs is not asked again, and may well be
/// back.
pub fn accounts(road: &Road, figures: Option<&Figures>, families: &mut Families) {
    for name in road.config.platforms.keys() {
        let Ok(dispatch) = road.dispatch(name) else { continue };
        let of = [("platform", name.as_str())];
        let is_missed = figures.is_some_and(|figures| figures.missed.contains(name));
        let is_needed = is_missed || figures.is_none_or(|figures| figures.sending.contains(name));
        families.set(names::PLATFORM_UP, &of, flag(!is_missed && (dispatch.health() == Health::Up || !is_needed)));
        families.set(names::IN_FLIGHT, &of, dispatch.in_flight() as f64);
        families.set(names::ALLOWANCE, &of, dispatch.limits().per_second);
    }
}

const fn station(station: Station) -> &'static str {
    match station {
        Station::Fetch => "fetch",
        Station::Check => "check",
        Station::Apply => "apply",
    }
}

fn flag(so: bool) -> f64 {
    f64::from(u8::from(so))
}

/// Bytes of a file; what is gone has none.
fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}
