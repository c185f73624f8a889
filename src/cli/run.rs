//! `run`: the daemon.

use std::sync::Arc;

use super::{Exit, Global, context, progress};
use crate::pipeline::Road;
use crate::watcher::{self, Reload};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Send every row, even where the baseline says that nothing changes
    #[arg(long)]
    force: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let reload = Reload { path: context::config_path(global)?, asked: context::reload_on_hangup()? };
    let config = Arc::new(crate::config::load(&reload.path)?);
    let _lead = context::Lead::take(&config.state)?;
    let ledger = context::ledger(&config)?;
    let stop = context::stop_on_signals()?;
    let mut road = Road::new(config, ledger, progress::choose(true))?;
    road.force = args.force;
    watcher::watch(&Arc::new(road), &stop, Some(&reload))?;
    Ok(Exit::Ok)
}
