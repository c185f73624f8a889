//! Sources against a real OpenSSH server, a misbehaving network, and a folder.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use passferry::config::meant::{Login, Sftp};
use passferry::source::folder::FolderConnect;
use passferry::source::sftp::SftpConnect;
use passferry::source::{Connect, EntryKind, Fetched, Result, Source, SourceError};
use tempfile::TempDir;

use crate::rig::proxy::{Direction, TcpProxy};
use crate::rig::sshd::{Options, PASSPHRASE, Sshd, secret_file};

const ANY_SIZE: u64 = u64::MAX;

fn served() -> (TempDir, Sshd) {
    let folder = tempfile::tempdir().unwrap();
    let server = Sshd::start(folder.path());
    (folder, server)
}

fn connect(settings: &Sftp) -> Result<Box<dyn Source>> {
    SftpConnect::new(settings).connect()
}

fn refusal(settings: &Sftp) -> SourceError {
    connect(settings).err().expect("the connection is refused")
}

fn through(settings: Sftp, proxy: &TcpProxy) -> Sftp {
    Sftp { port: proxy.port(), ..settings }
}

fn read_all(source: &mut dyn Source, path: &str) -> Result<(Fetched, Vec<u8>)> {
    let mut content = Vec::new();
    let fetched = source.read(path.into(), ANY_SIZE, &mut |bytes| {
        content.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok((fetched, content))
}

/// Bytes that differ at every place where a piece could be lost or swapped.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8)).flat_map(|index| (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(bytes).collect()
}

fn names(source: &mut dyn Source) -> Vec<BString> {
    let mut names: Vec<BString> = source.list("".into()).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

// Login

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
    let phrase = |text: &str| {
        let path = root.path().join("phrase");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        secret_file(&path)
    };
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

    let password = root.path().join("password");
    fs::write(&password, "no").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    let error = refusal(&Sftp { login: Login::Password(secret_file(&password)), ..server.settings() });
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
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "source::agent_child", "--ignored", "--nocapture"])
        .env("SSH_AUTH_SOCK", &socket)
        .env("AGENT_TEST", format!("{} {} {}", server.port, server.user, server.fingerprint("ed25519")))
        .output()
        .unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
#[ignore = "run by an_agent_logs_in, in a process with an agent"]
fn agent_child() {
    let text = std::env::var("AGENT_TEST").unwrap();
    let [port, user, pin] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let root = tempfile::tempdir().unwrap();
    let settings = Sftp {
        port: port.parse().unwrap(),
        user: user.to_owned(),
        login: Login::Agent,
        host_keys: vec![pin.to_owned()],
        ..Sshd::start(root.path()).settings()
    };
    connect(&settings).unwrap().keep_alive().unwrap();
}

// Host keys

fn known_hosts(root: &TempDir, text: &str) -> std::path::PathBuf {
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

// Listing and reading

fn hostile_names() -> Vec<Vec<u8>> {
    vec![
        b"a\nb.csv".to_vec(),
        b"e\x1b[2J.csv".to_vec(),
        b"-rf.csv".to_vec(),
        b"caf\xe9.csv".to_vec(),
        b" lead.csv".to_vec(),
        vec![b'n'; 255],
    ]
}

fn plant_odd_things(root: &Path) {
    fs::write(root.join("plain.csv"), "id\n1\n").unwrap();
    fs::create_dir(root.join("folder.csv")).unwrap();
    symlink(root.join("plain.csv"), root.join("link.csv")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo.csv")).status().unwrap().success());
    UnixListener::bind(root.join("socket.csv")).unwrap();
}

fn odd_things_are_listed_and_not_read(source: &mut dyn Source) {
    let kinds: Vec<(BString, EntryKind)> = {
        let mut entries = source.list("".into()).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.into_iter().map(|entry| (entry.name, entry.kind)).collect()
    };
    let expected = [
        ("fifo.csv", EntryKind::Other),
        ("folder.csv", EntryKind::Folder),
        ("link.csv", EntryKind::Other),
        ("plain.csv", EntryKind::File),
        ("socket.csv", EntryKind::Other),
    ];
    assert_eq!(kinds, expected.map(|(name, kind)| (BString::from(name), kind)));
    for name in ["fifo.csv", "folder.csv", "link.csv", "socket.csv"] {
        let error = read_all(source, name).unwrap_err();
        assert!(matches!(error, SourceError::Other(_)), "{name}: {error}");
        assert_ne!(source.stat(name.into()).unwrap().unwrap().kind, EntryKind::File, "{name}");
    }
    assert!(matches!(read_all(source, "absent.csv"), Err(SourceError::NotFound(_))));
    assert_eq!(source.stat("absent.csv".into()).unwrap(), None);
    assert!(matches!(source.list("absent".into()), Err(SourceError::NotFound(_))));
    assert_eq!(read_all(source, "plain.csv").unwrap().1, b"id\n1\n");
}

#[test]
fn hostile_names_are_listed_as_bytes_and_can_be_read() {
    let (root, server) = served();
    for name in hostile_names() {
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(&name)), &name).unwrap();
    }
    let mut expected: Vec<BString> = hostile_names().into_iter().map(BString::from).collect();
    expected.sort();
    for mut source in [connect(&server.settings()).unwrap(), FolderConnect::new(root.path()).connect().unwrap()] {
        assert_eq!(names(&mut *source), expected);
        for name in &expected {
            let mut bytes = Vec::new();
            source.read(name.as_bstr(), ANY_SIZE, &mut |part| io::Write::write_all(&mut bytes, part)).unwrap();
            assert_eq!(bytes, name.as_slice());
        }
    }
}

#[test]
fn only_regular_files_are_read_from_a_server() {
    let (root, server) = served();
    plant_odd_things(root.path());
    odd_things_are_listed_and_not_read(&mut *connect(&server.settings()).unwrap());
}

#[test]
fn only_regular_files_are_read_from_a_folder() {
    let root = tempfile::tempdir().unwrap();
    plant_odd_things(root.path());
    odd_things_are_listed_and_not_read(&mut *FolderConnect::new(root.path()).connect().unwrap());
}

#[test]
fn a_large_file_arrives_whole() {
    let (root, server) = served();
    let sent = content((64 << 20) + 12_345);
    fs::write(root.path().join("large.csv"), &sent).unwrap();
    let (fetched, received) = read_all(&mut *connect(&server.settings()).unwrap(), "large.csv").unwrap();
    assert!(received == sent, "the content differs");
    assert!(fetched.unchanged());
    assert_eq!(fetched.bytes, sent.len() as u64);
}

#[test]
fn sizes_around_a_packet_and_a_buffer() {
    let (root, server) = served();
    let mut source = connect(&Sftp { buffer: 1 << 16, ..server.settings() }).unwrap();
    for size in [0, 1, 29_999, 30_000, 30_001, 65_535, 65_536, 65_537, 1 << 20] {
        let sent = content(size);
        let name = format!("{size}.csv");
        assert_eq!(source.create(name.as_str().into(), &mut &sent[..], 0o640).unwrap(), size as u64);
        assert!(fs::read(root.path().join(&name)).unwrap() == sent, "{size}");
        assert!(read_all(&mut *source, &name).unwrap().1 == sent, "{size}");
    }
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    let (root, server) = served();
    fs::write(root.path().join("a.csv"), content(1000)).unwrap();
    for mut source in [connect(&server.settings()).unwrap(), FolderConnect::new(root.path()).connect().unwrap()] {
        let mut called = false;
        let mut sink = |_: &[u8]| {
            called = true;
            Ok(())
        };
        assert!(matches!(source.read("a.csv".into(), 999, &mut sink), Err(SourceError::Other(_))));
        assert!(source.read("a.csv".into(), 1000, &mut |_| Ok(())).is_ok());
        assert!(!called);
    }
}

#[test]
fn a_full_disk_here_is_not_the_servers_fault_and_the_connection_lives() {
    let (root, server) = served();
    fs::write(root.path().join("a.csv"), content(1 << 20)).unwrap();
    let mut source = connect(&server.settings()).unwrap();
    let error = source.read("a.csv".into(), ANY_SIZE, &mut |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
    assert!(matches!(error, SourceError::Local(_)), "{error}");
    source.keep_alive().unwrap();
    assert_eq!(read_all(&mut *source, "a.csv").unwrap().0.bytes, 1 << 20);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    let (root, server) = served();
    let path = root.path().join("a.csv");
    for mut source in [connect(&server.settings()).unwrap(), FolderConnect::new(root.path()).connect().unwrap()] {
        fs::write(&path, content(8 << 20)).unwrap();
        let mut appended = false;
        let fetched = source.read("a.csv".into(), ANY_SIZE, &mut |_| {
            if !appended {
                fs::OpenOptions::new().append(true).open(&path)?.write_all(b"more")?;
                appended = true;
            }
            Ok(())
        });
        assert!(!fetched.unwrap().unchanged());
    }
}

// Writing

fn writes_never_overwrite(source: &mut dyn Source, root: &Path) {
    assert_eq!(source.create("a.csv".into(), &mut &b"first"[..], 0o640).unwrap(), 5);
    assert_eq!(fs::metadata(root.join("a.csv")).unwrap().permissions().mode() & 0o7777, 0o640);
    let error = source.create("a.csv".into(), &mut &b"second"[..], 0o640).unwrap_err();
    assert!(matches!(error, SourceError::Exists(_)), "{error}");
    source.create("b.csv".into(), &mut &b"b"[..], 0o600).unwrap();
    let error = source.rename("b.csv".into(), "a.csv".into()).unwrap_err();
    assert!(matches!(error, SourceError::Exists(_)), "{error}");
    assert_eq!(fs::read(root.join("a.csv")).unwrap(), b"first");
    assert_eq!(fs::read(root.join("b.csv")).unwrap(), b"b");

    source.make_folder("x/y/z".into()).unwrap();
    source.make_folder("x/y/z".into()).unwrap();
    assert!(root.join("x/y/z").is_dir());
    assert!(source.make_folder("a.csv".into()).is_err());
    assert!(source.make_folder("a.csv/x".into()).is_err());
    source.rename("b.csv".into(), "x/y/z/b.csv".into()).unwrap();
    assert!(!root.join("b.csv").exists());
    assert_eq!(fs::read(root.join("x/y/z/b.csv")).unwrap(), b"b");
    assert!(matches!(source.rename("b.csv".into(), "c.csv".into()), Err(SourceError::NotFound(_))));
    assert!(matches!(source.create("absent/a.csv".into(), &mut &b"x"[..], 0o640), Err(SourceError::NotFound(_))));

    source.remove("a.csv".into()).unwrap();
    source.remove("a.csv".into()).unwrap();
    assert!(!root.join("a.csv").exists());
    assert!(source.remove("x".into()).is_err(), "a folder stays");

    let mut failing = io::Read::chain(&b"half"[..], FailingRead);
    assert!(matches!(source.create("half.csv".into(), &mut failing, 0o640), Err(SourceError::Local(_))));
    assert!(!root.join("half.csv").exists());
    source.keep_alive().unwrap();
}

struct FailingRead;

impl io::Read for FailingRead {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk here fails"))
    }
}

#[test]
fn writes_to_a_server_never_overwrite() {
    let (root, server) = served();
    writes_never_overwrite(&mut *connect(&server.settings()).unwrap(), root.path());
}

#[test]
fn writes_to_a_folder_never_overwrite() {
    let root = tempfile::tempdir().unwrap();
    writes_never_overwrite(&mut *FolderConnect::new(root.path()).connect().unwrap(), root.path());
}

#[test]
fn what_the_server_forbids_is_named() {
    let root = tempfile::tempdir().unwrap();
    let denied = vec!["rename", "remove", "mkdir", "opendir"];
    let server = Sshd::with(root.path(), &Options { denied, ..Options::default() });
    fs::write(root.path().join("a.csv"), "x").unwrap();
    let mut source = connect(&server.settings()).unwrap();
    let path = BStr::new("a.csv");
    for error in [
        source.rename(path, "b.csv".into()).unwrap_err(),
        source.remove(path).unwrap_err(),
        source.make_folder("x".into()).unwrap_err(),
        source.list("".into()).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, SourceError::Permission(_)), "{error}");
    }
    assert!(root.path().join("a.csv").exists());
    source.keep_alive().unwrap();
}

// The network

#[test]
fn a_cut_download_is_unreachable_and_a_new_connection_works() {
    let (root, server) = served();
    let sent = content(16 << 20);
    fs::write(root.path().join("a.csv"), &sent).unwrap();
    let proxy = TcpProxy::start(server.port);
    let connector = SftpConnect::new(&through(server.settings(), &proxy));
    let mut source = connector.connect().unwrap();
    proxy.cut_after(Direction::ToClient, 3 << 20);
    let error = read_all(&mut *source, "a.csv").unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
    assert!(source.list("".into()).unwrap_err().breaks_connection(), "a broken connection stays broken");
    drop(source);
    assert!(read_all(&mut *connector.connect().unwrap(), "a.csv").unwrap().1 == sent);
}

#[test]
fn a_cut_upload_is_unreachable() {
    let (_root, server) = served();
    let proxy = TcpProxy::start(server.port);
    let mut source = connect(&through(server.settings(), &proxy)).unwrap();
    proxy.cut_after(Direction::ToServer, 3 << 20);
    let error = source.create("a.csv".into(), &mut &content(16 << 20)[..], 0o640).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
}

#[test]
fn a_cut_or_refused_handshake_is_unreachable() {
    let (_root, server) = served();
    let proxy = TcpProxy::start(server.port);
    for bytes in [0, 10, 500, 1500, 2500] {
        proxy.cut_after(Direction::ToClient, bytes);
        let error = refusal(&through(server.settings(), &proxy));
        assert!(matches!(error, SourceError::Unreachable(_)), "{bytes}: {error}");
    }
    proxy.refuse(true);
    let error = refusal(&through(server.settings(), &proxy));
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
}

/// The limits are far apart, so that a loaded machine does not blur them: handles that each wait would take three times the idle limit more.
#[test]
fn a_stalled_server_ends_in_time_and_is_let_go_at_once() {
    let (root, server) = served();
    fs::write(root.path().join("a.csv"), content(16 << 20)).unwrap();
    let proxy = TcpProxy::start(server.port);
    let idle = Duration::from_secs(3);
    let settings = Sftp { idle_timeout: idle, ..through(server.settings(), &proxy) };

    let mut reading = connect(&settings).unwrap();
    let idling = connect(&settings).unwrap();
    let since = Instant::now();
    let error = reading.read("a.csv".into(), ANY_SIZE, &mut |_| {
        proxy.stall(true);
        Ok(())
    });
    assert!(matches!(error, Err(SourceError::Timeout { phase: "read", .. })), "{error:?}");
    assert!(since.elapsed() < 3 * idle, "{:?}", since.elapsed());
    let since = Instant::now();
    drop(reading);
    drop(idling);
    assert!(since.elapsed() < idle, "{:?}", since.elapsed());

    let error = refusal(&Sftp { login_timeout: idle, ..settings });
    assert!(matches!(error, SourceError::Timeout { phase: "login", .. }), "{error}");
}

#[test]
fn a_server_that_drips_is_given_up() {
    let (root, server) = served();
    fs::write(root.path().join("a.csv"), content(1 << 20)).unwrap();
    let proxy = TcpProxy::start(server.port);
    let mut source = connect(&Sftp { idle_timeout: Duration::from_secs(2), ..through(server.settings(), &proxy) }).unwrap();
    proxy.rate(500);
    let error = read_all(&mut *source, "a.csv").unwrap_err();
    assert!(matches!(error, SourceError::Timeout { .. }), "{error}");
}

#[test]
fn a_long_line_changes_nothing_but_time() {
    let (root, server) = served();
    let sent = content(4 << 20);
    let proxy = TcpProxy::start(server.port);
    proxy.delay(Duration::from_millis(20));
    let mut source = connect(&through(server.settings(), &proxy)).unwrap();
    source.create("a.csv".into(), &mut &sent[..], 0o640).unwrap();
    assert!(fs::read(root.path().join("a.csv")).unwrap() == sent);
    assert!(read_all(&mut *source, "a.csv").unwrap().1 == sent);
}
