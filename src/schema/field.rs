//! One field of a schema: what its cells may hold, and how they are read.

use std::borrow::Cow;
use std::fmt;

use super::constraint::Checks;
use super::habit;
use super::kind::Reader;
use super::number;
use super::temporal::{self, Form};
use super::value::Value;
use crate::outcome::{Code, Problem};

/// The sixteen types of version 2 (contracts/table-schema.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
    List,
    DateTime,
    Date,
    Time,
    Year,
    YearMonth,
    Duration,
    GeoPoint,
    GeoJson,
    Any,
}

impl FieldType {
    pub const ALL: [FieldType; 16] = [
        FieldType::String,
        FieldType::Number,
        FieldType::Integer,
        FieldType::Boolean,
        FieldType::Object,
        FieldType::Array,
        FieldType::List,
        FieldType::DateTime,
        FieldType::Date,
        FieldType::Time,
        FieldType::Year,
        FieldType::YearMonth,
        FieldType::Duration,
        FieldType::GeoPoint,
        FieldType::GeoJson,
        FieldType::Any,
    ];

    /// The standard's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Number => "number",
            FieldType::Integer => "integer",
            FieldType::Boolean => "boolean",
            FieldType::Object => "object",
            FieldType::Array => "array",
            FieldType::List => "list",
            FieldType::DateTime => "datetime",
            FieldType::Date => "date",
            FieldType::Time => "time",
            FieldType::Year => "year",
            FieldType::YearMonth => "yearmonth",
            FieldType::Duration => "duration",
            FieldType::GeoPoint => "geopoint",
            FieldType::GeoJson => "geojson",
            FieldType::Any => "any",
        }
    }

    pub fn parse(text: &str) -> Option<FieldType> {
        FieldType::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What an empty cell asks of the pass: `x-passferry.empty`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Empty {
    /// Leave the pass's value alone.
    #[default]
    Keep,
    /// Clear the pass's value.
    Clear,
    /// Reject the row.
    Reject,
}

/// Cells that mean "no value", compared as written before anything else is done to them (section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The standard's default: the empty cell.
    #[default]
    Blank,
    /// These texts, possibly none.
    These(Vec<String>),
}

impl Missing {
    pub(crate) fn includes(&self, text: &str) -> bool {
        match self {
            Missing::Blank => text.is_empty(),
            Missing::These(texts) => texts.iter().any(|missing| missing == text),
        }
    }

    pub(crate) fn add(&mut self, text: &str) {
        if !self.includes(text) {
            let mut texts = match std::mem::take(self) {
                Missing::Blank => vec![String::new()],
                Missing::These(texts) => texts,
            };
            texts.push(text.to_owned());
            *self = Missing::These(texts);
        }
    }
}

/// One field of a schema.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own in the descriptor")]
pub struct Field {
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    pub description: Option<String>,
    /// A cell as it might be written.
    pub example: Option<String>,
    pub kind: FieldType,
    /// As the descriptor has it, `default` when it has none.
    pub format: String,
    /// Values are a person's own and are masked where they are shown.
    pub personal: bool,
    pub empty: Empty,
    /// Values name things: exponent form in them is damage, not a number.
    pub identifier: bool,
    /// Other labels under which exporters write this column.
    pub aliases: Vec<String>,
    /// A missing value breaks the row.
    pub required: bool,
    /// No two records may share a value.
    pub unique: bool,
    /// Part of the primary key, so that a missing value breaks the row even where `required` is not set.
    pub in_primary_key: bool,
    /// One apostrophe at the start is not part of the value: `x-passferry.strip` is `apostrophe`.
    pub strip_apostrophe: bool,
    /// An empty cell in quotes is an empty text: `x-passferry.quotedEmpty` is `text`.
    pub quoted_empty: bool,
    pub(crate) missing: Missing,
    pub(crate) reader: Reader,
    pub(crate) checks: Checks,
}

impl Field {
    /// The title, or the name where there is none.
    pub fn label(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// Does it matter whether this text was written in quotes? There it is a text, and without them it means "no value".
    pub fn tells_apart(&self, text: &str) -> bool {
        (!text.is_empty() || self.quoted_empty) && self.missing.includes(text)
    }

    /// Does it matter of any text?
    pub(crate) fn tells_any_apart(&self) -> bool {
        self.quoted_empty || matches!(&self.missing, Missing::These(texts) if texts.iter().any(|text| !text.is_empty()))
    }

    /// Does this text mean "no value" here?
    pub fn is_missing(&self, text: &str) -> bool {
        self.missing.includes(text)
    }

    /// A text that means "no value" here: the empty one, if it does.
    pub fn missing_word(&self) -> &str {
        match &self.missing {
            Missing::These(texts) if !self.is_missing("") => texts.first().map_or("", String::as_str),
            _ => "",
        }
    }

    /// Reads one cell and checks its constraints. Problems carry no column.
    pub fn read<'c>(&self, text: &'c str) -> Result<Option<Value<'c>>, Vec<Problem>> {
        let (mut problems, mut values) = (Vec::new(), Vec::with_capacity(1));
        self.read_onto(text, false, None, &mut values, &mut problems);
        if problems.is_empty() { Ok(values.pop().flatten()) } else { Err(problems) }
    }

    /// Appends the value of a cell; none when it is missing or has problems, which are appended too.
    ///
    /// A `literal` cell was written in quotes or with an escape: it is no word for "no value".
    /// The kinds that most cells have are written straight to their place: to hand each value on would cost as much as to read it.
    #[inline]
    pub(crate) fn read_onto<'c>(
        &self,
        text: &'c str,
        literal: bool,
        column: Option<usize>,
        values: &mut Vec<Option<Value<'c>>>,
        problems: &mut Vec<Problem>,
    ) {
        if self.is_missing(text) && !(literal && self.tells_apart(text)) {
            self.report_missing(column, problems);
            return values.push(None);
        }
        match &self.reader {
            Reader::Text(form) if form.fits(text) => values.push(Some(Value::Text(Cow::Borrowed(text)))),
            Reader::Integer(_) if let Some(value) = number::small_integer(text.as_bytes()) => values.push(Some(Value::Integer(value))),
            Reader::Number(form) if let Some(value) = number::small_decimal(text.as_bytes(), &form.decimal) => {
                values.push(Some(Value::Number(value)));
            }
            Reader::Date(Form::Default) if let Some(value) = temporal::iso_date(text.as_bytes()) => values.push(Some(Value::Date(value))),
            Reader::DateTime(Form::Default) if let Some((local, offset)) = temporal::iso_datetime(text.as_bytes()) => {
                values.push(Some(Value::DateTime(local, offset)));
            }
            reader => match reader.read(text) {
                Ok(value) => values.push(Some(value)),
                Err(unreadable) => {
                    let problem = unreadable.at(column);
                    let no_value = if literal && self.tells_apart(text) { None } else { habit::no_value(text) };
                    problems.push(no_value.into_iter().fold(problem, Problem::suggest));
                    return values.push(None);
                }
            },
        }
        if !self.checks.is_empty()
            && let Some(place) = values.last_mut()
            && let Some(value) = place
        {
            let before = problems.len();
            self.checks.check(value, column, problems);
            if problems.len() > before {
                *place = None;
            }
        }
    }

    /// What a missing value breaks before any key is looked at.
    pub(crate) fn report_missing(&self, column: Option<usize>, problems: &mut Vec<Problem>) {
        if self.required {
            problems.push(Problem::new(Code::ConstraintError, column, "a value is required").constraint("required"));
        } else if self.empty == Empty::Reject {
            problems.push(Problem::new(Code::EmptyRejected, column, "the cell is empty, and x-passferry.empty says \"reject\""));
        }
    }
}
