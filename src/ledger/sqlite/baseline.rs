//! The baseline in SQLite.

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::super::{FieldState, Known, Result, RowEnd};
use super::{pass_key, signed, storage};
use crate::row::PassKey;

/// The account's small number, given at first use.
pub fn account(work: &Connection, name: &str) -> Result<i64> {
    if let Some(id) = known_account(work, name)? {
        return Ok(id);
    }
    work.query_row("INSERT INTO account(name) VALUES (?1) RETURNING id", [name], |row| row.get(0)).map_err(storage)
}

pub fn known_account(connection: &Connection, name: &str) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM account WHERE name = ?1")
        .and_then(|mut select| select.query_row([name], |row| row.get(0)).optional())
        .map_err(storage)
}

/// Takes in what ended rows say of their passes.
pub fn learn(work: &Connection, account: i64, ends: &[RowEnd]) -> Result<()> {
    let (mut select, mut insert) = (work.prepare_cached(ONE).map_err(storage)?, work.prepare_cached(PUT).map_err(storage)?);
    for end in ends {
        let Some(pass) = end.pass else { continue };
        if end.forget {
            forget(work, account, pass)?;
        } else if !end.known.is_empty() || !end.unknown.is_empty() {
            let mut fields = one(&mut select, account, pass)?.unwrap_or_default();
            FieldState::merge(&mut fields, &end.known, &end.unknown);
            put_by(&mut insert, account, pass, &fields)?;
        }
    }
    Ok(())
}

/// Sets baselines.
pub fn put(work: &Connection, account: i64, passes: &[Known]) -> Result<()> {
    let mut insert = work.prepare_cached(PUT).map_err(storage)?;
    passes.iter().try_for_each(|known| put_by(&mut insert, account, known.pass, &known.fields))
}

const ONE: &str = "SELECT fields FROM baseline WHERE account = ?1 AND pass_high = ?2 AND pass_low = ?3";
const PUT: &str =
    "INSERT INTO baseline VALUES (?1, ?2, ?3, ?4) ON CONFLICT(account, pass_high, pass_low) DO UPDATE SET fields = excluded.fields";

fn put_by(insert: &mut Statement<'_>, account: i64, pass: PassKey, fields: &[FieldState]) -> Result<()> {
    insert.execute(params![account, signed(pass.high()), signed(pass.low()), FieldState::encode(fields)]).map_err(storage)?;
    Ok(())
}

fn forget(work: &Connection, account: i64, pass: PassKey) -> Result<()> {
    work.prepare_cached("DELETE FROM baseline WHERE account = ?1 AND pass_high = ?2 AND pass_low = ?3")
        .and_then(|mut delete| delete.execute(params![account, signed(pass.high()), signed(pass.low())]))
        .map_err(storage)?;
    Ok(())
}

pub fn distrust(work: &Connection, account: i64, run: i64) -> Result<u64> {
    let forgotten = work
        .execute(
            "DELETE FROM baseline WHERE account = ?1 AND (pass_high, pass_low) IN
             (SELECT pass_high, pass_low FROM row WHERE run = ?2 AND outcome IS NULL AND pass_high IS NOT NULL)",
            params![account, run],
        )
        .map_err(storage)?;
    Ok(forgotten as u64)
}

pub fn count(connection: &Connection, account: &str) -> Result<u64> {
    let Some(account) = known_account(connection, account)? else { return Ok(0) };
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM baseline WHERE account = ?1")
        .and_then(|mut select| select.query_row([account], |row| row.get(0)))
        .map_err(storage)?;
    Ok(count as u64)
}

pub fn range(connection: &Connection, account: &str, from: PassKey, to: PassKey, each: &mut dyn FnMut(Known)) -> Result<()> {
    let Some(account) = known_account(connection, account)? else { return Ok(()) };
    let mut statement = connection
        .prepare_cached(
            "SELECT pass_high, pass_low, fields FROM baseline WHERE account = ?1
             AND (pass_high, pass_low) >= (?2, ?3) AND (pass_high, pass_low) <= (?4, ?5) ORDER BY pass_high, pass_low",
        )
        .map_err(storage)?;
    let mut rows =
        statement.query(params![account, signed(from.high()), signed(from.low()), signed(to.high()), signed(to.low())]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        let pass = pass_key(row.get(0).map_err(storage)?, row.get(1).map_err(storage)?);
        let bytes = row.get_ref(2).and_then(|value| Ok(value.as_blob()?)).map_err(storage)?;
        each(Known { pass, fields: FieldState::decode(bytes) });
    }
    Ok(())
}

pub fn of(connection: &Connection, account: &str, passes: &[PassKey]) -> Result<Vec<Known>> {
    let Some(account) = known_account(connection, account)? else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(ONE).map_err(storage)?;
    let mut found = Vec::new();
    for &pass in passes {
        if let Some(fields) = one(&mut select, account, pass)? {
            found.push(Known { pass, fields });
        }
    }
    Ok(found)
}

fn one(select: &mut Statement<'_>, account: i64, pass: PassKey) -> Result<Option<Vec<FieldState>>> {
    select
        .query_row(params![account, signed(pass.high()), signed(pass.low())], |row| Ok(FieldState::decode(row.get_ref(0)?.as_blob()?)))
        .optional()
        .map_err(storage)
}

pub fn field_id(work: &Connection, account: &str, name: &str) -> Result<u16> {
    let known: Option<i64> = work
        .query_row("SELECT id FROM field WHERE account = ?1 AND name = ?2", [account, name], |row| row.get(0))
        .optional()
        .map_err(storage)?;
    if let Some(id) = known {
        return Ok(id as u16);
    }
    let id: i64 = work
        .query_row(
            "INSERT INTO field SELECT ?1, coalesce(max(id) + 1, 0), ?2 FROM field WHERE account = ?1 RETURNING id",
            [account, name],
            |row| row.get(0),
        )
        .map_err(storage)?;
    Ok(id as u16)
}

pub fn field_names(connection: &Connection, account: &str) -> Result<Vec<(u16, String)>> {
    let mut statement = connection.prepare_cached("SELECT id, name FROM field WHERE account = ?1 ORDER BY id").map_err(storage)?;
    let rows = statement.query_map([account], |row| Ok((row.get::<_, i64>(0)? as u16, row.get(1)?))).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}
