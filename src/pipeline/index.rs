//! The account's whole list of passes, read once for a run that has so many passes to find that asking for them would cost more.
//!
//! What the list says of the run's passes is kept on disk, sorted into partitions by pass; rows come in the order of passes, so that one
//! partition at a time is in memory. A pass that the list leaves out, or gives twice, is asked for as ever.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use super::apply::Work;
use super::pending::PendingPasses;
use super::spill::{Spill, Writer};
use super::validate::Entry;
use crate::config::meant::{PassColumn, Several};
use crate::platform::Platform;
use crate::row::{Found, PassKey, Target, Verb};

pub struct Index {
    entries: Spill,
    /// The partition in hand.
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    partition: usize,
    passes: HashMap<PassKey, Vec<Found>>,
}

/// How many passes a run must find for its list to be worth reading, and what either way costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Requests that ask for the run's passes.
    pub asks: u64,
    /// The list is read if the account has fewer passes than this; that is learnt when the file is applied.
    pub below: u64,
}

impl Choice {
    /// None where the passes are asked for, whatever the account has.
    pub fn of(platform: &dyn Platform, finds: u64) -> Option<Choice> {
        let index = platform.index().filter(|index| finds >= index.least())?;
        let asks = finds.div_ceil(platform.limits().find_batch.max(1) as u64);
        // One request tells how many passes there are, and the last page is an empty one.
        let below = asks.saturating_sub(2).saturating_mul(index.page());
        (below > 0).then_some(Choice { asks, below })
    }
}

impl Index {
    /// Reads the list, if that is worth it. None where passes are asked for.
    pub fn read(work: &Work<'_>) -> anyhow::Result<Option<Index>> {
        let left = work.ledger.count_pending(work.run)?;
        let counted = work.ledger.run(work.run)?.map_or(0, |run| run.detail.moves.finds);
        let finds = if work.feed.several == Several::All { left } else { counted.min(left) };
        let Some(choice) = Choice::of(&**work.account, finds) else { return Ok(None) };
        let Some(size) = work.dispatch.size().filter(|size| *size < choice.below) else { return Ok(None) };
        info!("reads the list of {size} passes once, instead of asking for {finds} with {} requests", choice.asks);
        let mut wanted = PendingPasses::default();
        work.ledger.pending_passes(&[work.run.to_owned()], &mut |row| wanted.insert(row.pass, Verb::Update, std::iter::empty()))?;
        let index = Index { entries: Spill::new(work.spool.scratch()?, 1), loaded: Mutex::default() };
        let fault = index.fill(work, &wanted)?;
        if let Some(fault) = &fault {
            warn!(reason = crate::platform::for_log(fault), "the list of passes cannot be read: passes are asked for instead");
        }
        Ok(fault.is_none().then_some(index))
    }

    /// The fault says in words why there is no whole list.
    fn fill(&self, work: &Work<'_>, wanted: &PendingPasses) -> anyhow::Result<Option<String>> {
        let by_external_id = matches!(work.feed.pass, PassColumn::ExternalId(_));
        let mut writer = self.entries.writer();
        let (mut from, mut first) = (Some(0), None);
        while let Some(offset) = from {
            let page = work.dispatch.index_page(offset);
            if page.fault.is_some() || work.stop.is_draining() {
                return Ok(Some(page.fault.unwrap_or_else(|| "the run is being stopped".to_owned())));
            }
            let this = page.passes.first().map(|(_, found)| found.pass_id.clone());
            if this.is_some() && this == first {
                return Ok(Some("the list gives the same page again and again".to_owned()));
            }
            if this.is_none() && offset == 0 && page.next.is_some() {
                return Ok(Some("the list does not tell what passes hold".to_owned()));
            }
            first = this;
            for (external, found) in page.passes {
                let target = if by_external_id { external.map(Target::External) } else { Some(Target::Pass(found.pass_id.clone())) };
                let Some(key) = target.map(|target| target.key()) else { continue };
                if wanted.conflicts(key, Verb::Void, std::iter::empty()) {
                    keep(&mut writer, key, &found)?;
                }
            }
            from = page.next;
        }
        Ok(None)
    }

    /// What the list says of these passes: one answer a target, in the same order. None where it must be asked.
    pub fn find(&self, targets: &[Target]) -> io::Result<Vec<Option<Found>>> {
        let mut found = vec![None; targets.len()];
        let mut order: Vec<(PassKey, usize)> = targets.iter().enumerate().map(|(place, target)| (target.key(), place)).collect();
        order.sort_unstable();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, place) in order {
            let partition = Entry::partition(key);
            let hand = match loaded.take().filter(|hand| hand.partition == partition) {
                Some(hand) => hand,
                None => Loaded { partition, passes: read_all(&self.entries.load(partition)?) },
            };
            found[place] = match hand.passes.get(&key).map(Vec::as_slice) {
                Some([only]) => Some(only.clone()),
                _ => None,
            };
            *loaded = Some(hand);
        }
        Ok(found)
    }
}

/// An entry: the pass's key, the length of what follows, and the finding as JSON.
fn keep(writer: &mut Writer<'_>, key: PassKey, found: &Found) -> io::Result<()> {
    let text = serde_json::to_vec(&(&found.pass_id, &found.state))?;
    writer.push(Entry::partition(key), |out| {
        out.extend_from_slice(&key.0.to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(&text);
    })
}

/// All entries of a partition. Pages may overlap: of a pass that came twice the later one counts.
fn read_all(mut bytes: &[u8]) -> HashMap<PassKey, Vec<Found>> {
    let mut passes: HashMap<PassKey, Vec<Found>> = HashMap::new();
    while let Some((key, rest)) = bytes.split_first_chunk::<16>()
        && let Some((length, rest)) = rest.split_first_chunk::<4>()
        && let Some((text, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        bytes = rest;
        let Ok((pass_id, state)) = serde_json::from_slice(text) else { continue };
        let found = Found { pass_id, state };
        let same = passes.entry(PassKey(u128::from_le_bytes(*key))).or_default();
        match same.iter_mut().find(|other| other.pass_id == found.pass_id) {
            Some(other) => *other = found,
            None => same.push(found),
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(id: &str, n: u32) -> Found {
        Found { pass_id: id.to_owned(), state: json!({ "n": n }) }
    }

    #[test]
    fn what_was_listed_is_found_and_what_is_not_or_twice_is_asked_for() {
        let index = Index { entries: Spill::new(tempfile::tempfile().unwrap(), 1), loaded: Mutex::default() };
        let target = |name: &str| Target::External(name.to_owned());
        let names: Vec<String> = (0..3000).map(|n| format!("C-{n}")).collect();
        let mut writer = index.entries.writer();
        for (n, name) in (0..).zip(&names) {
            keep(&mut writer, target(name).key(), &found(&format!("id-{n}"), n)).unwrap();
        }
        keep(&mut writer, target("C-7").key(), &found("another", 7)).unwrap();
        keep(&mut writer, target("C-8").key(), &found("id-8", 88)).unwrap();
        drop(writer);
        let targets: Vec<Target> = ["C-2999", "C-7", "nobody", "C-8", "C-0"].map(target).to_vec();
        let said = index.find(&targets).unwrap();
        assert_eq!(said, [Some(found("id-2999", 2999)), None, None, Some(found("id-8", 88)), Some(found("id-0", 0))]);
    }
}
