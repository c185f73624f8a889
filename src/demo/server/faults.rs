//! What a server may do wrong, on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use russh_sftp::protocol::StatusCode;

/// The operations of the protocol (draft-ietf-secsh-filexfer-02), as far as faults and counts tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Open,
    Close,
    Read,
    Write,
    /// `stat`, `lstat` and `fstat`.
    Stat,
    /// `setstat` and `fsetstat`.
    SetStat,
    OpenFolder,
    /// One request for names; a listing takes several.
    ReadFolder,
    MakeFolder,
    RemoveFolder,
    Remove,
    /// `rename` and posix-rename@openssh.com.
    Rename,
    RealPath,
    /// fsync@openssh.com.
    Sync,
}

/// Some operations answered with an error instead of being done.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// How many operations of this kind still pass before the failure begins, counted from when it was set.
    pub after: u64,
    /// How many then fail; `u64::MAX` for all that follow.
    pub times: u64,
    pub status: StatusCode,
}

/// A file that grows whenever somebody looks at it, as one does that is still being uploaded.
#[derive(Clone, Debug)]
pub struct Growing {
    /// Its path on the server, such as `/in/points.csv`.
    pub path: String,
    /// Appended to the file before each listing and each stat that would show it.
    pub more: Vec<u8>,
}

/// A name that is in every listing and nowhere else.
#[derive(Clone, Debug)]
pub struct Invented {
    pub name: String,
    /// Type and permission bits, as `stat` has them.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u32,
}

/// What happens to a file while somebody reads it.
#[derive(Clone, Debug)]
pub struct Disturbance {
    /// Its path on the server.
    pub path: String,
    /// After this many read requests for it.
    pub after_reads: u64,
    pub change: Change,
}

#[derive(Clone, Debug)]
pub enum Change {
    Append(Vec<u8>),
    /// Another file takes the name; the open one stays as it is.
    Replace(Vec<u8>),
}

/// Everything a server can be told to do wrong. The default is to do nothing wrong. May be changed while connections are open.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct ServerFaults {
    /// Waited before every operation of the kind. Requests of one connection are answered one after another.
    pub latency: BTreeMap<Kind, Duration>,
    /// Failures in force. Those used up are removed.
    pub failures: Vec<Failure>,
    /// Cut a connection without a word once this many bytes of file content were read over it. Taken back as soon as it happened, so
    /// that the next connection lives.
    pub disconnect_after: Option<u64>,
    /// Names added to the end of every listing, with the attributes of an empty regular file.
    pub extra_names: Vec<String>,
    /// Names added to the end of every listing, with attributes of their own.
    pub invented: Vec<Invented>,
    /// Sizes in listings and stats replaced, by name (without folder).
    pub sizes: BTreeMap<String, u64>,
    /// Modification times in listings and stats replaced, by name (without folder).
    pub mtimes: BTreeMap<String, u32>,
    /// Reading these paths never comes to an end.
    pub endless_content: Vec<String>,
    /// Happens once, then is taken back.
    pub disturbance: Option<Disturbance>,
    /// Waited before a login is answered.
    pub login_latency: Duration,
    /// Listings never end: after the real names, invented ones follow for ever.
    pub endless_listing: bool,
    /// Bytes that the invented names are padded to.
    pub endless_name_length: usize,
    pub growing: Option<Growing>,
    /// `rename` and posix-rename@openssh.com are answered "permission denied".
    pub rename_refused: bool,
    /// Renames are done and answered with a plain failure.
    pub rename_denied_when_done: bool,
    /// Modes are taken with a friendly answer and not set.
    pub modes_ignored: bool,
    /// Every file gets this mode when it is made, whatever was asked for.
    pub mode_forced: Option<u32>,
    /// fsync@openssh.com is neither announced nor known.
    pub fsync_absent: bool,
    /// Added to every modification time shown, in seconds.
    pub mtime_skew: i64,
    /// Bytes that may still be written before the disk is full.
    pub space: Option<u64>,
}

/// The faults, and the counts of what was asked; shared by all connections of a server.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub faults: ServerFaults,
    pub counts: BTreeMap<Kind, u64>,
}

impl Shared {
    pub fn new(faults: ServerFaults) -> Shared {
        Shared(Arc::new(Mutex::new(State { faults, counts: BTreeMap::new() })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a plain assignment, so that a panic of one holder leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the operation; says how long to wait before it and with what it must fail, if it must.
    pub fn begin(&self, kind: Kind) -> (Duration, Option<StatusCode>) {
        let mut state = self.lock();
        *state.counts.entry(kind).or_default() += 1;
        let wait = state.faults.latency.get(&kind).copied().unwrap_or_default();
        let mut status = None;
        for failure in state.faults.failures.iter_mut().filter(|failure| failure.kind == kind) {
            if failure.after > 0 {
                failure.after -= 1;
            } else if status.is_none() {
                status = Some(failure.status);
                failure.times = failure.times.saturating_sub(1);
            }
        }
        state.faults.failures.retain(|failure| failure.times > 0);
        (wait, status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_waits_for_its_turn_and_is_used_up() {
        let shared = Shared::default();
        shared.lock().faults.failures.push(Failure { kind: Kind::Read, after: 1, times: 2, status: StatusCode::Failure });
        let seen: Vec<_> = (0..5).map(|_| shared.begin(Kind::Read).1).collect();
        assert_eq!(seen, [None, Some(StatusCode::Failure), Some(StatusCode::Failure), None, None]);
        shared.lock().faults.latency.insert(Kind::Write, Duration::from_secs(1));
        assert_eq!(shared.begin(Kind::Write), (Duration::from_secs(1), None));
        assert_eq!(shared.begin(Kind::Read).0, Duration::ZERO);
        assert_eq!(shared.lock().counts[&Kind::Read], 6);
    }
}
