//! What waits at sources.

use rusqlite::{Connection, params};

use super::super::{Result, Waiting};
use super::storage;

pub fn of(connection: &Connection, source: Option<&str>) -> Result<Vec<Waiting>> {
    let mut statement = connection
        .prepare_cached("SELECT feed, what, words, alert, since FROM waiting WHERE ?1 IS NULL OR source = ?1 ORDER BY since, feed, what")
        .map_err(storage)?;
    let rows = statement
        .query_map(params![source], |row| {
            let since: String = row.get(4)?;
            Ok(Waiting {
                feed: row.get(0)?,
                what: row.get(1)?,
                words: row.get(2)?,
                alert: row.get(3)?,
                since: since.parse().unwrap_or_default(),
            })
        })
        .map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

pub fn note(work: &Connection, source: &str, waiting: &[Waiting]) -> Result<()> {
    work.execute("DELETE FROM waiting WHERE source = ?1", params![source]).map_err(storage)?;
    let mut insert = work.prepare_cached("INSERT OR REPLACE INTO waiting VALUES (?1, ?2, ?3, ?4, ?5, ?6)").map_err(storage)?;
    for one in waiting {
        insert.execute(params![source, one.feed, one.what, one.words, one.alert, one.since.to_rfc3339()]).map_err(storage)?;
    }
    Ok(())
}
