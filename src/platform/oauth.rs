//! Tokens that must be asked for (OAuth 2.0): how to ask, and how long an answer is good for. Dispatch asks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderValue};

use super::judge::{clean, message};
use super::strict;
use crate::secret::SecretError;

/// A token is asked for anew so long before its end, at most.
const RENEWED_BEFORE: Duration = Duration::from_mins(1);
/// How long a token is good whose answer does not say (RFC 6749, 5.1: `expires_in` is only recommended).
const LASTS: Duration = Duration::from_mins(5);
/// Refusals within this time of one that was answered by asking again are of the same token.
const TOGETHER: Duration = Duration::from_secs(1);

/// How a platform is asked for a token.
pub trait Grant: Send + Sync {
    /// Whole address of the token endpoint.
    fn address(&self) -> &str;

    /// Headers of the request, credentials among them.
    fn headers(&self) -> Result<HeaderMap, SecretError>;

    /// The form to send (RFC 6749, 4.4.2), encoded. Secrets are read anew at each call.
    fn form(&self, now: SystemTime) -> Result<String, SecretError>;
}

/// The token of an account.
pub struct Tokens {
    grant: Box<dyn Grant>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    forgotten: Option<SystemTime>,
}

struct Token {
    header: HeaderValue,
    asked: SystemTime,
    renew: SystemTime,
}

impl Tokens {
    pub fn new(grant: Box<dyn Grant>) -> Tokens {
        Tokens { grant, kept: Mutex::default() }
    }

    pub fn grant(&self) -> &dyn Grant {
        &*self.grant
    }

    /// The `Authorization` header; none while there is no token that is still good.
    pub fn header(&self, now: SystemTime) -> Option<HeaderValue> {
        let kept = self.lock();
        // A clock that was set back makes a token look younger than it is.
        kept.token.as_ref().filter(|token| now < token.renew && now >= token.asked).map(|token| token.header.clone())
    }

    /// Takes what the endpoint answered to a request that was sent at `asked`. The error says in words why there is no token.
    pub fn take(&self, status: u16, body: &[u8], asked: SystemTime) -> Result<(), String> {
        if status != 200 {
            return Err(format!("the token endpoint refuses us (status {status}: {})", words(body)));
        }
        let answer = strict::object(body).ok_or("the token endpoint's answer is no JSON object")?;
        let token = answer.get("access_token").and_then(serde_json::Value::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or("the token endpoint's answer has no access_token")?;
        let kind = answer.get("token_type").and_then(serde_json::Value::as_str).unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(format!("the token endpoint gives a token of type {}, not a bearer token", clean(kind)));
        }
        let mut header =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token holds characters that no header may hold")?;
        header.set_sensitive(true);
        let lasts = answer.get("expires_in").and_then(seconds).unwrap_or(LASTS);
        let renew = asked + lasts.saturating_sub(RENEWED_BEFORE.min(lasts / 4));
        self.lock().token = Some(Token { header, asked, renew });
        Ok(())
    }

    /// The platform refused the token: the next request asks for another. Once for all refusals that come together.
    pub fn forget(&self, now: SystemTime) {
        let mut kept = self.lock();
        if kept.forgotten.is_none_or(|last| now.duration_since(last).is_ok_and(|since| since >= TOGETHER)) {
            *kept = Kept { token: None, forgotten: Some(now) };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some endpoints write the number as a text. A year is longer than any token lasts.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Some(Duration::from_secs(seconds.min(365 * 24 * 3600)))
}

/// `error_description`, else `error` (RFC 6749, 5.2), else the body.
fn words(body: &[u8]) -> String {
    let told = strict::object(body).and_then(|answer| answer.get("error_description")?.as_str().map(clean));
    told.unwrap_or_else(|| message(body))
}

/// Parts of a signed token (RFC 7515, section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    openssl::base64::encode_block(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Grant for Nobody {
        fn address(&self) -> &'static str {
            "https://nobody.example/token"
        }

        fn headers(&self) -> Result<HeaderMap, SecretError> {
            Ok(HeaderMap::new())
        }

        fn form(&self, _: SystemTime) -> Result<String, SecretError> {
            Ok(String::new())
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn taken(body: &str) -> Result<Tokens, String> {
        let tokens = Tokens::new(Box::new(Nobody));
        tokens.take(200, body.as_bytes(), at(0)).map(|()| tokens)
    }

    #[test]
    fn a_token_is_renewed_before_its_end() {
        let tokens = taken(r#"{"access_token":"a","token_type":"bearer","expires_in":3600}"#).unwrap();
        assert_eq!(tokens.header(at(3539)).unwrap(), "Bearer a");
        assert!(tokens.header(at(0)).unwrap().is_sensitive());
        assert_eq!(tokens.header(at(3540)), None);
        // One that lasts shorter than the margin is used all the same.
        let short = taken(r#"{"access_token":"a","expires_in":"20"}"#).unwrap();
        assert!(short.header(at(14)).is_some() && short.header(at(15)).is_none());
        assert!(taken(r#"{"access_token":"a"}"#).unwrap().header(at(200)).is_some());
    }

    #[test]
    fn what_is_no_token_is_told_in_words() {
        for (body, words) in [
            ("<html>", "no JSON object"),
            (r#"{"access_token":"","expires_in":1}"#, "no access_token"),
            (r#"{"access_token":"a","access_token":"b"}"#, "no JSON object"),
            (r#"{"access_token":"a","token_type":"mac"}"#, "not a bearer token"),
            (r#"{"access_token":"a\u000ab"}"#, "no header may hold"),
        ] {
            let told = taken(body).err().unwrap();
            assert!(told.contains(words), "{body}: {told}");
        }
        let refused = Tokens::new(Box::new(Nobody)).take(400, br#"{"error":"invalid_grant","error_description":"clock is wrong"}"#, at(0));
        assert_eq!(refused.unwrap_err(), "the token endpoint refuses us (status 400: clock is wrong)");
    }

    #[test]
    fn a_refused_token_is_dropped_once_for_all_refusals_that_come_together() {
        let tokens = taken(r#"{"access_token":"a","expires_in":3600}"#).unwrap();
        tokens.forget(at(10));
        assert_eq!(tokens.header(at(10)), None);
        tokens.take(200, br#"{"access_token":"b","expires_in":3600}"#, at(10)).unwrap();
        tokens.forget(at(10));
        assert_eq!(tokens.header(at(10)).unwrap(), "Bearer b");
        tokens.forget(at(12));
        assert_eq!(tokens.header(at(12)), None);
    }
}
