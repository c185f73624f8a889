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
pub mod claim;
pub mod correction;
pub mod decode;
pub mod diff;
pub mod discover;
pub mod fetch;
pub mod guard;
pub mod index;
pub mod pending;
pub mod places;
pub mod report;
pub mod resolve;
pub mod road;
mod room;
pub mod sent;
pub mod sequence;
pub mod settle;
pub mod spill;
pub mod validate;

use std::fs::File;
use std::time::Instant;

use anyhow::Context;
use bstr::ByteSlice;
use chrono::Utc;
use tracing::{info, warn};

use crate::config::meant::{Feed, Mode};
use crate::keeping::unknown;
use crate::ledger::keeping::Removed;
use crate::ledger::run::{Fault, Wish, WishKind};
use crate::ledger::{Run, RunKind, State};
use crate::outcome::{Code, Outcome};
use crate::source::SourceError;
use crate::space::Trouble;
use crate::stop::Stop;

use apply::Applied;
use archive::Archived;
use check::{Checked, FileInHand, check};
use claim::Claim;
use fetch::Fetch;
pub use road::{Progress, Road, Station};
use sent::Sent;

#[cfg(test)]
mod tests;

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
    let rest = walk(road, run, stop);
    room::judge(road, run, rest)
}

fn walk(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Rest> {
    loop {
        let rest = match run.state {
            State::Complete => fetch_it(road, run, stop)?,
            State::Fetched => check_it(road, run)?,
            State::Checked => next(road, run, State::Applying)?,
            State::Held => decide(road, run)?,
            State::Applying | State::Paused => apply_it(road, run, stop)?,
            State::Reporting => report_it(road, run)?,
            _ => archive_it(road, run)?,
        };
        if let Some(rest) = rest {
            return Ok(rest);
        }
        if stop.is_draining() && !run.state.is_over() {
            return Ok(Rest::Stopping);
        }
    }
}

fn fetch_it(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if run.kind == RunKind::Retry {
        // Its file is its parent's, in the spool already.
        return match lost_copy(road, run)? {
            None => next(road, run, State::Fetched),
            Some(message) => {
                let suggestion = Some("Deliver the file again.".into());
                fail(road, run, Fault { code: Code::SourceError, line: None, column: None, offset: None, message, suggestion })
            }
        };
    }
    if let Some(wish) = road.ledger.take_wish(road.fence, &run.id)?.filter(|wish| wish.what != WishKind::Approve) {
        run.detail.cause = Some(told(&wish));
        // It may have been here before, and its copy was lost after rows had been sent.
        run.detail.end = Some(if run.detail.may_have_sent() { State::Stopped } else { State::Discarded });
        road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
        road.end_left(run, Code::RunStopped, "the run was ended before this row")?;
        return next(road, run, State::Reporting);
    }
    // No room will do for a file beyond the feed's limit: it fails below.
    let may_be_fetched = run.size <= feed.limits.file;
    if may_be_fetched && let Some(lacking) = road.room.lacks(run.size, room::is_compressed(run)) {
        return Ok(Some(room::wait_for(road, run, lacking)));
    }
    if let Some(rest) = claim_it(road, run, &feed)? {
        return Ok(Some(rest));
    }
    let died = begin(road, run, "fetched")?;
    if let Some(message) = died {
        run.detail.attempts = 0;
        return fail(road, run, Fault { code: Code::SourceError, line: None, column: None, offset: None, message, suggestion: None });
    }
    let started = Instant::now();
    road.tell(run, Station::Fetch, 0, run.size);
    let fetched = fetch::fetch(run, road.link(&run.source)?, &road.spool, feed.limits.file, stop, &|bytes| {
        road.tell(run, Station::Fetch, bytes, run.size);
    });
    // This start came back, however it ended.
    run.detail.attempts = 0;
    match fetched {
        Ok(Fetch::Whole { sha256 }) if run.detail.may_have_sent() => {
            if run.sha256.as_ref() != Some(&sha256) {
                return replaced(road, run);
            }
            add_time(run, "fetch", started);
            next(road, run, State::Fetched)
        }
        Ok(Fetch::Changed) if run.detail.may_have_sent() => replaced_or_touched(road, run),
        Ok(Fetch::Whole { sha256 }) => {
            time(run, "fetch", started);
            run.sha256 = Some(sha256);
            if let Some(earlier) = road.nothing_new(run, &feed)? {
                info!(earlier = earlier.id, "nothing new: the file equals the last one applied");
                run.parent = Some(earlier.id.clone());
                run.detail.nothing_new = true;
                run.detail.fingerprint = earlier.detail.fingerprint;
                run.detail.facts = earlier.detail.facts;
                run.detail.counted.add(Outcome::Unchanged, earlier.detail.tally.total());
                return next(road, run, State::Reporting);
            }
            if road.is_own_report(run)? {
                return road.forget_own_report(run).map(|()| Some(Rest::Over));
            }
            next(road, run, State::Fetched)
        }
        Ok(Fetch::Changed) => {
            warn!("the file changed since it was complete; it is looked at anew");
            run.detail.waits = Some("the file changed since it was complete".into());
            road.spool.remove(&run.id)?;
            road.ledger.drop_run(road.fence, &run.id)?;
            Ok(Some(Rest::Later))
        }
        Ok(Fetch::TooLarge) => {
            let message = format!("the file has {} bytes; limits.file allows {}", run.size, feed.limits.file);
            fail(road, run, Fault { code: Code::FileTooLarge, line: None, column: None, offset: None, message, suggestion: None })
        }
        Ok(Fetch::Gone) => gone(road, run),
        Ok(Fetch::Stopped) => {
            road.save(run)?;
            Ok(Some(Rest::Stopping))
        }
        Err(SourceError::Local(error)) => Err(error.into()),
        Err(error) => later(road, run, &error),
    }
}

/// The file of a run that has sent rows is to be fetched again, and is not as it was. What stands there with the same bytes was touched
/// only; anything else is another delivery.
fn replaced_or_touched(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let path = claim::input(run);
    match road.link(&run.source)?.with(|source| source.stat(path.as_bstr())) {
        Ok(None) => gone(road, run),
        // Its hash tells, once it is here.
        Ok(Some(there)) if there.size == run.size => {
            run.mtime = there.mtime;
            next(road, run, State::Complete)
        }
        Ok(Some(_)) => replaced(road, run),
        Err(error) => later(road, run, &error),
    }
}

/// Ends a run with what it did: its copy was lost after rows of it were sent, and in the file's place is another.
fn replaced(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    // Not this run's to put away, and not its copy.
    run.detail.gone = true;
    road.spool.remove(&run.id)?;
    let message = "the file changed after some of its rows had been sent and its copy was lost; what is there now is another delivery";
    let suggestion = Some("Look at what this report says was done; deliver the rest again.".into());
    fail(road, run, Fault { code: Code::SourceError, line: None, column: None, offset: None, message: message.into(), suggestion })
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

/// Somebody took the file away before it was here.
fn gone(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    warn!("the file was taken away before it was fetched");
    run.detail.cause = Some(format!("input removed: {:?} was taken away before it was fetched", claim::input(run)));
    run.detail.gone = true;
    if run.sha256.is_some() {
        // It was here once, and its copy was lost: rows that were left have an end too.
        road.end_left(run, Code::RunStopped, "the file was lost before this row was sent")?;
        run.detail.end = Some(State::Discarded);
        return next(road, run, State::Reporting);
    }
    next(road, run, State::Discarded)
}

/// Takes the file for this machine, where the feed says so. None when it may be fetched.
fn claim_it(road: &Road, run: &mut Run, feed: &Feed) -> anyhow::Result<Option<Rest>> {
    let Some(folder) = road.claim_folder(feed) else { return Ok(None) };
    let link = road.link(&run.source)?;
    if run.detail.claimed.is_none() {
        run.detail.claimed = match link.with(|source| claim::destination(folder.as_bstr(), run, source)) {
            Ok(to) => Some(to),
            Err(error) => return later(road, run, &error),
        };
        // Written down before the move, so that a restart finds the file.
        road.save(run)?;
    }
    let to = claim::input(run);
    match link.with(|source| claim::claim(run, to.as_bstr(), source)) {
        Ok(Claim::Ours { mtime }) => {
            run.mtime = mtime;
            run.detail.taken = true;
            road.save(run)?;
            Ok(None)
        }
        Ok(Claim::Lost) if run.detail.taken || run.detail.may_have_sent() => gone(road, run),
        Ok(_) if run.detail.may_have_sent() => replaced_or_touched(road, run),
        Ok(lost) => {
            if lost == Claim::Lost {
                info!("the file is gone: another machine took it, or somebody removed it");
            } else {
                info!("the file changed before it was claimed; it is looked at anew");
            }
            road.ledger.drop_run(road.fence, &run.id)?;
            Ok(Some(Rest::Over))
        }
        Err(error) => {
            if matches!(error, SourceError::Exists(_)) {
                run.detail.claimed = None;
            }
            later(road, run, &error)
        }
    }
}

fn fetch_again(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    warn!("the spool has lost the file: it is fetched again");
    next(road, run, State::Complete)
}

/// Decode, validate, diff and guard: everything that sends nothing.
fn check_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    if run.kind != RunKind::Retry && !road.spool.data(&run.id).exists() {
        return fetch_again(road, run);
    }
    run.detail.fault = None;
    run.detail.verdicts.clear();
    run.detail.config_hash.clone_from(&road.config.hash);
    let died = {
        // Its rows go from here until they are compared again: whoever is compared meanwhile must know that they are missing.
        let _order = road.account_order(&run.account)?;
        if let Err(other) = road.runs_before(run, &run.account)? {
            return waits_for(road, run, check::words_behind(&other));
        }
        begin(road, run, "read")?
    };
    if let Some(message) = died {
        run.detail.attempts = 0;
        return fail(road, run, Fault { code: Code::SourceError, line: None, column: None, offset: None, message, suggestion: None });
    }
    let sent = Sent::of(&*road.ledger, road.fence, &run.id)?;
    let started = Instant::now();
    let checked = check(road, run, &sent);
    // Only a start that never came back speaks against the file; a full disk or a busy ledger does not.
    run.detail.attempts = 0;
    let checked = match checked.map_err(anyhow::Error::downcast) {
        Ok(checked) => checked,
        // The place of the reports could not be looked at.
        Err(Ok(error)) if !matches!(error, SourceError::Local(_)) => return later(road, run, &error),
        Err(error) => return Err(error.map_or_else(|other| other, anyhow::Error::from)),
    };
    time(run, "check", started);
    match checked {
        Checked::Bad(fault) => fail(road, run, fault),
        Checked::Behind(words) => waits_for(road, run, words),
        Checked::Held => {
            time(run, "check", started);
            next(road, run, State::Held)?;
            report_held(road, run)?;
            Ok(None)
        }
        Checked::Ready => Ok(None),
    }
}

/// A held run waits for somebody's word.
fn decide(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let waits = road.ledger.peek_wish(&run.id)?.filter(|wish| wish.what == WishKind::Approve);
    if let Some(wish) = waits.filter(|_| run.detail.verdicts.iter().any(|verdict| verdict.held && verdict.guard == unknown::GUARD)) {
        match road.accept_reports(&*road.feed(&run.feed)?, &wish.by).map_err(anyhow::Error::downcast::<SourceError>) {
            Ok(()) => {}
            Err(Ok(error)) => return later(road, run, &error),
            Err(Err(error)) => return Err(error),
        }
    }
    let Some(wish) = road.ledger.take_wish(road.fence, &run.id)? else { return Ok(Some(Rest::Held)) };
    info!(by = wish.by, "{}", wish.what.done());
    match wish.what {
        WishKind::Approve => {
            // What was approved was shown under the feed as it was when the file was checked; a changed one is judged anew.
            let same = road.fingerprint(run)?.as_ref() == Some(&run.detail.fingerprint);
            if !same {
                warn!("the feed changed since the file was held: the approval does not count for what it would do now");
            }
            run.detail.approval = same.then_some(wish);
            if run.kind != RunKind::Retry
                && let Some(sha256) = &run.sha256
                && !road.spool.is_whole(&run.id, sha256)?
            {
                warn!("the copy in the spool is not what was fetched and shown: it is thrown away");
                road.spool.remove(&run.id)?;
            }
            next(road, run, State::Fetched)
        }
        WishKind::Discard | WishKind::Stop => {
            run.detail.cause = Some(told(&wish));
            run.detail.approval = None;
            road.end_left(run, Code::Discarded, "the held run was discarded")?;
            run.detail.end = Some(State::Discarded);
            next(road, run, State::Reporting)
        }
    }
}

fn apply_it(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if end_by_wish(road, run, &feed)? {
        return Ok(None);
    }
    if road.is_paused(&feed.name)? {
        if run.state != State::Paused {
            run.detail.cause = Some("the feed is paused".into());
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
        road.end_left(run, Code::RunStopped, &words)?;
        run.detail.cause = Some(words);
        run.detail.end = Some(State::Stopped);
        return next(road, run, State::Reporting);
    }
    let started = Instant::now();
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
                run.detail.cause = Some("the feed is paused".into());
            }
            road.save(run)?;
            Ok(Some(if stop.is_draining() { Rest::Stopping } else { Rest::Later }))
        }
    }
}

/// Notes that sending begins, before it does. Gives how many starts in a row, this one included, ended no row.
fn count_start(road: &Road, run: &mut Run) -> anyhow::Result<u32> {
    let left = road.ledger.count_pending(&run.id)?;
    run.detail.attempts = if left == run.detail.left_at_start { run.detail.attempts + 1 } else { 1 };
    run.detail.left_at_start = left;
    run.detail.begun |= left > 0;
    road.save(run)?;
    Ok(run.detail.attempts)
}

/// Stops a run in the middle, until somebody decides.
fn hold(road: &Road, run: &mut Run, guard: &str, evidence: String) -> anyhow::Result<Option<Rest>> {
    run.detail.verdicts.insert(0, crate::ledger::run::Verdict { guard: guard.into(), held: true, evidence });
    next(road, run, State::Held)?;
    report_held(road, run)?;
    Ok(None)
}

/// Ends the rows that are left when somebody asked for it. False when nobody did.
fn end_by_wish(road: &Road, run: &mut Run, feed: &Feed) -> anyhow::Result<bool> {
    let Some(wish) = road.ledger.take_wish(road.fence, &run.id)?.filter(|wish| wish.what != WishKind::Approve) else { return Ok(false) };
    info!(by = wish.by, "{}", wish.what.done());
    run.detail.cause = Some(told(&wish));
    run.detail.end = Some(State::Stopped);
    road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
    road.end_left(run, Code::RunStopped, "the run was stopped before this row")?;
    next(road, run, State::Reporting)?;
    Ok(true)
}

/// What of a report is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HowMuch {
    All,
    NoRows,
    Nothing,
}

/// Tallies, writes the reports to their place, and decides how the run ended.
fn report_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if road.ledger.count_pending(&run.id)? > 0 {
        // Each station that ends a run early ends its rows; one that did not is a fault of ours, and no row may be left without an end.
        tracing::error!("rows were left without an end: they end not-attempted");
        road.end_left(run, Code::RunStopped, "the run ended before this row")?;
    }
    road.doubt_forgotten(run)?;
    let died = begin(road, run, "wrote the report of")?;
    if let Some(words) = died {
        warn!("{words}: it is put away with less of a report");
        // Its rows may be what kills; the ledger has them.
        run.detail.end.get_or_insert(State::Stopped);
        run.detail.cause.get_or_insert_with(|| words.clone());
        if !run.detail.warnings.contains(&words) {
            run.detail.warnings.push(words);
        }
    }
    let how_much = match run.detail.attempts {
        0..=ATTEMPTS_MAX => HowMuch::All,
        attempts if attempts <= 2 * ATTEMPTS_MAX => HowMuch::NoRows,
        _ => HowMuch::Nothing,
    };
    run.detail.attempts = 0;
    let mut ended = run.clone();
    ended.detail.waits = None;
    ended.detail.tally = ended.detail.counted.clone();
    ended.detail.tally.merge(&road.ledger.tally(&run.id)?);
    road.count_delivery_problems(&mut ended)?;
    ended.state = end_state(&ended);
    ended.detail.ended_at.get_or_insert_with(Utc::now);
    if how_much == HowMuch::Nothing {
        ended.detail.reports.clear();
    } else if let Err(error) = road.publish(&mut ended, &feed, how_much == HowMuch::All) {
        run.detail.reports.clone_from(&ended.detail.reports);
        return match error.downcast::<SourceError>() {
            Ok(error) => {
                warn!("the report cannot be written to its place: {error}");
                run.detail.waits = Some(format!("its report cannot be written: {error}"));
                road.save(run)?;
                Ok(Some(Rest::Later))
            }
            Err(error) => Err(error),
        };
    }
    // Only now is the end known to everybody: until the report is up, the run is still reporting.
    let end = ended.state;
    ended.state = State::Reporting;
    road.save(&ended)?;
    *run = ended;
    run.state = end;
    Ok(None)
}

fn archive_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if run.kind != RunKind::Retry && !run.detail.gone {
        if run.detail.archive_attempts >= ATTEMPTS_MAX && still_there(road, run)? {
            let words = format!("{}: move or remove it yourself", told_died("put away"));
            warn!("{words}");
            run.detail.waits = Some(words);
            road.save_as(run, State::Reporting)?;
            return Ok(Some(Rest::Later));
        }
        run.detail.archive_attempts += 1;
        let moved = road.link(&run.source)?.with(|source| {
            if run.detail.archived.is_none() {
                run.detail.archived = archive::destination(&feed, run, source)?;
            }
            Ok(())
        });
        let archived = moved.and_then(|()| {
            // Written down before the move, in a state that a restart takes up again.
            road.save_as(run, State::Reporting).map_err(|error| SourceError::Other(error.to_string()))?;
            road.link(&run.source)
                .map_err(|error| SourceError::Other(error.to_string()))?
                .with(|source| archive::archive(&feed, run, source))
        });
        run.detail.archive_attempts = 0;
        if matches!(archived, Ok(Archived::Removed)) {
            let message = format!("input removed: {:?} was moved or removed by somebody before it was put away", claim::input(run));
            warn!("{message}");
            run.detail.input_removed = true;
            run.detail.archived = None;
            run.detail.cause.get_or_insert(message);
        }
        if let Err(error) = archived {
            warn!("the input cannot be put away: {error}");
            run.detail.waits = Some(format!("its input cannot be put away: {error}"));
            if matches!(error, SourceError::Exists(_)) {
                // Somebody took the name meanwhile: the next try chooses another.
                run.detail.archived = None;
            }
            road.save_as(run, State::Reporting)?;
            return Ok(Some(Rest::Later));
        }
    }
    run.detail.waits = None;
    road.note_continued(run)?;
    road.save(run)?;
    road.clean_up(run)?;
    road.ended(run);
    Ok(Some(Rest::Over))
}

/// Is the delivered file where it was? What cannot be looked at counts as there.
fn still_there(road: &Road, run: &Run) -> anyhow::Result<bool> {
    let path = claim::input(run);
    let there = road.link(&run.source)?.with(|source| source.stat(path.as_bstr()));
    Ok(there.map_or(true, |there| there.is_some_and(|there| (there.size, there.mtime) == (run.size, run.mtime))))
}

/// The report of a held run; the run stays where it is when it cannot be written.
fn report_held(road: &Road, run: &mut Run) -> anyhow::Result<()> {
    let feed = road.feed(&run.feed)?;
    let mut held = run.clone();
    held.detail.tally = held.detail.counted.clone();
    held.detail.tally.merge(&road.ledger.tally(&run.id)?);
    held.detail.reports.clear();
    if let Err(error) = road.publish(&mut held, &feed, true) {
        warn!("the report of the held file cannot be written: {error:#}");
    }
    run.detail.tally = held.detail.tally;
    // The final report chooses its own names.
    run.detail.reports.clear();
    road.save(run)?;
    road.ended(run);
    Ok(())
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

fn end_state(run: &Run) -> State {
    if run.detail.fault.is_some() {
        State::Failed
    } else if let Some(end) = run.detail.end {
        end
    } else if run.detail.tally.get(Outcome::InDoubt) > 0 {
        State::DoneInDoubt
    } else {
        State::Done
    }
}

/// Who asked for what, and why, for people.
fn told(wish: &Wish) -> String {
    let reason = wish.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} by {}{reason}", wish.what.done(), wish.by)
}

fn later(road: &Road, run: &mut Run, error: &SourceError) -> anyhow::Result<Option<Rest>> {
    warn!("waits: {error}");
    run.detail.waits = Some(error.to_string());
    road.save(run)?;
    Ok(Some(Rest::Later))
}

fn waits_for(road: &Road, run: &mut Run, words: String) -> anyhow::Result<Option<Rest>> {
    run.detail.waits = Some(words);
    road.save(run)?;
    Ok(Some(Rest::Later))
}

fn next(road: &Road, run: &mut Run, state: State) -> anyhow::Result<Option<Rest>> {
    run.state = state;
    run.detail.waits = None;
    road.save(run)?;
    Ok(None)
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
fn open_text(road: &Road, run: &Run) -> anyhow::Result<File> {
    let owner = road.spool_owner(run);
    let text = road.spool.text(&owner);
    let path = if text.exists() { text } else { road.spool.data(&owner) };
    match File::open(&path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(anyhow::anyhow!("{}", told_lost(&owner, road.ledger.run(&owner)?.as_ref())))
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
