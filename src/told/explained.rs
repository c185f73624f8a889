//! The history of one pass: every row that touched it, and what is known of its fields.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::{RowLine, Rows};
use crate::config::meant::Config;
use crate::ledger::{Ledger, Touch};
use crate::row::Target;

#[derive(Serialize, JsonSchema)]
pub struct Explained {
    pub platform: String,
    pub baseline: Vec<KnownField>,
    pub rows: Vec<Touched>,
}

/// What was last applied to a field. Text and personal values are kept as digests only.
#[derive(Serialize, JsonSchema)]
pub struct KnownField {
    pub field: String,
    pub value: String,
    pub sent_on: String,
}

#[derive(Serialize, JsonSchema)]
pub struct Touched {
    pub file: String,
    pub feed: String,
    pub at: DateTime<Utc>,
    /// The row's number within its run.
    pub number: u64,
    #[serde(flatten)]
    pub row: RowLine,
}

/// What is known of the pass with this identifier: external ID, or the platform's own. At most `limit` rows.
pub fn explain(
    config: &Arc<Config>,
    ledger: &Arc<dyn Ledger>,
    platform: &str,
    id: &str,
    limit: u64,
    show_personal: bool,
) -> anyhow::Result<Explained> {
    let keys = [Target::External(id.to_owned()).key(), Target::Pass(id.to_owned()).key()];
    let names = ledger.field_names(platform)?;
    let mut baseline = Vec::new();
    for known in ledger.baseline_of(platform, &keys)? {
        for state in known.fields {
            let name = names.iter().find(|(number, _)| *number == state.field);
            let at = DateTime::from_timestamp(i64::from(state.day) * 86_400, 0).unwrap_or_default();
            baseline.push(KnownField {
                field: name.map_or_else(|| format!("field {}", state.field), |(_, name)| name.clone()),
                value: if state.mark.is_digest() { "known by its digest".to_owned() } else { state.mark.show() },
                sent_on: at.format("%Y-%m-%d").to_string(),
            });
        }
    }
    baseline.sort_by(|a, b| a.field.cmp(&b.field));
    let mut rows = Vec::new();
    for key in keys {
        for Touch { run, row } in ledger.touches(platform, key, limit)? {
            let Some(run) = ledger.run(&run)? else { continue };
            let told = Rows::of(config, ledger, &run, show_personal)?;
            rows.push(Touched {
                file: run.shown_name(),
                feed: run.feed.clone(),
                at: run.detail.ended_at.unwrap_or(run.detail.seen_at),
                number: row.number,
                row: told.line(row)?,
            });
        }
    }
    rows.sort_by_key(|touched| std::cmp::Reverse((touched.at, touched.row.line)));
    rows.truncate(limit as usize);
    Ok(Explained { platform: platform.to_owned(), baseline, rows })
}
