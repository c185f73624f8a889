//! What changes came to: how often each took effect, and which texts holders were shown.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::member::{Event, Member, Texts};

pub const EARN: &str = "/members/member/points/earn";
pub const BURN: &str = "/members/member/points/burn";
/// Stands for the route of another writer's changes.
pub const BY_ANOTHER: &str = "another writer";

/// How many alerts are remembered.
const ALERTS: usize = 100_000;

/// All calls by one route on one member under one `externalEventId`, since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    pub route: &'static str,
    /// The member's.
    pub external_id: String,
    /// The caller's `externalEventId`; empty when none was sent. It counts here whether or not the sandbox keeps it.
    pub event: String,
    /// How often it was applied.
    pub times: u64,
    /// Points given or taken, over all times.
    pub points: f64,
}

impl Effect {
    /// Whether it adds or takes, so that a second time is wrong.
    pub fn is_add(&self) -> bool {
        matches!(self.route, EARN | BURN)
    }
}

/// A text of a member's `metaData` that changed by an update: what a holder's phone shows (contract section 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    pub external_id: String,
    pub key: String,
    pub value: String,
}

impl Alert {
    pub(super) fn between(member: &Member, before: &Texts) -> Vec<Alert> {
        let changed = member.meta_data.iter().filter(|(key, value)| before.get(*key) != Some(value));
        let alert = |(key, value): (&String, &serde_json::Value)| Alert {
            external_id: member.external_id.clone(),
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        };
        changed.map(alert).collect()
    }
}

#[derive(Default)]
pub(super) struct Effects {
    /// Times and points by route, member and event.
    counts: BTreeMap<(&'static str, String, String), (u64, f64)>,
    alerts: VecDeque<Alert>,
}

impl Effects {
    pub fn count(&mut self, route: &'static str, event: &Event) {
        let key = (route, event.member.external_id.clone(), event.external_id.clone());
        let (times, points) = self.counts.entry(key).or_default();
        *times += 1;
        *points += f64::from(event.points);
    }

    pub fn alert(&mut self, alerts: Vec<Alert>) {
        self.alerts.extend(alerts);
        let surplus = self.alerts.len().saturating_sub(ALERTS);
        self.alerts.drain(..surplus);
    }

    pub fn all(&self) -> Vec<Effect> {
        let effect = |((route, external_id, event), (times, points)): (&(&'static str, String, String), &(u64, f64))| Effect {
            route,
            external_id: external_id.clone(),
            event: event.clone(),
            times: *times,
            points: *points,
        };
        self.counts.iter().map(effect).collect()
    }

    pub fn alerts(&self) -> Vec<Alert> {
        self.alerts.iter().cloned().collect()
    }
}
