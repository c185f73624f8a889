//! Google Wallet accounts.

use crate::config::check::{Check, Key};
use crate::config::meant::{GoogleWallet, MessagesFull, ObjectIds, OverQuota, ReadBack, VoidState, WalletClass};
use crate::config::value::quoted;
use crate::config::written;
use crate::platform::google_wallet;

/// Requests that one batch may carry at Google, in general (contract 8).
const BATCH_MAX: u16 = 1000;

impl Check<'_> {
    pub(super) fn google(&mut self, key: &Key, platform: &written::Platform) -> Option<GoogleWallet> {
        let base_url = match &platform.base_url {
            None => Some("https://walletobjects.googleapis.com".to_owned()),
            Some(text) => self.address(&key.child("base_url"), text),
        };
        let token_url = platform.token_url.as_ref().and_then(|text| self.address(&key.child("token_url"), text));
        let example = "key = { file = \"PATH\" }, the service account's key file (JSON)";
        let place = self.required(&key.child("key"), platform.key.as_ref(), example);
        let secret = place.and_then(|place| self.secret(&key.child("key"), &place));
        let issuer =
            self.required(&key.child("issuer"), platform.issuer.as_ref(), "issuer = \"3388000000012345678\", from Google's console");
        let issuer = issuer.filter(|issuer| {
            let fits = !issuer.is_empty() && issuer.bytes().all(|byte| byte.is_ascii_digit());
            if !fits {
                self.fault(&key.child("issuer"), format!("{} is not an issuer; write its digits from Google's console", quoted(issuer)));
            }
            fits
        });
        let class = self.required(
            &key.child("class"),
            platform.class.as_ref(),
            "class = \"loyalty\", \"gift_card\", \"offer\", \"event_ticket\", \"flight\", \"transit\" or \"generic\"",
        );
        let class = class.map(class_of);
        let id_max = self.google_identifiers(key, platform, issuer.as_deref());
        let (language, batch) = self.google_numbers(key, platform);
        self.google_words(key, platform, class);
        let read_back = match platform.read_back {
            None | Some(written::ReadBack::Events) => ReadBack::Events,
            Some(written::ReadBack::Presence) => ReadBack::Presence,
            Some(written::ReadBack::Nothing) => ReadBack::Nothing,
            Some(written::ReadBack::Balance) => {
                let message =
                    "is \"balance\", but passes of Google Wallet have no adds that move one; write \"events\", \"presence\" or \"nothing\"";
                self.fault(&key.child("read_back"), message.into());
                ReadBack::Nothing
            }
        };
        let (issuer, class) = (issuer?, class?);
        let class_id = platform.class_id.as_ref().map(|id| format!("{issuer}.{id}"));
        Some(GoogleWallet {
            base_url: base_url?,
            token_url,
            key: secret?,
            account: format!("{issuer} {class:?} {}", platform.class_id.as_deref().unwrap_or_default()),
            issuer,
            class,
            class_id,
            object_ids: match platform.object_ids {
                None | Some(written::ObjectIds::Escaped) => ObjectIds::Escaped,
                Some(written::ObjectIds::Plain) => ObjectIds::Plain,
            },
            id_prefix: platform.id_prefix.clone().unwrap_or_default(),
            id_max,
            language,
            currency: platform.currency.clone(),
            batch: usize::from(batch),
            nulls: platform.nulls.unwrap_or(true),
            notify_on: platform.notify_on.clone().unwrap_or_default(),
            notify_max: platform.notify_max.map_or(3, u32::from),
            over_quota: match platform.over_quota {
                None | Some(written::OverQuota::Text) => OverQuota::Text,
                Some(written::OverQuota::Refuse) => OverQuota::Refuse,
            },
            message_header: platform.message_header.clone(),
            messages_full: match platform.messages_full {
                None | Some(written::MessagesFull::Send) => MessagesFull::Send,
                Some(written::MessagesFull::Replace) => MessagesFull::Replace,
            },
            void_state: match platform.void_state {
                None | Some(written::VoidState::Inactive) => VoidState::Inactive,
                Some(written::VoidState::Completed) => VoidState::Completed,
            },
            slow_reasons: platform
                .slow_reasons
                .clone()
                .unwrap_or_else(|| ["rateLimitExceeded", "userRateLimitExceeded"].map(str::to_owned).to_vec()),
            read_back,
        })
    }

    /// Parts of identifiers, and how long these may be.
    fn google_identifiers(&mut self, key: &Key, platform: &written::Platform, issuer: Option<&str>) -> usize {
        for (name, text) in [("class_id", &platform.class_id), ("id_prefix", &platform.id_prefix)] {
            if let Some(text) = text
                && (text.is_empty() || !google_wallet::is_identifier(text))
            {
                let words = "has characters that Google does not allow; write letters, digits, \".\", \"_\" and \"-\", without the issuer";
                self.fault(&key.child(name), format!("{} {words}", quoted(text)));
            }
        }
        let id_max = platform.id_max.map_or(255, usize::from);
        let longest = issuer.map_or(0, str::len) + 2 + platform.id_prefix.as_ref().map_or(0, String::len);
        if id_max < longest.max(30) {
            self.fault(&key.child("id_max"), format!("is {id_max}, which leaves no room behind issuer and prefix; write a larger number"));
        }
        id_max
    }

    /// Language and batch, with what is wrong with them and the numbers beside them.
    fn google_numbers(&mut self, key: &Key, platform: &written::Platform) -> (String, u16) {
        let language = platform.language.clone().unwrap_or_else(|| "en-US".to_owned());
        if language.is_empty()
            || !language.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            self.fault(&key.child("language"), format!("{} is not a language; write such as \"en-US\" or \"fr\"", quoted(&language)));
        }
        if let Some(currency) = &platform.currency
            && !google_wallet::is_currency(currency)
        {
            self.fault(
                &key.child("currency"),
                format!("{} is not a currency; write three capital letters, such as \"EUR\"", quoted(currency)),
            );
        }
        let batch = platform.batch_size.unwrap_or(20);
        if !(1..=BATCH_MAX).contains(&batch) {
            self.fault(&key.child("batch_size"), format!("is {batch}; write 1 (no batches) to {BATCH_MAX}"));
        }
        if platform.notify_max == Some(0) {
            self.fault(&key.child("notify_max"), "is 0, so no alert would ever be sent; write at least 1".into());
        }
        (language, batch)
    }

    /// Names of fields, and texts that must say something.
    fn google_words(&mut self, key: &Key, platform: &written::Platform, class: Option<WalletClass>) {
        if platform.message_header.as_ref().is_some_and(|header| header.trim().is_empty()) {
            self.fault(&key.child("message_header"), "is empty; write a few words, or remove it".into());
        }
        if platform.slow_reasons.as_ref().is_some_and(|reasons| reasons.iter().any(String::is_empty)) {
            self.fault(&key.child("slow_reasons"), "has an empty reason; remove it".into());
        }
        let (Some(class), Some(names)) = (class, &platform.notify_on) else { return };
        if class == WalletClass::Generic && !names.is_empty() {
            let message = "has no meaning for generic passes, which Google alerts nobody of when they change; send a message, or remove it";
            self.fault(&key.child("notify_on"), message.into());
            return;
        }
        for name in names {
            if let Err(message) = google_wallet::is_field_or_front(class, name) {
                self.fault(&key.child("notify_on"), message);
            }
        }
    }
}

fn class_of(written: written::WalletClass) -> WalletClass {
    match written {
        written::WalletClass::Loyalty => WalletClass::Loyalty,
        written::WalletClass::GiftCard => WalletClass::GiftCard,
        written::WalletClass::Offer => WalletClass::Offer,
        written::WalletClass::EventTicket => WalletClass::EventTicket,
        written::WalletClass::Flight => WalletClass::Flight,
        written::WalletClass::Transit => WalletClass::Transit,
        written::WalletClass::Generic => WalletClass::Generic,
    }
}
