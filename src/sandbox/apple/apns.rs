//! The push service as its owner sees it: which devices there are, what becomes of pushes, and what came in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use openssl::pkey::{PKey, Public};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::certificates::Certificates;
use super::provider::Tokens;
use super::server;

/// Whom the service takes pushes from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Loopback; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The pass type identifiers it knows.
    pub topics: Vec<String>,
    pub team: String,
    /// The id of the key that provider tokens are signed with.
    pub key_id: String,
    /// How often a provider token may be renewed (contract section 7).
    pub token_renewal: Duration,
    /// Streams a client may have open at a time.
    pub streams: u32,
    /// Take pushes to devices it was not told of.
    pub any_device: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            topics: vec!["pass.com.example.loyalty".to_owned()],
            team: "ABCDE12345".to_owned(),
            key_id: "SANDBOXKEY".to_owned(),
            token_renewal: Duration::from_mins(20),
            streams: 1000,
            any_device: false,
        }
    }
}

/// What becomes of pushes to one device (contract section 13, rule 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fate {
    #[default]
    Healthy,
    BadDeviceToken,
    DeviceTokenNotForTopic,
    /// 410: the pass was not there any more at this time, in milliseconds since 1970.
    Unregistered {
        timestamp: i64,
    },
    /// 410, likewise.
    ExpiredToken {
        timestamp: i64,
    },
    /// 429 from so manieth push within a window on; the first is 1.
    TooMany {
        nth: usize,
        window_ms: u64,
    },
    InternalServerError,
    /// 503 and a GOAWAY frame: the connection takes nothing more.
    Shutdown,
    /// Any other refusal.
    Refuse {
        status: u16,
        reason: String,
    },
    /// The stream is never answered, the connection goes on.
    Stalled,
    /// The connection is closed without an answer, and nothing came of the push.
    DropBefore,
    /// The connection is closed without an answer, and the push is on its way.
    DropAfter,
}

/// How a push proved whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Certificate,
    Token,
    Nothing,
}

/// One request, in order of arrival.
#[derive(Clone, Debug, Serialize)]
pub struct Push {
    /// From 0, in order of arrival.
    pub sequence: u64,
    /// Arrival, in milliseconds after the start.
    pub at_ms: u64,
    /// From 0; pushes on one connection have the same.
    pub connection: u64,
    pub method: String,
    pub path: String,
    /// The device's.
    pub token: String,
    pub topic: String,
    pub push_type: String,
    pub priority: String,
    /// The `apns-id` that was answered.
    pub id: String,
    pub body: String,
    pub by: By,
    /// Absent while unanswered and when the connection was closed instead.
    pub status: Option<u16>,
    pub reason: Option<String>,
    /// Whether the device hears of it.
    pub accepted: bool,
}

/// A running service. It stops when this is dropped.
pub struct Apns {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub settings: Settings,
    pub token_key: PKey<Public>,
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
}

#[derive(Default)]
pub(super) struct State {
    devices: BTreeMap<String, Device>,
    pushes: Vec<Push>,
    pub provider: Tokens,
    pub down: bool,
    /// Added to the clock, in seconds.
    pub skew: i64,
    connections: u64,
}

#[derive(Default)]
struct Device {
    topics: BTreeSet<String>,
    fate: Fate,
    /// Before the fate: these, so often.
    next: Vec<(Fate, u64)>,
    /// Arrivals that were not refused for their number.
    arrivals: Vec<Instant>,
}

impl Apns {
    /// Listens. Fails when it cannot, or when the address is not on loopback.
    pub fn start(settings: Settings, certificates: &Certificates) -> anyhow::Result<Apns> {
        let listen = settings.listen;
        anyhow::ensure!(listen.ip().is_loopback(), "the push service listens on loopback only, not on {listen}");
        let listener = std::net::TcpListener::bind(listen).with_context(|| format!("the push service cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let acceptor = server::acceptor(certificates)?;
        let shared = Arc::new(Shared {
            settings,
            token_key: PKey::public_key_from_der(&certificates.token_key.public_key_to_der()?)?,
            state: Mutex::default(),
            changed: Condvar::new(),
            started: Instant::now(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = {
            let shared = Arc::clone(&shared);
            let serve = move || runtime.block_on(server::serve(listener, acceptor, shared, stopped));
            std::thread::Builder::new().name("apns".to_owned()).spawn(serve)?
        };
        Ok(Apns { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://localhost:PORT`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// A new device's push token, known for these topics.
    pub fn device(&self, topics: &[&str]) -> String {
        let [high, low]: [u128; 2] = rand::rng().random();
        let token = format!("{high:032x}{low:032x}");
        self.know(&token, topics);
        token
    }

    /// From now on a push token is known for these topics too.
    pub fn know(&self, token: &str, topics: &[&str]) {
        let mut state = self.shared.lock();
        state.devices.entry(token.to_owned()).or_default().topics.extend(topics.iter().map(|topic| (*topic).to_owned()));
    }

    /// What becomes of pushes to a device, from now on.
    pub fn script(&self, token: &str, fate: Fate) {
        self.shared.lock().devices.entry(token.to_owned()).or_default().fate = fate;
    }

    /// What becomes of the next so many pushes to a device, after those already told of.
    pub fn script_next(&self, token: &str, pushes: u64, fate: Fate) {
        self.shared.lock().devices.entry(token.to_owned()).or_default().next.push((fate, pushes));
    }

    /// Connections are closed as soon as they are made; those there are stay.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().down = down;
    }

    /// Sets the service's clock so many seconds ahead.
    pub fn set_skew(&self, seconds: i64) {
        self.shared.lock().skew = seconds;
    }

    /// Every request, oldest first.
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.lock().pushes.clone()
    }

    /// The topics of those pushes that a device hears of, oldest first.
    pub fn heard(&self, token: &str) -> Vec<String> {
        let state = self.shared.lock();
        let heard = state.pushes.iter().filter(|push| push.accepted && push.token == token);
        heard.map(|push| push.topic.clone()).collect()
    }

    /// Waits until the pushes so far are as wanted; false when they are not in time.
    pub fn wait(&self, limit: Duration, mut wanted: impl FnMut(&[Push]) -> bool) -> bool {
        let state = self.shared.lock();
        let outcome = self.shared.changed.wait_timeout_while(state, limit, |state| !wanted(&state.pushes));
        !outcome.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Apns {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the push service panicked");
        }
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, on the service's clock, in seconds since 1970.
    pub fn now(&self) -> i64 {
        chrono::Utc::now().timestamp() + self.lock().skew
    }

    /// Notes a request and answers its number.
    pub fn note(&self, push: Push) -> u64 {
        let mut state = self.lock();
        let sequence = state.pushes.len() as u64;
        state.pushes.push(Push { sequence, at_ms: self.started.elapsed().as_millis() as u64, ..push });
        self.changed.notify_all();
        sequence
    }

    /// Notes what became of one.
    pub fn settle(&self, sequence: u64, status: Option<u16>, reason: Option<String>, accepted: bool) {
        let mut state = self.lock();
        if let Some(push) = state.pushes.get_mut(sequence as usize) {
            (push.status, push.reason, push.accepted) = (status, reason, accepted);
        }
        self.changed.notify_all();
    }
}

impl State {
    pub fn connection(&mut self) -> u64 {
        self.connections += 1;
        self.connections - 1
    }

    /// What becomes of a push: of a good token of another topic, or of a token nobody has, what the contract says.
    pub fn fate(&mut self, token: &str, topic: &str, any_device: bool) -> Fate {
        let Some(device) = self.devices.get_mut(token) else {
            return if any_device { Fate::Healthy } else { Fate::BadDeviceToken };
        };
        if !device.topics.contains(topic) {
            return if device.topics.is_empty() { Fate::BadDeviceToken } else { Fate::DeviceTokenNotForTopic };
        }
        let fate = match device.next.first_mut() {
            Some((fate, left)) => {
                *left = left.saturating_sub(1);
                fate.clone()
            }
            None => device.fate.clone(),
        };
        device.next.retain(|(_, left)| *left > 0);
        if let Fate::TooMany { nth, window_ms } = fate {
            device.arrivals.retain(|arrival| arrival.elapsed() < Duration::from_millis(window_ms));
            if device.arrivals.len() + 1 < nth {
                device.arrivals.push(Instant::now());
                return Fate::Healthy;
            }
        }
        fate
    }
}
