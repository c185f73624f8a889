//! Rows that waited for an earlier run: what that one brought may be newer.

use super::{Todo, Work};
use crate::ledger::{Ended, OperationNote, RowDetail, RowEnd};
use crate::outcome::Outcome;
use crate::row::PassKey;

/// Parts those that are to be done from those that are older than what was applied to their pass meanwhile, which end here.
pub(super) fn part(work: &Work<'_>, todos: Vec<Todo>) -> anyhow::Result<(Vec<Todo>, Vec<RowEnd>)> {
    let mut passes: Vec<PassKey> = todos.iter().filter(|todo| todo.waited.is_some()).filter_map(|todo| todo.pass).collect();
    let Some(clock) = work.clock.filter(|_| !passes.is_empty()) else { return Ok((todos, Vec::new())) };
    passes.dedup();
    let stamps = work.ledger.stamps(&work.feed.platform.name, clock, &passes)?;
    let is_older = |todo: &Todo| {
        let applied = todo.pass.and_then(|pass| stamps.get(&pass));
        matches!((todo.waited, applied), (Some(at), Some(newer)) if at < *newer)
    };
    let (older, todos): (Vec<Todo>, Vec<Todo>) = todos.into_iter().partition(is_older);
    Ok((todos, older.into_iter().map(ended).collect()))
}

fn ended(todo: Todo) -> RowEnd {
    let operation = todo.change.map_or("update", |change| change.verb.as_str()).to_owned();
    let message = "a newer state was applied while the row waited".to_owned();
    let mut operations = todo.notes;
    operations.push(OperationNote { operation, outcome: Outcome::Stale, code: None, message });
    RowEnd {
        number: todo.row,
        outcome: Ended::As(Outcome::Stale),
        detail: RowDetail { problems: Vec::new(), operations },
        pass: todo.pass,
        known: Vec::new(),
        unknown: Vec::new(),
        forget: false,
    }
}
