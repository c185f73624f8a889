//! Values to operations: which pass a row is about, what it means, and what each pass field is to hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Environment;

use crate::config::meant::{Feed, FieldMapping, OperationChoice, PassColumn};
use crate::outcome::{Code, Problem};
use crate::platform::{Account, FieldRule};
use crate::row::{Change, FieldChange, PassKey, Target, Update, Verb, Wanted};
use crate::schema::value::Value;
use crate::schema::{Columns, Empty, Missing, Schema, looks_like_spreadsheet_damage};
use crate::zone::LocalTimes;
use adds::{AddRules, Consenting};
use template::{TEMPLATE_CELL_MAX, environment, template_source};

mod adds;
mod coerce;
mod compare;
mod stamp;
mod template;
mod times;
mod tokens;

pub use adds::Place;
pub use coerce::coerce;
pub use template::template_columns;

/// A feed's mapped fields are told apart by one bit each.
pub const FIELDS_MAX: usize = 64;

pub struct Mapping {
    platform: Account,
    pass: Identifier,
    by_external_id: bool,
    operation: Operation,
    fields: Vec<MappedField>,
    adds: Option<AddRules>,
    consent: Option<Consenting>,
    updated_at: Option<usize>,
    alerting: Option<Alerting>,
    templates: Environment<'static>,
    times: LocalTimes,
}

/// What of a row alerts the holder, where the platform shows so many alerts a day and no more.
#[derive(Clone, Copy, Debug)]
pub struct Alerting {
    /// For one pass within 24 hours: of changes, and as many of notifications.
    pub max: u32,
    /// Mapped fields whose change alerts, one bit each.
    pub fields: u64,
    pub notification: bool,
}

/// The schema field that names something, and its words for "no value": they name nothing.
struct Identifier {
    field: usize,
    missing: Missing,
}

impl Identifier {
    fn of(schema: &Schema, field: usize) -> Identifier {
        Identifier { field, missing: schema.fields()[field].missing.clone() }
    }

    /// The cell's own text, if it names anything. A word for "no value" names nothing even in quotes.
    fn text<'c>(&self, columns: &Columns, cells: &'c [Cow<'_, str>]) -> Option<&'c str> {
        let text = columns.column_of_field[self.field].and_then(|column| cells.get(column)).map(|cell| &**cell)?;
        (!text.is_empty() && !self.missing.includes(text)).then_some(text)
    }
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
    /// An empty text clears the value: it was written in quotes, and the schema tells that from an empty cell.
    clears: bool,
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
            let clears = rule.clearable && matches!(source, FieldSource::Field(index) if schema.fields()[index].quoted_empty);
            let mut field = MappedField { name: Arc::from(name.as_str()), rule, source, empty: Empty::Keep, clears, personal: false };
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
                alerting: alerting(feed, &platform, &fields),
                platform,
                pass: Identifier::of(schema, pass),
                by_external_id: matches!(feed.pass, PassColumn::ExternalId(_)),
                operation,
                fields,
                adds,
                consent,
                updated_at,
                templates,
                times: feed.times,
            }),
            _ => Err(faults),
        }
    }

    pub fn fields(&self) -> &[MappedField] {
        &self.fields
    }

    pub fn alerting(&self) -> Option<Alerting> {
        self.alerting
    }

    /// The schema field that names the pass.
    pub fn pass_field(&self) -> usize {
        self.pass.field
    }

    /// The identifier in a record's own text: never a number's canonical form, so that leading zeros stay.
    pub fn target(&self, columns: &Columns, cells: &[Cow<'_, str>]) -> Option<Target> {
        let text = self.pass.text(columns, cells)?;
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
            None => problems.push(Problem::new(Code::MappingError, column_of(self.pass.field), "the cell that names the pass is empty")),
            Some(target) if looks_like_spreadsheet_damage(target.text()) => problems.push(
                Problem::new(Code::SpreadsheetDamage, column_of(self.pass.field), "the identifier is a number in exponent form")
                    .suggest("format the column as text before saving"),
            ),
            Some(target) => {
                if let Err(fault) = self.platform.check_target(target) {
                    problems.push(Problem::new(fault.code, column_of(self.pass.field), fault.message));
                }
            }
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
                (Some(Value::Text(text)), _) if text.is_empty() && field.clears => wanted.push(Wanted { field: index as u8, value: None }),
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
        value.map(|value| coerce(value, field.rule.kind, &self.times)).transpose()
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
                let text = template::render(&self.templates, name, fields.iter().map(|&index| values[index].as_ref()))?;
                if text.trim().is_empty() {
                    return Ok(None);
                }
                Value::Text(Cow::Owned(text))
            }
        }))
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

fn alerting(feed: &Feed, platform: &Account, fields: &[MappedField]) -> Option<Alerting> {
    let alerting = fields.iter().enumerate().filter(|(_, field)| platform.alerts(&field.name));
    Some(Alerting {
        max: platform.alerts_per_day()?,
        fields: alerting.fold(0, |mask, (index, _)| mask | 1 << index),
        notification: feed.notify.as_ref().is_some_and(|notify| platform.alerts(&notify.field)),
    })
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

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(did_you_mean("point", ["points", "tier"].into_iter()), "; did you mean \"points\"?");
        assert_eq!(did_you_mean("zzz", ["points"].into_iter()), "");
    }
}
