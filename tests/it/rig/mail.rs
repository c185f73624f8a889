//! A real mail server, and what it took.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

pub const USER: &str = "ferry";
/// Planted; must never be seen again.
pub const PASSWORD: &str = "planted-mail-password-2Kd7";

pub struct MailServer {
    folder: tempfile::TempDir,
    server: Child,
    pub port: u16,
    pub tls_port: u16,
}

impl MailServer {
    pub fn start() -> MailServer {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail.test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"])
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("these tests need openssl").success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/rig/smtp.py");
        // Debian's own, which its packages are for; another may come first on the path.
        let python = ["/usr/bin/python3", "python3"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("python3");
        let mut server = Command::new(python)
            .arg(script)
            .arg(folder.path())
            .args([&certificate, &key])
            .args([USER, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse().unwrap());
        let (port, tls_port) = (ports.next(), ports.next());
        let need = "these tests need aiosmtpd: apt-get install python3-aiosmtpd";
        MailServer { port: port.expect(need), tls_port: tls_port.expect(need), folder, server }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Times that somebody tried to log in.
    pub fn logins(&self) -> u64 {
        fs::metadata(self.folder.path().join("logins")).map_or(0, |meta| meta.len())
    }

    /// The next message is put off.
    pub fn be_busy(&self) {
        fs::write(self.folder.path().join("busy"), "").unwrap();
    }

    pub fn is_busy(&self) -> bool {
        self.folder.path().join("busy").exists()
    }

    /// Messages taken so far, in order.
    pub fn taken(&self) -> Vec<Value> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
        names.sort();
        names.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
