//! What there is to see at once: what waits for somebody, what runs, how each feed and source stands.

use std::sync::Arc;

use askama::Template;
use axum::extract::State as At;
use chrono_tz::Tz;

use super::Desk;
use super::answer::{Answer, page as show, work};
use super::parts::{Frame, Here, LETTERS_MAX, RunRow};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::page::words::{Instant, Tone, state_tone, state_words, visible};
use crate::told::RunLine;
use crate::told::status::{FeedStatus, Status, gather};

/// Runs of a group that the page shows; the history has all.
const SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "review/overview.html", config = "src/page/askama.toml")]
struct Overview<'a> {
    frame: Frame<'a>,
    running: bool,
    alerts: Vec<String>,
    refused: Option<String>,
    groups: Vec<Group>,
    feeds: Vec<FeedRow>,
    sources: Vec<SourceRow>,
}

struct Group {
    title: &'static str,
    tone: Tone,
    runs: Vec<RunRow>,
    more: usize,
}

struct FeedRow {
    name: String,
    platform: String,
    mode: &'static str,
    paused: Option<(String, Option<Instant>)>,
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
        let group = |title, tone, runs: &[RunLine]| Group {
            title,
            tone,
            runs: runs.iter().take(SHOWN).map(|run| RunRow::of(run, config)).collect(),
            more: runs.len().saturating_sub(SHOWN),
        };
        let groups = [
            group("Held: approve or discard", Tone::Warn, &status.held),
            group("Rows in doubt: settle them", Tone::Doubt, &status.in_doubt),
            group("Failed as a whole", Tone::Bad, &status.failed),
            group("Rows that need somebody", Tone::Bad, &status.needs_person),
            group("Being sent", Tone::Plain, &status.applying),
            group("Paused", Tone::Warn, &status.paused),
            group("On the way", Tone::Plain, &status.waiting),
            group("Input removed by somebody", Tone::Warn, &status.input_removed),
        ];
        let overdue = status.overdue.iter().map(|overdue| format!("Feed {}: {}", overdue.feed, overdue.words));
        let refused = status.configuration.as_ref().and_then(|configuration| configuration.in_use.refused.as_ref());
        Overview {
            frame: Frame::new("Overview", visitor, Here::Overview),
            running: status.running,
            alerts: status.alerts.iter().cloned().chain(overdue).map(|words| visible(&words, LETTERS_MAX)).collect(),
            refused: refused.map(|refused| visible(&refused.why, LETTERS_MAX)),
            groups: groups.into_iter().filter(|group| !group.runs.is_empty()).collect(),
            feeds: status.feeds.iter().map(|feed| FeedRow::of(config, feed)).collect(),
            sources: status
                .sources
                .iter()
                .map(|source| SourceRow {
                    name: source.source.clone(),
                    listed: source.listed_at.map(|at| Instant::new(at, Tz::UTC)),
                    trouble: source.trouble.as_deref().map(|words| visible(words, LETTERS_MAX)),
                    since: source.trouble_since.map(|at| Instant::new(at, Tz::UTC)),
                })
                .collect(),
        }
    }
}

impl FeedRow {
    fn of(config: &Config, feed: &FeedStatus) -> FeedRow {
        let zone = super::parts::zone(config, &feed.feed);
        let missing = feed.missing.iter().map(|waiting| {
            let tone = if waiting.alert { Tone::Bad } else { Tone::Plain };
            (visible(&waiting.what, LETTERS_MAX), visible(&waiting.words, LETTERS_MAX), tone)
        });
        FeedRow {
            name: feed.feed.clone(),
            platform: feed.platform.clone(),
            mode: feed.mode,
            paused: feed.paused_by.clone().map(|by| (by, feed.paused_at.map(|at| Instant::new(at, zone)))),
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
