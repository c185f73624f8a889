//! All runs, newest first, as they are searched for.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State as At};
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, Fault, page as show, work};
use super::parts::{Choice, Frame, Here, RunRow, zone};
use super::visitor::Visitor;
use crate::config::meant::Config;
use crate::ledger::paged::RunSearch;
use crate::ledger::{Ledger, Paged, State};
use crate::page::words::state_words;
use crate::told::RunLine;

/// Runs on a page.
pub const RUNS: u64 = 50;

/// What somebody looks for, as a form of the page or a program sends it.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Wanted {
    pub feed: String,
    /// A state, such as `held`; several divided by commas.
    pub state: String,
    /// In the name of the file, or a run's id.
    pub text: String,
    /// First and last day, as `2026-06-11`, in the zone of the feed (UTC where none is named).
    pub from: String,
    pub until: String,
    /// Only runs before this one: `next` of the page before.
    pub before: Option<u64>,
}

impl Wanted {
    pub fn search(&self, config: &Config) -> Result<RunSearch, Fault> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let state = some(&self.state);
        let names = state.iter().flat_map(|names| names.split(','));
        let states = names.map(|name| State::parse(name.trim()).ok_or_else(|| Fault::bad(format!("There is no state {name:?}."))));
        let zone = zone(config, &self.feed);
        let day = |text: &str, later: u64| -> Result<Option<DateTime<Utc>>, Fault> {
            let Some(text) = some(text) else { return Ok(None) };
            let day = text.parse::<NaiveDate>().ok().and_then(|day| day.checked_add_days(Days::new(later)));
            let begins = day.and_then(|day| day.and_hms_opt(0, 0, 0)?.and_local_timezone(zone).earliest());
            begins.map(|at| Some(at.to_utc())).ok_or_else(|| Fault::bad(format!("{text:?} is no day; write it as 2026-06-11.")))
        };
        Ok(RunSearch {
            feed: some(&self.feed),
            states: states.collect::<Result<_, _>>()?,
            text: some(&self.text),
            from: day(&self.from, 0)?,
            until: day(&self.until, 1)?,
            before: self.before,
            limit: RUNS,
        })
    }

    fn query(&self, before: u64) -> String {
        let pairs: [(&str, &String); 5] =
            [("feed", &self.feed), ("state", &self.state), ("text", &self.text), ("from", &self.from), ("until", &self.until)];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("before", &before.to_string()).finish()
    }
}

/// Runs that fit, and where the next page begins.
pub fn found(ledger: &dyn Ledger, search: &RunSearch) -> Result<(Vec<RunLine>, Option<u64>), Fault> {
    let mut runs = Paged::search_runs(ledger, &RunSearch { limit: search.limit + 1, ..search.clone() })?;
    let more = runs.len() as u64 > search.limit;
    runs.truncate(search.limit as usize);
    let next = runs.last().map(|run| run.detail.order).filter(|_| more);
    let lines = runs.iter().map(|run| RunLine::of(run, ledger)).collect::<anyhow::Result<_>>()?;
    Ok((lines, next))
}

#[derive(Template)]
#[template(path = "review/history.html", config = "src/page/askama.toml")]
struct History<'a> {
    frame: Frame<'a>,
    wanted: &'a Wanted,
    feeds: Vec<Choice>,
    states: Vec<Choice>,
    runs: Vec<RunRow>,
    next: Option<String>,
}

pub async fn page(At(desk): At<Arc<Desk>>, visitor: Visitor, Query(wanted): Query<Wanted>) -> Answer {
    let config = desk.config();
    let search = wanted.search(&config)?;
    let (lines, next) = work(move || found(&*desk.ledger, &search)).await?;
    let all = |words: &str, chosen: &str| Choice::new("", words, chosen);
    let feeds = config.feeds.keys().map(|name| Choice::new(name, name.as_str(), &wanted.feed));
    let several = wanted.state.contains(',').then(|| Choice::new(&wanted.state, wanted.state.replace(',', ", "), &wanted.state));
    let states = State::ALL.into_iter().map(|state| Choice::new(state.as_str(), state_words(state), &wanted.state));
    show(&History {
        frame: Frame::new("Runs", &visitor, Here::Runs),
        feeds: std::iter::once(all("all feeds", &wanted.feed)).chain(feeds).collect(),
        states: std::iter::once(all("all states", &wanted.state)).chain(several).chain(states).collect(),
        runs: lines.iter().map(|line| RunRow::of(line, &config)).collect(),
        next: next.map(|before| wanted.query(before)),
        wanted: &wanted,
    })
}
