//! From settings to a session that is connected, trusted and logged in.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libssh2_sys as raw;
use secrecy::{ExposeSecret, SecretString};
use socket2::{SockRef, TcpKeepalive};
use ssh2::{ErrorCode, MethodType, Session};

use super::error::{Phase, from_ssh2};
use super::host_key::{KINDS, Trust, Verdict};
use super::known_hosts::blob_kind;
use super::login::Credentials;
use super::offers::{self, Offer};
use super::{Line, Pace, SftpSource};
use crate::config::meant::{Login, Sftp};
use crate::source::{Connect, Result, Source, SourceError};

/// Time between keepalive probes of TCP once the first stays without an answer.
const TCP_PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Ciphers, fastest first in libssh2 (bundled 1.11.2-dev with OpenSSL 3.0 on a machine with AES-NI; loopback, 256 MiB, better of two):
/// chacha20 152 MB/s, aes128-ctr 126, aes128-gcm 115, aes256-gcm 95. OpenSSH's own client is the other way round.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes192-ctr";

/// Opens connections to one SFTP server. Keep one for each server: it remembers when it last connected, and which of the server's keys is
/// the trusted one. A first connection may open several sockets, as each type of host key has to be asked for on its own; the least time
/// between connections counts from one `connect` to the next, whether it succeeded or not.
pub struct SftpConnect {
    settings: Sftp,
    memory: Mutex<Memory>,
}

/// What one connection teaches the next.
#[derive(Default)]
struct Memory {
    last: Option<Instant>,
    /// The key type that was trusted, offered first from then on.
    kind: Option<&'static str>,
}

impl SftpConnect {
    pub fn new(settings: &Sftp) -> SftpConnect {
        SftpConnect { settings: settings.clone(), memory: Mutex::default() }
    }

    /// Keeps the least time between connections that the settings ask for.
    fn admit(&self) -> Result<()> {
        let mut memory = self.memory();
        let now = Instant::now();
        if let Some(next) = memory.last.map(|last| last + self.settings.reconnect_min).filter(|next| *next > now) {
            let rest = Duration::from_secs((next - now).as_secs() + 1);
            return Err(SourceError::Unreachable(format!(
                "connections are at least {} apart; next attempt in {}",
                humantime::format_duration(self.settings.reconnect_min),
                humantime::format_duration(rest)
            )));
        }
        memory.last = Some(now);
        Ok(())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Key exchange with a server whose key is trusted. When the server's favourite key is not, its other keys are asked for, each over a
    /// new connection, as a pin does not say its type; nothing is sent beyond the key exchange.
    fn trusted(&self, trust: &Trust, deadline: Deadline) -> Result<Line> {
        let mut kinds = trust.first_kinds();
        if let Some(position) = self.memory().kind.and_then(|kind| kinds.iter().position(|other| *other == kind)) {
            kinds[..=position].rotate_right(1);
        }
        let mut seen: Vec<(Vec<u8>, Verdict)> = Vec::new();
        loop {
            let line = Line::open(dial(&self.settings)?)?;
            match key_exchange(&line.session, &kinds, deadline) {
                Ok(()) => {}
                Err(error) => {
                    drop(line);
                    self.only_host_keys_differ(&kinds, error, deadline)?;
                    if !seen.is_empty() {
                        return Err(trust.refusal(&seen));
                    }
                    // The server has no key of a type that is known: ask for any, to show in the refusal what it has.
                    kinds = KINDS.to_vec();
                    continue;
                }
            }
            let Some(blob) = line.session.host_key().map(|(blob, _)| blob.to_vec()) else {
                return Err(SourceError::HostKey("the server presented no host key".to_owned()));
            };
            let verdict = trust.judge(&blob);
            let kind = KINDS.into_iter().find(|kind| blob_kind(&blob) == Some(kind));
            if verdict == Verdict::Trusted {
                self.memory().kind = kind;
                return Ok(line);
            }
            seen.push((blob, verdict.clone()));
            kinds.retain(|other| Some(*other) != kind);
            if verdict != Verdict::Differs || !trust.may_be_another_kind() || kind.is_none() || kinds.is_empty() {
                return Err(trust.refusal(&seen));
            }
        }
    }
}

impl SftpConnect {
    /// Succeeds when a key exchange failed for want of a host key of these types alone, so that it may succeed for others. Asks the server
    /// for its lists where libssh2 does not say why it failed.
    fn only_host_keys_differ(&self, kinds: &[&str], error: Exchange, deadline: Deadline) -> Result<()> {
        if let Exchange::Fault(error) = error {
            return Err(error);
        }
        let stream = dial(&self.settings)?;
        let left = deadline.left()?;
        let limited = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        let theirs = limited.and_then(|()| offers::ask(&stream)).map_err(broken_exchange)?;
        let session = Session::new().map_err(|e| SourceError::Other(e.to_string()))?;
        let missing = not_shared(theirs, our_offers(&session, kinds));
        match &missing[..] {
            [] => Err(broken_exchange("the server closed it")),
            [("host key", ..)] if kinds.len() < KINDS.len() => Ok(()),
            _ => {
                let lines = missing.iter().map(|(label, theirs, ours)| {
                    format!("\n  {label}: it offers {}; this program offers {}", theirs.join(", "), ours.join(", "))
                });
                Err(SourceError::Other(format!(
                    "the server and this program share no algorithm:{}\nA server that knows only SHA-1 (ssh-rsa, group14-sha1, hmac-sha1) must be updated.",
                    lines.collect::<String>()
                )))
            }
        }
    }
}

impl Connect for SftpConnect {
    fn connect(&self) -> Result<Box<dyn Source>> {
        let trust = Trust::load(&self.settings)?;
        let credentials = Credentials::load(&self.settings.login)?;
        self.admit()?;
        let deadline = Deadline::after("login", self.settings.login_timeout);
        let line = self.trusted(&trust, deadline)?;
        credentials.log_in(&line.session, &self.settings.user, deadline)?;
        deadline.apply(&line.session)?;
        let sftp = line.session.sftp().map_err(|error| match from_ssh2(&error, deadline.phase, "SFTP") {
            error @ SourceError::Timeout { .. } => error,
            error => SourceError::Unreachable(format!(
                "the login succeeded, but no SFTP session opens ({error}); is SFTP allowed for this user?"
            )),
        })?;
        line.session.set_timeout(millis(self.settings.idle_timeout));
        Ok(Box::new(SftpSource::new(line, sftp, &self.settings, Pace::new(self.settings.speed_span, self.settings.speed_min))))
    }

    fn login_digest(&self, salt: &[u8]) -> Option<String> {
        let settings = &self.settings;
        let who = format!("{}\0{}\0{}\0", settings.host, settings.port, settings.user);
        let secret = match &settings.login {
            Login::Key { key, .. } => key.with(str::to_owned).ok()?,
            Login::Password(password) => password.with(str::to_owned).ok()?,
            Login::Agent => String::new(),
        };
        slow_digest(SecretString::from(who + &secret).expose_secret(), salt)
    }
}

/// A digest that takes its time: a password must not be found by trying out words.
fn slow_digest(text: &str, salt: &[u8]) -> Option<String> {
    const ROUNDS: usize = 50_000;
    let mut digest = [0; 32];
    openssl::pkcs5::pbkdf2_hmac(text.as_bytes(), salt, ROUNDS, openssl::hash::MessageDigest::sha256(), &mut digest).ok()?;
    Some(openssl::base64::encode_block(&digest))
}

/// The end of a phase, shared by its steps.
#[derive(Clone, Copy)]
pub struct Deadline {
    pub phase: Phase,
    end: Instant,
}

impl Deadline {
    pub fn after(name: &'static str, limit: Duration) -> Deadline {
        Deadline { phase: Phase { name, limit }, end: Instant::now() + limit }
    }

    /// Gives the next call of a session what is left. Fails when nothing is.
    pub fn apply(&self, session: &Session) -> Result<()> {
        session.set_timeout(millis(self.left()?));
        Ok(())
    }

    fn left(&self) -> Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SourceError::Timeout { phase: self.phase.name, limit: self.phase.limit });
        }
        Ok(left)
    }
}

/// libssh2 takes 0 for "no limit", so the least is 1 ms.
pub fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Connects within the deadline, over all addresses of the name. Each gets an equal share of the time that is left, so that an address
/// family that swallows packets does not use up all of it.
fn dial(settings: &Sftp) -> Result<TcpStream> {
    let end = Instant::now() + settings.connect_timeout;
    let addresses = resolve(settings)?;
    let mut faults = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - index).unwrap_or(1);
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => {
                let keepalive = TcpKeepalive::new().with_time(settings.keepalive).with_interval(TCP_PROBE_INTERVAL);
                let tuned = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
                tuned.map_err(|e| SourceError::Unreachable(format!("{address}: {e}")))?;
                return Ok(stream);
            }
            Err(error) => faults.push((address, error)),
        }
    }
    if faults.iter().all(|(_, error)| error.kind() == std::io::ErrorKind::TimedOut) {
        return Err(SourceError::Timeout { phase: "connect", limit: settings.connect_timeout });
    }
    let faults: Vec<String> = faults.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    Err(SourceError::Unreachable(format!("{} ({})", settings.host, faults.join("; "))))
}

/// Looks the name up. The system's resolver knows no deadline, so it runs on a thread that is left behind when it is late.
fn resolve(settings: &Sftp) -> Result<Vec<SocketAddr>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (host, port) = (settings.host.clone(), settings.port);
    let spawned = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let _ = sender.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    spawned.map_err(SourceError::Local)?;
    match receiver.recv_timeout(settings.connect_timeout) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(SourceError::Unreachable(format!("{} has no address", settings.host))),
        Ok(Err(error)) => Err(SourceError::Unreachable(format!("cannot look up {}: {error}", settings.host))),
        Err(_) => Err(SourceError::Timeout { phase: "name lookup", limit: settings.connect_timeout }),
    }
}

enum Exchange {
    /// No algorithm in common, or a connection that broke while the server's lists were awaited.
    Unclear,
    Fault(SourceError),
}

fn key_exchange(session: &Session, kinds: &[&str], deadline: Deadline) -> std::result::Result<(), Exchange> {
    deadline.apply(session).map_err(Exchange::Fault)?;
    prefer(session, MethodType::HostKey, &host_key_algorithms(session, kinds));
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        prefer(session, direction, &supported(session, direction, CIPHERS.split(',')));
    }
    // `handshake` wants the session alone; a clone is the same session.
    session.clone().handshake().map_err(|error| match error.code() {
        ErrorCode::Session(raw::LIBSSH2_ERROR_KEX_FAILURE) => Exchange::Unclear,
        _ => Exchange::Fault(match from_ssh2(&error, deadline.phase, "with the server") {
            SourceError::Unreachable(_) => broken_exchange(error.message()),
            other => other,
        }),
    })
}

fn broken_exchange(cause: impl std::fmt::Display) -> SourceError {
    SourceError::Unreachable(format!("the connection broke during the key exchange: {cause}"))
}

/// An RSA key signs in several ways, of which only the SHA-2 ones are safe (RFC 8332).
fn host_key_algorithms(session: &Session, kinds: &[&str]) -> Vec<String> {
    let names = kinds.iter().flat_map(|kind| match *kind {
        "ssh-rsa" => vec!["rsa-sha2-512", "rsa-sha2-256"],
        kind => vec![kind],
    });
    supported(session, MethodType::HostKey, names)
}

fn supported<'a>(session: &Session, method: MethodType, wanted: impl Iterator<Item = &'a str>) -> Vec<String> {
    let all = session.supported_algs(method).unwrap_or_default();
    wanted.filter(|name| all.contains(name)).map(str::to_owned).collect()
}

fn prefer(session: &Session, method: MethodType, names: &[String]) {
    if let Err(error) = session.method_pref(method, &names.join(",")) {
        tracing::warn!(%error, ?names, "the order of algorithms cannot be set");
    }
}

/// What we offer, in the order of the server's lists. Certificates are left out, as they are never asked for.
fn our_offers(session: &Session, kinds: &[&str]) -> [Vec<String>; 6] {
    let all = |method| session.supported_algs(method).unwrap_or_default().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let ciphers = |method| supported(session, method, CIPHERS.split(','));
    [
        all(MethodType::Kex),
        host_key_algorithms(session, kinds),
        ciphers(MethodType::CryptCs),
        ciphers(MethodType::CryptSc),
        all(MethodType::MacCs),
        all(MethodType::MacSc),
    ]
}

/// The lists that have nothing in common: label, theirs, ours.
fn not_shared(theirs: Vec<Offer>, ours: [Vec<String>; 6]) -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    theirs
        .into_iter()
        .zip(ours)
        .map(|((label, theirs), ours)| (label, theirs, ours))
        .filter(|(_, theirs, ours)| !theirs.iter().any(|name| ours.contains(name)))
        .collect()
}
