//! PassKit members: loyalty cards and memberships.
//!
//! `fields` knows what a member can hold, `token` signs, `wire` writes bodies and reads members; `find`,
//! `apply` and `probe` are the conversations.

mod adds;
mod apply;
mod bodies;
mod fields;
mod find;
mod probe;
#[cfg(test)]
mod tests;
mod token;
mod wire;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::{
    AddEnd, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, Platform, Proof, RawAnswer, Reach, Request, ValueFault, Verdict,
    judge,
};
use crate::config::meant::{self, ReadBack};
use crate::row::{AddKind, Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;

/// So many requests answered with 403 before the first success mean the account, not the rows (failure model D10).
const FORBIDDEN_MAX: usize = 20;

const NAMES: judge::Names =
    judge::Names { platform: "PassKit", credentials: "the key and the secret, and that they belong to this region" };

/// One program of a PassKit account.
pub struct Passkit {
    base_url: String,
    token: token::Signer,
    scope: Arc<Scope>,
    evidence: adds::Evidence,
    /// Digests of the reads and of the writes that were answered with 403; none once one of the kind succeeded: a key may read and not write.
    forbidden: [Mutex<Option<HashSet<u64>>>; 2],
}

/// What the conversations need to address a member.
struct Scope {
    base_url: String,
    program: String,
    /// Tier of issued passes whose feed maps none.
    tier: Option<String>,
}

impl Passkit {
    pub fn new(settings: &meant::Passkit) -> Passkit {
        let base_url = settings.base_url.trim_end_matches('/').to_owned();
        Passkit {
            token: token::Signer::new(settings.key.clone(), settings.secret.clone(), settings.bearer),
            scope: Arc::new(Scope { base_url: base_url.clone(), program: settings.program.clone(), tier: settings.tier.clone() }),
            base_url,
            evidence: adds::Evidence { read_back: settings.read_back, sole_writer: settings.sole_writer },
            forbidden: [(); 2].map(|()| Mutex::new(Some(HashSet::new()))),
        }
    }
}

impl Platform for Passkit {
    fn kind(&self) -> &'static str {
        "passkit"
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The contract's proposals (section 3.3): PassKit publishes no rate. Answers may be 8 MiB, because a page of a listing holds 1000 members.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 20.0,
            in_flight: 8,
            find_batch: 100,
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

    fn verbs(&self) -> &'static [Verb] {
        &[Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void, Verb::Earn, Verb::Burn]
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        Ok(fields::Field::parse(name)?.rule())
    }

    fn required_to_create(&self) -> Vec<String> {
        if self.scope.tier.is_none() { vec!["tierId".to_owned()] } else { Vec::new() }
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        fields::check(name, value)
    }

    fn authorize(&self, headers: &mut HeaderMap, now: SystemTime) -> Result<(), SecretError> {
        headers.insert(AUTHORIZATION, self.token.header(now)?);
        Ok(())
    }

    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        let now = SystemTime::now();
        let mut forbidden = self.forbidden[usize::from(wire::is_write(request))].lock().unwrap_or_else(PoisonError::into_inner);
        match answer.status {
            200..=299 => *forbidden = None,
            401 => self.token.forget(now),
            403 => {
                let verdict = judge::judge(&NAMES, answer, now);
                let (Verdict::Final, Some(refused)) = (&verdict, &mut *forbidden) else { return verdict };
                let mut digest = xxhash_rust::xxh3::Xxh3::new();
                digest.update(request.path.as_bytes());
                digest.update(request.body.as_deref().unwrap_or_default());
                if refused.len() < FORBIDDEN_MAX {
                    refused.insert(digest.digest());
                }
                let reason = judge::forbidden(&NAMES, answer.body);
                return if refused.len() < FORBIDDEN_MAX { Verdict::Undecided { reason } } else { Verdict::Barred { reason } };
            }
            _ => {}
        }
        drop(forbidden);
        judge::judge(&NAMES, answer, now)
    }

    /// A balance, a tier or an expiry goes by external ID. Everything else is written as a whole object that must be read first
    /// (contract 2.1), and issuing a pass without any field can only follow a look.
    fn needs_find(&self, change: &Change) -> bool {
        match change.verb {
            Verb::Void | Verb::Expire => false,
            Verb::Update | Verb::Upsert | Verb::Earn | Verb::Burn | Verb::Redeem => {
                (change.verb == Verb::Upsert && change.fields.is_empty())
                    || change
                        .fields
                        .iter()
                        .any(|field| fields::Field::parse(&field.name).is_ok_and(|field| field.rule().operation == fields::FIELDS))
            }
        }
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        Box::new(find::Find::new(self.scope.clone(), targets))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::Apply::new(self.scope.clone(), change))
    }

    /// The only text that PassKit shows to a holder is the change of a custom field (contract 7).
    fn notifies(&self, field: &str) -> Result<(), String> {
        if field.strip_prefix("metaData.").is_some_and(|key| !key.is_empty()) {
            Ok(())
        } else {
            Err("PassKit alerts a holder by a custom field whose design has a change message; write \"metaData.NAME\"".to_owned())
        }
    }

    fn adds_need_state(&self) -> bool {
        self.evidence.read_back == ReadBack::Balance
    }

    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give::new(self.scope.clone(), add.clone()))
    }

    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        let lacking = self.evidence.read_back == ReadBack::Nothing || add.key.kind == AddKind::Redeem;
        (!lacking).then(|| Box::new(adds::Look::new(self.scope.clone(), add.clone(), self.evidence)) as Box<dyn Conversation<Proof>>)
    }

    fn requests(&self, change: &Change) -> u32 {
        apply::requests(change)
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(probe::Probe::new(self.scope.clone()))
    }

    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(probe::Listing::new(self.scope.clone(), offset))
    }
}
