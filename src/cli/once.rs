//! `once`: one sweep.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::exit::exit_of;
use super::{Exit, Global, context, progress};
use crate::alert::Host;
use crate::config::meant::Config;
use crate::ledger::{Ledger, RunFilter, State};
use crate::metrics::Board;
use crate::metrics::file::Leaves;
use crate::pipeline::Road;
use crate::pipeline::report::json::needing_person;
use crate::platform::for_log;
use crate::stop::Stop;
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
    /// Leave numbers for node_exporter's textfile collector in this file, which ends in .prom; counters go on from the file that is there
    #[arg(long, value_name = "PATH", value_parser = named_prom)]
    metrics_file: Option<PathBuf>,
}

fn named_prom(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    let is_read = path.extension().is_some_and(|extension| extension == "prom");
    is_read.then_some(path).ok_or_else(|| "node_exporter reads files named *.prom alone; give it such a name".to_owned())
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let board = Board::new(progress::choose(true));
    // Before the accounts are opened, which hold their counters.
    let leaves = args.metrics_file.as_ref().map(|path| Leaves::begin(path, &board)).transpose()?;
    let mut lead = context::Lead::take(&config)?;
    let mut road = None;
    let swept = lead_a_sweep(&config, &lead, args, &board, &mut road);
    if let Some(leaves) = leaves {
        let exit = swept.as_ref().map_or_else(exit_of, |exit| *exit);
        // The files were ferried: that nobody is told in numbers changes nothing of it.
        leaves.write(exit as u8).unwrap_or_else(|fault| tracing::error!("{fault:#}"));
    }
    drop(road);
    lead.heed(&config, swept.as_ref().err());
    swept
}

/// `shown` is the road, for whoever tells of it afterwards.
fn lead_a_sweep(
    config: &Arc<Config>,
    lead: &context::Lead,
    args: &Args,
    board: &Arc<Board>,
    shown: &mut Option<Arc<Road>>,
) -> anyhow::Result<Exit> {
    let ledger = lead.ledger(config)?;
    let stop = context::stop_on_signals()?;
    let _tracing = crate::trace::begin(config.traces.as_ref())?;
    let mut road = Road::new(Arc::clone(config), Arc::clone(&ledger), board.progress())?;
    road.force = args.force;
    road.unclean = lead.is_unclean();
    let alerts = Host::start(config, Arc::clone(&ledger), road.fence, false);
    let road = shown.insert(Arc::new(road));
    board.show(road);
    let swept = sweep(road, &*ledger, &stop, args.patience);
    // Whoever must act is told, however it went.
    alerts.finish(ALERTS, &stop);
    swept
}

fn sweep(road: &Arc<Road>, ledger: &dyn Ledger, stop: &Stop, patience: Duration) -> anyhow::Result<Exit> {
    let sweep = watcher::once(road, stop, patience)?;
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
