//! What a host of Apple passes is tested with: certificates of the test's own, independent software that opens packages, and requests of a
//! phone by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use passferry::sandbox::apple::{Apns, Certificates, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harbour::write_private;
use super::phone::generator;

pub const PASS_TYPE: &str = "pass.com.example.loyalty";
pub const TEAM: &str = "ABCDE12345";

/// Runs a program of the machine that must be there.
#[track_caller]
fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need {program} (tests/run installs it): {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}\n{}{err}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// Root, intermediate, and certificates of pass types (contract 5.3), as files.
pub struct Authority {
    folder: TempDir,
    pub certificates: Certificates,
}

pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let certificates = Certificates::new().unwrap();
    let stranger = Certificates::new().unwrap();
    for (name, pair) in [
        ("root", certificates.root.clone()),
        ("wwdr", certificates.wwdr.clone()),
        ("pass", certificates.pass(PASS_TYPE, TEAM).unwrap()),
        ("other", certificates.pass("pass.com.example.other", TEAM).unwrap()),
        ("soon", certificates.pass_valid(PASS_TYPE, TEAM, (-1, 10)).unwrap()),
        ("over", certificates.pass_valid(PASS_TYPE, TEAM, (-9, -1)).unwrap()),
        ("stranger", stranger.pass(PASS_TYPE, TEAM).unwrap()),
    ] {
        let (certificate, key) = pair.pem().unwrap();
        fs::write(at.join(format!("{name}.pem")), certificate).unwrap();
        write_private(&at.join(format!("{name}.key")), &key);
    }
    let push_key = certificates.token_key.private_key_to_pem_pkcs8().unwrap();
    write_private(&at.join("push.p8"), std::str::from_utf8(&push_key).unwrap());
    write_private(&at.join("passphrase"), "hunter2");
    write_private(&at.join("pass.p12"), "");
    run(at, "openssl", &["pkcs12", "-export", "-in", "pass.pem", "-inkey", "pass.key", "-out", "pass.p12", "-passout", "pass:hunter2"]);
    Authority { folder, certificates }
});

impl Authority {
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A push token of the form that Apple gives, by its first four digits.
pub fn token(front: &str) -> String {
    front.repeat(16)
}

/// A push service that takes the key and the certificates of [`AUTHORITY`], and pushes to any device.
pub fn apns() -> Apns {
    Apns::start(Settings { any_device: true, ..Settings::default() }, &AUTHORITY.certificates).unwrap()
}

/// A package, unpacked, that everybody accepted.
pub struct Opened {
    pub pass: Value,
    pub files: Vec<String>,
}

impl Opened {
    /// The value of a field.
    pub fn field(&self, key: &str) -> &Value {
        let style = self.pass["storeCard"].as_object().unwrap();
        let mut fields = style.values().filter_map(Value::as_array).flatten();
        &fields.find(|field| field["key"] == key).unwrap_or_else(|| panic!("no field {key} in {}", self.pass))["value"]
    }
}

/// Opens a package with every check of the contract's section 5.2, and has passkit-generator read it.
#[track_caller]
pub fn open(package: &[u8]) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("card.pkpass"), package).unwrap();
    let listing = run(at, "python3", &["-c", "import zipfile;print([i.compress_type for i in zipfile.ZipFile('card.pkpass').infolist()])"]);
    assert!(!listing.contains(|c: char| ('1'..='9').contains(&c)), "not stored: {listing}");
    run(at, "python3", &["-c", "import zipfile;zipfile.ZipFile('card.pkpass').extractall('x')"]);
    let root = AUTHORITY.path("root.pem");
    let verify = ["smime", "-verify", "-binary", "-purpose", "any", "-inform", "DER", "-in", "x/signature", "-content", "x/manifest.json"];
    run(at, "openssl", &[&verify[..], &["-CAfile", &root, "-out", "/dev/null"]].concat());
    let verify = ["cms", "-verify", "-binary", "-purpose", "any", "-inform", "DER", "-in", "x/signature", "-content", "x/manifest.json"];
    run(at, "openssl", &[&verify[..], &["-CAfile", &root, "-signer", "signer.pem", "-out", "/dev/null"]].concat());
    let subject = run(at, "openssl", &["x509", "-in", "signer.pem", "-noout", "-subject", "-nameopt", "multiline"]);
    let files = walk(&at.join("x"));
    let manifest: BTreeMap<String, String> = serde_json::from_slice(&fs::read(at.join("x/manifest.json")).unwrap()).unwrap();
    let listed: Vec<&String> = manifest.keys().collect();
    let there: Vec<&String> = files.iter().filter(|name| !matches!(name.as_str(), "manifest.json" | "signature")).collect();
    assert_eq!(listed, there, "the manifest names every file and no other");
    for (name, digest) in &manifest {
        assert_eq!(sha1(&at.join("x").join(name)), *digest, "{name}");
    }
    let pass: Value = serde_json::from_slice(&fs::read(at.join("x/pass.json")).unwrap()).unwrap();
    for (key, nid) in [("passTypeIdentifier", "userId"), ("teamIdentifier", "organizationalUnitName")] {
        let line = subject.lines().find(|line| line.trim().starts_with(nid)).unwrap_or_else(|| panic!("{subject}"));
        assert_eq!(line.split('=').nth(1).unwrap().trim(), pass[key].as_str().unwrap());
    }
    assert!(files.iter().any(|name| name.starts_with("icon")), "{files:?}");
    assert!(pass["authenticationToken"].as_str().unwrap().len() >= 16);
    second_opinion(&pass);
    Opened { pass, files }
}

fn sha1(path: &Path) -> String {
    passferry::spool::hex(&openssl::sha::sha1(&fs::read(path).unwrap()))
}

fn walk(folder: &Path) -> Vec<String> {
    fn all(folder: &Path, base: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                all(&entry.path(), base, into);
            } else {
                into.push(entry.path().strip_prefix(base).unwrap().display().to_string());
            }
        }
    }
    let mut files = Vec::new();
    all(folder, folder, &mut files);
    files.sort();
    files
}

/// passkit-generator drops a whole pass.json that it finds fault with.
fn second_opinion(pass: &Value) {
    let read = generator::read(pass);
    assert_eq!((&read["type"], &read["serialNumber"]), (&json!("storeCard"), &pass["serialNumber"]));
    let style = pass["storeCard"].as_object().unwrap();
    let keys: Vec<&Value> = style.values().filter_map(Value::as_array).flatten().map(|field| &field["key"]).collect();
    let mut read: Vec<&Value> = read["fields"].as_array().unwrap().iter().collect();
    assert_eq!(read.len(), keys.len());
    read.retain(|key| !keys.contains(key));
    assert_eq!(read, Vec::<&Value>::new());
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// One request, as a phone behind a proxy sends it.
#[track_caller]
pub fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let more = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: passes.example.com\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answered { status, headers, body: answer[end + 4..].to_vec() }
}
