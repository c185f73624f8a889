//! What the sandbox keeps of a member and of the events about it (contract section 4.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Text keys and text values, in the order they came.
pub(super) type Texts = Map<String, Value>;

/// One member; its serialised form is the answer of a read, empty fields included. Balances are `float` on the wire, so they are `f32`
/// here and round as the platform's do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    pub id: String,
    pub external_id: String,
    pub grouping_identifier: String,
    pub tier_id: String,
    pub program_id: String,
    pub person: Map<String, Value>,
    pub meta_data: Texts,
    pub opt_out: bool,
    pub points: f32,
    pub secondary_points: f32,
    pub tier_points: u32,
    pub expiry_date: Option<String>,
    pub status: String,
    pub pass_overrides: Value,
    pub pass_meta_data: Value,
    pub notes: Value,
    pub current_tier_awarded: Option<String>,
    pub current_tier_expires: Option<String>,
    pub profile_image: String,
    pub created: String,
    pub updated: String,
}

impl Member {
    pub fn new(id: String, program_id: &str, tier_id: &str, external_id: &str, now: String) -> Member {
        Member {
            id,
            external_id: external_id.to_owned(),
            grouping_identifier: String::new(),
            tier_id: tier_id.to_owned(),
            program_id: program_id.to_owned(),
            person: empty_person(),
            meta_data: Texts::new(),
            opt_out: false,
            points: 0.0,
            secondary_points: 0.0,
            tier_points: 0,
            expiry_date: None,
            status: "ENROLLED".to_owned(),
            pass_overrides: Value::Null,
            pass_meta_data: json!({"status": "PASS_ISSUED"}),
            notes: json!([]),
            current_tier_awarded: None,
            current_tier_expires: None,
            profile_image: String::new(),
            created: now.clone(),
            updated: now,
        }
    }

    /// Whether the platform still counts it as a member.
    pub fn is_there(&self) -> bool {
        self.status != DELETED
    }
}

pub(super) const DELETED: &str = "DELETED";

pub(super) fn empty_person() -> Map<String, Value> {
    let mut person = Map::new();
    for field in ["surname", "forename", "salutation", "suffix", "displayName", "emailAddress", "mobileNumber", "externalId"] {
        person.insert(field.to_owned(), json!(""));
    }
    person.insert("otherNames".to_owned(), json!([]));
    person.insert("gender".to_owned(), json!("NOT_KNOWN"));
    person.insert("dateOfBirth".to_owned(), Value::Null);
    person
}

/// Something that happened to a member. The caller's `externalEventId` comes back as `externalId` (contract section 4.2, M7).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // the wire calls it eventType
pub(super) struct Event {
    pub id: String,
    pub external_id: String,
    pub event_type: String,
    pub member: EventMember,
    pub points: f32,
    pub secondary_points: f32,
    pub tier_points: i64,
    pub notes: String,
    pub meta_data: Texts,
    pub created: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventMember {
    pub id: String,
    pub external_id: String,
    pub program_id: String,
    pub tier_id: String,
}

/// A member to issue in bulk, past the platform's calls: one line of `POST /sandbox/members`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Issue {
    pub external_id: String,
    /// The first tier when absent.
    pub tier_id: Option<String>,
    pub points: f32,
    pub secondary_points: f32,
    pub tier_points: u32,
    pub person: Map<String, Value>,
    pub meta_data: std::collections::BTreeMap<String, String>,
    /// RFC 3339.
    pub expiry_date: Option<String>,
    /// `ENROLLED` when absent.
    pub status: Option<String>,
}
