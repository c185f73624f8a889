//! What differs between the kinds of passes that PassKit has, as far as it is read.

use std::sync::Arc;

use serde_json::Value as Json;

use super::fields::Catalogue;
use super::wire::Pass;
use super::writes::Writes;
use crate::platform::{AddEnd, Asks, ChangeResult, Conversation, Proof, Request};
use crate::row::{Addition, Change, Found, Target, Verb};

/// Where a protocol's passes are: the program, the campaign, the production.
#[derive(Clone, Copy)]
pub(super) struct Class<'c> {
    pub noun: &'static str,
    pub id: &'c str,
}

pub(super) trait Protocol: Send + Sync {
    fn catalogue(&self) -> &'static Catalogue;
    fn verbs(&self) -> &'static [Verb];
    fn required_to_create(&self) -> Vec<String>;

    /// See [`crate::platform::Platform::unsuited`].
    fn unsuited(&self, _asks: &Asks<'_>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn class(&self) -> Class<'_>;

    /// Asks for the class, which only its own region has.
    fn get_class(&self) -> Request;

    /// Asks for one pass.
    fn get(&self, target: &Target) -> Request;

    /// Can a pass be asked for by this identifier? In a path some would change the address.
    fn can_get(&self, target: &Target) -> bool;

    /// The customer's own identifier of a pass.
    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str;

    /// Is it there, and of this class?
    fn is_live(&self, pass: &Pass) -> bool;

    /// What a writer needs to know of it.
    fn state(&self, pass: &Pass) -> Json;

    /// Members of a pass without which nothing is known of what it holds. PassKit prints empty ones too (contract 2); a list may leave them out.
    fn telling(&self) -> &'static [&'static str];

    /// The field by which a list can be asked for several passes at once; none where each is asked for.
    fn filter_field(&self) -> Option<&'static str>;

    fn list(&self, filters: &Json) -> Request;
    fn count(&self) -> Request;

    /// When this account's passes were written.
    fn writes(&self) -> &Writes;

    fn needs_find(&self, change: &Change) -> bool;
    fn apply(self: Arc<Self>, change: Change) -> Box<dyn Conversation<ChangeResult>>;
    fn requests(&self, change: &Change) -> u32;

    fn adds_need_state(&self) -> bool {
        false
    }

    fn add(self: Arc<Self>, add: Addition) -> Box<dyn Conversation<AddEnd>>;
    fn read_back(self: Arc<Self>, add: Addition) -> Option<Box<dyn Conversation<Proof>>>;
}

impl dyn Protocol {
    /// Is it the pass that was asked for?
    pub(super) fn is_meant(&self, target: &Target, pass: &Pass) -> bool {
        match target {
            Target::External(external) => self.name_of(pass) == external,
            Target::Pass(id) => pass.id() == id,
        }
    }

    /// The pass as resolve finds it, read no earlier than `moment`.
    pub(super) fn found(&self, pass: &Pass, moment: u32) -> Found {
        let mut state = self.state(pass);
        state[READ] = moment.into();
        Found { pass_id: pass.id().to_owned(), state }
    }

    /// Was the pass written by this account since it was found? Then what was found must not be written back.
    pub(super) fn is_outdated(&self, target: &Target, found: &Found) -> bool {
        let moment = found.state.get(READ).and_then(Json::as_u64).and_then(|moment| u32::try_from(moment).ok());
        moment.is_some_and(|moment| self.writes().since(moment, &[target.text(), &found.pass_id]))
    }
}

/// Under this name a finding's state keeps when it was read.
const READ: &str = "read";
