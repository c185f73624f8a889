//! Runs that end with rows to do: what may have been sent is in doubt, the rest was not attempted.

use super::Road;
use crate::ledger::{Ended, KeyEnd, KeyNote, KeyState, OperationNote, Row, RowDetail, RowEnd, Run, State};
use crate::metrics::count::News;
use crate::outcome::{Code, Outcome};
use crate::pipeline::apply;
use crate::pipeline::sent::Sent;
use crate::row::AddKind;

/// Rows read together.
const PAGE: u64 = 1000;
/// Why a row is in doubt that no start will ask about again.
const UNASKED: &str = "passferry stopped while the answer was awaited, and the run does not ask for this row any more";

impl Road {
    /// Ends all rows still to be done, for one cause. Those with an add that may have been sent are in doubt, whatever the cause.
    pub fn end_left(&self, run: &Run, code: Code, words: &str) -> anyhow::Result<()> {
        let notes = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        let mut from = 0;
        while !notes.is_empty() {
            let rows = self.ledger.pending_rows(&run.id, from, PAGE)?;
            let Some(last) = rows.last() else { break };
            from = last.number + 1;
            self.doubt(run, rows, &notes, "the run ended while the answer was awaited")?;
        }
        self.ledger.end_pending(self.fence, &run.id, Outcome::NotAttempted, &apply::not_attempted(code, words))?;
        Ok(())
    }

    /// Rows of an earlier check with adds written down, of which a new check says nothing is to be done: they are in doubt. How many.
    pub fn doubt_undone(&self, run: &Run, sent: &Sent) -> anyhow::Result<u64> {
        if sent.next_number == 0 {
            return Ok(0);
        }
        self.ledger.clear_pending_below(self.fence, &run.id, sent.next_number)?;
        let notes = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        let rows = self.ledger.pending_rows(&run.id, 0, notes.len() as u64)?;
        self.doubt(run, rows.into_iter().filter(|row| row.number < sent.next_number), &notes, UNASKED)
    }

    /// Adds that are written down and that no row of the run asks about any more: they are in doubt. Called when all rows have ended.
    pub fn doubt_forgotten(&self, run: &Run) -> anyhow::Result<()> {
        let notes = self.ledger.keys_of(&run.id, KeyState::Intended)?;
        if notes.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        self.ledger.rows(&run.id, &[], &mut |row| {
            if notes.iter().any(|note| note.line == row.line) {
                rows.push(row);
            }
            Ok(())
        })?;
        self.doubt(run, rows, &notes, UNASKED).map(drop)
    }

    /// Puts those of the rows in doubt that one of these adds is of, and the adds with them. How many rows.
    fn doubt(&self, run: &Run, rows: impl IntoIterator<Item = Row>, notes: &[KeyNote], evidence: &str) -> anyhow::Result<u64> {
        let (mut ends, mut keys) = (Vec::new(), Vec::new());
        for row in rows {
            let of_row: Vec<&KeyNote> = notes.iter().filter(|note| note.line == row.line).collect();
            if !of_row.is_empty() {
                let state = KeyState::InDoubt;
                keys.extend(of_row.iter().map(|note| KeyEnd { key: note.key, state, evidence: evidence.into() }));
                ends.push(in_doubt(row, &of_row, evidence));
            }
        }
        if !ends.is_empty() {
            self.ledger.end_rows(self.fence, &run.id, &run.account, &ends, &keys)?;
        }
        Ok(ends.len() as u64)
    }

    /// Ends a run whose feed is gone. Its file stays where it is and no report can be written: the ledger alone tells.
    pub fn end_orphan(&self, run: &mut Run) -> anyhow::Result<()> {
        self.end_left(run, Code::RunStopped, "the feed is no longer in the configuration")?;
        run.state = State::Stopped;
        run.detail.cause = Some("its feed is no longer in the configuration".into());
        run.detail.tally = run.detail.counted.clone();
        run.detail.tally.merge(&self.ledger.tally(&run.id)?);
        let told = News::of(run);
        self.save(run)?;
        told.count();
        Ok(())
    }
}

/// The end of a row with adds that may have been sent and will not be looked for any more.
fn in_doubt(row: Row, keys: &[&KeyNote], evidence: &str) -> RowEnd {
    let mut operations = row.detail.operations;
    operations.retain(|note| !keys.iter().any(|key| note.operation == key.key.kind.as_str()));
    let note = |operation: &str, outcome, code, message: &str| OperationNote {
        operation: operation.to_owned(),
        outcome,
        code: Some(code),
        message: message.to_owned(),
    };
    operations.extend(keys.iter().map(|key| note(key.key.kind.as_str(), Outcome::InDoubt, Code::AddInDoubt, evidence)));
    // A notification waits for the rest of its row, and may not have been written down.
    let told = operations.iter().any(|note| note.operation == AddKind::Notify.as_str());
    if row.outcome.is_none() && row.adds & AddKind::Notify.bit() != 0 && !told {
        operations.push(note(AddKind::Notify.as_str(), Outcome::NotAttempted, Code::RunStopped, "the run ended before it was sent"));
    }
    RowEnd {
        number: row.number,
        outcome: Ended::As(Outcome::InDoubt),
        detail: RowDetail { problems: Vec::new(), operations },
        pass: row.pass,
        known: Vec::new(),
        unknown: Vec::new(),
        forget: true,
    }
}
