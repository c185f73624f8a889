//! Ways out for alerts, and how they are doing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::words::ago;
use crate::config::meant::Config;
use crate::config::meant::alert::Way;
use crate::ledger::Ledger;
use crate::page::words::counted;

/// Messages that were given up are shown for this long.
const SHOWN: TimeDelta = TimeDelta::days(7);

/// How a way out is doing.
#[derive(Serialize, JsonSchema)]
pub struct WayStatus {
    pub alert: String,
    pub kind: &'static str,
    /// Messages that wait.
    pub waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<DateTime<Utc>>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Messages given up within a week.
    pub given_up: usize,
}

impl WayStatus {
    /// Does somebody have to look at it?
    pub fn is_troubled(&self) -> bool {
        self.fault.is_some() || self.given_up > 0
    }

    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.waiting > 0 {
            words.push(format!("{} since {}", counted(self.waiting as u64, "message"), self.waiting_since.map(ago).unwrap_or_default()));
        }
        words.extend(self.fault.clone());
        if self.given_up > 0 {
            words.push(format!("{} given up within a week", counted(self.given_up as u64, "message")));
        }
        if words.is_empty() { "ok".to_owned() } else { words.join("; ") }
    }
}

pub fn ways(config: &Config, ledger: &dyn Ledger) -> anyhow::Result<Vec<WayStatus>> {
    let lost = ledger.letters_given_up(Utc::now() - SHOWN)?;
    let status = |way: &Arc<Way>| {
        let waiting = ledger.letters_waiting(Some(&way.name))?;
        Ok(WayStatus {
            alert: way.name.clone(),
            kind: way.kind(),
            waiting: waiting.len(),
            waiting_since: waiting.first().map(|letter| letter.at),
            fault: waiting.iter().rev().find_map(|letter| letter.fault.clone()),
            given_up: lost.iter().filter(|letter| letter.way == way.name).count(),
        })
    };
    config.alerts.values().map(status).collect()
}
