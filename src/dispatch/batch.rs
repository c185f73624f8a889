//! Changes of different passes that travel in one request, where the platform takes several.
//!
//! The first change of a lane waits here for company, so that a batch never holds two of one pass.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Caller;
use super::caught::{Panicked, caught};
use super::engine::{Engine, Patience};
use crate::platform::ChangeResult;
use crate::row::Change;

/// How long a change waits for others before its batch leaves unfilled. Far below the time of one request.
const GATHER: Duration = Duration::from_millis(5);

/// A change that waits for company, and who waits for its result.
type Waiting = (Change, oneshot::Sender<ChangeResult>);

/// Changes that wait for company; all of runs that stop together.
#[derive(Default)]
pub(super) struct Gathered {
    waiting: Vec<Waiting>,
    caller: Option<Caller>,
    /// Batches that left so far: whoever waited for an earlier one is late.
    left: u64,
}

impl Gathered {
    fn take(&mut self) -> Option<(Vec<Waiting>, Caller)> {
        let caller = self.caller.take()?;
        self.left += 1;
        Some((std::mem::take(&mut self.waiting), caller))
    }
}

impl Engine {
    /// Carries out a change together with others.
    pub(super) async fn gather(self: &Rc<Self>, change: Change, caller: Caller) -> Result<ChangeResult, Panicked> {
        let (sender, receiver) = oneshot::channel();
        self.join_others((change, sender), caller);
        // The sender is dropped without a word only by a panic.
        receiver.await.map_err(|_| Panicked)
    }

    fn join_others(self: &Rc<Self>, one: Waiting, caller: Caller) {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.caller.as_ref().is_some_and(|others| !others.stop.is_same(&caller.stop)) {
            self.leave(&mut gathered);
        }
        gathered.caller = Some(caller);
        gathered.waiting.push(one);
        if gathered.waiting.len() >= self.limits().change_batch {
            self.leave(&mut gathered);
        } else if gathered.waiting.len() == 1 {
            let (engine, left) = (self.clone(), gathered.left);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(GATHER).await;
                let mut gathered = engine.gathered.borrow_mut();
                if gathered.left == left {
                    engine.leave(&mut gathered);
                }
            });
        }
    }

    /// Sends what has gathered.
    fn leave(self: &Rc<Self>, gathered: &mut Gathered) {
        let Some((batch, caller)) = gathered.take() else { return };
        let (changes, senders): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let engine = self.clone();
        tokio::task::spawn_local(async move {
            let patience = Patience::Endless(caller);
            let results = caught(async { engine.converse(engine.account().apply_batch(changes), &patience).await }).await;
            for (sender, result) in std::iter::zip(senders, results.unwrap_or_default()) {
                // Nobody waits only when the engine ends.
                let _ = sender.send(result);
            }
        });
    }
}
