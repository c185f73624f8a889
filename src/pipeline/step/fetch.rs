//! Fetching: the file comes here, unless somebody else has it, took it away or replaced it.

use std::time::Instant;

use bstr::ByteSlice;
use tracing::{info, warn};

use crate::config::meant::Feed;
use crate::ledger::run::Fault;
use crate::ledger::{Run, RunKind, State};
use crate::outcome::{Code, Outcome};
use crate::pipeline::claim::{self, Claim};
use crate::pipeline::fetch::{self, Copied, Fetch, There};
use crate::pipeline::sets;
use crate::pipeline::{Rest, Road, Station, add_time, answered, asked_to_end, begin, fail, later, lost_copy, next, room, time, told};
use crate::source::SourceError;
use crate::stop::Stop;
use crate::trace;

pub(in crate::pipeline) fn fetch_it(road: &Road, run: &mut Run, stop: &Stop) -> anyhow::Result<Option<Rest>> {
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
    if let Some(wish) = asked_to_end(road, run)? {
        let mut decided = run.clone();
        decided.detail.cause = Some(told(&wish));
        // It may have been here before, and its copy was lost after rows had been sent.
        decided.detail.end = Some(if run.detail.may_have_sent() { State::Stopped } else { State::Discarded });
        road.ledger.distrust_pending(road.fence, &run.id, &feed.platform.name)?;
        road.end_left(&decided, Code::RunStopped, "the run was ended before this row")?;
        return answered(road, run, decided, &wish, State::Reporting);
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
    let _trace = trace::station(run, "fetch");
    road.tell(run, Station::Fetch, 0, run.size);
    let fetched = fetch::fetch(run, road.link(&run.source)?, &road.spool, feed.limits.file, stop, &|bytes| {
        road.tell(run, Station::Fetch, bytes, run.size);
    });
    // This start came back, however it ended.
    run.detail.attempts = 0;
    match fetched {
        Ok(Fetch::Whole(copied)) if run.detail.may_have_sent() => {
            if run.sha256.as_ref() != Some(&copied.sha256) {
                return replaced(road, run);
            }
            add_time(run, "fetch", started);
            next(road, run, State::Fetched)
        }
        Ok(Fetch::Changed) if run.detail.may_have_sent() => replaced_or_touched(road, run),
        Ok(Fetch::Whole(copied)) => {
            time(run, "fetch", started);
            let is_sound = copied.mismatches.is_empty();
            if let Some(message) = note_copied(run, *copied) {
                return fail(
                    road,
                    run,
                    Fault { code: Code::ChecksumMismatch, line: None, column: None, offset: None, message, suggestion: None },
                );
            }
            let contradicts = run.detail.delivered.as_ref().is_some_and(|delivered| !delivered.contradictions.is_empty());
            let same = if is_sound && !contradicts { road.nothing_new(run, &feed)? } else { None };
            if let Some(earlier) = same {
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
            run.detail.wait_for("the file changed since it was complete".into());
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

/// Writes down what was fetched. Answers why the file is refused, if it is: of a set, a person decides.
fn note_copied(run: &mut Run, copied: Copied) -> Option<String> {
    run.sha256 = Some(copied.sha256);
    let delivered = run.detail.delivered.as_mut()?;
    if delivered.parts.is_empty() {
        // Where what declared it is older than the file, that may be why.
        return copied.mismatches.into_iter().next().map(|words| [vec![words], delivered.notes.clone()].concat().join("; "));
    }
    for (part, sha256) in delivered.parts.iter_mut().zip(copied.parts) {
        part.sha256 = Some(sha256);
    }
    for words in copied.mismatches {
        if !delivered.contradictions.contains(&words) {
            delivered.contradictions.push(words);
        }
    }
    None
}

/// The file of a run that has sent rows is to be fetched again, and is not as it was. What stands there with the same bytes was touched
/// only; anything else is another delivery.
pub(in crate::pipeline) fn replaced_or_touched(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    match fetch::there(run, road.link(&run.source)?) {
        Ok(There::Gone) => gone(road, run),
        // Its hash tells, once it is here.
        Ok(There::Perhaps(times)) => {
            for (part, mtime) in run.detail.delivered.iter_mut().flat_map(|delivered| &mut delivered.parts).zip(&times) {
                part.mtime = *mtime;
            }
            run.mtime = times.into_iter().max().unwrap_or(run.mtime);
            next(road, run, State::Complete)
        }
        Ok(There::Other) => replaced(road, run),
        Err(error) => later(road, run, &error),
    }
}

/// Ends a run with what it did: its copy was lost after rows of it were sent, and in the file's place is another.
pub(in crate::pipeline) fn replaced(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    // Not this run's to put away, and not its copy.
    run.detail.gone = true;
    road.spool.remove(&run.id)?;
    let message = "the file changed after some of its rows had been sent and its copy was lost; what is there now is another delivery";
    let suggestion = Some("Look at what this report says was done; deliver the rest again.".into());
    fail(road, run, Fault { code: Code::SourceError, line: None, column: None, offset: None, message: message.into(), suggestion })
}

/// Somebody took the file away before it was here.
pub(in crate::pipeline) fn gone(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
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
pub(in crate::pipeline) fn claim_it(road: &Road, run: &mut Run, feed: &Feed) -> anyhow::Result<Option<Rest>> {
    let Some(folder) = road.claim_folder(feed) else { return Ok(None) };
    let link = road.link(&run.source)?;
    if run.detail.claimed.is_none() {
        let to = match run.parts() {
            [] => link.with(|source| claim::destination(folder.as_bstr(), run, source)),
            _ => Ok(sets::claim::folder(folder.as_bstr(), run)),
        };
        run.detail.claimed = match to {
            Ok(to) => Some(to),
            Err(error) => return later(road, run, &error),
        };
        // Written down before the move, so that a restart finds the file.
        road.save(run)?;
    }
    let to = claim::input(run);
    let claimed = link.with(|source| match run.parts() {
        [] => claim::claim(run, to.as_bstr(), source),
        _ => sets::claim::claim(run, source),
    });
    match claimed {
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

pub(in crate::pipeline) fn fetch_again(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    warn!("the spool has lost the file: it is fetched again");
    next(road, run, State::Complete)
}
