//! `check`: the configuration, and with `--reach` everything it names.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::{Exit, Failure, Global, alert, out};
use crate::alert::Outlet;
use crate::config::Faults;
use crate::config::meant::alert::Way;
use crate::config::meant::{After, Config, Feed, Mode, Platform};
use crate::dispatch::{Dispatch, pause};
use crate::pipeline::places::{Places, place_of};
use crate::pipeline::road::{FeedFaults, connector, prepare};
use crate::platform;
use crate::schema::Schema;
use crate::source::link::Link;
use crate::source::refusals::Record;
use crate::source::{Result as SourceResult, Source, SourceError, join};

/// Check the configuration; with --reach also every server it names
///
/// Lists every fault of the file at once, with line and what to write instead (exit code 78). Nothing is sent and no file is touched;
/// --reach connects to every source and platform, and creates, reads, renames and removes a probe file in every inbox and report folder;
/// it names each right that is missing.
/// Works beside a running daemon.
///
/// Example: passferry check --reach
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Connect to every source and platform, and try the rights that each feed needs
    #[arg(long)]
    reach: bool,
    /// With --reach: send a test message to every alert that cannot be tried otherwise
    #[arg(long, requires = "reach")]
    send_test: bool,
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
    let reach = if args.reach { Some(reach_all(&config, args.send_test)) } else { None };
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
    // What a file says of its own columns shows with the file.
    for feed in config.feeds.values().filter(|feed| !feed.takes_shape()) {
        let Err(error) = prepare(feed, &platform::open(&feed.platform), |_| Ok(0)) else { continue };
        let faulty: FeedFaults = error.downcast()?;
        all.extend(faulty.faults.iter().map(|fault| {
            let (key, message) = fault.split_once(": ").unwrap_or(("", fault));
            FaultLine { key: format!("feed.{}.{key}", feed.name), line: None, column: None, message: message.to_owned() }
        }));
    }
    let people = config.review.as_deref().and_then(crate::review::fault);
    all.extend(people.map(|message| FaultLine { key: "review.users".into(), line: None, column: None, message }));
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
        if !feed.takes_shape()
            && let Ok(schema) = Schema::parse(&feed.schema_text)
        {
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

fn reach_all(config: &Config, send_test: bool) -> Vec<Reached> {
    let mut all = Vec::new();
    let links: BTreeMap<&str, Link> =
        config.sources.iter().map(|(name, source)| (name.as_str(), Link::new(connector(&source.kind)))).collect();
    let places = Places::default();
    for (name, link) in &links {
        let feeds = config.feeds.values().filter(|feed| feed.source.name == *name);
        let reporting = config.feeds.values().filter(|feed| feed.reports.source.name == *name);
        if let Err(error) = link.with(|_| Ok(())) {
            all.push(reached(format!("source {name}"), Err(error)));
            continue;
        }
        // A login that succeeds ends the pause of a daemon that was refused.
        Record::of(&config.state, name).clear();
        all.push(reached(format!("source {name}"), Ok("connected".into())));
        for feed in feeds {
            let what = format!("feed {}", feed.name);
            all.push(reached(what.clone(), link.with(|source| probe_inbox(feed, source))));
            all.extend(same_folder(feed, &places, link, &links).map(|message| Reached { what, ok: false, message, exit: Exit::Config }));
        }
        for feed in reporting {
            let place = feed.reports.folder.as_bstr();
            let probed = link.with(|source| {
                named("make the folder", place, source.make_folder(place))?;
                probe(place, &[], source)?;
                Ok(format!("reports can be written to {}", shown(place)))
            });
            all.push(reached(format!("feed {}", feed.name), probed));
        }
    }
    all.extend(config.platforms.iter().map(|(name, settings)| reach_platform(name, settings, &config.state)));
    all.extend(config.alerts.values().map(|way| reach_alert(way, send_test)));
    all
}

/// Another inbox that is the same folder, in words.
fn same_folder(feed: &Feed, places: &Places, link: &Link, links: &BTreeMap<&str, Link>) -> Option<String> {
    let inbox = (feed.source.name.clone(), feed.inbox.clone());
    if places.knows(&inbox) {
        return None;
    }
    let place = place_of(link, feed.inbox.as_bstr()).ok()??;
    places.note(&inbox, place, link, &|source| links.get(source)).err().map(|conflict| conflict.to_string())
}

fn reach_platform(name: &str, settings: &Platform, state: &Path) -> Reached {
    let what = format!("platform {name}");
    match Dispatch::start(platform::open(settings), settings) {
        Ok(dispatch) => {
            let reach = dispatch.probe();
            let exit = if reach.denied { Exit::Denied } else { Exit::Unavailable };
            if reach.ok {
                // What it asked for a while ago counts no more.
                pause::Record::of(state, name).clear();
            }
            Reached { what, ok: reach.ok, message: reach.message, exit }
        }
        Err(error) => Reached { what, ok: false, message: format!("{error:#}"), exit: Exit::Config },
    }
}

/// A way out for alerts: mail servers can be asked without a message, what takes webhooks cannot.
fn reach_alert(way: &Arc<Way>, send_test: bool) -> Reached {
    let what = format!("alert {}", way.name);
    let tried = match Outlet::open(Arc::clone(way)) {
        Err(error) => return Reached { what, ok: false, message: format!("{error:#}"), exit: Exit::Config },
        Ok(outlet) => outlet.reach(),
    };
    let result = match tried {
        Some(result) => result.map_err(|fault| fault.words().to_owned()),
        None if send_test => alert::test(way).map(|()| "a test message was taken".to_owned()),
        None => Ok("not tried: it cannot be without a message; --send-test sends one".to_owned()),
    };
    let ok = result.is_ok();
    let message = result.unwrap_or_else(|words| words);
    Reached { what, ok, message, exit: if ok { Exit::Ok } else { Exit::Unavailable } }
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

/// Lists the inbox, and tries on a file of our own what the feed will do with its files.
fn probe_inbox(feed: &Feed, source: &mut dyn Source) -> SourceResult<String> {
    let inbox = feed.inbox.as_bstr();
    let entries = named("list", inbox, source.list(inbox))?;
    let mut folders = Vec::new();
    folders.extend(feed.claim.clone());
    if let After::Move { processed, error } = &feed.after {
        folders.extend([processed, error].map(|folder| join(inbox, folder.as_bstr())));
    }
    let mut rights = "can be listed".to_owned();
    if feed.after != After::Leave {
        probe(inbox, &folders, source)?;
        rights.push_str(", read, written, renamed in and cleaned");
    }
    let matching = crate::pipeline::discover::Matcher::new(std::sync::Arc::new(feed.clone()))
        .map(|matcher| entries.iter().filter(|entry| matcher.matches(entry.name.as_bstr())).count());
    Ok(match matching {
        Ok(matching) => format!("{} {rights}; {} of {} names match {}", shown(inbox), matching, entries.len(), feed.pattern),
        Err(_) => format!("{} {rights}", shown(inbox)),
    })
}

/// Creates, reads, renames and removes a small file, through these folders too. Names with a leading dot are never taken for deliveries.
///
/// Each right that is missing is named; the file is removed as far as the server lets us.
fn probe(folder: &BStr, through: &[BString], source: &mut dyn Source) -> SourceResult<()> {
    let name = format!(".passferry-probe-{}", std::process::id());
    let at = |folder: &BStr, ending: &str| join(folder, format!("{name}{ending}").as_str().into());
    let mut here = at(folder, "");
    named("create files", folder, source.create(here.as_bstr(), &mut &b"probe"[..], 0o600))?;
    let mut faults = Vec::new();
    let read = source.read(here.as_bstr(), 1 << 10, &mut |_| Ok(()));
    faults.extend(named("read files", folder, read).err());
    let mut targets: Vec<(&BStr, BString)> = vec![(folder, at(folder, ".moved"))];
    for folder in through {
        let made = named("make the folder", folder.as_bstr(), source.make_folder(folder.as_bstr()));
        match made {
            Ok(()) => targets.push((folder.as_bstr(), at(folder.as_bstr(), ""))),
            Err(fault) => faults.push(fault),
        }
    }
    for (folder, target) in targets {
        match named("rename files", folder, source.rename(here.as_bstr(), target.as_bstr())) {
            Ok(()) => here = target,
            Err(fault) => {
                faults.push(fault);
                break;
            }
        }
    }
    faults.extend(named("remove files", folder, source.remove(here.as_bstr())).err());
    let Some(first) = faults.first() else { return Ok(()) };
    let words = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err(match first {
        SourceError::Permission(_) => SourceError::Permission(words.trim_start_matches("not allowed: ").to_owned()),
        _ => SourceError::Other(words),
    })
}

/// Says which right is missing, and where.
fn named<T>(right: &str, folder: &BStr, result: SourceResult<T>) -> SourceResult<T> {
    let place = shown(folder);
    result.map_err(|error| match error {
        SourceError::Permission(words) => SourceError::Permission(format!("the right to {right} in {place} is missing: {words}")),
        SourceError::Other(words) => SourceError::Other(format!("cannot {right} in {place}: {words}")),
        other => other,
    })
}

fn shown(folder: &BStr) -> String {
    folder.escape_ascii().to_string()
}
