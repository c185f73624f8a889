//! Accounts of passes that are hosted here.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::apple::package::DESIGN;
use crate::apple::pass::Design;
use crate::config::check::{Check, Key};
use crate::config::meant::apple::{AppleWallet, Push, PushProof, Serials, Signing};
use crate::config::value::quoted;
use crate::config::written;

/// Where Apple takes pushes; passes know no other stage (contract 7).
const APNS: &str = "https://api.push.apple.com";

/// Where Apple takes pushes of apps that are being built.
const STAGES: [&str; 2] = ["api.sandbox.push.apple.com", "api.development.push.apple.com"];

/// Bytes of a push (contract 7).
const PUSH_BYTES_MAX: usize = 4096;

impl Check<'_> {
    pub(super) fn apple_wallet(&mut self, key: &Key, name: &str, platform: &written::Platform) -> Option<AppleWallet> {
        let pass_type = self.apple_identifier(
            &key.child("pass_type"),
            platform.pass_type.as_ref(),
            "pass_type = \"pass.com.example.loyalty\", the pass type identifier",
        );
        let team = self.apple_identifier(
            &key.child("team"),
            platform.team.as_ref(),
            "team = \"ABCDE12345\", the team identifier of the developer account",
        );
        let template =
            self.required(&key.child("template"), platform.template.as_ref(), "template = \"PATH\", a folder with pass.json and images");
        let template = template.map(|folder| self.path(&key.child("template"), &folder));
        let design = template.as_ref().and_then(|folder| self.apple_design(&key.child("template"), folder));
        let signing = self.apple_signing(key, platform);
        let example = "public_url = \"https://passes.example.com/apple\", where phones reach this service";
        let public_url = self.required(&key.child("public_url"), platform.public_url.as_ref(), example);
        let public_url = public_url.and_then(|text| self.address(&key.child("public_url"), &text));
        let listen = platform.listen.as_ref().and_then(|text| {
            let here = key.child("listen");
            let read = text.parse::<SocketAddr>();
            self.good(&here, read.map_err(|_| format!("{} is no address with a port; write such as \"127.0.0.1:8080\"", quoted(text))))
        });
        if platform.message_header.as_ref().is_some_and(|label| label.trim().is_empty()) {
            self.fault(&key.child("message_header"), "is empty; write a few words, or remove it".into());
        }
        let push = self.apple_push(key, platform);
        Some(AppleWallet {
            name: name.to_owned(),
            store: self.state.join("apple").join(format!("{name}.sqlite")),
            pass_type: pass_type?,
            team: team?,
            template: template?,
            design: Arc::new(design?),
            signing: signing?,
            public_url: public_url?,
            listen,
            serials: match platform.serials {
                None | Some(written::Serials::ExternalId) => Serials::ExternalId,
                Some(written::Serials::Random) => Serials::Random,
            },
            message_label: platform.message_header.clone(),
            push: push?,
        })
    }

    /// What stands in addresses and in certificates.
    fn apple_identifier(&mut self, key: &Key, text: Option<&String>, example: &str) -> Option<String> {
        let text = self.required(key, text, example)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) {
            self.fault(key, format!("{} is no identifier; write letters, digits, \".\" and \"-\"", quoted(&text)));
            return None;
        }
        Some(text)
    }

    fn apple_design(&mut self, key: &Key, folder: &Path) -> Option<Design> {
        let path = folder.join(DESIGN);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("needs {}, which cannot be read: {error}", quoted(&path.display().to_string())));
        let text = self.good(key, text)?;
        self.good(key, Design::read(&text).map_err(|fault| format!("{} {fault}", quoted(&path.display().to_string()))))
    }

    fn apple_signing(&mut self, key: &Key, platform: &written::Platform) -> Option<Signing> {
        let mut file = |name: &str, path: Option<&String>, example: &str| {
            let path = self.required(&key.child(name), path, example)?;
            Some(self.path(&key.child(name), &path))
        };
        let certificate = file("certificate", platform.certificate.as_ref(), "certificate = \"PATH\", of the pass type: PEM or .p12");
        let example = "intermediate = \"PATH\", Apple's WWDR certificate (G4), from apple.com/certificateauthority";
        let intermediate = file("intermediate", platform.intermediate.as_ref(), example);
        let mut secret =
            |name: &str, place: Option<&written::Table<written::SecretPlace>>| place.and_then(|place| self.secret(&key.child(name), place));
        let signing_key = secret("key", platform.key.as_ref());
        let passphrase = secret("passphrase", platform.passphrase.as_ref());
        Some(Signing {
            certificate: certificate?,
            key: signing_key,
            passphrase,
            intermediate: intermediate?,
            check_subject: platform.check_subject.unwrap_or(true),
        })
    }

    fn apple_push(&mut self, key: &Key, platform: &written::Platform) -> Option<Push> {
        let url = match &platform.base_url {
            None => Some(APNS.to_owned()),
            Some(text) => self.address(&key.child("base_url"), text),
        };
        if url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            self.fault(&key.child("base_url"), "is not encrypted, and pushes are taken over TLS alone; write https://…".into());
        }
        let host = url.as_deref().and_then(|url| url::Url::parse(url).ok()).and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        if host.is_some_and(|host| STAGES.contains(&host.trim_end_matches('.'))) {
            let words = format!(
                "is where apps under development are pushed, and tokens of passes are refused there; remove it, or write \"{APNS}\""
            );
            self.fault(&key.child("base_url"), words);
        }
        let proof = match (&platform.push_key, &platform.push_key_id) {
            (None, None) => Some(PushProof::Certificate),
            (Some(place), Some(id)) => {
                let push_key = self.secret(&key.child("push_key"), place);
                let key_id = self.apple_identifier(&key.child("push_key_id"), Some(id), "");
                push_key.zip(key_id).map(|(key, key_id)| PushProof::Token { key, key_id })
            }
            (Some(_), None) => {
                self.fault(
                    &key.child("push_key_id"),
                    "is missing beside push_key; write its 10 characters, which are in the key file's name".into(),
                );
                None
            }
            (None, Some(_)) => {
                self.fault(&key.child("push_key"), "is missing beside push_key_id; write push_key = { file = \"AuthKey_….p8\" }".into());
                None
            }
        };
        let kind = platform.push_type.clone().unwrap_or_else(|| "background".to_owned());
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.fault(&key.child("push_type"), format!("{} is no type of pushes; write such as \"background\"", quoted(&kind)));
        }
        let priority = platform.push_priority.unwrap_or(5);
        if !matches!(priority, 1 | 5 | 10) {
            self.fault(&key.child("push_priority"), format!("is {priority}; write 1, 5 or 10"));
        }
        let body = platform.push_body.clone().unwrap_or_else(|| "{}".to_owned());
        let is_object = serde_json::from_str::<serde_json::Value>(&body).is_ok_and(|body| body.is_object());
        if !is_object || body.len() > PUSH_BYTES_MAX {
            self.fault(&key.child("push_body"), "is no JSON object of at most 4096 bytes; write \"{}\"".into());
        }
        let every = self.span(&key.child("push_every"), platform.push_every.as_ref(), Duration::from_secs(2), Duration::from_millis(10));
        let retry = self.span(&key.child("push_retry"), platform.push_retry.as_ref(), Duration::from_mins(15), Duration::from_millis(10));
        let ca_file = platform.ca_file.as_ref().map(|path| self.base.join(path));
        Some(Push { url: url?, ca_file, proof: proof?, kind, priority, body, every, retry })
    }
}
