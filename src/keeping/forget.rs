//! Forget: what is known of a person goes, as far as it is here.
//!
//! The ledger keeps no identifiers, but digests of them, by which a person's history could be put together again: rows lose theirs, and
//! the baseline its entry. Copies of files hold whole deliveries and are deleted as a whole where one names the person: rewritten, they
//! would no longer be what was delivered, and no row in them could be found again. Keys of adds stay; they are digests of a transaction,
//! hold no personal value, and without them the same file could add twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use chrono::Utc;
use serde::Serialize;

use super::retention::{delete, old_format_copies, tidy};
use crate::config::meant::Config;
use crate::ledger::keeping::{Forgotten, Removed, Texts, Why};
use crate::ledger::run::show_name;
use crate::ledger::{Fence, Ledger, Run};
use crate::row::{PassKey, Target};
use crate::spool::{Spool, SpoolEntry};

/// What was forgotten, and what is beyond our reach.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    pub identifiers: u64,
    #[serde(flatten)]
    pub ledger: Forgotten,
    /// Copies of files that were deleted.
    pub copies: u64,
    /// Passes hosted here that were deleted, and registrations of phones with them.
    pub hosted_passes: u64,
    pub registrations: u64,
    /// Files on servers that name, or may name, one of the passes. They are not ours to delete.
    pub elsewhere: Vec<Left>,
}

/// A file at a source that passferry does not delete.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Left {
    pub run: String,
    pub source: String,
    pub path: String,
}

/// A run that has to come to its end first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct StillNeeded(pub Vec<String>);

/// Forgets passes by the identifiers that files name them by. Nobody else may lead. Refused as a whole when a run still needs one of them.
pub fn forget(config: &Config, ledger: &dyn Ledger, fence: Fence, spool: &Spool, identifiers: &[String]) -> anyhow::Result<Answer> {
    let texts = Texts::new(identifiers).context("these are too many at once; give fewer identifiers")?;
    let passes: Vec<PassKey> =
        identifiers.iter().flat_map(|id| [Target::External(id.clone()).key(), Target::Pass(id.clone()).key()]).collect();
    tidy(config, ledger, spool)?;
    let copies = naming_copies(spool, &texts)?;
    let owners: BTreeSet<&str> = copies.iter().filter_map(|copy| copy.run.as_deref()).collect();
    let mut named: Vec<Run> = Vec::new();
    let mut needed = Vec::new();
    for mention in ledger.mentions(&passes, &texts)? {
        let (id, name) = (&mention.run.id, mention.run.shown_name());
        if !mention.run.state.is_over() {
            needed.push(format!("run {id} ({name}) is {}, and names one of them: {}", mention.run.state, advice(&mention.run)));
        } else if mention.in_doubt {
            needed.push(format!("run {id} ({name}) has a row in doubt about one of them: passferry settle it first"));
        }
        named.push(mention.run);
    }
    for owner in owners {
        let Some(run) = ledger.run(owner)? else { continue };
        if named.iter().any(|known| known.id == run.id) {
            continue;
        }
        if !run.state.is_over() {
            needed.push(format!("the file of run {} ({}) names one of them: {}", run.id, run.shown_name(), advice(&run)));
        }
        named.push(run);
    }
    for id in super::in_use(ledger)? {
        if copies.iter().any(|copy| copy.run.as_ref() == Some(&id)) && named.iter().any(|run| run.id == id && run.state.is_over()) {
            needed.push(format!(
                "an unfinished retry or correction needs the file of run {id}, which names one of them: wait until it is over"
            ));
        }
    }
    if !needed.is_empty() {
        return Err(StillNeeded(needed).into());
    }
    let mut answer = Answer { identifiers: identifiers.len() as u64, ..Answer::default() };
    let removed = Removed { at: Utc::now(), why: Why::Forgotten };
    let deleted: BTreeSet<&str> = copies.iter().filter_map(|copy| copy.run.as_deref()).collect();
    for run in &deleted {
        spool.remove(run).context("the spool")?;
        answer.copies += 1;
        if ledger.run(run)?.is_some() {
            ledger.note_removed(fence, run, &removed)?;
        }
    }
    for copy in &copies {
        delete(&copy.path)?;
    }
    let hosted = super::hosted::forget(config, identifiers)
        .context("copies are deleted; passes hosted here and the ledger may still hold the identifiers; run this again")?;
    (answer.hosted_passes, answer.registrations) = (hosted.passes, hosted.registrations);
    answer.ledger = ledger.forget(fence, &passes, &texts)?;
    for copy in old_format_copies(&config.state)? {
        delete(&copy)?;
    }
    ledger.compact().context("all is deleted, but bytes of it may still be in the file of the ledger; run this again")?;
    answer.elsewhere = named.iter().flat_map(|run| left(config, run)).collect();
    answer.elsewhere.sort();
    Ok(answer)
}

fn advice(run: &Run) -> String {
    use crate::ledger::State;
    match run.state {
        State::Held => format!("passferry approve {id}, or discard {id}, first", id = run.id),
        _ => "wait until it is over, or stop it".to_owned(),
    }
}

/// Files in the spool that name one of the texts. What cannot be looked through counts as naming all.
fn naming_copies(spool: &Spool, texts: &Texts) -> anyhow::Result<Vec<SpoolEntry>> {
    let entries = spool.entries().context("the spool")?;
    let has_text = |run: &Option<String>| entries.iter().any(|entry| entry.run == *run && entry.kind == "text");
    let mut naming = Vec::new();
    for entry in &entries {
        let names = match is_named_in(&entry.path, texts) {
            Ok(Some(names)) => names,
            // Compressed: its text stands beside it once it was checked.
            Ok(None) => !has_text(&entry.run),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| entry.path.display().to_string()),
        };
        if names {
            naming.push(entry.clone());
        }
    }
    Ok(naming)
}

/// None when the file is compressed.
fn is_named_in(path: &Path, texts: &Texts) -> io::Result<Option<bool>> {
    const PIECE: usize = 4 << 20;
    let mut file = File::open(path)?;
    let mut buffer: Vec<u8> = Vec::new();
    let mut is_first = true;
    loop {
        let kept = buffer.len();
        if (&mut file).take(PIECE as u64).read_to_end(&mut buffer)? == 0 {
            return Ok(Some(false));
        }
        if is_first && buffer.starts_with(&[0x1f, 0x8b]) {
            return Ok(None);
        }
        if texts.are_in(&buffer) {
            return Ok(Some(true));
        }
        is_first = false;
        let overlap = texts.overlap().min(kept + PIECE).min(buffer.len());
        buffer.drain(..buffer.len() - overlap);
    }
}

/// Where the run's input was put and its reports are.
fn left(config: &Config, run: &Run) -> Vec<Left> {
    let mut left = Vec::new();
    let feed = config.feeds.get(&run.feed);
    let input = run.detail.archived.clone().or_else(|| {
        let stays = feed.is_some_and(|feed| feed.after == crate::config::meant::After::Leave);
        stays.then(|| crate::source::join(run.folder.as_ref(), run.name.as_ref()))
    });
    left.extend(input.map(|path| Left { run: run.id.clone(), source: run.source.clone(), path: show_name(&path) }));
    for report in &run.detail.reports {
        let (source, folder) = match feed {
            Some(feed) => (feed.reports.source.name.clone(), show_name(&feed.reports.folder)),
            None => (run.source.clone(), "its reports".to_owned()),
        };
        left.push(Left { run: run.id.clone(), source, path: format!("{folder}/{}", report.name) });
    }
    left
}
