//! Platform accounts.

use std::time::Duration;

use super::{Check, Key};
use crate::config::meant::{Environment, Passkit, Platform, PlatformKind, ReadBack};
use crate::config::value::{self, quoted};
use crate::config::written;

/// What `environment` means; production when it is not said.
pub(super) fn environment(written: Option<written::Environment>) -> Environment {
    match written {
        None | Some(written::Environment::Production) => Environment::Production,
        Some(written::Environment::Test) => Environment::Test,
    }
}

impl Check<'_> {
    pub(super) fn platform(&mut self, key: &Key, name: &str, platform: &written::Platform) -> Option<Platform> {
        let kind = self.required(&key.child("kind"), platform.kind.as_ref(), "kind = \"passkit\"");
        // Of a kind that is not known nothing else can be said.
        let passkit = if self.document.pruned(&key.child("kind")) { None } else { self.passkit(key, platform) };
        let allowance = platform.allowance.as_ref().and_then(|text| self.good(&key.child("allowance"), value::allowance(&text.0)));
        for (name, count) in [("in_flight", platform.in_flight), ("tries", platform.tries)] {
            if count == Some(0) {
                self.fault(&key.child(name), "is 0, so nothing would ever be sent; write at least 1".into());
            }
        }
        let timeout =
            platform.timeout.as_ref().and_then(|text| self.good(&key.child("timeout"), value::duration(&text.0, Duration::from_secs(1))));
        let settling = platform
            .settling
            .as_ref()
            .and_then(|text| self.good(&key.child("settling"), value::duration(&text.0, Duration::from_millis(10))));
        let ca_file = platform.ca_file.as_ref().map(|path| self.path(&key.child("ca_file"), path));
        let kind = match kind? {
            written::PlatformKind::Passkit => PlatformKind::Passkit(passkit?),
        };
        Some(Platform {
            name: name.to_owned(),
            kind,
            environment: environment(platform.environment),
            allowance,
            in_flight: platform.in_flight.map(usize::from),
            timeout,
            tries: platform.tries.map(u32::from),
            settling,
            ca_file,
        })
    }

    fn passkit(&mut self, key: &Key, platform: &written::Platform) -> Option<Passkit> {
        let base_url = self.base_url(key, platform);
        let mut secret = |name: &str, place: Option<&written::Table<written::SecretPlace>>, example: &str| {
            let here = key.child(name);
            let place = self.required(&here, place, example)?;
            self.secret(&here, &place)
        };
        let api_key = secret("key", platform.key.as_ref(), "key = { env = \"PASSKIT_KEY\" }");
        let api_secret = secret("secret", platform.secret.as_ref(), "secret = { env = \"PASSKIT_SECRET\" }");
        let program = self.required(
            &key.child("program"),
            platform.program.as_ref(),
            "program = \"ID\", the program's identifier in PassKit's portal",
        );
        if let Some(program) = &program
            && (program.is_empty() || !program.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        {
            let message = format!("{} is not an identifier; write the program's letters and digits from PassKit's portal", quoted(program));
            self.fault(&key.child("program"), message);
        }
        if platform.tier.as_deref() == Some("") {
            self.fault(&key.child("tier"), "is empty; write a tier's identifier, or remove it".into());
        }
        let read_back = match platform.read_back {
            None | Some(written::ReadBack::Presence) => ReadBack::Presence,
            Some(written::ReadBack::Events) => ReadBack::Events,
            Some(written::ReadBack::Balance) => ReadBack::Balance,
            Some(written::ReadBack::Nothing) => ReadBack::Nothing,
        };
        if read_back == ReadBack::Balance && platform.sole_writer != Some(true) {
            let message = "is \"balance\", which proves something only where nobody else changes balances; write sole_writer = true beside it if that is so";
            self.fault(&key.child("read_back"), message.into());
        }
        Some(Passkit {
            base_url: base_url?,
            key: api_key?,
            secret: api_secret?,
            program: program?,
            tier: platform.tier.clone(),
            bearer: platform.bearer.unwrap_or(true),
            read_back,
        })
    }

    fn base_url(&mut self, key: &Key, platform: &written::Platform) -> Option<String> {
        let here = key.child("base_url");
        let text = match (platform.region, &platform.base_url) {
            (Some(written::Region::Pub1), None) => return Some("https://api.pub1.passkit.io".into()),
            (Some(written::Region::Pub2), None) => return Some("https://api.pub2.passkit.io".into()),
            (None, Some(text)) => text,
            (None, None) => {
                if !self.document.pruned(&here) {
                    self.fault(
                        &key.child("region"),
                        "is missing; write region = \"pub1\" (Europe) or \"pub2\" (USA), or base_url = \"ADDRESS\"".into(),
                    );
                }
                return None;
            }
            (Some(_), Some(_)) => {
                self.fault(&here, "stands beside region; keep one of them".into());
                return None;
            }
        };
        let Ok(url) = url::Url::parse(text) else {
            self.fault(&here, "is not an address; write such as \"https://api.pub1.passkit.io\"".into());
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.fault(&here, "has a login in it; write the address alone and give key and secret their own places".into());
            return None;
        }
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let message = match url.scheme() {
            "https" | "http" if url.query().is_some() || url.fragment().is_some() => "has a query; write the address alone",
            "https" => return Some(url.as_str().trim_end_matches('/').to_owned()),
            "http" if loopback => return Some(url.as_str().trim_end_matches('/').to_owned()),
            "http" => "would send credentials in clear; write https:// (http:// is for this machine alone)",
            _ => "is not a web address; write https://…",
        };
        self.fault(&here, message.into());
        None
    }
}
