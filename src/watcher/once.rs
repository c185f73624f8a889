//! One sweep: what `once` does, and a timer repeats.

use std::io;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use tracing::warn;

use super::expected::{Overdue, overdue};
use super::{ends_everything, look, matchers, recover, thread, unbroken, words_of, work_off};
use crate::apple::host::{hosted, push_once};
use crate::config::meant::Source;
use crate::dispatch::Health;
use crate::keeping::retention;
use crate::pipeline::Road;
use crate::pipeline::discover::{Matcher, Observations};
use crate::source::SourceError;
use crate::space::Trouble as Storage;
use crate::stop::Stop;

/// Looks of `once` at an inbox: one to see a file, one to find it unchanged, two more for files that came in between.
const LOOKS_MAX: u32 = 4;

/// What one sweep came to, for the exit code of `once`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Runs that came to rest in this sweep, by id.
    pub rested: Vec<String>,
    /// Something waits for a server or for time, in words.
    pub later: Vec<String>,
    /// Files that should have come and have not.
    pub overdue: Vec<Overdue>,
    /// The worst of what kept a source from being used.
    pub trouble: Option<Trouble>,
}

/// What keeps a source from being used, for those who decide whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    Unreachable,
    /// Its host key, our login or a right was refused: a person must act.
    Denied,
}

impl Trouble {
    fn of(fault: &anyhow::Error) -> Trouble {
        match fault.downcast_ref() {
            Some(SourceError::HostKey(_) | SourceError::Auth(_) | SourceError::Permission(_)) => Trouble::Denied,
            _ => Trouble::Unreachable,
        }
    }
}

/// One sweep: every inbox once, waiting out one quiet period, and every unfinished run as far as it goes. Each source has a thread of its
/// own, so that one that hangs delays no other.
///
/// An outage of a platform that lasts longer than `patience` ends the sweep; the next one goes on from there.
pub fn once(road: &Arc<Road>, stop: &Stop, patience: Duration) -> anyhow::Result<Sweep> {
    recover(road)?;
    let over = Stop::new();
    let sweeps = std::thread::scope(|scope| {
        let guard = thread("outages").spawn_scoped(scope, || give_up_on_outages(road, &over, stop, patience));
        let sources: Vec<_> = road
            .config
            .sources
            .values()
            .map(|source| thread(&format!("look-{}", source.name)).spawn_scoped(scope, || sweep_source(road, source, stop)))
            .collect();
        let sweeps: Vec<_> = sources.into_iter().map(joined).collect();
        over.drain();
        let _ = guard.map(ScopedJoinHandle::join);
        sweeps
    });
    let mut sweep = Sweep::default();
    if !road.room.regain() {
        sweep.later.push(Storage::Full.words(road.room.state()));
    }
    unbroken(road)?;
    for one in sweeps {
        let one = one?;
        sweep.rested.extend(one.rested);
        sweep.later.extend(one.later);
        sweep.trouble = sweep.trouble.max(one.trouble);
    }
    sweep.overdue = overdue(&road.config, &*road.ledger, chrono::Utc::now())?;
    // Rows are applied whether phones hear of it or not; what they have not heard is owed to them.
    sweep.later.extend(push_once(&hosted(&road.config), stop));
    retention::daily(&road.config, &*road.ledger, road.fence, &road.spool, stop);
    road.places.conflict().map_or(Ok(sweep), |conflict| Err(conflict.into()))
}

/// What a thread came to, if it could be started at all.
fn joined<T>(started: io::Result<ScopedJoinHandle<'_, anyhow::Result<T>>>) -> anyhow::Result<T> {
    started?.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
}

/// Sweeps one source and the feeds that it brings files for, until nothing that was there at the start is left.
fn sweep_source(road: &Road, source: &Source, stop: &Stop) -> anyhow::Result<Sweep> {
    let matchers = matchers(road, source)?;
    let mut observations = Observations::default();
    let mut rested = Vec::new();
    let mut first = true;
    loop {
        let mut sweep = Sweep::default();
        let backlog = look_until_quiet(road, source, &matchers, &mut observations, stop, &mut sweep)?;
        let results = std::thread::scope(|scope| {
            let hand = |matcher: &Matcher| {
                if first {
                    road.sweep_leftovers(&matcher.feed);
                }
                work_off(road, &matcher.feed, stop)
            };
            let hands: Vec<_> = matchers
                .iter()
                .map(|matcher| thread(&format!("feed-{}", matcher.feed.name)).spawn_scoped(scope, move || hand(matcher)))
                .collect();
            hands.into_iter().map(joined).collect::<Vec<_>>()
        });
        let before = rested.len();
        for result in results {
            let worked = result?;
            rested.extend(worked.rested);
            sweep.later.extend(worked.later);
        }
        if !backlog || stop.is_draining() || rested.len() == before {
            sweep.rested = rested;
            return Ok(sweep);
        }
        first = false;
    }
}

/// Looks until what was there at the start has been quiet for long enough, or has proved not to be. True when there is more than could be
/// taken.
fn look_until_quiet(
    road: &Road,
    source: &Source,
    matchers: &[Matcher],
    observations: &mut Observations,
    stop: &Stop,
    sweep: &mut Sweep,
) -> anyhow::Result<bool> {
    let trouble = |sweep: &mut Sweep, fault: &anyhow::Error| {
        if let Some(storage) = road.trouble(fault) {
            sweep.later.push(storage.words(road.room.state()));
            return;
        }
        sweep.trouble = sweep.trouble.max(Some(Trouble::of(fault)));
        let words = format!("source {}: {fault:#}", source.name);
        if !sweep.later.contains(&words) {
            sweep.later.push(words);
        }
    };
    let mut waiting: Vec<String> = Vec::new();
    for looks in 1.. {
        let look = match look(road, source, matchers, observations) {
            Ok(look) => look,
            Err(fault) if ends_everything(road, &fault, stop) => return Err(fault),
            Err(fault) => {
                warn!(source = source.name, "cannot list: {fault:#}");
                trouble(sweep, &fault);
                return Ok(false);
            }
        };
        if let Some(fault) = &look.fault {
            trouble(sweep, fault);
        }
        // What waits after the last look.
        sweep.later.retain(|words| !waiting.contains(words));
        waiting = look.waiting.iter().map(words_of).collect();
        sweep.later.extend(waiting.iter().cloned());
        match look.again {
            _ if look.backlog => return Ok(true),
            None => return Ok(false),
            Some(_) if looks >= LOOKS_MAX => {
                sweep.later.push("a file is still changing or empty; the next sweep looks at it again".into());
                return Ok(false);
            }
            Some(wait) => {
                if stop.wait(wait + Duration::from_millis(20)) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(false)
}

fn give_up_on_outages(road: &Road, over: &Stop, stop: &Stop, patience: Duration) {
    while !over.wait(Duration::from_millis(100)) {
        let out = road
            .config
            .platforms
            .keys()
            .filter_map(|name| road.dispatch(name).ok())
            .any(|dispatch| matches!(dispatch.health(), Health::Out { since, .. } if since > patience));
        if out || stop.is_draining() {
            // Again and again: a run may begin after this.
            road.stop_all(stop.is_now());
        }
        road.heed_wishes().unwrap_or_default();
    }
}
