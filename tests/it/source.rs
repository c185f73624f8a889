//! Files of sources: a real OpenSSH server, a misbehaving network, and a folder.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bstr::{BStr, BString, ByteSlice};
use passferry::config::meant::Sftp;
use passferry::source::folder::FolderConnect;
use passferry::source::sftp::SftpConnect;
use passferry::source::{Connect, EntryKind, Fetched, Result, Source, SourceError};
use tempfile::TempDir;

use crate::rig::proxy::{Direction, TcpProxy};
use crate::rig::sshd::{Options, Sshd};

const ANY_SIZE: u64 = u64::MAX;

pub fn served() -> (TempDir, Sshd) {
    let folder = tempfile::tempdir().unwrap();
    let server = Sshd::start(folder.path());
    (folder, server)
}

pub fn connect(settings: &Sftp) -> Result<Box<dyn Source>> {
    SftpConnect::new(settings).connect()
}

pub fn refusal(settings: &Sftp) -> SourceError {
    connect(settings).err().expect("the connection is refused")
}

pub fn through(settings: Sftp, proxy: &TcpProxy) -> Sftp {
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

/// C18, C19.
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

/// C17.
#[test]
fn only_regular_files_are_read_from_a_server() {
    let (root, server) = served();
    plant_odd_things(root.path());
    odd_things_are_listed_and_not_read(&mut *connect(&server.settings()).unwrap());
}

/// C26.
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

/// C8.
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

/// C14.
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

/// C6.
#[test]
fn what_the_server_forbids_is_named() {
    let root = tempfile::tempdir().unwrap();
    let denied = vec!["rename", "remove", "mkdir", "opendir", "read", "write"];
    let server = Sshd::with(root.path(), &Options { denied, ..Options::default() });
    fs::write(root.path().join("a.csv"), "x").unwrap();
    let mut source = connect(&server.settings()).unwrap();
    let path = BStr::new("a.csv");
    for error in [
        source.rename(path, "b.csv".into()).unwrap_err(),
        source.remove(path).unwrap_err(),
        source.make_folder("x".into()).unwrap_err(),
        source.list("".into()).map(drop).unwrap_err(),
        read_all(&mut *source, "a.csv").map(drop).unwrap_err(),
        source.create("b.csv".into(), &mut &b"x"[..], 0o640).map(drop).unwrap_err(),
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

/// C2. The limits are far apart, so that a loaded machine does not blur them: handles that each wait would take three times the idle limit more.
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

/// C3.
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
