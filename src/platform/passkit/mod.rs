//! PassKit: members, single-use coupons and event tickets (`contracts/passkit.md`).
//!
//! An account's passes are of one kind. `protocol` says what the kinds differ in where passes are read, and `find`, `listing` and `probe` are
//! the conversations that all of them share; `members`, `coupons` and `tickets` know what a pass can hold and how it is changed, the latter
//! two by way of `documents`. `fields`, `overlay`, `operations` and `adds` are what the kinds have in common, `wire` is how passes travel,
//! `credential` signs, and `writes` sees to it that nothing old is written back.

mod adds;
mod coupons;
mod credential;
mod documents;
mod fields;
mod find;
mod listing;
mod members;
mod operations;
mod overlay;
mod probe;
mod protocol;
#[cfg(test)]
mod tests;
mod tickets;
mod wire;
mod writes;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::rights::Rights;
use super::{
    AddEnd, Asks, ChangeResult, Conversation, FieldRule, Finding, IndexPage, Indexed, Limits, Page, Platform, Proof, RawAnswer, Reach,
    Request, ValueFault, Verdict, judge,
};
use crate::config::meant::{self, PasskitPasses};
use crate::outcome::Code;
use crate::row::{Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;
use credential::Credential;
use protocol::Protocol;

/// The passes of one kind of a PassKit account.
pub struct Passkit {
    base_url: String,
    credential: Credential,
    protocol: Arc<dyn Protocol>,
    index_from: Option<u64>,
    rights: Rights,
}

impl Passkit {
    pub fn new(settings: &meant::Passkit) -> Passkit {
        let evidence = adds::Evidence { read_back: settings.read_back, sole_writer: settings.sole_writer };
        let writes = writes::Writes::default();
        let protocol: Arc<dyn Protocol> = match settings.passes.clone() {
            PasskitPasses::Members { program, tier } => Arc::new(members::Members { program, tier, evidence, writes }),
            PasskitPasses::Coupons { campaign, offer } => {
                Arc::new(documents::Documents { kind: coupons::Coupons { campaign, offer }, evidence, writes })
            }
            PasskitPasses::Tickets { production, event, ticket_type, validations } => {
                Arc::new(documents::Documents { kind: tickets::Tickets { production, event, ticket_type, validations }, evidence, writes })
            }
        };
        Passkit {
            base_url: settings.base_url.trim_end_matches('/').to_owned(),
            credential: Credential::new(&settings.credential),
            protocol,
            index_from: settings.index_from,
            rights: Rights::default(),
        }
    }

    fn protocol(&self) -> Arc<dyn Protocol> {
        Arc::clone(&self.protocol)
    }
}

impl Platform for Passkit {
    fn kind(&self) -> &'static str {
        "passkit"
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The contract's proposals (section 3.3): PassKit publishes no rate. Answers may be 8 MiB, because a page of a listing holds 1000 passes.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 20.0,
            in_flight: 8,
            find_batch: if self.protocol.filter_field().is_some() { 100 } else { 1 },
            change_batch: 1,
            tries: 5,
            timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(8),
            answer_bytes_max: 8 << 20,
            // PassKit's own request limit is not published; gateways in front of such services commonly cut at 60 s.
            settling: Duration::from_secs(75),
        }
    }

    fn verbs(&self) -> &[Verb] {
        self.protocol.verbs()
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        Ok(self.protocol.catalogue().parse(name)?.rule())
    }

    fn required_to_create(&self) -> Vec<String> {
        self.protocol.required_to_create()
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        self.protocol.catalogue().check(name, value)
    }

    /// An identifier travels in the body of every change of its pass.
    fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        if target.text().len() <= wire::NAME_BYTES_MAX {
            return Ok(());
        }
        let message =
            format!("the identifier has {} bytes; PassKit takes {} in a whole request", target.text().len(), wire::BODY_BYTES_MAX);
        Err(ValueFault { code: Code::ValueTooLarge, message })
    }

    fn unsuited(&self, asks: &Asks<'_>) -> Vec<(&'static str, String)> {
        self.protocol.unsuited(asks)
    }

    fn authorize(&self, headers: &mut HeaderMap, now: SystemTime) -> Result<(), SecretError> {
        headers.insert(AUTHORIZATION, self.credential.header(now)?);
        Ok(())
    }

    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        let (now, names) = (SystemTime::now(), self.credential.names());
        let verdict = judge::judge(names, answer, now);
        let writes = wire::is_write(request);
        match answer.status {
            200..=299 => self.rights.proven(writes),
            401 => self.credential.forget(now),
            403 if verdict == Verdict::Final => return self.rights.refused(request, writes, judge::forbidden(names, answer.body)),
            _ => {}
        }
        verdict
    }

    fn needs_find(&self, change: &Change) -> bool {
        self.protocol.needs_find(change)
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        Box::new(find::Find::new(self.protocol(), targets))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        self.protocol().apply(change)
    }

    /// The only text that PassKit shows to a holder is the change of a custom field (contract 7).
    fn notifies(&self, field: &str) -> Result<(), String> {
        if field.strip_prefix("metaData.").is_some_and(|key| !key.is_empty()) {
            self.field(field).map(drop)
        } else {
            Err("PassKit alerts a holder by a custom field whose design has a change message; write \"metaData.NAME\"".to_owned())
        }
    }

    fn adds_need_state(&self) -> bool {
        self.protocol.adds_need_state()
    }

    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        self.protocol().add(add.clone())
    }

    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        self.protocol().read_back(add.clone())
    }

    fn requests(&self, change: &Change) -> u32 {
        self.protocol.requests(change)
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(probe::Probe {
            protocol: self.protocol(),
            base_url: self.base_url.clone(),
            credential: self.credential.noun(),
            warning: self.credential.warning(SystemTime::now()),
            asked: 0,
        })
    }

    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(listing::Listing::new(self.protocol(), offset))
    }

    fn index(&self) -> Option<&dyn Indexed> {
        self.index_from.is_some().then_some(self)
    }
}

impl Indexed for Passkit {
    fn least(&self) -> u64 {
        self.index_from.unwrap_or(u64::MAX)
    }

    fn page(&self) -> u64 {
        listing::PAGE
    }

    fn size(&self) -> Box<dyn Conversation<Option<u64>>> {
        Box::new(listing::Size(self.protocol()))
    }

    fn read(&self, offset: u64) -> Box<dyn Conversation<IndexPage>> {
        Box::new(listing::Listing::new(self.protocol(), offset))
    }
}
