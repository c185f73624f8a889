//! A guess as files that a person keeps: a Table Schema, and a feed to go into the configuration.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::names::Role;
use super::{Certainty, Column, Found, Guess};

/// The schema, as JSON text.
pub fn schema(guess: &Guess, name: &str) -> String {
    let key = guess.key.as_ref().map(|key| key.column);
    let fields: Vec<Json> = guess.columns.iter().enumerate().map(|(index, column)| field(column, Some(index) == key)).collect();
    let schema = json!({
        "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
        "name": name,
        "fieldsMatch": "subset",
        "missingValues": [""],
        "fields": fields,
    });
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

fn field(column: &Column, is_key: bool) -> Json {
    let mut field = Map::new();
    field.insert("name".into(), column.name.clone().into());
    if !column.label.is_empty() && column.label != column.name {
        field.insert("title".into(), column.label.clone().into());
    }
    field.extend(column.form.clone());
    if is_key {
        field.insert("constraints".into(), json!({ "required": true }));
    }
    Json::Object(field)
}

/// What the feed is to be called and to refer to.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    pub name: &'a str,
    /// The file's name, from which the pattern is made.
    pub file: &'a str,
    /// The line that says how several such files are one delivery, where they are.
    pub set: Option<&'a str>,
    /// Path of the schema, as the configuration will name it.
    pub schema: &'a str,
}

/// The feed, as TOML text. Pass fields are PassKit's names; what a column means is written where it is not clear.
pub fn feed(found: &Found, feed: &Feed<'_>) -> String {
    let guess = &found.guess;
    let mut out = String::new();
    let repeats = guess.key.as_ref().is_some_and(|key| !guess.columns[key.column].unique);
    let _ = writeln!(out, "# A feed for files such as {}. What passferry is not sure of is said beside it.", feed.file);
    let _ = writeln!(out, "[feed.{}]", toml_key(feed.name));
    let _ = writeln!(out, "source = \"SOURCE\"                    # a [source.…] of yours");
    let _ = writeln!(out, "inbox = \".\"");
    let _ = writeln!(out, "pattern = {}", toml_text(&pattern(feed.file)));
    if let Some(set) = feed.set {
        let _ = writeln!(out, "{set}");
    }
    if repeats {
        let _ = writeln!(
            out,
            "content = \"delta\"                    # passes occur more than once in the file, so its rows are changes or events"
        );
    } else {
        let _ = writeln!(
            out,
            "content = \"snapshot\"                 # each pass once: its present state. \"delta\" if rows are changes or events"
        );
    }
    let _ = writeln!(out, "schema = {}", toml_text(feed.schema));
    let _ = writeln!(out, "platform = \"PLATFORM\"                # a [platform.…] of yours");
    match &guess.key {
        Some(key) => {
            let name = &guess.columns[key.column].name;
            let _ = writeln!(out, "# {}: {}", certainty(key.certainty), key.why);
            for &other in &key.others {
                let _ = writeln!(out, "# it could be {:?} as well", guess.columns[other].name);
            }
            let _ = writeln!(out, "pass = {{ external_id = {} }}", toml_text(name));
        }
        None => {
            let _ = writeln!(out, "pass = {{ external_id = \"COLUMN\" }}     # no column is always filled: which one identifies the pass?");
        }
    }
    let _ = writeln!(out, "operation = \"update\"                 # upsert issues passes that are missing");
    let _ = writeln!(out, "mode = \"plan\"                        # then canary, then live");
    if repeats {
        let _ = writeln!(out, "duplicates = \"in-order\"");
    }
    if let Some(stamp) = guess.columns.iter().find(|column| column.role == Some(Role::Stamp) && is_ordered(column)) {
        let _ = writeln!(out, "updated_at = {}                 # rows older than what was applied end as stale", toml_text(&stamp.name));
    }
    dialect(&mut out, found, feed.name);
    fields(&mut out, guess, feed.name);
    out
}

fn is_ordered(column: &Column) -> bool {
    matches!(column.form.get("type").and_then(Json::as_str), Some("datetime" | "date" | "integer"))
}

/// What was detected, pinned: a file that is written otherwise one day fails with words instead of being read wrongly.
fn dialect(out: &mut String, found: &Found, name: &str) {
    let (dialect, choice) = (&found.guess.dialect, &found.choice);
    let sign = |sign: u8| toml_text(&char::from(sign).to_string());
    let _ = writeln!(out, "\n[feed.{}.dialect]", toml_key(name));
    let _ = writeln!(out, "# {}", one_line(&dialect.evidence));
    let delimiter = if dialect.form.delimiter == "\t" { "tab" } else { &dialect.form.delimiter };
    let _ = writeln!(out, "delimiter = {}", toml_text(delimiter));
    match dialect.form.quote {
        None => drop(writeln!(out, "quote = \"none\"")),
        Some(b'"') => {}
        Some(quote) => drop(writeln!(out, "quote = {}", sign(quote))),
    }
    if let Some(escape) = dialect.form.escape {
        let _ = writeln!(out, "escape = {}", sign(escape));
    }
    if !dialect.charset.is_utf_8() || choice.charset.is_some() {
        let _ = writeln!(out, "# {}", one_line(&dialect.charset_evidence));
        let _ = writeln!(out, "encoding = {}", toml_text(&dialect.charset.name().to_lowercase()));
    }
    if choice.preamble > 0 {
        let _ = writeln!(out, "preamble = {}", choice.preamble);
    }
    if let Some(footer) = &choice.footer {
        let _ = writeln!(out, "footer = {}", toml_text(footer.source()));
    }
    if !dialect.header {
        let _ = writeln!(out, "header = false");
    }
}

fn fields(out: &mut String, guess: &Guess, name: &str) {
    let _ = writeln!(out, "\n# Pass field = column. The names on the left are PassKit's; other platforms have their own.");
    let _ = writeln!(out, "[feed.{}.fields]", toml_key(name));
    let key = guess.key.as_ref().map(|key| key.column);
    let mut mapped: Vec<&str> = Vec::new();
    // A feed maps something. Where no name says what, it is the first number, or the first column, that may be.
    let may_be = |&index: &usize| Some(index) != key && guess.columns[index].role.is_none_or(|role| !role.is_personal());
    let is_number = |&index: &usize| matches!(guess.columns[index].form.get("type").and_then(Json::as_str), Some("integer" | "number"));
    let told = guess.columns.iter().any(|column| field_of(column).is_some() && column.certainty > Certainty::Open);
    let possible: Vec<usize> = (0..guess.columns.len()).filter(may_be).filter(|_| !told).collect();
    let instead = possible.iter().copied().find(is_number).or_else(|| possible.first().copied());
    for (index, column) in guess.columns.iter().enumerate() {
        if Some(index) == key {
            continue;
        }
        let field = field_of(column).unwrap_or_default();
        let fits = !field.is_empty() && !mapped.contains(&field) && column.certainty > Certainty::Open;
        let remark =
            if column.why.is_empty() { String::new() } else { format!("  # {}: {}", certainty(column.certainty), column.why.join("; ")) };
        if fits {
            mapped.push(field);
            let _ = writeln!(out, "{} = {}{}", toml_text(field), toml_text(&column.name), one_line(&remark));
        } else {
            let field = format!("metaData.{}", slug(&column.name));
            let off = if Some(index) == instead { "" } else { "#" };
            let _ = writeln!(out, "{off}{} = {}{}", toml_text(&field), toml_text(&column.name), one_line(&remark));
        }
    }
}

/// PassKit's field for what a column is called.
fn field_of(column: &Column) -> Option<&'static str> {
    match column.role? {
        Role::Balance => Some("points"),
        Role::Tier => Some("tierId"),
        Role::Expiry => Some("expiryDate"),
        Role::Email => Some("person.emailAddress"),
        _ => None,
    }
}

pub(super) fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Sure => "sure",
        Certainty::Likely => "likely",
        Certainty::Open => "to be decided",
    }
}

/// A text of a file on one line of a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The file's name with its dates, numbers and counters left open.
pub fn pattern(file: &str) -> String {
    let mut pattern = String::new();
    let mut letters = file.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_digit() {
            // A date's parts, a time, a counter: digits and the signs between them.
            while letters.peek().is_some_and(|next| next.is_ascii_digit() || matches!(next, '-' | '_' | 'T' | ':')) {
                let mut ahead = letters.clone();
                let separator = ahead.next().is_some_and(|next| !next.is_ascii_digit());
                if separator && !ahead.peek().is_some_and(char::is_ascii_digit) {
                    break;
                }
                letters.next();
            }
            if !pattern.ends_with('*') {
                pattern.push('*');
            }
        } else if matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            pattern.push('\\');
            pattern.push(letter);
        } else {
            pattern.push(letter);
        }
    }
    pattern
}

fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars() {
        if letter.is_alphanumeric() {
            slug.extend(letter.to_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.trim_end_matches('_').to_owned()
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn toml_key(name: &str) -> String {
    if !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')) {
        name.to_owned()
    } else {
        toml_text(name)
    }
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn dates_and_counters_of_a_name_are_left_open() {
        let made = [
            ("loyalty_20261120.csv", "loyalty_*.csv"),
            ("loyalty-2026-11-20.csv", "loyalty-*.csv"),
            ("data_0_0_0.csv.gz", "data_*.csv.gz"),
            ("points_2026-11-20T23-15.csv", "points_*.csv"),
            ("VIP Segment Members Export.csv", "VIP Segment Members Export.csv"),
            ("a[1].csv", "a\\[*\\].csv"),
        ];
        for (file, made) in made {
            assert_eq!(pattern(file), made);
        }
    }
}
