//! Certificates as Apple's, of a root that nobody trusts but tests (contracts/apple-wallet.md section 5.3). A real phone refuses what they
//! sign.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Name, X509NameRef};

const DAY: i64 = 86_400;

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl Pair {
    /// Both, as PEM.
    pub fn pem(&self) -> anyhow::Result<(String, String)> {
        Ok((String::from_utf8(self.certificate.to_pem()?)?, String::from_utf8(self.key.private_key_to_pem_pkcs8()?)?))
    }
}

/// A root, and all that Apple has below its own.
#[derive(Clone)]
pub struct Certificates {
    pub root: Pair,
    /// Stands for Worldwide Developer Relations: signs those of pass types.
    pub wwdr: Pair,
    /// That of the push service, for `localhost` and 127.0.0.1.
    pub server: Pair,
    /// P-256: signs provider tokens, a `.p8` of the team's.
    pub token_key: PKey<Private>,
}

/// What a certificate is for.
enum Use {
    Root,
    Intermediate,
    Client,
    Server,
}

impl Certificates {
    pub fn new() -> anyhow::Result<Certificates> {
        let year = (-1, 365);
        let root = signed(&name(&[("CN", "Sandbox Root CA"), ("O", "Sandbox"), ("C", "US")])?, rsa()?, None, &Use::Root, year)?;
        let subject = name(&[("CN", "Sandbox Worldwide Developer Relations"), ("OU", "G4"), ("O", "Sandbox"), ("C", "US")])?;
        let wwdr = signed(&subject, rsa()?, Some(&root), &Use::Intermediate, year)?;
        let subject = name(&[("CN", "localhost"), ("O", "Sandbox")])?;
        let server = signed(&subject, p256()?, Some(&root), &Use::Server, year)?;
        Ok(Certificates { root, wwdr, server, token_key: p256()? })
    }

    /// A Pass Type ID certificate: signs passes and opens the push service.
    pub fn pass(&self, pass_type: &str, team: &str) -> anyhow::Result<Pair> {
        self.pass_valid(pass_type, team, (-1, 365))
    }

    /// As [`Certificates::pass`], valid from one day to another, counted from now.
    pub fn pass_valid(&self, pass_type: &str, team: &str, days: (i64, i64)) -> anyhow::Result<Pair> {
        let common = format!("Pass Type ID: {pass_type}");
        let subject = name(&[("UID", pass_type), ("CN", &common), ("OU", team), ("O", "Example"), ("C", "US")])?;
        signed(&subject, rsa()?, Some(&self.wwdr), &Use::Client, days)
    }

    /// Writes what an issuer has: `root.pem`, `wwdr.pem`, `pass.pem`, `pass.key` and `AuthKey.p8`. Files that are there are left alone, so
    /// that what they signed stays good, and all of them are read back.
    pub fn kept(folder: &Path, pass_type: &str, team: &str) -> anyhow::Result<Certificates> {
        let place = |name: &str| folder.join(name);
        if place("server.key").exists() {
            return Certificates::read(folder).with_context(|| format!("cannot read the certificates in {}", folder.display()));
        }
        fs::create_dir_all(folder)?;
        let made = Certificates::new()?;
        let pass = made.pass(pass_type, team)?;
        let pairs = [("root", &made.root), ("wwdr", &made.wwdr), ("pass", &pass), ("server", &made.server)];
        write(&place("AuthKey.p8"), &made.token_key.private_key_to_pem_pkcs8()?)?;
        for (name, pair) in pairs {
            let (certificate, key) = pair.pem()?;
            write(&place(&format!("{name}.pem")), certificate.as_bytes())?;
            write(&place(&format!("{name}.key")), key.as_bytes())?;
        }
        Ok(made)
    }

    fn read(folder: &Path) -> anyhow::Result<Certificates> {
        let pair = |name: &str| -> anyhow::Result<Pair> {
            Ok(Pair {
                certificate: X509::from_pem(&fs::read(folder.join(format!("{name}.pem")))?)?,
                key: PKey::private_key_from_pem(&fs::read(folder.join(format!("{name}.key")))?)?,
            })
        };
        let token_key = PKey::private_key_from_pem(&fs::read(folder.join("AuthKey.p8"))?)?;
        Ok(Certificates { root: pair("root")?, wwdr: pair("wwdr")?, server: pair("server")?, token_key })
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).with_context(|| format!("cannot write {}", path.display()))
}

fn rsa() -> anyhow::Result<PKey<Private>> {
    Ok(PKey::from_rsa(Rsa::generate(2048)?)?)
}

fn p256() -> anyhow::Result<PKey<Private>> {
    Ok(PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?)
}

fn name(parts: &[(&str, &str)]) -> anyhow::Result<X509Name> {
    let mut name = X509Name::builder()?;
    for (field, text) in parts {
        name.append_entry_by_text(field, text)?;
    }
    Ok(name.build())
}

fn signed(subject: &X509Name, key: PKey<Private>, by: Option<&Pair>, purpose: &Use, days: (i64, i64)) -> anyhow::Result<Pair> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(63, MsbOption::ONE, false)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(by.map_or::<&X509NameRef, _>(subject, |pair| pair.certificate.subject_name()))?;
    let now = chrono::Utc::now().timestamp();
    builder.set_not_before(&*Asn1Time::from_unix(now + days.0 * DAY)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(now + days.1 * DAY)?)?;
    builder.set_pubkey(&key)?;
    match purpose {
        Use::Root => {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        }
        Use::Intermediate => {
            builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
            builder.append_extension(KeyUsage::new().key_cert_sign().crl_sign().build()?)?;
        }
        Use::Client => {
            builder.append_extension(BasicConstraints::new().build()?)?;
            builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
            builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        }
        Use::Server => {
            builder.append_extension(BasicConstraints::new().build()?)?;
            builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
            let mut alternative = SubjectAlternativeName::new();
            alternative.dns("localhost").ip(&Ipv4Addr::LOCALHOST.to_string());
            let alternative = alternative.build(&builder.x509v3_context(by.map(|pair| &*pair.certificate), None))?;
            builder.append_extension(alternative)?;
        }
    }
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(by.map(|pair| &*pair.certificate), None))?;
    builder.append_extension(identifier)?;
    builder.sign(by.map_or(&key, |pair| &pair.key), MessageDigest::sha256())?;
    Ok(Pair { certificate: builder.build(), key })
}
