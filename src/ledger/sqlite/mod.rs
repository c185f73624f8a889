//! The ledger in one SQLite file, for one worker and any number of readers.

mod audit;
mod baseline;
mod continued;
mod keeping;
mod keys;
mod paged;
mod pausing;
mod rows;
mod runs;
mod schema;
mod stamps;
mod telling;
mod waiting;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bstr::BStr;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    Fence, Intended, Intent, KeyEnd, KeyNote, KeyState, Known, Ledger, LedgerError, Pausing, PendingPass, Requested, Result, Row,
    RowDetail, RowEnd, Run, RunFilter, Settlement, Settling, SourceNote, Touch, Waiting, Wish,
};
use crate::metrics::count;
use crate::outcome::{Code, Outcome, Problem, Tally};
use crate::row::{AddKey, PassKey};
use crate::space::{Reserve, Trouble};

pub(crate) use keeping::{copy as copy_database, empty_log};

pub struct Sqlite {
    path: PathBuf,
    /// Room for what must be written down when the disk is full.
    reserve: Reserve,
    /// A write failed in a way that leaves unknown what is on the disk: no other is begun by this process.
    broken: AtomicBool,
    writer: Mutex<Connection>,
    /// Connections that only read, lent one at a time.
    readers: Mutex<Vec<Connection>>,
}

impl Sqlite {
    pub fn open(path: &Path) -> Result<Sqlite> {
        let reserve = Reserve::of(path.parent().unwrap_or(path));
        match Sqlite::open_with(path, reserve.clone()).map_err(|error| examined(error, path)) {
            // Opening, too, takes a little room.
            Err(LedgerError::Disk { trouble: Trouble::Full, .. }) if reserve.release() => Sqlite::open_with(path, reserve),
            result => result,
        }
    }

    fn open_with(path: &Path, reserve: Reserve) -> Result<Sqlite> {
        // SQLite would make it readable to others where the umask allows that; its journals take over the mode of the file.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(|error| LedgerError::Storage(format!("cannot open {}: {error}", path.display())))?;
        let mut writer = Connection::open(path).map_err(storage)?;
        schema::prepare(&writer)?;
        schema::migrate(&mut writer, path)?;
        Ok(Sqlite { path: path.to_owned(), reserve, broken: AtomicBool::new(false), writer: Mutex::new(writer), readers: Mutex::default() })
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back, so the connection is sound.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Result<Reader<'_>> {
        let lent = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = if let Some(connection) = lent {
            connection
        } else {
            let connection = Connection::open(&self.path).map_err(storage)?;
            schema::prepare(&connection)?;
            connection.execute_batch("PRAGMA query_only = ON").map_err(storage)?;
            connection
        };
        Ok(Reader { home: self, connection: Some(connection) })
    }

    /// Runs a write under a fence; nothing of it stays when the fence is old or the work fails.
    fn write<T>(&self, fence: Fence, work: impl Fn(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.write_unfenced(|transaction| {
            let current: i64 = transaction.query_row("SELECT fence FROM lead", [], |row| row.get(0)).map_err(storage)?;
            if current as u64 != fence.0 {
                return Err(LedgerError::Fenced);
            }
            work(transaction)
        })
    }

    /// On a full disk the reserve is given up and the write is tried once more: what is on its way is still written down, and whoever
    /// begins something new sees that the reserve is gone.
    fn write_unfenced<T>(&self, work: impl Fn(&Transaction<'_>) -> Result<T>) -> Result<T> {
        if self.broken.load(Ordering::Acquire) {
            return Err(LedgerError::Disk { trouble: Trouble::Broken, what: "the disk failed before; nothing more is written".into() });
        }
        let mut writer = self.writer();
        let result = match transact(&mut writer, &work).map_err(|error| examined(error, &self.path)) {
            Err(LedgerError::Disk { trouble: Trouble::Full, .. }) if self.reserve.release() => transact(&mut writer, &work),
            result => result,
        };
        if matches!(result, Err(LedgerError::Damaged { .. } | LedgerError::Disk { trouble: Trouble::Broken, .. })) {
            self.broken.store(true, Ordering::Release);
        }
        result
    }
}

fn transact<T>(writer: &mut Connection, work: &impl Fn(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(storage)?;
    let result = work(&transaction)?;
    let begun = Instant::now();
    transaction.commit().map_err(storage)?;
    count::commit(begun.elapsed());
    Ok(result)
}

/// A reading connection that goes back when it is done with.
struct Reader<'l> {
    home: &'l Sqlite,
    connection: Option<Connection>,
}

impl Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("lent until dropped")
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("lent until dropped")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.home.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn storage(error: rusqlite::Error) -> LedgerError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            LedgerError::Damaged { path: "the ledger".into(), what: error.to_string() }
        }
        _ => match Trouble::of_sqlite(&error) {
            Some(trouble) => LedgerError::Disk { trouble, what: error.to_string() },
            None => LedgerError::Storage(error.to_string()),
        },
    }
}

/// Tells a full disk from one that fails, and names the file that is damaged.
fn examined(error: LedgerError, path: &Path) -> LedgerError {
    match error {
        LedgerError::Disk { trouble: Trouble::Unsure, what } => {
            LedgerError::Disk { trouble: crate::space::examine(path.parent().unwrap_or(path)), what }
        }
        LedgerError::Damaged { what, .. } => damaged(path, &what),
        other => other,
    }
}

fn damaged(path: &Path, what: &str) -> LedgerError {
    LedgerError::Damaged { path: path.display().to_string(), what: what.to_owned() }
}

/// Unsigned order in a signed column.
const fn signed(half: u64) -> i64 {
    (half ^ (1 << 63)) as i64
}

const fn unsigned(half: i64) -> u64 {
    (half as u64) ^ (1 << 63)
}

fn pass_key(high: i64, low: i64) -> PassKey {
    PassKey(u128::from(unsigned(high)) << 64 | u128::from(unsigned(low)))
}

impl Ledger for Sqlite {
    fn lead(&self) -> Result<Fence> {
        // Pages that a failed write left in memory look written and are not. Brought into the database they are written anew, before
        // anything is appended behind them. A reader elsewhere may put that off, a full disk too; neither is a fault.
        match self.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(storage) {
            Err(LedgerError::Disk { trouble: Trouble::Full, .. }) | Ok(()) => {}
            Err(fault) => return Err(fault),
        }
        self.write_unfenced(|work| {
            let fence: i64 = work.query_row("UPDATE lead SET fence = fence + 1 RETURNING fence", [], |row| row.get(0)).map_err(storage)?;
            Ok(Fence(fence as u64))
        })
    }

    fn open_run(&self, fence: Fence, run: Run) -> Result<Run> {
        self.write(fence, |work| runs::open(work, run.clone()))
    }

    fn request_run(&self, run: Run) -> Result<Run> {
        self.write_unfenced(|work| runs::open(work, run.clone()))
    }

    fn request_retry(&self, run: Run) -> Result<Requested> {
        self.write_unfenced(|work| continued::request(work, run.clone()))
    }

    fn take_up(&self, fence: Fence, run: &str, by: &str, records: &[u64], kept_back: &[Code]) -> Result<()> {
        self.write(fence, |work| continued::take_up(work, run, by, records, kept_back))
    }

    fn drop_run(&self, fence: Fence, id: &str) -> Result<()> {
        self.write(fence, |work| {
            // What was sent must be told for ever, whatever became of its file.
            let kept: bool = work
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM add_key WHERE run = ?1)
                         OR EXISTS (SELECT 1 FROM row JOIN run ON run.seq = row.run WHERE run.id = ?1 AND outcome IN ('applied', 'created'))",
                    [id],
                    |row| row.get(0),
                )
                .map_err(storage)?;
            if kept {
                return Err(LedgerError::Sent(id.to_owned()));
            }
            work.execute("DELETE FROM run WHERE id = ?1", [id]).map_err(storage)?;
            Ok(())
        })
    }

    fn save_run(&self, fence: Fence, run: &Run) -> Result<()> {
        self.write(fence, |work| runs::save(work, run))
    }

    fn save_answered(&self, fence: Fence, run: &Run, wish: &Wish) -> Result<bool> {
        self.write(fence, |work| {
            if runs::peek_wish(work, &run.id)?.as_ref() != Some(wish) {
                return Ok(false);
            }
            runs::wish(work, &run.id, None)?;
            runs::save(work, run)?;
            Ok(true)
        })
    }

    fn run(&self, id: &str) -> Result<Option<Run>> {
        runs::by_id(&*self.reader()?, id)
    }

    fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        runs::list(&*self.reader()?, filter)
    }

    fn runs_named(&self, name: &BStr) -> Result<Vec<Run>> {
        runs::named(&*self.reader()?, name)
    }

    fn run_of_delivery(&self, source: &str, folder: &BStr, name: &BStr, size: u64, mtime: i64) -> Result<Option<Run>> {
        runs::of_delivery(&*self.reader()?, source, folder, name, size, mtime)
    }

    fn wish(&self, run: &str, wish: Option<Wish>) -> Result<()> {
        self.write_unfenced(|work| runs::wish(work, run, wish.as_ref()))
    }

    fn peek_wish(&self, run: &str) -> Result<Option<Wish>> {
        runs::peek_wish(&*self.reader()?, run)
    }

    fn take_wish(&self, fence: Fence, run: &str) -> Result<Option<Wish>> {
        // Asked often and answered with "none" nearly always: look before taking the write lock.
        if runs::peek_wish(&*self.reader()?, run)?.is_none() {
            return Ok(None);
        }
        self.write(fence, |work| {
            let wish = runs::peek_wish(work, run)?;
            runs::wish(work, run, None)?;
            Ok(wish)
        })
    }

    fn set_paused(&self, feed: &str, paused: bool, by: &str, reason: Option<&str>) -> Result<()> {
        self.write_unfenced(|work| pausing::set(work, feed, paused, by, reason))
    }

    fn paused(&self) -> Result<Vec<(String, String, DateTime<Utc>)>> {
        pausing::paused(&*self.reader()?)
    }

    fn pausings(&self) -> Result<Vec<Pausing>> {
        pausing::last(&*self.reader()?)
    }

    fn note_source(&self, source: &str, trouble: Option<&str>) -> Result<()> {
        let now = Utc::now().to_rfc3339();
        self.write_unfenced(|work| {
            match trouble {
                None => work.execute(
                    "INSERT INTO source VALUES (?1, ?2, NULL, NULL)
                     ON CONFLICT(name) DO UPDATE SET listed_at = excluded.listed_at, trouble = NULL, trouble_since = NULL",
                    params![source, now],
                ),
                Some(trouble) => work.execute(
                    "INSERT INTO source VALUES (?1, NULL, ?3, ?2)
                     ON CONFLICT(name) DO UPDATE SET trouble = excluded.trouble, trouble_since = coalesce(trouble_since, ?2)",
                    params![source, now, trouble],
                ),
            }
            .map_err(storage)?;
            Ok(())
        })
    }

    fn source_notes(&self) -> Result<Vec<SourceNote>> {
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT name, listed_at, trouble, trouble_since FROM source ORDER BY name").map_err(storage)?;
        let time = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let rows = statement
            .query_map([], |row| {
                Ok(SourceNote { source: row.get(0)?, listed_at: time(row.get(1)?), trouble: row.get(2)?, trouble_since: time(row.get(3)?) })
            })
            .map_err(storage)?;
        rows.collect::<rusqlite::Result<_>>().map_err(storage)
    }

    fn note_waiting(&self, source: &str, waiting: &[Waiting]) -> Result<()> {
        // Most looks see what the last one saw.
        if waiting::of(&*self.reader()?, Some(source))? == waiting {
            return Ok(());
        }
        self.write_unfenced(|work| waiting::note(work, source, waiting))
    }

    fn waiting(&self, source: Option<&str>) -> Result<Vec<Waiting>> {
        waiting::of(&*self.reader()?, source)
    }

    fn add_rows(&self, fence: Fence, run: &str, rows: &[Row]) -> Result<()> {
        self.write(fence, |work| {
            let run = runs::seq(work, run)?;
            rows::add(work, run, rows)?;
            stamps::add(work, run, rows)
        })
    }

    fn add_problems(&self, fence: Fence, run: &str, number: u64, problems: &[Problem]) -> Result<()> {
        self.write(fence, |work| rows::add_problems(work, runs::seq(work, run)?, number, problems))
    }

    fn clear_rows(&self, fence: Fence, run: &str) -> Result<u64> {
        self.write(fence, |work| rows::clear(work, runs::seq(work, run)?, run))
    }

    fn clear_pending_below(&self, fence: Fence, run: &str, number: u64) -> Result<()> {
        self.write(fence, |work| {
            work.execute(
                "DELETE FROM row WHERE run = ?1 AND outcome IS NULL AND number < ?2
                 AND line IN (SELECT line FROM row WHERE run = ?1 AND (number >= ?2 OR outcome IS NOT NULL))",
                params![runs::seq(work, run)?, number as i64],
            )
            .map_err(storage)?;
            Ok(())
        })
    }

    fn pending_rows(&self, run: &str, from: u64, limit: u64) -> Result<Vec<Row>> {
        let reader = self.reader()?;
        rows::pending(&reader, runs::seq(&reader, run)?, from, limit)
    }

    fn count_pending(&self, run: &str) -> Result<u64> {
        let reader = self.reader()?;
        rows::count_pending(&reader, runs::seq(&reader, run)?)
    }

    fn pending_passes(&self, runs: &[String], each: &mut dyn FnMut(PendingPass<'_>)) -> Result<()> {
        rows::pending_passes(&*self.reader()?, runs, each)
    }

    fn end_rows(&self, fence: Fence, run: &str, account: &str, ends: &[RowEnd], keys: &[KeyEnd]) -> Result<()> {
        self.write(fence, |work| {
            let (run, account) = (runs::seq(work, run)?, baseline::account(work, account)?);
            rows::end(work, run, ends)?;
            keys::end(work, keys)?;
            stamps::keep(work, run, account, ends)?;
            baseline::learn(work, account, ends)
        })
    }

    fn intend(&self, fence: Fence, account: &str, run: &str, intents: &[Intent]) -> Result<Vec<Intended>> {
        self.write(fence, |work| keys::intend(work, account, run, intents))
    }

    fn stamps(&self, account: &str, clock: u16, passes: &[PassKey]) -> Result<HashMap<PassKey, i64>> {
        let reader = self.reader()?;
        match baseline::known_account(&reader, account)? {
            Some(account) => stamps::of(&reader, account, clock, passes),
            None => Ok(HashMap::new()),
        }
    }

    fn keep_stamps_of_unchanged(&self, fence: Fence, run: &str) -> Result<()> {
        self.write(fence, |work| {
            let account: String = work.query_row("SELECT account FROM run WHERE id = ?1", [run], |row| row.get(0)).map_err(storage)?;
            stamps::keep_unchanged(work, runs::seq(work, run)?, baseline::account(work, &account)?)
        })
    }

    fn meet_keys(&self, fence: Fence, keys: &[AddKey]) -> Result<()> {
        self.write(fence, |work| keys::meet(work, keys))
    }

    fn keys(&self, wanted: &[AddKey]) -> Result<Vec<Option<KeyNote>>> {
        let reader = self.reader()?;
        wanted.iter().map(|&key| keys::one(&reader, key)).collect()
    }

    fn keys_of(&self, run: &str, state: KeyState) -> Result<Vec<KeyNote>> {
        keys::of_run(&*self.reader()?, run, state)
    }

    fn keys_of_line(&self, run: &str, line: u64) -> Result<Vec<KeyNote>> {
        keys::of_line(&*self.reader()?, run, line)
    }

    fn doubtful(&self, account: &str, pass: PassKey) -> Result<Option<KeyNote>> {
        keys::doubtful(&*self.reader()?, account, pass)
    }

    fn rows_in_doubt(&self) -> Result<Vec<(String, u64)>> {
        keys::rows_in_doubt(&*self.reader()?)
    }

    fn in_doubt_by_run(&self) -> Result<Vec<(String, u64)>> {
        keys::in_doubt_by_run(&*self.reader()?)
    }

    fn ask_to_settle(&self, run: &str, line: u64, key: AddKey, settlement: &Settlement) -> Result<Option<Settling>> {
        self.write_unfenced(|work| {
            let waiting = keys::asked(work)?.into_iter().find(|settling| settling.is_about(run, line, key));
            if waiting.is_none() {
                keys::ask(work, run, line, key, settlement)?;
            }
            Ok(waiting)
        })
    }

    fn to_settle(&self) -> Result<Vec<Settling>> {
        keys::asked(&*self.reader()?)
    }

    fn settle(&self, fence: Fence, settling: &Settling, account: &str, keys: &[(AddKey, KeyState)], end: Option<&RowEnd>) -> Result<()> {
        self.write(fence, |work| {
            for &(key, state) in keys {
                keys::settle(work, key, state, &settling.settlement)?;
            }
            if let Some(end) = end {
                let ends = std::slice::from_ref(end);
                rows::end(work, runs::seq(work, &settling.run)?, ends)?;
                baseline::learn(work, baseline::account(work, account)?, ends)?;
            }
            Ok(())
        })
    }

    fn answer_settling(&self, fence: Fence, settling: &Settling) -> Result<()> {
        self.write(fence, |work| keys::answered(work, settling.number))
    }

    fn distrust_pending(&self, fence: Fence, run: &str, account: &str) -> Result<u64> {
        self.write(fence, |work| baseline::distrust(work, baseline::account(work, account)?, runs::seq(work, run)?))
    }

    fn end_pending(&self, fence: Fence, run: &str, outcome: Outcome, detail: &RowDetail) -> Result<u64> {
        self.write(fence, |work| {
            let ended = work
                .execute(
                    "UPDATE row SET outcome = ?2, detail = ?3 WHERE run = ?1 AND outcome IS NULL",
                    params![runs::seq(work, run)?, outcome.as_str(), rows::detail_text(detail)],
                )
                .map_err(storage)?;
            Ok(ended as u64)
        })
    }

    fn tally(&self, run: &str) -> Result<Tally> {
        let reader = self.reader()?;
        rows::tally(&reader, runs::seq(&reader, run)?)
    }

    fn rows(&self, run: &str, outcomes: &[Outcome], each: &mut dyn FnMut(Row) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let reader = self.reader()?;
        rows::each(&reader, runs::seq(&reader, run)?, outcomes, each)
    }

    fn touches(&self, account: &str, pass: PassKey, limit: u64) -> Result<Vec<Touch>> {
        rows::touches(&*self.reader()?, account, pass, limit)
    }

    fn field_id(&self, account: &str, name: &str) -> Result<u16> {
        self.write_unfenced(|work| baseline::field_id(work, account, name))
    }

    fn field_names(&self, account: &str) -> Result<Vec<(u16, String)>> {
        baseline::field_names(&*self.reader()?, account)
    }

    fn baseline_count(&self, account: &str) -> Result<u64> {
        baseline::count(&*self.reader()?, account)
    }

    fn baseline_range(&self, account: &str, from: PassKey, to: PassKey, each: &mut dyn FnMut(Known)) -> Result<()> {
        baseline::range(&*self.reader()?, account, from, to, each)
    }

    fn baseline_of(&self, account: &str, passes: &[PassKey]) -> Result<Vec<Known>> {
        baseline::of(&*self.reader()?, account, passes)
    }

    fn seed(&self, fence: Fence, account: &str, passes: &[Known]) -> Result<()> {
        self.write(fence, |work| baseline::put(work, baseline::account(work, account)?, passes))
    }

    fn check(&self) -> Result<Vec<String>> {
        let check = || -> Result<Vec<String>> {
            let reader = self.reader()?;
            let mut statement = reader.prepare("PRAGMA quick_check(20)").map_err(storage)?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0)).map_err(storage)?;
            lines.collect::<rusqlite::Result<_>>().map_err(storage)
        };
        let found = check().map_err(|error| examined(error, &self.path))?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}

#[cfg(test)]
mod tests;
