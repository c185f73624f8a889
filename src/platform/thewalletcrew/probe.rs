//! Proving that an account can be used, and reading all its passes.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::fields::Block;
use super::find::READS;
use super::wire::{Pass, parse_list};
use super::{LACKS, Scope};
use crate::platform::talk::{broken_off, listed, reached};
use crate::platform::{Answer, Conversation, Page, PassState, Reach, Step, judge};
use crate::row::Target;
use crate::schema::value::Value;

/// No pass has this id, so that changing nothing of it shows the key's rights and harms nobody.
const NOBODY: &str = "passferry-reach-no-such-pass";

/// Asks for a page of passes, which proves address, tenant, key and the right to read; then changes nothing of a pass that is not there,
/// which proves the right to write.
pub(super) struct Probe {
    scope: Arc<Scope>,
    asked: usize,
}

impl Probe {
    pub(super) fn new(scope: Arc<Scope>) -> Probe {
        Probe { scope, asked: 0 }
    }

    /// What an answer says; none when there is another question.
    fn hear(&self, status: u16, body: &[u8]) -> Option<Reach> {
        let settings = &self.scope.settings;
        let (base_url, tenant) = (&settings.base_url, &settings.tenant);
        let no = |message: String| Some(Reach { ok: false, denied: matches!(status, 401 | 403), message });
        match (self.asked, status) {
            (1, 200..=299) => match parse_list(body) {
                None => no(format!("{base_url} answers, but not as The Wallet Crew does; check base_url and what stands between")),
                Some(passes) => self.lacking(&passes),
            },
            (1, 404) => no(format!("{base_url} knows no tenant {tenant} (404); check the tenant, and that it is one of this address")),
            (2, 404) => Some(Reach {
                ok: true,
                denied: false,
                message: format!("{base_url} accepts the key, which may read and change passes of tenant {tenant}"),
            }),
            // Whatever else it says of a pass that is not there, it was not the key.
            (2, 200..=299 | 400 | 422) => Some(Reach {
                ok: true,
                denied: false,
                message: format!(
                    "{base_url} accepts the key, which may read passes of tenant {tenant}; whether it may change them shows with the first row \
                     (asked about a pass that does not exist, it answers {status})"
                ),
            }),
            _ => no(format!("{base_url} answers {status}: {}", judge::message(body))),
        }
    }

    /// An identifier that no pass has is most likely misspelt; a tenant without passes says nothing.
    fn lacking(&self, passes: &[Pass]) -> Option<Reach> {
        let name = self.scope.settings.identifier.as_ref()?;
        let names: std::collections::BTreeSet<String> =
            passes.iter().flat_map(|pass| pass.block(Block::Identifiers).into_iter().map(|(name, _)| name)).collect();
        if names.is_empty() || names.contains(name) {
            return None;
        }
        let names = names.iter().map(|name| judge::clean(name)).collect::<Vec<_>>().join(", ");
        let message = format!("none of the first {} passes has an identifier {name}; they have: {names}. Check `identifier`", passes.len());
        Some(Reach { ok: false, denied: false, message })
    }
}

impl Conversation<Reach> for Probe {
    fn next(&mut self, answer: Option<Answer>) -> Step<Reach> {
        match answer.map(|answer| reached(&self.scope.settings.base_url, answer)) {
            None => {}
            Some(Ok((status, body))) => {
                if let Some(reach) = self.hear(status, &body) {
                    return Step::Done(reach);
                }
            }
            Some(Err(reach)) => {
                let denied = reach.denied || reach.message.contains(LACKS);
                return Step::Done(Reach { denied, ..reach });
            }
        }
        self.asked += 1;
        Step::Send(if self.asked == 1 {
            self.scope.page(0)
        } else {
            self.scope.patch(&[self.scope.named(&Target::Pass(NOBODY.to_owned()))], &json!({}))
        })
    }
}

/// One page of the listing of all passes.
pub(super) struct Listing {
    scope: Arc<Scope>,
    index: u64,
    unread: u32,
}

impl Listing {
    pub(super) fn new(scope: Arc<Scope>, index: u64) -> Listing {
        Listing { scope, index, unread: 0 }
    }
}

impl Conversation<Page> for Listing {
    fn next(&mut self, answer: Option<Answer>) -> Step<Page> {
        if let Some(answer) = answer {
            match listed(answer).map(|body| parse_list(&body)) {
                Ok(Some(passes)) => {
                    let next = (!passes.is_empty()).then_some(self.index + 1);
                    return Step::Done(Page { passes: passes.iter().map(|pass| state(&self.scope, pass)).collect(), next, fault: None });
                }
                Ok(None) => {
                    self.unread += 1;
                    if self.unread == READS {
                        return Step::Done(broken_off("the listing is not a list of passes".to_owned()));
                    }
                }
                Err(fault) => return Step::Done(broken_off(fault)),
            }
        }
        Step::Send(self.scope.page(self.index))
    }
}

fn state(scope: &Scope, pass: &Pass) -> PassState {
    let mut fields = Vec::new();
    for block in Block::ALL {
        for (key, value) in pass.block(block) {
            let Some(value) = held(&value) else { continue };
            // An identifier may be a condition of a row as well as a value of one.
            if block == Block::Identifiers {
                fields.push((format!("id.{key}"), value.clone()));
            }
            fields.push((format!("{}.{key}", block.name()), value));
        }
    }
    let identifiers = pass.block(Block::Identifiers);
    let external_id = scope.settings.identifier.as_ref().and_then(|name| identifiers.get(name)).and_then(Json::as_str);
    PassState { pass_id: pass.id().to_owned(), external_id: external_id.map(str::to_owned), fields }
}

/// An empty text and null are nothing.
fn held(value: &Json) -> Option<Value<'static>> {
    match value {
        Json::String(text) if !text.is_empty() => Some(Value::Text(text.clone().into())),
        Json::Bool(on) => Some(Value::Boolean(*on)),
        Json::Number(number) => number.as_i64().map(Value::Integer).or_else(|| Some(Value::Number(number.to_string().parse().ok()?))),
        _ => None,
    }
}
