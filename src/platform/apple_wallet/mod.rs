//! Apple Wallet: passes that are hosted here (contracts/apple-wallet.md).
//!
//! The adapter is as those of other platforms: it describes requests and reads answers. They are answered by the desk in this process
//! ([`crate::apple::desk`]), so that lanes, repeats and proofs are those of every platform.

mod adds;
mod apply;
mod fields;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    AddEnd, Answer, ChangeResult, Conversation, FieldRule, Finding, Limits, Page, PassState, Platform, Proof, RawAnswer, Reach, Request,
    Step, ValueFault, Verdict, address,
};
use crate::apple::desk;
use crate::apple::slot::Slot;
use crate::apple::talk::{Ask, Found, Known, Listed, Name, Proved};
use crate::config::meant::apple::{AppleWallet as Account, Serials};
use crate::outcome::Code;
use crate::row::{self, Addition, Change, Target, Verb};
use crate::schema::value::Value;
use crate::secret::SecretError;

/// Characters of an external ID that is to be a serial number. Apple names no limit (contract 10).
const SERIAL_MAX: usize = 255;

/// One pass type.
pub struct AppleWallet {
    scope: Arc<Scope>,
}

/// What the conversations need.
struct Scope {
    account: Arc<Account>,
}

impl AppleWallet {
    pub fn new(account: &Arc<Account>) -> AppleWallet {
        AppleWallet { scope: Arc::new(Scope { account: Arc::clone(account) }) }
    }
}

fn name(target: &Target) -> Name {
    match target {
        Target::External(id) => Name::External(id.clone()),
        Target::Pass(serial) => Name::Serial(serial.clone()),
    }
}

fn ask(ask: &Ask) -> Request {
    let body = Bytes::from(serde_json::to_vec(ask).unwrap_or_default());
    Request { body: Some(body), ..Request::new(Method::POST, "/desk".to_owned()) }
}

/// What came back.
enum Heard<T> {
    Said(T),
    Unreadable(String),
    Failed(String),
    Stopped { sent: bool },
}

fn hear<T: DeserializeOwned>(answer: Answer) -> Heard<T> {
    match answer {
        Answer::Http { status: desk::DONE, body } => match serde_json::from_slice(&body) {
            Ok(said) => Heard::Said(said),
            Err(error) => Heard::Unreadable(format!("the desk cannot be understood: {error}")),
        },
        Answer::Http { body, .. } => Heard::Unreadable(super::judge::message(&body)),
        Answer::Exhausted { message, .. } | Answer::Lost { message } => Heard::Failed(message),
        Answer::Stopped { sent } => Heard::Stopped { sent },
    }
}

impl Platform for AppleWallet {
    fn kind(&self) -> &'static str {
        "apple_wallet"
    }

    /// No request goes there: it is where pushes go.
    fn base_url(&self) -> &str {
        &self.scope.account.push.url
    }

    fn local(&self) -> Option<Arc<Account>> {
        Some(Arc::clone(&self.scope.account))
    }

    /// Nobody but the disk limits it.
    fn limits(&self) -> Limits {
        Limits {
            per_second: 1e6,
            in_flight: 2,
            find_batch: 1000,
            change_batch: 1000,
            tries: 5,
            timeout: Duration::from_mins(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            answer_bytes_max: usize::MAX,
            settling: Duration::ZERO,
        }
    }

    fn verbs(&self) -> &[Verb] {
        // A pass has no count of its showings.
        &[Verb::Update, Verb::Upsert, Verb::Expire, Verb::Void, Verb::Earn, Verb::Burn, Verb::Redeem]
    }

    fn field(&self, name: &str) -> Result<FieldRule, String> {
        let design = &self.scope.account.design;
        fields::slot(name, design).map(|slot| fields::rule(&slot, design))
    }

    fn required_to_create(&self) -> Vec<String> {
        Vec::new()
    }

    fn check_value(&self, name: &str, value: &Value<'_>) -> Result<(), ValueFault> {
        let design = &self.scope.account.design;
        let slot = fields::slot(name, design).map_err(|message| ValueFault { code: Code::MappingError, message })?;
        fields::json_of(&slot, value, design).map(drop)
    }

    /// A serial number stands in addresses, behind proxies that read them in their own ways.
    fn check_target(&self, target: &Target) -> Result<(), ValueFault> {
        let text = target.text();
        let is_serial = matches!(target, Target::Pass(_)) || self.scope.account.serials == Serials::ExternalId;
        let fits = address::is_segment(text)
            && text.chars().count() <= SERIAL_MAX
            && !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
        if !is_serial || fits {
            return Ok(());
        }
        let message = format!(
            "a serial number has at most {SERIAL_MAX} characters, no \"/\" and no \"\\\"; write serials = \"random\" in [platform.{}] if external IDs have them",
            self.scope.account.name
        );
        Err(ValueFault { code: Code::MappingError, message })
    }

    fn authorize(&self, _: &mut HeaderMap, _: SystemTime) -> Result<(), SecretError> {
        Ok(())
    }

    fn judge(&self, _: &Request, answer: &RawAnswer<'_>) -> Verdict {
        match answer.status {
            desk::BUSY => Verdict::Again { reason: super::judge::message(answer.body) },
            desk::BROKEN => Verdict::Outage { reason: super::judge::message(answer.body) },
            _ => Verdict::Final,
        }
    }

    fn needs_find(&self, change: &Change) -> bool {
        matches!(change.target, Target::External(_)) && change.verb != Verb::Upsert
    }

    fn find(&self, targets: &[Target]) -> Box<dyn Conversation<Vec<Finding>>> {
        Box::new(Find(targets.to_vec()))
    }

    fn apply(&self, change: Change) -> Box<dyn Conversation<ChangeResult>> {
        Box::new(apply::One(apply::Apply::new(Arc::clone(&self.scope), vec![change])))
    }

    fn apply_batch(&self, changes: Vec<Change>) -> Box<dyn Conversation<Vec<ChangeResult>>> {
        Box::new(apply::Apply::new(Arc::clone(&self.scope), changes))
    }

    /// A text field; one that the template does not have is added to the back of the pass (contract 8).
    fn notifies(&self, field: &str) -> Result<(), String> {
        let design = &self.scope.account.design;
        let plain = !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        match Slot::named(field, |key| design.fields.contains_key(key)) {
            Some(slot @ Slot::Value(_)) if fields::rule(&slot, design).kind == super::FieldKind::Text => Ok(()),
            None if plain => Ok(()),
            _ => Err(format!(
                "{field:?} is no field that shows words; write the key of a text field of the template's pass.json, best of one of its \
                 backFields, or a new key such as \"message\""
            )),
        }
    }

    fn adds_need_state(&self) -> bool {
        false
    }

    fn add(&self, add: &Addition) -> Box<dyn Conversation<AddEnd>> {
        Box::new(adds::Give(add.clone()))
    }

    /// Nothing is on its way once the desk has answered or died.
    fn settling(&self, _: &Addition) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn read_back(&self, add: &Addition) -> Option<Box<dyn Conversation<Proof>>> {
        Some(Box::new(adds::Look(add.clone())))
    }

    fn requests(&self, _: &Change) -> u32 {
        1
    }

    fn probe(&self) -> Box<dyn Conversation<Reach>> {
        Box::new(Probe)
    }

    fn pages(&self, offset: u64) -> Box<dyn Conversation<Page>> {
        Box::new(List(Arc::clone(&self.scope), offset))
    }
}

/// All targets in one question.
struct Find(Vec<Target>);

impl Conversation<Vec<Finding>> for Find {
    fn next(&mut self, answer: Option<Answer>) -> Step<Vec<Finding>> {
        let Some(answer) = answer else { return Step::Send(ask(&Ask::Find(self.0.iter().map(name).collect()))) };
        let all = |finding: Finding| Step::Done(vec![finding; self.0.len()]);
        match hear::<Found>(answer) {
            Heard::Said(Found { passes }) if passes.len() == self.0.len() => Step::Done(passes.into_iter().map(finding).collect()),
            Heard::Said(_) => {
                all(Finding::Failed { code: Code::AnswerUnreadable, message: "the desk answered for other passes".to_owned() })
            }
            Heard::Unreadable(message) => all(Finding::Failed { code: Code::AnswerUnreadable, message }),
            Heard::Failed(message) => all(Finding::Failed { code: Code::RetriesExhausted, message }),
            Heard::Stopped { .. } => all(Finding::NotAttempted),
        }
    }
}

fn finding(mut passes: Vec<Known>) -> Finding {
    match passes.len() {
        0 => Finding::Absent,
        1 => Finding::Found(row::Found { pass_id: passes.remove(0).serial, state: serde_json::Value::Null }),
        _ => Finding::Several(passes.into_iter().map(|pass| pass.serial).collect()),
    }
}

struct Probe;

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        let Some(answer) = answer else { return Step::Send(ask(&Ask::Probe)) };
        let no = |message: String| Reach { ok: false, denied: false, message };
        Step::Done(match hear::<Proved>(answer) {
            Heard::Said(Proved { ok, denied, message }) => Reach { ok, denied, message },
            Heard::Unreadable(message) | Heard::Failed(message) => no(message),
            Heard::Stopped { .. } => no("stopped before an answer came".to_owned()),
        })
    }
}

/// One page of all passes.
struct List(Arc<Scope>, u64);

impl Conversation<Page> for List {
    fn next(&mut self, answer: Option<Answer>) -> Step<Page> {
        let Some(answer) = answer else { return Step::Send(ask(&Ask::List(self.1))) };
        let fault = |fault: String| Page { fault: Some(fault), ..Page::default() };
        Step::Done(match hear::<Listed>(answer) {
            Heard::Said(Listed { passes, next }) => {
                let state = |(known, data)| state(&self.0.account, known, &data);
                Page { passes: passes.into_iter().map(state).collect(), next, fault: None }
            }
            Heard::Unreadable(message) | Heard::Failed(message) => fault(message),
            Heard::Stopped { .. } => fault("stopped before an answer came".to_owned()),
        })
    }
}

fn state(account: &Account, known: Known, data: &serde_json::Value) -> PassState {
    let design = &account.design;
    let held = fields::slots(design).filter_map(|(name, slot)| {
        let value = fields::value_of(&slot, slot.get(data)?, design)?;
        Some((name, value))
    });
    PassState { pass_id: known.serial, external_id: known.external_id, fields: held.collect() }
}
