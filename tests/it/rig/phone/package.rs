//! What a phone looks at before it takes a package in (contracts/apple-wallet.md sections 3 and 5.2).

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::io::{Cursor, Read};

use openssl::nid::Nid;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509PurposeId};
use serde_json::Value;

use super::generator::hex;
use super::pass;

/// The largest file of a package. A phone has a limit too, which nobody has published.
const FILE_MAX: u64 = 8 << 20;
/// OBJECT IDENTIFIER signingTime (RFC 5652 section 11.3), in DER.
const SIGNING_TIME: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05];

/// A package that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    pub pass: Value,
    /// By path, without `manifest.json` and `signature`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why a package was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which check it failed.
    pub check: Check,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Zip,
    /// A file is missing, is there twice or is not in the manifest.
    Files,
    /// A file is not what the manifest says.
    Manifest,
    Signature,
    /// The signature is good, and its signer is nobody's.
    Chain,
    /// The signer signs for another pass type or team.
    Signer,
    Icon,
    /// The rest of pass.json.
    Pass,
    Style,
    Field,
    Token,
}

impl Refusal {
    pub fn new(check: Check, what: impl Into<String>) -> Refusal {
        Refusal { check, what: what.into() }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.check, self.what)
    }
}

/// Makes every check of a package.
pub fn verified(bytes: &[u8], root: &X509) -> Result<Package, Refusal> {
    let mut files = unzipped(bytes)?;
    let mut take = |name: &str| files.remove(name).ok_or_else(|| Refusal::new(Check::Files, format!("there is no {name}")));
    let (manifest, signature) = (take("manifest.json")?, take("signature")?);
    let signer = signer(&signature, &manifest, root)?;
    compare(&manifest, &files)?;
    let pass = files.get("pass.json").ok_or_else(|| Refusal::new(Check::Files, "there is no pass.json"))?;
    let pass: Value = serde_json::from_slice(pass).map_err(|problem| Refusal::new(Check::Pass, problem.to_string()))?;
    if !["icon.png", "icon@2x.png", "icon@3x.png"].iter().any(|icon| files.contains_key(*icon)) {
        return Err(Refusal::new(Check::Icon, "there is no icon"));
    }
    pass::check(&pass)?;
    for (nid, field) in [(Nid::USERID, "passTypeIdentifier"), (Nid::ORGANIZATIONALUNITNAME, "teamIdentifier")] {
        let entry = signer.subject_name().entries_by_nid(nid).next().and_then(|entry| entry.data().to_string().ok());
        if entry.as_deref() != pass[field].as_str() {
            return Err(Refusal::new(Check::Signer, format!("{field} {} is signed by {entry:?}", pass[field])));
        }
    }
    Ok(Package { pass, files })
}

fn unzipped(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Refusal> {
    let bad = |what: String| Refusal::new(Check::Zip, what);
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|problem| bad(problem.to_string()))?;
    // Read past the library, which knows one entry by each name.
    let end = bytes.windows(4).rposition(|four| four == b"PK\x05\x06").ok_or_else(|| bad("it has no end".to_owned()))?;
    let count = bytes.get(end + 10..end + 12).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    if count != Some(archive.len()) {
        return Err(Refusal::new(Check::Files, format!("{count:?} entries have {} names", archive.len())));
    }
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|problem| bad(problem.to_string()))?;
        let name = std::str::from_utf8(file.name_raw()).map_err(|problem| bad(problem.to_string()))?.to_owned();
        if name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == ".." || part == ".") {
            return Err(bad(format!("{name:?} is no path inside a package")));
        }
        if !matches!(file.compression(), zip::CompressionMethod::Stored | zip::CompressionMethod::Deflated) {
            return Err(bad(format!("{name} is packed by {:?}", file.compression())));
        }
        if name.ends_with('/') {
            continue;
        }
        let mut content = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut content).map_err(|problem| bad(format!("{name}: {problem}")))?;
        if content.len() as u64 > FILE_MAX {
            return Err(bad(format!("{name} is too large")));
        }
        files.insert(name, content);
    }
    Ok(files)
}

/// Checks the signature of the manifest and answers whose it is.
fn signer(signature: &[u8], manifest: &[u8], root: &X509) -> Result<X509, Refusal> {
    let bad = |what: String| Refusal::new(Check::Signature, what);
    let signed = Pkcs7::from_der(signature).map_err(|problem| bad(problem.to_string()))?;
    if signature.windows(manifest.len().max(1)).any(|part| part == manifest) {
        return Err(bad("it holds what it signs".to_owned()));
    }
    if !signature.windows(SIGNING_TIME.len()).any(|part| part == SIGNING_TIME) {
        return Err(bad("it has no signing time".to_owned()));
    }
    let verified = || -> Result<X509, openssl::error::ErrorStack> {
        let mut trusted = X509StoreBuilder::new()?;
        trusted.add_cert(root.clone())?;
        trusted.set_purpose(X509PurposeId::ANY)?;
        // Apple's intermediate has to come along: only the root is known.
        let nothing = Stack::new()?;
        signed.verify(&nothing, &trusted.build(), Some(manifest), None, Pkcs7Flags::BINARY)?;
        let signers = signed.signers(&nothing, Pkcs7Flags::empty())?;
        Ok(signers[0].to_owned())
    };
    verified().map_err(|problem| {
        let chain = problem.errors().iter().any(|error| error.reason().is_some_and(|reason| reason.contains("certificate verify")));
        Refusal::new(if chain { Check::Chain } else { Check::Signature }, problem.to_string())
    })
}

/// The manifest names every file, and each is what it says.
fn compare(manifest: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<(), Refusal> {
    let manifest: BTreeMap<String, String> =
        serde_json::from_slice(manifest).map_err(|problem| Refusal::new(Check::Manifest, problem.to_string()))?;
    for name in manifest.keys() {
        if !files.contains_key(name) {
            return Err(Refusal::new(Check::Files, format!("{name} is in the manifest alone")));
        }
    }
    for (name, content) in files {
        let Some(digest) = manifest.get(name) else {
            return Err(Refusal::new(Check::Files, format!("{name} is not in the manifest")));
        };
        let found = hex(&openssl::sha::sha1(content));
        if *digest != found {
            return Err(Refusal::new(Check::Manifest, format!("{name} is {found}, not {digest}")));
        }
    }
    Ok(())
}
