//! The SSH side: who may log in, and the SFTP subsystem for those who did.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};

use super::Connections;
use super::faults::Shared;
use super::files::Files;
use super::jail::Jail;

/// Who may log in.
pub(super) struct Login {
    user: String,
    password: Option<String>,
    keys: Vec<KeyData>,
}

impl Login {
    pub fn new(user: String, password: Option<String>, authorized_keys: &[String]) -> anyhow::Result<Login> {
        let mut keys = Vec::with_capacity(authorized_keys.len());
        for line in authorized_keys {
            let key = PublicKey::from_openssh(line).with_context(|| format!("not a public key as OpenSSH writes it: {line}"))?;
            keys.push(key.key_data().clone());
        }
        Ok(Login { user, password, keys })
    }

    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    fn knows(&self, user: &str, key: &PublicKey) -> Auth {
        if user == self.user && self.keys.contains(key.key_data()) { Auth::Accept } else { Auth::reject() }
    }
}

/// What all connections share.
#[derive(Clone)]
pub(super) struct Server {
    pub jail: Jail,
    pub login: Arc<Login>,
    pub shared: Shared,
    pub connections: Arc<Connections>,
}

impl Server {
    async fn hesitate(&self) {
        let latency = self.shared.lock().faults.login_latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }
}

/// Accepts connections until the listener fails.
pub(super) async fn accept(listener: std::net::TcpListener, config: Arc<Config>, server: Server) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        let socket = socket.into_std()?;
        // A second handle on the socket: shutting it down is the one way to end a connection without the goodbye that russh would send.
        let id = server.connections.add(socket.try_clone()?);
        socket.set_nodelay(true)?;
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let (config, server) = (config.clone(), server.clone());
        tokio::spawn(async move {
            let session = SshSession { server: server.clone(), id, channels: HashMap::new() };
            let ended = match russh::server::run_stream(config, socket, session).await {
                Ok(running) => running.await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::debug!("connection {id} of the demonstration's SFTP server ended: {error:#}");
            }
            server.connections.cut(id);
        });
    }
}

struct SshSession {
    server: Server,
    id: u64,
    /// Opened, and not yet used for anything.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for SshSession {
    type Error = anyhow::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> anyhow::Result<Auth> {
        self.server.hesitate().await;
        let login = &self.server.login;
        Ok(if user == login.user && login.password.as_deref() == Some(password) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> anyhow::Result<Auth> {
        Ok(self.server.login.knows(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> anyhow::Result<Auth> {
        self.server.hesitate().await;
        Ok(self.server.login.knows(user, key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> anyhow::Result<()> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> anyhow::Result<()> {
        session.close(channel)?;
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> anyhow::Result<()> {
        session.channel_failure(channel)?;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, _command: &[u8], session: &mut Session) -> anyhow::Result<()> {
        session.channel_failure(channel)?;
        Ok(())
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut Session) -> anyhow::Result<()> {
        match self.channels.remove(&channel) {
            Some(opened) if name == "sftp" => {
                session.channel_success(channel)?;
                russh_sftp::server::run(opened.into_stream(), Files::new(&self.server, self.id)).await;
            }
            _ => session.channel_failure(channel)?,
        }
        Ok(())
    }
}
