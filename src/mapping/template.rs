//! Templates over columns: what they may use, and how much text they may make.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, UndefinedBehavior};

use super::{FieldSource, times};
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
            let is_number = |name: &str| schema.field_index(name).is_some_and(|index| schema.fields()[index].kind == FieldType::Integer);
            let multiplies = times::multiplies(text, is_number).map_err(|fault| faults.push(format!("{key}: {fault}")));
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
    templates.add_filter("format", format);
    templates.add_function("range", range);
    // What it holds outlives a turn of a loop, so that a text could double with each.
    templates.remove_global("namespace");
    templates
}

/// The engine's own, but for widths and precisions that are large or come from a cell.
fn format(
    state: &mut minijinja::State<'_, '_>,
    form: &minijinja::Value,
    values: Rest<ValueOrKwargs>,
) -> Result<minijinja::Value, minijinja::Error> {
    let text = form.as_str().unwrap_or_default();
    if text.contains('*') || text.as_bytes().windows(4).any(|four| four.iter().all(u8::is_ascii_digit)) {
        return Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "a width of format is a number below 1000"));
    }
    minijinja::filters::format(state, form, values)
}

/// The engine's own, but shorter.
fn range(lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<minijinja::Value, minijinja::Error> {
    let range = minijinja::functions::range(lower, upper, step)?;
    if range.len().is_some_and(|length| length <= TEMPLATE_RANGE_MAX) {
        Ok(range)
    } else {
        let message = format!("a range has at most {TEMPLATE_RANGE_MAX} numbers");
        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
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
    templates.add_template_owned(name.to_owned(), text.to_owned()).map_err(|error| {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        format!("is not a template: {detail}; write such as \"{{{{ COLUMN }}}} points\"")
    })?;
    let template = templates.get_template(name).map_err(|error| error.to_string())?;
    Ok(columns_of(templates, &template))
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
            Err(format!("the template cannot be filled: {}{detail}", error.kind()))
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

/// Whole numbers can be reckoned with; decimals are text, since templates know only binary floats. Empty cells are empty text.
fn template_value(value: Option<&Value<'_>>) -> minijinja::Value {
    match value {
        None => minijinja::Value::from(""),
        Some(Value::Integer(n)) => minijinja::Value::from(*n),
        Some(Value::Boolean(b)) => minijinja::Value::from(*b),
        Some(value) => minijinja::Value::from(value.canonical().into_owned()),
    }
}
