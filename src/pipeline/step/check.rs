//! Checking: everything that sends nothing, and a person's word on a held file.

use std::time::Instant;

use tracing::warn;

use super::end::report_held;
use super::fetch::fetch_again;
use crate::keeping::unknown;
use crate::ledger::run::{Fault, WishKind};
use crate::ledger::{Run, RunKind, State};
use crate::outcome::Code;
use crate::pipeline::check::{self, Checked, check};
use crate::pipeline::sent::Sent;
use crate::pipeline::{Rest, Road, answered, begin, fail, later, next, time, told, waits_for};
use crate::source::SourceError;
use crate::trace;

/// Decode, validate, diff and guard: everything that sends nothing.
pub(in crate::pipeline) fn check_it(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
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
    let _trace = trace::station(run, "check");
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
pub(in crate::pipeline) fn decide(road: &Road, run: &mut Run) -> anyhow::Result<Option<Rest>> {
    let Some(wish) = road.ledger.peek_wish(&run.id)? else { return Ok(Some(Rest::Held)) };
    let mut decided = run.clone();
    match wish.what {
        WishKind::Approve => {
            if run.detail.verdicts.iter().any(|verdict| verdict.held && verdict.guard == unknown::GUARD) {
                match road.accept_reports(&*road.feed(&run.feed)?, &wish.by).map_err(anyhow::Error::downcast::<SourceError>) {
                    Ok(()) => {}
                    Err(Ok(error)) => return later(road, run, &error),
                    Err(Err(error)) => return Err(error),
                }
            }
            // What was approved was shown under the feed as it was when the file was checked; a changed one is judged anew.
            let same = road.fingerprint(run)?.as_ref() == Some(&run.detail.fingerprint);
            if !same {
                warn!("the feed changed since the file was held: the approval does not count for what it would do now");
            }
            decided.detail.approval = same.then(|| wish.clone());
            if run.kind != RunKind::Retry
                && let Some(sha256) = &run.sha256
                && !road.spool.is_whole(&run.id, sha256)?
            {
                warn!("the copy in the spool is not what was fetched and shown: it is thrown away");
                road.spool.remove(&run.id)?;
            }
            answered(road, run, decided, &wish, State::Fetched)
        }
        WishKind::Discard | WishKind::Stop => {
            decided.detail.cause = Some(told(&wish));
            decided.detail.approval = None;
            road.end_left(&decided, Code::Discarded, "the held run was discarded")?;
            decided.detail.end = Some(State::Discarded);
            answered(road, run, decided, &wish, State::Reporting)
        }
    }
}
