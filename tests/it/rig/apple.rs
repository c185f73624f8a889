//! What a host of Apple passes is tested with: a certificate authority of the test's own, a stand-in for Apple's pushes, independent
//! software that opens packages, and a phone that asks by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

pub const PASS_TYPE: &str = "pass.com.example.loyalty";
pub const TEAM: &str = "ABCDE12345";
/// The package that reads passes in the second place, and its version.
const GENERATOR: &str = "passkit-generator@3.6.1";

/// Runs a program of the machine that must be there.
#[track_caller]
fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need {program} (tests/run installs it): {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}\n{}{err}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// Root, intermediate, the pass type's certificate, and one for a server at 127.0.0.1 (contract 5.3).
pub struct Authority(TempDir);

pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ca = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign,cRLSign\n";
    let leaf = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";
    fs::write(at.join("ca.ext"), ca).unwrap();
    fs::write(at.join("leaf.ext"), leaf).unwrap();
    fs::write(at.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let openssl = |args: &str| drop(run(at, "openssl", &args.split('|').collect::<Vec<_>>()));
    openssl("req|-x509|-newkey|rsa:2048|-nodes|-keyout|root.key|-out|root.pem|-days|3650|-subj|/CN=Test Root");
    let issue = |name: &str, subject: &str, issuer: &str, days: &str, ext: &str| {
        openssl(&format!("req|-new|-newkey|rsa:2048|-nodes|-keyout|{name}.key|-out|{name}.csr|-subj|{subject}"));
        openssl(&format!(
            "x509|-req|-in|{name}.csr|-CA|{issuer}.pem|-CAkey|{issuer}.key|-CAcreateserial|-days|{days}|-extfile|{ext}|-out|{name}.pem"
        ));
    };
    let of_pass = |pass_type: &str| format!("/UID={pass_type}/CN=Pass Type ID: {pass_type}/OU={TEAM}/O=Example/C=US");
    issue("wwdr", "/CN=Test WWDR", "root", "3000", "ca.ext");
    issue("pass", &of_pass(PASS_TYPE), "wwdr", "365", "leaf.ext");
    issue("other", &of_pass("pass.com.example.other"), "wwdr", "365", "leaf.ext");
    issue("soon", &of_pass(PASS_TYPE), "wwdr", "10", "leaf.ext");
    issue("stranger", &of_pass(PASS_TYPE), "root", "365", "leaf.ext");
    issue("server", "/CN=127.0.0.1", "root", "365", "server.ext");
    openssl("pkcs12|-export|-in|pass.pem|-inkey|pass.key|-out|pass.p12|-passout|pass:hunter2");
    openssl("ecparam|-name|prime256v1|-genkey|-noout|-out|push.ec");
    openssl("pkcs8|-topk8|-nocrypt|-in|push.ec|-out|push.p8");
    super::harbour::write_private(&at.join("passphrase"), "hunter2");
    for key in ["pass.key", "other.key", "soon.key", "stranger.key", "pass.p12", "push.p8"] {
        let text = fs::read(at.join(key)).unwrap();
        fs::remove_file(at.join(key)).unwrap();
        super::harbour::write_private(&at.join(key), "");
        fs::write(at.join(key), text).unwrap();
    }
    Authority(folder)
});

impl Authority {
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
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
    use sha1_of::sha1;
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
    second_opinion(&at.join("x"), &pass);
    Opened { pass, files }
}

mod sha1_of {
    pub fn sha1(path: &std::path::Path) -> String {
        let digest = openssl::hash::hash(openssl::hash::MessageDigest::sha1(), &std::fs::read(path).unwrap()).unwrap();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
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

/// passkit-generator, from its registry, once for all runs: under the build's own folder, by version.
static PASSKIT_GENERATOR: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_BIN_EXE_passferry")).parent().unwrap().parent().unwrap();
    let folder = target.join(format!("npm-{}", GENERATOR.replace('@', "-")));
    if !folder.join("node_modules/passkit-generator/package.json").exists() {
        fs::create_dir_all(&folder).unwrap();
        let prefix = folder.display().to_string();
        run(&folder, "npm", &["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &prefix, GENERATOR]);
    }
    folder.join("node_modules/passkit-generator")
});

/// It drops a whole pass.json that it finds fault with, and warns.
fn second_opinion(folder: &Path, pass: &Value) {
    const READ: &str = r"
        const fs = require('node:fs'), path = require('node:path'), buffers = {};
        const warned = []; console.warn = (...words) => warned.push(words.join(' '));
        const walk = at => fs.readdirSync(at, { withFileTypes: true }).forEach(entry => {
            const full = path.join(at, entry.name);
            if (entry.isDirectory()) walk(full); else buffers[path.relative(process.argv[2], full)] = fs.readFileSync(full);
        });
        walk(process.argv[2]);
        const { PKPass } = require(process.argv[1]);
        const pass = new PKPass(buffers);
        console.log(JSON.stringify({ type: pass.type, serial: pass.props.serialNumber, primary: pass.primaryFields.length, warned }));";
    let generator = PASSKIT_GENERATOR.display().to_string();
    let said = run(folder, "node", &["-e", READ, &generator, &folder.display().to_string()]);
    let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(said["warned"], json!([]), "passkit-generator warns");
    assert_eq!((&said["serial"], &said["type"]), (&pass["serialNumber"], &json!("storeCard")));
    assert_eq!(said["primary"].as_u64().unwrap() as usize, pass["storeCard"]["primaryFields"].as_array().unwrap().len());
}

/// A stand-in for Apple's pushes: HTTP/2 over TLS. It answers as it is told to, by token, or `*` for all.
pub struct Apns {
    child: Child,
    folder: TempDir,
    pub url: String,
}

const APNS: &str = r"
    const http2 = require('node:http2'), fs = require('node:fs');
    const [, at, key, cert, ca] = process.argv, used = {};
    const server = http2.createSecureServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert), ca: fs.readFileSync(ca),
        requestCert: true, rejectUnauthorized: false, allowHTTP1: false });
    server.on('sessionError', () => {});
    server.on('stream', (stream, headers) => {
        let body = '';
        stream.on('error', () => {});
        stream.on('data', piece => body += piece);
        stream.on('end', () => {
            const rules = JSON.parse(fs.readFileSync(at + '/rules', 'utf8')), token = headers[':path'].replace('/3/device/', '');
            const peer = stream.session.socket.getPeerCertificate();
            fs.appendFileSync(at + '/log', JSON.stringify({ token, method: headers[':method'], path: headers[':path'], body,
                topic: headers['apns-topic'], type: headers['apns-push-type'], priority: headers['apns-priority'],
                authorization: headers.authorization, uid: peer && peer.subject && peer.subject.UID }) + '\n');
            let rule = rules[token] ?? rules['*'] ?? { status: 200 };
            const name = JSON.stringify(rule);
            if (rule.times !== undefined && (used[name] = (used[name] ?? 0) + 1) > rule.times) rule = { status: 200 };
            if (rule.stall) return;
            stream.respond({ ':status': rule.status, 'apns-id': 'EC1BF194-B3B2-424A-89A9-5A918A6E6B5E' });
            stream.end(rule.reason ? JSON.stringify({ reason: rule.reason, timestamp: rule.timestamp }) : '');
        });
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));";

impl Apns {
    pub fn start() -> Apns {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rules"), "{}").unwrap();
        fs::write(folder.path().join("log"), "").unwrap();
        let at = folder.path().display().to_string();
        let args = ["-e", APNS, &at, &AUTHORITY.path("server.key"), &AUTHORITY.path("server.pem"), &AUTHORITY.path("root.pem")];
        let mut child = Command::new("node").args(args).stdout(Stdio::piped()).spawn().expect("these tests need node: apt-get install nodejs");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Apns { child, folder, url: format!("https://127.0.0.1:{}", port.trim()) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    pub fn rules(&self, rules: Value) {
        let new = self.folder.path().join("rules.new");
        fs::write(&new, rules.to_string()).unwrap();
        fs::rename(new, self.folder.path().join("rules")).unwrap();
    }

    /// Requests so far.
    pub fn pushes(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Tokens pushed so far, in order.
    pub fn tokens(&self) -> Vec<String> {
        self.pushes().iter().map(|push| push["token"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Apns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: passes.example.com\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n", body.len());
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
