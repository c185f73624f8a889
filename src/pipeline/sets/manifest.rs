//! Parts that a manifest lists: Redshift's, and those of like form (contracts/exports.md, sections 3 and 15).

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeSet, HashMap};

use bstr::{BStr, BString, ByteSlice};
use globset::GlobMatcher;
use serde_json::Value;

use super::{Candidate, Look, Rules, beside_of, is_data, matches, part_of};
use crate::ledger::delivered::Checksum;
use crate::ledger::run::show_name;
use crate::pipeline::checksum::checksum;
use crate::pipeline::discover::{Matcher, Observations};
use crate::source::{Entry, EntryKind, Result, join, name_fault};

/// What a manifest says of a part.
struct Listed {
    /// The last segment of its address.
    name: BString,
    size: Option<u64>,
    records: Option<u64>,
    checksum: Option<Checksum>,
}

struct Manifest {
    parts: Vec<Listed>,
    records: Option<u64>,
    /// Its counts are Redshift's.
    is_redshifts: bool,
}

/// Manifests of the inbox, with what they list.
pub(super) fn candidates(
    matcher: &Matcher,
    parts: &GlobMatcher,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<Vec<Candidate>> {
    let rules = &matcher.rules;
    let is_manifest = |name: &BStr| matcher.matches(name);
    let own = |entry: &&Entry| is_data(rules, entry) && is_manifest(entry.name.as_bstr());
    let mut manifests: Vec<&Entry> = look.entries.iter().filter(own).collect();
    // Of two that list the same part, the older one has it.
    manifests.sort_by(|a, b| a.mtime.cmp(&b.mtime).then_with(|| a.name.cmp(&b.name)));
    let mut listed_by: HashMap<BString, BString> = HashMap::new();
    let mut found = Vec::new();
    for entry in manifests {
        let mut candidate = candidate(rules, entry, parts, &is_manifest, look, observations)?;
        let mut shared: Vec<String> = Vec::new();
        for part in &candidate.parts {
            match listed_by.entry(part.path.clone()) {
                Occupied(first) => shared.push(format!("{} is listed by {} too", part.shown(), show_name(first.get()))),
                Vacant(free) => drop(free.insert(entry.name.clone())),
            }
        }
        candidate.contradictions.extend(shared.into_iter().take(3));
        found.push(candidate);
    }
    Ok(found)
}

/// The set of one manifest.
pub(super) fn candidate(
    rules: &Rules,
    own: &Entry,
    parts: &GlobMatcher,
    is_manifest: &dyn Fn(&BStr) -> bool,
    look: &Look<'_>,
    observations: &mut Observations,
) -> Result<Candidate> {
    let mut candidate = Candidate { name: own.name.clone(), ..Candidate::default() };
    let text = observations.text(look.link, &join(look.inbox, own.name.as_bstr()), own)?;
    match text.as_deref().map(read) {
        Some(Ok(manifest)) => take(rules, &mut candidate, manifest, own, parts, is_manifest, look.entries),
        Some(Err(why)) => candidate.missing.push(format!("it cannot be read as a manifest: {why}")),
        None => candidate.missing.push("it changes while it is read, or is too large for a manifest".into()),
    }
    candidate.beside.push(beside_of(own.name.clone(), own));
    candidate.shown_by = Some((format!("manifest {}", show_name(&own.name)), own.mtime));
    Ok(candidate)
}

fn take(
    rules: &Rules,
    candidate: &mut Candidate,
    manifest: Manifest,
    own: &Entry,
    parts: &GlobMatcher,
    is_manifest: &dyn Fn(&BStr) -> bool,
    entries: &[Entry],
) {
    let files: HashMap<&BStr, &Entry> =
        entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| (entry.name.as_bstr(), entry)).collect();
    let headers = u64::from(rules.counts_header.unwrap_or(manifest.is_redshifts) && rules.header);
    let mut known = BTreeSet::new();
    let mut total_headers = 0;
    for listed in manifest.parts {
        let shown = show_name(&listed.name);
        if name_fault(listed.name.as_bstr()).is_some() || !known.insert(listed.name.clone()) {
            candidate.contradictions.push(format!("the manifest lists {shown}, which is no name of a part or stands there twice"));
            continue;
        }
        let Some(entry) = files.get(listed.name.as_bstr()) else {
            candidate.missing.push(format!("the part {shown}, which the manifest lists, has not come"));
            continue;
        };
        if let Some(size) = listed.size.filter(|size| *size != entry.size) {
            candidate.contradictions.push(format!("{shown} has {} bytes, and the manifest says {size}", entry.size));
        }
        total_headers += headers;
        let mut part = part_of(listed.name, entry);
        part.declared = listed.records.map(|records| records.saturating_sub(headers));
        part.checksum = listed.checksum;
        candidate.parts.push(part);
    }
    candidate.records = manifest.records.map(|records| records.saturating_sub(total_headers));
    let prefix = prefix(&own.name);
    let is_other = |entry: &&&Entry| {
        let name = entry.name.as_bstr();
        // Without a prefix of the manifest's own, the pattern alone tells what is a part.
        let may_be = name.starts_with(prefix) && matches(parts, name) && !(prefix.is_empty() && parts.glob().glob() == "*");
        may_be && entry.name != own.name && !known.contains(&entry.name) && is_data(rules, entry) && !is_manifest(name)
    };
    let mut others: Vec<String> = files.values().filter(is_other).map(|entry| show_name(&entry.name)).collect();
    others.sort();
    candidate.contradictions.extend(others.into_iter().take(3).map(|other| format!("{other} is there, and the manifest does not list it")));
}

/// Is this text a manifest that lists files?
pub(super) fn is_one(text: &[u8]) -> bool {
    read(text).is_ok_and(|manifest| !manifest.parts.is_empty())
}

/// What a manifest's name has in common with those of its parts: `loyalty_` of `loyalty_manifest`.
fn prefix(name: &[u8]) -> &[u8] {
    let stem = name.strip_suffix(b".json").unwrap_or(name);
    stem.strip_suffix(b"manifest").unwrap_or_default()
}

/// Reads what Redshift writes, and lists of like form: entries under `entries`, `files` or alone; each an address or name, a size, a
/// number of records and a checksum by their usual names.
fn read(text: &[u8]) -> std::result::Result<Manifest, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let json: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let entries = ["entries", "files", "parts"].iter().find_map(|key| json.get(key)).unwrap_or(&json);
    let entries = entries.as_array().ok_or("it has no list of entries or files")?;
    let parts = entries.iter().map(|entry| listed(entry).ok_or_else(|| "an entry names no file".to_owned()));
    let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
    let is_redshifts = json.pointer("/author/name").and_then(Value::as_str).is_some_and(|name| name.contains("Redshift"))
        || entries.iter().any(|entry| entry.pointer("/meta/record_count").is_some());
    Ok(Manifest { parts, records: number(&json, &RECORDS), is_redshifts })
}

const RECORDS: [&str; 6] = ["/meta/record_count", "/record_count", "/records", "/rows", "/row_count", "/num_rows"];

fn listed(entry: &Value) -> Option<Listed> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| entry.pointer(key)?.as_str());
    let address = entry.as_str().or_else(|| text(&["/url", "/name", "/path", "/file", "/filename", "/key"]))?;
    let name = address.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some(Listed {
        name: name.into(),
        size: number(entry, &["/meta/content_length", "/content_length", "/size", "/bytes", "/file_size"]),
        records: number(entry, &RECORDS),
        checksum: text(&["/sha256", "/checksum", "/md5", "/sha1", "/sha512"]).and_then(|digits| checksum(digits.as_bytes())),
    })
}

fn number(value: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| value.pointer(key)?.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redshifts_manifest_is_read_and_matched_by_the_last_segment() {
        let manifest = read(
            br#"{"entries":[{"url":"s3://bkt/out/loyalty_csv_0000_part_00.gz","meta":{"content_length":112,"record_count":3}}],
                 "schema":{"elements":[]},"meta":{"content_length":112,"record_count":3},
                 "author":{"name":"Amazon Redshift","version":"1.0.0"}}"#,
        )
        .unwrap();
        let part = &manifest.parts[0];
        assert_eq!((part.name.as_bstr(), part.size, part.records), ("loyalty_csv_0000_part_00.gz".into(), Some(112), Some(3)));
        assert!(manifest.is_redshifts && manifest.records == Some(3));
        assert_eq!(prefix(b"loyalty_csv_manifest"), b"loyalty_csv_");
        assert_eq!(prefix(b"loyalty_manifest.json"), b"loyalty_");
    }

    #[test]
    fn lists_of_like_form_are_read() {
        let manifest = read(br#"{"files":[{"name":"a.csv","size":5,"rows":1,"sha256":"x"},"b.csv"]}"#).unwrap();
        assert_eq!(manifest.parts.iter().map(|part| part.name.to_string()).collect::<Vec<_>>(), ["a.csv", "b.csv"]);
        assert!(!manifest.is_redshifts && manifest.parts[0].records == Some(1));
        assert!(read(b"{}").is_err() && read(b"[{}]").is_err() && read(b"{").is_err());
    }
}
