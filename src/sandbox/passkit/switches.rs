//! The knobs that change what the contract leaves open.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::Lag;
use crate::sandbox::faults::Faults;

/// The four error bodies of contract section 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `{"code","message","details"}`
    #[default]
    Gateway,
    /// `{"error"}`
    Text,
    /// `{"error","code","message","details"}`
    Both,
    /// `{"error":{"code","message","details"}}`
    Nested,
}

/// What becomes of a good long-lived token (contract section 1.2 calls it permanent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongLived {
    #[default]
    Good,
    Expired,
    Revoked,
}

/// Those a call looks at.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // independent switches, each with a name of its own in the JSON
pub(super) struct Switches {
    pub reject_unknown_fields: bool,
    pub keep_deleted: bool,
    pub overdraw: bool,
    pub replace_person: bool,
    pub lag: Lag,
    pub no_events: bool,
    pub no_event_ids: bool,
    pub event_lists: Option<u16>,
    pub no_balances: bool,
    pub page_max: Option<usize>,
    pub put_fields: bool,
    pub second_redeem: Option<u16>,
}

impl From<&Faults> for Switches {
    fn from(faults: &Faults) -> Switches {
        Switches {
            reject_unknown_fields: faults.reject_unknown_fields,
            keep_deleted: faults.keep_deleted,
            overdraw: faults.overdraw,
            replace_person: faults.replace_person,
            lag: Lag { members: Duration::from_millis(faults.members_lag_ms), events: Duration::from_millis(faults.events_lag_ms) },
            no_events: faults.no_events,
            no_event_ids: faults.no_event_ids,
            event_lists: faults.event_lists,
            no_balances: faults.no_balances,
            page_max: faults.page_max,
            put_fields: faults.put_fields,
            second_redeem: faults.second_redeem,
        }
    }
}
