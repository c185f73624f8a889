//! Stores of passes that are hosted here: what keeping means for them.

#![allow(clippy::redundant_closure_for_method_calls, reason = "as in `crate::apple`")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::apple::host::hosted;
use crate::apple::store::{Forgotten, Result, Store};
use crate::config::meant::Config;
use crate::config::meant::apple::AppleWallet;
use crate::ledger::keeping::Finding;

/// Keys deleted in one transaction.
const ROWS: u64 = 2000;

/// Accounts whose store was made.
fn stores(config: &Config) -> impl Iterator<Item = (Arc<AppleWallet>, Result<Store>)> {
    let there = hosted(config).into_iter().filter(|account| account.store.exists());
    there.map(|account| {
        let store = Store::open(&account.store);
        (account, store)
    })
}

/// Deletes the passes that carry these identifiers, their tokens and who holds them.
pub fn forget(config: &Config, identifiers: &[String]) -> Result<Forgotten> {
    let mut all = Forgotten::default();
    for (_, store) in stores(config) {
        let store = store?;
        let forgotten = store.write(|work| work.forget(identifiers))?;
        all.passes += forgotten.passes;
        all.registrations += forgotten.registrations;
        store.compact()?;
    }
    Ok(all)
}

/// Deletes keys of adds that are older than keys are kept.
pub fn remove_keys(config: &Config) -> Result<()> {
    let before = super::ago(config.key_retention).timestamp_millis();
    for (_, store) in stores(config) {
        let store = store?;
        while store.write(|work| work.remove_keys(before, ROWS))? == ROWS {}
    }
    Ok(())
}

/// What does not fit together in the stores.
pub fn verify(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, store) in stores(config) {
        let faults = match store.and_then(|store| store.read(|work| work.faults())) {
            Ok(faults) => faults,
            Err(error) => vec![error.to_string()],
        };
        findings.extend(faults.into_iter().map(|what| Finding {
            finding: "hosted-passes",
            run: None,
            place: format!("{} (platform {})", account.store.display(), account.name),
            what,
            cure:
                "stop passferry, put a copy that passferry backup made in its place (README, \"Backup and restore\"), and start".to_owned(),
        }));
    }
    findings
}

/// Where the copy of an account's store goes, beside the copy of the ledger.
pub fn copy_of(ledger: &Path, account: &AppleWallet) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-passes", account.name));
    ledger.with_file_name(name)
}

/// Copies the stores beside the copy of the ledger. Taken after it, so that they hold all that it calls applied.
pub fn backup(config: &Config, ledger: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut copies = Vec::new();
    for (account, store) in stores(config) {
        let to = copy_of(ledger, &account);
        copies.push((to.clone(), store?.backup(&to)?));
    }
    Ok(copies)
}
