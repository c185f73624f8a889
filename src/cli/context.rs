//! What commands share: the configuration, the ledger, the lock on the state directory, signals.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Exit, Failure, Global};
use crate::config::meant::{Config, Feed};
use crate::ledger::{self, Ledger, LedgerError};
use crate::space::{self, Trouble};
use crate::spool::private_folder;
use crate::stop::Stop;
use anyhow::Context;

pub use crate::decide::find_run;
pub use crate::watcher::somebody_leads;

pub fn config(global: &Global) -> anyhow::Result<Arc<Config>> {
    Ok(Arc::new(crate::config::load(&config_path(global)?)?))
}

pub fn config_path(global: &Global) -> anyhow::Result<PathBuf> {
    Ok(crate::config::find(global.config.as_deref()).map_err(|error| Failure::new(Exit::Config, format!("{error:#}")))?)
}

pub fn ledger(config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
    private_folder(&config.state).with_context(|| format!("the state directory {}", config.state.display()))?;
    Ok(ledger::open(&config.state)?)
}

/// Held by the one process that takes files down the road. Released by the system when the process ends, however it ends.
pub struct Lead {
    lock: File,
    /// Whoever led before did not end in order: what is on the disk is looked at before it is believed.
    unclean: bool,
    /// Storage failed meanwhile: this is no end in order.
    broken: bool,
}

/// What the lock says while somebody leads, and after an end in order. Of one length, so that no room is needed to change it.
const IN_USE: &[u8] = b"in use\n";
const CLOSED: &[u8] = b"closed\n";

/// A ledger up to this size is verified at each start; a larger one after an end that was none, when it takes what it takes.
const VERIFIED_ALWAYS: u64 = 64 << 20;

impl Lead {
    /// Fails when somebody else leads, or the state is on a network file system.
    pub fn take(config: &Config) -> anyhow::Result<Lead> {
        let state = &config.state;
        if let Some(kind) = space::network_file_system(state).filter(|_| !config.network_state) {
            let message = format!(
                "state = {} is on a network file system ({kind}), where the ledger's locks do not keep two machines apart; \
                 give it a folder of a local disk, or write network_state = true if it is known to lock right",
                state.display()
            );
            return Err(Failure::new(Exit::Config, message).into());
        }
        private_folder(state).with_context(|| format!("the state directory {}", state.display()))?;
        let path = state.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut locked = lock.try_lock();
        for _ in 0..GLANCES {
            if !matches!(locked, Err(std::fs::TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(GLANCE);
            locked = lock.try_lock();
        }
        match locked {
            Ok(()) => {
                let mut before = [0; IN_USE.len()];
                let unclean = lock.read_exact_at(&mut before, 0).is_ok() && before == IN_USE;
                lock.write_all_at(IN_USE, 0).and_then(|()| lock.sync_all()).with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Lead { lock, unclean, broken: false })
            }
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

impl Lead {
    /// The ledger, verified where the last leader did not end in order.
    pub fn ledger(&self, config: &Config) -> anyhow::Result<Arc<dyn Ledger>> {
        let path = config.state.join("ledger.sqlite");
        let bytes = path.metadata().map_or(0, |meta| meta.len());
        let ledger = ledger(config)?;
        if self.unclean && bytes > 0 {
            tracing::info!("the last passferry did not end in order: its ledger is verified");
        }
        if bytes > 0 && (self.unclean || bytes <= VERIFIED_ALWAYS) {
            let faults = ledger.check()?;
            if let Some(first) = faults.first() {
                let what = format!("{first}{}", if faults.len() > 1 { format!(" and {} more", faults.len() - 1) } else { String::new() });
                return Err(LedgerError::Damaged { path: path.display().to_string(), what }.into());
            }
        }
        Ok(ledger)
    }

    /// Did whoever led before leave without an end in order?
    pub fn is_unclean(&self) -> bool {
        self.unclean
    }

    /// Looks at what the work came to: after a fault of storage there is no end in order.
    pub fn heed(&mut self, config: &Config, fault: Option<&anyhow::Error>) {
        self.broken |= fault.and_then(|fault| space::trouble(fault, &config.state)) == Some(Trouble::Broken);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.broken || std::thread::panicking() {
            return;
        }
        if let Err(error) = self.lock.write_all_at(CLOSED, 0) {
            tracing::debug!("the lock was not closed: {error}");
        }
    }
}

/// A command that looks whether somebody leads holds the lock for an instant; whoever wants to lead waits that out.
const GLANCES: u32 = 10;
const GLANCE: std::time::Duration = std::time::Duration::from_millis(20);

/// The ledger for a command that only reads: where there is none yet, an empty one that vanishes, so that looking changes nothing.
pub struct Reading {
    ledger: Arc<dyn Ledger>,
    _nowhere: Option<tempfile::TempDir>,
}

impl Reading {
    pub fn open(config: &Config) -> anyhow::Result<Reading> {
        if config.state.join("ledger.sqlite").exists() {
            return Ok(Reading { ledger: ledger::open(&config.state)?, _nowhere: None });
        }
        let nowhere = tempfile::tempdir()?;
        Ok(Reading { ledger: ledger::open(nowhere.path())?, _nowhere: Some(nowhere) })
    }
}

impl Reading {
    pub fn shared(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger)
    }
}

impl std::ops::Deref for Reading {
    type Target = dyn Ledger;

    fn deref(&self) -> &Self::Target {
        &*self.ledger
    }
}

pub fn feed<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c Arc<Feed>> {
    Ok(crate::decide::find_feed(config, name)?)
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

/// Raised by SIGHUP, which would end the program otherwise.
pub fn reload_on_hangup() -> anyhow::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&asked))?;
    Ok(asked)
}

/// Who gives the command, for the log of decisions.
pub fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    // Services and containers often set none of them.
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}
