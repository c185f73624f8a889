//! The bodies that carry a change (contract 2.1 and 4.2).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::Scope;
use super::fields::{self, Field};
use super::wire::{Member, send};
use crate::platform::Request;
use crate::row::{FieldChange, Target};

/// What replaces a whole member may name (contract 4.1, writable); everything else is PassKit's own.
const WRITABLE: [&str; 14] = [
    "groupingIdentifier",
    "tierId",
    "person",
    "metaData",
    "optOut",
    "points",
    "secondaryPoints",
    "tierPoints",
    "expiryDate",
    "passOverrides",
    "notes",
    "currentTierAwarded",
    "currentTierExpires",
    "profileImage",
];

/// A field of a change, looked up.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub field: Field,
    pub change: FieldChange,
}

impl Part {
    fn is_zero(&self) -> bool {
        fields::is_zero(self.change.value.as_ref())
    }
}

/// The pass as far as it is known: its ID, and what of it must be written back beside the change.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub tier: Option<String>,
    pub meta: Map<String, Json>,
    pub person: Map<String, Json>,
    /// The whole member, when it was read in this conversation.
    pub whole: Option<Map<String, Json>>,
}

impl Known {
    pub(super) fn from_state(state: &Json) -> Known {
        let object = |name: &str| state.get(name).and_then(Json::as_object).cloned().unwrap_or_default();
        Known {
            tier: state.get("tierId").and_then(Json::as_str).filter(|tier| !tier.is_empty()).map(str::to_owned),
            meta: object("metaData"),
            person: object("person"),
            whole: None,
        }
    }

    pub(super) fn from_member(member: &Member) -> Known {
        Known { whole: Some(member.0.clone()), ..Known::from_state(&member.state()) }
    }

    /// Can a partial update not say this? It ignores `false`, and takes an empty `metaData` for a missing one.
    pub(super) fn needs_whole(&self, parts: &[&Part]) -> bool {
        let off = parts.iter().any(|part| part.change.value.as_ref().is_some_and(|value| part.field.json(value) == Json::Bool(false)));
        off || (!self.meta.is_empty() && self.meta_with(parts).is_some_and(|meta| meta.is_empty()))
    }

    /// The full map with the changes laid over it; none when no part is about it.
    fn meta_with(&self, parts: &[&Part]) -> Option<Map<String, Json>> {
        let mut meta = None;
        for part in parts {
            if let Field::Meta(key) = &part.field {
                let meta = meta.get_or_insert_with(|| self.meta.clone());
                match &part.change.value {
                    Some(value) => drop(meta.insert(key.clone(), part.field.json(value))),
                    None => drop(meta.remove(key)),
                }
            }
        }
        meta
    }

    /// As for `metaData`: whether an update merges or replaces a person is not known.
    fn person_with(&self, parts: &[&Part]) -> Option<Map<String, Json>> {
        let mut person = None;
        for part in parts {
            if let (Field::Person(_), Some(value)) = (&part.field, &part.change.value) {
                person.get_or_insert_with(|| writable_person(&self.person)).insert(part.field.key().to_owned(), part.field.json(value));
            }
        }
        person
    }
}

/// What was read, without what nobody writes and what says nothing.
fn writable_person(person: &Map<String, Json>) -> Map<String, Json> {
    let writable = |name: &str, value: &Json| {
        !matches!(name, "externalId" | "externalIds") && !value.is_null() && *value != json!("") && *value != json!([])
    };
    person.iter().filter(|(name, value)| writable(name, value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Lays parts over a member body.
fn lay_over(body: &mut Map<String, Json>, known: &Known, parts: &[&Part]) {
    for part in parts {
        if let Field::Member(_) = part.field {
            let value = part.change.value.as_ref().map_or_else(|| json!(0), |value| part.field.json(value));
            body.insert(part.field.key().to_owned(), value);
        }
    }
    if let Some(meta) = known.meta_with(parts) {
        body.insert("metaData".to_owned(), Json::Object(meta));
    }
    if let Some(person) = known.person_with(parts) {
        body.insert("person".to_owned(), Json::Object(person));
    }
}

/// M4, partial: the key, the present tier, and the full `metaData` and person where the change touches them.
pub(super) fn patch(scope: &Scope, target: &Target, pass_id: Option<&str>, known: &Known, parts: &[&Part]) -> Request {
    let mut body = scope.key(target, pass_id);
    body.insert("programId".to_owned(), scope.program.as_str().into());
    if let Some(tier) = &known.tier {
        body.insert("tierId".to_owned(), tier.as_str().into());
    }
    body.insert("operation".to_owned(), "OPERATION_PATCH".into());
    lay_over(&mut body, known, parts);
    send(Method::PUT, "/members/member", &Json::Object(body))
}

/// M4, whole: everything writable as it was read a moment ago, with the changes laid over it. The one way to say `false` or to empty
/// `metaData`; a write by somebody else between the read and this one is lost, which no call of PassKit's can prevent.
pub(super) fn replace(scope: &Scope, target: &Target, pass_id: Option<&str>, known: &Known, parts: &[&Part]) -> Request {
    let mut body = scope.key(target, pass_id);
    body.insert("programId".to_owned(), scope.program.as_str().into());
    body.insert("operation".to_owned(), "OPERATION_PUT".into());
    for name in WRITABLE {
        if let Some(value) = known.whole.as_ref().and_then(|whole| whole.get(name)).filter(|value| !value.is_null()) {
            let value = if name == "person" { Json::Object(writable_person(&known.person)) } else { value.clone() };
            body.insert(name.to_owned(), value);
        }
    }
    lay_over(&mut body, known, parts);
    send(Method::PUT, "/members/member", &Json::Object(body))
}

/// M1. None when no tier is known, without which nothing can be issued.
pub(super) fn enrol(scope: &Scope, external: &str, parts: &[&Part]) -> Option<Request> {
    let mut body = Map::new();
    body.insert("programId".to_owned(), scope.program.as_str().into());
    body.insert("externalId".to_owned(), external.into());
    if let Some(tier) = &scope.tier {
        body.insert("tierId".to_owned(), tier.as_str().into());
    }
    // A new pass has no balance, and nothing to clear.
    let saying: Vec<&Part> = parts.iter().copied().filter(|part| part.change.value.is_some() && !part.is_zero()).collect();
    lay_over(&mut body, &Known::default(), &saying);
    body.contains_key("tierId").then(|| send(Method::POST, "/members/member", &Json::Object(body)))
}

/// M6. Zero goes by its flag: PassKit takes a zero for a missing value.
pub(super) fn points(scope: &Scope, target: &Target, pass_id: Option<&str>, parts: &[&Part], reference: &str) -> Request {
    let mut body = scope.key(target, pass_id);
    for part in parts {
        match &part.change.value {
            Some(value) if !part.is_zero() => body.insert(part.field.key().to_owned(), part.field.json(value)),
            _ => {
                let flag = match part.field.key() {
                    "secondaryPoints" => "resetSecondaryPoints",
                    "tierPoints" => "resetTierPoints",
                    _ => "resetPoints",
                };
                body.insert(flag.to_owned(), true.into())
            }
        };
    }
    body.insert("eventDetails".to_owned(), json!({ "externalEventId": reference }));
    send(Method::PUT, "/members/member/points/set", &Json::Object(body))
}

/// M9.
pub(super) fn tier(scope: &Scope, target: &Target, pass_id: Option<&str>, parts: &[&Part], reference: &str) -> Request {
    let mut body = scope.event_key(target, pass_id);
    for part in parts {
        body.extend(part.change.value.as_ref().map(|value| ("tierId".to_owned(), part.field.json(value))));
    }
    body.insert("eventDetails".to_owned(), json!({ "externalEventId": reference }));
    send(Method::PUT, "/members/member/tier", &Json::Object(body))
}

/// M10.
pub(super) fn expiry(scope: &Scope, target: &Target, pass_id: Option<&str>, at: &str) -> Request {
    let mut body = scope.key(target, pass_id);
    body.insert("expiryDate".to_owned(), at.into());
    send(Method::PUT, "/members/member/updateExpiry", &Json::Object(body))
}

/// M12. DELETE carries a body.
pub(super) fn delete(scope: &Scope, target: &Target, pass_id: Option<&str>) -> Request {
    send(Method::DELETE, "/members/member", &Json::Object(scope.key(target, pass_id)))
}

/// Can these balances travel in a partial update, which ignores zeros?
pub(super) fn all_say_something(parts: &[&Part]) -> bool {
    parts.iter().all(|part| !part.is_zero())
}
