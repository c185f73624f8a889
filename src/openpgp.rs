//! OpenPGP keys (RFC 9580): read from their files, and which of them may sign or be encrypted for. Messages are written here.

mod held;

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use pgp::composed::{MessageBuilder, PublicOrSecret, SignedPublicKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType};
use pgp::types::{CompressionAlgorithm, KeyDetails, KeyId, Password, SigningKey, VerifyingKey};
use rand_core::OsRng;

pub use held::Held;

/// Somebody's public key, with what it says of itself.
pub type Public = SignedPublicKey;

/// The time as keys have it: seconds since 1970, until 2106.
pub fn now() -> u32 {
    u32::try_from(chrono::Utc::now().timestamp()).unwrap_or(u32::MAX)
}

/// Far beyond any key, so that a wrong path cannot fill the memory.
const KEY_FILE_MAX: u64 = 4 << 20;

/// The public keys of a file, binary or armored. The error is words after the path.
pub fn public_keys(path: &Path) -> Result<Vec<SignedPublicKey>, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let keys: Vec<_> = keys(file.take(KEY_FILE_MAX))?.into_iter().filter_map(|key| SignedPublicKey::try_from(key).ok()).collect();
    if keys.is_empty() {
        return Err("holds no OpenPGP public key; write it with: gpg --armor --export KEY".to_owned());
    }
    Ok(keys)
}

/// The secret keys of an armored text. The error is words after the place of the text, and quotes nothing of it.
pub fn secret_keys(text: &str) -> Result<Vec<SignedSecretKey>, String> {
    const INSTEAD: &str = "holds no OpenPGP secret key in ASCII armor; write it with: gpg --armor --export-secret-keys KEY";
    let keys = keys(text.as_bytes()).map_err(|_| INSTEAD.to_owned())?;
    let keys: Vec<_> = keys.into_iter().filter_map(|key| SignedSecretKey::try_from(key).ok()).collect();
    if keys.is_empty() { Err(INSTEAD.to_owned()) } else { Ok(keys) }
}

fn keys(bytes: impl Read) -> Result<Vec<PublicOrSecret>, String> {
    let unread = |error: pgp::errors::Error| format!("is not a file of OpenPGP keys: {error}");
    let (keys, _) = PublicOrSecret::from_reader_many_buf(BufReader::new(bytes)).map_err(unread)?;
    keys.collect::<Result<Vec<_>, _>>().map_err(unread)
}

/// `AB12…`, as `gpg --list-keys --keyid-format long` shows it.
pub fn id(id: &KeyId) -> String {
    id.to_string().to_uppercase()
}

/// The key of `trusted` that made a signature, by the hash of what was signed.
pub fn signer(signature: &Signature, hash: &[u8], trusted: &[SignedPublicKey]) -> Option<KeyId> {
    let config = signature.config()?;
    // Digests for which collisions are made prove nothing (RFC 9580 section 9.5).
    let is_weak = matches!(config.hash_alg, HashAlgorithm::None | HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160);
    // A signature of another type vouches for something else than a file.
    let is_of_data = matches!(config.typ(), SignatureType::Binary | SignatureType::Text);
    if is_weak || !is_of_data || signature.signed_hash_value()? != *hash.get(..2)? {
        return None;
    }
    let made = signature.created()?.as_secs();
    let bytes = signature.signature()?;
    let made_by = |key: &dyn VerifyingKey| key.verify(config.hash_alg, hash, bytes).is_ok().then(|| key.legacy_key_id());
    trusted.iter().filter(|key| key.details.revocation_signatures.is_empty()).find_map(|key| {
        if !is_alive(key.primary_key.created_at().as_secs(), own_signatures(key).into_iter(), made) {
            return None;
        }
        made_by(&key.primary_key).or_else(|| {
            let subkeys = key.public_subkeys.iter().filter(|subkey| {
                subkey.verify_bindings(&key.primary_key).is_ok()
                    && subkey.signatures.iter().all(|binding| binding.key_flags().sign())
                    && is_alive(subkey.key.created_at().as_secs(), subkey.signatures.iter(), made)
            });
            subkeys.into_iter().find_map(|subkey| made_by(&subkey.key))
        })
    })
}

/// What a key says of itself: others certify it too, and nothing of theirs counts here.
fn own_signatures(key: &SignedPublicKey) -> Vec<&Signature> {
    let primary = key.primary_key.legacy_key_id();
    let all = key.details.users.iter().flat_map(|user| &user.signatures).chain(&key.details.direct_signatures);
    all.filter(|signature| signature.issuer_key_id().is_empty() || signature.issuer_key_id().contains(&&primary)).collect()
}

/// Had the key, by the newest of its own signatures, not expired when it signed?
fn is_alive<'a>(created: u32, own: impl Iterator<Item = &'a Signature>, at: u32) -> bool {
    let lives = newest(own).and_then(Signature::key_expiration_time).map_or(0, pgp::types::Duration::as_secs);
    lives == 0 || at <= created.saturating_add(lives)
}

fn newest<'a>(own: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    own.filter(|signature| signature.created().is_some()).max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs))
}

/// The part of somebody's key that a message is encrypted for.
pub struct Recipient {
    part: Part,
    /// As [`id`] shows it.
    pub id: String,
}

enum Part {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

/// Who can be written to by these keys, `now` being seconds since 1970. Each key has to take part: what one of the owners cannot read
/// would be missed too late. The error is words after the path of the keys.
pub fn recipients(keys: Vec<SignedPublicKey>, now: u32) -> Result<Vec<Recipient>, String> {
    keys.into_iter().map(|key| recipient(key, now)).collect()
}

/// The newest living subkey for encryption, as GnuPG takes it, or the primary key where that is for encryption itself.
fn recipient(key: SignedPublicKey, now: u32) -> Result<Recipient, String> {
    let encrypts = |own: &[&Signature]| {
        newest(own.iter().copied()).is_some_and(|binding| binding.key_flags().encrypt_comms() || binding.key_flags().encrypt_storage())
    };
    let own = own_signatures(&key);
    let lives = key.details.revocation_signatures.is_empty() && is_alive(key.primary_key.created_at().as_secs(), own.iter().copied(), now);
    let subkey = key.public_subkeys.iter().filter(|subkey| {
        let revoked = subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
        !revoked
            && subkey.verify_bindings(&key.primary_key).is_ok()
            && encrypts(&subkey.signatures.iter().collect::<Vec<_>>())
            && is_alive(subkey.key.created_at().as_secs(), subkey.signatures.iter(), now)
    });
    let subkey = subkey.max_by_key(|subkey| subkey.key.created_at().as_secs()).filter(|_| lives);
    match subkey {
        Some(subkey) => Ok(Recipient { id: id(&subkey.key.legacy_key_id()), part: Part::Subkey(subkey.key.clone()) }),
        None if lives && encrypts(&own) => Ok(Recipient { id: id(&key.primary_key.legacy_key_id()), part: Part::Primary(key.primary_key) }),
        None => {
            let named = id(&key.primary_key.legacy_key_id());
            Err(format!("holds the key {named}, which nothing can be encrypted for: it has expired, was revoked, or is for signing alone"))
        }
    }
}

/// Who signs what we write: see [`Held::signer`].
pub struct Signer<'a> {
    part: &'a dyn SigningKey,
    passphrase: Password,
}

/// Writes what `plain` holds as one message that each of these can open. It keeps nothing in memory but a block.
///
/// Integrity-protected data of version 1 (RFC 9580 section 5.13.1), which every program in use reads.
pub fn encrypt(plain: impl Read, to: &[Recipient], signer: Option<Signer<'_>>, out: impl Write) -> Result<(), pgp::errors::Error> {
    let mut message = MessageBuilder::from_reader("", plain).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    message.compression(CompressionAlgorithm::ZLIB);
    for recipient in to {
        match &recipient.part {
            Part::Primary(key) => message.encrypt_to_key(OsRng, key)?,
            Part::Subkey(key) => message.encrypt_to_key(OsRng, key)?,
        };
    }
    if let Some(signer) = signer {
        message.sign(signer.part, signer.passphrase, signer.part.hash_alg());
    }
    message.to_writer(OsRng, out)
}
