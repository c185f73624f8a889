//! Google Wallet, directly: objects of all kinds (`contracts/google-wallet.md`).
//!
//! `class` and `fields` know what objects hold, `ids` makes their identifiers, `values` checks and encodes, `grant` asks for tokens;
//! `bodies`, `wire` and `multipart` write requests and read answers, `judge` says what these mean. `apply`, `adds` and `find` are the
//! conversations, `batch` holds several of them at once.

mod adds;
mod apply;
mod batch;
mod bodies;
mod class;
mod fields;
mod find;
mod grant;
mod ids;
mod judge;
mod multipart;
#[cfg(test)]
mod tests;
mod values;
mod wire;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::oauth::Tokens;
use super::rights::Rights;
use super::{
    AddEnd, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, Platform, Proof, RawAnswer, Reach, Request, ValueFault, Verdict,
};
use crate::config::meant::{self, MessagesFull, OverQuota, ReadBack, VoidState, WalletClass};
use crate::outcome::Code;
use crate::row::{AddKind, Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;

pub(crate) use fields::is_field_or_front;
pub(crate) use ids::is_identifier;
pub(crate) use values::is_currency;

/// The reason of a refused alert (contract 7).
const QUOTA: &str = "quotaExceeded";

/// The objects of one kind of one issuer.
pub struct GoogleWallet {
    tokens: Tokens,
    scope: Arc<Scope>,
    notify_max: u32,
}

/// What the conversations need.
struct Scope {
    base_url: String,
    issuer: String,
    class: WalletClass,
    names: class::Names,
    /// Of passes that are issued, with the issuer in front.
    class_id: Option<String>,
    ids: ids::Ids,
    language: String,
    currency: Option<String>,
    nulls: bool,
    notify_on: Vec<String>,
    text_over_quota: bool,
    message_header: Option<String>,
    messages_full: MessagesFull,
    void_state: &'static str,
    slow_reasons: Vec<String>,
    read_back: ReadBack,
    /// Requests in a batch.
    batch: usize,
    /// The same as far as the platform lets us: smaller once it refused one.
    parts_max: AtomicUsize,
    rights: Rights,
    /// Of the listing under way: the token of each page behind the first.
    page_tokens: Mutex<Vec<String>>,
}

impl GoogleWallet {
    pub fn new(settings: &meant::GoogleWallet) -> GoogleWallet {
        let scope = Scope {
            base_url: settings.base_url.trim_end_matches('/').to_owned(),
            issuer: settings.issuer.clone(),
            class: settings.class,
            names: class::Names::of(settings.class),
            class_id: settings.class_id.clone(),
            ids: ids::Ids {
                issuer: settings.issuer.clone(),
                prefix: settings.id_prefix.clone(),
                form: settings.object_ids,
                max: settings.id_max,
            },
            language: settings.language.clone(),
            currency: settings.currency.clone(),
            nulls: settings.nulls,
            notify_on: settings.notify_on.clone(),
            text_over_quota: settings.over_quota == OverQuota::Text,
            message_header: settings.message_header.clone(),
            messages_full: settings.messages_full,
            void_state: match settings.void_state {
                VoidState::Inactive => "INACTIVE",
                VoidState::Completed => "COMPLETED",
            },
            slow_reasons: settings.slow_reasons.clone(),
            read_back: settings.read_back,
            batch: settings.batch,
            parts_max: AtomicUsize::new(settings.batch),
            rights: Rights::default(),
            page_tokens: Mutex::default(),
        };
        let grant = grant::ServiceAccount::new(settings.key.clone(), settings.token_url.clone());
        GoogleWallet { tokens: Tokens::new(Box::new(grant)), scope: Arc::new(scope), notify_max: settings.notify_max }
    }
}

impl Platform for GoogleWallet {
    fn kind(&self) -> &'static str {
        "google_wallet"
    }

    fn base_url(&self) -> &str {
        &self.scope.base_url
    }

    /// Contract 1 and 8: 20 calls a second, each part of a batch counted; Google advises 10 s for one call, and half of them in a batch may
    /// be slow ones.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 20.0,
            in_flight: 8,
            find_batch: self.scope.batch,
            change_batch: self.scope.batch,
            tries: 5,
            timeout: Duration::from_secs(if self.scope.batch > 1 { 30 } else { 10 }),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(32),
            answer_bytes_max: 8 << 20,
            // Google publishes no limit of its own; its load balancers commonly cut at 30 s.
            settling: Duration::from_secs(45),
        }
    }

    fn verbs(&self) -> &'static [Verb] {
        &[Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void, Verb::Redeem]
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        let field = fields::Field::parse(self.scope.class, name)?;
        if let (fields::Leaf::Currency, Some(currency)) = (field.entry.leaf, &self.scope.currency) {
            return Err(format!("\"{name}\" stands beside the platform's setting currency = \"{currency}\"; keep one of them"));
        }
        Ok(field.rule(self.scope.nulls))
    }

    fn required_to_create(&self) -> Vec<String> {
        self.scope.names.required.iter().map(|&name| name.to_owned()).collect()
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        let fault = |message: &str| Err(ValueFault { code: Code::MappingError, message: message.to_owned() });
        if adds::fault_of_field(name).is_ok() {
            return match adds::split(&self.scope, &value.canonical()) {
                Some(_) => Ok(()),
                None => fault(
                    "a message of one line needs a header: set the platform's message_header, or begin the text with a line of its own",
                ),
            };
        }
        match fields::Field::parse(self.scope.class, name) {
            Ok(field) => values::check(&field, value),
            Err(_) => fault("Google Wallet has no such field"),
        }
    }

    fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        self.scope.ids.object(target).map(drop)
    }

    /// Without a token nothing is added: Google says 401, and the next one is asked for.
    fn authorize(&self, headers: &mut HeaderMap, now: SystemTime) -> Result<(), SecretError> {
        headers.extend(self.tokens.header(now).map(|header| (AUTHORIZATION, header)));
        Ok(())
    }

    fn tokens(&self) -> Option<&Tokens> {
        Some(&self.tokens)
    }

    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        judge::judge(&self.scope, request, answer, SystemTime::now())
    }

    /// The identifier of an object is known without asking, and what must be read is read just before it is written.
    fn needs_find(&self, _: &Change) -> bool {
        false
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        let talk = |target| Box::new(find::Find::new(self.scope.clone(), target)) as Box<dyn Conversation<Finding>>;
        Box::new(batch::Together::new(self.scope.clone(), targets.iter().map(talk).collect()))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::Apply::new(self.scope.clone(), &change))
    }

    fn apply_batch(&self, changes: Vec<Change>) -> Box<dyn Conversation<Vec<ChangeResult>>> {
        let talks = changes.into_iter().map(|change| self.apply(change)).collect();
        Box::new(batch::Together::new(self.scope.clone(), talks))
    }

    fn notifies(&self, field: &str) -> Result<(), String> {
        adds::fault_of_field(field)
    }

    fn alerts_per_day(&self) -> Option<u32> {
        Some(self.notify_max)
    }

    fn alerts(&self, field: &str) -> bool {
        let notifies = || fields::Field::parse(self.scope.class, field).is_ok_and(|field| field.is_under(&self.scope.notify_on));
        field == fields::MESSAGES || notifies()
    }

    fn adds_need_state(&self) -> bool {
        false
    }

    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give::new(self.scope.clone(), add.clone()))
    }

    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        let lacking = self.scope.read_back == ReadBack::Nothing || !matches!(add.key.kind, AddKind::Redeem | AddKind::Notify);
        (!lacking).then(|| Box::new(adds::Look::new(self.scope.clone(), add.clone())) as Box<dyn Conversation<Proof>>)
    }

    fn requests(&self, change: &Change) -> u32 {
        apply::requests(&self.scope, change)
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(find::Probe::new(self.scope.clone()))
    }

    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(find::Listing::new(self.scope.clone(), offset))
    }
}
