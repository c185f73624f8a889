//! What is remembered between looks at inboxes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use tracing::warn;

use super::unavailable;
use crate::config::meant::Feed;
use crate::ledger::Ledger;
use crate::source::link::Link;
use crate::source::{Entry, Result};

/// Largest file beside data that is read before the data is: a manifest of tens of thousands of parts.
const TEXT_MAX: u64 = 16 << 20;
/// How many of them are kept.
const TEXTS_MAX: usize = 64;

/// What is remembered between looks: sizes and times on our own monotonic clock.
#[derive(Default)]
pub struct Observations {
    seen: HashMap<(BString, BString), Observation>,
    /// Names already complained about.
    warned: HashSet<(BString, BString)>,
    /// Our own untouched reports.
    pub(super) ours: HashMap<(BString, BString), (u64, i64)>,
    /// Files that are known to be done and were left where they are.
    left: HashMap<(BString, BString), (u64, i64)>,
    /// Inboxes with more complete files than could be taken.
    pub(super) backlog: HashSet<BString>,
    /// Inboxes that are not listed, and why.
    pub(super) refused: HashMap<BString, String>,
    /// Manifests and the like, as they were last read.
    texts: HashMap<BString, (u64, i64, Arc<[u8]>)>,
}

struct Observation {
    size: u64,
    mtime: i64,
    since: Instant,
}

impl Observations {
    /// Notes that a file is a report of ours that nobody changed, so that it is not fetched again.
    pub fn note_ours(&mut self, folder: &BStr, name: &BStr, size: u64, mtime: i64) {
        self.ours.insert((folder.to_owned(), name.to_owned()), (size, mtime));
    }

    /// An inbox is not to be listed.
    pub fn refuse(&mut self, inbox: &BString, why: String) {
        self.refused.insert(inbox.clone(), why);
    }

    pub fn is_refused(&self, inbox: &BString) -> bool {
        self.refused.contains_key(inbox)
    }

    /// Time since the file was first seen as it is now.
    pub(in crate::pipeline) fn quiet_for(&mut self, folder: &BStr, entry: &Entry, now: Instant) -> Duration {
        let key = (folder.to_owned(), entry.name.clone());
        let fresh = Observation { size: entry.size, mtime: entry.mtime, since: now };
        let seen = self.seen.entry(key).or_insert(Observation { size: entry.size, mtime: entry.mtime, since: now });
        if (seen.size, seen.mtime) != (entry.size, entry.mtime) {
            *seen = fresh;
        }
        now - seen.since
    }

    /// Forgets what is no longer there.
    pub(in crate::pipeline) fn keep_only(&mut self, folder: &BString, entries: &[Entry]) {
        let here: HashSet<&BStr> = entries.iter().map(|entry| entry.name.as_bstr()).collect();
        self.seen.retain(|(known, name), _| known != folder || here.contains(name.as_bstr()));
        self.left.retain(|(known, name), _| known != folder || here.contains(name.as_bstr()));
    }

    /// Is it a file that was fetched before and left? The ledger is asked once for each.
    pub(super) fn was_left(&mut self, feed: &Feed, entry: &Entry, ledger: &dyn Ledger) -> Result<bool> {
        let key = (feed.inbox.clone(), entry.name.clone());
        if self.left.get(&key) == Some(&(entry.size, entry.mtime)) {
            return Ok(true);
        }
        let (source, folder) = (&feed.source.name, feed.inbox.as_bstr());
        let run = ledger.run_of_delivery(source, folder, entry.name.as_bstr(), entry.size, entry.mtime).map_err(unavailable)?;
        let left = run.is_some_and(|run| run.sha256.is_some());
        if left {
            self.left.insert(key, (entry.size, entry.mtime));
        }
        Ok(left)
    }

    pub(in crate::pipeline) fn warn_once(&mut self, folder: &BStr, name: &BStr, why: &str) {
        if self.warned.insert((folder.to_owned(), name.to_owned())) {
            warn!(folder = %folder.escape_ascii(), name = %name.escape_ascii(), "ignored: {why}");
        }
    }

    /// The text of a small file beside data. None where it is too large, is gone, or changed while it was read.
    pub(in crate::pipeline) fn text(&mut self, link: &Link, path: &BString, entry: &Entry) -> Result<Option<Arc<[u8]>>> {
        if let Some((size, mtime, text)) = self.texts.get(path)
            && (*size, *mtime) == (entry.size, entry.mtime)
        {
            return Ok(Some(Arc::clone(text)));
        }
        let mut text = Vec::new();
        let read = link.with(|source| {
            source.read(path.as_bstr(), TEXT_MAX, &mut |piece| {
                text.extend_from_slice(piece);
                Ok(())
            })
        });
        match read {
            Ok(read) if read.unchanged() && read.before == (entry.size, entry.mtime) => {}
            Err(fault) if fault.breaks_connection() => return Err(fault),
            Ok(_) | Err(_) => return Ok(None),
        }
        let text: Arc<[u8]> = text.into();
        // What is not asked for again would stay for ever.
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        self.texts.insert(path.clone(), (entry.size, entry.mtime, Arc::clone(&text)));
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::EntryKind;

    #[test]
    fn a_changed_file_starts_its_quiet_period_anew() {
        let mut observations = Observations::default();
        let start = Instant::now();
        let mut entry = Entry { name: "a.csv".into(), kind: EntryKind::File, size: 1, mtime: 5 };
        let second = Duration::from_secs(1);
        assert_eq!(observations.quiet_for("in".into(), &entry, start), Duration::ZERO);
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 2 * second), 2 * second);
        entry.size = 2;
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 3 * second), Duration::ZERO);
        entry.mtime = 4;
        assert_eq!(observations.quiet_for("in".into(), &entry, start + 4 * second), Duration::ZERO);
    }
}
