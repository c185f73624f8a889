//! Paused feeds, who paused them or let them go on, and why.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::super::{Pausing, Result};
use super::storage;

/// Notes of this many changes are kept.
const KEPT: u32 = 10_000;

pub fn set(work: &Connection, feed: &str, paused: bool, by: &str, reason: Option<&str>) -> Result<()> {
    let now = Utc::now().to_rfc3339();
    let changed = if paused {
        work.execute("INSERT INTO paused VALUES (?1, ?2, ?3) ON CONFLICT(feed) DO NOTHING", params![feed, by, now])
    } else {
        work.execute("DELETE FROM paused WHERE feed = ?1", [feed])
    };
    if changed.map_err(storage)? > 0 {
        work.execute(
            "INSERT INTO pausing(feed, paused, by, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![feed, paused, by, reason, now],
        )
        .map_err(storage)?;
        work.execute("DELETE FROM pausing WHERE number <= (SELECT max(number) FROM pausing) - ?1", [KEPT]).map_err(storage)?;
    }
    Ok(())
}

pub fn paused(connection: &Connection) -> Result<Vec<(String, String, DateTime<Utc>)>> {
    let mut statement = connection.prepare_cached("SELECT feed, by, at FROM paused ORDER BY feed").map_err(storage)?;
    let rows = statement
        .query_map([], |row| {
            let at: String = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, at.parse().unwrap_or_default()))
        })
        .map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

/// The last change of each feed.
pub fn last(connection: &Connection) -> Result<Vec<Pausing>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT feed, paused, by, reason, at FROM pausing WHERE number IN (SELECT max(number) FROM pausing GROUP BY feed) ORDER BY feed",
        )
        .map_err(storage)?;
    let rows = statement
        .query_map([], |row| {
            let at: String = row.get(4)?;
            Ok(Pausing { feed: row.get(0)?, paused: row.get(1)?, by: row.get(2)?, reason: row.get(3)?, at: at.parse().unwrap_or_default() })
        })
        .map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}
