//! The configuration file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use passferry::config::meant::{Config, Wake};
use passferry::config::{self, Fault, Faults};
use passferry::mapping::Mapping;
use passferry::pipeline::discover::Matcher;
use passferry::platform;
use passferry::schema::Schema;

const CARDS: &str = r#"{ "fields": [{ "name": "id" }, { "name": "points", "type": "integer" }, { "name": "tier" },
    { "name": "action" }, { "name": "expires on", "type": "date", "x-passferry": { "aliases": ["expires_on"] } }] }"#;

pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let base = base();
    match config::load_text(text, base) {
        Ok(config) => check_config(&config),
        Err(faults) => {
            check_faults(text, &faults);
            assert_eq!(config::load_text(text, base).err(), Some(faults), "the same file has the same faults");
        }
    }
}

/// A folder with the schema `cards.json`.
fn base() -> &'static Path {
    static BASE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = BASE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cards.json"), CARDS).expect("the folder takes it");
        folder
    });
    folder.path()
}

/// What was accepted can be used: nothing is left for a run to trip over.
fn check_config(config: &Config) {
    assert!(!config.feeds.is_empty() && !config.sources.is_empty() && !config.platforms.is_empty());
    for source in config.sources.values() {
        if let Wake::Schedule { cron, .. } = &source.wake {
            assert!(cron.parse::<croner::Cron>().is_ok(), "the schedule {cron:?} is none");
        }
    }
    for (name, feed) in &config.feeds {
        assert_eq!(*name, feed.name);
        assert!(config.sources.contains_key(&feed.source.name) && config.platforms.contains_key(&feed.platform.name));
        assert_eq!(feed.environment, feed.platform.environment, "a feed and its platform are of one environment");
        assert!(feed.report_mode <= 0o777);
        let limits = &feed.limits;
        assert!(limits.record > 0 && limits.cell > 0 && limits.cells > 0 && limits.file > 0);
        for share in [feed.guard.rejects, feed.guard.zeroed, feed.guard.cleared, feed.guard.unresolved, feed.guard.ragged] {
            assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)), "a share of {share:?}");
        }
        let schema = Schema::parse(&feed.schema_text).unwrap_or_else(|faults| panic!("an accepted schema is none: {faults:?}"));
        if let Err(faults) = Mapping::new(feed, &schema, platform::open(&feed.platform)) {
            panic!("an accepted mapping is none: {faults:?}");
        }
        assert!(Matcher::new(feed.clone()).is_ok(), "an accepted pattern is none: {:?}", feed.pattern);
    }
}

fn check_faults(text: &str, faults: &Faults) {
    assert!(!faults.faults.is_empty(), "refused without a reason");
    let lines: Vec<&str> = text.split('\n').collect();
    let shown = faults.to_string();
    assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "control characters reach the terminal: {shown:?}");
    for fault in &faults.faults {
        check_place(&lines, fault);
    }
    assert!(faults.faults.is_sorted_by_key(|fault| (fault.line, fault.column)), "faults come in the order of the file:\n{shown}");
    let Ok(tree) = text.parse::<toml::Table>() else { return };
    let mut secrets = BTreeSet::new();
    for section in ["source", "platform"] {
        let entries = tree.get(section).and_then(toml::Value::as_table);
        for account in entries.into_iter().flatten().filter_map(|(_, account)| account.as_table()) {
            for key in ["key", "secret", "password", "passphrase"] {
                secrets.extend(account.get(key).and_then(toml::Value::as_str).filter(|secret| secret.len() >= 8));
            }
        }
    }
    for secret in secrets {
        // What is written elsewhere too may be shown from there.
        if text.matches(secret).count() == 1 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            assert!(!shown.contains(secret), "a secret is shown: {shown}");
        }
    }
}

/// A fault names a place that the file has.
fn check_place(lines: &[&str], fault: &Fault) {
    assert!(!fault.message.is_empty(), "{fault:?}");
    if fault.line == 0 {
        assert_eq!(fault.column, 0, "{fault:?}");
        return;
    }
    let line = lines.get(fault.line as usize - 1);
    let Some(line) = line else { panic!("{fault:?}, but there are {} lines", lines.len()) };
    assert!(fault.column >= 1 && fault.column as usize <= line.chars().count() + 1, "{fault:?} in {line:?}");
}
