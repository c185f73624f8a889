//! The forms in which a column's cells may be meant, as field descriptors that the schema itself reads.

use serde_json::{Map, Value as Json, json};

use super::times::{epochs, mixed};
use crate::schema::{Field, FieldType, Schema, date_formats, datetime_formats, time_formats};

/// Words that exporters write where they have no value. The first are never anything else.
pub(super) const NULLS: [&str; 11] = ["\\N", "NULL", "null", "(null)", "Null", "N/A", "n/a", "None", "NaN", "nan", "-"];

/// Of these, how many are no value in a column of text either: a person may be called Null.
pub(super) const NULLS_OF_TEXT: usize = 1;

/// Words of yes and no.
const WORDS: [(&[&str], &[&str]); 7] = [
    (&["true", "True", "TRUE"], &["false", "False", "FALSE"]),
    (&["yes", "Yes", "YES"], &["no", "No", "NO"]),
    (&["y", "Y"], &["n", "N"]),
    (&["t", "T"], &["f", "F"]),
    (&["ja", "Ja", "JA"], &["nein", "Nein", "NEIN"]),
    (&["oui", "Oui", "OUI"], &["non", "Non", "NON"]),
    (&["1"], &["0"]),
];

/// Signs between thousands.
const GROUPS: [&str; 6] = [",", ".", " ", "'", "\u{a0}", "\u{202f}"];

/// One way to read a column.
#[derive(Debug)]
pub(super) struct Form {
    /// The field's descriptor without its name.
    pub descriptor: Map<String, Json>,
    pub kind: FieldType,
    field: Field,
    /// Cells that cannot be read so.
    pub misses: u64,
}

impl Form {
    pub fn new(descriptor: Json) -> Option<Form> {
        let Json::Object(descriptor) = descriptor else { return None };
        let mut whole = descriptor.clone();
        whole.insert("name".into(), "column".into());
        let mut schema = Schema::from_json(&json!({ "fields": [whole], "missingValues": [] })).ok()?;
        let field = schema.fields.pop()?;
        Some(Form { descriptor, kind: field.kind, field, misses: 0 })
    }

    pub fn fits(&self, cell: &str) -> bool {
        self.field.read(cell).is_ok()
    }

    pub fn text(&self, property: &str) -> Option<&str> {
        self.descriptor.get(property).and_then(Json::as_str)
    }
}

/// Every form that at least one of these cells can be read in, the most particular first. Text is not among them.
pub(super) fn possible(cells: &[&str]) -> Vec<Form> {
    let mut found: Vec<Json> = Vec::new();
    for (yes, no) in WORDS {
        let used = |words: &[&str]| words.iter().copied().filter(|word| cells.contains(word)).map(str::to_owned).collect::<Vec<_>>();
        let (used_yes, used_no) = (used(yes), used(no));
        if !(used_yes.is_empty() && used_no.is_empty()) {
            // Which of the two is missing from a sample may come tomorrow, in the same writing.
            let all = |used: Vec<String>, other: &[String], words: &[&str], others: &[&str]| {
                let same = |word: &str| others.iter().position(|known| *known == word).and_then(|index| words.get(index));
                if used.is_empty() { other.iter().filter_map(|word| same(word)).map(|word| (*word).to_owned()).collect() } else { used }
            };
            let (true_values, false_values) = (all(used_yes.clone(), &used_no, yes, no), all(used_no, &used_yes, no, yes));
            found.push(json!({ "type": "boolean", "trueValues": true_values, "falseValues": false_values }));
        }
    }
    found.extend(epochs(cells));
    found.push(json!({ "type": "integer" }));
    for group in GROUPS.into_iter().filter(|group| cells.iter().any(|cell| cell.contains(group))) {
        found.push(json!({ "type": "integer", "groupChar": group }));
    }
    let mut dates: Vec<String> = cells.iter().flat_map(|cell| date_formats(cell)).collect();
    let mut moments: Vec<String> = cells.iter().flat_map(|cell| datetime_formats(cell)).collect();
    let mut times: Vec<String> = cells.iter().flat_map(|cell| time_formats(cell)).collect();
    // Days alone may stand among moments.
    moments.extend(if moments.is_empty() { Vec::new() } else { dates.clone() });
    for (kind, patterns) in [("date", &mut dates), ("datetime", &mut moments), ("time", &mut times)] {
        patterns.sort();
        patterns.dedup();
        found.push(json!({ "type": kind }));
        found.extend(patterns.iter().map(|pattern| json!({ "type": kind, "format": pattern })));
        let any = json!({ "type": kind, "format": "any" });
        let reads_all = |form: Option<Form>| form.is_some_and(|form| cells.iter().all(|cell| form.fits(cell)));
        if kind != "time" && !reads_all(Form::new(any.clone())) {
            found.extend(mixed(kind, cells, patterns));
        }
        found.push(any);
    }
    // A currency stands beside every number alike; other words make a text of it.
    let beside: Vec<String> = cells.iter().map(|cell| beside(cell)).collect();
    let with_signs =
        beside.first().is_some_and(|first| (1..=4).contains(&first.chars().count()) && beside.iter().all(|other| other == first));
    for decimal in [".", ","] {
        let groups = GROUPS.into_iter().filter(|group| *group != decimal && cells.iter().any(|cell| cell.contains(group)));
        for group in std::iter::once(None).chain(groups.map(Some)) {
            for bare in [true, false] {
                let mut form = Map::new();
                form.insert("type".into(), "number".into());
                if decimal != "." {
                    form.insert("decimalChar".into(), decimal.into());
                }
                if let Some(group) = group {
                    form.insert("groupChar".into(), group.into());
                }
                if !bare {
                    form.insert("bareNumber".into(), false.into());
                }
                if bare || with_signs {
                    found.push(Json::Object(form));
                }
            }
        }
    }
    for format in ["uuid", "email", "uri"] {
        found.push(json!({ "type": "string", "format": format }));
    }
    found.into_iter().filter_map(Form::new).filter(|form| cells.iter().any(|cell| form.fits(cell))).collect()
}

/// What of a cell is neither digits nor the signs of a number.
fn beside(cell: &str) -> String {
    cell.chars()
        .filter(|letter| !letter.is_ascii_digit() && !matches!(letter, '+' | '-' | '.' | ',' | ' ' | '\'' | '\u{a0}' | '\u{202f}'))
        .collect()
}
