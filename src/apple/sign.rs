//! The certificate of a pass type: signs packages, and proves to Apple who pushes (contract, sections 2 and 5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::{X509, X509Ref};

use crate::config::meant::apple::{AppleWallet, Signing};
use crate::secret::{Secret, SecretPlace};

/// So long before its end a certificate is spoken of.
pub const NEAR_DAYS: i64 = 30;

/// Certificate, key and what stands between them and Apple's root.
pub struct Signer {
    pub certificate: X509,
    key: PKey<Private>,
    intermediate: X509,
}

/// How long the certificates are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// `YYYY-MM-DD`.
    pub until: String,
    /// Whole days left; below zero it is over.
    pub days: i64,
    /// What ends then: `certificate` or `intermediate certificate`.
    pub what: &'static str,
}

impl Signer {
    /// Reads and checks what an account signs with. The error says what is wrong and what to do; never what is in a key.
    pub fn load(account: &AppleWallet) -> Result<Signer, String> {
        let read = Signer::read(account);
        // A signature that does not fit leaves its error with the thread, where the next connection would take it for its own.
        drop(ErrorStack::get());
        read
    }

    fn read(account: &AppleWallet) -> Result<Signer, String> {
        let Signing { certificate, key, passphrase, intermediate, check_subject } = &account.signing;
        let (certificate_read, own_key) = read_certificate(certificate, passphrase.as_ref())?;
        let key = match (key, own_key) {
            (Some(place), _) => read_key(place, passphrase.as_ref())?,
            (None, Some(key)) => key,
            (None, None) => {
                return Err(format!("{} holds no private key; write key = {{ file = \"PATH\" }} beside it", certificate.display()));
            }
        };
        let certificate_path = certificate;
        let bytes = fs::read(intermediate).map_err(|error| format!("cannot read {}: {error}", intermediate.display()))?;
        let intermediate_read = X509::from_pem(&bytes).or_else(|_| X509::from_der(&bytes));
        let intermediate_read = intermediate_read.map_err(|_| format!("{} is no certificate", intermediate.display()))?;
        let signer = Signer { certificate: certificate_read, key, intermediate: intermediate_read };
        if !signer.certificate.public_key().is_ok_and(|public| public.public_eq(&signer.key)) {
            return Err(format!("the private key is not the one of {}", certificate_path.display()));
        }
        if signer.key.id() != Id::RSA {
            return Err("the key of a pass type certificate is an RSA key, and this is another".to_owned());
        }
        let issued = signer.intermediate.public_key().is_ok_and(|public| signer.certificate.verify(&public).unwrap_or(false));
        if !issued {
            let above = of_name(signer.certificate.issuer_name(), Nid::COMMONNAME);
            return Err(format!(
                "{} was not issued by {}; its issuer is {above:?}: take Apple's intermediate of that generation",
                certificate_path.display(),
                intermediate.display()
            ));
        }
        if *check_subject {
            signer.is_of(account)?;
        }
        Ok(signer)
    }

    /// A pass whose identifiers disagree with its certificate is refused by the phone (contract 2).
    fn is_of(&self, account: &AppleWallet) -> Result<(), String> {
        let subject = self.certificate.subject_name();
        for (what, nid, wanted) in [("pass type", Nid::USERID, &account.pass_type), ("team", Nid::ORGANIZATIONALUNITNAME, &account.team)] {
            let named = of_name(subject, nid);
            if named != *wanted {
                let hint = "take the certificate of this pass type, or write check_subject = false if Apple's names are others";
                return Err(format!(
                    "the certificate is of {what} {named:?}, and the account of {wanted:?}: phones would refuse its passes; {hint}"
                ));
            }
        }
        Ok(())
    }

    /// The one of the two that ends first.
    pub fn validity(&self) -> Validity {
        let of = |what, certificate: &X509Ref| {
            let (until, days) = ends(certificate.not_after());
            Validity { until, days, what }
        };
        let own = of("certificate", &self.certificate);
        let above = of("intermediate certificate", &self.intermediate);
        if above.days < own.days { above } else { own }
    }

    /// Why it must not sign now, if it must not: phones refuse what an expired certificate signed.
    pub fn is_over(&self) -> Option<String> {
        let now = Asn1Time::days_from_now(0).ok()?;
        for (what, certificate) in [("certificate", &self.certificate), ("intermediate certificate", &self.intermediate)] {
            if certificate.not_after() < now {
                return Some(format!(
                    "the {what} ended on {}: renew it; until then no package can be made",
                    ends(certificate.not_after()).0
                ));
            }
            if certificate.not_before() > now {
                return Some(format!("the {what} is not valid yet; look at this machine's clock"));
            }
        }
        None
    }

    /// A detached signature over the manifest, DER (contract 5). `BINARY`, or line feeds of it would be changed first.
    pub fn sign(&self, manifest: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(fault) = self.is_over() {
            return Err(fault);
        }
        let sign = || {
            let mut above = Stack::new()?;
            above.push(self.intermediate.clone())?;
            Pkcs7::sign(&self.certificate, &self.key, &above, manifest, Pkcs7Flags::BINARY | Pkcs7Flags::DETACHED)?.to_der()
        };
        sign().map_err(|_| "the certificate's key does not sign".to_owned())
    }

    /// Certificates and key as a client of TLS presents them.
    pub fn identity(&self) -> Result<reqwest::Identity, String> {
        let pem = || -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
            let mut chain = self.certificate.to_pem()?;
            chain.extend(self.intermediate.to_pem()?);
            Ok((chain, self.key.private_key_to_pem_pkcs8()?))
        };
        let (chain, key) = pem().map_err(|_| "the certificate cannot be presented".to_owned())?;
        reqwest::Identity::from_pkcs8_pem(&chain, &key).map_err(|_| "the certificate cannot be presented".to_owned())
    }
}

/// The account's signer as its files are now: a certificate that is renewed is taken up without a restart.
pub struct Current {
    account: Arc<AppleWallet>,
    read: Mutex<Option<(Stamp, Loaded)>>,
}

/// What reading them came to.
type Loaded = Result<Arc<Signer>, String>;

/// When the files were written.
type Stamp = [Option<SystemTime>; 3];

impl Current {
    pub fn new(account: Arc<AppleWallet>) -> Current {
        Current { account, read: Mutex::default() }
    }

    pub fn get(&self) -> Loaded {
        let signing = &self.account.signing;
        let key = signing.key.as_ref().and_then(|key| if let SecretPlace::File(path) = &key.place { Some(path) } else { None });
        let written = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let stamp = [written(&signing.certificate), written(&signing.intermediate), key.and_then(|path| written(path))];
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((of, Ok(signer))) if *of == stamp => Ok(Arc::clone(signer)),
            _ => {
                let signer = Signer::load(&self.account).map(Arc::new);
                *read = Some((stamp, signer.clone()));
                signer
            }
        }
    }
}

/// The certificate, and its key where the file has both.
fn read_certificate(path: &Path, passphrase: Option<&Secret>) -> Result<(X509, Option<PKey<Private>>), String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let has_key = !is_pem || bytes.windows(11).any(|window| window == b"PRIVATE KEY");
    let certificate_alone = if is_pem { None } else { X509::from_der(&bytes).ok() };
    if let Some(certificate) = certificate_alone {
        return Ok((certificate, None));
    }
    if has_key {
        let mode = fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?.permissions().mode();
        if mode & 0o037 != 0 {
            return Err(format!("{shown} holds a private key and is open to others (mode {:o}); run: chmod 600 {shown}", mode & 0o777));
        }
    }
    if is_pem {
        let certificate = X509::from_pem(&bytes).map_err(|_| format!("{shown} holds no certificate that can be read"))?;
        let key = if has_key { Some(key_of_pem(&bytes, passphrase, &shown.to_string())?) } else { None };
        return Ok((certificate, key));
    }
    let bundle = Pkcs12::from_der(&bytes).map_err(|_| format!("{shown} is neither PEM nor .p12"))?;
    let parsed = with_passphrase(passphrase, |word| bundle.parse2(word))?.map_err(|_| {
        format!(
            "{shown} cannot be opened: the passphrase is another one, or it is locked in an old way; openssl pkcs12 -legacy -in {shown} \
             -out pass.pem makes a PEM file of it"
        )
    })?;
    let certificate = parsed.cert.ok_or_else(|| format!("{shown} holds no certificate"))?;
    Ok((certificate, parsed.pkey))
}

fn read_key(place: &Secret, passphrase: Option<&Secret>) -> Result<PKey<Private>, String> {
    place
        .with(|pem| key_of_pem(pem.as_bytes(), passphrase, &place.place.to_string()))
        .map_err(|error| format!("the private key: {error}"))?
}

/// What the library says of a key that it cannot read may quote it.
fn key_of_pem(pem: &[u8], passphrase: Option<&Secret>, shown: &str) -> Result<PKey<Private>, String> {
    // Without a word of our own the library would ask the terminal for one.
    with_passphrase(passphrase, |word| PKey::private_key_from_pem_passphrase(pem, word.as_bytes()))?.map_err(|_| {
        let or = if passphrase.is_some() { "the passphrase is another one" } else { "a locked one needs passphrase = { … }" };
        format!("{shown} holds no private key that can be read (PEM); {or}")
    })
}

fn with_passphrase<T>(passphrase: Option<&Secret>, use_it: impl FnOnce(&str) -> T) -> Result<T, String> {
    match passphrase {
        None => Ok(use_it("")),
        Some(secret) => secret.with(use_it).map_err(|error| format!("the passphrase: {error}")),
    }
}

/// An entry of a name; empty where there is none.
fn of_name(name: &openssl::x509::X509NameRef, nid: Nid) -> String {
    let entry = name.entries_by_nid(nid).next().and_then(|entry| entry.data().to_string().ok());
    entry.unwrap_or_default()
}

/// The day, and the days left.
fn ends(time: &Asn1TimeRef) -> (String, i64) {
    let days = Asn1Time::days_from_now(0).and_then(|now| now.diff(time)).map_or(0, |left| i64::from(left.days) - i64::from(left.secs < 0));
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let day = chrono::DateTime::from_timestamp(since_1970 + days * 86_400, 0).map(|day| day.format("%Y-%m-%d").to_string());
    (day.unwrap_or_default(), days)
}
