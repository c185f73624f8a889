//! Constraints on the logical value (contracts/table-schema.md section 4), read into typed values when the schema is loaded.

use std::cmp::Ordering;
use std::fmt::Write as _;

use regex::Regex;

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
    Pattern {
        regex: Regex,
        written: String,
    },
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
            Check::Pattern { regex, .. } => match value {
                Value::Text(text) => regex.is_match(text),
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
            Check::Pattern { written, .. } => broken("pattern", format!("must match `{written}` as a whole (pattern)")),
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
        Value::Json(serde_json::Value::Array(items)) => items.len(),
        Value::Json(serde_json::Value::Object(items)) => items.len(),
        _ => 0,
    };
    length as u64
}

fn unit(value: &Value<'_>) -> &'static str {
    match value {
        Value::Text(_) => "characters",
        Value::Json(serde_json::Value::Object(_)) => "keys",
        _ => "items",
    }
}

/// Compiles an XML Schema pattern: anchored at both ends, with redundant `^` and `$` accepted because everybody writes them.
///
/// Refuses what XML Schema has and the `regex` crate lacks or reads otherwise (contracts/table-schema.md section 4).
pub(crate) fn pattern(written: &str) -> Result<Regex, String> {
    let mut escaped = false;
    let mut letters = written.chars().peekable();
    while let Some(letter) = letters.next() {
        if escaped {
            match (letter, letters.peek()) {
                ('i' | 'I' | 'c' | 'C', _) => {
                    return Err(format!("`\\{letter}` (XML name characters) is not supported; list the characters"));
                }
                ('1'..='9', _) => return Err("back-references are not supported".to_owned()),
                _ => {}
            }
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == '(' && ['=', '!'].into_iter().any(|kind| letters.clone().take(2).eq(['?', kind])) {
            return Err("look-around is not supported; say the same with several constraints or with enum".to_owned());
        } else if letter == '-' && letters.peek() == Some(&'[') {
            return Err("character-class subtraction (`-[`) is not supported; list the characters, or escape the bracket".to_owned());
        }
    }
    if written.contains("\\p{Is") || written.contains("\\P{Is") {
        return Err("block escapes (`\\p{Is…}`) are not supported; use a script such as `\\p{Greek}`".to_owned());
    }
    // Read alone first, so that `a)(b` cannot close the group that holds it.
    Regex::new(written).and_then(|_| Regex::new(&format!(r"\A(?:{written})\z"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        other => other.to_string().lines().last().unwrap_or("not a regular expression").trim_start_matches("error: ").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored_as_a_whole() {
        let matches = |written, text| pattern(written).unwrap().is_match(text);
        assert!(matches("a.c", "abc") && !matches("a.c", "xabc") && !matches("a.c", "abcd"));
        assert!(matches("a|b", "b") && !matches("a|b", "ax") && !matches("a|b", "xb"));
        assert!(matches("^[A-Z]{3}$", "EUR") && !matches("^[A-Z]{3}$", "EUR\n"));
        assert!(matches(r"[\d\-]+", "1-2"));
    }

    #[test]
    fn patterns_that_would_mean_something_else_are_refused() {
        for written in [r"\i\c*", r"(a)\1", "(?=a)b", "(?!a)b", "(?<=a)b", "[a-z-[aeiou]]", r"\p{IsGreek}", "a)(b", "["] {
            assert!(pattern(written).is_err(), "{written}");
        }
    }
}
