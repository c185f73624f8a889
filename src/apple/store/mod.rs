//! The passes of one account, the phones that hold them, and what those are still to be told: one SQLite file.
//!
//! Desk, web service, pusher and commands each open it for themselves. A change of a pass, its new tag and the pushes owed for it are one
//! transaction, and what a call answers is on the disk.

mod keeping;
mod phones;
mod pushes;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::Value as Json;

use crate::space::Trouble;
pub use keeping::Forgotten;
pub use phones::{Changed, Registered, Unregistered};
pub use pushes::{Halt, Owed};

/// Marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x7061_6170;
/// The form of the tables (`PRAGMA user_version`).
const FORMAT: i32 = 1;
/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(10);

const TABLES: &str = r"
    CREATE TABLE pass(
        serial      TEXT PRIMARY KEY,
        external_id TEXT,
        token       TEXT NOT NULL,
        data        TEXT NOT NULL,
        tag         INTEGER NOT NULL,
        modified    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX pass_external ON pass(external_id) WHERE external_id IS NOT NULL;

    -- The last tag given; never less than one given before.
    CREATE TABLE sequence(tag INTEGER NOT NULL) STRICT;
    INSERT INTO sequence VALUES (0);

    CREATE TABLE device(
        id         TEXT PRIMARY KEY,
        push_token TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX device_token ON device(push_token);

    CREATE TABLE registration(
        device TEXT NOT NULL,
        serial TEXT NOT NULL,
        at     INTEGER NOT NULL,
        PRIMARY KEY (device, serial)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX registration_pass ON registration(serial, at);

    -- One a token, however many passes changed: the phone asks which.
    CREATE TABLE push(
        token      TEXT PRIMARY KEY,
        tag        INTEGER NOT NULL,
        tries      INTEGER NOT NULL DEFAULT 0,
        not_before INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;

    -- Why pushes stand still until somebody acts.
    CREATE TABLE halt(reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;

    -- The token that pushes prove themselves by: a new one more often than every 20 minutes is refused, whoever asks.
    CREATE TABLE bearer(token TEXT NOT NULL, signer TEXT NOT NULL, at INTEGER NOT NULL) STRICT;

    -- Adds that were carried out, by their key. Digests alone.
    CREATE TABLE added(
        key   TEXT PRIMARY KEY,
        print INTEGER NOT NULL,
        at    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store of passes {path} is in use by somebody else")]
    Busy { path: String },
    #[error("the store of passes {path}: {what}")]
    Disk { path: String, trouble: Trouble, what: String },
    #[error("the store of passes {path}: {what}")]
    Other { path: String, what: String },
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// A pass as it is kept. Type, team, serial number, token and address of the service are put into its package, not kept in `data`.
#[derive(Clone, PartialEq)]
pub struct Pass {
    pub serial: String,
    /// What the customer's systems know it by.
    pub external_id: Option<String>,
    /// Proves to the service that a phone holds the pass.
    pub token: String,
    /// `pass.json`, with every key it came with.
    pub data: Json,
    /// Rises with every change of any pass.
    pub tag: i64,
    /// Seconds since 1970, at least one more with every change of this pass.
    pub modified: i64,
}

/// The passes of one account.
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the store, and makes it where there is none.
    pub fn open(path: &Path) -> Result<Store> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let other = |what: String| StoreError::Other { path: path.display().to_string(), what };
        crate::spool::private_folder(folder).map_err(|error| other(format!("its folder cannot be made: {error}")))?;
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(|error| other(format!("cannot be opened: {error}")))?;
        let open = || -> rusqlite::Result<(Connection, i32)> {
            let mut connection = Connection::open(path)?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // What is forgotten is to be gone from the file.
            connection.pragma_update(None, "secure_delete", "ON")?;
            let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let format: i32 = work.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if format == 0 {
                work.execute_batch(TABLES)?;
                work.pragma_update(None, "application_id", APPLICATION_ID)?;
                work.pragma_update(None, "user_version", FORMAT)?;
            }
            work.commit()?;
            Ok((connection, format))
        };
        let (connection, format) = open().map_err(|error| fault(path, &error))?;
        if format > FORMAT {
            return Err(other(format!("is of format {format}, and this passferry knows {FORMAT}: a newer one wrote it")));
        }
        Ok(Store { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads; all of it as of one moment.
    pub fn read<T>(&self, work: impl FnOnce(&Work<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.transact(TransactionBehavior::Deferred, work)
    }

    /// Writes; all of it or nothing, and on the disk when this returns.
    pub fn write<T>(&self, work: impl FnOnce(&Work<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.transact(TransactionBehavior::Immediate, work)
    }

    fn transact<T>(&self, behaviour: TransactionBehavior, work: impl FnOnce(&Work<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let run = |connection: &mut Connection| {
            let transaction = Work(connection.transaction_with_behavior(behaviour)?);
            let result = work(&transaction)?;
            transaction.0.commit()?;
            Ok(result)
        };
        run(&mut connection).map_err(|error| fault(&self.path, &error))
    }
}

fn fault(path: &Path, error: &rusqlite::Error) -> StoreError {
    let shown = path.display().to_string();
    if matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)) {
        return StoreError::Busy { path: shown };
    }
    match Trouble::of_sqlite(error) {
        Some(Trouble::Unsure) => {
            let trouble = crate::space::examine(path.parent().unwrap_or(path));
            StoreError::Disk { path: shown, trouble, what: error.to_string() }
        }
        Some(trouble) => StoreError::Disk { path: shown, trouble, what: error.to_string() },
        None => StoreError::Other { path: shown, what: error.to_string() },
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A transaction.
pub struct Work<'c>(Transaction<'c>);

const PASS: &str = "SELECT serial, external_id, token, data, tag, modified FROM pass";

fn pass_of(row: &Row<'_>) -> rusqlite::Result<Pass> {
    let data: String = row.get(3)?;
    let data = serde_json::from_str(&data)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Pass { serial: row.get(0)?, external_id: row.get(1)?, token: row.get(2)?, data, tag: row.get(4)?, modified: row.get(5)? })
}

impl Work<'_> {
    pub fn pass(&self, serial: &str) -> rusqlite::Result<Option<Pass>> {
        self.0.prepare_cached(&format!("{PASS} WHERE serial = ?1"))?.query_row([serial], pass_of).optional()
    }

    /// Serial numbers of the passes that carry this identifier.
    pub fn serials_of(&self, external_id: &str) -> rusqlite::Result<Vec<String>> {
        let mut find = self.0.prepare_cached("SELECT serial FROM pass WHERE external_id = ?1 ORDER BY serial")?;
        find.query_map([external_id], |row| row.get(0))?.collect()
    }

    /// So many passes behind this serial number, in the order of serial numbers.
    pub fn passes_behind(&self, serial: &str, count: usize) -> rusqlite::Result<Vec<Pass>> {
        let mut list = self.0.prepare_cached(&format!("{PASS} WHERE serial > ?1 ORDER BY serial LIMIT ?2"))?;
        list.query_map(params![serial, count as i64], pass_of)?.collect()
    }

    /// Passes from this one on, counted in the order of serial numbers.
    pub fn page(&self, offset: u64, count: usize) -> rusqlite::Result<Vec<Pass>> {
        let mut list = self.0.prepare_cached(&format!("{PASS} ORDER BY serial LIMIT ?2 OFFSET ?1"))?;
        list.query_map(params![offset as i64, count as i64], pass_of)?.collect()
    }

    pub fn count(&self) -> rusqlite::Result<u64> {
        self.0.query_row("SELECT count(*) FROM pass", [], |row| row.get::<_, i64>(0)).map(|count| count as u64)
    }

    /// The next tag: the time, and more than any before. After a copy of the store was put back, tags go on behind those that phones hold.
    fn next_tag(&self, now: i64) -> rusqlite::Result<i64> {
        let mut next = self.0.prepare_cached("UPDATE sequence SET tag = max(tag + 1, ?1) RETURNING tag")?;
        next.query_row([now], |row| row.get(0))
    }

    /// Puts a new pass in. False where the serial number is taken; then nothing was changed.
    pub fn insert(&self, serial: &str, external_id: Option<&str>, token: &str, data: &Json, now: i64) -> rusqlite::Result<bool> {
        if self.pass(serial)?.is_some() {
            return Ok(false);
        }
        let tag = self.next_tag(now)?;
        let mut insert =
            self.0.prepare_cached("INSERT INTO pass(serial, external_id, token, data, tag, modified) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        insert.execute(params![serial, external_id, token, data.to_string(), tag, rounded_up(now)])?;
        Ok(true)
    }

    /// Keeps what a pass has become, and owes a push to every phone that holds it. To be called for real changes alone.
    pub fn change(&self, pass: &Pass, now: i64) -> rusqlite::Result<()> {
        let tag = self.next_tag(now)?;
        // Dates of HTTP have seconds: a phone that fetched between two changes of one second would be told that nothing is new.
        let modified = rounded_up(now).max(pass.modified + 1);
        let mut update = self.0.prepare_cached("UPDATE pass SET data = ?2, tag = ?3, modified = ?4 WHERE serial = ?1")?;
        update.execute(params![pass.serial, pass.data.to_string(), tag, modified])?;
        self.owe_pushes(&pass.serial, tag)
    }

    /// The print that an add with this key was carried out with.
    pub fn added(&self, key: &str) -> rusqlite::Result<Option<u64>> {
        let mut find = self.0.prepare_cached("SELECT print FROM added WHERE key = ?1")?;
        find.query_row([key], |row| row.get::<_, i64>(0)).optional().map(|print| print.map(|print| print as u64))
    }

    pub fn note_added(&self, key: &str, print: u64, now: i64) -> rusqlite::Result<()> {
        self.0.execute("INSERT INTO added(key, print, at) VALUES (?1, ?2, ?3)", params![key, print as i64, now]).map(drop)
    }
}

/// Seconds, never before the moment.
const fn rounded_up(ms: i64) -> i64 {
    (ms + 999) / 1000
}
