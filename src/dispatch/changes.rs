//! The stream of changes between a run and the sending thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use tokio::sync::mpsc::UnboundedSender;

use super::engine::{Command, Job};
use crate::platform::ChangeResult;
use crate::row::{Change, PassKey};
use crate::stop::Stop;

/// How long results gather before a thread that waits for them looks again.
const GATHER: Duration = Duration::from_millis(1);

/// Changes of one run on their way, and their results on the way back. Results come in the order in which changes end.
pub struct Changes {
    sender: Option<ChangeSender>,
    receiver: ChangeReceiver,
}

/// The half that hands changes over. Dropping it lets the receiver end after the last result.
pub struct ChangeSender {
    commands: Option<UnboundedSender<Command>>,
    results: Sender<(u64, ChangeResult)>,
    window: Arc<Window>,
    stop: Stop,
}

/// The half that results come from.
pub struct ChangeReceiver {
    results: Receiver<(u64, ChangeResult)>,
}

impl Changes {
    pub(super) fn new(commands: Option<UnboundedSender<Command>>, stop: Stop, window: usize) -> Changes {
        let (results, received) = crossbeam_channel::unbounded();
        let window = Arc::new(Window { outstanding: Mutex::new(0), room: Condvar::new(), size: window });
        Changes { sender: Some(ChangeSender { commands, results, window, stop }), receiver: ChangeReceiver { results: received } }
    }

    /// See [`ChangeSender::send`].
    pub fn send(&self, change: Change, key: PassKey) {
        if let Some(sender) = &self.sender {
            sender.send(change, key);
        }
    }

    /// No more changes will come.
    pub fn close(&mut self) {
        self.sender = None;
    }

    /// See [`ChangeReceiver::receive`]. Call [`Changes::close`] first, or it waits for changes that nobody sends.
    pub fn receive(&self) -> Option<(u64, ChangeResult)> {
        self.receiver.receive()
    }

    pub fn try_receive(&self) -> Option<(u64, ChangeResult)> {
        self.receiver.try_receive()
    }

    /// Halves for two threads. The sender is none when it was closed.
    pub fn split(self) -> (Option<ChangeSender>, ChangeReceiver) {
        (self.sender, self.receiver)
    }
}

impl ChangeSender {
    /// Hands a change over. Blocks while a window of them (four times the requests in flight) has not ended; results wait without bound
    /// until they are received, so receive between chunks.
    ///
    /// Changes of one key are carried out one after another in the order sent, across all streams of the account.
    pub fn send(&self, change: Change, key: PassKey) {
        self.window.enter();
        let done = Ending { row: change.row, results: self.results.clone(), window: self.window.clone() };
        if let Some(commands) = &self.commands {
            // After the thread ended the job is dropped, which makes room and lets the receiver end without its result.
            let _ = commands.send(Command::Change(Box::new(Job { change, key, stop: self.stop.clone(), done })));
        }
    }
}

impl ChangeReceiver {
    /// The next result; waits for it. None after the sender was dropped and the last result was received.
    pub fn receive(&self) -> Option<(u64, ChangeResult)> {
        self.results.recv().ok()
    }

    /// The next result, if one comes within `time`. `Disconnected` after the last one.
    pub fn receive_timeout(&self, time: Duration) -> Result<(u64, ChangeResult), RecvTimeoutError> {
        match self.results.try_recv() {
            Ok(result) => return Ok(result),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        // Whoever waits is woken for every single result, which costs more than the result. Let some gather.
        std::thread::sleep(GATHER.min(time));
        self.results.recv_timeout(time.saturating_sub(GATHER))
    }

    /// A result that is there already.
    pub fn try_receive(&self) -> Option<(u64, ChangeResult)> {
        self.results.try_recv().ok()
    }
}

/// How many changes of a stream have not ended.
struct Window {
    outstanding: Mutex<usize>,
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
    row: u64,
    results: Sender<(u64, ChangeResult)>,
    window: Arc<Window>,
}

impl Ending {
    pub(super) fn send(self, result: ChangeResult) {
        // Nobody receives only when the run was unwound.
        let _ = self.results.send((self.row, result));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.window.leave();
    }
}
