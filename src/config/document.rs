//! The file as a document with places: which keys it has, where they stand, and its values as written types.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::fault::Fault;
use super::value::{self, near, quoted};

/// The way to a value from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub Vec<String>);

impl Key {
    pub fn of(parts: &[&str]) -> Key {
        Key(parts.iter().map(|&part| part.to_owned()).collect())
    }

    pub fn child(&self, name: &str) -> Key {
        let mut parts = self.0.clone();
        parts.push(name.to_owned());
        Key(parts)
    }

    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Is the value a secret, or a part of the place of one?
    pub fn is_secret(&self) -> bool {
        match &*self.0 {
            [section, _, auth, key, ..] if section == "platform" && auth == "auth" => AUTH_SECRETS.contains(&&**key),
            [section, _, pgp, keys, _, ..] if section == "feed" && pgp == "pgp" && keys == "keys" => true,
            [section, _, key, ..] if section == "alert" => ALERT_SECRETS.contains(&&**key),
            [section, _, key, ..] => (section == "source" || section == "platform") && SECRETS.contains(&&**key),
            _ => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            let bare = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if bare { write!(out, "{dot}{part}")? } else { write!(out, "{dot}{}", quoted(part))? }
        }
        Ok(())
    }
}

/// Keys of sources and platforms that hold secrets.
const SECRETS: [&str; 4] = ["key", "secret", "password", "passphrase"];

/// Keys of alerts that hold secrets. Addresses are among them: many a webhook asks for nothing else.
const ALERT_SECRETS: [&str; 3] = ["url", "secret", "password"];

/// Keys of a platform's `auth` that hold secrets.
const AUTH_SECRETS: [&str; 4] = ["bearer", "password", "key", "client_secret"];

/// A file that is TOML. Its text is shown in faults but for lines that may hold a secret.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    /// Keys taken out because they had a fault of their own; their absence is no further fault.
    pruned: BTreeSet<Key>,
    /// Byte ranges that may hold a secret.
    hidden: Vec<Range<usize>>,
}

impl<'t> Document<'t> {
    /// Fails with every fault of syntax.
    pub fn parse(text: &'t str) -> Result<Document<'t>, Vec<Fault>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Document { text, root, pruned: BTreeSet::new(), hidden: Vec::new() };
        if errors.is_empty() {
            let mut hidden = Vec::new();
            hide(document.root.get_ref(), &Key::default(), &mut hidden);
            document.hidden = hidden;
            return Ok(document);
        }
        // Without a tree nobody knows which line holds a secret: none is shown that has the word.
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if value::sounds_secret(line) {
                document.hidden.push(start..start + line.len());
            }
            start += line.len();
        }
        let faults = errors.iter().map(|error| {
            let message = format!("is not TOML here: {}", error.message());
            document.fault_at(String::new(), error.span().unwrap_or(0..0), message)
        });
        let mut faults: Vec<Fault> = faults.collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Err(faults)
    }

    /// Reads the document as `T`. A value of the wrong type and a key that is unknown are faults, and are left out of what is read.
    pub fn read<T: for<'de> Deserialize<'de> + Default>(&mut self) -> (T, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut rest = self.root.clone();
        loop {
            let error = match T::deserialize(Deserializer::from(rest.clone())) {
                Ok(read) => return (read, faults),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let Some(key) = prune(rest.get_mut(), &Key::default(), &span) else {
                faults.push(self.fault_at(String::new(), span, error.message().to_owned()));
                return (T::default(), faults);
            };
            let message = explain(&key, &error);
            faults.push(self.fault_at(key.to_string(), span, message));
            self.pruned.insert(key);
        }
    }

    /// A fault at a key, or at the nearest one above it that is in the file.
    pub fn fault(&self, key: &Key, message: String) -> Fault {
        let mut table = self.root.get_ref();
        let mut span = 0..0;
        for (depth, part) in key.0.iter().enumerate() {
            let Some((name, value)) = table.get_key_value(part.as_str()) else { break };
            let last = depth + 1 == key.0.len();
            span = if last && !value.get_ref().is_table() { value.span() } else { name.span() };
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        self.fault_at(key.to_string(), span, message)
    }

    /// The names in a table, in no order.
    pub fn names_in(&self, key: &Key) -> Vec<String> {
        let mut table = self.root.get_ref();
        for part in &key.0 {
            let Some(DeValue::Table(inner)) = table.get(part.as_str()).map(Spanned::get_ref) else { return Vec::new() };
            table = inner;
        }
        table.keys().map(|name| name.get_ref().clone().into_owned()).collect()
    }

    /// All that a table says but under some of its keys, one `key = value` a line in the order of the keys.
    pub fn flat(&self, key: &Key, but: &[&str]) -> String {
        let mut table = self.root.get_ref();
        for part in &key.0 {
            let Some(DeValue::Table(inner)) = table.get(part.as_str()).map(Spanned::get_ref) else { return String::new() };
            table = inner;
        }
        let mut lines = Vec::new();
        for (name, value) in table.iter().filter(|(name, _)| !but.contains(&&**name.get_ref())) {
            flatten(&Key::of(&[name.get_ref()]), value.get_ref(), &mut lines);
        }
        lines.sort_unstable();
        lines.concat()
    }

    /// Byte offset of a key; what stands earlier in the file comes first.
    pub fn offset(&self, key: &Key) -> usize {
        let mut table = self.root.get_ref();
        let mut offset = 0;
        for part in &key.0 {
            let Some((name, value)) = table.get_key_value(part.as_str()) else { break };
            offset = name.span().start;
            let DeValue::Table(inner) = value.get_ref() else { break };
            table = inner;
        }
        offset
    }

    /// Did this key, or one above it, have a fault that took it out?
    pub fn pruned(&self, key: &Key) -> bool {
        (1..=key.0.len()).any(|depth| self.pruned.contains(&Key(key.0[..depth].to_vec())))
    }

    /// Did this key, or one below it, have a fault that took it out?
    pub fn pruned_within(&self, key: &Key) -> bool {
        self.pruned.iter().any(|pruned| pruned.0.starts_with(&key.0))
    }

    fn fault_at(&self, key: String, span: Range<usize>, message: String) -> Fault {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let hidden = self.hidden.iter().any(|range| range.start < line_end.max(line_start + 1) && range.end > line_start);
        let end = self.text.floor_char_boundary(span.end.clamp(start, line_end));
        Fault {
            key,
            line: self.text[..start].matches('\n').count() as u32 + 1,
            column: self.text[line_start..start].chars().count() as u32 + 1,
            message,
            // Control characters would reach the terminal.
            excerpt: (!hidden && !line.trim().is_empty()).then(|| line.replace(|c: char| c.is_control() && c != '\t', " ")),
            width: self.text[start..end].chars().count(),
        }
    }
}

/// Marks every value of a source, platform or alert that is not known to be harmless.
fn hide(table: &DeTable<'_>, key: &Key, hidden: &mut Vec<Range<usize>>) {
    for (name, value) in table {
        let here = key.child(name.get_ref());
        let account = here.0.first().is_some_and(|section| ["source", "platform", "alert"].contains(&&**section));
        match value.get_ref() {
            // A database's address has a login in it.
            _ if here == Key::of(&["state"]) && value.get_ref().as_str().is_none_or(|text| text.contains("://")) => {
                hidden.push(value.span());
            }
            DeValue::Table(inner) if here.0.len() < 3 => hide(inner, &here, hidden),
            // The secret itself, where its place should be.
            itself if account && here.is_secret() && !itself.is_table() => hidden.push(value.span()),
            DeValue::Table(inner) if account && !here.is_secret() => hide(inner, &here, hidden),
            DeValue::Table(inner) if here.is_secret() => {
                let place = |name: &str, text: Option<&str>| match name {
                    "env" => text.is_some_and(value::is_env_name),
                    "file" | "credential" => text.is_some(),
                    _ => false,
                };
                hidden.extend(
                    inner.iter().filter(|(name, value)| !place(name.get_ref(), value.get_ref().as_str())).map(|(_, value)| value.span()),
                );
            }
            DeValue::String(text) if text.contains(['@', '?']) && account => hidden.push(value.span()),
            _ if account && !super::keys::harmless(here.last()) => hidden.push(value.span()),
            DeValue::String(_) | DeValue::Array(_) if !account && value::sounds_secret(here.last()) => hidden.push(value.span()),
            _ => {}
        }
    }
}

fn flatten(key: &Key, value: &DeValue<'_>, lines: &mut Vec<String>) {
    match value {
        DeValue::Table(table) => table.iter().for_each(|(name, value)| flatten(&key.child(name.get_ref()), value.get_ref(), lines)),
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&key.child(&index.to_string()), item.get_ref(), lines));
        }
        DeValue::String(text) => lines.push(format!("{key} = {}\n", quoted(text))),
        DeValue::Integer(number) => lines.push(format!("{key} = {number}\n")),
        DeValue::Float(number) => lines.push(format!("{key} = {number}\n")),
        DeValue::Boolean(on) => lines.push(format!("{key} = {on}\n")),
        DeValue::Datetime(time) => lines.push(format!("{key} = {time}\n")),
    }
}

/// Takes the deepest key out whose name or value stands at `span`; says which.
fn prune(table: &mut DeTable<'_>, key: &Key, span: &Range<usize>) -> Option<Key> {
    let mut found = None;
    for (name, value) in table.iter_mut() {
        let here = key.child(name.get_ref());
        if name.span() == *span {
            found = Some(here);
            break;
        }
        let own = value.span() == *span;
        match value.get_mut() {
            DeValue::Table(inner) => {
                if let Some(deeper) = prune(inner, &here, span) {
                    return Some(deeper);
                }
            }
            DeValue::Array(items) if items.iter().any(|item| item.span() == *span) => {
                found = Some(here);
                break;
            }
            _ => {}
        }
        if own {
            found = Some(here);
            break;
        }
    }
    let here = found?;
    table.remove(here.last());
    Some(here)
}

/// The words of serde turned into what to write instead.
fn explain(key: &Key, error: &Error) -> String {
    let text = error.message();
    // serde lists what it expected between backticks, after the first one, which is what it found.
    let known: Vec<&str> = text.split('`').skip(3).step_by(2).collect();
    if text.starts_with("unknown field") {
        return format!("is no key here; {}", value::instead(key.last(), &known));
    }
    if key.is_secret() {
        // A part of the place stands one deeper than the secret itself.
        let depth = if key.0.get(2).is_some_and(|part| part == "auth") { 3 } else { 2 };
        let (section, name) = (key.0[1].to_uppercase().replace('-', "_"), &key.0[depth]);
        return format!(
            "a secret is never a value in this file; write {name} = {{ env = \"{section}_{}\" }} or {name} = {{ file = \"PATH\" }} or {name} = {{ credential = \"NAME\" }}",
            name.to_uppercase()
        );
    }
    match &*key.0 {
        [section, _] if ["source", "platform", "feed", "alert"].contains(&&**section) => {
            return format!("stands in no named section; write [{section}.NAME] above it");
        }
        [section, _, fields, name] if section == "feed" && fields == "fields" && text.contains("map") => {
            return format!("is a table; put the whole name of the pass field in quotes: \"{name}.…\" = \"COLUMN\"");
        }
        _ => {}
    }
    if *key == Key::of(&["state"]) {
        return "is a folder, such as \"/var/lib/passferry\"; a database by address (state.url) is not available in this version".into();
    }
    if let Some(found) = text.strip_prefix("unknown variant `").and_then(|rest| rest.split('`').next()) {
        let near = near(found, known.iter().copied()).map(|near| format!("did you mean {}? ", quoted(near))).unwrap_or_default();
        return format!("{} is not known here; {near}write {}", quoted(found), value::choices(&known));
    }
    match text.split_once(", expected ") {
        Some((found, expected)) if text.starts_with("invalid ") => {
            let found = found.split_once(": ").map_or(found, |(_, found)| found).replace('`', "");
            let found = if found.starts_with("string ") { "a string" } else { &found };
            format!("is {found}; write {expected}")
        }
        _ => text.to_owned(),
    }
}
