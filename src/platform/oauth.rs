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
/// Errors that say "later" rather than no (RFC 6749, 4.1.2.1; Google's clients take the first for one as well).
const LATER: [&str; 3] = ["internal_failure", "server_error", "temporarily_unavailable"];

/// How a platform is asked for a token.
pub trait Grant: Send + Sync {
    /// Whole address of the token endpoint.
    fn address(&self) -> &str;

    /// Headers of the request, credentials among them.
    fn headers(&self) -> Result<HeaderMap, SecretError>;

    /// The form to send (RFC 6749, 4.4.2), encoded. Secrets are read anew at each call.
    fn form(&self, now: SystemTime) -> Result<String, SecretError>;

    /// What to check when the endpoint refuses, for people.
    fn credentials(&self) -> &'static str;
}

/// Why there is no token, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// The endpoint refuses the credentials, or there are none that could be shown to it.
    Denied(String),
    /// It may give one later, or something else answers in its place.
    Unavailable(String),
}

/// The token of an account.
pub struct Tokens {
    grant: Box<dyn Grant>,
    kept: Mutex<Option<Token>>,
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
        // A clock that was set back makes a token look younger than it is.
        self.lock().as_ref().filter(|token| now < token.renew && now >= token.asked).map(|token| token.header.clone())
    }

    /// Takes what the endpoint answered to a request that was sent at `asked`.
    pub fn take(&self, status: u16, body: &[u8], asked: SystemTime) -> Result<(), NoToken> {
        if status == 200 {
            return self.keep(body, asked).map_err(NoToken::Unavailable);
        }
        let words = words(body);
        let later =
            strict::object(body).is_some_and(|answer| LATER.iter().any(|word| answer.get("error").is_some_and(|error| error == word)));
        Err(match status {
            400..=499 if !later && !matches!(status, 404 | 407 | 408 | 425 | 429) => {
                let check = self.grant.credentials();
                NoToken::Denied(format!("the token endpoint refuses us (status {status}: {words}); check {check}"))
            }
            404 => NoToken::Unavailable(format!("no token endpoint is there (status 404: {words}); check token_url")),
            _ => NoToken::Unavailable(format!("the token endpoint gives no token for now (status {status}: {words})")),
        })
    }

    fn keep(&self, body: &[u8], asked: SystemTime) -> Result<(), String> {
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
        *self.lock() = Some(Token { header, asked, renew });
        Ok(())
    }

    /// The platform refused this token: the next request asks for another. One that was asked for meanwhile stays.
    pub fn forget(&self, refused: &HeaderValue) {
        let mut kept = self.lock();
        if kept.as_ref().is_some_and(|token| token.header == *refused) {
            *kept = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
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

        fn credentials(&self) -> &'static str {
            "the papers"
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn taken(body: &str) -> Result<Tokens, NoToken> {
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
            assert!(matches!(&told, NoToken::Unavailable(told) if told.contains(words)), "{body}: {told:?}");
        }
    }

    #[test]
    fn a_no_to_the_credentials_is_told_apart_from_a_later() {
        let refused = |status, body: &str| Tokens::new(Box::new(Nobody)).take(status, body.as_bytes(), at(0)).unwrap_err();
        let grant = r#"{"error":"invalid_grant","error_description":"clock is wrong"}"#;
        let words = "the token endpoint refuses us (status 400: clock is wrong); check the papers";
        assert_eq!(refused(400, grant), NoToken::Denied(words.to_owned()));
        for status in [401, 403] {
            assert!(matches!(refused(status, "{}"), NoToken::Denied(_)), "{status}");
        }
        for (status, body) in
            [(500, "{}"), (429, "{}"), (404, "{}"), (302, ""), (503, grant), (400, r#"{"error":"temporarily_unavailable"}"#)]
        {
            assert!(matches!(refused(status, body), NoToken::Unavailable(_)), "{status} {body}");
        }
    }

    #[test]
    fn a_refused_token_is_dropped_and_the_one_after_it_stays() {
        let tokens = taken(r#"{"access_token":"a","expires_in":3600}"#).unwrap();
        let first = tokens.header(at(10)).unwrap();
        tokens.forget(&first);
        assert_eq!(tokens.header(at(10)), None);
        tokens.take(200, br#"{"access_token":"b","expires_in":3600}"#, at(10)).unwrap();
        // An answer to a request that was sent with the first.
        tokens.forget(&first);
        let second = tokens.header(at(10)).unwrap();
        assert_eq!(second, "Bearer b");
        tokens.forget(&second);
        assert_eq!(tokens.header(at(10)), None, "however soon it follows");
    }
}
