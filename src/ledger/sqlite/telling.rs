//! Alerts and digests: what stands, and messages on their way.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, Row as SqlRow, params};

use super::super::telling::{Ending, Letter, Noting, Passage, Standing, Telling};
use super::super::{Fence, LedgerError, Result, State};
use super::{Sqlite, storage};

const COLUMNS: &str = "id, way, at, body, passage, tries, next, fault, ended";

/// Instants as text of one length, so that their order is that of the text.
fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn instant(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<DateTime<Utc>> {
    Ok(row.get::<_, String>(column)?.parse().unwrap_or_default())
}

fn optional(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
}

fn letters(connection: &Connection, rest: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Letter>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM letter {rest}")).map_err(storage)?;
    let read = |row: &SqlRow<'_>| {
        Ok(Letter {
            id: row.get(0)?,
            way: row.get(1)?,
            at: instant(row, 2)?,
            body: row.get(3)?,
            passage: Passage::parse(&row.get::<_, String>(4)?).unwrap_or(Passage::GivenUp),
            tries: row.get(5)?,
            next: instant(row, 6)?,
            fault: row.get(7)?,
            ended: optional(row, 8)?,
        })
    };
    let rows = statement.query_map(values, read).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

fn save(work: &Connection, letter: &Letter) -> Result<()> {
    let mut insert = work
        .prepare_cached(&format!(
            "INSERT INTO letter({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT(id) DO UPDATE SET passage = ?5, tries = ?6, next = ?7, fault = ?8, ended = ?9"
        ))
        .map_err(storage)?;
    insert
        .execute(params![
            letter.id,
            letter.way,
            text(letter.at),
            letter.body,
            letter.passage.as_str(),
            letter.tries,
            text(letter.next),
            letter.fault,
            letter.ended.map(text)
        ])
        .map_err(storage)?;
    Ok(())
}

/// Ways out, each with an instant.
fn ways(connection: &Connection, select: &str) -> Result<Vec<(String, DateTime<Utc>)>> {
    let mut statement = connection.prepare_cached(select).map_err(storage)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, instant(row, 1)?))).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

fn note(work: &Connection, noting: &Noting) -> Result<()> {
    for (way, key) in &noting.fell {
        work.execute("DELETE FROM standing WHERE way = ?1 AND key = ?2", params![way, key]).map_err(storage)?;
    }
    for one in &noting.stands {
        work.execute(
            "INSERT OR REPLACE INTO standing(way, key, mark, since, told) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![one.way, one.key, one.mark, text(one.since), one.told.map(text)],
        )
        .map_err(storage)?;
    }
    for letter in &noting.letters {
        save(work, letter)?;
    }
    for (way, until) in &noting.digested {
        work.execute("INSERT OR REPLACE INTO digested(way, until) VALUES (?1, ?2)", params![way, text(*until)]).map_err(storage)?;
    }
    for (way, since) in &noting.met {
        work.execute("INSERT OR REPLACE INTO met(way, since) VALUES (?1, ?2)", params![way, text(*since)]).map_err(storage)?;
    }
    for way in &noting.left {
        work.execute("DELETE FROM met WHERE way = ?1", [way]).map_err(storage)?;
    }
    if let Some(number) = noting.endings_to {
        work.execute("DELETE FROM ending WHERE number <= ?1", [number as i64]).map_err(storage)?;
    }
    Ok(())
}

impl Telling for Sqlite {
    fn endings(&self) -> Result<Vec<Ending>> {
        let reader = self.reader()?;
        let mut statement = reader.prepare_cached("SELECT number, run, state FROM ending ORDER BY number").map_err(storage)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get::<_, String>(2)?)))
            .map_err(storage)?
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(storage)?;
        rows.into_iter()
            .map(|(number, run, state)| {
                let unknown = || LedgerError::Damaged { path: format!("run {run}"), what: format!("ended in the unknown state {state:?}") };
                let state = State::parse(&state).ok_or_else(unknown)?;
                Ok(Ending { number, run, state })
            })
            .collect()
    }

    fn standing(&self) -> Result<Vec<Standing>> {
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT way, key, mark, since, told FROM standing ORDER BY since, key").map_err(storage)?;
        let rows = statement
            .query_map([], |row| {
                Ok(Standing { way: row.get(0)?, key: row.get(1)?, mark: row.get(2)?, since: instant(row, 3)?, told: optional(row, 4)? })
            })
            .map_err(storage)?;
        rows.collect::<rusqlite::Result<_>>().map_err(storage)
    }

    fn digested(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        ways(&*self.reader()?, "SELECT way, until FROM digested")
    }

    fn met(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        ways(&*self.reader()?, "SELECT way, since FROM met")
    }

    fn note_alerts(&self, fence: Fence, noting: &Noting) -> Result<()> {
        self.write(fence, |work| note(work, noting))
    }

    fn letters_waiting(&self, way: Option<&str>) -> Result<Vec<Letter>> {
        letters(&*self.reader()?, "WHERE passage = 'waiting' AND (?1 IS NULL OR way = ?1) ORDER BY at, rowid", params![way])
    }

    fn letters_given_up(&self, since: DateTime<Utc>) -> Result<Vec<Letter>> {
        letters(&*self.reader()?, "WHERE passage = 'given-up' AND ended >= ?1 ORDER BY ended, rowid", params![text(since)])
    }

    fn count_sent(&self, way: &str, since: DateTime<Utc>) -> Result<u64> {
        let reader = self.reader()?;
        let count: i64 = reader
            .prepare_cached("SELECT count(*) FROM letter WHERE passage = 'sent' AND way = ?1 AND ended >= ?2")
            .and_then(|mut select| select.query_row(params![way, text(since)], |row| row.get(0)))
            .map_err(storage)?;
        Ok(count as u64)
    }

    fn save_letter(&self, fence: Fence, letter: &Letter) -> Result<()> {
        self.write(fence, |work| save(work, letter))
    }

    fn fold_letters(&self, fence: Fence, ids: &[String], summary: &Letter) -> Result<()> {
        self.write(fence, |work| {
            for id in ids {
                work.execute("UPDATE letter SET passage = 'folded', ended = ?2 WHERE id = ?1", params![id, text(summary.at)])
                    .map_err(storage)?;
            }
            save(work, summary)
        })
    }

    fn forget_letters(&self, fence: Fence, before: DateTime<Utc>) -> Result<()> {
        let before = text(before);
        self.write(fence, |work| {
            work.execute("DELETE FROM letter WHERE passage <> 'waiting' AND ended < ?1", [&before]).map_err(storage)?;
            Ok(())
        })
    }
}
