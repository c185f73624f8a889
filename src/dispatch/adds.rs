//! Adds: sent once, looked for when the answer was lost, and never sent again without proof (failure model, section 6).

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Caller;
use super::changes::Ending;
use super::engine::{Engine, Patience};
use crate::outcome::{Code, Outcome};
use crate::platform::{AddEnd, Proof, for_log};
use crate::row::{Addition, PassKey};
use crate::stop::Stop;

/// Between two looks of which the first found nothing, at least: what was written may not be visible at once (failure model, D22).
const SECOND_LOOK_MIN: Duration = Duration::from_millis(20);

/// What became of an add, for the one who wrote it down.
#[derive(Clone, Debug, PartialEq)]
pub enum AddFate {
    /// The platform has its effect. What proves it, when that was not the answer itself.
    Applied { evidence: String },
    /// It was there already; nothing was sent.
    Already { message: String },
    /// The platform does not have it and will not take it as it is.
    Refused { outcome: Outcome, code: Code, message: String },
    /// It was sent, and nothing proves either way.
    InDoubt { message: String },
    /// Nothing was sent.
    NotSent,
    /// Nothing was sent, because an earlier add of the pass is in doubt.
    After,
    /// The run was stopped while it was unknown; the next start looks.
    Unsettled,
}

impl Engine {
    /// Carries out one add. The lane of its pass waits meanwhile, so that what comes later stays behind it.
    pub(super) async fn add(self: &Rc<Self>, mut add: Addition, key: PassKey, caller: Caller, done: &Ending) -> AddFate {
        let stop = caller.stop.clone();
        // What may have been sent is looked for first, whatever stands before it.
        if self.is_doubtful(key) && !add.perhaps_sent {
            return AddFate::After;
        }
        if stop.is_draining() && !add.perhaps_sent {
            return AddFate::NotSent;
        }
        let patience = Patience::Endless(caller);
        let mut lost = add.perhaps_sent.then(|| "passferry stopped while the answer was awaited".to_owned());
        let mut sent_again = false;
        loop {
            if let Some(reason) = lost.take() {
                done.park();
                match self.look(&add, &patience, &stop).await {
                    Proof::Applied(evidence) => return AddFate::Applied { evidence },
                    Proof::NotApplied(evidence) if sent_again => {
                        let message = format!("{reason}; twice it was sent and not applied: {evidence}");
                        return AddFate::Refused { outcome: Outcome::Refused, code: Code::RetriesExhausted, message };
                    }
                    Proof::NotApplied(_) if self.is_doubtful(key) => return AddFate::After,
                    Proof::NotApplied(evidence) => {
                        let evidence = for_log(&evidence);
                        tracing::info!(key = %add.key, evidence, "an add whose answer was lost was not applied: it is sent again");
                        sent_again = true;
                    }
                    // Only now: a lost answer after this is a doubt of its own.
                    Proof::Unknown(_) if add.decided && !sent_again => sent_again = true,
                    Proof::Unknown(evidence) => {
                        self.doubt(key);
                        tracing::warn!(key = %add.key, reason = for_log(&reason), evidence = for_log(&evidence), "an add is in doubt");
                        return AddFate::InDoubt { message: format!("{reason}; {evidence}") };
                    }
                    Proof::Stopped => return AddFate::Unsettled,
                }
            }
            add.since = Some(Instant::now());
            match self.converse(self.account().add(&add), &patience).await {
                AddEnd::Applied { .. } => return AddFate::Applied { evidence: String::new() },
                AddEnd::AppliedBut { message } => return AddFate::Applied { evidence: message },
                AddEnd::Already { message } => return AddFate::Already { message },
                AddEnd::Refused { outcome, code, message } => return AddFate::Refused { outcome, code, message },
                // It was sent once before, and a look proved that nothing came of that.
                AddEnd::NotSent => return AddFate::NotSent,
                AddEnd::Lost { .. } if stop.is_draining() => return AddFate::Unsettled,
                AddEnd::Lost { message } => lost = Some(message),
            }
        }
    }

    /// Looks after the settling time, and again before it says that nothing came of it.
    async fn look(self: &Rc<Self>, add: &Addition, patience: &Patience, stop: &Stop) -> Proof {
        if self.account().read_back(add).is_none() {
            return Proof::Unknown("the platform offers nothing to look it up by".to_owned());
        }
        let settling = self.account().settling(add).unwrap_or(self.limits().settling);
        let mut pause = settling;
        let mut not_applied = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.draining() => return Proof::Stopped,
            }
            let Some(look) = self.account().read_back(add) else {
                return Proof::Unknown("the platform offers nothing to look it up by any more".to_owned());
            };
            match self.converse(look, patience).await {
                Proof::NotApplied(_) if not_applied.is_none() => {
                    not_applied = Some(());
                    pause = (settling / 4).max(SECOND_LOOK_MIN);
                }
                proof => return proof,
            }
        }
    }
}
