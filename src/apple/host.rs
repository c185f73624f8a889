//! What `run` does for phones beside files: the web service, and pushes. `once` pushes alone.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

use super::push::{Pusher, Round, Told};
use super::service::{Hosted, Shared, router};
use super::sign::{Current, NEAR_DAYS, Signer};
use super::store::Store;
use crate::config::meant::apple::AppleWallet;
use crate::config::meant::{Config, PlatformKind};
use crate::listening::listen_at;
use crate::stop::Stop;

/// Calls in hand are given this long at the end.
const GRACE: Duration = Duration::from_secs(3);
/// How often the certificate is looked at.
const LOOK: Duration = Duration::from_hours(12);
/// `once` waits no longer for Apple.
const ONCE: Duration = Duration::from_secs(20);

/// Accounts that are hosted here.
pub fn hosted(config: &Config) -> Vec<Arc<AppleWallet>> {
    let apple = |kind: &PlatformKind| if let PlatformKind::AppleWallet(account) = kind { Some(Arc::clone(account)) } else { None };
    config.platforms.values().filter_map(|platform| apple(&platform.kind)).collect()
}

/// What serves and pushes, not yet begun.
type Begin = Box<dyn FnOnce() -> std::io::Result<JoinHandle<()>>>;

/// Service and pushes of all accounts of a configuration, on a thread of their own. Dropping it ends them.
pub struct Host {
    accounts: Vec<Arc<AppleWallet>>,
    listeners: BTreeMap<SocketAddr, TcpListener>,
    begin: Option<Begin>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts what the configuration asks for. Fails when an address cannot be listened at or a store cannot be opened.
    pub fn start(accounts: Vec<Arc<AppleWallet>>) -> anyhow::Result<Host> {
        let mut host = Host::ready(accounts, &BTreeMap::new())?;
        host.begin()?;
        Ok(host)
    }

    /// What would follow under another configuration: it has its addresses and stores, and serves nobody yet. None where nothing changes.
    pub fn prepare(&self, accounts: Vec<Arc<AppleWallet>>) -> anyhow::Result<Option<Host>> {
        if accounts == self.accounts {
            return Ok(None);
        }
        Host::ready(accounts, &self.listeners).map(Some)
    }

    /// Goes on as this one.
    pub fn take_up(&mut self, next: Host) -> anyhow::Result<()> {
        *self = next;
        self.begin()
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.thread = self.begin.take().map(|begin| begin()).transpose()?;
        Ok(())
    }

    fn ready(accounts: Vec<Arc<AppleWallet>>, had: &BTreeMap<SocketAddr, TcpListener>) -> anyhow::Result<Host> {
        let (end, ended) = watch::channel(false);
        if accounts.is_empty() {
            return Ok(Host { accounts, listeners: BTreeMap::new(), begin: None, end, thread: None });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("phones").enable_all().build()?;
        let mut services: BTreeMap<SocketAddr, Vec<Hosted>> = BTreeMap::new();
        let mut pushing = Vec::new();
        for account in &accounts {
            let signer = Arc::new(Current::new(Arc::clone(account)));
            warn_of_certificate(account, &signer);
            let store = Arc::new(Store::open(&account.store)?);
            // A person has been here since.
            store.write(|work| work.resume())?;
            pushing.push((Arc::clone(account), Arc::clone(&signer), store));
            if let Some(address) = account.listen {
                let store = Store::open(&account.store)?;
                services.entry(address).or_default().push(Hosted { account: Arc::clone(account), store, signer });
            }
        }
        let (mut listening, mut listeners) = (Vec::new(), BTreeMap::new());
        for (address, hosted) in services {
            let names = hosted.iter().map(|hosted| hosted.account.name.clone()).collect::<Vec<_>>().join(", ");
            let cannot = || format!("platform {names}: cannot listen at {address}");
            let listener = listen_at(address, had.get(&address)).with_context(cannot)?;
            let kept = listener.try_clone().with_context(cannot)?;
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).with_context(cannot)?;
            tracing::info!(%address, platforms = names, "phones are served");
            listening.push((listener, Shared::new(hosted)));
            listeners.insert(address, kept);
        }
        let serve = move || {
            for (listener, shared) in listening {
                let mut ended = ended.clone();
                let over = async move { drop(ended.wait_for(|ended| *ended).await) };
                runtime.spawn(async move {
                    if let Err(error) = axum::serve(listener, router(shared)).with_graceful_shutdown(over).await {
                        tracing::error!("phones are served no more: {error}");
                    }
                });
            }
            for (account, signer, store) in pushing {
                runtime.spawn(push(account, signer, store, ended.clone()));
            }
            let mut ended = ended;
            runtime.block_on(async { drop(ended.wait_for(|ended| *ended).await) });
            runtime.shutdown_timeout(GRACE);
        };
        let begin: Begin = Box::new(move || std::thread::Builder::new().name("phones".into()).spawn(serve));
        Ok(Host { accounts, listeners, begin: Some(begin), end, thread: None })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something about a hosted account that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub platform: String,
    /// Of which kind, in a word: `signing`, `certificate`, `store`, `pushes`.
    pub what: &'static str,
    pub words: String,
}

/// What of these accounts needs a person.
pub fn alerts(config: &Config) -> Vec<Trouble> {
    let mut alerts = Vec::new();
    for account in hosted(config) {
        let name = &account.name;
        let mut tell = |what, words| alerts.push(Trouble { platform: name.clone(), what, words });
        match Signer::load(&account) {
            Err(fault) => tell("signing", format!("platform {name}: no package can be made: {fault}")),
            Ok(signer) => match (signer.is_over(), signer.validity()) {
                (Some(fault), _) => tell("certificate", format!("platform {name}: {fault}")),
                (None, validity) if validity.days < NEAR_DAYS => {
                    tell("certificate", format!("platform {name}: the {} ends on {}: renew it", validity.what, validity.until));
                }
                _ => {}
            },
        }
        // A look makes no store.
        if !account.store.exists() {
            continue;
        }
        let looked = Store::open(&account.store).and_then(|store| store.read(|work| Ok((work.halted()?, work.pushes_owed()?))));
        match looked {
            Err(fault) => tell("store", format!("platform {name}: {fault}")),
            Ok((Some(halt), owed)) => {
                let at = chrono::DateTime::from_timestamp_millis(halt.at).unwrap_or_default().format("%Y-%m-%d %H:%M UTC");
                let words = format!(
                    "platform {name}: since {at} Apple refuses our pushes ({}), and {owed} phones wait; repair it, then start passferry again",
                    halt.reason
                );
                tell("pushes", words);
            }
            Ok((None, _)) => {}
        }
    }
    alerts
}

/// A certificate that ends is told of before phones are the first to notice.
fn warn_of_certificate(account: &AppleWallet, signer: &Current) {
    let platform = &account.name;
    match signer.get() {
        Err(fault) => tracing::error!(platform, "no package can be made: {fault}"),
        Ok(signer) => match (signer.is_over(), signer.validity()) {
            (Some(fault), _) => tracing::error!(platform, "{fault}"),
            (None, validity) if validity.days < NEAR_DAYS => {
                tracing::warn!(platform, days = validity.days, "the {} ends on {}: renew it", validity.what, validity.until);
            }
            _ => {}
        },
    }
}

/// Pushes what is owed, again and again.
async fn push(account: Arc<AppleWallet>, signers: Arc<Current>, store: Arc<Store>, mut ended: watch::Receiver<bool>) {
    let mut told = Told::default();
    let mut pusher: Option<(Arc<Signer>, Arc<Pusher>)> = None;
    let mut looked = Instant::now();
    loop {
        let began = Instant::now();
        let pause = if store.read(|work| work.halted()).is_ok_and(|halt| halt.is_some()) {
            account.push.every
        } else {
            let round = round(&account, &signers, &store, &mut pusher).await;
            told.tell(&account, &round);
            round.broken_off.map_or(account.push.every, |(_, pause)| pause.max(account.push.every))
        };
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            warn_of_certificate(&account, &signers);
        }
        tokio::select! {
            () = tokio::time::sleep_until((began + pause).into()) => {}
            _ = ended.wait_for(|ended| *ended) => return,
        }
    }
}

/// One round. What keeps it from being sent at all breaks it off as well.
async fn round(
    account: &Arc<AppleWallet>,
    signers: &Current,
    store: &Arc<Store>,
    pusher: &mut Option<(Arc<Signer>, Arc<Pusher>)>,
) -> Round {
    let broken_off = |reason: String| Round { broken_off: Some((reason, account.push.every)), ..Round::default() };
    if store.read(|work| work.pushes_owed()).is_ok_and(|owed| owed == 0) {
        return Round::default();
    }
    let signer = match signers.get() {
        Ok(signer) => signer,
        Err(fault) => return broken_off(fault),
    };
    let current = match pusher {
        Some((of, current)) if Arc::ptr_eq(of, &signer) => Arc::clone(current),
        _ => match Pusher::new(account, &signer) {
            Ok(new) => Arc::clone(&pusher.insert((signer, Arc::new(new))).1),
            Err(fault) => return broken_off(fault),
        },
    };
    current.round(store).await.unwrap_or_else(|error| broken_off(error.to_string()))
}

/// Pushes what is owed now, within a bounded time, and names what is left, a line an account.
pub fn push_once(accounts: &[Arc<AppleWallet>], stop: &Stop) -> Vec<String> {
    let mut left = Vec::new();
    for account in accounts {
        left.extend(push_account(account, stop).unwrap_or_else(|error| Some(format!("platform {}: {error:#}", account.name))));
    }
    left
}

fn push_account(account: &Arc<AppleWallet>, stop: &Stop) -> anyhow::Result<Option<String>> {
    let store = Arc::new(Store::open(&account.store)?);
    let signers = Current::new(Arc::clone(account));
    warn_of_certificate(account, &signers);
    store.write(|work| work.resume())?;
    let owed = |store: &Store| store.read(|work| work.pushes_owed());
    if owed(&store)? == 0 {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said = runtime.block_on(async {
        let mut pusher = None;
        let all = async {
            let round = round(account, &signers, &store, &mut pusher).await;
            Told::default().tell(account, &round);
            round.halted.or(round.broken_off.map(|(reason, _)| reason))
        };
        tokio::select! {
            said = all => said,
            () = tokio::time::sleep(ONCE) => Some("Apple takes too long".to_owned()),
            () = stop.draining() => Some("stopped".to_owned()),
        }
    });
    let left = owed(&store)?;
    let why = said.unwrap_or_else(|| "Apple asks to try again later".to_owned());
    Ok((left > 0).then(|| format!("platform {}: {left} phones are not told yet that their passes changed: {why}", account.name)))
}
