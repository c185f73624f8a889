//! Vibes' wallet batch file, `.wallet_update` (contracts/others.md): its columns as text, where the feed has no schema of its own.

use serde_json::{Value as Json, json};

use super::{column, names, pass_column};
use crate::config::meant::{Feed, FieldMapping, VibesFile};
use crate::mapping::template_columns;
use crate::outcome::Code;
use crate::schema::{Empty, HeaderFault};

/// The column with a row's own campaign, which wins over the file's.
const CAMPAIGN: &str = "campaign_token";

pub(super) fn schema(feed: &Feed, form: &VibesFile, labels: &[String]) -> Result<Json, Vec<HeaderFault>> {
    let pass = feed.pass.column();
    let personal = |name: &str| form.personal.iter().any(|personal| personal == name);
    let mut columns = Vec::new();
    let mut present = Vec::new();
    for (index, name) in names(labels) {
        columns.push(if name == pass {
            pass_column(&name, personal(&name))
        } else if name == CAMPAIGN {
            campaign(form, index)?
        } else {
            column(&name, personal(&name), Empty::Keep)
        });
        present.push(name);
    }
    if !present.iter().any(|name| name == pass) {
        let message = format!("the file has no column `{pass}`, which names the pass; names of columns are in lower case");
        return Err(vec![HeaderFault { code: Code::MissingLabel, column: None, label: pass.to_owned(), message }]);
    }
    // A file that says nothing of a mapped column leaves that field alone.
    let mut absent: Vec<String> = feed.fields.iter().flat_map(|(_, mapping)| used(mapping)).collect();
    absent.sort();
    absent.dedup();
    absent.retain(|name| !present.contains(name));
    let all_absent = feed.fields.iter().all(|(_, mapping)| {
        let used = used(mapping);
        !used.is_empty() && used.iter().all(|name| absent.contains(name))
    });
    if all_absent && !feed.fields.is_empty() {
        let message = format!("the file has none of the columns that the feed maps: {}", absent.join(", "));
        return Err(vec![HeaderFault { code: Code::UnmatchedHeader, column: None, label: String::new(), message }]);
    }
    columns.extend(absent.iter().map(|name| column(name, personal(name), Empty::Keep)));
    Ok(json!({ "fieldsMatch": "superset", "fields": columns }))
}

/// Rows of other campaigns than the feed's are rejected.
fn campaign(form: &VibesFile, index: usize) -> Result<Json, Vec<HeaderFault>> {
    if form.campaigns.is_empty() {
        let message =
            "rows name their campaign, and the feed does not say which are its; write campaigns = [\"TOKEN\"] in the feed's format"
                .to_owned();
        return Err(vec![HeaderFault { code: Code::ExtraLabel, column: Some(index), label: CAMPAIGN.to_owned(), message }]);
    }
    Ok(json!({ "name": CAMPAIGN, "type": "string", "constraints": { "enum": form.campaigns } }))
}

fn used(mapping: &FieldMapping) -> Vec<String> {
    match mapping {
        FieldMapping::Column(name) => vec![name.clone()],
        FieldMapping::Template(text) => template_columns(text).unwrap_or_default(),
    }
}
