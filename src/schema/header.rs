//! Which column of a file holds which field (contracts/table-schema.md section 7).

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Field, Schema};
use crate::outcome::Code;

/// How a file's labels must relate to the schema's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldsMatch {
    /// The same fields in the same order.
    #[default]
    Exact,
    /// The same fields in any order.
    Equal,
    /// The file has all fields and may have other columns.
    Subset,
    /// The file has no other columns and may lack fields that are not required.
    Superset,
    /// The file shares at least one field with the schema.
    Partial,
}

impl FieldsMatch {
    pub const ALL: [FieldsMatch; 5] =
        [FieldsMatch::Exact, FieldsMatch::Equal, FieldsMatch::Subset, FieldsMatch::Superset, FieldsMatch::Partial];

    pub const fn as_str(self) -> &'static str {
        match self {
            FieldsMatch::Exact => "exact",
            FieldsMatch::Equal => "equal",
            FieldsMatch::Subset => "subset",
            FieldsMatch::Superset => "superset",
            FieldsMatch::Partial => "partial",
        }
    }

    const fn allows_extra(self) -> bool {
        matches!(self, FieldsMatch::Subset | FieldsMatch::Partial)
    }

    const fn allows_missing(self) -> bool {
        matches!(self, FieldsMatch::Superset | FieldsMatch::Partial)
    }
}

/// Something wrong with a file's header. It fails the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFault {
    pub code: Code,
    /// Index of the column in the file, from 0; none when a column is absent or the whole header is meant.
    pub column: Option<usize>,
    /// The label in the file, or the name of the field that is absent.
    pub label: String,
    pub message: String,
}

/// Which column of one file holds which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub column_of_field: Vec<Option<usize>>,
    pub field_of_column: Vec<Option<usize>>,
    /// One line that names the columns nobody reads, when there are any.
    pub warnings: Vec<String>,
}

/// A label as it is compared: trimmed, line breaks as spaces, and in lower case where case does not matter.
pub(crate) fn comparable(label: &str, case: bool) -> String {
    let label = label.trim().replace("\r\n", " ").replace(['\r', '\n'], " ");
    if case { label } else { label.to_lowercase() }
}

impl Schema {
    /// Matches a file's labels to the fields as `fieldsMatch` says. Without labels the columns are the fields in their order.
    pub fn columns(&self, labels: Option<&[String]>) -> Result<Columns, Vec<HeaderFault>> {
        let Some(labels) = labels else {
            let all: Vec<_> = (0..self.fields.len()).map(Some).collect();
            return Ok(Columns { column_of_field: all.clone(), field_of_column: all, warnings: Vec::new() });
        };
        let compared: Vec<String> = labels.iter().map(|label| comparable(label, self.header_case)).collect();
        if compared.iter().all(String::is_empty) {
            let message = "the header holds no label".to_owned();
            return Err(vec![HeaderFault { code: Code::BlankHeader, column: None, label: String::new(), message }]);
        }
        let mut faults = Vec::new();
        let field_of_column = match self.fields_match {
            FieldsMatch::Exact => self.by_position(labels, &compared, &mut faults),
            _ => self.by_name(labels, &compared, &mut faults),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut column_of_field = vec![None; self.fields.len()];
        for (column, field) in field_of_column.iter().enumerate() {
            if let Some(field) = *field {
                column_of_field[field] = Some(column);
            }
        }
        let warnings = ignored(labels, &field_of_column).into_iter().collect();
        Ok(Columns { column_of_field, field_of_column, warnings })
    }

    fn answers_to(&self, field: &Field, compared: &str) -> bool {
        comparable(&field.name, self.header_case) == compared
            || field.aliases.iter().any(|alias| comparable(alias, self.header_case) == compared)
    }

    fn by_position(&self, labels: &[String], compared: &[String], faults: &mut Vec<HeaderFault>) -> Vec<Option<usize>> {
        let mut first_seen = HashMap::new();
        for (column, (label, text)) in labels.iter().zip(compared).enumerate() {
            let earlier = *first_seen.entry(text.as_str()).or_insert(column);
            let field = self.fields.get(column);
            if field.is_some_and(|field| self.answers_to(field, text)) {
                continue;
            }
            let (code, message) = if text.is_empty() {
                (Code::BlankLabel, format!("the label of column {} is empty", column + 1))
            } else if earlier != column {
                (Code::DuplicateLabel, format!("column {} repeats the label of column {}", column + 1, earlier + 1))
            } else if let Some(field) = field {
                (Code::IncorrectLabel, format!("column {} should be `{}`", column + 1, field.name))
            } else {
                (Code::ExtraLabel, format!("the schema has no column {}", column + 1))
            };
            faults.push(HeaderFault { code, column: Some(column), label: label.clone(), message });
        }
        for field in self.fields.iter().skip(labels.len()) {
            faults.push(self.absent(field, labels));
        }
        (0..labels.len()).map(|column| (column < self.fields.len()).then_some(column)).collect()
    }

    fn by_name(&self, labels: &[String], compared: &[String], faults: &mut Vec<HeaderFault>) -> Vec<Option<usize>> {
        let mut column_of_field = vec![None; self.fields.len()];
        let mut field_of_column = vec![None; labels.len()];
        for (column, (label, text)) in labels.iter().zip(compared).enumerate() {
            let fault = |code, message| HeaderFault { code, column: Some(column), label: label.clone(), message };
            match self.by_label.get(text) {
                Some(&field) => {
                    if let Some(earlier) = column_of_field[field] {
                        let name = &self.fields[field].name;
                        let message = format!("columns {} and {} both name the field `{name}`", earlier + 1, column + 1);
                        faults.push(fault(Code::DuplicateLabel, message));
                    } else {
                        column_of_field[field] = Some(column);
                        field_of_column[column] = Some(field);
                    }
                }
                None if self.fields_match.allows_extra() => {}
                None => faults.push(fault(Code::ExtraLabel, format!("the schema has no field for column {}", column + 1))),
            }
        }
        if self.fields_match == FieldsMatch::Partial && column_of_field.iter().all(Option::is_none) {
            let message = "the header has none of the schema's fields".to_owned();
            faults.push(HeaderFault { code: Code::UnmatchedHeader, column: None, label: String::new(), message });
            return field_of_column;
        }
        for (field, column) in self.fields.iter().zip(&column_of_field) {
            let needed = !self.fields_match.allows_missing() || field.required || field.in_primary_key;
            if column.is_none() && needed {
                faults.push(self.absent(field, labels));
            }
        }
        field_of_column
    }

    fn absent(&self, field: &Field, labels: &[String]) -> HeaderFault {
        let mut message = format!("the header has no column `{}`", field.name);
        let near = labels
            .iter()
            .filter(|label| !self.by_label.contains_key(&comparable(label, self.header_case)))
            .map(|label| (strsim::jaro_winkler(&comparable(label, false), &field.name.to_lowercase()), label.trim()))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, label)) = near {
            let _ = write!(message, "; if `{label}` is meant, name it under x-passferry.aliases");
        }
        HeaderFault { code: Code::MissingLabel, column: None, label: field.name.clone(), message }
    }
}

fn ignored(labels: &[String], field_of_column: &[Option<usize>]) -> Option<String> {
    let names: Vec<String> = labels
        .iter()
        .zip(field_of_column)
        .enumerate()
        .filter(|(_, (_, field))| field.is_none())
        .map(|(column, (label, _))| if label.trim().is_empty() { format!("column {}", column + 1) } else { format!("`{}`", label.trim()) })
        .collect();
    (!names.is_empty()).then(|| format!("columns not in the schema are ignored: {}", names.join(", ")))
}
