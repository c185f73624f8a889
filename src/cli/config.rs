//! `config`: what a configuration can hold.

use std::io::Write;

use super::{Exit, out};

/// What a configuration file can hold
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Every option with its default and the reason, ready to be changed
    ///
    /// Example: passferry config sample > passferry.toml
    Sample,
    /// A JSON Schema of the file, for editors
    ///
    /// Example: passferry config schema > config.json, and "#:schema config.json" as the first line of passferry.toml
    Schema,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = out::stdout();
    match args.what {
        What::Sample => out.write_all(crate::config::SAMPLE.as_bytes())?,
        What::Schema => {
            serde_json::to_writer_pretty(&mut out, &crate::config::json_schema())?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}
