//! Sources.

use std::str::FromStr;
use std::time::Duration;

use super::{Check, Key};
use crate::config::meant::{Login, Sftp, Source, SourceKind, Wake};
use crate::config::value::quoted;
use crate::config::written;

/// Would a path mean the same file at both?
pub(super) fn same_place(a: &Source, b: &Source) -> bool {
    match (&a.kind, &b.kind) {
        (SourceKind::Sftp(a), SourceKind::Sftp(b)) => a.host.eq_ignore_ascii_case(&b.host) && a.port == b.port && a.user == b.user,
        (SourceKind::Folder { path: a }, SourceKind::Folder { path: b }) => a.components().eq(b.components()),
        _ => false,
    }
}

impl Check<'_> {
    pub(super) fn source(&mut self, key: &Key, name: &str, source: &written::Source) -> Option<Source> {
        let wake = self.wake(key, source);
        let kind = self.required(&key.child("kind"), source.kind.as_ref(), "kind = \"sftp\" or kind = \"folder\"")?;
        let kind = match kind {
            written::SourceKind::Sftp => {
                if source.path.is_some() {
                    self.fault(&key.child("path"), "is a key of folder sources; the folder of an SFTP server is the feed's inbox".into());
                }
                SourceKind::Sftp(Box::new(self.sftp(key, source)?))
            }
            written::SourceKind::Folder => {
                for present in server_keys(source) {
                    self.fault(&key.child(present), "is a key of sftp sources; remove it, or write kind = \"sftp\"".into());
                }
                let path = self.required(&key.child("path"), source.path.as_ref(), "path = \"/srv/exports\"")?;
                SourceKind::Folder { path: self.path(&key.child("path"), &path) }
            }
        };
        Some(Source { name: name.to_owned(), kind, wake })
    }

    fn wake(&mut self, key: &Key, source: &written::Source) -> Wake {
        let timezone = self.timezone(&key.child("timezone"), source.timezone.as_ref());
        let every = self.span(&key.child("poll"), source.poll.as_ref(), Duration::from_mins(1), Duration::from_secs(1));
        let Some(cron) = &source.schedule else {
            if source.timezone.is_some() && !self.document.pruned(&key.child("schedule")) {
                self.fault(&key.child("timezone"), "belongs to a schedule; write one, or remove it".into());
            }
            return Wake::Every(every);
        };
        let schedule = key.child("schedule");
        if source.poll.is_some() {
            self.fault(&schedule, "stands beside poll; keep one of them".into());
        }
        if cron.split_whitespace().count() != 5 {
            let message =
                format!("{} is not a schedule of five fields (minute hour day month weekday); write such as \"15 2 * * *\"", quoted(cron));
            self.fault(&schedule, message);
        } else if let Err(error) = croner::Cron::from_str(cron) {
            self.fault(&schedule, format!("{} is not a schedule ({error}); write such as \"15 2 * * *\"", quoted(cron)));
        }
        Wake::Schedule { cron: cron.clone(), timezone }
    }

    fn sftp(&mut self, key: &Key, source: &written::Source) -> Option<Sftp> {
        let host = self.required(&key.child("host"), source.host.as_ref(), "host = \"sftp.example.com\"");
        if let Some(host) = &host
            && (host.is_empty() || host.contains(['/', '@', ' ']) || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err()))
        {
            let message = "is not a host; write the server's name or address alone (port, user and password have keys of their own)";
            self.fault(&key.child("host"), message.into());
        }
        if source.port == Some(0) {
            self.fault(&key.child("port"), "0 is no port; write 22 or the server's own".into());
        }
        let user = self.required(&key.child("user"), source.user.as_ref(), "user = \"LOGIN\"");
        if user.as_deref() == Some("") {
            self.fault(&key.child("user"), "is empty; write the login name".into());
        }
        let login = self.login(key, source);
        let host_keys = self.pins(key, source);
        let known_hosts = source.known_hosts.as_ref().map(|path| self.path(&key.child("known_hosts"), path));
        let mut span = |name: &str, text: &Option<written::Span>, seconds, min| {
            self.span(&key.child(name), text.as_ref(), Duration::from_secs(seconds), Duration::from_secs(min))
        };
        let connect_timeout = span("connect_timeout", &source.connect_timeout, 10, 1);
        let login_timeout = span("login_timeout", &source.login_timeout, 20, 1);
        let idle_timeout = span("idle_timeout", &source.idle_timeout, 30, 1);
        let speed_span = span("speed_span", &source.speed_span, 60, 1);
        let keepalive = span("keepalive", &source.keepalive, 30, 1);
        let reconnect_min = span("reconnect_min", &source.reconnect_min, 0, 0);
        let buffer = self.size(&key.child("buffer"), source.buffer.as_ref(), 4 << 20);
        if !(32 << 10..=64 << 20).contains(&buffer) {
            self.fault(&key.child("buffer"), "is out of range; write between \"32KiB\" and \"64MiB\"".into());
        }
        let speed_min = self.size(&key.child("speed_min"), source.speed_min.as_ref(), 1 << 10);
        Some(Sftp {
            host: host?,
            port: source.port.unwrap_or(22),
            user: user?,
            login: login?,
            host_keys,
            known_hosts,
            connect_timeout,
            login_timeout,
            idle_timeout,
            speed_min,
            speed_span,
            keepalive,
            reconnect_min,
            buffer: usize::try_from(buffer).ok()?,
        })
    }

    fn login(&mut self, key: &Key, source: &written::Source) -> Option<Login> {
        let private = source.key.as_ref().and_then(|place| self.secret(&key.child("key"), place));
        let passphrase = source.passphrase.as_ref().and_then(|place| self.secret(&key.child("passphrase"), place));
        let password = source.password.as_ref().and_then(|place| self.secret(&key.child("password"), place));
        let agent = source.agent == Some(true);
        if source.passphrase.is_some() && source.key.is_none() && !self.document.pruned(&key.child("key")) {
            self.fault(&key.child("passphrase"), "belongs to a key; write key = { file = \"PATH\" }, or remove it".into());
        }
        match (source.key.is_some(), source.password.is_some(), agent) {
            (true, false, false) => Some(Login::Key { key: private?, passphrase }),
            (false, true, false) => Some(Login::Password(password?)),
            (false, false, true) => Some(Login::Agent),
            (false, false, false) => {
                if !["key", "password", "agent"].iter().any(|name| self.document.pruned(&key.child(name))) {
                    self.fault(key, "has no login; write key = { file = \"PATH\" }, password = { env = \"NAME\" } or agent = true".into());
                }
                None
            }
            _ => {
                self.fault(key, "has several logins; keep one of key, password and agent".into());
                None
            }
        }
    }

    fn pins(&mut self, key: &Key, source: &written::Source) -> Vec<String> {
        let here = key.child("host_key");
        let pins = match &source.host_key {
            None => {
                if source.known_hosts.is_none() && !self.document.pruned(&here) && !self.document.pruned(&key.child("known_hosts")) {
                    self.fault(&here, "is missing; a server is never trusted unseen: write host_key = \"SHA256:…\" (ssh-keyscan HOST | ssh-keygen -lf - shows it) or known_hosts = \"PATH\"".into());
                }
                return Vec::new();
            }
            Some(written::OneOrMany::One(pin)) => vec![pin.clone()],
            Some(written::OneOrMany::Many(pins)) => pins.clone(),
        };
        if pins.is_empty() {
            self.fault(&here, "is an empty list; write at least one \"SHA256:…\"".into());
        }
        for pin in &pins {
            let digest = pin.strip_prefix("SHA256:").unwrap_or("").trim_end_matches('=');
            if digest.len() != 43 || !digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/') {
                let message =
                    format!("{} is not a fingerprint; write \"SHA256:\" and 43 characters, as ssh-keygen -lf shows it", quoted(pin));
                self.fault(&here, message);
            }
        }
        pins
    }
}

/// The keys that are there and only make sense for a server.
fn server_keys(source: &written::Source) -> Vec<&'static str> {
    let present = [
        ("host", source.host.is_some()),
        ("port", source.port.is_some()),
        ("user", source.user.is_some()),
        ("key", source.key.is_some()),
        ("passphrase", source.passphrase.is_some()),
        ("password", source.password.is_some()),
        ("agent", source.agent.is_some()),
        ("host_key", source.host_key.is_some()),
        ("known_hosts", source.known_hosts.is_some()),
        ("connect_timeout", source.connect_timeout.is_some()),
        ("login_timeout", source.login_timeout.is_some()),
        ("idle_timeout", source.idle_timeout.is_some()),
        ("speed_min", source.speed_min.is_some()),
        ("speed_span", source.speed_span.is_some()),
        ("keepalive", source.keepalive.is_some()),
        ("reconnect_min", source.reconnect_min.is_some()),
        ("buffer", source.buffer.is_some()),
    ];
    present.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}
