//! What stands: everything that is so until somebody or something changes it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::message::{Event, Message, Topic};
use super::runs;
use crate::apple::host;
use crate::config::meant::Config;
use crate::config::meant::alert::{Tell, Way};
use crate::ledger::{Ledger, Result, Run, RunFilter, State};
use crate::pipeline::waits_for_platform;
use crate::platform::for_log;
use crate::space::Room;
use crate::watcher::expected::overdue;
use crate::watcher::in_use;

/// Something that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stands {
    /// `held:k7f2m9`, `source:warehouse`.
    pub key: String,
    /// Which one of several of this key.
    pub mark: String,
    pub tell: Tell,
    /// None where nobody wrote it down.
    pub since: Option<DateTime<Utc>>,
    /// It may pass by itself: told when it has stood for a while.
    pub passing: bool,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A run by its id, which is read when there is something to tell.
    Held(String),
    /// The same, and how many of its rows.
    InDoubt(String, u64),
    /// About a feed, source or platform, or none; in words.
    Words { about: About, title: String, words: Vec<String>, commands: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Feed(String),
    Source(String),
    Platform(String),
    This,
}

impl Stands {
    fn held(run: Run) -> Stands {
        let held_at = run.detail.held_at;
        // Held again after an approval that did not count, it is another matter.
        let mark = format!("{} {}", runs::guards(&run), held_at.map(|at| at.to_rfc3339()).unwrap_or_default());
        Stands { key: format!("held:{}", run.id), mark, tell: Tell::Held, since: held_at, passing: false, what: What::Held(run.id) }
    }

    fn in_doubt(run: String, rows: u64) -> Stands {
        let key = format!("in-doubt:{run}");
        Stands { key, mark: String::new(), tell: Tell::InDoubt, since: None, passing: false, what: What::InDoubt(run, rows) }
    }

    fn words(key: String, tell: Tell, about: About, title: String) -> Stands {
        let what = What::Words { about, title, words: Vec::new(), commands: vec!["passferry status".into()] };
        Stands { key, mark: String::new(), tell, since: None, passing: false, what }
    }

    fn saying(mut self, said: impl IntoIterator<Item = String>) -> Stands {
        if let What::Words { words, .. } = &mut self.what {
            words.extend(said);
        }
        self
    }

    /// The message that tells it. None when it passed meanwhile.
    pub fn message(&self, way: &Way, ledger: &dyn Ledger, event: Event, since: DateTime<Utc>) -> Result<Option<Message>> {
        Ok(match &self.what {
            What::Held(id) => ledger.run(id)?.map(|run| runs::held(way, &run, event, since)),
            What::InDoubt(id, rows) => ledger.run(id)?.map(|run| runs::in_doubt(way, &run, *rows, event)),
            What::Words { about, title, words, commands } => {
                let still = if event == Event::Reminder { "still: " } else { "" };
                let mut message = Message::new(Topic::Told(self.tell), event, &format!("{still}{title}"));
                message.since = Some(self.since.unwrap_or(since));
                message.say("", words.iter().cloned());
                message.commands.clone_from(commands);
                match about {
                    About::Feed(name) => message.feed = Some(name.clone()),
                    About::Source(name) => message.source = Some(name.clone()),
                    About::Platform(name) => message.platform = Some(name.clone()),
                    About::This => {}
                }
                Some(message)
            }
        })
    }
}

/// The message that something stands no longer, where that is worth one. What a person ended is known to a person.
pub fn back(key: &str, tell: Tell, since: DateTime<Utc>) -> Option<Message> {
    let (kind, name) = key.split_once(':').unwrap_or((key, ""));
    let title = match kind {
        "source" => format!("source {name} can be listed again"),
        "platform" => format!("no file waits for platform {name} any more"),
        "missing" => format!("feed {name}: the expected file is no longer missing"),
        "stuck" => format!("feed {name}: its files go on again"),
        "waits" => format!("{}: waits no longer", name.replacen(':', ": ", 1)),
        "disk" => "there is room on the disk of the state again".to_owned(),
        "configuration" => "the configuration is taken up again".to_owned(),
        "push" => format!("platform {}: repaired", name.split(':').next().unwrap_or(name)),
        _ => return None,
    };
    let mut message = Message::new(Topic::Told(tell), Event::Back, &title);
    message.since = Some(since);
    match kind {
        "source" => message.source = Some(name.to_owned()),
        "platform" => message.platform = Some(name.to_owned()),
        "missing" | "stuck" => message.feed = Some(name.to_owned()),
        _ => {}
    }
    Some(message)
}

/// What a key tells of.
pub fn tell_of(key: &str) -> Option<Tell> {
    Some(match key.split(':').next()? {
        "held" => Tell::Held,
        "in-doubt" => Tell::InDoubt,
        "missing" | "waits" => Tell::Missing,
        "stuck" => Tell::Stuck,
        "source" => Tell::Source,
        "platform" => Tell::Platform,
        "disk" => Tell::Disk,
        "configuration" => Tell::Configuration,
        "push" => Tell::Push,
        _ => return None,
    })
}

/// Files that wait for a decision, oldest first.
pub fn held(ledger: &dyn Ledger) -> Result<Vec<Run>> {
    let mut held = ledger.runs(&RunFilter { states: vec![State::Held], ..RunFilter::default() })?;
    held.reverse();
    Ok(held)
}

/// Runs that ended, however they did, with rows in doubt that nobody has settled, and how many. While one is under way it may find out.
pub fn in_doubt(ledger: &dyn Ledger) -> Result<Vec<(Run, u64)>> {
    let mut all = Vec::new();
    for (id, rows) in ledger.in_doubt_by_run()? {
        // A settled row makes it be reported again.
        let ended = |run: &Run| run.state.is_over() || (run.state == State::Reporting && run.detail.told.end.is_some());
        all.extend(ledger.run(&id)?.filter(ended).map(|run| (run, rows)));
    }
    Ok(all)
}

/// Everything that stands, but for [`missing`], [`stuck`] and [`pushes`], which take longer to look at.
pub fn all(config: &Config, ledger: &dyn Ledger, refused_since: Option<DateTime<Utc>>) -> anyhow::Result<Vec<Stands>> {
    let mut all: Vec<Stands> = Vec::new();
    all.extend(held(ledger)?.into_iter().map(Stands::held));
    all.extend(in_doubt(ledger)?.into_iter().map(|(run, rows)| Stands::in_doubt(run.id, rows)));
    all.extend(sources(config, ledger)?);
    all.extend(platforms(config, ledger)?);
    if let Some(words) = Room::new(&config.state, config.reserve, config.space_factor).alert() {
        all.push(Stands::words("disk".into(), Tell::Disk, About::This, words));
    }
    let refused = refused_since.and_then(|since| in_use(&config.state)?.refused.filter(|refused| refused.at >= since));
    if let Some(refused) = refused {
        let title = "the changed configuration is refused; the earlier one goes on".to_owned();
        let stands = Stands::words("configuration".into(), Tell::Configuration, About::This, title);
        let stands = stands.saying(["passferry check, or the log, says what is wrong with it".to_owned()]);
        all.push(Stands { mark: refused.at.to_rfc3339(), since: Some(refused.at), ..stands });
    }
    Ok(all)
}

/// Files that should have come: looking means to read the last runs of each feed that says so.
pub fn missing(config: &Config, ledger: &dyn Ledger, now: DateTime<Utc>) -> anyhow::Result<Vec<Stands>> {
    let mut all = Vec::new();
    for one in overdue(config, ledger, now)? {
        let title = format!("feed {}: an expected file has not come", one.feed);
        let stands = Stands::words(format!("missing:{}", one.feed), Tell::Missing, About::Feed(one.feed), title).saying([one.words]);
        all.push(Stands { mark: one.by.to_rfc3339(), since: Some(one.by), ..stands });
    }
    Ok(all)
}

/// Feeds with files that cannot go on for another reason than a platform or a decision: looking means to read every run under way.
pub fn stuck(config: &Config, ledger: &dyn Ledger) -> Result<Vec<Stands>> {
    let paused = ledger.paused()?;
    let states = State::ALL.into_iter().filter(|state| !state.is_over() && *state != State::Held).collect();
    let mut all: BTreeMap<String, (u64, String)> = BTreeMap::new();
    // Newest first: the oldest one's words stay.
    for run in ledger.runs(&RunFilter { states, ..RunFilter::default() })? {
        let Some(waits) = run.detail.waits.as_ref().filter(|_| !run.detail.queued && config.feeds.contains_key(&run.feed)) else {
            continue;
        };
        if paused.iter().any(|(feed, ..)| *feed == run.feed) {
            continue;
        }
        let words = format!("{}: {}", runs::name(&run), for_log(waits));
        let known = all.entry(run.feed).or_default();
        *known = (known.0 + 1, words);
    }
    let stands = |(feed, (files, words)): (String, (u64, String))| {
        let cannot = if files == 1 { "1 file cannot go on".to_owned() } else { format!("{files} files cannot go on") };
        let stands = Stands::words(format!("stuck:{feed}"), Tell::Stuck, About::Feed(feed.clone()), format!("feed {feed}: {cannot}"));
        Stands { passing: true, ..stands.saying([words, "It is tried again and again; nothing is lost.".to_owned()]) }
    };
    Ok(all.into_iter().map(stands).collect())
}

/// Hosted Apple passes: looking means to read keys and to open stores.
pub fn pushes(config: &Config) -> Vec<Stands> {
    let stands = |trouble: host::Trouble| {
        let key = format!("push:{}:{}", trouble.platform, trouble.what);
        Stands::words(key, Tell::Push, About::Platform(trouble.platform), trouble.words)
    };
    host::alerts(config).into_iter().map(stands).collect()
}

/// Sources that cannot be listed, and what waits in them for too long.
fn sources(config: &Config, ledger: &dyn Ledger) -> Result<Vec<Stands>> {
    let mut all = Vec::new();
    for note in ledger.source_notes()?.into_iter().filter(|note| config.uses(&note.source)) {
        let Some(trouble) = note.trouble else { continue };
        let title = format!("source {} cannot be listed", note.source);
        let stands = Stands::words(format!("source:{}", note.source), Tell::Source, About::Source(note.source.clone()), title);
        let stands = stands.saying([trouble, "Files there wait; nothing is lost.".to_owned()]);
        all.push(Stands { since: note.trouble_since, passing: true, ..stands });
    }
    for one in ledger.waiting(None)?.into_iter().filter(|one| one.alert && config.feeds.contains_key(&one.feed)) {
        let title = format!("feed {}: {} waits for too long", one.feed, one.what);
        let key = format!("waits:{}:{}", one.feed, one.what);
        all.push(Stands { since: Some(one.since), ..Stands::words(key, Tell::Missing, About::Feed(one.feed), title).saying([one.words]) });
    }
    Ok(all)
}

/// Platforms that a run waits for. What a person paused does not try them, and nobody would hear that they are back.
fn platforms(config: &Config, ledger: &dyn Ledger) -> Result<Vec<Stands>> {
    let paused = ledger.paused()?;
    let mut out: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for run in ledger.runs(&RunFilter { states: vec![State::Paused], ..RunFilter::default() })? {
        let is_tried = config.platforms.contains_key(&run.account) && !paused.iter().any(|(feed, ..)| *feed == run.feed);
        if let Some(cause) = waits_for_platform(&run).filter(|_| is_tried) {
            let cause = cause.to_owned();
            out.entry(run.account).or_insert((0, cause)).0 += 1;
        }
    }
    let stands = |(name, (waiting, cause)): (String, (u64, String))| {
        let title = format!("platform {name} is out");
        let waits = if waiting == 1 { "1 file waits".to_owned() } else { format!("{waiting} files wait") };
        let stands = Stands::words(format!("platform:{name}"), Tell::Platform, About::Platform(name), title);
        let stands = stands.saying([for_log(&cause), format!("{waits} for it and will go on by itself; no row is rejected.")]);
        Stands { passing: true, ..stands }
    };
    Ok(out.into_iter().map(stands).collect())
}
