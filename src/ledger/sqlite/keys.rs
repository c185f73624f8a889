//! Keys of adds in SQLite.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde::{Deserialize, Serialize};

use super::super::Result;
use super::super::RunKind;
use super::super::key::{Decision, Intended, Intent, KeyEnd, KeyNote, KeyState, Settlement, Settling};
use super::{pass_key, signed, storage};
use crate::row::{AddKey, AddKind, PassKey, RowKey};

const COLUMNS: &str = "row_key, kind, account, pass_high, pass_low, run, line, amount, print, state, at, evidence, before, settled";
const READ: &str = "row_key, kind, account, pass_high, pass_low, run, line, amount, print, state, at, evidence, before, settled, met";

/// Writes the intents down that may be sent, and says of each what is to be done.
pub fn intend(work: &Connection, account: &str, run: &str, intents: &[Intent]) -> Result<Vec<Intended>> {
    intents.iter().map(|intent| intend_one(work, account, run, intent)).collect()
}

fn intend_one(work: &Connection, account: &str, run: &str, intent: &Intent) -> Result<Intended> {
    let known = one(work, intent.key)?;
    let decided = |decision| {
        let undone = known.as_ref().filter(|known| known.state == KeyState::NotApplied);
        undone.is_some_and(|known| known.settled.as_ref().is_some_and(|settled| settled.decision == decision))
    };
    let again = decided(Decision::Resend);
    if let Some(known) = known.clone().filter(|_| decided(Decision::NotApplied)) {
        return Ok(Intended::Settled(known));
    }
    if let Some(other) = turned(work, run, intent)? {
        return Ok(Intended::Turned(other));
    }
    if let Some(known) = known {
        let same = known.print == intent.print;
        // Numbers of rows change when a file is checked again; lines do not.
        let own = known.run == run && known.line == intent.line;
        match known.state {
            KeyState::NotApplied => {}
            _ if !same => return Ok(Intended::Conflict(known)),
            KeyState::Applied => return Ok(Intended::Applied(known)),
            KeyState::InDoubt => return Ok(Intended::InDoubt(known)),
            KeyState::Intended if own => return Ok(Intended::PerhapsSent { before: known.before, at: known.at }),
            KeyState::Intended if is_under_way(work, &known.run)? => return Ok(Intended::Elsewhere(known)),
            // Nobody will ever look what became of it.
            KeyState::Intended => {
                let evidence = format!("run {} ended, or was lost, while the answer was awaited", known.run);
                end(work, &[KeyEnd { key: known.key, state: KeyState::InDoubt, evidence: evidence.clone() }])?;
                return Ok(Intended::InDoubt(KeyNote { state: KeyState::InDoubt, evidence, ..known }));
            }
        }
    }
    if let Some(doubtful) = doubtful(work, account, intent.pass)? {
        return Ok(Intended::After(doubtful));
    }
    // What a person decided about an earlier try stays.
    work.prepare_cached(&format!(
        "INSERT INTO add_key({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,'intended',?10,'',?11,NULL)
         ON CONFLICT(row_key, kind) DO UPDATE SET account = ?3, pass_high = ?4, pass_low = ?5, run = ?6, line = ?7, amount = ?8,
         print = ?9, state = 'intended', at = ?10, evidence = '', before = ?11, met = NULL"
    ))
    .and_then(|mut insert| {
        insert.execute(params![
            intent.key.row.0.to_be_bytes(),
            intent.key.kind.as_str(),
            account,
            signed(intent.pass.high()),
            signed(intent.pass.low()),
            run,
            intent.line as i64,
            intent.amount,
            intent.print as i64,
            Utc::now().to_rfc3339(),
            intent.before,
        ])
    })
    .map_err(storage)?;
    Ok(if again { Intended::SendAgain } else { Intended::Send })
}

fn is_under_way(work: &Connection, run: &str) -> Result<bool> {
    Ok(super::runs::by_id(work, run)?.is_some_and(|run| !run.state.is_over()))
}

/// Another add that the same row was before, unless nothing came of it. Another row of the same transaction is none.
fn turned(work: &Connection, run: &str, intent: &Intent) -> Result<Option<KeyNote>> {
    if intent.key.kind == AddKind::Notify {
        return Ok(None);
    }
    for kind in AddKind::ALL.into_iter().filter(|kind| *kind != AddKind::Notify && *kind != intent.key.kind) {
        let Some(other) = one(work, AddKey { row: intent.key.row, kind })?.filter(|other| other.state != KeyState::NotApplied) else {
            continue;
        };
        let is_same_row = if other.run == run {
            other.line == intent.line
        } else if intent.earlier.is_empty() {
            false
        } else if let Some((_, line)) = intent.earlier.iter().find(|(earlier, _)| *earlier == other.run) {
            line.is_none_or(|line| line == other.line)
        } else {
            // A row of an ordinary file stands for itself. That of a correction, or of one whose run is forgotten, may be this one.
            let delivered: Option<String> = work
                .prepare_cached("SELECT kind FROM run WHERE id = ?1")
                .and_then(|mut select| select.query_row([&other.run], |row| row.get(0)).optional())
                .map_err(storage)?;
            delivered.as_deref() != Some(RunKind::File.as_str())
        };
        if is_same_row {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

pub fn end(work: &Connection, ends: &[KeyEnd]) -> Result<()> {
    let mut update =
        work.prepare_cached("UPDATE add_key SET state = ?3, evidence = ?4, at = ?5 WHERE row_key = ?1 AND kind = ?2").map_err(storage)?;
    let now = Utc::now().to_rfc3339();
    for end in ends {
        update
            .execute(params![end.key.row.0.to_be_bytes(), end.key.kind.as_str(), end.state.as_str(), end.evidence, now])
            .map_err(storage)?;
    }
    Ok(())
}

pub fn settle(work: &Connection, key: AddKey, state: KeyState, settlement: &Settlement) -> Result<()> {
    let text = serde_json::to_string(settlement).expect("a decision is plain data");
    work.prepare_cached("UPDATE add_key SET state = ?3, settled = ?4, at = ?5 WHERE row_key = ?1 AND kind = ?2")
        .and_then(|mut update| {
            update.execute(params![key.row.0.to_be_bytes(), key.kind.as_str(), state.as_str(), text, settlement.at.to_rfc3339()])
        })
        .map_err(storage)?;
    Ok(())
}

/// Notes that rows of a later file have these keys.
pub fn meet(work: &Connection, keys: &[AddKey]) -> Result<()> {
    let mut update = work.prepare_cached("UPDATE add_key SET met = ?3 WHERE row_key = ?1 AND kind = ?2").map_err(storage)?;
    let now = Utc::now().to_rfc3339();
    for key in keys {
        update.execute(params![key.row.0.to_be_bytes(), key.kind.as_str(), now]).map_err(storage)?;
    }
    Ok(())
}

pub fn one(connection: &Connection, key: AddKey) -> Result<Option<KeyNote>> {
    connection
        .prepare_cached(&format!("SELECT {READ} FROM add_key WHERE row_key = ?1 AND kind = ?2"))
        .and_then(|mut select| select.query_row(params![key.row.0.to_be_bytes(), key.kind.as_str()], read).optional())
        .map_err(storage)
}

/// The first add of a pass that is in doubt.
pub fn doubtful(connection: &Connection, account: &str, pass: PassKey) -> Result<Option<KeyNote>> {
    connection
        .prepare_cached(&format!(
            "SELECT {READ} FROM add_key WHERE account = ?1 AND pass_high = ?2 AND pass_low = ?3 AND state = 'in-doubt' ORDER BY at LIMIT 1"
        ))
        .and_then(|mut select| select.query_row(params![account, signed(pass.high()), signed(pass.low())], read).optional())
        .map_err(storage)
}

/// Keys of a run in this state, by line.
pub fn of_run(connection: &Connection, run: &str, state: KeyState) -> Result<Vec<KeyNote>> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {READ} FROM add_key WHERE run = ?1 AND state = ?2 ORDER BY line, kind"))
        .map_err(storage)?;
    let rows = select.query_map(params![run, state.as_str()], read).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

/// Keys of a run's row.
pub fn of_line(connection: &Connection, run: &str, line: u64) -> Result<Vec<KeyNote>> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {READ} FROM add_key WHERE run = ?1 AND line = ?2 ORDER BY kind")).map_err(storage)?;
    let rows = select.query_map(params![run, line as i64], read).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

/// A decision as it waits.
#[derive(Serialize, Deserialize)]
struct Asked {
    #[serde(flatten)]
    settlement: Settlement,
    /// Earlier versions decided about all adds of a row together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// Asks whoever leads to settle an add of a row.
pub fn ask(work: &Connection, run: &str, line: u64, key: AddKey, settlement: &Settlement) -> Result<()> {
    let asked = Asked { settlement: settlement.clone(), key: Some(key.to_string()) };
    let text = serde_json::to_string(&asked).expect("a decision is plain data");
    work.execute("INSERT INTO settling(run, line, settlement) VALUES (?1, ?2, ?3)", params![run, line as i64, text]).map_err(storage)?;
    Ok(())
}

pub fn asked(connection: &Connection) -> Result<Vec<Settling>> {
    let mut select = connection.prepare_cached("SELECT number, run, line, settlement FROM settling ORDER BY number").map_err(storage)?;
    let rows = select
        .query_map([], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?, row.get::<_, i64>(2)? as u64, row.get::<_, String>(3)?))
        })
        .map_err(storage)?;
    let mut all = Vec::new();
    for row in rows {
        let (number, run, line, text) = row.map_err(storage)?;
        let Ok(Asked { settlement, key }) = serde_json::from_str(&text) else { continue };
        // A key that this program cannot read must not become a decision about all.
        let key = match key.as_deref().map(AddKey::parse) {
            None => None,
            Some(None) => continue,
            Some(key) => key,
        };
        all.push(Settling { number, run, line, key, settlement });
    }
    Ok(all)
}

pub fn answered(work: &Connection, number: u64) -> Result<()> {
    work.execute("DELETE FROM settling WHERE number = ?1", [number as i64]).map_err(storage)?;
    Ok(())
}

/// Those of few adds, found by an index of their own, whatever else is kept.
pub fn rows_in_doubt(connection: &Connection) -> Result<Vec<(String, u64)>> {
    let mut select = connection
        .prepare_cached(
            "SELECT run.feed, count(*) FROM (SELECT DISTINCT run, line FROM add_key WHERE state = 'in-doubt') AS doubt
             JOIN run ON run.id = doubt.run GROUP BY run.feed",
        )
        .map_err(storage)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

/// The same by run, oldest run first.
pub fn in_doubt_by_run(connection: &Connection) -> Result<Vec<(String, u64)>> {
    let mut select = connection
        .prepare_cached(
            "SELECT run.id, count(*) FROM (SELECT DISTINCT run, line FROM add_key WHERE state = 'in-doubt') AS doubt
             JOIN run ON run.id = doubt.run GROUP BY run.id ORDER BY run.seq",
        )
        .map_err(storage)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))).map_err(storage)?;
    rows.collect::<rusqlite::Result<_>>().map_err(storage)
}

fn read(row: &SqlRow<'_>) -> rusqlite::Result<KeyNote> {
    let key: [u8; 16] = row.get(0)?;
    let kind: String = row.get(1)?;
    let state: String = row.get(9)?;
    let at: String = row.get(10)?;
    let settled: Option<String> = row.get(13)?;
    let met: Option<String> = row.get(14)?;
    let unknown = |index: usize, what: &str| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, format!("unknown {what}").into())
    };
    Ok(KeyNote {
        key: AddKey { row: RowKey(u128::from_be_bytes(key)), kind: AddKind::parse(&kind).ok_or_else(|| unknown(1, "kind of add"))? },
        account: row.get(2)?,
        pass: pass_key(row.get(3)?, row.get(4)?),
        run: row.get(5)?,
        line: row.get::<_, i64>(6)? as u64,
        amount: row.get(7)?,
        print: row.get::<_, i64>(8)? as u64,
        // A state that this program does not know must never be taken for one that allows sending.
        state: KeyState::parse(&state).ok_or_else(|| unknown(9, "state of an add"))?,
        at: at.parse::<DateTime<Utc>>().unwrap_or_default(),
        evidence: row.get(11)?,
        before: row.get(12)?,
        settled: settled.and_then(|text| serde_json::from_str(&text).ok()),
        met: met.and_then(|text| text.parse().ok()),
    })
}
