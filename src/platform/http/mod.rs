//! A platform that is described in the configuration: nobody wrote code for it.
//!
//! `template`, `pointer` and `words` make requests of the description, `answers` says what comes back, `fields` what a pass can hold;
//! `find`, `change`, `batch`, `adds` and `probe` are the conversations, `pages` what they share of lists.

mod adds;
mod answers;
mod auth;
mod batch;
mod change;
mod fields;
mod find;
mod pages;
pub mod pointer;
mod probe;
pub mod template;
#[cfg(test)]
mod tests;
pub mod words;

pub(crate) use fields::exact;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::judge::{self, Names};
use super::oauth::Tokens;
use super::{
    AddEnd, Asks, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, Platform, Proof, RawAnswer, Reach, Request, ValueFault,
    Verdict, strict,
};
use crate::config::meant::http::{Add, Auth, Call, Class, Http};
use crate::outcome::Code;
use crate::row::{AddKind, Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;
use batch::Said;

/// So many answers of 403 before the first success mean the account, not the rows (failure model D10).
const FORBIDDEN_MAX: u32 = 20;

/// A platform account that the configuration describes.
pub struct Described {
    http: Arc<Http>,
    verbs: Vec<Verb>,
    tokens: Option<Tokens>,
    /// Answers of 403 to reads and to writes so far; [`u32::MAX`] once one of the kind succeeded: a key may read and not write.
    forbidden: [AtomicU32; 2],
}

impl Described {
    pub fn new(http: &Arc<Http>) -> Described {
        let tokens = match &http.auth {
            Auth::Token(token) => Some(Tokens::new(Box::new(auth::ClientCredentials((**token).clone())))),
            _ => None,
        };
        Described { http: http.clone(), verbs: http.verbs(), tokens, forbidden: Default::default() }
    }

    fn names(&self) -> Names<'_> {
        Names { platform: &self.http.base_url, credentials: "auth, and that the account belongs to this address" }
    }
}

impl Http {
    /// What rows may ask for.
    fn verbs(&self) -> Vec<Verb> {
        let can = |verb: &Verb| match verb {
            Verb::Update => self.update.is_some() || self.batch.is_some(),
            Verb::Upsert => self.update.as_ref().is_some_and(|update| update.creates || self.create.is_some()),
            Verb::Expire => self.expire.is_some(),
            Verb::Void => self.void.is_some(),
            Verb::Earn => self.earn.is_some(),
            Verb::Burn => self.burn.is_some(),
            Verb::Redeem => self.redeem.is_some(),
            Verb::Validate => false,
        };
        Verb::ALL.into_iter().filter(can).collect()
    }

    fn adds(&self) -> impl Iterator<Item = (AddKind, &Add)> {
        AddKind::ALL.into_iter().filter_map(|kind| Some((kind, self.adding(kind)?)))
    }

    /// The words that an update needs, alone or in a batch.
    fn update_names(&self) -> BTreeSet<String> {
        let mut names = self.batch.as_ref().map(crate::config::meant::http::Batch::names).unwrap_or_default();
        names.extend(self.update.iter().flat_map(|update| update.call.names()));
        if self.update.as_ref().is_some_and(|update| update.whole.is_some()) {
            names.insert("found".to_owned());
        }
        names
    }

    /// Does any request need the pass as it stands?
    fn needs_state(&self) -> bool {
        let found = |names: BTreeSet<String>| names.contains("found");
        let calls = [&self.expire, &self.void].into_iter().flatten();
        found(self.update_names()) || calls.map(Call::names).any(found) || self.adds().any(|(_, add)| found(add.call.names()))
    }

    /// The words that a change of this verb needs.
    fn names_of(&self, verb: Verb) -> BTreeSet<String> {
        match verb {
            Verb::Expire => self.expire.as_ref().map(Call::names).unwrap_or_default(),
            Verb::Void => self.void.as_ref().map(Call::names).unwrap_or_default(),
            Verb::Update | Verb::Upsert => self.update_names(),
            Verb::Earn => self.earn.as_ref().map(|add| add.call.names()).unwrap_or_default(),
            Verb::Burn => self.burn.as_ref().map(|add| add.call.names()).unwrap_or_default(),
            Verb::Redeem => self.redeem.as_ref().map(|add| add.call.names()).unwrap_or_default(),
            Verb::Validate => BTreeSet::new(),
        }
    }

    /// Must the pass be found before this change?
    fn needs_find(&self, change: &Change) -> bool {
        let names = self.names_of(change.verb);
        let unnamed = names.contains("pass_id") && matches!(change.target, Target::External(_));
        // A platform that issues what it does not know may be asked for what is there alone.
        let would_create = change.verb == Verb::Update && self.update.as_ref().is_some_and(|update| update.creates);
        let nothing_else = change.verb == Verb::Upsert && change.fields.is_empty();
        self.find.is_some() && (unnamed || names.contains("found") || would_create || nothing_else)
    }
}

impl Platform for Described {
    fn kind(&self) -> &'static str {
        self.http.kind
    }

    fn base_url(&self) -> &str {
        &self.http.base_url
    }

    /// Nothing is known of a platform that nobody wrote code for: these are careful, and each has a setting.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 10.0,
            in_flight: 4,
            find_batch: 1,
            change_batch: self.http.batch.as_ref().map_or(1, |batch| batch.size),
            tries: 5,
            timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(8),
            answer_bytes_max: 1 << 20,
            // Gateways in front of such services commonly cut at 60 s.
            settling: Duration::from_secs(75),
        }
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        self.http.rule(name)
    }

    fn required_to_create(&self) -> Vec<String> {
        self.http.create.as_ref().map(|create| create.requires.clone()).unwrap_or_default()
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        match self.http.field_named(name) {
            Some((field, _)) => field.check(value),
            None => Err(ValueFault { code: Code::MappingError, message: "the platform has no such field".to_owned() }),
        }
    }

    fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        self.http.check_target(target)
    }

    fn unsuited(&self, asks: &Asks<'_>) -> Vec<(&'static str, String)> {
        let http = &self.http;
        let mut faults = Vec::new();
        let mut names: BTreeSet<String> = asks.verbs.iter().flat_map(|verb| http.names_of(*verb)).collect();
        if asks.verbs.contains(&Verb::Upsert) {
            names.extend(http.create.iter().flat_map(|create| create.call.names()));
            if !asks.by_external_id {
                faults.push((
                    "pass",
                    "names passes by pass_id, which only a pass that is there has, and the feed may issue passes; write external_id"
                        .to_owned(),
                ));
            }
        }
        if asks.notify.is_some() {
            names.extend(http.notify.iter().flat_map(|add| add.call.names()));
        }
        if !asks.by_external_id && names.contains("external_id") {
            faults.push((
                "pass",
                "names passes by pass_id, and the platform's requests need {{ external_id }}; write external_id, or {{ id }} in the requests where the platform takes either".to_owned(),
            ));
        }
        if asks.by_external_id && names.contains("pass_id") && http.find.is_none() {
            faults.push((
                "pass",
                "names passes by external_id, and the platform's requests need {{ pass_id }}; write [platform.NAME.find], which finds it"
                    .to_owned(),
            ));
        }
        for name in &asks.fields {
            if http.field_named(name).is_some_and(|(field, _)| field.alert) {
                faults.push((
                    "fields",
                    format!("maps \"{name}\", whose change alerts the holder (alert = true); write it as notify.field instead"),
                ));
            }
        }
        for verb in &asks.verbs {
            let Some(how) = verb.add().and_then(|kind| http.adding(kind)) else { continue };
            let (names, body) = (how.call.names(), how.call.body.is_some());
            let balances: Vec<&&str> =
                asks.fields.iter().filter(|name| http.field_named(name).is_some_and(|(field, _)| field.balance)).collect();
            let takes_one = names.contains("amount") || !body;
            if balances.len() > 1 && takes_one && !names.contains("amounts") {
                faults.push(("fields", format!("maps several balances, of which the platform's {verb} request takes one")));
            }
        }
        faults
    }

    fn authorize(&self, headers: &mut HeaderMap, now: SystemTime) -> Result<(), SecretError> {
        auth::authorize(&self.http.auth, self.tokens.as_ref(), headers, now)
    }

    fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    fn judge(&self, request: &Request, answer: &RawAnswer<'_>) -> Verdict {
        let now = SystemTime::now();
        if let Some(verdict) = judge::before_statuses(&self.names(), answer, now) {
            return verdict;
        }
        let answers = &self.http.answers;
        let json = if answers.read_bodies() { strict::read(answer.body) } else { None };
        let class = answers.judge(answer.status, json.as_ref()).class;
        if let Some(said) = self.http.said_of_all(request, answer) {
            return match said {
                Said::Later => judge::again(answer),
                Said::SlowDown => Verdict::SlowDown { after: judge::retry_after(answer.headers, now) },
                Said::Unauthorized => {
                    Verdict::Reauthorize { reason: format!("{} does not accept our token for any item (401)", self.http.base_url) }
                }
            };
        }
        let forbidden = &self.forbidden[usize::from(request.method != Method::GET)];
        match class {
            Class::Applied => forbidden.store(u32::MAX, Ordering::Relaxed),
            Class::Refused | Class::Unlisted if answer.status == 403 => match forbidden.load(Ordering::Relaxed) {
                u32::MAX => {}
                seen if seen < FORBIDDEN_MAX => drop(forbidden.fetch_add(1, Ordering::Relaxed)),
                _ => return Verdict::Outage { reason: judge::forbidden(&self.names(), answer.body) },
            },
            _ => {}
        }
        match class {
            Class::Retry => judge::again(answer),
            Class::SlowDown => Verdict::SlowDown { after: judge::retry_after(answer.headers, now) },
            _ => Verdict::Final,
        }
    }

    fn needs_find(&self, change: &Change) -> bool {
        self.http.needs_find(change)
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        Box::new(find::Finder::new(self.http.clone(), targets))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        if self.http.update.is_none() && self.http.batch.is_some() && change.verb == Verb::Update {
            return Box::new(batch::BatchOfOne::new(self.http.clone(), change));
        }
        Box::new(change::Apply::new(self.http.clone(), change))
    }

    fn apply_batch(&self, changes: Vec<Change>) -> Box<dyn Conversation<Vec<ChangeResult>>> {
        Box::new(batch::Batched::new(self.http.clone(), changes))
    }

    fn notifies(&self, field: &str) -> Result<(), String> {
        if self.http.notify.is_none() {
            return Err("the platform's settings do not say how to notify; write [platform.NAME.notify]".to_owned());
        }
        match self.http.field_named(field) {
            Some((found, _)) if found.alert => Ok(()),
            _ => {
                let known: Vec<&str> = self.http.fields.iter().filter(|field| field.alert).map(|field| field.name.text.as_str()).collect();
                Err(format!("is no field that alerts a holder (alert = true); those are: {}", known.join(", ")))
            }
        }
    }

    fn adds_need_state(&self) -> bool {
        self.http.find.is_some() && self.http.adds().any(|(_, add)| add.names().iter().any(|name| name == "found" || name == "pass_id"))
    }

    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give::new(self.http.clone(), add.clone()))
    }

    /// A key is repeated at once: that is what it is for.
    fn settling(&self, add: &Addition) -> Option<Duration> {
        self.http.repeats(add).then_some(self.limits().backoff_min)
    }

    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        self.http.proof(add)
    }

    /// One, and one more where the pass may have to be issued. A batch shares its requests among its items, so this overestimates there.
    fn requests(&self, change: &Change) -> u32 {
        1 + u32::from(change.verb == Verb::Upsert && self.http.create.is_some())
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(probe::Probe::new(self.http.clone()))
    }

    fn pages(&self, _offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(probe::NoListing)
    }
}
