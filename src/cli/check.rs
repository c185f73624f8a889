//! `check`: the configuration, and with `--reach` everything it names.

use std::collections::BTreeMap;
use std::io::Write;

use bstr::{BStr, ByteSlice};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::{Exit, Failure, Global, out};
use crate::config::Faults;
use crate::config::meant::{After, Config, Feed, Mode, Platform};
use crate::dispatch::Dispatch;
use crate::pipeline::road::{FeedFaults, connector, prepare};
use crate::platform;
use crate::schema::Schema;
use crate::source::refusals::Record;
use crate::source::{Result as SourceResult, Source, SourceError, join};

/// Check the configuration; with --reach also every server it names
///
/// Lists every fault of the file at once, with line and what to write instead (exit code 78). Nothing is sent and no file is touched;
/// --reach connects to every source and platform, and creates, renames and removes a probe file in every inbox and report folder.
/// Works beside a running daemon.
///
/// Example: passferry check --reach
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Connect to every source and platform, and try the rights that each feed needs
    #[arg(long)]
    reach: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<FaultLine>,
    sources: Vec<&'a str>,
    platforms: Vec<&'a str>,
    feeds: Vec<&'a str>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<Vec<Reached>>,
}

#[derive(Serialize)]
struct FaultLine {
    key: String,
    /// From 1; absent where the fault is not in this file alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    message: String,
}

/// What trying one server came to.
#[derive(Serialize)]
struct Reached {
    /// `source NAME`, `platform NAME` or `feed NAME`.
    what: String,
    ok: bool,
    message: String,
    #[serde(skip)]
    exit: Exit,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let path = crate::config::find(global.config.as_deref()).map_err(|error| Failure::new(Exit::Config, format!("{error:#}")))?;
    let file = path.display().to_string();
    let mut out = out::stdout();
    let config = match crate::config::load(&path) {
        Ok(config) => config,
        Err(faults) if args.json => return tell_faults(&mut out, file, lines(&faults)),
        Err(faults) => return Err(faults.into()),
    };
    let faults = mapping_faults(&config)?;
    if args.json && !faults.is_empty() {
        return tell_faults(&mut out, file, faults);
    }
    if !faults.is_empty() {
        let mut words: Vec<String> = faults.iter().map(|fault| format!("{file}  {}  {}", fault.key, fault.message)).collect();
        words.push(format!("{} in {file}", out::counted(faults.len() as u64, "fault")));
        return Err(Failure::new(Exit::Config, words.join("\n")).into());
    }
    let warnings = warnings(&config);
    let reach = if args.reach { Some(reach_all(&config)) } else { None };
    let exit = reach.iter().flatten().find(|reached| !reached.ok).map_or(Exit::Ok, |reached| reached.exit);
    if args.json {
        let answer = Answer {
            ok: exit == Exit::Ok,
            file,
            faults: Vec::new(),
            sources: names(&config.sources),
            platforms: names(&config.platforms),
            feeds: names(&config.feeds),
            warnings,
            reach,
        };
        out::json(&mut out, &answer)?;
    } else {
        writeln!(
            out,
            "{file}: {} ({}; {}; {})",
            "ok".green(),
            listed("source", &config.sources),
            listed("platform", &config.platforms),
            listed("feed", &config.feeds)
        )?;
        for warning in &warnings {
            writeln!(out, "{} {warning}", "note:".yellow())?;
        }
        for reached in reach.iter().flatten() {
            let sign = if reached.ok { "ok".green().to_string() } else { "fails".red().to_string() };
            writeln!(out, "{}: {sign}: {}", reached.what, reached.message)?;
        }
    }
    out.flush()?;
    Ok(exit)
}

fn lines(faults: &Faults) -> Vec<FaultLine> {
    let place = |number: u32| (number > 0).then_some(number);
    let line = |fault: &crate::config::Fault| FaultLine {
        key: fault.key.clone(),
        line: place(fault.line),
        column: place(fault.column),
        message: fault.message.clone(),
    };
    faults.faults.iter().map(line).collect()
}

fn tell_faults(out: &mut impl Write, file: String, faults: Vec<FaultLine>) -> anyhow::Result<Exit> {
    let (sources, platforms, feeds) = (Vec::new(), Vec::new(), Vec::new());
    out::json(out, &Answer { ok: false, file, faults, sources, platforms, feeds, warnings: Vec::new(), reach: None })?;
    out.flush()?;
    Ok(Exit::Config)
}

/// What is wrong between a feed, its schema and its platform.
fn mapping_faults(config: &Config) -> anyhow::Result<Vec<FaultLine>> {
    let mut all = Vec::new();
    for feed in config.feeds.values() {
        let Err(error) = prepare(feed, &platform::open(&feed.platform), |_| Ok(0)) else { continue };
        let faulty: FeedFaults = error.downcast()?;
        all.extend(faulty.faults.iter().map(|fault| {
            let (key, message) = fault.split_once(": ").unwrap_or(("", fault));
            FaultLine { key: format!("feed.{}.{key}", feed.name), line: None, column: None, message: message.to_owned() }
        }));
    }
    Ok(all)
}

fn names<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

fn listed<T>(what: &str, map: &BTreeMap<String, T>) -> String {
    format!("{} {}", out::counted(map.len() as u64, what), names(map).join(", ")).trim_end().to_owned()
}

/// What is legal and yet worth a second look.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for feed in config.feeds.values() {
        if let Ok(schema) = Schema::parse(&feed.schema_text) {
            warnings.extend(schema.warnings().iter().map(|warning| format!("{}: {warning}", feed.schema_path.display())));
        }
        match feed.mode {
            Mode::Live => {}
            Mode::Plan => warnings.push(format!("feed {} is in plan mode: nothing is sent", feed.name)),
            Mode::Canary => warnings.push(format!("feed {} is in canary mode: most rows are kept back", feed.name)),
        }
    }
    warnings
}

fn reach_all(config: &Config) -> Vec<Reached> {
    let mut all = Vec::new();
    for (name, source) in &config.sources {
        let feeds: Vec<&Feed> = config.feeds.values().map(|feed| &**feed).filter(|feed| feed.source.name == *name).collect();
        let reporting = config.feeds.values().filter(|feed| feed.reports.source.name == *name);
        match connector(&source.kind).connect() {
            Ok(mut connection) => {
                Record::of(&config.state, name).clear();
                all.push(reached(format!("source {name}"), Ok("connected".into())));
                for feed in feeds {
                    all.push(reached(format!("feed {}", feed.name), probe_inbox(feed, &mut *connection)));
                }
                for feed in reporting {
                    let place = feed.reports.folder.as_bstr();
                    let probed = connection
                        .make_folder(place)
                        .and_then(|()| probe(place, false, &mut *connection))
                        .map(|()| format!("reports can be written to {}", shown(place)));
                    all.push(reached(format!("feed {}", feed.name), probed));
                }
            }
            Err(error) => all.push(reached(format!("source {name}"), Err(error))),
        }
    }
    all.extend(config.platforms.iter().map(|(name, settings)| reach_platform(name, settings)));
    all
}

fn reach_platform(name: &str, settings: &Platform) -> Reached {
    let what = format!("platform {name}");
    match Dispatch::start(platform::open(settings), settings) {
        Ok(dispatch) => {
            let reach = dispatch.probe();
            Reached { what, ok: reach.ok, message: reach.message, exit: Exit::Unavailable }
        }
        Err(error) => Reached { what, ok: false, message: format!("{error:#}"), exit: Exit::Config },
    }
}

fn reached(what: String, result: SourceResult<String>) -> Reached {
    match result {
        Ok(message) => Reached { what, ok: true, message, exit: Exit::Ok },
        Err(error) => {
            let exit = match &error {
                SourceError::HostKey(_) | SourceError::Auth(_) | SourceError::Permission(_) => Exit::Denied,
                SourceError::NotFound(_) => Exit::NoInput,
                _ => Exit::Unavailable,
            };
            Reached { what, ok: false, message: error.to_string(), exit }
        }
    }
}

/// Lists the inbox; where inputs are moved or removed, tries that on a name of our own.
fn probe_inbox(feed: &Feed, source: &mut dyn Source) -> SourceResult<String> {
    let inbox = feed.inbox.as_bstr();
    let entries = source.list(inbox)?;
    let rights = match feed.after {
        After::Leave => "can be listed",
        After::Move { .. } | After::Delete => {
            probe(inbox, true, source)?;
            "can be listed, written, renamed in and cleaned"
        }
    };
    let matching = crate::pipeline::discover::Matcher::new(std::sync::Arc::new(feed.clone()))
        .map(|matcher| entries.iter().filter(|entry| matcher.matches(entry.name.as_bstr())).count());
    Ok(match matching {
        Ok(matching) => format!("{} {rights}; {} of {} names match {}", shown(inbox), matching, entries.len(), feed.pattern),
        Err(_) => format!("{} {rights}", shown(inbox)),
    })
}

/// Creates, renames and removes a small file. Names with a leading dot are never taken for deliveries.
fn probe(folder: &BStr, rename: bool, source: &mut dyn Source) -> SourceResult<()> {
    let name = |ending: &str| join(folder, format!(".passferry-probe-{}{ending}", std::process::id()).as_str().into());
    let (probe, moved) = (name(""), name(".moved"));
    let done = |what: &str, result: SourceResult<()>| {
        result.map_err(|error| match error {
            SourceError::Permission(words) => SourceError::Permission(format!("{what} in {}: {words}", shown(folder))),
            SourceError::Other(words) => SourceError::Other(format!("{what} in {}: {words}", shown(folder))),
            other => other,
        })
    };
    done("create", source.create(probe.as_bstr(), &mut &b"probe"[..], 0o600).map(drop))?;
    let mut left = probe.clone();
    let renamed = if rename { done("rename", source.rename(probe.as_bstr(), moved.as_bstr())) } else { Ok(()) };
    if rename && renamed.is_ok() {
        left = moved;
    }
    let removed = done("remove", source.remove(left.as_bstr()));
    renamed.and(removed)
}

fn shown(folder: &BStr) -> String {
    folder.escape_ascii().to_string()
}
