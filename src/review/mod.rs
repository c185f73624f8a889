//! The review page: what came, what happened to it, what waits for whom, and what a person decides, for browsers and as an API.
//!
//! [`server`] listens and [`gate`] lets nobody pass who may not: each request is looked at for its host, its origin, who sends it and
//! whether a page of ours made it, before anything else is done with it. [`people`] and [`session`] know who somebody is. What is shown
//! is what commands tell ([`crate::told`]), what is done is what commands do ([`crate::decide`]): the page decides nothing itself and asks
//! whoever leads, by the ledger. It reads with connections of its own and holds up no file.

mod answer;
mod api;
mod assets;
mod attempts;
mod card;
mod decisions;
mod downloads;
mod fix;
mod gate;
mod history;
mod listener;
mod login;
mod openapi;
mod overview;
mod parts;
mod pass;
pub mod people;
mod rows;
mod run;
mod server;
mod session;
mod visitor;

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;

use crate::config::meant::Config;
use crate::config::meant::review::Review;
use crate::ledger::{self, Ledger};
use attempts::Attempts;
use people::PeopleFile;
use session::{Ends, Sessions};

pub use server::Server;

/// What all requests share.
pub struct Desk {
    /// As the daemon works with it now.
    config: RwLock<Arc<Config>>,
    settings: Arc<Review>,
    ledger: Arc<dyn Ledger>,
    people: Option<PeopleFile>,
    sessions: Sessions,
    attempts: Attempts,
    /// Passwords that are looked at at the same time: each takes memory and a core.
    proving: Arc<tokio::sync::Semaphore>,
    counts: run::LiveCounts,
    /// Reports are built one at a time: each may take a disk's attention.
    building: Arc<tokio::sync::Semaphore>,
    /// Port that is listened at.
    port: u16,
}

/// Passwords looked at at the same time.
const PROVING: usize = 2;

impl Desk {
    fn new(config: Arc<Config>, settings: Arc<Review>, port: u16) -> anyhow::Result<Desk> {
        let people = settings.users.clone().map(PeopleFile::new);
        if let Some(people) = &people {
            people.now()?;
        }
        crate::spool::private_folder(&config.state).with_context(|| format!("the state directory {}", config.state.display()))?;
        Ok(Desk {
            ledger: ledger::open(&config.state)?,
            config: RwLock::new(config),
            people,
            settings,
            sessions: Sessions::new(),
            attempts: Attempts::default(),
            proving: Arc::new(tokio::sync::Semaphore::new(PROVING)),
            counts: run::LiveCounts::default(),
            building: Arc::new(tokio::sync::Semaphore::new(1)),
            port,
        })
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn follow(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn ends(&self) -> Ends {
        Ends { idle: self.settings.idle, session: self.settings.session }
    }
}

/// What is wrong with the file of people, if that is so; and what is odd about it.
pub fn fault(settings: &Review) -> Option<String> {
    let path = settings.users.as_ref()?;
    match people::People::read(path) {
        Err(fault) => Some(format!("{fault:#}")),
        Ok(people) if people.is_empty() && settings.proxy.is_none() => {
            Some(format!("{} lets nobody in; passferry review --add-user NAME --role viewer prints what to put there", path.display()))
        }
        Ok(_) => None,
    }
}
