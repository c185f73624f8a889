//! What the sandbox keeps of a member and of the events about it (contract section 4.1).

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::shape::is_falsy;

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
    /// Only what is set; the rest is printed empty. A million members fit in memory this way.
    #[serde(serialize_with = "print_person", deserialize_with = "read_person")]
    pub person: Map<String, Value>,
    pub meta_data: Texts,
    pub opt_out: bool,
    pub points: f32,
    pub secondary_points: f32,
    pub tier_points: u32,
    pub expiry_date: Option<String>,
    pub status: String,
    pub pass_overrides: Value,
    #[serde(skip_deserializing)]
    pub pass_meta_data: PassMetaData,
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
            person: Map::new(),
            meta_data: Texts::new(),
            opt_out: false,
            points: 0.0,
            secondary_points: 0.0,
            tier_points: 0,
            expiry_date: None,
            status: "ENROLLED".to_owned(),
            pass_overrides: Value::Null,
            pass_meta_data: PassMetaData::default(),
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

/// No wallet ever installs a pass of the sandbox.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PassMetaData {
    status: &'static str,
}

impl Default for PassMetaData {
    fn default() -> PassMetaData {
        PassMetaData { status: "PASS_ISSUED" }
    }
}

/// The fields of a person that an answer prints.
pub(super) const PERSON: [&str; 11] = [
    "surname",
    "forename",
    "otherNames",
    "salutation",
    "suffix",
    "displayName",
    "gender",
    "dateOfBirth",
    "emailAddress",
    "mobileNumber",
    "externalId",
];

fn print_person<S: Serializer>(person: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(PERSON.len()))?;
    for field in PERSON {
        match (person.get(field), field) {
            (Some(value), _) => map.serialize_entry(field, value)?,
            (None, "otherNames") => map.serialize_entry(field, &[""; 0])?,
            (None, "gender") => map.serialize_entry(field, "NOT_KNOWN")?,
            (None, "dateOfBirth") => map.serialize_entry(field, &())?,
            (None, _) => map.serialize_entry(field, "")?,
        }
    }
    map.end()
}

/// A person of whom nothing is known, as answers print it.
pub(super) fn nobody() -> Value {
    print_person(&Map::new(), serde_json::value::Serializer).unwrap_or_default()
}

fn read_person<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let mut person = Map::deserialize(deserializer)?;
    person.retain(|_, value| !is_falsy(value) && *value != "NOT_KNOWN");
    Ok(person)
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
