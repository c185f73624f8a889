//! What the contract leaves open (section 5, switches) and what a test wants otherwise.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each with a name of its own in the JSON
pub struct Knobs {
    /// From the answer of an update to the moment it is seen.
    pub delay_ms: u64,
    /// Updates of one pass that wait together are applied newest first (section 2.4: either order).
    pub disordered: bool,
    /// What a taken update is answered: 200, 202 or 204.
    pub success: u16,
    /// What a creation is answered: 200 or 201.
    pub created: u16,
    pub merge: Merge,
    pub nulls: Nulls,
    pub numbers: Numbers,
    /// Dotted identifier names are answered as objects within objects.
    pub nested_identifiers: bool,
    pub error_body: ErrorBody,
    pub duplicate_create: DuplicateCreate,
    pub ambiguous: Ambiguous,
    /// An update by identifier must name the pass type.
    pub pass_type_required: bool,
    /// A body with a block of another name is refused instead of read without it.
    pub refuse_unknown_blocks: bool,
    /// An update cannot change identifiers.
    pub fixed_identifiers: bool,
    /// No page is longer, whatever its `pageSize` says.
    pub page_max: Option<usize>,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            delay_ms: 200,
            disordered: false,
            success: 202,
            created: 201,
            merge: Merge::PerKey,
            nulls: Nulls::Delete,
            numbers: Numbers::Kept,
            nested_identifiers: false,
            error_body: ErrorBody::Problem,
            duplicate_create: DuplicateCreate::SameId,
            ambiguous: Ambiguous::Refused,
            pass_type_required: false,
            refuse_unknown_blocks: false,
            fixed_identifiers: false,
            page_max: None,
        }
    }
}

/// What becomes of keys that an update leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    PerKey,
    /// A block that is sent replaces the one before.
    ReplaceBlock,
}

/// What a null does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    Delete,
    Store,
    Ignore,
}

/// What becomes of numbers among additional data and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    Kept,
    AsText,
    Refused,
}

/// The body of every error but 404, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBody {
    Empty,
    /// RFC 7807.
    Problem,
    Text,
    Html,
}

/// What a second creation with the same identifiers does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateCreate {
    SameId,
    NewId,
    Conflict,
}

/// What an update does whose identifiers several passes carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// 409.
    Refused,
    First,
    All,
}
