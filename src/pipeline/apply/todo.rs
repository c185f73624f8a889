//! What is left to do for one row, read again from its text.

use super::Work;
use super::adds::Notifications;
use crate::ledger::{Mark, OperationNote, Row};
use crate::mapping::Place;
use crate::outcome::{Code, Outcome};
use crate::pipeline::decode::{literal_cells, read_record, split_cells};
use crate::row::{AddKind, Addition, Change, PassKey};

/// What is left to do for one row, read again from its text.
pub(super) struct Todo {
    pub(super) row: u64,
    pub(super) line: u64,
    pub(super) pass: Option<PassKey>,
    pub(super) change: Option<Change>,
    pub(super) adds: Vec<Addition>,
    pub(super) marks: Vec<(u8, Mark)>,
    pub(super) notes: Vec<OperationNote>,
    /// Adds that are not to be sent yet.
    pub(super) left: u8,
    /// When its state was true, for a row that waited for an earlier run.
    pub(super) waited: Option<i64>,
    /// The line of the row that this one corrects.
    pub(super) corrected: Option<u64>,
    /// Among them is one whose time comes when those before it have ended.
    pub(super) follows: bool,
    /// The state before could not be read: how the row ended by that.
    pub(super) unread: Option<(Outcome, Code, String)>,
}

/// Reads a row's text again and maps it. It was valid when the run was checked, under the same schema and mapping.
pub(super) fn todo_of(work: &Work<'_>, row: &Row, notifications: &Notifications) -> anyhow::Result<Todo> {
    let raw = read_record(work.text, row.offset, row.length)?;
    let mut cells = Vec::new();
    split_cells(&raw, work.dialect, &mut cells);
    let mut literal = Vec::new();
    if work.rules.schema.tells_apart() {
        literal_cells(&raw, work.dialect, &mut literal);
    }
    let mut problems = Vec::new();
    let key = work.rules.correction.map(|correction| correction.key(&cells));
    let corrected = work.rules.correction.and_then(|correction| correction.line(&cells));
    if let Some(correction) = work.rules.correction {
        problems.extend(correction.take(&mut cells).err());
        correction.take_indexes(&mut literal);
    }
    work.rules.schema.strip(work.rules.columns, &mut cells);
    let mut values = Vec::new();
    work.rules.schema.read(work.rules.columns, &cells, &literal, &mut values, &mut problems);
    let place = Place { file: work.rules.file, record: row.record, key: key.as_deref() };
    let update = work.mapping.update(work.rules.columns, &cells, &values, &place, &mut problems);
    let Some(mut update) = update else {
        anyhow::bail!("line {} was valid when the run was checked and is not now: the spool or the program changed", row.line);
    };
    let marks = update
        .wanted
        .iter()
        .map(|wanted| (wanted.field, Mark::of(wanted.value.as_ref(), work.mapping.fields()[wanted.field as usize].personal)))
        .collect();
    let reference = format!("{}:{}", work.run, row.line);
    let waited = update.stamp.filter(|_| row.deferred);
    let (mut left, mut follows) = (0, false);
    let mut adds: Vec<Addition> = Vec::new();
    for add in std::mem::take(&mut update.adds) {
        let bit = add.key.kind.bit();
        if row.adds & bit == 0 {
            continue;
        }
        if add.key.kind == AddKind::Notify && !notifications.allow(row.pass) {
            left |= bit;
        } else if !adds.is_empty() {
            // Of a row's adds one is written down at a time, so that a kill leaves at most one of which nothing is known.
            left |= bit;
            follows = true;
        } else {
            adds.push(work.mapping.addition(row.number, reference.clone(), update.target.clone(), add));
        }
    }
    Ok(Todo {
        row: row.number,
        line: row.line,
        pass: row.pass,
        change: work.mapping.change(row.number, reference, update, row.mask),
        adds,
        marks,
        notes: row.detail.operations.clone(),
        left,
        waited,
        corrected,
        follows,
        unread: None,
    })
}
