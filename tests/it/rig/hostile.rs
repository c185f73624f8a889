//! A harbour whose SFTP server is our own, and does wrong whatever it is told to.

use std::ops::Deref;

use passferry::demo::server::{Failure, Kind, ServerFaults, ServerSettings, SftpServer, StatusCode, generate_client_key};

use super::harbour::{Harbour, Plan};
use super::proxy::TcpProxy;

/// A harbour with the hostile server in place of OpenSSH, over the same files and behind a proxy of its own.
pub struct Hostile {
    harbour: Harbour,
    pub server: SftpServer,
    pub proxy: TcpProxy,
}

impl Deref for Hostile {
    type Target = Harbour;

    fn deref(&self) -> &Harbour {
        &self.harbour
    }
}

impl Plan {
    /// Starts the harbour before the hostile server.
    pub fn hostile(self) -> Hostile {
        let harbour = self.start();
        let key = harbour.home.path().join("hostile-key");
        let settings = ServerSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            user: "acme".to_owned(),
            password: None,
            authorized_keys: vec![generate_client_key(&key).unwrap()],
            faults: ServerFaults::default(),
        };
        let server = SftpServer::start(&harbour.root, settings).unwrap();
        let proxy = TcpProxy::start(server.address().port());
        let old_key = harbour.sshd.client_key("ed25519");
        harbour.change_config(|text| {
            text.replace(&format!("port = {}\n", harbour.proxy.port()), &format!("port = {}\n", proxy.port()))
                .replace(&format!("user = {:?}\n", harbour.sshd.user), "user = \"acme\"\n")
                .replace(old_key.to_str().unwrap(), key.to_str().unwrap())
                .replace(&harbour.sshd.fingerprint("ed25519"), &server.fingerprint())
        });
        Hostile { harbour, server, proxy }
    }
}

impl Hostile {
    /// Operations of this kind fail so, from now on.
    pub fn fail(&self, kind: Kind, status: StatusCode) {
        self.server.faults().failures.push(Failure { kind, after: 0, times: u64::MAX, status });
    }

    /// The server does nothing wrong any more.
    pub fn behave(&self) {
        *self.server.faults() = ServerFaults::default();
    }
}

/// Short deadlines for the source, as keys of its section.
pub fn impatient(text: &str) -> String {
    text.replace("kind = \"sftp\"\n", "kind = \"sftp\"\nconnect_timeout = \"2s\"\nlogin_timeout = \"2s\"\nidle_timeout = \"2s\"\n")
}
