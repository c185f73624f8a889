//! What every station needs: configuration, ledger, spool, links to sources, dispatch to platforms.

mod doubt;
mod order;
mod publish;
mod sending;
mod shape;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use bstr::BString;
use tracing::{error, info, warn};

use super::claim;
use super::looking::spool_owner;
use super::places::Places;
use super::report;
use crate::config::meant::{Config, Feed, Source, SourceKind};
use crate::dispatch::Dispatch;
use crate::dispatch::Health;
use crate::keeping::unknown;
use crate::ledger::run::WishKind;
use crate::ledger::{Fence, Ledger, Run, RunKind, State};
use crate::platform::{self, Account};
use crate::source::Connect;
use crate::source::folder::FolderConnect;
use crate::source::link::Link;
use crate::source::refusals::Record;
use crate::source::sftp::SftpConnect;
use crate::space::{self, Room, Trouble};
use crate::spool::Spool;
use crate::stop::Stop;

pub use order::InHand;
use publish::OwnReports;
pub use shape::{FeedFaults, OfFile, Prepared, prepare};

/// Where a run is, for progress bars and log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// Bytes fetched of the file's size.
    Fetch,
    /// Bytes looked at of the file's size.
    Check,
    /// Rows ended of the rows to send.
    Apply,
}

/// Told what happens; draws or logs it. Called often: must be cheap.
pub trait Progress: Send + Sync {
    fn at(&self, run: &Run, station: Station, done: u64, total: u64);
    /// The platform went out or came back while a run was applying.
    fn health(&self, run: &Run, health: &Health);
    /// A run is held or over.
    fn rested(&self, run: &Run);
}

pub struct Road {
    pub config: Arc<Config>,
    pub ledger: Arc<dyn Ledger>,
    pub fence: Fence,
    pub spool: Spool,
    pub room: Room,
    pub pool: rayon::ThreadPool,
    /// Send rows even if the baseline says that nothing changes.
    pub force: bool,
    /// The last leader did not end in order: copies in the spool are compared with their hashes before they are used.
    pub unclean: bool,
    prepared: BTreeMap<String, Arc<Prepared>>,
    links: BTreeMap<String, Arc<Link>>,
    accounts: BTreeMap<String, (Account, Arc<Dispatch>)>,
    orders: BTreeMap<String, Arc<Mutex<()>>>,
    /// This machine's name in folders of claims, where a feed claims.
    owner: Option<String>,
    pub places: Places,
    /// Untouched reports of ours in an inbox, by folder and name.
    own_reports: Arc<Mutex<OwnReports>>,
    /// Feeds whose runs may still be under way as an earlier configuration had them: their rows' fields are numbered otherwise.
    handed_over: Mutex<HashSet<String>>,
    stops: Mutex<HashMap<String, Stop>>,
    /// Runs that somebody is taking further at this moment.
    in_hand: Arc<Mutex<HashSet<String>>>,
    unknown: unknown::Looks,
    /// Why everything must end, once storage failed.
    broken: Arc<Mutex<Option<String>>>,
    progress: Arc<dyn Progress>,
}

/// Opens what a source's configuration describes.
pub fn connector(kind: &SourceKind) -> Box<dyn Connect> {
    match kind {
        SourceKind::Sftp(sftp) => Box::new(SftpConnect::new(sftp)),
        SourceKind::Folder { path } => Box::new(FolderConnect::new(path)),
    }
}

/// Threads that validate and compare.
pub fn pool(workers: usize) -> anyhow::Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(workers).thread_name(|index| format!("check-{index}")).build()?)
}

impl Road {
    pub fn new(config: Arc<Config>, ledger: Arc<dyn Ledger>, progress: Arc<dyn Progress>) -> anyhow::Result<Road> {
        if let Some(fault) = crate::clock::fault(std::time::SystemTime::now()) {
            warn!("{fault}");
        }
        let room = Room::new(&config.state, config.reserve, config.space_factor);
        if !room.regain() {
            warn!("{}", Trouble::Full.words(&config.state));
        }
        let fence = ledger.lead()?;
        Road::build(config, ledger, fence, progress, None)
    }

    /// The same road under another configuration. What did not change is shared with the earlier one: connections, allowances, and the
    /// order of changes, which two roads must not keep each for itself. Fails, and changes nothing, when any part cannot be built.
    pub fn renewed(earlier: &Road, config: Arc<Config>) -> anyhow::Result<Road> {
        anyhow::ensure!(
            config.state == earlier.config.state,
            "state: it was {} and is {} now; the state directory changes with a restart alone",
            earlier.config.state.display(),
            config.state.display()
        );
        Road::build(config, Arc::clone(&earlier.ledger), earlier.fence, Arc::clone(&earlier.progress), Some(earlier))
    }

    fn build(
        config: Arc<Config>,
        ledger: Arc<dyn Ledger>,
        fence: Fence,
        progress: Arc<dyn Progress>,
        earlier: Option<&Road>,
    ) -> anyhow::Result<Road> {
        let mut accounts = BTreeMap::new();
        let mut orders = BTreeMap::new();
        for (name, settings) in &config.platforms {
            let kept = earlier
                .filter(|earlier| earlier.config.platforms.get(name) == Some(settings))
                .and_then(|earlier| earlier.accounts.get(name));
            let pair = if let Some(kept) = kept {
                kept.clone()
            } else {
                let account = platform::open(settings);
                let dispatch =
                    Dispatch::start_in(Arc::clone(&account), settings, &config.state).with_context(|| format!("platform {name}"))?;
                (account, Arc::new(dispatch))
            };
            accounts.insert(name.clone(), pair);
            let order = earlier.and_then(|earlier| earlier.orders.get(name)).cloned().unwrap_or_default();
            orders.insert(name.clone(), order);
        }
        let mut prepared = BTreeMap::new();
        for (name, feed) in config.feeds.iter().filter(|(_, feed)| !feed.takes_shape()) {
            let (account, _) = &accounts[&feed.platform.name];
            let one = prepare(feed, account, |field| Ok(ledger.field_id(&feed.platform.name, field)?))?;
            prepared.insert(name.clone(), Arc::new(one));
        }
        let link = |(name, source): (&String, &Arc<Source>)| {
            let kept =
                earlier.filter(|earlier| earlier.config.sources.get(name) == Some(source)).and_then(|earlier| earlier.links.get(name));
            // Whoever reloads may have repaired what kept a server away.
            let kept = kept.inspect(|link| link.try_again());
            (
                name.clone(),
                kept.cloned().unwrap_or_else(|| Arc::new(Link::new(connector(&source.kind)).remembering(Record::of(&config.state, name)))),
            )
        };
        let changed = |name: &&String| {
            let now = config.feeds.get(*name).map(|feed| &feed.fingerprint);
            earlier.is_some_and(|earlier| {
                earlier.is_handed_over(name) || earlier.config.feeds.get(*name).is_some_and(|feed| Some(&feed.fingerprint) != now)
            })
        };
        let before = earlier.map(|earlier| earlier.config.feeds.keys()).into_iter().flatten();
        let handed_over: HashSet<String> = config.feeds.keys().chain(before).filter(changed).cloned().collect();
        let claims = config.feeds.values().any(|feed| feed.claim.is_some());
        let owner = claims.then(|| claim::owner(&config.state)).transpose().context("cannot give this machine a name of its own")?;
        Ok(Road {
            spool: match earlier {
                Some(earlier) => earlier.spool.clone(),
                None => Spool::open(&config.state).with_context(|| format!("the spool in {}", config.state.display()))?,
            },
            pool: pool(config.workers)?,
            links: config.sources.iter().map(link).collect(),
            force: earlier.is_some_and(|earlier| earlier.force),
            unclean: false,
            own_reports: earlier.map(|earlier| Arc::clone(&earlier.own_reports)).unwrap_or_default(),
            handed_over: Mutex::new(handed_over),
            room: Room::new(&config.state, config.reserve, config.space_factor),
            broken: earlier.map(|earlier| Arc::clone(&earlier.broken)).unwrap_or_default(),
            config,
            ledger,
            fence,
            prepared,
            accounts,
            orders,
            owner,
            places: Places::default(),
            stops: Mutex::default(),
            in_hand: earlier.map(|earlier| Arc::clone(&earlier.in_hand)).unwrap_or_default(),
            unknown: unknown::Looks::default(),
            progress,
        })
    }

    fn is_handed_over(&self, feed: &str) -> bool {
        self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).contains(feed)
    }

    /// No run of the feed is under way any more as an earlier configuration had it.
    pub fn took_over(&self, feed: &str) {
        self.handed_over.lock().unwrap_or_else(PoisonError::into_inner).remove(feed);
    }

    /// Drains runs that wait for a platform that is out: nothing of them is in flight, and what keeps them waiting may have been repaired
    /// by the configuration that follows.
    pub fn release_waiting(&self) -> anyhow::Result<()> {
        let running: Vec<(String, Stop)> =
            self.stops.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, stop)| (id.clone(), stop.clone())).collect();
        for (id, stop) in running {
            if self.ledger.run(&id)?.is_some_and(|run| run.state == State::Paused) {
                stop.drain();
            }
        }
        Ok(())
    }

    pub fn feed(&self, name: &str) -> anyhow::Result<Arc<Feed>> {
        self.config.feeds.get(name).cloned().ok_or_else(|| anyhow!("feed {name} is no longer in the configuration"))
    }

    pub fn link(&self, source: &str) -> anyhow::Result<&Arc<Link>> {
        self.links.get(source).ok_or_else(|| anyhow!("source {source} is no longer in the configuration"))
    }

    /// Our folder for what a feed claims, when it does.
    pub fn claim_folder(&self, feed: &Feed) -> Option<BString> {
        claim::folder(feed, self.owner.as_deref()?)
    }

    pub fn dispatch(&self, platform: &str) -> anyhow::Result<&Arc<Dispatch>> {
        self.accounts
            .get(platform)
            .map(|(_, dispatch)| dispatch)
            .ok_or_else(|| anyhow!("platform {platform} is no longer in the configuration"))
    }

    /// What a fault says of this machine's storage, if that is what it is about.
    pub fn trouble(&self, fault: &anyhow::Error) -> Option<Trouble> {
        space::trouble(fault, &self.config.state)
    }

    /// Ends everything after storage failed: nothing more is sent, and what is on its way is not waited for, since its answer could not
    /// be written down.
    pub fn break_off(&self, fault: &anyhow::Error) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            error!("storage failed, everything stops; the next start verifies the ledger first: {fault:#}");
            *broken = Some(format!("{fault:#}"));
        }
        drop(broken);
        self.stop_all(true);
    }

    /// Why everything was ended, if it was.
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn save(&self, run: &Run) -> anyhow::Result<()> {
        Ok(self.ledger.save_run(self.fence, run)?)
    }

    /// Saves a run as if it were in another state.
    pub fn save_as(&self, run: &Run, state: State) -> anyhow::Result<()> {
        self.save(&Run { state, ..run.clone() })
    }

    pub fn tell(&self, run: &Run, station: Station, done: u64, total: u64) {
        self.progress.at(run, station, done, total);
    }

    /// A run is held or over.
    pub fn ended(&self, run: &Run) {
        let (records, need_person) = (run.detail.facts.as_ref().map_or(0, |facts| facts.records), report::json::needing_person(run));
        if run.state == State::Held {
            let guards: Vec<&str> =
                run.detail.verdicts.iter().filter(|verdict| verdict.held).map(|verdict| verdict.guard.as_str()).collect();
            info!(
                file = run.shown_name(),
                records,
                guards = guards.join(" "),
                "run {} is held: passferry show it, then approve or discard",
                run.id
            );
        } else {
            info!(file = run.shown_name(), records, need_person, requests = run.detail.requests, "run {} is {}", run.id, run.state);
        }
        self.progress.rested(run);
    }

    /// The flag that stops one run; raised with all others when the program stops.
    pub fn stop_of(&self, run: &str) -> Stop {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).entry(run.to_owned()).or_default().clone()
    }

    pub fn forget_stop(&self, run: &str) {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
    }

    /// Begins to drain all runs, or abandons their requests.
    pub fn stop_all(&self, now: bool) {
        for stop in self.stops.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if now { stop.now() } else { stop.drain() }
        }
    }

    /// Drains the runs that somebody wants stopped, and those of feeds that were paused.
    pub fn heed_wishes(&self) -> anyhow::Result<()> {
        let running: Vec<(String, Stop)> =
            self.stops.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, stop)| (id.clone(), stop.clone())).collect();
        if running.is_empty() {
            return Ok(());
        }
        let paused = self.ledger.paused()?;
        for (id, stop) in running {
            let unwanted = self.ledger.peek_wish(&id)?.is_some_and(|wish| wish.what != WishKind::Approve);
            let feed_paused = || self.ledger.run(&id).map(|run| run.is_some_and(|run| paused.iter().any(|(feed, ..)| *feed == run.feed)));
            if unwanted || feed_paused()? {
                stop.drain();
            }
        }
        Ok(())
    }

    pub fn is_paused(&self, feed: &str) -> anyhow::Result<bool> {
        Ok(self.ledger.paused()?.iter().any(|(name, ..)| name == feed))
    }

    /// Whose copy in the spool a run reads: a retry has its parent's.
    pub fn spool_owner(&self, run: &Run) -> String {
        spool_owner(&*self.ledger, run)
    }

    /// Tells the run that a correction or retry continues that its rows were taken up: what is left of them is in the newer report.
    pub fn note_continued(&self, run: &Run) -> anyhow::Result<()> {
        if run.kind == RunKind::File || !matches!(run.state, State::Done | State::DoneInDoubt) {
            return Ok(());
        }
        let Some(parent) = run.parent.as_ref().map(|parent| self.ledger.run(parent)).transpose()?.flatten() else { return Ok(()) };
        let records = if run.kind == RunKind::Retry { &run.detail.picked } else { &run.detail.corrects };
        Ok(self.ledger.take_up(self.fence, &parent.id, &run.id, records, &report::json::KEPT_BACK)?)
    }

    /// Lets go of what a run that is over needs no more. The spooled file stays for `retry` until the next clean-up.
    pub fn clean_up(&self, run: &Run) -> anyhow::Result<()> {
        if !crate::keeping::needs_copy(run) {
            self.spool.remove(&run.id)?;
        }
        Ok(())
    }
}
