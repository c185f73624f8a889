//! What proves who we are: a JWT signed for each moment, or the account's long-lived token (contract 1.1 and 1.2).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Days, NaiveDate, Utc};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use reqwest::header::HeaderValue;
use serde_json::Value as Json;

use crate::config::meant::PasskitCredential;
use crate::platform::base64url;
use crate::platform::judge::Names;
use crate::secret::{Secret, SecretError};

/// The recipe that satisfies every report of the contract: issued a little in the past, valid for less than a minute.
const ISSUED_BEFORE: u64 = 10;
const EXPIRES_AFTER: u64 = 45;
/// A token is used for so long; PassKit refuses those issued 60 s ago.
const KEPT: Duration = Duration::from_secs(20);
/// Refusals within this time of one that was answered by signing again are of the same token: they do not sign once more.
const TOGETHER: Duration = Duration::from_secs(1);
/// A token's end is told so long before.
const TOLD_BEFORE: Days = Days::new(30);

const PAIR: Names = Names { platform: "PassKit", credentials: "the key and the secret, and that they belong to this region" };
const TOKEN: Names = Names {
    platform: "PassKit",
    credentials: "the token, which PassKit's portal shows in the project's settings; a new one is taken up without a restart",
};

pub(super) struct Credential {
    settings: PasskitCredential,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    header: Option<(SystemTime, HeaderValue)>,
    forgotten: Option<SystemTime>,
}

impl Credential {
    pub(super) fn new(settings: &PasskitCredential) -> Credential {
        Credential { settings: settings.clone(), kept: Mutex::default() }
    }

    /// How PassKit and these credentials are spoken of.
    pub(super) fn names(&self) -> &'static Names<'static> {
        match self.settings {
            PasskitCredential::Pair { .. } => &PAIR,
            PasskitCredential::Token { .. } => &TOKEN,
        }
    }

    /// The word for what is accepted or not.
    pub(super) fn noun(&self) -> &'static str {
        match self.settings {
            PasskitCredential::Pair { .. } => "key",
            PasskitCredential::Token { .. } => "token",
        }
    }

    /// The `Authorization` header. The secrets are read anew from time to time, so that rotated ones are taken up.
    pub(super) fn header(&self, now: SystemTime) -> Result<HeaderValue, SecretError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, header)) = &kept.header
            && now.duration_since(*made).is_ok_and(|age| age <= KEPT)
        {
            return Ok(header.clone());
        }
        let header = match &self.settings {
            PasskitCredential::Pair { key, secret, bearer } => {
                let token = key.with(|key| secret.with(|secret| sign(key, secret, now)))??;
                as_header(&if *bearer { format!("Bearer {token}") } else { token }, key)?
            }
            PasskitCredential::Token { token, .. } => token.with(|text| as_header(&format!("Bearer {text}"), token))??,
        };
        kept.header = Some((now, header.clone()));
        Ok(header)
    }

    /// The platform refused it: the next request is signed, or its token read, anew.
    pub(super) fn forget(&self, now: SystemTime) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.forgotten.is_none_or(|last| now.duration_since(last).is_ok_and(|since| since >= TOGETHER)) {
            *kept = Kept { header: None, forgotten: Some(now) };
        }
    }

    /// What is to be said of a token's end before it comes, and once it is past. None where there is nothing to say.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let PasskitCredential::Token { token, ends } = &self.settings else { return None };
        let now = DateTime::<Utc>::from(now);
        // An opaque token says nothing of its end. One that is a JWT does, and is not what PassKit calls long-lived.
        if let Some(ends) = token.with(end_of_jwt).ok().flatten() {
            let words = if ends <= now { "ended" } else { "ends" };
            let at = ends.format("%Y-%m-%d %H:%M:%SZ");
            return Some(format!(
                "the token is a JWT, which {words} at {at}, and not PassKit's long-lived token; take that one, or write key and secret, with which \
                 passferry signs by itself"
            ));
        }
        let ends = (*ends)?;
        if now.date_naive() > ends {
            return Some(format!("token_ends says that the token ended on {ends}; make another in PassKit's portal and write its day"));
        }
        let told_from = ends.checked_sub_days(TOLD_BEFORE)?;
        (now.date_naive() >= told_from).then(|| format!("the token ends {}; make another in PassKit's portal in time", when(ends, now)))
    }
}

fn when(ends: NaiveDate, now: DateTime<Utc>) -> String {
    match (ends - now.date_naive()).num_days() {
        0 => "today".to_owned(),
        1 => format!("on {ends}, tomorrow"),
        days => format!("on {ends}, in {days} days"),
    }
}

/// The end that a JWT names; none where the text is no JWT with one.
fn end_of_jwt(text: &str) -> Option<DateTime<Utc>> {
    let mut parts = text.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let padded = claims.replace('-', "+").replace('_', "/") + ["", "", "==", "="][claims.len() % 4];
    let claims: Json = serde_json::from_slice(&openssl::base64::decode_block(&padded).ok()?).ok()?;
    DateTime::from_timestamp(claims.get("exp")?.as_i64()?, 0)
}

fn as_header(text: &str, secret: &Secret) -> Result<HeaderValue, SecretError> {
    let mut header = HeaderValue::from_str(text).map_err(|_| SecretError::NoHeader(secret.place.to_string()))?;
    header.set_sensitive(true);
    Ok(header)
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
        let signer = Credential::new(&PasskitCredential::Pair { key, secret, bearer: true });
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
        let signer = Credential::new(&PasskitCredential::Pair { key, secret, bearer: false });
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

    #[test]
    fn a_token_is_sent_as_it_is_and_a_new_one_taken_up() {
        let (file, token) = kept_in("long-lived");
        let credential = Credential::new(&PasskitCredential::Token { token, ends: None });
        let now = UNIX_EPOCH + NOW;
        assert_eq!(credential.header(now).unwrap(), "Bearer long-lived");
        std::fs::write(file.path(), "newer").unwrap();
        credential.forget(now);
        assert_eq!(credential.header(now).unwrap(), "Bearer newer");
        std::fs::write(file.path(), "two\nlines").unwrap();
        credential.forget(now + TOGETHER);
        assert!(matches!(credential.header(now + TOGETHER), Err(SecretError::NoHeader(_))));
    }

    #[test]
    fn the_end_of_a_token_is_told_from_thirty_days_before() {
        let ends = NaiveDate::from_ymd_opt(2027, 3, 1);
        let at = |day: u64| UNIX_EPOCH + Duration::from_secs(1_798_761_600 + day * 86_400 + 3600);
        let (_file, token) = kept_in("opaque");
        let credential = Credential::new(&PasskitCredential::Token { token, ends });
        // Day 0 is 2027-01-01, and day 59 the token's last.
        assert_eq!(credential.warning(at(28)), None);
        assert!(credential.warning(at(29)).unwrap().contains("on 2027-03-01, in 30 days"));
        assert!(credential.warning(at(58)).unwrap().contains("tomorrow"));
        assert!(credential.warning(at(59)).unwrap().contains("ends today"));
        assert!(credential.warning(at(60)).unwrap().contains("ended on 2027-03-01"));
    }

    #[test]
    fn a_jwt_in_place_of_a_token_is_told() {
        let (_file, token) = kept_in(&sign("KEY", "secret", UNIX_EPOCH + NOW));
        let credential = Credential::new(&PasskitCredential::Token { token, ends: None });
        assert!(credential.warning(UNIX_EPOCH + NOW).unwrap().contains("is a JWT, which ends at 2027-01-15"));
        assert!(credential.warning(UNIX_EPOCH + NOW + KEPT * 3).unwrap().contains("which ended at"));
    }
}
