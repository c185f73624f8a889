//! What `check --reach` proves of an account, and what it cannot prove.

use std::sync::Arc;

use super::package::{build, read_template};
use super::push::{Answered, Pusher};
use super::sign::{NEAR_DAYS, Signer};
use super::store::{Pass, Store};
use super::talk::Proved;
use crate::config::meant::apple::{AppleWallet, PushProof};

/// A token that no phone has: what Apple says of it tells what it thinks of us.
const NOBODY: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

fn no(denied: bool, message: String) -> Proved {
    Proved { ok: false, denied, message }
}

/// Certificate, template, store, and Apple's door for pushes.
pub async fn prove(account: &Arc<AppleWallet>) -> Proved {
    let signer = match Signer::load(account) {
        Ok(signer) => signer,
        Err(fault) => return no(true, fault),
    };
    if let Some(fault) = signer.is_over() {
        return no(true, fault);
    }
    if let Err(fault) = read_template(&account.template).and_then(|_| build(account, &signer, &sample(account))) {
        return no(false, fault);
    }
    let opened = Store::open(&account.store).and_then(|store| store.write(|work| work.count()).map(|passes| (store, passes)));
    let (store, passes) = match opened {
        Ok(opened) => opened,
        Err(fault) => return no(false, fault.to_string()),
    };
    let validity = signer.validity();
    let soon = if validity.days < NEAR_DAYS { ": renew it now" } else { "" };
    let valid = format!("the {} is valid until {} ({} days{soon})", validity.what, validity.until, validity.days);
    let pusher = match Pusher::new(account, &signer) {
        Ok(pusher) => pusher,
        Err(fault) => return no(true, format!("{valid}; pushes: {fault}")),
    };
    let url = &account.push.url;
    let proof = match account.push.proof {
        PushProof::Certificate => "the certificate",
        PushProof::Token { .. } => "the push key",
    };
    match pusher.send(&store, NOBODY).await {
        Answered::Done | Answered::Gone { .. } | Answered::Never => {
            let proved = "key and chain fit, the template makes a package, the store can be written";
            let message = format!(
                "{valid}; {proved} ({passes} passes); {url} takes {proof} for {}. Not proved: that phones reach {}, and that they accept the \
                 certificate; only a phone can tell",
                account.pass_type, account.public_url
            );
            Proved { ok: true, denied: false, message }
        }
        Answered::Stop(reason) => no(true, format!("{valid}; {url} refuses {proof}: {reason}")),
        Answered::Later(reason) | Answered::NoConnection(reason) | Answered::TimedOut(reason) | Answered::SlowDown(reason) => {
            no(false, format!("{valid}; pushes: {url}: {reason}"))
        }
    }
}

fn sample(account: &AppleWallet) -> Pass {
    let data = account.design.pass.clone();
    Pass { serial: "sample".to_owned(), external_id: None, token: "0".repeat(32), data, tag: 0, modified: 0 }
}
