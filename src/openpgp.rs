//! OpenPGP keys (RFC 9580): read from their files, and which of them may sign.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use pgp::composed::{PublicOrSecret, SignedPublicKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, KeyId, VerifyingKey};

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
        let own = key.details.users.iter().flat_map(|user| &user.signatures).chain(&key.details.direct_signatures);
        if !is_alive(key.primary_key.created_at().as_secs(), own, made) {
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

/// Had the key, by the newest of its own signatures, not expired when it signed?
fn is_alive<'a>(created: u32, own: impl Iterator<Item = &'a Signature>, at: u32) -> bool {
    let newest = own
        .filter(|signature| signature.created().is_some())
        .max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs));
    let lives = newest.and_then(Signature::key_expiration_time).map_or(0, pgp::types::Duration::as_secs);
    lives == 0 || at <= created.saturating_add(lives)
}
