//! A newer snapshot in the place of older ones.

use super::ROWS;
use crate::config::meant::{Content, Feed};
use crate::ledger::{Ended, Row, RowDetail, RowEnd, Run, RunFilter, RunKind, State};
use crate::outcome::{Code, Outcome};
use crate::pipeline::apply::not_attempted;
use crate::pipeline::pending::PendingPasses;
use crate::pipeline::road::Road;
use crate::pipeline::spill::PARTITIONS;
use crate::pipeline::validate::{Entry, Validated};
use crate::row::Verb;

/// A newer snapshot takes the place of older ones that still wait for a decision, row by row: what it names is superseded, what it does
/// not name was not attempted and comes back in the older file's report.
pub(super) fn supersede_older(road: &Road, run: &Run, feed: &Feed, validated: &Validated) -> anyhow::Result<()> {
    if feed.content != Content::Snapshot || run.kind != RunKind::File {
        return Ok(());
    }
    let held = road.ledger.runs(&RunFilter { feed: Some(feed.name.clone()), states: vec![State::Held], limit: None })?;
    let older: Vec<Run> = held
        .into_iter()
        .filter(|older| older.id != run.id && older.detail.order < run.detail.order && older.kind == RunKind::File)
        .collect();
    if older.is_empty() {
        return Ok(());
    }
    let mut named = PendingPasses::default();
    for partition in 0..PARTITIONS {
        for entry in Entry::read_all(&validated.entries.load(partition)?) {
            named.insert(entry.pass, Verb::Void, std::iter::empty());
        }
    }
    for mut older in older {
        let left_out = Replaced {
            unnamed: not_attempted(Code::RunStopped, "a newer file took this one's place and does not name this pass"),
            adding: not_attempted(Code::RunStopped, &format!("run {} took this one's place, and does not do what this row adds", run.id)),
        };
        let mut from = 0;
        loop {
            let rows = road.ledger.pending_rows(&older.id, from, ROWS as u64)?;
            let Some(last) = rows.last() else { break };
            from = last.number + 1;
            let ends: Vec<RowEnd> = rows.iter().map(|row| replaced(row, &named, &left_out)).collect();
            road.ledger.end_rows(road.fence, &older.id, &older.account, &ends, &[])?;
        }
        older.detail.cause = Some(format!("superseded by run {}", run.id));
        older.detail.end = Some(State::Superseded);
        older.state = State::Reporting;
        road.save(&older)?;
    }
    Ok(())
}

/// Why rows of a file that a newer one replaced come back in its report.
struct Replaced {
    unnamed: RowDetail,
    adding: RowDetail,
}

/// What a row sets is superseded by what a newer one says of its pass; nothing supersedes what it adds.
fn replaced(row: &Row, named: &PendingPasses, left_out: &Replaced) -> RowEnd {
    let is_named = row.pass.is_some_and(|pass| named.conflicts(pass, Verb::Void, std::iter::empty()));
    let (outcome, detail) = match (is_named, row.adds) {
        (false, _) => (Outcome::NotAttempted, left_out.unnamed.clone()),
        (true, 0) => (Outcome::Superseded, RowDetail::default()),
        (true, _) => (Outcome::NotAttempted, left_out.adding.clone()),
    };
    RowEnd { number: row.number, outcome: Ended::As(outcome), detail, pass: None, known: Vec::new(), unknown: Vec::new(), forget: false }
}
