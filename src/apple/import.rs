//! Bringing in passes that were issued elsewhere: number, token and all they hold stay, so that phones that have them notice nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::package::design_of;
use super::pass::layout;
use super::store::{Store, StoreError, now_ms};
use crate::config::meant::apple::AppleWallet;

/// What became of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    In,
    /// A pass with its number is there: it stays as it is.
    Known,
    /// Why it cannot be taken.
    Refused(String),
}

/// Packages under a path, in the order of their names: the file itself, or all `.pkpass` files of a folder.
pub fn packages(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "pkpass") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// Takes one package in. The serial number becomes its external ID, too.
pub fn bring_in(account: &AppleWallet, store: &Store, package: &[u8]) -> Result<Brought, StoreError> {
    let mut pass = match design_of(package) {
        Ok(pass) => pass,
        Err(fault) => return Ok(Brought::Refused(fault)),
    };
    let (serial, token) = match identity(account, &mut pass) {
        Ok(identity) => identity,
        Err(fault) => return Ok(Brought::Refused(fault)),
    };
    let new = store.write(|work| work.insert(&serial, Some(&serial), &token, &pass, now_ms()))?;
    Ok(if new { Brought::In } else { Brought::Known })
}

/// Number and token, taken out of the pass: the store keeps them, and every package gets them anew.
fn identity(account: &AppleWallet, pass: &mut Json) -> Result<(String, String), String> {
    layout(pass)?;
    let object: &mut Map<String, Json> = pass.as_object_mut().ok_or("its pass.json is no object")?;
    for (name, wanted) in [("passTypeIdentifier", &account.pass_type), ("teamIdentifier", &account.team)] {
        match object.get(name).and_then(Json::as_str) {
            Some(found) if found == wanted => {}
            found => return Err(format!("its {name} is {:?}, and the account's {wanted:?}", found.unwrap_or_default())),
        }
    }
    let text = |name: &str| object.get(name).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let serial = text("serialNumber").ok_or("it has no serialNumber")?;
    let token = text("authenticationToken").ok_or("it has no authenticationToken, so that phones never ask for a newer one")?;
    if token.len() < 16 {
        return Err("its authenticationToken has less than 16 characters".to_owned());
    }
    Ok((serial, token))
}
