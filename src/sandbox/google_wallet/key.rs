//! The service account: its key file, and tokens for signed assertions (contract section 2).

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Knobs;
use crate::sandbox::answer::{Failure, Reply};
use crate::sandbox::bearer::Tokens;
use crate::sandbox::jose::decode;
use crate::sandbox::oauth;
use crate::sandbox::stand_in::{Request, seconds};

const SCOPE: &str = "https://www.googleapis.com/auth/wallet_object.issuer";
/// What Google's own libraries write as the audience, wherever they send the assertion (contract section 2.2).
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest life of an assertion, in seconds.
const LIFE_MAX: i64 = 3600;
/// How far the clocks of client and server may differ, in seconds.
const SKEW: i64 = 60;

pub(super) struct Account {
    key: PKey<Private>,
    email: String,
    key_id: String,
    token_uri: String,
    pub tokens: Tokens,
}

impl Account {
    /// Takes the account of a key file; without one makes an account, and writes it there.
    pub fn open(file: Option<&Path>, kept: Option<&Value>, token_uri: &str) -> anyhow::Result<Account> {
        let written = file.map(fs::read_to_string).and_then(Result::ok);
        let written = match (&written, file) {
            (Some(text), Some(path)) => {
                Some(serde_json::from_str::<Value>(text).with_context(|| format!("{} is no key file", path.display()))?)
            }
            _ => None,
        };
        if let Some(known) = written.as_ref().or(kept) {
            return Account::read(known, token_uri);
        }
        let account = Account {
            key: generated()?,
            email: "passferry@sandbox.iam.gserviceaccount.com".to_owned(),
            key_id: "5a9db0c4".repeat(5),
            token_uri: token_uri.to_owned(),
            tokens: Tokens::default(),
        };
        if let Some(path) = file {
            let write = || -> anyhow::Result<()> {
                let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                Ok(file.write_all(account.file()?.to_string().as_bytes())?)
            };
            write().with_context(|| format!("cannot write the key file {}", path.display()))?;
        }
        Ok(account)
    }

    fn read(file: &Value, token_uri: &str) -> anyhow::Result<Account> {
        let text =
            |name: &str| file.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("the key file has no {name}"));
        Ok(Account {
            key: PKey::private_key_from_pem(text("private_key")?.as_bytes()).context("the key file's private_key cannot be read")?,
            email: text("client_email")?,
            key_id: text("private_key_id")?,
            token_uri: token_uri.to_owned(),
            tokens: Tokens::default(),
        })
    }

    /// The key file, as a user downloads it.
    pub fn file(&self) -> anyhow::Result<Value> {
        Ok(json!({
            "type": "service_account",
            "project_id": "sandbox",
            "private_key_id": self.key_id,
            "private_key": String::from_utf8(self.key.private_key_to_pem_pkcs8()?)?,
            "client_email": self.email,
            "client_id": "100000000000000000000",
            "token_uri": self.token_uri,
        }))
    }

    /// `POST <token_uri>` (contract section 2.3).
    pub fn exchange(&self, request: &Request, now: SystemTime, knobs: &Knobs) -> Result<Reply, Failure> {
        if let Some(error) = &knobs.token_error {
            return Err(oauth::failure(error, "as the sandbox was told"));
        }
        let form: HashMap<String, String> = url::form_urlencoded::parse(&request.raw).into_owned().collect();
        if form.get("grant_type").map(String::as_str) != Some(GRANT) {
            return Err(oauth::failure("unsupported_grant_type", "Invalid grant_type"));
        }
        let assertion = form.get("assertion").ok_or_else(|| oauth::failure("invalid_request", "Missing required parameter: assertion"))?;
        self.judge(assertion, seconds(now)).map_err(|description| oauth::failure("invalid_grant", description))?;
        let lives = Duration::from_secs(knobs.token_seconds);
        let token = self.tokens.issue("ya29.c.", now, lives, knobs.token_calls);
        let expires: Value = if knobs.token_seconds_as_text { knobs.token_seconds.to_string().into() } else { knobs.token_seconds.into() };
        Reply::json(&json!({"access_token": token, "expires_in": expires, "token_type": "Bearer"}))
    }

    fn judge(&self, assertion: &str, now: i64) -> Result<(), &'static str> {
        let claims = self.verify(assertion).ok_or("Invalid JWT Signature.")?;
        if claims.iss != self.email {
            return Err("Invalid grant: account not found");
        }
        let here = url::Url::parse(&claims.aud).is_ok_and(|url| url.path() == "/google_wallet/token");
        if claims.aud != AUDIENCE && claims.aud != self.token_uri && !here {
            return Err("Invalid JWT: Failed audience check.");
        }
        if !claims.scope.split(' ').any(|scope| scope == SCOPE) {
            return Err("Invalid OAuth scope or ID token audience provided.");
        }
        if claims.exp - claims.iat > LIFE_MAX || claims.exp <= claims.iat || claims.iat > now + SKEW || claims.exp <= now - SKEW {
            return Err("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
        }
        Ok(())
    }

    fn verify(&self, assertion: &str) -> Option<Claims> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
        if head.alg != "RS256" || head.kid.is_some_and(|kid| kid != self.key_id) {
            return None;
        }
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key).ok()?;
        if !verifier.verify_oneshot(&decode(signature)?, signed.as_bytes()).ok()? {
            return None;
        }
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

/// One pair of keys for all sandboxes of a process: making one takes a good part of a second.
fn generated() -> anyhow::Result<PKey<Private>> {
    static KEY: Mutex<Option<PKey<Private>>> = Mutex::new(None);
    let mut key = KEY.lock().unwrap_or_else(PoisonError::into_inner);
    match &*key {
        Some(key) => Ok(key.clone()),
        None => Ok(key.insert(PKey::from_rsa(Rsa::generate(2048)?)?).clone()),
    }
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    aud: String,
    iat: i64,
    exp: i64,
}
