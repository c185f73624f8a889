//! What every station needs: configuration, ledger, spool, links to sources, dispatch to platforms.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bstr::{BStr, BString, ByteSlice};
use chrono::Utc;
use tracing::{error, info, warn};

use super::apply::{self, Applied, Watch, Work};
use super::check::FileInHand;
use super::claim;
use super::correction::Correction;
use super::pending::PendingPasses;
use super::places::Places;
use super::report::{self, Names, RowSource};
use super::sent::Sent;
use crate::config::meant::{Config, Feed, Source, SourceKind};
use crate::dispatch::{Dispatch, ForRun, Health};
use crate::format;
use crate::keeping::unknown::{self, UnknownReport};
use crate::ledger::run::{ReportFile, WishKind};
use crate::ledger::{Fence, KeyEnd, KeyNote, KeyState, Ledger, PendingPass, Row, Run, RunFilter, RunKind, State};
use crate::mapping::Mapping;
use crate::outcome::{Code, Outcome, Tally};
use crate::platform::{self, Account};
use crate::row::Verb;
use crate::schema::{HeaderFault, Schema};
use crate::source::folder::FolderConnect;
use crate::source::link::Link;
use crate::source::refusals::Record;
use crate::source::sftp::SftpConnect;
use crate::source::{Connect, EntryKind, SourceError, join};
use crate::space::{self, Room, Trouble};
use crate::spool::Spool;
use crate::stop::Stop;

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

/// A feed with everything looked up.
pub struct Prepared {
    pub schema: Schema,
    pub mapping: Mapping,
    pub field_ids: Vec<u16>,
    /// The ledger's number of the feed's clock, where a column says how new a row is.
    pub clock: Option<u16>,
    pub account: Account,
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

/// Size and mtime by folder and name.
type OwnReports = HashMap<(BString, BString), (u64, i64)>;

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

/// A feed as it is for one file, and what was looked up of it.
pub type OfFile = (Arc<Feed>, Arc<Prepared>);

/// Corrections of corrections that are followed to the file they began with.
const CORRECTIONS_MAX: u32 = 100;

/// A fault of a feed that took its shape from a file is the file's.
fn of_header(message: String) -> HeaderFault {
    HeaderFault { code: Code::UnmatchedHeader, column: None, label: String::new(), message }
}

/// What makes a feed unusable although its configuration reads well: a template, a clearing, an operation its platform cannot do.
#[derive(Debug, thiserror::Error)]
#[error("feed {feed}: {}", .faults.join("; "))]
pub struct FeedFaults {
    pub feed: String,
    /// Each as `key: what`, the key below the feed's.
    pub faults: Vec<String>,
}

/// A feed's schema and mapping. `field_id` gives the ledger's number of a pass field.
pub fn prepare(feed: &Feed, account: &Account, field_id: impl Fn(&str) -> anyhow::Result<u16>) -> anyhow::Result<Prepared> {
    let faulty = |faults| FeedFaults { feed: feed.name.clone(), faults };
    let schema = Schema::parse(&feed.schema_text)
        .map_err(|faults| faulty(faults.iter().map(|fault| format!("schema: {}: {}", fault.path, fault.message)).collect()))?;
    let mapping = Mapping::new(feed, &schema, Arc::clone(account)).map_err(faulty)?;
    let field_ids = mapping.fields().iter().map(|field| field_id(&field.name)).collect::<anyhow::Result<_>>()?;
    let clock = mapping.clock_name(&feed.name, &schema).map(|name| field_id(&name)).transpose()?;
    Ok(Prepared { schema, mapping, field_ids, clock, account: Arc::clone(account) })
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

    /// A feed as it is for one run, and what was looked up of it. The inner error is the file's: its header makes no feed.
    pub fn prepared(&self, run: &Run) -> anyhow::Result<Result<OfFile, Vec<HeaderFault>>> {
        let feed = self.feed(&run.feed)?;
        if let Some(prepared) = self.prepared.get(&feed.name) {
            return Ok(Ok((feed, Arc::clone(prepared))));
        }
        let shaped = match format::shape(&feed, &self.columns_of(run)?) {
            Ok(shaped) => shaped,
            Err(faults) => return Ok(Err(faults)),
        };
        let (account, _) = self
            .accounts
            .get(&feed.platform.name)
            .ok_or_else(|| anyhow!("platform {} is no longer in the configuration", feed.platform.name))?;
        match prepare(&shaped, account, |field| Ok(self.ledger.field_id(&feed.platform.name, field)?)).map_err(anyhow::Error::downcast) {
            Ok(prepared) => Ok(Ok((shaped, Arc::new(prepared)))),
            Err(Ok(FeedFaults { faults, .. })) => Ok(Err(faults.into_iter().map(of_header).collect())),
            Err(Err(error)) => Err(error),
        }
    }

    /// The fingerprint that a run's feed has today; none where the run's file makes no feed of it.
    pub fn fingerprint(&self, run: &Run) -> anyhow::Result<Option<String>> {
        let feed = self.feed(&run.feed)?;
        if !feed.takes_shape() {
            return Ok(Some(feed.fingerprint.clone()));
        }
        Ok(format::shape(&feed, &self.columns_of(run)?).ok().map(|shaped| shaped.fingerprint.clone()))
    }

    /// The data's own labels in a run's file. A correction has those of the file that it corrects: what somebody added is none of it.
    fn columns_of(&self, run: &Run) -> anyhow::Result<Vec<String>> {
        let mut run = run.clone();
        for _ in 0..CORRECTIONS_MAX {
            let owner = self.spool_owner(&run);
            if owner != run.id
                && let Some(owner) = self.ledger.run(&owner)?
            {
                run = owner;
            }
            let parent = run.parent.as_ref().filter(|_| run.kind == RunKind::Correction);
            let Some(parent) = parent.map(|parent| self.ledger.run(parent)).transpose()?.flatten() else { break };
            if parent.detail.labels.is_empty() {
                break;
            }
            run = parent;
        }
        let all = &run.detail.labels;
        let correction = Correction::new(all, String::new()).filter(|_| run.kind == RunKind::Correction);
        Ok(correction.map_or_else(|| all.clone(), |correction| correction.data_labels(all)))
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

    /// Held while a run's rows are compared with those of others of its account.
    pub fn account_order(&self, platform: &str) -> anyhow::Result<MutexGuard<'_, ()>> {
        let order = self.orders.get(platform).ok_or_else(|| anyhow!("platform {platform} is no longer in the configuration"))?;
        Ok(order.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Takes a run for oneself. None while somebody else has it: a correction that came under a name of no feed is taken by another feed's
    /// hand than its own.
    pub fn take_in_hand(&self, run: &str) -> Option<InHand> {
        let fresh = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(run.to_owned());
        fresh.then(|| InHand { all: Arc::clone(&self.in_hand), run: run.to_owned() })
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
        match (run.kind, &run.parent) {
            (RunKind::Retry, Some(parent)) => {
                self.ledger.run(parent).ok().flatten().map_or_else(|| parent.clone(), |parent| self.spool_owner(&parent))
            }
            _ => run.id.clone(),
        }
    }

    /// Reports of ours that this ledger does not know, as far as a feed has to mind them: those of feeds that add.
    pub fn unknown_reports(&self, feed: &Feed) -> anyhow::Result<Vec<UnknownReport>> {
        if !feed.may_add() {
            return Ok(Vec::new());
        }
        Ok(self.unknown.of(feed, &*self.ledger, self.link(&feed.reports.source.name)?)?)
    }

    /// Somebody approved a file that was held for such reports.
    pub fn accept_reports(&self, feed: &Feed, by: &str) -> anyhow::Result<()> {
        self.unknown.accept(feed, &*self.ledger, self.fence, self.link(&feed.reports.source.name)?, by)
    }

    /// Runs of the account, other than this one, that have their place before it: those it comes behind where both touch a pass. A run
    /// that is checked again keeps the place that it has, so that no two runs ever wait for each other.
    ///
    /// The error is a run that is being checked again at this moment: its rows are not to be seen until it was.
    pub fn runs_before(&self, run: &Run, account: &str) -> anyhow::Result<Result<Vec<String>, Box<Run>>> {
        let states = State::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let mut runs = self.ledger.runs(&RunFilter { states, ..RunFilter::default() })?;
        runs.retain(|other| other.id != run.id && other.account == account && other.is_placed());
        if run.detail.placed {
            runs.retain(|other| run.detail.behind.contains(&other.id));
        }
        match runs.iter().position(|other| other.state == State::Fetched && other.detail.attempts > 0) {
            Some(index) => Ok(Err(Box::new(runs.swap_remove(index)))),
            None => Ok(Ok(runs.into_iter().map(|other| other.id).collect())),
        }
    }

    /// Ends all rows still to be done, for one cause. Those with an add that may have been sent are in doubt, whatever the cause.
    pub fn end_left(&self, run: &Run, code: Code, words: &str) -> anyhow::Result<()> {
        let perhaps_sent = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        if !perhaps_sent.is_empty() {
            let evidence = "the run ended while the answer was awaited";
            let mut from = 0;
            loop {
                let rows = self.ledger.pending_rows(&run.id, from, 1000)?;
                let Some(last) = rows.last() else { break };
                from = last.number + 1;
                let (mut ends, mut keys) = (Vec::new(), Vec::new());
                for row in rows {
                    let of_row: Vec<&KeyNote> = perhaps_sent.iter().filter(|note| note.line == row.line).collect();
                    if !of_row.is_empty() {
                        keys.extend(of_row.iter().map(|note| KeyEnd {
                            key: note.key,
                            state: KeyState::InDoubt,
                            evidence: evidence.into(),
                        }));
                        ends.push(apply::in_doubt(row, &of_row, evidence));
                    }
                }
                self.ledger.end_rows(self.fence, &run.id, &run.account, &ends, &keys)?;
            }
        }
        self.ledger.end_pending(self.fence, &run.id, Outcome::NotAttempted, &apply::not_attempted(code, words))?;
        Ok(())
    }

    /// Rows of an earlier check with adds written down, of which a new check says nothing is to be done: they are in doubt. How many.
    pub fn doubt_undone(&self, run: &Run, sent: &Sent) -> anyhow::Result<u64> {
        if sent.next_number == 0 {
            return Ok(0);
        }
        self.ledger.clear_pending_below(self.fence, &run.id, sent.next_number)?;
        let notes = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        let rows = self.ledger.pending_rows(&run.id, 0, notes.len() as u64)?;
        let undone: Vec<Row> = rows.into_iter().filter(|row| row.number < sent.next_number).collect();
        let count = undone.len() as u64;
        undone.into_iter().try_for_each(|row| self.doubt(run, row, &notes)).map(|()| count)
    }

    /// Adds that are written down and that no row of the run asks about any more: they are in doubt. Called when all rows have ended.
    pub fn doubt_forgotten(&self, run: &Run) -> anyhow::Result<()> {
        let notes = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        if notes.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        self.ledger.rows(&run.id, &[], &mut |row| {
            if notes.iter().any(|note| note.line == row.line) {
                rows.push(row);
            }
            Ok(())
        })?;
        rows.into_iter().try_for_each(|row| self.doubt(run, row, &notes))
    }

    fn doubt(&self, run: &Run, row: Row, notes: &[KeyNote]) -> anyhow::Result<()> {
        let evidence = "passferry stopped while the answer was awaited, and the feed changed";
        let notes: Vec<&KeyNote> = notes.iter().filter(|note| note.line == row.line).collect();
        let state = KeyState::InDoubt;
        let keys: Vec<KeyEnd> = notes.iter().map(|note| KeyEnd { key: note.key, state, evidence: evidence.into() }).collect();
        Ok(self.ledger.end_rows(self.fence, &run.id, &run.account, &[apply::in_doubt(row, &notes, evidence)], &keys)?)
    }

    /// Ends a run whose feed is gone. Its file stays where it is and no report can be written: the ledger alone tells.
    pub fn end_orphan(&self, run: &mut Run) -> anyhow::Result<()> {
        self.end_left(run, Code::RunStopped, "the feed is no longer in the configuration")?;
        run.state = State::Stopped;
        run.detail.cause = Some("its feed is no longer in the configuration".into());
        run.detail.tally = run.detail.counted.clone();
        run.detail.tally.merge(&self.ledger.tally(&run.id)?);
        self.save(run)
    }

    /// Notes what a row of another feed is still to do. A feed that is gone from the configuration, or had another mapping when the run
    /// began, may do anything.
    pub fn note_pending(&self, pending: &mut PendingPasses, row: &PendingPass<'_>) {
        let PendingPass { feed, fingerprint, pass, verb, mask } = *row;
        let as_today = self.config.feeds.get(feed).is_some_and(|feed| feed.fingerprint == fingerprint);
        match self.prepared.get(feed).filter(|_| as_today && !self.is_handed_over(feed)) {
            Some(prepared) => {
                let sent = prepared.field_ids.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, id)| *id);
                pending.insert(pass, verb, sent);
            }
            None => pending.insert(pass, Verb::Void, std::iter::empty()),
        }
    }

    /// The feed's latest cleanly finished run, if this file equals it.
    pub fn nothing_new(&self, run: &Run, feed: &Feed) -> anyhow::Result<Option<Run>> {
        if self.force || run.kind != RunKind::File {
            return Ok(None);
        }
        let past = self.ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: Vec::new(), limit: Some(50) })?;
        let earlier = |past: &Run| past.id != run.id && past.kind == RunKind::File && past.detail.order < run.detail.order;
        for past in past.into_iter().filter(earlier) {
            let sent_nothing = !past.detail.may_have_sent();
            match past.state {
                State::Done => {
                    // The same bytes have the same header.
                    let equal = past.sha256 == run.sha256 && self.fingerprint(&past)?.as_ref() == Some(&past.detail.fingerprint);
                    return Ok((equal && past.detail.tally.needing_person() == 0).then_some(past));
                }
                // Over, and no pass is other than before it came.
                State::Failed | State::Discarded | State::Superseded | State::Stopped if sent_nothing => {}
                // Whatever it did or may still do, this file does not stand for the present state.
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Is the fetched file a report of ours that nobody changed?
    pub fn is_own_report(&self, run: &Run) -> anyhow::Result<bool> {
        if !super::discover::is_errors_report(run.name.as_bstr()) {
            return Ok(false);
        }
        let runs = self.ledger.runs(&RunFilter { limit: Some(1000), ..RunFilter::default() })?;
        Ok(runs.iter().flat_map(|past| &past.detail.reports).any(|report| Some(&report.sha256) == run.sha256.as_ref()))
    }

    /// Takes back the run that was opened for an untouched report.
    pub fn forget_own_report(&self, run: &Run) -> anyhow::Result<()> {
        self.spool.remove(&run.id)?;
        self.own_reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((run.folder.clone(), run.name.clone()), (run.size, run.mtime));
        Ok(self.ledger.drop_run(self.fence, &run.id)?)
    }

    pub fn own_reports(&self) -> Vec<((BString, BString), (u64, i64))> {
        self.own_reports.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(key, value)| (key.clone(), *value)).collect()
    }

    pub fn apply(&self, run: &mut Run, feed: &Feed, hand: &FileInHand, dispatch: &ForRun<'_>, stop: &Stop) -> anyhow::Result<Applied> {
        let rules = hand.rules();
        let prepared = hand.prepared();
        let done = std::sync::atomic::AtomicU64::new(0);
        let total = self.ledger.count_pending(&run.id)?;
        self.tell(run, Station::Apply, 0, total);
        let behind = run.detail.behind.clone();
        let work = Work {
            run: &run.id.clone(),
            feed,
            ledger: &*self.ledger,
            fence: self.fence,
            rules: &rules,
            mapping: &prepared.mapping,
            field_ids: &prepared.field_ids,
            account: &prepared.account,
            dispatch,
            text: &hand.text,
            dialect: &hand.dialect,
            pool: &self.pool,
            spool: &self.spool,
            today: (Utc::now().timestamp() / 86_400) as u16,
            seen_at: run.detail.seen_at,
            stop,
            behind: &behind,
            heed_seeds: run.detail.approval.is_none(),
            clock: prepared.clock,
            retried: &self.retried(run)?,
            watch_unresolved: run.kind == RunKind::File && run.detail.approval.is_none(),
        };
        let watcher = ApplyWatch { road: self, run: Mutex::new(run.clone()), done, total, stop };
        let applied = apply::apply(&work, &watcher);
        let told = watcher.run.into_inner().unwrap_or_else(PoisonError::into_inner);
        (run.state, run.detail.cause) = (told.state, told.detail.cause);
        if run.state == State::Paused && !matches!(applied, Ok(Applied::Stopped)) {
            run.state = State::Applying;
            run.detail.cause = None;
        }
        applied
    }

    /// Runs that this one tries rows of again, and those that these tried again: a row has the same line in all of them.
    fn retried(&self, run: &Run) -> anyhow::Result<Vec<String>> {
        let mut retried = Vec::new();
        let mut run = Some(run.clone());
        while let Some(Run { kind: RunKind::Retry, parent: Some(parent), .. }) = run {
            run = self.ledger.run(&parent)?;
            retried.push(parent);
        }
        Ok(retried)
    }

    /// Builds and publishes the reports of a run that ended or is held, with its rows or without. The names are written down before anything is published.
    pub fn publish(&self, run: &mut Run, feed: &Feed, with_rows: bool) -> anyhow::Result<()> {
        let link = self.link(&feed.reports.source.name)?;
        let known = run.detail.reports.first().map(|known| known.name.clone());
        let known = known.and_then(|name| Names::candidates(run).find(|names| names.errors == name || names.report == name));
        let names = match known {
            Some(names) => names,
            None => link.with(|source| report::choose_names(feed, run, source))?,
        };
        let readable =
            with_rows && run.detail.fault.is_none() && run.detail.facts.is_some() && !run.detail.nothing_new && run.sha256.is_some();
        let mut hand = None;
        if readable {
            match FileInHand::open(self, run) {
                Ok(opened) => hand = opened.ok(),
                Err(error) => {
                    warn!("the report has no rows: {error:#}");
                    run.detail.warnings.push(format!("the rows could not be read again: {error:#}"));
                }
            }
        }
        let rows = hand.as_ref().map(FileInHand::rows);
        match self.publish_as(run, feed, link, &names, rows.as_ref()) {
            // Somebody took or changed a name after it was chosen.
            Err(error) if matches!(error.downcast_ref(), Some(SourceError::Exists(_))) => {
                let others = link.with(|source| report::choose_names(feed, run, source))?;
                self.publish_as(run, feed, link, &others, rows.as_ref())
            }
            result => result,
        }
    }

    fn publish_as(&self, run: &mut Run, feed: &Feed, link: &Link, names: &Names, rows: Option<&RowSource<'_>>) -> anyhow::Result<()> {
        let files: Vec<ReportFile> = report::build(run, names, &*self.ledger, rows, &self.spool)?;
        let replaced = std::mem::replace(&mut run.detail.reports, files);
        let fresh = replaced.into_iter().filter(|report| !run.detail.reports.contains(report)).collect::<Vec<_>>();
        run.detail.earlier_reports.extend(fresh);
        let state = if run.state == State::Held { State::Held } else { State::Reporting };
        self.save_as(run, state)?;
        link.with(|source| report::publish(feed, run, names, &self.spool, source))?;
        Ok(())
    }

    /// Counts problems and operations over all rows that the run kept.
    pub fn count_delivery_problems(&self, run: &mut Run) -> anyhow::Result<()> {
        let labels = run.detail.labels.clone();
        let (problems, by_column, operations) = (&mut run.detail.problems, &mut run.detail.problems_by_column, &mut run.detail.operations);
        problems.clear();
        by_column.clear();
        operations.clone_from(&run.detail.counted_operations);
        let outcomes: Vec<Outcome> = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Superseded).collect();
        self.ledger.rows(&run.id, &outcomes, &mut |row| {
            for problem in &row.detail.problems {
                *problems.entry(problem.code.as_str().to_owned()).or_default() += 1;
                if let Some(label) = problem.column.and_then(|column| labels.get(column as usize)) {
                    *by_column.entry(label.clone()).or_default().entry(problem.code.as_str().to_owned()).or_default() += 1;
                }
            }
            // A plain success keeps no notes.
            if let Some(add) = row.verb.add().filter(|_| row.detail.operations.is_empty() && row.outcome == Some(Outcome::Applied)) {
                operations.entry(add.to_string()).or_default().add(Outcome::Applied, 1);
            }
            for note in &row.detail.operations {
                operations.entry(note.operation.clone()).or_insert_with(Tally::default).add(note.outcome, 1);
                if let Some(code) = note.code {
                    *problems.entry(code.as_str().to_owned()).or_default() += 1;
                }
            }
            Ok(())
        })
    }

    /// Tells the run that a correction or retry continues that its rows were taken up: what is left of them is in the newer report.
    pub fn note_continued(&self, run: &Run) -> anyhow::Result<()> {
        if run.kind == RunKind::File || run.state != State::Done {
            return Ok(());
        }
        let Some(mut parent) = run.parent.as_ref().and_then(|parent| self.ledger.run(parent).transpose()).transpose()? else {
            return Ok(());
        };
        if !parent.detail.continued_by.contains(&run.id) {
            parent.detail.continued_by.push(run.id.clone());
            parent.detail.taken_up += run.detail.tally.total();
            self.save(&parent)?;
        }
        Ok(())
    }

    /// Lets go of what a run that is over needs no more. The spooled file stays for `retry` until the next clean-up.
    pub fn clean_up(&self, run: &Run) -> anyhow::Result<()> {
        if !crate::keeping::needs_copy(run) {
            self.spool.remove(&run.id)?;
        }
        Ok(())
    }

    fn is_our_temporary(&self, feed: &Feed, name: &BStr) -> bool {
        let run = report::run_of_temporary(name).map(|id| self.ledger.run(id));
        matches!(run, Some(Ok(Some(run))) if run.feed == feed.name)
    }

    /// Removes temporary names that a stop left in a feed's report folder. Others may write there too: what is not of a run of this feed stays.
    ///
    /// False when the place cannot be reached.
    pub fn sweep_leftovers(&self, feed: &Feed) -> bool {
        let Ok(link) = self.link(&feed.reports.source.name) else { return true };
        let folder = feed.reports.folder.as_bstr();
        let result = link.with(|source| {
            let Ok(entries) = source.list(folder) else { return Ok(()) };
            for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File && self.is_our_temporary(feed, entry.name.as_bstr())) {
                source.remove(join(folder, entry.name.as_bstr()).as_bstr())?;
            }
            Ok(())
        });
        if let Err(error) = &result {
            tracing::debug!(feed = feed.name, "left-over temporary reports cannot be removed yet: {error}");
        }
        result.is_ok()
    }
}

/// A run that nobody else takes further until this is dropped.
pub struct InHand {
    all: Arc<Mutex<HashSet<String>>>,
    run: String,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

struct ApplyWatch<'a> {
    road: &'a Road,
    run: Mutex<Run>,
    done: std::sync::atomic::AtomicU64,
    total: u64,
    stop: &'a Stop,
}

/// An outage shorter than this is not worth a state of its own.
const OUTAGE_SHOWN_AFTER: Duration = Duration::from_secs(1);

impl Watch for ApplyWatch<'_> {
    fn rows_done(&self, rows: u64) {
        let done = self.done.fetch_add(rows, std::sync::atomic::Ordering::Relaxed) + rows;
        self.road.tell(&self.run.lock().unwrap_or_else(PoisonError::into_inner), Station::Apply, done, self.total);
    }

    fn health(&self, health: &Health) {
        // What is on its way goes into the reserve; nothing new is sent.
        if self.road.room.is_short() {
            self.stop.drain();
        }
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, cause) = match health {
            Health::Out { reason, since } if *since >= OUTAGE_SHOWN_AFTER => (State::Paused, Some(reason.clone())),
            Health::Out { .. } => return,
            Health::Up => (State::Applying, None),
        };
        // The reason may be another than the one that stands there from before the program was started again.
        if run.state != state || (state == State::Paused && run.detail.cause != cause) {
            run.state = state;
            run.detail.cause = cause;
            self.road.progress.health(&run, health);
            if let Err(error) = self.road.save(&run) {
                warn!(run = run.id, "cannot note the outage: {error:#}");
            }
        }
    }
}
