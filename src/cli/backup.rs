//! `backup`: a copy of the ledger while it is in use.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::apple::host::hosted;
use crate::keeping::hosted::{backup, copy_of};
use crate::ledger;

/// Copy the ledger to a file, while passferry works
///
/// The copy is of one moment, verified, and closed to others; an existing file is never overwritten. To restore it: stop passferry, move
/// ledger.sqlite, ledger.sqlite-wal and ledger.sqlite-shm out of the state directory, copy the backup to its place as ledger.sqlite, run
/// passferry verify --reach, start. Files that arrived after the backup are taken as new: what sets values is sent again and changes
/// nothing; feeds that add are held when their reports tell of runs that the restored ledger does not know. Passes that are hosted here
/// are copied beside it, as FILE.PLATFORM-passes; their place in the state directory is apple/PLATFORM.sqlite.
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
    /// Stores of passes that are hosted here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stores: Vec<Copy<'a>>,
}

#[derive(Serialize)]
struct Copy<'a> {
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
    for account in hosted(&config) {
        let copy = copy_of(&args.file, &account);
        if copy.symlink_metadata().is_ok() {
            return Err(Failure::new(Exit::Usage, format!("{} is there already, and backups overwrite nothing", copy.display())).into());
        }
    }
    let bytes = ledger::open(&config.state)?.backup(&args.file)?;
    let stores = backup(&config, &args.file)?;
    let mut out = out::stdout();
    if args.json {
        let stores = stores.iter().map(|(file, bytes)| Copy { file, bytes: *bytes }).collect();
        out::json(&mut out, &Answer { file: &args.file, bytes, stores })?;
    } else {
        writeln!(out, "{}: {} bytes, verified", args.file.display(), out::count(bytes))?;
        for (file, bytes) in &stores {
            writeln!(out, "{}: {} bytes, verified", file.display(), out::count(*bytes))?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}
