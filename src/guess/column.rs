//! One column: what its cells show, and what follows from it.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::forms::{Form, NULLS, NULLS_OF_TEXT, possible};
use super::names::{Role, role};
use super::times::{day_first, formats};
use super::{Certainty, Column};
use crate::schema::{FieldType, looks_like_spreadsheet_damage};

/// Different cells from which the possible forms are taken.
const SAMPLES: usize = 50;
/// Values told apart; a column with more is taken for unique when none of these repeats.
const DISTINCT_MAX: usize = 1 << 20;
/// One cell in so many may be a slip of the exporter.
const SLIP: u64 = 20;

/// What was seen of a column's cells.
pub(super) struct Cells {
    label: String,
    name: String,
    role: Option<Role>,
    filled: u64,
    nulls: BTreeMap<&'static str, u64>,
    forms: Vec<Form>,
    seen: HashSet<u64>,
    repeats: bool,
    /// Digits after a zero.
    zeros: u64,
    apostrophes: u64,
    damaged: u64,
    /// With blanks around them, or with one that does not break.
    blanks: u64,
}

impl Cells {
    pub fn new<'c>(label: &str, name: String, cells: impl Iterator<Item = &'c str>) -> Cells {
        let mut samples: Vec<&str> = Vec::new();
        for cell in cells.filter(|cell| !cell.is_empty() && !NULLS.contains(cell)) {
            if samples.len() < SAMPLES && !samples.contains(&cell) {
                samples.push(cell);
            }
        }
        Cells {
            label: label.to_owned(),
            name,
            role: role(label),
            filled: 0,
            nulls: BTreeMap::new(),
            forms: possible(&samples),
            seen: HashSet::new(),
            repeats: false,
            zeros: 0,
            apostrophes: 0,
            damaged: 0,
            blanks: 0,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn take(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        if let Some(null) = NULLS.iter().find(|null| **null == cell) {
            *self.nulls.entry(null).or_default() += 1;
            return;
        }
        self.filled += 1;
        if !self.repeats && self.seen.len() < DISTINCT_MAX {
            self.repeats = !self.seen.insert(xxh3_64(cell.as_bytes()));
        }
        let bytes = cell.as_bytes();
        self.zeros += u64::from(matches!(bytes, [b'0', next, ..] if next.is_ascii_digit()) && bytes.iter().all(u8::is_ascii_digit));
        self.apostrophes += u64::from(bytes[0] == b'\'');
        self.damaged += u64::from(looks_like_spreadsheet_damage(cell));
        self.blanks += u64::from(cell.trim() != cell || cell.contains('\u{a0}'));
        for form in &mut self.forms {
            form.misses += u64::from(!form.fits(cell));
        }
        let most = SAMPLES as u64 + self.filled / SLIP;
        self.forms.retain(|form| form.misses <= most);
    }

    /// Forms that read every cell; where there are none, those that read all but a few.
    fn fitting(&self) -> Vec<&Form> {
        let all: Vec<&Form> = self.forms.iter().filter(|form| form.misses == 0).collect();
        let told = |form: &&Form| form.kind != FieldType::String;
        if all.iter().any(told) {
            return all;
        }
        let nearly: Vec<&Form> = self.forms.iter().filter(|form| told(form) && form.misses * SLIP <= self.filled).collect();
        let least = nearly.iter().map(|form| form.misses).min();
        let mut fitting = all;
        fitting.extend(nearly.into_iter().filter(|form| Some(form.misses) == least));
        fitting
    }

    fn is_identifier(&self) -> bool {
        matches!(self.role, Some(Role::Identifier(_) | Role::Phone)) || self.zeros > 0 || self.apostrophes > 0
    }
}

/// What the columns of a file that are clear say of those that are not.
#[derive(Default)]
struct House {
    /// `true` where a date can only be read with its day first, `false` where only with its month first.
    day_first: Option<bool>,
    decimal: Option<String>,
}

impl House {
    fn of(columns: &[Cells]) -> House {
        let mut house = House::default();
        for column in columns.iter().filter(|column| !column.is_identifier()) {
            let fitting = column.fitting();
            let firsts: HashSet<Option<bool>> =
                fitting.iter().filter(|form| form.text("format").is_some()).map(|form| day_first(form)).collect();
            if let [Some(first)] = firsts.into_iter().collect::<Vec<_>>()[..] {
                house.day_first.get_or_insert(first);
            }
            let decimals: HashSet<&str> = fitting.iter().filter(|form| form.kind == FieldType::Number).map(|form| decimal(form)).collect();
            let whole = fitting.iter().any(|form| form.kind == FieldType::Integer);
            if let [decimal] = decimals.into_iter().collect::<Vec<_>>()[..]
                && !whole
            {
                house.decimal.get_or_insert(decimal.to_owned());
            }
        }
        house
    }
}

fn decimal(form: &Form) -> &str {
    form.text("decimalChar").unwrap_or(".")
}

pub(super) fn conclude(columns: Vec<Cells>, delimiter: &str) -> Vec<Column> {
    let mut house = House::of(&columns);
    if house.decimal.is_none() && delimiter == ";" {
        // Where lists are separated by semicolons, commas separate decimals.
        house.decimal = Some(",".to_owned());
    }
    columns.into_iter().map(|cells| conclude_one(cells, &house)).collect()
}

/// A reading, how sure it is, and why.
struct Reading {
    form: Map<String, Json>,
    certainty: Certainty,
    why: Vec<String>,
}

fn text(certainty: Certainty, why: impl Into<String>) -> Reading {
    Reading { form: object(json!({ "type": "string" })), certainty, why: vec![why.into()] }
}

fn object(json: Json) -> Map<String, Json> {
    if let Json::Object(object) = json { object } else { Map::new() }
}

fn conclude_one(cells: Cells, house: &House) -> Column {
    let mut reading = read(&cells, house);
    let is_text = reading.form.get("type").and_then(Json::as_str) == Some("string");
    let mut missing = vec![String::new()];
    for (null, count) in &cells.nulls {
        if !is_text || NULLS[..NULLS_OF_TEXT].contains(null) {
            missing.push((*null).to_owned());
            reading.why.push(format!("`{null}` in {count} {} means no value", plural(*count)));
        } else {
            reading.certainty = reading.certainty.min(Certainty::Likely);
            reading.why.push(format!("`{null}` stands in {count} {}: add it to missingValues if it means no value", plural(*count)));
        }
    }
    if missing.len() > 1 {
        reading.form.insert("missingValues".into(), json!(missing));
    }
    if cells.damaged > 0 {
        reading.certainty = Certainty::Open;
        reading.why.push(format!(
            "{} {} as a spreadsheet shortens long numbers: digits are lost in this file",
            cells.damaged,
            looks(cells.damaged)
        ));
    }
    if cells.blanks > 0 {
        reading.why.push(format!("{} {} blanks around the value", cells.blanks, if cells.blanks == 1 { "cell has" } else { "cells have" }));
    }
    let mut own = reading.form.remove("x-passferry").map_or_else(Map::new, object);
    if cells.role.is_some_and(Role::is_personal) {
        own.insert("personal".into(), true.into());
    }
    if cells.is_identifier() && !matches!(cells.role, Some(Role::Phone)) {
        own.insert("identifier".into(), true.into());
    }
    if cells.apostrophes > 0 {
        own.insert("strip".into(), "apostrophe".into());
    }
    if !own.is_empty() {
        reading.form.insert("x-passferry".into(), Json::Object(own));
    }
    let nulls_of_text: u64 =
        if is_text { cells.nulls.iter().filter(|(null, _)| !missing.iter().any(|m| m == *null)).map(|(_, n)| n).sum() } else { 0 };
    Column {
        label: cells.label,
        name: cells.name,
        form: reading.form,
        certainty: reading.certainty,
        why: reading.why,
        filled: cells.filled + nulls_of_text,
        unique: cells.filled > 0 && !cells.repeats && nulls_of_text < 2,
        role: cells.role,
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "cell" } else { "cells" }
}

fn looks(count: u64) -> &'static str {
    if count == 1 { "cell looks" } else { "cells look" }
}

fn read(cells: &Cells, house: &House) -> Reading {
    if cells.filled == 0 {
        return text(Certainty::Open, "no cell has a value");
    }
    if cells.zeros > 0 {
        return text(
            Certainty::Sure,
            format!("{} {} with a zero: identifiers are text", cells.zeros, if cells.zeros == 1 { "cell begins" } else { "cells begin" }),
        );
    }
    if cells.apostrophes > 0 {
        return text(
            Certainty::Likely,
            format!(
                "{} {} with an apostrophe, as exporters protect digits from spreadsheets",
                cells.apostrophes,
                if cells.apostrophes == 1 { "cell begins" } else { "cells begin" }
            ),
        );
    }
    if cells.is_identifier() {
        return text(Certainty::Sure, "it is called like an identifier: identifiers are text");
    }
    let fitting = cells.fitting();
    let of = |kind: FieldType| fitting.iter().copied().filter(|form| form.kind == kind).collect::<Vec<&Form>>();
    let timely = matches!(cells.role, Some(Role::Time | Role::Stamp | Role::Expiry));
    let mut order = vec![FieldType::Boolean, FieldType::Integer, FieldType::Number, FieldType::Date, FieldType::DateTime, FieldType::Time];
    if timely || !of(FieldType::Date).iter().all(|form| form.text("format") == Some("%Y%m%d")) {
        order.rotate_left(3);
    }
    for kind in order {
        let forms = of(kind);
        let reading = match kind {
            _ if forms.is_empty() => None,
            FieldType::Boolean => boolean(cells, &forms),
            FieldType::Integer => {
                let epoch =
                    of(FieldType::DateTime).iter().find_map(|form| form.text("format").filter(|format| format.starts_with("epoch")));
                Some(integer(cells, &forms, &of(FieldType::Number), epoch, house))
            }
            FieldType::Number => Some(number(&forms, house)),
            _ => Some(moment(kind, &forms, house)),
        };
        if let Some(mut reading) = reading {
            let misses = forms.iter().map(|form| form.misses).min().unwrap_or(0);
            if misses > 0 {
                reading.certainty = Certainty::Open;
                reading.why.push(format!("{misses} of {} {} not fit", cells.filled, if misses == 1 { "cell does" } else { "cells do" }));
            }
            return reading;
        }
    }
    match of(FieldType::String).first() {
        Some(form) => {
            let name = form.text("format").unwrap_or_default();
            Reading { form: form.descriptor.clone(), certainty: Certainty::Sure, why: vec![format!("every value is of the format {name}")] }
        }
        None if timely => {
            text(Certainty::Open, "it is called like a time, and no one format reads all values: have the exporter write one")
        }
        None => text(Certainty::Sure, "values fit no other type"),
    }
}

fn boolean(cells: &Cells, forms: &[&Form]) -> Option<Reading> {
    let form = forms.first()?;
    let digits = form.descriptor.get("trueValues") == Some(&json!(["1"]));
    let called = matches!(cells.role, Some(Role::Flag | Role::Consent));
    // A count that happens to be 0 or 1 everywhere is not a yes or no.
    if digits && !called {
        return None;
    }
    let words = |name: &str| {
        let list = form.descriptor.get(name).and_then(Json::as_array).into_iter().flatten();
        list.filter_map(Json::as_str).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let certainty = if digits || !cells.repeats { Certainty::Likely } else { Certainty::Sure };
    Some(Reading {
        form: form.descriptor.clone(),
        certainty,
        why: vec![format!("nothing but {} and {}", words("trueValues"), words("falseValues"))],
    })
}

fn integer(cells: &Cells, forms: &[&Form], numbers: &[&Form], epoch: Option<&str>, house: &House) -> Reading {
    let grouped = |form: &&&Form| form.descriptor.contains_key("groupChar");
    if let Some(plain) = forms.iter().find(|form| !grouped(form)) {
        let mut why = vec!["every value is a whole number".to_owned()];
        why.extend(
            epoch.map(|format| {
                format!("{}: if it is one, make it a datetime with format \"{format}\"", since_1970("each could be a", format))
            }),
        );
        let sure = cells.filled > 2 && epoch.is_none();
        return Reading { form: plain.descriptor.clone(), certainty: if sure { Certainty::Sure } else { Certainty::Likely }, why };
    }
    // `1,250` is a thousand or a little more than one: what other columns show decides, and the file's delimiter.
    let sign = forms[0].text("groupChar").unwrap_or_default().to_owned();
    if house.decimal.as_deref() == Some(sign.as_str()) && numbers.iter().any(|form| decimal(form) == sign) {
        return number(numbers, house);
    }
    let known = house.decimal.is_some() || !matches!(sign.as_str(), "," | ".");
    let mut why = vec![format!("whole numbers with `{sign}` between thousands")];
    if !known {
        why.push(format!("if `{sign}` separates decimals here, make it a number with decimalChar \"{sign}\""));
    }
    Reading { form: forms[0].descriptor.clone(), certainty: if known { Certainty::Likely } else { Certainty::Open }, why }
}

fn number(forms: &[&Form], house: &House) -> Reading {
    // The fewer signs a form needs, the earlier it stands; the file's own decimal sign comes before that.
    let best = house.decimal.as_deref().and_then(|sign| forms.iter().find(|form| decimal(form) == sign)).unwrap_or(&forms[0]);
    let several = forms.iter().any(|form| decimal(form) != decimal(best));
    let mut why = vec![format!("numbers with the decimal sign `{}`", decimal(best))];
    if let Some(group) = best.text("groupChar") {
        why.push(format!("and `{group}` between thousands"));
    }
    if best.descriptor.contains_key("bareNumber") {
        why.push("with a currency or another sign beside them".into());
    }
    Reading { form: best.descriptor.clone(), certainty: if several { Certainty::Likely } else { Certainty::Sure }, why }
}

fn moment(kind: FieldType, forms: &[&Form], house: &House) -> Reading {
    let format = |form: &Form| formats(form).join("`, then `");
    if let Some(standard) = forms.iter().find(|form| !form.descriptor.contains_key("format")) {
        return Reading {
            form: standard.descriptor.clone(),
            certainty: Certainty::Sure,
            why: vec![format!("every value is an ISO 8601 {kind}")],
        };
    }
    let patterns: Vec<&&Form> = forms.iter().filter(|form| form.text("format") != Some("any")).collect();
    let orders: HashSet<Option<bool>> = patterns.iter().map(|form| day_first(form)).collect();
    match (&patterns[..], orders.len()) {
        ([], _) => Reading {
            form: forms[0].descriptor.clone(),
            certainty: Certainty::Likely,
            why: vec![format!("written in several ways, each of which can be read as one {kind} only")],
        },
        ([best, ..], 1) => match (formats(best).len(), best.text("format")) {
            (1, Some(epoch)) if epoch.starts_with("epoch") => {
                Reading { form: best.descriptor.clone(), certainty: Certainty::Sure, why: vec![since_1970("every value is a", epoch)] }
            }
            (1, _) => Reading {
                form: best.descriptor.clone(),
                certainty: Certainty::Sure,
                why: vec![format!("every value fits `{}`", format(best))],
            },
            _ => Reading {
                form: best.descriptor.clone(),
                certainty: Certainty::Likely,
                why: vec![format!("written in several ways: each value fits one of `{}`", format(best))],
            },
        },
        (several, _) => {
            let settled = house.day_first.and_then(|first| several.iter().find(|form| day_first(form) == Some(first)));
            let both = several.iter().map(|form| format!("`{}`", format(form))).collect::<Vec<_>>().join(" and ");
            match settled {
                Some(best) => Reading {
                    form: best.descriptor.clone(),
                    certainty: Certainty::Likely,
                    why: vec![format!("fits {both}; another column of the file shows which of them")],
                },
                None => text(Certainty::Open, format!("values fit {both}: say which by making it a {kind} of that format")),
            }
        }
    }
}

/// What a number of an epoch format is, in words behind these.
fn since_1970(what: &str, format: &str) -> String {
    format!("{what} number of {} since 1970", if format == "epoch" { "seconds" } else { "milliseconds" })
}
