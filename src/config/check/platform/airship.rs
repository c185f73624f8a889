//! Airship Wallet: a description that comes with the program, with the account's own settings in it.

use std::sync::Arc;

use super::{Check, Key};
use crate::config::meant::http::Http;
use crate::config::value::quoted;
use crate::config::written::{self, Region, Table};
use crate::platform::AIRSHIP;

/// Scope of a token (contract, Airship: auth).
const SCOPE: &str = "wpas";

impl Check<'_> {
    pub(super) fn airship(&mut self, key: &Key, platform: &written::Platform) -> Option<Arc<Http>> {
        let (base_url, token_url) = match (platform.region, &platform.base_url) {
            (Some(Region::Us), None) => {
                (Some("https://wallet-api.urbanairship.com/v1".to_owned()), Some("https://oauth2.asnapius.com/token"))
            }
            (Some(Region::Eu), None) => (Some("https://wallet-api.asnapieu.com/v1".to_owned()), Some("https://oauth2.asnapieu.com/token")),
            (None, Some(text)) => (self.address(&key.child("base_url"), text), None),
            (Some(Region::Us | Region::Eu), Some(_)) => {
                self.fault(&key.child("base_url"), "stands beside region; keep one of them".into());
                (None, None)
            }
            (Some(_), _) => {
                self.fault(&key.child("region"), "is one of PassKit; write region = \"us\" or \"eu\"".into());
                (None, None)
            }
            (None, None) => {
                if !self.document.pruned(&key.child("base_url")) {
                    self.fault(&key.child("region"), "is missing; write region = \"us\" or \"eu\", or base_url = \"ADDRESS\"".into());
                }
                (None, None)
            }
        };
        let example = "template = \"ID\", the template whose passes these are";
        let template = self.required(&key.child("template"), platform.template.as_ref(), example)?;
        if template.is_empty() || !template.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let message = format!("{} is not an identifier; write the template's number from Airship's dashboard", quoted(&template));
            self.fault(&key.child("template"), message);
            return None;
        }
        base_url.as_ref()?;
        let described = with(platform, &preset(&template), token_url);
        if described.auth.is_none() {
            let message = "is missing; write auth = { client_id = \"ID\", client_secret = { env = \"NAME\" } }, or user (the app key) and password (the master secret)";
            self.fault(&key.child("auth"), message.into());
            return None;
        }
        self.described(key, &described, "airship", base_url, template)
    }
}

/// What the program knows of Airship, for one template.
fn preset(template: &str) -> written::Platform {
    toml::from_str(&AIRSHIP.replace("TEMPLATE", template)).unwrap_or_default()
}

/// The account's settings over the preset: what is written there counts.
fn with(own: &written::Platform, preset: &written::Platform, token_url: Option<&str>) -> written::Platform {
    let mut all = own.clone();
    for (name, value) in &preset.headers {
        all.headers.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, field) in &preset.fields {
        all.fields.entry(name.clone()).or_insert_with(|| field.clone());
    }
    all.update = all.update.or_else(|| preset.update.clone());
    all.notify = all.notify.or_else(|| preset.notify.clone());
    all.answers = all.answers.or_else(|| preset.answers.clone());
    all.probe = all.probe.or_else(|| preset.probe.clone());
    if let Some(Table(auth)) = &mut all.auth
        && auth.client_id.is_some()
    {
        auth.scope.get_or_insert_with(|| SCOPE.to_owned());
        if let Some(token_url) = token_url {
            auth.token_url.get_or_insert_with(|| token_url.to_owned());
        }
    }
    all
}
