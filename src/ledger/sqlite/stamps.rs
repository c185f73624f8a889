//! When states were true, in SQLite.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Ended, Result, Row, RowEnd};
use super::{signed, storage};
use crate::outcome::Outcome;
use crate::row::PassKey;

pub fn add(work: &Connection, run: i64, rows: &[Row]) -> Result<()> {
    let mut insert = work.prepare_cached("INSERT OR REPLACE INTO row_stamp VALUES (?1, ?2, ?3, ?4)").map_err(storage)?;
    for row in rows {
        let Some(stamp) = row.stamp else { continue };
        insert.execute(params![run, row.number as i64, stamp.clock, stamp.at]).map_err(storage)?;
    }
    Ok(())
}

/// From a row to its pass. An older one never takes the place of a newer one.
const KEEP: &str = "INSERT INTO stamp
    SELECT ?1, row_stamp.clock, row.pass_high, row.pass_low, row_stamp.at FROM row_stamp JOIN row USING (run, number)
    WHERE row_stamp.run = ?2 AND row.pass_high IS NOT NULL AND";
const NEWER: &str = "ON CONFLICT(account, clock, pass_high, pass_low) DO UPDATE SET at = max(at, excluded.at)";

/// Rows that ended with their fields as they want them.
pub fn keep(work: &Connection, run: i64, account: i64, ends: &[RowEnd]) -> Result<()> {
    let some = work
        .prepare_cached("SELECT 1 FROM row_stamp WHERE run = ?1 LIMIT 1")
        .and_then(|mut select| select.exists([run]))
        .map_err(storage)?;
    if !some {
        return Ok(());
    }
    let mut keep = work.prepare_cached(&format!("{KEEP} row_stamp.number = ?3 {NEWER}")).map_err(storage)?;
    for end in ends {
        let holds = match end.outcome {
            Ended::As(outcome) => matches!(outcome, Outcome::Applied | Outcome::Created | Outcome::Unchanged) || !end.known.is_empty(),
            Ended::AddsLeft(_) => true,
        };
        if holds {
            keep.execute(params![account, run, end.number as i64]).map_err(storage)?;
        }
    }
    Ok(())
}

pub fn keep_unchanged(work: &Connection, run: i64, account: i64) -> Result<()> {
    work.prepare_cached(&format!("{KEEP} row.outcome = 'unchanged' {NEWER}"))
        .and_then(|mut keep| keep.execute(params![account, run]))
        .map_err(storage)?;
    Ok(())
}

pub fn of(connection: &Connection, account: i64, clock: u16, passes: &[PassKey]) -> Result<HashMap<PassKey, i64>> {
    let mut select = connection
        .prepare_cached("SELECT at FROM stamp WHERE account = ?1 AND clock = ?2 AND pass_high = ?3 AND pass_low = ?4")
        .map_err(storage)?;
    let mut found = HashMap::new();
    for &pass in passes {
        let at: Option<i64> = select
            .query_row(params![account, clock, signed(pass.high()), signed(pass.low())], |row| row.get(0))
            .optional()
            .map_err(storage)?;
        found.extend(at.map(|at| (pass, at)));
    }
    Ok(found)
}
