//! The stream of changes between a run and the sending thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use tokio::sync::mpsc::UnboundedSender;

use super::Caller;
use super::adds::AddFate;
use super::engine::{Command, Job, Work};
use crate::platform::ChangeResult;
use crate::row::{AddKey, Addition, Change, PassKey};

/// How long results gather before a thread that waits for them looks again.
const GATHER: Duration = Duration::from_millis(1);

/// What came back, for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Came {
    Change(u64, ChangeResult),
    Add(u64, AddKey, AddFate),
}

/// Results that wait to be received, at most, beyond those of a window.
const RESULTS_MAX: usize = 10_000;
/// Adds that wait for their platform to settle do not take room in the window, up to so many.
const PARKED_MAX: usize = 10_000;

/// The half that hands changes over. Dropping it lets the receiver end after the last result.
pub struct ChangeSender {
    commands: Option<UnboundedSender<Command>>,
    results: Sender<Came>,
    window: Arc<Window>,
    caller: Caller,
}

/// The half that results come from.
pub struct ChangeReceiver {
    results: Receiver<Came>,
}

/// The two halves of a stream. Results come in the order in which changes end; `window` changes may be outstanding.
pub(super) fn stream(commands: Option<UnboundedSender<Command>>, caller: Caller, window: usize) -> (ChangeSender, ChangeReceiver) {
    let (results, received) = crossbeam_channel::unbounded();
    let window = Arc::new(Window { outstanding: Mutex::new(0), parked: AtomicUsize::new(0), room: Condvar::new(), size: window });
    (ChangeSender { commands, results, window, caller }, ChangeReceiver { results: received })
}

impl ChangeSender {
    /// Hands a change over. Blocks while a window of them (four times the requests in flight) has not ended, and while many results wait
    /// to be received: somebody else must receive them.
    ///
    /// Changes of one key are carried out one after another in the order sent, across all streams of the account.
    pub fn send(&self, change: Change, key: PassKey) {
        self.hand_over(Work::Change(change), key);
    }

    /// Hands an add over, in the same order as changes. Its intent must be written down.
    pub fn add(&self, add: Addition, key: PassKey) {
        self.hand_over(Work::Add(add), key);
    }

    fn hand_over(&self, work: Work, key: PassKey) {
        self.window.enter();
        // Nobody wakes this one: whoever receives is far behind, and a look now and then costs nothing. When all ends, nobody may receive.
        while self.results.len() >= RESULTS_MAX && !self.caller.stop.is_draining() {
            std::thread::sleep(GATHER);
        }
        let done = Ending { results: self.results.clone(), window: self.window.clone(), parked: Cell::new(false) };
        if let Some(commands) = &self.commands {
            // After the thread ended the job is dropped, which makes room and lets the receiver end without its result.
            let _ = commands.send(Command::Job(Box::new(Job { work, key, caller: self.caller.here(), done })));
        }
    }
}

impl ChangeReceiver {
    /// The next result; waits for it. None after the sender was dropped and the last result was received.
    pub fn receive(&self) -> Option<Came> {
        self.results.recv().ok()
    }

    /// The next result, if one comes within `time`. `Disconnected` after the last one.
    pub fn receive_timeout(&self, time: Duration) -> Result<Came, RecvTimeoutError> {
        match self.results.try_recv() {
            Ok(result) => return Ok(result),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        // Whoever waits is woken for every single result, which costs more than the result. Let some gather.
        std::thread::sleep(GATHER.min(time));
        self.results.recv_timeout(time.saturating_sub(GATHER))
    }
}

/// How many changes of a stream have not ended.
struct Window {
    outstanding: Mutex<usize>,
    parked: AtomicUsize,
    room: Condvar,
    size: usize,
}

impl Window {
    fn enter(&self) {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        while *outstanding >= self.size {
            outstanding = self.room.wait(outstanding).unwrap_or_else(PoisonError::into_inner);
        }
        *outstanding += 1;
    }

    /// True when the window has one place more from now on.
    fn park(&self) -> bool {
        if self.parked.fetch_add(1, Ordering::Relaxed) >= PARKED_MAX {
            self.parked.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.leave();
        true
    }

    fn unpark(&self) {
        self.parked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes the sender only once a quarter of the window is free: a wake-up for every change costs more than the change.
    fn leave(&self) {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        *outstanding -= 1;
        if *outstanding == self.size - self.size.div_ceil(4) {
            self.room.notify_all();
        }
    }
}

/// What happens at the end of a change, or when it is dropped on the way.
pub(super) struct Ending {
    results: Sender<Came>,
    window: Arc<Window>,
    /// It has left the window before its end.
    parked: Cell<bool>,
}

impl Ending {
    pub(super) fn send(self, came: Came) {
        // Nobody receives only when the run was unwound.
        let _ = self.results.send(came);
    }

    /// Makes room for others while this one waits long for something that costs nothing.
    pub(super) fn park(&self) {
        if !self.parked.get() && self.window.park() {
            self.parked.set(true);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.parked.get() { self.window.unpark() } else { self.window.leave() }
    }
}
