//! Pushes owed: written down with the change that they tell of, taken away when Apple has them.

use rusqlite::{OptionalExtension, params};

use super::Work;

/// A push that is owed.
#[derive(Clone, PartialEq, Eq)]
pub struct Owed {
    pub token: String,
    /// The newest change that it tells of.
    pub tag: i64,
    /// Times that it was sent in vain.
    pub tries: u32,
}

/// Why no pushes are sent until somebody acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub reason: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

impl Work<'_> {
    /// Owes one push to each token at which a phone with this pass is pushed.
    pub(super) fn owe_pushes(&self, serial: &str, tag: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO push(token, tag)
                 SELECT DISTINCT device.push_token, ?2 FROM registration JOIN device ON device.id = registration.device
                 WHERE registration.serial = ?1
                 ON CONFLICT DO UPDATE SET tag = excluded.tag",
            )?
            .execute(params![serial, tag])
            .map(drop)
    }

    /// The last tag given.
    pub fn last_tag(&self) -> rusqlite::Result<i64> {
        self.0.query_row("SELECT tag FROM sequence", [], |row| row.get(0))
    }

    /// Pushes whose time has come, of changes up to this one, the oldest first.
    pub fn owed(&self, now: i64, until: i64, count: usize) -> rusqlite::Result<Vec<Owed>> {
        let mut list =
            self.0.prepare_cached("SELECT token, tag, tries FROM push WHERE not_before <= ?1 AND tag <= ?2 ORDER BY tag LIMIT ?3")?;
        let rows = list.query_map(params![now, until, count as i64], |row| {
            Ok(Owed { token: row.get(0)?, tag: row.get(1)?, tries: row.get::<_, i64>(2)? as u32 })
        })?;
        rows.collect()
    }

    /// All that are owed, whenever their time is.
    pub fn pushes_owed(&self) -> rusqlite::Result<u64> {
        self.0.query_row("SELECT count(*) FROM push", [], |row| row.get::<_, i64>(0)).map(|count| count as u64)
    }

    /// Apple has it. What changed since it left is owed still.
    pub fn pushed(&self, owed: &Owed) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM push WHERE token = ?1 AND tag <= ?2")?.execute(params![owed.token, owed.tag])?;
        self.0.prepare_cached("UPDATE push SET tries = 0, not_before = 0 WHERE token = ?1")?.execute([&owed.token]).map(drop)
    }

    /// It is tried again, not before this time.
    pub fn put_off(&self, owed: &Owed, not_before: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE push SET tries = ?2, not_before = ?3 WHERE token = ?1")?
            .execute(params![owed.token, owed.tries + 1, not_before])
            .map(drop)
    }

    /// Nobody is behind the token any more: its registrations go, as far as they are not younger than this time. Answers how many went.
    pub fn gone(&self, token: &str, until: i64) -> rusqlite::Result<u64> {
        let mut find = self.0.prepare_cached(
            "SELECT registration.device, registration.serial FROM registration JOIN device ON device.id = registration.device
             WHERE device.push_token = ?1 AND registration.at <= ?2",
        )?;
        let rows = find.query_map(params![token, until], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let all: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>()?;
        for (device, serial) in &all {
            self.remove_registration(device, serial)?;
        }
        // A token that a phone registered since is told of what changes from now on.
        self.0.prepare_cached("DELETE FROM push WHERE token = ?1")?.execute([token])?;
        Ok(all.len() as u64)
    }

    /// The token of this signer that is in use, and when it was made.
    pub fn bearer(&self, signer: &str) -> rusqlite::Result<Option<(String, i64)>> {
        let mut find = self.0.prepare_cached("SELECT token, at FROM bearer WHERE signer = ?1")?;
        find.query_row([signer], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    pub fn keep_bearer(&self, signer: &str, token: &str, now: i64) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM bearer", [])?;
        self.0.execute("INSERT INTO bearer(token, signer, at) VALUES (?1, ?2, ?3)", params![token, signer, now]).map(drop)
    }

    pub fn halt(&self, reason: &str, now: i64) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM halt", [])?;
        self.0.execute("INSERT INTO halt(reason, at) VALUES (?1, ?2)", params![reason, now]).map(drop)
    }

    pub fn halted(&self) -> rusqlite::Result<Option<Halt>> {
        self.0.query_row("SELECT reason, at FROM halt", [], |row| Ok(Halt { reason: row.get(0)?, at: row.get(1)? })).optional()
    }

    /// Pushes go on.
    pub fn resume(&self) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM halt", []).map(drop)
    }
}
