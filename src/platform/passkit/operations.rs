//! The operations of a change, and how each ended.

use super::fields::{Catalogue, Field};
use crate::outcome::{Code, Outcome};
use crate::platform::judge::clean;
use crate::platform::talk::End;
use crate::platform::{ChangeResult, OperationResult};
use crate::row::{Change, FieldChange};

/// A field of a change, looked up.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub field: Field,
    pub change: FieldChange,
}

impl Part {
    pub(super) fn is_zero(&self) -> bool {
        super::fields::is_zero(self.change.value.as_ref())
    }

    /// The value as PassKit takes it; none where the field is to be cleared.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        self.change.value.as_ref().map(|value| self.field.json(value))
    }
}

/// The fields of a change. Names were looked up when the configuration was read; one that is unknown now cannot be sent.
pub(super) fn parts_of<'c>(catalogue: &'static Catalogue, change: &'c Change) -> impl Iterator<Item = Part> + use<'c> {
    change.fields.iter().filter_map(|change| Some(Part { field: catalogue.parse(&change.name).ok()?, change: change.clone() }))
}

struct Operation {
    name: &'static str,
    parts: Vec<Part>,
    end: Option<End>,
}

#[derive(Default)]
pub(super) struct Operations(Vec<Operation>);

impl Operations {
    pub(super) fn add(&mut self, name: &'static str, part: Option<Part>) {
        match self.0.iter_mut().find(|operation| operation.name == name) {
            Some(operation) => operation.parts.extend(part),
            None => self.0.push(Operation { name, parts: part.into_iter().collect(), end: None }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|operation| operation.name == name)
    }

    /// An operation that has not ended.
    pub(super) fn open(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|operation| operation.name == name && operation.end.is_none())
    }

    pub(super) fn all_open(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&index| self.0[index].end.is_none()).collect()
    }

    /// Has none of them ended?
    pub(super) fn are_untouched(&self) -> bool {
        self.0.iter().all(|operation| operation.end.is_none())
    }

    pub(super) fn parts(&self, operations: &[usize]) -> Vec<&Part> {
        operations.iter().flat_map(|&index| &self.0[index].parts).collect()
    }

    pub(super) fn end(&mut self, index: usize, outcome: Outcome, code: Option<Code>, message: &str) {
        self.0[index].end.get_or_insert_with(|| (outcome, code, clean(message)));
    }

    /// Ends every operation that has not ended.
    pub(super) fn end_all(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        if self.0.is_empty() {
            self.add(CREATE, None);
        }
        for index in 0..self.0.len() {
            self.end(index, outcome, code, message);
        }
    }

    /// Issuing is one operation that carries every field.
    pub(super) fn end_create(&mut self, outcome: Outcome, code: Option<Code>, message: &str) {
        let parts = self.0.drain(..).flat_map(|operation| operation.parts).collect();
        self.0 = vec![Operation { name: CREATE, parts, end: Some((outcome, code, clean(message))) }];
    }

    pub(super) fn result(&mut self, pass_id: Option<String>) -> ChangeResult {
        if self.0.is_empty() {
            // An upsert that asks for nothing but a pass that is there.
            self.end_create(Outcome::Unchanged, None, "");
        }
        let operations = std::mem::take(&mut self.0).into_iter().map(|operation| {
            let (outcome, code, message) = operation.end.unwrap_or((Outcome::NotAttempted, Some(Code::RunStopped), String::new()));
            let fields = operation.parts.iter().map(|part| part.change.field).collect();
            OperationResult { operation: operation.name, outcome, code, message, fields }
        });
        ChangeResult { operations: operations.collect(), pass_id }
    }
}

const CREATE: &str = "create";
