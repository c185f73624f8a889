//! Pushes: an empty word to Apple for each phone that has something to ask for (contract, section 7).
//!
//! Nothing of a push undoes a change: what is owed stays owed until Apple has it, or says that nobody is there any more.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::sign::Signer;
use super::store::{Owed, Result as StoreResult, Store, StoreError, Work, now_ms};
use crate::config::meant::apple::{AppleWallet, PushProof};
use crate::platform::base64url;

/// A token is used so long; the most is an hour, and a new one more often than every 20 minutes is refused (contract 7).
const BEARER_MS: i64 = 55 * 60 * 1000;
/// Requests at once on the connection.
const AT_ONCE: usize = 64;
/// Deadline of a push: two of them pass within the time that `once` waits.
const TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is kept for as long as Apple likes to keep it (contract 7).
const IDLE: Duration = Duration::from_hours(1);
/// Pause after the first try without a connection; doubles up to the time of a retry.
const UNREACHABLE_FIRST: Duration = Duration::from_secs(1);
/// Doublings of the time of a retry.
const DOUBLINGS: u32 = 3;

/// What Apple said of one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    Done,
    /// Nobody is behind the token since this time (milliseconds since 1970).
    Gone {
        until: i64,
    },
    /// It never was a token of this kind of pass.
    Never,
    /// This one may be taken later.
    Later(String),
    /// All are asked to wait.
    SlowDown(String),
    /// Nobody answered, or it could not be sent for a reason that passes by itself.
    NoConnection(String),
    /// No answer in time, on a connection that may well be in order.
    TimedOut(String),
    /// No push is taken before a person acts.
    Stop(String),
}

/// Sends for one account.
pub struct Pusher {
    account: Arc<AppleWallet>,
    http: reqwest::Client,
}

/// What a round of pushes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub pushed: u64,
    /// Registrations that are no more.
    pub removed: u64,
    /// Apple answered a push.
    pub answered: bool,
    /// Why not all were sent, and how long to wait.
    pub broken_off: Option<(String, Duration)>,
    /// Why no more are sent at all.
    pub halted: Option<String>,
}

impl Round {
    /// No more are sent.
    fn is_over(&self) -> bool {
        self.halted.is_some() || self.broken_off.is_some()
    }
}

impl Pusher {
    pub fn new(account: &Arc<AppleWallet>, signer: &Signer) -> Result<Pusher, String> {
        let push = &account.push;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("passferry/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http2_prior_knowledge()
            .http2_keep_alive_interval(IDLE)
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .tls_backend_native()
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .https_only(true);
        if let Some(path) = &push.ca_file {
            let pem = std::fs::read(path).map_err(|error| format!("cannot read the CA file {}: {error}", path.display()))?;
            let unfit = |_| format!("{} holds no PEM certificate that can be read", path.display());
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem).map_err(unfit)?);
        }
        if push.proof == PushProof::Certificate {
            builder = builder.identity(signer.identity()?);
        }
        let http = builder.build().map_err(|error| format!("TLS cannot be set up: {}", innermost(&error)))?;
        Ok(Pusher { account: Arc::clone(account), http })
    }

    /// Sends one push; once more where the token that proves who we are has become too old.
    pub async fn send(&self, store: &Store, token: &str) -> Answered {
        let mut refused: Option<String> = None;
        loop {
            let bearer = match self.bearer(store, refused.as_deref()) {
                Ok(bearer) => bearer,
                Err(answer) => return answer,
            };
            match self.try_once(token, bearer.as_deref()).await {
                Err(error) if error.is_timeout() && !error.is_connect() => return Answered::TimedOut(innermost(&error)),
                Err(error) => return Answered::NoConnection(format!("no answer: {}", innermost(&error))),
                Ok((403, answer)) if reason(&answer) == "ExpiredProviderToken" && refused.is_none() && bearer.is_some() => refused = bearer,
                Ok((status, answer)) => return judge(status, &answer),
            }
        }
    }

    async fn try_once(&self, token: &str, bearer: Option<&str>) -> reqwest::Result<(u16, Json)> {
        let push = &self.account.push;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in
            [("apns-topic", self.account.pass_type.as_str()), ("apns-push-type", &push.kind), ("apns-priority", &push.priority.to_string())]
        {
            headers.extend(HeaderValue::from_str(value).ok().map(|value| (reqwest::header::HeaderName::from_static(name), value)));
        }
        if let Some(mut bearer) = bearer.and_then(|bearer| HeaderValue::from_str(&format!("bearer {bearer}")).ok()) {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let address = format!("{}/3/device/{token}", push.url);
        let response = self.http.post(address).headers(headers).body(push.body.clone()).send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Json::Null)))
    }

    /// The token in use, or a new one where that is too old or was refused. None where the certificate proves who we are. A store that
    /// is busy and a key file that is being changed are so for a while; a key that cannot sign stays one.
    fn bearer(&self, store: &Store, refused: Option<&str>) -> Result<Option<String>, Answered> {
        let PushProof::Token { key, key_id } = &self.account.push.proof else { return Ok(None) };
        let broken = |error: StoreError| Answered::NoConnection(error.to_string());
        let now = now_ms();
        let signer = format!("{} {key_id}", self.account.team);
        let fresh = |work: &Work<'_>| -> rusqlite::Result<Option<String>> {
            let known = work.bearer(&signer)?;
            Ok(known.filter(|(token, at)| (0..BEARER_MS).contains(&(now - at)) && Some(token.as_str()) != refused).map(|(token, _)| token))
        };
        if let Some(token) = store.read(fresh).map_err(broken)? {
            return Ok(Some(token));
        }
        let made = key.with(|pem| bearer(pem, key_id, &self.account.team, SystemTime::now()));
        let made = made.map_err(|error| Answered::NoConnection(format!("the push key: {error}")))?;
        let made = made.map_err(|words| Answered::Stop(format!("the push key ({}): {words}", key.place)))?;
        // Another may have made one meanwhile: theirs is used.
        let kept = store.write(|work| match fresh(work)? {
            Some(theirs) => Ok(theirs),
            None => work.keep_bearer(&signer, &made, now).map(|()| made.clone()),
        });
        kept.map(Some).map_err(broken)
    }

    /// Sends what is owed and due, one push a token, however many passes changed.
    pub async fn round(self: &Arc<Self>, store: &Arc<Store>) -> StoreResult<Round> {
        let mut round = Round::default();
        let until = store.read(|work| work.last_tag())?;
        loop {
            let now = now_ms();
            let owed = store.read(|work| work.owed(now, until, AT_ONCE * 4))?;
            if owed.is_empty() {
                return Ok(round);
            }
            self.send_all(store, owed, &mut round).await?;
            if round.is_over() {
                return Ok(round);
            }
        }
    }

    /// Those behind one that ends the round are not sent. What is answered is noted at once: whoever waits for the rest may give up.
    async fn send_all(self: &Arc<Self>, store: &Arc<Store>, owed: Vec<Owed>, round: &mut Round) -> StoreResult<()> {
        let mut left = owed.into_iter();
        let mut under_way: JoinSet<(Owed, Answered)> = JoinSet::new();
        loop {
            while !round.is_over() && under_way.len() < AT_ONCE {
                let Some(owed) = left.next() else { break };
                let (pusher, store) = (Arc::clone(self), Arc::clone(store));
                under_way.spawn(async move {
                    let answer = pusher.send(&store, &owed.token).await;
                    (owed, answer)
                });
            }
            let Some(first) = under_way.join_next().await else { return Ok(()) };
            let mut answers = Vec::new();
            let mut next = Some(first);
            while let Some(ended) = next {
                match ended {
                    Ok(answer) => answers.push(answer),
                    Err(error) => tracing::error!("a push ended badly: {error}"),
                }
                next = under_way.try_join_next();
            }
            round.answered |= answers.iter().any(|(_, answer)| !matches!(answer, Answered::NoConnection(_) | Answered::TimedOut(_)));
            let now = now_ms();
            store.write(|work| answers.iter().try_for_each(|(owed, answer)| self.note(work, owed, answer, now, round)))?;
        }
    }

    fn note(&self, work: &Work<'_>, owed: &Owed, answer: &Answered, now: i64, round: &mut Round) -> rusqlite::Result<()> {
        let retry = self.account.push.retry;
        match (answer, round.answered) {
            (Answered::Done, _) => {
                round.pushed += 1;
                work.pushed(owed)
            }
            (Answered::Gone { until }, _) => {
                round.removed += work.gone(&owed.token, *until)?;
                Ok(())
            }
            (Answered::Never, _) => {
                round.removed += work.gone(&owed.token, i64::MAX)?;
                Ok(())
            }
            // Others are answered: the trouble is this one's alone.
            (Answered::Later(reason), _) | (Answered::TimedOut(reason), true) => {
                let pause = retry.saturating_mul(1 << owed.tries.min(DOUBLINGS));
                tracing::debug!(platform = self.account.name, reason, "a push is tried again later");
                work.put_off(owed, now + pause.as_millis() as i64)
            }
            (Answered::SlowDown(reason), _) => {
                round.broken_off = Some((reason.clone(), retry));
                Ok(())
            }
            // The connection is missing, not this phone: the whole round waits, and this push with it.
            (Answered::NoConnection(reason), _) | (Answered::TimedOut(reason), false) => {
                let pause = UNREACHABLE_FIRST.saturating_mul(1 << owed.tries.min(16)).min(retry);
                round.broken_off.get_or_insert((reason.clone(), pause));
                work.put_off(owed, now)
            }
            (Answered::Stop(reason), _) => {
                round.halted = Some(reason.clone());
                work.halt(reason, now)
            }
        }
    }
}

/// What Apple's answers mean (contract 7).
fn judge(status: u16, answer: &Json) -> Answered {
    let reason = reason(answer);
    let words = format!("{status} {reason}");
    match (status, reason.as_str()) {
        (200, _) => Answered::Done,
        (410, _) => Answered::Gone { until: answer.get("timestamp").and_then(Json::as_i64).unwrap_or(i64::MAX) },
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => Answered::Never,
        (429, "TooManyProviderTokenUpdates") => Answered::SlowDown(words),
        (429 | 500..=599, _) => Answered::Later(words),
        (403, "ExpiredProviderToken") => Answered::Stop(format!("{words}, said of a new token: look at this machine's clock")),
        _ => Answered::Stop(words),
    }
}

fn reason(answer: &Json) -> String {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
    answer.get("reason").and_then(Json::as_str).map_or_else(|| "without a reason".to_owned(), plain)
}

/// A token: ES256 over team and time (contract 7; RFC 7515, RFC 7518 3.4).
fn bearer(pem: &str, key_id: &str, team: &str, now: SystemTime) -> Result<String, String> {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let header = json!({ "alg": "ES256", "kid": key_id });
    let claims = json!({ "iss": team, "iat": seconds });
    let mut token = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let sign = || {
        let key = PKey::private_key_from_pem(pem.as_bytes())?.ec_key()?;
        let signature = EcdsaSig::sign(&hash(MessageDigest::sha256(), token.as_bytes())?, &key)?;
        let mut both = signature.r().to_vec_padded(32)?;
        both.extend(signature.s().to_vec_padded(32)?);
        Ok::<_, openssl::error::ErrorStack>(both)
    };
    // What the library says of a key it cannot read may quote it.
    let signature = sign().map_err(|_| "it cannot sign; a P-256 key (.p8) from Apple's developer pages is wanted".to_owned())?;
    token.push('.');
    token.push_str(&base64url(&signature));
    Ok(token)
}

/// The causes in words, without the address, which holds a token of a phone.
fn innermost(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push(inner.to_string());
        cause = inner.source();
    }
    match words.last() {
        Some(last) => last.clone(),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => "the request cannot be sent".to_owned(),
    }
}

/// What a round's trouble is told by, once for each reason.
#[derive(Default)]
pub struct Told(BTreeMap<&'static str, String>);

impl Told {
    /// Logs what changed since the last round.
    pub fn tell(&mut self, account: &AppleWallet, round: &Round) {
        let platform = &account.name;
        if round.pushed > 0 || round.removed > 0 {
            tracing::info!(
                platform,
                pushed = round.pushed,
                registrations_removed = round.removed,
                "phones were told that something changed"
            );
        }
        if let Some(reason) = &round.halted {
            tracing::error!(
                platform,
                reason,
                "Apple refuses our pushes: none is sent until this is repaired and passferry started again; rows are applied all the same"
            );
        }
        let broken_off = round.broken_off.as_ref().map(|(reason, _)| reason.clone());
        if broken_off.as_ref() != self.0.get("broken off") {
            if let Some(reason) = &broken_off {
                tracing::warn!(platform, reason, "pushes wait; rows are applied all the same");
            } else {
                tracing::info!(platform, "pushes go out again");
            }
        }
        match broken_off {
            Some(reason) => drop(self.0.insert("broken off", reason)),
            None => drop(self.0.remove("broken off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;

    #[test]
    fn answers_fall_into_what_is_to_be_done() {
        let said = |status, reason: &str| judge(status, &json!({ "reason": reason, "timestamp": 17 }));
        assert_eq!(judge(200, &Json::Null), Answered::Done);
        assert_eq!(said(410, "Unregistered"), Answered::Gone { until: 17 });
        assert_eq!(said(410, "ExpiredToken"), Answered::Gone { until: 17 });
        for reason in ["BadDeviceToken", "DeviceTokenNotForTopic"] {
            assert_eq!(said(400, reason), Answered::Never);
        }
        for (status, reason) in [
            (400, "BadTopic"),
            (400, "PayloadEmpty"),
            (403, "InvalidProviderToken"),
            (403, "BadCertificate"),
            (404, "BadPath"),
            (413, "PayloadTooLarge"),
        ] {
            assert!(matches!(said(status, reason), Answered::Stop(words) if words.contains(reason)), "{reason}");
        }
        for (status, reason) in [(429, "TooManyRequests"), (500, "InternalServerError"), (503, "Shutdown")] {
            assert!(matches!(said(status, reason), Answered::Later(_)), "{reason}");
        }
        assert!(matches!(said(429, "TooManyProviderTokenUpdates"), Answered::SlowDown(_)));
    }

    #[test]
    fn a_token_is_signed_by_the_key_and_says_whose_it_is() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let pem = PKey::from_ec_key(key.clone()).unwrap().private_key_to_pem_pkcs8().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_007);
        let token = bearer(std::str::from_utf8(&pem).unwrap(), "KEYID12345", "ABCDE12345", now).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let decode = |part: &str| {
            let text = part.replace('-', "+").replace('_', "/");
            openssl::base64::decode_block(&format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))).unwrap()
        };
        assert_eq!(serde_json::from_slice::<Json>(&decode(parts[0])).unwrap(), json!({ "alg": "ES256", "kid": "KEYID12345" }));
        assert_eq!(serde_json::from_slice::<Json>(&decode(parts[1])).unwrap(), json!({ "iss": "ABCDE12345", "iat": 1_800_000_007 }));
        let raw = decode(parts[2]);
        assert_eq!(raw.len(), 64);
        let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
        let signature = EcdsaSig::from_private_components(number(&raw[..32]), number(&raw[32..])).unwrap();
        let digest = hash(MessageDigest::sha256(), format!("{}.{}", parts[0], parts[1]).as_bytes()).unwrap();
        assert!(signature.verify(&digest, &key).unwrap());
        assert!(!bearer("hunter2", "a", "b", now).unwrap_err().contains("hunter2"));
    }
}
