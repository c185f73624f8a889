//! A token for a service account: a JWT signed with its private key (contract 2; RFC 7523).

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value as Json, json};

use crate::platform::oauth::{Grant, base64url};
use crate::secret::{Secret, SecretError};

const SCOPE: &str = "https://www.googleapis.com/auth/wallet_object.issuer";
const GOOGLE: &str = "https://oauth2.googleapis.com/token";
/// Seconds that the signed request for a token is good for: what two widespread clients use; the most is an hour (contract 2.2).
const EXPIRES_AFTER: u64 = 3595;

/// A service account's key file, and where its tokens come from.
pub(super) struct ServiceAccount {
    key: Secret,
    /// As configured, which overrules the key file.
    configured: Option<String>,
    /// As the key file says, from its first reading on: credentials go to one address.
    found: OnceLock<String>,
}

impl ServiceAccount {
    pub(super) fn new(key: Secret, token_url: Option<String>) -> ServiceAccount {
        ServiceAccount { key, configured: token_url, found: OnceLock::new() }
    }

    /// The key file's own address of tokens, checked once.
    fn find_address(&self, file: &KeyFile<'_>) -> Result<(), String> {
        if self.configured.is_some() {
            return Ok(());
        }
        let address = file.token_uri.unwrap_or(GOOGLE);
        if !is_safe(address) {
            return Err("its token_uri is no https:// address; set token_url, or fetch the key file anew".to_owned());
        }
        if self.found.get_or_init(|| address.to_owned()) == address {
            Ok(())
        } else {
            Err("its token_uri is another one than at the start; restart passferry if that is meant".to_owned())
        }
    }
}

impl Grant for ServiceAccount {
    fn address(&self) -> &str {
        self.configured.as_deref().or_else(|| self.found.get().map(String::as_str)).unwrap_or(GOOGLE)
    }

    fn headers(&self) -> Result<HeaderMap, SecretError> {
        Ok(HeaderMap::new())
    }

    fn form(&self, now: SystemTime) -> Result<String, SecretError> {
        let assertion = self.key.with(|text| {
            let json: Option<Map<String, Json>> = serde_json::from_str(text).ok();
            let file = KeyFile::of(json.as_ref().ok_or("it is no JSON object; a service account's key file is wanted")?)?;
            self.find_address(&file)?;
            assertion(&file, self.address(), now)
        })?;
        let assertion = assertion.map_err(|words: String| SecretError::Unfit { place: self.key.place.to_string(), words })?;
        Ok(format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"))
    }

    fn credentials(&self) -> &'static str {
        "the service account's key file, which may have been revoked, and this machine's clock"
    }
}

/// What is needed of a key file (contract 2.1).
struct KeyFile<'j> {
    email: &'j str,
    key: &'j str,
    key_id: Option<&'j str>,
    token_uri: Option<&'j str>,
}

impl<'j> KeyFile<'j> {
    fn of(json: &'j Map<String, Json>) -> Result<KeyFile<'j>, String> {
        let text = |name: &str| json.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        let needed = |name: &str| text(name).ok_or_else(|| format!("it has no {name}; a service account's key file is wanted"));
        Ok(KeyFile {
            email: needed("client_email")?,
            key: needed("private_key")?,
            key_id: text("private_key_id"),
            token_uri: text("token_uri"),
        })
    }
}

fn assertion(file: &KeyFile<'_>, audience: &str, now: SystemTime) -> Result<String, String> {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = file.key_id {
        header["kid"] = id.into();
    }
    let claims = json!({ "iss": file.email, "scope": SCOPE, "aud": audience, "iat": seconds, "exp": seconds + EXPIRES_AFTER });
    let mut token = base64url(header.to_string().as_bytes());
    token.push('.');
    token.push_str(&base64url(claims.to_string().as_bytes()));
    let signed = PKey::private_key_from_pem(file.key.as_bytes())
        .and_then(|key| openssl::sign::Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(token.as_bytes()));
    // What the library says of a key it cannot read may quote it.
    let signature = signed.map_err(|_| "its private_key cannot sign; a PEM key of RSA is wanted".to_owned())?;
    token.push('.');
    token.push_str(&base64url(&signature));
    Ok(token)
}

/// Encrypted, or to this machine alone.
fn is_safe(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| {
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.username().is_empty() && url.password().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretPlace;
    use openssl::rsa::Rsa;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn account(json: &Json, token_url: Option<&str>) -> (tempfile::NamedTempFile, ServiceAccount) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json.to_string()).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::new(SecretPlace::File(file.path().to_owned()));
        (file, ServiceAccount::new(secret, token_url.map(str::to_owned)))
    }

    fn pem() -> String {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    fn decode(part: &str) -> Vec<u8> {
        let mut text = part.replace('-', "+").replace('_', "/");
        text.extend(std::iter::repeat_n('=', (4 - text.len() % 4) % 4));
        openssl::base64::decode_block(&text).unwrap()
    }

    #[test]
    fn the_request_is_signed_by_the_key_and_says_who_and_what_for() {
        let pem = pem();
        let json = json!({ "client_email": "a@b.example", "private_key": pem, "private_key_id": "k1", "token_uri": GOOGLE });
        let (_file, account) = account(&json, None);
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_007);
        let form = account.form(now).unwrap();
        let token = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let header: Json = serde_json::from_slice(&decode(parts[0])).unwrap();
        assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let claims: Json = serde_json::from_slice(&decode(parts[1])).unwrap();
        let wanted = json!({ "iss": "a@b.example", "scope": SCOPE, "aud": GOOGLE, "iat": 1_800_000_007, "exp": 1_800_003_602 });
        assert_eq!(claims, wanted);
        let key = PKey::private_key_from_pem(pem.as_bytes()).unwrap();
        let mut verifier = openssl::sign::Verifier::new(MessageDigest::sha256(), &key).unwrap();
        verifier.update(format!("{}.{}", parts[0], parts[1]).as_bytes()).unwrap();
        assert!(verifier.verify(&decode(parts[2])).unwrap());
    }

    #[test]
    fn tokens_are_asked_for_where_the_setting_or_the_key_file_says() {
        let json = json!({ "client_email": "a", "private_key": pem(), "token_uri": "http://127.0.0.1:1/token" });
        let (file, from_key) = account(&json, None);
        from_key.form(SystemTime::now()).unwrap();
        assert_eq!(from_key.address(), "http://127.0.0.1:1/token");
        let mut moved = json.clone();
        moved["token_uri"] = "https://elsewhere.example/token".into();
        std::fs::write(file.path(), moved.to_string()).unwrap();
        assert!(from_key.form(SystemTime::now()).unwrap_err().to_string().contains("restart"), "a key's address never changes in secret");
        let (_file, configured) = account(&json, Some("https://tokens.example/t"));
        configured.form(SystemTime::now()).unwrap();
        assert_eq!(configured.address(), "https://tokens.example/t");
    }

    #[test]
    fn a_file_that_is_no_key_is_told_in_words_that_do_not_show_it() {
        let good = json!({ "client_email": "a", "private_key": "hunter2", "token_uri": GOOGLE });
        let without = |name: &str| {
            let mut json = good.clone();
            json.as_object_mut().unwrap().remove(name);
            json
        };
        let mut clear = good.clone();
        clear["token_uri"] = "http://tokens.example/".into();
        for (json, words) in [
            (good.clone(), "cannot sign"),
            (without("client_email"), "no client_email"),
            (without("private_key"), "no private_key"),
            (json!([1]), "no JSON object"),
            (clear, "token_uri"),
        ] {
            let (_file, account) = account(&json, None);
            let told = account.form(SystemTime::now()).unwrap_err().to_string();
            assert!(told.contains(words) && !told.contains("hunter2"), "{told}");
        }
    }
}
