//! An SFTP server in this process: real SSH over a socket, one folder of this machine, one user, and faults on demand.
//!
//! It stands in for the server of a warehouse or a marketing tool in the demonstration and in tests. It serves whoever holds the
//! password or a listed key, and is meant for loopback.

mod faults;
mod files;
mod jail;
mod session;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::{MethodKind, Preferred, cipher};
use tokio::sync::oneshot;

pub use self::faults::{Change, Disturbance, Failure, Growing, Invented, Kind, ServerFaults, StatusCode};
use self::faults::{Shared, State};
use self::jail::Jail;

/// Offered to clients, whose own order decides. AES-GCM is the fastest wherever the processor knows AES.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];

/// Whom to let in, and where.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Port 0 takes any free one; [`SftpServer::address`] says which.
    pub listen: SocketAddr,
    pub user: String,
    /// None: no login by password.
    pub password: Option<String>,
    /// Public keys as OpenSSH writes them, one a line: `ssh-ed25519 AAAA… comment`.
    pub authorized_keys: Vec<String>,
    pub faults: ServerFaults,
}

/// A running server. Dropping it ends all its connections and frees its port.
pub struct SftpServer {
    address: SocketAddr,
    host_key: PublicKey,
    shared: Shared,
    connections: Arc<Connections>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The sockets that are open, so that they can be cut without a word.
#[derive(Default)]
pub(crate) struct Connections {
    accepted: AtomicU64,
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

impl SftpServer {
    /// Serves a folder under a host key made for this occasion. Fails when the folder does not exist, a key cannot be read or the address is taken.
    pub fn start(root: &Path, settings: ServerSettings) -> anyhow::Result<SftpServer> {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).context("cannot make a host key")?;
        SftpServer::serve(root, settings, key)
    }

    /// Serves a folder under the host key in a file, which is made if it does not exist: a restarted server is then still the same to its clients.
    pub fn start_with_host_key(root: &Path, settings: ServerSettings, key: &Path) -> anyhow::Result<SftpServer> {
        if !key.exists() {
            generate_client_key(key)?;
        }
        let key = PrivateKey::read_openssh_file(key).with_context(|| format!("cannot read the host key {}", key.display()))?;
        SftpServer::serve(root, settings, key)
    }

    fn serve(root: &Path, settings: ServerSettings, key: PrivateKey) -> anyhow::Result<SftpServer> {
        let jail = Jail::new(root).with_context(|| format!("cannot serve the folder {}", root.display()))?;
        let host_key = key.public_key().clone();
        let shared = Shared::new(settings.faults);
        let connections = Arc::new(Connections::default());
        let login = Arc::new(session::Login::new(settings.user, settings.password, &settings.authorized_keys)?);
        let config = Arc::new(config(&login, key));

        let listener = std::net::TcpListener::bind(settings.listen).with_context(|| format!("cannot listen on {}", settings.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("demo-sftp").enable_all().build()?;
        let (stop, stopped) = oneshot::channel();

        let accept =
            session::accept(listener, config, session::Server { jail, login, shared: shared.clone(), connections: connections.clone() });
        let thread = std::thread::Builder::new().name("demo-sftp".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = accept => if let Err(error) = result { tracing::error!("the demonstration's SFTP server stopped: {error}") },
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
        })?;
        Ok(SftpServer { address, host_key, shared, connections, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host key's fingerprint as OpenSSH shows it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.host_key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The host key as a line of `known_hosts`, without a line end.
    pub fn host_key_line(&self) -> String {
        format!("[{}]:{} {}", self.address.ip(), self.address.port(), openssh_line(&self.host_key))
    }

    /// The faults in force, to be read or changed. Operations wait while the guard is held.
    pub fn faults(&self) -> impl DerefMut<Target = ServerFaults> + '_ {
        FaultsGuard(self.shared.lock())
    }

    /// How many operations of the kind were asked for since the start, over all connections.
    pub fn operations(&self, kind: Kind) -> u64 {
        self.shared.lock().counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> u64 {
        self.connections.accepted.load(Ordering::Relaxed)
    }

    /// Cuts every open connection without a word, as a failing network does. New ones are accepted.
    pub fn cut_connections(&self) {
        self.connections.cut_all();
    }
}

impl Drop for SftpServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone when the server ended by itself.
            let _ = stop.send(());
        }
        self.connections.cut_all();
        if let Some(thread) = self.thread.take() {
            // A panic in there was shown when it happened; nothing is left to do about it here.
            let _ = thread.join();
        }
    }
}

struct FaultsGuard<'a>(MutexGuard<'a, State>);

impl Deref for FaultsGuard<'_> {
    type Target = ServerFaults;

    fn deref(&self) -> &ServerFaults {
        &self.0.faults
    }
}

impl DerefMut for FaultsGuard<'_> {
    fn deref_mut(&mut self) -> &mut ServerFaults {
        &mut self.0.faults
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, socket: TcpStream) -> u64 {
        let id = self.accepted.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, socket);
        id
    }

    fn cut(&self, id: u64) {
        if let Some(socket) = self.lock().remove(&id) {
            // Fails only when the other side was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn cut_all(&self) {
        let open: Vec<u64> = self.lock().keys().copied().collect();
        for id in open {
            self.cut(id);
        }
    }
}

fn config(login: &session::Login, key: PrivateKey) -> russh::server::Config {
    let mut methods = vec![MethodKind::PublicKey];
    if login.has_password() {
        methods.push(MethodKind::Password);
    }
    russh::server::Config {
        methods: methods.as_slice().into(),
        keys: vec![key],
        // Long enough to hide which part of a login was wrong, short enough for a demonstration.
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        // Uploads are bound by window / round-trip time.
        window_size: 16 << 20,
        maximum_packet_size: 65_535,
        preferred: Preferred { cipher: Cow::Borrowed(CIPHERS), ..Preferred::DEFAULT },
        inactivity_timeout: None,
        nodelay: true,
        ..russh::server::Config::default()
    }
}

/// Makes an ed25519 key pair for a client: the private key in a new file that only its owner may read, in OpenSSH's format and
/// without a passphrase. Returns the public key's line. Fails when the file exists.
pub fn generate_client_key(path: &Path) -> anyhow::Result<String> {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).context("cannot make a key")?;
    let text = key.to_openssh(LineEnding::LF).context("cannot write a key")?;
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write the key {}", path.display()))?;
    Ok(openssh_line(key.public_key()))
}

fn openssh_line(key: &PublicKey) -> String {
    // Only keys made or parsed here get this far; writing one back as text cannot fail.
    key.to_openssh().map(|line| line.trim_end().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
