//! `man`: manual pages.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, Exit, out};

/// Manual pages: of the program to standard output, or of all commands into a folder
///
/// Example: passferry man --to /usr/local/share/man/man1
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder for one page a command; it is made if need be
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(folder) = &args.to {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        clap_mangen::generate_to(Cli::command(), folder).with_context(|| folder.display().to_string())?;
        return Ok(Exit::Ok);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    let mut out = out::stdout();
    out.write_all(&text)?;
    out.flush()?;
    Ok(Exit::Ok)
}
