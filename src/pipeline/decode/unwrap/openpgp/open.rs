//! Messages are decrypted, proved whole, their signature checked. All of it happens before anything inside is looked at, since the proof
//! stands at a message's end.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write as _};
use std::path::Path;

use pgp::composed::{DecryptionOptions, Esk, Message, SignatureManyReader, SignedPublicKey, TheRing};
use pgp::errors::Error as PgpError;
use pgp::types::{KeyDetails as _, Seipdv1ReadMode};

use super::super::{DecodeError, FileFault, Watch, peek};
use super::{CLEARTEXT, Opened, unsigned};
use crate::config::meant::Pgp;
use crate::openpgp::{self, Held, public_keys};
use crate::outcome::Code;

/// Messages in one another. Programs write at most three: encrypted, compressed, signed.
const NESTED: usize = 6;

/// Opens a message. Nothing comes of one that is cut short, was altered, or is not signed as it has to be.
pub(in crate::pipeline::decode::unwrap) fn open(
    bytes: Box<dyn Read + Send>,
    pgp: Option<&Pgp>,
    scratch: &Path,
    mut watch: Watch,
) -> Result<Opened, DecodeError> {
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

fn peek_cleartext(bytes: Box<dyn Read + Send>) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let (head, bytes) = peek(bytes)?;
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
