//! What commands share: the configuration, the ledger, the lock on the state directory, signals.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bstr::BStr;

use super::{Exit, Failure, Global};
use crate::config::meant::Config;
use crate::ledger::{self, Ledger, Run};
use crate::spool::private_folder;
use crate::stop::Stop;

pub fn config(global: &Global) -> anyhow::Result<Arc<Config>> {
    let path = crate::config::find(global.config.as_deref()).map_err(|error| Failure::new(Exit::Config, format!("{error:#}")))?;
    Ok(Arc::new(crate::config::load(&path)?))
}

pub fn ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    private_folder(&config.state).with_context(|| format!("the state directory {}", config.state.display()))?;
    Ok(ledger::open(&config.state)?)
}

/// Held by the one process that takes files down the road. Released by the system when the process ends, however it ends.
pub struct Lead {
    _lock: File,
}

impl Lead {
    pub fn take(state: &Path) -> anyhow::Result<Lead> {
        private_folder(state).with_context(|| format!("the state directory {}", state.display()))?;
        let path = state.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Lead { _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Failure::new(
                Exit::Later,
                format!(
                    "another passferry (run or once) works with {}; two would apply files twice. Stop it, or give this one its own state",
                    state.display()
                ),
            )
            .into()),
            Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

/// The first SIGTERM or SIGINT drains, the second ends at once; both leave a state that the next start goes on from.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Stop::new();
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let raised = stop.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count == 0 {
                tracing::info!("signal {signal}: draining; a second signal ends at once");
                raised.drain();
            } else {
                raised.now();
                std::process::exit(128 + signal);
            }
        }
    })?;
    Ok(stop)
}

/// A run by id or by file name; of several runs of a name the newest.
pub fn find_run(ledger: &dyn Ledger, wanted: &str) -> anyhow::Result<Run> {
    if let Some(run) = ledger.run(wanted)? {
        return Ok(run);
    }
    let named = ledger.runs_named(BStr::new(wanted))?;
    named
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(Exit::NoInput, format!("no run or file {wanted:?}; passferry runs lists them")).into())
}

/// Who gives the command, for the log of decisions.
pub fn who() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into())
}
