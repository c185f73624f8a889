//! The Wallet Crew accounts.

use super::environment;
use crate::config::check::{Check, Key};
use crate::config::meant::{Environment, TheWalletCrew};
use crate::config::value::quoted;
use crate::config::written;

impl Check<'_> {
    pub(super) fn the_wallet_crew(&mut self, key: &Key, platform: &written::Platform) -> Option<TheWalletCrew> {
        let base_url = match &platform.base_url {
            Some(text) => self.address(&key.child("base_url"), text),
            // Passes of the vendor's own stage are no real ones, and real ones are not for tests.
            None => Some(match environment(platform.environment) {
                Environment::Production => "https://app.neostore.cloud".to_owned(),
                Environment::Test => "https://app-qa.neostore.cloud".to_owned(),
            }),
        };
        let place = self.required(&key.child("key"), platform.key.as_ref(), "key = { env = \"CREW_KEY\" }, an API key of the tenant");
        let api_key = place.and_then(|place| self.secret(&key.child("key"), &place));
        let tenant = self.required(
            &key.child("tenant"),
            platform.tenant.as_ref(),
            "tenant = \"ID\", the part behind /api/ in the tenant's addresses",
        );
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        for (name, text) in [("tenant", &tenant), ("identifier", &platform.identifier), ("pass_type", &platform.pass_type)] {
            if let Some(text) = text.as_ref().filter(|text| !plain(text)) {
                let message = format!("{} is no name there; write letters, digits, \"-\", \"_\" and \".\"", quoted(text));
                self.fault(&key.child(name), message);
            }
        }
        if let Some(bare) = platform.identifier.as_ref().and_then(|name| name.strip_prefix("id.")) {
            self.fault(&key.child("identifier"), format!("is the name of a column; write the identifier's own name, {}", quoted(bare)));
        }
        let confirm = platform.confirm == Some(written::Confirm::Read);
        let replaces_blocks = platform.merge == Some(written::Merge::Block);
        if replaces_blocks && !confirm {
            let message = "is \"block\": what a pass holds is read and written back, and an update that still waits in a queue would be undone; \
                           write confirm = \"read\" beside it";
            self.fault(&key.child("merge"), message.into());
        }
        if confirm && platform.identifier.is_none() {
            let message = "is \"read\", and passes can be read by an external identifier alone; write identifier = \"NAME\"";
            self.fault(&key.child("confirm"), message.into());
        }
        if platform.type_in_updates == Some(true) && platform.pass_type.is_none() {
            self.fault(&key.child("type_in_updates"), "needs a type; write pass_type = \"NAME\"".into());
        }
        if platform.page_size == Some(0) {
            self.fault(&key.child("page_size"), "is 0; write at least 1".into());
        }
        Some(TheWalletCrew {
            base_url: base_url?,
            tenant: tenant?,
            key: api_key?,
            identifier: platform.identifier.clone(),
            pass_type: platform.pass_type.clone(),
            type_in_updates: platform.type_in_updates.unwrap_or(false),
            look_first: platform.look_first.unwrap_or(true),
            replaces_blocks,
            clears_by_text: platform.clear == Some(written::Clear::Empty),
            text_only: platform.values == Some(written::Values::Text),
            confirm,
            create_again: platform.create_again.unwrap_or(false),
            page_size: platform.page_size.unwrap_or(20),
        })
    }
}
