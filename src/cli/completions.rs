//! `completions`: for shells.

use std::io::Write;

use clap::CommandFactory;

use super::{Cli, Exit, out};

/// Completions for a shell, to standard output
///
/// Example: passferry completions bash > /etc/bash_completion.d/passferry
#[derive(clap::Args, Debug)]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "passferry", &mut text);
    let mut out = out::stdout();
    out.write_all(&text)?;
    out.flush()?;
    Ok(Exit::Ok)
}
