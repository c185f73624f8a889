//! The sandbox: stand-ins for pass platforms that speak real HTTP on this machine and can make trouble on request.
//!
//! Each is written from its platform's contract alone and shares no code with the adapter, so that the one can find the other's mistakes.
//! Where a contract leaves something open, a knob of [`Faults`] chooses. PassKit's paths begin at the root, those of the others under the
//! platform's name. Everything under `/sandbox/` is the sandbox's own and needs no token.

pub mod airship;
mod answer;
pub mod apple;
mod bearer;
mod control;
mod door;
mod effects;
mod faults;
pub mod google_wallet;
mod jose;
mod listener;
mod log;
mod oauth;
pub mod passentry;
pub mod passkit;
mod shelf;
mod stand_in;
mod stream;
#[cfg(test)]
mod tests;
pub mod thewalletcrew;
pub mod tills;
mod trouble;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::oneshot;

pub use effects::{BURN, BY_ANOTHER, EARN, Effect};
pub use faults::{Faults, FaultsHandle, Latency, Outage, RetryAfter, Throttle, UNAVAILABLE_FOR};
pub use log::{Entry, RequestLog, Stats};
pub use oauth::TokenKnobs;
pub use passkit::{Alert, ErrorShape, Issue, LongLived};
use stand_in::StandIn;
pub use trouble::{Rule, Trouble};

/// The platform whose paths begin at the root.
pub const PASSKIT: &str = "passkit";
pub const GOOGLE_WALLET: &str = "google_wallet";
pub const THEWALLETCREW: &str = "thewalletcrew";
pub const AIRSHIP: &str = "airship";
pub const PASSENTRY: &str = "passentry";
/// Nobody's; see [`tills`].
pub const TILLS: &str = "tills";
/// All of them.
pub const PLATFORMS: [&str; 6] = [PASSKIT, GOOGLE_WALLET, THEWALLETCREW, AIRSHIP, PASSENTRY, TILLS];

/// Where PassKit's other region is: one that takes the account's tokens and has nothing of it.
const ELSEWHERE: &str = "elsewhere";

/// How long a change may stay in memory alone.
const SAVE_EVERY: Duration = Duration::from_millis(100);

/// What a sandbox serves and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Loopback; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where members live between starts; without it they are gone when it stops.
    pub database: Option<PathBuf>,
    /// The API key, the `uid` of a token.
    pub key: String,
    /// The API secret tokens are signed with.
    pub secret: String,
    /// The one program of the account.
    pub program: String,
    /// The program's tiers; the first is that of members issued without one.
    pub tiers: Vec<String>,
    /// Requests are appended here, one JSON object a line.
    pub log: Option<PathBuf>,
    /// Whether the request log keeps bodies.
    pub log_bodies: bool,
    pub faults: Faults,
    pub region: Region,
    pub passkit: passkit::Settings,
    pub google_wallet: google_wallet::Settings,
    pub thewalletcrew: thewalletcrew::Settings,
    pub airship: airship::Settings,
    pub passentry: passentry::Settings,
    pub tills: tills::Settings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            database: None,
            key: "sandbox-key".to_owned(),
            secret: "sandbox-secret".to_owned(),
            program: "sandbox-program".to_owned(),
            tiers: vec!["base".to_owned(), "silver".to_owned(), "gold".to_owned()],
            log: None,
            log_bodies: true,
            faults: Faults::default(),
            region: Region::Right,
            passkit: passkit::Settings::default(),
            google_wallet: google_wallet::Settings::default(),
            thewalletcrew: thewalletcrew::Settings::default(),
            airship: airship::Settings::default(),
            passentry: passentry::Settings::default(),
            tills: tills::Settings::default(),
        }
    }
}

/// Whether the account lives here (contract section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Region {
    #[default]
    Right,
    /// Tokens are accepted and every object answers 404.
    Wrong,
}

/// A running server. It stops, and what is unsaved is saved, when this is dropped.
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
    stop_saving: Option<mpsc::Sender<()>>,
    saver: Option<JoinHandle<()>>,
}

/// What every request can reach.
struct Shared {
    faults: FaultsHandle,
    log: RequestLog,
    passkit: Arc<passkit::Account>,
    google_wallet: Arc<google_wallet::Issuer>,
    /// PassKit's, whose paths begin at the root.
    root: Arc<dyn StandIn>,
    /// The others, by the first segment of their paths.
    others: Vec<(&'static str, Arc<dyn StandIn>)>,
}

impl Shared {
    /// Who answers a path, and what of it is the platform's own.
    fn stand_in<'a>(&self, path: &'a str) -> (&Arc<dyn StandIn>, &'a str) {
        let own = |prefix: &str| {
            let rest = path.strip_prefix('/')?.strip_prefix(prefix)?;
            if rest.is_empty() { Some("/") } else { rest.starts_with(['/', '?']).then_some(rest) }
        };
        self.others.iter().find_map(|(prefix, stand_in)| Some((stand_in, own(prefix)?))).unwrap_or((&self.root, path))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn StandIn>> {
        std::iter::once(&self.root).chain(self.others.iter().map(|(_, stand_in)| stand_in))
    }

    /// That of a platform, by the name of its kind in the configuration.
    fn named(&self, platform: &str) -> Option<&Arc<dyn StandIn>> {
        let other = self.others.iter().find(|(prefix, _)| *prefix == platform).map(|(_, stand_in)| stand_in);
        other.or_else(|| (platform == PASSKIT).then_some(&self.root))
    }

    fn effects(&self) -> Vec<Effect> {
        self.all().flat_map(|stand_in| stand_in.effects()).collect()
    }
}

impl Sandbox {
    /// Opens the database and listens. Fails when either cannot be, or when the address is not on loopback: its control calls need no
    /// token.
    pub fn start(settings: Settings) -> anyhow::Result<Sandbox> {
        anyhow::ensure!(settings.listen.ip().is_loopback(), "the sandbox listens on loopback only, not on {}", settings.listen);
        let log = RequestLog::open(settings.log.as_deref(), settings.log_bodies)?;
        let listen = settings.listen;
        let listener = std::net::TcpListener::bind(listen).with_context(|| format!("the sandbox cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let cellar = shelf::Cellar::open(settings.database.as_deref())?;
        let passkit = Arc::new(passkit::Account::open(&settings, &cellar)?);
        let base_url = |platform: &str| format!("http://{address}/{platform}");
        let google_wallet = google_wallet::Issuer::open(&settings.google_wallet, &cellar, &base_url(GOOGLE_WALLET))?;
        let google_wallet = Arc::new(google_wallet);
        let thewalletcrew = thewalletcrew::Tenant::open(&settings.thewalletcrew, &cellar)?;
        let airship = airship::Project::open(&settings.airship, &cellar)?;
        let passentry = passentry::Account::open(&settings.passentry, &cellar)?;
        let tills = tills::Shop::open(&settings.tills, &cellar)?;
        let shared = Arc::new(Shared {
            root: Arc::clone(&passkit) as Arc<dyn StandIn>,
            others: vec![
                (ELSEWHERE, Arc::new(passkit::Elsewhere(Arc::clone(&passkit)))),
                (GOOGLE_WALLET, Arc::clone(&google_wallet) as Arc<dyn StandIn>),
                (THEWALLETCREW, Arc::new(thewalletcrew)),
                (AIRSHIP, Arc::new(airship)),
                (PASSENTRY, Arc::new(passentry)),
                (TILLS, Arc::new(tills)),
            ],
            passkit,
            google_wallet,
            log,
            faults: FaultsHandle::new(settings.faults),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let server = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || serve(&runtime, listener, shared, stopped))?
        };
        let (stop_saving, saving_stopped) = mpsc::channel();
        let saver = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("sandbox-saver".to_owned()).spawn(move || save_often(&shared, &saving_stopped))?
        };
        Ok(Sandbox { address, shared, stop: Some(stop), server: Some(server), stop_saving: Some(stop_saving), saver: Some(saver) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address a platform's paths begin at, by the name of its kind in the configuration, without a slash at the end.
    pub fn base_url_of(&self, platform: &str) -> String {
        if platform == PASSKIT { self.base_url() } else { format!("{}/{platform}", self.base_url()) }
    }

    /// Address of PassKit's other region, in which the account does not live (contract section 1).
    pub fn other_region_url(&self) -> String {
        format!("{}/{ELSEWHERE}", self.base_url())
    }

    /// Puts passes on a platform, each in the form that its own calls show it, and answers how many are new.
    pub fn seed(&self, platform: &str, passes: impl IntoIterator<Item = serde_json::Value>) -> anyhow::Result<u64> {
        let stand_in = self.shared.named(platform).with_context(|| format!("the sandbox has no platform {platform:?}"))?;
        stand_in.seed(passes.into_iter().collect())
    }

    /// A pass as a platform keeps it, by the name its callers know it by: an object id, an external ID.
    pub fn pass(&self, platform: &str, name: &str) -> Option<serde_json::Value> {
        self.shared.named(platform)?.pass(name)
    }

    /// How many passes a platform has.
    pub fn count(&self, platform: &str) -> u64 {
        self.shared.named(platform).map_or(0, |stand_in| stand_in.count())
    }

    pub fn faults(&self) -> FaultsHandle {
        self.shared.faults.clone()
    }

    /// Issues members in one transaction and answers how many are new; one whose external ID is taken is left as it is. Fails on a
    /// member without external ID or of an unknown tier.
    pub fn issue(&self, members: impl Iterator<Item = Issue>) -> anyhow::Result<u64> {
        self.shared.passkit.issue(members)
    }

    /// A member as a read would answer it.
    pub fn member(&self, external_id: &str) -> Option<serde_json::Value> {
        self.shared.passkit.member(external_id)
    }

    /// A coupon as a read would answer it.
    pub fn coupon(&self, external_id: &str) -> Option<serde_json::Value> {
        self.shared.passkit.coupon(external_id)
    }

    /// A ticket as a read would answer it.
    pub fn ticket(&self, number: &str) -> Option<serde_json::Value> {
        self.shared.passkit.ticket(number)
    }

    /// How many members there are, without deleted ones.
    pub fn members(&self) -> u64 {
        self.shared.passkit.members()
    }

    /// The `externalId`s of a member's events, oldest first: what was sent as `externalEventId`.
    pub fn events(&self, external_id: &str) -> Vec<String> {
        self.shared.passkit.events(external_id)
    }

    /// The key file of Google Wallet's service account, as JSON.
    pub fn google_key(&self) -> anyhow::Result<String> {
        self.shared.google_wallet.key_file()
    }

    /// What holders of Google Wallet passes were notified of, oldest first.
    pub fn notices(&self) -> Vec<google_wallet::Notice> {
        self.shared.google_wallet.notices()
    }

    /// Every token given out by any platform is good for nothing from now on.
    pub fn revoke_tokens(&self) {
        self.shared.all().for_each(|stand_in| stand_in.revoke_tokens());
    }

    /// Another long-lived token of PassKit's; those before stay good.
    pub fn long_lived_token(&self) -> String {
        self.shared.passkit.long_lived_token()
    }

    /// Takes another API secret, at once: requests signed with the one before are refused.
    pub fn rotate_secret(&self, secret: &str) -> anyhow::Result<()> {
        self.shared.passkit.rotate_secret(secret)
    }

    /// How often each change took effect, by route, pass and the caller's name of it (PassKit's `externalEventId`).
    pub fn effects(&self) -> Vec<Effect> {
        self.shared.effects()
    }

    /// Changes that add or take (PassKit's earnings and burnings) and took effect more than once under one name, or under none at all.
    pub fn double_effects(&self) -> Vec<Effect> {
        self.effects().into_iter().filter(|effect| effect.is_add() && (effect.times > 1 || effect.event.is_empty())).collect()
    }

    /// The values that one text of a pass's `metaData` changed to by updates of PassKit's, oldest first; only the newest 100 000 of each
    /// kind of pass.
    pub fn alerts(&self, external_id: &str, key: &str) -> Vec<String> {
        let alerts = self.shared.passkit.alerts();
        alerts.into_iter().filter(|alert| alert.external_id == external_id && alert.key == key).map(|alert| alert.value).collect()
    }

    pub fn requests(&self) -> RequestLog {
        self.shared.log.clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.stop_saving.take());
        for thread in [self.server.take(), self.saver.take()].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a thread of the sandbox panicked");
            }
        }
        save(&self.shared);
    }
}

/// Serves until told to stop; then every open connection is cut.
fn serve(runtime: &tokio::runtime::Runtime, listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let router = Router::new().nest("/sandbox", control::router()).fallback(door::open).with_state(shared);
    let service = router.into_make_service_with_connect_info::<listener::Wire>();
    runtime.block_on(async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener::Cuttable(listener),
            Err(problem) => return tracing::error!(%problem, "the sandbox cannot listen"),
        };
        tokio::select! {
            _ = axum::serve(listener, service) => {}
            _ = stopped => {}
        }
    });
}

fn save_often(shared: &Shared, stopped: &mpsc::Receiver<()>) {
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(SAVE_EVERY) {
        save(shared);
    }
}

fn save(shared: &Shared) {
    for stand_in in shared.all() {
        if let Err(problem) = stand_in.save() {
            tracing::warn!("{problem:#}");
        }
    }
    shared.log.flush();
}
