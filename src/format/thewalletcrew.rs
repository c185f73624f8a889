//! The Wallet Crew's flat file: `id`, `id.NAME`, `additionalData.KEY` and `metadata.KEY` (contracts/thewalletcrew.md, section 1).

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{column, names, pass_column};
use crate::config::meant::{CrewFile, Feed, FieldMapping};
use crate::outcome::Code;
use crate::platform::of_kind;
use crate::schema::{Empty, HeaderFault};

/// A schema, and the mapping over its columns.
type Shape = (Json, Vec<(String, FieldMapping)>);

/// Every column that says something of the pass is a field of its own name. What else stands in the file is refused, or left alone where
/// the feed says so: whether the vendor minds is not public.
pub(super) fn shape(feed: &Feed, form: &CrewFile, labels: &[String]) -> Result<Shape, Vec<HeaderFault>> {
    let (mut columns, mut fields, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let platform = of_kind(&feed.platform.kind);
    let pass = feed.pass.column();
    let personal = |name: &str| form.personal.iter().any(|personal| personal == name);
    let mut names_pass = false;
    for (index, name) in names(labels) {
        if name == pass {
            names_pass = true;
            columns.push(pass_column(&name, personal(&name)));
            continue;
        }
        match platform.field(&name) {
            // That identifiers are changed by such files is said, and how the column is called is not.
            Ok(_) if !name.starts_with("identifiers.") => {
                let identifies = name == "id" || name.starts_with("id.");
                columns.push(column(&name, personal(&name), if identifies { Empty::Keep } else { form.empty }));
                fields.push((name.clone(), FieldMapping::Column(name)));
            }
            _ if form.ignores_others => {}
            other => {
                let why = other.err().map(|why| format!(": {why}")).unwrap_or_default();
                let message = format!(
                    "column {} is none of `{pass}`, `id`, `id.NAME`, `additionalData.KEY` and `metadata.KEY`{why}; to leave such columns \
                     alone, write other_columns = \"ignore\" in the feed's format",
                    index + 1
                );
                faults.push(HeaderFault { code: Code::ExtraLabel, column: Some(index), label: name, message });
            }
        }
    }
    if !names_pass {
        faults.push(no_pass(pass, labels));
    }
    if faults.is_empty() && fields.is_empty() {
        let message = "the file sets nothing: it has no column `additionalData.KEY` or `metadata.KEY`".to_owned();
        faults.push(HeaderFault { code: Code::UnmatchedHeader, column: None, label: String::new(), message });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // A correction may lack columns; those that nobody minds are named in the report.
    let fits = if form.ignores_others { "partial" } else { "superset" };
    Ok((json!({ "fieldsMatch": fits, "fields": columns }), fields))
}

fn no_pass(pass: &str, labels: &[String]) -> HeaderFault {
    let others: Vec<String> =
        names(labels).into_iter().map(|(_, name)| name).filter(|name| name == "id" || name.starts_with("id.")).collect();
    let mut message = format!("the header has no column `{pass}`, which names the pass");
    match others.iter().find(|name| name.starts_with("id.")) {
        Some(other) => {
            let name = other.trim_start_matches("id.");
            let _ = write!(
                message,
                "; it has `{other}`: if all feeds of this account go by that, write identifier = \"{name}\" in the platform's section"
            );
        }
        None if others.iter().any(|name| name == "id") => {
            message.push_str("; it has `id`: if all feeds of this account go by that, leave identifier out of the platform's section");
        }
        None => {}
    }
    HeaderFault { code: Code::MissingLabel, column: None, label: pass.to_owned(), message }
}
