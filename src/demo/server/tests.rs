use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ssh2::{ErrorCode, FileStat, OpenFlags, OpenType, RenameFlags, Session, Sftp};
use tempfile::TempDir;

use super::*;

/// A server over a folder of its own, and a way in by key.
struct Rig {
    server: SftpServer,
    folder: TempDir,
    key: PathBuf,
    _keys: TempDir,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("id");
    let line = generate_client_key(&key).unwrap();
    let settings = ServerSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        user: "acme".to_owned(),
        password: Some("hunter2".to_owned()),
        authorized_keys: vec![line],
        faults: ServerFaults::default(),
    };
    let server = SftpServer::start(folder.path(), settings).unwrap();
    Rig { server, folder, key, _keys: keys }
}

impl Rig {
    fn session(&self) -> Session {
        let socket = TcpStream::connect(self.server.address()).unwrap();
        let mut session = Session::new().unwrap();
        session.set_timeout(10_000);
        session.set_tcp_stream(socket);
        session.handshake().unwrap();
        session
    }

    fn sftp(&self) -> Sftp {
        let session = self.session();
        session.userauth_pubkey_file("acme", None, &self.key, None).unwrap();
        session.sftp().unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn read(sftp: &Sftp, path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    sftp.open(Path::new(path)).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn code(result: Result<impl Sized, ssh2::Error>) -> i32 {
    match result.err().expect("must fail").code() {
        ErrorCode::SFTP(code) | ErrorCode::Session(code) => code,
    }
}

fn status(status: StatusCode) -> i32 {
    status as i32
}

fn new_file(sftp: &Sftp, path: &str) -> Result<ssh2::File, ssh2::Error> {
    sftp.open_mode(Path::new(path), OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE, 0o640, OpenType::File)
}

fn names(sftp: &Sftp, path: &str) -> Vec<String> {
    let entries = sftp.readdir(Path::new(path)).unwrap();
    entries.into_iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn only_the_right_user_with_the_right_secret_gets_in() {
    let rig = rig();
    assert!(rig.session().userauth_password("acme", "wrong").is_err());
    assert!(rig.session().userauth_password("root", "hunter2").is_err());
    assert!(rig.session().userauth_password("acme", "hunter2").is_ok());
    assert!(rig.session().userauth_pubkey_file("root", None, &rig.key, None).is_err());
    let other = rig.folder.path().join("other");
    generate_client_key(&other).unwrap();
    assert!(rig.session().userauth_pubkey_file("acme", None, &other, None).is_err());
    assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(generate_client_key(&other).is_err(), "an existing key is never overwritten");
    rig.sftp();
    assert_eq!(rig.server.connections(), 6);
}

#[test]
fn the_fingerprint_told_is_the_one_seen() {
    use openssl::base64::encode_block;
    let rig = rig();
    let session = rig.session();
    let seen = encode_block(session.host_key_hash(ssh2::HashType::Sha256).unwrap());
    assert_eq!(rig.server.fingerprint(), format!("SHA256:{}", seen.trim_end_matches('=')));
    let line = rig.server.host_key_line();
    let (key, _) = session.host_key().unwrap();
    assert_eq!(line, format!("[127.0.0.1]:{} ssh-ed25519 {}", rig.server.address().port(), encode_block(key)));
}

#[test]
fn a_file_goes_up_and_comes_back_the_same() {
    let rig = rig();
    let sftp = rig.sftp();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = new_file(&sftp, "/a.part").unwrap();
    file.write_all(&content).unwrap();
    file.fsync().unwrap();
    assert_eq!(file.stat().unwrap().size, Some(3_000_000));
    drop(file);
    assert_eq!(fs::metadata(rig.at("a.part")).unwrap().permissions().mode() & 0o777, 0o640 & !umask());
    sftp.rename(Path::new("/a.part"), Path::new("/a.csv"), Some(RenameFlags::empty())).unwrap();
    assert!(fs::read(rig.at("a.csv")).unwrap() == content);
    assert!(read(&sftp, "a.csv") == content);
    let times = FileStat { size: None, uid: None, gid: None, perm: Some(0o600), atime: Some(5), mtime: Some(1_700_000_000) };
    sftp.setstat(Path::new("/a.csv"), times).unwrap();
    let seen = sftp.lstat(Path::new("/a.csv")).unwrap();
    assert_eq!((seen.mtime, seen.perm), (Some(1_700_000_000), Some(0o100_600)));
    assert_eq!(rig.server.operations(Kind::Sync), 1);
}

fn umask() -> u32 {
    let probe = tempfile::tempdir().unwrap();
    let path = probe.path().join("probe");
    fs::DirBuilder::new().create(&path).unwrap();
    0o777 & !fs::metadata(path).unwrap().permissions().mode()
}

#[test]
fn what_cannot_be_done_has_the_code_openssh_gives() {
    let rig = rig();
    let sftp = rig.sftp();
    fs::write(rig.at("a"), "a").unwrap();
    fs::write(rig.at("b"), "b").unwrap();
    fs::create_dir(rig.at("d")).unwrap();
    fs::write(rig.at("d/x"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", rig.at("etc")).unwrap();

    let rename = |from: &str, to: &str| sftp.rename(Path::new(from), Path::new(to), Some(RenameFlags::empty()));
    assert_eq!(code(sftp.open(Path::new("/none"))), status(StatusCode::NoSuchFile));
    assert_eq!(code(sftp.lstat(Path::new("/a/below"))), status(StatusCode::NoSuchFile));
    assert_eq!(code(sftp.open(Path::new("/etc/passwd"))), status(StatusCode::PermissionDenied));
    assert_eq!(code(sftp.opendir(Path::new("/etc"))), status(StatusCode::PermissionDenied));
    assert_eq!(code(new_file(&sftp, "/etc/new")), status(StatusCode::PermissionDenied));
    assert_eq!(code(new_file(&sftp, "/a")), status(StatusCode::Failure));
    assert_eq!(code(rename("/a", "/b")), status(StatusCode::Failure));
    assert_eq!(code(rename("/none", "/c")), status(StatusCode::NoSuchFile));
    assert_eq!(code(sftp.mkdir(Path::new("/d"), 0o755)), status(StatusCode::Failure));
    assert_eq!(code(sftp.rmdir(Path::new("/d"))), status(StatusCode::Failure));
    assert_eq!(code(sftp.rmdir(Path::new("/"))), status(StatusCode::PermissionDenied));
    assert_eq!(code(sftp.open(Path::new("/d"))), status(StatusCode::Failure));
    assert_eq!(fs::read(rig.at("b")).unwrap(), b"b", "nothing was overwritten");

    sftp.unlink(Path::new("/etc")).unwrap();
    assert!(Path::new("/etc").exists(), "a link is removed, not what it stands for");
    sftp.mkdir(Path::new("/new"), 0o755).unwrap();
    rename("/d", "/new/d").unwrap();
    sftp.unlink(Path::new("/new/d/x")).unwrap();
    sftp.rmdir(Path::new("/new/d")).unwrap();
    assert_eq!(names(&sftp, "/"), ["a", "b", "new"]);
    assert_eq!(sftp.realpath(Path::new("new/../../b")).unwrap(), Path::new("/b"));
}

#[test]
fn ten_thousand_names_are_all_listed() {
    let rig = rig();
    for number in 0..10_000 {
        fs::write(rig.at(&format!("f{number:05}.csv")), "").unwrap();
    }
    let seen = names(&rig.sftp(), "/");
    assert_eq!(seen.len(), 10_000);
    assert_eq!((seen[0].as_str(), seen[9_999].as_str()), ("f00000.csv", "f09999.csv"));
}

#[test]
fn a_listing_can_lie() {
    let rig = rig();
    fs::write(rig.at("a.csv"), "abc").unwrap();
    let sftp = rig.sftp();
    let truth = sftp.stat(Path::new("/a.csv")).unwrap();
    {
        let mut faults = rig.server.faults();
        faults.extra_names = vec!["../../etc/passwd".to_owned(), "a\nb".to_owned()];
        faults.sizes.insert("a.csv".to_owned(), 1 << 40);
        faults.mtime_skew = -3600;
    }
    let seen = sftp.readdir(Path::new("/")).unwrap();
    assert!(seen.iter().any(|(path, _)| path.ends_with("../../etc/passwd")));
    assert!(seen.iter().any(|(path, _)| path.ends_with("a\nb")));
    let lie = sftp.stat(Path::new("/a.csv")).unwrap();
    assert_eq!((lie.size, lie.mtime), (Some(1 << 40), truth.mtime.map(|time| time - 3600)));

    rig.server.faults().endless_listing = true;
    let mut folder = sftp.opendir(Path::new("/")).unwrap();
    for _ in 0..5_000 {
        folder.readdir().unwrap();
    }
}

#[test]
fn a_growing_file_is_never_seen_twice_the_same() {
    let rig = rig();
    fs::create_dir(rig.at("in")).unwrap();
    fs::write(rig.at("in/a.csv"), "x\n").unwrap();
    rig.server.faults().growing = Some(Growing { path: "/in/a.csv".to_owned(), more: b"y\n".to_vec() });
    let sftp = rig.sftp();
    let listed = sftp.readdir(Path::new("/in")).unwrap()[0].1.size;
    let stated = sftp.lstat(Path::new("/in/a.csv")).unwrap().size;
    let opened = sftp.open(Path::new("/in/a.csv")).unwrap().stat().unwrap().size;
    assert_eq!((listed, stated, opened), (Some(4), Some(6), Some(8)));
    rig.server.faults().growing = None;
    assert_eq!(read(&sftp, "/in/a.csv"), b"x\ny\ny\ny\n");
}

#[test]
fn operations_fail_when_told_to() {
    let rig = rig();
    fs::write(rig.at("a"), "a").unwrap();
    let sftp = rig.sftp();
    rig.server.faults().failures.push(Failure { kind: Kind::Stat, after: 1, times: 1, status: StatusCode::PermissionDenied });
    assert!(sftp.lstat(Path::new("/a")).is_ok());
    assert_eq!(code(sftp.lstat(Path::new("/a"))), status(StatusCode::PermissionDenied));
    assert!(sftp.lstat(Path::new("/a")).is_ok());

    rig.server.faults().rename_refused = true;
    assert_eq!(code(sftp.rename(Path::new("/a"), Path::new("/b"), Some(RenameFlags::empty()))), status(StatusCode::PermissionDenied));

    rig.server.faults().space = Some(10);
    let mut file = new_file(&sftp, "/c").unwrap();
    file.write_all(b"12345678").unwrap();
    assert!(file.write_all(b"12345678").is_err());
    assert_eq!(fs::read(rig.at("c")).unwrap(), b"12345678");
    rig.server.faults().space = None;

    rig.server.faults().fsync_absent = true;
    let second = rig.sftp();
    assert_eq!(code(new_file(&second, "/d").unwrap().fsync()), status(StatusCode::OpUnsupported));
}

#[test]
fn a_connection_cut_in_a_download_breaks_it_and_the_next_one_works() {
    let rig = rig();
    fs::write(rig.at("a"), vec![b'a'; 1_000_000]).unwrap();
    let sftp = rig.sftp();
    rig.server.faults().disconnect_after = Some(400_000);
    let mut content = Vec::new();
    assert!(sftp.open(Path::new("/a")).unwrap().read_to_end(&mut content).is_err());
    assert!(content.len() < 1_000_000);
    assert_eq!(read(&rig.sftp(), "/a").len(), 1_000_000);

    let idle = rig.sftp();
    rig.server.cut_connections();
    assert!(idle.lstat(Path::new("/a")).is_err());
}

#[test]
fn a_restarted_server_has_the_same_address_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("host_key");
    let settings = |listen| ServerSettings {
        listen,
        user: "acme".to_owned(),
        password: None,
        authorized_keys: vec![],
        faults: ServerFaults::default(),
    };
    let first = SftpServer::start_with_host_key(folder.path(), settings("127.0.0.1:0".parse().unwrap()), &key).unwrap();
    let (address, line) = (first.address(), first.host_key_line());
    let _still_open = TcpStream::connect(address).unwrap();
    drop(first);
    assert!(TcpStream::connect(address).is_err(), "nobody listens after the drop");
    let second = SftpServer::start_with_host_key(folder.path(), settings(address), &key).unwrap();
    assert_eq!(second.host_key_line(), line);
}
