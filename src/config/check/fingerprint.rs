//! A feed's fingerprint.

use sha2::{Digest, Sha256};

use super::hex;
use crate::config::meant::{
    Content, DialectChoice, Feed, FieldMapping, Format, Identity, NotifyKind, OperationChoice, PassColumn, PlatformKind, Several,
};
use crate::zone::{Gap, Overlap};

/// A digest of all that makes a feed's meaning: schema, mapping, pass, operation, platform account, content, dialect, time zone.
/// The order of the mapping does not count. Every part has its length before it, so that no two feeds run together.
pub(crate) fn fingerprint(feed: &Feed) -> String {
    let mut hasher = Sha256::new();
    for part in parts(feed) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

fn parts(feed: &Feed) -> Vec<String> {
    let mut parts = vec!["passferry feed 1".to_owned(), feed.schema_text.clone()];
    let mut fields: Vec<_> = feed.fields.iter().collect();
    fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    parts.push(fields.len().to_string());
    for (name, mapping) in fields {
        let (kind, text) = source(mapping);
        parts.extend([name.clone(), kind.to_owned(), text.to_owned()]);
    }
    let pass = if matches!(feed.pass, PassColumn::ExternalId(_)) { "external_id" } else { "pass_id" };
    let several = if feed.several == Several::All { "all" } else { "refuse" };
    parts.extend([pass, feed.pass.column(), several].map(str::to_owned));
    match &feed.operation {
        OperationChoice::Always(verb) => parts.extend(["always", verb.as_str()].map(str::to_owned)),
        OperationChoice::Column { column, words } => {
            parts.extend(["column".to_owned(), column.clone(), words.len().to_string()]);
            parts.extend(words.iter().flat_map(|(word, verb)| [word.clone(), verb.to_string()]));
        }
    }
    parts.extend(feed.platform.kind.identity().map(str::to_owned));
    parts.push(if feed.content == Content::Snapshot { "snapshot" } else { "delta" }.to_owned());
    let dialect = &feed.dialect;
    let delimiter = match dialect.delimiter.as_deref().map(str::as_bytes) {
        Some([byte]) => format!("Some({byte})"),
        Some(_) => format!("{:?}", dialect.delimiter),
        None => "None".to_owned(),
    };
    parts.push(format!("{delimiter} {} {}", dialect.header, dialect.blank_lines_strict));
    parts.push(feed.times.zone.to_string());
    if let Some(column) = &feed.updated_at {
        parts.extend(["updated_at".to_owned(), column.clone()]);
    }
    if let PlatformKind::Http(http) = &feed.platform.kind {
        parts.extend(["described", &http.meaning].map(str::to_owned));
    }
    if let PlatformKind::AppleWallet(apple) = &feed.platform.kind {
        parts.extend(["design".to_owned(), format!("{:?}", apple.design.fields)]);
    }
    if (feed.times.gap, feed.times.overlap) != (Gap::Error, Overlap::Error) {
        parts.push(format!("daylight saving {:?} {:?}", feed.times.gap, feed.times.overlap));
    }
    // Behind all else, and only where they are: a feed without them keeps the fingerprint it had before they existed.
    if let Some(adds) = &feed.adds {
        let column = if let Identity::Transaction(column) = &adds.identity { column } else { "" };
        parts.extend(["adds", &adds.scope, column].map(str::to_owned));
    }
    if let Some(consent) = &feed.consent {
        parts.extend(["consent", &consent.column, if consent.clear { "clear" } else { "keep" }].map(str::to_owned));
        parts.extend(consent.fields.iter().cloned());
    }
    if let Some(notify) = &feed.notify {
        let (kind, text) = source(&notify.message);
        let marketing = if notify.kind == NotifyKind::Marketing { "marketing" } else { "transactional" };
        parts.extend(["notify", &notify.field, kind, text, marketing].map(str::to_owned));
    }
    if let Some(format) = &feed.format {
        let personal = match format {
            Format::TheWalletCrew(form) => {
                parts.extend(["format", "thewalletcrew", if form.ignores_others { "ignore" } else { "refuse" }].map(str::to_owned));
                parts.push(format!("{:?}", form.empty));
                &form.personal
            }
            Format::Vibes(form) => {
                parts.extend(["format", "vibes"].map(str::to_owned));
                parts.extend(form.campaigns.iter().cloned());
                &form.personal
            }
        };
        parts.push("personal".to_owned());
        parts.extend(personal.iter().cloned());
    }
    // Keys are rotated; what a file means does not change by that.
    let dialect = DialectChoice { pgp: None, ..dialect.clone() };
    let plain = DialectChoice {
        delimiter: dialect.delimiter.clone(),
        header: dialect.header,
        blank_lines_strict: dialect.blank_lines_strict,
        section: dialect.section.clone(),
        ..DialectChoice::default()
    };
    if dialect != plain {
        parts.extend(["dialect".to_owned(), format!("{dialect:?}")]);
    }
    parts
}

fn source(mapping: &FieldMapping) -> (&'static str, &str) {
    match mapping {
        FieldMapping::Column(text) => ("column", text),
        FieldMapping::Template(text) => ("template", text),
    }
}
