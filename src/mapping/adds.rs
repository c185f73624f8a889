//! Adds of a row: their identity, their amounts, the notification, and what lack of consent keeps back.

use std::borrow::Cow;
use std::sync::Arc;

use minijinja::Environment;
use rust_decimal::Decimal;

use super::template::template_source;
use super::{FieldSource, Identifier, MappedField, Mapping};
use crate::config::meant::{Feed, FieldMapping, Identity, NotifyKind};
use crate::outcome::{Code, Problem};
use crate::platform::{Account, FieldKind};
use crate::row::{Add, AddKey, AddKind, Addition, Load, RowKey, Target, Withheld};
use crate::schema::FieldType;
use crate::schema::value::Value;
use crate::schema::{Columns, Schema};

/// The name under which the message's template is kept; no pass field is called so.
const MESSAGE: &str = "notify.message";

/// How rows of a feed add.
pub(super) struct AddRules {
    scope: String,
    /// The schema field with the transaction's identifier; without one the file and the record are the identity.
    transaction: Option<Identifier>,
    notify: Option<Notifying>,
}

struct Notifying {
    source: FieldSource,
    field: Arc<str>,
    marketing: bool,
}

/// Which fields need which column's consent.
pub(super) struct Consenting {
    column: usize,
    /// Mapped fields, one bit each.
    fields: u64,
    pub(super) clear: bool,
}

/// Where a row stands, for the identity of its adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// SHA-256 of the delivered file, in hex.
    pub file: &'a str,
    /// Data record, 1-based.
    pub record: u64,
    /// `_key` of a correction's row, as written; none in other files.
    pub key: Option<&'a str>,
}

/// What a feed says of adds and consent, looked up.
pub(super) fn rules(
    feed: &Feed,
    schema: &Schema,
    platform: &Account,
    fields: &[MappedField],
    templates: &mut Environment<'static>,
    field_named: &mut dyn FnMut(&str, &str) -> Option<usize>,
    faults: &mut Vec<String>,
) -> (Option<AddRules>, Option<Consenting>) {
    let notify = feed.notify.as_ref().and_then(|notify| {
        if let Err(fault) = platform.notifies(&notify.field) {
            faults.push(format!("notify.field: {fault}"));
        }
        let source = match &notify.message {
            FieldMapping::Column(column) => field_named("notify.message", column).map(FieldSource::Field),
            FieldMapping::Template(text) => template_source(templates, MESSAGE, text, MESSAGE, schema, field_named, faults),
        };
        let marketing = notify.kind == NotifyKind::Marketing;
        source.map(|source| Notifying { source, field: Arc::from(notify.field.as_str()), marketing })
    });
    let adds = feed.adds.as_ref().map(|adds| AddRules {
        scope: adds.scope.clone(),
        transaction: match &adds.identity {
            Identity::Transaction(column) => field_named("add.transaction_id", column).map(|field| Identifier::of(schema, field)),
            Identity::File => None,
        },
        notify,
    });
    if feed.operation.names_amount() && !fields.iter().any(|field| field.rule.balance) {
        faults.push("operation: an amount is needed; map a balance, such as \"points\" = \"COLUMN\"".to_owned());
    }
    let consent = feed.consent.as_ref().and_then(|consent| {
        let column = field_named("consent.column", &consent.column)?;
        let kind = schema.fields()[column].kind;
        if kind != FieldType::Boolean {
            faults.push(format!("consent.column: the schema's field {:?} is of type {kind}; consent needs a boolean", consent.column));
        }
        let mut mask = 0;
        for (index, field) in fields.iter().enumerate().filter(|(_, field)| consent.fields.iter().any(|name| **name == *field.name)) {
            mask |= 1 << index;
            if consent.clear && !field.rule.clearable {
                faults.push(format!("consent.clear: the platform cannot clear {:?}; leave clear out", &*field.name));
            }
        }
        Some(Consenting { column, fields: mask, clear: consent.clear })
    });
    (adds, consent)
}

/// What an add takes from a value. The message never repeats it.
pub(super) fn amount(value: &Value<'_>) -> Result<Decimal, String> {
    let amount = match value {
        Value::Integer(n) => Decimal::from(*n),
        Value::Number(number) => *number,
        _ => return Err("an amount is a number of at most 28 digits".to_owned()),
    };
    if amount.is_sign_negative() && !amount.is_zero() {
        return Err("an amount is not negative; the operation says whether it is added or taken".to_owned());
    }
    Ok(amount)
}

impl Mapping {
    /// Can rows of this feed add?
    pub fn may_add(&self) -> bool {
        self.adds.is_some()
    }

    /// What lack of consent keeps back of a row with these values.
    pub(super) fn withheld(&self, values: &[Option<Value<'_>>]) -> Withheld {
        let Some(consent) = &self.consent else { return Withheld::default() };
        if matches!(values[consent.column], Some(Value::Boolean(true))) {
            return Withheld::default();
        }
        let marketing = self.adds.as_ref().and_then(|adds| adds.notify.as_ref()).is_some_and(|notify| notify.marketing);
        Withheld { fields: consent.fields, notification: marketing }
    }

    /// The identity of a row's adds. None where the cell that gives it is empty; the error says why it cannot be used.
    pub fn row_key(&self, columns: &Columns, cells: &[Cow<'_, str>], place: &Place<'_>) -> Result<Option<RowKey>, Problem> {
        let Some(adds) = &self.adds else { return Ok(None) };
        let given = match place.key.map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(RowKey::parse(text).ok_or_else(|| unknown("_key is not one of ours"))?),
        };
        let Some(transaction) = &adds.transaction else {
            return match (place.key, given) {
                (None, _) => Ok(Some(RowKey::of(&[b"file", adds.scope.as_bytes(), place.file.as_bytes(), &place.record.to_le_bytes()]))),
                (Some(_), Some(given)) => Ok(Some(given)),
                (Some(_), None) => Err(unknown("_key is empty, and without it the row would be applied as a new one")),
            };
        };
        let column = columns.column_of_field[transaction.field];
        let text = transaction.text(columns, cells).map_or("", str::trim);
        let own = (!text.is_empty()).then(|| RowKey::of(&[b"transaction", adds.scope.as_bytes(), text.as_bytes()]));
        match (given, own) {
            (Some(given), Some(own)) if given != own => Err(Problem::new(
                Code::CorrectionUnknown,
                column,
                "the transaction is another one than this row's: deliver it in a file of its own",
            )),
            (given, own) => Ok(given.or(own)),
        }
    }

    /// A row's adds, in the order in which they are sent.
    #[expect(clippy::too_many_arguments, reason = "all that a row is made of")]
    pub(super) fn adds(
        &self,
        kind: Option<AddKind>,
        amounts: Vec<(u8, Decimal)>,
        withheld: &mut Withheld,
        columns: &Columns,
        cells: &[Cow<'_, str>],
        values: &[Option<Value<'_>>],
        place: &Place<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Add> {
        let Some(rules) = &self.adds else {
            withheld.notification = false;
            return Vec::new();
        };
        let mut loads = Vec::new();
        // A redemption and a validation take no amount; an earn of nothing is nothing.
        if let Some(kind) = kind.filter(|&kind| matches!(kind, AddKind::Redeem | AddKind::Validate) || !amounts.is_empty()) {
            loads.push((kind, Load::Amounts(amounts)));
        }
        if let Some(notify) = &rules.notify {
            match self.message(notify, values) {
                Ok(Some(_)) if withheld.notification => {}
                Ok(Some(text)) => loads.push((AddKind::Notify, Load::Text(text))),
                Ok(None) => withheld.notification = false,
                Err(message) => {
                    let column = notify.source.inputs().first().and_then(|&input| columns.column_of_field[input]);
                    problems.push(Problem::new(Code::MappingError, column, message));
                }
            }
        }
        if loads.is_empty() {
            return Vec::new();
        }
        match self.row_key(columns, cells, place) {
            Ok(Some(row)) => loads.into_iter().map(|(kind, load)| Add { key: AddKey { row, kind }, load }).collect(),
            Ok(None) => {
                let column = rules.transaction.as_ref().and_then(|transaction| columns.column_of_field[transaction.field]);
                let message = "the row adds and its transaction has no identifier, so that it could not be known again";
                problems.push(Problem::new(Code::MappingError, column, message));
                Vec::new()
            }
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        }
    }

    fn message(&self, notify: &Notifying, values: &[Option<Value<'_>>]) -> Result<Option<String>, String> {
        let Some(value) = self.source_value(&notify.source, values)? else { return Ok(None) };
        let value = super::coerce(value, FieldKind::Text, &self.times)?;
        if let Err(fault) = self.platform.check_value(&notify.field, &value) {
            return Err(fault.message);
        }
        let text = value.canonical().trim().to_owned();
        Ok((!text.is_empty()).then_some(text))
    }

    /// An add in the platform's words.
    pub fn addition(&self, row: u64, reference: String, target: Target, add: Add) -> Addition {
        let print = add.print(target.key(), &self.fields);
        let (mut amounts, mut notification) = (Vec::new(), None);
        match add.load {
            Load::Amounts(each) => {
                amounts = each.into_iter().map(|(field, amount)| (Arc::clone(&self.fields[field as usize].name), amount)).collect();
            }
            Load::Text(text) => {
                let field = self.adds.as_ref().and_then(|adds| adds.notify.as_ref()).map(|notify| Arc::clone(&notify.field));
                notification = field.map(|field| (field, text));
            }
        }
        Addition {
            row,
            target,
            key: add.key,
            print,
            amounts,
            notification,
            reference,
            before: None,
            perhaps_sent: false,
            since: None,
            decided: false,
        }
    }
}

fn unknown(message: &str) -> Problem {
    Problem::new(Code::CorrectionUnknown, None, message)
}
