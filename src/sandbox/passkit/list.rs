//! Lists: filters, order and pages (contract section 4.3).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use chrono::{DateTime, TimeZone, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::documents::{Drawer, field};
use super::member::{Event, Member};
use super::shape::{self, text};
use super::state::State;
use crate::sandbox::answer::{Failure, Reply};

/// Rows of a page that names no limit.
pub(super) const DEFAULT_LIMIT: usize = 25;

pub(super) const MEMBER_FIELDS: &[&str] = &["externalId", "status", "tierId", "programId", "id", "created", "points"];
/// Nothing else is known to select events (contract section 4.2, M7).
pub(super) const EVENT_FIELDS: &[&str] = &["member.id"];

/// What a list asks for.
pub(super) struct Query {
    limit: Option<usize>,
    offset: usize,
    order_by: String,
    ascending: bool,
    /// All must hold.
    groups: Vec<Group>,
}

struct Group {
    any: bool,
    tests: Vec<Test>,
}

struct Test {
    field: String,
    operator: Operator,
    wanted: Comparable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Like,
}

/// A value as a filter compares it.
#[derive(Clone, PartialEq, PartialOrd)]
enum Comparable {
    Text(String),
    Number(f64),
    Time(DateTime<Utc>),
}

impl Query {
    /// Reads a body whose shape is already checked; refuses fields that cannot be filtered on.
    pub fn read(body: &Map<String, Value>, fields: &[&str], page_max: Option<usize>) -> Result<Query, Failure> {
        let nothing = Map::new();
        let filters = body.get("filters").and_then(Value::as_object).unwrap_or(&nothing);
        let whole = |name| filters.get(name).and_then(Value::as_i64).unwrap_or(0);
        let limit = match whole("limit") {
            0 => Some(DEFAULT_LIMIT),
            -1 => None,
            limit => Some(usize::try_from(limit).map_err(|_| Failure::invalid("limit must be -1 or more"))?),
        };
        let limit = match (limit, page_max) {
            (Some(limit), Some(most)) => Some(limit.min(most)),
            (limit, most) => limit.or(most),
        };
        let offset = usize::try_from(whole("offset")).map_err(|_| Failure::invalid("offset must not be negative"))?;
        let order_by = text(filters, "orderBy").to_owned();
        if !order_by.is_empty() && order_by != "created" && !fields.contains(&order_by.as_str()) {
            return Err(Failure::invalid(format_args!("cannot order by {order_by}")));
        }
        let ascending = order_by.is_empty() || shape::flag(filters, "orderAsc");
        let groups = objects(filters, "filterGroups").map(|group| Group::read(group, fields)).collect::<Result<_, _>>()?;
        Ok(Query { limit, offset, order_by, ascending, groups })
    }

    /// The page of members, by place.
    pub fn members(&self, state: &State) -> Vec<usize> {
        let mut places = self.matching(state);
        let ordered = !self.order_by.is_empty() && self.order_by != "created";
        if ordered {
            let mut keyed: Vec<_> = places.map(|place| (state.seen(place).and_then(|m| member_value(m, &self.order_by)), place)).collect();
            keyed.sort_by(|(a, _), (b, _)| {
                let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
                if self.ascending { order } else { order.reverse() }
            });
            return self.page(keyed.into_iter().map(|(_, place)| place));
        }
        if self.ascending {
            self.page(&mut places)
        } else {
            let mut all: Vec<_> = places.collect();
            all.reverse();
            self.page(all.into_iter())
        }
    }

    pub fn count(&self, state: &State) -> usize {
        self.matching(state).count()
    }

    /// The page of events, oldest first unless ordered otherwise.
    pub fn events(&self, state: &State) -> Result<Reply, Failure> {
        let until = state.events_until();
        let wanted =
            |event: &&Event| event.created <= until && self.groups.iter().all(|group| group.holds(|field| event_value(event, field)));
        let one = self.groups.iter().find_map(|group| group.only("member.id"));
        let found: Vec<&Event> = match one.as_deref() {
            // The usual question, answered without reading every event.
            Some([id]) => state.place_of_id(id).map(|place| state.events_of(place).filter(wanted).collect()).unwrap_or_default(),
            _ => state.events().iter().filter(wanted).collect(),
        };
        if self.ascending { lines(self.page(found.into_iter()).into_iter()) } else { lines(self.page(found.into_iter().rev()).into_iter()) }
    }

    /// Documents that meet the filters and are wanted, by place, in the order asked for.
    pub fn documents<'a>(&'a self, drawer: &'a Drawer, wanted: impl Fn(&Value) -> bool + 'a) -> Box<dyn Iterator<Item = usize> + 'a> {
        let holds = move |place: &usize| {
            let meets = |document: &Value| self.groups.iter().all(|group| group.holds(|field| document_value(document, field)));
            drawer.seen(*place).is_some_and(|document| meets(document) && wanted(document))
        };
        let places = drawer.places().filter(holds);
        if self.order_by.is_empty() || self.order_by == "created" {
            return if self.ascending { Box::new(places) } else { Box::new(places.rev()) };
        }
        let mut keyed: Vec<_> = places.map(|place| (drawer.seen(place).map(|document| field(document, &self.order_by)), place)).collect();
        keyed.sort_by(|(a, _), (b, _)| if self.ascending { a.cmp(b) } else { b.cmp(a) });
        Box::new(keyed.into_iter().map(|(_, place)| place))
    }

    pub fn page<T>(&self, rows: impl Iterator<Item = T>) -> Vec<T> {
        rows.skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }

    /// Members that meet the filters, in order of enrolment.
    fn matching<'a>(&'a self, state: &'a State) -> Box<dyn Iterator<Item = usize> + 'a> {
        let holds = move |place: &usize| {
            state.seen(*place).is_some_and(|member| self.groups.iter().all(|group| group.holds(|field| member_value(member, field))))
        };
        // A question about given external ids is answered from the index; a million members are not read for it.
        match self.groups.iter().find_map(|group| group.only("externalId")) {
            Some(ids) => {
                let places: BTreeSet<usize> = ids.iter().filter_map(|id| state.place_of_external_id(id)).collect();
                Box::new(places.into_iter().filter(holds))
            }
            None => Box::new((0..state.end()).filter(holds)),
        }
    }
}

impl Group {
    fn read(group: &Map<String, Value>, fields: &[&str]) -> Result<Group, Failure> {
        let tests = objects(group, "fieldFilters").map(|filter| Test::read(filter, fields)).collect::<Result<_, _>>()?;
        Ok(Group { any: text(group, "condition") == "OR", tests })
    }

    fn holds(&self, value: impl Fn(&str) -> Option<Comparable>) -> bool {
        let mut tests = self.tests.iter().map(|test| test.holds(value(&test.field).as_ref()));
        if self.any && !self.tests.is_empty() { tests.any(|holds| holds) } else { tests.all(|holds| holds) }
    }

    /// The values outside of which `field` cannot be for the group to hold.
    fn only(&self, field: &str) -> Option<Vec<String>> {
        let mut equal = self.tests.iter().map(|test| match &test.wanted {
            Comparable::Text(text) if test.field == field && test.operator == Operator::Equal => Some(text.clone()),
            _ => None,
        });
        if self.any && !self.tests.is_empty() { equal.collect() } else { equal.find_map(|text| text).map(|text| vec![text]) }
    }
}

impl Test {
    fn read(filter: &Map<String, Value>, fields: &[&str]) -> Result<Test, Failure> {
        let (field, value) = (text(filter, "filterField"), text(filter, "filterValue"));
        if !fields.contains(&field) {
            return Err(Failure::invalid(format_args!("cannot filter by {field}")));
        }
        let operator = match text(filter, "filterOperator") {
            "eq" => Operator::Equal,
            "gt" => Operator::Greater,
            "lt" => Operator::Less,
            "gte" => Operator::GreaterOrEqual,
            "lte" => Operator::LessOrEqual,
            "like" => Operator::Like,
            _ => return Err(Failure::invalid("filterOperator is required")),
        };
        let wanted = match field {
            "points" => value.parse().ok().map(Comparable::Number),
            "created" => shape::time(value)
                .or_else(|| value.parse().ok().and_then(|seconds| Utc.timestamp_opt(seconds, 0).single()))
                .map(Comparable::Time),
            _ => Some(Comparable::Text(value.to_owned())),
        };
        let wanted = wanted.ok_or_else(|| Failure::invalid(format_args!("{value:?} cannot be compared with {field}")))?;
        Ok(Test { field: field.to_owned(), operator, wanted })
    }

    fn holds(&self, value: Option<&Comparable>) -> bool {
        let Some(value) = value else { return false };
        if self.operator == Operator::Like {
            return matches!((value, &self.wanted), (Comparable::Text(text), Comparable::Text(pattern)) if like(text, pattern));
        }
        let Some(order) = value.partial_cmp(&self.wanted) else { return false };
        match self.operator {
            Operator::Equal | Operator::Like => order == Ordering::Equal,
            Operator::Greater => order == Ordering::Greater,
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
        }
    }
}

/// `%` stands for any text; a pattern without one is looked for anywhere.
fn like(text: &str, pattern: &str) -> bool {
    if !pattern.contains('%') {
        return text.contains(pattern);
    }
    let mut rest = text;
    let mut parts = pattern.split('%').peekable();
    let Some(first) = parts.next() else { return true };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn member_value(member: &Member, field: &str) -> Option<Comparable> {
    Some(match field {
        "points" => Comparable::Number(f64::from(member.points)),
        "created" => Comparable::Time(shape::time(&member.created)?),
        "externalId" => Comparable::Text(member.external_id.clone()),
        "status" => Comparable::Text(member.status.clone()),
        "tierId" => Comparable::Text(member.tier_id.clone()),
        "programId" => Comparable::Text(member.program_id.clone()),
        "id" => Comparable::Text(member.id.clone()),
        _ => return None,
    })
}

fn document_value(document: &Value, name: &str) -> Option<Comparable> {
    Some(match name {
        "created" => Comparable::Time(shape::time(field(document, name))?),
        _ => Comparable::Text(field(document, name).to_owned()),
    })
}

fn event_value(event: &Event, field: &str) -> Option<Comparable> {
    Some(match field {
        "member.id" => Comparable::Text(event.member.id.clone()),
        _ => return None,
    })
}

fn objects<'a>(object: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    object.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Rows to stream that are already at hand.
pub(super) fn lines<'a, T: Serialize + 'a>(rows: impl Iterator<Item = &'a T>) -> Result<Reply, Failure> {
    let lines: Result<Vec<String>, _> = rows.map(serde_json::to_string).collect();
    lines.map(Reply::lines).map_err(|problem| Failure::new(500, problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_takes_percent_for_any_text() {
        assert!(like("CUST-0042", "CUST-%") && like("CUST-0042", "%42") && like("CUST-0042", "C%00%2") && like("CUST-0042", "ST-0"));
        assert!(!like("CUST-0042", "UST-%") && !like("CUST-0042", "%4") && !like("CUST-0042", "C%x%2"));
    }
}
