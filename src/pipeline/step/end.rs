//! The end: reports in their place, the input put away.

use bstr::ByteSlice;
use chrono::Utc;
use tracing::warn;

use crate::ledger::{Run, RunKind, State};
use crate::metrics::count::News;
use crate::outcome::{Code, Outcome};
use crate::pipeline::archive::{self, Archived};
use crate::pipeline::claim;
use crate::pipeline::sets::claim::place;
use crate::pipeline::{ATTEMPTS_MAX, Rest, Road, begin, told_died};
use crate::source::SourceError;
use crate::trace;

/// What of a report is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum HowMuch {
    All,
    NoRows,
    Nothing,
}

/// Tallies, writes the reports to their place, and decides how the run ended.
pub(in crate::pipeline) fn report_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
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
    let _trace = trace::station(run, "report");
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
                run.detail.wait_for(format!("its report cannot be written: {error}"));
                road.save(run)?;
                Ok(Some(Rest::Later))
            }
            Err(error) => Err(error),
        };
    }
    // Only now is the end known to everybody: until the report is up, the run is still reporting.
    let end = ended.state;
    ended.state = State::Reporting;
    // What keeps its input from being put away still does, for all that is known.
    ended.detail.waits.clone_from(&run.detail.waits);
    road.save(&ended)?;
    *run = ended;
    run.state = end;
    Ok(None)
}

pub(in crate::pipeline) fn archive_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let feed = road.feed(&run.feed)?;
    if run.kind != RunKind::Retry && !run.detail.gone {
        if run.detail.archive_attempts >= ATTEMPTS_MAX && still_there(road, run)? {
            let words = format!("{}: move or remove it yourself", told_died("put away"));
            warn!("{words}");
            run.detail.wait_for(words);
            road.save_as(run, State::Reporting)?;
            return Ok(Some(Rest::Later));
        }
        run.detail.archive_attempts += 1;
        let _trace = trace::station(run, "archive");
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
            run.detail.wait_for(format!("its input cannot be put away: {error}"));
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
    let told = News::of(run);
    road.save(run)?;
    told.count();
    road.clean_up(run)?;
    road.ended(run);
    Ok(Some(Rest::Over))
}

/// Is the delivered file where it was? What cannot be looked at counts as there.
pub(in crate::pipeline) fn still_there(road: &Road, run: &Run) -> anyhow::Result<bool> {
    let files = match run.parts() {
        [] => vec![(claim::input(run), run.size, run.mtime)],
        parts => parts.iter().map(|part| (place(run, part.path.as_bstr()), part.size, part.mtime)).collect(),
    };
    for (path, size, mtime) in files {
        let there = road.link(&run.source)?.with(|source| source.stat(path.as_bstr()));
        if there.map_or(true, |there| there.is_some_and(|there| (there.size, there.mtime) == (size, mtime))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The report of a held run; the run stays where it is when it cannot be written.
pub(in crate::pipeline) fn report_held(road: &Road, run: &mut Run) -> anyhow::Result<()> {
    let feed = road.feed(&run.feed)?;
    let mut held = run.clone();
    held.detail.tally = held.detail.counted.clone();
    held.detail.tally.merge(&road.ledger.tally(&run.id)?);
    held.detail.reports.clear();
    // Rows that ended on the way, and labels as the file has them: the check knew neither.
    road.count_delivery_problems(&mut held)?;
    if let Err(error) = road.publish(&mut held, &feed, true) {
        warn!("the report of the held file cannot be written: {error:#}");
    }
    run.detail.tally = held.detail.tally;
    run.detail.problems = held.detail.problems;
    run.detail.problems_by_column = held.detail.problems_by_column;
    run.detail.operations = held.detail.operations;
    // The final report chooses its own names.
    run.detail.reports.clear();
    road.save(run)?;
    road.ended(run);
    Ok(())
}

pub(in crate::pipeline) fn end_state(run: &Run) -> State {
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
