//! Platforms that the configuration describes.

mod answers;
mod auth;
mod calls;
mod fields;

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{HeaderName, HeaderValue};

use crate::config::check::{Check, Key};
use crate::config::meant::http::{Http, Probe};
use crate::config::value::quoted;
use crate::config::written;
use crate::platform::http::pointer::Pointer;

/// Keys that say where the account is and how it is treated, not what a change means there.
const NOT_MEANT: [&str; 13] = [
    "kind",
    "environment",
    "allowance",
    "in_flight",
    "timeout",
    "tries",
    "settling",
    "ca_file",
    "base_url",
    "account",
    "auth",
    "probe",
    "id_max",
];

impl Check<'_> {
    pub(super) fn http(&mut self, key: &Key, platform: &written::Platform) -> Option<Arc<Http>> {
        let base_url = self.required(&key.child("base_url"), platform.base_url.as_ref(), "base_url = \"https://api.example.com\"");
        let base_url = base_url.and_then(|text| self.address(&key.child("base_url"), &text));
        let account = platform.account.clone().unwrap_or_default();
        self.described(key, platform, "http", base_url, account)
    }

    /// A description, whoever wrote it.
    pub(super) fn described(
        &mut self,
        key: &Key,
        platform: &written::Platform,
        kind: &'static str,
        base_url: Option<String>,
        account: String,
    ) -> Option<Arc<Http>> {
        let before = self.faults.len();
        if platform.id_max == Some(0) {
            self.fault(&key.child("id_max"), "is 0, so that no pass could be named; write at least 1".into());
        }
        let auth = self.auth(key, platform);
        let headers = self.fixed_headers(&key.child("headers"), &platform.headers);
        let fields = self.described_fields(key, platform);
        let find = platform.find.as_ref().and_then(|find| self.find(&key.child("find"), find));
        let update = platform.update.as_ref().and_then(|call| self.update(key, call, platform));
        let create = platform.create.as_ref().and_then(|call| self.create(key, call, platform));
        let expire = platform.expire.as_ref().and_then(|call| self.plain_call(key, "expire", call, platform));
        let void = platform.void.as_ref().and_then(|call| self.plain_call(key, "void", call, platform));
        let mut add = |name: &'static str, call: &Option<written::Table<written::HttpCall>>| {
            call.as_ref().and_then(|call| self.add_call(key, name, call, platform, &fields))
        };
        let (earn, burn) = (add("earn", &platform.earn), add("burn", &platform.burn));
        let (redeem, notify) = (add("redeem", &platform.redeem), add("notify", &platform.notify));
        let batch = platform.batch.as_ref().and_then(|batch| self.batch(&key.child("batch"), batch, platform));
        let answers = self.answers(&key.child("answers"), platform.answers.as_ref());
        let probe = platform.probe.as_ref().and_then(|probe| self.probe(&key.child("probe"), probe));
        let written = [
            &platform.update,
            &platform.create,
            &platform.expire,
            &platform.void,
            &platform.earn,
            &platform.burn,
            &platform.redeem,
            &platform.notify,
        ];
        if written.iter().all(|call| call.is_none()) && platform.batch.is_none() && !self.document.pruned_within(key) {
            self.fault(
                key,
                "does nothing to a pass; write [platform.NAME.update] with request = \"PATCH /passes/{{ external_id }}\"".into(),
            );
        }
        if self.faults.len() > before {
            return None;
        }
        Some(Arc::new(Http {
            kind,
            base_url: base_url?,
            account,
            id_max: platform.id_max.map(usize::from),
            meaning: self.document.flat(key, &NOT_MEANT),
            auth: auth?,
            headers,
            fields,
            find,
            update,
            create,
            expire,
            void,
            earn,
            burn,
            redeem,
            notify,
            batch,
            answers,
            probe,
        }))
    }

    fn probe(&mut self, key: &Key, probe: &written::HttpProbe) -> Option<Probe> {
        let line = self.line(key, "request", probe.request.as_ref(), "request = \"GET /account\"", &[])?;
        let name = probe.name.as_ref().map(|text| self.place(&key.child("name"), text));
        Some(Probe { line, name: name.map_or(Some(None), |place| place.map(Some))?, not_found: probe.not_found.unwrap_or(false) })
    }

    /// A place in JSON.
    fn place(&mut self, key: &Key, text: &str) -> Option<Pointer> {
        self.good(key, Pointer::parse(text).map_err(|fault| format!("{} {fault}", quoted(text))))
    }

    /// The same, of something that must be inside.
    fn inner_place(&mut self, key: &Key, text: &str) -> Option<Pointer> {
        let place = self.place(key, text)?;
        if place.is_whole() {
            self.fault(key, "is the whole; write a place inside, such as \"/id\"".into());
            return None;
        }
        Some(place)
    }

    /// Headers that are the same for every request.
    fn fixed_headers(&mut self, key: &Key, headers: &BTreeMap<String, String>) -> Vec<(HeaderName, HeaderValue)> {
        let mut all = Vec::new();
        for (name, text) in headers {
            let here = key.child(name);
            if text.contains("{{") {
                self.fault(
                    &here,
                    "has a value of a row, which headers of every request have not; write it in the headers of a request".into(),
                );
                continue;
            }
            let Some(name) = self.header_name(&here, name, text) else { continue };
            match HeaderValue::from_str(text) {
                Ok(value) => all.push((name, value)),
                Err(_) => self.fault(&here, "holds a line end or another character that no header may hold; remove it".into()),
            }
        }
        all
    }

    /// A header that the configuration may set, with this text.
    fn header_name(&mut self, key: &Key, name: &str, text: &str) -> Option<HeaderName> {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            self.fault(key, format!("{} is not the name of a header; write letters, digits and \"-\"", quoted(name)));
            return None;
        };
        let lower = header.as_str();
        if ["host", "content-length", "transfer-encoding", "connection"].contains(&lower) {
            self.fault(key, "is set by every request itself; remove it".into());
            return None;
        }
        let secret = ["authorization", "proxy-authorization", "cookie"].contains(&lower)
            || ["key", "token", "secret", "password"].iter().any(|ending| lower.ends_with(ending));
        if secret && !text.contains("{{") {
            let message = format!(
                "looks like a secret, which is never a value in this file; write auth = {{ header = {}, key = {{ env = \"NAME\" }} }}",
                quoted(name)
            );
            self.fault(key, message);
            return None;
        }
        Some(header)
    }
}
