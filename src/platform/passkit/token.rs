//! The JWT that signs requests (contract 1.1).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use reqwest::header::HeaderValue;

use crate::secret::{Secret, SecretError};

/// The recipe that satisfies every report of the contract: issued a little in the past, valid for less than a minute.
const ISSUED_BEFORE: u64 = 10;
const EXPIRES_AFTER: u64 = 45;
/// A token is used for so long; PassKit refuses those issued 60 s ago.
const KEPT: Duration = Duration::from_secs(20);
/// Refusals within this time of one that was answered by signing again are of the same token: they do not sign once more.
const TOGETHER: Duration = Duration::from_secs(1);

pub(super) struct Signer {
    key: Secret,
    secret: Secret,
    bearer: bool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<(SystemTime, HeaderValue)>,
    forgotten: Option<SystemTime>,
}

impl Signer {
    pub(super) fn new(key: Secret, secret: Secret, bearer: bool) -> Signer {
        Signer { key, secret, bearer, kept: Mutex::default() }
    }

    /// The `Authorization` header. The secrets are read anew at each signing, so that rotated ones are taken up.
    pub(super) fn header(&self, now: SystemTime) -> Result<HeaderValue, SecretError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((signed, header)) = &kept.token
            && now.duration_since(*signed).is_ok_and(|age| age <= KEPT)
        {
            return Ok(header.clone());
        }
        let token = self.key.with(|key| self.secret.with(|secret| sign(key, secret, now)))??;
        let text = if self.bearer { format!("Bearer {token}") } else { token };
        let mut header = HeaderValue::from_str(&text).expect("base64url is printable ASCII");
        header.set_sensitive(true);
        kept.token = Some((now, header.clone()));
        Ok(header)
    }

    /// The platform refused the token: the next request is signed anew.
    pub(super) fn forget(&self, now: SystemTime) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.forgotten.is_none_or(|last| now.duration_since(last).is_ok_and(|since| since >= TOGETHER)) {
            *kept = Kept { token: None, forgotten: Some(now) };
        }
    }
}

fn sign(key: &str, secret: &str, now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = serde_json::json!({ "uid": key, "iat": seconds.saturating_sub(ISSUED_BEFORE), "exp": seconds + EXPIRES_AFTER });
    let mut token = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    token.push_str(&base64url(claims.to_string().as_bytes()));
    let signature = hmac_sha256(secret.as_bytes(), token.as_bytes()).expect("libcrypto has HMAC-SHA256, and a secret is never empty");
    token.push('.');
    token.push_str(&base64url(&signature));
    token
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    openssl::sign::Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(message)
}

fn base64url(bytes: &[u8]) -> String {
    openssl::base64::encode_block(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretPlace;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Duration = Duration::from_secs(1_800_000_123);

    fn kept_in(text: &str) -> (tempfile::NamedTempFile, Secret) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::new(SecretPlace::File(file.path().to_owned()));
        (file, secret)
    }

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let digest = hmac_sha256(b"Jefe", b"what do ya want for nothing?").unwrap();
        let hex: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_token_is_kept_for_twenty_seconds_and_a_rotated_secret_is_taken_up() {
        let (_key, key) = kept_in("KEY");
        let (file, secret) = kept_in("old");
        let signer = Signer::new(key, secret, true);
        let now = UNIX_EPOCH + NOW;
        let first = signer.header(now).unwrap();
        std::fs::write(file.path(), "new").unwrap();
        assert_eq!(signer.header(now + KEPT).unwrap(), first);
        let second = signer.header(now + KEPT + Duration::from_secs(1)).unwrap();
        assert_ne!(second, first);
        assert_eq!(second, format!("Bearer {}", sign("KEY", "new", now + KEPT + Duration::from_secs(1))).as_str());
        assert!(first.is_sensitive());
    }

    #[test]
    fn a_refused_token_is_dropped_once_for_all_refusals_that_come_together() {
        let (_key, key) = kept_in("KEY");
        let (file, secret) = kept_in("old");
        let signer = Signer::new(key, secret, false);
        let now = UNIX_EPOCH + NOW;
        let first = signer.header(now).unwrap();
        std::fs::write(file.path(), "new").unwrap();
        signer.forget(now);
        let second = signer.header(now).unwrap();
        assert_ne!(second, first);
        std::fs::write(file.path(), "newer").unwrap();
        signer.forget(now);
        assert_eq!(signer.header(now).unwrap(), second);
        signer.forget(now + TOGETHER);
        assert_ne!(signer.header(now).unwrap(), second);
    }
}
