//! The command line program: parse, start logging, run, turn the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    passferry::cli::main()
}
