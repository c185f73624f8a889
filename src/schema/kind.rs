//! From a cell's text to its logical value, by the field's type and format (contracts/table-schema.md section 3).

use std::borrow::Cow;

use super::duration;
use super::geo::{self, PointForm};
use super::number::{self, NumberForm};
use super::temporal::{self, Form};
use super::text::{self, TextForm};
use super::value::Value;
use crate::outcome::{Code, Problem};

/// Why a text is no value of its type. Boxed: a reading that succeeds is moved about as often as the larger of the two allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(Box<Refusal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: Code,
    message: Cow<'static, str>,
    suggestion: Option<Cow<'static, str>>,
}

impl Unreadable {
    pub fn new(message: impl Into<Cow<'static, str>>) -> Unreadable {
        Unreadable::coded(Code::TypeError, message)
    }

    pub fn coded(code: Code, message: impl Into<Cow<'static, str>>) -> Unreadable {
        Unreadable(Box::new(Refusal { code, message: message.into(), suggestion: None }))
    }

    pub fn suggest(mut self, suggestion: impl Into<Cow<'static, str>>) -> Unreadable {
        self.0.suggestion = Some(suggestion.into());
        self
    }

    /// Says first what it is about.
    fn within(mut self, what: &str) -> Unreadable {
        self.0.message = format!("{what} {}", self.0.message).into();
        self
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn at(self, column: Option<usize>) -> Problem {
        let problem = Problem::new(self.0.code, column, self.0.message);
        match self.0.suggestion {
            Some(suggestion) => problem.suggest(suggestion),
            None => problem,
        }
    }
}

pub(crate) type Reading<'c> = Result<Value<'c>, Unreadable>;

/// A field's type with all that its descriptor says about reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Text(TextForm),
    Integer(NumberForm),
    Number(NumberForm),
    Boolean {
        yes: Vec<String>,
        no: Vec<String>,
    },
    Object,
    Array,
    /// Items joined by the delimiter, each in its type's default form.
    List {
        delimiter: String,
        item: Box<Reader>,
    },
    DateTime(Form),
    Date(Form),
    Time(Form),
    Year,
    YearMonth,
    Duration,
    Point(PointForm),
    GeoJson,
    TopoJson,
}

impl Reader {
    /// `true True TRUE 1` and `false False FALSE 0`: the standard's defaults.
    pub fn default_boolean() -> Reader {
        let owned = |texts: [&str; 4]| texts.map(str::to_owned).to_vec();
        Reader::Boolean { yes: owned(["true", "True", "TRUE", "1"]), no: owned(["false", "False", "FALSE", "0"]) }
    }

    #[inline]
    pub fn read<'c>(&self, text: &'c str) -> Reading<'c> {
        match self {
            Reader::Text(form) => text::read(text, *form),
            Reader::Integer(form) => number::integer(text, form),
            Reader::Number(form) => number::number(text, form),
            Reader::Boolean { yes, no } => boolean(text, yes, no),
            Reader::Date(form) => temporal::date(text, form),
            Reader::DateTime(form) => temporal::datetime(text, form),
            Reader::Time(form) => temporal::time(text, form),
            Reader::Year => temporal::year(text),
            Reader::YearMonth => temporal::year_month(text),
            Reader::Duration => duration::read(text),
            Reader::Object => json(text, serde_json::Value::is_object, "is not a JSON object"),
            Reader::Array => json(text, serde_json::Value::is_array, "is not a JSON array"),
            Reader::List { delimiter, item } => list(text, delimiter, item),
            Reader::Point(form) => geo::point(text, *form),
            Reader::GeoJson => geo::geojson(text),
            Reader::TopoJson => geo::topojson(text),
        }
    }
}

#[inline]
fn boolean<'c>(text: &'c str, yes: &[String], no: &[String]) -> Reading<'c> {
    if yes.iter().any(|one| one == text) {
        return Ok(Value::Boolean(true));
    }
    if no.iter().any(|one| one == text) {
        return Ok(Value::Boolean(false));
    }
    let either = yes.iter().chain(no);
    let forms: Vec<String> = either.clone().map(|one| format!("`{one}`")).collect();
    let problem = Unreadable::new(format!("is none of {}", forms.join(", ")));
    let near = either.clone().find(|one| one.to_lowercase() == text.trim().to_lowercase()).cloned();
    match (near, text.trim().to_ascii_lowercase().as_str()) {
        (Some(near), _) => Err(problem.suggest(near)),
        (None, "yes" | "no" | "y" | "n" | "t" | "f" | "ja" | "nein" | "oui" | "non") => {
            Err(problem.suggest("list the words the exporter uses under trueValues and falseValues"))
        }
        _ => Err(problem),
    }
}

fn json<'c>(text: &'c str, is: fn(&serde_json::Value) -> bool, otherwise: &'static str) -> Reading<'c> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) if is(&json) => Ok(Value::Json(Box::new(json))),
        _ => Err(Unreadable::new(otherwise)),
    }
}

fn list<'c>(text: &'c str, delimiter: &str, item: &Reader) -> Reading<'c> {
    let mut items = Vec::new();
    for (index, part) in text.split(delimiter).enumerate() {
        match item.read(part) {
            Ok(value) => items.push(value),
            Err(unreadable) => return Err(unreadable.within(&format!("item {} of the list", index + 1))),
        }
    }
    Ok(Value::List(items))
}
