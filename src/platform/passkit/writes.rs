//! When passes were written, so that what was read before is not written back after.
//!
//! PassKit takes `metaData` only whole (contract 2.1). Many passes are read ahead of their changes, and another change of the same pass,
//! of the same file or of another feed of the account, may come between.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names share so many places, three a name: a pass that is taken for written by mistake costs one more look, and none is ever overlooked.
/// Of a hundred thousand written passes about one in a hundred is.
const PLACES: u64 = 1 << 21;

#[derive(Default)]
pub(super) struct Writes {
    moment: AtomicU32,
    /// The latest moment of each place; 8 MiB, from the first write on.
    latest: OnceLock<Box<[AtomicU32]>>,
}

impl Writes {
    /// To be taken before the question leaves: what is read then is at least as new.
    pub(super) fn moment(&self) -> u32 {
        self.moment.load(Ordering::Acquire)
    }

    /// To be called before a change leaves and once more when its answer is there, by every name that the pass is known by here.
    pub(super) fn note(&self, names: &[&str]) {
        let latest = self.latest.get_or_init(|| (0..PLACES).map(|_| AtomicU32::new(0)).collect());
        let moment = self.moment.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        for place in names.iter().filter(|name| !name.is_empty()).flat_map(|name| places(name)) {
            latest[place].fetch_max(moment, Ordering::AcqRel);
        }
    }

    /// Was a pass of one of these names written after this moment?
    pub(super) fn since(&self, moment: u32, names: &[&str]) -> bool {
        let Some(latest) = self.latest.get() else { return false };
        let written = |name: &str| places(name).iter().all(|place| latest[*place].load(Ordering::Acquire) > moment);
        names.iter().any(|name| written(name))
    }
}

/// Three parts of a digest.
fn places(name: &str) -> [usize; 3] {
    let digest = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    [digest, digest >> 21, digest >> 42].map(|part| (part % PLACES) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_or_during_a_write_is_outdated_and_nothing_else_is() {
        let writes = Writes::default();
        let before = writes.moment();
        writes.note(&["C-1", "id-1"]);
        let during = writes.moment();
        writes.note(&["C-1", "id-1"]);
        let after = writes.moment();
        assert!(writes.since(before, &["C-1"]) && writes.since(during, &["nobody", "id-1"]));
        assert!(!writes.since(after, &["C-1", "id-1"]) && !writes.since(before, &["C-2", "id-2"]));
    }
}
