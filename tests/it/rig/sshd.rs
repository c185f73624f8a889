//! A real OpenSSH server on loopback, with keys and configuration of its own.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use passferry::config::meant::{Login, Sftp};
use passferry::secret::{Secret, SecretPlace};
use tempfile::TempDir;

/// Passphrase of the encrypted client key.
pub const PASSPHRASE: &str = "correct horse";

/// How long a server may take to greet on a loaded machine.
const START_MAX: Duration = Duration::from_secs(30);

/// Runs until dropped. Relative paths at the server start at its root.
pub struct Sshd {
    pub port: u16,
    pub user: String,
    folder: TempDir,
    child: Child,
}

/// What differs from a plain server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// SFTP requests that are answered with "permission denied": `remove`, `rename`, `opendir`, …; see `sftp-server -Q requests`.
    pub denied: Vec<&'static str>,
    /// Further lines of `sshd_config`.
    pub lines: Vec<&'static str>,
}

impl Sshd {
    /// A server that lets in the keys of [`Sshd::client_key`].
    pub fn start(root: &Path) -> Sshd {
        Sshd::with(root, &Options::default())
    }

    pub fn with(root: &Path, options: &Options) -> Sshd {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authorized_keys"), "").unwrap();
        make_host_keys(folder.path());

        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        write_config(folder.path(), port, root, options);
        let child = launch(folder.path());
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned();
        let mut server = Sshd { port, user, folder, child };
        server.wait_for_greeting();
        server
    }

    /// A private key of a client, made when it is first asked for: `ed25519`, `ecdsa`, `rsa`, `encrypted`, or `stranger`, which the server
    /// does not let in.
    pub fn client_key(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if path.exists() {
            return path;
        }
        let (kind, phrase) = match name {
            "encrypted" => ("ed25519", PASSPHRASE),
            "stranger" => ("ed25519", ""),
            kind => (kind, ""),
        };
        keygen(self.folder.path(), name, kind, phrase);
        if name != "stranger" {
            let mut authorized = fs::OpenOptions::new().append(true).open(self.folder.path().join("authorized_keys")).unwrap();
            authorized.write_all(&fs::read(path.with_extension("pub")).unwrap()).unwrap();
        }
        path
    }

    /// Makes another key the only one that is let in, and gives its place. Sessions that are open go on.
    pub fn rotate_client_key(&self) -> PathBuf {
        keygen(self.folder.path(), "rotated", "ed25519", "");
        let path = self.folder.path().join("rotated");
        fs::copy(path.with_extension("pub"), self.folder.path().join("authorized_keys")).unwrap();
        path
    }

    /// Lets a key in that was refused.
    pub fn let_in(&self, name: &str) {
        let public = fs::read(self.client_key(name).with_extension("pub")).unwrap();
        fs::OpenOptions::new().append(true).open(self.folder.path().join("authorized_keys")).unwrap().write_all(&public).unwrap();
    }

    /// `SHA256:…` of a host key: `ed25519` or `ecdsa`.
    pub fn fingerprint(&self, kind: &str) -> String {
        let output = Command::new("ssh-keygen").arg("-lf").arg(self.host_key(kind)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Type and Base64 of a host key, as they stand in `known_hosts` after the name.
    pub fn host_key_line(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.host_key(kind)).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    fn host_key(&self, kind: &str) -> PathBuf {
        self.folder.path().join(format!("host_{kind}.pub"))
    }

    /// Settings of a client that knows this server's ed25519 key and has a key that is let in.
    pub fn settings(&self) -> Sftp {
        Sftp {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: self.user.clone(),
            login: Login::Key { key: secret_file(&self.client_key("ed25519")), passphrase: None },
            host_keys: vec![self.fingerprint("ed25519")],
            known_hosts: None,
            connect_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(20),
            speed_min: 1 << 10,
            speed_span: Duration::from_mins(1),
            keepalive: Duration::from_secs(30),
            reconnect_min: Duration::ZERO,
            buffer: 4 << 20,
        }
    }

    /// Comes back on the same port with other host keys.
    pub fn renew_host_keys(&mut self) {
        self.stop();
        make_host_keys(self.folder.path());
        self.child = launch(self.folder.path());
        self.wait_for_greeting();
    }

    /// Ends the listener. Sessions that are open go on.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_for_greeting(&mut self) {
        let end = Instant::now() + START_MAX;
        loop {
            if greets(self.port) {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("sshd ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < end, "sshd does not greet: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A secret in a file.
pub fn secret_file(path: &Path) -> Secret {
    Secret::new(SecretPlace::File(path.to_owned()))
}

fn write_config(folder: &Path, port: u16, root: &Path, options: &Options) {
    let denied = if options.denied.is_empty() { String::new() } else { format!(" -P {}", options.denied.join(",")) };
    let place = folder.display();
    let further = options.lines.join("\n");
    let config = format!(
        "{further}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {place}/host_ed25519\nHostKey {place}/host_ecdsa\nAuthorizedKeysFile {place}/authorized_keys\n\
         PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\nForceCommand internal-sftp -d {}{denied}\n",
        root.display()
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
}

fn launch(folder: &Path) -> Child {
    // The unprivileged half of a server that runs as root lives there.
    let _ = fs::create_dir_all("/run/sshd");
    let log = fs::File::create(folder.join("log")).unwrap();
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let program = program.expect("these tests need OpenSSH's sshd: apt-get install openssh-server, or dnf install openssh-server");
    Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd starts")
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(START_MAX)).unwrap();
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
}

fn make_host_keys(folder: &Path) {
    for kind in ["ed25519", "ecdsa"] {
        keygen(folder, &format!("host_{kind}"), kind, "");
    }
}

fn keygen(folder: &Path, name: &str, kind: &str, passphrase: &str) {
    let path = folder.join(name);
    let _ = fs::remove_file(&path);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-a", "1", "-f"]).arg(&path);
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    let status = command.status().expect("these tests need ssh-keygen: apt-get install openssh-client");
    assert!(status.success());
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}
