//! PassKit accounts.

use chrono::NaiveDate;

use crate::config::check::{Check, Key};
use crate::config::meant::{Passkit, PasskitCredential, PasskitPasses, ReadBack};
use crate::config::value::{choices, quoted};
use crate::config::written;

/// Passes to find from which on the whole list may be read, where nothing is written.
const INDEX_FROM: u64 = 2000;

/// What says what the passes are, and what is said besides where it does.
const KINDS: [(&str, &str, &[&str]); 3] = [
    ("program", "members", &["tier"]),
    ("campaign", "single-use coupons", &["offer"]),
    ("production", "event tickets", &["event", "ticket_type", "validations"]),
];

impl Check<'_> {
    pub(super) fn passkit(&mut self, key: &Key, platform: &written::Platform) -> Option<Passkit> {
        let base_url = self.passkit_address(key, platform);
        let credential = self.passkit_credential(key, platform);
        let passes = self.passkit_passes(key, platform);
        let read_back = match platform.read_back {
            None | Some(written::ReadBack::Presence) => ReadBack::Presence,
            Some(written::ReadBack::Events) => ReadBack::Events,
            Some(written::ReadBack::Balance) => ReadBack::Balance,
            Some(written::ReadBack::Nothing) => ReadBack::Nothing,
        };
        if read_back == ReadBack::Balance {
            let message = match &passes {
                Some(PasskitPasses::Coupons { .. } | PasskitPasses::Tickets { .. }) => {
                    Some("is \"balance\", and these passes have none; write \"presence\", \"events\" or \"nothing\"")
                }
                _ if platform.sole_writer == Some(true) => None,
                _ => Some(
                    "is \"balance\", which proves something only where nobody else changes balances; write sole_writer = true beside it if that is so",
                ),
            };
            if let Some(message) = message {
                self.fault(&key.child("read_back"), message.into());
            }
        }
        Some(Passkit {
            base_url: base_url?,
            credential: credential?,
            passes: passes?,
            read_back,
            sole_writer: platform.sole_writer == Some(true),
            index_from: Some(platform.index_from.unwrap_or(INDEX_FROM)).filter(|from| *from > 0),
        })
    }

    /// Key and secret, or a token.
    fn passkit_credential(&mut self, key: &Key, platform: &written::Platform) -> Option<PasskitCredential> {
        let Some(token) = platform.token.as_ref() else {
            if platform.token_ends.is_some() {
                self.fault(&key.child("token_ends"), "is the end of a token, and there is none; remove it, or write token".into());
            }
            let mut secret = |name: &str, place: Option<&written::Table<written::SecretPlace>>, example: &str| {
                let here = key.child(name);
                let place = self.required(&here, place, example)?;
                self.secret(&here, &place)
            };
            let example =
                "key = { env = \"PASSKIT_KEY\" } and secret = { env = \"PASSKIT_SECRET\" }, or token = { env = \"PASSKIT_TOKEN\" }";
            let (api_key, api_secret) = (
                secret("key", platform.key.as_ref(), example),
                secret("secret", platform.secret.as_ref(), "secret = { env = \"PASSKIT_SECRET\" }"),
            );
            return Some(PasskitCredential::Pair { key: api_key?, secret: api_secret?, bearer: platform.bearer.unwrap_or(true) });
        };
        for (name, there) in [("key", platform.key.is_some()), ("secret", platform.secret.is_some()), ("bearer", platform.bearer.is_some())]
        {
            if there {
                self.fault(&key.child(name), "stands beside token, which is sent as it is; keep one of them".into());
            }
        }
        let ends = platform.token_ends.as_ref().map(|text| {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            if day.is_none() {
                self.fault(&key.child("token_ends"), format!("{} is not a day; write such as \"2027-01-31\"", quoted(text)));
            }
            day
        });
        let token = self.secret(&key.child("token"), token)?;
        Some(PasskitCredential::Token { token, ends: ends.flatten() })
    }

    /// Exactly one of program, campaign and production says what the passes are.
    fn passkit_passes(&mut self, key: &Key, platform: &written::Platform) -> Option<PasskitPasses> {
        let classes = [&platform.program, &platform.campaign, &platform.production];
        let mut told = std::iter::zip(KINDS, classes).filter_map(|(kind, class)| Some((kind, class.as_ref()?)));
        let names = KINDS.map(|(name, ..)| name);
        let Some(((name, noun, own), class)) = told.next() else {
            if !names.iter().any(|name| self.document.pruned(&key.child(name))) {
                let message = "is missing; write program = \"ID\" for members, campaign = \"ID\" for single-use coupons or production = \"ID\" for \
                               event tickets, with the identifier from PassKit's portal";
                self.fault(&key.child("program"), message.into());
            }
            return None;
        };
        if let Some(((other, ..), _)) = told.next() {
            self.fault(
                &key.child(other),
                format!("stands beside {name}; an account's passes are of one kind, so keep one of {}", choices(&names)),
            );
            return None;
        }
        for stray in KINDS.iter().flat_map(|(.., own)| own.iter()).filter(|stray| !own.contains(stray)) {
            if self.document.names_in(key).iter().any(|written| written == stray) {
                self.fault(&key.child(stray), format!("is nothing that {noun} have; remove it"));
            }
        }
        self.passkit_id(&key.child(name), class);
        let texts =
            [("tier", &platform.tier), ("offer", &platform.offer), ("event", &platform.event), ("ticket_type", &platform.ticket_type)];
        for (name, text) in texts {
            if text.as_deref() == Some("") {
                self.fault(&key.child(name), "is empty; write an identifier, or remove it".into());
            }
        }
        if platform.validations == Some(0) {
            self.fault(&key.child("validations"), "is 0; write how often a ticket can be validated, or remove it".into());
        }
        let class = class.clone();
        Some(match name {
            "program" => PasskitPasses::Members { program: class, tier: platform.tier.clone() },
            "campaign" => PasskitPasses::Coupons { campaign: class, offer: platform.offer.clone() },
            _ => PasskitPasses::Tickets {
                production: class,
                event: platform.event.clone(),
                ticket_type: platform.ticket_type.clone(),
                validations: platform.validations,
            },
        })
    }

    fn passkit_id(&mut self, here: &Key, id: &str) {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let message = format!("{} is not an identifier; write the letters and digits from PassKit's portal", quoted(id));
            self.fault(here, message);
        }
    }

    fn passkit_address(&mut self, key: &Key, platform: &written::Platform) -> Option<String> {
        let here = key.child("base_url");
        match (platform.region, &platform.base_url) {
            (Some(written::Region::Pub1), None) => Some("https://api.pub1.passkit.io".into()),
            (Some(written::Region::Pub2), None) => Some("https://api.pub2.passkit.io".into()),
            (None, Some(text)) => self.address(&here, text),
            (None, None) => {
                if !self.document.pruned(&here) {
                    let message = "is missing; write region = \"pub1\" (Europe) or \"pub2\" (USA), or base_url = \"ADDRESS\"";
                    self.fault(&key.child("region"), message.into());
                }
                None
            }
            (Some(written::Region::Eu | written::Region::Us), None) => {
                self.fault(&key.child("region"), "is one of Airship; write region = \"pub1\" (Europe) or \"pub2\" (USA)".into());
                None
            }
            (Some(_), Some(_)) => {
                self.fault(&here, "stands beside region; keep one of them".into());
                None
            }
        }
    }
}
