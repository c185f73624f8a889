//! JSON, signed in the manner of Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 over `id.timestamp.body`.

use chrono::{DateTime, Utc};
use openssl::base64::{decode_block, encode_block};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use reqwest::header::{HeaderMap, HeaderValue};

use super::Fault;
use super::post::Post;
use crate::alert::message::{Envelope, Message};
use crate::config::meant::alert::Address;
use crate::ledger::telling::Letter;
use crate::secret::Secret;
use crate::stop::Stop;

pub fn send(post: &Post, url: &Address, secret: &Secret, letter: &Letter, message: &Message, stop: &Stop) -> Result<(), Fault> {
    let body = serde_json::to_string(&Envelope::of(message, letter.at)).map_err(Fault::later)?;
    let headers = secret.with(|secret| headers(secret, &letter.id, Utc::now(), &body)).map_err(Fault::later)??;
    post.send(url, headers, body, stop)
}

fn headers(secret: &str, id: &str, at: DateTime<Utc>, body: &str) -> Result<HeaderMap, Fault> {
    let seconds = at.timestamp().to_string();
    let signature = sign(secret, id, &seconds, body).map_err(|words| Fault::later(format!("it cannot be signed: {words}")))?;
    let mut headers = HeaderMap::new();
    for (name, value) in [("webhook-id", id), ("webhook-timestamp", &seconds), ("webhook-signature", &signature)] {
        headers.insert(name, HeaderValue::from_str(value).map_err(Fault::later)?);
    }
    Ok(headers)
}

/// `v1,` and the signature in Base64. A secret is `whsec_` and the key in Base64, or else itself the key.
fn sign(secret: &str, id: &str, seconds: &str, body: &str) -> Result<String, String> {
    let key = match secret.trim().strip_prefix("whsec_") {
        Some(encoded) => decode_block(encoded).map_err(|_| "the secret is not Base64 behind whsec_")?,
        None => secret.as_bytes().to_vec(),
    };
    if key.is_empty() {
        return Err("the secret is empty".into());
    }
    let signature = PKey::hmac(&key).and_then(|key| {
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(format!("{id}.{seconds}.{body}").as_bytes())?;
        signer.sign_to_vec()
    });
    Ok(format!("v1,{}", encode_block(&signature.map_err(|error| error.to_string())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_known_message_has_the_known_signature() {
        let signature =
            sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_told_without_showing_it() {
        let told = sign("whsec_hunter2!!", "i", "1", "{}").unwrap_err();
        assert!(told.contains("Base64") && !told.contains("hunter2"), "{told}");
    }
}
