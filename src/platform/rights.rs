//! Is a 403 about one row, or about the account? What was let through before tells (failure model D10).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::{Request, Verdict};

/// So many requests refused before the first success mean the account, not the rows.
pub(super) const REFUSED_MAX: usize = 20;

/// Digests of the reads and of the writes that were refused; none once one of the kind was let through: a key may read and not write.
#[derive(Debug)]
pub(super) struct Rights([Mutex<Option<HashSet<u64>>>; 2]);

impl Default for Rights {
    fn default() -> Rights {
        Rights([(); 2].map(|()| Mutex::new(Some(HashSet::new()))))
    }
}

impl Rights {
    /// One of the kind was let through.
    pub(super) fn proven(&self, writes: bool) {
        *self.0[usize::from(writes)].lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// One was refused. The same request again says nothing more.
    pub(super) fn refused(&self, request: &Request, writes: bool, reason: String) -> Verdict {
        let mut refused = self.0[usize::from(writes)].lock().unwrap_or_else(PoisonError::into_inner);
        let Some(refused) = &mut *refused else { return Verdict::Final };
        let mut digest = xxhash_rust::xxh3::Xxh3::new();
        digest.update(request.path.as_bytes());
        digest.update(request.body.as_deref().unwrap_or_default());
        if refused.len() < REFUSED_MAX {
            refused.insert(digest.digest());
        }
        if refused.len() < REFUSED_MAX { Verdict::Undecided { reason } } else { Verdict::Barred { reason } }
    }
}
