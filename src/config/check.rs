//! As written → as meant: every check of the file, each on its own, so that one fault hides no other.

mod adds;
mod alert;
mod arrival;
mod dialect;
mod feed;
mod fingerprint;
mod format;
mod mapping;
mod order;
mod pgp;
mod platform;
mod review;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::document::{Document, Key};
use super::fault::Fault;
use super::value::{self, quoted};
use super::{meant, written};
use crate::platform::of_kind;
use crate::schema::Schema;
use crate::secret::{Secret, SecretPlace};
pub(crate) use fingerprint::fingerprint;

/// What mapping the field `name` of this platform's passes would be refused for, or none.
fn field_fault(platform: &meant::PlatformKind, name: &str) -> Option<String> {
    of_kind(platform).field(name).err()
}

/// Why a notification cannot travel in this field of the platform's passes, or none.
fn notify_fault(platform: &meant::PlatformKind, name: &str) -> Option<String> {
    of_kind(platform).notifies(name).err()
}

/// Pass fields that `upsert` must be given on this platform, beyond the account's own settings.
fn needed_to_create(platform: &meant::PlatformKind) -> Vec<String> {
    of_kind(platform).required_to_create()
}

/// The names of a schema's columns in order, aliases behind them, or what is wrong with it.
fn schema_fields(text: &str) -> Result<Vec<String>, Vec<String>> {
    let schema = Schema::parse(text).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let names = schema.fields().iter().map(|field| field.name.clone());
    Ok(names.chain(schema.fields().iter().flat_map(|field| field.aliases.clone())).collect())
}

/// The file in hand, and what was found wrong with it.
struct Check<'t> {
    document: Document<'t>,
    base: &'t Path,
    /// The state directory.
    state: PathBuf,
    faults: Vec<Fault>,
}

/// Checks the whole file.
pub(super) fn config(text: &str, base: &Path) -> Result<meant::Config, Vec<Fault>> {
    let mut document = Document::parse(text)?;
    let (file, faults) = document.read::<written::Config>();
    let mut check = Check { document, base, state: PathBuf::new(), faults };
    let meant = check.file(&file, text);
    let Check { mut faults, .. } = check;
    faults.sort_by_key(|fault| (fault.line, fault.column));
    if faults.is_empty() { Ok(meant) } else { Err(faults) }
}

impl Check<'_> {
    fn file(&mut self, file: &written::Config, text: &str) -> meant::Config {
        // systemd gives a list, separated by colons, when a unit names several.
        let given = std::env::var("STATE_DIRECTORY").ok().and_then(|list| list.split(':').next().map(str::to_owned));
        let given = given.filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/var/lib/passferry".into());
        let state = file.state.clone().unwrap_or(given);
        let state_key = Key::of(&["state"]);
        if state.contains("://") {
            self.fault(&state_key, "is an address; a database as state is not available in this version; write a folder".into());
        } else if state.is_empty() {
            self.fault(&state_key, "is empty; write a folder, such as \"/var/lib/passferry\"".into());
        }
        self.state = self.base.join(state);
        let drain = self.span(&Key::of(&["drain"]), file.drain.as_ref(), Duration::from_secs(30), Duration::ZERO);
        let space_factor = file.space_factor.unwrap_or(4.0);
        if !(0.0..=1000.0).contains(&space_factor) {
            self.fault(&Key::of(&["space_factor"]), "is not a number from 0 (fetch whatever the room) to 1000".into());
        }
        let reserve = file.reserve.as_ref().and_then(|size| self.good(&Key::of(&["reserve"]), value::bytes(&size.0))).unwrap_or(8 << 20);
        let workers = file.workers.unwrap_or(0);
        if workers > 1024 {
            self.fault(&Key::of(&["workers"]), "is more than any machine has cores; write 0 for one thread per core".into());
        }

        let (day, default) = (Duration::from_hours(24), Duration::from_hours(90 * 24));
        let retention = self.span(&Key::of(&["retention"]), file.retention.as_ref(), default, day);
        let keys = Key::of(&["key_retention"]);
        let key_retention = self.span(&keys, file.key_retention.as_ref(), Duration::from_hours(400 * 24), day);
        if key_retention < retention {
            let shown = humantime::format_duration(retention);
            self.fault(&keys, format!("is less than retention: rows could be tried again whose keys are gone; write at least \"{shown}\""));
        }

        let mut sources = BTreeMap::new();
        for (name, source) in self.section("source", &file.source) {
            let meant = self.source(&Key::of(&["source", name]), name, source);
            sources.extend(meant.map(|meant| (name.clone(), Arc::new(meant))));
        }
        let mut platforms = BTreeMap::new();
        for (name, platform) in self.section("platform", &file.platform) {
            let meant = self.platform(&Key::of(&["platform", name]), name, platform);
            platforms.extend(meant.map(|meant| (name.clone(), Arc::new(meant))));
        }
        let mut feeds = BTreeMap::new();
        for (name, feed) in self.section("feed", &file.feed) {
            let meant = self.feed(name, feed, file, &sources, &platforms);
            feeds.extend(meant.map(|meant| (name.clone(), Arc::new(meant))));
        }
        let mut alerts = BTreeMap::new();
        // The one section that may be left out.
        let ways = if file.alert.is_empty() { Vec::new() } else { self.section("alert", &file.alert) };
        for (name, alert) in ways {
            let meant = self.alert(&Key::of(&["alert", name]), name, alert);
            alerts.extend(meant.map(|meant| (name.clone(), Arc::new(meant))));
        }
        let review = file.review.as_ref().and_then(|review| self.review(review));
        self.overlaps(&feeds);
        self.one_account_twice(&platforms);
        meant::Config {
            state: self.state.clone(),
            sources,
            platforms,
            feeds,
            alerts,
            drain,
            review: review.map(Arc::new),
            space_factor,
            reserve,
            network_state: file.network_state.unwrap_or(false),
            workers: usize::from(workers),
            retention,
            key_retention,
            hash: hex(&Sha256::digest(text.as_bytes())),
        }
    }

    /// The entries of a section in the order of the file. Each section needs one; names are what commands, logs and metrics show.
    fn section<'a, T>(&mut self, section: &str, entries: &'a BTreeMap<String, written::Table<T>>) -> Vec<(&'a String, &'a T)> {
        let key = Key::of(&[section]);
        if entries.is_empty() && !self.document.pruned_within(&key) {
            self.fault(&key, format!("is missing; write at least one section [{section}.NAME]"));
        }
        for name in entries.keys() {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if name.is_empty() || name.len() > 64 || !plain {
                let message = format!("{} is no name; write at most 64 letters, digits, \"-\" and \"_\"", quoted(name));
                self.fault(&key.child(name), message);
            }
        }
        let mut entries: Vec<(&String, &T)> = entries.iter().map(|(name, table)| (name, &table.0)).collect();
        entries.sort_by_key(|(name, _)| self.document.offset(&key.child(name)));
        entries
    }

    /// Two feeds that would take the same files.
    fn overlaps(&mut self, feeds: &BTreeMap<String, Arc<meant::Feed>>) {
        let mut feeds: Vec<&Arc<meant::Feed>> = feeds.values().collect();
        feeds.sort_by_key(|feed| self.document.offset(&Key::of(&["feed", &feed.name])));
        for (index, feed) in feeds.iter().enumerate() {
            for other in &feeds[..index] {
                self.two_names_for_a_pass(feed, other);
                if !source::same_place(&feed.source, &other.source) {
                    continue;
                }
                if feed.inbox == other.inbox && feed.pattern == other.pattern {
                    let message = format!(
                        "feed {} takes the same files of the same inbox; give one of them another pattern or inbox",
                        quoted(&other.name)
                    );
                    self.fault(&Key::of(&["feed", &feed.name, "pattern"]), message);
                }
                for (mover, taker) in [(feed, other), (other, feed)] {
                    self.moved_into_inbox(mover, taker);
                }
            }
        }
    }

    /// An account has one allowance, one baseline and one order of changes, so it is one platform here.
    fn one_account_twice(&mut self, platforms: &BTreeMap<String, Arc<meant::Platform>>) {
        let mut seen: BTreeMap<[String; 3], String> = BTreeMap::new();
        for platform in platforms.values() {
            let account = platform.kind.identity().map(str::to_owned);
            if let Some(other) = seen.insert(account, platform.name.clone()) {
                let message = format!("is the same account as platform {}; let all feeds use one of them", quoted(&other));
                self.fault(&Key::of(&["platform", &platform.name]), message);
            }
        }
    }

    /// The baseline and the order of changes are kept by the identifier that a feed uses. Two kinds of it on one account would let one
    /// feed's change go unseen by the other.
    fn two_names_for_a_pass(&mut self, feed: &meant::Feed, other: &meant::Feed) {
        let by_pass_id = |feed: &meant::Feed| matches!(feed.pass, meant::PassColumn::PassId(_));
        if feed.platform.name == other.platform.name && by_pass_id(feed) != by_pass_id(other) {
            let message = format!(
                "names passes of platform {} in another way than feed {}; let both use external_id, or both pass_id",
                quoted(&feed.platform.name),
                quoted(&other.name)
            );
            self.fault(&Key::of(&["feed", &feed.name, "pass"]), message);
        }
    }

    /// A file that is done with must not become the input of another feed.
    fn moved_into_inbox(&mut self, mover: &meant::Feed, taker: &meant::Feed) {
        let mut folders = Vec::new();
        if let meant::After::Move { processed, error } = &mover.after {
            folders.push(("after.processed", crate::source::join(mover.inbox.as_ref(), processed.as_ref())));
            folders.push(("after.error", crate::source::join(mover.inbox.as_ref(), error.as_ref())));
        }
        folders.extend(mover.claim.iter().map(|claim| ("claim.folder", claim.clone())));
        for (name, folder) in folders {
            if folder == taker.inbox {
                let message = format!(
                    "moves files into the inbox of feed {}, which would take them again; write another folder",
                    quoted(&taker.name)
                );
                let path: Vec<&str> = ["feed", &mover.name].into_iter().chain(name.split('.')).collect();
                self.fault(&Key::of(&path), message);
            }
        }
    }

    fn fault(&mut self, key: &Key, message: String) {
        // What was taken out has its fault already.
        if !self.document.pruned(key) {
            self.faults.push(self.document.fault(key, message));
        }
    }

    /// A value that must be there; its absence is a fault with an example.
    fn required<T: Clone>(&mut self, key: &Key, value: Option<&T>, example: &str) -> Option<T> {
        if value.is_none() {
            self.fault(key, format!("is missing; write {example}"));
        }
        value.cloned()
    }

    /// Passes a good value on; a bad one becomes a fault.
    fn good<T>(&mut self, key: &Key, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.fault(key, message)).ok()
    }

    fn span(&mut self, key: &Key, text: Option<&written::Span>, default: Duration, min: Duration) -> Duration {
        text.and_then(|text| self.good(key, value::duration(&text.0, min))).unwrap_or(default)
    }

    fn size(&mut self, key: &Key, text: Option<&written::Size>, default: u64) -> u64 {
        let bytes = text.and_then(|text| self.good(key, value::bytes(&text.0))).unwrap_or(default);
        if bytes == 0 {
            self.fault(key, "is nothing; write at least one byte".into());
        }
        bytes
    }

    fn timezone(&mut self, key: &Key, name: Option<&String>) -> chrono_tz::Tz {
        let Some(name) = name else { return chrono_tz::UTC };
        let zone = fixed(name).map_or_else(|| name.parse(), Ok).map_err(|_| {
            let zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let near = value::near(name, zones).unwrap_or("Europe/Paris");
            format!(
                "{} is not a time zone; write an IANA name such as {}, or a fixed offset of whole hours such as \"UTC-6\"",
                quoted(name),
                quoted(near)
            )
        });
        self.good(key, zone).unwrap_or(chrono_tz::UTC)
    }

    /// A path on this machine, from the folder of the configuration file.
    fn path(&mut self, key: &Key, text: &str) -> PathBuf {
        if text.is_empty() {
            self.fault(key, "is empty; write a path".into());
        }
        self.base.join(text)
    }

    fn secret(&mut self, key: &Key, place: &written::SecretPlace) -> Option<Secret> {
        let name = key.last().to_owned();
        let place = match (&place.env, &place.file, &place.credential) {
            (Some(env), None, None) => {
                if !value::is_env_name(env) {
                    // What stands here may be the secret itself: it is not shown.
                    let message = "is not the name of an environment variable; write letters, digits and \"_\" (the secret itself has no place in this file)";
                    self.fault(&key.child("env"), message.into());
                }
                SecretPlace::Env(env.clone())
            }
            (None, Some(file), None) => SecretPlace::File(self.path(&key.child("file"), file)),
            (None, None, Some(credential)) => {
                if credential.is_empty() || credential.contains('/') || credential.starts_with('.') {
                    self.fault(
                        &key.child("credential"),
                        "is not the name of a systemd credential; write the name that LoadCredential= has".into(),
                    );
                }
                SecretPlace::Credential(credential.clone())
            }
            _ if self.document.pruned_within(key) => return None,
            _ => {
                self.fault(
                    key,
                    format!(
                        "needs exactly one place; write {name} = {{ env = \"NAME\" }}, {{ file = \"PATH\" }} or {{ credential = \"NAME\" }}"
                    ),
                );
                return None;
            }
        };
        Some(Secret::new(place))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `UTC-6`, as exporters with a clock of their own say (contracts/exports.md section 5): west is negative here and positive in the IANA
/// name that stands for it.
fn fixed(name: &str) -> Option<chrono_tz::Tz> {
    let hours: i32 = name.strip_prefix("UTC").filter(|rest| rest.starts_with(['+', '-']))?.parse().ok()?;
    match hours {
        0 => Some(chrono_tz::UTC),
        -12..=14 => format!("Etc/GMT{:+}", -hours).parse().ok(),
        _ => None,
    }
}
