//! Platform accounts.

mod airship;
mod apple;
mod google;
mod http;
mod passkit;
mod thewalletcrew;

use std::sync::Arc;
use std::time::Duration;

use super::{Check, Key};
use crate::config::keys::{COMMON, OWN, Own};
use crate::config::meant::{Environment, Platform, PlatformKind};
use crate::config::value::{self, choices};
use crate::config::written;

/// What `environment` means; production when it is not said.
pub(super) fn environment(written: Option<written::Environment>) -> Environment {
    match written {
        None | Some(written::Environment::Production) => Environment::Production,
        Some(written::Environment::Test) => Environment::Test,
    }
}

/// Deadline of a request where none is written: no kind has a shorter one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Does the address lead nowhere else? Stand-ins for platforms run here.
pub(super) fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Check<'_> {
    /// A key that another kind of platform has would be passed over in silence.
    fn keys_of_others(&mut self, key: &Key, kind: written::PlatformKind) {
        for name in self.document.names_in(key) {
            let (own, others): (Vec<&Own>, Vec<&Own>) = OWN.iter().filter(|own| own.has(&name)).partition(|own| own.kind == kind);
            let others: Vec<&str> = others.into_iter().map(|own| own.name).collect();
            if !others.is_empty() && own.is_empty() && !COMMON.contains(&&*name) {
                let message = format!("is a key of platforms of kind {}; remove it, or write another kind", choices(&others));
                self.fault(&key.child(&name), message);
            }
        }
    }

    pub(super) fn platform(&mut self, key: &Key, name: &str, platform: &written::Platform) -> Option<Platform> {
        let kind = self.required(&key.child("kind"), platform.kind.as_ref(), "kind = \"passkit\"");
        if let Some(kind) = kind {
            self.keys_of_others(key, kind);
        }
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
        let remote = !platform.base_url.as_ref().and_then(|text| url::Url::parse(text).ok()).is_some_and(|url| is_this_machine(&url));
        let deadline = timeout.unwrap_or(TIMEOUT);
        if settling.is_some_and(|settling| remote && settling < deadline) {
            let message = format!(
                "is less than the deadline of a request (timeout, {}), so that a look would say of an add that may still be applied that it \
                 was not; write more than that, the platform's own request limit on top",
                humantime::format_duration(deadline)
            );
            self.fault(&key.child("settling"), message);
        }
        let ca_file = platform.ca_file.as_ref().map(|path| self.path(&key.child("ca_file"), path));
        // Of a kind that is not known nothing else can be said.
        let kind = match kind? {
            written::PlatformKind::Airship => PlatformKind::Http(self.airship(key, platform)?),
            written::PlatformKind::Http => PlatformKind::Http(self.http(key, platform)?),
            written::PlatformKind::Passkit => PlatformKind::Passkit(self.passkit(key, platform)?),
            written::PlatformKind::GoogleWallet => PlatformKind::GoogleWallet(self.google(key, platform)?),
            written::PlatformKind::TheWalletCrew => PlatformKind::TheWalletCrew(self.the_wallet_crew(key, platform)?),
            written::PlatformKind::AppleWallet => PlatformKind::AppleWallet(Arc::new(self.apple_wallet(key, name, platform)?)),
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

    /// The address given instead of a platform's usual one; none where it is absent or no address to send credentials to.
    fn address(&mut self, here: &Key, text: &str) -> Option<String> {
        let Ok(url) = url::Url::parse(text) else {
            self.fault(here, "is not an address; write such as \"https://api.example.com\"".into());
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.fault(here, "has a login in it; write the address alone and give credentials their own places".into());
            return None;
        }
        let loopback = is_this_machine(&url);
        let message = match url.scheme() {
            "https" | "http" if url.query().is_some() || url.fragment().is_some() => "has a query; write the address alone",
            "https" => return Some(url.as_str().trim_end_matches('/').to_owned()),
            "http" if loopback => return Some(url.as_str().trim_end_matches('/').to_owned()),
            "http" => "would send credentials in clear; write https:// (http:// is for this machine alone)",
            _ => "is not a web address; write https://…",
        };
        self.fault(here, message.into());
        None
    }
}
