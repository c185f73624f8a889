//! `once`: one sweep.

use std::sync::Arc;
use std::time::Duration;

use super::{Exit, Global, context, progress};
use crate::alert::Host;
use crate::config::meant::Config;
use crate::ledger::{RunFilter, State};
use crate::pipeline::Road;
use crate::pipeline::report::json::needing_person;
use crate::platform::for_log;
use crate::watcher::{self, Trouble};

/// Alerts that are due keep the program no longer than this.
const ALERTS: Duration = Duration::from_secs(20);

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Send every row, even where the baseline says that nothing changes
    #[arg(long)]
    force: bool,
    /// How long to wait for a platform that is out before leaving the rest to the next sweep
    #[arg(long, default_value = "2m", value_parser = humantime::parse_duration)]
    patience: Duration,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let mut lead = context::Lead::take(&config)?;
    let swept = sweep(&config, &lead, args);
    lead.heed(&config, swept.as_ref().err());
    swept
}

fn sweep(config: &Arc<Config>, lead: &context::Lead, args: &Args) -> anyhow::Result<Exit> {
    let ledger = lead.ledger(config)?;
    let stop = context::stop_on_signals()?;
    let mut road = Road::new(Arc::clone(config), Arc::clone(&ledger), progress::choose(true))?;
    road.force = args.force;
    road.unclean = lead.is_unclean();
    let alerts = Host::start(config, Arc::clone(&ledger), road.fence, false);
    let swept = watcher::once(&Arc::new(road), &stop, args.patience);
    // Whoever must act is told, however it went.
    alerts.finish(ALERTS, &stop);
    let sweep = swept?;
    for reason in &sweep.later {
        tracing::warn!("left for the next sweep: {}", for_log(reason));
    }
    for overdue in &sweep.overdue {
        tracing::warn!(feed = overdue.feed, "{}", overdue.words);
    }
    let mut exit = match sweep.trouble {
        Some(Trouble::Denied) => Exit::Denied,
        Some(Trouble::Unreachable) => Exit::Unavailable,
        None if sweep.later.is_empty() => Exit::Ok,
        None => Exit::Later,
    };
    for id in &sweep.rested {
        let Some(run) = ledger.run(id)? else { continue };
        let of_run = match run.state {
            State::Failed => Exit::BadFile,
            State::Held => Exit::NeedsPerson,
            _ if needing_person(&run) > 0 => Exit::NeedsPerson,
            _ => Exit::Ok,
        };
        exit = worse(exit, of_run);
    }
    if !sweep.overdue.is_empty() {
        exit = worse(exit, Exit::NoInput);
    }
    let waiting = RunFilter { states: vec![State::Held], ..RunFilter::default() };
    if !ledger.runs(&waiting)?.is_empty() {
        exit = worse(exit, Exit::NeedsPerson);
    }
    Ok(exit)
}

/// What a scheduler should hear of: what a person must repair first, then what a repeat may bring, then rows that need a person.
fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Denied => 6,
        Exit::BadFile => 5,
        Exit::Unavailable => 4,
        Exit::NoInput => 3,
        Exit::Later => 2,
        Exit::NeedsPerson => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}
