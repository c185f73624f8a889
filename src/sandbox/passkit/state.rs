//! The members. Calls read and write memory, so that a write is seen at once and costs no disk; a thread carries what changed into SQLite
//! every tenth of a second and once more when the server stops. A killed process loses at most that tenth.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{SecondsFormat, Utc};
use rand::distr::{Alphanumeric, SampleString};
use rusqlite::{Connection, params};

use super::alerts::Alerts;
use super::member::{Event, Issue, Member};
use crate::sandbox::effects::Effects;

const VERSION: i64 = 1;

/// How far what is read lies behind what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub members: Duration,
    pub events: Duration,
}

/// Members and events by place; a place is never used twice, so places are the order of enrolment.
#[derive(Default)]
pub(super) struct State {
    members: Vec<Option<Member>>,
    by_id: HashMap<String, usize>,
    by_external_id: HashMap<String, usize>,
    /// Events per member's place, oldest first, as indexes of `events`.
    events_of: HashMap<usize, Vec<usize>>,
    events: Vec<Event>,
    count: u64,
    dirty: BTreeSet<usize>,
    saved_events: usize,
    keeps: bool,
    lag: Lag,
    /// What places held, and until when; only as far back as reads lag behind.
    past: HashMap<usize, Vec<(Instant, Option<Member>)>>,
    pub effects: Effects,
    pub alerts: Alerts,
}

impl State {
    pub fn place_of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn place_of_external_id(&self, external_id: &str) -> Option<usize> {
        self.by_external_id.get(external_id).copied()
    }

    pub fn at(&self, place: usize) -> Option<&Member> {
        self.members.get(place)?.as_ref()
    }

    /// From now on reads lag behind so far.
    pub fn set_lag(&mut self, lag: Lag) {
        self.lag = lag;
    }

    /// The member as a read shows it, which may be what it was a while ago. One that was removed is gone at once.
    pub fn seen(&self, place: usize) -> Option<&Member> {
        let past = self.past.get(&place).filter(|_| !self.lag.members.is_zero());
        let shown = past.and_then(|past| past.iter().find(|(until, _)| until.elapsed() < self.lag.members));
        match shown {
            Some((_, member)) => member.as_ref(),
            None => self.at(place),
        }
    }

    fn note_past(&mut self, place: usize) {
        let lag = self.lag.members;
        if !lag.is_zero() {
            let member = self.at(place).cloned();
            let past = self.past.entry(place).or_default();
            past.retain(|(until, _)| until.elapsed() < lag);
            past.push((Instant::now(), member));
        }
    }

    /// Changes a member and notes that it has to be saved. Its `updated` moves on.
    pub fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.note_past(place);
        let member = self.members.get_mut(place)?.as_mut()?;
        let was_there = member.is_there();
        let changed = change(member);
        member.updated = now();
        if was_there && !member.is_there() {
            self.count -= 1;
        }
        if self.keeps {
            self.dirty.insert(place);
        }
        Some(changed)
    }

    /// Adds a member whose external ID is known to be free.
    pub fn add(&mut self, member: Member) -> usize {
        let place = self.members.len();
        self.note_past(place);
        self.index(place, &member);
        self.members.push(Some(member));
        if self.keeps {
            self.dirty.insert(place);
        }
        place
    }

    fn index(&mut self, place: usize, member: &Member) {
        self.by_id.insert(member.id.clone(), place);
        if !member.external_id.is_empty() {
            self.by_external_id.insert(member.external_id.clone(), place);
        }
        self.count += u64::from(member.is_there());
    }

    pub fn remove(&mut self, place: usize) -> Option<Member> {
        let member = self.members.get_mut(place)?.take()?;
        self.by_id.remove(&member.id);
        self.by_external_id.remove(&member.external_id);
        self.count -= u64::from(member.is_there());
        if self.keeps {
            self.dirty.insert(place);
        }
        Some(member)
    }

    pub fn add_event(&mut self, place: usize, event: Event) {
        self.events_of.entry(place).or_default().push(self.events.len());
        self.events.push(event);
    }

    /// The events of one member, oldest first.
    pub fn events_of(&self, place: usize) -> impl Iterator<Item = &Event> {
        self.events_of.get(&place).into_iter().flatten().filter_map(|index| self.events.get(*index))
    }

    /// All events, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The time after which events are not shown yet, as events carry it.
    pub fn events_until(&self) -> String {
        (Utc::now() - self.lag.events).to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Places below which every member is found.
    pub fn end(&self) -> usize {
        self.members.len()
    }

    /// Members that are not deleted.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Now as the platform writes it.
pub(super) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// An id as the platform makes them: 22 letters and digits (contract section 2).
pub(super) fn new_id() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 22)
}

/// The state, shared by the server and its owner.
#[derive(Clone)]
pub(super) struct Store {
    state: Arc<Mutex<State>>,
    database: Option<Arc<Mutex<Connection>>>,
}

impl Store {
    /// Opens the database, or keeps everything in memory alone without one.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Store> {
        let mut state = State::default();
        let database = match path {
            Some(path) => Some(load(path, &mut state).with_context(|| format!("cannot open the sandbox's database {}", path.display()))?),
            None => None,
        };
        Ok(Store { state: Arc::new(Mutex::new(state)), database: database.map(|connection| Arc::new(Mutex::new(connection))) })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds members past the platform's calls; those whose external ID is taken are left as they are and not counted.
    pub fn issue(&self, members: impl Iterator<Item = Issue>, program: &str, tiers: &[String]) -> anyhow::Result<u64> {
        let first_tier = tiers.first().map_or("", String::as_str);
        let members: Vec<Issue> = members.collect();
        for issue in &members {
            if issue.external_id.is_empty() {
                bail!("a member to issue has no externalId");
            }
            let tier = issue.tier_id.as_deref().unwrap_or(first_tier);
            if !tiers.iter().any(|known| known == tier) {
                bail!("member {} is to be issued in tier {tier:?}, which the program does not have", issue.external_id);
            }
        }
        let mut issued = 0;
        let mut state = self.lock();
        for issue in members {
            if state.place_of_external_id(&issue.external_id).is_some() {
                continue;
            }
            let tier = issue.tier_id.as_deref().unwrap_or(first_tier);
            let mut member = Member::new(new_id(), program, tier, &issue.external_id, now());
            member.points = issue.points;
            member.secondary_points = issue.secondary_points;
            member.tier_points = issue.tier_points;
            member.person.extend(issue.person);
            member.meta_data = issue.meta_data.into_iter().map(|(key, value)| (key, value.into())).collect();
            member.expiry_date = issue.expiry_date;
            if let Some(status) = issue.status {
                member.status = status;
            }
            state.add(member);
            issued += 1;
        }
        drop(state);
        self.save()?;
        Ok(issued)
    }

    /// Carries what changed into the database, in one transaction.
    pub fn save(&self) -> anyhow::Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        // The database first: two savers then write in the order in which they looked.
        let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let dirty = std::mem::take(&mut state.dirty);
        let from = state.saved_events;
        let to = state.events.len();
        if dirty.is_empty() && from == to {
            return Ok(());
        }
        let members: Vec<_> = dirty.iter().map(|place| (*place, state.members[*place].clone())).collect();
        let events: Vec<_> = state.events[from..to].to_vec();
        state.saved_events = to;
        drop(state);
        let written = write(&mut database, &members, from, &events).context("the sandbox cannot write its database");
        if written.is_err() {
            let mut state = self.lock();
            state.dirty.extend(dirty);
            state.saved_events = from;
        }
        written
    }
}

fn load(path: &Path, state: &mut State) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        bail!("it was written by a newer version of passferry (layout {version}, this one knows {VERSION})");
    }
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS members (place INTEGER PRIMARY KEY, id TEXT NOT NULL, external_id TEXT NOT NULL, body TEXT NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS events (place INTEGER PRIMARY KEY, member_id TEXT NOT NULL, external_id TEXT NOT NULL, body TEXT NOT NULL) STRICT;
         PRAGMA user_version = 1;
         COMMIT;",
    )?;
    let mut members = connection.prepare("SELECT place, body FROM members ORDER BY place")?;
    let mut rows = members.query([])?;
    while let Some(row) = rows.next()? {
        let place: i64 = row.get(0)?;
        let place = usize::try_from(place)?;
        let member: Member = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
        state.members.resize_with(place, || None);
        state.index(place, &member);
        state.members.push(Some(member));
    }
    drop(rows);
    drop(members);
    let mut events = connection.prepare("SELECT body FROM events ORDER BY place")?;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        let event: Event = serde_json::from_str(row.get_ref(0)?.as_str()?)?;
        match state.by_id.get(&event.member.id).copied() {
            Some(place) => state.add_event(place, event),
            None => state.events.push(event),
        }
    }
    drop(rows);
    drop(events);
    state.saved_events = state.events.len();
    state.keeps = true;
    Ok(connection)
}

fn write(database: &mut Connection, members: &[(usize, Option<Member>)], from: usize, events: &[Event]) -> anyhow::Result<()> {
    let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut keep =
            transaction.prepare_cached("INSERT OR REPLACE INTO members (place, id, external_id, body) VALUES (?1, ?2, ?3, ?4)")?;
        let mut remove = transaction.prepare_cached("DELETE FROM members WHERE place = ?1")?;
        for (place, member) in members {
            let place = i64::try_from(*place)?;
            match member {
                Some(member) => keep.execute(params![place, member.id, member.external_id, serde_json::to_string(member)?])?,
                None => remove.execute([place])?,
            };
        }
        let mut add =
            transaction.prepare_cached("INSERT OR REPLACE INTO events (place, member_id, external_id, body) VALUES (?1, ?2, ?3, ?4)")?;
        for (index, event) in events.iter().enumerate() {
            add.execute(params![i64::try_from(from + index)?, event.member.id, event.external_id, serde_json::to_string(event)?])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
