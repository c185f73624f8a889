//! The passes of a tenant, and the queue that updates wait in (contract sections 2.2 and 2.4).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Map, Value, json};

use super::UPDATE;
use super::knobs::{Knobs, Merge, Nulls};
use crate::sandbox::effects::Effects;
use crate::sandbox::shelf::Shelf;

/// What an update may touch.
pub(super) const BLOCKS: [&str; 3] = ["identifiers", "metadata", "additionalData"];

pub(super) struct Passes {
    shelf: Shelf,
    /// Ids by identifier name and value.
    by_identifier: HashMap<(String, String), BTreeSet<String>>,
    waiting: VecDeque<Update>,
    /// Passes updated since somebody looked, with the moment.
    pub updated: Vec<(String, String)>,
    pub effects: Effects,
}

struct Update {
    due: Instant,
    id: String,
    blocks: Map<String, Value>,
    merge: Merge,
    nulls: Nulls,
}

impl Passes {
    pub fn new(shelf: Shelf) -> Passes {
        let mut passes =
            Passes { by_identifier: HashMap::new(), waiting: VecDeque::new(), updated: Vec::new(), effects: Effects::default(), shelf };
        let ids: Vec<String> = passes.shelf.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            passes.index(&id, true);
        }
        passes
    }

    /// Applies what has waited long enough, in the order of the queue.
    pub fn catch_up(&mut self) {
        while self.waiting.front().is_some_and(|update| update.due <= Instant::now()) {
            if let Some(update) = self.waiting.pop_front() {
                self.apply(update);
            }
        }
    }

    pub fn queue(&mut self, id: &str, blocks: Map<String, Value>, knobs: &Knobs) {
        let due = Instant::now() + Duration::from_millis(knobs.delay_ms);
        let update = Update { due, id: id.to_owned(), blocks, merge: knobs.merge, nulls: knobs.nulls };
        match self.waiting.iter().position(|waiting| waiting.id == id).filter(|_| knobs.disordered) {
            Some(at) => {
                let due = self.waiting[at].due;
                self.waiting.insert(at, Update { due, ..update });
            }
            None => self.waiting.push_back(update),
        }
        self.catch_up();
    }

    fn apply(&mut self, update: Update) {
        let Some(mut pass) = self.shelf.get(&update.id).cloned() else { return };
        self.index(&update.id, false);
        for (name, block) in &update.blocks {
            let Value::Object(sent) = block else { continue };
            if update.merge == Merge::ReplaceBlock || !pass[name].is_object() {
                pass[name] = json!({});
            }
            for (key, value) in sent {
                match (value, update.nulls) {
                    (Value::Null, Nulls::Delete) => {
                        if let Some(block) = pass[name].as_object_mut() {
                            block.shift_remove(key);
                        }
                    }
                    (Value::Null, Nulls::Ignore) => {}
                    _ => pass[name][key.as_str()] = value.clone(),
                }
            }
        }
        let moment = now();
        pass["lastUpdateDate"] = moment.clone().into();
        self.effects.count(UPDATE, &name_of(&pass), "", 0.0);
        self.shelf.put(&update.id, pass);
        self.index(&update.id, true);
        self.updated.push((update.id, moment));
    }

    /// Notes or forgets the identifiers of a pass.
    fn index(&mut self, id: &str, add: bool) {
        for pair in identifiers(self.shelf.get(id)) {
            let ids = self.by_identifier.entry(pair).or_default();
            if add {
                ids.insert(id.to_owned());
            } else {
                ids.remove(id);
            }
        }
    }

    pub fn get(&self, id: &str) -> Option<&Value> {
        self.shelf.get(id)
    }

    /// In order of creation.
    pub fn all(&self) -> Vec<&Value> {
        let mut all: Vec<&Value> = self.shelf.iter().map(|(_, pass)| pass).collect();
        all.sort_by_key(|pass| pass["creationDate"].as_str().unwrap_or_default());
        all
    }

    pub fn count(&self) -> u64 {
        self.shelf.len() as u64
    }

    /// The passes that carry an identifier.
    pub fn with(&self, name: &str, value: &str) -> BTreeSet<String> {
        self.by_identifier.get(&(name.to_owned(), value.to_owned())).cloned().unwrap_or_default()
    }

    /// The passes that carry a value under any name.
    pub fn with_value(&self, value: &str) -> Option<&Value> {
        let found = self.by_identifier.iter().find(|((_, known), ids)| known == value && !ids.is_empty());
        self.get(found?.1.first()?)
    }

    /// Creates a pass and answers its id.
    pub fn create(&mut self, id: Option<&str>, pass_type: &str, blocks: &Map<String, Value>) -> String {
        let id = id.map_or_else(|| Alphanumeric.sample_string(&mut rand::rng(), 11), str::to_owned);
        let moment = now();
        let mut pass = json!({
            "id": id, "secret": format!("s-{}", Alphanumeric.sample_string(&mut rand::rng(), 20)),
            "creationDate": moment, "lastUpdateDate": moment, "passType": pass_type,
            "identifiers": {}, "metadata": {}, "additionalData": {}, "providers": {},
        });
        for name in BLOCKS.iter().chain(&["providers"]) {
            if let Some(block) = blocks.get(*name).filter(|block| block.is_object()) {
                pass[*name] = block.clone();
            }
        }
        self.shelf.put(&id, pass);
        self.index(&id, true);
        id
    }

    pub fn remove(&mut self, id: &str) {
        self.index(id, false);
        self.shelf.remove(id);
    }

    pub fn save(&mut self) -> anyhow::Result<()> {
        self.catch_up();
        self.shelf.save()
    }
}

fn identifiers(pass: Option<&Value>) -> Vec<(String, String)> {
    let identifiers = pass.and_then(|pass| pass["identifiers"].as_object());
    let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    identifiers.into_iter().flatten().filter_map(pair).collect()
}

/// What a pass is known by: its first identifier, or its id.
pub(super) fn name_of(pass: &Value) -> String {
    let first = identifiers(Some(pass)).into_iter().next().map(|(_, value)| value);
    first.unwrap_or_else(|| pass["id"].as_str().unwrap_or_default().to_owned())
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}
