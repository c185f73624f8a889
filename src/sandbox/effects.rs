//! What changes came to: how often each took effect.

use std::collections::BTreeMap;

use serde::Serialize;

pub const EARN: &str = "/members/member/points/earn";
pub const BURN: &str = "/members/member/points/burn";
pub const REDEEM_COUPON: &str = "/coupon/singleUse/coupon/redeem";
pub const REDEEM_TICKET: &str = "/eventTickets/ticket/redeem";
pub const VALIDATE_TICKET: &str = "/eventTickets/ticket/validate";
/// Stands for the route of another writer's changes.
pub const BY_ANOTHER: &str = "another writer";
/// Routes of which a second time is wrong.
const ADDS: &[&str] = &[
    EARN,
    BURN,
    REDEEM_COUPON,
    REDEEM_TICKET,
    VALIDATE_TICKET,
    super::google_wallet::ADD_MESSAGE,
    super::thewalletcrew::CREATE,
    super::airship::LOCATIONS,
    super::passentry::MESSAGE,
    super::tills::CREATE,
    super::tills::CREDIT,
];

/// All calls by one route on one pass under one name of the caller's, since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    pub route: &'static str,
    /// The pass's.
    pub external_id: String,
    /// What the caller named it, e.g. PassKit's `externalEventId`; empty when it did not. It counts here whether or not the sandbox keeps it.
    pub event: String,
    /// How often it was applied.
    pub times: u64,
    /// Points given or taken, over all times.
    pub points: f64,
}

impl Effect {
    /// Whether it adds or takes, so that a second time is wrong.
    pub fn is_add(&self) -> bool {
        ADDS.contains(&self.route)
    }
}

/// Times and points by route, pass and event.
#[derive(Default)]
pub(super) struct Effects(BTreeMap<(&'static str, String, String), (u64, f64)>);

impl Effects {
    pub fn count(&mut self, route: &'static str, external_id: &str, event: &str, points: f64) {
        let (times, sum) = self.0.entry((route, external_id.to_owned(), event.to_owned())).or_default();
        *times += 1;
        *sum += points;
    }

    pub fn all(&self) -> Vec<Effect> {
        let effect = |((route, external_id, event), (times, points)): (&(&'static str, String, String), &(u64, f64))| Effect {
            route,
            external_id: external_id.clone(),
            event: event.clone(),
            times: *times,
            points: *points,
        };
        self.0.iter().map(effect).collect()
    }
}
