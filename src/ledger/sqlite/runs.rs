//! Runs in SQLite.

use bstr::{BStr, BString, ByteSlice};
use rand::RngExt;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::paged::RunSearch;
use super::super::run::{Detail, Run, State};
use super::super::{LedgerError, Result, RunFilter, Wish};
use super::storage;

/// Letters and digits that are not taken for one another when read aloud.
const ID_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH: usize = 6;
const GIVEN: &str = "id, feed, account, source, folder, name, size, mtime, state, kind, parent, sha256, detail";
const COLUMNS: &str = "id, feed, account, source, folder, name, size, mtime, state, kind, parent, sha256, detail, seq";

pub fn open(work: &Connection, mut run: Run) -> Result<Run> {
    let mut random = rand::rng();
    // A billion ids: a second draw is rare, and the loop ends.
    run.id = loop {
        let id: String = (0..ID_LENGTH).map(|_| char::from(ID_LETTERS[random.random_range(0..ID_LETTERS.len())])).collect();
        if by_id(work, &id)?.is_none() {
            break id;
        }
    };
    work.prepare_cached(&format!("INSERT INTO run({GIVEN}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"))
        .and_then(|mut insert| {
            insert.execute(params![
                run.id,
                run.feed,
                run.account,
                run.source,
                run.folder.as_bytes(),
                run.name.as_bytes(),
                run.size as i64,
                run.mtime,
                run.state.as_str(),
                run.kind.as_str(),
                run.parent,
                run.sha256,
                detail_text(&run.detail)
            ])
        })
        .map_err(storage)?;
    run.detail.order = work.last_insert_rowid() as u64;
    Ok(run)
}

pub fn save(work: &Connection, run: &Run) -> Result<()> {
    let changed = work
        .prepare_cached("UPDATE run SET state = ?2, sha256 = ?3, detail = ?4, parent = ?5, kind = ?6, size = ?7, mtime = ?8, feed = ?9, account = ?10 WHERE id = ?1")
        .and_then(|mut update| {
            update.execute(params![
                run.id,
                run.state.as_str(),
                run.sha256,
                detail_text(&run.detail),
                run.parent,
                run.kind.as_str(),
                run.size as i64,
                run.mtime,
                run.feed,
                run.account
            ])
        })
        .map_err(storage)?;
    if changed == 0 { Err(LedgerError::NoRun(run.id.clone())) } else { Ok(()) }
}

pub fn seq(connection: &Connection, id: &str) -> Result<i64> {
    connection
        .prepare_cached("SELECT seq FROM run WHERE id = ?1")
        .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
        .map_err(storage)?
        .ok_or_else(|| LedgerError::NoRun(id.to_owned()))
}

pub fn by_id(connection: &Connection, id: &str) -> Result<Option<Run>> {
    select(connection, "WHERE id = ?1", params![id]).map(|runs| runs.into_iter().next())
}

pub fn by_seq(connection: &Connection, seq: i64) -> Result<Option<Run>> {
    select(connection, "WHERE seq = ?1", params![seq]).map(|runs| runs.into_iter().next())
}

/// All runs, oldest first, with their ids; what cannot be read of one says nothing about the others.
pub fn each(connection: &Connection) -> Result<Vec<(String, Result<Run>)>> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM run ORDER BY seq")).map_err(storage)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, read(row)?))).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

pub fn list(connection: &Connection, filter: &RunFilter) -> Result<Vec<Run>> {
    // SQLite counts to here.
    let limit = filter.limit.unwrap_or(i64::MAX as u64);
    search(connection, &RunSearch { feed: filter.feed.clone(), states: filter.states.clone(), limit, ..RunSearch::default() })
}

pub fn search(connection: &Connection, search: &RunSearch) -> Result<Vec<Run>> {
    let (rest, values) = clauses(search);
    let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| value as &dyn rusqlite::ToSql).collect();
    select(connection, &rest, &values)
}

/// Only what is asked for, so that an index is used where there is one for it.
pub fn clauses(search: &RunSearch) -> (String, Vec<Value>) {
    // Names of ours: written out, they let the index of states be used.
    let states: Vec<String> = search.states.iter().map(|state| format!("'{state}'")).collect();
    let mut clauses: Vec<String> = Vec::new();
    if !states.is_empty() {
        clauses.push(format!("state IN ({})", states.join(", ")));
    }
    let mut values: Vec<Value> = Vec::new();
    let mut add = |clause: &str, value: Value| {
        values.push(value);
        clauses.push(clause.replace('?', &format!("?{}", values.len())));
    };
    if let Some(feed) = &search.feed {
        add("feed = ?", feed.clone().into());
    }
    if let Some(text) = &search.text {
        add("(id = ? OR instr(lower(CAST(name AS TEXT)), lower(?)) > 0)", text.clone().into());
    }
    // RFC 3339 in UTC, of one form, orders as text does.
    let seconds = |at: chrono::DateTime<chrono::Utc>| Value::from(at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    if let Some(from) = search.from {
        add("julianday(json_extract(detail, '$.seen_at')) >= julianday(?)", seconds(from));
    }
    if let Some(until) = search.until {
        add("julianday(json_extract(detail, '$.seen_at')) < julianday(?)", seconds(until));
    }
    if let Some(before) = search.before {
        add("seq < ?", (before as i64).into());
    }
    let all = if clauses.is_empty() { String::new() } else { format!("WHERE {} ", clauses.join(" AND ")) };
    (format!("{all}ORDER BY seq DESC LIMIT {}", search.limit), values)
}

pub fn named(connection: &Connection, name: &BStr) -> Result<Vec<Run>> {
    select(connection, "WHERE name = ?1 ORDER BY seq DESC", params![name.as_bytes()])
}

pub fn of_delivery(connection: &Connection, source: &str, folder: &BStr, name: &BStr, size: u64, mtime: i64) -> Result<Option<Run>> {
    select(
        connection,
        "WHERE name = ?3 AND source = ?1 AND folder = ?2 AND size = ?4 AND mtime = ?5 ORDER BY seq DESC LIMIT 1",
        params![source, folder.as_bytes(), name.as_bytes(), size as i64, mtime],
    )
    .map(|runs| runs.into_iter().next())
}

pub fn wish(work: &Connection, run: &str, wish: Option<&Wish>) -> Result<()> {
    let text = wish.map(|wish| serde_json::to_string(wish).unwrap_or_default());
    let changed = work.execute("UPDATE run SET wish = ?2 WHERE id = ?1", params![run, text]).map_err(storage)?;
    if changed == 0 { Err(LedgerError::NoRun(run.to_owned())) } else { Ok(()) }
}

pub fn peek_wish(connection: &Connection, run: &str) -> Result<Option<Wish>> {
    let text: Option<Option<String>> = connection
        .prepare_cached("SELECT wish FROM run WHERE id = ?1")
        .and_then(|mut select| select.query_row([run], |row| row.get(0)).optional())
        .map_err(storage)?;
    Ok(text.flatten().and_then(|text| serde_json::from_str(&text).ok()))
}

pub(super) fn select(connection: &Connection, rest: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Run>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM run {rest}")).map_err(storage)?;
    let rows = statement.query_map(values, read).map_err(storage)?;
    rows.collect::<rusqlite::Result<Vec<_>>>().map_err(storage)?.into_iter().collect()
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<Result<Run>> {
    let id: String = row.get(0)?;
    let state: String = row.get(8)?;
    let kind: String = row.get(9)?;
    let detail: String = row.get(12)?;
    let unreadable = |what: &str| LedgerError::Damaged { path: format!("run {id}"), what: what.to_owned() };
    let Some(state) = State::parse(&state) else { return Ok(Err(unreadable("unknown state"))) };
    let order = row.get::<_, i64>(13)? as u64;
    let detail = match serde_json::from_str(&detail) {
        Ok(detail) => Detail { order, ..detail },
        Err(error) => return Ok(Err(unreadable(&error.to_string()))),
    };
    Ok(Ok(Run {
        feed: row.get(1)?,
        account: row.get(2)?,
        source: row.get(3)?,
        folder: BString::from(row.get::<_, Vec<u8>>(4)?),
        name: BString::from(row.get::<_, Vec<u8>>(5)?),
        size: row.get::<_, i64>(6)? as u64,
        mtime: row.get(7)?,
        state,
        kind: serde_json::from_value(serde_json::Value::String(kind)).unwrap_or_default(),
        parent: row.get(10)?,
        sha256: row.get(11)?,
        detail,
        id,
    }))
}

fn detail_text(detail: &Detail) -> String {
    serde_json::to_string(detail).expect("a run's detail is plain data")
}
