//! The Wallet Crew: passes with named identifiers, additional data and metadata (contracts/thewalletcrew.md).
//!
//! `fields` knows what a pass can hold, `wire` writes requests and reads passes; `find`, `apply` and `probe` are the conversations. What the
//! vendor's public text leaves open is a setting of the account, and its doc names the section of the contract.

mod apply;
mod fields;
mod find;
mod probe;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};

use super::{
    AddEnd, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, Platform, Proof, RawAnswer, Reach, Request, Step, ValueFault,
    Verdict, judge,
};
use crate::config::meant;
use crate::outcome::{Code, Outcome};
use crate::row::{Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;

const NAMES: judge::Names =
    judge::Names { platform: "The Wallet Crew", credentials: "the key, and that it is one of this tenant and of this address" };

/// How a right that the key has not is spoken of; the probe knows it again.
const LACKS: &str = "the scope it lacks is";

/// Section 2.1. An older article of the vendor's has it in `Authorization`; the later texts and the specification do not.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// One tenant.
pub struct TheWalletCrew {
    scope: Arc<Scope>,
    key: crate::secret::Secret,
    /// Did a read, and did a write, ever succeed? A key may read and not write.
    allowed: [AtomicBool; 2],
}

/// What the conversations need to address a pass.
struct Scope {
    settings: meant::TheWalletCrew,
}

impl TheWalletCrew {
    pub fn new(settings: &meant::TheWalletCrew) -> TheWalletCrew {
        TheWalletCrew {
            scope: Arc::new(Scope { settings: settings.clone() }),
            key: settings.key.clone(),
            allowed: [const { AtomicBool::new(false) }; 2],
        }
    }
}

impl Platform for TheWalletCrew {
    fn kind(&self) -> &'static str {
        "thewalletcrew"
    }

    fn base_url(&self) -> &str {
        &self.scope.settings.base_url
    }

    /// The contract's proposals (section 2.9): no number is public.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 10.0,
            in_flight: 4,
            find_batch: 1,
            change_batch: 1,
            tries: 5,
            timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            answer_bytes_max: 8 << 20,
            settling: Duration::from_secs(75),
        }
    }

    /// Section 4: deactivating a pass is spoken of, and the call is not public.
    fn verbs(&self) -> &'static [Verb] {
        &[Verb::Update, Verb::Upsert]
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        fields::Field::parse(name, &self.scope.settings).map(|field| field.rule(&self.scope.settings))
    }

    /// The type of a new pass is the account's.
    fn required_to_create(&self) -> Vec<String> {
        Vec::new()
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        fields::check(name, value, &self.scope.settings)
    }

    fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        match target {
            Target::Pass(id) => fields::check_pass_id(id),
            Target::External(_) => Ok(()),
        }
    }

    fn authorize(&self, headers: &mut HeaderMap, _: SystemTime) -> Result<(), SecretError> {
        headers.insert(KEY_HEADER, self.key.header()?);
        Ok(())
    }

    /// A 403 is the account's as long as nothing of its kind ever succeeded (section 2.9: a key without the scope). Later it may be one
    /// row that a firewall before the platform dislikes, as any web page may be: others that are taken tell the two apart.
    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        let allowed = &self.allowed[usize::from(request.method != Method::GET)];
        match answer.status {
            // What only looks whether the key may write proves it by any answer of the platform's own.
            200..=299 | 404 => allowed.store(true, Ordering::Relaxed),
            // Something before the platform, or the platform itself: either way nothing was done.
            403 if judge::is_web_page(answer) || allowed.load(Ordering::Relaxed) => {
                return Verdict::Undecided { reason: judge::forbidden(&NAMES, answer.body) };
            }
            403 => {
                let scope = if request.method == Method::GET { "Pass.Read" } else { "Pass.Write" };
                return Verdict::Barred { reason: format!("{}; {LACKS} {scope}", judge::forbidden(&NAMES, answer.body)) };
            }
            _ => {}
        }
        judge::judge(&NAMES, answer, SystemTime::now())
    }

    /// An update goes by any identifier. The look before it is what notices that several passes carry one.
    fn needs_find(&self, change: &Change) -> bool {
        matches!(change.target, Target::External(_)) && (self.scope.settings.look_first || change.verb == Verb::Upsert)
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        Box::new(find::Find::new(self.scope.clone(), targets))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::Apply::new(self.scope.clone(), change))
    }

    /// Section 2.7: the call that tells one holder something is not public.
    fn notifies(&self, field: &str) -> Result<(), String> {
        Err(format!(
            "The Wallet Crew tells holders by its own campaigns: map the text to a field (\"{}\" = \"COLUMN\"), and start the campaign there",
            if field.starts_with("additionalData.") { field } else { "additionalData.notification_content" }
        ))
    }

    fn adds_need_state(&self) -> bool {
        false
    }

    fn add(&self, _: &Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(NoAdds)
    }

    fn read_back(&self, _: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        None
    }

    fn requests(&self, _: &Change) -> u32 {
        let settings = &self.scope.settings;
        let reads = u32::from(settings.replaces_blocks) + u32::from(settings.confirm);
        1 + reads
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(probe::Probe::new(self.scope.clone()))
    }

    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(probe::Listing::new(self.scope.clone(), offset))
    }
}

/// No configuration comes this far: neither its operations nor its notifications are taken.
struct NoAdds;

impl Conversation<AddEnd> for NoAdds {
    fn next(&mut self, _: Option<super::Answer>) -> Step<AddEnd> {
        let message = "The Wallet Crew has no call that adds".to_owned();
        Step::Done(AddEnd::Refused { outcome: Outcome::Refused, code: Code::MappingError, message })
    }
}
