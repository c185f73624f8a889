//! The threads that look and send, beside whatever else the program does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::Utc;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use tracing::{error, warn};

use super::desk::Desk;
use super::sender::Sender;
use crate::config::meant::Config;
use crate::ledger::{Fence, Ledger, LedgerError};
use crate::stop::Stop;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A try that hangs is not waited for longer than this at the end.
const GRACE: Duration = Duration::from_secs(2);

/// Looks and sends under a configuration. Dropping it ends the threads; what is not sent by then waits in the ledger.
pub struct Host {
    ledger: Arc<dyn Ledger>,
    fence: Fence,
    daemon: bool,
    now: Mutex<Option<Working>>,
}

/// What works under one configuration.
struct Working {
    end: Stop,
    looking: Arc<Looking>,
    threads: Vec<JoinHandle<()>>,
}

/// Shared by those who look and those who send.
struct Looking {
    desk: Mutex<Desk>,
    /// Looks so far.
    looks: AtomicU64,
    /// The program is about to end.
    last: AtomicBool,
    mailings: Vec<Mailing>,
}

/// One who sends.
struct Mailing {
    waker: crossbeam_channel::Sender<()>,
    /// The last look after which nothing was left that could go.
    idle: AtomicU64,
}

impl Host {
    /// Starts looking and sending. `daemon` says whether a changed configuration can be taken up.
    pub fn start(config: &Arc<Config>, ledger: Arc<dyn Ledger>, fence: Fence, daemon: bool) -> Host {
        let host = Host { ledger, fence, daemon, now: Mutex::default() };
        host.follow(config);
        host
    }

    fn now(&self) -> MutexGuard<'_, Option<Working>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same under another configuration.
    pub fn follow(&self, config: &Arc<Config>) {
        let mut now = self.now();
        if let Some(working) = now.take() {
            working.end();
        }
        // Where there is no way out nobody looks.
        *now = (!config.alerts.is_empty()).then(|| self.work(config));
    }

    fn work(&self, config: &Arc<Config>) -> Working {
        let desk = Desk::new(Arc::clone(config), Arc::clone(&self.ledger), self.fence, self.daemon.then(Utc::now));
        let (mut mailings, mut woken) = (Vec::new(), Vec::new());
        for way in config.alerts.values() {
            let (waker, calls) = bounded(1);
            mailings.push(Mailing { waker, idle: AtomicU64::new(0) });
            woken.push((Arc::clone(way), calls));
        }
        let looking = Arc::new(Looking { desk: Mutex::new(desk), looks: AtomicU64::new(0), last: AtomicBool::new(false), mailings });
        let mut working = Working { end: Stop::new(), looking: Arc::clone(&looking), threads: Vec::new() };
        for (number, (way, calls)) in woken.into_iter().enumerate() {
            let (ledger, fence) = (Arc::clone(&self.ledger), self.fence);
            let (looking, end) = (Arc::clone(&looking), working.end.clone());
            let done = Done { looking, number };
            working.spawn(&format!("alert-{}", way.name), move || {
                send_again_and_again(Sender::new(&way, ledger, fence), &way.name, &done, &calls, &end);
            });
        }
        let end = working.end.clone();
        working.spawn("alerts", move || looking.again_and_again(&end));
        working
    }

    /// A last look, and time for what it found to be sent. What is left goes out at the next start.
    pub fn finish(self, patience: Duration, stop: &Stop) {
        let Some(working) = self.now().take() else { return };
        let end = Instant::now() + patience;
        working.looking.last.store(true, Ordering::Release);
        working.looking.desk().look_closely();
        if let Err(fault) = working.looking.look() {
            error!("alerts cannot be noted: {fault:#}");
        }
        let last = working.looking.looks.load(Ordering::Acquire);
        while !working.looking.is_idle_since(last) && Instant::now() < end && !stop.is_draining() {
            std::thread::sleep(Duration::from_millis(20));
        }
        working.end();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(working) = self.now().take() {
            working.end();
        }
    }
}

impl Looking {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> anyhow::Result<()> {
        let looked = self.desk().look(Utc::now());
        self.looks.fetch_add(1, Ordering::AcqRel);
        for mailing in &self.mailings {
            let _ = mailing.waker.try_send(());
        }
        looked
    }

    fn again_and_again(&self, end: &Stop) {
        let mut well = true;
        loop {
            match self.look() {
                Ok(()) => well = true,
                // Somebody else leads, and tells.
                Err(fault) if matches!(fault.downcast_ref(), Some(LedgerError::Fenced)) => return,
                Err(fault) => {
                    if std::mem::take(&mut well) {
                        error!("alerts cannot be noted, which is tried again: {fault:#}");
                    }
                }
            }
            if end.wait(LOOK) {
                return;
            }
        }
    }

    fn is_idle_since(&self, look: u64) -> bool {
        self.mailings.iter().all(|mailing| mailing.idle.load(Ordering::Acquire) >= look)
    }
}

/// Says of one who sends that nothing more can be waited for, however its thread ends.
struct Done {
    looking: Arc<Looking>,
    number: usize,
}

impl Done {
    fn idle_since(&self, look: u64) {
        if let Some(mailing) = self.looking.mailings.get(self.number) {
            mailing.idle.store(look, Ordering::Release);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.idle_since(u64::MAX);
    }
}

fn send_again_and_again(mut sender: Sender, name: &str, done: &Done, calls: &Receiver<()>, end: &Stop) {
    let (looking, mut well) = (&done.looking, true);
    while !end.is_draining() {
        let look = looking.looks.load(Ordering::Acquire);
        match sender.round(looking.last.load(Ordering::Acquire), end) {
            Ok(()) => well = true,
            Err(fault) if matches!(fault.downcast_ref(), Some(LedgerError::Fenced)) => return,
            Err(fault) => {
                if std::mem::take(&mut well) {
                    warn!(alert = name, "messages cannot be sent, which is tried again: {fault:#}");
                }
            }
        }
        done.idle_since(look);
        if calls.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

impl Working {
    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) {
        match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            Ok(thread) => self.threads.push(thread),
            Err(fault) => error!("alerts: cannot start a thread: {fault}"),
        }
    }

    fn end(self) {
        self.end.drain();
        for mailing in &self.looking.mailings {
            let _ = mailing.waker.try_send(());
        }
        let end = Instant::now() + GRACE;
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
