//! Provider tokens (contract section 7): ES256, no older than an hour, and not renewed too often.

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Public};
use openssl::sha::sha256;
use serde::Deserialize;

use super::apns::Settings;
use super::judge::Refusal;
use crate::sandbox::jose::decode;

/// The oldest a token may be, in seconds.
const TOO_OLD: i64 = 3600;

/// The token in use.
#[derive(Default)]
pub(super) struct Tokens {
    /// Its `iat`, and when it was first seen.
    last: Option<(i64, i64)>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
}

/// Reads a bearer token and answers its `iat`.
pub(super) fn judge(token: &str, settings: &Settings, key: &PKey<Public>, now: i64) -> Result<i64, Refusal> {
    let claims = verified(token, &settings.key_id, key).filter(|claims| claims.iss == settings.team && claims.iat <= now);
    match claims {
        None => Err(Refusal::of(403, "InvalidProviderToken")),
        Some(claims) if now - claims.iat > TOO_OLD => Err(Refusal::of(403, "ExpiredProviderToken")),
        Some(claims) => Ok(claims.iat),
    }
}

impl Tokens {
    /// Takes a good token into use, unless the one before is too young to be renewed.
    pub fn take(&mut self, iat: i64, now: i64, renewal: i64) -> Result<(), Refusal> {
        match self.last {
            Some((last, _)) if last == iat => Ok(()),
            Some((_, since)) if now - since < renewal => Err(Refusal::of(429, "TooManyProviderTokenUpdates")),
            _ => {
                self.last = Some((iat, now));
                Ok(())
            }
        }
    }
}

fn verified(token: &str, key_id: &str, key: &PKey<Public>) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
    if head.alg != "ES256" || head.kid != key_id {
        return None;
    }
    // Two numbers of 32 bytes, not the DER that OpenSSL writes (RFC 7518 section 3.4).
    let signature = decode(signature).filter(|signature| signature.len() == 64)?;
    let (r, s) = signature.split_at(32);
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?).ok()?;
    let key = key.ec_key().ok()?;
    signature.verify(&sha256(signed.as_bytes()), &key).ok()?.then(|| serde_json::from_slice(&decode(claims)?).ok())?
}
