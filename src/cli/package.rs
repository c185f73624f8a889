//! `package`: a pass as a file, for the person whose it is; and passes that were issued elsewhere, brought in.

use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;

use super::{Exit, Failure, Global, context, out};
use crate::apple::host::hosted;
use crate::apple::import::{Brought, bring_in, packages};
use crate::apple::package::build;
use crate::apple::sign::Signer;
use crate::apple::store::Store;
use crate::config::meant::Config;
use crate::config::meant::apple::AppleWallet;

/// Write the package of a pass that is hosted here, or bring packages in that were issued elsewhere
///
/// The package (.pkpass) is what is sent to a person, who opens it on the phone; from then on the phone asks this service for what
/// changes. It holds the pass's token: whoever has the file has the pass. It is freshly built and signed, and changes nothing here.
///
/// With --import packages are read instead: serial number, token and everything in pass.json stay, so that phones that hold the pass
/// notice nothing, and each is known by its serial number as external ID from then on. Images are the template's. A pass that is here
/// already is left as it is. Phones go on asking the address that is in their pass: it must lead here, or the old service must answer
/// once more with a package that has the new one.
///
/// Examples: passferry package C-1001 --out card.pkpass
///           passferry package --import old-passes/
#[derive(clap::Args, Debug)]
pub struct Args {
    /// External ID of the pass, or - to read it on standard input, where others do not see it
    #[arg(required_unless_present = "import", conflicts_with = "import")]
    external_id: Option<String>,
    /// Platform account; needed where several are of kind apple_wallet
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Where to; nothing may be there
    #[arg(long, value_name = "FILE", required_unless_present = "import", conflicts_with = "import")]
    out: Option<PathBuf>,
    /// A .pkpass, or a folder of such
    #[arg(long, value_name = "PATH")]
    import: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    file: &'a std::path::Path,
    serial: String,
    bytes: usize,
    /// Phones that hold the pass.
    devices: u64,
}

#[derive(Default, Serialize)]
struct Tally {
    imported: u64,
    known: u64,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    file: String,
    why: String,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = context::config(global)?;
    let account = account(&config, args.platform.as_deref())?;
    match (&args.import, &args.external_id, &args.out) {
        (Some(path), ..) => import(&account, path, args.json),
        (None, Some(id), Some(to)) => write(&account, &identifier(id)?, to, args.json),
        _ => Err(Failure::new(Exit::Usage, "an external ID and --out FILE are needed, or --import PATH").into()),
    }
}

fn account(config: &Config, wanted: Option<&str>) -> anyhow::Result<Arc<AppleWallet>> {
    let accounts = hosted(config);
    let names = accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, &accounts[..]) {
        (Some(wanted), _) => {
            accounts.iter().find(|account| account.name == wanted).cloned().ok_or_else(|| {
                Failure::new(Exit::NoInput, format!("no platform {wanted:?} of kind apple_wallet (there is: {names})")).into()
            })
        }
        (None, [only]) => Ok(Arc::clone(only)),
        (None, []) => Err(Failure::new(Exit::NoInput, "no platform of the configuration is of kind apple_wallet").into()),
        (None, _) => {
            Err(Failure::new(Exit::Usage, format!("several platforms are of kind apple_wallet: name one by --platform ({names})")).into())
        }
    }
}

fn identifier(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn write(account: &AppleWallet, id: &str, to: &std::path::Path, json: bool) -> anyhow::Result<Exit> {
    let store = Store::open(&account.store)?;
    let found = store.read(|work| {
        let mut serials = work.serials_of(id)?;
        if serials.is_empty() {
            serials.push(id.to_owned());
        }
        let pass = if let [serial] = &serials[..] { work.pass(serial)? } else { None };
        let devices = pass.as_ref().map(|pass| work.devices_of(&pass.serial)).transpose()?;
        Ok((serials.len(), pass, devices.unwrap_or_default()))
    })?;
    let (pass, devices) = match found {
        (1, Some(pass), devices) => (pass, devices),
        (1, None, _) => return Err(Failure::new(Exit::NoInput, "no pass has this external ID or serial number").into()),
        (count, ..) => {
            return Err(Failure::new(Exit::NoInput, format!("{count} passes carry this external ID: give a serial number")).into());
        }
    };
    let made = Signer::load(account).and_then(|signer| build(account, &signer, &pass));
    let package = made.map_err(|fault| Failure::new(Exit::Denied, fault))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Usage, format!("{} is there already, and nothing is overwritten", to.display()))
        }
        _ => Failure::new(Exit::Io, format!("{}: {error}", to.display())),
    })?;
    file.write_all(&package).and_then(|()| file.sync_all()).with_context(|| to.display().to_string())?;
    let mut out = out::stdout();
    if json {
        out::json(&mut out, &Written { file: to, serial: pass.serial, bytes: package.len(), devices })?;
    } else {
        writeln!(out, "{}: {} bytes; {} hold the pass", to.display(), out::count(package.len() as u64), out::counted(devices, "phone"))?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}

fn import(account: &AppleWallet, path: &std::path::Path, json: bool) -> anyhow::Result<Exit> {
    let files = packages(path).map_err(|error| Failure::new(Exit::NoInput, format!("{}: {error}", path.display())))?;
    let store = Store::open(&account.store)?;
    let mut imported = Tally::default();
    for file in files {
        let read = fs::read(&file).map_err(|error| format!("cannot be read: {error}"));
        let brought = match read {
            Ok(bytes) => bring_in(account, &store, &bytes)?,
            Err(fault) => Brought::Refused(fault),
        };
        match brought {
            Brought::In => imported.imported += 1,
            Brought::Known => imported.known += 1,
            Brought::Refused(why) => imported.refused.push(Refused { file: file.display().to_string(), why }),
        }
    }
    let mut out = out::stdout();
    if json {
        out::json(&mut out, &imported)?;
    } else {
        for Refused { file, why } in &imported.refused {
            writeln!(out, "{file}: {why}")?;
        }
        let refused = imported.refused.len();
        writeln!(out, "{} brought in, {} here already, {refused} refused", out::count(imported.imported), out::count(imported.known))?;
    }
    out.flush()?;
    Ok(if imported.refused.is_empty() { Exit::Ok } else { Exit::NeedsPerson })
}
