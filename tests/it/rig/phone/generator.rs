//! npm's passkit-generator, which builds and reads packages independently of this repository (contracts/apple-wallet.md section 5.4).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use passferry::sandbox::apple::{Certificates, Pair};
use serde_json::{Value, json};

use crate::rig::npm;

/// The newest when this was written; another one may check more, or less.
const VERSION: &str = "3.6.1";
/// A picture of one pixel.
pub const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0x1f,
    0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0, 1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0,
    b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// Where the package is installed: once, below the target directory.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| npm::installed("passkit-generator", VERSION))
}

fn node(script: &str, task: &Value) -> Value {
    let folder = installed();
    let mut node = Command::new("node");
    node.current_dir(folder).args(["-e", script]).env("NODE_NO_WARNINGS", "1");
    let mut child = node
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is needed: install the package nodejs");
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, task.to_string().as_bytes()).unwrap();
    drop(input);
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap_or_else(|problem| panic!("{problem}: {}", String::from_utf8_lossy(&said.stdout)))
}

/// Builds a package from a pass.json and further files, signed by a certificate.
pub fn build(pass: &Value, files: &[(&str, &[u8])], certificates: &Certificates, signer: &Pair) -> Vec<u8> {
    const SCRIPT: &str = r#"
        const { PKPass } = require("passkit-generator");
        const task = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const buffers = Object.fromEntries(Object.entries(task.files).map(([name, hex]) => [name, Buffer.from(hex, "hex")]));
        buffers["pass.json"] = Buffer.from(JSON.stringify(task.pass));
        const pass = new PKPass(buffers, { wwdr: task.wwdr, signerCert: task.certificate, signerKey: task.key });
        console.log(JSON.stringify(pass.getAsBuffer().toString("hex")));
    "#;
    let (certificate, key) = signer.pem().unwrap();
    let files: serde_json::Map<String, Value> = files.iter().map(|(name, bytes)| ((*name).to_owned(), hex(bytes).into())).collect();
    let wwdr = certificates.wwdr.pem().unwrap().0;
    let built = node(SCRIPT, &json!({"pass": pass, "files": files, "wwdr": wwdr, "certificate": certificate, "key": key}));
    let built = built.as_str().unwrap();
    (0..built.len()).step_by(2).map(|at| u8::from_str_radix(&built[at..at + 2], 16).unwrap()).collect()
}

/// What the package's own check makes of a pass: its type, its serial number and the keys of its fields; null and nothing when it takes no
/// pass.json of it.
pub fn read(pass: &Value) -> Value {
    const SCRIPT: &str = r#"
        const { PKPass } = require("passkit-generator");
        const task = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const pass = new PKPass({ "pass.json": Buffer.from(JSON.stringify(task)) });
        const groups = ["headerFields", "primaryFields", "secondaryFields", "auxiliaryFields", "backFields"];
        const fields = pass.type ? groups.flatMap((group) => [...pass[group]].map((field) => field.key)) : [];
        console.log(JSON.stringify({ type: pass.type ?? null, serialNumber: pass.props.serialNumber ?? null, fields }));
    "#;
    node(SCRIPT, pass)
}

/// Two small digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
