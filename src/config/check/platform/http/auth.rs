//! Credentials of a described platform.

use super::super::super::{Check, Key};
use crate::config::meant::http::{Auth, Token};
use crate::config::value::quoted;
use crate::config::written;
use crate::secret::Secret;

/// The forms of credentials, each by its keys; the first of them is needed.
const FORMS: [(&str, &[&str]); 4] = [
    ("bearer", &["bearer"]),
    ("user", &["user", "password"]),
    ("header", &["header", "key"]),
    ("token_url", &["token_url", "client_id", "client_secret", "scope", "credentials", "form"]),
];

impl Check<'_> {
    /// None where there is a fault.
    pub(super) fn auth(&mut self, key: &Key, platform: &written::Platform) -> Option<Auth> {
        let here = key.child("auth");
        let Some(auth) = &platform.auth else {
            return if self.document.pruned(&here) { None } else { Some(Auth::Nothing) };
        };
        let given = self.document.names_in(&here);
        let forms: Vec<&str> =
            FORMS.iter().filter(|(_, keys)| keys.iter().any(|key| given.iter().any(|name| name == key))).map(|(form, _)| *form).collect();
        let form = match *forms {
            [form] => form,
            [] if self.document.pruned_within(&here) => return None,
            _ => {
                let message = "needs the keys of one way: bearer = { … }; user and password; header and key; or token_url, client_id and client_secret";
                self.fault(&here, message.into());
                return None;
            }
        };
        match form {
            "bearer" => self.secret_of(&here, "bearer", auth.bearer.as_ref()).map(Auth::Bearer),
            "user" => {
                let user = self.required(&here.child("user"), auth.user.as_ref(), "user = \"NAME\"");
                let password = self.secret_of(&here, "password", auth.password.as_ref());
                if user.as_ref().is_some_and(|user| user.contains(':')) {
                    self.fault(&here.child("user"), "has a colon, which parts user and password; write the user alone".into());
                }
                Some(Auth::Basic { user: user?, password: password? })
            }
            "header" => {
                let name = self.required(&here.child("header"), auth.header.as_ref(), "header = \"X-Api-Key\"");
                let secret = self.secret_of(&here, "key", auth.key.as_ref());
                let name = name.and_then(|name| {
                    let parsed =
                        name.parse().map_err(|_| format!("{} is not the name of a header; write such as \"X-Api-Key\"", quoted(&name)));
                    self.good(&here.child("header"), parsed)
                });
                Some(Auth::Header { name: name?, key: secret? })
            }
            _ => self.token(&here, auth),
        }
    }

    fn token(&mut self, here: &Key, auth: &written::Auth) -> Option<Auth> {
        let address = self.required(&here.child("token_url"), auth.token_url.as_ref(), "token_url = \"https://login.example.com/token\"");
        let address = address.and_then(|text| self.address(&here.child("token_url"), &text));
        let client_id = self.required(&here.child("client_id"), auth.client_id.as_ref(), "client_id = \"ID\"");
        let client_secret = self.secret_of(here, "client_secret", auth.client_secret.as_ref());
        for name in auth.form.keys() {
            if ["grant_type", "scope", "client_id", "client_secret"].contains(&&**name) {
                self.fault(&here.child("form").child(name), "is in the form already; remove it".into());
            } else if crate::config::value::sounds_secret(name) {
                self.fault(&here.child("form").child(name), "looks like a secret, which is never a value in this file; remove it".into());
            }
        }
        Some(Auth::Token(Box::new(Token {
            address: address?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope: auth.scope.clone(),
            in_form: auth.credentials == Some(written::Credentials::Form),
            form: auth.form.clone().into_iter().collect(),
        })))
    }

    fn secret_of(&mut self, here: &Key, name: &str, place: Option<&written::Table<written::SecretPlace>>) -> Option<Secret> {
        let here = here.child(name);
        let place = self.required(&here, place, &format!("{name} = {{ env = \"NAME\" }}"))?;
        self.secret(&here, &place)
    }
}
