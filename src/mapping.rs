//! Values to operations: which pass a row is about, what it means, and what each pass field is to hold.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Datelike, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{Environment, UndefinedBehavior};
use rust_decimal::Decimal;

use crate::config::meant::{Feed, FieldMapping, OperationChoice, PassColumn};
use crate::outcome::{Code, Problem};
use crate::platform::{Account, FieldKind, FieldRule};
use crate::row::{Change, FieldChange, PassKey, Target, Update, Verb, Wanted};
use crate::schema::value::Value;
use crate::schema::{Columns, Empty, FieldType, Schema, looks_like_spreadsheet_damage, strict_date, strict_datetime};
pub use adds::Place;
use adds::{AddRules, Consenting};

mod adds;
mod stamp;
mod times;

/// A feed's mapped fields are told apart by one bit each.
pub const FIELDS_MAX: usize = 64;

/// Steps a template may take; a loop that needs more is a mistake.
const TEMPLATE_FUEL: u64 = 20_000;

/// Text that a template may make, and that one cell may bring into it; no platform's field holds as much.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;
const TEMPLATE_CELL_MAX: usize = 16 << 10;

/// Numbers of a range, so that joining them by a cell stays small.
const TEMPLATE_RANGE_MAX: usize = 1000;

pub struct Mapping {
    platform: Account,
    pass: usize,
    by_external_id: bool,
    operation: Operation,
    fields: Vec<MappedField>,
    adds: Option<AddRules>,
    consent: Option<Consenting>,
    updated_at: Option<usize>,
    templates: Environment<'static>,
    timezone: Tz,
}

enum Operation {
    Always(Verb),
    Column { field: usize, words: BTreeMap<String, Verb> },
}

/// A pass field and where its value comes from.
pub struct MappedField {
    /// The platform's name for it.
    pub name: Arc<str>,
    pub rule: FieldRule,
    source: FieldSource,
    /// What an empty cell means.
    empty: Empty,
    /// Made from at least one personal column.
    pub personal: bool,
}

enum FieldSource {
    Field(usize),
    Template {
        name: String,
        fields: Vec<usize>,
        /// It reckons with numbers, which must then be such.
        multiplies: bool,
    },
}

impl MappedField {
    /// The schema fields it is made from.
    fn inputs(&self) -> &[usize] {
        self.source.inputs()
    }
}

impl FieldSource {
    fn inputs(&self) -> &[usize] {
        match self {
            FieldSource::Field(field) => std::slice::from_ref(field),
            FieldSource::Template { fields, .. } => fields,
        }
    }
}

impl Mapping {
    /// Checks a feed's mapping against its schema and platform. All faults at once, each as `key: what`.
    pub fn new(feed: &Feed, schema: &Schema, platform: Account) -> Result<Mapping, Vec<String>> {
        let mut faults = Vec::new();
        let mut field_named = |key: &str, column: &str| {
            let index = schema.field_index(column);
            if index.is_none() {
                let names = schema.fields().iter().map(|field| &*field.name);
                faults.push(format!("{key}: the schema has no field {column:?}{}", did_you_mean(column, names)));
            }
            index
        };
        let pass = field_named("pass", feed.pass.column());
        let operation = match &feed.operation {
            OperationChoice::Always(verb) => Some(Operation::Always(*verb)),
            OperationChoice::Column { column, words } => field_named("operation.column", column).map(|field| {
                let words = if words.is_empty() {
                    let known = platform.verbs().iter().filter(|verb| feed.adds.is_some() || verb.add().is_none());
                    known.map(|&verb| (verb.as_str().to_owned(), verb)).collect()
                } else {
                    words.clone()
                };
                Operation::Column { field, words }
            }),
        };
        let updated_at = feed.updated_at.as_ref().and_then(|column| field_named("updated_at", column));
        let mut templates = environment();
        let mut fields = Vec::new();
        let mut more_faults = Vec::new();
        for (name, mapping) in &feed.fields {
            let key = format!("fields.{name}");
            let rule = match platform.field(name) {
                Ok(rule) => rule,
                Err(fault) => {
                    more_faults.push(format!("{key}: {fault}"));
                    continue;
                }
            };
            let source = match mapping {
                FieldMapping::Column(column) => field_named(&key, column).map(FieldSource::Field),
                FieldMapping::Template(text) => {
                    template_source(&mut templates, name, text, &key, schema, &mut field_named, &mut more_faults)
                }
            };
            let Some(source) = source else { continue };
            let mut field = MappedField { name: Arc::from(name.as_str()), rule, source, empty: Empty::Keep, personal: false };
            field.personal = field.inputs().iter().any(|&index| schema.fields()[index].personal);
            if let FieldSource::Field(index) = field.source {
                field.empty = schema.fields()[index].empty;
            }
            if field.empty == Empty::Clear && !field.rule.clearable {
                more_faults.push(format!("{key}: the platform cannot clear this field; set x-passferry.empty to \"keep\" or \"reject\""));
            }
            fields.push(field);
        }
        let (adds, consent) = adds::rules(feed, schema, &platform, &fields, &mut templates, &mut field_named, &mut more_faults);
        faults.extend(more_faults);
        if let Some(field) = updated_at.map(|index| &schema.fields()[index])
            && !stamp::KINDS.contains(&field.kind)
        {
            faults.push(format!(
                "updated_at: {} is a column of type {}; it must be a datetime, a date or an integer",
                field.name, field.kind
            ));
        }
        if feed.fields.len() > FIELDS_MAX {
            faults.push(format!("fields: {} pass fields are mapped, at most {FIELDS_MAX} can be", feed.fields.len()));
        }
        faults.extend(verb_faults(&feed.operation, &platform));
        match (pass, operation) {
            (Some(pass), Some(operation)) if faults.is_empty() => Ok(Mapping {
                platform,
                pass,
                by_external_id: matches!(feed.pass, PassColumn::ExternalId(_)),
                operation,
                fields,
                adds,
                consent,
                updated_at,
                templates,
                timezone: feed.timezone,
            }),
            _ => Err(faults),
        }
    }

    pub fn fields(&self) -> &[MappedField] {
        &self.fields
    }

    /// The schema field that names the pass.
    pub fn pass_field(&self) -> usize {
        self.pass
    }

    /// The identifier in a record's own text: never a number's canonical form, so that leading zeros stay.
    pub fn target(&self, columns: &Columns, cells: &[Cow<'_, str>]) -> Option<Target> {
        let text = columns.column_of_field[self.pass].and_then(|column| cells.get(column)).map(|cell| &**cell)?;
        if text.is_empty() {
            return None;
        }
        Some(if self.by_external_id { Target::External(text.to_owned()) } else { Target::Pass(text.to_owned()) })
    }

    /// Maps a row whose cells passed the schema. Appends problems and returns none when it cannot.
    pub fn update<'v>(
        &self,
        columns: &Columns,
        cells: &[Cow<'_, str>],
        values: &[Option<Value<'v>>],
        place: &Place<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Update<'v>> {
        let before = problems.len();
        let column_of = |field: usize| columns.column_of_field[field];
        let target = self.target(columns, cells);
        match &target {
            None => problems.push(Problem::new(Code::MappingError, column_of(self.pass), "the cell that names the pass is empty")),
            Some(target) if looks_like_spreadsheet_damage(target.text()) => problems.push(
                Problem::new(Code::SpreadsheetDamage, column_of(self.pass), "the identifier is a number in exponent form")
                    .suggest("format the column as text before saving"),
            ),
            Some(_) => {}
        }
        let verb = self.verb(column_of, values, problems);
        let add = verb.and_then(Verb::add);
        let mut withheld = self.withheld(values);
        let mut amounts = Vec::new();
        let mut wanted = Vec::with_capacity(self.fields.len());
        for (index, field) in self.fields.iter().enumerate() {
            let column = field.inputs().first().and_then(|&input| column_of(input));
            // A column that the file lacks never changes anything.
            if !field.inputs().is_empty() && field.inputs().iter().all(|&input| column_of(input).is_none()) {
                withheld.fields &= !(1 << index);
                continue;
            }
            if withheld.fields & (1 << index) != 0 {
                if self.consent.as_ref().is_some_and(|consent| consent.clear) {
                    wanted.push(Wanted { field: index as u8, value: None });
                }
                continue;
            }
            let value = match self.value(field, values) {
                Ok(value) => value,
                Err(message) => {
                    problems.push(Problem::new(Code::MappingError, column, message));
                    continue;
                }
            };
            match (value, field.empty) {
                // Where another word is the marker for "no value", an empty cell still says nothing.
                (Some(Value::Text(text)), _) if text.is_empty() => {}
                (Some(value), _) if add.is_some() && field.rule.balance => match adds::amount(&value) {
                    Ok(amount) => match self.platform.check_value(&field.name, &value) {
                        Ok(()) => amounts.extend((!amount.is_zero()).then_some((index as u8, amount))),
                        Err(fault) => problems.push(Problem::new(fault.code, column, format!("{}: {}", field.name, fault.message))),
                    },
                    Err(message) => problems.push(Problem::new(Code::MappingError, column, message)),
                },
                // An amount that is not given adds nothing, and never takes anything away.
                (None, Empty::Keep | Empty::Clear) if add.is_some() && field.rule.balance => {}
                (Some(value), _) => match self.platform.check_value(&field.name, &value) {
                    Ok(()) => wanted.push(Wanted { field: index as u8, value: Some(value) }),
                    Err(fault) => problems.push(Problem::new(fault.code, column, format!("{}: {}", field.name, fault.message))),
                },
                (None, Empty::Keep) => {}
                (None, Empty::Clear) => wanted.push(Wanted { field: index as u8, value: None }),
                (None, Empty::Reject) => problems.push(Problem::new(Code::EmptyRejected, column, "the cell is empty")),
            }
        }
        let adds = self.adds(add, amounts, &mut withheld, columns, cells, values, place, problems);
        let stamp = match self.stamp(verb, values) {
            Ok(stamp) => stamp,
            Err(message) => {
                problems.push(Problem::new(Code::MappingError, self.updated_at.and_then(column_of), message));
                None
            }
        };
        match (target, verb) {
            (Some(target), Some(verb)) if problems.len() == before => Some(Update { target, verb, wanted, adds, withheld, stamp }),
            _ => None,
        }
    }

    fn verb(&self, column_of: impl Fn(usize) -> Option<usize>, values: &[Option<Value<'_>>], problems: &mut Vec<Problem>) -> Option<Verb> {
        match &self.operation {
            Operation::Always(verb) => Some(*verb),
            Operation::Column { field, words } => {
                let word = values[*field].as_ref().map(|value| value.canonical().into_owned()).unwrap_or_default();
                let verb = words.get(&word).copied();
                if verb.is_none() {
                    let known = words.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    problems.push(Problem::new(Code::MappingError, column_of(*field), format!("the operation is none of: {known}")));
                }
                verb
            }
        }
    }

    fn value<'v>(&self, field: &MappedField, values: &[Option<Value<'v>>]) -> Result<Option<Value<'v>>, String> {
        let value = self.source_value(&field.source, values)?;
        value.map(|value| coerce(value, field.rule.kind, self.timezone)).transpose()
    }

    fn source_value<'v>(&self, source: &FieldSource, values: &[Option<Value<'v>>]) -> Result<Option<Value<'v>>, String> {
        Ok(Some(match source {
            FieldSource::Field(index) => match &values[*index] {
                Some(value) => value.clone(),
                None => return Ok(None),
            },
            FieldSource::Template { name, fields, multiplies } => {
                if fields.iter().all(|&index| values[index].is_none()) && !fields.is_empty() {
                    return Ok(None);
                }
                let long =
                    |&index: &usize| matches!(&values[index], Some(Value::Text(text) | Value::Big(text)) if text.len() > TEMPLATE_CELL_MAX);
                if fields.iter().any(long) {
                    return Err(format!("a cell has more than {TEMPLATE_CELL_MAX} bytes, too many for a template"));
                }
                // The engine would take it for text, and repeat it.
                if *multiplies && fields.iter().any(|&index| matches!(values[index], Some(Value::Big(_)))) {
                    return Err("a number is too large to be multiplied".to_owned());
                }
                let text = self.render(name, fields, values)?;
                if text.trim().is_empty() {
                    return Ok(None);
                }
                Value::Text(Cow::Owned(text))
            }
        }))
    }

    fn render(&self, name: &str, fields: &[usize], values: &[Option<Value<'_>>]) -> Result<String, String> {
        let template = self.templates.get_template(name).map_err(|error| error.to_string())?;
        // Variables were resolved to fields in this order when the template was loaded.
        let names = columns_of(&self.templates, &template);
        let row: BTreeMap<String, minijinja::Value> =
            names.into_iter().zip(fields.iter().map(|&index| template_value(values[index].as_ref()))).collect();
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

    /// The change that is left of an update's fields, given which are still to be sent. None when only adds are left.
    pub fn change(&self, row: u64, reference: String, update: Update<'_>, mask: u64) -> Option<Change> {
        let verb = if update.verb.add().is_some() { Verb::Update } else { update.verb };
        if verb == Verb::Update && mask == 0 {
            return None;
        }
        let fields = update
            .wanted
            .into_iter()
            .filter(|wanted| mask & (1 << wanted.field) != 0)
            .map(|wanted| FieldChange {
                field: wanted.field,
                name: Arc::clone(&self.fields[wanted.field as usize].name),
                value: wanted.value.map(Value::into_owned),
            })
            .collect();
        Some(Change { row, target: update.target, verb, fields, found: None, reference })
    }

    /// Requests that a change costs at most, and whether its pass must be found first.
    pub fn requests(&self, change: &Change) -> (u32, bool) {
        (self.platform.requests(change), self.platform.needs_find(change))
    }

    /// Passes that one find request may name.
    pub fn find_batch(&self) -> u64 {
        self.platform.limits().find_batch.max(1) as u64
    }

    /// The key under which the ledger knows the pass of an identifier.
    pub fn pass_key(&self, identifier: &str) -> PassKey {
        let identifier = identifier.to_owned();
        if self.by_external_id { Target::External(identifier).key() } else { Target::Pass(identifier).key() }
    }
}

fn verb_faults(operation: &OperationChoice, platform: &Account) -> Vec<String> {
    let wanted: Vec<Verb> = match operation {
        OperationChoice::Always(verb) => vec![*verb],
        OperationChoice::Column { words, .. } => words.values().copied().collect(),
    };
    let known = platform.verbs();
    wanted
        .into_iter()
        .filter(|verb| !known.contains(verb))
        .map(|verb| format!("operation: platform {} cannot {verb}", platform.kind()))
        .collect()
}

/// A template whose columns are fields of the schema.
fn template_source(
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
fn environment() -> Environment<'static> {
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

/// Turns a value into the kind that the platform's field holds. The message never repeats the value.
pub fn coerce(value: Value<'_>, kind: FieldKind, timezone: Tz) -> Result<Value<'_>, String> {
    match kind {
        FieldKind::Text => Ok(match value {
            Value::Text(_) => value,
            other => Value::Text(Cow::Owned(other.canonical().into_owned())),
        }),
        FieldKind::Number => match value {
            Value::Integer(_) | Value::Number(_) | Value::Big(_) => Ok(value),
            Value::Text(text) => Decimal::from_str_exact(text.trim()).map(Value::Number).map_err(|_| "the field wants a number".into()),
            _ => Err("the field wants a number".into()),
        },
        FieldKind::Integer => match value {
            Value::Integer(_) => Ok(value),
            Value::Number(number) if number.is_integer() => {
                i64::try_from(number).map(Value::Integer).map_err(|_| "the number is too large for the field".into())
            }
            Value::Text(text) => text.trim().parse().map(Value::Integer).map_err(|_| "the field wants a whole number".into()),
            _ => Err("the field wants a whole number".into()),
        },
        FieldKind::Boolean => match value {
            Value::Boolean(_) => Ok(value),
            Value::Text(text) if text == "true" => Ok(Value::Boolean(true)),
            Value::Text(text) if text == "false" => Ok(Value::Boolean(false)),
            _ => Err("the field wants true or false".into()),
        },
        FieldKind::Date => match value {
            Value::Date(_) => Ok(value),
            Value::DateTime(time, _) => Ok(Value::Date(time.date())),
            Value::Text(text) => strict_date(text.trim()).map(Value::Date).ok_or_else(|| "the field wants a date, YYYY-MM-DD".to_owned()),
            _ => Err("the field wants a date".into()),
        }
        .and_then(|value| match &value {
            Value::Date(date) => likely(*date).map(|()| value),
            _ => Ok(value),
        }),
        FieldKind::Instant => instant(value, timezone).map(|time| Value::DateTime(time, FixedOffset::east_opt(0))),
    }
}

/// UTC. A date alone means the end of that day in the zone; a local time that the zone skips or repeats is an error.
fn instant(value: Value<'_>, timezone: Tz) -> Result<NaiveDateTime, String> {
    let local = match value {
        Value::DateTime(time, Some(offset)) => {
            let time = time - offset;
            return likely(time.date()).map(|()| time);
        }
        Value::DateTime(time, None) => time,
        Value::Date(date) => end_of_day(date),
        Value::Text(text) => {
            let text = text.trim();
            match (strict_datetime(text), strict_date(text)) {
                (Some((time, Some(offset))), _) => {
                    let time = time - offset;
                    return likely(time.date()).map(|()| time);
                }
                (Some((time, None)), _) => time,
                (None, Some(date)) => end_of_day(date),
                (None, None) => return Err("the field wants a date, or a date and time, as in 2026-01-31T18:00:00Z".to_owned()),
            }
        }
        _ => return Err("the field wants a date or a date and time".into()),
    };
    likely(local.date())?;
    match timezone.from_local_datetime(&local) {
        LocalResult::Single(time) => Ok(time.naive_utc()),
        LocalResult::Ambiguous(..) => Err(format!("this local time occurs twice in {timezone}; write it with an offset")),
        LocalResult::None => Err(format!("this local time does not occur in {timezone}; write it with an offset")),
    }
}

/// Programs write dates long ago for "none" (0001-01-01, 1899-12-30), and a year of two digits is one of the first century. No pass ends or
/// begins there, and nobody who has one was born then.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

fn likely(date: NaiveDate) -> Result<(), String> {
    if YEARS.contains(&date.year()) { Ok(()) } else { Err(format!("the year is not between {} and {}", YEARS.start(), YEARS.end())) }
}

fn end_of_day(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::from_hms_opt(23, 59, 59).expect("a time of day"))
}

/// `; did you mean "x"?` for the nearest of some names, or nothing.
pub fn did_you_mean<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> String {
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Value<'static> {
        Value::Date(text.parse().unwrap())
    }

    #[test]
    fn a_date_means_the_end_of_its_day_on_both_sides_of_daylight_saving() {
        let utc = |text| coerce(date(text), FieldKind::Instant, chrono_tz::Europe::Paris).unwrap().canonical().into_owned();
        assert_eq!(utc("2026-03-28"), "2026-03-28T22:59:59Z");
        assert_eq!(utc("2026-03-29"), "2026-03-29T21:59:59Z");
        assert_eq!(utc("2026-10-25"), "2026-10-25T22:59:59Z");
    }

    #[test]
    fn times_that_do_not_exist_or_exist_twice_are_refused() {
        let local = |text: &str| coerce(Value::DateTime(text.parse().unwrap(), None), FieldKind::Instant, chrono_tz::Europe::Paris);
        assert!(local("2026-03-29T02:30:00").unwrap_err().contains("does not occur"));
        assert!(local("2026-10-25T02:30:00").unwrap_err().contains("twice"));
    }

    #[test]
    fn values_become_what_the_field_holds_or_are_refused() {
        let to = |value, kind| coerce(value, kind, chrono_tz::UTC).map(|value| value.canonical().into_owned());
        assert_eq!(to(Value::Integer(7), FieldKind::Text).unwrap(), "7");
        assert_eq!(to(Value::Text("12.50".into()), FieldKind::Number).unwrap(), "12.5");
        assert_eq!(to(Value::Number("3.0".parse().unwrap()), FieldKind::Integer).unwrap(), "3");
        assert!(to(Value::Number("3.5".parse().unwrap()), FieldKind::Integer).is_err());
        assert!(to(Value::Text("yes".into()), FieldKind::Boolean).is_err());
    }

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(did_you_mean("point", ["points", "tier"].into_iter()), "; did you mean \"points\"?");
        assert_eq!(did_you_mean("zzz", ["points"].into_iter()), "");
    }
}
