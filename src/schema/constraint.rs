//! Constraints on the logical value (contracts/table-schema.md section 4), read into typed values when the schema is loaded.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::pattern::Pattern;
use super::value::Value;
use super::{duration, order};
use crate::outcome::{Code, Problem};

/// The constraints of a field in the order in which they are reported. `required` and `unique` are the field's own.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Check>);

#[derive(Debug)]
pub(crate) enum Check {
    /// Characters (code points), items or keys.
    Length {
        name: &'static str,
        least: bool,
        bound: u64,
    },
    Bound(Bound),
    Pattern(Pattern),
    Enum(Choice),
    /// `categories`, which have a code of their own.
    Categories(Choice),
    #[cfg(feature = "json-schema")]
    JsonSchema(Box<jsonschema::Validator>),
}

/// One of `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`.
#[derive(Debug)]
pub(crate) struct Bound {
    pub name: &'static str,
    pub value: Value<'static>,
    /// The bound as the descriptor writes it.
    pub written: String,
    pub lower: bool,
    pub exclusive: bool,
}

impl Bound {
    #[inline]
    fn holds(&self, value: &Value<'_>) -> bool {
        let fits = |order| match order {
            Ordering::Less => !self.lower,
            Ordering::Greater => self.lower,
            Ordering::Equal => !self.exclusive,
        };
        match (value, &self.value) {
            (Value::Duration(length), Value::Duration(bound)) => duration::holds(length, bound, fits),
            (value, bound) => order::compare(value, bound).is_some_and(fits),
        }
    }

    fn message(&self) -> String {
        let relation = match (self.lower, self.exclusive) {
            (true, false) => "at least",
            (false, false) => "at most",
            (true, true) => "more than",
            (false, true) => "less than",
        };
        format!("must be {relation} {} ({})", self.written, self.name)
    }
}

/// A closed list of values.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Texts, in order so that they are found quickly; all other values are compared one by one.
    texts: Vec<String>,
    others: Vec<Value<'static>>,
    /// As the descriptor writes them.
    written: Vec<String>,
}

/// A message that names more choices than this is not read.
const CHOICES_SHOWN: usize = 12;

impl Choice {
    pub fn new(values: Vec<Value<'static>>, written: Vec<String>) -> Choice {
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for value in values {
            match value {
                Value::Text(text) => texts.push(text.into_owned()),
                other => others.push(other),
            }
        }
        texts.sort_unstable();
        Choice { texts, others, written }
    }

    #[inline]
    pub fn has(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Text(text) => self.texts.binary_search_by(|one| one.as_str().cmp(text)).is_ok(),
            other => self.others.iter().any(|one| order::equal(one, other)),
        }
    }

    fn problem(&self, code: Code, name: &str, value: &Value<'_>, column: Option<usize>) -> Problem {
        let mut shown = self.written.iter().take(CHOICES_SHOWN).map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        if self.written.len() > CHOICES_SHOWN {
            let _ = write!(shown, " and {} more", self.written.len() - CHOICES_SHOWN);
        }
        let problem = Problem::new(code, column, format!("must be one of {shown} ({name})"));
        let wanted = value.canonical().trim().to_lowercase();
        let near = self
            .written
            .iter()
            .map(|one| (strsim::jaro_winkler(&one.to_lowercase(), &wanted), one))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match near {
            Some((_, near)) => problem.suggest(near.clone()),
            None => problem,
        }
    }
}

impl Checks {
    pub fn push(&mut self, check: Check) {
        self.0.push(check);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a problem for each constraint that the value breaks.
    #[inline]
    pub fn check(&self, value: &Value<'_>, column: Option<usize>, problems: &mut Vec<Problem>) {
        for check in &self.0 {
            if !check.holds(value) {
                problems.extend(check.problems(value, column));
            }
        }
    }
}

impl Check {
    #[inline]
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            // No text has more characters than bytes.
            Check::Length { least: false, bound, .. } if matches!(value, Value::Text(text) if text.len() as u64 <= *bound) => true,
            Check::Length { least, bound, .. } => {
                if *least {
                    length(value) >= *bound
                } else {
                    length(value) <= *bound
                }
            }
            Check::Bound(bound) => bound.holds(value),
            Check::Pattern(pattern) => match value {
                Value::Text(text) => pattern.is_match(text),
                _ => true,
            },
            Check::Enum(choice) | Check::Categories(choice) => choice.has(value),
            #[cfg(feature = "json-schema")]
            Check::JsonSchema(validator) => match value {
                Value::Json(json) => validator.is_valid(json),
                _ => true,
            },
        }
    }

    #[cold]
    fn problems(&self, value: &Value<'_>, column: Option<usize>) -> Vec<Problem> {
        let broken = |name: &str, message: String| Problem::new(Code::ConstraintError, column, message).constraint(name);
        vec![match self {
            Check::Length { name, least, bound } => {
                let relation = if *least { "at least" } else { "at most" };
                broken(name, format!("must have {relation} {bound} {} ({name})", unit(value)))
            }
            Check::Bound(bound) => broken(bound.name, bound.message()),
            Check::Pattern(pattern) => broken("pattern", format!("must match `{}` as a whole (pattern)", pattern.written())),
            Check::Enum(choice) => choice.problem(Code::ConstraintError, "enum", value, column).constraint("enum"),
            Check::Categories(choice) => choice.problem(Code::CategoryError, "categories", value, column),
            #[cfg(feature = "json-schema")]
            Check::JsonSchema(validator) => {
                let Value::Json(json) = value else { return Vec::new() };
                let places: Vec<String> = validator
                    .iter_errors(json)
                    .map(|error| format!("`{}` at `{}`", error.kind().keyword(), error.instance_path()))
                    .collect();
                broken("jsonSchema", format!("must satisfy the JSON Schema; broken: {} (jsonSchema)", places.join(", ")))
            }
        }]
    }
}

fn length(value: &Value<'_>) -> u64 {
    let length = match value {
        Value::Text(text) if text.is_ascii() => text.len(),
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Json(json) => json.as_array().map_or_else(|| json.as_object().map_or(0, serde_json::Map::len), Vec::len),
        _ => 0,
    };
    length as u64
}

fn unit(value: &Value<'_>) -> &'static str {
    match value {
        Value::Text(_) => "characters",
        Value::Json(json) if json.is_object() => "keys",
        _ => "items",
    }
}
