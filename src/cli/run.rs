//! `run`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Exit, Global, context, progress};
use crate::alert::Host;
use crate::config::meant::Config;
use crate::metrics::{self, Board};
use crate::pipeline::Road;
use crate::watcher::{self, Reload};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Send every row, even where the baseline says that nothing changes
    #[arg(long)]
    force: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let (path, asked) = (context::config_path(global)?, context::reload_on_hangup()?);
    let config = Arc::new(crate::config::load(&path)?);
    let mut lead = context::Lead::take(&config)?;
    let watched = watch(&config, &lead, args, path, asked);
    lead.heed(&config, watched.as_ref().err());
    watched
}

fn watch(config: &Arc<Config>, lead: &context::Lead, args: &Args, path: PathBuf, asked: Arc<AtomicBool>) -> anyhow::Result<Exit> {
    let ledger = lead.ledger(config)?;
    let stop = context::stop_on_signals()?;
    // Before the accounts are opened, which hold their counters; a configuration read later may ask for them.
    metrics::begin()?;
    let _tracing = crate::trace::begin(config.traces.as_ref())?;
    let board = Board::new(progress::choose(true));
    let mut road = Road::new(Arc::clone(config), Arc::clone(&ledger), board.progress())?;
    road.force = args.force;
    road.unclean = lead.is_unclean();
    let alerts = Arc::new(Host::start(config, ledger, road.fence, true));
    let told = Arc::clone(&alerts);
    let reload = Reload { path, asked, follower: Box::new(move |config| told.follow(config)) };
    watcher::watch(&Arc::new(road), &board, &stop, Some(&reload))?;
    Ok(Exit::Ok)
}
