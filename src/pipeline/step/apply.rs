//! Applying: from the first request to the last outcome, or to what stops it.

use std::time::Instant;

use chrono::Utc;
use tracing::warn;

use super::end::report_held;
use super::fetch::fetch_again;
use crate::config::meant::Feed;
use crate::keeping::unknown;
use crate::ledger::{Run, RunKind, State};
use crate::outcome::Code;
use crate::pipeline::apply::Applied;
use crate::pipeline::hand::FileInHand;
use crate::pipeline::{
    ATTEMPTS_MAX, FEED_PAUSED, Rest, Road, add_time, answered, asked_to_end, fail, later, lost_copy, next, told, told_died, waits_for,
    waits_for_platform,
};
use crate::source::SourceError;
use crate::stop::Stop;
use crate::trace;

pub(in crate::pipeline) fn apply_it(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if end_by_wish(road, run, &feed)? {
        return Ok(None);
    }
    if road.is_paused(&feed.name)? {
        if run.state != State::Paused {
            run.detail.cause = Some(FEED_PAUSED.into());
            next(road, run, State::Paused)?;
        }
        return Ok(Some(Rest::Later));
    }
    match road.unknown_reports(&feed).map_err(anyhow::Error::downcast::<SourceError>) {
        // The ledger is not the one that this run was checked with. Rows that ended keep their end; what is left waits for a person.
        Ok(unknown) => {
            if let Some(verdict) = unknown::verdict(&unknown) {
                return hold(road, run, unknown::GUARD, verdict.evidence);
            }
        }
        Err(Ok(error)) => return later(road, run, &error),
        Err(Err(error)) => return Err(error),
    }
    if run.detail.window_shut && feed.notify.as_ref().and_then(|notify| notify.window.as_ref()).is_some_and(|w| !w.is_open(Utc::now())) {
        return Ok(Some(Rest::Later));
    }
    run.detail.window_shut = false;
    if run.state == State::Paused && waits_for_platform(run).is_none() {
        (run.state, run.detail.cause) = (State::Applying, None);
    }
    if run.kind != RunKind::Retry && !road.spool.data(&run.id).exists() {
        road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
        return fetch_again(road, run);
    }
    if let Some(cause) = lost_copy(road, run)? {
        warn!("{cause}: its rows end not-attempted");
        road.end_left(run, Code::RunStopped, "the copy of the file was deleted before this row was sent")?;
        run.detail.cause = Some(cause);
        run.detail.end = Some(State::Stopped);
        return next(road, run, State::Reporting);
    }
    let hand = match FileInHand::open(road, run)? {
        Ok(hand) => hand,
        Err(fault) => return fail(road, run, fault),
    };
    if count_start(road, run)? > ATTEMPTS_MAX {
        let words = told_died("sent the rows of");
        run.detail.attempts = 0;
        warn!("{words}: it is put away");
        road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
        road.end_left(run, Code::RunStopped, &format!("{words}; what this row sets may have been sent, and sending it again is harmless"))?;
        run.detail.cause = Some(words);
        run.detail.end = Some(State::Stopped);
        return next(road, run, State::Reporting);
    }
    let started = Instant::now();
    let _trace = trace::station(run, "apply");
    let dispatch = road.dispatch(&feed.platform.name)?.for_run(stop);
    let applied = road.apply(run, &feed, &hand, &dispatch, stop);
    // This start came back, however it ended.
    run.detail.attempts = 0;
    run.detail.requests += dispatch.requests();
    let applied = applied?;
    add_time(run, "apply", started);
    match applied {
        Applied::All => next(road, run, State::Reporting),
        Applied::TooManyUnresolved(evidence) => hold(road, run, "unresolved", evidence),
        Applied::SeedFailed(evidence) => hold(road, run, "seeds", evidence),
        Applied::Behind(words) => waits_for(road, run, words),
        Applied::WindowShut => {
            run.detail.window_shut = true;
            run.detail.cause = Some("notifications wait for their window".into());
            run.state = State::Paused;
            road.save(run)?;
            Ok(Some(Rest::Later))
        }
        Applied::Stopped => {
            if end_by_wish(road, run, &feed)? {
                return Ok(None);
            }
            if road.is_paused(&feed.name)? {
                run.state = State::Paused;
                run.detail.cause = Some(FEED_PAUSED.into());
            }
            road.save(run)?;
            Ok(Some(if stop.is_draining() { Rest::Stopping } else { Rest::Later }))
        }
    }
}

/// Notes that sending begins, before it does. Gives how many starts in a row, this one included, ended no row.
pub(in crate::pipeline) fn count_start(road: &Road, run: &mut Run) -> anyhow::Result<u32> {
    let left = road.ledger.count_pending(&run.id)?;
    run.detail.attempts = if left == run.detail.left_at_start { run.detail.attempts + 1 } else { 1 };
    run.detail.left_at_start = left;
    run.detail.begun |= left > 0;
    road.save(run)?;
    Ok(run.detail.attempts)
}

/// Stops a run in the middle, until somebody decides.
pub(in crate::pipeline) fn hold(road: &Road, run: &mut Run, guard: &str, evidence: String) -> anyhow::Result<Option<Rest>> {
    run.detail.verdicts.insert(0, crate::ledger::run::Verdict { guard: guard.into(), held: true, evidence });
    next(road, run, State::Held)?;
    report_held(road, run)?;
    Ok(None)
}

/// Ends the rows that are left when somebody asked for it. False when nobody did.
pub(in crate::pipeline) fn end_by_wish(road: &Road, run: &mut Run, feed: &Feed) -> anyhow::Result<bool> {
    let Some(wish) = asked_to_end(road, run)? else { return Ok(false) };
    let mut decided = run.clone();
    decided.detail.cause = Some(told(&wish));
    decided.detail.end = Some(State::Stopped);
    road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
    road.end_left(&decided, Code::RunStopped, "the run was stopped before this row")?;
    answered(road, run, decided, &wish, State::Reporting)?;
    Ok(true)
}
