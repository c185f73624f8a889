//! Who a server is, and who we are to it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use passferry::config::meant::{Login, Sftp};
use passferry::secret::Secret;
use passferry::source::sftp::SftpConnect;
use passferry::source::{Connect, SourceError};
use tempfile::TempDir;

use crate::rig::proxy::TcpProxy;
use crate::rig::sshd::{Options, PASSPHRASE, Sshd, secret_file};
use crate::source::{connect, refusal, served, through};

/// A private file with a secret in it.
fn secret(folder: &Path, name: &str, text: &str) -> Secret {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    secret_file(&path)
}

#[test]
fn keys_of_every_kind_log_in() {
    let (_root, server) = served();
    for name in ["ed25519", "ecdsa", "rsa"] {
        let login = Login::Key { key: secret_file(&server.client_key(name)), passphrase: None };
        connect(&Sftp { login, ..server.settings() }).unwrap_or_else(|e| panic!("{name}: {e}\n{}", server.log()));
    }
}

#[test]
fn an_encrypted_key_needs_its_passphrase_and_says_so() {
    let (root, server) = served();
    let phrase = |text: &str| secret(root.path(), "phrase", text);
    let with = |passphrase| {
        let login = Login::Key { key: secret_file(&server.client_key("encrypted")), passphrase };
        Sftp { login, ..server.settings() }
    };
    connect(&with(Some(phrase(PASSPHRASE)))).unwrap();
    let missing = refusal(&with(None)).to_string();
    assert!(missing.contains("is encrypted"), "{missing}");
    let wrong = refusal(&with(Some(phrase("wrong")))).to_string();
    assert!(wrong.contains("passphrase does not open"), "{wrong}");
}

#[test]
fn a_refused_login_is_not_an_unreachable_server() {
    let (root, server) = served();
    let login = Login::Key { key: secret_file(&server.client_key("stranger")), passphrase: None };
    let error = refusal(&Sftp { login, ..server.settings() });
    assert!(matches!(error, SourceError::Auth(_)), "{error}");
    assert!(error.to_string().contains("publickey"), "{error}");

    let password = secret(root.path(), "password", "no");
    let error = refusal(&Sftp { login: Login::Password(password), ..server.settings() });
    assert!(matches!(error, SourceError::Auth(_)), "{error}");

    let mut stopped = server;
    stopped.stop();
    let error = refusal(&stopped.settings());
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
}

/// The agent's socket is found through the environment, which only a process of its own can have.
#[test]
fn an_agent_logs_in() {
    let (root, server) = served();
    let socket = root.path().join("agent");
    let mut agent = Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = |name: &str| {
        let added =
            Command::new("ssh-add").arg(server.client_key(name)).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status().unwrap();
        assert!(added.success());
    };
    run("stranger");
    run("ed25519");
    std::fs::create_dir_all(root.path().join("inbox")).unwrap();
    let config = root.path().join("passferry.toml");
    fs::write(&config, agent_config(&server)).unwrap();
    fs::write(root.path().join("schema.json"), r#"{"fields": [{"name": "id"}, {"name": "points", "type": "integer"}]}"#).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_passferry"))
        .args(["once", "--config"])
        .arg(&config)
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    let without =
        Command::new(env!("CARGO_BIN_EXE_passferry")).args(["once", "--config"]).arg(&config).env_remove("SSH_AUTH_SOCK").output().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(!without.status.success(), "the login came from the agent and from nowhere else");
}

fn agent_config(server: &Sshd) -> String {
    format!(
        r#"
state = "state"
[source.server]
kind = "sftp"
host = "127.0.0.1"
port = {port}
user = "{user}"
agent = true
host_key = "{pin}"
[platform.cards]
kind = "passkit"
base_url = "http://127.0.0.1:1"
key = {{ env = "NONE" }}
secret = {{ env = "NONE" }}
program = "p"
[feed.points]
source = "server"
inbox = "inbox"
pattern = "*.csv"
content = "snapshot"
schema = "schema.json"
platform = "cards"
pass = {{ external_id = "id" }}
fields = {{ points = "points" }}
"#,
        port = server.port,
        user = server.user,
        pin = server.fingerprint("ed25519")
    )
}

// Host keys

fn known_hosts(root: &TempDir, text: &str) -> PathBuf {
    let path = root.path().join("known_hosts");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_unknown_host_key_is_refused_with_the_lines_to_add() {
    let (root, server) = served();
    let file = known_hosts(&root, "elsewhere.example ssh-foo AAAA\n");
    let error = refusal(&Sftp { host_keys: Vec::new(), known_hosts: Some(file), ..server.settings() });
    let text = error.to_string();
    assert!(matches!(error, SourceError::HostKey(_)), "{text}");
    assert!(text.contains(&format!("host_key = \"{}\"", server.fingerprint("ed25519"))), "{text}");
    assert!(text.contains(&format!("[127.0.0.1]:{} {}", server.port, server.host_key_line("ed25519"))), "{text}");
    assert!(!server.log().contains("userauth"), "nothing was sent: {}", server.log());
}

#[test]
fn the_line_to_add_and_the_pin_to_add_work() {
    let (root, server) = served();
    let line = format!("[127.0.0.1]:{} {}\n", server.port, server.host_key_line("ed25519"));
    let known = Sftp { host_keys: Vec::new(), known_hosts: Some(known_hosts(&root, &line)), ..server.settings() };
    connect(&known).unwrap();

    // One file for several servers, hashed, with the type that the server likes less.
    let line = format!(
        "# comment\n[127.0.0.1]:{} {}\n@cert-authority * {}\nbroken\n",
        server.port,
        server.host_key_line("ecdsa"),
        server.host_key_line("ed25519")
    );
    let file = known_hosts(&root, &line);
    assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    connect(&Sftp { host_keys: Vec::new(), known_hosts: Some(file), ..server.settings() }).unwrap();
}

#[test]
fn a_hashed_line_is_known() {
    let (root, server) = served();
    let file = known_hosts(&root, &format!("[127.0.0.1]:{} {}\n", server.port, server.host_key_line("ecdsa")));
    let hashed = Command::new("ssh-keygen").args(["-H", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(hashed.success() && fs::read_to_string(&file).unwrap().starts_with("|1|"));
    connect(&Sftp { host_keys: Vec::new(), known_hosts: Some(file), ..server.settings() }).unwrap();
}

#[test]
fn a_revoked_key_is_refused_although_it_is_pinned() {
    let (root, server) = served();
    let line = format!("@revoked * {}\n", server.host_key_line("ed25519"));
    let error = refusal(&Sftp { known_hosts: Some(known_hosts(&root, &line)), ..server.settings() });
    assert!(matches!(&error, SourceError::HostKey(text) if text.contains("revoked")), "{error}");
}

#[test]
fn one_of_several_pins_suffices_whatever_its_type() {
    let (_root, server) = served();
    let other = format!("SHA256:{}", "A".repeat(43));
    let connector = SftpConnect::new(&Sftp { host_keys: vec![other.clone(), server.fingerprint("ecdsa")], ..server.settings() });
    connector.connect().unwrap();

    // The second connection asks for the right type at once.
    let proxy = TcpProxy::start(server.port);
    let connector = SftpConnect::new(&through(Sftp { host_keys: vec![server.fingerprint("ecdsa")], ..server.settings() }, &proxy));
    connector.connect().unwrap();
    let first = proxy.accepted();
    connector.connect().unwrap();
    assert_eq!((first, proxy.accepted()), (2, 3));

    let error = refusal(&Sftp { host_keys: vec![other.clone()], ..server.settings() }).to_string();
    for part in [&other, &server.fingerprint("ed25519"), &server.fingerprint("ecdsa")] {
        assert!(error.contains(part.as_str()), "{part} in {error}");
    }
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let (root, mut server) = served();
    let before = server.fingerprint("ed25519");
    let file = known_hosts(&root, &format!("[127.0.0.1]:{} {}\n", server.port, server.host_key_line("ed25519")));
    let (pinned, known) = (server.settings(), Sftp { host_keys: Vec::new(), known_hosts: Some(file), ..server.settings() });
    server.renew_host_keys();
    for settings in [pinned, known] {
        let error = refusal(&settings);
        let text = error.to_string();
        assert!(matches!(error, SourceError::HostKey(_)), "{text}");
        assert!(text.contains(&before) && text.contains(&server.fingerprint("ed25519")), "{text}");
    }
    assert!(!server.log().contains("userauth"), "nothing was sent: {}", server.log());
}

#[test]
fn a_server_that_lost_its_known_type_is_a_mismatch_not_a_broken_handshake() {
    let (root, server) = served();
    let file = known_hosts(&root, &format!("[127.0.0.1]:{} {}\n", server.port, rsa_line(&server)));
    let error = refusal(&Sftp { host_keys: Vec::new(), known_hosts: Some(file), ..server.settings() });
    assert!(matches!(&error, SourceError::HostKey(text) if text.contains(&server.fingerprint("ed25519"))), "{error}");
}

fn rsa_line(server: &Sshd) -> String {
    let text = fs::read_to_string(server.client_key("rsa").with_extension("pub")).unwrap();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn no_common_algorithm_lists_what_is_offered() {
    let root = tempfile::tempdir().unwrap();
    let server =
        Sshd::with(root.path(), &Options { lines: vec!["KexAlgorithms sntrup761x25519-sha512@openssh.com"], ..Options::default() });
    let text = refusal(&server.settings()).to_string();
    assert!(text.contains("it offers sntrup761x25519-sha512@openssh.com") && text.contains("curve25519-sha256"), "{text}");
}

#[test]
fn connections_keep_their_distance() {
    let (_root, server) = served();
    let connector = SftpConnect::new(&Sftp { reconnect_min: Duration::from_hours(1), ..server.settings() });
    let first = connector.connect().unwrap();
    drop(first);
    let error = connector.connect().err().unwrap();
    assert!(matches!(&error, SourceError::Unreachable(text) if text.contains("next attempt in")), "{error}");
}

/// OpenSSH checks passwords of accounts of the machine only, so this server is one of our own: it knows one password, takes it by one
/// method, and offers no SFTP.
#[cfg(feature = "demo")]
mod passwords {
    use std::borrow::Cow;
    use std::sync::Arc;

    use russh::server::{Auth, Config, Handler, Response};
    use russh::{MethodKind, MethodSet};

    use super::*;

    const PASSWORD: &str = "open sesame";

    struct Porter;

    impl Handler for Porter {
        type Error = russh::Error;

        async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, russh::Error> {
            Ok(if password == PASSWORD { Auth::Accept } else { Auth::reject() })
        }

        async fn auth_keyboard_interactive<'a>(
            &'a mut self,
            _user: &str,
            _: &str,
            response: Option<Response<'a>>,
        ) -> Result<Auth, russh::Error> {
            Ok(match response {
                None => Auth::Partial {
                    name: Cow::Borrowed(""),
                    instructions: Cow::Borrowed("Prove it."),
                    prompts: Cow::Borrowed(&[(Cow::Borrowed("Name: "), true), (Cow::Borrowed("Password: "), false)]),
                },
                Some(answers) => {
                    let right = answers.map(|answer| answer.to_vec()).eq([Vec::new(), PASSWORD.as_bytes().to_vec()]);
                    if right { Auth::Accept } else { Auth::reject() }
                }
            })
        }
    }

    /// The outcome of a login with this password at a server that takes it by this method.
    fn outcome(server: &Sshd, method: MethodKind, password: &str) -> SourceError {
        let folder = tempfile::tempdir().unwrap();
        let key = server.client_key("stranger");
        let config = Arc::new(Config {
            keys: vec![russh::keys::load_secret_key(&key, None).unwrap()],
            methods: MethodSet::from(&[method][..]),
            auth_rejection_time: Duration::from_millis(10),
            ..Config::default()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(session) = russh::server::run_stream(Arc::clone(&config), stream, Porter).await {
                    let _ = session.await;
                }
            }
        });
        let pin = Command::new("ssh-keygen").arg("-lf").arg(key.with_extension("pub")).output().unwrap().stdout;
        let pin = String::from_utf8(pin).unwrap().split_whitespace().nth(1).unwrap().to_owned();
        let login = Login::Password(secret(folder.path(), "password", password));
        refusal(&Sftp { port, login, host_keys: vec![pin], ..server.settings() })
    }

    #[test]
    fn a_password_is_given_by_the_method_that_the_server_takes() {
        let (_root, server) = served();
        for method in [MethodKind::Password, MethodKind::KeyboardInteractive] {
            let right = outcome(&server, method, PASSWORD);
            assert!(matches!(&right, SourceError::Unreachable(text) if text.contains("the login succeeded")), "{method:?}: {right}");
            let wrong = outcome(&server, method, "shut sesame");
            assert!(matches!(wrong, SourceError::Auth(_)), "{method:?}: {wrong}");
        }
    }
}
