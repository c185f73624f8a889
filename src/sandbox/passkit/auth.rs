//! Tokens: HS256 with the secret as plain bytes, judged by the server's clock (contract section 1.1), and long-lived ones (section 1.2).

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;

use super::switches::LongLived;
use crate::sandbox::faults::Faults;
use crate::sandbox::jose::decode;

/// From this age on a token is refused, in seconds.
const TOO_OLD: i64 = 60;
/// How far ahead `exp` may be under the strict switch, in seconds.
const STRICT_EXPIRY: i64 = 60;

pub(super) struct Tokens {
    key: String,
    secret: Mutex<PKey<Private>>,
    /// The last token whose signature held: clients use one for many requests.
    last: Mutex<Option<(String, Claims)>>,
    /// Opaque and permanent, until revoked.
    long_lived: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Clone, Deserialize)]
struct Claims {
    uid: String,
    iat: i64,
    exp: i64,
}

impl Tokens {
    pub fn new(key: &str, secret: &str, long_lived: &str) -> anyhow::Result<Tokens> {
        let long_lived = Mutex::new(Some(long_lived.to_owned()).filter(|token| !token.is_empty()).into_iter().collect());
        Ok(Tokens { key: key.to_owned(), secret: Mutex::new(hmac_key(secret)?), last: Mutex::new(None), long_lived })
    }

    /// Another long-lived token; those before stay good.
    pub fn long_lived(&self) -> String {
        let token = Alphanumeric.sample_string(&mut rand::rng(), 64);
        self.long_lived.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone());
        token
    }

    /// No long-lived token is good any more.
    pub fn revoke(&self) {
        self.long_lived.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a header carries a long-lived token, which goes with `Bearer` alone.
    fn is_long_lived(&self, header: &str) -> bool {
        let known = self.long_lived.lock().unwrap_or_else(PoisonError::into_inner);
        header.strip_prefix("Bearer ").is_some_and(|token| known.iter().any(|known| known == token))
    }

    /// From now on only tokens signed with this secret are good.
    pub fn rotate(&self, secret: &str) -> anyhow::Result<()> {
        let secret = hmac_key(secret)?;
        // Lock order as in `claims`.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = secret;
        *last = None;
        Ok(())
    }

    /// Judges an `Authorization` header; the error is the text of the 401.
    pub fn check(&self, header: Option<&str>, clock: SystemTime, knobs: &Faults) -> Result<(), &'static str> {
        let header = header.ok_or("missing authorization header")?;
        if self.is_long_lived(header) {
            return match knobs.long_lived_token {
                LongLived::Good => Ok(()),
                LongLived::Expired => Err("token is expired"),
                LongLived::Revoked => Err("token was revoked"),
            };
        }
        let token = header.strip_prefix("Bearer ").unwrap_or(header).trim();
        let claims = self.claims(token)?;
        let now = clock.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        if claims.uid != self.key {
            Err("unknown api key")
        } else if claims.iat > now {
            Err("Token used before issued")
        } else if now - claims.iat >= TOO_OLD {
            Err("jwt was issued too long ago")
        } else if claims.exp <= now {
            Err("Token is expired")
        } else if knobs.strict_expiry && claims.exp > now + STRICT_EXPIRY {
            Err("jwt expires too far in the future")
        } else {
            Ok(())
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, &'static str> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, claims)) = &*last
            && known == token
        {
            return Ok(claims.clone());
        }
        let claims = self.verify(token).ok_or("invalid jwt")?;
        *last = Some((token.to_owned(), claims.clone()));
        Ok(claims)
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
        if head.alg != "HS256" {
            return None;
        }
        let secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hmac = Signer::new(MessageDigest::sha256(), &secret).ok()?;
        let expected = hmac.sign_oneshot_to_vec(signed.as_bytes()).ok()?;
        let given = decode(signature)?;
        if expected.len() != given.len() || !openssl::memcmp::eq(&expected, &given) {
            return None;
        }
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

fn hmac_key(secret: &str) -> anyhow::Result<PKey<Private>> {
    anyhow::ensure!(!secret.is_empty(), "the sandbox needs an API secret that is not empty");
    Ok(PKey::hmac(secret.as_bytes())?)
}
