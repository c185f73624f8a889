//! Feeds: their own values, and what they name elsewhere (sources, platforms, columns, pass fields).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;

use super::fingerprint::fingerprint;
use super::mapping::Columns;
use super::platform::environment;
use super::{Check, Key};
use crate::config::meant::{
    After, Canary, Complete, Content, DialectChoice, Duplicates, Feed, Guard, Limits, Mode, OperationChoice, PassColumn, Platform,
    ReportPlace, Several, Source, SourceKind,
};
use crate::config::value::{self, choices, instead, quoted};
use crate::config::written::{self, TextOr};
use crate::platform::{Asks, of_kind};
use crate::row::Verb;

fn duplicates(feed: &written::Feed) -> Duplicates {
    match feed.duplicates {
        // What adds is meant every time it is written.
        None if feed.add.is_some() => Duplicates::InOrder,
        None | Some(written::Duplicates::Last) => Duplicates::Last,
        Some(written::Duplicates::First) => Duplicates::First,
        Some(written::Duplicates::Reject) => Duplicates::Reject,
        Some(written::Duplicates::InOrder) => Duplicates::InOrder,
    }
}

impl Check<'_> {
    pub(super) fn feed(
        &mut self,
        name: &str,
        feed: &written::Feed,
        file: &written::Config,
        sources: &BTreeMap<String, Arc<Source>>,
        platforms: &BTreeMap<String, Arc<Platform>>,
    ) -> Option<Feed> {
        let key = Key::of(&["feed", name]);
        let source = self.named(&key, "source", feed.source.as_ref(), &file.source, sources);
        let platform = self.named(&key, "platform", feed.platform.as_ref(), &file.platform, platforms);
        self.same_environment(&key, feed, file);
        let inbox = self.inbox(&key, feed, source.as_deref());
        let pattern = self.pattern(&key, feed);
        let kind_of_content = self.required(&key.child("content"), feed.content.as_ref(), "content = \"snapshot\" or content = \"delta\"");
        let format = self.format(&key, feed);
        let mut schema = self.schema_or_format(&key, feed, format.as_ref());
        let columns: Columns = schema.as_ref().and_then(|(_, _, columns)| columns.clone());
        let pass = self.pass_or_format(&key, feed, &columns, format.as_ref(), platform.as_deref());
        let operation = self.operation(&key, feed, &columns);
        let fields = self.fields_or_format(&key, feed, &columns, format.as_ref(), platform.as_deref());
        if let (Some(pass), Some(operation), Some(platform)) = (&pass, &operation, &platform) {
            self.crew_fits(&key, pass, operation, platform);
        }
        if let (Some(operation), Some(platform)) = (&operation, &platform) {
            self.creates(&key, operation, &fields, platform);
        }
        let adds = self.adds(&key, name, feed, &columns);
        let consent = self.consent(&key, feed, &columns, &fields);
        let notify = self.notify(&key, feed, &columns, platform.as_deref());
        let canary = self.canary(&key, feed);
        let section = self.header_section(&key, feed, format.as_ref());
        let dialect =
            DialectChoice { section, pgp: self.pgp(&key, feed), ..self.dialect(&key, feed, schema.as_mut().map(|(_, text, _)| text)) };
        let complete = self.complete(&key, feed);
        let arrival = self.arrival(&key, feed);
        let after = self.after(&key, feed);
        let claim = self.claim(&key, feed, after.as_ref());
        let reports = self.reports(&key, feed, file, sources, source.as_ref(), inbox.as_deref());
        let report_mode = feed.report_mode.as_ref().and_then(|mode| self.good(&key.child("report_mode"), value::mode(&mode.0)));
        let max_age = feed
            .unchanged
            .as_ref()
            .and_then(|unchanged| unchanged.max_age.as_ref())
            .and_then(|age| self.good(&key.child("unchanged").child("max_age"), value::duration(&age.0, Duration::from_mins(1))));
        let times = self.local_times(&key, feed);
        let order = self.order(&key, feed, &columns);
        let guard = self.guard(&key.child("guard"), feed);
        let limits = self.limits(&key.child("limits"), feed);

        let (schema_path, schema_text, _) = schema?;
        let mut meant = Feed {
            name: name.to_owned(),
            source: source?,
            inbox: BString::from(inbox.clone()?),
            pattern: pattern?,
            content: match kind_of_content? {
                written::Content::Snapshot => Content::Snapshot,
                written::Content::Delta => Content::Delta,
            },
            format,
            schema_path,
            schema_text,
            platform: platform?,
            environment: environment(feed.environment),
            pass: pass?,
            several: match feed.several {
                None | Some(written::Several::Refuse) => Several::Refuse,
                Some(written::Several::All) => Several::All,
            },
            operation: operation?,
            mode: match feed.mode {
                Some(written::Mode::Plan) => Mode::Plan,
                Some(written::Mode::Canary) => Mode::Canary,
                None | Some(written::Mode::Live) => Mode::Live,
            },
            canary,
            dialect,
            complete: complete?,
            set: arrival.set,
            checksum: arrival.checksum,
            control: arrival.control,
            patience: arrival.patience,
            date: feed.date.clone(),
            never_older_than: arrival.never_older_than,
            expected: arrival.expected,
            after: after?,
            claim: claim.zip(inbox.as_deref()).map(|(claim, inbox)| crate::source::join(inbox.into(), claim.as_str().into())),
            reports: reports?,
            report_mode: report_mode.unwrap_or(0o640),
            order: order?,
            updated_at: feed.updated_at.clone(),
            duplicates: duplicates(feed),
            unchanged_max_age: max_age,
            fields,
            adds,
            consent,
            notify,
            times,
            guard,
            limits,
            fingerprint: String::new(),
        };
        self.adds_fit(&key, &meant, feed);
        self.suits_platform(&key, &meant);
        meant.fingerprint = fingerprint(&meant);
        Some(meant)
    }

    /// What the feed asks in all that its platform's account cannot do.
    fn suits_platform(&mut self, key: &Key, feed: &Feed) {
        let account = of_kind(&feed.platform.kind);
        let verbs: Vec<Verb> = match &feed.operation {
            OperationChoice::Always(verb) => vec![*verb],
            OperationChoice::Column { words, .. } if !words.is_empty() => words.values().copied().collect(),
            OperationChoice::Column { .. } => {
                let known = account.verbs().iter().filter(|verb| feed.adds.is_some() || verb.add().is_none());
                known.copied().collect()
            }
        };
        for verb in verbs.iter().filter(|verb| !account.verbs().contains(verb)) {
            let known: Vec<&str> = account.verbs().iter().map(|verb| verb.as_str()).collect();
            let message = format!(
                "is {}, which platform {} cannot do; write {}",
                quoted(verb.as_str()),
                quoted(&feed.platform.name),
                choices(&known)
            );
            self.fault(&key.child("operation"), message);
        }
        let asks = Asks {
            by_external_id: matches!(feed.pass, PassColumn::ExternalId(_)),
            verbs,
            fields: feed.fields.iter().map(|(name, _)| name.as_str()).collect(),
            notify: feed.notify.as_ref().map(|notify| notify.field.as_str()),
        };
        for (name, message) in account.unsuited(&asks) {
            self.fault(&key.child(name), message);
        }
        if let Some(fault) = asks.notify.and_then(|field| account.notifies(field).err()) {
            self.fault(&key.child("notify").child("field"), fault);
        }
    }

    /// What a key names in another section; a name that is not there is a fault, a faulty section is that section's.
    fn named<W, M>(
        &mut self,
        key: &Key,
        section: &str,
        name: Option<&String>,
        written: &BTreeMap<String, W>,
        meant: &BTreeMap<String, Arc<M>>,
    ) -> Option<Arc<M>> {
        let here = key.child(section);
        let name = self.required(&here, name, &format!("{section} = \"NAME\", the name of a [{section}.NAME]"))?;
        if !written.contains_key(&name) && !self.document.pruned(&Key::of(&[section, &name])) {
            let known: Vec<&str> = written.keys().map(String::as_str).collect();
            self.fault(&here, format!("there is no [{section}.{name}]; {}", instead(&name, &known)));
        }
        meant.get(&name).cloned()
    }

    /// A file marked `test` cannot reach production, nor the reverse (failure model, F7).
    fn same_environment(&mut self, key: &Key, feed: &written::Feed, file: &written::Config) {
        let Some((name, platform)) = feed.platform.as_ref().and_then(|name| file.platform.get_key_value(name)) else { return };
        let word = |written: Option<written::Environment>| match written {
            None | Some(written::Environment::Production) => "production",
            Some(written::Environment::Test) => "test",
        };
        let (feed, platform) = (word(feed.environment), word(platform.environment));
        let pruned = self.document.pruned(&Key::of(&["platform", name, "environment"]));
        if feed != platform && !pruned {
            let message = format!(
                "is {} but platform {} is {}; write environment = {} here, or name another platform",
                quoted(feed),
                quoted(name),
                quoted(platform),
                quoted(platform)
            );
            self.fault(&key.child("environment"), message);
        }
    }

    fn inbox(&mut self, key: &Key, feed: &written::Feed, source: Option<&Source>) -> Option<String> {
        let here = key.child("inbox");
        let folder = self.good(&here, value::folder(feed.inbox.as_deref().unwrap_or(".")))?;
        self.inside(&here, &folder, source);
        Some(folder)
    }

    /// At a folder source every path starts at its `path`.
    fn inside(&mut self, key: &Key, folder: &str, source: Option<&Source>) {
        if folder.starts_with('/') && source.is_some_and(|source| matches!(source.kind, SourceKind::Folder { .. })) {
            self.fault(key, format!("{} starts at \"/\"; write it from the path of the folder source", quoted(folder)));
        }
    }

    fn pattern(&mut self, key: &Key, feed: &written::Feed) -> Option<String> {
        let here = key.child("pattern");
        let pattern = self.required(&here, feed.pattern.as_ref(), "pattern = \"loyalty_*.csv\"")?;
        let glob = globset::GlobBuilder::new(&pattern).literal_separator(true).empty_alternates(true).build();
        if pattern.is_empty() {
            self.fault(&here, "is empty; write such as \"loyalty_*.csv\"".into());
        } else if pattern.contains('/') {
            self.fault(&here, format!("{} has a folder; patterns are of names alone, the folder is the inbox", quoted(&pattern)));
        } else if let Err(error) = glob {
            self.fault(&here, format!("{} is not a pattern: {}; write such as \"loyalty_*.csv\"", quoted(&pattern), error.kind()));
        }
        Some(pattern)
    }

    fn canary(&mut self, key: &Key, feed: &written::Feed) -> Canary {
        let here = key.child("canary");
        let (limit, only) = feed.canary.as_ref().map_or((None, Vec::new()), |canary| (canary.limit, canary.only.clone()));
        if limit == Some(0) {
            self.fault(&here.child("limit"), "is 0; write at least 1, or mode = \"plan\" to send nothing".into());
        }
        if only.iter().any(String::is_empty) {
            self.fault(&here.child("only"), "has an empty identifier; remove it".into());
        }
        Canary { limit: u64::from(limit.unwrap_or(10)), only }
    }

    fn complete(&mut self, key: &Key, feed: &written::Feed) -> Option<Complete> {
        let quiet = self.span(&key.child("quiet"), feed.quiet.as_ref(), Duration::from_secs(30), Duration::from_millis(10));
        let Some(marker) = &feed.marker else { return Some(Complete::Quiet(quiet)) };
        let here = key.child("marker");
        if feed.quiet.is_some() && feed.set.is_none() {
            self.fault(&here, "stands beside quiet; keep one of them".into());
        }
        self.beside(&here, marker, "{}.done", "_SUCCESS")?;
        // The marker of a set is its own; a correction is complete when it is quiet.
        Some(if feed.set.is_some() { Complete::Quiet(quiet) } else { Complete::Marker(marker.clone()) })
    }

    fn after(&mut self, key: &Key, feed: &written::Feed) -> Option<After> {
        let here = key.child("after");
        let none = written::AfterFolders::default();
        let folders = match &feed.after {
            None => &none,
            Some(TextOr::Table(folders)) => folders,
            Some(TextOr::Text(word)) => match word.as_str() {
                "move" => &none,
                "leave" => return Some(After::Leave),
                "delete" => return Some(After::Delete),
                _ => {
                    let message = format!(
                        "{} is not known here; write {} or {{ processed = \"FOLDER\", error = \"FOLDER\" }}",
                        quoted(word),
                        choices(&["move", "leave", "delete"])
                    );
                    self.fault(&here, message);
                    return None;
                }
            },
        };
        let mut folder = |name: &str, text: Option<&String>, default: &str| {
            let here = here.child(name);
            let folder = self.good(&here, value::folder(text.map_or(default, String::as_str)))?;
            if folder == "." || folder.starts_with('/') {
                self.fault(&here, format!("{} is not a folder under the inbox; write such as {}", quoted(&folder), quoted(default)));
            }
            Some(folder)
        };
        let processed = folder("processed", folders.processed.as_ref(), ".processed");
        let error = folder("error", folders.error.as_ref(), ".error");
        if processed.is_some() && processed == error {
            self.fault(&here.child("error"), "is the folder of processed files too; write another".into());
        }
        Some(After::Move { processed: BString::from(processed?), error: BString::from(error?) })
    }

    /// The folder of claims, under the inbox, where no file comes to rest or is delivered.
    fn claim(&mut self, key: &Key, feed: &written::Feed, after: Option<&After>) -> Option<String> {
        let here = key.child("claim");
        let folder = self.required(&here.child("folder"), feed.claim.as_ref()?.folder.as_ref(), "folder = \".processing\"")?;
        let here = here.child("folder");
        let folder = self.good(&here, value::folder(&folder))?;
        if folder == "." || folder.starts_with('/') {
            self.fault(&here, format!("{} is not a folder under the inbox; write such as \".processing\"", quoted(&folder)));
        }
        match after {
            Some(After::Move { processed, error }) if *processed == folder || *error == folder => {
                self.fault(&here, "is the folder of files that are done with too; write another".into());
            }
            Some(After::Leave) => self.fault(&here, "moves inputs, and after = \"leave\" leaves them; keep one of them".into()),
            _ => {}
        }
        Some(folder)
    }

    fn reports(
        &mut self,
        key: &Key,
        feed: &written::Feed,
        file: &written::Config,
        sources: &BTreeMap<String, Arc<Source>>,
        own: Option<&Arc<Source>>,
        inbox: Option<&str>,
    ) -> Option<ReportPlace> {
        let here = key.child("reports");
        let none = written::Reports::default();
        let reports = feed.reports.as_ref().map_or(&none, |reports| &reports.0);
        let folder = self.good(&here.child("folder"), value::folder(reports.folder.as_deref().unwrap_or("reports")));
        let source = match &reports.source {
            None => own.cloned(),
            Some(_) => self.named(&here, "source", reports.source.as_ref(), &file.source, sources),
        };
        if let Some(folder) = &folder {
            self.inside(&here.child("folder"), folder, source.as_deref());
        }
        let (folder, source) = (folder?, source?);
        let folder = match inbox {
            _ if reports.source.is_some() || folder.starts_with('/') => folder,
            Some(inbox) if folder == "." => inbox.to_owned(),
            Some(".") => folder,
            Some(inbox) => format!("{}/{folder}", inbox.trim_end_matches('/')),
            None => return None,
        };
        let (html, xlsx) = (reports.html.unwrap_or(true), reports.xlsx.unwrap_or(false));
        Some(ReportPlace { source, folder: BString::from(folder), html, xlsx })
    }

    fn guard(&mut self, key: &Key, feed: &written::Feed) -> Guard {
        let none = written::Guard::default();
        let guard = feed.guard.as_ref().map_or(&none, |guard| &guard.0);
        let mut share = |name: &str, text: &Option<written::Share>, default: f64| match text {
            None => Some(default),
            Some(text) if text.0.is_empty() => None,
            Some(text) => self.good(&key.child(name), value::share(&text.0)),
        };
        let (rejects, zeroed) = (share("rejects", &guard.rejects, 0.05), share("zeroed", &guard.zeroed, 0.2));
        let (cleared, created) = (share("cleared", &guard.cleared, 0.2), share("created", &guard.created, 0.1));
        let (unresolved, ragged) = (share("unresolved", &guard.unresolved, 0.3), share("ragged", &guard.ragged, 0.1));
        let rows = match &guard.rows {
            None => Some((0.5, 2.0)),
            Some(text) if text.0.is_empty() => None,
            Some(text) => self.good(&key.child("rows"), value::rows(&text.0)),
        };
        let floor = u64::from(guard.floor.unwrap_or(50));
        Guard { rejects, rows, zeroed, cleared, created, unresolved, ragged, floor, first_file: guard.first_file.unwrap_or(true) }
    }

    fn limits(&mut self, key: &Key, feed: &written::Feed) -> Limits {
        let (none, most) = (written::Limits::default(), Limits::default());
        let limits = feed.limits.as_ref().map_or(&none, |limits| &limits.0);
        let mut size = |name: &str, text: &Option<written::Size>, default: u64| self.size(&key.child(name), text.as_ref(), default);
        let (file, record, cell) = (
            size("file", &limits.file, most.file),
            size("record", &limits.record, most.record as u64),
            size("cell", &limits.cell, most.cell as u64),
        );
        let sheet = size("sheet", &limits.sheet, most.sheet);
        let (cells, expansion) = (limits.cells.unwrap_or(most.cells as u32), limits.expansion.unwrap_or(most.expansion as u32));
        for (name, count) in [("cells", cells), ("expansion", expansion)] {
            if count == 0 {
                self.fault(&key.child(name), "is 0, so no file would pass; write at least 1".into());
            }
        }
        // A record is held in memory as a whole, and several of them at once.
        for (name, bytes) in [("record", record), ("cell", cell)] {
            if bytes > 64 << 20 {
                self.fault(&key.child(name), "is more than memory should hold of one row; write at most \"64MiB\"".into());
            }
        }
        Limits { file, record: record as usize, cell: cell as usize, cells: cells as usize, expansion: u64::from(expansion), sheet }
    }
}
