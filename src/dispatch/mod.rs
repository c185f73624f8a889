//! Sends what platforms describe: the one place with requests in flight.
//!
//! One [`Dispatch`] serves one platform account for every run of the process. It keeps the account's allowance, obeys `Retry-After` for all,
//! keeps the changes of one pass in order, repeats what may be repeated, and stands still while the platform is out.
//!
//! Callers see blocking calls. Behind them one thread runs everything: `engine` holds the conversations and the lanes, `gate` decides
//! when a request may leave, `client` carries one try of it, or the desk of passes hosted here ([`carrier`]).

mod adds;
mod batch;
mod carrier;
mod caught;
mod changes;
mod client;
mod engine;
mod gate;
pub mod pause;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tracing::Span;

use crate::config::meant;
use crate::metrics::count;
use crate::outcome::Code;
use crate::platform::{Account, Conversation, Finding, IndexPage, Limits, Page, Reach};
use crate::row::{PassKey, Target};
use crate::stop::Stop;
use crate::trace;
use carrier::Carrier;
use caught::{Panicked, caught};
use engine::{Command, Engine, Patience};

pub use adds::AddFate;
pub use changes::{Came, ChangeReceiver, ChangeSender};
pub(crate) use client::{is_loopback, settled, words_of};

/// How the account is doing, for status lines and run states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Nothing is sent but single probes; `since` says how long, `reason` in words.
    Out {
        reason: String,
        since: Duration,
    },
}

/// Counters since the start, for reports and the bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub repeats: u64,
    pub slowed: u64,
}

/// Changes of a run under way at once, at least: so many rows tell what is about them from what is about the account (failure model, D10).
const WINDOW_MIN: usize = 24;

/// What the sending thread tells the others.
#[derive(Default)]
struct Shared {
    requests: AtomicU64,
    repeats: AtomicU64,
    slowed: AtomicU64,
    in_flight: AtomicUsize,
    /// The platform answered a request since the start, as platforms do.
    answered: AtomicBool,
    /// The same and more, for monitoring.
    counts: count::Requests,
    out: Mutex<Option<(String, Instant)>>,
    /// Where a pause outlives the process.
    pause: Option<pause::Record>,
}

impl Shared {
    fn set_out(&self, out: Option<(String, Instant)>) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = out;
    }
}

/// For whom something is sent.
#[derive(Clone)]
struct Caller {
    stop: Stop,
    requests: Arc<AtomicU64>,
    /// What requests are a part of, in a trace.
    span: Span,
}

impl Caller {
    /// For something that is asked for in this thread, now.
    fn here(&self) -> Caller {
        Caller { span: trace::here(), ..self.clone() }
    }
}

/// A platform account as one run uses it. See [`Dispatch::for_run`].
pub struct ForRun<'d> {
    dispatch: &'d Dispatch,
    caller: Caller,
}

/// Sends for one platform account. Dropping it abandons what is outstanding and joins its thread.
pub struct Dispatch {
    account: Account,
    limits: Limits,
    shared: Arc<Shared>,
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Dispatch {
    /// Starts the account's thread. Fails when the CA file is unreadable, the address is no URL, or TLS cannot be set up; nothing is sent.
    pub fn start(account: Account, settings: &meant::Platform) -> anyhow::Result<Dispatch> {
        Dispatch::start_with(account, settings, None)
    }

    /// The same for a process that takes up what an earlier one left in this state directory: a pause that the platform asked for goes on.
    pub fn start_in(account: Account, settings: &meant::Platform, state: &Path) -> anyhow::Result<Dispatch> {
        Dispatch::start_with(account, settings, Some(pause::Record::of(state, &settings.name)))
    }

    fn start_with(account: Account, settings: &meant::Platform, pause: Option<pause::Record>) -> anyhow::Result<Dispatch> {
        let limits = limits_of(&account.limits(), settings);
        let carrier = Carrier::open(&account, settings, &limits)
            .with_context(|| format!("platform {}: cannot set up its connection", settings.name))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the sending thread")?;
        let shared = Arc::new(Shared { pause, counts: count::Requests::of(&settings.name), ..Shared::default() });
        let (commands, receiver) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("send-{}", settings.name))
            .spawn({
                let (account, limits, shared, name) = (account.clone(), limits.clone(), shared.clone(), settings.name.clone());
                move || {
                    let tasks = tokio::task::LocalSet::new();
                    tasks.block_on(&runtime, async move { Engine::new(name, account, carrier, limits, shared).serve(receiver).await });
                }
            })
            .context("cannot start the sending thread")?;
        Ok(Dispatch { account, limits, shared, commands: Some(commands), thread: Some(thread) })
    }

    /// The platform's limits, where the settings do not say otherwise.
    pub fn limits(&self) -> Limits {
        self.limits.clone()
    }

    /// The account for one run: what the run sends is counted apart from what others send at the same time.
    pub fn for_run(&self, stop: &Stop) -> ForRun<'_> {
        ForRun { dispatch: self, caller: Caller { stop: stop.clone(), requests: Arc::default(), span: trace::here() } }
    }

    /// What was in doubt of a pass is settled: its adds go on.
    pub fn settled(&self, pass: PassKey) {
        if let Some(commands) = &self.commands {
            let run = Box::new(move |engine: std::rc::Rc<Engine>| {
                let run: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { engine.undoubt(pass) });
                run
            });
            let _ = commands.send(Command::Run(run));
        }
    }

    /// Tests credentials, region and rights, each request once: it reports trouble instead of waiting it out.
    pub fn probe(&self) -> Reach {
        let (result, received) = crossbeam_channel::bounded(1);
        let account = self.account.clone();
        self.converse(move || account.probe(), Patience::Once, move |reach| drop(reach.map(|reach| result.send(reach))));
        received.recv().unwrap_or_else(|_| Reach {
            ok: false,
            denied: false,
            message: "passferry itself failed; its log says where".to_owned(),
        })
    }

    /// Reads one page of passes. Gives up after the limits' tries; the page's `fault` says so.
    pub fn page(&self, offset: u64) -> Page {
        let (result, received) = crossbeam_channel::bounded(1);
        let account = self.account.clone();
        self.converse(move || account.pages(offset), Patience::Tries, move |page| drop(page.map(|page| result.send(page))));
        received
            .recv()
            .unwrap_or_else(|_| Page { fault: Some("passferry itself failed; its log says where".to_owned()), ..Page::default() })
    }

    pub fn health(&self) -> Health {
        match &*self.shared.out.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Health::Up,
            Some((reason, since)) => Health::Out { reason: reason.clone(), since: since.elapsed() },
        }
    }

    /// Requests that wait for their answer at this moment.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.shared.requests.load(Ordering::Relaxed),
            repeats: self.shared.repeats.load(Ordering::Relaxed),
            slowed: self.shared.slowed.load(Ordering::Relaxed),
        }
    }

    /// Holds a conversation on the sending thread, where it is begun as well, so that a panic in it is met in one place.
    fn converse<T: 'static>(
        &self,
        begin: impl FnOnce() -> Box<dyn Conversation<T>> + Send + 'static,
        patience: Patience,
        done: impl FnOnce(Result<T, Panicked>) + Send + 'static,
    ) {
        if let Some(commands) = &self.commands {
            let run = Box::new(move |engine: std::rc::Rc<Engine>| {
                let run: std::pin::Pin<Box<dyn Future<Output = ()>>> =
                    Box::pin(async move { done(caught(async { engine.converse(begin(), &patience).await }).await) });
                run
            });
            // A closed channel drops `done` and with it the caller's sender, which the caller sees.
            let _ = commands.send(Command::Run(run));
        }
    }
}

impl ForRun<'_> {
    /// Finds passes: one finding a target, in the same order. Blocks until all are known, through outages too, or the run's stop is raised.
    ///
    /// A bulk question that keeps failing says nothing about the passes it names: they are asked for one by one.
    pub fn find(&self, targets: Vec<Target>) -> Vec<Finding> {
        let mut findings = vec![Finding::NotAttempted; targets.len()];
        let all = targets.iter().cloned().enumerate().collect();
        self.find_in_batches(all, self.dispatch.limits.find_batch, &mut findings);
        let unproven = |finding: &Finding| {
            matches!(finding, Finding::Failed { code: Code::RetriesExhausted | Code::AnswerUnreadable | Code::InternalError, .. })
        };
        let again: Vec<(usize, Target)> = targets
            .into_iter()
            .enumerate()
            .filter(|(index, target)| matches!(target, Target::External(_)) && unproven(&findings[*index]))
            .collect();
        if again.len() > 1 {
            self.find_in_batches(again, 1, &mut findings);
        }
        findings
    }

    fn find_in_batches(&self, targets: Vec<(usize, Target)>, size: usize, findings: &mut [Finding]) {
        let (results, received) = crossbeam_channel::unbounded();
        let mut by_external = Vec::new();
        // Lists select by external ID; a pass ID is one request each, so those gain from being separate.
        for (index, target) in targets {
            match target {
                Target::External(_) => by_external.push((index, target)),
                Target::Pass(_) => self.find_batch(vec![(index, target)], &results),
            }
        }
        let mut rest = by_external.into_iter().peekable();
        while rest.peek().is_some() {
            self.find_batch(rest.by_ref().take(size.max(1)).collect(), &results);
        }
        drop(results);
        for (indexes, found) in received {
            for (index, finding) in std::iter::zip::<Vec<usize>, Vec<Finding>>(indexes, found) {
                findings[index] = finding;
            }
        }
    }

    fn find_batch(&self, batch: Vec<(usize, Target)>, results: &crossbeam_channel::Sender<(Vec<usize>, Vec<Finding>)>) {
        let (indexes, targets): (Vec<usize>, Vec<Target>) = batch.into_iter().unzip();
        let results = results.clone();
        let account = self.dispatch.account.clone();
        self.dispatch.converse(
            move || account.find(&targets),
            Patience::Endless(self.caller.here()),
            move |found| {
                let broken = Finding::Failed { code: Code::InternalError, message: Panicked::WORDS.to_owned() };
                let found = found.unwrap_or_else(|Panicked| vec![broken; indexes.len()]);
                // Nobody receives only when the caller was unwound.
                let _ = results.send((indexes, found));
            },
        );
    }

    /// How many passes the account has; none where that cannot be learnt.
    pub fn size(&self) -> Option<u64> {
        self.ask(|account| Some(account.index()?.size())).flatten()
    }

    /// One page of the account's list of passes, as findings. Blocks through outages, as [`ForRun::find`] does.
    pub fn index_page(&self, offset: u64) -> IndexPage {
        self.ask(move |account| Some(account.index()?.read(offset)))
            .unwrap_or_else(|| IndexPage { fault: Some("passferry itself failed; its log says where".to_owned()), ..IndexPage::default() })
    }

    /// Holds a conversation for the run. None when there is none to hold, or passferry itself failed in it.
    fn ask<T: Send + 'static>(&self, begin: impl FnOnce(&Account) -> Option<Box<dyn Conversation<T>>> + Send + 'static) -> Option<T> {
        let (result, received) = crossbeam_channel::bounded(1);
        let account = self.dispatch.account.clone();
        let talk = begin(&account)?;
        let done = move |end: Result<T, Panicked>| drop(end.map(|end| result.send(end)));
        self.dispatch.converse(move || talk, Patience::Endless(self.caller.here()), done);
        received.recv().ok()
    }

    /// The stream of the run's changes: where they are handed over, and where their results come from. One thread for each.
    pub fn changes(&self) -> (ChangeSender, ChangeReceiver) {
        let limits = &self.dispatch.limits;
        let window = limits.in_flight.saturating_mul(4).saturating_mul(limits.change_batch).max(WINDOW_MIN);
        changes::stream(self.dispatch.commands.clone(), self.caller.clone(), window)
    }

    pub fn health(&self) -> Health {
        self.dispatch.health()
    }

    /// Did the platform answer anybody since the start? Until then nobody knows whether an outage of before is over.
    pub fn was_answered(&self) -> bool {
        self.dispatch.shared.answered.load(Ordering::Relaxed)
    }

    /// Requests sent for this run so far, repeats included.
    pub fn requests(&self) -> u64 {
        self.caller.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::End);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The settings win in both directions: what a platform grants an account is written in its contract, which only its owner knows.
fn limits_of(platform: &Limits, settings: &meant::Platform) -> Limits {
    Limits {
        per_second: settings.allowance.unwrap_or(platform.per_second),
        in_flight: settings.in_flight.unwrap_or(platform.in_flight).max(1),
        timeout: settings.timeout.unwrap_or(platform.timeout),
        tries: settings.tries.unwrap_or(platform.tries).max(1),
        // What left here just before our own deadline may still arrive and be carried out.
        settling: settings.settling.unwrap_or(platform.settling + settings.timeout.unwrap_or(platform.timeout)),
        ..platform.clone()
    }
}
