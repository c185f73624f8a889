//! The program, killed at a chosen call. `crash.c` says which calls it sees and how it kills.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::harbour::{Harbour, Ran};

/// The tracer, compiled once for all tests of this process.
static TRACER: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("crash");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/rig/crash.c");
    let status = Command::new("cc").args(["-O1", "-Wall", "-Werror", "-o"]).arg(&program).arg(source).status();
    assert!(status.expect("these tests need a C compiler: apt-get install gcc libc6-dev").success(), "crash.c compiles");
    (folder, program)
});

/// How the program dies at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// It does not: calls are counted.
    Count,
    /// Killed instead of the call.
    Before,
    /// Killed when half of the call's bytes are out.
    Half,
    /// Killed when the call is done and its answer is not yet heard.
    After,
    /// Asked to end, by SIGTERM, before the call.
    Term,
}

impl Mode {
    pub const KILLING: [Mode; 3] = [Mode::Before, Mode::Half, Mode::After];

    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Count => "count",
            Mode::Before => "before",
            Mode::Half => "half",
            Mode::After => "after",
            Mode::Term => "term",
        }
    }
}

/// A moment of the program's life: the `nth` of its calls whose line contains a match of the shell pattern `matching`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub mode: Mode,
    pub nth: u64,
    pub matching: String,
}

impl Moment {
    pub fn any(mode: Mode, nth: u64) -> Moment {
        Moment { mode, nth, matching: String::new() }
    }

    /// The first call whose line contains a match of this pattern.
    pub fn first(mode: Mode, matching: &str) -> Moment {
        Moment { mode, nth: 1, matching: matching.to_owned() }
    }
}

/// A call that left a trace.
#[derive(Clone, Debug)]
pub struct Call {
    pub class: String,
    /// Its name, what it is about, how many bytes.
    pub line: String,
}

/// How it went.
pub struct Crashed {
    pub ran: Ran,
    /// Calls up to the end, that of the moment included.
    pub calls: Vec<Call>,
    /// The moment came.
    pub reached: bool,
}

/// Exit code of the tracer when the program was killed.
const KILLED: i32 = 128 + 9;

/// Runs the program until the moment, or to its end when the moment does not come.
#[track_caller]
pub fn crash(harbour: &Harbour, args: &[&str], moment: &Moment) -> Crashed {
    let log = harbour.home.path().join("calls");
    let (program, args) = traced(&log, moment, args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = harbour.run_program(&program, &args);
    let calls = calls(&log);
    let reached = moment.mode != Mode::Count && calls.len() as u64 >= moment.nth;
    let killed = reached && moment.mode != Mode::Term;
    assert_eq!(ran.exit == KILLED, killed, "{moment:?}: exit {}\n{}", ran.exit, ran.err);
    assert!(ran.exit != 125, "{}", ran.err);
    Crashed { ran, calls, reached }
}

/// The tracer and its arguments for a command of the program.
pub fn traced(log: &Path, moment: &Moment, args: &[&str]) -> (PathBuf, Vec<String>) {
    let head = [log.to_str().unwrap(), moment.mode.as_str(), &moment.nth.to_string(), &moment.matching, env!("CARGO_BIN_EXE_passferry")];
    (TRACER.1.clone(), head.into_iter().chain(args.iter().copied()).map(str::to_owned).collect())
}

/// What the tracer wrote down.
pub fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let call = |line: &str| {
        let mut parts = line.splitn(3, ' ').skip(1);
        Some(Call { class: parts.next()?.to_owned(), line: parts.next()?.to_owned() })
    };
    text.lines().map(|line| call(line).unwrap_or_else(|| panic!("not a call: {line:?}"))).collect()
}
