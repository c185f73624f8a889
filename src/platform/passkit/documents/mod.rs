//! Coupons and tickets: passes that are written as one object, in one request, and used up by another (contract 5 and 6).

mod adds;
mod apply;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::adds::Evidence;
use super::fields::{Catalogue, Field};
use super::operations::{Part, parts_of};
use super::protocol::{Class, Protocol};
use super::wire::Pass;
use super::writes::Writes;
use crate::config::meant::ReadBack;
use crate::platform::{AddEnd, ChangeResult, Conversation, Proof, Request};
use crate::row::{AddKind, Addition, Change, Target, Verb};

/// The operation of what a pass is issued with and keeps.
pub(super) const ISSUE: &str = "issue";
/// The operation of a switch that a partial update cannot turn off.
pub(super) const OPT_OUT: &str = "opt-out";

/// One kind of such passes: how it is addressed, and what its requests hold.
pub(super) trait Document: Send + Sync + 'static {
    /// The word for one of them.
    const NOUN: &'static str;
    const CATALOGUE: &'static Catalogue;
    const VERBS: &'static [Verb];
    /// What of a pass a writer must know: members of the state under these names.
    const KEPT: &'static [&'static str];
    /// Members of a body that follow in an update once the pass is issued.
    const AFTER_ISSUE: &'static [&'static str] = &[];

    /// Fields that a new pass needs and the settings do not give.
    fn required(&self) -> Vec<String>;
    fn class(&self) -> Class<'_>;
    fn get(&self, target: &Target) -> Request;
    fn can_get(&self, target: &Target) -> bool;
    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str;
    fn is_live(&self, pass: &Pass) -> bool;
    /// What the pass was issued with, under the name of a field of [`ISSUE`].
    fn issued_with(pass: &Pass, field: &str) -> Option<String>;
    fn filter_field(&self) -> Option<&'static str>;
    fn list(&self, filters: &Json) -> Request;
    fn count(&self) -> Request;
    fn create(&self, external: &str, fields: Map<String, Json>) -> Request;
    fn update(&self, target: &Target, pass_id: Option<&str>, fields: Map<String, Json>) -> Request;
    fn delete(&self, target: &Target, pass_id: Option<&str>) -> Request;
    /// What uses the pass: redeems or validates it, with a mark that it is known by again.
    fn give(&self, kind: AddKind, target: &Target, pass_id: Option<&str>, mark: &Mark<'_>) -> Request;
    /// How the pass was redeemed; none while it was not.
    fn redeemed(pass: &Pass) -> Option<Map<String, Json>>;
}

/// What a use of a pass is known by.
pub(super) struct Mark<'m> {
    /// The add's key.
    pub reference: &'m str,
    /// Who did it, for people.
    pub source: &'m str,
}

/// The passes of one campaign or production.
pub(super) struct Documents<D> {
    pub kind: D,
    pub evidence: Evidence,
    pub writes: Writes,
}

/// Can this not be said without knowing the pass? An object inside it is written whole, what it was issued with is compared, and what
/// cannot be turned off may be off.
fn needs_state(part: &Part) -> bool {
    match &part.field {
        Field::Meta(_) | Field::Block(..) => true,
        Field::Own(entry) => entry.operation == ISSUE || part.json() == Some(Json::Bool(false)),
    }
}

impl<D: Document> Protocol for Documents<D> {
    fn catalogue(&self) -> &'static Catalogue {
        D::CATALOGUE
    }

    fn verbs(&self) -> &'static [Verb] {
        D::VERBS
    }

    fn required_to_create(&self) -> Vec<String> {
        self.kind.required()
    }

    fn class(&self) -> Class<'_> {
        self.kind.class()
    }

    /// The contract names no call that asks for a campaign or a production; one that counts its passes finds it as well.
    fn get_class(&self) -> Request {
        self.kind.count()
    }

    fn get(&self, target: &Target) -> Request {
        self.kind.get(target)
    }

    fn can_get(&self, target: &Target) -> bool {
        self.kind.can_get(target)
    }

    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str {
        self.kind.name_of(pass)
    }

    fn is_live(&self, pass: &Pass) -> bool {
        self.kind.is_live(pass)
    }

    fn state(&self, pass: &Pass) -> Json {
        let kept =
            D::KEPT.iter().filter_map(|name| Some(((*name).to_owned(), pass.0.get(*name).filter(|value| !value.is_null())?.clone())));
        let issued = D::CATALOGUE.own.iter().filter(|entry| entry.operation == ISSUE);
        let issued = issued.filter_map(|entry| Some((entry.name.to_owned(), D::issued_with(pass, entry.name)?.into())));
        Json::Object(kept.chain(issued).collect())
    }

    fn telling(&self) -> &'static [&'static str] {
        D::KEPT
    }

    fn filter_field(&self) -> Option<&'static str> {
        self.kind.filter_field()
    }

    fn list(&self, filters: &Json) -> Request {
        self.kind.list(filters)
    }

    fn count(&self) -> Request {
        self.kind.count()
    }

    fn writes(&self) -> &Writes {
        &self.writes
    }

    fn needs_find(&self, change: &Change) -> bool {
        let nothing_else = change.verb == Verb::Upsert && change.fields.is_empty();
        // An identifier of PassKit's own may be of another campaign or production, which only the pass says.
        matches!(change.target, Target::Pass(_))
            || matches!(change.verb, Verb::Update | Verb::Upsert)
                && (nothing_else || parts_of(D::CATALOGUE, change).any(|part| needs_state(&part)))
    }

    fn apply(self: Arc<Self>, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::Apply::new(self, &change))
    }

    /// One write, and one more where a pass may have to be issued.
    fn requests(&self, change: &Change) -> u32 {
        1 + u32::from(change.verb == Verb::Upsert)
    }

    fn add(self: Arc<Self>, add: Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give::new(self, add))
    }

    fn read_back(self: Arc<Self>, add: Addition) -> Option<Box<dyn Conversation<Proof>>> {
        let told = self.evidence.read_back != ReadBack::Nothing && !matches!(add.key.kind, AddKind::Earn | AddKind::Burn);
        told.then(|| Box::new(adds::Look::new(self, add)) as Box<dyn Conversation<Proof>>)
    }
}
