//! Phones: which device holds which pass, and what it has not heard of yet (contract 6.1 to 6.3).

use rusqlite::{OptionalExtension, params};

use super::Work;

/// Registrations that one pass keeps; the oldest goes first. Devices change their identifiers when they are set up anew, and one report
/// has hundreds of them in minutes (contract 6).
const REGISTRATIONS_MAX: i64 = 200;

/// How a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The pass is not there, or the token is another one.
    Denied,
    New,
    Known,
}

/// How the end of one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unregistered {
    Denied,
    Done,
}

/// What changed of a device's passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub serials: Vec<String>,
    /// The newest of their changes.
    pub tag: i64,
}

impl Work<'_> {
    /// Notes that a device holds a pass, and where it is pushed. `is_token` compares with the pass's own.
    pub fn register(
        &self,
        device: &str,
        serial: &str,
        push_token: &str,
        is_token: impl Fn(&str) -> bool,
        now: i64,
    ) -> rusqlite::Result<Registered> {
        if !self.is_of_pass(serial, is_token)? {
            return Ok(Registered::Denied);
        }
        self.move_token(device, push_token)?;
        let known = self.0.prepare_cached("SELECT 1 FROM registration WHERE device = ?1 AND serial = ?2")?.exists([device, serial])?;
        // The time counts against what Apple says of a token later: a phone that registers anew is there.
        self.0
            .prepare_cached("INSERT INTO registration(device, serial, at) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET at = excluded.at")?
            .execute(params![device, serial, now])?;
        if known {
            return Ok(Registered::Known);
        }
        let spare: Vec<String> = self
            .0
            .prepare_cached("SELECT device FROM registration WHERE serial = ?1 ORDER BY at DESC, device LIMIT -1 OFFSET ?2")?
            .query_map(params![serial, REGISTRATIONS_MAX], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for device in spare {
            self.remove_registration(&device, serial)?;
        }
        Ok(Registered::New)
    }

    pub fn unregister(&self, device: &str, serial: &str, is_token: impl Fn(&str) -> bool) -> rusqlite::Result<Unregistered> {
        if !self.is_of_pass(serial, is_token)? {
            return Ok(Unregistered::Denied);
        }
        self.remove_registration(device, serial)?;
        Ok(Unregistered::Done)
    }

    /// Compares with some token where there is no such pass, so that the time tells nothing.
    fn is_of_pass(&self, serial: &str, is_token: impl Fn(&str) -> bool) -> rusqlite::Result<bool> {
        let token: Option<String> =
            self.0.prepare_cached("SELECT token FROM pass WHERE serial = ?1")?.query_row([serial], |row| row.get(0)).optional()?;
        let same = is_token(token.as_deref().unwrap_or("there is no pass with this number"));
        Ok(same && token.is_some())
    }

    /// A device is pushed at the token it named last; what was owed to an earlier one is owed to this.
    fn move_token(&self, device: &str, push_token: &str) -> rusqlite::Result<()> {
        let before: Option<String> =
            self.0.prepare_cached("SELECT push_token FROM device WHERE id = ?1")?.query_row([device], |row| row.get(0)).optional()?;
        if before.as_deref() == Some(push_token) {
            return Ok(());
        }
        self.0
            .prepare_cached(
                "INSERT INTO device(id, push_token) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET push_token = excluded.push_token",
            )?
            .execute([device, push_token])?;
        let Some(before) = before else { return Ok(()) };
        self.0
            .prepare_cached(
                "INSERT INTO push(token, tag) SELECT ?2, tag FROM push WHERE token = ?1
                 ON CONFLICT DO UPDATE SET tag = max(tag, excluded.tag)",
            )?
            .execute([&*before, push_token])?;
        self.drop_unused_push(&before)
    }

    pub(super) fn remove_registration(&self, device: &str, serial: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM registration WHERE device = ?1 AND serial = ?2")?.execute([device, serial])?;
        if self.0.prepare_cached("SELECT 1 FROM registration WHERE device = ?1")?.exists([device])? {
            return Ok(());
        }
        let token: Option<String> = self
            .0
            .prepare_cached("DELETE FROM device WHERE id = ?1 RETURNING push_token")?
            .query_row([device], |row| row.get(0))
            .optional()?;
        token.map_or(Ok(()), |token| self.drop_unused_push(&token))
    }

    /// Nothing is owed to a token that no device has.
    fn drop_unused_push(&self, token: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM push WHERE token = ?1 AND NOT EXISTS (SELECT 1 FROM device WHERE push_token = ?1)")?
            .execute([token])
            .map(drop)
    }

    /// Passes of this device that changed after the tag; all of them without one. None where there are none.
    pub fn changed(&self, device: &str, since: Option<i64>) -> rusqlite::Result<Option<Changed>> {
        let mut list = self.0.prepare_cached(
            "SELECT pass.serial, pass.tag FROM registration JOIN pass ON pass.serial = registration.serial
             WHERE registration.device = ?1 AND pass.tag > ?2 ORDER BY pass.tag",
        )?;
        let rows = list.query_map(params![device, since.unwrap_or(i64::MIN)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let all: Vec<(String, i64)> = rows.collect::<rusqlite::Result<_>>()?;
        let Some(&(_, tag)) = all.last() else { return Ok(None) };
        Ok(Some(Changed { serials: all.into_iter().map(|(serial, _)| serial).collect(), tag }))
    }

    /// Devices that hold a pass.
    pub fn devices_of(&self, serial: &str) -> rusqlite::Result<u64> {
        let mut count = self.0.prepare_cached("SELECT count(*) FROM registration WHERE serial = ?1")?;
        count.query_row([serial], |row| row.get::<_, i64>(0)).map(|count| count as u64)
    }
}
