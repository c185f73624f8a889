//! Rows in SQLite.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::{Ended, PendingPass, Result, Row, RowDetail, RowEnd, Touch};
use super::{pass_key, signed, storage};
use crate::outcome::{Outcome, Problem, Tally};
use crate::row::{PassKey, Verb};

pub(super) const COLUMNS: &str =
    "number, record, line, offset, length, pass_high, pass_low, verb, mask, adds, deferred, outcome, detail, taken";

pub fn add(work: &Connection, run: i64, rows: &[Row]) -> Result<()> {
    let mut insert = work
        .prepare_cached(&format!("INSERT OR REPLACE INTO row(run, {COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)"))
        .map_err(storage)?;
    for row in rows {
        insert
            .execute(params![
                run,
                row.number as i64,
                row.record as i64,
                row.line as i64,
                row.offset as i64,
                row.length,
                row.pass.map(|pass| signed(pass.high())),
                row.pass.map(|pass| signed(pass.low())),
                row.verb.as_str(),
                row.mask as i64,
                row.adds,
                row.deferred,
                row.outcome.map(Outcome::as_str),
                detail_text(&row.detail),
                row.taken
            ])
            .map_err(storage)?;
    }
    Ok(())
}

pub fn end(work: &Connection, run: i64, ends: &[RowEnd]) -> Result<()> {
    let mut update = work.prepare_cached("UPDATE row SET outcome = ?3, detail = ?4 WHERE run = ?1 AND number = ?2").map_err(storage)?;
    let mut advance =
        work.prepare_cached("UPDATE row SET mask = 0, adds = ?3, detail = ?4 WHERE run = ?1 AND number = ?2").map_err(storage)?;
    for end in ends {
        let number = end.number as i64;
        match end.outcome {
            Ended::As(outcome) => update.execute(params![run, number, outcome.as_str(), detail_text(&end.detail)]),
            Ended::AddsLeft(adds) => advance.execute(params![run, number, adds, detail_text(&end.detail)]),
        }
        .map_err(storage)?;
    }
    Ok(())
}

/// Removes rows that were not sent. Gives a number above all that stay.
pub fn clear(work: &Connection, seq: i64, run: &str) -> Result<u64> {
    let sent = serde_json::to_string(&Outcome::SENT.map(Outcome::as_str)).unwrap_or_default();
    work.execute(
        "DELETE FROM row WHERE run = ?1 AND NOT (
             outcome IS NOT NULL AND outcome IN (SELECT value FROM json_each(?2))
             OR outcome IS NULL AND line IN (SELECT line FROM add_key WHERE run = ?3 AND state = 'intended'))",
        params![seq, sent, run],
    )
    .map_err(storage)?;
    let last: Option<i64> = work.query_row("SELECT max(number) FROM row WHERE run = ?1", [seq], |row| row.get(0)).map_err(storage)?;
    Ok(last.map_or(0, |last| last as u64 + 1))
}

pub fn pending(connection: &Connection, run: i64, from: u64, limit: u64) -> Result<Vec<Row>> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM row WHERE run = ?1 AND number >= ?2 AND outcome IS NULL ORDER BY number LIMIT ?3"))
        .map_err(storage)?;
    let rows = statement.query_map(params![run, from as i64, limit as i64], |row| read(row, 0)).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

pub fn count_pending(connection: &Connection, run: i64) -> Result<u64> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM row WHERE run = ?1 AND outcome IS NULL")
        .and_then(|mut select| select.query_row([run], |row| row.get(0)))
        .map_err(storage)?;
    Ok(count as u64)
}

pub fn pending_passes(connection: &Connection, runs: &[String], each: &mut dyn FnMut(PendingPass<'_>)) -> Result<()> {
    let mut passes = connection
        .prepare_cached("SELECT pass_high, pass_low, verb, mask FROM row WHERE run = ?1 AND outcome IS NULL AND pass_high IS NOT NULL")
        .map_err(storage)?;
    for id in runs {
        let Some(run) = super::runs::by_id(connection, id)? else { continue };
        let mut rows = passes.query([run.detail.order as i64]).map_err(storage)?;
        while let Some(row) = rows.next().map_err(storage)? {
            let verb: String = row.get(2).map_err(storage)?;
            each(PendingPass {
                feed: &run.feed,
                fingerprint: &run.detail.fingerprint,
                pass: pass_key(row.get(0).map_err(storage)?, row.get(1).map_err(storage)?),
                verb: Verb::parse(&verb).unwrap_or(Verb::Update),
                mask: row.get::<_, i64>(3).map_err(storage)? as u64,
            });
        }
    }
    Ok(())
}

pub fn tally(connection: &Connection, run: i64) -> Result<Tally> {
    let mut statement = connection.prepare_cached("SELECT outcome, count(*) FROM row WHERE run = ?1 GROUP BY outcome").map_err(storage)?;
    let mut rows = statement.query([run]).map_err(storage)?;
    let mut tally = Tally::default();
    while let Some(row) = rows.next().map_err(storage)? {
        let outcome: Option<String> = row.get(0).map_err(storage)?;
        let count: i64 = row.get(1).map_err(storage)?;
        if let Some(outcome) = outcome.as_deref().and_then(Outcome::parse) {
            tally.add(outcome, count as u64);
        }
    }
    Ok(tally)
}

pub fn each(
    connection: &Connection,
    run: i64,
    outcomes: &[Outcome],
    each: &mut dyn FnMut(Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let names = serde_json::to_string(&outcomes.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>())?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM row WHERE run = ?1 AND (?2 = '[]' OR outcome IN (SELECT value FROM json_each(?2))) ORDER BY record"
    ))?;
    let mut rows = statement.query(params![run, names])?;
    while let Some(row) = rows.next()? {
        each(read(row, 0)?)?;
    }
    Ok(())
}

pub fn touches(connection: &Connection, account: &str, pass: PassKey, limit: u64) -> Result<Vec<Touch>> {
    let columns = COLUMNS.split(", ").map(|column| format!("row.{column}")).collect::<Vec<_>>().join(", ");
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT run.id, {columns} FROM row JOIN run ON run.seq = row.run
             WHERE row.pass_high = ?1 AND row.pass_low = ?2 AND run.account = ?3 ORDER BY row.run DESC, row.record DESC LIMIT ?4"
        ))
        .map_err(storage)?;
    let rows = statement
        .query_map(params![signed(pass.high()), signed(pass.low()), account, limit as i64], |row| {
            Ok(Touch { run: row.get(0)?, row: read(row, 1)? })
        })
        .map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

pub(super) fn read(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Row> {
    let high: Option<i64> = row.get(first + 5)?;
    let low: Option<i64> = row.get(first + 6)?;
    let verb: String = row.get(first + 7)?;
    let outcome: Option<String> = row.get(first + 11)?;
    Ok(Row {
        number: row.get::<_, i64>(first)? as u64,
        record: row.get::<_, i64>(first + 1)? as u64,
        line: row.get::<_, i64>(first + 2)? as u64,
        offset: row.get::<_, i64>(first + 3)? as u64,
        length: row.get(first + 4)?,
        pass: high.zip(low).map(|(high, low)| pass_key(high, low)),
        verb: Verb::parse(&verb).unwrap_or(Verb::Update),
        mask: row.get::<_, i64>(first + 8)? as u64,
        adds: row.get(first + 9)?,
        deferred: row.get(first + 10)?,
        stamp: None,
        outcome: outcome.as_deref().and_then(Outcome::parse),
        detail: read_detail(&row.get::<_, String>(first + 12)?),
        taken: row.get(first + 13)?,
    })
}

pub fn add_problems(work: &Connection, run: i64, number: u64, problems: &[Problem]) -> Result<()> {
    let detail: Option<String> = work
        .prepare_cached("SELECT detail FROM row WHERE run = ?1 AND number = ?2")
        .and_then(|mut select| select.query_row(params![run, number as i64], |row| row.get(0)).optional())
        .map_err(storage)?;
    let mut known = detail.as_deref().map(read_detail).unwrap_or_default();
    known.problems.extend_from_slice(problems);
    let text = detail_text(&known);
    work.prepare_cached("UPDATE row SET detail = ?3 WHERE run = ?1 AND number = ?2")
        .and_then(|mut update| update.execute(params![run, number as i64, text]))
        .map_err(storage)?;
    Ok(())
}

/// Plain successes, the many, take no space.
pub fn detail_text(detail: &RowDetail) -> String {
    if detail.is_empty() { String::new() } else { serde_json::to_string(detail).expect("a row's detail is plain data") }
}

pub(super) fn read_detail(text: &str) -> RowDetail {
    serde_json::from_str(text).unwrap_or_default()
}
