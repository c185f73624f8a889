//! Tables and their migrations.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::super::keeping::OLD_FORMAT;
use super::super::{LedgerError, Result};
use super::storage;

/// Marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x7061_7373;

/// One step a version; the ledger's format is their number. Steps are never changed once released.
const STEPS: &[&str] = &[
    r"
    CREATE TABLE lead(fence INTEGER NOT NULL) STRICT;
    INSERT INTO lead VALUES (0);

    CREATE TABLE run(
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,
        id      TEXT NOT NULL UNIQUE,
        feed    TEXT NOT NULL,
        account TEXT NOT NULL,
        source  TEXT NOT NULL,
        folder  BLOB NOT NULL,
        name    BLOB NOT NULL,
        size    INTEGER NOT NULL,
        mtime   INTEGER NOT NULL,
        state   TEXT NOT NULL,
        kind    TEXT NOT NULL,
        parent  TEXT,
        sha256  TEXT,
        detail  TEXT NOT NULL,
        wish    TEXT
    ) STRICT;
    CREATE INDEX run_state ON run(state);
    CREATE INDEX run_feed ON run(feed, seq);
    CREATE INDEX run_name ON run(name);

    -- Unchanged rows are not here. Numbers follow the order of writing, which for rows with a pass is the order of pass keys:
    -- that keeps this table, its index and the baseline append-mostly.
    CREATE TABLE row(
        run       INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
        number    INTEGER NOT NULL,
        record    INTEGER NOT NULL,
        line      INTEGER NOT NULL,
        offset    INTEGER NOT NULL,
        length    INTEGER NOT NULL,
        pass_high INTEGER,
        pass_low  INTEGER,
        verb      TEXT NOT NULL,
        mask      INTEGER NOT NULL,
        deferred  INTEGER NOT NULL,
        outcome   TEXT,
        detail    TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX row_pass ON row(pass_high, run, number) WHERE pass_high IS NOT NULL;

    CREATE TABLE field(
        account TEXT NOT NULL,
        id      INTEGER NOT NULL,
        name    TEXT NOT NULL,
        PRIMARY KEY (account, id),
        UNIQUE (account, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE account(
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;

    -- No identifier and no value: digests only.
    CREATE TABLE baseline(
        account   INTEGER NOT NULL REFERENCES account(id),
        pass_high INTEGER NOT NULL,
        pass_low  INTEGER NOT NULL,
        fields    BLOB NOT NULL,
        PRIMARY KEY (account, pass_high, pass_low)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE paused(
        feed TEXT PRIMARY KEY,
        by   TEXT NOT NULL,
        at   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE source(
        name          TEXT PRIMARY KEY,
        listed_at     TEXT,
        trouble       TEXT,
        trouble_since TEXT
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- Which of a row's adds are still to be sent, one bit each.
    ALTER TABLE row ADD COLUMN adds INTEGER NOT NULL DEFAULT 0;

    -- Keys of adds outlive their runs. The intent is written before the request leaves.
    CREATE TABLE add_key(
        row_key   BLOB NOT NULL,
        kind      TEXT NOT NULL,
        account   TEXT NOT NULL,
        pass_high INTEGER NOT NULL,
        pass_low  INTEGER NOT NULL,
        run       TEXT NOT NULL,
        line      INTEGER NOT NULL,
        amount    TEXT NOT NULL,
        print     INTEGER NOT NULL,
        state     TEXT NOT NULL,
        at        TEXT NOT NULL,
        evidence  TEXT NOT NULL,
        before    TEXT,
        settled   TEXT,
        PRIMARY KEY (row_key, kind)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX add_key_doubt ON add_key(account, pass_high, pass_low) WHERE state = 'in-doubt';
    CREATE INDEX add_key_run ON add_key(run, line);

    -- Decisions of people that wait for whoever leads.
    CREATE TABLE settling(
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        run        TEXT NOT NULL,
        line       INTEGER NOT NULL,
        settlement TEXT NOT NULL
    ) STRICT;
",
    r"
    -- Reports of runs that this ledger never knew, and that somebody looked at before rows that add went on.
    CREATE TABLE accepted_report(
        run TEXT PRIMARY KEY,
        by  TEXT NOT NULL,
        at  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- When the state was true that a row brings, and the newest that was applied to a pass: exact, unlike the baseline, which may be forgotten.
    CREATE TABLE row_stamp(
        run    INTEGER NOT NULL,
        number INTEGER NOT NULL,
        clock  INTEGER NOT NULL,
        at     INTEGER NOT NULL,
        PRIMARY KEY (run, number),
        FOREIGN KEY (run, number) REFERENCES row(run, number) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE stamp(
        account   INTEGER NOT NULL REFERENCES account(id),
        clock     INTEGER NOT NULL,
        pass_high INTEGER NOT NULL,
        pass_low  INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        PRIMARY KEY (account, clock, pass_high, pass_low)
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- When a later file had the same add again: a key is kept as long as exports repeat it.
    ALTER TABLE add_key ADD COLUMN met TEXT;
",
    r"
    -- What has not come, or waits for what has not, as each source was last seen.
    CREATE TABLE waiting(
        source TEXT NOT NULL,
        feed   TEXT NOT NULL,
        what   TEXT NOT NULL,
        words  TEXT NOT NULL,
        alert  INTEGER NOT NULL,
        since  TEXT NOT NULL,
        PRIMARY KEY (source, feed, what)
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- Rows that a person looks for, page by page. The others, the many, cost nothing here.
    CREATE INDEX IF NOT EXISTS row_person ON row(run, outcome, record)
        WHERE outcome IN ('rejected', 'unresolved', 'refused', 'in-doubt', 'not-attempted');
",
    r"
    -- Runs that ended and that nobody was told of yet; written with the end itself. Where nobody is told of anything they are not kept for ever.
    CREATE TABLE ending(
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run    TEXT NOT NULL,
        state  TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER run_ends AFTER UPDATE OF state ON run
    WHEN NEW.state <> OLD.state AND NEW.state IN ('done', 'done-in-doubt', 'failed', 'stopped') BEGIN
        INSERT INTO ending(run, state) VALUES (NEW.id, NEW.state);
        DELETE FROM ending WHERE number <= (SELECT max(number) FROM ending) - 10000;
    END;

    -- What stands and must be told once, as each way out knows it.
    CREATE TABLE standing(
        way   TEXT NOT NULL,
        key   TEXT NOT NULL,
        mark  TEXT NOT NULL,
        since TEXT NOT NULL,
        told  TEXT,
        PRIMARY KEY (way, key)
    ) STRICT, WITHOUT ROWID;

    -- Messages to people.
    CREATE TABLE letter(
        id      TEXT PRIMARY KEY,
        way     TEXT NOT NULL,
        at      TEXT NOT NULL,
        body    TEXT NOT NULL,
        passage TEXT NOT NULL,
        tries   INTEGER NOT NULL,
        next    TEXT NOT NULL,
        fault   TEXT,
        ended   TEXT
    ) STRICT;
    CREATE INDEX letter_passage ON letter(passage, way, ended);

    -- Until when the digests of a way out have told.
    CREATE TABLE digested(
        way   TEXT PRIMARY KEY,
        until TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- A run that somebody settles rows of is reported again; it ended before, and whoever had to know of it does.
    DROP TRIGGER run_ends;
    CREATE TRIGGER run_ends AFTER UPDATE OF state ON run
    WHEN NEW.state <> OLD.state AND NEW.state IN ('done', 'done-in-doubt', 'failed', 'stopped')
        AND json_extract(OLD.detail, '$.told.end') IS NULL BEGIN
        INSERT INTO ending(run, state) VALUES (NEW.id, NEW.state);
        DELETE FROM ending WHERE number <= (SELECT max(number) FROM ending) - 10000;
    END;

    -- When ways out were first known: what ended before is no news there.
    CREATE TABLE met(
        way   TEXT PRIMARY KEY,
        since TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    r"
    -- A later run took the row up, corrected or tried again: what is left to do of it stands there.
    ALTER TABLE row ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
    UPDATE row SET taken = 1
    WHERE run IN (SELECT parent.seq FROM run AS child JOIN run AS parent ON parent.id = child.parent
                  WHERE child.kind = 'retry' AND child.state = 'done')
      AND outcome IN ('rejected', 'unresolved', 'refused', 'in-doubt', 'not-attempted')
      AND (run, record) IN (SELECT parent.seq, picked.value FROM run AS child JOIN run AS parent ON parent.id = child.parent,
                            json_each(child.detail, '$.picked') AS picked WHERE child.kind = 'retry' AND child.state = 'done');

    -- Each time that somebody paused a feed or let it go on, and why.
    CREATE TABLE pausing(
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        feed   TEXT NOT NULL,
        paused INTEGER NOT NULL,
        by     TEXT NOT NULL,
        reason TEXT,
        at     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX pausing_feed ON pausing(feed, number);
",
];

/// Sets the connection up. `synchronous = FULL`: an outcome that was acknowledged survives a power cut. `secure_delete`: what is deleted
/// is overwritten, since rows may quote personal values.
pub fn prepare(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -16384; PRAGMA temp_store = FILE; PRAGMA wal_autocheckpoint = 4000; PRAGMA secure_delete = ON;",
        )
        .map_err(storage)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Brings the tables to this program's format, in one transaction. A newer format is refused. A ledger of an older format is copied
/// beside it first: [`old_format`] is what the program that wrote it can be started with again.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    migrate_by(connection, path, STEPS)
}

pub fn migrate_by(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<()> {
    let known = steps.len() as u32;
    let found = format(connection)?;
    if found > known {
        return Err(LedgerError::TooNew { found, known });
    }
    if found == known {
        return Ok(());
    }
    let work = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(storage)?;
    // Another process may have migrated while this one waited for the lock.
    let found = format(&work)?;
    if (1..known).contains(&found) {
        // Nobody writes now, and a connection that writes cannot be copied from.
        let reader = Connection::open(path).map_err(storage)?;
        super::keeping::copy_over(&reader, &old_format(path, found))?;
    }
    for step in &steps[found as usize..] {
        work.execute_batch(step).map_err(storage)?;
    }
    work.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known};")).map_err(storage)?;
    work.commit().map_err(storage)
}

/// Where a ledger is copied to before its format changes.
pub fn old_format(ledger: &Path, format: u32) -> PathBuf {
    ledger.with_file_name(format!("{OLD_FORMAT}{format}.sqlite"))
}

fn format(connection: &Connection) -> Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(storage)
}
