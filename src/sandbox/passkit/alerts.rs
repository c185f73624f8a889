//! Which texts holders were shown.

use std::collections::VecDeque;

use serde::Serialize;

use super::member::Texts;

/// How many alerts are remembered.
const KEPT: usize = 100_000;

/// A text of a pass's `metaData` that changed by an update: what a holder's phone shows (contract section 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    pub external_id: String,
    pub key: String,
    pub value: String,
}

impl Alert {
    pub(super) fn between(external_id: &str, now: &Texts, before: &Texts) -> Vec<Alert> {
        let changed = now.iter().filter(|(key, value)| before.get(*key) != Some(value));
        let alert = |(key, value): (&String, &serde_json::Value)| Alert {
            external_id: external_id.to_owned(),
            key: key.clone(),
            value: value.as_str().unwrap_or_default().to_owned(),
        };
        changed.map(alert).collect()
    }
}

#[derive(Default)]
pub(super) struct Alerts(VecDeque<Alert>);

impl Alerts {
    pub fn add(&mut self, alerts: Vec<Alert>) {
        self.0.extend(alerts);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    pub fn all(&self) -> Vec<Alert> {
        self.0.iter().cloned().collect()
    }
}
