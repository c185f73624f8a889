//! Members: loyalty cards and memberships (contract 4).

mod adds;
mod apply;
mod bodies;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::adds::Evidence;
use super::fields::{Catalogue, Entry, FIELDS, Form, PERSON, POINTS};
use super::protocol::{Class, Protocol};
use super::wire::{Pass, escape, get, is_segment, key, send};
use super::writes::Writes;
use crate::config::meant::ReadBack;
use crate::platform::{AddEnd, ChangeResult, Conversation, Proof, Request};
use crate::row::{AddKind, Addition, Change, Target, Verb};

const TIER: &str = "tier";
const EXPIRY: &str = "expiry";

pub(super) const MEMBER: Catalogue = Catalogue {
    own: &[
        Entry::of("points", Form::Single, POINTS),
        Entry::of("secondaryPoints", Form::Single, POINTS),
        Entry::of("tierPoints", Form::Count, POINTS),
        Entry::of("tierId", Form::Text, TIER),
        Entry::of("expiryDate", Form::Instant, EXPIRY),
        Entry::new("optOut", Form::Flag),
        Entry::new("groupingIdentifier", Form::Text),
        Entry::new("profileImage", Form::Text),
        Entry::new("currentTierAwarded", Form::Instant),
        Entry::new("currentTierExpires", Form::Instant),
    ],
    blocks: &[PERSON],
    read_only: &[
        ("externalId", "name the pass with pass = { external_id = \"…\" }; PassKit never changes it later"),
        ("programId", "the platform's `program` setting says it"),
        ("status", "use operation = \"expire\" or \"void\""),
        ("person.externalId", "PassKit keeps it"),
    ],
};

/// The members of one program.
pub(super) struct Members {
    pub program: String,
    /// Tier of issued passes whose feed maps none.
    pub tier: Option<String>,
    pub evidence: Evidence,
    pub writes: Writes,
}

impl Members {
    /// Events of one member, oldest first (M18: the list by member gives one page only).
    fn events(&self, pass_id: &str, offset: usize, limit: usize) -> Request {
        let path = format!("/members/program/list/events/{}", escape(&self.program));
        let only = json!({ "filterField": "member.id", "filterValue": pass_id, "filterOperator": "eq" });
        let groups = json!([{ "condition": "AND", "fieldFilters": [only] }]);
        let filters = json!({ "limit": limit, "offset": offset, "orderBy": "created", "orderAsc": true, "filterGroups": groups });
        send(Method::POST, &path, &json!({ "filters": filters }))
    }

    /// The key of a member: its ID, or external ID and program.
    fn key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        key("id", target, pass_id, |external| json!({ "externalId": external, "programId": self.program }))
    }

    /// Events name the same things differently (M9).
    fn event_key(&self, target: &Target, pass_id: Option<&str>) -> Map<String, Json> {
        key("memberId", target, pass_id, |external| json!({ "externalMemberId": external, "programId": self.program }))
    }
}

/// What a writer needs to know of a member, for [`crate::row::Found`].
fn state(member: &Pass) -> Json {
    let mut state = json!({ "tierId": member.text("tierId"), "metaData": member.object("metaData"), "person": member.object("person") });
    for balance in ["points", "secondaryPoints", "tierPoints"] {
        if let Some(value) = member.0.get(balance) {
            state[balance] = value.clone();
        }
    }
    state
}

impl Protocol for Members {
    fn catalogue(&self) -> &'static Catalogue {
        &MEMBER
    }

    fn verbs(&self) -> &'static [Verb] {
        &[Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void, Verb::Earn, Verb::Burn]
    }

    fn required_to_create(&self) -> Vec<String> {
        if self.tier.is_none() { vec!["tierId".to_owned()] } else { Vec::new() }
    }

    fn class(&self) -> Class<'_> {
        Class { noun: "program", id: &self.program }
    }

    fn get_class(&self) -> Request {
        get(format!("/members/program/{}", escape(&self.program)))
    }

    fn get(&self, target: &Target) -> Request {
        get(match target {
            Target::External(external) => format!("/members/member/externalId/{}/{}", escape(&self.program), escape(external)),
            Target::Pass(id) => format!("/members/member/id/{}", escape(id)),
        })
    }

    fn can_get(&self, target: &Target) -> bool {
        is_segment(target.text())
    }

    fn name_of<'p>(&self, pass: &'p Pass) -> &'p str {
        pass.text("externalId")
    }

    /// A deleted member may still be answered (M12).
    fn is_live(&self, pass: &Pass) -> bool {
        let theirs = pass.text("programId");
        pass.text("status") != "DELETED" && (theirs.is_empty() || theirs == self.program)
    }

    fn state(&self, pass: &Pass) -> Json {
        state(pass)
    }

    fn telling(&self) -> &'static [&'static str] {
        &["tierId", "metaData", "person"]
    }

    fn filter_field(&self) -> Option<&'static str> {
        Some("externalId")
    }

    fn list(&self, filters: &Json) -> Request {
        let path = format!("/members/member/list/{}", escape(&self.program));
        send(Method::POST, &path, &json!({ "filters": filters, "emailAsCsv": false }))
    }

    fn count(&self) -> Request {
        send(Method::POST, &format!("/members/count/{}", escape(&self.program)), &json!({ "filters": {} }))
    }

    fn writes(&self) -> &Writes {
        &self.writes
    }

    /// A balance, a tier or an expiry goes by external ID. Everything else is written as a whole object that must be read first
    /// (contract 2.1), and issuing a pass without any field can only follow a look.
    fn needs_find(&self, change: &Change) -> bool {
        let updates = matches!(change.verb, Verb::Update | Verb::Upsert);
        let nothing_else = change.verb == Verb::Upsert && change.fields.is_empty();
        let whole = || change.fields.iter().any(|field| MEMBER.parse(&field.name).is_ok_and(|field| field.rule().operation == FIELDS));
        // An identifier of PassKit's own may be of another program, which only the member says.
        matches!(change.target, Target::Pass(_)) || updates && (nothing_else || whole())
    }

    fn apply(self: Arc<Self>, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::Apply::new(self, &change))
    }

    fn requests(&self, change: &Change) -> u32 {
        apply::requests(change)
    }

    fn adds_need_state(&self) -> bool {
        self.evidence.read_back == ReadBack::Balance
    }

    fn add(self: Arc<Self>, add: Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give::new(self, add))
    }

    fn read_back(self: Arc<Self>, add: Addition) -> Option<Box<dyn Conversation<Proof>>> {
        let lacking = self.evidence.read_back == ReadBack::Nothing || matches!(add.key.kind, AddKind::Redeem | AddKind::Validate);
        (!lacking).then(|| Box::new(adds::Look::new(self, add)) as Box<dyn Conversation<Proof>>)
    }
}
