//! `backup`: a copy of the ledger while it is in use.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::ledger;

/// Copy the ledger to a file, while passferry works
///
/// The copy is of one moment, verified, and closed to others; an existing file is never overwritten. To restore it: stop passferry, move
/// ledger.sqlite, ledger.sqlite-wal and ledger.sqlite-shm out of the state directory, copy the backup to its place as ledger.sqlite, run
/// passferry verify --reach, start. Files that arrived after the backup are taken as new: what sets values is sent again and changes
/// nothing; feeds that add are held when their reports tell of runs that the restored ledger does not know.
///
/// Example: passferry backup /var/backups/passferry/$(date +%F).sqlite
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to; nothing may be there
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    file: &'a std::path::Path,
    bytes: u64,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    if !config.state.join("ledger.sqlite").exists() {
        return Err(Failure::new(Exit::NoInput, format!("there is no ledger in {} yet", config.state.display())).into());
    }
    if args.file.symlink_metadata().is_ok() {
        return Err(Failure::new(Exit::Usage, format!("{} is there already, and backups overwrite nothing", args.file.display())).into());
    }
    let bytes = ledger::open(&config.state)?.backup(&args.file)?;
    let mut out = out::stdout();
    if args.json {
        out::json(&mut out, &Answer { file: &args.file, bytes })?;
    } else {
        writeln!(out, "{}: {} bytes, verified", args.file.display(), out::count(bytes))?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
