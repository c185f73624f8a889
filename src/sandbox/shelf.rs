//! Documents of a platform by key: read and written in memory, carried into the sandbox's database beside its members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::stand_in::Meddling;

/// Where shelves are carried to; nowhere without a file.
#[derive(Clone, Default)]
pub(super) struct Cellar(Option<Arc<Mutex<Connection>>>);

impl Cellar {
    pub fn open(path: Option<&Path>) -> anyhow::Result<Cellar> {
        let Some(path) = path else { return Ok(Cellar(None)) };
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS documents
                 (shelf TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (shelf, key)) STRICT, WITHOUT ROWID;",
            )?;
            Ok(connection)
        };
        let connection = open().with_context(|| format!("cannot open the sandbox's database {}", path.display()))?;
        Ok(Cellar(Some(Arc::new(Mutex::new(connection)))))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Connection>> {
        self.0.as_ref().map(|connection| connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Shelf {
    name: &'static str,
    cellar: Cellar,
    documents: BTreeMap<String, Value>,
    dirty: BTreeSet<String>,
}

impl Shelf {
    pub fn open(name: &'static str, cellar: &Cellar) -> anyhow::Result<Shelf> {
        let mut documents = BTreeMap::new();
        if let Some(connection) = cellar.lock() {
            let mut all = connection.prepare("SELECT key, body FROM documents WHERE shelf = ?1")?;
            let mut rows = all.query([name])?;
            while let Some(row) = rows.next()? {
                documents.insert(row.get(0)?, serde_json::from_str(row.get_ref(1)?.as_str()?)?);
            }
        }
        Ok(Shelf { name, cellar: cellar.clone(), documents, dirty: BTreeSet::new() })
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.documents.get(key)
    }

    /// By key.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.documents.iter()
    }

    /// Every document, by key.
    pub fn all(&self) -> Vec<Value> {
        self.documents.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.documents.len()
    }

    pub fn put(&mut self, key: &str, document: Value) {
        self.documents.insert(key.to_owned(), document);
        self.note(key);
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.note(key);
        self.documents.remove(key)
    }

    /// What another writer is to change, or none: there is no such document, or it was deleted as that writer wanted.
    pub fn meddle(&mut self, key: &str, meddling: &Meddling<'_>) -> Option<Value> {
        if matches!(meddling, Meddling::Delete) {
            self.remove(key);
            return None;
        }
        self.get(key).cloned()
    }

    fn note(&mut self, key: &str) {
        if self.cellar.0.is_some() {
            self.dirty.insert(key.to_owned());
        }
    }

    /// Carries what changed into the database, in one transaction.
    pub fn save(&mut self) -> anyhow::Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let Some(mut connection) = self.cellar.lock() else { return Ok(()) };
        let write = |connection: &mut Connection| -> anyhow::Result<()> {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut keep = transaction.prepare_cached("INSERT OR REPLACE INTO documents (shelf, key, body) VALUES (?1, ?2, ?3)")?;
                let mut remove = transaction.prepare_cached("DELETE FROM documents WHERE shelf = ?1 AND key = ?2")?;
                for key in &self.dirty {
                    match self.documents.get(key) {
                        Some(document) => keep.execute(params![self.name, key, document.to_string()])?,
                        None => remove.execute(params![self.name, key])?,
                    };
                }
            }
            Ok(transaction.commit()?)
        };
        write(&mut connection).context("the sandbox cannot write its database")?;
        self.dirty.clear();
        Ok(())
    }
}

/// What is seeded wins over what a new document begins with, key by key.
pub(super) fn lay_over(document: &mut Value, seeded: &Value) {
    for (name, value) in seeded.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
}
