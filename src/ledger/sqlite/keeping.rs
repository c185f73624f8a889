//! Backups, deletion, and writing the file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::backup::Backup;
use rusqlite::{Connection, params};

use super::super::keeping::{Audit, Forgotten, Keeping, Mention, Removed, Texts};
use super::super::{Fence, LedgerError, Result, Run};
use super::{Sqlite, audit, runs, signed, storage};
use crate::outcome::Outcome;
use crate::row::PassKey;
use crate::source::folder::rename_new;

impl Keeping for Sqlite {
    fn audit(&self, keys_since: DateTime<Utc>) -> Result<Audit> {
        let mut reader = self.reader()?;
        // One read transaction: whatever others write meanwhile, all that is looked at is of one moment.
        let moment = reader.transaction().map_err(storage)?;
        audit::audit(&moment, keys_since)
    }

    fn backup(&self, to: &Path) -> Result<u64> {
        let reader = self.reader()?;
        copy(&reader, to)
    }

    fn remove_details(&self, fence: Fence, run: &str, limit: u64) -> Result<u64> {
        self.write(fence, |work| {
            let changed = work
                .execute(
                    "UPDATE row SET detail = '' WHERE run = ?1 AND number IN
                     (SELECT number FROM row WHERE run = ?1 AND detail <> '' AND outcome IS NOT ?2 LIMIT ?3)",
                    params![runs::seq(work, run)?, Outcome::InDoubt.as_str(), limit as i64],
                )
                .map_err(storage)?;
            Ok(changed as u64)
        })
    }

    fn remove_words(&self, fence: Fence, run: &str, removed: &Removed) -> Result<()> {
        self.write(fence, |work| {
            change(work, run, |run| {
                run.detail.remove_words();
                run.detail.removed = Some(removed.clone());
            })?;
            // What is not decided needs all that is known of it.
            work.execute(
                "UPDATE add_key SET amount = '', evidence = '', before = NULL WHERE run = ?1 AND state IN ('applied', 'not-applied')",
                [run],
            )
            .map_err(storage)?;
            Ok(())
        })
    }

    fn remove_keys(&self, fence: Fence, before: DateTime<Utc>, limit: u64) -> Result<u64> {
        self.write(fence, |work| {
            let removed = work
                .execute(
                    "DELETE FROM add_key WHERE (row_key, kind) IN
                     (SELECT row_key, kind FROM add_key WHERE julianday(coalesce(met, at)) < julianday(?1) AND state IN ('applied', 'not-applied') LIMIT ?2)",
                    params![before.to_rfc3339(), limit as i64],
                )
                .map_err(storage)?;
            Ok(removed as u64)
        })
    }

    fn note_removed(&self, fence: Fence, run: &str, removed: &Removed) -> Result<()> {
        self.write(fence, |work| {
            change(work, run, |run| {
                run.detail.removed.get_or_insert_with(|| removed.clone());
            })
        })
    }

    fn mentions(&self, passes: &[PassKey], texts: &Texts) -> Result<Vec<Mention>> {
        let mut reader = self.reader()?;
        let moment = reader.transaction().map_err(storage)?;
        mentions(&moment, passes, texts)
    }

    fn forget(&self, fence: Fence, passes: &[PassKey], texts: &Texts) -> Result<Forgotten> {
        self.write(fence, |work| forget(work, passes, texts))
    }

    fn accepted_reports(&self) -> Result<Vec<String>> {
        let reader = self.reader()?;
        let mut select = reader.prepare_cached("SELECT run FROM accepted_report").map_err(storage)?;
        let runs = select.query_map([], |row| row.get(0)).map_err(storage)?;
        runs.collect::<rusqlite::Result<_>>().map_err(storage)
    }

    fn accept_reports(&self, fence: Fence, runs: &[String], by: &str) -> Result<()> {
        self.write(fence, |work| {
            let mut insert = work.prepare("INSERT INTO accepted_report VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING").map_err(storage)?;
            let now = Utc::now().to_rfc3339();
            for run in runs {
                insert.execute(params![run, by, now]).map_err(storage)?;
            }
            Ok(())
        })
    }

    fn compact(&self) -> Result<()> {
        // Readers of this process would keep the log from being emptied.
        self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        let writer = self.writer();
        writer.execute_batch("VACUUM").map_err(storage)?;
        if empty_log(&writer).map_err(storage)? {
            return Ok(());
        }
        Err(LedgerError::Storage("the log of the ledger cannot be emptied: another program keeps reading".into()))
    }
}

/// Writes the log into the file and cuts it to nothing. Another process that reads just now keeps it from that; it is asked a few times.
/// False where that did not help.
pub fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    for _ in 0..20 {
        // What keeps it is no error to SQLite, but an answer.
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(false)
}

/// Copies what the connection reads to a path that nothing has. Under its name the copy is whole, durable and verified.
pub fn copy(from: &Connection, to: &Path) -> Result<u64> {
    let fault = |error: io::Error| LedgerError::Storage(format!("the backup {}: {error}", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(fault(io::ErrorKind::AlreadyExists.into()));
    }
    let temporary = temporary_of(to);
    let result = copy_to(from, &temporary).and_then(|bytes| {
        rename_new(&temporary, to).map_err(fault)?;
        crate::spool::sync_folder(folder_of(to)).map_err(fault)?;
        Ok(bytes)
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// As [`copy`], in place of an older copy: there is always one of them, whole.
pub fn copy_over(from: &Connection, to: &Path) -> Result<u64> {
    let new = to.with_extension("new");
    let fault = |error: io::Error| LedgerError::Storage(format!("the backup {}: {error}", to.display()));
    let bytes = copy_to(from, &new)?;
    fs::rename(&new, to).map_err(fault)?;
    crate::spool::sync_folder(folder_of(to)).map_err(fault)?;
    Ok(bytes)
}

fn copy_to(from: &Connection, temporary: &Path) -> Result<u64> {
    let fault = |error: io::Error| LedgerError::Storage(format!("the backup {}: {error}", temporary.display()));
    // A copy that was cut off; two at once would be for the same name, of which one fails at the end.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(temporary).map_err(fault)?;
    let mut copy = Connection::open(temporary).map_err(storage)?;
    // Not needed while it is nobody's ledger: it is synchronised as a whole below.
    copy.execute_batch("PRAGMA synchronous = OFF").map_err(storage)?;
    // All pages in one step are of one moment, and writers do not make it begin anew.
    Backup::new(from, &mut copy).and_then(|backup| backup.step(-1)).map_err(storage)?;
    // One file, that can be copied by itself; the ledger that is made of it goes back to its log by itself.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0)).map_err(storage)?;
    let sound: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(storage)?;
    if sound != "ok" {
        return Err(LedgerError::Damaged { path: "the copy, or the ledger itself,".into(), what: sound });
    }
    copy.close().map_err(|(_, error)| storage(error))?;
    let file = File::open(temporary).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    Ok(file.metadata().map_err(fault)?.len())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    folder_of(path).join(name)
}

fn change(work: &Connection, run: &str, change: impl FnOnce(&mut Run)) -> Result<()> {
    let mut found = runs::by_id(work, run)?.ok_or_else(|| LedgerError::NoRun(run.to_owned()))?;
    change(&mut found);
    runs::save(work, &found)
}

/// Runs (by number) whose rows quote one of the texts, with those rows.
fn quoting_rows(connection: &Connection, texts: &Texts) -> Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare("SELECT run, number, detail FROM row WHERE detail <> ''").map_err(storage)?;
    let mut rows = statement.query([]).map_err(storage)?;
    let mut quoting = Vec::new();
    while let Some(row) = rows.next().map_err(storage)? {
        if texts.are_in(row.get_ref(2).and_then(|text| Ok(text.as_bytes()?)).map_err(storage)?) {
            quoting.push((row.get(0).map_err(storage)?, row.get(1).map_err(storage)?));
        }
    }
    Ok(quoting)
}

/// Takes out what keys of other passes say in words that quote one of the texts.
fn quoting_keys(work: &Connection, texts: &Texts) -> Result<()> {
    let mut select = work
        .prepare("SELECT row_key, kind, evidence || ' ' || coalesce(settled, '') FROM add_key WHERE evidence <> '' OR settled <> ''")
        .map_err(storage)?;
    let mut quoting: Vec<([u8; 16], String)> = Vec::new();
    let mut rows = select.query([]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        if texts.are_in(row.get_ref(2).and_then(|text| Ok(text.as_bytes()?)).map_err(storage)?) {
            quoting.push((row.get(0).map_err(storage)?, row.get(1).map_err(storage)?));
        }
    }
    for (key, kind) in quoting {
        work.execute("UPDATE add_key SET evidence = '', settled = NULL WHERE row_key = ?1 AND kind = ?2", params![key, kind])
            .map_err(storage)?;
    }
    Ok(())
}

/// Runs whose own words quote one of the texts.
fn quoting_runs(connection: &Connection, texts: &Texts) -> Result<Vec<i64>> {
    let mut statement = connection.prepare("SELECT seq, detail, coalesce(wish, '') FROM run").map_err(storage)?;
    let mut rows = statement.query([]).map_err(storage)?;
    let mut quoting = Vec::new();
    while let Some(row) = rows.next().map_err(storage)? {
        for column in [1, 2] {
            if texts.are_in(row.get_ref(column).and_then(|text| Ok(text.as_bytes()?)).map_err(storage)?) {
                quoting.push(row.get(0).map_err(storage)?);
                break;
            }
        }
    }
    Ok(quoting)
}

fn mentions(connection: &Connection, passes: &[PassKey], texts: &Texts) -> Result<Vec<Mention>> {
    let mut found: BTreeMap<i64, (BTreeSet<i64>, bool)> = BTreeMap::new();
    let mut about =
        connection.prepare("SELECT run, number, outcome IS ?3 FROM row WHERE pass_high = ?1 AND pass_low = ?2").map_err(storage)?;
    for pass in passes {
        let mut rows = about.query(params![signed(pass.high()), signed(pass.low()), Outcome::InDoubt.as_str()]).map_err(storage)?;
        while let Some(row) = rows.next().map_err(storage)? {
            let of_run = found.entry(row.get(0).map_err(storage)?).or_default();
            of_run.0.insert(row.get(1).map_err(storage)?);
            of_run.1 |= row.get::<_, bool>(2).map_err(storage)?;
        }
    }
    let mut undecided = connection
        .prepare(
            "SELECT run.seq FROM add_key JOIN run ON run.id = add_key.run
             WHERE pass_high = ?1 AND pass_low = ?2 AND add_key.state IN ('in-doubt', 'intended')",
        )
        .map_err(storage)?;
    for pass in passes {
        let mut rows = undecided.query(params![signed(pass.high()), signed(pass.low())]).map_err(storage)?;
        while let Some(row) = rows.next().map_err(storage)? {
            found.entry(row.get(0).map_err(storage)?).or_default().1 = true;
        }
    }
    for (run, number) in quoting_rows(connection, texts)? {
        found.entry(run).or_default().0.insert(number);
    }
    for run in quoting_runs(connection, texts)? {
        found.entry(run).or_default();
    }
    let mut mentions = Vec::new();
    for (seq, (rows, in_doubt)) in found {
        mentions.extend(runs::by_seq(connection, seq)?.map(|run| Mention { run, rows: rows.len() as u64, in_doubt }));
    }
    Ok(mentions)
}

fn forget(work: &Connection, passes: &[PassKey], texts: &Texts) -> Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    let mut rows = work
        .prepare("UPDATE row SET pass_high = NULL, pass_low = NULL, detail = '' WHERE pass_high = ?1 AND pass_low = ?2")
        .map_err(storage)?;
    let mut baselines = work.prepare("DELETE FROM baseline WHERE pass_high = ?1 AND pass_low = ?2").map_err(storage)?;
    let mut stamps = work.prepare("DELETE FROM stamp WHERE pass_high = ?1 AND pass_low = ?2").map_err(storage)?;
    for pass in passes {
        let halves = params![signed(pass.high()), signed(pass.low())];
        stamps.execute(halves).map_err(storage)?;
        forgotten.rows += rows.execute(halves).map_err(storage)? as u64;
        forgotten.baselines += baselines.execute(halves).map_err(storage)? as u64;
    }
    // The keys themselves are digests. Their passes are told by 0 from now on, which is nobody's.
    let mut keys = work
        .prepare(
            "UPDATE add_key SET pass_high = ?3, pass_low = ?3, amount = '', evidence = '', before = NULL, settled = NULL
             WHERE pass_high = ?1 AND pass_low = ?2",
        )
        .map_err(storage)?;
    for pass in passes {
        forgotten.keys += keys.execute(params![signed(pass.high()), signed(pass.low()), signed(0)]).map_err(storage)? as u64;
    }
    quoting_keys(work, texts)?;
    let mut quoting = work.prepare("UPDATE row SET detail = '' WHERE run = ?1 AND number = ?2").map_err(storage)?;
    for (run, number) in quoting_rows(work, texts)? {
        forgotten.rows += quoting.execute([run, number]).map_err(storage)? as u64;
    }
    for seq in quoting_runs(work, texts)? {
        if let Some(mut run) = runs::by_seq(work, seq)? {
            run.detail.remove_words();
            runs::save(work, &run)?;
            runs::wish(work, &run.id, None)?;
            forgotten.runs += 1;
        }
    }
    Ok(forgotten)
}
