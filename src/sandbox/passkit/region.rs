//! The region in which an account does not live (contract section 1).

use std::sync::Arc;

use serde_json::Value;

use super::Account;
use crate::sandbox::Region;
use crate::sandbox::answer::{Failure, Reply};
use crate::sandbox::door::Visit;
use crate::sandbox::effects::Effect;
use crate::sandbox::faults::Faults;
use crate::sandbox::stand_in::{Called, Meddling, Pass, Request, StandIn};

/// Takes the account's tokens and has nothing of it.
pub(crate) struct Elsewhere(pub Arc<Account>);

impl StandIn for Elsewhere {
    fn recognise(&self, request: &Request) -> Called {
        self.0.recognise(request)
    }

    fn admit(&self, visit: &Visit<'_>) -> Result<(), Failure> {
        self.0.let_in(visit, Region::Wrong)
    }

    fn answer(&self, visit: &Visit<'_>) -> Result<Reply, Failure> {
        self.0.answer(visit)
    }

    fn refuse(&self, failure: &Failure, knobs: &Faults) -> Reply {
        self.0.refuse(failure, knobs)
    }

    fn meddle(&self, _pass: &Pass, _meddling: &Meddling<'_>, _knobs: &Faults) {}

    fn save(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn effects(&self) -> Vec<Effect> {
        Vec::new()
    }

    fn seed(&self, _passes: Vec<Value>) -> anyhow::Result<u64> {
        anyhow::bail!("nothing of the account is in the other region")
    }

    fn pass(&self, _name: &str) -> Option<Value> {
        None
    }

    fn all(&self) -> Vec<Value> {
        Vec::new()
    }

    fn count(&self) -> u64 {
        0
    }
}
