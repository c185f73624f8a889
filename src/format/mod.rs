//! Ready forms of files: what a vendor's own convention says of a file's columns, so that nobody has to write it down again.
//!
//! Where a feed has a format, its schema and mapping come from the header of each file ([`shape`]). A feed shaped so is a feed like any
//! other: its fingerprint covers what came from the header, so that other columns are a changed feed.

#[cfg(test)]
mod tests;
mod thewalletcrew;
mod vibes;

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::config::meant::{Feed, Format};
use crate::mapping::FIELDS_MAX;
use crate::outcome::Code;
use crate::schema::{Empty, HeaderFault};

/// The feed as it is for a file with these labels. One without a format, or whose schema is written down, stays as it is.
pub fn shape(feed: &Arc<Feed>, labels: &[String]) -> Result<Arc<Feed>, Vec<HeaderFault>> {
    let (schema, fields) = match &feed.format {
        Some(_) if !feed.takes_shape() => return Ok(Arc::clone(feed)),
        Some(Format::TheWalletCrew(form)) => thewalletcrew::shape(feed, form, labels)?,
        Some(Format::Vibes(form)) => (vibes::schema(feed, form, labels)?, feed.fields.clone()),
        None => return Ok(Arc::clone(feed)),
    };
    if fields.len() > FIELDS_MAX {
        let message = format!("the columns set {} pass fields; at most {FIELDS_MAX} can be", fields.len());
        return Err(vec![HeaderFault { code: Code::ExtraLabel, column: None, label: String::new(), message }]);
    }
    let mut shaped = Feed { schema_text: schema.to_string(), fields, ..(**feed).clone() };
    shaped.fingerprint = crate::config::fingerprint(&shaped);
    Ok(Arc::new(shaped))
}

/// A label as it is compared: without the spaces and line breaks around it, each once, in an order of its own. A file's columns in another
/// order are no other columns.
fn names(labels: &[String]) -> Vec<(usize, String)> {
    let mut names: Vec<(usize, String)> =
        labels.iter().enumerate().map(|(column, label)| (column, label.trim().to_owned())).filter(|(_, name)| !name.is_empty()).collect();
    names.sort_by(|one, other| (&one.1, one.0).cmp(&(&other.1, other.0)));
    names.dedup_by(|one, other| one.1 == other.1);
    names
}

/// A text column of a schema.
fn column(name: &str, personal: bool, empty: Empty) -> Json {
    let empty = match empty {
        Empty::Keep => "keep",
        Empty::Clear => "clear",
        Empty::Reject => "reject",
    };
    json!({ "name": name, "type": "string", "x-passferry": { "personal": personal, "empty": empty } })
}

/// The column that names the pass: no row does without.
fn pass_column(name: &str, personal: bool) -> Json {
    json!({ "name": name, "type": "string", "constraints": { "required": true }, "x-passferry": { "personal": personal } })
}
