//! Records written in the form that a file has.

use super::Form;

/// A cell that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'c> {
    pub text: &'c str,
    /// It must not be taken for a word that means "no value".
    pub literal: bool,
}

/// Appends a record and its line end. What a form without quotes and escapes cannot hold becomes a space; tells whether that happened.
pub fn write_record<'c>(cells: impl Iterator<Item = Cell<'c>>, form: &Form, line_end: &str, into: &mut String) -> bool {
    let start = into.len();
    let mut whole = true;
    let mut count = 0;
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            into.push_str(&form.delimiter);
        }
        whole &= write_cell(cell, form, index == 0, into);
        count = index + 1;
    }
    if count == 1 && into.len() == start {
        // A line without anything is no record.
        if let Some(quote) = form.quote {
            into.push(char::from(quote));
            into.push(char::from(quote));
        }
    }
    into.push_str(line_end);
    whole
}

fn write_cell(cell: Cell<'_>, form: &Form, first: bool, into: &mut String) -> bool {
    let text = cell.text;
    let is_comment = first && form.comment.as_ref().is_some_and(|comment| text.starts_with(comment.as_str()));
    let is_special = text.contains(form.delimiter.as_str())
        || text.contains(['\n', '\r'])
        || form.quote.is_some_and(|quote| text.contains(char::from(quote)))
        || (form.skip_space && text.starts_with(' '))
        || runs_into(text, &form.delimiter)
        || is_comment;
    match (form.quote, form.escape) {
        (Some(quote), None) if is_special || cell.literal => {
            let quote = char::from(quote);
            into.push(quote);
            for letter in text.chars() {
                if letter == quote {
                    into.push(quote);
                }
                into.push(letter);
            }
            into.push(quote);
            true
        }
        (Some(quote), Some(escape)) if is_special || cell.literal => {
            let (quote, escape) = (char::from(quote), char::from(escape));
            into.push(quote);
            for letter in text.chars() {
                if letter == quote || letter == escape {
                    into.push(escape);
                }
                into.push(letter);
            }
            into.push(quote);
            true
        }
        (_, Some(escape)) => {
            write_escaped(cell, form, escape, into);
            true
        }
        (None, None) if is_special => {
            into.push_str(&text.replace(form.delimiter.as_str(), " ").replace(['\n', '\r'], " "));
            false
        }
        _ => {
            into.push_str(text);
            true
        }
    }
}

/// Would a delimiter of several letters be found earlier than where it is written, behind this text?
fn runs_into(text: &str, delimiter: &str) -> bool {
    let rest = delimiter.char_indices().skip(1).map(|(at, _)| &delimiter[..at]);
    rest.into_iter().any(|start| text.ends_with(start) && format!("{start}{delimiter}").starts_with(delimiter))
}

/// Would a delimiter behind this record be found elsewhere, or mean nothing? Written anew by [`write_record`], it would stand where it is.
pub fn runs_on(record: &str, form: &Form) -> bool {
    form.escape.is_some_and(|escape| record.as_bytes().last() == Some(&escape)) || runs_into(record, &form.delimiter)
}

/// An unquoted cell. An escape that stands for itself stays alone, so that a word like `\N` stays what it is.
fn write_escaped(cell: Cell<'_>, form: &Form, escape: u8, into: &mut String) {
    let bytes = cell.text.as_bytes();
    let first_of_delimiter = form.delimiter.chars().next();
    for (at, letter) in cell.text.char_indices() {
        let is_sign = Some(letter) == first_of_delimiter
            || matches!(letter, '\n' | '\r')
            || form.quote.is_some_and(|quote| letter == char::from(quote));
        let is_escape = letter == char::from(escape);
        let next_matters = bytes.get(at + 1).is_none_or(|&next| form.is_escapable(next));
        if is_sign || (is_escape && (next_matters || (cell.literal && at == 0))) {
            into.push(char::from(escape));
        }
        into.push(letter);
    }
}
