//! Rows of a run that were sent before it is checked again: a changed feed, a lost copy, an approval in the middle. How they ended stays,
//! and their records are not compared again.

use crate::ledger::{Fence, Ledger};
use crate::outcome::Outcome;

/// Which lines were sent, one bit each: a file of a hundred million lines takes twelve megabytes.
#[derive(Default)]
pub struct Sent {
    lines: Vec<u64>,
    pub count: u64,
    /// Above the numbers of all rows that stay.
    pub next_number: u64,
}

impl Sent {
    /// Clears what an earlier check said of a run's rows, and reads what stays.
    pub fn of(ledger: &dyn Ledger, fence: Fence, run: &str) -> anyhow::Result<Sent> {
        let mut sent = Sent { next_number: ledger.clear_rows(fence, run)?, ..Sent::default() };
        if sent.next_number > 0 {
            ledger.rows(run, &Outcome::SENT, &mut |row| {
                sent.add(row.line);
                Ok(())
            })?;
        }
        Ok(sent)
    }

    fn add(&mut self, line: u64) {
        let (word, bit) = ((line / 64) as usize, line % 64);
        if self.lines.len() <= word {
            self.lines.resize(word + 1, 0);
        }
        self.lines[word] |= 1 << bit;
        self.count += 1;
    }

    /// Was the record that begins in this physical line sent? Lines, not records: what counts as a header may have changed.
    pub fn has(&self, line: u64) -> bool {
        self.lines.get((line / 64) as usize).is_some_and(|word| word & (1 << (line % 64)) != 0)
    }
}
