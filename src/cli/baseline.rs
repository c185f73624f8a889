//! `baseline seed`: what the platform holds becomes what is known.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::config::meant::{Config, Feed, PassColumn};
use crate::dispatch::Dispatch;
use crate::format::shape;
use crate::ledger::{Fence, FieldState, Known, Ledger, Mark, RunFilter, RunKind};
use crate::mapping::coerce;
use crate::pipeline::pending::PendingPasses;
use crate::pipeline::road::{Prepared, prepare};
use crate::platform::{self, PassState};
use crate::row::{Target, Verb};

/// What is known of passes
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Seed(Seed),
}

/// Read the platform's passes, so that the first snapshot sends only what differs
///
/// Reads every pass of the feed's platform account and notes the fields that the feed maps. Changes nothing at the platform. Cannot work
/// beside a running daemon.
///
/// Example: passferry baseline seed points
#[derive(clap::Args, Debug)]
struct Seed {
    /// The feed whose mapped fields are read
    feed: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Default, Serialize)]
struct Counts {
    /// Passes read.
    passes: u64,
    /// Passes whose fields are known now.
    seeded: u64,
    /// Passes without the identifier that the feed goes by.
    unnamed: u64,
    /// Passes that share their identifier with another: nothing is assumed of them.
    ambiguous: u64,
    requests: u64,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let What::Seed(seed) = &args.what;
    let config = context::config(global)?;
    let feed = context::feed(&config, &seed.feed)?;
    let lead = context::Lead::take(&config)?;
    let ledger = lead.ledger(&config)?;
    let counts = read_all(&config, feed, &*ledger, ledger.lead()?)?;
    let mut out = out::stdout();
    if seed.json {
        out::json(&mut out, &counts)?;
    } else {
        writeln!(out, "{} passes read, {} known now", out::count(counts.passes), out::count(counts.seeded))?;
        for (count, what) in [
            (counts.unnamed, "have no identifier that the feed goes by"),
            (counts.ambiguous, "share their identifier with another pass; nothing is assumed of them"),
        ] {
            if count > 0 {
                writeln!(out, "{} {what}", out::count(count))?;
            }
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

/// A feed whose files say what its fields are is as its last file was.
fn shaped(feed: &Arc<Feed>, ledger: &dyn Ledger) -> anyhow::Result<Arc<Feed>> {
    if !feed.takes_shape() {
        return Ok(Arc::clone(feed));
    }
    let last = ledger.runs(&RunFilter { feed: Some(feed.name.clone()), ..RunFilter::default() })?;
    let last = last.into_iter().find(|run| run.kind == RunKind::File && !run.detail.labels.is_empty());
    let shaped = last.and_then(|run| shape(feed, &run.detail.labels).ok());
    shaped.ok_or_else(|| {
        let words = format!(
            "the files of feed {} say what its fields are, and none has come yet: deliver one, then seed while it is held",
            feed.name
        );
        Failure::new(Exit::NoInput, words).into()
    })
}

fn read_all(config: &Config, feed: &Arc<Feed>, ledger: &dyn Ledger, fence: Fence) -> anyhow::Result<Counts> {
    let feed = &*shaped(feed, ledger)?;
    let stop = context::stop_on_signals()?;
    let account = platform::open(&feed.platform);
    let prepared = prepare(feed, &account, |field| Ok(ledger.field_id(&feed.platform.name, field)?))?;
    let dispatch = Dispatch::start(account, &config.platforms[&feed.platform.name])?;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} {human_pos} passes read, {per_sec}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let mut counts = Counts::default();
    let mut seen = PendingPasses::default();
    let mut from = Some(0);
    let mut first: Option<String> = None;
    while let Some(offset) = from {
        if stop.is_draining() {
            return Err(Failure::new(Exit::Later, format!("stopped after {} passes; what was read is kept", counts.passes)).into());
        }
        let page = dispatch.page(offset);
        if let Some(fault) = page.fault {
            return Err(Failure::new(Exit::Unavailable, format!("after {} passes: {fault}", counts.passes)).into());
        }
        let this = page.passes.first().map(|pass| pass.pass_id.clone());
        if this.is_some() && this == first {
            let words = format!("after {} passes: the platform gives the same page again", counts.passes);
            return Err(Failure::new(Exit::Unavailable, words).into());
        }
        first = this;
        counts.passes += page.passes.len() as u64;
        let known = seed_page(feed, &prepared, ledger, page.passes, &mut seen, &mut counts)?;
        ledger.seed(fence, &feed.platform.name, &known)?;
        bar.set_position(counts.passes);
        from = page.next;
    }
    bar.finish_and_clear();
    counts.requests = dispatch.counters().requests;
    Ok(counts)
}

fn seed_page(
    feed: &Feed,
    prepared: &Prepared,
    ledger: &dyn Ledger,
    passes: Vec<PassState>,
    seen: &mut PendingPasses,
    counts: &mut Counts,
) -> anyhow::Result<Vec<Known>> {
    let today = (Utc::now().timestamp() / 86_400) as u16;
    let mut all = Vec::with_capacity(passes.len());
    for pass in passes {
        let target = match &feed.pass {
            PassColumn::ExternalId(_) => pass.external_id.clone().map(Target::External),
            PassColumn::PassId(_) => Some(Target::Pass(pass.pass_id.clone())),
        };
        let Some(target) = target else {
            counts.unnamed += 1;
            continue;
        };
        let key = target.key();
        // What is taken for seen by mistake is only sent once more.
        if seen.conflicts(key, Verb::Void, std::iter::empty()) {
            counts.ambiguous += 1;
            all.push(Known { pass: key, fields: Vec::new() });
            continue;
        }
        seen.insert(key, Verb::Void, std::iter::empty());
        // What other feeds know of the pass stays.
        let mut fields = ledger.baseline_of(&feed.platform.name, &[key])?.pop().map(|known| known.fields).unwrap_or_default();
        let (read, unknown) = states(feed, prepared, &pass, today);
        FieldState::merge(&mut fields, &read, &unknown);
        counts.seeded += 1;
        all.push(Known { pass: key, fields });
    }
    Ok(all)
}

/// The mapped fields of a pass, and those whose value cannot be compared with a file's.
fn states(feed: &Feed, prepared: &Prepared, pass: &PassState, day: u16) -> (Vec<FieldState>, Vec<u16>) {
    let (mut read, mut unknown) = (Vec::new(), Vec::new());
    for (mapped, &field) in prepared.mapping.fields().iter().zip(&prepared.field_ids) {
        let value = pass.fields.iter().find(|(name, _)| **name == *mapped.name).map(|(_, value)| value.clone());
        match value.map(|value| coerce(value, mapped.rule.kind, &feed.times)).transpose() {
            Ok(value) => read.push(FieldState { field, mark: Mark::of(value.as_ref(), mapped.personal), day }),
            Err(_) => unknown.push(field),
        }
    }
    (read, unknown)
}
