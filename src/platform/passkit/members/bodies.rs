//! The bodies that carry a change (contract 2.1 and 4.2).

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::Members;
use crate::platform::Request;
use crate::platform::passkit::fields::Field;
use crate::platform::passkit::operations::Part;
use crate::platform::passkit::overlay::{self, writable};
use crate::platform::passkit::wire::{Pass, object, send, text};
use crate::row::Target;

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
        let nothing = Map::new();
        let state = state.as_object().unwrap_or(&nothing);
        Known {
            tier: Some(text(state, "tierId")).filter(|tier| !tier.is_empty()).map(str::to_owned),
            meta: object(state, "metaData"),
            person: object(state, "person"),
            whole: None,
        }
    }

    pub(super) fn from_member(member: &Pass) -> Known {
        Known { whole: Some(member.0.clone()), ..Known::from_state(&super::state(member)) }
    }

    /// Can a partial update not say this? It ignores `false`, and takes an empty `metaData` for a missing one.
    pub(super) fn needs_whole(&self, parts: &[&Part]) -> bool {
        let off = parts.iter().any(|part| part.json() == Some(Json::Bool(false)));
        off || (!self.meta.is_empty() && overlay::meta(&self.meta, parts).is_some_and(|meta| meta.is_empty()))
    }
}

/// Lays parts over a member body.
fn lay_over(body: &mut Map<String, Json>, known: &Known, parts: &[&Part]) {
    for part in parts {
        if let Field::Own(_) = part.field {
            body.insert(part.field.key().to_owned(), part.json().unwrap_or_else(|| json!(0)));
        }
    }
    if let Some(meta) = overlay::meta(&known.meta, parts) {
        body.insert("metaData".to_owned(), Json::Object(meta));
    }
    if let Some(person) = overlay::block("person", &known.person, parts) {
        body.insert("person".to_owned(), Json::Object(person));
    }
}

/// M4, partial: the key, the present tier, and the full `metaData` and person where the change touches them.
pub(super) fn patch(scope: &Members, target: &Target, pass_id: Option<&str>, known: &Known, parts: &[&Part]) -> Request {
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
pub(super) fn replace(scope: &Members, target: &Target, pass_id: Option<&str>, known: &Known, parts: &[&Part]) -> Request {
    let mut body = scope.key(target, pass_id);
    body.insert("programId".to_owned(), scope.program.as_str().into());
    body.insert("operation".to_owned(), "OPERATION_PUT".into());
    for name in WRITABLE {
        if let Some(value) = known.whole.as_ref().and_then(|whole| whole.get(name)).filter(|value| !value.is_null()) {
            let value = if name == "person" { Json::Object(writable(&known.person)) } else { value.clone() };
            body.insert(name.to_owned(), value);
        }
    }
    lay_over(&mut body, known, parts);
    send(Method::PUT, "/members/member", &Json::Object(body))
}

/// M1. None when no tier is known, without which nothing can be issued.
pub(super) fn enrol(scope: &Members, external: &str, parts: &[&Part]) -> Option<Request> {
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
pub(super) fn points(scope: &Members, target: &Target, pass_id: Option<&str>, parts: &[&Part], reference: &str) -> Request {
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
pub(super) fn tier(scope: &Members, target: &Target, pass_id: Option<&str>, parts: &[&Part], reference: &str) -> Request {
    let mut body = scope.event_key(target, pass_id);
    for part in parts {
        body.extend(part.change.value.as_ref().map(|value| ("tierId".to_owned(), part.field.json(value))));
    }
    body.insert("eventDetails".to_owned(), json!({ "externalEventId": reference }));
    send(Method::PUT, "/members/member/tier", &Json::Object(body))
}

/// M10.
pub(super) fn expiry(scope: &Members, target: &Target, pass_id: Option<&str>, at: &str) -> Request {
    let mut body = scope.key(target, pass_id);
    body.insert("expiryDate".to_owned(), at.into());
    send(Method::PUT, "/members/member/updateExpiry", &Json::Object(body))
}

/// M12. DELETE carries a body.
pub(super) fn delete(scope: &Members, target: &Target, pass_id: Option<&str>) -> Request {
    send(Method::DELETE, "/members/member", &Json::Object(scope.key(target, pass_id)))
}

/// Can these balances travel in a partial update, which ignores zeros?
pub(super) fn all_say_something(parts: &[&Part]) -> bool {
    parts.iter().all(|part| !part.is_zero())
}
