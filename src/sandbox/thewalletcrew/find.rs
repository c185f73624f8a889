//! `GET /api/{tenantId}/passes`: filters, order, pages (contract section 2.3).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::passes::Passes;
use crate::sandbox::answer::Failure;

const PAGE: usize = 20;

pub(super) struct Query {
    page_index: usize,
    page_size: usize,
    filters: Vec<Filter>,
    sort: Vec<(String, bool)>,
}

pub(super) struct Filter {
    pub field: String,
    pub contains: bool,
    pub value: String,
}

impl Query {
    pub fn read(pairs: &[(String, String)], page_max: Option<usize>) -> Result<Query, Failure> {
        let whole = |name: &str, usual: usize| match pairs.iter().find(|(known, _)| known == name) {
            Some((_, text)) => text.parse::<usize>().map_err(|_| Failure::new(400, format!("The value '{text}' is not valid for {name}."))),
            None => Ok(usual),
        };
        let page_size = whole("pageSize", PAGE)?;
        if page_size == 0 {
            return Err(Failure::new(400, "pageSize must be at least 1."));
        }
        let filters = filters(pairs)?;
        let sort = grouped(pairs, "sortBy").into_values().map(|mut sort| {
            let field = sort.remove("field").unwrap_or_default();
            match sort.remove("direction").as_deref() {
                Some("DESC") => Ok((field, true)),
                Some("ASC") | None => Ok((field, false)),
                Some(other) => Err(Failure::new(400, format!("Unknown direction '{other}'."))),
            }
        });
        let page_size = page_max.map_or(page_size, |most| page_size.min(most));
        Ok(Query { page_index: whole("pageIndex", 0)?, page_size, filters, sort: sort.collect::<Result<_, _>>()? })
    }

    /// The page, and how many there are in all.
    pub fn page(&self, passes: &Passes) -> (Vec<Value>, usize) {
        // A question for one identifier is answered from the index.
        let exact = self.filters.iter().find_map(|filter| Some((filter.field.strip_prefix("identifiers.")?, filter)));
        let mut found: Vec<&Value> = match exact.filter(|(_, filter)| !filter.contains) {
            Some((name, filter)) => passes.with(name, &filter.value).iter().filter_map(|id| passes.get(id)).collect(),
            None => passes.all(),
        };
        found.retain(|pass| self.filters.iter().all(|filter| filter.holds(pass)));
        for (field, descending) in self.sort.iter().rev() {
            found.sort_by(|a, b| {
                let order = value_of(a, field).partial_cmp(&value_of(b, field)).unwrap_or(Ordering::Equal);
                if *descending { order.reverse() } else { order }
            });
        }
        let total = found.len();
        let from = self.page_index.saturating_mul(self.page_size);
        (found.into_iter().skip(from).take(self.page_size).cloned().collect(), total)
    }
}

impl Filter {
    fn holds(&self, pass: &Value) -> bool {
        let Some(value) = value_of(pass, &self.field) else { return false };
        if self.contains { value.contains(&self.value) } else { value == self.value }
    }
}

/// `filter[i].field`, `.operator` and `.value`.
pub(super) fn filters(pairs: &[(String, String)]) -> Result<Vec<Filter>, Failure> {
    let filter = |mut parts: BTreeMap<String, String>| {
        let field = parts.remove("field").unwrap_or_default();
        let contains = match parts.remove("operator").as_deref() {
            Some("equals") => false,
            Some("contains") => true,
            other => return Err(Failure::new(400, format!("Unknown operator '{}'.", other.unwrap_or_default()))),
        };
        let known = field.starts_with("identifiers.") || field.starts_with("metadata.");
        if !known && field != "passType" && field != "installationStatus" {
            return Err(Failure::new(400, format!("Cannot filter by '{field}'.")));
        }
        Ok(Filter { field, contains, value: parts.remove("value").unwrap_or_default() })
    };
    grouped(pairs, "filter").into_values().map(filter).collect()
}

fn grouped(pairs: &[(String, String)], name: &str) -> BTreeMap<usize, BTreeMap<String, String>> {
    let mut groups: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in pairs {
        let part = || {
            let (index, part) = key.strip_prefix(name)?.strip_prefix('[')?.split_once("].")?;
            Some((index.parse().ok()?, part.to_owned()))
        };
        if let Some((index, part)) = part() {
            groups.entry(index).or_default().insert(part, value.clone());
        }
    }
    groups
}

fn value_of(pass: &Value, field: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let found = match field {
        "id" | "passType" | "creationDate" | "lastUpdateDate" => pass.get(field),
        "apple" | "google" => pass["providers"].get(field),
        "installationStatus" => {
            let installed = pass["providers"].as_object().is_some_and(|providers| !providers.is_empty());
            return Some(if installed { "installed" } else { "notInstalled" }.to_owned());
        }
        _ => {
            let (block, key) = field.split_once('.').unwrap_or(("identifiers", field));
            pass.get(block).and_then(|block| block.get(key))
        }
    };
    found.filter(|value| !value.is_null()).map(text)
}
