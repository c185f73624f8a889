//! Another configuration without a restart: all of it or nothing, and the answer where people look.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::generation::{self, Generation};
use super::servers::Servers;
use crate::config::meant::Config;
use crate::pipeline::Road;
use crate::service;
use crate::spool::private_file;
use crate::stop::Stop;

/// Is told of a configuration.
pub type Follower = Box<dyn Fn(&Arc<Config>) + Send + Sync>;

/// Where a daemon's configuration comes from, and who asks for it to be read again.
pub struct Reload {
    /// The file, as the daemon found it at its start.
    pub path: PathBuf,
    /// Raised by a signal.
    pub asked: Arc<AtomicBool>,
    /// Told of each configuration that was put to use.
    pub follower: Follower,
}

impl Reload {
    pub(super) fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }

    /// Reads the file and starts a generation under it. A file with faults, or one that cannot be put to use, changes nothing.
    pub(super) fn carry_out<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        all: &mut Vec<Generation>,
        servers: &mut Servers,
        note: &Note,
        stop: &Stop,
    ) {
        service::reloading();
        let earlier = generation::newest(all);
        let next =
            crate::config::load(&self.path).map_err(anyhow::Error::from).and_then(|config| Road::renewed(&earlier.road, Arc::new(config)));
        let started = next.and_then(|road| {
            let config = Arc::clone(&road.config);
            let prepared = servers.prepare(&earlier.road.config, &config)?;
            let generation = Generation::start(scope, Arc::new(road), Some(earlier), stop)?;
            earlier.retire();
            Ok((generation, config, prepared))
        });
        match started {
            Ok((generation, config, prepared)) => {
                info!(config = self.path.display().to_string(), "configuration read again; runs under way finish as they began");
                servers.take_up(prepared);
                if earlier.road.config.traces != config.traces {
                    warn!("[traces] changed, which is taken up at the next start");
                }
                all.push(generation);
                note.took(&config);
                (self.follower)(&config);
            }
            Err(fault) => {
                error!(config = self.path.display().to_string(), "the configuration is refused and the earlier one kept: {fault:#}");
                note.refuse(&format!("{fault:#}"));
            }
        }
        service::ready();
    }
}

/// What a daemon works with, written down for commands in other processes.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InUse {
    /// SHA-256 of the configuration file as it was read.
    pub hash: String,
    pub since: DateTime<Utc>,
    /// A later file that was refused, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refused {
    pub at: DateTime<Utc>,
    pub why: String,
}

const NAME: &str = "in-use.json";

/// What the daemon of a state directory works with, if one wrote it down. It may have ended since.
pub fn in_use(state: &Path) -> Option<InUse> {
    serde_json::from_slice(&std::fs::read(state.join(NAME)).ok()?).ok()
}

/// Does a daemon or a sweep work with this state directory at the moment?
pub fn somebody_leads(state: &Path) -> bool {
    File::open(state.join("lock")).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Keeps [`InUse`] up to date.
pub(super) struct Note {
    state: PathBuf,
    now: Mutex<InUse>,
}

impl Note {
    pub fn begin(config: &Config, reload: &Reload) -> anyhow::Result<Note> {
        // Asked before it was read for the first time: what was read is what is asked for.
        reload.was_asked();
        let note =
            Note { state: config.state.clone(), now: Mutex::new(InUse { hash: config.hash.clone(), since: Utc::now(), refused: None }) };
        note.write()?;
        Ok(note)
    }

    pub fn was_refused(&self) -> bool {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).refused.is_some()
    }

    fn took(&self, config: &Config) {
        self.change(|now| *now = InUse { hash: config.hash.clone(), since: Utc::now(), refused: None });
    }

    fn refuse(&self, why: &str) {
        self.change(|now| now.refused = Some(Refused { at: Utc::now(), why: why.to_owned() }));
    }

    fn change(&self, change: impl FnOnce(&mut InUse)) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
        self.write().unwrap_or_else(|fault| warn!("{fault:#}"));
    }

    /// Whole or not at all; the temporary file is private from its first byte.
    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&*self.now.lock().unwrap_or_else(PoisonError::into_inner))?;
        let what = || format!("cannot note in {} which configuration is in use", self.state.display());
        let temporary = self.state.join(format!("{NAME}.part"));
        let mut file = private_file(&temporary).with_context(what)?;
        file.write_all(&text).with_context(what)?;
        std::fs::rename(temporary, self.state.join(NAME)).with_context(what)
    }
}
