//! Coupons and tickets as they are kept: documents in the form a read shows, empty fields included, in the order they were made.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::alerts::{Alert, Alerts};
use super::member;
use super::shape::{canonical_time, is_falsy, text};
use super::state::now;
use super::switches::Switches;
use crate::sandbox::effects::Effects;
use crate::sandbox::shelf::{Cellar, Shelf};

/// Where the places of each kind begin, so that a place tells the kind.
pub(super) const COUPONS: usize = 1 << 40;
pub(super) const TICKETS: usize = 2 << 40;

/// The documents of one kind. A place is never used twice.
pub(super) struct Drawer {
    shelf: Shelf,
    base: usize,
    /// The field with the caller's own name of a document.
    name: &'static str,
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    end: usize,
    lag: Duration,
    /// What places held, and until when; only as far back as reads lag behind.
    past: HashMap<usize, Vec<(Instant, Value)>>,
    pub effects: Effects,
    pub alerts: Alerts,
}

impl Drawer {
    pub fn open(shelf: &'static str, name: &'static str, base: usize, cellar: &Cellar) -> anyhow::Result<Drawer> {
        let shelf = Shelf::open(shelf, cellar)?;
        let (mut by_id, mut by_name, mut end) = (HashMap::new(), HashMap::new(), base);
        for (key, document) in shelf.iter() {
            let place: usize = key.parse()?;
            by_id.insert(field(document, "id").to_owned(), place);
            by_name.insert(field(document, name).to_owned(), place);
            end = end.max(place + 1);
        }
        by_name.remove("");
        let (lag, past) = (Duration::ZERO, HashMap::new());
        Ok(Drawer { shelf, base, name, by_id, by_name, end, lag, past, effects: Effects::default(), alerts: Alerts::default() })
    }

    pub fn place_of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn place_of_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn at(&self, place: usize) -> Option<&Value> {
        self.shelf.get(&key(place))
    }

    /// From now on reads lag behind so far.
    pub fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    /// The document as a read shows it, which may be what it was a while ago. One that was removed is gone at once.
    pub fn seen(&self, place: usize) -> Option<&Value> {
        let past = self.past.get(&place).filter(|_| !self.lag.is_zero());
        let shown = past.and_then(|past| past.iter().find(|(until, _)| until.elapsed() < self.lag));
        shown.map_or_else(|| self.at(place), |(_, document)| Some(document))
    }

    /// All places, the oldest first; those of removed documents too.
    pub fn places(&self) -> std::ops::Range<usize> {
        self.base..self.end
    }

    /// Every document, the oldest first.
    pub fn all(&self) -> Vec<Value> {
        self.shelf.all()
    }

    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// Keeps a document whose name is known to be free.
    pub fn add(&mut self, document: Value) -> usize {
        let place = self.end;
        self.end += 1;
        self.by_id.insert(field(&document, "id").to_owned(), place);
        if !field(&document, self.name).is_empty() {
            self.by_name.insert(field(&document, self.name).to_owned(), place);
        }
        self.shelf.put(&key(place), document);
        place
    }

    /// Changes a document and answers its id. Its `updated` moves on, and what its `metaData` changed to is shown to its holder.
    pub fn change(&mut self, place: usize, change: impl FnOnce(&mut Map<String, Value>)) -> Option<String> {
        let before = self.at(place)?.clone();
        let mut after = before.as_object()?.clone();
        change(&mut after);
        after.insert("updated".to_owned(), now().into());
        let (old, new) = (field(&before, self.name), text(&after, self.name));
        if old != new {
            self.by_name.remove(old);
            self.by_name.insert(new.to_owned(), place);
        }
        if let (Some(then), Some(now)) = (before["metaData"].as_object(), after["metaData"].as_object()) {
            self.alerts.add(Alert::between(new, now, then));
        }
        let id = text(&after, "id").to_owned();
        self.shelf.put(&key(place), Value::Object(after));
        if !self.lag.is_zero() {
            let past = self.past.entry(place).or_default();
            past.retain(|(until, _)| until.elapsed() < self.lag);
            past.push((Instant::now(), before));
        }
        Some(id)
    }

    pub fn remove(&mut self, place: usize) {
        if let Some(document) = self.shelf.remove(&key(place)) {
            self.by_id.remove(field(&document, "id"));
            self.by_name.remove(field(&document, self.name));
        }
    }

    pub fn save(&mut self) -> anyhow::Result<()> {
        self.shelf.save()
    }
}

/// As many digits as any place has, so that keys stand in the order of places.
fn key(place: usize) -> String {
    format!("{place:015}")
}

pub(super) fn field<'a>(document: &'a Value, name: &str) -> &'a str {
    document.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Takes over those fields of a request that are named here. Values that are missing or falsy are ignored unless a switch says otherwise,
/// `metaData` is replaced whole either way (contract sections 2.1 and 5: neither has an `operation`).
pub(super) fn overlay(document: &mut Map<String, Value>, body: &Map<String, Value>, names: &[&str], switches: Switches) {
    for name in names {
        let Some(value) = body.get(*name).filter(|value| !value.is_null()) else { continue };
        let falsy = is_falsy(value);
        if falsy && !switches.put_fields {
            continue;
        }
        let taken = match *name {
            "person" => merged(document.get("person"), &member::nobody(), value, switches),
            "seatInfo" => merged(document.get("seatInfo"), &super::ticket::no_seat(), value, switches),
            "expiryDate" => canonical_time(value.as_str().unwrap_or("")).into(),
            _ => value.clone(),
        };
        document.insert((*name).to_owned(), taken);
    }
}

/// A message inside a document after an update; its blank form names all it can hold. A person's `externalId` is not editable.
fn merged(stored: Option<&Value>, blank: &Value, given: &Value, switches: Switches) -> Value {
    let mut after = match stored {
        Some(stored) if !switches.replace_person => stored.clone(),
        _ => blank.clone(),
    };
    for (name, value) in given.as_object().into_iter().flatten() {
        if name == "externalId" || blank.get(name).is_none() || value.is_null() {
            continue;
        }
        if !is_falsy(value) {
            after[name] = value.clone();
        } else if switches.put_fields {
            after[name] = blank[name].clone();
        }
    }
    after
}

/// What the platform alone says of a pass.
pub(super) fn pass_meta_data() -> Value {
    json!({"status": "PASS_ISSUED"})
}

/// What a caller calls a change that must not happen twice: the first of these texts that is there, and otherwise the whole of it.
pub(super) fn name_of(details: Option<&Value>) -> String {
    let Some(details) = details.filter(|details| !is_falsy(details)) else { return "without a name".to_owned() };
    let named = ["transactionReference", "redemptionReference", "validateReference"].into_iter().map(|name| field(details, name));
    named.into_iter().find(|text| !text.is_empty()).map_or_else(|| details.to_string(), str::to_owned)
}
