//! What there is to see at once: what waits for somebody, what runs, how each feed and source stands.

use std::sync::Arc;

use askama::Template;
use axum::extract::State as At;

use super::Desk;
use super::answer::{Answer, page as show, work};
use super::parts::{Frame, Here, LETTERS_MAX, RunRow};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::ledger::State;
use crate::page::words::{Instant, Tone, state_tone, state_words, visible};
use crate::told::RunLine;
use crate::told::status::{FeedStatus, Status, WAITING, gather};
use crate::zone::Zone;

/// Runs of a group that the page shows; the history has all.
const SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "review/overview.html", config = "src/page/askama.toml")]
struct Overview<'a> {
    frame: Frame<'a>,
    running: bool,
    alerts: Vec<String>,
    refused: Option<String>,
    /// The file of the configuration is another than the daemon works with.
    changed: bool,
    /// Does nothing need anybody?
    quiet: bool,
    groups: Vec<Group>,
    feeds: Vec<FeedRow>,
    sources: Vec<SourceRow>,
}

struct Group {
    title: &'static str,
    tone: Tone,
    runs: Vec<RunRow>,
    /// Those beyond the first.
    more: Vec<RunRow>,
    /// Where all are found, for a group that is made of states.
    all: Option<String>,
}

struct FeedRow {
    name: String,
    platform: String,
    mode: &'static str,
    paused: Option<(String, Option<Instant>, String)>,
    resumed: Option<(String, Instant, String)>,
    last: Option<RunRow>,
    next: Vec<String>,
    missing: Vec<(String, String, Tone)>,
}

struct SourceRow {
    name: String,
    listed: Option<Instant>,
    trouble: Option<String>,
    since: Option<Instant>,
}

pub async fn page(At(desk): At<Arc<Desk>>, visitor: Visitor) -> Answer {
    let config = desk.config();
    let status = {
        let config = Arc::clone(&config);
        work(move || Ok(desk.counts.status(|| gather(&config, &*desk.ledger))?)).await?
    };
    show(&Overview::of(&config, &status, &visitor))
}

impl<'a> Overview<'a> {
    fn of(config: &Config, status: &Status, visitor: &'a Visitor) -> Overview<'a> {
        let group = |title, tone, states: &[State], runs: &[RunLine]| {
            let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            let mut runs: Vec<RunRow> = runs.iter().map(|run| RunRow::of(run, config)).collect();
            let more = runs.split_off(runs.len().min(SHOWN));
            Group { title, tone, runs, more, all: (!states.is_empty()).then(|| format!("/runs?state={}", states.join(","))) }
        };
        let groups = [
            group("Held: approve or discard", Tone::Warn, &[State::Held], &status.held),
            group("Rows in doubt: settle them", Tone::Doubt, &[], &status.in_doubt),
            group("Failed as a whole", Tone::Bad, &[State::Failed], &status.failed),
            group("Rows that need somebody", Tone::Bad, &[], &status.needs_person),
            group("Being sent", Tone::Plain, &[State::Applying], &status.applying),
            group("Paused", Tone::Warn, &[State::Paused], &status.paused),
            group("On the way", Tone::Plain, &WAITING, &status.waiting),
            group("Input removed by somebody", Tone::Warn, &[], &status.input_removed),
        ];
        let overdue = status.overdue.iter().map(|overdue| format!("Feed {}: {}", overdue.feed, overdue.words));
        let untold = status.told.iter().filter(|way| way.is_troubled());
        let untold = untold.map(|way| format!("Alerts by {} ({}) do not arrive: {}", way.alert, way.kind, way.words()));
        let refused = status.configuration.as_ref().and_then(|configuration| configuration.in_use.refused.as_ref());
        Overview {
            frame: Frame::new("Overview", visitor, Here::Overview),
            running: status.running,
            changed: status.configuration.as_ref().is_some_and(|configuration| !configuration.current),
            quiet: status.is_quiet(),
            alerts: status.alerts.iter().cloned().chain(overdue).chain(untold).map(|words| visible(&words, LETTERS_MAX)).collect(),
            refused: refused.map(|refused| visible(&refused.why, LETTERS_MAX)),
            groups: groups.into_iter().filter(|group| !group.runs.is_empty()).collect(),
            feeds: status.feeds.iter().map(|feed| FeedRow::of(config, feed)).collect(),
            sources: status
                .sources
                .iter()
                .map(|source| SourceRow {
                    name: source.source.clone(),
                    listed: source.listed_at.map(|at| Instant::new(at, Zone::UTC)),
                    trouble: source.trouble.as_deref().map(|words| visible(words, LETTERS_MAX)),
                    since: source.trouble_since.map(|at| Instant::new(at, Zone::UTC)),
                })
                .collect(),
        }
    }
}

impl FeedRow {
    fn of(config: &Config, feed: &FeedStatus) -> FeedRow {
        let zone = super::parts::zone(config, &feed.feed);
        let why = |reason: Option<&String>| reason.map(|reason| format!(": {}", visible(reason, LETTERS_MAX))).unwrap_or_default();
        let missing = feed.missing.iter().map(|waiting| {
            let tone = if waiting.alert { Tone::Bad } else { Tone::Plain };
            (visible(&waiting.what, LETTERS_MAX), visible(&waiting.words, LETTERS_MAX), tone)
        });
        FeedRow {
            name: feed.feed.clone(),
            platform: feed.platform.clone(),
            mode: feed.mode,
            paused: feed
                .paused_by
                .clone()
                .map(|by| (by, feed.paused_at.map(|at| Instant::new(at, zone)), why(feed.paused_reason.as_ref()))),
            resumed: feed.resumed.as_ref().map(|last| (last.by.clone(), Instant::new(last.at, zone), why(last.reason.as_ref()))),
            last: feed.last.as_ref().map(|last| RunRow {
                state: state_words(last.state),
                tone: state_tone(last.state),
                ..RunRow::of(last, config)
            }),
            next: feed.next.iter().map(|name| visible(name, LETTERS_MAX)).collect(),
            missing: missing.collect(),
        }
    }
}
