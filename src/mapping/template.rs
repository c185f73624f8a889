//! Templates over columns: what they may use, and how much text they may make.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use minijinja::value::{Kwargs, Rest, ValueOrKwargs};
use minijinja::{Environment, State, UndefinedBehavior, filters};
use rust_decimal::Decimal;

use super::{FieldSource, compare, times};
use crate::schema::value::Value;
use crate::schema::{FieldType, Schema};

/// Steps a template may take; a loop that needs more is a mistake.
const TEMPLATE_FUEL: u64 = 20_000;

/// Text that a template may make, and that one cell may bring into it; no platform's field holds as much.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;

pub(super) const TEMPLATE_CELL_MAX: usize = 16 << 10;

/// Numbers of a range, so that joining them by a cell stays small.
const TEMPLATE_RANGE_MAX: usize = 1000;

/// A template whose columns are fields of the schema.
pub(super) fn template_source(
    templates: &mut Environment<'static>,
    name: &str,
    text: &str,
    key: &str,
    schema: &Schema,
    field_named: &mut dyn FnMut(&str, &str) -> Option<usize>,
    faults: &mut Vec<String>,
) -> Option<FieldSource> {
    match used_columns(templates, name, text) {
        Ok(columns) => {
            let indexes: Vec<_> = columns.iter().filter_map(|column| field_named(key, column)).collect();
            let kind = |name: &str| schema.field_index(name).map(|index| schema.fields()[index].kind);
            let is_number = |name: &str| kind(name) == Some(FieldType::Integer);
            let multiplies = times::multiplies(text, is_number).map_err(|fault| faults.push(format!("{key}: {fault}")));
            let guarded = compare::guarded(text, kind).and_then(|text| load(templates, name, &text));
            guarded.unwrap_or_else(|fault| faults.push(format!("{key}: {fault}")));
            (indexes.len() == columns.len()).then(|| FieldSource::Template {
                name: name.to_owned(),
                fields: indexes,
                multiplies: multiplies.unwrap_or(true),
            })
        }
        Err(fault) => {
            faults.push(format!("{key}: {fault}"));
            None
        }
    }
}

/// What templates may use. A cell may reach a filter as a number: those that make as much text as a number says are left out.
pub(super) fn environment() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    templates.set_fuel(Some(TEMPLATE_FUEL));
    for filter in ["indent", "tojson", "pprint", "batch", "slice"] {
        templates.remove_filter(filter);
    }
    // They compare without a look at what.
    for test in compare::TESTS {
        templates.remove_test(test);
    }
    templates.add_filter(compare::AS_NUMBER, |value: &minijinja::Value| compare::as_number(value));
    templates.add_filter(compare::AS_GIVEN, |value: &minijinja::Value| compare::as_given(value));
    templates.add_filter("min", |state: &State<'_, '_>, list: &minijinja::Value, how: Kwargs| {
        filters::min(state, compare::comparable(list)?, how)
    });
    templates.add_filter("max", |state: &State<'_, '_>, list: &minijinja::Value, how: Kwargs| {
        filters::max(state, compare::comparable(list)?, how)
    });
    templates.add_filter("sort", |state: &State<'_, '_>, list: &minijinja::Value, how: Kwargs| {
        filters::sort(state, compare::comparable(list)?, how)
    });
    templates.add_filter("format", format);
    templates.add_filter("ceil", |value: &minijinja::Value| whole(value, Decimal::ceil));
    templates.add_filter("floor", |value: &minijinja::Value| whole(value, Decimal::floor));
    templates.add_function("range", range);
    // What it holds outlives a turn of a loop, so that a text could double with each.
    templates.remove_global("namespace");
    templates
}

/// A number made whole: "one point for each euro or part of it". Decimals reach a template as text and are never binary fractions, so
/// that 19.00 is 19 and not a trace more.
fn whole(value: &minijinja::Value, how: impl Fn(&Decimal) -> Decimal) -> Result<minijinja::Value, minijinja::Error> {
    let wrong = || said("ceil and floor want a number");
    let text = value.to_string();
    if text.is_empty() {
        return Ok(minijinja::Value::from(""));
    }
    let number = Decimal::from_str_exact(&text).map_err(|_| wrong())?;
    i64::try_from(how(&number)).map(minijinja::Value::from).map_err(|_| wrong())
}

/// What a filter of ours says of a cell, which it never repeats.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(Cow<'static, str>);

pub(super) fn said(words: impl Into<Cow<'static, str>>) -> minijinja::Error {
    let words = words.into();
    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, words.clone()).with_source(Said(words))
}

/// The engine's own, but for widths and precisions that are large or come from a cell.
fn format(
    state: &mut minijinja::State<'_, '_>,
    form: &minijinja::Value,
    values: Rest<ValueOrKwargs>,
) -> Result<minijinja::Value, minijinja::Error> {
    let text = form.as_str().unwrap_or_default();
    if text.contains('*') || text.as_bytes().windows(4).any(|four| four.iter().all(u8::is_ascii_digit)) {
        return Err(said("a width of format is a number below 1000"));
    }
    filters::format(state, form, values)
}

/// The engine's own, but shorter.
fn range(lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<minijinja::Value, minijinja::Error> {
    let range = minijinja::functions::range(lower, upper, step)?;
    if range.len().is_some_and(|length| length <= TEMPLATE_RANGE_MAX) {
        Ok(range)
    } else {
        Err(said(format!("a range has at most {TEMPLATE_RANGE_MAX} numbers")))
    }
}

/// The columns that a template uses, in order, or what is wrong with it.
pub fn template_columns(text: &str) -> Result<Vec<String>, String> {
    used_columns(&mut environment(), "template", text)
}

/// Loads a template and lists the columns it uses, in the order in which they are filled in.
fn used_columns(templates: &mut Environment<'static>, name: &str, text: &str) -> Result<Vec<String>, String> {
    if text.contains("{%") && text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "recursive") {
        return Err("a template may not call itself; leave out `recursive`".into());
    }
    load(templates, name, text)?;
    let template = templates.get_template(name).map_err(|error| error.to_string())?;
    Ok(columns_of(templates, &template))
}

fn load(templates: &mut Environment<'static>, name: &str, text: &str) -> Result<(), String> {
    templates.add_template_owned(name.to_owned(), text.to_owned()).map_err(|error| {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        format!("is not a template: {detail}; write such as \"{{{{ COLUMN }}}} points\"")
    })
}

/// Names that nothing in the template gives a value to, but for the engine's own functions.
fn columns_of(templates: &Environment<'_>, template: &minijinja::Template<'_, '_>) -> Vec<String> {
    let mut names: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    for (function, _) in templates.globals() {
        names.remove(function);
    }
    names.into_iter().collect()
}

/// A template's text for a row. `values` come in the order in which the template's columns were listed when it was loaded.
pub(super) fn render<'v>(
    templates: &Environment<'_>,
    name: &str,
    values: impl Iterator<Item = Option<&'v Value<'v>>>,
) -> Result<String, String> {
    let template = templates.get_template(name).map_err(|error| error.to_string())?;
    let row: BTreeMap<String, minijinja::Value> = columns_of(templates, &template).into_iter().zip(values.map(template_value)).collect();
    let mut text = Bounded(Vec::new());
    match template.render_captured_to(minijinja::Value::from(row), &mut text) {
        Ok(_) => String::from_utf8(text.0).map_err(|error| error.to_string()),
        Err(error) if error.kind() == minijinja::ErrorKind::WriteFailure => {
            Err(format!("the template makes more than {TEMPLATE_BYTES_MAX} bytes of text"))
        }
        Err(error) => {
            use minijinja::ErrorKind::{UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
            // What the engine says of an operation repeats its operands, which may be personal; names are the template's own.
            let of_name = matches!(error.kind(), UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest);
            let detail = error.detail().filter(|_| of_name).map(|detail| format!(": {detail}")).unwrap_or_default();
            Err(match error.source().and_then(|source| source.downcast_ref::<Said>()) {
                Some(said) => format!("the template cannot be filled: {said}"),
                None => format!("the template cannot be filled: {}{detail}", error.kind()),
            })
        }
    }
}

/// What a template says, up to a limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + piece.len() > TEMPLATE_BYTES_MAX {
            return Err(std::io::Error::other("too much text"));
        }
        self.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whole numbers can be reckoned with; decimals are text, since templates know only binary floats. Empty cells are empty text. Where either is
/// compared, [`compare`] sees to it.
fn template_value(value: Option<&Value<'_>>) -> minijinja::Value {
    match value {
        None => minijinja::Value::from(""),
        Some(Value::Integer(n)) => minijinja::Value::from(*n),
        Some(Value::Boolean(b)) => minijinja::Value::from(*b),
        Some(value) => minijinja::Value::from(value.canonical().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_unit_count_for_a_whole_one_and_nothing_is_added_by_rounding() {
        let made = |template: &str, total: &str| {
            let mut templates = environment();
            used_columns(&mut templates, "t", template).unwrap();
            let total = Value::Number(total.parse().unwrap());
            render(&templates, "t", std::iter::once(Some(&total)))
        };
        for (total, points) in [("19.00", "19"), ("19.01", "20"), ("0.1", "1"), ("0", "0"), ("-0.5", "0"), ("1234567.000001", "1234568")] {
            assert_eq!(made("{{ total | ceil }}", total).unwrap(), points);
        }
        assert_eq!(made("{{ total | floor * 10 }}", "2.99").unwrap(), "20");
        assert!(made("{{ 'x' ~ total | ceil }}", "2.99").is_ok());
        assert!(made("{{ ('x' ~ total) | ceil }}", "2.99").unwrap_err().contains("cannot be filled"));
    }
}
