//! Copies, looks and deletions that are not on the road of a file.

use std::path::Path;

use rusqlite::params;

use super::{PASS, Result, Store, StoreError, Work, fault, pass_of};
use crate::apple::pass::layout;

/// What was forgotten of passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub passes: u64,
    pub registrations: u64,
}

impl Work<'_> {
    /// Deletes the passes that carry one of these identifiers, as external ID or as serial number, and who holds them.
    pub fn forget(&self, identifiers: &[String]) -> rusqlite::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        for identifier in identifiers {
            let mut serials = self.serials_of(identifier)?;
            serials.extend(self.pass(identifier)?.map(|pass| pass.serial));
            serials.dedup();
            for serial in serials {
                let mut find = self.0.prepare_cached("SELECT device FROM registration WHERE serial = ?1")?;
                let devices: Vec<String> = find.query_map([&serial], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                for device in &devices {
                    self.remove_registration(device, &serial)?;
                }
                forgotten.registrations += devices.len() as u64;
                forgotten.passes += self.0.execute("DELETE FROM pass WHERE serial = ?1", [&serial])? as u64;
            }
        }
        Ok(forgotten)
    }

    /// Deletes keys of adds from before this time, at most so many.
    pub fn remove_keys(&self, before: i64, limit: u64) -> rusqlite::Result<u64> {
        let mut delete = self.0.prepare_cached("DELETE FROM added WHERE key IN (SELECT key FROM added WHERE at < ?1 LIMIT ?2)")?;
        delete.execute(params![before, limit as i64]).map(|count| count as u64)
    }

    /// What does not fit together, in words.
    pub fn faults(&self) -> rusqlite::Result<Vec<String>> {
        let mut faults = Vec::new();
        let mut check = self.0.prepare("PRAGMA integrity_check(10)")?;
        let words: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        faults.extend(words.into_iter().filter(|word| word != "ok"));
        let counts: [(&str, &str); 4] = [
            (
                "SELECT count(*) FROM registration WHERE device NOT IN (SELECT id FROM device)",
                "registrations are of devices that are not there",
            ),
            (
                "SELECT count(*) FROM registration WHERE serial NOT IN (SELECT serial FROM pass)",
                "registrations are of passes that are not there",
            ),
            ("SELECT count(*) FROM push WHERE token NOT IN (SELECT push_token FROM device)", "pushes are owed to tokens of no device"),
            ("SELECT count(*) FROM pass WHERE tag > (SELECT tag FROM sequence)", "passes have tags that were not given yet"),
        ];
        for (question, words) in counts {
            let count: i64 = self.0.query_row(question, [], |row| row.get(0))?;
            if count > 0 {
                faults.push(format!("{count} {words}"));
            }
        }
        let mut unreadable = 0_u64;
        let mut all = self.0.prepare(PASS)?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            unreadable += u64::from(pass_of(row).ok().is_none_or(|pass| layout(&pass.data).is_err()));
        }
        if unreadable > 0 {
            faults.push(format!("{unreadable} passes are not such as can be packed"));
        }
        Ok(faults)
    }
}

impl Store {
    /// Copies the store as of one moment to a path that nothing has. Answers the copy's bytes.
    pub fn backup(&self, to: &Path) -> Result<u64> {
        let other = |error: &dyn std::fmt::Display| StoreError::Other { path: self.path.display().to_string(), what: error.to_string() };
        crate::ledger::copy_database(&self.lock(), to).map_err(|error| other(&error))
    }

    /// Writes the file anew, without what was deleted from it.
    pub fn compact(&self) -> Result<()> {
        let connection = self.lock();
        let emptied = connection.execute_batch("VACUUM").and_then(|()| crate::ledger::empty_log(&connection));
        if emptied.map_err(|error| fault(&self.path, &error))? {
            return Ok(());
        }
        let what = "its log cannot be emptied: another program keeps reading".to_owned();
        Err(StoreError::Other { path: self.path.display().to_string(), what })
    }
}
