//! Credentials of a described platform.

use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::form_urlencoded;

use crate::config::meant::http::{Auth, Token};
use crate::platform::oauth::{Grant, Tokens};
use crate::secret::{Secret, SecretError};

/// Puts credentials into the headers. Secrets are read anew at each try, so that a rotated one is taken up.
pub(super) fn authorize(auth: &Auth, tokens: Option<&Tokens>, headers: &mut HeaderMap, now: SystemTime) -> Result<(), SecretError> {
    match auth {
        Auth::Nothing => {}
        Auth::Bearer(token) => {
            headers.insert(AUTHORIZATION, header(token, |token| format!("Bearer {token}"))?);
        }
        Auth::Basic { user, password } => {
            headers.insert(AUTHORIZATION, header(password, |password| basic(user, password))?);
        }
        Auth::Header { name, key } => {
            headers.insert(name.clone(), header(key, str::to_owned)?);
        }
        Auth::Token(_) => {
            if let Some(header) = tokens.and_then(|tokens| tokens.header(now)) {
                headers.insert(AUTHORIZATION, header);
            }
        }
    }
    Ok(())
}

/// A header made of a secret.
fn header(secret: &Secret, text: impl FnOnce(&str) -> String) -> Result<HeaderValue, SecretError> {
    let value = secret.with(|secret| HeaderValue::from_str(&text(secret)))?;
    let mut value = value.map_err(|_| SecretError::NoHeader(secret.place.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 7617.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", openssl::base64::encode_block(format!("{user}:{password}").as_bytes()))
}

/// One part of a form, encoded.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The client credentials grant (RFC 6749, 4.4).
pub(super) struct ClientCredentials(pub Token);

impl Grant for ClientCredentials {
    fn address(&self) -> &str {
        &self.0.address
    }

    fn headers(&self) -> Result<HeaderMap, SecretError> {
        let mut headers = HeaderMap::new();
        if !self.0.in_form {
            // Both are form-encoded before they are joined (RFC 6749, 2.3.1), or a colon in one of them would part them wrongly.
            let value = header(&self.0.client_secret, |secret| basic(&encoded(&self.0.client_id), &encoded(secret)))?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    fn form(&self, _now: SystemTime) -> Result<String, SecretError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.0.scope {
            form.append_pair("scope", scope);
        }
        form.extend_pairs(&self.0.form);
        if self.0.in_form {
            form.append_pair("client_id", &self.0.client_id);
            self.0.client_secret.with(|secret| {
                form.append_pair("client_secret", secret);
            })?;
        }
        Ok(form.finish())
    }

    fn credentials(&self) -> &'static str {
        "auth: client_id, client_secret and scope, and that token_url is the account's (its region)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretPlace;
    use std::os::unix::fs::PermissionsExt;

    fn kept(text: &str) -> (tempfile::NamedTempFile, Secret) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Secret::new(SecretPlace::File(file.path().to_owned()));
        (file, secret)
    }

    fn headers(auth: &Auth) -> HeaderMap {
        let mut headers = HeaderMap::new();
        authorize(auth, None, &mut headers, SystemTime::UNIX_EPOCH).unwrap();
        headers
    }

    #[test]
    fn credentials_take_the_form_that_the_configuration_says() {
        let (_file, secret) = kept("open sesame");
        assert_eq!(headers(&Auth::Bearer(secret.clone()))[AUTHORIZATION], "Bearer open sesame");
        // RFC 7617, section 2.
        assert_eq!(
            headers(&Auth::Basic { user: "Aladdin".to_owned(), password: secret.clone() })[AUTHORIZATION],
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        let named = headers(&Auth::Header { name: "x-api-key".parse().unwrap(), key: secret });
        assert_eq!(named["x-api-key"], "open sesame");
        assert!(named["x-api-key"].is_sensitive());
    }

    #[test]
    fn a_secret_that_no_header_can_hold_is_named_by_its_place() {
        let (file, secret) = kept("two\nlines");
        let error = authorize(&Auth::Bearer(secret), None, &mut HeaderMap::new(), SystemTime::UNIX_EPOCH).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&file.path().display().to_string()) && !told.contains("two"), "{told}");
    }

    #[test]
    fn a_token_is_asked_for_as_rfc_6749_says() {
        let (_file, secret) = kept("s:cr+t/=é");
        let token = Token {
            address: "https://login.example/token".to_owned(),
            client_id: "id:1".to_owned(),
            client_secret: secret,
            scope: Some("wpas a".to_owned()),
            in_form: false,
            form: vec![("audience".to_owned(), "https://api.example/".to_owned())],
        };
        let grant = ClientCredentials(token.clone());
        let expected = openssl::base64::encode_block(b"id%3A1:s%3Acr%2Bt%2F%3D%C3%A9");
        assert_eq!(grant.headers().unwrap()[AUTHORIZATION], format!("Basic {expected}"));
        let form = "grant_type=client_credentials&scope=wpas+a&audience=https%3A%2F%2Fapi.example%2F";
        assert_eq!(grant.form(SystemTime::UNIX_EPOCH).unwrap(), form);
        let in_form = ClientCredentials(Token { in_form: true, ..token });
        assert!(in_form.headers().unwrap().is_empty());
        let expected = format!("{form}&client_id=id%3A1&client_secret=s%3Acr%2Bt%2F%3D%C3%A9");
        assert_eq!(in_form.form(SystemTime::UNIX_EPOCH).unwrap(), expected);
    }
}
