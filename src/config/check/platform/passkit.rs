//! PassKit accounts.

use crate::config::check::{Check, Key};
use crate::config::meant::{Passkit, ReadBack};
use crate::config::value::quoted;
use crate::config::written;

impl Check<'_> {
    pub(super) fn passkit(&mut self, key: &Key, platform: &written::Platform) -> Option<Passkit> {
        let base_url = self.passkit_address(key, platform);
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
            sole_writer: platform.sole_writer == Some(true),
        })
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
