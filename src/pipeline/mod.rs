//! The road of a file. [`process`] tells it; each station is a module that calls no other station.
//!
//! ```text
//! discover → fetch → decode → validate → diff → guard ─→ resolve → apply → report → archive
//!            └──────── whole file, ledger only, nothing sent ──┘
//! ```
//!
//! A run's state says which station is next, so a run that was interrupted anywhere goes on from there.

pub mod apply;
pub mod archive;
pub mod check;
pub mod checksum;
pub mod claim;
pub mod correction;
pub mod date;
pub mod decode;
pub mod diff;
pub mod discover;
pub mod fetch;
pub mod fix;
pub mod guard;
pub mod hand;
pub mod index;
pub mod looking;
pub mod pending;
pub mod places;
pub mod report;
pub mod resolve;
pub mod road;
mod room;
pub mod sent;
pub mod sequence;
pub mod sets;
pub mod settle;
pub mod spill;
mod step;
pub mod validate;

use std::fs::File;
use std::time::Instant;

use anyhow::Context;
use chrono::Utc;
use tracing::{info, warn};

use crate::config::meant::Mode;
use crate::ledger::keeping::Removed;
use crate::ledger::run::{Fault, Wish, WishKind};
use crate::ledger::{Run, RunKind, State};
use crate::metrics::count;
use crate::outcome::{Code, Outcome};
use crate::source::SourceError;
use crate::space::Trouble;
use crate::stop::Stop;
use crate::trace;

use looking::Kept;
use step::{apply_it, archive_it, check_it, decide, fetch_it, report_it};

pub use road::{Progress, Road, Station};

#[cfg(test)]
mod tests;

/// The cause of a run that waits because somebody paused its feed.
pub const FEED_PAUSED: &str = "the feed is paused";

/// Why the platform that a run waits for is out, if it waits for that.
pub fn waits_for_platform(run: &Run) -> Option<&str> {
    let cause = run.detail.cause.as_deref().unwrap_or_default();
    (run.state == State::Paused && !run.detail.window_shut && cause != FEED_PAUSED).then_some(cause)
}

/// Starts that may die on the same file before it is put away.
const ATTEMPTS_MAX: u32 = 3;

/// Where processing a run came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Over: reported and put away.
    Over,
    /// Waits for a person.
    Held,
    /// Waits for a file, a server or a feed that is paused; try again later.
    Later,
    /// The program is being stopped.
    Stopping,
}

/// Takes a run from where it is as far as it goes. A disk without room is something to wait for, at every station.
pub fn process(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Rest> {
    if !road.room.regain() {
        return Ok(room::wait(road, run, Trouble::Full));
    }
    let leave = trace::Leave;
    let rest = walk(road, run, stop);
    drop(leave);
    room::judge(road, run, rest)
}

fn walk(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Rest> {
    loop {
        let (begun, station) = (Instant::now(), station(run.state));
        let rest = match run.state {
            State::Complete => fetch_it(road, run, stop)?,
            State::Fetched => check_it(road, run)?,
            State::Checked => next(road, run, State::Applying)?,
            State::Held => decide(road, run)?,
            State::Applying | State::Paused => apply_it(road, run, stop)?,
            State::Reporting => report_it(road, run)?,
            _ => archive_it(road, run)?,
        };
        if let Some(station) = station.filter(|_| matches!(rest, None | Some(Rest::Over))) {
            count::station(&run.feed, station, begun.elapsed());
        }
        if let Some(rest) = rest {
            return Ok(rest);
        }
        if stop.is_draining() && !run.state.is_over() {
            return Ok(Rest::Stopping);
        }
    }
}

/// The station that a run in this state is at; none where it only waits.
const fn station(state: State) -> Option<&'static str> {
    match state {
        State::Complete => Some("fetch"),
        State::Fetched => Some("check"),
        State::Applying | State::Paused => Some("apply"),
        State::Reporting => Some("report"),
        State::Checked | State::Held => None,
        State::Done | State::DoneInDoubt | State::Failed | State::Discarded | State::Superseded | State::Stopped => Some("archive"),
    }
}

/// Notes that a station begins, before it does. Where too many starts in a row died there: what to say of it.
fn begin(road: &Road, run: &mut Run, doing: &str) -> anyhow::Result<Option<String>> {
    run.detail.attempts += 1;
    road.save(run)?;
    Ok((run.detail.attempts > ATTEMPTS_MAX).then(|| told_died(doing)))
}

fn told_died(doing: &str) -> String {
    format!("passferry stopped unexpectedly {ATTEMPTS_MAX} times while it {doing} this file")
}

fn fail(road: &Road, run: &mut Run, fault: Fault) -> anyhow::Result<Option<Rest>> {
    warn!(code = fault.code.as_str(), line = fault.line, "the file is bad as a whole: {}", fault.message);
    road.ledger.clear_rows(road.fence, &run.id)?;
    // A run that fails in the middle still says what it did, and what it may have done.
    road.end_left(run, Code::RunStopped, "the file failed as a whole before this row was sent")?;
    run.detail.counted = crate::outcome::Tally::default();
    let sent = road.ledger.tally(&run.id)?.total();
    if let Some(facts) = run.detail.facts.as_ref().filter(|_| sent > 0) {
        run.detail.counted.add(Outcome::NotAttempted, facts.records.saturating_sub(sent));
    }
    run.detail.fault = Some(fault);
    next(road, run, State::Reporting)
}

/// Who asked for what, and why, for people.
fn told(wish: &Wish) -> String {
    let reason = wish.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} by {}{reason}", wish.what.done(), wish.by)
}

fn later(road: &Road, run: &mut Run, error: &SourceError) -> anyhow::Result<Option<Rest>> {
    warn!("waits: {error}");
    run.detail.wait_for(error.to_string());
    road.save(run)?;
    Ok(Some(Rest::Later))
}

/// Waits for another run.
fn waits_for(road: &Road, run: &mut Run, words: String) -> anyhow::Result<Option<Rest>> {
    (run.detail.waits, run.detail.queued) = (Some(words), true);
    road.save(run)?;
    Ok(Some(Rest::Later))
}

fn next(road: &Road, run: &mut Run, state: State) -> anyhow::Result<Option<Rest>> {
    run.state = state;
    if state == State::Held {
        run.detail.held_at = Some(Utc::now());
    }
    (run.detail.waits, run.detail.queued) = (None, false);
    road.save(run)?;
    Ok(None)
}

/// As [`next`], of what a person asked for: their word is taken with what follows from it, or else a stop in between would lose it. Where
/// they asked for something else meanwhile, nothing follows from the earlier word.
fn answered(road: &Road, run: &mut Run, decided: Run, wish: &Wish, state: State) -> anyhow::Result<Option<Rest>> {
    let mut decided = Run { state, ..decided };
    decided.detail.waits = None;
    if road.ledger.save_answered(road.fence, &decided, wish)? {
        info!(by = wish.by, "{}", wish.what.done());
        *run = decided;
    }
    Ok(None)
}

/// What somebody asked for that ends the run. An approval is of a hold that is over.
fn asked_to_end(road: &Road, run: &Run) -> anyhow::Result<Option<Wish>> {
    let wish = road.ledger.peek_wish(&run.id)?;
    if wish.as_ref().is_some_and(|wish| wish.what == WishKind::Approve) {
        road.ledger.take_wish(road.fence, &run.id)?;
        return Ok(None);
    }
    Ok(wish)
}

fn time(run: &mut Run, station: &str, started: Instant) {
    run.detail.timings.insert(station.to_owned(), started.elapsed().as_millis() as u64);
}

fn add_time(run: &mut Run, station: &str, started: Instant) {
    *run.detail.timings.entry(station.to_owned()).or_default() += started.elapsed().as_millis() as u64;
}

/// Why a retry cannot read its rows any more, if so: the copy that it shares with the run it retries is gone.
fn lost_copy(road: &Road, run: &Run) -> anyhow::Result<Option<String>> {
    let owner = road.spool_owner(run);
    if run.kind != RunKind::Retry || road.spool.data(&owner).exists() {
        return Ok(None);
    }
    Ok(Some(told_lost(&owner, road.ledger.run(&owner)?.as_ref())))
}

/// That the copy of a run's file is gone, and why as far as that is known.
fn told_lost(owner: &str, run: Option<&Run>) -> String {
    let why = run.and_then(|run| run.detail.removed.as_ref()).map_or_else(|| "the spool has lost it".to_owned(), Removed::told);
    format!("the file of run {owner} is no longer here: {why}")
}

/// Opens the decoded text of a run that was checked before.
fn open_text(kept: &dyn Kept, run: &Run) -> anyhow::Result<File> {
    let owner = kept.spool_owner(run);
    let text = kept.spool().text(&owner);
    let path = if text.exists() { text } else { kept.spool().data(&owner) };
    match File::open(&path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(anyhow::anyhow!("{}", told_lost(&owner, kept.ledger().run(&owner)?.as_ref())))
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Rows that a feed's mode keeps back.
fn kept_back(mode: Mode) -> Option<(Code, &'static str)> {
    match mode {
        Mode::Live => None,
        Mode::Plan => Some((Code::PlanOnly, "the feed is in plan mode")),
        Mode::Canary => Some((Code::NotInCanary, "the row is outside the canary")),
    }
}
