//! Wake, sweep every feed, sleep. Stop between rows.
//!
//! A lookout for each source lists its inboxes when its time has come or an event woke it, and registers complete files as runs. A hand
//! for each feed takes the feed's runs down the road, one after another, in order. Both read all they know from the ledger, so that a
//! restart, a command in another process and a file that just came look the same to them.
//!
//! Another configuration makes another generation of both. A hand of the earlier one finishes the run it has, as that run began, and only
//! then does its successor begin.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bstr::ByteSlice;
use chrono::Utc;
use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::{error, info, warn};

use crate::config::meant::{Content, Feed, Source, SourceKind, Wake};
use crate::keeping::retention;
use crate::ledger::run::Detail;
use crate::ledger::{LedgerError, Run, RunFilter, RunKind, State, Waiting};
use crate::metrics::{self, Board};
use crate::pipeline::discover::{Delivery, Matcher, Observations, discover};
use crate::pipeline::places::place_of;
use crate::pipeline::settle::settle;
use crate::pipeline::{Rest, Road, process};
use crate::review;
use crate::service;
use crate::source::link::Link;
use crate::source::{SourceError, folder};
use crate::space::Trouble as Storage;
use crate::stop::Stop;
use crate::zone::Zone;

pub mod expected;
mod generation;
mod once;
mod reload;
mod servers;
mod waiting;

use generation::Generation;
pub use once::{Sweep, Trouble, once};
use reload::Note;
pub use reload::{Follower, InUse, Reload, in_use, somebody_leads};
use servers::Servers;
use waiting::{tell_waiting, words_of};

/// How often a feed looks for wishes, and the watcher for runs to stop.
const TICK: Duration = Duration::from_secs(1);
/// A run that waits for a server or a file is tried again after this.
const LATER: Duration = Duration::from_secs(5);

/// Watches until told to stop, then drains within the configured time. `reload` may bring another configuration meanwhile.
///
/// The road must tell its progress to the board. Whoever asks it is answered from before the first look at a file until after the last.
pub fn watch(road: &Arc<Road>, board: &Arc<Board>, stop: &Stop, reload: Option<&Reload>) -> anyhow::Result<()> {
    board.show(road);
    // They answer for as long as anything is done here, and for a moment longer.
    let mut servers = Servers::start(board, &road.config, || recover(road))?;
    let mut page = review::Server::start(&road.config)?;
    std::thread::scope(|scope| {
        let mut watch = vec![Generation::start(scope, Arc::clone(road), None, stop)?];
        let note = reload.map(|reload| Note::begin(&road.config, reload)).transpose()?;
        service::ready();
        let mut alarm = expected::Alarm::default();
        while !stop.wait(TICK) {
            if let (Some(reload), Some(note)) = (reload, &note)
                && reload.was_asked()
            {
                reload.carry_out(scope, &mut watch, &mut servers, note, stop);
                let newest = &generation::newest(&watch).road;
                if let Err(fault) = review::Server::follow(&mut page, &newest.config) {
                    error!("the review page is not served: {fault:#}");
                }
            }
            generation::let_go(&mut watch);
            let newest = &generation::newest(&watch).road;
            board.show(newest);
            alarm.look(&newest.config, &*newest.ledger);
            for generation in &watch {
                let heeded = generation.road.heed_wishes().and_then(|()| generation.settle());
                heeded.unwrap_or_else(|fault| error!("cannot look for wishes: {fault:#}"));
            }
            board.heart.beat();
            metrics::upkeep();
            let is_refused = note.as_ref().is_some_and(Note::was_refused);
            let refused = if is_refused { "; the changed configuration was refused, the log says why" } else { "" };
            service::status(&format!("{}{refused}", status_line(&generation::newest(&watch).road)));
        }
        service::stopping();
        board.heart.rest();
        drop(page.take());
        let drain = generation::newest(&watch).road.config.drain;
        for generation in &watch {
            generation.retire();
            generation.road.stop_all(road.broken().is_some());
        }
        if road.broken().is_some() {
            return Ok(());
        }
        info!("stopping: no new work, requests in flight have {drain:?}");
        let deadline = Instant::now() + drain;
        let roads: Vec<Arc<Road>> = watch.iter().map(|generation| Arc::clone(&generation.road)).collect();
        let stop = stop.clone();
        // Ends the drain when its time is up. Detached: it must not keep a program alive that has drained.
        std::thread::spawn(move || {
            while Instant::now() < deadline && !stop.is_now() {
                std::thread::sleep(Duration::from_millis(50));
            }
            for road in roads {
                road.stop_all(true);
            }
        });
        Ok(())
    })
    .and_then(|()| unbroken(road))?;
    road.places.conflict().map_or(Ok(()), |conflict| Err(conflict.into()))
}

fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// Fails once storage did.
fn unbroken(road: &Road) -> anyhow::Result<()> {
    let Some(what) = road.broken() else { return Ok(()) };
    Err(LedgerError::Disk { trouble: Storage::Broken, what: format!("{what}; the next start verifies it") }.into())
}

/// A fault of storage that nothing goes on after: everything is stopped. True when it is one.
fn ends_everything(road: &Road, fault: &anyhow::Error, stop: &Stop) -> bool {
    let broken = road.trouble(fault) == Some(Storage::Broken);
    if broken {
        road.break_off(fault);
        stop.drain();
    }
    broken
}

/// After a stop nobody knows which of the requests of an applying run were answered: its passes' baselines are no longer believed.
fn recover(road: &Road) -> anyhow::Result<()> {
    if let Err(error) = retention::tidy(&road.config, &*road.ledger, &road.spool) {
        warn!("what was left over stays in the spool: {error:#}");
    }
    if road.unclean {
        discard_damaged_copies(road)?;
    }
    for run in under_way(road, None)? {
        road.ledger.distrust_pending(road.fence, &run.id, &run.account)?;
        take_over(road, run)?;
    }
    Ok(())
}

/// Runs with rows that are to be sent, of one feed or all.
fn under_way(road: &Road, feed: Option<&str>) -> anyhow::Result<Vec<Run>> {
    let states = vec![State::Checked, State::Applying, State::Paused];
    Ok(road.ledger.runs(&RunFilter { states, feed: feed.map(str::to_owned), ..RunFilter::default() })?)
}

/// Makes a run that was checked under an earlier configuration one of today's.
fn take_over(road: &Road, mut run: Run) -> anyhow::Result<()> {
    // Numbers in its rows mean the mapping it was checked under.
    match road.feed(&run.feed) {
        Ok(_) if road.fingerprint(&run)?.as_ref() != Some(&run.detail.fingerprint) => {
            info!(run = run.id, "the feed changed since the run was checked: it is checked again");
            run.state = State::Fetched;
            road.save(&run)
        }
        Ok(_) => Ok(()),
        Err(fault) => {
            // Nobody would ever take it further, and rows of other feeds would wait for it.
            warn!(run = run.id, "{fault:#}: the run is stopped");
            road.end_orphan(&mut run)
        }
    }
}

/// Throws away copies that are not what the ledger says, which a power cut can leave of them. Their files are fetched again.
fn discard_damaged_copies(road: &Road) -> anyhow::Result<()> {
    let states = vec![State::Fetched, State::Checked, State::Held, State::Applying, State::Paused];
    for run in road.ledger.runs(&RunFilter { states, ..RunFilter::default() })? {
        let Some(sha256) = run.sha256.as_ref().filter(|_| run.kind != RunKind::Retry) else { continue };
        if !road.spool.is_whole(&run.id, sha256)? {
            warn!(run = run.id, "the copy in the spool is not what was fetched: it is thrown away");
            road.spool.remove(&run.id)?;
        }
    }
    Ok(())
}

fn status_line(road: &Road) -> String {
    let count = |states: Vec<State>| road.ledger.runs(&RunFilter { states, ..RunFilter::default() }).map_or(0, |runs| runs.len());
    let applying = count(vec![State::Applying]);
    let waiting = count(vec![State::Held, State::Paused]);
    let alert = road.room.alert().map(|alert| format!("{alert}; ")).unwrap_or_default();
    format!("{alert}{} feeds, {applying} runs applying, {waiting} waiting", road.config.feeds.len())
}

fn matchers(road: &Road, source: &Source) -> anyhow::Result<Vec<Matcher>> {
    let feeds = road.config.feeds.values().filter(|feed| feed.source.name == source.name);
    feeds.map(|feed| Ok(Matcher::new(Arc::clone(feed))?.claiming_in(road.claim_folder(feed)))).collect()
}

/// Lists a source whenever it is time to.
fn lookout(road: &Road, source: &Source, wakers: &BTreeMap<String, Sender<()>>, retired: &Stop, stop: &Stop) {
    let matchers = match matchers(road, source) {
        Ok(matchers) => matchers,
        Err(fault) => return error!(source = source.name, "{fault:#}"),
    };
    let mut observations = Observations::default();
    let events = match &source.kind {
        SourceKind::Folder { path } => Some(folder::watch(path)),
        SourceKind::Sftp(_) => None,
    };
    let (never_sends, never) = bounded::<()>(0);
    let woken: &Receiver<()> = events.as_ref().map_or(&never, |(woken, _)| woken);
    let mut reachable = true;
    let mut told: Vec<Waiting> = Vec::new();
    let mut first = true;
    while !retired.is_draining() {
        for (key, (size, mtime)) in road.own_reports() {
            observations.note_ours(key.0.as_bstr(), key.1.as_bstr(), size, mtime);
        }
        let again = match look(road, source, &matchers, &mut observations) {
            Ok(Look { feeds, again, fault, waiting, .. }) => {
                tell_waiting(source, &waiting, &mut told);
                let fault_free = fault.is_none();
                match fault {
                    Some(fault) if reachable => warn!(source = source.name, "an inbox cannot be listed: {fault:#}"),
                    None if !reachable => info!(source = source.name, "reachable again"),
                    _ => {}
                }
                reachable = fault_free;
                for feed in feeds {
                    if let Some(waker) = wakers.get(&feed) {
                        let _ = waker.try_send(());
                    }
                }
                again
            }
            Err(fault) => {
                if !ends_everything(road, &fault, stop) && reachable {
                    warn!(source = source.name, "cannot list: {fault:#}");
                }
                reachable = false;
                None
            }
        };
        if std::mem::take(&mut first) && road.places.conflict().is_some() {
            // Seen at the start: somebody is there to repair the configuration.
            stop.drain();
        }
        let keep_alive = || road.link(&source.name).map(|link| link.keep_alive(Duration::from_secs(30))).unwrap_or_default();
        match &source.wake {
            Wake::Every(interval) => {
                wait(again.map_or(*interval, |again| again.min(*interval)), woken, retired, keep_alive);
            }
            Wake::Schedule { cron, timezone } => {
                let due = || next_time(cron, *timezone);
                let before = due();
                // Whatever the clock does meanwhile: once another time is the next, this one has come.
                let end = again.map(|again| Instant::now() + again);
                while !retired.is_draining() && due() == before && end.is_none_or(|end| Instant::now() < end) {
                    if wait(TICK, woken, retired, keep_alive) {
                        break;
                    }
                }
            }
        }
    }
    drop(never_sends);
}

/// Waits for time, an event or the stop; does `meanwhile` now and then. True when it was an event.
fn wait(pause: Duration, woken: &Receiver<()>, stop: &Stop, meanwhile: impl Fn()) -> bool {
    let end = Instant::now() + pause;
    while !stop.is_draining() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let slice = left.min(Duration::from_millis(200));
        match woken.recv_timeout(slice) {
            Ok(()) => return true,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            // No events here: the timer alone.
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                stop.wait(slice);
            }
        }
        meanwhile();
    }
    false
}

/// The next time that a schedule names, by the wall clock as it is now.
fn next_time(cron: &str, timezone: Zone) -> Option<chrono::DateTime<Zone>> {
    let now = Utc::now().with_timezone(&timezone);
    cron.parse::<croner::Cron>().ok()?.find_next_occurrence(&now, false).ok()
}

/// Lists a source's inboxes and registers what is complete.
fn look(road: &Road, source: &Source, matchers: &[Matcher], observations: &mut Observations) -> anyhow::Result<Look> {
    if !road.room.regain() {
        // A file that is registered is a promise to write more.
        return Ok(Look { feeds: HashSet::new(), again: None, fault: None, waiting: Vec::new(), backlog: false });
    }
    let link = road.link(&source.name)?;
    if matchers.is_empty() {
        let looked = look_at_report_places(road, source, link);
        if let Some(looked) = &looked {
            road.ledger.note_source(&source.name, looked.as_ref().err().map(ToString::to_string).as_deref())?;
        }
        looked.transpose()?;
        return Ok(Look { feeds: HashSet::new(), again: None, fault: None, waiting: Vec::new(), backlog: false });
    }
    let discovered = refuse_same_folders(road, source, link, matchers, observations)
        .and_then(|()| discover(matchers, link, &*road.ledger, observations, Instant::now()));
    let discovered = match discovered {
        Ok(discovered) => discovered,
        Err(SourceError::Local(fault)) => return Err(fault.into()),
        Err(fault) => {
            road.ledger.note_source(&source.name, Some(&fault.to_string()))?;
            return Err(fault.into());
        }
    };
    // What waits in an inbox that was listed is no trouble of its source.
    road.ledger.note_source(&source.name, discovered.faults.first().map(ToString::to_string).as_deref())?;
    road.ledger.note_waiting(&source.name, &discovered.waiting)?;
    let mut feeds = HashSet::new();
    for delivery in discovered.complete {
        feeds.insert(delivery.feed.name.clone());
        register(road, delivery)?;
    }
    let fault = discovered.faults.into_iter().next().map(anyhow::Error::from);
    Ok(Look { feeds, again: discovered.look_again, fault, waiting: discovered.waiting, backlog: discovered.backlog })
}

/// Looks at the folders of reports in a source that no files come from. None where it takes none either, and nobody has to know of it.
fn look_at_report_places(road: &Road, source: &Source, link: &Link) -> Option<Result<(), SourceError>> {
    let places = road.config.feeds.values().filter(|feed| feed.reports.source.name == source.name);
    // A folder that is not there yet is made for the first report.
    let look = |feed: &Arc<Feed>| {
        link.with(|server| {
            server.keep_alive()?;
            server.stat(feed.reports.folder.as_bstr()).map(drop)
        })
    };
    places.map(look).reduce(Result::and)
}

/// An inbox that turns out to be the same folder as another is not listed.
fn refuse_same_folders(
    road: &Road,
    source: &Source,
    link: &Link,
    matchers: &[Matcher],
    observations: &mut Observations,
) -> Result<(), SourceError> {
    for matcher in matchers {
        let inbox = (source.name.clone(), matcher.feed.inbox.clone());
        if road.places.knows(&inbox) || observations.is_refused(&inbox.1) {
            continue;
        }
        if let Some(place) = place_of(link, inbox.1.as_bstr())?
            && let Err(conflict) = road.places.note(&inbox, place, link, &|source| road.link(source).ok().map(|link| &**link))
        {
            error!("{conflict}");
            observations.refuse(&inbox.1, conflict.to_string());
        }
    }
    Ok(())
}

/// What a look at a source gave.
struct Look {
    /// Feeds that got something.
    feeds: HashSet<String>,
    /// When to look again.
    again: Option<Duration>,
    /// One of its inboxes could not be listed; the others were.
    fault: Option<anyhow::Error>,
    /// Files that wait for others, sets that are incomplete.
    waiting: Vec<Waiting>,
    /// There is more than could be taken.
    backlog: bool,
}

fn register(road: &Road, delivery: Delivery) -> anyhow::Result<Run> {
    let Delivery { feed, entry, proof, claimed, stamp: _, delivered } = delivery;
    let run = Run {
        id: String::new(),
        feed: feed.name.clone(),
        account: feed.platform.name.clone(),
        source: feed.source.name.clone(),
        folder: feed.inbox.clone(),
        name: entry.name,
        size: entry.size,
        mtime: entry.mtime,
        state: State::Complete,
        kind: RunKind::File,
        parent: None,
        sha256: None,
        detail: Detail { seen_at: Utc::now(), proof, claimed, delivered: delivered.map(|delivered| *delivered), ..Detail::default() },
    };
    road.ledger.open_run(road.fence, run).context("cannot register a file")
}

/// Takes a feed's runs down the road, one after another.
///
/// `retire` ends it after the run in hand; `stop` is the whole program's.
fn hand(road: &Road, feed: &Feed, woken: &Receiver<()>, retire: &Stop, stop: &Stop) {
    let _span = crate::logging::feed(&feed.name).entered();
    let mut pause = Duration::ZERO;
    let mut swept = false;
    loop {
        wait(pause, woken, retire, || ());
        if retire.is_draining() {
            return;
        }
        swept = swept || road.sweep_leftovers(feed);
        pause = match work_off(road, feed, retire) {
            Ok(worked) if worked.later.is_empty() => TICK,
            Ok(_) => LATER,
            Err(fault) => {
                error!("{fault:#}");
                if !ends_everything(road, &fault, stop) && matches!(fault.downcast_ref(), Some(LedgerError::Fenced)) {
                    stop.drain();
                }
                LATER
            }
        };
    }
}

/// Processes a feed's unfinished runs in order, until none is left or one has to wait.
fn work_off(road: &Road, feed: &Feed, stop: &Stop) -> anyhow::Result<Sweep> {
    let mut sweep = Sweep::default();
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
    loop {
        settle(road, &feed.name)?;
        let mut runs = road.ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: open.clone(), limit: None })?;
        runs.reverse();
        let mut advanced = false;
        for run in runs {
            if stop.is_draining() {
                return Ok(sweep);
            }
            let Some(_hand) = road.take_in_hand(&run.id) else { continue };
            // Whoever had it until now may have taken it further, or given it to its feed.
            let Some(mut run) = road.ledger.run(&run.id)?.filter(|run| !run.state.is_over() && run.feed == feed.name) else { continue };
            // A paused feed still heeds what somebody asked of one of its runs.
            if road.is_paused(&feed.name)? && road.ledger.peek_wish(&run.id)?.is_none() {
                continue;
            }
            let run_stop = road.stop_of(&run.id);
            if stop.is_draining() {
                // The flag of this run was not yet among those that were raised.
                run_stop.drain();
            }
            let before = run.state;
            let span = crate::logging::run(&run.id);
            let rest = span.in_scope(|| process(road, &mut run, &run_stop));
            road.forget_stop(&run.id);
            if let Err(fault) = &rest
                && !ends_everything(road, fault, stop)
            {
                run.detail.wait_for(format!("{fault:#}"));
                road.save(&run).unwrap_or_default();
            }
            match rest? {
                Rest::Over => {
                    sweep.rested.push(run.id.clone());
                    advanced = true;
                }
                Rest::Held => {
                    if before != State::Held {
                        sweep.rested.push(run.id.clone());
                    }
                    if feed.content == Content::Delta {
                        // A later delta must not overtake one that waits for a decision.
                        return Ok(sweep);
                    }
                }
                Rest::Later => {
                    let why = run.detail.waits.clone().or_else(|| run.detail.cause.clone()).unwrap_or_default();
                    sweep.later.push(format!("{}: {why}", run.shown_name()));
                    // All rows of a run that only reports or puts away have ended; and a snapshot that cannot be had stands for itself.
                    let may_overtake = run.state == State::Reporting
                        || run.state.is_over()
                        || (run.state == State::Complete && feed.content == Content::Snapshot);
                    if !may_overtake {
                        return Ok(sweep);
                    }
                }
                // Its own flag was raised by a wish that it has taken by now: nobody wants the rest to wait.
                Rest::Stopping if !stop.is_draining() && run.state == State::Reporting => advanced = true,
                Rest::Stopping => {
                    let cause = run.detail.cause.as_deref().filter(|_| run.state == State::Paused).unwrap_or("stopped");
                    sweep.later.push(format!("{}: {cause}; it goes on at the next start", run.shown_name()));
                    return Ok(sweep);
                }
            }
        }
        if !advanced {
            return Ok(sweep);
        }
    }
}
