//! OpenPGP messages (RFC 9580): decrypted, proved whole, their signature checked. All of it happens before anything inside is looked at,
//! since the proof stands at a message's end.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write as _};
use std::path::Path;

use pgp::composed::{DecryptionOptions, Esk, Message, SignatureManyReader, SignedPublicKey, SignedSecretKey, TheRing};
use pgp::errors::Error as PgpError;
use pgp::types::{KeyDetails, Password, Seipdv1ReadMode};
use secrecy::ExposeSecret as _;

use super::{DecodeError, FileFault, Watch};
use crate::config::meant::{Pgp, PgpKey};
use crate::openpgp::{self, public_keys, secret_keys};
use crate::outcome::Code;

/// Messages in one another. Programs write at most three: encrypted, compressed, signed.
const NESTED: usize = 6;

const ARMOR: &[u8] = b"-----BEGIN PGP MESSAGE";
const CLEARTEXT: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE";

/// Does a file begin as an OpenPGP message does? In binary, by the header of its first packet and the version inside it, which is no
/// letter in any character set (RFC 9580 sections 4.2 and 5).
pub(super) fn is_message(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    if text.starts_with(ARMOR) || text.starts_with(CLEARTEXT) {
        return true;
    }
    let Some((&first, rest)) = head.split_first() else { return false };
    let (tag, length) = match (first, rest) {
        (0xC0..=0xFF, [0..=191 | 224..=254, ..]) => (first & 0x3F, 1),
        (0xC0..=0xFF, [192..=223, _, ..]) => (first & 0x3F, 2),
        (0xC0..=0xFF, [255, _, _, _, _, ..]) => (first & 0x3F, 5),
        (0x80..=0xBF, _) => ((first >> 2) & 0x0F, [1, 2, 4, 0][usize::from(first & 3)]),
        _ => return false,
    };
    matches!(
        (tag, rest.get(length), rest.get(length + 1)),
        // A session key, for a key and for a passphrase; a one-pass signature, and one before its message; compressed data; integrity-protected data.
        (1 | 4, Some(3 | 6), _) | (3, Some(4..=6), _) | (2, Some(4 | 6), Some(0 | 1)) | (8, Some(0..=3), _) | (18, Some(1 | 2), _)
    )
}

/// What came out of a message, in a scratch file at its start.
pub(super) struct Opened {
    pub text: File,
    /// In words, for the report.
    pub named: String,
    pub note: Option<String>,
}

/// Opens a message. Nothing comes of one that is cut short, was altered, or is not signed as it has to be.
pub(super) fn open(bytes: Box<dyn Read + Send>, pgp: Option<&Pgp>, scratch: &Path, mut watch: Watch) -> Result<Opened, DecodeError> {
    let Some(pgp) = pgp else {
        let known = Message::from_reader(Source(BufReader::new(bytes))).ok().and_then(|(message, _)| recipients(&message));
        let message = known.map_or_else(
            || "The file is signed with OpenPGP, and the feed says nothing of that.".to_owned(),
            |known| format!("The file is encrypted with OpenPGP for {known}, and the feed has no key."),
        );
        return Err(FileFault::new(Code::DecryptionError, message)
            .suggest("Name keys under [feed.NAME.pgp]: keys.NAME = { key = … }, signed_by = [\"PATH\"].")
            .into());
    };
    let gauge = watch.gauge.clone();
    let broken = |error: &dyn fmt::Display| {
        // The reason is for nobody who might have altered the file to learn from.
        tracing::debug!(%error, "an OpenPGP message cannot be read");
        let fault =
            FileFault::new(Code::DecryptionError, "The OpenPGP message is damaged, cut short or was altered; nothing of it is used.")
                .suggest("Deliver the file again.");
        gauge.judge(gauge.refuse(fault))
    };
    let (bytes, cleartext) = peek_cleartext(bytes).map_err(|error| gauge.judge(error))?;
    if cleartext {
        return Err(FileFault::new(Code::SignatureError, "The file is a cleartext signature of OpenPGP, which changes the text it signs.")
            .suggest("Sign with gpg --sign instead of --clearsign.")
            .into());
    }
    let (mut message, _) = Message::from_reader(Source(BufReader::with_capacity(64 << 10, bytes))).map_err(|error| broken(&error))?;
    let mut is_encrypted = false;
    for nested in 0.. {
        if nested == NESTED {
            return Err(broken(&"packed too many times over"));
        }
        message = match message {
            Message::Encrypted { .. } => {
                is_encrypted = true;
                decrypt(message, pgp, &broken)?
            }
            Message::Compressed { .. } => message.decompress().map_err(|error| broken(&error))?,
            Message::Signed { ref reader, .. } => match reader.get_ref() {
                Message::Compressed { .. } => message.decompress().map_err(|error| broken(&error))?,
                Message::Literal { .. } => break,
                Message::Signed { .. } | Message::Encrypted { .. } => return Err(broken(&"signed around another message")),
            },
            Message::Literal { .. } => break,
        };
    }
    let mut text = tempfile::tempfile_in(scratch)?;
    let mut block = vec![0; 64 << 10];
    loop {
        let count = match message.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(&error)),
        };
        watch.count(count).map_err(|error| gauge.judge(error))?;
        text.write_all(&block[..count])?;
    }
    text.rewind()?;
    let (signed, note) = match &message {
        Message::Signed { reader, .. } => signed_by(reader, pgp)?,
        _ => (None, None),
    };
    if pgp.required && signed.is_none() {
        return Err(unsigned().into());
    }
    let words = [is_encrypted.then(|| "encrypted".to_owned()), signed.map(|signer| format!("signed by {signer}"))];
    let words: Vec<_> = words.into_iter().flatten().collect();
    let named = if words.is_empty() { "openpgp".to_owned() } else { format!("openpgp ({})", words.join(", ")) };
    Ok(Opened { text, named, note })
}

/// The fault of a file without a signature, where one is required.
pub(super) fn unsigned() -> FileFault {
    FileFault::new(Code::SignatureError, "The file is not signed, and the feed takes signed files only.")
        .suggest("Sign it (gpg --sign --encrypt) with a key that pgp.signed_by names.")
}

fn decrypt<'a>(message: Message<'a>, pgp: &Pgp, broken: &dyn Fn(&dyn fmt::Display) -> DecodeError) -> Result<Message<'a>, DecodeError> {
    let known = recipients(&message).unwrap_or_default();
    let wanted = match &message {
        Message::Encrypted { esk, .. } => esk.clone(),
        _ => Vec::new(),
    };
    let keys = pgp.keys.iter().map(Held::read).collect::<io::Result<Vec<_>>>()?;
    let ring = TheRing {
        secret_keys: keys.iter().flat_map(|held| &held.keys).collect(),
        key_passwords: keys.iter().filter_map(|held| held.passphrase.as_ref()).collect(),
        // Nothing is used before the proof at the end was read, so that the message need not be held in memory until then.
        decrypt_options: DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming),
        ..TheRing::default()
    };
    match message.decrypt_the_ring(ring, true) {
        Ok((message, _)) => Ok(message),
        Err(PgpError::MissingKey) => {
            for held in &keys {
                held.opens(&wanted)?;
            }
            let ours: Vec<_> = keys.iter().map(Held::ids).collect();
            let ours = if ours.is_empty() { "none".to_owned() } else { ours.join("; ") };
            let message = format!("The file is encrypted for {known}, and no key of the feed opens it. Its keys: {ours}.");
            Err(FileFault::new(Code::DecryptionError, message)
                .suggest("Encrypt it for a key of the feed, or add the secret key under pgp.keys.")
                .into())
        }
        Err(error) => Err(broken(&error)),
    }
}

/// Who can open an encrypted message, in words. None of one that is not encrypted.
fn recipients(message: &Message<'_>) -> Option<String> {
    let Message::Encrypted { esk, .. } = message else { return None };
    let names = esk.iter().map(|esk| match esk {
        Esk::PublicKeyEncryptedSessionKey(esk) => match (esk.id(), esk.fingerprint()) {
            (Ok(id), _) if id.is_wildcard() => "a key that it does not name".to_owned(),
            (Ok(id), _) => format!("key {}", openpgp::id(id)),
            (_, Ok(Some(fingerprint))) => format!("key {fingerprint}"),
            _ => "a key that it does not name".to_owned(),
        },
        Esk::SymKeyEncryptedSessionKey(_) => "a passphrase instead of a key".to_owned(),
    });
    let names: Vec<_> = names.collect();
    Some(if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") })
}

/// Who of the trusted made a signature of the message. A signature by nobody trusted is a fault, unless nobody is.
fn signed_by(reader: &SignatureManyReader<'_>, pgp: &Pgp) -> Result<(Option<String>, Option<String>), DecodeError> {
    if pgp.signed_by.is_empty() {
        return Ok((None, Some("the file is signed, and nobody checked by whom: pgp.signed_by names no key".to_owned())));
    }
    let mut trusted: Vec<SignedPublicKey> = Vec::new();
    for path in &pgp.signed_by {
        trusted.extend(public_keys(path).map_err(|fault| io::Error::other(format!("the public key {} {fault}", path.display())))?);
    }
    let mut claimed = Vec::new();
    for index in 0..reader.num_signatures() {
        let (Some(signature), Some(hash)) = (reader.signature(index), reader.hash(index)) else { continue };
        if let Some(signer) = openpgp::signer(signature, hash, &trusted) {
            return Ok((Some(openpgp::id(&signer)), None));
        }
        claimed.extend(signature.issuer_key_id().into_iter().map(openpgp::id));
    }
    let by = if claimed.is_empty() { "a key that is not named".to_owned() } else { format!("key {}", claimed.join(", ")) };
    let ours: Vec<_> = trusted.iter().map(|key| openpgp::id(&key.legacy_key_id())).collect();
    let message = format!("The signature, said to be of {by}, is of no valid key that the feed trusts ({}).", ours.join(", "));
    Err(FileFault::new(Code::SignatureError, message)
        .suggest("Sign with a trusted key that has neither expired nor been revoked, or add the signer's public key to pgp.signed_by.")
        .into())
}

/// Secret keys from one place.
struct Held<'a> {
    from: &'a PgpKey,
    keys: Vec<SignedSecretKey>,
    passphrase: Option<Password>,
}

impl<'a> Held<'a> {
    /// That a key of ours cannot be read is no fault of the file.
    fn read(from: &'a PgpKey) -> io::Result<Held<'a>> {
        let unread = |error: &dyn fmt::Display| io::Error::other(format!("the OpenPGP key {} cannot be read: {error}", from.name));
        let text = from.key.read().map_err(|error| unread(&error))?;
        let keys = secret_keys(text.expose_secret()).map_err(|fault| unread(&format!("{} {fault}", from.key.place)))?;
        let passphrase =
            from.passphrase.as_ref().map(|secret| secret.with(|text| Password::from(text))).transpose().map_err(|error| unread(&error))?;
        Ok(Held { from, keys, passphrase })
    }

    /// Fails where the message is meant for a key that cannot be unlocked: then it is the passphrase that is wrong, not the file.
    fn opens(&self, wanted: &[Esk]) -> io::Result<()> {
        let none = Password::empty();
        let passphrase = self.passphrase.as_ref().unwrap_or(&none);
        for esk in wanted {
            let Esk::PublicKeyEncryptedSessionKey(esk) = esk else { continue };
            for key in &self.keys {
                let primary = esk.match_identity(key.primary_key.public_key())
                    && !matches!(key.primary_key.unlock(passphrase, |_, _| Ok(())), Ok(Ok(())));
                let sub = key.secret_subkeys.iter().any(|sub| {
                    esk.match_identity(sub.key.public_key()) && !matches!(sub.key.unlock(passphrase, |_, _| Ok(())), Ok(Ok(())))
                });
                if primary || sub {
                    let name = &self.from.name;
                    let words = if self.passphrase.is_some() {
                        format!("the passphrase of the OpenPGP key {name} does not unlock it; correct pgp.keys.{name}.passphrase")
                    } else {
                        format!("the OpenPGP key {name} is locked; write pgp.keys.{name}.passphrase = {{ file = \"PATH\" }}")
                    };
                    return Err(io::Error::other(words));
                }
            }
        }
        Ok(())
    }

    /// Its name and the IDs that a file may be encrypted for.
    fn ids(&self) -> String {
        let ids = self.keys.iter().flat_map(|key| {
            let subkeys = key.secret_subkeys.iter().map(|sub| openpgp::id(&sub.key.legacy_key_id()));
            std::iter::once(openpgp::id(&key.primary_key.legacy_key_id())).chain(subkeys)
        });
        format!("{} ({})", self.from.name, ids.collect::<Vec<_>>().join(", "))
    }
}

fn peek_cleartext(bytes: Box<dyn Read + Send>) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let (head, bytes) = super::peek(bytes)?;
    Ok((bytes, head.trim_ascii_start().starts_with(CLEARTEXT)))
}

/// What the library reads from: it wants its sources to be printable.
struct Source(BufReader<Box<dyn Read + Send>>);

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Source")
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::is_message;

    #[test]
    fn messages_are_told_from_text() {
        for head in [
            &b"\n-----BEGIN PGP MESSAGE-----\n"[..],
            b"-----BEGIN PGP SIGNED MESSAGE-----",
            b"\x85\x01\x0C\x03\xAB\xCD",
            b"\x84\x5E\x03\xAB\xCD",
            b"\xC1\x5E\x03\xAB\xCD",
            b"\xC1\xC0\x4C\x03\xAB",
            b"\x8C\x0D\x04\x09\x03",
            b"\xC3\x0D\x04\x09\x03",
            b"\xA3\x01\x5B",
            b"\xA3\x02\x78",
            b"\x90\x0D\x03\x00\x0A",
            b"\xD2\xC0\x43\x01\xAB",
        ] {
            assert!(is_message(head), "{}", head.escape_ascii());
        }
        for head in [
            &b""[..],
            b"\xC1",
            b"id,points\n",
            "é,points\n".as_bytes(),
            "ä;b\r\n".as_bytes(),
            "\u{feff}id,points\n".as_bytes(),
            "会員,ポイント\n".as_bytes(),
            b"\xC4nderung;Punkte\n",
            b"\xA3;points\n",
            b"\xFF\xFEi\0d\0",
            b"\x89\x95\x88\xF5,points\n",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----",
        ] {
            assert!(!is_message(head), "{}", head.escape_ascii());
        }
    }
}
