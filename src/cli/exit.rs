//! Exit codes. 0, 1 and 2 are ours; the others are those of `sysexits.h`, so that schedulers can tell what a repeat would bring.

use std::process::ExitCode;

use crate::decide::{Refusal, Why};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// Finished, but rows need a person, or a file is held.
    NeedsPerson = 1,
    /// The command was not understood.
    Usage = 2,
    /// The file is bad as a whole, or it fails its schema.
    BadFile = 65,
    /// There is no such file, run or feed; or an expected file has not come.
    NoInput = 66,
    /// A server is unavailable.
    Unavailable = 69,
    /// A defect in passferry.
    Internal = 70,
    /// This machine's storage failed.
    Io = 74,
    /// Not now: something is still going on, or another passferry holds the state directory. Try again later.
    Later = 75,
    /// Not allowed: a login, a host key or a right.
    Denied = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    pub const ALL: [(Exit, &'static str); 11] = [
        (Exit::Ok, "all well"),
        (Exit::NeedsPerson, "finished, but rows need a person or a file is held"),
        (Exit::Usage, "the command was not understood"),
        (Exit::BadFile, "the file is bad as a whole, or fails its schema"),
        (Exit::NoInput, "no such file, run or feed, or an expected file has not come"),
        (Exit::Unavailable, "a server is unavailable"),
        (Exit::Internal, "a defect in passferry"),
        (Exit::Io, "this machine's storage failed"),
        (Exit::Later, "not now; try again later"),
        (Exit::Denied, "a login, a host key or a right was refused"),
        (Exit::Config, "the configuration is wrong"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error with the code the program ends with.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The code of an error that came from below.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    use crate::ledger::LedgerError;
    use crate::source::SourceError;
    use crate::space::Trouble;
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        match cause.downcast_ref::<Refusal>().map(|refusal| refusal.why) {
            Some(Why::NothingThere) => return Exit::NoInput,
            Some(Why::NotNow) => return Exit::Later,
            Some(Why::Unclear) => return Exit::Usage,
            None => {}
        }
        if cause.downcast_ref::<crate::config::Faults>().is_some() || cause.downcast_ref::<crate::pipeline::road::FeedFaults>().is_some() {
            return Exit::Config;
        }
        if cause.downcast_ref::<crate::pipeline::places::SameFolder>().is_some() {
            return Exit::Config;
        }
        match cause.downcast_ref::<SourceError>() {
            Some(SourceError::HostKey(_) | SourceError::Auth(_) | SourceError::Permission(_)) => return Exit::Denied,
            Some(SourceError::NotFound(_)) => return Exit::NoInput,
            Some(SourceError::Local(_)) => return Exit::Io,
            Some(_) => return Exit::Unavailable,
            None => {}
        }
        match cause.downcast_ref::<LedgerError>() {
            Some(LedgerError::NoRun(_)) => return Exit::NoInput,
            Some(LedgerError::Fenced | LedgerError::Disk { trouble: Trouble::Full | Trouble::Busy, .. }) => return Exit::Later,
            Some(_) => return Exit::Io,
            None => {}
        }
        if cause.downcast_ref::<crate::secret::SecretError>().is_some() {
            return Exit::Denied;
        }
        if cause.downcast_ref::<std::io::Error>().is_some() {
            return Exit::Io;
        }
    }
    Exit::Internal
}
