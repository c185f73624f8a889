//! What PassKit takes only whole: `metaData`, and the objects inside a pass, written as they were read with the changes laid over
//! (contract 2.1).

use serde_json::{Map, Value as Json, json};

use super::fields::Field;
use super::operations::Part;

/// The full map with the changes laid over it; none when no part is about it.
pub(super) fn meta(known: &Map<String, Json>, parts: &[&Part]) -> Option<Map<String, Json>> {
    let mut meta = None;
    for part in parts {
        if let Field::Meta(key) = &part.field {
            let meta = meta.get_or_insert_with(|| known.clone());
            match part.json() {
                Some(value) => drop(meta.insert(key.clone(), value)),
                None => drop(meta.remove(key)),
            }
        }
    }
    meta
}

/// The same of an object inside the pass. Whether an update merges or replaces it is not known.
pub(super) fn block(name: &str, known: &Map<String, Json>, parts: &[&Part]) -> Option<Map<String, Json>> {
    let mut block = None;
    for part in parts {
        if let (Field::Block(of, _), Some(value)) = (&part.field, part.json())
            && *of == name
        {
            block.get_or_insert_with(|| writable(known)).insert(part.field.key().to_owned(), value);
        }
    }
    block
}

/// What was read, without what nobody writes and what says nothing.
pub(super) fn writable(block: &Map<String, Json>) -> Map<String, Json> {
    let writable = |name: &str, value: &Json| {
        !matches!(name, "externalId" | "externalIds") && !value.is_null() && *value != json!("") && *value != json!([])
    };
    block.iter().filter(|(name, value)| writable(name, value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
