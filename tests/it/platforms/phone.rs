//! What the simulated phone takes in and what it refuses (contracts/apple-wallet.md section 13, rules 3 and 9).

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::process::Command;
use std::sync::LazyLock;

use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::stack::Stack;
use openssl::x509::X509;
use passferry::sandbox::apple::{Certificates, Pair};
use serde_json::{Value, json};

use crate::rig::phone::generator;
use crate::rig::phone::package::{Check, verified};

pub const TYPE: &str = "pass.com.example.loyalty";
const TEAM: &str = "ABCDE12345";
pub const TOKEN: &str = "3f6c0e7b9a1d4c58b2e7";

/// One set for all tests: making keys takes time.
pub static CERTIFICATES: LazyLock<(Certificates, Pair)> = LazyLock::new(|| {
    let certificates = Certificates::new().unwrap();
    let pass = certificates.pass(TYPE, TEAM).unwrap();
    (certificates, pass)
});

pub fn root() -> &'static X509 {
    &CERTIFICATES.0.root.certificate
}

pub fn pass(serial: &str) -> Value {
    json!({
        "formatVersion": 1, "passTypeIdentifier": TYPE, "teamIdentifier": TEAM, "serialNumber": serial,
        "organizationName": "Example Coffee", "description": "Example Coffee loyalty card", "backgroundColor": "rgb(60, 30, 20)",
        "barcodes": [{"format": "PKBarcodeFormatQR", "message": serial, "messageEncoding": "iso-8859-1"}],
        "voided": false, "expirationDate": "2027-12-31T23:59+01:00",
        "storeCard": {
            "headerFields": [{"key": "tier", "label": "TIER", "value": "Gold", "changeMessage": "You are now %@."}],
            "primaryFields": [{"key": "points", "label": "POINTS", "value": 1240, "changeMessage": "Your balance is now %@ points."}],
            "auxiliaryFields": [{"key": "store", "value": "Lyon"}],
            "backFields": [{"key": "balance", "value": 25, "currencyCode": "EUR", "changeMessage": "%@ left"}],
        },
    })
}

/// A package in its parts, to be broken before it is packed.
struct Parts {
    files: BTreeMap<String, Vec<u8>>,
    manifest: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
}

impl Parts {
    fn of(pass: &Value) -> Parts {
        let pixel = generator::PIXEL.to_vec();
        let files = [("pass.json", pass.to_string().into_bytes()), ("icon.png", pixel.clone()), ("fr.lproj/logo.png", pixel)];
        let files = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
        Parts { files, manifest: None, signature: None }
    }

    fn manifest(&self) -> Vec<u8> {
        let entries: BTreeMap<&String, String> =
            self.files.iter().map(|(name, content)| (name, generator::hex(&openssl::sha::sha1(content)))).collect();
        serde_json::to_vec(&entries).unwrap()
    }

    fn packed(&self, certificates: &Certificates, signer: &Pair) -> Vec<u8> {
        let manifest = self.manifest.clone().unwrap_or_else(|| self.manifest());
        let signature = self.signature.clone().unwrap_or_else(|| signature(&manifest, certificates, signer, Pkcs7Flags::DETACHED));
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        let rest = [("manifest.json".to_owned(), manifest), ("signature".to_owned(), signature)];
        for (name, content) in self.files.clone().into_iter().chain(rest) {
            zip.start_file(name, options).unwrap();
            zip.write_all(&content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// Which check refuses it.
    fn refused(&self) -> Check {
        verified(&self.packed(&CERTIFICATES.0, &CERTIFICATES.1), root()).map(|_| ()).unwrap_err().check
    }
}

fn signature(manifest: &[u8], certificates: &Certificates, signer: &Pair, form: Pkcs7Flags) -> Vec<u8> {
    let mut along = Stack::new().unwrap();
    along.push(certificates.wwdr.certificate.clone()).unwrap();
    let made = Pkcs7::sign(&signer.certificate, &signer.key, &along, manifest, Pkcs7Flags::BINARY | form);
    made.unwrap().to_der().unwrap()
}

pub fn good(pass: &Value) -> Vec<u8> {
    Parts::of(pass).packed(&CERTIFICATES.0, &CERTIFICATES.1)
}

/// With this in place of, or beside, what stands there.
fn with(serial: &str, pointer: &str, value: Value) -> Value {
    let mut pass = pass(serial);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    pass.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    pass
}

/// Rule 9: packages of an independent builder are taken, and it reads what the phone takes.
#[test]
fn packages_of_passkit_generator_are_taken() {
    let mut styles = vec![with("m-1001", "/webServiceURL", json!("https://passes.example.com/apple"))];
    styles[0]["authenticationToken"] = json!(TOKEN);
    for style in ["coupon", "eventTicket", "generic", "boardingPass"] {
        let mut pass = pass("m-1002");
        let block = pass.as_object_mut().unwrap().remove("storeCard").unwrap();
        pass[style] = block;
        if style == "boardingPass" {
            pass[style]["transitType"] = json!("PKTransitTypeTrain");
        }
        styles.push(pass);
    }
    let (certificates, signer) = &*CERTIFICATES;
    let files: [(&str, &[u8]); 3] =
        [("icon.png", generator::PIXEL), ("icon@2x.png", generator::PIXEL), ("fr.lproj/logo.png", generator::PIXEL)];
    for pass in &styles {
        let built = generator::build(pass, &files, certificates, signer);
        let package = verified(&built, root()).unwrap_or_else(|refusal| panic!("{refusal}: {pass}"));
        assert_eq!(package.pass["serialNumber"], pass["serialNumber"]);
        assert_eq!(package.files.len(), 4, "{:?}", package.files.keys());
        let read = generator::read(&package.pass);
        assert_eq!((&read["serialNumber"], &read["fields"]), (&pass["serialNumber"], &json!(["tier", "points", "store", "balance"])));
    }
    let stranger = Certificates::new().unwrap();
    let pair = stranger.pass(TYPE, TEAM).unwrap();
    let built = generator::build(&styles[0], &files, &stranger, &pair);
    assert_eq!(verified(&built, root()).unwrap_err().check, Check::Chain);
    assert_eq!(generator::read(&with("m", "/authenticationToken", json!("short")))["serialNumber"], Value::Null, "a second opinion");
}

/// Section 5.2: OpenSSL's own programs say the same of a package.
#[test]
fn openssl_says_the_same_of_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    let manifest = Parts::of(&pass("m-1")).manifest();
    write("manifest.json", &manifest);
    write("signature", &signature(&manifest, &CERTIFICATES.0, &CERTIFICATES.1, Pkcs7Flags::DETACHED));
    write("root.pem", &root().to_pem().unwrap());
    let verify = || {
        let line = "smime -verify -binary -purpose any -inform DER -in signature -content manifest.json -CAfile root.pem -out /dev/null";
        Command::new("openssl").current_dir(folder.path()).args(line.split(' ')).output().expect("openssl").status.code()
    };
    assert_eq!(verify(), Some(0));
    write("manifest.json", b"{}");
    assert_eq!(verify(), Some(4));
}

/// Rule 3.
#[test]
fn broken_packages_are_refused() {
    let (certificates, signer) = &*CERTIFICATES;
    let parts = || Parts::of(&pass("m-1"));
    assert_eq!(verified(&good(&pass("m-1")), root()).unwrap().pass, pass("m-1"));

    let other = Parts::of(&pass("m-2")).manifest();
    let signature_of = |manifest: &[u8], form| Some(signature(manifest, certificates, signer, form));
    let detached = Pkcs7Flags::DETACHED;
    assert_eq!(Parts { signature: signature_of(&other, detached), ..parts() }.refused(), Check::Signature);
    assert_eq!(Parts { signature: Some(b"nothing".to_vec()), ..parts() }.refused(), Check::Signature);
    assert_eq!(Parts { signature: signature_of(&parts().manifest(), Pkcs7Flags::empty()), ..parts() }.refused(), Check::Signature);
    let no_time = signature_of(&parts().manifest(), detached | Pkcs7Flags::NOATTR);
    assert_eq!(Parts { signature: no_time, ..parts() }.refused(), Check::Signature);

    let strangers = Certificates::new().unwrap();
    let pair = strangers.pass(TYPE, TEAM).unwrap();
    assert_eq!(verified(&parts().packed(&strangers, &pair), root()).unwrap_err().check, Check::Chain);
    assert_eq!(verified(&parts().packed(&strangers, signer), root()).unwrap_err().check, Check::Chain, "the intermediate is another's");
    let expired = certificates.pass_valid(TYPE, TEAM, (-20, -1)).unwrap();
    assert_eq!(verified(&parts().packed(certificates, &expired), root()).unwrap_err().check, Check::Chain);

    let mut changed = parts();
    changed.manifest = Some(changed.manifest());
    changed.files.insert("icon.png".to_owned(), b"another".to_vec());
    assert_eq!(changed.refused(), Check::Manifest);
    let mut more = parts();
    more.manifest = Some(more.manifest());
    more.files.insert(".DS_Store".to_owned(), Vec::new());
    assert_eq!(more.refused(), Check::Files);
    let mut less = parts();
    less.manifest = Some(less.manifest());
    less.files.remove("fr.lproj/logo.png");
    assert_eq!(less.refused(), Check::Files);
    let mut nested = parts();
    nested.files = nested.files.into_iter().map(|(name, content)| (format!("card/{name}"), content)).collect();
    assert_eq!(nested.refused(), Check::Files);
    let mut outside = parts();
    outside.files.insert("../up.png".to_owned(), Vec::new());
    assert_eq!(outside.refused(), Check::Zip);

    let mut blind = parts();
    blind.files.remove("icon.png");
    assert_eq!(blind.refused(), Check::Icon);
    for other in [certificates.pass("pass.com.example.other", TEAM), certificates.pass(TYPE, "ZZZZZ12345")] {
        assert_eq!(verified(&parts().packed(certificates, &other.unwrap()), root()).unwrap_err().check, Check::Signer);
    }
    assert_eq!(verified(b"no archive", root()).unwrap_err().check, Check::Zip);
}

/// Rule 3 and section 4.
#[test]
fn broken_passes_are_refused() {
    let field = |group: &str, field: Value| with("m", &format!("/storeCard/{group}"), json!([field]));
    let mut updatable = with("m", "/webServiceURL", json!("https://passes.example.com/apple"));
    updatable["authenticationToken"] = json!("fifteen letters");
    let mut two = pass("m");
    two["coupon"] = json!({});
    let mut none = pass("m");
    none.as_object_mut().unwrap().remove("storeCard");
    for (pass, check) in [
        (with("m", "/formatVersion", json!(2)), Check::Pass),
        (with("m", "/description", json!("")), Check::Pass),
        (with("", "/voided", json!(true)), Check::Pass),
        (with("m", "/voided", json!("yes")), Check::Pass),
        (with("m", "/expirationDate", json!("2027-12-31")), Check::Pass),
        (with("m", "/backgroundColor", json!("rgb(256, 0, 0)")), Check::Pass),
        (with("m", "/groupingIdentifier", json!("g")), Check::Pass),
        (with("m", "/locations", json!(vec![json!({}); 11])), Check::Pass),
        (with("Łódź", "/voided", json!(true)), Check::Pass),
        (updatable, Check::Token),
        (with("m", "/authenticationToken", json!(TOKEN)), Check::Token),
        (two, Check::Style),
        (none, Check::Style),
        (field("backFields", json!({"key": "points", "value": "twice"})), Check::Field),
        (field("backFields", json!({"value": "no key"})), Check::Field),
        (field("backFields", json!({"key": "a"})), Check::Field),
        (field("backFields", json!({"key": "a", "value": true})), Check::Field),
        (field("backFields", json!({"key": "a", "value": "1", "textAlignment": "PKTextAlignmentLeft"})), Check::Field),
        (field("backFields", json!({"key": "a", "value": "25", "currencyCode": "EUR"})), Check::Field),
        (field("backFields", json!({"key": "a", "value": "25", "numberStyle": "PKNumberStyleDecimal"})), Check::Field),
        (field("backFields", json!({"key": "a", "value": "2027-01-01T10:00Z", "dateStyle": "PKDateStyleShort"})), Check::Field),
        (field("backFields", json!({"key": "a", "value": "x", "attributedValue": "<b>x</b>"})), Check::Field),
        (field("auxiliaryFields", json!({"key": "a", "value": "x", "row": 2})), Check::Field),
        (field("headerFields", json!({"key": "a", "value": "x", "dataDetectorTypes": []})), Check::Field),
    ] {
        let refusal = verified(&good(&pass), root()).map(|_| ()).unwrap_err();
        assert_eq!(refusal.check, check, "{refusal}: {pass}");
    }
    let dated = json!({"key": "a", "value": "2027-01-01T10:00Z", "dateStyle": "PKDateStyleShort", "timeStyle": "PKDateStyleNone"});
    let linked = json!({"key": "a", "value": "x", "attributedValue": "see <a href='https://example.com'>here</a>"});
    for fine in [field("backFields", dated), field("backFields", linked)] {
        verified(&good(&fine), root()).unwrap();
    }
}
